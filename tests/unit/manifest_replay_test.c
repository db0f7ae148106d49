/* SPDX-License-Identifier: Apache-2.0 */
/* The manifest log, replayed: a file that lies is refused, block by block, event by event, and
 * deleted range by deleted range. What a log holds: manifest_log_test.c. */
#include <string.h>
#include <time.h>

#include "lsm/manifest_event.h"
#include "tests/lib/manifest_store.h"
#include "tests/lib/tap.h"

/* ---- hostile logs --------------------------------------------------------------------------- */

/* Makes the references of the log right again after its blocks were changed. */
static void chain_reseal(struct manifest_store *store, const struct tac_block_reference *blocks,
                         uint64_t count)
{
    struct tac_block_reference previous = {0};

    for (uint64_t i = 0; i < count; i++) {
        uint8_t *block = manifest_store_block(store, blocks[i].address);

        if (i > 0) {
            tac_store_u64(block + 72, previous.address);
            tac_store_u64(block + 80, previous.checksum.low);
            tac_store_u64(block + 88, previous.checksum.high);
        }
        previous.address = blocks[i].address;
        previous.checksum = tac_block_checksum(block, &manifest_store_geometry);
    }
    store->superblock.manifest_newest = previous;
}

struct hostile {
    struct manifest_store      store;
    struct tac_block_reference blocks[512];
    uint64_t                   count;
    struct tac_superblock      superblock; /* As it should be */
};

static void hostile_open(struct hostile *hostile, uint64_t seed)
{
    manifest_store_open(&hostile->store, seed, 3);
    for (uint32_t bar = 0; bar < 20; bar++) {
        manifest_store_bar(&hostile->store, 10, 60);
        manifest_store_checkpoint(&hostile->store);
    }
    hostile->count = tac_manifest_log_block_count(hostile->store.log);
    for (uint64_t i = 0; i < hostile->count; i++) {
        hostile->blocks[i] = tac_manifest_log_block(hostile->store.log, i);
    }
    hostile->superblock = hostile->store.superblock;
}

static int hostile_replay(struct hostile *hostile, uint32_t tables_max, const char *text)
{
    struct tac_error      error = {0};
    struct manifest_store copy;
    int                   rv;

    chain_reseal(&hostile->store, hostile->blocks, hostile->count);
    rv = manifest_store_replay(&hostile->store, &copy, tables_max, &error);
    manifest_store_close(&copy);
    if (rv != TACTUS_OK && strstr(error.message, text) == NULL) {
        tap_diag("expected \"%s\", got \"%s\"", text, error.message);
        return -1;
    }
    return rv;
}

/* Changes a field of block `index` (from the newest, 0) and says whether that is refused so. */
static bool field_refused(struct hostile *hostile, uint64_t index, uint32_t offset, uint64_t value,
                          uint32_t size, const char *text)
{
    uint8_t *block =
        manifest_store_block(&hostile->store, hostile->blocks[hostile->count - 1 - index].address);
    uint8_t saved[MANIFEST_STORE_BLOCK_BYTES];
    int     rv;

    memcpy(saved, block, sizeof saved);
    memcpy(block + offset, &value, size);
    rv = hostile_replay(hostile, MANIFEST_STORE_TABLES_MAX, text);
    memcpy(block, saved, sizeof saved);
    hostile->store.superblock = hostile->superblock;
    return rv == TACTUS_ECORRUPT;
}

/* Is this block's event of the table the newest one? Older ones are not looked at closely. */
static bool event_is_newest(const struct hostile *hostile, const uint8_t *block,
                            const uint8_t *event)
{
    const struct tac_manifest_tree *tree =
        tac_manifest_tree(hostile->store.manifest, tac_load_u32(event + 4));

    for (uint32_t i = 0; i < TACTUS_LEVELS_MAX; i++) {
        for (uint32_t j = 0; j < tree->levels[i].table_count; j++) {
            if (tree->levels[i].tables[j]->id == tac_load_u64(event + 16)) {
                return tree->levels[i].tables[j]->log_sequence == tac_load_u64(block + 64);
            }
        }
    }
    return false;
}

