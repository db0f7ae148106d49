/* SPDX-License-Identifier: Apache-2.0 */
/* A bar's end empties a memtable: not before the last reader of a view that has it is gone. */
#include "pipeline/store.h"

#include "queues/atomics.h"
#include "tests/lib/small_world.h"
#include "tests/lib/tap.h"

#define STEPS 1000

static struct small_world world;

static uint64_t plans_ended_after_steps(struct tactus *store)
{
    for (uint32_t i = 0; i < STEPS; i++) {
        (void)tactus_step(store);
    }
    return tac_atomic_load_relaxed_u64(&store->clock.plans_ended);
}

int main(void)
{
    struct tactus         *store;
    struct tac_error       error;
    struct tac_read_ticket ticket;
    uint64_t               ended;

    tap_plan(0);
    small_create(&world, 2);
    if (small_open(&world, &store, &error) != TACTUS_OK) {
        tap_bail("%s", error.message);
    }
    ended = plans_ended_after_steps(store);
    ticket = tac_read_side_enter(&store->read_side);
    tac_atomic_exchange_u64(&store->clock.plans_wanted, ended + 1);
    tap_ok(plans_ended_after_steps(store) == ended, "a bar does not end under a reader");
    tac_read_side_leave(&store->read_side, ticket);
    tap_ok(plans_ended_after_steps(store) == ended + 1, "it does when the reader has left");
    tactus_abandon(store);
    small_destroy(&world);
    return tap_done();
}
