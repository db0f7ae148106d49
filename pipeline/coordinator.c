/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator -- plans, admits, paces and commits; it is on no block's path.
 *
 * Terminology  a plan covers a bar, or half a bar with runs of 1. plans_made and plans_ended count
 *              them; the writer asks for an end by plans_wanted.
 * A turn       (1) take finished seats back; (2) the checkpoint; (3) if the plan is to end and its
 *              work is done: commit, swap the memtables, publish; (4) if there is no plan: make
 *              one; (5) grant credit for the beat; (6) seat jobs, the largest first.
 * Failures     an error of a flush, of a write or of a sync poisons the store: the first cause
 *              stays, nothing is written any more, reads go on. A merge that meets damage is
 *              dropped (damage.h). */
#include <sched.h>

#include "base/mutant.h"
#include "base/units.h"
#include "pipeline/admission.h"
#include "pipeline/ingest.h"
#include "pipeline/pacing.h"
#include "pipeline/recovery.h"
#include "pipeline/space.h"
#include "pipeline/store.h"
#include "queues/atomics.h"
#include "reading/block_read.h"

void tac_store_poison(struct tactus *store, int code, const char *message)
{
    if (tac_atomic_exchange_u32(&store->is_poisoning, 1) == 0) {
        tac_error_set(&store->poison_error, code, "%s", message);
        tac_atomic_exchange_u32(&store->is_poisoned, 1);
        tac_stages_stop(&store->stages);
        tac_event_count_notify_all(store->stages.progress);
        tac_logger_add(&store->logger, TACTUS_LOGGER_ERROR,
                       "writing has stopped until a reopen: %s", message);
        tac_events_add(
            &store->events,
            &(struct tactus_event){.kind = TACTUS_EVENT_ERROR, .code = code, .text = message}, 0);
    }
}

bool tac_store_is_poisoned(struct tactus *store)
{
    return tac_atomic_load_acquire_u32(&store->is_poisoned) != 0;
}

void tac_store_planner_options(const struct tactus *store, struct tac_planner_options *options)
{
    *options = (struct tac_planner_options){
        .memtable_size = store->shape.memtable_size,
        .block_size = store->shape.block_size,
        .table_size = store->shape.table_size,
        .slice_size = store->shape.slice_size,
        .runs_per_level = store->shape.runs_per_level,
        .last_ratio = store->shape.last_ratio,
        .tables_max = store->options.tables_max,
    };
}

/* Index blocks that a plan reads for discarded tables: an eighth of a memtable, so that a plan's
 * work grows by little; all of one where there is nothing else to wait for, or room is short. */
static uint64_t discards_share(const struct tactus *store, uint32_t fullness)
{
    uint64_t blocks = store->shape.memtable_size / store->shape.block_size;
    bool     is_urgent = store->is_draining || fullness != TAC_NOT_FULL;

    return is_urgent ? blocks : tac_max_u64(blocks / 8, TAC_BAR_DISCARDS_LEAST);
}

void tac_store_bar_order(struct tactus *store, struct tac_bar_order *order)
{
    bool     has_flush = store->half + 1 == store->plans_per_bar;
    uint32_t fullness = tac_atomic_load_relaxed_u32(&store->fullness);

    *order = (struct tac_bar_order){
        .manifest = store->manifest,
        .free_set = store->free_set,
        .snapshots = &store->snapshots.directory,
        .immutable_table = has_flush ? store->immutable_table : NULL,
        .ranges_table = store->immutable_table,
        .immutable_last_op = store->immutable_last_op,
        .sequence = store->checkpoint.next.sequence + 1,
        .half = store->plans_per_bar == 1 ? 1 : store->half,
        .is_held = store->is_held || store->is_flushing,
        .is_draining = store->is_draining,
        .bars_stuck = store->bars_stuck,
        .manual_trees = store->manual_trees,
    };
    /* Where not even deletes are taken, nothing but compaction helps. */
    if (fullness == TAC_FULL_FOR_DELETES && !order->is_held) {
        order->manual_trees = UINT64_MAX;
        order->is_tight = true;
    }
    if (store->sweep.op != 0 && store->sweep.bars_wait == 0 && !order->is_held &&
        !order->is_tight) {
        order->sweep = &store->sweep;
    }
    tac_space_order(store, order);
    order->discards_max = discards_share(store, fullness);
    order->has_many_ranges = 2 * tac_ranges_count(store) > tac_ranges_max(store);
    order->rewrite_bytes_max = (store->is_draining ? 8 : 1) * store->shape.memtable_size;
}

/* ---- seats ---------------------------------------------------------------------------------- */

