/* SPDX-License-Identifier: Apache-2.0 */
/* A pause of compaction: nothing is consumed in it, writes go on until they would wait, what they
 * are refused changes nothing, and afterwards all goes on; with stage threads at random moments
 * too. */
#include <inttypes.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "base/prng.h"
#include "base/units.h"
#include "queues/atomics.h"
#include "tactus.h"
#include "tests/lib/small_options.h"
#include "tests/lib/tap.h"

#define VALUE_BYTES 100
#define BEATS 16
/* What two stage threads may be merging, with all that they have read ahead */
#define UNDER_WAY_BYTES (4 * 8 * 4 * TAC_KIB)

static struct tactus *store_open(uint64_t memtable_size, uint32_t threads, uint32_t *ret_tree)
{
    struct tactus_options options;
    struct tactus_layout  layout = {TACTUS_LAYOUT_FIXED, 8, VALUE_BYTES};
    struct tactus        *store;

    small_options(&options);
    options.memtable_size = memtable_size;
    options.table_size = memtable_size / 2;
    options.slice_size = memtable_size;
    options.beats_per_bar = BEATS;
    options.threads = threads;
    options.backend = TACTUS_BACKEND_MEMORY;
    options.file_size_max = TAC_GIB;
    if (tactus_open("pause", &options, &store) != TACTUS_OK ||
        tactus_tree_create(store, "t", &layout, ret_tree) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
    return store;
}

static int put(struct tactus *store, uint32_t tree, uint64_t number)
{
    uint64_t key = tac_mix_u64(number);
    uint8_t  value[VALUE_BYTES] = {0};

    memcpy(value, &number, sizeof number);
    return tactus_put(store, tree, &key, sizeof key, value, sizeof value);
}

static uint64_t records_right(struct tactus *store, uint32_t tree, uint64_t count)
{
    uint64_t right = 0;

    for (uint64_t i = 0; i < count; i++) {
        uint64_t key = tac_mix_u64(i);
        uint8_t  value[VALUE_BYTES];
        size_t   size;

        right +=
            tactus_get(store, tree, &key, sizeof key, value, sizeof value, &size) == TACTUS_OK &&
            memcmp(value, &i, sizeof i) == 0;
    }
    return right;
}

static struct tactus_stats stats_of(struct tactus *store)
{
    struct tactus_stats stats;

