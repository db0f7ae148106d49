/* SPDX-License-Identifier: Apache-2.0 */
/* The maintainers, which ask now and then for what a store does for itself, and look on; the
 * pausers; and the changers. */
#include <inttypes.h>
#include <string.h>

#include "tools/stress/roles.h"

#define REST_NS (40 * (uint64_t)1000000)
#define HOLD_NS (100 * (uint64_t)1000000)
#define PAUSE_NS (20 * (uint64_t)1000000)
#define CHANGE_REST_NS (200 * (uint64_t)1000000)
#define THREADS_CHANGED_MAX 8
#define METRICS_BYTES (1 << 16)
#define BEATS_MAX 16 /* In a turn */

/* ---- calls that a pause or a full store may refuse ------------------------------------------ */

static void call_note(struct tac_stress_worker *worker, const char *what,
                      enum tac_stress_counter counter, int code, uint64_t pause_mark)
{
    if (code == TACTUS_OK) {
        tac_stress_count_add(worker->row, counter, 1);
    } else {
        (void)tac_stress_is_refused(worker, what, code, pause_mark);
    }
}

/* A call after which all that came before it is durable. */
static void durable_do(struct tac_stress_worker *worker, const char *what,
                       enum tac_stress_counter counter, int (*call)(struct tactus *store))
{
    struct tactus *store = worker->scene->store;
    uint64_t       pause_mark = tac_stress_pause_mark(worker);
    uint64_t       op = tactus_last_op(store);
    int            code = call(store);

    call_note(worker, what, counter, code, pause_mark);
    if (code == TACTUS_OK && tactus_durable_op(store) < op) {
        tac_stress_violation(worker->scene->board,
                             "%s: op %" PRIu64 " came before it, but only %" PRIu64
                             " is durable after it",
                             what, op, tactus_durable_op(store));
    }
}

static void checkpoint_do(struct tac_stress_worker *worker)
{
    durable_do(worker, "checkpoint", TAC_STRESS_COUNT_checkpoints, tactus_checkpoint);
}

static void sync_do(struct tac_stress_worker *worker)
{
    durable_do(worker, "sync", TAC_STRESS_COUNT_syncs, tactus_sync);
}

static void drain_do(struct tac_stress_worker *worker)
{
    uint64_t pause_mark = tac_stress_pause_mark(worker);

    call_note(worker, "drain", TAC_STRESS_COUNT_drains, tactus_drain(worker->scene->store),
              pause_mark);
}

static void compact_do(struct tac_stress_worker *worker)
{
    uint64_t pause_mark = tac_stress_pause_mark(worker);
    uint32_t tree = worker->scene->trees[tac_stress_draw(worker, TAC_STRESS_TREES)];

    call_note(worker, "compact", TAC_STRESS_COUNT_compactions,
              tactus_compact(worker->scene->store, tree), pause_mark);
}

static void hold_do(struct tac_stress_worker *worker)
{
    struct tac_stress_board *board = worker->scene->board;
    uint64_t                 pause_mark = tac_stress_pause_mark(worker);
    int                      code;

    tac_atomic_fetch_add_u64(&board->holds_begun, 1);
    code = tactus_compaction_hold(worker->scene->store, true);
    call_note(worker, "hold", TAC_STRESS_COUNT_holds, code, pause_mark);
    if (code == TACTUS_OK) {
        tac_stress_nap(worker, HOLD_NS);
        pause_mark = tac_stress_pause_mark(worker);
        code = tactus_compaction_hold(worker->scene->store, false);
        call_note(worker, "end of a hold", TAC_STRESS_COUNT_holds, code, pause_mark);
    }
    if (code == TACTUS_OK) {
        tac_atomic_fetch_add_u64(&board->holds_ended, 1); /* Else it may go on */
    }
}

/* One beat, and so a bar's end with the last one. False: no more for now. */
static bool beat_call(struct tac_stress_worker *worker)
{
    struct tactus *store = worker->scene->store;
    uint64_t       pause_mark = tac_stress_pause_mark(worker);
    uint64_t       before = tactus_last_op(store);
    int            code = tactus_beat(store);

    call_note(worker, "beat", TAC_STRESS_COUNT_beats, code, pause_mark);
    if (code == TACTUS_EFULL || (code == TACTUS_OK && tactus_last_op(store) <= before)) {
        tac_stress_violation(worker->scene->board,
                             "a beat: error %d; the last op was %" PRIu64 ", and is %" PRIu64, code,
                             before, tactus_last_op(store));
    }
    return code == TACTUS_OK;
}

static void beats_do(struct tac_stress_worker *worker)
{
    uint64_t beats = 1 + tac_stress_draw(worker, BEATS_MAX);

    while (beats > 0 && !tac_stress_is_stopped(worker->scene->board) && beat_call(worker)) {
        tac_stress_step_begin(worker->row);
        beats--;
    }
}

/* ---- looking on ----------------------------------------------------------------------------- */

static void ops_look(struct tac_stress_worker *worker)
{
    uint64_t durable = tactus_durable_op(worker->scene->store);
    uint64_t last = tactus_last_op(worker->scene->store);

    if (durable > last || durable < worker->durable_op) {
        tac_stress_violation(worker->scene->board,
                             "op %" PRIu64 " is called durable; before it was %" PRIu64
                             ", and the last op is %" PRIu64,
                             durable, worker->durable_op, last);
    }
    worker->durable_op = durable;
}

