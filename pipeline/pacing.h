/* SPDX-License-Identifier: Apache-2.0 */
/* pacing -- how much of a plan's work may be done, and must be done, by which beat. Pure.
 *
 * A plan covers `beats` beats, counted 0 … beats - 1 (a bar, or half a bar with runs of 1). It is
 * made in the first two; its bytes are then granted in equal parts, so that all of it is granted
 * `lag` beats before the end: each beat's quota is what remains over the beats that remain. A
 * writer asks for it back `lag` beats later, in the steps, quarters, of a beat: at each it waits
 * until its part of what was granted by then has been consumed. So a wait covers a quarter of a
 * beat's quota, the one at the plan's end included, and only of a write that crosses more steps, or
 * of a beat that the host calls, more: a quota per beat. */
#ifndef TACTUS_PIPELINE_PACING_H
#define TACTUS_PIPELINE_PACING_H

#include <stdint.h>

#include "base/assert.h"
#include "base/units.h"

#define TAC_PACING_PLAN_BEATS 2
#define TAC_PACING_STEPS_PER_BEAT 4

/* Beats over which the quota is spread. */
static inline uint64_t tac_pacing_quota_beats(uint64_t beats, uint64_t lag)
{
    tac_assert(beats > lag + TAC_PACING_PLAN_BEATS);
    return beats - lag - TAC_PACING_PLAN_BEATS;
}

/* Bytes granted once beat `beat` has begun. */
static inline uint64_t tac_pacing_granted(uint64_t bytes, uint64_t beat, uint64_t beats,
                                          uint64_t lag)
{
    uint64_t parts = tac_pacing_quota_beats(beats, lag);
    uint64_t part;

    if (beat < TAC_PACING_PLAN_BEATS) {
        return 0;
    }
    part = tac_min_u64(beat - TAC_PACING_PLAN_BEATS + 1, parts);
    return (uint64_t)(((unsigned __int128)bytes * part + parts - 1) / parts);
}

/* Bytes that must have been consumed before a write in step `step` of the plan goes on: all of them
 * in the last. Never more than granted `lag` beats before. */
static inline uint64_t tac_pacing_required(uint64_t bytes, uint64_t step, uint64_t beats,
                                           uint64_t lag)
{
    uint64_t first = (TAC_PACING_PLAN_BEATS + lag) * TAC_PACING_STEPS_PER_BEAT;
    uint64_t parts = tac_pacing_quota_beats(beats, lag) * TAC_PACING_STEPS_PER_BEAT;
    uint64_t part;

    if (step < first) {
        return 0;
    }
    part = tac_min_u64(step - first + 1, parts);
    return (uint64_t)(((unsigned __int128)bytes * part + parts - 1) / parts);
}

/* One beat's quota: the most that one wait can cover, per beat that the write crosses. */
static inline uint64_t tac_pacing_wait_bytes(uint64_t bytes, uint64_t beats, uint64_t lag)
{
    return tac_div_ceil(bytes, tac_pacing_quota_beats(beats, lag));
}

#endif
