/* SPDX-License-Identifier: Apache-2.0 */
/* thread_pool -- see thread_pool.h. */
#include "stages/thread_pool.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mutant.h"
#include "base/thread.h"
#include "base/units.h"
#include "queues/atomics.h"

/* ---- a thread: which stores it serves -------------------------------------------------------- */

/* Takes in stores that have joined; those that leave, or all if the thread is to end, it will let
 * go of. note: membership */
static void members_follow(struct tac_pool_thread *thread)
{
    struct tac_thread_pool  *pool = thread->pool;
    struct tac_pool_worker **end = &thread->workers;

    if (tac_atomic_load_acquire_u64(&pool->version) == thread->version) {
        return;
    }
    pthread_mutex_lock(&pool->lock);
    thread->version = tac_atomic_load_relaxed_u64(&pool->version);
    thread->is_ending = thread->should_end;
    for (; *end != NULL; end = &(*end)->next) {
        (*end)->is_leaving = thread->is_ending || (*end)->member->is_leaving;
    }
    for (struct tac_pool_member *member = thread->is_ending ? NULL : pool->members; member != NULL;
         member = member->next) {
        struct tac_pool_worker *worker = member->workers[thread->number];

        if (!worker->is_held && !member->is_leaving) {
            worker->is_held = true;
            worker->is_leaving = false;
            worker->next = NULL;
            member->holder_count++;
            *end = worker;
            end = &worker->next;
        }
    }
    pthread_mutex_unlock(&pool->lock);
    /* A store's laps begin when it joins. */
    thread->lap_ns = tac_max_u64(thread->lap_ns, tac_clock_now_ns());
}

/* The worker is whoever waits for it. */
static void worker_let_go(struct tac_thread_pool *pool, struct tac_pool_worker *worker)
{
    struct tac_pool_member *member = worker->member;

    tac_assert(worker->worker.io->in_flight == 0);
    pthread_mutex_lock(&pool->lock);
    tac_assert(worker->is_held && member->holder_count > 0);
    worker->is_held = false;
    member->holder_count--;
    if (member->holder_count == 0) {
        pthread_cond_broadcast(&pool->let_go);
    }
    pthread_mutex_unlock(&pool->lock);
}

/* ---- a thread: turns and sleep --------------------------------------------------------------- */

static void busy_count(struct tac_pool_thread *thread, uint64_t busy_ns)
{
    uint64_t *word = &thread->profile.stages[thread->home].busy_ns;

    tac_atomic_store_relaxed_u64(word, tac_atomic_load_relaxed_u64(word) + busy_ns);
}

/* One step in one store. What it has submitted is handed to the device at once, not when the thread
 * comes back from its other stores. */
static bool worker_step(struct tac_pool_thread *thread, struct tac_pool_worker *worker)
{
    struct tac_worker *inner = &worker->worker;
    uint64_t           begin_ns = thread->lap_ns;
    bool               progressed;

    inner->profile.lap_ns = begin_ns;
    progressed = worker->is_leaving ? tac_reap_step(inner) : tac_worker_step(inner);
    if (inner->unsent != TAC_STAGE_COUNT) {
        progressed |= tac_reap_step(inner);
    }
    thread->lap_ns = inner->profile.lap_ns;
    busy_count(thread, thread->lap_ns - begin_ns);
    return progressed;
}

static bool thread_turn(struct tac_pool_thread *thread)
{
    struct tac_pool_worker **link = &thread->workers;
    bool                     progressed = false;

    while (*link != NULL) {
        struct tac_pool_worker *worker = *link;

        progressed |= worker_step(thread, worker);
        if (worker->is_leaving &&
            (worker->worker.io->in_flight == 0 || TAC_MUTANT(POOL_LEAVES_EARLY))) {
            *link = worker->next;
            worker_let_go(thread->pool, worker);
            progressed = true;
        } else {
            link = &worker->next;
        }
    }
    return progressed;
}

/* False: the thread may not park yet. */
static bool thread_flush(struct tac_pool_thread *thread)
{
    bool is_handed_over = true;

    for (struct tac_pool_worker *worker = thread->workers; worker != NULL; worker = worker->next) {
        struct tac_io_queue *io = worker->worker.io;

        is_handed_over &= io->storage->ops->flush(io);
    }
    return is_handed_over;
}

static void idle_begin(struct tac_pool_thread *thread, struct tac_profile *profile,
                       enum tac_wait wait)
{
    profile->lap_ns = thread->lap_ns;
    tac_profile_park(profile, wait);
}

