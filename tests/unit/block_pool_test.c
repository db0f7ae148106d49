/* SPDX-License-Identifier: Apache-2.0 */
/* The block pool: all or nothing, conservation, the states of a block, and that misuse ends the
 * process instead of going unseen. */
#include "queues/block_pool.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/prng.h"
#include "tests/lib/tap.h"

#define BLOCK_BYTES 8192
#define COUNT 37

static struct tac_block_pool pool_create(uint32_t count, uint32_t block_size_bytes)
{
    struct tac_block_pool pool;
    struct tac_error      error = {0};

    if (tac_block_pool_create(&pool, count, 0, block_size_bytes, &error) != TACTUS_OK) {
        tap_bail("%s", error.message);
    }
    return pool;
}

static struct tac_block *pool_take(struct tac_block_pool *pool, uint32_t count)
{
    struct tac_block *list = NULL;

    if (!tac_block_pool_try_take(pool, count, &list)) {
        tap_bail("no %u blocks", count);
    }
    return list;
}

static void test_take_and_give_back(void)
{
    struct tac_block_pool pool = pool_create(COUNT, BLOCK_BYTES);
    struct tac_block     *list = pool_take(&pool, COUNT - 1);
    struct tac_block     *other = list;
    uint32_t              length = 0;
    bool                  right = true;

    for (struct tac_block *block = list; block != NULL; block = block->next) {
        right = right && block->state == TAC_BLOCK_RESERVED && block->address == 0 &&
                block->owner == NULL && (uintptr_t)block->data % 4096 == 0;
        memset(block->data, (int)block->index, BLOCK_BYTES);
        length++;
    }
    for (struct tac_block *block = list; block != NULL; block = block->next) {
        right =
            right && block->data[0] == block->index && block->data[BLOCK_BYTES - 1] == block->index;
    }
    tap_ok(right && length == COUNT - 1,
           "as many blocks as asked for: reserved, page-aligned, each with a buffer of its own");
    tap_ok(!tac_block_pool_try_take(&pool, 2, &other) && other == list && pool.free_count == 1,
           "more blocks than are free: none is taken");
    tac_block_pool_check(&pool, 1);
    tap_ok(tac_block_pool_give_back(&pool, list) == COUNT - 1 && pool.free_count == COUNT,
           "all blocks come back");
    tap_ok(tac_block_pool_give_back(&pool, NULL) == 0, "an empty list may be given back");
    tac_block_pool_check(&pool, COUNT);
    tac_block_pool_destroy(&pool);
}

/* Jobs of random sizes come and go; the pool is checked at every step. */
static void test_conservation(uint64_t seed)
{
    struct tac_block_pool pool = pool_create(COUNT, 4096);
    struct tac_prng       prng = {seed};
    struct tac_block     *jobs[8] = {NULL};
    uint32_t              sizes[8] = {0};
    uint32_t              free_count = COUNT;
    uint32_t              refused = 0;
    bool                  right = true;

    for (uint32_t step = 0; step < 4000; step++) {
        uint64_t i = tac_prng_below(&prng, 8);
        uint32_t size = 1 + (uint32_t)tac_prng_below(&prng, 12);

        if (sizes[i] > 0) {
            right = right && tac_block_pool_give_back(&pool, jobs[i]) == sizes[i];
            free_count += sizes[i];
            sizes[i] = 0;
        } else if (tac_block_pool_try_take(&pool, size, &jobs[i])) {
            sizes[i] = size;
            free_count -= size;
            jobs[i]->data[size] = (uint8_t)step;
        } else {
            right = right && size > free_count;
            refused++;
        }
        tac_block_pool_check(&pool, free_count);
    }
    for (uint32_t i = 0; i < 8; i++) {
        right = right && (sizes[i] == 0 || tac_block_pool_give_back(&pool, jobs[i]) == sizes[i]);
    }
    tap_ok(right, "4000 steps of jobs that come and go: free and taken blocks always add up");
    tap_ok(refused > 0, "some jobs were too large for what was free");
    tac_block_pool_destroy(&pool);
}

static void test_memory(void)
{
    struct tac_block_pool pool = pool_create(48, 128 * 1024); /* 6 MiB: whole huge pages */
    struct tac_error      error = {0};

    tap_ok((uintptr_t)pool.blocks[0].data % (2 * TAC_MIB) == 0,
           "the buffers begin where a huge page may begin");
    tap_ok(tac_block_pool_memory_bytes(48, 128 * 1024) == 48 * (128 * 1024 + 128),
           "the memory of a pool is its buffers and 128 bytes a block");
    tac_block_pool_destroy(&pool);

    /* 2^51 bytes are beyond the address space of a process. */
    tap_ok(tac_block_pool_create(&pool, 1u << 20, 0, 1u << 31, &error) == TACTUS_ENOMEM &&
               strstr(error.message, "pool_size") != NULL,
           "a pool that cannot be had is an error that names the option");
}

/* ---- states --------------------------------------------------------------------------------- */

