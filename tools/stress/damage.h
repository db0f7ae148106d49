/* SPDX-License-Identifier: Apache-2.0 */
/* damage -- one byte of a copy of the store of `tactus stress` is changed: what is read then
 * is right, or an error. */
#ifndef TACTUS_TOOLS_STRESS_DAMAGE_H
#define TACTUS_TOOLS_STRESS_DAMAGE_H

#include "base/prng.h"
#include "tools/stress/check.h"

/* The store at `path` was closed, and holds all that was written; scene->store is not used. The
 * copy, PATH.damaged, is gone afterwards, unless there was a violation, told on the board. */
void tac_stress_damage_try(const struct tac_stress_scene *scene, const char *path,
                           const struct tactus_options *options, struct tac_prng *prng);

#endif
