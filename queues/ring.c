/* SPDX-License-Identifier: Apache-2.0 */
/* ring -- see ring.h; the argument is its note: ring-positions. The idea of a turn per slot is
 * Dmitry Vyukov's (bounded MPMC queue). */
#include "queues/ring.h"

#include <stdlib.h>

#include "base/mutant.h"
#include "queues/atomics.h"

tac_static_assert(sizeof(struct tac_ring_slot) == 16, "four slots to a cache line");

uint64_t tac_ring_memory_bytes(uint32_t capacity)
{
    return tac_round_up((uint64_t)capacity * sizeof(struct tac_ring_slot), TAC_CACHE_LINE_BYTES);
}

bool tac_ring_create(struct tac_ring *ring, uint32_t capacity)
{
    tac_assert(tac_is_power_of_two(capacity));
    tac_assert(capacity >= TAC_RING_CAPACITY_MIN && capacity <= TAC_RING_CAPACITY_MAX);

    ring->slots = aligned_alloc(TAC_CACHE_LINE_BYTES, tac_ring_memory_bytes(capacity));
    if (ring->slots == NULL) {
        return false;
    }
    ring->capacity = capacity;
    ring->tail = 0;
    ring->head = 0;
    for (uint32_t i = 0; i < capacity; i++) {
        ring->slots[i] = (struct tac_ring_slot){.turn = i, .item = NULL};
    }
    return true;
}

void tac_ring_destroy(struct tac_ring *ring)
{
    tac_assert(ring->slots != NULL);
    tac_assert(tac_ring_count(ring) == 0);
    free(ring->slots);
    ring->slots = NULL;
}

bool tac_ring_try_push_mp(struct tac_ring *ring, void *item)
{
    uint64_t              position = tac_atomic_load_relaxed_u64(&ring->tail);
    struct tac_ring_slot *slot;

    tac_assert(item != NULL);
    for (;;) {
        uint64_t turn;

        tac_yield_point();
        slot = &ring->slots[position & (ring->capacity - 1)];
        turn = tac_atomic_load_acquire_u64(&slot->turn);
        if (turn == position) {
            if (tac_atomic_compare_exchange_u64(&ring->tail, &position, position + 1)) {
                break;
            }
        } else if (turn < position) {
            return false;
        } else { /* The position was claimed after `tail` was read. */
            position = tac_atomic_load_relaxed_u64(&ring->tail);
        }
    }

    tac_yield_point();
    slot->item = item;
    tac_atomic_store_release_u64(&slot->turn, position + 1);
    tac_yield_point();
    return true;
}

bool tac_ring_try_pop_mc(struct tac_ring *ring, void **ret_item)
{
    uint64_t              position = tac_atomic_load_relaxed_u64(&ring->head);
    struct tac_ring_slot *slot;

    for (;;) {
        uint64_t turn;

        tac_yield_point();
        slot = &ring->slots[position & (ring->capacity - 1)];
        turn = tac_atomic_load_acquire_u64(&slot->turn);
        if (turn == position + 1) {
            if (tac_atomic_compare_exchange_u64(&ring->head, &position, position + 1)) {
                break;
            }
        } else if (turn < position + 1) {
            return false;
        } else { /* The position was claimed after `head` was read. */
            position = tac_atomic_load_relaxed_u64(&ring->head);
        }
    }

    tac_yield_point();
    tac_assert(slot->item != NULL);
    *ret_item = slot->item;
    slot->item = NULL;
    tac_atomic_store_release_u64(&slot->turn, position + ring->capacity - TAC_MUTANT(RING_WRAP));
    tac_yield_point();
    return true;
}

uint32_t tac_ring_count(const struct tac_ring *ring)
{
    uint64_t head = tac_atomic_load_acquire_u64(&ring->head);
    uint64_t tail = tac_atomic_load_acquire_u64(&ring->tail);

    tac_assert(tail >= head); /* tail was read later, and never falls behind. */
    return (uint32_t)tac_min_u64(tail - head, ring->capacity);
}
