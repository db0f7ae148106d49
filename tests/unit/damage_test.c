/* SPDX-License-Identifier: Apache-2.0 */
/* What the engine answers to damage: reads look twice and say where, compactions leave a damaged
 * table alone, everything else goes on. */
#include <malloc.h>
#include <stdio.h>
#include <string.h>

#include "base/prng.h"
#include "base/units.h"
#include "pipeline/store.h"
#include "tests/lib/small_world.h"
#include "tests/lib/tap.h"

#define DAMAGE_OFFSET (SMALL_PAGE_SIZE + 100) /* In a value block: the first data page */

static struct small_world world;

/* ---- helpers -------------------------------------------------------------------------------- */

static struct tactus *open_or_bail(void)
{
    struct tactus   *store;
    struct tac_error error;

    if (small_open(&world, &store, &error) != TACTUS_OK) {
        tap_bail("%s", error.message);
    }
    return store;
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

static void block_damage(const struct small_block *block)
{
    uint64_t position = block->address * SMALL_BLOCK_SIZE + DAMAGE_OFFSET;
    uint64_t size;
    uint8_t  byte = (uint8_t)~tac_memory_disk_data(world.disk, &size)[position];

    tac_memory_disk_damage(world.disk, position, &byte, 1);
}

/* A block of the kind: of level 0 the newest table's, which a get meets first; else of the deepest
 * level. */
static const struct small_block *block_find(uint32_t tree, enum small_kind kind, bool is_top)
{
    const struct small_block *found = NULL;

    for (uint32_t i = 0; i < world.block_count; i++) {
        const struct small_block *block = &world.blocks[i];

        if (block->kind != kind || (kind >= SMALL_INDEX_BLOCK && block->tree != tree)) {
            continue;
        }
        if (found == NULL || (is_top ? block->level == 0 && block->table > found->table
                                     : block->level > found->level)) {
            found = block;
        }
    }
    if (found == NULL) {
        tap_bail("no %s block", small_kind_name(kind));
    }
    return found;
}

/* The text has all that there is to say of the place. */
static bool text_names(const char *text, const struct small_block *block)
{
    static const char *const trees[] = {"fixed", "variable", "keys"};
    char                     place[128], address[64];

    snprintf(place, sizeof place, "tree %s, level %u, table %llu", trees[block->tree], block->level,
             (unsigned long long)block->table);
    snprintf(address, sizeof address, "block %llu", (unsigned long long)block->address);
    return strstr(text, place) != NULL && strstr(text, address) != NULL;
}

static uint64_t tables_damaged(struct tactus *store)
{
    struct tactus_stats stats;

    tactus_stat(store, &stats);
    return stats.tables_damaged;
}

/* ---- reads ---------------------------------------------------------------------------------- */

static int get_code(struct tactus *store, uint32_t tree, uint32_t number)
{
    uint8_t key[SMALL_KEY_MAX], value[SMALL_VALUE_MAX];
    size_t  size;

    return tactus_get(store, tree, key, small_key(tree, number, key), value, sizeof value, &size);
}

/* A get and a scan of the block's records. */
static void block_read(struct tactus *store, const struct small_block *block,
                       struct small_reads *reads)
{
    struct small_range range = {block->range.first, block->range.first};

