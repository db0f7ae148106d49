/* SPDX-License-Identifier: Apache-2.0 */
/* store_sim -- a whole store under a seeded scheduler, on a disk that can lose power, against the
 * model of store_model.h.
 *
 * A seed gives a world (options, trees, disk, scheduler) and a list of ops. The list is data: it
 * can be run as it is, with some of its ops left out, or under another schedule. An op that makes
 * no sense where it stands (its tree does not exist, say) is passed over, so that any part of a
 * list is a list.
 *
 *   store_ops.c   draws worlds and lists
 *   store_sim.c   runs a list
 *   sim_log.c     does ops, and does them again
 *   sim_pool.c    another store, which has the same threads
 *   store_ingest.c  sorted runs from outside
 *   store_range.c ranges that are compacted by hand
 *   store_delete_range.c ranges that are deleted
 *   store_refused.c   writes that find no room
 *   store_check.c what must hold after an op, a bar, a reopen, a crash
 *   sim_faults.c  what the disk does wrong
 *   store_faults.c  what must hold then
 *   store_events.c  what the store tells of as it happens
 *   store_caches.c  other sizes of the readers' caches
 *   store_rate.c  a limit of I/O, and a clock for it
 *   sim_shrink.c  runs lists in child processes and makes failing ones short */
#ifndef TACTUS_TESTS_SIM_STORE_SIM_H
#define TACTUS_TESTS_SIM_STORE_SIM_H

#include <setjmp.h>
#include <stdio.h>

#include "base/prng.h"
#include "tests/sim/marks.h"
#include "tests/sim/sim_log.h"
#include "tests/sim/sim_disk.h"
#include "tests/sim/sim_pool.h"
#include "tests/sim/store_model.h"

#define SIM_ITERATORS 4
#define SIM_SNAPSHOTS 3
#define SIM_MESSAGE_BYTES 1024

/* X(name, text) */
#define SIM_OPS(X)                                                                                 \
    X(PUT, "put")                       /* `count` keys from `key` on, one op each */              \
    X(DELETE, "delete")                 /* the same */                                             \
    X(BATCH, "batch")                   /* `count` entries over all trees, near `key` */           \
    X(GET, "get")                       /* `count` keys from `key` on; or more, at once */         \
    X(SCAN, "scan")                     /* the whole tree, both ways */                            \
    X(SEEK, "seek")                     /* near `key`, then `count` steps */                       \
    X(ITERATOR_OPEN, "iterator-open")   /* in `slot` */                                            \
    X(ITERATOR_MOVE, "iterator-move")   /* `count` moves */                                        \
    X(ITERATOR_CLOSE, "iterator-close")                                                            \
    X(TREE_CREATE, "tree-create")                                                                  \
    X(DRAIN, "drain")                                                                              \
    X(COMPACT, "compact")                                                                          \
    X(HOLD, "hold")                     /* count 0: off */                                         \
    X(CHECKPOINT, "checkpoint")                                                                    \
    X(SYNC, "sync")                     /* of the write-ahead log, if there is one */              \
    X(STEP, "step")                     /* `count` steps of the workers */                         \
    X(REOPEN, "reopen")                                                                            \
    X(ABANDON, "abandon")               /* as kill -9, then reopen */                              \
    X(CRASH, "crash")                   /* power cut, then reopen */                               \
    X(CRASH_LATER, "crash-later")       /* power cut after `count` more requests */                \
    X(PAUSE, "pause")                   /* count 0: resume. Not drawn like those above */          \
    X(THREADS, "threads")               /* other virtual workers; neither is this, … */            \
    X(RATE, "rate")                     /* … nor this: `count` KiB of I/O a second, 0: all; */     \
    X(TREE_DROP, "tree-drop")           /* … nor this; */                                          \
    X(INGEST, "ingest")                 /* … nor this: `count` keys from `key` on, as a run; */    \
    X(RANGE, "range")                   /* … nor this: `count`: enum sim_range_action; */          \
    X(SNAPSHOT, "snapshot")             /* … nor this: `count`: enum sim_snapshot_do; */           \
    X(CACHES, "caches")                 /* … nor this: other sizes, of `seed`; */                  \
    X(BEAT, "beat")                     /* … nor this: `count` beats of the host's; */             \
    X(DELETE_RANGE, "delete-range")     /* … nor this: `count` of them, from near `key` on; */     \
    X(REFUSED, "refused")               /* … nor this: `count`: enum sim_refused_by */

