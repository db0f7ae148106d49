/* SPDX-License-Identifier: Apache-2.0 */
#include "lsm/superblock.h"

#include <string.h>

#include "base/bytes.h"
#include "base/mutant.h"
#include "base/units.h"

/* The layout of a copy; docs/FORMAT.md, "Superblock". Up to OFFSET_PARENT it is the same in every
 * version, so that any version can choose the newest copy and say what it cannot read. */
enum {
    OFFSET_MAGIC = 0,       /* 8 bytes */
    OFFSET_COPY_NUMBER = 8, /* u64 */
    OFFSET_CHECKSUM = 16,   /* u128, of everything from OFFSET_COVERED on */
    OFFSET_COVERED = 32,
    OFFSET_VERSION = 32, /* u32; 4 zero bytes follow */
    OFFSET_FEATURES_COMPATIBLE = 40,
    OFFSET_FEATURES_READ_ONLY = 48,
    OFFSET_FEATURES_INCOMPATIBLE = 56,
    OFFSET_UUID = 64,
    OFFSET_SEQUENCE = 80,
    OFFSET_PARENT = 88, /* 104 to 127 zero */
    OFFSET_MEMTABLE_SIZE = 128,
    OFFSET_TABLE_SIZE = 136,
    OFFSET_SLICE_SIZE = 144,
    OFFSET_FILE_SIZE_MAX = 152,
    OFFSET_BLOCK_SIZE = 160,
    OFFSET_PAGE_SIZE = 164,
    OFFSET_RUNS_PER_LEVEL = 168,
    OFFSET_LAST_RATIO = 172,
    OFFSET_BEATS_PER_BAR = 176,
    OFFSET_LAG_BEATS = 180,
    OFFSET_CHECKPOINT_INTERVAL_BARS = 184,
    OFFSET_FILTER_BITS_PER_KEY = 188, /* 192 to 255 zero */
    OFFSET_OP_PERSISTED = 256,
    OFFSET_OP_COMPACTED = 264,
    OFFSET_OP_RELEASED = 272,
    OFFSET_BAR_COUNT = 280,
    OFFSET_TABLE_ID_LAST = 288,
    OFFSET_STAMP_LAST = 296,
    OFFSET_TABLE_COUNT = 304,
    OFFSET_BLOCKS_IN_FILE = 312,
    OFFSET_MANIFEST_CHECKSUM = 320,
    OFFSET_MANIFEST_NEWEST = 336,
    OFFSET_MANIFEST_OLDEST_SEQUENCE = 360,
    OFFSET_MANIFEST_BLOCK_COUNT = 368,
    OFFSET_FREE_SET_BLOCK_COUNT = 376, /* u32; 380 to 383 zero */
    OFFSET_CONTROL_FLAGS = 384,
    OFFSET_BARS_STUCK = 388,
    OFFSET_MANUAL_TREES = 392,
    OFFSET_BARS_SETTLED = 400,
    OFFSET_BARS_OWED = 404, /* u32; 408 to 511 zero */
    OFFSET_FREE_SET = 512,  /* References of 24 bytes */
    REFERENCE_BYTES = 24,
    OFFSET_SWEEP_OP = 2816,
    OFFSET_SWEEP_BYTES_TOTAL = 2824,
    OFFSET_SWEEP_PASSES_TOTAL = 2832,
    OFFSET_SWEEP_TREE = 2840,       /* u8 */
    OFFSET_SWEEP_LEVEL = 2841,      /* u8 */
    OFFSET_SWEEP_BARS_WAIT = 2842,  /* u8 */
    OFFSET_SWEEP_PLANS_HELD = 2843, /* u8 */
    OFFSET_SWEEP_KEY_SIZES = 2844,  /* Three u16: low, high, place; 2850 to 2855 zero */
    OFFSET_SWEEP_KEYS = 2856,       /* The same, zero behind their sizes */
    OFFSET_SNAPSHOTS = 4032,        /* A reference; then zero */
};
#define MAGIC "TACTUS\r\n"
#define MAGIC_BYTES 8
#define VERSION 1u
/* None so far. An unknown compatible feature may be ignored. */
#define FEATURES_READ_ONLY_KNOWN 0ull

/* No store counts so far: one that says so would run over the end of its numbers. */
#define COUNTER_MAX (UINT64_MAX / 2)

