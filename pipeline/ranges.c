/* SPDX-License-Identifier: Apache-2.0 */
/* ranges -- see ranges.h. */
#include "pipeline/ranges.h"

#include "base/mutant.h"
#include "base/units.h"
#include "lsm/manifest_event.h"
#include "pipeline/store.h"

uint32_t tac_ranges_count(struct tactus *store)
{
    uint32_t count = tac_manifest_range_count(store->manifest);

    return store->immutable_table == NULL
               ? count
               : count + tac_memtable_range_count(store->immutable_table);
}

uint32_t tac_ranges_count_all(struct tactus *store)
{
    return tac_ranges_count(store) +
           tac_memtable_range_count(store->memtables[store->memtable_mutable]);
}

uint32_t tac_ranges_max(struct tactus *store)
{
    uint32_t key_size = 1;
    uint64_t blocks = tac_checkpoint_log_blocks(store->geometry.block_size) / 8;
    uint64_t count = 1;

    for (uint32_t i = 0; i < tac_manifest_tree_count(store->manifest); i++) {
        key_size =
            (uint32_t)tac_max_u64(key_size, tac_manifest_tree(store->manifest, i)->layout.key_size);
    }
    while (count < TAC_RANGES_MAX &&
           tac_manifest_log_blocks_for(&store->geometry, count + 1, key_size) <= blocks) {
        count++;
    }
    return (uint32_t)count;
}

static uint64_t memtable_log_bytes(const struct tac_memtable *memtable, uint32_t trees)
{
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < trees && tac_memtable_range_count(memtable) > 0; i++) {
        uint32_t ref = tac_memtable_ranges(memtable, i);

        while (ref != 0) {
            struct tac_range range = tac_memtable_range(memtable, ref, &ref);

            bytes += tac_manifest_event_range_bytes(&range);
        }
    }
    return bytes;
}

uint64_t tac_ranges_log_bytes(struct tactus *store, bool with_mutable)
{
    uint32_t trees = tac_manifest_tree_count(store->manifest);
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < tac_manifest_range_count(store->manifest); i++) {
        bytes += tac_manifest_event_range_bytes(&tac_manifest_range(store->manifest, i)->range);
    }
    if (store->immutable_table != NULL) {
        bytes += memtable_log_bytes(store->immutable_table, trees);
    }
    if (with_mutable) {
        bytes += memtable_log_bytes(store->memtables[store->memtable_mutable], trees);
    }
    return bytes;
}

/* ---- room, for replays, too ----------------------------------------------------------------- */

void tac_ranges_checkpointed(struct tactus *store)
{
    store->ranges_again = tac_ranges_count_all(store);
    store->ranges_since = 0;
}

void tac_ranges_taken(struct tactus *store)
{
    store->ranges_again++;
    store->ranges_since++;
}

bool tac_ranges_have_room(struct tactus *store, bool *ret_wants_checkpoint)
{
    uint32_t most = tac_ranges_max(store);
    uint32_t spare = most / 4;
    bool     is_pending = store->checkpoint.bars_since == 0; /* The checkpoint may not be durable */

    *ret_wants_checkpoint = store->ranges_again + spare >= most;
    return !*ret_wants_checkpoint && (!is_pending || store->ranges_since < spare);
}

/* ---- tables that leave ---------------------------------------------------------------------- */

void tac_ranges_leave(struct tactus *store)
{
    const struct tac_bar *bar = &store->bar;

    for (uint32_t i = 0; i < bar->leaving_count; i++) {
        struct tac_table *table = bar->leaving[i];
        uint64_t          op = tac_snapshot_directory_newest(&store->snapshots.directory, table);

        table->is_leaving = false;
        if (op != 0 && !TAC_MUTANT(RANGE_OVER_SNAPSHOT)) {
            tac_manifest_retain(store->manifest, table, op);
        } else {
            tac_manifest_discard(store->manifest, table);
        }
        tac_manifest_log_insert(store->manifest_log,
                                tac_manifest_tree(store->manifest, table->tree), table);
    }
}

/* ---- at a bar's end ------------------------------------------------------------------------- */

static void memtable_ranges_join(struct tactus *store)
{
    for (uint32_t i = 0; i < tac_manifest_tree_count(store->manifest); i++) {
        uint32_t ref = tac_memtable_ranges(store->immutable_table, i);

        if (tac_bar_tree_is_over(tac_manifest_tree(store->manifest, i), store->persisted_op)) {
            continue; /* Nobody looks at it any more. */
        }
        while (ref != 0) {
            struct tac_range range = tac_memtable_range(store->immutable_table, ref, &ref);

            tac_manifest_range_add(store->manifest, i, &range, 0);
        }
    }
}

/* Of a dropped tree snapshots may keep the tables, but no view: their images have ranges of their
 * own. */
static bool is_needed_by_tables(const struct tactus *store, const struct tac_manifest_tree *tree,
                                const struct tac_range *range)
{
    if (tac_bar_tree_is_over(tree, store->persisted_op)) {
        return false;
    }
    for (uint32_t i = 0; i < (TAC_MUTANT(RANGE_TOO_SOON) ? 1 : TACTUS_LEVELS_MAX); i++) {
        struct tac_range_walk walk = tac_range_walk(&tree->levels[i], range);

        if (tac_range_walk_next(&walk) != NULL) {
            return true;
        }
    }
    return false;
}

static bool is_in_later(struct tactus *store, uint32_t number)
{
    const struct tac_manifest_range *range = tac_manifest_range(store->manifest, number);

    for (uint32_t i = number + 1; i < tac_manifest_range_count(store->manifest); i++) {
        const struct tac_manifest_range *later = tac_manifest_range(store->manifest, i);

        if (later->tree == range->tree &&
            tac_bytes_compare(later->range.low, range->range.low) <= 0 &&
            tac_bytes_compare(range->range.high, later->range.high) <= 0) {
            return true;
        }
    }
    return false;
}

void tac_ranges_settle(struct tactus *store)
{
    struct tac_manifest *manifest = store->manifest;
    uint32_t             number = 0;

    if (store->immutable_table != NULL && tac_memtable_range_count(store->immutable_table) > 0) {
        memtable_ranges_join(store);
    }
    while (number < tac_manifest_range_count(manifest)) {
        struct tac_manifest_range *range = tac_manifest_range(manifest, number);
        struct tac_manifest_tree  *tree = tac_manifest_tree(manifest, range->tree);

        if (is_needed_by_tables(store, tree, &range->range) && !is_in_later(store, number)) {
            if (range->log_sequence == 0) {
                tac_manifest_log_range(store->manifest_log, tree, range);
                store->has_logged_ranges = true;
            }
            number++;
            continue;
        }
        if (range->log_sequence != 0 && !TAC_MUTANT(RANGE_END_UNLOGGED)) {
            tac_manifest_log_range_over(store->manifest_log, tree, range);
        }
        tac_manifest_range_remove(manifest, number);
    }
}
