/* SPDX-License-Identifier: Apache-2.0 */
/* Rings and parking under real threads, more of them than processors.
 *
 * Items go round: producers take one from the `spare` ring, write to it and push it into the `work`
 * ring; consumers take it from there, check it and push it back. Whoever is refused sleeps until
 * the other side notifies; nobody uses a timeout. So a lost wake-up stops the round, and a watchdog
 * reports and aborts when nothing has moved for 10 seconds.
 *
 * Checked: every number of every producer arrives exactly once and in order, its item intact; in
 * the end every item is in the spare ring once. A race on an item is ThreadSanitizer's to find: to
 * see that it does, build with -DTACTUS_PLANT_RACE, where producers touch an item after the push.
 *
 * LONG=1 runs 20 times as many items. */
#include "queues/ring.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/prng.h"
#include "queues/atomics.h"
#include "queues/event_count.h"
#include "tests/lib/tap.h"

#define THREADS_MAX 16
#define ITEMS_MAX 256
#define STILL_SECONDS_MAX 10

struct item {
    uint32_t producer, index;
    uint64_t number;
    uint64_t body[6];
};

/* A ring with the two places to wait at it. */
struct station {
    struct tac_ring        ring;
    struct tac_event_count items; /* Who wants an item */
    struct tac_event_count space; /* Who wants to get rid of one */
};

struct worker {
    struct tac_parker parker;
    struct tac_prng   prng;
    uint32_t          slot;  /* In every event count; a producer's number */
    uint64_t          quota; /* A producer's */
    uint64_t          sleeps_empty, sleeps_full;
    uint64_t          errors;
    uint64_t          next[THREADS_MAX]; /* A consumer's, per producer: lowest number to come */
};

struct round {
    uint32_t producers, consumers;
    uint32_t capacity; /* Of the work ring */
    uint32_t items;
};

static struct station         spare, work;
static struct item            items[ITEMS_MAX];
static struct worker          workers[THREADS_MAX];
static uint8_t               *arrived[THREADS_MAX]; /* Per producer and number: how often */
static uint64_t arrived_count TAC_CACHE_ALIGNED;
static uint64_t               arrived_wanted;
static uint64_t moves         TAC_CACHE_ALIGNED; /* Pushes and pops; what the watchdog looks at */
static uint32_t               is_over;

static bool is_finished(void)
{
    return tac_atomic_load_acquire_u64(&arrived_count) == arrived_wanted;
}

static void station_push(struct station *station, struct worker *worker, struct item *item)
{
    while (!tac_ring_try_push_mp(&station->ring, item)) {
        tac_event_count_prepare(&station->space, worker->slot);
        if (tac_ring_try_push_mp(&station->ring, item)) {
            tac_event_count_cancel(&station->space, worker->slot);
            break;
        }
        worker->sleeps_full++;
        tac_event_count_wait(&station->space, worker->slot);
    }
#ifdef TACTUS_PLANT_RACE
    if (station == &work && item->number % 64 == 0) {
        item->body[5]++;
    }
#endif
    tac_event_count_notify(&station->items, 1);
    tac_atomic_fetch_add_u64(&moves, 1);
}

/* NULL: everything has arrived and there is nothing to wait for. */
static struct item *station_pop(struct station *station, struct worker *worker)
{
    void *item = NULL;

    while (!tac_ring_try_pop_mc(&station->ring, &item)) {
        if (is_finished()) {
            return NULL;
        }
        tac_event_count_prepare(&station->items, worker->slot);
        if (tac_ring_try_pop_mc(&station->ring, &item)) {
            tac_event_count_cancel(&station->items, worker->slot);
            break;
        }
        if (is_finished()) {
            tac_event_count_cancel(&station->items, worker->slot);
            return NULL;
        }
        worker->sleeps_empty++;
        tac_event_count_wait(&station->items, worker->slot);
    }
    tac_event_count_notify(&station->space, 1);
    tac_atomic_fetch_add_u64(&moves, 1);
    return item;
}

/* Note: wake-up passed on. */
static void worker_leave(void)
{
    tac_event_count_notify(&spare.items, 1);
    tac_event_count_notify(&spare.space, 1);
    tac_event_count_notify(&work.items, 1);
    tac_event_count_notify(&work.space, 1);
}

