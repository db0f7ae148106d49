/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/sequence.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/prng.h"
#include "base/units.h"

#define KEY_BYTES 8
#define FIXED_VALUE_BYTES 64
#define VALUE_BYTES_MAX 256
#define TAGS_PER_OP 64 /* Entries of a batch: fewer */

static const char *const tree_names[SEQUENCE_TREES] = {"variable", "fixed"};

void sequence_options(struct tactus_options *options, enum tactus_backend backend, uint32_t threads)
{
    tactus_options_init(options);
    options->memtable_size = 256 * TAC_KIB;
    options->block_size = 16 * TAC_KIB;
    options->table_size = 128 * TAC_KIB;
    options->slice_size = 256 * TAC_KIB;
    options->file_size_max = TAC_GIB;
    options->checkpoint_interval_bars = 2;
    options->page_cache_size = TAC_MIB;
    options->index_cache_size = 4 * TAC_MIB;
    options->tables_max = 2048;
    options->threads_read = options->threads_merge = options->threads_write = threads;
    options->backend = backend;
    memset(options->uuid, 7, sizeof options->uuid);
}

/* ---- what an op is -------------------------------------------------------------------------- */

enum sequence_kind {
    SEQUENCE_PUT,
    SEQUENCE_DELETE,
    SEQUENCE_BATCH,
    SEQUENCE_CHECKPOINT,
    SEQUENCE_DRAIN,
    SEQUENCE_TREE,
};

static enum sequence_kind op_kind(uint64_t op)
{
    uint64_t chance = tac_mix_u64(op) % 8192;

    if (op <= SEQUENCE_TREES) {
        return SEQUENCE_TREE;
    }
    if (chance == 0) {
        return SEQUENCE_DRAIN;
    }
    if (chance <= 2) {
        return SEQUENCE_CHECKPOINT;
    }
    if (chance < 256) {
        return SEQUENCE_BATCH;
    }
    return chance % 5 == 0 ? SEQUENCE_DELETE : SEQUENCE_PUT;
}

struct entry {
    uint64_t tag; /* Names the value */
    uint32_t tree, key;
    bool     is_delete;
};

static struct entry entry_of(uint64_t op, uint32_t index)
{
    uint64_t     tag = op * TAGS_PER_OP + index;
    uint64_t     chance = tac_mix_u64(tag ^ 0x5eedu);
    struct entry entry = {.tag = tag};

    entry.tree = (uint32_t)(chance & 1);
    entry.key = (uint32_t)((chance >> 8) % SEQUENCE_KEYS);
    entry.is_delete =
        op_kind(op) == SEQUENCE_BATCH ? (chance >> 1 & 3) == 0 : op_kind(op) == SEQUENCE_DELETE;
    return entry;
}

static uint32_t entry_count(uint64_t op)
{
    switch (op_kind(op)) {
    case SEQUENCE_PUT:
    case SEQUENCE_DELETE:
        return 1;
    case SEQUENCE_BATCH:
        return 2 + (uint32_t)(tac_mix_u64(op + 1) % 30);
    case SEQUENCE_CHECKPOINT:
    case SEQUENCE_DRAIN:
    case SEQUENCE_TREE:
        return 0;
    }
    tac_unreachable();
}

static void key_make(uint32_t key, uint8_t bytes[KEY_BYTES])
{
    uint64_t number = __builtin_bswap64(key);

    memcpy(bytes, &number, KEY_BYTES);
}

static uint32_t value_make(uint32_t tree, uint64_t tag, uint8_t bytes[VALUE_BYTES_MAX])
{
    uint64_t mixed = tac_mix_u64(tag);
    uint32_t size =
        tree == 0 ? (uint32_t)(8 + mixed % (VALUE_BYTES_MAX - 8)) : (uint32_t)FIXED_VALUE_BYTES;

    memset(bytes, (int)(mixed >> 8), size);
    memcpy(bytes, &tag, sizeof tag);
    return size;
}

/* ---- doing it ------------------------------------------------------------------------------- */

static int entry_write(struct tactus *store, struct tactus_batch *batch, const struct entry *entry)
{
    uint8_t  key[KEY_BYTES], value[VALUE_BYTES_MAX];
    uint32_t size = value_make(entry->tree, entry->tag, value);

    key_make(entry->key, key);
    if (batch == NULL) {
        return entry->is_delete ? tactus_delete(store, entry->tree, key, sizeof key)
                                : tactus_put(store, entry->tree, key, sizeof key, value, size);
    }
    return entry->is_delete ? tactus_batch_delete(batch, entry->tree, key, sizeof key)
                            : tactus_batch_put(batch, entry->tree, key, sizeof key, value, size);
}

