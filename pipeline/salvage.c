/* SPDX-License-Identifier: Apache-2.0 */
/* salvage -- see salvage.h. The survey and the visit are one walk; what the survey found lost must
 * be lost in the visit, no more and no less. */
#include "pipeline/salvage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"

/* ---- begin and end -------------------------------------------------------------------------- */

static int read_block(void *context, const struct tac_block_reference *reference,
                      enum tac_block_kind kind, uint8_t *block, struct tac_error *error)
{
    struct tac_salvage *salvage = context;

    return tac_block_fetch(salvage->storage, &salvage->geometry, reference, kind, block, error);
}

static int salvage_create(struct tac_salvage *salvage, struct tac_error *error)
{
    uint32_t block_size = salvage->geometry.block_size;
    uint64_t tables = salvage->superblock.table_count;

    if (tables > UINT32_MAX / 4) {
        return tac_error_set(error, TACTUS_ECORRUPT, "a manifest of %llu tables",
                             (unsigned long long)tables);
    }
    salvage->manifest = tac_manifest_new((uint32_t)(2 * tables + 1024));
    salvage->log = tac_manifest_log_new(&salvage->geometry, tac_checkpoint_log_blocks(block_size));
    salvage->index_data = aligned_alloc(4096, block_size);
    /* A page, and the aligned range around it */
    salvage->page_data = aligned_alloc(4096, block_size + 2 * TAC_STORAGE_ALIGNMENT_MAX);
    salvage->tables_sorted = calloc(tables + 1, sizeof(struct tac_table *));
    if (salvage->manifest == NULL || salvage->log == NULL || salvage->index_data == NULL ||
        salvage->page_data == NULL || salvage->tables_sorted == NULL) {
        return tac_error_set(error, TACTUS_ENOMEM, "out of memory to read the store");
    }
    return TACTUS_OK;
}

/* A store can be salvaged without its snapshots: it is no failure if their list cannot be read. */
static void snapshots_list(struct tac_salvage *salvage)
{
    const struct tac_superblock *superblock = &salvage->superblock;
    struct tac_error            *error = &salvage->snapshots_error;

    if (superblock->snapshots.address != 0 &&
        (read_block(salvage, &superblock->snapshots, TAC_BLOCK_SNAPSHOTS, salvage->index_data,
                    error) != TACTUS_OK ||
         tac_snapshot_directory_decode(&salvage->snapshots, &salvage->geometry, superblock,
                                       salvage->index_data, error) != TACTUS_OK)) {
        salvage->snapshots.count = 0;
    } else {
        tac_error_clear(error); /* Of a first attempt */
    }
}

int tac_salvage_begin(struct tac_salvage *salvage, struct tac_storage *storage,
                      struct tac_error *error)
{
    struct tac_superblock_choice choice;

    memset(salvage, 0, sizeof *salvage);
    salvage->storage = storage;
    if (tac_store_superblock_find(storage, &choice, &salvage->doubt, error) != TACTUS_OK) {
        return error->code;
    }
    salvage->superblock = choice.superblock;
    salvage->geometry = (struct tac_geometry){
        .block_size = choice.superblock.shape.block_size,
        .page_size = choice.superblock.shape.page_size,
        .checksum_seed = tac_uuid_checksum_seed(choice.superblock.uuid),
    };
    if (salvage_create(salvage, error) != TACTUS_OK) {
        return error->code;
    }
    if (tac_manifest_log_replay(salvage->log, salvage->manifest, &salvage->superblock, read_block,
                                salvage, error) != TACTUS_OK ||
        tac_manifest_check(salvage->manifest, error) != TACTUS_OK) {
        return tac_error_wrap(error, "manifest log");
    }
    tac_manifest_trees_open(salvage->manifest, salvage->superblock.op_persisted);
    snapshots_list(salvage);
    return TACTUS_OK;
}

void tac_salvage_end(struct tac_salvage *salvage)
{
    for (uint64_t i = 0; i < salvage->loss_count; i++) {
        free((void *)salvage->losses[i].from.data); /* Both keys are in it. */
    }
    free(salvage->losses);
    if (salvage->manifest != NULL) {
        tac_manifest_free(salvage->manifest);
    }
    if (salvage->log != NULL) {
        tac_manifest_log_free(salvage->log);
    }
    free(salvage->index_data);
    free(salvage->page_data);
    free(salvage->tables_sorted);
    memset(salvage, 0, sizeof *salvage);
}

