/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/stress/report.h"

#include <inttypes.h>

#include "tools/command.h"
#include "tools/escape.h"

/* Sums of counters. */
static uint64_t sum_of(const struct tac_stress_board *board,
                       const enum tac_stress_counter *counters, size_t count)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < count; i++) {
        sum += tac_stress_count_of(board, counters[i]);
    }
    return sum;
}

#define SUM(board, ...)                                                                            \
    sum_of((board), (const enum tac_stress_counter[]){__VA_ARGS__},                                \
           sizeof((const enum tac_stress_counter[]){__VA_ARGS__}) /                                \
               sizeof(enum tac_stress_counter))

static uint64_t operations(const struct tac_stress_board *board)
{
    return SUM(board, TAC_STRESS_COUNT_puts, TAC_STRESS_COUNT_deletes,
               TAC_STRESS_COUNT_puts_if_absent, TAC_STRESS_COUNT_exchanges,
               TAC_STRESS_COUNT_batches, TAC_STRESS_COUNT_conflicts, TAC_STRESS_COUNT_gets,
               TAC_STRESS_COUNT_pinned_gets, TAC_STRESS_COUNT_many_gets, TAC_STRESS_COUNT_misses,
               TAC_STRESS_COUNT_scans, TAC_STRESS_COUNT_checkpoints, TAC_STRESS_COUNT_syncs,
               TAC_STRESS_COUNT_drains, TAC_STRESS_COUNT_compactions, TAC_STRESS_COUNT_holds,
               TAC_STRESS_COUNT_pauses, TAC_STRESS_COUNT_thread_changes,
               TAC_STRESS_COUNT_inspections, TAC_STRESS_COUNT_rate_changes,
               TAC_STRESS_COUNT_snapshots_taken, TAC_STRESS_COUNT_snapshots_read,
               TAC_STRESS_COUNT_snapshots_released, TAC_STRESS_COUNT_trees_created,
               TAC_STRESS_COUNT_trees_dropped, TAC_STRESS_COUNT_ranges_deleted,
               TAC_STRESS_COUNT_cache_changes, TAC_STRESS_COUNT_beats, TAC_STRESS_COUNT_runs,
               TAC_STRESS_COUNT_runs_cut, TAC_STRESS_COUNT_ranges_begun,
               TAC_STRESS_COUNT_ranges_cancelled, TAC_STRESS_COUNT_range_steps,
               TAC_STRESS_COUNT_neighbour_writes);
}

static uint64_t reads_checked(const struct tac_stress_board *board)
{
    return SUM(board, TAC_STRESS_COUNT_gets, TAC_STRESS_COUNT_pinned_gets,
               TAC_STRESS_COUNT_many_gets, TAC_STRESS_COUNT_misses,
               TAC_STRESS_COUNT_records_scanned, TAC_STRESS_COUNT_snapshot_records,
               TAC_STRESS_COUNT_tree_reads, TAC_STRESS_COUNT_erased_reads,
               TAC_STRESS_COUNT_neighbour_reads);
}

static uint64_t faults_survived(const struct tac_stress_board *board)
{
    return SUM(board, TAC_STRESS_COUNT_kills, TAC_STRESS_COUNT_kills_early,
               TAC_STRESS_COUNT_refused_full, TAC_STRESS_COUNT_damages_found);
}

static double per_second(uint64_t count, const struct tac_stress_board *board)
{
    return board->worked_ns == 0 ? 0 : (double)count / ((double)board->worked_ns / 1e9);
}

static double rate_of(const struct tac_stress_board *board, enum tac_stress_counter counter)
{
    return per_second(tac_stress_count_of(board, counter), board);
}

/* ---- JSON ----------------------------------------------------------------------------------- */

static void text_member(FILE *out, const char *name, const char *text)
{
    fprintf(out, "  \"%s\": ", name);
    tac_json_text_print(out, text);
    fputs(",\n", out);
}

static void whole_member(FILE *out, const char *name, uint64_t number)
{
    fprintf(out, "  \"%s\": %" PRIu64 ",\n", name, number);
}

static void real_member(FILE *out, const char *name, double number)
{
    fprintf(out, "  \"%s\": %.6f,\n", name, number);
}

