/* SPDX-License-Identifier: Apache-2.0 */
/* metrics -- the statistics of tactus.h as text for Prometheus: exposition format 0.0.4. */
#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/units.h"
#include "pipeline/api_internal.h"

#define NS_PER_S UINT64_C(1000000000)

/* ---- text that may not fit ------------------------------------------------------------------- */

struct text {
    char       *buffer;
    size_t      room; /* With the terminator */
    size_t      size; /* Of the whole text, whether or not there is room */
    const char *labels;
};

static void __attribute__((format(printf, 2, 3)))
text_put(struct text *text, const char *format, ...)
{
    size_t  left = text->size < text->room ? text->room - text->size : 0;
    va_list arguments;
    int     size;

    va_start(arguments, format);
    size = vsnprintf(left > 0 ? text->buffer + text->size : NULL, left, format, arguments);
    va_end(arguments);
    tac_assert(size >= 0);
    text->size += (size_t)size;
}

/* The name of a sample with its labels; label NULL: only the caller's. */
static void sample_put(struct text *text, const char *name, const char *suffix, const char *label,
                       const char *value)
{
    bool has_both = text->labels[0] != 0 && label != NULL;

    text_put(text, "tactus_%s%s", name, suffix);
    if (text->labels[0] == 0 && label == NULL) {
        return;
    }
    text_put(text, "{%s%s", text->labels, has_both ? "," : "");
    if (label != NULL) {
        text_put(text, "%s=\"%s\"", label, value);
    }
    text_put(text, "}");
}

static void header_put(struct text *text, const char *name, const char *type, const char *help)
{
    text_put(text, "# HELP tactus_%s %s\n# TYPE tactus_%s %s\n", name, help, name, type);
}

/* ---- what there is --------------------------------------------------------------------------- */

enum unit {
    UNIT_ONE,
    UNIT_NS, /* Shown as seconds */
};

/* A number of a struct. */
struct metric {
    const char *name;
    const char *type;
    const char *help;
    uint16_t    offset, size;
    enum unit   unit;
};

#define FIELD(structure, field)                                                                    \
    offsetof(struct structure, field), sizeof(((struct structure *)0)->field)
#define COUNTER(name, field, help)                                                                 \
    {                                                                                              \
        name "_total", "counter", help, FIELD(tactus_stats, field), UNIT_ONE                       \
    }
#define GAUGE(name, field, help)                                                                   \
    {                                                                                              \
        name, "gauge", help, FIELD(tactus_stats, field), UNIT_ONE                                  \
    }

