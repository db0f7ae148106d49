/* SPDX-License-Identifier: Apache-2.0 */
/* wal_open -- see wal_open.h.
 *
 * Where to begin: in the newest segment that begins before op P + 1, or else with it. From there on
 * frames follow each other as their chain says, into the next segment where the next frame's place
 * is that segment's beginning.
 * Where it ends: at the first place where no such frame is. That is how a crash leaves a log,
 * unless something behind it was written when the missing op was durable already: then the log is
 * damaged, and the open fails.
 * How it goes on: right there. What lost writes may have left behind that place is wiped first.
 * Twice read: nothing tells the end of a log from a read that went wrong. All that looks like an
 * end, or like no segment, is read once more (rule R8). */
#include "pipeline/wal_open.h"

#include <stdlib.h>
#include <string.h>

#include "base/mutant.h"
#include "base/units.h"
#include "pipeline/api_internal.h"
#include "pipeline/recovery.h"
#include "pipeline/room.h"
#include "queues/atomics.h"

#define PROBE_BYTES 4096

struct reader {
    struct tactus       *store;
    struct tac_wal      *wal;
    uint64_t             sequence_max; /* Newest segment there is */
    uint64_t             sequence, offset;
    uint64_t             op;        /* Of the next entry */
    uint64_t             op_needed; /* P + 1 */
    uint64_t             chain;
    struct tac_wal_frame frame;
    uint64_t             at, end; /* What is left of the frame's entries */
    struct tactus_batch *batch;   /* Entries of an op of several */
    bool                 has_batch;
    bool                 has_loss; /* Ops that were durable are missing */
    struct tac_error    *error;
};

/* ---- finding -------------------------------------------------------------------------------- */

/* Zeros: it was made, but not begun; the header is written and synced before the first op. */
static int header_check(const struct tactus *store, const uint8_t *header,
                        struct tac_wal_geometry *geometry, bool *ret_is_new,
                        struct tac_error *error)
{
    static const uint8_t zero[TAC_WAL_HEADER_BYTES];
    int                  result;

    *ret_is_new = memcmp(header, zero, sizeof zero) == 0;
    if (*ret_is_new) {
        return TACTUS_OK;
    }
    result = tac_wal_header_decode(header, store->uuid, geometry, error);
    return result == TACTUS_OK ? tac_wal_geometry_check(geometry, &store->shape, error) : result;
}

/* A log is new if two reads say so: one may have gone wrong. */
static int header_read(struct tactus *store, struct tac_storage *storage,
                       struct tac_wal_geometry *geometry, bool *ret_is_new, struct tac_error *error)
{
    uint8_t *header = aligned_alloc(PROBE_BYTES, TAC_WAL_HEADER_BYTES);
    uint32_t times_new = 0;
    bool     looks_new = false;
    int      result = TACTUS_OK;

    if (header == NULL) {
        return tac_error_set(error, TACTUS_ENOMEM, "out of memory for the write-ahead log");
    }
    *ret_is_new = storage->ops->size(storage) < TAC_WAL_HEADER_BYTES;
    for (uint32_t attempt = 0; attempt <= TAC_READ_ATTEMPTS && !*ret_is_new; attempt++) {
        looks_new = false;
        result = storage->ops->read(storage, header, TAC_WAL_HEADER_BYTES, 0, error);
        if (result == TACTUS_OK) {
            result = header_check(store, header, geometry, &looks_new, error);
        }
        if (result == TACTUS_OK && !looks_new) {
            break;
        }
        times_new += looks_new;
        *ret_is_new = times_new == 2;
    }
    *ret_is_new |= result == TACTUS_OK && looks_new;
    free(header);
    return result;
}

static int header_write(struct tac_storage *storage, const struct tac_wal_geometry *geometry,
                        struct tac_error *error)
{
    uint8_t *header = aligned_alloc(PROBE_BYTES, TAC_WAL_HEADER_BYTES);
    int      result;

    if (header == NULL) {
        return tac_error_set(error, TACTUS_ENOMEM, "out of memory for the write-ahead log");
    }
    tac_wal_header_encode(header, geometry);
    result = storage->ops->resize(storage, tac_wal_file_bytes(geometry), error);
    if (result == TACTUS_OK) {
        result = storage->ops->write(storage, header, TAC_WAL_HEADER_BYTES, 0, error);
    }
    free(header);
    return result == TACTUS_OK ? storage->ops->sync(storage, error) : result;
}

