/* SPDX-License-Identifier: Apache-2.0 */
/* The erasers: each has a tree of its own, in which it writes records and deletes key ranges.
 *
 * What an eraser does is a course of steps, each an op that follows from the seed, the eraser and
 * the step's number alone: step n * CYCLE_STEPS deletes everything; the others put neighbouring
 * records, which say the step, delete some, or delete a range. So what the tree holds after a step
 * can be made again from the last such one on: after each op, for an iterator that was open before
 * it, in a snapshot, and after a crash. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/stress/course.h"

#define REST_NS (4 * (uint64_t)1000000)
#define KEYS 4000
#define KEY_BYTES TAC_STRESS_COURSE_KEY_BYTES
#define CYCLE_STEPS 128
#define RECORDS 32 /* Of a step that puts or deletes records */
#define TAIL_MAX 4 /* What a bound has more than a key */
#define VALUE_FIXED 100
#define VALUE_MAX 200
#define VALUE_MIN 8
#define RANGE_SHIFTS 8 /* A range has up to KEYS >> 0, 1 … keys */
#define SYNC_ONE_IN 48
#define READ_ONE_IN 12
#define COMPACT_ONE_IN 96
#define VIEW_ONE_IN 4

/* ---- records -------------------------------------------------------------------------------- */

/* Trees of both kinds. */
static struct tactus_layout layout_of(uint32_t eraser)
{
    return eraser % 2 == 0 ? (struct tactus_layout){TACTUS_LAYOUT_VARIABLE, KEY_BYTES, VALUE_MAX}
                           : (struct tactus_layout){TACTUS_LAYOUT_FIXED, KEY_BYTES, VALUE_FIXED};
}

/* KEYS: no record has this key. */
static uint64_t index_of(const uint8_t *key, size_t size)
{
    uint8_t  made[KEY_BYTES];
    uint64_t index = 0;

    for (size_t i = 0; i < size && i < KEY_BYTES; i++) {
        index = index * 10 + (uint64_t)(key[i] - '0');
    }
    tac_stress_course_key(index, made);
    return size == KEY_BYTES && memcmp(key, made, KEY_BYTES) == 0 && index < KEYS ? index : KEYS;
}

/* Begins with the step. Returns the size. */
static size_t value_make(uint32_t eraser, uint64_t step, uint64_t index, uint8_t *value)
{
    struct tac_prng prng = {tac_mix_u64(step * TAC_STRESS_ERASERS_MAX + eraser) + index};
    size_t          size = VALUE_FIXED;

    if (layout_of(eraser).kind == TACTUS_LAYOUT_VARIABLE) {
        size = VALUE_MIN + tac_prng_below(&prng, VALUE_MAX - VALUE_MIN + 1);
    }
    tac_stress_course_value(&prng, step, value, size);
    return size;
}

/* The step that the value is of; 0: none. */
static uint64_t step_of(uint32_t eraser, uint64_t index, const void *value, size_t size)
{
    uint8_t  made[VALUE_MAX];
    uint64_t step;

    if (size < sizeof step) {
        return 0;
    }
    memcpy(&step, value, sizeof step);
    return value_make(eraser, step, index, made) == size && memcmp(made, value, size) == 0 ? step
                                                                                           : 0;
}

/* ---- steps ---------------------------------------------------------------------------------- */

enum step_kind {
    STEP_PUTS,
    STEP_DELETES,
    STEP_RANGE,
};

struct bound {
    uint8_t data[KEY_BYTES + TAIL_MAX];
    size_t  size;
};

struct step {
    enum step_kind kind;
    uint64_t       number;
    uint64_t       first, end; /* Of the keys that it is about */
    struct bound   low, high;  /* The same, of a range */
};

/* Above the key before the index, and not above that of the index: that key, or what is shorter or
 * longer than any. */
static struct bound bound_make(struct tac_prng *prng, uint64_t index)
{
    struct bound bound = {.size = KEY_BYTES};

