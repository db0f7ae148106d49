/* SPDX-License-Identifier: Apache-2.0 */
/* pacing's arithmetic, over all lags and random plans: what a writer waits for has been granted long
 * enough, comes in equal parts, and is the whole plan in its last step. */
#include "pipeline/pacing.h"
#include "base/prng.h"
#include "tests/lib/tap.h"

#define PLANS 2000
#define BEATS_MIN 4
#define BEATS_MAX 1024
#define LAG_MAX 8
#define BYTES_BITS_MAX 63

struct plan {
    uint64_t bytes, beats, lag;
};

static struct plan plan_draw(struct tac_prng *prng)
{
    struct plan plan = {.lag = 1 + tac_prng_below(prng, LAG_MAX)};
    uint64_t    beats_min = tac_max_u64(BEATS_MIN, plan.lag + TAC_PACING_PLAN_BEATS + 1);

    plan.beats = beats_min + tac_prng_below(prng, BEATS_MAX - beats_min + 1);
    plan.bytes = tac_prng_below(prng, (uint64_t)1 << tac_prng_below(prng, BYTES_BITS_MAX + 1));
    return plan;
}

static uint64_t required(const struct plan *plan, uint64_t step)
{
    return tac_pacing_required(plan->bytes, step, plan->beats, plan->lag);
}

static bool is_granted_before(const struct plan *plan, uint64_t step)
{
    uint64_t beat = step / TAC_PACING_STEPS_PER_BEAT;
    uint64_t granted = beat < plan->lag ? 0
                                        : tac_pacing_granted(plan->bytes, beat - plan->lag,
                                                             plan->beats, plan->lag);

    return required(plan, step) <= granted &&
           (step % TAC_PACING_STEPS_PER_BEAT != TAC_PACING_STEPS_PER_BEAT - 1 ||
            required(plan, step) == granted);
}

/* A part is a quarter of a beat's quota, but for what rounding adds. */
static bool is_even(const struct plan *plan, uint64_t step)
{
    uint64_t parts = tac_pacing_quota_beats(plan->beats, plan->lag) * TAC_PACING_STEPS_PER_BEAT;
    uint64_t before = step == 0 ? 0 : required(plan, step - 1);

    return required(plan, step) >= before &&
           required(plan, step) - before <= tac_div_ceil(plan->bytes, parts);
}

int main(void)
{
    struct tac_prng prng = {tap_seed()};
    bool            is_granted = true, is_in_parts = true, is_all = true, is_bound = true;

    tap_plan(0);
    for (uint32_t i = 0; i < PLANS; i++) {
        struct plan plan = plan_draw(&prng);
        uint64_t    steps = plan.beats * TAC_PACING_STEPS_PER_BEAT;

        for (uint64_t step = 0; step < steps; step++) {
            is_granted = is_granted && is_granted_before(&plan, step);
            is_in_parts = is_in_parts && is_even(&plan, step);
        }
        is_all = is_all && required(&plan, steps - 1) == plan.bytes &&
                 tac_pacing_granted(plan.bytes, plan.beats - 1 - plan.lag, plan.beats, plan.lag) ==
                     plan.bytes;
        is_bound = is_bound && tac_pacing_wait_bytes(plan.bytes, plan.beats, plan.lag) *
                                       tac_pacing_quota_beats(plan.beats, plan.lag) >=
                                   plan.bytes;
    }
    tap_ok(is_granted,
           "a step asks for no more than was granted the lag before, a beat's last for all");
    tap_ok(is_in_parts, "each step asks for an equal part");
    tap_ok(is_all, "the last step asks for all, which is granted by then");
    tap_ok(is_bound, "the bound is a beat's quota");
    return tap_done();
}
