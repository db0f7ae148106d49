/* SPDX-License-Identifier: Apache-2.0 */
/* stage -- see stage.h.
 *
 * note: actor-wake
 * A delivery pushes its request into the mailbox (a seq_cst RMW) and then tries to change `wake`
 * (again an RMW). A runner sets `wake` to RUNNING (RMW) and then empties the mailbox (RMW). All
 * four are in one total order, so either the runner finds the request, or the deliverer finds
 * RUNNING and leaves NOTIFIED behind, which the runner meets when it tries to become IDLE. A runner
 * that finds the last request may end the job before its deliverer has come to `wake`: it leaves
 * OVER there, so that nobody runs a seat that is the coordinator's. In the seat's next job a
 * wake-up as late as that is one too many, which does no harm.
 *
 * note: stalled-credit
 * A merge without credit pushes its seat on `stalled` and then looks at the credit once more; a
 * grant raises the credit and then empties `stalled`. Both orders are store, then look, with
 * seq_cst RMWs, so one of the two sees the other and the seat goes back to the merge queue. */
#include "stages/stage.h"

#include <stddef.h>
#include <string.h>

#include "base/clock.h"
#include "base/mutant.h"
#include "queues/atomics.h"
#include "stages/seat.h"

void tac_stack_push(struct tac_stack *stack, struct tac_link *link)
{
    void *top = tac_atomic_load_acquire_ptr(&stack->top);

    do { /* Each failed turn means that another push or take succeeded. */
        link->next = top;
    } while (!tac_atomic_compare_exchange_ptr(&stack->top, &top, link));
}

struct tac_link *tac_stack_take_all(struct tac_stack *stack)
{
    return tac_atomic_exchange_ptr(&stack->top, NULL);
}

int tac_stages_create(struct tac_stages *stages, uint32_t ring_size, struct tac_error *error)
{
    for (uint32_t i = 0; i < TAC_STAGES_WITH_QUEUE; i++) {
        if (!tac_ring_create(&stages->queues[i].ring, ring_size)) {
            while (i > 0) {
                tac_ring_destroy(&stages->queues[--i].ring);
            }
            return tac_error_set(error, TACTUS_ENOMEM, "out of memory for the rings of the stages");
        }
        stages->queues[i].overflow.top = NULL;
    }
    tac_rate_create(&stages->rate, 0);
    return TACTUS_OK;
}

void tac_stages_destroy(struct tac_stages *stages)
{
    for (uint32_t i = 0; i < TAC_STAGES_WITH_QUEUE; i++) {
        tac_assert(stages->queues[i].overflow.top == NULL);
        tac_assert(tac_ring_count(&stages->queues[i].ring) == 0);
        tac_ring_destroy(&stages->queues[i].ring);
    }
    tac_rate_destroy(&stages->rate);
}

/* One sleeper at home in the stage; else, with assist, one of another stage's. */
static void stage_notify(struct tac_stages *stages, enum tac_stage_id stage)
{
    if (tac_event_count_notify(stages->events[stage], 1) > 0 || !stages->assist) {
        return;
    }
    for (uint32_t other = 0; other < TAC_STAGES_WITH_QUEUE; other++) {
        if (other != stage && tac_event_count_notify(stages->events[other], 1) > 0) {
            return;
        }
    }
}

void tac_stage_push(struct tac_stages *stages, enum tac_stage_id stage, struct tac_link *link)
{
    struct tac_stage_queue *queue = &stages->queues[stage];

    tac_assert(stage < TAC_STAGES_WITH_QUEUE);
    tac_assert(link != NULL);
    link->next = NULL;
    if (!tac_ring_try_push_mp(&queue->ring, link)) {
        tac_stack_push(&queue->overflow, link);
    }
    stage_notify(stages, stage);
}

