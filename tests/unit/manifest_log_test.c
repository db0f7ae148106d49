/* SPDX-License-Identifier: Apache-2.0 */
/* The manifest log: what is replayed is what was appended, it stays short, and a file that lies is
 * refused. Series of checkpoints with crashes: checkpoint_test.c. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/prng.h"
#include "base/units.h"
#include "lsm/manifest_event.h"
#include "lsm/manifest_log.h"
#include "tests/lib/tap.h"

#define DISK_BLOCKS 8192
#define TABLES_MAX 2000
#define LOG_BLOCKS_MAX 64

static const struct tac_geometry geometry = {4096, 512, 99};
static const struct tac_layout   layouts[3] = {
      {TACTUS_LAYOUT_FIXED, 8, 8},
      {TACTUS_LAYOUT_VARIABLE, 40, 100},
      {TACTUS_LAYOUT_FIXED, 900, 100},
};

/* ---- a store of nothing but a manifest ------------------------------------------------------- */

struct store {
    uint8_t                 *disk;
    struct tac_free_set     *free_set;
    struct tac_manifest     *manifest;
    struct tac_manifest_log *log;
    struct tac_superblock    superblock;
    uint64_t                 table_id_last;
    struct tac_prng          prng;
};

static uint8_t *disk_block(const struct store *store, uint64_t address)
{
    return store->disk + address * geometry.block_size;
}

static int disk_read(void *context, const struct tac_block_reference *reference,
                     enum tac_block_kind kind, uint8_t *block, struct tac_error *error)
{
    const struct store *store = context;

    if (reference->address >= DISK_BLOCKS) {
        return tac_error_set(error, TACTUS_EIO, "beyond the disk");
    }
    memcpy(block, disk_block(store, reference->address), geometry.block_size);
    return tac_block_verify(block, &geometry, kind, reference, error);
}

static void store_open(struct store *store, uint64_t seed, uint32_t tree_count)
{
    struct tac_error error;
    uint32_t         tree;

    memset(store, 0, sizeof *store);
    store->disk = calloc(DISK_BLOCKS, geometry.block_size);
    store->free_set = tac_free_set_new(DISK_BLOCKS);
    store->manifest = tac_manifest_new(TABLES_MAX);
    store->log = tac_manifest_log_new(&geometry, LOG_BLOCKS_MAX);
    store->prng.state = seed;
    store->superblock.blocks_in_file = DISK_BLOCKS;
    for (uint32_t i = 0; i < tree_count; i++) {
        char name[2] = {(char)('a' + i), 0};

        if (tac_manifest_tree_add(store->manifest, name, &layouts[i], &tree, &error) != TACTUS_OK) {
            tap_bail("%s", error.message);
        }
        tac_manifest_tree(store->manifest, tree)->planner.last_level = 2;
        tac_manifest_log_tree(store->log, tac_manifest_tree(store->manifest, tree));
    }
}

static void store_close(struct store *store)
{
    tac_manifest_log_free(store->log);
    tac_manifest_free(store->manifest);
    tac_free_set_free(store->free_set);
    free(store->disk);
}

static void store_checkpoint(struct store *store)
{
    uint32_t count = tac_manifest_log_checkpoint_blocks(store->log);

    store->superblock.sequence++;
    for (uint32_t i = 0; i < count; i++) {
        uint8_t  block[4096];
        uint64_t address;

        if (!tac_free_set_acquire(store->free_set, &address)) {
            tap_bail("the disk is full");
        }
        tac_manifest_log_seal(store->log, i, address, store->superblock.sequence, block);
        memcpy(disk_block(store, address), block, sizeof block);
    }
    tac_manifest_log_checkpoint_done(store->log, store->free_set, &store->superblock);
    tac_free_set_checkpoint_begin(store->free_set);
    tac_free_set_checkpoint_effect(store->free_set);
    store->superblock.table_id_last = store->table_id_last;
    store->superblock.stamp_last = store->table_id_last;
    store->superblock.table_count = tac_manifest_table_count(store->manifest);
    store->superblock.manifest_checksum = tac_manifest_checksum(store->manifest);
}

/* ---- random changes ------------------------------------------------------------------------- */

