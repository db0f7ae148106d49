/* SPDX-License-Identifier: Apache-2.0 */
/* Fails the n-th call of a kind, for n = 1, 2, … until a run meets no fault any more; see
 * fault_script.h for what must hold. LONG=1 does so for more seeds; with a sanitizer and without
 * LONG a stride keeps the number of runs small. One run alone, as a failing line tells it:
 * FAULT="20261 write sticky 17", with "tables" behind it for the second list. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/tap.h"
#include "tests/sim/fault_script.h"

#define SEED_FIRST 20261
#define SEEDS_LONG 8
#define RUN_SECONDS_MAX 60
/* Of a kind, single or sticky, with a stride. */
#define RUNS_MAX 60

static const char *const kind_names[FAULT_KINDS] = {"read", "write", "sync", "space"};
static const char *const list_names[FAULT_LISTS] = {"writes", "tables"};
/* Calls of the second list in which a fault must have been met. */
static const char *const calls_met[] = {"ingest", "snapshot", "release"};
static char              run_name[128];

#define CALLS_MET (sizeof calls_met / sizeof calls_met[0])

struct totals {
    uint64_t runs, stopped, fell_back, in_flight, reads_failed, failed;
    uint64_t stopped_in[CALLS_MET];
};

/* A hang, or an assertion: says which run it was. */
static void run_died(int number)
{
    ssize_t written = write(STDOUT_FILENO, run_name, strlen(run_name));

    (void)written;
    signal(number, SIG_DFL);
    raise(number);
}

static void outcome_add(struct totals *totals, const struct fault_outcome *outcome)
{
    totals->runs++;
    totals->stopped += outcome->has_stopped;
    totals->fell_back += outcome->fell_back;
    totals->in_flight += outcome->was_in_flight;
    totals->reads_failed += outcome->reads_failed;
    for (uint32_t i = 0; i < CALLS_MET; i++) {
        totals->stopped_in[i] +=
            outcome->stopped_in != NULL && strcmp(outcome->stopped_in, calls_met[i]) == 0;
    }
}

/* Returns whether the run met a fault. */
static bool run_one(enum fault_list list, enum fault_kind kind, bool is_sticky, uint64_t seed,
                    uint64_t number, struct totals *totals)
{
    struct fault_script script = {
        .list = list,
        .kind = kind,
        .is_sticky = is_sticky,
        .fail_at = number,
        .abandons = number % 3 == 2,
        .cuts_power = (number + is_sticky) % 2 == 0,
        .seed = seed,
    };
    struct fault_outcome outcome;
    char                 name[64];

    snprintf(name, sizeof name, "FAULT=\"%llu %s %s %llu %s\"", (unsigned long long)seed,
             kind_names[kind], is_sticky ? "sticky" : "single", (unsigned long long)number,
             list_names[list]);
    snprintf(run_name, sizeof run_name, "# died with %s\n", name);
    alarm(RUN_SECONDS_MAX);
    fault_script_run(&script, &outcome);
    alarm(0);
    if (outcome.message[0] != 0) {
        totals->failed++;
        if (totals->failed <= 10) {
            tap_diag("%s: %s", name, outcome.message);
        }
    }
    outcome_add(totals, &outcome);
    return outcome.faults > 0;
}

/* How often the script makes the call when nothing fails. */
static uint64_t calls_count(enum fault_list list, enum fault_kind kind, uint64_t seed)
{
    struct fault_script  script = {.list = list, .kind = kind, .seed = seed};
    struct fault_outcome outcome;

    fault_script_run(&script, &outcome);
    if (outcome.message[0] != 0 || outcome.faults > 0) {
        tap_bail("the script fails without a fault: %s", outcome.message);
    }
    return outcome.calls;
}

static void met_check(const struct totals *totals, enum fault_kind kind)
{
    for (uint32_t i = 0; i < CALLS_MET; i++) {
        tap_ok(totals->stopped_in[i] > 0, "a %s fails in \"%s\": in %llu runs", kind_names[kind],
               calls_met[i], (unsigned long long)totals->stopped_in[i]);
    }
}

