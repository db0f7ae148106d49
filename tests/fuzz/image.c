/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fuzz/image.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/units.h"
#include "lsm/index_format.h"
#include "lsm/manifest_log_internal.h"

/* What must be known of the superblock and of events (docs/FORMAT.md). */
enum {
    ROOT_CHECKSUM = 16,
    ROOT_COVERED = 32,
    ROOT_PARENT = 88,
    ROOT_TABLE_COUNT = 304,
    ROOT_MANIFEST_CHECKSUM = 320,
    ROOT_MANIFEST_NEWEST = 336,
    ROOT_MANIFEST_COUNT = 368,
    ROOT_FREE_SET_COUNT = 376,
    ROOT_FREE_SET = 512,
    ROOT_SNAPSHOTS = 4032,
};
enum {
    DIRECTORY_COUNT = 64,
    DIRECTORY_ENTRIES = 80,
    ENTRY_BYTES = 160,
    ENTRY_OP = 64,
    ENTRY_SEQUENCE = 72,
    ENTRY_TABLE_ID_LAST = 80,
    ENTRY_STAMP_LAST = 88,
    ENTRY_TABLE_COUNT = 96,
    ENTRY_BLOCK_COUNT = 112,
    ENTRY_NEWEST = 120,
    ENTRY_CHECKSUM = 144,
};
enum {
    EVENT_KIND = 2,
    EVENT_TREE = 4,
    TREE_LAYOUT = 8,
    TABLE_ID = 16,
    TABLE_INDEX = 48,
    TABLE_SUM = 104,
    REMOVE_ID = 8,
};
#define CHAIN_MAX 64
#define LIVE_MAX 1024
#define REPLAY_TABLES_MAX 1024
#define REPLAY_LOG_BLOCKS 8

/* ---- real stores ---------------------------------------------------------------------------- */

struct recipe {
    uint32_t             runs_per_level, filter_bits, memtable_kib;
    struct tactus_layout layouts[2]; /* key_size 0: no second tree */
    uint32_t             puts;
    bool                 is_compacted; /* At the end: tables as large as can be */
    bool                 has_ranges;   /* … or ranges deleted, and a snapshot between */
};

static const struct recipe recipes[FUZZ_IMAGES] = {
    {2, 10, 32, {{0}, {0}}, 0, false, false},
    {4, 10, 32, {{TACTUS_LAYOUT_FIXED, 8, 24}, {0}}, 60, false, false},
    {2,
     10,
     32,
     {{TACTUS_LAYOUT_VARIABLE, 16, 100}, {TACTUS_LAYOUT_FIXED, 8, 40}},
     2500,
     false,
     false},
    {1, 0, 32, {{TACTUS_LAYOUT_VARIABLE, 24, 900}, {0}}, 600, false, false},
    {4, 20, 768, {{TACTUS_LAYOUT_FIXED, 3, 0}, {0}}, 20000, true, false},
    {2,
     10,
     32,
     {{TACTUS_LAYOUT_VARIABLE, 16, 100}, {TACTUS_LAYOUT_FIXED, 8, 40}},
     1600,
     false,
     true},
};

static struct fuzz_image images[FUZZ_IMAGES];

void fuzz_image_options(struct tactus_options *options)
{
    tactus_options_init(options);
    options->backend = TACTUS_BACKEND_MEMORY;
    options->threads_read = options->threads_merge = options->threads_write = 0;
    options->tables_max = 1024;
    options->ring_size = 16;
    options->page_cache_size = 64 * TAC_KIB;
    options->index_cache_size = 64 * TAC_KIB;
}

static void options_of(const struct recipe *recipe, struct tactus_options *options)
{
    fuzz_image_options(options);
    options->block_size = FUZZ_IMAGE_BLOCK_SIZE;
    options->page_size = 512;
    options->memtable_size = recipe->memtable_kib * TAC_KIB;
    options->table_size = 16 * TAC_KIB;
    options->slice_size = 32 * TAC_KIB;
    options->runs_per_level = recipe->runs_per_level;
    options->beats_per_bar = 16;
    options->checkpoint_interval_bars = 2;
    options->filter_bits_per_key = recipe->filter_bits;
    options->file_size_max = 8 * TAC_MIB;
    memset(options->uuid, 7, sizeof options->uuid);
}

