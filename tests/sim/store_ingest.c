/* SPDX-License-Identifier: Apache-2.0 */
/* store_ingest -- the simulator's sorted runs from outside: drawn, handed over, spoilt. */
#include <stdlib.h>

#include "pipeline/recovery.h"
#include "pipeline/trees.h"
#include "tests/sim/store_sim.h"

/* Some keys from op->key on, in their order, a part of them or none tombstones. */
static uint32_t run_draw(struct sim *sim, const struct sim_op *op, struct tac_prng *prng,
                         struct sim_entry *entries)
{
    const struct store_model_tree *tree = &sim->model->trees[op->tree];
    uint32_t                       step = 1 + (uint32_t)tac_prng_below(prng, 3);
    uint32_t                       tombstones = (uint32_t)tac_prng_below(prng, 5);
    uint32_t                       count = 0;

    for (uint32_t key = op->key % tree->key_count; key < tree->key_count && count < op->count;
         key += 1 + (uint32_t)tac_prng_below(prng, step)) {
        struct sim_entry *entry = &entries[count++];

        *entry = (struct sim_entry){
            .tree = op->tree,
            .key = key,
            .version = {.value_seed = (uint32_t)tac_prng_next(prng),
                        .is_tombstone =
                            tac_prng_below(prng, 4) < tombstones && tac_prng_below(prng, 2) == 0},
        };
        if (!entry->version.is_tombstone) {
            entry->version.value_size = sim_value_size_draw(tree, op->size + key % 50);
        }
    }
    return count;
}

/* A reader that fails, or a key that comes twice: nothing has changed. What such a run leaves in
 * free blocks a crash may take back: where whole files are compared it fails before the first. */
static void ingest_spoil(struct sim *sim, struct tac_prng *prng, const struct sim_entry *entries,
                         uint32_t count)
{
    bool     is_swap = !sim->world->is_twin && tac_prng_below(prng, 2) == 0;
    uint32_t at = sim->world->is_twin ? 0 : (uint32_t)tac_prng_below(prng, count);
    uint64_t before = tactus_last_op(sim->store);
    uint64_t bar = sim->store->bar_count;
    uint64_t acquired = tac_free_set_acquired_count(sim->store->free_set);
    int      result =
        sim_ingest_run(sim, entries, count, is_swap ? UINT32_MAX : at, is_swap ? at : UINT32_MAX);

    if (result == TACTUS_EPAUSED || (result == TACTUS_EFULL && sim->world->is_small) ||
        sim_is_down(sim) || sim_is_refused(sim, result)) {
        return;
    }
    if (result != (is_swap ? TACTUS_EINVAL : SIM_READER_CODE) ||
        tactus_last_op(sim->store) != before || sim->store->bar_count != bar ||
        tac_free_set_acquired_count(sim->store->free_set) != acquired) {
        sim_fail(sim, "a run that goes wrong at record %u of %u: %d %s", at, count, result,
                 tactus_message());
    }
    sim->report->marks.count[MARK_INGEST_SPOILT]++;
}

/* Where its tables have gone; compactions since may have moved them. */
static void ingest_observe(struct sim *sim, uint32_t tree, uint64_t bar_before)
{
    struct tac_manifest_tree *at =
        tac_manifest_tree(sim->store->manifest, tac_tree_number(sim->model->trees[tree].id));
    uint64_t *count = sim->report->marks.count;

    if (sim->store->bar_count > bar_before + 2) {
        count[MARK_INGEST_BARS]++;
        return;
    }
    for (uint32_t level = 0; level <= at->planner.last_level; level++) {
        for (uint32_t i = 0; i < at->levels[level].table_count; i++) {
            bool is_new = at->levels[level].tables[i]->snapshot_min == sim->model->op;

            count[MARK_INGESTED_DEEP] += is_new && level == at->planner.last_level;
            count[MARK_INGESTED_TOP] += is_new && level < at->planner.last_level;
        }
    }
}

/* Whether the running plan has many small things to note: such a run was refused once for want of room
 * in the manifest log. As the ingest will find it. */
static bool plan_discards(struct tactus *store)
{
    bool discards = false;

    pthread_mutex_lock(&store->commit_lock);
    if (!tac_recovery_is_refilling(store) && !tac_store_is_poisoned(store)) {
        tac_writer_plan_wait(store);
        discards = store->bar.discard_count >= TAC_BAR_DISCARDS_LEAST;
    }
    pthread_mutex_unlock(&store->commit_lock);
    return discards;
}

void sim_run_ingest(struct sim *sim, const struct sim_op *op)
{
    struct tac_prng   prng = {tac_mix_u64(op->seed)};
    struct sim_entry *entries;
    uint32_t          count;
    uint64_t          bar = sim->store->bar_count;
    int               result;
    bool              is_beside;

    if (op->count == 0 || sim->world->options.runs_per_level == 1) {
        return; /* A fuzzer's */
    }
    entries = calloc(op->count, sizeof *entries);
    tac_assert(entries != NULL);
    sim->entries = entries;
    count = run_draw(sim, op, &prng, entries);
    if (tac_prng_below(&prng, 6) == 0) {
        ingest_spoil(sim, &prng, entries, count);
    } else {
        is_beside = plan_discards(sim->store);
        result = sim_log_do(sim, SIM_RECORD_INGEST, op->tree, false, entries, count);
        if (result == TACTUS_EFULL && sim->world->is_small &&
            tactus_last_op(sim->store) == sim->model->op) {
            sim->report->marks.count[MARK_FULL]++;
        } else if (sim_write_result(sim, result, "ingest") && !sim_is_down(sim)) {
            ingest_observe(sim, op->tree, bar);
            sim->report->marks.count[MARK_INGEST_BESIDE] += is_beside;
        }
    }
    free(entries);
    sim->entries = NULL;
}
