/* SPDX-License-Identifier: Apache-2.0 */
/* writer -- what happens to the thread that writes: room in the memtable, the beat, the waits.
 *
 * Everything here runs under commit_lock. A write may wait for (a) the work granted `lag` beats
 * ago, a quarter of a beat's at a time (pipeline/pacing.h), (b) at a plan's end for the rest of the
 * plan, which by then is as little, and its commit. Nothing else makes a writer wait, but for a
 * checkpoint that is late (counted). */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/mutant.h"
#include "base/units.h"
#include "pipeline/pacing.h"
#include "pipeline/recovery.h"
#include "queues/atomics.h"

#define PAUSE_POLL_NS 50000

static void wait_parked(struct tactus *store, tac_store_condition_fn *condition, uint64_t argument)
{
    struct tac_event_count *progress = store->stages.progress;

    while (!condition(store, argument)) {
        tac_event_count_prepare(progress, 0);
        if (condition(store, argument)) {
            tac_event_count_cancel(progress, 0);
            return;
        }
        tac_event_count_wait(progress, 0);
    }
}

/* Until the condition holds, or the store is poisoned (every condition says true then). */
static void wait_until(struct tactus *store, tac_store_condition_fn *condition, uint64_t argument)
{
    uint64_t begin_ns;

    if (condition(store, argument)) {
        return;
    }
    begin_ns = tac_clock_now_ns();
    if (store->workers.has_threads) {
        tac_coordinator_wake(&store->stages);
        wait_parked(store, condition, argument);
    } else {
        tac_worker_pool_enter(&store->workers, begin_ns);
        while (!condition(store, argument)) {
            /* Work is left and nobody can do any of it: a deadlock of ours. */
            bool progressed = tac_worker_pool_step(&store->workers);

            tac_assert(progressed || condition(store, argument));
        }
    }
    store->waited_ns += tac_clock_now_ns() - begin_ns;
}

/* ---- conditions ----------------------------------------------------------------------------- */

static bool plan_is_made(struct tactus *store, uint64_t plan)
{
    return tac_atomic_load_acquire_u64(&store->clock.plans_made) >= plan ||
           tac_store_is_poisoned(store);
}

static bool plan_is_ended(struct tactus *store, uint64_t plan)
{
    return tac_atomic_load_acquire_u64(&store->clock.plans_ended) >= plan ||
           tac_store_is_poisoned(store);
}

static bool work_is_consumed(struct tactus *store, uint64_t bytes)
{
    return tac_atomic_fetch_add_u64(&store->stages.consumed_bytes, 0) >= bytes ||
           tac_store_is_poisoned(store);
}

static bool op_is_durable(struct tactus *store, uint64_t op)
{
    return tac_atomic_load_acquire_u64(&store->durable_op) >= op || tac_store_is_poisoned(store);
}

static bool checkpoint_is_idle(struct tactus *store, uint64_t unused)
{
    (void)unused;
    return tac_atomic_load_acquire_u32(&store->is_checkpointing) == 0 ||
           tac_store_is_poisoned(store);
}

/* ---- beats ---------------------------------------------------------------------------------- */

static int poisoned(struct tactus *store, struct tac_error *error)
{
    return tac_error_set(error, TACTUS_EPOISONED, "writing has stopped: %s",
                         store->poison_error.message);
}

static uint64_t steps_per_bar(const struct tactus *store)
{
    return (uint64_t)store->shape.beats_per_bar * TAC_PACING_STEPS_PER_BEAT;
}

static uint64_t steps_per_plan(const struct tactus *store)
{
    return (uint64_t)store->beats_per_plan * TAC_PACING_STEPS_PER_BEAT;
}

/* The step within the bar: what the memtable's fill says, or the host, whichever is further. */
static uint64_t step_now(const struct tactus *store)
{
    const struct tac_memtable *memtable = store->memtables[store->memtable_mutable];
    uint64_t                   step =
        tac_memtable_accounted(memtable) * steps_per_bar(store) / store->shape.memtable_size;
    uint64_t called = store->beat_called * TAC_PACING_STEPS_PER_BEAT;

    return tac_min_u64(tac_max_u64(step, called), steps_per_bar(store) - 1);
}

