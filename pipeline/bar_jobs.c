/* SPDX-License-Identifier: Apache-2.0 */
/* bar_jobs -- a planned compaction becomes jobs: which tables each one reads, as which sources, and
 * the blocks and descriptors reserved for its outputs.
 *
 * A compaction that finds no room (memory of the plan, table descriptors, blocks of the file) is
 * left out whole and stays for a later bar; only a flush cannot be. */
#include <string.h>

#include "base/mutant.h"
#include "base/units.h"
#include "lsm/manifest_log.h"
#include "pipeline/bar_internal.h"

struct bar_context {
    struct tac_bar              *bar;
    const struct tac_bar_order  *order;
    const struct tac_plan_input *input;
    const struct tac_plan       *plan;
    uint32_t                     tree;
    struct tac_layout            layout;
};

static struct tac_bytes edge_key(const struct tac_bar *bar, uint32_t edge)
{
    return edge == TAC_EDGE_NONE ? (struct tac_bytes){NULL, 0} : bar->edge_keys[edge];
}

/* ---- inputs --------------------------------------------------------------------------------- */

static bool input_is_in(const struct tac_table *table, const struct tac_plan_job *job)
{
    return (job->edge_begin == TAC_EDGE_NONE || table->rank_max >= job->edge_begin) &&
           (job->edge_end == TAC_EDGE_NONE || table->rank_min < job->edge_end);
}

/* The job that reads the table's low end notes its addresses. */
static bool job_has_low_end(const struct tac_table *table, const struct tac_plan_job *job)
{
    return (job->edge_begin == TAC_EDGE_NONE || table->rank_min >= job->edge_begin) &&
           (job->edge_end == TAC_EDGE_NONE || table->rank_min < job->edge_end);
}

static bool comes_before(const struct tac_table *a, const struct tac_table *b)
{
    if (a->rank_min != b->rank_min) {
        return a->rank_min < b->rank_min;
    }
    return a->id < b->id;
}

/* In order of their low ends, for the chains below. Insertion sort: inputs come nearly in order. */
static void inputs_sort(struct tac_bar_input **inputs, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++) {
        struct tac_bar_input *input = inputs[i];
        uint32_t              j = i;

        while (j > 0 && comes_before(input->table, inputs[j - 1]->table)) {
            inputs[j] = inputs[j - 1];
            j--;
        }
        inputs[j] = input;
    }
}

/* Tables that do not overlap follow each other in one chain: first fit in order of low ends needs
 * as many chains as there are tables over one key. False: too many. */
static bool chains_assign(struct tac_bar_input *const *inputs, uint32_t count, uint8_t *chain_of,
                          uint32_t *ret_chain_count)
{
    uint32_t chain_end[TAC_SOURCES_MAX];
    uint32_t chain_count = 0;

    for (uint32_t i = 0; i < count; i++) {
        uint32_t chain = 0;

        while (chain < chain_count && chain_end[chain] >= inputs[i]->table->rank_min) {
            chain++;
        }
        if (chain == chain_count) {
            if (chain_count == TAC_SOURCES_MAX - 1) {
                return false; /* One is the memtable's. */
            }
            chain_count++;
        }
        chain_end[chain] = inputs[i]->table->rank_max;
        chain_of[i] = (uint8_t)chain;
    }
    *ret_chain_count = chain_count;
    return true;
}

static bool job_inputs(struct bar_context *context, struct tac_job *job,
                       const struct tac_bar_compaction *compaction,
                       const struct tac_plan_job *planned, uint64_t *bytes, uint64_t *records)
{
    struct tac_bar        *bar = context->bar;
    uint32_t               count = 0, filled = 0;
    struct tac_bar_input **inputs;
    uint8_t               *chain_of;

    for (uint32_t i = 0; i < compaction->input_count; i++) {
        count += input_is_in(compaction->inputs[i].table, planned);
    }
    inputs = tac_bar_allocate(bar, count, sizeof(struct tac_bar_input *));
    chain_of = tac_bar_allocate(bar, count, 1);
    job->inputs = tac_bar_allocate(bar, count, sizeof *job->inputs);
    job->chains = tac_bar_allocate(bar, TAC_SOURCES_MAX, sizeof *job->chains);
    if (inputs == NULL || chain_of == NULL || job->inputs == NULL || job->chains == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < compaction->input_count; i++) {
        if (input_is_in(compaction->inputs[i].table, planned)) {
            inputs[filled++] = &compaction->inputs[i];
        }
    }
    inputs_sort(inputs, count);
    if (!chains_assign(inputs, count, chain_of, &job->chain_count)) {
        return false;
    }
    for (uint32_t chain = 0; chain < job->chain_count; chain++) {
        job->chains[chain].input_first = job->input_count;
        for (uint32_t i = 0; i < count; i++) {
            struct tac_table *table = inputs[i]->table;

            if (chain_of[i] != chain) {
                continue;
            }
            job->inputs[job->input_count++] = (struct tac_job_input){
                .table = table,
                .priority = table->stamp + (table->level == compaction->level_target &&
                                                    !TAC_MUTANT(TARGET_BY_STAMP) &&
                                                    compaction->kind != TAC_PLAN_IN_PLACE
                                                ? 0
                                                : (uint64_t)1 << 62),
                .addresses = job_has_low_end(table, planned) ? inputs[i]->addresses : NULL,
            };
            *bytes += table->bytes;
            *records += table->records;
        }
        job->chains[chain].input_count = job->input_count - job->chains[chain].input_first;
    }
    tac_assert(job->input_count == count);
    return true;
}

