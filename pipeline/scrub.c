/* SPDX-License-Identifier: Apache-2.0 */
/* scrub -- see scrub.h. The file is not written to, and neither manifest nor plan is touched: with
 * it or without it the store's bytes are the same.
 *
 * note: no false alarm
 *
 * A block of a table is read after the table was found in a view, the newest one, inside the guard.
 * What it refers to stays as it is until the end of the bar after the view's (read_side.h). If the
 * view is not stale after the read, it was not when the block was read; so what does not match is
 * damage. The index block from which a reference comes may have been read long before: the table is
 * still there with the same index block, which names the same blocks as long as it exists.
 *
 * A block of the durable checkpoint k becomes free when k + 1 takes effect, after k + 1 has
 * replaced it as the durable one; the superblock copies of k - 1 are written to while k + 1 is
 * under way. The lock and is_checkpointing tell both: if no checkpoint is under way before and
 * after the read, and it is the same one that is durable, nobody has written to what was read. */
#include "pipeline/scrub.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/thread.h"
#include "base/units.h"
#include "pipeline/store.h"
#include "queues/atomics.h"
#include "reading/block_read.h"

#define DAY_NS (24 * 3600 * (uint64_t)TAC_SECOND_NS)
/* How long the thread sleeps, at least, so that many small blocks are read in one turn, and at
 * most, since the pace changes with what is in the store. */
#define SLEEP_NS_MIN (TAC_SECOND_NS / 100)
#define SLEEP_NS_MAX (60 * (uint64_t)TAC_SECOND_NS)
/* What is made up for after a pause: so much time's blocks, many more than one sleep takes, or
 * TAC_SCRUB_BURST_BLOCKS. */
#define CATCH_UP_NS (10 * (uint64_t)SLEEP_NS_MIN)
/* Where checkpoints follow each other closely, a part of theirs is passed over after so many turns:
 * most of what they consist of is new anyway. The round then does not count as a whole one. */
#define BUSY_TURNS_MAX 16

/* What is to be read in this turn. */
struct target {
    struct tac_block_reference reference;
    enum tac_block_kind        kind;     /* 0: a superblock copy */
    uint64_t                   view_bar; /* Of a table: the view that it was found in */
    uint32_t                   value_block_count, filter_block_count; /* Of the table */
    char                       tree_name[TACTUS_TREE_NAME_MAX + 1];
    bool                       is_dropped; /* The tree */
};

enum found {
    FOUND_BLOCK,
    FOUND_NOTHING, /* The part of the round is over */
    FOUND_BUSY,    /* Not now */
};

/* ---- the clock ------------------------------------------------------------------------------ */

static uint64_t (*clock_replaced)(void);

void tac_scrub_clock_replace(uint64_t (*now_ns)(void))
{
    __atomic_store_n(&clock_replaced, now_ns, __ATOMIC_RELEASE);
}

static uint64_t now_ns(void)
{
    uint64_t (*replaced)(void) = __atomic_load_n(&clock_replaced, __ATOMIC_ACQUIRE);

    return replaced != NULL ? replaced() : tac_clock_now_ns();
}

/* The time that one block of a round has. */
static uint64_t interval_ns(struct tactus *store)
{
    uint64_t blocks;

    pthread_mutex_lock(&store->stats_lock);
    blocks = store->reported.blocks_acquired;
    pthread_mutex_unlock(&store->stats_lock);
    return tac_max_u64(store->scrub.period_ns / tac_max_u64(blocks, 1), 1);
}

/* ---- create and destroy --------------------------------------------------------------------- */

void tac_scrub_init(struct tac_scrub *scrub)
{
    pthread_condattr_t attributes;

    pthread_mutex_init(&scrub->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&scrub->stop_cond, &attributes);
    pthread_condattr_destroy(&attributes);
}

