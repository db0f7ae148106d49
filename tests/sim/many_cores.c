/* SPDX-License-Identifier: Apache-2.0 */
/* many_cores -- see many_cores.h. The clock of the bars (coordinator and writer) is in
 * many_cores_clock.c. */
#include "tests/sim/many_cores_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/units.h"

struct cores_costs cores_costs_default(void)
{
    return (struct cores_costs){.merge_ns = 103,
                                .gather_ns = 115,
                                .verify_ns = 22,
                                .request_ns = 10000,
                                .turn_ns = 500,
                                .wake_ns = 20000,
                                .plan_ns = 700000,
                                .plan_table_ns = 800,
                                .commit_ns = 300000,
                                .checkpoint_ns = 4000000,
                                .latency_ns = 100000};
}

struct cores_machine cores_machine_assisting(uint32_t threads)
{
    uint32_t side = (uint32_t)tac_max_u64(threads / 4, threads >= 3);

    return (struct cores_machine){.threads_read = side,
                                  .threads_merge = threads - 2 * side,
                                  .threads_write = side,
                                  .assist = true,
                                  .costs = cores_costs_default()};
}

struct cores_machine cores_machine_homes(uint32_t threads_merge)
{
    uint32_t side = (uint32_t)tac_max_u64(1, threads_merge / 2);

    return (struct cores_machine){.threads_read = side,
                                  .threads_merge = threads_merge,
                                  .threads_write = side,
                                  .assist = false,
                                  .costs = cores_costs_default()};
}

const char *cores_idle_name(enum cores_idle idle)
{
    static const char *const names[CORES_IDLE_COUNT] = {"jobs",   "seats",  "pool",
                                                        "credit", "device", "plan"};

    return names[idle];
}

/* ---- events --------------------------------------------------------------------------------- */

static bool event_is_before(const struct cores_event *a, const struct cores_event *b)
{
    return a->ns != b->ns ? a->ns < b->ns : a->number < b->number;
}

