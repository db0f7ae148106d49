/* SPDX-License-Identifier: Apache-2.0 */
#include "lsm/manifest.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "base/mutant.h"
#include "base/units.h"
#include "lsm/manifest_event.h"

/* What belongs to a tree beside its public part: the levels' arrays and the slab of descriptors, in
 * one mapping. Each has room for all tables of the store; the system provides pages as they are
 * touched, and free descriptors are used again last in, first out, so a tree touches what its own
 * tables take. */
struct tree_memory {
    void             *mapping;
    size_t            mapping_bytes;
    uint8_t          *slab;
    size_t            descriptor_bytes; /* Keys included */
    uint32_t          slab_used;
    uint32_t          tables_out; /* Taken and not given back */
    struct tac_table *free;
};

struct tac_manifest {
    uint32_t                 tables_max;
    uint32_t                 tables_out; /* Taken and not given back */
    uint32_t                 tree_count;
    struct tac_manifest_tree trees[TACTUS_TREES_MAX];
    struct tree_memory       memory[TACTUS_TREES_MAX];
    struct tac_table        *limbo_first, *limbo_last; /* In order of removed_bar */
    struct tac_table       **active;                   /* Scratch of the check; tables_max */
};

/* Readers of the state of two bars ago may still be under way when a third one ends. */
#define LIMBO_BARS 2
#define LEVEL_ARRAYS 2
/* And those of the discarded and of the retained tables */
#define TREE_ARRAYS (TACTUS_LEVELS_MAX * LEVEL_ARRAYS + 2)

/* ---- life ----------------------------------------------------------------------------------- */

struct tac_manifest *tac_manifest_new(uint32_t tables_max)
{
    struct tac_manifest *manifest = calloc(1, sizeof *manifest);

    tac_assert(tables_max > 0);
    if (manifest == NULL) {
        return NULL;
    }
    manifest->tables_max = tables_max;
    manifest->active = calloc(tables_max, sizeof *manifest->active);
    if (manifest->active == NULL) {
        free(manifest);
        return NULL;
    }
    return manifest;
}

void tac_manifest_free(struct tac_manifest *manifest)
{
    if (manifest == NULL) {
        return;
    }
    for (uint32_t i = 0; i < manifest->tree_count; i++) {
        munmap(manifest->memory[i].mapping, manifest->memory[i].mapping_bytes);
    }
    free(manifest->active);
    free(manifest);
}

static size_t descriptor_bytes(uint32_t key_size)
{
    return (size_t)tac_round_up(sizeof(struct tac_table) + 2 * (uint64_t)key_size,
                                TAC_CACHE_LINE_BYTES);
}

uint64_t tac_manifest_memory_bytes(uint32_t tables_max)
{
    uint64_t per_table =
        descriptor_bytes(TACTUS_KEY_SIZE_MAX) + (LEVEL_ARRAYS + 3) * sizeof(struct tac_table *);

    return sizeof(struct tac_manifest) + tables_max * per_table;
}

static int tree_memory_map(struct tac_manifest *manifest, uint32_t tree, uint32_t key_size)
{
    struct tree_memory memory = {.descriptor_bytes = descriptor_bytes(key_size)};
    size_t             array_bytes = manifest->tables_max * sizeof(struct tac_table *);
    size_t   arrays_bytes = (size_t)tac_round_up(TREE_ARRAYS * array_bytes, TAC_CACHE_LINE_BYTES);
    uint8_t *mapping;

    memory.mapping_bytes = arrays_bytes + manifest->tables_max * memory.descriptor_bytes;
    mapping = mmap(NULL, memory.mapping_bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapping == MAP_FAILED) {
        return TACTUS_ENOMEM;
    }
    /* Huge pages would make a tree of ten tables cost megabytes. A hint: it may fail. */
    (void)madvise(mapping, memory.mapping_bytes, MADV_NOHUGEPAGE);
    memory.mapping = mapping;
    for (uint32_t i = 0; i < TACTUS_LEVELS_MAX; i++) {
        struct tac_manifest_level *level = &manifest->trees[tree].levels[i];

        level->tables = (struct tac_table **)(void *)(mapping + LEVEL_ARRAYS * i * array_bytes);
        level->tables_by_max = level->tables + manifest->tables_max;
    }
    manifest->trees[tree].discards.tables =
        (struct tac_table **)(void *)(mapping + (TREE_ARRAYS - 1) * array_bytes);
    manifest->trees[tree].retained.tables =
        (struct tac_table **)(void *)(mapping + (TREE_ARRAYS - 2) * array_bytes);
    memory.slab = mapping + arrays_bytes;
    manifest->memory[tree] = memory;
    return TACTUS_OK;
}

/* ---- trees ---------------------------------------------------------------------------------- */

static bool number_is_free(const struct tac_manifest_tree *tree)
{
    return tree->is_gone && tree->linger_bars == 0 && tree->discards.table_count == 0 &&
           tree->generation < TAC_TREE_GENERATION_MAX;
}

