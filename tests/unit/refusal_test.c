/* SPDX-License-Identifier: Apache-2.0 */
/* Writes that are refused change nothing, or take an op that says what they have done: a store that
 * does its log's ops again has the same bytes as one that never stopped. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/units.h"
#include "pipeline/store.h"
#include "tests/lib/small_options.h"
#include "tests/lib/tap.h"

#define VALUE_BYTES 500
#define OPS_MAX 100000

static char path[512], log_path[520];

static void expect(int result, const char *what)
{
    if (result != TACTUS_OK) {
        tap_bail("%s: %d %s", what, result, tactus_message());
    }
}

static void options_of(uint32_t runs, struct tactus_options *options)
{
    small_options(options);
    options->runs_per_level = runs;
    options->file_size_max = (runs == 1 ? 16 : 6) * TAC_MIB;
    options->tables_max = 4096;
    options->page_cache_size = options->index_cache_size = TAC_MIB;
    options->log = TACTUS_LOG_INTERVAL;
    options->log_interval_ms = 60000;
    memset(options->uuid, 7, sizeof options->uuid);
}

static struct tactus *store_make(const struct tactus_options *options, uint32_t *ret_tree)
{
    struct tactus_layout layout = {TACTUS_LAYOUT_VARIABLE, 16, VALUE_BYTES};
    struct tactus       *store;

    unlink(path);
    unlink(log_path);
    expect(tactus_create(path, options), "create");
    expect(tactus_open(path, options, &store), "open");
    expect(tactus_tree_create(store, "tree", &layout, ret_tree), "tree");
    return store;
}

static int put(struct tactus *store, uint32_t tree, uint64_t number)
{
    static const uint8_t value[VALUE_BYTES];

    number = tac_mix_u64(number);
    return tactus_put(store, tree, &number, sizeof number, value, sizeof value);
}

static int delete (struct tactus *store, uint32_t tree, uint64_t number)
{
    number = tac_mix_u64(number);
    return tactus_delete(store, tree, &number, sizeof number);
}

static int range_delete(struct tactus *store, uint32_t tree, uint64_t number)
{
    uint8_t first[2] = {(uint8_t)(number >> 8), (uint8_t)number};
    uint8_t end[3] = {(uint8_t)(number >> 8), (uint8_t)number, 9};

    return tactus_delete_range(store, tree, first, sizeof first, end, sizeof end, NULL);
}

static uint64_t bars_of(struct tactus *store)
{
    struct tactus_stats stats;

    tactus_stat(store, &stats);
    return stats.bars;
}

/* What a killed process leaves; with all that the log was given. */
static struct tactus *reopened(struct tactus *store, const struct tactus_options *options)
{
    expect(tactus_sync(store), "sync");
    tactus_abandon(store);
    expect(tactus_open(path, options, &store), "open again");
    return store;
}

static void store_end(struct tactus *store)
{
    tactus_abandon(store);
    unlink(path);
    unlink(log_path);
}

/* ---- a write-ahead log without room --------------------------------------------------------- */

enum refused {
    REFUSED_NOTHING, /* None is tried */
    REFUSED_PUT,
    REFUSED_DELETE,
    REFUSED_BATCH,
    REFUSED_CONDITION,
    REFUSED_RANGE,
    REFUSED_TREE,
    REFUSED_HOLD,
    REFUSED_BEAT,
    REFUSED_SNAPSHOT,
    REFUSED_KINDS,
};

static const char *const refused_names[] = {"nothing",     "a put",     "a delete", "a batch",
                                            "a condition", "a range",   "a tree",   "a hold",
                                            "a beat",      "a snapshot"};

static int batch_commit(struct tactus *store, uint32_t tree, uint64_t count)
{
    static const uint8_t value[VALUE_BYTES];
    struct tactus_batch *batch;
    int                  result;

    expect(tactus_batch_new(store, &batch), "batch");
    for (uint64_t i = 0; i < count; i++) {
        expect(tactus_batch_put(batch, tree, &i, sizeof i, value, sizeof value), "batch put");
    }
    result = tactus_batch_commit(batch, NULL);
    tactus_batch_free(batch);
    return result;
}

/* An op that fills the log, and no memtable. */
static int nothing(struct tactus *store, uint32_t tree)
{
    uint64_t key = tac_mix_u64(0);

    return tactus_put_if_absent(store, tree, &key, sizeof key, "x", 1);
}

