/* SPDX-License-Identifier: Apache-2.0 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* pthread_setname_np */
#endif
#include "base/thread.h"

#include <sched.h>
#include <signal.h>
#include <string.h>

int tac_thread_start(pthread_t *ret_thread, const char *name, void *(*main)(void *), void *argument,
                     struct tac_error *error)
{
    sigset_t all, before;
    int      result;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    result = pthread_create(ret_thread, NULL, main, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (result != 0) {
        return tac_error_set(error, TACTUS_ENOMEM, "cannot start a thread: %s", strerror(result));
    }
    pthread_setname_np(*ret_thread, name);
    return TACTUS_OK;
}

int tac_thread_make_idle(pthread_t thread, struct tac_error *error)
{
    struct sched_param none = {.sched_priority = 0};
    int                result = pthread_setschedparam(thread, SCHED_IDLE, &none);

    if (result != 0) {
        return tac_error_set(error, TACTUS_EOPTION,
                             "threads_priority idle: the system refuses it (%s); leave it normal",
                             strerror(result));
    }
    return TACTUS_OK;
}