int tac_scrub_create(struct tac_scrub *scrub, uint32_t days, uint32_t block_size,
                     struct tac_error *error)
{
    tac_static_assert(TAC_SUPERBLOCK_BYTES <= 4096, "a superblock copy fits the smallest block");
    if (days == 0) {
        return TACTUS_OK;
    }
    scrub->index_data = aligned_alloc(TAC_STORAGE_ALIGNMENT_MAX, block_size);
    scrub->block_data = aligned_alloc(TAC_STORAGE_ALIGNMENT_MAX, block_size);
    if (scrub->index_data == NULL || scrub->block_data == NULL) {
        return tac_error_set(error, TACTUS_ENOMEM, "out of memory for the scrub");
    }
    scrub->period_ns = days * DAY_NS;
    return TACTUS_OK;
}

void tac_scrub_destroy(struct tac_scrub *scrub)
{
    tac_assert(!scrub->has_thread);
    free(scrub->index_data);
    free(scrub->block_data);
    pthread_mutex_destroy(&scrub->lock);
    pthread_cond_destroy(&scrub->stop_cond);
}

/* ---- tables --------------------------------------------------------------------------------- */

/* Is a table, by its place in its level, at the position or behind it? */
static bool table_is_ahead(const struct tac_table *table, const struct tac_scrub_position *position)
{
    struct tac_bytes key = {position->key, position->key_size};
    int              order = tac_bytes_compare(table->key_min, key);

    return order > 0 || (order == 0 && table->id >= position->table);
}

/* The run's first table at the position or behind it, or NULL. */
static const struct tac_table *run_next(const struct tac_version_run    *run,
                                        const struct tac_scrub_position *position)
{
    uint32_t low = 0, high = run->table_count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (table_is_ahead(run->tables[middle], position)) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low < run->table_count ? run->tables[low] : NULL;
}

/* The same of a level, over all its runs. */
static const struct tac_table *level_next(const struct tac_version_level  *level,
                                          const struct tac_scrub_position *position)
{
    const struct tac_table *next = NULL;

    for (uint32_t i = 0; i < level->run_count; i++) {
        const struct tac_table *table = run_next(&level->runs[i], position);
        int                     order =
            table == NULL || next == NULL ? -1 : tac_bytes_compare(table->key_min, next->key_min);

        if (table != NULL && (order < 0 || (order == 0 && table->id < next->id))) {
            next = table;
        }
    }
    return next;
}

/* A level's number, behind all others: that of the retained tables, which are in order of id. */
#define RETAINED_LEVEL TACTUS_LEVELS_MAX

static const struct tac_table *retained_next(const struct tac_version_tree   *tree,
                                             const struct tac_scrub_position *position)
{
    uint32_t low = 0, high = tree->retained_count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (tree->retained[middle]->id >= position->table) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low < tree->retained_count ? tree->retained[low] : NULL;
}

static void position_level_begin(struct tac_scrub_position *position, uint32_t tree, uint32_t level)
{
    *position = (struct tac_scrub_position){.part = TAC_SCRUB_TABLES, .tree = tree, .level = level};
}

static void position_table_begin(struct tac_scrub_position *position, struct tac_bytes key,
                                 uint64_t table)
{
    tac_assert(key.size <= sizeof position->key);
    if (key.size > 0) {
        memmove(position->key, key.data, key.size);
    }
    position->key_size = key.size;
    position->table = table;
    position->index_address = position->block = 0;
}

static void position_table_end(struct tac_scrub_position *position)
{
    position->table++;
    position->index_address = position->block = 0;
}

/* The level's table at the position or behind it, or NULL; moves the position there. */
static const struct tac_table *position_table(const struct tac_version_tree *tree,
                                              struct tac_scrub_position     *position)
{
    bool                    is_retained = position->level == RETAINED_LEVEL;
    const struct tac_table *table = is_retained
                                        ? retained_next(tree, position)
                                        : level_next(&tree->levels[position->level], position);

    if (table != NULL &&
        (table->id != position->table || table->index.address != position->index_address)) {
        position_table_begin(position, is_retained ? (struct tac_bytes){NULL, 0} : table->key_min,
                             table->id);
    }
    return table;
}

/* The position's table if it is still there, or else the next one; moves the position there. */
static const struct tac_table *version_next(const struct tac_version  *version,
                                            struct tac_scrub_position *position)
{
    uint32_t tree_count = tac_atomic_load_acquire_u32(&version->tree_count);

