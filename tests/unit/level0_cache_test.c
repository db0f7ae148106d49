/* SPDX-License-Identifier: Apache-2.0 */
/* The blocks of level 0 that are kept in memory: what is put is found once; room comes of taking and
 * of time; threads never share a buffer; and a read believes only what its reference says. */
#include <pthread.h>
#include <string.h>

#include "base/prng.h"
#include "base/units.h"
#include "lsm/block.h"
#include "stages/stage.h"
#include "tests/lib/tap.h"

#define BLOCK_BYTES 4096
#define BLOCKS 8
#define LIFETIME_BARS 3

struct fixture {
    struct tac_block_pool   pool;
    struct tac_level0_cache cache;
    struct tac_block       *blocks[BLOCKS];
};

static void fixture_open(struct fixture *fixture, uint32_t spare_count)
{
    struct tac_error  error;
    struct tac_block *list = NULL;

    if (tac_block_pool_create(&fixture->pool, BLOCKS, spare_count, BLOCK_BYTES, &error) !=
            TACTUS_OK ||
        tac_level0_cache_create(&fixture->cache, &fixture->pool, LIFETIME_BARS, &error) !=
            TACTUS_OK ||
        !tac_block_pool_try_take(&fixture->pool, BLOCKS, &list)) {
        tap_bail("out of memory");
    }
    for (uint32_t i = 0; i < BLOCKS; i++) {
        fixture->blocks[i] = list;
        list = list->next;
    }
}

static void fixture_close(struct fixture *fixture)
{
    for (uint32_t i = 0; i < BLOCKS; i++) {
        fixture->blocks[i]->next = NULL;
        tac_block_pool_give_back(&fixture->pool, fixture->blocks[i]);
    }
    tac_level0_cache_destroy(&fixture->cache);
    tac_block_pool_destroy(&fixture->pool);
}

static void put(struct fixture *fixture, uint64_t address, uint8_t content)
{
    memset(fixture->blocks[0]->data, content, BLOCK_BYTES);
    tac_level0_cache_put(&fixture->cache, address, fixture->blocks[0]);
}

/* What was put for the address, -1: nothing. */
static int taken(struct fixture *fixture, uint64_t address)
{
    const uint8_t *data;

    memset(fixture->blocks[1]->data, 0, BLOCK_BYTES);
    if (!tac_level0_cache_take(&fixture->cache, address, fixture->blocks[1])) {
        return -1;
    }
    data = fixture->blocks[1]->data;
    return memcmp(data, data + 1, BLOCK_BYTES - 1) == 0 ? data[0] : -2;
}

static void test_one(void)
{
    struct fixture fixture;

    fixture_open(&fixture, TAC_LEVEL0_PROBES);
    tap_ok(taken(&fixture, 7) == -1 && !tac_level0_cache_has(&fixture.cache, 7),
           "nothing is found before it is put");
    put(&fixture, 7, 70);
    put(&fixture, 8, 80);
    tap_ok(tac_level0_cache_has(&fixture.cache, 7) && taken(&fixture, 7) == 70,
           "a block is found as it was put");
    tap_ok(taken(&fixture, 7) == -1 && taken(&fixture, 8) == 80, "once, and no other one");
    put(&fixture, 9, 90);
    put(&fixture, 9, 91);
    tap_ok(taken(&fixture, 9) == 91 && taken(&fixture, 9) == -1,
           "an address that is used again has its newest block");
    fixture_close(&fixture);
}

