/* SPDX-License-Identifier: Apache-2.0 */
/* Superblocks: what is written comes back, what is wrong is refused, and an exhaustive search over
 * checkpoints, crashes and one fault of the real choice among copies: no acknowledged checkpoint is
 * lost, none is rolled back, and there is never a fork (rule R1). */
#include <stdlib.h>
#include <stddef.h>
#include <string.h>

#include "base/bytes.h"
#include "base/prng.h"
#include "base/units.h"
#include "lsm/superblock.h"
#include "tests/lib/tap.h"

#define COPIES TAC_SUPERBLOCK_COPIES

static const struct tac_shape shape_default = {
    .memtable_size = 64 * TAC_MIB,
    .table_size = 8 * TAC_MIB,
    .slice_size = 16 * TAC_MIB,
    .file_size_max = TAC_TIB,
    .block_size = 128 * TAC_KIB,
    .page_size = 4 * TAC_KIB,
    .runs_per_level = 8,
    .last_ratio = 2,
    .beats_per_bar = 64,
    .lag_beats = 2,
    .checkpoint_interval_bars = 4,
    .filter_bits_per_key = 10,
};

static const struct tac_shape shape_tiny = {
    .memtable_size = 32 * TAC_KIB,
    .table_size = 8 * TAC_KIB,
    .slice_size = 8 * TAC_KIB,
    .file_size_max = TAC_MIB,
    .block_size = 4 * TAC_KIB,
    .page_size = 512,
    .runs_per_level = 1,
    .last_ratio = 1,
    .beats_per_bar = 8,
    .lag_beats = 1,
    .checkpoint_interval_bars = 1,
    .filter_bits_per_key = 0,
};

/* ---- shapes --------------------------------------------------------------------------------- */

static bool shape_refused(struct tac_shape shape, const char *name, const char *value)
{
    struct tac_error error = {0};
    int              rv = tac_shape_check(&shape, &error);

    if (rv != TACTUS_EOPTION || strstr(error.message, name) == NULL ||
        strstr(error.message, value) == NULL) {
        tap_diag("%s = %s: %d %s", name, value, rv, error.message);
        return false;
    }
    return true;
}

