/* SPDX-License-Identifier: Apache-2.0 */
/* planner_cut -- where the output of a compaction is cut into jobs and tables.
 * docs/COMPACTION.md tells the rules. */
#include "base/mutant.h"
#include "pipeline/planner_internal.h"

#include <string.h>

#define CELL_WEIGHT ((uint64_t)1 << 16) /* Of one cell of the ruler */
#define RATE_SHIFT 20                   /* Rates are bytes << RATE_SHIFT per weight */
#define PART 64                         /* A table's target in the unit of table_parts */

/* ---- where bytes lie ------------------------------------------------------------------------ */

/* The ruler is the deepest level that has tables; its first keys are the borders of the cells.
 * Where that level has overlapping runs, only tables that do not overlap count: the runs begin
 * their tables at slightly different keys, and the slivers between these are no cells. A cell
 * weighs the same wherever it is; within it every edge weighs the same. */
void tac_cut_ruler_build(struct tac_planner *planner)
{
    const struct tac_plan_input *input = planner->input;
    uint32_t                     level = planner->last_level;
    uint32_t                     edge_count = input->edge_count;
    uint32_t                     cell_count = 0;
    uint32_t                     last = 0;

    while (level > 0 && input->level_start[level] == input->level_start[level + 1]) {
        level--;
    }
    memset(planner->cell, 0, ((size_t)edge_count + 1) * sizeof *planner->cell);
    for (uint32_t t = input->level_start[level]; t < input->level_start[level + 1]; t++) {
        const struct tac_plan_table *table = tac_plan_table_at(planner, t);

        if (t == input->level_start[level] || table->edge_min > last) {
            planner->cell[table->edge_min] = 1;
            last = table->edge_max;
        }
    }
    for (uint32_t begin = 0; begin < edge_count;) {
        uint32_t end = begin + 1;

        cell_count += planner->cell[begin];
        while (end < edge_count && planner->cell[end] == 0) {
            end++;
        }
        for (uint32_t e = begin; e < end; e++) {
            planner->cell[e] = cell_count;
            planner->weight[e] =
                CELL_WEIGHT * cell_count + CELL_WEIGHT * (e - begin) / (end - begin);
        }
        begin = end;
    }
    planner->cell[edge_count] = cell_count + 1;
    planner->weight[edge_count] = CELL_WEIGHT * (cell_count + 1);
}

/* What a table adds per weight, and its span; a table of one point has a span of 0. */
static int64_t table_rate(const struct tac_planner *planner, uint32_t t, uint64_t *ret_span)
{
    const struct tac_plan_table *table = tac_plan_table_at(planner, t);
    uint64_t span = planner->weight[table->edge_max] - planner->weight[table->edge_min];

    tac_assert(table->bytes < (uint64_t)1 << (62 - RATE_SHIFT));
    *ret_span = span;
    return span == 0 ? 0 : (int64_t)((table->bytes << RATE_SHIFT) / span);
}

uint64_t tac_cut_bytes_below(const struct tac_planner *planner, uint32_t t, uint32_t edge)
{
    const struct tac_plan_table *table = tac_plan_table_at(planner, t);
    uint64_t                     span;
    uint64_t                     rate = (uint64_t)table_rate(planner, t, &span);
    uint64_t                     bytes;

    tac_assert(edge > table->edge_min);
    if (span == 0 || edge > table->edge_max) {
        return table->bytes;
    }
    bytes = rate * (planner->weight[edge] - planner->weight[table->edge_min]) >> RATE_SHIFT;
    return tac_min_u64(bytes, table->bytes);
}

void tac_cut_spread_begin(struct tac_planner *planner, const uint32_t *tables, uint32_t count,
                          struct tac_plan_spread *spread, uint32_t edge)
{
    *spread = (struct tac_plan_spread){.edge = edge};
    for (uint32_t i = 0; i < count; i++) {
        const struct tac_plan_table *table = tac_plan_table_at(planner, tables[i]);
        uint64_t                     span;
        int64_t                      rate = table_rate(planner, tables[i], &span);

        tac_assert(table->edge_min >= edge);
        if (span == 0) {
            planner->lump[table->edge_min] += table->bytes;
        } else {
            planner->rate[table->edge_min] += rate;
            planner->rate[table->edge_max] -= rate;
        }
    }
}