/* A put that overwrites now and then; every seventh op deletes. */
static void store_write(struct tactus *store, uint32_t tree, const struct tactus_layout *layout,
                        uint32_t number, uint64_t draw)
{
    uint8_t  key[64], value[1024];
    uint32_t value_size = layout->value_size, key_size = layout->key_size;
    int      rv;

    memset(key, 'k', sizeof key);
    memset(value, (int)(number & 0xff), sizeof value);
    for (uint32_t i = 0; i < 4 && i < key_size; i++) {
        key[key_size - 1 - i] = (uint8_t)((draw & 0xffffffff) >> 8 * i);
    }
    if (layout->kind == TACTUS_LAYOUT_VARIABLE) {
        value_size = (uint32_t)(draw >> 32) % (value_size + 1);
    }
    rv = number % 7 == 6 ? tactus_delete(store, tree, key, key_size)
                         : tactus_put(store, tree, key, key_size, value, value_size);
    tac_assert(rv == TACTUS_OK);
}

/* From the first record to that of the draw `end`. */
static void range_delete(struct tactus *store, uint32_t tree, const struct tactus_layout *layout,
                         uint32_t end)
{
    uint8_t key[64];
    int     rv;

    memset(key, 'k', sizeof key);
    for (uint32_t i = 0; i < 4; i++) {
        key[layout->key_size - 1 - i] = (uint8_t)(end >> 8 * i);
    }
    rv = tactus_delete_range(store, tree, "a", 1, key, layout->key_size, NULL);
    tac_assert(rv == TACTUS_OK);
}

/* A range that the snapshot has, and one after it, as they are in the manifest: no compaction has
 * gone over all of their tables. */
static void ranges_delete(struct tactus *store, const struct recipe *recipe)
{
    struct tac_prng prng = {1};
    int             rv = tactus_drain(store);

    tac_assert(rv == TACTUS_OK);
    range_delete(store, 0, &recipe->layouts[0], recipe->puts / 3);
    rv = tactus_snapshot_create(store, "kept", NULL);
    tac_assert(rv == TACTUS_OK);
    for (uint32_t i = 0; i < recipe->puts / 2; i++) {
        store_write(store, 0, &recipe->layouts[0], i,
                    tac_prng_below(&prng, recipe->puts) | tac_prng_next(&prng) << 32);
    }
    range_delete(store, 1, &recipe->layouts[1], recipe->puts / 2);
    rv = tactus_checkpoint(store);
    tac_assert(rv == TACTUS_OK);
    tac_assert(tac_manifest_range_count(store->manifest) > 0);
    tac_assert(tac_manifest_tree(store->manifest, 0)->retained.table_count > 0);
}

static void store_fill(struct tactus *store, const struct recipe *recipe)
{
    struct tac_prng prng = {recipe->puts};
    uint32_t        trees[2] = {0}, tree_count = 0;
    int             result;

    for (uint32_t i = 0; i < 2 && recipe->layouts[i].key_size > 0; i++) {
        int rv =
            tactus_tree_create(store, i == 0 ? "first" : "second", &recipe->layouts[i], &trees[i]);

        tac_assert(rv == TACTUS_OK);
        tree_count++;
    }
    for (uint32_t i = 0; i < recipe->puts; i++) {
        store_write(store, trees[i % tree_count], &recipe->layouts[i % tree_count], i,
                    tac_prng_below(&prng, recipe->puts) | tac_prng_next(&prng) << 32);
    }
    if (recipe->has_ranges) {
        ranges_delete(store, recipe);
        return;
    }
    result = recipe->is_compacted ? tactus_compact(store, 0) : tactus_drain(store);
    tac_assert(result == TACTUS_OK);
}

/* Two walks: first blocks that say where others are, then those with records. */
static void used_find(struct fuzz_image *image, const struct tactus *store)
{
    for (uint32_t pass = 0; pass < 2; pass++) {
        for (uint64_t i = 0; i < image->block_count; i++) {
            const uint8_t *block = image->data + i * FUZZ_IMAGE_BLOCK_SIZE;
            bool           is_value = block[TAC_BLOCK_OFFSET_KIND] == TAC_BLOCK_VALUE;

            if (tac_free_set_is_acquired(store->free_set, i) &&
                !tac_free_set_address_is_superblock(i) && is_value == (pass == 1) &&
                image->used_count < FUZZ_IMAGE_USED_MAX) {
                image->used[image->used_count++] = (uint32_t)i;
            }
        }
    }
}

