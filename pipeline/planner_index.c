/* SPDX-License-Identifier: Apache-2.0 */
/* planner_index -- trees over the tables and edges of a plan's input: which tables overlap a range,
 * how deep a level is. */
#include "pipeline/planner_internal.h"

#include <string.h>

void tac_plan_sort_u32(uint32_t *values, uint32_t *scratch, uint32_t count)
{
    tac_assert(count == 0 || values != scratch);

    for (uint32_t width = 1; width < count; width *= 2) {
        for (uint32_t begin = 0; begin < count; begin += 2 * width) {
            uint32_t middle = (uint32_t)tac_min_u64((uint64_t)begin + width, count);
            uint32_t end = (uint32_t)tac_min_u64((uint64_t)begin + 2 * (uint64_t)width, count);
            uint32_t a = begin;
            uint32_t b = middle;

            for (uint32_t i = begin; i < end; i++) {
                bool is_a = a < middle && (b == end || values[a] <= values[b]);

                scratch[i] = is_a ? values[a++] : values[b++];
            }
        }
        memcpy(values, scratch, (size_t)count * sizeof *values);
    }
}

/* ---- which tables overlap a range ----------------------------------------------------------- */

static uint32_t level_count(const struct tac_planner *planner, uint32_t level)
{
    tac_assert(level < TACTUS_LEVELS_MAX);
    return planner->input->level_start[level + 1] - planner->input->level_start[level];
}

uint32_t tac_plan_index_next(const struct tac_planner *planner, uint32_t level, uint32_t from,
                             uint32_t edge_first)
{
    const uint32_t *tree = planner->over_tree + planner->over_start[level];
    uint32_t        start = planner->input->level_start[level];
    uint32_t        count = level_count(planner, level);
    uint32_t        leaves = planner->over_leaves[level];
    uint32_t        node;

    tac_assert(from >= start);
    if (from >= start + count) {
        return start + count;
    }
    node = from - start + leaves;
    while (tree[node] < edge_first) {
        while (node & 1) {
            node >>= 1;
        }
        if (node == 0) {
            return start + count;
        }
        node++;
    }
    while (node < leaves) {
        node *= 2;
        node += tree[node] < edge_first;
    }
    return start + (uint32_t)tac_min_u64(node - leaves, count);
}

