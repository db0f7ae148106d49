/* SPDX-License-Identifier: Apache-2.0 */
/* planner_pick -- which tables a compaction takes. docs/COMPACTION.md tells the rules. */
#include "base/mutant.h"
#include "pipeline/planner_internal.h"

#include <string.h>

#define COST_UNIT 4096
#define MEMBERS_MAX 512
#define SPOTS_MAX 8 /* Equally deep places compared in one pick */

/* ---- collecting a candidate ----------------------------------------------------------------- */

/* Newer tables first; of one stamp (those are disjoint) the one with the smaller key. */
static bool is_before(const struct tac_planner *planner, uint32_t a, uint32_t b)
{
    uint64_t stamp_a = tac_plan_table_at(planner, a)->stamp;
    uint64_t stamp_b = tac_plan_table_at(planner, b)->stamp;

    return stamp_a != stamp_b ? stamp_a > stamp_b : a < b;
}

static void heap_push(struct tac_planner *planner, uint32_t *heap_count, uint32_t table)
{
    uint32_t *heap = planner->heap;
    uint32_t  i = (*heap_count)++;

    tac_assert(*heap_count <= planner->options.tables_max);
    for (; i > 0 && is_before(planner, table, heap[(i - 1) / 2]); i = (i - 1) / 2) {
        heap[i] = heap[(i - 1) / 2];
    }
    heap[i] = table;
}

