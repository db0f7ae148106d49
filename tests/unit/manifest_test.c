/* SPDX-License-Identifier: Apache-2.0 */
/* The manifest against brute force: order, depth, totals, runs of a version; what the check must
 * find; descriptors and their limits. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/prng.h"
#include "base/units.h"
#include "lsm/manifest.h"
#include "tests/lib/tap.h"

#define TABLES_MAX 6000

static const struct tac_layout layout_fixed = {TACTUS_LAYOUT_FIXED, 8, 120};
static const struct tac_layout layout_variable = {TACTUS_LAYOUT_VARIABLE, 12, 1000};

static uint64_t id_last; /* Of the tables made so far */

static uint32_t tree_add(struct tac_manifest *manifest, const char *name,
                         const struct tac_layout *layout)
{
    uint32_t         tree = 0;
    struct tac_error error = {0};

    if (tac_manifest_tree_add(manifest, name, layout, &tree, &error) != TACTUS_OK) {
        tap_bail("%s", error.message);
    }
    return tree;
}

/* A key of the layout that orders like `number` (below 2^32). */
static struct tac_bytes key_make(uint8_t *buffer, const struct tac_layout *layout, uint64_t number,
                                 struct tac_prng *prng)
{
    uint32_t size = layout->key_size;

    if (layout->kind == TACTUS_LAYOUT_VARIABLE) {
        size = 4 + (uint32_t)tac_prng_below(prng, size - 3);
    }
    memset(buffer, 0, size);
    for (uint32_t i = 0; i < 4; i++) {
        buffer[i] = (uint8_t)(number >> (24 - 8 * i));
    }
    return (struct tac_bytes){buffer, size};
}

static struct tac_table *table_make(struct tac_manifest *manifest, uint32_t tree, uint32_t level,
                                    uint64_t key_min, uint64_t key_max, struct tac_prng *prng)
{
    const struct tac_layout *layout = &tac_manifest_tree(manifest, tree)->layout;
    struct tac_table        *table = tac_manifest_table_take(manifest, tree);
    uint8_t                  min[TACTUS_KEY_SIZE_MAX], max[TACTUS_KEY_SIZE_MAX];
    struct tac_bytes         low, high;

    if (table == NULL) {
        tap_bail("no descriptor left");
    }
    low = key_make(min, layout, key_min, prng);
    high = key_make(max, layout, key_max, prng);
    if (tac_bytes_compare(low, high) > 0) {
        tac_table_set_keys(table, high, low);
    } else {
        tac_table_set_keys(table, low, high);
    }
    table->id = ++id_last;
    table->level = level;
    table->stamp = table->id;
    table->snapshot_max = UINT64_MAX;
    table->index.address = table->id;
    table->index.checksum.low = tac_prng_next(prng);
    table->value_block_count = 64;
    table->records = 1 + tac_prng_below(prng, 1000);
    table->tombstones = tac_prng_below(prng, table->records);
    table->bytes = table->records * 100;
    return table;
}

/* ---- brute force ---------------------------------------------------------------------------- */

static bool tables_overlap(const struct tac_table *a, const struct tac_table *b)
{
    return tac_bytes_compare(a->key_min, b->key_max) <= 0 &&
           tac_bytes_compare(b->key_min, a->key_max) <= 0;
}

/* Depth is reached at some table's first key. */
static uint32_t depth_brute(const struct tac_manifest_level *level)
{
    uint32_t depth_max = 0;

    for (uint32_t i = 0; i < level->table_count; i++) {
        uint32_t depth = 0;

        for (uint32_t j = 0; j < level->table_count; j++) {
            struct tac_bytes key = level->tables[i]->key_min;

            depth += tac_bytes_compare(level->tables[j]->key_min, key) <= 0 &&
                     tac_bytes_compare(key, level->tables[j]->key_max) <= 0;
        }
        depth_max = depth > depth_max ? depth : depth_max;
    }
    return depth_max;
}

