/* SPDX-License-Identifier: Apache-2.0 */
/* stage -- what the threads of a store share: queues between the stages, parking places, credit.
 *
 * A stage is a step function that does one unit of work and never blocks: tac_read_step,
 * tac_merge_step, tac_write_step, and the coordinator's own. A worker is whoever calls them: a
 * thread (stages/thread.c), the caller of a store without threads, or the simulator. One code.
 *
 * What moves       a request (one I/O) from a seat to READ or WRITE and back into the seat's
 *                  mailbox; a seat (an admitted job) to MERGE whenever it can make progress.
 * Back-pressure    is the seats' allotment of blocks alone. A stage queue is a bounded lock-free
 *                  ring; what does not fit waits in an intrusive overflow list, so a push never
 *                  fails, nothing blocks in the middle of a step, and no cycle of full rings can
 *                  stop the pipeline. The number of items is bounded by the seats' requests.
 * Credit           input bytes that may have been consumed by now. A merge that has none left lays
 *                  its seat on the stalled list; the next grant puts it back. */
#ifndef TACTUS_STAGES_STAGE_H
#define TACTUS_STAGES_STAGE_H

#include "lsm/value_block.h"
#include "queues/block_pool.h"
#include "queues/event_count.h"
#include "queues/ring.h"
#include "stages/level0_cache.h"
#include "stages/profile.h"
#include "stages/rate.h"
#include "stages/storage.h"

enum tac_stage_id {
    TAC_STAGE_READ,
    TAC_STAGE_MERGE,
    TAC_STAGE_WRITE,
    TAC_STAGE_COORDINATOR,
    TAC_STAGE_COUNT,
};
tac_static_assert(TAC_STAGE_READ == (int)TACTUS_STAGE_READ &&
                      TAC_STAGE_MERGE == (int)TACTUS_STAGE_MERGE &&
                      TAC_STAGE_WRITE == (int)TACTUS_STAGE_WRITE &&
                      TAC_STAGE_COORDINATOR == (int)TACTUS_STAGE_COORDINATOR &&
                      TAC_STAGE_COUNT == (int)TACTUS_STAGES,
                  "the public names are these");
#define TAC_STAGES_WITH_QUEUE 3

/* First member of everything that travels in a stage queue or a list. */
struct tac_link {
    struct tac_link *next;
};

/* A list that anybody may push to and one party empties whole: no ABA, since nothing is popped
 * singly. Last in, first out. */
struct tac_stack {
    void *top; /* struct tac_link *; void for the atomic helpers */
};
void             tac_stack_push(struct tac_stack *stack, struct tac_link *link);
struct tac_link *tac_stack_take_all(struct tac_stack *stack);

struct tac_stage_queue {
    struct tac_ring  ring;
    struct tac_stack overflow;
};

/* Who a finished request goes back to. Only its current runner touches the rest of an owner. */
struct tac_actor {
    uint32_t         wake;    /* enum tac_wake; atomic */
    struct tac_stack mailbox; /* Finished requests */
    bool             is_coordinator;
};

enum tac_wake {
    TAC_WAKE_IDLE,     /* Nobody runs it, it is in no queue */
    TAC_WAKE_QUEUED,   /* In a queue, to be run */
    TAC_WAKE_RUNNING,  /* A worker runs it */
    TAC_WAKE_NOTIFIED, /* A worker runs it, and there is mail it may not have seen */
    TAC_WAKE_OVER,     /* Its job is over: it is the coordinator's, no wake-up reaches it */
};

enum tac_request_kind {
    TAC_REQUEST_READ,   /* Blocks of one kind, checked against their references */
    TAC_REQUEST_GATHER, /* Fills one block from the immutable memtable; no I/O */
    TAC_REQUEST_WRITE,
    TAC_REQUEST_SYNC,
};

/* One I/O of up to TAC_IO_SEGMENTS_MAX neighbouring blocks. Memory of its owner. */
struct tac_request {
    struct tac_link       link; /* First: the request travels */
    struct tac_io         io;
    enum tac_request_kind kind;
    struct tac_actor     *owner;
    void                 *source; /* The owner's */
    uint32_t              transfer_bytes; /* Of each block; less than block_size for superblocks */
    uint32_t              block_count;
    struct tac_block     *blocks[TAC_IO_SEGMENTS_MAX];
    enum tac_block_kind   block_kinds[TAC_IO_SEGMENTS_MAX]; /* 0: not a block (a superblock) */
    struct tac_block_reference references[TAC_IO_SEGMENTS_MAX]; /* Reads: what must be found */
    /* Outcome */
    int      result;      /* 0 or a code of tactus.h */
    int      os_error;
    uint32_t failed_block; /* Of a read that failed: which of the blocks */
    uint64_t submitted_ns; /* Of a sync */
};

/* Who keeps pages of value blocks in memory for readers (reading/page_keeper.h). A merge says which
 * blocks it takes in; where most of their pages were there, it has those that it writes put in their
 * place. So a compaction leaves no reader with cold pages. Any thread, many at a time. */
