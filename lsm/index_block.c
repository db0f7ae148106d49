/* SPDX-License-Identifier: Apache-2.0 */
#include "lsm/index_block.h"

#include "base/mutant.h"
#include "base/units.h"
#include "lsm/index_format.h"

static const uint8_t *block_entry(const struct tac_index_block *index, uint32_t block)
{
    return index->data + TAC_INDEX_HEADER_BYTES + (size_t)block * TAC_INDEX_BLOCK_BYTES;
}

static const uint8_t *page_entry(const struct tac_index_block *index, uint32_t page)
{
    return index->data + index->offset_pages + (size_t)page * TAC_INDEX_PAGE_BYTES;
}

static uint64_t page_prefix(const struct tac_index_block *index, uint32_t page)
{
    return tac_load_u64(index->data + index->offset_prefixes +
                        (size_t)page * TAC_INDEX_PREFIX_BYTES);
}

/* ---- checking ---- */

/* The counts of the header, and that all arrays end where the block's used bytes end. */
static int header_decode(struct tac_index_block *index, uint32_t used_bytes,
                         struct tac_error *error)
{
    const uint8_t *data = index->data;
    uint64_t       heap_bytes = tac_load_u32(data + TAC_INDEX_OFFSET_HEAP_BYTES);
    uint64_t       end;

    index->value_block_count = tac_load_u32(data + TAC_INDEX_OFFSET_BLOCKS);
    index->page_count = tac_load_u32(data + TAC_INDEX_OFFSET_PAGES);
    index->record_count = tac_load_u64(data + TAC_INDEX_OFFSET_RECORDS);
    index->tombstone_count = tac_load_u64(data + TAC_INDEX_OFFSET_TOMBSTONES);
    index->payload_bytes = tac_load_u64(data + TAC_INDEX_OFFSET_PAYLOAD);
    index->sum = tac_load_u128(data + TAC_INDEX_OFFSET_SUM);
    index->filter_bytes = tac_load_u32(data + TAC_INDEX_OFFSET_FILTER_BYTES);
    index->filter_bits_per_key = tac_load_u16(data + TAC_INDEX_OFFSET_FILTER_BITS);
    index->filter_block_count = tac_load_u16(data + TAC_INDEX_OFFSET_FILTER_BLOCKS);
    if (index->value_block_count == 0 || index->value_block_count > index->page_count ||
        index->page_count > index->block_size / TAC_INDEX_PAGE_BYTES) {
        return tac_error_set(error, TACTUS_ECORRUPT, "%u value blocks with %u pages",
                             index->value_block_count, index->page_count);
    }
    index->offset_pages = TAC_INDEX_HEADER_BYTES + index->value_block_count * TAC_INDEX_BLOCK_BYTES;
    index->offset_prefixes = index->offset_pages + index->page_count * TAC_INDEX_PAGE_BYTES;
    index->offset_heap = index->offset_prefixes + index->page_count * TAC_INDEX_PREFIX_BYTES;
    end = index->offset_heap + heap_bytes;
    if (index->filter_bytes > 0 && index->filter_block_count == 0) {
        end = tac_round_up(end, TAC_FILTER_LINE_BYTES) + index->filter_bytes;
    }
    if (end != used_bytes) {
        return tac_error_set(error, TACTUS_ECORRUPT, "its parts take %llu bytes of %u in use",
                             (unsigned long long)end, used_bytes);
    }
    if (index->filter_bytes > 0 && index->filter_block_count == 0) {
        index->filter = data + used_bytes - index->filter_bytes;
    }
    return TACTUS_OK;
}

/* No file has more blocks than 32 bits can count, and the first one is a superblock's. */
static bool address_is_possible(uint64_t address) { return address > 0 && address <= UINT32_MAX; }

static int filter_check(const struct tac_index_block *index, struct tac_error *error)
{
    uint64_t block_bytes =
        (uint64_t)tac_filter_block_lines(index->block_size) * TAC_FILTER_LINE_BYTES;

    /* The count of records is bounded by that of pages, so this cannot overflow. */
    if (index->filter_bits_per_key > TAC_FILTER_BITS_MAX ||
        index->filter_bytes != tac_filter_bytes(index->record_count, index->filter_bits_per_key) ||
        index->filter_block_count > TAC_FILTER_BLOCKS_MAX ||
        (index->filter_block_count > 0 &&
         index->filter_block_count != tac_div_ceil(index->filter_bytes, block_bytes))) {
        return tac_error_set(error, TACTUS_ECORRUPT, "a filter of %u bytes in %u blocks",
                             index->filter_bytes, index->filter_block_count);
    }
    for (uint32_t i = 0; i < index->filter_block_count; i++) {
        if (!address_is_possible(tac_index_filter_block(index, i).address)) {
            return tac_error_set(error, TACTUS_ECORRUPT, "filter block %u cannot be where it says",
                                 i);
        }
    }
    return TACTUS_OK;
}