static void table_fill(struct store *store, struct tac_table *table, uint64_t id)
{
    const struct tac_manifest_tree *tree = tac_manifest_tree(store->manifest, table->tree);
    const struct tac_layout        *layout = &tree->layout;
    uint8_t                         min[TACTUS_KEY_SIZE_MAX], max[TACTUS_KEY_SIZE_MAX];
    uint32_t                        size = layout->key_size;

    if (layout->kind == TACTUS_LAYOUT_VARIABLE) {
        size = 8 + (uint32_t)tac_prng_below(&store->prng, size - 7);
    }
    memset(min, 'k', size);
    memset(max, 'k', size);
    /* Disjoint by id, so that any level may hold any of them. */
    for (uint32_t i = 0; i < 7; i++) {
        min[i] = max[i] = (uint8_t)(id >> (48 - 8 * i));
    }
    min[7] = 0;
    max[7] = (uint8_t)(1 + tac_prng_below(&store->prng, 255));
    tac_table_set_keys(table, (struct tac_bytes){min, size}, (struct tac_bytes){max, size});
    table->id = id;
    table->stamp = 1 + tac_prng_below(&store->prng, id);
    table->level = (uint32_t)tac_prng_below(&store->prng, tree->planner.last_level + 1);
    table->snapshot_min = tac_prng_below(&store->prng, 1000);
    table->snapshot_max = UINT64_MAX;
    table->index.address = 1 + tac_prng_below(&store->prng, 63);
    table->index.checksum.low = tac_prng_next(&store->prng);
    table->index.checksum.high = tac_prng_next(&store->prng);
    table->value_block_count = 1 + (uint32_t)tac_prng_below(&store->prng, 99);
    table->filter_block_count = (uint32_t)tac_prng_below(&store->prng, 3);
    table->records = 1 + tac_prng_below(&store->prng, 1000);
    table->tombstones = tac_prng_below(&store->prng, table->records);
    /* Each record has a byte; all lie in the blocks. */
    table->bytes = table->records + tac_prng_below(&store->prng, 3000);
    table->sum.low = tac_prng_next(&store->prng);
    table->sum.high = tac_prng_next(&store->prng);
    table->is_damaged = tac_prng_below(&store->prng, 20) == 0;
    table->is_trimmed = tac_prng_below(&store->prng, 5) == 0;
}

static struct tac_table *table_pick(struct store *store)
{
    uint32_t trees = tac_manifest_tree_count(store->manifest);
    uint32_t start = (uint32_t)tac_prng_below(&store->prng, trees * TACTUS_LEVELS_MAX);

    for (uint32_t i = 0; i < trees * TACTUS_LEVELS_MAX; i++) {
        uint32_t                         at = (start + i) % (trees * TACTUS_LEVELS_MAX);
        const struct tac_manifest_level *level =
            &tac_manifest_tree(store->manifest, at / TACTUS_LEVELS_MAX)
                 ->levels[at % TACTUS_LEVELS_MAX];

        if (level->table_count > 0) {
            return level->tables[tac_prng_below(&store->prng, level->table_count)];
        }
    }
    return NULL;
}

static void change_insert(struct store *store)
{
    uint32_t          trees = tac_manifest_tree_count(store->manifest);
    struct tac_table *table =
        tac_manifest_table_take(store->manifest, (uint32_t)tac_prng_below(&store->prng, trees));

    if (table != NULL) {
        table_fill(store, table, ++store->table_id_last);
        tac_manifest_insert(store->manifest, table);
        tac_manifest_log_insert(store->log, tac_manifest_tree(store->manifest, table->tree), table);
    }
}

/* A discarded table is found damaged, or gives its blocks back. */
static void change_discard(struct store *store)
{
    uint32_t                  trees = tac_manifest_tree_count(store->manifest);
    struct tac_manifest_tree *tree =
        tac_manifest_tree(store->manifest, (uint32_t)tac_prng_below(&store->prng, trees));
    struct tac_table *table;

    if (tree->discards.table_count == 0) {
        return;
    }
    table = tree->discards.tables[tac_prng_below(&store->prng, tree->discards.table_count)];
    tac_manifest_remove(store->manifest, table);
    if (!table->is_damaged && tac_prng_below(&store->prng, 4) == 0) {
        table->is_damaged = true;
        tac_manifest_insert(store->manifest, table);
        tac_manifest_log_insert(store->log, tree, table);
    } else {
        tac_manifest_log_remove(store->log, table);
        tac_manifest_table_give_back(store->manifest, table);
    }
}

/* One in three changes of a table is an update: another level and other counts. One in three of the
 * others discards it. */
static void change_table(struct store *store)
{
    struct tac_table *table = table_pick(store);

    if (table == NULL) {
        return;
    }
    if (tac_prng_below(&store->prng, 9) < 2) {
        tac_manifest_discard(store->manifest, table);
        tac_manifest_log_insert(store->log, tac_manifest_tree(store->manifest, table->tree), table);
        return;
    }
    tac_manifest_remove(store->manifest, table);
    if (tac_prng_below(&store->prng, 3) == 0) {
        table_fill(store, table, table->id);
        tac_manifest_insert(store->manifest, table);
        tac_manifest_log_insert(store->log, tac_manifest_tree(store->manifest, table->tree), table);
    } else {
        tac_manifest_log_remove(store->log, table);
        tac_manifest_table_give_back(store->manifest, table);
    }
}

/* The last level gets the next number; of that the log has only the tree's event. */
static void tree_sink(struct store *store, struct tac_manifest_tree *tree)
{
    struct tac_manifest_level *level = &tree->levels[tree->planner.last_level++];

    while (level->table_count > 0) {
        struct tac_table *table = level->tables[0];

        tac_manifest_remove(store->manifest, table);
        table->level++;
        tac_manifest_insert(store->manifest, table);
    }
}

