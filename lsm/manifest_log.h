/* SPDX-License-Identifier: Apache-2.0 */
/* manifest_log -- the manifest's events in chained blocks; replayed at open (rule R5).
 *
 * Blocks are numbered by a log sequence 1, 2, 3 …; each refers to the one before by {address,
 * checksum}. The superblock names the newest block and the sequence of the oldest that counts.
 * Events: tree (id, name, layout, planner state), insert or update of a table (whole descriptor),
 * remove of a table (id). Replayed in order, the newest event of a table or tree holds.
 *
 * A table of the last level is told as such, whatever the level's number: when the last level gets
 * another number, its tables need no events.
 *
 * Compaction, a little every bar: while the log has more blocks than twice what its live events
 * need plus two, the oldest block's live events are appended again and the block is released. An
 * event is live when its table (or tree) names that block in log_sequence.
 *
 * Coordinator only. Appends go to the open block in memory; at a checkpoint it is sealed under a
 * new address, and goes on being filled for the next checkpoint (its old address is released). */
#ifndef TACTUS_LSM_MANIFEST_LOG_H
#define TACTUS_LSM_MANIFEST_LOG_H

#include "lsm/manifest.h"
#include "lsm/superblock.h"

struct tac_manifest_log;

/* blocks_max: blocks that wait to be written between two checkpoints, the open one included; at
 * least 2. geometry must outlive the log. */
struct tac_manifest_log *tac_manifest_log_new(const struct tac_geometry *geometry,
                                              uint32_t                   blocks_max);
void                     tac_manifest_log_free(struct tac_manifest_log *log);
uint64_t tac_manifest_log_memory_bytes(const struct tac_geometry *geometry, uint32_t blocks_max);

/* Appends set the table's (tree's) log_sequence. The caller has made sure of room:
 * tac_manifest_log_room tells how many more blocks may be begun before the next checkpoint,
 * tac_manifest_log_blocks_for how many so many events of trees with such keys begin at most, and
 * tac_manifest_log_blocks_for_bytes how many events of so many bytes together, the longest of them of
 * a tree with such keys. */
void tac_manifest_log_tree(struct tac_manifest_log *log, struct tac_manifest_tree *tree);
void tac_manifest_log_insert(struct tac_manifest_log *log, const struct tac_manifest_tree *tree,
                             struct tac_table *table);
void tac_manifest_log_remove(struct tac_manifest_log *log, const struct tac_table *table);
/* A deleted range is there, or is over. */
void tac_manifest_log_range(struct tac_manifest_log *log, const struct tac_manifest_tree *tree,
                            struct tac_manifest_range *range);
void tac_manifest_log_range_over(struct tac_manifest_log *log, const struct tac_manifest_tree *tree,
                                 const struct tac_manifest_range *range);
uint32_t tac_manifest_log_room(const struct tac_manifest_log *log);
uint64_t tac_manifest_log_blocks_for(const struct tac_geometry *geometry, uint64_t event_count,
                                     uint32_t key_size_max);
uint64_t tac_manifest_log_blocks_for_bytes(const struct tac_geometry *geometry, uint64_t bytes,
                                           uint32_t key_size_max);
/* Of an event of a tree with such keys, at most. */
uint32_t tac_manifest_log_event_bytes(uint32_t key_size);
/* One bar's share of compaction: re-appends the live events of up to blocks_compact oldest blocks,
 * as far as there is room with blocks_kept for what comes before the next checkpoint; that the trees'
 * events with which it begins find room is seen to here. Every tree and table of the manifest must
 * have been appended before. To keep up, blocks_compact must be twice what is appended in a bar, and
 * two. */
void tac_manifest_log_compact(struct tac_manifest_log *log, struct tac_manifest *manifest,
                              uint64_t blocks_compact, uint64_t blocks_kept);

/* A checkpoint: how many blocks must be written now (full ones since the last checkpoint and the
 * open one; 0 when nothing was appended); then, oldest first, seal block i under an address into
 * the caller's buffer; then done: releases what is no longer part of the log into the free set and
 * sets the superblock's manifest_newest, _oldest_sequence, _block_count. No append in between. */
uint32_t                   tac_manifest_log_checkpoint_blocks(const struct tac_manifest_log *log);
struct tac_block_reference tac_manifest_log_seal(struct tac_manifest_log *log, uint32_t index,
                                                 uint64_t address, uint64_t sequence,
                                                 uint8_t *block);
void tac_manifest_log_checkpoint_done(struct tac_manifest_log *log, struct tac_free_set *free_set,
                                      struct tac_superblock *superblock);
/* The blocks of the log as of the last checkpoint, newest last; for digest and verify. */
uint64_t                   tac_manifest_log_block_count(const struct tac_manifest_log *log);
struct tac_block_reference tac_manifest_log_block(const struct tac_manifest_log *log,
                                                  uint64_t                       index);
/* Is the block one of the log, as of the last checkpoint or sealed since? */
bool tac_manifest_log_has_block(const struct tac_manifest_log *log, uint64_t address);

/* Rebuilds manifest and log, both new, from what the superblock names; the log then goes on as the
 * one that wrote it. read_block reads a block of the given kind by reference and checks its
 * checksum. The result's checksum must equal the superblock's. TACTUS_EFULL: the manifest's
 * tables_max is too small for this store. After an error both are only good for _free. */
typedef int tac_block_read_fn(void *context, const struct tac_block_reference *reference,
                              enum tac_block_kind kind, uint8_t *block, struct tac_error *error);

TAC_MUST_CHECK int tac_manifest_log_replay(struct tac_manifest_log     *log,
                                           struct tac_manifest         *manifest,
                                           const struct tac_superblock *superblock,
                                           tac_block_read_fn *read_block, void *context,
                                           struct tac_error *error);

/* After a replay: the free set has every block of itself, of the log, and every table's index block
 * in use, and none of them is two things at once. (Blocks of records and filters are known to index
 * blocks only; whoever gives them back looks first.) TACTUS_ECORRUPT names the block; ENOMEM. */
TAC_MUST_CHECK int tac_manifest_log_check_blocks(const struct tac_manifest_log *log,
                                                 struct tac_manifest           *manifest,
                                                 const struct tac_superblock   *superblock,
                                                 const struct tac_free_set     *free_set,
                                                 struct tac_error              *error);
#endif