static bool level_version_is_right(const struct tac_manifest_level *level,
                                   const struct tac_version_level  *copy)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < copy->run_count; i++) {
        const struct tac_version_run *run = &copy->runs[i];

        count += run->table_count;
        for (uint32_t j = 1; j < run->table_count; j++) {
            if (tac_bytes_compare(run->tables[j - 1]->key_max, run->tables[j]->key_min) >= 0) {
                return false;
            }
        }
        /* First fit: in a later run only if a table of the one before is in the way. */
        for (uint32_t j = 0; j < run->table_count && i > 0; j++) {
            bool is_in_the_way = false;

            for (uint32_t k = 0; k < copy->runs[i - 1].table_count; k++) {
                is_in_the_way =
                    is_in_the_way || tables_overlap(copy->runs[i - 1].tables[k], run->tables[j]);
            }
            if (!is_in_the_way) {
                return false;
            }
        }
    }
    return count == level->table_count && copy->run_count == tac_manifest_level_depth(level);
}

static uint32_t tables_over(const struct tac_manifest_level *level, struct tac_bytes key)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < level->table_count; i++) {
        count += tac_bytes_compare(level->tables[i]->key_min, key) <= 0 &&
                 tac_bytes_compare(key, level->tables[i]->key_max) <= 0;
    }
    return count;
}

/* Found in the runs of each level: all of its tables over the key, and no others. */
static bool finds_are_right(const struct tac_manifest_tree *tree,
                            const struct tac_version_tree *copy, struct tac_prng *prng)
{
    struct tac_table *tables[TABLES_MAX];

    for (uint32_t i = 0; i < 50; i++) {
        uint8_t          buffer[TACTUS_KEY_SIZE_MAX];
        struct tac_bytes key = key_make(buffer, &tree->layout, tac_prng_below(prng, 1100), prng);
        uint32_t         run_count = tac_version_find(copy, key, tables, TABLES_MAX);
        uint32_t         run = 0;

        for (uint32_t level = 0; level < copy->level_count; level++) {
            uint32_t run_end = run + copy->levels[level].run_count, found = 0;

            for (; run < run_end; run++) {
                found += tables[run] != NULL;
                if (tables[run] != NULL && (tac_bytes_compare(tables[run]->key_min, key) > 0 ||
                                            tac_bytes_compare(key, tables[run]->key_max) > 0)) {
                    return false;
                }
            }
            if (found != tables_over(&tree->levels[level], key)) {
                return false;
            }
        }
        if (run != run_count) {
            return false;
        }
    }
    return true;
}

/* ---- random operations ---------------------------------------------------------------------- */

struct truth {
    bool is_sound, has_depth, has_runs, finds;
};

static void manifest_judge(struct tac_manifest *manifest, struct tac_version *version,
                           struct tac_prng *prng, struct truth *truth)
{
    struct tac_error error = {0};

    if (tac_manifest_check(manifest, &error) != TACTUS_OK) {
        tap_diag("%s", error.message);
        truth->is_sound = false;
    }
    tac_version_fill(version, manifest, 5);
    for (uint32_t i = 0; i < tac_manifest_tree_count(manifest); i++) {
        struct tac_manifest_tree *tree = tac_manifest_tree(manifest, i);

        for (uint32_t j = 0; j <= tree->planner.last_level; j++) {
            const struct tac_manifest_level *level = &tree->levels[j];
            const struct tac_version_level  *copy = &version->trees[i].levels[j];

            truth->has_depth =
                truth->has_depth && tac_manifest_level_depth(level) == depth_brute(level);
            truth->has_runs = truth->has_runs && level_version_is_right(level, copy);
        }
        truth->finds = truth->finds && finds_are_right(tree, &version->trees[i], prng);
    }
}