void cores_schedule(struct cores *cores, uint64_t ns, enum cores_event_kind kind, void *what)
{
    struct cores_event event = {ns, cores->event_number++, kind, what};
    uint32_t           at = cores->event_count++;

    tac_assert(ns >= cores->now && at < CORES_EVENTS_MAX);
    while (at > 0 && event_is_before(&event, &cores->events[(at - 1) / 2])) {
        cores->events[at] = cores->events[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    cores->events[at] = event;
}

static struct cores_event event_take(struct cores *cores)
{
    struct cores_event first = cores->events[0];
    struct cores_event last = cores->events[--cores->event_count];
    uint32_t           at = 0;

    tac_assert(cores->event_count < CORES_EVENTS_MAX); /* Somebody has always something to do. */
    for (;;) {                                         /* Ends: `at` goes down a tree. */
        uint32_t child = 2 * at + 1;

        if (child + 1 < cores->event_count &&
            event_is_before(&cores->events[child + 1], &cores->events[child])) {
            child++;
        }
        if (child >= cores->event_count || !event_is_before(&cores->events[child], &last)) {
            break;
        }
        cores->events[at] = cores->events[child];
        at = child;
    }
    cores->events[at] = last;
    return first;
}

/* ---- queues and workers --------------------------------------------------------------------- */

static void queue_push(struct cores_queue *queue, void *item)
{
    tac_assert(queue->count < CORES_QUEUE_MAX);
    queue->items[(queue->first + queue->count++) % CORES_QUEUE_MAX] = item;
}

static void *queue_pop(struct cores_queue *queue)
{
    void *item;

    if (queue->count == 0) {
        return NULL;
    }
    item = queue->items[queue->first];
    queue->first = (queue->first + 1) % CORES_QUEUE_MAX;
    queue->count--;
    return item;
}

static bool worker_wake_one(struct cores *cores, uint32_t home)
{
    for (uint32_t i = 0; i < cores->worker_count; i++) {
        struct cores_worker *worker = &cores->workers[i];

        if (worker->home == home && worker->state == CORES_PARKED) {
            worker->state = CORES_WOKEN;
            cores_schedule(cores, cores->now + cores->costs->wake_ns, CORES_EVENT_WORKER, worker);
            return true;
        }
    }
    return false;
}

void cores_push(struct cores *cores, uint32_t stage, void *item)
{
    queue_push(&cores->queues[stage], item);
    if (!worker_wake_one(cores, stage) && cores->assist) {
        for (uint32_t other = 0; other < TAC_STAGES_WITH_QUEUE; other++) {
            if (other != stage && worker_wake_one(cores, other)) {
                return;
            }
        }
    }
}

/* ---- the device ----------------------------------------------------------------------------- */

static void request_submit(struct cores *cores, struct cores_worker *worker,
                           struct cores_request *request)
{
    uint64_t  rate = cores->costs->device_bytes_per_s;
    uint64_t *free_at = &cores->device_free_ns[request->kind == CORES_WRITE];
    uint64_t  latency = cores->costs->latency_ns;
    uint64_t  done = cores->now;

    if (rate > 0) {
        uint64_t bytes = (uint64_t)request->blocks * cores->shape->block_size;

        done = tac_max_u64(done, *free_at) + (uint64_t)((double)bytes * 1e9 / (double)rate);
        *free_at = done;
    }
    request->worker = worker;
    worker->in_flight++;
    latency = latency / 2 + (latency == 0 ? 0 : tac_prng_below(&cores->prng, latency));
    cores_schedule(cores, done + latency, CORES_EVENT_IO, request);
}

static void request_send(struct cores *cores, struct cores_seat *seat, struct cores_source *source,
                         enum cores_request_kind kind, uint32_t blocks)
{
    struct cores_request *request = cores->requests_free;

    tac_assert(request != NULL && blocks > 0);
    cores->requests_free = request->next;
    *request =
        (struct cores_request){.kind = kind, .blocks = blocks, .seat = seat, .source = source};
    seat->outstanding++;
    cores_push(cores, kind == CORES_WRITE ? TAC_STAGE_WRITE : TAC_STAGE_READ, request);
}

/* ---- seats: reading ahead ------------------------------------------------------------------- */

/* stages/seat_source.c: tables_feed. */
static void tables_feed(struct cores *cores, struct cores_seat *seat, struct cores_source *source)
{
    uint32_t ahead = seat->read_ahead;

    while (!source->is_index_pending) {
        uint32_t left = source->table_left;
        uint32_t want = (uint32_t)tac_min_u64(ahead - cores_source_held(source), left);

        if (left == 0) {
            if (source->asked < source->blocks) {
                source->is_index_pending = true;
                request_send(cores, seat, source, CORES_INDEX, 1);
            }
            return;
        }
        want = (uint32_t)tac_min_u64(want, TAC_REQUEST_BLOCKS_MAX);
        if (want == 0 || (want < left && want < (ahead + 1) / 2 && want < TAC_REQUEST_BLOCKS_MAX &&
                          source->asked > source->taken)) {
            return;
        }
        source->asked += want;
        source->table_left -= want;
        request_send(cores, seat, source, CORES_READ, want);
    }
}

static void memtable_feed(struct cores *cores, struct cores_seat *seat, struct cores_source *source)
{
    if (!source->is_gather_pending && source->asked < source->blocks &&
        cores_source_held(source) < seat->read_ahead) {
        source->is_gather_pending = true;
        source->asked++;
        request_send(cores, seat, source, CORES_GATHER, 1);
    }
}

static void seat_feed(struct cores *cores, struct cores_seat *seat)
{
    for (uint32_t i = 0; i < seat->source_count; i++) {
        struct cores_source *source = &seat->sources[i];

        if (source->is_memtable) {
            memtable_feed(cores, seat, source);
        } else {
            tables_feed(cores, seat, source);
        }
    }
}

static void seat_mail_read(struct cores *cores, struct cores_seat *seat)
{
    while (seat->mail != NULL) {
        struct cores_request *request = seat->mail;
        struct cores_source  *source = request->source;

        seat->mail = request->next;
        seat->outstanding--;
        switch (request->kind) {
        case CORES_READ:
            source->arrived += request->blocks;
            break;
        case CORES_GATHER:
            source->arrived++;
            source->is_gather_pending = false;
            break;
        case CORES_INDEX:
            source->is_index_pending = false;
            source->table_left =
                (uint32_t)tac_min_u64(source->blocks - source->asked, cores->table_blocks);
            break;
        case CORES_WRITE:
            seat->writing -= request->blocks;
            break;
        }
        request->next = cores->requests_free;
        cores->requests_free = request;
    }
}

/* ---- seats: merging ------------------------------------------------------------------------- */

void cores_seat_start(struct cores *cores, struct cores_seat *seat, const struct model_job *job,
                      uint32_t read_ahead)
{
    uint64_t blocks = tac_max_u64(tac_div_ceil(job->bytes_consumed, cores->block_payload), 1);
    uint32_t sources = (uint32_t)tac_min_u64(tac_max_u64(job->sources, 1), blocks);

    memset(seat->sources, 0, sizeof seat->sources);
    tac_assert(sources <= TAC_SOURCES_MAX);
    seat->job = job;
    seat->read_ahead = read_ahead;
    seat->source_count = sources;
    seat->source_waiting = 0;
    seat->sources_begun = 0;
    seat->pieces = (uint32_t)blocks;
    seat->pieces_done = 0;
    seat->sealed = 0;
    seat->consumed_reported = 0;
    for (uint32_t i = 0; i < sources; i++) {
        struct cores_source *source = &seat->sources[i];

        /* A job's part of a table begins and ends within a block: one more is read. */
        source->is_memtable = job->kind == TAC_PLAN_FLUSH && i == 0;
        source->blocks = (uint32_t)((blocks + i) / sources) + !source->is_memtable;
    }
    seat->state = CORES_SEAT_QUEUED;
    cores_push(cores, TAC_STAGE_MERGE, seat);
}

/* The next block of the source that the merge waits for; at the beginning of every source. False:
 * it is not here yet. */
static bool seat_advance(struct cores *cores, struct cores_seat *seat)
{
    while (seat->source_waiting != UINT32_MAX) {
        struct cores_source *source = &seat->sources[seat->source_waiting];

        source->is_merging = false;
        if (source->taken < source->blocks) {
            if (source->taken == source->arrived) {
                seat_feed(cores, seat);
                return false;
            }
            source->taken++;
            source->is_merging = true;
        }
        seat->source_waiting = UINT32_MAX;
        if (seat->sources_begun + 1 < seat->source_count) {
            seat->source_waiting = ++seat->sources_begun;
        }
        seat_feed(cores, seat);
    }
    return true;
}

static void output_send(struct cores *cores, struct cores_seat *seat)
{
    uint32_t blocks = (uint32_t)tac_min_u64((uint64_t)seat->sealed, TAC_REQUEST_BLOCKS_MAX);

    if (blocks > 0) {
        seat->sealed -= blocks;
        seat->writing += blocks;
        request_send(cores, seat, NULL, CORES_WRITE, blocks);
    }
}

/* One turn of a seat: the time that it takes; its end is seat_turn_end. */
static uint64_t seat_turn(struct cores *cores, struct cores_seat *seat)
{
    seat_mail_read(cores, seat);
    seat->state = CORES_SEAT_RUNNING;
    seat->turn = CORES_TURN_WAIT;
    if (seat->pieces_done == seat->pieces) {
        seat->turn = seat->outstanding == 0 ? CORES_TURN_OVER : CORES_TURN_WAIT;
        return cores->costs->turn_ns;
    }
    seat_feed(cores, seat);
    if (cores->consumed >= cores->credit) {
        seat->turn = CORES_TURN_STALLED;
        return cores->costs->turn_ns;
    }
    if (!seat_advance(cores, seat)) {
        return cores->costs->turn_ns;
    }
    if (seat->writing + (uint32_t)seat->sealed >= cores->output_blocks) {
        output_send(cores, seat);
        return cores->costs->turn_ns;
    }
    seat->turn = CORES_TURN_PIECE;
    return (uint64_t)(cores->costs->merge_ns * (double)seat->job->bytes_consumed /
                      RECORDED_RECORD_BYTES / seat->pieces) +
           1;
}

static void consumption_report(struct cores *cores, struct cores_seat *seat, uint64_t consumed)
{
    consumed = tac_min_u64(consumed, seat->job->bytes_planned);
    cores->consumed += consumed - seat->consumed_reported;
    seat->consumed_reported = consumed;
    if (cores->target != 0 && cores->consumed >= cores->target) {
        cores->target = 0;
        cores_schedule(cores, cores->now + cores->costs->wake_ns, CORES_EVENT_WRITER, NULL);
    }
}

/* A block of some source is used up: the next source's turn. */
static void piece_end(struct cores *cores, struct cores_seat *seat)
{
    const struct model_job *job = seat->job;
    double blocks = (double)job->bytes_written / (double)cores->block_payload / seat->pieces;

    seat->pieces_done++;
    seat->source_waiting = seat->pieces_done % seat->source_count;
    seat->sealed += blocks;
    while (seat->sealed >= TAC_REQUEST_BLOCKS_MAX) {
        output_send(cores, seat);
    }
    consumption_report(cores, seat, job->bytes_consumed * seat->pieces_done / seat->pieces);
    if (seat->pieces_done == seat->pieces) {
        seat->sealed = seat->sealed > 0.01 ? (double)(uint64_t)(seat->sealed + 0.99) : 0;
        output_send(cores, seat);
    }
}

static void seat_turn_end(struct cores *cores, struct cores_seat *seat)
{
    enum cores_turn turn = seat->turn;

    if (turn == CORES_TURN_PIECE) {
        piece_end(cores, seat);
    }
    if (turn == CORES_TURN_OVER) {
        consumption_report(cores, seat, seat->job->bytes_planned);
        seat->state = CORES_SEAT_DONE;
        cores_coordinator_wake(cores);
    } else if (turn == CORES_TURN_STALLED && cores->consumed >= cores->credit) {
        seat->state = CORES_SEAT_STALLED;
    } else if (turn == CORES_TURN_WAIT && seat->mail == NULL) {
        seat->state = CORES_SEAT_WAITING;
    } else {
        seat->state = CORES_SEAT_QUEUED;
        cores_push(cores, TAC_STAGE_MERGE, seat);
    }
}

static void deliver(struct cores *cores, struct cores_request *request)
{
    struct cores_seat *seat = request->seat;

    request->next = seat->mail;
    seat->mail = request;
    if (seat->state == CORES_SEAT_WAITING) {
        seat->state = CORES_SEAT_QUEUED;
        cores_push(cores, TAC_STAGE_MERGE, seat);
    }
}

/* ---- a worker's turn ------------------------------------------------------------------------ */

static double block_records(const struct cores *cores)
{
    return (double)cores->block_payload / RECORDED_RECORD_BYTES;
}

/* A completion of the worker's own requests is checked, then delivered. */
static bool worker_reap(struct cores *cores, struct cores_worker *worker)
{
    struct cores_request *request = worker->completed;
    uint64_t              ns = cores->costs->request_ns / 2;

    if (request == NULL) {
        return false;
    }
    worker->completed = request->next;
    if (worker->completed == NULL) {
        worker->completed_last = NULL;
    }
    worker->delivering = request;
    worker->in_flight--;
    if (request->kind != CORES_WRITE) {
        ns += (uint64_t)(cores->costs->verify_ns * block_records(cores) * request->blocks);
    }
    cores_schedule(cores, cores->now + ns, CORES_EVENT_WORKER, worker);
    return true;
}

static bool worker_merge(struct cores *cores, struct cores_worker *worker)
{
    worker->seat = queue_pop(&cores->queues[TAC_STAGE_MERGE]);
    if (worker->seat == NULL) {
        return false;
    }
    cores_schedule(cores, cores->now + seat_turn(cores, worker->seat), CORES_EVENT_WORKER, worker);
    return true;
}

static bool worker_request(struct cores *cores, struct cores_worker *worker, uint32_t stage)
{
    struct cores_request *request;
    uint64_t              ns = cores->costs->request_ns / 2;

    if (worker->in_flight >= cores->io_depth) {
        return false;
    }
    request = queue_pop(&cores->queues[stage]);
    if (request == NULL) {
        return false;
    }
    if (request->kind == CORES_GATHER) {
        worker->delivering = request;
        ns = (uint64_t)(cores->costs->gather_ns * block_records(cores));
    } else {
        request_submit(cores, worker, request);
    }
    cores_schedule(cores, cores->now + ns, CORES_EVENT_WORKER, worker);
    return true;
}

static bool worker_step(struct cores *cores, struct cores_worker *worker, uint32_t stage)
{
    return stage == TAC_STAGE_MERGE ? worker_merge(cores, worker)
                                    : worker_request(cores, worker, stage);
}

/* What the worker's last step has brought. */
static void worker_finish(struct cores *cores, struct cores_worker *worker)
{
    struct cores_seat    *seat = worker->seat;
    struct cores_request *request = worker->delivering;

    worker->seat = NULL;
    worker->delivering = NULL;
    if (request != NULL) {
        deliver(cores, request);
    }
    if (seat != NULL) {
        seat_turn_end(cores, seat);
    }
}

/* stages/stage.c: tac_worker_step. */
static void worker_turn(struct cores *cores, struct cores_worker *worker)
{
    static const uint32_t order[] = {TAC_STAGE_WRITE, TAC_STAGE_MERGE, TAC_STAGE_READ};

    worker->state = CORES_WORKING;
    worker_finish(cores, worker);
    if (worker_reap(cores, worker) || worker_step(cores, worker, worker->home)) {
        return;
    }
    for (uint32_t i = 0; cores->assist && i < TAC_STAGES_WITH_QUEUE; i++) {
        if (order[i] != worker->home && worker_step(cores, worker, order[i])) {
            return;
        }
    }
    worker->state = CORES_PARKED;
}

static void request_completed(struct cores *cores, struct cores_request *request)
{
    struct cores_worker *worker = request->worker;

    request->next = NULL;
    if (worker->completed_last == NULL) {
        worker->completed = request;
    } else {
        worker->completed_last->next = request;
    }
    worker->completed_last = request;
    if (worker->state == CORES_PARKED) {
        worker->state = CORES_WOKEN;
        cores_schedule(cores, cores->now + cores->costs->wake_ns, CORES_EVENT_WORKER, worker);
    }
}

/* ---- measuring ------------------------------------------------------------------------------ */

/* Threads without work (without assist: merge threads), by what keeps them: each stalled or waiting
 * seat could occupy one; what is left has no seat at all. */
static void idle_count(struct cores *cores, double ns)
{
    uint32_t stalled = 0, waiting = 0, idle = 0, taken;

    for (uint32_t i = 0; i < cores->worker_count; i++) {
        const struct cores_worker *worker = &cores->workers[i];
        bool is_merging = worker->seat != NULL && worker->seat->turn == CORES_TURN_PIECE;

        cores->merging_ns += is_merging ? ns : 0;
        if (!cores->assist && worker->home != TAC_STAGE_MERGE) {
            continue;
        }
        cores->busy_ns += worker->state == CORES_WORKING ? ns : 0;
        idle += worker->state != CORES_WORKING;
    }
    if (cores->state != CORES_PLANNED) {
        cores->idle_ns[CORES_IDLE_PLAN] += idle * ns;
        return;
    }
    for (uint32_t i = 0; i < cores->seat_count; i++) {
        stalled += cores->seats[i].state == CORES_SEAT_STALLED;
        waiting += cores->seats[i].state == CORES_SEAT_WAITING ||
                   cores->seats[i].state == CORES_SEAT_QUEUED;
    }
    taken = (uint32_t)tac_min_u64(idle, stalled);
    cores->idle_ns[CORES_IDLE_CREDIT] += taken * ns;
    idle -= taken;
    taken = (uint32_t)tac_min_u64(idle, waiting);
    cores->idle_ns[CORES_IDLE_DEVICE] += taken * ns;
    idle -= taken;
    if (cores->jobs_seated == cores->bar->job_count) {
        cores->idle_ns[CORES_IDLE_JOBS] += idle * ns;
    } else {
        cores->idle_ns[cores->lacks_blocks ? CORES_IDLE_POOL : CORES_IDLE_SEATS] += idle * ns;
    }
}

static void cores_create(struct cores *cores, const struct recorded_bars *recorded,
                         const struct cores_machine *machine, uint64_t seed)
{
    struct tactus_options options;
    uint32_t counts[TAC_STAGES_WITH_QUEUE] = {machine->threads_read, machine->threads_merge,
                                              machine->threads_write};

    tactus_options_init(&options);
    options.threads_read = machine->threads_read;
    options.threads_merge = machine->threads_merge;
    options.threads_write = machine->threads_write;
    options.assist = machine->assist;
    cores->recorded = recorded;
    cores->shape = &recorded->shape;
    cores->costs = &machine->costs;
    cores->assist = machine->assist;
    cores->prng.state = seed;
    cores->io_depth = options.io_depth;
    cores->block_payload = cores->shape->block_size / cores->shape->page_size - 1;
    cores->block_payload *= cores->shape->page_size - 64; /* Header page, page headers */
    cores->table_blocks = (uint32_t)tac_max_u64(1, recorded->table_bytes / cores->block_payload);
    cores->filter_blocks = tac_admission_filter_blocks_max(cores->shape);
    cores->output_blocks = tac_seat_output_blocks(cores->filter_blocks) - 2; /* The builder's */
    cores->seat_count = tac_admission_seats(&options);
    cores->pool_free = (uint32_t)tac_admission_pool_blocks(cores->shape, cores->seat_count);
    cores->seats = model_alloc(cores->seat_count, sizeof *cores->seats);
    cores->events = model_alloc(CORES_EVENTS_MAX, sizeof *cores->events);
    cores->requests = model_alloc(cores->pool_free, sizeof *cores->requests);
    for (uint32_t i = 0; i < cores->pool_free; i++) {
        cores->requests[i].next = cores->requests_free;
        cores->requests_free = &cores->requests[i];
    }
    for (uint32_t home = 0; home < TAC_STAGES_WITH_QUEUE; home++) {
        for (uint32_t i = 0; i < counts[home]; i++) {
            tac_assert(cores->worker_count < CORES_WORKERS_MAX);
            cores->workers[cores->worker_count++].home = home;
        }
    }
}

void cores_run(const struct recorded_bars *recorded, const struct cores_machine *machine,
               uint64_t seed, struct cores_figures *ret_figures)
{
    struct cores *cores = model_alloc(1, sizeof *cores);

    cores_create(cores, recorded, machine, seed);
    cores_clock_start(cores);
    while (cores->bars_done < recorded->bar_count) {
        struct cores_event event = event_take(cores);

        idle_count(cores, (double)(event.ns - cores->now));
        cores->now = event.ns;
        switch (event.kind) {
        case CORES_EVENT_WORKER:
            worker_turn(cores, event.what);
            break;
        case CORES_EVENT_IO:
            request_completed(cores, event.what);
            break;
        case CORES_EVENT_COORDINATOR:
            cores_coordinator_turn(cores);
            break;
        case CORES_EVENT_WRITER:
            cores_writer_turn(cores);
            break;
        }
    }
    cores_figures(cores, ret_figures);
    free(cores->seats);
    free(cores->events);
    free(cores->requests);
    free(cores);
}
