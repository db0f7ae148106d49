/* SPDX-License-Identifier: Apache-2.0 */
/* bench_workload -- what `tactus bench` does to a store: records made from numbers, and operations
 * on them, timed one by one.
 *
 * Records    Record i is a function of (seed, i), so that a reader can make it again. The first
 *            eight bytes of its key are a bijection of i: no two records share a key, and a number
 *            that was never written gives a key that is certainly not there.
 * Time       The clock is read once per operation: the end of one is the start of the next. So the
 *            latencies of a thread add up to its time; each holds, beside the engine, the making
 *            of the record, one look at the clock and one count in the histogram.
 * Results    Every operation checks what it got; a wrong answer ends the run with an error.
 */
#ifndef TACTUS_TOOLS_BENCH_WORKLOAD_H
#define TACTUS_TOOLS_BENCH_WORKLOAD_H

#include <stdint.h>

#include "base/assert.h"
#include "base/histogram.h"
#include "tactus.h"

#define TAC_BENCH_KEY_SIZE_MAX 40
#define TAC_BENCH_VALUE_SIZE_MAX 400
#define TAC_BENCH_SCAN_RECORDS 100
#define TAC_BENCH_READERS_MAX 256

/* ---- records -------------------------------------------------------------------------------- */

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

/* ---- runs ----------------------------------------------------------------------------------- */

enum tac_bench_operation {
    TAC_BENCH_PUT,  /* The next record; one thread */
    TAC_BENCH_GET,  /* A random record */
    TAC_BENCH_MISS, /* A random key that is not there */
    TAC_BENCH_SCAN, /* TAC_BENCH_SCAN_RECORDS records from a random key on: open, seek, close */
    TAC_BENCH_FULL_SCAN, /* All records */
    TAC_BENCH_MAKE_PUT,  /* What PUT, GET and MISS do without the store: the cost of measuring */
    TAC_BENCH_MAKE_GET,
    TAC_BENCH_MAKE_MISS,
    TAC_BENCH_OPERATIONS_COUNT,
};

struct tac_bench_run {
    struct tactus                *store;
    uint32_t                      tree;
    const struct tac_bench_shape *shape;
    uint64_t                      seed;
    struct tac_bench_sums         sums; /* Of the store; a PUT run needs none */
    enum tac_bench_operation      operation;
    uint64_t                      operations; /* Of all threads together */
    uint32_t                      threads;    /* 1 to TAC_BENCH_READERS_MAX */
    uint64_t                      sequence;   /* Another number draws other random keys */
};

struct tac_bench_result {
    uint64_t              begin_ns; /* Of the first thread */
    uint64_t              end_ns;   /* Of the last thread */
    struct tac_bench_sums sums;     /* Of what was put or read */
    struct tac_histogram  latency;  /* Of the operations */
    int                   code;     /* The first failure, TACTUS_ECORRUPT for a wrong answer … */
    char                  message[TACTUS_MESSAGE_BYTES]; /* … and its text */
};

/* Returns ret_result->code; all of *ret_result is filled in either case. */
int tac_bench_run(const struct tac_bench_run *run,
                  struct tac_bench_result    *ret_result) TAC_MUST_CHECK;

#endif
