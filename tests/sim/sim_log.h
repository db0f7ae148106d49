/* SPDX-License-Identifier: Apache-2.0 */
/* sim_log -- the ops of a run, noted before they are done, as an application with a log of its own
 * would: what a recovery has to do again. Op n is record n - 1, for every op takes one number. */
#ifndef TACTUS_TESTS_SIM_SIM_LOG_H
#define TACTUS_TESTS_SIM_SIM_LOG_H

#include "tests/sim/store_model.h"

struct sim;

enum sim_record_kind {
    SIM_RECORD_WRITE, /* One entry, no batch */
    SIM_RECORD_BATCH,
    SIM_RECORD_TREE_CREATE,
    SIM_RECORD_TREE_DROP,
    SIM_RECORD_DRAIN,
    SIM_RECORD_COMPACT,
    SIM_RECORD_HOLD,
    SIM_RECORD_BEAT,
    SIM_RECORD_CHECKPOINT,
    SIM_RECORD_SNAPSHOT, /* `tree`: its slot */
    SIM_RECORD_RELEASE,  /* The same */
    SIM_RECORD_INGEST, /* Entries in the order of their keys */
    SIM_RECORD_RANGE_BEGIN,
    SIM_RECORD_RANGE_STEP,
    SIM_RECORD_RANGE_CANCEL,
    SIM_RECORD_DELETE_RANGE,
};

/* Of a tree: numbers of keys, or STORE_MODEL_NONE. */
struct sim_bounds {
    uint32_t tree, low, high;
};

struct sim_entry {
    uint32_t                   tree, key;
    struct store_model_version version; /* Written; or, of a condition, expected */
    bool                       is_condition;
};

struct sim_record {
    enum sim_record_kind kind;
    uint32_t             tree;
    bool                 is_held;
    bool                 is_passed; /* A condition does not hold: the op is a number alone */
    uint64_t             entry_first;
    uint32_t             entry_count;
    struct sim_bounds    range;
};

struct sim_log {
    struct sim_record *records;
    struct sim_entry  *entries;
    uint64_t           record_count, record_capacity;
    uint64_t           entry_count, entry_capacity;
    int                redone_result; /* Of the last op that was done again */
    uint64_t           refused_op;    /* The last one that ended bars for room, and found none */
};

void sim_log_destroy(struct sim_log *log);

/* Notes the op with its entries, does it, and brings the model up to date if it was taken. An op
 * that is cut off is done again after the recovery, unless the run has no log. Returns what the
 * store says. */
int sim_log_do(struct sim *sim, enum sim_record_kind kind, uint32_t tree, bool is_held,
               const struct sim_entry *entries, uint32_t entry_count);
/* The same for an op of a range. */
int sim_log_range(struct sim *sim, enum sim_record_kind kind, const struct sim_bounds *range);
/* A checkpoint that is to meet a failure nobody has told of yet: it fails, but it may have taken its
 * number before. */
int sim_log_checkpoint(struct sim *sim);
/* Hands the entries over as a sorted run. fails_at: in place of that one the reader fails with
 * SIM_READER_CODE; swaps_at: that one comes twice; or UINT32_MAX. */
#define SIM_READER_CODE 4711
int sim_ingest_run(struct sim *sim, const struct sim_entry *entries, uint32_t count,
                   uint32_t fails_at, uint32_t swaps_at);
/* Does all ops from `op` on again; the model gets those that it does not have. */
void sim_log_redo(struct sim *sim, uint64_t op);

#endif
