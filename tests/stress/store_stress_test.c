/* SPDX-License-Identifier: Apache-2.0 */
/* A whole store on real threads: two writers, readers of every kind, control ops, and compaction
 * that never rests because the memtable is small.
 *
 * The keys of a group are always written by one batch, in two trees, with the group's next version
 * in every value; each fifth version deletes the group. A writer says which version of a group it
 * begins and which it has done, so a reader knows the bounds of what it may find: what was done
 * before it looked, what was begun when it had looked. A scan is of one op: of each group it finds
 * one version in all keys, or no key at all. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/prng.h"
#include "base/units.h"
#include "queues/atomics.h"
#include "tactus.h"
#include "tests/lib/tap.h"

#define GROUPS 400
#define GROUP_KEYS 6
#define WRITERS 2
#define GET_READERS 2
#define SCAN_READERS 2
#define THREADS_MAX (WRITERS + GET_READERS + SCAN_READERS + 1)
#define TREES 2
#define KEY_BYTES 8
#define VALUE_BYTES 120
#define DELETE_EVERY 5

struct stress {
    struct tactus *store;
    uint32_t       trees[TREES];
    uint32_t       stop; /* Atomic */
    uint32_t       problems;
    uint64_t       begun[GROUPS], done[GROUPS]; /* Versions; atomics; the group's writer writes */
};

struct worker {
    struct stress *stress;
    pthread_t      thread;
    uint32_t       number; /* Among its kind */
    uint64_t       seed;
    uint64_t       answers, whole_scans, expired_scans;
};

static void problem(struct stress *stress, const char *what, uint32_t group, uint64_t found,
                    uint64_t least, uint64_t most)
{
    if (tac_atomic_fetch_add_u32(&stress->problems, 1) < 10) {
        tap_diag("%s: group %u, version %llu, should be %llu to %llu; %s", what, group,
                 (unsigned long long)found, (unsigned long long)least, (unsigned long long)most,
                 tactus_message());
    }
}

static bool is_stopped(struct stress *stress)
{
    return tac_atomic_load_acquire_u32(&stress->stop) != 0 ||
           tac_atomic_load_acquire_u32(&stress->problems) >= 10;
}

/* ---- records -------------------------------------------------------------------------------- */

static bool version_is_delete(uint64_t version) { return version % DELETE_EVERY == 0; }

/* The keys of a group lie far from each other. */
static void key_make(uint32_t group, uint32_t member, uint8_t *key)
{
    uint64_t number = __builtin_bswap64((uint64_t)member << 56 | (uint64_t)group << 24);

    memcpy(key, &number, KEY_BYTES);
}

static void key_parse(const uint8_t *key, uint32_t *group, uint32_t *member)
{
    uint64_t number;

    memcpy(&number, key, KEY_BYTES);
    number = __builtin_bswap64(number);
    *member = (uint32_t)(number >> 56);
    *group = (uint32_t)(number >> 24) & 0xffffff;
}

static void value_make(uint32_t group, uint32_t member, uint64_t version, uint8_t *value)
{
    uint64_t state = tac_mix_u64(version * 1000003 + group * 101 + member);

    memcpy(value, &version, sizeof version);
    for (uint32_t i = sizeof version; i < VALUE_BYTES; i++) {
        value[i] = (uint8_t)(state >> 8 * (i % 8));
    }
}

/* The version of a value; UINT64_MAX: these are not the bytes of any. */
static uint64_t value_parse(const uint8_t *value, size_t size, uint32_t group, uint32_t member)
{
    uint8_t  expected[VALUE_BYTES];
    uint64_t version;

    if (size != VALUE_BYTES) {
        return UINT64_MAX;
    }
    memcpy(&version, value, sizeof version);
    value_make(group, member, version, expected);
    return memcmp(value, expected, VALUE_BYTES) == 0 ? version : UINT64_MAX;
}

/* May the group be absent when its version is one of [least, most]? */
static bool may_be_absent(uint64_t least, uint64_t most)
{
    return least % DELETE_EVERY == 0 || least / DELETE_EVERY < most / DELETE_EVERY;
}

/* found 0: absent. */
static void version_check(struct stress *stress, const char *what, uint32_t group, uint64_t found,
                          uint64_t least, uint64_t most)
{
    bool is_right = found == 0 ? may_be_absent(least, most)
                               : found >= least && found <= most && !version_is_delete(found);

    if (!is_right) {
        problem(stress, what, group, found, least, most);
    }
}

/* ---- writers -------------------------------------------------------------------------------- */

