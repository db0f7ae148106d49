/* SPDX-License-Identifier: Apache-2.0 */
/* stat -- the store's statistics for people and for programs. */
#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#include "tools/command.h"
#include "tools/plan_table.h"
#include "tools/stage_report.h"

struct stat_entry {
    const char *name;
    size_t      offset;
    size_t      size;
};

#define ENTRY(field)                                                                               \
    {                                                                                              \
#field, offsetof(struct tactus_stats, field), sizeof(((struct tactus_stats *)0)->field)    \
    }

static const struct stat_entry entries[] = {
    ENTRY(last_op),
    ENTRY(durable_op),
    ENTRY(checkpoint_sequence),
    ENTRY(bars),
    ENTRY(beats),
    ENTRY(user_bytes),
    ENTRY(records_put),
    ENTRY(records_deleted),
    ENTRY(written_bytes),
    ENTRY(read_bytes),
    ENTRY(cache_hits),
    ENTRY(cache_misses),
    ENTRY(cache_carried),
    ENTRY(level0_cache_hits),
    ENTRY(waits),
    ENTRY(wait_ns_total),
    ENTRY(wait_ns_max),
    ENTRY(wait_bound_bytes),
    ENTRY(checkpoint_waits),
    ENTRY(log_bytes),
    ENTRY(log_syncs),
    ENTRY(log_waits),
    ENTRY(tight_plans),
    ENTRY(compactions),
    ENTRY(jobs),
    ENTRY(tables_moved),
    ENTRY(tables_written),
    ENTRY(records_merged),
    ENTRY(records_overwritten),
    ENTRY(tombstones_dropped),
    ENTRY(records_discarded),
    ENTRY(bar_work_bytes),
    ENTRY(bar_work_done_bytes),
    ENTRY(block_size),
    ENTRY(blocks_acquired),
    ENTRY(blocks_released),
    ENTRY(blocks_in_file),
    ENTRY(live_bytes),
    ENTRY(tables_damaged),
    ENTRY(tables_discarded),
    ENTRY(discarded_bytes),
    ENTRY(discards_done),
    ENTRY(discards_damaged),
    ENTRY(tables_retained),
    ENTRY(retained_bytes),
    ENTRY(scrub_blocks),
    ENTRY(scrub_rounds),
    ENTRY(scrub_round_blocks),
    ENTRY(scrub_damages),
    ENTRY(memory_budget_bytes),
    ENTRY(manifest_log_blocks),
    ENTRY(depth_max),
    ENTRY(threads_read),
    ENTRY(threads_merge),
    ENTRY(threads_write),
    ENTRY(trees),
    ENTRY(snapshots),
    ENTRY(ranges),
    ENTRY(records_range_deleted),
    ENTRY(syncs),
    ENTRY(sync_ns_max),
    ENTRY(levels),
};

static uint64_t entry_value(const struct stat_entry *entry, const struct tactus_stats *stats)
{
    const char *field = (const char *)stats + entry->offset;
    uint64_t    wide;
    uint32_t    narrow;

    if (entry->size == sizeof wide) {
        memcpy(&wide, field, sizeof wide);
        return wide;
    }
    tac_assert(entry->size == sizeof narrow);
    memcpy(&narrow, field, sizeof narrow);
    return narrow;
}

void tac_stats_members_print(FILE *out, const struct tactus_stats *stats)
{
    tac_assert(stats->levels <= TACTUS_LEVELS_MAX);
    for (size_t i = 0; i < sizeof entries / sizeof entries[0]; i++) {
        fprintf(out, "\"%s\": %" PRIu64 ",\n", entries[i].name, entry_value(&entries[i], stats));
    }
    for (uint32_t i = 0; i < TAC_STAGE_FIGURES; i++) {
        fprintf(out, "\"%s\": %" PRIu64 ",\n", tac_stage_figures[i].name,
                tac_stage_figure_value(&tac_stage_figures[i], stats->stage));
    }
    for (uint32_t i = 0; i < stats->levels; i++) {
        const struct tactus_level_stats *level = &stats->level[i];

        fprintf(out,
                "\"level%u_tables\": %" PRIu64 ", \"level%u_bytes\": %" PRIu64
                ", \"level%u_records\": %" PRIu64 ",\n"
                "\"level%u_tombstones\": %" PRIu64 ", \"level%u_depth\": %u,\n",
                i, level->tables, i, level->bytes, i, level->records, i, level->tombstones, i,
                level->depth);
    }
    fprintf(out, "\"backend\": \"%s\",\n\"direct_io\": %s\n", stats->backend,
            stats->direct_io ? "true" : "false");
}