uint32_t tac_plan_index_end(const struct tac_planner *planner, uint32_t level, uint32_t edge_last)
{
    uint32_t low = planner->input->level_start[level];
    uint32_t high = planner->input->level_start[level + 1];

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (tac_plan_table_at(planner, middle)->edge_min <= edge_last) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static void over_tree_build(struct tac_planner *planner, uint32_t level, uint32_t offset)
{
    uint32_t *tree = planner->over_tree + offset;
    uint32_t  count = level_count(planner, level);
    uint32_t  leaves = 1;

    while (leaves < count) {
        leaves *= 2;
    }
    planner->over_start[level] = offset;
    planner->over_leaves[level] = leaves;
    for (uint32_t i = 0; i < leaves; i++) {
        uint32_t table = planner->input->level_start[level] + i;

        tree[leaves + i] = i < count ? tac_plan_table_at(planner, table)->edge_max : 0;
    }
    for (uint32_t node = leaves - 1; node > 0; node--) {
        tree[node] = (uint32_t)tac_max_u64(tree[2 * node], tree[2 * node + 1]);
    }
}

/* Puts the table out of reach, and with it all that is newer above it in its level: those would
 * have to take it along. Each table is put on the stack once. */
static void obstruct(struct tac_planner *planner, uint32_t level, uint32_t table)
{
    uint32_t *stack = planner->heap;
    uint32_t  stack_count = 0;

    if (planner->rest_edge[table] != 0) {
        return;
    }
    planner->rest_edge[table] = TAC_EDGE_NONE;
    stack[stack_count++] = table;
    while (stack_count > 0) {
        const struct tac_plan_table *low = tac_plan_table_at(planner, stack[--stack_count]);
        uint32_t                     end = tac_plan_index_end(planner, level, low->edge_max);
        uint32_t                     i = planner->input->level_start[level];

        for (i = tac_plan_index_next(planner, level, i, low->edge_min); i < end;
             i = tac_plan_index_next(planner, level, i + 1, low->edge_min)) {
            if (tac_plan_table_at(planner, i)->stamp >= low->stamp && planner->rest_edge[i] == 0) {
                planner->rest_edge[i] = TAC_EDGE_NONE;
                stack[stack_count++] = i;
            }
        }
    }
}

static void obstruct_damaged(struct tac_planner *planner, uint32_t level)
{
    uint32_t above = level - 1;

    for (uint32_t t = planner->input->level_start[level];
         t < planner->input->level_start[level + 1]; t++) {
        const struct tac_plan_table *table = tac_plan_table_at(planner, t);
        uint32_t                     end, i;

        if (!table->is_damaged) {
            continue;
        }
        obstruct(planner, level, t);
        if (level == 0 || !tac_plan_is_run(planner, level)) {
            continue;
        }
        /* What lies above a damaged table of a run would have to be merged with it. */
        end = tac_plan_index_end(planner, above, table->edge_max);
        i = planner->input->level_start[above];
        for (i = tac_plan_index_next(planner, above, i, table->edge_min); i < end;
             i = tac_plan_index_next(planner, above, i + 1, table->edge_min)) {
            obstruct(planner, above, i);
        }
    }
}

void tac_plan_index_build(struct tac_planner *planner)
{
    const struct tac_plan_input *input = planner->input;
    uint32_t                     count = input->level_start[planner->last_level + 1];
    uint32_t                     offset = 0;
    uint64_t                     sum = 0;
    bool                         has_damage = false;

    tac_assert(count <= planner->options.tables_max);
    tac_assert(input->edge_count <= planner->edges_max);
    for (uint32_t t = 0; t < count; t++) {
        const struct tac_plan_table *table = tac_plan_table_at(planner, t);

        tac_assert(table->edge_min <= table->edge_max && table->edge_max < input->edge_count);
        planner->bytes_before[t] = sum;
        planner->rest_edge[t] = 0;
        sum += table->bytes;
        has_damage |= table->is_damaged;
    }
    planner->bytes_before[count] = sum;
    memset(planner->mark, 0, count * sizeof *planner->mark);
    planner->mark_epoch = 0;
    for (uint32_t level = 0; level <= planner->last_level; level++) {
        over_tree_build(planner, level, offset);
        offset += 2 * planner->over_leaves[level];
    }
    for (uint32_t level = 0; level <= planner->last_level && has_damage; level++) {
        obstruct_damaged(planner, level);
    }
}

/* ---- depth ---------------------------------------------------------------------------------- */

/* A tree over the edges with addition to ranges: most[node] is the largest depth below the node,
 * additions to its ancestors apart. Numbers of 64 bits: a place may be put out of reach once for
 * each of the candidates that lie over it. */
static void depth_pull(struct tac_planner *planner, uint32_t node)
{
    int64_t a = planner->depth_most[2 * node];
    int64_t b = planner->depth_most[2 * node + 1];

    planner->depth_most[node] = (a > b ? a : b) + planner->depth_add[node];
}

void tac_plan_depth_add(struct tac_planner *planner, uint32_t first, uint32_t last, int32_t value)
{
    uint32_t leaves = planner->depth_leaves;
    uint32_t low = first + leaves;
    uint32_t high = last + leaves + 1;

    tac_assert(first <= last && last < leaves);
    for (uint32_t l = low, h = high; l < h; l >>= 1, h >>= 1) {
        if (l & 1) {
            planner->depth_most[l] += value;
            planner->depth_add[l++] += value;
        }
        if (h & 1) {
            planner->depth_most[--h] += value;
            planner->depth_add[h] += value;
        }
    }
    for (uint32_t node = low >> 1; node > 0; node >>= 1) {
        depth_pull(planner, node);
    }
    for (uint32_t node = (high - 1) >> 1; node > 0; node >>= 1) {
        depth_pull(planner, node);
    }
}

void tac_plan_depth_build(struct tac_planner *planner, uint32_t level)
{
    uint32_t edge_count = planner->input->edge_count;
    uint32_t leaves = 1;
    int64_t *leaf;

    while (leaves < edge_count + 1) {
        leaves *= 2;
    }
    planner->depth_leaves = leaves;
    leaf = planner->depth_most + leaves;
    memset(planner->depth_add, 0, 2 * (size_t)leaves * sizeof *planner->depth_add);
    memset(leaf, 0, leaves * sizeof *leaf);
    for (uint32_t t = planner->input->level_start[level];
         t < planner->input->level_start[level + 1]; t++) {
        const struct tac_plan_table *table = tac_plan_table_at(planner, t);
        uint32_t                     rest = planner->rest_edge[t];

        if (rest != TAC_EDGE_NONE) {
            leaf[rest > 0 ? rest : table->edge_min]++;
            leaf[table->edge_max + 1]--;
        }
    }
    for (uint32_t i = 0; i < planner->arrival_count; i++) {
        if (planner->arrivals[i].level == level) {
            leaf[planner->arrivals[i].edge_first]++;
            leaf[planner->arrivals[i].edge_last + 1]--;
        }
    }
    for (uint32_t e = 1; e < leaves; e++) {
        leaf[e] += leaf[e - 1];
    }
    for (uint32_t node = leaves - 1; node > 0; node--) {
        depth_pull(planner, node);
    }
}

uint32_t tac_plan_depth_max(const struct tac_planner *planner)
{
    int64_t depth = planner->depth_most[1];

    return depth > 0 ? (uint32_t)depth : 0;
}

uint32_t tac_plan_depth_find(const struct tac_planner *planner, uint32_t from, uint32_t depth)
{
    uint32_t leaves = planner->depth_leaves;
    uint32_t node = from + leaves;
    int64_t  least = depth;

    if (from >= leaves) {
        return TAC_EDGE_NONE;
    }
    for (;;) {
        int64_t above = 0;

        for (uint32_t up = node >> 1; up > 0; up >>= 1) {
            above += planner->depth_add[up];
        }
        if (planner->depth_most[node] + above >= least) {
            while (node < leaves) {
                above += planner->depth_add[node];
                node *= 2;
                node += planner->depth_most[node] + above < least;
            }
            return node - leaves;
        }
        while (node & 1) {
            node >>= 1;
        }
        if (node == 0) {
            return TAC_EDGE_NONE;
        }
        node++;
    }
}
