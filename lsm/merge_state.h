/* SPDX-License-Identifier: Apache-2.0 */
/* merge_state -- the inside of a merge, shared by merge.c and its kernels. Private to lsm/.
 *
 * The sources play a tournament (a loser tree, Knuth volume 3, 5.4.1): node n of 1 … k - 1 keeps
 * the loser of the match played there, source s enters at (k + s) / 2, and only the winner's path
 * is played again after it has moved on. Matches compare the first 8 or 16 bytes of the sources'
 * keys as integers, kept side by side, so most touch nothing else.
 *
 * Where one source wins again and again, its rival (the best of the losers on its path) is found
 * once, and its records are taken without a tournament while they stay below the rival's key.
 */
#ifndef TACTUS_LSM_MERGE_STATE_H
#define TACTUS_LSM_MERGE_STATE_H

#include "lsm/merge.h"
#include "lsm/table_builder_state.h"

#define TAC_MERGE_NO_SOURCE UINT32_MAX

struct tac_merge_source {
    /* The record under the cursor */
    const uint8_t *record; /* Key, then value */
    uint32_t       key_size;
    uint32_t       value_size;
    bool           is_tombstone; /* Variable layout; fixed: see bitmap */
    bool           is_ended;     /* No record under the cursor, and there will be none */
    bool           has_block;    /* The cursor is in a block */
    bool           is_last;      /* The block reaches the end of the range */
    /* The page under the cursor */
    uint32_t       index;     /* Of the record in the page */
    uint32_t       index_end; /* First one that is not to be taken */
    const uint8_t *page;
    bool           has_tombstones; /* Fixed layout */
    const uint8_t *bitmap;         /* Fixed layout; NULL: the only record is a tombstone */
    uint64_t       page_bytes;     /* Payload of the page's records that are to be taken */
    /* The block */
    struct tac_value_block   block;
    uint64_t                 stamp;
    uint32_t                 page_index;
    uint32_t                 page_last, page_last_end; /* The range ends there, exclusive */
    struct tac_merge_account block_account;            /* What of it is in range */
    /* The source */
    struct tac_merge_account account;  /* Consumed since the account was last taken */
    struct tac_bytes         key_from; /* Records below are not taken; size 0: none */
    const struct tac_range  *ranges;   /* Those after the op delete what they have */
    uint32_t                 range_count;
    uint64_t                 op;
    struct tac_range_span    span; /* Of the keys up to its end, if has_span */
    bool                     has_span;
    uint32_t                 key_last_size; /* Of merge->key_last; 0: no block so far */
};

struct tac_merge {
    struct tac_merge_options  options;
    struct tac_table_builder *builder;
    enum tac_merge_status (*kernel)(struct tac_merge *merge);
    uint32_t record_bytes; /* Fixed layout */
    /* The tournament */
    bool     is_seeded;
    uint32_t source_needed; /* To be given a block, then to be played; or NO_SOURCE */
    uint32_t winner;
    uint32_t losers[TAC_MERGE_SOURCES_MAX]; /* From 1 on */
    uint64_t high[TAC_MERGE_SOURCES_MAX];   /* Of each source's key: its first eight bytes, */
    uint64_t low[TAC_MERGE_SOURCES_MAX];    /* and for keys of 16 bytes the other eight */
    uint32_t streak; /* Wins in a row; at TAC_MERGE_STREAK there is a rival */
    uint32_t rival;  /* Or NO_SOURCE: the winner is the only source */
    /* The last key taken, and its source. The bytes are in that source's block, or in key_kept
     * once that block is used up. */
    uint32_t       last_source; /* NO_SOURCE: none was taken */
    uint32_t       last_key_size;
    uint64_t       last_high, last_low;
    const uint8_t *last_key;
    uint8_t        key_kept[TACTUS_KEY_SIZE_MAX];
    /* One run */
    uint64_t consumed_stop; /* Pause when so much is consumed */
    uint64_t buffers_stop;  /* builder->buffers_taken may not pass this */
    /* Books */
    uint64_t                 consumed_bytes;
    struct tac_merge_account overwritten, tombstones_dropped, deleted;
    struct tac_merge_source  sources[TAC_MERGE_SOURCES_MAX];
    uint8_t                  key_last[TAC_MERGE_SOURCES_MAX][TACTUS_KEY_SIZE_MAX];
};

#define TAC_MERGE_STREAK 4

/* Leaves the page under the cursor. False: the block is used up, or the source is. */
bool tac_merge_page_next(struct tac_merge *merge, struct tac_merge_source *source);
/* Decides a match between sources whose keys are equal as integers; true: a goes first. */
bool tac_merge_match(const struct tac_merge *merge, uint32_t a, uint32_t b);
void tac_merge_account_record(struct tac_merge_account *account, const struct tac_record *record);
/* Appends what the inlined append could not; false: too few buffers, and nothing was done. */
bool tac_merge_append(struct tac_merge *merge, const struct tac_record *record,
                      struct tac_u128 hash);
/* All sources have ended. */
enum tac_merge_status tac_merge_end(struct tac_merge *merge);

/* The kernels: merge_kernel.h. */
enum tac_merge_status tac_merge_kernel_fixed_8(struct tac_merge *merge);
enum tac_merge_status tac_merge_kernel_fixed_16(struct tac_merge *merge);
enum tac_merge_status tac_merge_kernel_fixed(struct tac_merge *merge);
enum tac_merge_status tac_merge_kernel_variable(struct tac_merge *merge);

#endif