static void *producer_main(void *argument)
{
    struct worker *worker = argument;

    tac_yield_seed(worker->prng.state);
    for (uint64_t number = 0; number < worker->quota; number++) {
        struct item *item = station_pop(&spare, worker);

        tac_assert(item != NULL); /* Not all has arrived: this number has not. */
        item->producer = worker->slot;
        item->number = number;
        for (uint32_t i = 0; i < TAC_ARRAY_COUNT(item->body); i++) {
            item->body[i] = tac_mix_u64(number + i);
        }
        station_push(&work, worker, item);
    }
    worker_leave();
    return NULL;
}

static void item_check(struct worker *worker, const struct item *item)
{
    if (item->number < worker->next[item->producer]) {
        worker->errors++;
    }
    for (uint32_t i = 0; i < TAC_ARRAY_COUNT(item->body); i++) {
        worker->errors += item->body[i] != tac_mix_u64(item->number + i);
    }
    worker->next[item->producer] = item->number + 1;
    arrived[item->producer][item->number]++;
}

static void *consumer_main(void *argument)
{
    struct worker *worker = argument;
    struct item   *item;

    tac_yield_seed(worker->prng.state);
    while ((item = station_pop(&work, worker)) != NULL) {
        item_check(worker, item);
        station_push(&spare, worker, item);
        if (tac_atomic_fetch_add_u64(&arrived_count, 1) + 1 == arrived_wanted) {
            tac_event_count_notify_all(&work.items);
        }
    }
    worker_leave();
    return NULL;
}

/* ---- watchdog ------------------------------------------------------------------------------- */

static void station_print(const char *name, const struct station *station)
{
    const struct tac_ring *ring = &station->ring;

    fprintf(stderr, "# %s: %u of %u items; parked for items %" PRIx64 ", for space %" PRIx64 "\n",
            name, tac_ring_count(ring), ring->capacity,
            tac_atomic_load_acquire_u64(&station->items.parked[0]),
            tac_atomic_load_acquire_u64(&station->space.parked[0]));
    for (uint32_t i = 0; i < ring->capacity && i < 64; i++) {
        fprintf(stderr, "#   slot %u: turn %" PRIu64 "\n", i,
                tac_atomic_load_acquire_u64(&ring->slots[i].turn));
    }
}

static void *watchdog_main(void *argument)
{
    struct timespec tick = {.tv_nsec = 50 * 1000 * 1000};
    uint32_t        still = 0;
    uint64_t        before = 0;

    (void)argument;
    while (tac_atomic_load_acquire_u32(&is_over) == 0) {
        uint64_t now = tac_atomic_load_acquire_u64(&moves);

        still = now == before ? still + 1 : 0;
        before = now;
        if (still >= 20 * STILL_SECONDS_MAX) {
            fprintf(stderr, "# nothing has moved for %d s: %" PRIu64 " of %" PRIu64 " arrived\n",
                    STILL_SECONDS_MAX, tac_atomic_load_acquire_u64(&arrived_count), arrived_wanted);
            station_print("spare", &spare);
            station_print("work", &work);
            abort();
        }
        nanosleep(&tick, NULL);
    }
    return NULL;
}

/* ---- rounds --------------------------------------------------------------------------------- */

static void station_create(struct station *station, uint32_t capacity, uint32_t threads)
{
    struct tac_parker *parkers[THREADS_MAX];

    for (uint32_t i = 0; i < threads; i++) {
        parkers[i] = &workers[i].parker;
    }
    if (!tac_ring_create(&station->ring, capacity)) {
        tap_bail("out of memory");
    }
    tac_event_count_create(&station->items, parkers, threads);
    tac_event_count_create(&station->space, parkers, threads);
}

static void station_destroy(struct station *station)
{
    tac_event_count_destroy(&station->items);
    tac_event_count_destroy(&station->space);
    tac_ring_destroy(&station->ring);
}

static void workers_create(const struct round *round, uint64_t quota, uint64_t seed)
{
    struct tac_error error = {0};

    memset(workers, 0, sizeof workers);
    for (uint32_t i = 0; i < round->producers + round->consumers; i++) {
        workers[i].slot = i;
        workers[i].quota = quota;
        workers[i].prng.state = tac_mix_u64(seed + i);
        if (tac_parker_create(&workers[i].parker, &error) != TACTUS_OK) {
            tap_bail("%s", error.message);
        }
    }
    for (uint32_t i = 0; i < round->producers; i++) {
        arrived[i] = calloc(quota, 1);
        tac_assert(arrived[i] != NULL);
    }
}

