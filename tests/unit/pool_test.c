/* SPDX-License-Identifier: Apache-2.0 */
/* Stores that share the threads and the memory of a pool: each is byte for byte what it is on its
 * own, none is held up by another one's device, pause, failure or close, and no budget is passed.
 */
#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/prng.h"
#include "base/units.h"
#include "pipeline/pool.h"
#include "queues/atomics.h"
#include "tactus.h"
#include "tests/lib/small_options.h"
#include "tests/lib/tap.h"

#define VALUE_BYTES 100
#define STORES 3
#define REST_NS (20 * 1000 * 1000)
#ifdef __SANITIZE_THREAD__
#define RECORDS 8000
#else
#define RECORDS 20000
#endif

static void rest(void)
{
    const struct timespec time = {0, REST_NS};

    nanosleep(&time, NULL);
}

/* ---- stores --------------------------------------------------------------------------------- */

struct load {
    struct tactus *store;
    uint32_t       tree;
    uint64_t       number;  /* Which store: its records and its UUID */
    uint32_t       is_over; /* Atomic */
    bool           is_right;
    uint8_t        digest[16];
};

static void load_options(uint64_t number, struct tactus_options *options)
{
    small_options(options);
    options->memtable_size = 128 * TAC_KIB;
    options->table_size = 64 * TAC_KIB;
    options->backend = TACTUS_BACKEND_MEMORY;
    options->file_size_max = TAC_GIB;
    options->page_cache_size = options->index_cache_size = TAC_MIB;
    options->tables_max = 1024;
    options->uuid[0] = (uint8_t)(1 + number);
}

static void tree_create(struct load *load)
{
    const struct tactus_layout layout = {TACTUS_LAYOUT_FIXED, 8, VALUE_BYTES};

    if (tactus_tree_create(load->store, "t", &layout, &load->tree) != TACTUS_OK) {
        tap_bail("tree: %s", tactus_message());
    }
}

/* pool NULL: a store on its own, which the caller steps. */
static void load_open(struct load *load, struct tactus_pool *pool, uint64_t number)
{
    struct tactus_options options;
    int                   code;

    load_options(number, &options);
    memset(load, 0, sizeof *load);
    load->number = number;
    code = pool == NULL ? tactus_open("store", &options, &load->store)
                        : tactus_open_in(pool, "store", &options, &load->store);
    if (code != TACTUS_OK) {
        tap_bail("open: %s", tactus_message());
    }
    tree_create(load);
}

static int put(struct load *load, uint64_t i)
{
    uint64_t key = tac_mix_u64(i + 1000000 * load->number);
    uint8_t  value[VALUE_BYTES] = {0};

    memcpy(value, &i, sizeof i);
    return tactus_put(load->store, load->tree, &key, sizeof key, value, sizeof value);
}

static bool all_are_there(struct load *load)
{
    uint8_t value[VALUE_BYTES];
    size_t  size;

    for (uint64_t i = 0; i < RECORDS; i++) {
        uint64_t key = tac_mix_u64(i + 1000000 * load->number);

        if (tactus_get(load->store, load->tree, &key, sizeof key, value, sizeof value, &size) !=
                TACTUS_OK ||
            memcmp(value, &i, sizeof i) != 0) {
            return false;
        }
    }
    return true;
}

static void *load_main(void *argument)
{
    struct load *load = argument;

    load->is_right = true;
    for (uint64_t i = 0; i < RECORDS && load->is_right; i++) {
        load->is_right = put(load, i) == TACTUS_OK;
    }
    load->is_right = load->is_right && tactus_drain(load->store) == TACTUS_OK &&
                     tactus_digest(load->store, load->digest) == TACTUS_OK;
    tac_atomic_store_release_u32(&load->is_over, 1);
    return NULL;
}

static void load_start(struct load *load, pthread_t *thread)
{
    if (pthread_create(thread, NULL, load_main, load) != 0) {
        tap_bail("no thread");
    }
}

/* Of the stores on their own. */
static uint8_t expected[STORES][16];

