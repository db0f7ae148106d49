/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/fault_check.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "tests/lib/blocks_in_use.h"

#define MOVE_TRIES_MAX 8

bool run_expect(struct run *run, bool ok, const char *format, ...)
{
    va_list arguments;

    if (!ok && run->outcome->message[0] == 0) {
        va_start(arguments, format);
        vsnprintf(run->outcome->message, sizeof run->outcome->message, format, arguments);
        va_end(arguments);
    }
    return ok;
}

bool run_has_fault(const struct run *run) { return run->disk.faults > 0; }

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

    run_expect(run, strstr(text, reasons[kind]) != NULL, "%s: the text has no reason: \"%s\"", what,
               text);
    run_expect(run,
               strstr(text, actions[kind][0]) != NULL || strstr(text, actions[kind][1]) != NULL,
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
bool run_write_result(struct run *run, int code, const char *what)
{
    const char *text = tactus_message();

    if (code == TACTUS_OK) {
        return run_expect(run, run->cause[0] == 0, "%s succeeds after writing had stopped", what);
    }
    run_expect(run, run_has_fault(run), "%s: %d %s, without a fault", what, code, text);
    if (is_refusal(run, code)) {
        return false;
    }
    run_expect(run, code == TACTUS_EPOISONED, "%s: %d, not EPOISONED: %s", what, code, text);
    if (run->cause[0] == 0) {
        run->outcome->has_stopped = true;
        run->outcome->stopped_in = what;
        snprintf(run->cause, sizeof run->cause, "%s", text);
        text_check(run, what, text);
    }
    run_expect(run, strcmp(run->cause, text) == 0, "%s: \"%s\", but the first cause was \"%s\"",
               what, text, run->cause);
    return false;
}

/* A call that creates or opens. */
bool run_open_result(struct run *run, const struct tac_error *error, int code, const char *what)
{
    int expected = run->script->kind == FAULT_SPACE ? TACTUS_EFULL : TACTUS_EIO;

    if (code == TACTUS_OK) {
        return true;
    }
    run_expect(run, run_has_fault(run), "%s: %d %s, without a fault", what, code, error->message);
    run_expect(run, code == error->code && code == expected, "%s: %d, should be %d: %s", what, code,
               expected, error->message);
    text_check(run, what, error->message);
    return false;
}

/* A read that failed: only what meets the fault may. A failed sync may have lost blocks. */
static void read_failed(struct run *run, int code, const char *what)
{
    enum fault_kind kind = run->script->kind;
    bool is_explained = run_has_fault(run) && ((kind == FAULT_READ && code == TACTUS_EIO) ||
                                               (kind == FAULT_SYNC && code == TACTUS_ECORRUPT));

    run->outcome->reads_failed++;
    run_expect(run, is_explained, "%s: %d %s", what, code, tactus_message());
    if (kind == FAULT_READ) {
        text_check(run, what, tactus_message());
        run_expect(run, run->outcome->reads_failed <= run->disk.faults,
                   "%s: %s, but the disk is sound", what, tactus_message());
    }
}

/* ---- reading -------------------------------------------------------------------------------- */

static void value_check(struct run *run, uint32_t tree, uint32_t key, const void *value,
                        size_t size)
{
    const struct store_model_version *version =
        store_model_get(run->model, tree, key, run->model->op);

    if (run_expect(run, version != NULL, "tree %u key %u: found, but it is not there", tree, key)) {
        store_model_value(version->value_seed, version->value_size, run->expected);
        run_expect(run, size == version->value_size && memcmp(value, run->expected, size) == 0,
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
        run_expect(run, store_model_get(run->model, tree, key, run->model->op) == NULL,
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
        !run_expect(run, tactus_iterator_open(run->store, at->id, &iterator) == TACTUS_OK,
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
            run_expect(run, code == TACTUS_ENOTFOUND && key == STORE_MODEL_NONE,
                       "scan of tree %u: it ends before key %u, or a record is behind the last",
                       tree, key);
            break;
        }
        tactus_iterator_record(iterator, &key_bytes, &key_size, &value, &value_size);
        if (!run_expect(run,
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

void run_gets(struct run *run, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t tree = (uint32_t)tac_prng_below(&run->prng, RUN_TREES);

        get(run, tree, (uint32_t)tac_prng_below(&run->prng, run->model->trees[tree].key_count));
    }
}

void run_scans(struct run *run)
{
    for (uint32_t tree = 0; tree < RUN_TREES; tree++) {
        scan(run, tree, tree % 2 == 1);
    }
}

/* ---- after the faults ----------------------------------------------------------------------- */

static void damage_note(void *context, const char *text)
{
    run_expect(context, false, "verify: %s", text);
}

/* As many blocks are acquired as superblocks, free set, manifest log and tables take. */
static void accounting_check(struct run *run)
{
    struct tactus *store = run->store;
    uint64_t       blocks = blocks_in_use(store);

    run_expect(run, tac_free_set_acquired_count(store->free_set) == blocks,
               "%llu blocks are acquired, %llu are in use",
               (unsigned long long)tac_free_set_acquired_count(store->free_set),
               (unsigned long long)blocks);
}

/* Each key, or each so many, of a tree is in the snapshot what it was as of its op. */
static void snapshot_tree_check(struct run *run, struct tactus_snapshot *snapshot, uint32_t tree,
                                uint64_t op, uint32_t stride)
{
    const struct store_model_tree *at = &run->model->trees[tree];

    for (uint32_t key = 0; key < at->key_count; key += stride) {
        const struct store_model_version *version = store_model_get(run->model, tree, key, op);
        size_t                            size = 0;
        int code = tactus_snapshot_get(snapshot, at->id, at->keys[key].bytes, at->keys[key].size,
                                       run->buffer, sizeof run->buffer, &size);

        if (code != TACTUS_OK && code != TACTUS_ENOTFOUND) {
            read_failed(run, code, "get of a snapshot");
            continue;
        }
        if (!run_expect(run, code == (version == NULL ? TACTUS_ENOTFOUND : TACTUS_OK),
                        "snapshot of op %llu, tree %u key %u: %d", (unsigned long long)op, tree,
                        key, code)) {
            return;
        }
        if (version != NULL) {
            store_model_value(version->value_seed, version->value_size, run->expected);
            run_expect(run,
                       size == version->value_size && memcmp(run->buffer, run->expected, size) == 0,
                       "snapshot of op %llu, tree %u key %u: another value", (unsigned long long)op,
                       tree, key);
        }
    }
}

void run_snapshot_read(struct run *run, uint32_t stride)
{
    struct tactus_snapshot_info info;
    struct tactus_snapshot     *snapshot;
    uint32_t                    count = 0;
    int                         code;

    if (run->store == NULL ||
        !run_expect(run,
                    tactus_snapshot_list(run->store, &info, 1, &count) == TACTUS_OK && count <= 1,
                    "%u snapshots", count) ||
        count == 0) {
        return;
    }
    code = tactus_snapshot_open(run->store, info.name, &snapshot);
    if (code != TACTUS_OK) {
        read_failed(run, code, "open of a snapshot");
        return;
    }
    for (uint32_t tree = 0; tree < RUN_TREES; tree++) {
        if (run->model->trees[tree].created_op < info.op) {
            snapshot_tree_check(run, snapshot, tree, info.op, stride);
        }
    }
    tactus_snapshot_close(snapshot);
    run->outcome->snapshots_read++;
}

void run_check(struct run *run)
{
    struct tactus_verify_report report;

    run_scans(run);
    run_snapshot_read(run, 1);
    accounting_check(run);
    run_expect(run, tactus_verify(run->store, damage_note, run, &report) == TACTUS_OK, "verify: %s",
               tactus_message());
}
