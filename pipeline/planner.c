/* SPDX-License-Identifier: Apache-2.0 */
/* planner -- the plan of a bar, level by level. docs/COMPACTION.md tells the rules. */
#include "pipeline/planner_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/mutant.h"

#define GROWTH_OF_ONE_RUN 8
#define PARTS_MIN 16   /* A memtable gives at least that many tables */
#define TABLES_AIMED 4 /* One compaction aims at as many at least */
#define MEAN_SHIFT 4   /* Means are kept * 16 and move by 1/16 */
#define WARM_UP_BARS 8 /* Before that the mean of the work says nothing */
#define COMPACTIONS_MAX 4096
#define UNITS_WHOLE 6    /* A candidate of more compactions' bytes is a last resort */
#define UNITS_DRAINING 4 /* What an unpaced bar may take of a level, in memtables */
#define UNITS_MANUAL 8
#define UNITS_SWEEP 4 /* What a sweep adds to a bar's work, in memtables; and one compaction more */

/* ---- memory --------------------------------------------------------------------------------- */

/* One allocation: the struct, then its arrays. With base NULL only the size is computed. */
struct layout {
    uint8_t *base;
    size_t   size_bytes;
};

static void *layout_take(struct layout *layout, size_t count, size_t item_bytes)
{
    size_t offset = layout->size_bytes;

    tac_assert(item_bytes > 0 && offset % 16 == 0);
    layout->size_bytes += (size_t)tac_round_up((uint64_t)count * item_bytes, 16);
    return layout->base == NULL ? NULL : layout->base + offset;
}

#define LAYOUT_TAKE(layout, member, count)                                                         \
    ((member) = layout_take((layout), (size_t)(count), sizeof *(member)))

static void planner_lay_out(struct tac_planner *p, struct layout *layout,
                            const struct tac_planner_options *options)
{
    size_t tables = (size_t)options->tables_max + 1;
    size_t edges = 2 * tables + 4;
    size_t leaves = 1;

    while (leaves < edges) {
        leaves *= 2;
    }
    p->edges_max = (uint32_t)(edges - 2);
    p->compactions_max = (uint32_t)tac_min_u64(tables, COMPACTIONS_MAX);
    p->jobs_max = 2 * COMPACTIONS_MAX;
    p->cuts_max = (uint32_t)(4 * tables + 2 * COMPACTIONS_MAX);
    LAYOUT_TAKE(layout, p->plan.compactions, p->compactions_max);
    LAYOUT_TAKE(layout, p->plan.jobs, p->jobs_max);
    LAYOUT_TAKE(layout, p->plan.cuts, p->cuts_max);
    LAYOUT_TAKE(layout, p->plan.inputs, tables);
    LAYOUT_TAKE(layout, p->arrivals, p->compactions_max + 1);
    LAYOUT_TAKE(layout, p->rest_edge, tables);
    LAYOUT_TAKE(layout, p->mark, tables);
    LAYOUT_TAKE(layout, p->bytes_before, tables);
    LAYOUT_TAKE(layout, p->over_tree, 4 * tables + 2 * TACTUS_LEVELS_MAX);
    LAYOUT_TAKE(layout, p->members, tables);
    LAYOUT_TAKE(layout, p->stack, tables);
    LAYOUT_TAKE(layout, p->heap, tables);
    LAYOUT_TAKE(layout, p->sort_a, tables);
    LAYOUT_TAKE(layout, p->sort_b, tables);
    LAYOUT_TAKE(layout, p->order, tables);
    LAYOUT_TAKE(layout, p->order_cost, tables);
    LAYOUT_TAKE(layout, p->weight, edges);
    LAYOUT_TAKE(layout, p->cell, edges);
    LAYOUT_TAKE(layout, p->rate, edges);
    LAYOUT_TAKE(layout, p->lump, edges);
    LAYOUT_TAKE(layout, p->below, edges);
    LAYOUT_TAKE(layout, p->cut_class, edges);
    LAYOUT_TAKE(layout, p->depth_most, 2 * leaves);
    LAYOUT_TAKE(layout, p->depth_add, 2 * leaves);
}

