/* SPDX-License-Identifier: Apache-2.0 */
/* The scrub reads every block that the store reaches once in a round and no faster than it is told
 * to, finds damage and nothing else, and leaves no trace in the file. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/prng.h"
#include "base/units.h"
#include "pipeline/options.h"
#include "queues/atomics.h"
#include "tests/lib/small_world.h"
#include "tests/lib/tap.h"

#define DAY_NS (86400 * (uint64_t)TAC_SECOND_NS)
#define ROUND_STEPS_MAX 4096
#define IDLE_SECONDS_MAX 20

static struct small_world world;
static uint64_t           time_ns;      /* Atomic; what the scrub takes for the time … */
static uint64_t           time_step_ns; /* … and by how much it goes on whenever it is asked */

static uint64_t test_clock(void) { return tac_atomic_fetch_add_u64(&time_ns, time_step_ns); }

/* ---- helpers -------------------------------------------------------------------------------- */

static struct tactus *open_or_bail(uint32_t scrub_days)
{
    struct tactus   *store;
    struct tac_error error;

    time_ns = time_step_ns = 0;
    world.options.scrub_days = scrub_days;
    if (small_open(&world, &store, &error) != TACTUS_OK) {
        tap_bail("%s", error.message);
    }
    return store;
}

static struct tactus_stats stats_of(struct tactus *store)
{
    struct tactus_stats stats;

    tactus_stat(store, &stats);
    return stats;
}

static uint64_t interval_of(struct tactus *store)
{
    return world.options.scrub_days * DAY_NS / stats_of(store).blocks_acquired;
}

/* Until there is nothing more to be done at this time. */
static void step_all(struct tactus *store)
{
    while (tactus_step(store)) {
    }
}

/* As long as a round takes, block by block. False: it has not ended. */
static bool round_run(struct tactus *store)
{
    uint64_t rounds = stats_of(store).scrub_rounds;

    for (uint32_t i = 0; i < ROUND_STEPS_MAX; i++) {
        time_ns += interval_of(store);
        step_all(store);
        if (stats_of(store).scrub_rounds > rounds) {
            return true;
        }
    }
    return false;
}

static void fault_set(const struct small_block *block, uint32_t reads, bool is_io_error)
{
    world.faulty.offset = block->address * SMALL_BLOCK_SIZE;
    world.faulty.size = SMALL_BLOCK_SIZE;
    world.faulty.reads_left = reads;
    world.faulty.is_io_error = is_io_error;
    world.faulty.reads_met = 0;
}

static void fault_clear(void) { world.faulty.size = world.faulty.reads_left = 0; }

/* ---- rounds --------------------------------------------------------------------------------- */

static void test_round(void)
{
    struct tactus              *store = open_or_bail(7);
    struct tactus_verify_report report;
    struct tactus_stats         stats;
    bool                        is_whole;

    step_all(store);
    if (tactus_verify(store, NULL, NULL, &report) != TACTUS_OK) {
        tap_bail("verify: %s", tactus_message());
    }
    is_whole = round_run(store);
    stats = stats_of(store);
    tap_ok(is_whole && stats.scrub_blocks == report.blocks && stats.scrub_round_blocks == 0 &&
               report.blocks == world.block_count,
           "a round reads all of the %u blocks that the store reaches", world.block_count);
    tap_ok(time_ns <= 7 * DAY_NS, "in seven days, as asked");
    is_whole = round_run(store);
    stats = stats_of(store);
    tap_ok(is_whole && stats.scrub_rounds == 2 && stats.scrub_blocks == 2 * report.blocks,
           "so does the next one");
    tap_ok(stats.scrub_damages == 0 && stats.scrub_damage[0] == 0, "nothing is damaged");
    tactus_abandon(store);
}

