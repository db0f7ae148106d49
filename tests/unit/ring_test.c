/* SPDX-License-Identifier: Apache-2.0 */
/* The ring in one thread: capacity, order, wrap-around, and what others see of a thread that is
 * descheduled in the middle of a push or a pop. Real threads: tests/stress/ring_stress_test.c. */
#include "queues/ring.h"

#include <string.h>
#include <unistd.h>

#include "base/prng.h"
#include "tests/lib/tap.h"

/* A push or a pop that spins ends here. */
#define SECONDS_MAX 60

static uint8_t items[4096]; /* What the rings carry: pointers into this */

static struct tac_ring ring_create(uint32_t capacity)
{
    struct tac_ring ring;

    if (!tac_ring_create(&ring, capacity)) {
        tap_bail("out of memory");
    }
    return ring;
}

/* The index of the next item, or -1 when the pop is refused. */
static long ring_pop(struct tac_ring *ring)
{
    void *item;

    return tac_ring_try_pop_mc(ring, &item) ? (uint8_t *)item - items : -1;
}

static void test_capacity(void)
{
    bool exact = true;

    for (uint32_t capacity = 2; capacity <= 4096; capacity *= 2) {
        struct tac_ring ring = ring_create(capacity);

        for (uint32_t i = 0; i < capacity; i++) {
            exact = exact && tac_ring_count(&ring) == i && tac_ring_try_push_mp(&ring, &items[i]);
        }
        exact = exact && !tac_ring_try_push_mp(&ring, &items[0]);
        exact = exact && tac_ring_count(&ring) == capacity;
        for (uint32_t i = 0; i < capacity; i++) {
            exact = exact && ring_pop(&ring) == (long)i;
        }
        exact = exact && ring_pop(&ring) == -1;
        tac_ring_destroy(&ring);
    }
    tap_ok(exact, "a ring of n holds n items, refuses one more, and gives them back in order");
    tap_ok(tac_ring_memory_bytes(2) == 64 && tac_ring_memory_bytes(256) == 4096,
           "the memory of a ring is 16 bytes a slot in whole cache lines");
}

static void test_refused_pop(void)
{
    struct tac_ring ring = ring_create(2);
    void           *item = &items[7];

    tap_ok(!tac_ring_try_pop_mc(&ring, &item) && item == &items[7],
           "a refused pop leaves its result as it was");
    tac_ring_destroy(&ring);
}

/* Random pushes and pops against two counters: the items are numbered, so the next one is known. */
static bool random_walk(struct tac_ring *ring, struct tac_prng *prng, uint32_t steps)
{
    uint64_t pushed = 0;
    uint64_t popped = 0;

    for (uint32_t i = 0; i < steps; i++) {
        if (tac_prng_below(prng, 2) == 0) {
            bool fits = pushed - popped < ring->capacity;

            if (tac_ring_try_push_mp(ring, &items[pushed % sizeof items]) != fits) {
                return false;
            }
            pushed += fits;
        } else {
            long wanted = pushed == popped ? -1 : (long)(popped % sizeof items);

            if (ring_pop(ring) != wanted) {
                return false;
            }
            popped += wanted >= 0;
        }
        if (tac_ring_count(ring) != pushed - popped) {
            return false;
        }
    }
    while (popped < pushed) {
        if (ring_pop(ring) != (long)(popped++ % sizeof items)) {
            return false;
        }
    }
    return true;
}

static void test_random(uint64_t seed)
{
    struct tac_prng prng = {seed};
    bool            right = true;

    for (uint32_t capacity = 2; capacity <= 64; capacity *= 2) {
        struct tac_ring ring = ring_create(capacity);

        right = right && random_walk(&ring, &prng, 20000);
        tac_ring_destroy(&ring);
    }
    tap_ok(right, "random pushes and pops agree with a queue, many laps round");
}

static void test_past_32_bits(void)
{
    struct tac_prng prng = {1};
    struct tac_ring ring = ring_create(4);
    uint64_t        start = UINT32_MAX - 7;

    ring.head = start;
    ring.tail = start;
    for (uint32_t i = 0; i < 4; i++) {
        ring.slots[(start + i) % 4].turn = start + i;
    }
    tap_ok(random_walk(&ring, &prng, 1000) && ring.tail > UINT32_MAX, "positions go on past 2^32");
    tac_ring_destroy(&ring);
}

/* A push that has claimed its position and gets no further, as when its thread is descheduled. */
static void test_push_descheduled(void)
{
    struct tac_ring ring = ring_create(4);
    uint64_t        position = ring.tail++;
    bool            others_pushed = true;

    tap_ok(ring_pop(&ring) == -1, "a pop meets a push that is under way: refused");
    for (uint32_t i = 1; i < 4; i++) {
        others_pushed = others_pushed && tac_ring_try_push_mp(&ring, &items[i]);
    }
    tap_ok(others_pushed, "other pushes go on behind a push that is under way");
    tap_ok(!tac_ring_try_push_mp(&ring, &items[9]),
           "a push that comes round to one under way is refused and does not wait for it");
    tap_ok(ring_pop(&ring) == -1, "the items behind a push under way are hidden");

    ring.slots[position].item = &items[0];
    ring.slots[position].turn = position + 1;
    tap_ok(ring_pop(&ring) == 0 && ring_pop(&ring) == 1 && ring_pop(&ring) == 2 &&
               ring_pop(&ring) == 3 && ring_pop(&ring) == -1,
           "when it is complete all of them come, in order");
    tac_ring_destroy(&ring);
}

/* The same for a pop. */
static void test_pop_descheduled(void)
{
    struct tac_ring ring = ring_create(2);
    uint64_t        position;
    bool            pushed;

    pushed = tac_ring_try_push_mp(&ring, &items[0]) && tac_ring_try_push_mp(&ring, &items[1]);
    position = ring.head++;
    tap_ok(pushed && ring_pop(&ring) == 1, "other pops go on behind a pop that is under way");
    tap_ok(!tac_ring_try_push_mp(&ring, &items[2]),
           "a push that comes round to a pop under way is refused and does not wait for it");
    tap_ok(ring_pop(&ring) == -1,
           "a pop that comes round to a pop under way is refused and does not wait for it");

    ring.slots[position].item = NULL;
    ring.slots[position].turn = position + ring.capacity;
    pushed = tac_ring_try_push_mp(&ring, &items[2]) && tac_ring_try_push_mp(&ring, &items[3]);
    tap_ok(pushed && ring_pop(&ring) == 2 && ring_pop(&ring) == 3,
           "when it is complete both slots can be used again");
    tac_ring_destroy(&ring);
}

int main(void)
{
    tap_plan(0);
    alarm(SECONDS_MAX);
    test_capacity();
    test_refused_pop();
    test_random(tap_seed());
    test_past_32_bits();
    test_push_descheduled();
    test_pop_descheduled();
    return tap_done();
}