void tac_writer_plan_wait(struct tactus *store)
{
    wait_until(store, plan_is_made, tac_atomic_load_relaxed_u64(&store->clock.plans_ended) + 1);
}

/* Work that must be done before a write in this step of the plan goes on. */
static uint64_t bytes_required(struct tactus *store, uint64_t step)
{
    if (step / TAC_PACING_STEPS_PER_BEAT < store->shape.lag_beats + TAC_PACING_PLAN_BEATS) {
        return 0;
    }
    tac_writer_plan_wait(store);
    return tac_pacing_required(tac_atomic_load_acquire_u64(&store->clock.plan_bytes), step,
                               store->beats_per_plan, store->shape.lag_beats);
}

/* Waits until the work of earlier beats is done. */
static void lag_wait(struct tactus *store, uint64_t step)
{
    uint64_t required = bytes_required(store, step);

    if (required == 0) {
        return;
    }
    tac_atomic_exchange_u64(&store->stages.consumed_target, required);
    wait_until(store, work_is_consumed, required);
    tac_atomic_exchange_u64(&store->stages.consumed_target, 0);
}

int tac_writer_end_plan(struct tactus *store, struct tac_error *error)
{
    uint64_t plan = tac_atomic_load_relaxed_u64(&store->clock.plans_ended) + 1;

    tac_atomic_exchange_u64(&store->clock.plans_wanted, plan);
    tac_coordinator_wake(&store->stages);
    wait_until(store, plan_is_ended, plan);
    return tac_store_is_poisoned(store) ? poisoned(store, error) : TACTUS_OK;
}

int tac_writer_end_bar(struct tactus *store, struct tac_error *error)
{
    do {
        if (tac_writer_end_plan(store, error) != TACTUS_OK) {
            return error->code;
        }
    } while (store->half != 0);
    return TACTUS_OK;
}

/* Moves the clock to where the bar is; a beat that begins is told to the coordinator, which grants
 * its quota. */
static int step_advance(struct tactus *store, struct tac_error *error)
{
    uint64_t step = step_now(store);
    uint64_t before;

    /* With two plans a bar the first one ends in the middle. */
    while (step >= (store->half + 1) * steps_per_plan(store) &&
           store->half + 1 < store->plans_per_bar) {
        if (tac_writer_end_plan(store, error) != TACTUS_OK) {
            return error->code;
        }
    }
    step -= store->half * steps_per_plan(store);
    before = tac_atomic_load_relaxed_u64(&store->clock.step);
    if (step == before) {
        return TACTUS_OK;
    }
    tac_assert(step > before && step < steps_per_plan(store));
    tac_atomic_exchange_u64(&store->clock.step, step);
    if (step / TAC_PACING_STEPS_PER_BEAT != before / TAC_PACING_STEPS_PER_BEAT) {
        tac_coordinator_wake(&store->stages);
    }
    lag_wait(store, step);
    return tac_store_is_poisoned(store) ? poisoned(store, error) : TACTUS_OK;
}

/* ---- pause ---------------------------------------------------------------------------------- */

bool tac_store_is_paused(const struct tactus *store)
{
    return tac_atomic_load_acquire_u64(&store->pauses) % 2 == 1;
}

/* Begins a pause or ends it, if that is not so already; returns the number of it. */
static uint64_t pauses_count(struct tactus *store, bool is_pause, bool *ret_is_new)
{
    uint64_t count = tac_atomic_load_acquire_u64(&store->pauses);

    *ret_is_new = false;
    while ((count % 2 == 1) != is_pause && !*ret_is_new) {
        *ret_is_new = tac_atomic_compare_exchange_u64(&store->pauses, &count, count + 1);
        count += *ret_is_new;
    }
    return count;
}

void tac_writer_resume(struct tactus *store)
{
    bool is_new;

    (void)pauses_count(store, false, &is_new);
    if (is_new) {
        pthread_mutex_lock(&store->workers_lock);
        tac_coordinator_wake(&store->stages);
        pthread_mutex_unlock(&store->workers_lock);
    }
}

/* The credit follows the pause; or that is over already. */
static bool is_pause_seen(struct tactus *store, uint64_t pause)
{
    return tac_atomic_load_acquire_u64(&store->pauses_seen) >= pause ||
           tac_atomic_load_acquire_u64(&store->pauses) != pause || tac_store_is_poisoned(store);
}

