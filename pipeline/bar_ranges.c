/* SPDX-License-Identifier: Apache-2.0 */
/* bar_ranges -- what deleted ranges (ranges.h) mean for a plan.
 *
 * Known     are those of the manifest and of the immutable memtable: all whose op is not above that
 *           of the tables which the plan makes. Each job drops what they have deleted.
 * Leaving   are the tables of which a range has deleted all: the planner does not see them, nobody
 *           reads them, and at the plan's end they are discarded, before anything takes their
 *           place. As many as there is room for in the manifest log; the rest may be compacted as
 *           any table.
 * Rewritten are tables that reach beyond a range, when there are many, or the tree is compacted by
 *           hand: what they keep takes their place, in the same level with the same stamp. So the
 *           oldest ranges come to their end. */
#include "base/units.h"
#include "lsm/manifest_event.h"
#include "lsm/manifest_log.h"
#include "pipeline/bar_internal.h"

#define LEAVING_MAX 1024 /* In a plan */

/* ---- which there are ------------------------------------------------------------------------ */

static uint32_t memtable_take(const struct tac_memtable *memtable, uint32_t tree,
                              struct tac_range *ranges)
{
    uint32_t ref = tac_memtable_ranges(memtable, tree);
    uint32_t count = 0;

    while (ref != 0) {
        ranges[count++] = tac_memtable_range(memtable, ref, &ref);
    }
    return count;
}

static uint32_t manifest_take(struct tac_manifest *manifest, uint32_t tree,
                              struct tac_range *ranges)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < tac_manifest_range_count(manifest); i++) {
        const struct tac_manifest_range *range = tac_manifest_range(manifest, i);

        if (range->tree == tree) {
            ranges[count++] = range->range;
        }
    }
    return count;
}

void tac_bar_know_ranges(struct tac_bar *bar, const struct tac_bar_order *order)
{
    uint32_t          count = tac_manifest_range_count(order->manifest);
    struct tac_range *ranges;

    memset(bar->ranges, 0, sizeof bar->ranges);
    bar->leaving_count = 0;
    if (order->ranges_table != NULL) {
        count += tac_memtable_range_count(order->ranges_table);
    }
    if (count == 0) {
        return;
    }
    ranges = tac_bar_allocate(bar, count, sizeof *ranges);
    bar->leaving = tac_bar_allocate(bar, LEAVING_MAX, sizeof(struct tac_table *));
    tac_assert(ranges != NULL && bar->leaving != NULL); /* The arena is empty but for lists. */
    for (uint32_t i = 0; i < tac_manifest_tree_count(order->manifest); i++) {
        struct tac_bar_ranges *known = &bar->ranges[i];

        known->ranges = ranges;
        known->count = manifest_take(order->manifest, i, ranges);
        if (order->ranges_table != NULL) {
            known->count += memtable_take(order->ranges_table, i, ranges + known->count);
        }
        for (uint32_t j = 0; j < known->count;
             j++) { /* Each may enter the manifest, or leave it. */
            bar->log_bytes += tac_manifest_event_range_bytes(&known->ranges[j]);
        }
        ranges += known->count;
    }
}

/* ---- tables that leave ---------------------------------------------------------------------- */

static void level_mark(const struct tac_manifest_level *level, const struct tac_bar_ranges *known)
{
    for (uint32_t i = 0; i < level->table_count; i++) {
        level->tables[i]->is_leaving = false; /* Of a plan that was made in vain */
    }
    for (uint32_t i = 0; i < known->count; i++) {
        struct tac_range_walk walk = tac_range_walk(level, &known->ranges[i]);
        struct tac_table     *table;

        while ((table = tac_range_walk_next(&walk)) != NULL) {
            table->is_leaving |= tac_range_covers(&known->ranges[i], table);
        }
    }
}

/* In order of tree, level and key. */
static void tree_leave(struct tac_bar *bar, const struct tac_manifest_tree *tree)
{
    for (uint32_t i = 0; i < TACTUS_LEVELS_MAX; i++) {
        const struct tac_manifest_level *level = &tree->levels[i];

        level_mark(level, &bar->ranges[tree->id]);
        for (uint32_t j = 0; j < level->table_count; j++) {
            struct tac_table *table = level->tables[j];

            table->is_leaving &= bar->leaving_count < LEAVING_MAX;
            if (table->is_leaving) {
                bar->leaving[bar->leaving_count++] = table;
            }
        }
    }
}

