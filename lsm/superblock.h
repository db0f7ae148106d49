/* SPDX-License-Identifier: Apache-2.0 */
/* superblock -- the root of a checkpoint, in four copies as two ping-pong pairs (rule R1).
 *
 * Copies are 4 KiB at the start of blocks 0, 64, 128, 192. Even sequences are written to copies 0
 * and 1, odd ones to 2 and 3, so a checkpoint never touches the pair of the one before. */
#ifndef TACTUS_LSM_SUPERBLOCK_H
#define TACTUS_LSM_SUPERBLOCK_H

#include "lsm/free_set.h"

#define TAC_SUPERBLOCK_BYTES 4096
#define TAC_FREE_SET_BLOCKS_MAX 96

/* Byte-shaping options, as created. */
struct tac_shape {
    uint64_t memtable_size, table_size, slice_size, file_size_max;
    uint32_t block_size, page_size, runs_per_level, last_ratio, beats_per_bar, lag_beats;
    uint32_t checkpoint_interval_bars, filter_bits_per_key;
};

/* What stands between the bars besides the tree: under it the next bar is planned and writers are
 * let in. A store that goes on by a log must go on under the same. */
enum {
    TAC_CONTROL_HELD = 1 << 0, /* Compaction is held back */
    TAC_CONTROL_DRAINING = 1 << 1,
    TAC_CONTROL_FLUSHING = 1 << 2,   /* A drain that flushes first */
    TAC_CONTROL_UNFINISHED = 1 << 3, /* Op C + 1, a drain or a checkpoint, was under way */
    TAC_CONTROL_FULL_FOR_PUTS = 1 << 4,
    TAC_CONTROL_FULL_FOR_DELETES = 1 << 5,
    TAC_CONTROL_FULL_OF_TABLES = 1 << 6,
    TAC_CONTROL_LOGGED = 1 << 7, /* There is a write-ahead log beside the file */
    TAC_CONTROL_LET_IN = 1 << 8, /* In a full store: op C + 1 had been let in, and ended the bar */
    TAC_CONTROL_KNOWN = (1 << 9) - 1,
    TAC_CONTROL_FULL_MASK = TAC_CONTROL_FULL_FOR_PUTS | TAC_CONTROL_FULL_FOR_DELETES,
};

/* As much of a key as a copy of the superblock has room for. */
#define TAC_SWEEP_KEY_BYTES 392
/* After so many ends of bars what was in the memtables is in tables. */
#define TAC_SWEEP_BARS_WAIT 2

struct tac_sweep_key {
    uint32_t size;                       /* 0: there is none */
    uint8_t  bytes[TAC_SWEEP_KEY_BYTES]; /* Zero behind `size` */
};

/* A key range that is being compacted by hand, beside the writes (pipeline/sweep.h). */
struct tac_sweep {
    uint64_t             op; /* That began it; 0: none, and all else is zero */
    uint64_t             bytes_total, passes_total; /* When it began to take tables; before: 0 */
    uint32_t             tree;
    uint32_t             level;      /* That is being emptied */
    uint32_t             bars_wait;  /* Until what had been written before it is in tables */
    uint32_t             plans_held; /* In a row that have not moved its place */
    struct tac_sweep_key low, high;  /* [low, high); none: open */
    struct tac_sweep_key place;      /* In the level: what lies below is done; none: from low on */
};

struct tac_control {
    uint32_t         flags;
    uint32_t         bars_stuck;   /* Bars in which something found no room, since anything was
                                      done */
    uint32_t         bars_settled; /* Of a drain: bars in a row that left nothing due */
    uint32_t         bars_owed;    /* That the ingest of op P is still to end */
    uint64_t         manual_trees; /* Bit for each tree that a drain compacts whole */
    struct tac_sweep sweep;
};

/* Bars that one ingest may owe. */
#define TAC_BARS_OWED_MAX 4096

