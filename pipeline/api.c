/* SPDX-License-Identifier: Apache-2.0 */
/* api -- the functions of tactus.h: arguments are checked here and nowhere further in. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/units.h"
#include "pipeline/options.h"
#include "pipeline/recovery.h"
#include "pipeline/space.h"
#include "pipeline/store.h"
#include "pipeline/verify.h"
#include "queues/atomics.h"

struct tactus_batch {
    struct tactus *store;
    uint8_t       *data; /* Entries one behind the other: struct batch_entry, key, value */
    size_t         size, capacity;
    uint64_t       accounted_bytes;
    uint64_t       trees; /* Bit per tree that it writes to */
    bool           has_puts;
    uint32_t       count;
};

struct batch_entry {
    uint32_t tree;
    uint32_t key_size;
    uint32_t value_size;
    uint32_t is_tombstone;
};

struct tactus_iterator {
    struct tactus       *store;
    struct tac_iterator *iterator;
};

static _Thread_local struct tac_error last_error;

const char *tactus_message(void) { return last_error.message; }

/* In a forked child there are no threads of the store, nobody may be left to give back its locks,
 * and the file is the parent's: asked before anything is waited for. */
static int fork_check(const struct tactus *store)
{
    if (tac_storage_is_forked(store->storage)) {
        return tac_error_set(&last_error, TACTUS_EFORKED,
                             "the store was opened by the parent process, which goes on with it");
    }
    return TACTUS_OK;
}

static int commit_lock_take(struct tactus *store)
{
    if (fork_check(store) != TACTUS_OK) {
        return last_error.code;
    }
    pthread_mutex_lock(&store->commit_lock);
    return TACTUS_OK;
}

/* ---- store ---------------------------------------------------------------------------------- */

int tactus_options_set(struct tactus_options *options, const char *name, const char *value)
{
    if (options == NULL || name == NULL || value == NULL) {
        return tac_error_set(&last_error, TACTUS_EINVAL, "options, name and value must be given");
    }
    return tac_options_set(options, name, value, &last_error);
}

int tactus_create(const char *path, const struct tactus_options *options)
{
    struct tactus_options defaults;
    struct tac_storage   *storage;
    int                   result;

    if (path == NULL) {
        return tac_error_set(&last_error, TACTUS_EINVAL, "no path");
    }
    if (options == NULL) {
        tactus_options_init(&defaults);
        options = &defaults;
    }
    if (options->backend == TACTUS_BACKEND_MEMORY) {
        return tac_error_set(&last_error, TACTUS_EOPTION,
                             "a memory store has no file to create: open it");
    }
    if (tac_storage_create_file(path, options->backend, options->direct_io, &storage,
                                &last_error) != TACTUS_OK) {
        return last_error.code;
    }
    result = tac_store_create(storage, options, &last_error);
    storage->ops->close(storage);
    if (result != TACTUS_OK) {
        (void)unlink(path);
    }
    return result;
}

/* A memory store begins empty at every open; its disk goes with it. */
static int memory_storage_open(const struct tactus_options *options,
                               struct tac_storage         **ret_storage)
{
    struct tac_memory_disk *disk = tac_memory_disk_new(0);
    int                     result;

    if (disk == NULL) {
        return tac_error_set(&last_error, TACTUS_ENOMEM, "out of memory for a memory store");
    }
    result = tac_storage_open_memory_owned(disk, ret_storage, &last_error);
    if (result == TACTUS_OK) {
        result = tac_store_create(*ret_storage, options, &last_error);
        if (result != TACTUS_OK) {
            (*ret_storage)->ops->close(*ret_storage);
        }
    }
    return result;
}

/* The log is the file beside the store's. Its writes are synchronous whatever the store's backend. */
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

