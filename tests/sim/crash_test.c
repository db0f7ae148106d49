/* SPDX-License-Identifier: Apache-2.0 */
/* Cuts the power of a store at every write and sync of a script, and at those of the recovery that
 * follows; see crash_script.h for what must hold.
 *
 * Exhaustive, for a store without a log and for one with a sync in every write: of the writes that
 * no sync covers all are lost, all kept, each one alone lost, kept, or torn in the middle. Random:
 * scripts of the seed, places and fates by chance; POINTS=n of them, SEED=n. LONG=1 does more of
 * both. One point alone, as a failing line tells it: CRASH="none 20261 fixed 17 one-lost 3", with
 * a second cut behind it: CRASH="none 20261 fixed 17 one-lost 3 2 all-lost 0". */
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/checksum.h"
#include "tests/lib/tap.h"
#include "tests/sim/crash_script.h"

#define POINT_SECONDS_MAX 60
#define CUTS_MAX 2
#define POINTS_DEFAULT 1000
#define POINTS_LONG 20000
#define SLOWDOWN 10 /* With a sanitizer: so many times fewer random points */
/* Of the places of a random script one of this many is a point. */
#define PLACES_EVERY 4
/* A second cut is at one of so many places, if the recovery and the writes after it have it. */
#define SECOND_PLACES 96
/* Of recoveries after a first cut with a fate of a single write, and of single writes of a second
 * cut, one of this many is looked at. LONG: of each smaller number. */
#define SECOND_EVERY 32
#define SECOND_EVERY_LONG 8
#define DIGESTS_MAX (1u << 18)
#define KEPT_BYTES_MAX (32 << 20)

enum fate {
    ALL_LOST,
    ALL_KEPT,
    ONE_LOST, /* The others are kept, */
    ONE_KEPT, /* … lost, */
    ONE_TORN, /* … kept */
    ANY,
    FATES,
};

static const char *const fate_names[FATES] = {"all-lost", "all-kept", "one-lost",
                                              "one-kept", "one-torn", "any"};

struct cut {
    unsigned long long place;
    enum fate          fate;
    unsigned long long index; /* Of the one write; of any: the seed */
};

struct crash_test {
    struct crash_script script;
    bool                is_replay;
    struct cut          cuts[CUTS_MAX]; /* The point that is being tried, or to be replayed */
    uint32_t            depth;          /* Cuts made of it */
    uint32_t            depth_max;
    uint64_t            points_max;
    uint64_t            second_every, turns;
    struct tac_u128    *digests; /* A hash table; 0: free */
    /* What came of it */
    uint64_t places, points, second_points, equal, fell_back, in_flight, snapshots, failed;
};

static char point_name[256];

static void run_died(int number)
{
    ssize_t written = write(STDOUT_FILENO, point_name, strlen(point_name));

    (void)written;
    signal(number, SIG_DFL);
    raise(number);
}

static void point_name_set(const struct crash_test *test)
{
    int length = snprintf(point_name, sizeof point_name, "# CRASH=\"%s %llu %s",
                          test->script.log == TACTUS_LOG_SYNC ? "sync" : "none",
                          (unsigned long long)test->script.seed,
                          test->script.is_random ? "random" : "fixed");

    for (uint32_t i = 0; i < test->depth; i++) {
        length +=
            snprintf(point_name + length, sizeof point_name - (size_t)length, " %llu %s %llu",
                     test->cuts[i].place, fate_names[test->cuts[i].fate], test->cuts[i].index);
    }
    snprintf(point_name + length, sizeof point_name - (size_t)length, "\" tests/sim/crash_test\n");
}

/* ---- fates ---------------------------------------------------------------------------------- */

struct chooser {
    enum fate       fate;
    uint64_t        index, count; /* Asked so far */
    struct tac_prng prng;
};

static struct tac_memory_fate fate_choose(void *context, uint64_t sector_count)
{
    const struct tac_memory_fate kept = {.prefix_sectors = TAC_MEMORY_FATE_KEPT};
    const struct tac_memory_fate torn = {.prefix_sectors = sector_count / 2};
    const struct tac_memory_fate lost = {0};
    struct chooser              *chooser = context;
    bool                         is_one = chooser->count++ == chooser->index;

    switch (chooser->fate) {
    case ALL_LOST:
        return lost;
    case ALL_KEPT:
        return kept;
    case ONE_LOST:
        return is_one ? lost : kept;
    case ONE_KEPT:
        return is_one ? kept : lost;
    case ONE_TORN:
        return is_one ? torn : kept;
    case ANY:
        return tac_memory_fate_draw(&chooser->prng, sector_count);
    case FATES:
        break;
    }
    tac_unreachable();
}

