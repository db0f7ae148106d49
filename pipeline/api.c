/* SPDX-License-Identifier: Apache-2.0 */
/* api -- the functions of tactus.h: arguments are checked here and nowhere further in. This file
 * has stores, trees and maintenance; api_write.c records and batches, api_read.c gets and
 * iterators. */
#include "pipeline/api_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/units.h"
#include "pipeline/options.h"
#include "pipeline/recovery.h"
#include "pipeline/room.h"
#include "pipeline/space.h"
#include "pipeline/store.h"
#include "pipeline/verify.h"
#include "queues/atomics.h"

_Thread_local struct tac_error tac_api_error;

const char *tactus_message(void) { return tac_api_error.message; }

int tac_api_lock(struct tactus *store)
{
    if (tac_api_fork_check(store) != TACTUS_OK) {
        return tac_api_error.code;
    }
    pthread_mutex_lock(&store->commit_lock);
    return TACTUS_OK;
}

/* ---- store ---------------------------------------------------------------------------------- */

int tactus_options_set(struct tactus_options *options, const char *name, const char *value)
{
    struct tactus_options own;

    if (options == NULL || name == NULL || value == NULL) {
        return tac_error_set(&tac_api_error, TACTUS_EINVAL,
                             "options, name and value must be given");
    }
    if (tac_options_import(options, &own, &tac_api_error) != TACTUS_OK ||
        tac_options_set(&own, name, value, &tac_api_error) != TACTUS_OK) {
        return tac_api_error.code;
    }
    tac_options_export(&own, options);
    return TACTUS_OK;
}

/* options: the program's, or NULL. */
static int options_take(const struct tactus_options *options, struct tactus_options *ret_options)
{
    if (options == NULL) {
        tactus_options_init(ret_options);
        return TACTUS_OK;
    }
    return tac_options_import(options, ret_options, &tac_api_error);
}

int tactus_create(const char *path, const struct tactus_options *options)
{
    struct tactus_options own;
    struct tac_storage   *storage;
    int                   result;

    if (path == NULL) {
        return tac_error_set(&tac_api_error, TACTUS_EINVAL, "no path");
    }
    if (options_take(options, &own) != TACTUS_OK) {
        return tac_api_error.code;
    }
    if (own.backend == TACTUS_BACKEND_MEMORY) {
        return tac_error_set(&tac_api_error, TACTUS_EOPTION,
                             "a memory store has no file to create: open it");
    }
    if (tac_storage_create_unpublished(path, own.backend, own.direct_io, &storage,
                                       &tac_api_error) != TACTUS_OK) {
        return tac_api_error.code;
    }
    result = tac_store_create(storage, &own, &tac_api_error);
    if (result == TACTUS_OK) {
        result = tac_storage_publish(storage, &tac_api_error);
    }
    storage->ops->close(storage);
    return result;
}

/* A memory store begins empty at every open; its disk goes with it. */
static int memory_storage_open(const struct tactus_options *options,
                               struct tac_storage         **ret_storage)
{
    struct tac_memory_disk *disk = tac_memory_disk_new(0);
    int                     result;

    if (disk == NULL) {
        return tac_error_set(&tac_api_error, TACTUS_ENOMEM, "out of memory for a memory store");
    }
    result = tac_storage_open_memory_owned(disk, ret_storage, &tac_api_error);
    if (result == TACTUS_OK) {
        result = tac_store_create(*ret_storage, options, &tac_api_error);
        if (result != TACTUS_OK) {
            (*ret_storage)->ops->close(*ret_storage);
        }
    }
    return result;
}

/* The log is the file beside the store's. Its writes are synchronous whatever the store's
 * backend. */
static int log_file_open(const struct tac_log_place *place, bool is_new,
                         struct tac_storage **ret_storage, struct tac_error *error)
{
    const char *path = place->context;
    char       *name = malloc(strlen(path) + sizeof "-wal");
    int         result;

    if (name == NULL) {
        return tac_error_set(error, TACTUS_ENOMEM, "out of memory for a path");
    }
    sprintf(name, "%s-wal", path);
    result = is_new ? tac_storage_create_file(name, TACTUS_BACKEND_POSIX, true, ret_storage, error)
                    : tac_storage_open_file(name, TACTUS_BACKEND_POSIX, true, ret_storage, error);
    free(name);
    return result;
}

