/* SPDX-License-Identifier: Apache-2.0 */
/* api_write -- puts, deletes and batches of tactus.h: from arguments to log and memtable.
 *
 * Conditions are looked at before anything of the op is done, so that one that does not hold leaves
 * nothing behind but the op's number: neither a beat nor a bar's end. They are looked at without
 * the lock first, since that may read the file; with the lock, what they said is still true if no
 * op has come in between, and else they find in memory what they need. */
#include <stdlib.h>
#include <string.h>

#include "base/mutant.h"
#include "base/units.h"
#include "pipeline/api_internal.h"
#include "pipeline/recovery.h"
#include "pipeline/room.h"
#include "queues/atomics.h"

/* Entries one behind the other: struct batch_entry, key, value. */
struct batch_entries {
    uint8_t *data;
    size_t   size, capacity;
    uint32_t count;
};

struct tactus_batch {
    struct tactus       *store;
    struct batch_entries writes;
    struct batch_entries conditions;
    uint8_t             *value; /* Of a record that a condition looks at; value_capacity bytes */
    size_t               value_capacity;
    uint64_t             accounted_bytes;
    uint64_t             trees; /* Bit per tree that it writes to */
    bool                 has_puts;
};

struct batch_entry {
    uint32_t tree;
    uint32_t key_size;
    uint32_t value_size;
    uint32_t is_tombstone; /* Of a condition: there is to be no record */
};

/* What a tombstone takes in a table beyond its key. */
static uint64_t tombstone_extra(const struct tac_layout *layout)
{
    return layout->kind == TACTUS_LAYOUT_FIXED ? layout->value_size : 0;
}

int tac_api_record_check(const struct tac_layout *layout, const void *key, size_t key_size,
                         const void *value, size_t value_size, bool is_tombstone)
{
    if (tac_api_key_check(layout, key, key_size) != TACTUS_OK) {
        return tac_api_error.code;
    }
    if (is_tombstone) {
        return TACTUS_OK;
    }
    if (value == NULL && value_size > 0) {
        return tac_error_set(&tac_api_error, TACTUS_EINVAL, "no value");
    }
    if (value_size > layout->value_size) {
        return tac_error_set(&tac_api_error, TACTUS_EVALUESIZE,
                             "value of %zu bytes; at most %u here", value_size, layout->value_size);
    }
    if (layout->kind == TACTUS_LAYOUT_FIXED && value_size != layout->value_size) {
        return tac_error_set(&tac_api_error, TACTUS_ELAYOUT,
                             "value of %zu bytes; values of this tree have %u", value_size,
                             layout->value_size);
    }
    return TACTUS_OK;
}

/* *ret_accounted: what the record fills of a memtable. */
static int record_check(struct tactus *store, uint32_t tree, const void *key, size_t key_size,
                        const void *value, size_t value_size, bool is_tombstone,
                        uint64_t *ret_accounted)
{
    struct tac_layout layout;

    if (tac_api_tree_layout(store, tree, &layout) != TACTUS_OK) {
        return tac_api_error.code;
    }
    *ret_accounted = tac_memtable_record_accounted((uint32_t)key_size, (uint32_t)value_size) +
                     (is_tombstone ? tombstone_extra(&layout) : 0);
    return tac_api_record_check(&layout, key, key_size, value, value_size, is_tombstone);
}

/* ---- one record ----------------------------------------------------------------------------- */

/* What a log has had been taken before: it is taken again whatever damage has been found since. */
static int damage_check(struct tactus *store, uint64_t trees)
{
    bool is_new = !store->is_replaying && !tac_recovery_is_refilling(store);

    store->has_made_room = false;
    return is_new ? tac_damage_check(&store->damage, store->manifest, trees, &tac_api_error)
                  : TACTUS_OK;
}

static int write_begin(struct tactus *store, uint64_t trees, uint64_t accounted, bool has_puts)
{
    int result = damage_check(store, trees);

    return result == TACTUS_OK ? tac_writer_begin(store, accounted, has_puts, &tac_api_error)
                               : result;
}

/* With commit_lock held, after write_begin. tree: its number. */
static void record_insert(struct tactus *store, uint32_t tree, struct tac_bytes key,
                          struct tac_bytes value, bool is_tombstone)
{
    struct tac_memtable *memtable = store->memtables[store->memtable_mutable];

    tac_memtable_put(memtable, tree, store->last_op, key, value, is_tombstone);
    if (is_tombstone) {
        tac_memtable_account(memtable,
                             tombstone_extra(&tac_manifest_tree(store->manifest, tree)->layout));
    }
    store->user_bytes += key.size + value.size;
    store->records_put += !is_tombstone;
    store->records_deleted += is_tombstone;
}

