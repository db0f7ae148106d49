/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/stress/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/prng.h"
#include "base/units.h"
#include "tools/escape.h"

/* A value that is not empty: version, a word that only this version of this place has, filling. */
#define VALUE_HEADER_BYTES 12
#define VALUE_USUAL_MAX 100 /* Filling of most values where sizes vary */

#define TEXT_DIGITS 8
#define RAW_BYTES 4

#define SLOT_SALT 0x9fb21c651e98df25u
#define KEY_SALT 0xd6e8feb86659fd93u
#define KEY_SIZE_SALT 0xa0761d6478bd642fu
#define VALUE_SALT 0xe7037ed1a0b428dbu
#define VALUE_SIZE_SALT 0x8ebc6af09c88c6e3u
#define DELETE_SALT 0x589965cc75374cc3u

#define DELETE_ONE_IN 6
#define MATCHES_TRIED_MAX 256

const struct tac_stress_tree tac_stress_trees[TAC_STRESS_TREES] = {
    {"narrow", {TACTUS_LAYOUT_FIXED, 8, VALUE_HEADER_BYTES}, false},
    {"wide", {TACTUS_LAYOUT_FIXED, 16, 112}, true},
    {"words", {TACTUS_LAYOUT_VARIABLE, 32, 300}, true},
    {"large", {TACTUS_LAYOUT_VARIABLE, TAC_STRESS_KEY_MAX, TAC_STRESS_VALUE_MAX}, false},
};

tac_static_assert(TAC_STRESS_MEMBERS == 2 * TAC_STRESS_TREES, "two places of a group in each tree");

/* ---- items, places and slots ---------------------------------------------------------------- */

/* Every number once, in random order. */
static void shuffle(uint32_t *numbers, uint32_t count, uint64_t seed)
{
    struct tac_prng prng = {seed};

    for (uint32_t i = 0; i < count; i++) {
        uint32_t j = (uint32_t)tac_prng_below(&prng, i + 1);

        if (j != i) {
            numbers[i] = numbers[j];
        }
        numbers[j] = i;
    }
}

static void slots_draw(struct tac_stress_world *world, uint32_t tree)
{
    uint32_t *place_of = world->place_of[tree];

    shuffle(place_of, world->slots, tac_mix_u64(world->seed ^ SLOT_SALT) + tree);
    for (uint32_t slot = 0; slot < world->slots; slot++) {
        uint32_t place = place_of[slot] * TAC_STRESS_TREES + tree;

        place_of[slot] = place;
        world->slot_of[place] = slot;
    }
}

/* Half of the keys are of groups. */
bool tac_stress_world_init(struct tac_stress_world *world, uint64_t seed, uint32_t keys)
{
    uint32_t singles;

    tac_assert(keys >= TAC_STRESS_KEYS_MIN && keys <= TAC_STRESS_KEYS_MAX);
    memset(world, 0, sizeof *world);
    world->seed = seed;
    world->groups = keys / 2 / TAC_STRESS_MEMBERS;
    singles = (keys - world->groups * TAC_STRESS_MEMBERS) / TAC_STRESS_TREES * TAC_STRESS_TREES;
    world->items = world->groups + singles;
    world->places = world->groups * TAC_STRESS_MEMBERS + singles;
    world->slots = world->places / TAC_STRESS_TREES;
    world->slot_of = malloc((size_t)world->places * sizeof *world->slot_of);
    for (uint32_t tree = 0; tree < TAC_STRESS_TREES; tree++) {
        world->place_of[tree] = malloc((size_t)world->slots * sizeof *world->place_of[tree]);
        if (world->slot_of == NULL || world->place_of[tree] == NULL) {
            tac_stress_world_destroy(world);
            return false;
        }
        slots_draw(world, tree);
    }
    return true;
}

void tac_stress_world_destroy(struct tac_stress_world *world)
{
    free(world->slot_of);
    for (uint32_t tree = 0; tree < TAC_STRESS_TREES; tree++) {
        free(world->place_of[tree]);
    }
    memset(world, 0, sizeof *world);
}