static int log_file_remove(const struct tac_log_place *place, struct tac_error *error)
{
    const char *path = place->context;
    char       *name = malloc(strlen(path) + sizeof "-wal");
    int         result;

    if (name == NULL) {
        return tac_error_set(error, TACTUS_ENOMEM, "out of memory for a path");
    }
    sprintf(name, "%s-wal", path);
    result = tac_storage_remove_file(name, error);
    free(name);
    return result;
}

static int store_open(struct tactus_pool *pool, const char *path,
                      const struct tactus_options *options, struct tactus **ret_store)
{
    struct tactus_options own;
    struct tac_log_place  place = {log_file_open, log_file_remove, (void *)(uintptr_t)path};
    struct tac_storage   *storage;
    int                   result;

    if (ret_store == NULL) {
        return tac_error_set(&tac_api_error, TACTUS_EINVAL, "no place for the store's handle");
    }
    if (options_take(options, &own) != TACTUS_OK) {
        return tac_api_error.code;
    }
    if (own.backend == TACTUS_BACKEND_MEMORY) {
        result = memory_storage_open(&own, &storage);
    } else if (path == NULL) {
        result = tac_error_set(&tac_api_error, TACTUS_EINVAL, "no path");
    } else {
        result = tac_storage_open_file(path, own.backend, own.direct_io, &storage, &tac_api_error);
    }
    if (result != TACTUS_OK) {
        return result;
    }
    result = tac_store_open_in(pool, storage, &own, NULL,
                               own.backend == TACTUS_BACKEND_MEMORY ? NULL : &place, ret_store,
                               &tac_api_error);
    if (result != TACTUS_OK) {
        storage->ops->close(storage);
        return path == NULL ? result
                            : tac_error_wrap(&tac_api_error, "%s", tac_path_text(path).text);
    }
    return TACTUS_OK;
}

int tactus_open(const char *path, const struct tactus_options *options, struct tactus **ret_store)
{
    return store_open(NULL, path, options, ret_store);
}

int tactus_open_in(struct tactus_pool *pool, const char *path, const struct tactus_options *options,
                   struct tactus **ret_store)
{
    if (pool == NULL) {
        return tac_error_set(&tac_api_error, TACTUS_EINVAL, "no pool");
    }
    return tac_pool_fork_check(pool) != TACTUS_OK ? tac_api_error.code
                                                  : store_open(pool, path, options, ret_store);
}

int tactus_close(struct tactus *store)
{
    return tac_api_fork_check(store) != TACTUS_OK ? tac_api_error.code
                                                  : tac_store_close(store, &tac_api_error);
}

void tactus_abandon(struct tactus *store)
{
    if (!tac_storage_is_forked(store->storage)) {
        tac_logger_add(&store->logger, TACTUS_LOGGER_INFO,
                       "stopped without a drain: op %llu is durable, of %llu",
                       (unsigned long long)tactus_durable_op(store),
                       (unsigned long long)tactus_last_op(store));
        tac_store_abandon(store);
    }
}

/* ---- trees ---------------------------------------------------------------------------------- */

bool tac_api_name_is_legal(const char *name, size_t size_max)
{
    size_t size = name == NULL ? 0 : strlen(name);

    return size >= 1 && size <= size_max &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") ==
               size;
}

static int layout_check(const struct tactus *store, const struct tactus_layout *layout,
                        struct tac_layout *ret_layout)
{
    uint32_t record_max = store->shape.block_size / 4;
    uint32_t key_max = (uint32_t)tac_min_u64(TACTUS_KEY_SIZE_MAX, store->shape.block_size / 16);
    uint32_t value_size = layout->value_size;