void tac_cut_spread_step(const struct tac_planner *planner, struct tac_plan_spread *spread)
{
    uint64_t weight = planner->weight[spread->edge + 1] - planner->weight[spread->edge];

    tac_assert(spread->edge < planner->input->edge_count);
    spread->rate += planner->rate[spread->edge];
    tac_assert(spread->rate >= 0);
    spread->bytes += planner->lump[spread->edge];
    spread->bytes += (uint64_t)spread->rate * weight >> RATE_SHIFT;
    spread->edge++;
}

void tac_cut_spread_end(struct tac_planner *planner, const uint32_t *tables, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct tac_plan_table *table = tac_plan_table_at(planner, tables[i]);

        planner->rate[table->edge_min] = 0;
        planner->rate[table->edge_max] = 0;
        planner->lump[table->edge_min] = 0;
    }
}

/* ---- places for cuts ------------------------------------------------------------------------ */

/* Classes the level's edges: the places where one of its tables begins, or behind the last key of
 * one. A cut straddles a table that has keys on both sides of it. planner->lump, zero between its
 * uses, counts those. */
static void level_edges_mark(struct tac_planner *planner, uint32_t level, uint8_t class_straddled,
                             uint8_t class_free)
{
    const struct tac_plan_input *input = planner->input;
    uint64_t                    *change = planner->lump;
    uint64_t                     straddled = 0;

    for (uint32_t t = input->level_start[level]; t < input->level_start[level + 1]; t++) {
        const struct tac_plan_table *table = tac_plan_table_at(planner, t);

        change[table->edge_min + 1] += 1;
        change[table->edge_max + 1] -= 1;
    }
    for (uint32_t e = 0; e <= input->edge_count; e++) {
        straddled += change[e];
        change[e] = straddled; /* Now the count itself */
    }
    for (uint32_t t = input->level_start[level]; t < input->level_start[level + 1]; t++) {
        const struct tac_plan_table *table = tac_plan_table_at(planner, t);
        uint32_t                     edges[2] = {table->edge_min, table->edge_max + 1};

        for (uint32_t i = 0; i < 2; i++) {
            uint8_t rank = change[edges[i]] == 0 ? class_free : class_straddled;

            if (rank > planner->cut_class[edges[i]]) {
                planner->cut_class[edges[i]] = rank;
            }
        }
    }
    memset(change, 0, ((size_t)input->edge_count + 1) * sizeof *change);
}

void tac_cut_classes_build(struct tac_planner *planner, uint32_t level)
{
    if (planner->cut_class_level == level) {
        return;
    }
    planner->cut_class_level = level;
    memset(planner->cut_class, TAC_CUT_CLASS_NONE, (size_t)planner->input->edge_count + 1);
    if (level < planner->last_level) {
        level_edges_mark(planner, level + 1, TAC_CUT_CLASS_NONE, TAC_CUT_CLASS_NEXT);
    }
    level_edges_mark(planner, level, TAC_CUT_CLASS_EDGE, TAC_CUT_CLASS_FREE);
}

/* ---- cutting one job ------------------------------------------------------------------------ */

/* What the jobs of one compaction share; planner->below tells the bytes of its stream below each
 * edge. */
struct cutter {
    uint32_t level_target;
    uint64_t stream_bytes; /* Of the whole compaction */
    uint32_t stream_cells; /* Cells that it spans */
    bool     is_full;      /* The plan has no room for another cut */
};

static void cut_add(struct tac_planner *planner, struct cutter *cutter, uint32_t edge, bool is_hard,
                    uint64_t limit_bytes)
{
    struct tac_plan *plan = &planner->plan;

    if (plan->cut_count == planner->cuts_max) {
        cutter->is_full = true;
        return;
    }
    tac_assert(limit_bytes > 0);
    plan->cuts[plan->cut_count++] =
        (struct tac_plan_cut){.edge = edge, .is_hard = is_hard, .limit_bytes = limit_bytes};
}