/* Whatever table the first round begins with. */
static void test_first_round(void)
{
    uint64_t tables = 0, whole = 0;

    for (uint64_t begin = 0; begin == 0 || begin < tables; begin++) {
        struct tactus      *store;
        struct tactus_stats stats;
        struct tac_error    error;
        uint64_t            first;

        world.options.scrub_days = 1;
        time_ns = begin;
        time_step_ns = 0;
        if (small_open(&world, &store, &error) != TACTUS_OK) {
            tap_bail("%s", error.message);
        }
        tables = tac_manifest_table_count(store->manifest);
        whole += round_run(store);
        stats = stats_of(store);
        first = stats.scrub_blocks - world.block_count;
        whole -= first >= world.block_count || (begin > 0) != (first > 0) || stats.scrub_damages;
        tactus_abandon(store);
    }
    tap_ok(whole == tables && tables > 3,
           "it begins at any of %llu tables, and then counts the first round that is whole",
           (unsigned long long)tables);
}

static void test_off(void)
{
    struct tactus *store = open_or_bail(0);
    uint64_t       before;

    step_all(store);
    before = stats_of(store).read_bytes;
    time_step_ns = 10000 * DAY_NS;
    for (uint32_t i = 0; i < 1000; i++) {
        (void)tactus_step(store);
    }
    tap_ok(stats_of(store).read_bytes == before && stats_of(store).scrub_blocks == 0,
           "off, it reads nothing");
    tactus_abandon(store);
}

static void test_pace(void)
{
    struct tactus  *store = open_or_bail(30);
    struct tac_prng prng = {tap_seed()};
    uint64_t        interval = interval_of(store), blocks, before, ahead = 0;

    for (uint32_t i = 0; i < 2000; i++) {
        time_ns += tac_prng_below(&prng, 3 * interval);
        (void)tactus_step(store);
        (void)tactus_step(store);
        ahead += stats_of(store).scrub_blocks > time_ns / interval;
    }
    step_all(store);
    blocks = stats_of(store).scrub_blocks;
    tap_ok(ahead == 0 && blocks == time_ns / interval,
           "%llu blocks have been read when the time for so many has passed, never more",
           (unsigned long long)blocks);
    time_ns += 1000 * interval;
    before = blocks;
    step_all(store);
    tap_ok(stats_of(store).scrub_blocks - before <= TAC_SCRUB_BURST_BLOCKS + 1,
           "after a pause of a thousand blocks' time it reads %llu at once",
           (unsigned long long)(stats_of(store).scrub_blocks - before));
    /* As with many small blocks: more than a burst is due whenever the thread has slept. */
    store->scrub.period_ns = 100000 * stats_of(store).blocks_acquired;
    before = stats_of(store).scrub_blocks;
    for (uint32_t i = 0; i < 100; i++) {
        time_ns += TAC_SECOND_NS / 100;
        step_all(store);
    }
    blocks = stats_of(store).scrub_blocks - before;
    tap_ok(blocks >= 10000 && blocks <= 11000,
           "looking every 10 ms, it reads the 10000 blocks of a second and of 100 ms before: %llu",
           (unsigned long long)blocks);
    tactus_abandon(store);
}

/* ---- damage --------------------------------------------------------------------------------- */

static bool text_names(const char *text, const struct small_block *block)
{
    static const char *const trees[] = {"fixed", "variable", "keys"};
    char                     place[128], address[64];

    snprintf(address, sizeof address, "block %llu", (unsigned long long)block->address);
    switch (block->kind) {
    case SMALL_SUPERBLOCK:
        return strstr(text, "superblock copy") != NULL;
    case SMALL_MANIFEST_BLOCK:
    case SMALL_FREE_SET_BLOCK:
        return strstr(text, small_kind_name(block->kind)) != NULL && strstr(text, address) != NULL;
    case SMALL_INDEX_BLOCK:
    case SMALL_FILTER_BLOCK:
    case SMALL_VALUE_BLOCK:
    case SMALL_KINDS:
        break;
    }
    snprintf(place, sizeof place, "tree %s, level %u, table %llu", trees[block->tree], block->level,
             (unsigned long long)block->table);
    return strstr(text, place) != NULL && strstr(text, address) != NULL;
}

