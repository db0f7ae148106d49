/* SPDX-License-Identifier: Apache-2.0 */
/* recovery -- how a store goes on from its last checkpoint by a log, its own or the host's, so that
 * it continues byte for byte like one that never stopped.
 *
 * A checkpoint names two ops. Those up to P lie in its tables. Those up to C had been written when
 * it began, at a bar's end: their beats had run. So what is replayed is of three kinds:
 *   up to P      nothing; they are not replayed.
 *   up to C      refills the memtable, without beats. With C it becomes the immutable one, and the
 *                first plan is made: the one that followed the checkpoint's bar.
 *   after C      runs as any op.
 * What else the bars depend on is in the superblock (struct tac_control): the first plan is made
 * under it, and writers are let in by it.
 *
 * Control ops  A drain or a checkpoint, op d, ends bars until it is done. A checkpoint begun before
 *              that says P, C <= d - 1, so that d runs again; what it has done already it finds
 *              done: its loops look at the store's state alone. */
#ifndef TACTUS_PIPELINE_RECOVERY_H
#define TACTUS_PIPELINE_RECOVERY_H

#include "pipeline/store.h"

/* True at the end of the bar that ends a drain. Coordinator. */
bool tac_recovery_is_drained(const struct tactus *store);
/* At a bar's end, before the memtables are swapped: what the checkpoint that begins says of ops and
 * control. Coordinator. */
void tac_recovery_describe(const struct tactus *store, struct tac_superblock *next);

/* At open, before anything runs: makes ready for a replay from P + 1 on. Not called when there is
 * no log: then the store goes on as it is, with C = P. */
void tac_recovery_begin(struct tactus *store, const struct tac_superblock *superblock);
/* Once the workers run. */
void tac_recovery_start(struct tactus *store);

/* All with commit_lock held: */

/* True: the next op only refills the memtable. */
static inline bool tac_recovery_is_refilling(const struct tactus *store)
{
    return store->last_op < store->refill_until;
}

/* Ends it before its time: the ops are not those that the checkpoint knew. */
void tac_recovery_refill_end(struct tactus *store);
/* Room for an op while refilling; what does not fit ends the refill. */
void tac_recovery_refill_room(struct tactus *store, uint64_t accounted_bytes);
/* After an op: the last one that refills ends it. */
void tac_recovery_refill_advance(struct tactus *store);

#endif