    if (layout->kind != TACTUS_LAYOUT_FIXED && layout->kind != TACTUS_LAYOUT_VARIABLE) {
        return tac_error_set(&tac_api_error, TACTUS_ELAYOUT,
                             "layout kind %d is neither fixed nor variable", (int)layout->kind);
    }
    if (layout->key_size == 0 || layout->key_size > key_max) {
        return tac_error_set(&tac_api_error, TACTUS_EKEYSIZE,
                             "key size %u; 1 to %u with blocks of %u bytes", layout->key_size,
                             key_max, store->shape.block_size);
    }
    if (layout->kind == TACTUS_LAYOUT_VARIABLE && value_size == 0) {
        value_size = record_max - layout->key_size;
    }
    if (value_size > record_max - layout->key_size) {
        return tac_error_set(&tac_api_error, TACTUS_EVALUESIZE,
                             "value size %u; with the key at most %u (a quarter of a block)",
                             value_size, record_max);
    }
    *ret_layout = (struct tac_layout){layout->kind, layout->key_size, value_size};
    return TACTUS_OK;
}

static bool tree_is(struct tactus *store, uint32_t number, const char *name,
                    const struct tac_layout *layout)
{
    const struct tac_manifest_tree *tree = tac_manifest_tree(store->manifest, number);

    return strcmp(tree->name, name) == 0 && tree->layout.kind == layout->kind &&
           tree->layout.key_size == layout->key_size &&
           tree->layout.value_size == layout->value_size;
}

/* The op had run before the checkpoint. */
static int tree_create_again(struct tactus *store, uint32_t number,
                             const struct tac_wal_entry *entry, uint32_t *ret_tree)
{
    tac_trees_join(store, number);
    *ret_tree = tac_trees_id(store, number);
    return tac_writer_control(store, entry, &tac_api_error);
}

/* What may fail comes before bars are ended for room: that none is free afterwards only damage can
 * bring about. */
static int tree_room(struct tactus *store, const char *name, const struct tac_layout *layout)
{
    if (tac_writer_rest(store, &tac_api_error) != TACTUS_OK ||
        tac_space_tree_check(store, layout, &tac_api_error) != TACTUS_OK ||
        tac_manifest_tree_prepare(store->manifest, name, layout->key_size, &tac_api_error) !=
            TACTUS_OK ||
        tac_room_for_tree(store, &tac_api_error) != TACTUS_OK) {
        return tac_api_error.code;
    }
    return TACTUS_OK;
}

/* *ret_is_refused: the op has a number, but there is no tree. */
static int tree_create(struct tactus *store, const char *name, const struct tac_layout *layout,
                       uint32_t *ret_tree, bool *ret_is_refused)
{
    uint8_t              layout_bytes[TAC_WAL_LAYOUT_BYTES];
    struct tac_wal_entry entry = {
        .kind = TAC_WAL_TREE_CREATE,
        .is_last = true,
        .key = {(const uint8_t *)name, (uint32_t)strlen(name)},
        .value = {layout_bytes, sizeof layout_bytes},
    };
    struct tac_manifest_tree *state;
    uint32_t                  tree;
    int                       result;

    if (tac_manifest_tree_find(store->manifest, name, &tree) == TACTUS_OK) {
        return tac_error_set(&tac_api_error, TACTUS_EEXISTS, "tree \"%s\" exists already", name);
    }
    if (tac_recovery_is_refilling(store)) {
        tree = tac_trees_created_by(store, store->last_op + 1);
        if (tree < TACTUS_TREES_MAX && tree_is(store, tree, name, layout)) {
            return tree_create_again(store, tree, &entry, ret_tree);
        }
        tac_recovery_refill_end(store);
    }
    store->has_made_room = false;
    result = tac_wal_reserve(&store->wal, 1, tac_wal_entry_bytes(&entry), &tac_api_error);
    if (result == TACTUS_OK) {
        result = tree_room(store, name, layout);
    }
    if (result == TACTUS_OK) {
        result = tac_manifest_tree_add(store->manifest, name, layout, &tree, &tac_api_error);
    }
    tac_manifest_tree_unprepare(store->manifest);
    *ret_is_refused = tac_room_refused(store, result, false);
    if (result != TACTUS_OK) {
        return result;
    }
    entry.tree = tree;
    tac_wal_layout_encode(layout_bytes, layout);
    if (tac_wal_append(&store->wal, &entry, &tac_api_error) != TACTUS_OK) {
        tac_manifest_tree_undo(store->manifest, tree);
        return tac_api_error.code;
    }
    tac_writer_control_op(store);
    state = tac_manifest_tree(store->manifest, tree);
    state->created_op = store->last_op;
    tac_manifest_log_tree(store->manifest_log, state);
    tac_trees_join(store, tree);
    *ret_tree = tac_trees_id(store, tree);
    return TACTUS_OK;
}