/* What tables of the target level should have. Those of a last level of one run are somewhat
 * larger: most blocks are there, and each table has one for its index and one that it does not
 * fill. Not with runs of 1: what is tried where there is no room would not become small enough
 * (test_stuck). */
static uint64_t cut_target(const struct tac_planner *planner, const struct cutter *cutter)
{
    bool is_last = cutter->level_target == planner->last_level;

    return is_last && planner->options.runs_per_level > 1
               ? tac_min_u64(5 * planner->table_bytes / 4, planner->options.table_size)
               : planner->table_bytes;
}

/* A stretch without edges to cut at: equal parts of about T. Half a part of slack over them all, so
 * that a stream somewhat longer than estimated does not end in a sliver. */
static void cut_equal(struct tac_planner *planner, struct cutter *cutter, uint32_t begin,
                      uint32_t end, bool is_hard)
{
    uint64_t target = cut_target(planner, cutter);
    uint64_t bytes = planner->below[end] - planner->below[begin];
    uint64_t parts = tac_max_u64(1, (bytes + target / 2) / target);
    uint64_t share = tac_div_ceil(bytes, parts);

    tac_assert(begin < end);
    cut_add(planner, cutter, end, is_hard,
            parts == 1 ? 2 * target : share + tac_div_ceil(share, 2 * parts));
}

/* How much of a table [begin, end) would be, in 1/PART of a target. A sparse one is also full when
 * it spans twice the cells that a table would if the stream were even. */
static uint64_t table_parts(const struct tac_planner *planner, const struct cutter *cutter,
                            uint32_t begin, uint32_t end, bool is_sparse)
{
    uint64_t bytes = planner->below[end] - planner->below[begin];
    uint64_t parts = bytes * PART / planner->table_bytes;
    uint64_t cells = planner->cell[end] - planner->cell[begin];

    if (is_sparse) {
        uint64_t tables = tac_max_u64(1, cutter->stream_bytes / planner->table_bytes);

        parts = tac_max_u64(parts, cells * PART * tables / (2 * (uint64_t)cutter->stream_cells));
    }
    return parts;
}

/* The end of the table that begins at `begin`: the best place where it has between half and one and
 * a half targets and what remains is no sliver. TAC_EDGE_NONE: there is none; *ret_next is then the
 * first place behind. */
static uint32_t cut_find(const struct tac_planner *planner, const struct cutter *cutter,
                         uint32_t begin, uint32_t end, bool is_sparse, uint32_t *ret_next)
{
    uint64_t parts_all = table_parts(planner, cutter, begin, end, is_sparse);
    uint64_t parts_max = tac_min_u64(3 * PART / 2, parts_all - PART / 2);
    uint32_t best = TAC_EDGE_NONE;
    uint32_t best_rank = 0;
    uint64_t best_distance = 0;
    uint32_t e;

    tac_assert(parts_all > 3 * PART / 2);
    for (e = begin + 1; e < end; e++) {
        uint64_t parts = table_parts(planner, cutter, begin, e, is_sparse);
        uint64_t distance = parts > PART ? parts - PART : PART - parts;
        uint32_t rank = 2 * (uint32_t)planner->cut_class[e];

        if (rank == 0 && planner->cell[e] != planner->cell[e - 1]) {
            rank = 1;
        }
        if (rank == 0 || parts < PART / 2) {
            continue;
        }
        if (parts > parts_max) {
            break;
        }
        if (best == TAC_EDGE_NONE || rank > best_rank ||
            (rank == best_rank && distance < best_distance)) {
            best = e;
            best_rank = rank;
            best_distance = distance;
        }
    }
    *ret_next = e;
    return best;
}

