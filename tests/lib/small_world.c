/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/small_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/prng.h"
#include "base/units.h"
#include "tests/lib/tap.h"

#define KEY_BYTES 8     /* Fixed tree */
#define VALUE_BYTES 8   /* Fixed tree */
#define KEYS_BYTES 2    /* Tree of keys */
#define NUMBER_SHIFT 24 /* Of a number in eight bytes, */
#define KEYS_OFFSET 3   /* where these two of them have it */
#define KEYS_STRIDE 701
#define MARGIN 2 /* Records beyond a range that are read with it */

/* ---- records -------------------------------------------------------------------------------- */

const char *small_kind_name(enum small_kind kind)
{
    static const char *const names[SMALL_KINDS] = {
        "superblock", "free set", "manifest log", "index", "filter", "value",
    };

    return names[kind];
}

uint32_t small_key(uint32_t tree, uint32_t number, uint8_t key[SMALL_KEY_MAX])
{
    uint64_t big = __builtin_bswap64((uint64_t)number << NUMBER_SHIFT);

    if (tree == SMALL_KEYS) {
        memcpy(key, (uint8_t *)&big + KEYS_OFFSET, KEYS_BYTES);
        return KEYS_BYTES;
    }
    if (tree == SMALL_FIXED) {
        memcpy(key, &big, KEY_BYTES);
        return KEY_BYTES;
    }
    snprintf((char *)key, SMALL_KEY_MAX, "key %06u%.*s", number, (int)(number % 17),
             "-----------------");
    return 10 + number % 17;
}

uint32_t small_number(uint32_t tree, struct tac_bytes key)
{
    uint64_t big = 0;
    char     digits[7] = {0};

    if (tree != SMALL_VARIABLE) {
        memcpy((uint8_t *)&big + (tree == SMALL_KEYS ? KEYS_OFFSET : 0), key.data, key.size);
        return (uint32_t)(__builtin_bswap64(big) >> NUMBER_SHIFT);
    }
    memcpy(digits, key.data + 4, 6);
    return (uint32_t)atoi(digits);
}

/* Every eighth record of the variable tree needs a page of more than one unit. */
uint32_t small_value(uint32_t tree, uint32_t number, uint32_t version,
                     uint8_t value[SMALL_VALUE_MAX])
{
    struct tac_prng prng = {(uint64_t)tree << 48 | (uint64_t)number << 16 | version};
    uint32_t        size = tree == SMALL_KEYS ? 0 : VALUE_BYTES;

    if (tree == SMALL_VARIABLE) {
        size = (uint32_t)tac_prng_below(&prng, number % 8 == 3 ? 300 : 90);
        size += number % 8 == 3 ? 500 : 0;
    }
    for (uint32_t i = 0; i < size; i++) {
        value[i] = (uint8_t)tac_prng_next(&prng);
    }
    return size;
}

int small_write(struct small_world *world, struct tactus *store, uint32_t tree, uint32_t number,
                uint32_t version)
{
    uint8_t  key[SMALL_KEY_MAX], value[SMALL_VALUE_MAX];
    uint32_t key_size = small_key(tree, number, key);
    uint32_t value_size = small_value(tree, number, version, value);
    int      result;

    tac_assert(number < SMALL_RECORDS_MAX && version <= UINT8_MAX);
    result = version == 0 ? tactus_delete(store, tree, key, key_size)
                          : tactus_put(store, tree, key, key_size, value, value_size);
    if (result == TACTUS_OK) {
        world->versions[tree][number] = (uint8_t)version;
    }
    return result;
}

/* ---- building ------------------------------------------------------------------------------- */

int small_open(struct small_world *world, struct tactus **ret_store, struct tac_error *error)
{
    struct tac_storage *storage;
    int                 result = faulty_disk_open(&world->faulty, &storage, error);

    if (result == TACTUS_OK) {
        result = tac_store_open(storage, &world->options, NULL, world->log_place, ret_store, error);
        if (result != TACTUS_OK) {
            storage->ops->close(storage);
        }
    }
    return result;
}