/* The pages of one value block: in place, and with as many records as the block. */
static int block_pages_check(const struct tac_index_block *index, uint32_t block, uint32_t units,
                             struct tac_error *error)
{
    struct tac_index_value_block entry = tac_index_value_block(index, block);
    uint64_t                     records = 0;
    uint32_t                     unit_next = 1;

    for (uint32_t i = entry.page_first; i < entry.page_first + entry.page_count; i++) {
        struct tac_page_entry page = tac_index_page(index, i);

        if (page.unit_first != unit_next || page.unit_count == 0 ||
            page.unit_count > units - unit_next || page.record_count == 0 ||
            tac_load_u16(page_entry(index, i) + TAC_INDEX_PAGE_OFFSET_BLOCK) != block) {
            return tac_error_set(error, TACTUS_ECORRUPT, "page %u out of place", i);
        }
        unit_next += page.unit_count;
        records += page.record_count;
    }
    if (records != entry.record_count || entry.tombstone_count > entry.record_count) {
        return tac_error_set(error, TACTUS_ECORRUPT, "value block %u: wrong counts", block);
    }
    return TACTUS_OK;
}

/* All value blocks: their pages follow each other, and they add up to the table's totals. */
static int blocks_check(const struct tac_index_block *index, uint32_t units,
                        struct tac_error *error)
{
    struct tac_u128 sum = {0};
    uint64_t        records = 0, tombstones = 0, payload_bytes = 0;
    uint32_t        page_next = 0;

    for (uint32_t i = 0; i < index->value_block_count; i++) {
        struct tac_index_value_block entry = tac_index_value_block(index, i);
        int                          rv;

        if (!address_is_possible(entry.reference.address) || entry.page_first != page_next ||
            entry.page_count == 0 || entry.page_count > index->page_count - page_next ||
            entry.payload_bytes > index->block_size) {
            return tac_error_set(error, TACTUS_ECORRUPT, "value block %u: bad entry", i);
        }
        rv = block_pages_check(index, i, units, error);
        if (rv != TACTUS_OK) {
            return rv;
        }
        page_next += entry.page_count;
        records += entry.record_count;
        tombstones += entry.tombstone_count;
        payload_bytes += entry.payload_bytes;
        sum = tac_u128_add(sum, entry.sum);
    }
    if (page_next != index->page_count || records != index->record_count ||
        tombstones != index->tombstone_count || payload_bytes != index->payload_bytes ||
        !tac_u128_equal(sum, index->sum)) {
        return tac_error_set(error, TACTUS_ECORRUPT, "value blocks do not add up");
    }
    return TACTUS_OK;
}

/* Separators lie one behind the other, ascend strictly, and have the prefixes they should. */
static int separators_check(const struct tac_index_block *index, uint32_t heap_bytes,
                            struct tac_error *error)
{
    uint32_t         heap_next = 0;
    struct tac_bytes previous = {0};

    for (uint32_t i = 0; i < index->page_count; i++) {
        const uint8_t   *entry = page_entry(index, i);
        uint32_t         place = tac_load_u32(entry + TAC_INDEX_PAGE_OFFSET_SEPARATOR);
        uint32_t         size = tac_load_u16(entry + TAC_INDEX_PAGE_OFFSET_SEPARATOR_SIZE);
        struct tac_bytes separator;

        if (place != heap_next || size > heap_bytes - heap_next || size > TACTUS_KEY_SIZE_MAX ||
            (size == 0) != (i == 0)) {
            return tac_error_set(error, TACTUS_ECORRUPT, "separator %u out of place", i);
        }
        separator = tac_index_separator(index, i);
        if (page_prefix(index, i) != tac_key_prefix(separator.data, separator.size) ||
            (i > 0 && tac_bytes_compare(previous, separator) >= 0)) {
            return tac_error_set(error, TACTUS_ECORRUPT, "separator %u out of order", i);
        }
        heap_next += size;
        previous = separator;
    }
    if (heap_next != heap_bytes) {
        return tac_error_set(error, TACTUS_ECORRUPT, "%u bytes of separators of %u", heap_next,
                             heap_bytes);
    }
    return TACTUS_OK;
}

