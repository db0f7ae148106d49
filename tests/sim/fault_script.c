/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/fault_script.h"

#include "tests/sim/fault_check.h"

/* Opens on a sound disk, and goes on. */
static void recover(struct run *run)
{
    if (run->script->cuts_power) {
        tac_memory_disk_crash(run->disk.memory, tac_prng_next(&run->prng));
    }
    fault_disk_heal(&run->disk);
    if (!run->reach.is_created) {
        run_create(run);
    }
    run_open(run);
    if (!run_expect(run, run->store != NULL, "the store does not open on a sound disk")) {
        return;
    }
    run_check(run);
    run_trees_create(run);
    run_writes(run, 260);
    run_control(run, tactus_checkpoint, "checkpoint");
    run_control(run, tactus_drain, "drain");
    run_check(run);
    run_close(run);
}

/* ---- the script ----------------------------------------------------------------------------- */

static void writes_play(struct run *run)
{
    run_create(run);
    run_open(run);
    run_trees_create(run);
    run_writes(run, 500);
    run_batch(run);
    run_gets(run, 20);
    run_control(run, tactus_checkpoint, "checkpoint");
    run_writes(run, 500);
    run_scans(run);
    run_control(run, tactus_drain, "drain");
    run_gets(run, 20);
    run_close(run);
    run_open(run);
    run_trees_create(run);
    run_writes(run, 400);
    run_batch(run);
    run_gets(run, 20);
    run_control(run, run_compact, "compact");
    run_writes(run, 300);
    run_scans(run);
    run_gets(run, 20);
}

/* Runs over nothing, over tables and over memtables; ranges before and after the snapshots; and a
 * snapshot that has tables of a tree that is dropped. */
static void tables_play(struct run *run)
{
    run_create(run);
    run_open(run);
    run_trees_create(run);
    run_ingest(run, 100);
    run_writes(run, 300);
    run_ingest(run, 200);
    run_ingest_refused(run, 100);
    run_delete_range(run, 0, 300);
    run_delete_range(run, 1, 30);
    run_writes(run, 200);
    run_snapshot_turn(run);
    run_caches_change(run);
    run_delete_range(run, 0, 500);
    run_writes(run, 200);
    run_snapshot_read(run, 32);
    run_tree_drop(run);
    run_control(run, tactus_drain, "drain");
    run_trees_create(run);
    run_writes(run, 100);
    run_close(run);
    run_open(run);
    run_trees_create(run);
    run_snapshot_read(run, 32);
    run_caches_change(run);
    run_snapshot_turn(run);
    run_delete_range(run, 0, 1200);
    run_ingest(run, 300);
    run_writes(run, 100);
    run_control(run, run_compact, "compact");
    run_snapshot_turn(run);
    run_delete_range(run, 0, 200);
    run_tree_drop(run);
    run_writes(run, 300);
    run_scans(run);
    run_snapshot_read(run, 32);
}

static void script_play(struct run *run)
{
    switch (run->script->list) {
    case FAULT_LIST_WRITES:
        writes_play(run);
        return;
    case FAULT_LIST_TABLES:
        tables_play(run);
        return;
    case FAULT_LISTS:
        break;
    }
    tac_unreachable();
}

void fault_script_pair_unreadable(uint64_t seed, struct fault_outcome *ret_outcome)
{
    struct fault_script script = {.kind = FAULT_READ, .is_sticky = true, .seed = seed};
    struct run         *run = run_new(&script, NULL, ret_outcome);

    run_create(run);
    run_open(run);
    run_trees_create(run);
    /* Copies are read in order, odd sequences are in the last two. */
    do {
        run_writes(run, 5);
        run_control(run, tactus_checkpoint, "checkpoint");
    } while (run->store->checkpoint.durable.sequence % 2 == 0);
    run_reach_note(run);
    tactus_abandon(run->store);
    run->store = NULL;
    run->disk.fail_at = run->disk.calls + 3;
    run_open(run);
    run_expect(run, run->store == NULL, "opened at op %llu without the newest superblock",
               run->store == NULL ? 0 : (unsigned long long)tactus_last_op(run->store));
    run_close(run);
    recover(run);
    run_expect(run, !ret_outcome->fell_back, "a checkpoint was lost");
    run_free(run);
}

void fault_script_run(const struct fault_script *script, struct fault_outcome *ret_outcome)
{
    struct run *run = run_new(script, NULL, ret_outcome);

    script_play(run);
    if (run->store != NULL && script->abandons) {
        run_reach_note(run);
        tactus_abandon(run->store);
        run->store = NULL;
    }
    run_close(run);
    run_expect(run, run->disk.changes_after == 0,
               "%llu writes or syncs went to the disk after one had failed",
               (unsigned long long)run->disk.changes_after);
    ret_outcome->calls = run->disk.calls;
    ret_outcome->faults = run->disk.faults;
    recover(run);
    run_free(run);
}
