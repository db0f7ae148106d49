/* SPDX-License-Identifier: Apache-2.0 */
/* The caches of an open store get other sizes: within cache_size_max, memory_size and what the pool
 * has left, beside readers and a writer, with an iterator that has pages pinned. The simulator does
 * it at random moments, tests/stress/cache_stress_test in a cache alone. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/units.h"
#include "pipeline/store.h"
#include "queues/atomics.h"
#include "tests/lib/small_options.h"
#include "tests/lib/tap.h"

#define RECORDS 20000
#define VALUE_BYTES 100
#define READERS 2

static void options_of(struct tactus_options *options)
{
    small_options(options);
    options->backend = TACTUS_BACKEND_MEMORY;
    options->threads = TACTUS_THREADS_AUTO;
    options->memtable_size = 256 * TAC_KIB;
    options->tables_max = 4096;
    options->file_size_max = TAC_GIB;
    options->page_cache_size = options->index_cache_size = TAC_MIB;
    options->cache_size_max = 8 * TAC_MIB;
}

static struct tactus *store_open(struct tactus_pool *pool, const struct tactus_options *options,
                                 uint32_t *ret_tree)
{
    struct tactus_layout layout = {TACTUS_LAYOUT_FIXED, 8, VALUE_BYTES};
    struct tactus       *store;

    if ((pool == NULL ? tactus_open(NULL, options, &store)
                      : tactus_open_in(pool, NULL, options, &store)) != TACTUS_OK ||
        tactus_tree_create(store, "tree", &layout, ret_tree) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
    return store;
}

static bool put(struct tactus *store, uint32_t tree, uint64_t number)
{
    uint64_t key = __builtin_bswap64(number);
    uint8_t  value[VALUE_BYTES] = {0};

    memcpy(value, &number, sizeof number);
    return tactus_put(store, tree, &key, sizeof key, value, sizeof value) == TACTUS_OK;
}

static bool has(struct tactus *store, uint32_t tree, uint64_t number)
{
    uint64_t key = __builtin_bswap64(number), first;
    uint8_t  value[VALUE_BYTES];
    size_t   size;

    if (tactus_get(store, tree, &key, sizeof key, value, sizeof value, &size) != TACTUS_OK) {
        return false;
    }
    memcpy(&first, value, sizeof first);
    return first == number;
}

static bool fill(struct tactus *store, uint32_t tree)
{
    bool is_right = true;

    for (uint64_t i = 0; i < RECORDS && is_right; i++) {
        is_right = put(store, tree, i * 7919 % RECORDS);
    }
    return is_right && tactus_drain(store) == TACTUS_OK;
}

static uint64_t budget(struct tactus *store)
{
    struct tactus_stats stats;

    tactus_stat(store, &stats);
    return stats.memory_budget_bytes;
}

static uint64_t misses(struct tactus *store, uint32_t tree)
{
    struct tactus_stats before, after;
    bool                is_right = true;

    tactus_stat(store, &before);
    for (uint64_t i = 0; i < RECORDS && is_right; i++) {
        is_right = has(store, tree, i);
    }
    tactus_stat(store, &after);
    return is_right ? after.cache_misses - before.cache_misses : UINT64_MAX;
}

static bool says(const char *text) { return strstr(tactus_message(), text) != NULL; }

static void test_sizes(void)
{
    struct tactus_options options;
    struct tactus        *store;
    uint32_t              tree;
    uint64_t              others, warm;

    options_of(&options);
    store = store_open(NULL, &options, &tree);
    others = budget(store) - 2 * TAC_MIB;
    tap_ok(tactus_cache_change(store, 8 * TAC_MIB, 8 * TAC_MIB) == TACTUS_OK &&
               budget(store) == others + 16 * TAC_MIB,
           "both caches grow to cache_size_max, and the budget with them");
    tap_ok(fill(store, tree) && misses(store, tree) > 0 && misses(store, tree) == 0,
           "all that is read again is found");
    tap_ok(tactus_cache_change(store, 6 * TAC_MIB, 5 * TAC_MIB) == TACTUS_OK &&
               misses(store, tree) == 0,
           "what the smaller ones have room for stays");
    tap_ok(tactus_cache_change(store, 0, 0) == TACTUS_OK && budget(store) < others + 2 * TAC_MIB &&
               (warm = misses(store, tree)) > 0 && warm != UINT64_MAX,
           "without caches all is read from the device, and right");
    tap_ok(tactus_cache_change(store, 8 * TAC_MIB + 1, TAC_MIB) == TACTUS_EOPTION &&
               says("page_cache_size: 8388609 is outside 0 to 8388608"),
           "more is refused: %s", tactus_message());
    tap_ok(tactus_cache_change(store, 0, 9 * TAC_MIB) == TACTUS_EOPTION && says("index_cache_size"),
           "of the other one too");
    tap_ok(tactus_cache_change(store, TACTUS_SIZE_AUTO, TACTUS_SIZE_AUTO) == TACTUS_OK &&
               budget(store) == others + 16 * TAC_MIB,
           "auto is as much as can be where the default is more");
    tap_ok(tactus_close(store) == TACTUS_OK, "it closes");
}

static void test_no_more(void)
{
    struct tactus_options options;
    struct tactus        *store;
    uint32_t              tree;

    options_of(&options);
    options.cache_size_max = 0;
    store = store_open(NULL, &options, &tree);
    tap_ok(tactus_cache_change(store, TAC_MIB, TAC_MIB) == TACTUS_OK &&
               tactus_cache_change(store, TAC_MIB + 1, 0) == TACTUS_EOPTION &&
               tactus_cache_change(store, 100, TAC_MIB / 2) == TACTUS_OK,
           "without cache_size_max they do not grow");
    tap_ok(tactus_close(store) == TACTUS_OK, "it closes");
    options.cache_size_max = 2048 * TAC_GIB;
    tap_ok(tactus_open(NULL, &options, &store) == TACTUS_EOPTION && says("cache_size_max"),
           "a cache_size_max out of range is refused: %s", tactus_message());
}

static void test_memory(void)
{
    struct tactus_options options;
    struct tactus        *store;
    uint32_t              tree;
    uint64_t              others;

    options_of(&options);
    store = store_open(NULL, &options, &tree);
    others = budget(store) - 2 * TAC_MIB;
    if (tactus_close(store) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
    options.cache_size_max = 64 * TAC_MIB;
    options.memory_size = others + 12 * TAC_MIB;
    options.level0_cache_size = 0;
    store = store_open(NULL, &options, &tree);
    tap_ok(tactus_cache_change(store, 10 * TAC_MIB, 2 * TAC_MIB) == TACTUS_OK &&
               budget(store) == options.memory_size &&
               tactus_cache_change(store, 10 * TAC_MIB, 2 * TAC_MIB + 1) == TACTUS_EOPTION &&
               says("memory_size") && budget(store) == options.memory_size,
           "together they keep to memory_size: %s", tactus_message());
    tap_ok(tactus_cache_change(store, TAC_MIB, TACTUS_SIZE_AUTO) == TACTUS_OK &&
               budget(store) == options.memory_size,
           "and auto is what the other one leaves");
    tap_ok(tactus_close(store) == TACTUS_OK, "it closes");
}

static void test_pool(void)
{
    struct tactus_pool_options pool_options;
    struct tactus_pool_stats   stats;
    struct tactus_options      options;
    struct tactus_pool        *pool;
    struct tactus             *stores[2];
    uint32_t                   tree;
    uint64_t                   bytes;

    options_of(&options);
    options.threads = 0; /* As the pool */
    stores[0] = store_open(NULL, &options, &tree);
    bytes = budget(stores[0]);
    if (tactus_close(stores[0]) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
    tactus_pool_options_init(&pool_options);
    pool_options.threads = 0;
    pool_options.memory_size = 2 * bytes + TAC_MIB;
    if (tactus_pool_open(&pool_options, &pool) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
    stores[0] = store_open(pool, &options, &tree);
    stores[1] = store_open(pool, &options, &tree);
    tap_ok(tactus_cache_change(stores[0], 2 * TAC_MIB, TAC_MIB) == TACTUS_OK &&
               tactus_cache_change(stores[1], TAC_MIB, TAC_MIB + 1) == TACTUS_ENOMEM &&
               says("has 0 left"),
           "what the pool has left can be had, and no more: %s", tactus_message());
    tap_ok(tactus_cache_change(stores[0], 0, 0) == TACTUS_OK &&
               tactus_cache_change(stores[1], 2 * TAC_MIB, 2 * TAC_MIB) == TACTUS_OK,
           "what one gives up another may have");
    tactus_pool_stat(pool, &stats);
    tap_ok(stats.memory_budget_bytes == budget(stores[0]) + budget(stores[1]) &&
               stats.memory_budget_bytes <= stats.memory_size,
           "the pool's budget is the sum");
    tap_ok(tactus_close(stores[0]) == TACTUS_OK && tactus_close(stores[1]) == TACTUS_OK,
           "both close");
    tactus_pool_stat(pool, &stats);
    tap_ok(stats.memory_budget_bytes == 0 && tactus_pool_close(pool) == TACTUS_OK,
           "and give all back");
}

/* ---- index blocks that descriptors keep ----------------------------------------------------- */

#define KEPT_MAX 1024
#define KEPT_BARS 5 /* After which what is kept in vain has gone: caches.c, note kept-in-vain */

struct kept {
    uint32_t                      count;
    uint64_t                      ids[KEPT_MAX]; /* Of the tables */
    const struct tac_cache_frame *frames[KEPT_MAX];
};

static void kept_add(struct kept *kept, struct tac_table *const *tables, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (tables[i]->index_kept != NULL) {
            if (kept->count == KEPT_MAX) {
                tap_bail("more tables than expected");
            }
            kept->ids[kept->count] = tables[i]->id;
            kept->frames[kept->count++] = tables[i]->index_kept;
        }
    }
}