int tac_index_block_decode(struct tac_index_block *index, const uint8_t *data,
                           const struct tac_geometry *geometry, uint64_t address,
                           struct tac_error *error)
{
    struct tac_block_header header;
    struct tac_index_block  result = {.data = data, .block_size = geometry->block_size};
    int                     rv;

    tac_assert(tac_value_block_geometry_fits(geometry));
    rv = tac_block_header_decode(data, geometry, TAC_BLOCK_INDEX, address, &header, error);
    if (rv != TACTUS_OK) {
        return rv;
    }
    rv = header_decode(&result, header.used_bytes, error);
    if (rv == TACTUS_OK) {
        rv = blocks_check(&result, geometry->block_size / geometry->page_size, error);
    }
    if (rv == TACTUS_OK) {
        rv = filter_check(&result, error);
    }
    if (rv == TACTUS_OK) {
        rv = separators_check(&result, tac_load_u32(data + TAC_INDEX_OFFSET_HEAP_BYTES), error);
    }
    if (rv != TACTUS_OK) {
        tac_error_wrap(error, "index block %llu", (unsigned long long)address);
        return rv;
    }
    *index = result;
    return TACTUS_OK;
}

/* ---- reading ---- */

void tac_index_block_move(struct tac_index_block *index, const uint8_t *data)
{
    if (index->filter != NULL) {
        index->filter = data + (index->filter - index->data);
    }
    index->data = data;
}

struct tac_index_value_block tac_index_value_block(const struct tac_index_block *index,
                                                   uint32_t                      block)
{
    const uint8_t *entry = block_entry(index, block);

    tac_assert(block < index->value_block_count);
    return (struct tac_index_value_block){
        .reference = tac_reference_load(entry + TAC_INDEX_BLOCK_OFFSET_REFERENCE),
        .page_first = tac_load_u32(entry + TAC_INDEX_BLOCK_OFFSET_PAGE_FIRST),
        .page_count = tac_load_u32(entry + TAC_INDEX_BLOCK_OFFSET_PAGES),
        .record_count = tac_load_u32(entry + TAC_INDEX_BLOCK_OFFSET_RECORDS),
        .tombstone_count = tac_load_u32(entry + TAC_INDEX_BLOCK_OFFSET_TOMBSTONES),
        .payload_bytes = tac_load_u64(entry + TAC_INDEX_BLOCK_OFFSET_PAYLOAD),
        .sum = tac_load_u128(entry + TAC_INDEX_BLOCK_OFFSET_SUM),
    };
}

struct tac_block_reference tac_index_filter_block(const struct tac_index_block *index,
                                                  uint32_t                      filter_block)
{
    tac_assert(filter_block < index->filter_block_count);
    return tac_reference_load(index->data + TAC_INDEX_OFFSET_FILTER_FIRST +
                              filter_block * TAC_REFERENCE_BYTES);
}

struct tac_page_entry tac_index_page(const struct tac_index_block *index, uint32_t page)
{
    tac_assert(page < index->page_count);
    return tac_page_entry_load(page_entry(index, page));
}

struct tac_bytes tac_index_separator(const struct tac_index_block *index, uint32_t page)
{
    const uint8_t *entry = page_entry(index, page);

    tac_assert(page < index->page_count);
    return (struct tac_bytes){
        .data = index->data + index->offset_heap +
                tac_load_u32(entry + TAC_INDEX_PAGE_OFFSET_SEPARATOR),
        .size = tac_load_u16(entry + TAC_INDEX_PAGE_OFFSET_SEPARATOR_SIZE),
    };
}

void tac_index_prefetch_ends(const struct tac_index_block *index)
{
    const uint8_t *prefixes = index->data + index->offset_prefixes;

    __builtin_prefetch(prefixes);
    __builtin_prefetch(prefixes + (size_t)(index->page_count - 1) * TAC_INDEX_PREFIX_BYTES);
}

/* The page at which a key with the prefix lies if keys are spread evenly, which hashes and random
 * numbers are, and times nearly. */
static uint32_t guess_page(const struct tac_index_block *index, uint64_t prefix)
{
    uint32_t count = index->page_count;
    uint64_t low, high;

    if (count < 3) {
        return 0;
    }
    low = page_prefix(index, 1);
    high = page_prefix(index, count - 1);
    if (prefix < low || prefix >= high) {
        return prefix < low ? 0 : count - 1;
    }
    return 1 + (uint32_t)((double)(prefix - low) / (double)(high - low) * (count - 2));
}

