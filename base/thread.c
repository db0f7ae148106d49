/* SPDX-License-Identifier: Apache-2.0 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* pthread_setname_np */
#endif
#include "base/thread.h"

#include <errno.h>
#include <linux/ioprio.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Advice only: where the system refuses it, threads run all the same. */
static void make_batch(pthread_t thread)
{
    struct sched_param parameters;
    int                policy;

    if (pthread_getschedparam(thread, &policy, &parameters) == 0 && policy == SCHED_OTHER) {
        (void)pthread_setschedparam(thread, SCHED_BATCH, &parameters);
    }
}

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
    make_batch(*ret_thread);
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

bool tac_thread_io_priority_set(uint16_t io_priority)
{
    return syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, (int)io_priority) == 0;
}

struct io_priority_check {
    uint16_t io_priority;
    int      os_error;
};

static void *io_priority_main(void *argument)
{
    struct io_priority_check *check = argument;

    check->os_error = tac_thread_io_priority_set(check->io_priority) ? 0 : errno;
    return NULL;
}

/* In a thread that ends at once: the caller's own priority stays. */
int tac_thread_io_priority_check(uint16_t io_priority, struct tac_error *error)
{
    struct io_priority_check check = {.io_priority = io_priority};
    pthread_t                thread;

    if (tac_thread_start(&thread, "tac-check", io_priority_main, &check, error) != TACTUS_OK) {
        return error->code;
    }
    pthread_join(thread, NULL);
    if (check.os_error != 0) {
        return tac_error_set(error, TACTUS_EOPTION,
                             "io_priority: the system refuses it (%s); leave it normal",
                             strerror(check.os_error));
    }
    return TACTUS_OK;
}
