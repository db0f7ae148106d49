/* SPDX-License-Identifier: Apache-2.0 */
/* ingest -- see ingest.h. In order: what a key lies over; buffers and blocks; tables; the run; the
 * manifest; the op. */
#include "pipeline/ingest.h"

#include <stdlib.h>
#include <string.h>

#include "base/mutant.h"
#include "base/units.h"
#include "lsm/merge.h"
#include "pipeline/api_internal.h"
#include "pipeline/recovery.h"
#include "pipeline/space.h"
#include "pipeline/trees.h"

/* Blocks that are written at once, if they are neighbours. */
#define WRITE_BLOCKS 16
#define TABLE_PARTS 4 /* A table has at least one of so many parts of its target */

typedef int run_read_fn(void *context, const struct tactus_run_record **ret_records,
                        size_t *ret_count);

/* A level as a walk along ascending keys sees it. */
struct level_walk {
    const struct tac_manifest_level *level;
    uint32_t                         next;  /* Tables before it begin at or below the walk's key */
    struct tac_bytes                 reach; /* The highest last key of those; size 0: none */
};

struct walk {
    struct level_walk levels[TACTUS_LEVELS_MAX];
    uint32_t          last_level;
};

struct tac_ingest {
    struct tactus    *store;
    uint32_t          tree;
    struct tac_layout layout;
    uint64_t          op; /* That it will be */
    /* What it may take, and what it has taken */
    struct tac_space_room room;
    uint32_t             *addresses; /* Reserved, ascending */
    uint64_t              address_count, address_used, address_capacity;
    uint64_t              reserve_cursor;
    struct tac_table     *tables, *tables_last; /* In key order */
    uint32_t              table_count;
    /* Buffers: a ring. They are taken, sealed and written in one order. */
    struct tac_table_builder *builder;
    uint8_t                  *buffers;
    uint64_t                 *buffer_addresses; /* Of those that are sealed */
    uint32_t                  buffer_count;
    uint64_t                  taken, sealed, written; /* Buffers so far; index by remainder */
    uint8_t                  *record;                 /* Key and value one behind the other */
    struct tac_cut            cut;
    /* The run */
    struct walk              walk;
    struct tac_bytes         memtable_first[2], memtable_last[2]; /* Size 0: empty */
    uint32_t                 level_before;                        /* For the key before */
    uint64_t                 records; /* Read, the ones left out included */
    uint64_t                 accounted_bytes;
    uint64_t                 table_bytes; /* Of the table that is being built; 0: none is */
    struct tac_merge_account read, dropped;
    uint32_t                 key_last_size;
    uint8_t                  key_last[TACTUS_KEY_SIZE_MAX];
};

/* ---- what a key lies over ------------------------------------------------------------------- */

static void walk_begin(struct walk *walk, struct tactus *store, uint32_t tree)
{
    struct tac_manifest_tree *from = tac_manifest_tree(store->manifest, tree);

    memset(walk, 0, sizeof *walk);
    walk->last_level = from->planner.last_level;
    for (uint32_t i = 0; i <= walk->last_level; i++) {
        walk->levels[i].level = &from->levels[i];
    }
}

/* To a range of keys that lies above the ranges before. Returns the deepest level that a table of
 * this range may enter: none above has any table in the range, nor has it itself if it is the last
 * one. *ret_has_edge: a table of the last level begins behind the range before. */
static uint32_t walk_to(struct walk *walk, struct tac_bytes low, struct tac_bytes high,
                        bool *ret_has_edge)
{
    uint32_t top = UINT32_MAX;

    *ret_has_edge = false;
    for (uint32_t i = 0; i <= walk->last_level; i++) {
        struct level_walk               *at = &walk->levels[i];
        const struct tac_manifest_level *level = at->level;

        for (; at->next < level->table_count &&
               tac_bytes_compare(level->tables[at->next]->key_min, high) <= 0;
             at->next++) {
            struct tac_bytes end = level->tables[at->next]->key_max;

            if (at->reach.size == 0 || tac_bytes_compare(at->reach, end) < 0) {
                at->reach = end;
            }
            *ret_has_edge |= i == walk->last_level;
        }
        if (top == UINT32_MAX && at->reach.size > 0 && tac_bytes_compare(at->reach, low) >= 0) {
            top = i;
        }
    }
    if (top == UINT32_MAX) {
        return walk->last_level;
    }
    return top == walk->last_level && !TAC_MUTANT(INGEST_TOO_DEEP) ? top - 1 : top;
}

