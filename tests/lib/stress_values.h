/* SPDX-License-Identifier: Apache-2.0 */
/* stress_values -- versions of `tactus stress` that can be seen: some are deletes or empty values,
 * which look like those of other versions. */
#ifndef TACTUS_TESTS_LIB_STRESS_VALUES_H
#define TACTUS_TESTS_LIB_STRESS_VALUES_H

#include "tools/stress/world.h"

/* The first version from `least` on with a value that says so at both places. */
static inline uint32_t stress_full_version(const struct tac_stress_world *world, uint32_t place,
                                           uint32_t other, uint32_t least)
{
    struct tac_stress_value value, other_value;

    do {
        tac_stress_value_make(world, place, least, &value);
        tac_stress_value_make(world, other, least, &other_value);
        least++;
    } while (value.size == 0 || other_value.size == 0);
    return least - 1;
}

#endif
