/* SPDX-License-Identifier: Apache-2.0 */
/* record -- a key with its value or its tombstone, and the hash that stands for it in the sums by
 * which every flush and compaction proves that it neither lost nor invented a record. */
#ifndef TACTUS_LSM_RECORD_H
#define TACTUS_LSM_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/checksum.h"
#include "tactus.h"

/* Borrowed bytes. A tombstone has no value: value.size is 0 in every layout. */
struct tac_record {
    struct tac_bytes key;
    struct tac_bytes value;
    bool             is_tombstone;
};

/* The hash of a record whose key and value lie one behind the other at `bytes`. The seed holds what
 * the bytes do not tell: where the key ends, and whether the record is a tombstone. */
static inline struct tac_u128 tac_record_hash(const uint8_t *bytes, uint32_t key_size,
                                              uint32_t value_size, bool is_tombstone)
{
    uint64_t seed = key_size | (uint64_t)is_tombstone << 32;

    tac_assert(key_size > 0 && key_size <= TACTUS_KEY_SIZE_MAX);
    tac_assert(!is_tombstone || value_size == 0);
    return tac_checksum(bytes, (size_t)key_size + value_size, seed);
}

#endif
