/* SPDX-License-Identifier: Apache-2.0 */
/* The same ops give the same bytes of the file, whatever the threads, the rings, the backend and
 * the timing: contract 1. One workload runs in many ways; after each of its checkpoints the digest
 * of all that the superblock reaches is compared, and after the close the whole file. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checksum.h"
#include "base/clock.h"
#include "base/prng.h"
#include "base/units.h"
#include "pipeline/store.h"
#include "queues/atomics.h"
#include "tests/lib/tap.h"

#define DIGESTS_MAX 64
#define BATCH_ENTRIES 24
#define VALUE_MAX 240

struct variant {
    const char         *name;
    enum tactus_backend backend;
    uint32_t            threads_read, threads_merge, threads_write;
    uint32_t            ring_size;
    bool                assist;
    uint32_t            io_depth;
    bool                reopens; /* Closes and opens once, half-way */
    uint64_t            stepping_seed;
    uint32_t            scrub_days;
};

/* What a run leaves. */
struct outcome {
    bool            is_done;
    uint8_t         digests[DIGESTS_MAX][16];
    uint32_t        digest_count;
    struct tac_u128 file_sum;
    uint64_t        file_size;
    uint32_t        levels, depth_max;
    uint64_t        bars, jobs, tables_moved;
    uint64_t        scrub_blocks, scrub_damages;
};

struct workload {
    uint64_t seed;
    uint64_t steps;
    uint32_t runs_per_level;
};

struct run {
    const struct workload  *workload;
    const struct variant   *variant;
    struct tactus_options   options;
    struct tac_memory_disk *disk; /* Memory backend */
    char                    path[512];
    struct tactus          *store;
    uint32_t                trees[2];
    struct tac_prng         prng;
    struct outcome          outcome;
};

/* By which a block is always due. */
static uint64_t scrub_clock_ns(void)
{
    static uint64_t time_ns;

    return tac_atomic_fetch_add_u64(&time_ns, 1000 * (uint64_t)TAC_SECOND_NS);
}

static void require(int result, const char *what)
{
    if (result != TACTUS_OK) {
        tap_bail("%s: %d %s", what, result, tactus_message());
    }
}

/* ---- open and close ------------------------------------------------------------------------- */

static void options_fill(struct run *run)
{
    struct tactus_options *options = &run->options;

    tactus_options_init(options);
    options->memtable_size = 128 * TAC_KIB;
    options->block_size = 4 * TAC_KIB;
    options->page_size = 512;
    options->table_size = 16 * TAC_KIB;
    options->slice_size = 32 * TAC_KIB;
    options->runs_per_level = run->workload->runs_per_level;
    options->beats_per_bar = 32;
    options->checkpoint_interval_bars = 2;
    options->file_size_max = 256 * TAC_MIB;
    options->tables_max = 8192;
    options->page_cache_size = options->index_cache_size = TAC_MIB;
    memset(options->uuid, 0x5a, sizeof options->uuid);
    options->threads_read = run->variant->threads_read;
    options->threads_merge = run->variant->threads_merge;
    options->threads_write = run->variant->threads_write;
    options->ring_size = run->variant->ring_size;
    options->assist = run->variant->assist;
    options->io_depth = run->variant->io_depth;
    options->backend = run->variant->backend;
    options->scrub_days = run->variant->scrub_days;
}

static int storage_open(struct run *run, bool is_new, struct tac_storage **ret_storage,
                        struct tac_error *error)
{
    if (run->variant->backend == TACTUS_BACKEND_MEMORY) {
        return tac_storage_open_memory(run->disk, ret_storage, error);
    }
    if (is_new) {
        (void)unlink(run->path);
        return tac_storage_create_file(run->path, run->variant->backend, true, ret_storage, error);
    }
    return tac_storage_open_file(run->path, run->variant->backend, true, ret_storage, error);
}

