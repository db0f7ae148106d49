/* SPDX-License-Identifier: Apache-2.0 */
/* store -- one open store: struct tactus, and how its parts meet.
 *
 * Who may touch what
 *   the writer       whoever holds commit_lock: the mutable memtable, ops, the beat.
 *   the coordinator  manifest, free set, bar, checkpoint, seats that are not at work, the view.
 *   stage workers    seats at work.
 *   readers          read_side only.
 * Writer and coordinator speak through the words of struct tac_clock; while the writer waits for a
 * bar's end the coordinator also swaps the memtables.
 *
 * One code with and without threads: a waiting writer parks, or steps the pipeline itself.
 */
#ifndef TACTUS_PIPELINE_STORE_H
#define TACTUS_PIPELINE_STORE_H

#include <pthread.h>

#include "base/histogram.h"
#include "lsm/manifest_log.h"
#include "lsm/superblock.h"
#include "pipeline/bar.h"
#include "pipeline/caches.h"
#include "pipeline/checkpoint.h"
#include "pipeline/damage.h"
#include "pipeline/events.h"
#include "pipeline/logger.h"
#include "pipeline/paced_sync.h"
#include "pipeline/plan_report.h"
#include "pipeline/ranges.h"
#include "pipeline/scrub.h"
#include "pipeline/snapshot.h"
#include "pipeline/sweep.h"
#include "pipeline/trees.h"
#include "pipeline/wal.h"
#include "queues/event_count.h"
#include "reading/read_side.h"
#include "stages/seat.h"
#include "stages/thread.h"

#define TAC_MEMTABLES                                                                              \
    3 /* Mutable, immutable, and the one that readers of the bar before still see */
#define TAC_VIEWS_MAX 8

/* What the writer and the coordinator tell each other. Atomics; each word has one writer. */
struct tac_clock {
    /* Writer */
    /* Of the plan that runs, TAC_PACING_STEPS_PER_BEAT for each of its beats */
    uint64_t step TAC_CACHE_ALIGNED;
    uint64_t
        plans_wanted; /* Plans that are to be ended: one more than plans_ended asks for an end */
    /* Coordinator */
    uint64_t plans_made TAC_CACHE_ALIGNED; /* Plans that are ready to work (1: the first) */
    uint64_t            plans_ended;       /* Plans whose results are in the manifest */
    uint64_t            plan_bytes;        /* Of the plan that runs; set before plans_made */
};

enum tac_fullness {
    TAC_NOT_FULL,
    TAC_FULL_FOR_PUTS,    /* Deletes are still taken */
    TAC_FULL_FOR_DELETES, /* Nothing is taken until compactions have made room */
};

struct tactus {
    /* Fixed at open */
    struct tactus_options options;
    struct tac_shape      shape;
    uint8_t               uuid[TACTUS_UUID_BYTES];
    struct tac_geometry   geometry;
    struct tac_storage   *storage;
    bool                  has_stages, has_read_side; /* For an open that fails half-way */
    bool                  is_stepped;                /* Opened without stage threads */
    uint32_t              plans_per_bar;             /* 2 with runs of 1 */
    uint32_t              beats_per_plan;
    uint64_t              table_records_max;
    uint32_t              filter_blocks_max;
    uint64_t              memory_budget_bytes; /* Atomic, relaxed: the caches may change */
    struct tactus_pool   *shared; /* pool.h; NULL: the store's threads and memory are its own */
    uint64_t              memtable_hits_before; /* Of reads, up to the last swap. Coordinator */

    /* Writer (commit_lock) */
    pthread_mutex_t commit_lock;
    uint64_t        last_op; /* Also read_side.visible_op */
    uint64_t        user_bytes, records_put, records_deleted;
    uint64_t        waits, wait_ns_total, wait_ns_max;
    uint64_t        wait_buckets[TACTUS_WAIT_BUCKETS];
    uint64_t        waited_ns; /* In the op that is under way */
    bool            has_made_room; /* It has ended bars, for want of room */
    bool            is_let_in; /* It ends a bar, and is not asked again whether the store is full */
    uint64_t        beat_called;   /* The beat of this bar that tactus_beat has come to; 0: none.
                                      The coordinator resets it with the memtables */

