/* SPDX-License-Identifier: Apache-2.0 */
/* board -- what the processes and threads of a run of `tactus stress` tell each other:
 * counts, times, violations, and when to stop. In shared memory, so what a process that is killed
 * had noted stays.
 *
 * A row belongs to one thread: row 0 to the supervisor, row 1 to the main thread of the process
 * that has the store open, the others to the workers. Who looks on may see counts that are a moment
 * old. */
#ifndef TACTUS_TOOLS_STRESS_BOARD_H
#define TACTUS_TOOLS_STRESS_BOARD_H

#include <stdarg.h>

#include "base/clock.h"
#include "base/units.h"
#include "queues/atomics.h"
#include "tools/stress/ledger.h"

/* X(name, what it is for people). The names are those in JSON. */
#define TAC_STRESS_COUNTERS(X)                                                                     \
    X(puts, "puts")                                                                                \
    X(deletes, "deletes")                                                                          \
    X(puts_if_absent, "puts if absent")                                                            \
    X(exchanges, "compare and set")                                                                \
    X(batches, "batches")                                                                          \
    X(conflicts, "conflicts, as expected")                                                         \
    X(records_written, "records in all writes")                                                    \
    X(refused_full, "writes refused: full")                                                        \
    X(refused_paused, "calls refused: paused")                                                     \
    X(gets, "gets")                                                                                \
    X(pinned_gets, "pinned gets")                                                                  \
    X(many_gets, "gets in calls of many")                                                          \
    X(misses, "gets of keys that are nowhere")                                                     \
    X(scans, "scans")                                                                              \
    X(expired_scans, "scans that expired")                                                         \
    X(records_scanned, "records in all scans")                                                     \
    X(checkpoints, "checkpoints")                                                                  \
    X(syncs, "syncs")                                                                              \
    X(drains, "drains")                                                                            \
    X(compactions, "compactions by hand")                                                          \
    X(holds, "holds of compaction")                                                                \
    X(pauses, "pauses")                                                                            \
    X(thread_changes, "changes of thread numbers")                                                 \
    X(rate_changes, "changes of the limit of I/O")                                                 \
    X(cache_changes, "changes of the caches' sizes")                                               \
    X(beats, "beats called")                                                                       \
    X(inspections, "statistics, metrics")                                                          \
    X(snapshots_taken, "snapshots taken")                                                          \
    X(snapshots_read, "snapshots read as a whole")                                                 \
    X(snapshots_kept, "snapshots of earlier lives")                                                \
    X(snapshots_released, "snapshots released")                                                    \
    X(snapshot_records, "records read in snapshots")                                               \
    X(trees_created, "trees created")                                                              \
    X(trees_dropped, "trees dropped")                                                              \
    X(tree_records, "records written to these")                                                    \
    X(tree_reads, "records read in these")                                                         \
    X(ranges_deleted, "deleted ranges")                                                            \
    X(erased_records, "records written around them")                                               \
    X(erased_reads, "records read around them")                                                    \
    X(views_kept, "older views of them")                                                           \
    X(ranges_refused, "deleted ranges refused: hold")                                              \
    X(runs, "sorted runs")                                                                         \
    X(records_ingested, "records in all runs")                                                     \
    X(runs_cut, "runs cut short on purpose")                                                       \
    X(runs_refused, "runs refused: levelling")                                                     \
    X(ranges_begun, "key ranges begun")                                                            \
    X(ranges_done, "key ranges done")                                                              \
    X(ranges_cancelled, "key ranges cancelled")                                                    \
    X(range_steps, "steps of key ranges")                                                          \
    X(refused_held, "steps refused: hold")                                                         \
    X(neighbour_opens, "opens of neighbours")                                                      \
    X(neighbour_closes, "closes of neighbours")                                                    \
    X(neighbour_writes, "writes to neighbours")                                                    \
    X(neighbour_reads, "records read in neighbours")                                               \
    X(opens, "opens")                                                                              \
    X(closes, "closes")                                                                            \
    X(abandons, "abandons")                                                                        \
    X(kills, "kills")                                                                              \
    X(kills_early, "kills before the work")                                                        \
    X(whole_checks, "comparisons of everything")                                                   \
    X(verifies, "verifies")                                                                        \
    X(damages_found, "damaged copies found")                                                       \
    X(damages_harmless, "damaged copies in order")                                                 \
    X(damages_lost_reads, "their reads that said so")