/* ---- losses --------------------------------------------------------------------------------- */

/* Has the range deleted what tables like this one have in it? */
static bool range_is_later(const struct tac_manifest_range *range, const struct tac_table *table)
{
    return range->tree == table->tree && range->range.op > table->snapshot_min;
}

/* Ranges have deleted all that there may have been: one, or several of them together. */
static bool loss_is_deleted(struct tac_salvage *salvage, const struct tac_table *table,
                            const struct tac_salvage_loss *loss)
{
    struct tac_range ranges[TAC_RANGES_MAX];
    struct tac_bytes key = loss->from;
    uint32_t         count = 0;

    for (uint32_t i = 0; i < tac_manifest_range_count(salvage->manifest); i++) {
        const struct tac_manifest_range *range = tac_manifest_range(salvage->manifest, i);

        if (range_is_later(range, table)) {
            ranges[count++] = range->range;
        }
    }
    while (true) { /* From one bound to the next one above it */
        struct tac_range_span span = tac_ranges_span(ranges, count, key);
        int                   order;

        if (span.op == 0) {
            return false;
        }
        order = tac_bytes_compare(loss->to, span.until);
        if (order < 0 || (order == 0 && loss->is_to_excluded)) {
            return true;
        }
        key = span.until;
    }
}

/* Notes a loss of the survey; its keys are copied. */
static int loss_add(struct tac_salvage *salvage, const struct tac_table *table,
                    struct tac_salvage_loss loss, struct tac_error *error)
{
    struct tac_salvage_loss *losses = salvage->losses;
    uint8_t                 *keys;

    if (loss_is_deleted(salvage, table, &loss)) {
        return TACTUS_OK;
    }
    salvage->losses_met++;
    if (salvage->visitor != NULL) {
        return TACTUS_OK;
    }
    if (salvage->loss_count == salvage->loss_capacity) {
        salvage->loss_capacity = 2 * salvage->loss_capacity + 64;
        losses = realloc(losses, salvage->loss_capacity * sizeof *losses);
    }
    keys = malloc((size_t)loss.from.size + loss.to.size + 1);
    if (losses == NULL || keys == NULL) {
        free(keys);
        salvage->losses = losses != NULL ? losses : salvage->losses;
        return tac_error_set(error, TACTUS_ENOMEM, "out of memory for the list of what is lost");
    }
    salvage->losses = losses;
    if (loss.from.size > 0) {
        memcpy(keys, loss.from.data, loss.from.size);
    }
    memcpy(keys + loss.from.size, loss.to.data, loss.to.size);
    loss.from.data = keys;
    loss.to.data = keys + loss.from.size;
    loss.tree = table->tree;
    loss.level = table->level;
    loss.table = table->id;
    loss.stamp = table->stamp;
    salvage->losses[salvage->loss_count++] = loss;
    return TACTUS_OK;
}

static bool loss_has(const struct tac_salvage_loss *loss, struct tac_bytes key)
{
    int order;

    if (tac_bytes_compare(key, loss->from) < 0) {
        return false;
    }
    order = tac_bytes_compare(key, loss->to);
    return loss->is_to_excluded ? order < 0 : order <= 0;
}

static bool loss_is_newer(const struct tac_salvage_loss *loss, const struct tac_table *table)
{
    return loss->level != table->level ? loss->level < table->level : loss->stamp > table->stamp;
}

static int record_visit(struct tac_salvage *salvage, const struct tac_table *table,
                        const struct tac_record *record, struct tac_error *error)
{
    struct tac_salvage_record found = {
        .tree = table->tree, .level = table->level, .table = table->id, .record = *record};

    for (uint64_t i = 0; i < salvage->loss_count && !found.is_doubtful; i++) {
        const struct tac_salvage_loss *loss = &salvage->losses[i];

        if (loss->tree == table->tree && loss_has(loss, record->key)) {
            found.is_touched = true;
            found.is_doubtful = loss_is_newer(loss, table);
        }
    }
    return salvage->visitor->visit(salvage->visitor->context, &found, error);
}

