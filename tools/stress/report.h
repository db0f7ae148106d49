/* SPDX-License-Identifier: Apache-2.0 */
/* report -- what `tactus stress` did and found, for programs (one flat JSON object) and for
 * people. */
#ifndef TACTUS_TOOLS_STRESS_REPORT_H
#define TACTUS_TOOLS_STRESS_REPORT_H

#include <stdio.h>

#include "tools/stress/run.h"

struct tac_stress_report {
    const struct tac_stress_settings *settings;
    const struct tac_stress_result   *result;
    const char                       *command; /* That repeats it */
};

void tac_stress_report_json(FILE *out, const struct tac_stress_report *report);
void tac_stress_report_table(FILE *out, const struct tac_stress_report *report);
/* The violations, one below the other, and what was drawn for the life that met them. */
void tac_stress_report_violations(FILE *out, const struct tac_stress_report *report);

#endif
