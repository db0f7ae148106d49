/* SPDX-License-Identifier: Apache-2.0 */
/* profile -- where a worker's time goes: what it did for each stage, and what it was idle for.
 *
 * A worker's time is cut into laps, one behind the other without a gap: a step that did something
 * ends a lap of its stage, waking up ends an idle one. So the clock is read once a step or sleep,
 * what lies between (looks that found nothing, the loop) is in the lap that follows, and busy and
 * idle laps of a thread add up to its time. Nothing that is decided depends on a profile.
 *
 * Owner  the worker, alone: nothing is shared while it counts. Anybody may read the words, which
 *        are atomics with one writer, relaxed but around a sleep (note: told, in profile.c). A
 *        store without threads has no idle laps: when nobody steps it, time is the caller's. */
#ifndef TACTUS_STAGES_PROFILE_H
#define TACTUS_STAGES_PROFILE_H

#include "base/units.h"
#include "tactus.h"

/* What an idle thread, or a seat, waits for. */
enum tac_wait {
    TAC_WAIT_WORK,   /* A thread: something to do. A seat: a worker, if anything */
    TAC_WAIT_DEVICE, /* Requests of its own that are under way */
    TAC_WAIT_CREDIT,
    TAC_WAIT_READ,  /* A block to be read or gathered */
    TAC_WAIT_WRITE, /* A block to be written, to be used again; the last writes of a job */
    TAC_WAIT_COUNT,
};

struct tac_stage_work {
    uint64_t bytes, items, busy_ns;
};

struct tac_profile {
    uint64_t              lap_ns; /* When the lap that runs began; the worker's alone */
    struct tac_stage_work stages[TACTUS_STAGES];
    uint64_t              gathered_bytes, gather_ns;
    uint64_t              idle_ns[TAC_WAIT_COUNT]; /* note: idle-word, in profile.c */
    uint64_t              told_ns;                 /* Readers': of a sleep, up to when */
} TAC_CACHE_ALIGNED;

/* The first lap begins now. */
void tac_profile_begin(struct tac_profile *profile);
/* A step of the stage has done something: ends its lap, and returns how long it was. */
uint64_t tac_profile_lap(struct tac_profile *profile, uint32_t stage);
/* Something is done: a request, a turn. */
void tac_profile_count(struct tac_profile *profile, uint32_t stage, uint64_t bytes);
/* A gather is done; ends its lap, of the read stage. */
void tac_profile_count_gather(struct tac_profile *profile, uint64_t bytes);
/* Around a sleep: the lap that runs is an idle one. */
void tac_profile_park(struct tac_profile *profile, enum tac_wait wait);
void tac_profile_unpark(struct tac_profile *profile, enum tac_wait wait);

/* Adds the profile of a worker at home in `home`. Any thread; a sleep that lasts is in it up to
 * now. */
void tac_profile_report(struct tac_profile *profile, uint32_t home,
                        struct tactus_stage_stats stages[TACTUS_STAGES]);
/* Adds one stage's to another's. */
void tac_stage_stats_add(struct tactus_stage_stats *to, const struct tactus_stage_stats *from);

#endif
