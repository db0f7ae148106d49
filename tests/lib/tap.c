/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/tap.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TAP_TEXT_BYTES 1024
#define TAP_SEED_DEFAULT 20260

/* Guards all below and keeps a line of output whole. */
static pthread_mutex_t tap_mutex = PTHREAD_MUTEX_INITIALIZER;
static int             tap_planned_count = 0;
static int             tap_run_count = 0;
static int             tap_failed_count = 0;

/* The text becomes one line: TAP ends a test at the newline. A '#' would begin a directive, so
 * that a failing check named "… # skip" would count as skipped. */
static void tap_text_format(char text[TAP_TEXT_BYTES], const char *format, va_list arguments)
{
    vsnprintf(text, TAP_TEXT_BYTES, format, arguments);
    for (char *c = text; *c != 0; c++) {
        if (*c == '\n' || *c == '\r') {
            *c = ' ';
        } else if (*c == '#') {
            *c = '@';
        }
    }
}

void tap_plan(int n)
{
    pthread_mutex_lock(&tap_mutex);
    tap_planned_count = n;
    if (n > 0) {
        printf("1..%d\n", n);
        fflush(stdout);
    }
    pthread_mutex_unlock(&tap_mutex);
}

bool tap_ok(bool ok, const char *format, ...)
{
    char    text[TAP_TEXT_BYTES];
    va_list arguments;

    va_start(arguments, format);
    tap_text_format(text, format, arguments);
    va_end(arguments);

    pthread_mutex_lock(&tap_mutex);
    tap_run_count++;
    if (!ok) {
        tap_failed_count++;
    }
    printf("%sok %d - %s\n", ok ? "" : "not ", tap_run_count, text);
    fflush(stdout);
    pthread_mutex_unlock(&tap_mutex);
    return ok;
}

void tap_diag(const char *format, ...)
{
    char    text[4 * TAP_TEXT_BYTES];
    char   *rest = text;
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);

    pthread_mutex_lock(&tap_mutex);
    for (const char *line = strsep(&rest, "\n"); line != NULL; line = strsep(&rest, "\n")) {
        printf("# %s\n", line);
    }
    fflush(stdout);
    pthread_mutex_unlock(&tap_mutex);
}

void tap_skip(const char *reason)
{
    pthread_mutex_lock(&tap_mutex);
    tap_run_count++;
    printf("ok %d # SKIP %s\n", tap_run_count, reason);
    fflush(stdout);
    pthread_mutex_unlock(&tap_mutex);
}

_Noreturn void tap_bail(const char *format, ...)
{
    char    text[TAP_TEXT_BYTES];
    va_list arguments;

    va_start(arguments, format);
    tap_text_format(text, format, arguments);
    va_end(arguments);

    pthread_mutex_lock(&tap_mutex);
    printf("Bail out! %s\n", text);
    fflush(stdout);
    /* The mutex stays locked: no other thread may speak after a bail out. */
    _Exit(99);
}

int tap_done(void)
{
    bool passed;

    pthread_mutex_lock(&tap_mutex);
    if (tap_planned_count == 0) {
        tap_planned_count = tap_run_count;
        printf("1..%d\n", tap_planned_count);
    }
    if (tap_run_count != tap_planned_count) {
        printf("# planned %d checks but made %d\n", tap_planned_count, tap_run_count);
    }
    if (tap_failed_count > 0) {
        printf("# %d of %d checks failed\n", tap_failed_count, tap_run_count);
    }
    fflush(stdout);
    passed = tap_failed_count == 0 && tap_run_count > 0 && tap_run_count == tap_planned_count;
    pthread_mutex_unlock(&tap_mutex);
    return passed ? 0 : 1;
}

uint64_t tap_seed(void)
{
    const char *text = getenv("SEED");
    char       *end = NULL;
    uint64_t    seed = TAP_SEED_DEFAULT;

    if (text != NULL && *text != 0) {
        errno = 0;
        seed = strtoull(text, &end, 0);
        if (errno != 0 || *end != 0) {
            tap_bail("SEED is not a number: %s", text);
        }
    }
    pthread_mutex_lock(&tap_mutex);
    printf("# seed %llu\n", (unsigned long long)seed);
    fflush(stdout);
    pthread_mutex_unlock(&tap_mutex);
    return seed;
}
