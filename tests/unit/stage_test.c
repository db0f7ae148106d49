/* SPDX-License-Identifier: Apache-2.0 */
/* What a delivery does to the actor that it is for, in each of its states (note: actor-wake). The
 * interleavings of real threads are tests/stress/store_stress_test.c's. */
#include "stages/stage.h"

#include "tests/lib/tap.h"

/* The actor's state after a delivery that finds it in `wake`; not IDLE, which needs a seat. */
static uint32_t wake_after(uint32_t wake)
{
    static struct tac_stages stages;
    struct tac_actor         actor = {.wake = wake};

    tac_actor_wake(&stages, &actor);
    return actor.wake;
}

int main(void)
{
    tap_plan(0);
    tap_ok(wake_after(TAC_WAKE_RUNNING) == TAC_WAKE_NOTIFIED,
           "who runs while something is delivered has to look again");
    tap_ok(wake_after(TAC_WAKE_NOTIFIED) == TAC_WAKE_NOTIFIED, "once for several deliveries");
    tap_ok(wake_after(TAC_WAKE_QUEUED) == TAC_WAKE_QUEUED, "who is to run anyway is left alone");
    tap_ok(wake_after(TAC_WAKE_OVER) == TAC_WAKE_OVER, "so is who has ended");
    return tap_done();
}
