/* SPDX-License-Identifier: Apache-2.0 */
/* Every byte of everything that a store's newest superblock reaches is damaged once; every two
 * blocks of a kind change places; every block goes back to what was at its address before, or was
 * never written. Each time
 *
 *   - the open refuses the store with a text that says where, or repairs it (superblock copies), or
 *     tactus_verify names the block;
 *   - gets and scans return what the model says, or TACTUS_ECORRUPT.
 *
 * No byte is exempt: with blocks of 4 KiB a superblock copy fills its block, and every other block
 * is covered by its checksums to the end. A copy of the pair of superblocks before may be an older
 * one: nothing is read from it then, and it is as good after the next checkpoint.
 *
 * What several blocks have to say about their own bytes is asked in one walk where the answers do
 * not depend on each other; reads meet one damage at a time. With LONG=1 every single bit; under a
 * sanitizer every sixteenth byte. */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "tests/lib/small_world.h"
#include "tests/lib/tap.h"

#define INSTRUMENTED_STRIDE 16
/* So many bytes of superblocks, manifest log and free set are met by an open, too; all of them by
 * the functions that an open uses. */
#define OPEN_STRIDE 16
#define SAMPLE_RECORDS 3

static struct small_world world;
static bool               is_long;
static uint32_t           stride = 1;

/* ---- damage --------------------------------------------------------------------------------- */

static void byte_flip(const struct small_block *block, uint32_t offset, uint8_t mask)
{
    uint64_t position = block->address * SMALL_BLOCK_SIZE + offset;
    uint64_t size;
    uint8_t  byte = tac_memory_disk_data(world.disk, &size)[position];

    byte = (uint8_t)(byte ^ mask);
    tac_memory_disk_damage(world.disk, position, &byte, 1);
}

static void block_write(const struct small_block *block, const uint8_t *bytes)
{
    tac_memory_disk_damage(world.disk, block->address * SMALL_BLOCK_SIZE, bytes, SMALL_BLOCK_SIZE);
}

static const uint8_t *block_should(const struct small_block *block)
{
    return world.image + block->address * SMALL_BLOCK_SIZE;
}

static const uint8_t *block_is(const struct small_block *block)
{
    uint64_t size;

    return tac_memory_disk_data(world.disk, &size) + block->address * SMALL_BLOCK_SIZE;
}

/* The masks that one byte is damaged with. */
static uint32_t mask_count(void) { return is_long ? 8 : 1; }
static uint8_t  mask_of(uint32_t i) { return (uint8_t)(is_long ? 1u << i : 0xffu); }

static bool is_visited(uint32_t offset) { return offset % stride == 0; }

/* Where an open meets the damage, too: in all fields of a superblock, then with gaps. */
static bool is_opened(uint32_t offset)
{
    return is_visited(offset) && (is_long || offset < 512 || offset % OPEN_STRIDE == 0);
}

/* ---- what verify says ----------------------------------------------------------------------- */

struct named {
    bool     blocks[SMALL_BLOCKS_MAX]; /* Parallel to the world's */
    uint64_t texts;
};

static void damage_note(void *context, const char *text)
{
    struct named *named = context;
    const char   *at = text;
    unsigned      copy;

    named->texts++;
    for (uint32_t i = 0; i < TAC_SUPERBLOCK_COPIES; i++) {
        if (sscanf(text, "superblock copy %u", &copy) == 1 && copy == i) {
            named->blocks[i] = true; /* They come first in the list. */
        }
    }
    while ((at = strstr(at, "block ")) != NULL) {
        unsigned long long address = strtoull(at + 6, NULL, 10);

        for (uint32_t i = TAC_SUPERBLOCK_COPIES; i < world.block_count; i++) {
            named->blocks[i] |= world.blocks[i].address == address;
        }
        at += 6;
    }
}

/* Verifies; all blocks of the mask's kinds must be named. Returns how many are not. */
static uint32_t verify_misses(struct tactus *store, uint32_t kinds_mask)
{
    struct tactus_verify_report report;
    struct named                named = {.texts = 0};
    uint32_t                    misses = 0;
    int                         code = tactus_verify(store, damage_note, &named, &report);

    if (code != TACTUS_ECORRUPT || report.damages != named.texts || report.damages == 0) {
        return 1;
    }
    for (uint32_t i = 0; i < world.block_count; i++) {
        misses += (kinds_mask >> world.blocks[i].kind & 1) != 0 && !named.blocks[i];
    }
    return misses;
}

