/* SPDX-License-Identifier: Apache-2.0 */
/* bar_internal -- shared by bar.c and bar_jobs.c. */
#ifndef TACTUS_PIPELINE_BAR_INTERNAL_H
#define TACTUS_PIPELINE_BAR_INTERNAL_H

#include "pipeline/bar.h"

#define TAC_BAR_COMPACTIONS_MAX 8192
#define TAC_BAR_JOBS_MAX 16384

void *tac_bar_allocate(struct tac_bar *bar, uint64_t count, uint64_t size);
/* Names the table and makes room for the addresses of its blocks. False: the arena is full. */
bool tac_bar_input_make(struct tac_bar *bar, struct tac_bar_input *input, struct tac_table *table);
/* Do events of so many bytes more, and those of the flush, find blocks in the manifest log, and
 * these room in the file? Before any tree's plan is taken. */
bool tac_bar_has_log_room(const struct tac_bar *bar, const struct tac_bar_order *order,
                          uint64_t bytes);
/* Before any tree's plan is taken. */
void tac_bar_take_discards(struct tac_bar *bar, const struct tac_bar_order *order);
/* ---- bar_ranges.c: before all else; before any tree's plan is made; after one was taken ---- */
void tac_bar_know_ranges(struct tac_bar *bar, const struct tac_bar_order *order);
void tac_bar_take_leaving(struct tac_bar *bar, const struct tac_bar_order *order);
void tac_bar_take_rewrites(struct tac_bar *bar, const struct tac_bar_order *order, uint32_t tree,
                           const struct tac_plan_input *input, const struct tac_plan *plan);
/* Between two plans: does the tree have any that can be? */
bool tac_bar_has_rewrites(const struct tac_bar_order *order, uint32_t tree);
/* Of a plan that is inputs alone: a table by itself, in place. */
void tac_bar_take_rewrite(struct tac_bar *bar, const struct tac_bar_order *order, uint32_t tree,
                          const struct tac_plan_input *input, const struct tac_plan *plan,
                          uint32_t input_number);
/* Turns a tree's plan into compactions and jobs of the bar. */
void tac_bar_take_plan(struct tac_bar *bar, const struct tac_bar_order *order, uint32_t tree,
                       const struct tac_plan_input *input, const struct tac_plan *plan);

#endif