int tactus_open(const char *path, const struct tactus_options *options, struct tactus **ret_store)
{
    struct tactus_options defaults;
    struct tac_log_place  place = {log_file_open, log_file_remove, (void *)(uintptr_t)path};
    struct tac_storage   *storage;
    int                   result;

    if (ret_store == NULL) {
        return tac_error_set(&last_error, TACTUS_EINVAL, "no place for the store's handle");
    }
    if (options == NULL) {
        tactus_options_init(&defaults);
        options = &defaults;
    }
    if (options->backend == TACTUS_BACKEND_MEMORY) {
        result = memory_storage_open(options, &storage);
    } else if (path == NULL) {
        result = tac_error_set(&last_error, TACTUS_EINVAL, "no path");
    } else {
        result = tac_storage_open_file(path, options->backend, options->direct_io, &storage,
                                       &last_error);
    }
    if (result != TACTUS_OK) {
        return result;
    }
    result = tac_store_open(storage, options, NULL,
                            options->backend == TACTUS_BACKEND_MEMORY ? NULL : &place, ret_store,
                            &last_error);
    if (result != TACTUS_OK) {
        storage->ops->close(storage);
        return path == NULL ? result : tac_error_wrap(&last_error, "%s", path);
    }
    return TACTUS_OK;
}

int tactus_close(struct tactus *store)
{
    return fork_check(store) != TACTUS_OK ? last_error.code : tac_store_close(store, &last_error);
}

void tactus_abandon(struct tactus *store)
{
    if (!tac_storage_is_forked(store->storage)) {
        tac_store_abandon(store);
    }
}

/* ---- trees ---------------------------------------------------------------------------------- */

static bool name_is_legal(const char *name)
{
    size_t size = strlen(name);

    return size >= 1 && size <= TACTUS_TREE_NAME_MAX &&
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
        return tac_error_set(&last_error, TACTUS_ELAYOUT,
                             "layout kind %d is neither fixed nor variable", (int)layout->kind);
    }
    if (layout->key_size == 0 || layout->key_size > key_max) {
        return tac_error_set(&last_error, TACTUS_EKEYSIZE,
                             "key size %u; 1 to %u with blocks of %u bytes", layout->key_size,
                             key_max, store->shape.block_size);
    }
    if (layout->kind == TACTUS_LAYOUT_VARIABLE && value_size == 0) {
        value_size = record_max - layout->key_size;
    }
    if (value_size > record_max - layout->key_size) {
        return tac_error_set(&last_error, TACTUS_EVALUESIZE,
                             "value size %u; with the key at most %u (a quarter of a block)",
                             value_size, record_max);
    }
    *ret_layout = (struct tac_layout){layout->kind, layout->key_size, value_size};
    return TACTUS_OK;
}

static bool layout_is(const struct tac_layout *a, const struct tac_layout *b)
{
    return a->kind == b->kind && a->key_size == b->key_size && a->value_size == b->value_size;
}

static int tree_create(struct tactus *store, const char *name, const struct tac_layout *layout,
                       uint32_t *ret_tree)
{
    uint8_t              layout_bytes[TAC_WAL_LAYOUT_BYTES];
    struct tac_wal_entry entry = {
        .kind = TAC_WAL_TREE_CREATE,
        .is_last = true,
        .key = {(const uint8_t *)name, (uint32_t)strlen(name)},
        .value = {layout_bytes, sizeof layout_bytes},
    };
    uint32_t tree;

    if (tac_manifest_tree_find(store->manifest, name, &tree) == TACTUS_OK) {
        if (!tac_recovery_is_refilling(store) ||
            !layout_is(&tac_manifest_tree(store->manifest, tree)->layout, layout)) {
            return tac_error_set(&last_error, TACTUS_EEXISTS, "tree \"%s\" exists already", name);
        }
        *ret_tree = tree; /* The op had run before the checkpoint. */
        return tac_writer_control(store, &entry, &last_error);
    }
    if (tac_recovery_is_refilling(store)) {
        tac_recovery_refill_end(store);
    }
    if (tac_writer_rest(store, &last_error) != TACTUS_OK ||
        tac_space_tree_check(store, layout, &last_error) != TACTUS_OK ||
        tac_manifest_tree_add(store->manifest, name, layout, &tree, &last_error) != TACTUS_OK) {
        return last_error.code;
    }
    entry.tree = tree;
    tac_wal_layout_encode(layout_bytes, layout);
    if (tac_wal_append(&store->wal, &entry, &last_error) != TACTUS_OK) {
        tac_manifest_tree_undo(store->manifest);
        return last_error.code;
    }
    tac_writer_control_op(store);
    tac_manifest_log_tree(store->manifest_log, tac_manifest_tree(store->manifest, tree));
    tac_read_side_tree_add(&store->read_side, tac_manifest_tree(store->manifest, tree));
    tac_atomic_store_release_u32(&store->tree_count, tree + 1);
    *ret_tree = tree;
    return TACTUS_OK;
}

