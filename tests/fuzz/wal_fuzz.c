/* SPDX-License-Identifier: Apache-2.0 */
/* wal_fuzz -- a write-ahead log beside a sound store, read by an open.
 *
 * The input is a list of entries, ends of frames and segments, and changes of their headers; frames
 * and segments are sealed with right checksums and chains, unless it changes bytes behind that.
 * Whatever the open accepts must be a store without damage, and the same one when it is opened
 * again after a crash; what is then written must be there too. */
#include <stdio.h>
#include <stdlib.h>

#include "base/checksum.h"
#include "base/units.h"
#include "lsm/wal_format.h"
#include "tests/fuzz/fuzz.h"
#include "tests/sim/sim_disk.h"

const uint32_t fuzz_cost = 12;

#define RECORDS 30 /* Of the store, in its one tree at first */
#define KEY_BYTES 4
#define VALUE_BYTES 40
#define SEGMENTS_MAX 6 /* Of an input: more than the ring has */
#define SEQUENCE_FIRST 3
#define PIECE_BYTES 4096

/* An item's first byte: its kind below 8, and for entries (7: what the next byte says) flags. */
enum item {
    ITEM_FRAME_END,
    ITEM_SEGMENT_END,
    ITEM_FRAME_CHANGE, /* Of the frame being filled: a field takes another value */
    ITEM_PATCH,        /* Of the segment being filled, when it is done */
    ITEM_PUT,
    ITEM_DELETE,
    ITEM_CONTROL,
    ITEM_ANY,
    ITEM_MASK = 7,
    ITEM_MORE = 8,    /* Not the last entry of its op */
    ITEM_SECOND = 16, /* The tree with id 1, which is there if an entry has created it */
};

enum {
    FLAG_LOG = 3, /* How the store is opened */
    FLAG_LOSS = 4,
    FLAG_HEADER = 8, /* The header is changed */
};

struct image {
    uint8_t                *store, *log;
    uint64_t                store_bytes, log_bytes;
    struct tac_wal_geometry geometry;
    uint64_t                op; /* The store's last */
};

/* The log that an input makes. */
struct writer {
    struct fuzz_input   *input;
    const struct image  *image;
    uint8_t             *log;
    uint8_t             *segment; /* Being filled, in log */
    uint64_t             sequence, offset;
    uint64_t             frame_offset;
    uint64_t             op; /* Of the next entry */
    uint64_t             chain;
    struct tac_wal_frame frame;
    struct fuzz_patch    patch; /* size 0: none */
};

static void options_make(struct tactus_options *options)
{
    tactus_options_init(options);
    options->backend = TACTUS_BACKEND_MEMORY;
    options->memtable_size = 32 * TAC_KIB;
    options->block_size = 4096;
    options->page_size = 512;
    options->table_size = options->slice_size = 16 * TAC_KIB;
    options->file_size_max = 16 * TAC_MIB;
    options->page_cache_size = options->index_cache_size = 64 * TAC_KIB;
    options->tables_max = 1024;
    options->pool_size = TAC_MIB;
    options->ring_size = 4;
    options->io_depth = 2;
    options->checkpoint_interval_bars = 1;
    options->beats_per_bar = 8;
    options->lag_beats = 1;
    options->threads_read = options->threads_merge = options->threads_write = 0;
    options->uuid[0] = 1;
    options->log_interval_ms = 60000;
}

static int store_open(struct sim_disk *disk, const struct tactus_options *options,
                      struct tactus **ret_store, struct tac_error *error)
{
    const struct tac_log_place place = {sim_disk_log_open, sim_disk_log_remove, disk};
    const struct tac_stepping  stepping = {
         .seed = 1, .workers_read = 1, .workers_merge = 1, .workers_write = 1};
    struct tac_storage *storage;
    int                 rv = sim_disk_open(disk, &storage, error);

    tac_assert(rv == TACTUS_OK);
    rv = tac_store_open(storage, options, &stepping, &place, ret_store, error);
    if (rv != TACTUS_OK) {
        storage->ops->close(storage);
    }
    return rv;
}

static uint8_t *disk_copy(const struct tac_memory_disk *disk, uint64_t *ret_size)
{
    const uint8_t *data = tac_memory_disk_data(disk, ret_size);
    uint8_t       *copy = aligned_alloc(TAC_STORAGE_ALIGNMENT_MAX, *ret_size);

    tac_assert(copy != NULL);
    memcpy(copy, data, *ret_size);
    return copy;
}

