/* SPDX-License-Identifier: Apache-2.0 */
/* snapshot -- named snapshots of the whole store: taken and released with a checkpoint, read
 * through a version of their own.
 *
 * Taking      is a control op, like a checkpoint: it ends bars until all ops before it are in
 *             tables. With the checkpoint that begins then, which says P = its op, the levels'
 *             tables are the snapshot: their descriptors, as they are now, are written as an image
 *             (lsm/manifest_image.h) and named by the directory (lsm/snapshot_directory.h), which
 *             the superblock names. An earlier checkpoint knows nothing of it, and has the op done
 *             again. Releasing is such an op too.
 * Keeping     a table that a compaction consumes and that the newest snapshot has is retained: out
 *             of its level, still in the manifest, its blocks acquired (pipeline/commit.c).
 * Image       written while the checkpoint is, block by block: nothing but the end of a plan
 *             changes the levels, and only who has commit_lock ends one, who takes the snapshot.
 * Reading     an open snapshot has a manifest of its own, made from the image, and a version of it:
 *             a view that never goes. Its blocks stay, as it cannot be released meanwhile. */
#ifndef TACTUS_PIPELINE_SNAPSHOT_H
#define TACTUS_PIPELINE_SNAPSHOT_H

#include <pthread.h>

#include "lsm/manifest_image.h"
#include "lsm/manifest_log.h"
#include "lsm/snapshot_directory.h"

struct tactus;
struct tactus_snapshot;

enum tac_snapshot_kind {
    TAC_SNAPSHOT_NONE,
    TAC_SNAPSHOT_TAKE,
    TAC_SNAPSHOT_RELEASE,
};

/* What an op of this kind wants of the coordinator. Written by the writer while that rests; then
 * the coordinator's until the checkpoint is durable, or, once the store is poisoned, for good. */
struct tac_snapshot_order {
    enum tac_snapshot_kind kind;
    char                   name[TACTUS_SNAPSHOT_NAME_MAX + 1];
    uint64_t               op;
    uint64_t *addresses; /* Of the image's blocks; freed by the writer, or with the store */
    uint64_t  address_count;
    uint64_t  address_max; /* Taking: room for the largest image */
    int       result;      /* TACTUS_EFULL: it was not taken */
    bool      is_met;      /* The checkpoint with it has begun */
    /* Coordinator: what is still to be written with that one */
    struct tac_manifest_image image;
    uint64_t                  blocks_left;
    bool                      is_directory_due;
};

struct tac_snapshots {
    /* lock guards the directory and who is open; the coordinator, which changes the directory,
     * reads it without. Nothing is waited for under it. */
    pthread_mutex_t               lock;
    struct tac_snapshot_directory directory; /* As of the newest checkpoint that was begun */
    struct tactus_snapshot       *open_first;
    uint64_t                  releasing_op; /* Of the snapshot that is being released; 0: none */
    struct tac_snapshot_order order;
};

void tac_snapshots_init(struct tac_snapshots *snapshots);
void tac_snapshots_destroy(struct tac_snapshots *snapshots);
/* At open: the directory that the superblock names; what it names must be in use. block: for
 * reading. */
TAC_MUST_CHECK int tac_snapshots_load(struct tactus *store, const struct tac_superblock *superblock,
                                      uint8_t *block, struct tac_error *error);

/* A new manifest and a new log, which are the caller's, from the image: checked like those of a
 * store. Any thread; the image must stay meanwhile. */
TAC_MUST_CHECK int tac_snapshot_read(struct tactus *store, const struct tac_snapshot_entry *entry,
                                     struct tac_manifest     **ret_manifest,
                                     struct tac_manifest_log **ret_log, struct tac_error *error);

/* Does anybody have it open? With the lock. */
bool tac_snapshot_is_open(const struct tac_snapshots *snapshots, uint64_t op);

/* ---- the ops; with commit_lock. Name: legal ---- */
TAC_MUST_CHECK int tac_snapshot_take(struct tactus *store, const char *name,
                                     struct tac_error *error);
TAC_MUST_CHECK int tac_snapshot_release(struct tactus *store, const char *name,
                                        struct tac_error *error);

/* Dropped trees of which snapshots have tables stay closed: notes which (lsm/manifest.h). At an
 * open, before trees go at a bar's end, and when a snapshot was released. */
void tac_snapshots_pin_trees(struct tactus *store);
/* Tables whose blocks can still be given back: discarded ones, and retained ones that no snapshot
 * has any more. Coordinator, or with commit_lock while that rests. */
uint64_t tac_snapshots_discards_left(struct tactus *store);

/* ---- the coordinator, with a checkpoint ---- */
/* It begins: what the order wants becomes part of it, if its ops are in tables by now. */
TAC_MUST_CHECK int tac_snapshots_checkpoint(struct tactus *store, struct tac_superblock *next,
                                            struct tac_error *error);
/* Is there another block to be written with it? Makes it, and returns its kind. */
bool                tac_snapshots_block_is_due(const struct tac_snapshots *snapshots);
enum tac_block_kind tac_snapshots_block(struct tactus *store, struct tac_superblock *next,
                                        uint8_t *block, struct tac_block_reference *ret_reference);

#endif
