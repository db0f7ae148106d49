/* SPDX-License-Identifier: Apache-2.0 */
/* Readers beside a writer that ends a bar every few dozen ops, and reuses blocks, memtables, views
 * and descriptors as early as the rules allow.
 *
 * Each op writes or deletes the eight keys of one group. What every op does is drawn beforehand, so
 * a reader can tell which states its answers may come from: those of the ops that were visible
 * between the moment before and the moment after. An iterator's records must all come from one. */
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "queues/atomics.h"
#include "reading/block_read.h"
#include "tests/lib/reading_world.h"
#include "tests/lib/tap.h"

#define GROUPS 48
#define GROUP_KEYS 8
#define KEYS (GROUPS * GROUP_KEYS)
#define OPS_OF_BAR 24
#define GET_THREADS 2
#define ITERATOR_THREADS 2
/* Bars that a block rests before it is written again; the address of a table's region. */
#define REGIONS 3
#define REGION_BLOCKS 400
/* A run that has to see a get made again writes on until it does: so many times it waits until one
 * more read is held, and lets the blocks be reused. One such read in a few is a get's. */
#define HOLDS_MAX 1000
#define BARS_OF_HOLD (REGIONS + 1)

struct op {
    uint8_t group;
    bool    is_delete;
};

struct stress {
    struct world *world;
    uint64_t      op_count; /* At least */
    uint64_t      holds_max;
    struct op    *ops; /* From 1 */
};

struct worker {
    struct stress *stress;
    pthread_t      thread;
    uint64_t       seed;
    uint64_t       answers, expired, wrong, failed;
};

/* ---- writer ---- */

static void apply(struct stress *stress, uint64_t op)
{
    static uint8_t key_buffer[TACTUS_KEY_SIZE_MAX], value_buffer[WORLD_VALUE_MAX];
    struct world  *world = stress->world;
    struct op      what = stress->ops[op];

    for (uint32_t i = 0; i < GROUP_KEYS; i++) {
        uint32_t         number = i * GROUPS + what.group;
        struct tac_bytes key = world_key(world, number, false, key_buffer);
        struct tac_bytes value = {0};

        if (!what.is_delete) {
            value = world_value(world, number, (uint32_t)op, value_buffer);
        }
        tac_memtable_put(world->memtables[world->memtable], 0, op, key, value, what.is_delete);
        world->model[number] = what.is_delete ? 0 : (uint32_t)op;
    }
    world->op = op;
    tac_atomic_store_release_u64(&world->side->visible_op, op);
}

static void table_gone(void *context, struct tac_table *table)
{
    tac_table_index_let_go(context, table);
}

/* tables: the model as of the last swap. */
static void bar_end(struct world *world, uint32_t *tables)
{
    uint32_t *newest = world->model;

    while (!tac_read_side_quiesced(world->side)) {
        sched_yield();
    }
    /* The tables take in the immutable memtable; the oldest region is overwritten. */
    world->address_end = 1 + world->bar % REGIONS * REGION_BLOCKS;
    world_remove_tables(world);
    tac_manifest_limbo_sweep(world->manifest, world->bar, table_gone, world->side);
    world->model = tables;
    world_add_model(world, 2);
    world->model = newest;
    tac_assert(world->address_end <= 1 + (world->bar % REGIONS + 1) * REGION_BLOCKS);
    memcpy(tables, newest, KEYS * sizeof *tables);
    world_swap(world);
    world_publish(world);
}

/* Whole bars. Returns the last op. */
static uint64_t ops_run(struct stress *stress, uint32_t *tables, uint64_t op, uint64_t count)
{
    for (uint64_t end = op + count; op < end;) {
        apply(stress, ++op);
        if (op % (OPS_OF_BAR / 2) == 0) {
            sched_yield();
        }
        if (op % OPS_OF_BAR == 0) {
            bar_end(stress->world, tables);
        }
    }
    return op;
}