/* Most of it is zeros, which need not be written. */
static void disk_fill(struct tac_memory_disk *disk, const uint8_t *data, uint64_t size)
{
    static const uint8_t zeros[PIECE_BYTES];
    struct tac_storage  *storage;
    struct tac_error     error;
    int                  rv = tac_storage_open_memory(disk, &storage, &error);

    tac_assert(rv == TACTUS_OK && size % PIECE_BYTES == 0);
    rv = storage->ops->resize(storage, size, &error);
    tac_assert(rv == TACTUS_OK);
    for (uint64_t at = 0; at < size; at += PIECE_BYTES) {
        if (memcmp(data + at, zeros, PIECE_BYTES) != 0) {
            rv = storage->ops->write(storage, data + at, PIECE_BYTES, at, &error);
            tac_assert(rv == TACTUS_OK);
        }
    }
    rv = storage->ops->sync(storage, &error);
    tac_assert(rv == TACTUS_OK);
    storage->ops->close(storage);
}

/* A store whose checkpoint has everything, and its log. */
static const struct image *image_make(void)
{
    static struct image        image;
    const struct tactus_layout layout = {TACTUS_LAYOUT_VARIABLE, 16, VALUE_BYTES};
    struct tactus_options      options;
    struct sim_disk            disk;
    struct tac_storage        *storage;
    struct tac_error           error;
    struct tactus             *store;
    uint32_t                   tree;
    int                        rv;

    if (image.store != NULL) {
        return &image;
    }
    options_make(&options);
    options.log = TACTUS_LOG_SYNC;
    sim_disk_create(&disk, 1);
    rv = sim_disk_open(&disk, &storage, &error);
    tac_assert(rv == TACTUS_OK);
    rv = tac_store_create(storage, &options, &error);
    tac_assert(rv == TACTUS_OK);
    storage->ops->close(storage);
    rv = store_open(&disk, &options, &store, &error);
    tac_assert(rv == TACTUS_OK);
    rv = tactus_tree_create(store, "first", &layout, &tree);
    tac_assert(rv == TACTUS_OK);
    for (uint8_t i = 0; i < RECORDS; i++) {
        uint8_t key[KEY_BYTES] = {'k', 0, 0, i};

        rv = tactus_put(store, tree, key, sizeof key, "value", 5);
        tac_assert(rv == TACTUS_OK);
    }
    rv = tactus_checkpoint(store);
    tac_assert(rv == TACTUS_OK);
    image.op = tactus_last_op(store);
    rv = tac_store_close(store, &error);
    tac_assert(rv == TACTUS_OK);
    image.store = disk_copy(disk.memory, &image.store_bytes);
    image.log = disk_copy(disk.log, &image.log_bytes);
    /* A segment of its own would be read in place of the input's: it begins before the op. */
    memset(image.log + TAC_WAL_HEADER_BYTES, 0, image.log_bytes - TAC_WAL_HEADER_BYTES);
    rv = tac_wal_header_decode(image.log, options.uuid, &image.geometry, &error);
    tac_assert(rv == TACTUS_OK);
    sim_disk_destroy(&disk);
    return &image;
}

/* ---- the log -------------------------------------------------------------------------------- */

/* Another geometry in it, with a right checksum; or other bytes. */
static void header_change(struct writer *writer)
{
    struct tac_wal_geometry geometry = writer->image->geometry;
    struct fuzz_patch       patch;

    switch (fuzz_take_u8(writer->input) % 3) {
    case 0:
        geometry.segment_bytes = fuzz_take_u64(writer->input);
        break;
    case 1:
        geometry.segment_count = fuzz_take_u64(writer->input);
        break;
    default:
        patch = fuzz_take_patch(writer->input);
        fuzz_patch_apply(&patch, writer->log, TAC_WAL_HEADER_BYTES);
        return;
    }
    tac_wal_header_encode(writer->log, &geometry);
}

static void segment_begin(struct writer *writer)
{
    const struct tac_wal_geometry *geometry = &writer->image->geometry;
    const struct tac_wal_segment   segment = {writer->sequence, writer->op, writer->op - 1,
                                              writer->chain};

    writer->segment = writer->log + tac_wal_segment_offset(geometry, writer->sequence);
    memset(writer->segment, 0, geometry->segment_bytes);
    tac_wal_segment_encode(writer->segment, geometry, &segment);
    writer->offset = writer->frame_offset = TAC_WAL_SEGMENT_HEADER_BYTES;
}

