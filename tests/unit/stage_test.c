/* SPDX-License-Identifier: Apache-2.0 */
/* What a delivery does to the actor that it is for, in each of its states (note: actor-wake); the
 * interleavings of real threads are tests/stress/store_stress_test.c's. And what a thread that
 * found nothing to do is said to wait for. */
#include "stages/stage.h"

#include "base/units.h"
#include "stages/seat.h"
#include "tests/lib/tap.h"

/* The actor's state after a delivery that finds it in `wake`; not IDLE, which needs a seat. */
static uint32_t wake_after(uint32_t wake)
{
    static struct tac_stages stages;
    struct tac_actor         actor = {.wake = wake};

    tac_actor_wake(&stages, &actor);
    return actor.wake;
}

/* Of a merge thread, when so many of them sleep and the seats wait for these. */
static enum tac_wait merge_wait(uint32_t threads, enum tac_wait first, enum tac_wait second,
                                enum tac_wait third)
{
    static struct tac_seat seats[3];
    struct tac_parker      parker = {.fd = -1};
    struct tac_parker     *parkers[3] = {&parker, &parker, &parker};
    struct tac_event_count events;
    struct tac_stages      stages = {.seats = seats, .seat_count = TAC_ARRAY_COUNT(seats)};
    struct tac_worker      worker = {.stages = &stages, .home = TAC_STAGE_MERGE};

    tac_event_count_create(&events, parkers, TAC_ARRAY_COUNT(parkers));
    for (uint32_t i = 0; i < threads; i++) {
        tac_event_count_prepare(&events, i);
    }
    stages.events[TAC_STAGE_MERGE] = &events;
    seats[0].waits_for = first;
    seats[1].waits_for = second;
    seats[2].waits_for = third;
    return tac_worker_wait(&worker);
}

static enum tac_wait io_wait(enum tac_stage_id home, uint32_t in_flight)
{
    struct tac_io_queue io = {.in_flight = in_flight, .depth = 4};
    struct tac_worker   worker = {.home = home, .io = &io};

    return tac_worker_wait(&worker);
}

static void test_waits(void)
{
    const enum tac_wait none = TAC_WAIT_WORK, credit = TAC_WAIT_CREDIT;
    const enum tac_wait read = TAC_WAIT_READ, write = TAC_WAIT_WRITE;

    tap_ok(merge_wait(1, none, none, none) == none, "no seat waits: there are too few jobs");
    tap_ok(merge_wait(1, none, read, none) == read && merge_wait(1, write, none, none) == write,
           "a merge thread waits for what its seats wait for");
    tap_ok(merge_wait(1, read, write, read) == read && merge_wait(1, write, read, write) == write &&
               merge_wait(1, none, write, read) == read,
           "for what most of them wait for");
    tap_ok(merge_wait(1, read, read, credit) == credit &&
               merge_wait(1, credit, none, write) == credit,
           "but for credit if any does");
    tap_ok(merge_wait(2, read, read, none) == read && merge_wait(3, read, read, none) == none &&
               merge_wait(3, read, credit, read) == credit,
           "a thread more than seats that wait has nothing to do");
    tap_ok(io_wait(TAC_STAGE_READ, 0) == none && io_wait(TAC_STAGE_WRITE, 0) == none,
           "who reads or writes has nothing to do if nothing is under way");
    tap_ok(io_wait(TAC_STAGE_READ, 1) == TAC_WAIT_DEVICE &&
               io_wait(TAC_STAGE_WRITE, 4) == TAC_WAIT_DEVICE,
           "else it waits for the device");
}

int main(void)
{
    tap_plan(0);
    test_waits();
    tap_ok(wake_after(TAC_WAKE_RUNNING) == TAC_WAKE_NOTIFIED,
           "who runs while something is delivered has to look again");
    tap_ok(wake_after(TAC_WAKE_NOTIFIED) == TAC_WAKE_NOTIFIED, "once for several deliveries");
    tap_ok(wake_after(TAC_WAKE_QUEUED) == TAC_WAKE_QUEUED, "who is to run anyway is left alone");
    tap_ok(wake_after(TAC_WAKE_OVER) == TAC_WAKE_OVER, "so is who has ended");
    return tap_done();
}