/* True: it is the first with these bytes of which this is expected. */
static bool digest_add(struct crash_test *test, struct tac_u128 digest)
{
    uint64_t at = digest.low % DIGESTS_MAX;

    for (uint64_t tries = 0; tries < DIGESTS_MAX; tries++, at = (at + 1) % DIGESTS_MAX) {
        if (tac_u128_equal(test->digests[at], digest)) {
            return false;
        }
        if (tac_u128_equal(test->digests[at], (struct tac_u128){0})) {
            test->digests[at] = digest;
            return true;
        }
    }
    tap_bail("more than %u images", DIGESTS_MAX);
}

/* ---- one point ------------------------------------------------------------------------------ */

static void place_look(void *context, const struct crash_place *place);

static void outcome_count(struct crash_test *test, const struct fault_outcome *outcome)
{
    test->points++;
    test->second_points += test->depth == CUTS_MAX;
    test->fell_back += outcome->fell_back;
    test->in_flight += outcome->was_in_flight;
    test->snapshots += outcome->snapshots_read;
    if (outcome->message[0] != 0 && ++test->failed <= 10) {
        point_name_set(test);
        tap_diag("%s: %s", point_name + 2, outcome->message);
    }
}

/* Second cuts are too many to be made all. */
static bool is_left_out(struct crash_test *test) { return test->turns++ % test->second_every != 0; }

/* Returns how many writes had a fate. */
static uint64_t point_try(struct crash_test *test, const struct crash_place *place, enum fate fate,
                          uint64_t index)
{
    struct chooser       chooser = {.fate = fate, .index = index, .prng = {index}};
    struct crash_image   image = crash_image_make(place, fate_choose, &chooser);
    bool                 is_last = test->depth + 1 == test->depth_max;
    struct fault_outcome outcome;

    if (test->digests != NULL && !digest_add(test, crash_image_digest(&image, place))) {
        test->equal++;
        crash_image_free(&image);
        return chooser.count;
    }
    is_last |= test->digests != NULL && fate > ALL_KEPT && is_left_out(test);
    test->cuts[test->depth++] = (struct cut){place->number, fate, index};
    point_name_set(test);
    alarm(POINT_SECONDS_MAX);
    crash_image_recover(&test->script, &image, place, is_last ? NULL : place_look, test, &outcome);
    alarm(0);
    if (!test->is_replay || is_last) {
        outcome_count(test, &outcome);
    }
    test->depth--;
    return chooser.count;
}

/* ---- which points --------------------------------------------------------------------------- */

static void place_exhaust(struct crash_test *test, const struct crash_place *place)
{
    uint64_t count;

    if (test->depth > 0 && !place->is_opening) {
        return;
    }
    test->places++;
    count = point_try(test, place, ALL_LOST, 0);
    (void)point_try(test, place, ALL_KEPT, 0);
    for (uint64_t i = 0; i < count; i++) {
        for (enum fate fate = ONE_LOST; fate <= ONE_TORN; fate++) {
            if (test->depth == 0 || !is_left_out(test)) {
                (void)point_try(test, place, fate, i);
            }
        }
    }
}

static void place_draw(struct crash_test *test, const struct crash_place *place)
{
    /* A second cut follows from the first one's seed, a first one from its place. */
    struct tac_prng prng = {test->depth == 0 ? test->script.seed + (place->number << 20)
                                             : test->cuts[0].index + 1};
    bool            is_point = test->depth == 0 ? tac_prng_below(&prng, PLACES_EVERY) == 0
                                                : place->number == 1 + tac_prng_below(&prng, SECOND_PLACES);

    test->places++;
    if (is_point && (test->depth > 0 || test->points < test->points_max)) {
        (void)point_try(test, place, ANY, tac_prng_next(&prng));
    }
}

static void place_look(void *context, const struct crash_place *place)
{
    struct crash_test *test = context;

    if (test->is_replay) {
        const struct cut cut = test->cuts[test->depth];

        if (cut.place == place->number) {
            (void)point_try(test, place, cut.fate, cut.index);
        }
    } else if (test->digests != NULL) {
        place_exhaust(test, place);
    } else {
        place_draw(test, place);
    }
}

/* ---- tests ---------------------------------------------------------------------------------- */

static uint64_t script_play(struct crash_test *test)
{
    struct fault_outcome outcome;
    uint64_t             checkpoints = crash_script_play(&test->script, place_look, test, &outcome);

    if (outcome.message[0] != 0) {
        tap_bail("the script of seed %llu fails without a cut: %s",
                 (unsigned long long)test->script.seed, outcome.message);
    }
    return checkpoints;
}

static void totals_tell(const struct crash_test *test, const char *what)
{
    tap_diag("%s: %llu places, %llu points, %llu of them after a second cut; %llu more left equal "
             "files; %llu fell back, %llu found what was in flight",
             what, (unsigned long long)test->places, (unsigned long long)test->points,
             (unsigned long long)test->second_points, (unsigned long long)test->equal,
             (unsigned long long)test->fell_back, (unsigned long long)test->in_flight);
}

