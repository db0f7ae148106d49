/* SPDX-License-Identifier: Apache-2.0 */
#include "lsm/free_set.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/mutant.h"
#include "base/units.h"

/* A part's own fields behind the common header. */
enum {
    PART_OFFSET_FIRST = TAC_BLOCK_HEADER_BYTES,     /* u64, first address */
    PART_OFFSET_COUNT = TAC_BLOCK_HEADER_BYTES + 8, /* u64, addresses */
    PART_OFFSET_BITMAPS = TAC_BLOCK_HEADER_BYTES + 16,
};

/* Of the superblocks' blocks the highest is always in use, so no image is shorter. */
#define BLOCKS_USED_MIN ((TAC_SUPERBLOCK_COPIES - 1) * TAC_SUPERBLOCK_STRIDE_BLOCKS + 1)

/* Bitmaps of one bit a block. Memory comes zeroed and untouched from the system, and nothing looks
 * beyond blocks_used, so a large file limit costs nothing until the file is that large. */
struct tac_free_set {
    uint64_t  blocks_max;
    uint64_t  blocks_used; /* One above the highest block that is not free */
    uint64_t  free_hint;   /* No block below is free */
    uint64_t  acquired_count, released_count, reserved_count;
    uint64_t  pending_count;
    uint64_t  frozen_used;        /* blocks_used at the freeze; 0: never frozen */
    uint64_t  decoded_count;      /* Addresses that decoded parts have covered */
    bool      checkpoint_is_open; /* Begun, not yet in effect */
    uint64_t *busy;               /* Reserved, acquired or released */
    uint64_t *acquired;
    uint64_t *released;
    uint64_t *pending; /* Part of released: what the open checkpoint will free */
    uint64_t *frozen;  /* acquired as of the freeze */
    uint64_t *full;    /* Bit w: all of word w of busy is set */
    uint64_t  memory[];
};

#define BITMAP_COUNT 5 /* Beside full */

static inline uint64_t words_for(uint64_t bits) { return tac_div_ceil(bits, 64); }
static inline bool     bit_is_set(const uint64_t *bitmap, uint64_t bit)
{
    return (bitmap[bit / 64] >> (bit % 64) & 1) != 0;
}
static inline void bit_set(uint64_t *bitmap, uint64_t bit)
{
    bitmap[bit / 64] |= 1ull << (bit % 64);
}
static inline void bit_clear(uint64_t *bitmap, uint64_t bit)
{
    bitmap[bit / 64] &= ~(1ull << (bit % 64));
}

uint64_t tac_free_set_memory_bytes(uint64_t blocks_max)
{
    uint64_t words = words_for(blocks_max);

    return sizeof(struct tac_free_set) + (BITMAP_COUNT * words + words_for(words)) * 8;
}

/* ---- free or not ---------------------------------------------------------------------------- */

static uint64_t busy_count(const struct tac_free_set *set)
{
    return set->acquired_count + set->released_count + set->reserved_count;
}

static void busy_add(struct tac_free_set *set, uint64_t address)
{
    uint64_t word = address / 64;

    tac_assert(address < set->blocks_max);
    tac_assert(!bit_is_set(set->busy, address));
    bit_set(set->busy, address);
    if (set->busy[word] == UINT64_MAX) {
        bit_set(set->full, word);
    }
    set->blocks_used = tac_max_u64(set->blocks_used, address + 1);
}

/* After blocks became free: the highest superblock copy ends the walk down. */
static void used_trim(struct tac_free_set *set)
{
    uint64_t word = (set->blocks_used - 1) / 64;

    while (set->busy[word] == 0) {
        tac_assert(word > 0);
        word--;
    }
    set->blocks_used = word * 64 + 64 - (uint64_t)__builtin_clzll(set->busy[word]);
    tac_assert(set->blocks_used >= BLOCKS_USED_MIN);
}

static void busy_remove(struct tac_free_set *set, uint64_t address)
{
    tac_assert(bit_is_set(set->busy, address));
    bit_clear(set->busy, address);
    bit_clear(set->full, address / 64);
    set->free_hint = tac_min_u64(set->free_hint, address);
    if (address + 1 == set->blocks_used) {
        used_trim(set);
    }
}

