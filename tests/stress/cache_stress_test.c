/* SPDX-License-Identifier: Apache-2.0 */
/* Threads find, claim, fill and abandon frames of a cache that is much too small for their keys.
 * Whatever is found must have the contents of its key for as long as it is pinned, also while another
 * thread gives the cache more memory and less. And of readers of one index block in two frames one
 * alone keeps a frame. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/prng.h"
#include "base/units.h"
#include "queues/atomics.h"
#include "reading/block_read.h"
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
    uint64_t          bytes_max;
    uint32_t          is_over; /* Atomic */
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

/* What was decoded of a frame's data, if it had a place: here it has none, and is the data's first. */
static void copied(struct tac_cache_frame *to, const struct tac_cache_frame *from)
{
    tac_assert(memcmp(to->extra, to->data, 8) == 0 && tac_cache_key_equal(&to->key, &from->key));
}

static void *changer_main(void *context)
{
    struct worker  *worker = context;
    struct stress  *stress = worker->stress;
    struct tac_prng prng = {worker->seed ^ 0x6368616e6765};

    tac_yield_seed(worker->seed);
    while (tac_atomic_load_relaxed_u32(&stress->is_over) == 0) {
        uint64_t bytes = tac_prng_below(&prng, stress->bytes_max + 1);

        bytes = tac_prng_below(&prng, 4) == 0 ? 0 : bytes;
        tac_cache_change(stress->cache, bytes, copied);
        worker->wrong += tac_cache_memory_bytes(stress->cache) >
                         tac_max_u64(bytes, tac_cache_kept_bytes(stress->cache));
        worker->fills++;
    }
    return NULL;
}

static void stress_run(uint64_t seed, uint64_t bytes, uint64_t keys, uint64_t turns, bool changes)
{
    struct stress    stress = {.keys = keys, .turns = turns, .bytes_max = bytes};
    struct worker    workers[THREADS], total = {0};
    struct worker    changer = {.stress = &stress, .seed = seed};
    pthread_t        threads[THREADS], changer_thread;
    struct tac_error error;
    uint64_t         frames;

    stress.hints = calloc(keys, sizeof *stress.hints);
    if (stress.hints == NULL) {
        tap_bail("out of memory");
    }
    if (tac_cache_new(bytes, bytes, FRAME_BYTES, 8, &stress.cache, &error) != TACTUS_OK) {
        tap_bail("%s", error.message);
    }
    for (uint32_t i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){.stress = &stress, .seed = seed + i};
        if (pthread_create(&threads[i], NULL, worker_main, &workers[i]) != 0) {
            tap_bail("no thread");
        }
    }
    if (changes && pthread_create(&changer_thread, NULL, changer_main, &changer) != 0) {
        tap_bail("no thread");
    }
    for (uint32_t i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        total.hits += workers[i].hits;
        total.fills += workers[i].fills;
        total.refusals += workers[i].refusals;
        total.wrong += workers[i].wrong;
    }
    if (changes) {
        tac_atomic_store_relaxed_u32(&stress.is_over, 1);
        pthread_join(changer_thread, NULL);
        tac_cache_change(stress.cache, bytes, copied);
        tap_ok(changer.wrong == 0 && changer.fills > 0, "changed %llu times",
               (unsigned long long)changer.fills);
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

/* ---- a block in two frames ------------------------------------------------------------------ */

struct looker {
    struct tac_read_side *side;
    struct tac_table     *table;
    uint32_t             *round; /* Atomic; 0: it is over */
    uint32_t             *ready; /* Atomic */
    uint32_t              hint;  /* Where this one finds the block */
};

static void *looker_main(void *context)
{
    struct looker         *looker = context;
    struct tac_read_counts counts = {0};
    uint32_t               round = UINT32_MAX;

    tac_yield_seed(looker->hint);
    for (;;) {
        struct tac_cache_frame *frame;
        uint32_t                next = tac_atomic_load_acquire_u32(looker->round);
        bool                    is_kept;

        if (next == 0) {
            return NULL;
        }
        if (next == round) {
            continue;
        }
        round = next;
        tac_atomic_store_relaxed_u32(&looker->table->index_hint, looker->hint);
        frame = tac_table_index_look(looker->side, looker->table, 1, &counts, &is_kept);
        if (!is_kept) {
            tac_cache_unpin(frame);
        }
        tac_atomic_fetch_add_u32(looker->ready, 1);
    }
}

/* A hint with which the frame is found. */
static uint32_t hint_of(struct tac_cache *cache, const struct tac_cache_key *key,
                        const struct tac_cache_frame *frame)
{
    for (uint32_t number = 1;; number++) {
        uint32_t                hint = number;
        struct tac_cache_frame *found = tac_cache_find_hinted(cache, key, &hint);

        tac_cache_unpin(found);
        if (found == frame && hint == number) {
            return hint;
        }
    }
}

static void test_two_frames(uint32_t rounds)
{
    struct tac_table        table = {.index = {.address = 9, .checksum = {.low = 7}}};
    struct tac_cache_key    key = {9, 7, TAC_BLOCK_INDEX};
    struct tac_read_side    side = {0};
    struct tac_cache_frame *frames[2];
    struct looker           lookers[2];
    pthread_t               threads[2];
    struct tac_error        error;
    uint32_t                round = UINT32_MAX, ready = 0, left = 0;

    if (tac_cache_new(200000, 200000, FRAME_BYTES, 8, &side.index_cache, &error) != 0) {
        tap_bail("%s", error.message);
    }
    for (uint32_t i = 0; i < 2; i++) {
        frames[i] = tac_cache_claim(side.index_cache, &key);
        tac_cache_publish(frames[i]);
        tac_cache_unpin(frames[i]);
    }
    for (uint32_t i = 0; i < 2; i++) {
        lookers[i] = (struct looker){&side, &table, &round, &ready,
                                     hint_of(side.index_cache, &key, frames[i])};
        if (pthread_create(&threads[i], NULL, looker_main, &lookers[i]) != 0) {
            tap_bail("no thread");
        }
    }
    for (uint32_t i = 1; i <= rounds; i++) {
        tac_atomic_exchange_u32(&ready, 0);
        tac_atomic_exchange_u32(&round, i);
        while (tac_atomic_load_acquire_u32(&ready) < 2) {
            tac_pause();
        }
        tac_table_index_let_go(&side, &table);
        for (uint32_t j = 0; j < 2; j++) {
            if (tac_cache_keep(side.index_cache, frames[j])) {
                tac_cache_let_go(side.index_cache, frames[j]);
            } else {
                left++;
            }
        }
    }
    tac_atomic_exchange_u32(&round, 0);
    for (uint32_t i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
    }
    tap_ok(left == 0, "of two frames with a table's index block none stays kept when it goes");
    tac_cache_free(side.index_cache);
}

int main(void)
{
    uint64_t turns = getenv("LONG") != NULL ? 2000000 : 60000;
    uint64_t seed;

    tap_plan(0);
    seed = tap_seed();
    stress_run(seed, 6000, 12, turns, false);
    stress_run(seed, 12000, 40, turns, false);
    stress_run(seed, 200000, 500, turns, false);
    stress_run(seed, 12000, 40, turns, true);
    stress_run(seed, 200000, 500, turns, true);
    test_two_frames((uint32_t)turns / 4);
    return tap_done();
}