uint64_t tac_planner_memory_bytes(const struct tac_planner_options *options)
{
    struct tac_planner planner;
    struct layout      layout = {.size_bytes = tac_round_up(sizeof planner, 16)};

    planner_lay_out(&planner, &layout, options);
    return layout.size_bytes;
}

struct tac_planner *tac_planner_new(const struct tac_planner_options *options)
{
    uint64_t            size_bytes = tac_planner_memory_bytes(options);
    struct layout       layout = {.size_bytes = tac_round_up(sizeof(struct tac_planner), 16)};
    struct tac_planner *planner;

    tac_assert(options->memtable_size > 0 && options->block_size > 0);
    tac_assert(options->table_size >= options->block_size && options->slice_size > 0);
    tac_assert(options->runs_per_level >= 1 && options->last_ratio >= 1);
    tac_assert(options->tables_max < UINT32_MAX / 8);
    planner = calloc(1, size_bytes);
    if (planner == NULL) {
        return NULL;
    }
    layout.base = (uint8_t *)planner;
    planner->options = *options;
    planner->growth = options->runs_per_level == 1 ? GROWTH_OF_ONE_RUN : options->runs_per_level;
    planner_lay_out(planner, &layout, options);
    tac_assert(layout.size_bytes == size_bytes);
    return planner;
}

void tac_planner_free(struct tac_planner *planner) { free(planner); }

/* ---- sizes ---------------------------------------------------------------------------------- */

void tac_planner_state_init(struct tac_planner_state *state)
{
    *state = (struct tac_planner_state){.last_level = 1};
}

static uint32_t growth_of(const struct tac_planner_options *options)
{
    return options->runs_per_level == 1 ? GROWTH_OF_ONE_RUN : options->runs_per_level;
}

/* U: what a bar usually brings this tree. */
static uint64_t unit_of(const struct tac_planner_options *options,
                        const struct tac_planner_state   *state)
{
    uint64_t least = (uint64_t)options->runs_per_level * options->block_size;
    uint64_t mean = state->flush_mean >> MEAN_SHIFT;

    if (state->flush_mean == 0) {
        mean = options->memtable_size;
    }
    return tac_min_u64(tac_max_u64(mean, least), options->memtable_size);
}

/* The same for a bar that brings it so much. A burst after small bars counts at once: its tables
 * would be slivers of the mean's. */
static uint64_t unit_with(const struct tac_planner_options *options,
                          const struct tac_planner_state *state, uint64_t arriving_bytes)
{
    return tac_min_u64(tac_max_u64(unit_of(options, state), arriving_bytes / 2),
                       options->memtable_size);
}

uint64_t tac_planner_table_bytes(const struct tac_planner_options *options,
                                 const struct tac_planner_state *state, uint64_t arriving_bytes)
{
    uint64_t parts = tac_max_u64(2 * (uint64_t)options->runs_per_level, PARTS_MIN);
    uint64_t unit = unit_with(options, state, tac_min_u64(arriving_bytes, options->memtable_size));

    return tac_min_u64(tac_max_u64(unit / parts, options->block_size), options->table_size);
}

/* unit * growth^power / 2; a sum that does not fit is as good as no limit. */
static uint64_t half_power(uint64_t unit, uint32_t growth, uint32_t power)
{
    unsigned __int128 product = unit;

    for (uint32_t i = 0; i < power; i++) {
        product *= growth;
        if (product > UINT64_MAX / 4) {
            return UINT64_MAX / 8;
        }
    }
    return (uint64_t)(product / 2);
}

uint64_t tac_planner_level_size(uint64_t bytes, uint64_t records, uint64_t tombstones)
{
    tac_assert(tombstones <= records);
    if (tombstones == 0) {
        return bytes;
    }
    return bytes + (uint64_t)((unsigned __int128)bytes * tombstones / records);
}

uint32_t tac_planner_sink(const struct tac_planner_options *options,
                          struct tac_planner_state *state, uint64_t last_level_size)
{
    uint64_t unit = unit_of(options, state);
    uint32_t sunk = 0;

    tac_assert(state->last_level >= 1 && state->last_level < TACTUS_LEVELS_MAX);
    while (state->last_level < TACTUS_LEVELS_MAX - 1 &&
           last_level_size / options->last_ratio >
               half_power(unit, growth_of(options), state->last_level)) {
        state->last_level++;
        sunk++;
    }
    return sunk;
}