tac_static_assert(sizeof MAGIC - 1 == MAGIC_BYTES, "the magic is eight bytes");
tac_static_assert(OFFSET_FREE_SET + TAC_FREE_SET_BLOCKS_MAX * REFERENCE_BYTES <= OFFSET_SWEEP_OP,
                  "the free set's references have their room");
tac_static_assert(OFFSET_SWEEP_KEYS + 3 * TAC_SWEEP_KEY_BYTES <= OFFSET_SNAPSHOTS,
                  "the superblock fits into its copy");
tac_static_assert(OFFSET_UUID + TACTUS_UUID_BYTES == OFFSET_SEQUENCE, "the UUID has its room");

/* ---- fields --------------------------------------------------------------------------------- */

static struct tac_u128 u128_load(const uint8_t *p)
{
    return (struct tac_u128){.low = tac_load_u64(p), .high = tac_load_u64(p + 8)};
}

static void u128_store(uint8_t *p, struct tac_u128 value)
{
    tac_store_u64(p, value.low);
    tac_store_u64(p + 8, value.high);
}

static struct tac_block_reference reference_load(const uint8_t *p)
{
    return (struct tac_block_reference){tac_load_u64(p), u128_load(p + 8)};
}

static void reference_store(uint8_t *p, struct tac_block_reference reference)
{
    tac_store_u64(p, reference.address);
    u128_store(p + 8, reference.checksum);
}

static void shape_encode(uint8_t *copy, const struct tac_shape *shape)
{
    tac_store_u64(copy + OFFSET_MEMTABLE_SIZE, shape->memtable_size);
    tac_store_u64(copy + OFFSET_TABLE_SIZE, shape->table_size);
    tac_store_u64(copy + OFFSET_SLICE_SIZE, shape->slice_size);
    tac_store_u64(copy + OFFSET_FILE_SIZE_MAX, shape->file_size_max);
    tac_store_u32(copy + OFFSET_BLOCK_SIZE, shape->block_size);
    tac_store_u32(copy + OFFSET_PAGE_SIZE, shape->page_size);
    tac_store_u32(copy + OFFSET_RUNS_PER_LEVEL, shape->runs_per_level);
    tac_store_u32(copy + OFFSET_LAST_RATIO, shape->last_ratio);
    tac_store_u32(copy + OFFSET_BEATS_PER_BAR, shape->beats_per_bar);
    tac_store_u32(copy + OFFSET_LAG_BEATS, shape->lag_beats);
    tac_store_u32(copy + OFFSET_CHECKPOINT_INTERVAL_BARS, shape->checkpoint_interval_bars);
    tac_store_u32(copy + OFFSET_FILTER_BITS_PER_KEY, shape->filter_bits_per_key);
}

static struct tac_shape shape_decode(const uint8_t *copy)
{
    return (struct tac_shape){
        .memtable_size = tac_load_u64(copy + OFFSET_MEMTABLE_SIZE),
        .table_size = tac_load_u64(copy + OFFSET_TABLE_SIZE),
        .slice_size = tac_load_u64(copy + OFFSET_SLICE_SIZE),
        .file_size_max = tac_load_u64(copy + OFFSET_FILE_SIZE_MAX),
        .block_size = tac_load_u32(copy + OFFSET_BLOCK_SIZE),
        .page_size = tac_load_u32(copy + OFFSET_PAGE_SIZE),
        .runs_per_level = tac_load_u32(copy + OFFSET_RUNS_PER_LEVEL),
        .last_ratio = tac_load_u32(copy + OFFSET_LAST_RATIO),
        .beats_per_bar = tac_load_u32(copy + OFFSET_BEATS_PER_BAR),
        .lag_beats = tac_load_u32(copy + OFFSET_LAG_BEATS),
        .checkpoint_interval_bars = tac_load_u32(copy + OFFSET_CHECKPOINT_INTERVAL_BARS),
        .filter_bits_per_key = tac_load_u32(copy + OFFSET_FILTER_BITS_PER_KEY),
    };
}

