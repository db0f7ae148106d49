/* SPDX-License-Identifier: Apache-2.0 */
/* Checkpoints of free set, manifest log and superblock together, as a store makes them, on a disk
 * of a few blocks: one store never stops, another one crashes again and again and repeats its bars.
 * Both must write the same superblocks (which hold the checksums of all there is), and no block
 * that a superblock reaches is written again while a crash could fall back to it (rule R4). */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/prng.h"
#include "base/units.h"
#include "lsm/manifest_log.h"
#include "tests/lib/tap.h"

#define DISK_BLOCKS 3000
#define TABLES_MAX 400
#define LOG_BLOCKS_MAX 64
#define BLOCK_SIZE 4096
#define BARS 160
#define TABLE_BLOCKS_MAX 6
#define TREES 3

static const struct tac_layout layout = {TACTUS_LAYOUT_VARIABLE, 60, 100};

struct world {
    /* Survives a crash */
    uint8_t *disk;
    /* Lost in a crash */
    struct tac_geometry      geometry;
    struct tac_free_set     *free_set;
    struct tac_manifest     *manifest;
    struct tac_manifest_log *log;
    struct tac_superblock    superblock; /* Newest one made, durable or not */
    uint64_t                 bar;        /* Bars ended */
    uint64_t                 table_id_last, stamp_last;
    bool                     checkpoint_is_open, checkpoint_is_written;
    /* The oracles */
    bool    *reached_durable, *reached_new; /* Blocks of the durable and of the open checkpoint */
    uint64_t violations;
    uint64_t seed;
    uint64_t interval_bars;
};

static uint8_t *disk_block(const struct world *world, uint64_t address)
{
    return world->disk + address * BLOCK_SIZE;
}

/* Rule R4 is judged here: no writer can pass by. */
static void disk_write(struct world *world, uint64_t address, const uint8_t *block)
{
    if (address == 0 || address >= DISK_BLOCKS || world->reached_durable[address] ||
        (world->checkpoint_is_open && world->reached_new[address])) {
        world->violations++;
    }
    memcpy(disk_block(world, address), block, BLOCK_SIZE);
}

static int disk_read(void *context, const struct tac_block_reference *reference,
                     enum tac_block_kind kind, uint8_t *block, struct tac_error *error)
{
    const struct world *world = context;

    memcpy(block, disk_block(world, reference->address), BLOCK_SIZE);
    return tac_block_verify(block, &world->geometry, kind, reference, error);
}

/* ---- tables --------------------------------------------------------------------------------- */

/* An index block that lists its table's value blocks: u32 count at 64, u32 addresses behind. */
static void table_write(struct world *world, struct tac_table *table, const uint32_t *addresses,
                        uint32_t count)
{
    uint8_t                 block[BLOCK_SIZE];
    struct tac_block_header header = {TAC_BLOCK_INDEX, 0, world->superblock.sequence + 1, 0, 0};

    header.tree = table->tree;
    header.address = addresses[0];
    header.used_bytes = 68 + 4 * count;
    memset(block, 0, sizeof block);
    tac_block_header_encode(block, &header);
    tac_store_u32(block + 64, count - 1);
    memcpy(block + 68, addresses + 1, (count - 1) * sizeof *addresses);
    table->index.address = addresses[0];
    table->index.checksum = tac_block_checksum(block, &world->geometry);
    table->value_block_count = count - 1;
    disk_write(world, addresses[0], block);
    for (uint32_t i = 1; i < count; i++) {
        memset(block, (int)(table->id + i), sizeof block);
        disk_write(world, addresses[i], block);
    }
}

/* Calls for each block of the table, its index block first. False: the index block is damaged. */
static bool table_blocks(struct world *world, const struct tac_table *table,
                         void (*visit)(struct world *, uint64_t))
{
    uint8_t          block[BLOCK_SIZE];
    struct tac_error error;

    if (disk_read(world, &table->index, TAC_BLOCK_INDEX, block, &error) != TACTUS_OK) {
        tap_diag("table %llu: %s", (unsigned long long)table->id, error.message);
        return false;
    }
    visit(world, table->index.address);
    for (uint32_t i = 0; i < tac_load_u32(block + 64); i++) {
        uint32_t address = tac_load_u32(block + 68 + 4 * i);

        visit(world, address);
        for (uint32_t j = 0; j < BLOCK_SIZE; j++) {
            if (disk_block(world, address)[j] != (uint8_t)(table->id + 1 + i)) {
                tap_diag("table %llu: a value block was overwritten",
                         (unsigned long long)table->id);
                return false;
            }
        }
    }
    return true;
}

