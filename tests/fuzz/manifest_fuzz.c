/* SPDX-License-Identifier: Apache-2.0 */
/* manifest_fuzz -- a chain of manifest-log blocks, replayed.
 *
 * The input is a list of events, which are put into blocks with right headers, references and
 * checksums; then the superblock gets the checksum of whatever manifest they give. What is accepted
 * must be sound, must serve readers, and its log must go on: with changes, compaction, a checkpoint
 * and a replay that finds the same. */
#include <stdlib.h>

#include "base/units.h"
#include "lsm/manifest_log_internal.h"
#include "tests/fuzz/fuzz.h"

const uint32_t fuzz_cost = 1;

#define BLOCK_SIZE 4096
#define BLOCKS_MAX 24 /* Of a chain; a checkpoint's are among them */
#define CHAIN_MAX 8
#define TABLES_MAX 1024 /* The least that a store may have */
#define SEQUENCE 10     /* Of the superblock */

/* Of an event's first byte: what it is, and */
enum {
    EVENT_RAW,
    EVENT_TREE,
    EVENT_TABLE,
    EVENT_REMOVE,
    EVENT_NEW_BLOCK = 4, /* … goes into a new block, */
    EVENT_PATCH = 8,     /* … is followed by a change of its block */
    EVENT_OPS = 16,      /* Of a tree: with the ops that created and dropped it */
    EVENT_RANGE = 32,    /* Of a remove: of a deleted range in its place */
};
#define OP_PERSISTED 1000
#define TABLE_FIELDS_BYTES 128
#define TABLE_KEY_MIN_SIZE 76
#define RANGE_LOW_SIZE 20

static const struct tac_geometry geometry = {.block_size = BLOCK_SIZE, .page_size = 512};

struct chain {
    uint8_t               blocks[BLOCKS_MAX][BLOCK_SIZE]; /* Block i has address i + 1 */
    uint32_t              used_bytes[BLOCKS_MAX], event_counts[BLOCKS_MAX];
    struct fuzz_patch     patches[BLOCKS_MAX];
    uint32_t              count; /* Of the input; at least 1 */
    struct tac_superblock superblock;
};

static struct chain chain;

/* ---- the chain ------------------------------------------------------------------------------ */

/* Takes an event's fields, and the keys or bounds behind them, whose sizes are among the fields. */
static uint32_t keys_take(struct fuzz_input *input, uint32_t fields_bytes, uint32_t size_offset,
                          uint8_t *event)
{
    uint32_t keys;

    fuzz_take(input, event, fields_bytes);
    keys = (uint32_t)tac_load_u16(event + size_offset) + tac_load_u16(event + size_offset + 2);
    keys = (uint32_t)tac_min_u64(keys, 2 * TACTUS_KEY_SIZE_MAX);
    fuzz_take(input, event + fields_bytes, keys);
    return (uint32_t)tac_round_up(fields_bytes + keys, 8);
}

/* Takes one event. Returns its size in the block. */
static uint32_t event_take(struct fuzz_input *input, uint32_t control, uint8_t *event)
{
    static const uint8_t kinds[] = {
        [EVENT_TREE] = TAC_MANIFEST_EVENT_TREE,
        [EVENT_TABLE] = TAC_MANIFEST_EVENT_TABLE,
        [EVENT_REMOVE] = TAC_MANIFEST_EVENT_REMOVE,
    };
    uint32_t size = TAC_MANIFEST_EVENT_REMOVE_BYTES;
    uint32_t kind = control % 4u;
    bool     is_range = kind == EVENT_REMOVE && (control & EVENT_RANGE) != 0;

    memset(event, 0, TAC_MANIFEST_EVENT_BYTES_MAX);
    switch (kind) {
    case EVENT_RAW:
        size = fuzz_take_u16(input) % TAC_MANIFEST_EVENT_BYTES_MAX / 8 * 8;
        fuzz_take(input, event, size);
        return size;
    case EVENT_TREE:
        size = (control & EVENT_OPS) != 0 ? TAC_MANIFEST_EVENT_TREE_OPS_BYTES
                                          : TAC_MANIFEST_EVENT_TREE_BYTES;
        fuzz_take(input, event, size);
        break;
    case EVENT_TABLE:
        size = keys_take(input, TABLE_FIELDS_BYTES, TABLE_KEY_MIN_SIZE, event);
        break;
    default:
        if (is_range) {
            size = keys_take(input, TAC_MANIFEST_EVENT_RANGE_BYTES, RANGE_LOW_SIZE, event);
        } else {
            fuzz_take(input, event, size);
        }
    }
    tac_store_u16(event, (uint16_t)size);
    event[2] = is_range ? TAC_MANIFEST_EVENT_RANGE : kinds[kind];
    return size;
}

