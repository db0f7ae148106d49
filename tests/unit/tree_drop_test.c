/* SPDX-License-Identifier: Apache-2.0 */
/* Trees are dropped while the store runs: name and id are gone at once, the space comes back,
 * numbers are used again, and no crash keeps half of a drop. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/prng.h"
#include "base/units.h"
#include "pipeline/store.h"
#include "queues/atomics.h"
#include "tests/lib/small_options.h"
#include "tests/lib/tap.h"

#define VALUE_BYTES 100
#define PATH "tree_drop_test.store"

static const struct tactus_layout layout = {TACTUS_LAYOUT_FIXED, 8, VALUE_BYTES};

static void expect(int code, const char *what)
{
    if (code != TACTUS_OK) {
        tap_bail("%s: %d %s", what, code, tactus_message());
    }
}

static struct tactus *store_open(const struct tactus_options *options)
{
    struct tactus *store;

    expect(tactus_open(PATH, options, &store), "open");
    return store;
}

static void options_make(struct tactus_options *options)
{
    small_options(options);
    options->checkpoint_interval_bars = 1;
    options->file_size_max = 64 * TAC_MIB;
    options->page_cache_size = options->index_cache_size = TAC_MIB;
    (void)unlink(PATH);
    (void)unlink(PATH "-wal");
}

static struct tactus *store_make(struct tactus_options *options, uint32_t runs_per_level)
{
    options_make(options);
    options->runs_per_level = runs_per_level;
    expect(tactus_create(PATH, options), "create");
    return store_open(options);
}

static uint32_t tree_make(struct tactus *store, const char *name)
{
    uint32_t tree;

    expect(tactus_tree_create(store, name, &layout, &tree), "tree create");
    return tree;
}

static int put(struct tactus *store, uint32_t tree, uint64_t number)
{
    uint8_t value[VALUE_BYTES];

    memset(value, (int)number, sizeof value);
    number = __builtin_bswap64(number);
    return tactus_put(store, tree, &number, sizeof number, value, sizeof value);
}

static int get(struct tactus *store, uint32_t tree, uint64_t number)
{
    uint8_t value[VALUE_BYTES];
    size_t  size;

    number = __builtin_bswap64(number);
    return tactus_get(store, tree, &number, sizeof number, value, sizeof value, &size);
}

static void fill(struct tactus *store, uint32_t tree, uint64_t from, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        expect(put(store, tree, from + i), "put");
    }
}

/* UINT64_MAX: a record that is there could not be read. */
static uint64_t records_of(struct tactus *store, uint32_t tree, uint64_t count)
{
    uint64_t found = 0;

    for (uint64_t i = 0; i < count; i++) {
        int code = get(store, tree, i);

        if (code != TACTUS_OK && code != TACTUS_ENOTFOUND) {
            return UINT64_MAX;
        }
        found += code == TACTUS_OK;
    }
    return found;
}

static struct tactus_stats stats_of(struct tactus *store)
{
    struct tactus_stats stats;

    tactus_stat(store, &stats);
    return stats;
}

/* ---- what calls say ------------------------------------------------------------------------- */

/* A sorted run without records. */
static int run_end(void *context, const struct tactus_run_record **ret_records, size_t *ret_count)
{
    (void)context;
    (void)ret_records;
    *ret_count = 0;
    return TACTUS_OK;
}

#define CALLS 16 /* That take the id of a tree */