/* A library that does not know one of these that a store has must not open it. */
enum {
    TAC_FEATURE_SNAPSHOTS = 1 << 1, /* There are snapshots, or tables retained for some */
    TAC_FEATURE_RANGES = 1 << 2, /* The manifest has, or had, deleted ranges */
    TAC_FEATURES_INCOMPATIBLE_KNOWN = TAC_FEATURE_SNAPSHOTS | TAC_FEATURE_RANGES,
};

struct tac_superblock {
    uint8_t            uuid[TACTUS_UUID_BYTES];
    uint64_t           features_compatible; /* Kept as found; a new store has none */
    uint64_t           features_incompatible; /* TAC_FEATURE_* */
    uint64_t           sequence;            /* 1 at creation; one more for each checkpoint */
    struct tac_u128    parent_checksum;     /* Of the superblock before; zero for the first */
    struct tac_shape   shape;
    uint64_t           op_persisted;  /* P: the last op whose records are all in tables */
    uint64_t           op_compacted;  /* C: the last op whose beats have run */
    struct tac_control control;       /* As of C */
    uint64_t           op_released;   /* The op at which the released set becomes free */
    uint64_t           bar_count;     /* Bars ended so far */
    uint64_t           table_id_last; /* Highest table id given */
    uint64_t           stamp_last;    /* Highest stamp given */
    uint64_t           table_count;
    struct tac_u128    manifest_checksum;       /* tac_manifest_checksum of the manifest it names */
    struct tac_block_reference manifest_newest; /* Newest manifest-log block; all zero: none */
    uint64_t                   manifest_oldest_sequence; /* See manifest_log.h */
    uint64_t                   manifest_block_count;
    uint64_t                   blocks_in_file;
    uint32_t                   free_set_block_count;
    struct tac_block_reference free_set[TAC_FREE_SET_BLOCKS_MAX];
    struct tac_block_reference snapshots; /* The directory; all zero: there are none */
};

/* Which two copies a sequence goes to: first and first + 1. */
static inline uint32_t tac_superblock_copy_first(uint64_t sequence)
{
    return sequence % 2 == 0 ? 0 : 2;
}

/* Writes one copy, checksum included; the copy number is outside the checksum. */
void tac_superblock_encode(uint8_t *copy, const struct tac_superblock *superblock,
                           uint32_t copy_number);
/* The checksum that the copies of this superblock carry. */
struct tac_u128 tac_superblock_checksum(const struct tac_superblock *superblock);

struct tac_superblock_choice {
    struct tac_superblock superblock;
    uint32_t              repair_first_mask;  /* Phase 1: bad copies of the chosen pair */
    uint32_t              repair_second_mask; /* Phase 2: of the other pair, and misplaced ones */
};
/* Chooses among the four copies (each TAC_SUPERBLOCK_BYTES; NULL: unreadable) as R1 says. Before
 * anything else is written the caller encodes the chosen superblock into phase 1's copies, syncs,
 * then into phase 2's, syncs. Other copies are never rewritten.
 * TACTUS_EFORMAT: none is a Tactus superblock; TACTUS_ECORRUPT: none is whole; TACTUS_EFORK. */
TAC_MUST_CHECK int tac_superblock_choose(const uint8_t *const copies[TAC_SUPERBLOCK_COPIES],
                                         struct tac_superblock_choice *ret_choice,
                                         struct tac_error             *error);

/* ---- shape.c ---- */

/* Every number in range and consistent with each other; for create and open alike. TACTUS_EOPTION
 * names the option, its value and the range. */
/* Largest file_size_max with such blocks (a power of two, at least 4 KiB). */
uint64_t           tac_shape_file_size_max(uint32_t block_size);
TAC_MUST_CHECK int tac_shape_check(const struct tac_shape *shape, struct tac_error *error);
uint64_t           tac_uuid_checksum_seed(const uint8_t uuid[TACTUS_UUID_BYTES]);

#endif