static void job_tell(struct tactus *store, struct tac_job *job)
{
    const struct tac_bar_compaction *compaction = &store->bar.compactions[job->compaction];
    struct tactus_event              event = {
                     .kind = TACTUS_EVENT_JOB,
                     .code = job->result,
                     .tree = tac_manifest_tree_id(store->manifest, job->tree),
                     .level_from = compaction->level_source,
                     .level_to = compaction->level_target,
                     .tables_in = job->input_count,
                     .text = job->result != TACTUS_OK ? job->message : NULL,
    };

    if (job->is_discard) {
        return; /* Neither flush nor compaction: statistics count it. */
    }
    job->end_ns = tac_events_now_ns(&store->events);
    tac_store_job_describe(job, &event);
    tac_events_add(&store->events, &event, job->begin_ns);
}

static bool seats_take_back(struct tactus *store)
{
    struct tac_link *link = tac_stack_take_all(&store->stages.done);
    bool             progressed = link != NULL;

    while (link != NULL) {
        struct tac_link  *next = link->next;
        struct tac_seat  *seat = (struct tac_seat *)link;
        struct tac_job   *job = seat->job;
        struct tac_block *blocks;
        uint32_t          count;

        /* EPOISONED: refused because of what another job, or a checkpoint, will tell of. */
        if (job->result != TACTUS_OK && job->result != TACTUS_ECORRUPT &&
            job->result != TACTUS_EPOISONED) {
            tac_store_poison(store, job->result, job->message);
        }
        job_tell(store, job);
        blocks = tac_seat_finish(seat, &count);
        tac_block_pool_give_back(&store->pool, blocks);
        store->seats_busy--;
        store->bar.jobs_done++;
        link = next;
    }
    if (progressed && store->bar.jobs_done == store->bar.job_count) {
        /* A merge thread may sleep long from here on: it is to know that it is for want of work. */
        tac_event_count_notify_all(store->stages.events[TAC_STAGE_MERGE]);
    }
    return progressed;
}

static struct tac_seat *seat_find_free(struct tactus *store)
{
    for (uint32_t i = 0; i < store->seat_count; i++) {
        if (!store->seats[i].is_taken) {
            return &store->seats[i];
        }
    }
    return NULL;
}

/* Seats the next job of the plan with as much read-ahead as the pool has blocks for. */
static bool job_seat(struct tactus *store)
{
    struct tac_job   *job = store->bar.jobs[store->bar.order[store->bar.jobs_seated]];
    struct tac_seat  *seat = seat_find_free(store);
    uint32_t          sources = job->chain_count + (job->memtable != NULL);
    uint32_t          waiting, read_ahead, allotment;
    struct tac_block *blocks;

    if (seat == NULL) {
        return false;
    }
    waiting = (uint32_t)tac_min_u64(store->bar.job_count - store->bar.jobs_seated,
                                    store->seat_count - store->seats_busy);
    read_ahead = tac_admission_read_ahead(sources, store->filter_blocks_max, store->pool.free_count,
                                          waiting);
    allotment = tac_seat_allotment(sources, read_ahead, store->filter_blocks_max);
    if (read_ahead > 0 && tac_block_pool_try_take(&store->pool, allotment, &blocks)) {
        store->bar.jobs_seated++;
        store->seats_busy++;
        job->begin_ns = tac_events_now_ns(&store->events);
        tac_seat_start(seat, job, read_ahead, blocks, allotment, store->shape.filter_bits_per_key);
        return true;
    }
    /* Open made sure that the pool alone can hold the largest job: somebody else has blocks. */
    tac_assert(store->seats_busy > 0);
    return false;
}

static bool jobs_seat(struct tactus *store)
{
    bool progressed = false;

    while (store->bar.jobs_seated < store->bar.job_count && job_seat(store)) {
        progressed = true;
    }
    return progressed;
}

/* ---- pacing --------------------------------------------------------------------------------- */

static bool plan_end_is_wanted(struct tactus *store)
{
    return tac_atomic_load_acquire_u64(&store->clock.plans_wanted) >
           tac_atomic_load_relaxed_u64(&store->clock.plans_ended);
}

/* In a pause only what a writer waits for that began to before it, if one does. */
static uint64_t credit_due(struct tactus *store, bool is_paused)
{
    uint64_t beat, granted;

    if (is_paused && !plan_end_is_wanted(store)) {
        return tac_atomic_load_acquire_u64(&store->stages.consumed_target);
    }
    beat = tac_atomic_load_acquire_u64(&store->clock.step) / TAC_PACING_STEPS_PER_BEAT;
    granted =
        tac_pacing_granted(store->bar.bytes, beat, store->beats_per_plan, store->shape.lag_beats);
    /* All granted, or the plan is being ended: estimates of bytes hold nothing back any more. */
    return granted >= store->bar.bytes || plan_end_is_wanted(store) ||
                   tac_atomic_load_acquire_u32(&store->hurries) > 0
               ? UINT64_MAX
               : granted;
}

