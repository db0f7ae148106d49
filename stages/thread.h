/* SPDX-License-Identifier: Apache-2.0 */
/* thread -- the workers of a store: threads that run the loop, or virtual workers that the caller
 * steps. The loop is all that a thread adds: step; when nothing is to be done, sleep in the event
 * count of the home stage, where rings and completions of the thread's own I/O queue wake it.
 * In a pool of threads (stages/thread_pool.h) only the coordinator's thread is the store's own. */
#ifndef TACTUS_STAGES_THREAD_H
#define TACTUS_STAGES_THREAD_H

#include <pthread.h>

#include "base/prng.h"
#include "stages/thread_pool.h"

#define TAC_WORKERS_MAX 256

/* How a store without threads is stepped. */
struct tac_stepping {
    uint32_t workers_read, workers_merge, workers_write; /* Virtual workers; at least 1 each */
    uint64_t seed; /* 0: each in turn; else one at random each time, some slower than others */
    bool     assist;
    uint32_t tight_plan_every; /* As if every n-th bar's flush found no room; 0: never */
};

struct tac_worker_slot {
    struct tac_worker worker;
    struct tac_parker parker;
    pthread_t         thread;
    uint32_t          slot;   /* In the event count of its home */
    uint32_t          weight; /* Simulation: chance of being stepped */
    uint32_t         *stop;
};

struct tac_worker_pool {
    struct tac_worker_slot *slots;
    uint32_t                count;
    bool                    has_threads;
    uint32_t                stop; /* Atomic */
    struct tac_event_count  events[TAC_STAGE_COUNT];
    struct tac_event_count  progress;
    struct tac_parker       progress_parker;
    /* Stepping */
    struct tac_prng prng;
    bool            is_random;
    uint32_t        turn;
    uint32_t        weight_total;
    uint64_t        lap_ns; /* Of whichever worker is stepped next (stages/profile.h) */
    bool            has_descriptor;
    int             descriptor; /* An epoll of the workers' parkers, if there is one … */
    int                     timer;      /* … and of a timerfd, for when the rate lets I/O go on */
    /* What workers did that a change has ended. */
    struct tactus_stage_stats ended[TACTUS_STAGES];
    /* Whose threads read, merge and write; NULL: its own */
    struct tac_thread_pool *shared;
    struct tac_pool_member  member;
};

struct tac_worker_counts {
    uint32_t count[TAC_STAGES_WITH_QUEUE];
    bool     has_threads;
    bool     is_idle; /* The threads run when nobody else wants a processor */
    uint32_t io_depth;
    /* Threads that are there already, instead of `count`, or NULL; has_threads says whether they
     * are virtual */
    struct tac_thread_pool *shared;
};

/* Fills stages->events and ->progress; with threads, they run from here on. */
TAC_MUST_CHECK int tac_worker_pool_start(struct tac_worker_pool *pool, struct tac_stages *stages,
                                         const struct tac_worker_counts *counts,
                                         const struct tac_stepping      *stepping,
                                         bool (*coordinator_step)(void *context),
                                         void *coordinator_context, struct tac_error *error);
/* Threads finish their current step and what their I/O queues have under way, then end. Others may
 * notify stages->progress meanwhile and later. */
void tac_worker_pool_stop(struct tac_worker_pool *pool);
/* Other workers in place of those there are, which end like that: a worker between two steps holds
 * nothing but I/O of its own. Nobody may wait for progress, or wake a worker, meanwhile. On failure
 * those there were go on; or, if the system refuses the new threads when the old ones have ended,
 * there are virtual workers, to be stepped (has_threads is false then), and a change may be tried
 * again. Not of a store whose threads are shared. */
TAC_MUST_CHECK int tac_worker_pool_change(struct tac_worker_pool *pool, struct tac_stages *stages,
                                          const struct tac_worker_counts *counts,
                                          const struct tac_stepping      *stepping,
                                          struct tac_error               *error);

/* Without threads: one turn of some worker. False: none found anything to do and no I/O is under
 * way. When only I/O is under way it waits for a completion. Before the first of a row of steps
 * comes tac_worker_pool_enter: what the caller did until now is no worker's time. */
void tac_worker_pool_enter(struct tac_worker_pool *pool, uint64_t now_ns);
bool tac_worker_pool_step(struct tac_worker_pool *pool);

/* The same, but it waits for nothing: false, too, when only I/O is under way. Then the descriptor can
 * be read as soon as some of that is over. There is one from the first call on; it is the pool's. */
bool               tac_worker_pool_try_step(struct tac_worker_pool *pool);
TAC_MUST_CHECK int tac_worker_pool_descriptor(struct tac_worker_pool *pool, int *ret_descriptor,
                                              struct tac_error *error);

/* Adds what all workers did, and were idle for. Any thread, but not beside a change. */
void tac_worker_pool_report(struct tac_worker_pool   *pool,
                            struct tactus_stage_stats stages[TACTUS_STAGES]);

#endif