/* The header of the segment that is at this place; sequence 0: none is. It cannot be read if no
 * attempt has given anything. */
static int segment_probe(const struct tac_wal *wal, uint64_t place, uint8_t *probe,
                         struct tac_wal_segment *ret_segment, struct tac_error *error)
{
    int result = TACTUS_EIO;

    ret_segment->sequence = 0;
    for (uint32_t attempt = 0; attempt < TAC_READ_ATTEMPTS && ret_segment->sequence == 0;
         attempt++) {
        if (wal->storage->ops->read(wal->storage, probe, PROBE_BYTES,
                                    tac_wal_segment_offset(&wal->geometry, place),
                                    error) != TACTUS_OK) {
            continue;
        }
        result = TACTUS_OK;
        if (!tac_wal_segment_decode(probe, &wal->geometry, ret_segment)) {
            ret_segment->sequence = 0;
        }
    }
    if (result == TACTUS_OK && error != NULL) {
        tac_error_clear(error); /* Of the attempt that failed */
    }
    return result;
}

/* The newest segment that begins before the op, so that it has all of it; else the oldest that
 * begins with it. 0: none does. What a crash has left beyond a gap is of the same history: the open
 * before has wiped all other (log_continue). */
static uint64_t segment_choose(const struct tac_wal *wal, const uint64_t *sequences, uint64_t op)
{
    uint64_t before = 0, with = 0;

    for (uint64_t i = 0; i < wal->geometry.segment_count; i++) {
        if (sequences[i] == 0) {
            continue;
        }
        if (wal->op_first[i] < op) {
            before = tac_max_u64(before, sequences[i]);
        } else if (wal->op_first[i] == op && (with == 0 || sequences[i] < with)) {
            with = sequences[i];
        }
    }
    return before != 0 ? before : with;
}

/* Which segment is at which place: wal->op_first, and where to begin. */
static int segments_probe(struct tac_wal *wal, uint64_t op, uint64_t *ret_begin,
                          uint64_t *ret_sequence_max, struct tac_error *error)
{
    uint64_t  count = wal->geometry.segment_count;
    uint64_t *sequences = calloc(count, sizeof *sequences);
    uint64_t  sequence_max = 0, op_durable_max = 0;
    int       result = TACTUS_OK;

    if (sequences == NULL) {
        return tac_error_set(error, TACTUS_ENOMEM, "out of memory for the write-ahead log");
    }
    for (uint64_t i = 0; i < count && result == TACTUS_OK; i++) {
        struct tac_wal_segment segment;

        result = segment_probe(wal, i, wal->images[0], &segment, error);
        if (segment.sequence != 0 && segment.sequence % count == i) {
            sequences[i] = segment.sequence;
            wal->op_first[i] = segment.op_first;
            sequence_max = tac_max_u64(sequence_max, segment.sequence);
            op_durable_max = tac_max_u64(op_durable_max, segment.op_durable);
        }
    }
    *ret_begin = segment_choose(wal, sequences, op);
    *ret_sequence_max = sequence_max;
    free(sequences);
    if (result == TACTUS_OK && *ret_begin == 0 && op_durable_max >= op &&
        !wal->store->options.log_loss_accepted) {
        result = tac_error_set(error, TACTUS_ECORRUPT,
                               "the write-ahead log does not have op %llu, which was durable; the "
                               "store needs it. Restore both files from one backup, or open with "
                               "log_loss_accepted",
                               (unsigned long long)op);
    }
    return result;
}

static int log_missing(const struct tac_superblock *superblock, struct tac_error *error)
{
    return tac_error_set(error, TACTUS_ELOG,
                         "the store has a write-ahead log, but there is none beside it: ops after "
                         "%llu may be lost. Put it back, or open with log_loss_accepted",
                         (unsigned long long)superblock->op_persisted);
}

