/* SPDX-License-Identifier: Apache-2.0 */
/* bench_workload -- what `tactus bench` does to a store: operations on the records of bench_record,
 * timed one by one.
 *
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
#include "tools/bench_record.h"
#include "tools/bench_timeline.h"

#define TAC_BENCH_SCAN_RECORDS 100
#define TAC_BENCH_LOOKUPS 64
#define TAC_BENCH_READERS_MAX 256

/* ---- runs ----------------------------------------------------------------------------------- */

enum tac_bench_operation {
    TAC_BENCH_PUT,  /* The next record; one thread */
    TAC_BENCH_GET,  /* A random record */
    TAC_BENCH_GET_MANY, /* TAC_BENCH_LOOKUPS random records at once */
    TAC_BENCH_MISS,     /* A random key that is not there */
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
    struct tac_bench_timeline    *timeline;   /* Of a PUT run; NULL: none is wanted */
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
