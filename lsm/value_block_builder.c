/* SPDX-License-Identifier: Apache-2.0 */
/* Writing value blocks. Next fit: a page is closed when a record does not fit, and never opened
 * again, so equal records in equal order give equal bytes. */
#include "base/units.h"
#include "lsm/value_page.h"

static bool is_fixed(const struct tac_layout *layout)
{
    tac_assert(layout->kind == TACTUS_LAYOUT_FIXED || layout->kind == TACTUS_LAYOUT_VARIABLE);
    return layout->kind == TACTUS_LAYOUT_FIXED;
}

/* Records larger than a page have a page of several units to themselves. */
static uint32_t fixed_units(const struct tac_geometry *geometry, uint32_t record_bytes)
{
    return (uint32_t)tac_div_ceil(record_bytes, geometry->page_size);
}

void tac_value_block_builder_init(struct tac_value_block_builder *builder,
                                  const struct tac_geometry      *geometry,
                                  const struct tac_layout        *layout)
{
    uint32_t record_bytes = layout->key_size + layout->value_size;

    tac_assert(tac_value_block_geometry_fits(geometry));
    tac_assert(layout->key_size >= 1 && layout->key_size <= TACTUS_KEY_SIZE_MAX);
    tac_assert(record_bytes <= geometry->block_size / 4);
    *builder = (struct tac_value_block_builder){
        .geometry = geometry,
        .layout = *layout,
    };
    if (is_fixed(layout)) {
        builder->record_bytes = record_bytes;
        builder->record_units = fixed_units(geometry, record_bytes);
        builder->capacity = builder->record_units * geometry->page_size / record_bytes;
        builder->capacity_tombstones = tac_fixed_capacity_tombstones(
            builder->record_units * geometry->page_size, record_bytes);
    }
}

void tac_value_block_begin(struct tac_value_block_builder *builder, uint8_t *data)
{
    tac_assert(builder->data == NULL);
    tac_assert(data != NULL);
    builder->data = data;
    builder->page_count = 0;
    builder->record_count = 0;
    builder->tombstone_count = 0;
    builder->payload_bytes = 0;
    builder->sum = (struct tac_u128){0};
    builder->unit_next = 1;
    builder->page_records = 0;
    builder->page_flags = 0;
}

/* ---- where a record goes ---- */

static bool fits_page(const struct tac_value_block_builder *builder,
                      const struct tac_record              *record)
{
    uint32_t bytes = record->key.size + record->value.size;

    if (builder->page_records == 0) {
        return false;
    }
    if (is_fixed(&builder->layout)) {
        bool has_bitmap = record->is_tombstone || (builder->page_flags & TAC_PAGE_TOMBSTONES) != 0;

        return builder->page_records <
               (has_bitmap ? builder->capacity_tombstones : builder->capacity);
    }
    return builder->page_flags != TAC_PAGE_LARGE &&
           TAC_SLOT_BYTES + bytes <= builder->page_back - builder->page_front;
}

static uint32_t units_of(const struct tac_value_block_builder *builder,
                         const struct tac_record              *record)
{
    uint32_t bytes = record->key.size + record->value.size;

    if (is_fixed(&builder->layout)) {
        return builder->record_units;
    }
    return tac_record_is_large(bytes, builder->geometry->page_size)
               ? tac_large_units(bytes, builder->geometry->page_size)
               : 1;
}

enum tac_value_place tac_value_block_place(const struct tac_value_block_builder *builder,
                                           const struct tac_record              *record)
{
    uint32_t units = builder->geometry->block_size / builder->geometry->page_size;

    if (builder->data == NULL) {
        return TAC_PLACE_NEW_BLOCK;
    }
    if (fits_page(builder, record)) {
        return TAC_PLACE_PAGE;
    }
    return units_of(builder, record) <= units - builder->unit_next ? TAC_PLACE_NEW_PAGE
                                                                   : TAC_PLACE_NEW_BLOCK;
}

/* ---- pages ---- */