/* Of a tree's levels, or of its retained tables. No threads: nobody changes them. */
static struct kept kept_of(struct tactus *store, uint32_t number, bool is_retained)
{
    const struct tac_manifest_tree *tree = tac_manifest_tree(store->manifest, number);
    struct kept                     kept = {0};

    if (is_retained) {
        kept_add(&kept, tree->retained.tables, tree->retained.table_count);
        return kept;
    }
    for (uint32_t level = 0; level < TACTUS_LEVELS_MAX; level++) {
        kept_add(&kept, tree->levels[level].tables, tree->levels[level].table_count);
    }
    return kept;
}

static bool has_table(struct tactus *store, uint32_t number, uint64_t id)
{
    const struct tac_manifest_tree *tree = tac_manifest_tree(store->manifest, number);
    bool                            is_found = false;

    for (uint32_t level = 0; level < TACTUS_LEVELS_MAX; level++) {
        for (uint32_t i = 0; i < tree->levels[level].table_count; i++) {
            is_found = is_found || tree->levels[level].tables[i]->id == id;
        }
    }
    return is_found;
}

static uint32_t tables_there(struct tactus *store, uint32_t number, const struct kept *kept)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < kept->count; i++) {
        count += has_table(store, number, kept->ids[i]);
    }
    return count;
}

