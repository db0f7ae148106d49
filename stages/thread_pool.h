/* SPDX-License-Identifier: Apache-2.0 */
/* thread_pool -- stage threads that several stores share.
 *
 * A thread has a home stage like those of stages/thread.h, and a worker in each store of the pool,
 * with an I/O queue and a profile of its own. A turn of the thread is one step of each of them: no
 * store waits for more than a step of each of the others, however much one of them has to do, and
 * one that has nothing to do costs a look. The thread sleeps when a whole turn has found nothing:
 * in the pool's event count of its home, where all stores' rings wake it, and the completions of
 * all its I/O queues.
 *
 * Who runs a step is all that is shared. Queues, seats, credit and addresses are a store's own, so
 * no byte of a file depends on what else is in the pool.
 *
 * note: membership
 * A store joins, leaves, or a thread is to end: whoever wants that writes it down under `lock`,
 * counts `version` up (a read-modify-write) and leaves a token for each thread. A thread compares
 * `version` before each turn, and once more in its second look, between prepare and wait (note:
 * parking, in queues/event_count.h). So either that look finds the change, or the token, which is
 * never lost, ends the sleep, and the next turn begins with it. And a wake-up for a store's item
 * is never lost on a thread that does not know the store: the item was pushed after the store had
 * joined, the push came before the claim of the thread's bit, and the thread meets that claim
 * before its next turn, which therefore finds the version.
 * A thread that lets go of a store takes nothing more out of its rings, but goes on with the others
 * until what it has under way in the store's I/O queue is done; only then it counts itself off
 * `holder_count`. Nobody else could reap that. Whoever waits for a leave, waits for no thread's
 * other stores longer than for a step of each.
 * A thread that ends lets go of all, and owes a wake-up (note: wake-up passed on): to any home,
 * since with `assist` it may have been woken for the work of another one. Its parker stays until
 * the pool ends: who has claimed its bit may still be about to write the token.
 *
 * For the simulator the threads may be virtual: their turns are steps that a store's caller makes,
 * one at a time. All stores of such a pool belong to one thread of the process. */
#ifndef TACTUS_STAGES_THREAD_POOL_H
#define TACTUS_STAGES_THREAD_POOL_H

#include <pthread.h>

#include "stages/stage.h"

#define TAC_POOL_HOME_THREADS_MAX 64 /* Of each home */
#define TAC_POOL_THREADS_MAX (TAC_STAGES_WITH_QUEUE * TAC_POOL_HOME_THREADS_MAX)

/* A thread's place in a store. */
struct tac_pool_worker {
    struct tac_worker       worker;
    struct tac_pool_member *member;
    bool                    is_held; /* By its thread. Under the pool's lock */
    /* The thread's, while it holds it */
    struct tac_pool_worker *next;
    bool                    is_leaving; /* Only finishes its I/O */
    enum tac_wait           wait;       /* Of the sleep that it is in */
};

/* A store in the pool; memory of the store's. */
struct tac_pool_member {
    struct tac_stages *stages;
    uint32_t           io_depth;
    /* Under the pool's lock; `next` and `workers` change with change_lock too. */
    struct tac_pool_member   *next;
    struct tac_pool_worker   *workers[TAC_POOL_THREADS_MAX]; /* By the thread's number */
    bool                      is_leaving;
    uint32_t                  holder_count;         /* Threads that have not let go of it */
    struct tactus_stage_stats ended[TACTUS_STAGES]; /* What threads did that have ended */
};

struct tac_thread_pool;

struct tac_pool_thread {
    struct tac_profile      profile; /* Of all stores together: busy as its home, and idle */
    struct tac_thread_pool *pool;
    uint32_t                number;
    enum tac_stage_id       home;
    uint32_t                slot;   /* In the event count of its home */
    struct tac_parker       parker; /* fd -1: there has not been this thread yet */
    pthread_t               thread;
    bool                    is_running; /* Changed with lock and change_lock */
    bool                    should_end; /* Under lock */
    /* The thread's */
    bool                    is_ending;
    uint64_t                version; /* The one that `workers` follows; note: membership */
    uint64_t                lap_ns;  /* Of whichever worker is stepped next (stages/profile.h) */
    struct tac_pool_worker *workers;
};

