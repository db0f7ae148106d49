/* SPDX-License-Identifier: Apache-2.0 */
/* store_sim -- runs a list of ops on a store and on its model at once. */
#include "tests/sim/store_sim.h"

#include <stdarg.h>
#include <stdlib.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/units.h"
#include "queues/atomics.h"

#define OPEN_TRIES_MAX 20
/* By which the scrub's clock goes on whenever it looks: about the time that a block has when a day
 * is to be enough for a round. */
#define SCRUB_CLOCK_STEP_NS (100 * (uint64_t)TAC_SECOND_NS)
#define SCRUB_STEPS 4 /* After an op */

void sim_fail(struct sim *sim, const char *format, ...)
{
    char   *message = sim->report->message;
    size_t  used;
    va_list arguments;

    used = (size_t)snprintf(message, SIM_MESSAGE_BYTES, "op %u: ", sim->op_index);
    va_start(arguments, format);
    vsnprintf(message + used, SIM_MESSAGE_BYTES - used, format, arguments);
    va_end(arguments);
    if (sim->log != NULL) {
        fprintf(sim->log, "# FAILED at %s\n", message);
        fflush(sim->log);
    }
    if (sim->report->aborts) {
        fprintf(stderr, "%s\n", message);
        abort();
    }
    _exit(1);
}

static void observe(void *context)
{
    struct sim *sim = context;

    if (sim->store != NULL) {
        marks_observe(&sim->report->marks, sim->store);
    }
}

/* ---- open and close ------------------------------------------------------------------------- */

static void iterators_close(struct sim *sim)
{
    for (uint32_t i = 0; i < SIM_ITERATORS; i++) {
        tactus_iterator_close(sim->iterators[i].iterator);
        sim->iterators[i].iterator = NULL;
    }
    sim_snapshots_close(sim);
}

static void store_create(struct sim *sim)
{
    struct tac_storage *storage;
    struct tac_error    error;

    if (sim_disk_open(&sim->disk, &storage, &error) != TACTUS_OK ||
        tac_store_create(storage, &sim->world->options, &error) != TACTUS_OK) {
        sim_fail(sim, "create: %d %s", error.code, error.message);
    }
    storage->ops->close(storage);
}

/* What is free at an open changes from open to open. The power may go out in here, more than
 * once. */
static void store_open(struct sim *sim)
{
    const struct tac_log_place place = {sim_disk_log_open, sim_disk_log_remove, &sim->disk};

    struct tactus_options options = sim->world->options;
    struct tac_stepping   stepping = sim->world->stepping;
    struct tac_storage   *storage;
    struct tac_error      error = {0};

    stepping.seed = tac_prng_next(&sim->prng) | 1;
    stepping.tight_plan_every = sim->world->tight_plan_every;
    sim_superblock_spoil(sim);
    for (uint32_t i = 0; i < OPEN_TRIES_MAX; i++) {
        sim_rate_open(sim);
        sim_logger_set(sim, &options);
        if (sim_disk_open(&sim->disk, &storage, &error) != TACTUS_OK) {
            sim_fail(sim, "open of the disk: %d %s", error.code, error.message);
        }
        if (tac_store_open_in(sim->pool.pool, storage, &options, &stepping, &place, &sim->store,
                              &error) != TACTUS_OK) {
            storage->ops->close(storage);
            sim_logger_failed(sim, &error);
            sim_open_failed(sim, &error);
        } else if (sim->faults.has_stopped) {
            tac_store_abandon(sim->store);
            sim->store = NULL; /* Nothing to be observed while the next try runs */
            sim_open_failed(sim, &error);
        } else {
            sim_faults_heal(&sim->faults);
            sim_superblock_check(sim);
            sim->bar_checked = sim->store->bar_count;
            sim->is_paused = false;
            sim_events_begin(sim);
            return;
        }
    }
    sim_fail(sim, "open: %d %s", error.code, error.message);
}

static void store_abandon(struct sim *sim)
{
    marks_finish(&sim->report->marks, sim->store);
    sim->report->bars += sim->store->totals.bars;
    iterators_close(sim);
    tac_store_abandon(sim->store);
    sim->store = NULL;
}