static int batch_write(struct tactus *store, uint64_t op)
{
    struct tactus_batch *batch;
    uint32_t             count = entry_count(op);
    int                  result = tactus_batch_new(store, &batch);

    if (result != TACTUS_OK) {
        return result;
    }
    for (uint32_t i = 0; i < count && result == TACTUS_OK; i++) {
        struct entry entry = entry_of(op, i);

        result = entry_write(store, batch, &entry);
    }
    if (result == TACTUS_OK) {
        result = tactus_batch_commit(batch, NULL);
    }
    tactus_batch_free(batch);
    return result;
}

static int tree_make(struct tactus *store, uint64_t op)
{
    static const struct tactus_layout layouts[SEQUENCE_TREES] = {
        {TACTUS_LAYOUT_VARIABLE, KEY_BYTES, VALUE_BYTES_MAX},
        {TACTUS_LAYOUT_FIXED, KEY_BYTES, FIXED_VALUE_BYTES},
    };
    uint32_t tree = UINT32_MAX;
    int      result = tactus_tree_create(store, tree_names[op - 1], &layouts[op - 1], &tree);

    tac_assert(result != TACTUS_OK || tree == op - 1);
    return result;
}

int sequence_step(struct tactus *store)
{
    uint64_t     op = tactus_last_op(store) + 1;
    struct entry entry;
    int          result = TACTUS_EINVAL;

    switch (op_kind(op)) {
    case SEQUENCE_PUT:
    case SEQUENCE_DELETE:
        entry = entry_of(op, 0);
        result = entry_write(store, NULL, &entry);
        break;
    case SEQUENCE_BATCH:
        result = batch_write(store, op);
        break;
    case SEQUENCE_CHECKPOINT:
        result = tactus_checkpoint(store);
        break;
    case SEQUENCE_DRAIN:
        result = tactus_drain(store);
        break;
    case SEQUENCE_TREE:
        result = tree_make(store, op);
        break;
    }
    tac_assert(result != TACTUS_OK || tactus_last_op(store) == op);
    return result;
}

int sequence_run(struct tactus *store, uint64_t op)
{
    int result = TACTUS_OK;

    while (result == TACTUS_OK && tactus_last_op(store) < op) {
        result = sequence_step(store);
    }
    return result;
}

int sequence_close(struct tactus *store)
{
    int result = TACTUS_OK;
    int closed;

    while (result == TACTUS_OK && entry_count(tactus_last_op(store) + 1) != 0) {
        result = sequence_step(store);
    }
    closed = tactus_close(store);
    return result != TACTUS_OK ? result : closed;
}

/* ---- comparing ------------------------------------------------------------------------------ */

void sequence_model_advance(struct sequence_model *model, uint64_t op)
{
    tac_assert(op >= model->op);
    while (model->op < op) {
        uint32_t count = entry_count(++model->op);

        for (uint32_t i = 0; i < count; i++) {
            struct entry entry = entry_of(model->op, i);

            model->tags[entry.tree][entry.key] = entry.is_delete ? 0 : entry.tag;
        }
    }
}

static bool record_is(uint32_t tree, uint32_t key, uint64_t tag, const void *found, size_t size)
{
    uint8_t  value[VALUE_BYTES_MAX];
    uint32_t expected = value_make(tree, tag, value);
    uint64_t other = 0;

    if (size == expected && memcmp(found, value, size) == 0) {
        return true;
    }
    memcpy(&other, found, size < sizeof other ? size : sizeof other);
    fprintf(stderr, "# tree %u, key %u: expected the value of op %llu, found that of op %llu\n",
            tree, key, (unsigned long long)tag / TAGS_PER_OP,
            (unsigned long long)other / TAGS_PER_OP);
    return false;
}