static void blocks_fill(struct fuzz_input *input)
{
    uint8_t  event[TAC_MANIFEST_EVENT_BYTES_MAX + 8];
    uint32_t i = 0;

    memset(chain.blocks, 0, sizeof chain.blocks);
    memset(chain.patches, 0, sizeof chain.patches);
    memset(chain.event_counts, 0, sizeof chain.event_counts);
    chain.used_bytes[0] = TAC_LOG_OFFSET_EVENTS;
    while (input->size > 0) {
        uint8_t  control = fuzz_take_u8(input);
        uint32_t size = event_take(input, control, event);

        if ((control & EVENT_NEW_BLOCK) != 0 || chain.used_bytes[i] + size > BLOCK_SIZE) {
            if (i + 1 == CHAIN_MAX) {
                break;
            }
            i++;
            chain.used_bytes[i] = TAC_LOG_OFFSET_EVENTS;
        }
        memcpy(chain.blocks[i] + chain.used_bytes[i], event, size);
        chain.used_bytes[i] += size;
        chain.event_counts[i]++;
        if ((control & EVENT_PATCH) != 0) {
            chain.patches[i] = fuzz_take_patch(input);
        }
    }
    chain.count = i + 1;
}

static void blocks_seal(void)
{
    struct tac_block_reference reference = {0};

    for (uint32_t i = 0; i < chain.count; i++) {
        uint8_t *block = chain.blocks[i];

        tac_block_header_encode(block, &(struct tac_block_header){
                                           .kind = TAC_BLOCK_MANIFEST,
                                           .address = i + 1,
                                           .sequence = SEQUENCE - (i == 0),
                                           .used_bytes = chain.used_bytes[i],
                                       });
        tac_store_u64(block + TAC_LOG_OFFSET_SEQUENCE,
                      chain.superblock.manifest_oldest_sequence + i);
        tac_store_u64(block + TAC_LOG_OFFSET_PREVIOUS, reference.address);
        tac_store_u64(block + TAC_LOG_OFFSET_PREVIOUS + 8, reference.checksum.low);
        tac_store_u64(block + TAC_LOG_OFFSET_PREVIOUS + 16, reference.checksum.high);
        tac_store_u32(block + TAC_LOG_OFFSET_EVENT_COUNT, chain.event_counts[i]);
        if (chain.patches[i].size > 0) {
            fuzz_patch_apply(&chain.patches[i], block, 256);
        }
        reference.address = i + 1;
        reference.checksum = tac_block_checksum(block, &geometry);
    }
    chain.superblock.manifest_newest = reference;
    chain.superblock.manifest_block_count = chain.count;
}

static int block_read(void *context, const struct tac_block_reference *reference,
                      enum tac_block_kind kind, uint8_t *block, struct tac_error *error)
{
    (void)context;
    if (reference->address == 0 || reference->address > BLOCKS_MAX) {
        return tac_error_set(error, TACTUS_ECORRUPT, "no block %llu",
                             (unsigned long long)reference->address);
    }
    memcpy(block, chain.blocks[reference->address - 1], BLOCK_SIZE);
    return tac_block_verify(block, &geometry, kind, reference, error);
}

/* ---- replay --------------------------------------------------------------------------------- */

struct replayed {
    struct tac_manifest     *manifest;
    struct tac_manifest_log *log;
};

static int replay(struct replayed *replayed)
{
    struct tac_error error;
    int              rv;

    tac_error_clear(&error);
    replayed->manifest = tac_manifest_new(TABLES_MAX);
    replayed->log = tac_manifest_log_new(&geometry, BLOCKS_MAX);
    tac_assert(replayed->manifest != NULL && replayed->log != NULL);
    rv = tac_manifest_log_replay(replayed->log, replayed->manifest, &chain.superblock, block_read,
                                 NULL, &error);
    tac_assert(rv == TACTUS_OK || (error.code == rv && error.message[0] != 0));
    return rv;
}