static bool store_open(struct run *run, bool is_new)
{
    struct tac_stepping stepping = {2, 3, 2, run->variant->stepping_seed, run->variant->assist, 0};
    struct tac_storage *storage;
    struct tac_error    error;

    tac_error_clear(&error);
    if (storage_open(run, is_new, &storage, &error) != TACTUS_OK) {
        tap_diag("%s: %s", run->variant->name, error.message);
        return false;
    }
    if (is_new && tac_store_create(storage, &run->options, &error) != TACTUS_OK) {
        tap_bail("create: %s", error.message);
    }
    if (tac_store_open(storage, &run->options, &stepping, NULL, &run->store, &error) != TACTUS_OK) {
        tap_bail("open: %s", error.message);
    }
    return true;
}

static void file_sum(struct run *run)
{
    struct outcome *outcome = &run->outcome;
    struct stat     info;
    uint8_t        *data;
    int             fd;

    if (run->variant->backend == TACTUS_BACKEND_MEMORY) {
        const uint8_t *bytes = tac_memory_disk_data(run->disk, &outcome->file_size);

        outcome->file_sum = tac_checksum(bytes, outcome->file_size, 0);
        return;
    }
    fd = open(run->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &info) != 0) {
        tap_bail("cannot look at %s", run->path);
    }
    outcome->file_size = (uint64_t)info.st_size;
    data = malloc(outcome->file_size);
    tac_assert(data != NULL);
    for (uint64_t done = 0; done < outcome->file_size;) {
        ssize_t count = read(fd, data + done, outcome->file_size - done);

        if (count <= 0) {
            tap_bail("cannot read %s", run->path);
        }
        done += (uint64_t)count;
    }
    close(fd);
    outcome->file_sum = tac_checksum(data, outcome->file_size, 0);
    free(data);
}

/* ---- the workload --------------------------------------------------------------------------- */

/* Tree 0 has fixed keys, mostly random; tree 1 variable ones, in ranges that wander upwards. */
static size_t key_make(struct run *run, uint32_t tree, uint64_t step, uint8_t *key)
{
    uint64_t number;

    if (tree == 0) {
        number = tac_mix_u64(tac_prng_below(&run->prng, 6000));
        memcpy(key, &number, 8);
        memcpy(key + 8, &number, 8);
        return 16;
    }
    number = step / 4 + tac_prng_below(&run->prng, 500);
    return (size_t)sprintf((char *)key, "user/%08llu/%.*s", (unsigned long long)number,
                           (int)(number % 20), "abcdefghijklmnopqrst");
}

static size_t value_make(struct run *run, uint32_t tree, uint8_t *value)
{
    size_t size = tree == 0 ? 100 : (size_t)tac_prng_below(&run->prng, VALUE_MAX + 1);

    for (size_t i = 0; i < size; i++) {
        value[i] = (uint8_t)tac_prng_next(&run->prng);
    }
    return size;
}

static void step_single(struct run *run, uint64_t step)
{
    uint32_t tree = (uint32_t)tac_prng_below(&run->prng, 2);
    uint8_t  key[64], value[VALUE_MAX];
    size_t   key_size = key_make(run, tree, step, key);

    if (tac_prng_below(&run->prng, 5) == 0) {
        require(tactus_delete(run->store, run->trees[tree], key, key_size), "delete");
    } else {
        size_t value_size = value_make(run, tree, value);

        require(tactus_put(run->store, run->trees[tree], key, key_size, value, value_size), "put");
    }
}

static void step_batch(struct run *run, uint64_t step)
{
    struct tactus_batch *batch;

    require(tactus_batch_new(run->store, &batch), "batch");
    for (uint32_t i = 0; i < BATCH_ENTRIES; i++) {
        uint32_t tree = (uint32_t)tac_prng_below(&run->prng, 2);
        uint8_t  key[64], value[VALUE_MAX];
        size_t   key_size = key_make(run, tree, step, key);
        size_t   value_size = value_make(run, tree, value);

        require(tactus_batch_put(batch, run->trees[tree], key, key_size, value, value_size),
                "batch put");
    }
    require(tactus_batch_commit(batch, NULL), "batch commit");
    tactus_batch_free(batch);
}

static void digest(struct run *run)
{
    struct outcome *outcome = &run->outcome;

    tac_assert(outcome->digest_count < DIGESTS_MAX);
    require(tactus_digest(run->store, outcome->digests[outcome->digest_count++]), "digest");
}

static void reopen(struct run *run)
{
    require(tactus_close(run->store), "close");
    if (!store_open(run, false)) {
        tap_bail("cannot open the store again");
    }
}

