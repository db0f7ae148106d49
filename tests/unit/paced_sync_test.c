/* SPDX-License-Identifier: Apache-2.0 */
/* Syncs between checkpoints: they come with what is written, by threads and without, rest in a
 * pause, and show in no byte. One that fails is in sim/nth_fault_test; the simulator has them in
 * half of its worlds. */
#include <stdio.h>
#include <string.h>

#include "tests/lib/small_options.h"
#include "tests/lib/tap.h"

#define RECORDS 20000
#define VALUE_BYTES 100
#define PAUSED_STEPS 1000
#define MEMTABLE_BYTES (256 * TAC_KIB)
/* Beside bytes_per_sync: what is written in some beats while a sync is due or under way. */
#define SLACK_BYTES MEMTABLE_BYTES

struct run {
    struct tactus *store;
    uint32_t       tree;
    uint64_t       syncs, written_bytes; /* When syncs was last seen to change */
    uint64_t       unsynced_bytes_max;
};

static struct tactus_stats stat_of(struct tactus *store)
{
    struct tactus_stats stats;

    tactus_stat(store, &stats);
    return stats;
}

static void run_open(struct run *run, uint32_t threads, uint64_t bytes_per_sync)
{
    struct tactus_layout  layout = {TACTUS_LAYOUT_FIXED, 8, VALUE_BYTES};
    struct tactus_options options;
    struct tactus_stats   stats;

    small_options(&options);
    options.backend = TACTUS_BACKEND_MEMORY;
    options.threads = threads;
    options.memtable_size = MEMTABLE_BYTES;
    options.tables_max = 4096;
    options.file_size_max = TAC_GIB;
    options.page_cache_size = options.index_cache_size = TAC_MIB;
    options.bytes_per_sync = bytes_per_sync;
    memset(options.uuid, 7, sizeof options.uuid);
    memset(run, 0, sizeof *run);
    if (tactus_open(NULL, &options, &run->store) != TACTUS_OK ||
        tactus_tree_create(run->store, "tree", &layout, &run->tree) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
    stats = stat_of(run->store);
    run->syncs = stats.syncs;
    run->written_bytes = stats.written_bytes;
}

static bool put(struct run *run, uint64_t number)
{
    static const uint8_t value[VALUE_BYTES];
    uint64_t             key = number * 7919 % 100000;

    return tactus_put(run->store, run->tree, &key, sizeof key, value, sizeof value) == TACTUS_OK;
}

static void look(struct run *run)
{
    struct tactus_stats stats = stat_of(run->store);

    run->unsynced_bytes_max =
        tac_max_u64(run->unsynced_bytes_max, stats.written_bytes - run->written_bytes);
    if (stats.syncs != run->syncs) {
        run->syncs = stats.syncs;
        run->written_bytes = stats.written_bytes;
    }
}

static bool fill(struct run *run)
{
    for (uint64_t i = 0; i < RECORDS; i++) {
        if (!put(run, i)) {
            return false;
        }
        look(run);
    }
    return true;
}

/* Returns the syncs of the fill alone. */
static uint64_t test_fill(uint32_t threads, uint64_t bytes_per_sync, uint8_t digest[16])
{
    struct run          run;
    struct tactus_stats before, after;

    run_open(&run, threads, bytes_per_sync);
    before = stat_of(run.store);
    if (!fill(&run)) {
        tap_bail("%s", tactus_message());
    }
    after = stat_of(run.store);
    tap_diag("%u threads, %llu bytes: %llu syncs of %llu bytes, at most %llu without one", threads,
             (unsigned long long)bytes_per_sync, (unsigned long long)(after.syncs - before.syncs),
             (unsigned long long)(after.written_bytes - before.written_bytes),
             (unsigned long long)run.unsynced_bytes_max);
    if (threads == 0 && bytes_per_sync > 0) {
        tap_ok(run.unsynced_bytes_max <= bytes_per_sync + SLACK_BYTES,
               "no more than that is written without a sync");
    }
    tap_ok(after.sync_ns_max > 0 && after.written_bytes - before.written_bytes > 8 * TAC_MIB &&
               tactus_drain(run.store) == TACTUS_OK &&
               tactus_digest(run.store, digest) == TACTUS_OK &&
               tactus_close(run.store) == TACTUS_OK,
           "a store is written to, with %u threads and a sync for %llu bytes", threads,
           (unsigned long long)bytes_per_sync);
    return after.syncs - before.syncs;
}

static void test_counts(void)
{
    uint8_t  none[16], some[16], many[16], threaded[16];
    uint64_t without = test_fill(0, 0, none);
    uint64_t rare = test_fill(0, TAC_MIB, some);
    uint64_t often = test_fill(0, 64 * TAC_KIB, many);
    uint64_t by_threads = test_fill(3, 64 * TAC_KIB, threaded);

    tap_ok(without % 2 == 0 && without >= 4, "without the option each checkpoint has two");
    tap_ok(rare > without && often > 4 * rare, "more come with it, and more of them for less");
    tap_ok(by_threads > 2 * without, "with threads too");
    tap_ok(memcmp(none, some, sizeof none) == 0 && memcmp(none, many, sizeof none) == 0 &&
               memcmp(none, threaded, sizeof none) == 0,
           "no byte depends on them");
}

/* One is due with each block here. */
static void test_pause(void)
{
    struct run run;
    uint32_t   begun = 0;

    run_open(&run, 0, 1);
    for (uint64_t i = 0; i < RECORDS; i++) {
        uint64_t syncs, before;

        if (!put(&run, i)) {
            tap_bail("%s", tactus_message());
        }
        if (i % 500 != 499) {
            continue;
        }
        before = stat_of(run.store).syncs;
        if (tactus_pause(run.store) != TACTUS_OK) {
            tap_bail("%s", tactus_message());
        }
        for (uint32_t step = 0; step < PAUSED_STEPS; step++) {
            tactus_step(run.store);
        }
        syncs = stat_of(run.store).syncs;
        /* One under way, and those of a checkpoint that is being written. */
        begun += syncs > before + 3;
        if (tactus_resume(run.store) != TACTUS_OK) {
            tap_bail("%s", tactus_message());
        }
    }
    tap_ok(begun == 0, "none begins in a pause");
    tactus_abandon(run.store);
}

static void test_range(void)
{
    struct tactus_options options;

    tactus_options_init(&options);
    tap_ok(options.bytes_per_sync == 16 * TAC_MIB, "by default a sync comes with 16 MiB");
    tap_ok(tactus_options_set(&options, "bytes_per_sync", "0") == TACTUS_OK &&
               options.bytes_per_sync == 0 &&
               tactus_options_set(&options, "bytes_per_sync", "1TiB") == TACTUS_OK &&
               options.bytes_per_sync == TAC_TIB,
           "it may be 0, and up to 1 TiB");
    tap_ok(tactus_options_set(&options, "bytes_per_sync", "2TiB") == TACTUS_EOPTION &&
               strstr(tactus_message(), "bytes_per_sync") != NULL &&
               options.bytes_per_sync == TAC_TIB,
           "more is refused: %s", tactus_message());
}

int main(void)
{
    tap_plan(0);
    test_range();
    test_counts();
    test_pause();
    return tap_done();
}
