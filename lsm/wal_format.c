/* SPDX-License-Identifier: Apache-2.0 */
/* wal_format -- see wal_format.h; docs/FORMAT.md has the tables. */
#include "lsm/wal_format.h"

#include <string.h>

#include "base/bytes.h"
#include "base/checksum.h"
#include "base/mutant.h"
#include "base/units.h"

#define MAGIC "TACTLOG\n"
#define MAGIC_BYTES 8
#define VERSION 1u
#define SEGMENT_MAGIC 0x54434154474553ull /* "SEGTACT", little-endian */
#define SEGMENT_BYTES_MIN (64 * TAC_KIB)
#define SEGMENT_BYTES_MAX (4 * TAC_MIB)
#define SEGMENTS_MIN 4
#define SEGMENTS_MAX (1u << 24)
/* Bars whose ops may be needed at once: a checkpoint that has begun leaves one behind, it has one to
 * become durable, and the next one is `interval` bars away. One more for what is rounded. */
#define BARS_BEYOND_INTERVAL 4

enum {
    OFFSET_MAGIC = 0,
    OFFSET_CHECKSUM = 16, /* u128, of everything from OFFSET_VERSION on */
    OFFSET_VERSION = 32,  /* u32; 4 zero bytes follow */
    OFFSET_UUID = 40,
    OFFSET_SEGMENT_BYTES = 56,
    OFFSET_SEGMENT_COUNT = 64, /* 72 to 4095 zero */
};

enum {
    SEGMENT_OFFSET_MAGIC = 0,
    SEGMENT_OFFSET_SEQUENCE = 8,
    SEGMENT_OFFSET_OP_FIRST = 16,
    SEGMENT_OFFSET_OP_DURABLE = 24,
    SEGMENT_OFFSET_CHAIN = 32, /* 40 to 47 zero */
    SEGMENT_OFFSET_CHECKSUM = 48,
};

enum {
    FRAME_OFFSET_CHECKSUM = 0, /* u128, of all that follows up to the frame's end */
    FRAME_OFFSET_CHAIN = 16,
    FRAME_OFFSET_OP_FIRST = 24,
    FRAME_OFFSET_OP_DURABLE = 32,
    FRAME_OFFSET_PAYLOAD_BYTES = 40, /* u32 */
    FRAME_OFFSET_FLAGS = 44,         /* u32: FRAME_CONTINUES */
    FRAME_COVERED = 16,
    FRAME_CONTINUES = 1,
};

enum {
    ENTRY_OFFSET_KIND = 0, /* u8; the highest bit: the last entry of its op */
    ENTRY_OFFSET_TREE = 1, /* u8 */
    ENTRY_OFFSET_KEY_SIZE = 2,
    ENTRY_OFFSET_VALUE_SIZE = 4,
    ENTRY_LAST = 0x80,
};

tac_static_assert(sizeof MAGIC - 1 == MAGIC_BYTES, "the magic is eight bytes");
tac_static_assert(TACTUS_TREES_MAX <= 256, "a tree's id fits a byte");

static struct tac_u128 u128_load(const uint8_t *p)
{
    return (struct tac_u128){.low = tac_load_u64(p), .high = tac_load_u64(p + 8)};
}

static void u128_store(uint8_t *p, struct tac_u128 value)
{
    tac_store_u64(p, value.low);
    tac_store_u64(p + 8, value.high);
}

/* ---- geometry ------------------------------------------------------------------------------- */

/* Of a record: a quarter of a block. */
static uint64_t entry_bytes_max(const struct tac_shape *shape)
{
    return shape->block_size / 4 + TAC_WAL_ENTRY_HEADER_BYTES;
}

/* An entry is never cut, so a segment may leave as much unused at its end: a quarter of it. */
static uint64_t segment_bytes_min(const struct tac_shape *shape)
{
    return tac_max_u64(SEGMENT_BYTES_MIN, 4 * entry_bytes_max(shape));
}

