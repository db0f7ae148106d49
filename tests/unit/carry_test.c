/* SPDX-License-Identifier: Apache-2.0 */
/* Compactions and the caches: what readers had in memory they have there after its compaction too;
 * and nothing is put there for a store, or a tree, that nobody reads. */
#include <inttypes.h>
#include <string.h>

#include "base/units.h"
#include "tactus.h"
#include "tests/lib/small_options.h"
#include "tests/lib/tap.h"

#define RECORDS 4000
#define VALUE_BYTES 100

static struct tactus *store_open(uint32_t tree_count, uint32_t *ret_trees)
{
    struct tactus_options options;
    struct tactus_layout  layout = {TACTUS_LAYOUT_FIXED, 8, VALUE_BYTES};
    struct tactus        *store;

    small_options(&options);
    options.table_size = 32 * TAC_KIB;
    options.backend = TACTUS_BACKEND_MEMORY;
    options.file_size_max = 64 * TAC_MIB;
    options.page_cache_size = options.index_cache_size = 8 * TAC_MIB;
    if (tactus_open("carry", &options, &store) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
    for (uint32_t i = 0; i < tree_count; i++) {
        if (tactus_tree_create(store, i == 0 ? "a" : "b", &layout, &ret_trees[i]) != TACTUS_OK) {
            tap_bail("%s", tactus_message());
        }
    }
    return store;
}

/* Every `step`-th record, in no order of keys; each is got at once where `reads`. */
static void records_put(struct tactus *store, uint32_t tree, uint32_t step, uint8_t version,
                        bool reads)
{
    for (uint64_t i = 0; i < RECORDS; i += step) {
        uint64_t key = i * UINT64_C(0x9e3779b97f4a7c15);
        uint8_t  value[VALUE_BYTES];
        size_t   size;

        memset(value, version, sizeof value);
        if (tactus_put(store, tree, &key, sizeof key, value, sizeof value) != TACTUS_OK ||
            (reads && tactus_get(store, tree, &key, sizeof key, NULL, 0, &size) != TACTUS_OK)) {
            tap_bail("%s", tactus_message());
        }
    }
}

static void drain(struct tactus *store)
{
    if (tactus_drain(store) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
}

/* Gets all records; returns what was not in a cache. */
static uint64_t records_get(struct tactus *store, uint32_t tree, uint32_t step, uint8_t version)
{
    struct tactus_stats before, after;

    tactus_stat(store, &before);
    for (uint64_t i = 0; i < RECORDS; i++) {
        uint64_t key = i * UINT64_C(0x9e3779b97f4a7c15);
        uint8_t  value[VALUE_BYTES];
        size_t   size;

        if (tactus_get(store, tree, &key, sizeof key, value, sizeof value, &size) != TACTUS_OK ||
            value[0] != (i % step == 0 ? version : 1)) {
            tap_bail("a record is wrong: %s", tactus_message());
        }
    }
    tactus_stat(store, &after);
    return after.cache_misses - before.cache_misses;
}

static uint64_t carried(struct tactus *store)
{
    struct tactus_stats stats;

    tactus_stat(store, &stats);
    return stats.cache_carried;
}

static void store_close(struct tactus *store)
{
    if (tactus_close(store) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
}

static void test_read(void)
{
    uint32_t       tree;
    struct tactus *store = store_open(1, &tree);
    uint64_t       cold, before, warm, pages;

    records_put(store, tree, 1, 1, false);
    drain(store);
    tap_ok(carried(store) == 0, "of a store that nobody reads nothing is put into a cache");
    cold = records_get(store, tree, 1, 1);
    tap_ok(cold > 0 && records_get(store, tree, 1, 1) == 0, "what was read once is in the caches");
    records_put(store, tree, 2, 2, true);
    drain(store);
    before = carried(store);
    warm = records_get(store, tree, 2, 2);
    tap_ok(before > 0 && warm < cold / 8,
           "most of it still is when half of the records have been overwritten and compacted: "
           "%" PRIu64 " reads, %" PRIu64 " at first",
           warm, cold);
    (void)records_get(store, tree, 2, 2);
    if (tactus_compact(store, tree) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
    pages = carried(store) - before;
    warm = records_get(store, tree, 2, 2);
    tap_ok(pages > 0 && warm == 0,
           "all of it is after a compaction of everything: %" PRIu64 " pages, %" PRIu64 " reads",
           pages, warm);
    store_close(store);
}

/* What a memtable answers counts for its flush. */
static void test_memtable(void)
{
    uint32_t       tree;
    struct tactus *store = store_open(1, &tree);
    uint64_t       misses;

    records_put(store, tree, 1, 1, true);
    drain(store);
    misses = records_get(store, tree, 1, 1);
    tap_ok(misses * 8 < carried(store),
           "most of what readers found in memtables they find in the caches after it: %" PRIu64
           " reads",
           misses);
    store_close(store);
}

static void test_two_trees(void)
{
    uint32_t       trees[2];
    struct tactus *store = store_open(2, trees);
    uint64_t       before;

    records_put(store, trees[0], 1, 1, false);
    records_put(store, trees[1], 1, 1, false);
    drain(store);
    (void)records_get(store, trees[0], 1, 1);
    before = carried(store);
    records_put(store, trees[1], 2, 2, false);
    if (tactus_compact(store, trees[1]) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
    tap_ok(carried(store) == before, "of a tree that nobody reads nothing is put into a cache");
    store_close(store);
}

int main(void)
{
    tap_plan(0);
    test_read();
    test_memtable();
    test_two_trees();
    return tap_done();
}