static void replayed_free(struct replayed *replayed)
{
    tac_manifest_log_free(replayed->log);
    tac_manifest_free(replayed->manifest);
}

/* They are what an op each has deleted, up to P, of a tree that there is; readers find each. */
static void ranges_check(struct tac_manifest *manifest, const struct tac_version *version)
{
    uint64_t before = 0;

    for (uint32_t i = 0; i < tac_manifest_range_count(manifest); i++) {
        const struct tac_manifest_range *range = tac_manifest_range(manifest, i);
        const struct tac_manifest_tree  *tree = tac_manifest_tree(manifest, range->tree);
        const struct tac_version_tree   *seen = &version->trees[range->tree];

        tac_assert(range->range.op > before && range->range.op <= OP_PERSISTED && !tree->is_gone);
        tac_assert(range->range.low.size > 0 &&
                   tac_bytes_compare(range->range.low, range->range.high) < 0);
        tac_assert(!tree->is_open || tac_range_edges_op(seen->edges, seen->edge_count,
                                                        range->range.low) >= range->range.op);
        before = range->range.op;
    }
}

/* Among what a reader finds for the table's last key. */
static uint32_t times_found(const struct tac_version_tree *tree, const struct tac_table *table)
{
    struct tac_table *found[TABLES_MAX];
    uint32_t          count = tac_version_find(tree, table->key_max, found, TABLES_MAX), times = 0;

    for (uint32_t i = 0; i < count; i++) {
        times += found[i] == table;
    }
    return times;
}

/* Readers find every table of an open tree by its keys, in the version of the manifest. */
static void version_check(struct tac_manifest *manifest)
{
    struct tac_version *version = tac_version_new(TABLES_MAX);

    tac_assert(version != NULL);
    tac_version_fill(version, manifest, 1);
    for (uint32_t i = 0; i < tac_manifest_tree_count(manifest); i++) {
        const struct tac_manifest_tree *tree = tac_manifest_tree(manifest, i);
        uint32_t                        id = tac_tree_id(i, tree->generation);

        tac_assert((tac_version_tree_find(version, id) != NULL) == tree->is_open);
        for (uint32_t level = 0; tree->is_open && level < TACTUS_LEVELS_MAX; level++) {
            const struct tac_manifest_level *tables = &tree->levels[level];
            const struct tac_version_level  *runs = &version->trees[i].levels[level];

            tac_assert(tables->table_count == 0 || level <= tree->planner.last_level);
            tac_assert(runs->run_count == tac_manifest_level_depth(tables));
            for (uint32_t j = 0; j < tables->table_count; j++) {
                tac_assert(times_found(&version->trees[i], tables->tables[j]) == 1);
            }
        }
    }
    ranges_check(manifest, version);
    tac_version_free(version);
}

/* Half of the ranges are over; the next op deletes another. */
static void ranges_go_on(struct replayed *replayed)
{
    struct tac_manifest *manifest = replayed->manifest;
    const uint8_t        bounds[2] = {'a', 'b'};
    struct tac_range     range = {
            .op = OP_PERSISTED + 1, .low = {&bounds[0], 1}, .high = {&bounds[1], 1}};

    for (uint32_t i = tac_manifest_range_count(manifest); i > 0; i--) {
        const struct tac_manifest_range *over = tac_manifest_range(manifest, i - 1);

        if (i % 2 == 1) {
            tac_manifest_log_range_over(replayed->log, tac_manifest_tree(manifest, over->tree),
                                        over);
            tac_manifest_range_remove(manifest, i - 1);
        }
    }
    for (uint32_t i = 0; i < tac_manifest_tree_count(manifest); i++) {
        struct tac_manifest_tree *tree = tac_manifest_tree(manifest, i);

        if (tree->is_open) {
            tac_manifest_range_add(manifest, i, &range, 0);
            tac_manifest_log_range(
                replayed->log, tree,
                tac_manifest_range(manifest, tac_manifest_range_count(manifest) - 1));
            break;
        }
    }
}

