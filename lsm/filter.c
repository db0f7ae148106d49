/* SPDX-License-Identifier: Apache-2.0 */
#include "lsm/filter.h"

#include "base/mutant.h"
#include "base/units.h"

#define LINE_BITS_LOG2 9 /* 512 bits */
#define WORD_PROBES 7    /* Nine bits each out of a mixed word of 64 */

tac_static_assert(1 << LINE_BITS_LOG2 == TAC_FILTER_LINE_BYTES * 8, "a probe names a bit");

/* Probes per key. Without lines bits_per_key * ln 2 would be best; lines fill unevenly, and in a
 * full line fewer probes are wrong less often. */
static uint32_t filter_probes(uint32_t bits_per_key)
{
    uint32_t probes = (bits_per_key * 3 + 2) / 5;

    tac_assert(bits_per_key >= 1 && bits_per_key <= TAC_FILTER_BITS_MAX);
    tac_assert(probes >= 1 && probes <= 2 * WORD_PROBES);
    return probes;
}

/* 64 bits to take probes from. The line is chosen by the hash's high bits, so the probes come from
 * a mixture of all (the finalizer of MurmurHash3 by Austin Appleby, public domain). */
static uint64_t probe_word(uint32_t hash, uint32_t round)
{
    uint64_t word = ((uint64_t)round << 32 | hash) + 1;

    word = (word ^ word >> 33) * 0xff51afd7ed558ccdu;
    word = (word ^ word >> 33) * 0xc4ceb9fe1a85ec53u;
    return word ^ word >> 33;
}

uint64_t tac_filter_bytes(uint64_t key_count, uint32_t bits_per_key)
{
    tac_assert(bits_per_key <= TAC_FILTER_BITS_MAX);
    tac_assert(key_count < UINT64_MAX / 64);
    return tac_round_up(tac_div_ceil(key_count * bits_per_key, 8), TAC_FILTER_LINE_BYTES);
}

/* The next probe's bit of the line. */
static inline uint32_t probe_next(uint64_t *word)
{
    uint32_t bit = (uint32_t)*word & ((1u << LINE_BITS_LOG2) - 1);

    *word >>= LINE_BITS_LOG2;
    return bit;
}

static inline void line_add(uint8_t *line, uint32_t hash, uint32_t probes)
{
    for (uint32_t round = 0; probes > 0; round++) {
        uint64_t word = probe_word(hash, round);
        uint32_t count = probes < WORD_PROBES ? probes : WORD_PROBES;

        for (uint32_t i = 0; i < count; i++) {
            uint32_t bit = probe_next(&word);

            line[bit / 8] |= (uint8_t)(1u << bit % 8);
        }
        probes -= count;
    }
}

void tac_filter_build(uint8_t *const *segments, uint32_t segment_lines, uint64_t filter_bytes,
                      const uint32_t *hashes, uint64_t hash_count, uint32_t bits_per_key)
{
    uint32_t probes = filter_probes(bits_per_key);
    uint64_t line_count = filter_bytes / TAC_FILTER_LINE_BYTES;

    tac_assert(filter_bytes > 0 && filter_bytes % TAC_FILTER_LINE_BYTES == 0);
    tac_assert(segment_lines > 0);
    for (uint64_t line = 0; line < line_count; line += segment_lines) {
        memset(segments[line / segment_lines], 0,
               tac_min_u64(segment_lines, line_count - line) * TAC_FILTER_LINE_BYTES);
    }
    for (uint64_t i = 0; i < hash_count - TAC_MUTANT(FILTER_SHORT); i++) {
        uint32_t line = (uint32_t)tac_filter_line(hashes[i], filter_bytes);
        uint8_t *segment = segments[0];

        if (line >= segment_lines) {
            segment = segments[line / segment_lines];
            line %= segment_lines;
        }
        line_add(segment + (size_t)line * TAC_FILTER_LINE_BYTES, hashes[i], probes);
    }
}

void tac_filter_probes_make(struct tac_filter_probes *probes, uint32_t hash, uint32_t bits_per_key)
{
    *probes = (struct tac_filter_probes){.bits_per_key = bits_per_key};
    line_add((uint8_t *)probes->words, hash, filter_probes(bits_per_key));
}

bool tac_filter_line_may_contain(const uint8_t *line, uint32_t hash, uint32_t bits_per_key)
{
    struct tac_filter_probes probes;

    tac_filter_probes_make(&probes, hash, bits_per_key);
    return tac_filter_line_has(line, &probes);
}
