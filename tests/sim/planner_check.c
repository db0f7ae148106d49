/* SPDX-License-Identifier: Apache-2.0 */
/* planner_check -- what must be true of every plan, whatever the workload: nothing is taken from
 * under something older, jobs and cuts add up, each compaction keeps its bound, and the same input
 * gives the same plan; and of the tree's content: it is what the oracle says. */
#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "tests/lib/tap.h"
#include "tests/sim/planner_model.h"

/* ---- checking a plan ------------------------------------------------------------------------ */

static bool overlap(const struct tac_plan_table *a, const struct tac_plan_table *b,
                    uint32_t edge_slice)
{
    uint32_t first = a->edge_min > b->edge_min ? a->edge_min : b->edge_min;
    uint32_t last = a->edge_max < b->edge_max ? a->edge_max : b->edge_max;

    return first <= last && first < edge_slice;
}

/* Nothing that is older than an input, and overlaps what is taken of it, stays above it. */
static void check_closure(struct model *model, const struct tac_plan_input *input,
                          const struct tac_plan *plan, const struct tac_plan_compaction *c,
                          const uint8_t *is_input)
{
    for (uint32_t i = 0; i < c->input_count; i++) {
        uint32_t                     t = plan->inputs[c->input_first + i];
        const struct tac_plan_table *taken = &input->tables[t];
        bool is_source = t < input->level_start[c->level_source + 1] && c->kind != TAC_PLAN_FLUSH;

        if (taken->is_damaged) {
            model_problem(model, "a damaged table is taken");
        }
        if (taken->edge_min >= c->edge_slice) {
            model_problem(model, "an input lies above the slice");
        }
        if (!is_source) {
            continue;
        }
        for (uint32_t o = input->level_start[c->level_source];
             o < input->level_start[c->level_source + 1]; o++) {
            const struct tac_plan_table *other = &input->tables[o];

            if (is_input[o] || !overlap(taken, other, c->edge_slice)) {
                continue;
            }
            if (c->kind == TAC_PLAN_IN_PLACE
                    ? other->stamp > taken->stamp && other->stamp <= c->stamp
                    : other->stamp <= taken->stamp) {
                model_problem(model, "an older table stays above (kind %d, level %u)", (int)c->kind,
                              c->level_source);
            }
        }
        for (uint32_t o = input->level_start[c->level_target];
             o < input->level_start[c->level_target + 1]; o++) {
            bool is_run =
                c->level_target == model->state.last_level || model->options.runs_per_level == 1;

            if (c->kind != TAC_PLAN_IN_PLACE && is_run && !is_input[o] &&
                overlap(taken, &input->tables[o], c->edge_slice)) {
                model_problem(model, "a table of a run is overlapped and no input");
            }
        }
    }
}

static void check_jobs(struct model *model, const struct tac_plan *plan,
                       const struct tac_plan_compaction *c)
{
    uint64_t bytes = 0;
    uint32_t edge = TAC_EDGE_NONE;

    for (uint32_t j = c->job_first; j < c->job_first + c->job_count; j++) {
        const struct tac_plan_job *job = &plan->jobs[j];
        uint32_t                   last = job->cut_first + job->cut_count - 1;

        if (job->edge_begin != edge || job->cut_count == 0) {
            model_problem(model, "jobs have a gap, or no cut");
            return;
        }
        if (j > c->job_first && (edge == TAC_EDGE_NONE || job->edge_end <= edge)) {
            model_problem(model, "jobs are out of order");
        }
        for (uint32_t i = job->cut_first; i < last; i++) {
            if (plan->cuts[i].edge >= plan->cuts[i + 1].edge ||
                (edge != TAC_EDGE_NONE && plan->cuts[i].edge <= edge)) {
                model_problem(model, "cuts are out of order");
            }
        }
        if (plan->cuts[last].edge != job->edge_end) {
            model_problem(model, "the last cut is not the job's end");
        }
        edge = job->edge_end;
        bytes += job->bytes;
    }
    if (c->kind == TAC_PLAN_MOVE ? c->job_count != 0 || c->bytes != 0 || c->input_count != 1
                                 : edge != c->edge_slice || bytes != c->bytes) {
        model_problem(model, "jobs do not add up (kind %d): %llu of %llu", (int)c->kind,
                      (unsigned long long)bytes, (unsigned long long)c->bytes);
    }
}

/* How many of the inputs lie over one edge: a merge has one source for each. */
static uint32_t sources_max(const struct tac_plan_input *input, const struct tac_plan *plan,
                            const struct tac_plan_compaction *c)
{
    uint32_t most = 0;

    for (uint32_t i = 0; i < c->input_count; i++) {
        uint32_t edge = input->tables[plan->inputs[c->input_first + i]].edge_min;
        uint32_t over = 0;

        for (uint32_t k = 0; k < c->input_count; k++) {
            const struct tac_plan_table *table = &input->tables[plan->inputs[c->input_first + k]];

            over += table->edge_min <= edge && table->edge_max >= edge;
        }
        most = (uint32_t)tac_max_u64(most, over);
    }
    return most;
}

