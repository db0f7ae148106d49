/* SPDX-License-Identifier: Apache-2.0 */
/* Reading value blocks. Decoders take what a file says as hostile: everything that a later read
 * relies on is checked here, once. */
#include "lsm/value_block.h"

#include "base/units.h"
#include "lsm/value_page.h"

/* ---- checking a page ---- */

/* What a page holds, as its own bytes tell it. */
struct page_totals {
    uint32_t tombstones;
    uint64_t payload_bytes;
};

/* Offset of the first record i > 0 whose key is not above its predecessor's, or count. */
static uint32_t fixed_keys_disorder(const uint8_t *records, uint32_t record_bytes,
                                    uint32_t key_size, uint32_t count)
{
    uint64_t previous = tac_key_prefix(records, key_size);

    for (uint32_t i = 1; i < count; i++) {
        const uint8_t *key = records + (size_t)i * record_bytes;
        uint64_t       prefix = tac_key_prefix(key, key_size);

        if (prefix < previous ||
            (prefix == previous && memcmp(key - record_bytes, key, key_size) >= 0)) {
            return i;
        }
        previous = prefix;
    }
    return count;
}

static int fixed_page_check(const struct tac_page *page, struct page_totals *ret_totals,
                            struct tac_error *error)
{
    const struct tac_layout *layout = page->layout;
    uint32_t                 record_bytes = layout->key_size + layout->value_size;
    bool                     is_flagged = (page->flags & TAC_PAGE_TOMBSTONES) != 0;
    uint32_t capacity = is_flagged ? tac_fixed_capacity_tombstones(page->size_bytes, record_bytes)
                                   : page->size_bytes / record_bytes;
    uint32_t bitmap_bytes = is_flagged ? tac_fixed_bitmap_bytes(page->size_bytes, record_bytes) : 0;
    const uint8_t *bitmap = page->data + page->size_bytes - bitmap_bytes;
    uint32_t       tombstones = is_flagged && bitmap_bytes == 0 ? page->record_count : 0;

    if ((page->flags & ~TAC_PAGE_TOMBSTONES) != 0 || record_bytes > page->size_bytes) {
        return tac_error_set(error, TACTUS_ECORRUPT, "a page of the wrong kind (flags %x)",
                             page->flags);
    }
    if (page->record_count == 0 || page->record_count > capacity) {
        return tac_error_set(error, TACTUS_ECORRUPT, "%u records in a page for %u",
                             page->record_count, capacity);
    }
    for (uint32_t i = 0; i < bitmap_bytes * 8; i++) {
        bool is_set = tac_fixed_is_tombstone(bitmap, i);

        if (is_set && i >= page->record_count) {
            return tac_error_set(error, TACTUS_ECORRUPT, "a tombstone bit without a record");
        }
        tombstones += is_set;
    }
    if (is_flagged && tombstones == 0) {
        return tac_error_set(error, TACTUS_ECORRUPT, "a tombstone flag without a tombstone");
    }
    if (fixed_keys_disorder(page->data, record_bytes, layout->key_size, page->record_count) !=
        page->record_count) {
        return tac_error_set(error, TACTUS_ECORRUPT, "keys out of order");
    }
    ret_totals->tombstones = tombstones;
    ret_totals->payload_bytes =
        (uint64_t)page->record_count * record_bytes - (uint64_t)tombstones * layout->value_size;
    return TACTUS_OK;
}

/* Sizes of one record against the layout. */
static int sizes_check(const struct tac_layout *layout, uint32_t key_size, uint32_t value_size,
                       bool is_tombstone, struct tac_error *error)
{
    if (key_size == 0 || key_size > layout->key_size || value_size > layout->value_size ||
        (is_tombstone && value_size != 0)) {
        return tac_error_set(error, TACTUS_ECORRUPT, "a record with %u key and %u value bytes",
                             key_size, value_size);
    }
    return TACTUS_OK;
}

static int large_page_check(const struct tac_page *page, struct page_totals *ret_totals,
                            struct tac_error *error)
{
    uint32_t key_word = tac_load_u32(page->data + TAC_LARGE_OFFSET_KEY_SIZE);
    uint32_t key_size = key_word & ~TAC_LARGE_TOMBSTONE;
    uint32_t value_size = tac_load_u32(page->data + TAC_LARGE_OFFSET_VALUE_SIZE);
    bool     is_tombstone = (key_word & TAC_LARGE_TOMBSTONE) != 0;
    int      rv;

