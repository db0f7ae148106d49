/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz -- what the fuzz targets share. A target is one .c file with the two functions below; it is
 * built twice.
 *
 *   make check   with replay.c: its own inputs, those of corpus/<target>/, and mutations of both
 *   make fuzz    with seeds.c and libFuzzer, which goes on from there (clang)
 *
 * A target turns its input into bytes that a file might hold, seals them with right checksums
 * where it can, and gives them to the library. An error code is a fine answer. What must hold of an
 * accepted input is stated with tac_assert. */
#ifndef TACTUS_TESTS_FUZZ_FUZZ_H
#define TACTUS_TESTS_FUZZ_FUZZ_H

#include <stddef.h>

#include "base/assert.h"
#include "base/bytes.h"

/* The longest input. */
#define FUZZ_INPUT_MAX 16384

/* libFuzzer's name for it. Returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Input `number` of those that the target makes itself, into FUZZ_INPUT_MAX bytes. Returns its
 * size; 0: there are only so many. */
size_t fuzz_seed(uint32_t number, uint8_t *buffer);

/* How many times as long as a decoder's run one of the target takes: a test does as many fewer. */
extern const uint32_t fuzz_cost;

/* Inputs that the library has accepted: a target counts them, so that one that only ever sees
 * refusals is found. */
extern uint64_t fuzz_accepted;

/* ---- taking an input apart ---- */

/* What is left of an input. Behind its end there are zeros, so that every input means something. */
struct fuzz_input {
    const uint8_t *data;
    size_t         size;
};

static inline void fuzz_take(struct fuzz_input *input, void *buffer, size_t size)
{
    size_t taken = size < input->size ? size : input->size;

    memset(buffer, 0, size);
    if (taken > 0) {
        memcpy(buffer, input->data, taken);
    }
    input->data += taken;
    input->size -= taken;
}

static inline uint8_t fuzz_take_u8(struct fuzz_input *input)
{
    uint8_t value;

    fuzz_take(input, &value, sizeof value);
    return value;
}

static inline uint16_t fuzz_take_u16(struct fuzz_input *input)
{
    uint16_t value;

    fuzz_take(input, &value, sizeof value);
    return value;
}

static inline uint32_t fuzz_take_u32(struct fuzz_input *input)
{
    uint32_t value;

    fuzz_take(input, &value, sizeof value);
    return value;
}

static inline uint64_t fuzz_take_u64(struct fuzz_input *input)
{
    uint64_t value;

    fuzz_take(input, &value, sizeof value);
    return value;
}

/* A change of a block that is otherwise as a real store wrote it: where (the target says what that
 * names), offset, and 1 to 16 bytes. */
#define FUZZ_PATCH_BYTES_MAX 16

struct fuzz_patch {
    uint8_t  where;
    uint16_t offset;
    uint8_t  size;
    uint8_t  bytes[FUZZ_PATCH_BYTES_MAX];
};

static inline struct fuzz_patch fuzz_take_patch(struct fuzz_input *input)
{
    struct fuzz_patch patch = {0};

    patch.where = fuzz_take_u8(input);
    patch.offset = fuzz_take_u16(input);
    patch.size = (uint8_t)(1 + fuzz_take_u8(input) % FUZZ_PATCH_BYTES_MAX);
    fuzz_take(input, patch.bytes, patch.size);
    return patch;
}

/* What it does to block_size bytes. */
static inline void fuzz_patch_apply(const struct fuzz_patch *patch, uint8_t *block,
                                    uint32_t block_size)
{
    for (uint32_t i = 0; i < patch->size; i++) {
        block[(patch->offset + i) % block_size] = patch->bytes[i];
    }
}

/* ---- putting seeds together ---- */

static inline uint8_t *fuzz_give(uint8_t *at, const void *bytes, size_t size)
{
    memcpy(at, bytes, size);
    return at + size;
}

static inline uint8_t *fuzz_give_patch(uint8_t *at, uint8_t where, uint16_t offset,
                                       const void *bytes, uint8_t size)
{
    uint8_t head[4] = {where, (uint8_t)offset, (uint8_t)(offset >> 8), (uint8_t)(size - 1)};

    return fuzz_give(fuzz_give(at, head, sizeof head), bytes, size);
}

#endif
