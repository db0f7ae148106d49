/* SPDX-License-Identifier: Apache-2.0 */
/* Whole stores under a seeded scheduler, against a model; docs/TESTING.md tells how to use it.
 *
 * SEEDS=n  how many seeds (default 200; LONG=1: the 1,800 after them), from FIRST=n on.
 * SEED=n   this one alone, every op printed; KEEP=0-3,7 runs only these of its ops.
 * OPS=n    the most ops of a list.
 * FAILURES=n  after so many failing seeds it ends (default 5).
 * IN_PROCESS=1 with SEED: without a child process, for a debugger or a leak checker. */
#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "tests/lib/tap.h"
#include "tests/sim/store_sim.h"

#define OPS_MAX 4000
#define SEEDS_DEFAULT 200
#define SEEDS_LONG 1800 /* Those after the default ones */
/* One thread runs at a time: there is little for TSan to see, and it is slow. */
#define SEEDS_TSAN 20
#ifdef __SANITIZE_THREAD__
#define IS_TSAN true
#endif
#ifdef __has_feature
#if __has_feature(thread_sanitizer)
#define IS_TSAN true
#endif
#endif
#ifndef IS_TSAN
#define IS_TSAN false
#endif
#define FAILURES_MAX 5
#define CHILD_SECONDS_MAX 30
#define SHRINK_SECONDS_MAX 60
#define LIST_PRINT_MAX 100

static uint64_t environment_number(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    char       *end;
    uint64_t    number;

    if (text == NULL || *text == 0) {
        return otherwise;
    }
    number = strtoull(text, &end, 0);
    if (*end != 0) {
        tap_bail("%s is not a number: %s", name, text);
    }
    return number;
}

static bool is_instrumented(void)
{
    const char *text = getenv("TACTUS_INSTRUMENTED");

    return text != NULL && strcmp(text, "yes") == 0;
}

static uint32_t child_seconds_max(void)
{
    return is_instrumented() ? 10 * CHILD_SECONDS_MAX : CHILD_SECONDS_MAX;
}

/* The list that is left, and how to run it again. */
static void failure_print(const struct sim_world *world, const struct sim_op *ops, const bool *keep,
                          const char *message)
{
    uint64_t ops_max = environment_number("OPS", OPS_MAX);
    uint32_t count = 0;

    printf("# seed %llu fails: %s\n", (unsigned long long)world->seed, message);
    sim_world_print(world, stdout);
    for (uint32_t i = 0; i < world->op_count; i++) {
        count += keep[i];
    }
    for (uint32_t i = 0; i < world->op_count && count <= LIST_PRINT_MAX; i++) {
        if (keep[i]) {
            sim_op_print(&ops[i], i, stdout);
        }
    }
    printf("# %u of %u ops; to run them again:\n# ", count, world->op_count);
    if (ops_max != OPS_MAX) {
        printf("OPS=%llu ", (unsigned long long)ops_max);
    }
    printf("SEED=%llu KEEP=", (unsigned long long)world->seed);
    sim_keep_print(keep, world->op_count, stdout);
    printf(" tests/sim/store_sim_test\n");
    fflush(stdout);
}

static void failure_shrink(const struct sim_world *world, const struct sim_op *ops, bool *keep,
                           struct sim_report *report)
{
    printf("# seed %llu, whole list: %s\n", (unsigned long long)world->seed, report->message);
    fflush(stdout);
    if (environment_number("SHRINK", 1) != 0 && getenv("KEEP") == NULL) {
        struct sim_report *scratch = sim_report_new(); /* The marks are those of whole lists */

        memcpy(scratch->message, report->message, sizeof scratch->message);
        sim_shrink(world, ops, keep, scratch, SHRINK_SECONDS_MAX);
        (void)sim_run_whole(world, ops, keep, scratch, NULL, child_seconds_max());
        memcpy(report->message, scratch->message, sizeof report->message);
    }
    failure_print(world, ops, keep, report->message);
}

