/* SPDX-License-Identifier: Apache-2.0 */
/* Where the time went: what tactus_stat says of the stages agrees with what the file's I/O, the
 * records and the clock say, whoever did the work; and somebody who looks at any time never sees a
 * figure go back. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/units.h"
#include "queues/atomics.h"
#include "stages/profile.h"
#include "tests/lib/tap.h"

#ifdef __SANITIZE_THREAD__
#define RECORDS 20000
#else
#define RECORDS 60000
#endif
#define KEY_BYTES 8
#define VALUE_BYTES 112
#define FIGURES (sizeof(struct tactus_stage_stats) / sizeof(uint64_t) * TACTUS_STAGES)
#define BEATS_PER_BAR 32
#define NAP_NS (100 * 1000 * 1000)

struct variant {
    const char         *name;
    enum tactus_backend backend;
    uint32_t            threads_read, threads_merge, threads_write;
    bool                assist;
};

struct run {
    const struct variant *variant;
    char                  path[512];
    struct tactus        *store;
    uint32_t              tree, threads; /* threads: of the stages and the coordinator */
    uint64_t              opening_ns, opened_ns;
    struct tactus_stats   opened;          /* Before anything was written */
    uint32_t              stop;            /* Atomic */
    uint64_t              looks, problems; /* Of the observer */
};

/* ---- figures -------------------------------------------------------------------------------- */

static uint64_t waits_sum(const struct tactus_stage_stats *stage)
{
    return stage->wait_work_ns + stage->wait_device_ns + stage->wait_credit_ns +
           stage->wait_read_ns + stage->wait_write_ns;
}

static uint64_t busy_sum(const struct tactus_stats *stats)
{
    uint64_t sum_ns = 0;

    for (uint32_t i = 0; i < TACTUS_STAGES; i++) {
        sum_ns += stats->stage[i].busy_ns;
    }
    return sum_ns;
}

static uint64_t idle_sum(const struct tactus_stats *stats)
{
    uint64_t sum_ns = 0;

    for (uint32_t i = 0; i < TACTUS_STAGES; i++) {
        sum_ns += stats->stage[i].idle_ns;
    }
    return sum_ns;
}

/* Every figure of the stages is a sum that only grows. */
static bool has_gone_back(const struct tactus_stats *before, const struct tactus_stats *after)
{
    uint64_t from[FIGURES], to[FIGURES];

    tac_static_assert(sizeof from == sizeof before->stage, "figures are uint64_t");
    memcpy(from, before->stage, sizeof from);
    memcpy(to, after->stage, sizeof to);
    for (uint32_t i = 0; i < FIGURES; i++) {
        if (to[i] < from[i]) {
            return true;
        }
    }
    return false;
}

static bool idle_is_explained(const struct tactus_stats *stats)
{
    for (uint32_t i = 0; i < TACTUS_STAGES; i++) {
        if (stats->stage[i].idle_ns != waits_sum(&stats->stage[i])) {
            return false;
        }
    }
    return true;
}

/* ---- a run ---------------------------------------------------------------------------------- */

static void nap(void)
{
    const struct timespec time = {0, NAP_NS};

    nanosleep(&time, NULL);
}

static void run_open(struct run *run, const struct variant *variant)
{
    const struct tactus_layout layout = {TACTUS_LAYOUT_FIXED, KEY_BYTES, VALUE_BYTES};
    const char                *directory = getenv("TMPDIR");
    struct tactus_options      options;

    memset(run, 0, sizeof *run);
    run->variant = variant;
    snprintf(run->path, sizeof run->path, "%s/profile-%ld", directory != NULL ? directory : "/tmp",
             (long)getpid());
    tactus_options_init(&options);
    options.memtable_size = 512 * TAC_KIB;
    options.block_size = 8 * TAC_KIB;
    options.page_size = TAC_KIB;
    options.table_size = 64 * TAC_KIB;
    options.slice_size = 128 * TAC_KIB;
    options.runs_per_level = 4;
    options.beats_per_bar = BEATS_PER_BAR;
    options.checkpoint_interval_bars = 2;
    options.file_size_max = TAC_GIB;
    options.backend = variant->backend;
    options.assist = variant->assist;
    options.threads_read = variant->threads_read;
    options.threads_merge = variant->threads_merge;
    options.threads_write = variant->threads_write;
    if (variant->threads_merge > 0) {
        run->threads = variant->threads_read + variant->threads_merge + variant->threads_write + 1;
    }
    if (variant->backend != TACTUS_BACKEND_MEMORY &&
        tactus_create(run->path, &options) != TACTUS_OK) {
        tap_bail("create: %s", tactus_message());
    }
    run->opening_ns = tac_clock_now_ns();
    if (tactus_open(run->path, &options, &run->store) != TACTUS_OK) {
        tap_bail("open: %s", tactus_message());
    }
    run->opened_ns = tac_clock_now_ns();
    tactus_stat(run->store, &run->opened);
    if (tactus_tree_create(run->store, "tree", &layout, &run->tree) != TACTUS_OK) {
        tap_bail("tree: %s", tactus_message());
    }
}