    while (position->tree < tree_count) {
        const struct tac_version_tree *tree = &version->trees[position->tree];

        while (tree->has_tables && position->level <= RETAINED_LEVEL) {
            bool                    is_level = position->level < tree->level_count;
            const struct tac_table *table = is_level || position->level == RETAINED_LEVEL
                                                ? position_table(tree, position)
                                                : NULL;

            if (table != NULL) {
                return table;
            }
            position_level_begin(position, position->tree, position->level + 1);
        }
        position_level_begin(position, position->tree + 1, 0);
    }
    return NULL;
}

/* Of a table whose index block is in memory. */
static void table_block_target(const struct tac_scrub *scrub, struct target *target)
{
    uint32_t filters = scrub->index.filter_block_count;
    uint32_t number = (uint32_t)scrub->position.block - 1;

    if (number < filters) {
        target->kind = TAC_BLOCK_FILTER;
        target->reference = tac_index_filter_block(&scrub->index, number);
    } else {
        target->kind = TAC_BLOCK_VALUE;
        target->reference = tac_index_value_block(&scrub->index, number - filters).reference;
    }
}

static enum found table_find(struct tactus *store, struct target *target)
{
    struct tac_scrub_position *position = &store->scrub.position;
    struct tac_read_ticket     ticket = tac_read_side_enter(&store->read_side);
    const struct tac_view     *view = tac_atomic_load_acquire_ptr((void **)&store->read_side.view);
    const struct tac_table    *table = version_next(view->version, position);

    if (table != NULL) {
        target->kind = TAC_BLOCK_INDEX;
        target->reference = table->index;
        target->view_bar = view->bar;
        target->value_block_count = table->value_block_count;
        target->filter_block_count = table->filter_block_count;
        memcpy(target->tree_name, view->version->trees[position->tree].name,
               sizeof target->tree_name);
        target->is_dropped = tac_atomic_load_relaxed_u32(
                                 &view->version->trees[position->tree].id) == TAC_TREE_ID_NONE;
    }
    tac_read_side_leave(&store->read_side, ticket);
    if (table == NULL) {
        return FOUND_NOTHING;
    }
    if (position->block > 0) {
        table_block_target(&store->scrub, target);
    }
    return FOUND_BLOCK;
}

/* ---- the durable checkpoint ----------------------------------------------------------------- */

/* The directory, or the next block of an image; of one that was released meanwhile nothing more. */
static enum found snapshot_reference(struct tactus *store, struct target *target)
{
    struct tac_scrub_position           *position = &store->scrub.position;
    const struct tac_snapshot_directory *directory = &store->snapshots.directory;

    if (directory->count > 0 && position->block == 0) {
        target->kind = TAC_BLOCK_SNAPSHOTS;
        target->reference = store->checkpoint.durable.snapshots;
        return FOUND_BLOCK;
    }
    for (uint32_t i = 0; i < directory->count; i++) {
        const struct tac_snapshot_entry *entry = &directory->entries[i];
        bool                             is_new = entry->op > position->snapshot_op;

        if (is_new) {
            position->snapshot_op = entry->op;
            position->image = entry->newest;
        }
        if (entry->op == position->snapshot_op && position->image.address != 0) {
            target->kind = TAC_BLOCK_MANIFEST;
            target->reference = position->image;
            return FOUND_BLOCK;
        }
    }
    return FOUND_NOTHING;
}

/* With the lock, and no checkpoint under way. */
static enum found state_reference(struct tactus *store, struct target *target)
{
    struct tac_scrub            *scrub = &store->scrub;
    const struct tac_superblock *superblock = &store->checkpoint.durable;
    uint64_t                     block = scrub->position.block, count;