/* Each block in turn is damaged, or cannot be read, for good. */
static void test_damage(bool is_io_error)
{
    uint32_t found = 0, named = 0, again = 0;

    for (uint32_t i = 0; i < world.block_count; i++) {
        const struct small_block *block = &world.blocks[i];
        struct tactus            *store = open_or_bail(7);
        struct tactus_stats       stats;

        fault_set(block, FAULTY_ALWAYS, is_io_error);
        (void)round_run(store);
        stats = stats_of(store);
        found += stats.scrub_rounds == 1 && stats.scrub_damages == 1;
        named += text_names(stats.scrub_damage, block);
        if (stats.scrub_damages != 1 || !text_names(stats.scrub_damage, block)) {
            tap_diag("%s block %llu: %llu damages: %s", small_kind_name(block->kind),
                     (unsigned long long)block->address, (unsigned long long)stats.scrub_damages,
                     stats.scrub_damage);
        }
        (void)round_run(store);
        again += stats_of(store).scrub_damages == 2;
        fault_clear();
        tactus_abandon(store);
    }
    tap_ok(found == world.block_count && named == world.block_count,
           "each of %u blocks that %s is found, and named", world.block_count,
           is_io_error ? "cannot be read" : "is damaged");
    tap_ok(again == world.block_count, "and again in the next round");
}

/* Each block in turn goes wrong once. */
static void test_transient(bool is_io_error)
{
    uint32_t quiet = 0;

    for (uint32_t i = 0; i < world.block_count; i++) {
        struct tactus      *store = open_or_bail(7);
        struct tactus_stats stats;

        fault_set(&world.blocks[i], 1, is_io_error);
        (void)round_run(store);
        stats = stats_of(store);
        quiet += stats.scrub_rounds == 1 && stats.scrub_damages == 0 &&
                 world.faulty.reads_left == 0 && world.faulty.reads_met >= 2;
        fault_clear();
        tactus_abandon(store);
    }
    tap_ok(quiet == world.block_count, "what %s once is read once more, and is no damage",
           is_io_error ? "fails" : "is wrong");
}

static void test_others_go_on(void)
{
    struct tactus            *store = open_or_bail(7);
    const struct small_block *block = &world.blocks[world.block_count - 1];
    struct small_reads        reads = {0};
    struct tactus_stats       stats;

    fault_set(block, FAULTY_ALWAYS, false);
    (void)round_run(store);
    small_read_all(&world, store, &reads);
    stats = stats_of(store);
    tap_ok(stats.scrub_damages == 1 && reads.wrong == 0 && reads.right > reads.corrupt &&
               stats.tables_damaged == 0,
           "beside a find all other keys are read, and no table is marked");
    tap_ok(small_write(&world, store, SMALL_FIXED, 1, 77) == TACTUS_OK, "and writes are taken");
    fault_clear();
    tactus_abandon(store);
    small_restore(&world);
}

/* Gives all records new places, and lets what they leave be used again. */
static void store_turn_over(void *context)
{
    struct tactus  *store = context;
    static uint32_t version;

    version = version % 100 + 1;
    for (uint32_t i = 0; i < 3; i++) {
        for (uint32_t number = 0; number < world.record_counts[SMALL_FIXED]; number++) {
            if (small_write(&world, store, SMALL_FIXED, number, version) != TACTUS_OK) {
                tap_bail("put: %s", tactus_message());
            }
        }
        if (tactus_compact(store, SMALL_FIXED) != TACTUS_OK) {
            tap_bail("compact: %s", tactus_message());
        }
    }
}

/* Bars and checkpoints end between the moment at which the scrub has found out what is to be read
 * and the read. */
static void test_overtaken(enum tac_scrub_part part, const char *name)
{
    struct tactus *store = open_or_bail(1);
    uint32_t       turns = 40;
    uint64_t       overtaken = 0;

    for (uint32_t i = 0; i < turns; i++) {
        uint64_t before = stats_of(store).scrub_blocks;

        time_ns += interval_of(store);
        if (i % 2 == 0) {
            world.faulty.before_read_fn = store_turn_over;
            world.faulty.before_read_context = store;
        }
        if (part != TAC_SCRUB_TABLES) {
            store->scrub.position = (struct tac_scrub_position){.part = part};
        }
        (void)tac_scrub_step(store);
        overtaken += stats_of(store).scrub_blocks == before;
    }
    tap_ok(overtaken > 0 && overtaken <= turns / 2 && stats_of(store).scrub_damages == 0,
           "%s: %llu of %u reads are overtaken and meet something else, which is no damage%s", name,
           (unsigned long long)overtaken, turns, stats_of(store).scrub_damage);
    world.faulty.before_read_fn = NULL;
    tactus_abandon(store);
    small_restore(&world);
}

