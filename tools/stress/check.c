/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/stress/check.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/prng.h"
#include "tools/escape.h"

#define SAMPLES 2000
/* So many records are read without a sign of life. */
#define RECORDS_A_STEP 4096

/* ---- trees ---------------------------------------------------------------------------------- */

int tac_stress_trees_create(struct tac_stress_scene *scene)
{
    int code = TACTUS_OK;

    for (uint32_t i = 0; i < TAC_STRESS_TREES && code == TACTUS_OK; i++) {
        code = tactus_tree_create(scene->store, tac_stress_trees[i].name,
                                  &tac_stress_trees[i].layout, &scene->trees[i]);
    }
    return code;
}

int tac_stress_trees_find(struct tac_stress_scene *scene)
{
    int code = TACTUS_OK;

    for (uint32_t i = 0; i < TAC_STRESS_TREES && code == TACTUS_OK; i++) {
        code = tactus_tree_find(scene->store, tac_stress_trees[i].name, &scene->trees[i]);
    }
    return code;
}

/* ---- gets ----------------------------------------------------------------------------------- */

static int pinned_get(const struct tac_stress_scene *scene, uint32_t place,
                      const struct tac_stress_key *key, uint32_t *ret_found)
{
    struct tactus_value value;
    int                 code;

    code = tactus_get_pinned(scene->store, scene->trees[tac_stress_tree_of(place)], key->data,
                             key->size, &value);
    if (code == TACTUS_OK) {
        *ret_found = tac_stress_value_read(scene->world, place, value.data, value.size);
        tactus_value_release(&value);
    }
    return code;
}

static int copied_get(const struct tac_stress_scene *scene, uint32_t place,
                      const struct tac_stress_key *key, uint32_t *ret_found)
{
    uint8_t value[TAC_STRESS_VALUE_MAX];
    size_t  size = 0;
    int     code;

    code = tactus_get(scene->store, scene->trees[tac_stress_tree_of(place)], key->data, key->size,
                      value, sizeof value, &size);
    if (code == TACTUS_OK) {
        *ret_found = size <= sizeof value ? tac_stress_value_read(scene->world, place, value, size)
                                          : TAC_STRESS_WRONG;
    }
    return code;
}

int tac_stress_place_get(const struct tac_stress_scene *scene, uint32_t place, bool is_pinned,
                         uint32_t *ret_found)
{
    struct tac_stress_key key;
    int                   code;

    tac_stress_key_make(scene->world, place, &key);
    code = is_pinned ? pinned_get(scene, place, &key, ret_found)
                     : copied_get(scene, place, &key, ret_found);
    if (code == TACTUS_ENOTFOUND) {
        *ret_found = TAC_STRESS_ABSENT;
        return TACTUS_OK;
    }
    return code;
}

/* ---- reading everything --------------------------------------------------------------------- */

/* One pass over one tree. */
struct pass {
    struct tac_stress_scene *scene;
    struct tactus_iterator  *iterator;
    uint32_t                 tree;
    bool                     is_backward;
    uint32_t                *found;     /* By place */
    uint64_t                 records;   /* So far */
    uint32_t                 slot_last; /* TAC_STRESS_NOWHERE: no record yet */
};

static bool pass_fail(const struct pass *pass, const char *what)
{
    tac_stress_violation(pass->scene->board, "comparing everything, tree %s, %s: %s",
                         tac_stress_trees[pass->tree].name,
                         pass->is_backward ? "backward" : "forward", what);
    return false;
}

static bool pass_fail_key(const struct pass *pass, const void *key, size_t key_size)
{
    char   escaped[TACTUS_KEY_SIZE_MAX * TAC_ESCAPE_FACTOR];
    size_t size = tac_escape(key, key_size, escaped);

    tac_stress_violation(pass->scene->board, "comparing everything, tree %s: key %.*s is nobody's",
                         tac_stress_trees[pass->tree].name, (int)size, escaped);
    return false;
}

static bool pass_fail_place(const struct pass *pass, uint32_t place, uint32_t found)
{
    char place_text[TAC_STRESS_TEXT_BYTES], before_text[TAC_STRESS_TEXT_BYTES];
    char found_text[TAC_STRESS_TEXT_BYTES];

    tac_stress_place_text(pass->scene->world, place, place_text);
    tac_stress_found_text(found, found_text);
    tac_stress_found_text(pass->found[place], before_text);
    tac_stress_violation(pass->scene->board, "%s: forward %s, then %s", place_text, before_text,
                         found_text);
    return false;
}

static bool pass_record(struct pass *pass)
{
    const struct tac_stress_world *world = pass->scene->world;
    const void                    *key, *value;
    size_t                         key_size, value_size;
    uint32_t                       place, slot, found;

    tactus_iterator_record(pass->iterator, &key, &key_size, &value, &value_size);
    place = tac_stress_key_find(world, pass->tree, key, key_size);
    if (place == TAC_STRESS_NOWHERE) {
        return pass_fail_key(pass, key, key_size);
    }
    slot = world->slot_of[place];
    if (pass->slot_last != TAC_STRESS_NOWHERE &&
        (pass->is_backward ? slot >= pass->slot_last : slot <= pass->slot_last)) {
        return pass_fail(pass, "keys are not in order");
    }
    pass->slot_last = slot;
    found = tac_stress_value_read(world, place, value, value_size);
    if (!pass->is_backward) {
        pass->found[place] = found;
    } else if (pass->found[place] != found) {
        return pass_fail_place(pass, place, found);
    }
    if (pass->records++ % RECORDS_A_STEP == 0) {
        tac_stress_step_begin(pass->scene->row);
    }
    return true;
}

