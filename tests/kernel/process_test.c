/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of a store when its process closes it in the middle of its work, abandons it, exits
 * or becomes another program without closing it, is stopped for a while, or has little of the
 * processor. (Kills: kill_test. Forks: tests/unit/fork_test.) */
#define _GNU_SOURCE 1

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/prng.h"
#include "base/units.h"
#include "stages/storage_file.h"
#include "tests/lib/child.h"
#include "tests/lib/sequence.h"
#include "tests/lib/tap.h"

#define OPS (8000 / SEQUENCE_SLOWNESS)
#define CLOSES 6
#define ABANDONS 12
#define STOPS 5
#define STOP_US 100000

struct mode {
    const char         *name;
    enum tactus_backend backend;
    uint32_t            threads;
};

static const struct mode modes[] = {
    {"io_uring, threads", TACTUS_BACKEND_IO_URING, 2},
    {"io_uring, no threads", TACTUS_BACKEND_IO_URING, 0},
    {"posix, threads", TACTUS_BACKEND_POSIX, 2},
    {"posix, no threads", TACTUS_BACKEND_POSIX, 0},
};

static char     path[512];
static uint8_t  digest[16]; /* Of OPS ops, whatever happens on the way */
static uint64_t seed;

static int store_begin(const struct mode *mode, struct tactus_options *options,
                       struct tactus **ret_store)
{
    int result;

    sequence_options(options, mode->backend, mode->threads);
    result = tactus_create(path, options);
    return result != TACTUS_OK ? result : tactus_open(path, options, ret_store);
}

/* ---- close and abandon ---------------------------------------------------------------------- */

/* The close is the op after the last: the sequence has another one there, so that each round takes
 * a new store. */
static int child_close(const void *context)
{
    const struct mode     *mode = context;
    struct sequence_model *model = malloc(sizeof *model);
    struct tac_prng        prng = {seed};

    CHECK(model != NULL);
    for (uint32_t round = 0; round < CLOSES; round++) {
        uint64_t              ops = 2 + tac_prng_below(&prng, OPS);
        struct tactus_options options;
        struct tactus        *store;

        CHECK(store_begin(mode, &options, &store) == TACTUS_OK);
        CHECK(sequence_run(store, ops) == TACTUS_OK && tactus_last_op(store) == ops);
        CHECK(tactus_close(store) == TACTUS_OK);
        CHECK(tactus_open(path, &options, &store) == TACTUS_OK);
        CHECK(tactus_last_op(store) == ops + 1);
        memset(model, 0, sizeof *model);
        sequence_model_advance(model, ops);
        CHECK(sequence_model_is_held(model, store) && sequence_is_sound(store));
        tactus_abandon(store);
        CHECK(unlink(path) == 0);
    }
    return 0;
}

static int child_abandon(const void *context)
{
    const struct mode    *mode = context;
    struct tactus_options options;
    struct tactus        *store;
    struct tac_prng       prng = {seed};

    CHECK(store_begin(mode, &options, &store) == TACTUS_OK);
    for (uint32_t round = 0; round < ABANDONS; round++) {
        uint64_t durable,
            last = tactus_last_op(store) + tac_prng_below(&prng, 6000 / SEQUENCE_SLOWNESS);

        CHECK(sequence_run(store, last) == TACTUS_OK);
        durable = tactus_durable_op(store);
        tactus_abandon(store);
        CHECK(tactus_open(path, &options, &store) == TACTUS_OK);
        CHECK(tactus_last_op(store) >= durable && tactus_last_op(store) <= last);
        CHECK(sequence_is_held(store) && sequence_is_sound(store));
    }
    tactus_abandon(store);
    return 0;
}

/* ---- exit and exec -------------------------------------------------------------------------- */

struct farewell {
    const struct mode *mode;
    uint64_t          *durable; /* Shared */
    bool               is_exec;
};

/* In another program: argv is "reopen", the path. No descriptor of the store has come along. */
static int reopen_main(const char *path_of_store)
{
    DIR                  *directory = opendir("/proc/self/fd");
    struct tactus_options options;
    struct tactus        *store;
    struct dirent        *entry;

    CHECK(directory != NULL);
    while ((entry = readdir(directory)) != NULL) {
        char    name[300], target[600];
        ssize_t size;

        snprintf(name, sizeof name, "/proc/self/fd/%s", entry->d_name);
        size = readlink(name, target, sizeof target - 1);
        target[size < 0 ? 0 : size] = 0;
        CHECK(strcmp(target, path_of_store) != 0);
        CHECK(strstr(target, "io_uring") == NULL && strstr(target, "eventfd") == NULL);
    }
    closedir(directory);
    sequence_options(&options, TACTUS_BACKEND_AUTO, 1);
    CHECK(tactus_open(path_of_store, &options, &store) == TACTUS_OK);
    CHECK(sequence_is_held(store) && sequence_is_sound(store));
    CHECK(sequence_run(store, tactus_last_op(store) + 1000) == TACTUS_OK);
    CHECK(sequence_is_held(store));
    tactus_abandon(store);
    return 0;
}

