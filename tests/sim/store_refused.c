/* SPDX-License-Identifier: Apache-2.0 */
/* store_refused -- writes that find no room, in stores whose own log has a sync for each: one that
 * loses ops might not have room for them a second time.
 *
 * Log     is without room, as ops fill it that fill no memtable: what it refuses changes nothing, and
 *         a checkpoint empties it.
 * Ranges  are deleted while compaction is held back, until there is no place for one. It has ended
 *         bars, and takes an op; a recovery ends the same ones. */
#include "tests/sim/store_sim.h"

#define LOG_BYTES_MAX TAC_MIB /* Larger ones take too long */

/* Until a record of the largest size has to end the bar. False: something else came. */
static bool memtable_fill(struct sim *sim, const struct sim_op *op, struct sim_entry *entry)
{
    const struct store_model_tree *tree = &sim->model->trees[op->tree];
    uint64_t                       accounted =
        tac_memtable_record_accounted(tree->spec.layout.key_size, tree->spec.layout.value_size);

    *entry = (struct sim_entry){
        .tree = op->tree,
        .key = op->key % tree->key_count,
        .version = {.value_seed = op->seed, .value_size = tree->spec.layout.value_size},
    };
    while (tac_memtable_fits(sim->store->memtables[sim->store->memtable_mutable], accounted)) {
        entry->version.value_seed++;
        if (!sim_write_result(sim, sim_log_do(sim, SIM_RECORD_WRITE, op->tree, false, entry, 1),
                              "put into a log to be full")) {
            return false;
        }
    }
    return true;
}

static void log_fill(struct sim *sim, const struct sim_op *op)
{
    struct sim_entry entry;
    uint64_t         bars;
    int              result = TACTUS_OK;

    if (tac_wal_file_bytes(&sim->store->wal.geometry) > LOG_BYTES_MAX ||
        !memtable_fill(sim, op, &entry)) {
        return;
    }
    while (result == TACTUS_OK) {
        result = sim_log_do(sim, SIM_RECORD_HOLD, 0, sim->store->is_held, NULL, 0);
    }
    if (result != TACTUS_EFULL) {
        (void)sim_result(sim, result, "hold in a log to be full");
        return;
    }
    bars = sim->store->bar_count;
    result = sim_log_do(sim, SIM_RECORD_WRITE, op->tree, false, &entry, 1);
    if (result != TACTUS_EFULL || sim->store->bar_count != bars ||
        tactus_last_op(sim->store) != sim->model->op) {
        sim_fail(sim, "put into a full log: %d, op %llu of %llu, bar %llu of %llu: %s", result,
                 (unsigned long long)tactus_last_op(sim->store), (unsigned long long)sim->model->op,
                 (unsigned long long)sim->store->bar_count, (unsigned long long)bars,
                 tactus_message());
    }
    if (op->seed % 2 == 0) {
        sim_recover(sim);
    }
    result = sim_log_do(sim, SIM_RECORD_CHECKPOINT, 0, false, NULL, 0);
    if (sim_result(sim, result, "checkpoint of a full log")) {
        sim->report->marks.count[MARK_LOG_FULL]++;
    }
}

static void ranges_fill(struct sim *sim, const struct sim_op *op)
{
    uint32_t keys = sim->model->trees[op->tree].key_count;
    int      result = sim_log_do(sim, SIM_RECORD_HOLD, 0, true, NULL, 0);

    sim->is_held = true;
    sim->held_since_bar = sim->store->bar_count;
    for (uint32_t i = 0; i < 2 * TAC_RANGES_MAX && result == TACTUS_OK; i++) {
        struct sim_bounds range = {.tree = op->tree, .low = (op->key + i) % (keys - 1)};

        range.high = range.low + 1;
        result = sim_log_range(sim, SIM_RECORD_DELETE_RANGE, &range);
    }
    if (result == TACTUS_EFULL && !sim->world->is_undisturbed && op->seed % 4 != 0) {
        sim_recover(sim);
    }
    if (result == TACTUS_OK || result == TACTUS_EFULL) {
        result = sim_log_do(sim, SIM_RECORD_HOLD, 0, false, NULL, 0);
    }
    (void)sim_result(sim, result, "range without a place");
}

void sim_run_refused(struct sim *sim, const struct sim_op *op)
{
    /* A power cut before its op is taken would make it another one. */
    sim->disk.requests_left = SIM_DISK_NEVER;
    if (op->count == SIM_REFUSED_BY_LOG) {
        log_fill(sim, op);
    } else {
        ranges_fill(sim, op);
    }
}