static void expected_make(void)
{
    for (uint64_t i = 0; i < STORES; i++) {
        struct load load;

        load_open(&load, NULL, i);
        (void)load_main(&load);
        if (!load.is_right || tactus_close(load.store) != TACTUS_OK) {
            tap_bail("a store on its own: %s", tactus_message());
        }
        memcpy(expected[i], load.digest, sizeof expected[i]);
    }
}

static bool is_as_alone(const struct load *load)
{
    return load->is_right && memcmp(load->digest, expected[load->number], 16) == 0;
}

static struct tactus_pool *pool_open(uint32_t read, uint32_t merge, uint32_t write)
{
    struct tactus_pool_options options;
    struct tactus_pool        *pool;

    tactus_pool_options_init(&options);
    options.threads_read = read;
    options.threads_merge = merge;
    options.threads_write = write;
    if (tactus_pool_open(&options, &pool) != TACTUS_OK) {
        tap_bail("pool: %s", tactus_message());
    }
    return pool;
}

/* ---- threads -------------------------------------------------------------------------------- */

static void test_same_bytes(uint32_t read, uint32_t merge, uint32_t write)
{
    struct tactus_pool      *pool = pool_open(read, merge, write);
    struct load              loads[STORES];
    pthread_t                threads[STORES];
    struct tactus_pool_stats stats;
    bool                     are_same = true, are_closed = true;

    for (uint64_t i = 0; i < STORES; i++) {
        load_open(&loads[i], pool, i);
    }
    tactus_pool_stat(pool, &stats);
    tap_ok(stats.stores == STORES && stats.threads_read == read && stats.threads_merge == merge &&
               stats.threads_write == write,
           "%u/%u/%u: the pool tells of its stores and threads", read, merge, write);
    for (uint32_t i = 0; i < STORES; i++) {
        load_start(&loads[i], &threads[i]);
    }
    for (uint32_t i = 0; i < STORES; i++) {
        pthread_join(threads[i], NULL);
        are_same = are_same && is_as_alone(&loads[i]) && all_are_there(&loads[i]);
    }
    tap_ok(are_same, "%u/%u/%u: each store is what it is on its own", read, merge, write);
    tactus_pool_stat(pool, &stats);
    tap_ok((stats.busy_ns > 0) == (read > 0) && (stats.idle_ns > 0) == (read > 0),
           "%u/%u/%u: threads were busy and idle", read, merge, write);
    for (uint32_t i = 0; i < STORES; i++) {
        are_closed = are_closed && tactus_close(loads[i].store) == TACTUS_OK;
    }
    tap_ok(are_closed && tactus_pool_close(pool) == TACTUS_OK,
           "%u/%u/%u: stores close, then the pool", read, merge, write);
}

/* Numbers of threads change, and other stores come and go, while one is written to. */
static void test_changes(void)
{
    struct tactus_pool      *pool = pool_open(1, 1, 1);
    struct tac_prng          prng = {7};
    struct load              load;
    struct tactus_stats      stats;
    struct tactus_pool_stats before, after = {0};
    uint64_t                 changes = 0, problems = 0;
    pthread_t                thread;

    load_open(&load, pool, 0);
    load_start(&load, &thread);
    while (tac_atomic_load_acquire_u32(&load.is_over) == 0) {
        struct load other;
        uint32_t    count[3];

        load_open(&other, pool, 1);
        for (uint64_t i = 0; i < 1000; i++) {
            problems += put(&other, i) != TACTUS_OK;
        }
        for (uint32_t i = 0; i < 3; i++) {
            count[i] = 1 + (uint32_t)tac_prng_below(&prng, 4);
        }
        before = after;
        problems += tactus_pool_threads_change(pool, count[0], count[1], count[2]) != TACTUS_OK;
        tactus_stat(load.store, &stats);
        tactus_pool_stat(pool, &after);
        problems += stats.threads_read != count[0] || stats.threads_merge != count[1] ||
                    stats.threads_write != count[2] || after.threads_read != count[0] ||
                    after.threads_merge != count[1] || after.threads_write != count[2];
        problems += after.busy_ns < before.busy_ns || after.idle_ns < before.idle_ns;
        if (changes % 2 == 0) {
            tactus_abandon(other.store);
        } else {
            problems += tactus_close(other.store) != TACTUS_OK;
        }
        changes++;
    }
    pthread_join(thread, NULL);
    tap_ok(problems == 0 && changes > 0, "%llu changes of threads and stores beside it are told of",
           (unsigned long long)changes);
    tap_ok(is_as_alone(&load) && all_are_there(&load), "the store is what it is without them");
    tactus_stat(load.store, &stats);
    tap_ok(stats.stage[TACTUS_STAGE_MERGE].bytes ==
                   stats.records_merged * (sizeof(uint64_t) + VALUE_BYTES) &&
               stats.stage[TACTUS_STAGE_READ].gathered_bytes == stats.user_bytes,
           "what threads did that have ended counts, and only this store's");
    tap_ok(tactus_close(load.store) == TACTUS_OK && tactus_pool_close(pool) == TACTUS_OK,
           "both close");
}

