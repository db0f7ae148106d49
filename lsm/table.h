/* SPDX-License-Identifier: Apache-2.0 */
/* table -- what the manifest knows of a table: an immutable sorted part of a tree, made of value
 * blocks, one index block, and filter blocks where the filter does not fit into the index block.
 *
 * A descriptor never changes once readers can see it: a slice makes a new descriptor of the same
 * table. But when the last level sinks its tables' level gets another number (atomic, relaxed);
 * readers only tell it in messages; is_discarded and is_damaged change as they are, since no reader
 * looks at them. And index_hint and index_kept are the readers' to write, but that the
 * coordinator takes index_kept away. Descriptors have room for the two keys of their tree's layout
 * right behind them. */
#ifndef TACTUS_LSM_TABLE_H
#define TACTUS_LSM_TABLE_H

#include "base/bytes.h"
#include "base/units.h"
#include "lsm/block.h"

/* How a tree's records are laid out; FORMAT.md, "Trees". */
struct tac_layout {
    uint32_t kind;       /* enum tactus_layout_kind */
    uint32_t key_size;   /* FIXED: of every key; VARIABLE: at most */
    uint32_t value_size; /* FIXED: of every value; VARIABLE: at most */
};

struct tac_table {
    /* What a get looks at: a cache line. */
    uint64_t                   id;    /* 1, 2, 3 … in order of commit; never used again */
    uint32_t                   tree;  /* Its number */
    uint32_t                   level;
    uint64_t                   stamp; /* Of overlapping tables of a level the higher one is newer */
    struct tac_block_reference index;
    uint32_t index_hint; /* Memory only; atomic, relaxed: where readers had the index block last */
    void    *index_kept; /* Memory only; atomic: the frame readers keep; tac_table_index_look */

    uint64_t                   snapshot_min; /* Op up to which its contents go: whoever made
                                                it knew the ranges deleted by then, no
                                                later ones */
    uint64_t                   snapshot_max; /* Op that made it invisible; UINT64_MAX: none yet */
    uint32_t                   value_block_count; /* As written */
    uint32_t                   filter_block_count; /* 0: a filter is in the index block, if at all */
    uint32_t                   generation;         /* Of its tree */
    /* What is left of the table: as written, less what slices have taken from its low end. */
    uint64_t        bytes;      /* Keys and values */
    uint64_t        records;    /* Tombstones included */
    uint64_t        tombstones;
    struct tac_u128 sum;        /* Of the record hashes */
    bool            is_damaged; /* A block was found damaged (discarded: the index block); plans
                                   skip it */
    bool            is_trimmed; /* key_min is an edge, not a key; blocks below it may be unused */
    bool            is_discarded; /* In no level; its blocks are still to be given back */
    bool            is_retained; /* In no level any more: snapshots up to snapshot_max have it */
    struct tac_bytes key_min;   /* No record that counts is below */
    struct tac_bytes key_max;   /* The last record's key */

    /* Memory only */
    uint64_t          log_sequence; /* Block of the manifest log that holds the newest event */
    uint64_t          removed_bar;  /* Bar at whose end it left the manifest */
    struct tac_table *next;         /* In a free, limbo or output list */
    uint32_t          key_capacity; /* Bytes behind the descriptor for each of the two keys */
    uint32_t          rank_min, rank_max; /* Scratch of the planner's input */
    uint32_t          plan_number;   /* Scratch of the planner's input: its number there */
    uint32_t          run;           /* Scratch of tac_version_fill, of tactus_verify; not for
                                       readers */
    bool              is_leaving;    /* Scratch of a plan: it is discarded at its end (bar.h) */
    void *index_leaving; /* Coordinator: a frame that it has taken from index_kept, to be let go */
};

tac_static_assert(offsetof(struct tac_table, snapshot_min) <= TAC_CACHE_LINE_BYTES,
                  "a get looks at one cache line");

#endif
