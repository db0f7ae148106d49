/* SPDX-License-Identifier: Apache-2.0 */
/* What a salvage makes of a store with deleted ranges and snapshots: what ranges have deleted is
 * not taken, and not lost where it cannot be read; snapshots are listed. And what `tactus repair`
 * says of them. Plain damage: tests/unit/damage_test and tests/tool_test.sh. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/units.h"
#include "pipeline/salvage.h"
#include "tests/lib/small_options.h"
#include "tests/lib/small_world.h"
#include "tests/lib/tap.h"

#define TREE SMALL_VARIABLE
#define MANY_RANGES 150

static struct small_world  world;
static struct tac_storage *storage;

static void expect(int code, const char *what)
{
    if (code != TACTUS_OK) {
        tap_bail("%s: %d %s", what, code, tactus_message());
    }
}

static struct tactus *open_or_bail(void)
{
    struct tactus   *store;
    struct tac_error error;

    if (small_open(&world, &store, &error) != TACTUS_OK) {
        tap_bail("%s", error.message);
    }
    return store;
}

static void salvage_open(struct tac_salvage *salvage)
{
    struct tac_error error;

    if (faulty_disk_open(&world.faulty, &storage, &error) != TACTUS_OK ||
        tac_salvage_begin(salvage, storage, &error) != TACTUS_OK ||
        tac_salvage_survey(salvage, &error) != TACTUS_OK) {
        tap_bail("%s", error.message);
    }
}

static void salvage_close(struct tac_salvage *salvage)
{
    tac_salvage_end(salvage);
    storage->ops->close(storage);
}

/* ---- deleted ranges ------------------------------------------------------------------------- */

static const struct tac_table *largest_table(struct tactus *store)
{
    const struct tac_manifest_tree *tree = tac_manifest_tree(store->manifest, TREE);
    const struct tac_table         *largest = NULL;

    for (uint32_t l = 0; l < TACTUS_LEVELS_MAX; l++) {
        for (uint32_t i = 0; i < tree->levels[l].table_count; i++) {
            if (largest == NULL || tree->levels[l].tables[i]->records > largest->records) {
                largest = tree->levels[l].tables[i];
            }
        }
    }
    tac_assert(largest != NULL);
    return largest;
}

/* Deletes the middle of a table, so that no plan discards it, with one range or with many, each of
 * which has few keys, and writes some of that anew; all of it in tables. */
static void ranges_make(uint32_t count_max)
{
    struct tactus          *store = open_or_bail();
    const struct tac_table *table;
    uint8_t                 low[SMALL_KEY_MAX], high[SMALL_KEY_MAX];
    uint32_t                first, end, step;

    expect(tactus_drain(store), "drain");
    table = largest_table(store);
    first = small_number(TREE, table->key_min);
    end = small_number(TREE, table->key_max);
    first += (end - first) / 4;
    end -= (end - first) / 4;
    expect(tactus_compaction_hold(store, true), "hold");
    step = (uint32_t)tac_div_ceil(end - first, count_max);
    for (uint32_t i = first; i < end; i += step) {
        uint32_t next = (uint32_t)tac_min_u64(i + step, end);

        expect(tactus_delete_range(store, TREE, low, small_key(TREE, i, low), high,
                                   small_key(TREE, next, high), NULL),
               "delete range");
    }
    memset(&world.versions[TREE][first], 0, end - first);
    expect(tactus_checkpoint(store), "checkpoint");
    for (uint32_t i = first; i < end; i += 20) {
        expect(small_write(&world, store, TREE, i, 9), "write");
    }
    expect(tactus_checkpoint(store), "checkpoint");
    tactus_abandon(store);
}

enum seen {
    SEEN_NOT,
    SEEN_RIGHT,
    SEEN_OTHER, /* Another version than the model's */
};

static uint8_t seen[SMALL_TREES][SMALL_RECORDS_MAX]; /* enum seen; the newest */