uint64_t sim_in_flight_op(const struct sim *sim)
{
    const struct tac_checkpoint *checkpoint = &sim->store->checkpoint;
    bool                         is_in_flight = checkpoint->state == TAC_CHECKPOINT_SUPERBLOCK ||
                        checkpoint->state == TAC_CHECKPOINT_ROOT_SYNC;

    return is_in_flight ? checkpoint->next.op_persisted : checkpoint->durable.op_persisted;
}

/* The ops after the checkpoint are done again. */
static void replay(struct sim *sim, uint64_t durable_op, uint64_t other_op)
{
    uint64_t op = tactus_replay_op(sim->store);
    /* The log has brought back all that was durable; with a log in each write, all there was. */
    bool is_right = sim->world->options.log == TACTUS_LOG_HOST
                        ? op == durable_op + 1 || op == other_op + 1
                        : op > durable_op &&
                              (sim->world->options.log != TACTUS_LOG_SYNC || op > sim->model->op);

    if (!is_right) {
        sim_fail(sim, "opened at op %llu of %llu, should be %llu or %llu",
                 (unsigned long long)(op - 1), (unsigned long long)sim->model->op,
                 (unsigned long long)durable_op, (unsigned long long)other_op);
    }
    sim->report->marks.count[MARK_LOG_REPLAYED] +=
        op - 1 > sim->store->checkpoint.durable.op_compacted && sim->store->wal.storage != NULL;
    sim->report->marks.count[MARK_LOG_LOSS] += op <= sim->model->op;
    sim->report->marks.count[MARK_REFILLED] += sim->store->refill_until > 0;
    sim->report->marks.count[MARK_RESUMED] += sim->store->resumed_op > 0;
    sim->report->marks.count[MARK_RANGE_RESUMED] +=
        sim->store->checkpoint.durable.control.sweep.op > 0;
    sim->durable_op = op - 1;
    sim_log_redo(sim, op);
    tactus_replay_end(sim->store);
    sim_check_replayed(sim);
}

/* Power cut or kill: takes the store down and comes back. */
void sim_recover(struct sim *sim)
{
    uint64_t durable_op, other_op;
    bool     has_refused = sim->store->wal.storage != NULL &&
                       sim->log_ops.refused_op > sim->store->checkpoint.next.op_compacted;

    if (sim->faults.has_stopped && !sim->disk.has_crashed) {
        sim_check_stopped(sim);
    }
    durable_op = tactus_durable_op(sim->store);
    other_op = sim_in_flight_op(sim);
    /* A drain that failed has its number all the same. */
    if (!sim_is_logged(sim)) {
        sim->model->op = tac_max_u64(sim->model->op, tactus_last_op(sim->store));
    }
    sim->is_cut_ingest = false;
    sim->report->marks.count[MARK_INGEST_OWING] +=
        sim_is_logged(sim) && sim->store->checkpoint.durable.control.bars_owed > 0;
    sim_stopped_cut(sim);
    store_abandon(sim);
    sim_recovery_arm(sim);
    sim->disk.requests_left = SIM_DISK_NEVER;
    if (tac_prng_below(&sim->prng, 2) == 0) {
        sim->disk.requests_left = tac_prng_below(&sim->prng, 4);
    }
    store_open(sim);
    sim->disk.requests_left = SIM_DISK_NEVER;
    sim->has_recovered = true;
    sim->report->marks.count[MARK_REFUSED_REPLAYED] +=
        has_refused && tactus_last_op(sim->store) >= sim->log_ops.refused_op;
    sim->report->marks.count[MARK_DELETE_RANGE_RECOVERED] +=
        tac_manifest_range_count(sim->store->manifest) > 0;
    sim->report->recoveries++;
    if (sim_is_logged(sim)) {
        replay(sim, durable_op, other_op);
    } else {
        sim_check_reopened(sim, durable_op, other_op, false);
    }
}