/* The mean record of the tree: a tombstone stands for about that much dead data. */
static uint64_t record_bytes(const struct tac_plan_input *input, uint32_t last_level)
{
    uint64_t bytes = 0;
    uint64_t records = 0;

    for (uint32_t t = 0; t < input->level_start[last_level + 1]; t++) {
        bytes += input->tables[t].bytes;
        records += input->tables[t].records;
    }
    return bytes / tac_max_u64(records, 1);
}

/* Weight of the level's tables within reach; with is_all, of all its tables. */
static uint64_t level_size(const struct tac_planner *planner, uint32_t level, bool is_all)
{
    const struct tac_plan_input *input = planner->input;
    uint64_t                     size = 0;

    for (uint32_t t = input->level_start[level]; t < input->level_start[level + 1]; t++) {
        const struct tac_plan_table *table = tac_plan_table_at(planner, t);

        if (is_all || planner->rest_edge[t] == 0) {
            size += table->bytes + table->tombstones * planner->record_bytes;
        }
    }
    return size;
}

static uint64_t level_cap(const struct tac_planner *planner, uint32_t level)
{
    uint64_t unit = planner->unit_bytes;
    uint64_t cap = half_power(unit, planner->growth, level + 1);

    tac_assert(level < planner->last_level);
    if (level + 1 == planner->last_level) {
        uint64_t last = level_size(planner, planner->last_level, true);

        last = tac_subtract_floor_zero(last, planner->dead_bytes);
        cap = tac_max_u64(unit, tac_min_u64(cap, last / planner->options.last_ratio));
    }
    return cap;
}

/* ---- the bar -------------------------------------------------------------------------------- */

/* How one pass over the levels goes about it. */
struct pass {
    bool     is_paced;   /* Stays near the mean of the bars' work */
    bool     is_pulling; /* Only fills up to the mean; what is due soon is due */
    bool     is_draining;
    bool     is_sweeping; /* Nothing is merged in place: it is to go down */
    uint64_t work_mean;   /* Bytes */
    bool     is_full;     /* The plan's arrays are used up */
};

/* What a bar with full credit is planned for: there is no writer whose waits it would lengthen. */
static bool is_unpaced(const struct tac_planner *planner)
{
    return planner->input->is_draining || planner->input->is_manual;
}

/* Weight that a level is thought to get in a bar: what may leave it is in proportion. At least U,
 * for what came in larger bars has to leave in smaller ones too. */
static uint64_t level_inflow(const struct tac_planner *planner, uint32_t level)
{
    uint64_t unit = planner->unit_bytes;
    uint64_t inflow = tac_max_u64(planner->arriving[level], planner->flush_weight);

    if (is_unpaced(planner)) {
        return planner->options.memtable_size;
    }
    return tac_min_u64(tac_max_u64(inflow, unit), 2 * unit);
}

/* The most of the source that one compaction aims at. Where a memtable has few blocks, tables
 * cannot be as narrow as they should be and hang together over wide ranges: of such a stack only
 * one slice can go in a bar, and slices of half a memtable would not keep up. */
static uint64_t bytes_max(const struct tac_planner *planner, uint32_t level)
{
    uint64_t aim =
        tac_max_u64(level_inflow(planner, level) / 2, TABLES_AIMED * planner->table_bytes);

    /* What found no room is tried in halves, down to one block. */
    for (uint32_t i = 0; i < planner->input->bars_stuck && aim > planner->options.block_size; i++) {
        aim = tac_max_u64(aim / 2, planner->options.block_size);
    }
    return aim;
}

/* Starts on a level: what bounds its candidates, and the search for them. */
static void level_begin(struct tac_planner *planner, uint32_t level)
{
    const uint32_t *start = planner->input->level_start;

    planner->whole_max = UNITS_WHOLE * bytes_max(planner, level);
    planner->visits = 0;
    planner->visits_max = 8 * (uint64_t)(start[level + 1] - start[level]) + 16384;
    tac_plan_depth_build(planner, level);
    tac_pick_lone_begin(planner, level);
}