/* The laps that follow begin where the latest of these has ended. */
static void idle_end(struct tac_pool_thread *thread, struct tac_profile *profile,
                     enum tac_wait wait)
{
    tac_profile_unpark(profile, wait);
    thread->lap_ns = tac_max_u64(thread->lap_ns, profile->lap_ns);
}

static void thread_sleep(struct tac_pool_thread *thread)
{
    struct tac_event_count *event = &thread->pool->events[thread->home];

    for (struct tac_pool_worker *worker = thread->workers; worker != NULL; worker = worker->next) {
        worker->wait = tac_worker_wait(&worker->worker);
        idle_begin(thread, &worker->worker.profile, worker->wait);
    }
    idle_begin(thread, &thread->profile, TAC_WAIT_WORK);
    tac_event_count_wait(event, thread->slot);
    for (struct tac_pool_worker *worker = thread->workers; worker != NULL; worker = worker->next) {
        idle_end(thread, &worker->worker.profile, worker->wait);
    }
    idle_end(thread, &thread->profile, TAC_WAIT_WORK);
}

/* It is to end, and has let go of all stores. */
static bool thread_is_over(const struct tac_pool_thread *thread)
{
    return thread->is_ending && thread->workers == NULL;
}

static void *thread_main(void *argument)
{
    struct tac_pool_thread *thread = argument;
    struct tac_thread_pool *pool = thread->pool;
    struct tac_event_count *event = &pool->events[thread->home];

    for (members_follow(thread); !thread_is_over(thread); members_follow(thread)) {
        if (thread_turn(thread)) {
            continue;
        }
        tac_event_count_prepare(event, thread->slot);
        if (tac_atomic_load_acquire_u64(&pool->version) != thread->version || thread_turn(thread) ||
            !thread_flush(thread)) {
            tac_event_count_cancel(event, thread->slot); /* note: parking, in event_count.h */
            continue;
        }
        thread_sleep(thread);
    }
    for (uint32_t home = 0; home < TAC_STAGES_WITH_QUEUE; home++) {
        tac_event_count_notify(&pool->events[home], 1); /* note: membership */
    }
    return NULL;
}

/* ---- virtual threads ------------------------------------------------------------------------- */

static bool thread_step(struct tac_pool_thread *thread)
{
    members_follow(thread);
    return thread_turn(thread);
}

bool tac_thread_pool_step(struct tac_thread_pool *pool, uint64_t number)
{
    uint32_t total =
        pool->count[TAC_STAGE_READ] + pool->count[TAC_STAGE_MERGE] + pool->count[TAC_STAGE_WRITE];
    uint32_t left = (uint32_t)(number % total);

    tac_assert(pool->is_stepped);
    for (uint32_t i = 0; i < TAC_POOL_THREADS_MAX; i++) {
        if (pool->threads[i].is_running && left-- == 0) {
            return thread_step(&pool->threads[i]);
        }
    }
    tac_unreachable();
}

bool tac_thread_pool_step_all(struct tac_thread_pool *pool)
{
    bool progressed = false;

    tac_assert(pool->is_stepped);
    for (uint32_t i = 0; i < TAC_POOL_THREADS_MAX; i++) {
        progressed |= pool->threads[i].is_running && thread_step(&pool->threads[i]);
    }
    return progressed;
}

static bool thread_wait_for_io(struct tac_pool_thread *thread)
{
    bool has_io = false;

    for (struct tac_pool_worker *worker = thread->workers; worker != NULL; worker = worker->next) {
        has_io |= worker->worker.io->in_flight > 0;
    }
    if (has_io && thread_flush(thread)) {
        tac_parker_wait(&thread->parker);
    }
    return has_io;
}

bool tac_thread_pool_wait_for_io(struct tac_thread_pool *pool)
{
    tac_assert(pool->is_stepped);
    for (uint32_t i = 0; i < TAC_POOL_THREADS_MAX; i++) {
        if (pool->threads[i].is_running && thread_wait_for_io(&pool->threads[i])) {
            return true;
        }
    }
    return false;
}

/* ---- workers --------------------------------------------------------------------------------- */

/* With change_lock. */
static int worker_new(struct tac_pool_thread *thread, struct tac_pool_member *member,
                      struct tac_error *error)
{
    struct tac_storage     *storage = member->stages->storage;
    struct tac_pool_worker *worker =
        aligned_alloc(TAC_CACHE_LINE_BYTES, tac_round_up(sizeof *worker, TAC_CACHE_LINE_BYTES));

