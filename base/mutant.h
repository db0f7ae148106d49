/* SPDX-License-Identifier: Apache-2.0 */
/* mutant -- bugs planted to see that the tests find them (docs/TESTING.md, "Mutants").
 *
 * TAC_MUTANT(NAME) is 0, and its code is not there, unless configured with --enable-mutants. There
 * it is 1 while the environment variable TACTUS_MUTANT has the mutant's number: one build has them
 * all, and without the variable it is the engine as it should be.
 *
 * A new mutant: a line here, with the next number, what is wrong, the bug of the past that it
 * stands for, and the test that kills it; then TAC_MUTANT(NAME) at its place. */
#ifndef TACTUS_BASE_MUTANT_H
#define TACTUS_BASE_MUTANT_H

#ifdef TACTUS_MUTANTS

/* clang-format off */
#define TAC_MUTANTS(M)                                                                             \
    /* What is chosen, moved and dropped */                                                        \
    M(1, OLDER_STAYS, "sim/store_sim_test", "leveldb#320",                                         \
      "a compaction leaves older tables over its keys where they are")                             \
    M(2, DROP_OVER_SIBLING, "sim/store_sim_test", "badger#464",                                    \
      "tombstones are dropped over older tables of the target level")                              \
    M(3, DROP_OVER_DEEPER, "sim/store_sim_test", "badger#1422",                                    \
      "tombstones are dropped over tables of deeper levels")                                       \
    M(4, DROP_IN_COMPACT, "sim/store_sim_test", "leveldb#184",                                     \
      "a compaction by hand drops all tombstones")                                                 \
    M(5, MOVE_UNCHECKED, "sim/store_sim_test", "rocksdb#2634",                                     \
      "a table is moved although others of the target overlap it")                                 \
    M(6, COLLISION_TAKEN, "sim/store_sim_test", "pebble#875",                                      \
      "two compactions of a plan write to one place of a run")                                     \
    M(7, IN_PLACE_STAMP, "sim/store_sim_test", "pebble#316",                                       \
      "what is merged in place becomes the newest of its level")                                   \
    M(8, TARGET_BY_STAMP, "sim/store_sim_test", "rocksdb#13155",                                   \
      "a merge takes the target's record for newer if its stamp is higher")                        \
    M(9, MOVE_KEEPS_STAMP, "sim/store_sim_test", "pebble#774",                                     \
      "a moved table keeps the stamp that it had in its level")                                    \
    M(10, STAMP_FROM_ZERO, "sim/store_sim_test", "rocksdb#6245",                                   \
      "stamps begin with 1 again after an open")                                                   \
    M(11, TABLE_ID_AGAIN, "sim/store_sim_test", "pebble#788",                                      \
      "ids of tables are given again after an open")                                               \
    /* Merging and building */                                                                     \
    M(12, JOB_END_INCLUSIVE, "unit/merge_test", "rocksdb#4723",                                    \
      "two neighbouring jobs both take the key between them")                                      \
    M(13, LAST_KEY_CUT, "sim/store_sim_test", "rocksdb#1784",                                      \
      "a table's last key loses its last byte")                                                    \
    M(14, RECORD_LOST, "sim/store_sim_test", "splinterdb#454",                                     \
      "a merge out of buffers drops a record, and sums are not compared")                          \
    M(15, SUMS_UNCHECKED, "unit/damage_test", "splinterdb#454",                                    \
      "a compaction need not prove that it has lost no record")                                    \
    M(16, MERGE_KEEPS_POINTER, "unit/merge_test", "pebble#1261",                                   \
      "a merge compares with a key whose block it has given back")                                 \
    M(17, FLUSH_OLDER, "sim/store_sim_test", "pebble#316",                                         \
      "a flush writes the version before the newest")                                              \
    M(18, FILTER_SHORT, "unit/filter_test", "tigerbeetle#191",                                     \
      "a table's last key is not in its filter")                                                   \
    M(19, PAGE_BORDER, "unit/index_block_test", "tigerbeetle#191",                                 \
      "a key equal to a page's separator is looked for in the page before")                        \
    M(20, ADDRESS_BY_TIMING, "sim/same_bytes_test", "tigerbeetle#247",                             \
      "which address a job takes depends on how far others have come")                             \
    /* Reading */                                                                                  \
    M(21, ITERATOR_KEEPS_POINTER, "unit/reading_test", "pebble#1261",                              \
      "an iterator's record lies in memory that its source fills again")                           \
    M(22, BACK_OVER_TOMBSTONE, "unit/reading_test", "badger#1422",                                 \
      "backward, an iterator shows what a tombstone hides")                                        \
    M(23, SEES_LATER_OPS, "unit/memtable_test", "pebble#1293",                                     \
      "a reader sees what was written after its view")                                             \
    M(24, IMMUTABLE_UNREAD, "sim/store_sim_test", "tigerbeetle#191",                               \
      "a get does not look into the immutable memtable")                                           \
    M(25, READERS_NOT_AWAITED, "unit/view_test", "splinterdb#620",                                 \
      "a memtable is emptied although readers of old views are not gone")                          \
    M(26, LIMBO_SHORT, "sim/store_sim_test", "splinterdb#635",                                     \
      "a table's descriptor is used again while readers may have it")                              \
    /* Checkpoints and blocks */                                                                   \
    M(27, DATA_NOT_SYNCED, "sim/store_sim_test", "wiredtiger#1962",                                \
      "a checkpoint does not sync its blocks before its superblock")                               \
    M(28, SYNC_BEFORE_WRITES, "sim/store_sim_test", "pebble#5915",                                 \
      "a checkpoint's first sync does not wait for the blocks that it is to cover")                \
    M(29, ROOT_NOT_SYNCED, "sim/store_sim_test", "wiredtiger#12923",                               \
      "a checkpoint is called durable before its superblock is")                                   \
    M(30, SYNC_ERROR_LOST, "sim/nth_fault_test", "rocksdb#4990",                                   \
      "a sync that failed counts as done")                                                         \
    M(31, WRITES_GO_ON, "sim/nth_fault_test", "rocksdb#6331",                                      \
      "blocks are written after a write that failed")                                              \
    M(32, RELEASED_IS_FREE, "unit/free_set_test", "tigerbeetle#80",                                \
      "a released block is free at once")                                                          \
    M(33, FREED_BEFORE_DURABLE, "sim/store_sim_test", "tigerbeetle#2600",                          \
      "released blocks are free when the checkpoint is written, not durable")                      \
    M(34, FREE_SET_SHORT, "unit/free_set_test", "wiredtiger#7051",                                 \
      "the last word of released blocks is not in the free set's image")                           \
    M(35, LOG_BLOCK_LEAKED, "unit/manifest_log_test", "tigerbeetle#214",                           \
      "the manifest log drops a block without releasing it")                                       \
    M(36, REMOVE_NOT_LOGGED, "sim/store_sim_test", "rocksdb#7621",                                 \
      "the manifest log is not told that a table is gone")                                         \
    M(37, OLDER_ROOT, "unit/superblock_test", "rocksdb#4990",                                      \
      "an open chooses the oldest superblock")                                                     \
    M(38, GOOD_COPY_REWRITTEN, "unit/superblock_test", "tigerbeetle#2506",                         \
      "a repair writes over good copies of the superblock too")                                    \
    M(39, COPY_ANYWHERE, "unit/superblock_test", "tigerbeetle#2506",                               \
      "a superblock copy in another one's place counts as its own")                                \
    M(40, PAGE_NOT_CHECKED, "unit/reading_test", "wiredtiger#14189",                               \
      "a page that is read is not compared with its checksum")                                     \
    M(41, BLOCK_NOT_CHECKED, "unit/value_block_test", "wiredtiger#14189",                          \
      "a block that is read is not compared with its checksum")                                    \
    M(42, MISDIRECTED, "unit/value_block_test", "tigerbeetle#2506",                                \
      "a block with another address in its header is accepted")                                    \
    /* The write-ahead log and recovery */                                                         \
    M(43, TORN_FRAME, "unit/wal_test", "rocksdb#12918",                                            \
      "a frame of the log is not compared with its checksum")                                      \
    M(44, OLD_FRAMES, "unit/wal_test", "rocksdb#12489",                                            \
      "frames that a segment had before its last turn are accepted")                               \
    M(45, REPLAY_LATE, "unit/wal_test", "rocksdb#11149",                                           \
      "a replay leaves out the first op")                                                          \
    M(46, REFILL_SHORT, "sim/store_sim_test", "tigerbeetle#2506",                                  \
      "the last op of a refill runs as a new one")                                                 \
    /* Room, pacing, threads */                                                                    \
    M(47, CREDIT_KEPT, "sim/store_sim_test", "splinterdb#644",                                     \
      "a job's end does not report the bytes that its plan had too much")                          \
    M(48, REFUSAL_TAKES_OP, "unit/full_store_test", "rocksdb#7784",                                \
      "a write that is refused takes an op all the same")                                          \
    M(49, FULL_FOR_GOOD, "unit/full_store_test", "rocksdb#11643",                                  \
      "a store that was full goes on refusing")                                                    \
    M(50, SHORT_TRANSFER, "unit/storage_test", "rocksdb#13602",                                    \
      "what is left of a short transfer uses the wrong memory")                                    \
    M(51, RING_WRAP, "unit/ring_test", "tigerbeetle#191",                                          \
      "a ring's slots are not free again after the first turn")                                    \
    M(52, WAKE_KEPT, "unit/event_count_test", "splinterdb#241",                                    \
      "who does not sleep after all keeps a wake-up meant for others")                             \
    M(53, WAKE_LOST, "unit/stage_test", "splinterdb#241",                                          \
      "a delivery to a running seat does not make it look again")                                  \
    M(54, STALL_UNSEEN, "stress/store_stress_test", "splinterdb#241",                              \
      "a merge without credit does not look again before it lies down")                            \
    M(55, ROOT_BESIDE_SYNC, "sim/crash_test", "wiredtiger#1962",                                   \
      "a checkpoint's superblock is written while its blocks are being synced")                    \
    M(56, HINT_BELIEVED, "unit/cache_test", "none",                                                \
      "a frame of the cache is taken for that of the key that was there before")                   \
    M(57, CONDITION_STALE, "unit/condition_test", "none",                                          \
      "a condition is not looked at again when an op has come in between")                         \
    M(58, CACHED_BLOCK_BELIEVED, "unit/level0_cache_test", "none",                                 \
      "a block of level 0 that was kept in memory is not compared with its checksum")              \
    /* Snapshots */                                                                                \
    M(59, SNAPSHOT_TABLE_FREED, "unit/snapshot_test", "none",                                      \
      "a compaction gives back a table that a snapshot has")                                       \
    M(60, SNAPSHOT_LAST_TABLE, "unit/snapshot_test", "none",                                       \
      "the last table before a snapshot is not taken for one of its own")                          \
    M(61, IMAGE_KEPT, "unit/snapshot_test", "none",                                                \
      "a release does not give back the list of the snapshot's tables")                            \
    M(62, OPEN_SNAPSHOT_GONE, "unit/snapshot_test", "none",                                        \
      "a snapshot that somebody has open is released")                                             \
    M(63, SNAPSHOT_TREE_GONE, "unit/snapshot_test", "none",                                        \
      "a dropped tree goes although a snapshot has tables of it")                                  \
    /* Dropped trees */                                                                            \
    M(64, ID_BY_NUMBER, "unit/tree_drop_test", "none",                                             \
      "the id of a dropped tree finds the tree that has its number now")                           \
    M(65, DROP_UNFLUSHED, "unit/tree_drop_test", "none",                                           \
      "records from before a drop are not flushed any more")                                       \
    M(66, NUMBER_TOO_SOON, "unit/tree_drop_test", "none",                                          \
      "a tree's number is used again while views have the tree")                                   \
    M(67, GENERATION_UNSEEN, "unit/tree_drop_test", "none",                                        \
      "an open takes tables of a dropped tree for the one with its number")                        \
    M(68, DISCARD_SHORT, "unit/discard_test", "none",                                              \
      "of a discarded table only the index block is given back")                                   \
    /* Sorted runs, key ranges */                                                                  \
    M(69, INGEST_TOO_DEEP, "unit/ingest_test", "none",                                             \
      "a run that lies over tables of the last level goes into it")                                \
    M(70, INGEST_OVER_MEMTABLE, "unit/ingest_test", "none",                                        \
      "tombstones of a run that lie over a memtable alone are left out")                           \
    M(71, INGEST_EARLY, "unit/ingest_test", "none",                                                \
      "an ingest returns before its checkpoint is durable")                                        \
    M(72, RUN_LEAKED, "unit/ingest_test", "none",                                                  \
      "the blocks of a run that went wrong stay reserved")                                         \
    M(73, SWEEP_TOO_SOON, "unit/range_test", "none",                                               \
      "a key range is begun before the memtables of then are in tables")                           \
    M(74, SWEEP_REST_LEFT, "unit/range_test", "none",                                              \
      "a key range is done with a level after the first bar's share of it")                        \
    /* Pools, puts that are pending, events */                                                     \
    M(75, POOL_MEMORY_KEPT, "unit/pool_test", "none",                                              \
      "a store that closes does not give its memory back to the pool")                             \
    M(76, POOL_LEAVES_EARLY, "unit/pool_test", "none",                                             \
      "a thread lets go of a store with requests under way")                                       \
    M(77, PENDING_UNREAD, "unit/memtable_test", "none",                                            \
      "a get does not look at the record whose put has not ended")                                 \
    M(78, PENDING_UNSCANNED, "unit/memtable_test", "none",                                         \
      "an iterator does not look at it")                                                           \
    M(79, MISSED_UNTOLD, "unit/events_test", "none",                                               \
      "nobody is told how many events found no room")                                              \
    /* Deleted ranges */                                                                           \
    M(80, RANGE_END_DELETED, "unit/range_delete_test", "none",                                     \
      "a get takes the end of a deleted range for one of its keys")                                \
    M(81, RANGE_FIRST_LIVES, "unit/range_delete_test", "none",                                     \
      "its first key stays, for iterators and compactions")                                        \
    M(82, RANGE_OVER_LATER, "unit/range_delete_test", "none",                                      \
      "a get does not find what was put into a deleted range later")                               \
    M(83, RANGE_TAKES_LATER, "unit/range_delete_test", "none",                                     \
      "tables from after a deleted range are given back with those of before")                     \
    M(84, RANGE_TOO_SOON, "unit/range_delete_test", "none",                                        \
      "a deleted range is over when no table of level 0 has keys of it")                           \
    M(85, RANGE_NOT_REPLAYED, "unit/range_replay_test", "none",                                    \
      "a replay leaves out deleted ranges")                                                        \
    M(86, RANGE_NOT_IN_IMAGE, "unit/range_delete_test", "none",                                    \
      "a snapshot does not have the ranges of its moment")                                         \
    M(87, RANGE_OVER_SNAPSHOT, "unit/range_delete_test", "none",                                   \
      "a table that a range has deleted is given back though a snapshot has it")                   \
    M(88, RANGE_END_UNLOGGED, "unit/range_delete_test", "none",                                    \
      "the manifest log is not told that a deleted range is over")                                 \
    M(89, RANGE_NOT_CARRIED, "sim/store_sim_test", "none",                                         \
      "a deleted range goes with the block of the manifest log that has it")                       \
    M(90, RANGE_BOUND_SHORT, "unit/range_delete_test", "none",                                     \
      "a bound that is cut becomes the key that it begins with")                                   \
    /* Caches that change, beats that are called */                                                \
    M(91, CACHE_POOL_KEPT, "unit/cache_change_test", "none",                                       \
      "what a smaller cache gives up is not given back to the pool")                               \
    M(92, CACHE_PIN_UNSEEN, "unit/cache_test", "none",                                             \
      "a smaller cache gives the memory of pinned pages back to the system")                       \
    M(93, CACHE_BUDGET_KEPT, "unit/cache_change_test", "none",                                     \
      "the store's memory budget stays as it was when its caches change")                          \
    M(94, BEAT_NOT_REPLAYED, "sim/store_sim_test", "none",                                         \
      "a replay takes a beat for an op that does nothing")                                         \
    M(95, BEAT_AGAIN, "sim/store_sim_test", "none",                                                \
      "a refill runs beats that had run before the checkpoint")                                    \
    /* Writes that are refused */                                                                  \
    M(96, LOG_ROOM_UNSEEN, "unit/refusal_test", "none",                                            \
      "a write ends its bar before it looks for room in the log")                                  \
    /* Fences of versions */                                                                       \
    M(97, FENCE_LOW, "unit/manifest_test", "none",                                                 \
      "a get does not look at tables that begin behind the fence below the key")                   \
    /* Replays of writes that have ended bars */                                                   \
    M(98, REFUSED_BARS_LOST, "unit/refusal_test", "none",                                          \
      "a replay does not end the bars that a refused write has ended")                             \
    M(99, LET_IN_UNASKED, "unit/refusal_test", "none",                                             \
      "a replay lets in the first op after a full store's checkpoint unasked")                     \
    /* Walks */                                                                                    \
    M(100, NEXT_PAGE_KEPT, "unit/reading_test", "none",                                            \
      "a page that a walk has asked for is taken for one of another table")                        \
    /* Syncs between checkpoints */                                                                \
    M(101, SYNC_NOT_PACED, "unit/paced_sync_test", "none",                                         \
      "the file is synced by checkpoints only")                                                    \
    M(102, SYNC_IN_PAUSE, "unit/paced_sync_test", "none", "a sync begins in a pause")              \
    M(103, LOG_SYNC_STARVED, "unit/wal_test", "none",                                              \
      "a sync of the log waits until nobody writes to it any more")                                \
    M(104, LONG_WALK_REPLACES, "unit/reading_test", "none",                                        \
      "a long walk takes frames from pages that are in the cache")
/* clang-format on */

#define TAC_MUTANT_NUMBER(number, name, killer, stands_for, wrong) TAC_MUTANT_##name = (number),
enum tac_mutant { TAC_MUTANTS(TAC_MUTANT_NUMBER) TAC_MUTANT_NUMBER_END };
#undef TAC_MUTANT_NUMBER

/* TACTUS_MUTANT as it was when the program began; 0: none. */
extern unsigned tac_mutant_now;

#define TAC_MUTANT(name) (tac_mutant_now == TAC_MUTANT_##name)

#else
#define TAC_MUTANT(name) 0
#endif

#endif
