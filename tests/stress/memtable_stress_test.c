/* SPDX-License-Identifier: Apache-2.0 */
/* One writer and several readers in one memtable, for some seconds (STRESS_SECONDS, default 3).
 *
 * What a round's op n puts is a function of n, so a reader knows for every visible op what there
 * has to be: op n puts its own key, never put again, and a new version of hot key n % HOT. A reader
 * that sees up to op v must find the own keys of the ops 1 … v, and each hot key with the last op
 * up to v that is its own modulo HOT. Every value tells its op. After a round the table is reset,
 * while the readers wait. */
#include "base/prng.h"
#include "lsm/memtable.h"
#include "tests/lib/tap.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define READERS 3
#define OPS_PER_ROUND 10000
#define HOT 37
#define WALK_STEPS 150
#define KEY_MAX 48

/* How the own keys of a round are made. */
enum shape {
    SHAPE_RANDOM,
    SHAPE_ASCENDING,
    SHAPE_DESCENDING,
    SHAPE_CLUSTERED,     /* Random among the latest: where the writer is, there the readers are */
    SHAPE_SHARED_PREFIX, /* Random behind 40 equal bytes: words are taken anew as leaves split */
    SHAPE_COUNT_
};

static const char *const shape_names[SHAPE_COUNT_] = {"random", "ascending", "descending",
                                                      "clustered", "shared prefix"};

struct shared {
    struct tac_memtable *memtable;
    pthread_barrier_t    barrier;    /* Writer and readers, at the start and end of a round */
    uint64_t             visible_op; /* Atomic */
    uint32_t             is_done;    /* Written by the writer between two rounds */
    enum shape           shape;      /* Likewise */
    uint32_t             round;      /* Likewise */
};

struct reader_result {
    struct shared  *shared;
    struct tac_prng prng;
    uint64_t        gets, walks, scans;
    const char     *failure; /* NULL: none */
};

static struct tac_bytes key_own(enum shape shape, uint64_t op, uint8_t buffer[KEY_MAX])
{
    uint64_t number = tac_mix_u64(op);
    uint32_t prefix_size = 0;

    switch (shape) {
    case SHAPE_SHARED_PREFIX:
        prefix_size = 40;
        memset(buffer, 'k', prefix_size);
        break;
    case SHAPE_ASCENDING:
        number = op;
        break;
    case SHAPE_DESCENDING:
        number = UINT64_MAX - op;
        break;
    case SHAPE_CLUSTERED:
        number = op / 256 << 32 | number >> 32;
        break;
    case SHAPE_RANDOM:
        break;
    case SHAPE_COUNT_:
        tac_unreachable();
    }
    tac_store_u64(buffer + prefix_size, __builtin_bswap64(number));
    return (struct tac_bytes){.data = buffer, .size = prefix_size + 8};
}

/* Spread among the own keys, and one byte longer than the random ones. */
static struct tac_bytes key_hot(uint64_t op, uint8_t buffer[KEY_MAX])
{
    tac_store_u64(buffer, tac_mix_u64(1000000007 + op % HOT));
    buffer[8] = (uint8_t)(op % HOT);
    return (struct tac_bytes){.data = buffer, .size = 9};
}

/* The op says it all: a value of its own size, every word of it the op. */
static uint32_t value_make(uint64_t op, uint8_t buffer[])
{
    uint32_t words = 1 + (uint32_t)(op % 12);

    for (uint32_t i = 0; i < words; i++) {
        tac_store_u64(buffer + 8 * i, op);
    }
    return 8 * words;
}

static bool is_record_of(const struct tac_record_view *view, uint64_t op)
{
    uint8_t  value[256];
    uint32_t size = value_make(op, value);

    return view->op == op && view->record.value.size == size &&
           memcmp(view->record.value.data, value, size) == 0;
}

/* Whether a record may be what a reader up to visible_op finds: its own op's key and value. */
static bool is_sound(enum shape shape, const struct tac_record_view *view, uint64_t visible_op)
{
    uint8_t          buffer[KEY_MAX];
    struct tac_bytes key = key_own(shape, view->op, buffer);

    if (view->op > visible_op || !is_record_of(view, view->op)) {
        return false;
    }
    if (tac_bytes_compare(view->record.key, key) == 0) {
        return true;
    }
    key = key_hot(view->op, buffer);
    return tac_bytes_compare(view->record.key, key) == 0 && view->op + HOT > visible_op;
}

