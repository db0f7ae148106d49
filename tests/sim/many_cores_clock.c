/* SPDX-License-Identifier: Apache-2.0 */
/* many_cores_clock -- the bars of the simulation: pipeline/coordinator.c and pipeline/writer.c
 * without what they do to the manifest. */
#include "tests/sim/many_cores_internal.h"

#include "base/units.h"
#include "pipeline/pacing.h"

/* ---- coordinator ---------------------------------------------------------------------------- */

void cores_coordinator_wake(struct cores *cores)
{
    if (!cores->is_coordinator_woken) {
        cores->is_coordinator_woken = true;
        cores_schedule(cores, cores->now + cores->costs->wake_ns, CORES_EVENT_COORDINATOR, NULL);
    }
}

/* It does something for so long, and then looks again. */
static void coordinator_busy(struct cores *cores, uint64_t ns)
{
    cores->coordinator_free_ns = cores->now + ns;
    cores->is_coordinator_woken = true;
    cores_schedule(cores, cores->coordinator_free_ns, CORES_EVENT_COORDINATOR, NULL);
}

static void writer_notify(struct cores *cores)
{
    if (cores->waits_plan) {
        cores->waits_plan = false;
        cores_schedule(cores, cores->now + cores->costs->wake_ns, CORES_EVENT_WRITER, NULL);
    }
}

static void plan_begin(struct cores *cores)
{
    const struct cores_costs *costs = cores->costs;

    if (cores->bars_done == cores->recorded->bar_count) {
        return;
    }
    cores->bar = &cores->recorded->bars[cores->bars_done];
    cores->state = CORES_PLANNING;
    tac_assert(cores->bar->job_count <= CORES_JOBS_MAX);
    for (uint32_t i = 0; i < cores->bar->job_count; i++) {
        cores->job_bytes[i] = cores->bar->jobs[i].bytes_planned;
    }
    tac_admission_order(cores->job_bytes, cores->bar->job_count, cores->order);
    coordinator_busy(cores, costs->plan_ns + costs->plan_table_ns * cores->bar->tables);
}

static void plan_made(struct cores *cores)
{
    cores->state = CORES_PLANNED;
    cores->consumed = cores->credit = 0;
    cores->jobs_seated = cores->jobs_done = 0;
    writer_notify(cores);
}

static void bar_end_begin(struct cores *cores)
{
    if (cores->now < cores->checkpoint_done_ns) {
        cores->checkpoint_waits++;
        cores->state = CORES_CHECKPOINT;
        coordinator_busy(cores, cores->checkpoint_done_ns - cores->now);
        return;
    }
    cores->state = CORES_COMMITTING;
    coordinator_busy(cores, cores->costs->commit_ns);
}

static void bar_ended(struct cores *cores)
{
    cores->bars_done++;
    if (cores->bars_done % cores->shape->checkpoint_interval_bars == 0) {
        cores->checkpoint_done_ns = cores->now + cores->costs->checkpoint_ns;
    }
    cores->step = 0;
    cores->is_end_wanted = false;
    writer_notify(cores);
    plan_begin(cores);
}

static void seats_take_back(struct cores *cores)
{
    for (uint32_t i = 0; i < cores->seat_count; i++) {
        struct cores_seat *seat = &cores->seats[i];

        if (seat->state == CORES_SEAT_DONE) {
            tac_assert(seat->outstanding == 0 && seat->writing == 0 && seat->mail == NULL);
            seat->state = CORES_SEAT_FREE;
            cores->pool_free += seat->allotment;
            cores->seats_busy--;
            cores->jobs_done++;
        }
    }
}

static void credit_grant(struct cores *cores)
{
    uint64_t bytes = cores->bar->bytes_planned;
    uint64_t granted = tac_pacing_granted(bytes, cores->step / TAC_PACING_STEPS_PER_BEAT,
                                          cores->shape->beats_per_bar, cores->shape->lag_beats);

    if (granted >= bytes || cores->is_end_wanted) {
        granted = UINT64_MAX;
    }
    if (granted == cores->credit) {
        return;
    }
    cores->credit = granted;
    for (uint32_t i = 0; i < cores->seat_count; i++) {
        if (cores->seats[i].state == CORES_SEAT_STALLED) {
            cores->seats[i].state = CORES_SEAT_QUEUED;
            cores_push(cores, TAC_STAGE_MERGE, &cores->seats[i]);
        }
    }
}

