/* SPDX-License-Identifier: Apache-2.0 */
/* Room in the manifest log between two checkpoints: a sorted run finds some whatever the running plan
 * takes, in stores with many trees, beside tables that are discarded or leave with a deleted range;
 * a tree with long keys does not leave plans without any, and a drain comes to its end. */
#include <inttypes.h>
#include <string.h>

#include "base/units.h"
#include "tactus.h"
#include "tests/lib/small_options.h"
#include "tests/lib/tap.h"

#define KEY_BYTES_MAX 1000
#define VALUE_BYTES 100
#define BARS 12
#define PARTS 4

/* Records with keys first, first + 1, …, one at a call. */
struct run {
    uint64_t                 next, end;
    uint32_t                 key_size;
    uint8_t                  key[KEY_BYTES_MAX];
    struct tactus_run_record record;
};

static const uint8_t value[VALUE_BYTES];

static void expect(int result, const char *what)
{
    if (result != TACTUS_OK) {
        tap_bail("%s: %d %s", what, result, tactus_message());
    }
}

/* Long keys are long for their whole length: so are the log's events. */
static void key_make(uint64_t number, uint8_t *key, uint32_t key_size)
{
    memset(key, 'k', key_size);
    for (uint32_t i = 0; i < 8; i++) {
        key[i] = (uint8_t)(number >> (56 - 8 * i));
    }
}

static int run_read(void *context, const struct tactus_run_record **ret_records, size_t *ret_count)
{
    struct run *run = context;

    *ret_count = run->next < run->end;
    if (*ret_count > 0) {
        key_make(run->next++, run->key, run->key_size);
        run->record = (struct tactus_run_record){
            .key = run->key, .key_size = run->key_size, .value = value, .value_size = VALUE_BYTES};
    }
    *ret_records = &run->record;
    return TACTUS_OK;
}

static int ingest(struct tactus *store, uint32_t tree, uint32_t key_size, uint64_t first,
                  uint64_t end)
{
    struct run run = {.next = first, .end = end, .key_size = key_size};
    uint64_t   before = tactus_last_op(store);
    int        result = tactus_ingest(store, tree, run_read, &run, NULL);

    if (result == TACTUS_OK && tactus_last_op(store) != before + 1) {
        tap_bail("the run took %" PRIu64 " numbers", tactus_last_op(store) - before);
    }
    if (result != TACTUS_OK) {
        tap_diag("%s", tactus_message());
    }
    return result;
}

static int range_delete(struct tactus *store, uint32_t tree, uint32_t key_size, uint64_t first,
                        uint64_t end)
{
    uint8_t low[KEY_BYTES_MAX], high[KEY_BYTES_MAX];

    key_make(first, low, key_size);
    key_make(end, high, key_size);
    return tactus_delete_range(store, tree, low, key_size, high, key_size, NULL);
}

static void put(struct tactus *store, uint32_t tree, uint32_t key_size, uint64_t number)
{
    uint8_t key[KEY_BYTES_MAX];

    key_make(number, key, key_size);
    expect(tactus_put(store, tree, key, key_size, value, VALUE_BYTES), "put");
}

static struct tactus *store_open(uint32_t block_size, uint32_t runs)
{
    struct tactus_options options;
    struct tactus        *store;

    small_options(&options);
    options.block_size = block_size;
    options.page_size = block_size / 8;
    options.memtable_size = (uint64_t)8 * block_size;
    options.slice_size = (uint64_t)16 * block_size;
    options.table_size = (uint64_t)4 * block_size;
    options.runs_per_level = runs;
    options.checkpoint_interval_bars = 64;
    options.backend = TACTUS_BACKEND_MEMORY;
    options.file_size_max = (uint64_t)block_size << 17;
    expect(tactus_open("log-room", &options, &store), "open");
    return store;
}

static uint32_t tree_create(struct tactus *store, const char *name, uint32_t key_size)
{
    struct tactus_layout layout = {TACTUS_LAYOUT_VARIABLE, key_size, VALUE_BYTES};
    uint32_t             tree;

    expect(tactus_tree_create(store, name, &layout, &tree), "tree");
    return tree;
}

static void bar_end(struct tactus *store)
{
    struct tactus_stats stats;
    uint64_t            bars;

    tactus_stat(store, &stats);
    for (bars = stats.bars; stats.bars == bars; tactus_stat(store, &stats)) {
        expect(tactus_beat(store), "beat");
    }
}

static struct tactus_stats stats_of(struct tactus *store)
{
    struct tactus_stats stats;

    tactus_stat(store, &stats);
    return stats;
}

static void close_ok(struct tactus *store)
{
    tap_ok(tactus_verify(store, NULL, NULL, NULL) == TACTUS_OK && tactus_close(store) == TACTUS_OK,
           "the store is sound, and closes");
}