static uint32_t page_end(const struct tac_value_block_builder *builder)
{
    return builder->unit_next * builder->geometry->page_size;
}

static uint8_t *page_bitmap(const struct tac_value_block_builder *builder, uint32_t *ret_bytes)
{
    uint32_t bytes =
        tac_fixed_bitmap_bytes(page_end(builder) - builder->page_begin, builder->record_bytes);

    *ret_bytes = bytes;
    return builder->data + page_end(builder) - bytes;
}

static void page_open(struct tac_value_block_builder *builder, const struct tac_record *record)
{
    uint32_t units = units_of(builder, record);

    tac_assert(builder->page_records == 0);
    builder->page_begin = page_end(builder);
    builder->unit_next += units;
    builder->page_front = builder->page_begin;
    builder->page_back = page_end(builder);
    builder->page_flags = 0;
    if (!is_fixed(&builder->layout)) {
        builder->page_flags = units > 1 ? TAC_PAGE_LARGE : 0;
        builder->page_front += units > 1 ? TAC_LARGE_OFFSET_RECORD : TAC_SLOTS_OFFSET_FIRST;
    }
}

/* Finds the bytes that all keys of the page share (keys ascend: what the first and the last share,
 * all do) and gives each slot its prefix. Returns the number of shared bytes. */
static uint32_t slots_finish(struct tac_value_block_builder *builder)
{
    uint8_t         *page = builder->data + builder->page_begin;
    uint8_t         *slot = (uint8_t *)tac_page_slot(page, 0);
    const uint8_t   *first = page + tac_load_u16(slot + TAC_SLOT_OFFSET_PLACE);
    uint32_t         size = tac_load_u16(slot + TAC_SLOT_OFFSET_KEY_SIZE) & ~TAC_SLOT_TOMBSTONE;
    struct tac_bytes last = tac_value_block_last_key(builder);
    uint32_t         common = 0;

    size = size < last.size ? size : last.size;
    while (common < size && first[common] == last.data[common]) {
        common++;
    }
    for (uint32_t i = 0; i < builder->page_records; i++, slot += TAC_SLOT_BYTES) {
        const uint8_t *key = page + tac_load_u16(slot + TAC_SLOT_OFFSET_PLACE);
        uint32_t key_size = tac_load_u16(slot + TAC_SLOT_OFFSET_KEY_SIZE) & ~TAC_SLOT_TOMBSTONE;

        tac_store_u32(slot + TAC_SLOT_OFFSET_PREFIX, tac_slot_prefix(key, key_size, common));
    }
    return common;
}

/* Zeroes what is unused, writes the page's entry with its checksum. */
static void page_close(struct tac_value_block_builder *builder)
{
    uint8_t              *page = builder->data + builder->page_begin;
    uint32_t              size_bytes = page_end(builder) - builder->page_begin;
    uint32_t              free_end = builder->page_back;
    struct tac_page_entry entry = {
        .unit_first = (uint16_t)(builder->page_begin / builder->geometry->page_size),
        .unit_count = (uint16_t)(size_bytes / builder->geometry->page_size),
        .record_count = (uint16_t)builder->page_records,
        .flags = (uint16_t)builder->page_flags,
    };

    tac_assert(builder->page_records > 0 && builder->page_records <= UINT16_MAX);
    if (is_fixed(&builder->layout)) {
        if ((builder->page_flags & TAC_PAGE_TOMBSTONES) != 0) {
            uint32_t bitmap_bytes;

            free_end = (uint32_t)(page_bitmap(builder, &bitmap_bytes) - builder->data);
        }
    } else if (builder->page_flags != TAC_PAGE_LARGE) {
        tac_store_u16(page + TAC_SLOTS_OFFSET_COMMON, (uint16_t)slots_finish(builder));
        tac_store_u16(page + TAC_SLOTS_OFFSET_RECORDS, (uint16_t)builder->page_records);
    }
    tac_assert(builder->page_front <= free_end);
    memset(builder->data + builder->page_front, 0, free_end - builder->page_front);
    entry.checksum = tac_checksum(page, size_bytes, builder->geometry->checksum_seed);
    tac_page_entry_store((uint8_t *)tac_value_entry(builder->data, builder->page_count), &entry);
    builder->page_count++;
    builder->page_records = 0;
}