struct tac_link *tac_stage_pop(struct tac_stages *stages, enum tac_stage_id stage)
{
    struct tac_stage_queue *queue = &stages->queues[stage];
    struct tac_link        *first, *rest;
    void                   *item;

    tac_assert(stage < TAC_STAGES_WITH_QUEUE);
    if (tac_ring_try_pop_mc(&queue->ring, &item)) {
        return item;
    }
    if (tac_atomic_load_acquire_ptr(&queue->overflow.top) == NULL) {
        return NULL;
    }
    first = tac_stack_take_all(&queue->overflow);
    if (first == NULL) {
        return NULL;
    }
    /* Others may have looked and found nothing while we held the list: push with a wake-up. */
    rest = first->next;
    while (rest != NULL) {
        struct tac_link *next = rest->next;

        tac_stage_push(stages, stage, rest);
        rest = next;
    }
    return first;
}

void tac_coordinator_wake(struct tac_stages *stages)
{
    tac_event_count_notify(stages->events[TAC_STAGE_COORDINATOR], 1);
}

static struct tac_seat *seat_of(struct tac_actor *actor)
{
    return (struct tac_seat *)((char *)actor - offsetof(struct tac_seat, actor));
}

void tac_actor_start(struct tac_stages *stages, struct tac_actor *actor)
{
    uint32_t wake = tac_atomic_exchange_u32(&actor->wake, TAC_WAKE_QUEUED);

    tac_assert(wake == TAC_WAKE_OVER || wake == TAC_WAKE_IDLE);
    tac_stage_push(stages, TAC_STAGE_MERGE, &seat_of(actor)->link);
}

void tac_actor_wake(struct tac_stages *stages, struct tac_actor *actor)
{
    uint32_t expected;

    if (actor->is_coordinator) {
        tac_coordinator_wake(stages);
        return;
    }
    for (;;) { /* Each turn another party has changed `wake`: at most a few turns. */
        expected = TAC_WAKE_IDLE;
        if (tac_atomic_compare_exchange_u32(&actor->wake, &expected, TAC_WAKE_QUEUED)) {
            tac_stage_push(stages, TAC_STAGE_MERGE, &seat_of(actor)->link);
            return;
        }
        if (expected != TAC_WAKE_RUNNING) {
            tac_assert(expected == TAC_WAKE_QUEUED || expected == TAC_WAKE_NOTIFIED ||
                       expected == TAC_WAKE_OVER);
            return; /* It looks into the mailbox after this, or has done so: note actor-wake. */
        }
        if (TAC_MUTANT(WAKE_LOST) ||
            tac_atomic_compare_exchange_u32(&actor->wake, &expected, TAC_WAKE_NOTIFIED)) {
            return;
        }
    }
}

void tac_actor_deliver(struct tac_stages *stages, struct tac_request *request)
{
    struct tac_actor *owner = request->owner;

    tac_stack_push(&owner->mailbox, &request->link);
    tac_actor_wake(stages, owner); /* The request is the owner's again: not touched any more. */
}

/* Every seat on the stalled list back to the merge queue. */
static void stalled_release(struct tac_stages *stages)
{
    struct tac_link *link = tac_stack_take_all(&stages->stalled);

    while (link != NULL) {
        struct tac_link *next = link->next;

        tac_stage_push(stages, TAC_STAGE_MERGE, link);
        link = next;
    }
}

void tac_stages_grant(struct tac_stages *stages, uint64_t credit_bytes)
{
    tac_atomic_exchange_u64(&stages->credit_bytes, credit_bytes);
    stalled_release(stages); /* note stalled-credit */
}

void tac_stages_stop(struct tac_stages *stages) { tac_atomic_exchange_u32(&stages->is_stopped, 1); }

bool tac_stages_are_stopped(struct tac_stages *stages)
{
    return tac_atomic_load_acquire_u32(&stages->is_stopped) != 0;
}