static void options_fill(struct tactus_options *options, uint32_t runs_per_level)
{
    tactus_options_init(options);
    options->block_size = SMALL_BLOCK_SIZE;
    options->page_size = SMALL_PAGE_SIZE;
    options->memtable_size = 8 * SMALL_BLOCK_SIZE;
    options->table_size = 4 * SMALL_BLOCK_SIZE;
    options->slice_size = 8 * SMALL_BLOCK_SIZE;
    options->file_size_max = 16 * TAC_MIB;
    options->beats_per_bar = 16;
    options->checkpoint_interval_bars = 1;
    options->runs_per_level = runs_per_level;
    options->last_ratio = 1;
    options->filter_bits_per_key = 20;
    options->tables_max = 1024;
    options->uuid[0] = 1;
    options->threads_read = options->threads_merge = options->threads_write = 0;
    options->page_cache_size = options->index_cache_size = 0; /* Every read is of the disk */
}

static void small_make(struct small_world *world)
{
    struct tac_storage *storage;
    struct tac_error    error;

    if (tac_storage_open_memory(world->disk, &storage, &error) != TACTUS_OK ||
        tac_store_create(storage, &world->options, &error) != TACTUS_OK) {
        tap_bail("%s", error.message);
    }
    storage->ops->close(storage);
}

static void older_keep(struct small_world *world)
{
    uint64_t       size;
    const uint8_t *data = tac_memory_disk_data(world->disk, &size);
    uint8_t       *copy = malloc(size);

    tac_assert(copy != NULL && world->older_count < SMALL_OLDER_MAX);
    memcpy(copy, data, size);
    world->older[world->older_count] = copy;
    world->older_size[world->older_count++] = size;
}

