/* SPDX-License-Identifier: Apache-2.0 */
/* table_fixture -- what the tests of blocks, tables and merges share: random geometries, layouts
 * and records, and a store of sealed blocks in memory. Header only. */
#ifndef TACTUS_TESTS_LIB_TABLE_FIXTURE_H
#define TACTUS_TESTS_LIB_TABLE_FIXTURE_H

#include <stdlib.h>

#include "base/prng.h"
#include "base/units.h"
#include "lsm/table_builder.h"
#include "tests/lib/tap.h"

#define FIXTURE_BLOCKS_MAX 8192
#define FIXTURE_TABLES_MAX 4096

/* ---- shapes ---- */

static const struct tac_geometry fixture_geometries[] = {
    {.block_size = 4096, .page_size = 512, .checksum_seed = 1},
    {.block_size = 4096, .page_size = 1024, .checksum_seed = 2},
    {.block_size = 8192, .page_size = 512, .checksum_seed = 3},
    {.block_size = 32768, .page_size = 1024, .checksum_seed = 4},
    {.block_size = 16384, .page_size = 4096, .checksum_seed = 5},
    {.block_size = 131072, .page_size = 2048, .checksum_seed = 6},
    {.block_size = 131072, .page_size = 4096, .checksum_seed = 7},
    {.block_size = 262144, .page_size = 65536, .checksum_seed = 8},
};

static inline uint32_t fixture_between(struct tac_prng *prng, uint64_t low, uint64_t high)
{
    return (uint32_t)(low + tac_prng_below(prng, high - low + 1));
}

/* Sizes near both ends of what is legal come up as often as those between. */
static inline struct tac_layout fixture_layout(struct tac_prng           *prng,
                                               const struct tac_geometry *geometry)
{
    static const uint32_t keys[] = {8, 16, 8, 16, 4, 24, 100, 1024};
    uint32_t              record_max = geometry->block_size / 4;
    uint32_t              room;
    struct tac_layout     layout = {
            .kind = tac_prng_below(prng, 2) == 0 ? TACTUS_LAYOUT_FIXED : TACTUS_LAYOUT_VARIABLE,
            .key_size = keys[tac_prng_below(prng, TAC_ARRAY_COUNT(keys))],
    };

    room = record_max - layout.key_size;
    switch (tac_prng_below(prng, 5)) {
    case 0:
        layout.value_size = 0;
        break;
    case 1:
        layout.value_size = room;
        break;
    case 2: /* A page, give or take a few bytes */
        layout.value_size = geometry->page_size + fixture_between(prng, 0, 16) - 8;
        layout.value_size = layout.value_size > room ? room : layout.value_size;
        layout.value_size -= layout.key_size > layout.value_size ? 0 : layout.key_size;
        break;
    default:
        layout.value_size = fixture_between(prng, 0, room < 200 ? room : 200);
    }
    return layout;
}

/* ---- records ---- */

/* Owns its bytes: key, then value. */
struct fixture_record {
    uint8_t *bytes;
    uint32_t key_size, value_size;
    bool     is_tombstone;
};

static inline struct tac_bytes fixture_key(const struct fixture_record *record)
{
    return (struct tac_bytes){record->bytes, record->key_size};
}

static inline struct tac_record fixture_view(const struct fixture_record *record)
{
    return (struct tac_record){
        .key = {record->bytes, record->key_size},
        .value = {record->bytes + record->key_size, record->value_size},
        .is_tombstone = record->is_tombstone,
    };
}

static inline struct tac_u128 fixture_hash(const struct fixture_record *record)
{
    return tac_record_hash(record->bytes, record->key_size, record->value_size,
                           record->is_tombstone);
}

static inline bool fixture_equal(const struct fixture_record *expected,
                                 const struct tac_record     *record)
{
    return tac_bytes_compare(fixture_key(expected), record->key) == 0 &&
           record->value.data == record->key.data + record->key.size &&
           record->value.size == expected->value_size &&
           record->is_tombstone == expected->is_tombstone &&
           memcmp(expected->bytes + expected->key_size, record->value.data, record->value.size) ==
               0;
}

/* Keys that are hard to tell apart: few different bytes, zero bytes, shared beginnings, one the
 * beginning of the other. The style is one of four for all keys of a set. */
