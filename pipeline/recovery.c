/* SPDX-License-Identifier: Apache-2.0 */
/* recovery -- see recovery.h. */
#include "pipeline/recovery.h"

#include <string.h>

#include "base/mutant.h"
#include "base/units.h"
#include "queues/atomics.h"

/* A full store is drained when what was released before is free again: the checkpoint of one bar's
 * end gives it back at the next one's. */
#define BARS_SETTLED_FULL 3

/* ---- what a checkpoint says ----------------------------------------------------------------- */

static struct tac_control control_of(const struct tactus *store, bool is_unfinished)
{
    struct tac_control control = {.bars_stuck = store->bars_stuck,
                                  .bars_settled = store->bars_settled,
                                  .bars_owed = store->bars_owed,
                                  .manual_trees = store->manual_trees,
                                  .sweep = store->sweep};

    control.flags = (store->is_held ? TAC_CONTROL_HELD : 0u) |
                    (store->is_draining ? TAC_CONTROL_DRAINING : 0u) |
                    (store->is_flushing ? TAC_CONTROL_FLUSHING : 0u) |
                    (is_unfinished ? TAC_CONTROL_UNFINISHED : 0u) |
                    (store->is_full_of_tables_next ? TAC_CONTROL_FULL_OF_TABLES : 0u) |
                    (store->is_logged ? TAC_CONTROL_LOGGED : 0u);
    switch ((enum tac_fullness)store->fullness_next) {
    case TAC_NOT_FULL:
        break;
    case TAC_FULL_FOR_PUTS:
        control.flags |= TAC_CONTROL_FULL_FOR_PUTS;
        break;
    case TAC_FULL_FOR_DELETES:
        control.flags |= TAC_CONTROL_FULL_FOR_DELETES;
        break;
    }
    if (store->is_let_in && store->fullness_next != TAC_NOT_FULL) {
        control.flags |= TAC_CONTROL_LET_IN;
    }
    return control;
}

bool tac_recovery_is_drained(const struct tactus *store)
{
    uint32_t bars = store->fullness_next == TAC_NOT_FULL ? 1 : BARS_SETTLED_FULL;

    return store->is_draining && store->bars_settled >= bars;
}

void tac_recovery_describe(const struct tactus *store, struct tac_superblock *next)
{
    uint64_t op = store->control_op;
    bool     is_unfinished;

    next->op_persisted = store->persisted_op;
    /* An ingest is persisted when its tables enter, and takes its number when that is durable. */
    next->op_compacted = tac_max_u64(store->last_op, store->persisted_op);
    if (store->is_draining) {
        /* Drained: both memtables are empty, so all ops are in tables, the drain's number too. */
        next->op_persisted =
            tac_recovery_is_drained(store) ? op : tac_min_u64(store->persisted_op, op - 1);
    }
    is_unfinished = op != 0 && next->op_persisted < op;
    if (is_unfinished) {
        tac_assert(store->last_op == op);
        next->op_compacted = op - 1;
    }
    next->control = control_of(store, is_unfinished);
}

/* ---- replay --------------------------------------------------------------------------------- */

static enum tac_fullness fullness_of(uint32_t flags)
{
    return (flags & TAC_CONTROL_FULL_FOR_DELETES) != 0 ? TAC_FULL_FOR_DELETES
           : (flags & TAC_CONTROL_FULL_FOR_PUTS) != 0  ? TAC_FULL_FOR_PUTS
                                                       : TAC_NOT_FULL;
}

void tac_recovery_begin(struct tactus *store, const struct tac_superblock *superblock)
{
    uint32_t flags = superblock->control.flags;

    store->is_held = (flags & TAC_CONTROL_HELD) != 0;
    store->is_draining = (flags & TAC_CONTROL_DRAINING) != 0;
    store->is_flushing = (flags & TAC_CONTROL_FLUSHING) != 0;
    store->manual_trees = superblock->control.manual_trees;
    store->sweep = superblock->control.sweep;
    store->bars_stuck = superblock->control.bars_stuck;
    store->bars_settled = superblock->control.bars_settled;
    store->bars_owed = superblock->control.bars_owed;
    store->fullness = fullness_of(flags);
    store->is_full_of_tables = (flags & TAC_CONTROL_FULL_OF_TABLES) != 0;
    store->mutable_may_fill = store->fullness != TAC_FULL_FOR_DELETES;
    if ((flags & TAC_CONTROL_UNFINISHED) != 0) {
        store->resumed_op = superblock->op_compacted + 1;
    }
    store->is_replaying = true;
    if ((flags & TAC_CONTROL_LET_IN) != 0 || TAC_MUTANT(LET_IN_UNASKED)) {
        store->crossing_op = superblock->op_compacted + 1;
    }
    if (store->last_op < superblock->op_compacted) {
        store->refill_until = superblock->op_compacted - TAC_MUTANT(REFILL_SHORT);
        store->is_refilling = 1;
    }
}

/* The first plan is made under the control of the checkpoint; then a control op that goes on sets
 * it again. */
static void first_plan_wait(struct tactus *store)
{
    tac_writer_plan_wait(store);
    store->is_draining = store->is_flushing = false;
    store->manual_trees = 0;
}

void tac_recovery_start(struct tactus *store)
{
    if (!tac_recovery_is_refilling(store)) {
        first_plan_wait(store);
    }
}

/* What has been refilled is what the checkpoint's bar left to be flushed. The coordinator has made
 * no plan yet, so memtables and view are the writer's. */
void tac_recovery_refill_end(struct tactus *store)
{
    if (store->last_op < store->refill_until) {
        store->resumed_op = 0; /* Other ops than those that the checkpoint knew */
        if (store->sweep.op > store->last_op) {
            memset(&store->sweep, 0, sizeof store->sweep);
        }
    }
    store->refill_until = 0;
    tac_manifest_trees_forget(store->manifest, store->last_op);
    tac_trees_publish(store);
    tac_store_memtables_swap(store);
    tac_ranges_checkpointed(store);
    tac_store_publish_view(store);
    tac_atomic_exchange_u32(&store->is_refilling, 0);
    tac_coordinator_wake(&store->stages);
    first_plan_wait(store);
}

void tac_recovery_refill_room(struct tactus *store, uint64_t accounted_bytes)
{
    tac_assert(tac_recovery_is_refilling(store));
    if (!tac_memtable_fits(store->memtables[store->memtable_mutable], accounted_bytes)) {
        tac_recovery_refill_end(store);
    }
}

void tac_recovery_refill_advance(struct tactus *store)
{
    if (store->last_op == store->refill_until) {
        tac_recovery_refill_end(store);
    }
}
