/* SPDX-License-Identifier: Apache-2.0 */
/* pool -- see pool.h; and the functions of tactus.h for pools, but for tactus_open_in (api.c). */
#include "pipeline/pool.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mutant.h"
#include "base/units.h"
#include "pipeline/api_internal.h"
#include "pipeline/options.h"

#define MEMORY_SHARES_MAX 65536
#define STRUCT_SIZE_MAX (16 * TAC_KIB) /* As of struct tactus_options */

/* ---- of stores ------------------------------------------------------------------------------ */

static void thread_options_set(struct tactus_options *options, const uint32_t *count)
{
    options->threads = TACTUS_THREADS_AUTO;
    options->threads_read = count[TAC_STAGE_READ];
    options->threads_merge = count[TAC_STAGE_MERGE];
    options->threads_write = count[TAC_STAGE_WRITE];
}

void tac_pool_store_begins(struct tactus *store)
{
    struct tactus_pool    *pool = store->shared;
    struct tactus_options *options = &store->options;
    uint32_t               count[TAC_STAGES_WITH_QUEUE] = {0};

    pthread_mutex_lock(&pool->lock);
    pool->store_count++;
    pthread_mutex_unlock(&pool->lock);
    if (pool->has_threads) {
        tac_thread_pool_count(&pool->threads, count);
    }
    thread_options_set(options, count);
    options->threads_priority = pool->threads_priority;
    if (options->memory_size == TACTUS_SIZE_AUTO) {
        options->memory_size = pool->memory_size / pool->memory_shares;
    }
}

/* what: that needs it. */
static int memory_take(struct tactus *store, const char *what, uint64_t bytes,
                       struct tac_error *error)
{
    struct tactus_pool *pool = store->shared;
    uint64_t            left;

    pthread_mutex_lock(&pool->lock);
    left = tac_subtract_floor_zero(pool->memory_size, pool->taken_bytes);
    if (pool->memory_size == 0 || bytes <= left) {
        pool->taken_bytes += bytes;
        store->shared_bytes += bytes;
        left = UINT64_MAX;
    }
    pthread_mutex_unlock(&pool->lock);
    if (left == UINT64_MAX) {
        return TACTUS_OK;
    }
    return tac_error_set(error, TACTUS_ENOMEM,
                         "%s %llu bytes of memory; the pool has %llu left of its memory_size, "
                         "%llu: give the store less by its options, or close another one",
                         what, (unsigned long long)bytes, (unsigned long long)left,
                         (unsigned long long)pool->memory_size);
}

int tac_pool_memory_take(struct tactus *store, uint64_t bytes, struct tac_error *error)
{
    return memory_take(store, "the store needs", bytes, error);
}

int tac_pool_memory_more(struct tactus *store, uint64_t bytes, struct tac_error *error)
{
    return memory_take(store, "the caches need another", bytes, error);
}

void tac_pool_memory_less(struct tactus *store, uint64_t bytes)
{
    struct tactus_pool *pool = store->shared;

    pthread_mutex_lock(&pool->lock);
    tac_assert(bytes <= store->shared_bytes && bytes <= pool->taken_bytes);
    pool->taken_bytes -= bytes;
    store->shared_bytes -= bytes;
    pthread_mutex_unlock(&pool->lock);
}

void tac_pool_store_add(struct tactus *store)
{
    struct tactus_pool *pool = store->shared;

    tac_assert(store->memory_budget_bytes <= store->shared_bytes);
    pthread_mutex_lock(&pool->lock);
    pool->taken_bytes -= store->shared_bytes - store->memory_budget_bytes;
    store->shared_bytes = store->memory_budget_bytes;
    pthread_mutex_unlock(&pool->lock);
    pthread_mutex_lock(&pool->list_lock);
    store->shared_next = pool->stores;
    pool->stores = store;
    pthread_mutex_unlock(&pool->list_lock);
}