static int record_see(void *context, const struct tac_salvage_record *found,
                      struct tac_error *error)
{
    uint32_t         number = small_number(found->tree, found->record.key);
    uint8_t          version = world.versions[found->tree][number];
    uint8_t          bytes[SMALL_VALUE_MAX];
    struct tac_bytes value = {bytes, small_value(found->tree, number, version, bytes)};
    enum seen        now = SEEN_OTHER;

    (void)context;
    (void)error;
    if (found->record.is_tombstone) {
        now = SEEN_NOT;
    } else if (version != 0 && tac_bytes_compare(value, found->record.value) == 0) {
        now = SEEN_RIGHT;
    }
    seen[found->tree][number] = (uint8_t)now;
    return TACTUS_OK;
}

static bool is_lost(const struct tac_salvage *salvage, uint32_t tree, uint32_t number)
{
    uint8_t          key_bytes[SMALL_KEY_MAX];
    struct tac_bytes key = {key_bytes, small_key(tree, number, key_bytes)};
    bool             is_in = false;

    for (uint64_t i = 0; i < salvage->loss_count; i++) {
        const struct tac_salvage_loss *loss = &salvage->losses[i];

        is_in = is_in || (loss->tree == tree && tac_bytes_compare(loss->from, key) <= 0 &&
                          tac_bytes_compare(key, loss->to) <= 0);
    }
    return is_in;
}

/* Records that are not as the model has them, and not lost; UINT32_MAX: no visit. */
static uint32_t salvage_wrong(struct tac_salvage *salvage)
{
    struct tac_salvage_visitor visitor = {record_see, NULL};
    struct tac_error           error;
    uint32_t                   wrong = 0;

    memset(seen, SEEN_NOT, sizeof seen);
    if (tac_salvage_visit(salvage, &visitor, &error) != TACTUS_OK) {
        return UINT32_MAX;
    }
    for (uint32_t tree = 0; tree < SMALL_TREES; tree++) {
        for (uint32_t i = 0; i < world.record_counts[tree]; i++) {
            enum seen right = world.versions[tree][i] != 0 ? SEEN_RIGHT : SEEN_NOT;

            wrong += seen[tree][i] != right && !is_lost(salvage, tree, i);
        }
    }
    return wrong;
}

/* Records that are in tables, dead ones included. */
static uint64_t records_in_tables(struct tac_salvage *salvage)
{
    uint64_t records = 0;

    for (uint32_t i = 0; i < tac_manifest_tree_count(salvage->manifest); i++) {
        for (uint32_t l = 0; l < TACTUS_LEVELS_MAX; l++) {
            records += tac_manifest_tree(salvage->manifest, i)->levels[l].records;
        }
    }
    return records;
}

/* Is all from a key up to another within one of the ranges? */
static bool one_range_has(struct tac_salvage *salvage, struct tac_bytes from, struct tac_bytes to)
{
    for (uint32_t i = 0; i < tac_manifest_range_count(salvage->manifest); i++) {
        const struct tac_range *range = &tac_manifest_range(salvage->manifest, i)->range;

        if (tac_bytes_compare(range->low, from) <= 0 && tac_bytes_compare(to, range->high) <= 0) {
            return true;
        }
    }
    return false;
}

enum page_kind {
    PAGE_DEAD,          /* One range has deleted all its keys */
    PAGE_DEAD_TOGETHER, /* None has, but all of them together */
    PAGE_LIVE,          /* None has any of them */
};

/* Uses the salvage's memory. Where the table has a page of the kind; 0: nowhere. all: what the ranges
 * have deleted together. */
static uint64_t table_page_find(struct tac_salvage *salvage, const struct tac_table *table,
                                const struct tac_range *all, enum page_kind kind)
{
    struct tac_index_block index;
    struct tac_error       error;

    if (tac_block_fetch(storage, &salvage->geometry, &table->index, TAC_BLOCK_INDEX,
                        salvage->index_data, &error) != TACTUS_OK ||
        tac_index_block_decode(&index, salvage->index_data, &salvage->geometry,
                               table->index.address, &error) != TACTUS_OK) {
        tap_bail("%s", error.message);
    }
    for (uint32_t i = 0; i + 1 < index.page_count; i++) {
        struct tac_bytes from = tac_index_separator(&index, i);
        struct tac_bytes to = tac_index_separator(&index, i + 1);
        bool             is_within =
            tac_bytes_compare(all->low, from) <= 0 && tac_bytes_compare(to, all->high) <= 0;
        bool is_outside =
            tac_bytes_compare(to, all->low) <= 0 || tac_bytes_compare(all->high, from) <= 0;

        if (kind == PAGE_LIVE
                ? is_outside
                : is_within && one_range_has(salvage, from, to) == (kind == PAGE_DEAD)) {
            return tac_index_value_block(&index, tac_index_block_of_page(&index, i))
                           .reference.address *
                       SMALL_BLOCK_SIZE +
                   tac_index_page(&index, i).unit_first * SMALL_PAGE_SIZE;
        }
    }
    return 0;
}

