/* SPDX-License-Identifier: Apache-2.0 */
/* Beats that the host calls: what they do to bars, with writes and without, in a pause, by threads
 * and without. The simulator has them in half of its lists, with crashes and logs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/units.h"
#include "tests/lib/small_options.h"
#include "tests/lib/tap.h"

#define BEATS 16
#define VALUE_BYTES 1000
#define LOG_BEATS 1024
#define LOG_BARS 16

static void options_of(uint32_t threads, struct tactus_options *options)
{
    small_options(options);
    options->backend = TACTUS_BACKEND_MEMORY;
    options->threads = threads;
    options->memtable_size = 256 * TAC_KIB;
    options->beats_per_bar = BEATS;
    options->tables_max = 4096;
    options->file_size_max = TAC_GIB;
    options->page_cache_size = options->index_cache_size = TAC_MIB;
    memset(options->uuid, 9, sizeof options->uuid);
}

static struct tactus *store_open(const struct tactus_options *options, uint32_t *ret_tree)
{
    struct tactus_layout layout = {TACTUS_LAYOUT_VARIABLE, 8, 0};
    struct tactus       *store;

    if (tactus_open(NULL, options, &store) != TACTUS_OK ||
        tactus_tree_create(store, "tree", &layout, ret_tree) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
    return store;
}

static bool put(struct tactus *store, uint32_t tree, uint64_t key)
{
    static const uint8_t value[VALUE_BYTES];

    return tactus_put(store, tree, &key, sizeof key, value, sizeof value) == TACTUS_OK;
}

static struct tactus_stats stat_of(struct tactus *store)
{
    struct tactus_stats stats;

    tactus_stat(store, &stats);
    return stats;
}

static bool beats(struct tactus *store, uint32_t count)
{
    bool is_right = true;

    for (uint32_t i = 0; i < count && is_right; i++) {
        is_right = tactus_beat(store) == TACTUS_OK;
    }
    return is_right;
}

static void test_bars(uint32_t threads, uint32_t runs)
{
    struct tactus_options options;
    struct tactus_stats   before, after;
    struct tactus        *store;
    uint32_t              tree;
    bool                  is_right = true;

    options_of(threads, &options);
    options.runs_per_level = runs;
    store = store_open(&options, &tree);
    before = stat_of(store);
    is_right = put(store, tree, 1) && beats(store, BEATS - 1);
    after = stat_of(store);
    tap_ok(is_right && after.bars == before.bars && after.last_op == before.last_op + BEATS,
           "beats are ops (%u threads, runs of %u)", threads, runs);
    is_right = beats(store, 1);
    after = stat_of(store);
    tap_ok(is_right && after.bars == before.bars + 1, "the last one of a bar ends it");
    is_right = beats(store, BEATS);
    after = stat_of(store);
    tap_ok(is_right && after.bars == before.bars + 2 && after.tables_written > 0,
           "in the next bar what was in the memtable is flushed");
    is_right = beats(store, 4 * BEATS);
    after = stat_of(store);
    tap_ok(is_right && after.bars == before.bars + 6 && after.durable_op >= before.last_op + 1,
           "bars go on, and checkpoints, without any write");

    /* A quarter of a memtable: the fill is ahead of the first beats that are called. */
    before = stat_of(store);
    for (uint64_t i = 0; i < 65 && is_right; i++) {
        is_right = put(store, tree, i);
    }
    is_right = is_right && beats(store, BEATS - 5);
    after = stat_of(store);
    tap_ok(is_right && after.bars == before.bars, "calls go on from where writes have come to");
    is_right = beats(store, 1);
    after = stat_of(store);
    tap_ok(is_right && after.bars == before.bars + 1, "and end the bar so much earlier");
    is_right = beats(store, BEATS / 2 - 1);
    for (uint64_t i = 0; i < 100 && is_right; i++) {
        is_right = put(store, tree, i);
    }
    tap_ok(is_right && stat_of(store).bars == after.bars, "writes begin no beat that has begun");
    for (uint64_t i = 0; i < 400 && is_right; i++) {
        is_right = put(store, tree, i) && (i % 7 != 0 || beats(store, 1));
    }
    tap_ok(is_right && tactus_drain(store) == TACTUS_OK &&
               tactus_verify(store, NULL, NULL, NULL) == TACTUS_OK,
           "the store is sound");
    tap_ok(tactus_close(store) == TACTUS_OK, "it closes");
}

static void test_pause(void)
{
    struct tactus_options options;
    struct tactus        *store;
    uint32_t              tree, count = 0;
    uint64_t              op;
    int                   code = TACTUS_OK;

    options_of(0, &options);
    store = store_open(&options, &tree);
    if (!put(store, tree, 1) || tactus_pause(store) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
    while (count < 2 * BEATS && code == TACTUS_OK) {
        code = tactus_beat(store);
        count += code == TACTUS_OK;
    }
    op = tactus_last_op(store);
    tap_ok(code == TACTUS_EPAUSED && count == BEATS - 1 && tactus_beat(store) == TACTUS_EPAUSED &&
               tactus_last_op(store) == op,
           "in a pause none ends a bar: %s", tactus_message());
    tap_ok(tactus_resume(store) == TACTUS_OK && tactus_beat(store) == TACTUS_OK &&
               stat_of(store).bars == 1,
           "after it one does");
    tap_ok(tactus_close(store) == TACTUS_OK, "it closes");
}

static bool digest_with(uint32_t threads, uint8_t digest[16])
{
    struct tactus_options options;
    struct tactus        *store;
    uint32_t              tree;
    bool                  is_right = true;

    options_of(threads, &options);
    store = store_open(&options, &tree);
    for (uint64_t i = 0; i < 3000 && is_right; i++) {
        is_right = put(store, tree, i * 7919 % 1000) && (i % 3 != 0 || beats(store, 1));
    }
    is_right = is_right && tactus_checkpoint(store) == TACTUS_OK &&
               tactus_digest(store, digest) == TACTUS_OK;
    return tactus_close(store) == TACTUS_OK && is_right;
}

/* The most beats of the smallest memtable, each in a frame of the log's own. */
static void test_log_room(void)
{
    struct tactus_options options;
    struct tactus        *store;
    char                  path[512], log_path[520];

    snprintf(path, sizeof path, "%s/beat-%d", getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp",
             (int)getpid());
    snprintf(log_path, sizeof log_path, "%s-wal", path);
    options_of(0, &options);
    options.backend = TACTUS_BACKEND_AUTO;
    options.memtable_size = 32 * TAC_KIB;
    options.beats_per_bar = LOG_BEATS;
    options.checkpoint_interval_bars = LOG_BARS;
    options.log = TACTUS_LOG_SYNC;
    if (tactus_create(path, &options) != TACTUS_OK ||
        tactus_open(path, &options, &store) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
    tap_ok(beats(store, LOG_BEATS * (LOG_BARS + 2)), "the log has room for every beat of the host");
    tactus_abandon(store);
    unlink(path);
    unlink(log_path);
}

int main(void)
{
    uint8_t first[16], second[16];

    tap_plan(0);
    test_bars(0, 8);
    test_bars(3, 8);
    test_bars(3, 1);
    test_pause();
    test_log_room();
    tap_ok(digest_with(0, first) && digest_with(6, second) && memcmp(first, second, 16) == 0,
           "the same calls, the same bytes, whatever the threads");
    return tap_done();
}
