/* SPDX-License-Identifier: Apache-2.0 */
/* clock -- monotonic time. What lands in a store's file never depends on it. */
#ifndef TACTUS_BASE_CLOCK_H
#define TACTUS_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

#define TAC_SECOND_NS 1000000000u

static inline uint64_t tac_clock_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * TAC_SECOND_NS + (uint64_t)now.tv_nsec;
}

#endif