/* Does anything that the store has reach the key? */
static bool walk_is_covered(const struct walk *walk, struct tac_bytes key)
{
    for (uint32_t i = 0; i <= walk->last_level; i++) {
        const struct level_walk *at = &walk->levels[i];

        if (at->reach.size > 0 && tac_bytes_compare(at->reach, key) >= 0) {
            return true;
        }
    }
    return false;
}

static bool memtables_cover(const struct tac_ingest *ingest, struct tac_bytes key)
{
    for (uint32_t i = 0; i < 2; i++) {
        if (ingest->memtable_first[i].size > 0 && !TAC_MUTANT(INGEST_OVER_MEMTABLE) &&
            tac_bytes_compare(ingest->memtable_first[i], key) <= 0 &&
            tac_bytes_compare(ingest->memtable_last[i], key) >= 0) {
            return true;
        }
    }
    return false;
}

static void memtable_range(struct tac_ingest *ingest, uint32_t index,
                           const struct tac_memtable *memtable)
{
    struct tac_memtable_reader reader;
    struct tac_record_view     view;

    tac_memtable_reader_init(&reader, memtable, ingest->tree, UINT64_MAX);
    if (tac_memtable_reader_first(&reader, &view)) {
        ingest->memtable_first[index] = view.record.key;
    }
    if (tac_memtable_reader_last(&reader, &view)) {
        ingest->memtable_last[index] = view.record.key;
    }
}

/* ---- buffers and blocks --------------------------------------------------------------------- */

static struct tac_builder_buffer sink_take_buffer(void *context)
{
    struct tac_ingest *ingest = context;
    uint64_t           index = ingest->taken % ingest->buffer_count;

    tac_assert(ingest->taken - ingest->written < ingest->buffer_count);
    ingest->taken++;
    return (struct tac_builder_buffer){
        .data = ingest->buffers + index * ingest->store->shape.block_size,
    };
}

static uint64_t sink_take_address(void *context)
{
    struct tac_ingest *ingest = context;

    tac_assert(ingest->address_used < ingest->address_count);
    return ingest->addresses[ingest->address_used++];
}

static void sink_sealed(void *context, const struct tac_sealed_block *sealed)
{
    struct tac_ingest *ingest = context;
    uint64_t           index = ingest->sealed % ingest->buffer_count;

    tac_assert(sealed->buffer.data == ingest->buffers + index * ingest->store->shape.block_size);
    ingest->buffer_addresses[index] = sealed->reference.address;
    ingest->sealed++;
}

static void sink_finished(void *context, const struct tac_table *finished)
{
    struct tac_ingest *ingest = context;
    struct tac_table  *table = tac_manifest_table_take(ingest->store->manifest, ingest->tree);

    tac_assert(table != NULL); /* room_make has looked. */
    table->index = finished->index;
    table->value_block_count = finished->value_block_count;
    table->filter_block_count = finished->filter_block_count;
    table->bytes = finished->bytes;
    table->records = finished->records;
    table->tombstones = finished->tombstones;
    table->sum = finished->sum;
    tac_table_set_keys(table, finished->key_min, finished->key_max);
    table->next = NULL;
    if (ingest->tables_last == NULL) {
        ingest->tables = table;
    } else {
        ingest->tables_last->next = table;
    }
    ingest->tables_last = table;
    ingest->table_count++;
    ingest->table_bytes = 0;
}

/* Writes what is sealed, neighbours together. A write that fails stops the store: nothing of the
 * device can be relied on any more. */
static int sealed_write(struct tac_ingest *ingest, struct tac_error *error)
{
    struct tac_storage *storage = ingest->store->storage;
    uint64_t            block_size = ingest->store->shape.block_size;

    while (ingest->written < ingest->sealed) {
        uint64_t first = ingest->written % ingest->buffer_count;
        uint64_t address = ingest->buffer_addresses[first];
        uint64_t count = 1;

        while (first + count < ingest->buffer_count && ingest->written + count < ingest->sealed &&
               ingest->buffer_addresses[first + count] == address + count) {
            count++;
        }
        if (storage->ops->write(storage, ingest->buffers + first * block_size, count * block_size,
                                address * block_size, error) != TACTUS_OK) {
            (void)tac_error_wrap(error, "a sorted run");
            tac_store_poison(ingest->store, error->code, error->message);
            error->code = TACTUS_EPOISONED;
            return tac_error_wrap(error, "writing has stopped");
        }
        ingest->written += count;
    }
    return TACTUS_OK;
}