int tactus_tree_create(struct tactus *store, const char *name, const struct tactus_layout *layout,
                       uint32_t *ret_tree)
{
    struct tac_layout inner;
    uint32_t          tree = 0;
    uint64_t          op;
    bool              is_refused = false;
    int               result;

    if (layout == NULL || !tac_api_name_is_legal(name, TACTUS_TREE_NAME_MAX)) {
        return tac_error_set(&tac_api_error, TACTUS_EINVAL,
                             "a tree's name is 1 to %d of A-Z a-z 0-9 _ . -", TACTUS_TREE_NAME_MAX);
    }
    if (layout_check(store, layout, &inner) != TACTUS_OK) {
        return tac_api_error.code;
    }
    if (tac_api_lock(store) != TACTUS_OK) {
        return tac_api_error.code;
    }
    result = tree_create(store, name, &inner, &tree, &is_refused);
    op = store->last_op;
    tac_api_unlock(store);
    if (result == TACTUS_OK && ret_tree != NULL) {
        *ret_tree = tree;
    }
    return tac_api_committed(store, op, result, is_refused);
}

int tactus_tree_find(struct tactus *store, const char *name, uint32_t *ret_tree)
{
    uint32_t number;
    int      result;

    if (tac_api_lock(store) != TACTUS_OK) {
        return tac_api_error.code;
    }
    result = name == NULL ? TACTUS_ENOTREE : tac_manifest_tree_find(store->manifest, name, &number);
    if (result == TACTUS_OK) {
        *ret_tree = tac_trees_id(store, number);
    }
    tac_api_unlock(store);
    if (result != TACTUS_OK) {
        return tac_error_set(&tac_api_error, TACTUS_ENOTREE, "no tree \"%s\"",
                             name == NULL ? "(null)" : name);
    }
    return TACTUS_OK;
}

static void tree_describe(const struct tac_manifest_tree *tree, struct tactus_tree_info *info)
{
    memcpy(info->name, tree->name, sizeof info->name);
    info->id = tac_tree_id(tree->id, tree->generation);
    info->layout = (struct tactus_layout){(enum tactus_layout_kind)tree->layout.kind,
                                          tree->layout.key_size, tree->layout.value_size};
}

int tactus_tree_list(struct tactus *store, struct tactus_tree_info *trees, uint32_t trees_max,
                     uint32_t *ret_count)
{
    uint32_t count = 0;

    if (tac_api_lock(store) != TACTUS_OK) {
        return tac_api_error.code;
    }
    for (uint32_t i = 0; i < tac_manifest_tree_count(store->manifest); i++) {
        const struct tac_manifest_tree *tree = tac_manifest_tree(store->manifest, i);

        if (tree->is_open && count < trees_max) {
            tree_describe(tree, &trees[count]);
        }
        count += tree->is_open;
    }
    tac_api_unlock(store);
    *ret_count = count;
    return TACTUS_OK;
}

static int tree_drop(struct tactus *store, uint32_t tree)
{
    uint32_t                   number = tac_tree_number(tree);
    const struct tac_wal_entry entry = {.kind = TAC_WAL_TREE_DROP, .is_last = true, .tree = number};
    uint64_t                   dropped_op;
    bool                       had_run;

    if (tac_trees_check(store, tree, &tac_api_error) != TACTUS_OK) {
        return tac_api_error.code;
    }
    dropped_op = tac_manifest_tree(store->manifest, number)->dropped_op;
    if (tac_recovery_is_refilling(store) && dropped_op != store->last_op + 1) {
        tac_recovery_refill_end(store); /* Else the op had run before the checkpoint. */
    }
    had_run = tac_recovery_is_refilling(store);
    if (tac_writer_control(store, &entry, &tac_api_error) != TACTUS_OK) {
        return tac_api_error.code;
    }
    if (!had_run && store->sweep.op != 0 && store->sweep.tree == number) {
        tac_sweep_end(store, TACTUS_COMPACT_CANCELLED); /* Else the sweep is the checkpoint's */
    }
    tac_manifest_tree(store->manifest, number)->dropped_op = store->last_op;
    tac_trees_close(store, number);
    return TACTUS_OK;
}

