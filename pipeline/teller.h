/* SPDX-License-Identifier: Apache-2.0 */
/* teller -- how a store calls the application: a queue, and who empties it.
 *
 * Who      Whoever finds something to tell lays it into the queue, and goes on: with any lock, in
 *          any thread. tell_fn is called from the queue's other end, without any lock, one call at
 *          a time, in order: by a thread of its own, or without one by the calls of the
 *          application, as they return. So the application may call what takes commit_lock, and if
 *          it is slow it delays nobody but what is told later.
 * Bound    slots_max wait at most; of more only the number is told. */
#ifndef TACTUS_PIPELINE_TELLER_H
#define TACTUS_PIPELINE_TELLER_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* slot: what tac_teller_take gave; a copy. */
typedef void tac_tell_fn(void *owner, const void *slot);

struct tac_teller {
    uint32_t is_due; /* Atomic: something waits that no thread will tell */

    /* Fixed by init */
    tac_tell_fn *tell_fn;
    void        *owner;
    size_t       slot_bytes;
    uint32_t     slots_max;

    bool      has_thread; /* Changed by begin and end */
    pthread_t thread;

    pthread_mutex_t lock;  /* Innermost, for moments: of all that follows */
    pthread_cond_t  added; /* Or the thread is to end */
    pthread_cond_t  told;
    uint8_t        *slots; /* NULL: none yet. One more than slots_max: what is being told */
    uint32_t        first, count;
    uint64_t        missed;  /* Since the last one in the queue */
    bool            is_open; /* Something is taken */
    bool            is_telling, should_stop;
    pthread_t       teller; /* While is_telling */
};

void tac_teller_init(struct tac_teller *teller, size_t slot_bytes, uint32_t slots_max,
                     tac_tell_fn *tell_fn, void *owner);
void tac_teller_destroy(struct tac_teller *teller);

/* Takes from now on. thread_name: of a thread that tells; NULL: there is to be none. Once until
 * tac_teller_end; one change at a time. TACTUS_ENOMEM, TACTUS_EIO: nothing is taken. */
TAC_MUST_CHECK int tac_teller_begin(struct tac_teller *teller, const char *thread_name,
                                    struct tac_error *error);
/* A slot to be filled, at once, and to be given to the queue by tac_teller_give; the queue is
 * locked until then. *ret_missed: how many found no slot before it. NULL: nothing is taken, or this
 * one is missed, too. */
void *tac_teller_take(struct tac_teller *teller, uint64_t *ret_missed);
void  tac_teller_give(struct tac_teller *teller);
/* Tells all that waits, unless another call of this does. Without locks. Leaves the calling
 * thread's message alone. */
void tac_teller_tell(struct tac_teller *teller);
/* Nothing is taken any more; tells what waits. After it no call is under way. */
void tac_teller_end(struct tac_teller *teller);
/* The calling thread is in a call. */
bool tac_teller_is_here(struct tac_teller *teller);

#endif