/* Adds the picked candidate to the plan. False: it was no use, look for another. */
static bool candidate_add(struct tac_planner *planner, uint32_t level, enum tac_plan_reason reason,
                          struct pass *pass)
{
    struct tac_plan_candidate *candidate = &planner->candidate;

    if (!tac_shape_fit(planner, bytes_max(planner, level),
                       !is_unpaced(planner) && !pass->is_sweeping)) {
        return false;
    }
    candidate->reason = reason;
    if (!tac_cut_emit(planner)) {
        pass->is_full = true;
        return false;
    }
    tac_shape_take(planner);
    planner->chosen[level] += candidate->weight;
    if (candidate->kind != TAC_PLAN_IN_PLACE) {
        planner->arriving[level + 1] += candidate->weight;
        planner->balance[level] -= (int64_t)candidate->weight;
        planner->balance[level + 1] += (int64_t)candidate->weight;
    }
    return true;
}

static bool is_over_mean(const struct tac_planner *planner, const struct pass *pass)
{
    return pass->is_paced && planner->plan.bytes * 10 > pass->work_mean * 12;
}

static bool is_under_mean(const struct tac_planner *planner, const struct pass *pass)
{
    return pass->is_paced && planner->plan.bytes * 10 < pass->work_mean * 9;
}

/* Picks the next candidate of the level; false: nothing is due, or nothing can be taken. */
static bool level_pick(struct tac_planner *planner, uint32_t level, uint64_t cap, bool *has_order,
                       enum tac_plan_reason *ret_reason)
{
    *ret_reason = TAC_PLAN_FOR_DEPTH;
    if (tac_pick_deepest(planner, level, planner->options.runs_per_level + 1)) {
        return true;
    }
    *ret_reason = TAC_PLAN_FOR_SIZE;
    if (planner->balance[level] <= (int64_t)cap) {
        return false;
    }
    if (!tac_plan_is_run(planner, level + 1)) {
        return tac_pick_lone(planner, level) || tac_pick_deepest(planner, level, 1);
    }
    if (!*has_order) {
        *has_order = true;
        tac_pick_cheapest_begin(planner, level);
    }
    return tac_pick_cheapest(planner, level);
}

static void level_plan(struct tac_planner *planner, uint32_t level, struct pass *pass)
{
    uint32_t runs = planner->options.runs_per_level;
    uint64_t allow = level_inflow(planner, level) * 3 / 2;
    uint64_t cap = level_cap(planner, level);
    bool     has_order = false;

    enum tac_plan_reason reason;

    if (pass->is_draining) {
        allow = UNITS_DRAINING * planner->options.memtable_size;
    }
    if (pass->is_pulling) {
        cap = tac_subtract_floor_zero(cap, planner->unit_bytes / 2);
    }
    level_begin(planner, level);
    while (!pass->is_full) {
        uint64_t chosen = planner->chosen[level];
        bool     is_deep = tac_plan_depth_max(planner) > 2 * runs && chosen < 3 * allow;

        if ((chosen >= allow || is_over_mean(planner, pass)) && !is_deep) {
            break;
        }
        if (pass->is_pulling && !is_under_mean(planner, pass)) {
            break;
        }
        if (!level_pick(planner, level, cap, &has_order, &reason)) {
            break;
        }
        reason = pass->is_pulling && reason == TAC_PLAN_FOR_SIZE ? TAC_PLAN_FORWARD : reason;
        if (!candidate_add(planner, level, reason, pass)) {
            tac_shape_reject(planner);
        }
    }
}

/* What is due of the level and was not taken. What is out of reach is not due. */
static void level_due(struct tac_planner *planner, uint32_t level)
{
    struct tac_plan_due *due = &planner->plan.due[level];
    int64_t              excess = planner->balance[level] - (int64_t)level_cap(planner, level);

    tac_plan_depth_build(planner, level);
    due->depth = tac_plan_depth_max(planner);
    if (due->depth <= planner->options.runs_per_level) {
        due->depth = 0;
    }
    due->bytes = excess > 0 ? (uint64_t)excess : 0;
}