/* ---- jobs ----------------------------------------------------------------------------------- */

static bool job_cuts(struct bar_context *context, struct tac_job *job,
                     const struct tac_plan_job *planned)
{
    struct tac_cut *cuts = tac_bar_allocate(context->bar, planned->cut_count, sizeof *cuts);

    if (cuts == NULL) {
        return false;
    }
    tac_assert(planned->cut_count >= 1);
    for (uint32_t i = 0; i < planned->cut_count; i++) {
        const struct tac_plan_cut *cut = &context->plan->cuts[planned->cut_first + i];

        cuts[i] = (struct tac_cut){
            .edge = edge_key(context->bar, cut->edge),
            .is_hard = cut->is_hard,
            .limit_bytes = cut->limit_bytes,
        };
    }
    job->cuts = cuts;
    job->cut_count = planned->cut_count;
    return true;
}

/* What the memtable has in the job's range. */
static void flush_between(const struct bar_context *context, const struct tac_plan_job *planned,
                          uint64_t *ret_bytes, uint64_t *ret_records)
{
    const struct tac_bar        *bar = context->bar;
    const struct tac_plan_input *input = context->input;

    *ret_bytes = input->flush_bytes;
    *ret_records = input->flush_records;
    if (planned->edge_end != TAC_EDGE_NONE) {
        *ret_bytes = bar->flush_below[planned->edge_end];
        *ret_records = bar->flush_records_below[planned->edge_end];
    }
    if (planned->edge_begin != TAC_EDGE_NONE) {
        *ret_bytes -= bar->flush_below[planned->edge_begin];
        *ret_records -= bar->flush_records_below[planned->edge_begin];
    }
}

/* The most blocks and descriptors that the job's outputs can take. */
static bool job_reserve(struct bar_context *context, struct tac_job *job, uint64_t bytes,
                        uint64_t records)
{
    struct tac_bar                  *bar = context->bar;
    struct tac_table_builder_options options = {
        .geometry = &bar->geometry,
        .layout = job->layout,
        .filter_bits_per_key = bar->limits.filter_bits_per_key,
        .table_bytes_min = job->table_bytes_min,
        .cuts = job->cuts,
        .cut_count = job->cut_count,
    };
    struct tac_builder_bound bound =
        tac_table_builder_bound(&options, bar->limits.table_records_max, records, bytes);

    job->addresses = tac_bar_allocate(bar, bound.blocks, sizeof *job->addresses);
    if (job->addresses == NULL ||
        tac_manifest_tables_free(context->order->manifest) < bound.tables ||
        !tac_free_set_reserve(context->order->free_set, &bar->reserve_cursor, bound.blocks,
                              job->addresses)) {
        return false;
    }
    job->address_count = (uint32_t)bound.blocks;
    for (uint64_t i = 0; i < bound.tables; i++) {
        struct tac_table *table = tac_manifest_table_take(context->order->manifest, job->tree);

        tac_assert(table != NULL);
        table->next = job->spare_tables;
        job->spare_tables = table;
        job->spare_count++;
    }
    return true;
}

