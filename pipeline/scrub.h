/* SPDX-License-Identifier: Apache-2.0 */
/* scrub -- reads every block that the store reaches once in `scrub_days` days and checks it, so
 * that damage is found while there still is a copy to restore from.
 *
 * Who      a thread of its own, tac-scrub; without threads tactus_step, when nothing else is to be
 *          done. One block is read at a time, past all caches.
 * Pace     so many blocks in the time that has passed as a round of scrub_days has; at most
 *          TAC_SCRUB_BURST_BLOCKS, or 100 ms' worth, are made up for after a pause. None while a
 *          writer waits for compaction.
 * Order    trees, dropped ones that snapshots have tables of among them, levels downwards, tables
 *          by key, then those retained for snapshots; then what the durable checkpoint consists of.
 *          A table moves down only, or up in the order of keys when its low end goes: no table that
 *          is there at the beginning of a round and at its end is passed over. The first round
 *          begins at any table, so that a store which is opened often is not checked in its first
 *          tables only; it does not count as a round.
 * Pins     none: like a reader it looks the table up in the newest view before each block. What
 *          then looks like damage is none if two bars, or for the checkpoint's blocks another
 *          checkpoint, have ended meanwhile.
 * A find   is counted and told, nothing else: marks of damage change plans, and plans follow from
 *          the operations alone. A compaction that meets the block marks its table (damage.h). */
#ifndef TACTUS_PIPELINE_SCRUB_H
#define TACTUS_PIPELINE_SCRUB_H

#include <pthread.h>

#include "lsm/index_block.h"
#include "lsm/superblock.h"

#define TAC_SCRUB_BURST_BLOCKS 16

struct tactus;

enum tac_scrub_part { /* Of a round, in this order */
    TAC_SCRUB_TABLES,
    TAC_SCRUB_LOG, /* The manifest's, from the newest block on: old ones go first */
    TAC_SCRUB_SNAPSHOTS, /* Their directory, then each one's image */
    TAC_SCRUB_FREE_SET,
    TAC_SCRUB_SUPERBLOCKS,
};

/* Of a round: what lies behind this is to be read. */
struct tac_scrub_position {
    enum tac_scrub_part part;
    uint32_t            tree, level;
    uint32_t            key_size;
    uint8_t             key[TACTUS_KEY_SIZE_MAX];
    uint64_t            table;         /* In the level tables from (key, id) on */
    uint64_t            index_address; /* Of the index block that is in memory; 0: none */
    uint64_t            block;         /* Of the table, 0 its index block; or of the part */
    uint64_t            snapshot_op;   /* Of the snapshot whose image is being read; 0: none yet */
    struct tac_block_reference image;  /* The image's next block; address 0: it is over */
};

struct tac_scrub_counts {
    uint64_t blocks, rounds, damages; /* Since the open */
    uint64_t round_blocks;            /* In the round under way */
    char     damage[TACTUS_MESSAGE_BYTES]; /* The last one; empty: none yet */
};

struct tac_scrub {
    uint64_t period_ns; /* Of a round; 0: off. Fixed at open */

    /* Whoever steps: the thread, or with commit_lock tactus_step. */
    uint8_t                  *index_data, *block_data;
    struct tac_index_block    index;
    struct tac_superblock     superblock; /* The durable one, as last looked at */
    struct tac_scrub_position position;
    uint64_t                  paced_ns;   /* The time up to which the blocks read are enough */
    uint32_t                  busy_turns; /* In a row: the checkpoint's blocks were being changed */
    bool                      is_partial; /* The round began behind the first table */

    /* Under lock, which is held for moments only. Under it, too, the coordinator sets
     * is_checkpointing, and replaces the durable superblock and clears it: while it is clear the
     * superblock and the manifest log's blocks may be looked at with the lock. */
    pthread_mutex_t         lock;
    pthread_cond_t          stop_cond;
    struct tac_scrub_counts counts;
    bool                    should_stop;
    bool                    has_thread;
    pthread_t               thread;
};

/* Always; then, where scrub_days is not 0, memory for two blocks. */
void               tac_scrub_init(struct tac_scrub *scrub);
TAC_MUST_CHECK int tac_scrub_create(struct tac_scrub *scrub, uint32_t days, uint32_t block_size,
                                    struct tac_error *error);
void               tac_scrub_destroy(struct tac_scrub *scrub);

/* The first round begins: in an open, before the coordinator runs. */
void tac_scrub_begin(struct tactus *store);
/* At the end of an open: the thread, in a store with threads. */
TAC_MUST_CHECK int tac_scrub_start(struct tactus *store, struct tac_error *error);
void               tac_scrub_stop(struct tactus *store);

/* Reads one block if it is due. False: none is. */
bool tac_scrub_step(struct tactus *store);

void tac_scrub_report(struct tac_scrub *scrub, struct tactus_stats *stats);

/* For tests: another clock in the place of the system's, for all stores; NULL: the system's. */
void tac_scrub_clock_replace(uint64_t (*now_ns)(void));

#endif