void tac_bar_take_leaving(struct tac_bar *bar, const struct tac_bar_order *order)
{
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < tac_manifest_tree_count(order->manifest); i++) {
        struct tac_manifest_tree *tree = tac_manifest_tree(order->manifest, i);

        if (bar->ranges[i].count > 0 && !tac_bar_tree_is_over(tree, order->immutable_last_op)) {
            tree_leave(bar, tree);
        }
    }
    for (uint32_t i = 0; i < bar->leaving_count; i++) {
        bytes += tac_manifest_event_table_bytes(bar->leaving[i]);
    }
    while (bar->leaving_count > 0 && !tac_bar_has_log_room(bar, order, bytes)) {
        struct tac_table *table = bar->leaving[--bar->leaving_count];

        table->is_leaving = false;
        bytes -= tac_manifest_event_table_bytes(table);
    }
    bar->log_bytes += bytes;
}

/* ---- tables that are rewritten -------------------------------------------------------------- */

static bool is_taken(const struct tac_plan *plan, uint32_t table)
{
    for (uint32_t i = 0; i < plan->input_count; i++) {
        if (plan->inputs[i] == table) {
            return true;
        }
    }
    return false;
}

bool tac_bar_has_rewrites(const struct tac_bar_order *order, uint32_t tree)
{
    const struct tac_manifest_tree *state = tac_manifest_tree(order->manifest, tree);

    for (uint32_t i = 0; i < tac_manifest_range_count(order->manifest); i++) {
        const struct tac_manifest_range *range = tac_manifest_range(order->manifest, i);

        for (uint32_t j = 0; range->tree == tree && j < TACTUS_LEVELS_MAX; j++) {
            struct tac_range_walk   walk = tac_range_walk(&state->levels[j], &range->range);
            const struct tac_table *table;

            while ((table = tac_range_walk_next(&walk)) != NULL) {
                if (!table->is_damaged) {
                    return true;
                }
            }
        }
    }
    return false;
}

/* Those that the range has some of, as far as they fit and no compaction has them. */
static void level_rewrite(const struct tac_manifest_level *level, const struct tac_range *range,
                          const struct tac_plan *plan, struct tac_plan *again, uint64_t *bytes_left)
{
    struct tac_range_walk   walk = tac_range_walk(level, range);
    const struct tac_table *table;

    while ((table = tac_range_walk_next(&walk)) != NULL) {
        if (!table->is_leaving && !table->is_damaged && table->bytes <= *bytes_left &&
            !is_taken(plan, table->plan_number) && !is_taken(again, table->plan_number)) {
            again->inputs[again->input_count++] = table->plan_number;
            *bytes_left -= table->bytes;
        }
    }
}

void tac_bar_take_rewrites(struct tac_bar *bar, const struct tac_bar_order *order, uint32_t tree,
                           const struct tac_plan_input *input, const struct tac_plan *plan)
{
    const struct tac_manifest_tree *state = tac_manifest_tree(order->manifest, tree);
    const struct tac_bar_ranges    *known = &bar->ranges[tree];
    struct tac_plan                 again = {.table_bytes_min = plan->table_bytes_min};
    uint64_t                        bytes_left = order->rewrite_bytes_max;

    again.inputs =
        tac_bar_allocate(bar, input->level_start[TACTUS_LEVELS_MAX] + 1, sizeof *again.inputs);
    /* Those of the manifest come in order of op. */
    for (uint32_t i = 0; again.inputs != NULL && i < known->count; i++) {
        for (uint32_t j = 0; j < TACTUS_LEVELS_MAX; j++) {
            level_rewrite(&state->levels[j], &known->ranges[i], plan, &again, &bytes_left);
        }
    }
    for (uint32_t i = 0; i < again.input_count; i++) {
        tac_bar_take_rewrite(bar, order, tree, input, &again, i);
    }
}
