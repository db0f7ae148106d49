/* SPDX-License-Identifier: Apache-2.0 */
/* A key range compacted by hand: all that was there comes to the last level, with and without
 * writes meanwhile, whatever the bounds; what is told of it adds up; it can be cancelled, and goes
 * on with a log after a crash. */
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/prng.h"
#include "base/units.h"
#include "pipeline/store.h"
#include "queues/atomics.h"
#include "tactus.h"
#include "tests/lib/small_options.h"
#include "tests/lib/tap.h"

#define VALUE_BYTES 100
#define KEY_BYTES 8
#define BARS_FILLED 60
#define STEPS_MAX 2000

static char path[512];

static void options_make(struct tactus_options *options, uint32_t runs, uint32_t threads)
{
    small_options(options);
    options->table_size = 16 * TAC_KIB;
    options->runs_per_level = runs;
    options->threads = threads;
    options->file_size_max = TAC_GIB;
    options->page_cache_size = options->index_cache_size = TAC_MIB;
}

static struct tactus *memory_store_open(uint32_t runs, uint32_t threads, uint32_t *ret_tree)
{
    struct tactus_options options;
    struct tactus_layout  layout = {TACTUS_LAYOUT_FIXED, KEY_BYTES, VALUE_BYTES};
    struct tactus        *store;

    options_make(&options, runs, threads);
    options.backend = TACTUS_BACKEND_MEMORY;
    if (tactus_open("range", &options, &store) != TACTUS_OK ||
        tactus_tree_create(store, "t", &layout, ret_tree) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
    return store;
}

/* Numbers are put in random order; keys compare as the numbers do. */
static void key_make(uint64_t number, uint8_t key[KEY_BYTES])
{
    for (uint32_t i = 0; i < KEY_BYTES; i++) {
        key[i] = (uint8_t)(number >> (56 - 8 * i));
    }
}

static int put(struct tactus *store, uint32_t tree, uint64_t number)
{
    uint8_t key[KEY_BYTES], value[VALUE_BYTES] = {0};

    key_make(tac_mix_u64(number), key);
    memcpy(value, &number, sizeof number);
    return tactus_put(store, tree, key, sizeof key, value, sizeof value);
}

static uint64_t bars_fill(struct tactus *store, uint32_t tree, uint64_t first, uint64_t bars)
{
    struct tactus_stats stats;
    uint64_t            bars_end;

    tactus_stat(store, &stats);
    bars_end = stats.bars + bars;
    while (stats.bars < bars_end) {
        for (uint32_t i = 0; i < 20; i++) {
            if (put(store, tree, first++) != TACTUS_OK) {
                tap_bail("%s", tactus_message());
            }
        }
        tactus_stat(store, &stats);
    }
    return first;
}

static uint64_t records_right(struct tactus *store, uint32_t tree, uint64_t count)
{
    uint64_t right = 0;

    for (uint64_t i = 0; i < count; i++) {
        uint8_t key[KEY_BYTES], value[VALUE_BYTES];
        size_t  size;

        key_make(tac_mix_u64(i), key);
        right +=
            tactus_get(store, tree, key, sizeof key, value, sizeof value, &size) == TACTUS_OK &&
            memcmp(value, &i, sizeof i) == 0;
    }
    return right;
}

/* Bytes of tables above the last level that overlap the range; only of those that there were up to
 * the op. */
static uint64_t bytes_above(struct tactus *store, uint32_t tree, struct tac_bytes low,
                            struct tac_bytes high, uint64_t op)
{
    struct tac_manifest_tree *state = tac_manifest_tree(store->manifest, tree);
    uint64_t                  bytes = 0;

    for (uint32_t l = 0; l < state->planner.last_level; l++) {
        for (uint32_t i = 0; i < state->levels[l].table_count; i++) {
            const struct tac_table *table = state->levels[l].tables[i];
            bool                    is_in = tac_bytes_compare(table->key_max, low) >= 0 &&
                         (high.size == 0 || tac_bytes_compare(table->key_min, high) < 0);

            bytes += is_in && table->snapshot_min <= op ? table->bytes : 0;
        }
    }
    return bytes;
}

static struct tactus_compact_progress progress_of(struct tactus *store)
{
    struct tactus_compact_progress progress;