static int no_room(const struct tac_ingest *ingest, struct tac_error *error, const char *what)
{
    return tac_error_set(
        error, TACTUS_EFULL,
        "no room for the run at its record %llu: %s; nothing of it is in the store",
        (unsigned long long)ingest->records, what);
}

/* Reserves blocks until so many are at hand, and sees to it that the file has them. */
static int addresses_reserve(struct tac_ingest *ingest, uint64_t count, struct tac_error *error)
{
    struct tactus *store = ingest->store;
    uint64_t       wanted = ingest->address_used + count;
    uint32_t      *grown;

    if (wanted <= ingest->address_count) {
        return TACTUS_OK;
    }
    if (wanted + tac_manifest_log_blocks_for(&store->geometry, ingest->table_count + 1u,
                                             ingest->layout.key_size) >
        ingest->room.blocks) {
        return no_room(ingest, error, "the store is near its file_size_max");
    }
    if (wanted > ingest->address_capacity) {
        ingest->address_capacity = tac_max_u64(2 * ingest->address_capacity, wanted + 1024);
        grown = realloc(ingest->addresses, ingest->address_capacity * sizeof *grown);
        if (grown == NULL) {
            return tac_error_set(error, TACTUS_ENOMEM, "out of memory for a sorted run");
        }
        ingest->addresses = grown;
    }
    if (!tac_free_set_reserve(store->free_set, &ingest->reserve_cursor,
                              wanted - ingest->address_count,
                              ingest->addresses + ingest->address_count)) {
        return no_room(ingest, error, "the store is near its file_size_max");
    }
    ingest->address_count = wanted;
    return tac_store_file_grow(store, error);
}

/* For all that one more append, or the end, may take. */
static int room_make(struct tac_ingest *ingest, struct tac_error *error)
{
    struct tactus *store = ingest->store;
    uint64_t       needed = tac_table_builder_buffers_needed(ingest->builder);

    if (tac_store_is_poisoned(store)) {
        return tac_error_set(error, TACTUS_EPOISONED, "writing has stopped: %s",
                             store->poison_error.message);
    }
    if (ingest->table_count + 1u > ingest->room.tables) {
        return no_room(ingest, error, "tables_max allows no more tables: ingest it in parts");
    }
    if (tac_manifest_log_blocks_for(&store->geometry, ingest->table_count + 1u,
                                    ingest->layout.key_size) > ingest->room.log_blocks) {
        return no_room(ingest, error,
                       "it has more tables than a checkpoint can note: ingest it in parts");
    }
    if (ingest->taken - ingest->written + needed > ingest->buffer_count &&
        sealed_write(ingest, error) != TACTUS_OK) {
        return error->code;
    }
    return addresses_reserve(ingest, needed, error);
}

/* ---- tables --------------------------------------------------------------------------------- */

/* A table ends where the level that its keys may enter changes, so that what lies over nothing goes
 * deep; where a table of the last level begins, if it has half of its target; and at five quarters
 * of that. Where the level changes a quarter will do, or slivers would be left. */
static bool table_is_full(const struct tac_ingest *ingest, uint32_t level, bool has_edge,
                          uint64_t record_bytes)
{
    struct tactus                  *store = ingest->store;
    const struct tac_manifest_tree *tree = tac_manifest_tree(store->manifest, ingest->tree);
    struct tac_planner_options      options;
    uint64_t                        target;

    if (ingest->table_bytes == 0) {
        return false;
    }
    tac_store_planner_options(store, &options);
    target = tac_planner_table_bytes(&options, &tree->planner, ingest->read.bytes);
    return (level != ingest->level_before && ingest->table_bytes >= target / TABLE_PARTS) ||
           (has_edge && ingest->table_bytes >= target / 2) ||
           ingest->table_bytes + record_bytes >
               tac_min_u64(target + target / 4, options.table_size);
}