/* The same in any table from before the ranges, which follow each other in order of op and key. */
static uint64_t page_find(struct tac_salvage *salvage, enum page_kind kind)
{
    uint32_t                        last = tac_manifest_range_count(salvage->manifest) - 1;
    struct tac_range                all = tac_manifest_range(salvage->manifest, 0)->range;
    const struct tac_manifest_tree *tree = tac_manifest_tree(salvage->manifest, TREE);
    uint64_t                        offset = 0;

    all.high = tac_manifest_range(salvage->manifest, last)->range.high;
    for (uint32_t l = 0; l < TACTUS_LEVELS_MAX; l++) {
        for (uint32_t i = 0; i < tree->levels[l].table_count && offset == 0; i++) {
            if (all.op > tree->levels[l].tables[i]->snapshot_min) {
                offset = table_page_find(salvage, tree->levels[l].tables[i], &all, kind);
            }
        }
    }
    return offset;
}

static void byte_damage(uint64_t offset)
{
    uint64_t       size;
    const uint8_t *data = tac_memory_disk_data(world.disk, &size);
    uint8_t        byte = (uint8_t)~data[offset];

    tac_assert(offset > 0 && offset < size);
    tac_memory_disk_damage(world.disk, offset, &byte, 1);
}

/* count_max: 1, or so many that a page has keys of several. */
static void test_ranges(uint32_t count_max)
{
    enum page_kind     dead = count_max == 1 ? PAGE_DEAD : PAGE_DEAD_TOGETHER;
    struct tac_salvage salvage;
    uint64_t           dead_page, live_page, records;

    ranges_make(count_max);
    salvage_open(&salvage);
    records = salvage.records;
    tap_ok((tac_manifest_range_count(salvage.manifest) == 1) == (count_max == 1) &&
               salvage.loss_count == 0 && records < records_in_tables(&salvage),
           "%u ranges: %llu of %llu records are alive", tac_manifest_range_count(salvage.manifest),
           (unsigned long long)records, (unsigned long long)records_in_tables(&salvage));
    tap_ok(salvage_wrong(&salvage) == 0, "these are taken, and what came after the range");
    dead_page = page_find(&salvage, dead);
    live_page = page_find(&salvage, PAGE_LIVE);
    tap_ok(dead_page != 0 && live_page != 0, "one of the tables has pages of both");
    salvage_close(&salvage);

    byte_damage(dead_page + 40);
    salvage_open(&salvage);
    tap_ok(salvage.loss_count == 0 && salvage.records == records && salvage_wrong(&salvage) == 0,
           "a page of which all was deleted is no loss (%llu)",
           (unsigned long long)salvage.loss_count);
    salvage_close(&salvage);

    byte_damage(live_page + 40);
    salvage_open(&salvage);
    tap_ok(salvage.loss_count == 1 && salvage.records < records && salvage_wrong(&salvage) == 0,
           "another one beside it is (%llu)", (unsigned long long)salvage.loss_count);
    salvage_close(&salvage);
}

/* ---- snapshots ------------------------------------------------------------------------------ */

