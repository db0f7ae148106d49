/* SPDX-License-Identifier: Apache-2.0 */
/* The histogram against a sorted array of the same values. */
#include "base/histogram.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/prng.h"
#include "base/units.h"
#include "tests/lib/tap.h"

#define VALUES_MAX 20000

static struct tac_histogram first;
static struct tac_histogram second;
static uint64_t             values[VALUES_MAX];

static int value_compare(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;

    return (left > right) - (left < right);
}

static void test_empty(void)
{
    tac_histogram_init(&first);
    tap_ok(tac_histogram_count(&first) == 0 && tac_histogram_max(&first) == 0 &&
               tac_histogram_mean(&first) == 0 && tac_histogram_percentile(&first, 99.0) == 0,
           "an empty histogram says 0 everywhere");
}

/* 0 and 100 percent of {low, high} show the bounds of low's bucket: exact below 128, and within
 * 1/64 at both sides of every power of two. */
static void test_edges(void)
{
    bool within = true;
    bool exact = true;

    for (uint32_t bit = 0; bit < 64; bit++) {
        for (int offset = -1; offset <= 1; offset++) {
            uint64_t value = ((uint64_t)1 << bit) + (uint64_t)offset;
            uint64_t got;

            tac_histogram_init(&first);
            tac_histogram_record(&first, value);
            tac_histogram_record(&first, UINT64_MAX);
            got = tac_histogram_percentile(&first, 0);
            if (got < value || got - value > value / 64) {
                tap_diag("%" PRIu64 " reported as %" PRIu64, value, got);
                within = false;
            }
            exact = exact && (value >= 128 || got == value) &&
                    tac_histogram_percentile(&first, 100) == UINT64_MAX;
        }
    }
    tap_ok(within, "either side of every power of two is reported within 1/64");
    tap_ok(exact, "values below 128 and the maximum are exact");
}

static bool percentiles_agree(const struct tac_histogram *histogram, uint32_t count)
{
    static const double percents[] = {0, 0.01, 1, 25, 50, 90, 99, 99.9, 99.99, 100};

    qsort(values, count, sizeof values[0], value_compare);
    for (uint32_t i = 0; i < TAC_ARRAY_COUNT(percents); i++) {
        double   exact_rank = count * (percents[i] / 100.0);
        uint32_t rank = (uint32_t)exact_rank + (exact_rank > (uint32_t)exact_rank);
        uint64_t want = values[rank == 0 ? 0 : rank - 1];
        uint64_t got = tac_histogram_percentile(histogram, percents[i]);

        if (got < want || got - want > want / 64) {
            tap_diag("p%g of %u values: %" PRIu64 " for %" PRIu64, percents[i], count, got, want);
            return false;
        }
    }
    return true;
}

static void test_model(struct tac_prng *prng)
{
    bool percentiles = true;
    bool totals = true;

    for (uint32_t count = 1; count <= VALUES_MAX; count = count * 3 + 1) {
        unsigned __int128 sum = 0;

        tac_histogram_init(&first);
        for (uint32_t i = 0; i < count; i++) {
            values[i] = tac_prng_next(prng) >> tac_prng_below(prng, 64);
            sum += values[i];
            tac_histogram_record(&first, values[i]);
        }
        percentiles = percentiles && percentiles_agree(&first, count);
        totals = totals && tac_histogram_count(&first) == count &&
                 tac_histogram_max(&first) == values[count - 1] &&
                 tac_histogram_mean(&first) == (uint64_t)(sum / count);
    }
    tap_ok(percentiles, "percentiles of random values agree with a sorted array");
    tap_ok(totals, "count, maximum and mean are exact");
}

static void test_merge(struct tac_prng *prng)
{
    static struct tac_histogram whole;
    bool                        same = true;

    tac_histogram_init(&whole);
    tac_histogram_init(&first);
    tac_histogram_init(&second);
    for (uint32_t i = 0; i < VALUES_MAX; i++) {
        uint64_t value = tac_prng_below(prng, 1000 * 1000);

        tac_histogram_record(&whole, value);
        tac_histogram_record(i % 3 == 0 ? &first : &second, value);
    }
    tac_histogram_merge(&first, &second);
    for (double percent = 0; percent <= 100; percent += 0.5) {
        same = same && tac_histogram_percentile(&first, percent) ==
                           tac_histogram_percentile(&whole, percent);
    }
    tap_ok(same && tac_histogram_count(&first) == VALUES_MAX &&
               tac_histogram_max(&first) == tac_histogram_max(&whole) &&
               tac_histogram_mean(&first) == tac_histogram_mean(&whole),
           "two merged histograms equal one that saw everything");

    tac_histogram_init(&second);
    tac_histogram_merge(&second, &first);
    tap_ok(tac_histogram_max(&second) == tac_histogram_max(&whole) &&
               tac_histogram_percentile(&second, 50) == tac_histogram_percentile(&whole, 50),
           "merging into an empty histogram copies");
}

int main(void)
{
    struct tac_prng prng;

    tap_plan(0);
    prng.state = tap_seed();
    test_empty();
    test_edges();
    test_model(&prng);
    test_merge(&prng);
    return tap_done();
}
