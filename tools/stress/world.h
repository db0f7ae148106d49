/* SPDX-License-Identifier: Apache-2.0 */
/* world -- the keys and values of `tactus stress`. All of them follow from a seed, so any
 * thread, and any later process, can tell from a record alone whether it may be there.
 *
 * Item       What has a version of its own: a single key of one tree, or a group of keys, two in
 *            each tree, which are always written together. Groups come first, then singles.
 * Version    Says, with the place, all of the value, or that the item is deleted. Version 0 is that
 *            of an item that was never written.
 * Place      One key of an item. Place p is in tree p % TAC_STRESS_TREES.
 * Slot       The rank of a place among those of its tree; keys are in the order of their slots,
 *            which have nothing to do with the order of the items.
 */
#ifndef TACTUS_TOOLS_STRESS_WORLD_H
#define TACTUS_TOOLS_STRESS_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"
#include "tactus.h"

#define TAC_STRESS_TREES 4
#define TAC_STRESS_MEMBERS 8 /* Places of a group */
#define TAC_STRESS_KEYS_MIN 256
#define TAC_STRESS_KEYS_MAX (1u << 30)
#define TAC_STRESS_KEY_MAX 64
#define TAC_STRESS_VALUE_MAX 700
/* So many neighbouring slots, from a multiple of it on, have keys of one prefix. */
#define TAC_STRESS_PREFIX_SLOTS 256
#define TAC_STRESS_NOWHERE UINT32_MAX

/* What was found at a place: a version, or one of these. */
#define TAC_STRESS_ABSENT 0u
#define TAC_STRESS_WRONG (UINT32_MAX - 1) /* Bytes that no version has */
#define TAC_STRESS_EMPTY UINT32_MAX       /* An empty value, which does not tell its version */
#define TAC_STRESS_VERSION_MAX (UINT32_MAX - 2)

struct tac_stress_tree {
    const char          *name;
    struct tactus_layout layout;
    bool                 is_text; /* Keys begin with the slot in hexadecimal digits, not in bytes */
};

/* The sizes fit stores of the smallest blocks. */
extern const struct tac_stress_tree tac_stress_trees[TAC_STRESS_TREES];

struct tac_stress_world {
    uint64_t  seed;
    uint32_t  groups;
    uint32_t  items;
    uint32_t  places;                     /* A multiple of TAC_STRESS_TREES */
    uint32_t  slots;                      /* Of each tree */
    uint32_t *slot_of;                    /* By place */
    uint32_t *place_of[TAC_STRESS_TREES]; /* By slot */
};

struct tac_stress_key {
    uint32_t size;
    uint8_t  data[TAC_STRESS_KEY_MAX];
};

struct tac_stress_value {
    bool     is_deleted; /* There is no record */
    uint32_t size;
    uint8_t  data[TAC_STRESS_VALUE_MAX + 8]; /* Filled by words */
};

/* Of about so many keys, TAC_STRESS_KEYS_MIN to _MAX. False: out of memory. */
bool tac_stress_world_init(struct tac_stress_world *world, uint64_t seed,
                           uint32_t keys) TAC_MUST_CHECK;
void tac_stress_world_destroy(struct tac_stress_world *world);

static inline uint32_t tac_stress_tree_of(uint32_t place) { return place % TAC_STRESS_TREES; }

uint32_t tac_stress_item_of(const struct tac_stress_world *world, uint32_t place);
uint32_t tac_stress_first_place(const struct tac_stress_world *world, uint32_t item);
uint32_t tac_stress_place_count(const struct tac_stress_world *world, uint32_t item);

void tac_stress_key_make(const struct tac_stress_world *world, uint32_t place,
                         struct tac_stress_key *ret_key);
/* The place with this key; TAC_STRESS_NOWHERE: no place of this tree has it. */
uint32_t tac_stress_key_find(const struct tac_stress_world *world, uint32_t tree, const void *key,
                             size_t key_size);
/* Makes of a place's key one that no place has. */
void tac_stress_key_spoil(uint32_t place, struct tac_stress_key *key);
/* The size of the key's beginning that it has in common with its TAC_STRESS_PREFIX_SLOTS. */
uint32_t tac_stress_prefix_size(uint32_t tree);

/* What the version is at the place. */
void tac_stress_value_make(const struct tac_stress_world *world, uint32_t place, uint32_t version,
                           struct tac_stress_value *ret_value);
/* As tactus.h takes it: NULL for no record, never NULL for an empty value. */
const void *tac_stress_value_data(const struct tac_stress_value *value);
bool tac_stress_is_deleted(const struct tac_stress_world *world, uint32_t item, uint32_t version);

/* What a value that was read at the place says: a version, TAC_STRESS_EMPTY or TAC_STRESS_WRONG. */
uint32_t tac_stress_value_read(const struct tac_stress_world *world, uint32_t place,
                               const void *value, size_t value_size);
/* Is this what the version leaves at the place? */
bool tac_stress_is_match(const struct tac_stress_world *world, uint32_t place, uint32_t found,
                         uint32_t version);
/* The lowest version from `least` to `most` that is a match; 0 to TAC_STRESS_VERSION_MAX. False:
 * there is none. Of more than a few hundred versions not all are looked at: then it is `least`. */
bool tac_stress_match_find(const struct tac_stress_world *world, uint32_t place, uint32_t found,
                           uint32_t least, uint32_t most, uint32_t *ret_version);
/* Can both have been left by one version of their item? */
bool tac_stress_is_agreed(const struct tac_stress_world *world, uint32_t place, uint32_t found,
                          uint32_t other_place, uint32_t other_found);

/* For messages: tree and key; what was found; what a version leaves there. */
#define TAC_STRESS_TEXT_BYTES 384
void tac_stress_place_text(const struct tac_stress_world *world, uint32_t place,
                           char ret_text[TAC_STRESS_TEXT_BYTES]);
void tac_stress_found_text(uint32_t found, char ret_text[TAC_STRESS_TEXT_BYTES]);
void tac_stress_version_text(const struct tac_stress_world *world, uint32_t place, uint32_t version,
                             char ret_text[TAC_STRESS_TEXT_BYTES]);

#endif