/* A bar: changes that keep about `target` tables, the trees' states, compaction. */
static void store_bar(struct store *store, uint32_t changes, uint64_t target)
{
    for (uint32_t i = 0; i < changes; i++) {
        if (tac_prng_below(&store->prng, 2 * target) >= tac_manifest_table_count(store->manifest)) {
            change_insert(store);
        } else {
            change_table(store);
        }
        if (tac_prng_below(&store->prng, 4) == 0) {
            change_discard(store);
        }
    }
    for (uint32_t i = 0; i < tac_manifest_tree_count(store->manifest); i++) {
        struct tac_manifest_tree *tree = tac_manifest_tree(store->manifest, i);

        tree->planner.bar_count++;
        if (tac_prng_below(&store->prng, 100) == 0 && tree->planner.last_level < 6) {
            tree_sink(store, tree);
        }
        tree->planner.work_mean = tac_prng_next(&store->prng) >> 8;
        tac_manifest_log_tree(store->log, tree);
    }
}

/* ---- replay --------------------------------------------------------------------------------- */

static bool sequences_equal(struct tac_manifest *a, struct tac_manifest *b)
{
    for (uint32_t i = 0; i < tac_manifest_tree_count(a); i++) {
        struct tac_manifest_tree *tree_a = tac_manifest_tree(a, i);
        struct tac_manifest_tree *tree_b = tac_manifest_tree(b, i);

        if (tree_a->log_sequence != tree_b->log_sequence) {
            return false;
        }
        for (uint32_t j = 0; j < TACTUS_LEVELS_MAX; j++) {
            for (uint32_t k = 0; k < tree_a->levels[j].table_count; k++) {
                if (tree_a->levels[j].tables[k]->log_sequence !=
                    tree_b->levels[j].tables[k]->log_sequence) {
                    return false;
                }
            }
        }
    }
    return true;
}

/* Replays what `store` wrote; the copy's free set is not used. */
static int store_replay(const struct store *store, struct store *copy, uint32_t tables_max,
                        struct tac_error *error)
{
    memset(copy, 0, sizeof *copy);
    copy->manifest = tac_manifest_new(tables_max);
    copy->log = tac_manifest_log_new(&geometry, LOG_BLOCKS_MAX);
    return tac_manifest_log_replay(copy->log, copy->manifest, &store->superblock, disk_read,
                                   (void *)store, error);
}

static bool replays(const struct store *store)
{
    struct store     copy;
    struct tac_error error = {0};
    bool             ok = store_replay(store, &copy, TABLES_MAX, &error) == TACTUS_OK;

    if (!ok) {
        tap_diag("%s", error.message);
    }
    ok = ok && tac_u128_equal(tac_manifest_checksum(copy.manifest),
                              tac_manifest_checksum(store->manifest));
    ok = ok && sequences_equal(store->manifest, copy.manifest) &&
         tac_manifest_discards_left(copy.manifest) == tac_manifest_discards_left(store->manifest);
    ok = ok && tac_manifest_log_block_count(copy.log) == tac_manifest_log_block_count(store->log);
    for (uint64_t i = 0; ok && i < tac_manifest_log_block_count(store->log); i++) {
        ok = tac_manifest_log_block(copy.log, i).address ==
             tac_manifest_log_block(store->log, i).address;
    }
    store_close(&copy);
    return ok;
}

/* Blocks that the newest events of all trees and tables would take, packed badly. */
static uint64_t blocks_live(struct tac_manifest *manifest)
{
    uint64_t bytes = 0, largest = 0;

    for (uint32_t i = 0; i < tac_manifest_tree_count(manifest); i++) {
        const struct tac_manifest_tree *tree = tac_manifest_tree(manifest, i);

        bytes += TAC_MANIFEST_EVENT_TREE_BYTES;
        largest = tac_max_u64(largest, TAC_MANIFEST_EVENT_TABLE_BYTES + 2 * tree->layout.key_size);
        for (uint32_t j = 0; j < TACTUS_LEVELS_MAX; j++) {
            for (uint32_t k = 0; k < tree->levels[j].table_count; k++) {
                bytes += tac_manifest_event_table_bytes(tree->levels[j].tables[k]);
            }
        }
        bytes += tree->discards.log_bytes;
    }
    return tac_div_ceil(bytes, geometry.block_size - 104 - largest);
}

/* The largest limit of the log in the last bars: what it may be when the manifest shrinks faster
 * than compaction can follow. */
#define LIMIT_BARS 32
static uint64_t limit_recent(uint64_t limits[LIMIT_BARS], uint32_t bar, uint64_t limit)
{
    uint64_t largest = 0;

    limits[bar % LIMIT_BARS] = limit;
    for (uint32_t i = 0; i < LIMIT_BARS; i++) {
        largest = tac_max_u64(largest, limits[i]);
    }
    return largest;
}