static bool seed_run(uint64_t seed, struct sim_report *report, bool is_single)
{
    struct sim_world world;
    struct sim_op   *ops;
    bool            *keep;
    bool             is_good;

    sim_world_draw(&world, seed, (uint32_t)environment_number("OPS", OPS_MAX));
    ops = sim_ops_draw(&world);
    keep = malloc(world.op_count * sizeof *keep);
    tac_assert(keep != NULL);
    memset(keep, true, world.op_count * sizeof *keep);
    if (is_single && getenv("KEEP") != NULL &&
        !sim_keep_parse(getenv("KEEP"), keep, world.op_count)) {
        tap_bail("KEEP is not a list such as 0-3,7 of ops below %u", world.op_count);
    }
    if (is_single) {
        sim_world_print(&world, stdout);
    }
    if (is_single && environment_number("IN_PROCESS", 0) != 0) {
        sim_run(&world, ops, keep, report, stdout);
        if (world.is_twin) {
            sim_world_twist(&world, world.seed + 1);
            sim_run(&world, ops, keep, report, stdout);
        }
        is_good = true;
    } else {
        is_good = sim_run_whole(&world, ops, keep, report, is_single ? stdout : NULL,
                                child_seconds_max());
    }
    if (!is_good) {
        failure_shrink(&world, ops, keep, report);
    }
    free(keep);
    free(ops);
    return is_good;
}

/* seeds: how many of them met each mark. */
static void marks_check(const struct sim_report *report, const uint32_t *seeds)
{
    for (uint32_t i = 0; i < MARK_COUNT; i++) {
        tap_ok(report->marks.count[i] > 0, "reached: %s", mark_text((enum mark)i));
        tap_diag("%llu times, by %u seeds", (unsigned long long)report->marks.count[i], seeds[i]);
    }
}

/* Counts the seed for each mark that it has met. True: it should have compacted on three levels,
 * moved tables and dropped tombstones, and has not. */
static bool marks_add(uint64_t seed, const struct marks *before, const struct marks *after,
                      uint32_t *seeds)
{
    static const enum mark deep[] = {MARK_LEVEL_0, MARK_LEVEL_1, MARK_THREE_LEVELS, MARK_MOVE,
                                     MARK_TOMBSTONE_DROPPED};
    struct sim_world       world;
    bool                   is_shallow = false;

    for (uint32_t i = 0; i < MARK_COUNT; i++) {
        seeds[i] += after->count[i] > before->count[i];
    }
    sim_world_draw(&world, seed, (uint32_t)environment_number("OPS", OPS_MAX));
    for (uint32_t i = 0; i < TAC_ARRAY_COUNT(deep); i++) {
        if (!world.is_small && world.faults.class != SIM_FAULTS_MEDIA &&
            after->count[deep[i]] == before->count[deep[i]]) {
            tap_diag("seed %llu never reaches: %s", (unsigned long long)seed, mark_text(deep[i]));
            is_shallow = true;
        }
    }
    return is_shallow;
}

int main(void)
{
    bool     is_long = environment_number("LONG", 0) != 0;
    uint64_t single = environment_number("SEED", 0);
    uint64_t seeds = environment_number("SEEDS", is_long   ? SEEDS_LONG
                                                 : IS_TSAN ? SEEDS_TSAN
                                                           : SEEDS_DEFAULT);
    uint64_t first = environment_number("FIRST", is_long ? SEEDS_DEFAULT + 1 : 1);
    uint64_t failures_max = environment_number("FAILURES", FAILURES_MAX);
    uint32_t failures = 0, shallow = 0, mark_seeds[MARK_COUNT] = {0};

    struct sim_report *report = sim_report_new();

    tap_plan(0);
    if (single != 0) {
        tap_ok(seed_run(single, report, true), "seed %llu", (unsigned long long)single);
        return tap_done();
    }
    tap_diag("seeds %llu to %llu", (unsigned long long)first,
             (unsigned long long)(first + seeds - 1));
    for (uint64_t seed = first; seed < first + seeds && failures < failures_max; seed++) {
        struct marks before = report->marks;

        if (!seed_run(seed, report, false)) {
            tap_ok(false, "seed %llu: %s", (unsigned long long)seed, report->message);
            failures++;
        }
        shallow += marks_add(seed, &before, &report->marks, mark_seeds);
    }
    tap_ok(failures == 0, "stores do as the model under %llu seeds", (unsigned long long)seeds);
    tap_diag("%llu ops of lists, %llu writes, %llu bars, %llu recoveries",
             (unsigned long long)report->ops_run, (unsigned long long)report->writes,
             (unsigned long long)report->bars, (unsigned long long)report->recoveries);
    tap_ok(shallow == 0, "every seed with room compacts on three levels, moves tables and drops "
                         "tombstones");
    if (seeds >= SEEDS_DEFAULT) {
        marks_check(report, mark_seeds);
    }
    return tap_done();
}
