/* SPDX-License-Identifier: Apache-2.0 */
/* sweep -- a key range that is compacted by hand while writes go on.
 *
 * It is a state that bars are planned under (struct tac_sweep, in the superblock), begun, stepped
 * and cancelled by control ops. The bar's own plan is made first; then tables of the range are
 * taken out of one level, in order of keys, as far as a share of the bar goes (planner.c). When the
 * level has none left of those that were there, it is the next one's turn, until the last one is
 * reached.
 *
 *   bars_wait  What the memtables held when it was begun comes to tables with the second bar's end.
 *   place      Of its level: no key of [low, place) that was there before the sweep is left. What
 *              comes in from above has been written later, so the sweep ends however much that is.
 *   moved      By the plan's end, if all its compactions out of the level were made and have kept
 *              their records; else it stays and the next plan tries again.
 *   held       A place that did not move in SWEEP_PLANS_HELD_MAX plans ends the sweep: there is no
 *              room, or too many keys of the level are alike in the bytes that a place keeps. */
#ifndef TACTUS_PIPELINE_SWEEP_H
#define TACTUS_PIPELINE_SWEEP_H

#include "lsm/manifest.h"
#include "lsm/superblock.h"
#include "pipeline/bar.h"

struct tactus;

/* What is told of it. Under stats_lock, but for what its begin sets. */
struct tac_sweep_report {
    struct tactus_compact_progress progress;
    uint64_t                       begin_ns;           /* When it was begun, or the store opened */
    uint64_t                       passes_begin_bytes; /* That were left then */
};

/* Bounds as the sweep keeps them: what is cut off a low one makes the range wider, and so it does
 * at a high one. NULL with size 0: open. */
void tac_sweep_key_low(struct tac_sweep_key *key, struct tac_bytes bound);
void tac_sweep_key_high(struct tac_sweep_key *key, struct tac_bytes bound);

/* Bytes of the range that it has still to take above the last level, and the same as often as
 * levels to go. */
void tac_sweep_left(const struct tac_sweep *sweep, struct tac_manifest *manifest,
                    uint64_t *ret_bytes, uint64_t *ret_passes);

/* Fills the planner's input; edge_keys: by rank. */
void tac_sweep_input(const struct tac_sweep *sweep, const struct tac_bytes *edge_keys,
                     struct tac_plan_input *input);
/* What the sweep is when the plan has been carried out. */
void tac_sweep_planned(struct tac_sweep *sweep, const struct tac_plan *plan,
                       const struct tac_bytes *edge_keys);

/* ---- coordinator ---- */

/* After the plan's commit. is_kept: all compactions of the sweep's tree were made and are in the
 * manifest. */
void tac_sweep_move(struct tactus *store, bool is_kept);
/* At a bar's end. */
void tac_sweep_bar_end(struct tactus *store);
/* With stats_lock held. */
void tac_sweep_report(struct tactus *store);

/* ---- writer, while the coordinator rests ---- */

void tac_sweep_begin(struct tactus *store, uint64_t op, uint32_t tree, struct tac_bytes low,
                     struct tac_bytes high);
void tac_sweep_end(struct tactus *store, enum tactus_compact_state state);

#endif