static void test_room(void)
{
    struct fixture fixture;
    bool           is_kept = true;

    fixture_open(&fixture, TAC_LEVEL0_PROBES);
    for (uint32_t i = 1; i <= TAC_LEVEL0_PROBES; i++) {
        put(&fixture, i, (uint8_t)i);
    }
    put(&fixture, 100, 100);
    tap_ok(taken(&fixture, 100) == -1, "a full cache takes nothing in");
    tap_ok(taken(&fixture, 5) == 5, "and keeps what it has");
    put(&fixture, 101, 101);
    tap_ok(taken(&fixture, 101) == 101, "a block that is taken makes room");
    put(&fixture, 5, 5);
    tac_level0_cache_turn(&fixture.cache, LIFETIME_BARS);
    put(&fixture, 102, 102);
    tap_ok(taken(&fixture, 102) == -1, "none leaves before its time");
    tac_level0_cache_turn(&fixture.cache, LIFETIME_BARS + 1);
    put(&fixture, 103, 103);
    tap_ok(taken(&fixture, 103) == 103, "one that nobody took in time does");
    fixture_close(&fixture);

    fixture_open(&fixture, 0);
    put(&fixture, 1, 1);
    is_kept = taken(&fixture, 1) != -1 || tac_level0_cache_has(&fixture.cache, 1);
    fixture_close(&fixture);
    fixture_open(&fixture, TAC_LEVEL0_PROBES - 1);
    put(&fixture, 1, 1);
    tap_ok(!is_kept && taken(&fixture, 1) == -1, "without room for a search's slots there is none");
    fixture_close(&fixture);
}

/* ---- threads -------------------------------------------------------------------------------- */

#define THREADS 4
#define ROUNDS 20000
#define ADDRESSES 64 /* Of each thread; more than there is room for */

struct thread_run {
    struct fixture *fixture;
    uint32_t        index;
    uint64_t        found_count;
    bool            is_right;
};

/* Puts addresses of its own and looks for anybody's. */
static void *thread_main(void *argument)
{
    struct thread_run       *run = argument;
    struct tac_level0_cache *cache = &run->fixture->cache;
    struct tac_block        *block = run->fixture->blocks[run->index];
    struct tac_prng          prng = {run->index + 1};

    run->is_right = true;
    for (uint32_t i = 0; i < ROUNDS; i++) {
        uint64_t own = 1 + run->index + THREADS * tac_prng_below(&prng, ADDRESSES);
        uint64_t any = 1 + tac_prng_below(&prng, THREADS * ADDRESSES);

        for (uint32_t j = 0; j < BLOCK_BYTES / sizeof own; j++) {
            memcpy(block->data + j * sizeof own, &own, sizeof own);
        }
        tac_level0_cache_put(cache, own, block);
        if (tac_level0_cache_take(cache, any, block)) {
            run->found_count++;
            for (uint32_t j = 0; j < BLOCK_BYTES / sizeof own; j++) {
                run->is_right =
                    run->is_right && memcmp(block->data + j * sizeof any, &any, sizeof any) == 0;
            }
        }
    }
    return NULL;
}

static void test_threads(void)
{
    struct fixture    fixture;
    struct thread_run runs[THREADS];
    pthread_t         threads[THREADS];
    uint64_t          found_count = 0;
    bool              is_right = true;

    fixture_open(&fixture, 3 * TAC_LEVEL0_PROBES);
    for (uint32_t i = 0; i < THREADS; i++) {
        runs[i] = (struct thread_run){.fixture = &fixture, .index = i};
        if (pthread_create(&threads[i], NULL, thread_main, &runs[i]) != 0) {
            tap_bail("no thread");
        }
    }
    for (uint32_t i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        found_count += runs[i].found_count;
        is_right = is_right && runs[i].is_right;
    }
    tap_ok(is_right && found_count > ROUNDS / 100, "of %d threads each finds what was put whole",
           THREADS);
    fixture_close(&fixture);
}

/* ---- reads ---------------------------------------------------------------------------------- */

static struct tac_block_reference block_make(uint8_t *data, const struct tac_geometry *geometry,
                                             uint64_t address, uint8_t content)
{
    struct tac_block_header header = {
        .kind = TAC_BLOCK_INDEX, .address = address, .used_bytes = BLOCK_BYTES};

    memset(data, content, BLOCK_BYTES);
    memset(data, 0, TAC_BLOCK_HEADER_BYTES);
    tac_block_header_encode(data, &header);
    return (struct tac_block_reference){address, tac_block_checksum(data, geometry)};
}

/* One read of two blocks by a worker; returns the bytes that came from the device. */
static uint64_t read_two(struct tac_stages *stages, struct tac_worker *worker,
                         struct tac_block *blocks[2], struct tac_block_reference references[2])
{
    struct tac_actor            owner = {.is_coordinator = true};
    struct tac_storage_counters before, after;
    struct tac_request          request = {
                 .kind = TAC_REQUEST_READ,
                 .owner = &owner,
                 .transfer_bytes = BLOCK_BYTES,
                 .block_count = 2,
                 .blocks = {blocks[0], blocks[1]},
                 .block_kinds = {TAC_BLOCK_INDEX, TAC_BLOCK_INDEX},
                 .references = {references[0], references[1]},
    };