static int refused_do(struct tactus *store, uint32_t tree, enum refused kind)
{
    struct tactus_layout layout = {TACTUS_LAYOUT_VARIABLE, 16, VALUE_BYTES};
    uint32_t             other;

    switch (kind) {
    case REFUSED_NOTHING:
        return TACTUS_EFULL;
    case REFUSED_PUT:
        return put(store, tree, 1);
    case REFUSED_DELETE:
        return delete (store, tree, 0);
    case REFUSED_BATCH:
        return batch_commit(store, tree, 12);
    case REFUSED_CONDITION:
        return nothing(store, tree);
    case REFUSED_RANGE:
        return range_delete(store, tree, 1);
    case REFUSED_TREE:
        return tactus_tree_create(store, "other", &layout, &other);
    case REFUSED_HOLD:
        return tactus_compaction_hold(store, true);
    case REFUSED_BEAT:
        return tactus_beat(store);
    case REFUSED_SNAPSHOT:
        return tactus_snapshot_create(store, "moment", NULL);
    case REFUSED_KINDS:
        break;
    }
    tac_unreachable();
}

/* Fills the mutable memtable, but for what a small record takes. */
static void memtable_fill(struct tactus *store, uint32_t tree)
{
    struct tac_memtable *memtable = store->memtables[store->memtable_mutable];
    uint64_t             number = 0;

    while (tac_memtable_fits(memtable, tac_memtable_record_accounted(8, VALUE_BYTES))) {
        expect(put(store, tree, number++), "put");
    }
    while (tac_memtable_fits(memtable, tac_memtable_record_accounted(8, 0))) {
        number = tac_mix_u64(number);
        expect(tactus_put(store, tree, &number, sizeof number, NULL, 0), "put");
    }
}

/* The digest of a store whose log was full when a write of the kind came. */
static bool log_full_run(enum refused kind, uint8_t digest[16])
{
    struct tactus_options options;
    struct tactus        *store;
    uint32_t              tree;
    uint64_t              op, bars, count = 0;
    bool                  is_right;
    int                   result = TACTUS_ECONFLICT;

    options_of(8, &options);
    store = store_make(&options, &tree);
    memtable_fill(store, tree);
    while (result == TACTUS_ECONFLICT && count++ < OPS_MAX) {
        result = nothing(store, tree);
    }
    op = tactus_last_op(store);
    bars = bars_of(store);
    is_right = result == TACTUS_EFULL && strstr(tactus_message(), "log is full") != NULL &&
               refused_do(store, tree, kind) == TACTUS_EFULL &&
               strstr(tactus_message(), "log is full") != NULL && tactus_last_op(store) == op &&
               bars_of(store) == bars;
    store = reopened(store, &options);
    is_right = is_right && tactus_last_op(store) == op && tactus_checkpoint(store) == TACTUS_OK &&
               put(store, tree, 1000) == TACTUS_OK && tactus_last_op(store) == op + 2 &&
               tactus_checkpoint(store) == TACTUS_OK && tactus_digest(store, digest) == TACTUS_OK;
    if (!is_right) {
        tap_diag("%d, op %llu of %llu, bars %llu of %llu: %s", result,
                 (unsigned long long)tactus_last_op(store), (unsigned long long)op,
                 (unsigned long long)bars_of(store), (unsigned long long)bars, tactus_message());
    }
    store_end(store);
    return is_right;
}

static void test_log_full(void)
{
    uint8_t expected[16], digest[16];

    tap_ok(log_full_run(REFUSED_NOTHING, expected),
           "a write-ahead log that is full leaves room for a checkpoint, which empties it");
    for (uint32_t kind = REFUSED_PUT; kind < REFUSED_KINDS; kind++) {
        memset(digest, 0, sizeof digest);
        tap_ok(log_full_run((enum refused)kind, digest) &&
                   memcmp(digest, expected, sizeof digest) == 0,
               "%s that finds no room in it changes nothing", refused_names[kind]);
    }
}

/* ---- writes that have ended bars ------------------------------------------------------------ */

#define CRASH_NEVER UINT32_MAX

/* Deletes, or ranges, until no room can be made for them: compaction is held back. Then some more
 * that are refused. */
