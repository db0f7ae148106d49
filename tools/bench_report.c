/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bench_report.h"

#include <inttypes.h>
#include <sched.h>
#include <stddef.h>
#include <string.h>
#include <sys/resource.h>

#include "base/units.h"
#include "tools/command.h"
#include "tools/escape.h"
#include "tools/stage_report.h"

/* ---- measuring ------------------------------------------------------------------------------ */

/* The number after `name` at the start of a line of a file of /proc. */
static uint64_t proc_number(const char *path, const char *name)
{
    FILE    *file = fopen(path, "re");
    char     line[256];
    uint64_t number = TAC_BENCH_UNKNOWN;

    if (file == NULL) {
        return TAC_BENCH_UNKNOWN;
    }
    while (fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, name, strlen(name)) == 0) {
            uint64_t found;

            if (sscanf(line + strlen(name), "%" SCNu64, &found) == 1) {
                number = found;
            }
            break;
        }
    }
    fclose(file);
    return number;
}

static uint64_t cpu_ns(void)
{
    struct rusage usage;
    int           result = getrusage(RUSAGE_SELF, &usage);

    tac_assert(result == 0);
    return ((uint64_t)usage.ru_utime.tv_sec + (uint64_t)usage.ru_stime.tv_sec) * 1000000000u +
           ((uint64_t)usage.ru_utime.tv_usec + (uint64_t)usage.ru_stime.tv_usec) * 1000u;
}

static uint64_t processor_count(void)
{
    cpu_set_t set;

    return sched_getaffinity(0, sizeof set, &set) == 0 ? (uint64_t)CPU_COUNT(&set)
                                                       : TAC_BENCH_UNKNOWN;
}

void tac_bench_usage_take(struct tactus *store, struct tac_bench_usage *ret_usage)
{
    struct tactus_stats stats;

    tactus_stat(store, &stats);
    *ret_usage = (struct tac_bench_usage){
        .cpu_ns = cpu_ns(),
        .written_bytes = stats.written_bytes,
        .read_bytes = stats.read_bytes,
        .process_written_bytes = proc_number("/proc/self/io", "write_bytes:"),
        .process_read_bytes = proc_number("/proc/self/io", "read_bytes:"),
        .cache_hits = stats.cache_hits,
        .cache_misses = stats.cache_misses,
    };
    memcpy(ret_usage->stages, stats.stage, sizeof stats.stage);
}

/* ---- reporting ------------------------------------------------------------------------------ */

static uint64_t known_difference(uint64_t end, uint64_t begin)
{
    if (end == TAC_BENCH_UNKNOWN || begin == TAC_BENCH_UNKNOWN) {
        return TAC_BENCH_UNKNOWN;
    }
    tac_assert(end >= begin);
    return end - begin;
}

/* The larger one is the figure: nobody can say that the other one flattered. */
static uint64_t larger(uint64_t engine, uint64_t process)
{
    return process == TAC_BENCH_UNKNOWN ? engine : tac_max_u64(engine, process);
}

static double ratio(double a, double b) { return b > 0 ? a / b : 0; }

void tac_bench_report_costs(struct tac_bench_report *report, const struct tac_bench_usage *begin,
                            const struct tac_bench_usage *end)
{
    uint64_t spent_ns = known_difference(end->cpu_ns, begin->cpu_ns);

    report->cpu_seconds = (double)spent_ns / 1e9;
    report->cpu_ns_per_record = ratio((double)spent_ns, (double)report->records_done);
    report->written_bytes_engine = end->written_bytes - begin->written_bytes;
    report->written_bytes_process =
        known_difference(end->process_written_bytes, begin->process_written_bytes);
    report->written_bytes = larger(report->written_bytes_engine, report->written_bytes_process);
    report->read_bytes_engine = end->read_bytes - begin->read_bytes;
    report->read_bytes_process =
        known_difference(end->process_read_bytes, begin->process_read_bytes);
    report->read_bytes = larger(report->read_bytes_engine, report->read_bytes_process);
    report->write_amplification = ratio((double)report->written_bytes, (double)report->user_bytes);
    report->cache_hits = end->cache_hits - begin->cache_hits;
    report->cache_misses = end->cache_misses - begin->cache_misses;
}