    switch (tac_prng_below(prng, 4)) {
    case 0:
        if (index > 0) {
            bound.size += 1 + tac_prng_below(prng, TAIL_MAX);
            tac_stress_course_key(index - 1, bound.data);
            for (size_t i = KEY_BYTES; i < bound.size; i++) {
                bound.data[i] = (uint8_t)tac_prng_next(prng);
            }
            return bound;
        }
        break;
    case 1:
        bound.size -= index % 10 == 0;
        break;
    default:
        break;
    }
    tac_stress_course_key(index, bound.data);
    return bound;
}

static struct step step_everything(uint64_t number)
{
    return (struct step){.kind = STEP_RANGE,
                         .number = number,
                         .end = KEYS,
                         .low = {.data = {0}, .size = 1},
                         .high = {.data = {0xff}, .size = 1}};
}

static struct step step_make(uint64_t seed, uint32_t eraser, uint64_t number)
{
    struct tac_prng prng = {tac_mix_u64(seed + number * TAC_STRESS_ERASERS_MAX + eraser)};
    struct step     step = {.number = number};
    uint64_t        length = RECORDS, draw = tac_prng_below(&prng, 8);

    if (number % CYCLE_STEPS == 0) {
        return step_everything(number);
    }
    step.kind = draw < 2 ? STEP_RANGE : draw == 2 ? STEP_DELETES : STEP_PUTS;
    step.first = tac_prng_below(&prng, KEYS);
    if (step.kind == STEP_RANGE) {
        length = 1 + tac_prng_below(&prng, KEYS >> tac_prng_below(&prng, RANGE_SHIFTS));
    }
    step.end = tac_min_u64(step.first + length, KEYS);
    step.low = bound_make(&prng, step.first);
    step.high = bound_make(&prng, step.end);
    return step;
}

/* steps: of each key that of its record; 0: it has none. */
static void step_apply(const struct step *step, uint64_t *steps)
{
    for (uint64_t i = step->first; i < step->end; i++) {
        steps[i] = step->kind == STEP_PUTS ? step->number : 0;
    }
}

/* What the tree holds after the step. */
static void tree_make(uint64_t seed, uint32_t eraser, uint64_t number, uint64_t *steps)
{
    memset(steps, 0, KEYS * sizeof *steps);
    for (uint64_t i = number / CYCLE_STEPS * CYCLE_STEPS + 1; i <= number; i++) {
        struct step step = step_make(seed, eraser, i);

        step_apply(&step, steps);
    }
}

/* The first step from `least` to `most` after which the tree holds this. */
static bool step_find(uint64_t seed, uint32_t eraser, const uint64_t *found, uint64_t least,
                      uint64_t most, uint64_t *ret_step)
{
    uint64_t steps[KEYS];

    tree_make(seed, eraser, least, steps);
    for (uint64_t i = least; i <= most; i++) {
        struct step next = step_make(seed, eraser, i + 1);

        if (memcmp(steps, found, sizeof steps) == 0) {
            *ret_step = i;
            return true;
        }
        step_apply(&next, steps);
    }
    return false;
}

/* ---- reading -------------------------------------------------------------------------------- */

static bool eraser_fail(const struct tac_stress_scene *scene, uint32_t eraser, const char *what)
{
    const struct tac_stress_course *course = &scene->board->erasers[eraser];

    tac_stress_violation(scene->board,
                         "eraser %u, at step %" PRIu64 ", %" PRIu64 " begun, %" PRIu64
                         " safe, of %d until all is deleted: %s",
                         eraser, course->done, course->begun, course->safe, CYCLE_STEPS, what);
    return false;
}

/* The records of keys from `first` on and before `end`, by an iterator that has been taken to the
 * first or the last of them. */
struct pass {
    const struct tac_stress_scene *scene;
    struct tac_stress_row         *row;
    uint32_t                       eraser;
    bool                           is_backward;
    uint64_t                       first, end; /* What is left of them */
    uint64_t                       found[KEYS];
};

static void pass_begin(struct pass *pass, uint64_t first, uint64_t end)
{
    pass->first = first;
    pass->end = end;
    memset(pass->found, 0, sizeof pass->found);
}