static uint32_t places_of_groups(const struct tac_stress_world *world)
{
    return world->groups * TAC_STRESS_MEMBERS;
}

uint32_t tac_stress_item_of(const struct tac_stress_world *world, uint32_t place)
{
    tac_assert(place < world->places);
    return place < places_of_groups(world) ? place / TAC_STRESS_MEMBERS
                                           : world->groups + place - places_of_groups(world);
}

uint32_t tac_stress_first_place(const struct tac_stress_world *world, uint32_t item)
{
    tac_assert(item < world->items);
    return item < world->groups ? item * TAC_STRESS_MEMBERS
                                : places_of_groups(world) + item - world->groups;
}

uint32_t tac_stress_place_count(const struct tac_stress_world *world, uint32_t item)
{
    tac_assert(item < world->items);
    return item < world->groups ? TAC_STRESS_MEMBERS : 1;
}

/* ---- random bytes --------------------------------------------------------------------------- */

static uint64_t draw(const struct tac_stress_world *world, uint64_t salt, uint32_t a, uint32_t b)
{
    return tac_mix_u64(tac_mix_u64(world->seed ^ salt) + tac_mix_u64((uint64_t)a << 32 | b));
}

/* Up to seven bytes more than asked are written. */
static void words_fill(uint8_t *target, uint32_t size, uint64_t state)
{
    struct tac_prng prng = {state};

    for (uint32_t i = 0; i < size; i += 8) {
        tac_store_u64(target + i, tac_prng_next(&prng));
    }
}

/* ---- keys ----------------------------------------------------------------------------------- */

static uint32_t rank_size(const struct tac_stress_tree *tree)
{
    return tree->is_text ? TEXT_DIGITS : RAW_BYTES;
}

/* What puts the keys in the order of their slots; returns its size. */
static uint32_t rank_write(const struct tac_stress_tree *tree, uint32_t slot, uint8_t *target)
{
    uint32_t size = rank_size(tree);
    uint32_t bits = 32 / size;

    for (uint32_t i = 0; i < size; i++) {
        uint32_t digit = slot >> (size - 1 - i) * bits & ((1u << bits) - 1);

        target[i] = tree->is_text ? (uint8_t) "0123456789abcdef"[digit] : (uint8_t)digit;
    }
    return size;
}

/* Any number for what is no rank. */
static uint32_t rank_read(const struct tac_stress_tree *tree, const uint8_t *key)
{
    uint32_t size = rank_size(tree);
    uint32_t bits = 32 / size;
    uint32_t slot = 0;

    for (uint32_t i = 0; i < size; i++) {
        uint32_t digit = !tree->is_text  ? key[i]
                         : key[i] >= 'a' ? (uint32_t)key[i] - 'a' + 10
                                         : (uint32_t)key[i] - '0';

        slot = slot << bits | (digit & ((1u << bits) - 1));
    }
    return slot;
}

void tac_stress_key_make(const struct tac_stress_world *world, uint32_t place,
                         struct tac_stress_key *ret_key)
{
    const struct tac_stress_tree *tree = &tac_stress_trees[tac_stress_tree_of(place)];
    uint32_t                      rank = rank_write(tree, world->slot_of[place], ret_key->data);
    uint32_t                      rest = tree->layout.key_size - rank;
    uint8_t                       tail[TAC_STRESS_KEY_MAX + 8];

    if (tree->layout.kind == TACTUS_LAYOUT_VARIABLE) {
        rest = (uint32_t)(draw(world, KEY_SIZE_SALT, place, 0) % (rest + 1));
    }
    words_fill(tail, rest, draw(world, KEY_SALT, place, 0));
    memcpy(ret_key->data + rank, tail, rest);
    ret_key->size = rank + rest;
}

