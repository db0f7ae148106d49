/* SPDX-License-Identifier: Apache-2.0 */
/* A record's way: cut_pass and limit_pass end the table before the record where the plan says so;
 * page_prepare ends it where the index is full, and sees to a page and a block for the record;
 * then the record is put. table_end is the one place where a table ends. */
#include "lsm/table_builder.h"

#include <stdlib.h>

#include "base/units.h"
#include "lsm/index_format.h"
#include "lsm/table_builder_state.h"

/* ---- life cycle ---- */

uint64_t tac_table_builder_memory_bytes(const struct tac_geometry *geometry, uint64_t hashes_max)
{
    return sizeof(struct tac_table_builder) + hashes_max * sizeof(uint32_t) +
           tac_index_builder_memory_bytes(geometry->block_size);
}

struct tac_table_builder *tac_table_builder_new(const struct tac_geometry *geometry,
                                                uint64_t                   hashes_max)
{
    struct tac_table_builder *builder = calloc(1, sizeof *builder);

    tac_assert(tac_value_block_geometry_fits(geometry));
    tac_assert(hashes_max > 0);
    if (builder == NULL) {
        return NULL;
    }
    builder->geometry = *geometry;
    builder->hashes_max = hashes_max;
    builder->hashes = calloc(hashes_max, sizeof *builder->hashes);
    builder->memory = calloc(1, tac_index_builder_memory_bytes(geometry->block_size));
    if (builder->hashes == NULL || builder->memory == NULL) {
        tac_table_builder_free(builder);
        return NULL;
    }
    tac_index_builder_init(&builder->index, geometry->block_size, builder->memory);
    return builder;
}

void tac_table_builder_free(struct tac_table_builder *builder)
{
    if (builder == NULL) {
        return;
    }
    free(builder->memory);
    free(builder->hashes);
    free(builder);
}

static uint64_t filter_block_bytes(const struct tac_geometry *geometry)
{
    return (uint64_t)tac_filter_block_lines(geometry->block_size) * TAC_FILTER_LINE_BYTES;
}

/* Most records of a table whose filter goes into TAC_FILTER_BLOCKS_MAX blocks. The blocks hold
 * whole lines, so rounding a filter up to lines costs no block. */
static uint64_t table_records_max(const struct tac_geometry *geometry, uint32_t bits_per_key,
                                  uint64_t hashes_max)
{
    if (bits_per_key == 0) {
        return hashes_max;
    }
    return tac_min_u64(hashes_max,
                       filter_block_bytes(geometry) * TAC_FILTER_BLOCKS_MAX * 8 / bits_per_key);
}

static void cut_enter(struct tac_table_builder *builder, uint32_t cut)
{
    struct tac_bytes edge = builder->options.cuts[cut].edge;

    tac_assert(cut < builder->options.cut_count);
    tac_assert(builder->options.cuts[cut].limit_bytes > 0);
    builder->cut = cut;
    builder->edge_prefix = edge.size == 0 ? UINT64_MAX : tac_key_prefix(edge.data, edge.size);
}

void tac_table_builder_begin(struct tac_table_builder               *builder,
                             const struct tac_table_builder_options *options,
                             const struct tac_builder_sink          *sink)
{
    tac_assert(options->cut_count > 0);
    tac_assert(options->filter_bits_per_key <= TAC_FILTER_BITS_MAX);
    tac_assert(options->geometry->block_size == builder->geometry.block_size &&
               options->geometry->page_size == builder->geometry.page_size &&
               options->geometry->checksum_seed == builder->geometry.checksum_seed);
    for (uint32_t i = 0; i + 1 < options->cut_count; i++) {
        struct tac_bytes next = options->cuts[i + 1].edge;

        tac_assert(options->cuts[i].edge.size > 0);
        tac_assert(next.size == 0 || tac_bytes_compare(options->cuts[i].edge, next) < 0);
    }
    builder->options = *options;
    builder->sink = *sink;
    builder->totals = (struct tac_builder_totals){0};
    builder->records_max =
        table_records_max(&builder->geometry, options->filter_bits_per_key, builder->hashes_max);
    builder->buffers_taken = 0;
    builder->table_records = 0;
    builder->fixed_room = 0;
    builder->key_last_size = 0;
    tac_value_block_builder_init(&builder->block, &builder->geometry, &options->layout);
    cut_enter(builder, 0);
}