/* The credit is set only when it changes: a grant wakes stalled merges. */
static bool credit_grant(struct tactus *store, bool is_paused)
{
    uint64_t granted = credit_due(store, is_paused);

    if (granted == store->granted_bytes) {
        return false;
    }
    store->granted_bytes = granted;
    tac_stages_grant(&store->stages, granted);
    return true;
}

/* ---- plan and bar --------------------------------------------------------------------------- */

/* Where the device has no room for a step, what is in use and a checkpoint will do; a step is tried
 * again when that does not fit either, not at each plan: to try takes the device's last room for a
 * moment. */
int tac_store_file_grow(struct tactus *store, struct tac_error *error)
{
    uint64_t block_size = store->geometry.block_size;
    uint64_t used = tac_free_set_blocks_used(store->free_set);
    uint64_t step = tac_max_u64(TAC_GRID_BLOCKS_MIN, 64 * TAC_MIB / block_size);
    uint64_t size = store->storage->ops->size(store->storage);
    uint64_t most = tac_max_u64(store->shape.file_size_max / block_size, used);
    uint64_t wanted = tac_min_u64(tac_round_up(used + step / 2, step), most) * block_size;
    uint64_t needed = used + tac_checkpoint_log_blocks((uint32_t)block_size);

    needed = tac_min_u64(needed + TAC_FREE_SET_BLOCKS_MAX, most) * block_size;
    if (wanted <= size || (store->is_growth_refused && needed <= size)) {
        return TACTUS_OK;
    }
    store->is_growth_refused =
        store->storage->ops->resize(store->storage, wanted, error) != TACTUS_OK;
    if (store->is_growth_refused && needed > size &&
        store->storage->ops->resize(store->storage, needed, error) != TACTUS_OK) {
        return error->code;
    }
    return TACTUS_OK;
}

/* Plans. Where a flush finds no room it is planned again without compactions and with as few tables
 * as can be. */
static void bar_plan(struct tactus *store)
{
    struct tac_planner_state before[TACTUS_TREES_MAX];
    struct tac_bar_order     order;
    uint32_t                 trees = tac_manifest_tree_count(store->manifest);

    for (uint32_t i = 0; i < trees; i++) {
        before[i] = tac_manifest_tree(store->manifest, i)->planner;
    }
    tac_store_bar_order(store, &order);
    if (store->is_flush_due) { /* The other compactions of this plan are in. */
        order.is_held = true;
        order.sweep = NULL;
    }
    tac_bar_plan(&store->bar, &order);
    if (store->bar.flush_found_no_room ||
        (store->tight_plan_every > 0 && store->bar_count % store->tight_plan_every == 0)) {
        tac_bar_undo(&store->bar, &order);
        for (uint32_t i = 0; i < trees; i++) {
            tac_manifest_tree(store->manifest, i)->planner = before[i];
        }
        order.is_held = order.is_tight = true;
        order.sweep = NULL;
        tac_bar_plan(&store->bar, &order);
    }
    store->totals.tight_plans += order.is_tight && store->bar.job_count > 0;
}

static void plan_make(struct tactus *store)
{
    struct tac_error error;

    bar_plan(store);
    tac_space_fullness_update(store);
    if (store->bar.flush_found_no_room) {
        /* What space.c keeps should not let it come to this. */
        tac_store_poison(store, TACTUS_EFULL, "no room for the flush of a memtable");
        return;
    }
    if (tac_store_file_grow(store, &error) != TACTUS_OK) {
        tac_store_poison(store, error.code, error.message);
        return;
    }
    tac_plan_report_take(store);
    store->is_planned = true;
    store->granted_bytes = 0;
    tac_atomic_exchange_u64(&store->stages.consumed_bytes, 0);
    tac_stages_grant(&store->stages, 0);
    store->totals.bar_work_bytes = store->bar.bytes;
    tac_atomic_store_release_u64(&store->clock.plan_bytes, store->bar.bytes);
    if (!store->is_flush_due) {
        tac_atomic_fetch_add_u64(&store->clock.plans_made, 1);
    }
    tac_event_count_notify(store->stages.progress, 1);
}