static bool job_make(struct bar_context *context, struct tac_bar_compaction *compaction,
                     const struct tac_plan_job *planned)
{
    struct tac_bar *bar = context->bar;
    struct tac_job *job = tac_bar_allocate(bar, 1, sizeof *job);
    uint64_t        bytes = 0, records = 0;

    if (job == NULL || bar->job_count == TAC_BAR_JOBS_MAX) {
        return false;
    }
    job->layout = context->layout;
    job->tree = context->tree;
    job->compaction = bar->compaction_count;
    job->key_begin = edge_key(bar, planned->edge_begin);
    job->key_end = edge_key(bar, planned->edge_end);
    job->drops_tombstones = planned->drops_tombstones ||
                            (TAC_MUTANT(DROP_IN_COMPACT) && context->order->manual_trees != 0);
    job->bytes = planned->bytes;
    job->table_bytes_min = context->plan->table_bytes_min;
    job->sequence = context->order->sequence;
    job->ranges = bar->ranges[context->tree].ranges;
    job->range_count = bar->ranges[context->tree].count;
    if (compaction->kind == TAC_PLAN_FLUSH) {
        job->memtable = context->order->immutable_table;
        flush_between(context, planned, &bytes, &records);
    }
    if (!job_inputs(context, job, compaction, planned, &bytes, &records) ||
        !job_cuts(context, job, planned) || !job_reserve(context, job, bytes, records)) {
        return false;
    }
    bar->jobs[bar->job_count++] = job;
    compaction->job_count++;
    return true;
}

/* Takes back what the jobs of a compaction that is left out had reserved. */
static void compaction_undo(struct bar_context              *context,
                            const struct tac_bar_compaction *compaction)
{
    struct tac_bar *bar = context->bar;

    for (uint32_t i = 0; i < compaction->job_count; i++) {
        struct tac_job *job = bar->jobs[compaction->job_first + i];

        for (uint32_t j = 0; j < job->address_count; j++) {
            tac_free_set_forfeit(context->order->free_set, job->addresses[j]);
        }
        while (job->spare_tables != NULL) {
            struct tac_table *table = job->spare_tables;

            job->spare_tables = table->next;
            tac_manifest_table_give_back(context->order->manifest, table);
        }
    }
    bar->job_count = compaction->job_first;
}

void tac_bar_undo(struct tac_bar *bar, const struct tac_bar_order *order)
{
    struct bar_context context = {.bar = bar, .order = order};

    for (uint32_t i = bar->compaction_count; i > 0; i--) {
        compaction_undo(&context, &bar->compactions[i - 1]);
    }
    bar->compaction_count = bar->discard_count = 0;
    tac_assert(bar->job_count == 0);
}

bool tac_bar_input_make(struct tac_bar *bar, struct tac_bar_input *input, struct tac_table *table)
{
    input->table = table;
    input->address_count = table->value_block_count + table->filter_block_count;
    input->addresses = tac_bar_allocate(bar, input->address_count, sizeof *input->addresses);
    return input->addresses != NULL;
}

static bool compaction_inputs(struct bar_context *context, struct tac_bar_compaction *compaction,
                              const struct tac_plan_compaction *planned)
{
    struct tac_bar *bar = context->bar;

    compaction->inputs = tac_bar_allocate(bar, planned->input_count, sizeof *compaction->inputs);
    if (compaction->inputs == NULL) {
        return false;
    }
    compaction->input_count = planned->input_count;
    for (uint32_t i = 0; i < planned->input_count; i++) {
        struct tac_table *table = bar->tables[context->plan->inputs[planned->input_first + i]];

        if (!tac_bar_input_make(bar, &compaction->inputs[i], table)) {
            return false;
        }
    }
    return true;
}

/* Of the events that the compaction's end makes, at most. */
static uint64_t compaction_log_bytes(const struct bar_context        *context,
                                     const struct tac_bar_compaction *compaction)
{
    uint64_t events = compaction->input_count;

    for (uint32_t i = 0; i < compaction->job_count; i++) {
        events += context->bar->jobs[compaction->job_first + i]->spare_count;
    }
    return events * tac_manifest_log_event_bytes(context->layout.key_size);
}

/* Descriptors that the compaction's end takes at most: tables that move or lose their low end get
 * new ones, and so does one that is found damaged. */
static uint64_t compaction_replaces(const struct tac_bar_compaction *compaction)
{
    bool is_each = compaction->kind == TAC_PLAN_MOVE || compaction->slice.size > 0;

    return is_each ? compaction->input_count : 1;
}

/* With what it has reserved, is enough left for what may not be refused (pipeline/space.h)? */
static bool compaction_leaves_room(const struct bar_context        *context,
                                   const struct tac_bar_compaction *compaction, uint64_t log_bytes)
{
    const struct tac_bar       *bar = context->bar;
    const struct tac_bar_order *order = context->order;
    bool                        is_flush = compaction->kind == TAC_PLAN_FLUSH;
    uint64_t                    log_kept = is_flush ? 0 : order->log_flush_bytes;
    uint64_t                    log_bytes_all = bar->log_bytes + log_bytes + log_kept;
    uint64_t                    log_blocks =
        tac_manifest_log_blocks_for_bytes(&bar->geometry, log_bytes_all, order->key_size_max);
    uint64_t blocks = is_flush ? order->flush_blocks_kept : order->blocks_kept;
    uint64_t tables = is_flush ? order->flush_tables_kept : order->tables_kept;

    if (is_flush && order->is_tight) {
        return true;
    }
    return log_blocks <= order->log_blocks_max &&
           tac_free_set_free_count(order->free_set) >=
               blocks + log_blocks + tac_bar_log_carry(bar) &&
           tac_manifest_tables_free(order->manifest) >=
               tables + bar->tables_replaced + compaction_replaces(compaction);
}