/* ---- blocks ---- */

static struct tac_builder_buffer buffer_take(struct tac_table_builder *builder)
{
    struct tac_builder_buffer buffer = builder->sink.take_buffer(builder->sink.context);

    tac_assert(buffer.data != NULL);
    builder->buffers_taken++;
    return buffer;
}

static void block_hand_over(struct tac_table_builder *builder, struct tac_builder_buffer buffer,
                            enum tac_block_kind kind, const struct tac_block_reference *reference,
                            uint32_t page_count)
{
    struct tac_sealed_block sealed = {
        .buffer = buffer,
        .kind = kind,
        .reference = *reference,
        .page_count = page_count,
    };

    builder->totals.blocks++;
    builder->sink.sealed(builder->sink.context, &sealed);
}

static void value_block_end(struct tac_table_builder *builder)
{
    struct tac_block_reference reference;
    struct tac_value_block     block = {.data = builder->buffer.data};

    reference.address = builder->sink.take_address(builder->sink.context);
    reference.checksum = tac_value_block_seal(&builder->block, builder->options.tree,
                                              reference.address, builder->options.sequence);
    block.page_count = builder->block.page_count;
    block.record_count = builder->block.record_count;
    block.tombstone_count = builder->block.tombstone_count;
    block.payload_bytes = builder->block.payload_bytes;
    block.sum = builder->block.sum;
    tac_index_builder_block_sealed(&builder->index, &block, &reference);
    block_hand_over(builder, builder->buffer, TAC_BLOCK_VALUE, &reference, block.page_count);
    builder->buffer = (struct tac_builder_buffer){0};
}

/* Filter blocks that the open table needs as it is; 0 where its filter fits the index block. */
static uint32_t filter_blocks_needed(const struct tac_table_builder *builder)
{
    uint64_t bytes = tac_filter_bytes(builder->table_records, builder->options.filter_bits_per_key);

    if (tac_index_builder_filter_fits(&builder->index, bytes)) {
        return 0;
    }
    return (uint32_t)tac_div_ceil(bytes, filter_block_bytes(&builder->geometry));
}

/* Bits per key of the open table's filter: more than it must have where they cost no room. */
static uint32_t filter_bits(const struct tac_table_builder *builder)
{
    uint32_t bits = builder->options.filter_bits_per_key;
    uint32_t more = tac_filter_bits_with_spare(bits);
    bool     fits = tac_index_builder_filter_fits(&builder->index,
                                                  tac_filter_bytes(builder->table_records, more));

    return fits ? more : bits;
}

/* Writes the table's filter into blocks of its own. A key's line may be in any of them, so all are
 * taken first. */
static void filter_blocks_write(struct tac_table_builder *builder, uint32_t block_count,
                                struct tac_block_reference *ret_references)
{
    struct tac_builder_buffer buffers[TAC_FILTER_BLOCKS_MAX];
    uint8_t                  *segments[TAC_FILTER_BLOCKS_MAX];
    uint32_t                  bits = builder->options.filter_bits_per_key;
    uint64_t                  filter_bytes = tac_filter_bytes(builder->table_records, bits);

