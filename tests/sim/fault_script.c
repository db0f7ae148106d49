/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/fault_script.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "pipeline/store.h"
#include "tests/sim/store_model.h"

#define BLOCK_SIZE 4096
#define TREES 2
#define BATCH_ENTRIES 12
#define MOVE_TRIES_MAX 8

struct run {
    const struct fault_script *script;
    struct fault_outcome      *outcome;
    struct tactus_options      options;
    struct fault_disk          disk;
    struct store_model        *model;
    struct tactus             *store; /* NULL: not open */
    bool                       is_created;
    struct tac_prng            prng;
    uint64_t                   durable_op, other_op;        /* A reopen may find these, … */
    bool                       is_range;                    /* … or anything between them */
    uint64_t                   free_at_fault;               /* Blocks */
    char                       cause[TACTUS_MESSAGE_BYTES]; /* Of the first EPOISONED */
    uint8_t                    buffer[BLOCK_SIZE], expected[BLOCK_SIZE];
};

/* The first check that fails is the one that is told. */
static bool expect(struct run *run, bool ok, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static bool expect(struct run *run, bool ok, const char *format, ...)
{
    va_list arguments;

    if (!ok && run->outcome->message[0] == 0) {
        va_start(arguments, format);
        vsnprintf(run->outcome->message, sizeof run->outcome->message, format, arguments);
        va_end(arguments);
    }
    return ok;
}

static bool has_fault(const struct run *run) { return run->disk.faults > 0; }

/* ---- what a call may say -------------------------------------------------------------------- */

/* The text names what failed; where, and why where the system said it. */
static void text_check(struct run *run, const char *what, const char *text)
{
    static const char *const reasons[FAULT_KINDS] = {
        [FAULT_READ] = "Input/output error",
        [FAULT_WRITE] = "Input/output error",
        [FAULT_SYNC] = "Input/output error",
        [FAULT_SPACE] = "No space left on device",
    };
    static const char *const actions[FAULT_KINDS][2] = {
        [FAULT_READ] = {"read", "read"},
        [FAULT_WRITE] = {"write", "write"},
        [FAULT_SYNC] = {"sync", "sync"},
        [FAULT_SPACE] = {"write", "grow"},
    };
    enum fault_kind kind = run->script->kind;

    expect(run, strstr(text, reasons[kind]) != NULL, "%s: the text has no reason: \"%s\"", what,
           text);
    expect(run, strstr(text, actions[kind][0]) != NULL || strstr(text, actions[kind][1]) != NULL,
           "%s: the text does not say what failed: \"%s\"", what, text);
}

/* What leaves the store writable: a drain that tables which cannot be read stand in the way of has
 * been done as far as can be, and has its number; a file that may not grow is full before anything
 * has changed. */
static bool is_refusal(const struct run *run, int code)
{
    return run->cause[0] == 0 && ((run->script->kind == FAULT_READ && code == TACTUS_ECORRUPT) ||
                                  (run->script->kind == FAULT_SPACE && code == TACTUS_EFULL));
}

/* A call that writes. True: it was done. */
static bool write_result(struct run *run, int code, const char *what)
{
    const char *text = tactus_message();

    if (code == TACTUS_OK) {
        return expect(run, run->cause[0] == 0, "%s succeeds after writing had stopped", what);
    }
    expect(run, has_fault(run), "%s: %d %s, without a fault", what, code, text);
    if (is_refusal(run, code)) {
        return false;
    }
    expect(run, code == TACTUS_EPOISONED, "%s: %d, not EPOISONED: %s", what, code, text);
    if (run->cause[0] == 0) {
        run->outcome->has_stopped = true;
        snprintf(run->cause, sizeof run->cause, "%s", text);
        text_check(run, what, text);
    }
    expect(run, strcmp(run->cause, text) == 0, "%s: \"%s\", but the first cause was \"%s\"", what,
           text, run->cause);
    return false;
}

/* A call that creates or opens. */
static bool open_result(struct run *run, const struct tac_error *error, int code, const char *what)
{
    int expected = run->script->kind == FAULT_SPACE ? TACTUS_EFULL : TACTUS_EIO;

    if (code == TACTUS_OK) {
        return true;
    }
    expect(run, has_fault(run), "%s: %d %s, without a fault", what, code, error->message);
    expect(run, code == error->code && code == expected, "%s: %d, should be %d: %s", what, code,
           expected, error->message);
    text_check(run, what, error->message);
    return false;
}

/* A read that failed: only what meets the fault may. A failed sync may have lost blocks. */
static void read_failed(struct run *run, int code, const char *what)
{
    enum fault_kind kind = run->script->kind;
    bool            is_explained = has_fault(run) && ((kind == FAULT_READ && code == TACTUS_EIO) ||
                                           (kind == FAULT_SYNC && code == TACTUS_ECORRUPT));

    run->outcome->reads_failed++;
    expect(run, is_explained, "%s: %d %s", what, code, tactus_message());
    if (kind == FAULT_READ) {
        text_check(run, what, tactus_message());
        expect(run, run->outcome->reads_failed <= run->disk.faults, "%s: %s, but the disk is sound",
               what, tactus_message());
    }
}

/* ---- reading -------------------------------------------------------------------------------- */

static void value_check(struct run *run, uint32_t tree, uint32_t key, const void *value,
                        size_t size)
{
    const struct store_model_version *version =
        store_model_get(run->model, tree, key, run->model->op);

    if (expect(run, version != NULL, "tree %u key %u: found, but it is not there", tree, key)) {
        store_model_value(version->value_seed, version->value_size, run->expected);
        expect(run, size == version->value_size && memcmp(value, run->expected, size) == 0,
               "tree %u key %u: not the value of op %llu", tree, key,
               (unsigned long long)version->op);
    }
}

static void get(struct run *run, uint32_t tree, uint32_t key)
{
    const struct store_model_tree *at = &run->model->trees[tree];
    size_t                         size = 0;
    int                            code;

    if (run->store == NULL || at->created_op == STORE_MODEL_NEVER) {
        return;
    }
    code = tactus_get(run->store, at->id, at->keys[key].bytes, at->keys[key].size, run->buffer,
                      sizeof run->buffer, &size);
    if (code == TACTUS_OK) {
        value_check(run, tree, key, run->buffer, size);
    } else if (code == TACTUS_ENOTFOUND) {
        expect(run, store_model_get(run->model, tree, key, run->model->op) == NULL,
               "tree %u key %u: not found, but it is there", tree, key);
    } else {
        read_failed(run, code, "get");
    }
}

static int move(struct tactus_iterator *iterator, bool is_first, bool is_backward)
{
    if (is_first) {
        return is_backward ? tactus_iterator_last(iterator) : tactus_iterator_first(iterator);
    }
    return is_backward ? tactus_iterator_previous(iterator) : tactus_iterator_next(iterator);
}

/* The whole tree. A move that failed is made again: where the fault has passed, the scan goes on
 * as though nothing had been. */
static void scan(struct run *run, uint32_t tree, bool is_backward)
{
    const struct store_model      *model = run->model;
    const struct store_model_tree *at = &model->trees[tree];
    struct tactus_iterator        *iterator;
    bool                           is_first = true;
    uint32_t key = is_backward ? store_model_previous(model, tree, at->key_count - 1, model->op)
                               : store_model_next(model, tree, 0, model->op);

    if (run->store == NULL || at->created_op == STORE_MODEL_NEVER ||
        !expect(run, tactus_iterator_open(run->store, at->id, &iterator) == TACTUS_OK,
                "iterator: %s", tactus_message())) {
        return;
    }
    for (uint32_t tries = 0; tries < MOVE_TRIES_MAX;) {
        const void *key_bytes, *value;
        size_t      key_size, value_size;
        int         code = move(iterator, is_first, is_backward);

        if (code != TACTUS_OK && code != TACTUS_ENOTFOUND) {
            read_failed(run, code, "scan");
            tries++;
            continue;
        }
        is_first = false;
        if (code == TACTUS_ENOTFOUND || key == STORE_MODEL_NONE) {
            expect(run, code == TACTUS_ENOTFOUND && key == STORE_MODEL_NONE,
                   "scan of tree %u: it ends before key %u, or a record is behind the last", tree,
                   key);
            break;
        }
        tactus_iterator_record(iterator, &key_bytes, &key_size, &value, &value_size);
        if (!expect(run,
                    key_size == at->keys[key].size &&
                        memcmp(key_bytes, at->keys[key].bytes, key_size) == 0,
                    "scan of tree %u: not at key %u", tree, key)) {
            break;
        }
        value_check(run, tree, key, value, value_size);
        key = !is_backward ? store_model_next(model, tree, key + 1, model->op)
              : key == 0   ? STORE_MODEL_NONE
                           : store_model_previous(model, tree, key - 1, model->op);
    }
    tactus_iterator_close(iterator);
}

static void gets(struct run *run, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t tree = (uint32_t)tac_prng_below(&run->prng, TREES);

        get(run, tree, (uint32_t)tac_prng_below(&run->prng, run->model->trees[tree].key_count));
    }
}

