/* SPDX-License-Identifier: Apache-2.0 */
/* block_pool -- see block_pool.h. */
#include "queues/block_pool.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__)
#define POOL_WITH_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POOL_WITH_ASAN 1
#endif
#endif

#ifdef POOL_WITH_ASAN
#include <sanitizer/asan_interface.h>
#define POISON(data, size) ASAN_POISON_MEMORY_REGION(data, size)
#define UNPOISON(data, size) ASAN_UNPOISON_MEMORY_REGION(data, size)
#else
#define POISON(data, size) ((void)(data), (void)(size))
#define UNPOISON(data, size) ((void)(data), (void)(size))
#endif

#define PAGE_BYTES (4 * TAC_KIB)
#define HUGE_PAGE_BYTES (2 * TAC_MIB)

tac_static_assert(sizeof(struct tac_block) == 128, "two cache lines, none shared by two blocks");

static const char *const state_names[] = {
    [TAC_BLOCK_FREE] = "free",       [TAC_BLOCK_RESERVED] = "reserved",
    [TAC_BLOCK_READING] = "reading", [TAC_BLOCK_READ] = "read",
    [TAC_BLOCK_MERGING] = "merging", [TAC_BLOCK_SEALED] = "sealed",
    [TAC_BLOCK_WRITING] = "writing",
};
tac_static_assert(TAC_ARRAY_COUNT(state_names) == TAC_BLOCK_STATE_COUNT, "a name for each state");

const char *tac_block_state_name(enum tac_block_state state)
{
    tac_assert(state < TAC_BLOCK_STATE_COUNT);
    return state_names[state];
}

static bool state_may_follow(enum tac_block_state from, enum tac_block_state to)
{
    switch (to) {
    case TAC_BLOCK_FREE:
    case TAC_BLOCK_READING:
        return from == TAC_BLOCK_RESERVED;
    case TAC_BLOCK_RESERVED:
        return from != TAC_BLOCK_RESERVED;
    case TAC_BLOCK_READ:
        return from == TAC_BLOCK_READING;
    case TAC_BLOCK_MERGING:
        return from == TAC_BLOCK_RESERVED || from == TAC_BLOCK_READ;
    case TAC_BLOCK_SEALED:
        return from == TAC_BLOCK_MERGING;
    case TAC_BLOCK_WRITING:
        return from == TAC_BLOCK_SEALED;
    case TAC_BLOCK_STATE_COUNT:
        break;
    }
    return false;
}

void tac_block_state_change(struct tac_block *block, enum tac_block_state from,
                            enum tac_block_state to)
{
    tac_assert(block->state == from);
    tac_assert(state_may_follow(from, to));
    block->state = to;
}

void tac_block_exchange(struct tac_block *block, uint8_t **buffer)
{
    uint8_t *data = block->data;

    tac_assert(block->state != TAC_BLOCK_FREE);
    block->data = *buffer;
    *buffer = data;
}

/* ---- memory --------------------------------------------------------------------------------- */

uint64_t tac_block_pool_memory_bytes(uint32_t count, uint32_t block_size_bytes)
{
    return (uint64_t)count * (block_size_bytes + sizeof(struct tac_block));
}

/* A free block's bytes are nobody's until it is taken. */
static void data_retire(const struct tac_block_pool *pool, struct tac_block *block)
{
#ifdef TACTUS_VERIFY
    memset(block->data, TAC_BLOCK_FREE_BYTE, pool->block_size_bytes);
#endif
    POISON(block->data, pool->block_size_bytes);
}

/* False if somebody wrote to the free block; only TACTUS_VERIFY can tell. */
static bool data_is_untouched(const struct tac_block_pool *pool, const struct tac_block *block)
{
    bool untouched = true;

#ifdef TACTUS_VERIFY
    UNPOISON(block->data, pool->block_size_bytes);
    /* Equal to itself one byte further on, and right at the start: all bytes are right. */
    untouched = block->data[0] == TAC_BLOCK_FREE_BYTE &&
                memcmp(block->data, block->data + 1, pool->block_size_bytes - 1) == 0;
    POISON(block->data, pool->block_size_bytes);
#else
    (void)pool;
    (void)block;
#endif
    return untouched;
}

