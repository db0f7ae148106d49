/* SPDX-License-Identifier: Apache-2.0 */
/* Stores that come and go in a pool of real threads: several threads of the application each open
 * one, write to it, and close or abandon it, in the middle of its compactions too, while the
 * numbers of the pool's threads change all the time. There is not memory for all of them at once.
 *
 * What a store is given follows from the number of its script: when it has all of it, its digest is
 * that of the same script in a store on its own. */
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/prng.h"
#include "base/units.h"
#include "queues/atomics.h"
#include "tactus.h"
#include "tests/lib/small_options.h"
#include "tests/lib/tap.h"

#define SCRIPTS 3
#define KEEPERS 4
#define KEYS 3000
#define VALUE_BYTES 80
#define DELETE_ODDS 6
#define THREADS_MOST 4
#ifdef __SANITIZE_THREAD__
#define OPS 6000
#else
#define OPS 15000
#endif

struct stress {
    struct tactus_pool *pool;
    uint32_t            stop;     /* Atomic */
    uint32_t            problems; /* Atomic */
    uint8_t             digests[SCRIPTS][16];
};

struct keeper {
    struct stress  *stress;
    pthread_t       thread;
    struct tac_prng prng;
    char            path[512];
    uint64_t        versions[KEYS];         /* The op that put it last; 0: no such record */
    uint64_t        wholes, cuts, refusals; /* Atomics */
};

struct open_store {
    struct tactus *store;
    uint32_t       tree;
};

static void problem(struct stress *stress, const char *what)
{
    if (tac_atomic_fetch_add_u32(&stress->problems, 1) < 10) {
        tap_diag("%s: %s", what, tactus_message());
    }
}

static void rest(long microseconds)
{
    const struct timespec time = {0, microseconds * 1000};

    nanosleep(&time, NULL);
}

/* ---- scripts --------------------------------------------------------------------------------- */

static void script_options(uint32_t script, enum tactus_backend backend,
                           struct tactus_options *options)
{
    small_options(options);
    options->memtable_size = 64 * TAC_KIB;
    options->table_size = 32 * TAC_KIB;
    options->runs_per_level = script == 0 ? 1 : 4;
    options->checkpoint_interval_bars = 2;
    options->file_size_max = 256 * TAC_MIB;
    options->page_cache_size = options->index_cache_size = TAC_MIB;
    options->tables_max = 2048;
    options->assist = script != 1;
    options->ring_size = script == 2 ? 2 : 64;
    options->backend = backend;
    options->uuid[0] = (uint8_t)(1 + script);
}

static int tree_create(struct open_store *open)
{
    const struct tactus_layout layout = {TACTUS_LAYOUT_VARIABLE, 8, VALUE_BYTES};

    return tactus_tree_create(open->store, "tree", &layout, &open->tree);
}

/* Does the first `count` ops of a script. Returns a code of tactus.h. */
static int script_run(struct open_store *open, uint32_t script, uint64_t count, uint64_t *versions)
{
    struct tac_prng prng = {1000 + script};
    int             code = TACTUS_OK;

    memset(versions, 0, KEYS * sizeof *versions);
    for (uint64_t op = 1; op <= count && code == TACTUS_OK; op++) {
        uint64_t key = tac_prng_below(&prng, KEYS);
        uint8_t  value[VALUE_BYTES] = {0};

        if (tac_prng_below(&prng, DELETE_ODDS) == 0) {
            versions[key] = 0;
            code = tactus_delete(open->store, open->tree, &key, sizeof key);
        } else {
            versions[key] = op;
            memcpy(value, &op, sizeof op);
            code = tactus_put(open->store, open->tree, &key, sizeof key, value, VALUE_BYTES);
        }
    }
    return code;
}

static void digests_make(struct stress *stress)
{
    static uint64_t versions[KEYS];

    for (uint32_t script = 0; script < SCRIPTS; script++) {
        struct tactus_options options;
        struct open_store     open;

        script_options(script, TACTUS_BACKEND_MEMORY, &options);
        if (tactus_open("alone", &options, &open.store) != TACTUS_OK ||
            tree_create(&open) != TACTUS_OK ||
            script_run(&open, script, OPS, versions) != TACTUS_OK ||
            tactus_drain(open.store) != TACTUS_OK ||
            tactus_digest(open.store, stress->digests[script]) != TACTUS_OK ||
            tactus_close(open.store) != TACTUS_OK) {
            tap_bail("a store on its own: %s", tactus_message());
        }
    }
}

/* ---- keepers --------------------------------------------------------------------------------- */

static bool is_stopped(struct stress *stress)
{
    return tac_atomic_load_acquire_u32(&stress->stop) != 0;
}

/* Waits until there is memory for it. False: it is over before that. */
static bool pool_enter(struct keeper *keeper, const struct tactus_options *options,
                       struct tactus **ret_store)
{
    struct stress *stress = keeper->stress;

