/* SPDX-License-Identifier: Apache-2.0 */
/* space -- see space.h.
 *
 * The argument, in blocks. F(N) is what is free when plan N has reserved, f a tight flush, c what
 * checkpoints_need says, which is two checkpoints. Plan N + 1 finds at least F(N) less one
 * checkpoint: reservations that were not used and blocks that a checkpoint gives back only add to
 * it.
 *   Writers are let into the memtable that plan N + 2 flushes if
 *   F(N) >= (flushes to come) + f + 2f + 2c. From plan N + 1 on that flush is one to come, and what
 *   is planned leaves room for it and for c. The flush of plan N + 1 itself takes the f that was
 *   kept for it since plan N: if it would take more as planned, it is planned again as a tight one.
 *   Writers that are not let in leave the memtable empty, but for an op that crosses a bar's end.
 * Descriptors of tables likewise, without the c.
 *
 * In blocks of the manifest log, of which a checkpoint leaves all but one free. m is what a plan's
 * end takes in any case: its tight flush, what it notes of ranges, the least of discards. Plan N
 * leaves m for plan N + 1, if that comes before the next checkpoint: behind half a bar, and where a
 * sorted run comes, whose tables enter at the end of plan N + 1. For such a run it also leaves
 * log_share, unless that and m are more than half of the room, or compactions that were due found
 * no room in the bar before: they go first then, and a run may be refused. Within plan N what may
 * be refused leaves room for the tight flush, as order->log_flush_bytes. Old blocks are carried as
 * far as all of this stays free. A bar that ends with less than 2m + log_share begins a checkpoint.
 *
 * Not covered: the log's growth while a stuck store only makes checkpoints, and a tree created
 * while the store is nearly full, which raises f.
 */
#include "pipeline/space.h"

#include "base/mutant.h"
#include "base/units.h"
#include "pipeline/checkpoint.h"
#include "pipeline/ingest.h"
#include "pipeline/recovery.h"
#include "queues/atomics.h"

struct need {
    uint64_t blocks, tables;
};

/* The most that so many records and bytes of a tree take, written with as few tables as can be. */
static struct need tight_need(const struct tactus *store, const struct tac_layout *layout,
                              uint64_t records, uint64_t bytes)
{
    const struct tac_cut             cut = {.limit_bytes = TAC_PLAN_LIMIT_NONE};
    struct tac_table_builder_options options = {
        .geometry = &store->geometry,
        .layout = *layout,
        .filter_bits_per_key = store->shape.filter_bits_per_key,
        .cuts = &cut,
        .cut_count = 1,
    };
    struct tac_builder_bound bound =
        tac_table_builder_bound(&options, store->table_records_max, records, bytes);

    return (struct need){bound.blocks, bound.tables};
}

/* Of a memtable that is full of this tree's records. */
static struct need memtable_need(const struct tactus *store, const struct tac_layout *layout)
{
    bool     is_fixed = layout->kind == TACTUS_LAYOUT_FIXED;
    uint64_t record_bytes_min = is_fixed ? layout->key_size + layout->value_size : 1;
    uint64_t records =
        store->shape.memtable_size / (record_bytes_min + TACTUS_RECORD_OVERHEAD_BYTES);

    return tight_need(store, layout, records + 1, store->shape.memtable_size);
}

/* A full memtable. Needs are as good as linear in the bytes: those of the worst tree, and what is
 * rounded up for each of the others. */
static struct need fill_need(struct tactus *store)
{
    uint32_t    trees = 0;
    struct need most = {0, 0};

    for (uint32_t i = 0; i < tac_manifest_tree_count(store->manifest); i++) {
        const struct tac_manifest_tree *tree = tac_manifest_tree(store->manifest, i);
        struct need                     need = memtable_need(store, &tree->layout);

        if (tree->is_gone) {
            continue;
        }
        trees++;
        most.blocks = tac_max_u64(most.blocks, need.blocks);
        most.tables = tac_max_u64(most.tables, need.tables);
    }
    return (struct need){most.blocks + 8 * (uint64_t)trees, most.tables + 2 * (uint64_t)trees};
}

/* So many flushes to come. With runs of 1 each is merged with level 0, which has grown by the
 * flushes before, the one of this plan among them. */