/* NULL: it is right. */
static const char *record_take(const struct tactus_iterator *iterator, struct pass *pass)
{
    const void *key, *value;
    size_t      key_size, value_size;
    uint64_t    index;

    tactus_iterator_record(iterator, &key, &key_size, &value, &value_size);
    index = index_of(key, key_size);
    if (index < pass->first || index >= pass->end) {
        return "a key is nobody's, out of bounds or out of order";
    }
    pass->found[index] = step_of(pass->eraser, index, value, value_size);
    *(pass->is_backward ? &pass->end : &pass->first) = index + !pass->is_backward;
    TAC_STRESS_COUNT(pass->row, erased_reads);
    return pass->found[index] != 0 ? NULL : "a value is nobody's";
}

/* The iterator was moved with `code`. Returns the code at its end; TACTUS_OK: a violation was
 * told. */
static int records_take(struct tactus_iterator *iterator, int code, struct pass *pass)
{
    const char *fault = NULL;

    while (code == TACTUS_OK) {
        fault = record_take(iterator, pass);
        if (fault != NULL) {
            break;
        }
        code =
            pass->is_backward ? tactus_iterator_previous(iterator) : tactus_iterator_next(iterator);
    }
    if (code != TACTUS_ENOTFOUND && code != TACTUS_EEXPIRED) {
        eraser_fail(pass->scene, pass->eraser, fault != NULL ? fault : tactus_message());
        code = TACTUS_OK;
    }
    return code;
}

static int bounds_set(struct tactus_iterator *iterator, uint64_t first, uint64_t end)
{
    uint8_t low[KEY_BYTES], high[KEY_BYTES];

    tac_stress_course_key(first, low);
    tac_stress_course_key(end, high);
    return first == 0 && end == KEYS
               ? TACTUS_OK
               : tactus_iterator_bound(iterator, low, sizeof low, high, sizeof high);
}

/* With an iterator of its own. Returns as records_take. */
static int part_pass(struct pass *pass, uint32_t tree, uint64_t first, uint64_t end)
{
    struct tactus_iterator *iterator;
    int                     code = tactus_iterator_open(pass->scene->store, tree, &iterator);

    if (code != TACTUS_OK) {
        eraser_fail(pass->scene, pass->eraser, tactus_message());
        return TACTUS_OK;
    }
    pass_begin(pass, first, end);
    code = bounds_set(iterator, first, end);
    if (code == TACTUS_OK) {
        code = pass->is_backward ? tactus_iterator_last(iterator) : tactus_iterator_first(iterator);
    }
    code = records_take(iterator, code, pass);
    tactus_iterator_close(iterator);
    return code;
}

/* Nobody but its eraser writes to the tree: an iterator that has expired, as one does when its
 * thread waits for a processor while others write whole bars, gives way to another one. */
static bool part_read(struct pass *pass, uint32_t tree, uint64_t first, uint64_t end)
{
    int code;

    do {
        code = part_pass(pass, tree, first, end);
    } while (code == TACTUS_EEXPIRED);
    return code == TACTUS_ENOTFOUND;
}

/* ---- what an open finds --------------------------------------------------------------------- */

static bool absent_check(const struct tac_stress_scene *scene, uint32_t eraser)
{
    struct tac_stress_course *course = &scene->board->erasers[eraser];

    if (course->safe > 0) {
        return eraser_fail(scene, eraser, "an open does not find its tree");
    }
    course->begun = course->done = 0;
    return true;
}

static bool tree_check(const struct tac_stress_scene *scene, uint32_t eraser, uint32_t tree)
{
    struct tac_stress_course *course = &scene->board->erasers[eraser];
    struct pass               pass = {.scene = scene, .row = scene->row, .eraser = eraser};
    uint64_t                  step;

    if (!part_read(&pass, tree, 0, KEYS)) {
        return false;
    }
    if (!step_find(scene->world->seed, eraser, pass.found, course->safe, course->begun, &step)) {
        return eraser_fail(scene, eraser, "an open finds what no step has left");
    }
    course->begun = course->done = course->safe = step;
    return true;
}

