/* SPDX-License-Identifier: Apache-2.0 */
/* Random moments under full ingest on a file: a pause, a resume, a cancel of a range, a close with a
 * log. Nothing is lost, and what had been done stays done. How long each took is printed, in time and
 * in beats; no limit is held to here: that is for whoever measures.
 *
 * MOMENTS=n      of each kind (default 12; LONG=1: 250)
 * MEMTABLE_MIB=n (default 4)
 * REST_MS=n      longest rest between two moments (default 40)
 * SEED=n         the file lies in TMPDIR. */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/prng.h"
#include "base/units.h"
#include "queues/atomics.h"
#include "tactus.h"
#include "tests/lib/tap.h"

#define VALUE_BYTES 200
#define BEATS 64
#define MOMENTS_MAX 100000
#define MOMENTS_OF_ONE_RANGE 4 /* A range is begun anew so often */

enum kind {
    PAUSE,
    RESUME,
    CANCEL,
    CLOSE,
    KINDS
};

static const char *const kind_names[KINDS] = {"pause", "resume", "cancel", "close"};

struct sample {
    uint64_t ns, beat_ns;
};

struct world {
    struct tactus_options options;
    char                  path[512];
    struct tactus        *store;
    uint32_t              tree;
    uint64_t              count; /* Records that are in. The ingest's */
    uint32_t              stop;  /* Atomic */
    bool                  is_ingest_right;
    pthread_t             ingest;
    struct tac_prng       prng;
    uint64_t              opened_ns, opened_beats, paused_ns;
    uint64_t              beat_ns; /* The mean that was taken last */
    struct sample        *samples[KINDS];
    uint32_t              sample_counts[KINDS];
    uint32_t              wrong; /* Moments after which something was not as it must be */
};

static uint64_t number_of(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);

    return text == NULL || *text == 0 ? otherwise : strtoull(text, NULL, 0);
}

