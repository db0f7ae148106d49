/* SPDX-License-Identifier: Apache-2.0 */
/* superblock_fuzz -- four superblock copies in, a choice or an error out.
 *
 * The input changes two good pairs, of sequences 4 and 3. What is accepted must survive encoding,
 * and must be chosen again, with nothing left to repair, once its repairs have been made. */
#include "base/units.h"
#include "lsm/superblock.h"
#include "tests/fuzz/fuzz.h"

const uint32_t fuzz_cost = 1;

/* Of a patch; below the number of copies: one copy. */
enum {
    WHERE_OLD_PAIR = TAC_SUPERBLOCK_COPIES,
    WHERE_NEW_PAIR,
    WHERE_ALL,
    WHERE_COUNT
};
/* Of the flags, beside one bit for each copy that cannot be read. */
#define FLAG_CHECKSUMS_AS_THEY_ARE 0x10u
#define FLAG_PARENT_AS_IT_IS 0x20u

/* What the fuzzer must know of the layout (docs/FORMAT.md). */
enum {
    OFFSET_CHECKSUM = 16,
    OFFSET_COVERED = 32,
    OFFSET_PARENT = 88
};

typedef uint8_t copies_bytes[TAC_SUPERBLOCK_COPIES][TAC_SUPERBLOCK_BYTES];

static struct tac_superblock base_superblock(uint64_t sequence)
{
    struct tac_superblock superblock = {
        .uuid = {1, 2, 3},
        .sequence = sequence,
        .shape = {.memtable_size = 32 * TAC_KIB,
                  .table_size = 16 * TAC_KIB,
                  .slice_size = 16 * TAC_KIB,
                  .file_size_max = 4 * TAC_MIB,
                  .block_size = 4096,
                  .page_size = 512,
                  .runs_per_level = 4,
                  .last_ratio = 2,
                  .beats_per_bar = 16,
                  .lag_beats = 2,
                  .checkpoint_interval_bars = 1,
                  .filter_bits_per_key = 10},
        .op_persisted = 100,
        .op_compacted = 120,
        .op_released = 130,
        .bar_count = 7,
        .table_id_last = 9,
        .stamp_last = 5,
        .table_count = 3,
        .manifest_checksum = {1, 2},
        .manifest_newest = {.address = 5, .checksum = {3, 4}},
        .manifest_oldest_sequence = 2,
        .manifest_block_count = 2,
        .blocks_in_file = 256,
        .free_set_block_count = 2,
        .free_set = {{.address = 6}, {.address = 7}},
    };

    return superblock;
}

static void seal(uint8_t *copy)
{
    struct tac_u128 checksum =
        tac_checksum(copy + OFFSET_COVERED, TAC_SUPERBLOCK_BYTES - OFFSET_COVERED, 0);

    tac_store_u64(copy + OFFSET_CHECKSUM, checksum.low);
    tac_store_u64(copy + OFFSET_CHECKSUM + 8, checksum.high);
}

static void patch_apply(const struct fuzz_patch *patch, copies_bytes copies)
{
    uint32_t where = patch->where % WHERE_COUNT;

    for (uint32_t i = 0; i < TAC_SUPERBLOCK_COPIES; i++) {
        if (where == i || where == WHERE_ALL || (where == WHERE_NEW_PAIR && i < 2) ||
            (where == WHERE_OLD_PAIR && i >= 2)) {
            fuzz_patch_apply(patch, copies[i], TAC_SUPERBLOCK_BYTES);
        }
    }
}

static void copies_make(struct fuzz_input *input, uint32_t flags, copies_bytes copies)
{
    struct tac_superblock newest = base_superblock(4), before = base_superblock(3);

    for (uint32_t i = 0; i < TAC_SUPERBLOCK_COPIES; i++) {
        tac_superblock_encode(copies[i], i < 2 ? &newest : &before, i);
    }
    while (input->size > 0) {
        struct fuzz_patch patch = fuzz_take_patch(input);

        patch_apply(&patch, copies);
    }
    if ((flags & FLAG_CHECKSUMS_AS_THEY_ARE) != 0) {
        return;
    }
    seal(copies[2]);
    seal(copies[3]);
    for (uint32_t i = 0; i < 2; i++) {
        if ((flags & FLAG_PARENT_AS_IT_IS) == 0) {
            memcpy(copies[i] + OFFSET_PARENT, copies[2] + OFFSET_CHECKSUM, 16);
        }
        seal(copies[i]);
    }
}