static void frame_begin(struct writer *writer)
{
    writer->frame_offset = writer->offset;
    writer->frame = (struct tac_wal_frame){
        .op_first = writer->op, .op_durable = writer->op - 1, .chain = writer->chain};
    writer->offset += TAC_WAL_FRAME_HEADER_BYTES;
}

/* Seals it if it has entries. */
static void frame_end(struct writer *writer)
{
    uint64_t begin = writer->frame_offset + TAC_WAL_FRAME_HEADER_BYTES;

    if (writer->offset > begin) {
        if (writer->frame.payload_bytes == 0) {
            writer->frame.payload_bytes = (uint32_t)(writer->offset - begin);
        }
        writer->chain = tac_wal_frame_seal(writer->segment, &writer->image->geometry,
                                           writer->sequence, writer->frame_offset, &writer->frame);
        writer->offset = writer->frame_offset + tac_wal_frame_bytes(writer->frame.payload_bytes);
    } else {
        writer->offset = writer->frame_offset;
    }
}

static void segment_end(struct writer *writer)
{
    frame_end(writer);
    if (writer->patch.size > 0) {
        fuzz_patch_apply(&writer->patch, writer->segment,
                         (uint32_t)writer->image->geometry.segment_bytes);
        writer->patch.size = 0;
    }
}

static void frame_change(struct writer *writer)
{
    uint8_t  field = fuzz_take_u8(writer->input);
    uint64_t value = fuzz_take_u64(writer->input);
    /* Payloads keep to what is written: the seal covers that many bytes. */
    uint64_t begin = writer->frame_offset + TAC_WAL_FRAME_HEADER_BYTES;

    switch (field % 5) {
    case 0:
        writer->frame.op_first += value;
        return;
    case 1:
        writer->frame.op_durable += value;
        return;
    case 2:
        writer->frame.chain ^= value;
        return;
    case 3:
        writer->frame.continues = !writer->frame.continues;
        return;
    default:
        if (writer->offset > begin) {
            writer->frame.payload_bytes = (uint32_t)(1 + value % (writer->offset - begin));
        }
    }
}

static void entry_add(struct writer *writer, uint8_t control)
{
    static uint8_t       bytes[2 * 256];
    uint8_t              tree = 0;
    struct tac_wal_entry entry = {
        .kind = (control & ITEM_MASK) == ITEM_PUT ? TAC_WAL_PUT : TAC_WAL_DELETE,
        .is_last = (control & ITEM_MORE) == 0,
        .tree = (control & ITEM_SECOND) != 0,
        .key = {bytes, KEY_BYTES},
        .value = {bytes + 256, 0},
    };

    memset(bytes, 'k', sizeof bytes);
    switch ((enum item)(control & ITEM_MASK)) {
    case ITEM_PUT:
        fuzz_take(writer->input, bytes + 3, 1);
        entry.value.size = fuzz_take_u8(writer->input) % (VALUE_BYTES + 1u);
        break;
    case ITEM_DELETE:
        fuzz_take(writer->input, bytes + 3, 1);
        break;
    case ITEM_CONTROL:
        entry.kind = (enum tac_wal_kind)(TAC_WAL_TREE_CREATE + fuzz_take_u8(writer->input) % 6u);
        entry.key.size = entry.value.size = 0;
        if (entry.kind == TAC_WAL_TREE_CREATE) {
            const struct tac_layout layout = {TACTUS_LAYOUT_FIXED, KEY_BYTES, 8};

            entry.key.size = 5;
            entry.value.size = TAC_WAL_LAYOUT_BYTES;
            tac_wal_layout_encode(bytes + 256, &layout);
        } else if (entry.kind == TAC_WAL_HOLD) {
            entry.value.size = 1;
            bytes[256] = fuzz_take_u8(writer->input) % 2;
        }
        break;
    default:
        entry.kind = (enum tac_wal_kind)(fuzz_take_u8(writer->input) % (TAC_WAL_REFUSED + 1));
        fuzz_take(writer->input, &tree, 1);
        entry.key.size = fuzz_take_u8(writer->input);
        entry.value.size = fuzz_take_u8(writer->input);
        fuzz_take(writer->input, bytes, entry.key.size);
        fuzz_take(writer->input, bytes + 256, entry.value.size);
        if (entry.kind == TAC_WAL_REFUSED) {
            memset(bytes + 256 + 1, 0, 7); /* Few bars: to end them takes time. */
        }
    }
    if (writer->offset + tac_wal_entry_bytes(&entry) + 8 > writer->image->geometry.segment_bytes) {
        return;
    }
    tac_wal_entry_encode(writer->segment + writer->offset, &entry);
    writer->segment[writer->offset + 1] |= tree; /* Any, where the encoder takes one that can be */
    writer->offset += tac_wal_entry_bytes(&entry);
    writer->op += entry.is_last;
}