int tac_api_committed(struct tactus *store, uint64_t op, int result, bool is_refused)
{
    struct tac_error later;

    if (result != TACTUS_OK && !is_refused) {
        return result;
    }
    if (tac_wal_committed(&store->wal, op, &later) != TACTUS_OK) {
        tac_api_error = later;
        return later.code;
    }
    return result;
}

static int record_write(struct tactus *store, uint32_t tree, const void *key, size_t key_size,
                        const void *value, size_t value_size, bool is_tombstone)
{
    const struct tac_wal_entry entry = {
        .kind = is_tombstone ? TAC_WAL_DELETE : TAC_WAL_PUT,
        .is_last = true,
        .tree = tac_tree_number(tree),
        .key = {key, (uint32_t)key_size},
        .value = {value, (uint32_t)value_size},
    };
    uint64_t accounted = 0, op;
    bool     is_refused = false;
    int      result =
        record_check(store, tree, key, key_size, value, value_size, is_tombstone, &accounted);

    if (result != TACTUS_OK) {
        return result;
    }
    if (tac_api_lock(store) != TACTUS_OK) {
        return tac_api_error.code;
    }
    result = tac_trees_check(store, tree, &tac_api_error);
    if (result == TACTUS_OK) {
        result = tac_wal_reserve(&store->wal, 1, tac_wal_entry_bytes(&entry), &tac_api_error);
    }
    if (result == TACTUS_OK) {
        result = write_begin(store, (uint64_t)1 << entry.tree, accounted, !is_tombstone);
        is_refused = tac_room_refused(store, result, false);
    }
    if (result == TACTUS_OK) {
        result = tac_wal_append(&store->wal, &entry, &tac_api_error);
    }
    if (result == TACTUS_OK) {
        store->last_op++;
        record_insert(store, entry.tree, entry.key, entry.value, is_tombstone);
        tac_writer_end(store);
    }
    op = store->last_op;
    tac_api_unlock(store);
    return tac_api_committed(store, op, result, is_refused);
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

/* ---- ranges --------------------------------------------------------------------------------- */

static int range_check(struct tac_bytes low, struct tac_bytes high)
{
    if (low.data == NULL || high.data == NULL || low.size == 0 || high.size == 0) {
        return tac_error_set(&tac_api_error, TACTUS_EINVAL,
                             "a range without bounds: both are needed");
    }
    if (low.size > TACTUS_KEY_SIZE_MAX || high.size > TACTUS_KEY_SIZE_MAX) {
        return tac_error_set(&tac_api_error, TACTUS_EKEYSIZE,
                             "bounds of %u and %u bytes; at most %d are possible", low.size,
                             high.size, TACTUS_KEY_SIZE_MAX);
    }
    if (tac_bytes_compare(low, high) >= 0) {
        return tac_error_set(&tac_api_error, TACTUS_EINVAL,
                             "the first bound is not below the end: no key is between them");
    }
    return TACTUS_OK;
}

/* With commit_lock held, after write_begin. What is cut off the bounds is accounted all the same:
 * the log has it. */
static void range_insert(struct tactus *store, uint32_t tree, struct tac_bytes low,
                         struct tac_bytes high)
{
    struct tac_memtable *memtable = store->memtables[store->memtable_mutable];
    uint32_t             key_size = tac_manifest_tree(store->manifest, tree)->layout.key_size;
    uint64_t             accounted = tac_memtable_record_accounted(low.size, high.size);
    uint8_t              low_cut[TACTUS_KEY_SIZE_MAX + 1], high_cut[TACTUS_KEY_SIZE_MAX + 1];

    store->user_bytes += low.size + high.size;
    low = tac_range_bound_cut(low, key_size, low_cut);
    high = tac_range_bound_cut(high, key_size, high_cut);
    if (tac_bytes_compare(low, high) < 0) { /* Else no key of the tree is between them. */
        tac_memtable_delete_range(memtable, tree, store->last_op, low, high);
        tac_ranges_taken(store);
        accounted -= tac_memtable_record_accounted(low.size, high.size);
    }
    tac_memtable_account(memtable, accounted);
}

/* With commit_lock held. */
static int range_delete(struct tactus *store, uint32_t tree, const struct tac_wal_entry *entry,
                        bool *ret_is_refused)
{
    uint64_t accounted = tac_memtable_record_accounted(entry->key.size, entry->value.size);
    int      result = tac_trees_check(store, tree, &tac_api_error);

    if (result == TACTUS_OK) { /* What refuses it without a number comes before bars are ended. */
        result = damage_check(store, (uint64_t)1 << entry->tree);
    }
    if (result == TACTUS_OK) {
        result = tac_wal_reserve(&store->wal, 1, tac_wal_entry_bytes(entry), &tac_api_error);
    }
    if (result == TACTUS_OK) {
        result = tac_room_for_range(store, &tac_api_error);
    }
    if (result == TACTUS_OK) {
        result = tac_writer_begin(store, accounted, false, &tac_api_error);
    }
    *ret_is_refused = tac_room_refused(store, result, true);
    if (result == TACTUS_OK) {
        result = tac_wal_append(&store->wal, entry, &tac_api_error);
    }
    if (result == TACTUS_OK) {
        store->last_op++;
        range_insert(store, entry->tree, entry->key, entry->value);
        tac_writer_end(store);
    }
    return result;
}

int tactus_delete_range(struct tactus *store, uint32_t tree, const void *first, size_t first_size,
                        const void *end, size_t end_size, uint64_t *ret_op)
{
    const struct tac_wal_entry entry = {
        .kind = TAC_WAL_DELETE_RANGE,
        .is_last = true,
        .tree = tac_tree_number(tree),
        .key = {first, (uint32_t)tac_min_u64(first_size, UINT32_MAX)},
        .value = {end, (uint32_t)tac_min_u64(end_size, UINT32_MAX)},
    };
    struct tac_layout layout;
    uint64_t          op;
    bool              is_refused = false;
    int               result;

    if (tac_api_fork_check(store) != TACTUS_OK ||
        tac_api_tree_layout(store, tree, &layout) != TACTUS_OK ||
        range_check(entry.key, entry.value) != TACTUS_OK || tac_api_lock(store) != TACTUS_OK) {
        return tac_api_error.code;
    }
    result = range_delete(store, tree, &entry, &is_refused);
    op = store->last_op;
    tac_api_unlock(store);
    if (result == TACTUS_OK && ret_op != NULL) {
        *ret_op = op;
    }
    return tac_api_committed(store, op, result, is_refused);
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
        free(batch->writes.data);
        free(batch->conditions.data);
        free(batch->value);
        free(batch);
    }
}

