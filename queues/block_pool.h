/* SPDX-License-Identifier: Apache-2.0 */
/* block_pool -- the fixed set of block buffers that compaction works with.
 *
 * Thread     the coordinator: create, destroy, take, give back, check. A block that was taken
 *            belongs to one party at a time and is handed on through rings, so neither the free
 *            list nor a block's fields need atomics.
 * Memory     allocated and touched at create, in huge pages where the system has them; nothing is
 *            allocated afterwards. Spare buffers are allocated with them and touched by who uses
 *            them first: a block may exchange its buffer for one of these.
 * Buffers    page-aligned (block_size is a multiple of 4 KiB). The bytes of a free block may not be
 *            touched: AddressSanitizer is told so, and with TACTUS_VERIFY they are filled with
 *            TAC_BLOCK_FREE_BYTE, which must still be there when the block is taken again.
 * Invariant  free + taken = count; a block is free exactly when it is on the free list. */
#ifndef TACTUS_QUEUES_BLOCK_POOL_H
#define TACTUS_QUEUES_BLOCK_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/units.h"

#define TAC_BLOCK_FREE_BYTE 0xd5

/* Owner while in the state; next. From every state but FREE a block may fall back to RESERVED: its
 * work is done, or was given up. */
enum tac_block_state {
    TAC_BLOCK_FREE,     /* pool; RESERVED */
    TAC_BLOCK_RESERVED, /* job, idle; READING, MERGING, FREE */
    TAC_BLOCK_READING,  /* read stage and device; READ */
    TAC_BLOCK_READ,     /* job, contents checked; MERGING */
    TAC_BLOCK_MERGING,  /* merge stage, as input or as output under construction; SEALED */
    TAC_BLOCK_SEALED,   /* job, contents final; WRITING */
    TAC_BLOCK_WRITING,  /* write stage and device; - */
    TAC_BLOCK_STATE_COUNT,
};

/* What the block's owner of the moment keeps with it; the pool does not look at it. */
struct tac_block_user {
    uint64_t word[8];
};

struct tac_block {
    /* Fixed at create. */
    uint32_t index; /* Of the block in its pool */
    /* The owner's. */
    uint8_t              *data;    /* tac_block_exchange only */
    uint32_t              state;   /* enum tac_block_state: tac_block_state_change only */
    uint64_t              address; /* In the grid; 0: none */
    void                 *owner;
    struct tac_block     *next; /* In whatever list the block is */
    struct tac_block_user user;
} TAC_CACHE_ALIGNED;

struct tac_block_pool {
    /* Fixed at create. */
    struct tac_block *blocks;
    uint32_t          count;
    uint32_t          spare_count;
    uint32_t          block_size_bytes;
    uint8_t          *spares;
    void             *map;
    uint64_t          map_size_bytes;
    bool              has_huge_pages; /* The system took the advice; it may still not have any */
    /* Coordinator. */
    struct tac_block *free_list;
    uint32_t          free_count;
};

/* block_size_bytes: a multiple of 4 KiB. TACTUS_ENOMEM: no such amount of memory. */
TAC_MUST_CHECK int tac_block_pool_create(struct tac_block_pool *pool, uint32_t count,
                                         uint32_t spare_count, uint32_t block_size_bytes,
                                         struct tac_error *error);
/* All blocks must be back. */
void tac_block_pool_destroy(struct tac_block_pool *pool);
/* What create makes resident. */
uint64_t tac_block_pool_memory_bytes(uint32_t count, uint32_t block_size_bytes);
/* The index-th spare buffer, as it was at create: whoever asks for it has it from then on. */
uint8_t *tac_block_pool_spare(const struct tac_block_pool *pool, uint32_t index);

/* `count` blocks, RESERVED and linked by next, or none: false, and *ret_list is as it was. */
TAC_MUST_CHECK bool tac_block_pool_try_take(struct tac_block_pool *pool, uint32_t count,
                                            struct tac_block **ret_list);
/* A list of RESERVED blocks of this pool, of any length, also empty (NULL). Returns its length. */
uint32_t tac_block_pool_give_back(struct tac_block_pool *pool, struct tac_block *list);
/* Walks everything: exactly so many blocks are free, they are on the list once each, and nobody has
 * touched them. */
void tac_block_pool_check(const struct tac_block_pool *pool, uint32_t expected_free_count);

/* The owner's. The block must be in `from`, and the step to `to` one of those above. */
void tac_block_state_change(struct tac_block *block, enum tac_block_state from,
                            enum tac_block_state to);
/* The owner's, of a block that is not free and a buffer of the same pool: each gets the other's
 * bytes, and nothing is copied. */
void        tac_block_exchange(struct tac_block *block, uint8_t **buffer);
const char *tac_block_state_name(enum tac_block_state state);

#endif
