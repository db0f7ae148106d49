/* SPDX-License-Identifier: Apache-2.0 */
#include "lsm/manifest_event.h"

#include "base/units.h"

/* Every event begins with these; sizes are multiples of 8. */
enum {
    OFFSET_SIZE = 0,  /* u16 */
    OFFSET_KIND = 2,  /* u8 */
    OFFSET_FLAGS = 3, /* u8; of trees and tables, else 0 */
    OFFSET_TREE = 4,  /* u32 */
};
enum {
    TREE_OFFSET_LAYOUT_KIND = 8, /* u32 */
    TREE_OFFSET_KEY_SIZE = 12,   /* u32 */
    TREE_OFFSET_VALUE_SIZE = 16, /* u32 */
    TREE_OFFSET_GENERATION = 20, /* u32 */
    TREE_OFFSET_LAST_LEVEL = 24, /* u32 */
    TREE_OFFSET_LINGER = 28,     /* u32 */
    TREE_OFFSET_FLUSH_MEAN = 32, /* u64 */
    TREE_OFFSET_WORK_MEAN = 40,  /* u64 */
    TREE_OFFSET_BAR_COUNT = 48,  /* u64 */
    TREE_OFFSET_NAME = 56,       /* 64 bytes, zero-padded */
    TREE_OFFSET_CREATED = 120,   /* u64; only if one of these two is not 0 */
    TREE_OFFSET_DROPPED = 128,   /* u64 */
};
enum {
    TABLE_OFFSET_LEVEL = 8,               /* u32 */
    TABLE_OFFSET_VALUE_BLOCK_COUNT = 12,  /* u32 */
    TABLE_OFFSET_ID = 16,                 /* u64 */
    TABLE_OFFSET_STAMP = 24,              /* u64 */
    TABLE_OFFSET_SNAPSHOT_MIN = 32,       /* u64 */
    TABLE_OFFSET_SNAPSHOT_MAX = 40,       /* u64 */
    TABLE_OFFSET_INDEX_ADDRESS = 48,      /* u64 */
    TABLE_OFFSET_INDEX_CHECKSUM = 56,     /* u128 */
    TABLE_OFFSET_FILTER_BLOCK_COUNT = 72, /* u32 */
    TABLE_OFFSET_KEY_MIN_SIZE = 76,       /* u16 */
    TABLE_OFFSET_KEY_MAX_SIZE = 78,       /* u16 */
    TABLE_OFFSET_BYTES = 80,              /* u64 */
    TABLE_OFFSET_RECORDS = 88,            /* u64 */
    TABLE_OFFSET_TOMBSTONES = 96,         /* u64 */
    TABLE_OFFSET_SUM = 104,               /* u128 */
    TABLE_OFFSET_GENERATION = 120,        /* u32; 4 zero bytes follow */
    TABLE_OFFSET_KEYS = 128,              /* key_min, key_max, zeros up to a multiple of 8 */
};
enum {
    REMOVE_OFFSET_ID = 8
}; /* u64 */
enum {
    RANGE_OFFSET_OP = 8,          /* u64 */
    RANGE_OFFSET_GENERATION = 16, /* u32 */
    RANGE_OFFSET_LOW_SIZE = 20,   /* u16 */
    RANGE_OFFSET_HIGH_SIZE = 22,  /* u16 */
    RANGE_OFFSET_BOUNDS = 24,     /* low, high, zeros up to a multiple of 8 */
};

#define FLAG_DAMAGED 1u
#define FLAG_TRIMMED 2u
#define FLAG_DISCARDED 4u
#define FLAG_RETAINED 8u
#define FLAGS_KNOWN 15u
#define TREE_FLAG_GONE 1u

tac_static_assert(TREE_OFFSET_NAME + TACTUS_TREE_NAME_MAX + 1 == TAC_MANIFEST_EVENT_TREE_BYTES,
                  "a tree event ends with its name");
tac_static_assert(TREE_OFFSET_DROPPED + 8 == TAC_MANIFEST_EVENT_TREE_OPS_BYTES,
                  "or with the ops behind it");
tac_static_assert(TABLE_OFFSET_KEYS == TAC_MANIFEST_EVENT_TABLE_BYTES,
                  "a table event ends with its keys");
tac_static_assert(RANGE_OFFSET_BOUNDS == TAC_MANIFEST_EVENT_RANGE_BYTES,
                  "a range's event ends with its bounds");
tac_static_assert(TAC_MANIFEST_EVENT_BYTES_MAX <= UINT16_MAX, "an event's size fits its field");