/* One block's damage alone. */
static bool verify_names(struct tactus *store, uint32_t number)
{
    struct named named = {.texts = 0};

    return tactus_verify(store, damage_note, &named, NULL) == TACTUS_ECORRUPT &&
           named.blocks[number];
}

static struct tactus *open_or_bail(void)
{
    struct tactus   *store;
    struct tac_error error;

    if (small_open(&world, &store, &error) != TACTUS_OK) {
        tap_bail("open of the sound store: %s", error.message);
    }
    return store;
}

static void reads_report(const char *what, uint64_t count, const struct small_reads *reads)
{
    tap_ok(reads->wrong == 0 && reads->right > 0 && reads->corrupt > 0,
           "%s: %llu damages, %llu records read right, %llu reads refused, none wrong", what,
           (unsigned long long)count, (unsigned long long)reads->right,
           (unsigned long long)reads->corrupt);
}

/* ---- every byte ----------------------------------------------------------------------------- */

static void kinds_flip(uint32_t kinds_mask, uint32_t offset, uint8_t mask)
{
    for (uint32_t i = 0; i < world.block_count; i++) {
        if ((kinds_mask >> world.blocks[i].kind & 1) != 0) {
            byte_flip(&world.blocks[i], offset, mask);
        }
    }
}

/* One byte in each block of the kinds at a time: each has its own checksum, and none of them is
 * what leads to another. */
static void test_verify_names(const char *what, uint32_t kinds_mask)
{
    struct tactus *store = open_or_bail();
    uint64_t       blocks = 0, bytes = 0, misses = 0;

    for (uint32_t i = 0; i < world.block_count; i++) {
        blocks += kinds_mask >> world.blocks[i].kind & 1;
    }
    for (uint32_t offset = 0; offset < SMALL_BLOCK_SIZE; offset++) {
        for (uint32_t i = 0; i < mask_count() && is_visited(offset); i++) {
            kinds_flip(kinds_mask, offset, mask_of(i));
            misses += verify_misses(store, kinds_mask);
            kinds_flip(kinds_mask, offset, mask_of(i));
            bytes += blocks;
        }
    }
    tactus_abandon(store);
    tap_ok(blocks > 0 && misses == 0, "%s: verify names the block of each of %llu damages", what,
           (unsigned long long)bytes);
}

/* Records that damage there can touch, and a sample where it can touch many. */
static void reads_around(struct tactus *store, const struct small_block *block, uint32_t offset,
                         struct small_reads *reads)
{
    struct small_range range = block->pages[offset / SMALL_PAGE_SIZE];

    if (range.first > range.last || range.last - range.first > 2 * SMALL_PAGE_SIZE) {
        range = block->range;
        range.first += offset % (range.last - range.first + 1);
        range.last = (uint32_t)tac_min_u64(range.first + SAMPLE_RECORDS, range.last);
    }
    if (offset % 4 == 0 || range.last - range.first <= SAMPLE_RECORDS) {
        small_get_range(&world, store, block->tree, range, reads);
    } else {
        struct small_range edge = {range.first, range.first};

        small_get_range(&world, store, block->tree, edge, reads);
        edge.first = edge.last = range.last;
        small_get_range(&world, store, block->tree, edge, reads);
    }
    small_scan_range(&world, store, block->tree, range, reads);
}

static void test_reads(enum small_kind kind)
{
    struct tactus     *store = open_or_bail();
    struct small_reads reads = {0};
    uint64_t           bytes = 0;
    char               what[64];

    for (uint32_t b = 0; b < world.block_count; b++) {
        const struct small_block *block = &world.blocks[b];

        for (uint32_t offset = 0; offset < SMALL_BLOCK_SIZE && block->kind == kind; offset++) {
            for (uint32_t i = 0; i < mask_count() && is_visited(offset); i++) {
                byte_flip(block, offset, mask_of(i));
                reads_around(store, block, offset, &reads);
                byte_flip(block, offset, mask_of(i));
                bytes++;
            }
        }
    }
    tactus_abandon(store);
    snprintf(what, sizeof what, "every byte of %s blocks", small_kind_name(kind));
    reads_report(what, bytes, &reads);
}