static void sweep_encode(uint8_t *copy, const struct tac_sweep *sweep)
{
    const struct tac_sweep_key *keys[] = {&sweep->low, &sweep->high, &sweep->place};

    tac_store_u64(copy + OFFSET_SWEEP_OP, sweep->op);
    tac_store_u64(copy + OFFSET_SWEEP_BYTES_TOTAL, sweep->bytes_total);
    tac_store_u64(copy + OFFSET_SWEEP_PASSES_TOTAL, sweep->passes_total);
    copy[OFFSET_SWEEP_TREE] = (uint8_t)sweep->tree;
    copy[OFFSET_SWEEP_LEVEL] = (uint8_t)sweep->level;
    copy[OFFSET_SWEEP_BARS_WAIT] = (uint8_t)sweep->bars_wait;
    copy[OFFSET_SWEEP_PLANS_HELD] = (uint8_t)sweep->plans_held;
    for (uint32_t i = 0; i < TAC_ARRAY_COUNT(keys); i++) {
        tac_assert(keys[i]->size <= TAC_SWEEP_KEY_BYTES);
        tac_store_u16(copy + OFFSET_SWEEP_KEY_SIZES + 2 * i, (uint16_t)keys[i]->size);
        memcpy(copy + OFFSET_SWEEP_KEYS + i * TAC_SWEEP_KEY_BYTES, keys[i]->bytes, keys[i]->size);
    }
}

/* Sizes that cannot be are kept for contents_check; no byte is taken beyond a key's room. */
static struct tac_sweep sweep_decode(const uint8_t *copy)
{
    struct tac_sweep sweep = {
        .op = tac_load_u64(copy + OFFSET_SWEEP_OP),
        .bytes_total = tac_load_u64(copy + OFFSET_SWEEP_BYTES_TOTAL),
        .passes_total = tac_load_u64(copy + OFFSET_SWEEP_PASSES_TOTAL),
        .tree = copy[OFFSET_SWEEP_TREE],
        .level = copy[OFFSET_SWEEP_LEVEL],
        .bars_wait = copy[OFFSET_SWEEP_BARS_WAIT],
        .plans_held = copy[OFFSET_SWEEP_PLANS_HELD],
    };
    struct tac_sweep_key *keys[] = {&sweep.low, &sweep.high, &sweep.place};

    for (uint32_t i = 0; i < TAC_ARRAY_COUNT(keys); i++) {
        keys[i]->size = tac_load_u16(copy + OFFSET_SWEEP_KEY_SIZES + 2 * i);
        memcpy(keys[i]->bytes, copy + OFFSET_SWEEP_KEYS + i * TAC_SWEEP_KEY_BYTES,
               tac_min_u64(keys[i]->size, TAC_SWEEP_KEY_BYTES));
    }
    return sweep;
}

static struct tac_u128 copy_checksum(const uint8_t *copy)
{
    /* The UUID is not known before; it is among the covered bytes, so no seed is needed. */
    return tac_checksum(copy + OFFSET_COVERED, TAC_SUPERBLOCK_BYTES - OFFSET_COVERED, 0);
}

void tac_superblock_encode(uint8_t *copy, const struct tac_superblock *superblock,
                           uint32_t copy_number)
{
    tac_assert(copy_number < TAC_SUPERBLOCK_COPIES);
    tac_assert(superblock->sequence > 0);
    tac_assert(superblock->free_set_block_count <= TAC_FREE_SET_BLOCKS_MAX);
    memset(copy, 0, TAC_SUPERBLOCK_BYTES);
    memcpy(copy + OFFSET_MAGIC, MAGIC, MAGIC_BYTES);
    tac_store_u64(copy + OFFSET_COPY_NUMBER, copy_number);
    tac_store_u32(copy + OFFSET_VERSION, VERSION);
    tac_store_u64(copy + OFFSET_FEATURES_COMPATIBLE, superblock->features_compatible);
    tac_store_u64(copy + OFFSET_FEATURES_INCOMPATIBLE, superblock->features_incompatible);
    memcpy(copy + OFFSET_UUID, superblock->uuid, TACTUS_UUID_BYTES);
    tac_store_u64(copy + OFFSET_SEQUENCE, superblock->sequence);
    u128_store(copy + OFFSET_PARENT, superblock->parent_checksum);
    shape_encode(copy, &superblock->shape);
    tac_store_u64(copy + OFFSET_OP_PERSISTED, superblock->op_persisted);
    tac_store_u64(copy + OFFSET_OP_COMPACTED, superblock->op_compacted);
    tac_store_u64(copy + OFFSET_OP_RELEASED, superblock->op_released);
    tac_store_u64(copy + OFFSET_BAR_COUNT, superblock->bar_count);
    tac_store_u64(copy + OFFSET_TABLE_ID_LAST, superblock->table_id_last);
    tac_store_u64(copy + OFFSET_STAMP_LAST, superblock->stamp_last);
    tac_store_u64(copy + OFFSET_TABLE_COUNT, superblock->table_count);
    tac_store_u64(copy + OFFSET_BLOCKS_IN_FILE, superblock->blocks_in_file);
    u128_store(copy + OFFSET_MANIFEST_CHECKSUM, superblock->manifest_checksum);
    reference_store(copy + OFFSET_MANIFEST_NEWEST, superblock->manifest_newest);
    tac_store_u64(copy + OFFSET_MANIFEST_OLDEST_SEQUENCE, superblock->manifest_oldest_sequence);
    tac_store_u64(copy + OFFSET_MANIFEST_BLOCK_COUNT, superblock->manifest_block_count);
    tac_store_u32(copy + OFFSET_FREE_SET_BLOCK_COUNT, superblock->free_set_block_count);
    tac_store_u32(copy + OFFSET_CONTROL_FLAGS, superblock->control.flags);
    tac_store_u32(copy + OFFSET_BARS_STUCK, superblock->control.bars_stuck);
    tac_store_u64(copy + OFFSET_MANUAL_TREES, superblock->control.manual_trees);
    tac_store_u32(copy + OFFSET_BARS_SETTLED, superblock->control.bars_settled);
    tac_store_u32(copy + OFFSET_BARS_OWED, superblock->control.bars_owed);
    sweep_encode(copy, &superblock->control.sweep);
    for (uint32_t i = 0; i < superblock->free_set_block_count; i++) {
        reference_store(copy + OFFSET_FREE_SET + i * REFERENCE_BYTES, superblock->free_set[i]);
    }
    reference_store(copy + OFFSET_SNAPSHOTS, superblock->snapshots);
    u128_store(copy + OFFSET_CHECKSUM, copy_checksum(copy));
}