/* Everything of the level in the range is due. */
static void level_plan_manual(struct tac_planner *planner, uint32_t level, struct pass *pass)
{
    const struct tac_plan_input *input = planner->input;
    uint32_t                     end = tac_plan_index_end(planner, level, input->manual_edge_max);
    uint32_t                     t = input->level_start[level];

    tac_assert(input->manual_edge_min <= input->manual_edge_max);
    level_begin(planner, level);
    for (t = tac_plan_index_next(planner, level, t, input->manual_edge_min); t < end;
         t = tac_plan_index_next(planner, level, t + 1, input->manual_edge_min)) {
        /* The middle of a table: the whole column lies over it. Over a first key lie only those
         * tables of the column that begin a little earlier. */
        const struct tac_plan_table *table = tac_plan_table_at(planner, t);
        uint32_t edge = table->edge_min + (table->edge_max - table->edge_min) / 2;

        edge = (uint32_t)tac_max_u64(edge, input->manual_edge_min);
        edge = (uint32_t)tac_min_u64(edge, input->manual_edge_max);
        while (planner->rest_edge[t] == 0 && !pass->is_full &&
               planner->chosen[level] < UNITS_MANUAL * planner->options.memtable_size) {
            if (!tac_pick_over(planner, level, edge) ||
                !candidate_add(planner, level, TAC_PLAN_BY_HAND, pass)) {
                break;
            }
        }
    }
}

/* ---- the sweep ------------------------------------------------------------------------------ */

/* Where the tables of the level end that begin below the range's end. */
static uint32_t sweep_end(const struct tac_planner *planner, uint32_t level)
{
    uint32_t edge_end = planner->input->sweep_edge_end;

    return edge_end == 0 ? planner->input->level_start[level]
                         : tac_plan_index_end(planner, level, edge_end - 1);
}

/* Everything of the level from the place on, in order of keys, as far as a bar's share goes. */
static void sweep_take(struct tac_planner *planner, uint32_t level, uint32_t place)
{
    const struct tac_plan_input *input = planner->input;
    uint64_t    most = planner->plan.bytes + UNITS_SWEEP * planner->options.memtable_size;
    uint32_t    end = sweep_end(planner, level);
    struct pass pass = {.is_sweeping = true};

    level_begin(planner, level);
    for (uint32_t t = tac_plan_index_next(planner, level, input->level_start[level], place);
         t < end && planner->plan.bytes < most;
         t = tac_plan_index_next(planner, level, t + 1, place)) {
        const struct tac_plan_table *table = tac_plan_table_at(planner, t);
        uint32_t edge = table->edge_min + (table->edge_max - table->edge_min) / 2;

        /* Between two edges a table may lie over the whole range. */
        edge = (uint32_t)tac_max_u64(edge, tac_min_u64(place, table->edge_max));
        edge = (uint32_t)tac_min_u64(edge, input->sweep_edge_end - 1);
        while (planner->rest_edge[t] == 0 && !pass.is_full && planner->plan.bytes < most) {
            if (!tac_pick_over(planner, level, edge) ||
                !candidate_add(planner, level, TAC_PLAN_BY_HAND, &pass)) {
                break;
            }
        }
    }
}

/* The lowest edge, from the place on, from which on the level keeps something of the range; what
 * damage puts out of reach is passed over. TAC_EDGE_NONE: it keeps nothing. */
static uint32_t sweep_rest(struct tac_planner *planner, uint32_t level, uint32_t place)
{
    const struct tac_plan_input *input = planner->input;
    const struct tac_plan       *plan = &planner->plan;
    uint32_t                     end = sweep_end(planner, level);
    uint32_t                     rest = TAC_EDGE_NONE;

    for (uint32_t t = tac_plan_index_next(planner, level, input->level_start[level], place);
         t < end; t = tac_plan_index_next(planner, level, t + 1, place)) {
        uint32_t left = planner->rest_edge[t];

        left = left == 0 ? tac_plan_table_at(planner, t)->edge_min : left;
        rest = left < input->sweep_edge_end ? (uint32_t)tac_min_u64(rest, left) : rest;
    }
    /* What is merged in place stays in the level. */
    for (uint32_t i = 0; i < plan->compaction_count; i++) {
        const struct tac_plan_compaction *compaction = &plan->compactions[i];

        if (compaction->kind != TAC_PLAN_IN_PLACE || compaction->level_source != level) {
            continue;
        }
        for (uint32_t j = 0; j < compaction->input_count; j++) {
            const struct tac_plan_table *table =
                tac_plan_table_at(planner, plan->inputs[compaction->input_first + j]);

            if (table->edge_max >= place && table->edge_min < input->sweep_edge_end) {
                rest = (uint32_t)tac_min_u64(rest, table->edge_min);
            }
        }
    }
    return rest == TAC_EDGE_NONE ? rest : (uint32_t)tac_max_u64(rest, place);
}