/* From the count on writes are refused that would have to wait; whoever waits already has
 * commit_lock. So once that is ours the credit is all there is to see to. */
int tac_writer_pause(struct tactus *store, struct tac_error *error)
{
    const struct timespec rest = {0, PAUSE_POLL_NS};
    bool                  is_new;
    uint64_t              pause = pauses_count(store, true, &is_new);

    pthread_mutex_lock(&store->commit_lock);
    if (!store->workers.has_threads) {
        tac_worker_pool_enter(&store->workers, tac_clock_now_ns());
    }
    while (!is_pause_seen(store, pause)) { /* The coordinator's next step does it. */
        if (store->workers.has_threads) {
            tac_coordinator_wake(&store->stages);
            nanosleep(&rest, NULL);
        } else {
            (void)tac_worker_pool_step(&store->workers);
        }
    }
    pthread_mutex_unlock(&store->commit_lock);
    if (tac_store_is_poisoned(store)) {
        tac_writer_resume(store);
        return poisoned(store, error);
    }
    return TACTUS_OK;
}

static int paused(struct tac_error *error)
{
    return tac_error_set(error, TACTUS_EPAUSED,
                         "compaction is paused, and this would have to wait for it: call "
                         "tactus_resume, then do it again");
}

int tac_writer_pause_check(struct tactus *store, struct tac_error *error)
{
    return tac_store_is_paused(store) && !tac_store_is_poisoned(store) ? paused(error) : TACTUS_OK;
}

/* Whether an op in this step of the bar would wait for flushes and compactions: in a pause that
 * would be for ever. No op ends a plan in a pause. */
static bool step_would_wait(struct tactus *store, uint64_t step)
{
    if (tac_recovery_is_refilling(store)) {
        return false; /* It begins no step. */
    }
    if (step >= (store->half + 1) * steps_per_plan(store)) {
        return true;
    }
    step -= store->half * steps_per_plan(store);
    return step != tac_atomic_load_relaxed_u64(&store->clock.step) &&
           !work_is_consumed(store, bytes_required(store, step));
}

/* The same of a write of so many bytes. */
static bool would_wait(struct tactus *store, uint64_t accounted_bytes)
{
    return !tac_memtable_fits(store->memtables[store->memtable_mutable], accounted_bytes) ||
           step_would_wait(store, step_now(store));
}

/* ---- ops ------------------------------------------------------------------------------------ */

/* What keeps every op from being taken. */
static int store_check(struct tactus *store, struct tac_error *error)
{
    if (tac_storage_is_forked(store->storage)) {
        return tac_error_set(error, TACTUS_EFORKED,
                             "the store was opened by the parent process, which goes on with it");
    }
    return tac_store_is_poisoned(store) ? poisoned(store, error) : TACTUS_OK;
}

static int op_check(struct tactus *store, uint64_t accounted_bytes, bool has_puts,
                    struct tac_error *error)
{
    if (store_check(store, error) != TACTUS_OK) {
        return error->code;
    }
    if (accounted_bytes > store->shape.memtable_size / 4) {
        return tac_error_set(error, TACTUS_EBATCHSIZE,
                             "batch of %llu accounted bytes; at most %llu (a quarter of the "
                             "memtable): split it",
                             (unsigned long long)accounted_bytes,
                             (unsigned long long)store->shape.memtable_size / 4);
    }
    if (!tac_recovery_is_refilling(store) && store->last_op + 1 != store->crossing_op &&
        tac_atomic_load_acquire_u32(&store->fullness) >
            (uint32_t)(has_puts ? TAC_NOT_FULL : TAC_FULL_FOR_PUTS)) {
        return tac_atomic_load_acquire_u32(&store->is_full_of_tables) != 0
                   ? tac_error_set(error, TACTUS_EFULL,
                                   "the store has nearly as many tables as tables_max, %u, allows: "
                                   "open it with a larger one",
                                   store->options.tables_max)
                   : tac_error_set(error, TACTUS_EFULL,
                                   "the store has reached its file_size_max of %llu bytes: drop "
                                   "trees and drain, or delete records, then compact",
                                   (unsigned long long)store->shape.file_size_max);
    }
    return TACTUS_OK;
}