/* Tables grow in number, stay, and go; a checkpoint after each one to four bars. */
static void test_random(uint64_t seed, uint32_t tree_count)
{
    struct store store;
    bool         all_replay = true, is_short = true;
    uint64_t     longest = 0, written = 0, limits[LIMIT_BARS] = {0};

    store_open(&store, seed, tree_count);
    for (uint32_t bar = 0; bar < 600 && all_replay; bar++) {
        uint64_t target = bar < 200 ? 1 + bar : bar < 400 ? 200 : 1 + (600 - bar) / 3;
        uint32_t blocks_before = tac_manifest_log_checkpoint_blocks(store.log);
        uint32_t blocks_begun;
        uint64_t limit;

        store_bar(&store, (uint32_t)tac_prng_below(&store.prng, 20), target);
        limit = limit_recent(limits, bar, 2 * blocks_live(store.manifest) + 2);
        blocks_begun = tac_manifest_log_checkpoint_blocks(store.log) - blocks_before;
        tac_manifest_log_compact(store.log, store.manifest, 2 * blocks_begun + 2);
        if (tac_prng_below(&store.prng, 4) == 0 || tac_manifest_log_room(store.log) < 40) {
            uint64_t count;

            written += tac_manifest_log_checkpoint_blocks(store.log);
            store_checkpoint(&store);
            all_replay = replays(&store);
            count = tac_manifest_log_block_count(store.log);
            longest = tac_max_u64(longest, count);
            /* What waited to be written could not go, and was carried only now. */
            if (count > limit + 40) {
                tap_diag("bar %u: %llu blocks, limit %llu", bar, (unsigned long long)count,
                         (unsigned long long)limit);
                is_short = false;
            }
        }
    }
    /* Nothing happens any more: compaction brings the log to its limit. */
    for (uint32_t bar = 0; bar < 200; bar++) {
        tac_manifest_log_compact(store.log, store.manifest, 2);
        store_checkpoint(&store);
    }
    tap_ok(all_replay && replays(&store), "%u trees: each checkpoint replays, sequences included",
           tree_count);
    tap_ok(is_short &&
               tac_manifest_log_block_count(store.log) <= 2 * blocks_live(store.manifest) + 3,
           "the log stays below twice what is live (at most %llu blocks; %llu written)",
           (unsigned long long)longest, (unsigned long long)written);
    tap_ok(tac_free_set_acquired_count(store.free_set) ==
               TAC_SUPERBLOCK_COPIES + tac_manifest_log_block_count(store.log),
           "its blocks are all that is acquired");
    store_close(&store);
}

/* ---- small things --------------------------------------------------------------------------- */

static void test_empty(void)
{
    struct store     store, copy;
    struct tac_error error = {0};

    store_open(&store, 1, 0);
    tap_ok(tac_manifest_log_room(store.log) == LOG_BLOCKS_MAX, "a new log has all its room");
    store_checkpoint(&store);
    tap_ok(store.superblock.manifest_block_count == 0 &&
               store.superblock.manifest_newest.address == 0,
           "a log without events has no block");
    tap_ok(store_replay(&store, &copy, TABLES_MAX, &error) == TACTUS_OK, "and replays %s",
           error.message);
    store_close(&copy);
    store.superblock.manifest_checksum.low++;
    tap_ok(store_replay(&store, &copy, TABLES_MAX, &error) == TACTUS_ECORRUPT,
           "unless the superblock expects something else");
    store_close(&copy);
    store_close(&store);
}

static void test_clean(void)
{
    struct store               store;
    struct tac_block_reference newest;

    store_open(&store, 1, 1);
    store_bar(&store, 5, 10);
    store_checkpoint(&store);
    newest = store.superblock.manifest_newest;
    tap_ok(tac_manifest_log_checkpoint_blocks(store.log) == 0, "what is written is not again");
    store_checkpoint(&store);
    tap_ok(store.superblock.manifest_newest.address == newest.address && replays(&store),
           "and stays part of the next checkpoint");
    store_bar(&store, 1, 10);
    tap_ok(tac_manifest_log_checkpoint_blocks(store.log) == 1, "the open block is filled further");
    store_checkpoint(&store);
    tap_ok(store.superblock.manifest_newest.address != newest.address &&
               store.superblock.manifest_block_count == 1 &&
               tac_free_set_is_free(store.free_set, newest.address),
           "and written elsewhere; its old address is released");
    store_close(&store);
}

/* Nothing but compaction appends the tree again. */
static void test_tree_carried(void)
{
    struct store store;

    store_open(&store, 1, 1);
    for (uint32_t bar = 0; bar < 300; bar++) {
        for (uint32_t i = 0; i < 5; i++) {
            if (tac_manifest_table_count(store.manifest) < 20) {
                change_insert(&store);
            } else {
                change_table(&store);
                change_discard(&store);
            }
        }
        tac_manifest_log_compact(store.log, store.manifest, 4);
        store_checkpoint(&store);
    }
    tap_ok(store.superblock.manifest_oldest_sequence > 5 && replays(&store),
           "a tree appended once outlives its block");
    store_close(&store);
}