static bool pass_records(struct pass *pass)
{
    int code = pass->is_backward ? tactus_iterator_last(pass->iterator)
                                 : tactus_iterator_first(pass->iterator);

    while (code == TACTUS_OK) {
        if (!pass_record(pass)) {
            return false;
        }
        code = pass->is_backward ? tactus_iterator_previous(pass->iterator)
                                 : tactus_iterator_next(pass->iterator);
    }
    return code == TACTUS_ENOTFOUND || pass_fail(pass, tactus_message());
}

static bool tree_pass(struct tac_stress_scene *scene, uint32_t tree, bool is_backward,
                      uint32_t *found, uint64_t *ret_records)
{
    struct pass pass = {.scene = scene,
                        .tree = tree,
                        .is_backward = is_backward,
                        .found = found,
                        .slot_last = TAC_STRESS_NOWHERE};
    bool        is_right;

    if (tactus_iterator_open(scene->store, scene->trees[tree], &pass.iterator) != TACTUS_OK) {
        return pass_fail(&pass, tactus_message());
    }
    is_right = pass_records(&pass);
    tactus_iterator_close(pass.iterator);
    *ret_records = pass.records;
    return is_right;
}

static bool tree_read(struct tac_stress_scene *scene, uint32_t tree, uint32_t *found)
{
    uint64_t forward = 0, backward = 0;

    if (!tree_pass(scene, tree, false, found, &forward) ||
        !tree_pass(scene, tree, true, found, &backward)) {
        return false;
    }
    if (forward != backward) {
        tac_stress_violation(scene->board,
                             "comparing everything, tree %s: %" PRIu64 " records forward, %" PRIu64
                             " backward",
                             tac_stress_trees[tree].name, forward, backward);
        return false;
    }
    return true;
}

/* Copied and pinned by turns. */
static bool samples_get(struct tac_stress_scene *scene, const uint32_t *found)
{
    struct tac_prng prng = {scene->world->seed};

    for (uint32_t i = 0; i < SAMPLES; i++) {
        uint32_t place = (uint32_t)tac_prng_below(&prng, scene->world->places);
        uint32_t got = TAC_STRESS_WRONG;
        int      code = tac_stress_place_get(scene, place, i % 2 == 0, &got);

        if (code != TACTUS_OK || got != found[place]) {
            char place_text[TAC_STRESS_TEXT_BYTES], scanned_text[TAC_STRESS_TEXT_BYTES];
            char got_text[TAC_STRESS_TEXT_BYTES];

            tac_stress_place_text(scene->world, place, place_text);
            tac_stress_found_text(found[place], scanned_text);
            tac_stress_found_text(got, got_text);
            tac_stress_violation(scene->board, "%s: scanned %s, got %s", place_text, scanned_text,
                                 code == TACTUS_OK ? got_text : tactus_message());
            return false;
        }
    }
    return true;
}

bool tac_stress_check_all(struct tac_stress_scene *scene)
{
    char      message[TAC_STRESS_MESSAGE_BYTES];
    uint32_t *found = calloc(scene->world->places, sizeof *found);
    uint64_t  op = tactus_last_op(scene->store);
    bool      is_right = true;

    tac_static_assert(TAC_STRESS_ABSENT == 0, "nothing found yet");
    if (found == NULL) {
        tac_stress_violation(scene->board, "out of memory for a comparison");
        return false;
    }
    for (uint32_t tree = 0; tree < TAC_STRESS_TREES && is_right; tree++) {
        is_right = tree_read(scene, tree, found);
    }
    is_right = is_right && samples_get(scene, found);
    tac_stress_step_begin(scene->row);
    if (is_right &&
        !tac_stress_settle(scene->ledger, op - scene->open_ops_max, op, found, message)) {
        tac_stress_violation(scene->board, "%s", message);
        is_right = false;
    }
    free(found);
    TAC_STRESS_COUNT(scene->row, whole_checks);
    return is_right;
}

/* ---- verification --------------------------------------------------------------------------- */

static void damage_note(void *context, const char *text)
{
    struct tac_stress_scene *scene = context;

    tac_stress_violation(scene->board, "verify: %s", text);
}

bool tac_stress_check_sound(struct tac_stress_scene *scene)
{
    struct tactus_verify_report report = {0};
    int                         code;

    tac_stress_step_begin(scene->row);
    code = tactus_verify(scene->store, damage_note, scene, &report);
    if (code != TACTUS_OK && code != TACTUS_ECORRUPT) {
        tac_stress_violation(scene->board, "verify: %s", tactus_message());
    }
    TAC_STRESS_COUNT(scene->row, verifies);
    return code == TACTUS_OK;
}
