/* SPDX-License-Identifier: Apache-2.0 */
/* value_block -- records in pages: the unit of compaction I/O (block) and of point reads (page).
 *
 * Page 0 is the header page: counts, the sum of the records' hashes, and for each data page its
 * checksum, place, record count and flags. Data pages follow; a record larger than a page has a
 * page of several units of its own. Record bytes are key then value, contiguous, in both layouts.
 * Byte tables: docs/FORMAT.md. */
#ifndef TACTUS_LSM_VALUE_BLOCK_H
#define TACTUS_LSM_VALUE_BLOCK_H

#include "lsm/record.h"
#include "lsm/table.h"

#define TAC_VALUE_HEADER_BYTES 128 /* Of the header page, in front of the page entries */
#define TAC_PAGE_ENTRY_BYTES 24

/* The header page lists every unit behind it in the worst case, so this is what a store's block
 * and page size must keep: powers of two, a page of 512 bytes to 64 KiB, 4 to 128 pages to the
 * block, and (smallest pages for 8, 16, 32, 64, 128 pages: 512, 512, 1024, 2048, 4096 bytes). */
static inline bool tac_value_block_geometry_fits(const struct tac_geometry *geometry)
{
    uint32_t units = geometry->page_size == 0 ? 0 : geometry->block_size / geometry->page_size;

    return geometry->page_size >= 512 && geometry->page_size <= 65536 &&
           geometry->block_size % geometry->page_size == 0 && units >= 4 && units <= 128 &&
           TAC_VALUE_HEADER_BYTES + TAC_PAGE_ENTRY_BYTES * (units - 1) <= geometry->page_size;
}

/* One data page as the header page and the index block describe it. */
struct tac_page_entry {
    struct tac_u128 checksum;   /* Of unit_count * page_size bytes, seeded by the store alone */
    uint16_t        unit_first; /* In page_size units from the block's start; >= 1 */
    uint16_t        unit_count;
    uint16_t        record_count; /* 0 only for the unused tail of a block */
    uint16_t        flags;        /* TAC_PAGE_… */
};
#define TAC_PAGE_TOMBSTONES 1u /* Fixed layout: at least one record is a tombstone */
#define TAC_PAGE_LARGE 2u      /* Variable layout: one record, larger than a unit holds */

/* ---- reading ---- */

/* A verified block in memory. */
struct tac_value_block {
    const uint8_t           *data;
    const struct tac_layout *layout;
    uint32_t                 page_size;
    uint32_t                 page_count; /* Data pages with records */
    uint32_t                 record_count;
    uint32_t                 tombstone_count;
    uint64_t                 payload_bytes;
    struct tac_u128          sum;
};

/* Checks everything that later reads rely on: counts, places, every slot, strictly ascending keys.
 * Bad contents are TACTUS_ECORRUPT, never a wild read. Page checksums must have been checked; the
 * sum is taken as it stands, and a wrong one shows when a merge balances its books. */
TAC_MUST_CHECK int    tac_value_block_decode(struct tac_value_block *block, const uint8_t *data,
                                             const struct tac_geometry *geometry,
                                             const struct tac_layout *layout, uint64_t address,
                                             struct tac_error *error);
struct tac_page_entry tac_value_block_page(const struct tac_value_block *block, uint32_t page);

/* A data page in memory, alone (a point read) or inside its block. */
struct tac_page {
    const uint8_t           *data;
    const struct tac_layout *layout;
    uint32_t                 size_bytes; /* unit_count * page_size */
    uint32_t                 record_count;
    uint32_t                 flags;
};

/* Checks that every record of the page lies inside it and that keys ascend strictly; once per page
 * read from the device. */
TAC_MUST_CHECK int tac_page_check(const struct tac_page *page, struct tac_error *error);
/* Record `index` of the page; key and value point into it, contiguous. */
struct tac_record tac_page_record(const struct tac_page *page, uint32_t index);
/* Bytes from each record to the next one of a page of which all have the same sizes and none is a
 * tombstone; 0: of this page that is not known. */