void tactus_batch_clear(struct tactus_batch *batch)
{
    batch->writes.size = batch->writes.count = 0;
    batch->conditions.size = batch->conditions.count = 0;
    batch->accounted_bytes = 0;
    batch->trees = 0;
    batch->has_puts = false;
}

/* False: there is no memory. */
static bool memory_reserve(uint8_t **data, size_t *capacity, size_t bytes)
{
    size_t   more = *capacity == 0 ? 4096 : *capacity;
    uint8_t *grown;

    while (more < bytes) {
        more *= 2;
    }
    if (more == *capacity) {
        return true;
    }
    grown = realloc(*data, more);
    if (grown == NULL) {
        return false;
    }
    *data = grown;
    *capacity = more;
    return true;
}

static int entries_add(struct batch_entries *entries, const struct batch_entry *entry,
                       const void *key, const void *value)
{
    size_t bytes = sizeof *entry + entry->key_size + entry->value_size;

    if (!memory_reserve(&entries->data, &entries->capacity, entries->size + bytes)) {
        return tac_error_set(&tac_api_error, TACTUS_ENOMEM, "out of memory for a batch");
    }
    memcpy(entries->data + entries->size, entry, sizeof *entry);
    memcpy(entries->data + entries->size + sizeof *entry, key, entry->key_size);
    if (entry->value_size > 0) {
        memcpy(entries->data + entries->size + sizeof *entry + entry->key_size, value,
               entry->value_size);
    }
    entries->size += bytes;
    entries->count++;
    return TACTUS_OK;
}

/* The entry at `at`, with its key and value; returns where the next one begins. */
static const uint8_t *entry_take(const uint8_t *at, struct batch_entry *ret_entry,
                                 struct tac_bytes *ret_key, struct tac_bytes *ret_value)
{
    memcpy(ret_entry, at, sizeof *ret_entry);
    at += sizeof *ret_entry;
    *ret_key = (struct tac_bytes){at, ret_entry->key_size};
    *ret_value = (struct tac_bytes){at + ret_entry->key_size, ret_entry->value_size};
    return at + ret_entry->key_size + ret_entry->value_size;
}

