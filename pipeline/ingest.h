/* SPDX-License-Identifier: Apache-2.0 */
/* ingest -- a sorted run from outside becomes tables, in one op (tactus_ingest).
 *
 * Terminology  the run is the caller's records, in order; it enters when its tables join the
 *              manifest; bars are owed for what of it is work for later ones.
 * Happy path   (1) The coordinator rests. The writer reads the run, builds tables and writes their
 *              blocks. (2) It ends bars until the mutable memtable is empty, then the one at whose
 *              end the coordinator lets the tables enter and begins a checkpoint. (3) The
 *              checkpoint is durable: only now the op has its number. (4) It ends the bars that it
 *              owes.
 * Failures     in (1) everything is given back: no number, no bar, no byte that anything reaches.
 *              A write that fails stops the store, as any does. From (2) on only what stops the
 *              store: what is durable then is there, with its number, after the next open.
 * Addresses    the lowest free ones while the coordinator rests, so they follow from the ops alone.
 *              A reservation outlives the end of a bar at (2), and there no checkpoint begins:
 *              after a crash all of the op is done again, from where the one before it has left the
 *              store.
 */
#ifndef TACTUS_PIPELINE_INGEST_H
#define TACTUS_PIPELINE_INGEST_H

#include "pipeline/store.h"

struct tac_ingest;

/* At a bar's end, when nothing of the store is in memtables: the tables join the manifest, the op
 * is persisted, and it is known how many bars are owed. Coordinator. */
void tac_ingest_enter(struct tactus *store);
/* Blocks of the manifest log that the run's tables will begin; 0 without one. Coordinator. */
uint64_t tac_ingest_log_blocks(const struct tactus *store);
/* Ends the bars that are owed. With commit_lock, or in the open. */
TAC_MUST_CHECK int tac_ingest_bars_end(struct tactus *store, struct tac_error *error);
/* At the store's end: of an ingest that was cut off. May be NULL. */
void tac_ingest_free(struct tac_ingest *ingest);

#endif