static void run_close(struct run *run)
{
    if (tactus_close(run->store) != TACTUS_OK) {
        tap_bail("close: %s", tactus_message());
    }
    if (run->variant->backend != TACTUS_BACKEND_MEMORY) {
        (void)unlink(run->path);
    }
}

/* No key twice, in no order. */
static void records_put(struct run *run, uint32_t first, uint32_t end)
{
    uint8_t value[VALUE_BYTES] = {0};

    for (uint32_t i = first; i < end; i++) {
        uint64_t key = i * UINT64_C(0x9e3779b97f4a7c15);

        memcpy(value, &i, sizeof i);
        if (tactus_put(run->store, run->tree, &key, KEY_BYTES, value, VALUE_BYTES) != TACTUS_OK) {
            tap_bail("put: %s", tactus_message());
        }
    }
}

static void *observer_main(void *argument)
{
    struct run         *run = argument;
    struct tactus_stats before, after;

    tactus_stat(run->store, &before);
    do { /* Once at least, however late a busy machine lets it. */
        tactus_stat(run->store, &after);
        run->problems += has_gone_back(&before, &after) || !idle_is_explained(&after);
        run->looks++;
        before = after;
        sched_yield();
    } while (tac_atomic_load_acquire_u32(&run->stop) == 0);
    return NULL;
}

static struct tactus_stats ingest(struct run *run)
{
    struct tactus_stats stats;
    pthread_t           observer;

    if (pthread_create(&observer, NULL, observer_main, run) != 0) {
        tap_bail("no thread");
    }
    records_put(run, 0, RECORDS);
    if (tactus_drain(run->store) != TACTUS_OK) {
        tap_bail("drain: %s", tactus_message());
    }
    tactus_stat(run->store, &stats);
    tac_atomic_store_release_u32(&run->stop, 1);
    pthread_join(observer, NULL);
    return stats;
}

/* ---- checks --------------------------------------------------------------------------------- */

static void work_check(const struct run *run, const struct tactus_stats *stats)
{
    const struct tactus_stage_stats *stage = stats->stage;
    const char                      *name = run->variant->name;
    bool                             is_all_busy = true;

    tap_ok(stage[TACTUS_STAGE_READ].bytes > 0 &&
               stage[TACTUS_STAGE_READ].bytes == stats->read_bytes - run->opened.read_bytes,
           "%s: what the read stage read is all that was read", name);
    tap_ok(stage[TACTUS_STAGE_WRITE].bytes > 0 &&
               stage[TACTUS_STAGE_WRITE].bytes == stats->written_bytes - run->opened.written_bytes,
           "%s: what the write stage wrote is all that was written", name);
    tap_ok(stage[TACTUS_STAGE_READ].gathered_bytes == stats->user_bytes,
           "%s: every record was gathered once", name);
    tap_ok(stats->records_merged > 2 * RECORDS &&
               stage[TACTUS_STAGE_MERGE].bytes == stats->records_merged * (KEY_BYTES + VALUE_BYTES),
           "%s: what was merged is the bytes of the records that were", name);
    for (uint32_t i = 0; i < TACTUS_STAGES; i++) {
        is_all_busy = is_all_busy && stage[i].items > 0 && stage[i].busy_ns > 0;
    }
    tap_ok(is_all_busy && stage[TACTUS_STAGE_READ].gather_ns > 0 &&
               stage[TACTUS_STAGE_READ].gather_ns < stage[TACTUS_STAGE_READ].busy_ns,
           "%s: all stages were busy, the read stage not only with memtables", name);
}