/* Offset of the first event of this kind in the block `index` from the newest; 0: none. */
static uint32_t event_offset(const struct hostile *hostile, uint64_t index, uint32_t kind)
{
    const uint8_t *block =
        manifest_store_block(&hostile->store, hostile->blocks[hostile->count - 1 - index].address);
    uint32_t used = tac_load_u32(block + TAC_BLOCK_OFFSET_USED);

    for (uint32_t offset = 104; offset < used; offset += tac_load_u16(block + offset)) {
        if (block[offset + 2] == kind &&
            (kind != TAC_MANIFEST_EVENT_TABLE || event_is_newest(hostile, block, block + offset))) {
            return offset;
        }
    }
    return 0;
}

static void test_hostile_blocks(struct hostile *hostile)
{
    struct tac_superblock *superblock = &hostile->store.superblock;

    tap_ok(hostile->count > 4 &&
               hostile_replay(hostile, MANIFEST_STORE_TABLES_MAX, "") == TACTUS_OK,
           "a log resealed as it was is believed");
    tap_ok(field_refused(hostile, 0, TAC_BLOCK_OFFSET_KIND, TAC_BLOCK_INDEX, 1, "kind"),
           "a block of another kind is refused");
    tap_ok(field_refused(hostile, 2, TAC_BLOCK_OFFSET_ADDRESS, 77, 8, "block"),
           "a block of another address is refused");
    tap_ok(field_refused(hostile, 1, 64, 3, 8, "successor"), "a break in the sequences is refused");
    tap_ok(field_refused(hostile, 1, TAC_BLOCK_OFFSET_SEQUENCE, 1000, 8, "lost"),
           "a block of a later checkpoint proves that a superblock was lost");
    tap_ok(field_refused(hostile, 0, TAC_BLOCK_OFFSET_USED, 96, 4, "size"),
           "a block without room for its own fields is refused");
    tap_ok(field_refused(hostile, 0, 96, 1, 4, "behind") &&
               field_refused(hostile, 0, 96, 100000, 4, "cut off"),
           "a wrong number of events is refused");
    superblock->manifest_block_count++;
    tap_ok(hostile_replay(hostile, MANIFEST_STORE_TABLES_MAX, "successor") == TACTUS_ECORRUPT,
           "a block more than there is is refused");
    *superblock = hostile->superblock;
    superblock->manifest_oldest_sequence = 0;
    tap_ok(hostile_replay(hostile, MANIFEST_STORE_TABLES_MAX, "impossible") == TACTUS_ECORRUPT,
           "there is no sequence 0");
    *superblock = hostile->superblock;
    superblock->manifest_block_count = UINT64_MAX / 2;
    tap_ok(hostile_replay(hostile, MANIFEST_STORE_TABLES_MAX, "impossible") == TACTUS_ECORRUPT,
           "a log of any length is refused");
    *superblock = hostile->superblock;
    superblock->table_count++;
    tap_ok(hostile_replay(hostile, MANIFEST_STORE_TABLES_MAX, "not the checkpoint's") ==
               TACTUS_ECORRUPT,
           "another number of tables is refused");
    *superblock = hostile->superblock;
    tap_ok(hostile_replay(hostile, 5, "tables_max") == TACTUS_EFULL,
           "a manifest of too few tables says so");
}

