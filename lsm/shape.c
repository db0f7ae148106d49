/* SPDX-License-Identifier: Apache-2.0 */
/* The ranges of the byte-shaping options. The smallest ones permit stores of a few blocks, so that
 * tests reach every edge in a second. */
#include "base/units.h"
#include "lsm/superblock.h"
#include "lsm/value_block.h"

#define BLOCK_SIZE_MIN (4 * TAC_KIB)
#define BLOCK_SIZE_MAX TAC_MIB
#define PAGE_SIZE_MIN 512
#define PAGE_SIZE_MAX (64 * TAC_KIB)
#define PAGES_PER_BLOCK_MIN 4
#define PAGES_PER_BLOCK_MAX 128
#define MEMTABLE_BLOCKS_MIN 8
#define MEMTABLE_SIZE_MAX (64 * TAC_GIB)
#define TABLE_BLOCKS_MIN 2
#define TABLE_SIZE_MAX TAC_GIB
#define SLICE_SIZE_MAX (64 * TAC_GIB)

struct range {
    const char *name;
    uint64_t    value, min, max;
};

static int range_check(const struct range *range, struct tac_error *error)
{
    tac_assert(range->min <= range->max);
    if (range->value < range->min || range->value > range->max) {
        return tac_error_set(error, TACTUS_EOPTION, "%s is %llu, must be %llu to %llu", range->name,
                             (unsigned long long)range->value, (unsigned long long)range->min,
                             (unsigned long long)range->max);
    }
    return TACTUS_OK;
}

static int power_check(const struct range *range, struct tac_error *error)
{
    if (!tac_is_power_of_two(range->value) || range->value < range->min ||
        range->value > range->max) {
        return tac_error_set(error, TACTUS_EOPTION,
                             "%s is %llu, must be a power of two from %llu to %llu", range->name,
                             (unsigned long long)range->value, (unsigned long long)range->min,
                             (unsigned long long)range->max);
    }
    return TACTUS_OK;
}

static int geometry_check(const struct tac_shape *shape, struct tac_error *error)
{
    const struct range block = {"block_size", shape->block_size, BLOCK_SIZE_MIN, BLOCK_SIZE_MAX};
    const struct range page = {"page_size", shape->page_size, PAGE_SIZE_MIN, PAGE_SIZE_MAX};
    const struct tac_geometry geometry = {shape->block_size, shape->page_size, 0};
    uint32_t                  pages;
    int                       rv;

    rv = power_check(&block, error);
    if (rv == TACTUS_OK) {
        rv = power_check(&page, error);
    }
    if (rv != TACTUS_OK) {
        return rv;
    }
    pages = shape->block_size / shape->page_size;
    if (pages < PAGES_PER_BLOCK_MIN || pages > PAGES_PER_BLOCK_MAX) {
        return tac_error_set(error, TACTUS_EOPTION,
                             "page_size is %u, must be %u to %u for a block_size of %u (%u to %u "
                             "pages per block)",
                             shape->page_size, shape->block_size / PAGES_PER_BLOCK_MAX,
                             shape->block_size / PAGES_PER_BLOCK_MIN, shape->block_size,
                             PAGES_PER_BLOCK_MIN, PAGES_PER_BLOCK_MAX);
    }
    if (!tac_value_block_geometry_fits(&geometry)) {
        return tac_error_set(error, TACTUS_EOPTION,
                             "page_size is %u, must be larger for a block_size of %u: the header "
                             "page has to list %u pages",
                             shape->page_size, shape->block_size, pages);
    }
    return TACTUS_OK;
}

/* A plan's quota runs from its third beat to lag_beats before its last. With runs of 1 a plan has
 * half the beats of a bar. */
static int lag_check(const struct tac_shape *shape, struct tac_error *error)
{
    uint32_t beats = shape->runs_per_level == 1 ? shape->beats_per_bar / 2 : shape->beats_per_bar;

    tac_assert(beats > 3);
    if (shape->runs_per_level == 1 && shape->beats_per_bar % 2 != 0) {
        return tac_error_set(error, TACTUS_EOPTION,
                             "beats_per_bar is %u, must be even with runs_per_level 1",
                             shape->beats_per_bar);
    }
    if (shape->lag_beats > beats - 3) {
        return tac_error_set(error, TACTUS_EOPTION,
                             "lag_beats is %u, must be at most %u with beats_per_bar %u and "
                             "runs_per_level %u",
                             shape->lag_beats, beats - 3, shape->beats_per_bar,
                             shape->runs_per_level);
    }
    return TACTUS_OK;
}

uint64_t tac_shape_file_size_max(uint32_t block_size)
{
    return TAC_FREE_SET_BLOCKS_MAX * tac_free_set_part_addresses(block_size) * block_size;
}

int tac_shape_check(const struct tac_shape *shape, struct tac_error *error)
{
    int rv = geometry_check(shape, error);

    if (rv != TACTUS_OK) {
        return rv; /* The ranges below are in blocks. */
    }

    const uint64_t     block = shape->block_size;
    const struct range ranges[] = {
        {"memtable_size", shape->memtable_size, MEMTABLE_BLOCKS_MIN * block, MEMTABLE_SIZE_MAX},
        {"table_size", shape->table_size, TABLE_BLOCKS_MIN * block, TABLE_SIZE_MAX},
        {"slice_size", shape->slice_size, TABLE_BLOCKS_MIN * block, SLICE_SIZE_MAX},
        /* The superblock lists so many free-set blocks. */
        {"file_size_max", shape->file_size_max, TAC_GRID_BLOCKS_MIN * block,
         tac_shape_file_size_max(shape->block_size)},
        {"runs_per_level", shape->runs_per_level, 1, 16},
        {"last_ratio", shape->last_ratio, 1, 16},
        {"beats_per_bar", shape->beats_per_bar, 8, 1024},
        {"lag_beats", shape->lag_beats, 1, 8},
        {"checkpoint_interval_bars", shape->checkpoint_interval_bars, 1, 64},
        {"filter_bits_per_key", shape->filter_bits_per_key, 0, 20},
    };

    for (size_t i = 0; i < TAC_ARRAY_COUNT(ranges) && rv == TACTUS_OK; i++) {
        rv = range_check(&ranges[i], error);
    }
    if (rv != TACTUS_OK) {
        return rv;
    }
    tac_assert(shape->file_size_max / block <= UINT32_MAX);
    return lag_check(shape, error);
}

uint64_t tac_uuid_checksum_seed(const uint8_t uuid[TACTUS_UUID_BYTES])
{
    return tac_checksum(uuid, TACTUS_UUID_BYTES, 0).low;
}