void tac_wal_geometry_make(const struct tac_shape *shape, const uint8_t *uuid,
                           struct tac_wal_geometry *ret_geometry)
{
    uint64_t bars = (uint64_t)shape->checkpoint_interval_bars + BARS_BEYOND_INTERVAL;
    uint64_t segment_bytes = SEGMENT_BYTES_MIN;
    uint64_t usable, bar_bytes;

    while (segment_bytes < SEGMENT_BYTES_MAX && segment_bytes < shape->memtable_size / 8) {
        segment_bytes *= 2;
    }
    while (segment_bytes < segment_bytes_min(shape)) {
        segment_bytes *= 2;
    }
    usable = segment_bytes - TAC_WAL_SEGMENT_HEADER_BYTES - TAC_WAL_FRAME_HEADER_BYTES -
             entry_bytes_max(shape);
    memcpy(ret_geometry->uuid, uuid, TACTUS_UUID_BYTES);
    ret_geometry->segment_bytes = segment_bytes;
    /* An op takes at most 7 bytes more than it is accounted, of 57 at least: an eighth. A beat of the
     * host's is not accounted, and may have a frame of its own. Beyond these there are the segment
     * that is being filled, the rest of the oldest one, and one for a checkpoint in a full log. */
    bar_bytes =
        shape->memtable_size + shape->memtable_size / 8 +
        shape->beats_per_bar * (uint64_t)(TAC_WAL_FRAME_HEADER_BYTES + TAC_WAL_ENTRY_HEADER_BYTES);
    ret_geometry->segment_count =
        tac_max_u64(tac_div_ceil(bars * bar_bytes, usable), SEGMENTS_MIN - 2) + 3;
}

int tac_wal_geometry_check(const struct tac_wal_geometry *geometry, const struct tac_shape *shape,
                           struct tac_error *error)
{
    if (geometry->segment_bytes < segment_bytes_min(shape)) {
        return tac_error_set(error, TACTUS_ECORRUPT,
                             "segments of %llu bytes are impossible: with blocks of %u bytes a log "
                             "has segments of at least %llu",
                             (unsigned long long)geometry->segment_bytes, shape->block_size,
                             (unsigned long long)segment_bytes_min(shape));
    }
    return TACTUS_OK;
}

uint64_t tac_wal_file_bytes(const struct tac_wal_geometry *geometry)
{
    return TAC_WAL_HEADER_BYTES + geometry->segment_count * geometry->segment_bytes;
}

uint64_t tac_wal_segment_offset(const struct tac_wal_geometry *geometry, uint64_t sequence)
{
    return TAC_WAL_HEADER_BYTES + sequence % geometry->segment_count * geometry->segment_bytes;
}

void tac_wal_header_encode(uint8_t *header, const struct tac_wal_geometry *geometry)
{
    memset(header, 0, TAC_WAL_HEADER_BYTES);
    memcpy(header + OFFSET_MAGIC, MAGIC, MAGIC_BYTES);
    tac_store_u32(header + OFFSET_VERSION, VERSION);
    memcpy(header + OFFSET_UUID, geometry->uuid, TACTUS_UUID_BYTES);
    tac_store_u64(header + OFFSET_SEGMENT_BYTES, geometry->segment_bytes);
    tac_store_u64(header + OFFSET_SEGMENT_COUNT, geometry->segment_count);
    u128_store(header + OFFSET_CHECKSUM,
               tac_checksum(header + OFFSET_VERSION, TAC_WAL_HEADER_BYTES - OFFSET_VERSION, 0));
}

int tac_wal_header_decode(const uint8_t *header, const uint8_t *uuid,
                          struct tac_wal_geometry *ret_geometry, struct tac_error *error)
{
    uint64_t segment_bytes = tac_load_u64(header + OFFSET_SEGMENT_BYTES);
    uint64_t segment_count = tac_load_u64(header + OFFSET_SEGMENT_COUNT);