/* The first word at or after `word` that has a free block; `word_end` when none is below it. */
static uint64_t word_find(const struct tac_free_set *set, uint64_t word, uint64_t word_end)
{
    uint64_t mask = UINT64_MAX << (word % 64);

    for (uint64_t i = word / 64; i * 64 < word_end; i++) {
        uint64_t bits = ~set->full[i] & mask;

        if (bits != 0) {
            return tac_min_u64(i * 64 + (uint64_t)__builtin_ctzll(bits), word_end);
        }
        mask = UINT64_MAX;
    }
    return word_end;
}

/* The lowest free address at or after `from`; blocks_max when there is none. */
static uint64_t free_find(const struct tac_free_set *set, uint64_t from)
{
    uint64_t address = tac_max_u64(from, set->free_hint);
    uint64_t word_end = words_for(set->blocks_used);
    uint64_t word, bits;

    if (address >= set->blocks_used) {
        return tac_min_u64(address, set->blocks_max);
    }
    word = address / 64;
    bits = ~set->busy[word] & UINT64_MAX << (address % 64);
    if (bits == 0) {
        word = word_find(set, word + 1, word_end);
        if (word == word_end) {
            return tac_min_u64(word_end * 64, set->blocks_max);
        }
        bits = ~set->busy[word];
    }
    tac_assert(bits != 0);
    return tac_min_u64(word * 64 + (uint64_t)__builtin_ctzll(bits), set->blocks_max);
}

/* ---- life ----------------------------------------------------------------------------------- */

struct tac_free_set *tac_free_set_new(uint64_t blocks_max)
{
    uint64_t             words = words_for(blocks_max);
    struct tac_free_set *set;
    uint64_t            *memory;

    tac_assert(blocks_max >= TAC_GRID_BLOCKS_MIN && blocks_max <= UINT32_MAX);
    set = calloc(1, tac_free_set_memory_bytes(blocks_max));
    if (set == NULL) {
        return NULL;
    }
    memory = set->memory;
    set->blocks_max = blocks_max;
    set->busy = memory;
    set->acquired = memory += words;
    set->released = memory += words;
    set->pending = memory += words;
    set->frozen = memory += words;
    set->full = memory + words;
    for (uint64_t copy = 0; copy < TAC_SUPERBLOCK_COPIES; copy++) {
        busy_add(set, copy * TAC_SUPERBLOCK_STRIDE_BLOCKS);
        bit_set(set->acquired, copy * TAC_SUPERBLOCK_STRIDE_BLOCKS);
    }
    set->acquired_count = TAC_SUPERBLOCK_COPIES;
    set->free_hint = 1;
    tac_assert(set->blocks_used == BLOCKS_USED_MIN);
    return set;
}

void tac_free_set_free(struct tac_free_set *set) { free(set); }

/* ---- transitions ---------------------------------------------------------------------------- */

bool tac_free_set_reserve(struct tac_free_set *set, uint64_t *cursor, uint64_t count,
                          uint32_t *ret_addresses)
{
    uint64_t address = *cursor;
    bool     leaves_no_gap = address < set->free_hint;

    tac_assert(address < set->blocks_max);
    if (count > set->blocks_max - busy_count(set)) {
        return false;
    }
    for (uint64_t i = 0; i < count; i++) {
        address = free_find(set, address + 1);
        if (address == set->blocks_max) {
            return false;
        }
        ret_addresses[i] = (uint32_t)address;
    }
    for (uint64_t i = 0; i < count; i++) {
        busy_add(set, ret_addresses[i]);
    }
    set->reserved_count += count;
    if (leaves_no_gap && count > 0) {
        set->free_hint = address + 1;
    }
    *cursor = address;
    return true;
}

static bool is_reserved(const struct tac_free_set *set, uint64_t address)
{
    return bit_is_set(set->busy, address) && !bit_is_set(set->acquired, address) &&
           !bit_is_set(set->released, address);
}

