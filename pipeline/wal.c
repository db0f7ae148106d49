/* SPDX-License-Identifier: Apache-2.0 */
/* wal -- see wal.h. Locks: commit_lock before wait_lock before lock; none is held during I/O but
 * commit_lock, by a writer that finds both images full. */
#include "pipeline/wal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mutant.h"
#include "base/thread.h"
#include "base/units.h"
#include "pipeline/store.h"
#include "queues/atomics.h"

#define IO_ALIGNMENT 4096
#define WRITE_AHEAD_BYTES (512 * TAC_KIB) /* So much that waits wakes the log's thread */
#define SPARE_SEGMENTS 1                  /* That only a checkpoint's entry begins */
#define LOG_SYNC_PARTS 4                  /* The log is synced with such a part of bytes_per_sync:
                                             a close waits for its last sync */

/* ---- create and destroy --------------------------------------------------------------------- */

uint64_t tac_wal_memory_bytes(const struct tac_wal_geometry *geometry)
{
    return 2 * geometry->segment_bytes + IO_ALIGNMENT + geometry->segment_count * sizeof(uint64_t);
}

int tac_wal_create(struct tac_wal *wal, struct tactus *store, struct tac_storage *storage,
                   const struct tac_wal_geometry *geometry, struct tac_error *error)
{
    pthread_condattr_t attributes;

    memset(wal, 0, sizeof *wal);
    wal->storage = storage;
    wal->geometry = *geometry;
    wal->store = store;
    pthread_mutex_init(&wal->lock, NULL);
    pthread_mutex_init(&wal->wait_lock, NULL);
    pthread_cond_init(&wal->wait_cond, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&wal->thread_cond, &attributes);
    pthread_condattr_destroy(&attributes);
    for (uint32_t i = 0; i < 2; i++) {
        wal->images[i] = aligned_alloc(IO_ALIGNMENT, geometry->segment_bytes);
        if (wal->images[i] == NULL) {
            return tac_error_set(error, TACTUS_ENOMEM, "out of memory for the write-ahead log");
        }
        memset(wal->images[i], 0, geometry->segment_bytes);
    }
    wal->tail = aligned_alloc(IO_ALIGNMENT, IO_ALIGNMENT);
    wal->op_first = calloc(geometry->segment_count, sizeof *wal->op_first);
    if (wal->tail == NULL || wal->op_first == NULL) {
        return tac_error_set(error, TACTUS_ENOMEM, "out of memory for the write-ahead log");
    }
    return storage->ops->queue_new(storage, 1, -1, &wal->queue, error);
}

void tac_wal_destroy(struct tac_wal *wal)
{
    if (wal->storage == NULL) {
        return;
    }
    if (wal->queue != NULL) {
        struct tac_io *done;

        while (wal->queue->in_flight > 0) { /* Whoever drove has seen that the store is poisoned. */
            (void)wal->storage->ops->flush(wal->queue);
            (void)wal->storage->ops->reap(wal->queue, &done);
        }
        wal->storage->ops->queue_free(wal->queue);
    }
    free(wal->images[0]);
    free(wal->images[1]);
    free(wal->tail);
    free(wal->op_first);
    pthread_mutex_destroy(&wal->lock);
    pthread_mutex_destroy(&wal->wait_lock);
    pthread_cond_destroy(&wal->wait_cond);
    pthread_cond_destroy(&wal->thread_cond);
    wal->storage->ops->close(wal->storage);
    wal->storage = NULL;
}

/* ---- flush ---------------------------------------------------------------------------------- */

uint64_t tac_wal_durable_op(struct tac_wal *wal)
{
    return tac_atomic_load_acquire_u64(&wal->op_durable);
}