static void visit_release(struct world *world, uint64_t address)
{
    tac_free_set_release(world->free_set, address);
}

static void visit_reach(struct world *world, uint64_t address)
{
    if (!tac_free_set_is_acquired(world->free_set, address) || world->reached_new[address]) {
        world->violations++; /* Reached, but not acquired; or reached twice */
    }
    world->reached_new[address] = true;
}

static void table_keys(struct tac_table *table, struct tac_prng *prng)
{
    uint8_t  min[60], max[60];
    uint32_t size = 8 + (uint32_t)tac_prng_below(prng, 53);

    memset(min, 0, sizeof min);
    memset(max, 255, sizeof max);
    min[0] = (uint8_t)tac_prng_below(prng, 200);
    max[0] = (uint8_t)(min[0] + tac_prng_below(prng, 50));
    min[1] = (uint8_t)tac_prng_next(prng);
    tac_table_set_keys(table, (struct tac_bytes){min, size}, (struct tac_bytes){max, size});
}

/* ---- a bar ---------------------------------------------------------------------------------- */

/* Some jobs, each with a reservation of which a part is used; their tables enter level 0 or 1. */
static void bar_jobs(struct world *world, struct tac_prng *prng)
{
    uint64_t cursor = 0;
    uint32_t jobs = (uint32_t)tac_prng_below(prng, 6);
    uint32_t addresses[6][TABLE_BLOCKS_MAX * 2];

    for (uint32_t i = 0; i < jobs; i++) {
        if (!tac_free_set_reserve(world->free_set, &cursor, TABLE_BLOCKS_MAX * 2, addresses[i])) {
            tap_bail("the disk is full");
        }
    }
    for (uint32_t i = 0; i < jobs; i++) {
        uint32_t used =
            2 + (uint32_t)tac_prng_below(prng, TABLE_BLOCKS_MAX); /* At least a value block */
        uint32_t tree = (uint32_t)tac_prng_below(prng, tac_manifest_tree_count(world->manifest));
        struct tac_table *table = tac_manifest_table_take(world->manifest, tree);

        if (table == NULL) {
            tap_bail("too many tables");
        }
        for (uint32_t j = 0; j < TABLE_BLOCKS_MAX * 2; j++) {
            if (j < used) {
                tac_free_set_acquire_reserved(world->free_set, addresses[i][j]);
            } else {
                tac_free_set_forfeit(world->free_set, addresses[i][j]);
            }
        }
        table->id = ++world->table_id_last;
        table->stamp = ++world->stamp_last;
        table->level = (uint32_t)tac_prng_below(prng, 2);
        table->snapshot_max = UINT64_MAX;
        table->bytes = tac_prng_below(prng, 1000);
        table_keys(table, prng);
        table_write(world, table, addresses[i], used);
        tac_manifest_insert(world->manifest, table);
        tac_manifest_log_insert(world->log, tac_manifest_tree(world->manifest, table->tree), table);
    }
}

