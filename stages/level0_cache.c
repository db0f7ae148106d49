/* SPDX-License-Identifier: Apache-2.0 */
/* level0_cache -- see level0_cache.h.
 *
 * note: slot-owner
 * A slot's word goes from FREE or an address to BUSY by a compare-and-exchange, which one thread
 * wins, and back by a release store after its buffer was exchanged. So a buffer is in one place at a
 * time, and who wins the slot next sees what the last owner left in it. */
#include "stages/level0_cache.h"

#include <stdlib.h>
#include <string.h>

#include "base/prng.h"
#include "queues/atomics.h"

#define SLOT_FREE UINT64_C(0) /* Block 0 of the file is no table's */
#define SLOT_BUSY UINT64_MAX

uint64_t tac_level0_cache_memory_bytes(uint32_t slot_count)
{
    return slot_count * (sizeof(uint64_t) + sizeof(struct tac_level0_slot));
}

int tac_level0_cache_create(struct tac_level0_cache *cache, const struct tac_block_pool *pool,
                            uint32_t lifetime_bars, struct tac_error *error)
{
    memset(cache, 0, sizeof *cache);
    if (pool->spare_count < TAC_LEVEL0_PROBES) {
        return TACTUS_OK;
    }
    cache->words = calloc(pool->spare_count, sizeof *cache->words);
    cache->slots = calloc(pool->spare_count, sizeof *cache->slots);
    if (cache->words == NULL || cache->slots == NULL) {
        tac_level0_cache_destroy(cache);
        return tac_error_set(error, TACTUS_ENOMEM, "out of memory for level0_cache_size: %u blocks",
                             pool->spare_count);
    }
    for (uint32_t i = 0; i < pool->spare_count; i++) {
        cache->slots[i].data = tac_block_pool_spare(pool, i);
    }
    cache->slot_count = pool->spare_count;
    cache->lifetime_bars = lifetime_bars;
    return TACTUS_OK;
}

void tac_level0_cache_destroy(struct tac_level0_cache *cache)
{
    free(cache->words);
    free(cache->slots);
    memset(cache, 0, sizeof *cache);
}

/* The place-th slot where the address may be. */
static uint32_t slot_of(const struct tac_level0_cache *cache, uint64_t address, uint32_t place)
{
    return (uint32_t)((tac_mix_u64(address) + place) % cache->slot_count);
}

/* The slot whose word this is, or slot_count. */
static uint32_t slot_find(const struct tac_level0_cache *cache, uint64_t address, uint64_t word)
{
    for (uint32_t place = 0; place < TAC_LEVEL0_PROBES; place++) {
        uint32_t slot = slot_of(cache, address, place);

        if (tac_atomic_load_relaxed_u64(&cache->words[slot]) == word) {
            return slot;
        }
    }
    return cache->slot_count;
}

static bool slot_own(struct tac_level0_cache *cache, uint32_t slot, uint64_t word)
{
    return tac_atomic_compare_exchange_u64(&cache->words[slot], &word, SLOT_BUSY);
}

/* A slot for the address that the caller owns then; false: there is no room. */
static bool room_own(struct tac_level0_cache *cache, uint64_t address, uint32_t *ret_slot)
{
    uint64_t bar = tac_atomic_load_relaxed_u64(&cache->bar);
    uint32_t slot = slot_find(cache, address, address);

    *ret_slot = slot; /* What is left of an earlier use of the address goes. */
    if (slot < cache->slot_count && slot_own(cache, slot, address)) {
        return true;
    }
    for (uint32_t place = 0; place < TAC_LEVEL0_PROBES; place++) {
        *ret_slot = slot_of(cache, address, place);
        if (tac_atomic_load_relaxed_u64(&cache->words[*ret_slot]) == SLOT_FREE &&
            slot_own(cache, *ret_slot, SLOT_FREE)) {
            return true;
        }
    }
    for (uint32_t place = 0; place < TAC_LEVEL0_PROBES; place++) {
        *ret_slot = slot_of(cache, address, place);
        uint64_t word = tac_atomic_load_relaxed_u64(&cache->words[*ret_slot]);

        if (word != SLOT_FREE && word != SLOT_BUSY &&
            tac_atomic_load_relaxed_u64(&cache->slots[*ret_slot].bar) + cache->lifetime_bars <
                bar &&
            slot_own(cache, *ret_slot, word)) {
            return true;
        }
    }
    return false;
}

void tac_level0_cache_put(struct tac_level0_cache *cache, uint64_t address, struct tac_block *block)
{
    uint32_t slot;

    tac_assert(address != SLOT_FREE && address != SLOT_BUSY);
    if (cache->slot_count == 0 || !room_own(cache, address, &slot)) {
        return;
    }
    tac_block_exchange(block, &cache->slots[slot].data);
    tac_atomic_store_relaxed_u64(&cache->slots[slot].bar, tac_atomic_load_relaxed_u64(&cache->bar));
    tac_atomic_store_release_u64(&cache->words[slot], address);
}

bool tac_level0_cache_has(const struct tac_level0_cache *cache, uint64_t address)
{
    return cache->slot_count > 0 && slot_find(cache, address, address) < cache->slot_count;
}

bool tac_level0_cache_take(struct tac_level0_cache *cache, uint64_t address,
                           struct tac_block *block)
{
    uint32_t slot;

    if (cache->slot_count == 0) {
        return false;
    }
    slot = slot_find(cache, address, address);
    if (slot == cache->slot_count || !slot_own(cache, slot, address)) {
        return false;
    }
    tac_block_exchange(block, &cache->slots[slot].data);
    tac_atomic_store_release_u64(&cache->words[slot], SLOT_FREE);
    return true;
}

void tac_level0_cache_turn(struct tac_level0_cache *cache, uint64_t bar)
{
    tac_atomic_store_relaxed_u64(&cache->bar, bar);
}