    small_get_range(&world, store, block->tree, range, reads);
    small_scan_range(&world, store, block->tree, block->range, reads);
}

static void test_second_read(bool is_io_error)
{
    static const enum small_kind kinds[] = {SMALL_INDEX_BLOCK, SMALL_FILTER_BLOCK,
                                            SMALL_VALUE_BLOCK};
    const char                  *what = is_io_error ? "failed" : "wrong";

    for (uint32_t i = 0; i < TAC_ARRAY_COUNT(kinds); i++) {
        const struct small_block *block =
            block_find(kinds[i] == SMALL_FILTER_BLOCK ? SMALL_KEYS : SMALL_FIXED, kinds[i], true);
        struct tactus     *store = open_or_bail();
        struct small_reads reads = {0};

        fault_set(block, 1, is_io_error);
        block_read(store, block, &reads);
        tap_ok(reads.wrong == 0 && reads.corrupt == 0 && reads.right > 0 &&
                   world.faulty.reads_met >= 2 && world.faulty.reads_left == 0,
               "a get reads a %s block once more when the first read was %s",
               small_kind_name(kinds[i]), what);
        fault_clear();
        tactus_abandon(store);
    }
}

static void test_second_read_of_scan(bool is_io_error)
{
    const struct small_block *block = block_find(SMALL_FIXED, SMALL_VALUE_BLOCK, false);
    struct tactus            *store = open_or_bail();
    struct small_reads        reads = {0};

    fault_set(block, 1, is_io_error);
    small_scan_range(&world, store, block->tree, block->range, &reads);
    tap_ok(reads.wrong == 0 && reads.corrupt == 0 && world.faulty.reads_left == 0,
           "a scan reads once more when the first read was %s", is_io_error ? "failed" : "wrong");
    fault_clear();
    tactus_abandon(store);
}

static void test_second_read_of_open(bool is_io_error)
{
    static const enum small_kind kinds[] = {SMALL_SUPERBLOCK, SMALL_FREE_SET_BLOCK,
                                            SMALL_MANIFEST_BLOCK};

    for (uint32_t i = 0; i < TAC_ARRAY_COUNT(kinds); i++) {
        struct tactus   *store;
        struct tac_error error;
        int              code;

        fault_set(block_find(0, kinds[i], true), 1, is_io_error);
        code = small_open(&world, &store, &error);
        tap_ok(code == TACTUS_OK && world.faulty.reads_left == 0 && world.faulty.reads_met >= 2,
               "an open reads a %s block once more when the first read was %s",
               small_kind_name(kinds[i]), is_io_error ? "failed" : "wrong");
        fault_clear();
        if (code == TACTUS_OK) {
            tactus_abandon(store);
        }
        tap_ok(small_is_as_made(&world), "and repairs nothing");
    }
}

/* Of a checkpoint that a crash cut short copy `copy` is all there is, and once it is read as it was
 * before: all four copies look right then. An open that went on from the checkpoint before left two
 * histories on the disk (seed 5134 of the simulator). */
static void test_stale_superblock(void)
{
    struct tactus               *store;
    struct tactus_verify_report  report;
    struct tac_superblock_choice choice;
    struct tac_error             error;
    const uint8_t               *copies[TAC_SUPERBLOCK_COPIES];
    uint8_t                      torn[TAC_SUPERBLOCK_BYTES], stale[TAC_SUPERBLOCK_BYTES];
    uint64_t                     size, stride = TAC_SUPERBLOCK_STRIDE_BLOCKS * SMALL_BLOCK_SIZE;
    uint32_t                     copy;
    bool                         is_right;

    for (uint32_t i = 0; i < TAC_SUPERBLOCK_COPIES; i++) {
        copies[i] = tac_memory_disk_data(world.disk, &size) + i * stride;
    }
    if (tac_superblock_choose(copies, &choice, &error) != TACTUS_OK) {
        tap_bail("%s", error.message);
    }
    choice.superblock.parent_checksum = tac_superblock_checksum(&choice.superblock);
    choice.superblock.sequence++;
    copy = tac_superblock_copy_first(choice.superblock.sequence) + 1;
    tac_superblock_encode(torn, &choice.superblock, copy);
    memcpy(stale, copies[copy], sizeof stale);
    tac_memory_disk_damage(world.disk, copy * stride, torn, sizeof torn);
    world.faulty.offset = copy * stride;
    world.faulty.size = TAC_SUPERBLOCK_BYTES;
    world.faulty.reads_left = 1;
    world.faulty.is_io_error = false;
    world.faulty.stale = stale;
    store = open_or_bail();
    is_right = world.faulty.reads_left == 0 &&
               store->checkpoint.durable.sequence >= choice.superblock.sequence &&
               tactus_verify(store, NULL, NULL, &report) == TACTUS_OK;
    tactus_abandon(store);
    tap_ok(is_right, "a copy of the superblock that is read as it was before, once, is not missed");
    fault_clear();
    world.faulty.stale = NULL;
    small_restore(&world);
}

static void test_error_names(void)
{
    struct tactus *store = open_or_bail();

    for (enum small_kind kind = SMALL_INDEX_BLOCK; kind <= SMALL_VALUE_BLOCK; kind++) {
        uint32_t                  tree = kind == SMALL_FILTER_BLOCK ? SMALL_KEYS : SMALL_VARIABLE;
        const struct small_block *block = block_find(tree, kind, true);
        uint32_t                  number = block->range.first;

        fault_set(block, FAULTY_ALWAYS, false);
        if (kind == SMALL_VALUE_BLOCK) {
            world.faulty.offset += DAMAGE_OFFSET;
            world.faulty.size = 1;
        }
        while (get_code(store, tree, number) != TACTUS_ECORRUPT && number < block->range.last) {
            number++; /* Newer tables may have the first ones. */
        }
        tap_ok(text_names(tactus_message(), block) &&
                   strstr(tactus_message(), "wrong checksum") != NULL &&
                   strstr(tactus_message(), "found ") != NULL &&
                   strstr(tactus_message(), "expected ") != NULL,
               "%s: %s", small_kind_name(kind), tactus_message());
        world.faulty.is_io_error = true;
        tap_ok(get_code(store, tree, number) == TACTUS_EIO && text_names(tactus_message(), block),
               "%s: %s", small_kind_name(kind), tactus_message());
        fault_clear();
    }
    tactus_abandon(store);
}

/* ---- compactions ---------------------------------------------------------------------------- */

static void test_compaction_reads_again(bool is_io_error)
{
    const struct small_block *block = block_find(SMALL_FIXED, SMALL_VALUE_BLOCK, false);
    struct tactus            *store = open_or_bail();

    fault_set(block, 1, is_io_error);
    tap_ok(tactus_compact(store, SMALL_FIXED) == TACTUS_OK && world.faulty.reads_left == 0 &&
               tables_damaged(store) == 0,
           "a compaction reads once more when the first read was %s",
           is_io_error ? "failed" : "wrong");
    fault_clear();
    tactus_abandon(store);
    small_restore(&world);
}

struct outcome {
    uint64_t cases, damages, marked, refused_compactions;
    uint64_t unnamed; /* Errors of a compaction that do not name the table */
    uint64_t writes_failed;
    uint64_t wrong;     /* Reads, or keys that cannot be read though they are in no damaged block */
    uint64_t unsound;   /* Verifies that found anything else */
    uint64_t forgotten; /* Marks that were not there after a reopen */
};

/* Each damage is one text, of a checksum. */
static void damage_note(void *context, const char *text)
{
    struct outcome *outcome = context;

    outcome->unsound += strstr(text, "wrong checksum") == NULL;
    outcome->damages++;
}

static void writes_go_on(struct tactus *store, uint32_t version, struct outcome *outcome)
{
    struct tac_prng prng = {version};

    for (uint32_t tree = 0; tree < SMALL_TREES; tree++) {
        for (uint32_t i = 0; i < world.record_counts[tree] / 4; i++) {
            uint32_t number = (uint32_t)tac_prng_below(&prng, world.record_counts[tree]);

            outcome->writes_failed +=
                small_write(&world, store, tree, number, i % 8 == 0 ? 0 : version) != TACTUS_OK;
        }
    }
}

/* One block damaged for good; then compactions, writes, a reopen. */
static void damaged_block_run(const struct small_block *block, struct outcome *outcome)
{
    struct tactus     *store = open_or_bail();
    struct small_reads reads = {0};
    char               place[32];
    uint64_t           marked;
    int                code;

    outcome->cases++;
    block_damage(block);
    code = tactus_compact(store, block->tree);
    snprintf(place, sizeof place, "table %llu", (unsigned long long)block->table);
    outcome->unnamed +=
        code != TACTUS_OK && (code != TACTUS_ECORRUPT || strstr(tactus_message(), place) == NULL);
    outcome->refused_compactions += code != TACTUS_OK;
    writes_go_on(store, 20, outcome);
    outcome->writes_failed += tactus_checkpoint(store) != TACTUS_OK;
    marked = tables_damaged(store);
    small_read_all(&world, store, &reads);
    outcome->marked += marked;
    (void)tactus_verify(store, damage_note, outcome, NULL);
    tactus_abandon(store);
    store = open_or_bail();
    outcome->forgotten += tables_damaged(store) != marked;
    outcome->writes_failed += small_write(&world, store, block->tree, 0, 21) != TACTUS_OK;
    small_read_all(&world, store, &reads);
    outcome->wrong += reads.wrong;
    outcome->writes_failed += tactus_close(store) != TACTUS_OK;
}

/* Each index and value block in turn. */
static void test_compaction_of_damage(uint32_t runs_per_level)
{
    static uint8_t versions[SMALL_TREES][SMALL_RECORDS_MAX];
    struct outcome outcome = {0};

    small_create(&world, runs_per_level);
    memcpy(versions, world.versions, sizeof versions);
    for (uint32_t i = 0; i < world.block_count; i++) {
        const struct small_block *block = &world.blocks[i];

        if (block->kind == SMALL_INDEX_BLOCK || block->kind == SMALL_VALUE_BLOCK) {
            damaged_block_run(block, &outcome);
            small_restore(&world);
            memcpy(world.versions, versions, sizeof versions);
        }
    }
    tap_diag("R %u: %llu damaged blocks, %llu tables marked, %llu compactions say so",
             runs_per_level, (unsigned long long)outcome.cases, (unsigned long long)outcome.marked,
             (unsigned long long)outcome.refused_compactions);
    tap_ok(outcome.cases > 20 && outcome.marked > outcome.cases / 2 &&
               outcome.marked <= outcome.cases,
           "R %u: a compaction marks the table in which it finds damage", runs_per_level);
    tap_ok(outcome.refused_compactions > 0 && outcome.unnamed == 0,
           "R %u: a compaction of the whole tree says which table was in the way", runs_per_level);
    tap_ok(outcome.writes_failed == 0, "R %u: writes, checkpoints and closes go on",
           runs_per_level);
    tap_ok(outcome.wrong == 0, "R %u: no read is wrong", runs_per_level);
    tap_ok(outcome.unsound == 0 && outcome.damages == outcome.cases,
           "R %u: nothing else is damaged", runs_per_level);
    tap_ok(outcome.forgotten == 0, "R %u: a reopened store knows the damaged table",
           runs_per_level);
    small_destroy(&world);
}

/* A job of a merge, if the plan has one and all its jobs are done; the plan's end is still to come. */
static struct tac_job *merge_done(struct tactus *store)
{
    const struct tac_bar *bar = &store->bar;