static void writer_run(struct stress *stress)
{
    struct world *world = stress->world;
    uint32_t     *tables = calloc(KEYS, sizeof *tables);
    uint64_t      op = ops_run(stress, tables, 0, stress->op_count);
    uint64_t      holds = 0;
    uint32_t      waits = 0; /* Of reads, when the last hold began */

    for (; holds < stress->holds_max && tac_atomic_load_relaxed_u64(&world->side->retries) == 0;
         holds++) {
        while (tac_atomic_load_acquire_u32(&world->storage.waits) == waits) {
            sched_yield();
        }
        waits = tac_atomic_load_acquire_u32(&world->storage.waits);
        op = ops_run(stress, tables, op, BARS_OF_HOLD * OPS_OF_BAR);
    }
    tap_diag("%llu ops; %llu held reads were waited for", (unsigned long long)op,
             (unsigned long long)holds);
    free(tables);
}

/* ---- readers ---- */

/* Whether `version` (0: not found) of the group's keys is its state at some op in [from, to]. */
static bool is_possible(const struct stress *stress, uint32_t group, uint32_t version,
                        uint64_t from, uint64_t to)
{
    for (uint64_t op = to; op > 0; op--) {
        if (stress->ops[op].group == group) {
            if (version == (stress->ops[op].is_delete ? 0 : op)) {
                return true;
            }
            if (op <= from) {
                return false;
            }
        }
    }
    return version == 0;
}

static bool value_is(const struct world *world, uint32_t number, struct tac_bytes value,
                     uint32_t *ret_version)
{
    uint8_t          buffer[64];
    struct tac_bytes expected;

    *ret_version = tac_load_u32(value.data);
    expected = world_value(world, number, *ret_version, buffer);
    return tac_bytes_compare(value, expected) == 0;
}

/* The writer has ended; but on a busy machine a reader may not have had its turn until then. */
static bool worker_is_over(const struct worker *worker)
{
    return tac_atomic_load_acquire_u32(&worker->stress->world->storage.is_over) != 0 &&
           (worker->answers > 0 || worker->failed > 0);
}

/* What a get of the key between two moments has said. */
static void answer_check(struct worker *worker, uint32_t number, int rv, struct tac_bytes value,
                         uint64_t from, const struct tac_error *error)
{
    struct stress *stress = worker->stress;
    uint64_t       to = tac_atomic_load_acquire_u64(&stress->world->side->visible_op);
    uint32_t       version = 0;

    if (rv != TACTUS_OK && rv != TACTUS_ENOTFOUND) {
        worker->failed++;
        tap_diag("get: %s", error->message);
        return;
    }
    worker->answers++;
    if (rv == TACTUS_OK) {
        worker->wrong += !value_is(stress->world, number, value, &version);
    }
    worker->wrong += !is_possible(stress, number % GROUPS, version, from, to);
}

static void get_one(struct worker *worker, uint32_t number)
{
    struct world         *world = worker->stress->world;
    uint8_t               key_buffer[TACTUS_KEY_SIZE_MAX], value[64];
    struct tac_value_sink sink = {.is_pinning = number % 2 == 0};
    uint64_t              from = tac_atomic_load_acquire_u64(&world->side->visible_op);
    struct tac_error      error = {0};
    int                   rv;

    if (!sink.is_pinning) {
        sink.buffer = value;
        sink.room = sizeof value;
    }
    rv = tac_read_side_get(world->side, 0, world_key(world, number, false, key_buffer), &sink,
                           &error);
    answer_check(worker, number, rv,
                 (struct tac_bytes){sink.is_pinning ? sink.data : value, (uint32_t)sink.size}, from,
                 &error);
    tac_value_sink_release(&sink);
}

#define LOOKUPS 16