static void image_make(struct fuzz_image *image, const struct recipe *recipe)
{
    struct tac_memory_disk *disk = tac_memory_disk_new(0);
    struct tactus_options   options;
    struct tac_storage     *storage = NULL;
    struct tactus          *store = NULL;
    struct tac_error        error;
    const uint8_t          *data;
    uint64_t                size;
    int                     rv;

    options_of(recipe, &options);
    rv = tac_storage_open_memory(disk, &storage, &error);
    tac_assert(rv == TACTUS_OK);
    rv = tac_store_create(storage, &options, &error);
    tac_assert(rv == TACTUS_OK);
    rv = tac_store_open(storage, &options, NULL, NULL, &store, &error);
    tac_assert(rv == TACTUS_OK);
    store_fill(store, recipe);
    data = tac_memory_disk_data(disk, &size);
    image->block_count = size / FUZZ_IMAGE_BLOCK_SIZE;
    image->geometry = store->geometry;
    image->newest_copy = tac_superblock_copy_first(store->checkpoint.durable.sequence);
    image->data = malloc(size);
    tac_assert(image->data != NULL);
    memcpy(image->data, data, size);
    used_find(image, store);
    tac_store_abandon(store);
    tac_memory_disk_free(disk);
}

const struct fuzz_image *fuzz_image(uint32_t number)
{
    tac_assert(number < FUZZ_IMAGES);
    if (images[number].data == NULL) {
        image_make(&images[number], &recipes[number]);
    }
    return &images[number];
}

/* ---- sealing -------------------------------------------------------------------------------- */

struct sealing {
    const struct fuzz_image *image;
    uint8_t                 *data;
    uint32_t                 flags;
    uint64_t                 visited[8 * TAC_MIB / FUZZ_IMAGE_BLOCK_SIZE / 64];
    struct tac_layout        layouts[TACTUS_TREES_MAX]; /* key_size 0: none */
    /* The newest event of each table that there still is: only what these refer to is theirs */
    uint8_t *live[LIVE_MAX];
    uint32_t live_count;
};

/* NULL: no such block. */
static uint8_t *block_at(const struct sealing *sealing, uint64_t address)
{
    return address < sealing->image->block_count ? sealing->data + address * FUZZ_IMAGE_BLOCK_SIZE
                                                 : NULL;
}

/* True the first time only: a second reference to a block must not change it again. */
static bool visit(struct sealing *sealing, uint64_t address)
{
    uint64_t bit = 1ull << address % 64;
    bool     is_new = (sealing->visited[address / 64] & bit) == 0;

    sealing->visited[address / 64] |= bit;
    return is_new;
}

static void value_pages_seal(const struct sealing *sealing, uint8_t *block)
{
    const struct tac_geometry *geometry = &sealing->image->geometry;
    uint32_t                   units = geometry->block_size / geometry->page_size;
    uint32_t                   entry_count = tac_load_u32(block + TAC_VALUE_OFFSET_ENTRIES);

    for (uint32_t i = 0; i < entry_count && i < units - 1; i++) {
        uint8_t              *place = block + TAC_VALUE_HEADER_BYTES + i * TAC_PAGE_ENTRY_BYTES;
        struct tac_page_entry entry = tac_page_entry_load(place);

        if (entry.unit_first < units && entry.unit_count <= units - entry.unit_first) {
            tac_store_u128(place, tac_checksum(block + entry.unit_first * geometry->page_size,
                                               entry.unit_count * geometry->page_size,
                                               geometry->checksum_seed));
        }
    }
}