static bool tree_is_held(const uint64_t *tags, struct tactus_iterator *iterator, uint32_t tree)
{
    int result = tactus_iterator_first(iterator);

    for (uint32_t key = 0; key < SEQUENCE_KEYS; key++) {
        uint8_t     expected[KEY_BYTES];
        const void *found, *value;
        size_t      found_size, size;

        if (tags[key] == 0) {
            continue;
        }
        if (result != TACTUS_OK) {
            fprintf(stderr, "# tree %u, key %u: %s\n", tree, key,
                    result == TACTUS_ENOTFOUND ? "the store ends before it" : tactus_message());
            return false;
        }
        key_make(key, expected);
        tactus_iterator_record(iterator, &found, &found_size, &value, &size);
        if (found_size != sizeof expected || memcmp(found, expected, sizeof expected) != 0) {
            fprintf(stderr, "# tree %u, key %u: another key is in its place\n", tree, key);
            return false;
        }
        if (!record_is(tree, key, tags[key], value, size)) {
            return false;
        }
        result = tactus_iterator_next(iterator);
    }
    if (result != TACTUS_ENOTFOUND) {
        fprintf(stderr, "# tree %u: more than it should have, or %s\n", tree, tactus_message());
    }
    return result == TACTUS_ENOTFOUND;
}

/* Every 16th key, there or not. */
static bool keys_are_held(const uint64_t *tags, struct tactus *store, uint32_t tree)
{
    for (uint32_t key = (uint32_t)(tactus_last_op(store) % 16); key < SEQUENCE_KEYS; key += 16) {
        uint8_t bytes[KEY_BYTES], value[VALUE_BYTES_MAX];
        size_t  size = 0;
        int     result;

        key_make(key, bytes);
        result = tactus_get(store, tree, bytes, sizeof bytes, value, sizeof value, &size);
        if (result != (tags[key] == 0 ? TACTUS_ENOTFOUND : TACTUS_OK)) {
            fprintf(stderr, "# tree %u, key %u: get says %d\n", tree, key, result);
            return false;
        }
        if (tags[key] != 0 && !record_is(tree, key, tags[key], value, size)) {
            return false;
        }
    }
    return true;
}

bool sequence_model_is_held(const struct sequence_model *model, struct tactus *store)
{
    bool is_held = true;

    for (uint32_t tree = 0; tree < SEQUENCE_TREES && is_held; tree++) {
        struct tactus_iterator *iterator;
        uint32_t                found = UINT32_MAX;

        if (model->op <= tree) { /* Before the tree was made */
            is_held = tactus_tree_find(store, tree_names[tree], &found) == TACTUS_ENOTREE;
            continue;
        }
        if (tactus_tree_find(store, tree_names[tree], &found) != TACTUS_OK || found != tree ||
            tactus_iterator_open(store, tree, &iterator) != TACTUS_OK) {
            fprintf(stderr, "# tree %u: %s\n", tree, tactus_message());
            return false;
        }
        is_held = tree_is_held(model->tags[tree], iterator, tree) &&
                  keys_are_held(model->tags[tree], store, tree);
        tactus_iterator_close(iterator);
    }
    return is_held;
}

bool sequence_is_held(struct tactus *store)
{
    struct sequence_model *model = calloc(1, sizeof *model);
    bool                   is_held;

    tac_assert(model != NULL);
    sequence_model_advance(model, tactus_last_op(store));
    is_held = sequence_model_is_held(model, store);
    free(model);
    return is_held;
}

static void damage_print(void *context, const char *text)
{
    (void)context;
    fprintf(stderr, "# damage: %s\n", text);
}

bool sequence_is_sound(struct tactus *store)
{
    struct tactus_verify_report report = {0};

    if (tactus_verify(store, damage_print, NULL, &report) == TACTUS_OK && report.damages == 0) {
        return true;
    }
    fprintf(stderr, "# verify: %s\n", tactus_message());
    return false;
}

int sequence_live(const char *path, const struct tactus_options *options, uint64_t op,
                  uint8_t ret_digest[16])
{
    struct tactus *store;
    int            result = tactus_create(path, options);
    int            closed;

    if (result != TACTUS_OK || (result = tactus_open(path, options, &store)) != TACTUS_OK) {
        return result;
    }
    result = sequence_run(store, op);
    closed = sequence_close(store);
    if (result != TACTUS_OK || closed != TACTUS_OK) {
        return result != TACTUS_OK ? result : closed;
    }
    result = tactus_open(path, options, &store);
    if (result != TACTUS_OK) {
        return result;
    }
    result = sequence_is_held(store) && sequence_is_sound(store) ? tactus_digest(store, ret_digest)
                                                                 : TACTUS_ECORRUPT;
    tactus_abandon(store);
    (void)unlink(path);
    return result;
}
