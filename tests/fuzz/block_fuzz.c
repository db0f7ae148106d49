/* SPDX-License-Identifier: Apache-2.0 */
/* block_fuzz -- one block of any kind through the readers that a store has for it.
 *
 * The input names a block of a real table and changes it; then its pages and its header are sealed
 * again. Or it is a page alone, described by the input as an index block might. What is accepted is
 * read whole: every record, every key looked up. */
#include <stdlib.h>

#include "lsm/index_format.h"
#include "tests/fuzz/fuzz.h"
#include "tests/lib/table_fixture.h"

const uint32_t fuzz_cost = 1;

#define BASES_MAX 64
#define TABLES 6

static const struct tac_geometry geometry = {.block_size = 4096, .page_size = 512};

static const struct {
    struct tac_layout layout;
    uint32_t          records, tombstones, filter_bits;
} tables[TABLES] = {
    {{TACTUS_LAYOUT_FIXED, 8, 24}, 300, 20, 10},
    {{TACTUS_LAYOUT_FIXED, 16, 600}, 20, 30, 0},
    {{TACTUS_LAYOUT_FIXED, 4, 0}, 2500, 3, 20},
    {{TACTUS_LAYOUT_VARIABLE, 24, 100}, 200, 20, 10},
    {{TACTUS_LAYOUT_VARIABLE, 100, 900}, 40, 10, 4},
    {{TACTUS_LAYOUT_VARIABLE, 1, 3}, 200, 50, 10},
};

struct base {
    uint8_t             data[4096];
    uint64_t            address;
    enum tac_block_kind kind;
    struct tac_layout   layout;
};

static struct base bases[BASES_MAX];
static uint32_t    base_count;

/* ---- real blocks ---------------------------------------------------------------------------- */

static void base_add(const struct tac_sealed_block *block, const struct tac_layout *layout)
{
    struct base *base = &bases[base_count];

    if (base_count == BASES_MAX) {
        return;
    }
    memcpy(base->data, block->buffer.data, sizeof base->data);
    base->address = block->reference.address;
    base->kind = block->kind;
    base->layout = *layout;
    base_count++;
}

static void table_build(uint32_t number)
{
    struct tac_prng           prng = {number + 1};
    const struct tac_layout  *layout = &tables[number].layout;
    uint32_t                  count = tables[number].records;
    struct fixture_record    *records = fixture_make_records(&prng, layout, number % 2 == 0 ? 0 : 3,
                                                             tables[number].tombstones, &count);
    struct fixture_store     *store = fixture_store_new(&geometry);
    struct tac_builder_sink   sink = fixture_sink(store);
    struct tac_table_builder *builder = tac_table_builder_new(&geometry, 4096);
    struct tac_cut            cut = {.limit_bytes = TAC_MIB};
    struct tac_table_builder_options options = {
        .geometry = &geometry,
        .layout = *layout,
        .sequence = 1,
        .filter_bits_per_key = tables[number].filter_bits,
        .cuts = &cut,
        .cut_count = 1,
    };

    tac_assert(builder != NULL);
    tac_table_builder_begin(builder, &options, &sink);
    for (uint32_t i = 0; i < count; i++) {
        struct tac_record record = fixture_view(&records[i]);

        tac_table_builder_append(builder, &record, fixture_hash(&records[i]));
    }
    tac_table_builder_finish(builder);
    tac_table_builder_free(builder);
    for (uint32_t i = store->block_count; i > 0; i--) { /* The index block comes last */
        if (store->block_count - i < 3 || i <= 5) {
            base_add(&store->blocks[i - 1], layout);
        }
    }
    fixture_store_free(store);
    fixture_free_records(records, count);
}

static void bases_make(void)
{
    for (uint32_t i = 0; i < TABLES; i++) {
        table_build(i);
    }
}

/* ---- sealing -------------------------------------------------------------------------------- */

/* The checksum that a reference to the block must have, after those of its pages. */
static struct tac_u128 seal(uint8_t *block, enum tac_block_kind kind)
{
    uint32_t units = geometry.block_size / geometry.page_size;
    uint32_t entry_count = tac_load_u32(block + TAC_VALUE_OFFSET_ENTRIES);

    if (kind != TAC_BLOCK_VALUE) {
        return tac_block_checksum(block, &geometry);
    }
    for (uint32_t i = 0; i < entry_count && i < units - 1; i++) {
        uint8_t              *place = block + TAC_VALUE_HEADER_BYTES + i * TAC_PAGE_ENTRY_BYTES;
        struct tac_page_entry entry = tac_page_entry_load(place);

        if (entry.unit_first < units && entry.unit_count <= units - entry.unit_first) {
            entry.checksum =
                tac_checksum(block + entry.unit_first * geometry.page_size,
                             entry.unit_count * geometry.page_size, geometry.checksum_seed);
            tac_page_entry_store(place, &entry);
        }
    }
    return tac_checksum(block, geometry.page_size, geometry.checksum_seed);
}