static void fill_step(struct small_world *world, struct tactus *store, uint32_t tree,
                      uint32_t number, uint32_t version)
{
    if (small_write(world, store, tree, number, version) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
}

/* Rounds of scattered puts and deletes, each drained, and one that is not. Most of them leave the
 * tree of keys alone, so that its one large table stays. */
static void small_fill(struct small_world *world, struct tactus *store)
{
    struct tac_prng prng = {1};
    uint32_t        rounds = 6;

    for (uint32_t round = 1; round <= rounds; round++) {
        for (uint32_t tree = 0; tree < SMALL_TREES; tree++) {
            uint32_t count = world->record_counts[tree] / (round == 1 ? 1 : 8);

            if (tree == SMALL_KEYS && round > 1 && round < rounds) {
                continue;
            }

            for (uint32_t i = 0; i < count; i++) {
                uint32_t number = i;
                bool     is_delete = tac_prng_below(&prng, 5) == 0;

                if (round > 1) {
                    number = (uint32_t)tac_prng_below(&prng, world->record_counts[tree]);
                } else if (tree == SMALL_KEYS) {
                    number = i * KEYS_STRIDE % world->record_counts[tree]; /* Else tables move */
                }
                if (number % 10 != 9) { /* Those never are */
                    fill_step(world, store, tree, number, is_delete ? 0 : round);
                }
            }
        }
        if (round == 1 && tactus_compact(store, SMALL_KEYS) != TACTUS_OK) {
            tap_bail("%s", tactus_message());
        }
        if ((round < rounds ? tactus_drain(store) : tactus_checkpoint(store)) != TACTUS_OK) {
            tap_bail("%s", tactus_message());
        }
        older_keep(world);
    }
}

/* ---- what there is -------------------------------------------------------------------------- */

static struct small_block *block_add(struct small_world *world, enum small_kind kind,
                                     uint64_t address)
{
    struct small_block *block = &world->blocks[world->block_count++];

    tac_assert(world->block_count <= SMALL_BLOCKS_MAX);
    *block = (struct small_block){.kind = kind, .address = address, .range = {1, 0}};
    for (uint32_t unit = 0; unit < TAC_ARRAY_COUNT(block->pages); unit++) {
        block->pages[unit] = (struct small_range){1, 0};
    }
    return block;
}

static void value_block_list(struct small_block *block, struct tactus *store,
                             const struct tac_layout          *layout,
                             const struct tac_block_reference *reference)
{
    static uint8_t         data[SMALL_BLOCK_SIZE] __attribute__((aligned(4096)));
    struct tac_value_block value;
    struct tac_error       error;

    if (tac_store_read_block(store, reference, TAC_BLOCK_VALUE, data, &error) != TACTUS_OK ||
        tac_value_block_decode(&value, data, &store->geometry, layout, reference->address,
                               &error) != TACTUS_OK) {
        tap_bail("%s", error.message);
    }
    for (uint32_t i = 0; i < value.page_count; i++) {
        struct tac_page_entry entry = tac_value_block_page(&value, i);
        struct tac_page       page = {
                  .data = data + entry.unit_first * SMALL_PAGE_SIZE,
                  .layout = layout,
                  .size_bytes = entry.unit_count * SMALL_PAGE_SIZE,
                  .record_count = entry.record_count,
                  .flags = entry.flags,
        };
        struct small_range range = {
            small_number(block->tree, tac_page_record(&page, 0).key),
            small_number(block->tree, tac_page_record(&page, page.record_count - 1).key),
        };

        for (uint32_t unit = 0; unit < entry.unit_count; unit++) {
            block->pages[entry.unit_first + unit] = range;
        }
        block->range.first = i == 0 ? range.first : block->range.first;
        block->range.last = range.last;
    }
    block->pages[0] = block->range;
}

static void table_list(struct small_world *world, struct tactus *store,
                       const struct tac_table *table, const struct tac_layout *layout)
{
    static uint8_t         data[SMALL_BLOCK_SIZE] __attribute__((aligned(4096)));
    struct tac_index_block index;
    struct tac_error       error;
    uint32_t               first = world->block_count;
    struct small_range     range = {small_number(table->tree, table->key_min),
                                    small_number(table->tree, table->key_max)};

    if (tac_store_read_block(store, &table->index, TAC_BLOCK_INDEX, data, &error) != TACTUS_OK ||
        tac_index_block_decode(&index, data, &store->geometry, table->index.address, &error) !=
            TACTUS_OK) {
        tap_bail("%s", error.message);
    }
    block_add(world, SMALL_INDEX_BLOCK, table->index.address)->range = range;
    for (uint32_t i = 0; i < index.filter_block_count; i++) {
        block_add(world, SMALL_FILTER_BLOCK, tac_index_filter_block(&index, i).address)->range =
            range;
    }
    for (uint32_t i = 0; i < index.value_block_count; i++) {
        struct tac_block_reference reference = tac_index_value_block(&index, i).reference;
        struct small_block        *block = block_add(world, SMALL_VALUE_BLOCK, reference.address);

        block->tree = table->tree;
        value_block_list(block, store, layout, &reference);
    }
    for (uint32_t i = first; i < world->block_count; i++) {
        world->blocks[i].tree = table->tree;
        world->blocks[i].level = table->level;
        world->blocks[i].table = table->id;
    }
}

static void small_list(struct small_world *world, struct tactus *store)
{
    const struct tac_superblock *superblock = &store->checkpoint.durable;

    for (uint32_t i = 0; i < TAC_SUPERBLOCK_COPIES; i++) {
        block_add(world, SMALL_SUPERBLOCK, (uint64_t)i * TAC_SUPERBLOCK_STRIDE_BLOCKS);
    }
    for (uint32_t i = 0; i < superblock->free_set_block_count; i++) {
        block_add(world, SMALL_FREE_SET_BLOCK, superblock->free_set[i].address);
    }
    for (uint64_t i = 0; i < tac_manifest_log_block_count(store->manifest_log); i++) {
        block_add(world, SMALL_MANIFEST_BLOCK,
                  tac_manifest_log_block(store->manifest_log, i).address);
    }
    for (uint32_t t = 0; t < tac_manifest_tree_count(store->manifest); t++) {
        struct tac_manifest_tree *tree = tac_manifest_tree(store->manifest, t);
        uint32_t                  levels = 0;

        for (uint32_t l = 0; l < TACTUS_LEVELS_MAX; l++) {
            levels += tree->levels[l].table_count > 0;
            for (uint32_t i = 0; i < tree->levels[l].table_count; i++) {
                table_list(world, store, tree->levels[l].tables[i], &tree->layout);
            }
        }
        world->levels = (uint32_t)tac_max_u64(world->levels, levels);
    }
}

void small_create(struct small_world *world, uint32_t runs_per_level)
{
    static const struct tactus_layout layouts[SMALL_TREES] = {
        {TACTUS_LAYOUT_FIXED, KEY_BYTES, VALUE_BYTES},
        {TACTUS_LAYOUT_VARIABLE, SMALL_KEY_MAX, SMALL_VALUE_MAX},
        {TACTUS_LAYOUT_FIXED, KEYS_BYTES, 0},
    };
    static const char *const names[SMALL_TREES] = {"fixed", "variable", "keys"};
    struct tactus           *store;
    struct tac_error         error;
    const uint8_t           *data;

    memset(world, 0, sizeof *world);
    world->record_counts[SMALL_FIXED] = 1100;
    world->record_counts[SMALL_VARIABLE] = 150;
    world->record_counts[SMALL_KEYS] = 2200;
    world->disk = tac_memory_disk_new(0);
    tac_assert(world->disk != NULL);
    world->faulty.memory = world->disk;
    options_fill(&world->options, runs_per_level);
    small_make(world);
    if (small_open(world, &store, &error) != TACTUS_OK) {
        tap_bail("%s", error.message);
    }
    for (uint32_t tree = 0; tree < SMALL_TREES; tree++) {
        if (tactus_tree_create(store, names[tree], &layouts[tree], NULL) != TACTUS_OK) {
            tap_bail("%s", tactus_message());
        }
    }
    small_fill(world, store);
    tactus_abandon(store);
    if (small_open(world, &store, &error) != TACTUS_OK) {
        tap_bail("%s", error.message);
    }
    small_list(world, store);
    tactus_abandon(store);
    data = tac_memory_disk_data(world->disk, &world->image_size);
    world->image = malloc(world->image_size);
    tac_assert(world->image != NULL);
    memcpy(world->image, data, world->image_size);
}

void small_destroy(struct small_world *world)
{
    for (uint32_t i = 0; i < world->older_count; i++) {
        free(world->older[i]);
    }
    free(world->image);
    tac_memory_disk_free(world->disk);
}

void small_restore(struct small_world *world)
{
    tac_memory_disk_damage(world->disk, 0, world->image, world->image_size);
}

bool small_is_as_made(const struct small_world *world)
{
    uint64_t       size;
    const uint8_t *data = tac_memory_disk_data(world->disk, &size);

    return size == world->image_size && memcmp(data, world->image, size) == 0;
}

/* ---- reading -------------------------------------------------------------------------------- */

/* A little wider, within the tree's numbers. */
static struct small_range range_widen(const struct small_world *world, uint32_t tree,
                                      struct small_range range)
{
    tac_assert(range.first <= range.last);
    return (struct small_range){
        .first = range.first < MARGIN ? 0 : range.first - MARGIN,
        .last = (uint32_t)tac_min_u64(range.last + MARGIN, world->record_counts[tree] - 1),
    };
}

static void get_one(const struct small_world *world, struct tactus *store, uint32_t tree,
                    uint32_t number, struct small_reads *reads)
{
    uint8_t  key[SMALL_KEY_MAX], value[SMALL_VALUE_MAX], found[SMALL_VALUE_MAX];
    uint32_t version = world->versions[tree][number];
    uint32_t key_size = small_key(tree, number, key);
    uint32_t value_size = small_value(tree, number, version, value);
    size_t   found_size = 0;
    int      code = tactus_get(store, tree, key, key_size, found, sizeof found, &found_size);

    if (code == TACTUS_ECORRUPT) {
        reads->corrupt++;
    } else if (version == 0 ? code == TACTUS_ENOTFOUND
                            : code == TACTUS_OK && found_size == value_size &&
                                  memcmp(found, value, value_size) == 0) {
        reads->right++;
    } else {
        tap_diag("get of record %u of tree %u, version %u: code %d", number, tree, version, code);
        reads->wrong++;
    }
}

void small_get_range(const struct small_world *world, struct tactus *store, uint32_t tree,
                     struct small_range range, struct small_reads *reads)
{
    range = range_widen(world, tree, range);
    for (uint32_t number = range.first; number <= range.last; number++) {
        get_one(world, store, tree, number, reads);
    }
}

/* The record under the iterator is that of the model. */
static bool scan_record_is_right(const struct small_world *world, struct tactus_iterator *iterator,
                                 uint32_t tree, uint32_t number)
{
    uint8_t     key[SMALL_KEY_MAX], value[SMALL_VALUE_MAX];
    uint32_t    key_size = small_key(tree, number, key);
    uint32_t    value_size = small_value(tree, number, world->versions[tree][number], value);
    const void *found_key, *found_value;
    size_t      found_key_size, found_value_size;

    tactus_iterator_record(iterator, &found_key, &found_key_size, &found_value, &found_value_size);
    return found_key_size == key_size && memcmp(found_key, key, key_size) == 0 &&
           found_value_size == value_size &&
           (value_size == 0 || memcmp(found_value, value, value_size) == 0);
}

/* One direction. Numbers run from `number` by `step`, until `last` has been passed or damage is
 * met; what the model does not have, the iterator must not have, either. */
static void scan_one_way(const struct small_world *world, struct tactus_iterator *iterator,
                         uint32_t tree, struct small_range range, bool is_backward,
                         struct small_reads *reads)
{
    uint8_t  key[SMALL_KEY_MAX];
    int64_t  number = is_backward ? range.last : range.first;
    int64_t  last = is_backward ? range.first : range.last;
    int64_t  step = is_backward ? -1 : 1;
    uint32_t key_size = small_key(tree, (uint32_t)number, key);
    int      code = is_backward ? tactus_iterator_seek_back(iterator, key, key_size)
                                : tactus_iterator_seek(iterator, key, key_size);

    for (; number != last + step; number += step) {
        if (world->versions[tree][number] == 0) {
            continue;
        }
        if (code == TACTUS_ECORRUPT) {
            reads->corrupt++;
            return;
        }
        if (code != TACTUS_OK || !scan_record_is_right(world, iterator, tree, (uint32_t)number)) {
            tap_diag("scan at record %u of tree %u, step %d: code %d", (unsigned)number, tree,
                     (int)step, code);
            reads->wrong++;
            return;
        }
        reads->right++;
        code = is_backward ? tactus_iterator_previous(iterator) : tactus_iterator_next(iterator);
    }
    /* At the tree's end there must be nothing more. */
    if (code == TACTUS_OK ? number == -1 || number == world->record_counts[tree]
                          : code != TACTUS_ENOTFOUND && code != TACTUS_ECORRUPT) {
        tap_diag("scan at the end of tree %u, step %d: code %d", tree, (int)step, code);
        reads->wrong++;
    }
}

void small_scan_range(const struct small_world *world, struct tactus *store, uint32_t tree,
                      struct small_range range, struct small_reads *reads)
{
    struct tactus_iterator *iterator;

    range = range_widen(world, tree, range);
    if (tactus_iterator_open(store, tree, &iterator) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
    scan_one_way(world, iterator, tree, range, false, reads);
    scan_one_way(world, iterator, tree, range, true, reads);
    tactus_iterator_close(iterator);
}

void small_read_all(const struct small_world *world, struct tactus *store,
                    struct small_reads *reads)
{
    for (uint32_t tree = 0; tree < SMALL_TREES; tree++) {
        struct small_range all = {0, world->record_counts[tree] - 1};

        small_get_range(world, store, tree, all, reads);
        small_scan_range(world, store, tree, all, reads);
    }
}