    while (!is_stopped(stress)) {
        int code = tactus_open_in(stress->pool, keeper->path, options, ret_store);

        if (code == TACTUS_OK) {
            return true;
        }
        if (code != TACTUS_ENOMEM) {
            problem(stress, "open");
            return false;
        }
        tac_atomic_fetch_add_u64(&keeper->refusals, 1);
        rest(1000);
    }
    return false;
}

static void records_check(struct keeper *keeper, const struct open_store *open)
{
    uint64_t wrong = 0;

    for (uint64_t key = 0; key < KEYS; key++) {
        uint8_t  value[VALUE_BYTES];
        uint64_t version = 0;
        size_t   size;
        int      code =
            tactus_get(open->store, open->tree, &key, sizeof key, value, sizeof value, &size);

        if (code == TACTUS_OK) {
            memcpy(&version, value, sizeof version);
        }
        wrong +=
            version != keeper->versions[key] || (code != TACTUS_OK && code != TACTUS_ENOTFOUND);
    }
    if (wrong > 0) {
        problem(keeper->stress, "records are not as they were written");
    }
}

static void whole_run(struct keeper *keeper, struct open_store *open, uint32_t script)
{
    struct stress *stress = keeper->stress;
    uint8_t        digest[16];

    if (script_run(open, script, OPS, keeper->versions) != TACTUS_OK) {
        problem(stress, "script");
    }
    records_check(keeper, open);
    if (tactus_drain(open->store) != TACTUS_OK || tactus_digest(open->store, digest) != TACTUS_OK) {
        problem(stress, "drain and digest");
    } else if (memcmp(digest, stress->digests[script], sizeof digest) != 0) {
        problem(stress, "a digest is not that of a store on its own");
    }
    if (tactus_close(open->store) != TACTUS_OK) {
        problem(stress, "close");
    }
    tac_atomic_fetch_add_u64(&keeper->wholes, 1);
}

/* In the middle of whatever it does it goes; a file is then sound. */
static void cut_run(struct keeper *keeper, struct open_store *open, uint32_t script,
                    const struct tactus_options *options)
{
    struct stress              *stress = keeper->stress;
    struct tactus_verify_report report;

    if (script_run(open, script, tac_prng_below(&keeper->prng, OPS), keeper->versions) !=
        TACTUS_OK) {
        problem(stress, "script");
    }
    tactus_abandon(open->store);
    tac_atomic_fetch_add_u64(&keeper->cuts, 1);
    if (options->backend == TACTUS_BACKEND_MEMORY || !pool_enter(keeper, options, &open->store)) {
        return;
    }
    if (tactus_verify(open->store, NULL, NULL, &report) != TACTUS_OK) {
        problem(stress, "verify");
    }
    tactus_abandon(open->store);
}

static void *keeper_main(void *argument)
{
    static const enum tactus_backend backends[] = {TACTUS_BACKEND_MEMORY, TACTUS_BACKEND_AUTO,
                                                   TACTUS_BACKEND_POSIX};
    struct keeper                   *keeper = argument;
    struct stress                   *stress = keeper->stress;

    while (!is_stopped(stress)) {
        uint32_t              script = (uint32_t)tac_prng_below(&keeper->prng, SCRIPTS);
        struct open_store     open;
        struct tactus_options options;

        script_options(script, backends[tac_prng_below(&keeper->prng, 3)], &options);
        if (options.backend != TACTUS_BACKEND_MEMORY &&
            tactus_create(keeper->path, &options) != TACTUS_OK) {
            problem(stress, "create");
            break;
        }
        if (pool_enter(keeper, &options, &open.store)) {
            if (tree_create(&open) != TACTUS_OK) {
                problem(stress, "tree");
            }
            if (tac_prng_below(&keeper->prng, 3) == 0) {
                cut_run(keeper, &open, script, &options);
            } else {
                whole_run(keeper, &open, script);
            }
        }
        (void)unlink(keeper->path);
    }
    return NULL;
}

/* ---- main ------------------------------------------------------------------------------------ */

static void pool_open(struct stress *stress, struct open_store *resident)
{
    struct tactus_pool_options options;
    struct tactus_options      store_options;
    struct tactus_stats        stats;

    tactus_pool_options_init(&options);
    options.threads_read = options.threads_merge = options.threads_write = 1;
    script_options(0, TACTUS_BACKEND_MEMORY, &store_options);
    /* How much a store takes. */
    if (tactus_open("store", &store_options, &resident->store) != TACTUS_OK) {
        tap_bail("open: %s", tactus_message());
    }
    tactus_stat(resident->store, &stats);
    (void)tactus_close(resident->store);
    options.memory_size = KEEPERS * (stats.memory_budget_bytes + 4 * TAC_MIB);
    if (tactus_pool_open(&options, &stress->pool) != TACTUS_OK ||
        tactus_open_in(stress->pool, "resident", &store_options, &resident->store) != TACTUS_OK ||
        tree_create(resident) != TACTUS_OK) {
        tap_bail("pool: %s", tactus_message());
    }
}