int tactus_tree_create(struct tactus *store, const char *name, const struct tactus_layout *layout,
                       uint32_t *ret_tree)
{
    struct tac_layout inner;
    uint32_t          tree = 0;
    uint64_t          op;
    int               result;

    if (name == NULL || layout == NULL || !name_is_legal(name)) {
        return tac_error_set(&last_error, TACTUS_EINVAL,
                             "a tree's name is 1 to %d of A-Z a-z 0-9 _ . -", TACTUS_TREE_NAME_MAX);
    }
    if (layout_check(store, layout, &inner) != TACTUS_OK) {
        return last_error.code;
    }
    if (commit_lock_take(store) != TACTUS_OK) {
        return last_error.code;
    }
    result = tree_create(store, name, &inner, &tree);
    op = store->last_op;
    pthread_mutex_unlock(&store->commit_lock);
    if (result == TACTUS_OK && ret_tree != NULL) {
        *ret_tree = tree;
    }
    return result == TACTUS_OK ? tac_wal_committed(&store->wal, op, &last_error) : result;
}

int tactus_tree_find(struct tactus *store, const char *name, uint32_t *ret_tree)
{
    int result;

    if (commit_lock_take(store) != TACTUS_OK) {
        return last_error.code;
    }
    result =
        name == NULL ? TACTUS_ENOTREE : tac_manifest_tree_find(store->manifest, name, ret_tree);
    pthread_mutex_unlock(&store->commit_lock);
    if (result != TACTUS_OK) {
        return tac_error_set(&last_error, TACTUS_ENOTREE, "no tree \"%s\"",
                             name == NULL ? "(null)" : name);
    }
    return TACTUS_OK;
}

int tactus_tree_list(struct tactus *store, struct tactus_tree_info *trees, uint32_t trees_max,
                     uint32_t *ret_count)
{
    uint32_t count;

    if (commit_lock_take(store) != TACTUS_OK) {
        return last_error.code;
    }
    count = tac_manifest_tree_count(store->manifest);
    for (uint32_t i = 0; i < count && i < trees_max; i++) {
        const struct tac_manifest_tree *tree = tac_manifest_tree(store->manifest, i);

        memcpy(trees[i].name, tree->name, sizeof trees[i].name);
        trees[i].id = i;
        trees[i].layout = (struct tactus_layout){(enum tactus_layout_kind)tree->layout.kind,
                                                 tree->layout.key_size, tree->layout.value_size};
    }
    pthread_mutex_unlock(&store->commit_lock);
    *ret_count = count;
    return TACTUS_OK;
}

/* Trees are only ever added, and their layouts never change. */
static int tree_layout(struct tactus *store, uint32_t tree, struct tac_layout *ret_layout)
{
    if (tree >= tac_atomic_load_acquire_u32(&store->tree_count)) {
        return tac_error_set(&last_error, TACTUS_ENOTREE, "no tree with id %u", tree);
    }
    *ret_layout = tac_manifest_tree(store->manifest, tree)->layout;
    return TACTUS_OK;
}

