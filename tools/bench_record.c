/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bench_record.h"

#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/prng.h"
#include "base/units.h"

static const struct tac_bench_shape shapes[] = {
    {"A", {TACTUS_LAYOUT_FIXED, 16, 112}, 16, 112},
    {"B", {TACTUS_LAYOUT_FIXED, 8, 8}, 8, 8},
    {"C", {TACTUS_LAYOUT_VARIABLE, TAC_BENCH_KEY_SIZE_MAX, TAC_BENCH_VALUE_SIZE_MAX}, 16, 0},
};

tac_static_assert((TAC_BENCH_KEY_SIZE_MAX - 8) % 16 == 0 && TAC_BENCH_VALUE_SIZE_MAX % 16 == 0,
                  "records are filled by pairs of words");

#define WEYL_STEP 0x9e3779b97f4a7c15u
#define VALUE_SALT 0xd6e8feb86659fd93u
#define SIZE_SALT 0xa0761d6478bd642fu
#define UUID_SALT 0xe7037ed1a0b428dbu
#define FOLD_SALT 0x8ebc6af09c88c6e3u

const struct tac_bench_shape *tac_bench_shape_find(const char *name)
{
    for (size_t i = 0; i < TAC_ARRAY_COUNT(shapes); i++) {
        if (strcmp(name, shapes[i].name) == 0) {
            return &shapes[i];
        }
    }
    return NULL;
}

/* Bytes that no compressor gains from, sixteen for each wide multiplication; up to fifteen more
 * than asked are written. */
static void words_fill(uint8_t *target, uint32_t size, uint64_t state)
{
    for (uint32_t i = 0; i < size; i += 16) {
        unsigned __int128 product;
        uint64_t          high;

        state += WEYL_STEP;
        product = (unsigned __int128)state * (state ^ FOLD_SALT);
        high = (uint64_t)(product >> 64);
        tac_store_u64(target + i, (uint64_t)product ^ high);
        tac_store_u64(target + i + 8, high + state);
    }
}

/* A size from min to max, from 32 random bits. */
static uint32_t size_draw(uint32_t min, uint32_t max, uint32_t random)
{
    tac_assert(min <= max);
    return min + (uint32_t)((uint64_t)random * (max - min + 1) >> 32);
}

/* A step of splitmix64 from a place that the seed gives: odd step and mixing are both bijections
 * modulo 2^64, so different numbers have different prefixes. */
static uint64_t key_prefix_make(uint64_t seed, uint64_t number)
{
    return tac_mix_u64(tac_mix_u64(seed) + number * WEYL_STEP);
}

static void sizes_make(const struct tac_bench_shape *shape, uint64_t key_prefix,
                       struct tac_bench_record *record)
{
    uint64_t random = 0;

    if (shape->layout.kind == TACTUS_LAYOUT_VARIABLE) {
        random = tac_mix_u64(key_prefix ^ SIZE_SALT);
    }
    record->key_prefix = key_prefix;
    record->key_size =
        size_draw(shape->key_size_min, shape->layout.key_size, (uint32_t)(random >> 32));
    record->value_size =
        size_draw(shape->value_size_min, shape->layout.value_size, (uint32_t)random);
}

void tac_bench_key_make(const struct tac_bench_shape *shape, uint64_t seed, uint64_t number,
                        struct tac_bench_record *ret_record)
{
    sizes_make(shape, key_prefix_make(seed, number), ret_record);
    tac_assert(ret_record->key_size >= 8 && ret_record->key_size <= sizeof ret_record->key);
    tac_store_u64(ret_record->key, ret_record->key_prefix);
    words_fill(ret_record->key + 8, ret_record->key_size - 8, ret_record->key_prefix);
}

void tac_bench_value_make(struct tac_bench_record *record)
{
    tac_assert(record->value_size <= sizeof record->value);
    words_fill(record->value, record->value_size, record->key_prefix ^ VALUE_SALT);
}

void tac_bench_uuid_make(uint64_t seed, uint8_t ret_uuid[TACTUS_UUID_BYTES])
{
    words_fill(ret_uuid, TACTUS_UUID_BYTES, tac_mix_u64(seed ^ UUID_SALT));
    ret_uuid[0] |= 1;
}

uint64_t tac_bench_accounted_bytes(const struct tac_bench_shape *shape, uint64_t seed,
                                   uint64_t records)
{
    uint64_t bytes = 0;

    if (shape->layout.kind == TACTUS_LAYOUT_FIXED) {
        return records * tac_bench_accounted_bytes_max(shape);
    }
    for (uint64_t i = 0; i < records; i++) {
        struct tac_bench_record record;

        sizes_make(shape, key_prefix_make(seed, i), &record);
        bytes += record.key_size + record.value_size + TACTUS_RECORD_OVERHEAD_BYTES;
    }
    return bytes;
}

uint64_t tac_bench_accounted_bytes_max(const struct tac_bench_shape *shape)
{
    return shape->layout.key_size + shape->layout.value_size + TACTUS_RECORD_OVERHEAD_BYTES;
}
