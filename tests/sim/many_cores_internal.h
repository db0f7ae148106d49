/* SPDX-License-Identifier: Apache-2.0 */
/* many_cores_internal -- shared by many_cores.c (stages, seats, device) and many_cores_clock.c
 * (coordinator and writer). */
#ifndef TACTUS_TESTS_SIM_MANY_CORES_INTERNAL_H
#define TACTUS_TESTS_SIM_MANY_CORES_INTERNAL_H

#include "base/prng.h"
#include "pipeline/admission.h"
#include "tests/sim/many_cores.h"

#define CORES_WORKERS_MAX 256
#define CORES_QUEUE_MAX 65536
#define CORES_EVENTS_MAX 65536
#define CORES_JOBS_MAX 65536

enum cores_event_kind {
    CORES_EVENT_WORKER, /* A worker's step has ended, or it wakes up */
    CORES_EVENT_IO,     /* The device has finished a request */
    CORES_EVENT_COORDINATOR,
    CORES_EVENT_WRITER,
};

struct cores_event {
    uint64_t              ns;
    uint64_t              number; /* Of two at one moment the one scheduled first comes first */
    enum cores_event_kind kind;
    void                 *what;
};

struct cores_queue {
    void    *items[CORES_QUEUE_MAX];
    uint32_t first, count;
};

enum cores_request_kind {
    CORES_READ,
    CORES_INDEX,
    CORES_GATHER,
    CORES_WRITE,
};

struct cores_request {
    enum cores_request_kind kind;
    uint32_t                blocks;
    struct cores_seat      *seat;
    struct cores_source    *source;
    struct cores_worker    *worker; /* Who has submitted it, and will reap it */
    struct cores_request   *next;
};

/* stages/seat.h: struct tac_source. All in blocks. */
struct cores_source {
    uint32_t blocks;
    uint32_t asked, arrived, taken;
    uint32_t table_left; /* Of the opened table, not asked for */
    bool     is_memtable, is_index_pending, is_gather_pending;
    bool     is_merging; /* The last one taken is not used up */
};

static inline uint32_t cores_source_held(const struct cores_source *source)
{
    return source->asked - source->taken + source->is_merging;
}

enum cores_seat_state {
    CORES_SEAT_FREE,
    CORES_SEAT_QUEUED,
    CORES_SEAT_RUNNING,
    CORES_SEAT_WAITING, /* For mail */
    CORES_SEAT_STALLED, /* For credit */
    CORES_SEAT_DONE,    /* The coordinator's */
};

enum cores_turn {
    CORES_TURN_PIECE,
    CORES_TURN_WAIT,
    CORES_TURN_STALLED,
    CORES_TURN_OVER,
};

struct cores_seat {
    enum cores_seat_state   state;
    const struct model_job *job;
    uint32_t                read_ahead, allotment;
    struct cores_source     sources[TAC_SOURCES_MAX];
    uint32_t                source_count;
    uint32_t                source_waiting; /* UINT32_MAX: none */
    uint32_t                sources_begun;
    uint32_t                pieces, pieces_done; /* A piece uses up one block of one source */
    double                  sealed;              /* Output blocks not handed to the write stage */
    uint32_t                writing;             /* Blocks with the write stage or the device */
    uint32_t                outstanding;
    uint64_t                consumed_reported;
    struct cores_request   *mail;
    enum cores_turn         turn; /* What the turn that runs will have been */
};

enum cores_worker_state {
    CORES_PARKED,
    CORES_WOKEN,
    CORES_WORKING,
};

struct cores_worker {
    enum cores_worker_state state;
    uint32_t                home; /* enum tac_stage_id */
    uint32_t                in_flight;
    struct cores_request   *completed, *completed_last; /* By the device, not reaped */
    /* What its step is about. */
    struct cores_seat    *seat;
    struct cores_request *delivering;
};

/* What the coordinator is at. */
enum cores_state {
    CORES_PLANNING,
    CORES_PLANNED,
    CORES_CHECKPOINT, /* The bar's end waits for one */
    CORES_COMMITTING,
};

struct cores {
    /* Fixed at create. */
    const struct recorded_bars *recorded;
    const struct tac_shape     *shape;
    const struct cores_costs   *costs;
    bool                        assist;
    uint32_t                    io_depth;
    uint64_t                    block_payload;
    uint32_t                    table_blocks;
    uint32_t                    filter_blocks;
    uint32_t                    output_blocks; /* A seat's, in flight */
    uint32_t                    seat_count, worker_count;
    /* Time */
    uint64_t            now, event_number;
    struct cores_event *events; /* A heap */
    uint32_t            event_count;
    struct tac_prng     prng;
    uint64_t            device_free_ns[2]; /* Reads, writes */
    /* Stages */
    struct cores_worker   workers[CORES_WORKERS_MAX];
    struct cores_queue    queues[TAC_STAGES_WITH_QUEUE];
    struct cores_seat    *seats;
    struct cores_request *requests, *requests_free;
    uint64_t              consumed, credit;
    /* Coordinator */
    const struct recorded_bar *bar; /* Planned or being planned */
    enum cores_state           state;
    bool                       is_coordinator_woken, is_end_wanted;
    uint64_t                   coordinator_free_ns; /* Until then it is busy */
    uint64_t                   checkpoint_done_ns;  /* Of the newest one begun */
    uint64_t                   job_bytes[CORES_JOBS_MAX]; /* As planned */
    uint32_t                   order[CORES_JOBS_MAX];     /* In which they are seated */
    uint32_t                   jobs_seated, jobs_done;
    bool                       lacks_blocks; /* … for the next job */
    uint32_t                   pool_free, seats_busy;
    uint32_t                   bars_done, checkpoint_waits;
    /* Writer */
    uint64_t step;
    uint64_t target;     /* It waits for that much consumption; 0: it does not */
    bool     waits_plan; /* It waits for the plan, or for its end */
    bool     is_filling; /* The event that is scheduled ends a step */
    /* Figures: thread-nanoseconds */
    double busy_ns, merging_ns, idle_ns[CORES_IDLE_COUNT];
};

void cores_schedule(struct cores *cores, uint64_t ns, enum cores_event_kind kind, void *what);
/* Hands a seat or a request to a stage and wakes somebody for it. */
void cores_push(struct cores *cores, uint32_t stage, void *item);
void cores_seat_start(struct cores *cores, struct cores_seat *seat, const struct model_job *job,
                      uint32_t read_ahead);

/* ---- many_cores_clock.c --------------------------------------------------------------------- */

void cores_clock_start(struct cores *cores);
void cores_coordinator_wake(struct cores *cores);
void cores_coordinator_turn(struct cores *cores);
void cores_writer_turn(struct cores *cores);
void cores_figures(const struct cores *cores, struct cores_figures *ret_figures);

#endif
