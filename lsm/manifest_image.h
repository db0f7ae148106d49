/* SPDX-License-Identifier: Apache-2.0 */
/* manifest_image -- what the levels of a manifest hold at one moment, as a manifest log that is
 * written once: what a snapshot keeps of its tables. tac_manifest_log_replay reads it.
 *
 * Trees that were dropped by then, though snapshots from before that may still keep them, are told
 * as gone. One event for each tree, without the planner's state but for the last level, and then
 * those of the tables of its levels; retained tables are not among them. Then one for each deleted
 * range. Blocks are filled in this order, oldest first, so the same manifest gives the same image,
 * whatever the planner has done meanwhile.
 *
 * Coordinator only. The levels must stay as they are from the count of blocks to the last of them. */
#ifndef TACTUS_LSM_MANIFEST_IMAGE_H
#define TACTUS_LSM_MANIFEST_IMAGE_H

#include "lsm/manifest.h"

struct tac_manifest_image {
    struct tac_manifest       *manifest;
    const struct tac_geometry *geometry;
    uint32_t                   tree, level, table, range; /* Of the next event */
    bool                       has_tree; /* The tree's own event has been written */
    uint64_t                   sequence; /* Blocks made so far */
    struct tac_block_reference newest;   /* The last of them; all zero: none yet */
};

/* What a reader must find. */
struct tac_manifest_image_totals {
    uint64_t        block_count, table_count;
    uint64_t        bytes; /* Keys and values */
    struct tac_u128 checksum;
};

void tac_manifest_image_begin(struct tac_manifest_image *image, struct tac_manifest *manifest,
                              const struct tac_geometry *geometry);
/* Of an image that has just begun; it stays so. */
struct tac_manifest_image_totals tac_manifest_image_total(const struct tac_manifest_image *image);
/* Makes the next block, which there must be, into the caller's buffer. */
struct tac_block_reference tac_manifest_image_block(struct tac_manifest_image *image,
                                                    uint64_t address, uint64_t checkpoint_sequence,
                                                    uint8_t *block);
/* The one before it, or zeros. */
struct tac_block_reference tac_manifest_image_previous(const uint8_t *block);

#endif