int tactus_tree_drop(struct tactus *store, uint32_t tree)
{
    uint64_t op;
    int      result;

    if (tac_api_lock(store) != TACTUS_OK) {
        return tac_api_error.code;
    }
    result = tree_drop(store, tree);
    op = store->last_op;
    tac_api_unlock(store);
    return result == TACTUS_OK ? tac_wal_committed(&store->wal, op, &tac_api_error) : result;
}

int tac_api_tree_layout(struct tactus *store, uint32_t tree, struct tac_layout *ret_layout)
{
    return tac_trees_find(store, tree, ret_layout)
               ? TACTUS_OK
               : tac_error_set(&tac_api_error, TACTUS_ENOTREE, "no tree with id %u", tree);
}

int tac_api_key_check(const struct tac_layout *layout, const void *key, size_t key_size)
{
    if (key == NULL || key_size == 0) {
        return tac_error_set(&tac_api_error, TACTUS_EKEYSIZE, "the key is empty");
    }
    if (key_size > layout->key_size) {
        return tac_error_set(&tac_api_error, TACTUS_EKEYSIZE, "key of %zu bytes; at most %u here",
                             key_size, layout->key_size);
    }
    if (layout->kind == TACTUS_LAYOUT_FIXED && key_size != layout->key_size) {
        return tac_error_set(&tac_api_error, TACTUS_ELAYOUT,
                             "key of %zu bytes; keys of this tree have %u", key_size,
                             layout->key_size);
    }
    return TACTUS_OK;
}

/* ---- maintenance ---------------------------------------------------------------------------- */

int tac_api_maintenance_lock(struct tactus *store)
{
    if (tac_api_lock(store) != TACTUS_OK) {
        return tac_api_error.code;
    }
    if (tac_writer_pause_check(store, &tac_api_error) != TACTUS_OK) {
        tac_api_unlock(store);
        return tac_api_error.code;
    }
    return TACTUS_OK;
}

int tactus_drain(struct tactus *store)
{
    int result;

    if (tac_api_maintenance_lock(store) != TACTUS_OK) {
        return tac_api_error.code;
    }
    result = tac_writer_drain(store, 0, &tac_api_error);
    tac_api_unlock(store);
    return result;
}

int tactus_compact(struct tactus *store, uint32_t tree)
{
    struct tac_layout layout;
    int               result = tac_api_tree_layout(store, tree, &layout);

    if (result != TACTUS_OK) {
        return result;
    }
    if (tac_api_maintenance_lock(store) != TACTUS_OK) {
        return tac_api_error.code;
    }
    result = tac_trees_check(store, tree, &tac_api_error);
    if (result == TACTUS_OK) {
        result = tac_writer_drain(store, (uint64_t)1 << tac_tree_number(tree), &tac_api_error);
    }
    tac_api_unlock(store);
    return result;
}

int tactus_compaction_hold(struct tactus *store, bool hold)
{
    const uint8_t              value = hold;
    const struct tac_wal_entry entry = {
        .kind = TAC_WAL_HOLD, .is_last = true, .value = {&value, sizeof value}};
    uint64_t op;
    bool     is_done; /* It had run before the checkpoint. */
    int      result;

    if (tac_api_lock(store) != TACTUS_OK) {
        return tac_api_error.code;
    }
    is_done = tac_recovery_is_refilling(store);
    result = tac_writer_control(store, &entry, &tac_api_error);
    if (result == TACTUS_OK && !is_done) {
        store->is_held = hold;
    }
    op = store->last_op;
    tac_api_unlock(store);
    return result == TACTUS_OK ? tac_wal_committed(&store->wal, op, &tac_api_error) : result;
}