    if (page->record_count != 1 || tac_load_u16(page->data + TAC_SLOTS_OFFSET_RECORDS) != 1 ||
        tac_load_u16(page->data + TAC_SLOTS_OFFSET_COMMON) != 0) {
        return tac_error_set(error, TACTUS_ECORRUPT, "not one record in the page of a large one");
    }
    rv = sizes_check(page->layout, key_size, value_size, is_tombstone, error);
    if (rv != TACTUS_OK) {
        return rv;
    }
    if ((uint64_t)TAC_LARGE_OFFSET_RECORD + key_size + value_size > page->size_bytes) {
        return tac_error_set(error, TACTUS_ECORRUPT, "a record larger than its page");
    }
    ret_totals->tombstones = is_tombstone;
    ret_totals->payload_bytes = (uint64_t)key_size + value_size;
    return TACTUS_OK;
}

/* One slot: the record lies between the slots and its predecessor, and its key has the slot's
 * prefix behind the page's common bytes, which is what searches go by. */
static int slot_check(const struct tac_page *page, uint32_t index, uint32_t record_end,
                      uint32_t common, struct tac_error *error)
{
    const uint8_t *slot = tac_page_slot(page->data, index);
    uint32_t       slots_end = TAC_SLOTS_OFFSET_FIRST + page->record_count * TAC_SLOT_BYTES;
    uint32_t       place = tac_load_u16(slot + TAC_SLOT_OFFSET_PLACE);
    uint32_t       key_word = tac_load_u16(slot + TAC_SLOT_OFFSET_KEY_SIZE);
    uint32_t       key_size = key_word & ~TAC_SLOT_TOMBSTONE;

    if (place < slots_end || place >= record_end || key_size > record_end - place) {
        return tac_error_set(error, TACTUS_ECORRUPT, "record %u out of place", index);
    }
    if (common > key_size || tac_load_u32(slot + TAC_SLOT_OFFSET_PREFIX) !=
                                 tac_slot_prefix(page->data + place, key_size, common)) {
        return tac_error_set(error, TACTUS_ECORRUPT, "wrong key prefix of record %u", index);
    }
    return sizes_check(page->layout, key_size, record_end - place - key_size,
                       (key_word & TAC_SLOT_TOMBSTONE) != 0, error);
}

/* Record `index` shares the common bytes with the first one and is above the one before. All slots
 * up to it have been checked. */
static bool slot_is_in_order(const struct tac_page *page, uint32_t index, uint32_t common)
{
    const uint8_t    *slot = tac_page_slot(page->data, index);
    uint32_t          prefix = tac_load_u32(slot + TAC_SLOT_OFFSET_PREFIX);
    uint32_t          previous = tac_load_u32(slot - TAC_SLOT_BYTES + TAC_SLOT_OFFSET_PREFIX);
    struct tac_record record = tac_page_record(page, index);

    if (common > 0 && memcmp(record.key.data, tac_page_record(page, 0).key.data, common) != 0) {
        return false;
    }
    return previous < prefix ||
           (previous == prefix &&
            tac_bytes_compare(tac_page_record(page, index - 1).key, record.key) < 0);
}

static int variable_page_check(const struct tac_page *page, struct page_totals *ret_totals,
                               struct tac_error *error)
{
    uint32_t common = tac_load_u16(page->data + TAC_SLOTS_OFFSET_COMMON);
    uint32_t record_end = page->size_bytes;
    uint32_t tombstones = 0;

    if (page->flags != 0 || page->record_count == 0 ||
        page->record_count != tac_load_u16(page->data + TAC_SLOTS_OFFSET_RECORDS) ||
        TAC_SLOTS_OFFSET_FIRST + page->record_count * TAC_SLOT_BYTES > page->size_bytes) {
        return tac_error_set(error, TACTUS_ECORRUPT, "%u records in a page of %u bytes (flags %x)",
                             page->record_count, page->size_bytes, page->flags);
    }
    for (uint32_t i = 0; i < page->record_count; i++) {
        const uint8_t *slot = tac_page_slot(page->data, i);
        int            rv = slot_check(page, i, record_end, common, error);

        if (rv != TACTUS_OK) {
            return rv;
        }
        if (i > 0 && !slot_is_in_order(page, i, common)) {
            return tac_error_set(error, TACTUS_ECORRUPT, "keys out of order at record %u", i);
        }
        record_end = tac_load_u16(slot + TAC_SLOT_OFFSET_PLACE);
        tombstones += (tac_load_u16(slot + TAC_SLOT_OFFSET_KEY_SIZE) & TAC_SLOT_TOMBSTONE) != 0;
    }
    ret_totals->tombstones = tombstones;
    ret_totals->payload_bytes = page->size_bytes - record_end;
    return TACTUS_OK;
}