/* A compaction's share of what its level gives, tombstones weighed; of a slice more than it is. */
static uint64_t source_weight(const struct tac_plan_input *input, const struct tac_plan *plan,
                              const struct tac_plan_compaction *c, uint64_t mean)
{
    uint64_t weight = 0;

    for (uint32_t k = 0; k < c->input_count; k++) {
        uint32_t t = plan->inputs[c->input_first + k];

        if (t < input->level_start[c->level_source + 1]) {
            weight += input->tables[t].bytes + mean * input->tables[t].tombstones;
        }
    }
    return weight;
}

/* The bounds that hold by construction, whatever the workload. */
static void check_bounds(struct model *model, const struct tac_plan_input *input,
                         const struct tac_plan *plan)
{
    uint64_t arriving[TACTUS_LEVELS_MAX + 1] = {0};
    uint64_t unit = tac_max_u64(model->state.flush_mean / 16,
                                model->options.runs_per_level * model->options.block_size);
    uint64_t rho = model->options.last_ratio;
    uint64_t bytes = 0;
    uint64_t records = 0;
    uint64_t work = 0;

    for (uint32_t t = 0; t < input->level_start[TACTUS_LEVELS_MAX]; t++) {
        bytes += input->tables[t].bytes;
        records += input->tables[t].records;
    }
    arriving[0] = input->flush_bytes + input->flush_tombstones * (bytes / tac_max_u64(records, 1));
    unit = tac_min_u64(tac_max_u64(unit, arriving[0] / 2), model->options.memtable_size);
    for (uint32_t i = 0; i < plan->compaction_count; i++) {
        const struct tac_plan_compaction *c = &plan->compactions[i];
        uint64_t inflow = tac_max_u64(arriving[c->level_source], arriving[0]);
        uint64_t most;

        work += c->bytes;
        if (c->kind == TAC_PLAN_FLUSH) {
            continue;
        }
        inflow = tac_min_u64(tac_max_u64(inflow, unit), 2 * unit);
        if (input->is_draining || input->is_manual) {
            inflow = model->options.memtable_size;
        }
        most = tac_max_u64(inflow / 2, 4 * plan->table_bytes);
        if (sources_max(input, plan, c) > 2 * model->options.runs_per_level + 1) {
            model_problem(model, "a merge has more than 2 R + 1 sources");
        }
        if (model->had_tight_flush) {
            continue; /* Tables of any width: the planner takes what it gets */
        }
        if (c->kind == TAC_PLAN_MERGE && c->edge_slice == TAC_EDGE_NONE &&
            source_weight(input, plan, c, 0) > tac_max_u64(3 * most / 2, 2 * plan->table_bytes)) {
            model_problem(model, "%llu bytes of the source are above the bound (most %llu)",
                          (unsigned long long)source_weight(input, plan, c, 0),
                          (unsigned long long)most);
        }
        if (c->kind != TAC_PLAN_IN_PLACE) {
            arriving[c->level_target] +=
                source_weight(input, plan, c, bytes / tac_max_u64(records, 1));
        }
        if (c->kind == TAC_PLAN_IN_PLACE
                ? c->bytes > 3 * most
                : c->bytes > 3 * (1 + rho) * most / 2 + 3 * plan->table_bytes) {
            model_problem(model,
                          "a compaction of %llu bytes is above its bound (kind %d, most %llu)",
                          (unsigned long long)c->bytes, (int)c->kind, (unsigned long long)most);
        }
    }
    if (work != plan->bytes) {
        model_problem(model, "the plan's bytes do not add up");
    }
}

static bool plans_equal(const struct tac_plan *a, const struct tac_plan *b)
{
    bool equal = a->compaction_count == b->compaction_count && a->job_count == b->job_count &&
                 a->cut_count == b->cut_count && a->input_count == b->input_count &&
                 a->bytes == b->bytes && a->table_bytes == b->table_bytes &&
                 a->table_bytes_min == b->table_bytes_min;

    for (uint32_t i = 0; equal && i < a->compaction_count; i++) {
        const struct tac_plan_compaction *x = &a->compactions[i];
        const struct tac_plan_compaction *y = &b->compactions[i];

        equal = x->kind == y->kind && x->level_source == y->level_source &&
                x->level_target == y->level_target && x->input_first == y->input_first &&
                x->input_count == y->input_count && x->edge_slice == y->edge_slice &&
                x->job_first == y->job_first && x->job_count == y->job_count &&
                x->bytes == y->bytes && x->stamp == y->stamp;
    }
    for (uint32_t i = 0; equal && i < a->job_count; i++) {
        const struct tac_plan_job *x = &a->jobs[i];
        const struct tac_plan_job *y = &b->jobs[i];

        equal = x->edge_begin == y->edge_begin && x->edge_end == y->edge_end &&
                x->cut_first == y->cut_first && x->cut_count == y->cut_count &&
                x->bytes == y->bytes && x->drops_tombstones == y->drops_tombstones;
    }
    for (uint32_t i = 0; equal && i < a->cut_count; i++) {
        equal = a->cuts[i].edge == b->cuts[i].edge && a->cuts[i].is_hard == b->cuts[i].is_hard &&
                a->cuts[i].limit_bytes == b->cuts[i].limit_bytes;
    }
    return equal && memcmp(a->inputs, b->inputs, a->input_count * sizeof *a->inputs) == 0;
}

