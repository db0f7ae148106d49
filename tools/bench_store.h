/* SPDX-License-Identifier: Apache-2.0 */
/* bench_store -- the stores that `tactus bench` measures: made, marked with what was put into them,
 * found again.
 *
 * The records are in the tree "default". When all are in, and nothing is timed any more, a tree
 * "bench" gets the mark: shape, number, seed and sums, as text. A store without a mark is somebody
 * else's, or its ingest did not end; it is never measured.
 *
 * Every function that returns int returns an exit status and has said why it is not 0. */
#ifndef TACTUS_TOOLS_BENCH_STORE_H
#define TACTUS_TOOLS_BENCH_STORE_H

#include <limits.h>

#include "tools/bench_workload.h"

struct tac_bench_store {
    /* Fixed by the caller. */
    const char                   *path; /* NULL: a temporary file, which has no name once open */
    struct tactus_options         options;
    const struct tac_bench_shape *shape;
    uint64_t                      records;
    uint64_t                      seed;
    bool                          may_overwrite;
    /* Set here. */
    struct tactus        *store;
    uint32_t              tree;
    struct tac_bench_sums sums; /* What the mark says, or will say */
};

/* Makes the store, opens it, and makes the tree: empty. Overwrites only a Tactus store that nobody
 * has open. */
int tac_bench_store_make(struct tac_bench_store *bench) TAC_MUST_CHECK;

/* With bench->sums: marks the store and settles it, so that all of it is durable. */
int tac_bench_store_mark(struct tac_bench_store *bench) TAC_MUST_CHECK;

bool tac_bench_store_exists(const struct tac_bench_store *bench);

/* Opens a store that was marked for the same shape, records and seed; reads the sums. */
int tac_bench_store_open(struct tac_bench_store *bench) TAC_MUST_CHECK;

/* Nothing is written: what tac_bench_store_mark made durable stays as it is, digest included. */
void tac_bench_store_close(struct tac_bench_store *bench);

#endif