static inline uint32_t fixture_make_key(struct tac_prng *prng, const struct tac_layout *layout,
                                        uint32_t style, uint64_t number, uint8_t *key)
{
    uint32_t size = layout->key_size;

    if (layout->kind == TACTUS_LAYOUT_VARIABLE && tac_prng_below(prng, 8) != 0) {
        size = fixture_between(prng, 1, size < 24 ? size : 24);
    }
    for (uint32_t i = 0; i < size; i++) {
        uint8_t random = (uint8_t)tac_prng_next(prng);

        switch (style) {
        case 0:
            key[i] = random;
            break;
        case 1:
            key[i] = (uint8_t)(random & 1); /* Zeros and ones */
            break;
        case 2: /* Equal but for the last few */
            key[i] = i + 3 < size ? 'k' : random;
            break;
        default: /* A counter behind a shared beginning, then highest bytes */
            key[i] = 0xff;
            if (i >= size / 2 && i < size / 2 + 3) {
                key[i] = (uint8_t)(number >> 8 * (i % 3));
            }
        }
    }
    return size;
}

static inline int fixture_compare(const void *a, const void *b)
{
    return tac_bytes_compare(fixture_key(a), fixture_key(b));
}

static inline void fixture_free_records(struct fixture_record *records, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        free(records[i].bytes);
    }
    free(records);
}

/* Up to *count records with different keys in order; tombstones: percent. Sets *count. */
static inline struct fixture_record *fixture_make_records(struct tac_prng         *prng,
                                                          const struct tac_layout *layout,
                                                          uint32_t style, uint32_t tombstones,
                                                          uint32_t *count)
{
    struct fixture_record *records = calloc(*count, sizeof *records);
    uint32_t               kept = 0;

    if (records == NULL) {
        tap_bail("out of memory");
    }
    for (uint32_t i = 0; i < *count; i++) {
        struct fixture_record *record = &records[i];
        uint8_t                key[TACTUS_KEY_SIZE_MAX];

        record->key_size = fixture_make_key(prng, layout, style, i, key);
        record->is_tombstone = tac_prng_below(prng, 100) < tombstones;
        record->value_size = layout->value_size;
        if (layout->kind == TACTUS_LAYOUT_VARIABLE && tac_prng_below(prng, 4) != 0) {
            record->value_size =
                fixture_between(prng, 0, layout->value_size < 300 ? layout->value_size : 300);
        }
        record->value_size = record->is_tombstone ? 0 : record->value_size;
        record->bytes = malloc(record->key_size + record->value_size);
        if (record->bytes == NULL) {
            tap_bail("out of memory");
        }
        memcpy(record->bytes, key, record->key_size);
        memset(record->bytes + record->key_size, (int)(tac_prng_next(prng) & 0xff),
               record->value_size);
    }
    qsort(records, *count, sizeof *records, fixture_compare);
    for (uint32_t i = 0; i < *count; i++) {
        if (kept > 0 && fixture_compare(&records[kept - 1], &records[i]) == 0) {
            free(records[i].bytes);
        } else {
            records[kept++] = records[i];
        }
    }
    *count = kept;
    return records;
}

/* ---- a store of sealed blocks ---- */

struct fixture_store {
    struct tac_geometry     geometry;
    struct tac_sealed_block blocks[FIXTURE_BLOCKS_MAX]; /* In the order of sealing */
    uint32_t                block_count;
    uint32_t                buffers_taken;
    uint64_t                address_next;
    struct tac_table        tables[FIXTURE_TABLES_MAX]; /* Own their keys */
    uint32_t                table_count;
    bool                    is_in_order; /* Addresses were sealed in the order of taking */
};

static inline struct tac_builder_buffer fixture_take_buffer(void *context)
{
    struct fixture_store *store = context;
    uint8_t              *data = malloc(store->geometry.block_size);

    if (data == NULL) {
        tap_bail("out of memory");
    }
    store->buffers_taken++;
    memset(data, (int)(0xa0 + store->buffers_taken % 7), store->geometry.block_size);
    return (struct tac_builder_buffer){.data = data, .context = store};
}

static inline uint64_t fixture_take_address(void *context)
{
    struct fixture_store *store = context;

    return store->address_next++;
}