static uint64_t milliseconds_now(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / (1000 * 1000);
}

static uint64_t keepers_sum(struct keeper *keepers, size_t offset)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < KEEPERS; i++) {
        sum += tac_atomic_load_relaxed_u64((uint64_t *)((uint8_t *)&keepers[i] + offset));
    }
    return sum;
}
#define KEEPERS_SUM(keepers, field) keepers_sum(keepers, offsetof(struct keeper, field))

/* Until the time is over; on a slow machine longer, so that there was something to see. Returns how
 * often the threads were changed. */
static uint64_t changes_make(struct stress *stress, struct keeper *keepers, uint64_t seed,
                             uint64_t milliseconds)
{
    struct tac_prng prng = {seed};
    const uint64_t  end = milliseconds_now() + milliseconds;
    uint64_t        changes = 0;

    while (tac_atomic_load_acquire_u32(&stress->problems) == 0 &&
           (milliseconds_now() < end || KEEPERS_SUM(keepers, wholes) < 3 ||
            KEEPERS_SUM(keepers, cuts) < 2 || KEEPERS_SUM(keepers, refusals) == 0)) {
        struct tactus_pool_stats stats;
        uint32_t                 count[3];

        for (uint32_t i = 0; i < 3; i++) {
            count[i] = 1 + (uint32_t)tac_prng_below(&prng, THREADS_MOST);
        }
        if (tactus_pool_threads_change(stress->pool, count[0], count[1], count[2]) != TACTUS_OK) {
            problem(stress, "change");
        }
        tactus_pool_stat(stress->pool, &stats);
        if (stats.threads_read != count[0] || stats.memory_budget_bytes > stats.memory_size ||
            tactus_pool_close(stress->pool) != TACTUS_EINVAL) {
            problem(stress, "the pool tells of other things than there are");
        }
        changes++;
        rest((long)tac_prng_below(&prng, 10000));
    }
    return changes;
}

int main(void)
{
    const char              *duration = getenv("STRESS_SECONDS");
    const char              *directory = getenv("TMPDIR");
    struct stress           *stress = calloc(1, sizeof *stress);
    struct keeper           *keepers = calloc(KEEPERS, sizeof *keepers);
    struct open_store        resident;
    struct tactus_pool_stats stats;
    uint64_t                 seed = tap_seed(), changes;
    uint64_t                 seconds = duration != NULL         ? strtoull(duration, NULL, 10)
                                       : getenv("LONG") != NULL ? 60
                                                                : 4;

    tap_plan(0);
    if (stress == NULL || keepers == NULL) {
        tap_bail("no memory");
    }
    digests_make(stress);
    pool_open(stress, &resident);
    for (uint32_t i = 0; i < KEEPERS; i++) {
        keepers[i].stress = stress;
        keepers[i].prng.state = tac_mix_u64(seed + i);
        snprintf(keepers[i].path, sizeof keepers[i].path, "%.400s/pool-stress-%ld-%u",
                 directory != NULL ? directory : "/tmp", (long)getpid(), i);
        if (pthread_create(&keepers[i].thread, NULL, keeper_main, &keepers[i]) != 0) {
            tap_bail("no thread");
        }
    }
    changes = changes_make(stress, keepers, seed, 1000 * seconds);
    tac_atomic_store_release_u32(&stress->stop, 1);
    for (uint32_t i = 0; i < KEEPERS; i++) {
        pthread_join(keepers[i].thread, NULL);
    }
    tap_diag("%llu scripts done whole, %llu cut, %llu opens without memory, %llu thread changes",
             (unsigned long long)KEEPERS_SUM(keepers, wholes),
             (unsigned long long)KEEPERS_SUM(keepers, cuts),
             (unsigned long long)KEEPERS_SUM(keepers, refusals), (unsigned long long)changes);
    tap_ok(stress->problems == 0, "stores that come and go are what they are on their own");
    tap_ok(KEEPERS_SUM(keepers, wholes) >= 3 && KEEPERS_SUM(keepers, cuts) >= 2 &&
               KEEPERS_SUM(keepers, refusals) > 0 && changes > 0,
           "there was something to see");
    tactus_pool_stat(stress->pool, &stats);
    tap_ok(stats.stores == 1 && tactus_close(resident.store) == TACTUS_OK, "one is left");
    tactus_pool_stat(stress->pool, &stats);
    tap_ok(stats.stores == 0 && stats.memory_budget_bytes == 0 &&
               tactus_pool_close(stress->pool) == TACTUS_OK,
           "all memory is given back, and the pool closes");
    free(stress);
    free(keepers);
    return tap_done();
}