void tac_free_set_acquire_reserved(struct tac_free_set *set, uint64_t address)
{
    tac_assert(address < set->blocks_max);
    tac_assert(is_reserved(set, address));
    tac_assert(set->reserved_count > 0);
    bit_set(set->acquired, address);
    set->reserved_count--;
    set->acquired_count++;
}

void tac_free_set_forfeit(struct tac_free_set *set, uint64_t address)
{
    tac_assert(address < set->blocks_max);
    tac_assert(is_reserved(set, address));
    tac_assert(set->reserved_count > 0);
    set->reserved_count--;
    busy_remove(set, address);
}

bool tac_free_set_acquire(struct tac_free_set *set, uint64_t *ret_address)
{
    uint64_t address = free_find(set, 0);

    if (address == set->blocks_max) {
        return false;
    }
    busy_add(set, address);
    tac_assert(!bit_is_set(set->acquired, address) && !bit_is_set(set->released, address));
    bit_set(set->acquired, address);
    set->acquired_count++;
    set->free_hint = address + 1;
    *ret_address = address;
    return true;
}

void tac_free_set_release(struct tac_free_set *set, uint64_t address)
{
    tac_assert(address < set->blocks_max);
    tac_assert(!tac_free_set_address_is_superblock(address));
    tac_assert(bit_is_set(set->acquired, address));
    tac_assert(!bit_is_set(set->released, address));
    bit_clear(set->acquired, address);
    if (TAC_MUTANT(RELEASED_IS_FREE)) {
        set->acquired_count--;
        busy_remove(set, address);
        return;
    }
    bit_set(set->released, address);
    set->acquired_count--;
    set->released_count++;
}

/* ---- checkpoints ---------------------------------------------------------------------------- */

void tac_free_set_checkpoint_begin(struct tac_free_set *set)
{
    tac_assert(!set->checkpoint_is_open);
    tac_assert(set->pending_count == 0);
    memcpy(set->pending, set->released, words_for(set->blocks_used) * 8);
    set->pending_count = set->released_count;
    set->checkpoint_is_open = true;
}

void tac_free_set_checkpoint_effect(struct tac_free_set *set)
{
    uint64_t freed_count = 0;

    tac_assert(set->checkpoint_is_open);
    for (uint64_t word = 0, end = words_for(set->blocks_used); word < end; word++) {
        uint64_t bits = set->pending[word];

        if (bits == 0) {
            continue;
        }
        tac_assert((bits & ~set->released[word]) == 0);
        if (freed_count == 0) {
            set->free_hint =
                tac_min_u64(set->free_hint, word * 64 + (uint64_t)__builtin_ctzll(bits));
        }
        freed_count += (uint64_t)__builtin_popcountll(bits);
        set->released[word] &= ~bits;
        set->busy[word] &= ~bits;
        set->pending[word] = 0;
        bit_clear(set->full, word);
    }
    tac_assert(freed_count == set->pending_count);
    set->released_count -= freed_count;
    set->pending_count = 0;
    set->checkpoint_is_open = false;
    used_trim(set);
}

/* ---- looking -------------------------------------------------------------------------------- */

bool tac_free_set_is_free(const struct tac_free_set *set, uint64_t address)
{
    tac_assert(address < set->blocks_max);
    return !bit_is_set(set->busy, address);
}

bool tac_free_set_is_acquired(const struct tac_free_set *set, uint64_t address)
{
    tac_assert(address < set->blocks_max);
    return bit_is_set(set->acquired, address);
}

bool tac_free_set_is_released(const struct tac_free_set *set, uint64_t address)
{
    tac_assert(address < set->blocks_max);
    return bit_is_set(set->released, address);
}

uint64_t tac_free_set_free_count(const struct tac_free_set *set)
{
    return set->blocks_max - busy_count(set);
}

uint64_t tac_free_set_acquired_count(const struct tac_free_set *set) { return set->acquired_count; }
uint64_t tac_free_set_released_count(const struct tac_free_set *set) { return set->released_count; }
uint64_t tac_free_set_blocks_used(const struct tac_free_set *set) { return set->blocks_used; }

