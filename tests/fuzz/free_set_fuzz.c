/* SPDX-License-Identifier: Apache-2.0 */
/* free_set_fuzz -- the parts of a free set, right headers around hostile ranges and bitmaps. What
 * is accepted must be what the bitmaps say, work like any other set, and come back from its own
 * image as it went. */
#include <stdlib.h>

#include "base/units.h"
#include "lsm/free_set.h"
#include "tests/fuzz/fuzz.h"

const uint32_t fuzz_cost = 4;

#define PARTS_MAX 3
#define BLOCKS_MAX 40000 /* Two whole parts of a block of 4 KiB, and some */
#define PART_FIRST 64
#define PART_COUNT 72
#define PART_BITMAPS 80
#define ADDRESS_FIRST 1 /* Of part 0 */

static const struct tac_geometry geometry = {.block_size = 4096, .page_size = 512};
static uint8_t                   parts[PARTS_MAX][4096];

/* A part of the input: flags, the range, bytes of both bitmaps, two patches. Flags: 2, the range
 * is the input's; 4, it ends with the set's; 8, the bits that no set can be without are right. */
static void part_make(struct fuzz_input *input, uint32_t part, uint32_t part_count,
                      uint64_t blocks_max)
{
    uint8_t *block = parts[part];
    uint8_t  flags = fuzz_take_u8(input);
    uint64_t addresses = tac_free_set_part_addresses(geometry.block_size);
    uint64_t first = part * addresses;
    uint64_t count = part + 1 < part_count ? addresses : fuzz_take_u16(input);
    uint32_t run = fuzz_take_u16(input) % 2048;
    uint64_t used;

    if ((flags & 2) != 0) {
        first = fuzz_take_u64(input);
        count = fuzz_take_u64(input);
    }
    if ((flags & 4) != 0 && blocks_max > first) {
        count = tac_min_u64(addresses, blocks_max - first);
    }
    memset(block, 0, geometry.block_size);
    used = PART_BITMAPS + tac_min_u64(tac_div_ceil(count, 64), 251) * 16;
    tac_block_header_encode(block, &(struct tac_block_header){.kind = TAC_BLOCK_FREE_SET,
                                                              .address = ADDRESS_FIRST + part,
                                                              .sequence = 1,
                                                              .used_bytes = (uint32_t)used});
    tac_store_u64(block + PART_FIRST, first);
    tac_store_u64(block + PART_COUNT, count);
    fuzz_take(input, block + PART_BITMAPS, run);
    if ((flags & 8) != 0) {
        uint64_t bitmap = tac_div_ceil(tac_min_u64(count, addresses), 64) * 8;

        for (uint32_t copy = 0; part == 0 && copy < TAC_SUPERBLOCK_COPIES; copy++) {
            block[PART_BITMAPS + copy * 8] |= 1;
            block[PART_BITMAPS + bitmap + copy * 8] &= 0xfe;
        }
        if (count > 0 && count <= addresses) {
            uint64_t last = count - 1;

            block[PART_BITMAPS + last / 8] |= (uint8_t)(1u << last % 8);
            block[PART_BITMAPS + bitmap + last / 8] &= (uint8_t) ~(1u << last % 8);
        }
    }
    for (uint32_t i = 0; i < 2; i++) {
        struct fuzz_patch patch = fuzz_take_patch(input);

        if (patch.where % 4 == 1) {
            fuzz_patch_apply(&patch, block, geometry.block_size);
        }
    }
}

/* Null: refused, with a text. */
static struct tac_free_set *decode(uint64_t blocks_max, uint32_t part_count)
{
    struct tac_free_set *set = tac_free_set_new(blocks_max);
    struct tac_error     error;

    tac_assert(set != NULL);
    tac_error_clear(&error);
    for (uint32_t i = 0; i < part_count; i++) {
        if (tac_free_set_decode(set, &geometry, i, part_count, parts[i], ADDRESS_FIRST + i,
                                &error) != TACTUS_OK) {
            tac_assert(error.code != TACTUS_OK && error.message[0] != 0);
            tac_free_set_free(set);
            return NULL;
        }
    }
    return set;
}

/* Every address is what one of the bitmaps says, and the counts are right. */
static void set_check(const struct tac_free_set *set, uint64_t blocks_max)
{
    uint64_t free_count = 0, acquired_count = 0, released_count = 0;

    uint64_t end = tac_min_u64(blocks_max, tac_free_set_blocks_used(set) + 64);

    for (uint64_t address = 0; address < end; address++) {
        bool is_free = tac_free_set_is_free(set, address);
        bool is_acquired = tac_free_set_is_acquired(set, address);
        bool is_released = tac_free_set_is_released(set, address);

        tac_assert(is_free + is_acquired + is_released == 1);
        tac_assert(is_free || address < tac_free_set_blocks_used(set));
        free_count += is_free;
        acquired_count += is_acquired;
        released_count += is_released;
    }
    tac_assert(free_count + (blocks_max - end) == tac_free_set_free_count(set));
    tac_assert(acquired_count == tac_free_set_acquired_count(set));
    tac_assert(released_count == tac_free_set_released_count(set));
}