static void log_write(struct writer *writer)
{
    uint32_t segments = 1;

    segment_begin(writer);
    frame_begin(writer);
    while (writer->input->size > 0) {
        uint8_t control = fuzz_take_u8(writer->input);

        switch ((enum item)(control & ITEM_MASK)) {
        case ITEM_FRAME_END:
            frame_end(writer);
            if (writer->offset + 2 * (uint64_t)TAC_WAL_FRAME_HEADER_BYTES <
                writer->image->geometry.segment_bytes) {
                frame_begin(writer);
            }
            break;
        case ITEM_SEGMENT_END:
            segment_end(writer);
            if (++segments > SEGMENTS_MAX) {
                return;
            }
            writer->sequence++;
            segment_begin(writer);
            frame_begin(writer);
            break;
        case ITEM_FRAME_CHANGE:
            frame_change(writer);
            break;
        case ITEM_PATCH:
            writer->patch = fuzz_take_patch(writer->input);
            break;
        default:
            entry_add(writer, control);
        }
    }
    segment_end(writer);
}

/* ---- the store ------------------------------------------------------------------------------ */

static void damage_note(void *context, const char *text)
{
    fprintf(stderr, "%s\n", text);
    tac_assert(context == NULL);
}

/* Everything in it: its last op, its trees, their records. */
static struct tac_u128 content_hash(struct tactus *store)
{
    struct tactus_tree_info trees[TACTUS_TREES_MAX];
    struct tac_u128         hash = {tactus_last_op(store), 0};
    uint32_t                tree_count = 0;
    int                     rv = tactus_tree_list(store, trees, TACTUS_TREES_MAX, &tree_count);

    tac_assert(rv == TACTUS_OK);
    for (uint32_t i = 0; i < tree_count; i++) {
        struct tactus_iterator *it;

        rv = tactus_iterator_open(store, trees[i].id, &it);
        tac_assert(rv == TACTUS_OK);
        for (rv = tactus_iterator_first(it); rv == TACTUS_OK; rv = tactus_iterator_next(it)) {
            uint8_t     record[2 * 512];
            const void *key, *value;
            size_t      key_size, value_size;

            tactus_iterator_record(it, &key, &key_size, &value, &value_size);
            tac_assert(key_size + value_size + 32 <= sizeof record);
            memcpy(record, &hash, 16);
            record[16] = (uint8_t)i;
            record[17] = (uint8_t)key_size;
            memcpy(record + 18, key, key_size);
            memcpy(record + 18 + key_size, value, value_size);
            hash = tac_checksum(record, 18 + key_size + value_size, 0);
        }
        tac_assert(rv == TACTUS_ENOTFOUND);
        tactus_iterator_close(it);
    }
    return hash;
}

static void store_check(struct tactus *store)
{
    struct tactus_verify_report report;
    int                         rv = tactus_verify(store, damage_note, NULL, &report);

    tac_assert(rv == TACTUS_OK && report.damages == 0);
}

static struct tactus *store_reopen(struct sim_disk *disk, const struct tactus_options *options)
{
    struct tac_error error;
    struct tactus   *store;
    int              rv = store_open(disk, options, &store, &error);

    if (rv != TACTUS_OK) {
        fprintf(stderr, "reopen: %s\n", error.message);
    }
    tac_assert(rv == TACTUS_OK);
    return store;
}

/* Of its own: the log may have dropped all others. */
static uint32_t tree_make(struct tactus *store)
{
    const struct tactus_layout layout = {TACTUS_LAYOUT_VARIABLE, 16, VALUE_BYTES};
    uint32_t                   tree;
    int                        rv = tactus_tree_create(store, "written-behind", &layout, &tree);

    if (rv != TACTUS_OK) {
        fprintf(stderr, "tree: %s\n", tactus_message());
    }
    tac_assert(rv == TACTUS_OK);
    return tree;
}