enum sim_op_kind {
#define SIM_OP_NAME(name, text) SIM_##name,
    SIM_OPS(SIM_OP_NAME)
#undef SIM_OP_NAME
    SIM_OP_KINDS
};

/* What is done about a range that is compacted by hand. */
enum sim_range_action {
    SIM_RANGE_BEGIN,
    SIM_RANGE_STEP,
    SIM_RANGE_CANCEL,
    SIM_RANGE_WHOLE, /* Begun and stepped until it is done */
    SIM_RANGE_KINDS
};

enum sim_refused_by {
    SIM_REFUSED_BY_LOG,
    SIM_REFUSED_BY_RANGES, /* As there are as many as there can be */
};

enum sim_snapshot_do {
    SIM_SNAPSHOT_TAKE,
    SIM_SNAPSHOT_RELEASE,
    SIM_SNAPSHOT_READ,
};

/* It takes the store down. */
static inline bool sim_op_disturbs(enum sim_op_kind kind)
{
    return kind >= SIM_REOPEN && kind != SIM_TREE_DROP && kind != SIM_INGEST &&
           kind != SIM_RANGE && kind != SIM_SNAPSHOT && kind != SIM_CACHES &&
           kind != SIM_BEAT && kind != SIM_DELETE_RANGE && kind != SIM_REFUSED;
}

struct sim_op {
    uint8_t  kind; /* enum sim_op_kind */
    uint8_t  tree;
    uint8_t  slot;
    uint32_t key;   /* Number, taken modulo the tree's count */
    uint32_t count;
    uint32_t size;  /* Of values, where the layout leaves it open */
    uint32_t seed;  /* For what the op draws while it runs */
};

struct sim_world {
    uint64_t                seed;
    struct tactus_options   options;
    struct tac_stepping     stepping;
    uint64_t                disk_seed;
    uint32_t                tree_count;
    struct store_model_spec specs[STORE_MODEL_TREES_MAX];
    uint32_t                op_count;
    uint32_t                grow_count; /* Of the ops: spread over the list, they fill tree 0 */
    uint32_t                tight_plan_every; /* See struct tac_stepping */
    bool                    is_small;  /* file_size_max can be reached */
    bool                    is_twin;   /* To be run under two schedules. Without a log it has no
                                          crashes; with one the first run has, the second not */
    bool                    is_undisturbed; /* Ops that take the store down are passed over */
    bool                    ends_bare; /* At the end everything is deleted */
    bool                    is_pooled; /* In a pool beside another store. Of twins one is */
    struct sim_fault_plan   faults;
};

/* With such a log a crash takes nothing back. */
static inline bool sim_world_loses_nothing(const struct sim_world *world)
{
    return world->options.log == TACTUS_LOG_HOST || world->options.log == TACTUS_LOG_SYNC;
}

void sim_world_draw(struct sim_world *world, uint64_t seed, uint32_t ops_max);
void sim_stepping_draw(struct tac_stepping *stepping, struct tac_prng *prng);
/* Another schedule, other disk timing, other options that must not show in the file. */
void sim_world_twist(struct sim_world *world, uint64_t seed);
/* op_count of them; the caller frees the list. */
struct sim_op *sim_ops_draw(const struct sim_world *world);
void           sim_world_print(const struct sim_world *world, FILE *file);
void           sim_op_print(const struct sim_op *op, uint32_t index, FILE *file);

