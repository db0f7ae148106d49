/* SPDX-License-Identifier: Apache-2.0 */
/* The snapshotters: each takes, reads and releases snapshots of its own. A snapshot has the whole
 * store as of one op, in this life and in later ones, whatever is written meanwhile. And what every
 * open must find of them. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/stress/roles.h"

#define REST_NS (100 * (uint64_t)1000000)
#define GETS 200
#define RECORDS_A_STEP 4096
#define LISTED_MAX 32

/* ---- reading -------------------------------------------------------------------------------- */

/* One that is open. */
struct reading {
    const struct tac_stress_scene *scene;
    struct tac_stress_row         *row;
    uint32_t                       index;
    struct tactus_snapshot        *snapshot;
    uint64_t                       records;
};

static struct tac_stress_snapshot *entry_of(const struct reading *reading)
{
    return &reading->scene->snapshots->entries[reading->index];
}

static bool reading_fail(const struct reading *reading, const char *what)
{
    const struct tac_stress_snapshots *snapshots = reading->scene->snapshots;
    char                               name[TAC_STRESS_SNAPSHOT_NAME_BYTES];

    tac_stress_snapshot_name(snapshots, reading->index, name);
    tac_stress_violation(reading->scene->board, "snapshot %s of op %" PRIu64 ": %s", name,
                         snapshots->entries[reading->index].op, what);
    return false;
}

static bool place_fail(const struct reading *reading, uint32_t place, uint32_t found)
{
    const struct tac_stress_world     *world = reading->scene->world;
    const struct tac_stress_snapshots *snapshots = reading->scene->snapshots;
    uint32_t                           item = tac_stress_item_of(world, place);
    char place_text[TAC_STRESS_TEXT_BYTES], found_text[TAC_STRESS_TEXT_BYTES];
    char before_text[TAC_STRESS_TEXT_BYTES], text[4 * TAC_STRESS_TEXT_BYTES];

    tac_stress_place_text(world, place, place_text);
    tac_stress_found_text(found, found_text);
    if (snapshots->entries[reading->index].is_known != 0) {
        tac_stress_found_text(snapshots->found[reading->index][place], before_text);
        snprintf(text, sizeof text, "%s: found %s, but before it was %s", place_text, found_text,
                 before_text);
    } else {
        snprintf(text, sizeof text,
                 "%s: found %s, expected versions %u to %u, and one in all of a group", place_text,
                 found_text, snapshots->least[reading->index][item],
                 snapshots->most[reading->index][item]);
    }
    return reading_fail(reading, text);
}

static bool records_take(struct reading *reading, struct tactus_iterator *iterator, uint32_t tree,
                         uint32_t *found)
{
    const struct tac_stress_world *world = reading->scene->world;
    uint32_t                       slot_next = 0;
    int                            code = tactus_iterator_first(iterator);

    for (; code == TACTUS_OK; code = tactus_iterator_next(iterator)) {
        const void *key, *value;
        size_t      key_size, value_size;
        uint32_t    place;

        tactus_iterator_record(iterator, &key, &key_size, &value, &value_size);
        place = tac_stress_key_find(world, tree, key, key_size);
        if (place == TAC_STRESS_NOWHERE) {
            return reading_fail(reading, "it has a key that nobody wrote");
        }
        if (world->slot_of[place] < slot_next) {
            return reading_fail(reading, "its keys are not in order");
        }
        slot_next = world->slot_of[place] + 1;
        found[place] = tac_stress_value_read(world, place, value, value_size);
        if (reading->records++ % RECORDS_A_STEP == 0) {
            tac_stress_step_begin(reading->row);
        }
    }
    return code == TACTUS_ENOTFOUND || reading_fail(reading, tactus_message());
}

