/* SPDX-License-Identifier: Apache-2.0 */
/* planner -- which tables to compact in a bar, in which jobs, and where to cut the output. Pure:
 * no clock, no thread, no I/O, no allocation after create. The same input gives the same plan.
 *
 * Keys   The planner never sees a key. The caller sorts every table's key_min and key_max (and the
 *        flush's first and last key) and numbers the distinct ones: the ranks 0 … edge_count - 1.
 *        Equal keys have equal ranks. All overlap tests are integer comparisons.
 * Bytes  Payload: keys and values, as the manifest counts them.
 * Rules  docs/COMPACTION.md tells them in order, with the bounds they keep.
 */
#ifndef TACTUS_PIPELINE_PLANNER_H
#define TACTUS_PIPELINE_PLANNER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"
#include "lsm/planner_state.h"
#include "tactus.h"

#define TAC_EDGE_NONE UINT32_MAX /* No limit on this side of a range */

/* Fixed at create. */
struct tac_planner_options {
    uint64_t memtable_size;  /* M, payload bytes a bar can bring at most */
    uint64_t block_size;     /* Smallest useful table */
    uint64_t table_size;     /* Largest target of a table */
    uint64_t slice_size;     /* Compactions above this get several jobs */
    uint32_t runs_per_level; /* R; 1 is classic levelling with two plans a bar */
    uint32_t last_ratio;     /* rho */
    uint32_t tables_max;     /* Tables of the store, at most */
};

/* A table as the planner sees it. */
struct tac_plan_table {
    uint32_t
        edge_min; /* Rank of key_min: the smallest key, or the edge below which it was sliced */
    uint32_t edge_max; /* Rank of key_max, inclusive; >= edge_min */
    uint64_t stamp;    /* Of overlapping tables of a level the higher one is newer */
    uint64_t bytes;
    uint64_t records; /* Tombstones included */
    uint64_t tombstones;
    bool     is_damaged; /* Never taken, nor what is newer above it */
};

struct tac_plan_input {
    /* Level L's tables: tables[level_start[L]] … tables[level_start[L + 1] - 1], in order of
     * (edge_min, edge_max, stamp). Levels above state->last_level are empty. */
    const struct tac_plan_table *tables;
    uint32_t                     level_start[TACTUS_LEVELS_MAX + 1];
    uint32_t                     edge_count;
    /* The flush: payload bytes and first and last key; bytes 0: nothing to flush. */
    uint64_t flush_bytes;
    uint64_t flush_records;
    uint64_t flush_tombstones;
    uint32_t flush_edge_min, flush_edge_max;
    /* flush_bytes_below[e]: payload bytes of the flush with keys below edge e; edge_count entries,
     * exact or estimated, never falling. NULL when flush_bytes is 0. */
    const uint64_t *flush_bytes_below;
    uint32_t        half;        /* Runs of 1 only: 0 for the bar's first plan, 1 for its second */
    bool            is_held;     /* Plan nothing but the flush */
    bool            is_tight;    /* As few tables as can be: blocks are scarce; no bound holds */
    uint32_t        bars_stuck;  /* So many bars in a row found no room: compactions get smaller */
    bool            is_draining; /* Bars of no length: no pulling forward, no evening out: what is
                                    over size or depth is due, each compaction within its bound */
    bool            is_manual;   /* Everything in [manual_edge_min, manual_edge_max] is due at every
                                    level above the last, whatever size and depth say */
    uint32_t        manual_edge_min, manual_edge_max;
    bool            is_sweeping; /* Of what the bar's own plan leaves, tables that reach
                                    sweep_edge_min and begin below sweep_edge_end are taken out of
                                    sweep_level in order of keys, some memtables' bytes a bar: of
                                    this level those that reach sweep_edge_place; then of the next
                                    one */
    uint32_t        sweep_level;
    uint32_t        sweep_edge_min, sweep_edge_place, sweep_edge_end;
};

enum tac_plan_kind {
    TAC_PLAN_FLUSH,    /* The immutable memtable into level 0 (runs of 1: merged with its tables) */
    TAC_PLAN_MERGE,    /* Tables of level A, with B's overlapping ones if B is last or R is 1 */
    TAC_PLAN_IN_PLACE, /* Tables of A into A */
    TAC_PLAN_MOVE,     /* One table changes level in the manifest only */
    TAC_PLAN_DISCARD,  /* Not the planner's: a discarded table's blocks are given back (bar.h) */
};

/* Why a compaction was chosen: what was due when it was. */
enum tac_plan_reason {
    TAC_PLAN_FOR_FLUSH,
    TAC_PLAN_FOR_DEPTH, /* More than R tables over a key */
    TAC_PLAN_FOR_SIZE,  /* The level is above its capacity */
    TAC_PLAN_FORWARD,   /* Due soon, and the bar had less to do than the others */
    TAC_PLAN_BY_HAND,   /* A manual compaction, or a sweep */
    TAC_PLAN_FOR_SPACE, /* Not the planner's word: manual, since the store is full (space.h) */
};