static void levels_print(const struct tactus_stats *stats)
{
    char bytes[TAC_HUMAN_BYTES];

    printf("\nlevel  depth   tables      records   tombstones        size\n");
    for (uint32_t i = 0; i < stats->levels; i++) {
        const struct tactus_level_stats *level = &stats->level[i];

        printf("%5u %6u %8" PRIu64 " %12" PRIu64 " %12" PRIu64 " %11s\n", i, level->depth,
               level->tables, level->records, level->tombstones, tac_human(level->bytes, bytes));
    }
}

static void human_print(const struct tactus_stats *stats)
{
    char     live[TAC_HUMAN_BYTES], file[TAC_HUMAN_BYTES], memory[TAC_HUMAN_BYTES];
    char     work[TAC_HUMAN_BYTES], bound[TAC_HUMAN_BYTES], discarded[TAC_HUMAN_BYTES];
    char     retained[TAC_HUMAN_BYTES];
    uint64_t block = stats->block_size;

    tac_assert(stats->levels <= TACTUS_LEVELS_MAX);
    printf("trees             %u\n", stats->trees);
    printf("operations        %" PRIu64 ", durable up to %" PRIu64 " (checkpoint %" PRIu64 ")\n",
           stats->last_op, stats->durable_op, stats->checkpoint_sequence);
    printf("in tables         %s of keys and values\n", tac_human(stats->live_bytes, live));
    printf("file              %s: %" PRIu64 " blocks of %" PRIu64 " bytes, %" PRIu64
           " in use, %" PRIu64 " free at the next checkpoint\n",
           tac_human(stats->blocks_in_file * block, file), stats->blocks_in_file, block,
           stats->blocks_acquired, stats->blocks_released);
    if (stats->snapshots > 0 || stats->tables_retained > 0) {
        printf("snapshots         %u, of which %s in %" PRIu64 " tables are no one else's\n",
               stats->snapshots, tac_human(stats->retained_bytes, retained),
               stats->tables_retained);
    }
    if (stats->tables_discarded > 0) {
        printf("to be given back  %s of %" PRIu64 " discarded tables, %" PRIu64
               " of them damaged: their space is lost\n",
               tac_human(stats->discarded_bytes, discarded), stats->tables_discarded,
               stats->discards_damaged);
    }
    printf("planned work      %s of this bar's compaction\n",
           tac_human(stats->bar_work_bytes - stats->bar_work_done_bytes, work));
    printf("longest wait      the work of at most %s\n", tac_human(stats->wait_bound_bytes, bound));
    printf("memory            %s\n", tac_human(stats->memory_budget_bytes, memory));
    printf("threads           %u read, %u merge, %u write\n", stats->threads_read,
           stats->threads_merge, stats->threads_write);
    printf("input/output      %s, %s\n", stats->backend, stats->direct_io ? "direct" : "buffered");
    if (stats->scrub_blocks > 0) {
        printf("scrub             %" PRIu64 " blocks read in %" PRIu64
               " whole rounds, %" PRIu64 " of them damaged\n",
               stats->scrub_blocks, stats->scrub_rounds, stats->scrub_damages);
    }
    levels_print(stats);
    if (stats->stage[TACTUS_STAGE_MERGE].items > 0) { /* What the open itself found to do */
        putchar('\n');
        tac_stages_table(stdout, stats->stage);
    }
}

static int prometheus_print(struct tactus *store)
{
    char   text[1 << 15];
    size_t size;
    int    code = tactus_metrics(store, NULL, text, sizeof text, &size);

    if (code != TACTUS_OK) {
        return tac_fail_code(code);
    }
    tac_assert(size < sizeof text);
    fputs(text, stdout);
    return TAC_EXIT_OK;
}

int tac_cmd_stat(struct tac_arguments *arguments)
{
    struct tactus_stats stats;
    struct tac_session  session;
    int                 status;

    tac_assert(arguments->operand_count == 0);
    if (arguments->has_json + arguments->has_plan + arguments->has_prometheus > 1) {
        return tac_fail(TAC_EXIT_USAGE, "one of --json, --plan and --prometheus at a time\n"
                                        "  Each is an output of its own.");
    }
    status = tac_session_open(arguments, true, &session);
    if (status != TAC_EXIT_OK) {
        return status;
    }
    tactus_stat(session.store, &stats);
    if (arguments->has_plan) {
        status = tac_plan_print(stdout, session.store);
    } else if (arguments->has_prometheus) {
        status = prometheus_print(session.store);
    } else if (arguments->has_json) {
        printf("{\n");
        tac_stats_members_print(stdout, &stats);
        printf("}\n");
    } else {
        human_print(&stats);
    }
    tac_session_release(&session);
    return status;
}
