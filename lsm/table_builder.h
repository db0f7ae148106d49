/* SPDX-License-Identifier: Apache-2.0 */
/* table_builder -- sorted records in, finished tables out: value blocks, then the table's filter
 * blocks (if any) and its index block. The one place that ends a table.
 *
 * The builder owns no block: it is given empty buffers and addresses and gives back sealed blocks,
 * in address order as they were taken. One thread at a time. */
#ifndef TACTUS_LSM_TABLE_BUILDER_H
#define TACTUS_LSM_TABLE_BUILDER_H

#include "lsm/index_block.h"

/* Where a table ends: pipeline/planner.h, struct tac_plan_cut, with the edge as a key. */
struct tac_cut {
    struct tac_bytes edge; /* Exclusive; size 0: no edge, to the job's end */
    bool             is_hard;
    uint64_t         limit_bytes;
};

struct tac_table_builder_options {
    const struct tac_geometry *geometry;
    struct tac_layout          layout;
    uint32_t                   tree;
    uint64_t                   sequence; /* Checkpoint sequence for block headers */
    uint32_t                   filter_bits_per_key; /* At least; see tac_filter_bits_with_spare */
    uint64_t                   table_bytes_min; /* See tac_plan_cut */
    const struct tac_cut      *cuts;            /* Borrowed until the end; at least one */
    uint32_t                   cut_count;
};

/* A buffer that the builder fills: the caller's block. */
struct tac_builder_buffer {
    uint8_t *data;
    void    *context; /* The caller's: comes back with the sealed block */
};

struct tac_sealed_block {
    struct tac_builder_buffer  buffer;
    enum tac_block_kind        kind;
    struct tac_block_reference reference;
    uint32_t                   page_count; /* Of a value block: pages with records */
};

/* The outside of a builder: buffers, addresses, finished tables. Called from inside append and
 * finish; may not fail: the caller made sure of tac_table_builder_buffers_needed() buffers. */
struct tac_builder_sink {
    void *context;
    struct tac_builder_buffer (*take_buffer)(void *context);
    uint64_t (*take_address)(void *context);
    void (*sealed)(void *context, const struct tac_sealed_block *block);
    /* A table is complete: fill-in of everything but id, level, stamp, snapshots. The keys are the
     * builder's: copy them. */
    void (*finished)(void *context, const struct tac_table *table);
};

struct tac_table_builder;

/* hashes_max: most records of a table (a table ends before it would have more). Allocates. */
struct tac_table_builder *tac_table_builder_new(const struct tac_geometry *geometry,
                                                uint64_t                   hashes_max);
void                      tac_table_builder_free(struct tac_table_builder *builder);
uint64_t tac_table_builder_memory_bytes(const struct tac_geometry *geometry, uint64_t hashes_max);

/* Begins a job; the builder is reused from job to job. A job that ended early (its blocks are then
 * the caller's to take back) needs no finish. */
void tac_table_builder_begin(struct tac_table_builder               *builder,
                             const struct tac_table_builder_options *options,
                             const struct tac_builder_sink          *sink);
/* Buffers that the next append (or finish) may take at most, beyond what it has: one for a new
 * value block; where a table is open also its index block and its filter blocks, as it is now. */
uint32_t tac_table_builder_buffers_needed(const struct tac_table_builder *builder);
/* The most that tac_table_builder_buffers_needed ever says: what a job must be able to get. */
uint32_t tac_table_builder_buffers_max(const struct tac_geometry *geometry,
                                       const struct tac_layout   *layout,
                                       uint32_t filter_bits_per_key, uint64_t hashes_max);
/* Keys strictly ascending (asserted in slow builds for every record, always at page borders). */
void tac_table_builder_append(struct tac_table_builder *builder, const struct tac_record *record,
                              struct tac_u128 hash);
/* Ends the open table, if any. */
void tac_table_builder_finish(struct tac_table_builder *builder);
/* Totals of the job so far: records, tombstones, payload, sum of all appended records. */
struct tac_builder_totals {
    uint64_t        records, tombstones, bytes, tables, blocks;
    struct tac_u128 sum;
};
struct tac_builder_totals tac_table_builder_totals(const struct tac_table_builder *builder);

/* Most blocks of all kinds (addresses) and most tables that a job can take which appends at most
 * that many records and payload bytes: what a plan reserves. */
struct tac_builder_bound {
    uint64_t blocks, tables;
};
struct tac_builder_bound tac_table_builder_bound(const struct tac_table_builder_options *options,
                                                 uint64_t hashes_max, uint64_t records,
                                                 uint64_t payload_bytes);

#endif
