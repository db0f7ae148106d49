/* SPDX-License-Identifier: Apache-2.0 */
/* The droppers: each has one tree of its own at a time, always of the same name. It is created,
 * filled, read, and dropped: then the name is free, and nothing that knew the tree finds it.
 *
 * What a dropper does is a course of steps, each an op: step n * CYCLE_STEPS is that there is no
 * tree, the next one is the tree's creation, each further one a batch of records that say the cycle
 * n. So what a tree holds says which step it is at, after a crash, too. */
#include <inttypes.h>
#include <string.h>

#include "tools/stress/course.h"

#define REST_NS (4 * (uint64_t)1000000)
#define BATCHES_MAX 62
#define KEY_BYTES TAC_STRESS_COURSE_KEY_BYTES
#define BATCH_RECORDS 8
#define CYCLE_STEPS (BATCHES_MAX + 2)
#define READ_ONE_IN 16
#define SYNC_ONE_IN 48
#define DROP_ONE_IN 48
#define VALUE_MAX 120
#define VALUE_MIN 24

/* ---- records -------------------------------------------------------------------------------- */

/* Trees of both kinds by turns. */
static struct tactus_layout layout_of(uint64_t cycle)
{
    return cycle % 2 == 0 ? (struct tactus_layout){TACTUS_LAYOUT_FIXED, KEY_BYTES, VALUE_MIN}
                          : (struct tactus_layout){TACTUS_LAYOUT_VARIABLE, KEY_BYTES, VALUE_MAX};
}

/* Begins with the cycle. Returns the size. */
static size_t value_make(uint32_t dropper, uint64_t cycle, uint64_t index, uint8_t *value)
{
    struct tac_prng prng = {tac_mix_u64(cycle * TAC_STRESS_DROPPERS_MAX + dropper) + index};
    size_t          size = VALUE_MIN;

    if (layout_of(cycle).kind == TACTUS_LAYOUT_VARIABLE) {
        size += tac_prng_below(&prng, VALUE_MAX - VALUE_MIN + 1);
    }
    tac_stress_course_value(&prng, cycle, value, size);
    return size;
}

static bool is_record(uint32_t dropper, uint64_t cycle, uint64_t index, const void *value,
                      size_t value_size)
{
    uint8_t made[VALUE_MAX];

    return value_make(dropper, cycle, index, made) == value_size &&
           memcmp(made, value, value_size) == 0;
}

/* ---- reading -------------------------------------------------------------------------------- */

/* A tree, as it was found. */
struct found {
    uint32_t dropper;
    uint64_t cycle;   /* Of its records, if it has any */
    uint64_t records; /* 0, 1 and so on; all of them */
};

static bool dropper_fail(const struct tac_stress_scene *scene, uint32_t dropper, const char *what)
{
    const struct tac_stress_course *course = &scene->board->droppers[dropper];

    tac_stress_violation(scene->board,
                         "dropper %u, at step %" PRIu64 ", %" PRIu64 " begun, %" PRIu64
                         " safe, of %d a tree: %s",
                         dropper, course->done, course->begun, course->safe, CYCLE_STEPS, what);
    return false;
}

/* NULL: it is right. */
static const char *record_take(const struct tactus_iterator *iterator, struct found *found)
{
    uint8_t     expected[KEY_BYTES];
    const void *key, *value;
    size_t      key_size, value_size;

    tactus_iterator_record(iterator, &key, &key_size, &value, &value_size);
    tac_stress_course_key(found->records, expected);
    if (key_size != KEY_BYTES || memcmp(key, expected, KEY_BYTES) != 0) {
        return "a key is missing, or is nobody's";
    }
    if (found->records == 0 && value_size >= sizeof found->cycle) {
        memcpy(&found->cycle, value, sizeof found->cycle);
    }
    if (!is_record(found->dropper, found->cycle, found->records, value, value_size)) {
        return "a value is not of this tree";
    }
    found->records++;
    return NULL;
}

/* From where it stands with `code`. Returns the code at its end; TACTUS_OK if something is wrong:
 * *ret_fault says what. */