/* tree_count if there is none. */
static uint32_t number_find(const struct tac_manifest *manifest)
{
    uint32_t number = 0;

    while (number < manifest->tree_count && !number_is_free(&manifest->trees[number])) {
        number++;
    }
    return number;
}

bool tac_manifest_number_is_free(const struct tac_manifest *manifest)
{
    return number_find(manifest) < TACTUS_TREES_MAX;
}

bool tac_manifest_number_is_coming(const struct tac_manifest *manifest)
{
    for (uint32_t i = 0; i < manifest->tree_count; i++) {
        const struct tac_manifest_tree *tree = &manifest->trees[i];

        if ((tree->is_gone || (tree->dropped_op != 0 && !tree->is_pinned)) &&
            tree->discards.damaged_count == 0 && tree->generation < TAC_TREE_GENERATION_MAX) {
            return true;
        }
    }
    return false;
}

/* Memory for a tree that has this number, in place of that of the one before it. */
static int tree_memory_renew(struct tac_manifest *manifest, uint32_t tree, uint32_t key_size)
{
    struct tree_memory before = manifest->memory[tree];

    tac_assert(before.tables_out == 0); /* Those who linger have seen to it. */
    if (tree_memory_map(manifest, tree, key_size) != TACTUS_OK) {
        return TACTUS_ENOMEM;
    }
    if (before.mapping != NULL) {
        munmap(before.mapping, before.mapping_bytes);
    }
    return TACTUS_OK;
}

int tac_manifest_tree_add(struct tac_manifest *manifest, const char *name,
                          const struct tac_layout *layout, uint32_t *ret_tree,
                          struct tac_error *error)
{
    uint32_t                  id = number_find(manifest);
    struct tac_manifest_tree *tree;
    uint32_t                  existing;

    tac_assert(name[0] != 0 && strlen(name) <= TACTUS_TREE_NAME_MAX);
    tac_assert(layout->key_size > 0 && layout->key_size <= TACTUS_KEY_SIZE_MAX);
    if (tac_manifest_tree_find(manifest, name, &existing) == TACTUS_OK) {
        return tac_error_set(error, TACTUS_EEXISTS, "there is already a tree \"%s\"", name);
    }
    if (id == TACTUS_TREES_MAX) {
        return tac_error_set(error, TACTUS_EFULL,
                             "tree \"%s\": a store holds at most %u trees, dropped ones with "
                             "damaged tables included",
                             name, TACTUS_TREES_MAX);
    }
    tree = &manifest->trees[id];
    if (tree_memory_renew(manifest, id, layout->key_size) != TACTUS_OK) {
        return tac_error_set(error, TACTUS_ENOMEM,
                             "tree \"%s\": no memory for %u table descriptors", name,
                             manifest->tables_max);
    }
    memset(tree->name, 0, sizeof tree->name);
    memcpy(tree->name, name, strlen(name));
    tree->id = id;
    tree->generation += tree->is_gone;
    tree->is_open = true;
    tree->is_gone = false;
    tree->layout = *layout;
    tree->planner = (struct tac_planner_state){.last_level = 1};
    if (id == manifest->tree_count) {
        __atomic_store_n(&manifest->tree_count, id + 1, __ATOMIC_RELEASE);
    }
    *ret_tree = id;
    return TACTUS_OK;
}

void tac_manifest_tree_undo(struct tac_manifest *manifest, uint32_t tree)
{
    struct tac_manifest_tree *state = &manifest->trees[tree];
    struct tree_memory       *memory = &manifest->memory[tree];

    tac_assert(state->planner.bar_count == 0 && memory->tables_out == 0);
    if (state->generation > 0) {
        state->generation--;
        state->is_gone = true;
        state->is_open = false;
        return;
    }
    tac_assert(tree + 1 == manifest->tree_count);
    __atomic_store_n(&manifest->tree_count, tree, __ATOMIC_RELEASE);
    munmap(memory->mapping, memory->mapping_bytes);
    memset(memory, 0, sizeof *memory);
    memset(state, 0, sizeof *state);
}

/* Snapshots may keep a dropped tree until nobody knows any more when the other was created. */
static bool is_dropped_before(const struct tac_manifest_tree *a, const struct tac_manifest_tree *b)
{
    return a->dropped_op != 0 && (b->created_op == 0 || a->dropped_op < b->created_op);
}

/* Was one of the two dropped before the other was created? */
static bool trees_are_apart(const struct tac_manifest_tree *a, const struct tac_manifest_tree *b)
{
    return a->is_gone || b->is_gone || is_dropped_before(a, b) || is_dropped_before(b, a);
}

int tac_manifest_tree_restore(struct tac_manifest *manifest, const struct tac_manifest_tree *state,
                              struct tac_error *error)
{
    uint32_t                  id = manifest->tree_count;
    struct tac_manifest_tree *tree = &manifest->trees[id];

