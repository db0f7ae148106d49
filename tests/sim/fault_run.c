/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/fault_run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "tests/sim/fault_check.h"

#define BATCH_ENTRIES 12
#define INGEST_MAX 400
#define CACHE_BYTES_MAX (128 * TAC_KIB)
#define RUN_BYTES_PER_SYNC (8 * TAC_KIB) /* Of the second script */

/* ---- operations ----------------------------------------------------------------------------- */

static void version_draw(struct run *run, uint32_t tree, bool is_delete,
                         struct store_model_version *ret_version)
{
    const struct tactus_layout *layout = &run->model->trees[tree].spec.layout;
    uint32_t                    size = layout->value_size;

    if (layout->kind == TACTUS_LAYOUT_VARIABLE) {
        size = (uint32_t)tac_prng_below(&run->prng, size + 1);
    }
    *ret_version = (struct store_model_version){
        .value_seed = (uint32_t)tac_prng_next(&run->prng),
        .value_size = is_delete ? 0 : size,
        .is_tombstone = is_delete,
    };
}

/* The power may go out in the call, and the op may be there afterwards. */
static void write_note(struct run *run, uint32_t tree, uint32_t key,
                       const struct store_model_version *version)
{
    if (run->disk.observe != NULL) {
        store_model_write(run->model, tree, key, run->model->op + 1, version);
    }
}

/* The script draws the same whether a write is done or not. */
static void write_one(struct run *run, uint32_t tree, bool is_delete)
{
    struct store_model_tree   *at = &run->model->trees[tree];
    uint32_t                   key = (uint32_t)tac_prng_below(&run->prng, at->key_count);
    struct store_model_version version;
    int                        code;

    version_draw(run, tree, is_delete, &version);
    if (run->store == NULL || at->created_op == STORE_MODEL_NEVER) {
        return;
    }
    write_note(run, tree, key, &version);
    store_model_value(version.value_seed, version.value_size, run->expected);
    code = is_delete ? tactus_delete(run->store, at->id, at->keys[key].bytes, at->keys[key].size)
                     : tactus_put(run->store, at->id, at->keys[key].bytes, at->keys[key].size,
                                  run->expected, version.value_size);
    if (run_write_result(run, code, is_delete ? "delete" : "put")) {
        store_model_write(run->model, tree, key, ++run->model->op, &version);
    }
}

void run_writes(struct run *run, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        write_one(run, i % 8 == 7 ? 1 : 0, i % 5 == 4);
    }
}

void run_batch(struct run *run)
{
    struct store_model_version versions[BATCH_ENTRIES];
    uint32_t                   keys[BATCH_ENTRIES];
    struct tactus_batch       *entries;
    int                        code;

    if (run->store == NULL || run->model->trees[1].created_op == STORE_MODEL_NEVER) {
        return;
    }
    run_expect(run, tactus_batch_new(run->store, &entries) == TACTUS_OK, "batch: no memory");
    for (uint32_t i = 0; i < BATCH_ENTRIES; i++) {
        const struct store_model_tree *at = &run->model->trees[i % RUN_TREES];

        keys[i] = (uint32_t)tac_prng_below(&run->prng, at->key_count);
        version_draw(run, i % RUN_TREES, i % 4 == 3, &versions[i]);
        write_note(run, i % RUN_TREES, keys[i], &versions[i]);
        store_model_value(versions[i].value_seed, versions[i].value_size, run->expected);
        code =
            versions[i].is_tombstone
                ? tactus_batch_delete(entries, at->id, at->keys[keys[i]].bytes,
                                      at->keys[keys[i]].size)
                : tactus_batch_put(entries, at->id, at->keys[keys[i]].bytes, at->keys[keys[i]].size,
                                   run->expected, versions[i].value_size);
        run_expect(run, code == TACTUS_OK, "batch: %d %s", code, tactus_message());
    }
    if (run_write_result(run, tactus_batch_commit(entries, NULL), "batch commit")) {
        run->model->op++;
        for (uint32_t i = 0; i < BATCH_ENTRIES; i++) {
            store_model_write(run->model, i % RUN_TREES, keys[i], run->model->op, &versions[i]);
        }
    }
    tactus_batch_free(entries);
}

void run_trees_create(struct run *run)
{
    for (uint32_t i = 0; i < RUN_TREES && run->store != NULL; i++) {
        struct store_model_tree *tree = &run->model->trees[i];
        char                     name[16];

        snprintf(name, sizeof name, "tree-%u", i);
        if (tree->created_op == STORE_MODEL_NEVER &&
            run_write_result(run,
                             tactus_tree_create(run->store, name, &tree->spec.layout, &tree->id),
                             "tree create")) {
            tree->created_op = ++run->model->op;
        }
    }
}

