/* SPDX-License-Identifier: Apache-2.0 */
/* value_page -- where things are inside a value block and its pages: what the reader, the builder
 * and the merge share. Private to lsm/. Byte tables: docs/FORMAT.md.
 *
 * Fixed      records back to back. With TAC_PAGE_TOMBSTONES a bitmap lies at the page's end; where
 *            a page holds one record only, the flag alone says that it is a tombstone.
 * Variable   a head, slots that grow up, records packed down from the page's end in key order: a
 *            record ends where its predecessor begins, so a slot needs no value size.
 * Large      (variable) one record that does not fit a page of one unit: sizes of 32 bits.
 */
#ifndef TACTUS_LSM_VALUE_PAGE_H
#define TACTUS_LSM_VALUE_PAGE_H

#include "lsm/value_block.h"

/* The header page, behind the common header. */
enum {
    TAC_VALUE_OFFSET_RECORDS = 64,    /* u32 */
    TAC_VALUE_OFFSET_TOMBSTONES = 68, /* u32 */
    TAC_VALUE_OFFSET_PAGES = 72,      /* u32, pages with records */
    TAC_VALUE_OFFSET_ENTRIES = 76,    /* u32, page entries: one more where a tail is unused */
    TAC_VALUE_OFFSET_PAYLOAD = 80,    /* u64 */
    TAC_VALUE_OFFSET_SUM = 96,        /* u128 */
};

/* A page entry: 24 bytes in the header page, the first 24 of 32 in the index block. */
enum {
    TAC_ENTRY_OFFSET_CHECKSUM = 0,    /* u128 */
    TAC_ENTRY_OFFSET_UNIT_FIRST = 16, /* u16 */
    TAC_ENTRY_OFFSET_UNIT_COUNT = 18, /* u16 */
    TAC_ENTRY_OFFSET_RECORDS = 20,    /* u16 */
    TAC_ENTRY_OFFSET_FLAGS = 22,      /* u16 */
};

/* Variable pages. */
enum {
    TAC_SLOTS_OFFSET_COMMON = 0,  /* u16, leading bytes that all keys of the page share */
    TAC_SLOTS_OFFSET_RECORDS = 2, /* u16 */
    TAC_SLOTS_OFFSET_FIRST = 4,
    TAC_SLOT_BYTES = 8,
    TAC_SLOT_OFFSET_PREFIX = 0,    /* u32, the four key bytes behind the shared ones, as a number */
    TAC_SLOT_OFFSET_PLACE = 4,     /* u16, first byte of the record in the page */
    TAC_SLOT_OFFSET_KEY_SIZE = 6,  /* u16, TAC_SLOT_TOMBSTONE in the highest bit */
    TAC_LARGE_OFFSET_KEY_SIZE = 4, /* u32, TAC_LARGE_TOMBSTONE in the highest bit */
    TAC_LARGE_OFFSET_VALUE_SIZE = 8, /* u32 */
    TAC_LARGE_OFFSET_RECORD = 16,
};
#define TAC_SLOT_TOMBSTONE 0x8000u
#define TAC_LARGE_TOMBSTONE 0x80000000u

tac_static_assert(TACTUS_KEY_SIZE_MAX < TAC_SLOT_TOMBSTONE,
                  "a key size leaves the flag's bit free");
tac_static_assert(TAC_VALUE_OFFSET_SUM + 16 <= TAC_VALUE_HEADER_BYTES, "counts before entries");
tac_static_assert(TAC_ENTRY_OFFSET_FLAGS + 2 == TAC_PAGE_ENTRY_BYTES, "an entry has no gap");

static inline struct tac_u128 tac_load_u128(const uint8_t *p)
{
    return (struct tac_u128){.low = tac_load_u64(p), .high = tac_load_u64(p + 8)};
}

static inline void tac_store_u128(uint8_t *p, struct tac_u128 v)
{
    tac_store_u64(p, v.low);
    tac_store_u64(p + 8, v.high);
}

