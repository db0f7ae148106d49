/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bench_timeline.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

bool tac_bench_timeline_open(struct tac_bench_timeline *timeline, uint64_t puts,
                             uint64_t puts_per_slice)
{
    tac_assert(puts > 0 && puts_per_slice > 0);
    timeline->puts_per_slice = puts_per_slice;
    timeline->slice_count = tac_div_ceil(puts, puts_per_slice);
    timeline->slices = malloc(timeline->slice_count * sizeof *timeline->slices);
    if (timeline->slices != NULL) {
        memset(timeline->slices, 0, timeline->slice_count * sizeof *timeline->slices);
    }
    return timeline->slices != NULL;
}

void tac_bench_timeline_close(struct tac_bench_timeline *timeline)
{
    free(timeline->slices);
    timeline->slices = NULL;
}

void tac_bench_timeline_write(const struct tac_bench_timeline *timeline, uint64_t begin_ns,
                              FILE *out)
{
    uint64_t puts = 0;

    fputs("# puts\tseconds\tmean_us\tlongest_us\n", out);
    for (uint64_t i = 0; i < timeline->slice_count; i++) {
        const struct tac_bench_slice *slice = &timeline->slices[i];

        puts += slice->puts;
        fprintf(out, "%" PRIu64 "\t%.6f\t%.3f\t%.3f\n", puts,
                (double)(slice->end_ns - begin_ns) / 1e9,
                (double)slice->sum_ns / (double)slice->puts / 1e3, (double)slice->longest_ns / 1e3);
    }
}