struct tac_thread_pool {
    struct tac_event_count events[TAC_STAGES_WITH_QUEUE];
    struct tac_pool_thread threads[TAC_POOL_THREADS_MAX];
    bool                   is_idle; /* The threads run when nobody else wants a processor */
    bool                   is_stepped; /* The threads are virtual */
    uint64_t               version; /* Atomic; note: membership */
    /* One join, end of a leave, or change of the threads at a time; it may last. Before `lock`. */
    pthread_mutex_t change_lock;
    /* Never held for longer than a look at all there is. */
    pthread_mutex_t         lock;
    pthread_cond_t          let_go; /* A member's holder_count has become 0 */
    struct tac_pool_member *members;
    uint32_t                count[TAC_STAGES_WITH_QUEUE];
    uint64_t                ended_busy_ns, ended_idle_ns; /* Of threads that have ended */
};

/* count: threads of each home, 1 to TAC_POOL_HOME_THREADS_MAX. On failure nothing is left. The pool
 * lies at a multiple of TAC_CACHE_LINE_BYTES. */
TAC_MUST_CHECK int tac_thread_pool_start(struct tac_thread_pool *pool,
                                         const uint32_t count[TAC_STAGES_WITH_QUEUE], bool is_idle,
                                         struct tac_error *error);
/* The same with virtual threads. */
TAC_MUST_CHECK int tac_thread_pool_start_stepped(struct tac_thread_pool *pool,
                                                 const uint32_t    count[TAC_STAGES_WITH_QUEUE],
                                                 struct tac_error *error);
/* No store is in it. */
void tac_thread_pool_stop(struct tac_thread_pool *pool);

/* More threads, or less: those beyond the new count let go of all stores, and end; this waits for
 * their I/O. Nobody else waits for anything. On failure all is as it was. */
TAC_MUST_CHECK int tac_thread_pool_change(struct tac_thread_pool *pool,
                                          const uint32_t          count[TAC_STAGES_WITH_QUEUE],
                                          struct tac_error       *error);
void tac_thread_pool_count(struct tac_thread_pool *pool, uint32_t ret_count[TAC_STAGES_WITH_QUEUE]);

/* Puts the store in the place of the member, which it fills, and points stages->events of the
 * stages with queues to the pool's. Nothing may be in the rings yet. On failure it is not in. */
TAC_MUST_CHECK int tac_thread_pool_join(struct tac_thread_pool *pool,
                                        struct tac_pool_member *member, struct tac_stages *stages,
                                        uint32_t io_depth, struct tac_error *error);
/* When it returns no thread touches the store, and nothing of it is under way. What waits in rings
 * stays there. */
void tac_thread_pool_leave(struct tac_thread_pool *pool, struct tac_pool_member *member);

/* Adds what all threads did for the member's store, and were idle for: all of them, asleep, each by
 * what this store had for it. */
void tac_thread_pool_report(struct tac_thread_pool *pool, struct tac_pool_member *member,
                            struct tactus_stage_stats stages[TACTUS_STAGES]);
/* Of all threads since the start. */
void tac_thread_pool_times(struct tac_thread_pool *pool, uint64_t *ret_busy_ns,
                           uint64_t *ret_idle_ns);

/* Of virtual threads: a turn of the one that the number chooses; a turn of each; and, when these
 * have found nothing, a wait for I/O that is under way. False: nothing was done. */
bool tac_thread_pool_step(struct tac_thread_pool *pool, uint64_t number);
bool tac_thread_pool_step_all(struct tac_thread_pool *pool);
bool tac_thread_pool_wait_for_io(struct tac_thread_pool *pool);

#endif
