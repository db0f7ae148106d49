/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/stress/life.h"

#include <limits.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "tools/command.h"
#include "tools/stress/course.h"
#include "tools/stress/damage.h"

#define LOOK_NS 20000000
#define DAMAGED_COPIES 8
#define DAMAGED_CACHE_BYTES (64 * TAC_MIB)

static void phase_begin(struct tac_stress_life *life, enum tac_stress_phase phase)
{
    tac_atomic_store_release_u32(&life->scene.board->phase, phase);
    tac_stress_step_begin(life->scene.row);
}

static bool call_fail(struct tac_stress_life *life, const char *what, int code)
{
    tac_stress_violation(life->scene.board, "%s: error %d: %s", what, code, tactus_message());
    return false;
}

/* ---- work ----------------------------------------------------------------------------------- */

/* The engine's counts begin with the open; those of the run go on. */
static void engine_note(const struct tac_stress_scene  *scene,
                        const struct tac_stress_engine *before)
{
    struct tac_stress_engine *engine = &scene->board->engine;
    struct tactus_stats       stats;

    tactus_stat(scene->store, &stats);
    tac_atomic_store_relaxed_u64(&engine->waits, before->waits + stats.waits);
    tac_atomic_store_relaxed_u64(&engine->wait_ns_total,
                                 before->wait_ns_total + stats.wait_ns_total);
    tac_atomic_store_relaxed_u64(&engine->wait_ns_max,
                                 tac_max_u64(before->wait_ns_max, stats.wait_ns_max));
    tac_atomic_store_relaxed_u64(&engine->bars, before->bars + stats.bars);
    tac_atomic_store_relaxed_u64(&engine->compactions, before->compactions + stats.compactions);
    tac_atomic_store_relaxed_u64(&engine->log_syncs, before->log_syncs + stats.log_syncs);
}

/* Whoever is killed has noted nearly all of it. */
static void workers_watch(struct tac_stress_life *life)
{
    const struct timespec    nap = {0, LOOK_NS};
    struct tac_stress_board *board = life->scene.board;
    struct tac_stress_engine before = board->engine;
    uint64_t                 worked_before_ns = board->worked_ns, worked_ns = 0;
    uint64_t                 begin_ns = tac_clock_now_ns();

    tac_atomic_store_release_u64(&board->work_begin_ns, begin_ns);
    while (!tac_stress_is_stopped(board) && worked_ns < life->work_ns) {
        nanosleep(&nap, NULL);
        worked_ns = tac_clock_now_ns() - begin_ns;
        tac_atomic_store_relaxed_u64(&board->worked_ns, worked_before_ns + worked_ns);
        engine_note(&life->scene, &before);
        tac_stress_safe_op_raise(life->scene.ledger, tactus_durable_op(life->scene.store));
        tac_stress_step_begin(life->scene.row);
    }
}

static void work(struct tac_stress_life *life)
{
    struct tac_stress_crew crew;
    int                    code;

    /* A crash in the middle of a hold leaves it on, and so does a close with a log. */
    code = tactus_compaction_hold(life->scene.store, false);
    if (code != TACTUS_OK) {
        call_fail(life, "end of a hold", code);
        return;
    }
    phase_begin(life, TAC_STRESS_WORKING);
    tac_stress_returned_is_safe(life->scene.ledger, life->options.log == TACTUS_LOG_SYNC);
    if (tac_stress_crew_start(&crew, &life->scene, life->counts, life->seed)) {
        workers_watch(life);
    }
    tac_stress_crew_join(&crew, life->scene.board);
}

/* ---- from open to close --------------------------------------------------------------------- */

static bool store_compare(struct tac_stress_life *life)
{
    phase_begin(life, TAC_STRESS_COMPARING);
    return tac_stress_check_all(&life->scene) && tac_stress_check_snapshots(&life->scene) &&
           tac_stress_check_droppers(&life->scene) && tac_stress_check_erasers(&life->scene) &&
           (!life->verifies || tac_stress_check_sound(&life->scene));
}

static void courses_are_safe(struct tac_stress_course *courses, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        tac_stress_course_safe(&courses[i]);
    }
}

/* All that had been written is durable then; a full store, too, says so and has made it so. */
static void store_close(struct tac_stress_life *life)
{
    uint64_t op = tactus_last_op(life->scene.store);
    int      code;

    code = tactus_close(life->scene.store);
    if (code != TACTUS_OK && !(code == TACTUS_EFULL && life->scene.has_size_limit)) {
        call_fail(life, "close", code);
        return;
    }
    tac_stress_safe_op_raise(life->scene.ledger, op);
    courses_are_safe(life->scene.board->droppers, life->scene.droppers);
    courses_are_safe(life->scene.board->erasers, life->scene.erasers);
    TAC_STRESS_COUNT(life->scene.row, closes);
}