    switch (scrub->position.part) {
    case TAC_SCRUB_LOG:
        count = tac_manifest_log_block_count(store->manifest_log);
        target->kind = TAC_BLOCK_MANIFEST;
        if (block < count) {
            target->reference = tac_manifest_log_block(store->manifest_log, count - 1 - block);
        }
        return block < count ? FOUND_BLOCK : FOUND_NOTHING;
    case TAC_SCRUB_SNAPSHOTS:
        return snapshot_reference(store, target);
    case TAC_SCRUB_FREE_SET:
        target->kind = TAC_BLOCK_FREE_SET;
        if (block < superblock->free_set_block_count) {
            target->reference = superblock->free_set[block];
        }
        return block < superblock->free_set_block_count ? FOUND_BLOCK : FOUND_NOTHING;
    case TAC_SCRUB_SUPERBLOCKS:
        target->kind = 0;
        target->reference.address = block * TAC_SUPERBLOCK_STRIDE_BLOCKS;
        tac_assert(block < TAC_SUPERBLOCK_COPIES);
        return FOUND_BLOCK;
    case TAC_SCRUB_TABLES:
        break;
    }
    tac_unreachable();
}

static enum found state_find(struct tactus *store, struct target *target)
{
    struct tac_scrub *scrub = &store->scrub;
    enum found        found = FOUND_BUSY;

    pthread_mutex_lock(&scrub->lock);
    if (tac_atomic_load_acquire_u32(&store->is_checkpointing) == 0) {
        scrub->superblock = store->checkpoint.durable;
        found = state_reference(store, target);
    }
    pthread_mutex_unlock(&scrub->lock);
    return found;
}

/* What was read belongs to the checkpoint that is durable now, too, and was not written to. */
static bool state_is_same(struct tactus *store)
{
    bool is_same;

    pthread_mutex_lock(&store->scrub.lock);
    is_same = tac_atomic_load_acquire_u32(&store->is_checkpointing) == 0 &&
              store->checkpoint.durable.sequence == store->scrub.superblock.sequence;
    pthread_mutex_unlock(&store->scrub.lock);
    return is_same;
}

/* The newest pair is what was written; of the other pair each copy is a whole superblock of this
 * history in its place, maybe an older one: what an open would leave alone. */
static int superblock_check(struct tac_scrub *scrub, uint32_t copy, struct tac_error *error)
{
    uint32_t                     first = tac_superblock_copy_first(scrub->superblock.sequence);
    bool                         is_newest = copy == first || copy == first + 1;
    const uint8_t               *copies[TAC_SUPERBLOCK_COPIES] = {NULL};
    struct tac_superblock_choice choice = {.repair_second_mask = 0};

    tac_assert(scrub->position.index_address == 0); /* Its memory is not in use */
    tac_superblock_encode(scrub->index_data, &scrub->superblock, is_newest ? copy : first);
    if (is_newest) {
        return memcmp(scrub->index_data, scrub->block_data, TAC_SUPERBLOCK_BYTES) == 0
                   ? TACTUS_OK
                   : tac_error_set(error, TACTUS_ECORRUPT, "is not what was written");
    }
    copies[first] = scrub->index_data;
    copies[copy] = scrub->block_data;
    if (tac_superblock_choose(copies, &choice, error) != TACTUS_OK) {
        return error->code;
    }
    return (choice.repair_second_mask >> copy & 1) == 0
               ? TACTUS_OK
               : tac_error_set(error, TACTUS_ECORRUPT, "is not whole, or not in its place");
}

static int superblock_read(struct tactus *store, struct tac_error *error)
{
    struct tac_scrub *scrub = &store->scrub;
    uint32_t          copy = (uint32_t)scrub->position.block;
    uint64_t offset = (uint64_t)copy * TAC_SUPERBLOCK_STRIDE_BLOCKS * store->geometry.block_size;
    int      result = TACTUS_EIO;

    for (uint32_t attempt = 0; attempt < TAC_READ_ATTEMPTS && result != TACTUS_OK; attempt++) {
        result = store->storage->ops->read(store->storage, scrub->block_data, TAC_SUPERBLOCK_BYTES,
                                           offset, error);
        if (result == TACTUS_OK) {
            result = superblock_check(scrub, copy, error);
        }
    }
    return result;
}

/* ---- the position --------------------------------------------------------------------------- */

static void round_end(struct tac_scrub *scrub)
{
    pthread_mutex_lock(&scrub->lock);
    scrub->counts.rounds += !scrub->is_partial;
    scrub->counts.round_blocks = 0;
    pthread_mutex_unlock(&scrub->lock);
    scrub->is_partial = false;
}

