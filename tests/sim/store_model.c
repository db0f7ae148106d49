/* SPDX-License-Identifier: Apache-2.0 */
/* store_model -- see store_model.h. Nothing of the engine is used here but its random numbers. */
#include "tests/sim/store_model.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/prng.h"

/* ---- keys ----------------------------------------------------------------------------------- */

static int bytes_compare(const uint8_t *a, uint32_t a_size, const uint8_t *b, uint32_t b_size)
{
    int order = memcmp(a, b, a_size < b_size ? a_size : b_size);

    return order != 0 ? order : (a_size > b_size) - (a_size < b_size);
}

static int keys_compare(const void *a, const void *b)
{
    const struct store_model_key *x = a;
    const struct store_model_key *y = b;

    return bytes_compare(x->bytes, x->size, y->bytes, y->size);
}

static uint32_t key_size_draw(const struct store_model_spec *spec, struct tac_prng *prng)
{
    uint32_t most = spec->layout.key_size;

    if (spec->layout.kind == TACTUS_LAYOUT_FIXED) {
        return most;
    }
    return 1 + (uint32_t)tac_prng_below(prng, most);
}

/* The number's bytes, the highest first, end the key; what is in front is the same for all. */
static uint32_t key_make_dense(const struct store_model_spec *spec, uint32_t number, uint8_t *bytes)
{
    uint32_t size = spec->layout.key_size;

    memset(bytes, 'k', size);
    for (uint32_t i = 0; i < 4 && i < size; i++) {
        bytes[size - 1 - i] = (uint8_t)(number >> 8 * i);
    }
    return size;
}

static uint32_t key_make(const struct store_model_spec *spec, uint32_t number, uint8_t *bytes,
                         struct tac_prng *prng)
{
    uint32_t size;

    if (spec->keys == STORE_MODEL_KEYS_DENSE) {
        return key_make_dense(spec, number, bytes);
    }
    size = key_size_draw(spec, prng);
    for (uint32_t i = 0; i < size; i++) {
        /* Nested: an alphabet of two makes most short keys prefixes of longer ones. */
        bytes[i] = spec->keys == STORE_MODEL_KEYS_NESTED ? (uint8_t)(255 * tac_prng_below(prng, 2))
                                                         : (uint8_t)tac_prng_next(prng);
    }
    return size;
}

static void tree_create(struct store_model_tree *tree, const struct store_model_spec *spec)
{
    struct tac_prng prng = {spec->seed};
    uint32_t        count = 0;

    tac_assert(spec->key_count > 0 && spec->layout.key_size > 0);
    tree->spec = *spec;
    tree->created_op = STORE_MODEL_NEVER;
    tree->memory = malloc((size_t)spec->key_count * spec->layout.key_size);
    tree->keys = calloc(spec->key_count, sizeof *tree->keys);
    tac_assert(tree->memory != NULL && tree->keys != NULL);
    for (uint32_t i = 0; i < spec->key_count; i++) {
        uint8_t *bytes = tree->memory + (size_t)i * spec->layout.key_size;

        tree->keys[i].bytes = bytes;
        tree->keys[i].size = key_make(spec, i, bytes, &prng);
    }
    qsort(tree->keys, spec->key_count, sizeof *tree->keys, keys_compare);
    for (uint32_t i = 0; i < spec->key_count; i++) {
        if (i == 0 || keys_compare(&tree->keys[i], &tree->keys[count - 1]) != 0) {
            tree->keys[count++] = tree->keys[i];
        }
    }
    tree->key_count = count;
}

struct store_model *store_model_new(const struct store_model_spec *specs, uint32_t tree_count)
{
    struct store_model *model = calloc(1, sizeof *model);

    tac_assert(model != NULL);
    tac_assert(tree_count >= 1 && tree_count <= STORE_MODEL_TREES_MAX);
    model->tree_count = tree_count;
    for (uint32_t i = 0; i < tree_count; i++) {
        tree_create(&model->trees[i], &specs[i]);
    }
    return model;
}

static void *memory_copy(const void *memory, size_t size)
{
    void *copy = malloc(size + 1);

    tac_assert(copy != NULL);
    if (size > 0) {
        memcpy(copy, memory, size);
    }
    return copy;
}

static void lives_truncate(struct store_model_tree *tree, uint64_t op)
{
    if (tree->created_op > op) {
        tree->created_op = STORE_MODEL_NEVER;
    }
    while (tree->life_count > 0 && tree->lives[tree->life_count - 1].dropped_op > op) {
        uint64_t created_op = tree->lives[--tree->life_count].created_op;

        tree->created_op = created_op <= op ? created_op : STORE_MODEL_NEVER;
    }
}

static void tree_copy(struct store_model_tree *tree, uint64_t op)
{
    const uint8_t *memory = tree->memory;

    tree->memory = memory_copy(memory, (size_t)tree->spec.key_count * tree->spec.layout.key_size);
    tree->keys = memory_copy(tree->keys, tree->spec.key_count * sizeof *tree->keys);
    for (uint32_t k = 0; k < tree->key_count; k++) {
        struct store_model_key *key = &tree->keys[k];

        key->bytes = tree->memory + (key->bytes - memory);
        while (key->count > 0 && key->versions[key->count - 1].op > op) {
            key->count--;
        }
        key->capacity = key->count;
        key->versions =
            key->count == 0 ? NULL : memory_copy(key->versions, key->count * sizeof *key->versions);
    }
    tree->lives = memory_copy(tree->lives, tree->life_count * sizeof *tree->lives);
    lives_truncate(tree, op);
}

