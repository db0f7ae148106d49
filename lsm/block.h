/* SPDX-License-Identifier: Apache-2.0 */
/* block -- the common header of every block of the grid, and what refers to a block.
 *
 * A block is never read without knowing its checksum: references are {address, checksum} from the
 * superblock down. The checksum covers the header (address, kind, tree, checkpoint sequence) and is
 * seeded by the store's UUID, so a torn, stale or misdirected block is found (docs/FORMAT.md).
 *
 * Value blocks: the checksum is that of the header page alone, which lists the checksums of all
 * data pages. So each byte is hashed once, a point read checks one page, and a whole-block copy
 * re-seals one page. Every other kind: the checksum is that of the whole block.
 */
#ifndef TACTUS_LSM_BLOCK_H
#define TACTUS_LSM_BLOCK_H

#include "base/checksum.h"
#include "base/error.h"

enum tac_block_kind { /* On disk: do not change. */
    TAC_BLOCK_VALUE = 1,
    TAC_BLOCK_INDEX = 2,
    TAC_BLOCK_FILTER = 3,
    TAC_BLOCK_MANIFEST = 4,
    TAC_BLOCK_FREE_SET = 5,
    TAC_BLOCK_SNAPSHOTS = 6,
};

struct tac_block_reference {
    uint64_t        address; /* Block number in the file; 0 is a superblock: never a reference */
    struct tac_u128 checksum;
};

/* Sizes of blocks and pages, and the seed of their checksums: fixed for a store. */
struct tac_geometry {
    uint32_t block_size;
    uint32_t page_size;
    uint64_t checksum_seed; /* From the UUID */
};

#define TAC_BLOCK_MAGIC 0x42434154u /* "TACB" */
#define TAC_BLOCK_HEADER_BYTES 64

/* Offsets of the common header; the rest up to 64 is zero. */
enum {
    TAC_BLOCK_OFFSET_MAGIC = 0,     /* u32 */
    TAC_BLOCK_OFFSET_VERSION = 4,   /* u16, 1 */
    TAC_BLOCK_OFFSET_KIND = 6,      /* u8 */
    TAC_BLOCK_OFFSET_FLAGS = 7,     /* u8, 0 */
    TAC_BLOCK_OFFSET_ADDRESS = 8,   /* u64 */
    TAC_BLOCK_OFFSET_SEQUENCE = 16, /* u64, checkpoint sequence the block was written under */
    TAC_BLOCK_OFFSET_TREE = 24,     /* u32, 0 where no tree owns it */
    TAC_BLOCK_OFFSET_USED = 28,     /* u32, bytes in use from the block's start; the rest is zero */
};

struct tac_block_header {
    enum tac_block_kind kind;
    uint64_t            address;
    uint64_t            sequence;
    uint32_t            tree;
    uint32_t            used_bytes;
};

void tac_block_header_encode(uint8_t *block, const struct tac_block_header *header);
/* Checks magic, version, kind and address against what is expected, used_bytes against the block
 * size. TACTUS_ECORRUPT with the place. The checksum must have been checked before. */
TAC_MUST_CHECK int tac_block_header_decode(const uint8_t             *block,
                                           const struct tac_geometry *geometry,
                                           enum tac_block_kind kind, uint64_t address,
                                           struct tac_block_header *ret_header,
                                           struct tac_error        *error);

/* Checksum of a whole block (every kind but value blocks). */
static inline struct tac_u128 tac_block_checksum(const uint8_t *block,
                                                 const struct tac_geometry *geometry)
{
    return tac_checksum(block, geometry->block_size, geometry->checksum_seed);
}

/* Checks the whole block of any kind against its reference, headers and all pages included. */
TAC_MUST_CHECK int tac_block_verify(const uint8_t *block, const struct tac_geometry *geometry,
                                    enum tac_block_kind                kind,
                                    const struct tac_block_reference *reference,
                                    struct tac_error *error);

#endif