/* Those that know no such tree. */
static uint32_t calls_denied(struct tactus *store, uint32_t tree)
{
    struct tactus_iterator *iterator;
    struct tactus_batch    *batch;
    struct tactus_lookup    lookup = {"12345678", 8, 0, {0}};
    struct tactus_value     value;
    uint32_t                denied = 0;

    expect(tactus_batch_new(store, &batch), "batch");
    denied += put(store, tree, 1) == TACTUS_ENOTREE;
    denied += get(store, tree, 1) == TACTUS_ENOTREE;
    denied += tactus_get_pinned(store, tree, "12345678", 8, &value) == TACTUS_ENOTREE;
    denied += tactus_get_many(store, tree, &lookup, 1) == TACTUS_ENOTREE;
    denied += tactus_delete(store, tree, "12345678", 8) == TACTUS_ENOTREE;
    denied += tactus_put_if_absent(store, tree, "12345678", 8, "", 0) == TACTUS_ENOTREE;
    denied += tactus_compare_and_set(store, tree, "12345678", 8, NULL, 0, "", 0) == TACTUS_ENOTREE;
    denied += tactus_delete_range(store, tree, "a", 1, "b", 1, NULL) == TACTUS_ENOTREE;
    denied += tactus_ingest(store, tree, run_end, NULL, NULL) == TACTUS_ENOTREE;
    denied += tactus_batch_put(batch, tree, "12345678", 8, "", 0) == TACTUS_ENOTREE;
    denied += tactus_batch_delete(batch, tree, "12345678", 8) == TACTUS_ENOTREE;
    denied += tactus_batch_expect(batch, tree, "12345678", 8, NULL, 0) == TACTUS_ENOTREE;
    denied += tactus_iterator_open(store, tree, &iterator) == TACTUS_ENOTREE;
    denied += tactus_compact(store, tree) == TACTUS_ENOTREE;
    denied += tactus_compact_range(store, tree, NULL, 0, NULL, 0) == TACTUS_ENOTREE;
    denied += tactus_tree_drop(store, tree) == TACTUS_ENOTREE;
    tactus_batch_free(batch);
    return denied;
}

/* A batch of another tree's record, and one of the tree that is dropped before the commit. */
static void test_batch(struct tactus *store, uint32_t other)
{
    uint32_t             tree = tree_make(store, "batch");
    struct tactus_batch *writes, *conditions;
    uint8_t              value[VALUE_BYTES] = {0};
    uint64_t             op;

    expect(tactus_batch_new(store, &writes), "batch");
    expect(tactus_batch_new(store, &conditions), "batch");
    expect(tactus_batch_put(writes, other, "together", 8, value, sizeof value), "batch put");
    expect(tactus_batch_put(writes, tree, "together", 8, value, sizeof value), "batch put");
    expect(tactus_batch_put(conditions, other, "together", 8, value, sizeof value), "batch put");
    expect(tactus_batch_expect(conditions, tree, "together", 8, NULL, 0), "batch expect");
    expect(tactus_tree_drop(store, tree), "drop");
    op = tactus_last_op(store);
    tap_ok(tactus_batch_commit(writes, NULL) == TACTUS_ENOTREE &&
               tactus_batch_commit(conditions, NULL) == TACTUS_ENOTREE &&
               tactus_last_op(store) == op &&
               tactus_get(store, other, "together", 8, value, sizeof value, NULL) ==
                   TACTUS_ENOTFOUND,
           "a batch that was filled before changes nothing, whatever it wanted of the tree");
    tactus_batch_free(writes);
    tactus_batch_free(conditions);
}

static void test_calls(uint32_t runs_per_level)
{
    struct tactus_options   options;
    struct tactus          *store = store_make(&options, runs_per_level);
    struct tactus_tree_info infos[4];
    struct tactus_iterator *iterator;
    uint32_t                kept = tree_make(store, "kept"), tree = tree_make(store, "t"), again;
    uint32_t                found, count, steps = 0;
    uint64_t                op, bars;
    int                     code;

    fill(store, kept, 0, 1000);
    fill(store, tree, 0, 1000);
    expect(tactus_iterator_open(store, tree, &iterator), "iterator");
    expect(tactus_iterator_first(iterator), "first");
    op = tactus_last_op(store);
    tap_ok(tactus_tree_drop(store, tree) == TACTUS_OK && tactus_last_op(store) == op + 1,
           "a drop is an op (runs %u)", runs_per_level);
    tap_ok(calls_denied(store, tree) == CALLS, "no call knows the id any more");
    tap_ok(tactus_tree_find(store, "t", &found) == TACTUS_ENOTREE &&
               tactus_tree_list(store, infos, 4, &count) == TACTUS_OK && count == 1 &&
               infos[0].id == kept,
           "nor does anybody know the name");
    bars = stats_of(store).bars;
    for (code = TACTUS_OK; code == TACTUS_OK; code = tactus_iterator_next(iterator)) {
        steps++;
    }
    tap_ok(code == TACTUS_ENOTFOUND && steps == 1000, "an iterator that is open has all of it");
    again = tree_make(store, "t");
    tap_ok(again != tree && records_of(store, again, 1000) == 0 &&
               calls_denied(store, tree) == CALLS,
           "the name is free: the new tree is empty, and has another id");
    test_batch(store, kept);
    fill(store, kept, 1000, 1000);
    expect(tactus_iterator_first(iterator) == TACTUS_EEXPIRED ? TACTUS_OK : TACTUS_EINVAL,
           "expiry");
    tap_ok(stats_of(store).bars > bars, "the iterator expires with its bars");
    tactus_iterator_close(iterator);
    expect(tactus_drain(store), "drain");
    tap_ok(stats_of(store).tables_discarded == 0 && stats_of(store).discards_done > 0 &&
               stats_of(store).records_discarded > 0,
           "%llu tables were given back, %llu records not flushed",
           (unsigned long long)stats_of(store).discards_done,
           (unsigned long long)stats_of(store).records_discarded);
    tap_ok(records_of(store, kept, 2000) == 2000 &&
               tactus_verify(store, NULL, NULL, NULL) == TACTUS_OK,
           "the other tree has all of its records, and the store is sound");
    expect(tactus_close(store), "close");
    store = store_open(&options);
    tap_ok(calls_denied(store, tree) == CALLS && stats_of(store).trees == 2 &&
               tactus_tree_find(store, "t", &found) == TACTUS_OK && found == again &&
               records_of(store, kept, 2000) == 2000,
           "so it is after a reopen");
    tactus_abandon(store);
}