/* ---- encoding ------------------------------------------------------------------------------- */

uint32_t tac_manifest_event_table_bytes(const struct tac_table *table)
{
    return (uint32_t)tac_round_up(
        (uint64_t)TAC_MANIFEST_EVENT_TABLE_BYTES + table->key_min.size + table->key_max.size, 8);
}

static void head_encode(uint8_t *event, enum tac_manifest_event_kind kind, uint32_t size_bytes,
                        uint32_t tree, uint32_t flags)
{
    tac_assert(size_bytes % 8 == 0);
    tac_assert(size_bytes <= TAC_MANIFEST_EVENT_BYTES_MAX);
    memset(event, 0, size_bytes);
    tac_store_u16(event + OFFSET_SIZE, (uint16_t)size_bytes);
    event[OFFSET_KIND] = (uint8_t)kind;
    event[OFFSET_FLAGS] = (uint8_t)flags;
    tac_store_u32(event + OFFSET_TREE, tree);
}

uint32_t tac_manifest_event_tree_bytes(const struct tac_manifest_tree *tree)
{
    return tree->created_op != 0 || tree->dropped_op != 0 ? TAC_MANIFEST_EVENT_TREE_OPS_BYTES
                                                          : TAC_MANIFEST_EVENT_TREE_BYTES;
}

uint32_t tac_manifest_event_encode_tree(uint8_t *event, const struct tac_manifest_tree *tree)
{
    uint32_t size_bytes = tac_manifest_event_tree_bytes(tree);

    head_encode(event, TAC_MANIFEST_EVENT_TREE, size_bytes, tree->id,
                tree->is_gone ? TREE_FLAG_GONE : 0);
    tac_store_u32(event + TREE_OFFSET_LAYOUT_KIND, tree->layout.kind);
    tac_store_u32(event + TREE_OFFSET_KEY_SIZE, tree->layout.key_size);
    tac_store_u32(event + TREE_OFFSET_VALUE_SIZE, tree->layout.value_size);
    tac_store_u32(event + TREE_OFFSET_LAST_LEVEL, tree->planner.last_level);
    tac_store_u32(event + TREE_OFFSET_GENERATION, tree->generation);
    tac_store_u32(event + TREE_OFFSET_LINGER, tree->linger_bars);
    tac_store_u64(event + TREE_OFFSET_FLUSH_MEAN, tree->planner.flush_mean);
    tac_store_u64(event + TREE_OFFSET_WORK_MEAN, tree->planner.work_mean);
    tac_store_u64(event + TREE_OFFSET_BAR_COUNT, tree->planner.bar_count);
    memcpy(event + TREE_OFFSET_NAME, tree->name, strlen(tree->name));
    if (size_bytes == TAC_MANIFEST_EVENT_TREE_OPS_BYTES) {
        tac_store_u64(event + TREE_OFFSET_CREATED, tree->created_op);
        tac_store_u64(event + TREE_OFFSET_DROPPED, tree->dropped_op);
    }
    return size_bytes;
}

