/* SPDX-License-Identifier: Apache-2.0 */
/* checkpoint -- makes a bar's end durable, in the background of the next bar (rule R6).
 *
 * Order: (1) manifest-log blocks, (2) free-set blocks, all complete; (3) sync; (4) the two copies
 * of the superblock's pair; (5) sync; (6) only now durable. It takes effect, that is, the blocks
 * released before it become free, at the end of the next bar and at no other moment; if it is not
 * durable by then the bar's end waits for it. Coordinator only. */
#ifndef TACTUS_PIPELINE_CHECKPOINT_H
#define TACTUS_PIPELINE_CHECKPOINT_H

#include "lsm/manifest_log.h"
#include "lsm/superblock.h"
#include "queues/block_pool.h"
#include "stages/stage.h"

/* Manifest-log blocks that fill between two checkpoints, at most: 2 MiB of them, 16 to 512. */
#define TAC_CHECKPOINT_LOG_BLOCKS_MAX 512
/* Buffers beyond those: free-set blocks and superblocks go through them. */
#define TAC_CHECKPOINT_BUFFERS 8

struct tactus;

enum tac_checkpoint_state {
    TAC_CHECKPOINT_NONE,
    TAC_CHECKPOINT_FREE_SET,   /* Writing manifest-log and free-set blocks */
    TAC_CHECKPOINT_DATA_SYNC,
    TAC_CHECKPOINT_SUPERBLOCK, /* Writing two copies */
    TAC_CHECKPOINT_ROOT_SYNC,
    TAC_CHECKPOINT_DURABLE,    /* Waits for the bar's end to take effect */
};

struct tac_checkpoint {
    struct tac_actor          actor; /* Its requests come back here */
    enum tac_checkpoint_state state;
    struct tac_superblock     durable; /* The newest durable one */
    struct tac_superblock     next;    /* The one being written */
    struct tac_block_pool     pool;     /* A buffer for each request */
    struct tac_block         *buffers;  /* All of them, while the store is open */
    struct tac_request       *requests;
    uint32_t                  request_count;
    struct tac_request       *requests_free;
    uint32_t                  outstanding;
    uint32_t                  free_set_written;
    uint32_t                  bars_since; /* Bars ended since the last one began */
    uint64_t                  begin_ns;   /* Of the one being written; 0: nobody listens */
    uint64_t                  written_bytes; /* Handed to the write stage for it */
};

uint32_t tac_checkpoint_log_blocks(uint32_t block_size);
uint64_t tac_checkpoint_memory_bytes(uint32_t block_size);
/* superblock: the one that the store was opened with. */
TAC_MUST_CHECK int tac_checkpoint_create(struct tac_checkpoint *checkpoint, uint32_t block_size,
                                         const struct tac_superblock *superblock,
                                         struct tac_error *error);
void               tac_checkpoint_destroy(struct tac_checkpoint *checkpoint);
/* At a bar's end, after the manifest changed: begins one. TACTUS_EFULL: no blocks for it. */
TAC_MUST_CHECK int tac_checkpoint_begin(struct tactus *store, struct tac_error *error);
/* Mail and next writes; true when something moved. */
bool tac_checkpoint_step(struct tactus *store);
/* True when none is under way that must be durable before this bar may end. */
bool tac_checkpoint_allows_bar_end(const struct tactus *store);
/* At a bar's end: lets a durable one take effect. */
void tac_checkpoint_effect(struct tactus *store);

#endif