/* Cuts a stretch of dense or of sparse cells; its end is a hard cut. */
static void cut_stretch(struct tac_planner *planner, struct cutter *cutter, uint32_t begin,
                        uint32_t end, bool is_sparse)
{
    uint64_t target = planner->table_bytes;

    while (begin < end && !cutter->is_full) {
        uint32_t edge, next;

        if (table_parts(planner, cutter, begin, end, is_sparse) <= 3 * PART / 2) {
            cut_add(planner, cutter, end, true, 2 * target);
            return;
        }
        edge = cut_find(planner, cutter, begin, end, is_sparse, &next);
        if (edge == TAC_EDGE_NONE) {
            edge = next;
            cut_equal(planner, cutter, begin, edge, edge == end);
        } else {
            /* What is planned small is meant to be; the builder must not fill it up. */
            cut_add(planner, cutter, edge,
                    2 * (planner->below[edge] - planner->below[begin]) < target, 2 * target);
        }
        begin = edge;
    }
}

static uint32_t cell_end(const struct tac_planner *planner, uint32_t begin, uint32_t end)
{
    uint32_t e = begin + 1;

    while (e < end && planner->cell[e] == planner->cell[begin]) {
        e++;
    }
    return e;
}

/* Dense and sparse cells never share a table: a few stray keys would make a dense one wide. */
static void cut_job(struct tac_planner *planner, struct cutter *cutter, uint32_t begin,
                    uint32_t end)
{
    uint32_t stretch = begin;
    bool     is_sparse = false;

    tac_assert(begin < end);
    tac_assert(cutter->level_target < planner->last_level);
    for (uint32_t e = begin; e < end;) {
        uint32_t next = cell_end(planner, e, end);
        bool     sparse = 2 * (planner->below[next] - planner->below[e]) < planner->table_bytes;

        if (e > stretch && sparse != is_sparse) {
            cut_stretch(planner, cutter, stretch, e, is_sparse);
            stretch = e;
        }
        is_sparse = sparse;
        e = next;
    }
    cut_stretch(planner, cutter, stretch, end, is_sparse);
}

/* ---- jobs ----------------------------------------------------------------------------------- */

static uint64_t distance_of(uint64_t a, uint64_t b) { return a > b ? a - b : b - a; }

/* Where a stream into the last level, whose tables end at no edge, is parted nearest to
 * bytes_ideal: at an edge of that level's tables, which stays one then, and never so that a part
 * has less than bytes_min. */
static uint32_t border_find(const struct tac_planner *planner, uint32_t begin, uint32_t end,
                            uint64_t bytes_ideal, uint64_t bytes_min)
{
    uint32_t best = TAC_EDGE_NONE;

    for (uint32_t e = begin + 1; e < end; e++) {
        uint64_t bytes = planner->below[e];

        if (planner->cut_class[e] == TAC_CUT_CLASS_NONE ||
            bytes < planner->below[begin] + bytes_min || bytes + bytes_min > planner->below[end]) {
            continue;
        }
        if (best == TAC_EDGE_NONE ||
            distance_of(bytes, bytes_ideal) < distance_of(planner->below[best], bytes_ideal)) {
            best = e;
        }
        if (bytes >= bytes_ideal) {
            break; /* Those that follow lie further away. */
        }
    }
    return best;
}

/* True if a table that does not take part, and whose records are older than the compaction's, may
 * hold keys of [begin, end). */
static bool is_covered(const struct tac_planner         *planner,
                       const struct tac_plan_compaction *compaction, uint32_t begin, uint32_t end)
{
    uint32_t epoch = planner->mark_epoch;

    for (uint32_t level = compaction->level_target; level <= planner->last_level; level++) {
        if (level == compaction->level_target ? TAC_MUTANT(DROP_OVER_SIBLING)
                                              : TAC_MUTANT(DROP_OVER_DEEPER)) {
            continue;
        }
        uint32_t i = planner->input->level_start[level];
        uint32_t i_end = tac_plan_index_end(planner, level, end - 1);

        for (i = tac_plan_index_next(planner, level, i, begin); i < i_end;
             i = tac_plan_index_next(planner, level, i + 1, begin)) {
            bool is_newer = compaction->kind == TAC_PLAN_IN_PLACE &&
                            level == compaction->level_target &&
                            tac_plan_table_at(planner, i)->stamp > compaction->stamp;

            if (planner->mark[i] != epoch && !is_newer) {
                return true;
            }
        }
    }
    return false;
}