static void scans(struct run *run)
{
    for (uint32_t tree = 0; tree < TREES; tree++) {
        scan(run, tree, tree % 2 == 1);
    }
}

/* ---- writing -------------------------------------------------------------------------------- */

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
    store_model_value(version.value_seed, version.value_size, run->expected);
    code = is_delete ? tactus_delete(run->store, at->id, at->keys[key].bytes, at->keys[key].size)
                     : tactus_put(run->store, at->id, at->keys[key].bytes, at->keys[key].size,
                                  run->expected, version.value_size);
    if (write_result(run, code, is_delete ? "delete" : "put")) {
        store_model_write(run->model, tree, key, ++run->model->op, &version);
    }
}

static void writes(struct run *run, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        write_one(run, i % 8 == 7 ? 1 : 0, i % 5 == 4);
    }
}

static void batch(struct run *run)
{
    struct store_model_version versions[BATCH_ENTRIES];
    uint32_t                   keys[BATCH_ENTRIES];
    struct tactus_batch       *entries;
    int                        code;

    if (run->store == NULL || run->model->trees[1].created_op == STORE_MODEL_NEVER) {
        return;
    }
    expect(run, tactus_batch_new(run->store, &entries) == TACTUS_OK, "batch: no memory");
    for (uint32_t i = 0; i < BATCH_ENTRIES; i++) {
        const struct store_model_tree *at = &run->model->trees[i % TREES];

        keys[i] = (uint32_t)tac_prng_below(&run->prng, at->key_count);
        version_draw(run, i % TREES, i % 4 == 3, &versions[i]);
        store_model_value(versions[i].value_seed, versions[i].value_size, run->expected);
        code =
            versions[i].is_tombstone
                ? tactus_batch_delete(entries, at->id, at->keys[keys[i]].bytes,
                                      at->keys[keys[i]].size)
                : tactus_batch_put(entries, at->id, at->keys[keys[i]].bytes, at->keys[keys[i]].size,
                                   run->expected, versions[i].value_size);
        expect(run, code == TACTUS_OK, "batch: %d %s", code, tactus_message());
    }
    if (write_result(run, tactus_batch_commit(entries, NULL), "batch commit")) {
        run->model->op++;
        for (uint32_t i = 0; i < BATCH_ENTRIES; i++) {
            store_model_write(run->model, i % TREES, keys[i], run->model->op, &versions[i]);
        }
    }
    tactus_batch_free(entries);
}