static int batch_add(struct tactus_batch *batch, uint32_t tree, const void *key, size_t key_size,
                     const void *value, size_t value_size, bool is_tombstone)
{
    struct batch_entry entry = {tree, (uint32_t)key_size, (uint32_t)value_size, is_tombstone};
    uint64_t           accounted = 0;
    uint64_t           limit = batch->store->shape.memtable_size / 4;

    if (record_check(batch->store, tree, key, key_size, value, value_size, is_tombstone,
                     &accounted) != TACTUS_OK) {
        return tac_api_error.code;
    }
    if (batch->accounted_bytes + accounted > limit) {
        return tac_error_set(&tac_api_error, TACTUS_EBATCHSIZE,
                             "the batch would have more than %llu accounted bytes (a quarter of "
                             "the memtable): commit it first",
                             (unsigned long long)limit);
    }
    if (entries_add(&batch->writes, &entry, key, value) != TACTUS_OK) {
        return tac_api_error.code;
    }
    batch->accounted_bytes += accounted;
    batch->trees |= (uint64_t)1 << tac_tree_number(tree);
    batch->has_puts |= !is_tombstone;
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

int tactus_batch_expect(struct tactus_batch *batch, uint32_t tree, const void *key, size_t key_size,
                        const void *expected, size_t expected_size)
{
    bool               is_absent = expected == NULL && expected_size == 0;
    struct batch_entry entry = {tree, (uint32_t)key_size, (uint32_t)expected_size, is_absent};
    uint64_t           accounted; /* A condition fills nothing. */

    if (record_check(batch->store, tree, key, key_size, expected, expected_size, is_absent,
                     &accounted) != TACTUS_OK) {
        return tac_api_error.code;
    }
    if (!memory_reserve(&batch->value, &batch->value_capacity, expected_size)) {
        return tac_error_set(&tac_api_error, TACTUS_ENOMEM, "out of memory for a batch");
    }
    return entries_add(&batch->conditions, &entry, key, expected);
}

/* With commit_lock: trees may have been dropped since the entries were added. */
static int batch_trees_check(struct tactus *store, const struct tactus_batch *batch)
{
    const uint8_t *at = batch->writes.data;
    int            result = TACTUS_OK;

    for (uint32_t i = 0; i < batch->writes.count && result == TACTUS_OK; i++) {
        struct batch_entry entry;
        struct tac_bytes   key, value;

        at = entry_take(at, &entry, &key, &value);
        result = tac_trees_check(store, entry.tree, &tac_api_error);
    }
    return result;
}

static void batch_insert(struct tactus *store, const struct tactus_batch *batch)
{
    const uint8_t *at = batch->writes.data;

    for (uint32_t i = 0; i < batch->writes.count; i++) {
        struct batch_entry entry;
        struct tac_bytes   key, value;

        at = entry_take(at, &entry, &key, &value);
        record_insert(store, tac_tree_number(entry.tree), key, value, entry.is_tombstone != 0);
    }
}

static int batch_log(struct tactus *store, const struct tactus_batch *batch)
{
    const uint8_t *at = batch->writes.data;
    int            result = TACTUS_OK;

    for (uint32_t i = 0; i < batch->writes.count && result == TACTUS_OK; i++) {
        struct tac_wal_entry entry = {.is_last = i + 1 == batch->writes.count};
        struct batch_entry   header;

        at = entry_take(at, &header, &entry.key, &entry.value);
        entry.kind = header.is_tombstone != 0 ? TAC_WAL_DELETE : TAC_WAL_PUT;
        entry.tree = tac_tree_number(header.tree);
        result = tac_wal_append(&store->wal, &entry, &tac_api_error);
    }
    tac_assert(result != TACTUS_EFULL); /* batch_reserve: all of it has room. */
    return result;
}

static int batch_reserve(struct tactus *store, const struct tactus_batch *batch)
{
    uint64_t count = batch->writes.count;
    uint64_t bytes = batch->writes.size - count * sizeof(struct batch_entry) +
                     count * TAC_WAL_ENTRY_HEADER_BYTES;

    return tac_wal_reserve(&store->wal, count, bytes, &tac_api_error);
}

/* ---- conditions ----------------------------------------------------------------------------- */

static int condition_check(struct tactus_batch *batch, const struct batch_entry *entry,
                           struct tac_bytes key, struct tac_bytes expected)
{
    struct tac_value_sink sink = {.buffer = batch->value, .room = expected.size};
    int                   result;

    tac_error_clear(&tac_api_error);
    result = tac_read_side_get(&batch->store->read_side, entry->tree, key, &sink, &tac_api_error);
    if (result == TACTUS_ENOTFOUND) {
        return entry->is_tombstone != 0
                   ? TACTUS_OK
                   : tac_error_set(&tac_api_error, TACTUS_ECONFLICT, "the record is not there");
    }
    if (result != TACTUS_OK) {
        return result;
    }
    if (entry->is_tombstone != 0) {
        return tac_error_set(&tac_api_error, TACTUS_ECONFLICT, "there is a record already");
    }
    if (sink.size != expected.size ||
        (sink.size > 0 && memcmp(batch->value, expected.data, sink.size) != 0)) {
        return tac_error_set(&tac_api_error, TACTUS_ECONFLICT,
                             "the record has another value than expected");
    }
    return TACTUS_OK;
}

/* The first one that does not hold decides. */
static int conditions_check(struct tactus_batch *batch)
{
    const uint8_t *at = batch->conditions.data;
    int            result = TACTUS_OK;

    for (uint32_t i = 0; i < batch->conditions.count && result == TACTUS_OK; i++) {
        struct batch_entry entry;
        struct tac_bytes   key, expected;

        at = entry_take(at, &entry, &key, &expected);
        result = condition_check(batch, &entry, key, expected);
    }
    return result;
}

/* ---- commit --------------------------------------------------------------------------------- */

/* With commit_lock held. *ret_is_refused: the op has a number, but its writes were not done. */
static int batch_write(struct tactus *store, const struct tactus_batch *batch, bool *ret_is_refused)
{
    int result = batch_trees_check(store, batch);

    if (result == TACTUS_OK) {
        result = batch_reserve(store, batch);
    }
    if (result != TACTUS_OK) {
        return result;
    }
    result = write_begin(store, batch->trees, batch->accounted_bytes, batch->has_puts);
    *ret_is_refused = tac_room_refused(store, result, false);
    if (result == TACTUS_OK && store->wal.storage != NULL) {
        result = batch_log(store, batch);
    }
    if (result == TACTUS_OK) {
        store->last_op++;
        batch_insert(store, batch);
        tac_writer_end(store);
    }
    return result;
}

/* The op of a batch whose condition does not hold, or that has conditions alone: a number. */
static int batch_pass(struct tactus *store, int result, bool *ret_is_refused)
{
    struct tac_error error;

    if (tac_writer_nothing(store, &error) != TACTUS_OK) {
        tac_api_error = error;
        return error.code;
    }
    *ret_is_refused = result != TACTUS_OK;
    return result;
}

int tactus_batch_commit(struct tactus_batch *batch, uint64_t *ret_op)
{
    struct tactus *store = batch->store;
    uint64_t       op, seen_op = tac_atomic_load_acquire_u64(&store->read_side.visible_op);
    bool           is_refused = false;
    int            result;

    if (batch->writes.count + batch->conditions.count == 0) {
        return TACTUS_OK;
    }
    if (tac_api_fork_check(store) != TACTUS_OK) {
        return tac_api_error.code;
    }
    result = conditions_check(batch);
    if (tac_api_lock(store) != TACTUS_OK) {
        return tac_api_error.code;
    }
    if (batch->conditions.count > 0 && store->last_op != seen_op && !TAC_MUTANT(CONDITION_STALE)) {
        result = conditions_check(batch);
    }
    if (result == TACTUS_ECONFLICT || (result == TACTUS_OK && batch->writes.count == 0)) {
        result = batch_pass(store, result, &is_refused);
    } else if (result == TACTUS_OK) {
        result = batch_write(store, batch, &is_refused);
    }
    op = store->last_op;
    tac_api_unlock(store);
    if (result == TACTUS_OK) {
        tactus_batch_clear(batch);
        if (ret_op != NULL) {
            *ret_op = op;
        }
    }
    return tac_api_committed(store, op, result, is_refused);
}

/* ---- one record, with a condition ----------------------------------------------------------- */

int tactus_compare_and_set(struct tactus *store, uint32_t tree, const void *key, size_t key_size,
                           const void *expected, size_t expected_size, const void *value,
                           size_t value_size)
{
    struct tactus_batch batch = {.store = store};
    int result = tactus_batch_expect(&batch, tree, key, key_size, expected, expected_size);

    if (result == TACTUS_OK) {
        result = value == NULL && value_size == 0
                     ? tactus_batch_delete(&batch, tree, key, key_size)
                     : tactus_batch_put(&batch, tree, key, key_size, value, value_size);
    }
    if (result == TACTUS_OK) {
        result = tactus_batch_commit(&batch, NULL);
    }
    free(batch.writes.data);
    free(batch.conditions.data);
    free(batch.value);
    return result;
}

int tactus_put_if_absent(struct tactus *store, uint32_t tree, const void *key, size_t key_size,
                         const void *value, size_t value_size)
{
    return tactus_compare_and_set(store, tree, key, key_size, NULL, 0,
                                  value == NULL && value_size == 0 ? "" : value, value_size);
}