#define SHAPE_REFUSED(base, member, number)                                                        \
    do {                                                                                           \
        struct tac_shape changed = base;                                                           \
        changed.member = number;                                                                   \
        all_refused = shape_refused(changed, #member, #number) && all_refused;                     \
    } while (0)

static void test_shape(void)
{
    struct tac_error error = {0};
    struct tac_shape shape_runs_2 = shape_tiny;
    bool             all_refused = true;

    shape_runs_2.runs_per_level = 2;
    shape_runs_2.lag_beats = 5;
    tap_ok(tac_shape_check(&shape_runs_2, &error) == TACTUS_OK,
           "all beats of a bar but three may be lag, where a bar has one plan");
    tap_ok(tac_shape_check(&shape_default, &error) == TACTUS_OK, "the default shape is allowed");
    tap_ok(tac_shape_check(&shape_tiny, &error) == TACTUS_OK, "the smallest shape is allowed");
    SHAPE_REFUSED(shape_default, block_size, 131073);
    SHAPE_REFUSED(shape_default, block_size, 2048);
    SHAPE_REFUSED(shape_default, block_size, 2097152);
    SHAPE_REFUSED(shape_default, page_size, 256);
    SHAPE_REFUSED(shape_default, page_size, 5000);
    SHAPE_REFUSED(shape_default, page_size, 512);   /* 256 pages */
    SHAPE_REFUSED(shape_default, page_size, 65536); /* 2 pages */
    SHAPE_REFUSED(shape_default, page_size, 1024);  /* Its header page cannot list 127 others */
    SHAPE_REFUSED(shape_tiny, memtable_size, 32767);
    SHAPE_REFUSED(shape_default, memtable_size, 68719476737);
    SHAPE_REFUSED(shape_tiny, table_size, 8191);
    SHAPE_REFUSED(shape_tiny, slice_size, 8191);
    SHAPE_REFUSED(shape_tiny, file_size_max, 1048575);
    SHAPE_REFUSED(shape_tiny, file_size_max, 1099511627776);
    SHAPE_REFUSED(shape_default, runs_per_level, 0);
    SHAPE_REFUSED(shape_default, runs_per_level, 17);
    SHAPE_REFUSED(shape_default, last_ratio, 0);
    SHAPE_REFUSED(shape_default, last_ratio, 17);
    SHAPE_REFUSED(shape_default, beats_per_bar, 7);
    SHAPE_REFUSED(shape_default, beats_per_bar, 1025);
    SHAPE_REFUSED(shape_default, lag_beats, 0);
    SHAPE_REFUSED(shape_default, lag_beats, 9);
    SHAPE_REFUSED(shape_tiny, lag_beats, 2); /* A plan has half the beats of a bar */
    SHAPE_REFUSED(shape_runs_2, lag_beats, 6);
    SHAPE_REFUSED(shape_tiny, beats_per_bar, 9); /* Two plans are alike */
    SHAPE_REFUSED(shape_default, checkpoint_interval_bars, 0);
    SHAPE_REFUSED(shape_default, checkpoint_interval_bars, 65);
    SHAPE_REFUSED(shape_default, filter_bits_per_key, 21);
    tap_ok(all_refused, "whatever is out of range is refused with its name and value");
}

/* ---- one superblock ------------------------------------------------------------------------- */

static struct tac_superblock superblock_example(void)
{
    struct tac_superblock superblock = {
        .sequence = 7,
        .parent_checksum = {11, 12},
        .shape = shape_default,
        .op_persisted = 1000,
        .op_compacted = 1100,
        .op_released = 1200,
        .bar_count = 9,
        .table_id_last = 77,
        .stamp_last = 78,
        .table_count = 70,
        .manifest_checksum = {13, 14},
        .manifest_newest = {500, {15, 16}},
        .manifest_oldest_sequence = 17,
        .manifest_block_count = 18,
        .blocks_in_file = 4096,
        .free_set_block_count = TAC_FREE_SET_BLOCKS_MAX,
        .control = {.flags = TAC_CONTROL_HELD | TAC_CONTROL_UNFINISHED | TAC_CONTROL_FULL_FOR_PUTS,
                    .bars_stuck = 3,
                    .bars_settled = 2,
                    .bars_owed = 3,
                    .manual_trees = 5,
                    .sweep = {.op = 900,
                              .bytes_total = 19,
                              .passes_total = 20,
                              .tree = 3,
                              .level = 2,
                              .bars_wait = 1,
                              .plans_held = 4,
                              .low = {.size = 3, .bytes = "low"},
                              .high = {.size = TAC_SWEEP_KEY_BYTES, .bytes = "mighty high"},
                              .place = {.size = 5, .bytes = "place"}}},
    };

    for (uint8_t i = 0; i < TACTUS_UUID_BYTES; i++) {
        superblock.uuid[i] = (uint8_t)(i + 1);
    }
    for (uint32_t i = 0; i < TAC_FREE_SET_BLOCKS_MAX; i++) {
        superblock.free_set[i] = (struct tac_block_reference){1000 + i, {i, i + 1}};
    }
    return superblock;
}

struct copies {
    uint8_t        bytes[COPIES][TAC_SUPERBLOCK_BYTES];
    const uint8_t *pointers[COPIES];
};

static void copies_encode(struct copies *copies, const struct tac_superblock *superblock)
{
    for (uint32_t i = 0; i < COPIES; i++) {
        tac_superblock_encode(copies->bytes[i], superblock, i);
        copies->pointers[i] = copies->bytes[i];
    }
}

static int choose(const struct copies *copies, struct tac_superblock_choice *choice)
{
    struct tac_error error = {0};
    int              rv = tac_superblock_choose(copies->pointers, choice, &error);

    if (rv != TACTUS_OK && error.message[0] == 0) {
        tap_diag("an error without a text");
        return TACTUS_OK;
    }
    return rv;
}

/* Field by field: padding need not be equal. */
static bool superblocks_equal(const struct tac_superblock *a, const struct tac_superblock *b)
{
    for (uint32_t i = 0; i < a->free_set_block_count; i++) {
        if (a->free_set[i].address != b->free_set[i].address) {
            return false;
        }
    }
    return memcmp(a->uuid, b->uuid, sizeof a->uuid) == 0 &&
           memcmp(&a->shape, &b->shape, sizeof a->shape) == 0 && a->sequence == b->sequence &&
           a->op_persisted == b->op_persisted && a->op_compacted == b->op_compacted &&
           a->op_released == b->op_released && a->bar_count == b->bar_count &&
           a->table_id_last == b->table_id_last && a->stamp_last == b->stamp_last &&
           a->table_count == b->table_count && a->blocks_in_file == b->blocks_in_file &&
           a->control.flags == b->control.flags && a->control.bars_stuck == b->control.bars_stuck &&
           a->control.bars_settled == b->control.bars_settled &&
           a->control.bars_owed == b->control.bars_owed &&
           a->control.manual_trees == b->control.manual_trees &&
           memcmp(&a->control.sweep, &b->control.sweep,
                  offsetof(struct tac_sweep, place) + sizeof a->control.sweep.place) == 0 &&
           a->manifest_newest.address == b->manifest_newest.address &&
           a->manifest_oldest_sequence == b->manifest_oldest_sequence &&
           a->manifest_block_count == b->manifest_block_count &&
           tac_u128_equal(a->manifest_checksum, b->manifest_checksum) &&
           tac_u128_equal(a->parent_checksum, b->parent_checksum) &&
           tac_u128_equal(tac_superblock_checksum(a), tac_superblock_checksum(b));
}

static void test_round_trip(void)
{
    static struct copies         copies;
    struct tac_superblock        superblock = superblock_example();
    struct tac_superblock_choice choice = {0};
    uint8_t                      noise[TAC_SUPERBLOCK_BYTES];

    copies_encode(&copies, &superblock);
    tap_ok(choose(&copies, &choice) == TACTUS_OK &&
               superblocks_equal(&choice.superblock, &superblock) &&
               choice.repair_first_mask == 0 && choice.repair_second_mask == 0,
           "what was written comes back, nothing to repair");
    memset(noise, 0x5a, sizeof noise);
    tac_superblock_encode(noise, &superblock, 2);
    tap_ok(memcmp(noise, copies.bytes[2], sizeof noise) == 0,
           "every byte is written, always alike");
    tap_ok(memcmp(copies.bytes[0], copies.bytes[3], 8) == 0 &&
               memcmp(copies.bytes[0] + 16, copies.bytes[3] + 16, TAC_SUPERBLOCK_BYTES - 16) == 0,
           "copies differ in their number only");
    tap_ok(tac_superblock_copy_first(6) == 0 && tac_superblock_copy_first(7) == 2,
           "even sequences go to copies 0 and 1, odd ones to 2 and 3");
    superblock.shape = shape_tiny;
    superblock.free_set_block_count = 0;
    superblock.manifest_block_count = 0;
    superblock.manifest_newest = (struct tac_block_reference){0};
    superblock.table_count = 0;
    superblock.blocks_in_file = 256;
    superblock.features_compatible = 4;
    copies_encode(&copies, &superblock);
    tap_ok(choose(&copies, &choice) == TACTUS_OK &&
               superblocks_equal(&choice.superblock, &superblock) &&
               choice.superblock.features_compatible == 4,
           "a store without tables, and with an unknown compatible feature");
}

/* ---- what is refused ------------------------------------------------------------------------ */

static void copy_reseal(uint8_t *copy)
{
    struct tac_u128 checksum = tac_checksum(copy + 32, TAC_SUPERBLOCK_BYTES - 32, 0);

    tac_store_u64(copy + 16, checksum.low);
    tac_store_u64(copy + 24, checksum.high);
}

/* All four copies with 64 bits changed at the offset and the checksum made right again. */
static int choose_changed(uint32_t offset, uint64_t value)
{
    static struct copies         copies;
    struct tac_superblock        superblock = superblock_example();
    struct tac_superblock_choice choice;

    copies_encode(&copies, &superblock);
    for (uint32_t i = 0; i < COPIES; i++) {
        tac_store_u64(copies.bytes[i] + offset, value);
        copy_reseal(copies.bytes[i]);
    }
    return choose(&copies, &choice);
}

static void test_contents(void)
{
    uint64_t runs = 8, ratio = 2;

    tap_ok(choose_changed(128, 64 * TAC_MIB) == TACTUS_OK, "the same value again is no change");
    tap_ok(choose_changed(32, 2) == TACTUS_EFORMAT, "another version is refused");
    tap_ok(choose_changed(40, 1) == TACTUS_OK, "an unknown compatible feature is not");
    tap_ok(choose_changed(48, 1) == TACTUS_EFORMAT, "an unknown read-only compatible feature is");
    tap_ok(choose_changed(56, 1) == TACTUS_EFORMAT, "an unknown incompatible feature is");
    tap_ok(choose_changed(80, 0) == TACTUS_ECORRUPT && choose_changed(80, ~0ull) == TACTUS_ECORRUPT,
           "sequences that cannot be");
    tap_ok(choose_changed(128, 1) == TACTUS_ECORRUPT && choose_changed(160, 3) == TACTUS_ECORRUPT &&
               choose_changed(168, runs | ratio << 40) == TACTUS_ECORRUPT,
           "shapes that cannot be");
    tap_ok(choose_changed(256, 1101) == TACTUS_ECORRUPT, "persisted above compacted");
    tap_ok(choose_changed(384, 128) == TACTUS_OK && choose_changed(384, 256) == TACTUS_ECORRUPT &&
               choose_changed(384, 16 | 32) == TACTUS_ECORRUPT,
           "control flags that nobody knows, or that contradict each other");
    tap_ok(choose_changed(400, 4096ull << 32) == TACTUS_OK &&
               choose_changed(400, 4097ull << 32) == TACTUS_ECORRUPT,
           "more bars than an ingest may owe");
    tap_ok(choose_changed(80, 1ull << 63) == TACTUS_ECORRUPT &&
               choose_changed(264, 1ull << 63) == TACTUS_ECORRUPT &&
               choose_changed(272, 1ull << 63) == TACTUS_ECORRUPT &&
               choose_changed(280, 1ull << 63) == TACTUS_ECORRUPT &&
               choose_changed(288, 1ull << 63) == TACTUS_ECORRUPT &&
               choose_changed(296, 1ull << 63) == TACTUS_ECORRUPT &&
               choose_changed(360, 1ull << 63) == TACTUS_ECORRUPT &&
               choose_changed(280, (1ull << 63) - 1) == TACTUS_OK,
           "numbers that would soon overflow");
    tap_ok(choose_changed(304, 78) == TACTUS_ECORRUPT, "more tables than ids");
    tap_ok(choose_changed(312, 100) == TACTUS_ECORRUPT &&
               choose_changed(312, (8u << 20) + 1) == TACTUS_ECORRUPT,
           "a file without room for its copies, or beyond its limit");
    tap_ok(choose_changed(200, 1) == TACTUS_ECORRUPT && choose_changed(4088, 1) == TACTUS_ECORRUPT,
           "bytes that must be zero");
}

/* Of the manifest log, the free set and the range that is compacted. */
static void test_places(void)
{
    tap_ok(choose_changed(336, 0) == TACTUS_ECORRUPT &&
               choose_changed(336, 64) == TACTUS_ECORRUPT &&
               choose_changed(336, 4096) == TACTUS_ECORRUPT &&
               choose_changed(336, 1003) == TACTUS_ECORRUPT,
           "a manifest log where it cannot be");
    tap_ok(choose_changed(360, 0) == TACTUS_ECORRUPT &&
               choose_changed(360, ~0ull - 3) == TACTUS_ECORRUPT &&
               choose_changed(368, 0) == TACTUS_ECORRUPT &&
               choose_changed(368, 5000) == TACTUS_ECORRUPT,
           "a manifest log that cannot be so long");
    tap_ok(choose_changed(376, 97) == TACTUS_ECORRUPT && choose_changed(376, 95) == TACTUS_ECORRUPT,
           "a free set of too many blocks, or with a reference too many");
    tap_ok(choose_changed(512, 0) == TACTUS_ECORRUPT &&
               choose_changed(512, 1001) == TACTUS_ECORRUPT &&
               choose_changed(512, 4096) == TACTUS_ECORRUPT,
           "a free set where it cannot be, or twice in one block");
    tap_ok(choose_changed(2816, 0) == TACTUS_ECORRUPT &&
               choose_changed(2816, 1101) == TACTUS_ECORRUPT &&
               choose_changed(2816, 1100) == TACTUS_OK &&
               choose_changed(2840, 63 | 11 << 8 | 2 << 16 | 3ull << 32 | 392ull << 48) ==
                   TACTUS_OK &&
               choose_changed(2840, 64 | 3ull << 32 | 392ull << 48) == TACTUS_ECORRUPT &&
               choose_changed(2840, 12 << 8 | 3ull << 32 | 392ull << 48) == TACTUS_ECORRUPT &&
               choose_changed(2840, 3 << 16 | 3ull << 32 | 392ull << 48) == TACTUS_ECORRUPT &&
               choose_changed(2840, 393ull << 32 | 392ull << 48) == TACTUS_ECORRUPT &&
               choose_changed(2840, 2ull << 32 | 392ull << 48) == TACTUS_ECORRUPT,
           "a range that cannot be compacted, or with bytes behind a bound");
}

static void test_random_contents(uint64_t seed)
{
    struct tac_prng prng = {seed};
    uint32_t        refusals = 0;

    for (uint32_t i = 0; i < 20000; i++) {
        bool     is_sweep = tac_prng_below(&prng, 8) == 0;
        uint32_t offset = (is_sweep ? 2800 : 32) + (uint32_t)tac_prng_below(&prng, 500);
        uint32_t shift = (uint32_t)tac_prng_below(&prng, 64);

        refusals += choose_changed(offset, tac_prng_next(&prng) >> shift) != TACTUS_OK;
    }
    tap_ok(refusals > 10000, "20000 changed superblocks: %u refused, none crashes", refusals);
}

static void test_copies(void)
{
    static struct copies         copies;
    static uint8_t               zero[TAC_SUPERBLOCK_BYTES];
    struct tac_superblock        superblock = superblock_example();
    struct tac_superblock        next = superblock_example();
    struct tac_superblock_choice choice;

    copies_encode(&copies, &superblock);
    for (uint32_t i = 0; i < COPIES; i++) {
        copies.bytes[i][100] ^= 1;
    }
    tap_ok(choose(&copies, &choice) == TACTUS_ECORRUPT, "no whole copy is damage");
    for (uint32_t i = 0; i < COPIES; i++) {
        copies.pointers[i] = zero;
    }
    tap_ok(choose(&copies, &choice) == TACTUS_EFORMAT, "no mark of a superblock is no store");
    memset(copies.pointers, 0, sizeof copies.pointers);
    tap_ok(choose(&copies, &choice) == TACTUS_ECORRUPT, "nothing readable is damage");

    copies_encode(&copies, &superblock);
    copies.pointers[0] = NULL;
    copies.bytes[2][2000] ^= 8;
    tac_store_u64(copies.bytes[3] + 8, 1);
    tap_ok(choose(&copies, &choice) == TACTUS_OK && choice.repair_first_mask == 4 &&
               choice.repair_second_mask == 9,
           "rot, a wrong copy number and an unreadable copy are repaired, each in its phase");

    copies_encode(&copies, &superblock);
    next.op_released++;
    tac_superblock_encode(copies.bytes[1], &next, 1);
    tap_ok(choose(&copies, &choice) == TACTUS_EFORK, "two contents of one sequence are a fork");
    next.sequence++;
    tac_superblock_encode(copies.bytes[0], &next, 0);
    tac_superblock_encode(copies.bytes[1], &next, 1);
    tap_ok(choose(&copies, &choice) == TACTUS_EFORK, "a newest without its parent is a fork");
    next.parent_checksum = tac_superblock_checksum(&superblock);
    tac_superblock_encode(copies.bytes[0], &next, 0);
    tac_superblock_encode(copies.bytes[1], &superblock, 1);
    tap_ok(choose(&copies, &choice) == TACTUS_OK && choice.superblock.sequence == 8 &&
               choice.repair_first_mask == 2 && choice.repair_second_mask == 0,
           "one whole copy is enough to be chosen");

    copies_encode(&copies, &superblock);
    next.uuid[0] ^= 1;
    next.sequence = 90;
    tac_superblock_encode(copies.bytes[1], &next, 1);
    tap_ok(choose(&copies, &choice) == TACTUS_OK && choice.superblock.sequence == 7 &&
               choice.repair_second_mask == 2,
           "a copy of another store is overwritten");
    tac_superblock_encode(copies.bytes[0], &next, 0);
    tap_ok(choose(&copies, &choice) == TACTUS_EFORK, "as many copies of another store are refused");
}

/* ---- exhaustive search ---------------------------------------------------------------------- */

/* A superblock of the search: told apart by its number; its parent is another content. */
struct content {
    uint8_t         sequence, number, parent;
    struct tac_u128 checksum;
    uint8_t        *copies; /* COPIES encoded copies */
};

/* A slot holds a copy of a content with a copy number, or nothing whole. */
#define SLOT_NONE 0
#define COPY_NUMBERS (COPIES + 1) /* One of them belongs nowhere: a rotten number */
#define SLOT(content, number) ((uint8_t)(1 + (content)*COPY_NUMBERS + (number)))
#define SLOT_CONTENT(slot) (((slot)-1) / COPY_NUMBERS)
#define SLOT_NUMBER(slot) (((slot)-1) % COPY_NUMBERS)
#define CONTENTS_MAX 50

enum mode {
    RUN,
    WRITING,
    REPAIR_FIRST,
    REPAIR_SECOND,
    OPENING
};

/* All bytes, so that states compare and hash as memory. */
struct node {
    uint8_t slots[COPIES];
    uint8_t acknowledged, current; /* Contents */
    uint8_t mode;
    uint8_t pending;                      /* Mask of slots being written, all with `current` */
    uint8_t pending_next;                 /* Second phase's mask, during the first */
    uint8_t faults, checkpoints, crashes; /* Still allowed; done; done */
    uint8_t number_last;
    uint8_t zero[3];
};

struct search {
    struct content contents[CONTENTS_MAX];
    uint32_t       content_count;
    struct node   *nodes;
    uint32_t       node_count, node_next, node_max;
    uint32_t      *table; /* Node index + 1, by hash */
    uint32_t       table_mask;
    uint32_t       checkpoints_max, crashes_max;
    bool           has_second_phase;
    uint32_t       losses, rollbacks, forks;
};

static uint8_t content_intern(struct search *search, uint8_t sequence, uint8_t number,
                              uint8_t parent)
{
    struct tac_superblock superblock = {.shape = shape_tiny, .blocks_in_file = 256};
    struct content       *content;

    for (uint32_t i = 0; i < search->content_count; i++) {
        content = &search->contents[i];
        if (content->sequence == sequence && content->number == number &&
            content->parent == parent) {
            return (uint8_t)i;
        }
    }
    if (search->content_count == CONTENTS_MAX) {
        tap_bail("more superblocks than the search has room for");
    }
    content = &search->contents[search->content_count++];
    content->sequence = sequence;
    content->number = number;
    content->parent = parent;
    superblock.sequence = sequence;
    superblock.bar_count = number;
    superblock.manifest_oldest_sequence = 1;
    superblock.parent_checksum = search->contents[parent].checksum;
    content->checksum = tac_superblock_checksum(&superblock);
    content->copies = malloc(COPY_NUMBERS * TAC_SUPERBLOCK_BYTES);
    for (uint32_t i = 0; i < COPY_NUMBERS; i++) {
        tac_superblock_encode(content->copies + i * TAC_SUPERBLOCK_BYTES, &superblock,
                              i < COPIES ? i : 0);
        tac_store_u64(content->copies + i * TAC_SUPERBLOCK_BYTES + 8, i);
    }
    return (uint8_t)(search->content_count - 1);
}

static void node_push(struct search *search, const struct node *node)
{
    uint32_t slot = (uint32_t)tac_checksum(node, sizeof *node, 0).low & search->table_mask;

    while (search->table[slot] != 0) {
        if (memcmp(&search->nodes[search->table[slot] - 1], node, sizeof *node) == 0) {
            return;
        }
        slot = (slot + 1) & search->table_mask;
    }
    if (search->node_count == search->node_max) {
        tap_bail("more states than the search has room for");
    }
    search->nodes[search->node_count] = *node;
    search->table[slot] = ++search->node_count;
}

static void pending_apply(struct node *node)
{
    for (uint8_t i = 0; i < COPIES; i++) {
        if ((node->pending >> i & 1) != 0) {
            node->slots[i] = SLOT(node->current, i);
        }
    }
    node->pending = 0;
}

/* Any slot rots as a whole, or in its copy number. */
static void push_rot(struct search *search, const struct node *node)
{
    for (uint32_t i = 0; i < COPIES && node->faults > 0; i++) {
        struct node next = *node;

        if (node->slots[i] == SLOT_NONE) {
            continue;
        }
        next.faults--;
        next.slots[i] = SLOT_NONE;
        node_push(search, &next);
        next.slots[i] = SLOT(SLOT_CONTENT(node->slots[i]), COPIES);
        node_push(search, &next);
    }
}

/* Each write under way is applied, lost or torn. */
static void push_crash(struct search *search, const struct node *node)
{
    for (uint32_t outcome = 0; outcome < 81 && node->crashes < search->crashes_max; outcome++) {
        struct node next = *node;
        uint32_t    digits = outcome;

        for (uint8_t i = 0; i < COPIES; i++, digits /= 3) {
            if ((node->pending >> i & 1) == 0 || digits % 3 == 0) {
                continue;
            }
            next.slots[i] = digits % 3 == 1 ? SLOT(node->current, i) : SLOT_NONE;
        }
        next.pending = 0;
        next.pending_next = 0;
        next.mode = OPENING;
        next.crashes++;
        node_push(search, &next);
    }
}

/* One write of the pair goes to another slot, before the other write of the pair or after it. */
static void push_misdirected(struct search *search, const struct node *node)
{
    for (uint8_t i = 0; i < COPIES && node->faults > 0; i++) {
        if ((node->pending >> i & 1) == 0) {
            continue;
        }
        for (uint32_t j = 0; j < 2 * COPIES; j++) {
            struct node next = *node;

            if (j % COPIES != i) {
                next.slots[j % COPIES] = SLOT(node->current, i);
                next.pending &= (uint8_t) ~(1u << i);
                pending_apply(&next);
                if (j >= COPIES) {
                    next.slots[j % COPIES] = SLOT(node->current, i);
                }
                next.acknowledged = node->current;
                next.mode = RUN;
                next.faults--;
                node_push(search, &next);
            }
        }
    }
}

/* The real choice among what an open sees; judged, and followed by its repairs. */
static void push_open(struct search *search, const struct node *node, const uint8_t slots[COPIES],
                      uint8_t faults)
{
    const uint8_t               *copies[COPIES];
    struct tac_superblock_choice choice;
    struct node                  next = *node;
    int                          rv;

    for (uint32_t i = 0; i < COPIES; i++) {
        copies[i] = slots[i] == SLOT_NONE ? NULL
                                          : search->contents[SLOT_CONTENT(slots[i])].copies +
                                                SLOT_NUMBER(slots[i]) * TAC_SUPERBLOCK_BYTES;
    }
    rv = tac_superblock_choose(copies, &choice, NULL);
    if (rv == TACTUS_EFORK) {
        search->forks++;
        return;
    }
    if (rv != TACTUS_OK) {
        search->losses++;
        return;
    }
    if (choice.superblock.sequence < search->contents[node->acknowledged].sequence) {
        search->rollbacks++;
        return;
    }
    for (uint8_t i = 0; i < search->content_count; i++) {
        if (tac_u128_equal(search->contents[i].checksum,
                           tac_superblock_checksum(&choice.superblock))) {
            next.current = i;
        }
    }
    next.mode = REPAIR_FIRST;
    next.pending = (uint8_t)choice.repair_first_mask;
    next.pending_next = search->has_second_phase ? (uint8_t)choice.repair_second_mask : 0;
    next.faults = faults;
    node_push(search, &next);
}

/* An open sees the slots as they are, or one read fails or brings another slot. */
static void push_views(struct search *search, const struct node *node)
{
    push_open(search, node, node->slots, node->faults);
    for (uint32_t i = 0; i < COPIES && node->faults > 0; i++) {
        for (uint32_t j = 0; j < COPIES; j++) {
            uint8_t slots[COPIES];

            memcpy(slots, node->slots, sizeof slots);
            slots[i] = j == i ? SLOT_NONE : node->slots[j];
            push_open(search, node, slots, (uint8_t)(node->faults - 1));
        }
    }
}

static void node_expand(struct search *search, const struct node *node)
{
    struct node next = *node;

    if (node->mode == OPENING) {
        push_views(search, node);
        return;
    }
    push_rot(search, node);
    push_crash(search, node);
    if (node->mode == RUN) {
        if (node->checkpoints < search->checkpoints_max) {
            next.number_last++;
            next.checkpoints++;
            next.current =
                content_intern(search, (uint8_t)(search->contents[node->current].sequence + 1),
                               next.number_last, node->current);
            next.pending =
                (uint8_t)(3u << tac_superblock_copy_first(search->contents[next.current].sequence));
            next.mode = WRITING;
            node_push(search, &next);
        }
        return;
    }
    if (node->mode == WRITING) {
        push_misdirected(search, node);
    }
    pending_apply(&next);
    if (node->mode != REPAIR_SECOND) {
        next.acknowledged = node->current; /* Both copies are durable */
    }
    next.mode = node->mode == REPAIR_FIRST ? REPAIR_SECOND : RUN;
    next.pending = node->pending_next;
    next.pending_next = 0;
    node_push(search, &next);
}

static void search_run(struct search *search, uint8_t faults, uint32_t checkpoints,
                       uint32_t crashes, bool has_second_phase)
{
    struct node start = {.mode = RUN, .faults = faults};

    memset(search, 0, sizeof *search);
    search->node_max = 1u << 18;
    search->table_mask = 2 * search->node_max - 1;
    search->nodes = malloc(search->node_max * sizeof *search->nodes);
    search->table = calloc(search->table_mask + 1, sizeof *search->table);
    search->checkpoints_max = checkpoints;
    search->crashes_max = crashes;
    search->has_second_phase = has_second_phase;
    start.current = start.acknowledged = content_intern(search, 1, 0, 0);
    for (uint8_t i = 0; i < COPIES; i++) {
        start.slots[i] = SLOT(start.current, i);
    }
    node_push(search, &start);
    while (search->node_next < search->node_count) {
        struct node node = search->nodes[search->node_next++];

        node_expand(search, &node);
    }
    for (uint32_t i = 0; i < search->content_count; i++) {
        free(search->contents[i].copies);
    }
    free(search->nodes);
    free(search->table);
}

static void test_search(void)
{
    static struct search search;

    search_run(&search, 0, 4, 4, true);
    tap_ok(search.losses + search.rollbacks + search.forks == 0 && search.node_count > 1000,
           "crashes without a fault: no loss, no rollback, no fork in %u states",
           search.node_count);
    search_run(&search, 1, 4, 4, true);
    tap_ok(search.losses + search.rollbacks + search.forks == 0 && search.node_count > 10000,
           "crashes and any one fault: no loss, no rollback, no fork in %u states",
           search.node_count);
    search_run(&search, 1, 4, 3, false);
    tap_ok(search.forks > 0, "without the second phase the search finds %u forks", search.forks);
    search_run(&search, 2, 3, 2, true);
    tap_ok(search.rollbacks > 0 && search.losses > 0,
           "two faults are beyond the promise: the search finds %u rollbacks and %u losses",
           search.rollbacks, search.losses);
}

int main(void)
{
    uint64_t seed;

    tap_plan(0);
    seed = tap_seed();
    test_shape();
    test_round_trip();
    test_contents();
    test_places();
    test_random_contents(seed);
    test_copies();
    test_search();
    return tap_done();
}
