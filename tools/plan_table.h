/* SPDX-License-Identifier: Apache-2.0 */
/* plan_table -- what tactus_plan tells, as a table for people. */
#ifndef TACTUS_TOOLS_PLAN_TABLE_H
#define TACTUS_TOOLS_PLAN_TABLE_H

#include <stdio.h>

#include "tactus.h"

/* Returns the exit status. */
int tac_plan_print(FILE *out, struct tactus *store);

#endif