/* A bound: the key's bytes; behind the last one, what is above all of the tree. */
static uint32_t bound_make(const struct store_model_tree *tree, uint32_t key, uint8_t *bytes)
{
    if (key < tree->key_count) {
        memcpy(bytes, tree->keys[key].bytes, tree->keys[key].size);
        return tree->keys[key].size;
    }
    memset(bytes, UINT8_MAX, tree->spec.layout.key_size + 1u);
    return tree->spec.layout.key_size + 1;
}

/* In the model it deletes key by key, before the call: as a drop does. */
void run_delete_range(struct run *run, uint32_t tree, uint32_t count)
{
    struct store_model_tree         *at = &run->model->trees[tree];
    const struct store_model_version gone = {.is_tombstone = true};
    uint32_t                         first = (uint32_t)tac_prng_below(&run->prng, at->key_count);
    uint32_t end = (uint32_t)tac_min_u64((uint64_t)first + count, at->key_count);
    uint8_t  first_bytes[TACTUS_KEY_SIZE_MAX], end_bytes[TACTUS_KEY_SIZE_MAX];
    uint32_t first_size = bound_make(at, first, first_bytes);
    uint32_t end_size =
        bound_make(at, (uint64_t)first + count > end ? at->key_count : end, end_bytes);

    if (run->store == NULL || at->created_op == STORE_MODEL_NEVER) {
        return;
    }
    for (uint32_t key = first; key < end; key++) {
        store_model_write(run->model, tree, key, run->model->op + 1, &gone);
    }
    if (run_write_result(run,
                         tactus_delete_range(run->store, at->id, first_bytes, first_size, end_bytes,
                                             end_size, NULL),
                         "delete range")) {
        run->model->op++;
    } else {
        store_model_truncate(run->model, run->model->op);
    }
}

/* The model has it before the call: the power may go out in it, and the op be there afterwards. */
void run_tree_drop(struct run *run)
{
    struct store_model_tree *tree = &run->model->trees[1];

    if (run->store == NULL || tree->created_op == STORE_MODEL_NEVER) {
        return;
    }
    store_model_drop(run->model, 1, run->model->op + 1);
    if (run_write_result(run, tactus_tree_drop(run->store, tree->id), "tree drop")) {
        run->model->op++;
    } else {
        store_model_truncate(run->model, run->model->op);
    }
}

/* A sorted run, as its reader hands it over. */
struct run_reading {
    struct run                *run;
    uint32_t                   keys[INGEST_MAX];
    struct store_model_version versions[INGEST_MAX];
    uint32_t                   count, given;
    int                        result_last; /* Behind the last one */
    struct tactus_run_record   record;
};

static int reading_next(void *context, const struct tactus_run_record **ret_records,
                        size_t *ret_count)
{
    struct run_reading               *reading = context;
    const struct store_model_version *version = &reading->versions[reading->given];
    const struct store_model_key     *key;

    *ret_records = &reading->record;
    *ret_count = reading->given < reading->count;
    if (*ret_count == 0) {
        return reading->result_last;
    }
    key = &reading->run->model->trees[0].keys[reading->keys[reading->given]];
    store_model_value(version->value_seed, version->value_size, reading->run->expected);
    reading->record = (struct tactus_run_record){
        .key = key->bytes,
        .key_size = key->size,
        .value = reading->run->expected,
        .value_size = version->value_size,
        .is_tombstone = version->is_tombstone,
    };
    reading->given++;
    return TACTUS_OK;
}

static void reading_draw(struct run *run, uint32_t count, struct run_reading *reading)
{
    uint32_t keys = run->model->trees[0].key_count;
    uint32_t key = (uint32_t)tac_prng_below(&run->prng, keys);

    *reading = (struct run_reading){.run = run};
    for (; reading->count < tac_min_u64(count, INGEST_MAX) && key < keys;
         key += 1 + (uint32_t)tac_prng_below(&run->prng, 4)) {
        version_draw(run, 0, reading->count % 8 == 7, &reading->versions[reading->count]);
        reading->keys[reading->count++] = key;
    }
}

/* Where writing has stopped in the call it is not known whether the run is in: readers may find it,
 * or not, until the store is opened again. So it goes at once. */
static void ingest_stopped(struct run *run)
{
    run_reach_note(run);
    tactus_abandon(run->store);
    run->store = NULL;
    run->model->op++;
}