    tac_assert(block_count > 0 && block_count <= TAC_FILTER_BLOCKS_MAX);
    for (uint32_t i = 0; i < block_count; i++) {
        buffers[i] = buffer_take(builder);
        segments[i] = buffers[i].data + TAC_BLOCK_HEADER_BYTES;
    }
    tac_filter_build(segments, tac_filter_block_lines(builder->geometry.block_size), filter_bytes,
                     builder->hashes, builder->table_records, bits);
    for (uint32_t i = 0; i < block_count; i++) {
        uint64_t bytes = tac_min_u64(filter_bytes, filter_block_bytes(&builder->geometry));

        memset(segments[i] + bytes, 0,
               builder->geometry.block_size - TAC_BLOCK_HEADER_BYTES - bytes);
        filter_bytes -= bytes;
        ret_references[i].address = builder->sink.take_address(builder->sink.context);
        tac_block_header_encode(buffers[i].data,
                                &(struct tac_block_header){
                                    .kind = TAC_BLOCK_FILTER,
                                    .address = ret_references[i].address,
                                    .sequence = builder->options.sequence,
                                    .tree = builder->options.tree,
                                    .used_bytes = (uint32_t)(TAC_BLOCK_HEADER_BYTES + bytes),
                                });
        ret_references[i].checksum = tac_block_checksum(buffers[i].data, &builder->geometry);
        block_hand_over(builder, buffers[i], TAC_BLOCK_FILTER, &ret_references[i], 0);
    }
    tac_assert(filter_bytes == 0);
}

/* ---- tables ---- */

static uint64_t table_bytes(const struct tac_table_builder *builder)
{
    return builder->index.payload_bytes +
           (builder->block.data == NULL ? 0 : builder->block.payload_bytes);
}

static void table_begin(struct tac_table_builder *builder, struct tac_bytes key)
{
    tac_assert(builder->table_records == 0);
    tac_assert(
        builder->key_last_size == 0 ||
        tac_bytes_compare((struct tac_bytes){builder->key_last, builder->key_last_size}, key) < 0);
    tac_index_builder_begin(&builder->index);
    memcpy(builder->key_min, key.data, key.size);
    builder->key_min_size = key.size;
}

static void table_end(struct tac_table_builder *builder)
{
    struct tac_bytes          key_last = tac_value_block_last_key(&builder->block);
    struct tac_builder_buffer buffer;
    struct tac_index_seal     seal = {
            .tree = builder->options.tree,
            .sequence = builder->options.sequence,
            .filter_bits_per_key = filter_bits(builder),
            .hashes = builder->hashes,
    };
    struct tac_table table = {.tree = builder->options.tree};

    tac_assert(builder->table_records > 0);
    memcpy(builder->key_last, key_last.data, key_last.size);
    builder->key_last_size = key_last.size;
    /* Before the last value block is sealed: its entries are counted already, and so what
     * tac_table_builder_buffers_needed promised is what is taken. */
    seal.filter_block_count = filter_blocks_needed(builder);
    value_block_end(builder);
    if (seal.filter_block_count > 0) {
        filter_blocks_write(builder, seal.filter_block_count, seal.filter_blocks);
    }
    buffer = buffer_take(builder);
    seal.address = builder->sink.take_address(builder->sink.context);
    table.index.address = seal.address;
    table.index.checksum =
        tac_index_builder_seal(&builder->index, &builder->geometry, &seal, buffer.data);
    block_hand_over(builder, buffer, TAC_BLOCK_INDEX, &table.index, 0);
    tac_assert(builder->index.record_count == builder->table_records);
    table.value_block_count = builder->index.block_count;
    table.filter_block_count = seal.filter_block_count;
    table.bytes = builder->index.payload_bytes;
    table.records = builder->index.record_count;
    table.tombstones = builder->index.tombstone_count;
    table.sum = builder->index.sum;
    table.key_min = (struct tac_bytes){builder->key_min, builder->key_min_size};
    table.key_max = (struct tac_bytes){builder->key_last, builder->key_last_size};
    builder->totals.tables++;
    builder->totals.records += table.records;
    builder->totals.tombstones += table.tombstones;
    builder->totals.bytes += table.bytes;
    builder->totals.sum = tac_u128_add(builder->totals.sum, table.sum);
    tac_index_builder_begin(&builder->index);
    builder->table_records = 0;
    builder->fixed_room = 0;
    builder->sink.finished(builder->sink.context, &table);
}

