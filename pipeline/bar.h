/* SPDX-License-Identifier: Apache-2.0 */
/* bar -- one plan of work: the compactions of all trees, their jobs, and everything reserved for
 * them before they begin. Coordinator only, but for the jobs that are seated.
 *
 * Everything here depends on the manifest, the immutable memtable's key order and the free set as
 * of the plan, and on nothing else: neither threads nor time. */
#ifndef TACTUS_PIPELINE_BAR_H
#define TACTUS_PIPELINE_BAR_H

#include "lsm/free_set.h"
#include "lsm/manifest.h"
#include "base/mutant.h"
#include "lsm/memtable.h"
#include "lsm/snapshot_directory.h"
#include "lsm/superblock.h"
#include "pipeline/planner.h"
#include "stages/seat.h"

/* For each compaction of a plan, and once more, so many old blocks of the manifest log are
 * carried. */
#define TAC_BAR_LOG_CARRY_BLOCKS 2

/* Discarded tables that a plan takes: at most; and, if there are as many, always
 * (bar_discards.c). */
#define TAC_BAR_DISCARDS_MAX 1024
#define TAC_BAR_DISCARDS_LEAST 4

struct tac_bar_input {
    struct tac_table *table;
    uint32_t         *addresses; /* Of its value and filter blocks, noted by a job */
    uint32_t          address_count;
};

struct tac_bar_compaction {
    enum tac_plan_kind    kind;
    enum tac_plan_reason  reason;
    uint32_t              tree;
    uint32_t              level_source, level_target;
    uint64_t              stamp; /* In place: the outputs'; else 0 */
    struct tac_bytes      slice; /* Keys at and above stay behind; size 0: none */
    struct tac_bar_input *inputs;
    uint32_t              input_count;
    uint32_t              job_first, job_count;
    uint64_t              bytes;
};

/* Bump memory of a bar: emptied at the next plan, never grown. */
struct tac_bar_arena {
    uint8_t *base;
    uint64_t size, used;
};

struct tac_bar_limits {
    uint32_t tables_max;
    uint32_t filter_bits_per_key;
    uint64_t table_records_max; /* Of the table builders */
};

struct tac_bar_edge {
    uint64_t         prefix;
    struct tac_bytes key;
    uint32_t        *rank; /* Where to note the key's rank */
};

/* Deleted ranges of a tree that the plan knows. */
struct tac_bar_ranges {
    struct tac_range *ranges;
    uint32_t          count;
};

struct tac_bar {
    /* Fixed at open */
    struct tac_geometry    geometry;
    struct tac_bar_limits  limits;
    struct tac_planner    *planner;
    struct tac_bar_arena   arena;
    struct tac_bar_edge   *edges, *edges_scratch;             /* 2 * tables_max + 2 each */
    struct tac_bytes      *edge_keys;                         /* By rank */
    uint64_t              *flush_below, *flush_records_below; /* By rank */
    struct tac_plan_table *plan_tables;
    struct tac_table     **tables; /* Parallel to plan_tables */
    /* Per plan */
    struct tac_bar_compaction *compactions;
    uint32_t                   compaction_count;
    uint32_t                   discard_count; /* Of these, the first ones: TAC_PLAN_DISCARD */
    struct tac_job           **jobs; /* In plan order */
    uint64_t                  *job_bytes; /* By job, as planned */
    uint32_t                  *order; /* In which they are seated: indexes of jobs */
    uint32_t                   job_count;
    uint32_t                   jobs_seated, jobs_done;
    uint64_t                   bytes; /* Input bytes of all jobs */
    uint64_t                   blocks_reserved;
    uint64_t                   tables_replaced; /* Descriptors that the plan's end takes, at most */
    uint64_t                   log_bytes;       /* Of events that the plan's end makes, at most */
    uint64_t                   log_blocks;      /* Of the manifest log, that these begin at most */
    uint64_t                   reserve_cursor;
    struct tac_bar_ranges      ranges[TACTUS_TREES_MAX];
    struct tac_table         **leaving; /* Ranges have deleted all of them (bar_ranges.c) */
    uint32_t                   leaving_count;
    uint32_t                   skipped; /* Compactions that found no room; they stay for later */
    bool                       is_sweeping;   /* The plan is one of a sweep … */
    bool                       is_sweep_whole; /* … and has all of its tree's compactions */
    struct tac_sweep           sweep;         /* As it is when they are done */
    struct tac_plan_due        due[TACTUS_TREES_MAX][TACTUS_LEVELS_MAX]; /* Left for later plans */
    bool                       flush_found_no_room;
};

