/* SPDX-License-Identifier: Apache-2.0 */
/* pacing -- how much of a plan's work may be done, and must be done, by which beat. Pure.
 *
 * A plan covers `beats` beats, counted 0 … beats - 1 (a bar, or half a bar with runs of 1). It is
 * made in the first two; its bytes are then granted in equal parts, so that all of it is granted
 * `lag` beats before the end: each beat's quota is what remains over the beats that remain. A
 * writer in beat b waits until what was granted by beat b - lag has been consumed. So no wait, the
 * one at the plan's end included, covers more than one beat's quota. */
#ifndef TACTUS_PIPELINE_PACING_H
#define TACTUS_PIPELINE_PACING_H

#include <stdint.h>

#include "base/assert.h"
#include "base/units.h"

#define TAC_PACING_PLAN_BEATS 2

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

/* Bytes that must have been consumed before a write in beat `beat` goes on. */
static inline uint64_t tac_pacing_required(uint64_t bytes, uint64_t beat, uint64_t beats,
                                           uint64_t lag)
{
    return beat < lag ? 0 : tac_pacing_granted(bytes, beat - lag, beats, lag);
}

/* The most that one wait can cover: one beat's quota. */
static inline uint64_t tac_pacing_wait_bytes(uint64_t bytes, uint64_t beats, uint64_t lag)
{
    return tac_div_ceil(bytes, tac_pacing_quota_beats(beats, lag));
}

#endif