    tac_assert(id < TACTUS_TREES_MAX);
    for (uint32_t i = 0; i < id; i++) {
        if (strcmp(manifest->trees[i].name, state->name) == 0 &&
            !trees_are_apart(&manifest->trees[i], state)) {
            return tac_error_set(error, TACTUS_EEXISTS, "two trees are named \"%s\"", state->name);
        }
    }
    if (tree_memory_renew(manifest, id, state->layout.key_size) != TACTUS_OK) {
        return tac_error_set(error, TACTUS_ENOMEM,
                             "tree \"%s\": no memory for %u table descriptors", state->name,
                             manifest->tables_max);
    }
    memcpy(tree->name, state->name, sizeof tree->name);
    tree->id = id;
    tree->generation = state->generation;
    tree->is_gone = state->is_gone;
    tree->linger_bars = state->linger_bars;
    tree->created_op = state->created_op;
    tree->dropped_op = state->dropped_op;
    tree->layout = state->layout;
    tree->planner = state->planner;
    __atomic_store_n(&manifest->tree_count, id + 1, __ATOMIC_RELEASE);
    return TACTUS_OK;
}

uint32_t tac_manifest_tree_count(const struct tac_manifest *manifest)
{
    return manifest->tree_count;
}

struct tac_manifest_tree *tac_manifest_tree(struct tac_manifest *manifest, uint32_t tree)
{
    /* Any thread asks for trees that it knows of. */
    tac_assert(tree < __atomic_load_n(&manifest->tree_count, __ATOMIC_ACQUIRE));
    return &manifest->trees[tree];
}

int tac_manifest_tree_find(struct tac_manifest *manifest, const char *name, uint32_t *ret_tree)
{
    for (uint32_t i = 0; i < manifest->tree_count; i++) {
        if (manifest->trees[i].is_open && strcmp(manifest->trees[i].name, name) == 0) {
            *ret_tree = i;
            return TACTUS_OK;
        }
    }
    return TACTUS_ENOTREE;
}

/* ---- descriptors ---------------------------------------------------------------------------- */

struct tac_table *tac_manifest_table_take(struct tac_manifest *manifest, uint32_t tree)
{
    struct tree_memory *memory;
    struct tac_table   *table;
    uint32_t            key_size;

    tac_assert(tree < manifest->tree_count);
    memory = &manifest->memory[tree];
    table = memory->free;
    key_size = manifest->trees[tree].layout.key_size;
    if (manifest->tables_out == manifest->tables_max) {
        return NULL;
    }
    if (table != NULL) {
        memory->free = table->next;
    } else {
        tac_assert(memory->slab_used < manifest->tables_max);
        table = (struct tac_table *)(void *)(memory->slab +
                                             memory->slab_used * memory->descriptor_bytes);
        memory->slab_used++;
    }
    manifest->tables_out++;
    memory->tables_out++;
    *table = (struct tac_table){
        .tree = tree,
        .generation = manifest->trees[tree].generation,
        .key_capacity = key_size,
        .key_min.data = (uint8_t *)(table + 1),
        .key_max.data = (uint8_t *)(table + 1) + key_size,
    };
    return table;
}

void tac_manifest_table_give_back(struct tac_manifest *manifest, struct tac_table *table)
{
    struct tree_memory *memory;

    tac_assert(table->tree < manifest->tree_count);
    tac_assert(manifest->tables_out > 0);
    memory = &manifest->memory[table->tree];
    tac_assert(table->key_capacity > 0); /* Else given back twice */
    table->key_capacity = 0;
    table->next = memory->free;
    memory->free = table;
    memory->tables_out--;
    manifest->tables_out--;
}

uint32_t tac_manifest_tables_free(const struct tac_manifest *manifest)
{
    return manifest->tables_max - manifest->tables_out;
}

void tac_table_copy(struct tac_table *copy, const struct tac_table *table)
{
    *copy = (struct tac_table){
        .id = table->id,
        .tree = table->tree,
        .generation = table->generation,
        .level = table->level,
        .stamp = table->stamp,
        .index = table->index,
        .snapshot_min = table->snapshot_min,
        .snapshot_max = table->snapshot_max,
        .value_block_count = table->value_block_count,
        .filter_block_count = table->filter_block_count,
        .bytes = table->bytes,
        .records = table->records,
        .tombstones = table->tombstones,
        .sum = table->sum,
        .is_damaged = table->is_damaged,
        .is_trimmed = table->is_trimmed,
        .is_discarded = table->is_discarded,
        .is_retained = table->is_retained,
        .log_sequence = table->log_sequence,
        .key_capacity = copy->key_capacity,
    };
    tac_table_set_keys(copy, table->key_min, table->key_max);
}