static void trees_create(struct run *run)
{
    for (uint32_t i = 0; i < TREES && run->store != NULL; i++) {
        struct store_model_tree *tree = &run->model->trees[i];
        char                     name[16];

        snprintf(name, sizeof name, "tree-%u", i);
        if (tree->created_op == STORE_MODEL_NEVER &&
            write_result(run, tactus_tree_create(run->store, name, &tree->spec.layout, &tree->id),
                         "tree create")) {
            tree->created_op = ++run->model->op;
        }
    }
}

/* An op that may have its number although it failed. */
static void control(struct run *run, int (*call)(struct tactus *store), const char *what)
{
    bool is_done;

    if (run->store == NULL) {
        return;
    }
    is_done = write_result(run, call(run->store), what);
    expect(run,
           tactus_last_op(run->store) - run->model->op <= 1 &&
               (!is_done || tactus_last_op(run->store) == run->model->op + 1),
           "%s: the last op is %llu, was %llu", what,
           (unsigned long long)tactus_last_op(run->store), (unsigned long long)run->model->op);
    run->model->op = tactus_last_op(run->store);
    expect(run, !is_done || tactus_durable_op(run->store) == run->model->op,
           "%s: nothing durable after it", what);
}

/* The first tree, or any: where a fall back took them away there is none. */
static int compact(struct tactus *store)
{
    uint32_t tree;

    return tactus_tree_find(store, "tree-0", &tree) == TACTUS_OK ? tactus_compact(store, tree)
                                                                 : tactus_drain(store);
}