uint32_t tac_manifest_event_encode_table(uint8_t *event, const struct tac_table *table,
                                         bool is_last)
{
    uint32_t size_bytes = tac_manifest_event_table_bytes(table);
    uint32_t flags =
        (table->is_damaged ? FLAG_DAMAGED : 0) | (table->is_trimmed ? FLAG_TRIMMED : 0) |
        (table->is_discarded ? FLAG_DISCARDED : 0) | (table->is_retained ? FLAG_RETAINED : 0);

    tac_assert(table->key_min.size > 0 && table->key_min.size <= TACTUS_KEY_SIZE_MAX);
    tac_assert(table->key_max.size > 0 && table->key_max.size <= TACTUS_KEY_SIZE_MAX);
    head_encode(event, TAC_MANIFEST_EVENT_TABLE, size_bytes, table->tree, flags);
    tac_store_u32(event + TABLE_OFFSET_LEVEL,
                  is_last && !table->is_retained ? TAC_MANIFEST_LEVEL_LAST : table->level);
    tac_store_u32(event + TABLE_OFFSET_VALUE_BLOCK_COUNT, table->value_block_count);
    tac_store_u64(event + TABLE_OFFSET_ID, table->id);
    tac_store_u64(event + TABLE_OFFSET_STAMP, table->stamp);
    tac_store_u64(event + TABLE_OFFSET_SNAPSHOT_MIN, table->snapshot_min);
    tac_store_u64(event + TABLE_OFFSET_SNAPSHOT_MAX, table->snapshot_max);
    tac_store_u64(event + TABLE_OFFSET_INDEX_ADDRESS, table->index.address);
    tac_store_u64(event + TABLE_OFFSET_INDEX_CHECKSUM, table->index.checksum.low);
    tac_store_u64(event + TABLE_OFFSET_INDEX_CHECKSUM + 8, table->index.checksum.high);
    tac_store_u32(event + TABLE_OFFSET_FILTER_BLOCK_COUNT, table->filter_block_count);
    tac_store_u16(event + TABLE_OFFSET_KEY_MIN_SIZE, (uint16_t)table->key_min.size);
    tac_store_u16(event + TABLE_OFFSET_KEY_MAX_SIZE, (uint16_t)table->key_max.size);
    tac_store_u64(event + TABLE_OFFSET_BYTES, table->bytes);
    tac_store_u64(event + TABLE_OFFSET_RECORDS, table->records);
    tac_store_u64(event + TABLE_OFFSET_TOMBSTONES, table->tombstones);
    tac_store_u64(event + TABLE_OFFSET_SUM, table->sum.low);
    tac_store_u64(event + TABLE_OFFSET_SUM + 8, table->sum.high);
    tac_store_u32(event + TABLE_OFFSET_GENERATION, table->generation);
    memcpy(event + TABLE_OFFSET_KEYS, table->key_min.data, table->key_min.size);
    memcpy(event + TABLE_OFFSET_KEYS + table->key_min.size, table->key_max.data,
           table->key_max.size);
    return size_bytes;
}

uint32_t tac_manifest_event_encode_remove(uint8_t *event, const struct tac_table *table)
{
    tac_assert(table->id > 0);
    head_encode(event, TAC_MANIFEST_EVENT_REMOVE, TAC_MANIFEST_EVENT_REMOVE_BYTES, table->tree, 0);
    tac_store_u64(event + REMOVE_OFFSET_ID, table->id);
    return TAC_MANIFEST_EVENT_REMOVE_BYTES;
}

uint32_t tac_manifest_event_range_bytes(const struct tac_range *range)
{
    return (uint32_t)tac_round_up(
        (uint64_t)TAC_MANIFEST_EVENT_RANGE_BYTES + range->low.size + range->high.size, 8);
}

uint32_t tac_manifest_event_encode_range(uint8_t *event, const struct tac_manifest_tree *tree,
                                         const struct tac_range *range)
{
    uint32_t size_bytes = tac_manifest_event_range_bytes(range);

    head_encode(event, TAC_MANIFEST_EVENT_RANGE, size_bytes, tree->id, 0);
    tac_store_u64(event + RANGE_OFFSET_OP, range->op);
    tac_store_u32(event + RANGE_OFFSET_GENERATION, tree->generation);
    tac_store_u16(event + RANGE_OFFSET_LOW_SIZE, (uint16_t)range->low.size);
    tac_store_u16(event + RANGE_OFFSET_HIGH_SIZE, (uint16_t)range->high.size);
    if (range->low.size > 0) {
        memcpy(event + RANGE_OFFSET_BOUNDS, range->low.data, range->low.size);
        memcpy(event + RANGE_OFFSET_BOUNDS + range->low.size, range->high.data, range->high.size);
    }
    return size_bytes;
}

/* What the planner computes with must not overflow: bytes * 16 of the largest file are 2^56. */
#define PLANNER_MEAN_MAX (1ull << 58)
#define PLANNER_BARS_MAX (UINT64_MAX / 2)

/* ---- decoding ------------------------------------------------------------------------------- */

bool tac_manifest_name_is_valid(const uint8_t name[TACTUS_TREE_NAME_MAX + 1])
{
    uint32_t size = 0;

    while (size <= TACTUS_TREE_NAME_MAX && name[size] != 0) {
        uint8_t c = name[size];

        if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
              c == '_' || c == '.' || c == '-')) {
            return false;
        }
        size++;
    }
    for (uint32_t i = size; i <= TACTUS_TREE_NAME_MAX; i++) {
        if (name[i] != 0) {
            return false;
        }
    }
    return size >= 1 && size <= TACTUS_TREE_NAME_MAX;
}