    if (worker == NULL) {
        return tac_error_set(error, TACTUS_ENOMEM, "out of memory for the worker of a thread");
    }
    memset(worker, 0, sizeof *worker);
    worker->member = member;
    worker->worker.stages = member->stages;
    worker->worker.home = thread->home;
    worker->worker.unsent = TAC_STAGE_COUNT;
    if (storage->ops->queue_new(storage, member->io_depth, thread->parker.fd, &worker->worker.io,
                                error) != TACTUS_OK) {
        free(worker);
        return error->code;
    }
    pthread_mutex_lock(&thread->pool->lock);
    tac_assert(member->workers[thread->number] == NULL);
    member->workers[thread->number] = worker;
    pthread_mutex_unlock(&thread->pool->lock);
    return TACTUS_OK;
}

/* With change_lock; the thread does not hold it. If there is one. */
static void worker_free(struct tac_pool_thread *thread, struct tac_pool_member *member)
{
    struct tac_pool_worker *worker = member->workers[thread->number];

    if (worker == NULL) {
        return;
    }
    pthread_mutex_lock(&thread->pool->lock);
    tac_assert(!worker->is_held);
    tac_profile_report(&worker->worker.profile, thread->home, member->ended);
    member->workers[thread->number] = NULL;
    pthread_mutex_unlock(&thread->pool->lock);
    worker->worker.stages->storage->ops->queue_free(worker->worker.io);
    free(worker);
}

static void threads_wake(struct tac_thread_pool *pool)
{
    for (uint32_t i = 0; i < TAC_POOL_THREADS_MAX; i++) {
        if (pool->threads[i].is_running) {
            tac_parker_wake(&pool->threads[i].parker);
        }
    }
}

/* With the lock: what has been written down is to be followed. */
static void version_count(struct tac_thread_pool *pool)
{
    tac_atomic_fetch_add_u64(&pool->version, 1);
    threads_wake(pool);
}

/* ---- join and leave -------------------------------------------------------------------------- */

static void member_free(struct tac_thread_pool *pool, struct tac_pool_member *member)
{
    for (uint32_t i = 0; i < TAC_POOL_THREADS_MAX; i++) {
        worker_free(&pool->threads[i], member);
    }
}

static int member_fill(struct tac_thread_pool *pool, struct tac_pool_member *member,
                       struct tac_error *error)
{
    for (uint32_t i = 0; i < TAC_POOL_THREADS_MAX; i++) {
        if (pool->threads[i].is_running &&
            worker_new(&pool->threads[i], member, error) != TACTUS_OK) {
            return error->code;
        }
    }
    return TACTUS_OK;
}

int tac_thread_pool_join(struct tac_thread_pool *pool, struct tac_pool_member *member,
                         struct tac_stages *stages, uint32_t io_depth, struct tac_error *error)
{
    int result;

    memset(member, 0, sizeof *member);
    member->stages = stages;
    member->io_depth = io_depth;
    for (uint32_t home = 0; home < TAC_STAGES_WITH_QUEUE; home++) {
        stages->events[home] = &pool->events[home];
    }
    pthread_mutex_lock(&pool->change_lock);
    result = member_fill(pool, member, error);
    if (result == TACTUS_OK) {
        pthread_mutex_lock(&pool->lock);
        member->next = pool->members;
        pool->members = member;
        version_count(pool);
        pthread_mutex_unlock(&pool->lock);
    } else {
        member_free(pool, member);
    }
    pthread_mutex_unlock(&pool->change_lock);
    return result;
}

/* With the lock: until no thread touches the store. */
static void let_go_await(struct tac_thread_pool *pool, const struct tac_pool_member *member)
{
    while (member->holder_count > 0) {
        if (!pool->is_stepped) {
            pthread_cond_wait(&pool->let_go, &pool->lock);
            continue;
        }
        pthread_mutex_unlock(&pool->lock);
        if (!tac_thread_pool_step_all(pool)) {
            bool has_io = tac_thread_pool_wait_for_io(pool);

            tac_assert(has_io);
        }
        pthread_mutex_lock(&pool->lock);
    }
}

/* Nobody else is kept waiting while threads finish their I/O. */
void tac_thread_pool_leave(struct tac_thread_pool *pool, struct tac_pool_member *member)
{
    struct tac_pool_member **link = &pool->members;

    pthread_mutex_lock(&pool->lock);
    member->is_leaving = true;
    version_count(pool);
    let_go_await(pool, member);
    pthread_mutex_unlock(&pool->lock);

    pthread_mutex_lock(&pool->change_lock);
    pthread_mutex_lock(&pool->lock);
    while (*link != member) {
        link = &(*link)->next;
    }
    *link = member->next;
    pthread_mutex_unlock(&pool->lock);
    member_free(pool, member);
    pthread_mutex_unlock(&pool->change_lock);
}

/* ---- threads --------------------------------------------------------------------------------- */