    tactus_compact_progress(store, &progress);
    return progress;
}

/* Until it is done; returns the steps. */
static uint32_t steps_run(struct tactus *store)
{
    bool     is_done = false;
    uint32_t steps = 0;

    while (!is_done && steps < STEPS_MAX) {
        if (tactus_compact_step(store, &is_done) != TACTUS_OK) {
            tap_bail("%s", tactus_message());
        }
        steps++;
    }
    return steps;
}

/* ---- a quiet store -------------------------------------------------------------------------- */

static void test_quiet(uint32_t runs, uint32_t threads, struct tac_bytes low, struct tac_bytes high,
                       const char *name)
{
    uint32_t                       tree, steps;
    struct tactus                 *store = memory_store_open(runs, threads, &tree);
    uint64_t                       count = bars_fill(store, tree, 0, BARS_FILLED);
    uint64_t                       before, outside, left = UINT64_MAX;
    struct tactus_compact_progress progress;
    bool                           is_done = false, is_falling = true;

    before = bytes_above(store, tree, low, high, UINT64_MAX);
    if (tactus_compact_range(store, tree, low.data, low.size, high.data, high.size) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
    progress = progress_of(store);
    tap_ok(before > 0 && progress.state == TACTUS_COMPACT_FLUSHING && progress.tree == tree &&
               progress.op == tactus_last_op(store) && progress.left_bytes == before &&
               progress.total_bytes == before,
           "R %u, %u threads, %s: what is left is the bytes of the tables above the last level",
           runs, threads, name);
    for (steps = 0; !is_done && steps < STEPS_MAX; steps++) {
        if (tactus_compact_step(store, &is_done) != TACTUS_OK) {
            tap_bail("%s", tactus_message());
        }
        progress = progress_of(store);
        if (progress.state == TACTUS_COMPACT_RUNNING) {
            /* Of a bounded range whole tables count, and some get wider on their way. */
            is_falling = is_falling &&
                         (progress.passes_left_bytes <= left || low.size + high.size > 0) &&
                         progress.left_bytes <= progress.passes_left_bytes &&
                         progress.left_bytes <= bytes_above(store, tree, low, high, UINT64_MAX);
            left = progress.passes_left_bytes;
        }
    }
    outside = bytes_above(store, tree, (struct tac_bytes){NULL, 0}, (struct tac_bytes){NULL, 0},
                          UINT64_MAX);
    tap_ok(is_done && bytes_above(store, tree, low, high, UINT64_MAX) == 0 &&
               (outside > 0) == (low.size + high.size > 0),
           "after %u steps all of the range is in the last level, and no more than that", steps);
    tap_ok(is_falling && progress.state == TACTUS_COMPACT_DONE && progress.left_bytes == 0 &&
               progress.passes_left_bytes == 0 && progress.time_left_ns == 0 &&
               progress.total_bytes > 0 && progress.bytes_per_second > 0,
           "what is left never grows, and is nothing in the end");
    tap_ok(records_right(store, tree, count) == count && tactus_drain(store) == TACTUS_OK &&
               tactus_verify(store, NULL, NULL, NULL) == TACTUS_OK,
           "no record is missing, and the store is sound");
    (void)tactus_close(store);
}

static void test_ranges(void)
{
    static const struct tac_bytes open = {NULL, 0};
    static const struct tac_bytes low = {(const uint8_t *)"\x30", 1};
    static const struct tac_bytes high = {(const uint8_t *)"\x60\x12\x34", 3};
    static const struct tac_bytes beyond = {(const uint8_t *)"\x30\x01\x02\x03\x04\x05\x06\x07\x08",
                                            9};

    test_quiet(8, 0, open, open, "all");
    test_quiet(8, 3, open, open, "all");
    test_quiet(8, 0, low, high, "two bounds, shorter than keys");
    test_quiet(2, 0, low, high, "two bounds, shorter than keys");
    test_quiet(2, 3, beyond, open, "a low bound, longer than keys");
    test_quiet(1, 0, low, high, "two bounds, shorter than keys");
    test_quiet(1, 0, open, open, "all");
    test_quiet(4, 0, open, low, "a high bound");
}

/* Nothing to do is soon done. */
static void test_nothing(void)
{
    uint32_t       tree, steps;
    struct tactus *store = memory_store_open(8, 0, &tree);

    tap_ok(tactus_compact_range(store, tree, NULL, 0, NULL, 0) == TACTUS_OK &&
               (steps = steps_run(store)) <= 3 && progress_of(store).state == TACTUS_COMPACT_DONE,
           "an empty tree is done at once");
    (void)bars_fill(store, tree, 0, 20);
    tap_ok(tactus_compact_range(store, tree, "\0\0\0\0\0\0\0\0", 8, "\0\0\0\0\0\0\0\1", 8) ==
                   TACTUS_OK &&
               steps_run(store) <= 40 && progress_of(store).state == TACTUS_COMPACT_DONE,
           "and so is a range below all keys");
    (void)tactus_close(store);
}

/* ---- with writes ---------------------------------------------------------------------------- */

/* What had been written before is in the last level in the end, though more comes in than goes. */
static void test_writes(uint32_t runs)
{
    uint32_t       tree, bars;
    struct tactus *store = memory_store_open(runs, 0, &tree);
    uint64_t       count = bars_fill(store, tree, 0, BARS_FILLED), op;

    if (tactus_compact_range(store, tree, NULL, 0, NULL, 0) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
    op = tactus_last_op(store);
    for (bars = 0; progress_of(store).state != TACTUS_COMPACT_DONE && bars < STEPS_MAX; bars++) {
        count = bars_fill(store, tree, count, 1);
    }
    tap_ok(progress_of(store).state == TACTUS_COMPACT_DONE &&
               bytes_above(store, tree, (struct tac_bytes){NULL, 0}, (struct tac_bytes){NULL, 0},
                           op) == 0,
           "R %u: of what had been written all is in the last level after %u bars of writes", runs,
           bars);
    tap_ok(records_right(store, tree, count) == count, "no record is missing");
    (void)tactus_close(store);
}

struct ingest {
    struct tactus *store;
    uint32_t       tree;
    uint64_t       count;
    uint32_t       stop; /* Atomic */
    bool           is_right;
};

static void *ingest_main(void *argument)
{
    struct ingest *ingest = argument;

    ingest->is_right = true;
    while (tac_atomic_load_acquire_u32(&ingest->stop) == 0) {
        ingest->is_right =
            put(ingest->store, ingest->tree, ingest->count) == TACTUS_OK && ingest->is_right;
        ingest->count++;
    }
    return NULL;
}

/* One thread writes; the other steps, looks and cancels. */
static void test_threads(void)
{
    struct ingest ingest = {.count = 0};
    pthread_t     thread;
    uint64_t      cancelled = 0, done = 0, total_right = 0;

    ingest.store = memory_store_open(4, 3, &ingest.tree);
    ingest.count = bars_fill(ingest.store, ingest.tree, 0, BARS_FILLED);
    if (pthread_create(&thread, NULL, ingest_main, &ingest) != 0) {
        tap_bail("cannot start a thread");
    }
    for (uint32_t round = 0; round < 20; round++) {
        bool is_done = false;

        if (tactus_compact_range(ingest.store, ingest.tree, NULL, 0, NULL, 0) != TACTUS_OK) {
            tap_bail("%s", tactus_message());
        }
        for (uint32_t step = 0; !is_done && (round % 2 == 1 || step < round); step++) {
            if (tactus_compact_step(ingest.store, &is_done) != TACTUS_OK) {
                tap_bail("%s", tactus_message());
            }
        }
        if (tactus_compact_cancel(ingest.store) != TACTUS_OK) {
            tap_bail("%s", tactus_message());
        }
        cancelled += progress_of(ingest.store).state == TACTUS_COMPACT_CANCELLED;
        done += progress_of(ingest.store).state == TACTUS_COMPACT_DONE;
    }
    tac_atomic_store_release_u32(&ingest.stop, 1);
    pthread_join(thread, NULL);
    total_right = records_right(ingest.store, ingest.tree, ingest.count);
    tap_ok(cancelled > 0 && done >= 10 && cancelled + done == 20,
           "beside a writer %" PRIu64 " are done and %" PRIu64 " cancelled", done, cancelled);
    tap_ok(ingest.is_right && total_right == ingest.count, "and no record is missing");
    (void)tactus_close(ingest.store);
}

/* ---- what is refused, and what ends it ------------------------------------------------------ */

static void test_refused(void)
{
    static const uint8_t long_key[TACTUS_KEY_SIZE_MAX + 1] = {1};
    uint32_t             tree;
    struct tactus       *store = memory_store_open(8, 0, &tree);
    bool                 is_done = true;
    uint64_t             op;

    (void)bars_fill(store, tree, 0, 20);
    op = tactus_last_op(store);
    tap_ok(tactus_compact_range(store, tree + 1, NULL, 0, NULL, 0) == TACTUS_ENOTREE &&
               tactus_compact_range(store, tree, "b", 1, "a", 1) == TACTUS_EINVAL &&
               tactus_compact_range(store, tree, "a", 1, "a", 1) == TACTUS_EINVAL &&
               tactus_compact_range(store, tree, "", 0, NULL, 0) == TACTUS_EKEYSIZE &&
               tactus_compact_range(store, tree, NULL, 1, NULL, 0) == TACTUS_EKEYSIZE &&
               tactus_compact_range(store, tree, NULL, 0, long_key, sizeof long_key) ==
                   TACTUS_EKEYSIZE &&
               tactus_last_op(store) == op && progress_of(store).state == TACTUS_COMPACT_NONE,
           "bounds that cannot be are refused");
    tap_ok(tactus_compact_range(store, tree, "a", 1, long_key + 1, TACTUS_KEY_SIZE_MAX) ==
                   TACTUS_EINVAL &&
               tactus_compact_range(store, tree, NULL, 0, NULL, 0) == TACTUS_OK &&
               tactus_compact_range(store, tree, NULL, 0, NULL, 0) == TACTUS_EEXISTS &&
               tactus_last_op(store) == op + 1,
           "one at a time");
    tap_ok(tactus_compaction_hold(store, true) == TACTUS_OK &&
               tactus_compact_step(store, &is_done) == TACTUS_EAGAIN && is_done &&
               tactus_compaction_hold(store, false) == TACTUS_OK,
           "a hold holds it back");
    tap_ok(tactus_pause(store) == TACTUS_OK &&
               tactus_compact_step(store, &is_done) == TACTUS_EPAUSED &&
               tactus_resume(store) == TACTUS_OK && tactus_last_op(store) == op + 3,
           "and so does a pause");
    tap_ok(tactus_compact_step(store, &is_done) == TACTUS_OK && !is_done &&
               tactus_compact_cancel(store) == TACTUS_OK &&
               progress_of(store).state == TACTUS_COMPACT_CANCELLED &&
               tactus_compact_step(store, &is_done) == TACTUS_OK && is_done &&
               tactus_compact_cancel(store) == TACTUS_OK && tactus_last_op(store) == op + 7,
           "a cancel ends it, and takes an op also if there is none");
    (void)tactus_close(store);
}

/* The range goes with its tree; the next tree may have one. */
static void test_drop(void)
{
    struct tactus_layout layout = {TACTUS_LAYOUT_FIXED, KEY_BYTES, VALUE_BYTES};
    uint32_t             tree, other;
    struct tactus       *store = memory_store_open(8, 0, &tree);
    bool                 is_done;

    (void)bars_fill(store, tree, 0, BARS_FILLED);
    tap_ok(tactus_compact_range(store, tree, NULL, 0, NULL, 0) == TACTUS_OK &&
               tactus_compact_step(store, &is_done) == TACTUS_OK &&
               tactus_compact_step(store, &is_done) == TACTUS_OK && !is_done &&
               tactus_tree_drop(store, tree) == TACTUS_OK &&
               progress_of(store).state == TACTUS_COMPACT_CANCELLED &&
               tactus_compact_range(store, tree, NULL, 0, NULL, 0) == TACTUS_ENOTREE,
           "the drop of its tree ends a range");
    if (tactus_tree_create(store, "other", &layout, &other) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
    (void)bars_fill(store, other, 0, 20);
    tap_ok(tactus_compact_range(store, other, NULL, 0, NULL, 0) == TACTUS_OK &&
               progress_of(store).tree == other && steps_run(store) < STEPS_MAX &&
               progress_of(store).state == TACTUS_COMPACT_DONE &&
               tactus_verify(store, NULL, NULL, NULL) == TACTUS_OK,
           "and another tree has its own");
    (void)tactus_close(store);
}

/* What had been done stays done. */
static void test_cancel(void)
{
    uint32_t       tree;
    struct tactus *store = memory_store_open(8, 0, &tree);
    uint64_t       count = bars_fill(store, tree, 0, 2 * BARS_FILLED), left, compactions;
    bool           is_done = false;

    if (tactus_compact_range(store, tree, NULL, 0, NULL, 0) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
    do {
        if (tactus_compact_step(store, &is_done) != TACTUS_OK || is_done) {
            tap_bail("done too soon");
        }
    } while (progress_of(store).left_bytes > progress_of(store).total_bytes / 2);
    left = progress_of(store).left_bytes;
    (void)tactus_compact_cancel(store);
    tap_ok(progress_of(store).left_bytes == left && progress_of(store).left_bytes > 0,
           "a cancel keeps what is done");
    (void)tactus_compact_step(store, &is_done); /* The plan that had been made */
    compactions = store->totals.compactions;
    (void)tactus_compact_step(store, &is_done);
    (void)tactus_compact_step(store, &is_done);
    tap_ok(is_done && store->totals.compactions == compactions,
           "and from the next plan on nothing more is done");
    tap_ok(records_right(store, tree, count) == count, "no record is missing");
    (void)tactus_close(store);
}

/* ---- damage --------------------------------------------------------------------------------- */

static bool tables_overlap(const struct tac_table *a, const struct tac_table *b)
{
    return tac_bytes_compare(a->key_max, b->key_min) >= 0 &&
           tac_bytes_compare(b->key_max, a->key_min) >= 0;
}

#define ABOVE_MAX 4096

/* Tables above the last level that neither are damaged nor hang together with one that is, from
 * overlap to overlap. */
static uint32_t tables_left(struct tactus *store, uint32_t tree)
{
    struct tac_manifest_tree *state = tac_manifest_tree(store->manifest, tree);
    const struct tac_table   *above[ABOVE_MAX], *swap;
    uint32_t                  count = 0, held = 0;

    for (uint32_t l = 0; l < state->planner.last_level; l++) {
        for (uint32_t i = 0; i < state->levels[l].table_count && count < ABOVE_MAX; i++) {
            above[count++] = state->levels[l].tables[i];
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t j = held; j < count; j++) {
            if (above[j]->is_damaged || (i < held && tables_overlap(above[i], above[j]))) {
                swap = above[held];
                above[held++] = above[j];
                above[j] = swap;
            }
        }
    }
    return count - held;
}

/* The first table of the level above the last one gets another byte in its index block. */
static void table_damage(struct tactus *store, uint32_t tree)
{
    struct tac_manifest_tree  *state = tac_manifest_tree(store->manifest, tree);
    struct tac_manifest_level *level = &state->levels[state->planner.last_level - 1];
    int                        file = open(path, O_RDWR);
    off_t                      at;
    uint8_t                    byte;

    if (level->table_count < 4) {
        tap_bail("%u tables above the last level", level->table_count);
    }
    at = (off_t)(level->tables[0]->index.address * store->shape.block_size + 200);
    if (file < 0 || pread(file, &byte, 1, at) != 1) {
        tap_bail("no byte to be changed");
    }
    byte ^= 1;
    if (pwrite(file, &byte, 1, at) != 1 || close(file) != 0) {
        tap_bail("the byte was not changed");
    }
}

/* A compaction that met damage has brought nothing down; a later plan takes the rest of it. */
static void test_damage(uint32_t runs)
{
    struct tactus_options options;
    struct tactus_layout  layout = {TACTUS_LAYOUT_FIXED, KEY_BYTES, VALUE_BYTES};
    struct tactus        *store;
    struct tactus_stats   stats;
    uint32_t              tree;

    options_make(&options, runs, 0);
    (void)unlink(path);
    if (tactus_create(path, &options) != TACTUS_OK ||
        tactus_open(path, &options, &store) != TACTUS_OK ||
        tactus_tree_create(store, "t", &layout, &tree) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
    (void)bars_fill(store, tree, 0, BARS_FILLED);
    if (tactus_drain(store) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
    table_damage(store, tree);
    if (tactus_compact_range(store, tree, NULL, 0, NULL, 0) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
    (void)steps_run(store);
    tactus_stat(store, &stats);
    tap_ok(progress_of(store).state == TACTUS_COMPACT_DONE && stats.tables_damaged > 0 &&
               tables_left(store, tree) == 0,
           "R %u: with a damaged table all comes down but what hangs together with it", runs);
    tactus_abandon(store);
    (void)unlink(path);
}

/* ---- keys longer than a place keeps --------------------------------------------------------- */

static void test_bounds(void)
{
    uint8_t              bytes[500];
    struct tac_sweep_key key;
    bool                 is_right;

    memset(bytes, 0xff, sizeof bytes);
    tac_sweep_key_low(&key, (struct tac_bytes){bytes, 500});
    is_right = key.size == TAC_SWEEP_KEY_BYTES && key.bytes[TAC_SWEEP_KEY_BYTES - 1] == 0xff;
    tac_sweep_key_high(&key, (struct tac_bytes){bytes, TAC_SWEEP_KEY_BYTES});
    is_right = is_right && key.size == TAC_SWEEP_KEY_BYTES && key.bytes[0] == 0xff;
    tac_sweep_key_high(&key, (struct tac_bytes){bytes, 500});
    is_right = is_right && key.size == 0; /* Nothing is above: open */
    bytes[3] = 7;
    tac_sweep_key_high(&key, (struct tac_bytes){bytes, 500});
    is_right = is_right && key.size == 4 && key.bytes[3] == 8 && key.bytes[4] == 0;
    tap_ok(is_right, "a bound that is cut makes the range wider");
}

/* Keys that are alike in their first 500 bytes. */
static void test_long_keys(void)
{
    struct tactus_options options;
    struct tactus_layout  layout = {TACTUS_LAYOUT_VARIABLE, 600, 200};
    struct tactus        *store;
    uint32_t              tree;
    uint8_t               key[600];

    options_make(&options, 4, 0);
    options.block_size = 16 * TAC_KIB;
    options.page_size = 2 * TAC_KIB;
    options.memtable_size = 128 * TAC_KIB;
    options.table_size = 64 * TAC_KIB;
    options.backend = TACTUS_BACKEND_MEMORY;
    if (tactus_open("range", &options, &store) != TACTUS_OK ||
        tactus_tree_create(store, "t", &layout, &tree) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
    memset(key, 'k', sizeof key);
    for (uint64_t i = 0; i < 6000; i++) {
        uint64_t number = tac_mix_u64(i);

        memcpy(key + 500, &number, sizeof number);
        if (tactus_put(store, tree, key, 508, &number, sizeof number) != TACTUS_OK) {
            tap_bail("%s", tactus_message());
        }
    }
    tap_ok(tactus_compact_range(store, tree, key, 508, NULL, 0) == TACTUS_OK &&
               steps_run(store) < STEPS_MAX && progress_of(store).state == TACTUS_COMPACT_DONE &&
               bytes_above(store, tree, (struct tac_bytes){NULL, 0}, (struct tac_bytes){NULL, 0},
                           UINT64_MAX) == 0,
           "keys that are alike in what a place keeps come down all the same");
    (void)tactus_close(store);
}

/* ---- with a log ----------------------------------------------------------------------------- */

static void file_remove(void)
{
    char log_path[sizeof path + 8];

    snprintf(log_path, sizeof log_path, "%s-wal", path);
    (void)unlink(path);
    (void)unlink(log_path);
}

/* Begun, killed after each few steps, and opened again: it goes on, and the file is the same as
 * without. crash_every 0: never. */
static uint64_t logged_run(uint32_t crash_every, uint8_t digest[16])
{
    struct tactus_options options;
    struct tactus_layout  layout = {TACTUS_LAYOUT_FIXED, KEY_BYTES, VALUE_BYTES};
    struct tactus        *store;
    uint32_t              tree;
    uint64_t              count, steps = 0;
    bool                  is_done = false;

    file_remove();
    options_make(&options, 4, 0);
    options.log = TACTUS_LOG_SYNC;
    options.uuid[0] = 1;
    if (tactus_create(path, &options) != TACTUS_OK ||
        tactus_open(path, &options, &store) != TACTUS_OK ||
        tactus_tree_create(store, "t", &layout, &tree) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
    count = bars_fill(store, tree, 0, BARS_FILLED);
    (void)tactus_compact_range(store, tree, "\x20", 1, "\xc0", 1);
    while (!is_done && steps < STEPS_MAX) {
        if (tactus_compact_step(store, &is_done) != TACTUS_OK) {
            tap_bail("%s", tactus_message());
        }
        steps++;
        if (crash_every > 0 && steps % crash_every == 0) {
            tactus_abandon(store);
            if (tactus_open(path, &options, &store) != TACTUS_OK) {
                tap_bail("%s", tactus_message());
            }
        }
    }
    if (tactus_drain(store) != TACTUS_OK || tactus_digest(store, digest) != TACTUS_OK ||
        records_right(store, tree, count) != count) {
        tap_bail("%s", tactus_message());
    }
    (void)tactus_close(store);
    file_remove();
    return steps;
}

static void test_log(void)
{
    uint8_t  whole[16], crashed[16];
    uint64_t steps = logged_run(0, whole), steps_crashed = logged_run(3, crashed);

    tap_ok(steps == steps_crashed && memcmp(whole, crashed, sizeof whole) == 0,
           "with a log a crash changes neither the %" PRIu64 " steps nor a byte", steps);
}

/* Without one a close ends it. */
static void test_close(void)
{
    struct tactus_options options;
    struct tactus_layout  layout = {TACTUS_LAYOUT_FIXED, KEY_BYTES, VALUE_BYTES};
    struct tactus        *store;
    uint32_t              tree;

    file_remove();
    options_make(&options, 4, 0);
    if (tactus_create(path, &options) != TACTUS_OK ||
        tactus_open(path, &options, &store) != TACTUS_OK ||
        tactus_tree_create(store, "t", &layout, &tree) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
    (void)bars_fill(store, tree, 0, BARS_FILLED);
    tap_ok(tactus_compact_range(store, tree, NULL, 0, NULL, 0) == TACTUS_OK &&
               tactus_close(store) == TACTUS_OK &&
               tactus_open(path, &options, &store) == TACTUS_OK &&
               progress_of(store).state == TACTUS_COMPACT_NONE && store->sweep.op == 0 &&
               store->checkpoint.durable.control.sweep.op == 0,
           "without a log a close ends it");
    (void)tactus_close(store);
    file_remove();
}

int main(void)
{
    const char *directory = getenv("TMPDIR");

    snprintf(path, sizeof path, "%.400s/range-%ld", directory != NULL ? directory : "/tmp",
             (long)getpid());
    tap_plan(0);
    test_ranges();
    test_nothing();
    test_writes(8);
    test_writes(2);
    test_writes(1);
    test_threads();
    test_refused();
    test_drop();
    test_cancel();
    test_damage(1);
    test_damage(4);
    test_bounds();
    test_long_keys();
    test_log();
    test_close();
    return tap_done();
}