static void test_hostile_events(struct hostile *hostile)
{
    uint32_t tree = event_offset(hostile, 0, TAC_MANIFEST_EVENT_TREE);
    uint32_t table = event_offset(hostile, 1, TAC_MANIFEST_EVENT_TABLE);
    uint32_t index = 0, remove = 0;

    while (remove == 0 && index < hostile->count) {
        remove = event_offset(hostile, index++, TAC_MANIFEST_EVENT_REMOVE);
    }
    index--;
    tap_ok(tree != 0 && table != 0 && remove != 0, "events of each kind are there");
    tap_ok(field_refused(hostile, 0, tree, 0, 2, "event of") &&
               field_refused(hostile, 0, tree, 124, 2, "event of") &&
               field_refused(hostile, 0, tree, 65528, 2, "left") &&
               field_refused(hostile, 0, tree + 2, 9, 1, "unknown kind"),
           "events of impossible size or kind are refused");
    tap_ok(field_refused(hostile, 0, tree + 4, 64, 4, "impossible name") &&
               field_refused(hostile, 0, tree + 4, 7, 4, "is not") &&
               field_refused(hostile, 0, tree + 8, 3, 4, "layout") &&
               field_refused(hostile, 0, tree + 12, 0, 4, "layout") &&
               field_refused(hostile, 0, tree + 12, 1025, 4, "layout") &&
               field_refused(hostile, 0, tree + 16, 5000, 4, "layout") &&
               field_refused(hostile, 0, tree + 24, 0, 4, "last level") &&
               field_refused(hostile, 0, tree + 24, 12, 4, "last level") &&
               field_refused(hostile, 0, tree + 56, 0, 1, "name") &&
               field_refused(hostile, 0, tree + 56, '/', 1, "name") &&
               field_refused(hostile, 0, tree + 60, 'x', 1, "name"),
           "trees that cannot be are refused");
    tap_ok(field_refused(hostile, 0, tree + 56, 'q', 1, "changed") &&
               field_refused(hostile, 0, tree + 16, 9, 4, "changed"),
           "a tree keeps its name and layout");
    tap_ok(
        field_refused(hostile, 1, table + 4, 3, 4, "no such tree") &&
            field_refused(hostile, 1, table + 8, 12, 4, "impossible") &&
            field_refused(hostile, 1, table + 8, 11, 4, "below the last") &&
            field_refused(hostile, 1, table + 16, 0, 8, "impossible") &&
            field_refused(hostile, 1, table + 16, 1u << 30, 8, "never given") &&
            field_refused(hostile, 1, table + 24, 1u << 30, 8, "never given") &&
            field_refused(hostile, 1, table + 48, 0, 8, "in the file") &&
            field_refused(hostile, 1, table + 48, MANIFEST_STORE_DISK_BLOCKS, 8, "in the file") &&
            field_refused(hostile, 1, table + 96, UINT64_MAX, 8, "impossible") &&
            field_refused(hostile, 1, table + 3, 8, 1, "impossible"),
        "tables that cannot be are refused");
    tap_ok(field_refused(hostile, 1, table + 76, 0, 2, "keys") &&
               field_refused(hostile, 1, table + 76, 1025, 2, "keys") &&
               field_refused(hostile, 1, table + 78, UINT16_MAX, 2, "keys") &&
               field_refused(hostile, 1, table + 128, 255, 1, "keys"),
           "keys that cannot be are refused");
    tap_ok(field_refused(hostile, index, remove + 4, 3, 4, "no such tree") &&
               field_refused(hostile, index, remove + 8, 0, 8, "never given") &&
               field_refused(hostile, index, remove + 8, 1u << 30, 8, "never given"),
           "removals that cannot be are refused");
}

static void test_hostile_random(struct hostile *hostile, uint64_t seed)
{
    struct tac_prng prng = {seed};
    uint32_t        refusals = 0;

    for (uint32_t i = 0; i < 4000; i++) {
        uint64_t at = tac_prng_below(&prng, hostile->count);
        uint8_t *block = manifest_store_block(&hostile->store, hostile->blocks[at].address);
        uint32_t used = tac_load_u32(block + TAC_BLOCK_OFFSET_USED);
        uint8_t  saved[MANIFEST_STORE_BLOCK_BYTES];
        int      rv;

        memcpy(saved, block, sizeof saved);
        for (uint64_t j = 1 + tac_prng_below(&prng, 3); j > 0; j--) {
            uint32_t offset = (uint32_t)tac_prng_below(&prng, used);

            block[offset] = (uint8_t)tac_prng_below(&prng, tac_prng_below(&prng, 2) ? 256 : 4);
        }
        rv = hostile_replay(hostile, MANIFEST_STORE_TABLES_MAX, "");
        refusals += rv == TACTUS_ECORRUPT;
        memcpy(block, saved, sizeof saved);
        hostile->store.superblock = hostile->superblock;
    }
    /* A byte of an event that a later one has replaced is not missed. */
    tap_ok(refusals > 1000, "4000 logs with changed bytes: %u refused, none crashes", refusals);
}