static bool has_credit(struct tac_stages *stages)
{
    return tac_atomic_fetch_add_u64(&stages->consumed_bytes, 0) <
           tac_atomic_fetch_add_u64(&stages->credit_bytes, 0);
}

/* A turn of the seat, with what it did and what it waits for now. */
static enum tac_seat_outcome seat_run(struct tac_worker *worker, struct tac_seat *seat)
{
    static const enum tac_wait waits[] = {
        [TAC_SEAT_RUN_AGAIN] = TAC_WAIT_WORK,       [TAC_SEAT_RUN_WAIT_READ] = TAC_WAIT_READ,
        [TAC_SEAT_RUN_WAIT_WRITE] = TAC_WAIT_WRITE, [TAC_SEAT_RUN_STALLED] = TAC_WAIT_CREDIT,
        [TAC_SEAT_RUN_OVER] = TAC_WAIT_WORK,
    };
    uint64_t              consumed = tac_merge_consumed_bytes(seat->merge);
    enum tac_seat_outcome outcome;

    tac_atomic_store_relaxed_u32(&seat->waits_for, TAC_WAIT_WORK);
    outcome = tac_seat_run(seat, has_credit(worker->stages));
    tac_atomic_store_relaxed_u32(&seat->waits_for, waits[outcome]);
    tac_profile_count(&worker->profile, TAC_STAGE_MERGE,
                      tac_merge_consumed_bytes(seat->merge) - consumed);
    return outcome;
}

bool tac_merge_step(struct tac_worker *worker)
{
    struct tac_stages *stages = worker->stages;
    struct tac_link   *link = tac_stage_pop(stages, TAC_STAGE_MERGE);
    struct tac_seat   *seat = (struct tac_seat *)link;
    uint32_t           expected = TAC_WAKE_RUNNING;
    uint32_t           wake;

    if (link == NULL) {
        return false;
    }
    wake = tac_atomic_exchange_u32(&seat->actor.wake, TAC_WAKE_RUNNING);
    tac_assert(wake == TAC_WAKE_QUEUED);
    switch (seat_run(worker, seat)) {
    case TAC_SEAT_RUN_AGAIN:
        tac_atomic_exchange_u32(&seat->actor.wake, TAC_WAKE_QUEUED);
        tac_stage_push(stages, TAC_STAGE_MERGE, &seat->link);
        return true;
    case TAC_SEAT_RUN_WAIT_READ:
    case TAC_SEAT_RUN_WAIT_WRITE:
        if (!tac_atomic_compare_exchange_u32(&seat->actor.wake, &expected, TAC_WAKE_IDLE)) {
            tac_assert(expected == TAC_WAKE_NOTIFIED);
            tac_atomic_exchange_u32(&seat->actor.wake, TAC_WAKE_QUEUED);
            tac_stage_push(stages, TAC_STAGE_MERGE, &seat->link);
        }
        return true;
    case TAC_SEAT_RUN_STALLED:
        tac_atomic_fetch_add_u64(&stages->credit_waits, 1);
        tac_atomic_exchange_u32(&seat->actor.wake, TAC_WAKE_QUEUED);
        tac_stack_push(&stages->stalled, &seat->link);
        if (!TAC_MUTANT(STALL_UNSEEN) && has_credit(stages)) { /* note stalled-credit */
            stalled_release(stages);
        }
        return true;
    case TAC_SEAT_RUN_OVER:
        tac_atomic_exchange_u32(&seat->actor.wake, TAC_WAKE_OVER);
        tac_stack_push(&stages->done, &seat->link);
        tac_coordinator_wake(stages); /* The seat is the coordinator's now. */
        return true;
    }
    tac_unreachable();
}

/* ---- I/O ------------------------------------------------------------------------------------ */

static void request_submit(struct tac_worker *worker, struct tac_request *request,
                           enum tac_io_kind kind)
{
    struct tac_stages *stages = worker->stages;
    struct tac_io     *io = &request->io;
    enum tac_stage_id  stage = kind == TAC_IO_READ ? TAC_STAGE_READ : TAC_STAGE_WRITE;
    uint32_t           block_size = stages->geometry.block_size;