/* An op up to visible_op; every other time one of the latest. */
static uint64_t op_choose(struct tac_prng *prng, uint64_t visible_op)
{
    uint64_t latest = tac_min_u64(visible_op, 300);

    if (tac_prng_below(prng, 2) == 0) {
        return visible_op - tac_prng_below(prng, latest);
    }
    return 1 + tac_prng_below(prng, visible_op);
}

static bool check_gets(struct reader_result *result, uint64_t visible_op)
{
    const struct shared   *shared = result->shared;
    uint8_t                buffer[KEY_MAX];
    struct tac_record_view view;

    for (uint32_t i = 0; i < 20; i++) {
        uint64_t op = op_choose(&result->prng, visible_op);

        if (!tac_memtable_get(shared->memtable, 0, key_own(shared->shape, op, buffer), visible_op,
                              &view) ||
            !is_record_of(&view, op)) {
            return false;
        }
        op = visible_op - tac_prng_below(&result->prng, tac_min_u64(HOT, visible_op));
        if (!tac_memtable_get(shared->memtable, 0, key_hot(op, buffer), visible_op, &view) ||
            !is_record_of(&view, op)) {
            return false;
        }
        op = visible_op + 1 + tac_prng_below(&result->prng, OPS_PER_ROUND);
        if (tac_memtable_get(shared->memtable, 0, key_own(shared->shape, op, buffer), visible_op,
                             &view)) {
            return false;
        }
        result->gets++;
    }
    return true;
}

/* From the key of a visible op some steps on, and the same steps back. */
static bool check_walk(struct reader_result *result, uint64_t visible_op)
{
    const struct shared       *shared = result->shared;
    uint64_t                   op = op_choose(&result->prng, visible_op);
    uint8_t                    buffer[KEY_MAX];
    struct tac_bytes           key = key_own(shared->shape, op, buffer);
    struct tac_bytes           seen[WALK_STEPS];
    struct tac_memtable_reader reader;
    struct tac_record_view     view;
    uint32_t                   count = 1;
    bool                       is_back = tac_prng_below(&result->prng, 2) == 0;

    tac_memtable_reader_init(&reader, shared->memtable, 0, visible_op);
    if (!(is_back ? tac_memtable_reader_seek_back(&reader, key, &view)
                  : tac_memtable_reader_seek(&reader, key, &view)) ||
        !is_record_of(&view, op)) {
        return false;
    }
    seen[0] = view.record.key;
    while (count < WALK_STEPS && (is_back ? tac_memtable_reader_previous(&reader, &view)
                                          : tac_memtable_reader_next(&reader, &view))) {
        int order = tac_bytes_compare(seen[count - 1], view.record.key);

        if ((is_back ? order <= 0 : order >= 0) || !is_sound(shared->shape, &view, visible_op)) {
            return false;
        }
        seen[count++] = view.record.key;
    }
    /* When the walk met the end, the reader stands nowhere: it goes to the last one it saw. */
    if (!tac_memtable_reader_seek(&reader, seen[count - 1], &view)) {
        return false;
    }
    for (count--; count > 0; count--) {
        if (!(is_back ? tac_memtable_reader_next(&reader, &view)
                      : tac_memtable_reader_previous(&reader, &view)) ||
            tac_bytes_compare(seen[count - 1], view.record.key) != 0) {
            return false;
        }
    }
    result->walks++;
    return true;
}

/* The whole tree one way or the other: sound, in order, and as many as there have to be. */
static bool check_scan(struct reader_result *result, uint64_t visible_op)
{
    const struct shared       *shared = result->shared;
    struct tac_memtable_reader reader;
    struct tac_record_view     view;
    struct tac_bytes           last = {.size = 0};
    uint64_t                   count = 0;
    bool                       is_back = tac_prng_below(&result->prng, 2) == 0;
    bool                       is_there;

    tac_memtable_reader_init(&reader, shared->memtable, 0, visible_op);
    is_there = is_back ? tac_memtable_reader_last(&reader, &view)
                       : tac_memtable_reader_first(&reader, &view);
    while (is_there) {
        if (count > 0) {
            int order = tac_bytes_compare(last, view.record.key);

            if (is_back ? order <= 0 : order >= 0) {
                return false;
            }
        }
        if (!is_sound(shared->shape, &view, visible_op)) {
            return false;
        }
        last = view.record.key;
        count++;
        is_there = is_back ? tac_memtable_reader_previous(&reader, &view)
                           : tac_memtable_reader_next(&reader, &view);
    }
    result->scans++;
    return count == visible_op + tac_min_u64(visible_op, HOT);
}