static int key_check(const struct tac_layout *layout, const void *key, size_t key_size)
{
    if (key == NULL || key_size == 0) {
        return tac_error_set(&last_error, TACTUS_EKEYSIZE, "the key is empty");
    }
    if (key_size > layout->key_size) {
        return tac_error_set(&last_error, TACTUS_EKEYSIZE, "key of %zu bytes; at most %u here",
                             key_size, layout->key_size);
    }
    if (layout->kind == TACTUS_LAYOUT_FIXED && key_size != layout->key_size) {
        return tac_error_set(&last_error, TACTUS_ELAYOUT,
                             "key of %zu bytes; keys of this tree have %u", key_size,
                             layout->key_size);
    }
    return TACTUS_OK;
}

static int record_check(struct tactus *store, uint32_t tree, const void *key, size_t key_size,
                        const void *value, size_t value_size, bool is_tombstone)
{
    struct tac_layout layout;

    if (tree_layout(store, tree, &layout) != TACTUS_OK ||
        key_check(&layout, key, key_size) != TACTUS_OK) {
        return last_error.code;
    }
    if (is_tombstone) {
        return TACTUS_OK;
    }
    if (value == NULL && value_size > 0) {
        return tac_error_set(&last_error, TACTUS_EINVAL, "no value");
    }
    if (value_size > layout.value_size) {
        return tac_error_set(&last_error, TACTUS_EVALUESIZE, "value of %zu bytes; at most %u here",
                             value_size, layout.value_size);
    }
    if (layout.kind == TACTUS_LAYOUT_FIXED && value_size != layout.value_size) {
        return tac_error_set(&last_error, TACTUS_ELAYOUT,
                             "value of %zu bytes; values of this tree have %u", value_size,
                             layout.value_size);
    }
    return TACTUS_OK;
}

/* ---- writing -------------------------------------------------------------------------------- */

/* What a tombstone takes in a table beyond its key. */
static uint64_t tombstone_extra(struct tactus *store, uint32_t tree)
{
    struct tac_layout layout = tac_manifest_tree(store->manifest, tree)->layout;

    return layout.kind == TACTUS_LAYOUT_FIXED ? layout.value_size : 0;
}

static uint64_t record_accounted(struct tactus *store, uint32_t tree, size_t key_size,
                                 size_t value_size, bool is_tombstone)
{
    return tac_memtable_record_accounted((uint32_t)key_size, (uint32_t)value_size) +
           (is_tombstone ? tombstone_extra(store, tree) : 0);
}

/* What a log has had been taken before: it is taken again whatever damage has been found since. */
static int write_begin(struct tactus *store, uint64_t trees, uint64_t accounted, bool has_puts)
{
    bool is_new = !store->wal.is_replaying && !tac_recovery_is_refilling(store);

    if (is_new &&
        tac_damage_check(&store->damage, store->manifest, trees, &last_error) != TACTUS_OK) {
        return last_error.code;
    }
    return tac_writer_begin(store, accounted, has_puts, &last_error);
}

/* With commit_lock held, after write_begin. */
static void record_insert(struct tactus *store, uint32_t tree, struct tac_bytes key,
                          struct tac_bytes value, bool is_tombstone)
{
    struct tac_memtable *memtable = store->memtables[store->memtable_mutable];

    tac_memtable_put(memtable, tree, store->last_op, key, value, is_tombstone);
    if (is_tombstone) {
        tac_memtable_account(memtable, tombstone_extra(store, tree));
    }
    store->user_bytes += key.size + value.size;
    store->records_put += !is_tombstone;
    store->records_deleted += is_tombstone;
}

/* A delete that a full store has refused has ended bars all the same, and takes a number. A replay
 * does what it came to: a checkpoint. False: it takes none. */
static bool refusal_end(struct tactus *store, int result)
{
    const struct tac_wal_entry entry = {.kind = TAC_WAL_CHECKPOINT, .is_last = true};

    if (result != TACTUS_EFULL || !store->has_made_room ||
        tac_wal_append(&store->wal, &entry, NULL) != TACTUS_OK) {
        return false;
    }
    tac_writer_control_op(store);
    return true;
}

