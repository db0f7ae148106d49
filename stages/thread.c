/* SPDX-License-Identifier: Apache-2.0 */
/* thread -- see thread.h. */
#include "stages/thread.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/thread.h"
#include "base/units.h"
#include "queues/atomics.h"

#define TIMER_NS_MAX (100 * 1000 * 1000)

/* False: the thread may not park yet. */
static bool worker_flush(struct tac_worker *worker)
{
    return worker->io == NULL || worker->stages->storage->ops->flush(worker->io);
}

/* Finishes what the thread's own I/O queue has under way: nobody else can reap it. */
static void worker_finish_io(struct tac_worker_slot *slot)
{
    struct tac_worker *worker = &slot->worker;

    while (worker->io != NULL && worker->io->in_flight > 0) {
        if (worker_flush(worker) && !tac_reap_step(worker)) {
            tac_parker_wait(&slot->parker);
        }
    }
}

static void *worker_main(void *argument)
{
    struct tac_worker_slot *slot = argument;
    struct tac_worker      *worker = &slot->worker;
    struct tac_event_count *event = worker->stages->events[worker->home];
    uint16_t                io_priority = worker->stages->storage->io_priority;

    /* The open has made sure that it may be set. */
    tac_maybe(io_priority == 0 || tac_thread_io_priority_set(io_priority));
    tac_profile_begin(&worker->profile);
    while (tac_atomic_load_acquire_u32(slot->stop) == 0) {
        enum tac_wait wait;

        if (tac_worker_step(worker)) {
            continue;
        }
        tac_event_count_prepare(event, slot->slot);
        if (tac_worker_step(worker) || tac_atomic_load_acquire_u32(slot->stop) != 0 ||
            !worker_flush(worker)) {
            tac_event_count_cancel(event, slot->slot); /* note: parking, in event_count.h */
            continue;
        }
        wait = tac_worker_wait(worker);
        tac_profile_park(&worker->profile, wait);
        tac_event_count_wait(event, slot->slot);
        tac_profile_unpark(&worker->profile, wait);
    }
    worker_finish_io(slot);
    return NULL;
}

static int slot_create(struct tac_worker_pool *pool, struct tac_stages *stages,
                       enum tac_stage_id home, uint32_t number, uint32_t io_depth,
                       struct tac_error *error)
{
    struct tac_worker_slot *slot = &pool->slots[pool->count];
    int                     wake_fd = -1;

    memset(slot, 0, sizeof *slot);
    slot->slot = number;
    slot->weight = 1;
    slot->worker.stages = stages;
    slot->worker.home = home;
    slot->worker.unsent = TAC_STAGE_COUNT;
    slot->parker.fd = -1;
    if (tac_parker_create(&slot->parker, error) != TACTUS_OK) {
        return error->code;
    }
    wake_fd = slot->parker.fd;
    if (home != TAC_STAGE_COORDINATOR &&
        stages->storage->ops->queue_new(stages->storage, io_depth, wake_fd, &slot->worker.io,
                                        error) != TACTUS_OK) {
        tac_parker_destroy(&slot->parker);
        return error->code;
    }
    pool->count++;
    return TACTUS_OK;
}

static int slots_create(struct tac_worker_pool *pool, struct tac_stages *stages,
                        const uint32_t *counts, uint32_t io_depth, struct tac_error *error)
{
    for (uint32_t home = 0; home < TAC_STAGE_COUNT; home++) {
        uint32_t count = home < TAC_STAGES_WITH_QUEUE ? counts[home] : 1;

        for (uint32_t i = 0; i < count; i++) {
            if (slot_create(pool, stages, (enum tac_stage_id)home, i, io_depth, error) !=
                TACTUS_OK) {
                return error->code;
            }
        }
    }
    return TACTUS_OK;
}

static void events_create(struct tac_worker_pool *pool, struct tac_stages *stages,
                          const uint32_t *counts)
{
    struct tac_parker *parkers[TAC_WORKERS_MAX];
    struct tac_parker *progress = &pool->progress_parker;
    uint32_t           first = 0;

    for (uint32_t home = 0; home < TAC_STAGE_COUNT; home++) {
        uint32_t count = home < TAC_STAGES_WITH_QUEUE ? counts[home] : 1;

        for (uint32_t i = 0; i < count; i++) {
            parkers[i] = &pool->slots[first + i].parker;
        }
        first += count;
        tac_event_count_create(&pool->events[home], parkers, pool->has_threads ? count : 0);
        stages->events[home] = &pool->events[home];
    }
    tac_event_count_create(&pool->progress, &progress, pool->has_threads ? 1 : 0);
    stages->progress = &pool->progress;
}

