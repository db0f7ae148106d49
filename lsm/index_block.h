/* SPDX-License-Identifier: Apache-2.0 */
/* index_block -- exactly one per table: where its value blocks are, what each page begins with, and
 * the filter where it fits (else it names 1 to 8 filter blocks).
 *
 * A separator is the shortest byte string above the previous page's last key and not above this
 * page's first; the table's first page has the empty one. So the last page whose separator is <=
 * key is the only one that can hold the key. */
#ifndef TACTUS_LSM_INDEX_BLOCK_H
#define TACTUS_LSM_INDEX_BLOCK_H

#include "lsm/filter.h"
#include "lsm/value_block.h"

#define TAC_FILTER_BLOCKS_MAX 8

struct tac_index_value_block {
    struct tac_block_reference reference;
    uint32_t                   page_first; /* Its first page in the table's numbering */
    uint32_t                   page_count;
    uint32_t                   record_count;
    uint32_t                   tombstone_count;
    uint64_t                   payload_bytes;
    struct tac_u128            sum;
};

/* A verified index block in memory. */
struct tac_index_block {
    const uint8_t  *filter; /* In the index block; NULL when in filter blocks or none */
    uint32_t        filter_bytes; /* Of the whole filter; 0: the table has none */
    uint32_t        filter_bits_per_key;
    /* What finding a page looks at lies together. */
    const uint8_t  *data;
    uint32_t        page_count;
    uint32_t        value_block_count;
    uint32_t        offset_pages, offset_prefixes, offset_heap; /* Private */
    uint32_t        block_size;
    uint64_t        record_count, tombstone_count, payload_bytes;
    struct tac_u128 sum;
    uint32_t        filter_block_count;
};

/* Checks everything that later reads rely on: counts, places, the order of separators, that the
 * parts add up to the totals. The checksum must have been checked. */
TAC_MUST_CHECK int tac_index_block_decode(struct tac_index_block *index, const uint8_t *data,
                                          const struct tac_geometry *geometry, uint64_t address,
                                          struct tac_error *error);
/* What was decoded, in a copy, for a copy of the block. */
void tac_index_block_move(struct tac_index_block *index, const uint8_t *data);
struct tac_index_value_block tac_index_value_block(const struct tac_index_block *index,
                                                   uint32_t                      block);
struct tac_block_reference   tac_index_filter_block(const struct tac_index_block *index,
                                                    uint32_t                      filter_block);
struct tac_page_entry        tac_index_page(const struct tac_index_block *index, uint32_t page);
/* The page's separator; for page 0 it is empty. */
struct tac_bytes tac_index_separator(const struct tac_index_block *index, uint32_t page);
/* What finding the key's page looks at comes into the processor's caches, in two steps for which
 * nothing waits: first what the guess is made of, then what lies where it leads. */
void tac_index_prefetch_ends(const struct tac_index_block *index);
void tac_index_prefetch_guess(const struct tac_index_block *index, struct tac_bytes key);
/* The only page that may hold the key: the last one whose separator is <= key. */
uint32_t tac_index_find_page(const struct tac_index_block *index, struct tac_bytes key);
/* About where in the page a record with the key would be, if keys are spread evenly: below the
 * page's record_count. */
uint32_t tac_index_guess_record(const struct tac_index_block *index, uint32_t page,
                                struct tac_bytes key);
/* The value block that holds a page, and a value block's address. */
uint64_t tac_index_block_address(const struct tac_index_block *index, uint32_t block);
uint32_t tac_index_block_of_page(const struct tac_index_block *index, uint32_t page);

#endif
