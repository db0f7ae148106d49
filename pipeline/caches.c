/* SPDX-License-Identifier: Apache-2.0 */
/* caches -- see caches.h; and tactus_cache_change. */
#include "pipeline/caches.h"

#include "base/mutant.h"
#include "base/units.h"
#include "pipeline/api_internal.h"
#include "pipeline/options.h"
#include "pipeline/pool.h"
#include "queues/atomics.h"
#include "reading/block_read.h"
#include "reading/page_keeper.h"

static uint64_t size_max(const struct tactus *store, uint64_t size)
{
    return tac_max_u64(size, store->options.cache_size_max);
}

int tac_caches_create(struct tactus *store, struct tac_error *error)
{
    struct tac_caches *caches = &store->caches;

    caches->page_bytes = store->options.page_cache_size;
    caches->index_bytes = store->options.index_cache_size;
    caches->page_max_bytes = size_max(store, caches->page_bytes);
    caches->index_max_bytes = size_max(store, caches->index_bytes);
    if (tac_read_side_create(&store->read_side, &store->geometry, store->storage,
                             caches->page_bytes, caches->page_max_bytes, caches->index_bytes,
                             caches->index_max_bytes, error) != TACTUS_OK) {
        return error->code;
    }
    store->has_read_side = true;
    store->stages.keeper = tac_page_keeper_of(&store->read_side);
    return TACTUS_OK;
}

/* note: kept-in-vain
 *
 * Five bars' ends, of which the first three look at all tables, see to it that no frame stays that
 * was GONE and KEPT when the shrink was told (`shrinks`). Its keeper kept it before it was GONE
 * (note frame-state in reading/cache.c), so it was in a guarded section from before the first of
 * them saw the shrink. At the second that section is over, as readers are waited for before: so
 * index_kept has the frame by then, unless the first has taken it away. What the second takes away
 * the third lets go: whoever had loaded it from index_kept has left in between. Until then it is
 * KEPT, so nobody keeps it anew meanwhile. A table that leaves the manifest at one of the three
 * takes what is the descriptor's along, for two bars. The same holds for a retained table, with the
 * publish of the view that does not have it for the shrink. */
#define WALKS 3

void tac_caches_retained(struct tactus *store) { store->caches.walks_left = WALKS; }

static void tables_retire(struct tactus *store, struct tac_table *const *tables, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        tac_table_index_retire(&store->read_side, tables[i]);
    }
}

void tac_caches_bar_end(struct tactus *store)
{
    struct tac_caches *caches = &store->caches;
    uint64_t           shrinks = tac_atomic_load_acquire_u64(&caches->shrinks);

    if (shrinks != caches->shrinks_seen) {
        caches->shrinks_seen = shrinks;
        caches->walks_left = WALKS;
    }
    if (caches->walks_left == 0) {
        return;
    }
    caches->walks_left--;
    for (uint32_t i = 0; i < tac_manifest_tree_count(store->manifest); i++) {
        const struct tac_manifest_tree *tree = tac_manifest_tree(store->manifest, i);

        for (uint32_t level = 0; level < TACTUS_LEVELS_MAX; level++) {
            tables_retire(store, tree->levels[level].tables, tree->levels[level].table_count);
        }
        tables_retire(store, tree->discards.tables, tree->discards.table_count);
        tables_retire(store, tree->retained.tables, tree->retained.table_count);
    }
}

static int size_check(const char *name, uint64_t size, uint64_t max, struct tac_error *error)
{
    return size <= max || size == TACTUS_SIZE_AUTO
               ? TACTUS_OK
               : tac_error_set(error, TACTUS_EOPTION,
                               "%s: %llu is outside 0 to %llu; the store was opened with "
                               "cache_size_max of %llu here",
                               name, (unsigned long long)size, (unsigned long long)max,
                               (unsigned long long)max);
}