static void accepted(const struct tac_superblock_choice *choice, copies_bytes copies)
{
    struct tac_u128              checksum = tac_superblock_checksum(&choice->superblock);
    const uint8_t               *readable[TAC_SUPERBLOCK_COPIES] = {0};
    struct tac_superblock_choice again;
    struct tac_error             error;
    int                          rv;

    for (uint32_t i = 0; i < TAC_SUPERBLOCK_COPIES; i++) {
        readable[i] = copies[i];
        if (((choice->repair_first_mask | choice->repair_second_mask) >> i & 1) != 0) {
            tac_superblock_encode(copies[i], &choice->superblock, i);
        }
    }
    rv = tac_superblock_choose(readable, &again, &error);
    tac_assert(rv == TACTUS_OK);
    tac_assert(again.repair_first_mask == 0 && again.repair_second_mask == 0);
    tac_assert(tac_u128_equal(tac_superblock_checksum(&again.superblock), checksum));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static copies_bytes          copies;
    struct fuzz_input            input = {data, size};
    uint32_t                     flags = fuzz_take_u8(&input);
    const uint8_t               *readable[TAC_SUPERBLOCK_COPIES];
    struct tac_superblock_choice choice;
    struct tac_error             error;

    copies_make(&input, flags, copies);
    for (uint32_t i = 0; i < TAC_SUPERBLOCK_COPIES; i++) {
        readable[i] = (flags >> i & 1) != 0 ? NULL : copies[i];
    }
    tac_error_clear(&error);
    if (tac_superblock_choose(readable, &choice, &error) == TACTUS_OK) {
        fuzz_accepted++;
        accepted(&choice, copies);
    } else {
        tac_assert(error.code != TACTUS_OK && error.message[0] != 0);
    }
    return 0;
}

/* ---- seeds ---------------------------------------------------------------------------------- */

/* A field of the layout that deserves a look; where: NEW_PAIR. */
static const struct {
    uint16_t offset;
    uint8_t  size;
    uint8_t  byte;
} fields[] = {
    {32, 4, 0},  {40, 8, 1},     {48, 8, 0},     {56, 8, 0},     {64, 16, 7}, {80, 8, 0xff},
    {88, 16, 1}, {128, 8, 0xff}, {152, 8, 0xff}, {160, 4, 0},    {164, 4, 1}, {168, 4, 17},
    {256, 8, 9}, {264, 8, 0xff}, {288, 8, 0xff}, {296, 8, 0xff}, {304, 8, 0}, {312, 8, 0xff},
    {336, 8, 0}, {360, 8, 0xff}, {368, 8, 0},    {376, 4, 96},   {512, 8, 5}, {2816, 8, 1},
};

size_t fuzz_seed(uint32_t number, uint8_t *buffer)
{
    uint8_t *at = buffer + 1;
    uint8_t  bytes[FUZZ_PATCH_BYTES_MAX];

    if (number >= 16 + TAC_ARRAY_COUNT(fields)) {
        return 0;
    }
    if (number < 16) {
        buffer[0] = (uint8_t)number; /* Which copies cannot be read */
        return (size_t)(fuzz_give_patch(at, WHERE_ALL, 40, "\0", 1) - buffer);
    }
    buffer[0] = (uint8_t)(number % 2 == 0 ? 0 : FLAG_PARENT_AS_IT_IS);
    memset(bytes, fields[number - 16].byte, sizeof bytes);
    at = fuzz_give_patch(at, number % 4 == 0 ? 0 : WHERE_NEW_PAIR, fields[number - 16].offset,
                         bytes, fields[number - 16].size);
    return (size_t)(at - buffer);
}