static void test_random(uint64_t seed)
{
    static struct tac_table *tables[400];
    struct tac_prng          prng = {seed};
    struct tac_manifest     *manifest = tac_manifest_new(500);
    struct tac_version      *version = tac_version_new(500);
    uint32_t                 count = 0;
    struct truth             truth = {true, true, true, true};
    uint64_t                 bytes = 0, left = 0;

    tree_add(manifest, "fixed", &layout_fixed);
    tree_add(manifest, "variable", &layout_variable);
    tac_manifest_tree(manifest, 0)->planner.last_level = 3;
    tac_manifest_tree(manifest, 1)->planner.last_level = 4;
    for (uint32_t i = 0; i < 4000; i++) {
        if (count < TAC_ARRAY_COUNT(tables) && tac_prng_below(&prng, 400) >= count) {
            uint64_t key_min = tac_prng_below(&prng, 1000);
            uint64_t span = tac_prng_below(&prng, i % 7 == 0 ? 1000 - key_min : 30);

            tables[count] =
                table_make(manifest, (uint32_t)tac_prng_below(&prng, 2),
                           (uint32_t)tac_prng_below(&prng, 3), key_min, key_min + span, &prng);
            bytes += tables[count]->bytes;
            tac_manifest_insert(manifest, tables[count++]);
        } else {
            uint32_t index = (uint32_t)tac_prng_below(&prng, count);

            bytes -= tables[index]->bytes;
            tac_manifest_remove(manifest, tables[index]);
            tac_manifest_table_give_back(manifest, tables[index]);
            tables[index] = tables[--count];
        }
        if (i % 50 == 0) {
            manifest_judge(manifest, version, &prng, &truth);
        }
    }
    for (uint32_t i = 0; i < 2; i++) {
        for (uint32_t j = 0; j < TACTUS_LEVELS_MAX; j++) {
            left += tac_manifest_tree(manifest, i)->levels[j].bytes;
        }
    }
    tap_ok(truth.is_sound && left == bytes && tac_manifest_table_count(manifest) == count,
           "after random changes the manifest is sound and its totals are right");
    tap_ok(truth.has_depth, "the depth is that of brute force");
    tap_ok(truth.has_runs, "a version's runs are disjoint, first fit, as many as the depth");
    tap_ok(truth.finds, "a key is found in all tables that may hold it");
    tap_ok(version->bar == 5 && version->tree_count == 2 && version->trees[1].level_count == 5 &&
               strcmp(version->trees[0].name, "fixed") == 0 &&
               version->trees[1].layout.key_size == 12,
           "a version tells bar, trees, names, layouts and levels");
    tac_version_free(version);
    tac_manifest_free(manifest);
}

/* ---- trees and descriptors ------------------------------------------------------------------ */

static void test_trees(void)
{
    struct tac_manifest *manifest = tac_manifest_new(10);
    struct tac_error     error = {0};
    uint32_t             tree = 99;
    char                 name[TACTUS_TREE_NAME_MAX + 1];
    bool                 all_added = true;

    tap_ok(tac_manifest_tree_find(manifest, "a", &tree) == TACTUS_ENOTREE && tree == 99,
           "a tree that is not there is not found");
    for (uint32_t i = 0; i < TACTUS_TREES_MAX; i++) {
        memset(name, 'x', sizeof name - 1);
        name[sizeof name - 1] = 0;
        name[0] = (char)('0' + i);
        all_added = all_added && tree_add(manifest, name, &layout_fixed) == i;
    }
    tap_ok(all_added && tac_manifest_tree_count(manifest) == TACTUS_TREES_MAX,
           "64 trees with the longest names");
    tap_ok(tac_manifest_tree_find(manifest, name, &tree) == TACTUS_OK && tree == 63,
           "a tree is found by name");
    tap_ok(tac_manifest_tree(manifest, 5)->planner.last_level == 1, "a new tree's last level is 1");
    tap_ok(tac_manifest_tree_add(manifest, name, &layout_fixed, &tree, &error) == TACTUS_EEXISTS,
           "a name is given once");
    tap_ok(tac_manifest_tree_add(manifest, "one more", &layout_fixed, &tree, &error) ==
               TACTUS_EFULL,
           "a 65th tree is refused");
    tac_manifest_free(manifest);
}