/* ---- records ---- */

static void fixed_put(struct tac_value_block_builder *builder, const struct tac_record *record)
{
    const struct tac_layout *layout = &builder->layout;
    uint8_t                 *target = builder->data + builder->page_front;

    tac_assert(record->key.size == layout->key_size);
    tac_assert(record->value.size == (record->is_tombstone ? 0 : layout->value_size));
    if (record->is_tombstone) {
        uint32_t bitmap_bytes;
        uint8_t *bitmap = page_bitmap(builder, &bitmap_bytes);
        uint32_t index = builder->page_records;

        if ((builder->page_flags & TAC_PAGE_TOMBSTONES) == 0) {
            memset(bitmap, 0, bitmap_bytes);
            builder->page_flags |= TAC_PAGE_TOMBSTONES;
        }
        if (bitmap_bytes > 0) {
            bitmap[index / 8] |= (uint8_t)(1u << index % 8);
        }
        memset(target + layout->key_size, 0, layout->value_size);
    } else if (layout->value_size > 0) {
        memcpy(target + layout->key_size, record->value.data, layout->value_size);
    }
    memcpy(target, record->key.data, layout->key_size);
    builder->page_front += builder->record_bytes;
}

static void variable_put(struct tac_value_block_builder *builder, const struct tac_record *record)
{
    uint32_t bytes = record->key.size + record->value.size;
    uint8_t *page = builder->data + builder->page_begin;
    uint8_t *target;

    tac_assert(record->key.size >= 1 && record->key.size <= builder->layout.key_size);
    tac_assert(record->value.size <= (record->is_tombstone ? 0 : builder->layout.value_size));
    if (builder->page_flags == TAC_PAGE_LARGE) {
        memset(page, 0, TAC_LARGE_OFFSET_RECORD);
        tac_store_u16(page + TAC_SLOTS_OFFSET_RECORDS, 1);
        tac_store_u32(page + TAC_LARGE_OFFSET_KEY_SIZE,
                      record->key.size | (record->is_tombstone ? TAC_LARGE_TOMBSTONE : 0));
        tac_store_u32(page + TAC_LARGE_OFFSET_VALUE_SIZE, record->value.size);
        target = page + TAC_LARGE_OFFSET_RECORD;
        builder->page_front += bytes;
    } else {
        uint8_t *slot = builder->data + builder->page_front;

        builder->page_back -= bytes;
        target = builder->data + builder->page_back;
        tac_store_u16(slot + TAC_SLOT_OFFSET_PLACE,
                      (uint16_t)(builder->page_back - builder->page_begin));
        tac_store_u16(
            slot + TAC_SLOT_OFFSET_KEY_SIZE,
            (uint16_t)(record->key.size | (record->is_tombstone ? TAC_SLOT_TOMBSTONE : 0)));
        builder->page_front += TAC_SLOT_BYTES;
    }
    memcpy(target, record->key.data, record->key.size);
    if (record->value.size > 0) {
        memcpy(target + record->key.size, record->value.data, record->value.size);
    }
}

bool tac_value_block_append(struct tac_value_block_builder *builder,
                            const struct tac_record *record, struct tac_u128 hash)
{
    enum tac_value_place place = tac_value_block_place(builder, record);

    tac_assert(builder->data != NULL);
    if (place == TAC_PLACE_NEW_BLOCK) {
        tac_assert(builder->record_count > 0); /* Every legal record fits an empty block. */
        return false;
    }
    if (place == TAC_PLACE_NEW_PAGE) {
        if (builder->page_records > 0) {
            page_close(builder);
        }
        page_open(builder, record);
    }
    if (is_fixed(&builder->layout)) {
        fixed_put(builder, record);
    } else {
        variable_put(builder, record);
    }
    builder->page_records++;
    builder->record_count++;
    builder->tombstone_count += record->is_tombstone;
    builder->payload_bytes += record->key.size + record->value.size;
    builder->sum = tac_u128_add(builder->sum, hash);
    return true;
}