    if (memcmp(header + OFFSET_MAGIC, MAGIC, MAGIC_BYTES) != 0) {
        return tac_error_set(error, TACTUS_EFORMAT, "not the write-ahead log of a Tactus store");
    }
    if (!tac_u128_equal(
            u128_load(header + OFFSET_CHECKSUM),
            tac_checksum(header + OFFSET_VERSION, TAC_WAL_HEADER_BYTES - OFFSET_VERSION, 0))) {
        return tac_error_set(error, TACTUS_ECORRUPT, "the header of the log is damaged");
    }
    if (tac_load_u32(header + OFFSET_VERSION) != VERSION) {
        return tac_error_set(error, TACTUS_EFORMAT,
                             "the log has format version %u, this library reads version %u only",
                             tac_load_u32(header + OFFSET_VERSION), VERSION);
    }
    if (memcmp(header + OFFSET_UUID, uuid, TACTUS_UUID_BYTES) != 0) {
        return tac_error_set(error, TACTUS_EFORMAT, "the log belongs to another store");
    }
    if (segment_bytes < SEGMENT_BYTES_MIN || segment_bytes > SEGMENT_BYTES_MAX ||
        !tac_is_power_of_two(segment_bytes) || segment_count < SEGMENTS_MIN ||
        segment_count > SEGMENTS_MAX) {
        return tac_error_set(error, TACTUS_ECORRUPT,
                             "a log of %llu segments of %llu bytes is impossible",
                             (unsigned long long)segment_count, (unsigned long long)segment_bytes);
    }
    memcpy(ret_geometry->uuid, uuid, TACTUS_UUID_BYTES);
    ret_geometry->segment_bytes = segment_bytes;
    ret_geometry->segment_count = segment_count;
    return TACTUS_OK;
}

/* ---- segments and frames -------------------------------------------------------------------- */

/* What the checksum of something at this place is seeded with. */
static uint64_t place_seed(const struct tac_wal_geometry *geometry, uint64_t sequence,
                           uint64_t offset)
{
    uint8_t place[TACTUS_UUID_BYTES + 16];

    memcpy(place, geometry->uuid, TACTUS_UUID_BYTES);
    tac_store_u64(place + TACTUS_UUID_BYTES, TAC_MUTANT(OLD_FRAMES) ? 0 : sequence);
    tac_store_u64(place + TACTUS_UUID_BYTES + 8, offset);
    return tac_checksum(place, sizeof place, 0).low;
}

void tac_wal_segment_encode(uint8_t *bytes, const struct tac_wal_geometry *geometry,
                            const struct tac_wal_segment *segment)
{
    memset(bytes, 0, TAC_WAL_SEGMENT_HEADER_BYTES);
    tac_store_u64(bytes + SEGMENT_OFFSET_MAGIC, SEGMENT_MAGIC);
    tac_store_u64(bytes + SEGMENT_OFFSET_SEQUENCE, segment->sequence);
    tac_store_u64(bytes + SEGMENT_OFFSET_OP_FIRST, segment->op_first);
    tac_store_u64(bytes + SEGMENT_OFFSET_OP_DURABLE, segment->op_durable);
    tac_store_u64(bytes + SEGMENT_OFFSET_CHAIN, segment->chain);
    u128_store(
        bytes + SEGMENT_OFFSET_CHECKSUM,
        tac_checksum(bytes, SEGMENT_OFFSET_CHECKSUM, place_seed(geometry, segment->sequence, 0)));
}

bool tac_wal_segment_decode(const uint8_t *bytes, const struct tac_wal_geometry *geometry,
                            struct tac_wal_segment *ret_segment)
{
    uint64_t sequence = tac_load_u64(bytes + SEGMENT_OFFSET_SEQUENCE);

    if (tac_load_u64(bytes + SEGMENT_OFFSET_MAGIC) != SEGMENT_MAGIC || sequence == 0 ||
        !tac_u128_equal(
            u128_load(bytes + SEGMENT_OFFSET_CHECKSUM),
            tac_checksum(bytes, SEGMENT_OFFSET_CHECKSUM, place_seed(geometry, sequence, 0)))) {
        return false;
    }
    *ret_segment = (struct tac_wal_segment){
        .sequence = sequence,
        .op_first = tac_load_u64(bytes + SEGMENT_OFFSET_OP_FIRST),
        .op_durable = tac_load_u64(bytes + SEGMENT_OFFSET_OP_DURABLE),
        .chain = tac_load_u64(bytes + SEGMENT_OFFSET_CHAIN),
    };
    return ret_segment->op_first != 0;
}