/* ---- the image ------------------------------------------------------------------------------ */

uint64_t tac_free_set_part_addresses(uint32_t block_size)
{
    /* Two bitmaps of whole words. */
    return (block_size - PART_OFFSET_BITMAPS) / 16 * 64;
}

static uint32_t part_used_bytes(uint64_t count)
{
    return (uint32_t)(PART_OFFSET_BITMAPS + words_for(count) * 16);
}

/* blocks_used after `count` more blocks, the lowest free ones, have been acquired. */
static uint64_t used_after(const struct tac_free_set *set, uint64_t count)
{
    uint64_t word_end = words_for(set->blocks_used);
    uint64_t word = word_find(set, set->free_hint / 64, word_end);
    uint64_t left = count;

    while (left > 0 && word < word_end) {
        uint64_t free_below_used = ~set->busy[word];

        if (word + 1 == word_end && set->blocks_used % 64 != 0) {
            free_below_used &= (1ull << (set->blocks_used % 64)) - 1;
        }
        left = tac_subtract_floor_zero(left, (uint64_t)__builtin_popcountll(free_below_used));
        word = word_find(set, word + 1, word_end);
    }
    return tac_min_u64(set->blocks_used + left, set->blocks_max);
}

uint32_t tac_free_set_encoded_blocks(const struct tac_free_set *set,
                                     const struct tac_geometry *geometry, uint64_t blocks_extra)
{
    uint64_t part_addresses = tac_free_set_part_addresses(geometry->block_size);
    uint64_t count = 0;

    /* More parts can only raise the highest address, which can only raise the parts: from below,
     * the first count that agrees with itself is the smallest. */
    for (;;) {
        uint64_t needed = tac_div_ceil(used_after(set, blocks_extra + count), part_addresses);

        tac_assert(needed >= count);
        if (needed == count) {
            return (uint32_t)count;
        }
        count = needed;
    }
}

void tac_free_set_freeze(struct tac_free_set *set)
{
    /* A block released or reserved now is in neither bitmap of the image: recovery would find it
     * free, and so earlier than a store that never stopped. */
    tac_assert(set->checkpoint_is_open);
    tac_assert(set->released_count == set->pending_count);
    tac_assert(set->reserved_count == 0);
    memcpy(set->frozen, set->acquired, words_for(set->blocks_used) * 8);
    set->frozen_used = set->blocks_used;
}

void tac_free_set_encode(const struct tac_free_set *set, const struct tac_geometry *geometry,
                         uint32_t part, uint64_t address, uint64_t sequence, uint8_t *block)
{
    uint64_t                part_addresses = tac_free_set_part_addresses(geometry->block_size);
    uint64_t                first = part * part_addresses;
    uint64_t                count = tac_min_u64(part_addresses, set->frozen_used - first);
    uint64_t                bitmap_bytes = words_for(count) * 8;
    struct tac_block_header header = {
        .kind = TAC_BLOCK_FREE_SET,
        .address = address,
        .sequence = sequence,
        .used_bytes = part_used_bytes(count),
    };

    tac_assert(set->checkpoint_is_open);
    tac_assert(first < set->frozen_used);
    tac_assert(header.used_bytes <= geometry->block_size);
    tac_assert(bit_is_set(set->frozen, address));
    memset(block, 0, geometry->block_size);
    tac_block_header_encode(block, &header);
    tac_store_u64(block + PART_OFFSET_FIRST, first);
    tac_store_u64(block + PART_OFFSET_COUNT, count);
    memcpy(block + PART_OFFSET_BITMAPS, set->frozen + first / 64, bitmap_bytes);
    memcpy(block + PART_OFFSET_BITMAPS + bitmap_bytes, set->pending + first / 64,
           bitmap_bytes - 8 * TAC_MUTANT(FREE_SET_SHORT));
}