static bool tree_read(struct reading *reading, uint32_t tree, uint32_t *found)
{
    struct tactus_iterator *iterator;
    bool                    is_right;

    if (tactus_snapshot_iterator(reading->snapshot, reading->scene->trees[tree], &iterator) !=
        TACTUS_OK) {
        return reading_fail(reading, tactus_message());
    }
    is_right = records_take(reading, iterator, tree, found);
    tactus_iterator_close(iterator);
    return is_right;
}

static bool whole_read(struct reading *reading)
{
    const struct tac_stress_world *world = reading->scene->world;
    uint32_t                      *found = calloc(world->places, sizeof *found);
    bool                           is_right = true;
    uint32_t                       wrong;

    tac_static_assert(TAC_STRESS_ABSENT == 0, "nothing found yet");
    if (found == NULL) {
        return reading_fail(reading, "out of memory for reading it");
    }
    for (uint32_t tree = 0; tree < TAC_STRESS_TREES && is_right; tree++) {
        is_right = tree_read(reading, tree, found);
    }
    is_right = is_right && tac_stress_check_erased(reading->scene, reading->row, reading->snapshot,
                                                   entry_of(reading));
    if (is_right) {
        wrong = tac_stress_snapshot_settle(reading->scene->snapshots, world, reading->index, found);
        is_right = wrong == TAC_STRESS_NOWHERE || place_fail(reading, wrong, found[wrong]);
    }
    free(found);
    TAC_STRESS_COUNT(reading->row, snapshots_read);
    TAC_STRESS_COUNT_MORE(reading->row, snapshot_records, reading->records);
    return is_right;
}

static void place_get(struct reading *reading, uint32_t place)
{
    const struct tac_stress_scene *scene = reading->scene;
    uint32_t                       found = TAC_STRESS_ABSENT;
    uint8_t                        value[TAC_STRESS_VALUE_MAX];
    size_t                         size = 0;
    struct tac_stress_key          key;
    int                            code;

    tac_stress_key_make(scene->world, place, &key);
    code = tactus_snapshot_get(reading->snapshot, scene->trees[tac_stress_tree_of(place)], key.data,
                               key.size, value, sizeof value, &size);
    if (code == TACTUS_OK) {
        found = size <= sizeof value ? tac_stress_value_read(scene->world, place, value, size)
                                     : TAC_STRESS_WRONG;
    } else if (code != TACTUS_ENOTFOUND) {
        reading_fail(reading, tactus_message());
        return;
    }
    if (!tac_stress_snapshot_is_right(scene->snapshots, scene->world, reading->index, place,
                                      found)) {
        place_fail(reading, place, found);
    }
    TAC_STRESS_COUNT(reading->row, snapshot_records);
}

static bool reading_open(struct reading *reading)
{
    char name[TAC_STRESS_SNAPSHOT_NAME_BYTES];

    tac_stress_snapshot_name(reading->scene->snapshots, reading->index, name);
    return tactus_snapshot_open(reading->scene->store, name, &reading->snapshot) == TACTUS_OK ||
           reading_fail(reading, tactus_message());
}

/* Before the call that takes it, and after it. */
static void erased_begin(const struct tac_stress_scene *scene, uint32_t index)
{
    for (uint32_t i = 0; i < scene->erasers; i++) {
        scene->snapshots->entries[index].erased_least[i] =
            tac_atomic_load_acquire_u64(&scene->board->erasers[i].done);
    }
}

static void erased_end(const struct tac_stress_scene *scene, uint32_t index)
{
    for (uint32_t i = 0; i < scene->erasers; i++) {
        scene->snapshots->entries[index].erased_most[i] =
            tac_atomic_load_acquire_u64(&scene->board->erasers[i].begun);
    }
}

/* ---- what an open finds --------------------------------------------------------------------- */

static const struct tactus_snapshot_info *info_find(const struct tactus_snapshot_info *infos,
                                                    uint32_t count, const char *name)
{
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(infos[i].name, name) == 0) {
            return &infos[i];
        }
    }
    return NULL;
}

