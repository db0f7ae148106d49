/* SPDX-License-Identifier: Apache-2.0 */
/* trees -- the trees that there are now, as callers know them.
 *
 * Ids       A tree's id is its number, 0 to 63, and in the bits above how many trees had that
 *           number before it (lsm/manifest.h): an id is not given twice, a number is, when nothing
 *           of the dropped tree is left. Within the store trees go by their numbers.
 * Finding   Callers look a tree's id up without a lock, in a word of its number. What they find may
 *           have been dropped by the time that they use it: a write asks again with commit_lock, a
 *           read finds out in its view.
 * Dropping  With the op the tree is closed: word and newest view do not have it any more. The rest
 *           is the coordinator's: plans leave the tree out, and when all ops up to this one are in
 *           tables it goes (tac_manifest_trees_settle). */
#ifndef TACTUS_PIPELINE_TREES_H
#define TACTUS_PIPELINE_TREES_H

#include "lsm/manifest.h"

struct tactus;

/* Atomic; the writer writes the layout, then the id. */
struct tac_tree_word {
    uint32_t id; /* TAC_TREE_ID_NONE: no open tree has the number */
    uint32_t kind, key_size, value_size;
};

/* Any thread. False: there is no such tree (now). */
bool tac_trees_find(const struct tactus *store, uint32_t id, struct tac_layout *ret_layout);
/* With commit_lock: TACTUS_ENOTREE, or TACTUS_OK for as long as it is held. */
TAC_MUST_CHECK int tac_trees_check(const struct tactus *store, uint32_t id,
                                   struct tac_error *error);
/* The id of the open tree with the number, or TAC_TREE_ID_NONE. */
uint32_t tac_trees_id(const struct tactus *store, uint32_t number);

/* All with commit_lock, while the coordinator rests (or at open). */

/* The words become those of the manifest's open trees. */
void tac_trees_publish(struct tactus *store);
/* A tree that has been added, or that a replay comes to, or a dropped one: word and newest view. */
void tac_trees_join(struct tactus *store, uint32_t number);
void tac_trees_close(struct tactus *store, uint32_t number);
/* In a replay: the tree that the next op had created before, TACTUS_TREES_MAX if none. */
uint32_t tac_trees_created_by(struct tactus *store, uint64_t op);

#endif