/* Frames whose first page of memory is there. */
static uint32_t frames_resident(const struct kept *kept)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < kept->count; i++) {
        uintptr_t page = (uintptr_t)kept->frames[i]->data & ~((uintptr_t)sysconf(_SC_PAGESIZE) - 1);
        unsigned char state = 0;

        count += mincore((void *)page, 1, &state) == 0 && (state & 1) != 0;
    }
    return count;
}

/* Writes to the tree until so many bars have ended. */
static void bars_end(struct tactus *store, uint32_t tree, uint64_t count)
{
    uint64_t bars = store->totals.bars + count;

    for (uint64_t i = 0; store->totals.bars < bars; i++) {
        if (!put(store, tree, i)) {
            tap_bail("%s", tactus_message());
        }
    }
}

static void test_kept(void)
{
    struct tactus_layout  layout = {TACTUS_LAYOUT_FIXED, 8, VALUE_BYTES};
    struct tactus_options options;
    struct tactus        *store;
    struct kept           kept;
    uint32_t              tree, other;

    options_of(&options);
    options.threads = 0;
    store = store_open(NULL, &options, &tree);
    if (tactus_tree_create(store, "other", &layout, &other) != TACTUS_OK || !fill(store, tree) ||
        misses(store, tree) == UINT64_MAX || misses(store, tree) == UINT64_MAX) {
        tap_bail("%s", tactus_message());
    }
    kept = kept_of(store, tree, false);
    tap_ok(kept.count > 2 && frames_resident(&kept) == kept.count,
           "gets keep index blocks for the tables (%u)", kept.count);
    tap_ok(tactus_cache_change(store, TAC_MIB, 0) == TACTUS_OK &&
               frames_resident(&kept) == kept.count,
           "they outlive their cache at first, as readers may look at them");
    bars_end(store, other, 1);
    tap_ok(kept_of(store, tree, false).count == 0 &&
               frames_resident(&kept) >= tables_there(store, tree, &kept),
           "a bar later nobody comes to them any more, but who came before may still look");
    bars_end(store, other, KEPT_BARS - 1);
    tap_ok(tables_there(store, tree, &kept) > kept.count / 2 && frames_resident(&kept) == 0 &&
               kept_of(store, tree, false).count == 0,
           "and are given back within five bars, though most tables are still there (%u)",
           tables_there(store, tree, &kept));
    tap_ok(tactus_cache_change(store, TAC_MIB, TAC_MIB) == TACTUS_OK &&
               misses(store, tree) != UINT64_MAX && kept_of(store, tree, false).count > 2,
           "a cache that grows again has some again");
    tap_ok(tactus_cache_change(store, TAC_MIB, 0) == TACTUS_OK &&
               tactus_cache_change(store, TAC_MIB, TAC_MIB) == TACTUS_OK &&
               misses(store, tree) != UINT64_MAX,
           "or gets them back when it is made larger in between");
    bars_end(store, other, KEPT_BARS);
    kept = kept_of(store, tree, false);
    tap_ok(kept.count > 2 && frames_resident(&kept) == kept.count, "and they stay");

    tap_ok(tactus_snapshot_create(store, "now", NULL) == TACTUS_OK && fill(store, tree),
           "a snapshot keeps tables that compactions consume");
    bars_end(store, other, KEPT_BARS);
    tap_ok(tac_manifest_tree(store->manifest, tree)->retained.table_count > 2 &&
               kept_of(store, tree, true).count == 0,
           "but not their index blocks in the cache");
    tap_ok(tactus_close(store) == TACTUS_OK, "it closes");
}