static void run_reopen(struct sim *sim)
{
    struct tac_error error;
    uint64_t         durable_op = tactus_durable_op(sim->store);
    uint64_t         other_op = sim_in_flight_op(sim);
    bool             is_whole;
    int              result;

    iterators_close(sim);
    marks_finish(&sim->report->marks, sim->store);
    sim->report->bars += sim->store->totals.bars;
    result = tac_store_close(sim->store, &error);
    sim->store = NULL;
    if (sim_is_logged(sim)) {
        if (result != TACTUS_OK && !sim_is_down(sim)) {
            sim_fail(sim, "close: %d %s", result, error.message);
        }
        sim->disk.requests_left = SIM_DISK_NEVER;
        sim_faults_heal(&sim->faults);
        store_open(sim);
        replay(sim, durable_op, other_op);
        return;
    }
    sim->model->op++; /* The close is a drain, a drain is an op. */
    is_whole = result == TACTUS_OK || (result == TACTUS_EFULL && sim->world->is_small);
    if (!is_whole && !sim_is_down(sim)) {
        sim_fail(sim, "close: %d %s", result, error.message);
    }
    sim->disk.requests_left = SIM_DISK_NEVER;
    sim_faults_heal(&sim->faults);
    store_open(sim);
    sim_check_reopened(sim, is_whole ? sim->model->op : durable_op, sim->model->op, true);
}

/* ---- writing -------------------------------------------------------------------------------- */

static void tree_create(struct sim *sim, uint32_t number)
{
    const struct store_model_tree *tree = &sim->model->trees[number];
    bool                           exists = tree->created_op != STORE_MODEL_NEVER;
    int result = sim_log_do(sim, SIM_RECORD_TREE_CREATE, number, false, NULL, 0);

    if (exists) {
        if (result != TACTUS_EEXISTS && !sim_is_down(sim)) {
            sim_fail(sim, "tree create: %d, the tree exists", result);
        }
        return;
    }
    sim->report->marks.count[MARK_TREE_NUMBER_AGAIN] +=
        result == TACTUS_OK && tree->id != tac_tree_number(tree->id);
    if (result != TACTUS_EOPTION || !sim->world->is_small) { /* A file too small for such records */
        (void)sim_result(sim, result, "tree create");
    }
}

/* From then on nobody knows the id. */
static void tree_drop(struct sim *sim, uint32_t number)
{
    struct store_model_tree *tree = &sim->model->trees[number];
    uint32_t                 id = tree->id;
    int                      result = sim_log_do(sim, SIM_RECORD_TREE_DROP, number, false, NULL, 0);

    if (!sim_result(sim, result, "tree drop") || tree->created_op != STORE_MODEL_NEVER) {
        return;
    }
    sim->report->marks.count[MARK_TREE_DROPPED]++;
    result = tactus_get(sim->store, id, tree->keys[0].bytes, tree->keys[0].size, NULL, 0, NULL);
    if (result != TACTUS_ENOTREE || tactus_tree_drop(sim->store, id) != TACTUS_ENOTREE) {
        sim_fail(sim, "tree %u was dropped, and is there: %d", number, result);
    }
}

/* A tree that a crash took back is made again when somebody writes to it. */
static bool tree_is_there(struct sim *sim, const struct sim_op *op)
{
    struct store_model_tree *tree = &sim->model->trees[op->tree];

    if (tree->created_op == STORE_MODEL_NEVER && sim->has_recovered && !sim_is_logged(sim) &&
        op->kind <= SIM_DELETE) {
        tree_create(sim, op->tree);
    }
    return tree->created_op != STORE_MODEL_NEVER;
}

uint32_t sim_value_size_draw(const struct store_model_tree *tree, uint32_t size)
{
    const struct tactus_layout *layout = &tree->spec.layout;

    return layout->kind == TACTUS_LAYOUT_FIXED ? layout->value_size
                                               : size % (layout->value_size + 1);
}

bool sim_write_result(struct sim *sim, int result, const char *what)
{
    if (result == TACTUS_EFULL && sim->world->is_small) {
        sim->report->marks.count[MARK_FULL]++;
        if (tactus_last_op(sim->store) != sim->model->op) {
            sim_fail(sim, "%s: refused as full, but it took more than an op", what);
        }
        return false;
    }
    return sim_result(sim, result, what);
}