    tactus_stat(store, &stats);
    return stats;
}

/* Puts from `first` on until one is refused; returns the number of that one. */
static uint64_t put_until_refused(struct tactus *store, uint32_t tree, uint64_t first)
{
    int result;

    do {
        result = put(store, tree, first++);
    } while (result == TACTUS_OK);
    if (result != TACTUS_EPAUSED) {
        tap_bail("%s", tactus_message());
    }
    return first - 1;
}

static void test_pause(uint32_t threads)
{
    uint32_t            tree;
    struct tactus      *store = store_open(64 * TAC_KIB, threads, &tree);
    struct tactus_stats before, after;
    uint64_t            count = 0, op;

    while (stats_of(store).bars < 12) {
        if (put(store, tree, count++) != TACTUS_OK) {
            tap_bail("%s", tactus_message());
        }
    }
    tap_ok(tactus_pause(store) == TACTUS_OK && stats_of(store).is_paused,
           "%u threads: compaction is paused", threads);
    before = stats_of(store);
    count = put_until_refused(store, tree, count);
    for (uint32_t i = 0; i < 1000 && tactus_step(store); i++) {
    }
    after = stats_of(store);
    tap_ok(after.last_op > before.last_op && after.bars == before.bars &&
               after.bar_work_done_bytes - before.bar_work_done_bytes <= UNDER_WAY_BYTES,
           "writes go on for some beats, compaction does not");
    op = tactus_last_op(store);
    tap_ok(put(store, tree, count) == TACTUS_EPAUSED && tactus_drain(store) == TACTUS_EPAUSED &&
               tactus_compact(store, tree) == TACTUS_EPAUSED &&
               tactus_checkpoint(store) == TACTUS_EPAUSED && tactus_sync(store) == TACTUS_EPAUSED &&
               tactus_last_op(store) == op && strstr(tactus_message(), "tactus_resume") != NULL,
           "what would wait is refused and takes no op");
    tap_ok(records_right(store, tree, count) == count, "reads go on");
    tap_ok(tactus_pause(store) == TACTUS_OK && tactus_resume(store) == TACTUS_OK &&
               tactus_resume(store) == TACTUS_OK && !stats_of(store).is_paused,
           "a pause is ended by one resume");
    for (uint32_t i = 0; i < 2000; i++) {
        if (put(store, tree, count++) != TACTUS_OK) {
            tap_bail("%s", tactus_message());
        }
    }
    tap_ok(tactus_drain(store) == TACTUS_OK && records_right(store, tree, count) == count,
           "and all goes on");
    tap_ok(tactus_pause(store) == TACTUS_OK && put(store, tree, count) == TACTUS_OK &&
               tactus_close(store) == TACTUS_OK,
           "a close ends a pause");
}

/* ---- at random moments ---------------------------------------------------------------------- */

#define MOMENTS 1000
#define INGEST_MEMTABLE_BYTES (4 * TAC_MIB)

struct ingest {
    struct tactus *store;
    uint32_t       tree;
    uint64_t       count;
    uint32_t       stop; /* Atomic */
    bool           is_right;
};

/* One who puts as fast as it goes, and tries again when it is refused. */
static void *ingest_main(void *argument)
{
    struct ingest *ingest = argument;

    ingest->is_right = true;
    while (tac_atomic_load_acquire_u32(&ingest->stop) == 0) {
        int result = put(ingest->store, ingest->tree, ingest->count);

        ingest->count += result == TACTUS_OK;
        if (result != TACTUS_OK && result != TACTUS_EPAUSED) {
            tap_diag("%s", tactus_message());
            ingest->is_right = false;
            break;
        }
        if (result == TACTUS_EPAUSED) {
            const struct timespec rest = {0, 20000};

            nanosleep(&rest, NULL);
        }
    }
    return NULL;
}

/* Of so many records. */
static uint64_t beats_of(uint64_t records)
{
    return records * (8 + VALUE_BYTES + TACTUS_RECORD_OVERHEAD_BYTES) /
           (INGEST_MEMTABLE_BYTES / BEATS);
}

static void test_moments(void)
{
    struct ingest   ingest = {0};
    struct tac_prng prng = {7};
    pthread_t       thread;
    uint64_t        beats_most = 0, consumed;
    bool            is_resting = true;

    ingest.store = store_open(INGEST_MEMTABLE_BYTES, 3, &ingest.tree);
    if (pthread_create(&thread, NULL, ingest_main, &ingest) != 0) {
        tap_bail("no thread");
    }
    for (uint32_t i = 0; i < MOMENTS; i++) {
        const struct timespec wait = {0, (long)tac_prng_below(&prng, 1000000)};
        struct tactus_stats   before, after;
        uint64_t              op = tactus_last_op(ingest.store);

        if (tactus_pause(ingest.store) != TACTUS_OK) {
            tap_bail("%s", tactus_message());
        }
        beats_most = tac_max_u64(beats_most, beats_of(tactus_last_op(ingest.store) - op));
        before = stats_of(ingest.store);
        nanosleep(&wait, NULL);
        after = stats_of(ingest.store);
        /* A write that was about to wait may have ended the plan. */
        if (after.bars == before.bars && after.bar_work_done_bytes > before.bar_work_done_bytes) {
            consumed = after.bar_work_done_bytes - before.bar_work_done_bytes;
            is_resting = is_resting && consumed <= before.wait_bound_bytes + UNDER_WAY_BYTES;
        }
        is_resting = is_resting && after.bars - before.bars <= 1;
        if (tactus_resume(ingest.store) != TACTUS_OK) {
            tap_bail("%s", tactus_message());
        }
        nanosleep(&wait, NULL);
    }
    tac_atomic_store_release_u32(&ingest.stop, 1);
    pthread_join(thread, NULL);
    tap_ok(beats_most <= BEATS, "%d pauses at random moments: each within %" PRIu64 " beats",
           MOMENTS, beats_most);
    tap_ok(is_resting, "in none more is consumed than what was under way and one beat's work");
    tap_ok(ingest.is_right && tactus_drain(ingest.store) == TACTUS_OK &&
               records_right(ingest.store, ingest.tree, ingest.count) == ingest.count,
           "nothing is lost of %" PRIu64 " records", ingest.count);
    if (tactus_close(ingest.store) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
}

int main(void)
{
    tap_plan(0);
    test_pause(0);
    test_pause(3);
    test_moments();
    return tap_done();
}
