/* SPDX-License-Identifier: Apache-2.0 */
/* fault_run -- what scripts are made of: a tiny store with its disks and its model, and the
 * operations; what each may say and find is in fault_check.h. Nothing is done while no store is
 * open. The first check that fails is the one that the outcome tells. */
#ifndef TACTUS_TESTS_SIM_FAULT_RUN_H
#define TACTUS_TESTS_SIM_FAULT_RUN_H

#include "base/units.h"
#include "pipeline/store.h"
#include "tests/sim/fault_script.h"
#include "tests/sim/store_model.h"

#define RUN_BLOCK_BYTES 4096
#define RUN_BLOCKS 4096 /* Of a file that is as large as it may be */
#define RUN_TREES 2

/* What an open may find. */
struct run_reach {
    bool     is_created;
    uint64_t durable_op, other_op; /* Either of them, … */
    bool     is_range;             /* … or anything between them */
};

/* What a run goes on from; its disks and its model become the run's. */
struct run_state {
    struct tac_memory_disk *memory, *log;
    struct store_model     *model;
    struct run_reach        reach;
};

struct run {
    const struct fault_script *script;
    struct fault_outcome      *outcome;
    struct tactus_options      options;
    struct fault_disk          disk;
    struct fault_disk          log; /* Empty: it is not there. No call of it fails. */
    struct store_model        *model;
    struct tactus             *store; /* NULL: not open */
    struct tac_prng            prng;
    struct run_reach           reach;                       /* While the store is not open */
    bool                       used_at_fault[RUN_BLOCKS];   /* Acquired, or released */
    char                       cause[TACTUS_MESSAGE_BYTES]; /* Of the first EPOISONED */
    uint8_t                    buffer[RUN_BLOCK_BYTES], expected[RUN_BLOCK_BYTES];
};

/* state NULL: from nothing. The outcome is cleared. */
struct run *run_new(const struct fault_script *script, const struct run_state *state,
                    struct fault_outcome *outcome);
void        run_free(struct run *run);

void run_create(struct run *run);
/* The store was found to hold what run->reach allows; the model falls back to it. */
void run_open(struct run *run);
void run_close(struct run *run);
/* What an open would find if the store went now. */
struct run_reach run_reach_now(const struct run *run);
void             run_reach_note(struct run *run);

void run_trees_create(struct run *run);
void run_writes(struct run *run, uint32_t count);
void run_batch(struct run *run);
/* Into the first tree, beside and over what there is, deletes among them. */
void run_ingest(struct run *run, uint32_t count);
/* One whose reader fails behind its last record: nothing of it may stay. */
void run_ingest_refused(struct run *run, uint32_t count);
/* From a random key on, so many possible ones; where there are not as many behind it, to the end. */
void run_delete_range(struct run *run, uint32_t tree, uint32_t count);
/* Of the second one; run_trees_create makes it again. */
void run_tree_drop(struct run *run);
/* An op of its own: tactus_checkpoint, tactus_drain, run_compact. */
void run_control(struct run *run, int (*call)(struct tactus *store), const char *what);
int  run_compact(struct tactus *store);
/* Takes a snapshot, or releases the one that there is. */
void run_snapshot_turn(struct run *run);
void run_caches_change(struct run *run);

#endif