/* Some of the discarded tables go, then bars end until numbers are free; another tree gets one. */
static void trees_go_on(struct replayed *replayed)
{
    struct tac_manifest    *manifest = replayed->manifest;
    const struct tac_layout layout = {TACTUS_LAYOUT_FIXED, 40, 8};
    struct tac_error        error;
    uint32_t                number;

    for (uint32_t i = 0; i < tac_manifest_tree_count(manifest); i++) {
        struct tac_manifest_discards *discards = &tac_manifest_tree(manifest, i)->discards;

        while (discards->table_count > i % 2) {
            struct tac_table *table = discards->tables[0];

            tac_manifest_log_remove(replayed->log, table);
            tac_manifest_remove(manifest, table);
            tac_manifest_table_give_back(manifest, table);
        }
    }
    for (uint32_t bar = 0; bar <= TAC_TREE_LINGER_BARS; bar++) {
        tac_manifest_trees_settle(manifest, OP_PERSISTED + bar);
        tac_assert(tac_manifest_check(manifest, &error) == TACTUS_OK);
    }
    if (tac_manifest_tree_add(manifest, "another", &layout, &number, &error) == TACTUS_OK) {
        tac_manifest_log_tree(replayed->log, tac_manifest_tree(manifest, number));
    }
}

/* The log goes on, as after an open: a bar with changes, then a checkpoint. */
static void log_go_on(struct replayed *replayed, struct tac_free_set *free_set)
{
    struct tac_manifest     *manifest = replayed->manifest;
    struct tac_manifest_log *log = replayed->log;
    uint32_t                 count;

    trees_go_on(replayed);
    ranges_go_on(replayed);
    for (uint32_t i = 0; i < tac_manifest_tree_count(manifest); i++) {
        struct tac_manifest_tree *tree = tac_manifest_tree(manifest, i);

        tac_manifest_log_tree(log, tree);
        for (uint32_t level = 0; level < TACTUS_LEVELS_MAX; level++) {
            if (tree->levels[level].table_count > 1) {
                struct tac_table *table = tree->levels[level].tables[0];

                tac_manifest_log_remove(log, table);
                tac_manifest_remove(manifest, table);
                tac_manifest_table_give_back(manifest, table);
            }
        }
    }
    tac_manifest_log_compact(log, manifest, 4, 0);
    count = tac_manifest_log_checkpoint_blocks(log);
    for (uint32_t i = 0; i < count; i++) {
        tac_manifest_log_seal(log, i, chain.count + 1 + i, SEQUENCE + 1,
                              chain.blocks[chain.count + i]);
    }
    tac_manifest_log_checkpoint_done(log, free_set, &chain.superblock);
    /* The file has grown for them, whatever size was made up for it. */
    chain.superblock.blocks_in_file =
        tac_max_u64(chain.superblock.blocks_in_file, chain.count + count + 1);
    chain.superblock.sequence = SEQUENCE + 1;
    chain.superblock.op_persisted = OP_PERSISTED + 1;
    chain.superblock.table_count = tac_manifest_table_count(manifest);
    chain.superblock.manifest_checksum = tac_manifest_checksum(manifest);
}

static void accepted(struct replayed *replayed)
{
    struct tac_free_set *free_set = tac_free_set_new(TAC_GRID_BLOCKS_MIN);
    struct replayed      again;
    struct tac_error     error;
    int                  rv = tac_manifest_check(replayed->manifest, &error);

    tac_assert(free_set != NULL);
    tac_assert(rv == TACTUS_OK);
    tac_manifest_trees_forget(replayed->manifest, OP_PERSISTED);
    rv = tac_manifest_check(replayed->manifest, &error);
    tac_assert(rv == TACTUS_OK);
    version_check(replayed->manifest);
    for (uint64_t i = 0, address; i < chain.count; i++) {
        bool is_taken = tac_free_set_acquire(free_set, &address);

        tac_assert(is_taken && address == i + 1);
    }
    log_go_on(replayed, free_set);
    rv = replay(&again);
    tac_assert(rv == TACTUS_OK);
    replayed_free(&again);
    tac_free_set_free(free_set);
}