void tac_table_set_keys(struct tac_table *table, struct tac_bytes key_min, struct tac_bytes key_max)
{
    uint8_t *room = (uint8_t *)(table + 1);

    tac_assert(key_min.size > 0 && key_min.size <= table->key_capacity);
    tac_assert(key_max.size > 0 && key_max.size <= table->key_capacity);
    tac_assert(tac_bytes_compare(key_min, key_max) <= 0);
    /* The new keys may be the old ones. */
    memmove(room, key_min.data, key_min.size);
    memmove(room + table->key_capacity, key_max.data, key_max.size);
    table->key_min = (struct tac_bytes){room, key_min.size};
    table->key_max = (struct tac_bytes){room + table->key_capacity, key_max.size};
}

void tac_manifest_limbo_add(struct tac_manifest *manifest, struct tac_table *table, uint64_t bar)
{
    tac_assert(manifest->limbo_last == NULL || manifest->limbo_last->removed_bar <= bar);
    tac_assert(table->key_capacity > 0);
    table->removed_bar = bar;
    table->next = NULL;
    if (manifest->limbo_last == NULL) {
        manifest->limbo_first = table;
    } else {
        manifest->limbo_last->next = table;
    }
    manifest->limbo_last = table;
}

void tac_manifest_limbo_sweep(struct tac_manifest *manifest, uint64_t bar_now)
{
    struct tac_table *table = manifest->limbo_first;

    while (table != NULL &&
           bar_now > table->removed_bar + (TAC_MUTANT(LIMBO_SHORT) ? 0 : LIMBO_BARS)) {
        manifest->limbo_first = table->next;
        tac_manifest_table_give_back(manifest, table);
        table = manifest->limbo_first;
    }
    if (table == NULL) {
        manifest->limbo_last = NULL;
    }
}

/* ---- levels --------------------------------------------------------------------------------- */

typedef int table_compare_fn(const struct tac_table *a, const struct tac_table *b);

/* Ids are given once, so no two tables of a tree are equal in either order. */
static int compare_age(const struct tac_table *a, const struct tac_table *b)
{
    if (a->stamp != b->stamp) {
        return a->stamp < b->stamp ? -1 : 1;
    }
    return (a->id > b->id) - (a->id < b->id);
}

static int compare_by_min(const struct tac_table *a, const struct tac_table *b)
{
    int order = tac_bytes_compare(a->key_min, b->key_min);

    if (order == 0) {
        order = tac_bytes_compare(a->key_max, b->key_max);
    }
    return order != 0 ? order : compare_age(a, b);
}

static int compare_by_max(const struct tac_table *a, const struct tac_table *b)
{
    int order = tac_bytes_compare(a->key_max, b->key_max);

    if (order == 0) {
        order = tac_bytes_compare(a->key_min, b->key_min);
    }
    return order != 0 ? order : compare_age(a, b);
}

static int compare_by_id(const struct tac_table *a, const struct tac_table *b)
{
    return (a->id > b->id) - (a->id < b->id);
}