static void test_hostile(uint64_t seed)
{
    static struct hostile hostile;

    hostile_open(&hostile, seed);
    test_hostile_blocks(&hostile);
    test_hostile_events(&hostile);
    test_hostile_random(&hostile, seed);
    manifest_store_close(&hostile.store);
}

/* ---- deleted ranges ------------------------------------------------------------------------- */

#define RANGE_OP_PERSISTED 100

static struct tac_range range_of(uint64_t op, const char *low, const char *high)
{
    return (struct tac_range){
        .op = op,
        .low = {(const uint8_t *)low, (uint32_t)strlen(low)},
        .high = {(const uint8_t *)high, (uint32_t)strlen(high)},
    };
}

/* Into the log alone. */
static void range_log(struct manifest_store *store, const struct tac_manifest_tree *tree,
                      struct tac_range range)
{
    struct tac_manifest_range logged = {.range = range, .tree = tree->id};

    tac_manifest_log_range(store->log, tree, &logged);
}

static void range_add(struct manifest_store *store, uint32_t tree, struct tac_range range)
{
    tac_manifest_range_add(store->manifest, tree, &range, 0);
    tac_manifest_log_range(
        store->log, tac_manifest_tree(store->manifest, tree),
        tac_manifest_range(store->manifest, tac_manifest_range_count(store->manifest) - 1));
}

static void ranges_open(struct manifest_store *store)
{
    manifest_store_open(store, 1, 2);
    store->superblock.op_persisted = RANGE_OP_PERSISTED;
    range_add(store, 0, range_of(5, "b", "d"));
}

/* What the log says now: is it refused so? The store is closed. */
static bool ranges_refused(struct manifest_store *store, const char *text)
{
    struct manifest_store copy;
    struct tac_error      error = {0};
    int                   code;

    manifest_store_checkpoint(store);
    code = manifest_store_replay(store, &copy, MANIFEST_STORE_TABLES_MAX, &error);
    if (code != TACTUS_ECORRUPT || strstr(error.message, text) == NULL) {
        tap_diag("%d, not \"%s\": %s", code, text, error.message);
    }
    manifest_store_close(&copy);
    manifest_store_close(store);
    return code == TACTUS_ECORRUPT && strstr(error.message, text) != NULL;
}

static bool range_refused(const struct tac_manifest_tree *tree, struct tac_range range,
                          const char *text)
{
    struct manifest_store store;

    ranges_open(&store);
    range_log(&store, tree, range);
    return ranges_refused(&store, text);
}

static void test_ranges(void)
{
    struct manifest_store     store;
    struct tac_manifest_tree *tree;

    ranges_open(&store);
    range_add(&store, 1, range_of(7, "b", "d"));
    range_add(&store, 0, range_of(RANGE_OP_PERSISTED, "a", "kkkkkkkkk"));
    manifest_store_checkpoint(&store);
    tap_ok(manifest_store_replays(&store), "deleted ranges replay");
    tree = tac_manifest_tree(store.manifest, 0);
    range_log(&store, tree, range_of(5, "b", "d"));
    manifest_store_checkpoint(&store);
    tap_ok(manifest_store_replays(&store), "one that comes again is one");
    tac_manifest_log_range_over(store.log, tree, tac_manifest_range(store.manifest, 0));
    tac_manifest_range_remove(store.manifest, 0);
    manifest_store_checkpoint(&store);
    tap_ok(tac_manifest_range_count(store.manifest) == 2 && manifest_store_replays(&store),
           "one that is over is not there any more");
    manifest_store_close(&store);
}