int tac_writer_put_check(struct tactus *store, struct tac_error *error)
{
    int result = op_check(store, 0, true, error);

    /* A replay: there was room for it. */
    return result == TACTUS_EFULL && store->is_replaying ? TACTUS_OK : result;
}

static void wait_count(struct tactus *store, uint64_t waited_ns)
{
    uint64_t waited_us = tac_div_ceil(waited_ns, 1000);
    uint32_t bucket = waited_us <= 1 ? 0 : 64 - (uint32_t)__builtin_clzll(waited_us - 1);

    store->waits++;
    store->wait_ns_total += waited_ns;
    store->wait_ns_max = tac_max_u64(store->wait_ns_max, waited_ns);
    store->wait_buckets[tac_min_u64(bucket, TACTUS_WAIT_BUCKETS - 1)]++;
    if (waited_ns >= tac_atomic_load_relaxed_u64(&store->events.wait_ns_min)) {
        tac_events_add(&store->events,
                       &(struct tactus_event){
                           .kind = TACTUS_EVENT_WAIT,
                           .duration_ns = waited_ns,
                           .op = store->last_op + 1,
                       },
                       0);
    }
}

int tac_writer_begin(struct tactus *store, uint64_t accounted_bytes, bool has_puts,
                     struct tac_error *error)
{
    int result = op_check(store, accounted_bytes, has_puts, error);

    store->waited_ns = 0;
    if (tac_store_is_paused(store) && !store->has_made_room &&
        ((result == TACTUS_EFULL && (!has_puts || store->is_replaying)) ||
         (result == TACTUS_OK && would_wait(store, accounted_bytes)))) {
        return paused(error);
    }
    /* Deletes go on in a full store: bars are ended until compactions have made room, or cannot. */
    for (uint32_t i = 0; result == TACTUS_EFULL && (!has_puts || store->is_replaying) &&
                         i < store->shape.checkpoint_interval_bars + 8;
         i++) {
        store->has_made_room = true;
        result = tac_writer_end_bar(store, error);
        if (result == TACTUS_OK) {
            result = op_check(store, accounted_bytes, has_puts, error);
        }
    }
    if (result == TACTUS_EFULL && store->is_replaying) {
        result = TACTUS_OK; /* There was room for it: an acknowledged op is not given up. */
    }
    if (TAC_MUTANT(REFUSAL_TAKES_OP) && result == TACTUS_EFULL) {
        store->last_op++;
    }
    if (result == TACTUS_OK && tac_recovery_is_refilling(store)) {
        tac_recovery_refill_room(store, accounted_bytes);
        if (tac_recovery_is_refilling(store)) {
            return TACTUS_OK;
        }
    }
    if (result == TACTUS_OK &&
        !tac_memtable_fits(store->memtables[store->memtable_mutable], accounted_bytes)) {
        store->is_let_in = true;
        result = tac_writer_end_bar(store, error);
        store->is_let_in = false;
    }
    if (result == TACTUS_OK) {
        result = step_advance(store, error);
    }
    if (store->waited_ns > 0) {
        wait_count(store, store->waited_ns);
    }
    return result;
}

void tac_writer_end(struct tactus *store)
{
    tac_assert(store->last_op > tac_atomic_load_relaxed_u64(&store->read_side.visible_op));
    tac_atomic_store_release_u64(&store->read_side.visible_op, store->last_op);
    if (store->last_op >= store->resumed_op) {
        store->resumed_op = 0;
    }
    tac_recovery_refill_advance(store);
}

/* ---- control ops ---------------------------------------------------------------------------- */

int tac_writer_rest(struct tactus *store, struct tac_error *error)
{
    int result = store_check(store, error);

    if (result != TACTUS_OK || tac_recovery_is_refilling(store)) {
        return result;
    }
    tac_writer_plan_wait(store);
    return store_check(store, error);
}

void tac_writer_control_op(struct tactus *store)
{
    store->last_op++;
    tac_writer_end(store);
}

int tac_writer_control(struct tactus *store, const struct tac_wal_entry *entry,
                       struct tac_error *error)
{
    int result = tac_writer_rest(store, error);

    if (result == TACTUS_OK) {
        result = tac_wal_append(&store->wal, entry, error);
    }
    if (result == TACTUS_OK) {
        tac_writer_control_op(store);
    }
    return result;
}