static void part_end(struct tac_scrub *scrub)
{
    struct tac_scrub_position *position = &scrub->position;

    if (position->part == TAC_SCRUB_SUPERBLOCKS) {
        round_end(scrub);
        position_level_begin(position, 0, 0);
    } else {
        *position = (struct tac_scrub_position){.part = position->part + 1};
    }
}

/* What a table's index block does not tell, because it is damaged, is passed over. */
static void position_advance(struct tac_scrub *scrub)
{
    struct tac_scrub_position *position = &scrub->position;

    position->block++;
    if (position->part == TAC_SCRUB_TABLES &&
        (position->index_address == 0 ||
         position->block >
             (uint64_t)scrub->index.filter_block_count + scrub->index.value_block_count)) {
        position_table_end(position);
    }
    if (position->part == TAC_SCRUB_SUPERBLOCKS && position->block == TAC_SUPERBLOCK_COPIES) {
        part_end(scrub);
    }
}

/* ---- one block ------------------------------------------------------------------------------ */

static int index_read(struct tactus *store, const struct target *target, struct tac_error *error)
{
    struct tac_scrub *scrub = &store->scrub;

    if (tac_store_read_block(store, &target->reference, TAC_BLOCK_INDEX, scrub->index_data,
                             error) != TACTUS_OK ||
        tac_index_block_decode(&scrub->index, scrub->index_data, &store->geometry,
                               target->reference.address, error) != TACTUS_OK) {
        return error->code;
    }
    if (scrub->index.value_block_count != target->value_block_count ||
        scrub->index.filter_block_count != target->filter_block_count) {
        return tac_error_set(error, TACTUS_ECORRUPT, "block %llu: index and manifest disagree",
                             (unsigned long long)target->reference.address);
    }
    scrub->position.index_address = target->reference.address;
    return TACTUS_OK;
}

/* What lies behind a damaged block of an image is passed over. */
static int manifest_block_read(struct tactus *store, const struct target *target,
                               struct tac_error *error)
{
    struct tac_scrub *scrub = &store->scrub;
    int               result =
        tac_store_read_block(store, &target->reference, target->kind, scrub->block_data, error);

    if (scrub->position.part == TAC_SCRUB_SNAPSHOTS) {
        scrub->position.image = (struct tac_block_reference){.address = 0};
        if (result == TACTUS_OK) {
            scrub->position.image = tac_manifest_image_previous(scrub->block_data);
        }
    }
    return result;
}

static int target_read(struct tactus *store, const struct target *target, struct tac_error *error)
{
    switch (target->kind) {
    case TAC_BLOCK_INDEX:
        return index_read(store, target, error);
    case TAC_BLOCK_MANIFEST:
        return manifest_block_read(store, target, error);
    case TAC_BLOCK_VALUE:
    case TAC_BLOCK_FILTER:
    case TAC_BLOCK_FREE_SET:
    case TAC_BLOCK_SNAPSHOTS:
        return tac_store_read_block(store, &target->reference, target->kind,
                                    store->scrub.block_data, error);
    }
    return superblock_read(store, error);
}

/* Names the place. */
static void damage_wrap(const struct tac_scrub *scrub, const struct target *target,
                        struct tac_error *error)
{
    const struct tac_scrub_position *position = &scrub->position;

    switch (position->part) {
    case TAC_SCRUB_TABLES:
        if (position->level == RETAINED_LEVEL || target->is_dropped) {
            (void)tac_error_wrap(error, "tree %s%s, table %llu, of snapshots only",
                                 target->tree_name, target->is_dropped ? " (dropped)" : "",
                                 (unsigned long long)position->table);
        } else {
            (void)tac_error_wrap(error, "tree %s, level %u, table %llu", target->tree_name,
                                 position->level, (unsigned long long)position->table);
        }
        return;
    case TAC_SCRUB_LOG:
        (void)tac_error_wrap(error, "manifest log");
        return;
    case TAC_SCRUB_SNAPSHOTS:
        (void)tac_error_wrap(error, "snapshots");
        return;
    case TAC_SCRUB_FREE_SET:
        (void)tac_error_wrap(error, "free set");
        return;
    case TAC_SCRUB_SUPERBLOCKS:
        (void)tac_error_wrap(error, "superblock copy %u", (uint32_t)position->block);
        return;
    }
    tac_unreachable();
}