static void get_many(struct worker *worker, uint32_t first)
{
    struct world        *world = worker->stress->world;
    uint8_t              keys[LOOKUPS][TACTUS_KEY_SIZE_MAX];
    struct tactus_lookup lookups[LOOKUPS];
    uint64_t             from = tac_atomic_load_acquire_u64(&world->side->visible_op);
    struct tac_error     error = {0};

    for (uint32_t i = 0; i < LOOKUPS; i++) {
        struct tac_bytes key = world_key(world, (first + 29 * i) % KEYS, false, keys[i]);

        lookups[i] = (struct tactus_lookup){.key = key.data, .key_size = key.size};
    }
    tac_maybe(tac_read_side_get_many(world->side, 0, lookups, LOOKUPS, &error) == TACTUS_OK);
    for (uint32_t i = 0; i < LOOKUPS; i++) {
        const struct tactus_value *value = &lookups[i].value;
        struct tac_value_sink      sink = {.frame = value->internal[0], .copy = value->internal[1]};

        answer_check(worker, (first + 29 * i) % KEYS, lookups[i].code,
                     (struct tac_bytes){value->data, (uint32_t)value->size}, from, &error);
        tac_value_sink_release(&sink);
    }
}

static void *get_main(void *context)
{
    struct worker  *worker = context;
    struct tac_prng prng = {worker->seed};

    tac_yield_seed(worker->seed);
    while (!worker_is_over(worker)) {
        uint32_t number = (uint32_t)tac_prng_below(&prng, KEYS);

        if (number % 8 == 0) {
            get_many(worker, number);
        } else {
            get_one(worker, number);
        }
    }
    return NULL;
}

/* Whether the versions are all keys' state at one op in [from, to]. */
static bool is_one_state(const struct stress *stress, const uint32_t *versions, uint64_t from,
                         uint64_t to)
{
    uint32_t state[GROUPS] = {0};

    for (uint64_t op = 0; op <= to; op++) {
        bool is_same = op >= from;

        if (op > 0) {
            state[stress->ops[op].group] = stress->ops[op].is_delete ? 0 : (uint32_t)op;
        }
        for (uint32_t i = 0; i < KEYS && is_same; i++) {
            is_same = versions[i] == state[i % GROUPS];
        }
        if (is_same) {
            return true;
        }
    }
    return false;
}

/* Walks over everything; true when it came to the end. */
static bool walk(struct worker *worker, struct tac_iterator *iterator, bool is_backward,
                 uint32_t *versions, uint64_t bar)
{
    struct world    *world = worker->stress->world;
    struct tac_error error = {0};
    uint32_t         number = is_backward ? KEYS : 0;
    uint8_t          key_buffer[TACTUS_KEY_SIZE_MAX];
    int              rv =
        is_backward ? tac_iterator_last(iterator, &error) : tac_iterator_first(iterator, &error);

    memset(versions, 0, KEYS * sizeof *versions);
    while (rv == TACTUS_OK) {
        struct tac_record record = *tac_iterator_record(iterator);
        struct tac_bytes  key;

        do { /* Keys come in order, so the number is found by going on from the one before. */
            number = is_backward ? number - 1 : number;
            key = world_key(world, number, false, key_buffer);
            number = is_backward ? number : number + 1;
        } while (tac_bytes_compare(key, record.key) != 0 && number > 0 && number < KEYS);
        worker->wrong += tac_bytes_compare(key, record.key) != 0;
        worker->wrong += !value_is(world, is_backward ? number : number - 1, record.value,
                                   &versions[is_backward ? number : number - 1]);
        rv = is_backward ? tac_iterator_previous(iterator, &error)
                         : tac_iterator_next(iterator, &error);
    }
    if (rv == TACTUS_EEXPIRED) {
        worker->expired++;
        worker->wrong += tac_atomic_load_acquire_u64(&world->side->bar_now) < bar + 2;
    } else if (rv != TACTUS_ENOTFOUND) {
        worker->failed++;
        tap_diag("walk: %s", error.message);
    }
    return rv == TACTUS_ENOTFOUND;
}

static void *iterator_main(void *context)
{
    struct worker *worker = context;
    struct stress *stress = worker->stress;
    struct world  *world = stress->world;
    uint32_t       versions[KEYS];

    tac_yield_seed(worker->seed);
    while (!worker_is_over(worker)) {
        uint64_t             bar = tac_atomic_load_acquire_u64(&world->side->bar_now);
        uint64_t             from = tac_atomic_load_acquire_u64(&world->side->visible_op), to;
        struct tac_iterator *iterator;
        struct tac_error     error = {0};

        if (tac_iterator_open(world->side, 0, &iterator, &error) != TACTUS_OK) {
            worker->failed++;
            continue;
        }
        to = tac_atomic_load_acquire_u64(&world->side->visible_op);
        for (uint32_t i = 0; i < 2; i++) {
            if (!walk(worker, iterator, i == 1, versions, bar)) {
                break;
            }
            worker->answers++;
            worker->wrong += !is_one_state(stress, versions, from, to);
        }
        tac_iterator_close(iterator);
    }
    return NULL;
}