static int child_leaves(const void *context)
{
    const struct farewell *farewell = context;
    struct tactus_options  options;
    struct tactus         *store;
    char *arguments[] = {(char *)(uintptr_t) "process_test", (char *)(uintptr_t) "reopen", path,
                         NULL};

    CHECK(store_begin(farewell->mode, &options, &store) == TACTUS_OK);
    CHECK(sequence_run(store, OPS) == TACTUS_OK);
    while (tactus_durable_op(store) == 0) {
        CHECK(sequence_step(store) == TACTUS_OK);
    }
    *farewell->durable = tactus_durable_op(store);
    if (!farewell->is_exec) {
        exit(0); /* With all that the C library does then */
    }
    execv("/proc/self/exe", arguments);
    return __LINE__;
}

static void leave_check(const struct mode *mode, bool is_exec)
{
    struct farewell       farewell = {mode, child_share(sizeof *farewell.durable), is_exec};
    struct tactus_options options;
    struct tactus        *store;
    int                   status = -1;
    bool                  is_right;
    pid_t                 child;

    fflush(stdout);
    child = fork();
    if (child == 0) {
        int line = child_leaves(&farewell);

        fprintf(stderr, "# line %d of the test: %s\n", line, tactus_message());
        _exit(1);
    }
    is_right = child > 0 && waitpid(child, &status, 0) == child && status == 0;
    sequence_options(&options, mode->backend, mode->threads);
    if (!is_right || tactus_open(path, &options, &store) != TACTUS_OK) {
        tap_diag("wait status 0x%x, %s", status, tactus_message());
        is_right = false;
    } else {
        is_right = tactus_last_op(store) >= *farewell.durable && *farewell.durable > 0 &&
                   sequence_is_held(store) && sequence_is_sound(store);
        tactus_abandon(store);
    }
    tap_ok(is_right, "%s: %s", mode->name,
           is_exec ? "another program in the process inherits nothing, and may open the store"
                   : "an exit without close leaves the last checkpoint");
    (void)unlink(path);
}

/* ---- little of the processor ---------------------------------------------------------------- */

static int digest_check(const struct mode *mode, uint32_t threads)
{
    struct tactus_options options;
    uint8_t               found[16];

    sequence_options(&options, mode->backend, mode->threads);
    options.threads_read = options.threads_merge = options.threads_write = threads;
    CHECK(sequence_live(path, &options, OPS, found) == TACTUS_OK);
    CHECK(memcmp(found, digest, sizeof digest) == 0);
    return 0;
}

static int child_nice(const void *context)
{
    const struct mode *mode = context;

    CHECK(nice(19) == 19);
    return digest_check(mode, mode->threads);
}

static int child_many_threads(const void *context) { return digest_check(context, 16); }

static int child_lives(const void *context)
{
    const struct mode *mode = context;

    return digest_check(mode, mode->threads);
}

/* All threads at once, wherever they are: time passes, and nothing in the engine measures it. */
static void stop_check(const struct mode *mode)
{
    uint32_t stops = 0;
    int      status = -1;
    pid_t    child;

    fflush(stdout);
    child = fork();
    if (child == 0) {
        alarm(300);
        _exit(child_lives(mode) == 0 ? 0 : 1);
    }
    while (stops < STOPS && waitpid(child, &status, WNOHANG) == 0) {
        usleep(STOP_US / 10);
        kill(child, SIGSTOP);
        usleep(STOP_US);
        kill(child, SIGCONT);
        stops++;
    }
    if (status == -1) {
        (void)waitpid(child, &status, 0);
    }
    tap_ok(status == 0, "%s: a process that is stopped again and again writes the same bytes",
           mode->name);
    tap_diag("stopped %u times, wait status 0x%x", stops, status);
    (void)unlink(path);
}

/* ---- main ----------------------------------------------------------------------------------- */

static void mode_check(const struct mode *mode)
{
    child_check(child_close, mode, "%s: a close in mid-beat loses nothing", mode->name);
    child_check(child_abandon, mode, "%s: an abandon in mid-beat leaves the last checkpoint",
                mode->name);
    (void)unlink(path);
    leave_check(mode, false);
    leave_check(mode, true);
    child_check(child_nice, mode, "%s: the same bytes at the lowest priority", mode->name);
    if (mode->threads > 0) {
        child_check(child_many_threads, mode, "%s: the same bytes with 16 threads a stage",
                    mode->name);
    }
    stop_check(mode);
}

int main(int argument_count, char **arguments)
{
    const char           *base = getenv("TMPDIR");
    bool                  has_uring = tac_storage_uring_probe(NULL) == TACTUS_OK;
    struct tactus_options options;

    if (argument_count == 3 && strcmp(arguments[1], "reopen") == 0) {
        int line = reopen_main(arguments[2]);

        if (line != 0) {
            fprintf(stderr, "# line %d of the test: %s\n", line, tactus_message());
        }
        return line != 0;
    }
    tap_plan(0);
    seed = tap_seed();
    snprintf(path, sizeof path, "%.400s/process-%ld", base != NULL ? base : P_tmpdir,
             (long)getpid());
    sequence_options(&options, TACTUS_BACKEND_POSIX, 0);
    tap_ok(sequence_live(path, &options, OPS, digest) == TACTUS_OK, "a store that is left alone");
    for (uint32_t i = 0; i < TAC_ARRAY_COUNT(modes); i++) {
        if (modes[i].backend == TACTUS_BACKEND_IO_URING && !has_uring) {
            tap_skip("io_uring cannot be used here");
        } else {
            mode_check(&modes[i]);
        }
    }
    return tap_done();
}