int tac_writer_nothing(struct tactus *store, struct tac_error *error)
{
    const struct tac_wal_entry entry = {.kind = TAC_WAL_NOTHING, .is_last = true};
    int                        result = store_check(store, error);

    if (result == TACTUS_OK) {
        result = tac_wal_append(&store->wal, &entry, error);
    }
    if (result == TACTUS_OK) {
        tac_writer_control_op(store);
    }
    return result;
}

/* A bar's last beat: its checkpoint says that the op has run, so the log has it first. */
static int last_beat_end(struct tactus *store, struct tac_error *error)
{
    int result = tac_wal_committed(&store->wal, store->last_op, error);

    return result == TACTUS_OK ? tac_writer_end_bar(store, error) : result;
}

int tac_writer_beat(struct tactus *store, struct tac_error *error)
{
    const struct tac_wal_entry entry = {.kind = TAC_WAL_BEAT, .is_last = true};
    /* Before the checkpoint */
    bool     had_run = tac_recovery_is_refilling(store) && !TAC_MUTANT(BEAT_AGAIN);
    uint64_t beat = step_now(store) / TAC_PACING_STEPS_PER_BEAT + 1;
    int      result = store_check(store, error);

    store->waited_ns = 0;
    if (result == TACTUS_OK && tac_store_is_paused(store) &&
        step_would_wait(store, beat * TAC_PACING_STEPS_PER_BEAT)) {
        return paused(error);
    }
    if (result == TACTUS_OK) {
        result = tac_wal_append(&store->wal, &entry, error);
    }
    if (result != TACTUS_OK) {
        return result;
    }
    tac_writer_control_op(store);
    if (!had_run && beat == store->shape.beats_per_bar) {
        result = last_beat_end(store, error);
    } else if (!had_run) {
        store->beat_called = beat;
        result = step_advance(store, error);
    }
    if (store->waited_ns > 0) {
        wait_count(store, store->waited_ns);
    }
    return result;
}

/* An op that ends bars until it is done. *ret_is_resumed: a checkpoint found it under way. */
static int control_begin(struct tactus *store, const struct tac_wal_entry *entry,
                         bool *ret_is_resumed, struct tac_error *error)
{
    uint64_t op = store->last_op + 1;

    *ret_is_resumed = store->resumed_op == op;
    /* Its checkpoints say that it is to go on: so the log has it first. */
    if (tac_writer_control(store, entry, error) != TACTUS_OK ||
        tac_wal_committed(&store->wal, op, error) != TACTUS_OK) {
        return error->code;
    }
    store->control_op = op;
    if (*ret_is_resumed) {
        /* The memtables have been swapped since it was taken. */
        store->immutable_last_op = op;
    }
    return TACTUS_OK;
}

static void control_end(struct tactus *store)
{
    tac_writer_plan_wait(store);
    store->control_op = 0;
    store->wants_checkpoint = store->is_draining = store->is_flushing = false;
    store->manual_trees = 0;
}

/* Ends bars until a checkpoint with the op has begun. */
static int checkpoint_begin(struct tactus *store, uint64_t op, struct tac_error *error)
{
    int result = TACTUS_OK;

    store->wants_checkpoint = true;
    /* The first end makes the op's records immutable, the second one flushes them and begins the
     * checkpoint, if none is in the way. */
    while (result == TACTUS_OK && store->checkpoint_op < op) {
        result = tac_writer_end_bar(store, error);
    }
    return result;
}

int tac_writer_durable_wait(struct tactus *store, uint64_t op, struct tac_error *error)
{
    wait_until(store, op_is_durable, op);
    return tac_store_is_poisoned(store) ? poisoned(store, error) : TACTUS_OK;
}

int tac_writer_mark(struct tactus *store, struct tac_error *error)
{
    int result;

    pthread_mutex_lock(&store->commit_lock);
    tac_writer_plan_wait(store);
    store->wants_checkpoint = true;
    result = tac_writer_end_bar(store, error);
    tac_writer_plan_wait(store);
    store->wants_checkpoint = false;
    if (result == TACTUS_OK) {
        wait_until(store, checkpoint_is_idle, 0);
        result = tac_store_is_poisoned(store) ? poisoned(store, error) : TACTUS_OK;
    }
    pthread_mutex_unlock(&store->commit_lock);
    return result;
}

