/* SPDX-License-Identifier: Apache-2.0 */
/* The compactor: one key range after the other is begun, left to the writes or stepped; some are
 * cancelled. It is alone with that, so what there is of a range is what it has begun, or what an
 * open goes on with. */
#include <inttypes.h>

#include "tools/stress/roles.h"

#define REST_NS (40 * (uint64_t)1000000)
#define STEPS_MAX 8

static bool is_under_way(const struct tac_stress_worker *worker)
{
    struct tactus_compact_progress progress;

    tactus_compact_progress(worker->scene->store, &progress);
    if (progress.op > tactus_last_op(worker->scene->store) || progress.level >= TACTUS_LEVELS_MAX ||
        progress.passes_left_bytes < progress.left_bytes) {
        tac_stress_violation(worker->scene->board,
                             "key range of op %" PRIu64 ", at level %u: %" PRIu64
                             " bytes are left, %" PRIu64 " with their passes",
                             progress.op, progress.level, progress.left_bytes,
                             progress.passes_left_bytes);
    }
    return progress.state == TACTUS_COMPACT_FLUSHING || progress.state == TACTUS_COMPACT_RUNNING;
}

static void range_begin(struct tac_stress_worker *worker)
{
    const struct tac_stress_world *world = worker->scene->world;
    uint32_t                       tree = (uint32_t)tac_stress_draw(worker, TAC_STRESS_TREES);
    uint32_t                       first = (uint32_t)tac_stress_draw(worker, world->slots - 1);
    uint32_t next = first + 1 + (uint32_t)tac_stress_draw(worker, world->slots - first - 1);
    bool     has_low = tac_stress_draw(worker, 4) > 0, has_high = tac_stress_draw(worker, 4) > 0;
    uint64_t pause_mark = tac_stress_pause_mark(worker);
    struct tac_stress_key low, high;
    int                   code;

    tac_stress_key_make(world, world->place_of[tree][first], &low);
    tac_stress_key_make(world, world->place_of[tree][next], &high);
    code = tactus_compact_range(worker->scene->store, worker->scene->trees[tree],
                                has_low ? low.data : NULL, has_low ? low.size : 0,
                                has_high ? high.data : NULL, has_high ? high.size : 0);
    if (code == TACTUS_OK) {
        TAC_STRESS_COUNT(worker->row, ranges_begun);
        worker->has_range = true;
    } else {
        (void)tac_stress_is_refused(worker, "key range", code, pause_mark);
    }
}

static void range_cancel(struct tac_stress_worker *worker)
{
    uint64_t pause_mark = tac_stress_pause_mark(worker);
    int      code = tactus_compact_cancel(worker->scene->store);

    if (code != TACTUS_OK) {
        (void)tac_stress_is_refused(worker, "cancel of a key range", code, pause_mark);
        return;
    }
    TAC_STRESS_COUNT(worker->row, ranges_cancelled);
    worker->has_range = false;
    if (is_under_way(worker)) {
        tac_stress_violation(worker->scene->board, "a key range goes on after it was cancelled");
    }
}

/* False: no more steps for now. */
static bool step_try(struct tac_stress_worker *worker)
{
    uint64_t pause_mark = tac_stress_pause_mark(worker), hold_mark = tac_stress_hold_mark(worker);
    bool     is_done = false;
    int      code = tactus_compact_step(worker->scene->store, &is_done);

    if (code == TACTUS_EAGAIN && tac_stress_is_held(worker, hold_mark)) {
        TAC_STRESS_COUNT(worker->row, refused_held);
        return false;
    }
    if (code != TACTUS_OK) {
        (void)tac_stress_is_refused(worker, "step of a key range", code, pause_mark);
        return false;
    }
    TAC_STRESS_COUNT(worker->row, range_steps);
    if (is_done && is_under_way(worker)) {
        tac_stress_violation(worker->scene->board, "a key range is done, and goes on");
    }
    return !is_done;
}

static void range_step(struct tac_stress_worker *worker)
{
    uint64_t steps = 1 + tac_stress_draw(worker, STEPS_MAX);

    while (steps > 0 && !tac_stress_is_stopped(worker->scene->board) && step_try(worker)) {
        tac_stress_step_begin(worker->row);
        steps--;
    }
}

void tac_stress_compactor_turn(struct tac_stress_worker *worker)
{
    tac_stress_nap(worker, REST_NS);
    if (!is_under_way(worker)) {
        if (worker->has_range) {
            TAC_STRESS_COUNT(worker->row, ranges_done);
        }
        worker->has_range = false;
        range_begin(worker);
        return;
    }
    worker->has_range = true;
    switch (tac_stress_draw(worker, 8)) {
    case 0:
        range_cancel(worker);
        return;
    case 1:
    case 2:
    case 3:
        range_step(worker);
        return;
    default:
        return; /* The writes' bars go on with it */
    }
}