int tactus_beat(struct tactus *store)
{
    uint64_t op;
    int      result;

    if (tac_api_lock(store) != TACTUS_OK) {
        return tac_api_error.code;
    }
    result = tac_writer_beat(store, &tac_api_error);
    op = store->last_op;
    tac_api_unlock(store);
    return result == TACTUS_OK ? tac_wal_committed(&store->wal, op, &tac_api_error) : result;
}

int tactus_pause(struct tactus *store)
{
    if (tac_api_fork_check(store) != TACTUS_OK ||
        tac_writer_pause(store, &tac_api_error) != TACTUS_OK) {
        return tac_api_error.code;
    }
    tac_logger_add(&store->logger, TACTUS_LOGGER_INFO, "flushes and compactions are paused");
    tac_api_tell(store);
    return TACTUS_OK;
}

int tactus_resume(struct tactus *store)
{
    if (tac_api_fork_check(store) != TACTUS_OK) {
        return tac_api_error.code;
    }
    tac_writer_resume(store);
    tac_logger_add(&store->logger, TACTUS_LOGGER_INFO, "flushes and compactions go on");
    tac_api_tell(store);
    return TACTUS_OK;
}

/* Also if it failed: there may be none left. */
static void threads_say(struct tactus *store, int result)
{
    struct tactus_stats stats;

    if (store->logger.fn == NULL) {
        return;
    }
    tactus_stat(store, &stats);
    if (result == TACTUS_OK) {
        tac_logger_add(&store->logger, TACTUS_LOGGER_INFO,
                       "stage threads now: %u read, %u merge, %u write", stats.threads_read,
                       stats.threads_merge, stats.threads_write);
    } else {
        tac_logger_add(&store->logger, TACTUS_LOGGER_ERROR,
                       "other stage threads were refused, and there are %u, %u and %u: %s",
                       stats.threads_read, stats.threads_merge, stats.threads_write,
                       tac_api_error.message);
    }
}

int tactus_threads_change(struct tactus *store, uint32_t threads_read, uint32_t threads_merge,
                          uint32_t threads_write)
{
    struct tactus_options options;
    int                   result;

    if (tac_api_lock(store) != TACTUS_OK) {
        return tac_api_error.code;
    }
    options = store->options;
    tac_api_unlock(store);
    if (store->shared != NULL) {
        return tac_error_set(&tac_api_error, TACTUS_EOPTION,
                             "the store's threads are those of the pool that it is open in: "
                             "tactus_pool_threads_change changes them");
    }
    options.threads = TACTUS_THREADS_AUTO;
    options.threads_read = threads_read;
    options.threads_merge = threads_merge;
    options.threads_write = threads_write;
    if (tac_options_resolve(&options, &tac_api_error) != TACTUS_OK) {
        return tac_api_error.code;
    }
    if (options.threads_merge == 0 || store->is_stepped) {
        return tac_error_set(&tac_api_error, TACTUS_EOPTION,
                             "a store is opened without stage threads, or with some, and stays so: "
                             "it has been opened with%s",
                             store->is_stepped ? "out" : " some");
    }
    result = tac_store_workers_change(store, &options, NULL, &tac_api_error);
    threads_say(store, result);
    return result;
}

int tactus_io_rate_change(struct tactus *store, uint64_t io_rate_max_bytes)
{
    struct tactus_options options;

    if (tac_api_fork_check(store) != TACTUS_OK) {
        return tac_api_error.code;
    }
    tactus_options_init(&options);
    options.io_rate_max_bytes = io_rate_max_bytes;
    if (tac_options_resolve(&options, &tac_api_error) != TACTUS_OK) {
        return tac_api_error.code;
    }
    if (tac_store_io_rate_change(store, io_rate_max_bytes, &tac_api_error) != TACTUS_OK) {
        return tac_api_error.code;
    }
    tac_logger_add(&store->logger, TACTUS_LOGGER_INFO, "io_rate_max_bytes is %llu now",
                   (unsigned long long)io_rate_max_bytes);
    tac_api_tell(store);
    return TACTUS_OK;
}

