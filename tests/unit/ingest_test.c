/* SPDX-License-Identifier: Apache-2.0 */
/* Sorted runs from outside: where their tables go, what tombstones do, what a wrong run changes
 * (nothing), what a crash leaves, and that a store that cannot hold a run says so first. */
#include <inttypes.h>
#include <pthread.h>
#include <string.h>

#include "base/units.h"
#include "queues/atomics.h"
#include "tactus.h"
#include "tests/lib/small_options.h"
#include "tests/lib/tap.h"

#define VALUE_BYTES 100
#define BLOCK_RECORDS 7 /* Given by one call of the reader */
#define READER_ERROR 1234
#define NEVER UINT64_MAX

/* Records with the keys first, first + step, …; values tell their number and the run's. */
struct run {
    uint64_t                 next, end, step;
    uint64_t                 value;
    bool                     is_tombstones;
    uint64_t                 fails_at; /* Key at which the reader fails */
    uint64_t                 swaps_at; /* Key that is given twice */
    uint64_t                 long_at;  /* Key with too long a value */
    uint64_t                 calls_after_end;
    bool                     has_ended;
    uint8_t                  keys[BLOCK_RECORDS][8];
    uint8_t                  values[BLOCK_RECORDS][VALUE_BYTES + 1];
    struct tactus_run_record records[BLOCK_RECORDS];
};

static void key_make(uint64_t number, uint8_t *key)
{
    for (uint32_t i = 0; i < 8; i++) {
        key[i] = (uint8_t)(number >> 8 * (7 - i));
    }
}

static void value_make(uint64_t number, uint64_t value, uint8_t *bytes)
{
    memset(bytes, (int)(number + value), VALUE_BYTES);
    memcpy(bytes, &number, sizeof number);
    memcpy(bytes + 8, &value, sizeof value);
}

static int run_read(void *context, const struct tactus_run_record **ret_records, size_t *ret_count)
{
    struct run *run = context;
    size_t      count = 0;

    run->calls_after_end += run->has_ended;
    /* What was given before is the reader's again. */
    memset(run->keys, 0xff, sizeof run->keys);
    memset(run->values, 0xff, sizeof run->values);
    for (; count < BLOCK_RECORDS && run->next < run->end; count++) {
        if (run->next == run->fails_at) {
            return READER_ERROR;
        }
        key_make(run->next, run->keys[count]);
        value_make(run->next, run->value, run->values[count]);
        run->records[count] = (struct tactus_run_record){
            .key = run->keys[count],
            .key_size = 8,
            .value = run->values[count],
            .value_size = VALUE_BYTES + (run->next == run->long_at),
            .is_tombstone = run->is_tombstones,
        };
        if (run->next == run->swaps_at) {
            run->swaps_at = NEVER;
        } else {
            run->next += run->step;
        }
    }
    run->has_ended = count == 0;
    *ret_records = run->records;
    *ret_count = count;
    return TACTUS_OK;
}

static struct run run_of(uint64_t first, uint64_t end, uint64_t step, uint64_t value)
{
    return (struct run){.next = first,
                        .end = end,
                        .step = step,
                        .value = value,
                        .fails_at = NEVER,
                        .swaps_at = NEVER,
                        .long_at = NEVER};
}

static struct tactus *store_open(uint32_t threads, uint64_t file_size_max, uint32_t *ret_tree)
{
    struct tactus_options options;
    struct tactus_layout  layout = {TACTUS_LAYOUT_FIXED, 8, VALUE_BYTES};
    struct tactus        *store;

    small_options(&options);
    options.table_size = 16 * TAC_KIB;
    options.threads = threads;
    options.backend = TACTUS_BACKEND_MEMORY;
    options.file_size_max = file_size_max;
    if (tactus_open("ingest", &options, &store) != TACTUS_OK ||
        tactus_tree_create(store, "t", &layout, ret_tree) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
    return store;
}

static struct tactus_stats stats_of(struct tactus *store)
{
    struct tactus_stats stats;