/* Is it there, or not, as it must be? What a crash has left open is known from here on. */
static bool entry_check(struct tac_stress_scene *scene, uint32_t index,
                        const struct tactus_snapshot_info *info)
{
    struct tac_stress_snapshot *entry = &scene->snapshots->entries[index];
    const struct reading        reading = {.scene = scene, .row = scene->row, .index = index};

    switch ((enum tac_stress_snapshot_state)entry->state) {
    case TAC_STRESS_SNAPSHOT_NONE:
        return info == NULL || reading_fail(&reading, "there is one that was released");
    case TAC_STRESS_SNAPSHOT_TAKEN:
        if (info == NULL || info->op != entry->op) {
            return reading_fail(&reading, info == NULL ? "an open does not find it"
                                                       : "an open finds it of another op");
        }
        return true;
    case TAC_STRESS_SNAPSHOT_TAKING:
        if (info != NULL) {
            erased_end(scene, index);
            tac_stress_snapshot_found(scene->snapshots, scene->ledger, index, info->op);
            return true;
        }
        break;
    case TAC_STRESS_SNAPSHOT_RELEASING:
        if (info != NULL) {
            entry->state = TAC_STRESS_SNAPSHOT_TAKEN;
            return true;
        }
        break;
    }
    entry->state = TAC_STRESS_SNAPSHOT_NONE;
    return true;
}

static bool entry_read(struct tac_stress_scene *scene, uint32_t index)
{
    struct reading reading = {.scene = scene, .row = scene->row, .index = index};
    bool           is_right;

    if (scene->snapshots->entries[index].state != TAC_STRESS_SNAPSHOT_TAKEN) {
        return true;
    }
    if (!reading_open(&reading)) {
        return false;
    }
    is_right = whole_read(&reading);
    tactus_snapshot_close(reading.snapshot);
    TAC_STRESS_COUNT(scene->row, snapshots_kept);
    return is_right;
}

bool tac_stress_check_snapshots(struct tac_stress_scene *scene)
{
    struct tactus_snapshot_info infos[LISTED_MAX];
    uint32_t                    count = 0, known = 0;
    int                         code;

    if (scene->snapshots == NULL || scene->snapshots->count == 0) {
        return true;
    }
    code = tactus_snapshot_list(scene->store, infos, LISTED_MAX, &count);
    if (code != TACTUS_OK) {
        tac_stress_violation(scene->board, "snapshots: error %d: %s", code, tactus_message());
        return false;
    }
    for (uint32_t i = 0; i < scene->snapshots->count; i++) {
        char                               name[TAC_STRESS_SNAPSHOT_NAME_BYTES];
        const struct tactus_snapshot_info *info;

        tac_stress_snapshot_name(scene->snapshots, i, name);
        info = info_find(infos, (uint32_t)tac_min_u64(count, LISTED_MAX), name);
        known += info != NULL;
        if (!entry_check(scene, i, info) || !entry_read(scene, i)) {
            return false;
        }
    }
    if (known != count) {
        tac_stress_violation(scene->board, "%u snapshots, of which nobody took %u", count,
                             count - known);
    }
    return known == count;
}

/* ---- turns ---------------------------------------------------------------------------------- */

static void snapshot_take(struct tac_stress_worker *worker, uint32_t index)
{
    const struct tac_stress_scene *scene = worker->scene;
    struct tac_stress_snapshots   *snapshots = scene->snapshots;
    uint64_t                       pause_mark = tac_stress_pause_mark(worker);
    uint64_t                       before = tactus_last_op(scene->store), op = 0;
    char                           name[TAC_STRESS_SNAPSHOT_NAME_BYTES];
    int                            code;

    erased_begin(scene, index);
    tac_stress_snapshot_begin(snapshots, scene->ledger, index);
    tac_stress_snapshot_name(snapshots, index, name);
    code = tactus_snapshot_create(scene->store, name, &op);
    if (code != TACTUS_OK) {
        if ((code == TACTUS_EOPTION && scene->options->snapshots_max < snapshots->count) ||
            tac_stress_is_refused(worker, "snapshot", code, pause_mark)) {
            tac_atomic_store_release_u32(&snapshots->entries[index].state,
                                         TAC_STRESS_SNAPSHOT_NONE);
        }
        return;
    }
    erased_end(scene, index);
    tac_stress_snapshot_end(snapshots, scene->ledger, index, op);
    TAC_STRESS_COUNT(worker->row, snapshots_taken);
    if (op <= before || tactus_durable_op(scene->store) < op) {
        tac_stress_violation(scene->board,
                             "snapshot %s: it is of op %" PRIu64 ", op %" PRIu64
                             " came before it, and op %" PRIu64 " is durable",
                             name, op, before, tactus_durable_op(scene->store));
    }
}