static void stepping_begin(struct tac_worker_pool *pool, const struct tac_stepping *stepping)
{
    pool->is_random = stepping->seed != 0;
    pool->prng.state = stepping->seed;
    pool->weight_total = 0;
    for (uint32_t i = 0; i < pool->count; i++) {
        /* Swarm: in some seeds a worker is hardly ever stepped. */
        static const uint32_t weights[] = {1, 4, 16, 64};

        if (pool->is_random) {
            pool->slots[i].weight = weights[tac_prng_below(&pool->prng, 4)];
        }
        pool->weight_total += pool->slots[i].weight;
    }
}

static const char *const thread_names[TAC_STAGE_COUNT] = {"tac-read", "tac-merge", "tac-write",
                                                          "tac-coord"};

/* How many workers each stage gets. Returns how many there are with the coordinator. */
static uint32_t workers_count(const struct tac_worker_counts *counts,
                              const struct tac_stepping *stepping, struct tac_stages *stages,
                              uint32_t number[TAC_STAGES_WITH_QUEUE])
{
    uint32_t total = 1;

    memcpy(number, counts->count, TAC_STAGES_WITH_QUEUE * sizeof number[0]);
    if (!counts->has_threads) {
        stages->assist = stepping->assist;
    }
    if (!counts->has_threads && counts->shared == NULL) {
        number[TAC_STAGE_READ] = stepping->workers_read;
        number[TAC_STAGE_MERGE] = stepping->workers_merge;
        number[TAC_STAGE_WRITE] = stepping->workers_write;
    }
    for (uint32_t i = 0; i < TAC_STAGES_WITH_QUEUE; i++) {
        tac_assert(counts->shared != NULL ? number[i] == 0 : number[i] >= 1);
        total += number[i];
    }
    tac_assert(total <= TAC_WORKERS_MAX);
    return total;
}

static void slots_free(struct tac_worker_pool *pool)
{
    for (uint32_t i = 0; i < pool->count; i++) {
        struct tac_worker_slot *slot = &pool->slots[i];

        if (slot->worker.io != NULL) {
            slot->worker.stages->storage->ops->queue_free(slot->worker.io);
        }
        tac_parker_destroy(&slot->parker);
    }
    free(pool->slots);
    pool->slots = NULL;
    pool->count = 0;
}

/* On failure there are none. */
static int slots_new(struct tac_worker_pool *pool, struct tac_stages *stages,
                     const uint32_t *number, uint32_t total, uint32_t io_depth,
                     struct tac_error *error)
{
    pool->count = 0;
    pool->slots = aligned_alloc(TAC_CACHE_LINE_BYTES, total * sizeof *pool->slots);
    if (pool->slots == NULL) {
        return tac_error_set(error, TACTUS_ENOMEM, "out of memory for %u workers", total);
    }
    if (slots_create(pool, stages, number, io_depth, error) != TACTUS_OK) {
        slots_free(pool);
        return error->code;
    }
    return TACTUS_OK;
}

static int threads_start(struct tac_worker_pool *pool, bool is_idle, struct tac_error *error)
{
    for (uint32_t i = 0; pool->has_threads && i < pool->count; i++) {
        struct tac_worker_slot *slot = &pool->slots[i];

        if (tac_thread_start(&slot->thread, thread_names[slot->worker.home], worker_main, slot,
                             error) != TACTUS_OK) {
            slot->thread = 0;
            return error->code;
        }
        if (is_idle && tac_thread_make_idle(slot->thread, error) != TACTUS_OK) {
            return error->code;
        }
    }
    return TACTUS_OK;
}

