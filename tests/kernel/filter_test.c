/* SPDX-License-Identifier: Apache-2.0 */
/* io_uring where it is forbidden or missing, as containers and old kernels have it: the stores of
 * every backend are the same. (The storage by itself: tests/unit/storage_system_test.) */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/units.h"
#include "stages/storage_file.h"
#include "tests/lib/child.h"
#include "tests/lib/sequence.h"
#include "tests/lib/tap.h"

#define OPS 6000

static char    path[512];
static uint8_t digest[16]; /* Of a store made with the best that there is */

struct refusal {
    int         os_error;
    const char *text;
};

static int child_auto(const void *context)
{
    const struct refusal *refusal = context;
    struct tactus_options options;
    struct tactus_stats   stats;
    struct tactus        *store;
    uint8_t               found[16];

    if (!child_filter_deny(__NR_io_uring_setup, refusal->os_error)) {
        return child_skip("no filter of system calls here");
    }
    sequence_options(&options, TACTUS_BACKEND_AUTO, 2);
    CHECK(sequence_live(path, &options, OPS, found) == TACTUS_OK);
    CHECK(memcmp(found, digest, sizeof digest) == 0);
    CHECK(tactus_create(path, &options) == TACTUS_OK);
    CHECK(tactus_open(path, &options, &store) == TACTUS_OK);
    tactus_stat(store, &stats);
    CHECK(strcmp(stats.backend, "posix") == 0);
    CHECK(tactus_close(store) == TACTUS_OK);
    return 0;
}

static int child_asked_for(const void *context)
{
    const struct refusal *refusal = context;
    struct tactus_options options;
    struct tactus        *store = NULL;

    sequence_options(&options, TACTUS_BACKEND_POSIX, 0);
    CHECK(tactus_create(path, &options) == TACTUS_OK);
    if (!child_filter_deny(__NR_io_uring_setup, refusal->os_error)) {
        return child_skip("no filter of system calls here");
    }
    options.backend = TACTUS_BACKEND_IO_URING;
    CHECK(tactus_open(path, &options, &store) == TACTUS_EIO && store == NULL);
    CHECK(strstr(tactus_message(), refusal->text) != NULL);
    CHECK(strstr(tactus_message(), "the posix backend needs none") != NULL);
    CHECK(unlink(path) == 0 && tactus_create(path, &options) == TACTUS_EIO);
    CHECK(strstr(tactus_message(), refusal->text) != NULL && access(path, F_OK) != 0);
    return 0;
}

int main(void)
{
    static const struct refusal refusals[] = {{EPERM, "forbidden"}, {ENOSYS, "no io_uring"}};
    const char                 *base = getenv("TMPDIR");
    struct tactus_options       options;

    tap_plan(0);
    snprintf(path, sizeof path, "%.400s/filter-%ld", base != NULL ? base : P_tmpdir,
             (long)getpid());
    sequence_options(&options, TACTUS_BACKEND_AUTO, 2);
    tap_ok(sequence_live(path, &options, OPS, digest) == TACTUS_OK, "a store with what there is");
    for (uint32_t i = 0; i < TAC_ARRAY_COUNT(refusals); i++) {
        const char *name = strerror(refusals[i].os_error);

        child_check(child_auto, &refusals[i], "io_uring: %s: posix instead, the same digest", name);
        (void)unlink(path);
        child_check(child_asked_for, &refusals[i],
                    "io_uring: %s: an error where it is asked for by name, and no file", name);
        (void)unlink(path);
    }
    return tap_done();
}
