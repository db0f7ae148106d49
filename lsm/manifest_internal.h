/* SPDX-License-Identifier: Apache-2.0 */
/* manifest_internal -- what manifest.c, which changes a manifest, and manifest_check.c, which looks at
 * all of it, share. */
#ifndef TACTUS_LSM_MANIFEST_INTERNAL_H
#define TACTUS_LSM_MANIFEST_INTERNAL_H

#include "lsm/manifest.h"

/* What belongs to a tree beside its public part: the levels' arrays and the slab of descriptors, in
 * one mapping. Each has room for all tables of the store; the system provides pages as they are
 * touched, and free descriptors are used again last in, first out, so a tree touches what its own
 * tables take. */
struct tree_memory {
    void             *mapping;
    size_t            mapping_bytes;
    uint8_t          *slab;
    size_t            descriptor_bytes; /* Keys included */
    uint32_t          slab_used;
    uint32_t          tables_out; /* Taken and not given back */
    struct tac_table *free;
};

/* Of one range: each bound has at most a byte more than a key, and no more than the longest key. */
#define TAC_MANIFEST_BOUNDS_BYTES (2 * TACTUS_KEY_SIZE_MAX)

struct tac_manifest {
    uint32_t                  tables_max;
    uint32_t                  tables_out; /* Taken and not given back */
    uint32_t                  tree_count;
    struct tac_manifest_tree  trees[TACTUS_TREES_MAX];
    struct tree_memory        memory[TACTUS_TREES_MAX];
    struct tree_memory        spare; /* For the next tree that is added; mapping NULL: none */
    struct tac_table         *limbo_first, *limbo_last; /* In order of removed_bar */
    struct tac_table        **active;                   /* Scratch of the check; tables_max */
    uint32_t                  range_count;
    struct tac_manifest_range ranges[TAC_RANGES_MAX]; /* In order of op */
    uint8_t                  *bounds[TAC_RANGES_MAX]; /* Memory of each, and of those to come */
    uint8_t                  *bounds_memory;
};

/* Ids are given once, so no two tables of a tree are equal in either order. */
static inline int compare_age(const struct tac_table *a, const struct tac_table *b)
{
    if (a->stamp != b->stamp) {
        return a->stamp < b->stamp ? -1 : 1;
    }
    return (a->id > b->id) - (a->id < b->id);
}

static inline int compare_by_min(const struct tac_table *a, const struct tac_table *b)
{
    int order = tac_bytes_compare(a->key_min, b->key_min);

    if (order == 0) {
        order = tac_bytes_compare(a->key_max, b->key_max);
    }
    return order != 0 ? order : compare_age(a, b);
}

static inline int compare_by_max(const struct tac_table *a, const struct tac_table *b)
{
    int order = tac_bytes_compare(a->key_max, b->key_max);

    if (order == 0) {
        order = tac_bytes_compare(a->key_min, b->key_min);
    }
    return order != 0 ? order : compare_age(a, b);
}

static inline int compare_by_id(const struct tac_table *a, const struct tac_table *b)
{
    return (a->id > b->id) - (a->id < b->id);
}

static inline uint64_t table_blocks(const struct tac_table *table)
{
    return (uint64_t)table->value_block_count + table->filter_block_count + 1;
}

#endif