static int page_check(const struct tac_page *page, struct page_totals *ret_totals,
                      struct tac_error *error)
{
    if (page->layout->kind == TACTUS_LAYOUT_FIXED) {
        return fixed_page_check(page, ret_totals, error);
    }
    tac_assert(page->layout->kind == TACTUS_LAYOUT_VARIABLE);
    if (page->flags == TAC_PAGE_LARGE) {
        return large_page_check(page, ret_totals, error);
    }
    return variable_page_check(page, ret_totals, error);
}

int tac_page_check(const struct tac_page *page, struct tac_error *error)
{
    struct page_totals totals;

    tac_assert(page->layout->key_size >= 1 && page->layout->key_size <= TACTUS_KEY_SIZE_MAX);
    tac_assert(page->size_bytes >= 512);
    return page_check(page, &totals, error);
}

/* ---- a block ---- */

/* Reads the counts and the page entries' geometry. */
static int header_page_decode(struct tac_value_block *block, const struct tac_geometry *geometry,
                              struct tac_error *error)
{
    const uint8_t *data = block->data;
    uint32_t       units = geometry->block_size / geometry->page_size;
    uint32_t       entry_count = tac_load_u32(data + TAC_VALUE_OFFSET_ENTRIES);
    uint32_t       unit_next = 1;

    block->page_count = tac_load_u32(data + TAC_VALUE_OFFSET_PAGES);
    block->record_count = tac_load_u32(data + TAC_VALUE_OFFSET_RECORDS);
    block->tombstone_count = tac_load_u32(data + TAC_VALUE_OFFSET_TOMBSTONES);
    block->payload_bytes = tac_load_u64(data + TAC_VALUE_OFFSET_PAYLOAD);
    block->sum = tac_load_u128(data + TAC_VALUE_OFFSET_SUM);
    if (block->page_count == 0 || block->page_count >= units || entry_count >= units ||
        entry_count < block->page_count || entry_count - block->page_count > 1) {
        return tac_error_set(error, TACTUS_ECORRUPT, "%u pages, %u entries", block->page_count,
                             entry_count);
    }
    for (uint32_t i = 0; i < entry_count; i++) {
        struct tac_page_entry entry = tac_page_entry_load(tac_value_entry(data, i));
        bool                  is_tail = i == block->page_count;

        if (entry.unit_first != unit_next || entry.unit_count == 0 ||
            entry.unit_count > units - unit_next || (entry.record_count == 0) != is_tail) {
            return tac_error_set(error, TACTUS_ECORRUPT, "page %u out of place", i);
        }
        unit_next += entry.unit_count;
    }
    if (unit_next != units) {
        return tac_error_set(error, TACTUS_ECORRUPT, "%u units of %u are listed", unit_next, units);
    }
    return TACTUS_OK;
}

static struct tac_page block_page(const struct tac_value_block *block, uint32_t index)
{
    struct tac_page_entry entry = tac_page_entry_load(tac_value_entry(block->data, index));

    return (struct tac_page){
        .data = block->data + (size_t)entry.unit_first * block->page_size,
        .layout = block->layout,
        .size_bytes = (uint32_t)entry.unit_count * block->page_size,
        .record_count = entry.record_count,
        .flags = entry.flags,
    };
}