uint32_t tac_stress_key_find(const struct tac_stress_world *world, uint32_t tree, const void *key,
                             size_t key_size)
{
    struct tac_stress_key made;
    uint32_t              slot;

    if (key_size < rank_size(&tac_stress_trees[tree])) {
        return TAC_STRESS_NOWHERE;
    }
    slot = rank_read(&tac_stress_trees[tree], key);
    if (slot >= world->slots) {
        return TAC_STRESS_NOWHERE;
    }
    tac_stress_key_make(world, world->place_of[tree][slot], &made);
    return key_size == made.size && memcmp(key, made.data, key_size) == 0
               ? world->place_of[tree][slot]
               : TAC_STRESS_NOWHERE;
}

/* The rank stays: then another tail, or a longer one, is that of no place. */
void tac_stress_key_spoil(uint32_t place, struct tac_stress_key *key)
{
    const struct tac_stress_tree *tree = &tac_stress_trees[tac_stress_tree_of(place)];

    tac_assert(key->size >= rank_size(tree));
    if (key->size < tree->layout.key_size) {
        key->data[key->size++] = 'x';
    } else {
        key->data[key->size - 1] ^= 1;
    }
}

uint32_t tac_stress_prefix_size(uint32_t tree)
{
    const struct tac_stress_tree *described = &tac_stress_trees[tree];

    tac_static_assert(TAC_STRESS_PREFIX_SLOTS == 256, "a byte, or two digits");
    return rank_size(described) - (described->is_text ? 2 : 1);
}

/* ---- values --------------------------------------------------------------------------------- */

bool tac_stress_is_deleted(const struct tac_stress_world *world, uint32_t item, uint32_t version)
{
    return version == 0 || draw(world, DELETE_SALT, item, version) % DELETE_ONE_IN == 0;
}

/* Where sizes vary, one in sixteen values is empty, and one in 32 has any size there can be. */
static uint32_t value_size(const struct tac_stress_world *world, uint32_t place, uint32_t version)
{
    const struct tactus_layout *layout = &tac_stress_trees[tac_stress_tree_of(place)].layout;
    uint64_t                    random;

    if (layout->kind == TACTUS_LAYOUT_FIXED) {
        return layout->value_size;
    }
    random = draw(world, VALUE_SIZE_SALT, place, version);
    switch (random % 32) {
    case 0:
    case 1:
        return 0;
    case 2:
        return VALUE_HEADER_BYTES +
               (uint32_t)((random >> 32) % (layout->value_size - VALUE_HEADER_BYTES + 1));
    default:
        return VALUE_HEADER_BYTES + (uint32_t)((random >> 32) % VALUE_USUAL_MAX);
    }
}

void tac_stress_value_make(const struct tac_stress_world *world, uint32_t place, uint32_t version,
                           struct tac_stress_value *ret_value)
{
    uint64_t word;

    tac_assert(version <= TAC_STRESS_VERSION_MAX);
    ret_value->is_deleted = tac_stress_is_deleted(world, tac_stress_item_of(world, place), version);
    ret_value->size = ret_value->is_deleted ? 0 : value_size(world, place, version);
    tac_assert(ret_value->size <= TAC_STRESS_VALUE_MAX);
    if (ret_value->size == 0) {
        return;
    }
    word = draw(world, VALUE_SALT, place, version);
    memcpy(ret_value->data, &version, sizeof version);
    memcpy(ret_value->data + sizeof version, &word, sizeof word);
    words_fill(ret_value->data + VALUE_HEADER_BYTES, ret_value->size - VALUE_HEADER_BYTES, word);
}

const void *tac_stress_value_data(const struct tac_stress_value *value)
{
    return value->is_deleted ? NULL : value->data;
}

uint32_t tac_stress_value_read(const struct tac_stress_world *world, uint32_t place,
                               const void *value, size_t size)
{
    struct tac_stress_value made;
    uint32_t                version;

    if (size == 0) {
        return TAC_STRESS_EMPTY;
    }
    if (size < VALUE_HEADER_BYTES) {
        return TAC_STRESS_WRONG;
    }
    memcpy(&version, value, sizeof version);
    if (version > TAC_STRESS_VERSION_MAX) {
        return TAC_STRESS_WRONG;
    }
    tac_stress_value_make(world, place, version, &made);
    return size == made.size && memcmp(value, made.data, size) == 0 ? version : TAC_STRESS_WRONG;
}