    struct tac_clock clock;
    /* Pauses of compaction and ends of pauses so far: odd in a pause. Atomics: application threads
     * count, the coordinator says up to which one the credit follows. */
    uint64_t pauses, pauses_seen;
    uint32_t         is_poisoning;      /* Atomic; set by whoever writes poison_error */
    uint32_t         is_poisoned;       /* Atomic; poison_error was written before */
    struct tac_tree_word trees[TACTUS_TREES_MAX]; /* By number; the writer's (trees.h) */
    uint32_t         is_checkpointing;  /* Atomic; coordinator */
    uint32_t         fullness;          /* Atomic, enum tac_fullness; coordinator */
    uint32_t         is_full_of_tables; /* Atomic; coordinator: tables_max is the cause */
    struct tac_error poison_error;

    /* Set by the writer while the coordinator rests between two plans, read by the coordinator */
    bool     is_draining, is_held, wants_checkpoint;
    uint32_t ranges_again; /* That a replay of the newest checkpoint begun may note (ranges.h) … */
    uint32_t ranges_since; /* … and those of them taken since it began */
    bool     is_flushing; /* A drain that flushes first: as if held */
    uint64_t manual_trees;
    uint64_t control_op; /* A drain or a checkpoint that is under way; 0: none */
    struct tac_ingest *ingest;        /* Its run is in tables, which are to enter; NULL: none */
    bool               ingest_enters; /* At the next bar's end */
    struct tac_ingest *ingest_cut;    /* One that the end of all writing has cut off */
    /* The writer begins and cancels it so too; the coordinator moves and ends it as plans end. */
    struct tac_sweep sweep;
    uint32_t         hurries; /* Atomic: threads that wait for the plan's work, whatever beat */

    struct tac_wal wal;       /* storage NULL: there is none */
    bool           is_logged; /* Checkpoints say that there is a log beside the file … */
    bool           is_log_marked; /* … as the one that was opened does */

    /* Writer; see recovery.h */
    uint64_t refill_until; /* Ops up to this one only refill the memtable */
    uint64_t resumed_op;   /* A control op that the checkpoint found under way; 0: none */
    bool     is_replaying; /* What comes was taken before: it is not refused as too much */
    uint64_t crossing_op;  /* In a replay the first one after C, if it is the one that ended the
                              bar: as then it is not asked again whether the store is full; 0:
                              none */
    uint32_t is_refilling; /* Atomic: the coordinator plans nothing */

    /* Coordinator */
    struct tac_manifest     *manifest;
    struct tac_manifest_log *manifest_log;
    struct tac_free_set     *free_set;
    struct tac_bar           bar;
    struct tac_checkpoint    checkpoint;
    struct tac_paced_sync    paced_sync;
    uint64_t                 bar_count;    /* Bars ended since creation */
    uint32_t                 half;         /* Plan within the bar */
    bool                     is_planned;   /* The bar has a plan that has not been ended */
    bool                     is_flush_due; /* Of the plan that ended: it met damage (commit.c) */
    struct tac_damage        damage; /* As of the last plan's end; see there who may read it */
    uint64_t                 immutable_last_op, persisted_op;
    uint64_t                 checkpoint_op; /* persisted_op of the newest checkpoint begun */
    uint64_t                 table_id_last, stamp_last;
    bool                     has_logged_ranges; /* Since open: the manifest log has such events */
    uint64_t                 granted_bytes;
    struct tac_seat         *seats;
    uint32_t                 seat_count, seats_busy;
    struct tac_block_pool    pool;
    struct tac_memtable     *memtables[TAC_MEMTABLES];
    uint32_t                 memtable_mutable; /* Index */
    struct tac_memtable     *immutable_table;  /* NULL: none */
    struct tac_version      *versions[TAC_VIEWS_MAX];
    struct tac_view          views[TAC_VIEWS_MAX];
    uint32_t                 view_next, view_count;
    uint32_t                 fullness_next; /* For the next plan's writers (space.h) */
    bool                     is_full_of_tables_next;
    uint32_t                 tight_plan_every; /* See struct tac_stepping */
    bool                     mutable_may_fill; /* Writers have been let into the mutable memtable */
    bool                     has_progressed, has_skipped; /* A plan of this bar */
    uint32_t                 bars_stuck;  /* Something found no room, since anything was done */
    uint32_t                 bars_settled; /* In a drain: bars in a row that left nothing due */
    uint32_t                 bars_idle;   /* Nothing was there to be done */
    uint32_t                 bars_owed;   /* That an ingest is still to end */
    bool                     is_expiring; /* This bar's end has begun to wait for readers */
    bool                     is_checkpoint_late; /* This bar's end has waited for one */
    bool                     is_growth_refused;  /* The device had no room for a step of the file */
    struct tactus_stats      totals;             /* The coordinator's counters */
    pthread_mutex_t          stats_lock;         /* Of the three below only */
    struct tactus_stats      reported; /* totals and the levels, as of the last plan's end */
    struct tac_sweep_report  sweep_report;
    struct tac_plan_report   plan_report;