void run_ingest(struct run *run, uint32_t count)
{
    struct run_reading reading;
    bool               had_stopped = run->cause[0] != 0;
    uint64_t           op = run->model->op + 1;
    int                code;

    reading_draw(run, count, &reading);
    if (run->store == NULL || run->model->trees[0].created_op == STORE_MODEL_NEVER) {
        return;
    }
    for (uint32_t i = 0; i < reading.count; i++) {
        store_model_write(run->model, 0, reading.keys[i], op, &reading.versions[i]);
    }
    code = tactus_ingest(run->store, run->model->trees[0].id, reading_next, &reading, NULL);
    if (run_write_result(run, code, "ingest")) {
        run->model->op = op;
        run_expect(run, tactus_last_op(run->store) == op && tactus_durable_op(run->store) >= op,
                   "ingest: it is op %llu, of which %llu are durable", (unsigned long long)op,
                   (unsigned long long)tactus_durable_op(run->store));
    } else if (code == TACTUS_EPOISONED && !had_stopped) {
        ingest_stopped(run);
    } else {
        store_model_truncate(run->model, run->model->op);
    }
}

void run_ingest_refused(struct run *run, uint32_t count)
{
    struct run_reading reading;
    int                code;

    reading_draw(run, count, &reading);
    if (run->store == NULL || run->model->trees[0].created_op == STORE_MODEL_NEVER) {
        return;
    }
    reading.result_last = TACTUS_EINVAL;
    code = tactus_ingest(run->store, run->model->trees[0].id, reading_next, &reading, NULL);
    if (code == TACTUS_EINVAL) {
        run_expect(run, run->cause[0] == 0, "a run is read after writing had stopped");
    } else {
        run_expect(run, !run_write_result(run, code, "refused ingest"),
                   "a run succeeds whose reader failed");
    }
    run_expect(run, tactus_last_op(run->store) == run->model->op,
               "a run whose reader failed is an op");
}

/* An op that may have its number although it failed. */
static void control_note(struct run *run, int code, const char *what)
{
    bool is_done = run_write_result(run, code, what);

    run_expect(run,
               tactus_last_op(run->store) - run->model->op <= 1 &&
                   (!is_done || tactus_last_op(run->store) == run->model->op + 1),
               "%s: the last op is %llu, was %llu", what,
               (unsigned long long)tactus_last_op(run->store), (unsigned long long)run->model->op);
    run->model->op = tactus_last_op(run->store);
    run_expect(run, !is_done || tactus_durable_op(run->store) == run->model->op,
               "%s: nothing durable after it", what);
}

void run_control(struct run *run, int (*call)(struct tactus *store), const char *what)
{
    if (run->store != NULL) {
        control_note(run, call(run->store), what);
    }
}

#define SNAPSHOT_NAME "snapshot"

/* A list of tables that cannot be read leaves the snapshot as it is. */
static void snapshot_release(struct run *run)
{
    int code = tactus_snapshot_release(run->store, SNAPSHOT_NAME);

    if (run->script->kind == FAULT_READ && run_has_fault(run) &&
        (code == TACTUS_EIO || code == TACTUS_ECORRUPT)) {
        run_expect(run, tactus_last_op(run->store) == run->model->op,
                   "a release that failed is an op: %s", tactus_message());
        return;
    }
    control_note(run, code, "release");
}

void run_snapshot_turn(struct run *run)
{
    uint32_t count = 0;

    if (run->store == NULL ||
        !run_expect(run, tactus_snapshot_list(run->store, NULL, 0, &count) == TACTUS_OK,
                    "list of snapshots: %s", tactus_message())) {
        return;
    }
    if (count == 0) {
        control_note(run, tactus_snapshot_create(run->store, SNAPSHOT_NAME, NULL), "snapshot");
    } else {
        snapshot_release(run);
    }
}

/* The first tree, or any: where a fall back took them away there is none. */
int run_compact(struct tactus *store)
{
    uint32_t tree;

    return tactus_tree_find(store, "tree-0", &tree) == TACTUS_OK ? tactus_compact(store, tree)
                                                                 : tactus_drain(store);
}

/* Whatever the disk does: they are memory alone. What they had room for stays in them. */
void run_caches_change(struct run *run)
{
    uint64_t page = tac_prng_below(&run->prng, 3) * CACHE_BYTES_MAX / 2;
    uint64_t index = tac_prng_below(&run->prng, 3) * CACHE_BYTES_MAX / 2;

    run_expect(run, run->store == NULL || tactus_cache_change(run->store, page, index) == TACTUS_OK,
               "caches of %llu and %llu bytes: %s", (unsigned long long)page,
               (unsigned long long)index, tactus_message());
}

