/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "base/units.h"
#include "lsm/manifest.h"
#include "lsm/version_search.h"

#define BOUNDS_BYTES (2 * (size_t)TACTUS_KEY_SIZE_MAX)

/* The public part and its arrays; every run holds at least one table, so tables_max bounds both. */
struct version_object {
    struct tac_version      version;
    uint32_t                tables_max;
    uint32_t                tables_used, runs_used;
    struct tac_table      **tables;
    uint64_t               *key_min_prefixes, *key_max_prefixes; /* Of the tables, in order */
    struct tac_version_run *runs;
    uint64_t               *fence_keys;   /* One for each table at most */
    uint32_t               *fence_floors; /* TAC_VERSION_FLOORS for each table at most */
    uint32_t                ranges_used;
    struct tac_range        ranges[TAC_RANGES_MAX];
    uint32_t                edges_used;
    struct tac_range_edge   edges[2 * TAC_RANGES_MAX];
    uint8_t                *bounds; /* Memory of each range, of BOUNDS_BYTES */
    uint64_t               *ended;  /* Scratch: runs of the level whose last table is over */
};

uint64_t tac_version_memory_bytes(uint32_t tables_max)
{
    return sizeof(struct version_object) + TAC_RANGES_MAX * BOUNDS_BYTES +
           tables_max * (sizeof(struct tac_table *) + 3 * sizeof(uint64_t) +
                         TAC_VERSION_FLOORS * sizeof(uint32_t) + sizeof(struct tac_version_run)) +
           tac_div_ceil(tables_max, 64) * 8;
}

struct tac_version *tac_version_new(uint32_t tables_max)
{
    struct version_object *object = calloc(1, sizeof *object);

    tac_assert(tables_max > 0);
    if (object == NULL) {
        return NULL;
    }
    object->tables_max = tables_max;
    object->tables = calloc(tables_max, sizeof *object->tables);
    object->key_min_prefixes = calloc(tables_max, sizeof *object->key_min_prefixes);
    object->key_max_prefixes = calloc(tables_max, sizeof *object->key_max_prefixes);
    object->runs = calloc(tables_max, sizeof *object->runs);
    object->fence_keys = calloc(tables_max, sizeof *object->fence_keys);
    object->fence_floors =
        calloc((size_t)tables_max * TAC_VERSION_FLOORS, sizeof *object->fence_floors);
    object->ended = calloc(tac_div_ceil(tables_max, 64), 8);
    object->bounds = calloc(TAC_RANGES_MAX, BOUNDS_BYTES);
    if (object->tables == NULL || object->key_min_prefixes == NULL ||
        object->key_max_prefixes == NULL || object->runs == NULL || object->fence_keys == NULL ||
        object->fence_floors == NULL || object->ended == NULL || object->bounds == NULL) {
        tac_version_free(&object->version);
        return NULL;
    }
    return &object->version;
}

static struct version_object *object_of(struct tac_version *version)
{
    tac_static_assert(offsetof(struct version_object, version) == 0, "the version is first");
    return (struct version_object *)(void *)version;
}

void tac_version_free(struct tac_version *version)
{
    struct version_object *object = object_of(version);

    if (version == NULL) {
        return;
    }
    free(object->bounds);
    free(object->ended);
    free(object->fence_floors);
    free(object->fence_keys);
    free(object->runs);
    free(object->key_max_prefixes);
    free(object->key_min_prefixes);
    free(object->tables);
    free(object);
}

/* Takes the lowest run that is over; run_count when none is. *word_first: words below have none. */
static uint32_t run_take(uint64_t *ended, uint32_t run_count, uint32_t *word_first)
{
    uint32_t word = *word_first, word_end = (run_count + 63) / 64;

    while (word < word_end && ended[word] == 0) {
        word++;
    }
    *word_first = word;
    if (word == word_end) {
        return run_count;
    }
    uint32_t run = word * 64 + (uint32_t)__builtin_ctzll(ended[word]);

    tac_assert(run < run_count);
    ended[word] &= ended[word] - 1;
    return run;
}

/* Gives each table, in order of key_min, the first run whose last table ends below it. A new run
 * is begun only while all others lie over the key: there are as many as the level is deep. */
static uint32_t runs_assign(struct version_object *object, const struct tac_manifest_level *level)
{
    struct tac_version_run *runs = object->runs + object->runs_used;
    uint32_t                over = 0, run_count = 0, word_first = 0;

    for (uint32_t i = 0; i < level->table_count; i++) {
        struct tac_table *table = level->tables[i];
        struct tac_table *other = level->tables_by_max[over];
        uint32_t          run;

        while (tac_bytes_compare(other->key_max, table->key_min) < 0) {
            object->ended[other->run / 64] |= 1ull << (other->run % 64);
            word_first = other->run / 64 < word_first ? other->run / 64 : word_first;
            other = level->tables_by_max[++over];
        }
        run = run_take(object->ended, run_count, &word_first);
        if (run == run_count) {
            tac_assert(object->runs_used + run_count < object->tables_max);
            if (run_count % 64 == 0) {
                object->ended[run_count / 64] = 0;
            }
            runs[run_count++] = (struct tac_version_run){0};
        }
        table->run = run;
        runs[run].table_count++;
    }
    return run_count;
}