/* With change_lock. On failure it may have some workers, and may be running. */
static int thread_begin(struct tac_pool_thread *thread, struct tac_error *error)
{
    static const char *const names[TAC_STAGES_WITH_QUEUE] = {"tac-pool-read", "tac-pool-merge",
                                                             "tac-pool-write"};
    struct tac_thread_pool  *pool = thread->pool;

    if (thread->parker.fd < 0 && tac_parker_create(&thread->parker, error) != TACTUS_OK) {
        return error->code;
    }
    for (struct tac_pool_member *member = pool->members; member != NULL; member = member->next) {
        if (worker_new(thread, member, error) != TACTUS_OK) {
            return error->code;
        }
    }
    memset(&thread->profile, 0, sizeof thread->profile);
    thread->should_end = thread->is_ending = false;
    thread->version = UINT64_MAX; /* It has followed none. */
    if (!pool->is_stepped && tac_thread_start(&thread->thread, names[thread->home], thread_main,
                                              thread, error) != TACTUS_OK) {
        return error->code;
    }
    pthread_mutex_lock(&pool->lock);
    thread->is_running = true;
    pthread_mutex_unlock(&pool->lock);
    return pool->is_idle ? tac_thread_make_idle(thread->thread, error) : TACTUS_OK;
}

static void thread_times_add(struct tac_pool_thread *thread, uint64_t *busy_ns, uint64_t *idle_ns)
{
    struct tactus_stage_stats stages[TACTUS_STAGES] = {{0}};

    tac_profile_report(&thread->profile, thread->home, stages);
    *busy_ns += stages[thread->home].busy_ns;
    *idle_ns += stages[thread->home].idle_ns;
}

/* Waits for it, and frees its workers. With change_lock. */
static void thread_end(struct tac_pool_thread *thread)
{
    struct tac_thread_pool *pool = thread->pool;

    if (thread->is_running && pool->is_stepped) {
        for (members_follow(thread); !thread_is_over(thread);) {
            tac_maybe(thread_turn(thread) || thread_wait_for_io(thread));
        }
    } else if (thread->is_running) {
        pthread_join(thread->thread, NULL);
    }
    if (thread->is_running) {
        pthread_mutex_lock(&pool->lock);
        thread->is_running = false;
        thread_times_add(thread, &pool->ended_busy_ns, &pool->ended_idle_ns);
        pthread_mutex_unlock(&pool->lock);
    }
    for (struct tac_pool_member *member = pool->members; member != NULL; member = member->next) {
        worker_free(thread, member);
    }
}

static bool is_counted(const struct tac_pool_thread *thread, const uint32_t *count)
{
    return thread->slot < count[thread->home];
}

/* With change_lock. */
static int threads_grow(struct tac_thread_pool *pool, const uint32_t *count,
                        struct tac_error *error)
{
    for (uint32_t i = 0; i < TAC_POOL_THREADS_MAX; i++) {
        struct tac_pool_thread *thread = &pool->threads[i];

        if (is_counted(thread, count) && !thread->is_running &&
            thread_begin(thread, error) != TACTUS_OK) {
            return error->code;
        }
    }
    return TACTUS_OK;
}

/* With change_lock. Also frees what a thread that could not begin has got. */
static void threads_shrink(struct tac_thread_pool *pool, const uint32_t *count)
{
    pthread_mutex_lock(&pool->lock);
    for (uint32_t i = 0; i < TAC_POOL_THREADS_MAX; i++) {
        pool->threads[i].should_end = !is_counted(&pool->threads[i], count);
    }
    version_count(pool);
    pthread_mutex_unlock(&pool->lock);
    for (uint32_t i = 0; i < TAC_POOL_THREADS_MAX; i++) {
        if (!is_counted(&pool->threads[i], count)) {
            thread_end(&pool->threads[i]);
        }
    }
}

int tac_thread_pool_change(struct tac_thread_pool *pool,
                           const uint32_t count[TAC_STAGES_WITH_QUEUE], struct tac_error *error)
{
    int result;

    for (uint32_t home = 0; home < TAC_STAGES_WITH_QUEUE; home++) {
        tac_assert(count[home] >= 1 && count[home] <= TAC_POOL_HOME_THREADS_MAX);
    }
    pthread_mutex_lock(&pool->change_lock);
    result = threads_grow(pool, count, error);
    threads_shrink(pool, result == TACTUS_OK ? count : pool->count);
    if (result == TACTUS_OK) {
        pthread_mutex_lock(&pool->lock);
        memcpy(pool->count, count, sizeof pool->count);
        pthread_mutex_unlock(&pool->lock);
    }
    pthread_mutex_unlock(&pool->change_lock);
    return result;
}