    memset(io, 0, sizeof *io);
    io->kind = kind;
    io->owner = request;
    io->segment_count = request->block_count;
    io->size_bytes = (uint64_t)request->block_count * request->transfer_bytes;
    io->offset_bytes = request->references[0].address * block_size;
    for (uint32_t i = 0; i < request->block_count; i++) {
        tac_assert(request->references[i].address == request->references[0].address + i);
        tac_assert(request->transfer_bytes == block_size || request->block_count == 1);
        io->segments[i] = (struct iovec){request->blocks[i]->data, request->transfer_bytes};
    }
    if (stages->storage->ops->submit(worker->io, io)) {
        worker->unsent = stage;
        tac_rate_take(&stages->rate, io->size_bytes);
    } else { /* Refused: back to the queue; nothing relies on the order of requests. */
        tac_stage_push(stages, stage, &request->link);
    }
}

static bool queue_has_room(const struct tac_worker *worker)
{
    return worker->io->in_flight < worker->io->depth;
}

/* Fills the blocks of a read with what is kept in memory; false: one is not there, or is not what
 * the request is to find. */
static bool read_from_level0_cache(struct tac_stages *stages, struct tac_request *request)
{
    for (uint32_t i = 0; i < request->block_count; i++) {
        const struct tac_block_reference *reference = &request->references[i];
        struct tac_block                 *block = request->blocks[i];

        if (!tac_level0_cache_take(&stages->level0_cache, reference->address, block) ||
            (!TAC_MUTANT(CACHED_BLOCK_BELIEVED) &&
             tac_block_verify(block->data, &stages->geometry, request->block_kinds[i], reference,
                              NULL) != TACTUS_OK)) {
            return false;
        }
    }
    tac_atomic_fetch_add_u64(&stages->level0_cache.hit_count, request->block_count);
    return true;
}

bool tac_read_step(struct tac_worker *worker)
{
    struct tac_request *request;

    if (!queue_has_room(worker) || !tac_rate_is_open(&worker->stages->rate)) {
        return false;
    }
    request = (struct tac_request *)tac_stage_pop(worker->stages, TAC_STAGE_READ);
    if (request == NULL) {
        return false;
    }
    if (request->kind == TAC_REQUEST_GATHER) {
        uint64_t bytes = tac_seat_gather(request);

        tac_actor_deliver(worker->stages, request);
        tac_profile_count_gather(&worker->profile, bytes);
        return true;
    }
    tac_assert(request->kind == TAC_REQUEST_READ);
    if (read_from_level0_cache(worker->stages, request)) {
        tac_profile_count(&worker->profile, TAC_STAGE_READ, 0);
        tac_actor_deliver(worker->stages, request);
        return true;
    }
    request_submit(worker, request, TAC_IO_READ);
    return true;
}

bool tac_write_step(struct tac_worker *worker)
{
    struct tac_stages  *stages = worker->stages;
    struct tac_request *request;

    if (!queue_has_room(worker) ||
        (!tac_stages_are_stopped(stages) && !tac_rate_is_open(&stages->rate))) {
        return false;
    }
    request = (struct tac_request *)tac_stage_pop(stages, TAC_STAGE_WRITE);
    if (request == NULL) {
        return false;
    }
    if (tac_stages_are_stopped(stages) && !TAC_MUTANT(WRITES_GO_ON)) {
        request->result = TACTUS_EPOISONED;
        request->os_error = 0;
        tac_actor_deliver(stages, request);
        return true;
    }
    if (request->kind == TAC_REQUEST_SYNC) {
        request->submitted_ns = tac_clock_now_ns();
        request_submit(worker, request, TAC_IO_SYNC);
        return true;
    }
    tac_assert(request->kind == TAC_REQUEST_WRITE);
    for (uint32_t i = 0; i < request->block_count; i++) {
        /* Between seal and write a buffer is nobody's: a change here would be a bug of ours. */
        tac_assert_slow(request->block_kinds[i] == 0 ||
                        tac_block_verify(request->blocks[i]->data, &stages->geometry,
                                         request->block_kinds[i], &request->references[i],
                                         NULL) == TACTUS_OK);
    }
    request_submit(worker, request, TAC_IO_WRITE);
    return true;
}