/* Where the table is, or belongs. */
static uint32_t position_find(struct tac_table *const *tables, uint32_t count,
                              const struct tac_table *table, table_compare_fn *compare)
{
    uint32_t low = 0, high = count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (compare(tables[middle], table) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static void array_insert(struct tac_table **tables, uint32_t count, struct tac_table *table,
                         table_compare_fn *compare)
{
    uint32_t position = position_find(tables, count, table, compare);

    tac_assert(position == count || compare(tables[position], table) > 0);
    memmove(tables + position + 1, tables + position, (count - position) * sizeof *tables);
    tables[position] = table;
}

static void array_remove(struct tac_table **tables, uint32_t count, struct tac_table *table,
                         table_compare_fn *compare)
{
    uint32_t position = position_find(tables, count, table, compare);

    tac_assert(position < count && tables[position] == table);
    memmove(tables + position, tables + position + 1, (count - position - 1) * sizeof *tables);
}

static struct tac_manifest_level *level_of(struct tac_manifest    *manifest,
                                           const struct tac_table *table)
{
    tac_assert(table->tree < manifest->tree_count);
    tac_assert(table->level < TACTUS_LEVELS_MAX);
    return &manifest->trees[table->tree].levels[table->level];
}

static struct tac_manifest_discards *discards_of(struct tac_manifest    *manifest,
                                                 const struct tac_table *table)
{
    tac_assert(table->tree < manifest->tree_count);
    tac_assert(table->is_discarded && table->level == 0);
    return &manifest->trees[table->tree].discards;
}

static uint64_t table_blocks(const struct tac_table *table)
{
    return (uint64_t)table->value_block_count + table->filter_block_count + 1;
}

static void discards_insert(struct tac_manifest_discards *discards, struct tac_table *table)
{
    array_insert(discards->tables, discards->table_count, table, compare_by_id);
    discards->table_count++;
    discards->damaged_count += table->is_damaged;
    discards->blocks += table_blocks(table);
    discards->log_bytes += tac_manifest_event_table_bytes(table);
}

static void discards_remove(struct tac_manifest_discards *discards, struct tac_table *table)
{
    tac_assert(discards->table_count > 0);
    array_remove(discards->tables, discards->table_count, table, compare_by_id);
    discards->table_count--;
    discards->damaged_count -= table->is_damaged;
    discards->blocks -= table_blocks(table);
    discards->log_bytes -= tac_manifest_event_table_bytes(table);
}

static void retained_insert(struct tac_manifest *manifest, struct tac_table *table)
{
    struct tac_manifest_retained *retained = &manifest->trees[table->tree].retained;

    tac_assert(retained->table_count < manifest->tables_max);
    array_insert(retained->tables, retained->table_count, table, compare_by_id);
    retained->table_count++;
    retained->blocks += table_blocks(table);
    retained->log_bytes += tac_manifest_event_table_bytes(table);
}

static void retained_remove(struct tac_manifest *manifest, struct tac_table *table)
{
    struct tac_manifest_retained *retained = &manifest->trees[table->tree].retained;

    tac_assert(retained->table_count > 0);
    array_remove(retained->tables, retained->table_count, table, compare_by_id);
    retained->table_count--;
    retained->blocks -= table_blocks(table);
    retained->log_bytes -= tac_manifest_event_table_bytes(table);
}

void tac_manifest_retain(struct tac_manifest *manifest, struct tac_table *table, uint64_t op)
{
    tac_assert(!table->is_retained && op < UINT64_MAX);
    tac_manifest_remove(manifest, table);
    if (table->snapshot_min > op) {
        table->snapshot_min = op; /* Only a hostile file says so. */
    }
    table->is_retained = true; /* Readers look at neither. */
    table->snapshot_max = op;
    tac_manifest_insert(manifest, table);
}

void tac_manifest_insert(struct tac_manifest *manifest, struct tac_table *table)
{
    struct tac_manifest_level *level;

    tac_assert(table->id > 0 && table->key_capacity > 0);
    tac_assert(tac_bytes_compare(table->key_min, table->key_max) <= 0);
    if (table->is_discarded) {
        discards_insert(discards_of(manifest, table), table);
        return;
    }
    if (table->is_retained) {
        retained_insert(manifest, table);
        return;
    }
    level = level_of(manifest, table);
    tac_assert(level->table_count < manifest->tables_max);
    array_insert(level->tables, level->table_count, table, compare_by_min);
    array_insert(level->tables_by_max, level->table_count, table, compare_by_max);
    level->table_count++;
    level->bytes += table->bytes;
    level->records += table->records;
    level->tombstones += table->tombstones;
    level->log_bytes += tac_manifest_event_table_bytes(table);
}

void tac_manifest_remove(struct tac_manifest *manifest, struct tac_table *table)
{
    struct tac_manifest_level *level;

    if (table->is_discarded) {
        discards_remove(discards_of(manifest, table), table);
        return;
    }
    if (table->is_retained) {
        retained_remove(manifest, table);
        return;
    }
    level = level_of(manifest, table);
    tac_assert(level->table_count > 0);
    array_remove(level->tables, level->table_count, table, compare_by_min);
    array_remove(level->tables_by_max, level->table_count, table, compare_by_max);
    level->table_count--;
    level->bytes -= table->bytes;
    level->records -= table->records;
    level->tombstones -= table->tombstones;
    level->log_bytes -= tac_manifest_event_table_bytes(table);
}

void tac_manifest_discard(struct tac_manifest *manifest, struct tac_table *table)
{
    tac_assert(!table->is_discarded);
    tac_manifest_remove(manifest, table);
    __atomic_store_n(&table->level, 0, __ATOMIC_RELAXED);
    table->is_discarded = true;
    table->is_damaged = table->is_retained = false;
    tac_manifest_insert(manifest, table);
}

uint64_t tac_manifest_discards_left(const struct tac_manifest *manifest)
{
    uint64_t count = 0;

    for (uint32_t i = 0; i < manifest->tree_count; i++) {
        const struct tac_manifest_discards *discards = &manifest->trees[i].discards;

        count += discards->table_count - discards->damaged_count;
    }
    return count;
}

/* ---- dropped trees -------------------------------------------------------------------------- */

void tac_manifest_trees_open(struct tac_manifest *manifest, uint64_t op)
{
    for (uint32_t i = 0; i < manifest->tree_count; i++) {
        struct tac_manifest_tree *tree = &manifest->trees[i];

        tree->is_open = !tree->is_gone && tree->created_op <= op &&
                        (tree->dropped_op == 0 || tree->dropped_op > op);
    }
}

/* Moves tables[at] down the heap to its place: the largest id is on top. */
static void heap_sink(struct tac_table **tables, uint32_t count, uint32_t at)
{
    while (2 * (uint64_t)at + 1 < count) {
        uint32_t          child = 2 * at + 1;
        struct tac_table *swap = tables[at];

        child += child + 1 < count && tables[child + 1]->id > tables[child]->id;
        if (tables[child]->id <= swap->id) {
            return;
        }
        tables[at] = tables[child];
        tables[child] = swap;
        at = child;
    }
}

/* In order of id, in place: a heap sort. */
static void tables_sort(struct tac_table **tables, uint32_t count)
{
    for (uint32_t i = count / 2; i > 0; i--) {
        heap_sink(tables, count, i - 1);
    }
    for (uint32_t end = count; end > 1; end--) {
        struct tac_table *last = tables[0];

        tables[0] = tables[end - 1];
        tables[end - 1] = last;
        heap_sink(tables, end - 1, 0);
    }
}

/* The list is sorted afterwards. */
static void tables_discard(struct tac_table *const *tables, uint32_t count,
                           struct tac_manifest_discards *discards)
{
    for (uint32_t i = 0; i < count; i++) {
        struct tac_table *table = tables[i];

        __atomic_store_n(&table->level, 0, __ATOMIC_RELAXED);
        table->is_discarded = true;
        table->is_damaged = table->is_retained = false;
        discards->tables[discards->table_count++] = table;
        discards->blocks += table_blocks(table);
        discards->log_bytes += tac_manifest_event_table_bytes(table);
    }
}

/* No snapshot has any of its tables. */
static void tree_go(struct tac_manifest_tree *tree)
{
    struct tac_manifest_retained *retained = &tree->retained;

    for (uint32_t i = 0; i < TACTUS_LEVELS_MAX; i++) {
        struct tac_manifest_level *level = &tree->levels[i];

        tables_discard(level->tables, level->table_count, &tree->discards);
        *level = (struct tac_manifest_level){.tables = level->tables,
                                             .tables_by_max = level->tables_by_max};
    }
    tables_discard(retained->tables, retained->table_count, &tree->discards);
    *retained = (struct tac_manifest_retained){.tables = retained->tables};
    tables_sort(tree->discards.tables, tree->discards.table_count);
    tree->is_open = false;
    tree->is_gone = true;
    tree->linger_bars = TAC_TREE_LINGER_BARS;
    tree->created_op = tree->dropped_op = 0;
    tree->planner = (struct tac_planner_state){.last_level = 1};
}

void tac_manifest_trees_forget(struct tac_manifest *manifest, uint64_t op)
{
    for (uint32_t i = 0; i < manifest->tree_count; i++) {
        struct tac_manifest_tree *tree = &manifest->trees[i];

        if (tree->created_op > op) {
            tree_go(tree);
        } else if (tree->dropped_op > op) {
            tree->dropped_op = 0;
        }
    }
    tac_manifest_trees_open(manifest, op);
}

void tac_manifest_trees_settle(struct tac_manifest *manifest, uint64_t op)
{
    for (uint32_t i = 0; i < manifest->tree_count; i++) {
        struct tac_manifest_tree *tree = &manifest->trees[i];

        if (tree->created_op <= op) {
            tree->created_op = 0;
        }
        if (tree->dropped_op != 0 && tree->dropped_op <= op && !tree->is_pinned) {
            tree_go(tree);
        }
        if (tree->linger_bars > 0) {
            tree->linger_bars =
                tree->discards.table_count > 0 ? TAC_TREE_LINGER_BARS : tree->linger_bars - 1;
        }
    }
}

uint32_t tac_manifest_trees_closing(const struct tac_manifest *manifest)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < manifest->tree_count; i++) {
        count += manifest->trees[i].dropped_op != 0 && !manifest->trees[i].is_pinned;
    }
    return count;
}

