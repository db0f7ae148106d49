/* SPDX-License-Identifier: Apache-2.0 */
/* store_snapshots -- the simulator's snapshots: taken, read, released. What one must hold the model
 * knows, which keeps every version: what there was as of its op. */
#include <string.h>

#include "base/units.h"
#include "pipeline/store.h"
#include "tests/sim/store_sim.h"

const char *sim_snapshot_name(uint32_t slot)
{
    static const char *const names[SIM_SNAPSHOTS] = {"snapshot-0", "snapshot-1", "snapshot-2"};

    tac_assert(slot < SIM_SNAPSHOTS);
    return names[slot];
}

static void iterators_of_close(struct sim *sim, uint32_t slot)
{
    for (uint32_t i = 0; i < SIM_ITERATORS; i++) {
        struct sim_iterator *it = &sim->iterators[i];

        if (it->iterator != NULL && it->is_lasting && it->snapshot == slot) {
            tactus_iterator_close(it->iterator);
            it->iterator = NULL;
        }
    }
}

void sim_snapshots_close(struct sim *sim)
{
    for (uint32_t slot = 0; slot < SIM_SNAPSHOTS; slot++) {
        iterators_of_close(sim, slot);
        tactus_snapshot_close(sim->snapshots[slot].handle);
        sim->snapshots[slot].handle = NULL;
    }
}

/* ---- the ops -------------------------------------------------------------------------------- */

/* The op that the store has the snapshot of; 0: it has none of this name. */
static uint64_t op_listed(struct sim *sim, uint32_t slot)
{
    struct tactus_snapshot_info infos[SIM_SNAPSHOTS];
    uint32_t                    count = 0;

    if (tactus_snapshot_list(sim->store, infos, SIM_SNAPSHOTS, &count) != TACTUS_OK ||
        count > SIM_SNAPSHOTS) {
        sim_fail(sim, "snapshot list: %u snapshots", count);
    }
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(infos[i].name, sim_snapshot_name(slot)) == 0) {
            return infos[i].op;
        }
    }
    return 0;
}

void sim_snapshot_taken(struct sim *sim, uint32_t slot, uint64_t op)
{
    sim->snapshots[slot].op = op;
    sim->snapshots[slot].op_released = STORE_MODEL_NEVER;
    sim->report->marks.count[MARK_SNAPSHOT_TAKEN] += op != STORE_MODEL_NEVER;
    sim->report->marks.count[MARK_DELETE_RANGE_SNAPSHOT] +=
        op != STORE_MODEL_NEVER && tac_manifest_range_count(sim->store->manifest) > 0;
}

void sim_snapshot_released(struct sim *sim, uint32_t slot, uint64_t op)
{
    sim->snapshots[slot].op_released = op;
    sim->report->marks.count[MARK_SNAPSHOT_RELEASED]++;
}

/* As of the model's op. */
static bool is_there(const struct sim *sim, uint32_t slot)
{
    const struct sim_snapshot *snapshot = &sim->snapshots[slot];

    return snapshot->op != 0 && snapshot->op <= sim->model->op &&
           snapshot->op_released > sim->model->op;
}

static void run_take(struct sim *sim, uint32_t slot)
{
    struct sim_snapshot before = sim->snapshots[slot];
    uint64_t            op = sim->model->op;
    int                 result;

    if (is_there(sim, slot)) {
        result = tactus_snapshot_create(sim->store, sim_snapshot_name(slot), NULL);
        if (result != TACTUS_EEXISTS && result != TACTUS_EPAUSED && !sim_is_down(sim)) {
            sim_fail(sim, "snapshot create: %d, it exists", result);
        }
        return;
    }
    /* If the power goes out in the call the op may be in the checkpoint all the same. */
    sim->snapshots[slot] = (struct sim_snapshot){op + 1, STORE_MODEL_NEVER, NULL, true};
    result = sim_log_do(sim, SIM_RECORD_SNAPSHOT, slot, false, NULL, 0);
    sim->snapshots[slot].is_unsure = sim_is_down(sim);
    if (result == TACTUS_EFULL && sim->world->is_small) {
        sim->report->marks.count[MARK_FULL]++;
        return;
    }
    if (!sim_result(sim, result, "snapshot create") && !sim_is_down(sim)) {
        sim->snapshots[slot] = before;
    }
}

static void run_release(struct sim *sim, uint32_t slot)
{
    struct sim_snapshot *snapshot = &sim->snapshots[slot];
    int                  result;

    if (!is_there(sim, slot)) {
        result = tactus_snapshot_release(sim->store, sim_snapshot_name(slot));
        if (result != TACTUS_ENOTFOUND && result != TACTUS_EPAUSED && !sim_is_down(sim)) {
            sim_fail(sim, "snapshot release: %d, there is none", result);
        }
        return;
    }
    if (snapshot->handle != NULL) {
        result = tactus_snapshot_release(sim->store, sim_snapshot_name(slot));
        if (result != TACTUS_EAGAIN && result != TACTUS_EPAUSED && !sim_is_down(sim)) {
            sim_fail(sim, "snapshot release: %d, it is open", result);
        }
        iterators_of_close(sim, slot);
        tactus_snapshot_close(snapshot->handle);
        snapshot->handle = NULL;
    }
    snapshot->op_released = sim->model->op + 1; /* Or not: as above */
    result = sim_log_do(sim, SIM_RECORD_RELEASE, slot, false, NULL, 0);
    if (sim_is_damage(sim, result)) {
        snapshot->op_released = STORE_MODEL_NEVER; /* Its list cannot be read: it stays. */
        return;
    }
    if (!sim_result(sim, result, "snapshot release") && !sim_is_down(sim)) {
        snapshot->op_released = STORE_MODEL_NEVER;
    }
}