/* ---- a store that is no good neighbour ------------------------------------------------------- */

/* Of the one storage that these stand for: what is under way does not come to its end while it is
 * held, and writes fail once they are to. */
static uint32_t                      is_held, does_fail; /* Atomic */
static uint32_t                      held_count; /* Atomic: requests submitted while it is held */
static struct tac_storage_ops        bad_ops;
static const struct tac_storage_ops *good_ops;

static uint32_t bad_reap(struct tac_io_queue *queue, struct tac_io **ret_list)
{
    uint32_t count;

    if (tac_atomic_load_acquire_u32(&is_held) != 0) {
        return 0;
    }
    count = good_ops->reap(queue, ret_list);
    for (struct tac_io *io = count > 0 ? *ret_list : NULL; io != NULL; io = io->next) {
        if (io->kind == TAC_IO_WRITE && tac_atomic_load_acquire_u32(&does_fail) != 0) {
            io->result = TACTUS_EIO;
            io->os_error = EIO;
        }
    }
    return count;
}

static bool bad_submit(struct tac_io_queue *queue, struct tac_io *io)
{
    bool is_taken = good_ops->submit(queue, io);

    if (is_taken && tac_atomic_load_acquire_u32(&is_held) != 0) {
        tac_atomic_fetch_add_u32(&held_count, 1);
    }
    return is_taken;
}

static void bad_load_open(struct load *load, struct tactus_pool *pool, struct tac_memory_disk *disk)
{
    struct tactus_options options;
    struct tac_storage   *storage;
    struct tac_error      error;

    load_options(1, &options);
    memset(load, 0, sizeof *load);
    load->number = 1;
    is_held = does_fail = held_count = 0;
    if (tac_storage_open_memory(disk, &storage, &error) != TACTUS_OK) {
        tap_bail("%s", error.message);
    }
    good_ops = storage->ops;
    bad_ops = *good_ops;
    bad_ops.reap = bad_reap;
    bad_ops.submit = bad_submit;
    storage->ops = &bad_ops;
    if (tac_store_create(storage, &options, &error) != TACTUS_OK ||
        tac_store_open_in(pool, storage, &options, NULL, NULL, &load->store, &error) != TACTUS_OK) {
        tap_bail("%s", error.message);
    }
    tree_create(load);
}

static void test_slow_device(void)
{
    struct tactus_pool     *pool = pool_open(1, 1, 1);
    struct tac_memory_disk *disk = tac_memory_disk_new(0);
    struct load             slow, other;
    pthread_t               thread;

    bad_load_open(&slow, pool, disk);
    load_open(&other, pool, 2);
    tac_atomic_store_release_u32(&is_held, 1);
    load_start(&slow, &thread);
    (void)load_main(&other);
    rest();
    tap_ok(is_as_alone(&other) && tac_atomic_load_acquire_u32(&slow.is_over) == 0,
           "a device that gives nothing back holds up its own store only");
    tap_ok(tactus_close(other.store) == TACTUS_OK, "another store closes meanwhile");
    tap_ok(tactus_pool_threads_change(pool, 2, 2, 2) == TACTUS_OK, "threads are added");
    tac_atomic_store_release_u32(&is_held, 0);
    pthread_join(thread, NULL);
    tap_ok(is_as_alone(&slow) && tactus_close(slow.store) == TACTUS_OK,
           "it goes on when the device does");
    tap_ok(tactus_pool_close(pool) == TACTUS_OK, "the pool closes");
    tac_memory_disk_free(disk);
}