static void test_room(void)
{
    struct store          store;
    struct tac_prng       prng = {5};
    bool                  is_bound = true;
    static const uint32_t key_sizes[3] = {8, 40, 900};

    for (uint32_t i = 0; i < 3; i++) {
        store_open(&store, 1, 3);
        for (uint32_t round = 0; round < 20; round++) {
            uint32_t before = tac_manifest_log_room(store.log);
            uint64_t events = tac_prng_below(&prng, 20);
            uint64_t bound = tac_manifest_log_blocks_for(&geometry, events, key_sizes[i]);

            for (uint64_t j = 0; j < events; j++) {
                struct tac_table *table = tac_manifest_table_take(store.manifest, i);

                table_fill(&store, table, ++store.table_id_last);
                tac_manifest_insert(store.manifest, table);
                tac_manifest_log_insert(store.log, tac_manifest_tree(store.manifest, i), table);
            }
            is_bound = is_bound && before - tac_manifest_log_room(store.log) <= bound;
            store_checkpoint(&store);
        }
        store_close(&store);
    }
    tap_ok(is_bound, "no number of events begins more blocks than was said");
}

/* ---- hostile logs --------------------------------------------------------------------------- */

/* Makes the references of the log right again after its blocks were changed. */
static void chain_reseal(struct store *store, const struct tac_block_reference *blocks,
                         uint64_t count)
{
    struct tac_block_reference previous = {0};

    for (uint64_t i = 0; i < count; i++) {
        uint8_t *block = disk_block(store, blocks[i].address);

        if (i > 0) {
            tac_store_u64(block + 72, previous.address);
            tac_store_u64(block + 80, previous.checksum.low);
            tac_store_u64(block + 88, previous.checksum.high);
        }
        previous.address = blocks[i].address;
        previous.checksum = tac_block_checksum(block, &geometry);
    }
    store->superblock.manifest_newest = previous;
}

struct hostile {
    struct store               store;
    struct tac_block_reference blocks[512];
    uint64_t                   count;
    struct tac_superblock      superblock; /* As it should be */
};

static void hostile_open(struct hostile *hostile, uint64_t seed)
{
    store_open(&hostile->store, seed, 3);
    for (uint32_t bar = 0; bar < 20; bar++) {
        store_bar(&hostile->store, 10, 60);
        store_checkpoint(&hostile->store);
    }
    hostile->count = tac_manifest_log_block_count(hostile->store.log);
    for (uint64_t i = 0; i < hostile->count; i++) {
        hostile->blocks[i] = tac_manifest_log_block(hostile->store.log, i);
    }
    hostile->superblock = hostile->store.superblock;
}

static int hostile_replay(struct hostile *hostile, uint32_t tables_max, const char *text)
{
    struct tac_error error = {0};
    struct store     copy;
    int              rv;

    chain_reseal(&hostile->store, hostile->blocks, hostile->count);
    rv = store_replay(&hostile->store, &copy, tables_max, &error);
    store_close(&copy);
    if (rv != TACTUS_OK && strstr(error.message, text) == NULL) {
        tap_diag("expected \"%s\", got \"%s\"", text, error.message);
        return -1;
    }
    return rv;
}

/* Changes a field of block `index` (from the newest, 0) and says whether that is refused so. */
static bool field_refused(struct hostile *hostile, uint64_t index, uint32_t offset, uint64_t value,
                          uint32_t size, const char *text)
{
    uint8_t *block =
        disk_block(&hostile->store, hostile->blocks[hostile->count - 1 - index].address);
    uint8_t saved[4096];
    int     rv;

    memcpy(saved, block, sizeof saved);
    memcpy(block + offset, &value, size);
    rv = hostile_replay(hostile, TABLES_MAX, text);
    memcpy(block, saved, sizeof saved);
    hostile->store.superblock = hostile->superblock;
    return rv == TACTUS_ECORRUPT;
}

/* Is this block's event of the table the newest one? Older ones are not looked at closely. */
static bool event_is_newest(const struct hostile *hostile, const uint8_t *block,
                            const uint8_t *event)
{
    const struct tac_manifest_tree *tree =
        tac_manifest_tree(hostile->store.manifest, tac_load_u32(event + 4));

    for (uint32_t i = 0; i < TACTUS_LEVELS_MAX; i++) {
        for (uint32_t j = 0; j < tree->levels[i].table_count; j++) {
            if (tree->levels[i].tables[j]->id == tac_load_u64(event + 16)) {
                return tree->levels[i].tables[j]->log_sequence == tac_load_u64(block + 64);
            }
        }
    }
    return false;
}