static void stat_look(struct tac_stress_worker *worker)
{
    struct tactus_stats stats;

    tactus_stat(worker->scene->store, &stats);
    if (stats.durable_op > stats.last_op || stats.tables_damaged > 0 || stats.scrub_damages > 0 ||
        stats.trees > TAC_STRESS_TREES + worker->scene->droppers + worker->scene->erasers) {
        tac_stress_violation(worker->scene->board,
                             "statistics: durable op %" PRIu64 ", last op %" PRIu64 ", %" PRIu64
                             " damaged tables, %" PRIu64 " damages found by the scrub %s, %u trees",
                             stats.durable_op, stats.last_op, stats.tables_damaged,
                             stats.scrub_damages, stats.scrub_damage, stats.trees);
    }
}

static void metrics_look(struct tac_stress_worker *worker)
{
    char   text[METRICS_BYTES];
    size_t size = 0;
    int    code = tactus_metrics(worker->scene->store, "run=\"stress\"", text, sizeof text, &size);

    if (code != TACTUS_OK || size >= sizeof text || strlen(text) != size) {
        tac_stress_violation(worker->scene->board, "metrics: error %d, %zu bytes", code, size);
    }
}

static void look_do(struct tac_stress_worker *worker)
{
    ops_look(worker);
    stat_look(worker);
    metrics_look(worker);
    TAC_STRESS_COUNT(worker->row, inspections);
}

/* Without stage threads whoever has time may do some of their work. */
static void step_do(struct tac_stress_worker *worker) { (void)tactus_step(worker->scene->store); }

/* ---- turns ---------------------------------------------------------------------------------- */

void tac_stress_maintainer_turn(struct tac_stress_worker *worker)
{
    static void (*const tasks[])(struct tac_stress_worker *) = {
        look_do, look_do,       look_do,  checkpoint_do, sync_do,    sync_do,  step_do,
        step_do, checkpoint_do, drain_do, hold_do,       compact_do, beats_do, beats_do,
    };

    tac_stress_nap(worker, REST_NS);
    tasks[tac_stress_draw(worker, TAC_ARRAY_COUNT(tasks))](worker);
}

/* A pause that the end of the work meets is left to the close every other time. */
void tac_stress_pauser_turn(struct tac_stress_worker *worker)
{
    struct tac_stress_board *board = worker->scene->board;
    int                      code;

    tac_stress_nap(worker, REST_NS);
    tac_atomic_fetch_add_u64(&board->pauses_begun, 1);
    code = tactus_pause(worker->scene->store);
    if (code == TACTUS_OK) {
        tac_stress_nap(worker, PAUSE_NS);
        TAC_STRESS_COUNT(worker->row, pauses);
    }
    if (code == TACTUS_OK && tac_stress_is_stopped(board) && tac_stress_draw(worker, 2) == 0) {
        return;
    }
    if (code == TACTUS_OK) {
        code = tactus_resume(worker->scene->store);
    }
    if (code != TACTUS_OK) {
        tac_stress_violation(board, "pause: error %d: %s", code, tactus_message());
    }
    tac_atomic_fetch_add_u64(&board->pauses_ended, 1);
}

/* A store, and a pool, that was opened without stage threads stays without. */
static void threads_change(struct tac_stress_worker *worker)
{
    struct tactus      *store = worker->scene->store;
    uint32_t            read = 1 + (uint32_t)tac_stress_draw(worker, THREADS_CHANGED_MAX);
    uint32_t            merge = 1 + (uint32_t)tac_stress_draw(worker, THREADS_CHANGED_MAX);
    uint32_t            write = 1 + (uint32_t)tac_stress_draw(worker, THREADS_CHANGED_MAX);
    struct tactus_stats stats;
    int                 code;

    tactus_stat(store, &stats);
    code = worker->scene->pool != NULL
               ? tactus_pool_threads_change(worker->scene->pool, read, merge, write)
               : tactus_threads_change(store, read, merge, write);
    if (code == TACTUS_OK) {
        TAC_STRESS_COUNT(worker->row, thread_changes);
    } else if (code != TACTUS_EOPTION || stats.threads_merge > 0) {
        tac_stress_violation(worker->scene->board, "%u, %u and %u threads: error %d: %s", read,
                             merge, write, code, tactus_message());
    }
}

/* None, all that there can be, or anything between. */
static uint64_t cache_size_draw(struct tac_stress_worker *worker, uint64_t max)
{
    switch (tac_stress_draw(worker, 8)) {
    case 0:
        return 0;
    case 1:
        return max;
    case 2:
        return TACTUS_SIZE_AUTO;
    default:
        return tac_stress_draw(worker, max + 1);
    }
}

/* Now and then to more than there can be, which is refused. */
static void caches_change(struct tac_stress_worker *worker)
{
    const struct tactus_options *options = worker->scene->options;
    uint64_t page_max = tac_max_u64(options->page_cache_size, options->cache_size_max);
    uint64_t index_max = tac_max_u64(options->index_cache_size, options->cache_size_max);
    bool     is_too_much = tac_stress_draw(worker, 8) == 0;
    uint64_t page = is_too_much ? page_max + 1 : cache_size_draw(worker, page_max);
    uint64_t index = cache_size_draw(worker, index_max);
    int      code = tactus_cache_change(worker->scene->store, page, index);

    if (code != (is_too_much ? TACTUS_EOPTION : TACTUS_OK)) {
        tac_stress_violation(worker->scene->board,
                             "caches of %" PRIu64 " and %" PRIu64 ", at most %" PRIu64
                             " and %" PRIu64 ": error %d: %s",
                             page, index, page_max, index_max, code, tactus_message());
    }
    if (code == TACTUS_OK) {
        TAC_STRESS_COUNT(worker->row, cache_changes);
    }
}

void tac_stress_changer_turn(struct tac_stress_worker *worker)
{
    tac_stress_nap(worker, CHANGE_REST_NS);
    if (!worker->scene->keeps_caches && tac_stress_draw(worker, 2) == 0) {
        caches_change(worker);
    } else {
        threads_change(worker);
    }
}