struct beside {
    struct tactus *store;
    uint32_t       tree;
    uint32_t       is_over; /* Atomic */
    uint64_t       wrong;   /* RMW */
};

static void *reader_main(void *context)
{
    struct beside *beside = context;

    for (uint64_t i = 0; tac_atomic_load_relaxed_u32(&beside->is_over) == 0; i++) {
        if (!has(beside->store, beside->tree, i * 6151 % RECORDS)) {
            tac_atomic_fetch_add_u64(&beside->wrong, 1);
        }
    }
    return NULL;
}

static void *changer_main(void *context)
{
    struct beside *beside = context;

    for (uint64_t i = 0; tac_atomic_load_relaxed_u32(&beside->is_over) == 0; i++) {
        if (tactus_cache_change(beside->store, i * 7919 % (8 * TAC_KIB) * TAC_KIB,
                                i * 6151 % (8 * TAC_KIB) * TAC_KIB) != TACTUS_OK) {
            tac_atomic_fetch_add_u64(&beside->wrong, 1);
        }
    }
    return NULL;
}

static void test_beside(void)
{
    struct tactus_options   options;
    struct beside           beside = {0};
    struct tactus_iterator *iterator;
    pthread_t               readers[READERS], changer;
    const void             *key, *value;
    size_t                  key_size, value_size;
    uint64_t                first;
    bool                    is_right;

    options_of(&options);
    beside.store = store_open(NULL, &options, &beside.tree);
    if (!fill(beside.store, beside.tree) ||
        tactus_iterator_open(beside.store, beside.tree, &iterator) != TACTUS_OK ||
        tactus_iterator_first(iterator) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
    for (uint32_t i = 0; i < READERS; i++) {
        if (pthread_create(&readers[i], NULL, reader_main, &beside) != 0) {
            tap_bail("no thread");
        }
    }
    if (pthread_create(&changer, NULL, changer_main, &beside) != 0) {
        tap_bail("no thread");
    }
    is_right = fill(beside.store, beside.tree) && fill(beside.store, beside.tree);
    tac_atomic_store_relaxed_u32(&beside.is_over, 1);
    for (uint32_t i = 0; i < READERS; i++) {
        pthread_join(readers[i], NULL);
    }
    pthread_join(changer, NULL);
    tactus_iterator_record(iterator, &key, &key_size, &value, &value_size);
    memcpy(&first, value, sizeof first);
    tap_ok(is_right && beside.wrong == 0, "gets and puts go on beside changes");
    tap_ok(key_size == 8 && value_size == VALUE_BYTES && first == 0,
           "what an iterator stands on stays");
    tactus_iterator_close(iterator);
    tap_ok(tactus_cache_change(beside.store, 0, 0) == TACTUS_OK &&
               tactus_verify(beside.store, NULL, NULL, NULL) == TACTUS_OK &&
               tactus_close(beside.store) == TACTUS_OK,
           "the store is sound");
}

int main(void)
{
    tap_plan(0);
    test_sizes();
    test_no_more();
    test_memory();
    test_pool();
    test_kept();
    test_beside();
    return tap_done();
}