/* True: the open refuses the store, with the block's address. */
static bool open_names(const struct small_block *block)
{
    struct tactus   *store;
    struct tac_error error;
    char             place[48];

    if (small_open(&world, &store, &error) == TACTUS_OK) {
        tactus_abandon(store);
        return false;
    }
    snprintf(place, sizeof place, "block %llu", (unsigned long long)block->address);
    return error.code == TACTUS_ECORRUPT && strstr(error.message, place) != NULL;
}

/* Every byte by a verify, which reads this as an open does, and some by opens. */
static void test_state(enum small_kind kind)
{
    struct tactus *store = open_or_bail();
    uint64_t       bytes = 0, opens = 0, misses = 0;

    for (uint32_t b = 0; b < world.block_count; b++) {
        const struct small_block *block = &world.blocks[b];

        for (uint32_t offset = 0; offset < SMALL_BLOCK_SIZE && block->kind == kind; offset++) {
            for (uint32_t i = 0; i < mask_count() && is_visited(offset); i++) {
                byte_flip(block, offset, mask_of(i));
                misses += !verify_names(store, b);
                byte_flip(block, offset, mask_of(i));
                bytes++;
            }
        }
    }
    tactus_abandon(store);
    for (uint32_t b = 0; b < world.block_count; b++) {
        const struct small_block *block = &world.blocks[b];

        for (uint32_t offset = 0; offset < SMALL_BLOCK_SIZE && block->kind == kind; offset++) {
            if (is_opened(offset)) {
                byte_flip(block, offset, 0xff);
                misses += !open_names(block);
                byte_flip(block, offset, 0xff);
                opens++;
            }
        }
    }
    tap_ok(bytes > 0 && misses == 0,
           "%s: verify names the block of each of %llu damages, and each of %llu opens",
           small_kind_name(kind), (unsigned long long)bytes, (unsigned long long)opens);
}

/* The newest pair is as it was; a copy of the other pair too, or it is a copy of the newest. */
static bool superblocks_are_repaired(void)
{
    const uint8_t *newest = world.image;
    bool           is_ok = true;

    for (uint32_t i = 0; i < TAC_SUPERBLOCK_COPIES; i++) { /* The sequence is at 80. */
        if (tac_load_u64(block_should(&world.blocks[i]) + 80) > tac_load_u64(newest + 80)) {
            newest = block_should(&world.blocks[i]);
        }
    }
    for (uint32_t i = 0; i < TAC_SUPERBLOCK_COPIES; i++) {
        const uint8_t *copy = block_is(&world.blocks[i]);
        const uint8_t *should = block_should(&world.blocks[i]);
        bool           is_newest = tac_load_u64(should + 80) == tac_load_u64(newest + 80);

        is_ok = is_ok && tac_load_u64(copy + 8) == i &&
                (memcmp(copy, should, SMALL_BLOCK_SIZE) == 0 ||
                 (!is_newest && memcmp(copy, newest, 8) == 0 &&
                  memcmp(copy + 16, newest + 16, SMALL_BLOCK_SIZE - 16) == 0));
    }
    return is_ok;
}

static void superblocks_restore(void)
{
    for (uint32_t i = 0; i < TAC_SUPERBLOCK_COPIES; i++) {
        block_write(&world.blocks[i], block_should(&world.blocks[i]));
    }
}

static struct tac_superblock_choice sound_choice(void)
{
    const uint8_t               *copies[TAC_SUPERBLOCK_COPIES];
    struct tac_superblock_choice choice;
    struct tac_error             error;

    for (uint32_t i = 0; i < TAC_SUPERBLOCK_COPIES; i++) {
        copies[i] = block_should(&world.blocks[i]);
    }
    if (tac_superblock_choose(copies, &choice, &error) != TACTUS_OK) {
        tap_bail("%s", error.message);
    }
    return choice;
}

/* What an open would choose and repair. True: what it should be, and exactly the two copies. */
static bool choice_is_right(uint32_t a, uint32_t b, const struct tac_superblock_choice *should)
{
    const uint8_t               *copies[TAC_SUPERBLOCK_COPIES];
    struct tac_superblock_choice choice;
    struct tac_error             error;

    for (uint32_t i = 0; i < TAC_SUPERBLOCK_COPIES; i++) {
        copies[i] = block_is(&world.blocks[i]);
    }
    return tac_superblock_choose(copies, &choice, &error) == TACTUS_OK &&
           memcmp(&choice.superblock, &should->superblock, sizeof choice.superblock) == 0 &&
           (choice.repair_first_mask | choice.repair_second_mask) == (1u << a | 1u << b);
}