static void test_descriptors(void)
{
    struct tac_prng      prng = {1};
    struct tac_manifest *manifest = tac_manifest_new(4);
    uint32_t             a = tree_add(manifest, "a", &layout_fixed);
    uint32_t             b = tree_add(manifest, "b", &layout_variable);
    struct tac_table    *tables[4];

    for (uint32_t i = 0; i < 4; i++) {
        tables[i] = table_make(manifest, i < 2 ? a : b, 0, i, i, &prng);
    }
    tap_ok(tac_manifest_tables_free(manifest) == 0 && tac_manifest_table_take(manifest, a) == NULL,
           "tables_max is over all trees");
    tac_manifest_limbo_add(manifest, tables[0], 7);
    tac_manifest_limbo_add(manifest, tables[2], 8);
    tac_manifest_limbo_sweep(manifest, 9, NULL, NULL);
    tap_ok(tac_manifest_tables_free(manifest) == 0, "two bars later a removed table may be read");
    tac_manifest_limbo_sweep(manifest, 10, NULL, NULL);
    tap_ok(tac_manifest_tables_free(manifest) == 1, "three bars later its descriptor is free");
    tac_manifest_limbo_add(manifest, tables[1], 10);
    tac_manifest_limbo_sweep(manifest, 100, NULL, NULL);
    tap_ok(tac_manifest_tables_free(manifest) == 3, "the others follow in order");
    tables[0] = tac_manifest_table_take(manifest, b);
    tap_ok(tables[0]->tree == b && tables[0]->id == 0 && tables[0]->key_min.size == 0 &&
               tables[0]->key_capacity == 12,
           "a descriptor taken again is blank");
    tac_table_set_keys(tables[0], (struct tac_bytes){(const uint8_t *)"abc", 3},
                       (struct tac_bytes){(const uint8_t *)"abcdefghijkl", 12});
    tac_table_set_keys(tables[0], tables[0]->key_max, tables[0]->key_max);
    tap_ok(tac_bytes_compare(tables[0]->key_min, tables[0]->key_max) == 0 &&
               tables[0]->key_min.data != tables[0]->key_max.data,
           "keys are copied, from the descriptor itself too");
    tac_manifest_free(manifest);
}

/* ---- what the check finds ------------------------------------------------------------------- */

static bool check_finds(struct tac_manifest *manifest, const char *text)
{
    struct tac_error error = {0};

    if (tac_manifest_check(manifest, &error) != TACTUS_ECORRUPT ||
        strstr(error.message, text) == NULL) {
        tap_diag("expected \"%s\", got \"%s\"", text, error.message);
        return false;
    }
    return true;
}

