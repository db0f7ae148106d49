/* SPDX-License-Identifier: Apache-2.0 */
/* seat -- an admitted job: one key slice of one compaction, with all the memory it will need.
 *
 * The happy path of a job: the coordinator seats it with its allotment of blocks; it asks the read
 * stage for the index blocks of its tables, then for their value blocks, a few ahead for each
 * source; whenever every source has a block it merges into output blocks; these go to the write
 * stage in requests of neighbouring addresses; when all sources have ended and all writes are done
 * the seat goes to the coordinator's done list.
 * Possible failures: a read finds damage or an I/O error, twice (either is TACTUS_ECORRUPT, with
 * the table); a write fails. The first error stays in the job; the seat issues nothing more, waits
 * for what is under way, and goes to the done list. Nothing of it enters the manifest.
 *
 * A seat is an actor: one worker runs it at a time, and everything of it is touched by that worker
 * only. Others deliver finished requests into its mailbox and wake it. */
#ifndef TACTUS_STAGES_SEAT_H
#define TACTUS_STAGES_SEAT_H

#include "lsm/memtable.h"
#include "lsm/merge.h"
#include "stages/stage.h"

/* Value blocks that a source may hold, the one being merged included. */
#define TAC_READ_AHEAD_MAX 8
#define TAC_REQUEST_BLOCKS_MAX 4
/* Sources of a job at most: 2R + 1 layers with R = 16, the target's run, the memtable. */
#define TAC_SOURCES_MAX 36

/* Blocks a table builder holds at most: a value, an index and its filter blocks. */
#define TAC_BUILDING_MAX (2 + TAC_FILTER_BLOCKS_MAX)

/* A table as one job reads it. */
struct tac_job_input {
    struct tac_table        *table;
    uint64_t                 priority;   /* Newer wins: level, then stamp */
    uint32_t                *addresses;  /* Where to note the table's block addresses for the
                                            release at commit; NULL: another job does it */
    struct tac_merge_account consumed;   /* What this job took of it */
};

/* Tables of a job that follow each other without overlap: one source of the merge. */
struct tac_job_chain {
    uint32_t input_first, input_count;
};

/* One key slice of one compaction, as planned. Lives in the bar; the coordinator fills it before
 * the job is seated and reads the results after it is done. */
struct tac_job {
    /* Plan */
    struct tac_layout     layout;
    uint32_t              tree;
    uint32_t              compaction;    /* Index in the bar */
    struct tac_bytes      key_begin, key_end;
    bool                  drops_tombstones;
    bool                  is_discard;    /* Of its tables only the index blocks are read */
    uint64_t              bytes;         /* Planned input bytes */
    const struct tac_cut *cuts;
    uint32_t              cut_count;
    uint64_t              table_bytes_min;
    struct tac_job_input *inputs;
    uint32_t              input_count;
    struct tac_job_chain *chains;
    uint32_t              chain_count;
    struct tac_memtable  *memtable;      /* A flush: its first source; else NULL */
    const struct tac_range *ranges;      /* Deleted ones of the tree that the plan knows */
    uint32_t              range_count;
    uint32_t             *addresses;     /* Reserved, ascending */
    uint32_t              address_count;
    struct tac_table     *spare_tables;  /* Descriptors for outputs */
    uint32_t              spare_count;   /* As planned */
    uint64_t              sequence;      /* For block headers */
    uint64_t              begin_ns, end_ns; /* Coordinator: seated, taken back; 0: nobody listens */
    /* Result */
    int                      result;     /* First error; 0 */
    char                     message[320];
    struct tac_table        *damaged_table; /* With ECORRUPT; NULL: the memtable's block */
    uint32_t                 address_used;
    struct tac_table        *outputs;    /* In key order */
    struct tac_table        *outputs_last;
    struct tac_builder_totals totals;
    struct tac_merge_account overwritten, tombstones_dropped, deleted;
    struct tac_merge_account memtable_consumed;    /* Newest versions taken from the memtable */
    struct tac_merge_account memtable_overwritten; /* Older versions below them */
    struct tac_merge_account memtable_deleted;     /* With a range: not taken, all versions */
};

struct tac_window_entry {
    struct tac_block     *block;
    struct tac_job_input *input;
    uint64_t              address;
    bool                  is_ready;
};