/* Passes every cut whose edge the key has reached. */
static void cut_pass(struct tac_table_builder *builder, struct tac_bytes key)
{
    if (tac_key_prefix(key.data, key.size) < builder->edge_prefix) {
        return;
    }
    for (;;) {
        const struct tac_cut *cut = &builder->options.cuts[builder->cut];

        if (cut->edge.size == 0 || tac_bytes_compare(key, cut->edge) < 0) {
            return;
        }
        if (builder->table_records > 0 &&
            (cut->is_hard || table_bytes(builder) >= builder->options.table_bytes_min)) {
            table_end(builder);
        }
        tac_assert(builder->cut + 1 < builder->options.cut_count); /* The key is in the job. */
        cut_enter(builder, builder->cut + 1);
    }
}

/* Ends the table that the record would make too large. */
static void limit_pass(struct tac_table_builder *builder, uint32_t record_bytes)
{
    uint64_t limit_bytes = builder->options.cuts[builder->cut].limit_bytes;

    if (builder->table_records > 0 && (builder->table_records == builder->records_max ||
                                       table_bytes(builder) + record_bytes > limit_bytes)) {
        table_end(builder);
    }
}

/* Sees to it that the record has an open block and, in the index, its page an entry. */
static void page_prepare(struct tac_table_builder *builder, const struct tac_record *record)
{
    enum tac_value_place place = tac_value_block_place(&builder->block, record);
    struct tac_bytes     separator = {.data = record->key.data, .size = 0};

    if (place == TAC_PLACE_PAGE) {
        return;
    }
    if (builder->table_records > 0) {
        separator.size = tac_separator_size(tac_value_block_last_key(&builder->block), record->key);
        if (!tac_index_builder_fits(&builder->index, separator.size,
                                    place == TAC_PLACE_NEW_BLOCK)) {
            table_end(builder);
            separator.size = 0;
            place = TAC_PLACE_NEW_BLOCK;
        }
    }
    if (place == TAC_PLACE_NEW_BLOCK) {
        if (builder->table_records > 0) {
            value_block_end(builder);
        } else {
            table_begin(builder, record->key);
        }
        builder->buffer = buffer_take(builder);
        tac_value_block_begin(&builder->block, builder->buffer.data);
    }
    tac_index_builder_begin_page(&builder->index, separator, place == TAC_PLACE_NEW_BLOCK);
}

/* How far the inlined appends may go. */
static void fast_path_update(struct tac_table_builder *builder)
{
    const struct tac_value_block_builder *block = &builder->block;
    uint64_t limit_bytes = builder->options.cuts[builder->cut].limit_bytes;
    uint64_t room, capacity;

    builder->payload_stop = tac_subtract_floor_zero(limit_bytes, builder->index.payload_bytes);
    if (builder->options.layout.kind != TACTUS_LAYOUT_FIXED) {
        return;
    }
    capacity = (block->page_flags & TAC_PAGE_TOMBSTONES) != 0 ? block->capacity_tombstones
                                                              : block->capacity;
    room = tac_subtract_floor_zero(capacity, block->page_records);
    room = tac_min_u64(room, tac_subtract_floor_zero(builder->payload_stop, block->payload_bytes) /
                                 block->record_bytes);
    room = tac_min_u64(room, builder->records_max - builder->table_records);
    builder->fixed_room = (uint32_t)room;
}

void tac_table_builder_append(struct tac_table_builder *builder, const struct tac_record *record,
                              struct tac_u128 hash)
{
    bool is_put;

    cut_pass(builder, record->key);
    limit_pass(builder, record->key.size + record->value.size);
    tac_assert_slow(builder->table_records == 0 ||
                    tac_bytes_compare(tac_value_block_last_key(&builder->block), record->key) < 0);
    page_prepare(builder, record);
    is_put = tac_value_block_append(&builder->block, record, hash);
    tac_assert(is_put);
    if (builder->options.filter_bits_per_key > 0) {
        builder->hashes[builder->table_records] = tac_filter_hash(record->key);
    }
    builder->table_records++;
    fast_path_update(builder);
}

void tac_table_builder_finish(struct tac_table_builder *builder)
{
    if (builder->table_records > 0) {
        table_end(builder);
    }
    tac_assert(builder->table_records == 0 && builder->block.data == NULL);
}

