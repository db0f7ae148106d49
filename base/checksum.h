/* SPDX-License-Identifier: Apache-2.0 */
/* checksum -- XXH3-128 (xxHash library) as Tactus uses it: for blocks, for pages, and as the
 * per-record hash whose sums prove that a compaction neither lost nor invented a record.
 *
 * What is short is hashed inline: one call per record is on the merge path (about 7 ns for 128
 * bytes). What is long, the library hashes with the widest vectors that the processor has, where it
 * was built to: pages and blocks two to three times as fast. The values are the same.
 */
#ifndef TACTUS_BASE_CHECKSUM_H
#define TACTUS_BASE_CHECKSUM_H

#ifndef XXH_INLINE_ALL
#define XXH_INLINE_ALL
#endif
#include <xxhash.h>

#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef HAVE_XXH3_128BITS_WITHSEED_DISPATCH
/* xxh_x86dispatch.h declares it, but cannot be included beside what is inlined. */
XXH128_hash_t XXH3_128bits_withSeed_dispatch(const void *data, size_t size_bytes,
                                             XXH64_hash_t seed);
#endif

/* From here on an input is long. The library's call gained nothing at 256 bytes; at 4,096 it took
 * half the time and less. */
#define TAC_CHECKSUM_LONG_BYTES 512

/* A 128-bit number: a checksum, or a sum of record hashes modulo 2^128. */
struct tac_u128 {
    uint64_t low;
    uint64_t high;
};

/* As 32 hexadecimal digits, for printf. */
#define TAC_U128_FORMAT "%016" PRIx64 "%016" PRIx64
#define TAC_U128_ARGUMENTS(number) (number).high, (number).low

static inline XXH128_hash_t tac_xxh3_long(const void *data, size_t size_bytes, uint64_t seed)
{
#ifdef HAVE_XXH3_128BITS_WITHSEED_DISPATCH
    XXH128_hash_t hash = XXH3_128bits_withSeed_dispatch(data, size_bytes, seed);

    /* xxHash 0.8.1 as Debian builds it returns with the upper halves of the vector registers in
     * use. Until they are cleared each SSE instruction pays for it, those of libc too: a merge of
     * records of 16 bytes took twice the time. */
    if (__builtin_cpu_supports("avx")) {
        __asm__ volatile("vzeroupper" ::
                             : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",
                               "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14",
                               "xmm15");
    }
    return hash;
#else
    return XXH3_128bits_withSeed(data, size_bytes, seed);
#endif
}

static inline struct tac_u128 tac_checksum(const void *data, size_t size_bytes, uint64_t seed)
{
    XXH128_hash_t hash = size_bytes < TAC_CHECKSUM_LONG_BYTES
                             ? XXH3_128bits_withSeed(data, size_bytes, seed)
                             : tac_xxh3_long(data, size_bytes, seed);

    return (struct tac_u128){.low = hash.low64, .high = hash.high64};
}

static inline bool tac_u128_equal(struct tac_u128 a, struct tac_u128 b)
{
    return a.low == b.low && a.high == b.high;
}

static inline struct tac_u128 tac_u128_add(struct tac_u128 a, struct tac_u128 b)
{
    struct tac_u128 sum = {.low = a.low + b.low};

    sum.high = a.high + b.high + (sum.low < a.low);
    return sum;
}

static inline struct tac_u128 tac_u128_subtract(struct tac_u128 a, struct tac_u128 b)
{
    struct tac_u128 difference = {.low = a.low - b.low};

    difference.high = a.high - b.high - (a.low < b.low);
    return difference;
}

static inline bool tac_u128_is_zero(struct tac_u128 a) { return a.low == 0 && a.high == 0; }

#endif
