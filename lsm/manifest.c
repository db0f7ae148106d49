/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <sys/mman.h>

#include "base/mutant.h"
#include "base/units.h"
#include "lsm/manifest_event.h"
#include "lsm/manifest_internal.h"

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
    manifest->bounds_memory = calloc(TAC_RANGES_MAX, TAC_MANIFEST_BOUNDS_BYTES);
    if (manifest->active == NULL || manifest->bounds_memory == NULL) {
        tac_manifest_free(manifest);
        return NULL;
    }
    for (uint32_t i = 0; i < TAC_RANGES_MAX; i++) {
        manifest->bounds[i] = manifest->bounds_memory + (size_t)i * TAC_MANIFEST_BOUNDS_BYTES;
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
    tac_manifest_tree_unprepare(manifest);
    free(manifest->bounds_memory);
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

    return sizeof(struct tac_manifest) + TAC_RANGES_MAX * TAC_MANIFEST_BOUNDS_BYTES +
           tables_max * per_table;
}

/* Of the arrays of a tree, one behind the other at the beginning of its mapping. */
static size_t array_bytes(const struct tac_manifest *manifest)
{
    return manifest->tables_max * sizeof(struct tac_table *);
}

static size_t arrays_bytes(const struct tac_manifest *manifest)
{
    return (size_t)tac_round_up(TREE_ARRAYS * array_bytes(manifest), TAC_CACHE_LINE_BYTES);
}

/* Memory for a tree that is to be added. */
static int spare_map(struct tac_manifest *manifest, uint32_t key_size)
{
    struct tree_memory memory = {.descriptor_bytes = descriptor_bytes(key_size)};

    memory.mapping_bytes = arrays_bytes(manifest) + manifest->tables_max * memory.descriptor_bytes;
    memory.mapping = mmap(NULL, memory.mapping_bytes, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory.mapping == MAP_FAILED) {
        return TACTUS_ENOMEM;
    }
    /* Huge pages would make a tree of ten tables cost megabytes. A hint: it may fail. */
    (void)madvise(memory.mapping, memory.mapping_bytes, MADV_NOHUGEPAGE);
    memory.slab = (uint8_t *)memory.mapping + arrays_bytes(manifest);
    manifest->spare = memory;
    return TACTUS_OK;
}

/* The tree has the memory, in place of that of the one that had the number before. */
static void spare_take(struct tac_manifest *manifest, uint32_t tree)
{
    struct tree_memory        before = manifest->memory[tree];
    uint8_t                  *mapping = manifest->spare.mapping;
    size_t                    bytes = array_bytes(manifest);
    struct tac_manifest_tree *state = &manifest->trees[tree];

    tac_assert(mapping != NULL);
    tac_assert(before.tables_out == 0); /* Those who linger have seen to it. */
    for (uint32_t i = 0; i < TACTUS_LEVELS_MAX; i++) {
        struct tac_manifest_level *level = &state->levels[i];

        level->tables = (struct tac_table **)(void *)(mapping + LEVEL_ARRAYS * i * bytes);
        level->tables_by_max = level->tables + manifest->tables_max;
    }
    state->discards.tables = (struct tac_table **)(void *)(mapping + (TREE_ARRAYS - 1) * bytes);
    state->retained.tables = (struct tac_table **)(void *)(mapping + (TREE_ARRAYS - 2) * bytes);
    manifest->memory[tree] = manifest->spare;
    memset(&manifest->spare, 0, sizeof manifest->spare);
    if (before.mapping != NULL) {
        munmap(before.mapping, before.mapping_bytes);
    }
}

/* ---- trees ---------------------------------------------------------------------------------- */