void tac_store_publish_view(struct tactus *store)
{
    uint32_t         index = store->view_next;
    struct tac_view *view = &store->views[index];

    store->view_next = (index + 1) % store->view_count;
    tac_version_fill(store->versions[index], store->manifest, store->bar_count);
    view->bar = store->bar_count;
    view->version = store->versions[index];
    view->mutable_table = store->memtables[store->memtable_mutable];
    view->immutable_table = store->immutable_table;
    tac_read_side_publish(&store->read_side, view);
}

/* Whether readers have found enough in the memtable to look for it in its tables: one get for
 * sixteen of their pages. */
static void memtable_reads_look(struct tactus *store)
{
    uint64_t hits = tac_read_side_totals(&store->read_side).memtable_hits;
    uint64_t pages = tac_memtable_accounted(store->immutable_table) / store->shape.page_size;

    store->stages.memtable_is_read = (hits - store->memtable_hits_before) * 16 > pages;
    store->memtable_hits_before = hits;
}

void tac_store_memtables_swap(struct tactus *store)
{
    uint32_t next = (store->memtable_mutable + 1) % TAC_MEMTABLES;

    tac_memtable_seal(store->memtables[store->memtable_mutable]);
    store->immutable_table = store->memtables[store->memtable_mutable];
    store->immutable_last_op = store->last_op;
    store->beat_called = 0;
    tac_memtable_reset(store->memtables[next]);
    store->memtable_mutable = next;
    memtable_reads_look(store);
    tac_level0_cache_turn(&store->stages.level0_cache, store->bar_count);
}

/* In a drain, when the plan's results are in the manifest and the memtables have not been swapped
 * yet: is everything done, so that only the checkpoint is left? */
static void settled_update(struct tactus *store)
{
    struct tac_bar_order order;
    bool is_settled = tac_memtable_accounted(store->memtables[store->memtable_mutable]) == 0 &&
                      tac_manifest_trees_closing(store->manifest) == 0 &&
                      tac_snapshots_discards_left(store) == 0;

    tac_store_bar_order(store, &order);
    order.immutable_table = NULL;
    order.manual_trees = store->manual_trees; /* Not what a full store adds to them */
    order.sweep = NULL;
    for (uint32_t i = 0; i < tac_manifest_tree_count(store->manifest); i++) {
        is_settled = is_settled && tac_bar_tree_is_settled(&store->bar, &order, i);
    }
    store->bars_settled = is_settled ? store->bars_settled + 1 : 0;
}

static void levels_watch(struct tactus *store)
{
    for (uint32_t i = 0; i < tac_manifest_tree_count(store->manifest); i++) {
        struct tac_manifest_tree *tree = tac_manifest_tree(store->manifest, i);

        for (uint32_t level = 0; level <= tree->planner.last_level; level++) {
            uint32_t depth = tac_manifest_level_depth(&tree->levels[level]);

            store->totals.depth_max = (uint32_t)tac_max_u64(store->totals.depth_max, depth);
        }
    }
}

/* The end of a bar beyond the manifest's change: a checkpoint takes effect, another begins. */
static int bar_end(struct tactus *store, struct tac_error *error)
{
    struct tac_checkpoint *checkpoint = &store->checkpoint;
    bool                   is_due, has_entered, has_begun;

    store->bar_count++;
    store->bars_stuck = store->has_progressed ? 0 : store->bars_stuck + store->has_skipped;
    store->bars_idle = store->has_progressed || store->has_skipped ? 0 : store->bars_idle + 1;
    store->has_progressed = store->has_skipped = false;
    store->totals.bars++;
    store->persisted_op = store->immutable_last_op;
    store->bars_owed -= store->bars_owed > 0;
    tac_ranges_settle(store);
    has_entered = store->ingest_enters;
    if (has_entered) {
        tac_ingest_enter(store);
    }
    tac_snapshots_pin_trees(store);
    tac_manifest_trees_settle(store->manifest, store->persisted_op);
    tac_sweep_bar_end(store);
    tac_checkpoint_effect(store);
    checkpoint->bars_since++;
    if (store->is_draining) {
        settled_update(store);
    }
    is_due = checkpoint->bars_since >= store->shape.checkpoint_interval_bars ||
             store->wants_checkpoint || has_entered || tac_recovery_is_drained(store) ||
             tac_atomic_load_relaxed_u32(&store->fullness) != TAC_NOT_FULL ||
             tac_space_log_is_short(store);
    has_begun = is_due && store->ingest == NULL;
    if (has_begun) {
        if (tac_checkpoint_begin(store, error) != TACTUS_OK) {
            return error->code;
        }
        store->checkpoint_op = checkpoint->next.op_persisted;
    }
    tac_store_memtables_swap(store);
    if (has_begun) {
        tac_ranges_checkpointed(store);
    }
    return TACTUS_OK;
}

