/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots: they stay as they were under writes, compactions, crashes and reopens, whatever
 * becomes of the tables; what only they have is given back when they are released; damage and
 * misuse are told. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/prng.h"
#include "base/units.h"
#include "lsm/snapshot_directory.h"
#include "pipeline/store.h"
#include "tests/lib/small_world.h"
#include "tests/lib/tap.h"

static struct small_world world;
static uint8_t            versions_made[SMALL_TREES][SMALL_RECORDS_MAX];

/* What a snapshot must hold: the model as of its op. */
struct model {
    uint8_t versions[SMALL_TREES][SMALL_RECORDS_MAX];
};

static struct model model_of(const struct small_world *from)
{
    struct model model;

    memcpy(model.versions, from->versions, sizeof model.versions);
    return model;
}

/* The disk and the model as they were made. */
static void restore(void)
{
    small_restore(&world);
    memcpy(world.versions, versions_made, sizeof world.versions);
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

static void code_expect(int code, const char *what)
{
    if (code != TACTUS_OK) {
        tap_bail("%s: %d %s", what, code, tactus_message());
    }
}

static struct tactus_stats stats_of(struct tactus *store)
{
    struct tactus_stats stats;

    tactus_stat(store, &stats);
    return stats;
}

static struct tactus *reopened(struct tactus *store)
{
    tactus_abandon(store);
    return open_or_bail();
}

/* Another version of every record, and some deletes. */
static void rewrite(struct tactus *store, uint32_t version)
{
    for (uint32_t tree = 0; tree < SMALL_TREES; tree++) {
        for (uint32_t i = 0; i < world.record_counts[tree]; i++) {
            code_expect(small_write(&world, store, tree, i, i % 7 == version % 7 ? 0 : version),
                        "write");
        }
    }
}

/* ---- reading -------------------------------------------------------------------------------- */

static bool record_is_right(struct tactus_snapshot *snapshot, const struct model *model,
                            uint32_t tree, uint32_t number)
{
    uint8_t  key[SMALL_KEY_MAX], expected[SMALL_VALUE_MAX], value[SMALL_VALUE_MAX];
    uint32_t version = model->versions[tree][number];
    size_t   size = 0;
    int      code = tactus_snapshot_get(snapshot, tree, key, small_key(tree, number, key), value,
                                        sizeof value, &size);

    if (version == 0) {
        return code == TACTUS_ENOTFOUND;
    }
    return code == TACTUS_OK && size == small_value(tree, number, version, expected) &&
           memcmp(value, expected, size) == 0;
}

static uint32_t gets_wrong(struct tactus_snapshot *snapshot, const struct model *model)
{
    uint32_t wrong = 0;

    for (uint32_t tree = 0; tree < SMALL_TREES; tree++) {
        for (uint32_t i = 0; i < world.record_counts[tree]; i++) {
            wrong += !record_is_right(snapshot, model, tree, i);
        }
    }
    return wrong;
}

/* The record under the iterator is that of the number. */
static bool iterator_is_right(const struct tactus_iterator *iterator, const struct model *model,
                              uint32_t tree, uint32_t number)
{
    uint8_t     bytes[SMALL_VALUE_MAX];
    const void *key, *value;
    size_t      key_size, value_size;
    uint32_t    size = small_key(tree, number, bytes);

    tactus_iterator_record(iterator, &key, &key_size, &value, &value_size);
    if (key_size != size || memcmp(key, bytes, size) != 0) {
        return false;
    }
    size = small_value(tree, number, model->versions[tree][number], bytes);
    return value_size == size && memcmp(value, bytes, size) == 0;
}

static uint32_t scan_wrong(struct tactus_iterator *iterator, const struct model *model,
                           uint32_t tree, bool is_backward)
{
    uint32_t count = world.record_counts[tree], wrong = 0;
    int      code = is_backward ? tactus_iterator_last(iterator) : tactus_iterator_first(iterator);

    for (uint32_t i = 0; i < count; i++) {
        uint32_t number = is_backward ? count - 1 - i : i;

        if (model->versions[tree][number] == 0) {
            continue;
        }
        wrong += code != TACTUS_OK || !iterator_is_right(iterator, model, tree, number);
        if (code == TACTUS_OK) {
            code =
                is_backward ? tactus_iterator_previous(iterator) : tactus_iterator_next(iterator);
        }
    }
    return wrong + (code != TACTUS_ENOTFOUND);
}

static uint32_t snapshot_wrong(struct tactus *store, const char *name, const struct model *model)
{
    struct tactus_snapshot *snapshot;
    struct tactus_iterator *iterator;
    uint32_t                wrong;

    code_expect(tactus_snapshot_open(store, name, &snapshot), "snapshot open");
    wrong = gets_wrong(snapshot, model);
    for (uint32_t tree = 0; tree < SMALL_TREES; tree++) {
        code_expect(tactus_snapshot_iterator(snapshot, tree, &iterator), "iterator");
        wrong += scan_wrong(iterator, model, tree, false);
        wrong += scan_wrong(iterator, model, tree, true);
        tactus_iterator_close(iterator);
    }
    tactus_snapshot_close(snapshot);
    return wrong;
}

/* ---- what they keep ------------------------------------------------------------------------- */

static void test_keeps(void)
{
    struct tactus      *store = open_or_bail();
    struct model        model;
    struct tactus_stats stats;
    uint64_t            op, before;

    code_expect(small_write(&world, store, 0, 3, 9), "write");
    model = model_of(&world);
    before = tactus_last_op(store);
    code_expect(tactus_snapshot_create(store, "first", &op), "create");
    tap_ok(op == before + 1 && tactus_durable_op(store) >= op,
           "a snapshot is an op, and durable when the call returns");
    tap_ok(snapshot_wrong(store, "first", &model) == 0, "it has what there was");
    rewrite(store, 20);
    code_expect(tactus_compact(store, SMALL_VARIABLE), "compact");
    stats = stats_of(store);
    tap_ok(stats.snapshots == 1 && stats.tables_retained > 0 && stats.retained_bytes > 0,
           "%llu tables are retained for it", (unsigned long long)stats.tables_retained);
    tap_ok(snapshot_wrong(store, "first", &model) == 0,
           "it still has that when all has been written anew and compacted");
    tap_ok(tactus_verify(store, NULL, NULL, NULL) == TACTUS_OK, "and the store is sound");
    store = reopened(store);
    tap_ok(snapshot_wrong(store, "first", &model) == 0 &&
               tactus_verify(store, NULL, NULL, NULL) == TACTUS_OK,
           "so it is after a crash");
    tactus_abandon(store);
    restore();
}

static void test_gives_back(void)
{
    struct tactus      *store = open_or_bail();
    struct tactus_stats stats, after;
    struct model        second;

    code_expect(tactus_snapshot_create(store, "first", NULL), "create");
    rewrite(store, 20);
    code_expect(tactus_snapshot_create(store, "second", NULL), "create");
    second = model_of(&world);
    rewrite(store, 21);
    code_expect(tactus_drain(store), "drain");
    stats = stats_of(store);
    code_expect(tactus_snapshot_release(store, "first"), "release");
    code_expect(tactus_drain(store), "drain");
    after = stats_of(store);
    tap_ok(after.tables_retained > 0 && after.tables_retained < stats.tables_retained,
           "of %llu retained tables the second one has %llu",
           (unsigned long long)stats.tables_retained, (unsigned long long)after.tables_retained);
    tap_ok(after.blocks_acquired < stats.blocks_acquired, "the others are given back");
    tap_ok(snapshot_wrong(store, "second", &second) == 0 &&
               tactus_verify(store, NULL, NULL, NULL) == TACTUS_OK,
           "and it has all that it had");
    store = reopened(store);
    tap_ok(snapshot_wrong(store, "second", &second) == 0, "after a crash too");
    code_expect(tactus_snapshot_release(store, "second"), "release");
    store = reopened(store);
    code_expect(tactus_drain(store), "drain");
    after = stats_of(store);
    tap_ok(after.tables_retained == 0 && after.snapshots == 0 &&
               store->checkpoint.durable.features_incompatible == 0 &&
               tactus_verify(store, NULL, NULL, NULL) == TACTUS_OK,
           "without snapshots nothing is retained, and an older library may open the store");
    tactus_abandon(store);
    restore();
}

static bool image_has(struct tactus *store, const struct tac_snapshot_entry *entry, uint32_t tree,
                      uint64_t id)
{
    struct tac_manifest     *manifest;
    struct tac_manifest_log *log;
    struct tac_error         error;
    bool                     is_found = false;

    if (tac_snapshot_read(store, entry, &manifest, &log, &error) != TACTUS_OK) {
        tap_bail("%s", error.message);
    }
    for (uint32_t l = 0; l < TACTUS_LEVELS_MAX && tree < tac_manifest_tree_count(manifest); l++) {
        const struct tac_manifest_level *level = &tac_manifest_tree(manifest, tree)->levels[l];

        for (uint32_t i = 0; i < level->table_count; i++) {
            is_found = is_found || level->tables[i]->id == id;
        }
    }
    tac_manifest_free(manifest);
    tac_manifest_log_free(log);
    return is_found;
}

/* Retained tables that are in no snapshot's list. */
static uint32_t kept_in_vain(struct tactus *store)
{
    const struct tac_snapshot_directory *directory = &store->snapshots.directory;
    uint32_t                             count = 0;

    for (uint32_t tree = 0; tree < tac_manifest_tree_count(store->manifest); tree++) {
        const struct tac_manifest_retained *retained =
            &tac_manifest_tree(store->manifest, tree)->retained;

        for (uint32_t i = 0; i < retained->table_count; i++) {
            bool is_found = false;

            for (uint32_t j = 0; j < directory->count && !is_found; j++) {
                is_found = image_has(store, &directory->entries[j], tree, retained->tables[i]->id);
            }
            count += !is_found;
        }
    }
    return count;
}

/* Of three snapshots that share tables they are released out of order, so that both numbers decide:
 * a table may be too new for those that are left, or may have been consumed before them. */
static void test_gives_back_exactly(void)
{
    static const char *const names[] = {"b", "c", "a"}; /* In order of release */
    struct tactus           *store = open_or_bail();

    for (uint32_t i = 0; i < 3; i++) {
        char name[2] = {(char)('a' + i), 0};

        code_expect(tactus_snapshot_create(store, name, NULL), "create");
        rewrite(store, 20 + i);
        code_expect(tactus_drain(store), "drain");
    }
    for (uint32_t i = 0; i < 3; i++) {
        uint64_t before = stats_of(store).tables_retained;

        code_expect(tactus_snapshot_release(store, names[i]), "release");
        code_expect(tactus_drain(store), "drain");
        tap_ok(stats_of(store).tables_retained < before && kept_in_vain(store) == 0 &&
                   (stats_of(store).tables_retained > 0) == (i < 2),
               "what only \"%s\" had is given back, to the last table (%llu of %llu)", names[i],
               (unsigned long long)(before - stats_of(store).tables_retained),
               (unsigned long long)before);
        tap_ok(tactus_verify(store, NULL, NULL, NULL) == TACTUS_OK, "so the store says");
    }
    tactus_abandon(store);
    restore();
}

/* A dropped tree is in a snapshot from before as it was; with that it goes. */
static void test_dropped_tree(void)
{
    struct tactus          *store = open_or_bail();
    struct model            model = model_of(&world);
    struct tactus_snapshot *snapshot;
    struct tactus_stats     before, after;
    struct tactus_layout    layout = {TACTUS_LAYOUT_FIXED, 8, 8};
    uint32_t                tree, fixed;

    code_expect(tactus_drain(store), "drain");
    code_expect(tactus_snapshot_create(store, "s", NULL), "create");
    before = stats_of(store);
    code_expect(tactus_tree_drop(store, SMALL_FIXED), "drop");
    code_expect(tactus_tree_create(store, "fixed", &layout, &tree), "create");
    fixed = tree;
    for (uint32_t i = 0; i < 3000; i++) {
        uint64_t key = i;

        code_expect(tactus_put(store, fixed, &key, 8, &key, 8), "put");
    }
    code_expect(tactus_drain(store), "drain");
    tap_ok(snapshot_wrong(store, "s", &model) == 0 &&
               tactus_verify(store, NULL, NULL, NULL) == TACTUS_OK,
           "a tree that was dropped is in a snapshot from before as it was");
    code_expect(tactus_snapshot_create(store, "later", NULL), "create");
    code_expect(tactus_snapshot_open(store, "later", &snapshot), "open");
    tap_ok(tactus_snapshot_get(snapshot, SMALL_FIXED, "12345678", 8, NULL, 0, NULL) ==
                   TACTUS_ENOTREE &&
               tactus_snapshot_get(snapshot, fixed, "\1\0\0\0\0\0\0\0", 8, NULL, 0, NULL) ==
                   TACTUS_OK,
           "in a later one it is not, but the one that has its name now");
    tactus_snapshot_close(snapshot);
    store = reopened(store);
    tap_ok(snapshot_wrong(store, "s", &model) == 0 &&
               tactus_verify(store, NULL, NULL, NULL) == TACTUS_OK &&
               tactus_tree_find(store, "fixed", &tree) == TACTUS_OK && tree == fixed,
           "so it is after a crash");
    code_expect(tactus_tree_drop(store, fixed), "drop");
    code_expect(tactus_snapshot_release(store, "later"), "release");
    code_expect(tactus_snapshot_release(store, "s"), "release");
    code_expect(tactus_drain(store), "drain");
    after = stats_of(store);
    tap_ok(after.tables_discarded + after.tables_retained == 0 &&
               after.blocks_acquired < before.blocks_acquired &&
               tac_manifest_trees_closing(store->manifest) == 0 &&
               tactus_verify(store, NULL, NULL, NULL) == TACTUS_OK,
           "when that is released the tree goes");
    tactus_abandon(store);
    restore();
}

/* An iterator of a snapshot outlives any number of bars, in the middle of its walk. */
static void test_never_expires(void)
{
    struct tactus          *store = open_or_bail();
    struct model            model = model_of(&world);
    struct tactus_snapshot *snapshot;
    struct tactus_iterator *iterator;
    uint32_t                number = 0, wrong = 0, seen = 0;
    uint64_t                bars;
    int                     code;

    code_expect(tactus_snapshot_create(store, "s", NULL), "create");
    code_expect(tactus_snapshot_open(store, "s", &snapshot), "open");
    code_expect(tactus_snapshot_iterator(snapshot, SMALL_VARIABLE, &iterator), "iterator");
    bars = stats_of(store).bars;
    code = tactus_iterator_first(iterator);
    for (; code == TACTUS_OK; code = tactus_iterator_next(iterator)) {
        while (number < world.record_counts[SMALL_VARIABLE] &&
               model.versions[SMALL_VARIABLE][number] == 0) {
            number++;
        }
        wrong += !iterator_is_right(iterator, &model, SMALL_VARIABLE, number++);
        if (++seen % 100 == 0) {
            rewrite(store, 20 + seen / 100 % 8);
        }
    }
    bars = stats_of(store).bars - bars;
    tap_ok(code == TACTUS_ENOTFOUND && wrong == 0 && seen > 100 && bars > 4,
           "an iterator of a snapshot walks on over %llu bars", (unsigned long long)bars);
    tactus_iterator_close(iterator);
    tap_ok(tactus_snapshot_release(store, "s") == TACTUS_EAGAIN, "an open one is not released");
    tactus_snapshot_close(snapshot);
    tap_ok(tactus_snapshot_release(store, "s") == TACTUS_OK, "a closed one is");
    tactus_abandon(store);
    restore();
}

/* ---- use and misuse ------------------------------------------------------------------------- */

static void test_names(void)
{
    struct tactus              *store = open_or_bail();
    struct tactus_snapshot     *snapshot;
    struct tactus_iterator     *iterator;
    struct tactus_snapshot_info infos[2];
    uint64_t                    first, second, op;
    uint32_t                    count, tree;
    struct tactus_layout        layout = {TACTUS_LAYOUT_FIXED, 8, 8};
    char                        name[TACTUS_SNAPSHOT_NAME_MAX + 2];

    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = 0;
    op = tactus_last_op(store);
    tap_ok(tactus_snapshot_create(store, name, NULL) == TACTUS_EINVAL &&
               tactus_snapshot_create(store, "", NULL) == TACTUS_EINVAL &&
               tactus_snapshot_create(store, NULL, NULL) == TACTUS_EINVAL &&
               tactus_snapshot_create(store, "a/b", NULL) == TACTUS_EINVAL,
           "names that cannot be are refused");
    tap_ok(tactus_snapshot_release(store, "none") == TACTUS_ENOTFOUND &&
               tactus_snapshot_open(store, "none", &snapshot) == TACTUS_ENOTFOUND &&
               tactus_last_op(store) == op,
           "so are those that there are not; none of this is an op");
    code_expect(tactus_snapshot_create(store, name + 1, &first), "create");
    code_expect(tactus_snapshot_create(store, "b", &second), "create");
    op = tactus_last_op(store);
    tap_ok(tactus_snapshot_create(store, "b", NULL) == TACTUS_EEXISTS &&
               tactus_last_op(store) == op,
           "a name is given once");
    code_expect(tactus_snapshot_list(store, infos, 1, &count), "list");
    tap_ok(count == 2 && strcmp(infos[0].name, name + 1) == 0 && infos[0].op == first,
           "a list with too little room says how many there are");
    code_expect(tactus_snapshot_list(store, infos, 2, &count), "list");
    tap_ok(count == 2 && strcmp(infos[1].name, "b") == 0 && infos[1].op == second &&
               infos[1].tables > 0 && infos[1].bytes > 0,
           "the list is in order of ops");
    code_expect(tactus_tree_create(store, "later", &layout, &tree), "tree");
    code_expect(tactus_snapshot_open(store, "b", &snapshot), "open");
    tap_ok(tactus_snapshot_get(snapshot, tree, "12345678", 8, NULL, 0, NULL) == TACTUS_ENOTREE &&
               tactus_snapshot_iterator(snapshot, tree, &iterator) == TACTUS_ENOTREE,
           "a snapshot has no tree that came later");
    tap_ok(tactus_snapshot_get(snapshot, SMALL_FIXED, NULL, 0, NULL, 0, NULL) == TACTUS_EKEYSIZE,
           "keys are checked as in gets");
    tactus_snapshot_close(snapshot);
    tactus_snapshot_close(NULL);
    tactus_abandon(store);
    restore();
}

/* As many as snapshots_max allows, then as many as there can be, then none. */
static void test_most(void)
{
    struct tactus              *store = open_or_bail();
    struct tactus_snapshot_info info;
    uint64_t                    op;
    uint32_t                    count;
    char                        name[16];

    for (uint32_t i = 0; i < store->options.snapshots_max; i++) {
        snprintf(name, sizeof name, "%u", i);
        code_expect(tactus_snapshot_create(store, name, NULL), "create");
    }
    op = tactus_last_op(store);
    tap_ok(tactus_snapshot_create(store, "more", NULL) == TACTUS_EOPTION &&
               tactus_last_op(store) == op,
           "there are no more than snapshots_max: %s", tactus_message());
    tactus_abandon(store);
    world.options.snapshots_max = TAC_SNAPSHOTS_MAX;
    store = open_or_bail();
    for (uint32_t i = 8; i < TAC_SNAPSHOTS_MAX; i++) {
        snprintf(name, sizeof name, "%u", i);
        code_expect(tactus_snapshot_create(store, name, NULL), "create");
    }
    store = reopened(store);
    code_expect(tactus_snapshot_list(store, &info, 1, &count), "list");
    tap_ok(count == TAC_SNAPSHOTS_MAX && tactus_verify(store, NULL, NULL, NULL) == TACTUS_OK,
           "as many as there can be come back after a crash");
    tactus_abandon(store);
    world.options.snapshots_max = 0;
    store = open_or_bail();
    tap_ok(tactus_snapshot_create(store, "more", NULL) == TACTUS_EOPTION &&
               tactus_snapshot_release(store, "0") == TACTUS_OK,
           "those that there are stay with a smaller snapshots_max, and can be released");
    world.options.snapshots_max = 8;
    tactus_abandon(store);
    restore();
}

static void test_empty(void)
{
    struct tactus_options   options = world.options;
    struct tactus          *store;
    struct tactus_snapshot *snapshot;

    options.backend = TACTUS_BACKEND_MEMORY;
    code_expect(tactus_open(NULL, &options, &store), "open");
    code_expect(tactus_snapshot_create(store, "empty", NULL), "create");
    code_expect(tactus_snapshot_open(store, "empty", &snapshot), "open");
    tap_ok(tactus_snapshot_get(snapshot, 0, "k", 1, NULL, 0, NULL) == TACTUS_ENOTREE &&
               tactus_verify(store, NULL, NULL, NULL) == TACTUS_OK,
           "a store without trees has snapshots too");
    tactus_snapshot_close(snapshot);
    tap_ok(tactus_snapshot_release(store, "empty") == TACTUS_OK, "which go like others");
    tactus_abandon(store);
}

static void test_paused(void)
{
    struct tactus *store = open_or_bail();

    code_expect(tactus_snapshot_create(store, "s", NULL), "create");
    code_expect(tactus_pause(store), "pause");
    tap_ok(tactus_snapshot_create(store, "t", NULL) == TACTUS_EPAUSED &&
               tactus_snapshot_release(store, "s") == TACTUS_EPAUSED,
           "in a pause none is taken or released");
    tactus_abandon(store);
    restore();
}

/* ---- damage --------------------------------------------------------------------------------- */

static void byte_damage(uint64_t address)
{
    uint64_t       size;
    const uint8_t *data = tac_memory_disk_data(world.disk, &size);
    uint8_t        byte = (uint8_t)~data[address * SMALL_BLOCK_SIZE + 200];

    tac_memory_disk_damage(world.disk, address * SMALL_BLOCK_SIZE + 200, &byte, 1);
}

static void damage_print(void *context, const char *text)
{
    uint32_t *count = context;

    tap_diag("%s", text);
    (*count)++;
}

static void test_damage(void)
{
    struct tactus          *store = open_or_bail();
    struct tactus_snapshot *snapshot;
    struct tac_error        error;
    struct small_reads      reads = {0};
    uint64_t                directory;
    uint32_t                told = 0;

    code_expect(tactus_snapshot_create(store, "s", NULL), "create");
    directory = store->checkpoint.durable.snapshots.address;
    byte_damage(store->snapshots.directory.entries[0].newest.address);
    tap_ok(tactus_snapshot_open(store, "s", &snapshot) == TACTUS_ECORRUPT &&
               strstr(tactus_message(), "\"s\"") != NULL,
           "a damaged list of tables is told: %s", tactus_message());
    tap_ok(tactus_snapshot_release(store, "s") == TACTUS_ECORRUPT, "its blocks are not given back");
    tap_ok(tactus_verify(store, damage_print, &told, NULL) == TACTUS_ECORRUPT && told == 1,
           "tactus_verify finds it");
    store = reopened(store);
    small_read_all(&world, store, &reads);
    tap_ok(reads.right > 0 && reads.wrong + reads.corrupt == 0,
           "the store itself opens, and is read as ever");
    tactus_abandon(store);
    byte_damage(directory);
    tap_ok(small_open(&world, &store, &error) == TACTUS_ECORRUPT &&
               strstr(error.message, "snapshots") != NULL,
           "without the list of snapshots it does not: %s", error.message);
    restore();
}

/* Changes of the directory with right checksums: what is accepted is just what it says. */
static void test_hostile_directory(void)
{
    struct tactus                *store = open_or_bail();
    struct tac_prng               prng = {7};
    struct tac_superblock         superblock;
    struct tac_snapshot_directory directory;
    struct tac_error              error;
    static uint8_t                block[SMALL_BLOCK_SIZE], changed[SMALL_BLOCK_SIZE];
    uint32_t                      accepted = 0, refused = 0, wrong = 0;

    code_expect(tactus_snapshot_create(store, "a", NULL), "create");
    code_expect(tactus_snapshot_create(store, "b", NULL), "create");
    superblock = store->checkpoint.durable;
    tac_snapshot_directory_encode(&store->snapshots.directory, &store->geometry,
                                  superblock.snapshots.address, superblock.sequence, block);
    for (uint32_t i = 0; i < 20000; i++) {
        memcpy(changed, block, sizeof changed);
        for (uint64_t j = tac_prng_below(&prng, 3); j < 3; j++) {
            changed[tac_prng_below(&prng, 64 + 16 + 3 * 160)] = (uint8_t)tac_prng_next(&prng);
        }
        if (tac_snapshot_directory_decode(&directory, &store->geometry, &superblock, changed,
                                          &error) != TACTUS_OK) {
            refused += error.code == TACTUS_ECORRUPT && error.message[0] != 0;
            continue;
        }
        accepted++;
        for (uint32_t j = 0; j < directory.count; j++) {
            wrong += directory.entries[j].op > superblock.op_persisted ||
                     directory.entries[j].name[0] == 0 ||
                     tac_snapshot_directory_find(&directory, directory.entries[j].name) != j;
        }
    }
    tap_ok(wrong == 0 && accepted > 100 && refused + accepted == 20000,
           "a changed directory is refused %u times of 20,000, else believed in what can be",
           refused);
    tactus_abandon(store);
    restore();
}

/* ---- the scrub ------------------------------------------------------------------------------ */

static uint64_t clock_ns;

static uint64_t clock_run(void)
{
    clock_ns += 1000 * (uint64_t)TAC_SECOND_NS;
    return clock_ns;
}

static void rounds_scrub(struct tactus *store, uint64_t count)
{
    uint64_t rounds = stats_of(store).scrub_rounds + count;

    while (stats_of(store).scrub_rounds < rounds) {
        (void)tac_scrub_step(store);
    }
}

/* A tree that was dropped, and is there for a snapshot, with its tables in their levels. */
static void test_scrub_dropped(void)
{
    const struct tac_manifest_tree *tree;
    struct tactus                  *store;
    struct tactus_stats             stats;
    struct tactus_verify_report     report;
    uint64_t                        blocks, address = 0;

    world.options.scrub_days = 1;
    tac_scrub_clock_replace(clock_run);
    store = open_or_bail();
    code_expect(tactus_drain(store), "drain");
    code_expect(tactus_snapshot_create(store, "s", NULL), "create");
    code_expect(tactus_tree_drop(store, SMALL_FIXED), "drop");
    code_expect(tactus_checkpoint(store), "checkpoint");
    rounds_scrub(store, 2);
    blocks = stats_of(store).scrub_blocks;
    rounds_scrub(store, 1);
    code_expect(tactus_verify(store, NULL, NULL, &report), "verify");
    tap_ok(stats_of(store).scrub_damages == 0 &&
               stats_of(store).scrub_blocks - blocks == report.blocks,
           "with a dropped tree of a snapshot a round has %llu blocks, verify has %llu",
           (unsigned long long)(stats_of(store).scrub_blocks - blocks),
           (unsigned long long)report.blocks);
    tree = tac_manifest_tree(store->manifest, SMALL_FIXED);
    for (uint32_t level = 0; level < TACTUS_LEVELS_MAX && address == 0; level++) {
        if (tree->levels[level].table_count > 0) {
            address = tree->levels[level].tables[0]->index.address;
        }
    }
    byte_damage(address);
    rounds_scrub(store, 1);
    stats = stats_of(store);
    tap_ok(address != 0 && stats.scrub_damages == 1 &&
               strstr(stats.scrub_damage, "tree fixed (dropped), table") != NULL,
           "damage of it is found: %s", stats.scrub_damage);
    tactus_abandon(store);
    tac_scrub_clock_replace(NULL);
    world.options.scrub_days = 0;
    restore();
}

/* The scrub reads what only snapshots have, and what they are listed in. */
static void test_scrub(void)
{
    struct tactus          *store;
    const struct tac_table *table;
    struct tactus_stats     stats;

    world.options.scrub_days = 1;
    tac_scrub_clock_replace(clock_run);
    store = open_or_bail();
    code_expect(tactus_snapshot_create(store, "s", NULL), "create");
    rewrite(store, 20);
    code_expect(tactus_drain(store), "drain");
    table = tac_manifest_tree(store->manifest, SMALL_FIXED)->retained.tables[1];
    rounds_scrub(store, 2);
    tap_ok(stats_of(store).scrub_damages == 0, "the scrub finds a store with a snapshot sound");
    byte_damage(table->index.address);
    rounds_scrub(store, 1);
    stats = stats_of(store);
    tap_ok(stats.scrub_damages == 1 && strstr(stats.scrub_damage, "of snapshots") != NULL,
           "it finds damage of a retained table: %s", stats.scrub_damage);
    byte_damage(store->snapshots.directory.entries[0].newest.address);
    rounds_scrub(store, 1);
    stats = stats_of(store);
    tap_ok(stats.scrub_damages == 3 && strstr(stats.scrub_damage, "snapshots:") != NULL,
           "and of a list: %s", stats.scrub_damage);
    tac_scrub_clock_replace(NULL);
    world.options.scrub_days = 0;
    tactus_abandon(store);
    restore();
}

/* ---- main ----------------------------------------------------------------------------------- */

static void all(uint32_t runs_per_level)
{
    tap_diag("runs per level: %u", runs_per_level);
    small_create(&world, runs_per_level);
    memcpy(versions_made, world.versions, sizeof versions_made);
    test_keeps();
    test_gives_back();
    test_gives_back_exactly();
    test_dropped_tree();
    test_never_expires();
    test_names();
    test_most();
    test_empty();
    test_paused();
    test_damage();
    test_hostile_directory();
    test_scrub();
    test_scrub_dropped();
    small_destroy(&world);
}

int main(void)
{
    tap_plan(0);
    all(4);
    all(1);
    return tap_done();
}