static const struct tac_stress_course_trees trees = {"erased", eraser_fail, tree_check,
                                                     absent_check};

bool tac_stress_check_erasers(struct tac_stress_scene *scene)
{
    return tac_stress_course_check(scene, &trees, scene->erasers);
}

/* ---- snapshots ------------------------------------------------------------------------------ */

/* Its eraser may not have had the tree yet. */
static bool snapshot_tree_check(const struct tac_stress_scene *scene, struct tac_stress_row *row,
                                struct tac_stress_snapshot *entry, uint32_t eraser,
                                struct tactus_iterator *iterator)
{
    struct pass pass = {.scene = scene, .row = row, .eraser = eraser};
    uint64_t    step;
    int         code;

    pass_begin(&pass, 0, KEYS);
    code = records_take(iterator, tactus_iterator_first(iterator), &pass);
    if (code != TACTUS_ENOTFOUND) {
        return code == TACTUS_OK ? false : eraser_fail(scene, eraser, "a snapshot expired");
    }
    if (!step_find(scene->world->seed, eraser, pass.found, entry->erased_least[eraser],
                   entry->erased_most[eraser], &step)) {
        return eraser_fail(scene, eraser, "a snapshot has what no step of then has left");
    }
    entry->erased_least[eraser] = entry->erased_most[eraser] = step;
    return true;
}

bool tac_stress_check_erased(const struct tac_stress_scene *scene, struct tac_stress_row *row,
                             struct tactus_snapshot *snapshot, struct tac_stress_snapshot *entry)
{
    bool is_right = true;

    for (uint32_t i = 0; i < scene->erasers && is_right; i++) {
        struct tactus_iterator *iterator;
        char                    name[TAC_STRESS_COURSE_NAME_BYTES];
        uint32_t                tree;
        int                     code;

        tac_stress_course_name(&trees, i, name);
        code = tactus_tree_find(scene->store, name, &tree);
        if (code == TACTUS_OK) {
            code = tactus_snapshot_iterator(snapshot, tree, &iterator);
        }
        if (code == TACTUS_OK) {
            is_right = snapshot_tree_check(scene, row, entry, i, iterator);
            tactus_iterator_close(iterator);
        } else if (code != TACTUS_ENOTREE || entry->erased_least[i] > 0) {
            is_right = eraser_fail(scene, i, tactus_message());
        }
    }
    return is_right;
}

/* ---- one tree ------------------------------------------------------------------------------- */

static struct tac_stress_course *course_of(const struct tac_stress_worker *worker)
{
    return &worker->scene->board->erasers[worker->number];
}

static void fail(const struct tac_stress_worker *worker, const char *what)
{
    (void)eraser_fail(worker->scene, worker->number, what);
}

static struct pass pass_of(const struct tac_stress_worker *worker, bool is_backward)
{
    return (struct pass){.scene = worker->scene,
                         .row = worker->row,
                         .eraser = worker->number,
                         .is_backward = is_backward};
}

static void key_fail(const struct tac_stress_worker *worker, uint64_t index, uint64_t step,
                     const char *what)
{
    char text[128];

    snprintf(text, sizeof text, "key %" PRIu64 ": a get finds %s (%" PRIu64 ", not %" PRIu64 ")",
             index, what, step, worker->steps[index]);
    fail(worker, text);
}

static void key_check(const struct tac_stress_worker *worker, uint64_t index)
{
    uint64_t step = 0;
    uint8_t  key[KEY_BYTES], value[VALUE_MAX];
    size_t   size = 0;
    int      code;

    tac_stress_course_key(index, key);
    code = tactus_get(worker->scene->store, worker->own_tree, key, KEY_BYTES, value, sizeof value,
                      &size);
    TAC_STRESS_COUNT(worker->row, erased_reads);
    if (code != TACTUS_OK && code != TACTUS_ENOTFOUND) {
        fail(worker, tactus_message());
        return;
    }
    if (code == TACTUS_OK) {
        step = step_of(worker->number, index, value, size);
    }
    if (code == TACTUS_OK && step == 0) {
        key_fail(worker, index, step, "a value that is nobody's");
    } else if (step != worker->steps[index]) {
        key_fail(worker, index, step, step == 0 ? "nothing" : "the record of another step");
    }
}

