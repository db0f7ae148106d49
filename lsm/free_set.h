/* SPDX-License-Identifier: Apache-2.0 */
/* free_set -- which blocks of the grid are free, acquired, or released.
 *
 * released = no longer used by the newest state, but the last durable checkpoint can still reach
 * it: never overwritten, until the op at which a checkpoint without it takes effect (rule R4).
 * Coordinator only, or, while it rests, a writer that ingests; jobs work on address lists that were
 * reserved for them, so addresses depend on the plan alone. */
#ifndef TACTUS_LSM_FREE_SET_H
#define TACTUS_LSM_FREE_SET_H

#include "lsm/block.h"

/* Superblock copies live in blocks 0, 64, 128 and 192: always acquired, never referenced. */
#define TAC_SUPERBLOCK_COPIES 4
#define TAC_SUPERBLOCK_STRIDE_BLOCKS 64
#define TAC_GRID_BLOCKS_MIN 256

/* Is this the block of a superblock copy? */
static inline bool tac_free_set_address_is_superblock(uint64_t address)
{
    return address % TAC_SUPERBLOCK_STRIDE_BLOCKS == 0 &&
           address < (uint64_t)TAC_SUPERBLOCK_COPIES * TAC_SUPERBLOCK_STRIDE_BLOCKS;
}

struct tac_free_set;

/* All blocks free but the superblocks'. blocks_max: file limit in blocks. NULL: out of memory. */
struct tac_free_set *tac_free_set_new(uint64_t blocks_max);
void                 tac_free_set_free(struct tac_free_set *set);
uint64_t             tac_free_set_memory_bytes(uint64_t blocks_max);

/* Reserves the `count` lowest free addresses above *cursor (in/out; plans and runs start with 0), in
 * ascending order. False: not that many are left below blocks_max (nothing reserved; ret_addresses
 * is undefined). A reserved block is neither free nor acquired until one of the next two. */
bool tac_free_set_reserve(struct tac_free_set *set, uint64_t *cursor, uint64_t count,
                          uint32_t *ret_addresses);
void tac_free_set_acquire_reserved(struct tac_free_set *set, uint64_t address); /* it was used */
void tac_free_set_forfeit(struct tac_free_set *set, uint64_t address);          /* it was not */
/* Acquires the lowest free address; false when none. For the checkpoint's own blocks. */
bool tac_free_set_acquire(struct tac_free_set *set, uint64_t *ret_address);
void tac_free_set_release(struct tac_free_set *set, uint64_t address);

/* A checkpoint begins: the blocks released until now are its released set. Takes effect: exactly
 * those become free. One at a time. */
void tac_free_set_checkpoint_begin(struct tac_free_set *set);
void tac_free_set_checkpoint_effect(struct tac_free_set *set);

bool tac_free_set_is_free(const struct tac_free_set *set, uint64_t address);
bool tac_free_set_is_acquired(const struct tac_free_set *set, uint64_t address); /* not released */
bool tac_free_set_is_released(const struct tac_free_set *set, uint64_t address);
uint64_t tac_free_set_free_count(const struct tac_free_set *set);     /* Up to blocks_max */
uint64_t tac_free_set_acquired_count(const struct tac_free_set *set); /* Superblocks included */
uint64_t tac_free_set_released_count(const struct tac_free_set *set);
/* One above the highest block that is not free: what the file must hold. */
uint64_t tac_free_set_blocks_used(const struct tac_free_set *set);

/* The checkpoint's image of the set in blocks of kind FREE_SET: part i of n covers a range of
 * addresses with two bitmaps (acquired, the checkpoint's released set). In order: release what the
 * checkpoint no longer needs, checkpoint_begin, acquire the checkpoint's blocks, freeze, encode.
 *
 * How many parts there will be once blocks_extra other blocks and the parts themselves have been
 * acquired (exact if nothing else changes). */
uint32_t tac_free_set_encoded_blocks(const struct tac_free_set *set,
                                     const struct tac_geometry *geometry, uint64_t blocks_extra);
/* Addresses that one part covers. */
uint64_t tac_free_set_part_addresses(uint32_t block_size);
/* A frozen copy to encode from while the set goes on changing, until the checkpoint takes effect;
 * memory is the set's own. Nothing may be reserved, nor released since checkpoint_begin. */
void tac_free_set_freeze(struct tac_free_set *set);
void tac_free_set_encode(const struct tac_free_set *set, const struct tac_geometry *geometry,
                         uint32_t part, uint64_t address, uint64_t sequence, uint8_t *block);
/* Into a new set; parts in order. After the last one the checkpoint is begun, its released set is
 * what was released: tac_free_set_checkpoint_effect frees it at the op stored with it. After an
 * error the set is only good for tac_free_set_free. */
TAC_MUST_CHECK int tac_free_set_decode(struct tac_free_set       *set,
                                       const struct tac_geometry *geometry, uint32_t part,
                                       uint32_t part_count, const uint8_t *block, uint64_t address,
                                       struct tac_error *error);
#endif