void tac_stress_report_json(FILE *out, const struct tac_stress_report *report)
{
    const struct tac_stress_board *board = report->result->board;

    fputs("{\n", out);
    text_member(out, "command", report->command);
    whole_member(out, "seed", report->settings->seed);
    whole_member(out, "keys", report->settings->keys);
    for (uint32_t i = 0; i < TAC_STRESS_ROLES; i++) {
        fprintf(out, "  \"%ss\": %u,\n", tac_stress_roles[i].name, report->settings->counts[i]);
    }
    whole_member(out, "lives", report->result->lives);
    real_member(out, "seconds", report->result->seconds);
    real_member(out, "worked_seconds", (double)board->worked_ns / 1e9);
    whole_member(out, "operations", operations(board));
    real_member(out, "operations_per_s", per_second(operations(board), board));
    real_member(out, "records_written_per_s", rate_of(board, TAC_STRESS_COUNT_records_written));
    for (uint32_t i = 0; i < TAC_STRESS_COUNTERS_COUNT; i++) {
        whole_member(out, tac_stress_counter_names[i],
                     tac_stress_count_of(board, (enum tac_stress_counter)i));
    }
    whole_member(out, "reads_checked", reads_checked(board));
    whole_member(out, "faults_survived", faults_survived(board));
    real_member(out, "longest_write_us", (double)tac_stress_longest_write_ns(board) / 1e3);
    whole_member(out, "waits", board->engine.waits);
    real_member(out, "waited_us", (double)board->engine.wait_ns_total / 1e3);
    real_member(out, "longest_wait_us", (double)board->engine.wait_ns_max / 1e3);
    whole_member(out, "bars", board->engine.bars);
    whole_member(out, "compactions_done", board->engine.compactions);
    whole_member(out, "log_syncs", board->engine.log_syncs);
    fprintf(out, "  \"violations\": %u\n}\n", board->violations);
}

/* ---- for people ----------------------------------------------------------------------------- */

static void counters_print(FILE *out, const struct tac_stress_board *board)
{
    for (uint32_t i = 0; i < TAC_STRESS_COUNTERS_COUNT; i++) {
        uint64_t count = tac_stress_count_of(board, (enum tac_stress_counter)i);

        if (count > 0) {
            fprintf(out, "  %-28s %14" PRIu64 "\n", tac_stress_counter_texts[i], count);
        }
    }
}

void tac_stress_report_table(FILE *out, const struct tac_stress_report *report)
{
    const struct tac_stress_board  *board = report->result->board;
    const struct tac_stress_engine *engine = &board->engine;

    fprintf(out,
            "%s%.1f s, %.1f of them at work, in %" PRIu64 " lives; %" PRIu64
            " operations, %.0f/s\n",
            report->result->is_interrupted ? "ended early: " : "", report->result->seconds,
            (double)board->worked_ns / 1e9, report->result->lives, operations(board),
            per_second(operations(board), board));
    counters_print(out, board);
    fprintf(out, "%-21s %.0f/s\n", "records written",
            rate_of(board, TAC_STRESS_COUNT_records_written));
    fprintf(out, "%-21s %" PRIu64 "\n", "reads checked", reads_checked(board));
    fprintf(out, "%-21s %" PRIu64 " waits for compaction, %.3f s together, longest %.3f ms\n",
            "waits", engine->waits, (double)engine->wait_ns_total / 1e9,
            (double)engine->wait_ns_max / 1e6);
    fprintf(out, "%-21s %.3f ms, behind drains and syncs of others, too\n", "longest write",
            (double)tac_stress_longest_write_ns(board) / 1e6);
    fprintf(out, "%-21s %" PRIu64 " bars, %" PRIu64 " compactions\n", "engine", engine->bars,
            engine->compactions);
    fprintf(out, "%-21s %" PRIu64 " (kills, refusals by a full store, damaged copies)\n",
            "faults survived", faults_survived(board));
    fprintf(out, "%-21s %u\n", "violations", board->violations);
    fprintf(out, "%-21s %s\n", "again", report->command);
}

static const char *text_or_nothing(const char *text) { return text[0] != 0 ? text : "nothing"; }

void tac_stress_report_violations(FILE *out, const struct tac_stress_report *report)
{
    const struct tac_stress_board *board = report->result->board;

    for (uint32_t i = 0; i < TAC_STRESS_VIOLATIONS_KEPT && i < board->violations; i++) {
        if (board->is_kept[i] != 0) {
            fprintf(out, "violation: %s\n", board->texts[i]);
        }
    }
    fprintf(out,
            "  The store is kept: %s\n  Drawn for it: %s\n  Drawn for its last life: %s\n"
            "  Again: %s\n",
            report->settings->path, text_or_nothing(report->result->shape_text),
            text_or_nothing(report->result->options_text), report->command);
}
