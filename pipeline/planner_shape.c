/* SPDX-License-Identifier: Apache-2.0 */
/* planner_shape -- fits a candidate into the bounds of one compaction and takes it.
 * docs/COMPACTION.md tells the rules. */
#include "base/mutant.h"
#include "pipeline/planner_internal.h"

#include <string.h>

/* ---- fitting a candidate into its bounds ---------------------------------------------------- */

/* The most members over one edge, of those from `from` on. */
static uint32_t layers_count(struct tac_planner *planner, uint32_t from)
{
    const struct tac_plan_candidate *candidate = &planner->candidate;
    uint32_t                        *begins = planner->sort_a;
    uint32_t                        *ends = planner->sort_b;
    uint32_t                         count = candidate->count - from;
    uint32_t                         layers = 0;
    uint32_t                         closed = 0;

    for (uint32_t i = 0; i < count; i++) {
        begins[i] = tac_plan_table_at(planner, candidate->members[from + i])->edge_min;
        ends[i] = tac_plan_table_at(planner, candidate->members[from + i])->edge_max;
    }
    tac_plan_sort_u32(begins, planner->heap, count);
    tac_plan_sort_u32(ends, planner->heap, count);
    for (uint32_t i = 0; i < count; i++) {
        while (ends[closed] < begins[i]) {
            closed++;
        }
        layers = (uint32_t)tac_max_u64(layers, i + 1 - closed);
    }
    return layers;
}

/* Of the members that hang together the group with most bytes. A group is closed downwards as the
 * whole is; with a gap in its hull a candidate would rewrite what the target holds there. */
static void keep_largest_group(struct tac_planner *planner)
{
    struct tac_plan_candidate *candidate = &planner->candidate;
    uint32_t                  *sorted = planner->sort_a;
    uint32_t                   kept = 0;
    uint32_t                   first = 0;
    uint32_t                   last = 0;
    uint64_t                   bytes_most = 0;

    memcpy(sorted, candidate->members, candidate->count * sizeof *sorted);
    tac_plan_sort_u32(sorted, planner->sort_b, candidate->count);
    for (uint32_t i = 0; i < candidate->count;) {
        uint32_t group_first = tac_plan_table_at(planner, sorted[i])->edge_min;
        uint32_t group_last = group_first;
        uint64_t bytes = 0;

        for (; i < candidate->count; i++) {
            const struct tac_plan_table *table = tac_plan_table_at(planner, sorted[i]);

            if (table->edge_min > group_last) {
                break;
            }
            group_last = (uint32_t)tac_max_u64(group_last, table->edge_max);
            bytes += table->bytes;
        }
        if (bytes >= bytes_most) {
            bytes_most = bytes;
            first = group_first;
            last = group_last;
        }
    }
    for (uint32_t i = 0; i < candidate->count; i++) {
        const struct tac_plan_table *table = tac_plan_table_at(planner, candidate->members[i]);

        if (table->edge_min >= first && table->edge_min <= last) {
            candidate->members[kept++] = candidate->members[i];
        }
    }
    candidate->count = kept;
}

/* A suffix of the members is closed downwards as the whole is: the newest may stay. */
static void drop_newest(struct tac_planner *planner, uint32_t count)
{
    struct tac_plan_candidate *candidate = &planner->candidate;

    tac_assert(count < candidate->count);
    candidate->members += count;
    candidate->count -= count;
    keep_largest_group(planner);
    tac_pick_measure(planner);
}

static void drop_layers(struct tac_planner *planner, uint32_t layers_max)
{
    uint32_t low = 0;
    uint32_t high = planner->candidate.count - 1;

    if (planner->candidate.count <= layers_max || layers_count(planner, 0) <= layers_max) {
        return;
    }
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (layers_count(planner, middle) <= layers_max) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    drop_newest(planner, low);
}

/* Every table of the level with a stamp between those of the members joins when it overlaps their
 * hull: the output takes the highest stamp, so nothing may be left between. The bounds are
 * inclusive: tables of one stamp are disjoint only as long as none of them grows. */
static bool in_place_collect(struct tac_planner *planner, uint64_t bytes_max)
{
    struct tac_plan_candidate *candidate = &planner->candidate;
    uint32_t                   level = candidate->level_source;
    uint32_t                   oldest = candidate->members[candidate->count - 1];
    uint64_t stamp_high = tac_plan_table_at(planner, candidate->members[0])->stamp;
    uint64_t stamp_low = tac_plan_table_at(planner, oldest)->stamp;
    uint32_t epoch = ++planner->mark_epoch;
    uint32_t count_before;

    for (uint32_t i = 0; i < candidate->count; i++) {
        planner->mark[candidate->members[i]] = epoch;
    }
    do {
        uint32_t end = tac_plan_index_end(planner, level, candidate->edge_last);
        uint32_t i = planner->input->level_start[level];

        count_before = candidate->count;
        for (i = tac_plan_index_next(planner, level, i, candidate->edge_first); i < end;
             i = tac_plan_index_next(planner, level, i + 1, candidate->edge_first)) {
            uint64_t stamp = tac_plan_table_at(planner, i)->stamp;

            planner->visits++;
            if (stamp < stamp_low || stamp > stamp_high || planner->mark[i] == epoch) {
                continue;
            }
            if (planner->rest_edge[i] != 0) {
                return false;
            }
            planner->mark[i] = epoch;
            candidate->members[candidate->count++] = i;
        }
        tac_pick_measure(planner);
        if (candidate->bytes > bytes_max) {
            return false;
        }
    } while (candidate->count > count_before);
    candidate->stamp = stamp_high;
    return candidate->count >= 2;
}