/* ---- numbers -------------------------------------------------------------------------------- */

static void test_many(void)
{
    struct tactus_options options;
    struct tactus        *store = store_make(&options, 4);
    struct tactus_layout  layouts[] = {
         layout, {TACTUS_LAYOUT_VARIABLE, 200, 300}, {TACTUS_LAYOUT_FIXED, 20, 4}};
    uint32_t failed = 0, tree, first = UINT32_MAX, repeated = 0;
    uint8_t  bytes[300] = {1};

    for (uint32_t i = 0; i < 1000 && failed == 0; i++) {
        const struct tactus_layout *one = &layouts[i % 3];

        failed += tactus_tree_create(store, "t", one, &tree) != TACTUS_OK;
        repeated += tree == first;
        first = i == 0 ? tree : first;
        for (uint32_t j = 0; j < i % 40 && failed == 0; j++) {
            bytes[1] = (uint8_t)j;
            failed +=
                tactus_put(store, tree, bytes, one->key_size, bytes, one->value_size) != TACTUS_OK;
        }
        failed += tactus_tree_drop(store, tree) != TACTUS_OK;
        if (i % 250 == 249 && failed == 0) {
            tactus_abandon(store);
            store = store_open(&options);
            (void)(tactus_tree_find(store, "t", &tree) == TACTUS_OK &&
                   tactus_tree_drop(store, tree) == TACTUS_OK); /* The crash undid the drop. */
        }
    }
    tap_ok(failed == 0 && repeated == 0,
           "1,000 trees are created and dropped in turn, over crashes, and no id is given twice");
    if (failed > 0) {
        tap_diag("%s", tactus_message());
    }
    expect(tactus_drain(store), "drain");
    tap_ok(tactus_verify(store, NULL, NULL, NULL) == TACTUS_OK && stats_of(store).live_bytes == 0,
           "nothing is left of them");
    tactus_abandon(store);
}

static void test_most(void)
{
    struct tactus_options options;
    struct tactus        *store = store_make(&options, 4);
    uint32_t              trees[TACTUS_TREES_MAX], tree;
    uint64_t              op;
    char                  name[16];

    for (uint32_t i = 0; i < TACTUS_TREES_MAX; i++) {
        snprintf(name, sizeof name, "t%u", i);
        trees[i] = tree_make(store, name);
    }
    op = tactus_last_op(store);
    tap_ok(tactus_tree_create(store, "more", &layout, &tree) == TACTUS_EFULL &&
               tactus_last_op(store) == op,
           "there are %u trees at most", TACTUS_TREES_MAX);
    fill(store, trees[7], 0, 2000);
    expect(tactus_pause(store), "pause");
    tap_ok(tactus_tree_drop(store, trees[7]) == TACTUS_OK, "one can be dropped in a pause");
    tap_ok(tactus_tree_create(store, "more", &layout, &tree) == TACTUS_EPAUSED,
           "in a pause a create does not wait for a number");
    expect(tactus_resume(store), "resume");
    tap_ok(tactus_tree_create(store, "more", &layout, &tree) == TACTUS_OK && tree != trees[7] &&
               calls_denied(store, trees[7]) == CALLS && put(store, tree, 1) == TACTUS_OK,
           "else it ends bars until it has the dropped tree's, under another id");
    tactus_abandon(store);
}

