/* SPDX-License-Identifier: Apache-2.0 */
/* ring -- a bounded lock-free queue of pointers; any thread pushes, any thread pops.
 *
 * Capacity   exactly what is asked for: a ring of 2 holds 2. A power of two, from 2.
 * Refusal    a push returns false when the ring is full, a pop when it is empty. Both mean it: at
 *            one instant within the call the ring could not take, or did not offer, an item. So a
 *            thread may go to sleep on a refusal (note: parking, in queues/event_count.h).
 * Bound      no call waits for another thread. A turn of the loop is repeated only because another
 *            push (or pop) claimed the same position in between, that is, made progress.
 * Order      items leave in the order in which their pushes claimed positions; the pushes of one
 *            thread in the order of its calls.
 * Ownership  who pushes gives up the item, who pops owns it; what was written before the push is
 *            seen after the pop.
 *
 * note: ring-positions
 * `tail` counts the positions claimed by pushes, `head` those claimed by pops; position p lives in
 * slot p mod capacity. The slot's turn says whose move it is:
 *     turn == p              free: the push that claims position p may fill it
 *     turn == p + 1          filled: the pop that claims position p may empty it
 *     turn == p + capacity   emptied: the same as free, one lap later
 * Only who claimed the position changes the turn, with a release, and only after its own access to
 * the item; who finds its turn with an acquire has the slot for itself. Turns are 64 bits wide and
 * never come round again.
 *     A pop of position p that finds a turn below p + 1 met it unfilled, at an instant when no
 * other pop can have claimed it: the ring offered nothing. Either no push has claimed p, or one has
 * and will notify when it has filled it. A push to position p that finds a turn below p met the
 * item of one lap ago, or its push or pop still at work: capacity positions were taken. The pop
 * that empties the slot is still to come and will notify after that. A turn above what was looked
 * for says that `tail` or `head` has moved on since it was read; only then is the loop repeated.
 *
 * A thread that is descheduled between claim and turn holds back only what stands behind its own
 * position: a push hides the items behind it (pops say "empty"), a pop keeps one slot (pushes say
 * "full" once they reach it). Nobody spins for it. When it goes on, its one notification stands for
 * all that it held back, and the thread that this wakes finds it all in the ring.
 *
 * Why not ck_ring: its multi-producer push waits, inside the call, until the pushes claimed before
 * it are complete; with two processors that is a whole time slice when one of them is descheduled.
 * Its single-producer, single-consumer form behind a try-lock at each end never waits, but "busy"
 * says nothing about the ring: a consumer that is refused because another one is still leaving with
 * "empty" goes to sleep on an item that only its own wake-up announced. tests/model/parking.pml
 * shows both the proof for this ring and that loss. */
#ifndef TACTUS_QUEUES_RING_H
#define TACTUS_QUEUES_RING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/units.h"

#define TAC_RING_CAPACITY_MIN 2
#define TAC_RING_CAPACITY_MAX (1u << 20)

struct tac_ring_slot {
    uint64_t turn; /* note: ring-positions */
    void    *item; /* Whose turn it is */
};

struct tac_ring {
    /* Fixed at create. */
    struct tac_ring_slot *slots;
    uint32_t              capacity;
    /* Each end on a cache line of its own, away from the other's. */
    uint64_t tail TAC_CACHE_ALIGNED;
    uint64_t head TAC_CACHE_ALIGNED;
};

/* False: out of memory. */
TAC_MUST_CHECK bool tac_ring_create(struct tac_ring *ring, uint32_t capacity);
/* The ring must be empty and out of use. */
void tac_ring_destroy(struct tac_ring *ring);

/* Any thread. False: full. The item is not NULL. */
TAC_MUST_CHECK bool tac_ring_try_push_mp(struct tac_ring *ring, void *item);
/* Any thread. False: empty, and *ret_item is as it was. */
TAC_MUST_CHECK bool tac_ring_try_pop_mc(struct tac_ring *ring, void **ret_item);

/* Items claimed by pushes and not yet by pops, 0 to capacity: exact while nobody pushes or pops,
 * otherwise a recent figure. */
uint32_t tac_ring_count(const struct tac_ring *ring);
/* What create allocates. */
uint64_t tac_ring_memory_bytes(uint32_t capacity);

#endif