static void threads_end(struct tac_worker_pool *pool)
{
    tac_atomic_exchange_u32(&pool->stop, 1);
    for (uint32_t i = 0; i < pool->count; i++) {
        tac_parker_wake(&pool->slots[i].parker);
    }
    for (uint32_t i = 0; i < pool->count; i++) {
        struct tac_worker_slot *slot = &pool->slots[i];

        if (slot->thread != 0) {
            pthread_join(slot->thread, NULL);
            slot->thread = 0;
        } else {
            worker_finish_io(slot);
        }
    }
    tac_atomic_exchange_u32(&pool->stop, 0);
}

/* The slots are there; nobody runs or waits. */
static void workers_place(struct tac_worker_pool *pool, struct tac_stages *stages,
                          const uint32_t *number, const struct tac_stepping *stepping)
{
    for (uint32_t i = 0; i < pool->count; i++) {
        pool->slots[i].stop = &pool->stop;
    }
    events_create(pool, stages, number);
    stepping_begin(pool, stepping);
}

static int descriptor_refused(struct tac_error *error)
{
    return tac_error_set(error, TACTUS_ENOMEM, "the system refuses a descriptor to poll: errno %d",
                         errno);
}

static int descriptor_add(struct tac_worker_pool *pool, struct tac_error *error)
{
    for (uint32_t i = 0; i < pool->count; i++) {
        struct epoll_event event = {.events = EPOLLIN};

        if (epoll_ctl(pool->descriptor, EPOLL_CTL_ADD, pool->slots[i].parker.fd, &event) != 0) {
            return descriptor_refused(error);
        }
    }
    return TACTUS_OK;
}

static const struct tac_stepping one_each = {1, 1, 1, 0, false, 0};

int tac_worker_pool_start(struct tac_worker_pool *pool, struct tac_stages *stages,
                          const struct tac_worker_counts *counts,
                          const struct tac_stepping      *stepping,
                          bool (*coordinator_step)(void *context), void *coordinator_context,
                          struct tac_error *error)
{
    uint32_t number[TAC_STAGES_WITH_QUEUE];
    uint32_t total;

    tac_assert(counts->shared == NULL || counts->has_threads != counts->shared->is_stepped);
    memset(pool, 0, sizeof *pool);
    stepping = stepping != NULL ? stepping : &one_each;
    pool->has_threads = counts->has_threads;
    pool->progress_parker.fd = -1;
    total = workers_count(counts, stepping, stages, number);
    if (tac_parker_create(&pool->progress_parker, error) != TACTUS_OK ||
        slots_new(pool, stages, number, total, counts->io_depth, error) != TACTUS_OK) {
        tac_worker_pool_stop(pool);
        return error->code;
    }
    pool->slots[total - 1].worker.coordinator_step = coordinator_step;
    pool->slots[total - 1].worker.coordinator_context = coordinator_context;
    workers_place(pool, stages, number, stepping);
    if (counts->shared != NULL && tac_thread_pool_join(counts->shared, &pool->member, stages,
                                                       counts->io_depth, error) != TACTUS_OK) {
        tac_worker_pool_stop(pool);
        return error->code;
    }
    pool->shared = counts->shared;
    if (threads_start(pool, counts->is_idle, error) != TACTUS_OK) {
        tac_worker_pool_stop(pool);
        return error->code;
    }
    return TACTUS_OK;
}

/* First the shared threads let go of the store: what they finish wakes its coordinator. */
void tac_worker_pool_stop(struct tac_worker_pool *pool)
{
    if (pool->shared != NULL) {
        tac_thread_pool_leave(pool->shared, &pool->member);
    }
    threads_end(pool);
    slots_free(pool);
    if (pool->progress_parker.fd >= 0) {
        tac_parker_destroy(&pool->progress_parker);
    }
    if (pool->has_descriptor) {
        (void)close(pool->descriptor);
        (void)close(pool->timer);
        pool->has_descriptor = false;
    }
    pool->shared = NULL; /* The events stay: who notifies them finds nobody parked. */
}

