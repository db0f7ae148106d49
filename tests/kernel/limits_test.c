/* SPDX-License-Identifier: Apache-2.0 */
/* Limits of the process: descriptors, memory, locked memory, the size of files. An open that cannot
 * be finished says why and leaves nothing behind; a store that meets a limit later stops writing
 * with the first cause, and is as it was at its last checkpoint. */
#define _GNU_SOURCE 1

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/units.h"
#include "stages/storage_file.h"
#include "tests/lib/child.h"
#include "tests/lib/sequence.h"
#include "tests/lib/tap.h"

#define OPS (20000 / SEQUENCE_SLOWNESS)

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

static char path[512];

static uint32_t descriptors_count(void)
{
    DIR     *directory = opendir("/proc/self/fd");
    uint32_t count = 0;

    while (directory != NULL && readdir(directory) != NULL) {
        count++;
    }
    closedir(directory);
    return count;
}

/* Pages of address space. */
static uint64_t address_space_pages(void)
{
    FILE              *file = fopen("/proc/self/statm", "re");
    unsigned long long pages = 0;

    if (file == NULL || fscanf(file, "%llu", &pages) != 1) {
        pages = 0;
    }
    if (file != NULL) {
        fclose(file);
    }
    return pages;
}

static int store_make(const struct mode *mode, struct tactus_options *options)
{
    sequence_options(options, mode->backend, mode->threads);
    return tactus_create(path, options);
}

/* ---- descriptors ---------------------------------------------------------------------------- */

static bool limit_set(int resource, rlim_t value)
{
    struct rlimit limit;

    if (getrlimit(resource, &limit) != 0) {
        return false;
    }
    limit.rlim_cur = value;
    return setrlimit(resource, &limit) == 0;
}

/* One more descriptor each time, until it opens and works. */
static int child_descriptors(const void *context)
{
    const struct mode    *mode = context;
    struct tactus_options options;
    struct tactus        *store = NULL;
    uint32_t              before, refused = 0;
    int                   code = TACTUS_EIO;

    CHECK(store_make(mode, &options) == TACTUS_OK);
    before = descriptors_count();
    for (rlim_t limit = 0; code != TACTUS_OK && limit < 200; limit++) {
        CHECK(limit_set(RLIMIT_NOFILE, limit));
        code = tactus_open(path, &options, &store);
        CHECK(limit_set(RLIMIT_NOFILE, 1000));
        if (code == TACTUS_OK) {
            break;
        }
        CHECK(code == TACTUS_EIO && store == NULL);
        CHECK(strstr(tactus_message(), "oo many open files") != NULL);
        CHECK(descriptors_count() == before);
        refused++;
    }
    CHECK(code == TACTUS_OK && refused >= 4);
    CHECK(sequence_run(store, OPS / 8) == TACTUS_OK && sequence_is_held(store));
    CHECK(sequence_close(store) == TACTUS_OK);
    CHECK(descriptors_count() == before);
    return 0;
}

/* A create that fails leaves no file. */
static int child_create_without_descriptors(const void *context)
{
    const struct mode    *mode = context;
    struct tactus_options options;
    int                   code = TACTUS_EIO;

    sequence_options(&options, mode->backend, mode->threads);
    for (rlim_t limit = 0; code != TACTUS_OK && limit < 100; limit++) {
        CHECK(limit_set(RLIMIT_NOFILE, limit));
        code = tactus_create(path, &options);
        CHECK(code == TACTUS_OK || code == TACTUS_EIO);
        CHECK((access(path, F_OK) == 0) == (code == TACTUS_OK));
        CHECK(code == TACTUS_OK || strstr(tactus_message(), "oo many open files") != NULL);
    }
    CHECK(code == TACTUS_OK);
    return 0;
}

/* ---- memory --------------------------------------------------------------------------------- */

/* A little more address space each time, until it opens. Every step of the open is met on the way:
 * each says that memory is what it lacks, and gives back all that it had. */