int tac_wal_find(struct tactus *store, const struct tac_superblock *superblock,
                 const struct tac_log_place *place, struct tac_error *error)
{
    struct tac_wal_geometry geometry;
    struct tac_storage     *storage = NULL;
    bool                    is_new = true;
    int result = place == NULL ? TACTUS_ENOSTORE : place->open(place, false, &storage, error);

    store->is_log_marked = (superblock->control.flags & TAC_CONTROL_LOGGED) != 0;
    if (result == TACTUS_OK) {
        result = header_read(store, storage, &geometry, &is_new, error);
        if (result != TACTUS_OK) {
            storage->ops->close(storage);
            return tac_error_wrap(error, "write-ahead log");
        }
        if (is_new) {
            storage->ops->close(storage);
            result = TACTUS_ENOSTORE;
        }
    }
    if (result == TACTUS_ENOSTORE) {
        if (store->is_log_marked && store->options.log_loss_accepted) {
            tac_logger_add(&store->logger, TACTUS_LOGGER_WARNING,
                           "the write-ahead log is missing: ops after %llu are lost, as "
                           "log_loss_accepted allows",
                           (unsigned long long)superblock->op_persisted);
        }
        return store->is_log_marked && !store->options.log_loss_accepted
                   ? log_missing(superblock, error)
                   : TACTUS_OK;
    }
    if (result != TACTUS_OK) {
        return result;
    }
    store->is_logged = true; /* For the checkpoints of a replay too */
    return tac_wal_create(&store->wal, store, storage, &geometry, error);
}

/* ---- reading -------------------------------------------------------------------------------- */

static uint8_t *image_of(const struct reader *reader)
{
    return reader->wal->images[reader->sequence % 2];
}

/* The segment that is being read; its header is what the probe has found. */
static int image_read(struct reader *reader, struct tac_wal_segment *ret_segment)
{
    struct tac_wal *wal = reader->wal;
    int             result = TACTUS_EIO;

    for (uint32_t attempt = 0; attempt < TAC_READ_ATTEMPTS && result != TACTUS_OK; attempt++) {
        result = wal->storage->ops->read(
            wal->storage, image_of(reader), wal->geometry.segment_bytes,
            tac_wal_segment_offset(&wal->geometry, reader->sequence), reader->error);
        if (result == TACTUS_OK &&
            (!tac_wal_segment_decode(image_of(reader), &wal->geometry, ret_segment) ||
             ret_segment->sequence != reader->sequence)) {
            result = tac_error_set(reader->error, TACTUS_ECORRUPT,
                                   "write-ahead log: the header of segment %llu is damaged",
                                   (unsigned long long)reader->sequence);
        }
    }
    if (result == TACTUS_OK) {
        tac_error_clear(reader->error); /* Of the first attempt */
    }
    return result;
}

/* Once more from where the log seems to end. What lies before has been checked and stays as it is:
 * tail_wipe writes a part of it back. */
static int image_read_again(struct reader *reader)
{
    struct tac_wal *wal = reader->wal;
    uint64_t        begin = reader->offset / PROBE_BYTES * PROBE_BYTES;
    uint8_t        *image = image_of(reader) + begin;
    uint8_t         checked[PROBE_BYTES];
    int             result = TACTUS_EIO;

    if (begin == wal->geometry.segment_bytes) {
        return TACTUS_OK;
    }
    memcpy(checked, image, reader->offset - begin);
    for (uint32_t attempt = 0; attempt < TAC_READ_ATTEMPTS && result != TACTUS_OK; attempt++) {
        result = wal->storage->ops->read(
            wal->storage, image, wal->geometry.segment_bytes - begin,
            tac_wal_segment_offset(&wal->geometry, reader->sequence) + begin, reader->error);
    }
    memcpy(image, checked, reader->offset - begin);
    if (result == TACTUS_OK) {
        tac_error_clear(reader->error); /* Of the first attempt */
    }
    return result;
}

static int segment_load(struct reader *reader, uint64_t sequence,
                        struct tac_wal_segment *ret_segment)
{
    reader->sequence = sequence;
    reader->offset = TAC_WAL_SEGMENT_HEADER_BYTES;
    return image_read(reader, ret_segment);
}

/* The op whose entry a frame at this place has to begin with. */
static bool frame_follows(struct reader *reader)
{
    struct tac_wal_frame frame;
    uint64_t             chain;

    if (!tac_wal_frame_decode(image_of(reader), &reader->wal->geometry, reader->sequence,
                              reader->offset, &frame, &chain) ||
        (frame.chain != reader->chain && !TAC_MUTANT(OLD_FRAMES)) || frame.op_first != reader->op) {
        return false;
    }
    reader->frame = frame;
    reader->chain = chain;
    reader->at = reader->offset + TAC_WAL_FRAME_HEADER_BYTES;
    reader->end = reader->at + frame.payload_bytes;
    reader->offset += tac_wal_frame_bytes(frame.payload_bytes);
    if (!frame.continues && reader->has_batch) {
        tactus_batch_clear(reader->batch); /* A crash has cut that op off. */
        reader->has_batch = false;
    }
    return true;
}