/* Checks every page, the order of keys from page to page, and the header page's totals. */
static int block_pages_check(const struct tac_value_block *block, struct tac_error *error)
{
    struct page_totals totals = {0};
    uint64_t           records = 0;
    struct tac_bytes   previous = {0};

    for (uint32_t i = 0; i < block->page_count; i++) {
        struct tac_page    page = block_page(block, i);
        struct page_totals page_totals = {0};
        int                rv = page_check(&page, &page_totals, error);

        if (rv != TACTUS_OK) {
            tac_error_wrap(error, "page %u", i);
            return rv;
        }
        if (i > 0 && tac_bytes_compare(previous, tac_page_record(&page, 0).key) >= 0) {
            return tac_error_set(error, TACTUS_ECORRUPT, "page %u: keys out of order", i);
        }
        previous = tac_page_record(&page, page.record_count - 1).key;
        records += page.record_count;
        totals.tombstones += page_totals.tombstones;
        totals.payload_bytes += page_totals.payload_bytes;
    }
    if (records != block->record_count || totals.tombstones != block->tombstone_count ||
        totals.payload_bytes != block->payload_bytes) {
        return tac_error_set(error, TACTUS_ECORRUPT, "counts do not fit the records");
    }
    return TACTUS_OK;
}

int tac_value_block_decode(struct tac_value_block *block, const uint8_t *data,
                           const struct tac_geometry *geometry, const struct tac_layout *layout,
                           uint64_t address, struct tac_error *error)
{
    struct tac_block_header header;
    struct tac_value_block  result = {
         .data = data,
         .layout = layout,
         .page_size = geometry->page_size,
    };
    int rv;

    tac_assert(tac_value_block_geometry_fits(geometry));
    tac_assert(layout->key_size >= 1 && layout->key_size <= TACTUS_KEY_SIZE_MAX);
    rv = tac_block_header_decode(data, geometry, TAC_BLOCK_VALUE, address, &header, error);
    if (rv != TACTUS_OK) {
        return rv;
    }
    rv = header_page_decode(&result, geometry, error);
    if (rv == TACTUS_OK) {
        rv = block_pages_check(&result, error);
    }
    if (rv != TACTUS_OK) {
        tac_error_wrap(error, "value block %llu", (unsigned long long)address);
        return rv;
    }
    *block = result;
    return TACTUS_OK;
}

struct tac_page_entry tac_value_block_page(const struct tac_value_block *block, uint32_t page)
{
    tac_assert(page < block->page_count);
    return tac_page_entry_load(tac_value_entry(block->data, page));
}

/* ---- records of a page ---- */

static struct tac_record fixed_page_record(const struct tac_page *page, uint32_t index)
{
    uint32_t          key_size = page->layout->key_size;
    uint32_t          record_bytes = key_size + page->layout->value_size;
    const uint8_t    *key = page->data + (size_t)index * record_bytes;
    struct tac_record record = {
        .key = {.data = key, .size = key_size},
        .value = {.data = key + key_size, .size = page->layout->value_size},
    };

    if ((page->flags & TAC_PAGE_TOMBSTONES) != 0) {
        uint32_t       bitmap_bytes = tac_fixed_bitmap_bytes(page->size_bytes, record_bytes);
        const uint8_t *bitmap = page->data + page->size_bytes - bitmap_bytes;

        record.is_tombstone = tac_fixed_is_tombstone(bitmap_bytes == 0 ? NULL : bitmap, index);
        record.value.size = record.is_tombstone ? 0 : record.value.size;
    }
    return record;
}

struct tac_record tac_page_record(const struct tac_page *page, uint32_t index)
{
    const uint8_t *key, *slot;
    uint32_t       key_word, key_size, record_end;

    tac_assert(index < page->record_count);
    if (page->layout->kind == TACTUS_LAYOUT_FIXED) {
        return fixed_page_record(page, index);
    }
    if (page->flags == TAC_PAGE_LARGE) {
        key = page->data + TAC_LARGE_OFFSET_RECORD;
        key_word = tac_load_u32(page->data + TAC_LARGE_OFFSET_KEY_SIZE);
        key_size = key_word & ~TAC_LARGE_TOMBSTONE;
        return (struct tac_record){
            .key = {.data = key, .size = key_size},
            .value = {.data = key + key_size,
                      .size = tac_load_u32(page->data + TAC_LARGE_OFFSET_VALUE_SIZE)},
            .is_tombstone = (key_word & TAC_LARGE_TOMBSTONE) != 0,
        };
    }
    slot = tac_page_slot(page->data, index);
    record_end =
        index == 0 ? page->size_bytes : tac_load_u16(slot - TAC_SLOT_BYTES + TAC_SLOT_OFFSET_PLACE);
    key = page->data + tac_load_u16(slot + TAC_SLOT_OFFSET_PLACE);
    key_word = tac_load_u16(slot + TAC_SLOT_OFFSET_KEY_SIZE);
    key_size = key_word & ~TAC_SLOT_TOMBSTONE;
    return (struct tac_record){
        .key = {.data = key, .size = key_size},
        .value = {.data = key + key_size,
                  .size = (uint32_t)(page->data + record_end - key) - key_size},
        .is_tombstone = (key_word & TAC_SLOT_TOMBSTONE) != 0,
    };
}

