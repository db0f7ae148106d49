/* SPDX-License-Identifier: Apache-2.0 */
/* store_model -- what a store must contain: sorted maps that keep every version of every key.
 *
 * A tree of the model has a fixed set of possible keys, in order; a key is named by its number in
 * it. Each put or delete adds a version with its op, so that the content as of any op can be asked
 * for: the one at an iterator's opening, or the one that a crash falls back to. Values are named by
 * a seed and a size; the bytes follow from both. */
#ifndef TACTUS_TESTS_SIM_STORE_MODEL_H
#define TACTUS_TESTS_SIM_STORE_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "tactus.h"

#define STORE_MODEL_TREES_MAX 4
#define STORE_MODEL_NONE UINT32_MAX /* No key */
#define STORE_MODEL_NEVER UINT64_MAX

/* How the keys of a tree look. */
enum store_model_keys {
    STORE_MODEL_KEYS_DENSE,  /* Numbers, big-endian, behind a common prefix */
    STORE_MODEL_KEYS_RANDOM, /* Random bytes: random sizes too in a variable layout */
    STORE_MODEL_KEYS_NESTED, /* Many keys are prefixes of others (variable layouts) */
    STORE_MODEL_KEYS_KINDS,
};

struct store_model_spec {
    struct tactus_layout  layout; /* value_size: the largest that is used, never 0 for "most" */
    enum store_model_keys keys;
    uint32_t              key_count; /* At most; equal ones are left out */
    uint64_t              seed;
};

struct store_model_version {
    uint64_t op;
    uint32_t value_seed;
    uint32_t value_size;
    bool     is_tombstone;
};

struct store_model_key {
    const uint8_t              *bytes;
    uint32_t                    size;
    uint32_t                    count, capacity;
    struct store_model_version *versions; /* Ascending by op */
};

/* A tree that was dropped: another one of the same name, with the same keys, may have come since. */
struct store_model_life {
    uint64_t created_op, dropped_op;
};

struct store_model_tree {
    struct store_model_spec spec;
    uint64_t                created_op; /* STORE_MODEL_NEVER: it does not exist */
    uint32_t                id;         /* In the store, once it exists */
    struct store_model_key *keys;
    uint32_t                key_count;
    uint8_t                *memory; /* Of the keys */
    struct store_model_life *lives; /* Before the present one, in order */
    uint32_t                 life_count;
};

struct store_model {
    uint64_t                op; /* The last one */
    uint32_t                tree_count;
    struct store_model_tree trees[STORE_MODEL_TREES_MAX];
};

struct store_model *store_model_new(const struct store_model_spec *specs, uint32_t tree_count);
/* As of the op. */
struct store_model *store_model_copy(const struct store_model *model, uint64_t op);
void                store_model_free(struct store_model *model);

/* Ops never fall; of two versions with one op the later call counts. */
void store_model_write(struct store_model *model, uint32_t tree, uint32_t key, uint64_t op,
                       const struct store_model_version *version);
/* The tree's records are deleted with it, in the model one by one. */
void store_model_drop(struct store_model *model, uint32_t tree, uint64_t op);
/* Everything after the op is gone. */
void store_model_truncate(struct store_model *model, uint64_t op);

/* The version of the key as of the op; NULL: there is no such record then. */
const struct store_model_version *store_model_get(const struct store_model *model, uint32_t tree,
                                                  uint32_t key, uint64_t op);
/* The first key at or after `key` that has a record as of the op; the last one at or before it. */
uint32_t store_model_next(const struct store_model *model, uint32_t tree, uint32_t key,
                          uint64_t op);
uint32_t store_model_previous(const struct store_model *model, uint32_t tree, uint32_t key,
                              uint64_t op);
/* The first possible key that is not below these bytes; key_count when there is none. */
uint32_t store_model_lower_bound(const struct store_model *model, uint32_t tree,
                                 const uint8_t *bytes, uint32_t size);
uint64_t store_model_count(const struct store_model *model, uint32_t tree, uint64_t op);

/* The bytes of a value. */
void store_model_value(uint32_t value_seed, uint32_t value_size, uint8_t *bytes);

#endif