void tac_bench_report_stages(struct tac_bench_report *report, const struct tac_bench_usage *begin,
                             const struct tac_bench_usage *end)
{
    for (uint32_t i = 0; i < TACTUS_STAGES; i++) {
        const struct tactus_stage_stats *from = &begin->stages[i], *to = &end->stages[i];

        report->stages[i] = (struct tactus_stage_stats){
            .bytes = to->bytes - from->bytes,
            .items = to->items - from->items,
            .busy_ns = to->busy_ns - from->busy_ns,
            .gathered_bytes = to->gathered_bytes - from->gathered_bytes,
            .gather_ns = to->gather_ns - from->gather_ns,
            .idle_ns = to->idle_ns - from->idle_ns,
            .wait_work_ns = to->wait_work_ns - from->wait_work_ns,
            .wait_device_ns = to->wait_device_ns - from->wait_device_ns,
            .wait_credit_ns = to->wait_credit_ns - from->wait_credit_ns,
            .wait_read_ns = to->wait_read_ns - from->wait_read_ns,
            .wait_write_ns = to->wait_write_ns - from->wait_write_ns,
        };
    }
}

void tac_bench_report_times(struct tac_bench_report *report, uint64_t begin_ns, uint64_t end_ns,
                            uint64_t settled_ns)
{
    tac_assert(begin_ns <= end_ns && end_ns <= settled_ns);
    report->seconds = (double)(end_ns - begin_ns) / 1e9;
    report->seconds_settled = (double)(settled_ns - begin_ns) / 1e9;
    report->records_per_s = ratio((double)report->records_done, report->seconds);
    report->records_per_s_settled = ratio((double)report->records_done, report->seconds_settled);
    report->operations_per_s = ratio((double)report->operations, report->seconds);
}

static double latency_us(const struct tac_histogram *latency, double percent)
{
    return (double)tac_histogram_percentile(latency, percent) / 1e3;
}

void tac_bench_report_latency(struct tac_bench_report *report, const struct tac_histogram *latency)
{
    report->latency_us_p50 = latency_us(latency, 50);
    report->latency_us_p90 = latency_us(latency, 90);
    report->latency_us_p99 = latency_us(latency, 99);
    report->latency_us_p999 = latency_us(latency, 99.9);
    report->latency_us_p9999 = latency_us(latency, 99.99);
    report->latency_us_max = (double)tac_histogram_max(latency) / 1e3;
    report->latency_us_mean = (double)tac_histogram_mean(latency) / 1e3;
}

void tac_bench_report_store(struct tac_bench_report *report, struct tactus *store)
{
    struct tactus_stats stats;
    uint64_t            peak_kib = proc_number("/proc/self/status", "VmHWM:");

    tactus_stat(store, &stats);
    report->space_amplification =
        ratio((double)stats.blocks_acquired * (double)stats.block_size, (double)report->live_bytes);
    report->file_bytes = stats.blocks_in_file * stats.block_size;
    report->peak_rss_bytes = peak_kib == TAC_BENCH_UNKNOWN ? TAC_BENCH_UNKNOWN : peak_kib * 1024;
    report->memory_budget_bytes = stats.memory_budget_bytes;
    report->levels = stats.levels;
    report->depth_max = stats.depth_max;
    report->threads_read = stats.threads_read;
    report->threads_merge = stats.threads_merge;
    report->threads_write = stats.threads_write;
    report->processors = processor_count();
    report->backend = stats.backend;
    report->direct_io = stats.direct_io;
}

void tac_bench_report_waits(struct tac_bench_report *report, struct tactus *store)
{
    struct tactus_stats stats;

    tactus_stat(store, &stats);
    report->longest_wait_us = (double)stats.wait_ns_max / 1e3;
    report->waited_us = (double)stats.wait_ns_total / 1e3;
    report->waits = stats.waits;
    report->wait_bound_bytes = stats.wait_bound_bytes;
    report->checkpoint_waits = stats.checkpoint_waits;
    report->longest_sync_us = (double)stats.sync_ns_max / 1e3;
    report->syncs = stats.syncs;
}

/* ---- JSON ----------------------------------------------------------------------------------- */

enum field_kind {
    FIELD_TEXT,
    FIELD_DIGEST,
    FIELD_WHOLE,
    FIELD_REAL,
    FIELD_TRUTH
};

struct field {
    const char     *name;
    enum field_kind kind;
    size_t          offset;
};

#define FIELD(name, kind) {#name, kind, offsetof(struct tac_bench_report, name)}

