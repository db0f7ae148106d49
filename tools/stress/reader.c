/* SPDX-License-Identifier: Apache-2.0 */
/* The readers: each value that they get must be of a version that was visible, or under way, while
 * they got it, and of none that is older than what somebody has seen before. So the members of a
 * group, read one after the other, never go back. */
#include "tools/stress/roles.h"

#define GROUP_ONE_IN 12
#define MISS_ONE_IN 12
#define MANY_ONE_IN 24
#define MANY_MAX 20
#define PINNED_ONE_IN 3

void tac_stress_place_read(struct tac_stress_worker *worker, uint32_t place)
{
    const struct tac_stress_scene *scene = worker->scene;
    uint32_t                       item = tac_stress_item_of(scene->world, place);
    bool                           is_pinned = tac_stress_draw(worker, PINNED_ONE_IN) == 0;
    uint32_t                       found = TAC_STRESS_WRONG;
    uint32_t                       least = tac_stress_least(scene->ledger, item), most;
    int                            code = tac_stress_place_get(scene, place, is_pinned, &found);

    most = tac_stress_most(scene->ledger, item);
    if (code != TACTUS_OK) {
        tac_stress_violation(scene->board, "%s %u, get: error %d: %s", worker->role->name,
                             worker->number, code, tactus_message());
    } else if (!tac_stress_seen(scene->ledger, place, found, least, most)) {
        tac_stress_wrong_read(worker, is_pinned ? "pinned get" : "get", place, found, least, most);
    }
    tac_stress_count_add(worker->row,
                         is_pinned ? TAC_STRESS_COUNT_pinned_gets : TAC_STRESS_COUNT_gets, 1);
}

/* All members, in an order that differs from time to time. */
static void group_read(struct tac_stress_worker *worker)
{
    const struct tac_stress_world *world = worker->scene->world;
    uint32_t                       group = (uint32_t)tac_stress_draw(worker, world->groups);
    uint32_t                       first = tac_stress_first_place(world, group);
    uint32_t                       offset = (uint32_t)tac_stress_draw(worker, TAC_STRESS_MEMBERS);
    uint32_t                       stride = 1 + 2 * (uint32_t)tac_stress_draw(worker, 4);

    tac_static_assert((TAC_STRESS_MEMBERS & (TAC_STRESS_MEMBERS - 1)) == 0,
                      "an odd stride meets each of them");
    for (uint32_t i = 0; i < TAC_STRESS_MEMBERS; i++) {
        tac_stress_place_read(worker, first + (offset + i * stride) % TAC_STRESS_MEMBERS);
    }
}

/* Up to MANY_MAX keys of one tree in one call. */
struct many {
    uint32_t              count;
    uint32_t              places[MANY_MAX];
    uint32_t              least[MANY_MAX];
    struct tac_stress_key keys[MANY_MAX];
    struct tactus_lookup  lookups[MANY_MAX];
};

static void many_draw(struct tac_stress_worker *worker, uint32_t tree, struct many *many)
{
    const struct tac_stress_scene *scene = worker->scene;

    many->count = 1 + (uint32_t)tac_stress_draw(worker, MANY_MAX);
    for (uint32_t i = 0; i < many->count; i++) {
        uint32_t place =
            (uint32_t)tac_stress_draw(worker, scene->world->slots) * TAC_STRESS_TREES + tree;

        many->places[i] = place;
        many->least[i] = tac_stress_least(scene->ledger, tac_stress_item_of(scene->world, place));
        tac_stress_key_make(scene->world, place, &many->keys[i]);
        many->lookups[i] =
            (struct tactus_lookup){.key = many->keys[i].data, .key_size = many->keys[i].size};
    }
}

static void answer_check(struct tac_stress_worker *worker, const struct many *many, uint32_t i)
{
    const struct tac_stress_scene *scene = worker->scene;
    uint32_t                       place = many->places[i], found = TAC_STRESS_ABSENT;
    const struct tactus_lookup    *lookup = &many->lookups[i];
    uint32_t most = tac_stress_most(scene->ledger, tac_stress_item_of(scene->world, place));

    if (lookup->code == TACTUS_OK) {
        found = tac_stress_value_read(scene->world, place, lookup->value.data, lookup->value.size);
    } else if (lookup->code != TACTUS_ENOTFOUND) {
        tac_stress_violation(scene->board, "reader %u, get of many: error %d: %s", worker->number,
                             lookup->code, tactus_message());
        return;
    }
    if (!tac_stress_seen(scene->ledger, place, found, many->least[i], most)) {
        tac_stress_wrong_read(worker, "get of many", place, found, many->least[i], most);
    }
}

static void many_read(struct tac_stress_worker *worker)
{
    uint32_t    tree = (uint32_t)tac_stress_draw(worker, TAC_STRESS_TREES);
    struct many many;
    int         code;

    many_draw(worker, tree, &many);
    code =
        tactus_get_many(worker->scene->store, worker->scene->trees[tree], many.lookups, many.count);
    if (code != TACTUS_OK) {
        tac_stress_violation(worker->scene->board, "reader %u, get of many: error %d: %s",
                             worker->number, code, tactus_message());
    }
    for (uint32_t i = 0; i < many.count; i++) {
        answer_check(worker, &many, i);
        tactus_value_release(&many.lookups[i].value);
    }
    TAC_STRESS_COUNT_MORE(worker->row, many_gets, many.count);
}

static void miss_read(struct tac_stress_worker *worker, uint32_t place)
{
    const struct tac_stress_scene *scene = worker->scene;
    uint8_t                        value[TAC_STRESS_VALUE_MAX];
    struct tac_stress_key          key;
    size_t                         size;
    int                            code;

    tac_stress_key_make(scene->world, place, &key);
    tac_stress_key_spoil(place, &key);
    code = tactus_get(scene->store, scene->trees[tac_stress_tree_of(place)], key.data, key.size,
                      value, sizeof value, &size);
    if (code != TACTUS_ENOTFOUND) {
        char text[TAC_STRESS_TEXT_BYTES];

        tac_stress_place_text(scene->world, place, text);
        tac_stress_violation(scene->board,
                             "reader %u, %s with another end: nobody wrote it, but get gave %d: %s",
                             worker->number, text, code, code == TACTUS_OK ? "" : tactus_message());
    }
    TAC_STRESS_COUNT(worker->row, misses);
}

void tac_stress_reader_turn(struct tac_stress_worker *worker)
{
    uint32_t place = (uint32_t)tac_stress_draw(worker, worker->scene->world->places);

    if (tac_stress_draw(worker, GROUP_ONE_IN) == 0) {
        group_read(worker);
    } else if (tac_stress_draw(worker, MANY_ONE_IN) == 0) {
        many_read(worker);
    } else if (tac_stress_draw(worker, MISS_ONE_IN) == 0) {
        miss_read(worker, place);
    } else {
        tac_stress_place_read(worker, place);
    }
}
