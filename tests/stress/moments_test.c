/* SPDX-License-Identifier: Apache-2.0 */
/* Random moments under full ingest on a file: a pause, a resume, a cancel of a range, a close with a
 * log. Nothing is lost, and what had been done stays done. How long each took is printed, in time and
 * in beats; no limit is held to here: that is for whoever measures. What the machine takes at least
 * is printed beside it, from moments of the same kind: a thread is woken that then computes for a
 * while (a resume wakes one), and half of what may wait in the log is written to a file beside the
 * store and synced (a close does that).
 *
 * MOMENTS=n      of each kind (default 12; LONG=1: 250)
 * MEMTABLE_MIB=n (default 4)
 * OPTIONS=list   other options of the store
 * REST_MS=n      longest rest between two moments (default 40)
 * SEED=n         the file lies in TMPDIR. */
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
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
    WAKE, /* The machine's share */
    SYNC,
    KINDS
};

static const char *const kind_names[KINDS] = {"pause", "resume", "cancel", "close", "wake", "sync"};

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
    pthread_t             sleeper;
    int                   wake_fd, sync_fd;
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

/* ---- what the machine takes ----------------------------------------------------------------- */

#define SLEEPER_ENDS ((uint64_t)1 << 32)
#define SLEEPER_WORK_NS (4 * 1000 * 1000)
#define SYNC_BYTES (256 * TAC_KIB)

static void *sleeper_main(void *argument)
{
    int      fd = *(int *)argument;
    uint64_t tokens = 0;

    while (tokens < SLEEPER_ENDS) {
        uint64_t begin_ns;

        if (read(fd, &tokens, sizeof tokens) != sizeof tokens) {
            tap_bail("cannot read an eventfd");
        }
        begin_ns = tac_clock_now_ns();
        while (tac_clock_now_ns() - begin_ns < SLEEPER_WORK_NS) {
        }
    }
    return NULL;
}

static void sleeper_wake(struct world *world, uint64_t token)
{
    if (write(world->wake_fd, &token, sizeof token) != sizeof token) {
        tap_bail("cannot write an eventfd");
    }
}

static void moment_wake(struct world *world)
{
    uint64_t beat = beat_ns(world), begin_ns = tac_clock_now_ns();

    sleeper_wake(world, 1);
    sample_add(world, WAKE, begin_ns, beat);
}

static void moment_sync(struct world *world)
{
    static const uint8_t bytes[SYNC_BYTES];
    uint64_t             beat = beat_ns(world), begin_ns = tac_clock_now_ns();

    if (pwrite(world->sync_fd, bytes, sizeof bytes, 0) != sizeof bytes ||
        fdatasync(world->sync_fd) != 0) {
        tap_bail("cannot write a file");
    }
    sample_add(world, SYNC, begin_ns, beat);
}

static void machine_begin(struct world *world)
{
    char path[sizeof world->path + 8];

    snprintf(path, sizeof path, "%s-sync", world->path);
    world->sync_fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    world->wake_fd = eventfd(0, EFD_CLOEXEC);
    if (world->sync_fd < 0 || world->wake_fd < 0 || unlink(path) != 0 ||
        posix_fallocate(world->sync_fd, 0, SYNC_BYTES) != 0 ||
        pthread_create(&world->sleeper, NULL, sleeper_main, &world->wake_fd) != 0) {
        tap_bail("cannot make a file, an eventfd or a thread");
    }
}

static void machine_end(struct world *world)
{
    sleeper_wake(world, SLEEPER_ENDS);
    pthread_join(world->sleeper, NULL);
    close(world->wake_fd);
    close(world->sync_fd);
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
        moment_wake(world);
        rest(world, rest_ms);
        moment_sync(world);
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

/* Keys are mixed from numbers, each from one. So as many as were put, with numbers below that and no
 * key twice, are all. */
static uint64_t records_right(struct world *world)
{
    struct tactus_iterator *it;
    uint64_t                right = 0;
    int                     code;

    check(tactus_iterator_open(world->store, world->tree, &it));
    for (code = tactus_iterator_first(it); code == TACTUS_OK; code = tactus_iterator_next(it)) {
        uint64_t    number, key;
        size_t      key_size, value_size;
        const void *key_bytes, *value;

        tactus_iterator_record(it, &key_bytes, &key_size, &value, &value_size);
        memcpy(&number, value, sizeof number);
        key = tac_mix_u64(number);
        right += number < world->count && key_size == sizeof key &&
                 memcmp(key_bytes, &key, sizeof key) == 0;
    }
    tap_ok(code == TACTUS_ENOTFOUND, "a scan comes to the end");
    tactus_iterator_close(it);
    return right;
}

/* ---- the world ------------------------------------------------------------------------------ */

static void world_open(struct world *world, uint32_t count)
{
    struct tactus_layout layout = {TACTUS_LAYOUT_FIXED, 8, VALUE_BYTES};
    const char          *directory = getenv("TMPDIR"), *options = getenv("OPTIONS");

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
    check(tactus_options_parse(&world->options, options != NULL ? options : ""));
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
    machine_begin(&world);
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
    machine_end(&world);
    world_remove(&world);
    return tap_done();
}