/* ---- tables --------------------------------------------------------------------------------- */

/* Reads the page, twice if need be, and checks it. */
static int page_load(struct tac_salvage *salvage, uint64_t address,
                     const struct tac_page_entry *entry, const struct tac_layout *layout,
                     struct tac_page *ret_page, struct tac_error *error)
{
    uint64_t page_size = salvage->geometry.page_size;
    uint64_t alignment = salvage->storage->alignment_bytes;
    uint64_t offset = address * salvage->geometry.block_size + entry->unit_first * page_size;
    uint64_t begin = offset - offset % alignment;
    uint64_t end = tac_round_up(offset + entry->unit_count * page_size, alignment);
    int      result = TACTUS_ECORRUPT;

    *ret_page = (struct tac_page){
        .data = salvage->page_data + (offset - begin),
        .layout = layout,
        .size_bytes = (uint32_t)(entry->unit_count * page_size),
        .record_count = entry->record_count,
        .flags = entry->flags,
    };
    for (uint32_t attempt = 0; attempt < TAC_READ_ATTEMPTS && result != TACTUS_OK; attempt++) {
        struct tac_u128 checksum;

        result = salvage->storage->ops->read(salvage->storage, salvage->page_data, end - begin,
                                             begin, error);
        if (result != TACTUS_OK) {
            continue;
        }
        checksum =
            tac_checksum(ret_page->data, ret_page->size_bytes, salvage->geometry.checksum_seed);
        if (tac_u128_equal(checksum, entry->checksum)) {
            return tac_page_check(ret_page, error);
        }
        result =
            tac_error_set(error, TACTUS_ECORRUPT,
                          "wrong checksum: found " TAC_U128_FORMAT ", expected " TAC_U128_FORMAT,
                          TAC_U128_ARGUMENTS(checksum), TAC_U128_ARGUMENTS(entry->checksum));
    }
    return result;
}

/* The keys that a page can have: from its separator or the table's first key to the next page's. */
static struct tac_salvage_loss page_loss(const struct tac_table       *table,
                                         const struct tac_index_block *index, uint32_t page,
                                         const char *reason)
{
    struct tac_page_entry   entry = tac_index_page(index, page);
    struct tac_salvage_loss loss = {
        .address =
            tac_index_value_block(index, tac_index_block_of_page(index, page)).reference.address,
        .unit_first = entry.unit_first,
        .records = entry.record_count,
        .from = tac_index_separator(index, page),
        .to = table->key_max,
    };

    if (tac_bytes_compare(loss.from, table->key_min) < 0) {
        loss.from = table->key_min;
    }
    if (page + 1 < index->page_count) {
        loss.to = tac_index_separator(index, page + 1);
        loss.is_to_excluded = true;
    }
    snprintf(loss.reason, sizeof loss.reason, "%s", reason);
    return loss;
}

/* With a range, after the table was made. */
static bool is_deleted(struct tac_salvage *salvage, const struct tac_table *table,
                       struct tac_bytes key)
{
    for (uint32_t i = 0; i < tac_manifest_range_count(salvage->manifest); i++) {
        const struct tac_manifest_range *range = tac_manifest_range(salvage->manifest, i);

        if (range_is_later(range, table) && tac_range_has(&range->range, key)) {
            return true;
        }
    }
    return false;
}

static int page_walk(struct tac_salvage *salvage, const struct tac_table *table,
                     const struct tac_page *page, struct tac_error *error)
{
    int result = TACTUS_OK;

    for (uint32_t i = 0; i < page->record_count && result == TACTUS_OK; i++) {
        struct tac_record record = tac_page_record(page, i);

        if (tac_bytes_compare(record.key, table->key_min) < 0 ||
            is_deleted(salvage, table, record.key)) {
            continue; /* Below the edge of a trimmed table nothing counts. */
        }
        if (salvage->visitor != NULL) {
            result = record_visit(salvage, table, &record, error);
        } else {
            salvage->records++;
        }
    }
    return result;
}