/* Those next to its ends, on both sides, and one of all. */
static void keys_check(struct tac_stress_worker *worker, const struct step *step)
{
    key_check(worker, step->first);
    key_check(worker, step->end - 1);
    key_check(worker, tac_subtract_floor_zero(step->first, 1));
    key_check(worker, tac_min_u64(step->end, KEYS - 1));
    key_check(worker, tac_stress_draw(worker, KEYS));
}

/* All, or a part. It is as the last step left it, whatever a refusal has begun. */
static void tree_compare(struct tac_stress_worker *worker)
{
    struct pass pass = pass_of(worker, tac_stress_draw(worker, 2) == 0);
    uint64_t    first = 0, end = KEYS;

    if (tac_stress_draw(worker, 2) == 0) {
        first = tac_stress_draw(worker, KEYS);
        end = first + 1 + tac_stress_draw(worker, KEYS - first);
    }
    if (part_read(&pass, worker->own_tree, first, end) &&
        memcmp(pass.found + first, worker->steps + first, (end - first) * sizeof *pass.found) !=
            0) {
        fail(worker, "an iterator finds the tree not as it was written");
    }
}

static int batch_commit(struct tac_stress_worker *worker, const struct step *step)
{
    int code = TACTUS_OK;

    if (worker->batch == NULL) {
        code = tactus_batch_new(worker->scene->store, &worker->batch);
    } else {
        tactus_batch_clear(worker->batch);
    }
    for (uint64_t i = step->first; i < step->end && code == TACTUS_OK; i++) {
        uint8_t key[KEY_BYTES], value[VALUE_MAX];
        size_t  size = value_make(worker->number, step->number, i, value);

        tac_stress_course_key(i, key);
        code = step->kind == STEP_PUTS
                   ? tactus_batch_put(worker->batch, worker->own_tree, key, KEY_BYTES, value, size)
                   : tactus_batch_delete(worker->batch, worker->own_tree, key, KEY_BYTES);
    }
    return code == TACTUS_OK ? tactus_batch_commit(worker->batch, NULL) : code;
}

static int range_delete(struct tac_stress_worker *worker, const struct step *step)
{
    struct tactus *store = worker->scene->store;
    uint64_t       before = tactus_last_op(store), op = 0;
    int code = tactus_delete_range(store, worker->own_tree, step->low.data, step->low.size,
                                   step->high.data, step->high.size, &op);

    if (code == TACTUS_OK && (op <= before || op > tactus_last_op(store))) {
        fail(worker, "a deleted range has the number of another op");
    }
    return code;
}

/* Of more ranges than can be noted one may find no room while compaction is held back. */
static void refusal_note(struct tac_stress_worker *worker, const struct step *step, int code,
                         uint64_t pause_mark, uint64_t hold_mark)
{
    if (step->kind == STEP_RANGE && code == TACTUS_EFULL && tac_stress_is_held(worker, hold_mark)) {
        TAC_STRESS_COUNT(worker->row, ranges_refused);
    } else {
        (void)tac_stress_is_refused(worker, step->kind == STEP_RANGE ? "range" : "batch", code,
                                    pause_mark);
    }
}

static void step_count(const struct tac_stress_worker *worker, const struct step *step)
{
    switch (step->kind) {
    case STEP_PUTS:
        TAC_STRESS_COUNT_MORE(worker->row, erased_records, step->end - step->first);
        return;
    case STEP_DELETES:
        return;
    case STEP_RANGE:
        TAC_STRESS_COUNT(worker->row, ranges_deleted);
        return;
    }
    tac_unreachable();
}