static void time_check(const struct run *run, const struct tactus_stats *stats, uint64_t now_ns)
{
    uint64_t busy_ns = busy_sum(stats), idle_ns = idle_sum(stats);
    uint64_t most_ns = now_ns - run->opening_ns, least_ns = now_ns - run->opened_ns;

    tap_diag("%s: %llu ms, %u threads; busy %llu ms, idle %llu ms", run->variant->name,
             (unsigned long long)least_ns / 1000000, run->threads,
             (unsigned long long)busy_ns / 1000000, (unsigned long long)idle_ns / 1000000);
    if (run->threads == 0) {
        tap_ok(idle_ns == 0 && busy_ns <= most_ns,
               "%s: nobody is idle, the caller was busy no longer than there was time",
               run->variant->name);
        return;
    }
    tap_ok(busy_ns + idle_ns <= run->threads * most_ns &&
               busy_ns + idle_ns >= run->threads * least_ns / 4 * 3,
           "%s: busy and idle add up to the time of %u threads", run->variant->name, run->threads);
}

/* Everybody sleeps: a figure that is counted when a thread wakes up would stand still. */
static void sleep_check(const struct run *run)
{
    const struct variant *variant = run->variant;
    const uint32_t        threads[TACTUS_STAGES] = {variant->threads_read, variant->threads_merge,
                                                    variant->threads_write, 1};
    struct tactus_stats   before, after;
    bool                  are_asleep = true;

    nap();
    tactus_stat(run->store, &before);
    nap();
    tactus_stat(run->store, &after);
    for (uint32_t i = 0; i < TACTUS_STAGES; i++) {
        uint64_t slept_ns = after.stage[i].wait_work_ns - before.stage[i].wait_work_ns;

        are_asleep = are_asleep && slept_ns >= (uint64_t)NAP_NS * threads[i] / 4 * 3;
    }
    tap_ok(are_asleep, "%s: who sleeps has nothing to do, and it is counted while it lasts",
           run->variant->name);
}

static void run_whole(const struct variant *variant, struct tactus_stats *ret_stats)
{
    struct run run;

    run_open(&run, variant);
    *ret_stats = ingest(&run);
    time_check(&run, ret_stats, tac_clock_now_ns());
    work_check(&run, ret_stats);
    tap_ok(run.problems == 0 && run.looks > 0, "%s: no figure was ever seen to go back",
           variant->name);
    if (run.threads > 0) {
        sleep_check(&run);
    }
    run_close(&run);
}

/* The writer stops in the middle of a bar: its compactions have credit for about as much. */
static void test_credit(void)
{
    static const struct variant variant = {
        "a writer that rests", TACTUS_BACKEND_MEMORY, 1, 2, 1, true};
    struct tactus_stats before, after;
    struct run          run;
    uint32_t            put = 0;

    run_open(&run, &variant);
    do { /* A bar takes some thousand records. */
        records_put(&run, put, put + 1);
        put++;
        tactus_stat(run.store, &before);
    } while (before.bars < 4 || before.beats < BEATS_PER_BAR / 2);
    nap();
    tactus_stat(run.store, &before);
    nap();
    tactus_stat(run.store, &after);
    tap_ok(after.stage[TACTUS_STAGE_MERGE].wait_credit_ns -
                   before.stage[TACTUS_STAGE_MERGE].wait_credit_ns >=
               (uint64_t)NAP_NS / 4 * 3,
           "merges that are ahead of a writer wait for credit");
    run_close(&run);
}

int main(void)
{
    static const struct variant variants[] = {
        {"1/1/1, memory", TACTUS_BACKEND_MEMORY, 1, 1, 1, true},
        {"2/3/2, memory, no assist", TACTUS_BACKEND_MEMORY, 2, 3, 2, false},
        {"1/2/1, file", TACTUS_BACKEND_AUTO, 1, 2, 1, true},
        {"1/1/1, pread and pwrite, no assist", TACTUS_BACKEND_POSIX, 1, 1, 1, false},
        {"no threads, memory", TACTUS_BACKEND_MEMORY, 0, 0, 0, true},
        {"no threads, file", TACTUS_BACKEND_AUTO, 0, 0, 0, true},
    };
    struct tactus_stats stats[TAC_ARRAY_COUNT(variants)];
    bool                are_same = true;

    tap_plan(0);
    for (uint32_t i = 0; i < TAC_ARRAY_COUNT(variants); i++) {
        run_whole(&variants[i], &stats[i]);
        for (uint32_t j = 0; j < TACTUS_STAGES; j++) {
            are_same = are_same && stats[i].stage[j].bytes == stats[0].stage[j].bytes;
        }
    }
    tap_ok(are_same, "whoever does it, it is as many bytes for each stage");
    test_credit();
    return tap_done();
}