static void tree_load(const uint8_t *event, uint32_t size_bytes, struct tac_manifest_tree *tree)
{
    *tree = (struct tac_manifest_tree){
        .generation = tac_load_u32(event + TREE_OFFSET_GENERATION),
        .is_gone = (event[OFFSET_FLAGS] & TREE_FLAG_GONE) != 0,
        .linger_bars = tac_load_u32(event + TREE_OFFSET_LINGER),
        .layout.kind = tac_load_u32(event + TREE_OFFSET_LAYOUT_KIND),
        .layout.key_size = tac_load_u32(event + TREE_OFFSET_KEY_SIZE),
        .layout.value_size = tac_load_u32(event + TREE_OFFSET_VALUE_SIZE),
        .planner.last_level = tac_load_u32(event + TREE_OFFSET_LAST_LEVEL),
        .planner.flush_mean = tac_load_u64(event + TREE_OFFSET_FLUSH_MEAN),
        .planner.work_mean = tac_load_u64(event + TREE_OFFSET_WORK_MEAN),
        .planner.bar_count = tac_load_u64(event + TREE_OFFSET_BAR_COUNT),
    };
    memcpy(tree->name, event + TREE_OFFSET_NAME, sizeof tree->name);
    if (size_bytes == TAC_MANIFEST_EVENT_TREE_OPS_BYTES) {
        tree->created_op = tac_load_u64(event + TREE_OFFSET_CREATED);
        tree->dropped_op = tac_load_u64(event + TREE_OFFSET_DROPPED);
    }
}

/* What the log says of when a tree was created and dropped. */
static int tree_life_check(const struct tac_manifest_tree *tree, struct tac_error *error)
{
    bool has_ops = tree->created_op != 0 || tree->dropped_op != 0;

    if (tree->generation <= TAC_TREE_GENERATION_MAX && tree->linger_bars <= TAC_TREE_LINGER_BARS &&
        (tree->is_gone ? !has_ops : tree->linger_bars == 0) &&
        (tree->dropped_op == 0 || tree->created_op < tree->dropped_op)) {
        return TACTUS_OK;
    }
    return tac_error_set(error, TACTUS_ECORRUPT,
                         "tree \"%s\" is impossible: generation %u, created by op %llu, dropped by "
                         "op %llu, %s, %u bars left",
                         tree->name, tree->generation, (unsigned long long)tree->created_op,
                         (unsigned long long)tree->dropped_op, tree->is_gone ? "gone" : "not gone",
                         tree->linger_bars);
}

static int tree_planner_check(const struct tac_manifest_tree *tree, struct tac_error *error)
{
    const struct tac_planner_state *planner = &tree->planner;

    if (planner->last_level == 0 || planner->last_level >= TACTUS_LEVELS_MAX) {
        return tac_error_set(error, TACTUS_ECORRUPT,
                             "tree \"%s\" has last level %u, must be 1 to %u", tree->name,
                             planner->last_level, TACTUS_LEVELS_MAX - 1);
    }
    if (planner->flush_mean > PLANNER_MEAN_MAX || planner->work_mean > PLANNER_MEAN_MAX ||
        planner->bar_count > PLANNER_BARS_MAX) {
        return tac_error_set(
            error, TACTUS_ECORRUPT,
            "tree \"%s\" has flushes of %llu and bars of %llu bytes, %llu of them: "
            "no store is so large",
            tree->name, (unsigned long long)planner->flush_mean,
            (unsigned long long)planner->work_mean, (unsigned long long)planner->bar_count);
    }
    return TACTUS_OK;
}

static int tree_decode(const uint8_t *event, uint32_t block_size,
                       struct tac_manifest_event *decoded, struct tac_error *error)
{
    struct tac_manifest_tree *tree = &decoded->tree_state;
    const struct tac_layout  *layout = &tree->layout;