/* What was accepted is kept over a crash, and so is what is written behind it. */
static void store_use(struct sim_disk *disk, const struct tactus_options *options,
                      struct tactus *store)
{
    struct tac_u128  hash = content_hash(store);
    struct tac_u128  again;
    struct tac_error error;
    uint32_t         tree;
    int              rv;

    store_check(store);
    tac_store_abandon(store);
    store = store_reopen(disk, options);
    again = content_hash(store);
    tac_assert(again.low == hash.low && again.high == hash.high);
    tree = tree_make(store);
    rv = tactus_put(store, tree, "new", 3, "record", 6);
    tac_assert(rv == TACTUS_OK);
    if (options->log == TACTUS_LOG_SYNC) {
        hash = content_hash(store);
        tac_store_abandon(store);
        store = store_reopen(disk, options);
        again = content_hash(store);
        tac_assert(again.low == hash.low && again.high == hash.high);
    }
    rv = tactus_compact(store, tree);
    tac_assert(rv == TACTUS_OK);
    store_check(store);
    rv = tac_store_close(store, &error);
    tac_assert(rv == TACTUS_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum tactus_log logs[] = {TACTUS_LOG_NONE, TACTUS_LOG_INTERVAL, TACTUS_LOG_SYNC,
                                           TACTUS_LOG_SYNC};
    const struct image          *image = image_make();
    struct fuzz_input            input = {data, size};
    uint8_t                      flags = fuzz_take_u8(&input);
    struct writer                writer = {.input = &input, .image = image};
    struct tactus_options        options;
    struct sim_disk              disk;
    struct tactus               *store;
    struct tac_error             error;
    int                          rv;

    options_make(&options);
    options.log = logs[flags & FLAG_LOG];
    options.log_loss_accepted = (flags & FLAG_LOSS) != 0;
    writer.op = image->op + 1 - fuzz_take_u8(&input) % 8u;
    writer.sequence = SEQUENCE_FIRST + fuzz_take_u8(&input);
    writer.log = aligned_alloc(TAC_STORAGE_ALIGNMENT_MAX, image->log_bytes);
    tac_assert(writer.log != NULL);
    memcpy(writer.log, image->log, image->log_bytes);
    if ((flags & FLAG_HEADER) != 0) {
        header_change(&writer);
    }
    log_write(&writer);
    sim_disk_create(&disk, 1);
    disk_fill(disk.memory, image->store, image->store_bytes);
    disk_fill(disk.log, writer.log, image->log_bytes);
    free(writer.log);
    rv = store_open(&disk, &options, &store, &error);
    if (rv == TACTUS_OK) {
        fuzz_accepted += tactus_last_op(store) > image->op + 1; /* One may be the open's own */
        store_use(&disk, &options, store);
    } else {
        tac_assert(error.message[0] != 0);
    }
    sim_disk_destroy(&disk);
    return 0;
}

/* ---- seeds ---------------------------------------------------------------------------------- */

#define SEED(...)                                                                                  \
    {                                                                                              \
        (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__})                     \
    }
#define PUT ITEM_PUT
#define MORE ITEM_MORE
#define CREATE ITEM_CONTROL, 0                  /* A tree */
#define RANGE ITEM_ANY, TAC_WAL_DELETE_RANGE, 0 /* Sizes and bounds follow */
#define BEAT ITEM_ANY, TAC_WAL_BEAT, 0, 0, 0