/* ---- beside writes -------------------------------------------------------------------------- */

struct busy {
    struct tactus_options   options;
    struct tac_memory_disk *disk; /* NULL: a file */
    char                    path[512];
    struct tac_u128         sum; /* Of the whole file at the end */
    struct tactus_stats     stats;
};

static void busy_options(struct busy *busy, uint32_t threads, uint32_t scrub_days)
{
    struct tactus_options *options = &busy->options;

    tactus_options_init(options);
    options->memtable_size = 64 * TAC_KIB;
    options->block_size = 4 * TAC_KIB;
    options->page_size = 512;
    options->table_size = 16 * TAC_KIB;
    options->slice_size = 32 * TAC_KIB;
    options->runs_per_level = 2;
    options->beats_per_bar = 16;
    options->checkpoint_interval_bars = 1;
    options->file_size_max = 64 * TAC_MIB;
    options->tables_max = 4096;
    options->page_cache_size = options->index_cache_size = TAC_MIB;
    options->uuid[0] = 1;
    options->threads_read = options->threads_merge = options->threads_write = threads;
    options->scrub_days = scrub_days;
}

static struct tactus *busy_open(struct busy *busy)
{
    struct tac_storage *storage;
    struct tactus      *store;
    struct tac_error    error;
    int                 result;

    result = busy->disk != NULL ? tac_storage_open_memory(busy->disk, &storage, &error)
                                : tac_storage_create_file(busy->path, TACTUS_BACKEND_POSIX, false,
                                                          &storage, &error);
    if (result != TACTUS_OK || tac_store_create(storage, &busy->options, &error) != TACTUS_OK ||
        tac_store_open(storage, &busy->options, NULL, NULL, &store, &error) != TACTUS_OK) {
        tap_bail("open: %s", error.message);
    }
    return store;
}

static void busy_write(struct tactus *store, uint64_t writes)
{
    static const struct tactus_layout layout = {TACTUS_LAYOUT_FIXED, 8, 100};
    struct tac_prng                   prng = {17};
    uint32_t                          tree;

    if (tactus_tree_create(store, "tree", &layout, &tree) != TACTUS_OK) {
        tap_bail("tree: %s", tactus_message());
    }
    for (uint64_t i = 0; i < writes; i++) {
        uint64_t key = tac_mix_u64(tac_prng_below(&prng, 4000));
        uint8_t  value[100];

        memset(value, (int)i, sizeof value);
        if (tactus_put(store, tree, &key, sizeof key, value, sizeof value) != TACTUS_OK) {
            tap_bail("put: %s", tactus_message());
        }
        if (i % 16 == 0) {
            (void)tactus_step(store);
        }
    }
    if (tactus_compact(store, tree) != TACTUS_OK) {
        tap_bail("compact: %s", tactus_message());
    }
}

/* An idle store is scrubbed, too. */
static bool idle_round(struct tactus *store)
{
    uint64_t rounds = stats_of(store).scrub_rounds;

    for (uint32_t i = 0; i < 1000 * IDLE_SECONDS_MAX; i++) {
        if (stats_of(store).scrub_rounds > rounds) {
            return true;
        }
        (void)tactus_step(store);
        usleep(1000);
    }
    return false;
}

static void file_sum(struct busy *busy)
{
    uint64_t       size;
    const uint8_t *data;

    if (busy->disk != NULL) {
        data = tac_memory_disk_data(busy->disk, &size);
        busy->sum = tac_checksum(data, size, 0);
    }
}