/* ---- crashes -------------------------------------------------------------------------------- */

/* Records are moved to another tree, whose drop a checkpoint of before does not hold. */
static void test_moved(void)
{
    struct tactus_options options;
    struct tactus        *store = store_make(&options, 4);
    uint32_t              from = tree_make(store, "from"), to = tree_make(store, "to"), late;
    uint32_t              found;
    uint64_t              sequence;

    fill(store, from, 0, 500);
    expect(tactus_checkpoint(store), "checkpoint");
    fill(store, to, 0, 100);
    expect(tactus_tree_drop(store, from), "drop");
    late = tree_make(store, "from");
    expect(put(store, late, 7), "put");
    /* One bar's end: its checkpoint has the ops before this bar. */
    sequence = store->checkpoint.durable.sequence;
    for (uint64_t i = 100; store->checkpoint.durable.sequence == sequence; i++) {
        expect(put(store, to, i), "put");
    }
    tactus_abandon(store);
    store = store_open(&options);
    tap_ok(tactus_last_op(store) < 603 && tactus_tree_find(store, "from", &found) == TACTUS_OK &&
               found == from && records_of(store, from, 500) == 500,
           "a crash that takes the copies back takes the drop back too (op %llu)",
           (unsigned long long)tactus_last_op(store));
    tap_ok(calls_denied(store, late) == CALLS && stats_of(store).trees == 2,
           "and the tree that had the name after it");
    expect(tactus_tree_drop(store, from), "drop");
    expect(tactus_checkpoint(store), "checkpoint");
    tactus_abandon(store);
    store = store_open(&options);
    tap_ok(tactus_tree_find(store, "from", &found) == TACTUS_ENOTREE &&
               tactus_verify(store, NULL, NULL, NULL) == TACTUS_OK,
           "a drop that is durable stays");
    tactus_abandon(store);
}

/* The manifest log still has the tables of the tree before, whose keys do not fit the new one. */
static void test_number_again(void)
{
    static const struct tactus_layout narrow = {TACTUS_LAYOUT_VARIABLE, 2, VALUE_BYTES};
    struct tactus_options             options;
    struct tactus                    *store = store_make(&options, 4);
    uint32_t from = tree_make(store, "from"), to = tree_make(store, "to"), tree;
    uint64_t bars;

    fill(store, from, 0, 500);
    expect(tactus_drain(store), "drain");
    expect(tactus_tree_drop(store, from), "drop");
    expect(tactus_drain(store), "drain");
    bars = stats_of(store).bars + TAC_TREE_LINGER_BARS + 1;
    for (uint64_t i = 0; stats_of(store).bars < bars; i++) {
        expect(put(store, to, i), "put");
    }
    expect(tactus_tree_create(store, "from", &narrow, &tree), "create");
    expect(tactus_put(store, tree, "ab", 2, "c", 1), "put");
    expect(tactus_checkpoint(store), "checkpoint");
    tactus_abandon(store);
    tap_ok(tac_tree_number(tree) == tac_tree_number(from) &&
               tactus_open(PATH, &options, &store) == TACTUS_OK,
           "a number is used again for a tree of shorter keys: %s", tactus_message());
    tap_ok(tactus_get(store, tree, "ab", 2, NULL, 0, NULL) == TACTUS_OK &&
               tactus_verify(store, NULL, NULL, NULL) == TACTUS_OK && stats_of(store).trees == 2,
           "which an open finds as it was");
    tactus_abandon(store);
}

/* With runs of 1 a bar has two plans, and the second one flushes: a drop between them is later than
 * what is flushed, and the checkpoint of that bar does not have it. */