static bool sweep_has_tables(const struct tac_planner *planner, uint32_t level, uint32_t place)
{
    return tac_plan_index_next(planner, level, planner->input->level_start[level], place) <
           sweep_end(planner, level);
}

/* One level after the other from the top, so that each byte goes down a level once, and those of
 * the last level are written once. Into a level that has nothing left of what was there before the
 * sweep only newer things come from above: so it ends however much is written meanwhile. */
static void plan_sweep(struct tac_planner *planner)
{
    const struct tac_plan_input *input = planner->input;
    struct tac_plan             *plan = &planner->plan;
    bool                         has_halves = planner->options.runs_per_level == 1;
    uint32_t                     place = input->sweep_edge_place;
    uint32_t                     level = input->sweep_level;
    uint32_t                     rest;

    while (level < planner->last_level && !sweep_has_tables(planner, level, place)) {
        level++;
        place = input->sweep_edge_min;
    }
    plan->sweep_level = level;
    plan->sweep_edge = TAC_EDGE_NONE;
    if (level >= planner->last_level || (has_halves && level % 2 != input->half)) {
        return;
    }
    sweep_take(planner, level, place);
    rest = TAC_MUTANT(SWEEP_REST_LEFT) ? TAC_EDGE_NONE : sweep_rest(planner, level, place);
    plan->sweep_level += rest == TAC_EDGE_NONE;
    plan->sweep_edge = rest == place ? TAC_EDGE_NONE : rest;
}

static void plan_levels(struct tac_planner *planner, struct pass *pass)
{
    bool     has_halves = planner->options.runs_per_level == 1;
    uint32_t first = has_halves ? planner->input->half : 0;
    uint32_t step = has_halves ? 2 : 1;

    for (uint32_t level = first; level < planner->last_level; level += step) {
        if (planner->input->is_manual) {
            level_plan_manual(planner, level, pass);
        }
        level_plan(planner, level, pass);
    }
    pass->is_pulling = pass->is_paced;
    for (uint32_t level = planner->last_level; level > 0 && is_under_mean(planner, pass); level--) {
        level_plan(planner, level - 1, pass);
    }
    for (uint32_t level = first; level < planner->last_level; level += step) {
        level_due(planner, level);
    }
}

static void plan_flush(struct tac_planner *planner)
{
    const struct tac_plan_input *input = planner->input;

    tac_assert(input->flush_edge_min <= input->flush_edge_max);
    tac_cut_emit_flush(planner);
    planner->arriving[0] = planner->flush_weight;
    planner->balance[0] += (int64_t)planner->flush_weight;
    planner->arrivals[planner->arrival_count++] = (struct tac_plan_arrival){
        .level = 0, .edge_first = input->flush_edge_min, .edge_last = input->flush_edge_max};
}

/* Forgets the last plan and indexes the input. */
static void planner_begin(struct tac_planner *planner, const struct tac_planner_state *state,
                          const struct tac_plan_input *input)
{
    tac_assert(state->last_level >= 1 && state->last_level < TACTUS_LEVELS_MAX);
    planner->input = input;
    planner->last_level = state->last_level;
    planner->unit_bytes = unit_with(&planner->options, state, planner->flush_weight);
    planner->table_bytes = tac_planner_table_bytes(&planner->options, state, planner->flush_weight);
    planner->arrival_count = 0;
    planner->cut_class_level = TAC_EDGE_NONE;
    memset(planner->arriving, 0, sizeof planner->arriving);
    memset(planner->chosen, 0, sizeof planner->chosen);
    tac_plan_index_build(planner);
    tac_cut_ruler_build(planner);
    planner->dead_bytes = 0;
    for (uint32_t t = 0; t < input->level_start[planner->last_level]; t++) {
        planner->dead_bytes += tac_plan_table_at(planner, t)->tombstones * planner->record_bytes;
    }
    for (uint32_t level = 0; level < planner->last_level; level++) {
        planner->balance[level] = (int64_t)level_size(planner, level, false);
    }
}