    tactus_stat(store, &stats);
    return stats;
}

static int ingest(struct tactus *store, uint32_t tree, struct run run, uint64_t *ret_op)
{
    int result = tactus_ingest(store, tree, run_read, &run, ret_op);

    if (run.calls_after_end > 0) {
        tap_bail("the reader was called after its end");
    }
    return result;
}

static void ingest_ok(struct tactus *store, uint32_t tree, struct run run)
{
    uint64_t before = tactus_last_op(store), op = 0;

    if (ingest(store, tree, run, &op) != TACTUS_OK) {
        tap_bail("ingest: %s", tactus_message());
    }
    if (op != before + 1 || tactus_last_op(store) != op || tactus_durable_op(store) != op) {
        tap_bail("op %" PRIu64 " after %" PRIu64 ", durable %" PRIu64, op, before,
                 tactus_durable_op(store));
    }
}

static void put(struct tactus *store, uint32_t tree, uint64_t number, uint64_t value)
{
    uint8_t key[8], bytes[VALUE_BYTES];

    key_make(number, key);
    value_make(number, value, bytes);
    if (tactus_put(store, tree, key, sizeof key, bytes, sizeof bytes) != TACTUS_OK) {
        tap_bail("put: %s", tactus_message());
    }
}

/* Whether the key has the value; 0: whether it is not there. */
static bool has(struct tactus *store, uint32_t tree, uint64_t number, uint64_t value)
{
    uint8_t key[8], bytes[VALUE_BYTES], expected[VALUE_BYTES];
    size_t  size;
    int     result;

    key_make(number, key);
    result = tactus_get(store, tree, key, sizeof key, bytes, sizeof bytes, &size);
    value_make(number, value, expected);
    return value == 0 ? result == TACTUS_ENOTFOUND
                      : result == TACTUS_OK && memcmp(bytes, expected, sizeof bytes) == 0;
}

static bool all_have(struct tactus *store, uint32_t tree, uint64_t first, uint64_t end,
                     uint64_t step, uint64_t value)
{
    for (uint64_t i = first; i < end; i += step) {
        if (!has(store, tree, i, value)) {
            tap_diag("key %" PRIu64 " has not value %" PRIu64, i, value);
            return false;
        }
    }
    return true;
}

static uint64_t scan_count(struct tactus *store, uint32_t tree)
{
    struct tactus_iterator *iterator;
    uint64_t                count = 0;
    int                     result;

    if (tactus_iterator_open(store, tree, &iterator) != TACTUS_OK) {
        tap_bail("iterator: %s", tactus_message());
    }
    for (result = tactus_iterator_first(iterator); result == TACTUS_OK;
         result = tactus_iterator_next(iterator)) {
        count++;
    }
    tactus_iterator_close(iterator);
    return result == TACTUS_ENOTFOUND ? count : UINT64_MAX;
}

static bool is_sound(struct tactus *store)
{
    return tactus_verify(store, NULL, NULL, NULL) == TACTUS_OK;
}

static void close_ok(struct tactus *store)
{
    tap_ok(is_sound(store), "what is reachable is sound");
    tap_ok(tactus_close(store) == TACTUS_OK, "it closes");
}

/* ---- where it goes -------------------------------------------------------------------------- */

static void test_deep(uint32_t threads)
{
    struct tactus_stats stats;
    uint32_t            tree;
    struct tactus      *store = store_open(threads, TAC_GIB, &tree);
    uint32_t            last;

    ingest_ok(store, tree, run_of(10000, 14000, 2, 1));
    stats = stats_of(store);
    last = stats.levels - 1;
    tap_ok(stats.level[last].records == 2000 && stats.level[last].tables > 10 &&
               stats.level[0].records == 0,
           "%u threads: a run into an empty tree lies in its last level, in %" PRIu64 " tables",
           threads, stats.level[last].tables);
    tap_ok(all_have(store, tree, 10000, 14000, 2, 1) && all_have(store, tree, 10001, 14000, 2, 0) &&
               scan_count(store, tree) == 2000,
           "and is read back");
    ingest_ok(store, tree, run_of(20000, 22000, 1, 2));
    ingest_ok(store, tree, run_of(100, 1100, 1, 3));
    stats = stats_of(store);
    last = stats.levels - 1;
    tap_ok(stats.level[last].records == 5000, "so do one behind it and one before it");
    ingest_ok(store, tree, run_of(1, 30001, 1000, 4));
    stats = stats_of(store);
    tap_ok(stats.level[stats.levels - 1].records < 5030,
           "one that lies over them lies above the last level where it does");
    tap_ok(has(store, tree, 10001, 4) && has(store, tree, 10000, 1) && has(store, tree, 29001, 4) &&
               scan_count(store, tree) == 5027,
           "both are read");
    tap_ok(stats.tables_moved == 0 && stats.user_bytes == 5030 * (8 + VALUE_BYTES) &&
               stats.records_put == 5030,
           "nothing of it was written twice, and it counts as written");
    close_ok(store);
}

static void test_over(uint32_t threads)
{
    uint32_t       tree;
    struct tactus *store = store_open(threads, TAC_GIB, &tree);

    for (uint64_t i = 0; i < 1000; i++) {
        put(store, tree, 10 * i, 1);
    }
    ingest_ok(store, tree, run_of(0, 5000, 20, 2));
    tap_ok(all_have(store, tree, 0, 5000, 20, 2) && all_have(store, tree, 10, 5000, 20, 1) &&
               all_have(store, tree, 5000, 10000, 10, 1),
           "%u threads: over records in both memtables the run is the newer one", threads);
    for (uint64_t i = 0; i < 500; i++) {
        put(store, tree, 20 * i, 3);
    }
    tap_ok(all_have(store, tree, 0, 10000, 20, 3), "and what is put then newer still");
    ingest_ok(store, tree, run_of(0, 10000, 1, 4));
    tap_ok(all_have(store, tree, 0, 10000, 1, 4) && scan_count(store, tree) == 10000,
           "a run of some memtables over all of it");
    tap_ok(stats_of(store).bars > 30, "has ended a bar for each");
    tap_ok(tactus_drain(store) == TACTUS_OK && all_have(store, tree, 0, 10000, 1, 4),
           "and stays the newest when compacted");
    close_ok(store);
}

static void test_tombstones(void)
{
    uint32_t            tree;
    struct tactus      *store = store_open(0, TAC_GIB, &tree);
    struct run          run = run_of(1000, 3000, 1, 0);
    struct tactus_stats stats;

    run.is_tombstones = true;
    ingest_ok(store, tree, run);
    tap_ok(stats_of(store).live_bytes == 0 && stats_of(store).records_deleted == 2000,
           "tombstones that lie over nothing are left out, and are an op all the same");
    ingest_ok(store, tree, run_of(1500, 2000, 1, 1));
    run.end = 4000;
    ingest_ok(store, tree, run);
    stats = stats_of(store);
    tap_ok(scan_count(store, tree) == 0 && stats.level[stats.levels - 1].tombstones == 0 &&
               stats.level[0].tombstones == 500,
           "those that lie over records hide them, from above");
    tap_ok(tactus_compact(store, tree) == TACTUS_OK && stats_of(store).live_bytes == 0,
           "and go with them");
    put(store, tree, 77, 1);
    run = run_of(77, 78, 1, 0);
    run.is_tombstones = true;
    ingest_ok(store, tree, run);
    tap_ok(has(store, tree, 77, 0), "one over a record in the memtable hides it");
    close_ok(store);
}

/* ---- what is wrong -------------------------------------------------------------------------- */

static void test_errors(void)
{
    uint32_t            tree;
    struct tactus      *store = store_open(0, TAC_GIB, &tree);
    struct tactus_stats before, after;
    struct run          run;
    uint64_t            op = 77;

    ingest_ok(store, tree, run_of(0, 3000, 3, 1));
    before = stats_of(store);
    run = run_of(0, 5000, 1, 2);
    run.fails_at = 4000;
    tap_ok(ingest(store, tree, run, &op) == READER_ERROR &&
               strstr(tactus_message(), "behind record 3997") != NULL,
           "the reader's own error comes back: %s", tactus_message());
    run.fails_at = NEVER;
    run.next = run.swaps_at = 100;
    tap_ok(ingest(store, tree, run, &op) == TACTUS_EINVAL &&
               strstr(tactus_message(), "record 2 of the run") != NULL,
           "a key twice: %s", tactus_message());
    run.swaps_at = NEVER;
    run.long_at = 300;
    tap_ok(ingest(store, tree, run, &op) == TACTUS_EVALUESIZE &&
               strstr(tactus_message(), "record 201 of the run") != NULL,
           "a value that is too long: %s", tactus_message());
    tap_ok(ingest(store, tree + 1, run_of(0, 9, 1, 2), &op) == TACTUS_ENOTREE, "no such tree");
    tap_ok(tactus_ingest(store, tree, NULL, NULL, &op) == TACTUS_EINVAL, "no reader");
    tap_ok(ingest(store, tree, run_of(5, 5, 1, 2), &op) == TACTUS_OK, "a run without records");
    after = stats_of(store);
    tap_ok(op == 77 && after.last_op == before.last_op && after.bars == before.bars &&
               after.checkpoint_sequence == before.checkpoint_sequence &&
               after.live_bytes == before.live_bytes &&
               after.blocks_acquired == before.blocks_acquired,
           "none of them has changed anything");
    ingest_ok(store, tree, run_of(1, 5000, 3, 2));
    tap_ok(all_have(store, tree, 0, 3000, 3, 1) && all_have(store, tree, 1, 5000, 3, 2),
           "the next one goes in");
    tap_ok(tactus_pause(store) == TACTUS_OK &&
               ingest(store, tree, run_of(0, 9, 1, 2), &op) == TACTUS_EPAUSED &&
               tactus_resume(store) == TACTUS_OK,
           "in a pause none is taken");
    close_ok(store);
}

static void test_full(void)
{
    uint32_t       tree;
    struct tactus *store = store_open(0, 4 * TAC_MIB, &tree);
    uint64_t       first = 0, op;
    int            result;

    tap_ok(ingest(store, tree, run_of(1 << 20, 1 << 21, 1, 1), &op) == TACTUS_EFULL &&
               tactus_last_op(store) == 1 && scan_count(store, tree) == 0,
           "a run without room: %s", tactus_message());
    do {
        result = ingest(store, tree, run_of(first, first + 500, 1, 1), &op);
        first += 500;
    } while (result == TACTUS_OK);
    first -= 500;
    tap_ok(result == TACTUS_EFULL && first > 5000 && scan_count(store, tree) == first,
           "runs until the store is full: %" PRIu64 " records, then %s", first, tactus_message());
    tap_ok(tactus_drain(store) == TACTUS_OK, "it can still be drained");
    for (uint64_t i = 0; i < first; i += 2) {
        uint8_t key[8];

        key_make(i, key);
        if (tactus_delete(store, tree, key, sizeof key) != TACTUS_OK) {
            tap_bail("delete: %s", tactus_message());
        }
    }
    tap_ok(scan_count(store, tree) == first / 2, "and records be deleted");
    close_ok(store);
}

static void test_runs_of_one(void)
{
    struct tactus_options options;
    struct tactus_layout  layout = {TACTUS_LAYOUT_FIXED, 8, VALUE_BYTES};
    struct tactus        *store;
    uint32_t              tree;

    small_options(&options);
    options.runs_per_level = 1;
    options.backend = TACTUS_BACKEND_MEMORY;
    if (tactus_open("ingest", &options, &store) != TACTUS_OK ||
        tactus_tree_create(store, "t", &layout, &tree) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
    tap_ok(ingest(store, tree, run_of(0, 9, 1, 1), NULL) == TACTUS_EOPTION,
           "with runs of 1 there are none: %s", tactus_message());
    close_ok(store);
}

/* ---- beside others -------------------------------------------------------------------------- */

#define BESIDE_KEYS 3000
#define BESIDE_RUNS 12

struct beside {
    struct tactus *store;
    uint32_t       tree, other;
    uint32_t       is_over; /* Atomic */
    uint64_t       reads, torn, puts;
};

/* What a scan finds is all of one run, and of none older than the one before. */
static void *beside_read(void *argument)
{
    struct beside *beside = argument;
    uint64_t       last = 0;

    while (tac_atomic_load_acquire_u32(&beside->is_over) == 0) {
        struct tactus_iterator *iterator;
        uint64_t                first = 0;
        int                     result;

        if (tactus_iterator_open(beside->store, beside->tree, &iterator) != TACTUS_OK) {
            tap_bail("iterator: %s", tactus_message());
        }
        for (result = tactus_iterator_first(iterator); result == TACTUS_OK;
             result = tactus_iterator_next(iterator)) {
            const void *key, *value;
            size_t      key_size, value_size;
            uint64_t    run;

            tactus_iterator_record(iterator, &key, &key_size, &value, &value_size);
            memcpy(&run, (const uint8_t *)value + 8, sizeof run);
            first = first == 0 ? run : first;
            beside->torn += run != first;
            beside->reads++;
        }
        beside->torn += result != TACTUS_ENOTFOUND && result != TACTUS_EEXPIRED;
        if (first != 0) { /* It may have expired before that. */
            beside->torn += first < last;
            last = first;
        }
        tactus_iterator_close(iterator);
    }
    return NULL;
}

static void *beside_write(void *argument)
{
    struct beside *beside = argument;

    while (tac_atomic_load_acquire_u32(&beside->is_over) == 0) {
        put(beside->store, beside->other, beside->puts++, 1);
    }
    return NULL;
}

static void test_beside(void)
{
    struct tactus_layout layout = {TACTUS_LAYOUT_FIXED, 8, VALUE_BYTES};
    struct beside        beside = {0};
    pthread_t            reader, writer;

    beside.store = store_open(4, TAC_GIB, &beside.tree);
    if (tactus_tree_create(beside.store, "other", &layout, &beside.other) != TACTUS_OK ||
        pthread_create(&reader, NULL, beside_read, &beside) != 0 ||
        pthread_create(&writer, NULL, beside_write, &beside) != 0) {
        tap_bail("no tree, or no threads");
    }
    for (uint64_t i = 1; i <= BESIDE_RUNS; i++) {
        uint64_t op;

        if (ingest(beside.store, beside.tree, run_of(0, BESIDE_KEYS, 1, i), &op) != TACTUS_OK) {
            tap_bail("ingest: %s", tactus_message());
        }
    }
    tac_atomic_store_release_u32(&beside.is_over, 1);
    pthread_join(reader, NULL);
    pthread_join(writer, NULL);
    tap_ok(beside.reads > 0 && beside.torn == 0,
           "%" PRIu64 " reads beside %d runs: each scan sees one whole run, none an older one",
           beside.reads, BESIDE_RUNS);
    tap_ok(all_have(beside.store, beside.other, 0, beside.puts, 1, 1) &&
               all_have(beside.store, beside.tree, 0, BESIDE_KEYS, 1, BESIDE_RUNS),
           "%" PRIu64 " puts of another thread are there, and the last run", beside.puts);
    close_ok(beside.store);
}

int main(void)
{
    tap_plan(0);
    test_deep(0);
    test_deep(4);
    test_over(0);
    test_over(4);
    test_tombstones();
    test_errors();
    test_full();
    test_runs_of_one();
    test_beside();
    return tap_done();
}