static void test_check(void)
{
    struct tac_prng           prng = {2};
    struct tac_manifest      *manifest = tac_manifest_new(20);
    uint32_t                  id = tree_add(manifest, "t", &layout_fixed);
    struct tac_manifest_tree *tree = tac_manifest_tree(manifest, id);
    struct tac_table         *low, *high, *other;
    struct tac_error          error = {0};

    low = table_make(manifest, id, 0, 10, 20, &prng);
    high = table_make(manifest, id, 0, 15, 30, &prng);
    tac_manifest_insert(manifest, low);
    tac_manifest_insert(manifest, high);
    tap_ok(tac_manifest_check(manifest, &error) == TACTUS_OK, "a sound manifest is sound");
    high->stamp = low->stamp;
    tap_ok(check_finds(manifest, "same stamp"), "found: overlapping tables of one stamp");
    high->stamp = high->id;
    low->bytes++;
    tap_ok(check_finds(manifest, "totals"), "found: totals that are not the sums");
    low->bytes--;
    low->tombstones = low->records + 1;
    tap_ok(check_finds(manifest, "counts"), "found: more tombstones than records");
    low->tombstones = 0;
    tree->levels[0].tombstones = high->tombstones;
    low->level = 1;
    tap_ok(check_finds(manifest, "list"), "found: a table in another level's list");
    low->level = 0;
    low->key_min.size = 7;
    tap_ok(check_finds(manifest, "layout"), "found: a key that does not fit the layout");
    low->is_trimmed = true;
    tap_ok(tac_manifest_check(manifest, &error) == TACTUS_OK, "an edge may be shorter than a key");
    low->key_min.size = 8;
    low->is_trimmed = false;
    tree->levels[0].tables[0] = high;
    tree->levels[0].tables[1] = low;
    tap_ok(check_finds(manifest, "order"), "found: tables out of order");
    tree->levels[0].tables[0] = low;
    tree->levels[0].tables[1] = high;
    other = table_make(manifest, id, 2, 1, 2, &prng);
    tac_manifest_insert(manifest, other);
    tap_ok(check_finds(manifest, "below the last"), "found: a table below the last level");
    tac_manifest_remove(manifest, other);
    other->level = 1;
    tac_manifest_insert(manifest, other);
    tap_ok(tac_manifest_check(manifest, &error) == TACTUS_OK, "sound again");
    tac_manifest_insert(manifest, table_make(manifest, id, 1, 2, 3, &prng));
    tap_ok(check_finds(manifest, "last level"), "found: an overlap in the last level");
    tac_manifest_free(manifest);
}

/* ---- checksum ------------------------------------------------------------------------------- */

/* Each field that a checkpoint keeps, of a table of tree 0 and of that tree. */
static bool checksum_is_sensitive(struct tac_manifest *manifest, struct tac_table *table)
{
    struct tac_u128 before = tac_manifest_checksum(manifest);
    bool            is_sensitive = true;

#define SENSITIVE(field)                                                                           \
    do {                                                                                           \
        (field)++;                                                                                 \
        is_sensitive = is_sensitive && !tac_u128_equal(before, tac_manifest_checksum(manifest));   \
        (field)--;                                                                                 \
    } while (0)
    SENSITIVE(table->id);
    SENSITIVE(table->stamp);
    SENSITIVE(table->snapshot_min);
    SENSITIVE(table->snapshot_max);
    SENSITIVE(table->index.address);
    SENSITIVE(table->index.checksum.low);
    SENSITIVE(table->index.checksum.high);
    SENSITIVE(table->value_block_count);
    SENSITIVE(table->filter_block_count);
    SENSITIVE(table->bytes);
    SENSITIVE(table->records);
    SENSITIVE(table->tombstones);
    SENSITIVE(table->sum.low);
    SENSITIVE(table->sum.high);
    SENSITIVE(table->key_min.data);
    SENSITIVE(table->key_max.size);
    SENSITIVE(tac_manifest_tree(manifest, 0)->planner.last_level);
    SENSITIVE(tac_manifest_tree(manifest, 0)->planner.flush_mean);
    SENSITIVE(tac_manifest_tree(manifest, 0)->planner.work_mean);
    SENSITIVE(tac_manifest_tree(manifest, 0)->planner.bar_count);
    table->is_damaged = true;
    is_sensitive = is_sensitive && !tac_u128_equal(before, tac_manifest_checksum(manifest));
    table->is_damaged = false;
    table->is_trimmed = true;
    is_sensitive = is_sensitive && !tac_u128_equal(before, tac_manifest_checksum(manifest));
    table->is_trimmed = false;
    return is_sensitive;
}