static void level_fill(struct version_object *object, struct tac_version_level *ret_level,
                       const struct tac_manifest_level *level)
{
    struct tac_version_run *runs = object->runs + object->runs_used;
    uint32_t                run_count;

    tac_assert(level->table_count <= object->tables_max - object->tables_used);
    run_count = runs_assign(object, level);
    tac_assert_slow(run_count == tac_manifest_level_depth(level));
    for (uint32_t i = 0; i < run_count; i++) {
        tac_assert(runs[i].table_count > 0);
        runs[i].tables = object->tables + object->tables_used;
        runs[i].key_min_prefixes = object->key_min_prefixes + object->tables_used;
        runs[i].key_max_prefixes = object->key_max_prefixes + object->tables_used;
        object->tables_used += runs[i].table_count;
        runs[i].table_count = 0;
    }
    for (uint32_t i = 0; i < level->table_count; i++) {
        struct tac_table       *table = level->tables[i];
        struct tac_version_run *run = &runs[table->run];

        run->key_min_prefixes[run->table_count] =
            tac_key_prefix(table->key_min.data, table->key_min.size);
        run->key_max_prefixes[run->table_count] =
            tac_key_prefix(table->key_max.data, table->key_max.size);
        run->tables[run->table_count++] = table;
    }
    object->runs_used += run_count;
    *ret_level = (struct tac_version_level){.runs = runs, .run_count = run_count};
}

static void levels_fill(struct version_object *object, struct tac_version_tree *copy,
                        const struct tac_manifest_tree *tree)
{
    uint32_t tables_before = object->tables_used;

    copy->level_count = tree->planner.last_level + 1;
    tac_assert(copy->level_count <= TACTUS_LEVELS_MAX);
    for (uint32_t i = 0; i < TACTUS_LEVELS_MAX; i++) {
        tac_assert(i < copy->level_count || tree->levels[i].table_count == 0);
        level_fill(object, &copy->levels[i], &tree->levels[i]);
    }
    copy->fences.keys = object->fence_keys + tables_before;
    copy->fences.floors = object->fence_floors + (size_t)tables_before * TAC_VERSION_FLOORS;
    tac_version_fences_fill(copy, object->tables_used - tables_before);
}

static void retained_fill(struct version_object *object, struct tac_version_tree *copy,
                          const struct tac_manifest_retained *retained)
{
    tac_assert(object->tables_used + retained->table_count <= object->tables_max);
    copy->retained = object->tables + object->tables_used;
    copy->retained_count = retained->table_count;
    for (uint32_t i = 0; i < retained->table_count; i++) {
        copy->retained[i] = retained->tables[i];
    }
    object->tables_used += retained->table_count;
}

static struct tac_bytes bound_copy(uint8_t *memory, struct tac_bytes bound)
{
    memcpy(memory, bound.data, bound.size);
    return (struct tac_bytes){memory, bound.size};
}

static void ranges_fill(struct version_object *object, struct tac_version_tree *copy,
                        struct tac_manifest *manifest, uint32_t tree)
{
    struct tac_range_edge *edges = object->edges + object->edges_used;

    copy->ranges = object->ranges + object->ranges_used;
    copy->edges = edges;
    copy->range_count = copy->edge_count = 0;
    for (uint32_t i = 0; i < tac_manifest_range_count(manifest); i++) {
        const struct tac_manifest_range *range = tac_manifest_range(manifest, i);
        uint8_t                         *memory;

        if (range->tree != tree) {
            continue;
        }
        memory = object->bounds + object->ranges_used * BOUNDS_BYTES;
        object->ranges[object->ranges_used] = (struct tac_range){
            .op = range->range.op,
            .low = bound_copy(memory, range->range.low),
            .high = bound_copy(memory + TACTUS_KEY_SIZE_MAX, range->range.high),
        };
        copy->edge_count =
            tac_range_edges_add(edges, copy->edge_count, &object->ranges[object->ranges_used++]);
        copy->range_count++;
    }
    object->edges_used += copy->edge_count;
}

/* Is it open, or was it dropped without being gone yet? One that a replay is still to create has no
 * tables, and joins the version when it does. */
static bool tree_has_tables(const struct tac_manifest_tree *tree)
{
    return tree->is_open || (!tree->is_gone && tree->created_op == 0);
}

void tac_version_fill(struct tac_version *version, struct tac_manifest *manifest, uint64_t bar)
{
    struct version_object *object = object_of(version);

    object->tables_used = 0;
    object->runs_used = 0;
    object->ranges_used = object->edges_used = 0;
    version->bar = bar;
    version->tree_count = tac_manifest_tree_count(manifest);
    for (uint32_t i = 0; i < version->tree_count; i++) {
        const struct tac_manifest_tree *tree = tac_manifest_tree(manifest, i);
        struct tac_version_tree        *copy = &version->trees[i];

        if (!tree_has_tables(tree)) {
            *copy = (struct tac_version_tree){.id = TAC_TREE_ID_NONE, .level_count = 1};
            continue;
        }
        copy->id = tree->is_open ? tac_tree_id(tree->id, tree->generation) : TAC_TREE_ID_NONE;
        copy->has_tables = true;
        copy->layout = tree->layout;
        memcpy(copy->name, tree->name, sizeof copy->name);
        levels_fill(object, copy, tree);
        retained_fill(object, copy, &tree->retained);
        ranges_fill(object, copy, manifest, i);
    }
}

const struct tac_version_tree *tac_version_tree_find(const struct tac_version *version, uint32_t id)
{
    uint32_t                       number = tac_tree_number(id);
    const struct tac_version_tree *tree;

    if (number >= __atomic_load_n(&version->tree_count, __ATOMIC_ACQUIRE)) {
        return NULL;
    }
    tree = &version->trees[number];
    return id != TAC_TREE_ID_NONE && __atomic_load_n(&tree->id, __ATOMIC_ACQUIRE) == id ? tree
                                                                                        : NULL;
}