struct tac_bytes tac_value_block_last_key(const struct tac_value_block_builder *builder)
{
    const uint8_t *page = builder->data + builder->page_begin;

    tac_assert(builder->page_records > 0);
    if (is_fixed(&builder->layout)) {
        return (struct tac_bytes){
            .data = builder->data + builder->page_front - builder->record_bytes,
            .size = builder->layout.key_size,
        };
    }
    if (builder->page_flags == TAC_PAGE_LARGE) {
        return (struct tac_bytes){
            .data = page + TAC_LARGE_OFFSET_RECORD,
            .size = tac_load_u32(page + TAC_LARGE_OFFSET_KEY_SIZE) & ~TAC_LARGE_TOMBSTONE,
        };
    }
    return (struct tac_bytes){
        .data = builder->data + builder->page_back,
        .size = tac_load_u16(builder->data + builder->page_front - TAC_SLOT_BYTES +
                             TAC_SLOT_OFFSET_KEY_SIZE) &
                ~TAC_SLOT_TOMBSTONE,
    };
}

/* Covers the units behind the last page with one entry, so that each byte is under a checksum. */
static uint32_t tail_close(struct tac_value_block_builder *builder)
{
    const struct tac_geometry *geometry = builder->geometry;
    uint32_t                   units = geometry->block_size / geometry->page_size;
    uint8_t                   *tail = builder->data + page_end(builder);
    struct tac_page_entry      entry = {
             .unit_first = (uint16_t)builder->unit_next,
             .unit_count = (uint16_t)(units - builder->unit_next),
    };

    if (entry.unit_count == 0) {
        return 0;
    }
    memset(tail, 0, (size_t)entry.unit_count * geometry->page_size);
    entry.checksum =
        tac_checksum(tail, (size_t)entry.unit_count * geometry->page_size, geometry->checksum_seed);
    tac_page_entry_store((uint8_t *)tac_value_entry(builder->data, builder->page_count), &entry);
    return 1;
}

struct tac_u128 tac_value_block_seal(struct tac_value_block_builder *builder, uint32_t tree,
                                     uint64_t address, uint64_t sequence)
{
    const struct tac_geometry *geometry = builder->geometry;
    uint8_t                   *data = builder->data;
    uint32_t                   entry_count, entries_end;

    tac_assert(data != NULL);
    tac_assert(builder->record_count > 0);
    page_close(builder);
    entry_count = builder->page_count + tail_close(builder);
    entries_end = TAC_VALUE_HEADER_BYTES + entry_count * TAC_PAGE_ENTRY_BYTES;
    memset(data + entries_end, 0, geometry->page_size - entries_end);
    memset(data, 0, TAC_VALUE_HEADER_BYTES);
    tac_block_header_encode(data, &(struct tac_block_header){
                                      .kind = TAC_BLOCK_VALUE,
                                      .address = address,
                                      .sequence = sequence,
                                      .tree = tree,
                                      .used_bytes = page_end(builder),
                                  });
    tac_store_u32(data + TAC_VALUE_OFFSET_RECORDS, builder->record_count);
    tac_store_u32(data + TAC_VALUE_OFFSET_TOMBSTONES, builder->tombstone_count);
    tac_store_u32(data + TAC_VALUE_OFFSET_PAGES, builder->page_count);
    tac_store_u32(data + TAC_VALUE_OFFSET_ENTRIES, entry_count);
    tac_store_u64(data + TAC_VALUE_OFFSET_PAYLOAD, builder->payload_bytes);
    tac_store_u128(data + TAC_VALUE_OFFSET_SUM, builder->sum);
    builder->data = NULL;
    return tac_checksum(data, geometry->page_size, geometry->checksum_seed);
}

/* ---- bounds ---- */