/* After all threads have ended: every number arrived once, every item is in the spare ring once. */
static uint64_t round_errors(const struct round *round, uint64_t quota)
{
    uint64_t errors = 0;
    bool     is_here[ITEMS_MAX] = {false};
    void    *item;

    for (uint32_t i = 0; i < round->producers + round->consumers; i++) {
        errors += workers[i].errors;
        tac_parker_destroy(&workers[i].parker);
    }
    for (uint32_t i = 0; i < round->producers; i++) {
        for (uint64_t number = 0; number < quota; number++) {
            errors += arrived[i][number] != 1;
        }
        free(arrived[i]);
    }
    for (uint32_t i = 0; i < round->items; i++) {
        if (!tac_ring_try_pop_mc(&spare.ring, &item) || is_here[((struct item *)item)->index]) {
            return errors + 1;
        }
        is_here[((struct item *)item)->index] = true;
    }
    return errors + tac_ring_count(&spare.ring) + tac_ring_count(&work.ring);
}

/* Runs one round; adds its sleeps to the totals. */
static void round_run(const struct round *round, uint64_t total, uint64_t seed, uint64_t *ret_empty,
                      uint64_t *ret_full)
{
    uint32_t  threads = round->producers + round->consumers;
    uint64_t  quota = total / round->producers;
    uint64_t  errors;
    pthread_t ids[THREADS_MAX];

    tac_assert(threads <= THREADS_MAX && round->items <= ITEMS_MAX);
    workers_create(round, quota, seed);
    station_create(&spare, ITEMS_MAX, threads);
    station_create(&work, round->capacity, threads);
    for (uint32_t i = 0; i < round->items; i++) {
        items[i].index = i;
        tac_assert(tac_ring_try_push_mp(&spare.ring, &items[i]));
    }
    tac_atomic_store_release_u64(&arrived_count, 0);
    arrived_wanted = quota * round->producers;
    for (uint32_t i = 0; i < threads; i++) {
        void *(*worker_main)(void *) = i < round->producers ? producer_main : consumer_main;

        tac_assert(pthread_create(&ids[i], NULL, worker_main, &workers[i]) == 0);
    }
    for (uint32_t i = 0; i < threads; i++) {
        pthread_join(ids[i], NULL);
        *ret_empty += workers[i].sleeps_empty;
        *ret_full += workers[i].sleeps_full;
    }
    errors = round_errors(round, quota);
    tap_ok(errors == 0,
           "%u to %u threads, %u items through a ring of %u: each arrives once, intact",
           round->producers, round->consumers, round->items, round->capacity);
    station_destroy(&spare);
    station_destroy(&work);
}

int main(void)
{
    static const struct round rounds[] = {
        {1, 1, 2, 2},  {1, 1, 64, 128}, {2, 2, 2, 5},   {3, 1, 4, 9},    {1, 3, 2, 3},
        {8, 8, 2, 40}, {8, 8, 16, 20},  {1, 15, 2, 12}, {15, 1, 4, 256}, {5, 11, 64, 80},
    };
    const char *is_long = getenv("LONG");
    uint64_t    total = is_long != NULL && *is_long != '\0' ? 300000 : 15000;
    uint64_t    sleeps_empty = 0;
    uint64_t    sleeps_full = 0;
    uint64_t    seed;
    pthread_t   watchdog;

    tap_plan(0);
    seed = tap_seed();
    tac_assert(pthread_create(&watchdog, NULL, watchdog_main, NULL) == 0);
    for (uint32_t i = 0; i < TAC_ARRAY_COUNT(rounds); i++) {
        round_run(&rounds[i], total, seed + 1000 * i, &sleeps_empty, &sleeps_full);
    }
    tac_atomic_store_release_u32(&is_over, 1);
    pthread_join(watchdog, NULL);
    tap_diag("%" PRIu64 " sleeps at an empty ring, %" PRIu64 " at a full one", sleeps_empty,
             sleeps_full);
    tap_ok(sleeps_empty > 100 && sleeps_full > 100, "threads slept at empty and at full rings");
    return tap_done();
}