/* A job whose cuts have been made. */
static bool job_add(struct tac_planner *planner, const struct tac_plan_compaction *compaction,
                    uint32_t begin, uint32_t end, uint32_t cut_first, uint32_t cut_count)
{
    struct tac_plan *plan = &planner->plan;

    if (plan->job_count == planner->jobs_max) {
        return false;
    }
    plan->jobs[plan->job_count++] =
        (struct tac_plan_job){.edge_begin = begin,
                              .edge_end = end,
                              .cut_first = cut_first,
                              .cut_count = cut_count,
                              .bytes = planner->below[end] - planner->below[begin],
                              .drops_tombstones = !is_covered(planner, compaction, begin, end)};
    return true;
}

/* The hull's own ends are no limits: the first and the last job are open there. */
static void open_ends(struct tac_planner *planner, const struct tac_plan_compaction *compaction)
{
    struct tac_plan *plan = &planner->plan;

    tac_assert(plan->job_count > compaction->job_first && plan->cut_count > 0);
    plan->jobs[compaction->job_first].edge_begin = TAC_EDGE_NONE;
    plan->jobs[plan->job_count - 1].edge_end = compaction->edge_slice;
    plan->cuts[plan->cut_count - 1].edge = compaction->edge_slice;
}

/* One job and no place to cut at: a table ends where the builder cannot hold more. */
static bool jobs_add_tight(struct tac_planner               *planner,
                           const struct tac_plan_compaction *compaction, uint32_t begin,
                           uint32_t end)
{
    struct tac_plan *plan = &planner->plan;

    if (plan->cut_count == planner->cuts_max) {
        return false;
    }
    plan->cuts[plan->cut_count++] =
        (struct tac_plan_cut){.edge = end, .limit_bytes = TAC_PLAN_LIMIT_NONE};
    return job_add(planner, compaction, begin, end, plan->cut_count - 1, 1);
}

/* Into the last level: the borders come first, each job has equal tables. */
static bool jobs_add_last(struct tac_planner *planner, struct cutter *cutter,
                          const struct tac_plan_compaction *compaction, uint32_t begin,
                          uint32_t end, uint64_t jobs)
{
    struct tac_plan *plan = &planner->plan;
    uint64_t         bytes = planner->below[end];

    for (uint64_t i = 1; i <= jobs; i++) {
        uint32_t edge = end;

        if (i < jobs) {
            edge = border_find(planner, begin, end, bytes * i / jobs, bytes / jobs / 2);
        }
        if (edge == TAC_EDGE_NONE) {
            continue;
        }
        cut_equal(planner, cutter, begin, edge, true);
        if (cutter->is_full || !job_add(planner, compaction, begin, edge, plan->cut_count - 1, 1)) {
            return false;
        }
        begin = edge;
    }
    return true;
}

/* Into another level: the tables come first, as if it were one job, and jobs end where tables do.
 * So where tables end does not depend on slice_size. */
static bool jobs_add_cut(struct tac_planner *planner, struct cutter *cutter,
                         const struct tac_plan_compaction *compaction, uint32_t begin, uint32_t end,
                         uint64_t jobs)
{
    struct tac_plan *plan = &planner->plan;
    uint64_t         bytes = planner->below[end];
    uint32_t         first = plan->cut_count;
    uint64_t         i = 1;

    cut_job(planner, cutter, begin, end);
    for (uint32_t c = first; c < plan->cut_count; c++) {
        uint32_t edge = plan->cuts[c].edge;
        bool     is_last = c + 1 == plan->cut_count;
        uint64_t ideal = bytes * i / jobs;

        /* The table that would end nearer to the ideal is the next one. */
        if (!is_last && distance_of(planner->below[plan->cuts[c + 1].edge], ideal) <
                            distance_of(planner->below[edge], ideal)) {
            continue;
        }
        if (!is_last && i == jobs) {
            continue;
        }
        if (!job_add(planner, compaction, begin, edge, first, c + 1 - first)) {
            return false;
        }
        begin = edge;
        first = c + 1;
        while (i < jobs && bytes * i / jobs <= planner->below[edge]) {
            i++;
        }
    }
    return !cutter->is_full;
}

