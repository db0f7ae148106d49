/* SPDX-License-Identifier: Apache-2.0 */
/* sim_pool -- see sim_pool.h. */
#include "tests/sim/sim_pool.h"

#include <string.h>

#include "base/units.h"
#include "tests/lib/small_options.h"

#define KEYS 3000
#define VALUE_BYTES_MAX 200
#define PUTS_MAX 12
#define REOPEN_ODDS 150

/* ---- the neighbour --------------------------------------------------------------------------- */

static void options_make(struct tactus_options *options)
{
    small_options(options);
    options->runs_per_level = 3;
    options->checkpoint_interval_bars = 2;
    options->table_size = 32 * TAC_KIB;
    options->file_size_max = 256 * TAC_MIB;
    options->page_cache_size = options->index_cache_size = TAC_MIB;
    options->tables_max = 2048;
    options->ring_size = 8;
    options->uuid[0] = 77;
}

static struct tac_storage *storage_open(struct sim_neighbour *neighbour)
{
    struct tac_storage *storage;
    struct tac_error    error;
    int                 code = tac_storage_open_memory(neighbour->disk, &storage, &error);

    tac_assert(code == TACTUS_OK);
    return storage;
}

static void neighbour_open(struct sim_neighbour *neighbour)
{
    struct tac_stepping   stepping = {.workers_read = 1,
                                      .workers_merge = 2,
                                      .workers_write = 1,
                                      .seed = tac_prng_next(&neighbour->free) | 1,
                                      .assist = tac_prng_below(&neighbour->free, 2) == 0};
    struct tactus_options options;
    struct tac_error      error;
    int                   code;

    options_make(&options);
    code = tac_store_open_in(neighbour->pool, storage_open(neighbour), &options, &stepping, NULL,
                             &neighbour->store, &error);
    tac_assert(code == TACTUS_OK);
}

static void neighbour_begin(struct sim_neighbour *neighbour, struct tactus_pool *pool,
                            uint64_t seed, uint64_t free_seed)
{
    const struct tactus_layout layout = {TACTUS_LAYOUT_VARIABLE, 8, VALUE_BYTES_MAX};
    struct tactus_options      options;
    struct tac_storage        *storage;
    struct tac_error           error;
    int                        code;

    memset(neighbour, 0, sizeof *neighbour);
    neighbour->pool = pool;
    neighbour->ops.state = tac_mix_u64(seed);
    neighbour->free.state = tac_mix_u64(free_seed);
    neighbour->disk = tac_memory_disk_new(tac_prng_next(&neighbour->free) | 1);
    tac_assert(neighbour->disk != NULL);
    options_make(&options);
    storage = storage_open(neighbour);
    code = tac_store_create(storage, &options, &error);
    tac_assert(code == TACTUS_OK);
    storage->ops->close(storage);
    neighbour_open(neighbour);
    code = tactus_tree_create(neighbour->store, "tree", &layout, &neighbour->tree);
    tac_assert(code == TACTUS_OK);
}

static void neighbour_op(struct sim_neighbour *neighbour)
{
    uint64_t puts = tac_prng_below(&neighbour->ops, PUTS_MAX);
    int      code = TACTUS_OK;

    for (uint64_t i = 0; i < puts && code == TACTUS_OK; i++) {
        uint64_t key = tac_prng_below(&neighbour->ops, KEYS);
        uint64_t size = tac_prng_below(&neighbour->ops, VALUE_BYTES_MAX + 1);
        uint8_t  value[VALUE_BYTES_MAX];

        memset(value, (int)(neighbour->records++ % 251), sizeof value);
        code = size == 0
                   ? tactus_delete(neighbour->store, neighbour->tree, &key, sizeof key)
                   : tactus_put(neighbour->store, neighbour->tree, &key, sizeof key, value, size);
    }
    tac_assert(code == TACTUS_OK);
    if (tac_prng_below(&neighbour->ops, REOPEN_ODDS) == 0) {
        code = tactus_close(neighbour->store);
        tac_assert(code == TACTUS_OK);
        neighbour_open(neighbour);
    }
}

static void neighbour_digest(struct sim_neighbour *neighbour, uint8_t digest[16])
{
    int code = tactus_drain(neighbour->store);

    tac_assert(code == TACTUS_OK);
    code = tactus_digest(neighbour->store, digest);
    tac_assert(code == TACTUS_OK);
}

static void neighbour_end(struct sim_neighbour *neighbour)
{
    tactus_abandon(neighbour->store);
    tac_memory_disk_free(neighbour->disk);
}

/* ---- the pool -------------------------------------------------------------------------------- */

static void count_make(const struct tac_stepping *stepping, uint32_t count[TAC_STAGES_WITH_QUEUE])
{
    count[TAC_STAGE_READ] = stepping->workers_read;
    count[TAC_STAGE_MERGE] = stepping->workers_merge;
    count[TAC_STAGE_WRITE] = stepping->workers_write;
}

void sim_pool_begin(struct sim_pool *pool, uint64_t seed, const struct tac_stepping *stepping)
{
    uint32_t         count[TAC_STAGES_WITH_QUEUE];
    struct tac_error error;
    int              code;

    memset(pool, 0, sizeof *pool);
    pool->seed = seed;
    count_make(stepping, count);
    code = tac_pool_simulate(count, &pool->pool, &error);
    tac_assert(code == TACTUS_OK);
    neighbour_begin(&pool->neighbour, pool->pool, seed, stepping->seed);
}

void sim_pool_op(struct sim_pool *pool)
{
    neighbour_op(&pool->neighbour);
    pool->op_count++;
}

void sim_pool_change(struct sim_pool *pool, const struct tac_stepping *stepping)
{
    uint32_t         count[TAC_STAGES_WITH_QUEUE];
    struct tac_error error;
    int              code;

    count_make(stepping, count);
    code = tac_thread_pool_change(&pool->pool->threads, count, &error);
    tac_assert(code == TACTUS_OK);
}

uint32_t sim_pool_workers(const struct sim_pool *pool)
{
    uint32_t count[TAC_STAGES_WITH_QUEUE], workers = 1;

    tac_thread_pool_count(&pool->pool->threads, count);
    for (uint32_t i = 0; i < TAC_STAGES_WITH_QUEUE; i++) {
        workers += count[i];
    }
    return workers;
}

bool sim_pool_is_busy(const struct sim_pool *pool, const struct tactus *store)
{
    return store->seats_busy > 0 && pool->neighbour.store->seats_busy > 0;
}

bool sim_pool_is_right(struct sim_pool *pool)
{
    struct sim_neighbour alone;
    uint8_t              digest[16], expected[16];

    neighbour_begin(&alone, NULL, pool->seed, ~pool->seed);
    for (uint64_t i = 0; i < pool->op_count; i++) {
        neighbour_op(&alone);
    }
    neighbour_digest(&alone, expected);
    neighbour_end(&alone);
    neighbour_digest(&pool->neighbour, digest);
    return memcmp(digest, expected, sizeof digest) == 0;
}

void sim_pool_end(struct sim_pool *pool)
{
    int code;

    neighbour_end(&pool->neighbour);
    code = tactus_pool_close(pool->pool);
    tac_assert(code == TACTUS_OK);
}
