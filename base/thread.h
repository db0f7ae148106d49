/* SPDX-License-Identifier: Apache-2.0 */
/* thread -- how every thread of the library begins. */
#ifndef TACTUS_BASE_THREAD_H
#define TACTUS_BASE_THREAD_H

#include <pthread.h>

#include "base/error.h"

/* Starts `main` under a name of at most 15 bytes, with all signals blocked: they are the
 * application's, none is delivered to a thread of ours. One that wakes up does not interrupt a
 * thread of the application (SCHED_BATCH), but has its share of the processors like those; where
 * the application has a policy of its own it is the same. TACTUS_ENOMEM: the system gives no
 * thread. */
TAC_MUST_CHECK int tac_thread_start(pthread_t *ret_thread, const char *name, void *(*main)(void *),
                                    void *argument, struct tac_error *error);
/* From now on the thread runs when nobody else wants a processor (SCHED_IDLE; there is no way back
 * without privileges). TACTUS_EOPTION: the system refuses it. */
TAC_MUST_CHECK int tac_thread_make_idle(pthread_t thread, struct tac_error *error);
/* Of the calling thread's I/O, as ioprio_set(2) has it. False: the system refuses it. */
bool tac_thread_io_priority_set(uint16_t io_priority);
/* Whether a thread of this process may have it. TACTUS_EOPTION. */
TAC_MUST_CHECK int tac_thread_io_priority_check(uint16_t io_priority, struct tac_error *error);

#endif
