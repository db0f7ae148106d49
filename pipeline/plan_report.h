/* SPDX-License-Identifier: Apache-2.0 */
/* plan_report -- what tactus_plan tells: a copy of the plan, taken when it is made, and of what it
 * leaves for later ones. */
#ifndef TACTUS_PIPELINE_PLAN_REPORT_H
#define TACTUS_PIPELINE_PLAN_REPORT_H

#include <stdint.h>

#include "base/error.h"
#include "tactus.h"

struct tactus;

/* Under stats_lock. */
struct tac_plan_report {
    struct tactus_plan_entry *entries; /* TACTUS_PLAN_ENTRIES_MAX */
    uint32_t                  count;   /* That there are: more than are kept, maybe */
};

TAC_MUST_CHECK int tac_plan_report_create(struct tac_plan_report *report, struct tac_error *error);
void               tac_plan_report_destroy(struct tac_plan_report *report);
uint64_t           tac_plan_report_memory_bytes(void);

/* After the plan is made. Coordinator. */
void tac_plan_report_take(struct tactus *store);

#endif