static void run_write(struct sim *sim, const struct sim_op *op)
{
    const struct store_model_tree *tree = &sim->model->trees[op->tree];
    bool                           is_delete = op->kind == SIM_DELETE;

    for (uint32_t i = 0; i < op->count; i++) {
        struct sim_entry entry = {
            .tree = op->tree,
            .key = (op->key + i) % tree->key_count,
            .version =
                {
                    .value_seed = op->seed + i,
                    .value_size = is_delete ? 0 : sim_value_size_draw(tree, op->size + 7 * i),
                    .is_tombstone = is_delete,
                },
        };
        int result = sim_log_do(sim, SIM_RECORD_WRITE, op->tree, false, &entry, 1);

        if (!sim_write_result(sim, result, is_delete ? "delete" : "put")) {
            return;
        }
    }
}

int sim_batch_add(struct sim *sim, struct tactus_batch *batch, const struct sim_entry *entry)
{
    const struct store_model_tree *tree = &sim->model->trees[entry->tree];
    const struct store_model_key  *key = &tree->keys[entry->key];

    if (entry->version.is_tombstone) {
        return entry->is_condition
                   ? tactus_batch_expect(batch, tree->id, key->bytes, key->size, NULL, 0)
                   : tactus_batch_delete(batch, tree->id, key->bytes, key->size);
    }
    store_model_value(entry->version.value_seed, entry->version.value_size, sim->buffer);
    if (entry->is_condition) {
        return tactus_batch_expect(batch, tree->id, key->bytes, key->size, sim->buffer,
                                   entry->version.value_size);
    }
    return tactus_batch_put(batch, tree->id, key->bytes, key->size, sim->buffer,
                            entry->version.value_size);
}

static struct sim_entry entry_draw(struct sim *sim, struct tac_prng *prng, const struct sim_op *op)
{
    struct sim_entry               entry = {.tree = op->tree};
    const struct store_model_tree *tree;

    if (tac_prng_below(prng, 2) == 0) {
        entry.tree = (uint32_t)tac_prng_below(prng, sim->model->tree_count);
    }
    if (sim->model->trees[entry.tree].created_op == STORE_MODEL_NEVER) {
        entry.tree = op->tree;
    }
    tree = &sim->model->trees[entry.tree];
    entry.key = (uint32_t)(op->key + tac_prng_below(prng, 2 * op->count)) % tree->key_count;
    entry.version = (struct store_model_version){
        .value_seed = (uint32_t)tac_prng_next(prng),
        .is_tombstone = tac_prng_below(prng, 4) == 0 || op->seed % 8 == 0,
    };
    if (!entry.version.is_tombstone) {
        entry.version.value_size =
            sim_value_size_draw(tree, op->size + entry.version.value_seed % 50);
    }
    return entry;
}

/* What a condition of the entry's key expects: what is there, or, one time in four, something
 * else. */
static void condition_make(struct sim *sim, struct sim_entry *entry, struct tac_prng *prng)
{
    const struct store_model_version *found =
        store_model_get(sim->model, entry->tree, entry->key, sim->model->op);
    bool is_right = tac_prng_below(prng, 4) != 0;

    entry->is_condition = true;
    if (is_right && found != NULL) {
        entry->version = *found;
    } else if (is_right) {
        entry->version = (struct store_model_version){.is_tombstone = true};
    }
}

/* As many entries as a batch takes. Of three batches in sixteen the first entries are conditions, up
 * to three. A block that is damaged for good may keep a condition from being looked at, in a replay
 * too: not in such worlds. */