/* ---- the whole, by level -------------------------------------------------------------------- */

void tac_manifest_level_renumber(struct tac_manifest *manifest, uint32_t tree, uint32_t from,
                                 uint32_t to)
{
    struct tac_manifest_level *levels = manifest->trees[tree].levels;
    struct tac_manifest_level  empty = levels[to];

    tac_assert(from < TACTUS_LEVELS_MAX && to < TACTUS_LEVELS_MAX && empty.table_count == 0);
    levels[to] = levels[from];
    levels[from] = empty;
    for (uint32_t i = 0; i < levels[to].table_count; i++) {
        __atomic_store_n(&levels[to].tables[i]->level, to, __ATOMIC_RELAXED);
    }
}

uint32_t tac_manifest_level_depth(const struct tac_manifest_level *level)
{
    uint32_t ended = 0, depth_max = 0;

    /* Keys in ascending order: when a table begins, those that end below its first key are over. */
    for (uint32_t i = 0; i < level->table_count; i++) {
        while (tac_bytes_compare(level->tables_by_max[ended]->key_max, level->tables[i]->key_min) <
               0) {
            ended++;
        }
        tac_assert(ended <= i);
        depth_max = i + 1 - ended > depth_max ? i + 1 - ended : depth_max;
    }
    return depth_max;
}

/* ---- the whole ------------------------------------------------------------------------------ */