static bool group_write(struct stress *stress, struct tactus_batch *batch, uint32_t group)
{
    uint64_t version = tac_atomic_load_relaxed_u64(&stress->begun[group]) + 1;
    int      result = TACTUS_OK;

    for (uint32_t i = 0; i < TREES * GROUP_KEYS && result == TACTUS_OK; i++) {
        uint32_t tree = stress->trees[i / GROUP_KEYS];
        uint8_t  key[KEY_BYTES], value[VALUE_BYTES];

        key_make(group, i % GROUP_KEYS, key);
        value_make(group, i % GROUP_KEYS, version, value);
        result = version_is_delete(version)
                     ? tactus_batch_delete(batch, tree, key, KEY_BYTES)
                     : tactus_batch_put(batch, tree, key, KEY_BYTES, value, VALUE_BYTES);
    }
    tac_atomic_store_release_u64(&stress->begun[group], version);
    if (result == TACTUS_OK) {
        result = tactus_batch_commit(batch, NULL);
    }
    tac_atomic_store_release_u64(&stress->done[group], version);
    if (result != TACTUS_OK) {
        problem(stress, "write", group, (uint64_t)result, 0, 0);
    }
    return result == TACTUS_OK;
}

static void *writer_main(void *argument)
{
    struct worker       *worker = argument;
    struct stress       *stress = worker->stress;
    struct tac_prng      prng = {worker->seed};
    struct tactus_batch *batch;

    tac_yield_seed(worker->seed);
    if (tactus_batch_new(stress->store, &batch) != TACTUS_OK) {
        problem(stress, "batch", 0, 0, 0, 0);
        return NULL;
    }
    while (!is_stopped(stress)) {
        uint32_t group =
            (uint32_t)tac_prng_below(&prng, GROUPS / WRITERS) * WRITERS + worker->number;

        if (!group_write(stress, batch, group)) {
            break;
        }
        worker->answers++;
    }
    tactus_batch_free(batch);
    return NULL;
}

/* Control ops beside everything else. */
static void *control_main(void *argument)
{
    struct worker  *worker = argument;
    struct stress  *stress = worker->stress;
    struct tac_prng prng = {worker->seed};

    tac_yield_seed(worker->seed);
    while (!is_stopped(stress)) {
        const struct timespec pause = {0, 20 * 1000 * 1000};
        struct tactus_stats   stats;
        int                   result = TACTUS_OK;

        nanosleep(&pause, NULL);
        switch (tac_prng_below(&prng, 8)) {
        case 0:
            result = tactus_checkpoint(stress->store);
            break;
        case 1:
            result = tactus_drain(stress->store);
            break;
        case 2:
            result = tactus_compaction_hold(stress->store, tac_prng_below(&prng, 4) == 0);
            break;
        default:
            tactus_stat(stress->store, &stats);
            if (stats.durable_op > stats.last_op) {
                problem(stress, "statistics", 0, stats.durable_op, 0, stats.last_op);
            }
            break;
        }
        if (result != TACTUS_OK) {
            problem(stress, "control", 0, (uint64_t)result, 0, 0);
        }
        worker->answers++;
    }
    return NULL;
}

/* ---- readers -------------------------------------------------------------------------------- */

static void *get_main(void *argument)
{
    struct worker  *worker = argument;
    struct stress  *stress = worker->stress;
    struct tac_prng prng = {worker->seed};

    tac_yield_seed(worker->seed);
    while (!is_stopped(stress)) {
        uint32_t group = (uint32_t)tac_prng_below(&prng, GROUPS);
        uint32_t member = (uint32_t)tac_prng_below(&prng, GROUP_KEYS);
        uint64_t least = tac_atomic_load_acquire_u64(&stress->done[group]);
        uint64_t found = 0;
        uint8_t  key[KEY_BYTES], value[VALUE_BYTES];
        size_t   size = 0;
        int      result;

        key_make(group, member, key);
        result = tactus_get(stress->store, stress->trees[tac_prng_below(&prng, TREES)], key,
                            KEY_BYTES, value, sizeof value, &size);
        if (result == TACTUS_OK) {
            found = value_parse(value, size, group, member);
        } else if (result != TACTUS_ENOTFOUND) {
            problem(stress, "get", group, (uint64_t)result, 0, 0);
        }
        version_check(stress, "get", group, found, least,
                      tac_atomic_load_acquire_u64(&stress->begun[group]));
        worker->answers++;
    }
    return NULL;
}

struct snapshot {
    uint64_t least[GROUPS], most[GROUPS];
    uint64_t found[GROUPS][GROUP_KEYS]; /* 0: absent */
};

