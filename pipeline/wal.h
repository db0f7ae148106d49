/* SPDX-License-Identifier: Apache-2.0 */
/* wal -- the write-ahead log of a store that is open (lsm/wal_format.h has its bytes).
 *
 * Append   The writer, with commit_lock held, lays an op's entries into the image of the segment
 *          that is being filled, before the op goes into the memtable. There are two images: while
 *          one is filled, what is left of the other is written.
 * Flush    Whoever drives the log seals the entries that have gathered as one frame, writes it, and
 *          syncs: a thread that waits for its op, which so carries along all that others have
 *          appended (group commit), the log's own thread (`interval`), or the writer when the
 *          images are full. One at a time drives; one write or sync is under way at a time.
 * Room     A segment is used again when a durable checkpoint holds all its ops. The geometry has
 *          room for all ops that a checkpoint may still need, so that the writer waits here only
 *          for a checkpoint that is late. Ops that fill no memtable may fill the log all the same:
 *          the last free segment is for a checkpoint alone, which empties it. A write makes sure of
 *          its room before it ends a bar: one that is refused has changed nothing.
 * Failure  of a write or sync poisons the store; nothing is tried again (rule R8). */
#ifndef TACTUS_PIPELINE_WAL_H
#define TACTUS_PIPELINE_WAL_H

#include <pthread.h>

#include "lsm/wal_format.h"
#include "stages/storage.h"

struct tactus;

enum tac_wal_state {
    TAC_WAL_IDLE,
    TAC_WAL_WRITING,
    TAC_WAL_SYNCING,
};

struct tac_wal {
    /* Fixed at open. */
    struct tac_storage     *storage; /* NULL: there is no log */
    struct tac_io_queue    *queue;
    struct tac_wal_geometry geometry;
    struct tactus          *store;
    bool                    is_sync; /* A write returns when it is durable */
    uint64_t                interval_ns;
    uint8_t                *images[2]; /* Segment s is filled in images[s % 2] */
    uint8_t                *tail;     /* 4 KiB: the last block of a write, for others go on in it */
    uint64_t               *op_first; /* By place in the ring: of the segment that is there */

    /* Writer (commit_lock). */
    bool is_replaying; /* What is written comes from the log */
    bool is_inside_op; /* Some entries of op_appended + 1 are in */

    /* Under `lock`: the writer and whoever drives. */
    pthread_mutex_t lock;
    uint64_t        sequence;     /* Of the segment that is being filled; 0: none yet */
    uint64_t        offset;       /* In it: where the entries end */
    uint64_t        frame_offset; /* Of the frame that is being filled; 0: none */
    uint64_t        frame_op_first;
    bool            frame_continues;
    uint64_t        op_appended;    /* The last op that is whole in the images */
    uint64_t        chain;          /* Of the last frame that was sealed */
    uint64_t        write_sequence; /* Up to here … */
    uint64_t        write_offset;   /* … all is written */
    uint64_t        unsynced_bytes; /* Written since the last sync was asked for */

    /* Whoever drives. */
    enum tac_wal_state state;
    struct tac_io      io;
    uint64_t           op_in_flight; /* The last whole op of the write under way … */
    uint64_t           sequence_in_flight, offset_in_flight; /* … and where it ends */
    uint64_t           op_written;
    bool               has_followed; /* A write, since the op that is to be synced was written */

    /* Under wait_lock. */
    pthread_mutex_t wait_lock;
    pthread_cond_t  wait_cond;   /* Somebody has stopped driving */
    pthread_cond_t  thread_cond; /* For the log's own thread */
    bool            is_driven;
    bool            should_stop;
    bool            should_sync; /* Before it stops */
    bool            has_thread;
    pthread_t       thread;

    uint64_t op_durable; /* Atomic; whoever drives */
    uint64_t sync_ns;    /* Atomic: when it was last brought up to date */
    uint64_t waits;      /* Writer: times that an append waited for a checkpoint */
};

/* Allocates; the log is not appendable before tac_wal_open has read it, or made it new. */
TAC_MUST_CHECK int tac_wal_create(struct tac_wal *wal, struct tactus *store,
                                  struct tac_storage            *storage,
                                  const struct tac_wal_geometry *geometry, struct tac_error *error);
/* Closes the storage. */
void     tac_wal_destroy(struct tac_wal *wal);
uint64_t tac_wal_memory_bytes(const struct tac_wal_geometry *geometry);

/* The interval begins. */
void tac_wal_clock_start(struct tac_wal *wal);
/* The log's own thread, for `interval` in a store with threads. */
TAC_MUST_CHECK int tac_wal_thread_start(struct tac_wal *wal, struct tac_error *error);
/* It ends, and goes no further than what it does now. */
void tac_wal_thread_stop(struct tac_wal *wal);

/* A close: makes all that was appended durable. Begun here and waited for in _finish, as the log's
 * thread does it, which ends; without one it is done here. In between the store may lose all but
 * what tac_store_poison needs. */
void tac_wal_finish_begin(struct tac_wal *wal);
/* op: the store's last one. TACTUS_EPOISONED. */
TAC_MUST_CHECK int tac_wal_finish(struct tac_wal *wal, uint64_t op, struct tac_error *error);

/* For an op that does something else before it is appended: room for so many entries, which have so
 * many bytes together, or for one that says what became of it (TAC_WAL_REFUSED). With commit_lock
 * held, and up to the op's last entry. TACTUS_EFULL: there is none. */
TAC_MUST_CHECK int tac_wal_reserve(struct tac_wal *wal, uint64_t entries, uint64_t bytes,
                                   struct tac_error *error);
/* One entry of op last_op + 1, its last one or not. With commit_lock held. TACTUS_EFULL: no segment
 * is free and no checkpoint is under way, which what has been reserved does not meet;
 * TACTUS_EPOISONED. Nothing is to be done without a log, or while replaying. */
TAC_MUST_CHECK int tac_wal_append(struct tac_wal *wal, const struct tac_wal_entry *entry,
                                  struct tac_error *error);
/* After the commit: in mode `sync` until the op is durable; in mode `interval`, without threads,
 * sees whether the time has come. Without commit_lock. */
TAC_MUST_CHECK int tac_wal_committed(struct tac_wal *wal, uint64_t op, struct tac_error *error);
/* Until the op is durable. */
TAC_MUST_CHECK int tac_wal_sync(struct tac_wal *wal, uint64_t op, struct tac_error *error);
uint64_t           tac_wal_durable_op(struct tac_wal *wal);

#endif
