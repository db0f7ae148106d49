/* SPDX-License-Identifier: Apache-2.0 */
/* ranges -- key ranges that were deleted with one op each (tactus_delete_range).
 *
 * Life   A range is born in the memtable, where readers and the flush find it. When the memtable's
 *        records are in tables it goes into the manifest, and with it into the views, checkpoints
 *        and images of snapshots, for as long as a table of a level from before the op overlaps it.
 * Dead   is a record of a memtable if a range with its key has a later op; one of a table if the
 *        range is later than the table (snapshot_min): every plan drops what the ranges that it
 *        knows have deleted, and it knows all up to the last op of the memtable that it flushes,
 *        which is the op of the tables that it makes. Moved or sliced, a table keeps its op.
 * Bound  TAC_RANGES_MAX of a store, those in the memtables included, or as many as an eighth of the
 *        manifest log's blocks takes. When half of that is used plans rewrite what holds the oldest
 *        ones (bar_ranges.c); a call that finds no room ends bars until there is some.
 * Replay the bound holds for every replay, even if damage lets no range come to its end in it: one
 *        of checkpoint C notes at most those that C has and all taken since. That sum, not what is
 *        noted, is what is bound: so a place is free again when a checkpoint has begun that knows
 *        of it. Until it is durable, at the next bar's end, a crash falls back to the one before: a
 *        quarter of the places is left for what is taken meanwhile. Sum and quarter follow from the
 *        checkpoint and the ops, so that a replay ends the same bars. */
#ifndef TACTUS_PIPELINE_RANGES_H
#define TACTUS_PIPELINE_RANGES_H

#include "lsm/range.h"

struct tactus;

/* Those of the manifest and of the immutable memtable: what plans go by, as the mutable one is
 * written meanwhile. Coordinator, and the writer while it rests. */
uint32_t tac_ranges_count(struct tactus *store);
/* All there are. The writer, while the coordinator rests. */
uint32_t tac_ranges_count_all(struct tactus *store);
uint32_t tac_ranges_max(struct tactus *store);
/* Of the events that a bar's end makes of them, at most: each enters the manifest, or leaves it.
 * with_mutable: all there are, else as plans go by. */
uint64_t tac_ranges_log_bytes(struct tactus *store, bool with_mutable);

/* A checkpoint has begun, and the memtables have been swapped; or one was opened, and what was in
 * them has come again. */
void tac_ranges_checkpointed(struct tactus *store);
/* One more is in the memtable. */
void tac_ranges_taken(struct tactus *store);
/* For one more; *ret_wants_checkpoint: only a further checkpoint can make it. The writer, while the
 * coordinator rests. */
bool tac_ranges_have_room(struct tactus *store, bool *ret_wants_checkpoint);

/* Coordinator, when the plan's results are about to enter the manifest: tables of which a range has
 * deleted all are discarded, or retained for snapshots. */
void tac_ranges_leave(struct tactus *store);
/* Coordinator, at a bar's end, when the immutable memtable is in tables: its ranges join those of
 * the manifest, and those go that no table needs, or that a later one contains. */
void tac_ranges_settle(struct tactus *store);

#endif