/* From first to last or back. False: it expired, or there was a problem. */
static bool snapshot_scan(struct worker *worker, struct tactus_iterator *iterator,
                          struct snapshot *snapshot, bool is_backward)
{
    uint8_t last[KEY_BYTES];
    bool    has_last = false;
    int     result = is_backward ? tactus_iterator_last(iterator) : tactus_iterator_first(iterator);

    memset(snapshot->found, 0, sizeof snapshot->found);
    while (result == TACTUS_OK) {
        const void *key, *value;
        size_t      key_size, value_size;
        uint32_t    group, member;

        tactus_iterator_record(iterator, &key, &key_size, &value, &value_size);
        key_parse(key, &group, &member);
        if (key_size != KEY_BYTES || group >= GROUPS || member >= GROUP_KEYS ||
            (has_last && (memcmp(last, key, KEY_BYTES) < 0) == is_backward)) {
            problem(worker->stress, "scan: a key that cannot come here", group, 0, 0, 0);
            return false;
        }
        memcpy(last, key, KEY_BYTES);
        has_last = true;
        snapshot->found[group][member] = value_parse(value, value_size, group, member);
        worker->answers++;
        result = is_backward ? tactus_iterator_previous(iterator) : tactus_iterator_next(iterator);
    }
    if (result != TACTUS_ENOTFOUND && result != TACTUS_EEXPIRED) {
        problem(worker->stress, "scan", 0, (uint64_t)result, 0, 0);
    }
    worker->whole_scans += result == TACTUS_ENOTFOUND;
    worker->expired_scans += result == TACTUS_EEXPIRED;
    return result == TACTUS_ENOTFOUND;
}

static void snapshot_check(struct stress *stress, const struct snapshot *snapshot)
{
    for (uint32_t group = 0; group < GROUPS; group++) {
        uint64_t first = snapshot->found[group][0];

        version_check(stress, "scan", group, first, snapshot->least[group], snapshot->most[group]);
        for (uint32_t member = 1; member < GROUP_KEYS; member++) {
            if (snapshot->found[group][member] != first) {
                problem(stress, "scan: a part of a batch", group, snapshot->found[group][member],
                        first, first);
            }
        }
    }
}

static void snapshot_bound(struct stress *stress, const uint64_t *from, uint64_t *to)
{
    (void)stress;
    for (uint32_t group = 0; group < GROUPS; group++) {
        to[group] = tac_atomic_load_acquire_u64(&from[group]);
    }
}

/* From a place inside, a few records on: each alone is checked. */
static void seek_check(struct worker *worker, struct tactus_iterator *iterator,
                       const struct snapshot *snapshot, struct tac_prng *prng)
{
    uint8_t key[KEY_BYTES];
    int     result;

    key_make((uint32_t)tac_prng_below(prng, GROUPS), (uint32_t)tac_prng_below(prng, GROUP_KEYS),
             key);
    result = tactus_iterator_seek(iterator, key, KEY_BYTES);
    for (uint32_t i = 0; i < 10 && result == TACTUS_OK; i++) {
        const void *found_key, *value;
        size_t      key_size, value_size;
        uint32_t    group, member;

        tactus_iterator_record(iterator, &found_key, &key_size, &value, &value_size);
        key_parse(found_key, &group, &member);
        if (i == 0 && memcmp(found_key, key, KEY_BYTES) < 0) {
            problem(worker->stress, "seek: a key before the one looked for", group, 0, 0, 0);
        }
        version_check(worker->stress, "seek", group, value_parse(value, value_size, group, member),
                      snapshot->least[group], snapshot->most[group]);
        result = tactus_iterator_next(iterator);
    }
    if (result != TACTUS_OK && result != TACTUS_ENOTFOUND && result != TACTUS_EEXPIRED) {
        problem(worker->stress, "seek", 0, (uint64_t)result, 0, 0);
    }
}

static void *scan_main(void *argument)
{
    struct worker   *worker = argument;
    struct stress   *stress = worker->stress;
    struct tac_prng  prng = {worker->seed};
    struct snapshot *snapshot = malloc(sizeof *snapshot);

    tac_assert(snapshot != NULL);
    tac_yield_seed(worker->seed);
    while (!is_stopped(stress)) {
        struct tactus_iterator *iterator;

        snapshot_bound(stress, stress->done, snapshot->least);
        if (tactus_iterator_open(stress->store, stress->trees[tac_prng_below(&prng, TREES)],
                                 &iterator) != TACTUS_OK) {
            problem(stress, "iterator open", 0, 0, 0, 0);
            break;
        }
        snapshot_bound(stress, stress->begun, snapshot->most);
        seek_check(worker, iterator, snapshot, &prng);
        if (snapshot_scan(worker, iterator, snapshot, tac_prng_below(&prng, 2) == 0)) {
            snapshot_check(stress, snapshot);
        }
        tactus_iterator_close(iterator);
    }
    free(snapshot);
    return NULL;
}

