/* SPDX-License-Identifier: Apache-2.0 */
/* What manifest_log.c (appending, checkpoints) and manifest_replay.c share. */
#ifndef TACTUS_LSM_MANIFEST_LOG_INTERNAL_H
#define TACTUS_LSM_MANIFEST_LOG_INTERNAL_H

#include "lsm/manifest_event.h"
#include "lsm/manifest_log.h"

/* A block's own fields behind the common header; then its events. */
enum {
    TAC_LOG_OFFSET_SEQUENCE = TAC_BLOCK_HEADER_BYTES,         /* u64 */
    TAC_LOG_OFFSET_PREVIOUS = TAC_BLOCK_HEADER_BYTES + 8,     /* u64 address, u128 checksum */
    TAC_LOG_OFFSET_EVENT_COUNT = TAC_BLOCK_HEADER_BYTES + 32, /* u32; 4 zero bytes follow */
    TAC_LOG_OFFSET_EVENTS = TAC_BLOCK_HEADER_BYTES + 40,
};

/* References of all blocks are kept in memory: room that is touched as the log grows. At a table
 * event of 2 KiB and blocks of 4 KiB this is a log for half a million tables. */
#define TAC_LOG_BLOCKS_MAX (1u << 20)

/* A block in memory, not yet written as it is now. */
struct tac_log_block {
    uint8_t *data; /* block_size bytes; events in place, header filled in when it is sealed */
    uint64_t sequence;
    uint32_t used_bytes;
    uint32_t event_count;
};

struct tac_manifest_log {
    const struct tac_geometry *geometry;
    uint32_t                   blocks_max;
    uint8_t                   *memory;  /* Of the pending blocks */
    struct tac_log_block      *pending; /* blocks_max; ascending sequences, the last is open */
    uint32_t                   pending_count; /* 0 only before the first event ever */
    bool                       is_clean;      /* The open block is all there is, written as it is */
    uint32_t                   sealed_count;  /* Of the checkpoint that is being made */
    uint64_t                   sequence_oldest; /* Of the blocks that count */
    uint64_t                   sequence_newest; /* 0: none yet */
    /* references[i] is of sequence reference_base + i: the blocks of the last checkpoint, from
     * sequence_oldest of then on, and those sealed since. */
    struct tac_block_reference *references;
    uint64_t                    reference_base;
    uint64_t                    checkpoint_count; /* Blocks of the last checkpoint */
    uint64_t                    address_replaced; /* Where the open block was; 0: nowhere */
};

/* Bytes for events in a block. */
static inline uint32_t tac_log_room_bytes(const struct tac_geometry *geometry)
{
    return geometry->block_size - TAC_LOG_OFFSET_EVENTS;
}

#endif