static void check(int code)
{
    if (code != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
}

/* ---- the ingest ----------------------------------------------------------------------------- */

static int put(struct world *world, uint64_t number)
{
    uint64_t key = tac_mix_u64(number);
    uint8_t  value[VALUE_BYTES] = {0};

    memcpy(value, &number, sizeof number);
    return tactus_put(world->store, world->tree, &key, sizeof key, value, sizeof value);
}

/* A put that a pause refuses is made again. */
static void *ingest_main(void *argument)
{
    const struct timespec rest = {0, 200000};
    struct world         *world = argument;

    while (tac_atomic_load_acquire_u32(&world->stop) == 0) {
        int code = put(world, world->count);

        if (code == TACTUS_EPAUSED) {
            nanosleep(&rest, NULL);
            continue;
        }
        world->is_ingest_right = world->is_ingest_right && code == TACTUS_OK;
        world->count++;
    }
    return NULL;
}

static void ingest_start(struct world *world)
{
    tac_atomic_store_release_u32(&world->stop, 0);
    if (pthread_create(&world->ingest, NULL, ingest_main, world) != 0) {
        tap_bail("cannot start a thread");
    }
}

static void ingest_stop(struct world *world)
{
    tac_atomic_store_release_u32(&world->stop, 1);
    pthread_join(world->ingest, NULL);
}

/* ---- time ----------------------------------------------------------------------------------- */

static uint64_t beats_of(struct world *world)
{
    struct tactus_stats stats;

    tactus_stat(world->store, &stats);
    return stats.bars * BEATS + stats.beats;
}

/* The mean beat since the store was opened, pauses apart; or, when that was just now, before. */
static uint64_t beat_ns(struct world *world)
{
    uint64_t beats = tac_subtract_floor_zero(beats_of(world), world->opened_beats);

    if (beats >= BEATS) {
        world->beat_ns = (tac_clock_now_ns() - world->opened_ns - world->paused_ns) / beats;
    }
    return world->beat_ns;
}

static void beats_restart(struct world *world)
{
    world->opened_beats = beats_of(world);
    world->opened_ns = tac_clock_now_ns();
    world->paused_ns = 0;
}

static void rest(struct world *world, uint64_t ms_max)
{
    uint64_t        ns = tac_prng_below(&world->prng, ms_max * 1000000 + 1);
    struct timespec time = {(time_t)(ns / TAC_SECOND_NS), (long)(ns % TAC_SECOND_NS)};

    nanosleep(&time, NULL);
}

static void sample_add(struct world *world, enum kind kind, uint64_t begin_ns, uint64_t beat)
{
    world->samples[kind][world->sample_counts[kind]++] =
        (struct sample){tac_clock_now_ns() - begin_ns, beat};
}

/* ---- moments -------------------------------------------------------------------------------- */

static struct tactus_compact_progress progress_of(struct world *world)
{
    struct tactus_compact_progress progress;

    tactus_compact_progress(world->store, &progress);
    return progress;
}

static bool is_under_way(const struct tactus_compact_progress *progress)
{
    return progress->state == TACTUS_COMPACT_FLUSHING || progress->state == TACTUS_COMPACT_RUNNING;
}

/* A range is under way nearly always. */
static void range_begin(struct world *world)
{
    struct tactus_compact_progress progress = progress_of(world);

    if (!is_under_way(&progress)) {
        check(tactus_compact_range(world->store, world->tree, NULL, 0, NULL, 0));
    }
}

static void moment_pause(struct world *world, uint64_t rest_ms)
{
    uint64_t beat = beat_ns(world), begin_ns = tac_clock_now_ns(), paused_ns = begin_ns;

    check(tactus_pause(world->store));
    sample_add(world, PAUSE, begin_ns, beat);
    rest(world, rest_ms);
    begin_ns = tac_clock_now_ns();
    check(tactus_resume(world->store));
    sample_add(world, RESUME, begin_ns, beat);
    world->paused_ns += tac_clock_now_ns() - paused_ns;
}

/* What is left does not grow by a cancel. */
static void moment_cancel(struct world *world)
{
    struct tactus_compact_progress before, after;
    uint64_t                       beat, begin_ns;

    range_begin(world);
    before = progress_of(world);
    beat = beat_ns(world);
    begin_ns = tac_clock_now_ns();
    check(tactus_compact_cancel(world->store));
    sample_add(world, CANCEL, begin_ns, beat);
    after = progress_of(world);
    world->wrong += is_under_way(&after) || (before.state == TACTUS_COMPACT_RUNNING &&
                                             after.passes_total_bytes != before.passes_total_bytes);
}

/* The put that is under way ends first. Open again, all is there, and the range goes on where it
 * was. */
static void moment_close(struct world *world)
{
    struct tactus_compact_progress before, after;
    uint64_t                       beat, begin_ns, op;

    range_begin(world);
    beat = beat_ns(world);
    begin_ns = tac_clock_now_ns();
    ingest_stop(world);
    op = tactus_last_op(world->store);
    before = progress_of(world);
    check(tactus_close(world->store));
    sample_add(world, CLOSE, begin_ns, beat);
    check(tactus_open(world->path, &world->options, &world->store));
    after = progress_of(world);
    world->wrong += tactus_last_op(world->store) != op;
    world->wrong +=
        is_under_way(&before) && (after.op != before.op || after.left_bytes > before.left_bytes);
    beats_restart(world);
    ingest_start(world);
}

static void moments_run(struct world *world, uint32_t count)
{
    uint64_t rest_ms = number_of("REST_MS", 40);

    for (uint32_t i = 0; i < count; i++) {
        if (i % MOMENTS_OF_ONE_RANGE == 0) {
            range_begin(world);
        }
        rest(world, rest_ms);
        moment_pause(world, rest_ms);
        rest(world, rest_ms);
        moment_cancel(world);
        rest(world, rest_ms);
        moment_close(world);
    }
}

/* ---- the report ----------------------------------------------------------------------------- */

static int ns_compare(const void *a, const void *b)
{
    uint64_t x = ((const struct sample *)a)->ns, y = ((const struct sample *)b)->ns;

    return (x > y) - (x < y);
}

static double beats_in(const struct sample *sample)
{
    return (double)sample->ns / (double)tac_max_u64(sample->beat_ns, 1);
}

static int beats_compare(const void *a, const void *b)
{
    double x = beats_in(a), y = beats_in(b);

    return (x > y) - (x < y);
}

static void kind_report(struct world *world, enum kind kind)
{
    struct sample *samples = world->samples[kind];
    uint32_t       count = world->sample_counts[kind];
    uint32_t       middle = count / 2, high = (uint32_t)((uint64_t)count * 99 / 100);

    qsort(samples, count, sizeof *samples, ns_compare);
    tap_diag("%-6s %5u times, ns:    p50 %11" PRIu64 "  p99 %11" PRIu64 "  max %11" PRIu64,
             kind_names[kind], count, samples[middle].ns, samples[high].ns, samples[count - 1].ns);
    qsort(samples, count, sizeof *samples, beats_compare);
    tap_diag("%-6s              beats: p50 %11.4f  p99 %11.4f  max %11.4f", kind_names[kind],
             beats_in(&samples[middle]), beats_in(&samples[high]), beats_in(&samples[count - 1]));
}

static uint64_t records_right(struct world *world)
{
    uint64_t right = 0;

    for (uint64_t i = 0; i < world->count; i++) {
        uint64_t key = tac_mix_u64(i);
        uint8_t  value[VALUE_BYTES];
        size_t   size;

        right += tactus_get(world->store, world->tree, &key, sizeof key, value, sizeof value,
                            &size) == TACTUS_OK &&
                 memcmp(value, &i, sizeof i) == 0;
    }
    return right;
}

/* ---- the world ------------------------------------------------------------------------------ */

static void world_open(struct world *world, uint32_t count)
{
    struct tactus_layout layout = {TACTUS_LAYOUT_FIXED, 8, VALUE_BYTES};
    const char          *directory = getenv("TMPDIR");

    snprintf(world->path, sizeof world->path, "%.400s/moments-%ld",
             directory != NULL ? directory : "/tmp", (long)getpid());
    tactus_options_init(&world->options);
    world->options.memtable_size = number_of("MEMTABLE_MIB", 4) * TAC_MIB;
    world->options.block_size = 32 * TAC_KIB;
    world->options.table_size = world->options.memtable_size / 4;
    world->options.slice_size = world->options.memtable_size / 2;
    world->options.beats_per_bar = BEATS;
    world->options.page_cache_size = world->options.index_cache_size = 16 * TAC_MIB;
    world->options.threads = 3;
    world->options.log = TACTUS_LOG_INTERVAL;
    world->is_ingest_right = true;
    for (uint32_t kind = 0; kind < KINDS; kind++) {
        world->samples[kind] = calloc(count, sizeof *world->samples[kind]);
        tac_assert(world->samples[kind] != NULL);
    }
    check(tactus_create(world->path, &world->options));
    check(tactus_open(world->path, &world->options, &world->store));
    check(tactus_tree_create(world->store, "t", &layout, &world->tree));
    beats_restart(world);
}

static void world_remove(struct world *world)
{
    char log_path[sizeof world->path + 8];

    check(tactus_close(world->store));
    snprintf(log_path, sizeof log_path, "%s-wal", world->path);
    (void)unlink(world->path);
    (void)unlink(log_path);
    for (uint32_t kind = 0; kind < KINDS; kind++) {
        free(world->samples[kind]);
    }
}

int main(void)
{
    static struct world world;
    uint64_t            count = number_of("MOMENTS", number_of("LONG", 0) != 0 ? 250 : 12);
    uint64_t            right;

    tap_plan(0);
    if (count == 0 || count > MOMENTS_MAX) {
        tap_bail("MOMENTS is to be 1 to %d", MOMENTS_MAX);
    }
    world.prng.state = number_of("SEED", 1);
    world_open(&world, (uint32_t)count);
    ingest_start(&world);
    while (beat_ns(&world) == 0) {
        rest(&world, 20); /* Until the first bar has ended */
    }
    moments_run(&world, (uint32_t)count);
    ingest_stop(&world);
    for (uint32_t kind = 0; kind < KINDS; kind++) {
        kind_report(&world, (enum kind)kind);
    }
    right = records_right(&world);
    tap_ok(world.is_ingest_right && right == world.count,
           "of %" PRIu64 " records none is missing after %" PRIu64 " moments of each kind",
           world.count, count);
    tap_ok(world.wrong == 0, "no op was lost, and what had been done stayed done");
    tap_ok(tactus_verify(world.store, NULL, NULL, NULL) == TACTUS_OK, "the store is sound");
    world_remove(&world);
    return tap_done();
}
