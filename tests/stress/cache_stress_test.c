/* SPDX-License-Identifier: Apache-2.0 */
/* Threads find, claim, fill and abandon frames of a cache that is much too small for their keys.
 * Whatever is found must have the contents of its key for as long as it is pinned. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/prng.h"
#include "queues/atomics.h"
#include "reading/cache.h"
#include "tests/lib/tap.h"

#define THREADS 4
#define FRAME_BYTES 512
#define PINS_MAX 6

struct stress {
    struct tac_cache *cache;
    uint32_t         *hints; /* One for each key; all threads use them */
    uint64_t          keys;
    uint64_t          turns;
};

struct worker {
    struct stress *stress;
    uint64_t       seed;
    uint64_t       hits, fills, refusals, wrong;
};

static void fill(struct tac_cache_frame *frame, uint64_t number)
{
    for (uint32_t i = 0; i < FRAME_BYTES / 8; i++) {
        memcpy(frame->data + i * 8, &number, 8);
    }
    memcpy(frame->extra, &number, 8);
}

static bool is_filled(const struct tac_cache_frame *frame, uint64_t number)
{
    uint64_t word;

    memcpy(&word, frame->extra, 8);
    for (uint32_t i = 0; i < FRAME_BYTES / 8 && word == number; i++) {
        memcpy(&word, frame->data + i * 8, 8);
    }
    return word == number;
}

static struct tac_cache_frame *find_or_fill(struct worker *worker, struct tac_prng *prng,
                                            uint64_t number)
{
    struct tac_cache       *cache = worker->stress->cache;
    struct tac_cache_key    key = {number, tac_mix_u64(number), 0};
    struct tac_cache_frame *frame;

    frame = tac_prng_below(prng, 2) == 0
                ? tac_cache_find(cache, &key)
                : tac_cache_find_hinted(cache, &key, &worker->stress->hints[number - 1]);
    if (frame != NULL) {
        worker->hits++;
        return frame;
    }
    frame = tac_cache_claim(cache, &key);
    if (frame == NULL) {
        worker->refusals++;
        return NULL;
    }
    if (tac_prng_below(prng, 8) == 0) {
        tac_cache_abandon(frame);
        return NULL;
    }
    fill(frame, number);
    tac_cache_publish(frame);
    worker->fills++;
    return frame;
}

static void *worker_main(void *context)
{
    struct worker          *worker = context;
    struct tac_prng         prng = {worker->seed};
    struct tac_cache_frame *pinned[PINS_MAX] = {NULL};
    uint64_t                numbers[PINS_MAX] = {0};

    tac_yield_seed(worker->seed);
    for (uint64_t i = 0; i < worker->stress->turns; i++) {
        uint32_t slot = (uint32_t)tac_prng_below(&prng, PINS_MAX);

        if (pinned[slot] != NULL) {
            worker->wrong += !is_filled(pinned[slot], numbers[slot]);
            tac_cache_unpin(pinned[slot]);
        }
        numbers[slot] = tac_prng_below(&prng, worker->stress->keys) + 1;
        pinned[slot] = find_or_fill(worker, &prng, numbers[slot]);
        if (pinned[slot] != NULL) {
            worker->wrong += !is_filled(pinned[slot], numbers[slot]);
        }
    }
    for (uint32_t i = 0; i < PINS_MAX; i++) {
        if (pinned[i] != NULL) {
            tac_cache_unpin(pinned[i]);
        }
    }
    return NULL;
}

static void stress_run(uint64_t seed, uint64_t bytes, uint64_t keys, uint64_t turns)
{
    struct stress    stress = {.keys = keys, .turns = turns};
    struct worker    workers[THREADS], total = {0};
    pthread_t        threads[THREADS];
    struct tac_error error;
    uint64_t         frames;

    stress.hints = calloc(keys, sizeof *stress.hints);
    if (stress.hints == NULL) {
        tap_bail("out of memory");
    }
    if (tac_cache_new(bytes, FRAME_BYTES, 8, &stress.cache, &error) != TACTUS_OK) {
        tap_bail("%s", error.message);
    }
    for (uint32_t i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){.stress = &stress, .seed = seed + i};
        if (pthread_create(&threads[i], NULL, worker_main, &workers[i]) != 0) {
            tap_bail("no thread");
        }
    }
    for (uint32_t i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        total.hits += workers[i].hits;
        total.fills += workers[i].fills;
        total.refusals += workers[i].refusals;
        total.wrong += workers[i].wrong;
    }
    frames = tac_cache_frame_count(stress.cache);
    tap_diag("%llu frames, %llu keys: %llu hits, %llu fills, %llu refusals",
             (unsigned long long)frames, (unsigned long long)keys, (unsigned long long)total.hits,
             (unsigned long long)total.fills, (unsigned long long)total.refusals);
    tap_ok(total.wrong == 0, "no frame changed under a pin (%llu frames)",
           (unsigned long long)frames);
    tap_ok(total.hits > 0 && total.fills > frames, "frames were found and reused");
    tac_cache_free(stress.cache); /* Asserts that no pin is left. */
    free(stress.hints);
}

int main(void)
{
    uint64_t turns = getenv("LONG") != NULL ? 2000000 : 60000;
    uint64_t seed;

    tap_plan(0);
    seed = tap_seed();
    stress_run(seed, 6000, 12, turns);
    stress_run(seed, 12000, 40, turns);
    stress_run(seed, 200000, 500, turns);
    return tap_done();
}