static void *abandon_main(void *argument)
{
    struct load *load = argument;

    tactus_abandon(load->store);
    tac_atomic_store_release_u32(&load->is_over, 1);
    return NULL;
}

/* Until something is under way, and stays so. */
static void requests_await(void)
{
    for (uint32_t i = 0; tac_atomic_load_acquire_u32(&held_count) == 0; i++) {
        if (i > 1000) {
            tap_bail("nothing comes to be under way");
        }
        rest();
    }
}

/* Its requests are under way, and stay so, when it is to leave. */
static void test_leave(void)
{
    struct tactus_pool     *pool = pool_open(1, 2, 1);
    struct tac_memory_disk *disk = tac_memory_disk_new(0);
    struct load             slow, other;
    pthread_t               thread;
    struct tactus_stats     stats;
    uint64_t                i = 0;

    bad_load_open(&slow, pool, disk);
    load_open(&other, pool, 2);
    do { /* Into the next bar, whose flush is paid for by beats to come. */
        if (put(&slow, i++) != TACTUS_OK) {
            tap_bail("%s", tactus_message());
        }
        tactus_stat(slow.store, &stats);
    } while (stats.bars < 2);
    tac_atomic_store_release_u32(&is_held, 1);
    do { /* A beat or two, in which nobody waits yet */
        if (put(&slow, i++) != TACTUS_OK) {
            tap_bail("%s", tactus_message());
        }
        tactus_stat(slow.store, &stats);
    } while (stats.beats < 3);
    requests_await();
    if (pthread_create(&thread, NULL, abandon_main, &slow) != 0) {
        tap_bail("no thread");
    }
    (void)load_main(&other);
    tap_ok(tac_atomic_load_acquire_u32(&slow.is_over) == 0 && is_as_alone(&other),
           "a store leaves when what it has under way is over; others go on meanwhile");
    tac_atomic_store_release_u32(&is_held, 0);
    pthread_join(thread, NULL);
    tap_ok(tactus_close(other.store) == TACTUS_OK && tactus_pool_close(pool) == TACTUS_OK,
           "all close");
    tac_memory_disk_free(disk);
}

static void test_failure(void)
{
    struct tactus_pool     *pool = pool_open(1, 2, 1);
    struct tac_memory_disk *disk = tac_memory_disk_new(0);
    struct load             bad, other;
    pthread_t               thread;

    bad_load_open(&bad, pool, disk);
    load_open(&other, pool, 2);
    tac_atomic_store_release_u32(&does_fail, 1);
    load_start(&bad, &thread);
    (void)load_main(&other);
    pthread_join(thread, NULL);
    tap_ok(!bad.is_right && put(&bad, 0) == TACTUS_EPOISONED, "a write fails: its store stops");
    tap_ok(is_as_alone(&other), "others go on");
    tap_ok(tactus_close(bad.store) == TACTUS_EPOISONED && tactus_close(other.store) == TACTUS_OK &&
               tactus_pool_close(pool) == TACTUS_OK,
           "all close");
    tac_memory_disk_free(disk);
}

static void test_pause(void)
{
    struct tactus_pool *pool = pool_open(1, 1, 1);
    struct load         paused, other;
    uint64_t            i = 0;
    int                 code;

    load_open(&paused, pool, 1);
    load_open(&other, pool, 2);
    code = tactus_pause(paused.store);
    while (code == TACTUS_OK) {
        code = put(&paused, i++);
    }
    (void)load_main(&other);
    tap_ok(code == TACTUS_EPAUSED && is_as_alone(&other), "a pause is of one store");
    tap_ok(tactus_resume(paused.store) == TACTUS_OK, "it ends");
    (void)load_main(&paused);
    tap_ok(paused.is_right && all_are_there(&paused), "and the store goes on");
    tap_ok(tactus_close(paused.store) == TACTUS_OK && tactus_close(other.store) == TACTUS_OK &&
               tactus_pool_close(pool) == TACTUS_OK,
           "all close");
}

/* ---- without threads ------------------------------------------------------------------------- */

