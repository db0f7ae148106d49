/* SPDX-License-Identifier: Apache-2.0 */
/* Discarded tables: no reader sees them, plans give their blocks back, a checkpoint keeps what is
 * left to do, and a damaged index block costs the space and nothing else. */
#include <string.h>

#include "base/units.h"
#include "pipeline/store.h"
#include "tests/lib/small_world.h"
#include "tests/lib/tap.h"

static struct small_world world;

static struct tactus *open_or_bail(void)
{
    struct tactus   *store;
    struct tac_error error;

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

static void code_expect(int code, const char *what)
{
    if (code != TACTUS_OK) {
        tap_bail("%s: %d %s", what, code, tactus_message());
    }
}

/* All of the tree's tables, while the coordinator rests. Of a drained store the plan that is made by
 * then has none of them. Returns how many. */
static uint32_t tree_discard(struct tactus *store, uint32_t number, uint64_t *ret_blocks)
{
    struct tac_manifest_tree *tree = tac_manifest_tree(store->manifest, number);
    struct tac_error          error;
    uint32_t                  count = 0;

    pthread_mutex_lock(&store->commit_lock);
    code_expect(tac_writer_rest(store, &error), "rest");
    for (uint32_t level = 0; level < TACTUS_LEVELS_MAX; level++) {
        while (tree->levels[level].table_count > 0) {
            struct tac_table *table = tree->levels[level].tables[0];

            tac_manifest_discard(store->manifest, table);
            tac_manifest_log_insert(store->manifest_log, tree, table);
            count++;
        }
    }
    *ret_blocks = tree->discards.blocks;
    pthread_mutex_unlock(&store->commit_lock);
    return count;
}

static uint64_t records_of(struct tactus *store, uint32_t tree)
{
    struct tactus_iterator *iterator;
    uint64_t                count = 0;
    int                     code;

    code_expect(tactus_iterator_open(store, tree, &iterator), "iterator");
    for (code = tactus_iterator_first(iterator); code == TACTUS_OK;
         code = tactus_iterator_next(iterator)) {
        count++;
    }
    tactus_iterator_close(iterator);
    return code == TACTUS_ENOTFOUND ? count : UINT64_MAX;
}

static void test_given_back(void)
{
    struct tactus      *store = open_or_bail();
    struct tactus_stats stats, after;
    uint64_t            blocks;
    uint32_t            tables;

    code_expect(tactus_drain(store), "drain");
    stats = stats_of(store);
    tables = tree_discard(store, SMALL_FIXED, &blocks);
    tap_ok(tables > TAC_BAR_DISCARDS_LEAST && records_of(store, SMALL_FIXED) > 0,
           "%u tables are discarded, and views of before still have them", tables);
    code_expect(tactus_checkpoint(store), "checkpoint");
    tap_ok(records_of(store, SMALL_FIXED) == 0 && records_of(store, SMALL_VARIABLE) > 0,
           "new views have the other tree's tables only");
    code_expect(tactus_drain(store), "drain");
    after = stats_of(store);
    tap_ok(after.tables_discarded == 0 && after.discards_done == tables &&
               after.discarded_bytes == 0 && after.discards_damaged == 0,
           "a drain gives all of them back");
    tap_ok(after.blocks_acquired + blocks <= stats.blocks_acquired + 4,
           "%llu blocks are free again", (unsigned long long)blocks);
    tap_ok(tactus_verify(store, NULL, NULL, NULL) == TACTUS_OK, "and the store is sound");
    tactus_abandon(store);
    small_restore(&world);
}

/* Plans have a few tables each: what is left is in the checkpoint. */
static void test_kept(void)
{
    struct tactus      *store = open_or_bail();
    struct tactus_stats stats, after;
    uint64_t            blocks;
    uint32_t            tables;

    code_expect(tactus_drain(store), "drain");
    tables = tree_discard(store, SMALL_FIXED, &blocks);
    code_expect(tactus_checkpoint(store), "checkpoint");
    stats = stats_of(store);
    tap_ok(stats.tables_discarded > 0 && stats.tables_discarded < tables,
           "a checkpoint finds %llu of %u discarded tables left",
           (unsigned long long)stats.tables_discarded, tables);
    tap_ok(tactus_verify(store, NULL, NULL, NULL) == TACTUS_OK,
           "tactus_verify reaches their blocks");
    tactus_abandon(store);
    store = open_or_bail();
    after = stats_of(store);
    tap_ok(after.tables_discarded == stats.tables_discarded &&
               after.discarded_bytes == stats.discarded_bytes &&
               records_of(store, SMALL_FIXED) == 0,
           "so does the open after a crash, and no reader finds them");
    code_expect(tactus_drain(store), "drain");
    after = stats_of(store);
    tap_ok(after.tables_discarded == 0 && after.discards_done == stats.tables_discarded &&
               tactus_verify(store, NULL, NULL, NULL) == TACTUS_OK,
           "a drain gives them back");
    tactus_abandon(store);
    small_restore(&world);
}

static void damage_count(void *context, const char *text)
{
    uint32_t *count = context;

    tap_diag("%s", text);
    *count += strstr(text, "discarded table") != NULL;
}

static void test_damaged(void)
{
    struct tactus          *store = open_or_bail();
    struct tac_manifest    *manifest = store->manifest;
    const struct tac_table *table;
    struct tactus_stats     stats;
    uint64_t                blocks, size, damaged_bytes;
    uint32_t                tables, told = 0;
    uint8_t                 byte;

    code_expect(tactus_drain(store), "drain");
    tables = tree_discard(store, SMALL_FIXED, &blocks);
    table = tac_manifest_tree(manifest, SMALL_FIXED)->discards.tables[2];
    damaged_bytes =
        ((uint64_t)table->value_block_count + table->filter_block_count + 1) * SMALL_BLOCK_SIZE;
    byte = (uint8_t)~tac_memory_disk_data(world.disk,
                                          &size)[table->index.address * SMALL_BLOCK_SIZE + 200];
    tac_memory_disk_damage(world.disk, table->index.address * SMALL_BLOCK_SIZE + 200, &byte, 1);
    tap_ok(tactus_drain(store) == TACTUS_OK, "a damaged index block does not hold a drain up");
    stats = stats_of(store);
    tap_ok(stats.tables_discarded == 1 && stats.discards_damaged == 1 &&
               stats.discards_done + 1 == tables && stats.discarded_bytes == damaged_bytes,
           "its table stays, marked, and what it takes is told");
    tap_ok(tactus_verify(store, damage_count, &told, NULL) == TACTUS_ECORRUPT && told == 1,
           "tactus_verify names it, and nothing else");
    tactus_abandon(store);
    store = open_or_bail();
    stats = stats_of(store);
    tap_ok(stats.tables_discarded == 1 && stats.discards_damaged == 1 &&
               tactus_drain(store) == TACTUS_OK,
           "the mark is in the checkpoint");
    tactus_abandon(store);
    small_restore(&world);
}

int main(void)
{
    tap_plan(0);
    small_create(&world, 4);
    test_given_back();
    test_kept();
    test_damaged();
    small_destroy(&world);
    small_create(&world, 1);
    test_given_back();
    test_damaged();
    small_destroy(&world);
    return tap_done();
}