static void reader_round(struct reader_result *result)
{
    uint64_t visible_op;

    do {
        visible_op = __atomic_load_n(&result->shared->visible_op, __ATOMIC_ACQUIRE);
        if (visible_op == 0) {
            (void)sched_yield();
            continue;
        }
        if (!check_gets(result, visible_op)) {
            result->failure = "a get";
        }
        if (!check_walk(result, visible_op)) {
            result->failure = "a walk";
        }
        if (tac_prng_below(&result->prng, 64) == 0 && !check_scan(result, visible_op)) {
            result->failure = "a scan";
        }
    } while (visible_op < OPS_PER_ROUND && result->failure == NULL);
}

static void *reader_main(void *argument)
{
    struct reader_result *result = argument;

    for (;;) {
        (void)pthread_barrier_wait(&result->shared->barrier);
        if (result->shared->is_done) {
            return NULL;
        }
        if (result->failure == NULL) {
            reader_round(result);
        }
        (void)pthread_barrier_wait(&result->shared->barrier);
    }
}

static void writer_round(struct shared *shared)
{
    for (uint64_t op = 1; op <= OPS_PER_ROUND; op++) {
        uint8_t          buffer[KEY_MAX];
        uint8_t          value[256];
        struct tac_bytes bytes = {.data = value, .size = value_make(op, value)};

        tac_memtable_put(shared->memtable, 0, op, key_own(shared->shape, op, buffer), bytes, false);
        tac_memtable_put(shared->memtable, 0, op, key_hot(op, buffer), bytes, false);
        __atomic_store_n(&shared->visible_op, op, __ATOMIC_RELEASE);
        if (op % 4096 == 0) {
            (void)sched_yield();
        }
    }
}

static uint64_t now_ms(void)
{
    struct timespec time;

    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000 + (uint64_t)time.tv_nsec / 1000000;
}

/* Rounds of all shapes in turn until the time is up; the last to end is a whole turn. */
static void writer_main(struct shared *shared, uint64_t duration_ms)
{
    uint64_t begin_ms = now_ms();

    while (shared->round % SHAPE_COUNT_ != 0 || now_ms() - begin_ms < duration_ms) {
        shared->shape = shared->round % SHAPE_COUNT_;
        shared->visible_op = 0;
        tac_memtable_reset(shared->memtable);
        (void)pthread_barrier_wait(&shared->barrier);
        writer_round(shared);
        (void)pthread_barrier_wait(&shared->barrier);
        shared->round++;
    }
    shared->is_done = 1;
    (void)pthread_barrier_wait(&shared->barrier);
}

int main(void)
{
    const char          *duration = getenv("STRESS_SECONDS");
    uint64_t             seed = tap_seed();
    struct shared        shared = {.round = 0};
    struct reader_result results[READERS];
    pthread_t            threads[READERS];
    uint64_t             gets = 0;
    uint64_t             walks = 0;
    uint64_t             scans = 0;

    tap_plan(READERS + 1);
    shared.memtable = tac_memtable_new(8 * TAC_MIB, 1);
    if (shared.memtable == NULL || pthread_barrier_init(&shared.barrier, NULL, READERS + 1) != 0) {
        tap_bail("out of memory");
    }
    for (uint32_t i = 0; i < READERS; i++) {
        results[i] = (struct reader_result){.shared = &shared, .prng = {.state = seed + i}};
        if (pthread_create(&threads[i], NULL, reader_main, &results[i]) != 0) {
            tap_bail("no thread");
        }
    }
    writer_main(&shared, duration != NULL ? 1000 * strtoull(duration, NULL, 10) : 3000);
    for (uint32_t i = 0; i < READERS; i++) {
        (void)pthread_join(threads[i], NULL);
        tap_ok(results[i].failure == NULL, "reader %u found what was visible%s%s", i,
               results[i].failure != NULL ? ", but for " : "",
               results[i].failure != NULL ? results[i].failure : "");
        gets += results[i].gets;
        walks += results[i].walks;
        scans += results[i].scans;
    }
    tap_ok(gets > 0 && walks > 0 && scans > 0, "readers got, walked and scanned in %u rounds",
           shared.round);
    tap_diag("%llu gets, %llu walks, %llu scans; shapes from \"%s\" to \"%s\"",
             (unsigned long long)gets, (unsigned long long)walks, (unsigned long long)scans,
             shape_names[0], shape_names[SHAPE_COUNT_ - 1]);
    (void)pthread_barrier_destroy(&shared.barrier);
    tac_memtable_free(shared.memtable);
    return tap_done();
}
