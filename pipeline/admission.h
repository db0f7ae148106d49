/* SPDX-License-Identifier: Apache-2.0 */
/* admission -- how many jobs are seated at a time, in which order, what memory there is for them,
 * and how far each one reads ahead. Pure; nothing of it shapes a byte of the store: a job's
 * addresses are its own since the plan. */
#ifndef TACTUS_PIPELINE_ADMISSION_H
#define TACTUS_PIPELINE_ADMISSION_H

#include "base/units.h"
#include "lsm/superblock.h"
#include "stages/seat.h"

#define TAC_SEATS_MAX 66

/* Most records of a table: as many as 8 filter blocks take, or as fit twice the largest target with
 * records of 8 bytes. */
static inline uint64_t tac_admission_table_records_max(const struct tac_shape *shape)
{
    uint64_t by_size = tac_max_u64(2 * shape->table_size / 8, 1024);
    uint64_t bits = tac_max_u64(shape->filter_bits_per_key, 8);
    uint64_t by_filter = (uint64_t)TAC_FILTER_BLOCKS_MAX * (shape->block_size - 128) * 8 / bits;

    return tac_min_u64(by_size, by_filter);
}

static inline uint32_t tac_admission_filter_blocks_max(const struct tac_shape *shape)
{
    uint64_t records = tac_admission_table_records_max(shape);
    uint64_t bytes = tac_filter_bytes(records, shape->filter_bits_per_key);

    return bytes == 0 ? 0 : (uint32_t)(bytes / (shape->block_size - 128)) + 1;
}

/* Layers of the largest compaction, the target's run and the memtable. */
static inline uint32_t tac_admission_sources_max(const struct tac_shape *shape)
{
    return (uint32_t)tac_min_u64(2 * shape->runs_per_level + 3, TAC_SOURCES_MAX);
}

/* One for every thread that may merge, and two more: some jobs wait for the device. */
static inline uint32_t tac_admission_seats(const struct tactus_options *options)
{
    uint32_t threads = options->threads_merge;

    if (options->assist) {
        threads += options->threads_read + options->threads_write;
    }
    return (uint32_t)tac_min_u64(tac_max_u64(threads, 1) + 2, TAC_SEATS_MAX);
}

/* Blocks of the pool, unless the options say it: for every seat one job of a bar's usual depth with
 * half its read-ahead, and the largest job once. */
static inline uint64_t tac_admission_pool_blocks(const struct tac_shape *shape, uint32_t seats)
{
    uint32_t filter_blocks = tac_admission_filter_blocks_max(shape);
    uint64_t largest = tac_seat_allotment(tac_admission_sources_max(shape), 1, filter_blocks);

    return largest + seats * (uint64_t)tac_seat_allotment(shape->runs_per_level + 2, 4,
                                                          filter_blocks);
}

/* Blocks per source for a job that is to be seated now, the first of `count` that there are seats
 * for: as many as its part of the free blocks has room for, so that the next ones read ahead too.
 * 0: it has to wait for blocks. */
static inline uint32_t tac_admission_read_ahead(uint32_t sources, uint32_t filter_blocks_max,
                                                uint32_t blocks_free, uint32_t count)
{
    uint32_t read_ahead = TAC_READ_AHEAD_MAX;

    tac_assert(count > 0);
    while (read_ahead > 1 && tac_seat_allotment(sources, read_ahead, filter_blocks_max) >
                                 blocks_free / count) {
        read_ahead /= 2;
    }
    return tac_seat_allotment(sources, read_ahead, filter_blocks_max) <= blocks_free ? read_ahead
                                                                                    : 0;
}

/* The order in which a plan's jobs are seated: the largest first, for what is begun last should
 * soon be over; of equal ones in the order of the plan. */
void tac_admission_order(const uint64_t *bytes, uint32_t count, uint32_t *ret_order);

#endif
