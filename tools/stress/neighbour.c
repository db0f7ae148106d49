/* SPDX-License-Identifier: Apache-2.0 */
/* The neighbours: each uses a store of its own in the pool of the run's store, from one
 * thread: it is opened, written to, read, and closed or abandoned, over and over.
 *
 * Step n is a put with the key n % KEYS and a value that only n has. So the latest of its records
 * says which step a store is at, and what all others must be. */
#include <inttypes.h>
#include <limits.h>
#include <string.h>

#include "tools/stress/course.h"

#define KEYS 2000
#define VALUE_MAX 300
#define VALUE_MIN 8
#define MEMTABLE_BYTES (256 * TAC_KIB)
#define KEY_BYTES TAC_STRESS_COURSE_KEY_BYTES
#define WRITES_MAX 32
#define REST_NS (2 * (uint64_t)1000000)
#define LEAVE_ONE_IN 150
#define SYNC_ONE_IN 40
#define TREE "tree"

/* ---- records -------------------------------------------------------------------------------- */

/* Begins with the step. Returns the size. */
static size_t value_make(uint32_t neighbour, uint64_t step, uint8_t *value)
{
    struct tac_prng prng = {tac_mix_u64(step * TAC_STRESS_NEIGHBOURS_MAX + neighbour)};
    size_t          size = VALUE_MIN + tac_prng_below(&prng, VALUE_MAX - VALUE_MIN + 1);

    tac_stress_course_value(&prng, step, value, size);
    return size;
}

/* The step that the value is of; 0: none. */
static uint64_t step_of(uint32_t neighbour, const void *value, size_t size)
{
    uint8_t  made[VALUE_MAX];
    uint64_t step;

    if (size < sizeof step) {
        return 0;
    }
    memcpy(&step, value, sizeof step);
    return value_make(neighbour, step, made) == size && memcmp(made, value, size) == 0 ? step : 0;
}

/* The last step up to this one that puts the key; 0: none. */
static uint64_t step_last(uint64_t step, uint64_t key)
{
    uint64_t back = (step % KEYS + KEYS - key) % KEYS;

    return step > back ? step - back : 0;
}

/* ---- what an open finds --------------------------------------------------------------------- */

static struct tac_stress_course *course_of(const struct tac_stress_worker *worker)
{
    return &worker->scene->board->neighbours[worker->number];
}

static bool neighbour_fail(struct tac_stress_worker *worker, const char *what)
{
    const struct tac_stress_course *course = course_of(worker);

    tac_stress_violation(worker->scene->board,
                         "neighbour %u, %" PRIu64 " puts, %" PRIu64 " begun, %" PRIu64 " safe: %s",
                         worker->number, course->done, course->begun, course->safe, what);
    return false;
}

/* By key; 0: not there. */
static bool steps_read(struct tac_stress_worker *worker, uint64_t *steps)
{
    struct tactus_iterator *iterator;
    int                     code;

    if (tactus_iterator_open(worker->neighbour, worker->own_tree, &iterator) != TACTUS_OK) {
        return neighbour_fail(worker, tactus_message());
    }
    for (code = tactus_iterator_first(iterator); code == TACTUS_OK;
         code = tactus_iterator_next(iterator)) {
        const void *key, *value;
        size_t      key_size, value_size;
        uint8_t     expected[KEY_BYTES];
        uint64_t    step;

        tactus_iterator_record(iterator, &key, &key_size, &value, &value_size);
        step = step_of(worker->number, value, value_size);
        tac_stress_course_key(step % KEYS, expected);
        if (step == 0 || key_size != KEY_BYTES || memcmp(key, expected, KEY_BYTES) != 0) {
            tactus_iterator_close(iterator);
            return neighbour_fail(worker, "a record that nobody wrote");
        }
        steps[step % KEYS] = step;
        TAC_STRESS_COUNT(worker->row, neighbour_reads);
    }
    tactus_iterator_close(iterator);
    return code == TACTUS_ENOTFOUND || neighbour_fail(worker, tactus_message());
}

static bool store_check(struct tac_stress_worker *worker)
{
    struct tac_stress_course *course = course_of(worker);
    uint64_t                  steps[KEYS] = {0}, last = 0;

    if (!steps_read(worker, steps)) {
        return false;
    }
    for (uint64_t key = 0; key < KEYS; key++) {
        last = tac_max_u64(last, steps[key]);
    }
    if (last < course->safe || last > course->begun) {
        return neighbour_fail(worker, "an open finds another step");
    }
    for (uint64_t key = 0; key < KEYS; key++) {
        if (steps[key] != step_last(last, key)) {
            return neighbour_fail(worker, "an open finds a step without one before it");
        }
    }
    course->begun = course->done = course->safe = last;
    return true;
}

/* ---- open and close ------------------------------------------------------------------------- */

static struct tactus_options options_draw(struct tac_stress_worker *worker)
{
    static const enum tactus_log logs[] = {TACTUS_LOG_NONE, TACTUS_LOG_INTERVAL, TACTUS_LOG_SYNC};
    struct tactus_options        options = *worker->scene->options, defaults;