uint64_t tac_manifest_table_count(const struct tac_manifest *manifest)
{
    uint64_t count = 0;

    for (uint32_t i = 0; i < manifest->tree_count; i++) {
        for (uint32_t j = 0; j < TACTUS_LEVELS_MAX; j++) {
            count += manifest->trees[i].levels[j].table_count;
        }
        count += manifest->trees[i].discards.table_count;
        count += manifest->trees[i].retained.table_count;
    }
    return count;
}

struct tac_u128 tac_manifest_checksum(const struct tac_manifest *manifest)
{
    uint8_t       event[TAC_MANIFEST_EVENT_BYTES_MAX];
    XXH3_state_t  state;
    XXH128_hash_t hash;

    XXH3_128bits_reset(&state);
    for (uint32_t i = 0; i < manifest->tree_count; i++) {
        const struct tac_manifest_tree *tree = &manifest->trees[i];

        XXH3_128bits_update(&state, event, tac_manifest_event_encode_tree(event, tree));
        for (uint32_t j = 0; j < TACTUS_LEVELS_MAX; j++) {
            for (uint32_t k = 0; k < tree->levels[j].table_count; k++) {
                XXH3_128bits_update(
                    &state, event,
                    tac_manifest_event_encode_table(event, tree->levels[j].tables[k], false));
            }
        }
        for (uint32_t j = 0; j < tree->discards.table_count; j++) {
            XXH3_128bits_update(
                &state, event,
                tac_manifest_event_encode_table(event, tree->discards.tables[j], false));
        }
        for (uint32_t j = 0; j < tree->retained.table_count; j++) {
            XXH3_128bits_update(
                &state, event,
                tac_manifest_event_encode_table(event, tree->retained.tables[j], false));
        }
    }
    hash = XXH3_128bits_digest(&state);
    return (struct tac_u128){.low = hash.low64, .high = hash.high64};
}

static int table_fault(struct tac_error *error, const struct tac_manifest_tree *tree,
                       const struct tac_table *table, const char *fault)
{
    return tac_error_set(error, TACTUS_ECORRUPT, "manifest: tree \"%s\", level %u, table %llu: %s",
                         tree->name, table->level, (unsigned long long)table->id, fault);
}

static const char *table_check(const struct tac_manifest_tree *tree, uint32_t level,
                               const struct tac_table *table)
{
    bool is_fixed = tree->layout.kind == TACTUS_LAYOUT_FIXED;

    if (table->tree != tree->id || table->generation != tree->generation || table->level != level) {
        return "it is in another tree's or level's list";
    }
    if (table->key_min.size == 0 || table->key_min.size > tree->layout.key_size ||
        table->key_max.size == 0 || table->key_max.size > tree->layout.key_size ||
        (is_fixed && table->key_max.size != tree->layout.key_size) ||
        (is_fixed && !table->is_trimmed && table->key_min.size != tree->layout.key_size)) {
        return "its keys do not fit the layout";
    }
    if (tac_bytes_compare(table->key_min, table->key_max) > 0) {
        return "its first key is above its last one";
    }
    if (table->tombstones > table->records || table->snapshot_min > table->snapshot_max) {
        return "its counts contradict each other";
    }
    return NULL;
}

/* Keeps in `active` the tables that reach `table`; NULL when their stamps differ from its own. */
static const char *stamps_check(struct tac_table **active, uint32_t *active_count,
                                struct tac_table *table)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < *active_count; i++) {
        if (tac_bytes_compare(active[i]->key_max, table->key_min) >= 0) {
            if (active[i]->stamp == table->stamp) {
                return "it overlaps a table of the same stamp";
            }
            active[kept++] = active[i];
        }
    }
    active[kept++] = table;
    *active_count = kept;
    return NULL;
}

static int level_check(const struct tac_manifest *manifest, const struct tac_manifest_tree *tree,
                       uint32_t number, struct tac_error *error)
{
    const struct tac_manifest_level *level = &tree->levels[number];
    struct tac_manifest_level        total = {0};
    uint32_t                         active_count = 0;

    for (uint32_t i = 0; i < level->table_count; i++) {
        struct tac_table *table = level->tables[i];
        const char       *fault = table_check(tree, number, table);

        if (fault == NULL && table->is_discarded) {
            fault = "it is discarded, but in a level";
        }
        if (fault == NULL && table->is_retained) {
            fault = "it is retained, but in a level";
        }
        if (fault == NULL && number > tree->planner.last_level) {
            fault = "it is below the last level";
        }
        if (fault == NULL && i > 0 &&
            (compare_by_min(level->tables[i - 1], table) >= 0 ||
             compare_by_max(level->tables_by_max[i - 1], level->tables_by_max[i]) >= 0)) {
            fault = "it is out of order";
        }
        if (fault == NULL) {
            fault = stamps_check(manifest->active, &active_count, table);
        }
        if (fault == NULL && number == tree->planner.last_level && active_count > 1) {
            fault = "it overlaps another table of the last level";
        }
        if (fault != NULL) {
            return table_fault(error, tree, table, fault);
        }
        total.bytes += table->bytes;
        total.records += table->records;
        total.tombstones += table->tombstones;
        total.log_bytes += tac_manifest_event_table_bytes(table);
    }
    if (total.bytes != level->bytes || total.records != level->records ||
        total.tombstones != level->tombstones || total.log_bytes != level->log_bytes) {
        return tac_error_set(error, TACTUS_ECORRUPT,
                             "manifest: tree \"%s\", level %u: totals are not its tables' sums",
                             tree->name, number);
    }
    return TACTUS_OK;
}

