/* SPDX-License-Identifier: Apache-2.0 */
/* small_world -- a small store that has one of everything, on a disk in memory, with its model:
 * tests damage its bytes and look at what the engine says.
 *
 * Trees of both layouts over three levels and more, with tombstones, large records and a filter in
 * blocks of its own. Records are numbered: keys order like the numbers, and a record's
 * bytes follow from its number and version. */
#ifndef TACTUS_TESTS_LIB_SMALL_WORLD_H
#define TACTUS_TESTS_LIB_SMALL_WORLD_H

#include "pipeline/store.h"
#include "tests/lib/faulty_disk.h"

enum {
    SMALL_FIXED, /* The trees' ids */
    SMALL_VARIABLE,
    SMALL_KEYS, /* Fixed, without values: so many keys in a table that the filter is large */
    SMALL_TREES,
};
#define SMALL_RECORDS_MAX 4096
#define SMALL_BLOCKS_MAX 512
#define SMALL_OLDER_MAX 64
#define SMALL_BLOCK_SIZE 4096u
#define SMALL_PAGE_SIZE 512u
#define SMALL_KEY_MAX 32
#define SMALL_VALUE_MAX 900

enum small_kind {
    SMALL_SUPERBLOCK,
    SMALL_FREE_SET_BLOCK,
    SMALL_MANIFEST_BLOCK,
    SMALL_INDEX_BLOCK,
    SMALL_FILTER_BLOCK,
    SMALL_VALUE_BLOCK,
    SMALL_KINDS,
};

/* Records that a part of a block can affect, by number; first > last: none in particular. */
struct small_range {
    uint32_t first, last;
};

/* A block that the newest superblock reaches. */
struct small_block {
    enum small_kind    kind;
    uint64_t           address;
    uint32_t           tree, level; /* Of index, filter and value blocks, like all below */
    uint64_t           table;
    struct small_range range;
    struct small_range pages[SMALL_BLOCK_SIZE / SMALL_PAGE_SIZE]; /* By unit; value blocks */
};

struct small_world {
    struct tac_memory_disk *disk;
    struct faulty_disk      faulty; /* The same disk; what small_open opens */
    struct tactus_options   options;
    struct tac_log_place   *log_place; /* NULL: the stores have no log of their own */
    uint32_t                record_counts[SMALL_TREES];
    uint8_t                 versions[SMALL_TREES][SMALL_RECORDS_MAX]; /* 0: no such record */
    struct small_block      blocks[SMALL_BLOCKS_MAX];
    uint32_t                block_count;
    uint32_t                levels; /* With tables, of the deepest tree */
    uint8_t                *image;  /* The disk as it should be */
    uint64_t                image_size;
    uint8_t                *older[SMALL_OLDER_MAX]; /* The disk as it was before, oldest first */
    uint64_t                older_size[SMALL_OLDER_MAX];
    uint32_t                older_count;
};

/* Builds the store, drained but for its last writes, and closes it. */
void small_create(struct small_world *world, uint32_t runs_per_level);
void small_destroy(struct small_world *world);
/* Everything as it should be again; the store is not open. */
void small_restore(struct small_world *world);
bool small_is_as_made(const struct small_world *world);

/* A code of tactus.h, with the text in error. */
TAC_MUST_CHECK int small_open(struct small_world *world, struct tactus **ret_store,
                              struct tac_error *error);

const char *small_kind_name(enum small_kind kind);
uint32_t    small_key(uint32_t tree, uint32_t number, uint8_t key[SMALL_KEY_MAX]);
uint32_t    small_number(uint32_t tree, struct tac_bytes key);
uint32_t    small_value(uint32_t tree, uint32_t number, uint32_t version,
                        uint8_t value[SMALL_VALUE_MAX]);
/* Puts the version, or deletes the record with version 0; the model follows if it was taken. */
TAC_MUST_CHECK int small_write(struct small_world *world, struct tactus *store, uint32_t tree,
                               uint32_t number, uint32_t version);

/* What reads said. */
struct small_reads {
    uint64_t right, corrupt;
    uint64_t wrong; /* Other data, not found though it is there, another error */
};

/* Gets the records of the range, and a few around it. */
void small_get_range(const struct small_world *world, struct tactus *store, uint32_t tree,
                     struct small_range range, struct small_reads *reads);
/* Scans over the range and a little beyond, in both directions. */
void small_scan_range(const struct small_world *world, struct tactus *store, uint32_t tree,
                      struct small_range range, struct small_reads *reads);
/* Both over all trees. */
void small_read_all(const struct small_world *world, struct tactus *store,
                    struct small_reads *reads);

#endif
