/* SPDX-License-Identifier: Apache-2.0 */
/* bench_timeline -- how long puts took, beat by beat, for a plot of whole bars.
 *
 * Ownership  Memory for all slices is taken and touched when it is opened: noting a put allocates
 *            nothing.
 */
#ifndef TACTUS_TOOLS_BENCH_TIMELINE_H
#define TACTUS_TOOLS_BENCH_TIMELINE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/units.h"

struct tac_bench_slice {
    uint64_t puts;
    uint64_t end_ns; /* Of the last one */
    uint64_t sum_ns;
    uint64_t longest_ns;
};

struct tac_bench_timeline {
    struct tac_bench_slice *slices; /* NULL: none is kept */
    uint64_t                slice_count;
    uint64_t                puts_per_slice; /* The last slice may have fewer */
};

/* For `puts` puts, at least one. False: there is no memory. */
bool tac_bench_timeline_open(struct tac_bench_timeline *timeline, uint64_t puts,
                             uint64_t puts_per_slice);
void tac_bench_timeline_close(struct tac_bench_timeline *timeline);

/* Put number `put`, from 0 on, took so long. */
static inline void tac_bench_timeline_add(struct tac_bench_timeline *timeline, uint64_t put,
                                          uint64_t begin_ns, uint64_t end_ns)
{
    struct tac_bench_slice *slice = &timeline->slices[put / timeline->puts_per_slice];

    tac_assert_slow(put / timeline->puts_per_slice < timeline->slice_count);
    slice->puts++;
    slice->end_ns = end_ns;
    slice->sum_ns += end_ns - begin_ns;
    slice->longest_ns = tac_max_u64(slice->longest_ns, end_ns - begin_ns);
}

/* A line for each slice, its fields separated by tabs: puts up to its end, seconds from begin_ns to
 * it, and of its puts the mean and the longest, in µs. Errors are the stream's. */
void tac_bench_timeline_write(const struct tac_bench_timeline *timeline, uint64_t begin_ns,
                              FILE *out);

#endif