static int pages_walk(struct tac_salvage *salvage, const struct tac_table *table,
                      const struct tac_index_block *index, struct tac_error *error)
{
    const struct tac_layout *layout = &tac_manifest_tree(salvage->manifest, table->tree)->layout;
    uint32_t first = table->is_trimmed ? tac_index_find_page(index, table->key_min) : 0;
    int      result = TACTUS_OK;

    for (uint32_t i = first; i < index->page_count && result == TACTUS_OK; i++) {
        struct tac_page_entry entry = tac_index_page(index, i);
        uint64_t              address =
            tac_index_value_block(index, tac_index_block_of_page(index, i)).reference.address;
        struct tac_page  page;
        struct tac_error reason;

        result = page_load(salvage, address, &entry, layout, &page, &reason);
        if (result == TACTUS_OK) {
            result = page_walk(salvage, table, &page, error);
        } else {
            result = loss_add(salvage, table, page_loss(table, index, i, reason.message), error);
        }
    }
    return result;
}

static int table_walk(struct tac_salvage *salvage, const struct tac_table *table,
                      struct tac_error *error)
{
    struct tac_salvage_loss loss = {
        .address = table->index.address,
        .records = table->records,
        .from = table->key_min,
        .to = table->key_max,
    };
    struct tac_index_block index;
    struct tac_error       reason;

    if (read_block(salvage, &table->index, TAC_BLOCK_INDEX, salvage->index_data, &reason) ==
            TACTUS_OK &&
        tac_index_block_decode(&index, salvage->index_data, &salvage->geometry,
                               table->index.address, &reason) == TACTUS_OK) {
        salvage->tables += salvage->visitor == NULL;
        return pages_walk(salvage, table, &index, error);
    }
    snprintf(loss.reason, sizeof loss.reason, "%s", reason.message);
    return loss_add(salvage, table, loss, error);
}

/* ---- the walk ------------------------------------------------------------------------------- */

/* Deeper levels first, in each the lower stamps; tables of one stamp do not overlap. */
static int table_order(const void *left, const void *right)
{
    const struct tac_table *a = *(const struct tac_table *const *)left;
    const struct tac_table *b = *(const struct tac_table *const *)right;

    if (a->level != b->level) {
        return a->level > b->level ? -1 : 1;
    }
    if (a->stamp != b->stamp) {
        return a->stamp < b->stamp ? -1 : 1;
    }
    return a->id < b->id ? -1 : a->id > b->id;
}

static int tree_walk(struct tac_salvage *salvage, const struct tac_manifest_tree *tree,
                     struct tac_error *error)
{
    uint64_t count = 0;
    int      result = TACTUS_OK;

    if (!tree->is_open) {
        return TACTUS_OK; /* It was dropped. */
    }
    for (uint32_t l = 0; l < TACTUS_LEVELS_MAX; l++) {
        for (uint32_t i = 0; i < tree->levels[l].table_count; i++) {
            salvage->tables_sorted[count++] = tree->levels[l].tables[i];
        }
    }
    tac_assert(count <= salvage->superblock.table_count);
    qsort(salvage->tables_sorted, count, sizeof(struct tac_table *), table_order);
    for (uint64_t i = 0; i < count && result == TACTUS_OK; i++) {
        result = table_walk(salvage, salvage->tables_sorted[i], error);
    }
    return result;
}

static int salvage_walk(struct tac_salvage *salvage, struct tac_error *error)
{
    int result = TACTUS_OK;

    salvage->losses_met = 0;
    for (uint32_t i = 0; i < tac_manifest_tree_count(salvage->manifest) && result == TACTUS_OK;
         i++) {
        result = tree_walk(salvage, tac_manifest_tree(salvage->manifest, i), error);
    }
    return result;
}

int tac_salvage_survey(struct tac_salvage *salvage, struct tac_error *error)
{
    tac_assert(salvage->loss_count == 0);
    salvage->visitor = NULL;
    return salvage_walk(salvage, error);
}

int tac_salvage_visit(struct tac_salvage *salvage, struct tac_salvage_visitor *visitor,
                      struct tac_error *error)
{
    int result;

    salvage->visitor = visitor;
    result = salvage_walk(salvage, error);
    if (result == TACTUS_OK && salvage->losses_met != salvage->loss_count) {
        result = tac_error_set(error, TACTUS_EIO,
                               "what can be read changes from one reading to the next: copy the "
                               "file to a sound device first");
    }
    return result;
}