    /* Shared */
    struct tac_read_side   read_side;
    struct tac_caches      caches;
    struct tac_stages      stages;
    struct tac_worker_pool workers;      /* Changed with commit_lock and workers_lock */
    pthread_mutex_t        workers_lock; /* For who wakes a worker without commit_lock; innermost */
    struct tac_scrub       scrub;
    struct tac_events      events;
    struct tac_logger      logger;
    bool                   has_rate_thread; /* workers_lock */
    pthread_t              rate_thread;
    struct tac_snapshots   snapshots;
    uint64_t               durable_op; /* Atomic; coordinator writes */

    /* The shared pool's, under its locks */
    struct tactus *shared_next;
    uint32_t       shared_steppers; /* Calls of tactus_pool_step that are at it … */
    bool           shared_leaves;   /* … and no further ones come to it */
    uint64_t       shared_bytes; /* Of its memory */
};

/* Where a store's write-ahead log is. open: TACTUS_ENOSTORE if it is not there; with is_new it must
 * not be. remove: durably; no error if there is none. */
struct tac_log_place {
    int (*open)(const struct tac_log_place *place, bool is_new, struct tac_storage **ret_storage,
                struct tac_error *error);
    int (*remove)(const struct tac_log_place *place, struct tac_error *error);
    void *context;
};

/* Opens on a storage that the store then owns. place: NULL for a store that cannot have a log.
 * `stepping` is for stores without threads: how many
 * virtual workers of each stage there are and in which order they are stepped (stages/thread.h). */
TAC_MUST_CHECK int tac_store_open(struct tac_storage *storage, const struct tactus_options *options,
                                  const struct tac_stepping  *stepping,
                                  const struct tac_log_place *place, struct tactus **ret_store,
                                  struct tac_error *error);
/* The same in a pool (pool.h), or on its own (NULL). The pool's options come before the store's. */
TAC_MUST_CHECK int tac_store_open_in(struct tactus_pool *shared, struct tac_storage *storage,
                                     const struct tactus_options *options,
                                     const struct tac_stepping   *stepping,
                                     const struct tac_log_place *place, struct tactus **ret_store,
                                     struct tac_error *error);

/* What an open of a store just created with the options makes of them, and what it takes. */
struct tac_memory_plan {
    uint64_t budget_bytes;
    uint64_t others_bytes; /* Of it not for caches */
    uint32_t seats;
};
TAC_MUST_CHECK int tac_store_memory_explain(const struct tactus_options *options,
                                            struct tactus_options       *ret_options,
                                            struct tac_memory_plan      *ret_memory,
                                            struct tac_error            *error);

/* Other stage threads, as many as the options say, or other virtual workers, in place of those
 * there are. Takes commit_lock. */
TAC_MUST_CHECK int tac_store_workers_change(struct tactus               *store,
                                            const struct tactus_options *options,
                                            const struct tac_stepping   *stepping,
                                            struct tac_error            *error);