static uint32_t refused_run(uint32_t runs, bool are_ranges, uint32_t crash, uint8_t digest[16])
{
    struct tactus_options options;
    struct tactus        *store;
    uint32_t              tree, refused = 0;
    uint64_t              count = 0;
    bool                  is_right = true;

    options_of(runs, &options);
    store = store_make(&options, &tree);
    while (count < (are_ranges ? 1000 : OPS_MAX) && put(store, tree, count) == TACTUS_OK) {
        count++;
    }
    expect(tactus_compaction_hold(store, true), "hold");
    for (uint64_t i = 0; i < OPS_MAX && refused < 3 && is_right; i++) {
        uint64_t op = tactus_last_op(store), bars = bars_of(store);
        int result = are_ranges ? range_delete(store, tree, i) : delete (store, tree, i % count);

        if (result == TACTUS_EFULL && crash == refused++) {
            store = reopened(store, &options);
        } else {
            is_right = result == TACTUS_EFULL ? bars_of(store) > bars : result == TACTUS_OK;
        }
        is_right = is_right && tactus_last_op(store) == op + 1;
    }
    is_right = is_right && tactus_compaction_hold(store, false) == TACTUS_OK &&
               tactus_compact(store, tree) == TACTUS_OK;
    for (uint64_t i = 0; i < 300 && is_right; i++) {
        is_right = put(store, tree, 3 * i) == TACTUS_OK;
    }
    is_right = is_right && tactus_checkpoint(store) == TACTUS_OK &&
               tactus_digest(store, digest) == TACTUS_OK;
    if (!is_right) {
        tap_diag("%u refused: %s", refused, tactus_message());
    }
    store_end(store);
    return is_right ? refused : 0;
}

static void test_refused(uint32_t runs, bool are_ranges)
{
    const char *name = are_ranges ? "range" : "delete";
    uint8_t     expected[16], digest[16];
    uint32_t    refused = refused_run(runs, are_ranges, CRASH_NEVER, expected);

    tap_ok(refused == 3, "runs of %u: a %s that finds no room has ended bars, and takes an op",
           runs, name);
    for (uint32_t crash = 0; crash < refused; crash++) {
        memset(digest, 0, sizeof digest);
        tap_ok(refused_run(runs, are_ranges, crash, digest) == 3 &&
                   memcmp(digest, expected, sizeof digest) == 0,
               "runs of %u: a replay of %s %u that was refused ends the same bars", runs, name,
               crash + 1);
    }
}

/* ---- writes that have made room ------------------------------------------------------------- */

/* Deletes in a full store, each of which has ended bars until there was room, or one as the memtable
 * was full. */
static uint32_t room_run(uint32_t runs, uint32_t crash, uint8_t digest[16])
{
    struct tactus_options options;
    struct tactus        *store;
    uint32_t              tree, made = 0;
    uint64_t              count = 0;
    bool                  is_right = true;

    options_of(runs, &options);
    store = store_make(&options, &tree);
    while (count < OPS_MAX && put(store, tree, count) == TACTUS_OK) {
        count++;
    }
    for (uint64_t i = 0; i < count && is_right; i++) {
        uint64_t bars = bars_of(store);

        is_right = delete (store, tree, i) == TACTUS_OK;
        if (bars_of(store) > bars && crash == made++) {
            store = reopened(store, &options);
        }
    }
    is_right = is_right && tactus_checkpoint(store) == TACTUS_OK &&
               tactus_digest(store, digest) == TACTUS_OK;
    if (!is_right) {
        tap_diag("%u made: %s", made, tactus_message());
    }
    store_end(store);
    return is_right ? made : 0;
}

static void test_room(uint32_t runs)
{
    uint8_t  expected[16], digest[16];
    uint32_t made = room_run(runs, CRASH_NEVER, expected);

    tap_ok(made > 0, "runs of %u: deletes in a full store end bars to make room", runs);
    for (uint32_t crash = 0; crash < made && crash < 8; crash++) {
        tap_ok(
            room_run(runs, crash, digest) == made && memcmp(digest, expected, sizeof digest) == 0,
            "runs of %u: a replay of delete %u that made room ends the same bars", runs, crash + 1);
    }
}

int main(void)
{
    snprintf(path, sizeof path, "%s/refusal-%d",
             getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp", (int)getpid());
    snprintf(log_path, sizeof log_path, "%s-wal", path);
    tap_plan(0);
    test_log_full();
    test_refused(8,
                 false); /* With runs of 1 flushes are merged, held back or not: there is room. */
    test_refused(8, true);
    test_refused(1, true);
    test_room(1); /* One delete in 3,000 ends two bars. */
    test_room(8);
    return tap_done();
}