void tac_index_prefetch_guess(const struct tac_index_block *index, struct tac_bytes key)
{
    uint32_t page = guess_page(index, tac_key_prefix(key.data, key.size));
    uint32_t block = (uint32_t)((uint64_t)page * index->value_block_count / index->page_count);

    __builtin_prefetch(index->data + index->offset_prefixes +
                       (size_t)page * TAC_INDEX_PREFIX_BYTES);
    __builtin_prefetch(page_entry(index, page));
    __builtin_prefetch(block_entry(index, block));
}

#define FIND_WINDOW 8 /* Prefixes of a cache line */

/* From the guess on steps double until *ret_first is not above the prefix, and *ret_end is above it
 * or the end: so the worst case has twice the steps of a binary search; the best one touches three
 * lines, where a binary search from the middle touches one for each step. */
static void find_window(const struct tac_index_block *index, uint64_t prefix, uint32_t *ret_first,
                        uint32_t *ret_end)
{
    uint32_t count = index->page_count, step = FIND_WINDOW;
    uint32_t first = guess_page(index, prefix), end;

    end = first < count - FIND_WINDOW / 2 ? first + FIND_WINDOW / 2 : count;
    first = first > FIND_WINDOW / 2 ? first - FIND_WINDOW / 2 : 0;
    while (page_prefix(index, first) > prefix) { /* Ends at page 0 */
        end = first;
        first = first > step ? first - step : 0;
        step *= 2;
    }
    while (end < count && page_prefix(index, end) <= prefix) {
        first = end;
        end = count - end > step ? end + step : count;
        step *= 2;
    }
    *ret_first = first;
    *ret_end = end;
}

/* A search of the prefixes; page 0's is 0, so there is always an answer. Whole separators are
 * compared only where the prefixes are equal. */
uint32_t tac_index_find_page(const struct tac_index_block *index, struct tac_bytes key)
{
    uint64_t prefix = tac_key_prefix(key.data, key.size);
    uint32_t base = 0, end = index->page_count;
    uint32_t low, high;

    tac_assert(key.size > 0 && index->page_count > 0);
    if (index->page_count > 2 * FIND_WINDOW) {
        find_window(index, prefix, &base, &end);
    }
    for (uint32_t count = end - base; count > 1;) { /* Without branches on the data */
        uint32_t half = count / 2;
        bool     is_reached = page_prefix(index, base + half) <= prefix;

        base += half & -(uint32_t)is_reached;
        count -= half;
    }
    if (page_prefix(index, base) != prefix ||
        tac_bytes_compare(tac_index_separator(index, base), key) <= -TAC_MUTANT(PAGE_BORDER)) {
        return base;
    }
    /* Page 0's separator is empty: never above the key, so base > 0 here, and the answer is below
     * base. */
    low = 0;
    high = base;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;

        if (tac_bytes_compare(tac_index_separator(index, middle), key) <= 0) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

/* Between the separators of the page and of the next one; the table's first and last page take the
 * distance from their neighbour. */
uint32_t tac_index_guess_record(const struct tac_index_block *index, uint32_t page,
                                struct tac_bytes key)
{
    uint64_t prefix = tac_key_prefix(key.data, key.size);
    uint32_t records = tac_index_page(index, page).record_count;
    uint64_t low, high;

    if (index->page_count < 3) {
        return records / 2;
    }
    low = page_prefix(index, page);
    if (page == 0) {
        high = page_prefix(index, 1);
        low = high - tac_min_u64(page_prefix(index, 2) - high, high);
    } else if (page + 1 < index->page_count) {
        high = page_prefix(index, page + 1);
    } else {
        uint64_t distance = low - page_prefix(index, page - 1);

        high = low + tac_min_u64(distance, UINT64_MAX - low);
    }
    if (prefix <= low) {
        return 0;
    }
    if (prefix >= high) {
        return records - 1;
    }
    return (uint32_t)((unsigned __int128)(prefix - low) * records / (high - low));
}

uint64_t tac_index_block_address(const struct tac_index_block *index, uint32_t block)
{
    tac_assert(block < index->value_block_count);
    return tac_load_u64(block_entry(index, block) + TAC_INDEX_BLOCK_OFFSET_REFERENCE);
}

uint32_t tac_index_block_of_page(const struct tac_index_block *index, uint32_t page)
{
    tac_assert(page < index->page_count);
    return tac_load_u16(page_entry(index, page) + TAC_INDEX_PAGE_OFFSET_BLOCK);
}
