/* SPDX-License-Identifier: Apache-2.0 */
/* damage -- tables of which a compaction has found a block damaged.
 *
 * Such a table is marked in the manifest. Plans leave it alone, and with it what is newer above it
 * in its level and what lies over it if it is in a run; all other keys are read and written as
 * before. What cannot be compacted piles up: when the damaged table's level, or the one above, is
 * 4R deep, writes to its tree are refused with its name, so that readers never meet more runs than
 * they have room for, and nothing is lost. What a log has was taken, and a replay takes it again.
 *
 * The coordinator brings this up to date at the end of each plan, which a writer waits for; so the
 * writer may read it at any other time. */
#ifndef TACTUS_PIPELINE_DAMAGE_H
#define TACTUS_PIPELINE_DAMAGE_H

#include "lsm/manifest.h"

#define TAC_DAMAGE_DEPTH_RUNS 4 /* In runs_per_level */

struct tac_damage_place {
    uint64_t table; /* Its id; 0: no table of the tree is damaged */
    uint32_t level;
};

struct tac_damage {
    uint64_t                table_count;              /* Of all trees */
    uint64_t                blocked_trees;            /* Bit per tree that takes no writes */
    struct tac_damage_place places[TACTUS_TREES_MAX]; /* The one that blocks, or else the first */
};

/* Coordinator, at a plan's end; or at the open. */
void tac_damage_update(struct tac_damage *damage, struct tac_manifest *manifest,
                       uint32_t runs_per_level);

/* Writer: TACTUS_ECORRUPT if one of the trees (bit per tree) takes no writes. */
TAC_MUST_CHECK int tac_damage_check(const struct tac_damage *damage, struct tac_manifest *manifest,
                                    uint64_t trees, struct tac_error *error);

/* Names the damaged table of one of the trees, if there is any: TACTUS_ECORRUPT; else TACTUS_OK. */
int tac_damage_name(const struct tac_damage *damage, struct tac_manifest *manifest, uint64_t trees,
                    struct tac_error *error);

#endif