/* A tree that was created and dropped by these ops has a range of op 60. */
static bool range_outside_life_refused(uint64_t created_op, uint64_t dropped_op)
{
    struct manifest_store     store;
    struct tac_manifest_tree *tree;

    ranges_open(&store);
    tree = tac_manifest_tree(store.manifest, 1);
    tree->created_op = created_op;
    tree->dropped_op = dropped_op;
    tac_manifest_log_tree(store.log, tree);
    range_log(&store, tree, range_of(60, "b", "d"));
    return ranges_refused(&store, "was not there");
}

static void test_hostile_ranges(void)
{
    struct tac_manifest_tree first = {.id = 0}, second = {.id = 1}, unknown = {.id = 2};
    struct tac_manifest_tree later = {.id = 0, .generation = 1};
    struct manifest_store    store;

    tap_ok(range_refused(&second, range_of(5, "b", "d"), "another range") &&
               range_refused(&second, range_of(5, "", ""), "another range"),
           "an op deletes a range of one tree");
    tap_ok(range_refused(&first, range_of(5, "b", "e"), "another range") &&
               range_refused(&first, range_of(5, "c", "d"), "another range"),
           "and one range: its bounds stay");
    tap_ok(range_outside_life_refused(RANGE_OP_PERSISTED + 1, 0) &&
               range_outside_life_refused(0, 60) && range_outside_life_refused(0, 50),
           "none of a tree that is not there yet, or no more");
    tap_ok(range_refused(&unknown, range_of(6, "b", "d"), "no such tree") &&
               range_refused(&later, range_of(6, "b", "d"), "never was"),
           "none of a tree that never was");
    tap_ok(range_refused(&first, range_of(RANGE_OP_PERSISTED + 1, "b", "d"), "later than") &&
               range_refused(&first, range_of(0, "b", "d"), "impossible bounds"),
           "none of an op that the checkpoint cannot have");
    tap_ok(range_refused(&first, range_of(6, "d", "b"), "impossible bounds") &&
               range_refused(&first, range_of(6, "b", "b"), "impossible bounds") &&
               range_refused(&first, range_of(6, "b", ""), "impossible bounds") &&
               range_refused(&first, range_of(6, "", "b"), "impossible bounds"),
           "none without anything between its bounds");
    tap_ok(range_refused(&first, range_of(6, "b", "kkkkkkkkkk"), "too long"),
           "none with bounds that the tree's keys do not need");
    ranges_open(&store);
    store.superblock.op_persisted = TAC_RANGES_MAX + 10;
    for (uint32_t i = 0; i < TAC_RANGES_MAX; i++) {
        range_log(&store, &second, range_of(6 + i, "b", "d"));
    }
    tap_ok(ranges_refused(&store, "so many"), "and not more than there can be");
}

/* ---- speed ---------------------------------------------------------------------------------- */

static double milliseconds(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

static void test_speed(void)
{
    struct manifest_store store, copy;
    struct tac_error      error = {0};
    double                begun;

    manifest_store_open(&store, 1, 1);
    for (uint32_t i = 0; i < MANIFEST_STORE_TABLES_MAX / 500; i++) {
        for (uint32_t j = 0; j < 500; j++) {
            manifest_store_insert(&store, 0);
        }
        manifest_store_checkpoint(&store);
    }
    begun = milliseconds();
    tap_ok(manifest_store_replay(&store, &copy, MANIFEST_STORE_TABLES_MAX, &error) == TACTUS_OK,
           "2,000 tables replay");
    tap_diag("replay of 2,000 tables: %.3f ms", milliseconds() - begun);
    manifest_store_close(&copy);
    manifest_store_close(&store);
}

int main(void)
{
    tap_plan(0);
    test_ranges();
    test_hostile_ranges();
    test_hostile(tap_seed());
    test_speed();
    return tap_done();
}
