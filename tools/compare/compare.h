/* SPDX-License-Identifier: Apache-2.0 */
/* compare -- the two halves of tactus-compare: a run writes one line of JSON, a report reads many.
 * docs/COMPARE.md has the fields. */
#ifndef TACTUS_TOOLS_COMPARE_COMPARE_H
#define TACTUS_TOOLS_COMPARE_COMPARE_H

#include <jansson.h>

#include "tools/compare/workload.h"

/* The run's figures; the caller's. */
json_t *tac_compare_result(const struct tac_run *run);

/* Medians of the runs in `runs_path` (a JSON object a line), as a table on standard output, and as
 * results.json and index.html in `folder`. 0, or -1 after the reason was said. */
int tac_compare_report(const char *runs_path, const char *folder);

/* The page for the medians; page.c. */
int tac_compare_page(const json_t *medians, const char *folder);

#endif
