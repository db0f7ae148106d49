/* SPDX-License-Identifier: Apache-2.0 */
/* Filters: no key is ever missed, strangers rarely pass, and the bytes are those of the format. */
#include "lsm/filter.h"

#include <stdlib.h>

#include "base/prng.h"
#include "base/units.h"
#include "tests/lib/tap.h"

#define KEYS_MAX 40000
#define STRANGERS 200000

static uint32_t hashes[KEYS_MAX];

static uint32_t number_hash(uint64_t number)
{
    return tac_filter_hash((struct tac_bytes){(const uint8_t *)&number, sizeof number});
}

static bool may_contain(const uint8_t *filter, uint64_t bytes, uint32_t hash, uint32_t bits)
{
    return tac_filter_line_may_contain(
        filter + tac_filter_line(hash, bytes) * TAC_FILTER_LINE_BYTES, hash, bits);
}

/* Percent of strangers that a filter of that many keys lets pass; negative: a key was missed. */
static double false_rate(uint64_t key_count, uint32_t bits)
{
    uint64_t bytes = tac_filter_bytes(key_count, bits);
    uint8_t *filter = malloc(bytes);
    uint32_t passed = 0;

    if (filter == NULL) {
        tap_bail("out of memory");
    }
    memset(filter, 0xff, bytes);
    for (uint64_t i = 0; i < key_count; i++) {
        hashes[i] = number_hash(i);
    }
    tac_filter_build(&filter, (uint32_t)(bytes / TAC_FILTER_LINE_BYTES), bytes, hashes, key_count,
                     bits);
    for (uint64_t i = 0; i < key_count; i++) {
        if (!may_contain(filter, bytes, hashes[i], bits)) {
            free(filter);
            return -1;
        }
    }
    for (uint64_t i = 0; i < STRANGERS; i++) {
        passed += may_contain(filter, bytes, number_hash(i << 32 | 0x80000000u), bits);
    }
    free(filter);
    return 100.0 * passed / STRANGERS;
}

static void test_rates(void)
{
    bool   complete = true, falling = true;
    double previous = 100;
    double rate;

    for (uint32_t bits = 1; bits <= TAC_FILTER_BITS_MAX; bits++) {
        rate = false_rate(KEYS_MAX, bits);
        complete = complete && rate >= 0 && false_rate(1, bits) >= 0 && false_rate(777, bits) >= 0;
        falling = falling && rate <= previous;
        previous = rate;
    }
    tap_ok(complete, "no key is missed, with 1 to 20 bits");
    tap_ok(falling, "more bits let fewer strangers pass");
    rate = false_rate(KEYS_MAX, 10);
    tap_diag("10 bits: %.2f %%", rate);
    tap_ok(rate > 0.3 && rate < 1.3, "about one stranger in a hundred passes at 10 bits");
}

static void test_sizes(void)
{
    bool right = tac_filter_bytes(0, 10) == 0 && tac_filter_bytes(1000, 0) == 0 &&
                 tac_filter_bytes(1, 1) == 64 && tac_filter_bytes(512, 1) == 64 &&
                 tac_filter_bytes(513, 1) == 128 && tac_filter_bytes(1000, 10) == 1280;
    bool within = true;

    for (uint64_t i = 0; i < 1000; i++) {
        uint32_t hash = number_hash(i);

        within = within && tac_filter_line(hash, 64) == 0 && tac_filter_line(hash, 128) <= 1 &&
                 tac_filter_line(UINT32_MAX, 64 * (i + 1)) == i;
    }
    tap_ok(right, "a filter is a whole number of lines with the bits asked for");
    tap_ok(within, "every hash has a line, the highest the last one");
}

/* Lines spread over blocks are the lines of the filter in one piece. */
static void test_segments(void)
{
    static uint8_t whole[200 * TAC_FILTER_LINE_BYTES];
    static uint8_t parts[4][63 * TAC_FILTER_LINE_BYTES];
    uint8_t       *one = whole;
    uint8_t       *four[] = {parts[0], parts[1], parts[2], parts[3]};
    bool           equal = true;

    memset(parts, 0x55, sizeof parts);
    for (uint64_t i = 0; i < 10000; i++) {
        hashes[i] = number_hash(i);
    }
    tac_filter_build(&one, 200, sizeof whole, hashes, 10000, 10);
    tac_filter_build(four, 63, sizeof whole, hashes, 10000, 10);
    for (uint32_t line = 0; line < 200; line++) {
        equal = equal && memcmp(whole + line * TAC_FILTER_LINE_BYTES,
                                parts[line / 63] + line % 63 * TAC_FILTER_LINE_BYTES,
                                TAC_FILTER_LINE_BYTES) == 0;
    }
    tap_ok(equal, "a filter in several segments has the lines of one in one piece");
    tap_ok(parts[3][11 * TAC_FILTER_LINE_BYTES] == 0x55, "nothing is written behind the last line");
}

/* The format: a change here makes every filter on disk useless. The numbers were computed apart
 * from this code, from the text of docs/FORMAT.md. */
static void test_format(void)
{
    uint8_t  filter[2 * TAC_FILTER_LINE_BYTES];
    uint8_t *one = filter;
    uint32_t hash = tac_filter_hash((struct tac_bytes){(const uint8_t *)"tactus", 6});
    /* Six probes with 10 bits per key, twelve with 20 */
    uint32_t bits[] = {239, 341, 405, 109, 487, 438, 196, 466, 305, 378, 153, 183};
    bool     same = hash == 0x4e048458u && tac_filter_line(hash, sizeof filter) == 0;

    for (uint32_t count = 6; count <= 12; count += 6) {
        tac_filter_build(&one, 2, sizeof filter, &hash, 1, count == 6 ? 10 : 20);
        for (uint32_t i = 0; i < count; i++) {
            same = same && (filter[bits[i] / 8] >> bits[i] % 8 & 1) == 1;
        }
        for (uint32_t i = 0; i < count; i++) {
            filter[bits[i] / 8] &= (uint8_t) ~(1u << bits[i] % 8);
        }
        for (uint32_t i = 0; i < sizeof filter; i++) {
            same = same && filter[i] == 0;
        }
    }
    tap_ok(same, "the hash, line and bits of a key are those of the format");
}

int main(void)
{
    tap_plan(0);
    test_sizes();
    test_rates();
    test_segments();
    test_format();
    return tap_done();
}