/* Limits what the stages read and write in a second; 0: not. Any thread. */
TAC_MUST_CHECK int tac_store_io_rate_change(struct tactus *store, uint64_t bytes_per_s,
                                            struct tac_error *error);
/* Drains, then frees everything, whatever the result. */
TAC_MUST_CHECK int tac_store_close(struct tactus *store, struct tac_error *error);
/* Frees everything as it is: the file stays at its last durable checkpoint. */
void tac_store_abandon(struct tactus *store);
/* ---- store_file.c: the file as it is created, and as an open finds it ---- */
TAC_MUST_CHECK int tac_store_create(struct tac_storage          *storage,
                                    const struct tactus_options *options, struct tac_error *error);
/* The newest superblock, and which copies an open would repair; writes nothing. *ret_doubt: copies
 * that the device does not give may be of a later checkpoint; or TACTUS_OK. */
TAC_MUST_CHECK int tac_store_superblock_find(struct tac_storage           *storage,
                                             struct tac_superblock_choice *ret_choice,
                                             struct tac_error *ret_doubt, struct tac_error *error);
/* Reads and checks a block by reference; the same of an open store (context), past its caches. */
TAC_MUST_CHECK int tac_block_fetch(struct tac_storage *storage, const struct tac_geometry *geometry,
                                   const struct tac_block_reference *reference,
                                   enum tac_block_kind kind, uint8_t *block,
                                   struct tac_error *error);
int tac_store_read_block(void *context, const struct tac_block_reference *reference,
                         enum tac_block_kind kind, uint8_t *block, struct tac_error *error);
/* For an open: the newest superblock, its bad copies repaired (how many those and older ones were),
 * and all that it reaches durable. */
TAC_MUST_CHECK int tac_store_superblock_open(struct tac_storage    *storage,
                                             struct tac_superblock *ret_superblock,
                                             uint32_t *ret_repaired, struct tac_error *error);
/* Fills free set, manifest, snapshots and numbers of a store that is otherwise ready to run. */
TAC_MUST_CHECK int tac_store_state_load(struct tactus               *store,
                                        const struct tac_superblock *superblock,
                                        struct tac_error            *error);
/* Ops after P come again: from the log that was found, or from the application. */
bool tac_store_has_replay(const struct tactus *store);

/* ---- coordinator.c ---- */
bool tac_coordinator_step(void *store);
/* First cause wins; stops writing for good. Any thread. */
void tac_store_poison(struct tactus *store, int code, const char *message);
bool tac_store_is_poisoned(struct tactus *store);
void tac_store_publish_view(struct tactus *store);
/* The mutable table becomes the immutable one. The third one, which readers of the bar before last
 * may have seen, is emptied and takes the writes: readers of its views have expired. */
void tac_store_memtables_swap(struct tactus *store);
void tac_store_planner_options(const struct tactus *store, struct tac_planner_options *options);
void tac_store_bar_order(struct tactus *store, struct tac_bar_order *order);

/* The file grows ahead of what is reserved, in steps that depend on that alone. One thread at a
 * time: the coordinator, or, while it rests, the writer. TACTUS_EFULL, TACTUS_EIO. */
TAC_MUST_CHECK int tac_store_file_grow(struct tactus *store, struct tac_error *error);

/* Brings `reported` up to date. Coordinator. */
void tac_store_report(struct tactus *store);

/* ---- commit.c ---- */
/* Checks the plan's conservation sums and brings its results into the manifest. Coordinator. */
TAC_MUST_CHECK int tac_store_commit_plan(struct tactus *store, struct tac_error *error);
/* Adds what a job did to what an event tells. */
void tac_store_job_describe(const struct tac_job *job, struct tactus_event *event);
/* A new table joins the manifest and its log; op: up to which its contents go. Coordinator. */
void tac_store_table_enter(struct tactus *store, struct tac_table *table, uint32_t tree,
                           uint32_t level, uint64_t stamp, uint64_t op);

/* ---- writer.c; all with commit_lock held ---- */
typedef bool tac_store_condition_fn(struct tactus *store, uint64_t argument);
/* Room for one op: ends the bar if it does not fit, waits as the pacing says. has_made_room: set to
 * false before, or as a call before it for the same op left it. */