static void store_leave(struct tac_stress_life *life)
{
    phase_begin(life, TAC_STRESS_CLOSING);
    switch (life->end) {
    case TAC_STRESS_END_CLOSE:
    case TAC_STRESS_END_COMPARE:
        store_close(life);
        return;
    case TAC_STRESS_END_ABANDON:
    case TAC_STRESS_END_KILL: /* It was stopped before */
        tactus_abandon(life->scene.store);
        TAC_STRESS_COUNT(life->scene.row, abandons);
        return;
    case TAC_STRESS_END_DAMAGE:
        break;
    }
    tac_unreachable();
}

/* An open that does away with a log makes a checkpoint, which is an op. */
static uint64_t open_ops_max(const struct tac_stress_life *life)
{
    char log[PATH_MAX + 8];

    snprintf(log, sizeof log, "%s-wal", life->path);
    return life->options.log == TACTUS_LOG_NONE && access(log, F_OK) == 0 ? 1 : 0;
}

/* If it has neighbours. */
static bool pool_open(struct tac_stress_life *life)
{
    struct tactus_pool_options options;
    int                        code;

    if (life->counts[TAC_STRESS_NEIGHBOUR] == 0) {
        return true;
    }
    tactus_pool_options_init(&options);
    options.threads = life->options.threads;
    options.threads_read = life->options.threads_read;
    options.threads_merge = life->options.threads_merge;
    options.threads_write = life->options.threads_write;
    options.threads_priority = life->options.threads_priority;
    code = tactus_pool_open(&options, &life->scene.pool);
    return code == TACTUS_OK || call_fail(life, "pool", code);
}

/* No store is in it any more. */
static void pool_close(struct tac_stress_life *life)
{
    int code = life->scene.pool != NULL ? tactus_pool_close(life->scene.pool) : TACTUS_OK;

    if (code != TACTUS_OK) {
        call_fail(life, "close of the pool", code);
    }
}

static int store_open(struct tac_stress_life *life)
{
    struct tac_stress_scene *scene = &life->scene;

    return scene->pool != NULL
               ? tactus_open_in(scene->pool, life->path, &life->options, &scene->store)
               : tactus_open(life->path, &life->options, &scene->store);
}

static void store_use(struct tac_stress_life *life)
{
    int code;

    phase_begin(life, TAC_STRESS_OPENING);
    life->scene.open_ops_max = open_ops_max(life);
    code = store_open(life);
    if (code != TACTUS_OK) {
        call_fail(life, "open", code);
        return;
    }
    TAC_STRESS_COUNT(life->scene.row, opens);
    code = tac_stress_trees_find(&life->scene);
    if (code != TACTUS_OK) {
        call_fail(life, "trees", code);
    } else if (store_compare(life) && life->end != TAC_STRESS_END_COMPARE) {
        work(life);
    }
    store_leave(life);
}

/* Every key of each copy is read, in any order: that is to be quick. */
static void copies_damage(struct tac_stress_life *life)
{
    struct tac_prng prng = {life->seed};

    phase_begin(life, TAC_STRESS_COMPARING);
    life->options.direct_io = false;
    life->options.memory_size = 0;
    life->options.page_cache_size = life->options.index_cache_size = DAMAGED_CACHE_BYTES;
    for (uint32_t i = 0; i < DAMAGED_COPIES; i++) {
        tac_stress_damage_try(&life->scene, life->path, &life->options, &prng);
    }
}

int tac_stress_life_live(struct tac_stress_life *life)
{
    life->scene.row = &life->scene.board->rows[TAC_STRESS_ROW_MAIN];
    life->scene.batch_bytes_max = life->options.memtable_size / 4;
    life->scene.path = life->path;
    life->scene.options = &life->options;
    life->scene.droppers = life->counts[TAC_STRESS_DROPPER];
    life->scene.erasers = life->counts[TAC_STRESS_ERASER];
    if (life->end == TAC_STRESS_END_DAMAGE) {
        copies_damage(life);
    } else if (pool_open(life)) {
        store_use(life);
        pool_close(life);
    }
    return life->scene.board->violations == 0 ? TAC_EXIT_OK : TAC_EXIT_NO;
}