/* ---- the test ---- */

static struct worker workers_run(struct stress *stress, uint64_t seed)
{
    struct worker workers[GET_THREADS + ITERATOR_THREADS], total = {0};

    for (uint32_t i = 0; i < TAC_ARRAY_COUNT(workers); i++) {
        workers[i] = (struct worker){.stress = stress, .seed = seed + i};
        if (pthread_create(&workers[i].thread, NULL, i < GET_THREADS ? get_main : iterator_main,
                           &workers[i]) != 0) {
            tap_bail("no thread");
        }
    }
    writer_run(stress);
    tac_atomic_store_release_u32(&stress->world->storage.is_over, 1);
    for (uint32_t i = 0; i < TAC_ARRAY_COUNT(workers); i++) {
        pthread_join(workers[i].thread, NULL);
        tap_diag("%s: %llu answers, %llu expired", i < GET_THREADS ? "gets" : "walks",
                 (unsigned long long)workers[i].answers, (unsigned long long)workers[i].expired);
        total.answers += workers[i].answers;
        total.wrong += workers[i].wrong;
        total.failed += workers[i].failed;
    }
    return total;
}

static void stress_run(uint64_t seed, uint64_t bars, uint64_t cache_bytes, uint64_t wait_every)
{
    struct world_options options = {
        .seed = seed,
        .layout = {TACTUS_LAYOUT_FIXED, 16, 40},
        .block_size = 4096,
        .page_size = 512,
        .filter_bits = 10,
        .key_count = KEYS,
        .table_bytes = 5000,
        .page_cache_bytes = cache_bytes / 4,
        .index_cache_bytes = cache_bytes,
    };
    struct stress stress = {
        .op_count = bars * OPS_OF_BAR,
        .holds_max = wait_every > 0 && cache_bytes == 0 ? HOLDS_MAX : 0,
    };
    uint64_t        ops_max = stress.op_count + stress.holds_max * BARS_OF_HOLD * OPS_OF_BAR;
    struct tac_prng prng = {seed};
    struct worker   total;

    stress.world = world_new(&options);
    stress.ops = calloc(ops_max + 1, sizeof *stress.ops);
    for (uint64_t i = 1; i <= ops_max; i++) {
        stress.ops[i].group = (uint8_t)tac_prng_below(&prng, GROUPS);
        stress.ops[i].is_delete = tac_prng_below(&prng, 5) == 0;
    }
    world_publish(stress.world);
    stress.world->storage.bar_now = &stress.world->side->bar_now;
    stress.world->storage.wait_every = wait_every;
    total = workers_run(&stress, seed);
    tap_diag("%llu retries, %llu reads", (unsigned long long)stress.world->side->retries,
             (unsigned long long)stress.world->storage.reads);
    tap_ok(total.failed == 0, "no reader met damage (caches of %llu bytes)",
           (unsigned long long)cache_bytes);
    tap_ok(total.wrong == 0, "every answer is the state at an op of its time");
    tap_ok(total.answers > 0, "there were answers");
    if (stress.holds_max > 0) {
        tap_ok(stress.world->side->retries > 0, "gets whose blocks were reused were made again");
    }
    world_free(stress.world);
    free(stress.ops);
}

int main(void)
{
    uint64_t bars = getenv("LONG") != NULL ? 3000 : 60;
    uint64_t seed;

    tap_plan(0);
    seed = tap_seed();
    stress_run(seed, bars, 0, 0);
    stress_run(seed + 100, bars, 0, 100);
    stress_run(seed + 200, bars, 60000, 300);
    stress_run(seed + 300, bars, TAC_MIB, 0);
    return tap_done();
}