static bool open_repairs(void)
{
    struct tactus   *store;
    struct tac_error error;
    bool             is_repaired;

    if (small_open(&world, &store, &error) != TACTUS_OK) {
        return false;
    }
    tactus_abandon(store);
    is_repaired = superblocks_are_repaired();
    superblocks_restore();
    return is_repaired;
}

/* A byte in one copy of each pair at a time. */
static void test_superblock_opens(void)
{
    struct tac_superblock_choice should = sound_choice();
    uint64_t                     bytes = 0, misses = 0;

    for (uint32_t offset = 0; offset < SMALL_BLOCK_SIZE; offset++) {
        for (uint32_t i = 0; i < 2 * mask_count() && is_visited(offset); i++) {
            byte_flip(&world.blocks[i % 2], offset, mask_of(i / 2));
            byte_flip(&world.blocks[i % 2 + 2], offset, mask_of(i / 2));
            misses += !choice_is_right(i % 2, i % 2 + 2, &should);
            misses += is_opened(offset) && !open_repairs();
            superblocks_restore();
            bytes += 2;
        }
    }
    tap_ok(misses == 0, "superblock: the open repairs each of %llu damages",
           (unsigned long long)bytes);
}

/* ---- whole blocks --------------------------------------------------------------------------- */

/* A store with whole blocks that are not what they should be: at least what `mask` says of the
 * world's blocks is found; nothing is read wrong. */
static bool whole_is_found(uint32_t a, uint32_t b, struct small_reads *reads)
{
    struct tactus_verify_report report;
    struct named                named = {.texts = 0};
    struct tactus              *store;
    struct tac_error            error;
    bool                        is_found;

    if (small_open(&world, &store, &error) != TACTUS_OK) {
        damage_note(&named, error.message);
        return world.blocks[a].kind != SMALL_SUPERBLOCK && error.code == TACTUS_ECORRUPT &&
               (named.blocks[a] || named.blocks[b]);
    }
    if (world.blocks[a].kind == SMALL_SUPERBLOCK) {
        is_found = tactus_verify(store, damage_note, &named, &report) == TACTUS_OK;
    } else {
        is_found = tactus_verify(store, damage_note, &named, &report) == TACTUS_ECORRUPT &&
                   named.blocks[a] && named.blocks[b];
    }
    small_read_all(&world, store, reads);
    tactus_abandon(store);
    return is_found;
}

static void test_swaps(void)
{
    struct small_reads reads = {0};
    uint64_t           swaps = 0, misses = 0;

    for (uint32_t a = 0; a < world.block_count; a++) {
        for (uint32_t b = a + 1; b < world.block_count; b++) {
            if (world.blocks[a].kind != world.blocks[b].kind ||
                (stride > 1 && (a + b) % INSTRUMENTED_STRIDE != 0)) {
                continue;
            }
            block_write(&world.blocks[a], block_should(&world.blocks[b]));
            block_write(&world.blocks[b], block_should(&world.blocks[a]));
            if (!whole_is_found(a, b, &reads)) {
                tap_diag("blocks %llu and %llu (%s)", (unsigned long long)world.blocks[a].address,
                         (unsigned long long)world.blocks[b].address,
                         small_kind_name(world.blocks[a].kind));
                misses++;
            }
            superblocks_restore();
            block_write(&world.blocks[a], block_should(&world.blocks[a]));
            block_write(&world.blocks[b], block_should(&world.blocks[b]));
            swaps++;
        }
    }
    tap_ok(misses == 0, "%llu pairs of one kind changed places: each is found",
           (unsigned long long)swaps);
    reads_report("pairs that changed places", swaps, &reads);
}

/* Replaces the block if that changes it. */
static bool stale_is_found(uint32_t number, const uint8_t *bytes, struct small_reads *reads,
                           uint64_t *count)
{
    struct small_block *block = &world.blocks[number];
    bool                is_found;

    if (memcmp(bytes, block_should(block), SMALL_BLOCK_SIZE) == 0) {
        return true;
    }
    block_write(block, bytes);
    is_found = whole_is_found(number, number, reads);
    superblocks_restore();
    block_write(block, block_should(block));
    (*count)++;
    if (!is_found) {
        tap_diag("block %llu (%s)", (unsigned long long)block->address,
                 small_kind_name(block->kind));
    }
    return is_found;
}

