/* SPDX-License-Identifier: Apache-2.0 */
/* wal_format -- the bytes of a write-ahead log (rule R11): docs/FORMAT.md, "The log". No I/O.
 *
 * The file is a header and a ring of segments. A segment is a header and frames; a frame is a header
 * and entries; an entry is a part of an op. A frame is what one write of the log has gathered. Each
 * carries the checksum of the one before (the chain) and the last op that was durable when it was
 * written (the watermark). Its own checksum takes in where it lies: the UUID, the segment's
 * sequence, its offset; so what an earlier turn of the ring has left never passes for a frame. */
#ifndef TACTUS_LSM_WAL_FORMAT_H
#define TACTUS_LSM_WAL_FORMAT_H

#include "lsm/record.h"
#include "lsm/superblock.h"
#include "lsm/table.h"

#define TAC_WAL_HEADER_BYTES 4096
#define TAC_WAL_SEGMENT_HEADER_BYTES 64
#define TAC_WAL_FRAME_HEADER_BYTES 48
#define TAC_WAL_ENTRY_HEADER_BYTES 8
#define TAC_WAL_ALIGNMENT 8 /* Of frames */
#define TAC_WAL_REFUSED_ENTRY_BYTES (TAC_WAL_ENTRY_HEADER_BYTES + TAC_WAL_REFUSED_BYTES)

/* Fixed when the log is created. */
struct tac_wal_geometry {
    uint8_t  uuid[TACTUS_UUID_BYTES]; /* Of the store */
    uint64_t segment_bytes;           /* A multiple of 4096 */
    uint64_t segment_count;           /* At least 4 */
};

/* For a store of this shape: as many bytes as the ops of all bars take that a checkpoint may leave to
 * a replay. */
void tac_wal_geometry_make(const struct tac_shape *shape, const uint8_t *uuid,
                           struct tac_wal_geometry *ret_geometry);
/* TACTUS_ECORRUPT: an entry of a store of this shape might not fit a segment. */
TAC_MUST_CHECK int tac_wal_geometry_check(const struct tac_wal_geometry *geometry,
                                          const struct tac_shape *shape, struct tac_error *error);

uint64_t tac_wal_file_bytes(const struct tac_wal_geometry *geometry);
uint64_t tac_wal_segment_offset(const struct tac_wal_geometry *geometry, uint64_t sequence);

void tac_wal_header_encode(uint8_t *header, const struct tac_wal_geometry *geometry);
/* TACTUS_EFORMAT: not a log, or of another version, or of another store; TACTUS_ECORRUPT. */
TAC_MUST_CHECK int tac_wal_header_decode(const uint8_t *header, const uint8_t *uuid,
                                         struct tac_wal_geometry *ret_geometry,
                                         struct tac_error        *error);

struct tac_wal_segment {
    uint64_t sequence; /* 1, 2, 3 … */
    uint64_t op_first; /* Of the first entry in it */
    uint64_t op_durable;
    uint64_t chain; /* Of the frame before it */
};

void tac_wal_segment_encode(uint8_t *bytes, const struct tac_wal_geometry *geometry,
                            const struct tac_wal_segment *segment);
/* False: no segment has begun here. */
bool tac_wal_segment_decode(const uint8_t *bytes, const struct tac_wal_geometry *geometry,
                            struct tac_wal_segment *ret_segment);

struct tac_wal_frame {
    uint64_t op_first; /* Of its first entry */
    uint64_t op_durable;
    uint64_t chain; /* Of the frame before */
    uint32_t payload_bytes;
    bool     continues; /* Its first entry is not the first one of its op. Without it, what came
                           before of that op was cut off by a crash and does not count. */
};

/* Writes the header of a frame whose entries are in their place behind it, and pads it with zeros.
 * Returns the chain of this frame. bytes: the segment. */
uint64_t tac_wal_frame_seal(uint8_t *bytes, const struct tac_wal_geometry *geometry,
                            uint64_t sequence, uint64_t offset, const struct tac_wal_frame *frame);
/* False: no frame at this offset of the segment. */
bool tac_wal_frame_decode(const uint8_t *bytes, const struct tac_wal_geometry *geometry,
                          uint64_t sequence, uint64_t offset, struct tac_wal_frame *ret_frame,
                          uint64_t *ret_chain);
/* True: at this offset or behind it lies a frame that says the op was durable. */
bool tac_wal_frame_proves(const uint8_t *bytes, const struct tac_wal_geometry *geometry,
                          uint64_t sequence, uint64_t offset, uint64_t op);
static inline uint64_t tac_wal_frame_bytes(uint32_t payload_bytes)
{
    return TAC_WAL_FRAME_HEADER_BYTES +
           (((uint64_t)payload_bytes + TAC_WAL_ALIGNMENT - 1) & ~(uint64_t)(TAC_WAL_ALIGNMENT - 1));
}

enum tac_wal_kind {
    TAC_WAL_PUT = 1,
    TAC_WAL_DELETE = 2,
    TAC_WAL_TREE_CREATE =
        3, /* key: the name; value: layout kind, key size, value size (u32 each) */
    TAC_WAL_DRAIN = 4,
    TAC_WAL_COMPACT = 5,
    TAC_WAL_HOLD = 6, /* value: one byte, 0 or 1 */
    TAC_WAL_CHECKPOINT = 7,
    TAC_WAL_NOTHING = 8, /* An op whose condition did not hold: a number */
    TAC_WAL_RANGE = 9,   /* Of a compaction of a range; value: one byte, enum tac_wal_range.
                            BEGIN: key: the low bound; the high one is behind that byte; both 0 to
                            TACTUS_KEY_SIZE_MAX bytes */
    TAC_WAL_TREE_DROP = 10,
    TAC_WAL_SNAPSHOT = 11,     /* key: the name */
    TAC_WAL_RELEASE = 12,      /* The same */
    TAC_WAL_DELETE_RANGE = 13, /* key, value: the bounds */
    TAC_WAL_BEAT = 14,
    TAC_WAL_REFUSED = 15, /* A write that found no room, and has ended bars to make some; value: up
                             to which bar (u64); one byte, 1: for a deleted range, else 0 */
};

#define TAC_WAL_REFUSED_BYTES 9

enum tac_wal_range {
    TAC_WAL_RANGE_BEGIN = 1,
    TAC_WAL_RANGE_STEP = 2,
    TAC_WAL_RANGE_CANCEL = 3,
};

struct tac_wal_entry {
    enum tac_wal_kind kind;
    bool              is_last; /* Of its op */
    uint32_t          tree;
    struct tac_bytes  key, value;
};

#define TAC_WAL_LAYOUT_BYTES 12

static inline uint64_t tac_wal_entry_bytes(const struct tac_wal_entry *entry)
{
    return (uint64_t)TAC_WAL_ENTRY_HEADER_BYTES + entry->key.size + entry->value.size;
}
void tac_wal_entry_encode(uint8_t *bytes, const struct tac_wal_entry *entry);
/* Key and value lie in bytes. *ret_size: what the entry takes. False: no entry. */
bool tac_wal_entry_decode(const uint8_t *bytes, uint64_t size, struct tac_wal_entry *ret_entry,
                          uint64_t *ret_size);
void tac_wal_layout_encode(uint8_t bytes[TAC_WAL_LAYOUT_BYTES], const struct tac_layout *layout);
void tac_wal_layout_decode(const uint8_t         bytes[TAC_WAL_LAYOUT_BYTES],
                           struct tactus_layout *ret_layout);

#endif
