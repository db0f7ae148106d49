/* SPDX-License-Identifier: Apache-2.0 */
/* verify -- see verify.h. The walk rebuilds manifest and free set from the file, as an open would,
 * and checks them against every block; it trusts nothing that is in memory. */
#include "pipeline/verify.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"

static void damage(struct tac_walk *walk, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void damage(struct tac_walk *walk, const char *format, ...)
{
    char    text[TACTUS_MESSAGE_BYTES];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (walk->first.code == TACTUS_OK) {
        tac_error_set(&walk->first, TACTUS_ECORRUPT, "%s", text);
    }
    walk->report->damages++;
    if (walk->damage_fn != NULL) {
        walk->damage_fn(walk->damage_context, text);
    }
}

/* Chains a block's place and what was read of it into the digest. */
static void digest_add(struct tac_walk *walk, uint64_t address, struct tac_u128 checksum)
{
    uint64_t words[5] = {walk->digest.low, walk->digest.high, address, checksum.low, checksum.high};

    walk->digest = tac_checksum(words, sizeof words, 0);
}

/* Every block is reached once, and the free set knows that it is in use. */
static void reach(struct tac_walk *walk, uint64_t address, const char *what)
{
    uint64_t word = address / 64, bit = (uint64_t)1 << address % 64;

    if (word >= walk->reached_size) {
        damage(walk, "%s: block %llu is outside the store", what, (unsigned long long)address);
        return;
    }
    if ((walk->reached[word] & bit) != 0) {
        damage(walk, "%s: block %llu is used twice", what, (unsigned long long)address);
    }
    walk->reached[word] |= bit;
    walk->report->blocks++;
    if (!tac_free_set_is_acquired(walk->free_set, address)) {
        damage(walk, "%s: block %llu is in use, but the free set has it as free", what,
               (unsigned long long)address);
    }
}

/* Reads, checks, counts. False: damaged (reported). */
static bool block_walk(struct tac_walk *walk, const struct tac_block_reference *reference,
                       enum tac_block_kind kind, uint8_t *block, const char *what)
{
    struct tac_error error;

    reach(walk, reference->address, what);
    if (tac_store_read_block(walk->store, reference, kind, block, &error) != TACTUS_OK) {
        damage(walk, "%s: %s", what, error.message);
        return false;
    }
    digest_add(walk, reference->address,
               kind == TAC_BLOCK_VALUE ? tac_checksum(block, walk->store->geometry.block_size, 0)
                                       : reference->checksum);
    return true;
}

/* ---- tables --------------------------------------------------------------------------------- */

struct table_walk {
    struct tac_walk         *walk;
    const struct tac_table  *table;
    const struct tac_layout *layout;
    struct tac_index_block   index;
    char                     name[96];
    uint8_t                  key_last[TACTUS_KEY_SIZE_MAX];
    uint32_t                 key_last_size; /* 0: no record yet */
    struct tac_merge_account all, left;     /* Of the table as written; of what is left of it */
    uint32_t                 page;          /* In the table's numbering */
};

static void filter_check(struct table_walk *table, struct tac_bytes key)
{
    const struct tac_index_block *index = &table->index;
    uint32_t                      hash;
    uint64_t                      line;
    const uint8_t                *filter = index->filter;

    if (index->filter_bytes == 0) {
        return;
    }
    hash = tac_filter_hash(key);
    line = tac_filter_line(hash, index->filter_bytes);
    filter = filter != NULL ? filter : table->walk->filter_data;
    if (!tac_filter_line_may_contain(filter + line * TAC_FILTER_LINE_BYTES, hash,
                                     index->filter_bits_per_key)) {
        damage(table->walk, "%s: the filter denies one of its keys", table->name);
    }
}

static void record_walk(struct table_walk *table, const struct tac_record *record)
{
    struct tac_bytes last = {table->key_last, table->key_last_size};
    struct tac_u128  hash = tac_record_hash(record->key.data, record->key.size, record->value.size,
                                            record->is_tombstone);
    struct tac_merge_account one = {1, record->is_tombstone, record->key.size + record->value.size,
                                    hash};

    if (last.size > 0 && tac_bytes_compare(last, record->key) >= 0) {
        damage(table->walk, "%s: keys out of order", table->name);
    }
    memcpy(table->key_last, record->key.data, record->key.size);
    table->key_last_size = record->key.size;
    table->all = tac_merge_account_add(table->all, one);
    if (tac_bytes_compare(record->key, table->table->key_min) >= 0) {
        table->left = tac_merge_account_add(table->left, one);
    }
    filter_check(table, record->key);
}

static void page_walk(struct table_walk *table, const struct tac_page *page)
{
    struct tac_bytes separator = tac_index_separator(&table->index, table->page);
    struct tac_error error;

    if (tac_page_check(page, &error) != TACTUS_OK) {
        damage(table->walk, "%s: %s", table->name, error.message);
        return;
    }
    for (uint32_t i = 0; i < page->record_count; i++) {
        struct tac_record record = tac_page_record(page, i);

        if (i == 0 && (tac_bytes_compare(separator, record.key) > 0 ||
                       (table->key_last_size > 0 &&
                        tac_bytes_compare((struct tac_bytes){table->key_last, table->key_last_size},
                                          separator) >= 0))) {
            damage(table->walk, "%s: page %u is not where its separator says", table->name,
                   table->page);
        }
        record_walk(table, &record);
    }
}

static void value_block_walk(struct table_walk *table, uint32_t number)
{
    struct tac_walk             *walk = table->walk;
    struct tac_index_value_block entry = tac_index_value_block(&table->index, number);
    struct tac_merge_account     before = table->all;
    struct tac_value_block       block;
    struct tac_error             error;

    if (!block_walk(walk, &entry.reference, TAC_BLOCK_VALUE, walk->block_data, table->name)) {
        table->page += entry.page_count;
        return;
    }
    if (!walk->checks_records) {
        return;
    }
    if (tac_value_block_decode(&block, walk->block_data, &walk->store->geometry, table->layout,
                               entry.reference.address, &error) != TACTUS_OK ||
        block.page_count != entry.page_count) {
        damage(walk, "%s: value block %u does not fit its index", table->name, number);
        table->page += entry.page_count;
        return;
    }
    for (uint32_t i = 0; i < block.page_count; i++, table->page++) {
        struct tac_page_entry place = tac_value_block_page(&block, i);
        struct tac_page_entry indexed = tac_index_page(&table->index, table->page);
        struct tac_page       page = {
                  .data = block.data + (size_t)place.unit_first * block.page_size,
                  .layout = table->layout,
                  .size_bytes = place.unit_count * block.page_size,
                  .record_count = place.record_count,
                  .flags = place.flags,
        };

        if (!tac_u128_equal(place.checksum, indexed.checksum) ||
            place.unit_first != indexed.unit_first || place.unit_count != indexed.unit_count ||
            place.record_count != indexed.record_count || place.flags != indexed.flags) {
            damage(walk, "%s: index and value block %u disagree on a page", table->name, number);
        }
        page_walk(table, &page);
    }
    if (table->all.records - before.records != entry.record_count ||
        !tac_u128_equal(tac_u128_subtract(table->all.sum, before.sum), entry.sum)) {
        damage(walk, "%s: the records of value block %u do not add up", table->name, number);
    }
}

/* Filter blocks follow each other's lines in one buffer. */
static void filters_walk(struct table_walk *table)
{
    struct tac_walk *walk = table->walk;
    uint32_t         header = TAC_BLOCK_HEADER_BYTES;
    uint32_t         share =
        tac_filter_block_lines(walk->store->geometry.block_size) * TAC_FILTER_LINE_BYTES;

    for (uint32_t i = 0; i < table->index.filter_block_count; i++) {
        struct tac_block_reference reference = tac_index_filter_block(&table->index, i);

        if (block_walk(walk, &reference, TAC_BLOCK_FILTER, walk->block_data, table->name)) {
            memcpy(walk->filter_data + (size_t)i * share, walk->block_data + header, share);
        } else {
            memset(walk->filter_data + (size_t)i * share, 0xff, share); /* Reported already */
        }
    }
}

static void table_sums_check(struct table_walk *walked)
{
    const struct tac_table       *table = walked->table;
    const struct tac_index_block *index = &walked->index;

    if (walked->all.records != index->record_count ||
        !tac_u128_equal(walked->all.sum, index->sum)) {
        damage(walked->walk, "%s: its records and its index do not add up", walked->name);
    }
    if (walked->left.records != table->records || walked->left.bytes != table->bytes ||
        walked->left.tombstones != table->tombstones ||
        !tac_u128_equal(walked->left.sum, table->sum)) {
        damage(walked->walk, "%s: its records and the manifest do not add up", walked->name);
    }
    if (walked->key_last_size > 0 &&
        tac_bytes_compare((struct tac_bytes){walked->key_last, walked->key_last_size},
                          table->key_max) != 0) {
        damage(walked->walk, "%s: its last key is not the manifest's", walked->name);
    }
}

static void table_walk(struct tac_walk *walk, const struct tac_table *table,
                       const struct tac_layout *layout)
{
    struct table_walk walked = {.walk = walk, .table = table, .layout = layout};
    uint64_t          damages = walk->report->damages;
    struct tac_error  error;

    snprintf(walked.name, sizeof walked.name, "tree %u, level %u, table %llu", table->tree,
             table->level, (unsigned long long)table->id);
    walk->report->tables++;
    walk->report->records += table->records;
    if (!block_walk(walk, &table->index, TAC_BLOCK_INDEX, walk->index_data, walked.name)) {
        walk->unseen += (uint64_t)table->value_block_count + table->filter_block_count;
        return;
    }
    if (tac_index_block_decode(&walked.index, walk->index_data, &walk->store->geometry,
                               table->index.address, &error) != TACTUS_OK) {
        damage(walk, "%s: %s", walked.name, error.message);
        return;
    }
    if (walked.index.value_block_count != table->value_block_count ||
        walked.index.filter_block_count != table->filter_block_count) {
        damage(walk, "%s: index block and manifest disagree", walked.name);
        return;
    }
    filters_walk(&walked);
    for (uint32_t i = 0; i < walked.index.value_block_count; i++) {
        value_block_walk(&walked, i);
    }
    if (walk->checks_records && walk->report->damages == damages) {
        table_sums_check(&walked);
    }
}

/* Of a discarded table the index block counts, by which its blocks are given back; what they hold
 * nobody reads any more. */
static void discard_walk(struct tac_walk *walk, const struct tac_table *table)
{
    struct tac_index_block index;
    struct tac_error       error;
    char                   name[96];

    snprintf(name, sizeof name, "tree %u, discarded table %llu", table->tree,
             (unsigned long long)table->id);
    if (!block_walk(walk, &table->index, TAC_BLOCK_INDEX, walk->index_data, name)) {
        walk->unseen += (uint64_t)table->value_block_count + table->filter_block_count;
        return;
    }
    if (tac_index_block_decode(&index, walk->index_data, &walk->store->geometry,
                               table->index.address, &error) != TACTUS_OK) {
        damage(walk, "%s: %s", name, error.message);
        return;
    }
    if (index.value_block_count != table->value_block_count ||
        index.filter_block_count != table->filter_block_count) {
        damage(walk, "%s: index block and manifest disagree", name);
        return;
    }
    for (uint32_t i = 0; i < index.filter_block_count; i++) {
        reach(walk, tac_index_filter_block(&index, i).address, name);
    }
    for (uint32_t i = 0; i < index.value_block_count; i++) {
        reach(walk, tac_index_value_block(&index, i).reference.address, name);
    }
}

static void tables_walk(struct tac_walk *walk)
{
    for (uint32_t t = 0; t < tac_manifest_tree_count(walk->manifest); t++) {
        struct tac_manifest_tree *tree = tac_manifest_tree(walk->manifest, t);

        for (uint32_t l = 0; l < TACTUS_LEVELS_MAX; l++) {
            for (uint32_t i = 0; i < tree->levels[l].table_count; i++) {
                table_walk(walk, tree->levels[l].tables[i], &tree->layout);
            }
        }
        for (uint32_t i = 0; i < tree->discards.table_count; i++) {
            discard_walk(walk, tree->discards.tables[i]);
        }
        for (uint32_t i = 0; i < tree->retained.table_count; i++) {
            table_walk(walk, tree->retained.tables[i], &tree->layout);
        }
    }
}

/* ---- snapshots ------------------------------------------------------------------------------ */

#define SNAPSHOT_HAS 1 /* In struct tac_table, run */

/* The same table, in a level or retained. It is marked as one that a snapshot has: the manifest is
 * the walk's own. */
static bool table_is_kept(struct tac_walk *walk, const struct tac_table *table)
{
    const struct tac_manifest_tree *tree = tac_manifest_tree(walk->manifest, table->tree);
    struct tac_table               *found = NULL;

    for (uint32_t l = 0; l < TACTUS_LEVELS_MAX && found == NULL; l++) {
        for (uint32_t i = 0; i < tree->levels[l].table_count && found == NULL; i++) {
            found = tree->levels[l].tables[i]->id == table->id ? tree->levels[l].tables[i] : NULL;
        }
    }
    for (uint32_t i = 0; i < tree->retained.table_count && found == NULL; i++) {
        found = tree->retained.tables[i]->id == table->id ? tree->retained.tables[i] : NULL;
    }
    if (found == NULL || found->index.address != table->index.address ||
        !tac_u128_equal(found->index.checksum, table->index.checksum)) {
        return false;
    }
    found->run = SNAPSHOT_HAS;
    return true;
}

static void snapshot_tables_check(struct tac_walk *walk, const struct tac_snapshot_entry *entry,
                                  struct tac_manifest *manifest)
{
    for (uint32_t t = 0; t < tac_manifest_tree_count(manifest); t++) {
        const struct tac_manifest_tree *tree = tac_manifest_tree(manifest, t);

        if (t >= tac_manifest_tree_count(walk->manifest)) {
            damage(walk, "snapshot \"%s\": its tree %u is not in the store", entry->name, t);
            return;
        }
        for (uint32_t l = 0; l < TACTUS_LEVELS_MAX; l++) {
            for (uint32_t i = 0; i < tree->levels[l].table_count; i++) {
                if (!table_is_kept(walk, tree->levels[l].tables[i])) {
                    damage(walk, "snapshot \"%s\": table %llu of tree %u is not there any more",
                           entry->name, (unsigned long long)tree->levels[l].tables[i]->id, t);
                }
            }
        }
    }
}

/* What is retained without being in an image is to be discarded, by the numbers that say so
 * (lsm/snapshot_directory.h); else its space is lost as long as there are snapshots. */
static void retained_check(struct tac_walk *walk, const struct tac_snapshot_directory *directory)
{
    for (uint32_t t = 0; t < tac_manifest_tree_count(walk->manifest); t++) {
        const struct tac_manifest_retained *retained =
            &tac_manifest_tree(walk->manifest, t)->retained;

        for (uint32_t i = 0; i < retained->table_count; i++) {
            const struct tac_table *table = retained->tables[i];

            if (table->run != SNAPSHOT_HAS && tac_snapshot_directory_needs(directory, table)) {
                damage(walk, "tree %u: table %llu is kept for snapshots, but none has it", t,
                       (unsigned long long)table->id);
            }
        }
    }
}

/* What is damaged is reported, and told; TACTUS_ENOMEM is no damage. */
static int image_walk(struct tac_walk *walk, const struct tac_snapshot_entry *entry,
                      struct tac_error *error)
{
    struct tac_manifest     *manifest;
    struct tac_manifest_log *log;
    int                      result = tac_snapshot_read(walk->store, entry, &manifest, &log, error);

    if (result == TACTUS_ENOMEM) {
        return result;
    }
    if (result != TACTUS_OK) {
        damage(walk, "%s", error->message);
        walk->unseen += entry->block_count;
        return result;
    }
    for (uint64_t i = 0; i < tac_manifest_log_block_count(log); i++) {
        struct tac_block_reference reference = tac_manifest_log_block(log, i);

        reach(walk, reference.address, "snapshot");
        digest_add(walk, reference.address, reference.checksum);
    }
    if (walk->checks_records) {
        snapshot_tables_check(walk, entry, manifest);
    }
    tac_manifest_free(manifest);
    tac_manifest_log_free(log);
    return TACTUS_OK;
}

static int snapshots_walk(struct tac_walk *walk, struct tac_error *error)
{
    const struct tac_superblock  *superblock = &walk->superblock;
    struct tac_snapshot_directory directory;
    bool                          are_whole = true;

    if (superblock->snapshots.address == 0 ||
        !block_walk(walk, &superblock->snapshots, TAC_BLOCK_SNAPSHOTS, walk->block_data,
                    "snapshots")) {
        return TACTUS_OK;
    }
    if (tac_snapshot_directory_decode(&directory, &walk->store->geometry, superblock,
                                      walk->block_data, error) != TACTUS_OK) {
        damage(walk, "snapshots: %s", error->message);
        return TACTUS_OK;
    }
    for (uint32_t i = 0; i < directory.count; i++) {
        int result = image_walk(walk, &directory.entries[i], error);

        if (result == TACTUS_ENOMEM) {
            return result;
        }
        are_whole = are_whole && result == TACTUS_OK;
    }
    if (are_whole && walk->checks_records) {
        retained_check(walk, &directory);
    }
    return TACTUS_OK;
}

/* ---- state ---------------------------------------------------------------------------------- */

static uint32_t copy_bad(struct tac_walk *walk, bool reports, uint32_t copy, const char *what)
{
    if (reports) {
        damage(walk, "superblock copy %u %s", copy, what);
    }
    return 1;
}

/* The newest pair is what was written. Of the other pair each copy is a whole superblock of this
 * history in its place, maybe an older one: what an open would leave alone. Returns how many are
 * bad. */
static uint32_t superblocks_check(struct tac_walk *walk, const uint8_t *read[TAC_SUPERBLOCK_COPIES],
                                  bool reports)
{
    struct tac_superblock_choice choice = {.repair_second_mask = 0};
    uint32_t                     first = tac_superblock_copy_first(walk->superblock.sequence);
    uint8_t                     *expected = walk->index_data;
    const uint8_t               *copies[TAC_SUPERBLOCK_COPIES];
    struct tac_error             error;
    uint32_t                     bad = 0;

    memcpy(copies, read, sizeof copies);
    for (uint32_t i = first; i <= first + 1; i++) {
        tac_superblock_encode(expected, &walk->superblock, i);
        if (read[i] != NULL && memcmp(expected, read[i], TAC_SUPERBLOCK_BYTES) != 0) {
            bad += copy_bad(walk, reports, i, "is not what was written");
        }
        copies[i] = i == first + 1 ? expected : NULL;
    }
    if (tac_superblock_choose(copies, &choice, &error) != TACTUS_OK) {
        bad++;
        if (reports) {
            damage(walk, "superblock: %s", error.message);
        }
    }
    for (uint32_t i = 0; i < TAC_SUPERBLOCK_COPIES; i++) {
        if (read[i] == NULL) {
            bad += copy_bad(walk, reports, i, "cannot be read");
        } else if ((choice.repair_second_mask >> i & 1) != 0) {
            bad += copy_bad(walk, reports, i, "is not whole, or not in its place");
        }
    }
    return bad;
}

static void superblocks_read(struct tac_walk *walk, const uint8_t *ret_copies[])
{
    struct tac_storage *storage = walk->store->storage;

    tac_static_assert(TAC_SUPERBLOCK_COPIES <= TAC_FILTER_BLOCKS_MAX, "filter_data has the room");
    for (uint32_t i = 0; i < TAC_SUPERBLOCK_COPIES; i++) {
        uint64_t address = (uint64_t)i * TAC_SUPERBLOCK_STRIDE_BLOCKS;
        uint8_t *copy = walk->filter_data + (size_t)i * TAC_SUPERBLOCK_BYTES;
        int      result = storage->ops->read(storage, copy, TAC_SUPERBLOCK_BYTES,
                                             address * walk->store->geometry.block_size, NULL);

        ret_copies[i] = result == TACTUS_OK ? copy : NULL;
    }
}

/* What looks bad is read once more (rule R8). */
static void superblocks_walk(struct tac_walk *walk)
{
    const uint8_t *copies[TAC_SUPERBLOCK_COPIES];

    for (uint32_t i = 0; i < TAC_SUPERBLOCK_COPIES; i++) {
        reach(walk, (uint64_t)i * TAC_SUPERBLOCK_STRIDE_BLOCKS, "superblock");
    }
    superblocks_read(walk, copies);
    if (superblocks_check(walk, copies, false) > 0) {
        superblocks_read(walk, copies);
        (void)superblocks_check(walk, copies, true);
    }
}

static int state_walk(struct tac_walk *walk, struct tac_error *error)
{
    const struct tac_superblock *superblock = &walk->superblock;
    const struct tac_geometry   *geometry = &walk->store->geometry;

    for (uint32_t i = 0; i < superblock->free_set_block_count; i++) {
        const struct tac_block_reference *reference = &superblock->free_set[i];

        if (tac_store_read_block(walk->store, reference, TAC_BLOCK_FREE_SET, walk->block_data,
                                 error) != TACTUS_OK ||
            tac_free_set_decode(walk->free_set, geometry, i, superblock->free_set_block_count,
                                walk->block_data, reference->address, error) != TACTUS_OK) {
            damage(walk, "free set, part %u: %s", i, error->message);
            return error->code;
        }
        digest_add(walk, reference->address, reference->checksum);
    }
    for (uint32_t i = 0; i < superblock->free_set_block_count; i++) {
        reach(walk, superblock->free_set[i].address, "free set");
    }
    if (tac_manifest_log_replay(walk->log, walk->manifest, superblock, tac_store_read_block,
                                walk->store, error) != TACTUS_OK ||
        tac_manifest_check(walk->manifest, error) != TACTUS_OK) {
        if (error->code != TACTUS_ENOMEM) {
            damage(walk, "manifest: %s", error->message);
        }
        return error->code;
    }
    for (uint64_t i = 0; i < tac_manifest_log_block_count(walk->log); i++) {
        struct tac_block_reference reference = tac_manifest_log_block(walk->log, i);

        reach(walk, reference.address, "manifest log");
        digest_add(walk, reference.address, reference.checksum);
    }
    return TACTUS_OK;
}

static bool block_is_lost(const struct tac_walk *walk, uint64_t address)
{
    return (walk->reached[address / 64] >> address % 64 & 1) == 0 &&
           tac_free_set_is_acquired(walk->free_set, address);
}

/* What is acquired and not reached was lost, unless it is just what damaged index blocks hide. */
static void accounting_check(struct tac_walk *walk)
{
    uint64_t blocks = tac_free_set_blocks_used(walk->free_set);
    uint64_t lost = 0;

    for (uint64_t address = 0; address < blocks; address++) {
        lost += block_is_lost(walk, address);
    }
    for (uint64_t address = 0; address < blocks && lost != walk->unseen; address++) {
        if (block_is_lost(walk, address)) {
            damage(walk, "block %llu is acquired, but nothing refers to it",
                   (unsigned long long)address);
        }
    }
}

static int walk_create(struct tac_walk *walk, struct tac_error *error)
{
    struct tactus *store = walk->store;
    uint32_t       block_size = store->geometry.block_size;
    uint64_t       blocks_max = store->shape.file_size_max / block_size;

    walk->manifest = tac_manifest_new(store->options.tables_max);
    walk->log = tac_manifest_log_new(&store->geometry, tac_checkpoint_log_blocks(block_size));
    walk->free_set = tac_free_set_new(blocks_max);
    walk->reached_size = blocks_max / 64 + 1;
    walk->reached = calloc(walk->reached_size, sizeof *walk->reached);
    walk->index_data = aligned_alloc(4096, block_size);
    walk->block_data = aligned_alloc(4096, block_size);
    walk->filter_data = aligned_alloc(4096, (size_t)TAC_FILTER_BLOCKS_MAX * block_size);
    if (walk->manifest == NULL || walk->log == NULL || walk->free_set == NULL ||
        walk->reached == NULL || walk->index_data == NULL || walk->block_data == NULL ||
        walk->filter_data == NULL) {
        return tac_error_set(error, TACTUS_ENOMEM, "out of memory to walk through the store");
    }
    return TACTUS_OK;
}

static void walk_destroy(struct tac_walk *walk)
{
    if (walk->manifest != NULL) {
        tac_manifest_free(walk->manifest);
    }
    if (walk->log != NULL) {
        tac_manifest_log_free(walk->log);
    }
    if (walk->free_set != NULL) {
        tac_free_set_free(walk->free_set);
    }
    free(walk->reached);
    free(walk->index_data);
    free(walk->block_data);
    free(walk->filter_data);
}

int tac_walk_all(struct tac_walk *walk, struct tac_error *error)
{
    int result = walk_create(walk, error);

    tac_error_clear(&walk->first);
    memset(walk->report, 0, sizeof *walk->report);
    if (result == TACTUS_OK) {
        walk->superblock = walk->store->checkpoint.durable;
        walk->digest = tac_superblock_checksum(&walk->superblock);
        result = state_walk(walk, error);
        if (result == TACTUS_OK) {
            superblocks_walk(walk);
            tables_walk(walk);
            result = snapshots_walk(walk, error);
        }
        if (result == TACTUS_OK) {
            accounting_check(walk);
        }
        if (walk->first.code != TACTUS_OK) {
            *error = walk->first;
            result = TACTUS_ECORRUPT;
        }
    }
    walk_destroy(walk);
    return result;
}