/* ---- what must hold of what is accepted ----------------------------------------------------- */

/* Every byte of the record can be read; a sanitizer sees those that are not the page's. */
static void record_read(const struct tac_record *record)
{
    static uint8_t copy[TACTUS_KEY_SIZE_MAX + 4096];
    uint32_t       size = record->key.size + record->value.size;

    tac_assert(record->key.size >= 1 && record->key.size <= TACTUS_KEY_SIZE_MAX);
    tac_assert(!record->is_tombstone || record->value.size == 0);
    tac_assert(record->value.data == record->key.data + record->key.size);
    tac_assert(size <= sizeof copy);
    memcpy(copy, record->key.data, size);
    tac_assert(memcmp(copy, record->key.data, size) == 0);
}

static void page_read(const struct tac_page *page)
{
    struct tac_bytes previous = {0};

    for (uint32_t i = 0; i < page->record_count; i++) {
        struct tac_record record = tac_page_record(page, i);
        uint8_t           key[TACTUS_KEY_SIZE_MAX + 1];
        struct tac_bytes  longer = {key, record.key.size + 1};
        bool              is_equal;

        record_read(&record);
        tac_assert(i == 0 || tac_bytes_compare(previous, record.key) < 0);
        tac_assert(tac_page_lower_bound(page, record.key, 0, &is_equal) == i && is_equal);
        if (page->layout->kind == TACTUS_LAYOUT_VARIABLE && record.key.size < TACTUS_KEY_SIZE_MAX) {
            memcpy(key, record.key.data, record.key.size);
            key[record.key.size] = 0; /* The next possible key */
            tac_assert(tac_page_lower_bound(page, longer, i, &is_equal) == i + 1);
        }
        previous = record.key;
    }
}

static void value_block_read(const uint8_t *data, uint64_t address, const struct tac_layout *layout)
{
    struct tac_value_block block;
    struct tac_bytes       previous = {0};
    struct tac_error       error;
    uint64_t               records = 0;

    if (tac_value_block_decode(&block, data, &geometry, layout, address, &error) != TACTUS_OK) {
        tac_assert(error.message[0] != 0);
        return;
    }
    for (uint32_t i = 0; i < block.page_count; i++) {
        struct tac_page page = fixture_page(&block, i);
        int             rv = tac_page_check(&page, &error);

        tac_assert(rv == TACTUS_OK);
        page_read(&page);
        tac_assert(i == 0 || tac_bytes_compare(previous, tac_page_record(&page, 0).key) < 0);
        previous = tac_page_record(&page, page.record_count - 1).key;
        records += page.record_count;
    }
    tac_assert(records == block.record_count);
    fuzz_accepted++;
}

static void index_block_read(const uint8_t *data, uint64_t address, struct fuzz_input *input)
{
    struct tac_index_block index;
    struct tac_error       error;
    uint64_t               records = 0;
    uint8_t                bytes[16];

    if (tac_index_block_decode(&index, data, &geometry, address, &error) != TACTUS_OK) {
        tac_assert(error.message[0] != 0);
        return;
    }
    for (uint32_t i = 0; i < index.page_count; i++) {
        struct tac_bytes separator = tac_index_separator(&index, i);

        tac_assert(tac_index_block_of_page(&index, i) < index.value_block_count);
        tac_assert(i == 0 || tac_index_find_page(&index, separator) == i);
        records += tac_index_page(&index, i).record_count;
    }
    tac_assert(records == index.record_count);
    fuzz_accepted++;
    for (uint32_t i = 0; i < index.value_block_count; i++) {
        struct tac_index_value_block entry = tac_index_value_block(&index, i);

        tac_assert(entry.page_first + entry.page_count <= index.page_count);
    }
    for (uint32_t i = 0; i < index.filter_block_count; i++) {
        tac_assert(tac_index_filter_block(&index, i).address != 0);
    }
    for (uint32_t i = 0; i < 8; i++) {
        struct tac_bytes key = {bytes, 1 + fuzz_take_u8(input) % (uint32_t)sizeof bytes};
        uint32_t         hash, page;

        fuzz_take(input, bytes, key.size);
        hash = tac_filter_hash(key);
        page = tac_index_find_page(&index, key);
        tac_assert(page < index.page_count);
        tac_assert(tac_bytes_compare(tac_index_separator(&index, page), key) <= 0);
        if (index.filter != NULL) {
            uint64_t line = tac_filter_line(hash, index.filter_bytes);

            (void)tac_filter_line_may_contain(index.filter + line * TAC_FILTER_LINE_BYTES, hash,
                                              index.filter_bits_per_key);
        }
    }
}

static void filter_block_read(const uint8_t *data, struct fuzz_input *input)
{
    uint32_t lines = tac_filter_block_lines(geometry.block_size);

    for (uint32_t i = 0; i < lines; i++) {
        (void)tac_filter_line_may_contain(data + TAC_BLOCK_HEADER_BYTES +
                                              (size_t)i * TAC_FILTER_LINE_BYTES,
                                          fuzz_take_u32(input), 1 + i % TAC_FILTER_BITS_MAX);
    }
}