static int discards_check(const struct tac_manifest_tree *tree, struct tac_error *error)
{
    const struct tac_manifest_discards *discards = &tree->discards;
    struct tac_manifest_discards        total = {0};

    for (uint32_t i = 0; i < discards->table_count; i++) {
        const struct tac_table *table = discards->tables[i];
        const char             *fault = table_check(tree, 0, table);

        if (fault == NULL && !table->is_discarded) {
            fault = "it is among the discarded ones, but is none";
        }
        if (fault == NULL && i > 0 && compare_by_id(discards->tables[i - 1], table) >= 0) {
            fault = "it is out of order among the discarded ones";
        }
        if (fault != NULL) {
            return table_fault(error, tree, table, fault);
        }
        total.damaged_count += table->is_damaged;
        total.blocks += table_blocks(table);
        total.log_bytes += tac_manifest_event_table_bytes(table);
    }
    if (total.damaged_count != discards->damaged_count || total.blocks != discards->blocks ||
        total.log_bytes != discards->log_bytes) {
        return tac_error_set(
            error, TACTUS_ECORRUPT,
            "manifest: tree \"%s\": totals of the discarded tables are not their sums", tree->name);
    }
    return TACTUS_OK;
}

/* A tree that is gone has discarded tables alone, and lingers while it has any. */
static int gone_check(const struct tac_manifest_tree *tree, struct tac_error *error)
{
    uint32_t tables = tree->retained.table_count;

    for (uint32_t i = 0; i < TACTUS_LEVELS_MAX; i++) {
        tables += tree->levels[i].table_count;
    }
    if ((tree->is_gone && tables > 0) ||
        (tree->is_gone && tree->discards.table_count > 0 &&
         tree->linger_bars != TAC_TREE_LINGER_BARS) ||
        (!tree->is_gone && tree->linger_bars > 0)) {
        return tac_error_set(
            error, TACTUS_ECORRUPT,
            "manifest: tree \"%s\" was dropped, but has %u tables and %u bars left", tree->name,
            tables + tree->discards.table_count, tree->linger_bars);
    }
    return TACTUS_OK;
}

static int retained_check(const struct tac_manifest_tree *tree, struct tac_error *error)
{
    const struct tac_manifest_retained *retained = &tree->retained;
    struct tac_manifest_retained        total = {0};

    for (uint32_t i = 0; i < retained->table_count; i++) {
        const struct tac_table *table = retained->tables[i];
        const char             *fault = table_check(tree, table->level, table);

        if (fault == NULL && !table->is_retained) {
            fault = "it is among the retained ones, but is none";
        }
        if (fault == NULL && i > 0 && compare_by_id(retained->tables[i - 1], table) >= 0) {
            fault = "it is out of order among the retained ones";
        }
        if (fault != NULL) {
            return table_fault(error, tree, table, fault);
        }
        total.blocks += table_blocks(table);
        total.log_bytes += tac_manifest_event_table_bytes(table);
    }
    if (total.blocks != retained->blocks || total.log_bytes != retained->log_bytes) {
        return tac_error_set(
            error, TACTUS_ECORRUPT,
            "manifest: tree \"%s\": totals of the retained tables are not their sums", tree->name);
    }
    return TACTUS_OK;
}

int tac_manifest_check(const struct tac_manifest *manifest, struct tac_error *error)
{
    uint64_t table_count = tac_manifest_table_count(manifest);
    int      rv = TACTUS_OK;

    tac_assert(table_count <= manifest->tables_out);
    for (uint32_t i = 0; i < manifest->tree_count && rv == TACTUS_OK; i++) {
        const struct tac_manifest_tree *tree = &manifest->trees[i];

        tac_assert(tree->id == i);
        tac_assert(tree->planner.last_level < TACTUS_LEVELS_MAX);
        for (uint32_t j = 0; j < TACTUS_LEVELS_MAX && rv == TACTUS_OK; j++) {
            rv = level_check(manifest, tree, j, error);
        }
        if (rv == TACTUS_OK) {
            rv = discards_check(tree, error);
        }
        if (rv == TACTUS_OK) {
            rv = gone_check(tree, error);
        }
        if (rv == TACTUS_OK) {
            rv = retained_check(tree, error);
        }
    }
    return rv;
}