struct tac_source {
    /* Per job */
    bool     is_memtable;
    uint32_t input_next, input_end; /* In the job's inputs: still to be opened */
    struct tac_job_input *input;    /* Its index block is here or on its way; NULL: none */
    struct tac_block     *index_block;
    bool                  is_index_pending;
    bool                  has_index;
    struct tac_index_block index;
    uint32_t block_next, block_end; /* Value blocks of `input` still to be asked for */
    /* Memtable part: the gathering worker's while a gather is pending */
    struct tac_memtable_cursor cursor;
    struct tac_record_view     held_back; /* Did not fit the block before */
    bool                       has_held_back;
    struct tac_merge_account   gathered, gathered_overwritten, gathered_deleted;
    struct tac_range_span      gather_span; /* Of the keys up to its end; with none: not known */
    bool                       has_gather_span;
    bool     is_gather_pending;
    bool     is_gathered_out; /* The memtable's range has ended */
    /* Window: asked for or ready, in key order; a ring */
    struct tac_window_entry window[TAC_READ_AHEAD_MAX];
    uint32_t window_head, window_count;
    uint32_t blocks_held; /* Window and current */
    /* Being merged */
    struct tac_window_entry current;
    struct tac_job_input   *accounted_input; /* Whose consumption the merge is counting */
    struct tac_value_block  value_block;
    bool                    has_ended;
};

enum tac_seat_state {
    TAC_SEAT_FREE,
    TAC_SEAT_MERGING,
    TAC_SEAT_FINISHING, /* Merged; the last writes are under way */
    TAC_SEAT_FAILING,   /* Waits for what is under way */
    TAC_SEAT_DONE,
};

struct tac_seat {
    struct tac_link     link;  /* First: the seat travels */
    struct tac_actor    actor;
    uint32_t            waits_for; /* Atomic, enum tac_wait; whoever runs it writes */
    struct tac_stages  *stages;
    bool                is_taken; /* Coordinator: from tac_seat_start to tac_seat_finish */
    /* Memory of the seat, reused from job to job */
    struct tac_merge         *merge;
    struct tac_table_builder *builder;
    struct tac_request       *requests;
    uint32_t                  request_count;
    /* Per job */
    enum tac_seat_state state;
    struct tac_job     *job;
    struct tac_source   sources[TAC_SOURCES_MAX];
    uint32_t            source_count;
    uint32_t            read_ahead;   /* Blocks per source */
    struct tac_block   *blocks;       /* Idle blocks of the allotment, linked by next */
    struct tac_block   *allotted;     /* All blocks of the allotment, linked by owner */
    uint32_t            blocks_idle;
    uint32_t            allotment;
    uint32_t            source_waiting; /* The source that the merge waits for; or UINT32_MAX */
    uint64_t            consumed_reported;
    uint32_t            pages_taken, pages_kept; /* Taken in lately; those that readers had */
    bool                table_is_kept; /* Readers were given pages of the table being built */
    uint32_t            outstanding;  /* Requests under way */
    struct tac_request *requests_free;
    struct tac_request *output;       /* Sealed blocks not yet handed to the write stage */
    struct tac_block   *building[TAC_BUILDING_MAX]; /* Handed to the builder, not yet sealed */
    uint32_t            building_count;
};

/* Blocks for outputs in a job's allotment: what the builder may hold and two requests in flight. */
uint32_t tac_seat_output_blocks(uint32_t filter_blocks_max);
/* A job's whole allotment: k * (read_ahead + 1) + outputs. */
uint32_t tac_seat_allotment(uint32_t source_count, uint32_t read_ahead, uint32_t filter_blocks_max);

TAC_MUST_CHECK int tac_seat_create(struct tac_seat *seat, struct tac_stages *stages,
                                   uint32_t allotment_max, uint64_t table_records_max,
                                   struct tac_error *error);
void     tac_seat_destroy(struct tac_seat *seat);
uint64_t tac_seat_memory_bytes(const struct tac_geometry *geometry, uint32_t allotment_max,
                               uint64_t table_records_max);

/* Coordinator: seats a job with its blocks (a list of `allotment`) and sets it going. */
void tac_seat_start(struct tac_seat *seat, struct tac_job *job, uint32_t read_ahead,
                    struct tac_block *blocks, uint32_t allotment, uint32_t filter_bits_per_key);
/* Coordinator, after the seat came back on the done list: takes the blocks out again. */
struct tac_block *tac_seat_finish(struct tac_seat *seat, uint32_t *ret_count);

/* No worker is left and nothing is under way: gives all blocks back; the job is forgotten. */
struct tac_block *tac_seat_abandon(struct tac_seat *seat);

enum tac_seat_outcome {
    TAC_SEAT_RUN_AGAIN,      /* There is more to do now */
    TAC_SEAT_RUN_WAIT_READ,  /* Nothing to do until a source's block has come … */
    TAC_SEAT_RUN_WAIT_WRITE, /* … or until writes are done; of a job that fails: anything */
    TAC_SEAT_RUN_STALLED,    /* Could merge, but has no credit */
    TAC_SEAT_RUN_OVER,       /* The job is over, one way or the other */
};
/* One unit of a seat's work, by the worker that popped it. */
enum tac_seat_outcome tac_seat_run(struct tac_seat *seat, bool has_credit);
/* The read stage's part of a flush: fills the request's block from the memtable. Returns the bytes
 * of the keys and values. */
uint64_t tac_seat_gather(struct tac_request *request);

#endif