static int records_take(struct tactus_iterator *iterator, int code, struct found *found,
                        const char **ret_fault)
{
    *ret_fault = NULL;
    for (; code == TACTUS_OK && *ret_fault == NULL; code = tactus_iterator_next(iterator)) {
        *ret_fault = record_take(iterator, found);
    }
    return *ret_fault == NULL ? code : TACTUS_OK;
}

/* One iterator over all of it. Returns the code at its end, TACTUS_OK if something is wrong. */
static int tree_pass(const struct tac_stress_scene *scene, struct tac_stress_row *row,
                     uint32_t tree, struct found *found)
{
    struct tactus_iterator *iterator;
    const char             *fault;
    int                     code;

    if (tactus_iterator_open(scene->store, tree, &iterator) != TACTUS_OK) {
        dropper_fail(scene, found->dropper, tactus_message());
        return TACTUS_OK;
    }
    code = records_take(iterator, tactus_iterator_first(iterator), found, &fault);
    TAC_STRESS_COUNT_MORE(row, tree_reads, found->records);
    if (code != TACTUS_ENOTFOUND && code != TACTUS_EEXPIRED) {
        dropper_fail(scene, found->dropper, fault != NULL ? fault : tactus_message());
        code = TACTUS_OK;
    }
    tactus_iterator_close(iterator);
    return code;
}

/* Only its dropper writes to the tree: an iterator that has expired, as one does when its thread
 * waits for a processor while others write whole bars, gives way to one from the start. */
static bool tree_read(const struct tac_stress_scene *scene, struct tac_stress_row *row,
                      uint32_t tree, struct found *found)
{
    const struct found begun = *found;
    int                code;

    do {
        *found = begun;
        code = tree_pass(scene, row, tree, found);
    } while (code == TACTUS_EEXPIRED);
    if (code == TACTUS_ENOTFOUND && found->records % BATCH_RECORDS != 0) {
        return dropper_fail(scene, found->dropper, "a part of a batch is there");
    }
    return code == TACTUS_ENOTFOUND;
}

/* ---- what an open finds --------------------------------------------------------------------- */

/* The last step up to `most` that is `step` steps into its cycle. */
static uint64_t step_before(uint64_t most, uint64_t step)
{
    return most < step ? 0 : (most - step) / CYCLE_STEPS * CYCLE_STEPS + step;
}

/* The next tree is of a cycle that there has not been: its records cannot be taken for others. */
static bool absent_check(const struct tac_stress_scene *scene, uint32_t dropper)
{
    struct tac_stress_course *course = &scene->board->droppers[dropper];

    if (step_before(course->begun, 0) < course->safe) {
        return dropper_fail(scene, dropper, "an open does not find the tree");
    }
    course->begun = course->done = course->safe = step_before(course->begun, 0) + CYCLE_STEPS;
    return true;
}

/* Of a tree without records the cycle is not known. */
static bool tree_check(const struct tac_stress_scene *scene, uint32_t dropper, uint32_t tree)
{
    struct tac_stress_course *course = &scene->board->droppers[dropper];
    struct found              found = {.dropper = dropper};
    uint64_t                  step;

    if (!tree_read(scene, scene->row, tree, &found)) {
        return false;
    }
    step = found.records == 0 ? step_before(course->begun, 1)
                              : found.cycle * CYCLE_STEPS + 1 + found.records / BATCH_RECORDS;
    if (step < course->safe || step > course->begun || step == 0) {
        return dropper_fail(scene, dropper, "an open finds a tree of another step");
    }
    course->done = step;
    return true;
}

static const struct tac_stress_course_trees trees = {"dropped", dropper_fail, tree_check,
                                                     absent_check};

bool tac_stress_check_droppers(struct tac_stress_scene *scene)
{
    return tac_stress_course_check(scene, &trees, scene->droppers);
}

/* ---- one tree ------------------------------------------------------------------------------- */

static struct tac_stress_course *course_of(const struct tac_stress_worker *worker)
{
    return &worker->scene->board->droppers[worker->number];
}

