/* SPDX-License-Identifier: Apache-2.0 */
/* event_count -- where threads sleep when there is nothing to do, and how they are woken.
 *
 * A waiter:                                        A notifier:
 *     work found? do it, start over                    make the work visible (push, publish)
 *     tac_event_count_prepare(ec, slot)                tac_event_count_notify(ec, 1)
 *     work found? tac_event_count_cancel(ec, slot),
 *                 do it, start over
 *     tac_event_count_wait(ec, slot), start over
 *
 * The second look, between prepare and wait, is what makes it safe; it must look at everything that
 * the thread may be woken for. A waiter has no timeout: a lost wake-up must hang where a test sees
 * it.
 *
 * A parker is one thread's eventfd. Whatever can write to it wakes the thread: notify, and also the
 * completions of an io_uring that has it registered (io_uring_register_eventfd) or another thread
 * that finished an I/O. A token is never lost: it stays in the eventfd until the thread reads it.
 * One that is left over costs one turn for nothing.
 *
 * note: parking
 * `parked` has a bit for each slot. prepare sets it, with a read-modify-write, before the second
 * look; notify reads it, with a read-modify-write, after the work became visible. Both are on one
 * word, so by note: rmw-order (queues/atomics.h) one comes second and sees the first:
 *     prepare second   the waiter sees all that the notifier did before: it finds the work, unless
 *                      another thread has taken it or is about to show it, and notify in its turn;
 *     notify second    it sees the bit. It clears it (the claim, again a read-modify-write: exactly
 *                      one party clears a bit that was set) and writes the token.
 * A plain load in notify would not do, on x86-64 neither: it may be satisfied while the push is
 * still in the store buffer. When nobody is parked the one read-modify-write is all that it costs.
 *
 * note: wake-up passed on
 * notify(ec, 1) wakes one thread and relies on it to look until it finds nothing. Its wake-up may
 * stand for more than one item (a pushing thread that was descheduled hides those behind its own),
 * and it may have been claimed while it found other work in its second look. That must neither wait
 * until the thread has finished something long, nor be forgotten when it leaves. So:
 *     cancel, when it finds its own bit already claimed, wakes another thread in its place;
 *     a thread that cannot take what it was woken for (its I/O queue is full, say), or that leaves
 *     for good, owes tac_event_count_notify(ec, 1);
 *     before a long piece of work it may do the same when it sees that more is left.
 * A thread that serves several stores looks into all of them each time, and at who has joined (note:
 * membership, in stages/thread_pool.h): then a wake-up for any of them is one for it.
 *
 * With these two notes: when the last push or pop is over and everybody sleeps or has gone, nothing
 * is left that a sleeper could do. tests/model/parking.pml checks it with two producers and two
 * consumers that all sleep and all leave in the end, and shows the lost wake-up when the second
 * look, the read-modify-write in notify or the duty of those who leave is missing. */
#ifndef TACTUS_QUEUES_EVENT_COUNT_H
#define TACTUS_QUEUES_EVENT_COUNT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/units.h"

/* ---- parker: one thread's alarm clock ------------------------------------------------------- */

struct tac_parker {
    int fd; /* eventfd; anybody may write to it */
};

/* TACTUS_EIO: the process has no file descriptor left. */
TAC_MUST_CHECK int tac_parker_create(struct tac_parker *parker, struct tac_error *error);
void               tac_parker_destroy(struct tac_parker *parker);

/* Sleeps until there is a token, takes all that are there. The parker's own thread. */
void tac_parker_wait(struct tac_parker *parker);
/* Takes all that are there, and does not sleep. */
void tac_parker_clear(struct tac_parker *parker);
/* Leaves a token. Any thread; never waits. */
void tac_parker_wake(struct tac_parker *parker);

/* ---- event count ---------------------------------------------------------------------------- */

#define TAC_EVENT_COUNT_WORDS 4
#define TAC_EVENT_COUNT_SLOTS_MAX (64 * TAC_EVENT_COUNT_WORDS)
#define TAC_EVENT_COUNT_NO_SLOT UINT32_MAX

struct tac_event_count {
    /* Fixed at create. */
    uint32_t           slot_count;
    uint32_t           word_count; /* notify reads this many words; one up to 64 slots */
    struct tac_parker *parkers[TAC_EVENT_COUNT_SLOTS_MAX];
    /* Shared. */
    uint64_t parked[TAC_EVENT_COUNT_WORDS] TAC_CACHE_ALIGNED; /* note: parking */
    uint64_t taken[TAC_EVENT_COUNT_WORDS] TAC_CACHE_ALIGNED;  /* Slots handed out by acquire */
};

/* Slot i belongs to parkers[i]; they must outlive the event count. No slot at all is legal: then
 * nobody sleeps here and notify wakes nobody. */
void tac_event_count_create(struct tac_event_count *ec, struct tac_parker *const *parkers,
                            uint32_t slot_count);
/* Nobody may be parked. */
void tac_event_count_destroy(struct tac_event_count *ec);

/* The three steps of the slot's owner. Between prepare and the end of cancel or wait it may take
 * no part in another event count with the same parker. */
void tac_event_count_prepare(struct tac_event_count *ec, uint32_t slot);
void tac_event_count_cancel(struct tac_event_count *ec, uint32_t slot);
void tac_event_count_wait(struct tac_event_count *ec, uint32_t slot);

/* Wakes up to wake_max sleepers and returns how many. Any thread, after its work is visible. */
uint32_t tac_event_count_notify(struct tac_event_count *ec, uint32_t wake_max);
/* Everybody: for a change that concerns all, such as shutdown. */
uint32_t tac_event_count_notify_all(struct tac_event_count *ec);

/* Slots between prepare and the end of cancel or wait, the caller's included: as of some moment of
 * the call. */
uint32_t tac_event_count_parked(const struct tac_event_count *ec);

/* For threads without a slot of their own (an application's): borrows one, bounded, without
 * waiting. TAC_EVENT_COUNT_NO_SLOT: all are taken. Either all users of an event count borrow their
 * slots or none does. */
uint32_t tac_event_count_slot_acquire(struct tac_event_count *ec);
void     tac_event_count_slot_release(struct tac_event_count *ec, uint32_t slot);

#endif
