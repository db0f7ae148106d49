/* SPDX-License-Identifier: Apache-2.0 */
/* pool -- struct tactus_pool: the stage threads and the memory that stores of a process share.
 *
 * Threads   with some, all its stores are members of one stages/thread_pool.h; a store's
 *           coordinator, and the threads of its log and its scrub, stay its own. Without, each
 *           store has virtual workers as if it were on its own, under its own commit_lock, and
 *           tactus_pool_step steps one store after the other. No lock is held for that, as a step
 *           may call the application, which may open and close other stores: the store that is
 *           being stepped is counted, and stays in the list until it is not.
 * Memory    a store takes its whole budget at open, before it allocates any of it, and gives it
 *           back when all is freed: the sum is never more than memory_size.
 *
 * Locks     list_lock is taken before a store's commit_lock, `lock` after it. */
#ifndef TACTUS_PIPELINE_POOL_H
#define TACTUS_PIPELINE_POOL_H

#include "pipeline/store.h"
#include "stages/thread_pool.h"

struct tactus_pool {
    struct tac_thread_pool threads; /* If has_threads */
    /* Fixed at open */
    bool                 has_threads;
    bool                 is_simulated; /* `threads` are virtual, and has_threads is false */
    enum tactus_priority threads_priority;
    uint64_t             memory_size; /* 0: no limit */
    uint32_t             memory_shares;
    pid_t                owner_pid;

    pthread_mutex_t lock;
    uint64_t        taken_bytes;
    uint32_t        store_count; /* Open, being opened or being closed */

    pthread_mutex_t list_lock; /* No store of the list goes meanwhile */
    pthread_cond_t  stepped;   /* A store has no steppers any more */
    struct tactus  *stores;    /* Open ones, by shared_next */
};

/* For the simulator: no limit of memory, and so many virtual threads, which stores without threads
 * share (stages/thread_pool.h). To be given to tactus_pool_close. */
TAC_MUST_CHECK int tac_pool_simulate(const uint32_t       count[TAC_STAGES_WITH_QUEUE],
                                     struct tactus_pool **ret_pool, struct tac_error *error);

/* The store is being opened in store->shared: its options become what the pool makes of them. */
void tac_pool_store_begins(struct tactus *store);
/* TACTUS_ENOMEM: so much is not left. */
TAC_MUST_CHECK int tac_pool_memory_take(struct tactus *store, uint64_t bytes,
                                        struct tac_error *error);
/* The same of one that is open; and back. */
TAC_MUST_CHECK int tac_pool_memory_more(struct tactus *store, uint64_t bytes,
                                        struct tac_error *error);
void               tac_pool_memory_less(struct tactus *store, uint64_t bytes);
/* It is open: what its open has taken too much goes back. */
void tac_pool_store_add(struct tactus *store);
/* It is being closed: nobody steps it any more. Also one that has not been added. */
void tac_pool_store_remove(struct tactus *store);
/* All that it had is freed. */
void tac_pool_store_ended(struct tactus *store);

#endif