static int table_end(struct tac_ingest *ingest, struct tac_error *error)
{
    int result = room_make(ingest, error);

    if (result == TACTUS_OK) {
        tac_table_builder_finish(ingest->builder);
    }
    return result;
}

/* ---- the run -------------------------------------------------------------------------------- */

static int record_check(struct tac_ingest *ingest, const struct tactus_run_record *record,
                        struct tac_error *error)
{
    struct tac_bytes key = {record->key, (uint32_t)record->key_size};
    struct tac_bytes before = {ingest->key_last, ingest->key_last_size};

    if (tac_api_record_check(&ingest->layout, record->key, record->key_size, record->value,
                             record->value_size, record->is_tombstone) != TACTUS_OK) {
        *error = tac_api_error;
        return tac_error_wrap(error, "record %llu of the run", (unsigned long long)ingest->records);
    }
    if (before.size > 0 && tac_bytes_compare(before, key) >= 0) {
        return tac_error_set(error, TACTUS_EINVAL,
                             "record %llu of the run: its key is %s the one before it; keys must "
                             "ascend",
                             (unsigned long long)ingest->records,
                             tac_bytes_compare(before, key) == 0 ? "the same as" : "below");
    }
    return TACTUS_OK;
}

/* A tombstone that lies over nothing has nothing to hide, wherever it goes. */
static int record_append(struct tac_ingest *ingest, const struct tac_record *record,
                         struct tac_u128 hash, struct tac_error *error)
{
    struct tac_merge_account account = {.records = 1,
                                        .tombstones = record->is_tombstone,
                                        .bytes = (uint64_t)record->key.size + record->value.size,
                                        .sum = hash};
    bool                     has_edge, is_in_memory = memtables_cover(ingest, record->key);
    uint32_t                 level = walk_to(&ingest->walk, record->key, record->key, &has_edge);
    int                      result = TACTUS_OK;

    ingest->read = tac_merge_account_add(ingest->read, account);
    if (is_in_memory) {
        level = 0; /* Where the memtable will be */
    }
    if (record->is_tombstone && !is_in_memory && !walk_is_covered(&ingest->walk, record->key)) {
        ingest->dropped = tac_merge_account_add(ingest->dropped, account);
        return TACTUS_OK;
    }
    if (table_is_full(ingest, level, has_edge, account.bytes)) {
        result = table_end(ingest, error);
    }
    if (result == TACTUS_OK) {
        result = room_make(ingest, error);
    }
    if (result == TACTUS_OK) {
        /* The append may end the table by itself: then the record is the next one's first. */
        tac_table_builder_append(ingest->builder, record, hash);
        ingest->table_bytes += account.bytes;
        ingest->level_before = level;
    }
    return result;
}

static int record_take(struct tac_ingest *ingest, const struct tactus_run_record *record,
                       struct tac_error *error)
{
    uint32_t          key_size = (uint32_t)record->key_size;
    uint32_t          value_size = record->is_tombstone ? 0 : (uint32_t)record->value_size;
    struct tac_record taken = {
        .key = {ingest->record, key_size},
        .value = {ingest->record + key_size, value_size},
        .is_tombstone = record->is_tombstone,
    };

    ingest->records++;
    if (record_check(ingest, record, error) != TACTUS_OK) {
        return error->code;
    }
    memcpy(ingest->record, record->key, key_size);
    if (value_size > 0) {
        memcpy(ingest->record + key_size, record->value, value_size);
    }
    memcpy(ingest->key_last, record->key, key_size);
    ingest->key_last_size = key_size;
    return record_append(ingest, &taken,
                         tac_record_hash(ingest->record, key_size, value_size, taken.is_tombstone),
                         error);
}

static int run_read(struct tac_ingest *ingest, run_read_fn *read_fn, void *context,
                    struct tac_error *error)
{
    for (;;) { /* Ends with the run. */
        const struct tactus_run_record *records = NULL;
        size_t                          count = 0;
        int                             result = read_fn(context, &records, &count);

        if (result != TACTUS_OK) {
            return tac_error_set(error, result,
                                 "the run's reader returned %d (%s) behind record %llu", result,
                                 tactus_strerror(result), (unsigned long long)ingest->records);
        }
        if (count == 0) {
            return TACTUS_OK;
        }
        if (records == NULL) {
            return tac_error_set(error, TACTUS_EINVAL, "the run's reader gave no records");
        }
        for (size_t i = 0; i < count; i++) {
            if (record_take(ingest, &records[i], error) != TACTUS_OK) {
                return error->code;
            }
        }
    }
}

