/* SPDX-License-Identifier: Apache-2.0 */
/* index_builder -- collects what a table's index block says while its value blocks are written.
 *
 * Works in memory of its own, so that no block buffer is held while a table grows. Private to
 * lsm/table_builder.c and its tests. */
#ifndef TACTUS_LSM_INDEX_BUILDER_H
#define TACTUS_LSM_INDEX_BUILDER_H

#include "lsm/index_block.h"

struct tac_index_builder {
    uint32_t block_size;
    uint32_t block_count; /* Value blocks, the open one included */
    uint32_t page_count;  /* Pages, the open one included */
    uint32_t heap_bytes;
    uint32_t page_sealed; /* Pages of sealed value blocks */
    /* Totals of the sealed value blocks */
    uint64_t        record_count, tombstone_count, payload_bytes;
    struct tac_u128 sum;
    uint8_t        *blocks, *pages, *prefixes, *heap; /* Each as large as a block can need */
};

uint64_t tac_index_builder_memory_bytes(uint32_t block_size);
/* memory: tac_index_builder_memory_bytes, borrowed as long as the builder is used. */
void tac_index_builder_init(struct tac_index_builder *builder, uint32_t block_size,
                            uint8_t *memory);
/* Begins a table. */
void tac_index_builder_begin(struct tac_index_builder *builder);

/* Length of the shortest byte string above `last` and not above `first`: that many bytes of
 * `first`. last < first is asserted. */
uint32_t tac_separator_size(struct tac_bytes last, struct tac_bytes first);

/* Bytes of the index block as it stands, without a filter. */
uint32_t tac_index_builder_used_bytes(const struct tac_index_builder *builder);
/* True if one more page, in a new value block where is_new_block, still fits. */
bool tac_index_builder_fits(const struct tac_index_builder *builder, uint32_t separator_size,
                            bool is_new_block);
void tac_index_builder_begin_page(struct tac_index_builder *builder, struct tac_bytes separator,
                                  bool is_new_block);
/* The open value block is sealed: takes over its counts and page entries from its header page. */
void tac_index_builder_block_sealed(struct tac_index_builder         *builder,
                                    const struct tac_value_block     *block,
                                    const struct tac_block_reference *reference);

/* True if a filter of that size fits behind the index. */
bool tac_index_builder_filter_fits(const struct tac_index_builder *builder, uint64_t filter_bytes);

struct tac_index_seal {
    uint32_t                   tree;
    uint64_t                   address;
    uint64_t                   sequence;
    uint32_t                   filter_bits_per_key;
    uint32_t                   filter_block_count; /* 0: the filter, if any, goes into the block */
    struct tac_block_reference filter_blocks[TAC_FILTER_BLOCKS_MAX];
    const uint32_t            *hashes; /* Of all records; for a filter in the block */
};

/* Writes the index block into data (block_size, any contents); returns its checksum. */
struct tac_u128 tac_index_builder_seal(struct tac_index_builder    *builder,
                                       const struct tac_geometry   *geometry,
                                       const struct tac_index_seal *seal, uint8_t *data);

#endif