bool tac_stress_is_match(const struct tac_stress_world *world, uint32_t place, uint32_t found,
                         uint32_t version)
{
    uint32_t item = tac_stress_item_of(world, place);

    if (found == TAC_STRESS_ABSENT) {
        return tac_stress_is_deleted(world, item, version);
    }
    if (found == TAC_STRESS_EMPTY) {
        return !tac_stress_is_deleted(world, item, version) &&
               value_size(world, place, version) == 0;
    }
    return found == version;
}

bool tac_stress_match_find(const struct tac_stress_world *world, uint32_t place, uint32_t found,
                           uint32_t least, uint32_t most, uint32_t *ret_version)
{
    tac_assert(most <= TAC_STRESS_VERSION_MAX);
    if (found != TAC_STRESS_ABSENT && found != TAC_STRESS_EMPTY) {
        *ret_version = found;
        return found >= least && found <= most;
    }
    for (uint32_t version = least; version <= most; version++) {
        *ret_version = version;
        if (tac_stress_is_match(world, place, found, version)) {
            return true;
        }
        if (version - least >= MATCHES_TRIED_MAX) {
            *ret_version = least;
            return true;
        }
    }
    return false;
}

bool tac_stress_is_agreed(const struct tac_stress_world *world, uint32_t place, uint32_t found,
                          uint32_t other_place, uint32_t other_found)
{
    if (found == TAC_STRESS_WRONG || other_found == TAC_STRESS_WRONG) {
        return false;
    }
    if (found != TAC_STRESS_ABSENT && found != TAC_STRESS_EMPTY) {
        return tac_stress_is_match(world, other_place, other_found, found);
    }
    if (other_found != TAC_STRESS_ABSENT && other_found != TAC_STRESS_EMPTY) {
        return tac_stress_is_match(world, place, found, other_found);
    }
    return found == other_found;
}

/* ---- messages ------------------------------------------------------------------------------- */

void tac_stress_place_text(const struct tac_stress_world *world, uint32_t place,
                           char ret_text[TAC_STRESS_TEXT_BYTES])
{
    char                  escaped[TAC_STRESS_KEY_MAX * TAC_ESCAPE_FACTOR];
    struct tac_stress_key key;
    size_t                size;

    tac_stress_key_make(world, place, &key);
    size = tac_escape(key.data, key.size, escaped);
    snprintf(ret_text, TAC_STRESS_TEXT_BYTES, "tree %s, key %.*s",
             tac_stress_trees[tac_stress_tree_of(place)].name, (int)size, escaped);
}

void tac_stress_found_text(uint32_t found, char ret_text[TAC_STRESS_TEXT_BYTES])
{
    switch (found) {
    case TAC_STRESS_ABSENT:
        snprintf(ret_text, TAC_STRESS_TEXT_BYTES, "no record");
        return;
    case TAC_STRESS_EMPTY:
        snprintf(ret_text, TAC_STRESS_TEXT_BYTES, "an empty value");
        return;
    case TAC_STRESS_WRONG:
        snprintf(ret_text, TAC_STRESS_TEXT_BYTES, "a value that nobody wrote");
        return;
    default:
        snprintf(ret_text, TAC_STRESS_TEXT_BYTES, "version %u", found);
    }
}

void tac_stress_version_text(const struct tac_stress_world *world, uint32_t place, uint32_t version,
                             char ret_text[TAC_STRESS_TEXT_BYTES])
{
    bool is_deleted = tac_stress_is_deleted(world, tac_stress_item_of(world, place), version);

    snprintf(ret_text, TAC_STRESS_TEXT_BYTES, "version %u%s", version,
             version == 0                             ? ", never written"
             : is_deleted                             ? ", a delete"
             : value_size(world, place, version) == 0 ? ", an empty value"
                                                      : "");
}
