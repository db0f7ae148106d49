/* SPDX-License-Identifier: Apache-2.0 */
/* planner_model -- a tree in memory that does what the engine does with a plan, record by record.
 *
 * Every record really lies in a table, every compaction really merges: newest source first by level
 * and stamp, cut as the plan says, slices leave the rest of their tables behind, tombstones go when
 * the job says so. A map of what was written is the oracle. Keys and ops are numbers; a record
 * counts as model->record_bytes, a tombstone as model->tombstone_bytes.
 */
#ifndef TACTUS_TESTS_SIM_PLANNER_MODEL_H
#define TACTUS_TESTS_SIM_PLANNER_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "pipeline/planner.h"

#define RECORD_BYTES 64

struct model_record {
    uint64_t key;
    uint64_t version; /* op * 2 + is_tombstone: higher is newer */
};

struct model_table {
    uint64_t             key_min, key_max;
    uint64_t             stamp;
    struct model_record *storage; /* Owned; records[0] … are what is left of it */
    struct model_record *records;
    uint32_t             count;
    uint32_t             tombstones;
    uint64_t             bytes;
    bool                 is_damaged;
};

struct model_level {
    struct model_table *tables; /* In order of (key_min, key_max, stamp) */
    uint32_t            count, capacity;
};

/* What one plan did, in bytes of real records. */
struct model_bar {
    uint64_t work_bytes; /* Inputs consumed, flush included */
    uint64_t written_bytes;
    uint64_t plan_ns;
    uint32_t tables;
};

/* One job of a plan, as it was carried out. */
struct model_job {
    enum tac_plan_kind kind;
    uint32_t           level_source, level_target;
    uint32_t           sources;       /* Tables over one key, at most; of a flush one more */
    uint64_t           bytes_planned; /* As the planner thought */
    uint64_t           bytes_consumed, bytes_written;
};

struct model {
    struct tac_planner_options options;
    struct tac_planner        *planner;
    struct tac_planner_state   state;
    uint32_t           record_bytes;    /* RECORD_BYTES unless changed before the first write */
    uint32_t           tombstone_bytes; /* The same */
    uint32_t           bars_stuck;      /* What plans are told of it */
    bool               shares_stamps;   /* Outputs of a compaction get one stamp, not one each */
    uint64_t           op;
    uint64_t           stamp_next;
    struct model_level level[TACTUS_LEVELS_MAX];

    struct model_record *memtable; /* In order of arrival */
    uint32_t             memtable_count, memtable_max;

    struct model_record *oracle; /* Open addressing; version 0: empty */
    uint64_t             oracle_mask, oracle_count;

    /* The input of the plan under way. */
    struct tac_plan_table *tables;
    struct model_table   **models; /* By the same index */
    uint64_t              *edge_keys;
    uint32_t               edge_count;
    uint64_t              *flush_below;
    struct {
        uint64_t key;
        uint32_t slot;
        uint32_t reserved;
    } * sort_a, *sort_b;

    /* The last bar's jobs, in planned order; NULL unless model_record_jobs was called. */
    struct model_job *jobs;
    uint32_t          job_count;

    /* Figures. */
    uint64_t user_bytes, written_bytes;
    uint32_t depth_max;
    uint64_t largest_bytes;        /* The most that one compaction consumed, flushes apart */
    uint64_t largest_excess_bytes; /* The most by which one passed what was planned for it */
    uint64_t plan_ns_max, plan_ns_sum;
    uint64_t sliver_count, table_count; /* Output tables below T/8, all output tables */
    uint64_t kinds[4];
    uint64_t kind_bytes[4];
    bool     had_tight_flush;
    uint32_t problems; /* Anything that must not be; the first is in problem */
    char     problem[256];
};

struct model *model_new(const struct tac_planner_options *options, uint32_t memtable_records,
                        uint64_t records_total);
void          model_free(struct model *model);
/* From now on model->jobs is filled. */
void model_record_jobs(struct model *model);

void model_write(struct model *model, uint64_t key, bool is_tombstone);
bool model_memtable_is_full(const struct model *model);

enum model_mode {
    MODEL_NORMAL,
    MODEL_TIGHT,
    MODEL_HELD,
    MODEL_DRAINING,
    MODEL_MANUAL
};

/* Ends the bar: plans, checks the plan, carries it out, commits, checks the levels. */
struct model_bar model_bar_end(struct model *model, enum model_mode mode, uint64_t manual_min,
                               uint64_t manual_max);
bool             model_is_settled(struct model *model);

/* Reads the whole tree and compares with the oracle; also finds older versions above newer ones. */
void model_check(struct model *model);

/* planner_check.c: finds problems of a plan; `before` is the state that it was made from. */
void model_plan_check(struct model *model, const struct tac_plan_input *input,
                      const struct tac_planner_state *before, const struct tac_plan *plan);
/* Counts a problem; the first one is kept in words. */
void model_problem(struct model *model, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The key's place in the oracle; version 0 there: never written. */
struct model_record *model_oracle_slot(struct model *model, uint64_t key);
/* Zeroed memory of the heap; ends the test when there is none. */
void *model_alloc(size_t count, size_t item_bytes);

uint64_t model_table_bytes(const struct model *model);
uint64_t model_live_bytes(const struct model *model);
uint32_t model_table_count(const struct model *model);

#endif