struct tac_page_keeper {
    void *context; /* NULL: nobody does */
    /* How many of the block's pages are there. They will soon be of no more use. */
    uint32_t (*leave)(void *context, uint32_t tree, uint64_t address,
                      const struct tac_value_block *block);
    /* block: data and page_count are enough. */
    void (*enter)(void *context, uint32_t tree, uint64_t address,
                  const struct tac_value_block *block);
    /* An index or filter block of a table of which a value block has been put there. */
    void (*enter_other)(void *context, enum tac_block_kind kind,
                        const struct tac_block_reference *reference, const uint8_t *data);
};

struct tac_stages {
    /* Fixed at open. */
    struct tac_geometry    geometry;
    struct tac_storage    *storage;
    bool                   assist;
    struct tac_page_keeper keeper;
    const struct tac_seat *seats; /* Only to tell what they wait for */
    uint32_t               seat_count;
    struct tac_level0_cache level0_cache; /* Any thread */
    struct tac_rate         rate;         /* Of reads and writes; any thread */
    /* Coordinator, while no job runs. */
    bool memtable_is_read; /* By readers, so that what is flushed of it counts as kept */
    /* Shared. */
    struct tac_stage_queue queues[TAC_STAGES_WITH_QUEUE];
    struct tac_event_count *events[TAC_STAGE_COUNT]; /* Idle threads of each home */
    struct tac_stack        done;      /* Seats whose job is over, for the coordinator */
    struct tac_stack        stalled;   /* Seats without credit */
    uint64_t credit_bytes TAC_CACHE_ALIGNED;   /* Set by the coordinator */
    uint64_t consumed_bytes TAC_CACHE_ALIGNED; /* Added to by merges */
    uint64_t credit_waits;
    uint32_t is_stopped; /* Atomic: nothing more is written (rule R8) */
    uint64_t written_bytes; /* Atomic: by the write stage since open */
    uint64_t sync_ns_max;   /* Atomic: its longest sync */
    /* The one application thread that waits for the work of earlier beats (it has the commit
     * lock). */
    uint64_t                consumed_target; /* 0: nobody waits; else wake it at that much */
    struct tac_event_count *progress;
};

/* One thread's, or one virtual worker's, place in the stages. */
struct tac_worker {
    struct tac_stages   *stages;
    enum tac_stage_id    home;
    struct tac_io_queue *io;
    /* The coordinator's step, for the worker at home there. */
    bool (*coordinator_step)(void *context);
    void *coordinator_context;
    enum tac_stage_id  unsent; /* Whose request the next reap hands to the device; COUNT: none */
    struct tac_profile profile;
};

TAC_MUST_CHECK int tac_stages_create(struct tac_stages *stages, uint32_t ring_size,
                                     struct tac_error *error);
void               tac_stages_destroy(struct tac_stages *stages);

/* Hands an item to a stage and wakes somebody for it. Any thread. */
void tac_stage_push(struct tac_stages *stages, enum tac_stage_id stage, struct tac_link *link);
/* NULL: nothing there now. */
struct tac_link *tac_stage_pop(struct tac_stages *stages, enum tac_stage_id stage);

/* Mail for an actor: pushes the request and sees that the actor will run. */
void tac_actor_deliver(struct tac_stages *stages, struct tac_request *request);
/* Coordinator: sets an actor going that is over, or has never run. */
void tac_actor_start(struct tac_stages *stages, struct tac_actor *actor);
/* Puts an actor that may be idle where it will be run. */
void tac_actor_wake(struct tac_stages *stages, struct tac_actor *actor);
void tac_coordinator_wake(struct tac_stages *stages);

/* Sets the credit and puts stalled seats back to work. Coordinator. */
void tac_stages_grant(struct tac_stages *stages, uint64_t credit_bytes);

/* From now on the write stage gives back what it finds, with TACTUS_EPOISONED, and submits nothing.
 * It does so itself when a write or a sync has failed: once that is in its owner's mailbox, so that
 * whoever is refused comes after the cause. For good; any thread. */
void tac_stages_stop(struct tac_stages *stages);
bool tac_stages_are_stopped(struct tac_stages *stages);

/* One unit of work; false: nothing to do for this stage now. */
bool tac_read_step(struct tac_worker *worker);
bool tac_merge_step(struct tac_worker *worker);
bool tac_write_step(struct tac_worker *worker);
/* Completions of the worker's own I/O queue. */
bool tac_reap_step(struct tac_worker *worker);

/* One turn of a worker: its completions, its home, and with `assist` the other stages. False: it
 * found nothing to do. */
bool tac_worker_step(struct tac_worker *worker);
/* What a thread waits for that is about to sleep. In the merge stage it is what the seats wait for:
 * work, if fewer of them wait than threads sleep; credit, if any does, since then no block that
 * comes will be merged; else blocks that are read or that are written, whatever more wait for. */
enum tac_wait tac_worker_wait(const struct tac_worker *worker);

#endif