bool tac_writer_is_checkpointed(struct tactus *store, uint64_t op)
{
    return op_is_durable(store, op);
}

bool tac_writer_checkpoint_wait(struct tactus *store, uint64_t op)
{
    wait_until(store, checkpoint_is_idle, 0);
    return op_is_durable(store, op);
}

int tac_writer_quiet(struct tactus *store, struct tac_error *error)
{
    if (!tac_recovery_is_refilling(store)) {
        tac_writer_plan_wait(store);
    }
    wait_until(store, checkpoint_is_idle, 0);
    return tac_store_is_poisoned(store) ? poisoned(store, error) : TACTUS_OK;
}

int tac_writer_checkpoint(struct tactus *store, struct tac_error *error)
{
    const struct tac_wal_entry entry = {.kind = TAC_WAL_CHECKPOINT, .is_last = true};
    bool                       is_resumed;
    int                        result;

    if (tac_recovery_is_refilling(store)) {
        return tac_writer_control(store, &entry, error); /* It had run before the checkpoint */
    }
    result = control_begin(store, &entry, &is_resumed, error);
    if (result == TACTUS_OK) {
        result = checkpoint_begin(store, store->last_op, error);
        control_end(store);
    }
    return result == TACTUS_OK ? tac_writer_durable_wait(store, store->last_op, error) : result;
}

int tac_writer_range_step(struct tactus *store, struct tac_error *error)
{
    static const uint8_t       value = TAC_WAL_RANGE_STEP;
    const struct tac_wal_entry entry = {
        .kind = TAC_WAL_RANGE, .is_last = true, .value = {&value, sizeof value}};
    bool had_run = tac_recovery_is_refilling(store); /* Before the checkpoint */
    int  result = tac_writer_control(store, &entry, error);

    if (result == TACTUS_OK && !had_run) {
        /* The bar's checkpoint says that it has run: so the log has it first. */
        result = tac_wal_committed(&store->wal, store->last_op, error);
    }
    if (result == TACTUS_OK && !had_run) {
        result = tac_writer_end_bar(store, error);
    }
    return result;
}

/* A plan's work takes some hundred times that. */
#define HURRY_POLL_NS 1000000

static bool hurry_is_over(struct tactus *store, uint64_t plan)
{
    return tac_store_is_paused(store) || tac_store_is_poisoned(store) ||
           tac_atomic_load_acquire_u32(&store->is_refilling) != 0 ||
           tac_atomic_load_acquire_u64(&store->clock.plans_ended) >= plan ||
           (plan_is_made(store, plan) &&
            work_is_consumed(store, tac_atomic_load_acquire_u64(&store->clock.plan_bytes)));
}

/* Some of the work, or of the wait for others that do it. */
static void hurry_step(struct tactus *store)
{
    const struct timespec rest = {0, HURRY_POLL_NS};
    bool                  has_threads;

    pthread_mutex_lock(&store->commit_lock);
    has_threads = store->workers.has_threads;
    if (has_threads) {
        tac_coordinator_wake(&store->stages);
    } else {
        tac_worker_pool_enter(&store->workers, tac_clock_now_ns());
        (void)tac_worker_pool_step(&store->workers);
    }
    pthread_mutex_unlock(&store->commit_lock);
    if (has_threads) {
        nanosleep(&rest, NULL);
    }
}

void tac_writer_hurry(struct tactus *store)
{
    uint64_t plan = tac_atomic_load_acquire_u64(&store->clock.plans_ended) + 1;

    tac_atomic_fetch_add_u32(&store->hurries, 1);
    while (!hurry_is_over(store, plan)) {
        hurry_step(store);
    }
    tac_atomic_fetch_add_u32(&store->hurries, UINT32_MAX); /* One less */
}

int tac_writer_snapshot(struct tactus *store, const struct tac_snapshot_order *order,
                        struct tac_error *error)
{
    const struct tac_wal_entry entry = {
        .kind = order->kind == TAC_SNAPSHOT_TAKE ? TAC_WAL_SNAPSHOT : TAC_WAL_RELEASE,
        .is_last = true,
        .key = {(const uint8_t *)order->name, (uint32_t)strlen(order->name)},
    };
    bool is_resumed;
    int  result = control_begin(store, &entry, &is_resumed, error);