static void tree_create(struct tac_stress_worker *worker)
{
    uint64_t             pause_mark = tac_stress_pause_mark(worker);
    uint64_t             step = course_of(worker)->done + 1;
    uint32_t             before = worker->own_tree;
    struct tactus_layout layout = layout_of(step / CYCLE_STEPS);
    char                 name[TAC_STRESS_COURSE_NAME_BYTES];
    int                  code;

    tac_stress_course_name(&trees, worker->number, name);
    tac_stress_course_begin(course_of(worker), step);
    code = tactus_tree_create(worker->scene->store, name, &layout, &worker->own_tree);
    if (code != TACTUS_OK) {
        (void)tac_stress_is_refused(worker, "create of a tree", code, pause_mark);
        return;
    }
    tac_stress_course_end(course_of(worker), step, tac_stress_is_synced(worker->scene));
    TAC_STRESS_COUNT(worker->row, trees_created);
    if (before == worker->own_tree) {
        dropper_fail(worker->scene, worker->number, "a tree has the id of one that was dropped");
    }
}

static bool batch_fill(struct tac_stress_worker *worker, uint64_t step)
{
    uint64_t first = (step % CYCLE_STEPS - 2) * BATCH_RECORDS;
    int      code = TACTUS_OK;

    if (worker->batch == NULL) {
        code = tactus_batch_new(worker->scene->store, &worker->batch);
    } else {
        tactus_batch_clear(worker->batch);
    }
    for (uint64_t i = 0; i < BATCH_RECORDS && code == TACTUS_OK; i++) {
        uint8_t key[KEY_BYTES], value[VALUE_MAX];
        size_t  size = value_make(worker->number, step / CYCLE_STEPS, first + i, value);

        tac_stress_course_key(first + i, key);
        code = tactus_batch_put(worker->batch, worker->own_tree, key, KEY_BYTES, value, size);
    }
    return code == TACTUS_OK || dropper_fail(worker->scene, worker->number, tactus_message());
}

static void records_write(struct tac_stress_worker *worker)
{
    uint64_t pause_mark = tac_stress_pause_mark(worker);
    uint64_t step = course_of(worker)->done + 1;
    int      code;

    if (!batch_fill(worker, step)) {
        return;
    }
    tac_stress_course_begin(course_of(worker), step);
    code = tactus_batch_commit(worker->batch, NULL);
    if (code != TACTUS_OK) {
        (void)tac_stress_is_refused(worker, "batch", code, pause_mark);
        return;
    }
    tac_stress_course_end(course_of(worker), step, tac_stress_is_synced(worker->scene));
    TAC_STRESS_COUNT_MORE(worker->row, tree_records, BATCH_RECORDS);
}

/* It is at the step that was done last, whatever a refusal has begun. */
static void tree_compare(struct tac_stress_worker *worker)
{
    uint64_t     step = course_of(worker)->done;
    struct found found = {.dropper = worker->number, .cycle = step / CYCLE_STEPS};

    if (tree_read(worker->scene, worker->row, worker->own_tree, &found) &&
        (found.cycle != step / CYCLE_STEPS ||
         found.records != (step % CYCLE_STEPS - 1) * BATCH_RECORDS)) {
        dropper_fail(worker->scene, worker->number, "the tree is not as it was written");
    }
}

/* The batch was filled before. */
static void batch_refuse(struct tac_stress_worker *worker)
{
    uint64_t pause_mark = tac_stress_pause_mark(worker);
    int      code = tactus_batch_commit(worker->batch, NULL);

    if (code == TACTUS_OK) {
        dropper_fail(worker->scene, worker->number, "a batch goes to a tree that was dropped");
    } else if (code != TACTUS_ENOTREE) {
        (void)tac_stress_is_refused(worker, "batch for a dropped tree", code, pause_mark);
    }
}

/* Nothing is left that knows it. */
static void dropped_check(struct tac_stress_worker *worker)
{
    struct tactus          *store = worker->scene->store;
    uint8_t                 key[KEY_BYTES], value[VALUE_MAX];
    struct tactus_iterator *iterator;
    char                    name[TAC_STRESS_COURSE_NAME_BYTES];
    uint32_t                tree;
    size_t                  size;

    tac_stress_course_key(0, key);
    tac_stress_course_name(&trees, worker->number, name);
    if (tactus_tree_find(store, name, &tree) != TACTUS_ENOTREE ||
        tactus_get(store, worker->own_tree, key, KEY_BYTES, value, sizeof value, &size) !=
            TACTUS_ENOTREE ||
        tactus_delete(store, worker->own_tree, key, KEY_BYTES) != TACTUS_ENOTREE ||
        tactus_iterator_open(store, worker->own_tree, &iterator) != TACTUS_ENOTREE) {
        dropper_fail(worker->scene, worker->number, "a tree that was dropped is known");
    }
}