void tac_thread_pool_count(struct tac_thread_pool *pool, uint32_t ret_count[TAC_STAGES_WITH_QUEUE])
{
    pthread_mutex_lock(&pool->lock);
    memcpy(ret_count, pool->count, sizeof pool->count);
    pthread_mutex_unlock(&pool->lock);
}

static void pool_init(struct tac_thread_pool *pool)
{
    struct tac_parker *parkers[TAC_POOL_HOME_THREADS_MAX];

    memset(pool, 0, sizeof *pool);
    pthread_mutex_init(&pool->change_lock, NULL);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->let_go, NULL);
    for (uint32_t i = 0; i < TAC_POOL_THREADS_MAX; i++) {
        struct tac_pool_thread *thread = &pool->threads[i];

        thread->pool = pool;
        thread->number = i;
        thread->home = (enum tac_stage_id)(i / TAC_POOL_HOME_THREADS_MAX);
        thread->slot = i % TAC_POOL_HOME_THREADS_MAX;
        thread->parker.fd = -1;
        parkers[thread->slot] = &thread->parker;
        if (thread->slot + 1 == TAC_POOL_HOME_THREADS_MAX) {
            /* Nobody parks in a slot whose thread does not run, so nobody is woken there. */
            tac_event_count_create(&pool->events[thread->home], parkers, TAC_POOL_HOME_THREADS_MAX);
        }
    }
}

int tac_thread_pool_start(struct tac_thread_pool *pool, const uint32_t count[TAC_STAGES_WITH_QUEUE],
                          bool is_idle, struct tac_error *error)
{
    pool_init(pool);
    pool->is_idle = is_idle;
    if (tac_thread_pool_change(pool, count, error) != TACTUS_OK) {
        tac_thread_pool_stop(pool);
        return error->code;
    }
    return TACTUS_OK;
}

int tac_thread_pool_start_stepped(struct tac_thread_pool *pool,
                                  const uint32_t          count[TAC_STAGES_WITH_QUEUE],
                                  struct tac_error       *error)
{
    pool_init(pool);
    pool->is_stepped = true;
    if (tac_thread_pool_change(pool, count, error) != TACTUS_OK) {
        tac_thread_pool_stop(pool);
        return error->code;
    }
    return TACTUS_OK;
}

void tac_thread_pool_stop(struct tac_thread_pool *pool)
{
    static const uint32_t none[TAC_STAGES_WITH_QUEUE];

    tac_assert(pool->members == NULL);
    pthread_mutex_lock(&pool->change_lock);
    threads_shrink(pool, none);
    pthread_mutex_unlock(&pool->change_lock);
    for (uint32_t i = 0; i < TAC_POOL_THREADS_MAX; i++) {
        if (pool->threads[i].parker.fd >= 0) {
            tac_parker_destroy(&pool->threads[i].parker);
        }
    }
    for (uint32_t home = 0; home < TAC_STAGES_WITH_QUEUE; home++) {
        tac_event_count_destroy(&pool->events[home]);
    }
    pthread_mutex_destroy(&pool->change_lock);
    pthread_mutex_destroy(&pool->lock);
    pthread_cond_destroy(&pool->let_go);
}

/* ---- what it tells --------------------------------------------------------------------------- */

void tac_thread_pool_report(struct tac_thread_pool *pool, struct tac_pool_member *member,
                            struct tactus_stage_stats stages[TACTUS_STAGES])
{
    pthread_mutex_lock(&pool->lock);
    for (uint32_t i = 0; i < TACTUS_STAGES; i++) {
        tac_stage_stats_add(&stages[i], &member->ended[i]);
    }
    for (uint32_t i = 0; i < TAC_POOL_THREADS_MAX; i++) {
        if (member->workers[i] != NULL) {
            tac_profile_report(&member->workers[i]->worker.profile, pool->threads[i].home, stages);
        }
    }
    pthread_mutex_unlock(&pool->lock);
}

void tac_thread_pool_times(struct tac_thread_pool *pool, uint64_t *ret_busy_ns,
                           uint64_t *ret_idle_ns)
{
    pthread_mutex_lock(&pool->lock);
    *ret_busy_ns = pool->ended_busy_ns;
    *ret_idle_ns = pool->ended_idle_ns;
    for (uint32_t i = 0; i < TAC_POOL_THREADS_MAX; i++) {
        if (pool->threads[i].is_running) {
            thread_times_add(&pool->threads[i], ret_busy_ns, ret_idle_ns);
        }
    }
    pthread_mutex_unlock(&pool->lock);
}