/* ---- reading -------------------------------------------------------------------------------- */

static bool handle_open(struct sim *sim, uint32_t slot)
{
    struct sim_snapshot *snapshot = &sim->snapshots[slot];

    return snapshot->handle != NULL ||
           sim_read_result(
               sim, tactus_snapshot_open(sim->store, sim_snapshot_name(slot), &snapshot->handle),
               "snapshot open");
}

static void key_check(struct sim *sim, const struct sim_snapshot *snapshot, uint32_t tree,
                      uint32_t key)
{
    const struct store_model_tree    *at = &sim->model->trees[tree];
    const struct store_model_version *version =
        store_model_get(sim->model, tree, key, snapshot->op);
    size_t size = 0;
    int    result =
        tactus_snapshot_get(snapshot->handle, at->id, at->keys[key].bytes, at->keys[key].size,
                            sim->buffer, sim->world->options.block_size, &size);

    if (result == TACTUS_ENOTFOUND && version == NULL) {
        return;
    }
    if (result == TACTUS_ENOTFOUND || (result == TACTUS_OK && version == NULL)) {
        sim_fail(sim, "snapshot of op %llu, tree %u key %u: %s", (unsigned long long)snapshot->op,
                 tree, key, version == NULL ? "found, but it was not there" : "not found");
    }
    if (sim_read_result(sim, result, "snapshot get")) {
        sim_check_value(sim, tree, key, version, sim->buffer, size);
    }
}

/* Its creation was another op, but one that a crash has taken back may count as the last that is
 * left. */
static bool tree_was_there(const struct sim *sim, const struct sim_snapshot *snapshot,
                           uint32_t tree)
{
    return sim->model->trees[tree].created_op < snapshot->op;
}

/* All of a tree of an open snapshot, both ways. */
static void tree_check(struct sim *sim, const struct sim_snapshot *snapshot, uint32_t tree)
{
    struct tactus_iterator *iterator;
    int result = tactus_snapshot_iterator(snapshot->handle, sim->model->trees[tree].id, &iterator);

    if (sim_read_result(sim, result, "snapshot iterator")) {
        sim_check_scan(sim, iterator, tree, snapshot->op);
        tactus_iterator_close(iterator);
    }
}

static void run_read(struct sim *sim, const struct sim_op *op, uint32_t slot)
{
    struct sim_snapshot *snapshot = &sim->snapshots[slot];
    struct sim_iterator *it = &sim->iterators[op->slot];
    uint32_t             keys = sim->model->trees[op->tree].key_count;

    if (!is_there(sim, slot) || !tree_was_there(sim, snapshot, op->tree) ||
        !handle_open(sim, slot)) {
        return;
    }
    for (uint32_t i = 0; i < 10; i++) {
        key_check(sim, snapshot, op->tree, (op->key + i * 37) % keys);
    }
    if (op->seed % 4 == 0) {
        tree_check(sim, snapshot, op->tree);
    }
    if (op->seed % 4 == 1) {
        tactus_iterator_close(it->iterator);
        it->iterator = NULL;
        (void)sim_iterator_open_in(sim, it, op, slot);
    }
    sim->report->marks.count[MARK_SNAPSHOT_READ] += sim->model->op > snapshot->op;
}

void sim_run_snapshot(struct sim *sim, const struct sim_op *op)
{
    uint32_t slot = op->seed / 8 % SIM_SNAPSHOTS;

    switch (op->count) {
    case SIM_SNAPSHOT_TAKE:
        run_take(sim, slot);
        return;
    case SIM_SNAPSHOT_RELEASE:
        run_release(sim, slot);
        return;
    default:
        run_read(sim, op, slot);
        return;
    }
}

/* ---- what must hold ------------------------------------------------------------------------- */

void sim_check_snapshots(struct sim *sim)
{
    for (uint32_t slot = 0; slot < SIM_SNAPSHOTS; slot++) {
        struct sim_snapshot *snapshot = &sim->snapshots[slot];
        uint64_t             listed = op_listed(sim, slot);

        /* One that found no room may have met the power cut as well. */
        if (listed == 0 && is_there(sim, slot) && snapshot->is_unsure && sim->world->is_small) {
            snapshot->op = 0;
        }
        snapshot->is_unsure = false;
        if (listed != (is_there(sim, slot) ? snapshot->op : 0)) {
            sim_fail(sim, "%s is of op %llu, should be of %llu (0: none)", sim_snapshot_name(slot),
                     (unsigned long long)listed,
                     (unsigned long long)(is_there(sim, slot) ? snapshot->op : 0));
        }
        if (!is_there(sim, slot)) {
            snapshot->op = 0;
            continue;
        }
        snapshot->op_released = STORE_MODEL_NEVER;
        for (uint32_t tree = 0; tree < sim->model->tree_count; tree++) {
            if (tree_was_there(sim, snapshot, tree) && handle_open(sim, slot)) {
                tree_check(sim, snapshot, tree);
            }
        }
        tactus_snapshot_close(snapshot->handle);
        snapshot->handle = NULL;
    }
}

void sim_snapshots_release(struct sim *sim)
{
    sim_snapshots_close(sim);
    for (uint32_t slot = 0; slot < SIM_SNAPSHOTS; slot++) {
        int result;

        if (!is_there(sim, slot)) {
            continue;
        }
        result = tactus_snapshot_release(sim->store, sim_snapshot_name(slot));
        if (!sim_is_damage(sim, result) && sim_result(sim, result, "snapshot release")) {
            sim_snapshot_released(sim, slot, ++sim->model->op);
        }
    }
}