/* The sum of the records, if they can be read. */
static void value_sum_seal(const struct sealing *sealing, uint8_t *block, uint64_t address,
                           const struct tac_layout *layout)
{
    struct tac_value_block decoded;
    struct tac_u128        sum = {0};

    if ((sealing->flags & FUZZ_SEAL_NO_SUMS) != 0 || layout->key_size == 0 ||
        tac_value_block_decode(&decoded, block, &sealing->image->geometry, layout, address, NULL) !=
            TACTUS_OK) {
        return;
    }
    for (uint32_t i = 0; i < decoded.page_count; i++) {
        struct tac_page_entry entry = tac_value_block_page(&decoded, i);
        struct tac_page       page = {
                  .data = block + entry.unit_first * decoded.page_size,
                  .layout = layout,
                  .size_bytes = entry.unit_count * decoded.page_size,
                  .record_count = entry.record_count,
                  .flags = entry.flags,
        };

        for (uint32_t j = 0; j < entry.record_count; j++) {
            struct tac_record record = tac_page_record(&page, j);

            sum = tac_u128_add(sum, tac_record_hash(record.key.data, record.key.size,
                                                    record.value.size, record.is_tombstone));
        }
    }
    tac_store_u128(block + TAC_VALUE_OFFSET_SUM, sum);
}

/* A value block and what its entry in the index block, and the entries of its pages, say of it. */
static void value_seal(struct sealing *sealing, uint8_t *index, uint8_t *entry,
                       const struct tac_layout *layout)
{
    const struct tac_geometry *geometry = &sealing->image->geometry;
    uint64_t                   address = tac_load_u64(entry);
    uint8_t                   *block = block_at(sealing, address);
    uint32_t                   block_count = tac_load_u32(index + TAC_INDEX_OFFSET_BLOCKS);
    uint32_t                   page_first = tac_load_u32(entry + TAC_INDEX_BLOCK_OFFSET_PAGE_FIRST);
    uint32_t                   page_count = tac_load_u32(entry + TAC_INDEX_BLOCK_OFFSET_PAGES);
    uint64_t pages_at = TAC_INDEX_HEADER_BYTES + (uint64_t)block_count * TAC_INDEX_BLOCK_BYTES;

    if (block == NULL) {
        return;
    }
    if (visit(sealing, address)) {
        value_pages_seal(sealing, block);
        value_sum_seal(sealing, block, address, layout);
    }
    tac_store_u128(entry + 8, tac_checksum(block, geometry->page_size, geometry->checksum_seed));
    if ((sealing->flags & FUZZ_SEAL_NO_SUMS) == 0) {
        memcpy(entry + TAC_INDEX_BLOCK_OFFSET_SUM, block + TAC_VALUE_OFFSET_SUM, 16);
    }
    for (uint32_t i = 0; i < page_count && i < 7; i++) {
        uint64_t at = pages_at + ((uint64_t)page_first + i) * TAC_INDEX_PAGE_BYTES;

        if (at + TAC_INDEX_PAGE_BYTES <= geometry->block_size) {
            memcpy(index + at, tac_value_entry(block, i), 16);
        }
    }
}

/* A table from its event down. */
static void table_seal(struct sealing *sealing, uint8_t *event)
{
    static const struct tac_layout none;
    uint32_t                       tree = tac_load_u32(event + EVENT_TREE);
    uint64_t                       address = tac_load_u64(event + TABLE_INDEX);
    uint8_t                       *index = block_at(sealing, address);
    uint32_t                       block_count, filter_count;
    struct tac_u128                sum = {0};

    if (index == NULL) {
        return;
    }
    block_count = tac_load_u32(index + TAC_INDEX_OFFSET_BLOCKS);
    filter_count = tac_load_u16(index + TAC_INDEX_OFFSET_FILTER_BLOCKS);
    if (visit(sealing, address)) {
        for (uint32_t i = 0; i < block_count && i < 58; i++) { /* As many as a block has room for */
            uint8_t *entry = index + TAC_INDEX_HEADER_BYTES + i * TAC_INDEX_BLOCK_BYTES;

            value_seal(sealing, index, entry,
                       tree < TACTUS_TREES_MAX ? &sealing->layouts[tree] : &none);
            sum = tac_u128_add(sum, tac_load_u128(entry + TAC_INDEX_BLOCK_OFFSET_SUM));
        }
        if ((sealing->flags & FUZZ_SEAL_NO_SUMS) == 0) {
            tac_store_u128(index + TAC_INDEX_OFFSET_SUM, sum);
        }
        for (uint32_t i = 0; i < filter_count && i < TAC_FILTER_BLOCKS_MAX; i++) {
            uint8_t *reference = index + TAC_INDEX_OFFSET_FILTER_FIRST + i * TAC_REFERENCE_BYTES;
            uint8_t *filter = block_at(sealing, tac_load_u64(reference));

            if (filter != NULL) {
                tac_store_u128(reference + 8,
                               tac_block_checksum(filter, &sealing->image->geometry));
            }
        }
    }
    tac_store_u128(event + TABLE_INDEX + 8, tac_block_checksum(index, &sealing->image->geometry));
    if ((sealing->flags & FUZZ_SEAL_NO_SUMS) == 0 && (event[3] & 2) == 0) { /* Not trimmed */
        memcpy(event + TABLE_SUM, index + TAC_INDEX_OFFSET_SUM, 16);
    }
}