static void workload_run(struct run *run)
{
    static const struct tactus_layout layouts[2] = {{TACTUS_LAYOUT_FIXED, 16, 100},
                                                    {TACTUS_LAYOUT_VARIABLE, 40, VALUE_MAX}};
    uint64_t                          steps = run->workload->steps;

    run->prng.state = run->workload->seed;
    require(tactus_tree_create(run->store, "fixed", &layouts[0], &run->trees[0]), "tree");
    require(tactus_tree_create(run->store, "variable", &layouts[1], &run->trees[1]), "tree");
    for (uint64_t step = 0; step < steps; step++) {
        if (tac_prng_below(&run->prng, 40) == 0) {
            step_batch(run, step);
        } else {
            step_single(run, step);
        }
        if (step % (steps / 16) == 1) {
            require(tactus_checkpoint(run->store), "checkpoint");
            digest(run);
        }
        if (step == steps / 3) {
            require(tactus_compaction_hold(run->store, true), "hold");
        }
        if (step == steps / 3 + steps / 10) {
            require(tactus_compaction_hold(run->store, false), "hold");
        }
        if (run->variant->scrub_days > 0 && step % 8 == 0) {
            (void)tactus_step(run->store);
        }
        if (step == steps / 2 && run->variant->reopens) {
            reopen(run);
        }
        if (step == 2 * steps / 3) {
            require(tactus_drain(run->store), "drain");
            digest(run);
        }
    }
    require(tactus_compact(run->store, run->trees[1]), "compact");
    digest(run);
}

static void outcome_stats(struct run *run)
{
    struct tactus_stats stats;

    tactus_stat(run->store, &stats);
    run->outcome.levels = stats.levels;
    run->outcome.depth_max = stats.depth_max;
    run->outcome.bars = stats.bars;
    run->outcome.jobs = stats.jobs;
    run->outcome.tables_moved = stats.tables_moved;
    run->outcome.scrub_blocks = stats.scrub_blocks;
    run->outcome.scrub_damages = stats.scrub_damages;
}

static struct outcome *variant_run(const struct workload *workload, const struct variant *variant)
{
    struct run     *run = calloc(1, sizeof *run);
    struct outcome *outcome = calloc(1, sizeof *outcome);
    const char     *directory = getenv("TMPDIR");

    tac_assert(run != NULL && outcome != NULL);
    run->workload = workload;
    run->variant = variant;
    options_fill(run);
    snprintf(run->path, sizeof run->path, "%s/same-bytes-%ld",
             directory != NULL ? directory : "/tmp", (long)getpid());
    if (variant->backend == TACTUS_BACKEND_MEMORY) {
        run->disk = tac_memory_disk_new(variant->stepping_seed);
        tac_assert(run->disk != NULL);
    }
    if (store_open(run, true)) {
        workload_run(run);
        outcome_stats(run);
        require(tactus_close(run->store), "close");
        file_sum(run);
        run->outcome.is_done = true;
    }
    tac_memory_disk_free(run->disk);
    (void)unlink(run->path);
    *outcome = run->outcome;
    free(run);
    return outcome;
}

/* ---- comparison ----------------------------------------------------------------------------- */

static void outcome_compare(const struct outcome *outcome, const struct outcome *reference,
                            const char *name, uint32_t runs_per_level)
{
    uint32_t same = 0;

    if (!outcome->is_done) {
        tap_skip("the backend is not available");
        return;
    }
    while (same < reference->digest_count && same < outcome->digest_count &&
           memcmp(outcome->digests[same], reference->digests[same], 16) == 0) {
        same++;
    }
    if (same < reference->digest_count) {
        tap_diag("the first digest that differs is number %u of %u", same, reference->digest_count);
    }
    tap_ok(same == reference->digest_count && outcome->digest_count == same &&
               outcome->file_size == reference->file_size &&
               tac_u128_equal(outcome->file_sum, reference->file_sum),
           "runs %u, %s: the same %u digests and the same file", runs_per_level, name,
           reference->digest_count);
}