static bool job_seat(struct cores *cores)
{
    const struct model_job *job = &cores->bar->jobs[cores->order[cores->jobs_seated]];
    struct cores_seat      *seat = cores->seats;
    uint32_t                waiting, read_ahead;

    if (cores->seats_busy == cores->seat_count) {
        return false;
    }
    waiting = (uint32_t)tac_min_u64(cores->bar->job_count - cores->jobs_seated,
                                    cores->seat_count - cores->seats_busy);
    read_ahead =
        tac_admission_read_ahead(job->sources, cores->filter_blocks, cores->pool_free, waiting);
    cores->lacks_blocks = read_ahead == 0;
    if (read_ahead == 0) {
        tac_assert(cores->seats_busy > 0);
        return false;
    }
    while (seat->state != CORES_SEAT_FREE) {
        seat++;
    }
    seat->allotment = tac_seat_allotment(job->sources, read_ahead, cores->filter_blocks);
    cores->pool_free -= seat->allotment;
    cores->seats_busy++;
    cores->jobs_seated++;
    cores_seat_start(cores, seat, job, read_ahead);
    return true;
}

void cores_coordinator_turn(struct cores *cores)
{
    cores->is_coordinator_woken = false;
    if (cores->now < cores->coordinator_free_ns) {
        return; /* A wake-up from before it became busy; it will look when it is done. */
    }
    switch (cores->state) {
    case CORES_PLANNING:
        plan_made(cores);
        break;
    case CORES_CHECKPOINT:
        bar_end_begin(cores);
        return;
    case CORES_COMMITTING:
        bar_ended(cores);
        return;
    case CORES_PLANNED:
        break;
    }
    seats_take_back(cores);
    if (cores->jobs_done == cores->bar->job_count && cores->is_end_wanted) {
        bar_end_begin(cores);
        return;
    }
    credit_grant(cores);
    while (cores->jobs_seated < cores->bar->job_count && job_seat(cores)) {
    }
}

/* ---- writer --------------------------------------------------------------------------------- */

/* True: the writer may go on in its step. */
static bool step_is_free(struct cores *cores)
{
    uint32_t lag = cores->shape->lag_beats;
    uint64_t required;

    if (cores->step / TAC_PACING_STEPS_PER_BEAT < lag + TAC_PACING_PLAN_BEATS) {
        return true;
    }
    if (cores->state == CORES_PLANNING) {
        cores->waits_plan = true;
        return false;
    }
    required = tac_pacing_required(cores->bar->bytes_planned, cores->step,
                                   cores->shape->beats_per_bar, lag);
    cores->target = cores->consumed < required ? required : 0;
    return cores->target == 0;
}

void cores_writer_turn(struct cores *cores)
{
    uint64_t steps = (uint64_t)cores->shape->beats_per_bar * TAC_PACING_STEPS_PER_BEAT;
    double   step_ns = cores->costs->put_ns * (double)cores->recorded->bars[0].bytes_flushed /
                     RECORDED_RECORD_BYTES / (double)steps;

    cores->step += cores->is_filling;
    cores->is_filling = false;
    while (cores->step < steps) {
        cores_coordinator_wake(cores);
        if (!step_is_free(cores)) {
            return;
        }
        if (step_ns >= 1) {
            cores->is_filling = true;
            cores_schedule(cores, cores->now + (uint64_t)step_ns, CORES_EVENT_WRITER, NULL);
            return;
        }
        cores->step++;
    }
    cores->is_end_wanted = cores->waits_plan = true;
    cores_coordinator_wake(cores);
}

void cores_clock_start(struct cores *cores)
{
    plan_begin(cores);
    cores_schedule(cores, 0, CORES_EVENT_WRITER, NULL);
}

/* ---- figures -------------------------------------------------------------------------------- */

void cores_figures(const struct cores *cores, struct cores_figures *ret_figures)
{
    double ns = (double)cores->now;
    double flushed = 0;

    for (uint32_t i = 0; i < cores->recorded->bar_count; i++) {
        flushed += (double)cores->recorded->bars[i].bytes_flushed;
    }
    *ret_figures = (struct cores_figures){
        .ns = cores->now,
        .bar_ms = ns / 1e6 / cores->recorded->bar_count,
        .busy = cores->busy_ns / ns,
        .merging = cores->merging_ns / ns,
        .records_per_s = flushed / RECORDED_RECORD_BYTES / ns * 1e9,
        .checkpoint_waits = cores->checkpoint_waits,
    };
    for (uint32_t i = 0; i < CORES_IDLE_COUNT; i++) {
        ret_figures->idle[i] = cores->idle_ns[i] / ns;
    }
}