static void test_unflushed(void)
{
    struct tactus_options options;
    struct tactus        *store = store_make(&options, 1);
    uint32_t              from = tree_make(store, "from"), to = tree_make(store, "to"), found;
    uint64_t              count = 0, bars, op;

    for (bars = stats_of(store).bars; stats_of(store).bars == bars; count++) {
        expect(put(store, from, count), "put");
    }
    expect(tactus_tree_drop(store, from), "drop");
    op = tactus_last_op(store);
    for (uint64_t i = 0; tactus_durable_op(store) + 2 < op; i++) {
        expect(put(store, to, i), "put");
    }
    tactus_abandon(store);
    store = store_open(&options);
    tap_ok(tactus_last_op(store) < op && tactus_tree_find(store, "from", &found) == TACTUS_OK &&
               records_of(store, found, count) >= count - 1,
           "%llu records from before a drop are flushed, as a crash may take it back",
           (unsigned long long)count);
    tap_ok(tactus_verify(store, NULL, NULL, NULL) == TACTUS_OK, "and the store is sound");
    tactus_abandon(store);
}

/* The write-ahead log does all of it again: what it finds may have the drop already, or not. */
static void test_log(void)
{
    struct tactus_options options;
    struct tactus        *store;
    uint32_t              kept, tree, found, wrong = 0;
    char                  name[16];

    options_make(&options);
    options.log = TACTUS_LOG_INTERVAL;
    expect(tactus_create(PATH, &options), "create");
    store = store_open(&options);
    kept = tree_make(store, "kept");
    for (uint32_t round = 0; round < 60 && wrong == 0; round++) {
        snprintf(name, sizeof name, "t%u", round % 3);
        tree = tree_make(store, name);
        fill(store, tree, 0, 20 + 9 * round);
        fill(store, kept, round * 10, 10);
        if (round % 4 != 3) {
            expect(tactus_tree_drop(store, tree), "drop");
            if (round % 2 == 0) { /* Twice within a bar */
                tree = tree_make(store, name);
                expect(tactus_tree_drop(store, tree), "drop");
            }
            fill(store, kept, round * 10, 5 * round % 70);
        }
        expect(tactus_sync(store), "sync");
        tactus_abandon(store);
        store = store_open(&options);
        wrong += records_of(store, kept, round * 10 + 10) < round * 10 + 10;
        if (round % 4 == 3) {
            wrong += tactus_tree_find(store, name, &found) != TACTUS_OK || found != tree ||
                     records_of(store, tree, 20 + 9 * round) != 20 + 9 * round;
            expect(tactus_tree_drop(store, tree), "drop");
        }
        wrong += calls_denied(store, tree) != CALLS;
    }
    tap_ok(wrong == 0, "a log brings trees and drops back, id by id");
    expect(tactus_drain(store), "drain");
    tap_ok(tactus_verify(store, NULL, NULL, NULL) == TACTUS_OK && stats_of(store).trees == 1,
           "and the store is sound");
    tactus_abandon(store);
}

/* ---- threads -------------------------------------------------------------------------------- */

/* Readers beside a thread that creates, fills and drops: each value names the tree it is of. */
struct busy {
    struct tactus *store;
    uint32_t       tree;           /* Atomic: the one that is there, or was a moment ago */
    uint32_t       is_over, wrong; /* Atomics */
    uint64_t       found, gone;    /* Atomics */
};

#define BUSY_KEYS 200

static void read_check(struct busy *busy, uint32_t tree, int code, const void *value, size_t size)
{
    uint32_t of = TAC_TREE_ID_NONE;

    if (code == TACTUS_OK && size == VALUE_BYTES) {
        memcpy(&of, value, sizeof of);
        tac_atomic_fetch_add_u64(&busy->found, 1);
    }
    tac_atomic_fetch_add_u64(&busy->gone, code == TACTUS_ENOTREE);
    if (code == TACTUS_OK
            ? of != tree
            : code != TACTUS_ENOTFOUND && code != TACTUS_ENOTREE && code != TACTUS_EEXPIRED) {
        tac_atomic_fetch_add_u32(&busy->wrong, 1);
    }
}

static void busy_scan(struct busy *busy, uint32_t tree)
{
    struct tactus_iterator *iterator;
    int                     code = tactus_iterator_open(busy->store, tree, &iterator);

    if (code != TACTUS_OK) {
        read_check(busy, tree, code, NULL, 0);
        return;
    }
    for (code = tactus_iterator_first(iterator); code == TACTUS_OK;
         code = tactus_iterator_next(iterator)) {
        const void *key, *value;
        size_t      key_size, value_size;

        tactus_iterator_record(iterator, &key, &key_size, &value, &value_size);
        read_check(busy, tree, code, value, value_size);
    }
    read_check(busy, tree, code, NULL, 0);
    tactus_iterator_close(iterator);
}