/* True: the next segment goes on where this one has ended. */
static bool segment_follows(struct reader *reader, struct tac_wal_segment *segment)
{
    struct tac_wal *wal = reader->wal;
    uint8_t        *probe = wal->images[(reader->sequence + 1) % 2];
    uint64_t        next = reader->sequence + 1;

    return next <= reader->sequence_max &&
           segment_probe(wal, next, probe, segment, NULL) == TACTUS_OK && segment->sequence == next;
}

/* Whether the segment's first op has its first entry there, and not in a segment before that has
 * been lost. Its image is that of the other parity: the one being read stays. */
static bool segment_begins_op(const struct reader *reader, const struct tac_wal_segment *segment)
{
    struct reader          ahead = *reader;
    struct tac_wal_segment own;
    struct tac_wal_frame   frame;
    uint64_t               chain;

    tac_assert(segment->sequence == reader->sequence + 1);
    ahead.sequence = segment->sequence;
    if (image_read(&ahead, &own) != TACTUS_OK) {
        tac_error_clear(reader->error); /* Whoever goes there reads it, and reports it. */
        return true;
    }
    return !tac_wal_frame_decode(image_of(&ahead), &reader->wal->geometry, segment->sequence,
                                 TAC_WAL_SEGMENT_HEADER_BYTES, &frame, &chain) ||
           !frame.continues;
}

/* To the next frame. TACTUS_ENOTFOUND: the log ends here. A log that was behind the checkpoint when
 * the store was opened goes on in a new segment: what is between is not needed. */
static int frame_next(struct reader *reader)
{
    struct tac_wal_segment segment, own;
    bool                   is_sure = false;

    while (!frame_follows(reader)) {
        bool has_next = segment_follows(reader, &segment);
        bool goes_on = has_next && segment.op_first == reader->op && segment.chain == reader->chain;

        if (!goes_on && !is_sure) {
            is_sure = true;
            if (image_read_again(reader) != TACTUS_OK) {
                return reader->error->code;
            }
            continue;
        }
        if (!goes_on &&
            (!has_next || segment.op_first <= reader->op || segment.op_first > reader->op_needed ||
             !segment_begins_op(reader, &segment))) {
            return TACTUS_ENOTFOUND;
        }
        is_sure = false;
        reader->op = segment.op_first;
        reader->chain = segment.chain;
        if (segment_load(reader, segment.sequence, &own) != TACTUS_OK) {
            return reader->error->code;
        }
    }
    return TACTUS_OK;
}

/* Does the later segment say that the op was durable? One that cannot be read might. */
static bool segment_proves(struct reader *reader, uint64_t sequence, uint64_t op)
{
    struct tac_wal        *wal = reader->wal;
    uint8_t               *image = wal->images[(reader->sequence + 1) % 2];
    struct tac_wal_segment segment;
    int                    result = TACTUS_EIO;

    for (uint32_t attempt = 0; attempt < TAC_READ_ATTEMPTS && result != TACTUS_OK; attempt++) {
        result = wal->storage->ops->read(wal->storage, image, wal->geometry.segment_bytes,
                                         tac_wal_segment_offset(&wal->geometry, sequence), NULL);
    }
    if (result != TACTUS_OK) {
        return true;
    }
    if (!tac_wal_segment_decode(image, &wal->geometry, &segment) || segment.sequence != sequence) {
        return false;
    }
    return segment.op_durable >= op ||
           tac_wal_frame_proves(image, &wal->geometry, sequence, TAC_WAL_SEGMENT_HEADER_BYTES, op);
}

/* Was the op that is missing ever durable? What was written later says so. */
static bool loss_is_proven(struct reader *reader, uint64_t op)
{
    if (tac_wal_frame_proves(image_of(reader), &reader->wal->geometry, reader->sequence,
                             reader->offset, op)) {
        return true;
    }
    for (uint64_t s = reader->sequence + 1; s <= reader->sequence_max; s++) {
        if (segment_proves(reader, s, op)) {
            return true;
        }
    }
    return false;
}