static void layout_note(struct sealing *sealing, uint8_t *event)
{
    uint32_t          tree = tac_load_u32(event + EVENT_TREE);
    struct tac_layout layout = {tac_load_u32(event + TREE_LAYOUT),
                                tac_load_u32(event + TREE_LAYOUT + 4),
                                tac_load_u32(event + TREE_LAYOUT + 8)};
    bool              is_possible =
        (layout.kind == TACTUS_LAYOUT_FIXED || layout.kind == TACTUS_LAYOUT_VARIABLE) &&
        layout.key_size >= 1 && layout.key_size <= TACTUS_KEY_SIZE_MAX &&
        layout.value_size <= FUZZ_IMAGE_BLOCK_SIZE;

    if (tree < TACTUS_TREES_MAX && is_possible) {
        sealing->layouts[tree] = layout;
    }
}

static void live_remove(struct sealing *sealing, uint64_t id)
{
    for (uint32_t i = 0; i < sealing->live_count; i++) {
        if (tac_load_u64(sealing->live[i] + TABLE_ID) == id) {
            sealing->live[i] = sealing->live[--sealing->live_count];
            return;
        }
    }
}

/* Notes the trees and tables of a block; from the oldest one on. */
static void events_note(struct sealing *sealing, uint8_t *block)
{
    uint32_t size;

    for (uint32_t at = TAC_LOG_OFFSET_EVENTS; at + 16 <= FUZZ_IMAGE_BLOCK_SIZE; at += size) {
        uint8_t *event = block + at;

        size = tac_load_u16(event);
        if (size < 16 || size > FUZZ_IMAGE_BLOCK_SIZE - at) {
            return;
        }
        if (event[EVENT_KIND] == TAC_MANIFEST_EVENT_TREE && size >= TAC_MANIFEST_EVENT_TREE_BYTES) {
            layout_note(sealing, event);
        } else if (event[EVENT_KIND] == TAC_MANIFEST_EVENT_REMOVE) {
            live_remove(sealing, tac_load_u64(event + REMOVE_ID));
        } else if (event[EVENT_KIND] == TAC_MANIFEST_EVENT_TABLE &&
                   size >= TAC_MANIFEST_EVENT_TABLE_BYTES) {
            live_remove(sealing, tac_load_u64(event + TABLE_ID));
            if (sealing->live_count < LIVE_MAX) {
                sealing->live[sealing->live_count++] = event;
            }
        }
    }
}

/* A log, or an image, from its oldest block on; each refers to the one before. What is live in it is
 * sealed in between, before its blocks have their checksums; NULL: nothing of it is. */
static void chain_seal(struct sealing *sealing, uint8_t *newest, uint64_t length,
                       void (*live_seal)(struct sealing *sealing, const uint64_t *addresses,
                                         uint32_t count))
{
    uint64_t       addresses[CHAIN_MAX] = {0};
    uint64_t       address = tac_load_u64(newest);
    uint32_t       count = 0;
    const uint8_t *before = NULL;

    while (count < length && count < CHAIN_MAX && block_at(sealing, address) != NULL) {
        addresses[count++] = address;
        address = tac_load_u64(block_at(sealing, address) + TAC_LOG_OFFSET_PREVIOUS);
    }
    if (live_seal != NULL) {
        live_seal(sealing, addresses, count);
    }
    for (uint32_t i = count; i > 0; i--) {
        uint8_t *block = block_at(sealing, addresses[i - 1]);

        if (before != NULL) {
            tac_store_u128(block + TAC_LOG_OFFSET_PREVIOUS + 8,
                           tac_block_checksum(before, &sealing->image->geometry));
        }
        before = block;
    }
    if (before != NULL) {
        tac_store_u128(newest + 8, tac_block_checksum(before, &sealing->image->geometry));
    }
}

