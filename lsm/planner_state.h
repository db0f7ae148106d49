/* SPDX-License-Identifier: Apache-2.0 */
/* planner_state -- the planner's memory of a tree: part of the manifest, because a recovered store
 * must plan as if it had never stopped. The rules that use it: pipeline/planner.h. */
#ifndef TACTUS_LSM_PLANNER_STATE_H
#define TACTUS_LSM_PLANNER_STATE_H

#include <stdint.h>

/* What the planner remembers of a tree from bar to bar; integers only, kept in the checkpoint. */
struct tac_planner_state {
    uint32_t last_level;      /* K; 1 in a new tree */
    uint64_t flush_mean;      /* Mean flush of this tree, payload bytes * 16; 0: none yet */
    uint64_t work_mean;       /* Mean work of a bar, payload bytes * 16; 0: none yet */
    uint64_t bar_count;       /* Bars planned */
};

#endif