static int end_check(struct reader *reader)
{
    reader->has_loss = loss_is_proven(reader, tac_max_u64(reader->op, reader->store->last_op + 1));
    if (reader->has_loss && reader->store->options.log_loss_accepted) {
        tac_logger_add(&reader->store->logger, TACTUS_LOGGER_WARNING,
                       "the write-ahead log is damaged at op %llu: ops from there on are lost, as "
                       "log_loss_accepted allows",
                       (unsigned long long)reader->op);
    }
    if (!reader->has_loss || reader->store->options.log_loss_accepted) {
        return TACTUS_OK;
    }
    return tac_error_set(reader->error, TACTUS_ECORRUPT,
                         "the write-ahead log is damaged at op %llu (segment %llu, offset %llu), "
                         "which was durable: ops from there on are lost. To go on without them, "
                         "open with log_loss_accepted",
                         (unsigned long long)reader->op, (unsigned long long)reader->sequence,
                         (unsigned long long)reader->offset);
}

/* ---- doing it again ------------------------------------------------------------------------- */

static int entry_damaged(struct reader *reader, const char *what)
{
    return tac_error_set(reader->error, TACTUS_ECORRUPT, "write-ahead log, op %llu: %s",
                         (unsigned long long)reader->op, what);
}

static int write_replay(struct reader *reader, const struct tac_wal_entry *entry)
{
    struct tactus *store = reader->store;
    bool           is_put = entry->kind == TAC_WAL_PUT;
    uint32_t       tree = tac_trees_id(store, entry->tree);
    int            result;

    if (entry->is_last && !reader->has_batch) {
        return is_put ? tactus_put(store, tree, entry->key.data, entry->key.size, entry->value.data,
                                   entry->value.size)
                      : tactus_delete(store, tree, entry->key.data, entry->key.size);
    }
    reader->has_batch = true;
    result = is_put ? tactus_batch_put(reader->batch, tree, entry->key.data, entry->key.size,
                                       entry->value.data, entry->value.size)
                    : tactus_batch_delete(reader->batch, tree, entry->key.data, entry->key.size);
    if (result == TACTUS_OK && entry->is_last) {
        reader->has_batch = false;
        result = tactus_batch_commit(reader->batch, NULL);
    }
    return result;
}

static int tree_replay(struct reader *reader, const struct tac_wal_entry *entry)
{
    char                 name[TACTUS_TREE_NAME_MAX + 1] = "";
    struct tactus_layout layout;
    uint32_t             tree;
    int                  result;

    if (entry->key.size == 0 || entry->key.size > TACTUS_TREE_NAME_MAX ||
        entry->value.size != TAC_WAL_LAYOUT_BYTES) {
        return entry_damaged(reader, "a tree without name or layout");
    }
    memcpy(name, entry->key.data, entry->key.size);
    tac_wal_layout_decode(entry->value.data, &layout);
    result = tactus_tree_create(reader->store, name, &layout, &tree);
    return result == TACTUS_OK && tac_tree_number(tree) != entry->tree
               ? entry_damaged(reader, "a tree with another id than before")
               : result;
}

static int snapshot_replay(struct reader *reader, const struct tac_wal_entry *entry)
{
    char name[TACTUS_SNAPSHOT_NAME_MAX + 1] = "";

    if (entry->key.size == 0 || entry->key.size > TACTUS_SNAPSHOT_NAME_MAX) {
        return entry_damaged(reader, "a snapshot without name");
    }
    memcpy(name, entry->key.data, entry->key.size);
    return entry->kind == TAC_WAL_SNAPSHOT ? tactus_snapshot_create(reader->store, name, NULL)
                                           : tactus_snapshot_release(reader->store, name);
}

static int nothing_replay(struct tactus *store)
{
    int result = tac_api_lock(store);

    if (result == TACTUS_OK) {
        result = tac_writer_nothing(store, &tac_api_error);
        pthread_mutex_unlock(&store->commit_lock);
    }
    return result;
}

static int refused_replay(struct reader *reader, const struct tac_wal_entry *entry)
{
    struct tactus *store = reader->store;
    int            result;

    if (entry->value.size != TAC_WAL_REFUSED_BYTES) {
        return entry_damaged(reader, "a refusal without its bars");
    }
    result = tac_api_lock(store);
    if (result == TACTUS_OK) {
        result = tac_room_refused_again(store, entry, &tac_api_error);
        pthread_mutex_unlock(&store->commit_lock);
    }
    return result;
}