struct tac_u128 tac_superblock_checksum(const struct tac_superblock *superblock)
{
    uint8_t copy[TAC_SUPERBLOCK_BYTES];

    tac_superblock_encode(copy, superblock, 0);
    return u128_load(copy + OFFSET_CHECKSUM);
}

/* ---- contents ------------------------------------------------------------------------------- */

static bool reference_is_possible(const struct tac_superblock      *superblock,
                                  const struct tac_block_reference *reference)
{
    return reference->address < superblock->blocks_in_file &&
           !tac_free_set_address_is_superblock(reference->address);
}

static int snapshots_check(const struct tac_superblock *superblock, struct tac_error *error)
{
    const struct tac_block_reference *reference = &superblock->snapshots;
    bool                              is_possible = reference_is_possible(superblock, reference) &&
                       (superblock->features_incompatible & TAC_FEATURE_SNAPSHOTS) != 0 &&
                       reference->address != superblock->manifest_newest.address;

    if (reference->address == 0 && tac_u128_is_zero(reference->checksum)) {
        return TACTUS_OK;
    }
    for (uint32_t i = 0; i < superblock->free_set_block_count; i++) {
        is_possible = is_possible && superblock->free_set[i].address != reference->address;
    }
    return is_possible
               ? TACTUS_OK
               : tac_error_set(error, TACTUS_ECORRUPT,
                               "superblock: block %llu cannot hold the directory of snapshots",
                               (unsigned long long)reference->address);
}

static int references_check(const struct tac_superblock *superblock, struct tac_error *error)
{
    uint64_t log_count = superblock->manifest_block_count;

    if (log_count == 0 ? superblock->manifest_newest.address != 0 ||
                             !tac_u128_is_zero(superblock->manifest_newest.checksum) ||
                             superblock->table_count != 0
                       : !reference_is_possible(superblock, &superblock->manifest_newest) ||
                             superblock->manifest_oldest_sequence == 0 ||
                             log_count > superblock->blocks_in_file) {
        return tac_error_set(error, TACTUS_ECORRUPT,
                             "superblock: a manifest log of %llu blocks up to block %llu, oldest "
                             "sequence %llu, %llu tables is impossible",
                             (unsigned long long)log_count,
                             (unsigned long long)superblock->manifest_newest.address,
                             (unsigned long long)superblock->manifest_oldest_sequence,
                             (unsigned long long)superblock->table_count);
    }
    for (uint32_t i = 0; i < superblock->free_set_block_count; i++) {
        uint64_t address = superblock->free_set[i].address;
        bool     is_possible = reference_is_possible(superblock, &superblock->free_set[i]);

        for (uint32_t j = 0; j < i; j++) {
            is_possible = is_possible && superblock->free_set[j].address != address;
        }
        if (!is_possible || (log_count > 0 && address == superblock->manifest_newest.address)) {
            return tac_error_set(error, TACTUS_ECORRUPT,
                                 "superblock: block %llu cannot hold part %u of the free set",
                                 (unsigned long long)address, i);
        }
    }
    return snapshots_check(superblock, error);
}

