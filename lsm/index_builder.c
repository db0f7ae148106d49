/* SPDX-License-Identifier: Apache-2.0 */
#include "lsm/index_builder.h"

#include "base/units.h"
#include "lsm/index_format.h"

/* Every page takes at least an entry and a prefix, every value block an entry and one page. */
static uint32_t pages_max(uint32_t block_size)
{
    return (block_size - TAC_INDEX_HEADER_BYTES) / (TAC_INDEX_PAGE_BYTES + TAC_INDEX_PREFIX_BYTES);
}

static uint64_t blocks_max(uint32_t block_size)
{
    return (block_size - TAC_INDEX_HEADER_BYTES) /
           (TAC_INDEX_BLOCK_BYTES + TAC_INDEX_PAGE_BYTES + TAC_INDEX_PREFIX_BYTES);
}

uint64_t tac_index_builder_memory_bytes(uint32_t block_size)
{
    return blocks_max(block_size) * TAC_INDEX_BLOCK_BYTES +
           (uint64_t)pages_max(block_size) * (TAC_INDEX_PAGE_BYTES + TAC_INDEX_PREFIX_BYTES) +
           block_size;
}

void tac_index_builder_init(struct tac_index_builder *builder, uint32_t block_size, uint8_t *memory)
{
    tac_assert(memory != NULL);
    tac_assert(pages_max(block_size) <= UINT16_MAX); /* A page entry names its value block in 16. */
    *builder = (struct tac_index_builder){.block_size = block_size};
    builder->blocks = memory;
    builder->pages = builder->blocks + blocks_max(block_size) * TAC_INDEX_BLOCK_BYTES;
    builder->prefixes = builder->pages + (size_t)pages_max(block_size) * TAC_INDEX_PAGE_BYTES;
    builder->heap = builder->prefixes + (size_t)pages_max(block_size) * TAC_INDEX_PREFIX_BYTES;
}

void tac_index_builder_begin(struct tac_index_builder *builder)
{
    builder->block_count = 0;
    builder->page_count = 0;
    builder->heap_bytes = 0;
    builder->page_sealed = 0;
    builder->record_count = 0;
    builder->tombstone_count = 0;
    builder->payload_bytes = 0;
    builder->sum = (struct tac_u128){0};
}

/* Any string above `last` and not above `first` agrees with both where they agree, and must then
 * have at least one byte more: a shorter one would be a prefix of `last`, hence not above it. */
uint32_t tac_separator_size(struct tac_bytes last, struct tac_bytes first)
{
    uint32_t size = last.size < first.size ? last.size : first.size;
    uint32_t common = 0;

    while (common < size && last.data[common] == first.data[common]) {
        common++;
    }
    tac_assert(common < first.size);
    tac_assert(common == last.size || last.data[common] < first.data[common]);
    return common + 1;
}

uint32_t tac_index_builder_used_bytes(const struct tac_index_builder *builder)
{
    return TAC_INDEX_HEADER_BYTES + builder->block_count * TAC_INDEX_BLOCK_BYTES +
           builder->page_count * (TAC_INDEX_PAGE_BYTES + TAC_INDEX_PREFIX_BYTES) +
           builder->heap_bytes;
}

bool tac_index_builder_fits(const struct tac_index_builder *builder, uint32_t separator_size,
                            bool is_new_block)
{
    uint32_t more = TAC_INDEX_PAGE_BYTES + TAC_INDEX_PREFIX_BYTES + separator_size +
                    (is_new_block ? TAC_INDEX_BLOCK_BYTES : 0);

    return tac_index_builder_used_bytes(builder) + more <= builder->block_size;
}

void tac_index_builder_begin_page(struct tac_index_builder *builder, struct tac_bytes separator,
                                  bool is_new_block)
{
    uint8_t *entry = builder->pages + (size_t)builder->page_count * TAC_INDEX_PAGE_BYTES;

    tac_assert(tac_index_builder_fits(builder, separator.size, is_new_block));
    tac_assert((separator.size == 0) == (builder->page_count == 0));
    tac_assert(is_new_block || builder->block_count > 0);
    builder->block_count += is_new_block;
    memset(entry, 0, TAC_INDEX_PAGE_BYTES);
    tac_store_u32(entry + TAC_INDEX_PAGE_OFFSET_SEPARATOR, builder->heap_bytes);
    tac_store_u16(entry + TAC_INDEX_PAGE_OFFSET_SEPARATOR_SIZE, (uint16_t)separator.size);
    tac_store_u16(entry + TAC_INDEX_PAGE_OFFSET_BLOCK, (uint16_t)(builder->block_count - 1));
    tac_store_u64(builder->prefixes + (size_t)builder->page_count * TAC_INDEX_PREFIX_BYTES,
                  tac_key_prefix(separator.data, separator.size));
    memcpy(builder->heap + builder->heap_bytes, separator.data, separator.size);
    builder->heap_bytes += separator.size;
    builder->page_count++;
}