static struct need flushes_need(struct tactus *store, struct need fill, uint64_t count)
{
    struct need need = {count * fill.blocks, count * fill.tables};

    if (store->shape.runs_per_level > 1) {
        return need;
    }
    need.blocks += count * (count + 1) / 2 * fill.blocks;
    need.tables += count * (count + 1) / 2 * fill.tables;
    for (uint32_t i = 0; i < tac_manifest_tree_count(store->manifest); i++) {
        const struct tac_manifest_tree *tree = tac_manifest_tree(store->manifest, i);
        struct need                     level =
            tight_need(store, &tree->layout, tree->levels[0].records, tree->levels[0].bytes);

        if (tree->is_gone) {
            continue;
        }
        need.blocks += count * level.blocks;
        need.tables += count * level.tables;
    }
    return need;
}

/* ---- the manifest log ----------------------------------------------------------------------- */

static uint32_t key_size_max(const struct tactus *store)
{
    uint32_t key_size = 1;

    for (uint32_t i = 0; i < tac_manifest_tree_count(store->manifest); i++) {
        key_size =
            (uint32_t)tac_max_u64(key_size, tac_manifest_tree(store->manifest, i)->layout.key_size);
    }
    return key_size;
}

static uint64_t log_blocks_for(const struct tactus *store, uint64_t bytes)
{
    return tac_manifest_log_blocks_for_bytes(&store->geometry, bytes, key_size_max(store));
}

/* The trees' events with which a checkpoint begins, and those of trees that are created before. */
static uint64_t log_seal_blocks(const struct tactus *store)
{
    return tac_manifest_log_blocks_for(&store->geometry, 2 * TACTUS_TREES_MAX, 1);
}

/* For a run's tables, and for ranges that are deleted while the plan before it runs. */
static uint64_t log_share(const struct tactus *store)
{
    bool has_runs = store->plans_per_bar == 1; /* See tactus_ingest. */

    return has_runs ? tac_checkpoint_log_blocks(store->geometry.block_size) / 4 : 0;
}

/* Of a tight flush. With runs of 1 it also removes tables. */
static uint64_t flush_log_bytes(struct tactus *store, struct need fill)
{
    uint64_t longest = tac_manifest_log_event_bytes(key_size_max(store));
    uint64_t bytes = 0;

    if (store->shape.runs_per_level == 1) {
        return flushes_need(store, fill, 1).tables * 2 * longest;
    }
    for (uint32_t i = 0; i < tac_manifest_tree_count(store->manifest); i++) {
        const struct tac_manifest_tree *tree = tac_manifest_tree(store->manifest, i);

        if (!tree->is_gone) { /* As fill_need rounds up */
            bytes += 2 * (uint64_t)tac_manifest_log_event_bytes(tree->layout.key_size);
            fill.tables -= 2;
        }
    }
    return bytes + fill.tables * longest;
}

/* What a plan's end takes in any case. */
static uint64_t plan_log_blocks(struct tactus *store, struct need fill, bool with_mutable)
{
    uint64_t discard = tac_manifest_log_event_bytes(key_size_max(store));

    return log_blocks_for(store, flush_log_bytes(store, fill) +
                                     tac_ranges_log_bytes(store, with_mutable) +
                                     TAC_BAR_DISCARDS_LEAST * discard);
}

/* For events of the plan that is to be made. */
static uint64_t log_blocks_left(struct tactus *store, struct need fill)
{
    uint64_t plan = plan_log_blocks(store, fill, false);
    uint64_t room =
        tac_subtract_floor_zero(tac_manifest_log_room(store->manifest_log), log_seal_blocks(store));

    if (store->plans_per_bar > 1) {
        return store->half == 0 ? tac_subtract_floor_zero(room, plan) : room;
    }
    if (store->ingest != NULL) {
        return tac_subtract_floor_zero(room, tac_ingest_log_blocks(store));
    }
    if (store->bars_stuck > 0) {
        return room;
    }
    return tac_max_u64(tac_subtract_floor_zero(room, plan + log_share(store)), room / 2);
}