static void test_checksum(void)
{
    struct tac_prng      prng = {3};
    struct tac_manifest *manifests[2] = {tac_manifest_new(40), tac_manifest_new(40)};
    struct tac_table    *tables[20];
    struct tac_u128      before;
    bool                 is_sensitive;

    for (uint32_t m = 0; m < 2; m++) {
        tree_add(manifests[m], "t", &layout_fixed);
        id_last = 0;
        prng.state = 3;
        for (uint32_t i = 0; i < 20; i++) {
            tables[i] = table_make(manifests[m], 0, i % 2, i * 10, i * 10 + 5, &prng);
        }
        for (uint32_t i = 0; i < 20; i++) {
            tac_manifest_insert(manifests[m], tables[m == 0 ? i : 19 - i]);
        }
    }
    tap_ok(tac_u128_equal(tac_manifest_checksum(manifests[0]), tac_manifest_checksum(manifests[1])),
           "the checksum does not depend on the order of changes");
    before = tac_manifest_checksum(manifests[1]);
    is_sensitive = checksum_is_sensitive(manifests[1], tables[7]);
    tables[7]->log_sequence = 99;
    tap_ok(is_sensitive && tac_u128_equal(before, tac_manifest_checksum(manifests[1])),
           "it takes in every field that a checkpoint keeps, and no other");
    tac_manifest_free(manifests[0]);
    tac_manifest_free(manifests[1]);
}

/* ---- speed ---------------------------------------------------------------------------------- */

static double milliseconds(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

/* 5,000 tables of one tree: three levels of depth 8, and the last one. */
static void test_speed(void)
{
    static struct tac_table *tables[5000];
    struct tac_prng          prng = {4};
    struct tac_manifest     *manifest = tac_manifest_new(TABLES_MAX);
    struct tac_version      *version = tac_version_new(TABLES_MAX);
    struct tac_error         error = {0};
    uint32_t                 depth = 0;
    double                   begun;

    tree_add(manifest, "t", &(struct tac_layout){TACTUS_LAYOUT_FIXED, 16, 112});
    tac_manifest_tree(manifest, 0)->planner.last_level = 3;
    for (uint32_t i = 0; i < 5000; i++) {
        uint32_t level = i % 10 < 4 ? 3 : i % 3;
        uint64_t key_min = level == 3 ? i * 1000ull : tac_prng_below(&prng, 5000000);

        tables[i] =
            table_make(manifest, 0, level, key_min, key_min + (level == 3 ? 900 : 20000), &prng);
    }
    begun = milliseconds();
    for (uint32_t i = 0; i < 5000; i++) {
        tac_manifest_insert(manifest, tables[i]);
    }
    tap_diag("insert: %.0f ns", (milliseconds() - begun) / 5000 * 1e6);
    tac_version_fill(version, manifest, 1);
    for (uint32_t i = 0; i < 3; i++) {
        begun = milliseconds();
        tac_version_fill(version, manifest, 1);
        tap_diag("version_fill, 5,000 tables: %.3f ms", milliseconds() - begun);
    }
    begun = milliseconds();
    tac_manifest_checksum(manifest);
    tap_diag("checksum, 5,000 tables: %.3f ms", milliseconds() - begun);
    begun = milliseconds();
    tap_ok(tac_manifest_check(manifest, &error) == TACTUS_OK, "5,000 tables are sound %s",
           error.message);
    tap_diag("check, 5,000 tables: %.3f ms", milliseconds() - begun);
    begun = milliseconds();
    for (uint32_t i = 0; i < 4; i++) {
        uint32_t level_depth = tac_manifest_level_depth(&tac_manifest_tree(manifest, 0)->levels[i]);

        depth = level_depth > depth ? level_depth : depth;
    }
    tap_diag("depth of 4 levels (%u): %.3f ms", depth, milliseconds() - begun);
    begun = milliseconds();
    for (uint32_t i = 0; i < 5000; i++) {
        tac_manifest_remove(manifest, tables[i]);
    }
    tap_diag("remove: %.0f ns", (milliseconds() - begun) / 5000 * 1e6);
    tac_version_free(version);
    tac_manifest_free(manifest);
}

int main(void)
{
    uint64_t seed;

    tap_plan(0);
    seed = tap_seed();
    test_random(seed);
    test_random(seed + 1);
    test_trees();
    test_descriptors();
    test_check();
    test_checksum();
    test_speed();
    return tap_done();
}
