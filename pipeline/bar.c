/* SPDX-License-Identifier: Apache-2.0 */
/* bar -- from the manifest to jobs with reserved addresses. */
#include "pipeline/bar.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/units.h"
#include "lsm/manifest_log.h"
#include "pipeline/admission.h"
#include "pipeline/bar_internal.h"
#include "pipeline/sweep.h"

/* A bar's plan is some hundred jobs with their keys; far more never fit the block pool. */
#define BAR_ARENA_BYTES (32 * TAC_MIB)

int tac_bar_create(struct tac_bar *bar, const struct tac_geometry *geometry,
                   const struct tac_planner_options *planner_options,
                   const struct tac_bar_limits *limits, struct tac_error *error)
{
    uint64_t tables = limits->tables_max;
    uint64_t edges = 2 * tables + 2;

    memset(bar, 0, sizeof *bar);
    bar->geometry = *geometry;
    bar->limits = *limits;
    bar->planner = tac_planner_new(planner_options);
    bar->edges = calloc(edges, sizeof *bar->edges);
    bar->edges_scratch = calloc(edges, sizeof *bar->edges_scratch);
    bar->edge_keys = calloc(edges, sizeof *bar->edge_keys);
    bar->flush_below = calloc(edges, sizeof *bar->flush_below);
    bar->flush_records_below = calloc(edges, sizeof *bar->flush_records_below);
    bar->plan_tables = calloc(tables, sizeof *bar->plan_tables);
    bar->tables = calloc(tables, sizeof(struct tac_table *));
    bar->arena.size = BAR_ARENA_BYTES;
    bar->arena.base =
        mmap(NULL, bar->arena.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (bar->arena.base == MAP_FAILED) {
        bar->arena.base = NULL;
    }
    if (bar->planner == NULL || bar->edges == NULL || bar->edges_scratch == NULL ||
        bar->edge_keys == NULL || bar->flush_below == NULL || bar->flush_records_below == NULL ||
        bar->plan_tables == NULL || bar->tables == NULL || bar->arena.base == NULL) {
        tac_bar_destroy(bar);
        return tac_error_set(error, TACTUS_ENOMEM, "out of memory for plans of %u tables",
                             limits->tables_max);
    }
    return TACTUS_OK;
}

void tac_bar_destroy(struct tac_bar *bar)
{
    if (bar->planner != NULL) {
        tac_planner_free(bar->planner);
    }
    free(bar->edges);
    free(bar->edges_scratch);
    free(bar->edge_keys);
    free(bar->flush_below);
    free(bar->flush_records_below);
    free(bar->plan_tables);
    free(bar->tables);
    if (bar->arena.base != NULL) {
        munmap(bar->arena.base, bar->arena.size);
    }
    memset(bar, 0, sizeof *bar);
}

uint64_t tac_bar_memory_bytes(const struct tac_planner_options *planner_options)
{
    uint64_t tables = planner_options->tables_max;
    uint64_t edges = 2 * tables + 2;

    return tac_planner_memory_bytes(planner_options) + BAR_ARENA_BYTES +
           edges *
               (2 * sizeof(struct tac_bar_edge) + sizeof(struct tac_bytes) + 2 * sizeof(uint64_t)) +
           tables * (sizeof(struct tac_plan_table) + sizeof(struct tac_table *));
}

/* NULL: the arena is full. Zeroed. */
void *tac_bar_allocate(struct tac_bar *bar, uint64_t count, uint64_t size)
{
    struct tac_bar_arena *arena = &bar->arena;
    uint64_t              bytes = tac_round_up(count * size, 16);
    void                 *memory = arena->base + arena->used;

    if (bytes > arena->size - arena->used) {
        return NULL;
    }
    arena->used += bytes;
    memset(memory, 0, bytes);
    return memory;
}

/* ---- ranks ---------------------------------------------------------------------------------- */

static void edge_add(struct tac_bar *bar, uint32_t *count, struct tac_bytes key, uint32_t *rank)
{
    bar->edges[*count] = (struct tac_bar_edge){tac_key_prefix(key.data, key.size), key, rank};
    (*count)++;
}

static inline bool edge_is_above(const struct tac_bar_edge *a, const struct tac_bar_edge *b)
{
    if (a->prefix != b->prefix) {
        return a->prefix > b->prefix;
    }
    return tac_bytes_compare(a->key, b->key) > 0;
}

/* Bottom-up merge sort: stable and the same everywhere, unlike qsort. */
static struct tac_bar_edge *edges_sort(struct tac_bar_edge *from, struct tac_bar_edge *to,
                                       uint32_t count)
{
    for (uint32_t width = 1; width < count; width *= 2) {
        for (uint32_t start = 0; start < count; start += 2 * width) {
            uint32_t middle = (uint32_t)tac_min_u64((uint64_t)start + width, count);
            uint32_t end = (uint32_t)tac_min_u64((uint64_t)start + 2 * width, count);
            uint32_t left = start, right = middle;

            for (uint32_t out = start; out < end; out++) {
                bool take_right =
                    left == middle || (right < end && edge_is_above(&from[left], &from[right]));

                to[out] = take_right ? from[right++] : from[left++];
            }
        }
        struct tac_bar_edge *swap = from;
        from = to;
        to = swap;
    }
    return from;
}

static uint32_t edges_rank(struct tac_bar *bar, uint32_t count)
{
    struct tac_bar_edge *sorted = edges_sort(bar->edges, bar->edges_scratch, count);
    uint32_t             rank = 0;

    for (uint32_t i = 0; i < count; i++) {
        if (i > 0 && (sorted[i].prefix != sorted[i - 1].prefix ||
                      tac_bytes_compare(sorted[i].key, sorted[i - 1].key) != 0)) {
            rank++;
        }
        bar->edge_keys[rank] = sorted[i].key;
        *sorted[i].rank = rank;
    }
    return count == 0 ? 0 : rank + 1;
}

/* ---- the planner's input -------------------------------------------------------------------- */

static void input_levels(struct tac_bar *bar, const struct tac_manifest_tree *tree,
                         struct tac_plan_input *input, uint32_t *edge_count)
{
    uint32_t count = 0;

    for (uint32_t level = 0; level < TACTUS_LEVELS_MAX; level++) {
        const struct tac_manifest_level *from = &tree->levels[level];

        input->level_start[level] = count;
        for (uint32_t i = 0; i < from->table_count; i++) {
            struct tac_table *table = from->tables[i];

            if (table->is_leaving) {
                continue;
            }
            tac_assert(count < bar->limits.tables_max);
            table->plan_number = count;
            bar->tables[count++] = table;
            edge_add(bar, edge_count, table->key_min, &table->rank_min);
            edge_add(bar, edge_count, table->key_max, &table->rank_max);
        }
    }
    input->level_start[TACTUS_LEVELS_MAX] = count;
}

static void input_tables(struct tac_bar *bar, struct tac_plan_input *input)
{
    for (uint32_t i = 0; i < input->level_start[TACTUS_LEVELS_MAX]; i++) {
        const struct tac_table *table = bar->tables[i];

        bar->plan_tables[i] = (struct tac_plan_table){
            .edge_min = table->rank_min,
            .edge_max = table->rank_max,
            .stamp = table->stamp,
            .bytes = table->bytes,
            .records = table->records,
            .tombstones = table->tombstones,
            .is_damaged = table->is_damaged,
        };
    }
    input->tables = bar->plan_tables;
}

/* Fills everything the planner needs to know of a tree. */
static void input_make(struct tac_bar *bar, const struct tac_bar_order *order, uint32_t tree_id,
                       struct tac_plan_input *input)
{
    struct tac_manifest_tree      *tree = tac_manifest_tree(order->manifest, tree_id);
    struct tac_memtable_tree_stats flush = {0};
    uint32_t                       edge_count = 0;

    memset(input, 0, sizeof *input);
    input_levels(bar, tree, input, &edge_count);
    if (order->immutable_table != NULL) {
        tac_memtable_tree_stats(order->immutable_table, tree_id, &flush);
        if (flush.records > 0) {
            edge_add(bar, &edge_count, flush.first_key, &input->flush_edge_min);
            edge_add(bar, &edge_count, flush.last_key, &input->flush_edge_max);
        }
    }
    input->edge_count = edges_rank(bar, edge_count);
    input_tables(bar, input);
    input->flush_bytes = flush.payload_bytes;
    input->flush_records = flush.records;
    input->flush_tombstones = flush.tombstones;
    if (flush.records > 0) {
        tac_memtable_below(order->immutable_table, tree_id, bar->edge_keys, input->edge_count,
                           bar->flush_below, bar->flush_records_below);
        input->flush_bytes_below = bar->flush_below;
    }
    input->half = order->half;
    /* Of a tree that is dropped since, what came before is still flushed (lsm/manifest.h). */
    input->is_held = order->is_held || tree->dropped_op != 0;
    input->is_tight = order->is_tight;
    input->bars_stuck = order->bars_stuck;
    input->is_draining = order->is_draining;
    input->is_manual = (order->manual_trees >> tree_id & 1) != 0 && input->edge_count > 0;
    input->manual_edge_max = input->edge_count == 0 ? 0 : input->edge_count - 1;
    if (order->sweep != NULL && order->sweep->tree == tree_id) {
        tac_sweep_input(order->sweep, bar->edge_keys, input);
    }
}

bool tac_bar_tree_is_settled(struct tac_bar *bar, const struct tac_bar_order *order, uint32_t tree)
{
    struct tac_manifest_tree *state = tac_manifest_tree(order->manifest, tree);
    struct tac_plan_input     input;

    if (tac_bar_tree_is_over(state, order->immutable_last_op)) {
        return true; /* Snapshots may keep it as it is. */
    }
    if ((order->manual_trees >> tree & 1) != 0) {
        for (uint32_t level = 0; level < state->planner.last_level; level++) {
            if (state->levels[level].table_count > 0) {
                return false;
            }
        }
        if (tac_bar_has_rewrites(order, tree)) {
            return false;
        }
    }
    input_make(bar, order, tree, &input);
    return tac_planner_is_settled(bar->planner, &state->planner, &input);
}

/* Plans one tree. */
static void tree_plan(struct tac_bar *bar, const struct tac_bar_order *order, uint32_t tree)
{
    struct tac_plan_input  input;
    const struct tac_plan *plan;
    uint32_t               skipped = bar->skipped;

    input_make(bar, order, tree, &input);
    plan =
        tac_planner_plan(bar->planner, &tac_manifest_tree(order->manifest, tree)->planner, &input);
    tac_bar_take_plan(bar, order, tree, &input, plan);
    if (!input.is_held && (input.is_manual || (order->has_many_ranges && !input.is_tight))) {
        tac_bar_take_rewrites(bar, order, tree, &input, plan);
    }
    memcpy(bar->due[tree], plan->due, sizeof plan->due);
    if (input.is_sweeping) {
        bar->is_sweeping = true;
        bar->is_sweep_whole = bar->skipped == skipped;
        bar->sweep = *order->sweep;
        tac_sweep_planned(&bar->sweep, plan, bar->edge_keys);
    }
}

static void jobs_order(struct tac_bar *bar)
{
    for (uint32_t i = 0; i < bar->job_count; i++) {
        bar->job_bytes[i] = bar->jobs[i]->bytes;
    }
    tac_admission_order(bar->job_bytes, bar->job_count, bar->order);
}

void tac_bar_plan(struct tac_bar *bar, const struct tac_bar_order *order)
{
    uint32_t tree_count = tac_manifest_tree_count(order->manifest);

    tac_assert(bar->jobs_done == bar->job_count);
    bar->arena.used = 0;
    bar->compaction_count = bar->discard_count = 0;
    bar->job_count = bar->jobs_seated = bar->jobs_done = 0;
    bar->bytes = 0;
    bar->blocks_reserved = bar->tables_replaced = bar->log_bytes = 0;
    bar->reserve_cursor = 0;
    bar->skipped = 0;
    bar->flush_found_no_room = false;
    bar->is_sweeping = false;
    memset(bar->due, 0, sizeof bar->due);
    bar->compactions = tac_bar_allocate(bar, TAC_BAR_COMPACTIONS_MAX, sizeof *bar->compactions);
    bar->jobs = tac_bar_allocate(bar, TAC_BAR_JOBS_MAX, sizeof(struct tac_job *));
    bar->job_bytes = tac_bar_allocate(bar, TAC_BAR_JOBS_MAX, sizeof *bar->job_bytes);
    bar->order = tac_bar_allocate(bar, TAC_BAR_JOBS_MAX, sizeof *bar->order);
    tac_assert(bar->compactions != NULL && bar->jobs != NULL);
    tac_assert(bar->job_bytes != NULL && bar->order != NULL);
    tac_bar_know_ranges(bar, order);
    tac_bar_take_discards(bar, order);
    tac_bar_take_leaving(bar, order);
    for (uint32_t tree = 0; tree < tree_count; tree++) {
        if (!tac_bar_tree_is_over(tac_manifest_tree(order->manifest, tree),
                                  order->immutable_last_op)) {
            tree_plan(bar, order, tree);
        }
    }
    jobs_order(bar);
    bar->log_blocks =
        tac_manifest_log_blocks_for_bytes(&bar->geometry, bar->log_bytes, order->key_size_max);
}