static void test_stale(void)
{
    static const uint8_t zeros[SMALL_BLOCK_SIZE];
    struct small_reads   reads = {0};
    uint64_t             count = 0, blank = 0, misses = 0, kinds[SMALL_KINDS] = {0};

    for (uint32_t i = 0; i < world.block_count; i++) {
        uint64_t before = count;

        for (uint32_t k = 0; k < world.older_count; k++) {
            uint64_t offset = world.blocks[i].address * SMALL_BLOCK_SIZE;

            if (offset + SMALL_BLOCK_SIZE <= world.older_size[k]) {
                misses += !stale_is_found(i, world.older[k] + offset, &reads, &count);
            }
        }
        kinds[world.blocks[i].kind] += count - before;
        misses += !stale_is_found(i, zeros, &reads, &blank);
    }
    tap_ok(misses == 0 && kinds[SMALL_SUPERBLOCK] > 0 && kinds[SMALL_FREE_SET_BLOCK] > 0 &&
               kinds[SMALL_MANIFEST_BLOCK] > 0 && kinds[SMALL_INDEX_BLOCK] > 0 &&
               kinds[SMALL_VALUE_BLOCK] > 0,
           "%llu blocks as they were before, %llu never written: each is found",
           (unsigned long long)count, (unsigned long long)blank);
    reads_report("stale blocks", count + blank, &reads);
}

/* ---- the store ------------------------------------------------------------------------------ */

static void test_sound(void)
{
    struct tactus_verify_report report;
    struct small_reads          reads = {0};
    struct named                named = {.texts = 0};
    struct tactus              *store = open_or_bail();
    uint32_t                    kinds[SMALL_KINDS] = {0};

    for (uint32_t i = 0; i < world.block_count; i++) {
        kinds[world.blocks[i].kind]++;
    }
    tap_diag("blocks: %u free set, %u manifest log, %u index, %u filter, %u value",
             kinds[SMALL_FREE_SET_BLOCK], kinds[SMALL_MANIFEST_BLOCK], kinds[SMALL_INDEX_BLOCK],
             kinds[SMALL_FILTER_BLOCK], kinds[SMALL_VALUE_BLOCK]);
    tap_ok(world.levels >= 3 && kinds[SMALL_FREE_SET_BLOCK] > 0 && kinds[SMALL_INDEX_BLOCK] > 8 &&
               kinds[SMALL_FILTER_BLOCK] > 0 && kinds[SMALL_VALUE_BLOCK] > 16 &&
               kinds[SMALL_MANIFEST_BLOCK] > 1,
           "the store has blocks of every kind and %u levels", world.levels);
    small_read_all(&world, store, &reads);
    tap_ok(reads.wrong == 0 && reads.corrupt == 0 && reads.right > 0,
           "it holds what the model holds: %llu reads", (unsigned long long)reads.right);
    tap_ok(tactus_verify(store, damage_note, &named, &report) == TACTUS_OK && named.texts == 0 &&
               report.blocks == world.block_count,
           "it is sound, and all its %u blocks are known", world.block_count);
    tactus_abandon(store);
}

int main(void)
{
    const char *instrumented = getenv("TACTUS_INSTRUMENTED");

    tap_plan(0);
    /* Stores are opened ten thousand times over: memory from the system anew each time is a third
     * of the time. */
    mallopt(M_MMAP_THRESHOLD, 64 * 1024 * 1024);
    mallopt(M_TRIM_THRESHOLD, 256 * 1024 * 1024);
    is_long = getenv("LONG") != NULL;
    if (instrumented != NULL && strcmp(instrumented, "yes") == 0 && !is_long) {
        stride = INSTRUMENTED_STRIDE;
    }
    small_create(&world, 2);
    test_sound();
    test_verify_names("index blocks", 1u << SMALL_INDEX_BLOCK);
    test_verify_names("value and filter blocks",
                      1u << SMALL_VALUE_BLOCK | 1u << SMALL_FILTER_BLOCK);
    test_verify_names("superblock copies", 1u << SMALL_SUPERBLOCK);
    test_reads(SMALL_INDEX_BLOCK);
    test_reads(SMALL_FILTER_BLOCK);
    test_reads(SMALL_VALUE_BLOCK);
    test_state(SMALL_FREE_SET_BLOCK);
    test_state(SMALL_MANIFEST_BLOCK);
    test_superblock_opens();
    test_swaps();
    test_stale();
    tap_ok(small_is_as_made(&world), "all damage is undone: no test has written to the store");
    small_destroy(&world);
    return tap_done();
}
