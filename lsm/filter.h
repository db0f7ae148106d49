/* SPDX-License-Identifier: Apache-2.0 */
/* filter -- a blocked Bloom filter (Putze, Sanders, Singler 2007): all bits of a key in one cache
 * line, about bits_per_key bits for each. A table's filter is an array of 64-byte lines. */
#ifndef TACTUS_LSM_FILTER_H
#define TACTUS_LSM_FILTER_H

#include "base/bytes.h"
#include "base/units.h"
#include "lsm/block.h"

#define TAC_FILTER_LINE_BYTES 64
#define TAC_FILTER_BITS_MAX 20
#define TAC_FILTER_BITS_SPARE 4

/* The key's hash as filters use it; the same for every table. */
static inline uint32_t tac_filter_hash(struct tac_bytes key)
{
    return (uint32_t)(XXH3_64bits(key.data, key.size) >> 32);
}

/* Bits per key of a table whose index block has room for them. An index block takes a whole block on
 * disk and in the cache, so what is left of it is spent on fewer reads in vain: with ten bits one
 * table in a hundred is read in vain, with fourteen one in five hundred. One step, not as many as
 * fit: tables with the same bits share a get's probes. */
static inline uint32_t tac_filter_bits_with_spare(uint32_t bits_per_key)
{
    uint32_t more = bits_per_key + TAC_FILTER_BITS_SPARE;

    if (bits_per_key == 0) {
        return 0;
    }
    return (uint32_t)tac_min_u64(more, TAC_FILTER_BITS_MAX);
}

/* Bytes of a filter for key_count keys: a multiple of 64; 0 when bits_per_key or key_count is 0. */
uint64_t tac_filter_bytes(uint64_t key_count, uint32_t bits_per_key);
/* Fills a filter from hashes. Its lines lie in segments of segment_lines each, the last one maybe
 * fewer: one segment in an index block, or the filter blocks behind their headers. Any contents. */
void tac_filter_build(uint8_t *const *segments, uint32_t segment_lines, uint64_t filter_bytes,
                      const uint32_t *hashes, uint64_t hash_count, uint32_t bits_per_key);

/* Which 64-byte line of the filter a hash lives in, and whether that line may hold the key. The
 * number of probes is a function of bits_per_key, which the table's index block stores. */
static inline uint64_t tac_filter_line(uint32_t hash, uint64_t filter_bytes)
{
    return (uint64_t)hash * (filter_bytes / TAC_FILTER_LINE_BYTES) >> 32;
}
bool tac_filter_line_may_contain(const uint8_t *line, uint32_t hash, uint32_t bits_per_key);

/* The same for many filters with the same bits_per_key: a key's probes are the same bits of every
 * line. */
struct tac_filter_probes {
    uint64_t words[TAC_FILTER_LINE_BYTES / 8]; /* The line of a filter with this key alone */
    uint32_t bits_per_key;                     /* 0: not made yet */
};
void tac_filter_probes_make(struct tac_filter_probes *probes, uint32_t hash, uint32_t bits_per_key);
static inline bool tac_filter_line_has(const uint8_t *line, const struct tac_filter_probes *probes)
{
    uint64_t missing = 0;

    for (uint32_t i = 0; i < TAC_FILTER_LINE_BYTES / 8; i++) {
        missing |= probes->words[i] & ~tac_load_u64(line + 8 * i);
    }
    return missing == 0;
}

/* A filter block is the common header, then lines: line n of the filter is line n % lines of filter
 * block n / lines, at 64 + 64 * (n % lines). */
static inline uint32_t tac_filter_block_lines(uint32_t block_size)
{
    return block_size / TAC_FILTER_LINE_BYTES - 1;
}

#endif
