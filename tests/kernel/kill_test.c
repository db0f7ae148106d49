/* SPDX-License-Identifier: Apache-2.0 */
/* A process that writes is killed at a random moment; what is in the file must be the state as of
 * some op between the last one that it had been told is safe and the last one that it began.
 *
 * A kill leaves the system's cache as it was: this shows the order of the writes of real backends,
 * the lock of a process that died, and recovery on a real file. Lost power is the simulator's.
 *
 * KILLS=n rounds for each variant, SEED=n another choice of moments. */
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/prng.h"
#include "base/units.h"
#include "stages/storage_file.h"
#include "tests/lib/child.h"
#include "tests/lib/sequence.h"
#include "tests/lib/tap.h"

#define KILLS_DEFAULT 10
#define KILLS_LONG 100
#define LIFE_US_MAX 300000

/* What the child says as it goes; shared, each word written whole. */
struct report {
    volatile uint64_t begun;   /* The op that is under way, or was last */
    volatile uint64_t done;    /* The last op that returned */
    volatile uint64_t durable; /* What tactus_durable_op said last */
    volatile bool     is_open;
    volatile int      result; /* Of a child that ended by itself */
};

struct variant {
    const char         *name;
    enum tactus_backend backend;
    uint32_t            threads;
    void (*set)(struct tactus_options *options, uint32_t round); /* What else it sets; or NULL */
    uint64_t (*safe_op)(const struct report *report);            /* What must survive */
};

static uint64_t durable_op(const struct report *report) { return report->durable; }

static void buffered_now_and_then(struct tactus_options *options, uint32_t round)
{
    options->direct_io = round % 3 != 0;
}

/* With a sync in every write all that returned survives. */
static uint64_t done_op(const struct report *report) { return report->done; }

static void log_sync(struct tactus_options *options, uint32_t round)
{
    buffered_now_and_then(options, round);
    options->log = TACTUS_LOG_SYNC;
}

static void log_interval(struct tactus_options *options, uint32_t round)
{
    buffered_now_and_then(options, round);
    options->log = TACTUS_LOG_INTERVAL;
    options->log_interval_ms = 1 + round % 20;
}

static const struct variant variants[] = {
    {"io_uring, threads", TACTUS_BACKEND_IO_URING, 2, buffered_now_and_then, durable_op},
    {"io_uring, no threads", TACTUS_BACKEND_IO_URING, 0, buffered_now_and_then, durable_op},
    {"posix, threads", TACTUS_BACKEND_POSIX, 2, buffered_now_and_then, durable_op},
    {"posix, no threads", TACTUS_BACKEND_POSIX, 0, buffered_now_and_then, durable_op},
    {"io_uring, threads, log sync", TACTUS_BACKEND_IO_URING, 2, log_sync, done_op},
    {"posix, no threads, log sync", TACTUS_BACKEND_POSIX, 0, log_sync, done_op},
    {"io_uring, threads, log interval", TACTUS_BACKEND_IO_URING, 2, log_interval, durable_op},
    {"posix, no threads, log interval", TACTUS_BACKEND_POSIX, 0, log_interval, durable_op},
};

/* One variant's file, from round to round. */
struct course {
    const struct variant *variant;
    struct report        *report;
    struct sequence_model model; /* As of the last reopen */
    char                  path[512];
    uint64_t              kills_in_open, ops_lost, ops_kept;
};

static void options_make(const struct course *course, uint32_t round,
                         struct tactus_options *options)
{
    sequence_options(options, course->variant->backend, course->variant->threads);
    if (course->variant->set != NULL) {
        course->variant->set(options, round);
    }
}

static _Noreturn void writer_main(const struct course *course, uint32_t round)
{
    struct report        *report = course->report;
    struct tactus_options options;
    struct tactus        *store;

    options_make(course, round, &options);
    report->result = tactus_open(course->path, &options, &store);
    report->is_open = report->result == TACTUS_OK;
    while (report->result == TACTUS_OK) {
        report->begun = tactus_last_op(store) + 1;
        report->result = sequence_step(store);
        report->done = tactus_last_op(store);
        report->durable = tactus_durable_op(store);
    }
    fprintf(stderr, "# the writer: %s\n", tactus_message());
    _exit(1);
}

/* Short lives are as frequent as long ones: most that is delicate happens at the beginning. */
static uint32_t life_us(struct tac_prng *prng)
{
    double exponent = (double)tac_prng_below(prng, 1000000) / 1000000.0;

    return (uint32_t)pow(LIFE_US_MAX, exponent);
}

/* From when a life is counted: of four rounds, one from the fork, so that it may end in the open,
 * two from the end of the open, and one from the next op that became durable, so that on the slowest
 * machine something is. */
static bool life_has_begun(const struct course *course, uint32_t round)
{
    switch (round % 4) {
    case 0:
        return true;
    case 3:
        return course->report->durable > course->model.op;
    default:
        return course->report->is_open;
    }
}