/* Some tables of the level change level, are trimmed (a new descriptor), or go. */
static void bar_tables(struct world *world, struct tac_prng *prng, uint32_t tree, uint32_t number)
{
    struct tac_manifest_level *level = &tac_manifest_tree(world->manifest, tree)->levels[number];

    for (uint32_t i = level->table_count; i-- > 0;) {
        struct tac_table *table = level->tables[i], *trimmed;

        switch (tac_prng_below(prng, level->table_count < 20 ? 20 : 6)) {
        case 0:
        case 1:
            tac_manifest_remove(world->manifest, table);
            tac_manifest_log_remove(world->log, table);
            world->violations += !table_blocks(world, table, visit_release);
            tac_manifest_limbo_add(world->manifest, table, world->bar);
            break;
        case 2:
            trimmed = tac_manifest_table_take(world->manifest, tree);
            if (trimmed == NULL) {
                tap_bail("too many tables");
            }
            trimmed->id = table->id;
            trimmed->stamp = table->stamp;
            trimmed->level = 1 - number;
            trimmed->snapshot_max = UINT64_MAX;
            trimmed->index = table->index;
            trimmed->value_block_count = table->value_block_count;
            trimmed->bytes = table->bytes / 2;
            trimmed->is_trimmed = true;
            tac_table_set_keys(trimmed, table->key_max, table->key_max);
            tac_manifest_remove(world->manifest, table);
            tac_manifest_limbo_add(world->manifest, table, world->bar);
            tac_manifest_insert(world->manifest, trimmed);
            tac_manifest_log_insert(world->log, tac_manifest_tree(world->manifest, tree), trimmed);
            break;
        }
    }
}

static void tree_add(struct world *world)
{
    uint32_t         tree = tac_manifest_tree_count(world->manifest);
    char             name[2] = {(char)('a' + tree), 0};
    struct tac_error error;

    if (tac_manifest_tree_add(world->manifest, name, &layout, &tree, &error) != TACTUS_OK) {
        tap_bail("%s", error.message);
    }
    tac_manifest_tree(world->manifest, tree)->planner.last_level = 2;
    tac_manifest_log_tree(world->log, tac_manifest_tree(world->manifest, tree));
}

/* What a bar does depends on its number and on the state alone. */
static void bar_run(struct world *world)
{
    struct tac_prng prng = {tac_mix_u64(world->seed + world->bar)};
    uint32_t        trees = tac_manifest_tree_count(world->manifest);

    if (trees < TREES && world->bar == 10 * trees) {
        tree_add(world);
    }
    bar_jobs(world, &prng);
    for (uint32_t i = 0; i < tac_manifest_tree_count(world->manifest); i++) {
        bar_tables(world, &prng, i, 0);
        bar_tables(world, &prng, i, 1);
        tac_manifest_tree(world->manifest, i)->planner.work_mean = tac_prng_next(&prng) >> 8;
    }
    tac_manifest_limbo_sweep(world->manifest, world->bar, NULL, NULL);
    tac_manifest_log_compact(world->log, world->manifest, 4, 0);
    world->bar++;
}

/* ---- checkpoints ---------------------------------------------------------------------------- */

static void visit_tables(struct world *world)
{
    for (uint32_t i = 0; i < tac_manifest_tree_count(world->manifest); i++) {
        for (uint32_t j = 0; j < TACTUS_LEVELS_MAX; j++) {
            const struct tac_manifest_level *level =
                &tac_manifest_tree(world->manifest, i)->levels[j];

            for (uint32_t k = 0; k < level->table_count; k++) {
                world->violations += !table_blocks(world, level->tables[k], visit_reach);
            }
        }
    }
}

/* All blocks that the newest superblock reaches; each acquired, none twice, and no others. */
static void world_reach(struct world *world)
{
    uint64_t count = TAC_SUPERBLOCK_COPIES;

    memset(world->reached_new, 0, DISK_BLOCKS);
    visit_tables(world);
    for (uint64_t i = 0; i < tac_manifest_log_block_count(world->log); i++) {
        visit_reach(world, tac_manifest_log_block(world->log, i).address);
    }
    for (uint32_t i = 0; i < world->superblock.free_set_block_count; i++) {
        visit_reach(world, world->superblock.free_set[i].address);
    }
    for (uint64_t i = 0; i < DISK_BLOCKS; i++) {
        count += world->reached_new[i];
    }
    world->violations += count != tac_free_set_acquired_count(world->free_set);
}

static void checkpoint_log(struct world *world, uint64_t sequence)
{
    uint32_t count = tac_manifest_log_checkpoint_blocks(world->log);

    for (uint32_t i = 0; i < count; i++) {
        uint8_t  block[BLOCK_SIZE];
        uint64_t address = 0;

        if (!tac_free_set_acquire(world->free_set, &address)) {
            tap_bail("the disk is full");
        }
        tac_manifest_log_seal(world->log, i, address, sequence, block);
        disk_write(world, address, block);
    }
    tac_manifest_log_checkpoint_done(world->log, world->free_set, &world->superblock);
}

