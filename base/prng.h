/* SPDX-License-Identifier: Apache-2.0 */
/* prng -- splitmix64 (Steele, Lea, Flood, OOPSLA 2014): small, seedable, good enough for tests,
 * benchmarks and UUIDs seeded from the operating system. Never used where bytes on disk depend on
 * chance. */
#ifndef TACTUS_BASE_PRNG_H
#define TACTUS_BASE_PRNG_H

#include <stdint.h>

struct tac_prng {
    uint64_t state;
};

static inline uint64_t tac_mix_u64(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static inline uint64_t tac_prng_next(struct tac_prng *prng)
{
    return tac_mix_u64(prng->state += 0x9e3779b97f4a7c15u);
}

/* A number below bound (> 0); the bias of the multiply-shift is below bound / 2^64. */
static inline uint64_t tac_prng_below(struct tac_prng *prng, uint64_t bound)
{
    return (uint64_t)(((unsigned __int128)tac_prng_next(prng) * bound) >> 64);
}

#endif