static inline uint32_t tac_page_stride(const struct tac_page *page)
{
    return page->layout->kind == TACTUS_LAYOUT_FIXED && (page->flags & TAC_PAGE_TOMBSTONES) == 0
               ? page->layout->key_size + page->layout->value_size
               : 0;
}
/* First record with a key >= key (record_count: none); *ret_equal when it is equal. `guess` below
 * record_count: about where it may be; a wrong one costs time. */
uint32_t tac_page_lower_bound(const struct tac_page *page, struct tac_bytes key, uint32_t guess,
                              bool *ret_equal);

/* ---- writing ---- */

/* Fills one block at a time; no memory of its own. */
struct tac_value_block_builder {
    const struct tac_geometry *geometry;
    struct tac_layout          layout;
    uint8_t                   *data;         /* NULL: no block begun */
    uint32_t                   page_count;   /* Closed pages */
    uint32_t                   record_count; /* Of the block, the open page included */
    uint32_t                   tombstone_count;
    uint64_t                   payload_bytes;
    struct tac_u128            sum;
    /* private */
    uint32_t record_bytes;        /* Fixed layout: key and value */
    uint32_t record_units;        /* Fixed layout: units of a page */
    uint32_t capacity;            /* Fixed layout: records of a page without tombstones */
    uint32_t capacity_tombstones; /* Fixed layout: records of a page with tombstones */
    uint32_t unit_next;           /* First unit behind the open page */
    uint32_t page_records;        /* Of the open page; 0: no page is open */
    uint32_t page_flags;
    uint32_t page_begin; /* Offsets in the block, of the open page: its first byte, */
    uint32_t page_front; /* first free byte, */
    uint32_t page_back;  /* and (variable layout) first byte behind the free ones */
};

/* Where a record would go. */
enum tac_value_place {
    TAC_PLACE_PAGE,      /* Into the open page */
    TAC_PLACE_NEW_PAGE,  /* Into a new page of the block */
    TAC_PLACE_NEW_BLOCK, /* The block is full for it, or none is begun */
};

void tac_value_block_builder_init(struct tac_value_block_builder *builder,
                                  const struct tac_geometry      *geometry,
                                  const struct tac_layout        *layout);
/* data: block_size bytes; need not be zero. */
void                 tac_value_block_begin(struct tac_value_block_builder *builder, uint8_t *data);
enum tac_value_place tac_value_block_place(const struct tac_value_block_builder *builder,
                                           const struct tac_record              *record);
/* False: the block is full (nothing changed); seal it and begin another. `hash` is the record's. */
bool tac_value_block_append(struct tac_value_block_builder *builder,
                            const struct tac_record *record, struct tac_u128 hash);
/* Key of the last record appended to the block; points into it. There must be one. */
struct tac_bytes tac_value_block_last_key(const struct tac_value_block_builder *builder);
/* Closes the last page, zeroes what is unused, writes the header page. Returns the block's
 * checksum. The builder then has no block. */
struct tac_u128 tac_value_block_seal(struct tac_value_block_builder *builder, uint32_t tree,
                                     uint64_t address, uint64_t sequence);

/* Most payload bytes that any block of this layout can hold, and the least that a full block of
 * next-fit packing holds. The least is far below the usual (tombstones, tiny records): reservations
 * use tac_value_blocks_max, which knows the number of records. */
uint64_t tac_value_block_payload_max(const struct tac_geometry *geometry,
                                     const struct tac_layout   *layout);
uint64_t tac_value_block_payload_full_min(const struct tac_geometry *geometry,
                                          const struct tac_layout   *layout);
/* Most blocks that a stream of records fills, of which only the last may end before it is full. */
uint64_t tac_value_blocks_max(const struct tac_geometry *geometry, const struct tac_layout *layout,
                              uint64_t records, uint64_t payload_bytes);
/* Most pages of such a stream. */
uint64_t tac_value_pages_max(const struct tac_geometry *geometry, const struct tac_layout *layout,
                             uint64_t records, uint64_t payload_bytes);

#endif
