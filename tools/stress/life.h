/* SPDX-License-Identifier: Apache-2.0 */
/* life -- what a process of `tactus stress` does with the store, from its open to its end:
 * one of the lives that the store has in a run. */
#ifndef TACTUS_TOOLS_STRESS_LIFE_H
#define TACTUS_TOOLS_STRESS_LIFE_H

#include "tools/stress/roles.h"

enum tac_stress_end {
    TAC_STRESS_END_CLOSE,
    TAC_STRESS_END_ABANDON,
    TAC_STRESS_END_KILL,    /* By the supervisor, at any moment */
    TAC_STRESS_END_COMPARE, /* Nobody works: everything is compared, then it is closed */
    TAC_STRESS_END_DAMAGE,  /* The store stays closed: copies are damaged */
};

#define TAC_STRESS_OPTIONS_BYTES 512

struct tac_stress_life {
    const char           *path;
    struct tactus_options options;
    char                  options_text[TAC_STRESS_OPTIONS_BYTES]; /* Those that were drawn for it */
    enum tac_stress_end   end;
    uint64_t              work_ns;  /* So long, unless it is stopped */
    bool                  verifies; /* The engine's verification, too, before the work */
    uint64_t              seed;
    const uint32_t       *counts;  /* By role */
    struct tac_stress_scene scene; /* World, ledger and board; the rest is made here */
};

/* In a process of its own. Returns the process' exit status; what is wrong is on the board. */
int tac_stress_life_live(struct tac_stress_life *life);

#endif