/* ---- searching a page ---- */

static uint64_t fixed_prefix(const struct tac_page *page, uint32_t index)
{
    uint32_t key_size = page->layout->key_size;
    size_t   record_bytes = (size_t)key_size + page->layout->value_size;

    return tac_key_prefix(page->data + index * record_bytes, key_size);
}

/* The number of records whose key's first eight bytes, as a number, are below the key's. From the
 * guess steps double until the answer is between `low` and `high`, then a binary search without
 * branches on the data finds it. Evenly spread keys are two or three records from the guess. */
static uint32_t fixed_prefix_lower_bound(const struct tac_page *page, struct tac_bytes key,
                                         uint32_t guess)
{
    uint64_t prefix = tac_key_prefix(key.data, key.size);
    uint32_t low = guess, high = guess, step = 2;

    while (low > 0 && fixed_prefix(page, low - 1) >= prefix) {
        high = low - 1;
        low = high > step ? high - step : 0;
        step *= 2;
    }
    while (high < page->record_count && fixed_prefix(page, high) < prefix) {
        low = high + 1;
        high = page->record_count - low > step ? low + step : page->record_count;
        step *= 2;
    }
    for (uint32_t count = high - low; count > 0;) {
        uint32_t half = (count + 1) / 2;
        bool     is_below = fixed_prefix(page, low + half - 1) < prefix;

        low += half & -(uint32_t)is_below;
        count -= half;
    }
    return low;
}

/* The same for variable pages, by the slots' prefixes behind the shared bytes. */
static uint32_t slots_lower_bound(const struct tac_page *page, struct tac_bytes key)
{
    uint32_t          common = tac_load_u16(page->data + TAC_SLOTS_OFFSET_COMMON);
    struct tac_record first = tac_page_record(page, 0);
    uint32_t          compared = key.size < common ? key.size : common;
    int               order = memcmp(key.data, first.key.data, compared);
    const uint8_t    *base = tac_page_slot(page->data, 0);
    uint32_t          count = page->record_count;
    uint32_t          prefix;

    if (order != 0 || key.size < common) {
        return order <= 0 ? 0 : page->record_count; /* A shorter one is below all it begins. */
    }
    prefix = tac_slot_prefix(key.data, key.size, common);
    while (count > 1) {
        uint32_t half = count / 2;
        bool     is_below = tac_load_u32(base + (half - 1) * TAC_SLOT_BYTES) < prefix;

        base += (half * TAC_SLOT_BYTES) & -(size_t)is_below;
        count -= half;
    }
    return (uint32_t)(base - tac_page_slot(page->data, 0)) / TAC_SLOT_BYTES +
           (tac_load_u32(base) < prefix);
}

uint32_t tac_page_lower_bound(const struct tac_page *page, struct tac_bytes key, uint32_t guess,
                              bool *ret_equal)
{
    uint32_t low, high;

    tac_assert(key.size > 0 && guess < page->record_count);
    if (page->layout->kind == TACTUS_LAYOUT_FIXED) {
        low = fixed_prefix_lower_bound(page, key, guess);
    } else {
        low = page->flags == TAC_PAGE_LARGE ? 0 : slots_lower_bound(page, key);
    }
    /* Everything below `low` is below the key. Most often the record at `low` decides; equal
     * prefixes in a row are halved with whole comparisons. */
    high = page->record_count;
    for (uint32_t probe = low; low < high; probe = low + (high - low) / 2) {
        int order = tac_bytes_compare(tac_page_record(page, probe).key, key);

        if (order == 0) {
            *ret_equal = true;
            return probe;
        }
        if (order > 0) {
            high = probe;
        } else {
            low = probe + 1;
        }
    }
    *ret_equal = false;
    return low;
}

tac_static_assert(TAC_SLOT_OFFSET_PREFIX == 0, "searches load a slot's prefix at its first byte");