/* Cuts the stream over [begin, end) into tables, and into jobs of about slice_size. */
static bool jobs_add(struct tac_planner *planner, struct tac_plan_compaction *compaction,
                     uint32_t begin, uint32_t end)
{
    uint64_t      bytes = planner->below[end];
    uint64_t      slice = planner->options.slice_size;
    uint64_t      jobs = tac_max_u64(1, (bytes + slice / 2) / slice);
    bool          is_added;
    struct cutter cutter = {.level_target = compaction->level_target,
                            .stream_bytes = bytes,
                            .stream_cells = planner->cell[end] - planner->cell[begin] + 1};

    tac_assert(begin < end && planner->below[begin] == 0);
    compaction->job_first = planner->plan.job_count;
    tac_cut_classes_build(planner, compaction->level_target);
    if (planner->input->is_tight) {
        is_added = jobs_add_tight(planner, compaction, begin, end);
    } else if (compaction->level_target == planner->last_level) {
        is_added = jobs_add_last(planner, &cutter, compaction, begin, end, jobs);
    } else {
        is_added = jobs_add_cut(planner, &cutter, compaction, begin, end, jobs);
    }
    if (!is_added) {
        return false;
    }
    compaction->job_count = planner->plan.job_count - compaction->job_first;
    open_ends(planner, compaction);
    return true;
}

/* ---- emitting ------------------------------------------------------------------------------- */

/* Appends the inputs and marks them; they stay sorted by index. */
static void inputs_add(struct tac_planner *planner, struct tac_plan_compaction *compaction,
                       const uint32_t *members, uint32_t count, uint32_t target_first,
                       uint32_t target_end)
{
    struct tac_plan *plan = &planner->plan;
    uint32_t        *inputs = plan->inputs + plan->input_count;
    uint32_t         epoch = ++planner->mark_epoch;

    tac_assert(plan->input_count + count + (target_end - target_first) <=
               planner->options.tables_max);
    memcpy(inputs, members, count * sizeof *inputs);
    tac_plan_sort_u32(inputs, planner->sort_b, count);
    for (uint32_t t = target_first; t < target_end; t++) {
        inputs[count++] = t;
    }
    for (uint32_t i = 0; i < count; i++) {
        planner->mark[inputs[i]] = epoch;
    }
    compaction->input_first = plan->input_count;
    compaction->input_count = count;
    plan->input_count += count;
}

/* Fills planner->below over [begin, end] with the stream of the compaction's tables, and of the
 * flush if flush_below is given. */
static void stream_build(struct tac_planner *planner, const struct tac_plan_compaction *compaction,
                         uint32_t begin, uint32_t end, const uint64_t *flush_below)
{
    const uint32_t        *tables = planner->plan.inputs + compaction->input_first;
    struct tac_plan_spread spread;

    tac_cut_spread_begin(planner, tables, compaction->input_count, &spread, begin);
    while (spread.edge < end) {
        planner->below[spread.edge] = spread.bytes;
        if (flush_below != NULL) {
            planner->below[spread.edge] += flush_below[spread.edge];
        }
        planner->below[spread.edge] = tac_min_u64(planner->below[spread.edge], compaction->bytes);
        tac_cut_spread_step(planner, &spread);
    }
    tac_cut_spread_end(planner, tables, compaction->input_count);
    planner->below[begin] = 0;
    planner->below[end] = compaction->bytes;
}

static void compaction_append(struct tac_planner               *planner,
                              const struct tac_plan_compaction *compaction)
{
    struct tac_plan *plan = &planner->plan;

    tac_assert(plan->compaction_count < planner->compactions_max);
    plan->compactions[plan->compaction_count++] = *compaction;
    plan->bytes += compaction->bytes;
}

