/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/stress/course.h"

#include <stdio.h>
#include <string.h>

void tac_stress_course_key(uint64_t index, uint8_t key[TAC_STRESS_COURSE_KEY_BYTES])
{
    uint64_t rest = index;

    for (uint32_t i = TAC_STRESS_COURSE_KEY_BYTES; i > 0; i--, rest /= 10) {
        key[i - 1] = (uint8_t)('0' + rest % 10);
    }
}

void tac_stress_course_value(struct tac_prng *prng, uint64_t number, uint8_t *value, size_t size)
{
    memcpy(value, &number, sizeof number);
    for (size_t i = sizeof number; i < size; i++) {
        value[i] = (uint8_t)tac_prng_next(prng);
    }
}

void tac_stress_course_begin(struct tac_stress_course *course, uint64_t step)
{
    tac_atomic_store_release_u64(&course->begun, step);
}

void tac_stress_course_end(struct tac_stress_course *course, uint64_t step, bool is_synced)
{
    tac_atomic_store_release_u64(&course->done, step);
    if (is_synced) {
        tac_stress_course_safe(course);
    }
}

void tac_stress_course_safe(struct tac_stress_course *course)
{
    tac_atomic_store_release_u64(&course->safe, course->done);
}

void tac_stress_course_sync(struct tac_stress_worker *worker, struct tac_stress_course *course)
{
    uint64_t pause_mark = tac_stress_pause_mark(worker);
    int      code = tactus_sync(worker->scene->store);

    if (code == TACTUS_OK) {
        tac_stress_course_safe(course);
        TAC_STRESS_COUNT(worker->row, syncs);
    } else {
        (void)tac_stress_is_refused(worker, "sync", code, pause_mark);
    }
}

void tac_stress_course_name(const struct tac_stress_course_trees *trees, uint32_t number,
                            char ret_name[TAC_STRESS_COURSE_NAME_BYTES])
{
    snprintf(ret_name, TAC_STRESS_COURSE_NAME_BYTES, "%s-%u", trees->name, number);
}

bool tac_stress_course_check(const struct tac_stress_scene        *scene,
                             const struct tac_stress_course_trees *trees, uint32_t count)
{
    bool is_right = true;

    for (uint32_t i = 0; i < count && is_right; i++) {
        char     name[TAC_STRESS_COURSE_NAME_BYTES];
        uint32_t tree;
        int      code;

        tac_stress_course_name(trees, i, name);
        code = tactus_tree_find(scene->store, name, &tree);
        if (code == TACTUS_OK) {
            is_right = trees->tree_check(scene, i, tree);
        } else if (code == TACTUS_ENOTREE) {
            is_right = trees->absent_check(scene, i);
        } else {
            is_right = trees->fail(scene, i, tactus_message());
        }
    }
    return is_right;
}