/* With `lock`. What is in the frame that is being filled becomes part of the log. */
static void frame_seal(struct tac_wal *wal)
{
    struct tac_wal_frame frame = {
        .op_first = wal->frame_op_first,
        .op_durable = tac_wal_durable_op(wal),
        .chain = wal->chain,
        .continues = wal->frame_continues,
    };

    if (wal->frame_offset == 0) {
        return;
    }
    frame.payload_bytes = (uint32_t)(wal->offset - wal->frame_offset - TAC_WAL_FRAME_HEADER_BYTES);
    wal->chain = tac_wal_frame_seal(wal->images[wal->sequence % 2], &wal->geometry, wal->sequence,
                                    wal->frame_offset, &frame);
    wal->offset = wal->frame_offset + tac_wal_frame_bytes(frame.payload_bytes);
    wal->frame_offset = 0;
}

/* With `lock`. The next write: what is left of the segment before, or all there is of this one.
 * False: nothing is left to be written. */
static bool write_prepare(struct tac_wal *wal)
{
    uint8_t *image;
    uint64_t begin, end, whole;

    if (wal->write_sequence < wal->sequence && wal->write_offset == wal->geometry.segment_bytes) {
        wal->write_sequence++;
        wal->write_offset = 0;
    }
    if (wal->write_sequence == wal->sequence) {
        frame_seal(wal);
    }
    image = wal->images[wal->write_sequence % 2];
    end = wal->write_sequence == wal->sequence ? wal->offset : wal->geometry.segment_bytes;
    if (wal->write_sequence == 0 || wal->write_offset == end) {
        return false;
    }
    begin = wal->write_offset / IO_ALIGNMENT * IO_ALIGNMENT;
    whole = end / IO_ALIGNMENT * IO_ALIGNMENT;
    wal->io = (struct tac_io){
        .kind = TAC_IO_WRITE,
        .offset_bytes = tac_wal_segment_offset(&wal->geometry, wal->write_sequence) + begin,
        .size_bytes = tac_round_up(end, IO_ALIGNMENT) - begin,
    };
    if (whole > begin) {
        wal->io.segments[wal->io.segment_count++] = (struct iovec){image + begin, whole - begin};
    }
    if (end > whole) {
        /* The writer goes on in this block meanwhile. */
        memcpy(wal->tail, image + whole, end - whole);
        memset(wal->tail + (end - whole), 0, IO_ALIGNMENT - (end - whole));
        wal->io.segments[wal->io.segment_count++] = (struct iovec){wal->tail, IO_ALIGNMENT};
    }
    if (wal->write_sequence == wal->sequence) {
        wal->op_in_flight = wal->op_appended;
        wal->sequence_in_flight = wal->sequence;
        wal->offset_in_flight = end;
    } else {
        wal->op_in_flight = 0; /* The next write brings what belongs to it. */
        wal->sequence_in_flight = wal->write_sequence + 1;
        wal->offset_in_flight = 0;
    }
    return true;
}

static void io_submit(struct tac_wal *wal, enum tac_wal_state state)
{
    if (wal->storage->ops->submit(wal->queue, &wal->io)) {
        wal->state = state;
        if (state == TAC_WAL_SYNCING) {
            wal->has_followed = false;
            pthread_mutex_lock(&wal->lock);
            wal->unsynced_bytes = 0;
            pthread_mutex_unlock(&wal->lock);
        }
        (void)wal->storage->ops->flush(wal->queue);
    }
}

static void io_finish(struct tac_wal *wal)
{
    bool is_write = wal->state == TAC_WAL_WRITING;

    wal->state = TAC_WAL_IDLE;
    if (wal->io.result != TACTUS_OK) {
        char text[128];

        snprintf(text, sizeof text, "%s of the write-ahead log failed: %s",
                 is_write ? "write" : "sync",
                 wal->io.os_error != 0 ? strerror(wal->io.os_error) : "no space");
        tac_store_poison(wal->store, wal->io.result, text);
        return;
    }
    if (is_write) {
        wal->op_written = tac_max_u64(wal->op_written, wal->op_in_flight);
        pthread_mutex_lock(&wal->lock);
        wal->unsynced_bytes += wal->io.size_bytes;
        wal->io.size_bytes = 0;
        wal->write_sequence = wal->sequence_in_flight;
        wal->write_offset = wal->offset_in_flight;
        pthread_mutex_unlock(&wal->lock);
    } else {
        tac_atomic_store_release_u64(&wal->op_durable, wal->op_written);
        tac_atomic_store_release_u64(&wal->sync_ns, tac_clock_now_ns());
    }
}