static inline void fixture_sealed(void *context, const struct tac_sealed_block *block)
{
    struct fixture_store *store = context;

    if (store->block_count == FIXTURE_BLOCKS_MAX) {
        tap_bail("too many blocks for the fixture");
    }
    store->is_in_order = store->is_in_order && block->buffer.context == store &&
                         block->reference.address + 1 == store->address_next;
    store->blocks[store->block_count++] = *block;
}

static inline struct tac_bytes fixture_copy(struct tac_bytes bytes)
{
    uint8_t *data = malloc(bytes.size + 1);

    if (data == NULL) {
        tap_bail("out of memory");
    }
    memcpy(data, bytes.data, bytes.size);
    return (struct tac_bytes){data, bytes.size};
}

static inline void fixture_finished(void *context, const struct tac_table *table)
{
    struct fixture_store *store = context;
    struct tac_table     *copy = &store->tables[store->table_count];

    if (store->table_count == FIXTURE_TABLES_MAX) {
        tap_bail("too many tables for the fixture");
    }
    store->table_count++;
    *copy = *table;
    copy->key_min = fixture_copy(table->key_min);
    copy->key_max = fixture_copy(table->key_max);
}

static inline struct fixture_store *fixture_store_new(const struct tac_geometry *geometry)
{
    struct fixture_store *store = calloc(1, sizeof *store);

    if (store == NULL) {
        tap_bail("out of memory");
    }
    store->geometry = *geometry;
    store->address_next = 1;
    store->is_in_order = true;
    return store;
}

static inline void fixture_store_free(struct fixture_store *store)
{
    for (uint32_t i = 0; i < store->block_count; i++) {
        free(store->blocks[i].buffer.data);
    }
    for (uint32_t i = 0; i < store->table_count; i++) {
        free((void *)store->tables[i].key_min.data);
        free((void *)store->tables[i].key_max.data);
    }
    free(store);
}

static inline struct tac_builder_sink fixture_sink(struct fixture_store *store)
{
    return (struct tac_builder_sink){
        .context = store,
        .take_buffer = fixture_take_buffer,
        .take_address = fixture_take_address,
        .sealed = fixture_sealed,
        .finished = fixture_finished,
    };
}

/* The block with that address, verified against the reference. */
static inline const uint8_t *fixture_block(const struct fixture_store       *store,
                                           enum tac_block_kind               kind,
                                           const struct tac_block_reference *reference)
{
    const struct tac_sealed_block *block = &store->blocks[reference->address - 1];
    struct tac_error               error;

    if (reference->address == 0 || reference->address > store->block_count || block->kind != kind ||
        tac_block_verify(block->buffer.data, &store->geometry, kind, reference, &error) !=
            TACTUS_OK) {
        tap_bail("block %llu does not verify", (unsigned long long)reference->address);
    }
    return block->buffer.data;
}

/* The page of a decoded block. */
static inline struct tac_page fixture_page(const struct tac_value_block *block, uint32_t index)
{
    struct tac_page_entry entry = tac_value_block_page(block, index);

    return (struct tac_page){
        .data = block->data + (size_t)entry.unit_first * block->page_size,
        .layout = block->layout,
        .size_bytes = (uint32_t)entry.unit_count * block->page_size,
        .record_count = entry.record_count,
        .flags = entry.flags,
    };
}

/* A table's index block, verified and decoded. */
static inline struct tac_index_block fixture_index(const struct fixture_store *store,
                                                   const struct tac_table     *table)
{
    struct tac_index_block index;
    struct tac_error       error;
    const uint8_t         *data = fixture_block(store, TAC_BLOCK_INDEX, &table->index);

    if (tac_index_block_decode(&index, data, &store->geometry, table->index.address, &error) !=
        TACTUS_OK) {
        tap_bail("%s", error.message);
    }
    return index;
}

/* Value block `block` of a table, verified and decoded. */
static inline struct tac_value_block fixture_value_block(const struct fixture_store   *store,
                                                         const struct tac_layout      *layout,
                                                         const struct tac_index_block *index,
                                                         uint32_t                      block)
{
    struct tac_index_value_block entry = tac_index_value_block(index, block);
    const uint8_t               *data = fixture_block(store, TAC_BLOCK_VALUE, &entry.reference);
    struct tac_value_block       result;
    struct tac_error             error;

    if (tac_value_block_decode(&result, data, &store->geometry, layout, entry.reference.address,
                               &error) != TACTUS_OK) {
        tap_bail("%s", error.message);
    }
    return result;
}

#endif