static int range_replay(struct reader *reader, const struct tac_wal_entry *entry)
{
    struct tactus *store = reader->store;
    const uint8_t *value = entry->value.data;
    uint32_t       high_size = entry->value.size - 1;

    if (entry->value.size == 0 || high_size > TACTUS_KEY_SIZE_MAX ||
        (high_size > 0 && value[0] != TAC_WAL_RANGE_BEGIN)) {
        return entry_damaged(reader, "of the compaction of a range, without its value");
    }
    switch (value[0]) {
    case TAC_WAL_RANGE_BEGIN:
        return tactus_compact_range(store, tac_trees_id(store, entry->tree),
                                    entry->key.size > 0 ? entry->key.data : NULL, entry->key.size,
                                    high_size > 0 ? value + 1 : NULL, high_size);
    case TAC_WAL_RANGE_STEP:
        return tactus_compact_step(store, NULL);
    case TAC_WAL_RANGE_CANCEL:
        return tactus_compact_cancel(store);
    default:
        return entry_damaged(reader, "of the compaction of a range, of no known kind");
    }
}

static int entry_replay(struct reader *reader, const struct tac_wal_entry *entry)
{
    struct tactus *store = reader->store;

    if (reader->has_batch && entry->kind > TAC_WAL_DELETE) {
        return entry_damaged(reader, "another op in the middle of it");
    }
    switch (entry->kind) {
    case TAC_WAL_PUT:
    case TAC_WAL_DELETE:
        return write_replay(reader, entry);
    case TAC_WAL_TREE_CREATE:
        return tree_replay(reader, entry);
    case TAC_WAL_DRAIN:
        return tactus_drain(store);
    case TAC_WAL_COMPACT:
        return tactus_compact(store, tac_trees_id(store, entry->tree));
    case TAC_WAL_HOLD:
        return entry->value.size == 1
                   ? tactus_compaction_hold(store, *(const uint8_t *)entry->value.data != 0)
                   : entry_damaged(reader, "a hold without its value");
    case TAC_WAL_CHECKPOINT:
        return tactus_checkpoint(store);
    case TAC_WAL_NOTHING:
        return nothing_replay(store);
    case TAC_WAL_BEAT:
        return TAC_MUTANT(BEAT_NOT_REPLAYED) ? nothing_replay(store) : tactus_beat(store);
    case TAC_WAL_RANGE:
        return range_replay(reader, entry);
    case TAC_WAL_TREE_DROP:
        return tactus_tree_drop(store, tac_trees_id(store, entry->tree));
    case TAC_WAL_SNAPSHOT:
    case TAC_WAL_RELEASE:
        return snapshot_replay(reader, entry);
    case TAC_WAL_DELETE_RANGE:
        if (TAC_MUTANT(RANGE_NOT_REPLAYED)) {
            return nothing_replay(store);
        }
        return tactus_delete_range(store, tac_trees_id(store, entry->tree), entry->key.data,
                                   entry->key.size, entry->value.data, entry->value.size, NULL);
    case TAC_WAL_REFUSED:
        return refused_replay(reader, entry);
    }
    tac_unreachable();
}

/* The entries of one frame. Those of ops up to P are passed over. */
static int frame_replay(struct reader *reader)
{
    struct tactus *store = reader->store;

    while (reader->at < reader->end) {
        struct tac_wal_entry entry;
        uint64_t             size;
        int                  result = TACTUS_OK;

        if (!tac_wal_entry_decode(image_of(reader) + reader->at, reader->end - reader->at, &entry,
                                  &size)) {
            return entry_damaged(reader, "an entry that cannot be");
        }
        if (reader->op > store->last_op + TAC_MUTANT(REPLAY_LATE)) {
            result = entry_replay(reader, &entry);
            /* A drain that finds no room, or damage, has its number all the same, and so has a
             * snapshot. */
            if (result != TACTUS_OK &&
                !((entry.kind == TAC_WAL_DRAIN || entry.kind == TAC_WAL_COMPACT ||
                   entry.kind == TAC_WAL_SNAPSHOT) &&
                  store->last_op == reader->op)) {
                return reader->error->code != TACTUS_OK
                           ? reader->error->code
                           : tac_error_set(reader->error,
                                           /* That would be the log's end: op and later ones lost */
                                           result == TACTUS_ENOTFOUND ? TACTUS_ECORRUPT : result,
                                           "write-ahead log, op %llu cannot be done again: %s",
                                           (unsigned long long)reader->op, tactus_message());
            }
            if (entry.is_last && store->last_op != reader->op) {
                return entry_damaged(reader, "it takes another number than before");
            }
        }
        reader->op += entry.is_last;
        reader->at += size;
    }
    return TACTUS_OK;
}

