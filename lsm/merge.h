/* SPDX-License-Identifier: Apache-2.0 */
/* merge -- k sorted sources into one sorted stream, newest version of each key, into a table
 * builder. Does a bounded piece of work at a time, so that one thread can serve many jobs.
 *
 * Sources are numbered 0 … source_count - 1; each delivers value blocks in key order. Of equal keys
 * the source with the higher stamp wins (a source's stamp may change from block to block: it is the
 * stamp of the table the block belongs to). The others are dropped as overwritten. A winning
 * tombstone is dropped too where drops_tombstones is set.
 *
 * Range: only keys in [key_begin, key_end) are taken. Records of a block outside the range are
 * neither consumed nor counted: they belong to a neighbour job, to an earlier slice, or stay.
 *
 * Deleted ranges: records of a source that a range has deleted are consumed and dropped, stretch by
 * stretch, before they take part.
 *
 * Conservation (contract 2): consumed = appended + overwritten + tombstones dropped + deleted, as
 * sums of record hashes. Whole blocks are counted by the sum stored in their header; records of a
 * block that is only partly in range are hashed one by one. */
#ifndef TACTUS_LSM_MERGE_H
#define TACTUS_LSM_MERGE_H

#include "lsm/range.h"
#include "lsm/table_builder.h"

#define TAC_MERGE_SOURCES_MAX 64

enum tac_merge_status {
    TAC_MERGE_NEEDS_BLOCK,  /* tac_merge_source_needed has used up its block: give another, or its
                             * end */
    TAC_MERGE_NEEDS_BUFFER, /* The builder needs buffers: tac_table_builder_buffers_needed */
    TAC_MERGE_PAUSED,       /* budget_bytes of input consumed; call again */
    TAC_MERGE_DONE,         /* All sources ended; the builder was finished */
};

struct tac_merge_account {
    uint64_t        records;
    uint64_t        tombstones;
    uint64_t        bytes;
    struct tac_u128 sum;
};

static inline struct tac_merge_account tac_merge_account_add(struct tac_merge_account a,
                                                             struct tac_merge_account b)
{
    return (struct tac_merge_account){
        .records = a.records + b.records,
        .tombstones = a.tombstones + b.tombstones,
        .bytes = a.bytes + b.bytes,
        .sum = tac_u128_add(a.sum, b.sum),
    };
}

struct tac_merge_options {
    struct tac_layout layout;
    uint32_t          source_count;
    bool              drops_tombstones;
    struct tac_bytes  key_begin; /* size 0: none */
    struct tac_bytes  key_end;   /* size 0: none */
};

struct tac_merge;

struct tac_merge *tac_merge_new(void); /* NULL: out of memory */
void              tac_merge_free(struct tac_merge *merge);
uint64_t          tac_merge_memory_bytes(void);

/* Begins a job on a builder that has begun. key_begin/key_end are borrowed until the end. */
void tac_merge_begin(struct tac_merge *merge, const struct tac_merge_options *options,
                     struct tac_table_builder *builder);
/* Gives a source its next block (verified, decoded; the struct is copied, the data must stay until
 * the merge asks this source again or is done). stamp: of the block's table. TACTUS_ECORRUPT when
 * the block's keys are not above those of the source's block before it; the job then cannot go on.
 * A block that reaches key_end is a source's last: the merge does not ask for another. */
TAC_MUST_CHECK int tac_merge_source_block(struct tac_merge *merge, uint32_t source,
                                          const struct tac_value_block *block, uint64_t stamp,
                                          struct tac_error *error);
/* Records of the source's coming blocks below key_from are not taken, as though out of range: the
 * lower edge of a table that an earlier slice trimmed. Size 0: only the job's range counts.
 * Borrowed until the next call for the source; for its next table it is to be called again. */
void tac_merge_source_from(struct tac_merge *merge, uint32_t source, struct tac_bytes key_from);
/* Of the source's coming blocks, which are of a table with this op, later ranges have deleted
 * records. Borrowed, as key_from. count 0: none have. */
void tac_merge_source_ranges(struct tac_merge *merge, uint32_t source,
                             const struct tac_range *ranges, uint32_t count, uint64_t op);
void tac_merge_source_end(struct tac_merge *merge, uint32_t source);
/* Merges until a status asks for something. buffers_available: how many the sink can hand out now.
 * What is written depends neither on the budget nor on the buffers nor on when blocks arrive. */
enum tac_merge_status tac_merge_run(struct tac_merge *merge, uint64_t budget_bytes,
                                    uint32_t buffers_available);
uint32_t              tac_merge_source_needed(const struct tac_merge *merge);

/* Input bytes consumed so far (payload), for pacing. */
uint64_t tac_merge_consumed_bytes(const struct tac_merge *merge);
/* What was consumed of the current table of a source since the last call for that source: call it
 * when the source moves to another table and at the end. */
struct tac_merge_account tac_merge_take_source_account(struct tac_merge *merge, uint32_t source);
/* Dropped so far, by reason. */
struct tac_merge_account tac_merge_overwritten(const struct tac_merge *merge);
struct tac_merge_account tac_merge_tombstones_dropped(const struct tac_merge *merge);
struct tac_merge_account tac_merge_deleted(const struct tac_merge *merge); /* With a range */

#endif