static const struct metric store_metrics[] = {
    GAUGE("last_op", last_op, "Number of the last op."),
    GAUGE("durable_op", durable_op, "Number of the last op that a crash cannot take back."),
    GAUGE("checkpoint", checkpoint_sequence, "Number of the last durable checkpoint."),
    COUNTER("bars", bars, "Bars ended."),
    GAUGE("beat", beats, "Beat of the plan under way."),
    COUNTER("user_bytes", user_bytes, "Keys and values accepted by writes."),
    COUNTER("records_put", records_put, "Records put."),
    COUNTER("records_deleted", records_deleted, "Records deleted."),
    COUNTER("written_bytes", written_bytes, "Written to the store file."),
    COUNTER("read_bytes", read_bytes, "Read from the store file."),
    COUNTER("cache_hits", cache_hits, "Blocks and pages that reads found in memory."),
    COUNTER("cache_misses", cache_misses, "Blocks and pages that reads did not find in memory."),
    COUNTER("cache_carried", cache_carried, "Pages put into the cache by compactions."),
    COUNTER("level0_cache_hits", level0_cache_hits, "Blocks that compactions found in memory."),
    GAUGE("wait_bound_bytes", wait_bound_bytes, "The most work that one wait covers, in this bar."),
    COUNTER("checkpoint_waits", checkpoint_waits, "Bars that had to wait for a checkpoint."),
    COUNTER("log_bytes", log_bytes, "Written to the write-ahead log."),
    COUNTER("log_syncs", log_syncs, "Syncs of the write-ahead log."),
    COUNTER("log_waits", log_waits, "Writes that waited for room in the write-ahead log."),
    COUNTER("tight_plans", tight_plans, "Plans made with few tables, as blocks were scarce."),
    COUNTER("compactions", compactions, "Compactions and flushes planned."),
    COUNTER("jobs", jobs, "Jobs that they were cut into."),
    COUNTER("tables_moved", tables_moved, "Tables that changed level in the manifest only."),
    COUNTER("tables_written", tables_written, "Tables written."),
    COUNTER("records_merged", records_merged, "Records read by compactions and flushes."),
    COUNTER("records_overwritten", records_overwritten, "Versions dropped for a newer one."),
    COUNTER("tombstones_dropped", tombstones_dropped, "Tombstones dropped."),
    COUNTER("records_discarded", records_discarded, "Records dropped with their trees unflushed."),
    GAUGE("bar_work_bytes", bar_work_bytes, "Planned input of the bar under way."),
    GAUGE("bar_work_done_bytes", bar_work_done_bytes, "Of that, what is done."),
    GAUGE("block_size_bytes", block_size, "Size of a block."),
    GAUGE("blocks_acquired", blocks_acquired, "Blocks in use."),
    GAUGE("blocks_released", blocks_released, "Blocks that the next checkpoint makes free."),
    GAUGE("blocks_in_file", blocks_in_file, "Blocks of the file, free ones included."),
    GAUGE("live_bytes", live_bytes, "Keys and values in tables, tombstones included."),
    GAUGE("tables_damaged", tables_damaged, "Tables that compactions found damaged."),
    GAUGE("tables_discarded", tables_discarded, "Tables whose blocks are still to be given back."),
    GAUGE("discarded_bytes", discarded_bytes, "What these tables take in the file."),
    COUNTER("discards_done", discards_done, "Discarded tables whose blocks were given back."),
    GAUGE("discards_damaged", discards_damaged, "Discarded tables whose space damage has lost."),
    GAUGE("tables_retained", tables_retained, "Tables that only snapshots have."),
    GAUGE("retained_bytes", retained_bytes, "What these tables take in the file."),
    COUNTER("scrub_blocks", scrub_blocks, "Blocks read and checked by the scrub."),
    COUNTER("scrub_rounds", scrub_rounds, "Whole rounds of the scrub."),
    GAUGE("scrub_round_blocks", scrub_round_blocks, "Blocks of the scrub's round under way."),
    COUNTER("scrub_damages", scrub_damages, "Blocks that the scrub found damaged."),
    GAUGE("memory_budget_bytes", memory_budget_bytes, "The most memory that the store may take."),
    GAUGE("manifest_log_blocks", manifest_log_blocks, "Blocks of the manifest log."),
    GAUGE("depth", depth_max, "Most tables over one key of a level since open."),
    GAUGE("trees", trees, "Trees."),
    GAUGE("snapshots", snapshots, "Snapshots."),
    GAUGE("ranges", ranges, "Deleted ranges that tables or memtables may have records of."),
    COUNTER("records_range_deleted", records_range_deleted,
            "Records left out as a range had deleted them."),
    COUNTER("syncs", syncs, "Syncs of the store file."),
    {"sync_seconds_max", "gauge", "The longest of these syncs.", FIELD(tactus_stats, sync_ns_max),
     UNIT_NS},
    GAUGE("levels", levels, "Levels of the deepest tree."),
    GAUGE("threads_read", threads_read, "Threads that read."),
    GAUGE("threads_merge", threads_merge, "Threads that merge."),
    GAUGE("threads_write", threads_write, "Threads that write."),
};

#define LEVEL(name, field, help)                                                                   \
    {                                                                                              \
        "level_" name, "gauge", help, FIELD(tactus_level_stats, field), UNIT_ONE                   \
    }

static const struct metric level_metrics[] = {
    LEVEL("tables", tables, "Tables of a level."),
    LEVEL("bytes", bytes, "Keys and values of a level."),
    LEVEL("records", records, "Records of a level, tombstones included."),
    LEVEL("tombstones", tombstones, "Tombstones of a level."),
    LEVEL("depth", depth, "Most tables of a level over one key."),
};

#define STAGE(name, field, unit, help)                                                             \
    {                                                                                              \
        "stage_" name "_total", "counter", help, FIELD(tactus_stage_stats, field), unit            \
    }

static const struct metric stage_metrics[] = {
    STAGE("bytes", bytes, UNIT_ONE, "What a stage has read, merged or written."),
    STAGE("items", items, UNIT_ONE, "Requests or turns of a stage."),
    STAGE("busy_seconds", busy_ns, UNIT_NS, "Time in steps that did something."),
    STAGE("gathered_bytes", gathered_bytes, UNIT_ONE, "Taken out of memtables for flushes."),
    STAGE("gather_seconds", gather_ns, UNIT_NS, "Time that this took; part of the busy time."),
    STAGE("idle_seconds", idle_ns, UNIT_NS, "Time asleep: the sum of those that follow."),
    STAGE("wait_work_seconds", wait_work_ns, UNIT_NS, "Nothing was there to be done."),
    STAGE("wait_device_seconds", wait_device_ns, UNIT_NS, "Requests were at the device."),
    STAGE("wait_credit_seconds", wait_credit_ns, UNIT_NS, "Compaction was ahead of the writer."),
    STAGE("wait_read_seconds", wait_read_ns, UNIT_NS, "Merges waited for blocks to be read."),
    STAGE("wait_write_seconds", wait_write_ns, UNIT_NS, "Merges waited for blocks being written."),
};

