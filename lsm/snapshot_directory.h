/* SPDX-License-Identifier: Apache-2.0 */
/* snapshot_directory -- the snapshots of a store, as one block that the superblock names: for each
 * its name, its op, and where the image of its tables is (manifest_image.h). Byte tables:
 * docs/FORMAT.md, "Snapshots".
 *
 * Which tables a snapshot has follows from numbers. Ids are given in order of commit, so it has those
 * of the tables that were there at its bar's end whose id is not above table_id_last: one that is
 * still in a level was there. Of one that a compaction has consumed, and that is retained for
 * snapshots, snapshot_max is the op of the newest snapshot there was then. */
#ifndef TACTUS_LSM_SNAPSHOT_DIRECTORY_H
#define TACTUS_LSM_SNAPSHOT_DIRECTORY_H

#include "lsm/manifest.h"
#include "lsm/superblock.h"

#define TAC_SNAPSHOTS_MAX 24 /* A directory is one block, of 4 KiB at least */

struct tac_snapshot_entry {
    char                       name[TACTUS_SNAPSHOT_NAME_MAX + 1];
    uint64_t                   op;       /* It has all ops up to this one, which took it */
    uint64_t                   sequence; /* Of the checkpoint that it was taken with */
    uint64_t                   table_id_last, stamp_last; /* The highest given by then */
    uint64_t                   table_count, bytes;        /* Bytes: keys and values */
    uint64_t                   block_count;               /* Of the image */
    struct tac_block_reference newest;                    /* All zero: no block */
    struct tac_u128            manifest_checksum;         /* Of the image */
};

struct tac_snapshot_directory {
    uint32_t                  count;
    struct tac_snapshot_entry entries[TAC_SNAPSHOTS_MAX]; /* In order of op */
};

/* Its number, or count. */
uint32_t tac_snapshot_directory_find(const struct tac_snapshot_directory *directory,
                                     const char                          *name);
/* The op of the newest snapshot if that has this table, which is in a level; else 0. */
uint64_t tac_snapshot_directory_newest(const struct tac_snapshot_directory *directory,
                                       const struct tac_table              *table);
/* Does any snapshot have this table, which is retained? */
bool tac_snapshot_directory_needs(const struct tac_snapshot_directory *directory,
                                  const struct tac_table              *table);

/* Does a snapshot from before the tree was dropped have any of its tables? */
bool tac_snapshot_directory_has_tree(const struct tac_snapshot_directory *directory,
                                     const struct tac_manifest_tree      *tree);
/* Retained tables that no snapshot has any more: to be discarded. */
uint64_t tac_snapshot_directory_unneeded(const struct tac_snapshot_directory *directory,
                                         struct tac_manifest                 *manifest);

/* Not of an empty one. */
void tac_snapshot_directory_encode(const struct tac_snapshot_directory *directory,
                                   const struct tac_geometry *geometry, uint64_t address,
                                   uint64_t sequence, uint8_t *block);
/* The block that the superblock names, whose checksum has been checked. TACTUS_ECORRUPT. */
TAC_MUST_CHECK int tac_snapshot_directory_decode(struct tac_snapshot_directory *ret_directory,
                                                 const struct tac_geometry     *geometry,
                                                 const struct tac_superblock   *superblock,
                                                 const uint8_t *block, struct tac_error *error);

#endif