static void *busy_reader(void *context)
{
    struct busy *busy = context;
    uint8_t      value[VALUE_BYTES];

    for (uint64_t i = 0; tac_atomic_load_acquire_u32(&busy->is_over) == 0; i++) {
        uint32_t tree = tac_atomic_load_acquire_u32(&busy->tree);
        uint64_t key = i % BUSY_KEYS;
        size_t   size = 0;

        if (i % 50 == 0) {
            busy_scan(busy, tree);
        } else {
            int code = tactus_get(busy->store, tree, &key, sizeof key, value, sizeof value, &size);

            read_check(busy, tree, code, value, size);
        }
    }
    return NULL;
}

static void test_threads(void)
{
    struct tactus_options options;
    struct busy           busy = {0};
    pthread_t             readers[2];
    uint8_t               value[VALUE_BYTES] = {0};
    uint32_t              tree;

    options_make(&options);
    options.threads = 3;
    options.backend = TACTUS_BACKEND_MEMORY;
    busy.store = store_open(&options);
    tac_atomic_store_release_u32(&busy.tree, tree_make(busy.store, "t"));
    for (uint32_t i = 0; i < 2; i++) {
        if (pthread_create(&readers[i], NULL, busy_reader, &busy) != 0) {
            tap_bail("no thread");
        }
    }
    for (uint32_t round = 0; round < 150; round++) {
        tree = tac_atomic_load_relaxed_u32(&busy.tree);
        memcpy(value, &tree, sizeof tree);
        for (uint64_t key = 0; key < BUSY_KEYS * (1 + round % 3); key++) {
            uint64_t number = key % BUSY_KEYS;

            expect(tactus_put(busy.store, tree, &number, sizeof number, value, sizeof value),
                   "put");
        }
        expect(tactus_tree_drop(busy.store, tree), "drop");
        tac_atomic_store_release_u32(&busy.tree, tree_make(busy.store, "t"));
    }
    tac_atomic_store_release_u32(&busy.is_over, 1);
    for (uint32_t i = 0; i < 2; i++) {
        pthread_join(readers[i], NULL);
    }
    tap_ok(busy.wrong == 0 && busy.found > 0,
           "beside drops %llu reads find their own tree's records, and %llu no tree",
           (unsigned long long)busy.found, (unsigned long long)busy.gone);
    tap_ok(tac_trees_id(busy.store, 0) != 0, "and numbers were used again");
    tactus_abandon(busy.store);
}

/* ---- a full store --------------------------------------------------------------------------- */

static void test_full(uint32_t runs_per_level)
{
    struct tactus_options options;
    struct tactus        *store;
    uint32_t              kept, tree;
    uint64_t              count = 0;

    options_make(&options);
    options.runs_per_level = runs_per_level;
    options.file_size_max = 6 * TAC_MIB;
    expect(tactus_create(PATH, &options), "create");
    store = store_open(&options);
    kept = tree_make(store, "kept");
    tree = tree_make(store, "t");
    fill(store, kept, 0, 500);
    while (put(store, tree, tac_mix_u64(count)) == TACTUS_OK) {
        count++;
    }
    tap_ok(put(store, tree, 0) == TACTUS_EFULL && put(store, kept, 0) == TACTUS_EFULL,
           "%llu records fill the store (runs %u)", (unsigned long long)count, runs_per_level);
    tap_ok(tactus_tree_drop(store, tree) == TACTUS_OK && tactus_drain(store) == TACTUS_OK,
           "the tree can be dropped");
    tap_ok(stats_of(store).tables_discarded == 0 && put(store, kept, 0) == TACTUS_OK &&
               records_of(store, kept, 500) == 500,
           "and makes room");
    tree = tree_make(store, "t");
    for (uint64_t i = 0; i < count / 2; i++) {
        expect(put(store, tree, tac_mix_u64(i)), "put");
    }
    tap_ok(tactus_verify(store, NULL, NULL, NULL) == TACTUS_OK, "for another one");
    tactus_abandon(store);
}

int main(void)
{
    tap_plan(0);
    test_calls(4);
    test_calls(1);
    test_many();
    test_most();
    test_moved();
    test_number_again();
    test_unflushed();
    test_log();
    test_threads();
    test_full(4);
    test_full(1);
    (void)unlink(PATH);
    (void)unlink(PATH "-wal");
    return tap_done();
}