/* Takes over one word of both bitmaps. False: they contradict each other or go beyond the range. */
static bool word_decode(struct tac_free_set *set, uint64_t word, uint64_t acquired,
                        uint64_t released, uint64_t bits_valid)
{
    if ((acquired & released) != 0 || ((acquired | released) & ~bits_valid) != 0) {
        return false;
    }
    set->acquired[word] = acquired;
    set->released[word] = released;
    set->pending[word] = released;
    set->busy[word] = acquired | released;
    bit_clear(set->full, word);
    if (set->busy[word] == UINT64_MAX) {
        bit_set(set->full, word);
    }
    set->acquired_count += (uint64_t)__builtin_popcountll(acquired);
    set->released_count += (uint64_t)__builtin_popcountll(released);
    return true;
}

/* All parts are there: what must hold of the whole. */
static int decode_finish(struct tac_free_set *set, struct tac_error *error)
{
    set->blocks_used = set->decoded_count;
    if (set->blocks_used < BLOCKS_USED_MIN || !bit_is_set(set->busy, set->blocks_used - 1)) {
        return tac_error_set(error, TACTUS_ECORRUPT,
                             "free set: ends at block %llu, which is not in use",
                             (unsigned long long)set->blocks_used);
    }
    for (uint64_t copy = 0; copy < TAC_SUPERBLOCK_COPIES; copy++) {
        if (!bit_is_set(set->acquired, copy * TAC_SUPERBLOCK_STRIDE_BLOCKS)) {
            return tac_error_set(error, TACTUS_ECORRUPT,
                                 "free set: block %llu of superblock copy %llu is not acquired",
                                 (unsigned long long)(copy * TAC_SUPERBLOCK_STRIDE_BLOCKS),
                                 (unsigned long long)copy);
        }
    }
    set->pending_count = set->released_count;
    set->checkpoint_is_open = true;
    return TACTUS_OK;
}

int tac_free_set_decode(struct tac_free_set *set, const struct tac_geometry *geometry,
                        uint32_t part, uint32_t part_count, const uint8_t *block, uint64_t address,
                        struct tac_error *error)
{
    uint64_t                part_addresses = tac_free_set_part_addresses(geometry->block_size);
    uint64_t                first = tac_load_u64(block + PART_OFFSET_FIRST);
    uint64_t                count = tac_load_u64(block + PART_OFFSET_COUNT);
    bool                    is_last = part + 1 == part_count;
    struct tac_block_header header;
    int                     rv;

    tac_assert(part < part_count);
    tac_assert(part * part_addresses == set->decoded_count); /* In order, each once */
    tac_assert(!set->checkpoint_is_open);
    rv = tac_block_header_decode(block, geometry, TAC_BLOCK_FREE_SET, address, &header, error);
    if (rv != TACTUS_OK) {
        return rv;
    }
    if (first != set->decoded_count || count == 0 || count > part_addresses ||
        (!is_last && count != part_addresses) || count > set->blocks_max - first ||
        header.used_bytes != part_used_bytes(count)) {
        return tac_error_set(error, TACTUS_ECORRUPT,
                             "free set, part %u of %u, block %llu: covers %llu blocks from %llu, "
                             "which does not fit a limit of %llu blocks",
                             part, part_count, (unsigned long long)address,
                             (unsigned long long)count, (unsigned long long)first,
                             (unsigned long long)set->blocks_max);
    }
    if (part == 0) {
        set->acquired_count = 0;
        set->released_count = 0;
        set->free_hint = 0;
    }
    for (uint64_t i = 0, words = words_for(count); i < words; i++) {
        const uint8_t *acquired = block + PART_OFFSET_BITMAPS + i * 8;
        uint64_t       bits = count - i * 64;

        if (!word_decode(set, first / 64 + i, tac_load_u64(acquired),
                         tac_load_u64(acquired + words * 8),
                         bits >= 64 ? UINT64_MAX : (1ull << bits) - 1)) {
            return tac_error_set(error, TACTUS_ECORRUPT,
                                 "free set, part %u, block %llu: its bitmaps contradict each other "
                                 "at block %llu",
                                 part, (unsigned long long)address,
                                 (unsigned long long)(first + i * 64));
        }
    }
    set->decoded_count += count;
    return is_last ? decode_finish(set, error) : TACTUS_OK;
}