int tac_worker_pool_change(struct tac_worker_pool *pool, struct tac_stages *stages,
                           const struct tac_worker_counts *counts,
                           const struct tac_stepping *stepping, struct tac_error *error)
{
    struct tac_worker_pool   fresh = {.slots = NULL};
    const struct tac_worker *coordinator = &pool->slots[pool->count - 1].worker;
    uint32_t                 number[TAC_STAGES_WITH_QUEUE];
    uint32_t                 total;

    tac_assert(pool->shared == NULL && counts->shared == NULL);
    stepping = stepping != NULL ? stepping : &one_each;
    total = workers_count(counts, stepping, stages, number);
    if (slots_new(&fresh, stages, number, total, counts->io_depth, error) != TACTUS_OK) {
        return error->code;
    }
    fresh.slots[total - 1].worker.coordinator_step = coordinator->coordinator_step;
    fresh.slots[total - 1].worker.coordinator_context = coordinator->coordinator_context;
    threads_end(pool);
    for (uint32_t i = 0; i < pool->count; i++) {
        struct tac_worker *worker = &pool->slots[i].worker;

        tac_profile_report(&worker->profile, worker->home, pool->ended);
    }
    slots_free(pool);
    pool->slots = fresh.slots;
    pool->count = fresh.count;
    pool->has_threads = counts->has_threads;
    workers_place(pool, stages, number, stepping);
    if (threads_start(pool, counts->is_idle, error) != TACTUS_OK) {
        threads_end(pool);
        pool->has_threads = false;
        workers_place(pool, stages, number, stepping);
        return tac_error_wrap(error, "no stage threads any more: writes do their work");
    }
    /* The parkers that have been destroyed have left it. */
    return pool->has_descriptor ? descriptor_add(pool, error) : TACTUS_OK;
}

/* ---- stepping ------------------------------------------------------------------------------- */

static struct tac_worker_slot *slot_choose(struct tac_worker_pool *pool)
{
    uint64_t point;

    if (!pool->is_random) {
        return &pool->slots[pool->turn++ % pool->count];
    }
    point = tac_prng_below(&pool->prng, pool->weight_total);
    for (uint32_t i = 0; i < pool->count; i++) {
        if (point < pool->slots[i].weight) {
            return &pool->slots[i];
        }
        point -= pool->slots[i].weight;
    }
    tac_unreachable();
}

/* Nobody found anything to do: the first worker with I/O under way waits for a completion. */
static bool wait_for_io(struct tac_worker_pool *pool)
{
    for (uint32_t i = 0; i < pool->count; i++) {
        struct tac_worker *worker = &pool->slots[i].worker;

        if (worker->io != NULL && worker->io->in_flight > 0) {
            if (worker_flush(worker)) {
                tac_parker_wait(&pool->slots[i].parker);
            }
            pool->lap_ns = tac_clock_now_ns(); /* Nobody's time: no stage did anything. */
            return true;
        }
    }
    return pool->shared != NULL && tac_thread_pool_wait_for_io(pool->shared);
}

/* The laps of all virtual workers are one behind the other: those of the thread that steps them. */
static bool slot_step(struct tac_worker_pool *pool, struct tac_worker_slot *slot)
{
    bool progressed;

    slot->worker.profile.lap_ns = pool->lap_ns;
    progressed = tac_worker_step(&slot->worker);
    pool->lap_ns = slot->worker.profile.lap_ns;
    return progressed;
}

void tac_worker_pool_enter(struct tac_worker_pool *pool, uint64_t now_ns)
{
    tac_assert(!pool->has_threads);
    pool->lap_ns = now_ns;
}

/* Some worker's: also of shared threads that are virtual, more often than the coordinator's. */
static bool chosen_step(struct tac_worker_pool *pool)
{
    if (pool->shared != NULL && tac_prng_below(&pool->prng, 4) > 0) {
        return tac_thread_pool_step(pool->shared, tac_prng_next(&pool->prng));
    }
    return slot_step(pool, slot_choose(pool));
}

static bool any_step(struct tac_worker_pool *pool)
{
    tac_assert(!pool->has_threads);
    if (chosen_step(pool)) {
        return true;
    }
    for (uint32_t i = 0; i < pool->count; i++) { /* The chosen one was idle: is everybody? */
        if (slot_step(pool, &pool->slots[i])) {
            return true;
        }
    }
    return pool->shared != NULL && tac_thread_pool_step_all(pool->shared);
}

static struct tac_rate *rate_of(struct tac_worker_pool *pool)
{
    return &pool->slots[0].worker.stages->rate;
}