/* ---- open and close ------------------------------------------------------------------------- */

/* Reserved blocks are none: nothing that is durable reaches what a plan or a run was to write. */
static void first_fault(void *context)
{
    struct run                *run = context;
    const struct tac_free_set *set = run->store != NULL ? run->store->free_set : NULL;

    for (uint32_t i = 0; i < RUN_BLOCKS; i++) {
        run->used_at_fault[i] =
            set != NULL && (tac_free_set_is_acquired(set, i) || tac_free_set_is_released(set, i));
    }
}

static void used_check(struct run *run)
{
    for (uint32_t i = 0; i < RUN_BLOCKS; i++) {
        run_expect(run, !run->used_at_fault[i] || !tac_free_set_is_free(run->store->free_set, i),
                   "block %u was in use when the call failed, and is free", i);
    }
}

void run_create(struct run *run)
{
    struct tac_storage *storage;
    struct tac_error    error = {0};
    int                 code;

    code = fault_disk_open(&run->disk, &storage, &error);
    tac_assert(code == TACTUS_OK);
    code = tac_store_create(storage, &run->options, &error);
    run->reach.is_created = run_open_result(run, &error, code, "create");
    storage->ops->close(storage);
}

static void trees_find(struct run *run)
{
    for (uint32_t i = 0; i < RUN_TREES; i++) {
        struct store_model_tree *tree = &run->model->trees[i];
        char                     name[16];
        int                      code;

        snprintf(name, sizeof name, "tree-%u", i);
        code = tactus_tree_find(run->store, name, &tree->id);
        run_expect(run, code == TACTUS_OK || tree->created_op == STORE_MODEL_NEVER,
                   "tree %u is not there", i);
        if (code == TACTUS_OK) {
            tree->created_op = tac_min_u64(tree->created_op, run->model->op);
        }
    }
}

/* The store was opened: the model falls back to what it was found to hold. */
static void reached_check(struct run *run)
{
    uint64_t op = tactus_last_op(run->store);
    bool     is_legal =
        op == run->reach.durable_op || op == run->reach.other_op ||
        (run->reach.is_range && op >= run->reach.durable_op && op <= run->reach.other_op);

    if (!run_expect(run, is_legal && op <= run->model->op,
                    "opened at op %llu, should be %llu or %llu", (unsigned long long)op,
                    (unsigned long long)run->reach.durable_op,
                    (unsigned long long)run->reach.other_op)) {
        return;
    }
    run->outcome->fell_back |= op < run->model->op;
    run->outcome->was_in_flight |= op > run->reach.durable_op;
    run->cause[0] = 0;
    store_model_truncate(run->model, op);
    run->model->op = op;
    trees_find(run);
}

/* ---- the place of the log ------------------------------------------------------------------- */

static int log_open(const struct tac_log_place *place, bool is_new,
                    struct tac_storage **ret_storage, struct tac_error *error)
{
    struct run *run = place->context;
    uint64_t    size;

    (void)tac_memory_disk_data(run->log.memory, &size);
    if (!is_new && size == 0) {
        return tac_error_set(error, TACTUS_ENOSTORE, "there is no log");
    }
    if (is_new && size != 0) {
        return tac_error_set(error, TACTUS_EEXISTS, "there is a log");
    }
    return fault_disk_open(&run->log, ret_storage, error);
}

static int log_remove(const struct tac_log_place *place, struct tac_error *error)
{
    struct run *run = place->context;

    (void)error;
    tac_memory_disk_free(run->log.memory);
    run->log.memory = tac_memory_disk_new(run->script->seed + 1);
    tac_assert(run->log.memory != NULL);
    run->log.changes++;
    return TACTUS_OK;
}

void run_open(struct run *run)
{
    const struct tac_log_place place = {log_open, log_remove, run};
    struct tac_stepping        stepping = {2, 2, 2, run->script->seed, true, 0};
    struct tac_storage        *storage;
    struct tac_error           error = {0};
    int                        code;

    if (!run->reach.is_created) {
        return;
    }
    code = fault_disk_open(&run->disk, &storage, &error);
    tac_assert(code == TACTUS_OK);
    code = tac_store_open(storage, &run->options, &stepping, &place, &run->store, &error);
    if (!run_open_result(run, &error, code, "open")) {
        storage->ops->close(storage);
        run->store = NULL;
        return;
    }
    reached_check(run);
}