/* read = in tables + dropped (contract 2). */
static bool is_conserved(const struct tac_ingest *ingest)
{
    struct tac_merge_account sum = ingest->dropped;

    for (const struct tac_table *table = ingest->tables; table != NULL; table = table->next) {
        sum =
            tac_merge_account_add(sum, (struct tac_merge_account){table->records, table->tombstones,
                                                                  table->bytes, table->sum});
    }
    return sum.records == ingest->read.records && sum.tombstones == ingest->read.tombstones &&
           sum.bytes == ingest->read.bytes && tac_u128_equal(sum.sum, ingest->read.sum);
}

/* All of the run is in tables, and these are written. */
static int run_finish(struct tac_ingest *ingest, struct tac_error *error)
{
    int result = table_end(ingest, error);

    if (result == TACTUS_OK) {
        result = sealed_write(ingest, error);
    }
    if (result == TACTUS_OK && !is_conserved(ingest)) {
        result = tac_error_set(error, TACTUS_ECORRUPT, "records of the run were lost or invented");
    }
    if (result != TACTUS_OK) {
        return result;
    }
    tac_assert(ingest->written == ingest->taken);
    while (ingest->address_count > ingest->address_used) {
        tac_free_set_forfeit(ingest->store->free_set, ingest->addresses[--ingest->address_count]);
    }
    return TACTUS_OK;
}

/* ---- life cycle ----------------------------------------------------------------------------- */

void tac_ingest_free(struct tac_ingest *ingest)
{
    if (ingest != NULL) {
        tac_table_builder_free(ingest->builder);
        free(ingest->buffers);
        free(ingest->buffer_addresses);
        free(ingest->record);
        free(ingest->addresses);
        free(ingest);
    }
}

/* Nothing of it is there: blocks and descriptors go back. The coordinator rests. */
static void run_drop(struct tac_ingest *ingest)
{
    while (ingest->address_count > 0 && !TAC_MUTANT(RUN_LEAKED)) {
        tac_free_set_forfeit(ingest->store->free_set, ingest->addresses[--ingest->address_count]);
    }
    while (ingest->tables != NULL) {
        struct tac_table *table = ingest->tables;

        ingest->tables = table->next;
        tac_manifest_table_give_back(ingest->store->manifest, table);
    }
    tac_ingest_free(ingest);
}

static struct tac_ingest *memory_new(struct tactus *store, const struct tac_layout *layout)
{
    struct tac_ingest *ingest = calloc(1, sizeof *ingest);
    uint64_t           block_size = store->shape.block_size;

    if (ingest == NULL) {
        return NULL;
    }
    ingest->buffer_count =
        WRITE_BLOCKS + tac_table_builder_buffers_max(&store->geometry, layout,
                                                     store->shape.filter_bits_per_key,
                                                     store->table_records_max);
    ingest->builder = tac_table_builder_new(&store->geometry, store->table_records_max);
    ingest->buffers = aligned_alloc(TAC_STORAGE_ALIGNMENT_MAX, ingest->buffer_count * block_size);
    ingest->buffer_addresses = calloc(ingest->buffer_count, sizeof *ingest->buffer_addresses);
    ingest->record = malloc(block_size); /* A record has a quarter of a block at most. */
    if (ingest->builder == NULL || ingest->buffers == NULL || ingest->buffer_addresses == NULL ||
        ingest->record == NULL) {
        tac_ingest_free(ingest);
        return NULL;
    }
    return ingest;
}

/* While the coordinator rests. */
static int ingest_new(struct tactus *store, uint32_t tree, struct tac_ingest **ret_ingest,
                      struct tac_error *error)
{
    struct tac_layout                layout = tac_manifest_tree(store->manifest, tree)->layout;
    struct tac_ingest               *ingest = memory_new(store, &layout);
    struct tac_table_builder_options options;
    struct tac_builder_sink sink = {ingest, sink_take_buffer, sink_take_address, sink_sealed,
                                    sink_finished};