static void test_stepped(void)
{
    struct tactus_pool *pool = pool_open(0, 0, 0);
    struct load         loads[2];
    struct tactus_stats stats[2];
    uint64_t            steps = 0, i = 0;

    for (uint64_t number = 0; number < 2; number++) {
        load_open(&loads[number], pool, number);
    }
    do { /* Alike, so that they come to the same beat. */
        if (put(&loads[0], i) != TACTUS_OK || put(&loads[1], i) != TACTUS_OK) {
            tap_bail("%s", tactus_message());
        }
        i++;
        tactus_stat(loads[0].store, &stats[0]);
    } while (stats[0].bars < 3 || stats[0].beats < 8);
    while (tactus_pool_step(pool)) {
        steps++;
    }
    tactus_stat(loads[0].store, &stats[0]);
    tactus_stat(loads[1].store, &stats[1]);
    tap_ok(steps > 0 && stats[0].bar_work_done_bytes > 0 && stats[1].bar_work_done_bytes > 0 &&
               !tactus_step(loads[0].store) && !tactus_step(loads[1].store),
           "%llu steps of the pool do what there is to do in all stores",
           (unsigned long long)steps);
    tap_ok(tactus_pool_threads_change(pool, 1, 1, 1) == TACTUS_EOPTION,
           "a pool without threads stays so: %s", tactus_message());
    tap_ok(tactus_close(loads[0].store) == TACTUS_OK && tactus_close(loads[1].store) == TACTUS_OK &&
               !tactus_pool_step(pool) && tactus_pool_close(pool) == TACTUS_OK,
           "all close");
}

/* A callback that closes another store of the pool, and opens one. */
struct changer {
    struct tactus_pool *pool;
    struct load        *other, *opened;
    uint32_t            calls;
};

static void changer_event(void *context, const struct tactus_event *event)
{
    struct changer *changer = context;

    (void)event;
    if (changer->calls == 0) {
        if (tactus_close(changer->other->store) != TACTUS_OK) {
            tap_bail("%s", tactus_message());
        }
        load_open(changer->opened, changer->pool, 2);
    }
    changer->calls++;
}