void tac_pool_store_remove(struct tactus *store)
{
    struct tactus_pool *pool = store->shared;

    pthread_mutex_lock(&pool->list_lock);
    store->shared_leaves = true;
    while (store->shared_steppers > 0) {
        pthread_cond_wait(&pool->stepped, &pool->list_lock);
    }
    for (struct tactus **link = &pool->stores; *link != NULL; link = &(*link)->shared_next) {
        if (*link == store) {
            *link = store->shared_next;
            break;
        }
    }
    pthread_mutex_unlock(&pool->list_lock);
}

void tac_pool_store_ended(struct tactus *store)
{
    struct tactus_pool *pool = store->shared;

    pthread_mutex_lock(&pool->lock);
    tac_assert(pool->store_count > 0 && pool->taken_bytes >= store->shared_bytes);
    pool->store_count--;
    pool->taken_bytes -= TAC_MUTANT(POOL_MEMORY_KEPT) ? 0 : store->shared_bytes;
    pthread_mutex_unlock(&pool->lock);
}

/* ---- of tactus.h ---------------------------------------------------------------------------- */

static void defaults_set(struct tactus_pool_options *options)
{
    memset(options, 0, sizeof *options);
    options->struct_size = sizeof *options;
    options->memory_size = 0;
    options->memory_shares = 1;
    options->threads = TACTUS_THREADS_AUTO;
    options->threads_read = TACTUS_THREADS_AUTO;
    options->threads_merge = TACTUS_THREADS_AUTO;
    options->threads_write = TACTUS_THREADS_AUTO;
    options->threads_priority = TACTUS_PRIORITY_NORMAL;
}

void tactus_pool_options_init_sized(struct tactus_pool_options *options, size_t struct_size)
{
    struct tactus_pool_options defaults;

    defaults_set(&defaults);
    defaults.struct_size = struct_size;
    memset(options, 0, struct_size);
    memcpy(options, &defaults, tac_min_u64(struct_size, sizeof defaults));
}

/* A program's struct, which may be of a later version, as one of this version. */
static int options_import(const struct tactus_pool_options *options,
                          struct tactus_pool_options       *ret_options)
{
    const uint8_t *bytes = (const uint8_t *)options;
    size_t         size = options->struct_size;

    /* No struct was ever shorter than the first one. */
    if (size < offsetof(struct tactus_pool_options, threads_priority) || size > STRUCT_SIZE_MAX) {
        return tac_error_set(&tac_api_error, TACTUS_EOPTION,
                             "the options were not filled by tactus_pool_options_init: their "
                             "struct_size is %zu",
                             size);
    }
    for (size_t i = sizeof *ret_options; i < size; i++) {
        if (bytes[i] != 0) {
            return tac_error_set(&tac_api_error, TACTUS_EOPTION,
                                 "an option that this library does not have is set, %zu bytes into "
                                 "struct tactus_pool_options: the program needs a newer library",
                                 i);
        }
    }
    defaults_set(ret_options);
    memcpy(ret_options, options, tac_min_u64(size, sizeof *ret_options));
    return TACTUS_OK;
}

int tac_pool_fork_check(const struct tactus_pool *pool)
{
    if (pool->owner_pid != getpid()) {
        return tac_error_set(&tac_api_error, TACTUS_EFORKED,
                             "the pool was opened by the parent process, which goes on with it");
    }
    return TACTUS_OK;
}

/* Replaces `auto` and checks, as a store's open does. */
static int options_resolve(const struct tactus_pool_options *options,
                           struct tactus_options            *ret_resolved)
{
    tactus_options_init(ret_resolved);
    ret_resolved->memory_size = options->memory_size;
    ret_resolved->threads = options->threads;
    ret_resolved->threads_read = options->threads_read;
    ret_resolved->threads_merge = options->threads_merge;
    ret_resolved->threads_write = options->threads_write;
    ret_resolved->threads_priority = options->threads_priority;
    if (options->memory_shares < 1 || options->memory_shares > MEMORY_SHARES_MAX) {
        return tac_error_set(&tac_api_error, TACTUS_EOPTION,
                             "option memory_shares: %u is outside 1 to %u", options->memory_shares,
                             MEMORY_SHARES_MAX);
    }
    return tac_options_resolve(ret_resolved, &tac_api_error);
}