/* ---- the run -------------------------------------------------------------------------------- */

struct variant {
    const char         *name;
    enum tactus_backend backend;
    uint32_t            threads_read, threads_merge, threads_write;
    uint32_t            ring_size;
    bool                assist;
    uint32_t            runs_per_level;
};

static void options_make(const struct variant *variant, struct tactus_options *options)
{
    tactus_options_init(options);
    options->memtable_size = 256 * TAC_KIB;
    options->block_size = 8 * TAC_KIB;
    options->page_size = TAC_KIB;
    options->table_size = 32 * TAC_KIB;
    options->slice_size = 64 * TAC_KIB;
    options->runs_per_level = variant->runs_per_level;
    options->beats_per_bar = 32;
    options->checkpoint_interval_bars = 2;
    options->file_size_max = TAC_GIB;
    options->page_cache_size = options->index_cache_size = 256 * TAC_KIB;
    options->threads_read = variant->threads_read;
    options->threads_merge = variant->threads_merge;
    options->threads_write = variant->threads_write;
    options->ring_size = variant->ring_size;
    options->assist = variant->assist;
    options->backend = variant->backend;
}

static void store_open(struct stress *stress, const struct variant *variant, const char *path)
{
    struct tactus_options options;

    options_make(variant, &options);
    if (tactus_open(path, &options, &stress->store) != TACTUS_OK) {
        tap_bail("open: %s", tactus_message());
    }
}

static void store_create(struct stress *stress, const struct variant *variant, const char *path)
{
    static const struct tactus_layout layouts[TREES] = {
        {TACTUS_LAYOUT_FIXED, KEY_BYTES, VALUE_BYTES},
        {TACTUS_LAYOUT_VARIABLE, KEY_BYTES, VALUE_BYTES},
    };
    struct tactus_options options;

    options_make(variant, &options);
    if (variant->backend != TACTUS_BACKEND_MEMORY && tactus_create(path, &options) != TACTUS_OK) {
        tap_bail("create: %s", tactus_message());
    }
    store_open(stress, variant, path);
    if (tactus_tree_create(stress->store, "fixed", &layouts[0], &stress->trees[0]) != TACTUS_OK ||
        tactus_tree_create(stress->store, "variable", &layouts[1], &stress->trees[1]) !=
            TACTUS_OK) {
        tap_bail("tree create: %s", tactus_message());
    }
}

static uint64_t milliseconds_now(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / (1000 * 1000);
}

static void threads_run(struct stress *stress, struct worker *workers, uint64_t milliseconds)
{
    static void *(*const mains[THREADS_MAX])(void *) = {
        writer_main, writer_main, get_main, get_main, scan_main, scan_main, control_main};
    static const uint32_t numbers[THREADS_MAX] = {0, 1, 0, 1, 0, 1, 0};
    const struct timespec pause = {0, 10 * 1000 * 1000};
    const uint64_t        end = milliseconds_now() + milliseconds;
    struct tactus_stats   stats = {0};

    for (uint32_t i = 0; i < THREADS_MAX; i++) {
        workers[i].stress = stress;
        workers[i].number = numbers[i];
        workers[i].seed += i + 1;
        if (pthread_create(&workers[i].thread, NULL, mains[i], &workers[i]) != 0) {
            tap_bail("no thread");
        }
    }
    /* On a slow machine longer, so that there was something to see. */
    while (!is_stopped(stress) &&
           (milliseconds_now() < end || stats.bars < 3 || stats.compactions < 3)) {
        nanosleep(&pause, NULL);
        tactus_stat(stress->store, &stats);
    }
    tac_atomic_store_release_u32(&stress->stop, 1);
    for (uint32_t i = 0; i < THREADS_MAX; i++) {
        pthread_join(workers[i].thread, NULL);
    }
}

static void damage_print(void *context, const char *text)
{
    (void)context;
    tap_diag("%s", text);
}

