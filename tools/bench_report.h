/* SPDX-License-Identifier: Apache-2.0 */
/* bench_report -- what `tactus bench` measured, for programs (one flat JSON object) and for people.
 * docs/BENCHMARK.md says what each field means. */
#ifndef TACTUS_TOOLS_BENCH_REPORT_H
#define TACTUS_TOOLS_BENCH_REPORT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/histogram.h"
#include "tactus.h"

/* A number that this system does not tell; null in JSON. */
#define TAC_BENCH_UNKNOWN UINT64_MAX

/* Fields are named as in JSON; texts are borrowed. */
struct tac_bench_report {
    const char *workload, *shape, *options;
    uint64_t    records, seed;
    uint64_t    operations, readers, records_done;
    double      seconds, seconds_settled, records_per_s, records_per_s_settled, operations_per_s;
    uint64_t    warmup_operations;
    double      warmup_seconds;
    double      harness_ns_per_operation;
    uint64_t    user_bytes, live_bytes;
    uint64_t    written_bytes, written_bytes_engine, written_bytes_process;
    uint64_t    read_bytes, read_bytes_engine, read_bytes_process;
    double      write_amplification, space_amplification;
    uint64_t    file_bytes;
    double      latency_us_p50, latency_us_p90, latency_us_p99, latency_us_p999, latency_us_p9999;
    double      latency_us_max, latency_us_mean;
    double      longest_wait_us, waited_us;
    uint64_t    waits, wait_bound_bytes, checkpoint_waits;
    double      longest_sync_us;
    uint64_t    syncs;
    double      cpu_seconds, cpu_ns_per_record;
    uint64_t    peak_rss_bytes, memory_budget_bytes;
    uint64_t    cache_hits, cache_misses;
    uint64_t    levels, depth_max;
    uint64_t    threads_read, threads_merge, threads_write, processors;
    const char *backend;
    bool        direct_io;
    char        digest[33];
    /* Named by tools/stage_report.h */
    struct tactus_stage_stats stages[TACTUS_STAGES];
};

/* What has been used up to now; two of them make a cost. */
struct tac_bench_usage {
    uint64_t cpu_ns;
    uint64_t written_bytes, read_bytes;                 /* By the store's own counters */
    uint64_t process_written_bytes, process_read_bytes; /* By the system's; or unknown */
    uint64_t cache_hits, cache_misses;
    struct tactus_stage_stats stages[TACTUS_STAGES];
};

void tac_bench_usage_take(struct tactus *store, struct tac_bench_usage *ret_usage);

/* cpu_*, written_*, read_*, write_amplification and cache_*; after records_done and user_bytes. */
void tac_bench_report_costs(struct tac_bench_report *report, const struct tac_bench_usage *begin,
                            const struct tac_bench_usage *end);

/* stages. Where nothing is put or compacted they stay 0. */
void tac_bench_report_stages(struct tac_bench_report *report, const struct tac_bench_usage *begin,
                             const struct tac_bench_usage *end);

/* seconds* and *_per_s; after operations and records_done. */
void tac_bench_report_times(struct tac_bench_report *report, uint64_t begin_ns, uint64_t end_ns,
                            uint64_t settled_ns);

void tac_bench_report_latency(struct tac_bench_report *report, const struct tac_histogram *latency);

/* space_amplification, memory, threads and backend, as they are now; after live_bytes. */
void tac_bench_report_store(struct tac_bench_report *report, struct tactus *store);

/* The waits of all writes since the store was opened. */
void tac_bench_report_waits(struct tac_bench_report *report, struct tactus *store);

void tac_bench_report_json(FILE *out, const struct tac_bench_report *report);
void tac_bench_report_table(FILE *out, const struct tac_bench_report *report);

#endif