static struct tactus_pool *pool_new(const struct tactus_pool_options *options)
{
    struct tactus_pool *pool =
        aligned_alloc(TAC_CACHE_LINE_BYTES, tac_round_up(sizeof *pool, TAC_CACHE_LINE_BYTES));

    if (pool == NULL) {
        return NULL;
    }
    memset(pool, 0, sizeof *pool);
    pool->threads_priority = options->threads_priority;
    pool->memory_size = options->memory_size;
    pool->memory_shares = options->memory_shares;
    pool->owner_pid = getpid();
    pthread_mutex_init(&pool->lock, NULL);
    pthread_mutex_init(&pool->list_lock, NULL);
    pthread_cond_init(&pool->stepped, NULL);
    return pool;
}

static void pool_free(struct tactus_pool *pool)
{
    if (pool->has_threads || pool->is_simulated) {
        tac_thread_pool_stop(&pool->threads);
    }
    pthread_mutex_destroy(&pool->lock);
    pthread_cond_destroy(&pool->stepped);
    pthread_mutex_destroy(&pool->list_lock);
    free(pool);
}

static void thread_count(const struct tactus_options *options,
                         uint32_t                     count[TAC_STAGES_WITH_QUEUE])
{
    count[TAC_STAGE_READ] = options->threads_read;
    count[TAC_STAGE_MERGE] = options->threads_merge;
    count[TAC_STAGE_WRITE] = options->threads_write;
}

int tactus_pool_open(const struct tactus_pool_options *options, struct tactus_pool **ret_pool)
{
    struct tactus_pool_options own;
    struct tactus_options      resolved;
    struct tactus_pool        *pool;
    uint32_t                   count[TAC_STAGES_WITH_QUEUE];

    if (ret_pool == NULL) {
        return tac_error_set(&tac_api_error, TACTUS_EINVAL, "no place for the pool's handle");
    }
    defaults_set(&own);
    if ((options != NULL && options_import(options, &own) != TACTUS_OK) ||
        options_resolve(&own, &resolved) != TACTUS_OK) {
        return tac_api_error.code;
    }
    pool = pool_new(&own);
    if (pool == NULL) {
        return tac_error_set(&tac_api_error, TACTUS_ENOMEM, "out of memory for a pool");
    }
    thread_count(&resolved, count);
    if (resolved.threads_merge > 0) {
        bool is_idle = own.threads_priority == TACTUS_PRIORITY_IDLE;

        if (tac_thread_pool_start(&pool->threads, count, is_idle, &tac_api_error) != TACTUS_OK) {
            pool_free(pool);
            return tac_api_error.code;
        }
        pool->has_threads = true;
    }
    *ret_pool = pool;
    return TACTUS_OK;
}

int tac_pool_simulate(const uint32_t count[TAC_STAGES_WITH_QUEUE], struct tactus_pool **ret_pool,
                      struct tac_error *error)
{
    struct tactus_pool_options options;
    struct tactus_pool        *pool;

    tactus_pool_options_init(&options);
    pool = pool_new(&options);
    if (pool == NULL) {
        return tac_error_set(error, TACTUS_ENOMEM, "out of memory for a pool");
    }
    if (tac_thread_pool_start_stepped(&pool->threads, count, error) != TACTUS_OK) {
        pool_free(pool);
        return error->code;
    }
    pool->is_simulated = true;
    *ret_pool = pool;
    return TACTUS_OK;
}

int tactus_pool_close(struct tactus_pool *pool)
{
    uint32_t count;

    if (tac_pool_fork_check(pool) != TACTUS_OK) {
        return tac_api_error.code;
    }
    pthread_mutex_lock(&pool->lock);
    count = pool->store_count;
    pthread_mutex_unlock(&pool->lock);
    if (count > 0) {
        return tac_error_set(&tac_api_error, TACTUS_EINVAL,
                             "%u store%s of the pool %s still open: close what is open in it first",
                             count, count == 1 ? "" : "s", count == 1 ? "is" : "are");
    }
    pool_free(pool);
    return TACTUS_OK;
}