/* Takes, reserves and gives back as the input says. */
static void set_use(struct tac_free_set *set, struct fuzz_input *input, uint64_t blocks_max)
{
    uint32_t reserved[8];
    uint64_t cursor = 0, address;

    for (uint32_t i = fuzz_take_u8(input) % 8; i > 0; i--) {
        if (!tac_free_set_acquire(set, &address)) {
            tac_assert(tac_free_set_free_count(set) == 0);
        }
    }
    for (uint32_t i = fuzz_take_u8(input) % 8; i > 0; i--) {
        if (!tac_free_set_reserve(set, &cursor, i, reserved)) {
            break;
        }
        for (uint32_t j = 0; j < i; j++) {
            if ((j & 1) != 0) {
                tac_free_set_forfeit(set, reserved[j]);
            } else {
                tac_free_set_acquire_reserved(set, reserved[j]);
            }
        }
        if (cursor + 1 >= blocks_max) {
            break;
        }
    }
    for (uint32_t i = fuzz_take_u8(input) % 16; i > 0; i--) {
        address = fuzz_take_u16(input) % blocks_max;
        if (tac_free_set_is_acquired(set, address) &&
            !tac_free_set_address_is_superblock(address)) {
            tac_free_set_release(set, address);
        }
    }
}

/* A checkpoint of the set, read back. */
static void image_check(struct tac_free_set *set, uint64_t blocks_max)
{
    uint32_t             part_count = tac_free_set_encoded_blocks(set, &geometry, 0);
    struct tac_free_set *again;
    uint64_t             addresses[PARTS_MAX], acquired;
    struct tac_error     error;

    tac_free_set_checkpoint_begin(set);
    for (uint32_t i = 0; i < part_count; i++) {
        tac_assert(i < PARTS_MAX);
        if (!tac_free_set_acquire(set, &addresses[i])) {
            return; /* Full */
        }
    }
    if (tac_div_ceil(tac_free_set_blocks_used(set),
                     tac_free_set_part_addresses(geometry.block_size)) != part_count) {
        return; /* Full: no room for as many parts as it needs */
    }
    acquired = tac_free_set_acquired_count(set);
    tac_free_set_freeze(set);
    again = tac_free_set_new(blocks_max);
    tac_assert(again != NULL);
    for (uint32_t i = 0; i < part_count; i++) {
        int rv;

        tac_free_set_encode(set, &geometry, i, addresses[i], 2, parts[0]);
        rv = tac_free_set_decode(again, &geometry, i, part_count, parts[0], addresses[i], &error);
        tac_assert(rv == TACTUS_OK);
    }
    tac_assert(tac_free_set_acquired_count(again) == acquired);
    tac_assert(tac_free_set_released_count(again) == tac_free_set_released_count(set));
    set_check(again, blocks_max);
    tac_free_set_checkpoint_effect(again);
    set_check(again, blocks_max);
    tac_free_set_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input    input = {data, size};
    uint64_t             blocks_max = 256 + fuzz_take_u16(&input) % (BLOCKS_MAX - 256);
    uint32_t             part_count = 1 + fuzz_take_u8(&input) % PARTS_MAX;
    struct tac_free_set *set;

    for (uint32_t i = 0; i < part_count; i++) {
        part_make(&input, i, part_count, blocks_max);
    }
    set = decode(blocks_max, part_count);
    if (set != NULL) {
        fuzz_accepted++;
        set_check(set, blocks_max);
        tac_free_set_checkpoint_effect(set);
        set_check(set, blocks_max);
        set_use(set, &input, blocks_max);
        set_check(set, blocks_max);
        image_check(set, blocks_max);
        tac_free_set_free(set);
    }
    return 0;
}

/* ---- seeds ---------------------------------------------------------------------------------- */

static uint8_t *give_u16(uint8_t *at, uint32_t value)
{
    uint8_t bytes[2] = {(uint8_t)value, (uint8_t)(value >> 8)};

    return fuzz_give(at, bytes, sizeof bytes);
}

/* One to three parts of a small, a middling and a full store, with all fix-ups and without. */
size_t fuzz_seed(uint32_t number, uint8_t *buffer)
{
    static const uint16_t limits[] = {0, 1000, BLOCKS_MAX - 257};
    uint32_t              part_count = 1 + number % PARTS_MAX;
    uint8_t               flags = number / 9 == 0 ? 12 : 0, bits[64];
    uint8_t              *at = buffer;

    if (number >= 18) {
        return 0;
    }
    memset(bits, number % 2 == 0 ? 0xff : 0x0f, sizeof bits);
    at = give_u16(at, limits[number / 3 % 3]);
    *at++ = (uint8_t)(part_count - 1);
    for (uint32_t i = 0; i < part_count; i++) {
        *at++ = flags;
        if (i + 1 == part_count) {
            at = give_u16(at, 200);
        }
        at = give_u16(at, number % 2 == 0 ? 26 : sizeof bits);
        at = fuzz_give(at, bits, number % 2 == 0 ? 26 : sizeof bits);
        at = fuzz_give_patch(at, 1, PART_BITMAPS, "\x01", 1);
        at = fuzz_give_patch(at, 0, PART_COUNT, "\x01", 1);
    }
    at = fuzz_give(at, "\x05\x07\x05\x01\x00\x02\x00\x03\x00\x05\x00\x08\x00", 13);
    return (size_t)(at - buffer);
}