    for (uint32_t i = 0; i < bar->compaction_count && bar->jobs_done == bar->job_count; i++) {
        if (bar->compactions[i].kind == TAC_PLAN_MERGE) {
            return bar->jobs[bar->compactions[i].job_first];
        }
    }
    return NULL;
}

/* Writes until a merge is done, and does all that can be done between writes. */
static struct tac_job *merge_await(struct tactus *store, uint32_t *write)
{
    struct tac_job *job = NULL;

    for (; job == NULL && *write < 20000; ++*write) {
        if (small_write(&world, store, SMALL_FIXED, *write % world.record_counts[SMALL_FIXED],
                        1 + *write % 200) != TACTUS_OK) {
            tap_bail("%s", tactus_message());
        }
        while (tactus_step(store)) {
        }
        job = merge_done(store);
    }
    return job;
}

/* A merge whose books say that it has lost a record, though every block is what it should be. */
static void test_sums_of_merge(void)
{
    struct small_reads reads = {0};
    struct tactus     *store;
    struct tac_job    *job;
    uint64_t           plan;
    uint32_t           write = 0;

    small_create(&world, 2);
    store = open_or_bail();
    job = merge_await(store, &write);
    if (job == NULL) {
        tap_bail("no merge in %u writes", write);
    }
    job->overwritten.records--;
    plan = store->clock.plans_ended;
    while (store->clock.plans_ended == plan) {
        if (small_write(&world, store, SMALL_FIXED, write++ % world.record_counts[SMALL_FIXED],
                        7) != TACTUS_OK) {
            tap_bail("%s", tactus_message());
        }
    }
    tap_ok(tables_damaged(store) == 1,
           "a merge that has lost a record is dropped, and marks a table");
    small_read_all(&world, store, &reads);
    tap_ok(reads.wrong == 0 && reads.corrupt == 0, "and what it should have merged is there");
    tactus_abandon(store);
    small_destroy(&world);
}

/* With runs of 1 a flush merges with the tables of level 0. */
static void test_flush_of_damage(enum small_kind kind, uint32_t threads)
{
    const struct small_block *block;
    struct tactus            *store;
    struct small_reads        reads = {0};
    struct outcome            outcome = {0};
    int                       code;

    small_create(&world, 1);
    block = block_find(SMALL_FIXED, kind, true);
    block_damage(block);
    world.options.threads_read = world.options.threads_merge = threads;
    world.options.threads_write = threads;
    store = open_or_bail();
    tap_ok(block->level == 0 && tables_damaged(store) == 0, "a table of level 0 is damaged");
    for (uint32_t version = 30; version < 36; version++) {
        writes_go_on(store, version, &outcome);
    }
    tap_ok(outcome.writes_failed == 0 && tables_damaged(store) == 1,
           "a flush that meets damage (%s, %u threads) is made without that table",
           small_kind_name(kind), 3 * threads);
    code = tactus_drain(store);
    tap_ok(code == TACTUS_OK ||
               (code == TACTUS_ECORRUPT && strstr(tactus_message(), "is damaged") != NULL),
           "a drain ends: code %d", code);
    small_read_all(&world, store, &reads);
    tap_ok(reads.wrong == 0 && reads.right > 0, "no read is wrong: %llu right, %llu refused",
           (unsigned long long)reads.right, (unsigned long long)reads.corrupt);
    tap_ok(tactus_close(store) == TACTUS_OK, "close");
    small_destroy(&world);
}

/* Puts over the damaged table's range until no more are taken. */
static uint32_t put_until_refused(struct tactus *store, const struct small_block *block)
{
    struct tac_prng prng = {block->table};
    uint32_t        width = block->range.last - block->range.first + 1;
    uint32_t        count = 0;

    while (count < 100000) {
        uint32_t number = block->range.first + (uint32_t)tac_prng_below(&prng, width);

        if (small_write(&world, store, block->tree, number, 40 + count % 100) != TACTUS_OK) {
            return count;
        }
        count++;
    }
    return count;
}

static void test_depth_limit(uint32_t runs_per_level, uint32_t tree)
{
    const struct small_block *block;
    struct tactus            *store;
    struct tactus_stats       stats;
    struct small_reads        reads = {0};
    struct outcome            outcome = {0};
    char                      place[32];
    uint32_t                  count, other = tree == SMALL_FIXED ? SMALL_VARIABLE : SMALL_FIXED;

    small_create(&world, runs_per_level);
    block = block_find(tree, SMALL_INDEX_BLOCK, false);
    block_damage(block);
    snprintf(place, sizeof place, "table %llu", (unsigned long long)block->table);
    store = open_or_bail();
    (void)tactus_compact(store, tree);
    count = put_until_refused(store, block);
    tap_ok(count > 1000 && count < 100000 && strstr(tactus_message(), place) != NULL,
           "R %u: %u writes over a damaged table are taken, then: %s", runs_per_level, count,
           tactus_message());
    tactus_stat(store, &stats);
    tap_ok(stats.depth_max >= 4 * runs_per_level && stats.depth_max <= 4 * runs_per_level + 4,
           "R %u: its level is %u deep", runs_per_level, stats.depth_max);
    tap_ok(small_write(&world, store, tree, block->range.first, 0) == TACTUS_ECORRUPT,
           "R %u: deletes are refused, too", runs_per_level);
    tap_ok(small_write(&world, store, other, 1, 50) == TACTUS_OK, "R %u: other trees take writes",
           runs_per_level);
    (void)tactus_verify(store, damage_note, &outcome, NULL);
    small_read_all(&world, store, &reads);
    tap_ok(reads.wrong == 0 && reads.right > reads.corrupt && outcome.unsound == 0,
           "R %u: nothing is lost: %llu reads are right, %llu meet the damage", runs_per_level,
           (unsigned long long)reads.right, (unsigned long long)reads.corrupt);
    tap_ok(tactus_close(store) == TACTUS_OK, "R %u: close", runs_per_level);
    store = open_or_bail();
    tap_ok(small_write(&world, store, tree, block->range.first, 60) == TACTUS_ECORRUPT &&
               strstr(tactus_message(), place) != NULL,
           "R %u: a reopened store refuses them as well", runs_per_level);
    small_read_all(&world, store, &reads);
    tap_ok(reads.wrong == 0, "R %u: and has lost nothing", runs_per_level);
    tactus_abandon(store);
    small_destroy(&world);
}

static void table_put(struct tac_manifest *manifest, uint32_t level, uint8_t first, uint8_t last,
                      bool is_damaged)
{
    struct tac_table *table = tac_manifest_table_take(manifest, 0);

    tac_assert(table != NULL);
    tac_table_set_keys(table, (struct tac_bytes){&first, 1}, (struct tac_bytes){&last, 1});
    table->level = level;
    table->id = table->stamp = 1 + tac_manifest_table_count(manifest);
    table->is_damaged = is_damaged;
    tac_manifest_insert(manifest, table);
}

/* Of eight tables one lies over the damaged one; the others over that one, but not over the damaged
 * one: they are out of reach of compactions all the same. Side by side they would do no harm. */
static void test_depth_beside(bool is_pile)
{
    static const struct tac_layout layout = {TACTUS_LAYOUT_VARIABLE, 8, 100};
    struct tac_manifest           *manifest = tac_manifest_new(64);
    struct tac_damage              damage;
    struct tac_error               error = {0};
    uint32_t                       tree = 0;

    tap_ok(tac_manifest_tree_add(manifest, "tree", &layout, &tree, &error) == TACTUS_OK, "a tree");
    tac_manifest_tree(manifest, tree)->planner.last_level = 2;
    table_put(manifest, 1, 10, 11, true);
    table_put(manifest, 0, 11, is_pile ? 99 : 12, false);
    for (uint8_t last = 21; last < 35; last = (uint8_t)(last + 2)) {
        table_put(manifest, 0, is_pile ? 20 : last, last, false);
    }
    tac_damage_update(&damage, manifest, 2);
    tap_ok((tac_damage_check(&damage, manifest, 1, &error) == TACTUS_ECORRUPT) == is_pile,
           "tables that lie %s beside a damaged one %s writes", is_pile ? "piled up" : "flat",
           is_pile ? "stop" : "do not stop");
    tac_manifest_free(manifest);
}

/* ---- the store's log ------------------------------------------------------------------------ */

static struct tac_memory_disk *log_disk;

static int log_open(const struct tac_log_place *place, bool is_new,
                    struct tac_storage **ret_storage, struct tac_error *error)
{
    uint64_t size;

