/* SPDX-License-Identifier: Apache-2.0 */
/* api_write -- puts, deletes and batches of tactus.h: from arguments to log and memtable. */
#include <stdlib.h>
#include <string.h>

#include "pipeline/api_internal.h"
#include "pipeline/recovery.h"

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

static int record_check(struct tactus *store, uint32_t tree, const void *key, size_t key_size,
                        const void *value, size_t value_size, bool is_tombstone)
{
    struct tac_layout layout;

    if (tac_api_tree_layout(store, tree, &layout) != TACTUS_OK ||
        tac_api_key_check(&layout, key, key_size) != TACTUS_OK) {
        return tac_api_error.code;
    }
    if (is_tombstone) {
        return TACTUS_OK;
    }
    if (value == NULL && value_size > 0) {
        return tac_error_set(&tac_api_error, TACTUS_EINVAL, "no value");
    }
    if (value_size > layout.value_size) {
        return tac_error_set(&tac_api_error, TACTUS_EVALUESIZE,
                             "value of %zu bytes; at most %u here", value_size, layout.value_size);
    }
    if (layout.kind == TACTUS_LAYOUT_FIXED && value_size != layout.value_size) {
        return tac_error_set(&tac_api_error, TACTUS_ELAYOUT,
                             "value of %zu bytes; values of this tree have %u", value_size,
                             layout.value_size);
    }
    return TACTUS_OK;
}

/* ---- one record ----------------------------------------------------------------------------- */

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
    bool is_new = !store->is_replaying && !tac_recovery_is_refilling(store);

    if (is_new &&
        tac_damage_check(&store->damage, store->manifest, trees, &tac_api_error) != TACTUS_OK) {
        return tac_api_error.code;
    }
    return tac_writer_begin(store, accounted, has_puts, &tac_api_error);
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
    return result == TACTUS_OK ? tac_wal_committed(&store->wal, op, &tac_api_error) : result;
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
    if (tac_api_lock(store) != TACTUS_OK) {
        return tac_api_error.code;
    }
    result = write_begin(store, (uint64_t)1 << tree, accounted, !is_tombstone);
    is_refused = refusal_end(store, result);
    if (result == TACTUS_OK) {
        result = tac_wal_append(&store->wal, &entry, &tac_api_error);
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

/* ---- batches -------------------------------------------------------------------------------- */

int tactus_batch_new(struct tactus *store, struct tactus_batch **ret_batch)
{
    struct tactus_batch *batch = calloc(1, sizeof *batch);

    if (batch == NULL) {
        return tac_error_set(&tac_api_error, TACTUS_ENOMEM, "out of memory for a batch");
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
        return tac_error_set(&tac_api_error, TACTUS_ENOMEM, "out of memory for a batch");
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
        return tac_api_error.code;
    }
    accounted = record_accounted(batch->store, tree, key_size, value_size, is_tombstone);
    if (batch->accounted_bytes + accounted > limit) {
        return tac_error_set(&tac_api_error, TACTUS_EBATCHSIZE,
                             "the batch would have more than %llu accounted bytes (a quarter of "
                             "the memtable): commit it first",
                             (unsigned long long)limit);
    }
    if (batch_reserve(batch, sizeof entry + key_size + value_size) != TACTUS_OK) {
        return tac_api_error.code;
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
        result = tac_wal_append(&store->wal, &entry, &tac_api_error);
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
    if (tac_api_lock(store) != TACTUS_OK) {
        return tac_api_error.code;
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