uint64_t tac_space_log_kept(struct tactus *store)
{
    bool has_next = store->half + 1 < store->plans_per_bar || store->is_flush_due ||
                    (store->ingest != NULL && !store->ingest_enters);
    uint64_t ranges = log_blocks_for(store, tac_ranges_log_bytes(store, true));
    uint64_t next = has_next ? plan_log_blocks(store, fill_need(store), true) : 0;

    return ranges + next + tac_ingest_log_blocks(store);
}

bool tac_space_log_is_short(struct tactus *store)
{
    uint64_t half = tac_checkpoint_log_blocks(store->geometry.block_size) / 2;
    uint64_t plans = 2 * plan_log_blocks(store, fill_need(store), true);

    return tac_manifest_log_room(store->manifest_log) <
           tac_max_u64(half, plans + log_seal_blocks(store) + log_share(store));
}

/* ---- plans ---------------------------------------------------------------------------------- */

/* Two checkpoints: the log's blocks that wait, and what a tight flush adds for each, and what plans
 * always take of the discarded tables. */
static uint64_t checkpoints_need(struct tactus *store, struct need fill)
{
    uint64_t trees = tac_manifest_tree_count(store->manifest);
    /* With runs of 1 a flush also removes tables. */
    uint64_t events = flushes_need(store, fill, 1).tables * 2 + trees +
                      tac_min_u64(tac_snapshots_discards_left(store),
                                  TAC_BAR_DISCARDS_LEAST * (uint64_t)store->plans_per_bar) +
                      tac_ranges_count(store);
    uint64_t log = tac_manifest_log_blocks_for(&store->geometry, events, key_size_max(store)) +
                   TAC_BAR_LOG_CARRY_BLOCKS * (trees + 1);
    uint64_t free_set = tac_free_set_encoded_blocks(store->free_set, &store->geometry, 0) + 1;
    uint64_t directory = store->snapshots.directory.count > 0;

    return tac_manifest_log_checkpoint_blocks(store->manifest_log) +
           2 * (log + free_set + directory + 1);
}

/* Flushes that are still to be made of what has been let in: of the memtable that is being filled,
 * and of the full one if the plan that is being made does not flush it (runs of 1) or has not
 * yet. */
static uint64_t flushes_to_come(const struct tactus *store, bool is_planned)
{
    bool has_full = store->immutable_table != NULL &&
                    tac_memtable_accounted(store->immutable_table) > 0 &&
                    !(is_planned && store->half + 1 == store->plans_per_bar);

    return (uint64_t)store->mutable_may_fill + has_full;
}

void tac_space_order(struct tactus *store, struct tac_bar_order *order)
{
    struct need fill = fill_need(store);
    struct need flushes = flushes_need(store, fill, flushes_to_come(store, false));
    uint64_t    checkpoints = checkpoints_need(store, fill);

    order->blocks_kept = flushes.blocks + checkpoints;
    order->tables_kept = flushes.tables;
    flushes = flushes_need(store, fill, flushes_to_come(store, true));
    order->flush_blocks_kept = flushes.blocks + checkpoints;
    order->flush_tables_kept = flushes.tables;
    order->key_size_max = key_size_max(store);
    order->log_blocks_max = log_blocks_left(store, fill);
    order->log_flush_bytes = flush_log_bytes(store, fill);
}

/* What fullness_update would have of a store that is not full, with a bar of work as small as can
 * be. In the log the running plan's events come first, then those of the plan that ends with the
 * run; there the mutable memtable's ranges are known. */
void tac_space_ingest(struct tactus *store, struct tac_space_room *ret_room)
{
    bool        is_planned = !tac_recovery_is_refilling(store);
    struct need fill = fill_need(store);
    struct need flushes = flushes_need(store, fill, flushes_to_come(store, is_planned) + 1);
    uint64_t    log_kept = plan_log_blocks(store, fill, true) + log_seal_blocks(store) +
                        (is_planned ? store->bar.log_blocks : 0);

    *ret_room = (struct tac_space_room){
        .blocks = tac_subtract_floor_zero(tac_free_set_free_count(store->free_set),
                                          flushes.blocks + 4 * fill.blocks +
                                              2 * checkpoints_need(store, fill)),
        .tables = tac_subtract_floor_zero(tac_manifest_tables_free(store->manifest),
                                          flushes.tables + 2 * fill.tables +
                                              (is_planned ? store->bar.tables_replaced : 0)),
        .log_blocks = tac_subtract_floor_zero(tac_manifest_log_room(store->manifest_log), log_kept),
    };
}

