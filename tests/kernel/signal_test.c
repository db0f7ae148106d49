/* SPDX-License-Identifier: Apache-2.0 */
/* Signals: a storm of them on the writing thread interrupts every system call that can be, and
 * changes nothing; the threads of a store take none, and have the priority that was asked for. */
#define _GNU_SOURCE 1

#include <dirent.h>
#include <errno.h>
#include <linux/ioprio.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/units.h"
#include "stages/storage_file.h"
#include "tests/lib/child.h"
#include "tests/lib/sequence.h"
#include "tests/lib/tap.h"

#define OPS (10000 / SEQUENCE_SLOWNESS)
#define STORM_NS 300000

struct mode {
    const char         *name;
    enum tactus_backend backend;
    uint32_t            threads;
    bool                direct_io;
};

static const struct mode modes[] = {
    {"io_uring, threads", TACTUS_BACKEND_IO_URING, 2, true},
    {"io_uring, no threads", TACTUS_BACKEND_IO_URING, 0, true},
    {"io_uring, buffered, no threads", TACTUS_BACKEND_IO_URING, 0, false},
    {"posix, threads", TACTUS_BACKEND_POSIX, 2, true},
    {"posix, no threads", TACTUS_BACKEND_POSIX, 0, true},
    {"posix, buffered, no threads", TACTUS_BACKEND_POSIX, 0, false},
};

static char path[512];

static pid_t                 writer; /* The thread that signals are for */
static volatile sig_atomic_t taken, taken_elsewhere;

static void signal_take(int number)
{
    (void)number;
    taken = taken + 1;
    if (syscall(SYS_gettid) != writer) {
        taken_elsewhere = taken_elsewhere + 1;
    }
}

/* A handler without SA_RESTART, so that whatever can be interrupted is, and a timer for this
 * thread. */
static bool storm_begin(void)
{
    struct sigaction  action = {.sa_handler = signal_take};
    struct sigevent   event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1};
    struct itimerspec often = {{.tv_nsec = STORM_NS}, {.tv_nsec = STORM_NS}};
    timer_t           timer;

    writer = (pid_t)syscall(SYS_gettid);
    event._sigev_un._tid = writer;
    return sigaction(SIGUSR1, &action, NULL) == 0 &&
           timer_create(CLOCK_MONOTONIC, &event, &timer) == 0 &&
           timer_settime(timer, 0, &often, NULL) == 0;
}

static int child_storm(const void *context)
{
    const struct mode    *mode = context;
    struct tactus_options options;
    uint8_t               calm[16], stormy[16];

    sequence_options(&options, mode->backend, mode->threads);
    options.direct_io = mode->direct_io;
    CHECK(sequence_live(path, &options, OPS, calm) == TACTUS_OK);
    CHECK(storm_begin());
    CHECK(sequence_live(path, &options, OPS, stormy) == TACTUS_OK);
    CHECK(memcmp(calm, stormy, sizeof calm) == 0);
    CHECK(taken > 20 && taken_elsewhere == 0);
    return 0;
}

/* ---- the store's threads -------------------------------------------------------------------- */

#define TASKS_MAX 64

/* Bits of the signals that a thread has blocked; its name in ret_name. */
static uint64_t task_blocked(const char *task, char ret_name[32])
{
    char               file_name[300], line[256];
    unsigned long long blocked = 0;
    FILE              *file;

    snprintf(file_name, sizeof file_name, "/proc/self/task/%s/status", task);
    file = fopen(file_name, "re");
    if (file == NULL) {
        return 0;
    }
    while (fgets(line, sizeof line, file) != NULL) {
        (void)sscanf(line, "Name: %31s", ret_name);
        (void)sscanf(line, "SigBlk: %llx", &blocked);
    }
    fclose(file);
    return blocked;
}

/* All that can be blocked: not SIGKILL and SIGSTOP, nor the two that the C library keeps. */
static uint64_t all_signals(void)
{
    return ~((uint64_t)1 << (SIGKILL - 1) | (uint64_t)1 << (SIGSTOP - 1) | (uint64_t)3 << 31);
}

static int threads_check(uint32_t *ret_count)
{
    DIR           *directory = opendir("/proc/self/task");
    struct dirent *entry;

    *ret_count = 0;
    CHECK(directory != NULL);
    while ((entry = readdir(directory)) != NULL) {
        char     name[32] = "";
        uint64_t blocked = task_blocked(entry->d_name, name);

        if (strncmp(name, "tac-", 4) == 0) {
            (*ret_count)++;
            CHECK((blocked & all_signals()) == all_signals());
        }
    }
    closedir(directory);
    return 0;
}