/* One turn of whoever drives, so that sync_op becomes durable (0: only writes): reap, or write, or
 * sync. When the op is written one more write may go before the sync, for threads that wait to share
 * it, and no second one: others may append without an end. False: nothing was to be done. */
static bool drive(struct tac_wal *wal, uint64_t sync_op)
{
    bool           wants_sync = sync_op > tac_wal_durable_op(wal) && wal->op_written >= sync_op;
    struct tac_io *done;
    bool           has_write = false;

    if (wal->state != TAC_WAL_IDLE) {
        if (wal->storage->ops->reap(wal->queue, &done) > 0) {
            io_finish(wal);
        }
        return true;
    }
    if (wal->io.kind == TAC_IO_WRITE && wal->io.size_bytes > 0) {
        io_submit(wal, TAC_WAL_WRITING); /* It was refused the first time. */
        return true;
    }
    if (!wants_sync || !wal->has_followed || TAC_MUTANT(LOG_SYNC_STARVED)) {
        pthread_mutex_lock(&wal->lock);
        has_write = write_prepare(wal);
        pthread_mutex_unlock(&wal->lock);
    }
    if (has_write) {
        wal->has_followed = wants_sync;
        io_submit(wal, TAC_WAL_WRITING);
        return true;
    }
    if (wants_sync) {
        wal->io = (struct tac_io){.kind = TAC_IO_SYNC};
        io_submit(wal, TAC_WAL_SYNCING);
        return true;
    }
    return false;
}

/* Drives, or waits for who does, until the condition holds or the store is poisoned. */
static void drive_until(struct tac_wal *wal, bool (*condition)(struct tac_wal *, uint64_t),
                        uint64_t argument, uint64_t sync_op)
{
    pthread_mutex_lock(&wal->wait_lock);
    while (!condition(wal, argument) && !tac_store_is_poisoned(wal->store)) {
        if (wal->is_driven) {
            pthread_cond_wait(&wal->wait_cond, &wal->wait_lock);
            continue;
        }
        wal->is_driven = true;
        pthread_mutex_unlock(&wal->wait_lock);
        while (!condition(wal, argument) && !tac_store_is_poisoned(wal->store)) {
            if (!drive(wal, sync_op)) {
                break;
            }
        }
        pthread_mutex_lock(&wal->wait_lock);
        wal->is_driven = false;
        pthread_cond_broadcast(&wal->wait_cond);
    }
    pthread_mutex_unlock(&wal->wait_lock);
}

static bool op_is_durable(struct tac_wal *wal, uint64_t op)
{
    return tac_wal_durable_op(wal) >= op;
}

/* The image that segment `sequence` would be filled in is free. */
static bool image_is_free(struct tac_wal *wal, uint64_t sequence)
{
    bool is_free;

    pthread_mutex_lock(&wal->lock);
    is_free = wal->write_sequence + 1 >= sequence;
    pthread_mutex_unlock(&wal->lock);
    return is_free;
}

static int stopped(const struct tac_wal *wal, struct tac_error *error)
{
    return tac_error_set(error, TACTUS_EPOISONED, "writing has stopped: %s",
                         wal->store->poison_error.message);
}

int tac_wal_sync(struct tac_wal *wal, uint64_t op, struct tac_error *error)
{
    drive_until(wal, op_is_durable, op, op);
    return op_is_durable(wal, op) ? TACTUS_OK : stopped(wal, error);
}