/* What a run leaves; in memory that the parent of a child sees. */
struct sim_report {
    struct marks    marks;
    char            message[SIM_MESSAGE_BYTES]; /* Empty: nothing failed */
    struct tac_u128 file_sum;                   /* Of the whole file after the last close */
    uint64_t        ops_run; /* Of lists */
    uint64_t        writes;  /* That the store has given numbers */
    uint64_t        bars, recoveries;
    bool            aborts; /* A failure ends the process with a signal, as fuzzers want it */
};

struct sim_iterator {
    struct tactus_iterator *iterator; /* NULL: not open */
    uint32_t                tree;
    uint64_t                open_op, open_bar;
    uint32_t                position; /* Key, or STORE_MODEL_NONE */
    uint32_t                begin, end; /* The keys between its bounds: before `end` */
    bool                    is_lasting; /* Of a snapshot: it never expires */
    uint32_t                snapshot;   /* Its slot */
};

/* By name, which is that of its slot. It is there from `op` on and before op_released. */
struct sim_snapshot {
    uint64_t                op; /* 0: never taken */
    uint64_t                op_released;
    struct tactus_snapshot *handle; /* NULL: not open */
    bool                    is_unsure; /* The power may go out, or have gone, while it is taken */
};

/* Sums of what a store has told of since its open. */
struct sim_events {
    bool     is_set;
    uint64_t jobs, compactions, compaction_jobs, tables_moved, tables_written, records_merged;
    uint64_t checkpoints, waits, wait_ns, missed;
    uint64_t checkpoint_before; /* At the open */
    uint64_t last_ns;
};

/* The lines that a store has told since its open was begun. */
struct sim_logger {
    bool     is_set;
    uint64_t lines, missed;
    uint64_t checkpoint;                     /* Of the last that was told */
    char     last[TACTUS_LOGGER_LINE_BYTES]; /* Of error and above */
};

/* The limit of I/O, and since when. */
struct sim_rate {
    uint64_t bytes_per_s, begin_ns, begin_bytes;
};

struct sim {
    const struct sim_world *world;
    struct sim_report      *report;
    FILE                   *log; /* NULL: quiet */
    struct sim_disk         disk;
    struct sim_faults       faults;
    struct tactus          *store;
    struct store_model     *model;
    struct sim_log          log_ops;
    struct sim_pool         pool;
    struct sim_iterator     iterators[SIM_ITERATORS];
    struct sim_snapshot     snapshots[SIM_SNAPSHOTS];
    struct sim_events       events;
    struct sim_logger       logger;
    struct sim_rate         rate;
    struct tac_prng         prng; /* For what is free at each open */
    uint32_t                op_index;
    uint64_t                durable_op;   /* Acknowledged */
    uint64_t                bar_checked;
    bool                    is_held;      /* … since the last drain: depth has no bound */
    bool                    is_paused;
    uint64_t                held_since_bar;
    bool                    has_recovered;
    bool                    is_cut_ingest; /* The op that was cut off may be visible whole */
    struct sim_bounds       range;        /* Of the range that was begun last */
    uint64_t                range_op;     /* That began it; 0: nothing more is to be looked at */
    uint8_t                *buffer;       /* Of a value; twice the largest */
    uint8_t                *expected;
    struct sim_entry       *entries;      /* Of the batch that is being made */
    uint64_t                damages;      /* That tactus_verify has told of */
    jmp_buf                 end;          /* Of a run that damage ends */
};

/* Runs the ops whose keep is set (NULL: all). Returns only if all went well; else the message is in
 * the report and the process ends. */
void sim_run(const struct sim_world *world, const struct sim_op *ops, const bool *keep,
             struct sim_report *report, FILE *log);

/* The power has gone, or a write has failed: the store has to be taken down. */
static inline bool sim_is_down(const struct sim *sim)
{
    return sim->disk.has_crashed || sim->faults.has_stopped;
}