/* Fixed layout: records that a full block holds at least: every page it has room for, each closed
 * either full or by a tombstone that came after capacity_tombstones records. */
static uint64_t fixed_records_full_min(const struct tac_geometry *geometry, uint32_t record_bytes)
{
    uint32_t units = geometry->block_size / geometry->page_size;
    uint32_t page_units = fixed_units(geometry, record_bytes);

    return (uint64_t)((units - 1) / page_units) *
           tac_fixed_capacity_tombstones(page_units * geometry->page_size, record_bytes);
}

/* Variable layout: bytes of slots and records that a full block holds at least, in terms of C, what
 * a page of one unit holds. Two neighbours of one unit hold more than C together, or the second's
 * first record would have gone into the first. A large page of n >= 2 units holds more than
 * (n - 1) * C; the one-unit page before it may be almost empty: three units for C at worst. A block
 * ends with at most units_max - 1 units free, and one almost empty page behind the last group. */
static uint64_t variable_footprint_full_min(const struct tac_geometry *geometry,
                                            const struct tac_layout   *layout)
{
    uint32_t units = geometry->block_size / geometry->page_size;
    uint32_t content = geometry->page_size - TAC_SLOTS_OFFSET_FIRST;
    uint32_t record_bytes = layout->key_size + layout->value_size;

    if (!tac_record_is_large(record_bytes, geometry->page_size)) {
        return (uint64_t)((units - 1) / 2) * content;
    }
    return (uint64_t)((units - tac_large_units(record_bytes, geometry->page_size) + 1) / 3) *
           content;
}

uint64_t tac_value_block_payload_max(const struct tac_geometry *geometry,
                                     const struct tac_layout   *layout)
{
    uint32_t units = geometry->block_size / geometry->page_size;
    uint32_t record_bytes = layout->key_size + layout->value_size;

    tac_assert(tac_value_block_geometry_fits(geometry));
    if (is_fixed(layout)) {
        uint32_t page_units = fixed_units(geometry, record_bytes);

        return (uint64_t)((units - 1) / page_units) *
               (page_units * geometry->page_size / record_bytes) * record_bytes;
    }
    return (uint64_t)(units - 1) * geometry->page_size;
}

uint64_t tac_value_block_payload_full_min(const struct tac_geometry *geometry,
                                          const struct tac_layout   *layout)
{
    tac_assert(tac_value_block_geometry_fits(geometry));
    if (is_fixed(layout)) {
        uint32_t record_bytes = layout->key_size + layout->value_size;

        return fixed_records_full_min(geometry, record_bytes) * layout->key_size;
    }
    /* The worst records are of one byte: their slots take eight times as much. */
    return variable_footprint_full_min(geometry, layout) / (TAC_SLOT_BYTES + 1);
}

uint64_t tac_value_blocks_max(const struct tac_geometry *geometry, const struct tac_layout *layout,
                              uint64_t records, uint64_t payload_bytes)
{
    tac_assert(tac_value_block_geometry_fits(geometry));
    if (is_fixed(layout)) {
        uint32_t record_bytes = layout->key_size + layout->value_size;

        return tac_div_ceil(records, fixed_records_full_min(geometry, record_bytes));
    }
    return tac_div_ceil(payload_bytes + records * TAC_SLOT_BYTES,
                        variable_footprint_full_min(geometry, layout));
}

uint64_t tac_value_pages_max(const struct tac_geometry *geometry, const struct tac_layout *layout,
                             uint64_t records, uint64_t payload_bytes)
{
    uint32_t record_bytes = layout->key_size + layout->value_size;

    if (is_fixed(layout)) {
        uint32_t page_bytes = fixed_units(geometry, record_bytes) * geometry->page_size;

        return tac_div_ceil(records, tac_fixed_capacity_tombstones(page_bytes, record_bytes));
    }
    /* Of two neighbours, one is large or both hold more than a page's content together. */
    return 2 * tac_div_ceil(payload_bytes + records * TAC_SLOT_BYTES,
                            geometry->page_size - TAC_SLOTS_OFFSET_FIRST);
}
