/* SPDX-License-Identifier: Apache-2.0 */
/* Parking, step by step: who is woken, who is not, and what wakes besides notify. Wherever a test
 * says "returns", a lost wake-up would hang it until the alarm. The interleavings are checked by
 * tests/model/parking.pml and tests/stress/ring_stress_test.c. */
#include "queues/event_count.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "queues/atomics.h"
#include "tests/lib/tap.h"

#define SECONDS_MAX 60
#define SLOTS 200

static struct tac_parker      parkers[SLOTS];
static struct tac_parker     *parker_pointers[SLOTS];
static struct tac_event_count ec;

static bool has_token(uint32_t slot)
{
    struct pollfd poll_fd = {.fd = parkers[slot].fd, .events = POLLIN};

    return poll(&poll_fd, 1, 0) == 1;
}

static bool is_parked(uint32_t slot)
{
    return (tac_atomic_load_acquire_u64(&ec.parked[slot / 64]) >> (slot % 64) & 1) != 0;
}

/* ---- one thread ----------------------------------------------------------------------------- */

static void test_nobody(void)
{
    struct tac_event_count empty;

    tac_event_count_create(&empty, NULL, 0);
    tap_ok(tac_event_count_notify(&empty, 1) == 0 && tac_event_count_notify_all(&empty) == 0 &&
               tac_event_count_slot_acquire(&empty) == TAC_EVENT_COUNT_NO_SLOT,
           "an event count without slots wakes nobody and lends none");
    tac_event_count_destroy(&empty);
    tap_ok(tac_event_count_notify(&ec, 1) == 0 && tac_event_count_notify_all(&ec) == 0,
           "where nobody is parked nobody is woken");
}

static void test_prepare(void)
{
    tac_event_count_prepare(&ec, 5);
    tac_event_count_cancel(&ec, 5);
    tap_ok(tac_event_count_notify(&ec, 1) == 0 && !has_token(5),
           "who has cancelled is not woken, and takes no wake-up from others");

    tac_event_count_prepare(&ec, 5);
    tap_ok(tac_event_count_notify(&ec, 1) == 1, "who has prepared is woken");
    tap_ok(tac_event_count_notify(&ec, 1) == 0, "but only once");
    tac_event_count_wait(&ec, 5);
    tap_ok(!is_parked(5) && !has_token(5), "a wait after the wake-up returns at once");
}

static void test_several(void)
{
    static const uint32_t slots[] = {0, 63, 64, 130, SLOTS - 1};
    bool                  woken[TAC_ARRAY_COUNT(slots)];
    uint32_t              count = 0;

    for (uint32_t i = 0; i < TAC_ARRAY_COUNT(slots); i++) {
        tac_event_count_prepare(&ec, slots[i]);
    }
    tap_ok(tac_event_count_notify(&ec, 3) == 3, "of five sleepers three are woken, as asked for");
    for (uint32_t i = 0; i < TAC_ARRAY_COUNT(slots); i++) {
        woken[i] = has_token(slots[i]);
        count += woken[i];
    }
    tap_ok(count == 3, "each of them has a token, the others have none");
    tap_ok(tac_event_count_notify_all(&ec) == 2, "notify_all wakes the rest, in every word");
    for (uint32_t i = 0; i < TAC_ARRAY_COUNT(slots); i++) {
        tac_event_count_wait(&ec, slots[i]);
    }
    tap_ok(tac_event_count_notify_all(&ec) == 0, "all five waits return");
}

static void test_pass_on(void)
{
    tac_event_count_prepare(&ec, 1);
    tac_event_count_prepare(&ec, 2);
    tap_ok(tac_event_count_notify(&ec, 1) == 1 && has_token(1) && !has_token(2),
           "one of two sleepers is woken");
    tac_event_count_cancel(&ec, 1);
    tap_ok(has_token(2), "who is woken but cancels passes the wake-up on");
    tac_event_count_wait(&ec, 2);

    tac_event_count_prepare(&ec, 1);
    tac_event_count_wait(&ec, 1);
    tap_ok(!is_parked(1) && !has_token(1),
           "the token left over costs one return for nothing and is gone");
}

static void test_other_writers(void)
{
    uint64_t token = 1;

    tac_event_count_prepare(&ec, 3);
    if (write(parkers[3].fd, &token, sizeof token) != sizeof token) {
        tap_bail("cannot write to an eventfd: %s", strerror(errno));
    }
    tac_event_count_wait(&ec, 3);
    tap_ok(!is_parked(3),
           "a write to the eventfd by somebody else ends the wait and clears the bit");
    tap_ok(tac_event_count_notify(&ec, 1) == 0, "and the thread counts as awake");
}

static void test_no_descriptors(void)
{
    struct rlimit     old, none;
    struct tac_parker parker = {-1};
    struct tac_error  error = {0};
    int               rv;

    getrlimit(RLIMIT_NOFILE, &old);
    none = old;
    none.rlim_cur = 0;
    setrlimit(RLIMIT_NOFILE, &none);
    rv = tac_parker_create(&parker, &error);
    setrlimit(RLIMIT_NOFILE, &old);
    tap_ok(rv == TACTUS_EIO && strstr(error.message, "open files") != NULL && parker.fd == -1,
           "no file descriptor left: an error that says what to do");
}