static int log_replay(struct reader *reader)
{
    int result;

    do {
        result = frame_next(reader);
        if (result == TACTUS_OK) {
            result = frame_replay(reader);
        }
    } while (result == TACTUS_OK);
    return result == TACTUS_ENOTFOUND ? end_check(reader) : result;
}

/* ---- going on ------------------------------------------------------------------------------- */

/* Wipes what a lost write may have left where the next frame will lie, so that it can never be read
 * as one that follows. */
static int tail_wipe(struct reader *reader)
{
    struct tac_wal *wal = reader->wal;
    uint8_t        *image = image_of(reader);
    uint64_t        begin = reader->offset / PROBE_BYTES * PROBE_BYTES;
    uint64_t        end = tac_round_up(reader->offset + TAC_WAL_FRAME_HEADER_BYTES, PROBE_BYTES);

    end = tac_min_u64(end, wal->geometry.segment_bytes);
    memset(image + reader->offset, 0, wal->geometry.segment_bytes - reader->offset);
    if (begin == end) {
        return TACTUS_OK;
    }
    if (wal->storage->ops->write(wal->storage, image + begin, end - begin,
                                 tac_wal_segment_offset(&wal->geometry, reader->sequence) + begin,
                                 reader->error) != TACTUS_OK) {
        return reader->error->code;
    }
    return TACTUS_OK;
}

/* Segments behind the one that the log goes on in are of ops that are lost: from here on there is
 * another history, and they may not be taken for a part of it. */
static int segments_wipe(struct reader *reader)
{
    struct tac_wal *wal = reader->wal;
    uint8_t        *probe = wal->images[(reader->sequence + 1) % 2];

    for (uint64_t i = 0; i < wal->geometry.segment_count; i++) {
        struct tac_wal_segment segment;
        uint64_t               offset = tac_wal_segment_offset(&wal->geometry, i);

        if (segment_probe(wal, i, probe, &segment, reader->error) != TACTUS_OK) {
            return reader->error->code;
        }
        if (segment.sequence <= reader->sequence) {
            continue;
        }
        memset(probe, 0, PROBE_BYTES);
        wal->op_first[i] = 0;
        if (wal->storage->ops->write(wal->storage, probe, PROBE_BYTES, offset, reader->error) !=
            TACTUS_OK) {
            return reader->error->code;
        }
    }
    return TACTUS_OK;
}

/* The log goes on behind its last frame; or, when it ends before P, in a new segment. */
static int log_continue(struct reader *reader)
{
    struct tac_wal *wal = reader->wal;
    uint64_t        op = reader->store->last_op;
    bool            goes_on = reader->sequence != 0 && reader->op == op + 1;

    wal->chain = reader->chain;
    wal->op_appended = wal->op_written = op;
    wal->op_durable = op;
    wal->sequence = wal->write_sequence = reader->sequence;
    wal->offset = wal->write_offset = goes_on ? reader->offset : wal->geometry.segment_bytes;
    if (segments_wipe(reader) != TACTUS_OK || (goes_on && tail_wipe(reader) != TACTUS_OK)) {
        return reader->error->code;
    }
    return wal->storage->ops->sync(wal->storage, reader->error);
}

static int log_make(struct tactus *store, const struct tac_log_place *place,
                    struct tac_error *error)
{
    struct tac_wal_geometry geometry;
    struct tac_storage     *storage;
    struct tac_wal         *wal = &store->wal;
    int                     result;