static struct tac_u128 frame_checksum(const uint8_t *frame, const struct tac_wal_geometry *geometry,
                                      uint64_t sequence, uint64_t offset, uint32_t payload_bytes)
{
    return tac_checksum(frame + FRAME_COVERED, tac_wal_frame_bytes(payload_bytes) - FRAME_COVERED,
                        place_seed(geometry, sequence, offset));
}

uint64_t tac_wal_frame_seal(uint8_t *bytes, const struct tac_wal_geometry *geometry,
                            uint64_t sequence, uint64_t offset, const struct tac_wal_frame *frame)
{
    uint8_t        *at = bytes + offset;
    uint64_t        size = tac_wal_frame_bytes(frame->payload_bytes);
    uint64_t        used = TAC_WAL_FRAME_HEADER_BYTES + (uint64_t)frame->payload_bytes;
    struct tac_u128 checksum;

    tac_assert(frame->payload_bytes > 0 && offset % TAC_WAL_ALIGNMENT == 0);
    tac_assert(offset + size <= geometry->segment_bytes);
    memset(at, 0, TAC_WAL_FRAME_HEADER_BYTES);
    memset(at + used, 0, size - used);
    tac_store_u64(at + FRAME_OFFSET_CHAIN, frame->chain);
    tac_store_u64(at + FRAME_OFFSET_OP_FIRST, frame->op_first);
    tac_store_u64(at + FRAME_OFFSET_OP_DURABLE, frame->op_durable);
    tac_store_u32(at + FRAME_OFFSET_PAYLOAD_BYTES, frame->payload_bytes);
    tac_store_u32(at + FRAME_OFFSET_FLAGS, frame->continues ? FRAME_CONTINUES : 0);
    checksum = frame_checksum(at, geometry, sequence, offset, frame->payload_bytes);
    u128_store(at + FRAME_OFFSET_CHECKSUM, checksum);
    return checksum.low;
}

bool tac_wal_frame_decode(const uint8_t *bytes, const struct tac_wal_geometry *geometry,
                          uint64_t sequence, uint64_t offset, struct tac_wal_frame *ret_frame,
                          uint64_t *ret_chain)
{
    const uint8_t  *at = bytes + offset;
    struct tac_u128 checksum;
    uint32_t        payload_bytes;

    tac_assert(offset <= geometry->segment_bytes);
    if (geometry->segment_bytes - offset < TAC_WAL_FRAME_HEADER_BYTES) {
        return false;
    }
    payload_bytes = tac_load_u32(at + FRAME_OFFSET_PAYLOAD_BYTES);
    if (payload_bytes == 0 ||
        tac_wal_frame_bytes(payload_bytes) > geometry->segment_bytes - offset) {
        return false;
    }
    checksum = frame_checksum(at, geometry, sequence, offset, payload_bytes);
    if (!tac_u128_equal(checksum, u128_load(at + FRAME_OFFSET_CHECKSUM)) &&
        !TAC_MUTANT(TORN_FRAME)) {
        return false;
    }
    *ret_frame = (struct tac_wal_frame){
        .op_first = tac_load_u64(at + FRAME_OFFSET_OP_FIRST),
        .op_durable = tac_load_u64(at + FRAME_OFFSET_OP_DURABLE),
        .chain = tac_load_u64(at + FRAME_OFFSET_CHAIN),
        .payload_bytes = payload_bytes,
        .continues = (tac_load_u32(at + FRAME_OFFSET_FLAGS) & FRAME_CONTINUES) != 0,
    };
    *ret_chain = checksum.low;
    return true;
}