static void test_snapshots(void)
{
    struct tactus     *store = open_or_bail();
    struct tac_salvage salvage;
    uint64_t           directory;

    expect(tactus_snapshot_create(store, "one", NULL), "create");
    expect(small_write(&world, store, TREE, 7, 9), "write");
    expect(tactus_snapshot_create(store, "two", NULL), "create");
    directory = store->checkpoint.durable.snapshots.address;
    tactus_abandon(store);
    salvage_open(&salvage);
    tap_ok(salvage.snapshots.count == 2 && strcmp(salvage.snapshots.entries[1].name, "two") == 0 &&
               salvage.snapshots_error.code == TACTUS_OK && salvage_wrong(&salvage) == 0,
           "snapshots are listed");
    salvage_close(&salvage);
    byte_damage(directory * SMALL_BLOCK_SIZE + 60);
    salvage_open(&salvage);
    tap_ok(salvage.snapshots.count == 0 && salvage.snapshots_error.code == TACTUS_ECORRUPT &&
               salvage.loss_count == 0 && salvage_wrong(&salvage) == 0,
           "a store whose list of them cannot be read is salvaged all the same: %s",
           salvage.snapshots_error.message);
    salvage_close(&salvage);
}

/* ---- the command ---------------------------------------------------------------------------- */

/* The last lines of what it prints. */
static int repair_run(const char *from, const char *to, char *ret_output, size_t size)
{
    const char *tool = getenv("TACTUS_TOOL");
    char        command[4096];
    FILE       *pipe;
    size_t      count;

    (void)unlink(to);
    snprintf(command, sizeof command, "'%s' repair '%s' '%s'", tool != NULL ? tool : "tools/tactus",
             from, to);
    pipe = popen(command, "r");
    if (pipe == NULL) {
        tap_bail("%s: cannot be run", command);
    }
    count = fread(ret_output, 1, size - 1, pipe);
    ret_output[count] = 0;
    return pclose(pipe);
}

static void store_make(const char *path, bool has_snapshots)
{
    struct tactus_layout  layout = {TACTUS_LAYOUT_VARIABLE, 16, 16};
    struct tactus_options options;
    struct tactus        *store;
    uint32_t              tree;

    small_options(&options);
    options.direct_io = false;
    (void)unlink(path);
    expect(tactus_create(path, &options), "create");
    expect(tactus_open(path, &options, &store), "open");
    expect(tactus_tree_create(store, "tree", &layout, &tree), "tree");
    expect(tactus_put(store, tree, "a", 1, "1", 1), "put");
    expect(tactus_put(store, tree, "b", 1, "2", 1), "put");
    if (has_snapshots) {
        expect(tactus_snapshot_create(store, "monday", NULL), "snapshot");
        expect(tactus_snapshot_create(store, "tuesday", NULL), "snapshot");
    }
    expect(tactus_delete_range(store, tree, "a", 1, "b", 1, NULL), "delete range");
    expect(tactus_close(store), "close");
}

static void test_command(void)
{
    const char *folder = getenv("TMPDIR");
    char        from[1024], to[1040], output[4096];

    snprintf(from, sizeof from, "%s/salvage_test-%d.tactus", folder != NULL ? folder : "/tmp",
             (int)getpid());
    snprintf(to, sizeof to, "%s.new", from);
    store_make(from, false);
    tap_ok(repair_run(from, to, output, sizeof output) == 0 &&
               strstr(output, "1 records read: nothing is missing\n") != NULL,
           "repair leaves out what a range has deleted, and nothing is missing");
    store_make(from, true);
    tap_ok(repair_run(from, to, output, sizeof output) == 1 << 8 &&
               strstr(output, "snapshots: 2 not in the new store: monday tuesday\n") != NULL &&
               strstr(output, "nothing is missing") == NULL,
           "it says which snapshots are, and its exit status does, too");
    (void)unlink(from);
    (void)unlink(to);
}

static void all(uint32_t runs_per_level)
{
    tap_diag("runs per level: %u", runs_per_level);
    small_create(&world, runs_per_level);
    test_ranges(1);
    small_destroy(&world);
    small_create(&world, runs_per_level);
    test_ranges(MANY_RANGES);
    small_destroy(&world);
    small_create(&world, runs_per_level);
    test_snapshots();
    small_destroy(&world);
}

int main(void)
{
    tap_plan(0);
    all(4);
    all(1);
    test_command();
    return tap_done();
}