static void run_batch(struct sim *sim, const struct sim_op *op)
{
    struct tac_prng      prng = {op->seed}, condition_prng = {tac_mix_u64(op->seed)};
    bool                 may_expect = sim->world->faults.class != SIM_FAULTS_MEDIA;
    uint32_t             conditions = (uint32_t)tac_prng_below(&condition_prng, 16);
    struct sim_entry    *entries = calloc(op->count + 1, sizeof *entries);
    struct tactus_batch *batch;
    uint32_t             count = 0;
    int                  result = tactus_batch_new(sim->store, &batch);

    tac_assert(entries != NULL && result == TACTUS_OK);
    sim->entries = entries;
    while (count < op->count && result == TACTUS_OK) {
        entries[count] = entry_draw(sim, &prng, op);
        if (may_expect && conditions < 4 && count < conditions) {
            condition_make(sim, &entries[count], &condition_prng);
        }
        result = sim_batch_add(sim, batch, &entries[count]);
        count += result == TACTUS_OK;
    }
    tactus_batch_free(batch);
    if (result != TACTUS_OK && result != TACTUS_EBATCHSIZE) {
        sim_fail(sim, "batch: %d %s", result, tactus_message());
    }
    if (count > 0) {
        result = sim_log_do(sim, SIM_RECORD_BATCH, op->tree, false, entries, count);
        sim->report->marks.count[MARK_CONDITION] += result == TACTUS_OK && entries[0].is_condition;
        sim->report->marks.count[MARK_CONFLICT] += result == TACTUS_ECONFLICT;
        if (result != TACTUS_ECONFLICT) {
            (void)sim_write_result(sim, result, "batch");
        }
    }
    free(entries);
    sim->entries = NULL;
}

/* ---- control -------------------------------------------------------------------------------- */

/* There is no room to compact: nothing is lost for that, and all there is is durable. */
static void run_full(struct sim *sim)
{
    sim->report->marks.count[MARK_FULL]++;
    if (tactus_durable_op(sim->store) < sim->model->op) {
        sim_fail(sim, "no room to compact, and only op %llu of %llu is durable",
                 (unsigned long long)tactus_durable_op(sim->store),
                 (unsigned long long)sim->model->op);
    }
}

static void compacted_check(struct sim *sim, const struct sim_op *op)
{
    struct tac_manifest_tree *state =
        tac_manifest_tree(sim->store->manifest, tac_tree_number(sim->model->trees[op->tree].id));
    uint32_t last = state->planner.last_level;
    uint64_t live;

    for (uint32_t level = 0; level < last; level++) {
        if (state->levels[level].table_count > 0) {
            sim_fail(sim, "compact left tables in level %u of tree %u", level, op->tree);
        }
    }
    live = state->levels[last].records - state->levels[last].tombstones;
    if (live != store_model_count(sim->model, op->tree, sim->model->op)) {
        sim_fail(sim, "compact left %llu records in tree %u, should be %llu",
                 (unsigned long long)live, op->tree,
                 (unsigned long long)store_model_count(sim->model, op->tree, sim->model->op));
    }
    if (state->levels[last].tombstones > 0) {
        sim_fail(sim, "compact left %llu tombstones in tree %u",
                 (unsigned long long)state->levels[last].tombstones, op->tree);
    }
}

static void run_drain(struct sim *sim, const struct sim_op *op)
{
    bool is_compact = op->kind == SIM_COMPACT;
    int  result = sim_log_do(sim, is_compact ? SIM_RECORD_COMPACT : SIM_RECORD_DRAIN, op->tree,
                             false, NULL, 0);

    if (result == TACTUS_EFULL && sim->world->is_small) {
        run_full(sim);
        return;
    }
    if (!sim_result(sim, result, is_compact ? "compact" : "drain")) {
        return;
    }
    sim->is_held = false;
    sim_check_quiet(sim);
    if (is_compact) {
        compacted_check(sim, op);
    }
}

static void run_checkpoint(struct sim *sim)
{
    int result = sim_log_do(sim, SIM_RECORD_CHECKPOINT, 0, false, NULL, 0);

    if (sim_result(sim, result, "checkpoint") && tactus_durable_op(sim->store) < sim->model->op) {
        sim_fail(sim, "checkpoint returned, but only op %llu is durable",
                 (unsigned long long)tactus_durable_op(sim->store));
    }
}