bool tac_wal_frame_proves(const uint8_t *bytes, const struct tac_wal_geometry *geometry,
                          uint64_t sequence, uint64_t offset, uint64_t op)
{
    for (; offset + TAC_WAL_FRAME_HEADER_BYTES <= geometry->segment_bytes;
         offset += TAC_WAL_ALIGNMENT) {
        uint64_t             op_first = tac_load_u64(bytes + offset + FRAME_OFFSET_OP_FIRST);
        uint64_t             op_durable = tac_load_u64(bytes + offset + FRAME_OFFSET_OP_DURABLE);
        struct tac_wal_frame frame;
        uint64_t             chain;

        /* The numbers first: hashing at every place would take for ever. */
        if (op_durable >= op && op_first > op_durable && op_first - op < (uint64_t)1 << 32 &&
            tac_wal_frame_decode(bytes, geometry, sequence, offset, &frame, &chain)) {
            return true;
        }
    }
    return false;
}

/* ---- entries -------------------------------------------------------------------------------- */

void tac_wal_entry_encode(uint8_t *bytes, const struct tac_wal_entry *entry)
{
    tac_assert(entry->key.size <= UINT16_MAX && entry->tree < TACTUS_TREES_MAX);
    bytes[ENTRY_OFFSET_KIND] = (uint8_t)(entry->kind | (entry->is_last ? ENTRY_LAST : 0));
    bytes[ENTRY_OFFSET_TREE] = (uint8_t)entry->tree;
    tac_store_u16(bytes + ENTRY_OFFSET_KEY_SIZE, (uint16_t)entry->key.size);
    tac_store_u32(bytes + ENTRY_OFFSET_VALUE_SIZE, entry->value.size);
    if (entry->key.size > 0) {
        memcpy(bytes + TAC_WAL_ENTRY_HEADER_BYTES, entry->key.data, entry->key.size);
    }
    if (entry->value.size > 0) {
        memcpy(bytes + TAC_WAL_ENTRY_HEADER_BYTES + entry->key.size, entry->value.data,
               entry->value.size);
    }
}

static bool kind_is_known(uint32_t kind) { return kind >= TAC_WAL_PUT && kind <= TAC_WAL_REFUSED; }

bool tac_wal_entry_decode(const uint8_t *bytes, uint64_t size, struct tac_wal_entry *ret_entry,
                          uint64_t *ret_size)
{
    uint32_t kind, key_size, value_size;
    bool     is_last;

    if (size < TAC_WAL_ENTRY_HEADER_BYTES) {
        return false;
    }
    kind = bytes[ENTRY_OFFSET_KIND] & ~(uint32_t)ENTRY_LAST;
    key_size = tac_load_u16(bytes + ENTRY_OFFSET_KEY_SIZE);
    value_size = tac_load_u32(bytes + ENTRY_OFFSET_VALUE_SIZE);
    is_last = (bytes[ENTRY_OFFSET_KIND] & ENTRY_LAST) != 0;
    /* Only ops that write records have several entries. */
    if (!kind_is_known(kind) || (kind > TAC_WAL_DELETE && !is_last) ||
        size - TAC_WAL_ENTRY_HEADER_BYTES < (uint64_t)key_size + value_size) {
        return false;
    }
    *ret_entry = (struct tac_wal_entry){
        .kind = (enum tac_wal_kind)kind,
        .is_last = is_last,
        .tree = bytes[ENTRY_OFFSET_TREE],
        .key = {bytes + TAC_WAL_ENTRY_HEADER_BYTES, key_size},
        .value = {bytes + TAC_WAL_ENTRY_HEADER_BYTES + key_size, value_size},
    };
    *ret_size = tac_wal_entry_bytes(ret_entry);
    return true;
}

void tac_wal_layout_encode(uint8_t bytes[TAC_WAL_LAYOUT_BYTES], const struct tac_layout *layout)
{
    tac_store_u32(bytes, (uint32_t)layout->kind);
    tac_store_u32(bytes + 4, layout->key_size);
    tac_store_u32(bytes + 8, layout->value_size);
}

void tac_wal_layout_decode(const uint8_t         bytes[TAC_WAL_LAYOUT_BYTES],
                           struct tactus_layout *ret_layout)
{
    *ret_layout = (struct tactus_layout){
        .kind = (enum tactus_layout_kind)tac_load_u32(bytes),
        .key_size = tac_load_u32(bytes + 4),
        .value_size = tac_load_u32(bytes + 8),
    };
}