    if ((decoded->size_bytes != TAC_MANIFEST_EVENT_TREE_BYTES &&
         decoded->size_bytes != TAC_MANIFEST_EVENT_TREE_OPS_BYTES) ||
        (event[OFFSET_FLAGS] & ~TREE_FLAG_GONE) != 0) {
        return tac_error_set(error, TACTUS_ECORRUPT, "a tree's event has %u bytes, flags %u",
                             decoded->size_bytes, event[OFFSET_FLAGS]);
    }
    tree_load(event, decoded->size_bytes, tree);
    if (decoded->tree >= TACTUS_TREES_MAX ||
        !tac_manifest_name_is_valid(event + TREE_OFFSET_NAME)) {
        return tac_error_set(error, TACTUS_ECORRUPT, "tree %u has an impossible name or number",
                             decoded->tree);
    }
    if ((layout->kind != TACTUS_LAYOUT_FIXED && layout->kind != TACTUS_LAYOUT_VARIABLE) ||
        layout->key_size == 0 || layout->key_size > TACTUS_KEY_SIZE_MAX ||
        (uint64_t)layout->key_size + layout->value_size > block_size / 4) {
        return tac_error_set(error, TACTUS_ECORRUPT,
                             "tree \"%s\" has an impossible layout (kind %u, keys of %u and values "
                             "of %u bytes)",
                             tree->name, layout->kind, layout->key_size, layout->value_size);
    }
    if (decoded->size_bytes != tac_manifest_event_tree_bytes(tree)) {
        return tac_error_set(error, TACTUS_ECORRUPT, "tree \"%s\": no ops in %u bytes", tree->name,
                             decoded->size_bytes);
    }
    return tree_planner_check(tree, error) == TACTUS_OK ? tree_life_check(tree, error)
                                                        : TACTUS_ECORRUPT;
}

static void table_load(const uint8_t *event, uint32_t flags, struct tac_table *table)
{
    uint32_t key_min_size = tac_load_u16(event + TABLE_OFFSET_KEY_MIN_SIZE);
    uint32_t key_max_size = tac_load_u16(event + TABLE_OFFSET_KEY_MAX_SIZE);

    *table = (struct tac_table){
        .id = tac_load_u64(event + TABLE_OFFSET_ID),
        .tree = tac_load_u32(event + OFFSET_TREE),
        .generation = tac_load_u32(event + TABLE_OFFSET_GENERATION),
        .level = tac_load_u32(event + TABLE_OFFSET_LEVEL),
        .stamp = tac_load_u64(event + TABLE_OFFSET_STAMP),
        .snapshot_min = tac_load_u64(event + TABLE_OFFSET_SNAPSHOT_MIN),
        .snapshot_max = tac_load_u64(event + TABLE_OFFSET_SNAPSHOT_MAX),
        .index.address = tac_load_u64(event + TABLE_OFFSET_INDEX_ADDRESS),
        .index.checksum.low = tac_load_u64(event + TABLE_OFFSET_INDEX_CHECKSUM),
        .index.checksum.high = tac_load_u64(event + TABLE_OFFSET_INDEX_CHECKSUM + 8),
        .value_block_count = tac_load_u32(event + TABLE_OFFSET_VALUE_BLOCK_COUNT),
        .filter_block_count = tac_load_u32(event + TABLE_OFFSET_FILTER_BLOCK_COUNT),
        .bytes = tac_load_u64(event + TABLE_OFFSET_BYTES),
        .records = tac_load_u64(event + TABLE_OFFSET_RECORDS),
        .tombstones = tac_load_u64(event + TABLE_OFFSET_TOMBSTONES),
        .sum.low = tac_load_u64(event + TABLE_OFFSET_SUM),
        .sum.high = tac_load_u64(event + TABLE_OFFSET_SUM + 8),
        .is_damaged = (flags & FLAG_DAMAGED) != 0,
        .is_trimmed = (flags & FLAG_TRIMMED) != 0,
        .is_discarded = (flags & FLAG_DISCARDED) != 0,
        .is_retained = (flags & FLAG_RETAINED) != 0,
        .key_min = {event + TABLE_OFFSET_KEYS, key_min_size},
        .key_max = {event + TABLE_OFFSET_KEYS + key_min_size, key_max_size},
    };
}

static int table_decode(const uint8_t *event, struct tac_manifest_event *decoded,
                        struct tac_error *error)
{
    struct tac_table *table = &decoded->table;
    uint32_t          flags = event[OFFSET_FLAGS];