/* The end of the candidate's stream: behind the last key of what takes part, or the slice. */
static uint32_t candidate_end(const struct tac_planner        *planner,
                              const struct tac_plan_candidate *candidate)
{
    uint32_t last = candidate->edge_last;

    if (candidate->edge_slice != TAC_EDGE_NONE) {
        return candidate->edge_slice;
    }
    if (candidate->target_end > candidate->target_first) {
        last = (uint32_t)tac_max_u64(
            last, tac_plan_table_at(planner, candidate->target_end - 1)->edge_max);
    }
    return last + 1;
}

bool tac_cut_emit(struct tac_planner *planner)
{
    const struct tac_plan_candidate *candidate = &planner->candidate;
    struct tac_plan                  before = planner->plan;
    uint64_t                         bytes = candidate->bytes + candidate->target_bytes;
    struct tac_plan_compaction       compaction = {.kind = candidate->kind,
                                                   .reason = candidate->reason,
                                                   .level_source = candidate->level_source,
                                                   .level_target = candidate->level_target,
                                                   .edge_slice = candidate->edge_slice,
                                                   .bytes = bytes,
                                                   .stamp = candidate->stamp};
    uint32_t                         begin = candidate->edge_first;
    uint32_t                         end = candidate_end(planner, candidate);

    if (planner->plan.compaction_count == planner->compactions_max) {
        return false;
    }
    inputs_add(planner, &compaction, candidate->members, candidate->count, candidate->target_first,
               candidate->target_end);
    compaction.job_first = planner->plan.job_count;
    if (candidate->kind == TAC_PLAN_MOVE) {
        tac_assert(compaction.input_count == 1);
        compaction.bytes = 0;
        compaction_append(planner, &compaction);
        return true;
    }
    if (candidate->target_end > candidate->target_first) {
        begin = (uint32_t)tac_min_u64(
            begin, tac_plan_table_at(planner, candidate->target_first)->edge_min);
    }
    stream_build(planner, &compaction, begin, end, NULL);
    if (!jobs_add(planner, &compaction, begin, end)) {
        planner->plan = before;
        return false;
    }
    compaction_append(planner, &compaction);
    return true;
}

void tac_cut_emit_flush(struct tac_planner *planner)
{
    const struct tac_plan_input *input = planner->input;
    struct tac_plan_compaction   compaction = {.kind = TAC_PLAN_FLUSH,
                                               .reason = TAC_PLAN_FOR_FLUSH,
                                               .edge_slice = TAC_EDGE_NONE,
                                               .bytes = input->flush_bytes};
    uint32_t                     begin = input->flush_edge_min;
    uint32_t                     end = input->flush_edge_max + 1;
    uint32_t                     count = 0;
    bool                         has_room;

    tac_assert(begin < end && end <= input->edge_count);
    tac_assert(input->flush_bytes_below != NULL);
    if (planner->options.runs_per_level == 1) {
        uint32_t t_end = tac_plan_index_end(planner, 0, input->flush_edge_max);
        uint32_t t = tac_plan_index_next(planner, 0, input->level_start[0], input->flush_edge_min);

        for (; t < t_end; t = tac_plan_index_next(planner, 0, t + 1, input->flush_edge_min)) {
            const struct tac_plan_table *table = tac_plan_table_at(planner, t);

            if (table->is_damaged) {
                continue; /* The flush cannot wait: its tables lie above, as newer ones */
            }
            planner->sort_a[count++] = t;
            planner->rest_edge[t] = TAC_EDGE_NONE;
            compaction.bytes += table->bytes;
            begin = (uint32_t)tac_min_u64(begin, table->edge_min);
            end = (uint32_t)tac_max_u64(end, table->edge_max + 1);
        }
    }
    inputs_add(planner, &compaction, planner->sort_a, count, 0, 0);
    stream_build(planner, &compaction, begin, end, input->flush_bytes_below);
    has_room = jobs_add(planner, &compaction, begin, end);
    tac_assert(has_room); /* It is the first to be planned */
    compaction_append(planner, &compaction);
}
