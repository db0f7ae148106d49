/* SPDX-License-Identifier: Apache-2.0 */
/* stage_report -- where the time went, stage by stage: for programs, as members of a flat JSON
 * object, and for people. include/tactus.h says what each figure counts. */
#ifndef TACTUS_TOOLS_STAGE_REPORT_H
#define TACTUS_TOOLS_STAGE_REPORT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "tactus.h"

/* A member of JSON. Of what a stage never waits for there is none. */
struct tac_stage_figure {
    const char *name;
    size_t      offset; /* Of the uint64_t in an array of all stages */
};

#define TAC_STAGE_FIGURES 26
extern const struct tac_stage_figure tac_stage_figures[TAC_STAGE_FIGURES];

uint64_t tac_stage_figure_value(const struct tac_stage_figure  *figure,
                                const struct tactus_stage_stats stages[TACTUS_STAGES]);

void tac_stages_table(FILE *out, const struct tactus_stage_stats stages[TACTUS_STAGES]);

#endif
