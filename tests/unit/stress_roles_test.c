/* SPDX-License-Identifier: Apache-2.0 */
/* The threads of `tactus stress`, and what it does after an open, on stores that hold what was
 * written, and on stores in which something was changed behind their backs: that they tell. What
 * they compare with: stress_ledger_test.c. */
#include <stdlib.h>
#include <string.h>

#include "base/prng.h"
#include "base/units.h"
#include "tests/lib/small_options.h"
#include "tests/lib/stress_values.h"
#include "tests/lib/tap.h"
#include "tools/stress/roles.h"

#define KEYS 2048
#define WRITERS 2
#define ROWS 3

static struct tac_stress_world world;

/* ---- a store, and turns on it --------------------------------------------------------------- */

struct stage {
    struct tactus_options       options;
    struct tac_stress_ledger    ledger;
    struct tac_stress_snapshots snapshots;
    struct tac_stress_scene     scene;
    struct tac_stress_worker    worker;
};

static void stage_open(struct stage *stage)
{
    struct tactus_options *options = &stage->options;

    *stage = (struct stage){0};
    small_options(options);
    options->backend = TACTUS_BACKEND_MEMORY;
    options->page_cache_size = options->index_cache_size = 256 * TAC_KIB;
    stage->scene = (struct tac_stress_scene){
        .world = &world,
        .ledger = &stage->ledger,
        .board = tac_stress_board_new(ROWS),
        .batch_bytes_max = options->memtable_size / 4,
        .options = options,
        .snapshots = &stage->snapshots,
        .droppers = 1,
        .erasers = 1,
    };
    if (stage->scene.board == NULL || !tac_stress_ledger_init(&stage->ledger, &world, WRITERS) ||
        !tac_stress_snapshots_init(&stage->snapshots, &world, TAC_STRESS_SNAPSHOTS_EACH) ||
        tactus_open(NULL, options, &stage->scene.store) != TACTUS_OK ||
        tac_stress_trees_create(&stage->scene) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
    stage->scene.row = &stage->scene.board->rows[TAC_STRESS_ROW_MAIN];
}

static void worker_turns(struct stage *stage, enum tac_stress_role_id role, uint32_t number,
                         uint32_t turns)
{
    struct tac_stress_worker *worker = &stage->worker;

    *worker = (struct tac_stress_worker){
        .role = &tac_stress_roles[role],
        .scene = &stage->scene,
        .row = &stage->scene.board->rows[TAC_STRESS_ROW_WORKERS],
        .number = number,
        .owner = number,
        .prng = {tac_mix_u64(role * 100 + number)},
    };
    for (uint32_t i = 0; i < turns && !tac_stress_is_stopped(stage->scene.board); i++) {
        worker->role->turn(worker);
    }
    tactus_batch_free(worker->batch);
    free(worker->least);
    free(worker->most);
    free(worker->found);
    free(worker->steps);
}

static bool has_violation(const struct stage *stage)
{
    return stage->scene.board->violations > 0 && stage->scene.board->texts[0][0] != 0;
}

static void stage_close(struct stage *stage)
{
    tactus_abandon(stage->scene.store);
    tac_stress_board_free(stage->scene.board);
    tac_stress_snapshots_destroy(&stage->snapshots);
    tac_stress_ledger_destroy(&stage->ledger);
}

/* Written by both writers, with compactions. */
static void stage_fill(struct stage *stage)
{
    stage_open(stage);
    for (uint32_t i = 0; i < 4 * WRITERS; i++) {
        worker_turns(stage, TAC_STRESS_WRITER, i % WRITERS, 500);
    }
}

static void test_right_store(void)
{
    struct stage        stage;
    struct tactus_stats stats;

    stage_fill(&stage);
    tactus_stat(stage.scene.store, &stats);
    worker_turns(&stage, TAC_STRESS_READER, 0, 2000);
    worker_turns(&stage, TAC_STRESS_SCANNER, 0, 200);
    worker_turns(&stage, TAC_STRESS_MAINTAINER, 0, 20);
    tap_ok(stats.compactions > 0 && !has_violation(&stage) && tac_stress_check_all(&stage.scene) &&
               tac_stress_check_sound(&stage.scene) && !has_violation(&stage),
           "a store that holds what was written is right");
    if (has_violation(&stage)) {
        tap_diag("%s", stage.scene.board->texts[0]);
    }
    tap_ok(tac_stress_count_of(stage.scene.board, TAC_STRESS_COUNT_records_written) > 1000 &&
               tac_stress_count_of(stage.scene.board, TAC_STRESS_COUNT_conflicts) > 0 &&
               tac_stress_count_of(stage.scene.board, TAC_STRESS_COUNT_exchanges) > 0 &&
               tac_stress_count_of(stage.scene.board, TAC_STRESS_COUNT_puts_if_absent) > 0,
           "it was written in every way");
    stage_close(&stage);
}

/* Of a group, with a value in the first tree. */
static uint32_t place_there(const struct stage *stage)
{
    for (uint32_t place = 0; place < world.places; place += TAC_STRESS_TREES) {
        uint32_t item = tac_stress_item_of(&world, place);

        if (!tac_stress_is_deleted(&world, item, tac_stress_version_now(&stage->ledger, item))) {
            return place;
        }
    }
    tap_bail("nothing is there");
}

static int change_delete(struct stage *stage, uint32_t place)
{
    struct tac_stress_key key;

    tac_stress_key_make(&world, place, &key);
    return tactus_delete(stage->scene.store, stage->scene.trees[0], key.data, key.size);
}

static int version_put(struct stage *stage, uint32_t place, uint32_t version, uint8_t flip)
{
    struct tac_stress_key   key;
    struct tac_stress_value value;

    tac_stress_key_make(&world, place, &key);
    tac_stress_value_make(&world, place, stress_full_version(&world, place, place, version),
                          &value);
    value.data[value.size - 1] ^= flip;
    return tactus_put(stage->scene.store, stage->scene.trees[0], key.data, key.size, value.data,
                      value.size);
}

static uint32_t version_of(const struct stage *stage, uint32_t place)
{
    return tac_stress_version_now(&stage->ledger, tac_stress_item_of(&world, place));
}

static int change_to_later(struct stage *stage, uint32_t place)
{
    return version_put(stage, place, version_of(stage, place) + 1, 0);
}

static int change_to_earlier(struct stage *stage, uint32_t place)
{
    uint32_t first = stress_full_version(&world, place, place, 1);

    return first < version_of(stage, place) ? version_put(stage, place, 1, 0)
                                            : change_delete(stage, place);
}

static int change_bit(struct stage *stage, uint32_t place)
{
    return version_put(stage, place, version_of(stage, place), 1);
}

static int change_add(struct stage *stage, uint32_t place)
{
    struct tac_stress_key   key;
    struct tac_stress_value value;

    tac_stress_key_make(&world, place, &key);
    tac_stress_key_spoil(place, &key);
    tac_stress_value_make(&world, place, version_of(stage, place), &value);
    return tactus_put(stage->scene.store, stage->scene.trees[0], key.data, key.size, value.data,
                      value.size);
}

static bool is_told_by_workers(struct stage *stage, enum tac_stress_role_id role, uint32_t turns)
{
    bool is_told;

    stage->scene.board->violations = stage->scene.board->stop = 0;
    worker_turns(stage, role, 0, turns);
    is_told = has_violation(stage);
    stage->scene.board->violations = stage->scene.board->stop = 0;
    return is_told;
}

static void test_wrong_stores(void)
{
    static const struct {
        const char *name;
        int (*change)(struct stage *stage, uint32_t place);
    } changes[] = {
        {"a record is gone", change_delete},
        {"a record is later", change_to_later},
        {"a record is earlier", change_to_earlier},
        {"a record has another bit", change_bit},
        {"a record is there that nobody wrote", change_add},
    };

    for (uint32_t i = 0; i < TAC_ARRAY_COUNT(changes); i++) {
        struct stage stage;
        uint32_t     place;

        stage_fill(&stage);
        place = place_there(&stage);
        if (has_violation(&stage) || changes[i].change(&stage, place) != TACTUS_OK) {
            tap_bail("%s: %s", changes[i].name, stage.scene.board->texts[0]);
        }
        tap_ok(is_told_by_workers(&stage, TAC_STRESS_READER, 1000000), "%s: a reader tells",
               changes[i].name);
        tap_ok(is_told_by_workers(&stage, TAC_STRESS_SCANNER, 5000), "%s: a scanner tells",
               changes[i].name);
        tap_ok(!tac_stress_check_all(&stage.scene) && has_violation(&stage),
               "%s: comparing everything tells", changes[i].name);
        tap_diag("%s", stage.scene.board->texts[0]);
        stage_close(&stage);
    }
}

/* What a writer is told of its own. */
static void test_wrong_condition(void)
{
    struct stage stage;

    stage_fill(&stage);
    for (uint32_t place = 0; place < world.places; place += TAC_STRESS_TREES) {
        (void)change_delete(&stage, place);
    }
    tap_ok(is_told_by_workers(&stage, TAC_STRESS_WRITER, 20000),
           "a writer whose records are gone tells");
    stage_close(&stage);
}

/* ---- snapshots and trees of their own ------------------------------------------------------- */

/* Of the entry 0, between whose two ends the store may be changed. */
static void snapshot_take(struct stage *stage, int (*change)(struct stage *stage, uint32_t place))
{
    char     name[TAC_STRESS_SNAPSHOT_NAME_BYTES];
    uint64_t op;

    tac_stress_snapshot_begin(&stage->snapshots, &stage->ledger, 0);
    tac_stress_snapshot_name(&stage->snapshots, 0, name);
    if ((change != NULL && change(stage, place_there(stage)) != TACTUS_OK) ||
        tactus_snapshot_create(stage->scene.store, name, &op) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
    tac_stress_snapshot_end(&stage->snapshots, &stage->ledger, 0, op);
}

static bool is_told_by_check(struct stage *stage)
{
    bool is_told = !tac_stress_check_snapshots(&stage->scene) && has_violation(stage);

    stage->scene.board->violations = stage->scene.board->stop = 0;
    return is_told;
}

static void test_snapshots(void)
{
    struct stage stage;
    uint32_t     place;
    char         name[TAC_STRESS_SNAPSHOT_NAME_BYTES];

    stage_fill(&stage);
    snapshot_take(&stage, NULL);
    worker_turns(&stage, TAC_STRESS_WRITER, 0, 500);
    tap_ok(tac_stress_check_snapshots(&stage.scene) && !has_violation(&stage) &&
               stage.snapshots.entries[0].is_known != 0,
           "a snapshot that holds what was written before it is right");
    worker_turns(&stage, TAC_STRESS_SNAPSHOTTER, 0, 8);
    tap_ok(!has_violation(&stage), "and stays so: %s", stage.scene.board->texts[0]);
    if (stage.snapshots.entries[0].state == TAC_STRESS_SNAPSHOT_NONE) {
        snapshot_take(&stage, NULL);
    }
    tap_ok(tac_stress_check_snapshots(&stage.scene), "it is found again");
    place = place_there(&stage);
    stage.snapshots.found[0][place] ^= 1;
    tap_ok(is_told_by_check(&stage), "one that was something else before is told");
    stage.snapshots.found[0][place] ^= 1;
    tac_stress_snapshot_name(&stage.snapshots, 0, name);
    (void)tactus_snapshot_release(stage.scene.store, name);
    tap_ok(is_told_by_check(&stage), "one that is gone is told");
    stage.snapshots.entries[0].state = TAC_STRESS_SNAPSHOT_NONE;
    (void)tactus_snapshot_create(stage.scene.store, "other", NULL);
    tap_ok(is_told_by_check(&stage), "one that nobody took is told");
    stage_close(&stage);
}

static void test_wrong_snapshots(void)
{
    static int (*const changes[])(struct stage * stage, uint32_t place) = {
        change_delete, change_to_later, change_to_earlier, change_bit, change_add};

    for (uint32_t i = 0; i < TAC_ARRAY_COUNT(changes); i++) {
        struct stage stage;

        stage_fill(&stage);
        snapshot_take(&stage, changes[i]);
        tap_ok(is_told_by_check(&stage), "a snapshot that is not as it was written is told: %u", i);
        stage_close(&stage);
    }
}

/* Once with a record of no cycle, once without the tree. */
static void test_droppers(void)
{
    for (uint32_t i = 0; i < 2; i++) {
        struct stage stage;
        uint32_t     tree, turns = 0;

        stage_open(&stage);
        while (turns++ < 1000 && stage.scene.board->droppers[0].done % 64 < 4 &&
               !has_violation(&stage)) {
            worker_turns(&stage, TAC_STRESS_DROPPER, 0, 12);
        }
        tap_ok(!has_violation(&stage) && tac_stress_check_droppers(&stage.scene),
               "a dropper finds its tree as it was written: %s", stage.scene.board->texts[0]);
        stage.scene.board->droppers[0].safe = stage.scene.board->droppers[0].done;
        if (tactus_tree_find(stage.scene.store, "dropped-0", &tree) != TACTUS_OK ||
            (i == 0 ? tactus_delete(stage.scene.store, tree, "00000003", 8)
                    : tactus_tree_drop(stage.scene.store, tree)) != TACTUS_OK) {
            tap_bail("%s", tactus_message());
        }
        tap_ok(!tac_stress_check_droppers(&stage.scene) && has_violation(&stage),
               i == 0 ? "a record that is gone is told" : "a tree that is gone is told");
        tap_diag("%s", stage.scene.board->texts[0]);
        stage_close(&stage);
    }
}

/* A record of an eraser's tree. */
struct record {
    uint8_t key[8], value[256];
    size_t  key_size, value_size;
};

static struct record first_record(struct stage *stage, uint32_t tree)
{
    struct record           record = {.key_size = 0};
    struct tactus_iterator *iterator;
    const void             *key, *value;

    if (tactus_iterator_open(stage->scene.store, tree, &iterator) != TACTUS_OK ||
        tactus_iterator_first(iterator) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
    tactus_iterator_record(iterator, &key, &record.key_size, &value, &record.value_size);
    tac_assert(record.key_size <= sizeof record.key && record.value_size <= sizeof record.value);
    memcpy(record.key, key, record.key_size);
    memcpy(record.value, value, record.value_size);
    tactus_iterator_close(iterator);
    return record;
}

static bool is_there(struct stage *stage, uint32_t tree, const struct record *record)
{
    uint8_t value[256];
    size_t  size;

    return tactus_get(stage->scene.store, tree, record->key, record->key_size, value, sizeof value,
                      &size) == TACTUS_OK &&
           size == record->value_size && memcmp(value, record->value, size) == 0;
}

/* An eraser has done some steps, then so many that the tree's first record of before is gone. */
static uint32_t eraser_fill(struct stage *stage, struct record *ret_gone)
{
    struct tac_stress_course *course = &stage->scene.board->erasers[0];
    uint32_t                  tree, turns = 0;

    stage_open(stage);
    while (turns++ < 100 && course->done < 10 && !has_violation(stage)) {
        worker_turns(stage, TAC_STRESS_ERASER, 0, 12);
    }
    if (tactus_tree_find(stage->scene.store, "erased-0", &tree) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
    *ret_gone = first_record(stage, tree);
    while (turns++ < 1000 && (is_there(stage, tree, ret_gone) || course->done % 128 == 0) &&
           !has_violation(stage)) {
        worker_turns(stage, TAC_STRESS_ERASER, 0, 3);
    }
    return tree;
}

static int change_erased(struct stage *stage, uint32_t tree, uint32_t change,
                         const struct record *gone)
{
    struct record record = first_record(stage, tree);

    switch (change) {
    case 0:
        return tactus_delete(stage->scene.store, tree, record.key, record.key_size);
    case 1:
        return tactus_put(stage->scene.store, tree, gone->key, gone->key_size, gone->value,
                          gone->value_size);
    default:
        return tactus_tree_drop(stage->scene.store, tree);
    }
}

static void test_erasers(void)
{
    static const char *const names[] = {"a record that is gone",
                                        "one that was deleted and is there", "a tree that is gone"};

    for (uint32_t i = 0; i < TAC_ARRAY_COUNT(names); i++) {
        struct stage              stage;
        struct record             gone;
        uint32_t                  tree = eraser_fill(&stage, &gone);
        struct tac_stress_course *course = &stage.scene.board->erasers[0];

        tap_ok(!has_violation(&stage) && tac_stress_check_erasers(&stage.scene),
               "an eraser finds its tree as it was written: %s", stage.scene.board->texts[0]);
        course->safe = course->done;
        if (change_erased(&stage, tree, i, &gone) != TACTUS_OK) {
            tap_bail("%s", tactus_message());
        }
        if (i < 2) { /* Without a tree it begins one. */
            tap_ok(is_told_by_workers(&stage, TAC_STRESS_ERASER, 1000), "%s: an eraser tells",
                   names[i]);
        }
        course->begun = course->done = course->safe;
        tap_ok(!tac_stress_check_erasers(&stage.scene) && has_violation(&stage),
               "%s: an open tells", names[i]);
        tap_diag("%s", stage.scene.board->texts[0]);
        stage_close(&stage);
    }
}

static void test_erased_snapshot(void)
{
    struct stage                stage;
    struct record               gone;
    struct tac_stress_course   *course;
    struct tac_stress_snapshot *entry;

    (void)eraser_fill(&stage, &gone);
    course = &stage.scene.board->erasers[0];
    entry = &stage.snapshots.entries[0];
    snapshot_take(&stage, NULL);
    entry->erased_least[0] = entry->erased_most[0] = course->done;
    worker_turns(&stage, TAC_STRESS_ERASER, 0, 50);
    tap_ok(tac_stress_check_snapshots(&stage.scene) && !has_violation(&stage),
           "a snapshot has what an eraser's tree held: %s", stage.scene.board->texts[0]);
    entry->erased_least[0] = entry->erased_most[0] = course->done;
    tap_ok(is_told_by_check(&stage), "one that has what was deleted before it is told");
    stage_close(&stage);
}

/* Turns until there is a limit that was left. */
static void throttler_turns(struct tac_stress_worker *throttler)
{
    do {
        throttler->role->turn(throttler);
    } while (throttler->limit.rate_bytes == 0 && !tac_stress_is_stopped(throttler->scene->board));
}

/* The second time the store has no limit, though the throttler has set one of a byte a second. */
static void test_throttler(void)
{
    struct stage             stage;
    struct tac_stress_worker throttler;

    stage_open(&stage);
    worker_turns(&stage, TAC_STRESS_THROTTLER, 0, 1);
    throttler = stage.worker;
    throttler_turns(&throttler);
    worker_turns(&stage, TAC_STRESS_WRITER, 0, 500);
    throttler_turns(&throttler);
    tap_ok(!has_violation(&stage), "a throttler finds its limits kept: %s",
           stage.scene.board->texts[0]);
    if (tactus_io_rate_change(stage.scene.store, 0) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
    throttler.limit.rate_bytes = 1;
    for (uint32_t i = 0; i < 4 * WRITERS; i++) {
        worker_turns(&stage, TAC_STRESS_WRITER, i % WRITERS, 500);
    }
    throttler.role->turn(&throttler);
    tap_ok(has_violation(&stage), "one that is not kept is told: %s", stage.scene.board->texts[0]);
    stage_close(&stage);
}

int main(void)
{
    tap_plan(0);
    if (!tac_stress_world_init(&world, tap_seed(), KEYS)) {
        tap_bail("no world");
    }
    test_right_store();
    test_wrong_stores();
    test_wrong_condition();
    test_snapshots();
    test_wrong_snapshots();
    test_droppers();
    test_erasers();
    test_erased_snapshot();
    test_throttler();
    tac_stress_world_destroy(&world);
    return tap_done();
}
