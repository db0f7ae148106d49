/* SPDX-License-Identifier: Apache-2.0 */
/* A store at its limits: what is refused, and that what was accepted goes on. */
#include <stdio.h>
#include <string.h>

#include "base/prng.h"
#include "base/units.h"
#include "tactus.h"
#include "tests/lib/tap.h"

#define KEY_BYTES 8
#define VALUE_BYTES 500
#define ROUNDS 8

static struct tactus *store_open(struct tactus_options *options, enum tactus_layout_kind kind,
                                 uint32_t *ret_tree)
{
    struct tactus_layout layout = {kind, KEY_BYTES, VALUE_BYTES};
    struct tactus       *store;

    options->block_size = 4 * TAC_KIB;
    options->page_size = 512;
    options->memtable_size = 32 * TAC_KIB;
    options->slice_size = 64 * TAC_KIB;
    options->beats_per_bar = 16;
    options->threads_read = options->threads_merge = options->threads_write = 0;
    options->backend = TACTUS_BACKEND_MEMORY;
    if (tactus_open("full", options, &store) != TACTUS_OK ||
        tactus_tree_create(store, "tree", &layout, ret_tree) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
    return store;
}

static void key_make(uint64_t number, uint8_t *key)
{
    number = __builtin_bswap64(number);
    memcpy(key, &number, KEY_BYTES);
}

static int put(struct tactus *store, uint32_t tree, uint64_t number)
{
    uint8_t key[KEY_BYTES], value[VALUE_BYTES];

    key_make(number, key);
    memset(value, (int)number, sizeof value);
    return tactus_put(store, tree, key, sizeof key, value, sizeof value);
}

static int get(struct tactus *store, uint32_t tree, uint64_t number)
{
    uint8_t key[KEY_BYTES], value[VALUE_BYTES];
    size_t  size;
    int     result;

    key_make(number, key);
    result = tactus_get(store, tree, key, sizeof key, value, sizeof value, &size);
    if (result == TACTUS_OK && (size != sizeof value || value[0] != (uint8_t)number ||
                                value[VALUE_BYTES - 1] != (uint8_t)number)) {
        return TACTUS_ECORRUPT;
    }
    return result;
}

static uint64_t put_until_full(struct tactus *store, uint32_t tree, uint64_t seed, uint64_t most)
{
    uint64_t count = 0;

    while (count < most && put(store, tree, tac_mix_u64(seed + count)) == TACTUS_OK) {
        count++;
    }
    return count;
}

static void damage_print(void *context, const char *text)
{
    (void)context;
    tap_diag("%s", text);
}

static bool is_sound(struct tactus *store)
{
    struct tactus_verify_report report = {0};

    return tactus_verify(store, damage_print, NULL, &report) == TACTUS_OK && report.damages == 0;
}

/* Filled and emptied over and over: nothing is lost, and the room comes back. In a tree of fixed
 * layout a delete takes a record's room in its table, though it brings a key only. */
/* Whether the first records of the seed can be deleted, and are then gone. */
static bool records_delete(struct tactus *store, uint32_t tree, uint64_t seed, uint64_t count)
{
    bool is_gone = true;

    for (uint64_t i = 0; i < count; i++) {
        uint8_t key[KEY_BYTES];
        int     result;

        key_make(tac_mix_u64(seed + i), key);
        result = tactus_delete(store, tree, key, sizeof key);
        if (result != TACTUS_OK) {
            tap_diag("delete %llu: %s", (unsigned long long)i, tactus_message());
        }
        is_gone = is_gone && result == TACTUS_OK &&
                  get(store, tree, tac_mix_u64(seed + i)) == TACTUS_ENOTFOUND;
    }
    return is_gone;
}

static void test_fill_and_empty(enum tactus_layout_kind kind, uint32_t runs_per_level)
{
    const char           *name = kind == TACTUS_LAYOUT_FIXED ? "fixed" : "variable";
    struct tactus_options options;
    struct tactus        *store;
    uint64_t              counts[ROUNDS] = {0};
    uint64_t              early = 0, late = 0, op;
    uint32_t              tree;
    bool                  is_kept = true, is_gone = true, is_numbered = true;

    tactus_options_init(&options);
    options.runs_per_level = runs_per_level;
    options.file_size_max = (runs_per_level == 1 ? 16 : 6) * TAC_MIB;
    store = store_open(&options, kind, &tree);
    for (uint32_t round = 0; round < TAC_ARRAY_COUNT(counts); round++) {
        uint64_t seed = 1000003 * round;

        counts[round] = put_until_full(store, tree, seed, 1000000);
        op = tactus_last_op(store);
        is_numbered = is_numbered && put(store, tree, 0) == TACTUS_EFULL;
        for (uint64_t i = 0; i < counts[round]; i++) {
            is_kept = is_kept && get(store, tree, tac_mix_u64(seed + i)) == TACTUS_OK;
        }
        is_gone = records_delete(store, tree, seed, counts[round]);
        if (!is_gone) {
            break;
        }
        is_numbered = is_numbered && tactus_last_op(store) == op + counts[round];
        is_gone = tactus_compact(store, tree) == TACTUS_OK;
    }
    tap_ok(counts[0] > 500 && is_kept, "%s, R %u: a full store has all that it took (%llu)", name,
           runs_per_level, (unsigned long long)counts[0]);
    tap_ok(is_gone, "%s, R %u: and everything can be deleted", name, runs_per_level);
    /* How much goes in depends on where in its bars the store becomes full: by a quarter up and
     * down from round to round. A loss would add up. */
    for (uint32_t round = 1; round < ROUNDS; round++) {
        uint64_t *most = round < ROUNDS / 2 ? &early : &late;

        *most = tac_max_u64(*most, counts[round]);
    }
    tap_ok(is_numbered, "%s, R %u: what was refused has taken no op", name, runs_per_level);
    tap_ok(early >= counts[0] / 2 && late >= early * 9 / 10, "%s, R %u: the room comes back", name,
           runs_per_level);
    tap_ok(is_sound(store), "%s, R %u: sound", name, runs_per_level);
    tap_ok(tactus_close(store) == TACTUS_OK, "%s, R %u: close", name, runs_per_level);
}

/* Sequential keys make tables that only move: each takes a second descriptor for a while. */
static void test_descriptors(uint32_t runs_per_level)
{
    struct tactus_options options;
    struct tactus        *store;
    uint64_t              count = 0;
    uint32_t              tree;
    bool                  is_kept = true;

    tactus_options_init(&options);
    options.runs_per_level = runs_per_level;
    options.file_size_max = TAC_GIB;
    options.table_size = 8 * TAC_KIB;
    options.tables_max = 1024;
    store = store_open(&options, TACTUS_LAYOUT_FIXED, &tree);
    while (count < 200000 && put(store, tree, count) == TACTUS_OK) {
        count++;
    }
    tap_ok(count < 200000 && strstr(tactus_message(), "tables_max") != NULL,
           "R %u: as many tables as the manifest holds: full (%llu)", runs_per_level,
           (unsigned long long)count);
    tap_ok(tactus_compact(store, tree) == TACTUS_OK, "R %u: and can be compacted", runs_per_level);
    for (uint64_t i = 0; i < count; i++) {
        is_kept = is_kept && get(store, tree, i) == TACTUS_OK;
    }
    tap_ok(is_kept && is_sound(store), "R %u: nothing is lost", runs_per_level);
    tap_ok(tactus_close(store) == TACTUS_OK, "R %u: close", runs_per_level);
}

static void test_tree_too_large(void)
{
    struct tactus_layout  large = {TACTUS_LAYOUT_VARIABLE, 256, 768};
    struct tactus_options options;
    struct tactus        *store;
    uint32_t              tree;
    uint64_t              op;

    tactus_options_init(&options);
    options.file_size_max = 3 * TAC_MIB / 2;
    store = store_open(&options, TACTUS_LAYOUT_FIXED, &tree);
    op = tactus_last_op(store);
    tap_ok(tactus_tree_create(store, "large", &large, NULL) == TACTUS_EOPTION &&
               strstr(tactus_message(), "at least") != NULL && tactus_last_op(store) == op,
           "a tree whose memtables the file cannot hold is refused");
    tap_ok(put(store, tree, 1) == TACTUS_OK && tactus_close(store) == TACTUS_OK,
           "the tree that fits takes records");
}

int main(void)
{
    tap_plan(0);
    for (uint32_t runs = 1; runs <= 8; runs *= 2) {
        test_fill_and_empty(TACTUS_LAYOUT_FIXED, runs);
        test_fill_and_empty(TACTUS_LAYOUT_VARIABLE, runs);
        test_descriptors(runs);
    }
    test_tree_too_large();
    return tap_done();
}