static const struct field fields[] = {
    FIELD(workload, FIELD_TEXT),
    FIELD(shape, FIELD_TEXT),
    FIELD(records, FIELD_WHOLE),
    FIELD(seed, FIELD_WHOLE),
    FIELD(options, FIELD_TEXT),
    FIELD(operations, FIELD_WHOLE),
    FIELD(readers, FIELD_WHOLE),
    FIELD(records_done, FIELD_WHOLE),
    FIELD(seconds, FIELD_REAL),
    FIELD(seconds_settled, FIELD_REAL),
    FIELD(records_per_s, FIELD_REAL),
    FIELD(records_per_s_settled, FIELD_REAL),
    FIELD(operations_per_s, FIELD_REAL),
    FIELD(warmup_operations, FIELD_WHOLE),
    FIELD(warmup_seconds, FIELD_REAL),
    FIELD(harness_ns_per_operation, FIELD_REAL),
    FIELD(user_bytes, FIELD_WHOLE),
    FIELD(live_bytes, FIELD_WHOLE),
    FIELD(written_bytes, FIELD_WHOLE),
    FIELD(written_bytes_engine, FIELD_WHOLE),
    FIELD(written_bytes_process, FIELD_WHOLE),
    FIELD(read_bytes, FIELD_WHOLE),
    FIELD(read_bytes_engine, FIELD_WHOLE),
    FIELD(read_bytes_process, FIELD_WHOLE),
    FIELD(write_amplification, FIELD_REAL),
    FIELD(space_amplification, FIELD_REAL),
    FIELD(file_bytes, FIELD_WHOLE),
    FIELD(latency_us_p50, FIELD_REAL),
    FIELD(latency_us_p90, FIELD_REAL),
    FIELD(latency_us_p99, FIELD_REAL),
    FIELD(latency_us_p999, FIELD_REAL),
    FIELD(latency_us_p9999, FIELD_REAL),
    FIELD(latency_us_max, FIELD_REAL),
    FIELD(latency_us_mean, FIELD_REAL),
    FIELD(longest_wait_us, FIELD_REAL),
    FIELD(waited_us, FIELD_REAL),
    FIELD(waits, FIELD_WHOLE),
    FIELD(wait_bound_bytes, FIELD_WHOLE),
    FIELD(checkpoint_waits, FIELD_WHOLE),
    FIELD(longest_sync_us, FIELD_REAL),
    FIELD(syncs, FIELD_WHOLE),
    FIELD(cpu_seconds, FIELD_REAL),
    FIELD(cpu_ns_per_record, FIELD_REAL),
    FIELD(peak_rss_bytes, FIELD_WHOLE),
    FIELD(memory_budget_bytes, FIELD_WHOLE),
    FIELD(cache_hits, FIELD_WHOLE),
    FIELD(cache_misses, FIELD_WHOLE),
    FIELD(levels, FIELD_WHOLE),
    FIELD(depth_max, FIELD_WHOLE),
    FIELD(threads_read, FIELD_WHOLE),
    FIELD(threads_merge, FIELD_WHOLE),
    FIELD(threads_write, FIELD_WHOLE),
    FIELD(processors, FIELD_WHOLE),
    FIELD(backend, FIELD_TEXT),
    FIELD(direct_io, FIELD_TRUTH),
    FIELD(digest, FIELD_DIGEST),
};

static void whole_print(FILE *out, uint64_t number)
{
    if (number == TAC_BENCH_UNKNOWN) {
        fputs("null", out);
    } else {
        fprintf(out, "%" PRIu64, number);
    }
}

static void field_print(FILE *out, const struct field *field, const void *at)
{
    switch (field->kind) {
    case FIELD_TEXT:
        tac_json_text_print(out, *(const char *const *)at);
        return;
    case FIELD_DIGEST:
        tac_json_text_print(out, at);
        return;
    case FIELD_WHOLE:
        whole_print(out, *(const uint64_t *)at);
        return;
    case FIELD_REAL:
        fprintf(out, "%.6f", *(const double *)at);
        return;
    case FIELD_TRUTH:
        fputs(*(const bool *)at ? "true" : "false", out);
        return;
    }
    tac_unreachable();
}

void tac_bench_report_json(FILE *out, const struct tac_bench_report *report)
{
    tac_assert(report->backend != NULL && report->workload != NULL);
    for (size_t i = 0; i < TAC_ARRAY_COUNT(fields); i++) {
        fprintf(out, "%s\"%s\": ", i == 0 ? "{\n  " : ",\n  ", fields[i].name);
        field_print(out, &fields[i], (const char *)report + fields[i].offset);
    }
    for (uint32_t i = 0; i < TAC_STAGE_FIGURES; i++) {
        fprintf(out, ",\n  \"%s\": %" PRIu64, tac_stage_figures[i].name,
                tac_stage_figure_value(&tac_stage_figures[i], report->stages));
    }
    fputs("\n}\n", out);
}

