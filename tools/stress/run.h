/* SPDX-License-Identifier: Apache-2.0 */
/* run -- a whole run of `tactus stress`: makes the store, and gives it one life after the
 * other, each in a process of its own, which the supervisor watches, stops or kills.
 *
 * The seed says which lives there are, and what each thread draws; when threads meet it does not
 * say. */
#ifndef TACTUS_TOOLS_STRESS_RUN_H
#define TACTUS_TOOLS_STRESS_RUN_H

#include "tools/stress/life.h"

#define TAC_STRESS_GIVEN_MAX 64

struct tac_stress_settings {
    const char           *path;
    struct tactus_options options;
    const char           *given[TAC_STRESS_GIVEN_MAX]; /* Names of options that are not drawn */
    uint32_t              given_count;
    uint64_t              seed, seconds, keys;
    uint64_t              reopen_seconds; /* Of the usual life; 0: it lasts to the end */
    uint64_t              crash_seconds;  /* Of the usual life until it is killed; 0: none is */
    uint32_t              counts[TAC_STRESS_ROLES];
    bool                  has_damage, is_kept, is_quiet;
};

struct tac_stress_result {
    struct tac_stress_board *board; /* To be freed */
    double                   seconds;
    uint64_t                 lives;
    bool                     is_interrupted;
    char                     shape_text[TAC_STRESS_OPTIONS_BYTES];   /* Drawn for the run */
    char                     options_text[TAC_STRESS_OPTIONS_BYTES]; /* For the last life */
};

/* The options of a store that is small enough to be compacted all the time. */
int tac_stress_options_init(struct tactus_options *options) TAC_MUST_CHECK;

/* Returns an exit status; *ret_result is filled if the store could be made. Violations are on the
 * board. The store is gone afterwards, if there were none and it is not to be kept. */
int tac_stress_run(struct tac_stress_settings *settings,
                   struct tac_stress_result   *ret_result) TAC_MUST_CHECK;

#endif