static void exhaustive_test(enum tactus_log log, uint64_t seed, bool is_long)
{
    struct crash_test test = {
        .script = {.log = log, .seed = seed},
        .depth_max = CUTS_MAX,
        .second_every = is_long ? SECOND_EVERY_LONG : SECOND_EVERY,
        .digests = calloc(DIGESTS_MAX, sizeof *test.digests),
    };
    const char *name = log == TACTUS_LOG_SYNC ? "with a log" : "without a log";
    uint64_t    checkpoints;

    tac_assert(test.digests != NULL);
    checkpoints = script_play(&test);
    totals_tell(&test, name);
    tap_ok(test.failed == 0, "%s, power cut at every write and sync: all that is promised holds",
           name);
    tap_ok(checkpoints >= 3 && test.second_points > 0 && test.fell_back > 0 && test.in_flight > 0,
           "%llu checkpoints; points fall back, and find what was in flight",
           (unsigned long long)checkpoints);
    tap_ok(test.snapshots > 0, "%llu times there was a snapshot after it, as it had been taken",
           (unsigned long long)test.snapshots);
    free(test.digests);
}

static void random_test(uint64_t seed, uint64_t points_max)
{
    struct crash_test test = {
        .script = {.is_random = true}, .depth_max = CUTS_MAX, .points_max = points_max};

    for (uint64_t i = 0; test.points < points_max; i++) {
        test.script.seed = seed + i;
        test.script.log = i % 2 == 0 ? TACTUS_LOG_NONE : TACTUS_LOG_SYNC;
        (void)script_play(&test);
    }
    totals_tell(&test, "random");
    tap_ok(test.failed == 0, "power cut anywhere: all that is promised holds");
}

static enum fate fate_parse(const char *name)
{
    for (enum fate fate = ALL_LOST; fate < FATES; fate++) {
        if (strcmp(fate_names[fate], name) == 0) {
            return fate;
        }
    }
    tap_bail("there is no fate %s", name);
}

static void replay_test(const char *text)
{
    struct crash_test  test = {.is_replay = true};
    char               log[16], kind[16], fates[CUTS_MAX][16];
    unsigned long long seed;
    int count = sscanf(text, "%15s %llu %15s %llu %15s %llu %llu %15s %llu", log, &seed, kind,
                       &test.cuts[0].place, fates[0], &test.cuts[0].index, &test.cuts[1].place,
                       fates[1], &test.cuts[1].index);

    if (count != 6 && count != 9) {
        tap_bail("CRASH is not \"LOG SEED KIND PLACE FATE INDEX [PLACE FATE INDEX]\": %s", text);
    }
    test.depth_max = count == 9 ? 2 : 1;
    for (uint32_t i = 0; i < test.depth_max; i++) {
        test.cuts[i].fate = fate_parse(fates[i]);
    }
    test.script.seed = seed;
    test.script.log = strcmp(log, "sync") == 0 ? TACTUS_LOG_SYNC : TACTUS_LOG_NONE;
    test.script.is_random = strcmp(kind, "random") == 0;
    (void)script_play(&test);
    tap_ok(test.points == 1 && test.failed == 0, "the point %s", text);
}

static uint64_t points_count(bool is_long)
{
    const char *points = getenv("POINTS");
    const char *instrumented = getenv("TACTUS_INSTRUMENTED");
    bool        is_slow = instrumented != NULL && strcmp(instrumented, "yes") == 0;

    if (points != NULL) {
        return strtoull(points, NULL, 10);
    }
    return (is_long ? POINTS_LONG : POINTS_DEFAULT) / (is_slow ? SLOWDOWN : 1);
}

/* Keeps what is freed: each point opens a store, and clearing fresh pages would take most time. */
static void memory_keep(void)
{
    (void)mallopt(M_MMAP_THRESHOLD, KEPT_BYTES_MAX);
    (void)mallopt(M_TRIM_THRESHOLD, KEPT_BYTES_MAX);
}

int main(void)
{
    const char *alone = getenv("CRASH");
    bool        is_long = getenv("LONG") != NULL;
    uint64_t    seed;

    memory_keep();
    signal(SIGALRM, run_died);
    signal(SIGABRT, run_died);
    tap_plan(0);
    if (alone != NULL) {
        replay_test(alone);
        return tap_done();
    }
    seed = tap_seed();
    exhaustive_test(TACTUS_LOG_NONE, seed, is_long);
    exhaustive_test(TACTUS_LOG_SYNC, seed, is_long);
    random_test(seed, points_count(is_long));
    return tap_done();
}
