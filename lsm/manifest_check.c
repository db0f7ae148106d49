/* SPDX-License-Identifier: Apache-2.0 */
/* manifest_check -- the whole manifest: its checksum, and its invariants. */
#include "base/units.h"
#include "lsm/manifest_event.h"
#include "lsm/manifest_internal.h"

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
    for (uint32_t i = 0; i < manifest->range_count; i++) {
        const struct tac_manifest_range *range = &manifest->ranges[i];

        XXH3_128bits_update(
            &state, event,
            tac_manifest_event_encode_range(event, &manifest->trees[range->tree], &range->range));
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

static int ranges_check(const struct tac_manifest *manifest, struct tac_error *error)
{
    for (uint32_t i = 0; i < manifest->range_count; i++) {
        const struct tac_manifest_range *range = &manifest->ranges[i];
        const struct tac_manifest_tree  *tree = &manifest->trees[range->tree];
        uint32_t                         size_max = tree->layout.key_size + 1;

        if (tree->is_gone || range->range.low.size > size_max ||
            range->range.high.size > size_max) {
            return tac_error_set(error, TACTUS_ECORRUPT,
                                 "manifest: tree \"%s\", the range that op %llu deleted: its "
                                 "bounds are too long, or the tree is not there",
                                 tree->name, (unsigned long long)range->range.op);
        }
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
    return rv == TACTUS_OK ? ranges_check(manifest, error) : rv;
}