/* ---- several threads ------------------------------------------------------------------------ */

static uint32_t signal_count;
static uint32_t has_returned;

static void on_signal(int number)
{
    (void)number;
    tac_atomic_fetch_add_u32(&signal_count, 1);
}

static void *sleeper_main(void *argument)
{
    uint32_t slot = *(uint32_t *)argument;

    tac_event_count_prepare(&ec, slot);
    tac_event_count_wait(&ec, slot);
    tac_atomic_store_release_u32(&has_returned, 1);
    return NULL;
}

static void test_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal}; /* No SA_RESTART: read gives EINTR. */
    uint32_t         slot = 4;
    pthread_t        thread;

    sigaction(SIGUSR1, &action, NULL);
    pthread_create(&thread, NULL, sleeper_main, &slot);
    while (!is_parked(slot)) {
        sched_yield();
    }
    for (uint32_t i = 1; i <= 20; i++) {
        pthread_kill(thread, SIGUSR1);
        while (tac_atomic_load_acquire_u32(&signal_count) < i) {
            sched_yield();
        }
    }
    tap_ok(is_parked(slot) && tac_atomic_load_acquire_u32(&has_returned) == 0,
           "20 signals do not end a wait");
    tap_ok(tac_event_count_notify(&ec, 1) == 1, "a notify does");
    pthread_join(thread, NULL);
    tap_ok(has_returned == 1 && !has_token(slot), "the wait has returned and took its token");
}

#define BORROWERS 4
#define BORROWED_SLOTS 3
#define ROUNDS 3000

static struct tac_event_count borrowed;
static uint32_t               borrower_of[BORROWED_SLOTS];
static uint32_t               clash_count, refused_count;

static void *borrower_main(void *argument)
{
    (void)argument;
    for (uint32_t i = 0; i < ROUNDS; i++) {
        uint32_t slot = tac_event_count_slot_acquire(&borrowed);

        if (slot == TAC_EVENT_COUNT_NO_SLOT) {
            tac_atomic_fetch_add_u32(&refused_count, 1);
            sched_yield();
            continue;
        }
        if (tac_atomic_fetch_add_u32(&borrower_of[slot], 1) != 0) {
            tac_atomic_fetch_add_u32(&clash_count, 1);
        }
        sched_yield();
        tac_atomic_fetch_add_u32(&borrower_of[slot], UINT32_MAX);
        tac_event_count_slot_release(&borrowed, slot);
    }
    return NULL;
}

static void test_borrowed_slots(void)
{
    pthread_t threads[BORROWERS];
    uint32_t  seen = 0;

    tac_event_count_create(&borrowed, parker_pointers, BORROWED_SLOTS);
    for (uint32_t i = 0; i < BORROWED_SLOTS; i++) {
        uint32_t slot = tac_event_count_slot_acquire(&borrowed);

        seen |= slot < BORROWED_SLOTS ? 1u << slot : 0;
    }
    tap_ok(seen == (1u << BORROWED_SLOTS) - 1, "each slot is lent to one thread");
    tap_ok(tac_event_count_slot_acquire(&borrowed) == TAC_EVENT_COUNT_NO_SLOT,
           "when all are lent the next is refused");
    tac_event_count_slot_release(&borrowed, 1);
    tap_ok(tac_event_count_slot_acquire(&borrowed) == 1, "a slot that came back is lent again");
    for (uint32_t i = 0; i < BORROWED_SLOTS; i++) {
        tac_event_count_slot_release(&borrowed, i);
    }

    for (uint32_t i = 0; i < BORROWERS; i++) {
        pthread_create(&threads[i], NULL, borrower_main, NULL);
    }
    for (uint32_t i = 0; i < BORROWERS; i++) {
        pthread_join(threads[i], NULL);
    }
    tap_ok(clash_count == 0, "four threads after three slots: never two on one");
    tap_diag("%u of %u refused", refused_count, BORROWERS * ROUNDS);
    tac_event_count_destroy(&borrowed);
}

int main(void)
{
    struct tac_error error = {0};

    tap_plan(0);
    alarm(SECONDS_MAX);
    for (uint32_t i = 0; i < SLOTS; i++) {
        if (tac_parker_create(&parkers[i], &error) != TACTUS_OK) {
            tap_bail("%s", error.message);
        }
        parker_pointers[i] = &parkers[i];
    }
    tac_event_count_create(&ec, parker_pointers, SLOTS);
    test_nobody();
    test_prepare();
    test_several();
    test_pass_on();
    test_other_writers();
    test_no_descriptors();
    test_signals();
    test_borrowed_slots();
    tac_event_count_destroy(&ec);
    for (uint32_t i = 0; i < SLOTS; i++) {
        tac_parker_destroy(&parkers[i]);
    }
    return tap_done();
}