/* Numbers that only ever grow by one: what comes next must be above them. */
static int counters_check(const struct tac_superblock *superblock, struct tac_error *error)
{
    const struct {
        const char *name;
        uint64_t    value;
    } counters[] = {
        {"sequence", superblock->sequence},
        {"persisted op", superblock->op_persisted},
        {"compacted op", superblock->op_compacted},
        {"released op", superblock->op_released},
        {"bar count", superblock->bar_count},
        {"last table id", superblock->table_id_last},
        {"last stamp", superblock->stamp_last},
        {"manifest log's oldest sequence", superblock->manifest_oldest_sequence},
    };

    for (size_t i = 0; i < TAC_ARRAY_COUNT(counters); i++) {
        if (counters[i].value > COUNTER_MAX) {
            return tac_error_set(error, TACTUS_ECORRUPT,
                                 "superblock: %s %llu is beyond what any store reaches (%llu)",
                                 counters[i].name, (unsigned long long)counters[i].value,
                                 (unsigned long long)COUNTER_MAX);
        }
    }
    return TACTUS_OK;
}

static int sweep_check(const struct tac_superblock *superblock, struct tac_error *error)
{
    const struct tac_sweep *sweep = &superblock->control.sweep;
    bool is_none = sweep->op == 0 && sweep->bytes_total == 0 && sweep->passes_total == 0 &&
                   sweep->tree == 0 && sweep->level == 0 && sweep->bars_wait == 0 &&
                   sweep->plans_held == 0 && sweep->low.size == 0 && sweep->high.size == 0 &&
                   sweep->place.size == 0;

    if (is_none ||
        (sweep->op > 0 && sweep->op <= superblock->op_compacted && sweep->tree < TACTUS_TREES_MAX &&
         sweep->level < TACTUS_LEVELS_MAX && sweep->bars_wait <= TAC_SWEEP_BARS_WAIT &&
         sweep->low.size <= TAC_SWEEP_KEY_BYTES && sweep->high.size <= TAC_SWEEP_KEY_BYTES &&
         sweep->place.size <= TAC_SWEEP_KEY_BYTES)) {
        return TACTUS_OK;
    }
    return tac_error_set(error, TACTUS_ECORRUPT,
                         "superblock: a compaction of a range, op %llu, tree %u, level %u, keys of "
                         "%u, %u and %u bytes, is impossible",
                         (unsigned long long)sweep->op, sweep->tree, sweep->level, sweep->low.size,
                         sweep->high.size, sweep->place.size);
}

/* A checksum proves nothing about who wrote it: every number is checked before it is used. */
static int contents_check(const struct tac_superblock *superblock, struct tac_error *error)
{
    struct tac_error shape_error;
    uint64_t         blocks_min = (TAC_SUPERBLOCK_COPIES - 1) * TAC_SUPERBLOCK_STRIDE_BLOCKS + 1;
    uint64_t         blocks_max;

    if (tac_shape_check(&superblock->shape, &shape_error) != TACTUS_OK) {
        return tac_error_set(error, TACTUS_ECORRUPT, "superblock: %.400s", shape_error.message);
    }
    blocks_max = superblock->shape.file_size_max / superblock->shape.block_size;
    if (superblock->blocks_in_file < blocks_min || superblock->blocks_in_file > blocks_max) {
        return tac_error_set(error, TACTUS_ECORRUPT,
                             "superblock: the file is said to have %llu blocks, must be %llu to "
                             "%llu",
                             (unsigned long long)superblock->blocks_in_file,
                             (unsigned long long)blocks_min, (unsigned long long)blocks_max);
    }
    if (superblock->op_persisted > superblock->op_compacted) {
        return tac_error_set(error, TACTUS_ECORRUPT,
                             "superblock: persisted op %llu is above compacted op %llu",
                             (unsigned long long)superblock->op_persisted,
                             (unsigned long long)superblock->op_compacted);
    }
    if ((superblock->control.flags & ~(uint32_t)TAC_CONTROL_KNOWN) != 0 ||
        (superblock->control.flags & TAC_CONTROL_FULL_MASK) == TAC_CONTROL_FULL_MASK ||
        ((superblock->control.flags & TAC_CONTROL_LET_IN) != 0 &&
         (superblock->control.flags & TAC_CONTROL_FULL_MASK) == 0)) {
        return tac_error_set(error, TACTUS_ECORRUPT,
                             "superblock: control flags 0x%x are impossible",
                             superblock->control.flags);
    }
    if (superblock->control.bars_owed > TAC_BARS_OWED_MAX) {
        return tac_error_set(error, TACTUS_ECORRUPT,
                             "superblock: an ingest owes %u bars; at most %u",
                             superblock->control.bars_owed, TAC_BARS_OWED_MAX);
    }
    if (superblock->table_count > superblock->table_id_last) {
        return tac_error_set(error, TACTUS_ECORRUPT,
                             "superblock: %llu tables, but the last one has id %llu",
                             (unsigned long long)superblock->table_count,
                             (unsigned long long)superblock->table_id_last);
    }
    if (counters_check(superblock, error) != TACTUS_OK ||
        sweep_check(superblock, error) != TACTUS_OK) {
        return TACTUS_ECORRUPT;
    }
    return references_check(superblock, error);
}