static void block_count(struct tac_scrub *scrub, const struct tac_error *damage)
{
    pthread_mutex_lock(&scrub->lock);
    scrub->counts.blocks++;
    scrub->counts.round_blocks++;
    if (damage->code != TACTUS_OK) {
        scrub->counts.damages++;
        memcpy(scrub->counts.damage, damage->message, sizeof scrub->counts.damage);
    }
    pthread_mutex_unlock(&scrub->lock);
}

static void block_scrub(struct tactus *store, const struct target *target)
{
    struct tac_scrub *scrub = &store->scrub;
    struct tac_error  error;
    bool              is_table = scrub->position.part == TAC_SCRUB_TABLES;

    tac_error_clear(&error);
    if (target_read(store, target, &error) != TACTUS_OK) {
        bool is_valid = is_table ? !tac_read_side_is_stale(&store->read_side, target->view_bar)
                                 : state_is_same(store);

        if (!is_valid) {
            return; /* Another turn begins with a newer view. */
        }
        damage_wrap(scrub, target, &error);
    } else {
        tac_error_clear(&error); /* Of a first attempt */
    }
    block_count(scrub, &error);
    if (error.code != TACTUS_OK) {
        tac_logger_add(&store->logger, TACTUS_LOGGER_ERROR, "the scrub found damage: %s",
                       error.message);
        tac_events_add(&store->events,
                       &(struct tactus_event){
                           .kind = TACTUS_EVENT_ERROR,
                           .code = error.code,
                           .text = error.message,
                       },
                       0);
    }
    scrub->busy_turns = 0;
    position_advance(scrub);
}

/* ---- one turn ------------------------------------------------------------------------------- */

/* Moves on to the next part of the round that has something to be read. There always is: the
 * superblocks. */
static enum found target_find(struct tactus *store, struct target *target)
{
    for (;;) {
        enum found found = store->scrub.position.part == TAC_SCRUB_TABLES
                               ? table_find(store, target)
                               : state_find(store, target);

        if (found != FOUND_NOTHING) {
            return found;
        }
        part_end(&store->scrub);
    }
}

/* True while a writer waits, for the work of a beat or for a plan's end. */
static bool writer_waits(struct tactus *store)
{
    return !tac_store_is_poisoned(store) &&
           (tac_atomic_load_relaxed_u64(&store->stages.consumed_target) != 0 ||
            tac_atomic_load_relaxed_u64(&store->clock.plans_wanted) >
                tac_atomic_load_relaxed_u64(&store->clock.plans_ended));
}

bool tac_scrub_step(struct tactus *store)
{
    struct tac_scrub *scrub = &store->scrub;
    struct target     target = {.kind = 0};
    uint64_t          interval, now, catch_up;

    if (scrub->period_ns == 0 || writer_waits(store)) {
        return false;
    }
    interval = interval_ns(store);
    now = now_ns();
    if (now < scrub->paced_ns + interval) {
        return false;
    }
    catch_up = tac_max_u64(TAC_SCRUB_BURST_BLOCKS * interval, CATCH_UP_NS);
    scrub->paced_ns =
        tac_max_u64(scrub->paced_ns + interval, tac_subtract_floor_zero(now, catch_up));
    if (target_find(store, &target) == FOUND_BLOCK) {
        block_scrub(store, &target);
    } else if (++scrub->busy_turns >= BUSY_TURNS_MAX) {
        scrub->busy_turns = 0;
        scrub->is_partial = true;
        part_end(scrub);
    }
    return true;
}

void tac_scrub_report(struct tac_scrub *scrub, struct tactus_stats *stats)
{
    pthread_mutex_lock(&scrub->lock);
    stats->scrub_blocks = scrub->counts.blocks;
    stats->scrub_rounds = scrub->counts.rounds;
    stats->scrub_round_blocks = scrub->counts.round_blocks;
    stats->scrub_damages = scrub->counts.damages;
    memcpy(stats->scrub_damage, scrub->counts.damage, sizeof stats->scrub_damage);
    pthread_mutex_unlock(&scrub->lock);
}