/* The log has 16 blocks of this size. */
static void test_trees(void)
{
    struct tactus *store = store_open(128 * TAC_KIB, 8);
    uint32_t       trees[TACTUS_TREES_MAX];
    bool           is_taken = true;

    for (uint32_t i = 0; i < TACTUS_TREES_MAX; i++) {
        char name[8] = {'t', (char)('a' + i / 8), (char)('a' + i % 8)};

        trees[i] = tree_create(store, name, 100);
    }
    for (uint32_t i = 0; i < TACTUS_TREES_MAX && is_taken; i++) {
        put(store, trees[i], 100, 1000);
        is_taken = ingest(store, trees[i], 100, 0, 3) == TACTUS_OK;
    }
    tap_ok(is_taken, "a store of %d trees takes sorted runs", TACTUS_TREES_MAX);
    close_ok(store);
}

/* All of some tables' records is deleted; then runs come in every bar. */
static void test_beside(uint32_t block_size, uint32_t key_size, uint64_t records)
{
    struct tactus *store = store_open(block_size, 8);
    uint32_t       tree = tree_create(store, "t", key_size);
    uint64_t       tables;
    uint32_t       taken = 0;

    for (uint64_t i = 0; i < PARTS; i++) { /* A run has no more tables than the log can note. */
        expect(ingest(store, tree, key_size, records / PARTS * i, records / PARTS * (i + 1)),
               "ingest");
    }
    tables = stats_of(store).level[stats_of(store).levels - 1].tables;
    expect(range_delete(store, tree, key_size, 0, records), "range");
    for (uint32_t i = 0; i < BARS; i++) {
        bar_end(store);
        taken += ingest(store, tree, key_size, records + i, records + i + 1) == TACTUS_OK;
    }
    tap_ok(taken == BARS, "runs are taken beside %" PRIu64 " tables that go (block %u, key %u)",
           tables, block_size, key_size);
    expect(tactus_drain(store), "drain");
    tap_ok(stats_of(store).level[0].records + stats_of(store).level[1].records <= BARS,
           "and the tables go");
    close_ok(store);
}

#define RANGES 250
#define APART 200

/* Many ranges with short bounds are noted; then long keys come. */
static void test_long_keys(uint32_t runs)
{
    struct tactus *store = store_open(16 * TAC_KIB, runs);
    uint32_t       tree = tree_create(store, "short", 8), tree_long;

    for (uint64_t i = 0; i < RANGES * APART; i++) {
        put(store, tree, 8, i);
    }
    expect(tactus_drain(store), "drain");
    for (uint64_t i = 0; i < RANGES; i++) {
        expect(range_delete(store, tree, 8, i * APART + 5, i * APART + 15), "range");
    }
    bar_end(store);
    tree_long = tree_create(store, "long", KEY_BYTES_MAX);
    tap_ok(runs == 1 || ingest(store, tree_long, KEY_BYTES_MAX, 0, 1) == TACTUS_OK,
           "beside %u ranges a new tree with long keys takes a run", stats_of(store).ranges);
    for (uint64_t i = 0; i < 3000; i++) {
        put(store, tree_long, KEY_BYTES_MAX, i * 7919 % 3000);
    }
    tap_ok(stats_of(store).depth_max <= 3 * runs, "compaction goes on: level depth %u (runs %u)",
           stats_of(store).depth_max, runs);
    tap_ok(tactus_drain(store) == TACTUS_OK && tactus_compact(store, tree) == TACTUS_OK &&
               stats_of(store).ranges == 0,
           "and the ranges come to their end");
    close_ok(store);
}

/* A compaction whose tables may take more of the log than a plan that keeps room for a run has left:
 * with blocks of 4 KiB a table is small, its event long. */
static void test_drain(void)
{
    struct tactus_layout  layout = {TACTUS_LAYOUT_VARIABLE, 255, 700};
    struct tactus_options options;
    struct tactus        *store;
    uint32_t              tree;
    int                   result;

    small_options(&options);
    options.backend = TACTUS_BACKEND_MEMORY;
    options.memtable_size = 4 * TAC_MIB;
    options.block_size = 4 * TAC_KIB;
    options.page_size = 512;
    options.table_size = 8 * TAC_MIB;
    options.slice_size = 64 * TAC_KIB;
    options.tables_max = 16384;
    options.file_size_max = TAC_GIB;
    expect(tactus_open(NULL, &options, &store), "open");
    expect(tactus_tree_create(store, "tree", &layout, &tree), "tree");
    for (uint64_t i = 0; i < 100000; i++) {
        uint8_t key[8];

        key_make(i, key, sizeof key);
        expect(tactus_put(store, tree, key, sizeof key, value, VALUE_BYTES), "put");
    }
    result = tactus_drain(store);
    tap_ok(result == TACTUS_OK, "a drain's compactions take what log they need%s%s",
           result == TACTUS_OK ? "" : ": ", result == TACTUS_OK ? "" : tactus_message());
    expect(tactus_close(store), "close");
}

int main(void)
{
    tap_plan(0);
    test_trees();
    test_beside(128 * TAC_KIB, 8, 60000);
    test_beside(16 * TAC_KIB, KEY_BYTES_MAX, 14400);
    test_long_keys(8);
    test_long_keys(1);
    test_drain();
    return tap_done();
}