/* One that is open cannot be released. */
static void release_refuse(struct tac_stress_worker *worker, const struct reading *reading)
{
    uint64_t pause_mark = tac_stress_pause_mark(worker);
    char     name[TAC_STRESS_SNAPSHOT_NAME_BYTES];
    int      code;

    tac_stress_snapshot_name(worker->scene->snapshots, reading->index, name);
    code = tactus_snapshot_release(worker->scene->store, name);
    if (code == TACTUS_OK) {
        reading_fail(reading, "it is released although it is open");
    } else if (code != TACTUS_EAGAIN) {
        (void)tac_stress_is_refused(worker, "release of an open snapshot", code, pause_mark);
    }
}

static void snapshot_use(struct tac_stress_worker *worker, uint32_t index)
{
    const struct tac_stress_scene *scene = worker->scene;
    struct reading                 reading = {.scene = scene, .row = worker->row, .index = index};

    if (!reading_open(&reading)) {
        return;
    }
    if (scene->snapshots->entries[index].is_known == 0 || tac_stress_draw(worker, 4) == 0) {
        (void)whole_read(&reading);
    }
    for (uint32_t i = 0; i < GETS && !tac_stress_is_stopped(scene->board); i++) {
        place_get(&reading, (uint32_t)tac_stress_draw(worker, scene->world->places));
    }
    if (tac_stress_draw(worker, 4) == 0) {
        release_refuse(worker, &reading);
    }
    tactus_snapshot_close(reading.snapshot);
}

static void snapshot_release(struct tac_stress_worker *worker, uint32_t index)
{
    struct tac_stress_snapshot *entry = &worker->scene->snapshots->entries[index];
    uint64_t                    pause_mark = tac_stress_pause_mark(worker);
    char                        name[TAC_STRESS_SNAPSHOT_NAME_BYTES];
    int                         code;

    tac_stress_snapshot_name(worker->scene->snapshots, index, name);
    tac_atomic_store_release_u32(&entry->state, TAC_STRESS_SNAPSHOT_RELEASING);
    code = tactus_snapshot_release(worker->scene->store, name);
    if (code == TACTUS_OK) {
        tac_atomic_store_release_u32(&entry->state, TAC_STRESS_SNAPSHOT_NONE);
        TAC_STRESS_COUNT(worker->row, snapshots_released);
    } else if (tac_stress_is_refused(worker, "release", code, pause_mark)) {
        tac_atomic_store_release_u32(&entry->state, TAC_STRESS_SNAPSHOT_TAKEN);
    }
}

void tac_stress_snapshotter_turn(struct tac_stress_worker *worker)
{
    const struct tac_stress_snapshots *snapshots = worker->scene->snapshots;
    uint32_t                           each = TAC_STRESS_SNAPSHOTS_EACH;
    uint32_t index = worker->number * each + (uint32_t)tac_stress_draw(worker, each);

    tac_stress_nap(worker, REST_NS);
    tac_assert(index < snapshots->count);
    if (snapshots->entries[index].state == TAC_STRESS_SNAPSHOT_NONE) {
        snapshot_take(worker, index);
    } else if (tac_stress_draw(worker, 4) > 0) {
        snapshot_use(worker, index);
    } else {
        snapshot_release(worker, index);
    }
}