/* After the lock: the op is durable if the log is to make it so. The text of a refusal stays. */
static int committed(struct tactus *store, uint64_t op, int result, bool is_refused)
{
    struct tac_error later;

    if (is_refused) {
        tac_maybe(tac_wal_committed(&store->wal, op, &later) == TACTUS_OK);
    }
    return result == TACTUS_OK ? tac_wal_committed(&store->wal, op, &last_error) : result;
}

static int record_write(struct tactus *store, uint32_t tree, const void *key, size_t key_size,
                        const void *value, size_t value_size, bool is_tombstone)
{
    const struct tac_wal_entry entry = {
        .kind = is_tombstone ? TAC_WAL_DELETE : TAC_WAL_PUT,
        .is_last = true,
        .tree = tree,
        .key = {key, (uint32_t)key_size},
        .value = {value, (uint32_t)value_size},
    };
    uint64_t accounted, op;
    bool     is_refused;
    int      result = record_check(store, tree, key, key_size, value, value_size, is_tombstone);

    if (result != TACTUS_OK) {
        return result;
    }
    accounted = record_accounted(store, tree, key_size, value_size, is_tombstone);
    if (commit_lock_take(store) != TACTUS_OK) {
        return last_error.code;
    }
    result = write_begin(store, (uint64_t)1 << tree, accounted, !is_tombstone);
    is_refused = refusal_end(store, result);
    if (result == TACTUS_OK) {
        result = tac_wal_append(&store->wal, &entry, &last_error);
    }
    if (result == TACTUS_OK) {
        store->last_op++;
        record_insert(store, tree, entry.key, entry.value, is_tombstone);
        tac_writer_end(store);
    }
    op = store->last_op;
    pthread_mutex_unlock(&store->commit_lock);
    return committed(store, op, result, is_refused);
}

int tactus_put(struct tactus *store, uint32_t tree, const void *key, size_t key_size,
               const void *value, size_t value_size)
{
    return record_write(store, tree, key, key_size, value, value_size, false);
}

int tactus_delete(struct tactus *store, uint32_t tree, const void *key, size_t key_size)
{
    return record_write(store, tree, key, key_size, NULL, 0, true);
}

int tactus_batch_new(struct tactus *store, struct tactus_batch **ret_batch)
{
    struct tactus_batch *batch = calloc(1, sizeof *batch);

    if (batch == NULL) {
        return tac_error_set(&last_error, TACTUS_ENOMEM, "out of memory for a batch");
    }
    batch->store = store;
    *ret_batch = batch;
    return TACTUS_OK;
}

void tactus_batch_free(struct tactus_batch *batch)
{
    if (batch != NULL) {
        free(batch->data);
        free(batch);
    }
}

void tactus_batch_clear(struct tactus_batch *batch)
{
    batch->size = 0;
    batch->accounted_bytes = 0;
    batch->trees = 0;
    batch->has_puts = false;
    batch->count = 0;
}

static int batch_reserve(struct tactus_batch *batch, size_t more)
{
    size_t   capacity = batch->capacity == 0 ? 4096 : batch->capacity;
    uint8_t *data;

    while (capacity < batch->size + more) {
        capacity *= 2;
    }
    if (capacity == batch->capacity) {
        return TACTUS_OK;
    }
    data = realloc(batch->data, capacity);
    if (data == NULL) {
        return tac_error_set(&last_error, TACTUS_ENOMEM, "out of memory for a batch");
    }
    batch->data = data;
    batch->capacity = capacity;
    return TACTUS_OK;
}