static void checkpoint_free_set(struct world *world, uint64_t sequence)
{
    struct tac_superblock *superblock = &world->superblock;

    for (uint32_t i = 0; i < superblock->free_set_block_count; i++) {
        tac_free_set_release(world->free_set, superblock->free_set[i].address);
    }
    tac_free_set_checkpoint_begin(world->free_set);
    superblock->free_set_block_count =
        tac_free_set_encoded_blocks(world->free_set, &world->geometry, 0);
    for (uint32_t i = 0; i < superblock->free_set_block_count; i++) {
        if (!tac_free_set_acquire(world->free_set, &superblock->free_set[i].address)) {
            tap_bail("the disk is full");
        }
    }
    tac_free_set_freeze(world->free_set);
    for (uint32_t i = 0; i < superblock->free_set_block_count; i++) {
        uint8_t block[BLOCK_SIZE];

        tac_free_set_encode(world->free_set, &world->geometry, i, superblock->free_set[i].address,
                            sequence, block);
        superblock->free_set[i].checksum = tac_block_checksum(block, &world->geometry);
        disk_write(world, superblock->free_set[i].address, block);
    }
}

static void checkpoint_begin(struct world *world)
{
    struct tac_superblock *superblock = &world->superblock;

    for (uint32_t i = 0; i < tac_manifest_tree_count(world->manifest); i++) {
        tac_manifest_log_tree(world->log, tac_manifest_tree(world->manifest, i));
    }
    if (superblock->sequence > 0) {
        superblock->parent_checksum = tac_superblock_checksum(superblock);
    }
    checkpoint_log(world, superblock->sequence + 1);
    checkpoint_free_set(world, superblock->sequence + 1);
    superblock->sequence++;
    superblock->op_persisted = superblock->op_compacted = world->bar;
    superblock->op_released = world->bar + 1;
    superblock->bar_count = world->bar;
    superblock->table_id_last = world->table_id_last;
    superblock->stamp_last = world->stamp_last;
    superblock->table_count = tac_manifest_table_count(world->manifest);
    superblock->manifest_checksum = tac_manifest_checksum(world->manifest);
    world->checkpoint_is_open = true;
    world->checkpoint_is_written = false;
    world_reach(world);
}

/* Both copies of the pair, or as much as a crash lets through. */
enum written {
    WRITTEN,
    FIRST_ONLY,
    FIRST_TORN
};

static void superblock_write(struct world *world, enum written how)
{
    uint32_t first = tac_superblock_copy_first(world->superblock.sequence);
    uint8_t  copy[TAC_SUPERBLOCK_BYTES];

    for (uint32_t i = first; i <= first + (how == WRITTEN); i++) {
        tac_superblock_encode(copy, &world->superblock, i);
        memcpy(disk_block(world, i * TAC_SUPERBLOCK_STRIDE_BLOCKS), copy,
               how == FIRST_TORN ? 2000 : sizeof copy);
    }
    if (how == WRITTEN) {
        world->checkpoint_is_written = true;
        memcpy(world->reached_durable, world->reached_new, DISK_BLOCKS);
    }
}

/* The op at which the checkpoint takes effect: the end of the bar after the one it began with. */
static void checkpoint_effect(struct world *world)
{
    if (!world->checkpoint_is_written) {
        superblock_write(world, WRITTEN);
    }
    tac_free_set_checkpoint_effect(world->free_set);
    world->checkpoint_is_open = false;
}

/* ---- life and recovery ---------------------------------------------------------------------- */

static void world_blank(struct world *world)
{
    world->free_set = tac_free_set_new(DISK_BLOCKS);
    world->manifest = tac_manifest_new(TABLES_MAX);
    world->log = tac_manifest_log_new(&world->geometry, LOG_BLOCKS_MAX);
}

static void world_lose(struct world *world)
{
    tac_manifest_log_free(world->log);
    tac_manifest_free(world->manifest);
    tac_free_set_free(world->free_set);
}