static void run_sync(struct sim *sim)
{
    if (sim->store->wal.storage != NULL && sim_result(sim, tactus_sync(sim->store), "sync") &&
        tactus_durable_op(sim->store) != sim->model->op) {
        sim_fail(sim, "sync returned, but only op %llu is durable",
                 (unsigned long long)tactus_durable_op(sim->store));
    }
}

static void run_hold(struct sim *sim, bool is_held)
{
    int result = sim_log_do(sim, SIM_RECORD_HOLD, 0, is_held, NULL, 0);

    if (sim_result(sim, result, "hold")) {
        sim->is_held |= is_held;
        sim->held_since_bar = sim->store->bar_count;
    }
}

static void run_beats(struct sim *sim, uint32_t count)
{
    struct marks *marks = &sim->report->marks;

    for (uint32_t i = 0; i < count; i++) {
        uint64_t bars = sim->store->bar_count;
        bool     has_recovered = sim->has_recovered;

        if (!sim_result(sim, sim_log_do(sim, SIM_RECORD_BEAT, 0, false, NULL, 0), "beat")) {
            return;
        }
        marks->count[MARK_BEAT_CALLED]++;
        marks->count[MARK_BAR_CALLED] +=
            sim->has_recovered == has_recovered && sim->store->bar_count == bars + 1;
    }
}

/* ---- pauses and workers --------------------------------------------------------------------- */

/* It changes nothing that is written: the model knows nothing of it. */
static void run_pause(struct sim *sim, bool is_paused)
{
    int result = is_paused ? tactus_pause(sim->store) : tactus_resume(sim->store);

    if (sim_result(sim, result, "pause")) {
        sim->is_paused = is_paused;
        sim->report->marks.count[MARK_PAUSED] += is_paused;
    }
}

static void run_threads(struct sim *sim, uint32_t seed)
{
    struct tac_prng     prng = {tac_mix_u64(seed ^ sim->world->stepping.seed)};
    struct tac_stepping stepping;
    struct tac_error    error;
    bool                has_jobs = sim->store->seats_busy > 0;

    sim_stepping_draw(&stepping, &prng);
    tac_error_clear(&error);
    if (sim->pool.pool != NULL) {
        sim_pool_change(&sim->pool, &stepping);
    } else if (tac_store_workers_change(sim->store, &sim->store->options, &stepping, &error) !=
               TACTUS_OK) {
        sim_fail(sim, "threads: %s", error.message);
    }
    sim->report->marks.count[MARK_WORKERS_CHANGED] += has_jobs;
}

static void run_step(struct sim *sim, uint32_t count)
{
    struct pollfd poll_device = {.events = POLLIN};
    bool          has_descriptor = sim->world->seed % 2 == 0 && sim->pool.pool == NULL;

    if (has_descriptor && tactus_descriptor(sim->store, &poll_device.fd) != TACTUS_OK) {
        sim_fail(sim, "descriptor: %s", tactus_message());
    }
    for (uint32_t i = 0; i < count && !sim_is_down(sim); i++) {
        marks_observe(&sim->report->marks, sim->store);
        if (tactus_step(sim->store)) {
            continue;
        }
        if (!has_descriptor || poll(&poll_device, 1, 0) <= 0) {
            return;
        }
        sim->report->marks.count[MARK_LEFT_IO]++;
    }
}