/* What a plan is made from. */
struct tac_bar_order {
    struct tac_manifest *manifest;
    struct tac_free_set *free_set;
    struct tac_memtable *immutable_table; /* NULL: nothing to flush */
    struct tac_memtable *ranges_table;    /* The immutable one, flushed by this plan or the next */
    uint64_t             immutable_last_op; /* Trees dropped by then are not flushed any more */
    uint64_t             sequence;        /* For the headers of blocks */
    uint32_t             half;            /* Runs of 1: 0 or 1; else 1: the plan has the flush */
    bool                 is_held, is_draining;
    bool                 is_tight; /* As few tables as can be */
    uint32_t             bars_stuck;
    /* What compactions must leave; flushes may take it (space.h). */
    uint64_t blocks_kept, tables_kept;
    uint64_t flush_blocks_kept, flush_tables_kept; /* Flushes leave this, or are tight */
    uint64_t log_blocks_max;                       /* Of the manifest log, for events of the plan */
    uint64_t log_flush_bytes;                      /* Of these, what others leave for the flush */
    uint32_t key_size_max;                         /* Of all trees */
    uint64_t manual_trees;                         /* Bit per tree that is to be compacted whole */
    uint64_t rewrite_bytes_max;                    /* Of what deleted ranges have some records of */
    bool     has_many_ranges;
    uint64_t discards_max;                         /* Discarded tables, as far as there is room */
    const struct tac_sweep *sweep;                 /* NULL: none; read while the plan is made */
    const struct tac_snapshot_directory *snapshots; /* Which retained tables are needed */
};

TAC_MUST_CHECK int tac_bar_create(struct tac_bar *bar, const struct tac_geometry *geometry,
                                  const struct tac_planner_options *planner_options,
                                  const struct tac_bar_limits *limits, struct tac_error *error);
void               tac_bar_destroy(struct tac_bar *bar);
uint64_t           tac_bar_memory_bytes(const struct tac_planner_options *planner_options);

/* A tree that is dropped, with what memtables may have of it: nothing of it is planned. */
static inline bool tac_bar_tree_is_over(const struct tac_manifest_tree *tree,
                                        uint64_t                        immutable_last_op)
{
    return tree->is_gone || (tree->dropped_op != 0 && (tree->dropped_op <= immutable_last_op ||
                                                       TAC_MUTANT(DROP_UNFLUSHED)));
}

void tac_bar_plan(struct tac_bar *bar, const struct tac_bar_order *order);
/* Old blocks of the manifest log that are carried at the end of the plan as it is now. */
static inline uint32_t tac_bar_log_carry(const struct tac_bar *bar)
{
    return TAC_BAR_LOG_CARRY_BLOCKS * (bar->compaction_count - bar->discard_count + 1);
}
/* Takes back all that a plan has reserved; nothing of it may have begun. */
void tac_bar_undo(struct tac_bar *bar, const struct tac_bar_order *order);
/* True when nothing of this tree is over its size or depth (or, in a manual compaction, above the
 * last level), as of the manifest. */
bool tac_bar_tree_is_settled(struct tac_bar *bar, const struct tac_bar_order *order, uint32_t tree);

#endif
