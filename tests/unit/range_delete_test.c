/* SPDX-License-Identifier: Apache-2.0 */
/* Deleted ranges: what is dead and what lives, in memtables and tables, for gets and iterators;
 * tables given up unread; snapshots and iterators of before; bounds of all kinds; and as many of
 * them as there can be. All orders of a few ops are tried against a sorted map. */
#include <pthread.h>
#include <sched.h>
#include <string.h>

#include "base/prng.h"
#include "base/units.h"
#include "lsm/range.h"
#include "pipeline/store.h"
#include "queues/atomics.h"
#include "tactus.h"
#include "tests/lib/range_store.h"
#include "tests/lib/tap.h"

static struct tactus *memory_store_open(uint32_t runs, uint32_t *ret_tree)
{
    struct tactus_options options;
    struct tactus_layout  layout = {TACTUS_LAYOUT_FIXED, KEY_BYTES, VALUE_BYTES};
    struct tactus        *store;

    options_make(&options, runs);
    options.backend = TACTUS_BACKEND_MEMORY;
    if (tactus_open("range-delete", &options, &store) != TACTUS_OK ||
        tactus_tree_create(store, "t", &layout, ret_tree) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
    return store;
}

/* ---- spans ---------------------------------------------------------------------------------- */

static struct tac_bytes text(const char *string)
{
    return (struct tac_bytes){(const uint8_t *)string, (uint32_t)strlen(string)};
}

static void test_spans(void)
{
    const struct tac_range ranges[] = {
        {5, text("c"), text("m")}, {9, text("k"), text("r")}, {2, text("a"), text("z")}};
    struct tac_range_span span = tac_ranges_span(ranges, 3, text("d"));
    uint8_t               cut[4];

    tap_ok(span.op == 5 && tac_bytes_compare(span.from, text("c")) == 0 &&
               tac_bytes_compare(span.until, text("k")) == 0,
           "a span ends where the newest range does, or a newer one begins");
    span = tac_ranges_span(ranges, 3, text("k"));
    tap_ok(span.op == 9 && tac_bytes_compare(span.from, text("k")) == 0 &&
               tac_bytes_compare(span.until, text("m")) == 0,
           "its first key belongs to a range");
    span = tac_ranges_span(ranges, 3, text("z"));
    tap_ok(span.op == 0 && tac_bytes_compare(span.from, text("z")) == 0 && span.until.size == 0,
           "and its end does not");
    span.from = tac_range_bound_cut(text("abcdef"), 3, cut);
    tap_ok(span.from.size == 4 && memcmp(span.from.data, "abc", 4) == 0 &&
               tac_range_bound_cut(text("abcd"), 3, cut).size == 4,
           "a bound is cut behind the first byte that no key has");
}

/* ---- against each one by itself ------------------------------------------------------------- */

#define RANDOM_RANGES 40
#define RANDOM_TABLES 60
#define RANDOM_KEYS 50

static struct tac_bytes key_random(struct tac_prng *prng, uint64_t lowest, uint8_t key[KEY_BYTES])
{
    key_make(lowest + tac_prng_below(prng, RANDOM_KEYS), key);
    return (struct tac_bytes){key, KEY_BYTES};
}

/* A range [low, high) of some keys, high being above low. */
static struct tac_range range_random(struct tac_prng *prng, uint64_t op,
                                     uint8_t bounds[2][KEY_BYTES])
{
    uint64_t low = tac_prng_below(prng, RANDOM_KEYS);

    key_make(low, bounds[0]);
    return (struct tac_range){
        .op = op,
        .low = {bounds[0], KEY_BYTES},
        .high = key_random(prng, low + 1, bounds[1]),
    };
}

static uint64_t newest_of(const struct tac_range *ranges, uint32_t count, struct tac_bytes key)
{
    uint64_t op = 0;

    for (uint32_t i = 0; i < count; i++) {
        op = tac_range_has(&ranges[i], key) ? ranges[i].op : op;
    }
    return op;
}

static void test_edges(struct tac_prng *prng)
{
    struct tac_range      ranges[RANDOM_RANGES];
    struct tac_range_edge edges[2 * RANDOM_RANGES];
    uint8_t               bounds[RANDOM_RANGES][2][KEY_BYTES], key[KEY_BYTES];
    uint32_t              wrong = 0;

    for (uint32_t round = 0; round < 200; round++) {
        uint32_t edge_count = 0;

        for (uint32_t i = 0; i < RANDOM_RANGES; i++) {
            ranges[i] = range_random(prng, 3 * i + 5, bounds[i]);
            edge_count = tac_range_edges_add(edges, edge_count, &ranges[i]);
            for (uint64_t j = 0; j <= 2 * RANDOM_KEYS; j++) {
                struct tac_bytes at = {key, KEY_BYTES};

                key_make(j, key);
                wrong += tac_range_edges_op(edges, edge_count, at) != newest_of(ranges, i + 1, at);
            }
        }
    }
    tap_ok(wrong == 0, "the edges of ranges tell of each key what the ranges do");
}

static void tables_random(struct tac_prng *prng, struct tac_manifest *manifest, uint32_t tree)
{
    for (uint32_t i = 0; i < RANDOM_TABLES; i++) {
        struct tac_table *table = tac_manifest_table_take(manifest, tree);
        uint64_t          low = tac_prng_below(prng, RANDOM_KEYS);

        key_make(low, (uint8_t *)(uintptr_t)table->key_min.data);
        key_make(low + tac_prng_below(prng, i % 7 == 0 ? RANDOM_KEYS : 4),
                 (uint8_t *)(uintptr_t)table->key_max.data);
        table->key_min.size = table->key_max.size = KEY_BYTES;
        table->id = table->stamp = i + 1;
        table->level = 0;
        table->snapshot_min = tac_prng_below(prng, 20);
        tac_manifest_insert(manifest, table);
    }
}

static bool may_have_deleted(const struct tac_range *range, const struct tac_table *table)
{
    return range->op > table->snapshot_min && tac_bytes_compare(range->low, table->key_max) <= 0 &&
           tac_bytes_compare(table->key_min, range->high) < 0;
}

/* How many tables a walk does not find, or finds though it should not, or out of order. */
static uint32_t walk_faults(const struct tac_manifest_level *level, const struct tac_range *range)
{
    struct tac_range_walk   walk = tac_range_walk(level, range);
    const struct tac_table *found = tac_range_walk_next(&walk);
    uint32_t                wrong = 0;

    for (uint32_t i = level->table_count; i > 0; i--) {
        const struct tac_table *table = level->tables[i - 1];

        wrong += may_have_deleted(range, table) != (found == table);
        if (found == table) {
            found = tac_range_walk_next(&walk);
        }
    }
    return wrong + (found != NULL);
}

static void test_walk(struct tac_prng *prng)
{
    struct tac_layout    layout = {.kind = TACTUS_LAYOUT_FIXED, .key_size = KEY_BYTES};
    struct tac_manifest *manifest = tac_manifest_new(RANDOM_TABLES);
    struct tac_error     error;
    uint8_t              bounds[2][KEY_BYTES];
    uint32_t             tree, wrong = 0;

    expect(tac_manifest_tree_add(manifest, "t", &layout, &tree, &error), "tree");
    tables_random(prng, manifest, tree);
    for (uint32_t i = 0; i < 5000; i++) {
        struct tac_range range = range_random(prng, i % 20, bounds);

        wrong += walk_faults(&tac_manifest_tree(manifest, tree)->levels[0], &range);
    }
    tap_ok(wrong == 0, "a walk finds the tables of a level that a range may have deleted some of");
    tac_manifest_free(manifest);
}

/* ---- all orders of a few ops ---------------------------------------------------------------- */

#define SMALL_KEYS 3
#define SMALL_DEPTH 5

enum small_do {
    SMALL_PUT_0,
    SMALL_PUT_1,
    SMALL_PUT_2,
    SMALL_DELETE_1,
    SMALL_RANGE_ALL,
    SMALL_RANGE_LOW, /* Keys 0 and 1 */
    SMALL_FLUSH,
    SMALL_COMPACT,
    SMALL_DOS,
};

static uint64_t key_number(uint32_t key) { return 100 + 10 * (uint64_t)key; }

static void small_run(struct tactus *store, uint32_t tree, enum small_do what,
                      bool model[SMALL_KEYS])
{
    uint8_t key[KEY_BYTES];

    switch (what) {
    case SMALL_PUT_0:
    case SMALL_PUT_1:
    case SMALL_PUT_2:
        put(store, tree, key_number(what - SMALL_PUT_0), 1);
        model[what - SMALL_PUT_0] = true;
        return;
    case SMALL_DELETE_1:
        key_make(key_number(1), key);
        expect(tactus_delete(store, tree, key, sizeof key), "delete");
        model[1] = false;
        return;
    case SMALL_RANGE_ALL:
        expect(range_delete(store, tree, key_number(0), key_number(2) + 1), "range");
        model[0] = model[1] = model[2] = false;
        return;
    case SMALL_RANGE_LOW:
        expect(range_delete(store, tree, 1, key_number(2)), "range");
        model[0] = model[1] = false;
        return;
    case SMALL_FLUSH:
        expect(tactus_checkpoint(store), "checkpoint");
        return;
    case SMALL_COMPACT:
        expect(tactus_compact(store, tree), "compact");
        return;
    case SMALL_DOS:
        break;
    }
    tac_unreachable();
}

static bool small_is_right(struct tactus *store, uint32_t tree, const bool model[SMALL_KEYS])
{
    uint64_t count = 0;

    for (uint32_t i = 0; i < SMALL_KEYS; i++) {
        if (has(store, tree, key_number(i)) != model[i]) {
            return false;
        }
        count += model[i];
    }
    return records_of(store, tree) == count;
}

/* Each order in a tree that is empty before, of one store: what is left over is deleted key by key,
 * so that nothing but the order itself is tried. */
static void test_orders(uint32_t runs)
{
    uint32_t       tree, order_count = 1;
    struct tactus *store = memory_store_open(runs, &tree);
    uint64_t       wrong = 0;

    for (uint32_t i = 0; i < SMALL_DEPTH; i++) {
        order_count *= SMALL_DOS;
    }
    for (uint32_t order = 0; order < order_count; order++) {
        bool model[SMALL_KEYS] = {true, true, true};

        for (uint32_t i = 0; i < SMALL_KEYS; i++) {
            put(store, tree, key_number(i), order);
        }
        for (uint32_t i = 0, rest = order; i < SMALL_DEPTH; i++, rest /= SMALL_DOS) {
            small_run(store, tree, (enum small_do)(rest % SMALL_DOS), model);
            wrong += !small_is_right(store, tree, model);
        }
        if (wrong > 0) {
            tap_diag("order %u", order);
            break;
        }
    }
    tap_ok(wrong == 0, "runs of %u: every order of %d ops of %d kinds", runs, SMALL_DEPTH,
           SMALL_DOS);
    tap_ok(is_sound(store), "runs of %u: the store is sound", runs);
    tactus_abandon(store);
}

/* ---- tables --------------------------------------------------------------------------------- */

static void test_tables(uint32_t runs)
{
    uint32_t            tree;
    struct tactus      *store = memory_store_open(runs, &tree);
    struct tactus_stats before, after;
    uint64_t            merged;

    fill(store, tree, 5000);
    expect(tactus_drain(store), "drain");
    before = stats_of(store);
    expect(range_delete(store, tree, 100, 4900), "range");
    tap_ok(records_of(store, tree) == 200 && !has(store, tree, 100) && has(store, tree, 4900) &&
               has(store, tree, 99) && stats_of(store).ranges == 1,
           "runs of %u: a range of tables is gone at once", runs);
    put(store, tree, 2000, 1);
    tap_ok(has(store, tree, 2000) && records_of(store, tree) == 201,
           "runs of %u: what is put into it later lives", runs);
    expect(tactus_checkpoint(store), "checkpoint");
    tap_ok(records_of(store, tree) == 201 && stats_of(store).live_bytes < before.live_bytes / 4,
           "runs of %u: its tables have left, the range is of the manifest", runs);
    merged = stats_of(store).records_merged;
    tap_ok(merged - before.records_merged < 1000, "runs of %u: %llu records were read for that",
           runs, (unsigned long long)(merged - before.records_merged));
    expect(tactus_compact(store, tree), "compact");
    after = stats_of(store);
    tap_ok(after.ranges == 0 && after.tables_discarded == 0 && records_of(store, tree) == 201 &&
               after.live_bytes == 201 * (KEY_BYTES + VALUE_BYTES) &&
               after.blocks_acquired < before.blocks_acquired / 2,
           "runs of %u: a compaction leaves nothing of it", runs);
    tap_ok(is_sound(store), "runs of %u: the store is sound", runs);
    tactus_abandon(store);
}

static void test_older_views(void)
{
    uint32_t                tree;
    struct tactus          *store = memory_store_open(4, &tree);
    struct tactus_iterator *iterator;
    struct tactus_snapshot *snapshot;

    fill(store, tree, 3000);
    expect(tactus_snapshot_create(store, "before", NULL), "snapshot");
    put(store, tree, 3000, 1);
    expect(tactus_iterator_open(store, tree, &iterator), "iterator");
    expect(range_delete(store, tree, 0, 10000), "range");
    tap_ok(records_of(store, tree) == 0 && scan(iterator, false) == 3001,
           "an iterator of before sees what there was");
    tactus_iterator_close(iterator);
    put(store, tree, 5, 1);
    expect(tactus_snapshot_create(store, "after", NULL), "snapshot");
    expect(tactus_compact(store, tree), "compact");
    tap_ok(stats_of(store).tables_retained > 0 && records_of(store, tree) == 1,
           "tables that left stay for a snapshot");
    expect(tactus_snapshot_open(store, "before", &snapshot), "open");
    expect(tactus_snapshot_iterator(snapshot, tree, &iterator), "iterator");
    tap_ok(scan(iterator, false) == 3000 && scan(iterator, true) == 3000,
           "which has all that was there then");
    tactus_iterator_close(iterator);
    tactus_snapshot_close(snapshot);
    expect(tactus_snapshot_open(store, "after", &snapshot), "open");
    expect(tactus_snapshot_iterator(snapshot, tree, &iterator), "iterator");
    tap_ok(scan(iterator, false) == 1 && scan(iterator, true) == 1,
           "a later one has what was left");
    tactus_iterator_close(iterator);
    tactus_snapshot_close(snapshot);
    tap_ok(is_sound(store), "the store is sound");
    expect(tactus_snapshot_release(store, "before"), "release");
    expect(tactus_snapshot_release(store, "after"), "release");
    expect(tactus_drain(store), "drain");
    tap_ok(stats_of(store).tables_retained == 0 && records_of(store, tree) == 1,
           "released, nothing is kept");
    tactus_abandon(store);
}

/* A snapshot whose tables straddle a range that has been deleted by then. */
static void test_snapshot_range(void)
{
    uint32_t                tree;
    struct tactus          *store = memory_store_open(4, &tree);
    struct tactus_snapshot *snapshot;
    struct tactus_iterator *iterator;
    uint8_t                 key[KEY_BYTES];

    fill(store, tree, 3000);
    expect(tactus_drain(store), "drain");
    expect(range_delete(store, tree, 1005, 1010), "range");
    expect(tactus_snapshot_create(store, "s", NULL), "snapshot");
    expect(tactus_compact(store, tree), "compact");
    expect(tactus_snapshot_open(store, "s", &snapshot), "open");
    key_make(1007, key);
    tap_ok(tactus_snapshot_get(snapshot, tree, key, sizeof key, NULL, 0, &(size_t){0}) ==
               TACTUS_ENOTFOUND,
           "a snapshot's image has the ranges of its moment");
    expect(tactus_snapshot_iterator(snapshot, tree, &iterator), "iterator");
    tap_ok(scan(iterator, false) == 2995 && scan(iterator, true) == 2995, "for walks, too");
    tactus_iterator_close(iterator);
    tactus_snapshot_close(snapshot);
    tap_ok(stats_of(store).ranges == 0 && is_sound(store), "the tree has none any more");
    tactus_abandon(store);
}

/* ---- arguments ------------------------------------------------------------------------------ */

static void test_arguments(void)
{
    struct tactus_layout layout = {TACTUS_LAYOUT_VARIABLE, 4, 10};
    uint32_t             tree, other;
    struct tactus       *store = memory_store_open(4, &tree);
    uint8_t              bound[TACTUS_KEY_SIZE_MAX + 1];
    uint64_t             op = 0, before = tactus_last_op(store);

    memset(bound, 0xff, sizeof bound);
    tap_ok(tactus_delete_range(store, tree, NULL, 0, "b", 1, &op) == TACTUS_EINVAL &&
               tactus_delete_range(store, tree, "a", 1, NULL, 0, &op) == TACTUS_EINVAL &&
               tactus_delete_range(store, tree, "a", 0, "b", 1, &op) == TACTUS_EINVAL,
           "a range without a bound is refused");
    tap_ok(tactus_delete_range(store, tree, "b", 1, "a", 1, &op) == TACTUS_EINVAL &&
               strstr(tactus_message(), "below") != NULL &&
               tactus_delete_range(store, tree, "a", 1, "a", 1, &op) == TACTUS_EINVAL,
           "so is one that is empty or reversed");
    tap_ok(tactus_delete_range(store, tree, "a", 1, bound, sizeof bound, &op) == TACTUS_EKEYSIZE,
           "and one with a bound too long");
    tap_ok(tactus_delete_range(store, tree + 9, "a", 1, "b", 1, &op) == TACTUS_ENOTREE,
           "and one of no tree");
    tap_ok(tactus_last_op(store) == before && op == 0, "none of them took a number");
    expect(tactus_tree_create(store, "v", &layout, &other), "create");
    expect(tactus_put(store, other, "aaaa", 4, "x", 1), "put");
    expect(tactus_put(store, other, "aaab", 4, "x", 1), "put");
    expect(tactus_delete_range(store, other, "aaaab", 5, "aaabz", 5, &op), "range");
    tap_ok(op == tactus_last_op(store) &&
               tactus_get(store, other, "aaaa", 4, NULL, 0, &(size_t){0}) == TACTUS_OK &&
               tactus_get(store, other, "aaab", 4, NULL, 0, &(size_t){0}) == TACTUS_ENOTFOUND,
           "bounds may be longer than the tree's keys");
    expect(tactus_delete_range(store, other, "aaaab", 5, "aaaaz", 5, &op), "range");
    tap_ok(op == tactus_last_op(store) && stats_of(store).ranges == 1,
           "between which there may be no key at all");
    expect(tactus_delete_range(store, other, "\0", 1, bound, TACTUS_KEY_SIZE_MAX, NULL), "range");
    tap_ok(records_of(store, other) == 0, "bounds of all sizes");
    tactus_abandon(store);
}

static void test_conditions(void)
{
    uint32_t             tree;
    struct tactus       *store = memory_store_open(4, &tree);
    struct tactus_batch *batch;
    uint8_t              key[KEY_BYTES], value[VALUE_BYTES] = {0};

    put(store, tree, 5, 0);
    expect(tactus_checkpoint(store), "checkpoint");
    expect(range_delete(store, tree, 0, 10), "range");
    key_make(5, key);
    tap_ok(tactus_compare_and_set(store, tree, key, sizeof key, value, sizeof value, NULL, 0) ==
               TACTUS_ECONFLICT,
           "a condition finds that the record is deleted");
    tap_ok(tactus_put_if_absent(store, tree, key, sizeof key, value, sizeof value) == TACTUS_OK &&
               has(store, tree, 5),
           "and so it can be put");
    expect(range_delete(store, tree, 0, 10), "range");
    expect(tactus_batch_new(store, &batch), "batch");
    expect(tactus_batch_expect(batch, tree, key, sizeof key, NULL, 0), "expect");
    expect(tactus_batch_put(batch, tree, key, sizeof key, value, sizeof value), "batch put");
    tap_ok(tactus_batch_commit(batch, NULL) == TACTUS_OK && has(store, tree, 5), "by a batch, too");
    tactus_batch_free(batch);
    tactus_abandon(store);
}

static int run_read(void *context, const struct tactus_run_record **ret_records, size_t *ret_count)
{
    static uint8_t                  key[KEY_BYTES], value[VALUE_BYTES];
    static struct tactus_run_record record = {key, sizeof key, value, sizeof value, false};
    uint32_t                       *next = context;

    key_make(*next, key);
    *ret_records = &record;
    *ret_count = *next < 20;
    (*next)++;
    return TACTUS_OK;
}

static void test_ingest_and_drop(void)
{
    struct tactus_layout layout = {TACTUS_LAYOUT_FIXED, KEY_BYTES, VALUE_BYTES};
    uint32_t             tree, next = 0;
    struct tactus       *store = memory_store_open(4, &tree);

    fill(store, tree, 1000);
    expect(range_delete(store, tree, 0, 500), "range");
    expect(tactus_ingest(store, tree, run_read, &next, NULL), "ingest");
    tap_ok(records_of(store, tree) == 520, "a sorted run after it lives");
    expect(range_delete(store, tree, 10, 30), "range");
    tap_ok(records_of(store, tree) == 510, "and is deleted by the next one");
    expect(tactus_compact(store, tree), "compact");
    tap_ok(records_of(store, tree) == 510 && stats_of(store).ranges == 0, "for good");
    expect(range_delete(store, tree, 501, 503), "range");
    expect(tactus_tree_drop(store, tree), "drop");
    expect(tactus_drain(store), "drain");
    tap_ok(stats_of(store).ranges == 0, "a tree that is dropped takes its ranges with it");
    expect(tactus_tree_create(store, "t", &layout, &tree), "create");
    fill(store, tree, 1000);
    tap_ok(records_of(store, tree) == 1000 && is_sound(store), "and the next one is whole");
    tactus_abandon(store);
}

/* As many as there can be, of a tree that is dropped while a snapshot keeps its tables. */
static void test_drop_with_snapshot(void)
{
    struct tactus_layout    layout = {TACTUS_LAYOUT_FIXED, KEY_BYTES, VALUE_BYTES};
    uint32_t                tree, other, count = 0;
    struct tactus          *store = memory_store_open(4, &tree);
    struct tactus_snapshot *snapshot;
    struct tactus_iterator *iterator;

    expect(tactus_tree_create(store, "other", &layout, &other), "create");
    fill(store, tree, 3000);
    fill(store, other, 1000);
    expect(tactus_drain(store), "drain");
    expect(tactus_compaction_hold(store, true), "hold");
    while (range_delete(store, tree, 10 * (uint64_t)count + 1, 10 * (uint64_t)count + 3) ==
           TACTUS_OK) {
        count++;
    }
    expect(tactus_snapshot_create(store, "s", NULL), "snapshot");
    expect(tactus_tree_drop(store, tree), "drop");
    expect(tactus_checkpoint(store), "checkpoint");
    tap_ok(count > 0 && stats_of(store).ranges == 0 &&
               range_delete(store, other, 1, 5) == TACTUS_OK && records_of(store, other) == 996,
           "%u ranges of a dropped tree whose tables a snapshot keeps leave room for others",
           count);
    expect(tactus_snapshot_open(store, "s", &snapshot), "open");
    expect(tactus_snapshot_iterator(snapshot, tree, &iterator), "iterator");
    tap_ok(scan(iterator, false) == 3000 - 2 * (uint64_t)count, "the snapshot has them still");
    tactus_iterator_close(iterator);
    tactus_snapshot_close(snapshot);
    tap_ok(is_sound(store), "and the store is sound");
    tactus_abandon(store);
}

/* ---- many ----------------------------------------------------------------------------------- */

static void test_many(uint32_t runs)
{
    uint32_t       tree, most = 0;
    struct tactus *store = memory_store_open(runs, &tree);
    uint64_t       wrong = 0;
    int            result = TACTUS_OK;

    fill(store, tree, 6000);
    expect(tactus_drain(store), "drain");
    for (uint32_t i = 0; i < 1000; i++) {
        expect(range_delete(store, tree, 6 * i + 1, 6 * i + 3), "range");
        most = (uint32_t)tac_max_u64(most, stats_of(store).ranges);
    }
    for (uint32_t i = 0; i < 6000; i++) {
        wrong += has(store, tree, i) != (i % 6 != 1 && i % 6 != 2);
    }
    tap_ok(wrong == 0 && records_of(store, tree) == 4000 && most <= TAC_RANGES_MAX,
           "runs of %u: a thousand ranges, of which %u were noted at once", runs, most);
    expect(tactus_compaction_hold(store, true), "hold");
    for (uint32_t i = 0; i <= TAC_RANGES_MAX && result == TACTUS_OK; i++) {
        result = range_delete(store, tree, 6 * i + 4, 6 * i + 5);
        wrong += result != TACTUS_OK && strstr(tactus_message(), "ranges") == NULL;
        wrong += has(store, tree, 6 * i + 4) != (result != TACTUS_OK);
    }
    tap_ok(wrong == 0 && result == TACTUS_EFULL,
           "runs of %u: with compaction held back there is an end to them", runs);
    expect(tactus_compact(store, tree), "compact");
    tap_ok(stats_of(store).ranges == 0 && is_sound(store), "runs of %u: all of them end", runs);
    tactus_abandon(store);
}

/* ---- the file's features -------------------------------------------------------------------- */

static uint64_t range_feature(const struct tactus *store)
{
    return store->checkpoint.durable.features_incompatible & TAC_FEATURE_RANGES;
}

/* A range that comes and goes between two checkpoints. */
static void test_feature(void)
{
    struct tactus_options options;
    struct tactus_layout  layout = {TACTUS_LAYOUT_FIXED, KEY_BYTES, VALUE_BYTES};
    struct tactus        *store;
    uint32_t              tree, most = 0;
    uint64_t              i = 0;

    options_make(&options, 1);
    options.backend = TACTUS_BACKEND_MEMORY;
    options.checkpoint_interval_bars = 64;
    if (tactus_open("range-feature", &options, &store) != TACTUS_OK ||
        tactus_tree_create(store, "t", &layout, &tree) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
    fill(store, tree, 1000);
    expect(tactus_drain(store), "drain");
    expect(range_delete(store, tree, 500, 502), "range");
    while ((most == 0 || tac_manifest_range_count(store->manifest) > 0) && i < 20000) {
        put(store, tree, i * 7919 % 1000, i);
        i++;
        most = (uint32_t)tac_max_u64(most, tac_manifest_range_count(store->manifest));
    }
    tap_ok(most == 1 && tac_manifest_range_count(store->manifest) == 0 && range_feature(store) == 0,
           "a range comes into the manifest, and goes, with no checkpoint in between");
    expect(tactus_checkpoint(store), "checkpoint");
    tap_ok(range_feature(store) != 0,
           "the next one says that an older library cannot read the manifest log");
    tactus_abandon(store);
}

/* ---- a pause meanwhile ---------------------------------------------------------------------- */

#define PAUSE_ROUNDS 60

struct pauser {
    struct tactus *store;
    uint64_t       plans_before;
    bool           should_end; /* Atomic */
};

/* Pauses when the other thread's call has ended a plan. */
static void *pauser_main(void *argument)
{
    struct pauser *pauser = argument;

    while (tac_atomic_load_acquire_u64(&pauser->store->clock.plans_ended) == pauser->plans_before &&
           !__atomic_load_n(&pauser->should_end, __ATOMIC_ACQUIRE)) {
        sched_yield();
    }
    expect(tactus_pause(pauser->store), "pause");
    return NULL;
}

/* A call that finds all ranges noted, and no room in several bars, while another thread pauses. */
static int refused_with_pause(struct tactus *store, uint32_t tree)
{
    struct pauser pauser = {
        .store = store,
        .plans_before = tac_atomic_load_acquire_u64(&store->clock.plans_ended),
    };
    pthread_t thread;
    int       result;

    if (pthread_create(&thread, NULL, pauser_main, &pauser) != 0) {
        tap_bail("no thread");
    }
    result = range_delete(store, tree, 1, 2);
    __atomic_store_n(&pauser.should_end, true, __ATOMIC_RELEASE);
    pthread_join(thread, NULL);
    return result;
}

static void test_pause(void)
{
    uint32_t       tree;
    struct tactus *store = memory_store_open(4, &tree);
    uint64_t       op, wrong = 0;

    fill(store, tree, 3000);
    expect(tactus_drain(store), "drain");
    expect(tactus_compaction_hold(store, true), "hold");
    for (uint64_t i = 1; range_delete(store, tree, 10 * i, 10 * i + 3) == TACTUS_OK; i++) {
    }
    for (uint32_t i = 0; i < PAUSE_ROUNDS; i++) {
        op = tactus_last_op(store);
        wrong += refused_with_pause(store, tree) != TACTUS_EFULL || tactus_last_op(store) != op + 1;
        op = tactus_last_op(store);
        wrong += range_delete(store, tree, 1, 2) != TACTUS_EPAUSED || tactus_last_op(store) != op;
        expect(tactus_resume(store), "resume");
    }
    tap_ok(
        wrong == 0,
        "in a pause no bar is ended for a range; one that has ended some goes on, with a number");
    tactus_abandon(store);
}

int main(void)
{
    struct tac_prng prng = {20};

    tap_plan(0);
    test_spans();
    test_edges(&prng);
    test_walk(&prng);
    test_arguments();
    test_conditions();
    test_tables(4);
    test_tables(1);
    test_older_views();
    test_snapshot_range();
    test_ingest_and_drop();
    test_drop_with_snapshot();
    test_many(4);
    test_many(1);
    test_feature();
    test_pause();
    test_orders(4);
    test_orders(1);
    return tap_done();
}