static const struct variant variants[] = {
    {"stepped, posix", TACTUS_BACKEND_POSIX, 0, 0, 0, 64, true, 4, false, 0, 0},
    {"stepped at random, memory", TACTUS_BACKEND_MEMORY, 0, 0, 0, 2, true, 2, false, 77, 0},
    {"stepped at random, no assist, memory", TACTUS_BACKEND_MEMORY, 0, 0, 0, 2, false, 1, false, 78,
     0},
    {"1/1/1, posix, ring 2", TACTUS_BACKEND_POSIX, 1, 1, 1, 2, true, 4, false, 0, 0},
    {"1/1/1, no assist, io_uring", TACTUS_BACKEND_IO_URING, 1, 1, 1, 64, false, 4, false, 0, 0},
    {"2/3/2, io_uring, ring 2", TACTUS_BACKEND_IO_URING, 2, 3, 2, 2, true, 16, false, 0, 0},
    {"2/3/2, no assist, posix", TACTUS_BACKEND_POSIX, 2, 3, 2, 64, false, 1, false, 0, 0},
    {"4/8/4, memory, ring 64", TACTUS_BACKEND_MEMORY, 4, 8, 4, 64, true, 4, false, 0, 0},
    {"4/8/4, io_uring", TACTUS_BACKEND_IO_URING, 4, 8, 4, 64, true, 4, false, 0, 0},
    {"stepped, scrubbed, memory", TACTUS_BACKEND_MEMORY, 0, 0, 0, 64, true, 4, false, 0, 1},
    {"2/3/2, scrubbed, posix", TACTUS_BACKEND_POSIX, 2, 3, 2, 64, true, 4, false, 0, 1},
};

static const struct variant reopening[] = {
    {"reopened, stepped, memory", TACTUS_BACKEND_MEMORY, 0, 0, 0, 64, true, 4, true, 0, 0},
    {"reopened, stepped at random, memory", TACTUS_BACKEND_MEMORY, 0, 0, 0, 2, true, 4, true, 79,
     0},
    {"reopened, 2/3/2, posix", TACTUS_BACKEND_POSIX, 2, 3, 2, 2, true, 4, true, 0, 0},
};

static void compare_all(const struct workload *workload, const struct variant *list, uint32_t count)
{
    static const struct variant plain = {
        "stepped, memory", TACTUS_BACKEND_MEMORY, 0, 0, 0, 256, true, 4, false, 0, 0};
    struct variant  first = list[0].reopens ? list[0] : plain;
    struct outcome *reference = variant_run(workload, &first);

    tap_diag("runs %u: %llu bars, %llu jobs, %llu moves, %u levels, depth %u, %llu KiB",
             workload->runs_per_level, (unsigned long long)reference->bars,
             (unsigned long long)reference->jobs, (unsigned long long)reference->tables_moved,
             reference->levels, reference->depth_max,
             (unsigned long long)reference->file_size / 1024);
    tap_ok(reference->is_done && reference->levels >= 3 && reference->jobs > reference->bars,
           "runs %u, %s: the workload fills three levels", workload->runs_per_level, first.name);
    for (uint32_t i = first.reopens ? 1 : 0; i < count; i++) {
        struct outcome *outcome = variant_run(workload, &list[i]);

        outcome_compare(outcome, reference, list[i].name, workload->runs_per_level);
        if (list[i].scrub_days > 0 && outcome->is_done) {
            tap_ok(outcome->scrub_blocks > 100 && outcome->scrub_damages == 0,
                   "runs %u, %s: %llu blocks have been checked meanwhile, all sound",
                   workload->runs_per_level, list[i].name,
                   (unsigned long long)outcome->scrub_blocks);
        }
        free(outcome);
    }
    free(reference);
}

int main(void)
{
    static const uint32_t runs[] = {2, 1, 4};
    uint64_t              seed = tap_seed();
    bool                  is_long = getenv("LONG") != NULL;

    tap_plan(0);
    tac_scrub_clock_replace(scrub_clock_ns);
    for (uint32_t i = 0; i < TAC_ARRAY_COUNT(runs); i++) {
        struct workload workload = {seed + i, is_long ? 64000 : 16000, runs[i]};

        compare_all(&workload, variants, TAC_ARRAY_COUNT(variants));
        compare_all(&workload, reopening, TAC_ARRAY_COUNT(reopening));
    }
    return tap_done();
}
