/* SPDX-License-Identifier: Apache-2.0 */
/* space -- what must stay free, so that what was accepted finds room; space.c has the argument and
 * its limits.
 *
 * Terminology  plan N flushes the memtable that was filled before it, while writers fill the next
 *              one under a fullness that was told at the end of plan N - 1.
 * Kept         by plan N, from its own compactions: blocks and table descriptors for its flush
 *              (trees are planned one after the other), for the flush of the memtable that is being
 *              filled, unless nothing was let into it; for these flushes' events in the manifest
 *              log; for two checkpoints.
 *              Of the manifest log, whose room until the next checkpoint is bounded: what the next
 *              plan takes in any case, and a share for a sorted run.
 * Fullness     told at the end of plan N: deletes are taken if there is room for one more flush and
 *              for some compaction, puts if there is room for a plan's compactions beside it: what
 *              deletes free comes back only through compactions.
 * Flush        counted as if cut into as few tables as can be, of the tree that makes most of it; a
 *              flush that finds no room as planned is planned again just so (coordinator.c).
 *
 * Everything here depends on manifest, free set and log as of the plan: not on time, not on how
 * full the memtable is. Coordinator only, but for the last function. */
#ifndef TACTUS_PIPELINE_SPACE_H
#define TACTUS_PIPELINE_SPACE_H

#include "pipeline/store.h"

/* Fills what the order says of room, before the plan is made. */
void tac_space_order(struct tactus *store, struct tac_bar_order *order);

/* What an ingest may take, now that the plan is made, so that puts are still let in behind it. */
struct tac_space_room {
    uint64_t blocks, tables;
    uint64_t log_blocks; /* Of the manifest log, for what its tables' events begin */
};
void tac_space_ingest(struct tactus *store, struct tac_space_room *ret_room);

/* At a plan's end, its tables noted: blocks of the manifest log for what is noted before the next
 * checkpoint. */
uint64_t tac_space_log_kept(struct tactus *store);
/* At a bar's end: a checkpoint must begin, for the log to have room for what comes. */
bool tac_space_log_is_short(struct tactus *store);

/* After the plan has reserved: what its writers will be told at its end. */
void tac_space_fullness_update(struct tactus *store);

/* Whether at a bar's end so many blocks may be taken for something that can be refused: then
 * writers are still let in. */
bool tac_space_has_room(struct tactus *store, uint64_t blocks);

/* At a plan's end, is_bar_end: the memtables have been swapped. */
void tac_space_fullness_publish(struct tactus *store, bool is_bar_end);

/* TACTUS_EOPTION: file_size_max is too small for any records of such a tree. Writer. */
TAC_MUST_CHECK int tac_space_tree_check(struct tactus *store, const struct tac_layout *layout,
                                        struct tac_error *error);

#endif