/* ---- start and stop ------------------------------------------------------------------------- */

/* At the number-th table, in any order. */
static void position_move(struct tac_scrub *scrub, struct tac_manifest *manifest, uint64_t number)
{
    for (uint32_t i = 0; i < tac_manifest_tree_count(manifest); i++) {
        const struct tac_manifest_tree *tree = tac_manifest_tree(manifest, i);

        for (uint32_t level = 0; level <= tree->planner.last_level; level++) {
            const struct tac_manifest_level *from = &tree->levels[level];

            if (number < from->table_count) {
                const struct tac_table *table = from->tables[number];

                position_level_begin(&scrub->position, i, level);
                position_table_begin(&scrub->position, table->key_min, table->id);
                return;
            }
            number -= from->table_count;
        }
        if (number < tree->retained.table_count) {
            position_level_begin(&scrub->position, i, RETAINED_LEVEL);
            scrub->position.table = tree->retained.tables[number]->id;
            return;
        }
        number -= tree->retained.table_count;
    }
}

void tac_scrub_begin(struct tactus *store)
{
    struct tac_scrub *scrub = &store->scrub;
    uint64_t          tables = tac_manifest_table_count(store->manifest);
    uint64_t          number;

    if (scrub->period_ns == 0) {
        return;
    }
    scrub->paced_ns = now_ns();
    number = tables == 0 ? 0 : scrub->paced_ns % tables; /* As good as a random number */
    scrub->is_partial = number > 0;
    if (number > 0) {
        position_move(scrub, store->manifest, number);
    }
}

/* With the lock. Until the next block is about due, or somebody wants the thread to end. */
static void thread_sleep(struct tac_scrub *scrub, uint64_t interval)
{
    uint64_t        sleep_ns = tac_min_u64(tac_max_u64(interval, SLEEP_NS_MIN), SLEEP_NS_MAX);
    uint64_t        until_ns;
    struct timespec until;

    if (__atomic_load_n(&clock_replaced, __ATOMIC_ACQUIRE) != NULL) {
        sleep_ns = SLEEP_NS_MIN; /* Nobody knows when that one will strike. */
    }
    until_ns = tac_clock_now_ns() + sleep_ns;
    until.tv_sec = (time_t)(until_ns / TAC_SECOND_NS);
    until.tv_nsec = (long)(until_ns % TAC_SECOND_NS);
    (void)pthread_cond_timedwait(&scrub->stop_cond, &scrub->lock, &until);
}

static void *thread_main(void *argument)
{
    struct tactus    *store = argument;
    struct tac_scrub *scrub = &store->scrub;

    pthread_mutex_lock(&scrub->lock);
    while (!scrub->should_stop) {
        uint64_t interval;
        bool     has_read;

        pthread_mutex_unlock(&scrub->lock);
        has_read = tac_scrub_step(store);
        interval = interval_ns(store);
        pthread_mutex_lock(&scrub->lock);
        if (!has_read && !scrub->should_stop) {
            thread_sleep(scrub, interval);
        }
    }
    pthread_mutex_unlock(&scrub->lock);
    return NULL;
}

int tac_scrub_start(struct tactus *store, struct tac_error *error)
{
    struct tac_scrub *scrub = &store->scrub;

    if (scrub->period_ns == 0 || !store->workers.has_threads) {
        return TACTUS_OK;
    }
    scrub->has_thread =
        tac_thread_start(&scrub->thread, "tac-scrub", thread_main, store, error) == TACTUS_OK;
    return scrub->has_thread ? TACTUS_OK : error->code;
}

void tac_scrub_stop(struct tactus *store)
{
    struct tac_scrub *scrub = &store->scrub;

    if (!scrub->has_thread) {
        return;
    }
    pthread_mutex_lock(&scrub->lock);
    scrub->should_stop = true;
    pthread_cond_signal(&scrub->stop_cond);
    pthread_mutex_unlock(&scrub->lock);
    pthread_join(scrub->thread, NULL);
    scrub->has_thread = false;
}