uint32_t tac_table_builder_buffers_needed(const struct tac_table_builder *builder)
{
    return builder->table_records == 0 ? 1 : 2 + filter_blocks_needed(builder);
}

struct tac_builder_totals tac_table_builder_totals(const struct tac_table_builder *builder)
{
    struct tac_builder_totals totals = builder->totals;

    if (builder->table_records > 0) {
        totals.records += builder->table_records;
        totals.tombstones += builder->index.tombstone_count + builder->block.tombstone_count;
        totals.bytes += builder->index.payload_bytes + builder->block.payload_bytes;
        totals.sum = tac_u128_add(totals.sum, tac_u128_add(builder->index.sum, builder->block.sum));
    }
    return totals;
}

/* ---- bounds ---- */

uint32_t tac_table_builder_buffers_max(const struct tac_geometry *geometry,
                                       const struct tac_layout   *layout,
                                       uint32_t filter_bits_per_key, uint64_t hashes_max)
{
    /* More records than that many one-byte ones do not go into the pages of one index block. */
    uint64_t pages = geometry->block_size / (TAC_INDEX_PAGE_BYTES + TAC_INDEX_PREFIX_BYTES);
    uint64_t record_bytes_min = layout->kind == TACTUS_LAYOUT_FIXED
                                    ? layout->key_size + layout->value_size
                                    : TAC_SLOT_BYTES + 1;
    uint64_t records = tac_min_u64(table_records_max(geometry, filter_bits_per_key, hashes_max),
                                   pages * tac_max_u64(1, geometry->page_size / record_bytes_min));

    return 2 + (uint32_t)tac_div_ceil(tac_filter_bytes(records, filter_bits_per_key),
                                      filter_block_bytes(geometry));
}

/* Every table ends at a cut or at the job's end (at most one each), or
 * - before a record that would go over the limit: with that record it holds more than the limit,
 *   and a record counts for two tables at most;
 * - with all the records it may have;
 * - with an index that has no room for one more page in a new block: its pages take the rest. */
struct tac_builder_bound tac_table_builder_bound(const struct tac_table_builder_options *options,
                                                 uint64_t hashes_max, uint64_t records,
                                                 uint64_t payload_bytes)
{
    const struct tac_geometry *geometry = options->geometry;
    const struct tac_layout   *layout = &options->layout;
    uint64_t                   page_bytes =
        TAC_INDEX_BLOCK_BYTES + TAC_INDEX_PAGE_BYTES + TAC_INDEX_PREFIX_BYTES + layout->key_size;
    uint64_t table_pages_min =
        tac_max_u64(1, (geometry->block_size - TAC_INDEX_HEADER_BYTES) / page_bytes - 1);
    uint64_t records_max = table_records_max(geometry, options->filter_bits_per_key, hashes_max);
    uint64_t record_bytes_max = layout->key_size + layout->value_size;
    uint64_t limit_min = UINT64_MAX;
    struct tac_builder_bound bound = {0};

    tac_assert(options->cut_count > 0);
    if (records == 0) {
        return bound;
    }
    for (uint32_t i = 0; i < options->cut_count; i++) {
        limit_min = tac_min_u64(limit_min, options->cuts[i].limit_bytes);
    }
    bound.tables = options->cut_count;
    bound.tables += limit_min > 2 * record_bytes_max
                        ? payload_bytes / (limit_min - record_bytes_max)
                        : 2 * payload_bytes / limit_min;
    bound.tables += records / records_max;
    bound.tables += tac_value_pages_max(geometry, layout, records, payload_bytes) / table_pages_min;
    bound.tables = tac_min_u64(bound.tables, records);
    /* Each table may leave a value block part full, and round its filter up to a block. */
    bound.blocks = tac_value_blocks_max(geometry, layout, records, payload_bytes) +
                   tac_div_ceil(tac_filter_bytes(records, options->filter_bits_per_key),
                                filter_block_bytes(geometry)) +
                   bound.tables * (options->filter_bits_per_key == 0 ? 2 : 3);
    return bound;
}