/* Readers of views older than the bar that ends may look no more, and the last one must have left
 * before the oldest memtable is emptied. Readers are inside for microseconds (no I/O, no caller's
 * code), unless descheduled: then the processor is given away to them. */
static bool readers_have_left(struct tactus *store)
{
    if (!store->is_expiring) {
        tac_read_side_expire(&store->read_side, store->bar_count + 1);
        store->is_expiring = true;
    }
    if (tac_read_side_quiesced(&store->read_side)) {
        return true;
    }
    sched_yield();
    return false;
}

static void table_gone(void *context, struct tac_table *table)
{
    struct tactus *store = context;

    tac_table_index_let_go(&store->read_side, table);
}

/* False: not yet, something will wake the coordinator. */
static bool plan_end(struct tactus *store)
{
    struct tac_error error;
    bool             is_bar_end = store->half + 1 == store->plans_per_bar;

    if (is_bar_end && !tac_checkpoint_allows_bar_end(store)) {
        store->totals.checkpoint_waits += !store->is_checkpoint_late;
        store->is_checkpoint_late = true;
        return false;
    }
    if (is_bar_end && !TAC_MUTANT(READERS_NOT_AWAITED) && !readers_have_left(store)) {
        return true;
    }
    store->is_checkpoint_late = store->is_expiring = false;
    store->has_progressed |= store->bar.compaction_count > 0;
    store->has_skipped |= store->bar.skipped > 0;
    tac_error_clear(&error);
    if (tac_store_commit_plan(store, &error) != TACTUS_OK ||
        (is_bar_end && !store->is_flush_due && bar_end(store, &error) != TACTUS_OK)) {
        tac_store_poison(store, error.code, error.message);
        return true;
    }
    if (store->is_flush_due) {
        /* The same bar is planned again; its end is still wanted, and old readers have left. */
        store->is_planned = false;
        store->is_expiring = is_bar_end;
        return true;
    }
#ifdef TACTUS_VERIFY
    tac_assert(tac_manifest_check(store->manifest, &error) == TACTUS_OK);
#endif
    tac_store_publish_view(store);
    tac_manifest_limbo_sweep(store->manifest, store->bar_count, table_gone, store);
    if (is_bar_end) {
        tac_caches_bar_end(store);
    }
    levels_watch(store);
    tac_damage_update(&store->damage, store->manifest, store->shape.runs_per_level);
    tac_store_report(store);
    store->half = is_bar_end ? 0 : store->half + 1;
    store->is_planned = false;
    tac_space_fullness_publish(store, is_bar_end);
    tac_atomic_store_release_u64(&store->clock.step, 0);
    tac_atomic_fetch_add_u64(&store->clock.plans_ended, 1);
    tac_event_count_notify(store->stages.progress, 1);
    return true;
}

/* A write that failed has stopped the stages, but its job does not say so: another failure of the
 * job came first, and that one stops nothing. */
static void stop_check(struct tactus *store)
{
    if (tac_stages_are_stopped(&store->stages) && store->seats_busy == 0 &&
        store->checkpoint.outstanding == 0 && !store->paced_sync.is_under_way) {
        tac_store_poison(store, TACTUS_EIO, "a write of a compaction failed");
    }
}

static bool coordinator_turn(struct tactus *store, bool is_paused)
{
    bool progressed = seats_take_back(store);

    progressed |= tac_checkpoint_step(store);
    progressed |= tac_paced_sync_step(store, !is_paused);
    stop_check(store);
    if (tac_store_is_poisoned(store)) {
        return progressed;
    }
    if (!store->is_planned) {
        if (tac_atomic_load_acquire_u32(&store->is_refilling) != 0) {
            return progressed;
        }
        plan_make(store);
        return true;
    }
    if (store->bar.jobs_done == store->bar.job_count && plan_end_is_wanted(store)) {
        return plan_end(store) || progressed;
    }
    progressed |= credit_grant(store, is_paused);
    if (!is_paused || store->granted_bytes > 0) {
        progressed |= jobs_seat(store); /* It begins to read at once. */
    }
    return progressed;
}

bool tac_coordinator_step(void *context)
{
    struct tactus *store = context;
    uint64_t       pauses = tac_atomic_load_acquire_u64(&store->pauses);
    bool           progressed = coordinator_turn(store, pauses % 2 == 1);

    if (pauses != tac_atomic_load_relaxed_u64(&store->pauses_seen)) {
        tac_atomic_store_release_u64(&store->pauses_seen, pauses);
        progressed = true;
    }
    return progressed;
}