/* A log has each op that has returned, and may have the one under way. */
struct run_reach run_reach_now(const struct run *run)
{
    const struct tac_checkpoint *checkpoint;
    struct run_reach             reach = run->reach;

    if (run->store == NULL) {
        return reach;
    }
    checkpoint = &run->store->checkpoint;
    reach.is_range = run->script->log == TACTUS_LOG_SYNC;
    if (reach.is_range) {
        reach.durable_op = run->model->op;
        reach.other_op = run->model->op + 1;
        return reach;
    }
    reach.durable_op = reach.other_op = checkpoint->durable.op_persisted;
    if (checkpoint->state == TAC_CHECKPOINT_SUPERBLOCK ||
        checkpoint->state == TAC_CHECKPOINT_ROOT_SYNC) {
        reach.other_op = checkpoint->next.op_persisted;
    }
    return reach;
}

/* Before the store goes: what its file may be found to hold. */
void run_reach_note(struct run *run)
{
    run->reach = run_reach_now(run);
    if (run->store != NULL && run->disk.has_failed && run->script->kind != FAULT_READ) {
        used_check(run);
    }
}

void run_close(struct run *run)
{
    int code;

    if (run->store == NULL) {
        return;
    }
    run_reach_note(run);
    code = tactus_close(run->store);
    run->store = NULL;
    if (run->script->log == TACTUS_LOG_SYNC) {
        (void)run_write_result(run, code, "close");
        run->reach.other_op = run->model->op;
        return;
    }
    if (run_write_result(run, code, "close")) {
        run->reach.durable_op = run->reach.other_op =
            ++run->model->op; /* A close is a drain, an op. */
    } else {
        run->reach.other_op = ++run->model->op;
        run->reach.is_range = true;
    }
}

/* ---- the run -------------------------------------------------------------------------------- */

static void options_set(struct tactus_options *options)
{
    tactus_options_init(options);
    options->backend = TACTUS_BACKEND_MEMORY;
    options->block_size = RUN_BLOCK_BYTES;
    options->page_size = 512;
    options->memtable_size = 32 * TAC_KIB;
    options->table_size = 8 * TAC_KIB;
    options->slice_size = 16 * TAC_KIB;
    options->runs_per_level = 2;
    options->beats_per_bar = 16;
    options->checkpoint_interval_bars = 2;
    options->file_size_max = (uint64_t)RUN_BLOCKS * RUN_BLOCK_BYTES;
    options->threads_read = options->threads_merge = options->threads_write = 0;
    options->ring_size = 4;
    options->page_cache_size = 4096;
    options->index_cache_size = 32 * TAC_KIB;
    options->cache_size_max = CACHE_BYTES_MAX;
    options->tables_max = 1024;
    options->io_depth = 4;
    options->uuid[0] = 1;
}

static const struct store_model_spec specs[RUN_TREES] = {
    {{TACTUS_LAYOUT_VARIABLE, 16, 200}, STORE_MODEL_KEYS_RANDOM, 1200, 7},
    {{TACTUS_LAYOUT_FIXED, 8, 32}, STORE_MODEL_KEYS_DENSE, 300, 8},
};

struct run *run_new(const struct fault_script *script, const struct run_state *state,
                    struct fault_outcome *outcome)
{
    struct run *run = calloc(1, sizeof *run);

    tac_assert(run != NULL);
    *outcome = (struct fault_outcome){0};
    run->script = script;
    run->outcome = outcome;
    run->prng.state = script->seed;
    run->model = state != NULL ? state->model : store_model_new(specs, RUN_TREES);
    run->reach = state != NULL ? state->reach : (struct run_reach){0};
    options_set(&run->options);
    run->options.log = script->log;
    if (script->list == FAULT_LIST_TABLES) {
        run->options.bytes_per_sync = RUN_BYTES_PER_SYNC;
    }
    fault_disk_create(&run->disk, state != NULL ? state->memory : NULL, script->seed);
    fault_disk_create(&run->log, state != NULL ? state->log : NULL, script->seed + 1);
    run->disk.kind = script->kind;
    run->disk.fail_at = script->fail_at;
    run->disk.is_sticky = script->is_sticky;
    run->disk.first_fault = first_fault;
    run->disk.first_fault_context = run;
    return run;
}

void run_free(struct run *run)
{
    fault_disk_destroy(&run->disk);
    fault_disk_destroy(&run->log);
    store_model_free(run->model);
    free(run);
}