/* An iterator that was open keeps its view, until it expires. */
static void iterator_check(struct tac_stress_worker *worker, struct tactus_iterator *iterator,
                           int code, uint64_t step)
{
    struct found found = {.dropper = worker->number, .cycle = step / CYCLE_STEPS};
    const char  *fault;

    code = records_take(iterator, code, &found, &fault);
    if (code == TACTUS_EEXPIRED) {
        return;
    }
    if (code != TACTUS_ENOTFOUND) {
        dropper_fail(worker->scene, worker->number, fault != NULL ? fault : tactus_message());
    } else if (found.records != (step % CYCLE_STEPS - 1) * BATCH_RECORDS) {
        dropper_fail(worker->scene, worker->number, "an iterator lost records with a drop");
    }
}

static void tree_drop(struct tac_stress_worker *worker)
{
    struct tactus          *store = worker->scene->store;
    uint64_t                step = course_of(worker)->done;
    uint64_t                next = step_before(course_of(worker)->begun, 0) + CYCLE_STEPS;
    uint64_t                pause_mark = tac_stress_pause_mark(worker);
    struct tactus_iterator *iterator;
    bool                    has_batch = worker->has_begun && step % CYCLE_STEPS + 1 < CYCLE_STEPS;
    int                     code, moved;

    if (has_batch && !batch_fill(worker, step + 1)) {
        return;
    }
    if (tactus_iterator_open(store, worker->own_tree, &iterator) != TACTUS_OK) {
        dropper_fail(worker->scene, worker->number, tactus_message());
        return;
    }
    moved = tactus_iterator_first(iterator);
    tac_stress_course_begin(course_of(worker), next);
    code = tactus_tree_drop(store, worker->own_tree);
    if (code == TACTUS_OK) {
        iterator_check(worker, iterator, moved, step);
        tac_stress_course_end(course_of(worker), next, tac_stress_is_synced(worker->scene));
        TAC_STRESS_COUNT(worker->row, trees_dropped);
        dropped_check(worker);
        if (has_batch) {
            batch_refuse(worker);
        }
        worker->has_begun = true;
    } else {
        (void)tac_stress_is_refused(worker, "drop of a tree", code, pause_mark);
    }
    tactus_iterator_close(iterator);
}

/* ---- turns ---------------------------------------------------------------------------------- */

/* What an earlier life has left is dropped: whether its last steps are there need not be known. */
static void begin(struct tac_stress_worker *worker)
{
    char name[TAC_STRESS_COURSE_NAME_BYTES];

    tac_stress_course_name(&trees, worker->number, name);
    if (course_of(worker)->done % CYCLE_STEPS == 0) {
        worker->has_begun = true;
        worker->own_tree = UINT32_MAX;
    } else if (tactus_tree_find(worker->scene->store, name, &worker->own_tree) == TACTUS_OK) {
        tree_drop(worker);
    } else {
        dropper_fail(worker->scene, worker->number, tactus_message());
    }
}

void tac_stress_dropper_turn(struct tac_stress_worker *worker)
{
    uint64_t step = course_of(worker)->done % CYCLE_STEPS;

    tac_stress_nap(worker, REST_NS);
    if (!worker->has_begun) {
        begin(worker);
    } else if (step == 0) {
        tree_create(worker);
    } else if (tac_stress_draw(worker, SYNC_ONE_IN) == 0) {
        tac_stress_course_sync(worker, course_of(worker));
    } else if (tac_stress_draw(worker, READ_ONE_IN) == 0) {
        tree_compare(worker);
    } else if (step + 1 == CYCLE_STEPS || tac_stress_draw(worker, DROP_ONE_IN) == 0) {
        tree_drop(worker);
    } else {
        records_write(worker);
    }
}