int tactus_checkpoint(struct tactus *store)
{
    int result;

    if (tac_api_maintenance_lock(store) != TACTUS_OK) {
        return tac_api_error.code;
    }
    result = tac_writer_checkpoint(store, &tac_api_error);
    tac_api_unlock(store);
    return result;
}

int tactus_sync(struct tactus *store)
{
    if (store->wal.storage == NULL) {
        return tactus_checkpoint(store);
    }
    if (tac_storage_is_forked(store->storage)) {
        return tac_error_set(&tac_api_error, TACTUS_EFORKED,
                             "the store was opened by the parent process; open it again here");
    }
    return tac_wal_sync(&store->wal, tactus_last_op(store), &tac_api_error);
}

uint64_t tactus_durable_op(struct tactus *store)
{
    uint64_t op = tac_atomic_load_acquire_u64(&store->durable_op);

    /* The log makes an op durable before it is visible. */
    op = tac_max_u64(op, tac_wal_durable_op(&store->wal));
    return tac_min_u64(op, tactus_last_op(store));
}

uint64_t tactus_last_op(struct tactus *store)
{
    return tac_atomic_load_acquire_u64(&store->read_side.visible_op);
}

uint64_t tactus_replay_op(struct tactus *store)
{
    uint64_t op;

    pthread_mutex_lock(&store->commit_lock);
    op = store->last_op + 1;
    tac_api_unlock(store);
    return op;
}

void tactus_replay_end(struct tactus *store)
{
    pthread_mutex_lock(&store->commit_lock);
    if (tac_recovery_is_refilling(store)) {
        tac_recovery_refill_end(store);
    }
    store->resumed_op = store->crossing_op = 0;
    store->is_replaying = false;
    tac_api_unlock(store);
}

bool tac_api_step(struct tactus *store, bool may_wait)
{
    bool progressed = false;

    if (tac_api_lock(store) != TACTUS_OK) {
        return false;
    }
    if (!store->workers.has_threads) {
        tac_worker_pool_enter(&store->workers, tac_clock_now_ns());
        progressed =
            (store->workers.has_descriptor || !may_wait ? tac_worker_pool_try_step
                                                        : tac_worker_pool_step)(&store->workers) ||
            (!store->scrub.has_thread && tac_scrub_step(store));
    }
    tac_api_unlock(store);
    return progressed;
}

bool tactus_step(struct tactus *store) { return tac_api_step(store, true); }

int tactus_descriptor(struct tactus *store, int *ret_descriptor)
{
    int result;

    if (tac_api_lock(store) != TACTUS_OK) {
        return tac_api_error.code;
    }
    result = store->is_stepped
                 ? tac_worker_pool_descriptor(&store->workers, ret_descriptor, &tac_api_error)
                 : tac_error_set(&tac_api_error, TACTUS_EOPTION,
                                 "a store with stage threads has no descriptor: nobody has to step "
                                 "it");
    tac_api_unlock(store);
    return result;
}

/* ---- verify and digest ---------------------------------------------------------------------- */

static int store_walk(struct tac_walk *walk)
{
    struct tactus *store = walk->store;
    int            result;

    if (tac_api_lock(store) != TACTUS_OK) {
        return tac_api_error.code;
    }
    result = tac_writer_quiet(store, &tac_api_error);
    if (result == TACTUS_OK) {
        result = tac_walk_all(walk, &tac_api_error);
    }
    tac_api_unlock(store);
    return result;
}

int tactus_digest(struct tactus *store, uint8_t ret_digest[16])
{
    struct tactus_verify_report report;
    struct tac_walk             walk = {.store = store, .report = &report};
    int                         result = store_walk(&walk);

    if (result == TACTUS_OK) {
        memcpy(ret_digest, &walk.digest, 16);
    }
    return result;
}

int tactus_verify(struct tactus *store, void (*damage_fn)(void *context, const char *text),
                  void *context, struct tactus_verify_report *ret_report)
{
    struct tactus_verify_report report;
    struct tac_walk             walk = {
                    .store = store,
                    .damage_fn = damage_fn,
                    .damage_context = context,
                    .checks_records = true,
                    .report = ret_report != NULL ? ret_report : &report,
    };

    return store_walk(&walk);
}