/* ---- open and close ------------------------------------------------------------------------- */

static uint64_t free_blocks(const struct run *run)
{
    return run->store == NULL ? 0 : tac_free_set_free_count(run->store->free_set);
}

static void first_fault(void *context)
{
    struct run *run = context;

    run->free_at_fault = free_blocks(run);
}

static void create(struct run *run)
{
    struct tac_storage *storage;
    struct tac_error    error = {0};
    int                 code;

    code = fault_disk_open(&run->disk, &storage, &error);
    tac_assert(code == TACTUS_OK);
    code = tac_store_create(storage, &run->options, &error);
    run->is_created = open_result(run, &error, code, "create");
    storage->ops->close(storage);
}

static void trees_find(struct run *run)
{
    for (uint32_t i = 0; i < TREES; i++) {
        struct store_model_tree *tree = &run->model->trees[i];
        char                     name[16];
        int                      code;

        snprintf(name, sizeof name, "tree-%u", i);
        code = tactus_tree_find(run->store, name, &tree->id);
        expect(run, code == TACTUS_OK || tree->created_op == STORE_MODEL_NEVER,
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
    bool     is_legal = op == run->durable_op || op == run->other_op ||
                    (run->is_range && op >= run->durable_op && op <= run->other_op);

    if (!expect(run, is_legal && op <= run->model->op, "opened at op %llu, should be %llu or %llu",
                (unsigned long long)op, (unsigned long long)run->durable_op,
                (unsigned long long)run->other_op)) {
        return;
    }
    run->outcome->fell_back |= op < run->model->op;
    run->outcome->was_in_flight |= op > run->durable_op;
    run->cause[0] = 0;
    store_model_truncate(run->model, op);
    run->model->op = op;
    trees_find(run);
}

static void open(struct run *run)
{
    struct tac_stepping stepping = {2, 2, 2, run->script->seed, true, 0};
    struct tac_storage *storage;
    struct tac_error    error = {0};
    int                 code;

    if (!run->is_created) {
        return;
    }
    code = fault_disk_open(&run->disk, &storage, &error);
    tac_assert(code == TACTUS_OK);
    code = tac_store_open(storage, &run->options, &stepping, NULL, &run->store, &error);
    if (!open_result(run, &error, code, "open")) {
        storage->ops->close(storage);
        run->store = NULL;
        return;
    }
    reached_check(run);
}

/* Before the store goes: what its file may be found to hold. */
static void reach_note(struct run *run)
{
    const struct tac_checkpoint *checkpoint = &run->store->checkpoint;
    bool                         is_in_flight = checkpoint->state == TAC_CHECKPOINT_SUPERBLOCK ||
                        checkpoint->state == TAC_CHECKPOINT_ROOT_SYNC;

    run->durable_op = tactus_durable_op(run->store);
    run->other_op = is_in_flight ? checkpoint->next.op_persisted : run->durable_op;
    run->is_range = false;
    if (run->disk.has_failed && run->script->kind != FAULT_READ) {
        expect(run, run->cause[0] == 0 || free_blocks(run) <= run->free_at_fault,
               "%llu blocks are free, were %llu when the call failed",
               (unsigned long long)free_blocks(run), (unsigned long long)run->free_at_fault);
    }
}

static void close(struct run *run)
{
    int code;

    if (run->store == NULL) {
        return;
    }
    reach_note(run);
    code = tactus_close(run->store);
    run->store = NULL;
    if (write_result(run, code, "close")) {
        run->durable_op = run->other_op = ++run->model->op; /* A close is a drain, an op. */
    } else {
        run->other_op = ++run->model->op;
        run->is_range = true;
    }
}

/* ---- after the faults ----------------------------------------------------------------------- */

static void damage_note(void *context, const char *text)
{
    expect(context, false, "verify: %s", text);
}

/* As many blocks are acquired as superblocks, free set, manifest log and tables take. */
static void accounting_check(struct run *run)
{
    struct tactus *store = run->store;
    uint64_t       blocks = TAC_SUPERBLOCK_COPIES + store->checkpoint.next.free_set_block_count +
                      tac_manifest_log_block_count(store->manifest_log);

    for (uint32_t i = 0; i < tac_manifest_tree_count(store->manifest); i++) {
        const struct tac_manifest_tree *tree = tac_manifest_tree(store->manifest, i);

        for (uint32_t level = 0; level <= tree->planner.last_level; level++) {
            for (uint32_t t = 0; t < tree->levels[level].table_count; t++) {
                const struct tac_table *table = tree->levels[level].tables[t];

                blocks += (uint64_t)table->value_block_count + table->filter_block_count + 1;
            }
        }
    }
    expect(run, tac_free_set_acquired_count(store->free_set) == blocks,
           "%llu blocks are acquired, %llu are in use",
           (unsigned long long)tac_free_set_acquired_count(store->free_set),
           (unsigned long long)blocks);
}

static void whole_check(struct run *run)
{
    struct tactus_verify_report report;

    scans(run);
    accounting_check(run);
    expect(run, tactus_verify(run->store, damage_note, run, &report) == TACTUS_OK, "verify: %s",
           tactus_message());
}

/* Opens on a sound disk, and goes on. */
static void recover(struct run *run)
{
    if (run->script->cuts_power) {
        tac_memory_disk_crash(run->disk.memory, tac_prng_next(&run->prng));
    }
    fault_disk_heal(&run->disk);
    if (!run->is_created) {
        create(run);
    }
    open(run);
    if (!expect(run, run->store != NULL, "the store does not open on a sound disk")) {
        return;
    }
    whole_check(run);
    trees_create(run);
    writes(run, 260);
    control(run, tactus_checkpoint, "checkpoint");
    control(run, tactus_drain, "drain");
    whole_check(run);
    close(run);
}

/* ---- the script ----------------------------------------------------------------------------- */

static void options_set(struct tactus_options *options)
{
    tactus_options_init(options);
    options->backend = TACTUS_BACKEND_MEMORY;
    options->block_size = BLOCK_SIZE;
    options->page_size = 512;
    options->memtable_size = 32 * TAC_KIB;
    options->table_size = 8 * TAC_KIB;
    options->slice_size = 16 * TAC_KIB;
    options->runs_per_level = 2;
    options->beats_per_bar = 16;
    options->checkpoint_interval_bars = 2;
    options->file_size_max = 4096 * BLOCK_SIZE;
    options->threads_read = options->threads_merge = options->threads_write = 0;
    options->ring_size = 4;
    options->page_cache_size = 4096;
    options->index_cache_size = 32 * TAC_KIB;
    options->tables_max = 1024;
    options->io_depth = 4;
    options->uuid[0] = 1;
}

static const struct store_model_spec specs[TREES] = {
    {{TACTUS_LAYOUT_VARIABLE, 16, 200}, STORE_MODEL_KEYS_RANDOM, 1200, 7},
    {{TACTUS_LAYOUT_FIXED, 8, 32}, STORE_MODEL_KEYS_DENSE, 300, 8},
};

static void script_play(struct run *run)
{
    create(run);
    open(run);
    trees_create(run);
    writes(run, 500);
    batch(run);
    gets(run, 20);
    control(run, tactus_checkpoint, "checkpoint");
    writes(run, 500);
    scans(run);
    control(run, tactus_drain, "drain");
    gets(run, 20);
    close(run);
    open(run);
    trees_create(run);
    writes(run, 400);
    batch(run);
    gets(run, 20);
    control(run, compact, "compact");
    writes(run, 300);
    scans(run);
    gets(run, 20);
}

static struct run *run_new(const struct fault_script *script, struct fault_outcome *outcome)
{
    struct run *run = calloc(1, sizeof *run);

    tac_assert(run != NULL);
    *outcome = (struct fault_outcome){0};
    run->script = script;
    run->outcome = outcome;
    run->prng.state = script->seed;
    run->model = store_model_new(specs, TREES);
    options_set(&run->options);
    fault_disk_create(&run->disk, script->seed);
    run->disk.kind = script->kind;
    run->disk.fail_at = script->fail_at;
    run->disk.is_sticky = script->is_sticky;
    run->disk.first_fault = first_fault;
    run->disk.first_fault_context = run;
    return run;
}

static void run_free(struct run *run)
{
    fault_disk_destroy(&run->disk);
    store_model_free(run->model);
    free(run);
}

void fault_script_pair_unreadable(uint64_t seed, struct fault_outcome *ret_outcome)
{
    struct fault_script script = {.kind = FAULT_READ, .is_sticky = true, .seed = seed};
    struct run         *run = run_new(&script, ret_outcome);

    create(run);
    open(run);
    trees_create(run);
    /* Copies are read in order, odd sequences are in the last two. */
    do {
        writes(run, 5);
        control(run, tactus_checkpoint, "checkpoint");
    } while (run->store->checkpoint.durable.sequence % 2 == 0);
    reach_note(run);
    tactus_abandon(run->store);
    run->store = NULL;
    run->disk.fail_at = run->disk.calls + 3;
    open(run);
    expect(run, run->store == NULL, "opened at op %llu without the newest superblock",
           run->store == NULL ? 0 : (unsigned long long)tactus_last_op(run->store));
    close(run);
    recover(run);
    expect(run, !ret_outcome->fell_back, "a checkpoint was lost");
    run_free(run);
}

void fault_script_run(const struct fault_script *script, struct fault_outcome *ret_outcome)
{
    struct run *run = run_new(script, ret_outcome);

    script_play(run);
    if (run->store != NULL && script->abandons) {
        reach_note(run);
        tactus_abandon(run->store);
        run->store = NULL;
    }
    close(run);
    expect(run, run->disk.changes_after == 0,
           "%llu writes or syncs went to the disk after one had failed",
           (unsigned long long)run->disk.changes_after);
    ret_outcome->calls = run->disk.calls;
    ret_outcome->faults = run->disk.faults;
    recover(run);
    run_free(run);
}