/* With nobody else about: everything is as it was written last. */
static bool rest_check(struct stress *stress, struct worker *worker)
{
    struct snapshot            *snapshot = malloc(sizeof *snapshot);
    struct tactus_verify_report report = {0};
    bool                        is_good = true;

    tac_assert(snapshot != NULL);
    for (uint32_t tree = 0; tree < TREES; tree++) {
        struct tactus_iterator *iterator;

        snapshot_bound(stress, stress->done, snapshot->least);
        snapshot_bound(stress, stress->done, snapshot->most);
        if (tactus_iterator_open(stress->store, stress->trees[tree], &iterator) != TACTUS_OK) {
            tap_bail("iterator open: %s", tactus_message());
        }
        is_good = snapshot_scan(worker, iterator, snapshot, false) && is_good;
        snapshot_check(stress, snapshot);
        tactus_iterator_close(iterator);
    }
    free(snapshot);
    is_good = tactus_drain(stress->store) == TACTUS_OK && is_good;
    is_good = tactus_verify(stress->store, damage_print, NULL, &report) == TACTUS_OK && is_good;
    return is_good && report.damages == 0;
}

static void variant_print(const struct worker *workers, const struct tactus_stats *stats)
{
    const struct worker *gets = &workers[WRITERS], *scans = &workers[WRITERS + GET_READERS];

    tap_diag("%s: %llu batches, %llu gets, %llu records scanned, %llu scans whole, %llu expired, "
             "%llu bars",
             stats->backend, (unsigned long long)(workers[0].answers + workers[1].answers),
             (unsigned long long)(gets[0].answers + gets[1].answers),
             (unsigned long long)(scans[0].answers + scans[1].answers),
             (unsigned long long)(scans[0].whole_scans + scans[1].whole_scans),
             (unsigned long long)(scans[0].expired_scans + scans[1].expired_scans),
             (unsigned long long)stats->bars);
}

static void variant_run(const struct variant *variant, uint64_t seed, uint64_t milliseconds)
{
    struct stress      *stress = calloc(1, sizeof *stress);
    struct worker       workers[THREADS_MAX] = {{0}}, last = {0};
    const char         *directory = getenv("TMPDIR");
    struct tactus_stats stats;
    char                path[512];

    tac_assert(stress != NULL);
    snprintf(path, sizeof path, "%s/store-stress-%ld", directory != NULL ? directory : "/tmp",
             (long)getpid());
    store_create(stress, variant, path);
    for (uint32_t i = 0; i < THREADS_MAX; i++) {
        workers[i].seed = seed;
    }
    threads_run(stress, workers, milliseconds);
    tactus_stat(stress->store, &stats);
    variant_print(workers, &stats);
    tap_ok(stats.bars >= 3 && stats.compactions >= 3, "%s: compaction was at work", variant->name);
    last.stress = stress;
    tap_ok(rest_check(stress, &last), "%s: at rest all is as written last, and sound",
           variant->name);
    tap_ok(tactus_close(stress->store) == TACTUS_OK, "%s: close", variant->name);
    if (variant->backend != TACTUS_BACKEND_MEMORY) {
        store_open(stress, variant, path);
        tap_ok(rest_check(stress, &last), "%s: opened again, too", variant->name);
        tap_ok(tactus_close(stress->store) == TACTUS_OK, "%s: close again", variant->name);
        (void)unlink(path);
    }
    tap_ok(stress->problems == 0, "%s: readers find only what may be there", variant->name);
    free(stress);
}

int main(void)
{
    static const struct variant variants[] = {
        {"1/1/1, file", TACTUS_BACKEND_AUTO, 1, 1, 1, 16, true, 8},
        {"2/3/2, file", TACTUS_BACKEND_AUTO, 2, 3, 2, 64, true, 4},
        {"4/8/4, memory, ring 2", TACTUS_BACKEND_MEMORY, 4, 8, 4, 2, true, 2},
        {"2/3/2, no assist, memory, runs of 1", TACTUS_BACKEND_MEMORY, 2, 3, 2, 2, false, 1},
        {"4/8/4, pread and pwrite", TACTUS_BACKEND_POSIX, 4, 8, 4, 256, true, 8},
    };
    const char *duration = getenv("STRESS_SECONDS");
    uint64_t    seed = tap_seed();
    uint64_t    seconds = duration != NULL         ? strtoull(duration, NULL, 10)
                          : getenv("LONG") != NULL ? 60
                                                   : 6;

    tap_plan(0);
    for (uint32_t i = 0; i < TAC_ARRAY_COUNT(variants); i++) {
        variant_run(&variants[i], seed + 100 * i, 1000 * seconds / TAC_ARRAY_COUNT(variants));
    }
    return tap_done();
}