static void busy_run(struct busy *busy, bool is_file, uint32_t threads, uint32_t scrub_days,
                     uint64_t writes)
{
    struct tactus *store;

    busy_options(busy, threads, scrub_days);
    busy->disk = is_file ? NULL : tac_memory_disk_new(0);
    snprintf(busy->path, sizeof busy->path, "%s/scrub-%ld",
             getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp", (long)getpid());
    store = busy_open(busy);
    busy_write(store, writes);
    if (scrub_days > 0) {
        tap_ok(idle_round(store), "an idle store is scrubbed, %u threads", 3 * threads);
    }
    busy->stats = stats_of(store);
    if (tactus_close(store) != TACTUS_OK) {
        tap_bail("close: %s", tactus_message());
    }
    file_sum(busy);
    if (busy->disk != NULL) {
        tac_memory_disk_free(busy->disk);
    } else {
        (void)unlink(busy->path);
    }
}

/* With a clock by which a block is always due, next to writes that turn the whole file over. */
static void test_beside_writes(void)
{
    bool is_slow =
        getenv("TACTUS_INSTRUMENTED") != NULL && strcmp(getenv("TACTUS_INSTRUMENTED"), "yes") == 0;
    uint64_t    writes = is_slow ? 10000 : getenv("LONG") != NULL ? 400000 : 40000;
    struct busy off, stepped, threads, file;

    time_ns = 0;
    time_step_ns = DAY_NS / 24;
    busy_run(&off, false, 2, 0, writes);
    busy_run(&stepped, false, 0, 1, writes);
    busy_run(&threads, false, 2, 1, writes);
    busy_run(&file, true, 1, 1, writes);
    tap_ok(off.stats.scrub_blocks == 0 && stepped.stats.scrub_blocks > 100 &&
               threads.stats.scrub_blocks > 100 && file.stats.scrub_blocks > 100,
           "beside writes it has read %llu blocks stepped, %llu and %llu with threads",
           (unsigned long long)stepped.stats.scrub_blocks,
           (unsigned long long)threads.stats.scrub_blocks,
           (unsigned long long)file.stats.scrub_blocks);
    tap_diag("%s%s%s", stepped.stats.scrub_damage, threads.stats.scrub_damage,
             file.stats.scrub_damage);
    tap_ok(stepped.stats.scrub_damages + threads.stats.scrub_damages + file.stats.scrub_damages ==
               0,
           "and has taken nothing for damaged");
    tap_ok(tac_u128_equal(off.sum, stepped.sum) && tac_u128_equal(off.sum, threads.sum),
           "the file is the same, byte for byte, with it and without");
}

/* ---- options -------------------------------------------------------------------------------- */

static void test_options(void)
{
    struct tactus_options options;
    struct tac_error      error;

    tactus_options_init(&options);
    tap_ok(options.scrub_days == 0, "it is off unless asked for");
    tap_ok(tactus_options_set(&options, "scrub_days", "30") == TACTUS_OK &&
               options.scrub_days == 30,
           "the days are an option");
    tap_ok(tactus_options_set(&options, "scrub_days", "3651") == TACTUS_EOPTION &&
               strstr(tactus_message(), "scrub_days") != NULL,
           "too many are refused as text");
    options.scrub_days = 3651;
    tap_ok(tac_options_resolve(&options, &error) == TACTUS_EOPTION, "and at the open");
}

int main(void)
{
    tap_plan(0);
    tac_scrub_clock_replace(test_clock);
    test_options();
    small_create(&world, 2);
    test_round();
    test_first_round();
    test_off();
    test_pace();
    test_damage(false);
    test_damage(true);
    test_transient(false);
    test_transient(true);
    test_others_go_on();
    test_overtaken(TAC_SCRUB_TABLES, "tables");
    test_overtaken(TAC_SCRUB_LOG, "manifest log");
    test_overtaken(TAC_SCRUB_FREE_SET, "free set");
    test_overtaken(TAC_SCRUB_SUPERBLOCKS, "superblocks");
    small_destroy(&world);
    test_beside_writes();
    return tap_done();
}