static void run_op(struct sim *sim, const struct sim_op *op)
{
    struct sim_iterator *it = &sim->iterators[op->slot];

    switch ((enum sim_op_kind)op->kind) {
    case SIM_PUT:
    case SIM_DELETE:
        run_write(sim, op);
        return;
    case SIM_BATCH:
        run_batch(sim, op);
        return;
    case SIM_GET:
        if (op->seed % 4 == 0) {
            sim_check_get_many(sim, op->tree, op->key,
                               (uint32_t)tac_min_u64(10 * op->count, SIM_LOOKUPS_MAX),
                               1 + op->seed / 4 % 50);
            return;
        }
        for (uint32_t i = 0; i < op->count; i++) {
            sim_check_get(sim, op->tree, (op->key + i) % sim->model->trees[op->tree].key_count);
        }
        return;
    case SIM_SCAN:
        sim_check_tree(sim, op->tree);
        return;
    case SIM_SEEK:
        sim_run_seek(sim, op);
        return;
    case SIM_ITERATOR_OPEN:
        tactus_iterator_close(it->iterator);
        it->iterator = NULL;
        (void)sim_iterator_open(sim, it, op);
        return;
    case SIM_ITERATOR_MOVE:
        sim_run_iterator_move(sim, op);
        return;
    case SIM_ITERATOR_CLOSE:
        tactus_iterator_close(it->iterator);
        it->iterator = NULL;
        return;
    case SIM_TREE_CREATE:
        tree_create(sim, op->tree);
        return;
    case SIM_TREE_DROP:
        tree_drop(sim, op->tree);
        return;
    case SIM_DRAIN:
    case SIM_COMPACT:
        run_drain(sim, op);
        return;
    case SIM_HOLD:
        run_hold(sim, op->count > 0);
        return;
    case SIM_PAUSE:
        run_pause(sim, op->count > 0);
        return;
    case SIM_THREADS:
        run_threads(sim, op->seed);
        return;
    case SIM_RATE:
        sim_rate_change(sim, op->count * (uint64_t)TAC_KIB);
        return;
    case SIM_INGEST:
        sim_run_ingest(sim, op);
        return;
    case SIM_RANGE:
        sim_run_range(sim, op);
        return;
    case SIM_SNAPSHOT:
        sim_run_snapshot(sim, op);
        return;
    case SIM_BEAT:
        run_beats(sim, op->count);
        return;
    case SIM_CACHES:
        sim_caches_change(sim, op->seed);
        return;
    case SIM_DELETE_RANGE:
        sim_run_delete_range(sim, op);
        return;
    case SIM_REFUSED:
        sim_run_refused(sim, op);
        return;
    case SIM_CHECKPOINT:
        run_checkpoint(sim);
        return;
    case SIM_SYNC:
        run_sync(sim);
        return;
    case SIM_STEP:
        run_step(sim, op->count);
        return;
    case SIM_REOPEN:
        run_reopen(sim);
        return;
    case SIM_ABANDON:
        sim_recover(sim);
        return;
    case SIM_CRASH:
        sim->disk.crash_seed = op->seed;
        sim_disk_crash(&sim->disk);
        sim_recover(sim);
        return;
    case SIM_CRASH_LATER:
        sim->disk.crash_seed = op->seed;
        sim->disk.requests_left = op->count;
        return;
    case SIM_OP_KINDS:
        break;
    }
    tac_unreachable();
}

/* ---- the scrub ------------------------------------------------------------------------------ */

static uint64_t scrub_clock_ns(void)
{
    static uint64_t time_ns;

    return time_ns += SCRUB_CLOCK_STEP_NS;
}

/* Beside whatever the op has left unfinished. */
static void scrub(struct sim *sim)
{
    for (uint32_t i = 0; i < SCRUB_STEPS; i++) {
        (void)tac_scrub_step(sim->store);
    }
}

/* ---- the run -------------------------------------------------------------------------------- */

static void sim_begin(struct sim *sim)
{
    const struct sim_world *world = sim->world;

    sim->prng.state = world->stepping.seed;
    sim->buffer = malloc(world->options.block_size);
    sim->expected = malloc(world->options.block_size);
    tac_assert(sim->buffer != NULL && sim->expected != NULL);
    sim->model = store_model_new(world->specs, world->tree_count);
    sim_disk_create(&sim->disk, world->disk_seed);
    sim->disk.observe = observe;
    sim->disk.observe_context = sim;
    tac_scrub_clock_replace(scrub_clock_ns);
    sim_faults_create(&sim->faults, &world->faults, world->options.block_size, &sim->report->marks);
    if (world->is_pooled) {
        sim_pool_begin(&sim->pool, world->seed, &world->stepping);
    }
    store_create(sim);
    store_open(sim);
    tactus_replay_end(sim->store);
    sim->disk.faults = &sim->faults;
}