static int child_address_space(const void *context)
{
    const struct mode    *mode = context;
    struct tactus_options options;
    struct tactus        *store = NULL;
    uint64_t              page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t              low, step = 512 * TAC_KIB;
    uint32_t              descriptors, refused = 0;
    int                   code = TACTUS_ENOMEM;

    CHECK(store_make(mode, &options) == TACTUS_OK);
    low = address_space_pages() * page_bytes;
    descriptors = descriptors_count();
    for (uint64_t more = 0; code != TACTUS_OK && more < TAC_GIB; more += step) {
        CHECK(limit_set(RLIMIT_AS, low + more));
        code = tactus_open(path, &options, &store);
        CHECK(limit_set(RLIMIT_AS, RLIM_INFINITY));
        if (code == TACTUS_OK) {
            break;
        }
        CHECK(code == TACTUS_ENOMEM && store == NULL);
        CHECK(strstr(tactus_message(), "memory") != NULL ||
              strstr(tactus_message(), "thread") != NULL);
        CHECK(descriptors_count() == descriptors);
        refused++;
    }
    CHECK(code == TACTUS_OK && refused > 20);
    CHECK(sequence_run(store, OPS / 8) == TACTUS_OK && sequence_is_held(store));
    CHECK(sequence_close(store) == TACTUS_OK);
    return 0;
}

/* None of the library's memory is locked, and rings are as small as the depth asks for. */
static int child_locked_memory(const void *context)
{
    const struct mode    *mode = context;
    struct rlimit         none = {0};
    struct tactus_options options;
    struct tactus        *store;
    int                   code;

    CHECK(setrlimit(RLIMIT_MEMLOCK, &none) == 0);
    sequence_options(&options, mode->backend, mode->threads);
    code = tactus_create(path, &options);
    if (code == TACTUS_ENOMEM) { /* Kernels before 5.12 count rings as locked memory */
        CHECK(mode->backend == TACTUS_BACKEND_IO_URING);
        CHECK(strstr(tactus_message(), "ulimit -l") != NULL);
        CHECK(access(path, F_OK) != 0);
        return 0;
    }
    CHECK(code == TACTUS_OK && tactus_open(path, &options, &store) == TACTUS_OK);
    CHECK(sequence_run(store, OPS / 8) == TACTUS_OK && sequence_is_held(store));
    CHECK(sequence_close(store) == TACTUS_OK);
    return 0;
}

/* ---- the size of files ---------------------------------------------------------------------- */

/* With the signal as the host has it: by default it would end the process. The file is never made
 * larger than the limit, so that the kernel has no reason to send it. */
static int child_create_beyond_limit(const void *context)
{
    const struct mode    *mode = context;
    struct tactus_options options;

    CHECK(signal(SIGXFSZ, SIG_DFL) != SIG_ERR && limit_set(RLIMIT_FSIZE, TAC_MIB));
    CHECK(store_make(mode, &options) == TACTUS_EFULL);
    CHECK(strstr(tactus_message(), "File too large") != NULL);
    CHECK(strstr(tactus_message(), "ulimit -f") != NULL);
    CHECK(access(path, F_OK) != 0);
    return 0;
}

static bool is_first_cause(const char *text) { return strstr(tactus_message(), text) != NULL; }

/* A new file has 4 MiB. It may grow to 6 MiB, which is not enough for a checkpoint. */
static int child_growth_beyond_limit(const void *context)
{
    const struct mode    *mode = context;
    struct tactus_options options;
    struct tactus        *store;
    uint64_t              durable;
    uint8_t               value[2048];
    int                   code = TACTUS_OK;

    CHECK(store_make(mode, &options) == TACTUS_OK);
    CHECK(signal(SIGXFSZ, SIG_DFL) != SIG_ERR && limit_set(RLIMIT_FSIZE, 6 * TAC_MIB));
    CHECK(tactus_open(path, &options, &store) == TACTUS_OK);
    code = sequence_run(store, OPS);
    CHECK(code == TACTUS_EPOISONED && is_first_cause("cannot grow"));
    CHECK(is_first_cause("File too large"));
    CHECK(tactus_checkpoint(store) == TACTUS_EPOISONED && is_first_cause("cannot grow"));
    CHECK(tactus_get(store, 0, "x", 1, value, sizeof value, NULL) != TACTUS_EPOISONED);
    durable = tactus_durable_op(store);
    CHECK(tactus_close(store) == TACTUS_EPOISONED);
    CHECK(limit_set(RLIMIT_FSIZE, RLIM_INFINITY));
    CHECK(tactus_open(path, &options, &store) == TACTUS_OK);
    CHECK(tactus_last_op(store) >= durable && sequence_is_held(store));
    CHECK(sequence_run(store, OPS) == TACTUS_OK && sequence_is_held(store));
    CHECK(sequence_close(store) == TACTUS_OK);
    return 0;
}