/* A signal for the process that the application's only thread has blocked: the kernel would give it
 * to any thread that has not. */
static int child_threads(const void *context)
{
    const struct mode    *mode = context;
    struct sigaction      action = {.sa_handler = signal_take};
    struct tactus_options options;
    struct tactus        *store;
    sigset_t              set, pending;
    uint32_t              count;

    sequence_options(&options, mode->backend, mode->threads);
    CHECK(tactus_create(path, &options) == TACTUS_OK);
    CHECK(tactus_open(path, &options, &store) == TACTUS_OK);
    CHECK(sequence_run(store, 2000) == TACTUS_OK);
    CHECK(threads_check(&count) == 0 && count == (mode->threads > 0 ? 3 * mode->threads + 1 : 0));
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    CHECK(sigaction(SIGUSR2, &action, NULL) == 0 && sigprocmask(SIG_BLOCK, &set, NULL) == 0);
    for (uint32_t i = 0; i < 50; i++) {
        CHECK(kill(getpid(), SIGUSR2) == 0);
        CHECK(sequence_run(store, tactus_last_op(store) + 50) == TACTUS_OK);
    }
    CHECK(taken == 0 && sigpending(&pending) == 0 && sigismember(&pending, SIGUSR2) == 1);
    CHECK(sequence_is_held(store) && tactus_close(store) == TACTUS_OK);
    return 0;
}

/* The application's own mask is as it was. */
static int child_mask(const void *context)
{
    const struct mode    *mode = context;
    struct tactus_options options;
    struct tactus        *store;
    sigset_t              before, after;

    sequence_options(&options, mode->backend, mode->threads);
    CHECK(tactus_create(path, &options) == TACTUS_OK);
    CHECK(sigprocmask(SIG_BLOCK, NULL, &before) == 0);
    CHECK(tactus_open(path, &options, &store) == TACTUS_OK);
    CHECK(sigprocmask(SIG_BLOCK, NULL, &after) == 0);
    for (int number = 1; number <= SIGRTMAX; number++) {
        CHECK(sigismember(&before, number) == sigismember(&after, number));
    }
    CHECK(tactus_close(store) == TACTUS_OK);
    return 0;
}

/* How many stage threads the system runs only when nobody else wants a processor, and how many that
 * do not interrupt anybody; no other ones. */
static int priorities_count(uint32_t *ret_idle, uint32_t *ret_normal)
{
    DIR           *directory = opendir("/proc/self/task");
    struct dirent *entry;

    *ret_idle = *ret_normal = 0;
    CHECK(directory != NULL);
    while ((entry = readdir(directory)) != NULL) {
        char name[32] = "";

        (void)task_blocked(entry->d_name, name);
        if (strncmp(name, "tac-", 4) == 0) {
            int policy = sched_getscheduler((pid_t)atol(entry->d_name));

            CHECK(policy == SCHED_IDLE || policy == SCHED_BATCH);
            *ret_idle += policy == SCHED_IDLE;
            *ret_normal += policy == SCHED_BATCH;
        }
    }
    closedir(directory);
    return 0;
}

/* Stage threads of a store that is to wait for idle processors do, and get its work done; nobody
 * else's priority changes, nor those of a later open. */
static int child_priority(const void *context)
{
    const struct mode       *mode = context;
    const struct sched_param none = {.sched_priority = 0};
    struct tactus_options    options;
    struct tactus           *store;
    uint32_t                 idle, normal;

    /* Whatever the tests are run under: threads take over another policy than this one. */
    CHECK(sched_setscheduler(0, SCHED_OTHER, &none) == 0);
    sequence_options(&options, mode->backend, mode->threads);
    options.threads_priority = TACTUS_PRIORITY_IDLE;
    CHECK(tactus_create(path, &options) == TACTUS_OK);
    CHECK(tactus_open(path, &options, &store) == TACTUS_OK);
    CHECK(priorities_count(&idle, &normal) == 0 && idle == 3 * mode->threads + 1 && normal == 0);
    CHECK(sched_getscheduler(0) == SCHED_OTHER);
    CHECK(sequence_run(store, 2000) == TACTUS_OK && sequence_is_held(store));
    CHECK(tactus_close(store) == TACTUS_OK);
    options.threads_priority = TACTUS_PRIORITY_NORMAL;
    CHECK(tactus_open(path, &options, &store) == TACTUS_OK);
    CHECK(priorities_count(&idle, &normal) == 0 && idle == 0 && normal == 3 * mode->threads + 1);
    CHECK(tactus_close(store) == TACTUS_OK);
    return 0;
}

