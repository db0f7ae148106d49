/* SPDX-License-Identifier: Apache-2.0 */
#include "lsm/memarena.h"

#include <sys/mman.h>

#define PAGE_BYTES ((uint64_t)4096)
#define HUGE_PAGE_BYTES (2 * TAC_MIB)

/* The first bytes stay unused: reference 0 is none. */
#define RECORDS_BEGIN ((uint64_t)TAC_CACHE_LINE_BYTES)

uint64_t tac_memarena_round_up(uint64_t size_bytes)
{
    bool     is_huge = size_bytes >= HUGE_PAGE_BYTES;
    uint64_t rounded = tac_round_up(size_bytes, is_huge ? HUGE_PAGE_BYTES : PAGE_BYTES);

    tac_assert(size_bytes > RECORDS_BEGIN);
    tac_assert(rounded <= TAC_MEMARENA_SIZE_MAX);
    return rounded;
}

static void unmap(uint8_t *address, uint64_t size_bytes)
{
    int rv = munmap(address, size_bytes);

    tac_assert(rv == 0);
}

/* Maps a huge page more than is needed and gives back what lies outside the aligned part. */
static uint8_t *map_aligned(uint64_t size_bytes)
{
    uint64_t mapped_bytes = size_bytes + HUGE_PAGE_BYTES;
    uint8_t *mapped =
        mmap(NULL, mapped_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint64_t head_bytes;
    uint64_t tail_bytes;

    if (mapped == MAP_FAILED) {
        return NULL;
    }
    head_bytes = tac_round_up((uintptr_t)mapped, HUGE_PAGE_BYTES) - (uintptr_t)mapped;
    tail_bytes = HUGE_PAGE_BYTES - head_bytes;
    tac_assert(head_bytes < HUGE_PAGE_BYTES);
    if (head_bytes > 0) {
        unmap(mapped, head_bytes);
    }
    unmap(mapped + head_bytes + size_bytes, tail_bytes);
    return mapped + head_bytes;
}

bool tac_memarena_create(struct tac_memarena *arena, uint64_t size_bytes)
{
    uint64_t rounded_bytes = tac_memarena_round_up(size_bytes);
    uint8_t *base = map_aligned(rounded_bytes);

    if (base == NULL) {
        return false;
    }
    /* Advice only: with small pages everything works, somewhat slower. */
    (void)madvise(base, rounded_bytes, MADV_HUGEPAGE);
    for (uint64_t offset = 0; offset < rounded_bytes; offset += PAGE_BYTES) {
        *(volatile uint8_t *)(base + offset) = 0;
    }
    arena->base = base;
    arena->size_bytes = rounded_bytes;
    tac_memarena_reset(arena);
    return true;
}

void tac_memarena_destroy(struct tac_memarena *arena)
{
    tac_assert(arena->base != NULL);
    unmap(arena->base, arena->size_bytes);
    arena->base = NULL;
}

void tac_memarena_reset(struct tac_memarena *arena)
{
    tac_assert(arena->base != NULL);
    arena->records_end = RECORDS_BEGIN;
    arena->nodes_begin = arena->size_bytes;
}

uint32_t tac_memarena_take_record(struct tac_memarena *arena, uint64_t size_bytes)
{
    uint64_t offset = arena->records_end;

    arena->records_end += tac_round_up(size_bytes, TAC_MEMARENA_UNIT_BYTES);
    tac_assert(size_bytes > 0);
    tac_assert(arena->records_end <= arena->nodes_begin);
    return (uint32_t)(offset / TAC_MEMARENA_UNIT_BYTES);
}

uint32_t tac_memarena_take_node(struct tac_memarena *arena, uint64_t size_bytes)
{
    tac_assert(size_bytes > 0 && size_bytes % TAC_CACHE_LINE_BYTES == 0);
    tac_assert(arena->nodes_begin - arena->records_end >= size_bytes);
    arena->nodes_begin -= size_bytes;
    return (uint32_t)(arena->nodes_begin / TAC_MEMARENA_UNIT_BYTES);
}