int tac_wal_committed(struct tac_wal *wal, uint64_t op, struct tac_error *error)
{
    if (wal->storage == NULL || wal->is_replaying) {
        return TACTUS_OK;
    }
    if (wal->is_sync) {
        return tac_wal_sync(wal, op, error);
    }
    if (!wal->has_thread &&
        tac_clock_now_ns() - tac_atomic_load_acquire_u64(&wal->sync_ns) >= wal->interval_ns) {
        return tac_wal_sync(wal, op, error);
    }
    return TACTUS_OK;
}

/* ---- append --------------------------------------------------------------------------------- */

static int log_full(struct tac_error *error)
{
    return tac_error_set(error, TACTUS_EFULL,
                         "the write-ahead log is full of ops that no checkpoint holds: call "
                         "tactus_checkpoint");
}

/* Until the place of the segment in the ring holds nothing that a replay may need. */
static int segment_wait(struct tac_wal *wal, uint64_t sequence, struct tac_error *error)
{
    struct tactus *store = wal->store;
    uint64_t       op;

    if (sequence <= wal->geometry.segment_count) {
        return TACTUS_OK;
    }
    /* The segment behind the one to be overwritten begins with this op, or inside it. */
    op = wal->op_first[(sequence + 1) % wal->geometry.segment_count];
    if (op != 0 && !tac_writer_is_checkpointed(store, op)) {
        wal->waits++;
        if (!tac_writer_checkpoint_wait(store, op)) {
            return log_full(error);
        }
    }
    return TACTUS_OK;
}

/* Begins the next segment with this op. spare: free segments that are to be left behind it. */
static int segment_begin(struct tac_wal *wal, uint64_t op, uint64_t spare, struct tac_error *error)
{
    struct tac_wal_segment segment = {
        .sequence = wal->sequence + 1,
        .op_first = op,
        .op_durable = tac_wal_durable_op(wal),
    };
    int result = segment_wait(wal, segment.sequence + spare, error);

    if (result != TACTUS_OK) {
        return result;
    }
    drive_until(wal, image_is_free, segment.sequence, 0);
    if (tac_store_is_poisoned(wal->store)) {
        return stopped(wal, error);
    }
    pthread_mutex_lock(&wal->lock);
    frame_seal(wal);
    memset(wal->images[segment.sequence % 2], 0, wal->geometry.segment_bytes);
    segment.chain = wal->chain;
    tac_wal_segment_encode(wal->images[segment.sequence % 2], &wal->geometry, &segment);
    if (wal->write_sequence == 0) { /* The first one there is */
        wal->write_sequence = segment.sequence;
        wal->write_offset = 0;
    }
    wal->sequence = segment.sequence;
    wal->offset = TAC_WAL_SEGMENT_HEADER_BYTES;
    wal->op_first[segment.sequence % wal->geometry.segment_count] = op;
    pthread_mutex_unlock(&wal->lock);
    return TACTUS_OK;
}

static bool entry_fits(const struct tac_wal *wal, uint64_t bytes)
{
    uint64_t header = wal->frame_offset == 0 ? TAC_WAL_FRAME_HEADER_BYTES : 0;

    return wal->sequence != 0 &&
           wal->offset + header + bytes + TAC_WAL_ALIGNMENT <= wal->geometry.segment_bytes;
}

/* However the entries come to frames, and these to segments: each may get a frame of its own, and of a
 * segment at most half stays unused (an entry has less than that, wal_format.c). */
