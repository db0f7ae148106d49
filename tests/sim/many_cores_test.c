/* SPDX-License-Identifier: Apache-2.0 */
/* many_cores_test -- recorded bars keep many threads at work, in a simulation with measured costs.
 *
 * TABLE=1 prints the tables of docs/PERFORMANCE.md. Each cost can be given by an environment
 * variable of its name: MERGE_NS=60 LATENCY_NS=20000 TABLE=1 tests/sim/many_cores_test. */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/prng.h"
#include "base/units.h"
#include "pipeline/admission.h"
#include "tests/lib/tap.h"
#include "tests/sim/many_cores.h"

#define BARS 32
#define DEVICE_BYTES_PER_S 2000000000 /* Each way */
#define PUT_NS 410                    /* One writer */

/* ---- costs ---------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    size_t      offset;
    bool        is_double;
} cost_names[] = {
    {"MERGE_NS", offsetof(struct cores_costs, merge_ns), true},
    {"GATHER_NS", offsetof(struct cores_costs, gather_ns), true},
    {"VERIFY_NS", offsetof(struct cores_costs, verify_ns), true},
    {"PUT_NS", offsetof(struct cores_costs, put_ns), true},
    {"REQUEST_NS", offsetof(struct cores_costs, request_ns), false},
    {"TURN_NS", offsetof(struct cores_costs, turn_ns), false},
    {"WAKE_NS", offsetof(struct cores_costs, wake_ns), false},
    {"PLAN_NS", offsetof(struct cores_costs, plan_ns), false},
    {"PLAN_TABLE_NS", offsetof(struct cores_costs, plan_table_ns), false},
    {"COMMIT_NS", offsetof(struct cores_costs, commit_ns), false},
    {"CHECKPOINT_NS", offsetof(struct cores_costs, checkpoint_ns), false},
    {"LATENCY_NS", offsetof(struct cores_costs, latency_ns), false},
    {"DEVICE_BYTES_PER_S", offsetof(struct cores_costs, device_bytes_per_s), false},
};

static void costs_of_environment(struct cores_costs *costs)
{
    for (size_t i = 0; i < TAC_ARRAY_COUNT(cost_names); i++) {
        const char *text = getenv(cost_names[i].name);
        void       *cost = (uint8_t *)costs + cost_names[i].offset;

        if (text == NULL) {
            continue;
        }
        if (cost_names[i].is_double) {
            *(double *)cost = strtod(text, NULL);
        } else {
            *(uint64_t *)cost = strtoull(text, NULL, 10);
        }
    }
}

static struct cores_figures run(const struct recorded_bars *recorded, struct cores_machine machine,
                                uint64_t seed)
{
    struct cores_figures figures;

    costs_of_environment(&machine.costs);
    cores_run(recorded, &machine, seed, &figures);
    return figures;
}

/* ---- tables --------------------------------------------------------------------------------- */

static const uint32_t thread_counts[] = {1, 2, 4, 8, 12, 16, 24, 32, 48, 64};

static enum cores_idle limit_of(const struct cores_figures *figures)
{
    enum cores_idle most = 0;

    for (uint32_t i = 1; i < CORES_IDLE_COUNT; i++) {
        most = figures->idle[i] > figures->idle[most] ? (enum cores_idle)i : most;
    }
    return most;
}

static void table_print(const struct recorded_bars *recorded, const char *what, bool assist,
                        const struct cores_costs *costs, uint64_t seed)
{
    double base = 0;

    tap_diag("%s", what);
    tap_diag("| threads | M records/s | speed | bar, ms | busy | merging | jobs | seats | pool | "
             "credit | device | plan | most |");
    tap_diag("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for (size_t i = 0; i < TAC_ARRAY_COUNT(thread_counts); i++) {
        uint32_t             threads = thread_counts[i];
        struct cores_machine machine =
            assist ? cores_machine_assisting(threads) : cores_machine_homes(threads);
        struct cores_figures f;

        machine.costs = *costs;
        f = run(recorded, machine, seed);
        base = i == 0 ? f.records_per_s : base;
        tap_diag(
            "| %u | %.2f | %.1f | %.1f | %.1f | %.1f | %.1f | %.1f | %.1f | %.1f | %.1f | %.1f "
            "| %s |",
            threads, f.records_per_s / 1e6, f.records_per_s / base, f.bar_ms, f.busy, f.merging,
            f.idle[CORES_IDLE_JOBS], f.idle[CORES_IDLE_SEATS], f.idle[CORES_IDLE_POOL],
            f.idle[CORES_IDLE_CREDIT], f.idle[CORES_IDLE_DEVICE], f.idle[CORES_IDLE_PLAN],
            cores_idle_name(limit_of(&f)));
    }
}