/* Checks what was read against the references; a block that does not match is read once more, and
 * so is each one of a request that failed (rule R8). */
static void read_check(struct tac_stages *stages, struct tac_request *request)
{
    uint32_t block_size = stages->geometry.block_size;
    bool     is_read = request->result == TACTUS_OK;

    tac_static_assert(TAC_READ_ATTEMPTS == 2, "once in the queue, once here");
    request->result = TACTUS_OK;
    for (uint32_t i = 0; i < request->block_count; i++) {
        const struct tac_block_reference *reference = &request->references[i];
        enum tac_block_kind               kind = request->block_kinds[i];
        uint8_t                          *data = request->blocks[i]->data;

        if (is_read &&
            tac_block_verify(data, &stages->geometry, kind, reference, NULL) == TACTUS_OK) {
            continue;
        }
        if (stages->storage->ops->read(stages->storage, data, block_size,
                                       reference->address * block_size, NULL) != TACTUS_OK) {
            request->result = TACTUS_EIO;
        } else if (tac_block_verify(data, &stages->geometry, kind, reference, NULL) != TACTUS_OK) {
            request->result = TACTUS_ECORRUPT;
        }
        if (request->result != TACTUS_OK) {
            request->failed_block = i;
            return;
        }
    }
}

static enum tac_stage_id io_stage(const struct tac_io *io)
{
    return io->kind == TAC_IO_READ ? TAC_STAGE_READ : TAC_STAGE_WRITE;
}

static void sync_time_note(struct tac_stages *stages, const struct tac_request *request)
{
    uint64_t elapsed_ns = tac_clock_now_ns() - request->submitted_ns;
    uint64_t longest_ns = tac_atomic_load_relaxed_u64(&stages->sync_ns_max);

    /* Each failed turn means that another sync's time has come in. */
    while (elapsed_ns > longest_ns &&
           !tac_atomic_compare_exchange_u64(&stages->sync_ns_max, &longest_ns, elapsed_ns)) {
    }
}

static void io_finished(struct tac_worker *worker, struct tac_io *io)
{
    struct tac_stages  *stages = worker->stages;
    struct tac_request *request = io->owner;
    bool                stops = io->kind != TAC_IO_READ && io->result != TACTUS_OK;

    if (TAC_MUTANT(SYNC_ERROR_LOST) && io->kind == TAC_IO_SYNC) {
        io->result = TACTUS_OK;
        stops = false;
    }
    tac_profile_count(&worker->profile, io_stage(io), io->result == TACTUS_OK ? io->size_bytes : 0);
    request->result = io->result;
    request->os_error = io->os_error;
    switch (request->kind) {
    case TAC_REQUEST_READ:
        read_check(stages, request);
        break;
    case TAC_REQUEST_WRITE:
        tac_atomic_fetch_add_u64(&stages->written_bytes, io->size_bytes);
        break;
    case TAC_REQUEST_SYNC:
        sync_time_note(stages, request);
        break;
    case TAC_REQUEST_GATHER:
        tac_unreachable();
    }
    tac_actor_deliver(stages, request);
    if (stops) {
        tac_stages_stop(stages);
    }
}