static void step_run(struct tac_stress_worker *worker, const struct step *step)
{
    struct tac_stress_course *course = course_of(worker);
    uint64_t pause_mark = tac_stress_pause_mark(worker), hold_mark = tac_stress_hold_mark(worker);
    int      code;

    tac_stress_course_begin(course, step->number);
    code = step->kind == STEP_RANGE ? range_delete(worker, step) : batch_commit(worker, step);
    if (code == TACTUS_OK) {
        step_apply(step, worker->steps);
        tac_stress_course_end(course, step->number, tac_stress_is_synced(worker->scene));
        step_count(worker, step);
    } else {
        refusal_note(worker, step, code, pause_mark, hold_mark);
    }
    keys_check(worker, step);
}

/* An iterator that is open keeps its view, until it expires. */
static void step_run_beside(struct tac_stress_worker *worker, const struct step *step)
{
    struct pass             pass = pass_of(worker, tac_stress_draw(worker, 2) == 0);
    uint64_t                before[KEYS];
    struct tactus_iterator *iterator;
    int                     code;

    memcpy(before, worker->steps, sizeof before);
    if (tactus_iterator_open(worker->scene->store, worker->own_tree, &iterator) != TACTUS_OK) {
        fail(worker, tactus_message());
        return;
    }
    step_run(worker, step);
    pass_begin(&pass, 0, KEYS);
    code = records_take(
        iterator,
        pass.is_backward ? tactus_iterator_last(iterator) : tactus_iterator_first(iterator), &pass);
    if (code == TACTUS_ENOTFOUND) {
        TAC_STRESS_COUNT(worker->row, views_kept);
        if (memcmp(pass.found, before, sizeof before) != 0) {
            fail(worker, "an iterator does not see what there was when it was opened");
        }
    }
    tactus_iterator_close(iterator);
}

static void compact_do(struct tac_stress_worker *worker)
{
    uint64_t pause_mark = tac_stress_pause_mark(worker);
    int      code = tactus_compact(worker->scene->store, worker->own_tree);

    if (code == TACTUS_OK) {
        TAC_STRESS_COUNT(worker->row, compactions);
    } else {
        (void)tac_stress_is_refused(worker, "compact", code, pause_mark);
    }
}

/* ---- turns ---------------------------------------------------------------------------------- */

/* An earlier life may have made the tree. */
static int tree_find(struct tac_stress_worker *worker)
{
    const struct tactus_layout layout = layout_of(worker->number);
    char                       name[TAC_STRESS_COURSE_NAME_BYTES];
    int                        code;

    tac_stress_course_name(&trees, worker->number, name);
    code = tactus_tree_find(worker->scene->store, name, &worker->own_tree);
    return code == TACTUS_ENOTREE
               ? tactus_tree_create(worker->scene->store, name, &layout, &worker->own_tree)
               : code;
}

static void begin(struct tac_stress_worker *worker)
{
    uint64_t pause_mark = tac_stress_pause_mark(worker);
    int      code = tree_find(worker);

    if (code != TACTUS_OK) {
        (void)tac_stress_is_refused(worker, "create of a tree", code, pause_mark);
        return;
    }
    worker->steps = calloc(KEYS, sizeof *worker->steps);
    if (worker->steps == NULL) {
        fail(worker, "out of memory for what its tree must hold");
        return;
    }
    tree_make(worker->scene->world->seed, worker->number, course_of(worker)->done, worker->steps);
}

void tac_stress_eraser_turn(struct tac_stress_worker *worker)
{
    struct step step;

    tac_stress_nap(worker, REST_NS);
    if (worker->steps == NULL) {
        begin(worker);
    } else if (tac_stress_draw(worker, SYNC_ONE_IN) == 0) {
        tac_stress_course_sync(worker, course_of(worker));
    } else if (tac_stress_draw(worker, READ_ONE_IN) == 0) {
        tree_compare(worker);
    } else if (tac_stress_draw(worker, COMPACT_ONE_IN) == 0) {
        compact_do(worker);
    } else {
        step = step_make(worker->scene->world->seed, worker->number, course_of(worker)->done + 1);
        if (tac_stress_draw(worker, VIEW_ONE_IN) == 0) {
            step_run_beside(worker, &step);
        } else {
            step_run(worker, &step);
        }
    }
}
