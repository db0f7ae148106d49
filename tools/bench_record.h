/* SPDX-License-Identifier: Apache-2.0 */
/* bench_record -- the records that benchmarks put and look for, made from numbers.
 *
 * Record i is a function of (seed, i), so that a reader can make it again. The first eight bytes of
 * its key are a bijection of i: no two records share a key, and a number that was never written
 * gives a key that is certainly not there. No compressor gains from a value. */
#ifndef TACTUS_TOOLS_BENCH_RECORD_H
#define TACTUS_TOOLS_BENCH_RECORD_H

#include <stdint.h>

#include "tactus.h"

#define TAC_BENCH_KEY_SIZE_MAX 40
#define TAC_BENCH_VALUE_SIZE_MAX 400

struct tac_bench_shape {
    const char          *name;
    struct tactus_layout layout;       /* Its sizes are the largest ones */
    uint32_t             key_size_min; /* Equal to the largest in a fixed layout */
    uint32_t             value_size_min;
};

/* NULL: there is none of this name. */
const struct tac_bench_shape *tac_bench_shape_find(const char *name);

/* Filling may write beyond the sizes, never beyond the buffers. */
struct tac_bench_record {
    uint32_t key_size;
    uint32_t value_size;
    uint64_t key_prefix; /* The first eight bytes of the key */
    uint8_t  key[TAC_BENCH_KEY_SIZE_MAX];
    uint8_t  value[TAC_BENCH_VALUE_SIZE_MAX];
};

/* Key and both sizes of record `number`; tac_bench_value_make then makes its value. */
void tac_bench_key_make(const struct tac_bench_shape *shape, uint64_t seed, uint64_t number,
                        struct tac_bench_record *ret_record);
void tac_bench_value_make(struct tac_bench_record *record);

/* A store's UUID as a function of the seed; never all zero. */
void tac_bench_uuid_make(uint64_t seed, uint8_t ret_uuid[TACTUS_UUID_BYTES]);

/* Accounted bytes of the first `records` records, and of the largest record of the shape. */
uint64_t tac_bench_accounted_bytes(const struct tac_bench_shape *shape, uint64_t seed,
                                   uint64_t records);
uint64_t tac_bench_accounted_bytes_max(const struct tac_bench_shape *shape);

/* What all records of a store come to: kept with it, compared by every full scan. */
struct tac_bench_sums {
    uint64_t records;
    uint64_t bytes;      /* Keys and values */
    uint64_t key_prefix; /* Sum of all key_prefix, modulo 2^64 */
};

#endif
