/* SPDX-License-Identifier: Apache-2.0 */
/* image -- whole store files: real ones to begin with, and the sealing of changed ones, so that
 * what lies behind checksums and references is reached. */
#ifndef TACTUS_TESTS_FUZZ_IMAGE_H
#define TACTUS_TESTS_FUZZ_IMAGE_H

#include "lsm/superblock.h"
#include "pipeline/store.h"
#include "tests/fuzz/fuzz.h"

#define FUZZ_IMAGES 6
#define FUZZ_IMAGE_BLOCK_SIZE 4096u
#define FUZZ_IMAGE_USED_MAX 250

/* The file of a closed store. */
struct fuzz_image {
    uint8_t            *data;
    uint64_t            block_count;
    struct tac_geometry geometry;
    uint32_t            newest_copy; /* First one of the newest pair */
    uint32_t            used_count;
    uint32_t            used[FUZZ_IMAGE_USED_MAX]; /* Blocks in use: first those without records */
};

/* Image `number`, below FUZZ_IMAGES; made once: an empty store, one with a single table, three
 * levels of variable and fixed trees, runs of 1 with large records, one with filter blocks, and one
 * with deleted ranges, of which a snapshot has one, and with tables retained for it. */
const struct fuzz_image *fuzz_image(uint32_t number);

/* Options that open any image, without threads and with small caches. */
void fuzz_image_options(struct tactus_options *options);

/* What sealing leaves as it finds it. */
#define FUZZ_SEAL_NO_SUMS 1u     /* Sums of records, from value block to manifest */
#define FUZZ_SEAL_NO_PARENT 2u   /* The superblock's parent checksum */
#define FUZZ_SEAL_NO_MANIFEST 4u /* The manifest's checksum and table count */
#define FUZZ_SEAL_NOTHING 8u     /* All else included */

/* Rights the checksums, from the records up to the superblock, in `data`, a changed copy of the
 * image. */
void fuzz_image_seal(const struct fuzz_image *image, uint8_t *data, uint32_t flags);

#endif