static void sim_end(struct sim *sim)
{
    const uint8_t *data;
    uint64_t       size;

    sim->disk.requests_left = SIM_DISK_NEVER;
    sim->faults.armed = SIM_WRITE_RIGHT;
    for (uint32_t tree = 0; tree < sim->model->tree_count; tree++) {
        if (sim->model->trees[tree].created_op != STORE_MODEL_NEVER) {
            sim_check_tree(sim, tree);
        }
    }
    run_drain(sim, &(struct sim_op){.kind = SIM_DRAIN});
    if (sim_is_down(sim)) {
        /* A write that had failed when the last op ended, and was not reaped yet. */
        sim_recover(sim);
        run_drain(sim, &(struct sim_op){.kind = SIM_DRAIN});
    }
    sim_check_op(sim);
    if (sim->faults.is_damaged) {
        sim_check_damaged(sim);
        return;
    }
    run_reopen(sim);
    data = tac_memory_disk_data(sim->disk.memory, &size);
    sim->report->file_sum = tac_checksum(data, size, size);
    if (sim->world->ends_bare) {
        sim_check_bare(sim);
    }
}

static void sim_free(struct sim *sim)
{
    sim->report->writes += sim->model->op;
    if (sim->store != NULL) {
        store_abandon(sim);
    }
    if (sim->pool.pool != NULL) {
        sim_pool_end(&sim->pool);
    }
    sim_disk_destroy(&sim->disk);
    sim_faults_destroy(&sim->faults);
    store_model_free(sim->model);
    sim_log_destroy(&sim->log_ops);
    free(sim->buffer);
    free(sim->expected);
    free(sim->entries);
}

/* What the op has left unfinished goes on meanwhile. */
static void neighbour_run(struct sim *sim)
{
    if (sim->pool.pool != NULL) {
        sim->report->marks.count[MARK_POOLED] += sim_pool_is_busy(&sim->pool, sim->store);
        sim_pool_op(&sim->pool);
    }
}

static void ops_run(struct sim *sim, const struct sim_op *ops, const bool *keep)
{
    const struct sim_world *world = sim->world;

    for (uint32_t i = 0; i < world->op_count; i++) {
        const struct sim_op *op = &ops[i];
        bool is_of_tree = op->kind <= SIM_ITERATOR_OPEN || op->kind == SIM_COMPACT ||
                          op->kind == SIM_TREE_DROP || op->kind == SIM_INGEST ||
                          op->kind == SIM_RANGE || op->kind == SIM_SNAPSHOT ||
                          op->kind == SIM_DELETE_RANGE || op->kind == SIM_REFUSED;

        if (keep != NULL && !keep[i]) {
            continue;
        }
        sim_op_begin(sim, i);
        if ((is_of_tree && !tree_is_there(sim, op)) ||
            (world->is_undisturbed && sim_op_disturbs((enum sim_op_kind)op->kind))) {
            continue;
        }
        if (sim->log != NULL) {
            sim_op_print(op, i, sim->log);
            fflush(sim->log);
        }
        run_op(sim, op);
        sim->report->ops_run++;
        neighbour_run(sim);
        if (sim_is_down(sim)) {
            sim->report->marks.count[MARK_CUT_IN_OP] += sim->disk.has_crashed;
            sim_recover(sim);
        }
        scrub(sim);
        sim_check_op(sim);
        sim_check_range(sim);
    }
}

void sim_run(const struct sim_world *world, const struct sim_op *ops, const bool *keep,
             struct sim_report *report, FILE *log)
{
    struct sim sim = {.world = world, .report = report, .log = log};

    sim_begin(&sim);
    if (setjmp(sim.end) == 0) {
        ops_run(&sim, ops, keep);
        sim_op_begin(&sim, world->op_count);
        sim_end(&sim);
    }
    if (sim.pool.pool != NULL && !sim_pool_is_right(&sim.pool)) {
        sim_fail(&sim, "the store beside it in the pool is not what it is on its own");
    }
    sim_free(&sim);
}
