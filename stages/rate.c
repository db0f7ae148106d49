/* SPDX-License-Identifier: Apache-2.0 */
/* rate -- see rate.h. */
#include "stages/rate.h"

#include <time.h>

#include "base/clock.h"
#include "base/units.h"
#include "queues/atomics.h"

static uint64_t (*clock_replaced)(uint64_t sleep_until_ns);

void tac_rate_clock_replace(uint64_t (*now_ns)(uint64_t sleep_until_ns))
{
    clock_replaced = now_ns;
}

bool tac_rate_clock_is_replaced(void) { return clock_replaced != NULL; }

static uint64_t now_ns(void)
{
    return clock_replaced != NULL ? clock_replaced(0) : tac_clock_now_ns();
}

void tac_rate_create(struct tac_rate *rate, uint64_t bytes_per_s)
{
    pthread_condattr_t attributes;

    *rate = (struct tac_rate){.bytes_per_s = bytes_per_s};
    pthread_mutex_init(&rate->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&rate->changed, &attributes);
    pthread_condattr_destroy(&attributes);
}

void tac_rate_destroy(struct tac_rate *rate)
{
    pthread_cond_destroy(&rate->changed);
    pthread_mutex_destroy(&rate->lock);
}

void tac_rate_change(struct tac_rate *rate, uint64_t bytes_per_s)
{
    pthread_mutex_lock(&rate->lock);
    tac_atomic_exchange_u64(&rate->bytes_per_s, bytes_per_s);
    rate->paid_ns = 0;
    pthread_cond_signal(&rate->changed);
    pthread_mutex_unlock(&rate->lock);
}

bool tac_rate_is_open(struct tac_rate *rate)
{
    bool is_open;

    if (tac_atomic_load_relaxed_u64(&rate->bytes_per_s) == 0) {
        return true;
    }
    pthread_mutex_lock(&rate->lock);
    is_open = rate->paid_ns < now_ns() + TAC_RATE_BURST_NS;
    rate->closed_count += !is_open;
    if (!is_open && !rate->is_short) {
        rate->is_short = true;
        pthread_cond_signal(&rate->changed);
    }
    pthread_mutex_unlock(&rate->lock);
    return is_open;
}

void tac_rate_take(struct tac_rate *rate, uint64_t bytes)
{
    uint64_t bytes_per_s;

    if (tac_atomic_load_relaxed_u64(&rate->bytes_per_s) == 0) {
        return;
    }
    pthread_mutex_lock(&rate->lock);
    bytes_per_s = tac_atomic_load_relaxed_u64(&rate->bytes_per_s);
    if (bytes_per_s != 0) {
        rate->paid_ns =
            tac_max_u64(rate->paid_ns, now_ns()) + tac_div_ceil(bytes * TAC_SECOND_NS, bytes_per_s);
    }
    pthread_mutex_unlock(&rate->lock);
}

/* ---- waiting -------------------------------------------------------------------------------- */

/* With the lock. */
static uint64_t open_ns(const struct tac_rate *rate)
{
    return tac_subtract_floor_zero(rate->paid_ns, TAC_RATE_BURST_NS) + 1;
}

uint64_t tac_rate_closed_count(struct tac_rate *rate, uint64_t *ret_open_ns)
{
    uint64_t count;

    pthread_mutex_lock(&rate->lock);
    count = rate->closed_count;
    *ret_open_ns = open_ns(rate);
    pthread_mutex_unlock(&rate->lock);
    return count;
}

/* With the lock, which it gives away; a change of the rate may end it, too. */
static void sleep_until_open(struct tac_rate *rate)
{
    uint64_t        open = open_ns(rate);
    struct timespec until = {.tv_sec = (time_t)(open / TAC_SECOND_NS),
                             .tv_nsec = (long)(open % TAC_SECOND_NS)};

    if (clock_replaced != NULL) {
        (void)clock_replaced(open);
    } else {
        (void)pthread_cond_timedwait(&rate->changed, &rate->lock, &until);
    }
}

bool tac_rate_sleep(struct tac_rate *rate, uint64_t before)
{
    bool was_closed;

    pthread_mutex_lock(&rate->lock);
    was_closed = rate->closed_count != before;
    while (was_closed && now_ns() < open_ns(rate)) {
        sleep_until_open(rate);
    }
    pthread_mutex_unlock(&rate->lock);
    return was_closed;
}

bool tac_rate_wait(struct tac_rate *rate)
{
    bool has_opened = false;

    pthread_mutex_lock(&rate->lock);
    while (!rate->should_stop && !has_opened) {
        if (!rate->is_short) {
            pthread_cond_wait(&rate->changed, &rate->lock);
        } else if (now_ns() < open_ns(rate)) {
            sleep_until_open(rate);
        } else {
            rate->is_short = false;
            has_opened = true;
        }
    }
    pthread_mutex_unlock(&rate->lock);
    return has_opened;
}

void tac_rate_stop(struct tac_rate *rate)
{
    pthread_mutex_lock(&rate->lock);
    rate->should_stop = true;
    pthread_cond_signal(&rate->changed);
    pthread_mutex_unlock(&rate->lock);
}
