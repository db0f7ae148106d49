/* SPDX-License-Identifier: Apache-2.0 */
/* tap -- what a test program says to its harness: the Test Anything Protocol on standard output.
 *
 * One process is one test program: call tap_plan first, tap_ok once per check, and end main with
 * `return tap_done();`. Any thread may call any function; lines are never mixed. Every line is
 * flushed before the call returns, so a crash loses nothing that was said.
 *
 * A child made with fork() must not call these: it leaves with _exit and its parent reports.
 */
#ifndef TACTUS_TESTS_LIB_TAP_H
#define TACTUS_TESTS_LIB_TAP_H

#include <stdbool.h>
#include <stdint.h>

/* Announces how many checks follow; 0 means that tap_done counts them. */
void tap_plan(int n);

/* One check; the text says the behaviour in words. Returns ok. */
bool tap_ok(bool ok, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A line for whoever reads the log; every line of the text becomes a comment. */
void tap_diag(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* One check that cannot be made here, with the reason; it counts as a line of the plan. */
void tap_skip(const char *reason);

/* Nothing further can be tested: says why and ends the process with a failure. */
_Noreturn void tap_bail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Prints the plan if it was left open; returns main's exit status: 0 when every check passed and
 * as many were made as planned. A program that made no check at all has failed. */
int tap_done(void);

/* The seed of a random test: SEED of the environment, or a fixed default. Prints it. */
uint64_t tap_seed(void);

#endif