    if (decoded->size_bytes < TAC_MANIFEST_EVENT_TABLE_BYTES) {
        return tac_error_set(error, TACTUS_ECORRUPT, "a table's event has only %u bytes",
                             decoded->size_bytes);
    }
    table_load(event, flags, table);
    decoded->id = table->id;
    if (tac_manifest_event_table_bytes(table) != decoded->size_bytes || table->key_min.size == 0 ||
        table->key_max.size == 0 || table->key_min.size > TACTUS_KEY_SIZE_MAX ||
        table->key_max.size > TACTUS_KEY_SIZE_MAX ||
        tac_bytes_compare(table->key_min, table->key_max) > 0) {
        return tac_error_set(
            error, TACTUS_ECORRUPT, "table %llu has impossible keys (%u and %u bytes)",
            (unsigned long long)table->id, table->key_min.size, table->key_max.size);
    }
    if (table->id == 0 ||
        (table->level >= TACTUS_LEVELS_MAX &&
         (table->level != TAC_MANIFEST_LEVEL_LAST || table->is_retained)) ||
        (table->is_retained && (table->snapshot_max == UINT64_MAX || table->is_discarded)) ||
        table->tombstones > table->records || table->snapshot_min > table->snapshot_max ||
        (flags & ~FLAGS_KNOWN) != 0 || (table->is_discarded && table->level != 0)) {
        return tac_error_set(
            error, TACTUS_ECORRUPT,
            "table %llu is impossible: level %u, %llu records, %llu tombstones, "
            "snapshots %llu to %llu, flags %u",
            (unsigned long long)table->id, table->level, (unsigned long long)table->records,
            (unsigned long long)table->tombstones, (unsigned long long)table->snapshot_min,
            (unsigned long long)table->snapshot_max, flags);
    }
    return TACTUS_OK;
}

static int range_decode(const uint8_t *event, struct tac_manifest_event *decoded,
                        struct tac_error *error)
{
    struct tac_range *range = &decoded->range;

    if (decoded->size_bytes < TAC_MANIFEST_EVENT_RANGE_BYTES) {
        return tac_error_set(error, TACTUS_ECORRUPT, "a deleted range's event has only %u bytes",
                             decoded->size_bytes);
    }
    range->op = tac_load_u64(event + RANGE_OFFSET_OP);
    range->low = (struct tac_bytes){event + RANGE_OFFSET_BOUNDS,
                                    tac_load_u16(event + RANGE_OFFSET_LOW_SIZE)};
    range->high = (struct tac_bytes){event + RANGE_OFFSET_BOUNDS + range->low.size,
                                     tac_load_u16(event + RANGE_OFFSET_HIGH_SIZE)};
    decoded->range_generation = tac_load_u32(event + RANGE_OFFSET_GENERATION);
    if (tac_manifest_event_range_bytes(range) != decoded->size_bytes || range->op == 0 ||
        event[OFFSET_FLAGS] != 0 || (range->low.size == 0) != (range->high.size == 0) ||
        range->low.size > TACTUS_KEY_SIZE_MAX || range->high.size > TACTUS_KEY_SIZE_MAX ||
        (range->low.size > 0 && tac_bytes_compare(range->low, range->high) >= 0)) {
        return tac_error_set(error, TACTUS_ECORRUPT,
                             "the range that op %llu deleted has impossible bounds (%u and %u "
                             "bytes)",
                             (unsigned long long)range->op, range->low.size, range->high.size);
    }
    return TACTUS_OK;
}

int tac_manifest_event_decode(const uint8_t *event, uint32_t size_bytes, uint32_t block_size,
                              struct tac_manifest_event *ret_event, struct tac_error *error)
{
    uint32_t event_bytes, kind;

    if (size_bytes < TAC_MANIFEST_EVENT_REMOVE_BYTES) {
        return tac_error_set(error, TACTUS_ECORRUPT, "an event is cut off");
    }
    event_bytes = tac_load_u16(event + OFFSET_SIZE);
    kind = event[OFFSET_KIND];
    if (event_bytes < TAC_MANIFEST_EVENT_REMOVE_BYTES || event_bytes % 8 != 0 ||
        event_bytes > size_bytes) {
        return tac_error_set(error, TACTUS_ECORRUPT, "an event of %u bytes, %u are left",
                             event_bytes, size_bytes);
    }
    ret_event->kind = (enum tac_manifest_event_kind)kind;
    ret_event->size_bytes = event_bytes;
    ret_event->tree = tac_load_u32(event + OFFSET_TREE);
    ret_event->id = 0;
    switch (kind) {
    case TAC_MANIFEST_EVENT_TREE:
        return tree_decode(event, block_size, ret_event, error);
    case TAC_MANIFEST_EVENT_TABLE:
        return table_decode(event, ret_event, error);
    case TAC_MANIFEST_EVENT_REMOVE:
        ret_event->id = tac_load_u64(event + REMOVE_OFFSET_ID);
        if (event_bytes == TAC_MANIFEST_EVENT_REMOVE_BYTES) {
            return TACTUS_OK;
        }
        break;
    case TAC_MANIFEST_EVENT_RANGE:
        return range_decode(event, ret_event, error);
    }
    return tac_error_set(error, TACTUS_ECORRUPT, "an event of unknown kind %u or wrong size %u",
                         kind, event_bytes);
}