/* Returns the wait status. */
static int round_kill(struct course *course, uint32_t round, struct tac_prng *prng)
{
    struct report *report = course->report;
    uint32_t       life = life_us(prng);
    int            status = -1;
    pid_t          child;

    *report = (struct report){.begun = course->model.op, .durable = course->model.op};
    fflush(stdout);
    child = fork();
    if (child == 0) {
        writer_main(course, round);
    }
    while (!life_has_begun(course, round)) {
        if (waitpid(child, &status, WNOHANG) != 0) {
            return status; /* It ended by itself */
        }
        usleep(200);
    }
    usleep(life);
    kill(child, SIGKILL);
    (void)waitpid(child, &status, 0);
    course->kills_in_open += !report->is_open;
    return status;
}

/* Opens the file as another process would, without a close: the next round starts from the same
 * checkpoint. */
static bool round_check(struct course *course, uint32_t round)
{
    const struct report  *report = course->report;
    uint64_t              safe = course->variant->safe_op(report);
    struct tactus_options options;
    struct tactus        *store;
    uint64_t              op;
    bool                  is_right;

    options_make(course, round + 1, &options);
    if (tactus_open(course->path, &options, &store) != TACTUS_OK) {
        tap_diag("open: %s", tactus_message());
        return false;
    }
    op = tactus_last_op(store);
    is_right = op >= safe && op <= report->begun && op >= course->model.op;
    if (!is_right) {
        tap_diag("op %llu after the kill; safe was %llu, begun %llu", (unsigned long long)op,
                 (unsigned long long)safe, (unsigned long long)report->begun);
    }
    if (op >= course->model.op) {
        course->ops_kept += op - course->model.op;
        course->ops_lost += report->done > op ? report->done - op : 0;
        sequence_model_advance(&course->model, op);
    }
    is_right =
        is_right && sequence_model_is_held(&course->model, store) && sequence_is_sound(store);
    tactus_abandon(store);
    return is_right;
}

/* The file goes on as if nothing had been: a thousand ops more, and a close. */
static bool file_goes_on(struct course *course)
{
    struct tactus_options options;
    struct tactus        *store;
    bool                  is_right;

    options_make(course, 0, &options);
    if (tactus_open(course->path, &options, &store) != TACTUS_OK) {
        return false;
    }
    is_right =
        sequence_run(store, tactus_last_op(store) + 1000) == TACTUS_OK && sequence_is_held(store);
    is_right = sequence_close(store) == TACTUS_OK && is_right;
    if (!is_right || tactus_open(course->path, &options, &store) != TACTUS_OK) {
        return false;
    }
    is_right = sequence_is_held(store) && sequence_is_sound(store);
    tactus_abandon(store);
    return is_right;
}

static void variant_check(const struct variant *variant, uint32_t kills, struct tac_prng *prng)
{
    const char           *directory = getenv("TMPDIR");
    struct course        *course = calloc(1, sizeof *course);
    struct tactus_options options;
    char                  log_path[520];
    uint32_t              right = 0;

    tac_assert(course != NULL);
    course->variant = variant;
    course->report = child_share(sizeof *course->report);
    snprintf(course->path, sizeof course->path, "%.400s/kill-%ld",
             directory != NULL ? directory : P_tmpdir, (long)getpid());
    options_make(course, 0, &options);
    if (tactus_create(course->path, &options) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
    for (uint32_t round = 0; round < kills; round++) {
        int status = round_kill(course, round, prng);

        if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) {
            tap_diag("round %u: wait status 0x%x, result %d", round, status,
                     course->report->result);
        } else if (round_check(course, round)) {
            right++;
        } else {
            tap_diag("round %u: see above", round);
        }
    }
    tap_ok(right == kills, "%s: after each of %u kills the store is whole, at a safe op or later",
           variant->name, kills);
    tap_diag("%llu kills in the open, %llu ops kept, %llu lost",
             (unsigned long long)course->kills_in_open, (unsigned long long)course->ops_kept,
             (unsigned long long)course->ops_lost);
    tap_ok(course->ops_kept > 0 || kills < 4, "%s: some of what was written survived",
           variant->name);
    tap_ok(file_goes_on(course), "%s: then the file goes on as any other", variant->name);
    (void)unlink(course->path);
    snprintf(log_path, sizeof log_path, "%s-wal", course->path);
    (void)unlink(log_path);
    free(course);
}

int main(void)
{
    struct tac_prng prng = {tap_seed()};
    const char     *text = getenv("KILLS");
    uint32_t        kills = getenv("LONG") != NULL ? KILLS_LONG : KILLS_DEFAULT;
    bool            has_uring = tac_storage_uring_probe(NULL) == TACTUS_OK;

    tap_plan(0);
    if (text != NULL && atoi(text) > 0) {
        kills = (uint32_t)atoi(text);
    }
    for (uint32_t i = 0; i < TAC_ARRAY_COUNT(variants); i++) {
        if (variants[i].backend == TACTUS_BACKEND_IO_URING && !has_uring) {
            tap_skip("io_uring cannot be used here");
        } else {
            variant_check(&variants[i], kills, &prng);
        }
    }
    return tap_done();
}