/* A planner that has never planned anything makes the same plan of the same input and state. */
static void check_determinism(struct model *model, const struct tac_plan_input *input,
                              const struct tac_planner_state *before, const struct tac_plan *plan)
{
    struct tac_planner      *other = tac_planner_new(&model->options);
    struct tac_planner_state state = *before;

    if (other == NULL) {
        tap_bail("out of memory");
    }
    if (!plans_equal(plan, tac_planner_plan(other, &state, input)) ||
        memcmp(&state, &model->state, sizeof state) != 0) {
        model_problem(model, "a new planner plans otherwise");
    }
    tac_planner_free(other);
}

void model_plan_check(struct model *model, const struct tac_plan_input *input,
                      const struct tac_planner_state *before, const struct tac_plan *plan)
{
    uint32_t count = input->level_start[TACTUS_LEVELS_MAX];
    uint8_t *uses = model_alloc(count, 1);
    uint8_t *is_input = model_alloc(count, 1);

    for (uint32_t i = 0; i < plan->compaction_count; i++) {
        const struct tac_plan_compaction *c = &plan->compactions[i];

        memset(is_input, 0, count);
        for (uint32_t k = 0; k < c->input_count; k++) {
            uint32_t t = plan->inputs[c->input_first + k];

            is_input[t] = 1;
            if (uses[t]++ != 0) {
                model_problem(model, "a table is taken twice");
            }
        }
        check_closure(model, input, plan, c, is_input);
        check_jobs(model, plan, c);
    }
    check_bounds(model, input, plan);
    if (model->state.bar_count % 8 == 0) {
        check_determinism(model, input, before, plan);
    }
    free(uses);
    free(is_input);
}

/* ---- the oracle ----------------------------------------------------------------------------- */

struct version {
    struct model_record record;
    uint64_t            rank; /* Higher is read first */
};

static int version_order(const void *a, const void *b)
{
    const struct version *x = a;
    const struct version *y = b;

    if (x->record.key != y->record.key) {
        return x->record.key < y->record.key ? -1 : 1;
    }
    return (x->rank < y->rank) - (x->rank > y->rank);
}

static struct version *versions_collect(const struct model *model, uint64_t *ret_count)
{
    uint64_t        count = 0;
    struct version *versions;

    for (uint32_t l = 0; l < TACTUS_LEVELS_MAX; l++) {
        for (uint32_t i = 0; i < model->level[l].count; i++) {
            count += model->level[l].tables[i].count;
        }
    }
    versions = model_alloc(count, sizeof *versions);
    *ret_count = count;
    count = 0;
    for (uint32_t l = 0; l < TACTUS_LEVELS_MAX; l++) {
        for (uint32_t i = 0; i < model->level[l].count; i++) {
            const struct model_table *table = &model->level[l].tables[i];
            uint64_t rank = ((uint64_t)(TACTUS_LEVELS_MAX - l) << 56) + table->stamp;

            for (uint32_t k = 0; k < table->count; k++) {
                versions[count++] = (struct version){table->records[k], rank};
            }
        }
    }
    qsort(versions, count, sizeof *versions, version_order);
    return versions;
}

void model_check(struct model *model)
{
    uint64_t        count;
    uint64_t        live = 0;
    struct version *versions = versions_collect(model, &count);

    for (uint64_t i = 0; i < count; i++) {
        const struct version *version = &versions[i];
        bool is_newest = i == 0 || versions[i - 1].record.key != version->record.key;

        if (!is_newest && (versions[i - 1].rank == version->rank ||
                           versions[i - 1].record.version <= version->record.version)) {
            model_problem(model, "key %llu: an older version lies above a newer one",
                          (unsigned long long)version->record.key);
        }
        if (is_newest &&
            model_oracle_slot(model, version->record.key)->version != version->record.version) {
            model_problem(model, "key %llu: the newest version is not the last one written",
                          (unsigned long long)version->record.key);
        }
        live += is_newest && (version->record.version & 1) == 0;
    }
    if (live * model->record_bytes != model_live_bytes(model)) {
        model_problem(model, "%llu live records, %llu expected", (unsigned long long)live,
                      (unsigned long long)(model_live_bytes(model) / model->record_bytes));
    }
    free(versions);
}