static void compaction_make(struct bar_context *context, const struct tac_plan_compaction *planned)
{
    struct tac_bar           *bar = context->bar;
    struct tac_bar_compaction compaction = {
        .kind = planned->kind,
        .reason = planned->reason == TAC_PLAN_BY_HAND && context->order->is_tight
                      ? TAC_PLAN_FOR_SPACE
                      : planned->reason,
        .tree = context->tree,
        .level_source = planned->level_source,
        .level_target = planned->level_target,
        .stamp = planned->stamp,
        .slice = edge_key(bar, planned->edge_slice),
        .job_first = bar->job_count,
        .bytes = planned->bytes,
    };
    uint64_t arena_mark = bar->arena.used;
    uint64_t cursor_mark = bar->reserve_cursor;
    uint64_t log_bytes = 0;
    bool     is_made = bar->compaction_count < TAC_BAR_COMPACTIONS_MAX &&
                   compaction_inputs(context, &compaction, planned);

    for (uint32_t i = 0; is_made && i < planned->job_count; i++) {
        is_made = job_make(context, &compaction, &context->plan->jobs[planned->job_first + i]);
    }
    if (is_made) {
        log_bytes = compaction_log_bytes(context, &compaction);
        is_made = compaction_leaves_room(context, &compaction, log_bytes);
    }
    if (!is_made) {
        compaction_undo(context, &compaction);
        bar->arena.used = arena_mark;
        bar->reserve_cursor = cursor_mark;
        bar->skipped++;
        bar->flush_found_no_room |= planned->kind == TAC_PLAN_FLUSH;
        return;
    }
    for (uint32_t i = 0; i < compaction.job_count; i++) {
        bar->bytes += bar->jobs[compaction.job_first + i]->bytes;
        bar->blocks_reserved += bar->jobs[compaction.job_first + i]->address_count;
    }
    bar->log_bytes += log_bytes;
    bar->tables_replaced += compaction_replaces(&compaction);
    bar->compactions[bar->compaction_count++] = compaction;
}

void tac_bar_take_plan(struct tac_bar *bar, const struct tac_bar_order *order, uint32_t tree,
                       const struct tac_plan_input *input, const struct tac_plan *plan)
{
    struct bar_context context = {
        .bar = bar,
        .order = order,
        .input = input,
        .plan = plan,
        .tree = tree,
        .layout = tac_manifest_tree(order->manifest, tree)->layout,
    };

    for (uint32_t i = 0; i < plan->compaction_count; i++) {
        compaction_make(&context, &plan->compactions[i]);
    }
}

void tac_bar_take_rewrite(struct tac_bar *bar, const struct tac_bar_order *order, uint32_t tree,
                          const struct tac_plan_input *input, const struct tac_plan *plan,
                          uint32_t input_number)
{
    const struct tac_table    *table = bar->tables[plan->inputs[input_number]];
    struct tac_plan_cut        cut = {.edge = TAC_EDGE_NONE, .limit_bytes = TAC_PLAN_LIMIT_NONE};
    struct tac_plan_job        job = {.edge_begin = TAC_EDGE_NONE,
                                      .edge_end = TAC_EDGE_NONE,
                                      .cut_count = 1,
                                      .bytes = table->bytes};
    struct tac_plan_compaction rewrite = {
        .kind = TAC_PLAN_IN_PLACE,
        .reason = TAC_PLAN_FOR_SPACE,
        .level_source = table->level,
        .level_target = table->level,
        .input_first = input_number,
        .input_count = 1,
        .edge_slice = TAC_EDGE_NONE,
        .job_count = 1,
        .bytes = table->bytes,
        .stamp = table->stamp,
    };
    struct tac_plan    one = {.inputs = plan->inputs,
                              .jobs = &job,
                              .cuts = &cut,
                              .table_bytes_min = plan->table_bytes_min};
    struct bar_context context = {
        .bar = bar,
        .order = order,
        .input = input,
        .plan = &one,
        .tree = tree,
        .layout = tac_manifest_tree(order->manifest, tree)->layout,
    };

    compaction_make(&context, &rewrite);
}