/* Maps size bytes on a huge-page boundary and makes the first so many of them resident. */
static uint8_t *buffers_map(struct tac_block_pool *pool, uint64_t size, uint64_t resident_size)
{
    uint64_t map_size = size + HUGE_PAGE_BYTES;
    uint64_t huge_size = resident_size / HUGE_PAGE_BYTES * HUGE_PAGE_BYTES;
    uint8_t *data;
    void    *map = mmap(NULL, map_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (map == MAP_FAILED) {
        return NULL;
    }
    pool->map = map;
    pool->map_size_bytes = map_size;
    data = (uint8_t *)tac_round_up((uintptr_t)map, HUGE_PAGE_BYTES);
    /* Advice comes before the first touch, which is why the map is not populated by mmap. Only
     * whole huge pages get it, so no more becomes resident than was asked for; and no spare ones,
     * for to clear 2 MiB in the middle of a job makes puts wait for tens of milliseconds. */
    pool->has_huge_pages = huge_size > 0 && madvise(data, huge_size, MADV_HUGEPAGE) == 0;
    if (size > resident_size) { /* A hint: who is refused it has larger pages, no more */
        (void)madvise(data + huge_size, size - huge_size, MADV_NOHUGEPAGE);
    }
    for (uint64_t offset = 0; offset < resident_size; offset += PAGE_BYTES) {
        data[offset] = 0;
    }
    return data;
}

int tac_block_pool_create(struct tac_block_pool *pool, uint32_t count, uint32_t spare_count,
                          uint32_t block_size_bytes, struct tac_error *error)
{
    uint64_t resident_size = (uint64_t)count * block_size_bytes;
    uint64_t size = resident_size + (uint64_t)spare_count * block_size_bytes;
    uint8_t *data;

    tac_assert(count > 0);
    tac_assert(block_size_bytes > 0 && block_size_bytes % PAGE_BYTES == 0);

    memset(pool, 0, sizeof *pool);
    pool->count = count;
    pool->block_size_bytes = block_size_bytes;
    pool->blocks = aligned_alloc(TAC_CACHE_LINE_BYTES, count * sizeof(struct tac_block));
    data = pool->blocks == NULL ? NULL : buffers_map(pool, size, resident_size);
    if (data == NULL) {
        free(pool->blocks);
        pool->blocks = NULL;
        return tac_error_set(error, TACTUS_ENOMEM,
                             "out of memory for a pool of %" PRIu32 " blocks of %" PRIu32
                             " bytes, and %" PRIu32
                             " spare ones; make pool_size or level0_cache_size smaller",
                             count, block_size_bytes, spare_count);
    }
    for (uint32_t i = count; i > 0; i--) { /* Backwards, so that the list begins with block 0. */
        struct tac_block *block = &pool->blocks[i - 1];

        memset(block, 0, sizeof *block);
        block->data = data + (uint64_t)(i - 1) * block_size_bytes;
        block->index = i - 1;
        block->state = TAC_BLOCK_FREE;
        block->next = pool->free_list;
        pool->free_list = block;
        data_retire(pool, block);
    }
    pool->free_count = count;
    pool->spare_count = spare_count;
    pool->spares = data + resident_size;
    return TACTUS_OK;
}

uint8_t *tac_block_pool_spare(const struct tac_block_pool *pool, uint32_t index)
{
    tac_assert(index < pool->spare_count);
    return pool->spares + (uint64_t)index * pool->block_size_bytes;
}

void tac_block_pool_destroy(struct tac_block_pool *pool)
{
    tac_block_pool_check(pool, pool->count);
    UNPOISON(pool->map, pool->map_size_bytes);
    tac_assert(munmap(pool->map, pool->map_size_bytes) == 0);
    free(pool->blocks);
    pool->blocks = NULL;
    pool->map = NULL;
}

/* ---- taking and giving back ----------------------------------------------------------------- */

bool tac_block_pool_try_take(struct tac_block_pool *pool, uint32_t count,
                             struct tac_block **ret_list)
{
    struct tac_block *last = NULL;
    struct tac_block *block = pool->free_list;

    tac_assert(count > 0);
    if (count > pool->free_count) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        tac_assert(data_is_untouched(pool, block));
        UNPOISON(block->data, pool->block_size_bytes);
        tac_block_state_change(block, TAC_BLOCK_FREE, TAC_BLOCK_RESERVED);
        block->address = 0;
        block->owner = NULL;
        last = block;
        block = block->next;
    }
    *ret_list = pool->free_list;
    pool->free_list = block;
    pool->free_count -= count;
    last->next = NULL;
    tac_assert((pool->free_list == NULL) == (pool->free_count == 0));
    return true;
}

uint32_t tac_block_pool_give_back(struct tac_block_pool *pool, struct tac_block *list)
{
    uint32_t given = 0;

    while (list != NULL) {
        struct tac_block *next = list->next;

        tac_assert(list->index < pool->count && list == &pool->blocks[list->index]);
        tac_block_state_change(list, TAC_BLOCK_RESERVED, TAC_BLOCK_FREE);
        data_retire(pool, list);
        list->next = pool->free_list;
        pool->free_list = list;
        pool->free_count++;
        given++;
        tac_assert(pool->free_count <= pool->count);
        list = next;
    }
    return given;
}

void tac_block_pool_check(const struct tac_block_pool *pool, uint32_t expected_free_count)
{
    const struct tac_block *block = pool->free_list;
    uint32_t                free_states = 0;

    tac_assert(pool->free_count == expected_free_count);
    for (uint32_t i = 0; i < expected_free_count; i++) {
        tac_assert(block != NULL); /* Else the list is shorter than its count. */
        tac_assert(block->index < pool->count && block == &pool->blocks[block->index]);
        tac_assert(block->state == TAC_BLOCK_FREE);
        tac_assert(data_is_untouched(pool, block));
        block = block->next;
    }
    tac_assert(block == NULL); /* Else it is longer, or goes round. */
    for (uint32_t i = 0; i < pool->count; i++) {
        free_states += pool->blocks[i].state == TAC_BLOCK_FREE ? 1 : 0;
    }
    /* A block that is free without being on the list is lost. */
    tac_assert(free_states == expected_free_count);
}
