/* SPDX-License-Identifier: Apache-2.0 */
/* marks -- rare events that a run of simulations must have met: a test that does not reach the code
 * is worse than none. They are counted over all seeds; one that stays at zero fails the run. */
#ifndef TACTUS_TESTS_SIM_MARKS_H
#define TACTUS_TESTS_SIM_MARKS_H

#include <stdint.h>

#include "pipeline/store.h"

#define MARKS(X)                                                                                   \
    X(LEVEL_0, "a compaction out of level 0")                                                      \
    X(LEVEL_1, "a compaction out of level 1")                                                      \
    X(LEVEL_2, "a compaction out of level 2")                                                      \
    X(THREE_LEVELS, "three levels with tables")                                                    \
    X(MOVE, "a table changed level in the manifest only")                                          \
    X(IN_PLACE, "a merge within a level")                                                          \
    X(SLICE, "a compaction that left the upper keys of its inputs")                                \
    X(TRIMMED, "a table whose low end is gone")                                                    \
    X(JOBS, "a compaction of several jobs")                                                        \
    X(MANY_SOURCES, "a job of at least eight tables one over the other")                           \
    X(TOMBSTONE_DROPPED, "a tombstone dropped by a compaction")                                    \
    X(OVERWRITTEN, "a version dropped because a newer one was met")                                \
    X(FILTER_BLOCKS, "a filter in blocks of its own")                                              \
    X(LARGE_RECORD, "a record longer than a page, read back from a table")                         \
    X(GET_MANY, "many lookups at once, of which some had to read")                                 \
    X(CARRIED, "pages put into the cache by a compaction")                                         \
    X(LEVEL0_CACHE, "a block that a compaction found in memory")                                   \
    X(PAUSED, "a pause of compaction")                                                             \
    X(PAUSED_LONG, "a call that a pause refused, done again after it")                             \
    X(WORKERS_CHANGED, "other workers in place of those that had jobs")                            \
    X(LINE_TOLD, "a line for people of a checkpoint that is durable")                              \
    X(CACHE_CHANGED, "caches with more or fewer frames than before")                               \
    X(BEAT_CALLED, "a beat of the host's")                                                         \
    X(BAR_CALLED, "a bar that ended with such a beat")                                             \
    X(POOLED, "jobs beside those of another store in a pool")                                      \
    X(RANGE, "a range compacted by hand, step by step")                                            \
    X(RANGE_BESIDE, "a range compacted by hand beside writes")                                     \
    X(RANGE_CANCELLED, "a range that was cancelled")                                               \
    X(RANGE_RESUMED, "a range that went on after a recovery")                                      \
    X(DELETE_RANGE, "a range deleted")                                                             \
    X(DELETE_RANGE_WIDE, "a range deleted with records of tables and of a memtable")               \
    X(DELETE_RANGE_LEFT, "a table given up unread, as a deleted range had all of it")              \
    X(DELETE_RANGE_DROPPED, "records left out since a range had deleted them")                     \
    X(DELETE_RANGE_REWRITTEN, "a table written again for the sake of a deleted range")             \
    X(DELETE_RANGE_SNAPSHOT, "a snapshot with a deleted range")                                    \
    X(DELETE_RANGE_RECOVERED, "a deleted range found in the manifest by a recovery")               \
    X(DELETE_RANGE_OVER, "a deleted range that no table needs any more")                           \
    X(LEFT_IO, "a step that left the device to its work")                                          \
    X(EVENT_TOLD, "events that agree with the statistics, of each kind but errors")                \
    X(RATE_WAIT, "a wait for the rate of I/O")                                                     \
    X(SNAPSHOT_TAKEN, "a snapshot taken")                                                          \
    X(SNAPSHOT_READ, "a snapshot read")                                                            \
    X(LASTING_ITERATOR, "an iterator of a snapshot used after several bars' ends")                 \
    X(TABLE_RETAINED, "a table that only snapshots have")                                          \
    X(SNAPSHOT_RELEASED, "a snapshot released")                                                    \
    X(RETAINED_GIVEN_BACK, "a table of released snapshots given back")                             \
    X(CREDIT_STALL, "a merge that waited for credit")                                              \
    X(OVERFLOW, "a stage's ring that was full")                                                    \
    X(BACKGROUND_CHECKPOINT, "a checkpoint that became durable beside writes")                     \
    X(PACED_SYNC, "a sync between two checkpoints")                                                \
    X(LATE_CHECKPOINT, "a bar's end that waited for a checkpoint")                                 \
    X(LOG_COMPACTED, "the manifest log's old blocks given back")                                   \
    X(FULL, "a write refused because the store is full")                                           \
    X(TIGHT_PLAN, "a plan with as few tables as can be")                                           \
    X(EXPIRED, "an iterator that expired")                                                         \
    X(OLD_ITERATOR, "an iterator that was used after a bar's end")                                 \
    X(BOUNDED_ITERATOR, "an iterator with keys between bounds")                                    \
    X(TREE_DROPPED, "a tree dropped")                                                              \
    X(TREE_NUMBER_AGAIN, "a tree with the number of one that was dropped")                         \
    X(TABLE_DISCARDED, "a discarded table in a plan")                                              \
    X(CONDITION, "a batch whose conditions held")                                                  \
    X(CONFLICT, "a batch with a condition that did not hold")                                      \
    X(HELD, "compaction held back over several bars")                                              \
    X(INGESTED_DEEP, "a table of a sorted run that went to the last level")                        \
    X(INGESTED_TOP, "a table of a sorted run that went above the last level")                      \
    X(INGEST_BESIDE, "a sorted run beside a plan with four discarded tables or more")              \
    X(INGEST_BARS, "a sorted run that ended a bar for each memtable of it")                        \
    X(INGEST_OWING, "a crash while a sorted run still owed bars")                                  \
    X(INGEST_SPOILT, "a sorted run that went wrong, and changed nothing")                          \
    X(FELL_BACK, "a crash that took ops back")                                                     \
    X(IN_FLIGHT, "a crash that found the checkpoint in flight durable")                            \
    X(REFILLED, "a recovery that refilled the memtable")                                           \
    X(RESUMED, "a drain or a checkpoint that went on after a recovery")                            \
    X(LOG_REPLAYED, "ops that the write-ahead log brought back")                                   \
    X(LOG_LOSS, "ops that no sync of the log had covered, lost")                                   \
    X(LOG_TURNED, "a write-ahead log that went round its ring")                                    \
    X(LOG_FULL, "a write-ahead log without room, emptied by a checkpoint")                         \
    X(REFUSED_REPLAYED, "bars that a refused write had ended, ended again by the log")             \
    X(CUT_IN_OP, "a power cut in the middle of a call")                                            \
    X(CUT_IN_OPEN, "a power cut while the store was being opened")                                 \
    X(SCRUBBED, "a block checked by the scrub")                                                    \
    X(SCRUB_ROUND, "a whole round of the scrub")                                                   \
    X(TWIN, "a run repeated under another schedule")                                               \
    X(READ_ERROR, "a read that failed once")                                                       \
    X(READ_FLIP, "a read with flipped bits, once")                                                 \
    X(READ_ZERO, "a read with a zeroed sector, once")                                              \
    X(READ_MISDIRECTED, "a read of another place, once")                                           \
    X(READ_STALE, "a read of what was there before, once")                                         \
    X(LATE_COMPLETION, "a completion that came late")                                              \
    X(STOPPED_BY_WRITE, "writing stopped by a failed write")                                       \
    X(STOPPED_BY_SYNC, "writing stopped by a failed sync")                                         \
    X(STOPPED_BY_SPACE, "writing stopped by a full device")                                        \
    X(STOPPED_BY_LOG, "writing stopped by a failure of the write-ahead log")                       \
    X(STOPPED_READ, "a store read whole after writing had stopped")                                \
    X(STOPPED_LOSS, "a read that met what a failed sync had lost")                                 \
    X(STOPPED_IN_OPEN, "a write or sync that failed while the store was being opened")             \
    X(SUPERBLOCK_REPAIRED, "a bad copy of the superblock repaired by an open")                     \
    X(MEDIA_FLIP, "a block with flipped bits")                                                     \
    X(MEDIA_BURST, "a block with a sector of other bytes")                                         \
    X(MEDIA_ZERO, "a block with a zeroed sector")                                                  \
    X(MEDIA_UNREADABLE, "a block that cannot be read any more")                                    \
    X(STALE_BLOCK, "a write that was acknowledged and lost")                                       \
    X(MISDIRECTED_WRITE, "a write that went to another block")                                     \
    X(DAMAGE_READ, "damage met by a read")                                                         \
    X(DAMAGE_COMPACTION, "damage met by a compaction")                                             \
    X(DAMAGE_VERIFIED, "damage that a read had met found by tactus_verify")                        \
    X(OPEN_REFUSED, "an open refused because of damage")

enum mark {
#define MARK_NAME(name, text) MARK_##name,
    MARKS(MARK_NAME)
#undef MARK_NAME
    MARK_COUNT
};

struct marks {
    uint64_t count[MARK_COUNT];
    uint64_t plan_seen;   /* Of the store looked at: clock.plans_made */
    uint32_t ranges_seen; /* The same: deleted ranges in its manifest */
};

const char *mark_text(enum mark mark);

/* Looks at the store between two steps of its workers. */
void marks_observe(struct marks *marks, struct tactus *store);
/* Adds what the store's counters tell, before it goes. */
void marks_finish(struct marks *marks, struct tactus *store);

#endif