static void bars_print(const struct recorded_bars *recorded)
{
    uint64_t jobs = 0, planned = 0, longest = 0;

    for (uint32_t i = 0; i < recorded->bar_count; i++) {
        jobs += recorded->bars[i].job_count;
        planned += recorded->bars[i].bytes_planned;
        for (uint32_t j = 0; j < recorded->bars[i].job_count; j++) {
            longest = tac_max_u64(longest, recorded->bars[i].jobs[j].bytes_consumed);
        }
    }
    tap_diag(
        "a bar: %.1f jobs, %.0f MiB of input, longest job of all %.1f MiB, write "
        "amplification %.2f, %u tables",
        (double)jobs / recorded->bar_count, (double)planned / recorded->bar_count / (double)TAC_MIB,
        (double)longest / (double)TAC_MIB, recorded->write_amplification, recorded->bars[0].tables);
}

static void tables_print(const struct recorded_bars *recorded, uint64_t seed)
{
    struct cores_costs costs = cores_costs_default();
    struct cores_costs narrow = costs;
    struct cores_costs one_writer = costs;

    narrow.device_bytes_per_s = DEVICE_BYTES_PER_S;
    one_writer.put_ns = PUT_NS;
    table_print(recorded, "all threads merge, device without limit", true, &costs, seed);
    table_print(recorded, "all threads merge, device of 2 GB/s each way", true, &narrow, seed);
    table_print(recorded, "all threads merge, one writer", true, &one_writer, seed);
    table_print(recorded, "merge threads only merge, device without limit", false, &costs, seed);
}

/* ---- checks --------------------------------------------------------------------------------- */

static void check_one(const struct recorded_bars *recorded, const char *what, double busy_min,
                      uint64_t seed)
{
    struct cores_figures f = run(recorded, cores_machine_assisting(16), seed);
    struct cores_figures again = run(recorded, cores_machine_assisting(16), seed);
    double               sum = f.busy;

    for (uint32_t i = 0; i < CORES_IDLE_COUNT; i++) {
        sum += f.idle[i];
    }
    tap_ok(f.busy >= busy_min, "%s: of 16 threads %.1f are busy, at least %.0f", what, f.busy,
           busy_min);
    tap_ok(fabs(sum - 16) < 0.01, "%s: each thread is busy, or idle for a reason", what);
    tap_ok(f.ns == again.ns, "%s: the same seed takes the same time", what);
}

static void test_admission(uint64_t seed)
{
    enum {
        JOBS = 1000
    };
    struct tac_prng prng = {.state = seed};
    uint64_t        bytes[JOBS];
    uint32_t        order[JOBS];
    uint32_t        outputs = tac_seat_output_blocks(9);
    bool            is_ordered = true;

    for (uint32_t i = 0; i < JOBS; i++) {
        bytes[i] = tac_prng_below(&prng, JOBS / 2);
    }
    tac_admission_order(bytes, JOBS, order);
    for (uint32_t i = 1; i < JOBS; i++) {
        is_ordered &= bytes[order[i - 1]] > bytes[order[i]] ||
                      (bytes[order[i - 1]] == bytes[order[i]] && order[i - 1] < order[i]);
    }
    tap_ok(is_ordered, "the largest job is seated first, of equal ones the first of the plan");
    tap_ok(tac_admission_read_ahead(10, 9, 2 * (10 * 9 + outputs), 2) == 8 &&
               tac_admission_read_ahead(10, 9, 2 * (10 * 9 + outputs) - 1, 2) == 4 &&
               tac_admission_read_ahead(10, 9, 10 * 2 + outputs, 2) == 1 &&
               tac_admission_read_ahead(10, 9, 10 * 2 + outputs - 1, 2) == 0,
           "a job reads ahead as far as its part of the free blocks reaches");
}

static void test_bars(uint32_t trees, uint32_t memtables, double busy_min, uint64_t seed)
{
    struct recorded_bars *recorded = recorded_bars_new(trees, memtables, BARS, 0, seed);
    char                  what[64];

    snprintf(what, sizeof what, "%u tree%s, %u memtables", trees, trees == 1 ? "" : "s", memtables);
    tap_diag("%s", what);
    bars_print(recorded);
    if (getenv("TABLE") != NULL) {
        tables_print(recorded, seed);
    }
    check_one(recorded, what, busy_min, seed);
    recorded_bars_free(recorded);
}

int main(void)
{
    uint64_t seed = tap_seed();

    tap_plan(0);
    test_admission(seed);
    test_bars(1, 40, 12, seed);
    test_bars(1, 160, 12, seed);
    test_bars(8, 40, 9, seed);
    return tap_done();
}