/* How many threads of the store have this priority of I/O, and how many another one. */
static int io_priorities_count(int io_priority, uint32_t *ret_same, uint32_t *ret_other)
{
    DIR           *directory = opendir("/proc/self/task");
    struct dirent *entry;

    *ret_same = *ret_other = 0;
    CHECK(directory != NULL);
    while ((entry = readdir(directory)) != NULL) {
        char name[32] = "";

        (void)task_blocked(entry->d_name, name);
        if (strncmp(name, "tac-", 4) == 0) {
            bool is_same =
                syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, atoi(entry->d_name)) == io_priority;

            *ret_same += is_same;
            *ret_other += !is_same;
        }
    }
    closedir(directory);
    return 0;
}

/* The same when all threads have begun: each sets its priority then, and nobody waits for it. */
static int io_priorities_wait(int io_priority, uint32_t thread_count, uint32_t *ret_same,
                              uint32_t *ret_other)
{
    *ret_same = 0;
    for (uint32_t i = 0; i < 10000 && *ret_same < thread_count; i++) {
        CHECK(io_priorities_count(io_priority, ret_same, ret_other) == 0);
        CHECK(usleep(1000) == 0);
    }
    return 0;
}

/* The same for the priority of I/O, which the caller keeps. */
static int child_io_priority(const void *context)
{
    const struct mode    *mode = context;
    struct tactus_options options;
    struct tactus        *store;
    int                   own = (int)syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, 0);
    int lowest[] = {IOPRIO_PRIO_VALUE(IOPRIO_CLASS_BE, 7), IOPRIO_PRIO_VALUE(IOPRIO_CLASS_IDLE, 0)};
    uint32_t same, other;

    sequence_options(&options, mode->backend, mode->threads);
    CHECK(tactus_create(path, &options) == TACTUS_OK);
    for (uint32_t i = 0; i < 2; i++) {
        options.io_priority = i == 0 ? TACTUS_IO_PRIORITY_LOW : TACTUS_IO_PRIORITY_IDLE;
        CHECK(tactus_open(path, &options, &store) == TACTUS_OK);
        CHECK(sequence_run(store, tactus_last_op(store) + 2000) == TACTUS_OK);
        CHECK(io_priorities_wait(lowest[i], 3 * mode->threads + 1, &same, &other) == 0);
        CHECK(same == 3 * mode->threads + 1 && other == 0);
        CHECK(syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, 0) == own);
        CHECK(sequence_close(store) == TACTUS_OK);
    }
    if (!child_filter_deny(__NR_ioprio_set, EPERM)) {
        return child_skip("no filter of system calls here");
    }
    CHECK(tactus_open(path, &options, &store) == TACTUS_EOPTION);
    CHECK(strstr(tactus_message(), "io_priority") != NULL);
    return 0;
}

int main(void)
{
    const char *base = getenv("TMPDIR");
    bool        has_uring = tac_storage_uring_probe(NULL) == TACTUS_OK;

    tap_plan(0);
    snprintf(path, sizeof path, "%.400s/signal-%ld", base != NULL ? base : P_tmpdir,
             (long)getpid());
    for (uint32_t i = 0; i < TAC_ARRAY_COUNT(modes); i++) {
        const struct mode *mode = &modes[i];

        if (mode->backend == TACTUS_BACKEND_IO_URING && !has_uring) {
            tap_skip("io_uring cannot be used here");
            continue;
        }
        child_check(child_storm, mode, "%s: a storm of signals changes nothing", mode->name);
        (void)unlink(path);
        child_check(child_threads, mode, "%s: the store's threads take no signal", mode->name);
        (void)unlink(path);
    }
    child_check(child_mask, &modes[3], "an open leaves the caller's signal mask as it was");
    (void)unlink(path);
    child_check(child_priority, &modes[3], "stage threads have the priority that was asked for");
    (void)unlink(path);
    for (uint32_t i = 0; i < TAC_ARRAY_COUNT(modes); i++) {
        if (modes[i].threads == 0 || (modes[i].backend == TACTUS_BACKEND_IO_URING && !has_uring)) {
            continue;
        }
        child_check(child_io_priority, &modes[i], "%s: so has their I/O", modes[i].name);
        (void)unlink(path);
    }
    return tap_done();
}