static int batch_add(struct tactus_batch *batch, uint32_t tree, const void *key, size_t key_size,
                     const void *value, size_t value_size, bool is_tombstone)
{
    struct batch_entry entry = {tree, (uint32_t)key_size, (uint32_t)value_size, is_tombstone};
    uint64_t           accounted;
    uint64_t           limit = batch->store->shape.memtable_size / 4;

    if (record_check(batch->store, tree, key, key_size, value, value_size, is_tombstone) !=
        TACTUS_OK) {
        return last_error.code;
    }
    accounted = record_accounted(batch->store, tree, key_size, value_size, is_tombstone);
    if (batch->accounted_bytes + accounted > limit) {
        return tac_error_set(&last_error, TACTUS_EBATCHSIZE,
                             "the batch would have more than %llu accounted bytes (a quarter of "
                             "the memtable): commit it first",
                             (unsigned long long)limit);
    }
    if (batch_reserve(batch, sizeof entry + key_size + value_size) != TACTUS_OK) {
        return last_error.code;
    }
    memcpy(batch->data + batch->size, &entry, sizeof entry);
    memcpy(batch->data + batch->size + sizeof entry, key, key_size);
    if (value_size > 0) {
        memcpy(batch->data + batch->size + sizeof entry + key_size, value, value_size);
    }
    batch->size += sizeof entry + key_size + value_size;
    batch->accounted_bytes += accounted;
    batch->trees |= (uint64_t)1 << tree;
    batch->has_puts |= !is_tombstone;
    batch->count++;
    return TACTUS_OK;
}

int tactus_batch_put(struct tactus_batch *batch, uint32_t tree, const void *key, size_t key_size,
                     const void *value, size_t value_size)
{
    return batch_add(batch, tree, key, key_size, value, value_size, false);
}

int tactus_batch_delete(struct tactus_batch *batch, uint32_t tree, const void *key, size_t key_size)
{
    return batch_add(batch, tree, key, key_size, NULL, 0, true);
}

static void batch_insert(struct tactus *store, const struct tactus_batch *batch)
{
    const uint8_t *at = batch->data;

    for (uint32_t i = 0; i < batch->count; i++) {
        struct batch_entry entry;

        memcpy(&entry, at, sizeof entry);
        at += sizeof entry;
        record_insert(store, entry.tree, (struct tac_bytes){at, entry.key_size},
                      (struct tac_bytes){at + entry.key_size, entry.value_size},
                      entry.is_tombstone != 0);
        at += entry.key_size + entry.value_size;
    }
    tac_assert(at == batch->data + batch->size);
}

/* All entries or none that counts. */
static int batch_log(struct tactus *store, const struct tactus_batch *batch)
{
    const uint8_t *at = batch->data;
    int            result = TACTUS_OK;

    for (uint32_t i = 0; i < batch->count && result == TACTUS_OK; i++) {
        struct batch_entry   header;
        struct tac_wal_entry entry;

        memcpy(&header, at, sizeof header);
        at += sizeof header;
        entry = (struct tac_wal_entry){
            .kind = header.is_tombstone != 0 ? TAC_WAL_DELETE : TAC_WAL_PUT,
            .is_last = i + 1 == batch->count,
            .tree = header.tree,
            .key = {at, header.key_size},
            .value = {at + header.key_size, header.value_size},
        };
        result = tac_wal_append(&store->wal, &entry, &last_error);
        at += header.key_size + header.value_size;
    }
    if (result != TACTUS_OK) {
        tac_wal_cut(&store->wal);
    }
    return result;
}

int tactus_batch_commit(struct tactus_batch *batch, uint64_t *ret_op)
{
    struct tactus *store = batch->store;
    uint64_t       op;
    bool           is_refused;
    int            result;

    if (batch->count == 0) {
        return TACTUS_OK;
    }
    if (commit_lock_take(store) != TACTUS_OK) {
        return last_error.code;
    }
    result = write_begin(store, batch->trees, batch->accounted_bytes, batch->has_puts);
    is_refused = refusal_end(store, result);
    if (result == TACTUS_OK && store->wal.storage != NULL) {
        result = batch_log(store, batch);
    }
    if (result == TACTUS_OK) {
        store->last_op++;
        batch_insert(store, batch);
        tac_writer_end(store);
    }
    op = store->last_op;
    pthread_mutex_unlock(&store->commit_lock);
    if (result == TACTUS_OK) {
        tactus_batch_clear(batch);
        if (ret_op != NULL) {
            *ret_op = op;
        }
    }
    return committed(store, op, result, is_refused);
}