/* ---- for people ----------------------------------------------------------------------------- */

static const char *bytes_or_unknown(uint64_t bytes, char text[TAC_HUMAN_BYTES])
{
    return bytes == TAC_BENCH_UNKNOWN ? "unknown" : tac_human(bytes, text);
}

static void table_writes(FILE *out, const struct tac_bench_report *report)
{
    char user[TAC_HUMAN_BYTES], engine[TAC_HUMAN_BYTES], process[TAC_HUMAN_BYTES];

    if (report->written_bytes == 0) {
        return;
    }
    fprintf(out, "write amplification   %.3f: %s for %s (by the system: %s)\n",
            report->write_amplification, tac_human(report->written_bytes_engine, engine),
            tac_human(report->user_bytes, user),
            bytes_or_unknown(report->written_bytes_process, process));
}

static void table_rates(FILE *out, const struct tac_bench_report *report)
{
    fprintf(out, "%-21s %.0f records/s, %.3f s\n", "rate", report->records_per_s, report->seconds);
    if (report->seconds_settled > report->seconds) {
        fprintf(out, "%-21s %.0f records/s, %.3f s\n", "rate until settled",
                report->records_per_s_settled, report->seconds_settled);
    }
    if (report->operations != report->records_done) {
        fprintf(out, "%-21s %" PRIu64 ", %.1f/s\n", "operations", report->operations,
                report->operations_per_s);
    }
    if (report->readers > 1) {
        fprintf(out, "%-21s %" PRIu64 "\n", "readers", report->readers);
    }
    if (report->warmup_operations > 0) {
        fprintf(out, "%-21s %" PRIu64 " operations, %.3f s\n", "warm-up", report->warmup_operations,
                report->warmup_seconds);
    }
}

static void table_latency(FILE *out, const struct tac_bench_report *report)
{
    fprintf(out, "%-21s p50 %.1f  p90 %.1f  p99 %.1f  p99.9 %.1f  p99.99 %.1f  max %.1f\n",
            "latency, us", report->latency_us_p50, report->latency_us_p90, report->latency_us_p99,
            report->latency_us_p999, report->latency_us_p9999, report->latency_us_max);
}

void tac_bench_report_table(FILE *out, const struct tac_bench_report *report)
{
    char peak[TAC_HUMAN_BYTES], budget[TAC_HUMAN_BYTES];
    char file[TAC_HUMAN_BYTES], live[TAC_HUMAN_BYTES], read[TAC_HUMAN_BYTES];

    fprintf(out, "%s, shape %s, %" PRIu64 " records, seed %" PRIu64 "\n", report->workload,
            report->shape, report->records, report->seed);
    fprintf(out,
            "threads %" PRIu64 ",%" PRIu64 ",%" PRIu64 " on %" PRIu64
            " processors; backend %s, %s I/O\n\n",
            report->threads_read, report->threads_merge, report->threads_write, report->processors,
            report->backend, report->direct_io ? "direct" : "buffered");
    table_rates(out, report);
    if (report->operations > report->readers + 1) { /* Percentiles of a few say nothing */
        table_latency(out, report);
    }
    if (report->waits > 0) {
        fprintf(out, "%-21s %.1f; %" PRIu64 " waits of %.1f together\n", "longest wait, us",
                report->longest_wait_us, report->waits, report->waited_us);
    }
    if (report->syncs > 0) {
        fprintf(out, "%-21s %.1f; %" PRIu64 " syncs of the file\n", "longest sync, us",
                report->longest_sync_us, report->syncs);
    }
    table_writes(out, report);
    fprintf(out, "%-21s %s\n", "read", tac_human(report->read_bytes, read));
    fprintf(out, "%-21s %.3f; file %s for %s\n", "space amplification", report->space_amplification,
            tac_human(report->file_bytes, file), tac_human(report->live_bytes, live));
    fprintf(out, "%-21s %.3f s, %.0f ns per record\n", "processor time", report->cpu_seconds,
            report->cpu_ns_per_record);
    fprintf(out, "%-21s peak %s, budget %s\n", "memory",
            bytes_or_unknown(report->peak_rss_bytes, peak),
            tac_human(report->memory_budget_bytes, budget));
    fprintf(out, "%-21s %s\n", "digest", report->digest);
    if (report->stages[TACTUS_STAGE_MERGE].items > 0) {
        putc('\n', out);
        tac_stages_table(out, report->stages);
    }
}
