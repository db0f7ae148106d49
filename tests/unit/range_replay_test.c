/* SPDX-License-Identifier: Apache-2.0 */
/* Deleted ranges after a crash, with and without a log; and a replay of more of them than there can
 * be that meets damage. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "pipeline/salvage.h"
#include "pipeline/store.h"
#include "tests/lib/range_store.h"

static char path[512];

/* ---- crashes -------------------------------------------------------------------------------- */

static struct tactus *file_store_open(enum tactus_log log)
{
    struct tactus_options options;
    struct tactus        *store;

    options_make(&options, 4);
    options.log = log;
    if (tactus_open(path, &options, &store) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
    return store;
}

static void files_remove(void)
{
    unlink(path);
    snprintf(path + strlen(path), 5, "-wal");
    unlink(path);
    path[strlen(path) - 4] = 0;
}

static void test_crash(enum tactus_log log, const char *name)
{
    struct tactus_layout  layout = {TACTUS_LAYOUT_FIXED, KEY_BYTES, VALUE_BYTES};
    struct tactus_options options;
    struct tactus        *store;
    uint32_t              tree;

    options_make(&options, 4);
    expect(tactus_create(path, &options), "create");
    store = file_store_open(log);
    expect(tactus_tree_create(store, "t", &layout, &tree), "tree");
    fill(store, tree, 2000);
    expect(tactus_drain(store), "drain");
    tap_ok((store->checkpoint.durable.features_incompatible & TAC_FEATURE_RANGES) == 0,
           "%s: the file can be read by an older library as long as there is no range", name);
    expect(range_delete(store, tree, 703, 707), "range");
    expect(tactus_checkpoint(store), "checkpoint");
    expect(range_delete(store, tree, 100, 600), "range");
    tactus_abandon(store);
    store = file_store_open(log);
    tap_ok((store->checkpoint.durable.features_incompatible & TAC_FEATURE_RANGES) != 0 &&
               !has(store, tree, 704) && has(store, tree, 707) &&
               has(store, tree, 100) == (log == TACTUS_LOG_NONE),
           "%s: a range of a checkpoint is there, one after it is if the log has it", name);
    if (log == TACTUS_LOG_NONE) {
        expect(range_delete(store, tree, 100, 600), "range");
    }
    expect(tactus_compact(store, tree), "compact");
    tap_ok(records_of(store, tree) == 1496 && stats_of(store).ranges == 0 && is_sound(store),
           "%s: and they end as any", name);
    expect(tactus_close(store), "close");
    store = file_store_open(log);
    tap_ok(records_of(store, tree) == 1496, "%s: a close and an open find the rest", name);
    tactus_abandon(store);
    files_remove();
}

/* ---- a replay that meets damage ------------------------------------------------------------- */

#define REPLAY_RECORDS 6000
#define REPLAY_RANGES 700

/* A byte of the first page of a table. */
static void table_damage(int file, struct tac_salvage *salvage, const struct tac_table *table)
{
    uint64_t               block_size = salvage->geometry.block_size, offset;
    struct tac_index_block index;
    struct tac_error       error;
    uint8_t                byte;

    if (tac_block_fetch(salvage->storage, &salvage->geometry, &table->index, TAC_BLOCK_INDEX,
                        salvage->index_data, &error) != TACTUS_OK ||
        tac_index_block_decode(&index, salvage->index_data, &salvage->geometry,
                               table->index.address, &error) != TACTUS_OK) {
        tap_bail("%s", error.message);
    }
    offset = tac_index_value_block(&index, 0).reference.address * block_size +
             tac_index_page(&index, 0).unit_first * salvage->geometry.page_size + 40;
    if (pread(file, &byte, 1, (off_t)offset) != 1) {
        tap_bail("no byte to damage");
    }
    byte = (uint8_t)~byte;
    if (pwrite(file, &byte, 1, (off_t)offset) != 1) {
        tap_bail("no byte damaged");
    }
}

/* Each table that the newest checkpoint has. Returns how many. */
static uint32_t tables_damage(void)
{
    struct tac_salvage  salvage;
    struct tac_storage *storage;
    struct tac_error    error;
    uint32_t            count = 0;
    int                 file = open(path, O_RDWR | O_CLOEXEC);

    if (file < 0 ||
        tac_storage_open_file(path, TACTUS_BACKEND_AUTO, false, &storage, &error) != TACTUS_OK ||
        tac_salvage_begin(&salvage, storage, &error) != TACTUS_OK) {
        tap_bail("%s", file < 0 ? "no file" : error.message);
    }
    for (uint32_t l = 0; l < TACTUS_LEVELS_MAX; l++) {
        const struct tac_manifest_level *level = &tac_manifest_tree(salvage.manifest, 0)->levels[l];

        for (uint32_t i = 0; i < level->table_count; i++) {
            table_damage(file, &salvage, level->tables[i]);
            count++;
        }
    }
    tac_salvage_end(&salvage);
    storage->ops->close(storage);
    close(file);
    return count;
}

/* More ranges than there can be, most of which have come to their end without a checkpoint that
 * says so: what a replay does again may be all of them, and none may come to its end in it. */
static void test_replay_with_damage(void)
{
    struct tactus_layout  layout = {TACTUS_LAYOUT_FIXED, KEY_BYTES, VALUE_BYTES};
    struct tactus_options options;
    struct tactus        *store;
    uint32_t              tree, damaged;
    uint64_t              op, wrong = 0;
    uint8_t               key[KEY_BYTES];
    int                   result;

    options_make(&options, 4);
    options.log = TACTUS_LOG_SYNC;
    options.checkpoint_interval_bars = 64;
    expect(tactus_create(path, &options), "create");
    expect(tactus_open(path, &options, &store), "open");
    expect(tactus_tree_create(store, "t", &layout, &tree), "tree");
    fill(store, tree, REPLAY_RECORDS);
    expect(tactus_drain(store), "drain");
    for (uint32_t i = 0; i < REPLAY_RANGES; i++) {
        expect(range_delete(store, tree, 8 * i + 1, 8 * i + 3), "range");
    }
    op = tactus_last_op(store);
    tactus_abandon(store);
    damaged = tables_damage();
    result = tactus_open(path, &options, &store);
    tap_ok(damaged > 0 && result == TACTUS_OK && tactus_last_op(store) == op,
           "a replay in which %u damaged tables let no range come to its end takes them all: %s",
           damaged, result == TACTUS_OK ? "" : tactus_message());
    for (uint32_t i = 0; i < REPLAY_RANGES && result == TACTUS_OK; i++) {
        key_make(8 * i + 2, key);
        wrong += tactus_get(store, tree, key, sizeof key, NULL, 0, &(size_t){0}) == TACTUS_OK;
    }
    tap_ok(wrong == 0 && result == TACTUS_OK && stats_of(store).ranges <= TAC_RANGES_MAX,
           "and what they have deleted stays so");
    if (result == TACTUS_OK) {
        tactus_abandon(store);
    }
    files_remove();
}

int main(void)
{
    tap_plan(0);
    snprintf(path, sizeof path - 5, "%s/range-replay-%d",
             getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp", (int)getpid());
    test_crash(TACTUS_LOG_NONE, "without a log");
    test_crash(TACTUS_LOG_SYNC, "with a log");
    test_replay_with_damage();
    return tap_done();
}
