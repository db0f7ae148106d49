/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "base/clock.h"
#include "base/units.h"
#include "tools/compare/compare.h"

static void real_set(json_t *object, const char *name, double number)
{
    json_object_set_new(object, name, json_real(number));
}

static void whole_set(json_t *object, const char *name, uint64_t number)
{
    json_object_set_new(object, name, json_integer((json_int_t)number));
}

static double ratio(double a, double b) { return b > 0 ? a / b : 0; }

static double seconds(uint64_t begin_ns, uint64_t end_ns)
{
    return (double)(end_ns - begin_ns) / (double)TAC_SECOND_NS;
}

static void latency_set(json_t *result, const struct tac_histogram *latency)
{
    static const struct {
        const char *name;
        double      percent;
    } percentiles[] = {
        {"latency_us_p50", 50},    {"latency_us_p90", 90},      {"latency_us_p99", 99},
        {"latency_us_p999", 99.9}, {"latency_us_p9999", 99.99},
    };
    json_t *curve = json_array();

    for (size_t i = 0; i < TAC_ARRAY_COUNT(percentiles); i++) {
        real_set(result, percentiles[i].name,
                 (double)tac_histogram_percentile(latency, percentiles[i].percent) / 1e3);
    }
    real_set(result, "latency_us_max", (double)tac_histogram_max(latency) / 1e3);
    real_set(result, "latency_us_mean", (double)tac_histogram_mean(latency) / 1e3);
    /* Percentiles ever closer to all: one part in two, four, eight … is slower. */
    for (double rest = 0.5; rest * (double)tac_histogram_count(latency) >= 1; rest /= 2) {
        double us = (double)tac_histogram_percentile(latency, 100 * (1 - rest)) / 1e3;

        json_array_append_new(curve, json_pack("[f,f]", rest, us));
    }
    json_object_set_new(result, "latency_curve", curve);
}

static void slices_set(json_t *result, const struct tac_measure *measure)
{
    json_t *slices = json_array();

    for (uint32_t i = 0; i < measure->slice_count; i++) {
        const struct tac_measure_slice *slice = &measure->slices[i];

        json_array_append_new(slices, json_pack("[I,f]", (json_int_t)slice->operations,
                                                (double)slice->latency_max_ns / 1e3));
    }
    json_object_set_new(result, "slices", slices);
}

static void labels_set(json_t *result, const struct tac_run *run)
{
    char version[32];

    run->ops->version(version);
    json_object_set_new(result, "engine", json_string(run->ops->name));
    json_object_set_new(result, "version", json_string(version));
    if (run->ops->caveat != NULL) {
        json_object_set_new(result, "caveat", json_string(run->ops->caveat));
    }
    json_object_set_new(result, "workload", json_string(tac_workload_name(run->workload)));
    json_object_set_new(result, "shape", json_string(run->config.shape->name));
    json_object_set_new(result, "log",
                        json_string(run->config.log == TAC_ENGINE_LOG_NONE ? "none" : "interval"));
    json_object_set_new(result, "label", json_string(run->label));
    whole_set(result, "records", run->records);
    whole_set(result, "rate", run->rate);
    whole_set(result, "cache_bytes", run->config.cache_bytes);
}

json_t *tac_compare_result(const struct tac_run *run)
{
    const struct tac_measure *measure = &run->measure;
    double                    done = (double)run->records_done;
    json_t                   *result = json_object();

    labels_set(result, run);
    whole_set(result, "operations", run->operations_done);
    whole_set(result, "records_done", run->records_done);
    real_set(result, "seconds", seconds(measure->begin_ns, measure->end_ns));
    real_set(result, "seconds_settled", seconds(measure->begin_ns, measure->settled_ns));
    real_set(result, "records_per_s", ratio(done, seconds(measure->begin_ns, measure->end_ns)));
    real_set(result, "records_per_s_settled",
             ratio(done, seconds(measure->begin_ns, measure->settled_ns)));
    real_set(result, "cpu_ns_per_record", ratio((double)measure->cpu_ns, done));
    whole_set(result, "user_bytes", run->user_bytes);
    whole_set(result, "written_bytes", measure->written_bytes);
    whole_set(result, "read_bytes", measure->read_bytes);
    real_set(result, "write_amplification",
             ratio((double)measure->written_bytes, (double)run->user_bytes));
    whole_set(result, "live_bytes", run->live_bytes);
    whole_set(result, "disk_bytes", run->disk_bytes);
    real_set(result, "space_amplification",
             ratio((double)run->disk_bytes, (double)run->live_bytes));
    whole_set(result, "peak_rss_bytes", measure->peak_rss_bytes);
    whole_set(result, "memory_budget_bytes", run->memory_budget_bytes);
    real_set(result, "scan_records_per_s", run->scan_records_per_s);
    latency_set(result, &measure->latency);
    slices_set(result, measure);
    return result;
}
