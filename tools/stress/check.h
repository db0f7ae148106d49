/* SPDX-License-Identifier: Apache-2.0 */
/* check -- a store of `tactus stress` at rest: opened, and compared with what was written.
 *
 * What is not as it must be is told on the board; then a function returns false. */
#ifndef TACTUS_TOOLS_STRESS_CHECK_H
#define TACTUS_TOOLS_STRESS_CHECK_H

#include "tools/stress/board.h"
#include "tools/stress/snapshots.h"

/* An open store, and what all threads that use it know. */
struct tac_stress_scene {
    const struct tac_stress_world *world;
    struct tac_stress_ledger      *ledger;
    struct tac_stress_board       *board;
    struct tac_stress_row         *row; /* Of the thread that opens, compares and closes */
    struct tactus                 *store;
    uint32_t                       trees[TAC_STRESS_TREES]; /* Their ids */
    uint64_t                       batch_bytes_max;         /* Accounted */
    bool                           has_size_limit;          /* It may be full */
    uint64_t                       open_ops_max; /* So many ops its open may have taken */
    const char                    *path;         /* Those of neighbours begin with it */
    struct tactus_pool            *pool;         /* NULL: it is on its own */
    const struct tactus_options   *options;      /* As it was opened */
    struct tac_stress_snapshots   *snapshots;    /* NULL: nobody takes any */
    uint32_t                       droppers;     /* Each may have a tree of its own */
    uint32_t                       erasers;      /* And each of these */
    bool                           keeps_caches; /* Their sizes were asked for */
};

/* Whether each write that has returned is safe. */
static inline bool tac_stress_is_synced(const struct tac_stress_scene *scene)
{
    return scene->options->log == TACTUS_LOG_SYNC;
}

/* Returns the engine's code. */
int tac_stress_trees_create(struct tac_stress_scene *scene) TAC_MUST_CHECK;
int tac_stress_trees_find(struct tac_stress_scene *scene) TAC_MUST_CHECK;

/* What a get finds at the place, nothing included; copied, or pinned. Returns the engine's code. */
int tac_stress_place_get(const struct tac_stress_scene *scene, uint32_t place, bool is_pinned,
                         uint32_t *ret_found) TAC_MUST_CHECK;

/* Reads everything, forward, backward and by key; the ledger says whether it may be so. */
bool tac_stress_check_all(struct tac_stress_scene *scene) TAC_MUST_CHECK;

/* The snapshots that the store must have, and may: each with all that it must hold. */
bool tac_stress_check_snapshots(struct tac_stress_scene *scene) TAC_MUST_CHECK;

/* The droppers' trees, as far as each must and may have come. */
bool tac_stress_check_droppers(struct tac_stress_scene *scene) TAC_MUST_CHECK; /* dropper.c */

/* The erasers' trees, the same; and what a snapshot has of them. */
bool tac_stress_check_erasers(struct tac_stress_scene *scene) TAC_MUST_CHECK; /* eraser.c */
bool tac_stress_check_erased(const struct tac_stress_scene *scene, struct tac_stress_row *row,
                             struct tactus_snapshot     *snapshot,
                             struct tac_stress_snapshot *entry) TAC_MUST_CHECK;

/* The engine's own verification. */
bool tac_stress_check_sound(struct tac_stress_scene *scene) TAC_MUST_CHECK;

#endif
