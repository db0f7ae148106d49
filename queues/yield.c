/* SPDX-License-Identifier: Apache-2.0 */
/* yield -- the interruptions of tac_yield_point (queues/atomics.h) in test builds. */
#include <sched.h>

#include "base/prng.h"
#include "queues/atomics.h"

/* One point in 16 gives the processor away, one in 8 waits up to 64 pauses: often enough that every
 * window of a few instructions is hit thousands of times in a second of a stress test. */
#define YIELD_ODDS 16
#define DELAY_ODDS 8
#define DELAY_PAUSES_MAX 64

static _Thread_local struct tac_prng yield_prng;

void tac_yield_seed(uint64_t seed) { yield_prng.state = seed; }

void tac_yield_now(void)
{
    uint64_t draw = tac_prng_next(&yield_prng);

    if (draw % YIELD_ODDS == 0) {
        sched_yield();
    } else if (draw % DELAY_ODDS == 1) {
        uint64_t pauses = tac_prng_below(&yield_prng, DELAY_PAUSES_MAX);

        for (uint64_t i = 0; i < pauses; i++) {
            tac_pause();
        }
    }
}