/* Nothing is lost for good: the run notes its ops and does them again. */
static inline bool sim_is_logged(const struct sim *sim)
{
    return sim->world->options.log != TACTUS_LOG_NONE;
}

/* The op of the checkpoint that may have become durable unseen; else that of the durable one. */
uint64_t sim_in_flight_op(const struct sim *sim);
/* Power cut or kill: takes the store down and comes back. */
void sim_recover(struct sim *sim);
/* Puts an entry into a batch. */
int sim_batch_add(struct sim *sim, struct tactus_batch *batch, const struct sim_entry *entry);

_Noreturn void sim_fail(struct sim *sim, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* ---- store_iterators.c ---- */

/* False: the store could not. */
bool sim_iterator_open(struct sim *sim, struct sim_iterator *it, const struct sim_op *op);
/* The same in an open snapshot. */
bool sim_iterator_open_in(struct sim *sim, struct sim_iterator *it, const struct sim_op *op,
                          uint32_t slot);
void sim_run_seek(struct sim *sim, const struct sim_op *op);
void sim_run_iterator_move(struct sim *sim, const struct sim_op *op);

/* ---- store_sim.c, for the others ---- */

/* Of a value that the tree may have; size: drawn. */
uint32_t sim_value_size_draw(const struct store_model_tree *tree, uint32_t size);
/* False: the store is full, which it may be; nothing has changed. */
bool sim_write_result(struct sim *sim, int result, const char *what);

/* ---- store_ingest.c ---- */

void sim_run_ingest(struct sim *sim, const struct sim_op *op);

/* ---- store_range.c ---- */

void sim_run_range(struct sim *sim, const struct sim_op *op);
/* After every op: a range that is done is where it should be. */
void sim_check_range(struct sim *sim);
/* ---- store_refused.c ---- */

void sim_run_refused(struct sim *sim, const struct sim_op *op);
/* ---- store_delete_range.c ---- */

void sim_run_delete_range(struct sim *sim, const struct sim_op *op);
/* What the store says to it. */
int sim_delete_range(struct sim *sim, const struct sim_bounds *range);
/* Its keys, in the model: from *ret_low on and before the one that is returned. */
uint32_t sim_delete_range_keys(const struct sim *sim, const struct sim_bounds *range,
                               uint32_t *ret_low);

/* ---- store_snapshots.c ---- */

const char *sim_snapshot_name(uint32_t slot);
void        sim_run_snapshot(struct sim *sim, const struct sim_op *op);
/* The model gets an op of this kind. */
void sim_snapshot_taken(struct sim *sim, uint32_t slot, uint64_t op);
void sim_snapshot_released(struct sim *sim, uint32_t slot, uint64_t op);
/* After an open: those that there are as of the model's op, and no others, with all that they had. */
void sim_check_snapshots(struct sim *sim);
/* Before the store is closed: handles and their iterators. */
void sim_snapshots_close(struct sim *sim);
/* At the end: all there are. */
void sim_snapshots_release(struct sim *sim);

/* ---- store_check.c ---- */

/* A code that no op may give, unless the power has gone. False: nothing was done because of it. */
bool sim_result(struct sim *sim, int code, const char *what);
/* The same for what only reads: a store that has stopped writing goes on with it. */
bool sim_read_result(struct sim *sim, int code, const char *what);
/* After every op. */
void sim_check_op(struct sim *sim);
/* With both memtables empty and a durable checkpoint, or right after an open. */
void sim_check_quiet(struct sim *sim);
void sim_check_tree(struct sim *sim, uint32_t tree);
void sim_check_get(struct sim *sim, uint32_t tree, uint32_t key);
/* The same at once for `count` keys, each `step` behind the one before. */
#define SIM_LOOKUPS_MAX 80
void sim_check_get_many(struct sim *sim, uint32_t tree, uint32_t key, uint32_t count,
                        uint32_t step);
/* The value read is that of the version. */
void sim_check_value(struct sim *sim, uint32_t tree, uint32_t key,
                     const struct store_model_version *version, const uint8_t *value,
                     size_t value_size);
/* Through the whole tree, as of the op, both ways. */
void sim_check_scan(struct sim *sim, struct tactus_iterator *iterator, uint32_t tree, uint64_t op);
void sim_check_record(struct sim *sim, const struct tactus_iterator *iterator, uint32_t tree,
                      uint32_t key, uint64_t op);
/* After an open: the content is the model as of durable_op or, if `other` was under way, other_op;
 * with is_range as of any op between the two. The model falls back to it. */
void sim_check_reopened(struct sim *sim, uint64_t durable_op, uint64_t other_op, bool is_range);
/* After a replay: the content is the model's. */
void sim_check_replayed(struct sim *sim);
/* Deletes everything and finds that nothing is left but the bare store. */
void sim_check_bare(struct sim *sim);

/* ---- store_faults.c ---- */

/* Another op begins, and with it what goes wrong in it. */
void sim_op_begin(struct sim *sim, uint32_t index);
/* A read may say this: it is the error of a block that is damaged. */
bool sim_is_damage(const struct sim *sim, int code);
/* A write may say this: too much lies over damage. */
bool sim_is_refused(const struct sim *sim, int code);
/* A write or sync has failed: what must hold until the store is taken down. */
void sim_check_stopped(struct sim *sim);
/* The store is about to be taken down; the recovery is about to begin. */
void sim_stopped_cut(struct sim *sim);
void sim_recovery_arm(struct sim *sim);
/* It is to be made again, without what was in its way; or damage ends the run here. */
void sim_open_failed(struct sim *sim, const struct tac_error *error);
/* Before an open: one copy of the superblock may be bad then. After it it is not. */
void sim_superblock_spoil(struct sim *sim);
void sim_superblock_check(struct sim *sim);
/* The end of a run with damage. */
void sim_check_damaged(struct sim *sim);

/* ---- store_events.c ---- */

/* After an open: in half of the worlds the store is to tell. */
void sim_events_begin(struct sim *sim);
/* What it has told agrees with what it has counted. */
void sim_events_check(struct sim *sim);
/* Before an open: in half of the worlds the store has somebody to tell lines to. */
void sim_logger_set(struct sim *sim, struct tactus_options *options);
/* After an open that has failed. */
void sim_logger_failed(struct sim *sim, const struct tac_error *error);

/* ---- store_caches.c ---- */

void sim_caches_change(struct sim *sim, uint32_t seed);

/* ---- store_rate.c ---- */

/* Before an open; another limit; and that it has been kept to. */
void sim_rate_open(struct sim *sim);
void sim_rate_change(struct sim *sim, uint64_t bytes_per_s);
void sim_rate_check(struct sim *sim);

/* ---- sim_shrink.c ---- */

/* In a child process. True: all went well; else the report has a message. */
bool sim_run_child(const struct sim_world *world, const struct sim_op *ops, const bool *keep,
                   struct sim_report *report, FILE *log, uint32_t seconds_max);
/* The same, and for a twin once more under another schedule, which must leave the same file. */
bool sim_run_whole(const struct sim_world *world, const struct sim_op *ops, const bool *keep,
                   struct sim_report *report, FILE *log, uint32_t seconds_max);
/* Leaves out of `keep` what the failure does not need, as long as there is time. */
void sim_shrink(const struct sim_world *world, const struct sim_op *ops, bool *keep,
                struct sim_report *report, uint32_t seconds_max);
/* Memory that children write and the parent reads. */
struct sim_report *sim_report_new(void);
/* "0-3,7": the ops that are kept. False: no such list. */
bool sim_keep_parse(const char *text, bool *keep, uint32_t count);
void sim_keep_print(const bool *keep, uint32_t count, FILE *file);

#endif
