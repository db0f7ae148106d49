/* SPDX-License-Identifier: Apache-2.0 */
/* level0_cache -- the blocks of the newest tables, kept in memory until they are merged.
 *
 * What a flush writes is read again within a few bars, once, by the compaction that takes it out of
 * level 0: nearly half of all that compactions read. A block that has been written stays here if
 * there is room, and the read stage finds it without the device. It is in the file all the same:
 * whatever is not found here is read from there, so no byte depends on what is kept.
 *
 * Keeping copies nothing: a block of the pool and a slot exchange their buffers, once when it is
 * put and once when it is taken. As many buffers as slots are the pool's spare ones.
 *
 * Place      a slot is looked for in TAC_LEVEL0_PROBES neighbouring ones, from the address' hash.
 * Room       is made only by taking, and of blocks that nobody took within `lifetime_bars`: those of
 *            tables that were moved down, or whose job failed.
 * Thread     any, many at a time. A slot is owned by whoever changed its word to BUSY; an address is
 *            put by one thread, that which wrote it, and before a table there is known to anybody.
 * Bound      a put or a take looks at 3 * TAC_LEVEL0_PROBES words at most. */
#ifndef TACTUS_STAGES_LEVEL0_CACHE_H
#define TACTUS_STAGES_LEVEL0_CACHE_H

#include "base/error.h"
#include "queues/block_pool.h"

#define TAC_LEVEL0_PROBES 16

struct tac_level0_slot {
    uint8_t *data; /* The owner's */
    uint64_t bar;  /* Atomic, relaxed: when it was put */
};

struct tac_level0_cache {
    /* Fixed at create. */
    uint32_t                slot_count; /* 0: nothing is kept */
    uint32_t                lifetime_bars;
    uint64_t               *words; /* Atomic: an address, or FREE or BUSY */
    struct tac_level0_slot *slots;
    /* Shared. */
    uint64_t bar;       /* The coordinator writes */
    uint64_t hit_count; /* Blocks that a read has found here; readers of blocks add */
};

/* Takes all spare buffers of the pool, which must outlive it; none, or fewer than a search looks
 * at: nothing is ever kept. */
TAC_MUST_CHECK int tac_level0_cache_create(struct tac_level0_cache     *cache,
                                           const struct tac_block_pool *pool,
                                           uint32_t lifetime_bars, struct tac_error *error);
void               tac_level0_cache_destroy(struct tac_level0_cache *cache);
/* Without the buffers. */
uint64_t tac_level0_cache_memory_bytes(uint32_t slot_count);

/* The owner of the block, whose contents are in the file at the address: keeps them if there is
 * room, and leaves other ones in the block. */
void tac_level0_cache_put(struct tac_level0_cache *cache, uint64_t address,
                          struct tac_block *block);
/* A hint: is it likely that a take will find it? */
bool tac_level0_cache_has(const struct tac_level0_cache *cache, uint64_t address);
/* The owner of the block gets what was put for the address: the caller checks it, as what was there
 * before may be left of an address that has been used again. False: nothing there. */
TAC_MUST_CHECK bool tac_level0_cache_take(struct tac_level0_cache *cache, uint64_t address,
                                          struct tac_block *block);
/* Coordinator: another bar has begun. */
void tac_level0_cache_turn(struct tac_level0_cache *cache, uint64_t bar);

#endif