/* Offset of the first event of this kind in the block `index` from the newest; 0: none. */
static uint32_t event_offset(const struct hostile *hostile, uint64_t index, uint32_t kind)
{
    const uint8_t *block =
        disk_block(&hostile->store, hostile->blocks[hostile->count - 1 - index].address);
    uint32_t used = tac_load_u32(block + TAC_BLOCK_OFFSET_USED);

    for (uint32_t offset = 104; offset < used; offset += tac_load_u16(block + offset)) {
        if (block[offset + 2] == kind &&
            (kind != TAC_MANIFEST_EVENT_TABLE || event_is_newest(hostile, block, block + offset))) {
            return offset;
        }
    }
    return 0;
}

static void test_hostile_blocks(struct hostile *hostile)
{
    struct tac_superblock *superblock = &hostile->store.superblock;

    tap_ok(hostile->count > 4 && hostile_replay(hostile, TABLES_MAX, "") == TACTUS_OK,
           "a log resealed as it was is believed");
    tap_ok(field_refused(hostile, 0, TAC_BLOCK_OFFSET_KIND, TAC_BLOCK_INDEX, 1, "kind"),
           "a block of another kind is refused");
    tap_ok(field_refused(hostile, 2, TAC_BLOCK_OFFSET_ADDRESS, 77, 8, "block"),
           "a block of another address is refused");
    tap_ok(field_refused(hostile, 1, 64, 3, 8, "successor"), "a break in the sequences is refused");
    tap_ok(field_refused(hostile, 1, TAC_BLOCK_OFFSET_SEQUENCE, 1000, 8, "lost"),
           "a block of a later checkpoint proves that a superblock was lost");
    tap_ok(field_refused(hostile, 0, TAC_BLOCK_OFFSET_USED, 96, 4, "size"),
           "a block without room for its own fields is refused");
    tap_ok(field_refused(hostile, 0, 96, 1, 4, "behind") &&
               field_refused(hostile, 0, 96, 100000, 4, "cut off"),
           "a wrong number of events is refused");
    superblock->manifest_block_count++;
    tap_ok(hostile_replay(hostile, TABLES_MAX, "successor") == TACTUS_ECORRUPT,
           "a block more than there is is refused");
    *superblock = hostile->superblock;
    superblock->manifest_oldest_sequence = 0;
    tap_ok(hostile_replay(hostile, TABLES_MAX, "impossible") == TACTUS_ECORRUPT,
           "there is no sequence 0");
    *superblock = hostile->superblock;
    superblock->manifest_block_count = UINT64_MAX / 2;
    tap_ok(hostile_replay(hostile, TABLES_MAX, "impossible") == TACTUS_ECORRUPT,
           "a log of any length is refused");
    *superblock = hostile->superblock;
    superblock->table_count++;
    tap_ok(hostile_replay(hostile, TABLES_MAX, "not the checkpoint's") == TACTUS_ECORRUPT,
           "another number of tables is refused");
    *superblock = hostile->superblock;
    tap_ok(hostile_replay(hostile, 5, "tables_max") == TACTUS_EFULL,
           "a manifest of too few tables says so");
}

static void test_hostile_events(struct hostile *hostile)
{
    uint32_t tree = event_offset(hostile, 0, TAC_MANIFEST_EVENT_TREE);
    uint32_t table = event_offset(hostile, 1, TAC_MANIFEST_EVENT_TABLE);
    uint32_t index = 0, remove = 0;

    while (remove == 0 && index < hostile->count) {
        remove = event_offset(hostile, index++, TAC_MANIFEST_EVENT_REMOVE);
    }
    index--;
    tap_ok(tree != 0 && table != 0 && remove != 0, "events of each kind are there");
    tap_ok(field_refused(hostile, 0, tree, 0, 2, "event of") &&
               field_refused(hostile, 0, tree, 124, 2, "event of") &&
               field_refused(hostile, 0, tree, 65528, 2, "left") &&
               field_refused(hostile, 0, tree + 2, 9, 1, "unknown kind"),
           "events of impossible size or kind are refused");
    tap_ok(field_refused(hostile, 0, tree + 4, 64, 4, "impossible name") &&
               field_refused(hostile, 0, tree + 4, 7, 4, "is not") &&
               field_refused(hostile, 0, tree + 8, 3, 4, "layout") &&
               field_refused(hostile, 0, tree + 12, 0, 4, "layout") &&
               field_refused(hostile, 0, tree + 12, 1025, 4, "layout") &&
               field_refused(hostile, 0, tree + 16, 5000, 4, "layout") &&
               field_refused(hostile, 0, tree + 24, 0, 4, "last level") &&
               field_refused(hostile, 0, tree + 24, 12, 4, "last level") &&
               field_refused(hostile, 0, tree + 56, 0, 1, "name") &&
               field_refused(hostile, 0, tree + 56, '/', 1, "name") &&
               field_refused(hostile, 0, tree + 60, 'x', 1, "name"),
           "trees that cannot be are refused");
    tap_ok(field_refused(hostile, 0, tree + 56, 'q', 1, "changed") &&
               field_refused(hostile, 0, tree + 16, 9, 4, "changed"),
           "a tree keeps its name and layout");
    tap_ok(field_refused(hostile, 1, table + 4, 3, 4, "no such tree") &&
               field_refused(hostile, 1, table + 8, 12, 4, "impossible") &&
               field_refused(hostile, 1, table + 8, 11, 4, "below the last") &&
               field_refused(hostile, 1, table + 16, 0, 8, "impossible") &&
               field_refused(hostile, 1, table + 16, 1u << 30, 8, "never given") &&
               field_refused(hostile, 1, table + 24, 1u << 30, 8, "never given") &&
               field_refused(hostile, 1, table + 48, 0, 8, "in the file") &&
               field_refused(hostile, 1, table + 48, DISK_BLOCKS, 8, "in the file") &&
               field_refused(hostile, 1, table + 96, UINT64_MAX, 8, "impossible") &&
               field_refused(hostile, 1, table + 3, 8, 1, "impossible"),
           "tables that cannot be are refused");
    tap_ok(field_refused(hostile, 1, table + 76, 0, 2, "keys") &&
               field_refused(hostile, 1, table + 76, 1025, 2, "keys") &&
               field_refused(hostile, 1, table + 78, UINT16_MAX, 2, "keys") &&
               field_refused(hostile, 1, table + 128, 255, 1, "keys"),
           "keys that cannot be are refused");
    tap_ok(field_refused(hostile, index, remove + 4, 3, 4, "no such tree") &&
               field_refused(hostile, index, remove + 8, 0, 8, "never given") &&
               field_refused(hostile, index, remove + 8, 1u << 30, 8, "never given"),
           "removals that cannot be are refused");
}