int tac_wal_reserve(struct tac_wal *wal, uint64_t entries, uint64_t bytes, struct tac_error *error)
{
    uint64_t half = wal->geometry.segment_bytes / 2;
    uint64_t worst = tac_max_u64(bytes, TAC_WAL_REFUSED_ENTRY_BYTES) +
                     entries * (TAC_WAL_FRAME_HEADER_BYTES + TAC_WAL_ALIGNMENT);
    uint64_t segments;
    bool     fits;

    if (wal->storage == NULL || wal->is_replaying || TAC_MUTANT(LOG_ROOM_UNSEEN)) {
        return TACTUS_OK;
    }
    pthread_mutex_lock(&wal->lock);
    /* The frame that is being filled may be sealed meanwhile. */
    fits = wal->sequence != 0 &&
           wal->offset + TAC_WAL_ALIGNMENT + worst <= wal->geometry.segment_bytes;
    pthread_mutex_unlock(&wal->lock);
    segments = fits ? 0 : tac_div_ceil(worst, half);
    if (segments + SPARE_SEGMENTS >= wal->geometry.segment_count) {
        return log_full(error);
    }
    return segments == 0 ? TACTUS_OK
                         : segment_wait(wal, wal->sequence + segments + SPARE_SEGMENTS, error);
}

/* With `lock`. */
static uint64_t bytes_waiting(const struct tac_wal *wal)
{
    return wal->write_sequence == wal->sequence ? wal->offset - wal->write_offset
                                                : wal->geometry.segment_bytes;
}

int tac_wal_append(struct tac_wal *wal, const struct tac_wal_entry *entry, struct tac_error *error)
{
    uint64_t bytes = tac_wal_entry_bytes(entry);
    uint64_t spare = entry->kind == TAC_WAL_CHECKPOINT ? 0 : SPARE_SEGMENTS;
    uint64_t op;
    uint64_t waiting;

    if (wal->storage == NULL || wal->is_replaying) {
        return TACTUS_OK;
    }
    op = wal->store->last_op + 1;
    pthread_mutex_lock(&wal->lock);
    if (!entry_fits(wal, bytes)) {
        pthread_mutex_unlock(&wal->lock);
        if (segment_begin(wal, op, spare, error) != TACTUS_OK) {
            return error->code;
        }
        pthread_mutex_lock(&wal->lock);
    }
    if (wal->frame_offset == 0) {
        wal->frame_offset = wal->offset;
        wal->offset += TAC_WAL_FRAME_HEADER_BYTES;
        wal->frame_op_first = op;
        wal->frame_continues = wal->is_inside_op;
    }
    tac_wal_entry_encode(wal->images[wal->sequence % 2] + wal->offset, entry);
    wal->offset += bytes;
    wal->is_inside_op = !entry->is_last;
    if (entry->is_last) {
        wal->op_appended = op;
    }
    waiting = bytes_waiting(wal);
    pthread_mutex_unlock(&wal->lock);
    if (wal->has_thread && waiting >= WRITE_AHEAD_BYTES) {
        pthread_mutex_lock(&wal->wait_lock);
        pthread_cond_signal(&wal->thread_cond);
        pthread_mutex_unlock(&wal->wait_lock);
    }
    return TACTUS_OK;
}

/* ---- the log's own thread ------------------------------------------------------------------- */

/* Whoever drives: a request is under way, the op is not durable, or much waits to be written. */
static bool is_behind(struct tac_wal *wal, uint64_t sync_op)
{
    uint64_t waiting;

    pthread_mutex_lock(&wal->lock);
    waiting = bytes_waiting(wal);
    pthread_mutex_unlock(&wal->lock);
    return wal->state != TAC_WAL_IDLE || sync_op > tac_wal_durable_op(wal) ||
           waiting >= WRITE_AHEAD_BYTES;
}

/* With wait_lock. Drives until the op is durable and little waits, after whoever drives now. */
static void thread_drive(struct tac_wal *wal, uint64_t sync_op)
{
    while (wal->is_driven) {
        pthread_cond_wait(&wal->wait_cond, &wal->wait_lock);
    }
    wal->is_driven = true;
    pthread_mutex_unlock(&wal->wait_lock);
    while (!tac_store_is_poisoned(wal->store) && is_behind(wal, sync_op) && drive(wal, sync_op)) {
    }
    pthread_mutex_lock(&wal->wait_lock);
    wal->is_driven = false;
    pthread_cond_broadcast(&wal->wait_cond);
}