/* The checksum that the chain's manifest has: as far as it goes, if it is refused. */
static void superblock_fix(void)
{
    struct replayed replayed;

    if (replay(&replayed) != TACTUS_OK) {
        chain.superblock.manifest_checksum = tac_manifest_checksum(replayed.manifest);
        chain.superblock.table_count = tac_manifest_table_count(replayed.manifest);
    }
    replayed_free(&replayed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    struct replayed   replayed;

    chain.superblock = (struct tac_superblock){.sequence = SEQUENCE, .op_persisted = OP_PERSISTED};
    chain.superblock.table_id_last = fuzz_take_u16(&input);
    chain.superblock.stamp_last = fuzz_take_u16(&input);
    chain.superblock.blocks_in_file = fuzz_take_u16(&input);
    chain.superblock.manifest_oldest_sequence = fuzz_take_u8(&input);
    blocks_fill(&input);
    blocks_seal();
    superblock_fix();
    if (replay(&replayed) == TACTUS_OK) {
        fuzz_accepted++;
        accepted(&replayed);
    }
    replayed_free(&replayed);
    return 0;
}

/* ---- seeds ---------------------------------------------------------------------------------- */

static uint8_t *give_event(uint8_t *at, uint8_t control, const uint8_t *event, uint32_t size)
{
    *at++ = control;
    return fuzz_give(at, event, size);
}

static uint8_t *give_state(uint8_t *at, uint8_t control, const struct tac_manifest_tree *tree)
{
    uint8_t  event[TAC_MANIFEST_EVENT_TREE_OPS_BYTES];
    uint32_t size = tac_manifest_event_encode_tree(event, tree);

    control |= size == TAC_MANIFEST_EVENT_TREE_OPS_BYTES ? EVENT_OPS : 0;
    return give_event(at, control | EVENT_TREE, event, size);
}

static uint8_t *give_tree(uint8_t *at, uint8_t control, uint32_t id, uint32_t last_level)
{
    struct tac_manifest_tree tree = {
        .id = id,
        .name = {'t', (char)('a' + id)},
        .layout = {id % 2 == 0 ? TACTUS_LAYOUT_VARIABLE : TACTUS_LAYOUT_FIXED, 4, 32},
        .planner = {.last_level = last_level, .flush_mean = 1000, .work_mean = 2000},
    };

    return give_state(at, control, &tree);
}

static uint8_t *give_table(uint8_t *at, uint8_t control, uint32_t tree, uint32_t id, uint32_t level)
{
    uint8_t          event[TAC_MANIFEST_EVENT_BYTES_MAX];
    uint8_t          key_min[4] = {'k', (uint8_t)(id * 4), 0, 0};
    uint8_t          key_max[4] = {'k', (uint8_t)(id * 4 + 3 * (level == 0)), 9, 9};
    struct tac_table table = {
        .id = id,
        .tree = tree,
        .level = level,
        .stamp = id,
        .snapshot_min = id,
        .snapshot_max = UINT64_MAX,
        .index = {.address = 100 + id},
        .value_block_count = 2,
        .bytes = 1000,
        .records = 40,
        .tombstones = 4,
        .key_min = {key_min, sizeof key_min},
        .key_max = {key_max, sizeof key_max},
    };

    return give_event(at, control | EVENT_TABLE, event,
                      tac_manifest_event_encode_table(event, &table, level == 2));
}

static uint8_t *give_remove(uint8_t *at, uint8_t control, uint32_t tree, uint32_t id)
{
    uint8_t          event[TAC_MANIFEST_EVENT_REMOVE_BYTES];
    struct tac_table table = {.id = id, .tree = tree};

    return give_event(at, control | EVENT_REMOVE, event,
                      tac_manifest_event_encode_remove(event, &table));
}

/* Trees that are dropped: one that is gone, with tables or with another one in its place; and those
 * whose ops an open forgets. */
static uint8_t *give_dropped(uint8_t *at, uint32_t number)
{
    struct tac_manifest_tree tree = {
        .name = "ta",
        .layout = {TACTUS_LAYOUT_VARIABLE, 4, 32},
        .planner = {.last_level = 2},
    };

    at = give_tree(at, 0, 0, 2);
    at = give_table(at, 0, 0, 1, 0);
    at = give_table(at, 0, 0, 2, 2);
    if (number == 12) {
        tree.is_gone = true;
        tree.linger_bars = TAC_TREE_LINGER_BARS;
        return give_state(at, EVENT_NEW_BLOCK, &tree);
    }
    if (number == 13) {
        at = give_remove(at, 0, 0, 1);
        at = give_remove(at, EVENT_NEW_BLOCK, 0, 2);
        tree.generation = 1;
        tree.layout.key_size = 2;
        return give_state(at, 0, &tree);
    }
    tree.dropped_op = OP_PERSISTED + 2;
    at = give_state(at, 0, &tree);
    tree.id = 1;
    tree.created_op = OP_PERSISTED + 3;
    tree.dropped_op = number == 14 ? 0 : OP_PERSISTED + 4;
    return give_state(at, EVENT_NEW_BLOCK, &tree);
}

static uint8_t *give_range(uint8_t *at, uint8_t control, uint32_t tree, uint64_t op,
                           const char *low, const char *high)
{
    uint8_t                  event[TAC_MANIFEST_EVENT_BYTES_MAX];
    struct tac_manifest_tree of = {.id = tree};
    struct tac_range         range = {
                .op = op,
                .low = {(const uint8_t *)low, (uint32_t)strlen(low)},
                .high = {(const uint8_t *)high, (uint32_t)strlen(high)},
    };

    return give_event(at, control | EVENT_REMOVE | EVENT_RANGE, event,
                      tac_manifest_event_encode_range(event, &of, &range));
}

/* Deleted ranges: that come again, are over, and of a tree that is dropped; from 20 on what is
 * refused. */
static uint8_t *give_ranges(uint8_t *at, uint32_t number)
{
    struct tac_manifest_tree tree = {
        .name = "ta",
        .layout = {TACTUS_LAYOUT_VARIABLE, 4, 32},
        .planner = {.last_level = 2},
        .dropped_op = OP_PERSISTED + 2,
    };

    at = give_tree(at, 0, 0, 2);
    at = give_tree(at, 0, 1, 1);
    at = give_table(at, 0, 0, 1, 0);
    at = give_range(at, 0, 0, 5, "k", "l");
    at = give_range(at, 0, 1, 900, "a", "zzzzz");
    switch (number) {
    case 17:
        at = give_range(at, EVENT_NEW_BLOCK, 0, 5, "k", "l");
        return give_range(at, 0, 0, 5, "", "");
    case 18:
        return give_state(at, EVENT_NEW_BLOCK, &tree);
    case 19:
        tree.dropped_op = 0;
        tree.is_gone = true;
        tree.linger_bars = TAC_TREE_LINGER_BARS;
        return give_state(at, EVENT_NEW_BLOCK, &tree);
    case 20:
        return give_range(at, EVENT_NEW_BLOCK, 1, 5, "k", "l");
    case 21:
        return give_range(at, EVENT_NEW_BLOCK, 0, 5, "k", "m");
    case 22:
        return give_range(at, EVENT_NEW_BLOCK, 0, OP_PERSISTED + 1, "k", "l");
    default:
        return at;
    }
}

/* Chains of one to four blocks: trees, tables of three levels, updates and removes of them. */
size_t fuzz_seed(uint32_t number, uint8_t *buffer)
{
    uint8_t *at = fuzz_give(buffer, "\xff\x00\xff\x00\x00\x01\x01", 7);

    if (number >= 23) {
        return 0;
    }
    if (number >= 16) {
        return (size_t)(give_ranges(at, number) - buffer);
    }
    if (number >= 12) {
        return (size_t)(give_dropped(at, number) - buffer);
    }
    if (number == 0) {
        return (size_t)(at - buffer);
    }
    at = give_tree(at, 0, 0, 2);
    at = give_tree(at, 0, 1, 1);
    for (uint32_t id = 1; id <= number * 3; id++) {
        bool    is_new_block = id % 4 == 0 && number % 2 == 0;
        uint8_t control = is_new_block ? EVENT_NEW_BLOCK : 0;

        at = give_table(at, control, 0, id, id % 3);
        if (id % 5 == 0) {
            at = give_remove(at, control, 0, id - 1);
        }
        if (id % 7 == 0) {
            at = give_table(at, 0, 0, id, id % 3); /* Anew */
            at = give_tree(at, control, 0, 2);
        }
    }
    if (number == 11) {
        *at++ = EVENT_RAW | EVENT_PATCH;
        at = fuzz_give(at, "\x10\x00\x10\x00\x03\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00",
                       17);
        at = fuzz_give_patch(at, 0, TAC_LOG_OFFSET_EVENT_COUNT, "\x01", 1);
    }
    return (size_t)(at - buffer);
}
