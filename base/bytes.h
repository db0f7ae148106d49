/* SPDX-License-Identifier: Apache-2.0 */
/* bytes -- byte strings, their one order, and little-endian fields of the file format. */
#ifndef TACTUS_BASE_BYTES_H
#define TACTUS_BASE_BYTES_H

#include <stdint.h>
#include <string.h>

/* A borrowed byte string; says nothing about who owns the bytes. */
struct tac_bytes {
    const uint8_t *data;
    uint32_t       size;
};

/* The only order of keys: memcmp, then the shorter one first. */
static inline int tac_bytes_compare(struct tac_bytes a, struct tac_bytes b)
{
    uint32_t common = a.size < b.size ? a.size : b.size;
    int      order = common == 0 ? 0 : memcmp(a.data, b.data, common);

    if (order != 0) {
        return order;
    }
    return (a.size > b.size) - (a.size < b.size);
}

static inline uint16_t tac_load_u16(const uint8_t *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline uint32_t tac_load_u32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline uint64_t tac_load_u64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline void tac_store_u16(uint8_t *p, uint16_t v) { memcpy(p, &v, sizeof v); }
static inline void tac_store_u32(uint8_t *p, uint32_t v) { memcpy(p, &v, sizeof v); }
static inline void tac_store_u64(uint8_t *p, uint64_t v) { memcpy(p, &v, sizeof v); }

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "Tactus stores little-endian fields with plain loads; a big-endian port must swap here."
#endif

/* The first eight bytes of a key as a number that orders like the key: big-endian, padded with
 * zero bytes. Equal prefixes say nothing; compare the whole keys then. */
static inline uint64_t tac_key_prefix(const uint8_t *key, uint32_t key_size)
{
    uint64_t prefix = 0;

    if (key_size >= 8) {
        return __builtin_bswap64(tac_load_u64(key));
    }
    memcpy(&prefix, key, key_size);
    return __builtin_bswap64(prefix);
}

#endif