static void live_tables_seal(struct sealing *sealing, const uint64_t *addresses, uint32_t count)
{
    for (uint32_t i = count; i > 0; i--) {
        events_note(sealing, block_at(sealing, addresses[i - 1]));
    }
    for (uint32_t i = 0; i < sealing->live_count; i++) {
        table_seal(sealing, sealing->live[i]);
    }
}

static void log_seal(struct sealing *sealing, uint8_t *root)
{
    chain_seal(sealing, root + ROOT_MANIFEST_NEWEST, tac_load_u64(root + ROOT_MANIFEST_COUNT),
               live_tables_seal);
}

static void free_set_seal(const struct sealing *sealing, uint8_t *root)
{
    uint32_t count = tac_load_u32(root + ROOT_FREE_SET_COUNT);

    for (uint32_t i = 0; i < count && i < TAC_FREE_SET_BLOCKS_MAX; i++) {
        uint8_t *reference = root + ROOT_FREE_SET + i * TAC_REFERENCE_BYTES;
        uint8_t *block = block_at(sealing, tac_load_u64(reference));

        if (block != NULL) {
            tac_store_u128(reference + 8, tac_block_checksum(block, &sealing->image->geometry));
        }
    }
}

static int block_read(void *context, const struct tac_block_reference *reference,
                      enum tac_block_kind kind, uint8_t *data, struct tac_error *error)
{
    const struct sealing *sealing = context;
    const uint8_t        *block = block_at(sealing, reference->address);

    if (block == NULL) {
        return tac_error_set(error, TACTUS_EIO, "beyond the file");
    }
    memcpy(data, block, FUZZ_IMAGE_BLOCK_SIZE);
    return tac_block_verify(data, &sealing->image->geometry, kind, reference, error);
}

static void root_checksum_seal(uint8_t *root)
{
    tac_store_u128(root + ROOT_CHECKSUM,
                   tac_checksum(root + ROOT_COVERED, TAC_SUPERBLOCK_BYTES - ROOT_COVERED, 0));
}

/* What the manifest that the log gives has for a checksum, as far as it can be replayed. */
static void manifest_seal(struct sealing *sealing, uint8_t *root)
{
    const uint8_t               *copies[TAC_SUPERBLOCK_COPIES] = {root};
    struct tac_superblock_choice choice;
    struct tac_manifest         *manifest;
    struct tac_manifest_log     *log;

    root_checksum_seal(root);
    if (tac_superblock_choose(copies, &choice, NULL) != TACTUS_OK) {
        return;
    }
    manifest = tac_manifest_new(REPLAY_TABLES_MAX);
    log = tac_manifest_log_new(&sealing->image->geometry, REPLAY_LOG_BLOCKS);
    tac_assert(manifest != NULL && log != NULL);
    if (tac_manifest_log_replay(log, manifest, &choice.superblock, block_read, sealing, NULL) !=
        TACTUS_OK) {
        tac_store_u64(root + ROOT_TABLE_COUNT, tac_manifest_table_count(manifest));
        tac_store_u128(root + ROOT_MANIFEST_CHECKSUM, tac_manifest_checksum(manifest));
    }
    tac_manifest_log_free(log);
    tac_manifest_free(manifest);
}