TAC_MUST_CHECK int tac_writer_begin(struct tactus *store, uint64_t accounted_bytes, bool has_puts,
                                    struct tac_error *error);
/* After the op's records are in: makes it visible, moves the beat. */
void tac_writer_end(struct tactus *store);
/* Whether a put would be refused, whatever its size. */
TAC_MUST_CHECK int tac_writer_put_check(struct tactus *store, struct tac_error *error);
/* Ends the plan that runs (a bar, or half of one), with full credit. */
TAC_MUST_CHECK int tac_writer_end_plan(struct tactus *store, struct tac_error *error);
/* Ends plans until the bar has ended. */
TAC_MUST_CHECK int tac_writer_end_bar(struct tactus *store, struct tac_error *error);
/* Until the plan that runs now has been made: from then to its end the coordinator leaves the
 * manifest and the control flags alone, and the writer may change them. */
void tac_writer_plan_wait(struct tactus *store);
/* Until the coordinator rests: up to the next call of this kind that ends a plan, the manifest's
 * trees and the control flags are the caller's. Then _op takes an op for what the caller has
 * changed; _control does both. */
TAC_MUST_CHECK int tac_writer_rest(struct tactus *store, struct tac_error *error);
void               tac_writer_control_op(struct tactus *store);
/* entry: what the log says of it. */
TAC_MUST_CHECK int tac_writer_control(struct tactus *store, const struct tac_wal_entry *entry,
                                      struct tac_error *error);
/* An op that changes nothing. */
TAC_MUST_CHECK int tac_writer_nothing(struct tactus *store, struct tac_error *error);
/* A durable checkpoint that takes no op: for what else it says. Takes commit_lock itself. */
TAC_MUST_CHECK int tac_writer_mark(struct tactus *store, struct tac_error *error);
/* Until the op is in a durable checkpoint: one that is under way or due. */
TAC_MUST_CHECK int tac_writer_durable_wait(struct tactus *store, uint64_t op,
                                           struct tac_error *error);
/* All ops up to this one are in a durable checkpoint. */
bool tac_writer_is_checkpointed(struct tactus *store, uint64_t op);
/* The same, after the checkpoint that is under way, if one is. */
bool tac_writer_checkpoint_wait(struct tactus *store, uint64_t op);
/* manual_trees: bit for each tree to be compacted whole into its last level. */
TAC_MUST_CHECK int tac_writer_drain(struct tactus *store, uint64_t manual_trees,
                                    struct tac_error *error);
TAC_MUST_CHECK int tac_writer_checkpoint(struct tactus *store, struct tac_error *error);
/* The next beat of the bar, whatever the memtable's fill: an op. After the last the bar ends. */
TAC_MUST_CHECK int tac_writer_beat(struct tactus *store, struct tac_error *error);
/* Ends the bar: an op. */
TAC_MUST_CHECK int tac_writer_range_step(struct tactus *store, struct tac_error *error);
/* Without commit_lock: until the plan's work is done, with all credit, while writes go on; or until
 * there is a pause, or its end has come. */
void tac_writer_hurry(struct tactus *store);
/* An op that comes with a checkpoint (snapshot.h), durably. The order becomes the store's own once
 * the op is taken. */
TAC_MUST_CHECK int tac_writer_snapshot(struct tactus                   *store,
                                       const struct tac_snapshot_order *order,
                                       struct tac_error                *error);
bool tac_store_is_paused(const struct tactus *store);
/* Both without commit_lock. TACTUS_EPOISONED. */
TAC_MUST_CHECK int tac_writer_pause(struct tactus *store, struct tac_error *error);
void               tac_writer_resume(struct tactus *store);
/* TACTUS_EPAUSED, for a call that waits for flushes or compactions. */
TAC_MUST_CHECK int tac_writer_pause_check(struct tactus *store, struct tac_error *error);
/* Until no checkpoint is under way: while commit_lock is held none begins, and what the durable one
 * reaches stays as it is. */
TAC_MUST_CHECK int tac_writer_quiet(struct tactus *store, struct tac_error *error);

#endif