static void sweep(enum fault_list list, enum fault_kind kind, bool is_sticky, uint64_t seed,
                  bool has_stride)
{
    struct totals totals = {0};
    uint64_t      calls = calls_count(list, kind, seed);
    uint64_t      stride = has_stride ? calls / RUNS_MAX + 1 : 1;
    bool          has_ended;

    for (uint64_t number = 1; number <= calls; number += stride) {
        (void)run_one(list, kind, is_sticky, seed, number, &totals);
    }
    has_ended = !run_one(list, kind, is_sticky, seed, calls + 1, &totals);
    tap_diag("%s, %s, %s: %llu calls, every %llu. of them fails: %llu runs; writing stopped in "
             "%llu, %llu fell back to a checkpoint, %llu found the one in flight, %llu reads "
             "failed",
             list_names[list], kind_names[kind], is_sticky ? "sticky" : "single",
             (unsigned long long)calls, (unsigned long long)stride, (unsigned long long)totals.runs,
             (unsigned long long)totals.stopped, (unsigned long long)totals.fell_back,
             (unsigned long long)totals.in_flight, (unsigned long long)totals.reads_failed);
    tap_ok(totals.failed == 0 && has_ended, "%s: the n-th %s fails%s: all that is promised holds",
           list_names[list], kind_names[kind], is_sticky ? ", and all after it" : "");
    if (kind == FAULT_READ) {
        tap_ok(totals.stopped == 0 && (totals.reads_failed == 0) == !is_sticky,
               is_sticky ? "what cannot be read does not stop the writing"
                         : "a read that fails once is made again, and nobody notices");
    } else {
        tap_ok(totals.stopped > 0 && totals.fell_back > 0 && totals.in_flight > 0,
               "the runs stop, fall back, and find checkpoints that were in flight");
    }
    if (list == FAULT_LIST_TABLES && kind != FAULT_READ && !has_stride) {
        met_check(&totals, kind);
    }
}

static void run_alone(const char *text)
{
    struct totals      totals = {0};
    char               kind_name[16], mode[16], list_name[16] = "";
    unsigned long long seed, number;
    enum fault_list    list;

    if (sscanf(text, "%llu %15s %15s %llu %15s", &seed, kind_name, mode, &number, list_name) < 4) {
        tap_bail("FAULT is not \"SEED KIND single|sticky N [tables]\": %s", text);
    }
    list = strcmp(list_name, list_names[FAULT_LIST_TABLES]) == 0 ? FAULT_LIST_TABLES
                                                                 : FAULT_LIST_WRITES;
    for (uint32_t kind = 0; kind < FAULT_KINDS; kind++) {
        if (strcmp(kind_names[kind], kind_name) == 0) {
            (void)run_one(list, (enum fault_kind)kind, strcmp(mode, "sticky") == 0, seed, number,
                          &totals);
        }
    }
    tap_ok(totals.runs == 1 && totals.failed == 0, "the run %s", text);
}

static void seed_sweep(uint64_t seed, bool has_stride)
{
    tap_diag("seed %llu", (unsigned long long)seed);
    for (uint32_t list = 0; list < FAULT_LISTS; list++) {
        for (uint32_t kind = 0; kind < FAULT_KINDS; kind++) {
            sweep((enum fault_list)list, (enum fault_kind)kind, false, seed, has_stride);
            sweep((enum fault_list)list, (enum fault_kind)kind, true, seed, has_stride);
        }
    }
}

static void pair_unreadable_test(void)
{
    struct fault_outcome outcome;

    fault_script_pair_unreadable(SEED_FIRST, &outcome);
    tap_ok(outcome.message[0] == 0,
           "superblock copies that cannot be read are not taken for old ones %s", outcome.message);
}

int main(void)
{
    const char *alone = getenv("FAULT");
    const char *instrumented = getenv("TACTUS_INSTRUMENTED");
    bool        is_long = getenv("LONG") != NULL;
    bool        is_slow = instrumented != NULL && strcmp(instrumented, "yes") == 0;

    signal(SIGALRM, run_died);
    signal(SIGABRT, run_died);
    tap_plan(0);
    if (alone != NULL) {
        run_alone(alone);
        return tap_done();
    }
    pair_unreadable_test();
    for (uint64_t i = 0; i < (is_long ? SEEDS_LONG : 1); i++) {
        seed_sweep(SEED_FIRST + i, is_slow && !is_long);
    }
    return tap_done();
}