/* The first bars count alike, so that the first of all, often a short one, soon stops to matter. */
static void flush_mean_update(struct tac_planner_state *state, uint64_t flush_bytes)
{
    uint64_t value = flush_bytes << MEAN_SHIFT;
    uint64_t weight = tac_min_u64(state->bar_count + 1, 1 << MEAN_SHIFT);

    if (state->flush_mean == 0) {
        state->flush_mean = value;
    } else if (value >= state->flush_mean) {
        state->flush_mean += (value - state->flush_mean) / weight;
    } else {
        state->flush_mean -= (state->flush_mean - value) / weight;
    }
}

/* Past some memtables the mean is as good as one. */
void tac_planner_arrive(const struct tac_planner_options *options, struct tac_planner_state *state,
                        uint64_t weight)
{
    for (uint32_t i = 0; i < 4u << MEAN_SHIFT && weight > 0; i++) {
        uint64_t piece = tac_min_u64(weight, options->memtable_size);

        flush_mean_update(state, piece);
        weight -= piece;
    }
}

static void work_mean_update(struct tac_planner_state *state, uint64_t work_bytes)
{
    if (state->work_mean == 0) {
        state->work_mean = work_bytes << MEAN_SHIFT;
    } else {
        state->work_mean += work_bytes;
        state->work_mean -= state->work_mean >> MEAN_SHIFT;
    }
    state->work_mean = tac_max_u64(state->work_mean, 2 * state->flush_mean);
}

const struct tac_plan *tac_planner_plan(struct tac_planner          *planner,
                                        struct tac_planner_state    *state,
                                        const struct tac_plan_input *input)
{
    struct tac_plan *plan = &planner->plan;
    bool             is_special = input->is_draining || input->is_manual || input->is_held;
    bool             has_halves = planner->options.runs_per_level == 1;
    bool             has_flush = input->flush_bytes > 0 && (!has_halves || input->half == 1);
    struct pass      pass = {.is_draining = input->is_draining};
    uint64_t         work_bytes;

    tac_assert(input->half <= 1);
    planner->record_bytes = record_bytes(input, state->last_level);
    planner->flush_weight = input->flush_bytes + input->flush_tombstones * planner->record_bytes;
    if (has_flush && !input->is_draining) {
        flush_mean_update(state, planner->flush_weight);
    }
    planner_begin(planner, state, input);
    plan->compaction_count = 0;
    plan->job_count = 0;
    plan->cut_count = 0;
    plan->input_count = 0;
    plan->bytes = 0;
    plan->table_bytes = planner->table_bytes;
    plan->table_bytes_min = planner->table_bytes / 4;
    memset(plan->due, 0, sizeof plan->due);
    if (has_flush) {
        plan_flush(planner);
    }
    pass.work_mean = state->work_mean >> MEAN_SHIFT;
    pass.is_paced = !has_halves && !is_special && state->bar_count >= WARM_UP_BARS;
    if (!input->is_held) {
        plan_levels(planner, &pass);
    }
    work_bytes = plan->bytes;
    if (input->is_sweeping) {
        plan_sweep(planner);
    }
    if (!is_special && !has_halves) {
        work_mean_update(state, work_bytes);
    }
    state->bar_count += has_halves ? input->half : 1;
    return plan;
}

bool tac_planner_is_settled(struct tac_planner *planner, const struct tac_planner_state *state,
                            const struct tac_plan_input *input)
{
    planner->record_bytes = record_bytes(input, state->last_level);
    planner->flush_weight = 0;
    planner_begin(planner, state, input);
    for (uint32_t level = 0; level < planner->last_level; level++) {
        if (planner->balance[level] > (int64_t)level_cap(planner, level)) {
            return false;
        }
        tac_plan_depth_build(planner, level);
        if (tac_plan_depth_max(planner) > planner->options.runs_per_level) {
            return false;
        }
    }
    return true;
}