    if (ingest == NULL) {
        return tac_error_set(error, TACTUS_ENOMEM, "out of memory for a sorted run");
    }
    ingest->store = store;
    ingest->tree = tree;
    ingest->layout = layout;
    ingest->op = store->last_op + 1;
    ingest->cut.limit_bytes = TAC_PLAN_LIMIT_NONE; /* table_is_full ends them. */
    tac_space_ingest(store, &ingest->room);
    walk_begin(&ingest->walk, store, tree);
    memtable_range(ingest, 0, store->memtables[store->memtable_mutable]);
    memtable_range(ingest, 1, store->immutable_table);
    options = (struct tac_table_builder_options){
        .geometry = &store->geometry,
        .layout = layout,
        .tree = tree,
        .sequence = store->checkpoint.next.sequence + 1,
        .filter_bits_per_key = store->shape.filter_bits_per_key,
        .cuts = &ingest->cut,
        .cut_count = 1,
    };
    tac_table_builder_begin(ingest->builder, &options, &sink);
    *ret_ingest = ingest;
    return TACTUS_OK;
}

/* ---- the manifest --------------------------------------------------------------------------- */

uint64_t tac_ingest_log_blocks(const struct tactus *store)
{
    const struct tac_ingest *ingest = store->ingest;

    return ingest == NULL ? 0
                          : tac_manifest_log_blocks_for(&store->geometry, ingest->table_count,
                                                        ingest->layout.key_size);
}

/* Where each table goes, as of now. A last level has no tombstones where a plan can help it. */
static void levels_choose(struct tactus *store, struct tac_ingest *ingest)
{
    struct walk walk;
    bool        has_edge;

    walk_begin(&walk, store, ingest->tree);
    for (struct tac_table *table = ingest->tables; table != NULL; table = table->next) {
        table->level = walk_to(&walk, table->key_min, table->key_max, &has_edge);
        if (table->level == walk.last_level && table->tombstones > 0) {
            table->level--;
        }
    }
}

/* What does not go to the last level comes to the tree as flushes do. */
static void arrival_count(struct tactus *store, struct tac_ingest *ingest)
{
    struct tac_manifest_tree  *tree = tac_manifest_tree(store->manifest, ingest->tree);
    struct tac_planner_options options;
    uint64_t                   weight = 0, accounted = 0, pieces;

    for (const struct tac_table *table = ingest->tables; table != NULL; table = table->next) {
        if (table->level < tree->planner.last_level) {
            weight += tac_planner_level_size(table->bytes, table->records, table->tombstones);
            accounted += table->bytes + table->records * TACTUS_RECORD_OVERHEAD_BYTES;
        }
    }
    tac_store_planner_options(store, &options);
    tac_planner_arrive(&options, &tree->planner, weight);
    pieces = tac_div_ceil(accounted, store->shape.memtable_size);
    store->bars_owed = (uint32_t)tac_min_u64(tac_subtract_floor_zero(pieces, 1), TAC_BARS_OWED_MAX);
}

void tac_ingest_enter(struct tactus *store)
{
    struct tac_ingest *ingest = store->ingest;
    uint64_t           log_blocks = tac_ingest_log_blocks(store);
    uint64_t           stamp = ++store->stamp_last;

    for (uint64_t i = 0; i < ingest->address_count; i++) {
        tac_free_set_acquire_reserved(store->free_set, ingest->addresses[i]);
    }
    levels_choose(store, ingest);
    arrival_count(store, ingest);
    while (ingest->tables != NULL) {
        struct tac_table *table = ingest->tables;

        ingest->tables = table->next;
        tac_store_table_enter(store, table, ingest->tree, table->level, stamp, ingest->op);
    }
    tac_manifest_log_compact(store->manifest_log, store->manifest, 2 * log_blocks, 0);
    store->persisted_op = ingest->op;
    store->ingest = NULL;
    store->ingest_enters = false;
}

/* ---- the op --------------------------------------------------------------------------------- */

int tac_ingest_bars_end(struct tactus *store, struct tac_error *error)
{
    int result = TACTUS_OK;

    while (result == TACTUS_OK && store->bars_owed > 0) {
        result = tac_writer_end_plan(store, error);
        tac_writer_plan_wait(store);
    }
    return result;
}