struct store_model *store_model_copy(const struct store_model *model, uint64_t op)
{
    struct store_model *copy = memory_copy(model, sizeof *model);

    for (uint32_t i = 0; i < model->tree_count; i++) {
        tree_copy(&copy->trees[i], op);
    }
    copy->op = op;
    return copy;
}

void store_model_free(struct store_model *model)
{
    for (uint32_t i = 0; i < model->tree_count; i++) {
        for (uint32_t k = 0; k < model->trees[i].key_count; k++) {
            free(model->trees[i].keys[k].versions);
        }
        free(model->trees[i].keys);
        free(model->trees[i].memory);
        free(model->trees[i].lives);
    }
    free(model);
}

/* ---- versions ------------------------------------------------------------------------------- */

static struct store_model_key *key_at(const struct store_model *model, uint32_t tree, uint32_t key)
{
    tac_assert(tree < model->tree_count);
    tac_assert(key < model->trees[tree].key_count);
    return &model->trees[tree].keys[key];
}

void store_model_write(struct store_model *model, uint32_t tree, uint32_t key, uint64_t op,
                       const struct store_model_version *version)
{
    struct store_model_key *at = key_at(model, tree, key);

    tac_assert(at->count == 0 || at->versions[at->count - 1].op <= op);
    if (at->count == 0 || at->versions[at->count - 1].op < op) {
        if (at->count == at->capacity) {
            at->capacity = at->capacity == 0 ? 2 : 2 * at->capacity;
            at->versions = realloc(at->versions, at->capacity * sizeof *at->versions);
            tac_assert(at->versions != NULL);
        }
        at->count++;
    }
    at->versions[at->count - 1] = *version;
    at->versions[at->count - 1].op = op;
}

void store_model_drop(struct store_model *model, uint32_t tree, uint64_t op)
{
    struct store_model_tree   *at = &model->trees[tree];
    struct store_model_version gone = {.is_tombstone = true};

    tac_assert(at->created_op < op);
    for (uint32_t key = 0; key < at->key_count; key++) {
        if (store_model_get(model, tree, key, op) != NULL) {
            store_model_write(model, tree, key, op, &gone);
        }
    }
    at->lives = realloc(at->lives, (at->life_count + 1) * sizeof *at->lives);
    tac_assert(at->lives != NULL);
    at->lives[at->life_count++] = (struct store_model_life){at->created_op, op};
    at->created_op = STORE_MODEL_NEVER;
}

void store_model_truncate(struct store_model *model, uint64_t op)
{
    tac_assert(op <= model->op);
    for (uint32_t i = 0; i < model->tree_count; i++) {
        struct store_model_tree *tree = &model->trees[i];

        for (uint32_t k = 0; k < tree->key_count; k++) {
            struct store_model_key *key = &tree->keys[k];

            while (key->count > 0 && key->versions[key->count - 1].op > op) {
                key->count--;
            }
        }
        lives_truncate(tree, op);
    }
    model->op = op;
}

const struct store_model_version *store_model_get(const struct store_model *model, uint32_t tree,
                                                  uint32_t key, uint64_t op)
{
    const struct store_model_key *at = key_at(model, tree, key);

    for (uint32_t i = at->count; i > 0; i--) {
        if (at->versions[i - 1].op <= op) {
            return at->versions[i - 1].is_tombstone ? NULL : &at->versions[i - 1];
        }
    }
    return NULL;
}

uint32_t store_model_next(const struct store_model *model, uint32_t tree, uint32_t key, uint64_t op)
{
    for (; key < model->trees[tree].key_count; key++) {
        if (store_model_get(model, tree, key, op) != NULL) {
            return key;
        }
    }
    return STORE_MODEL_NONE;
}

uint32_t store_model_previous(const struct store_model *model, uint32_t tree, uint32_t key,
                              uint64_t op)
{
    tac_assert(key < model->trees[tree].key_count);
    for (uint32_t i = key + 1; i > 0; i--) {
        if (store_model_get(model, tree, i - 1, op) != NULL) {
            return i - 1;
        }
    }
    return STORE_MODEL_NONE;
}

uint32_t store_model_lower_bound(const struct store_model *model, uint32_t tree,
                                 const uint8_t *bytes, uint32_t size)
{
    const struct store_model_tree *at = &model->trees[tree];
    uint32_t                       low = 0, high = at->key_count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (bytes_compare(at->keys[middle].bytes, at->keys[middle].size, bytes, size) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

uint64_t store_model_count(const struct store_model *model, uint32_t tree, uint64_t op)
{
    uint64_t count = 0;

    for (uint32_t k = 0; k < model->trees[tree].key_count; k++) {
        count += store_model_get(model, tree, k, op) != NULL;
    }
    return count;
}

void store_model_value(uint32_t value_seed, uint32_t value_size, uint8_t *bytes)
{
    uint64_t state = tac_mix_u64(value_seed + 1);

    for (uint32_t i = 0; i < value_size; i++) {
        bytes[i] = (uint8_t)(state >> 8 * (i % 8));
        if (i % 8 == 7) {
            state = state * 6364136223846793005u + 1442695040888963407u;
        }
    }
}
