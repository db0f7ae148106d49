/* SPDX-License-Identifier: Apache-2.0 */
/* store_range -- ranges that are compacted by hand, beside all else that a list does. */
#include <string.h>

#include "base/units.h"
#include "tests/sim/store_sim.h"

#define STEPS_MAX 400 /* Until a whole range is done */

static struct tactus_compact_progress progress_of(struct sim *sim)
{
    struct tactus_compact_progress progress;

    tactus_compact_progress(sim->store, &progress);
    return progress;
}

/* From `key` on; one of four is open below, and one above. */
static struct sim_bounds bounds_of(struct sim *sim, const struct sim_op *op)
{
    uint32_t          count = sim->model->trees[op->tree].key_count;
    struct sim_bounds range = {.tree = op->tree, .low = op->key % count};
    uint64_t          high = range.low + 1 + (op->seed >> 8) % count;

    range.high = high >= count || op->seed % 4 == 0 ? STORE_MODEL_NONE : (uint32_t)high;
    range.low = op->seed / 4 % 4 == 0 ? STORE_MODEL_NONE : range.low;
    return range;
}

static bool table_is_in(struct sim *sim, const struct tac_table *table)
{
    const struct store_model_key *keys = sim->model->trees[sim->range.tree].keys;
    const struct sim_bounds      *range = &sim->range;

    return (range->low == STORE_MODEL_NONE ||
            tac_bytes_compare(table->key_max, (struct tac_bytes){keys[range->low].bytes,
                                                                 keys[range->low].size}) >= 0) &&
           (range->high == STORE_MODEL_NONE ||
            tac_bytes_compare(table->key_min, (struct tac_bytes){keys[range->high].bytes,
                                                                 keys[range->high].size}) < 0);
}

/* No table of the range that was written up to the op is above the last level. */
static void range_check(struct sim *sim, uint64_t op)
{
    const struct tac_manifest_tree *tree = tac_manifest_tree(
        sim->store->manifest, tac_tree_number(sim->model->trees[sim->range.tree].id));

    for (uint32_t level = 0; level < tree->planner.last_level; level++) {
        for (uint32_t i = 0; i < tree->levels[level].table_count; i++) {
            const struct tac_table *table = tree->levels[level].tables[i];

            if (table->snapshot_min <= op && table_is_in(sim, table)) {
                sim_fail(sim, "a compacted range has a table of op %llu in level %u of tree %u",
                         (unsigned long long)table->snapshot_min, level, sim->range.tree);
            }
        }
    }
}

void sim_check_range(struct sim *sim)
{
    struct tactus_compact_progress progress;

    if (sim->range_op == 0) {
        return;
    }
    progress = progress_of(sim);
    if (progress.op != sim->range_op || progress.state >= TACTUS_COMPACT_CANCELLED) {
        sim->range_op = 0; /* Taken back, ended by an open, or given up */
    } else if (progress.state == TACTUS_COMPACT_DONE) {
        if (!sim->faults.is_damaged) {
            range_check(sim, sim->range_op);
        }
        sim->report->marks.count[MARK_RANGE_BESIDE] += sim->model->op > sim->range_op + 100;
        sim->range_op = 0;
    }
}

static bool range_begin(struct sim *sim, const struct sim_op *op)
{
    struct sim_bounds range = bounds_of(sim, op);
    bool              is_under_way = sim->store->sweep.op != 0;
    int               result = sim_log_range(sim, SIM_RECORD_RANGE_BEGIN, &range);

    if (is_under_way && result == TACTUS_EEXISTS) {
        return false;
    }
    if (!sim_result(sim, result, "range")) {
        return false;
    }
    sim->range = range;
    sim->range_op = sim->model->op;
    return true;
}

/* False: there is nothing to go on with. */
static bool range_step(struct sim *sim)
{
    bool is_held = sim->store->is_held && sim->store->sweep.op != 0;
    int  result = sim_log_range(sim, SIM_RECORD_RANGE_STEP, &(struct sim_bounds){0});

    if (is_held && result == TACTUS_EAGAIN) {
        return false;
    }
    return sim_result(sim, result, "range step");
}

static void range_cancel(struct sim *sim)
{
    sim->report->marks.count[MARK_RANGE_CANCELLED] += sim->store->sweep.op != 0;
    (void)sim_result(sim, sim_log_range(sim, SIM_RECORD_RANGE_CANCEL, &(struct sim_bounds){0}),
                     "range cancel");
}

/* With no write meanwhile nothing of the range is above the last level. */
static void range_whole(struct sim *sim, const struct sim_op *op)
{
    struct tactus_compact_progress progress = {.state = TACTUS_COMPACT_FLUSHING};

    range_cancel(sim);
    if (sim_is_down(sim) || !range_begin(sim, op)) {
        return;
    }
    for (uint32_t i = 0; i < STEPS_MAX && progress.state < TACTUS_COMPACT_DONE; i++) {
        if (!range_step(sim)) {
            return;
        }
        progress = progress_of(sim);
        if (progress.op != sim->range_op) {
            return; /* A power cut has taken it back, or it was done before */
        }
    }
    if (progress.state == TACTUS_COMPACT_DONE && !sim->faults.is_damaged) {
        range_check(sim, UINT64_MAX);
        sim->report->marks.count[MARK_RANGE]++;
    } else if (!sim->world->is_small && !sim->faults.is_damaged) {
        sim_fail(sim, "a range of tree %u is not done: state %d, level %u, %llu bytes left",
                 op->tree, (int)progress.state, progress.level,
                 (unsigned long long)progress.left_bytes);
    }
}

void sim_run_range(struct sim *sim, const struct sim_op *op)
{
    switch ((enum sim_range_action)(op->count % SIM_RANGE_KINDS)) {
    case SIM_RANGE_BEGIN:
        (void)range_begin(sim, op);
        return;
    case SIM_RANGE_STEP:
        for (uint32_t i = 0; i < 1 + op->size % 6 && range_step(sim); i++) {
        }
        return;
    case SIM_RANGE_CANCEL:
        range_cancel(sim);
        return;
    case SIM_RANGE_WHOLE:
        range_whole(sim, op);
        return;
    case SIM_RANGE_KINDS:
        break;
    }
    tac_unreachable();
}