static void value_put(struct text *text, const struct metric *metric, const void *structure)
{
    const char *field = (const char *)structure + metric->offset;
    uint64_t    wide;
    uint32_t    narrow;

    if (metric->size == sizeof narrow) {
        memcpy(&narrow, field, sizeof narrow);
        wide = narrow;
    } else {
        tac_assert(metric->size == sizeof wide);
        memcpy(&wide, field, sizeof wide);
    }
    if (metric->unit == UNIT_NS) {
        text_put(text, " %" PRIu64 ".%09" PRIu64 "\n", wide / NS_PER_S, wide % NS_PER_S);
    } else {
        text_put(text, " %" PRIu64 "\n", wide);
    }
}

static void levels_put(struct text *text, const struct tactus_stats *stats)
{
    char number[16];

    for (size_t i = 0; i < TAC_ARRAY_COUNT(level_metrics); i++) {
        const struct metric *metric = &level_metrics[i];

        header_put(text, metric->name, metric->type, metric->help);
        for (uint32_t level = 0; level < stats->levels; level++) {
            snprintf(number, sizeof number, "%u", level);
            sample_put(text, metric->name, "", "level", number);
            value_put(text, metric, &stats->level[level]);
        }
    }
}

static void stages_put(struct text *text, const struct tactus_stats *stats)
{
    static const char *const names[TACTUS_STAGES] = {"read", "merge", "write", "coordinator"};

    for (size_t i = 0; i < TAC_ARRAY_COUNT(stage_metrics); i++) {
        const struct metric *metric = &stage_metrics[i];

        header_put(text, metric->name, metric->type, metric->help);
        for (uint32_t stage = 0; stage < TACTUS_STAGES; stage++) {
            sample_put(text, metric->name, "", "stage", names[stage]);
            value_put(text, metric, &stats->stage[stage]);
        }
    }
}

/* A histogram's buckets hold those below them too. */
static void waits_put(struct text *text, const struct tactus_stats *stats)
{
    static const char name[] = "wait_seconds";
    uint64_t          waits = 0;
    char              limit[24];

    header_put(text, name, "histogram", "How long writes waited for compaction, if they did.");
    for (uint32_t i = 0; i < TACTUS_WAIT_BUCKETS; i++) {
        waits += stats->wait_buckets[i];
        snprintf(limit, sizeof limit, "%.6f", (double)((uint64_t)1 << i) / 1e6);
        sample_put(text, name, "_bucket", "le", i + 1 < TACTUS_WAIT_BUCKETS ? limit : "+Inf");
        text_put(text, " %" PRIu64 "\n", waits);
    }
    sample_put(text, name, "_sum", NULL, NULL);
    text_put(text, " %" PRIu64 ".%09" PRIu64 "\n", stats->wait_ns_total / NS_PER_S,
             stats->wait_ns_total % NS_PER_S);
    sample_put(text, name, "_count", NULL, NULL);
    text_put(text, " %" PRIu64 "\n", waits);
    header_put(text, "wait_seconds_max", "gauge", "The longest of these waits.");
    sample_put(text, "wait_seconds_max", "", NULL, NULL);
    text_put(text, " %" PRIu64 ".%09" PRIu64 "\n", stats->wait_ns_max / NS_PER_S,
             stats->wait_ns_max % NS_PER_S);
}

int tactus_metrics(struct tactus *store, const char *labels, char *buffer, size_t buffer_size,
                   size_t *ret_size)
{
    struct text         text = {buffer, buffer_size, 0, labels != NULL ? labels : ""};
    struct tactus_stats stats;

    if (tac_api_fork_check(store) != TACTUS_OK) {
        return tac_api_error.code;
    }
    if (buffer == NULL && buffer_size > 0) {
        return tac_error_set(&tac_api_error, TACTUS_EINVAL, "no buffer");
    }
    tactus_stat(store, &stats);
    for (size_t i = 0; i < TAC_ARRAY_COUNT(store_metrics); i++) {
        const struct metric *metric = &store_metrics[i];

        header_put(&text, metric->name, metric->type, metric->help);
        sample_put(&text, metric->name, "", NULL, NULL);
        value_put(&text, metric, &stats);
    }
    header_put(&text, "info", "gauge", "How the file is accessed.");
    sample_put(&text, "info", "", "backend", stats.backend);
    text_put(&text, " 1\n");
    waits_put(&text, &stats);
    levels_put(&text, &stats);
    stages_put(&text, &stats);
    *ret_size = text.size;
    return TACTUS_OK;
}
