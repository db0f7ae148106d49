/* SPDX-License-Identifier: Apache-2.0 */
/* histogram -- latencies in fixed memory: every power of two is cut into 64 equal buckets.
 *
 * A percentile is never below the true one and at most 1/64 (1.6 %) above it; below 128 ns, and at
 * the maximum, it is exact. Takes every 64-bit number; 30 KiB each.
 *
 * Thread     one histogram belongs to one thread; merge them when the threads have ended.
 */
#ifndef TACTUS_BASE_HISTOGRAM_H
#define TACTUS_BASE_HISTOGRAM_H

#include <stdint.h>

enum {
    TAC_HISTOGRAM_BUCKET_BITS = 6, /* 2^6 buckets a power of two: the precision */
    TAC_HISTOGRAM_BUCKETS_MAX = (64 - TAC_HISTOGRAM_BUCKET_BITS + 1) << TAC_HISTOGRAM_BUCKET_BITS,
};

struct tac_histogram {
    uint64_t          count;
    uint64_t          max_ns;
    unsigned __int128 sum_ns; /* Cannot overflow: 2^64 records of 2^64 ns */
    uint64_t          bucket_counts[TAC_HISTOGRAM_BUCKETS_MAX];
};

void tac_histogram_init(struct tac_histogram *histogram);
void tac_histogram_record(struct tac_histogram *histogram, uint64_t value_ns);

/* Adds everything that source holds to target; two different histograms. */
void tac_histogram_merge(struct tac_histogram *target, const struct tac_histogram *source);

/* The smallest latency that percent (0 to 100) of the records do not exceed; 0 percent is the
 * smallest record. All four are 0 for an empty histogram. */
uint64_t tac_histogram_percentile(const struct tac_histogram *histogram, double percent);
uint64_t tac_histogram_max(const struct tac_histogram *histogram);
uint64_t tac_histogram_mean(const struct tac_histogram *histogram); /* Exact, rounded down */
uint64_t tac_histogram_count(const struct tac_histogram *histogram);

#endif