    if (result != TACTUS_OK) {
        return result;
    }
    store->snapshots.order = *order;
    store->snapshots.order.op = store->last_op;
    result = checkpoint_begin(store, store->last_op, error);
    control_end(store);
    return result == TACTUS_OK ? tac_writer_durable_wait(store, store->last_op, error) : result;
}

static bool memtables_are_empty(const struct tactus *store)
{
    return tac_memtable_accounted(store->immutable_table) == 0 &&
           tac_memtable_accounted(store->memtables[store->memtable_mutable]) == 0;
}

/* What is compacted whole is flushed first: else its last level would be written once for every
 * memtable that is still to come. */
static int drain_flush(struct tactus *store, struct tac_error *error)
{
    int result = TACTUS_OK;

    store->is_flushing = !memtables_are_empty(store);
    while (result == TACTUS_OK && store->is_flushing) {
        result = tac_writer_end_bar(store, error);
        tac_writer_plan_wait(store);
        store->is_flushing = !memtables_are_empty(store);
    }
    return result;
}

/* Bars of a drain in which nothing may be done: what was in the memtables has come to tables after
 * two of them. */
#define DRAIN_IDLE_BARS_MAX 4

/* A drain that cannot come to its end says why. */
static int drain_check(struct tactus *store, struct tac_error *error)
{
    if (store->bars_stuck > store->shape.checkpoint_interval_bars + 4) {
        return tac_error_set(error, TACTUS_EFULL,
                             "no room to compact: the store is near its file_size_max of %llu "
                             "bytes, or its tables_max of %u",
                             (unsigned long long)store->shape.file_size_max,
                             store->options.tables_max);
    }
    if (store->bars_idle <= DRAIN_IDLE_BARS_MAX || store->bars_settled > 0) {
        return TACTUS_OK;
    }
    if (tac_damage_name(&store->damage, store->manifest, store->manual_trees, error) != TACTUS_OK ||
        tac_damage_name(&store->damage, store->manifest, UINT64_MAX, error) != TACTUS_OK) {
        return tac_error_wrap(error, "not all could be compacted, but all is durable");
    }
    return tac_error_set(error, TACTUS_ECORRUPT,
                         "tables cannot be compacted, and levels stay above their size: all that "
                         "was written is durable; tactus_verify names what is damaged");
}

/* Empty bars with full credit until nothing is due; the last of them begins the checkpoint. */
int tac_writer_drain(struct tactus *store, uint64_t manual_trees, struct tac_error *error)
{
    const struct tac_wal_entry entry = {
        .kind = manual_trees != 0 ? TAC_WAL_COMPACT : TAC_WAL_DRAIN,
        .is_last = true,
        .tree = manual_trees != 0 ? (uint32_t)__builtin_ctzll(manual_trees) : 0,
    };
    bool is_resumed;
    int  result;

    if (tac_recovery_is_refilling(store)) {
        return tac_writer_control(store, &entry, error); /* It had run before the checkpoint */
    }
    result = control_begin(store, &entry, &is_resumed, error);
    if (result != TACTUS_OK) {
        return result;
    }
    store->is_draining = true;
    store->is_held = false;
    store->manual_trees = manual_trees;
    if (!is_resumed) {
        store->bars_stuck = store->bars_settled = 0;
    }
    store->bars_idle = 0;
    if (manual_trees != 0) {
        result = drain_flush(store, error);
    }
    while (result == TACTUS_OK && store->checkpoint_op < store->control_op) {
        result = drain_check(store, error);
        if (result == TACTUS_OK) {
            result = tac_writer_end_bar(store, error);
        }
    }
    if (result == TACTUS_EFULL || result == TACTUS_ECORRUPT) {
        /* Compacted or not, what was written is in tables: it can be made durable. */
        struct tac_error later;

        tac_writer_plan_wait(store);
        store->is_draining = false;
        store->manual_trees = 0;
        if (checkpoint_begin(store, store->control_op, &later) != TACTUS_OK) {
            *error = later;
            result = later.code;
        }
    }
    control_end(store);
    if (result == TACTUS_OK || result == TACTUS_EFULL || result == TACTUS_ECORRUPT) {
        struct tac_error later;

        if (tac_writer_durable_wait(store, store->last_op, &later) != TACTUS_OK) {
            *error = later;
            result = later.code;
        }
    }
    return result;
}