static uint32_t heap_pop(struct tac_planner *planner, uint32_t *heap_count)
{
    uint32_t *heap = planner->heap;
    uint32_t  top = heap[0];
    uint32_t  last;
    uint32_t  i = 0;

    tac_assert(*heap_count > 0);
    last = heap[--*heap_count];
    for (;;) {
        uint32_t child = 2 * i + 1;

        if (child >= *heap_count) {
            break;
        }
        if (child + 1 < *heap_count && is_before(planner, heap[child + 1], heap[child])) {
            child++;
        }
        if (!is_before(planner, heap[child], last)) {
            break;
        }
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = last;
    return top;
}

/* Pushes the level's tables over [first, last] that are older than the stamp and end below
 * edge_end: the others have been pushed before. */
static void push_older(struct tac_planner *planner, uint32_t level, uint32_t *heap_count,
                       uint32_t first, uint32_t last, uint32_t edge_end, uint64_t stamp)
{
    uint32_t end = tac_plan_index_end(planner, level, last);
    uint32_t i = planner->input->level_start[level];

    for (i = tac_plan_index_next(planner, level, i, first); i < end;
         i = tac_plan_index_next(planner, level, i + 1, first)) {
        const struct tac_plan_table *table = tac_plan_table_at(planner, i);

        planner->visits++;
        if (table->stamp < stamp && table->edge_max < edge_end && !TAC_MUTANT(OLDER_STAYS)) {
            heap_push(planner, heap_count, i);
        }
    }
}

void tac_pick_target(const struct tac_planner *planner, struct tac_plan_candidate *candidate)
{
    uint32_t level = candidate->level_target;
    uint32_t start = planner->input->level_start[level];
    uint32_t last = candidate->edge_last;

    if (candidate->edge_slice != TAC_EDGE_NONE) {
        last = candidate->edge_slice - 1;
    }
    candidate->target_first = start;
    candidate->target_end = start;
    if (candidate->kind != TAC_PLAN_IN_PLACE && tac_plan_is_run(planner, level)) {
        candidate->target_first = tac_plan_index_next(planner, level, start, candidate->edge_first);
        candidate->target_end = tac_plan_index_end(planner, level, last);
        if (candidate->target_end < candidate->target_first) {
            candidate->target_end = candidate->target_first;
        }
    }
    candidate->target_bytes = planner->bytes_before[candidate->target_end] -
                              planner->bytes_before[candidate->target_first];
}

void tac_pick_measure(struct tac_planner *planner)
{
    struct tac_plan_candidate *candidate = &planner->candidate;

    tac_assert(candidate->count > 0 && candidate->edge_slice == TAC_EDGE_NONE);
    candidate->edge_first = TAC_EDGE_NONE;
    candidate->edge_last = 0;
    candidate->bytes = 0;
    candidate->weight = 0;
    for (uint32_t i = 0; i < candidate->count; i++) {
        const struct tac_plan_table *table = tac_plan_table_at(planner, candidate->members[i]);

        candidate->edge_first = (uint32_t)tac_min_u64(candidate->edge_first, table->edge_min);
        candidate->edge_last = (uint32_t)tac_max_u64(candidate->edge_last, table->edge_max);
        candidate->bytes += table->bytes;
        candidate->weight += table->bytes + table->tombstones * planner->record_bytes;
    }
    tac_pick_target(planner, candidate);
}

/* The seed and every older table of the level that overlaps what is taken, in one pass by falling
 * stamp. Tables are pushed when the hull reaches them. A table newer than the one being popped
 * stays: it lies above all that is added from here on. The hull has no gap, so overlapping it is
 * overlapping a newer member. False if a table is out of reach, or if the members are too many: a
 * whole one has at most MEMBERS_MAX tables and whole_max bytes. */
static bool candidate_collect(struct tac_planner *planner, uint32_t level, uint32_t seed,
                              bool is_whole)
{
    struct tac_plan_candidate *candidate = &planner->candidate;
    uint64_t                   bytes_max = is_whole ? planner->whole_max : UINT64_MAX;
    uint32_t                   count_max = is_whole ? MEMBERS_MAX : UINT32_MAX;
    uint32_t                   heap_count = 0;
    uint32_t                   first, last;
    uint64_t                   bytes = tac_plan_table_at(planner, seed)->bytes;

    if (planner->rest_edge[seed] != 0) {
        return false;
    }
    *candidate = (struct tac_plan_candidate){.members = planner->members,
                                             .level_source = level,
                                             .level_target = level + 1,
                                             .kind = TAC_PLAN_MERGE,
                                             .edge_slice = TAC_EDGE_NONE};
    first = tac_plan_table_at(planner, seed)->edge_min;
    last = tac_plan_table_at(planner, seed)->edge_max;
    candidate->members[candidate->count++] = seed;
    push_older(planner, level, &heap_count, first, last, TAC_EDGE_NONE,
               tac_plan_table_at(planner, seed)->stamp);
    while (heap_count > 0) {
        uint32_t                     taken = heap_pop(planner, &heap_count);
        const struct tac_plan_table *table = tac_plan_table_at(planner, taken);

        bytes += table->bytes;
        if (planner->rest_edge[taken] != 0 || bytes > bytes_max || candidate->count == count_max) {
            return false;
        }
        candidate->members[candidate->count++] = taken;
        if (table->edge_min < first) {
            push_older(planner, level, &heap_count, table->edge_min, first - 1, first,
                       table->stamp);
            first = table->edge_min;
        }
        if (table->edge_max > last) {
            uint32_t end = tac_plan_index_end(planner, level, table->edge_max);

            for (uint32_t i = tac_plan_index_end(planner, level, last); i < end; i++) {
                planner->visits++;
                if (tac_plan_table_at(planner, i)->stamp < table->stamp) {
                    heap_push(planner, &heap_count, i);
                }
            }
            last = table->edge_max;
        }
    }
    tac_pick_measure(planner);
    tac_assert(candidate->edge_first == first && candidate->edge_last == last);
    return true;
}

/* Bytes of the target to be rewritten for COST_UNIT bytes of the source, tombstones weighed. */
static uint64_t candidate_cost(const struct tac_plan_candidate *candidate)
{
    return candidate->target_bytes * COST_UNIT / tac_max_u64(candidate->weight, 1);
}

/* The search for candidates is bounded, but never before a first one has been found: as long as
 * nothing of the level is taken, nothing is in the way of any seed. */
static bool has_budget(const struct tac_planner *planner, uint32_t level)
{
    return planner->visits <= planner->visits_max || planner->chosen[level] == 0;
}

/* ---- choosing a seed ------------------------------------------------------------------------ */

/* Merge sort of tables; `precedes` is a total order. */
static void tables_sort(const struct tac_planner *planner, uint32_t *values, uint32_t *scratch,
                        uint32_t count,
                        bool (*precedes)(const struct tac_planner *, uint32_t, uint32_t))
{
    for (uint32_t width = 1; width < count; width *= 2) {
        for (uint32_t begin = 0; begin < count; begin += 2 * width) {
            uint32_t middle = (uint32_t)tac_min_u64((uint64_t)begin + width, count);
            uint32_t end = (uint32_t)tac_min_u64((uint64_t)begin + 2 * (uint64_t)width, count);
            uint32_t a = begin;
            uint32_t b = middle;

            for (uint32_t i = begin; i < end; i++) {
                bool is_a = a < middle && (b == end || !precedes(planner, values[b], values[a]));

                scratch[i] = is_a ? values[a++] : values[b++];
            }
        }
        memcpy(values, scratch, (size_t)count * sizeof *values);
    }
}

/* The tables over the edge, newest first, into planner->stack. */
static uint32_t stack_collect(struct tac_planner *planner, uint32_t level, uint32_t edge)
{
    uint32_t end = tac_plan_index_end(planner, level, edge);
    uint32_t i = planner->input->level_start[level];
    uint32_t count = 0;

    for (i = tac_plan_index_next(planner, level, i, edge); i < end;
         i = tac_plan_index_next(planner, level, i + 1, edge)) {
        planner->visits++;
        planner->stack[count++] = i;
    }
    tables_sort(planner, planner->stack, planner->sort_b, count, is_before);
    return count;
}

/* Of two tables over one edge the newer one's candidate contains the older one's, so the newest
 * whose candidate is whole is found by halving. If there is none, the stack lies under tables that
 * reach far: the oldest drags least along, and what is too much of it will be sliced off. */
bool tac_pick_over(struct tac_planner *planner, uint32_t level, uint32_t edge)
{
    uint32_t count = stack_collect(planner, level, edge);
    uint32_t low = 0;
    uint32_t high = count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (candidate_collect(planner, level, planner->stack[middle], true)) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    if (low < count) {
        return candidate_collect(planner, level, planner->stack[low], true);
    }
    return count > 0 && has_budget(planner, level) &&
           candidate_collect(planner, level, planner->stack[count - 1], false);
}

/* The last edge with the same tables over it as `edge`. */
static uint32_t spot_last(const struct tac_planner *planner, uint32_t level, uint32_t edge)
{
    uint32_t end = tac_plan_index_end(planner, level, edge);
    uint32_t last = planner->input->edge_count - 1;
    uint32_t i = planner->input->level_start[level];

    if (end < planner->input->level_start[level + 1]) {
        last = tac_plan_table_at(planner, end)->edge_min - 1;
    }
    for (i = tac_plan_index_next(planner, level, i, edge); i < end;
         i = tac_plan_index_next(planner, level, i + 1, edge)) {
        last = (uint32_t)tac_min_u64(last, tac_plan_table_at(planner, i)->edge_max);
    }
    tac_assert(last >= edge);
    return last;
}

bool tac_pick_deepest(struct tac_planner *planner, uint32_t level, uint32_t depth_min)
{
    const struct tac_plan_candidate *candidate = &planner->candidate;
    bool                             is_run = tac_plan_is_run(planner, level + 1);
    uint32_t                         depth = tac_plan_depth_max(planner);
    uint32_t                         best = TAC_EDGE_NONE;
    uint64_t                         best_cost = 0;
    uint64_t                         best_weight = 0;
    uint32_t                         edge = 0;
    uint32_t                         spots = 0;

    tac_assert(depth_min > 0);
    while (spots < SPOTS_MAX && depth >= depth_min) {
        edge = tac_plan_depth_find(planner, edge, depth);
        if (edge == TAC_EDGE_NONE || !has_budget(planner, level)) {
            break;
        }
        if (!tac_pick_over(planner, level, edge)) {
            tac_plan_depth_add(planner, edge, spot_last(planner, level, edge),
                               -TAC_PLAN_DEPTH_OUT_OF_REACH);
            if (best == TAC_EDGE_NONE) {
                depth = tac_plan_depth_max(planner);
                edge = 0;
            }
            continue;
        }
        spots++;
        if (best == TAC_EDGE_NONE ||
            (is_run ? candidate_cost(candidate) < best_cost : candidate->weight > best_weight)) {
            best = candidate->members[0];
            best_cost = candidate_cost(candidate);
            best_weight = candidate->weight;
        }
        edge = candidate->edge_last + 1;
    }
    return best != TAC_EDGE_NONE && candidate_collect(planner, level, best, false);
}

/* A table that overlaps nothing in its level nor in the next: moving it costs nothing and makes
 * nothing deeper. Without this, data that nobody writes over would fill the level for good, since
 * the deepest place is always elsewhere, and what is written over would leave it unmerged. */
bool tac_pick_lone(struct tac_planner *planner, uint32_t level)
{
    const struct tac_plan_input *input = planner->input;
    uint32_t                     end = input->level_start[level + 1];

    while (planner->lone_next < end) {
        uint32_t                     t = planner->lone_next++;
        const struct tac_plan_table *table = tac_plan_table_at(planner, t);
        bool                         is_reached = planner->lone_reach > table->edge_min;
        uint32_t                     below = input->level_start[level + 1];

        planner->lone_reach =
            (uint32_t)tac_max_u64(planner->lone_reach, (uint64_t)table->edge_max + 1);
        planner->visits++;
        if (is_reached || planner->rest_edge[t] != 0 ||
            (t + 1 < end && tac_plan_table_at(planner, t + 1)->edge_min <= table->edge_max)) {
            continue;
        }
        below = tac_plan_index_next(planner, level + 1, below, table->edge_min);
        if (below >= tac_plan_index_end(planner, level + 1, table->edge_max) &&
            candidate_collect(planner, level, t, true)) {
            return true;
        }
    }
    return false;
}

void tac_pick_lone_begin(struct tac_planner *planner, uint32_t level)
{
    planner->lone_next = planner->input->level_start[level];
    planner->lone_reach = 0;
}

static bool is_cheaper(const struct tac_planner *planner, uint32_t a, uint32_t b)
{
    uint64_t cost_a = planner->order_cost[a];
    uint64_t cost_b = planner->order_cost[b];

    return cost_a != cost_b ? cost_a < cost_b : is_before(planner, a, b);
}

/* Estimates what each table's candidate would cost: the bytes of the target in its range, for the
 * bytes of the level there, whatever their age. The best by estimate are then looked at exactly. */
void tac_pick_cheapest_begin(struct tac_planner *planner, uint32_t level)
{
    const struct tac_plan_input *input = planner->input;
    uint32_t                     start = input->level_start[level];
    uint32_t                     count = input->level_start[level + 1] - start;
    struct tac_plan_spread       spread;

    planner->order_count = 0;
    planner->order_next = 0;
    planner->pool_count = 0;
    planner->pool_is_whole = true;
    for (uint32_t i = 0; i < count; i++) {
        planner->sort_a[i] = start + i;
    }
    tac_cut_spread_begin(planner, planner->sort_a, count, &spread, 0);
    while (spread.edge < input->edge_count) {
        planner->below[spread.edge] = spread.bytes;
        tac_cut_spread_step(planner, &spread);
    }
    planner->below[input->edge_count] = spread.bytes;
    tac_cut_spread_end(planner, planner->sort_a, count);
    for (uint32_t t = start; t < start + count; t++) {
        const struct tac_plan_table *table = tac_plan_table_at(planner, t);
        struct tac_plan_candidate    estimate = {.level_target = level + 1,
                                                 .edge_first = table->edge_min,
                                                 .edge_last = table->edge_max,
                                                 .kind = TAC_PLAN_MERGE,
                                                 .edge_slice = TAC_EDGE_NONE};

        if (planner->rest_edge[t] != 0) {
            continue;
        }
        tac_pick_target(planner, &estimate);
        estimate.weight =
            tac_max_u64(planner->below[table->edge_max + 1] - planner->below[table->edge_min],
                        table->bytes) +
            table->tombstones * planner->record_bytes;
        planner->order_cost[t] = candidate_cost(&estimate);
        planner->order[planner->order_count++] = t;
    }
    tables_sort(planner, planner->order, planner->sort_a, planner->order_count, is_cheaper);
}

/* Fills the pool with whole candidates; when there are none, with what has to be sliced. */
static void pool_fill(struct tac_planner *planner, uint32_t level)
{
    while (planner->pool_count < TAC_PLAN_CANDIDATES_MAX && has_budget(planner, level)) {
        uint32_t seed;

        if (planner->order_next == planner->order_count) {
            if (planner->pool_count > 0 || !planner->pool_is_whole) {
                return;
            }
            planner->pool_is_whole = false;
            planner->order_next = 0;
            continue; /* At most once */
        }
        seed = planner->order[planner->order_next++];
        if (candidate_collect(planner, level, seed, planner->pool_is_whole)) {
            planner->pool[planner->pool_count++] =
                (struct tac_plan_pool_entry){.seed = seed,
                                             .edge_first = planner->candidate.edge_first,
                                             .cost = candidate_cost(&planner->candidate)};
        }
    }
}

bool tac_pick_cheapest(struct tac_planner *planner, uint32_t level)
{
    for (;;) {
        uint32_t best = 0;
        uint32_t seed;

        pool_fill(planner, level);
        if (planner->pool_count == 0) {
            return false;
        }
        for (uint32_t i = 1; i < planner->pool_count; i++) {
            const struct tac_plan_pool_entry *a = &planner->pool[i];
            const struct tac_plan_pool_entry *b = &planner->pool[best];

            if (a->cost != b->cost ? a->cost < b->cost : a->edge_first < b->edge_first) {
                best = i;
            }
        }
        seed = planner->pool[best].seed;
        planner->pool[best] = planner->pool[--planner->pool_count];
        /* What was taken meanwhile may be in its way. */
        if (candidate_collect(planner, level, seed, false)) {
            return true;
        }
    }
}