static inline const uint8_t *tac_value_entry(const uint8_t *block, uint32_t page)
{
    return block + TAC_VALUE_HEADER_BYTES + (size_t)page * TAC_PAGE_ENTRY_BYTES;
}

static inline struct tac_page_entry tac_page_entry_load(const uint8_t *p)
{
    return (struct tac_page_entry){
        .checksum = tac_load_u128(p + TAC_ENTRY_OFFSET_CHECKSUM),
        .unit_first = tac_load_u16(p + TAC_ENTRY_OFFSET_UNIT_FIRST),
        .unit_count = tac_load_u16(p + TAC_ENTRY_OFFSET_UNIT_COUNT),
        .record_count = tac_load_u16(p + TAC_ENTRY_OFFSET_RECORDS),
        .flags = tac_load_u16(p + TAC_ENTRY_OFFSET_FLAGS),
    };
}

static inline void tac_page_entry_store(uint8_t *p, const struct tac_page_entry *entry)
{
    tac_store_u128(p + TAC_ENTRY_OFFSET_CHECKSUM, entry->checksum);
    tac_store_u16(p + TAC_ENTRY_OFFSET_UNIT_FIRST, entry->unit_first);
    tac_store_u16(p + TAC_ENTRY_OFFSET_UNIT_COUNT, entry->unit_count);
    tac_store_u16(p + TAC_ENTRY_OFFSET_RECORDS, entry->record_count);
    tac_store_u16(p + TAC_ENTRY_OFFSET_FLAGS, entry->flags);
}

/* ---- fixed pages ---- */

/* Records that a page of page_bytes holds beside a bitmap of one bit for each: the most n with
 * n * record_bytes + ceil(n / 8) <= page_bytes. What is left beside the records is a whole number
 * of bytes and at least n / 8, hence at least ceil(n / 8). */
static inline uint32_t tac_fixed_capacity_tombstones(uint32_t page_bytes, uint32_t record_bytes)
{
    if (page_bytes / record_bytes <= 1) {
        return 1;
    }
    return page_bytes * 8 / (record_bytes * 8 + 1);
}

static inline uint32_t tac_fixed_bitmap_bytes(uint32_t page_bytes, uint32_t record_bytes)
{
    if (page_bytes / record_bytes <= 1) {
        return 0;
    }
    return (tac_fixed_capacity_tombstones(page_bytes, record_bytes) + 7) / 8;
}

/* Of a page with TAC_PAGE_TOMBSTONES; bitmap NULL: the page's only record is a tombstone. */
static inline bool tac_fixed_is_tombstone(const uint8_t *bitmap, uint32_t index)
{
    return bitmap == NULL || (bitmap[index / 8] >> (index % 8) & 1) != 0;
}

/* ---- variable pages ---- */

static inline uint32_t tac_large_units(uint32_t record_bytes, uint32_t page_size)
{
    return (TAC_LARGE_OFFSET_RECORD + record_bytes + page_size - 1) / page_size;
}

/* True when the record gets a page of its own kind. */
static inline bool tac_record_is_large(uint32_t record_bytes, uint32_t page_size)
{
    return TAC_SLOTS_OFFSET_FIRST + TAC_SLOT_BYTES + record_bytes > page_size;
}

static inline const uint8_t *tac_page_slot(const uint8_t *page, uint32_t index)
{
    return page + TAC_SLOTS_OFFSET_FIRST + (size_t)index * TAC_SLOT_BYTES;
}

/* Up to four key bytes behind the first `common` ones as a number that orders like them. */
static inline uint32_t tac_slot_prefix(const uint8_t *key, uint32_t key_size, uint32_t common)
{
    uint32_t rest = key_size > common ? key_size - common : 0;
    uint32_t prefix = 0;

    if (rest >= 4) {
        return __builtin_bswap32(tac_load_u32(key + common));
    }
    for (uint32_t i = 0; i < rest; i++) {
        prefix |= (uint32_t)key[common + i] << (24 - 8 * i);
    }
    return prefix;
}

#endif
