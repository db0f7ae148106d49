/* SPDX-License-Identifier: Apache-2.0 */
#include "base/histogram.h"

#include <stddef.h>
#include <string.h>

#include "base/assert.h"

#define OCTAVE_BUCKETS ((uint32_t)1 << TAC_HISTOGRAM_BUCKET_BITS)

/* Values below OCTAVE_BUCKETS are their own bucket. Above, a value is shifted right until one bit
 * over TAC_HISTOGRAM_BUCKET_BITS is left: its leading one and the bucket within its octave. The
 * buckets follow each other without a gap, since octave s begins at OCTAVE_BUCKETS * (s + 1). */
static uint32_t histogram_bucket(uint64_t value_ns)
{
    uint32_t shift;
    uint32_t bucket;

    if (value_ns < OCTAVE_BUCKETS) {
        return (uint32_t)value_ns;
    }
    shift = 63 - (uint32_t)__builtin_clzll(value_ns) - TAC_HISTOGRAM_BUCKET_BITS;
    bucket = OCTAVE_BUCKETS * shift + (uint32_t)(value_ns >> shift);
    tac_assert(bucket < TAC_HISTOGRAM_BUCKETS_MAX);
    return bucket;
}

/* The largest value of a bucket: what a percentile that falls into it says. */
static uint64_t histogram_bucket_last(uint32_t bucket)
{
    uint32_t shift;
    uint64_t first;

    tac_assert(bucket < TAC_HISTOGRAM_BUCKETS_MAX);
    if (bucket < OCTAVE_BUCKETS) {
        return bucket;
    }
    shift = bucket / OCTAVE_BUCKETS - 1;
    first = (uint64_t)(bucket - OCTAVE_BUCKETS * shift) << shift;
    return first + (((uint64_t)1 << shift) - 1);
}

void tac_histogram_init(struct tac_histogram *histogram)
{
    memset(histogram, 0, sizeof *histogram);
}

void tac_histogram_record(struct tac_histogram *histogram, uint64_t value_ns)
{
    histogram->bucket_counts[histogram_bucket(value_ns)]++;
    histogram->count++;
    histogram->sum_ns += value_ns;
    if (value_ns > histogram->max_ns) {
        histogram->max_ns = value_ns;
    }
}

void tac_histogram_merge(struct tac_histogram *target, const struct tac_histogram *source)
{
    tac_assert(target != source);
    for (uint32_t i = 0; i < TAC_HISTOGRAM_BUCKETS_MAX; i++) {
        target->bucket_counts[i] += source->bucket_counts[i];
    }
    target->count += source->count;
    target->sum_ns += source->sum_ns;
    if (source->max_ns > target->max_ns) {
        target->max_ns = source->max_ns;
    }
}

uint64_t tac_histogram_percentile(const struct tac_histogram *histogram, double percent)
{
    double   exact_rank = (double)histogram->count * (percent / 100.0);
    uint64_t rank;
    uint64_t seen = 0;

    tac_assert(percent >= 0.0 && percent <= 100.0);
    if (exact_rank >= (double)histogram->count) {
        return histogram->max_ns;
    }
    rank = (uint64_t)exact_rank;
    if (rank == 0 || (double)rank < exact_rank) {
        rank++;
    }
    for (uint32_t i = 0; i < TAC_HISTOGRAM_BUCKETS_MAX; i++) {
        seen += histogram->bucket_counts[i];
        if (seen >= rank) {
            uint64_t last = histogram_bucket_last(i);

            return last < histogram->max_ns ? last : histogram->max_ns;
        }
    }
    tac_unreachable(); /* The buckets sum to the count. */
}

uint64_t tac_histogram_max(const struct tac_histogram *histogram) { return histogram->max_ns; }

uint64_t tac_histogram_mean(const struct tac_histogram *histogram)
{
    if (histogram->count == 0) {
        return 0;
    }
    tac_assert(histogram->sum_ns / histogram->count <= histogram->max_ns);
    return (uint64_t)(histogram->sum_ns / histogram->count);
}

uint64_t tac_histogram_count(const struct tac_histogram *histogram) { return histogram->count; }