/* Where an output table ends. The records of a job up to `edge` (exclusive; TAC_EDGE_NONE: to the
 * job's end) go into tables of at most limit_bytes each. At a soft cut a table that has less than
 * table_bytes_min goes on into the next stretch; at a hard one it ends whatever its size. */
#define TAC_PLAN_LIMIT_NONE (UINT64_MAX / 2)

struct tac_plan_cut {
    uint32_t edge;
    bool     is_hard;
    uint64_t limit_bytes;
};

/* A key slice of one compaction: [edge_begin, edge_end), TAC_EDGE_NONE = no limit. */
struct tac_plan_job {
    uint32_t edge_begin, edge_end;
    uint32_t cut_first, cut_count; /* In plan->cuts; at least one; the last has edge = edge_end */
    uint64_t bytes;                /* Share of the compaction's input bytes; a compaction's jobs
                                       add up to its bytes exactly */
    bool     drops_tombstones;     /* In the manifest of the plan, the inputs apart, no table of B
                                       or deeper, nor (in place) an older one of A, overlaps it */
};

struct tac_plan_compaction {
    enum tac_plan_kind   kind;
    enum tac_plan_reason reason;
    uint32_t             level_source; /* For a flush: 0, like level_target */
    uint32_t             level_target;
    uint32_t input_first, input_count; /* In plan->inputs: indexes into tables[]; for an input of
                                          level_source and for one of level_target alike; newest
                                          first is not promised: stamps tell */
    uint32_t edge_slice; /* Takes only keys below this edge, leaves the rest; or TAC_EDGE_NONE */
    uint32_t job_first, job_count; /* 0 jobs for a move */
    uint64_t bytes;                /* Input bytes (of a slice: estimated), flush included */
    uint64_t stamp; /* In place: the outputs take this stamp; else 0: a new one at commit */
};

/* Valid until the next tac_planner_plan on the same planner. */
struct tac_plan {
    struct tac_plan_compaction *compactions;
    struct tac_plan_job        *jobs;
    struct tac_plan_cut        *cuts;
    uint32_t                   *inputs;
    uint32_t                    compaction_count, job_count, cut_count, input_count;
    uint64_t                    bytes;           /* Sum of the compactions' bytes (moves: 0) */
    uint64_t                    table_bytes;     /* T: what a table should hold */
    uint64_t                    table_bytes_min; /* See tac_plan_cut */
    /* What is due and was left for later bars, by level; of a level above the last one that is not
     * planned in this half of a bar: nothing. */
    struct tac_plan_due {
        uint64_t bytes; /* Weight above the level's capacity */
        uint32_t depth; /* Tables over a key, if more than R */
    } due[TACTUS_LEVELS_MAX];
    /* Of a sweep: its level and place when all compactions of the plan are done. TAC_EDGE_NONE: the
     * place has not moved; or, in another level than before, it is where the range begins. */
    uint32_t sweep_level, sweep_edge;
};

struct tac_planner;

/* Allocates everything the planner will ever need; NULL: out of memory. */
struct tac_planner *tac_planner_new(const struct tac_planner_options *options);
void                tac_planner_free(struct tac_planner *planner);
uint64_t            tac_planner_memory_bytes(const struct tac_planner_options *options);

void tac_planner_state_init(struct tac_planner_state *state);

/* Plans one bar (runs of 1: half a bar) of one tree and brings *state up to date. Never fails: what
 * does not fit the planner's arrays stays for a later bar. The last level (state->last_level)
 * changes only in tac_planner_sink. */
const struct tac_plan *tac_planner_plan(struct tac_planner          *planner,
                                        struct tac_planner_state    *state,
                                        const struct tac_plan_input *input);

/* After the commit: lets the last level sink while it is too large for its number. Returns how many
 * numbers it sank: that many times the tables of level K are to be renumbered K + 1 (manifest
 * only). */
uint32_t tac_planner_sink(const struct tac_planner_options *options,
                          struct tac_planner_state *state, uint64_t last_level_size);

/* Size of a level as capacities count it: bytes, and for a tombstone one more mean record. */
uint64_t tac_planner_level_size(uint64_t bytes, uint64_t records, uint64_t tombstones);

/* T: what a table should hold, in a tree that is to get so many bytes at once; at most a
 * memtable. */
uint64_t tac_planner_table_bytes(const struct tac_planner_options *options,
                                 const struct tac_planner_state *state, uint64_t arriving_bytes);
/* Tables of this weight come to the tree that no flush has made: they count as the flushes of full
 * memtables that they might have been. */
void tac_planner_arrive(const struct tac_planner_options *options, struct tac_planner_state *state,
                        uint64_t weight);

/* True when no level above the last is over its size or depth: with empty memtables the tree is
 * settled. */
bool tac_planner_is_settled(struct tac_planner *planner, const struct tac_planner_state *state,
                            const struct tac_plan_input *input);

#endif