/* Whether the thread is to sync now, after due_ns or since so much is not synced that it would take
 * the device long (paced_sync.h), and up to which op. */
static bool sync_is_due(struct tac_wal *wal, uint64_t due_ns, uint64_t *ret_op)
{
    uint64_t bytes_per_sync = wal->store->options.bytes_per_sync / LOG_SYNC_PARTS;
    bool     is_due = tac_clock_now_ns() >= due_ns;

    pthread_mutex_lock(&wal->lock);
    is_due = is_due || (bytes_per_sync > 0 && wal->unsynced_bytes >= bytes_per_sync);
    *ret_op = is_due ? wal->op_appended : 0;
    pthread_mutex_unlock(&wal->lock);
    return is_due;
}

static void *thread_main(void *argument)
{
    struct tac_wal *wal = argument;

    pthread_mutex_lock(&wal->wait_lock);
    while (!wal->should_stop) {
        uint64_t        due_ns = tac_atomic_load_acquire_u64(&wal->sync_ns) + wal->interval_ns;
        struct timespec due = {(time_t)(due_ns / 1000000000u), (long)(due_ns % 1000000000u)};
        uint64_t        sync_op;
        bool            is_due;

        (void)pthread_cond_timedwait(&wal->thread_cond, &wal->wait_lock, &due);
        is_due = sync_is_due(wal, due_ns, &sync_op);
        thread_drive(wal, sync_op);
        if (is_due) {
            /* Nothing new is no reason to look again at once. */
            tac_atomic_store_release_u64(&wal->sync_ns, tac_clock_now_ns());
        }
    }
    if (wal->should_sync) {
        uint64_t sync_op;

        (void)sync_is_due(wal, 0, &sync_op);
        thread_drive(wal, sync_op);
    }
    pthread_mutex_unlock(&wal->wait_lock);
    return NULL;
}

void tac_wal_clock_start(struct tac_wal *wal)
{
    tac_atomic_store_release_u64(&wal->sync_ns, tac_clock_now_ns());
}

int tac_wal_thread_start(struct tac_wal *wal, struct tac_error *error)
{
    wal->has_thread =
        tac_thread_start(&wal->thread, "tac-log", thread_main, wal, error) == TACTUS_OK;
    return wal->has_thread ? TACTUS_OK : error->code;
}

static void thread_stop_begin(struct tac_wal *wal, bool should_sync)
{
    pthread_mutex_lock(&wal->wait_lock);
    wal->should_stop = true;
    wal->should_sync = should_sync;
    pthread_cond_signal(&wal->thread_cond);
    pthread_mutex_unlock(&wal->wait_lock);
}

static void thread_join(struct tac_wal *wal)
{
    pthread_join(wal->thread, NULL);
    wal->has_thread = false;
}

void tac_wal_thread_stop(struct tac_wal *wal)
{
    if (wal->has_thread) {
        thread_stop_begin(wal, false);
        thread_join(wal);
    }
}

/* ---- close ---------------------------------------------------------------------------------- */

void tac_wal_finish_begin(struct tac_wal *wal)
{
    if (wal->has_thread) {
        thread_stop_begin(wal, true);
    } else if (wal->storage != NULL) {
        drive_until(wal, op_is_durable, wal->store->last_op, wal->store->last_op);
    }
}

int tac_wal_finish(struct tac_wal *wal, uint64_t op, struct tac_error *error)
{
    if (wal->has_thread) {
        thread_join(wal);
    }
    if (wal->storage != NULL && !op_is_durable(wal, op)) {
        return stopped(wal, error);
    }
    return TACTUS_OK;
}