    tac_storage_counters(stages->storage, &before);
    tac_stage_push(stages, TAC_STAGE_READ, &request.link);
    while (owner.mailbox.top == NULL) {
        (void)tac_read_step(worker);
        (void)tac_reap_step(worker);
    }
    tac_storage_counters(stages->storage, &after);
    return request.result == TACTUS_OK ? after.read_bytes - before.read_bytes : UINT64_MAX;
}

static void test_read(void)
{
    struct tac_memory_disk    *disk = tac_memory_disk_new(0);
    struct tac_geometry        geometry = {BLOCK_BYTES, 512, 5};
    struct tac_block_reference references[2], stale;
    struct tac_event_count     events[TAC_STAGE_COUNT];
    struct tac_stages          stages = {.geometry = geometry};
    struct tac_worker          worker = {.stages = &stages, .unsent = TAC_STAGE_COUNT};
    struct fixture             fixture;
    struct tac_block         **blocks = fixture.blocks;
    uint64_t                   from_device;

    fixture_open(&fixture, TAC_LEVEL0_PROBES);
    if (disk == NULL || tac_storage_open_memory(disk, &stages.storage, NULL) != TACTUS_OK ||
        tac_stages_create(&stages, 4, NULL) != TACTUS_OK ||
        stages.storage->ops->resize(stages.storage, 64 * BLOCK_BYTES, NULL) != TACTUS_OK ||
        stages.storage->ops->queue_new(stages.storage, 4, -1, &worker.io, NULL) != TACTUS_OK) {
        tap_bail("out of memory");
    }
    stages.level0_cache = fixture.cache;
    tac_profile_begin(&worker.profile);
    for (uint32_t i = 0; i < TAC_STAGE_COUNT; i++) {
        tac_event_count_create(&events[i], NULL, 0);
        stages.events[i] = &events[i];
    }
    for (uint32_t i = 0; i < 2; i++) {
        references[i] = block_make(blocks[i]->data, &geometry, 10 + i, (uint8_t)(1 + i));
        if (stages.storage->ops->write(stages.storage, blocks[i]->data, BLOCK_BYTES,
                                       (10 + i) * BLOCK_BYTES, NULL) != TACTUS_OK) {
            tap_bail("no write");
        }
        tac_level0_cache_put(&stages.level0_cache, 10 + i, blocks[i]);
    }
    from_device = read_two(&stages, &worker, blocks, references);
    tap_ok(from_device == 0 && blocks[0]->data[BLOCK_BYTES - 1] == 1 &&
               blocks[1]->data[BLOCK_BYTES - 1] == 2,
           "blocks that are kept are read without the device");
    tac_level0_cache_put(&stages.level0_cache, 10, blocks[0]);
    from_device = read_two(&stages, &worker, blocks, references);
    tap_ok(from_device == 2 * BLOCK_BYTES && blocks[0]->data[BLOCK_BYTES - 1] == 1 &&
               blocks[1]->data[BLOCK_BYTES - 1] == 2,
           "if one is not, all of the request come from the device");
    stale = block_make(blocks[2]->data, &geometry, 10, 9);
    tac_level0_cache_put(&stages.level0_cache, stale.address, blocks[2]);
    tac_level0_cache_put(&stages.level0_cache, 11, blocks[1]);
    from_device = read_two(&stages, &worker, blocks, references);
    tap_ok(from_device == 2 * BLOCK_BYTES && blocks[0]->data[BLOCK_BYTES - 1] == 1,
           "so do they if one is not what the reference says");
    tap_ok(stages.level0_cache.hit_count == 2, "what is found and right is counted");
    stages.storage->ops->queue_free(worker.io);
    stages.storage->ops->close(stages.storage);
    tac_stages_destroy(&stages);
    tac_memory_disk_free(disk);
    fixture.cache = stages.level0_cache;
    fixture_close(&fixture);
}

int main(void)
{
    tap_plan(0);
    test_one();
    test_room();
    test_threads();
    test_read();
    return tap_done();
}