/* Thin: little of A over much of B. Merging within A makes it dense at A's cost alone. */
static bool try_in_place(struct tac_planner *planner, uint64_t bytes_max)
{
    struct tac_plan_candidate *candidate = &planner->candidate;
    struct tac_plan_candidate  before = *candidate;
    uint32_t                   layers_max = 2 * planner->options.runs_per_level + 1;

    tac_assert(candidate->kind == TAC_PLAN_MERGE);
    if (candidate->count < 2 ||
        candidate->target_bytes <= 2 * (uint64_t)planner->options.last_ratio * candidate->weight) {
        return false;
    }
    candidate->kind = TAC_PLAN_IN_PLACE;
    candidate->level_target = candidate->level_source;
    if (in_place_collect(planner, bytes_max) && layers_count(planner, 0) <= layers_max) {
        return true;
    }
    *candidate = before; /* Members were only appended */
    return false;
}

/* The largest edge below which the members have at most bytes_max and with the target's tables
 * total_max; edges of the target's tables first. 0: even the first cell has more. */
static uint32_t slice_find(struct tac_planner *planner, uint64_t bytes_max, uint64_t total_max,
                           uint64_t *ret_bytes)
{
    const struct tac_plan_candidate *candidate = &planner->candidate;
    struct tac_plan_spread           spread;
    uint32_t                         target = candidate->target_first;
    uint32_t                         best_table = 0;
    uint32_t                         best_any = 0;
    uint64_t                         bytes_table = 0;
    uint64_t                         bytes_any = 0;

    tac_cut_classes_build(planner, candidate->level_target);
    tac_cut_spread_begin(planner, candidate->members, candidate->count, &spread,
                         candidate->edge_first);
    while (spread.edge < candidate->edge_last) {
        uint64_t target_bytes;

        tac_cut_spread_step(planner, &spread);
        while (target < candidate->target_end &&
               tac_plan_table_at(planner, target)->edge_max < spread.edge) {
            target++;
        }
        target_bytes =
            planner->bytes_before[target] - planner->bytes_before[candidate->target_first];
        if (target < candidate->target_end &&
            tac_plan_table_at(planner, target)->edge_min < spread.edge) {
            target_bytes += tac_cut_bytes_below(planner, target, spread.edge);
        }
        if (spread.bytes > bytes_max || spread.bytes + target_bytes > total_max) {
            break;
        }
        best_any = spread.edge;
        bytes_any = spread.bytes;
        if (planner->cut_class[spread.edge] >= TAC_CUT_CLASS_EDGE) {
            best_table = spread.edge;
            bytes_table = spread.bytes;
        }
    }
    tac_cut_spread_end(planner, candidate->members, candidate->count);
    /* A slice far below its bound is no use: each leaves the rest of its tables for later. */
    if (best_table != 0 && bytes_table >= bytes_any / 4) {
        *ret_bytes = bytes_table;
        return best_table;
    }
    *ret_bytes = bytes_any;
    return best_any;
}

/* Keeps of the members what lies below the edge. */
static void slice_apply(struct tac_planner *planner, uint32_t edge, uint64_t bytes)
{
    struct tac_plan_candidate *candidate = &planner->candidate;
    uint32_t                   kept = 0;

    tac_assert(edge > candidate->edge_first && edge <= candidate->edge_last);
    for (uint32_t i = 0; i < candidate->count; i++) {
        if (tac_plan_table_at(planner, candidate->members[i])->edge_min < edge) {
            candidate->members[kept++] = candidate->members[i];
        }
    }
    candidate->count = kept;
    tac_pick_measure(planner);
    if (candidate->edge_last < edge) {
        return; /* What is kept lies below the edge altogether */
    }
    candidate->edge_slice = edge;
    candidate->weight =
        (uint64_t)((unsigned __int128)candidate->weight * bytes / tac_max_u64(candidate->bytes, 1));
    candidate->bytes = bytes;
    tac_pick_target(planner, candidate);
    if (candidate->target_end > candidate->target_first) {
        uint32_t last = candidate->target_end - 1;

        candidate->target_bytes -= tac_plan_table_at(planner, last)->bytes;
        candidate->target_bytes += tac_cut_bytes_below(planner, last, edge);
    }
}

/* Two compactions of a bar may not write to one place of a run: the later would have to merge with
 * the outputs of the earlier. */