/* ---- reading -------------------------------------------------------------------------------- */

static int read_check(struct tactus *store, uint32_t tree, const void *key, size_t key_size)
{
    struct tac_layout layout;

    if (fork_check(store) != TACTUS_OK) {
        return last_error.code;
    }
    if (tree_layout(store, tree, &layout) != TACTUS_OK) {
        return last_error.code;
    }
    return key_size == SIZE_MAX ? TACTUS_OK : key_check(&layout, key, key_size);
}

int tactus_get(struct tactus *store, uint32_t tree, const void *key, size_t key_size, void *buffer,
               size_t buffer_size, size_t *ret_value_size)
{
    size_t value_size;
    int    result = read_check(store, tree, key, key_size);

    if (result == TACTUS_OK) {
        tac_error_clear(&last_error);
        result =
            tac_read_side_get(&store->read_side, tree, (struct tac_bytes){key, (uint32_t)key_size},
                              buffer, buffer_size, &value_size, &last_error);
    }
    if (result == TACTUS_OK && ret_value_size != NULL) {
        *ret_value_size = value_size;
    }
    return result;
}

int tactus_iterator_open(struct tactus *store, uint32_t tree, struct tactus_iterator **ret_iterator)
{
    struct tactus_iterator *iterator;
    int                     result = read_check(store, tree, NULL, SIZE_MAX);

    if (result != TACTUS_OK) {
        return result;
    }
    iterator = calloc(1, sizeof *iterator);
    if (iterator == NULL) {
        return tac_error_set(&last_error, TACTUS_ENOMEM, "out of memory for an iterator");
    }
    iterator->store = store;
    result = tac_iterator_open(&store->read_side, tree, &iterator->iterator, &last_error);
    if (result != TACTUS_OK) {
        free(iterator);
        return result;
    }
    *ret_iterator = iterator;
    return TACTUS_OK;
}

void tactus_iterator_close(struct tactus_iterator *iterator)
{
    if (iterator != NULL) {
        tac_iterator_close(iterator->iterator);
        free(iterator);
    }
}

int tactus_iterator_first(struct tactus_iterator *iterator)
{
    return fork_check(iterator->store) != TACTUS_OK
               ? last_error.code
               : tac_iterator_first(iterator->iterator, &last_error);
}

int tactus_iterator_last(struct tactus_iterator *iterator)
{
    return fork_check(iterator->store) != TACTUS_OK
               ? last_error.code
               : tac_iterator_last(iterator->iterator, &last_error);
}

/* Any byte string is a place in the order; none at all is before every key. */
static int seek_check(const struct tactus_iterator *iterator, const void *key, size_t key_size)
{
    if (fork_check(iterator->store) != TACTUS_OK) {
        return last_error.code;
    }
    if (key == NULL || key_size == 0 || key_size > TACTUS_KEY_SIZE_MAX) {
        return tac_error_set(&last_error, TACTUS_EKEYSIZE, "key of %zu bytes; 1 to %d", key_size,
                             TACTUS_KEY_SIZE_MAX);
    }
    return TACTUS_OK;
}

int tactus_iterator_seek(struct tactus_iterator *iterator, const void *key, size_t key_size)
{
    int result = seek_check(iterator, key, key_size);

    return result != TACTUS_OK
               ? result
               : tac_iterator_seek(iterator->iterator, (struct tac_bytes){key, (uint32_t)key_size},
                                   &last_error);
}

int tactus_iterator_seek_back(struct tactus_iterator *iterator, const void *key, size_t key_size)
{
    int result = seek_check(iterator, key, key_size);

    return result != TACTUS_OK
               ? result
               : tac_iterator_seek_back(iterator->iterator,
                                        (struct tac_bytes){key, (uint32_t)key_size}, &last_error);
}