    (void)place;
    (void)tac_memory_disk_data(log_disk, &size);
    if (!is_new && size == 0) {
        return tac_error_set(error, TACTUS_ENOSTORE, "there is no log");
    }
    return tac_storage_open_memory(log_disk, ret_storage, error);
}

static int log_remove(const struct tac_log_place *place, struct tac_error *error)
{
    (void)place;
    return tac_error_set(error, TACTUS_EIO, "the test removes no log");
}

/* Both kinds of write; nothing of them may be taken. */
static bool writes_are_refused(struct tactus *store, uint32_t tree, uint32_t number)
{
    uint8_t              key[SMALL_KEY_MAX];
    uint32_t             key_size = small_key(tree, number, key);
    uint64_t             op = tactus_last_op(store);
    struct tactus_batch *batch;
    bool                 is_refused;

    if (tactus_batch_new(store, &batch) != TACTUS_OK ||
        tactus_batch_delete(batch, tree, key, key_size) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
    is_refused = tactus_batch_commit(batch, NULL) == TACTUS_ECORRUPT &&
                 tactus_delete(store, tree, key, key_size) == TACTUS_ECORRUPT;
    tactus_batch_free(batch);
    return is_refused && tactus_last_op(store) == op && tactus_replay_op(store) == op + 1;
}

/* The ops of a log were taken before the tree was refused; the checkpoint under them may know that
 * it is. */
static void test_log(uint32_t runs_per_level)
{
    struct tac_log_place      place = {log_open, log_remove, NULL};
    struct small_reads        reads = {0};
    const struct small_block *block;
    struct tactus            *store;
    uint32_t                  count;
    uint64_t                  op;

    small_create(&world, runs_per_level);
    log_disk = tac_memory_disk_new(0);
    world.log_place = &place;
    world.options.log = TACTUS_LOG_SYNC;
    block = block_find(SMALL_FIXED, SMALL_INDEX_BLOCK, false);
    block_damage(block);
    store = open_or_bail();
    (void)tactus_compact(store, SMALL_FIXED);
    count = put_until_refused(store, block);
    tap_ok(count > 1000 && writes_are_refused(store, SMALL_FIXED, block->range.first),
           "R %u, with a log: a refused write takes no op, after %u that are taken", runs_per_level,
           count);
    op = tactus_last_op(store);
    for (uint32_t i = 0; i < 3; i++) {
        tactus_abandon(store);
        store = open_or_bail();
        reads = (struct small_reads){0};
        small_read_all(&world, store, &reads);
        tap_ok(tactus_last_op(store) == op && reads.wrong == 0 && reads.right > 0 &&
                   writes_are_refused(store, SMALL_FIXED, block->range.first),
               "R %u: a replay takes all that was taken, and then no more", runs_per_level);
        /* Another tree's writes: the next open replays them over the refused tree's. */
        tap_ok(small_write(&world, store, SMALL_VARIABLE, 1 + i, 70) == TACTUS_OK,
               "R %u: other trees take writes", runs_per_level);
        op++;
    }
    tap_ok(tactus_close(store) == TACTUS_OK, "R %u: close", runs_per_level);
    small_destroy(&world);
    tac_memory_disk_free(log_disk);
}

int main(void)
{
    tap_plan(0);
    mallopt(M_MMAP_THRESHOLD, 64 * 1024 * 1024); /* Stores are opened hundreds of times. */
    small_create(&world, 2);
    for (int is_io_error = 0; is_io_error <= 1; is_io_error++) {
        test_second_read(is_io_error);
        test_second_read_of_scan(is_io_error);
        test_second_read_of_open(is_io_error);
        test_compaction_reads_again(is_io_error);
    }
    test_stale_superblock();
    test_error_names();
    small_destroy(&world);
    test_compaction_of_damage(1);
    test_compaction_of_damage(2);
    test_compaction_of_damage(4);
    test_sums_of_merge();
    for (uint32_t threads = 0; threads <= 1; threads++) {
        test_flush_of_damage(SMALL_INDEX_BLOCK, threads);
        test_flush_of_damage(SMALL_VALUE_BLOCK, threads);
    }
    test_depth_limit(2, SMALL_FIXED);
    test_depth_limit(4, SMALL_VARIABLE);
    test_depth_beside(true);
    test_depth_beside(false);
    test_log(2);
    test_log(4);
    return tap_done();
}