static void test_stepped_callback(void)
{
    struct tactus_pool *pool = pool_open(0, 0, 0);
    struct load         loads[3];
    struct changer      changer = {.pool = pool, .other = &loads[1], .opened = &loads[2]};
    struct tactus_stats stats;
    uint64_t            i = 0;

    load_open(&loads[0], pool, 0);
    load_open(&loads[1], pool, 1);
    do { /* Until there is something to flush, and leave to do it. */
        if (put(&loads[0], i) != TACTUS_OK) {
            tap_bail("%s", tactus_message());
        }
        i++;
        tactus_stat(loads[0].store, &stats);
    } while (stats.bars < 3 || stats.beats < 8);
    if (tactus_events_set(loads[0].store, changer_event, &changer, TACTUS_EVENT_JOB, 0) !=
        TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
    alarm(60); /* It would wait for ever. */
    while (tactus_pool_step(pool)) {
    }
    alarm(0);
    tap_ok(changer.calls > 0 && put(&loads[2], 0) == TACTUS_OK,
           "what a step of the pool calls may close a store of it, and open one (%u events)",
           changer.calls);
    tap_ok(tactus_close(loads[0].store) == TACTUS_OK && tactus_close(loads[2].store) == TACTUS_OK &&
               tactus_pool_close(pool) == TACTUS_OK,
           "and the pool is empty afterwards");
}

/* ---- memory ---------------------------------------------------------------------------------- */

static struct tactus_pool *memory_pool_open(uint64_t memory_size, uint32_t shares)
{
    struct tactus_pool_options options;
    struct tactus_pool        *pool;

    tactus_pool_options_init(&options);
    options.threads = 3;
    options.memory_size = memory_size;
    options.memory_shares = shares;
    if (tactus_pool_open(&options, &pool) != TACTUS_OK) {
        tap_bail("pool: %s", tactus_message());
    }
    return pool;
}

static uint64_t taken(struct tactus_pool *pool)
{
    struct tactus_pool_stats stats;

    tactus_pool_stat(pool, &stats);
    return stats.memory_budget_bytes;
}

static uint64_t budget(struct tactus *store)
{
    struct tactus_stats stats;

    tactus_stat(store, &stats);
    return stats.memory_budget_bytes;
}

static bool says(uint64_t number)
{
    char text[32];

    snprintf(text, sizeof text, "%llu", (unsigned long long)number);
    return strstr(tactus_message(), text) != NULL;
}

static void test_budget(void)
{
    struct tactus_pool      *pool = memory_pool_open(0, 1);
    struct tactus_options    options;
    struct tactus           *stores[2], *third;
    struct tactus_pool_stats stats;
    uint64_t                 bytes;

    load_options(0, &options);
    if (tactus_open_in(pool, "a", &options, &stores[0]) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
    bytes = budget(stores[0]);
    tap_ok(taken(pool) == bytes, "without a limit, too, what stores have taken is told");
    tap_ok(tactus_close(stores[0]) == TACTUS_OK && taken(pool) == 0 &&
               tactus_pool_close(pool) == TACTUS_OK,
           "a close gives it back");

    pool = memory_pool_open(2 * bytes + 1000, 1);
    tap_ok(tactus_open_in(pool, "a", &options, &stores[0]) == TACTUS_OK &&
               tactus_open_in(pool, "b", &options, &stores[1]) == TACTUS_OK &&
               taken(pool) == 2 * bytes,
           "two stores fit");
    tap_ok(tactus_open_in(pool, "the third", &options, &third) == TACTUS_ENOMEM && says(bytes) &&
               says(2 * bytes + 1000) && says(1000) &&
               strstr(tactus_message(), "the third") != NULL,
           "a third one does not: %s", tactus_message());
    tactus_pool_stat(pool, &stats);
    tap_ok(stats.stores == 2 && taken(pool) == 2 * bytes && stats.memory_size == 2 * bytes + 1000,
           "which has taken nothing");
    tap_ok(tactus_close(stores[0]) == TACTUS_OK &&
               tactus_open_in(pool, "the third", &options, &stores[0]) == TACTUS_OK,
           "when one has closed, it does");
    options.page_cache_size += 2000;
    tap_ok(tactus_close(stores[1]) == TACTUS_OK &&
               tactus_open_in(pool, "larger", &options, &stores[1]) == TACTUS_ENOMEM,
           "to the byte");
    options.page_cache_size -= 1000;
    tap_ok(tactus_open_in(pool, "larger", &options, &stores[1]) == TACTUS_OK &&
               taken(pool) == 2 * bytes + 1000,
           "all of it can be taken");
    tap_ok(tactus_close(stores[0]) == TACTUS_OK && tactus_close(stores[1]) == TACTUS_OK &&
               taken(pool) == 0 && tactus_pool_close(pool) == TACTUS_OK,
           "all close");
}

static void test_shares(void)
{
    struct tactus_pool   *pool = memory_pool_open(400 * TAC_MIB, 4);
    struct tactus_options options;
    struct tactus        *stores[4], *more;
    bool                  are_open = true, are_closed = true;

    load_options(0, &options);
    options.page_cache_size = options.index_cache_size = TACTUS_SIZE_AUTO;
    options.memory_size = TACTUS_SIZE_AUTO;
    for (uint32_t i = 0; i < 4; i++) {
        are_open = are_open && tactus_open_in(pool, "store", &options, &stores[i]) == TACTUS_OK &&
                   budget(stores[i]) == 100 * TAC_MIB;
    }
    tap_ok(are_open && taken(pool) == 400 * TAC_MIB, "each of four stores takes its share");
    tap_ok(tactus_open_in(pool, "store", &options, &more) == TACTUS_ENOMEM, "a fifth has none");
    for (uint32_t i = 0; i < 4; i++) {
        are_closed = are_closed && tactus_close(stores[i]) == TACTUS_OK;
    }
    tap_ok(are_closed && tactus_pool_close(pool) == TACTUS_OK, "all close");

    pool = memory_pool_open(64 * TAC_MIB, 64);
    tap_ok(tactus_open_in(pool, "store", &options, &more) == TACTUS_EOPTION && says(TAC_MIB) &&
               taken(pool) == 0,
           "a share that is too small is refused: %s", tactus_message());
    tap_ok(tactus_pool_close(pool) == TACTUS_OK, "the pool closes");
    tap_ok(tactus_open("store", &options, &more) == TACTUS_OK &&
               budget(more) > (64 + 192) * TAC_MIB && tactus_close(more) == TACTUS_OK,
           "without a pool there is no limit");
}

/* The memory of a log is taken with the store's, and given back when the log is taken away. */
static void test_log(void)
{
    struct tactus_pool   *pool = memory_pool_open(TAC_GIB, 1);
    const char           *directory = getenv("TMPDIR");
    struct tactus_options options;
    struct tactus        *store;
    char                  path[512], log_path[520];
    uint64_t              bytes, with_log;

    snprintf(path, sizeof path, "%s/pool-%ld", directory != NULL ? directory : "/tmp",
             (long)getpid());
    snprintf(log_path, sizeof log_path, "%s-wal", path);
    load_options(0, &options);
    options.backend = TACTUS_BACKEND_AUTO;
    tap_ok(tactus_open_in(pool, path, &options, &store) == TACTUS_ENOSTORE &&
               strstr(tactus_message(), path) != NULL,
           "a store that is not there is named");
    if (tactus_create(path, &options) != TACTUS_OK ||
        tactus_open_in(pool, path, &options, &store) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
    bytes = budget(store);
    tap_ok(taken(pool) == bytes && tactus_close(store) == TACTUS_OK, "a store in a file");
    options.log = TACTUS_LOG_SYNC;
    if (tactus_open_in(pool, path, &options, &store) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
    with_log = budget(store);
    tap_ok(with_log > bytes && taken(pool) == with_log && tactus_close(store) == TACTUS_OK &&
               taken(pool) == 0,
           "that has a log now");
    options.log = TACTUS_LOG_NONE;
    if (tactus_open_in(pool, path, &options, &store) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
    tap_ok(budget(store) == bytes && taken(pool) == bytes && tactus_close(store) == TACTUS_OK &&
               taken(pool) == 0,
           "and none any more");
    tap_ok(tactus_pool_close(pool) == TACTUS_OK, "the pool closes");
    (void)unlink(path);
    (void)unlink(log_path);
}

/* ---- refusals -------------------------------------------------------------------------------- */

static bool pool_is_refused(const struct tactus_pool_options *options, const char *what)
{
    struct tactus_pool *pool = NULL;

    return tactus_pool_open(options, &pool) == TACTUS_EOPTION && pool == NULL &&
           strstr(tactus_message(), what) != NULL;
}

static void test_options(void)
{
    struct tactus_pool_options options;
    bool                       are_refused;

    tactus_pool_options_init(&options);
    options.threads = 2;
    are_refused = pool_is_refused(&options, "threads");
    tactus_pool_options_init(&options);
    options.threads_merge = 65;
    are_refused = are_refused && pool_is_refused(&options, "threads_merge");
    tactus_pool_options_init(&options);
    options.threads_merge = 0;
    are_refused = are_refused && pool_is_refused(&options, "threads_merge");
    tactus_pool_options_init(&options);
    options.memory_size = TACTUS_SIZE_AUTO;
    are_refused = are_refused && pool_is_refused(&options, "memory_size");
    tactus_pool_options_init(&options);
    options.memory_shares = 0;
    are_refused = are_refused && pool_is_refused(&options, "memory_shares");
    tap_ok(are_refused, "options that cannot be are refused");
    memset(&options, 0, sizeof options);
    tap_ok(pool_is_refused(&options, "tactus_pool_options_init"), "and those nobody has filled: %s",
           tactus_message());
    tactus_pool_options_init(&options);
    tap_ok(tactus_pool_open(&options, NULL) == TACTUS_EINVAL, "so is no place for the handle");
}

/* A program that was compiled with a tactus.h whose structs are longer, or shorter. */
static void test_versions(void)
{
    union {
        struct tactus_pool_options options;
        struct tactus_pool_stats   stats;
        uint8_t                    bytes[256];
    } room;
    size_t              options_bytes = sizeof room.options, stats_bytes = sizeof room.stats;
    struct tactus_pool *pool;

    memset(&room, 0xa5, sizeof room);
    tactus_pool_options_init_sized(&room.options, options_bytes + 8);
    tap_ok(room.options.struct_size == options_bytes + 8 && room.bytes[options_bytes] == 0 &&
               room.bytes[options_bytes + 7] == 0 && room.bytes[options_bytes + 8] == 0xa5,
           "a longer struct is filled to its end, and no further");
    room.options.threads = 0;
    room.bytes[options_bytes + 3] = 1;
    tap_ok(pool_is_refused(&room.options, "newer library"), "what is set in it is refused: %s",
           tactus_message());
    room.bytes[options_bytes + 3] = 0;
    tap_ok(tactus_pool_open(&room.options, &pool) == TACTUS_OK, "what is not, is not");
    memset(&room, 0xa5, sizeof room);
    tactus_pool_stat_sized(pool, &room.stats, stats_bytes + 8);
    tap_ok(room.stats.struct_size == stats_bytes && room.bytes[stats_bytes + 7] == 0 &&
               room.bytes[stats_bytes + 8] == 0xa5,
           "of longer statistics the rest is 0");
    memset(&room, 0xa5, sizeof room);
    tactus_pool_stat_sized(pool, &room.stats, offsetof(struct tactus_pool_stats, busy_ns));
    tap_ok(room.stats.struct_size == offsetof(struct tactus_pool_stats, busy_ns) &&
               room.stats.memory_budget_bytes == 0 && room.stats.busy_ns == 0xa5a5a5a5a5a5a5a5 &&
               tactus_pool_close(pool) == TACTUS_OK,
           "of shorter ones no more is written");
    tactus_pool_options_init_sized(&room.options,
                                   offsetof(struct tactus_pool_options, threads_priority));
    room.options.threads = 3;
    room.options.threads_priority = (enum tactus_priority)77; /* Behind the program's struct */
    tap_ok(tactus_pool_open(&room.options, &pool) == TACTUS_OK &&
               tactus_pool_close(pool) == TACTUS_OK,
           "a shorter struct is read to its end only");
}

static void test_refusals(void)
{
    struct tactus_pool   *pool;
    struct tactus_options options;
    struct tactus        *none = NULL;
    struct load           load;
    int                   descriptor;

    if (tactus_pool_open(NULL, &pool) != TACTUS_OK) {
        tap_bail("pool: %s", tactus_message());
    }
    load_open(&load, pool, 0);
    tap_ok(tactus_pool_close(pool) == TACTUS_EINVAL && put(&load, 1) == TACTUS_OK,
           "a pool with a store in it does not close: %s", tactus_message());
    tap_ok(tactus_threads_change(load.store, 1, 1, 1) == TACTUS_EOPTION &&
               strstr(tactus_message(), "tactus_pool_threads_change") != NULL,
           "a store in a pool has no threads to change");
    tap_ok(tactus_pool_threads_change(pool, 0, 0, 0) == TACTUS_EOPTION &&
               tactus_pool_threads_change(pool, 1, 65, 1) == TACTUS_EOPTION && says(65) &&
               put(&load, 2) == TACTUS_OK,
           "numbers that cannot be are refused, and the pool goes on");
    tap_ok(!tactus_pool_step(pool) && !tactus_step(load.store) &&
               tactus_descriptor(load.store, &descriptor) == TACTUS_EOPTION,
           "where there are threads there is nothing to step");
    load_options(0, &options);
    options.ring_size = 3;
    tap_ok(tactus_open_in(pool, "store", &options, &none) == TACTUS_EOPTION && none == NULL &&
               tactus_open_in(NULL, "store", NULL, &none) == TACTUS_EINVAL &&
               tactus_open_in(pool, "store", NULL, NULL) == TACTUS_EINVAL,
           "what cannot be opened is not");
    tap_ok(tactus_close(load.store) == TACTUS_OK && tactus_pool_close(pool) == TACTUS_OK,
           "both close");
}

int main(void)
{
    tap_plan(0);
    expected_make();
    test_same_bytes(1, 1, 1);
    test_same_bytes(2, 3, 2);
    test_same_bytes(0, 0, 0);
    test_changes();
    test_slow_device();
    test_leave();
    test_failure();
    test_pause();
    test_stepped();
    test_stepped_callback();
    test_budget();
    test_shares();
    test_log();
    test_options();
    test_versions();
    test_refusals();
    return tap_done();
}