void tac_index_builder_block_sealed(struct tac_index_builder         *builder,
                                    const struct tac_value_block     *block,
                                    const struct tac_block_reference *reference)
{
    uint8_t *entry = builder->blocks + (size_t)(builder->block_count - 1) * TAC_INDEX_BLOCK_BYTES;

    tac_assert(builder->block_count > 0);
    tac_assert(builder->page_sealed + block->page_count == builder->page_count);
    tac_reference_store(entry + TAC_INDEX_BLOCK_OFFSET_REFERENCE, reference);
    tac_store_u32(entry + TAC_INDEX_BLOCK_OFFSET_PAGE_FIRST, builder->page_sealed);
    tac_store_u32(entry + TAC_INDEX_BLOCK_OFFSET_PAGES, block->page_count);
    tac_store_u128(entry + TAC_INDEX_BLOCK_OFFSET_SUM, block->sum);
    tac_store_u32(entry + TAC_INDEX_BLOCK_OFFSET_RECORDS, block->record_count);
    tac_store_u32(entry + TAC_INDEX_BLOCK_OFFSET_TOMBSTONES, block->tombstone_count);
    tac_store_u64(entry + TAC_INDEX_BLOCK_OFFSET_PAYLOAD, block->payload_bytes);
    for (uint32_t i = 0; i < block->page_count; i++) {
        memcpy(builder->pages + (size_t)(builder->page_sealed + i) * TAC_INDEX_PAGE_BYTES,
               tac_value_entry(block->data, i), TAC_PAGE_ENTRY_BYTES);
    }
    builder->page_sealed += block->page_count;
    builder->record_count += block->record_count;
    builder->tombstone_count += block->tombstone_count;
    builder->payload_bytes += block->payload_bytes;
    builder->sum = tac_u128_add(builder->sum, block->sum);
}

bool tac_index_builder_filter_fits(const struct tac_index_builder *builder, uint64_t filter_bytes)
{
    return tac_round_up(tac_index_builder_used_bytes(builder), TAC_FILTER_LINE_BYTES) +
               filter_bytes <=
           builder->block_size;
}

static void header_store(const struct tac_index_builder *builder, const struct tac_index_seal *seal,
                         uint64_t filter_bytes, uint8_t *data)
{
    memset(data + TAC_BLOCK_HEADER_BYTES, 0, TAC_INDEX_HEADER_BYTES - TAC_BLOCK_HEADER_BYTES);
    tac_store_u32(data + TAC_INDEX_OFFSET_BLOCKS, builder->block_count);
    tac_store_u32(data + TAC_INDEX_OFFSET_PAGES, builder->page_count);
    tac_store_u64(data + TAC_INDEX_OFFSET_RECORDS, builder->record_count);
    tac_store_u64(data + TAC_INDEX_OFFSET_TOMBSTONES, builder->tombstone_count);
    tac_store_u64(data + TAC_INDEX_OFFSET_PAYLOAD, builder->payload_bytes);
    tac_store_u128(data + TAC_INDEX_OFFSET_SUM, builder->sum);
    tac_store_u32(data + TAC_INDEX_OFFSET_HEAP_BYTES, builder->heap_bytes);
    tac_store_u32(data + TAC_INDEX_OFFSET_FILTER_BYTES, (uint32_t)filter_bytes);
    tac_store_u16(data + TAC_INDEX_OFFSET_FILTER_BITS, (uint16_t)seal->filter_bits_per_key);
    tac_store_u16(data + TAC_INDEX_OFFSET_FILTER_BLOCKS, (uint16_t)seal->filter_block_count);
    for (uint32_t i = 0; i < seal->filter_block_count; i++) {
        tac_reference_store(data + TAC_INDEX_OFFSET_FILTER_FIRST + i * TAC_REFERENCE_BYTES,
                            &seal->filter_blocks[i]);
    }
}

struct tac_u128 tac_index_builder_seal(struct tac_index_builder    *builder,
                                       const struct tac_geometry   *geometry,
                                       const struct tac_index_seal *seal, uint8_t *data)
{
    const struct {
        const uint8_t *bytes;
        uint32_t       size;
    } parts[] = {
        {builder->blocks, builder->block_count * TAC_INDEX_BLOCK_BYTES},
        {builder->pages, builder->page_count * TAC_INDEX_PAGE_BYTES},
        {builder->prefixes, builder->page_count * TAC_INDEX_PREFIX_BYTES},
        {builder->heap, builder->heap_bytes},
    };
    uint64_t filter_bytes = tac_filter_bytes(builder->record_count, seal->filter_bits_per_key);
    uint64_t used = TAC_INDEX_HEADER_BYTES;

    tac_assert(builder->page_sealed == builder->page_count && builder->page_count > 0);
    tac_assert(seal->filter_block_count <= TAC_FILTER_BLOCKS_MAX);
    for (uint32_t i = 0; i < TAC_ARRAY_COUNT(parts); i++) {
        memcpy(data + used, parts[i].bytes, parts[i].size);
        used += parts[i].size;
    }
    if (filter_bytes > 0 && seal->filter_block_count == 0) {
        uint64_t filter_begin = tac_round_up(used, TAC_FILTER_LINE_BYTES);
        uint8_t *filter = data + filter_begin;

        tac_assert(tac_index_builder_filter_fits(builder, filter_bytes));
        memset(data + used, 0, filter_begin - used);
        tac_filter_build(&filter, (uint32_t)(filter_bytes / TAC_FILTER_LINE_BYTES), filter_bytes,
                         seal->hashes, builder->record_count, seal->filter_bits_per_key);
        used = filter_begin + filter_bytes;
    }
    memset(data + used, 0, geometry->block_size - used);
    header_store(builder, seal, filter_bytes, data);
    tac_block_header_encode(data, &(struct tac_block_header){
                                      .kind = TAC_BLOCK_INDEX,
                                      .address = seal->address,
                                      .sequence = seal->sequence,
                                      .tree = seal->tree,
                                      .used_bytes = (uint32_t)used,
                                  });
    return tac_block_checksum(data, geometry);
}