static void world_create(struct world *world, uint64_t seed, uint64_t interval_bars)
{
    struct tac_superblock *superblock = &world->superblock;
    uint8_t                copy[TAC_SUPERBLOCK_BYTES];

    memset(world, 0, sizeof *world);
    world->disk = calloc(DISK_BLOCKS, BLOCK_SIZE);
    world->reached_durable = calloc(DISK_BLOCKS, 1);
    world->reached_new = calloc(DISK_BLOCKS, 1);
    world->seed = seed;
    world->interval_bars = interval_bars;
    superblock->shape = (struct tac_shape){
        .memtable_size = 8 * BLOCK_SIZE,
        .table_size = 2 * BLOCK_SIZE,
        .slice_size = 2 * BLOCK_SIZE,
        .file_size_max = DISK_BLOCKS * BLOCK_SIZE,
        .block_size = BLOCK_SIZE,
        .page_size = 512,
        .runs_per_level = 8,
        .last_ratio = 2,
        .beats_per_bar = 8,
        .lag_beats = 2,
        .checkpoint_interval_bars = (uint32_t)interval_bars,
        .filter_bits_per_key = 10,
    };
    superblock->uuid[3] = (uint8_t)seed;
    superblock->blocks_in_file = DISK_BLOCKS;
    world->geometry =
        (struct tac_geometry){BLOCK_SIZE, 512, tac_uuid_checksum_seed(superblock->uuid)};
    world_blank(world);
    checkpoint_begin(world); /* At bar 0: takes effect with the first bar */
    for (uint32_t i = 0; i < TAC_SUPERBLOCK_COPIES; i++) {
        tac_superblock_encode(copy, superblock, i);
        memcpy(disk_block(world, i * TAC_SUPERBLOCK_STRIDE_BLOCKS), copy, sizeof copy);
    }
    world->checkpoint_is_written = true;
    memcpy(world->reached_durable, world->reached_new, DISK_BLOCKS);
}

static void world_destroy(struct world *world)
{
    world_lose(world);
    free(world->disk);
    free(world->reached_durable);
    free(world->reached_new);
}

static int free_set_recover(struct world *world, struct tac_error *error)
{
    const struct tac_superblock *superblock = &world->superblock;
    int                          rv = TACTUS_OK;

    for (uint32_t i = 0; i < superblock->free_set_block_count && rv == TACTUS_OK; i++) {
        uint8_t block[BLOCK_SIZE];

        rv = disk_read(world, &superblock->free_set[i], TAC_BLOCK_FREE_SET, block, error);
        if (rv == TACTUS_OK) {
            rv = tac_free_set_decode(world->free_set, &world->geometry, i,
                                     superblock->free_set_block_count, block,
                                     superblock->free_set[i].address, error);
        }
    }
    return rv;
}

/* Loses all but the disk, repairs the superblocks and goes on from the checkpoint found. */
static bool world_recover(struct world *world)
{
    const uint8_t               *copies[TAC_SUPERBLOCK_COPIES];
    struct tac_superblock_choice choice;
    struct tac_error             error = {0};
    int                          rv;

    world_lose(world);
    for (uint32_t i = 0; i < TAC_SUPERBLOCK_COPIES; i++) {
        copies[i] = disk_block(world, i * TAC_SUPERBLOCK_STRIDE_BLOCKS);
    }
    rv = tac_superblock_choose(copies, &choice, &error);
    if (rv != TACTUS_OK) {
        tap_bail("%s", error.message);
    }
    for (uint32_t i = 0; i < TAC_SUPERBLOCK_COPIES; i++) {
        if (((choice.repair_first_mask | choice.repair_second_mask) >> i & 1) != 0) {
            tac_superblock_encode(disk_block(world, i * TAC_SUPERBLOCK_STRIDE_BLOCKS),
                                  &choice.superblock, i);
        }
    }
    world->superblock = choice.superblock;
    world->bar = choice.superblock.bar_count;
    world->table_id_last = choice.superblock.table_id_last;
    world->stamp_last = choice.superblock.stamp_last;
    world->checkpoint_is_open = true;
    world->checkpoint_is_written = true;
    world_blank(world);
    rv = free_set_recover(world, &error);
    if (rv == TACTUS_OK) {
        rv = tac_manifest_log_replay(world->log, world->manifest, &world->superblock, disk_read,
                                     world, &error);
    }
    if (rv != TACTUS_OK) {
        tap_diag("bar %llu: %s", (unsigned long long)world->bar, error.message);
        world->violations++;
        return false;
    }
    world_reach(world);
    memcpy(world->reached_durable, world->reached_new, DISK_BLOCKS);
    return true;
}