/* To the loggers of all stores. */
static void threads_say(struct tactus_pool *pool, const uint32_t count[TAC_STAGES_WITH_QUEUE])
{
    pthread_mutex_lock(&pool->list_lock);
    for (struct tactus *store = pool->stores; store != NULL; store = store->shared_next) {
        tac_logger_add(&store->logger, TACTUS_LOGGER_INFO,
                       "the pool's threads now: %u read, %u merge, %u write", count[TAC_STAGE_READ],
                       count[TAC_STAGE_MERGE], count[TAC_STAGE_WRITE]);
    }
    pthread_mutex_unlock(&pool->list_lock);
}

int tactus_pool_threads_change(struct tactus_pool *pool, uint32_t threads_read,
                               uint32_t threads_merge, uint32_t threads_write)
{
    const uint32_t asked[TAC_STAGES_WITH_QUEUE] = {threads_read, threads_merge, threads_write};
    struct tactus_options options;
    uint32_t              count[TAC_STAGES_WITH_QUEUE];

    if (tac_pool_fork_check(pool) != TACTUS_OK) {
        return tac_api_error.code;
    }
    tactus_options_init(&options);
    thread_options_set(&options, asked);
    if (tac_options_resolve(&options, &tac_api_error) != TACTUS_OK) {
        return tac_api_error.code;
    }
    if (options.threads_merge == 0 || !pool->has_threads) {
        return tac_error_set(&tac_api_error, TACTUS_EOPTION,
                             "a pool is opened without threads, or with some, and stays so: it has "
                             "been opened with%s",
                             pool->has_threads ? " some" : "out");
    }
    thread_count(&options, count);
    if (tac_thread_pool_change(&pool->threads, count, &tac_api_error) != TACTUS_OK) {
        return tac_api_error.code;
    }
    threads_say(pool, count);
    return TACTUS_OK;
}

/* With list_lock, which it gives away meanwhile. Returns whether the step did anything. */
static bool store_step(struct tactus_pool *pool, struct tactus *store)
{
    bool progressed;

    store->shared_steppers++;
    pthread_mutex_unlock(&pool->list_lock);
    progressed = tac_api_step(store, false);
    pthread_mutex_lock(&pool->list_lock);
    store->shared_steppers--;
    if (store->shared_steppers == 0) {
        pthread_cond_broadcast(&pool->stepped);
    }
    return progressed;
}

bool tactus_pool_step(struct tactus_pool *pool)
{
    bool progressed = false;

    if (tac_pool_fork_check(pool) != TACTUS_OK || pool->has_threads) {
        return false;
    }
    pthread_mutex_lock(&pool->list_lock);
    for (struct tactus *store = pool->stores; store != NULL; store = store->shared_next) {
        progressed |= !store->shared_leaves && store_step(pool, store);
    }
    pthread_mutex_unlock(&pool->list_lock);
    return progressed;
}

static void pool_stat(struct tactus_pool *pool, struct tactus_pool_stats *ret_stats)
{
    uint32_t count[TAC_STAGES_WITH_QUEUE] = {0};

    if (tac_pool_fork_check(pool) != TACTUS_OK) {
        return; /* Whoever held the locks may not be here. */
    }
    if (pool->has_threads) {
        tac_thread_pool_count(&pool->threads, count);
        tac_thread_pool_times(&pool->threads, &ret_stats->busy_ns, &ret_stats->idle_ns);
    }
    ret_stats->threads_read = count[TAC_STAGE_READ];
    ret_stats->threads_merge = count[TAC_STAGE_MERGE];
    ret_stats->threads_write = count[TAC_STAGE_WRITE];
    ret_stats->memory_size = pool->memory_size;
    pthread_mutex_lock(&pool->lock);
    ret_stats->memory_budget_bytes = pool->taken_bytes;
    ret_stats->stores = pool->store_count;
    pthread_mutex_unlock(&pool->lock);
}

void tactus_pool_stat_sized(struct tactus_pool *pool, struct tactus_pool_stats *ret_stats,
                            size_t struct_size)
{
    struct tactus_pool_stats stats = {0};
    size_t                   size = tac_min_u64(struct_size, sizeof stats);

    pool_stat(pool, &stats);
    stats.struct_size = size;
    memcpy(ret_stats, &stats, size);
    memset((uint8_t *)ret_stats + size, 0, struct_size - size);
}