bool tac_reap_step(struct tac_worker *worker)
{
    struct tac_io *list = NULL;
    uint32_t       count;

    if (worker->io == NULL || worker->io->in_flight == 0) {
        return false;
    }
    count = worker->stages->storage->ops->reap(worker->io, &list);
    if (worker->unsent != TAC_STAGE_COUNT) {
        /* The system call is a part of the request that it was made for. */
        tac_profile_lap(&worker->profile, worker->unsent);
        worker->unsent = TAC_STAGE_COUNT;
    }
    while (list != NULL) {
        struct tac_io    *next = list->next;
        enum tac_stage_id stage = io_stage(list);

        io_finished(worker, list); /* The request is its owner's. */
        if (next == NULL || io_stage(next) != stage) {
            tac_profile_lap(&worker->profile, stage);
        }
        list = next;
    }
    return count > 0;
}

/* ---- a worker's turn ------------------------------------------------------------------------ */

static bool stage_step(struct tac_worker *worker, enum tac_stage_id stage)
{
    static bool (*const step[TAC_STAGES_WITH_QUEUE])(struct tac_worker *) = {
        [TAC_STAGE_READ] = tac_read_step,
        [TAC_STAGE_MERGE] = tac_merge_step,
        [TAC_STAGE_WRITE] = tac_write_step,
    };

    if (!step[stage](worker)) {
        return false;
    }
    tac_profile_lap(&worker->profile, stage);
    return true;
}

static bool coordinator_step(struct tac_worker *worker)
{
    if (!worker->coordinator_step(worker->coordinator_context)) {
        return false;
    }
    tac_profile_count(&worker->profile, TAC_STAGE_COORDINATOR, 0);
    tac_profile_lap(&worker->profile, TAC_STAGE_COORDINATOR);
    return true;
}

bool tac_worker_step(struct tac_worker *worker)
{
    /* Whom to help first: writes free blocks, merges use what was read, reads come last. */
    static const enum tac_stage_id order[] = {TAC_STAGE_WRITE, TAC_STAGE_MERGE, TAC_STAGE_READ};
    bool                           progressed = tac_reap_step(worker);

    if (worker->home == TAC_STAGE_COORDINATOR) {
        return coordinator_step(worker) || progressed;
    }
    if (stage_step(worker, worker->home)) {
        return true;
    }
    for (uint32_t i = 0; worker->stages->assist && i < TAC_STAGES_WITH_QUEUE; i++) {
        if (order[i] != worker->home && stage_step(worker, order[i])) {
            return true;
        }
    }
    return progressed;
}

static enum tac_wait seats_wait(const struct tac_stages *stages)
{
    uint32_t counts[TAC_WAIT_COUNT] = {0};

    for (uint32_t i = 0; i < stages->seat_count; i++) {
        counts[tac_atomic_load_relaxed_u32(&stages->seats[i].waits_for)]++;
    }
    if (stages->seat_count - counts[TAC_WAIT_WORK] <
        tac_event_count_parked(stages->events[TAC_STAGE_MERGE])) {
        return TAC_WAIT_WORK; /* Even if all came back, one thread would be left over. */
    }
    if (counts[TAC_WAIT_CREDIT] > 0) {
        return TAC_WAIT_CREDIT;
    }
    if (counts[TAC_WAIT_WRITE] > counts[TAC_WAIT_READ]) {
        return TAC_WAIT_WRITE;
    }
    return counts[TAC_WAIT_READ] > 0 ? TAC_WAIT_READ : TAC_WAIT_WORK;
}

enum tac_wait tac_worker_wait(const struct tac_worker *worker)
{
    switch (worker->home) {
    case TAC_STAGE_READ:
    case TAC_STAGE_WRITE:
        return worker->io->in_flight > 0 ? TAC_WAIT_DEVICE : TAC_WAIT_WORK;
    case TAC_STAGE_MERGE:
        return seats_wait(worker->stages);
    case TAC_STAGE_COORDINATOR:
        return TAC_WAIT_WORK;
    case TAC_STAGE_COUNT:
        break;
    }
    tac_unreachable();
}