/* Where a crash strikes in a bar. */
enum crash {
    NO_CRASH,
    IN_BAR,
    BEFORE_COPIES,
    AFTER_TORN,
    AFTER_FIRST,
    AFTER_BOTH,
    CRASH_COUNT
};

/* One bar with its share of checkpoints; false when it crashed on the way. */
static bool world_bar(struct world *world, enum crash crash)
{
    bar_run(world);
    if (crash == IN_BAR) {
        return false;
    }
    if (world->checkpoint_is_open && !world->checkpoint_is_written) {
        switch (crash) {
        case BEFORE_COPIES:
            return false;
        case AFTER_TORN:
            superblock_write(world, FIRST_TORN);
            return false;
        case AFTER_FIRST:
            superblock_write(world, FIRST_ONLY);
            return false;
        case AFTER_BOTH:
            superblock_write(world, WRITTEN);
            return false;
        default:
            break;
        }
    }
    if (world->checkpoint_is_open) {
        checkpoint_effect(world);
    }
    if (world->bar % world->interval_bars == 0) {
        checkpoint_begin(world);
    }
    return true;
}

/* ---- the test ------------------------------------------------------------------------------- */

struct history {
    struct tac_u128 superblocks[BARS + 2]; /* Checksums, by sequence */
    uint64_t        count;
};

static bool history_agrees(const struct history *history, const struct world *world)
{
    return world->superblock.sequence <= history->count &&
           tac_u128_equal(history->superblocks[world->superblock.sequence],
                          tac_superblock_checksum(&world->superblock));
}

static void test_world(uint64_t seed, uint64_t interval_bars)
{
    static struct history history;
    struct tac_prng       prng = {seed};
    struct world          world;
    uint64_t              crashes = 0, released = 0;
    bool                  agrees = true;

    world_create(&world, seed, interval_bars);
    history.superblocks[1] = tac_superblock_checksum(&world.superblock);
    while (world.bar < BARS) {
        world_bar(&world, NO_CRASH);
        history.count = world.superblock.sequence;
        history.superblocks[history.count] = tac_superblock_checksum(&world.superblock);
        released += tac_free_set_released_count(world.free_set) > 0;
    }
    tap_ok(world.violations == 0 && released > BARS / 2 && history.count >= BARS / interval_bars,
           "interval %llu: %llu checkpoints; nothing they reach is written again",
           (unsigned long long)interval_bars, (unsigned long long)history.count);
    world_destroy(&world);

    world_create(&world, seed, interval_bars);
    while (world.bar < BARS && agrees) {
        enum crash crash = tac_prng_below(&prng, 3) == 0
                               ? (enum crash)tac_prng_below(&prng, CRASH_COUNT)
                               : NO_CRASH;

        /* Sooner or later within its bar; the history does not tell. */
        if (world.checkpoint_is_open && !world.checkpoint_is_written &&
            tac_prng_below(&prng, 2) == 0) {
            superblock_write(&world, WRITTEN);
        }
        if (!world_bar(&world, crash)) {
            crashes++;
            agrees = world_recover(&world);
        }
        agrees = agrees && history_agrees(&history, &world);
    }
    tap_ok(agrees && crashes >= 3 && world.bar == BARS,
           "interval %llu: after %llu crashes the same superblocks",
           (unsigned long long)interval_bars, (unsigned long long)crashes);
    tap_ok(world.violations == 0, "interval %llu: nothing reachable was written again",
           (unsigned long long)interval_bars);
    world_destroy(&world);
}

int main(void)
{
    uint64_t seed;

    tap_plan(0);
    seed = tap_seed();
    for (uint64_t i = 0; i < 4; i++) {
        test_world(seed + i, 1);
        test_world(seed + i, 2);
        test_world(seed + i, 4);
    }
    return tap_done();
}
