/* SPDX-License-Identifier: Apache-2.0 */
/* index_format -- where things are inside an index block: what its builder and its reader share.
 * Private to lsm/. Byte tables: docs/FORMAT.md. */
#ifndef TACTUS_LSM_INDEX_FORMAT_H
#define TACTUS_LSM_INDEX_FORMAT_H

#include "lsm/index_block.h"
#include "lsm/value_page.h"

/* Behind the common header; then the value block entries, page entries, prefixes, the separators'
 * bytes, and on a multiple of 64 the filter where it is in the index block. */
enum {
    TAC_INDEX_OFFSET_BLOCKS = 64,         /* u32, value blocks */
    TAC_INDEX_OFFSET_PAGES = 68,          /* u32, pages of all value blocks */
    TAC_INDEX_OFFSET_RECORDS = 72,        /* u64 */
    TAC_INDEX_OFFSET_TOMBSTONES = 80,     /* u64 */
    TAC_INDEX_OFFSET_PAYLOAD = 88,        /* u64 */
    TAC_INDEX_OFFSET_SUM = 96,            /* u128 */
    TAC_INDEX_OFFSET_HEAP_BYTES = 112,    /* u32, of all separators */
    TAC_INDEX_OFFSET_FILTER_BYTES = 116,  /* u32 */
    TAC_INDEX_OFFSET_FILTER_BITS = 120,   /* u16, per key */
    TAC_INDEX_OFFSET_FILTER_BLOCKS = 122, /* u16 */
    TAC_INDEX_OFFSET_FILTER_FIRST = 128,  /* TAC_FILTER_BLOCKS_MAX references */
    TAC_INDEX_HEADER_BYTES = 320,
    TAC_REFERENCE_BYTES = 24, /* u64 address, u128 checksum */
};

/* A value block entry. */
enum {
    TAC_INDEX_BLOCK_BYTES = 64,
    TAC_INDEX_BLOCK_OFFSET_REFERENCE = 0,
    TAC_INDEX_BLOCK_OFFSET_PAGE_FIRST = 24, /* u32 */
    TAC_INDEX_BLOCK_OFFSET_PAGES = 28,      /* u32 */
    TAC_INDEX_BLOCK_OFFSET_SUM = 32,        /* u128 */
    TAC_INDEX_BLOCK_OFFSET_RECORDS = 48,    /* u32 */
    TAC_INDEX_BLOCK_OFFSET_TOMBSTONES = 52, /* u32 */
    TAC_INDEX_BLOCK_OFFSET_PAYLOAD = 56,    /* u64 */
};

/* A page entry: that of the value block's header page, then where the separator is. */
enum {
    TAC_INDEX_PAGE_BYTES = 32,
    TAC_INDEX_PAGE_OFFSET_SEPARATOR = 24,      /* u32, from the first byte of all separators */
    TAC_INDEX_PAGE_OFFSET_SEPARATOR_SIZE = 28, /* u16 */
    TAC_INDEX_PAGE_OFFSET_BLOCK = 30,          /* u16, the value block that holds it */
};

#define TAC_INDEX_PREFIX_BYTES 8

tac_static_assert(TAC_INDEX_OFFSET_FILTER_FIRST + TAC_FILTER_BLOCKS_MAX * TAC_REFERENCE_BYTES ==
                      TAC_INDEX_HEADER_BYTES,
                  "the filter references end the header");
tac_static_assert(TAC_INDEX_HEADER_BYTES % 64 == 0, "value block entries are cache lines");

static inline struct tac_block_reference tac_reference_load(const uint8_t *p)
{
    return (struct tac_block_reference){
        .address = tac_load_u64(p),
        .checksum = tac_load_u128(p + 8),
    };
}

static inline void tac_reference_store(uint8_t *p, const struct tac_block_reference *reference)
{
    tac_store_u64(p, reference->address);
    tac_store_u128(p + 8, reference->checksum);
}

#endif