int tactus_iterator_next(struct tactus_iterator *iterator)
{
    return fork_check(iterator->store) != TACTUS_OK
               ? last_error.code
               : tac_iterator_next(iterator->iterator, &last_error);
}

int tactus_iterator_previous(struct tactus_iterator *iterator)
{
    return fork_check(iterator->store) != TACTUS_OK
               ? last_error.code
               : tac_iterator_previous(iterator->iterator, &last_error);
}

void tactus_iterator_record(const struct tactus_iterator *iterator, const void **ret_key,
                            size_t *ret_key_size, const void **ret_value, size_t *ret_value_size)
{
    struct tac_record record = tac_iterator_record(iterator->iterator);

    *ret_key = record.key.data;
    *ret_key_size = record.key.size;
    *ret_value = record.value.data;
    *ret_value_size = record.value.size;
}

/* ---- maintenance ---------------------------------------------------------------------------- */

int tactus_drain(struct tactus *store)
{
    int result;

    if (commit_lock_take(store) != TACTUS_OK) {
        return last_error.code;
    }
    result = tac_writer_drain(store, 0, &last_error);
    pthread_mutex_unlock(&store->commit_lock);
    return result;
}

int tactus_compact(struct tactus *store, uint32_t tree)
{
    struct tac_layout layout;
    int               result = tree_layout(store, tree, &layout);

    if (result != TACTUS_OK) {
        return result;
    }
    if (commit_lock_take(store) != TACTUS_OK) {
        return last_error.code;
    }
    result = tac_writer_drain(store, (uint64_t)1 << tree, &last_error);
    pthread_mutex_unlock(&store->commit_lock);
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

    if (commit_lock_take(store) != TACTUS_OK) {
        return last_error.code;
    }
    is_done = tac_recovery_is_refilling(store);
    result = tac_writer_control(store, &entry, &last_error);
    if (result == TACTUS_OK && !is_done) {
        store->is_held = hold;
    }
    op = store->last_op;
    pthread_mutex_unlock(&store->commit_lock);
    return result == TACTUS_OK ? tac_wal_committed(&store->wal, op, &last_error) : result;
}

int tactus_checkpoint(struct tactus *store)
{
    int result;

    if (commit_lock_take(store) != TACTUS_OK) {
        return last_error.code;
    }
    result = tac_writer_checkpoint(store, &last_error);
    pthread_mutex_unlock(&store->commit_lock);
    return result;
}

int tactus_sync(struct tactus *store)
{
    if (store->wal.storage == NULL) {
        return tactus_checkpoint(store);
    }
    if (tac_storage_is_forked(store->storage)) {
        return tac_error_set(&last_error, TACTUS_EFORKED,
                             "the store was opened by the parent process; open it again here");
    }
    return tac_wal_sync(&store->wal, tactus_last_op(store), &last_error);
}

uint64_t tactus_durable_op(struct tactus *store)
{
    uint64_t op = tac_atomic_load_acquire_u64(&store->durable_op);

    return tac_max_u64(op, tac_wal_durable_op(&store->wal));
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
    pthread_mutex_unlock(&store->commit_lock);
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
    pthread_mutex_unlock(&store->commit_lock);
}

bool tactus_step(struct tactus *store)
{
    bool progressed = false;

    if (store->workers.has_threads) {
        return false;
    }
    if (commit_lock_take(store) != TACTUS_OK) {
        return false;
    }
    progressed = tac_worker_pool_step(&store->workers) || tac_scrub_step(store);
    pthread_mutex_unlock(&store->commit_lock);
    return progressed;
}

/* ---- verify and digest ---------------------------------------------------------------------- */

static int store_walk(struct tac_walk *walk)
{
    struct tactus *store = walk->store;
    int            result;

    if (commit_lock_take(store) != TACTUS_OK) {
        return last_error.code;
    }
    result = tac_writer_quiet(store, &last_error);
    if (result == TACTUS_OK) {
        result = tac_walk_all(walk, &last_error);
    }
    pthread_mutex_unlock(&store->commit_lock);
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
