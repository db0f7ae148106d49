/* SPDX-License-Identifier: Apache-2.0 */
/* fault_script -- a fixed list of operations on a tiny store whose disk fails one call, or every
 * call from one on, and what must hold meanwhile and afterwards.
 *
 * Meanwhile: each call succeeds or gives a code with a text; once writing has stopped, every write
 * says TACTUS_EPOISONED with the first cause; what is read is what the model says, or an error that
 * the fault explains; after a failed write or sync nothing more goes to the disk and no block that
 * was in use becomes free. Afterwards the disk is sound again, the power may have been cut: the
 * store opens at its last durable checkpoint or at the one that was in flight, holds what the model
 * held then, has no damage, and is written to as before. */
#ifndef TACTUS_TESTS_SIM_FAULT_SCRIPT_H
#define TACTUS_TESTS_SIM_FAULT_SCRIPT_H

#include "tactus.h"
#include "tests/sim/fault_disk.h"

enum fault_list {
    FAULT_LIST_WRITES, /* Puts, deletes, batches, reads, control ops */
    FAULT_LIST_TABLES, /* Beside puts: sorted runs, ranges, snapshots, dropped trees, caches */
    FAULT_LISTS,
};

struct fault_script {
    enum fault_list list;
    enum fault_kind kind;
    bool            is_sticky;
    uint64_t        fail_at;    /* 0: no fault */
    bool            abandons;   /* Instead of the last close */
    bool            cuts_power; /* Before the reopen */
    uint64_t        seed;       /* Of the disk and the stepping */
    enum tactus_log log;        /* NONE or SYNC */
};

struct fault_outcome {
    char        message[512]; /* Empty: all held */
    uint64_t    calls;        /* Of the kind, fault or not */
    uint64_t    faults;
    bool        has_stopped;   /* Writing stopped before the script's end */
    const char *stopped_in;    /* The call that was the first to say so; static */
    bool        fell_back;     /* The reopen found less than had been written */
    bool        was_in_flight; /* … or a checkpoint that was not known to be durable */
    uint64_t    reads_failed;
    uint64_t    snapshots_read;
};

/* The newest two superblock copies cannot be read: the store does not open, rather than at the
 * older checkpoint, and opens as it was when they can. */
void fault_script_pair_unreadable(uint64_t seed, struct fault_outcome *ret_outcome);

void fault_script_run(const struct fault_script *script, struct fault_outcome *ret_outcome);

#endif