/* Nothing else is to be done, and no I/O under way, but steps have met the bucket closed. */
static bool wait_for_rate(struct tac_worker_pool *pool, uint64_t closed_before)
{
    bool has_waited = tac_rate_sleep(rate_of(pool), closed_before);

    if (has_waited) {
        pool->lap_ns = tac_clock_now_ns();
    }
    return has_waited;
}

bool tac_worker_pool_step(struct tac_worker_pool *pool)
{
    uint64_t open_ns, closed = tac_rate_closed_count(rate_of(pool), &open_ns);

    return any_step(pool) || wait_for_io(pool) || wait_for_rate(pool, closed);
}

/* The descriptor can be read when the bucket opens that a step has met closed, or a little before:
 * nobody tells the timer of a change of the rate. 0: the timer is off. */
static void timer_set(struct tac_worker_pool *pool, uint64_t open_ns)
{
    uint64_t at_ns = open_ns == 0 ? 0 : tac_min_u64(open_ns, tac_clock_now_ns() + TIMER_NS_MAX);
    struct itimerspec at = {.it_value = {.tv_sec = (time_t)(at_ns / TAC_SECOND_NS),
                                         .tv_nsec = (long)(at_ns % TAC_SECOND_NS)}};
    int               rv = 0;

    if (pool->has_descriptor && !tac_rate_clock_is_replaced()) {
        rv = timerfd_settime(pool->timer, TFD_TIMER_ABSTIME, &at, NULL);
    }
    tac_assert(rv == 0);
}

bool tac_worker_pool_try_step(struct tac_worker_pool *pool)
{
    uint64_t open_ns, closed = tac_rate_closed_count(rate_of(pool), &open_ns);
    bool     is_handed_over = true;

    tac_assert(pool->shared == NULL); /* Whose threads' parkers are not looked at here. */
    timer_set(pool, 0);
    /* What is signalled from here on no step has seen yet. */
    for (uint32_t i = 0; i < pool->count; i++) {
        tac_parker_clear(&pool->slots[i].parker);
    }
    if (any_step(pool)) {
        return true;
    }
    for (uint32_t i = 0; i < pool->count; i++) {
        is_handed_over &= worker_flush(&pool->slots[i].worker);
    }
    if (tac_rate_closed_count(rate_of(pool), &open_ns) != closed) {
        timer_set(pool, open_ns);
    }
    return !is_handed_over;
}

static int descriptor_new(struct tac_worker_pool *pool, struct tac_error *error)
{
    struct epoll_event event = {.events = EPOLLIN};

    pool->descriptor = epoll_create1(EPOLL_CLOEXEC);
    pool->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (pool->descriptor < 0 || pool->timer < 0) {
        return tac_error_set(error, TACTUS_EIO,
                             "cannot make a descriptor to poll: errno %d; are there too many "
                             "open files (ulimit -n)?",
                             errno);
    }
    if (epoll_ctl(pool->descriptor, EPOLL_CTL_ADD, pool->timer, &event) != 0) {
        return descriptor_refused(error);
    }
    return descriptor_add(pool, error);
}

int tac_worker_pool_descriptor(struct tac_worker_pool *pool, int *ret_descriptor,
                               struct tac_error *error)
{
    tac_assert(!pool->has_threads && pool->shared == NULL);
    if (!pool->has_descriptor) {
        if (descriptor_new(pool, error) != TACTUS_OK) {
            (void)close(pool->descriptor);
            (void)close(pool->timer);
            return error->code;
        }
        pool->has_descriptor = true;
    }
    *ret_descriptor = pool->descriptor;
    return TACTUS_OK;
}

void tac_worker_pool_report(struct tac_worker_pool   *pool,
                            struct tactus_stage_stats stages[TACTUS_STAGES])
{
    for (uint32_t i = 0; i < TACTUS_STAGES; i++) {
        tac_stage_stats_add(&stages[i], &pool->ended[i]);
    }
    for (uint32_t i = 0; i < pool->count; i++) {
        struct tac_worker *worker = &pool->slots[i].worker;

        tac_profile_report(&worker->profile, worker->home, stages);
    }
    if (pool->shared != NULL) {
        tac_thread_pool_report(pool->shared, &pool->member, stages);
    }
}