void tac_space_fullness_update(struct tactus *store)
{
    struct need fill = fill_need(store);
    struct need flushes = flushes_need(store, fill, flushes_to_come(store, true) + 1);
    uint64_t    checkpoints = checkpoints_need(store, fill);
    uint64_t    reserved = tac_min_u64(store->bar.blocks_reserved, 8 * fill.blocks);
    uint64_t    work = tac_max_u64(reserved, 2 * fill.blocks);
    uint64_t    blocks = tac_free_set_free_count(store->free_set);
    uint64_t    tables = tac_manifest_tables_free(store->manifest);
    uint64_t    blocks_least = flushes.blocks + 2 * fill.blocks + 2 * checkpoints;
    uint64_t    tables_least = flushes.tables + fill.tables;

    if (blocks < blocks_least || tables < tables_least) {
        store->fullness_next = TAC_FULL_FOR_DELETES;
    } else if (blocks < blocks_least + work || tables < tables_least + fill.tables) {
        store->fullness_next = TAC_FULL_FOR_PUTS;
    } else {
        store->fullness_next = TAC_NOT_FULL;
    }
    store->is_full_of_tables_next = tables < tables_least + fill.tables;
}

bool tac_space_has_room(struct tactus *store, uint64_t blocks)
{
    struct need fill = fill_need(store);
    struct need flushes = flushes_need(store, fill, flushes_to_come(store, false) + 1);

    /* As fullness_update has it for a plan whose compactions take little. */
    return tac_free_set_free_count(store->free_set) >=
           flushes.blocks + 4 * fill.blocks + 2 * checkpoints_need(store, fill) + blocks;
}

/* What an empty store lets puts in with; with runs of 1, what it has with as much in level 0 as the
 * planner lets it have. */
int tac_space_tree_check(struct tactus *store, const struct tac_layout *layout,
                         struct tac_error *error)
{
    struct need fill = memtable_need(store, layout);
    uint64_t    block_size = store->shape.block_size;
    uint64_t    fills = 2 + 4; /* Flushes and twice their work, as fullness_update has it */
    uint64_t    blocks;

    if (store->shape.runs_per_level == 1) {
        fills += 3 + 2 * 4;
    }
    blocks = TAC_SUPERBLOCK_COPIES + fills * (fill.blocks + 8) + 3 * checkpoints_need(store, fill);
    if (blocks * block_size <= store->shape.file_size_max) {
        return TACTUS_OK;
    }
    return tac_error_set(error, TACTUS_EOPTION,
                         "file_size_max is %llu bytes: for keys of up to %u bytes, values of up to "
                         "%u and memtables of %llu it must be at least %llu",
                         (unsigned long long)store->shape.file_size_max, layout->key_size,
                         layout->value_size, (unsigned long long)store->shape.memtable_size,
                         (unsigned long long)(blocks * block_size));
}

/* Once for each time that the store gets full, and once when there is room again. */
static void fullness_say(struct tactus *store)
{
    bool was_full = store->fullness != TAC_NOT_FULL;
    bool is_full = store->fullness_next != TAC_NOT_FULL;

    if (is_full && !was_full) {
        tac_logger_add(&store->logger, TACTUS_LOGGER_WARNING,
                       "the store is full at op %llu: it takes no puts until compaction has made "
                       "room",
                       (unsigned long long)store->last_op);
    } else if (was_full && !is_full) {
        tac_logger_add(&store->logger, TACTUS_LOGGER_INFO, "the store takes puts again, at op %llu",
                       (unsigned long long)store->last_op);
    }
}

void tac_space_fullness_publish(struct tactus *store, bool is_bar_end)
{
    store->mutable_may_fill =
        (!is_bar_end && store->mutable_may_fill) || store->fullness_next != TAC_FULL_FOR_DELETES;
    tac_atomic_store_release_u32(&store->is_full_of_tables, store->is_full_of_tables_next);
    fullness_say(store);
    if (!TAC_MUTANT(FULL_FOR_GOOD) || store->fullness == TAC_NOT_FULL) {
        tac_atomic_store_release_u32(&store->fullness, store->fullness_next);
    }
}