static bool number_is_free(const struct tac_manifest_tree *tree)
{
    return tree->is_gone && (tree->linger_bars == 0 || TAC_MUTANT(NUMBER_TOO_SOON)) &&
           tree->discards.table_count == 0 && tree->generation < TAC_TREE_GENERATION_MAX;
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

int tac_manifest_tree_prepare(struct tac_manifest *manifest, const char *name, uint32_t key_size,
                              struct tac_error *error)
{
    if (manifest->spare.descriptor_bytes == descriptor_bytes(key_size)) {
        return TACTUS_OK;
    }
    tac_manifest_tree_unprepare(manifest);
    if (spare_map(manifest, key_size) != TACTUS_OK) {
        return tac_error_set(error, TACTUS_ENOMEM,
                             "tree \"%s\": no memory for %u table descriptors", name,
                             manifest->tables_max);
    }
    return TACTUS_OK;
}

void tac_manifest_tree_unprepare(struct tac_manifest *manifest)
{
    if (manifest->spare.mapping != NULL) {
        munmap(manifest->spare.mapping, manifest->spare.mapping_bytes);
    }
    memset(&manifest->spare, 0, sizeof manifest->spare);
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
    if (tac_manifest_tree_prepare(manifest, name, layout->key_size, error) != TACTUS_OK) {
        return error->code;
    }
    spare_take(manifest, id);
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

/* Snapshots may keep a dropped tree until nobody knows any more when the other was created: at an op
 * up to P, and so after a drop up to P alone. */
static bool is_dropped_before(const struct tac_manifest_tree *a, const struct tac_manifest_tree *b,
                              uint64_t op_persisted)
{
    return a->dropped_op != 0 &&
           (b->created_op == 0 ? a->dropped_op <= op_persisted : a->dropped_op < b->created_op);
}

/* Was one of the two dropped before the other was created? */
static bool trees_are_apart(const struct tac_manifest_tree *a, const struct tac_manifest_tree *b,
                            uint64_t op_persisted)
{
    return a->is_gone || b->is_gone || is_dropped_before(a, b, op_persisted) ||
           is_dropped_before(b, a, op_persisted);
}

int tac_manifest_tree_restore(struct tac_manifest *manifest, uint64_t op_persisted,
                              const struct tac_manifest_tree *state, struct tac_error *error)
{
    uint32_t                  id = manifest->tree_count;
    struct tac_manifest_tree *tree = &manifest->trees[id];

    tac_assert(id < TACTUS_TREES_MAX);
    for (uint32_t i = 0; i < id; i++) {
        if (strcmp(manifest->trees[i].name, state->name) == 0 &&
            !trees_are_apart(&manifest->trees[i], state, op_persisted)) {
            return tac_error_set(error, TACTUS_EEXISTS, "two trees are named \"%s\"", state->name);
        }
    }
    if (tac_manifest_tree_prepare(manifest, state->name, state->layout.key_size, error) !=
        TACTUS_OK) {
        return error->code;
    }
    spare_take(manifest, id);
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

void tac_manifest_limbo_sweep(struct tac_manifest *manifest, uint64_t bar_now,
                              tac_table_gone_fn *gone_fn, void *context)
{
    struct tac_table *table = manifest->limbo_first;

    while (table != NULL &&
           bar_now > table->removed_bar + (TAC_MUTANT(LIMBO_SHORT) ? 0 : LIMBO_BARS)) {
        manifest->limbo_first = table->next;
        if (gone_fn != NULL) {
            gone_fn(context, table);
        }
        tac_manifest_table_give_back(manifest, table);
        table = manifest->limbo_first;
    }
    if (table == NULL) {
        manifest->limbo_last = NULL;
    }
}

/* ---- levels --------------------------------------------------------------------------------- */

typedef int table_compare_fn(const struct tac_table *a, const struct tac_table *b);

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

/* What tells that the tree is gone tells that of its ranges, too. */
static void ranges_go(struct tac_manifest *manifest, uint32_t tree)
{
    for (uint32_t i = manifest->range_count; i > 0; i--) {
        if (manifest->ranges[i - 1].tree == tree) {
            tac_manifest_range_remove(manifest, i - 1);
        }
    }
}

/* No snapshot has any of its tables. */
static void tree_go(struct tac_manifest *manifest, struct tac_manifest_tree *tree)
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
    ranges_go(manifest, tree->id);
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
            tree_go(manifest, tree);
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
            tree_go(manifest, tree);
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
