/* SPDX-License-Identifier: Apache-2.0 */
/* rate -- how many bytes a second the read and write stages may hand to the device, together.
 *
 * A bucket: `paid_ns` is the time up to which what was submitted is paid for. As long as it is less
 * than TAC_RATE_BURST_NS ahead a request may be submitted, whatever its size; else the bucket is
 * closed, no step takes a request, and whoever met it so has noted that (is_short). In T seconds no
 * more goes out than (T + burst) times the rate, and one request for each worker.
 *
 * note: closed
 * Threads have no timeout where they sleep (queues/event_count.h): a thread of the store's own,
 * tac-rate, sleeps until the bucket opens, then clears is_short and wakes all readers and writers.
 * One that is about to sleep has set its bit in the event count before its second look, and in that
 * sets is_short with the lock. If that comes before the clearing, the wake-up comes after both and
 * sees the bit; if after, the thread sees is_short again.
 * Without threads whoever has stepped in vain sees by closed_count that this was why, and sleeps.
 *
 * Timing only: no byte of the file depends on it. */
#ifndef TACTUS_STAGES_RATE_H
#define TACTUS_STAGES_RATE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define TAC_RATE_BURST_NS (20 * 1000 * 1000)

struct tac_rate {
    uint64_t        bytes_per_s; /* Atomic; 0: no limit */
    pthread_mutex_t lock;        /* Of all that follows; for moments */
    pthread_cond_t  changed;     /* is_short, the rate, should_stop; waits by CLOCK_MONOTONIC */
    uint64_t        paid_ns;
    uint64_t        closed_count; /* Steps that have met the bucket closed */
    bool            is_short;     /* One has, since the thread last woke sleepers */
    bool            should_stop;
};

void tac_rate_create(struct tac_rate *rate, uint64_t bytes_per_s);
void tac_rate_destroy(struct tac_rate *rate);
/* Takes effect at once; debts are forgiven. Any thread. */
void tac_rate_change(struct tac_rate *rate, uint64_t bytes_per_s);

/* May a request be submitted? Notes it if not. Any thread. */
bool tac_rate_is_open(struct tac_rate *rate);
/* One was submitted. */
void tac_rate_take(struct tac_rate *rate, uint64_t bytes);

/* Without threads: how many steps have met the bucket closed; if more have since `before`, sleeps until
 * it opens. False: none has. *ret_open_ns of the other: when it opens. */
uint64_t tac_rate_closed_count(struct tac_rate *rate, uint64_t *ret_open_ns);
bool     tac_rate_sleep(struct tac_rate *rate, uint64_t before);
/* Of the thread that waits for the bucket: true, it has opened; false, the thread is to end. */
bool tac_rate_wait(struct tac_rate *rate);
void tac_rate_stop(struct tac_rate *rate);

/* For tests: another clock in the place of the system's, for all stores. A sleep sets it to the time
 * that is slept until. NULL: the system's. Not beside a store with threads. */
void tac_rate_clock_replace(uint64_t (*now_ns)(uint64_t sleep_until_ns));
bool tac_rate_clock_is_replaced(void);

#endif
