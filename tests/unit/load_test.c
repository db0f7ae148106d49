/* SPDX-License-Identifier: Apache-2.0 */
/* Many gets at once over a store built by hand, against its model: what they read side by side, and
 * what a read that goes wrong is for them. */
#include <string.h>

#include "reading/load.h"
#include "tests/lib/reading_world.h"
#include "tests/lib/tap.h"

#define LOOKUPS_MAX 100

/* Whether the lookup says what the model does. */
static bool lookup_is_right(const struct world *world, const struct tactus_lookup *lookup,
                            uint32_t number, bool between)
{
    static uint8_t   buffer[WORLD_VALUE_MAX];
    uint32_t         version = between ? 0 : world->model[number];
    struct tac_bytes expected;

    if (version == 0) {
        return lookup->code == TACTUS_ENOTFOUND && lookup->value.data == NULL;
    }
    expected = world_value(world, number, version, buffer);
    return lookup->code == TACTUS_OK && lookup->value.size == expected.size &&
           memcmp(lookup->value.data, expected.data, expected.size) == 0;
}

/* Looks up `count` keys at once: from `first` on, or drawn, some of them not there and some twice.
 * Returns how many were wrong; *ret_failed: how many failed. */
static uint32_t lookups_wrong(struct world *world, uint32_t count, bool is_random, uint32_t first,
                              uint32_t *ret_failed)
{
    static uint8_t       keys[LOOKUPS_MAX][TACTUS_KEY_SIZE_MAX];
    struct tactus_lookup lookups[LOOKUPS_MAX] = {0};
    uint32_t             numbers[LOOKUPS_MAX];
    bool                 between[LOOKUPS_MAX];
    struct tac_error     error;
    uint32_t             wrong = 0;
    int                  rv, expected = TACTUS_OK;

    for (uint32_t i = 0; i < count; i++) {
        struct tac_bytes key;

        numbers[i] =
            is_random ? (uint32_t)tac_prng_below(&world->prng, world->key_count) : first + i;
        between[i] = tac_prng_below(&world->prng, 8) == 0;
        key = world_key(world, numbers[i], between[i], keys[i]);
        lookups[i].key = key.data;
        lookups[i].key_size = key.size;
    }
    rv = tac_read_side_get_many(world->side, 0, lookups, count, &error);
    for (uint32_t i = 0; i < count; i++) {
        bool has_failed = lookups[i].code == TACTUS_EIO || lookups[i].code == TACTUS_ECORRUPT;
        struct tac_value_sink sink = {.frame = lookups[i].value.internal[0],
                                      .copy = lookups[i].value.internal[1]};

        wrong += !has_failed && !lookup_is_right(world, &lookups[i], numbers[i], between[i]);
        expected = has_failed && expected == TACTUS_OK ? lookups[i].code : expected;
        *ret_failed += has_failed;
        tac_value_sink_release(&sink);
    }
    return wrong + (rv != expected);
}

/* All keys in order, and as many drawn. */
static uint32_t many_wrong(struct world *world, uint32_t *ret_failed)
{
    uint32_t wrong = 0, count;

    for (uint32_t first = 0; first < world->key_count; first += count) {
        count = 1 + (uint32_t)tac_prng_below(&world->prng,
                                             tac_min_u64(LOOKUPS_MAX, world->key_count - first));
        wrong += lookups_wrong(world, count, false, first, ret_failed);
        wrong += lookups_wrong(world, count, true, 0, ret_failed);
    }
    return wrong;
}

static void test_many(uint32_t configuration, uint64_t seed)
{
    struct world          *world = world_configured(configuration, seed);
    struct tac_load_queue *queues[TAC_LOAD_QUEUES];
    uint32_t               failed = 0;

    world_fill(world);
    tap_ok(many_wrong(world, &failed) == 0 && failed == 0,
           "store %u: many lookups at once give the newest versions", configuration);
    tap_ok(many_wrong(world, &failed) == 0 && failed == 0, "store %u: and again", configuration);
    tap_ok(world->storage.in_flight_max >= 8, "store %u: up to %u of their reads were under way",
           configuration, world->storage.in_flight_max);
    for (uint32_t i = 0; i < TAC_LOAD_QUEUES; i++) {
        queues[i] = tac_load_queue_take(world->side);
    }
    tap_ok(queues[TAC_LOAD_QUEUES - 1] != NULL && tac_load_queue_take(world->side) == NULL,
           "store %u: there are so many queues", configuration);
    tap_ok(many_wrong(world, &failed) == 0 && failed == 0, "store %u: it goes without one",
           configuration);
    for (uint32_t i = 0; i < TAC_LOAD_QUEUES; i++) {
        tac_load_queue_give_back(queues[i]);
    }
    world_caches(world, 4096, 0);
    world->storage.flip_every = 2; /* Of two looks one is right. */
    tap_ok(many_wrong(world, &failed) == 0 && failed == 0,
           "store %u: a byte read wrong is read again", configuration);
    world->storage.flip_every = 0;
    world->storage.fail_every = 2;
    tap_ok(many_wrong(world, &failed) == 0 && failed == 0,
           "store %u: a read that fails once is made again", configuration);
    world->storage.fail_every = 3;
    world->storage.fails_again = true;
    tap_ok(many_wrong(world, &failed) == 0 && failed > 0,
           "store %u: one that fails again is an error of its lookup alone", configuration);
    world_free(world);
}

/* Neighbours lie on few pages: each of these is read once. */
static void test_many_reads(uint64_t seed)
{
    struct world *world = world_configured(0, seed);
    uint32_t      wrong = 0, failed = 0;
    uint64_t      alone, together;

    world_fill(world);
    for (uint32_t i = 0; i < 64; i++) {
        wrong += lookups_wrong(world, 1, false, i, &failed);
    }
    alone = world->storage.reads;
    world_caches(world, TAC_MIB, 4 * TAC_MIB);
    world->storage.reads = 0;
    wrong += lookups_wrong(world, 64, false, 0, &failed);
    together = world->storage.reads;
    tap_ok(wrong == 0 && failed == 0 && together > 0 && together <= alone,
           "64 neighbours together take %llu reads, one after the other %llu",
           (unsigned long long)together, (unsigned long long)alone);
    world_free(world);
}

int main(void)
{
    uint64_t seed;

    tap_plan(0);
    seed = tap_seed();
    for (uint32_t i = 0; i < WORLD_CONFIGURATIONS; i++) {
        test_many(i, seed);
    }
    test_many_reads(seed);
    return tap_done();
}
