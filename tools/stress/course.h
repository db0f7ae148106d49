/* SPDX-License-Identifier: Apache-2.0 */
/* course -- what the roles share that write to a tree, or a store, of their own, step by step. What
 * is there says which step wrote it: keys are digits, values begin with a number. The board has how
 * far each has come (tac_stress_course in board.h), which outlives a kill. */
#ifndef TACTUS_TOOLS_STRESS_COURSE_H
#define TACTUS_TOOLS_STRESS_COURSE_H

#include "tools/stress/roles.h"

#define TAC_STRESS_COURSE_KEY_BYTES 8
#define TAC_STRESS_COURSE_NAME_BYTES 24

void tac_stress_course_key(uint64_t index, uint8_t key[TAC_STRESS_COURSE_KEY_BYTES]);
/* The number, in the byte order of this machine, and what prng gives. size: that of the number, or
 * more. */
void tac_stress_course_value(struct tac_prng *prng, uint64_t number, uint8_t *value, size_t size);

/* Around the call that is the step. Once it has returned it is done; safe, if it was durable then. */
void tac_stress_course_begin(struct tac_stress_course *course, uint64_t step);
void tac_stress_course_end(struct tac_stress_course *course, uint64_t step, bool is_synced);
/* What is done is safe: for a store of the scene by a sync of it. */
void tac_stress_course_safe(struct tac_stress_course *course);
void tac_stress_course_sync(struct tac_stress_worker *worker, struct tac_stress_course *course);

/* The trees of a role, of which each worker has one, or has it by turns. */
struct tac_stress_course_trees {
    const char *name; /* With -0, -1 and so on behind it */
    /* Tells the violation; returns false. */
    bool (*fail)(const struct tac_stress_scene *scene, uint32_t number, const char *what);
    /* An open has found it, or has not. False: that is not as it must be, and was told. */
    bool (*tree_check)(const struct tac_stress_scene *scene, uint32_t number, uint32_t tree);
    bool (*absent_check)(const struct tac_stress_scene *scene, uint32_t number);
};

void tac_stress_course_name(const struct tac_stress_course_trees *trees, uint32_t number,
                            char ret_name[TAC_STRESS_COURSE_NAME_BYTES]);
/* After an open, those of the first `count` workers. */
bool tac_stress_course_check(const struct tac_stress_scene        *scene,
                             const struct tac_stress_course_trees *trees,
                             uint32_t                              count) TAC_MUST_CHECK;

#endif