static void test_hostile_random(struct hostile *hostile, uint64_t seed)
{
    struct tac_prng prng = {seed};
    uint32_t        refusals = 0;

    for (uint32_t i = 0; i < 4000; i++) {
        uint64_t at = tac_prng_below(&prng, hostile->count);
        uint8_t *block = disk_block(&hostile->store, hostile->blocks[at].address);
        uint32_t used = tac_load_u32(block + TAC_BLOCK_OFFSET_USED);
        uint8_t  saved[4096];
        int      rv;

        memcpy(saved, block, sizeof saved);
        for (uint64_t j = 1 + tac_prng_below(&prng, 3); j > 0; j--) {
            uint32_t offset = (uint32_t)tac_prng_below(&prng, used);

            block[offset] = (uint8_t)tac_prng_below(&prng, tac_prng_below(&prng, 2) ? 256 : 4);
        }
        rv = hostile_replay(hostile, TABLES_MAX, "");
        refusals += rv == TACTUS_ECORRUPT;
        memcpy(block, saved, sizeof saved);
        hostile->store.superblock = hostile->superblock;
    }
    /* A byte of an event that a later one has replaced is not missed. */
    tap_ok(refusals > 1000, "4000 logs with changed bytes: %u refused, none crashes", refusals);
}

/* ---- deleted ranges ------------------------------------------------------------------------- */

#define RANGE_OP_PERSISTED 100

static struct tac_range range_of(uint64_t op, const char *low, const char *high)
{
    return (struct tac_range){
        .op = op,
        .low = {(const uint8_t *)low, (uint32_t)strlen(low)},
        .high = {(const uint8_t *)high, (uint32_t)strlen(high)},
    };
}

/* Into the log alone. */
static void range_log(struct store *store, const struct tac_manifest_tree *tree,
                      struct tac_range range)
{
    struct tac_manifest_range logged = {.range = range, .tree = tree->id};

    tac_manifest_log_range(store->log, tree, &logged);
}

static void range_add(struct store *store, uint32_t tree, struct tac_range range)
{
    tac_manifest_range_add(store->manifest, tree, &range, 0);
    tac_manifest_log_range(
        store->log, tac_manifest_tree(store->manifest, tree),
        tac_manifest_range(store->manifest, tac_manifest_range_count(store->manifest) - 1));
}

static void ranges_open(struct store *store)
{
    store_open(store, 1, 2);
    store->superblock.op_persisted = RANGE_OP_PERSISTED;
    range_add(store, 0, range_of(5, "b", "d"));
}

/* What the log says now: is it refused so? The store is closed. */
static bool ranges_refused(struct store *store, const char *text)
{
    struct store     copy;
    struct tac_error error = {0};
    int              code;

    store_checkpoint(store);
    code = store_replay(store, &copy, TABLES_MAX, &error);
    if (code != TACTUS_ECORRUPT || strstr(error.message, text) == NULL) {
        tap_diag("%d, not \"%s\": %s", code, text, error.message);
    }
    store_close(&copy);
    store_close(store);
    return code == TACTUS_ECORRUPT && strstr(error.message, text) != NULL;
}

static bool range_refused(const struct tac_manifest_tree *tree, struct tac_range range,
                          const char *text)
{
    struct store store;

    ranges_open(&store);
    range_log(&store, tree, range);
    return ranges_refused(&store, text);
}