/* The file is larger than the limit, which came later: growth has no part in it, writes fail. */
static int child_writes_beyond_limit(const void *context)
{
    const struct mode    *mode = context;
    struct tactus_options options;
    struct tactus        *store;
    uint64_t              durable, op;
    int                   code;

    CHECK(store_make(mode, &options) == TACTUS_OK);
    CHECK(tactus_open(path, &options, &store) == TACTUS_OK);
    CHECK(sequence_run(store, OPS) == TACTUS_OK);
    /* Threads of the store have the signal blocked. Without threads the caller writes. */
    CHECK(signal(SIGXFSZ, mode->threads > 0 ? SIG_DFL : SIG_IGN) != SIG_ERR);
    CHECK(limit_set(RLIMIT_FSIZE, 5 * 16 * TAC_KIB + 512));
    code = sequence_run(store, 2 * OPS);
    CHECK(code == TACTUS_EPOISONED && is_first_cause("File too large"));
    CHECK(sequence_is_held(store)); /* All that was accepted can be read */
    durable = tactus_durable_op(store);
    op = tactus_last_op(store);
    CHECK(durable <= op && tactus_close(store) == TACTUS_EPOISONED);
    CHECK(limit_set(RLIMIT_FSIZE, RLIM_INFINITY));
    CHECK(tactus_open(path, &options, &store) == TACTUS_OK);
    /* The checkpoint that failed may be found by the one copy of its superblock that was written. */
    CHECK(tactus_last_op(store) >= durable && tactus_last_op(store) <= op);
    CHECK(sequence_is_held(store));
    CHECK(sequence_is_sound(store) && sequence_close(store) == TACTUS_OK);
    return 0;
}

/* ---- main ----------------------------------------------------------------------------------- */

static void mode_check(child_fn *body, const struct mode *mode, const char *text)
{
    child_check(body, mode, "%s: %s", mode->name, text);
    (void)unlink(path);
}

static void modes_check(const struct mode *mode)
{
    const char *instrumented = getenv("TACTUS_INSTRUMENTED");

    mode_check(child_descriptors, mode, "an open without descriptors is refused and leaks none");
    mode_check(child_create_without_descriptors, mode, "a create without descriptors leaves none");
    if (instrumented != NULL && strcmp(instrumented, "yes") == 0) {
        tap_skip("a sanitizer needs address space of its own");
    } else {
        mode_check(child_address_space, mode, "an open without memory is refused, at every step");
    }
    mode_check(child_locked_memory, mode, "works with no memory to lock");
    mode_check(child_create_beyond_limit, mode,
               "a create beyond the limit on files leaves no file, and sends no signal");
    mode_check(child_growth_beyond_limit, mode,
               "growth beyond the limit stops the writing, sends no signal, loses nothing durable");
    mode_check(child_writes_beyond_limit, mode,
               "writes beyond a limit that came later stop the writing and end no thread");
}

int main(void)
{
    const char *base = getenv("TMPDIR");
    bool        has_uring = tac_storage_uring_probe(NULL) == TACTUS_OK;

    tap_plan(0);
    snprintf(path, sizeof path, "%.400s/limits-%ld", base != NULL ? base : P_tmpdir,
             (long)getpid());
    for (uint32_t i = 0; i < TAC_ARRAY_COUNT(modes); i++) {
        if (modes[i].backend == TACTUS_BACKEND_IO_URING && !has_uring) {
            tap_skip("io_uring cannot be used here");
        } else {
            modes_check(&modes[i]);
        }
    }
    return tap_done();
}