/* ---- the input ------------------------------------------------------------------------------ */

static void block_run(struct fuzz_input *input, const struct base *base, uint32_t patch_count)
{
    struct tac_block_reference reference = {.address = base->address};
    struct tac_error           error;
    /* Memory of its own: a sanitizer watches its ends. */
    uint8_t *block = malloc(geometry.block_size);

    tac_assert(block != NULL);
    memcpy(block, base->data, geometry.block_size);
    for (uint32_t i = 0; i < patch_count; i++) {
        struct fuzz_patch patch = fuzz_take_patch(input);

        /* Odd: near the beginning, where the counts are. */
        patch.offset = (uint16_t)(patch.where % 2 == 0 ? patch.offset : patch.offset % 320);
        fuzz_patch_apply(&patch, block, geometry.block_size);
    }
    reference.checksum = seal(block, base->kind);
    tac_error_clear(&error);
    if (tac_block_verify(block, &geometry, base->kind, &reference, &error) == TACTUS_OK) {
        switch (base->kind) {
        case TAC_BLOCK_VALUE:
            value_block_read(block, base->address, &base->layout);
            break;
        case TAC_BLOCK_INDEX:
            index_block_read(block, base->address, input);
            break;
        case TAC_BLOCK_FILTER:
            filter_block_read(block, input);
            break;
        case TAC_BLOCK_MANIFEST:
        case TAC_BLOCK_FREE_SET:
        case TAC_BLOCK_SNAPSHOTS:
            break; /* Fuzz targets, or checks (unit/snapshot_test), of their own */
        }
    } else {
        tac_assert(error.code != TACTUS_OK && error.message[0] != 0);
    }
    free(block);
}

/* A page as a point read takes it: with what the index block says, not the block's own header. */
static void page_run(struct fuzz_input *input, const struct base *base, uint32_t patch_count)
{
    uint32_t        unit = 1 + fuzz_take_u8(input) % 4u;
    uint32_t        unit_count = 1 + fuzz_take_u8(input) % 3u;
    struct tac_page page = {.layout = &base->layout, .size_bytes = unit_count * geometry.page_size};
    uint8_t        *data = malloc(page.size_bytes);
    struct tac_error error;

    tac_assert(data != NULL);
    memcpy(data, base->data + unit * geometry.page_size, page.size_bytes);
    page.data = data;
    page.record_count = fuzz_take_u16(input);
    page.flags = fuzz_take_u8(input);
    if ((page.flags & 0x80) != 0) {
        page.flags &= 0x7f;
        page.record_count = tac_load_u16(data + TAC_SLOTS_OFFSET_RECORDS);
    }
    for (uint32_t i = 0; i < patch_count; i++) {
        struct fuzz_patch patch = fuzz_take_patch(input);

        fuzz_patch_apply(&patch, data, page.size_bytes);
    }
    if (tac_page_check(&page, &error) == TACTUS_OK) {
        fuzz_accepted++;
        page_read(&page);
    }
    free(data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input  input = {data, size};
    const struct base *base;
    uint32_t           mode, patch_count;

    if (base_count == 0) {
        bases_make();
    }
    base = &bases[fuzz_take_u8(&input) % base_count];
    mode = fuzz_take_u8(&input);
    patch_count = fuzz_take_u8(&input) % 16;
    if (mode % 4 == 3 && base->kind == TAC_BLOCK_VALUE) {
        page_run(&input, base, patch_count);
    } else {
        block_run(&input, base, patch_count);
    }
    return 0;
}

/* ---- seeds ---------------------------------------------------------------------------------- */

/* Every block as it is, and changed in a field or two, and a page of each. */
size_t fuzz_seed(uint32_t number, uint8_t *buffer)
{
    static const uint16_t offsets[] = {28, 64, 68, 72, 76, 80, 96, 112, 116, 120, 144, 320, 512};
    uint8_t              *at = buffer;
    uint32_t              count = TAC_ARRAY_COUNT(offsets);

    if (base_count == 0) {
        bases_make();
    }
    if (number >= 3 * base_count) {
        return 0;
    }
    *at++ = (uint8_t)(number % base_count);
    switch (number / base_count) {
    case 0:
        at = fuzz_give(at, "\0\0key of a read", 15);
        break;
    case 1:
        at = fuzz_give(at, "\0\2", 2);
        at = fuzz_give_patch(at, 0, offsets[number % count], "\x01", 1);
        at = fuzz_give_patch(at, 0, (uint16_t)(512 + number * 8), "\xff\x00\x80", 3);
        break;
    default:
        at = fuzz_give(at, "\3\0\0\0\0\0\x80", 7);
    }
    return (size_t)(at - buffer);
}