static void test_ranges(void)
{
    struct store              store;
    struct tac_manifest_tree *tree;

    ranges_open(&store);
    range_add(&store, 1, range_of(7, "b", "d"));
    range_add(&store, 0, range_of(RANGE_OP_PERSISTED, "a", "kkkkkkkkk"));
    store_checkpoint(&store);
    tap_ok(replays(&store), "deleted ranges replay");
    tree = tac_manifest_tree(store.manifest, 0);
    range_log(&store, tree, range_of(5, "b", "d"));
    store_checkpoint(&store);
    tap_ok(replays(&store), "one that comes again is one");
    tac_manifest_log_range_over(store.log, tree, tac_manifest_range(store.manifest, 0));
    tac_manifest_range_remove(store.manifest, 0);
    store_checkpoint(&store);
    tap_ok(tac_manifest_range_count(store.manifest) == 2 && replays(&store),
           "one that is over is not there any more");
    store_close(&store);
}

/* A tree that was created and dropped by these ops has a range of op 60. */
static bool range_outside_life_refused(uint64_t created_op, uint64_t dropped_op)
{
    struct store              store;
    struct tac_manifest_tree *tree;

    ranges_open(&store);
    tree = tac_manifest_tree(store.manifest, 1);
    tree->created_op = created_op;
    tree->dropped_op = dropped_op;
    tac_manifest_log_tree(store.log, tree);
    range_log(&store, tree, range_of(60, "b", "d"));
    return ranges_refused(&store, "was not there");
}

static void test_hostile_ranges(void)
{
    struct tac_manifest_tree first = {.id = 0}, second = {.id = 1}, unknown = {.id = 2};
    struct tac_manifest_tree later = {.id = 0, .generation = 1};
    struct store             store;

    tap_ok(range_refused(&second, range_of(5, "b", "d"), "another range") &&
               range_refused(&second, range_of(5, "", ""), "another range"),
           "an op deletes a range of one tree");
    tap_ok(range_refused(&first, range_of(5, "b", "e"), "another range") &&
               range_refused(&first, range_of(5, "c", "d"), "another range"),
           "and one range: its bounds stay");
    tap_ok(range_outside_life_refused(RANGE_OP_PERSISTED + 1, 0) &&
               range_outside_life_refused(0, 60) && range_outside_life_refused(0, 50),
           "none of a tree that is not there yet, or no more");
    tap_ok(range_refused(&unknown, range_of(6, "b", "d"), "no such tree") &&
               range_refused(&later, range_of(6, "b", "d"), "never was"),
           "none of a tree that never was");
    tap_ok(range_refused(&first, range_of(RANGE_OP_PERSISTED + 1, "b", "d"), "later than") &&
               range_refused(&first, range_of(0, "b", "d"), "impossible bounds"),
           "none of an op that the checkpoint cannot have");
    tap_ok(range_refused(&first, range_of(6, "d", "b"), "impossible bounds") &&
               range_refused(&first, range_of(6, "b", "b"), "impossible bounds") &&
               range_refused(&first, range_of(6, "b", ""), "impossible bounds") &&
               range_refused(&first, range_of(6, "", "b"), "impossible bounds"),
           "none without anything between its bounds");
    tap_ok(range_refused(&first, range_of(6, "b", "kkkkkkkkkk"), "too long"),
           "none with bounds that the tree's keys do not need");
    ranges_open(&store);
    store.superblock.op_persisted = TAC_RANGES_MAX + 10;
    for (uint32_t i = 0; i < TAC_RANGES_MAX; i++) {
        range_log(&store, &second, range_of(6 + i, "b", "d"));
    }
    tap_ok(ranges_refused(&store, "so many"), "and not more than there can be");
}

static void test_hostile(uint64_t seed)
{
    static struct hostile hostile;

    hostile_open(&hostile, seed);
    test_hostile_blocks(&hostile);
    test_hostile_events(&hostile);
    test_hostile_random(&hostile, seed);
    store_close(&hostile.store);
}

/* ---- speed ---------------------------------------------------------------------------------- */

static double milliseconds(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

static void test_speed(void)
{
    struct store     store, copy;
    struct tac_error error = {0};
    double           begun;

    store_open(&store, 1, 1);
    for (uint32_t i = 0; i < TABLES_MAX / 500; i++) {
        for (uint32_t j = 0; j < 500; j++) {
            change_insert(&store);
        }
        store_checkpoint(&store);
    }
    begun = milliseconds();
    tap_ok(store_replay(&store, &copy, TABLES_MAX, &error) == TACTUS_OK, "2,000 tables replay");
    tap_diag("replay of 2,000 tables: %.3f ms", milliseconds() - begun);
    store_close(&copy);
    store_close(&store);
}

int main(void)
{
    uint64_t seed;

    tap_plan(0);
    seed = tap_seed();
    test_empty();
    test_clean();
    test_tree_carried();
    test_room();
    test_random(seed, 1);
    test_random(seed, 2);
    test_random(seed, 3);
    test_ranges();
    test_hostile_ranges();
    test_hostile(seed);
    test_speed();
    return tap_done();
}