/* What the cache takes at least. */
static uint64_t size_least(uint64_t size, const struct tac_cache *cache)
{
    return tac_max_u64(size, tac_cache_kept_bytes(cache));
}

/* Replaces `auto` as an open does, and checks. others_bytes: what the store has beside them. */
static int sizes_resolve(const struct tactus *store, uint64_t others_bytes, uint64_t *page,
                         uint64_t *index, struct tac_error *error)
{
    const struct tac_caches *caches = &store->caches;
    struct tactus_options    options;

    if (size_check("page_cache_size", *page, caches->page_max_bytes, error) != TACTUS_OK ||
        size_check("index_cache_size", *index, caches->index_max_bytes, error) != TACTUS_OK) {
        return error->code;
    }
    tactus_options_init(&options);
    options.memory_size = store->options.memory_size;
    options.level0_cache_size = 0; /* It is one of the others */
    options.page_cache_size = size_least(*page, store->read_side.page_cache);
    options.index_cache_size = size_least(*index, store->read_side.index_cache);
    if (tac_options_resolve_caches(&options, &store->shape, others_bytes, error) != TACTUS_OK) {
        return error->code;
    }
    *page = size_least(tac_min_u64(options.page_cache_size, caches->page_max_bytes),
                       store->read_side.page_cache);
    *index = size_least(tac_min_u64(options.index_cache_size, caches->index_max_bytes),
                        store->read_side.index_cache);
    if (options.memory_size > 0 && others_bytes + *page + *index > options.memory_size) {
        return tac_error_set(error, TACTUS_EOPTION,
                             "option memory_size: %llu bytes are not enough for caches that keep "
                             "%llu and %llu of what they have once had",
                             (unsigned long long)options.memory_size, (unsigned long long)*page,
                             (unsigned long long)*index);
    }
    return TACTUS_OK;
}

/* What grows is taken of the pool before, what shrinks is given back after. */
static int caches_change(struct tactus *store, uint64_t page, uint64_t index,
                         struct tac_error *error)
{
    struct tac_caches *caches = &store->caches;
    uint64_t           before = caches->page_bytes + caches->index_bytes, after;
    uint64_t           budget = tac_atomic_load_relaxed_u64(&store->memory_budget_bytes);

    if (sizes_resolve(store, budget - before, &page, &index, error) != TACTUS_OK) {
        return error->code;
    }
    after = page + index;
    if (store->shared != NULL && after > before &&
        tac_pool_memory_more(store, after - before, error) != TACTUS_OK) {
        return error->code;
    }
    tac_read_side_caches_change(&store->read_side, page, index);
    if (index < caches->index_bytes) {
        tac_atomic_fetch_add_u64(&caches->shrinks, 1);
    }
    if (store->shared != NULL && after < before && !TAC_MUTANT(CACHE_POOL_KEPT)) {
        tac_pool_memory_less(store, before - after);
    }
    caches->page_bytes = page;
    caches->index_bytes = index;
    if (!TAC_MUTANT(CACHE_BUDGET_KEPT)) {
        tac_atomic_store_relaxed_u64(&store->memory_budget_bytes, budget - before + after);
    }
    return TACTUS_OK;
}

int tactus_cache_change(struct tactus *store, uint64_t page_cache_size, uint64_t index_cache_size)
{
    int result;

    if (tac_api_fork_check(store) != TACTUS_OK) {
        return tac_api_error.code;
    }
    pthread_mutex_lock(&store->caches.lock);
    result = caches_change(store, page_cache_size, index_cache_size, &tac_api_error);
    if (result == TACTUS_OK) {
        tac_logger_add(&store->logger, TACTUS_LOGGER_INFO,
                       "caches now: page_cache_size %llu, index_cache_size %llu",
                       (unsigned long long)store->caches.page_bytes,
                       (unsigned long long)store->caches.index_bytes);
    }
    pthread_mutex_unlock(&store->caches.lock);
    tac_api_tell(store);
    return result;
}