    if (place == NULL) {
        return tac_error_set(error, TACTUS_EOPTION,
                             "option log: a store in memory has no place for a log");
    }
    tac_wal_geometry_make(&store->shape, store->uuid, &geometry);
    result = place->open(place, true, &storage, error);
    if (result == TACTUS_EEXISTS && place->remove(place, error) == TACTUS_OK) {
        /* Made by a process that ended before it had begun it: tac_wal_find has looked. */
        result = place->open(place, true, &storage, error);
    }
    if (result != TACTUS_OK) {
        return error->code;
    }
    if (header_write(storage, &geometry, error) != TACTUS_OK) {
        storage->ops->close(storage);
        return error->code;
    }
    if (tac_wal_create(wal, store, storage, &geometry, error) != TACTUS_OK) {
        return error->code;
    }
    wal->op_appended = wal->op_written = wal->op_durable = store->last_op;
    store->memory_budget_bytes += tac_wal_memory_bytes(&geometry);
    return TACTUS_OK;
}

/* All that the log holds is in a durable checkpoint before it goes. */
static int log_remove(struct tactus *store, const struct tac_log_place *place,
                      struct tac_error *error)
{
    int result;

    store->is_logged = false;
    result = tactus_checkpoint(store);
    if (result != TACTUS_OK) {
        return tac_error_set(error, result, "the write-ahead log cannot be taken away: %s",
                             tactus_message());
    }
    store->memory_budget_bytes -= tac_wal_memory_bytes(&store->wal.geometry);
    tac_wal_destroy(&store->wal);
    memset(&store->wal, 0, sizeof store->wal);
    return place->remove(place, error);
}

/* Before the first op is in it the store says that there is a log. */
static int log_go_on(struct tactus *store, struct tac_error *error)
{
    struct tac_wal *wal = &store->wal;

    store->is_logged = true;
    if (!store->is_log_marked && tac_writer_mark(store, error) != TACTUS_OK) {
        return error->code;
    }
    wal->is_replaying = false;
    wal->is_sync = store->options.log == TACTUS_LOG_SYNC;
    tac_wal_clock_start(wal);
    wal->interval_ns = (uint64_t)store->options.log_interval_ms * 1000000u;
    return store->options.log == TACTUS_LOG_INTERVAL && store->workers.has_threads
               ? tac_wal_thread_start(wal, error)
               : TACTUS_OK;
}

int tac_wal_replay(struct tactus *store, const struct tac_log_place *place, struct tac_error *error)
{
    struct reader reader = {
        .store = store, .wal = &store->wal, .error = error, .op = store->last_op + 1};
    uint64_t op_needed = reader.op;
    bool     wants_log =
        store->options.log == TACTUS_LOG_SYNC || store->options.log == TACTUS_LOG_INTERVAL;
    int result;

    if (store->wal.storage == NULL) {
        result = wants_log ? log_make(store, place, error) : TACTUS_OK;
        return result == TACTUS_OK && wants_log ? log_go_on(store, error) : result;
    }
    tac_error_clear(error);
    tac_logger_add(&store->logger, TACTUS_LOGGER_DEBUG,
                   "the ops of the write-ahead log after %llu are being done again",
                   (unsigned long long)store->last_op);
    store->wal.is_replaying = true;
    result = segments_probe(&store->wal, reader.op, &reader.sequence, &reader.sequence_max, error);
    if (result == TACTUS_OK && reader.sequence != 0) {
        struct tac_wal_segment segment;

        result = tactus_batch_new(store, &reader.batch);
        if (result == TACTUS_OK) {
            result = segment_load(&reader, reader.sequence, &segment);
        }
        if (result == TACTUS_OK) {
            reader.op = segment.op_first;
            reader.chain = segment.chain;
            reader.op_needed = op_needed;
            result = log_replay(&reader);
        }
        tactus_batch_free(reader.batch);
    }
    tactus_replay_end(store);
    if (result == TACTUS_OK && store->last_op >= op_needed) {
        tac_logger_add(&store->logger, TACTUS_LOGGER_INFO,
                       "the write-ahead log has brought back ops %llu to %llu",
                       (unsigned long long)op_needed, (unsigned long long)store->last_op);
    }
    if (result == TACTUS_OK && wants_log && !reader.has_loss) {
        result = log_continue(&reader);
    } else if (result == TACTUS_OK) {
        /* What is left of a damaged log would cast doubt on every later one. */
        result = log_remove(store, place, error);
        if (result == TACTUS_OK && wants_log) {
            result = log_make(store, place, error);
        }
    }
    return result == TACTUS_OK && wants_log ? log_go_on(store, error) : result;
}