/* The blocks of a snapshot's image from the oldest on, then what its manifest has for a checksum. */
static void snapshot_seal(struct sealing *sealing, uint8_t *entry)
{
    struct tac_superblock root = {
        .sequence = tac_load_u64(entry + ENTRY_SEQUENCE),
        .op_persisted = tac_load_u64(entry + ENTRY_OP),
        .table_id_last = tac_load_u64(entry + ENTRY_TABLE_ID_LAST),
        .stamp_last = tac_load_u64(entry + ENTRY_STAMP_LAST),
        .manifest_oldest_sequence = 1,
        .blocks_in_file = sealing->image->block_count,
    };
    struct tac_manifest     *manifest = tac_manifest_new(REPLAY_TABLES_MAX);
    struct tac_manifest_log *log =
        tac_manifest_log_new(&sealing->image->geometry, REPLAY_LOG_BLOCKS);

    tac_assert(manifest != NULL && log != NULL);
    chain_seal(sealing, entry + ENTRY_NEWEST, tac_load_u64(entry + ENTRY_BLOCK_COUNT), NULL);
    root.manifest_newest.address = tac_load_u64(entry + ENTRY_NEWEST);
    root.manifest_newest.checksum.low = tac_load_u64(entry + ENTRY_NEWEST + 8);
    root.manifest_newest.checksum.high = tac_load_u64(entry + ENTRY_NEWEST + 16);
    root.manifest_block_count = tac_load_u64(entry + ENTRY_BLOCK_COUNT);
    if (tac_manifest_log_replay(log, manifest, &root, block_read, sealing, NULL) != TACTUS_OK) {
        tac_store_u64(entry + ENTRY_TABLE_COUNT, tac_manifest_table_count(manifest));
        tac_store_u128(entry + ENTRY_CHECKSUM, tac_manifest_checksum(manifest));
    }
    tac_manifest_log_free(log);
    tac_manifest_free(manifest);
}

static void snapshots_seal(struct sealing *sealing, uint8_t *root)
{
    uint8_t *block = block_at(sealing, tac_load_u64(root + ROOT_SNAPSHOTS));
    uint32_t count;

    if (block == NULL || tac_load_u64(root + ROOT_SNAPSHOTS) == 0) {
        return;
    }
    count = tac_load_u32(block + DIRECTORY_COUNT);
    for (uint32_t i = 0; i < count && i < TAC_SNAPSHOTS_MAX; i++) {
        snapshot_seal(sealing, block + DIRECTORY_ENTRIES + (size_t)i * ENTRY_BYTES);
    }
    tac_store_u128(root + ROOT_SNAPSHOTS + 8, tac_block_checksum(block, &sealing->image->geometry));
}

void fuzz_image_seal(const struct fuzz_image *image, uint8_t *data, uint32_t flags)
{
    struct sealing sealing = {.image = image, .data = data, .flags = flags};
    uint32_t       older = TAC_SUPERBLOCK_COPIES - 2 - image->newest_copy;
    uint8_t       *roots[TAC_SUPERBLOCK_COPIES];
    bool           are_alike;

    if ((flags & FUZZ_SEAL_NOTHING) != 0) {
        return;
    }
    for (uint32_t i = 0; i < TAC_SUPERBLOCK_COPIES; i++) {
        roots[i] = data + (size_t)i * TAC_SUPERBLOCK_STRIDE_BLOCKS * FUZZ_IMAGE_BLOCK_SIZE;
    }
    root_checksum_seal(roots[older]);
    root_checksum_seal(roots[older + 1]);
    are_alike = memcmp(roots[image->newest_copy] + ROOT_COVERED,
                       roots[image->newest_copy + 1] + ROOT_COVERED,
                       TAC_SUPERBLOCK_BYTES - ROOT_COVERED) == 0;
    for (uint32_t i = 0; i < 2; i++) {
        uint8_t *root = roots[image->newest_copy + i];

        if (i == 1 && are_alike) {
            /* A second time over blocks that refer to each other would end elsewhere. */
            memcpy(root + ROOT_CHECKSUM, roots[image->newest_copy] + ROOT_CHECKSUM,
                   TAC_SUPERBLOCK_BYTES - ROOT_CHECKSUM);
            break;
        }
        memset(sealing.visited, 0, sizeof sealing.visited);
        sealing.live_count = 0;
        free_set_seal(&sealing, root);
        log_seal(&sealing, root);
        snapshots_seal(&sealing, root);
        if ((flags & FUZZ_SEAL_NO_PARENT) == 0) {
            memcpy(root + ROOT_PARENT, roots[older] + ROOT_CHECKSUM, 16);
        }
        if ((flags & FUZZ_SEAL_NO_MANIFEST) == 0) {
            manifest_seal(&sealing, root);
        }
        root_checksum_seal(root);
    }
}
