/* SPDX-License-Identifier: Apache-2.0 */
/* room -- bars are ended to make room for an op that needs a place of its own: a number for a tree, a
 * deleted range. And what becomes of an op that was refused after bars had been ended for it, here or
 * in a full store: it takes an op number all the same, so that a replay ends the same bars.
 *
 * All with commit_lock held. store->has_made_room, false before the op, says whether it has ended
 * bars. */
#ifndef TACTUS_PIPELINE_ROOM_H
#define TACTUS_PIPELINE_ROOM_H

#include "pipeline/store.h"

/* Ends bars until a number is free for another tree, if any is to come; the coordinator then rests.
 * TACTUS_EPAUSED. */
TAC_MUST_CHECK int tac_room_for_tree(struct tactus *store, struct tac_error *error);
/* The same for a deleted range. TACTUS_EFULL: there is no place, and none came in several bars. */
TAC_MUST_CHECK int tac_room_for_range(struct tactus *store, struct tac_error *error);

/* To be called with what has come of the op before it is logged. If that is TACTUS_EFULL and it has
 * ended bars, it takes a number, and the log knows up to which bar. False: it takes none. */
bool tac_room_refused(struct tactus *store, int result, bool is_range);
/* Such an op again: entry is what the log says of it. TACTUS_ECORRUPT. */
TAC_MUST_CHECK int tac_room_refused_again(struct tactus *store, const struct tac_wal_entry *entry,
                                          struct tac_error *error);

#endif
