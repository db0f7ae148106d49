/* SPDX-License-Identifier: Apache-2.0 */
/* Behaves as its argument says, mostly badly: tap_canary_test.sh checks that the harness
 * notices. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/tap.h"

#define THREADS 8
#define CHECKS_PER_THREAD 250

static void *thread_main(void *argument)
{
    for (int i = 0; i < CHECKS_PER_THREAD; i++) {
        tap_ok(true, "check %d of a thread", i);
        tap_diag("between two checks");
    }
    return argument;
}

static void threads_run(void)
{
    pthread_t threads[THREADS];

    for (int i = 0; i < THREADS; i++) {
        if (pthread_create(&threads[i], NULL, thread_main, NULL) != 0) {
            tap_bail("cannot start thread %d", i);
        }
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
}

int main(int argc, char **argv)
{
    const char *mode = argc == 2 ? argv[1] : "";

    if (strcmp(mode, "silent") == 0) {
        return 0;
    }
    if (strcmp(mode, "none") == 0) {
        tap_plan(0);
        return tap_done();
    }
    tap_plan(strcmp(mode, "few") == 0 ? 3 : 0);
    tap_ok(true, "the first check passes");
    if (strcmp(mode, "fail") == 0) {
        tap_ok(false, "this one fails # SKIP not");
    } else if (strcmp(mode, "skip") == 0) {
        tap_skip("cannot be made here");
    } else if (strcmp(mode, "bail") == 0) {
        tap_bail("nothing further");
    } else if (strcmp(mode, "crash") == 0) {
        abort();
    } else if (strcmp(mode, "exit") == 0) {
        return tap_done() + 1;
    } else if (strcmp(mode, "threads") == 0) {
        threads_run();
    } else if (strcmp(mode, "pass") != 0 && strcmp(mode, "few") != 0) {
        tap_bail("no such mode: '%s'", mode);
    }
    return tap_done();
}