static int features_check(const uint8_t *copy, struct tac_error *error)
{
    uint32_t version = tac_load_u32(copy + OFFSET_VERSION);
    uint64_t read_only = tac_load_u64(copy + OFFSET_FEATURES_READ_ONLY) & ~FEATURES_READ_ONLY_KNOWN;
    uint64_t incompatible = tac_load_u64(copy + OFFSET_FEATURES_INCOMPATIBLE) &
                            ~(uint64_t)TAC_FEATURES_INCOMPATIBLE_KNOWN;

    if (version != VERSION) {
        return tac_error_set(error, TACTUS_EFORMAT,
                             "the store has format version %u, this library reads version %u only",
                             version, VERSION);
    }
    if (incompatible != 0) {
        return tac_error_set(error, TACTUS_EFORMAT,
                             "the store uses features that this library does not know "
                             "(incompatible flags 0x%llx); open it with a newer one",
                             (unsigned long long)incompatible);
    }
    if (read_only != 0) {
        return tac_error_set(error, TACTUS_EFORMAT,
                             "the store uses features that this library must not write "
                             "(read-only compatible flags 0x%llx); open it with a newer one",
                             (unsigned long long)read_only);
    }
    return TACTUS_OK;
}

static int copy_decode(const uint8_t *copy, struct tac_superblock *ret_superblock,
                       struct tac_error *error)
{
    struct tac_superblock superblock = {
        .features_compatible = tac_load_u64(copy + OFFSET_FEATURES_COMPATIBLE),
        .features_incompatible = tac_load_u64(copy + OFFSET_FEATURES_INCOMPATIBLE),
        .sequence = tac_load_u64(copy + OFFSET_SEQUENCE),
        .parent_checksum = u128_load(copy + OFFSET_PARENT),
        .shape = shape_decode(copy),
        .op_persisted = tac_load_u64(copy + OFFSET_OP_PERSISTED),
        .op_compacted = tac_load_u64(copy + OFFSET_OP_COMPACTED),
        .op_released = tac_load_u64(copy + OFFSET_OP_RELEASED),
        .bar_count = tac_load_u64(copy + OFFSET_BAR_COUNT),
        .table_id_last = tac_load_u64(copy + OFFSET_TABLE_ID_LAST),
        .stamp_last = tac_load_u64(copy + OFFSET_STAMP_LAST),
        .table_count = tac_load_u64(copy + OFFSET_TABLE_COUNT),
        .manifest_checksum = u128_load(copy + OFFSET_MANIFEST_CHECKSUM),
        .manifest_newest = reference_load(copy + OFFSET_MANIFEST_NEWEST),
        .manifest_oldest_sequence = tac_load_u64(copy + OFFSET_MANIFEST_OLDEST_SEQUENCE),
        .manifest_block_count = tac_load_u64(copy + OFFSET_MANIFEST_BLOCK_COUNT),
        .blocks_in_file = tac_load_u64(copy + OFFSET_BLOCKS_IN_FILE),
        .free_set_block_count = tac_load_u32(copy + OFFSET_FREE_SET_BLOCK_COUNT),
        .snapshots = reference_load(copy + OFFSET_SNAPSHOTS),
        .control =
            {
                .flags = tac_load_u32(copy + OFFSET_CONTROL_FLAGS),
                .bars_stuck = tac_load_u32(copy + OFFSET_BARS_STUCK),
                .manual_trees = tac_load_u64(copy + OFFSET_MANUAL_TREES),
                .bars_settled = tac_load_u32(copy + OFFSET_BARS_SETTLED),
                .bars_owed = tac_load_u32(copy + OFFSET_BARS_OWED),
                .sweep = sweep_decode(copy),
            },
    };
    int rv = features_check(copy, error);

