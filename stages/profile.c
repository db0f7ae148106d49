/* SPDX-License-Identifier: Apache-2.0 */
/* profile -- see profile.h.
 *
 * note: idle-word
 * A thread that sleeps cannot count, and may sleep for hours, so what a reader wants to know of it
 * must follow from one word that it left. Awake, the word is the sum of the idle laps. While one
 * runs it is the moment at which a single sleep as long as all of them would have begun, with
 * IDLE_LASTS set: the rest a reader takes from its clock. In both forms it is one word, so that a
 * reader never finds a lap twice or not at all.
 *
 * note: told
 * What a reader was told must not become less, yet a thread that wakes up may read the clock before
 * a reader does and leave its sum after that one has looked. So the reader first raises `told_ns`
 * to its time and then looks whether the word is still the same; the thread changes the word and
 * then looks at `told_ns`, and slept until then if that is later. Both are store, then look, with
 * read-modify-writes: one of the two sees the other. */
#include "stages/profile.h"

#include "base/assert.h"
#include "base/clock.h"
#include "queues/atomics.h"

#define IDLE_LASTS ((uint64_t)1 << 63) /* No clock of nanoseconds comes so far */

static void word_add(uint64_t *word, uint64_t more)
{
    tac_atomic_store_relaxed_u64(word, tac_atomic_load_relaxed_u64(word) + more);
}

/* Ends the lap that runs, and begins the next one. */
static uint64_t lap_end(struct tac_profile *profile)
{
    uint64_t now_ns = tac_max_u64(tac_clock_now_ns(), profile->lap_ns);
    uint64_t lap_ns = now_ns - profile->lap_ns;

    tac_assert(profile->lap_ns > 0);
    profile->lap_ns = now_ns;
    return lap_ns;
}

void tac_profile_begin(struct tac_profile *profile) { profile->lap_ns = tac_clock_now_ns(); }

uint64_t tac_profile_lap(struct tac_profile *profile, uint32_t stage)
{
    uint64_t lap_ns = lap_end(profile);

    tac_assert(stage < TACTUS_STAGES);
    word_add(&profile->stages[stage].busy_ns, lap_ns);
    return lap_ns;
}

void tac_profile_count(struct tac_profile *profile, uint32_t stage, uint64_t bytes)
{
    tac_assert(stage < TACTUS_STAGES);
    word_add(&profile->stages[stage].items, 1);
    word_add(&profile->stages[stage].bytes, bytes);
}

void tac_profile_count_gather(struct tac_profile *profile, uint64_t bytes)
{
    word_add(&profile->stages[TACTUS_STAGE_READ].items, 1);
    word_add(&profile->gathered_bytes, bytes);
    word_add(&profile->gather_ns, tac_profile_lap(profile, TACTUS_STAGE_READ));
}

void tac_profile_park(struct tac_profile *profile, enum tac_wait wait)
{
    uint64_t idle_ns = tac_atomic_load_relaxed_u64(&profile->idle_ns[wait]);

    tac_assert(idle_ns <= profile->lap_ns); /* The clock began before the store was opened. */
    tac_atomic_store_relaxed_u64(&profile->idle_ns[wait], (profile->lap_ns - idle_ns) | IDLE_LASTS);
}

void tac_profile_unpark(struct tac_profile *profile, enum tac_wait wait)
{
    uint64_t began_ns = tac_atomic_load_relaxed_u64(&profile->idle_ns[wait]) & ~IDLE_LASTS;
    uint64_t told_ns;

    (void)lap_end(profile);
    tac_atomic_exchange_u64(&profile->idle_ns[wait], profile->lap_ns - began_ns);
    told_ns = tac_atomic_fetch_add_u64(&profile->told_ns, 0); /* note: told */
    if (told_ns > profile->lap_ns) {
        profile->lap_ns = told_ns;
        tac_atomic_store_relaxed_u64(&profile->idle_ns[wait], told_ns - began_ns);
    }
}

/* Raises told_ns to now, and returns that. */
static uint64_t told_raise(struct tac_profile *profile)
{
    uint64_t now_ns = tac_clock_now_ns();
    uint64_t told_ns = tac_atomic_load_relaxed_u64(&profile->told_ns);

    /* Each further turn: another reader has raised it. */
    while (told_ns < now_ns &&
           !tac_atomic_compare_exchange_u64(&profile->told_ns, &told_ns, now_ns)) {
    }
    return now_ns;
}

static uint64_t idle_until_now(struct tac_profile *profile, enum tac_wait wait)
{
    uint64_t *word = &profile->idle_ns[wait];
    uint64_t  value = tac_atomic_load_relaxed_u64(word);

    for (;;) { /* Each further turn: the thread woke up or lay down again during the last one. */
        uint64_t before = value, now_ns;

        if ((value & IDLE_LASTS) == 0) {
            return value;
        }
        now_ns = told_raise(profile);
        value = tac_atomic_fetch_add_u64(word, 0); /* note: told */
        if (value == before) {
            return tac_subtract_floor_zero(now_ns, value & ~IDLE_LASTS);
        }
    }
}

void tac_profile_report(struct tac_profile *profile, uint32_t home,
                        struct tactus_stage_stats stages[TACTUS_STAGES])
{
    struct tactus_stage_stats *idle = &stages[home];
    uint64_t                   ns[TAC_WAIT_COUNT];

    tac_assert(home < TACTUS_STAGES);
    for (uint32_t i = 0; i < TACTUS_STAGES; i++) {
        const struct tac_stage_work *work = &profile->stages[i];

        stages[i].bytes += tac_atomic_load_relaxed_u64(&work->bytes);
        stages[i].items += tac_atomic_load_relaxed_u64(&work->items);
        stages[i].busy_ns += tac_atomic_load_relaxed_u64(&work->busy_ns);
    }
    stages[TACTUS_STAGE_READ].gathered_bytes +=
        tac_atomic_load_relaxed_u64(&profile->gathered_bytes);
    stages[TACTUS_STAGE_READ].gather_ns += tac_atomic_load_relaxed_u64(&profile->gather_ns);
    for (uint32_t i = 0; i < TAC_WAIT_COUNT; i++) {
        ns[i] = idle_until_now(profile, (enum tac_wait)i);
        idle->idle_ns += ns[i];
    }
    idle->wait_work_ns += ns[TAC_WAIT_WORK];
    idle->wait_device_ns += ns[TAC_WAIT_DEVICE];
    idle->wait_credit_ns += ns[TAC_WAIT_CREDIT];
    idle->wait_read_ns += ns[TAC_WAIT_READ];
    idle->wait_write_ns += ns[TAC_WAIT_WRITE];
}

void tac_stage_stats_add(struct tactus_stage_stats *to, const struct tactus_stage_stats *from)
{
    to->bytes += from->bytes;
    to->items += from->items;
    to->busy_ns += from->busy_ns;
    to->gathered_bytes += from->gathered_bytes;
    to->gather_ns += from->gather_ns;
    to->idle_ns += from->idle_ns;
    to->wait_work_ns += from->wait_work_ns;
    to->wait_device_ns += from->wait_device_ns;
    to->wait_credit_ns += from->wait_credit_ns;
    to->wait_read_ns += from->wait_read_ns;
    to->wait_write_ns += from->wait_write_ns;
}