static bool collides(const struct tac_planner *planner)
{
    const struct tac_plan_candidate *candidate = &planner->candidate;
    uint32_t                         first = candidate->edge_first;
    uint32_t                         last = candidate->edge_last;

    if (!tac_plan_is_run(planner, candidate->level_target)) {
        return false;
    }
    for (uint32_t t = candidate->target_first; t < candidate->target_end; t++) {
        if (planner->rest_edge[t] != 0) {
            return true;
        }
        first = (uint32_t)tac_min_u64(first, tac_plan_table_at(planner, t)->edge_min);
        last = (uint32_t)tac_max_u64(last, tac_plan_table_at(planner, t)->edge_max);
    }
    for (uint32_t i = 0; i < planner->arrival_count; i++) {
        const struct tac_plan_arrival *arrival = &planner->arrivals[i];

        if (arrival->level == candidate->level_target && arrival->edge_first <= last &&
            arrival->edge_last >= first) {
            return true;
        }
    }
    return false;
}

bool tac_shape_fit(struct tac_planner *planner, uint64_t bytes_max, bool may_merge_in_place)
{
    struct tac_plan_candidate *candidate = &planner->candidate;
    bool                       is_run = tac_plan_is_run(planner, candidate->level_target);
    uint32_t layers_max = 2 * planner->options.runs_per_level + 1 - (is_run ? 1 : 0);
    uint64_t total_max = (1 + (uint64_t)planner->options.last_ratio) * bytes_max;

    tac_assert(candidate->count > 0 && bytes_max > 0);
    drop_layers(planner, layers_max);
    if (is_run && may_merge_in_place && try_in_place(planner, 3 * bytes_max)) {
        return true;
    }
    while (2 * candidate->bytes > 3 * bytes_max ||
           2 * (candidate->bytes + candidate->target_bytes) > 3 * total_max) {
        uint64_t bytes;
        uint32_t edge = slice_find(planner, bytes_max, total_max, &bytes);

        if (edge != 0) {
            slice_apply(planner, edge, bytes);
            break;
        }
        if (candidate->count == 1) {
            /* A part of one table of each level lies below the next edge: less there is not. */
            if (candidate->edge_last > candidate->edge_first) {
                edge = candidate->edge_first + 1;
                slice_apply(planner, edge,
                            tac_cut_bytes_below(planner, candidate->members[0], edge));
            }
            break;
        }
        drop_newest(planner, 1);
    }
    /* A tombstone that a move brought to the last level would stay for ever. */
    if (candidate->count == 1 && candidate->edge_slice == TAC_EDGE_NONE &&
        (candidate->target_end == candidate->target_first || TAC_MUTANT(MOVE_UNCHECKED)) &&
        !(candidate->level_target == planner->last_level &&
          tac_plan_table_at(planner, candidate->members[0])->tombstones > 0)) {
        candidate->kind = TAC_PLAN_MOVE;
    }
    return !collides(planner) || TAC_MUTANT(COLLISION_TAKEN);
}

/* ---- taking it ------------------------------------------------------------------------------ */

void tac_shape_take(struct tac_planner *planner)
{
    const struct tac_plan_candidate *candidate = &planner->candidate;
    uint32_t                         first = candidate->edge_first;
    uint32_t                         last = candidate->edge_last;
    uint32_t                         edge_slice = candidate->edge_slice;

    if (edge_slice != TAC_EDGE_NONE) {
        last = edge_slice - 1;
    }
    for (uint32_t i = 0; i < candidate->count; i++) {
        uint32_t                     t = candidate->members[i];
        const struct tac_plan_table *table = tac_plan_table_at(planner, t);

        tac_assert(planner->rest_edge[t] == 0 && table->edge_min <= last);
        tac_plan_depth_add(planner, table->edge_min, (uint32_t)tac_min_u64(table->edge_max, last),
                           -1);
        planner->rest_edge[t] = table->edge_max > last ? edge_slice : TAC_EDGE_NONE;
    }
    for (uint32_t t = candidate->target_first; t < candidate->target_end; t++) {
        const struct tac_plan_table *table = tac_plan_table_at(planner, t);

        tac_assert(planner->rest_edge[t] == 0);
        planner->rest_edge[t] = table->edge_max >= edge_slice ? edge_slice : TAC_EDGE_NONE;
        first = (uint32_t)tac_min_u64(first, table->edge_min);
        /* What a slice leaves of it is part of the place that no other may write to. */
        last = (uint32_t)tac_max_u64(last, table->edge_max);
    }
    if (candidate->kind == TAC_PLAN_IN_PLACE) {
        tac_plan_depth_add(planner, first, last, 1);
    }
    tac_assert(planner->arrival_count < planner->compactions_max);
    planner->arrivals[planner->arrival_count++] = (struct tac_plan_arrival){
        .level = candidate->level_target, .edge_first = first, .edge_last = last};
}

void tac_shape_reject(struct tac_planner *planner)
{
    const struct tac_plan_candidate *candidate = &planner->candidate;

    tac_assert(candidate->edge_first <= candidate->edge_last);
    tac_plan_depth_add(planner, candidate->edge_first, candidate->edge_last,
                       -TAC_PLAN_DEPTH_OUT_OF_REACH);
}