    if (rv != TACTUS_OK) {
        return rv;
    }
    if (superblock.sequence == 0 || superblock.free_set_block_count > TAC_FREE_SET_BLOCKS_MAX) {
        return tac_error_set(error, TACTUS_ECORRUPT,
                             "superblock: sequence %llu with %u free-set blocks is impossible",
                             (unsigned long long)superblock.sequence,
                             superblock.free_set_block_count);
    }
    memcpy(superblock.uuid, copy + OFFSET_UUID, TACTUS_UUID_BYTES);
    for (uint32_t i = 0; i < superblock.free_set_block_count; i++) {
        superblock.free_set[i] = reference_load(copy + OFFSET_FREE_SET + i * REFERENCE_BYTES);
    }
    rv = contents_check(&superblock, error);
    if (rv != TACTUS_OK) {
        return rv;
    }
    /* A repair writes what was decoded: it must be the same superblock, not a second one. */
    if (!tac_u128_equal(tac_superblock_checksum(&superblock), u128_load(copy + OFFSET_CHECKSUM))) {
        return tac_error_set(error, TACTUS_ECORRUPT, "superblock: bytes that must be zero are not");
    }
    *ret_superblock = superblock;
    return TACTUS_OK;
}

/* ---- choosing among copies ------------------------------------------------------------------ */

struct copy_view {
    const uint8_t  *bytes; /* NULL: not a whole superblock of this store */
    uint64_t        sequence;
    struct tac_u128 checksum;
    bool            is_in_place; /* Carries the number of the copy that was read */
};

static int views_load(const uint8_t *const copies[TAC_SUPERBLOCK_COPIES],
                      struct copy_view views[TAC_SUPERBLOCK_COPIES], struct tac_error *error)
{
    uint32_t read_count = 0, magic_count = 0, whole_count = 0;

    for (uint32_t i = 0; i < TAC_SUPERBLOCK_COPIES; i++) {
        const uint8_t *copy = copies[i];

        views[i] = (struct copy_view){0};
        read_count += copy != NULL;
        if (copy == NULL || memcmp(copy + OFFSET_MAGIC, MAGIC, MAGIC_BYTES) != 0) {
            continue;
        }
        magic_count++;
        views[i].checksum = u128_load(copy + OFFSET_CHECKSUM);
        if (!tac_u128_equal(views[i].checksum, copy_checksum(copy))) {
            continue;
        }
        whole_count++;
        views[i].bytes = copy;
        views[i].sequence = tac_load_u64(copy + OFFSET_SEQUENCE);
        views[i].is_in_place =
            tac_load_u64(copy + OFFSET_COPY_NUMBER) == i || TAC_MUTANT(COPY_ANYWHERE);
    }
    if (whole_count > 0) {
        return TACTUS_OK;
    }
    if (read_count > 0 && magic_count == 0) {
        return tac_error_set(error, TACTUS_EFORMAT, "not a Tactus store: no superblock found");
    }
    return tac_error_set(error, TACTUS_ECORRUPT,
                         "no superblock copy is whole: of %u copies %u could be read and %u have "
                         "a superblock's mark",
                         (uint32_t)TAC_SUPERBLOCK_COPIES, read_count, magic_count);
}

/* How many copies are of the same store as copy `index`. */
static uint32_t views_alike(const struct copy_view views[TAC_SUPERBLOCK_COPIES], uint32_t index)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < TAC_SUPERBLOCK_COPIES && views[index].bytes != NULL; i++) {
        count += views[i].bytes != NULL &&
                 memcmp(views[i].bytes + OFFSET_UUID, views[index].bytes + OFFSET_UUID,
                        TACTUS_UUID_BYTES) == 0;
    }
    return count;
}