/* Ends bars until the tables are in and the checkpoint that has them is durable. */
static int run_enter(struct tac_ingest *ingest, struct tac_error *error)
{
    struct tactus *store = ingest->store;
    int            result = TACTUS_OK;

    store->ingest = ingest;
    if (tac_recovery_is_refilling(store)) {
        tac_recovery_refill_end(store);
    }
    while (result == TACTUS_OK &&
           tac_memtable_accounted(store->memtables[store->memtable_mutable]) > 0) {
        result = tac_writer_end_plan(store, error);
        tac_writer_plan_wait(store);
    }
    if (result == TACTUS_OK) {
        store->ingest_enters = true;
        result = tac_writer_end_plan(store, error);
    }
    if (result == TACTUS_OK) {
        tac_writer_plan_wait(store);
        store->immutable_last_op = ingest->op; /* The memtables were swapped before it is taken. */
        result = TAC_MUTANT(INGEST_EARLY) ? TACTUS_OK
                                          : tac_writer_durable_wait(store, ingest->op, error);
    }
    return result;
}

/* It is durable, and takes its number. The log knows it by that alone. */
static int op_take(struct tac_ingest *ingest, struct tac_error *error)
{
    struct tactus *store = ingest->store;
    int            result = tac_writer_nothing(store, error);

    if (result != TACTUS_OK) {
        tac_store_poison(store, result, error->message); /* The number must not be given again. */
        return result;
    }
    tac_assert(store->last_op == ingest->op);
    store->user_bytes += ingest->read.bytes;
    store->records_put += ingest->read.records - ingest->read.tombstones;
    store->records_deleted += ingest->read.tombstones;
    return TACTUS_OK;
}

static int ingest_check(struct tactus *store, uint32_t tree, struct tac_error *error)
{
    bool is_new = !store->is_replaying && !tac_recovery_is_refilling(store);

    if (store->plans_per_bar > 1) {
        return tac_error_set(error, TACTUS_EOPTION,
                             "with runs_per_level of 1 no table may lie over another: the store "
                             "takes no sorted runs");
    }
    if (tac_writer_pause_check(store, error) != TACTUS_OK ||
        tac_writer_rest(store, error) != TACTUS_OK ||
        tac_writer_put_check(store, error) != TACTUS_OK) {
        return error->code;
    }
    return is_new ? tac_damage_check(&store->damage, store->manifest, (uint64_t)1 << tree, error)
                  : TACTUS_OK;
}

/* With commit_lock held. *ret_op: 0 if the run is empty. */
static int ingest(struct tactus *store, uint32_t tree, run_read_fn *read_fn, void *context,
                  uint64_t *ret_op, struct tac_error *error)
{
    struct tac_ingest *ingest = NULL;
    int                result = ingest_check(store, tree, error);

    if (result == TACTUS_OK) {
        result = ingest_new(store, tree, &ingest, error);
    }
    if (result != TACTUS_OK) {
        return result;
    }
    result = run_read(ingest, read_fn, context, error);
    if (result == TACTUS_OK) {
        result = run_finish(ingest, error);
    }
    if (result != TACTUS_OK || ingest->records == 0) {
        run_drop(ingest);
        return result;
    }
    result = run_enter(ingest, error);
    if (result != TACTUS_OK) {
        store->ingest_cut = ingest; /* The coordinator may be at work on it. */
        return result;
    }
    *ret_op = ingest->op;
    result = op_take(ingest, error);
    tac_ingest_free(ingest);
    return result == TACTUS_OK ? tac_ingest_bars_end(store, error) : result;
}

int tactus_ingest(struct tactus *store, uint32_t tree,
                  int (*read_fn)(void *context, const struct tactus_run_record **ret_records,
                                 size_t *ret_count),
                  void *context, uint64_t *ret_op)
{
    struct tac_layout layout;
    uint64_t          op = 0;
    int               result = tac_api_tree_layout(store, tree, &layout);

    if (result != TACTUS_OK) {
        return result;
    }
    if (read_fn == NULL) {
        return tac_error_set(&tac_api_error, TACTUS_EINVAL, "no function that reads the run");
    }
    if (tac_api_lock(store) != TACTUS_OK) {
        return tac_api_error.code;
    }
    result = tac_trees_check(store, tree, &tac_api_error);
    if (result == TACTUS_OK) {
        result = ingest(store, tac_tree_number(tree), read_fn, context, &op, &tac_api_error);
    }
    tac_api_unlock(store);
    if (result == TACTUS_OK && op != 0 && ret_op != NULL) {
        *ret_op = op;
    }
    return result;
}