static void test_states(void)
{
    static const enum tac_block_state rounds[][5] = {
        {TAC_BLOCK_READING, TAC_BLOCK_READ, TAC_BLOCK_MERGING, TAC_BLOCK_RESERVED},
        {TAC_BLOCK_MERGING, TAC_BLOCK_SEALED, TAC_BLOCK_WRITING, TAC_BLOCK_RESERVED},
        {TAC_BLOCK_READING, TAC_BLOCK_RESERVED},
        {TAC_BLOCK_READING, TAC_BLOCK_READ, TAC_BLOCK_RESERVED},
        {TAC_BLOCK_MERGING, TAC_BLOCK_SEALED, TAC_BLOCK_RESERVED},
    };
    struct tac_block_pool pool = pool_create(2, 4096);
    struct tac_block     *block = pool_take(&pool, 1);

    for (uint32_t i = 0; i < TAC_ARRAY_COUNT(rounds); i++) {
        for (uint32_t j = 0; j == 0 || rounds[i][j - 1] != TAC_BLOCK_RESERVED; j++) {
            tac_block_state_change(block, block->state, rounds[i][j]);
        }
    }
    tap_ok(block->state == TAC_BLOCK_RESERVED, "an input's round, an output's, and giving up");
    tap_ok(strcmp(tac_block_state_name(TAC_BLOCK_FREE), "free") == 0 &&
               strcmp(tac_block_state_name(TAC_BLOCK_WRITING), "writing") == 0,
           "states have names");
    tac_block_pool_give_back(&pool, block);
    tac_block_pool_destroy(&pool);
}

/* True if the misuse ends the process that commits it. */
static bool is_fatal(void (*misuse)(struct tac_block_pool *pool))
{
    pid_t child = fork();
    int   status = 0;

    if (child < 0) {
        tap_bail("cannot fork");
    }
    if (child == 0) {
        struct tac_block_pool pool;
        int                   null = open("/dev/null", O_WRONLY);

        dup2(null, STDERR_FILENO);
        if (tac_block_pool_create(&pool, 4, 0, 4096, NULL) == TACTUS_OK) {
            misuse(&pool);
        }
        _exit(0);
    }
    waitpid(child, &status, 0);
    return !(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void misuse_nothing(struct tac_block_pool *pool)
{
    tac_block_pool_give_back(pool, pool_take(pool, 4));
    tac_block_pool_destroy(pool);
}
static void misuse_state_skipped(struct tac_block_pool *pool)
{
    tac_block_state_change(pool_take(pool, 1), TAC_BLOCK_RESERVED, TAC_BLOCK_SEALED);
}
static void misuse_state_mistaken(struct tac_block_pool *pool)
{
    tac_block_state_change(pool_take(pool, 1), TAC_BLOCK_READING, TAC_BLOCK_READ);
}
static void misuse_given_back_twice(struct tac_block_pool *pool)
{
    struct tac_block *block = pool_take(pool, 1);

    tac_block_pool_give_back(pool, block);
    tac_block_pool_give_back(pool, block);
}
static void misuse_given_back_busy(struct tac_block_pool *pool)
{
    struct tac_block *block = pool_take(pool, 1);

    tac_block_state_change(block, TAC_BLOCK_RESERVED, TAC_BLOCK_READING);
    tac_block_pool_give_back(pool, block);
}
static void misuse_given_to_another(struct tac_block_pool *pool)
{
    struct tac_block stranger = *pool_take(pool, 1);

    stranger.next = NULL;
    tac_block_pool_give_back(pool, &stranger);
}
static void misuse_lost(struct tac_block_pool *pool)
{
    pool_take(pool, 1);
    tac_block_pool_destroy(pool);
}
static void misuse_written_while_free(struct tac_block_pool *pool)
{
    struct tac_block *block = pool_take(pool, 1);
    volatile uint8_t *data = block->data;

    tac_block_pool_give_back(pool, block);
    data[100] = 1;
    tac_block_pool_check(pool, 4);
}

static void test_misuse(void)
{
    tap_ok(!is_fatal(misuse_nothing), "proper use is not fatal");
    tap_ok(is_fatal(misuse_state_skipped), "to skip a state is fatal");
    tap_ok(is_fatal(misuse_state_mistaken), "to be mistaken about the state is fatal");
    tap_ok(is_fatal(misuse_given_back_twice), "to give a block back twice is fatal");
    tap_ok(is_fatal(misuse_given_back_busy), "to give back a block in use is fatal");
    tap_ok(is_fatal(misuse_given_to_another), "to give back another pool's block is fatal");
    tap_ok(is_fatal(misuse_lost), "to destroy the pool before all blocks are back is fatal");
#if defined(TACTUS_VERIFY) || defined(__SANITIZE_ADDRESS__)
    tap_ok(is_fatal(misuse_written_while_free), "to write to a free block is fatal");
#else
    (void)misuse_written_while_free;
    tap_skip("only a build with --enable-verify sees a write to a free block");
#endif
}

int main(void)
{
    tap_plan(0);
    test_take_and_give_back();
    test_conservation(tap_seed());
    test_memory();
    test_states();
    test_misuse();
    return tap_done();
}