/* A copy with another store's UUID was misdirected here. The UUID of most copies is ours. */
static int views_keep_own(struct copy_view views[TAC_SUPERBLOCK_COPIES], struct tac_error *error)
{
    uint32_t counts[TAC_SUPERBLOCK_COPIES];
    uint32_t count_max = 0, own_count = 0;

    for (uint32_t i = 0; i < TAC_SUPERBLOCK_COPIES; i++) {
        counts[i] = views_alike(views, i);
        count_max = counts[i] > count_max ? counts[i] : count_max;
    }
    tac_assert(count_max > 0);
    for (uint32_t i = 0; i < TAC_SUPERBLOCK_COPIES; i++) {
        own_count += counts[i] == count_max;
    }
    if (own_count != count_max) {
        return tac_error_set(error, TACTUS_EFORK,
                             "superblock copies of two stores with different UUIDs; restore the "
                             "file from a backup");
    }
    for (uint32_t i = 0; i < TAC_SUPERBLOCK_COPIES; i++) {
        if (counts[i] != count_max) {
            views[i].bytes = NULL;
        }
    }
    return TACTUS_OK;
}

/* The newest superblock, if the other copies do not contradict it. */
static int views_choose(const struct copy_view views[TAC_SUPERBLOCK_COPIES], uint32_t *ret_newest,
                        struct tac_error *error)
{
    uint32_t newest = TAC_SUPERBLOCK_COPIES;

    for (uint32_t i = 0; i < TAC_SUPERBLOCK_COPIES; i++) {
        if (views[i].bytes != NULL &&
            (newest == TAC_SUPERBLOCK_COPIES ||
             (views[i].sequence > views[newest].sequence) != TAC_MUTANT(OLDER_ROOT))) {
            newest = i;
        }
    }
    tac_assert(newest < TAC_SUPERBLOCK_COPIES);
    for (uint32_t i = 0; i < TAC_SUPERBLOCK_COPIES; i++) {
        struct tac_u128 expected;

        if (views[i].bytes == NULL) {
            continue;
        }
        if (views[i].sequence == views[newest].sequence) {
            expected = views[newest].checksum;
        } else if (views[i].sequence + 1 == views[newest].sequence) {
            expected = u128_load(views[newest].bytes + OFFSET_PARENT);
        } else {
            continue;
        }
        if (!tac_u128_equal(views[i].checksum, expected)) {
            return tac_error_set(error, TACTUS_EFORK,
                                 "superblock copies %u (sequence %llu) and %u (sequence %llu) are "
                                 "of two different histories; restore the file from a backup",
                                 i, (unsigned long long)views[i].sequence, newest,
                                 (unsigned long long)views[newest].sequence);
        }
    }
    *ret_newest = newest;
    return TACTUS_OK;
}

int tac_superblock_choose(const uint8_t *const          copies[TAC_SUPERBLOCK_COPIES],
                          struct tac_superblock_choice *ret_choice, struct tac_error *error)
{
    struct copy_view             views[TAC_SUPERBLOCK_COPIES];
    struct tac_superblock_choice choice = {0};
    uint32_t                     newest = 0, first;
    int                          rv;

    rv = views_load(copies, views, error);
    if (rv == TACTUS_OK) {
        rv = views_keep_own(views, error);
    }
    if (rv == TACTUS_OK) {
        rv = views_choose(views, &newest, error);
    }
    if (rv == TACTUS_OK) {
        rv = copy_decode(views[newest].bytes, &choice.superblock, error);
    }
    if (rv != TACTUS_OK) {
        return rv;
    }
    /* Phase 1 makes the chosen pair whole. Phase 2 overwrites in the other pair what a later open
     * might take for a superblock newer than, or beside, the chosen one; its good older copies
     * stay. A good copy is never rewritten: a torn rewrite could lose the only one. That may be one
     * that was misdirected to the other's place in the pair: it waits for phase 2. */
    first = tac_superblock_copy_first(choice.superblock.sequence);
    for (uint32_t i = 0; i < TAC_SUPERBLOCK_COPIES; i++) {
        bool is_whole = views[i].bytes != NULL;
        bool is_in_pair = i == first || i == first + 1;

        if (is_in_pair && (!is_whole || views[i].sequence != choice.superblock.sequence ||
                           TAC_MUTANT(GOOD_COPY_REWRITTEN))) {
            choice.repair_first_mask |= 1u << i;
        } else if (!is_whole || !views[i].is_in_place) {
            choice.repair_second_mask |= 1u << i;
        }
    }
    *ret_choice = choice;
    return TACTUS_OK;
}