/* Flags, how far before the store's last op the log begins, its first segment; then items. */
static const struct {
    const uint8_t *bytes;
    size_t         size;
} seeds[] = {
    SEED(2, 0, 0, PUT, 1, 5, PUT, 2, 5, ITEM_FRAME_END, ITEM_DELETE, 1),
    SEED(1, 3, 0, PUT, 1, 5, PUT, 2, 5, PUT, 3, 5, ITEM_SEGMENT_END, PUT, 4, 9),
    SEED(0, 0, 9, CREATE, PUT | ITEM_SECOND, 7, 8, ITEM_FRAME_END, ITEM_CONTROL, 1),
    SEED(2, 0, 0, PUT | MORE, 1, 5, PUT | MORE, 2, 6, ITEM_FRAME_END, ITEM_FRAME_CHANGE, 3, 0, 0, 0,
         0, 0, 0, 0, 0, PUT, 3, 7),
    SEED(2, 0, 0, ITEM_CONTROL, 2, ITEM_CONTROL, 3, 1, PUT, 1, 5, ITEM_CONTROL, 4, PUT, 2, 5),
    SEED(2, 0, 0, PUT, 1, 5, ITEM_FRAME_END, PUT, 2, 5, ITEM_FRAME_CHANGE, 0, 1, 0, 0, 0, 0, 0, 0,
         0),
    SEED(6, 0, 0, PUT, 1, 5, ITEM_FRAME_END, PUT, 2, 5, ITEM_FRAME_CHANGE, 1, 1, 0, 0, 0, 0, 0, 0,
         0),
    SEED(2, 0, 0, PUT, 1, 5, ITEM_FRAME_CHANGE, 2, 1, 0, 0, 0, 0, 0, 0, 0, ITEM_FRAME_END, PUT, 2,
         5),
    SEED(2, 0, 0, PUT, 1, 5, ITEM_FRAME_CHANGE, 4, 3, 0, 0, 0, 0, 0, 0, 0),
    SEED(2, 0, 0, PUT, 1, 5, ITEM_PATCH, 0, 64, 0, 0, 9, ITEM_SEGMENT_END, PUT, 2, 5),
    SEED(2, 0, 0, PUT, 1, 5, ITEM_PATCH, 0, 16, 0, 0, 9, ITEM_SEGMENT_END, PUT, 2, 5),
    SEED(2, 0, 0, ITEM_ANY, 3, 1, 4, 2, 't', 'r', 'e', 'e', 0, 0),
    SEED(2, 0, 0, ITEM_ANY, 1, 0, 0, 5, 'v', 'a', 'l', 'u', 'e'),
    SEED(2, 0, 0, ITEM_ANY, 1, 9, 1, 1, 'k', 'v'),
    SEED(2, 0, 0, ITEM_ANY, 8, 0, 1, 1, 'k', 'v'),
    SEED(2, 0, 0, PUT, 1, 5, RANGE, 4, 4, 'k', 0, 0, 3, 'k', 0, 0, 20, PUT, 2, 5),
    SEED(0, 0, 0, PUT, 1, 5, RANGE, 3, 4, 'k', 'k', 'k', 'k', 'k', 'k', 9, ITEM_CONTROL, 1),
    SEED(2, 0, 0, CREATE, PUT | ITEM_SECOND, 7, 8, ITEM_ANY, 13, 1, 1, 1, 'a', 'z'),
    SEED(2, 0, 0, RANGE, 1, 1, 'm', 'k', PUT, 1, 5),
    SEED(2, 0, 0, RANGE, 0, 1, 'k', PUT, 1, 5),
    SEED(2, 0, 0, PUT | MORE, 1, 5, RANGE, 1, 1, 'a', 'z'),
    SEED(2, 0, 0, PUT, 1, 5, BEAT, BEAT, BEAT, BEAT, BEAT, BEAT, BEAT, BEAT, BEAT, PUT, 2, 5),
    SEED(0, 0, 0, RANGE, 1, 1, 'a', 'z', BEAT, BEAT, BEAT, BEAT, BEAT, BEAT, BEAT, BEAT, BEAT),
    SEED(2, 0, 0, ITEM_ANY, 14, 0, 1, 0, 'k', PUT, 1, 5),
    SEED(2, 0, 0, ITEM_ANY, 11, 0, 1, 0, 's', RANGE, 1, 1, 'a', 'z', ITEM_ANY, 12, 0, 1, 0, 's'),
    SEED(10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, PUT, 1, 5),
    SEED(10, 0, 0, 1, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, PUT, 1, 5),
    SEED(10, 0, 0, 2, 0, 64, 0, 3, 1, 2, 3, 4, PUT, 1, 5),
    SEED(2, 7, 0, ITEM_SEGMENT_END, ITEM_SEGMENT_END, ITEM_SEGMENT_END, PUT, 1, 5, ITEM_SEGMENT_END,
         PUT, 2, 5, ITEM_SEGMENT_END, PUT, 3, 5),
};

size_t fuzz_seed(uint32_t number, uint8_t *buffer)
{
    if (number >= TAC_ARRAY_COUNT(seeds)) {
        return 0;
    }
    memcpy(buffer, seeds[number].bytes, seeds[number].size);
    return seeds[number].size;
}