    tactus_options_init(&defaults);
    options.memtable_size = MEMTABLE_BYTES;
    options.file_size_max = defaults.file_size_max;
    options.log = logs[tac_stress_draw(worker, TAC_ARRAY_COUNT(logs))];
    return options;
}

/* A kill may have met the create, or the time between it and the tree's: both are made if they are
 * missing. */
static int tree_find(struct tac_stress_worker *worker)
{
    static const struct tactus_layout layout = {TACTUS_LAYOUT_VARIABLE, KEY_BYTES, VALUE_MAX};
    int code = tactus_tree_find(worker->neighbour, TREE, &worker->own_tree);

    return code == TACTUS_ENOTREE
               ? tactus_tree_create(worker->neighbour, TREE, &layout, &worker->own_tree)
               : code;
}

static void store_open(struct tac_stress_worker *worker)
{
    struct tactus_options options = options_draw(worker);
    char                  path[PATH_MAX];
    int                   code;

    tac_stress_neighbour_path(worker->scene->path, worker->number, path);
    code = tactus_open_in(worker->scene->pool, path, &options, &worker->neighbour);
    if (code == TACTUS_ENOSTORE && course_of(worker)->safe == 0) {
        code = tactus_create(path, &options);
        if (code == TACTUS_OK) {
            code = tactus_open_in(worker->scene->pool, path, &options, &worker->neighbour);
        }
    }
    if (code != TACTUS_OK) {
        neighbour_fail(worker, tactus_message());
        return;
    }
    TAC_STRESS_COUNT(worker->row, neighbour_opens);
    worker->is_synced = options.log == TACTUS_LOG_SYNC;
    if (tree_find(worker) != TACTUS_OK) {
        neighbour_fail(worker, tactus_message());
        return;
    }
    (void)store_check(worker);
}

static void store_leave(struct tac_stress_worker *worker)
{
    struct tac_stress_course *course = course_of(worker);
    struct tactus            *store = worker->neighbour;

    worker->neighbour = NULL;
    TAC_STRESS_COUNT(worker->row, neighbour_closes);
    if (tac_stress_draw(worker, 3) == 0) {
        tactus_abandon(store);
    } else if (tactus_close(store) != TACTUS_OK) {
        neighbour_fail(worker, tactus_message());
    } else {
        tac_stress_course_safe(course);
    }
}

/* ---- turns ---------------------------------------------------------------------------------- */

static void put(struct tac_stress_worker *worker)
{
    struct tac_stress_course *course = course_of(worker);
    uint64_t                  step = course->done + 1;
    uint8_t                   key[KEY_BYTES], value[VALUE_MAX];
    size_t                    size = value_make(worker->number, step, value);

    tac_stress_course_key(step % KEYS, key);
    tac_stress_course_begin(course, step);
    if (tactus_put(worker->neighbour, worker->own_tree, key, KEY_BYTES, value, size) != TACTUS_OK) {
        neighbour_fail(worker, tactus_message());
        return;
    }
    tac_stress_course_end(course, step, worker->is_synced);
    TAC_STRESS_COUNT(worker->row, neighbour_writes);
}

static void get(struct tac_stress_worker *worker)
{
    uint64_t key_number = tac_stress_draw(worker, KEYS), found = 0;
    uint8_t  key[KEY_BYTES], value[VALUE_MAX];
    size_t   size = 0;
    int      code;

    tac_stress_course_key(key_number, key);
    code =
        tactus_get(worker->neighbour, worker->own_tree, key, KEY_BYTES, value, sizeof value, &size);
    if (code == TACTUS_OK) {
        found = step_of(worker->number, value, size);
    }
    if (code != TACTUS_OK && code != TACTUS_ENOTFOUND) {
        neighbour_fail(worker, tactus_message());
    } else if (found != step_last(course_of(worker)->done, key_number)) {
        neighbour_fail(worker, "a get finds another step, or none");
    }
    TAC_STRESS_COUNT(worker->row, neighbour_reads);
}

static void sync_do(struct tac_stress_worker *worker)
{
    struct tac_stress_course *course = course_of(worker);

    if (tactus_sync(worker->neighbour) != TACTUS_OK) {
        neighbour_fail(worker, tactus_message());
        return;
    }
    tac_stress_course_safe(course);
}

void tac_stress_neighbour_turn(struct tac_stress_worker *worker)
{
    uint64_t writes = 1 + tac_stress_draw(worker, WRITES_MAX);

    if (worker->neighbour == NULL) {
        store_open(worker);
        return;
    }
    if (tac_stress_draw(worker, LEAVE_ONE_IN) == 0) {
        store_leave(worker);
        return;
    }
    if (tac_stress_draw(worker, SYNC_ONE_IN) == 0) {
        sync_do(worker);
    }
    for (uint64_t i = 0; i < writes && !tac_stress_is_stopped(worker->scene->board); i++) {
        put(worker);
        tac_stress_step_begin(worker->row);
    }
    get(worker);
    tac_stress_nap(worker, REST_NS);
}

void tac_stress_neighbour_end(struct tac_stress_worker *worker)
{
    if (worker->neighbour != NULL) {
        store_leave(worker);
    }
}