enum tac_stress_counter {
#define TAC_STRESS_COUNTER(name, text) TAC_STRESS_COUNT_##name,
    TAC_STRESS_COUNTERS(TAC_STRESS_COUNTER)
#undef TAC_STRESS_COUNTER
    TAC_STRESS_COUNTERS_COUNT,
};

extern const char *const tac_stress_counter_names[TAC_STRESS_COUNTERS_COUNT];
extern const char *const tac_stress_counter_texts[TAC_STRESS_COUNTERS_COUNT];

struct tac_stress_row {
    uint64_t counts[TAC_STRESS_COUNTERS_COUNT];
    uint64_t longest_write_ns; /* By the clock, with all that it waited for */
    uint64_t step_ns;          /* When its owner began what it is doing; 0: nothing */
} TAC_CACHE_ALIGNED;

/* What the process that has the store open is doing. */
enum tac_stress_phase {
    TAC_STRESS_OPENING,
    TAC_STRESS_COMPARING,
    TAC_STRESS_WORKING,
    TAC_STRESS_CLOSING,
    TAC_STRESS_PHASES,
};

/* What the engine said of itself, since the run began. */
struct tac_stress_engine {
    uint64_t waits, wait_ns_total, wait_ns_max;
    uint64_t bars, compactions, log_syncs;
};

/* How far something has come that takes one step after the other, each of which tells by its
 * content alone which it is: a dropper's tree, an eraser's, a neighbour's store. Written by its
 * owner; when nobody works, by whoever opens the store. */
struct tac_stress_course {
    uint64_t begun, done; /* The last step */
    uint64_t safe;        /* A store that is opened again is at this one, or at one up to begun */
};

#define TAC_STRESS_DROPPERS_MAX 4
#define TAC_STRESS_ERASERS_MAX 4
#define TAC_STRESS_NEIGHBOURS_MAX 4
#define TAC_STRESS_ROW_SUPERVISOR 0
#define TAC_STRESS_ROW_MAIN 1
#define TAC_STRESS_ROW_WORKERS 2
#define TAC_STRESS_VIOLATIONS_KEPT 8

struct tac_stress_board {
    uint32_t                 stop;       /* The workers are to end */
    uint32_t                 violations; /* How many; the first ones are kept */
    uint32_t                 is_kept[TAC_STRESS_VIOLATIONS_KEPT]; /* Its text is whole */
    char                     texts[TAC_STRESS_VIOLATIONS_KEPT][TAC_STRESS_MESSAGE_BYTES];
    uint64_t                 pauses_begun, pauses_ended;
    uint64_t                 holds_begun, holds_ended;
    struct tac_stress_course droppers[TAC_STRESS_DROPPERS_MAX];
    struct tac_stress_course erasers[TAC_STRESS_ERASERS_MAX];
    struct tac_stress_course neighbours[TAC_STRESS_NEIGHBOURS_MAX];
    uint32_t                 phase;         /* TAC_STRESS_OPENING … */
    uint64_t                 work_begin_ns; /* Of this process' workers; 0: not yet */
    uint64_t                 worked_ns;     /* In which any workers worked */
    struct tac_stress_engine engine;        /* Written by the main thread */
    uint32_t                 row_count;
    struct tac_stress_row    rows[];
};

/* NULL: out of memory. */
struct tac_stress_board *tac_stress_board_new(uint32_t row_count);
void                     tac_stress_board_free(struct tac_stress_board *board);

/* Something is not as it must be: what, where, found, expected. The workers stop. */
void tac_stress_violation(struct tac_stress_board *board, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
bool tac_stress_is_stopped(const struct tac_stress_board *board);

/* By the row's owner. */
static inline void tac_stress_count_add(struct tac_stress_row *row, enum tac_stress_counter counter,
                                        uint64_t more)
{
    uint64_t *word = &row->counts[counter];

    tac_atomic_store_relaxed_u64(word, tac_atomic_load_relaxed_u64(word) + more);
}

#define TAC_STRESS_COUNT(row, name) tac_stress_count_add((row), TAC_STRESS_COUNT_##name, 1)
#define TAC_STRESS_COUNT_MORE(row, name, more)                                                     \
    tac_stress_count_add((row), TAC_STRESS_COUNT_##name, (more))

/* It has begun something new, and does not hang. */
static inline void tac_stress_step_begin(struct tac_stress_row *row)
{
    tac_atomic_store_release_u64(&row->step_ns, tac_clock_now_ns());
}

/* Of all rows together. */
uint64_t tac_stress_count_of(const struct tac_stress_board *board, enum tac_stress_counter counter);
uint64_t tac_stress_longest_write_ns(const struct tac_stress_board *board);

#endif
