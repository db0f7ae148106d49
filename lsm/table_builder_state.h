/* SPDX-License-Identifier: Apache-2.0 */
/* table_builder_state -- the inside of a table builder, for the merge kernels: nearly every record
 * goes into the open page of the open block, and that case is inlined here. Private to lsm/. */
#ifndef TACTUS_LSM_TABLE_BUILDER_STATE_H
#define TACTUS_LSM_TABLE_BUILDER_STATE_H

#include "lsm/index_builder.h"
#include "lsm/table_builder.h"
#include "lsm/value_page.h"

struct tac_table_builder {
    /* Fixed at new */
    struct tac_geometry geometry;
    uint64_t            hashes_max;
    uint32_t           *hashes; /* Filter hashes of the open table's records */
    void               *memory;
    /* Per job */
    struct tac_table_builder_options options;
    struct tac_builder_sink          sink;
    struct tac_builder_totals        totals;      /* Of finished tables */
    uint64_t                         records_max; /* Of a table: hashes and filter blocks */
    uint64_t                         buffers_taken;
    uint32_t cut; /* The stretch that the next record is in, or a later one */
    /* Per table */
    struct tac_index_builder       index; /* Holds the totals of the sealed blocks */
    struct tac_value_block_builder block;
    struct tac_builder_buffer      buffer;        /* Of the open value block */
    uint64_t                       table_records; /* 0: no table is open */
    /* The fast path: how far it may go before the next record takes the slow one */
    uint64_t edge_prefix;  /* Keys with a smaller prefix are below the cut's edge */
    uint64_t payload_stop; /* Payload bytes of the open block that reach the table's limit */
    uint32_t fixed_room;   /* Fixed layout: records */
    /* Keys of the open table; the last one, of the table before it too */
    uint32_t key_min_size, key_last_size; /* key_last_size 0: no table has ended in this job */
    uint8_t  key_min[TACTUS_KEY_SIZE_MAX];
    uint8_t  key_last[TACTUS_KEY_SIZE_MAX];
};

static inline void tac_table_builder_count(struct tac_table_builder *builder, struct tac_bytes key,
                                           struct tac_u128 hash, uint32_t bytes)
{
    if (builder->options.filter_bits_per_key > 0) {
        builder->hashes[builder->table_records] = tac_filter_hash(key);
    }
    builder->table_records++;
    builder->block.page_records++;
    builder->block.record_count++;
    builder->block.payload_bytes += bytes;
    builder->block.sum = tac_u128_add(builder->block.sum, hash);
}

/* False: the key has reached the cut's edge. */
static inline bool tac_table_builder_is_in_cut(const struct tac_table_builder *builder,
                                               const uint8_t *key, uint32_t key_size,
                                               uint64_t prefix)
{
    struct tac_bytes edge = builder->options.cuts[builder->cut].edge;

    return prefix < builder->edge_prefix || edge.size == 0 ||
           (prefix == builder->edge_prefix &&
            tac_bytes_compare((struct tac_bytes){key, key_size}, edge) < 0);
}

/* Appends a record of a fixed layout if that needs nothing but room in the open page. `bytes` are
 * the key and the value one behind the other, prefix is the key's; not for tombstones. */
static inline bool tac_table_builder_append_fixed(struct tac_table_builder *builder,
                                                  const uint8_t *bytes, uint32_t key_size,
                                                  uint64_t prefix, struct tac_u128 hash)
{
    struct tac_value_block_builder *block = &builder->block;

    if (builder->fixed_room == 0 ||
        !tac_table_builder_is_in_cut(builder, bytes, key_size, prefix)) {
        return false;
    }
    tac_assert_slow(memcmp(tac_value_block_last_key(block).data, bytes, key_size) < 0);
    builder->fixed_room--;
    memcpy(block->data + block->page_front, bytes, block->record_bytes);
    block->page_front += block->record_bytes;
    tac_table_builder_count(builder, (struct tac_bytes){bytes, key_size}, hash,
                            block->record_bytes);
    return true;
}

/* The same for variable layouts, tombstones included. */
static inline bool tac_table_builder_append_variable(struct tac_table_builder *builder,
                                                     const uint8_t *bytes, uint32_t key_size,
                                                     uint32_t value_size, bool is_tombstone,
                                                     uint64_t prefix, struct tac_u128 hash)
{
    struct tac_value_block_builder *block = &builder->block;
    uint32_t                        record_bytes = key_size + value_size;
    uint8_t                        *slot;

    if (builder->table_records == 0 || builder->table_records == builder->records_max ||
        block->page_flags != 0 || !tac_table_builder_is_in_cut(builder, bytes, key_size, prefix) ||
        TAC_SLOT_BYTES + record_bytes > block->page_back - block->page_front ||
        block->payload_bytes + record_bytes > builder->payload_stop) {
        return false;
    }
    tac_assert_slow(tac_bytes_compare(tac_value_block_last_key(block),
                                      (struct tac_bytes){bytes, key_size}) < 0);
    slot = block->data + block->page_front;
    block->page_front += TAC_SLOT_BYTES;
    block->page_back -= record_bytes;
    block->tombstone_count += is_tombstone;
    tac_store_u16(slot + TAC_SLOT_OFFSET_PLACE, (uint16_t)(block->page_back - block->page_begin));
    tac_store_u16(slot + TAC_SLOT_OFFSET_KEY_SIZE,
                  (uint16_t)(key_size | (is_tombstone ? TAC_SLOT_TOMBSTONE : 0)));
    memcpy(block->data + block->page_back, bytes, record_bytes);
    tac_table_builder_count(builder, (struct tac_bytes){bytes, key_size}, hash, record_bytes);
    return true;
}

#endif
