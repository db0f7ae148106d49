/* SPDX-License-Identifier: Apache-2.0 */
/* The free set against a plain array of states: lowest addresses, transitions, checkpoints, the
 * image and what a reader must reject; that every forbidden transition ends the process. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/prng.h"
#include "base/units.h"
#include "lsm/free_set.h"
#include "tests/lib/tap.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED true
#endif
#endif
#ifndef SANITIZED
#define SANITIZED false
#endif

static const struct tac_geometry geometry = {4096, 512, 7};

/* ---- model ---------------------------------------------------------------------------------- */

enum state {
    FREE,
    RESERVED,
    ACQUIRED,
    RELEASED,
    PENDING /* Released, of the open checkpoint */
};

#define BLOCKS_MAX 50000

struct model {
    uint64_t blocks_max;
    uint8_t  states[BLOCKS_MAX];
    bool     checkpoint_is_open;
};

static void model_init(struct model *model, uint64_t blocks_max)
{
    memset(model, 0, sizeof *model);
    model->blocks_max = blocks_max;
    for (uint32_t i = 0; i < TAC_SUPERBLOCK_COPIES; i++) {
        model->states[i * TAC_SUPERBLOCK_STRIDE_BLOCKS] = ACQUIRED;
    }
}

static uint64_t model_lowest_free(const struct model *model, uint64_t from)
{
    uint64_t address = from;

    while (address < model->blocks_max && model->states[address] != FREE) {
        address++;
    }
    return address;
}

static bool model_equals(const struct model *model, const struct tac_free_set *set)
{
    uint64_t counts[5] = {0}, used = 0;

    for (uint64_t i = 0; i < model->blocks_max; i++) {
        uint8_t state = model->states[i];

        counts[state]++;
        used = state == FREE ? used : i + 1;
        if (tac_free_set_is_free(set, i) != (state == FREE) ||
            tac_free_set_is_acquired(set, i) != (state == ACQUIRED) ||
            tac_free_set_is_released(set, i) != (state == RELEASED || state == PENDING)) {
            tap_diag("block %llu is not %u", (unsigned long long)i, state);
            return false;
        }
    }
    return tac_free_set_free_count(set) == counts[FREE] &&
           tac_free_set_acquired_count(set) == counts[ACQUIRED] &&
           tac_free_set_released_count(set) == counts[RELEASED] + counts[PENDING] &&
           tac_free_set_blocks_used(set) == used;
}

/* ---- random operations ---------------------------------------------------------------------- */

struct run {
    struct tac_free_set *set;
    struct model         model;
    struct tac_prng      prng;
    uint32_t             reserved[4096];
    uint32_t             reserved_count;
};

static struct run run_state; /* Large */

static bool step_reserve(struct run *run)
{
    uint64_t cursor =
        tac_prng_below(&run->prng, 3) == 0 ? tac_prng_below(&run->prng, run->model.blocks_max) : 0;
    uint64_t count = tac_prng_below(&run->prng, 200);
    uint64_t expected = cursor;
    uint32_t addresses[200];
    uint64_t left = 0;
    bool     done;

    if (run->reserved_count + count > TAC_ARRAY_COUNT(run->reserved)) {
        return true;
    }
    for (uint64_t i = cursor + 1; i < run->model.blocks_max; i++) {
        left += run->model.states[i] == FREE;
    }
    done = tac_free_set_reserve(run->set, &cursor, count, addresses);
    if (done != (count <= left)) {
        return false;
    }
    for (uint64_t i = 0; i < count && done; i++) {
        expected = model_lowest_free(&run->model, expected + 1);
        if (addresses[i] != expected) {
            return false;
        }
        run->model.states[expected] = RESERVED;
        run->reserved[run->reserved_count++] = addresses[i];
    }
    return cursor == expected;
}

static void step_resolve(struct run *run, bool all)
{
    while (run->reserved_count > 0) {
        uint32_t index = (uint32_t)tac_prng_below(&run->prng, run->reserved_count);
        uint32_t address = run->reserved[index];

        if (tac_prng_below(&run->prng, 2) == 0) {
            tac_free_set_acquire_reserved(run->set, address);
            run->model.states[address] = ACQUIRED;
        } else {
            tac_free_set_forfeit(run->set, address);
            run->model.states[address] = FREE;
        }
        run->reserved[index] = run->reserved[--run->reserved_count];
        if (!all && tac_prng_below(&run->prng, 40) == 0) {
            break;
        }
    }
}

static void step_release(struct run *run)
{
    uint64_t address = tac_prng_below(&run->prng, run->model.blocks_max);
    uint64_t count = tac_prng_below(&run->prng, 300);

    for (; count > 0 && address < run->model.blocks_max; address++) {
        if (run->model.states[address] == ACQUIRED &&
            !tac_free_set_address_is_superblock(address)) {
            tac_free_set_release(run->set, address);
            run->model.states[address] = RELEASED;
            count--;
        }
    }
}

static bool step_acquire(struct run *run)
{
    uint64_t expected = model_lowest_free(&run->model, 0);
    uint64_t address = UINT64_MAX;

    if (!tac_free_set_acquire(run->set, &address)) {
        return expected == run->model.blocks_max && address == UINT64_MAX;
    }
    run->model.states[expected] = ACQUIRED;
    return address == expected;
}

static void step_checkpoint(struct run *run)
{
    struct model *model = &run->model;

    for (uint64_t i = 0; i < model->blocks_max; i++) {
        if (model->checkpoint_is_open && model->states[i] == PENDING) {
            model->states[i] = FREE;
        } else if (!model->checkpoint_is_open && model->states[i] == RELEASED) {
            model->states[i] = PENDING;
        }
    }
    if (model->checkpoint_is_open) {
        tac_free_set_checkpoint_effect(run->set);
    } else {
        tac_free_set_checkpoint_begin(run->set);
    }
    model->checkpoint_is_open = !model->checkpoint_is_open;
}

static void test_random(uint64_t seed, uint64_t blocks_max)
{
    struct run *run = &run_state;
    bool        addresses_match = true, states_match = true;

    memset(run, 0, sizeof *run);
    run->prng.state = seed;
    run->set = tac_free_set_new(blocks_max);
    if (run->set == NULL) {
        tap_bail("out of memory");
    }
    model_init(&run->model, blocks_max);
    for (uint32_t i = 0; i < 3000 && addresses_match && states_match; i++) {
        switch (tac_prng_below(&run->prng, 6)) {
        case 0:
        case 1:
            addresses_match = step_reserve(run);
            break;
        case 2:
            step_resolve(run, false);
            break;
        case 3:
            step_release(run);
            break;
        case 4:
            addresses_match = step_acquire(run);
            break;
        case 5:
            step_checkpoint(run);
            break;
        }
        states_match = i % 20 != 0 || model_equals(&run->model, run->set);
    }
    tap_ok(addresses_match, "%llu blocks: addresses are the lowest free ones, in order",
           (unsigned long long)blocks_max);
    tap_ok(states_match && model_equals(&run->model, run->set),
           "%llu blocks: states, counts and blocks_used are those of the model",
           (unsigned long long)blocks_max);
    tac_free_set_free(run->set);
}

/* ---- checkpoints ---------------------------------------------------------------------------- */

static void test_effect(void)
{
    struct tac_free_set *set = tac_free_set_new(1000);
    uint64_t             first = 0, second = 0, again = 0;

    tap_ok(tac_free_set_acquire(set, &first) && first == 1, "block 0 is never given");
    tac_free_set_acquire(set, &second);
    tac_free_set_release(set, first);
    tac_free_set_checkpoint_begin(set);
    tac_free_set_release(set, second);
    tac_free_set_acquire(set, &again);
    tap_ok(again == 3, "released blocks are not given");
    tac_free_set_checkpoint_effect(set);
    tap_ok(tac_free_set_is_free(set, first) && tac_free_set_is_released(set, second),
           "a checkpoint frees what was released before it began, and nothing else");
    tac_free_set_free(set);
}

struct image {
    uint8_t *blocks;
    uint64_t addresses[64];
    uint32_t count;
};

/* Begins a checkpoint of `set` with `extra` other blocks; addresses as the set gives them. */
static void image_take(struct tac_free_set *set, uint64_t extra, struct image *image)
{
    uint64_t address;

    tac_free_set_checkpoint_begin(set);
    image->count = tac_free_set_encoded_blocks(set, &geometry, extra);
    image->blocks = malloc((size_t)image->count * geometry.block_size);
    for (uint64_t i = 0; i < extra; i++) {
        tac_free_set_acquire(set, &address);
    }
    for (uint32_t i = 0; i < image->count; i++) {
        tac_free_set_acquire(set, &image->addresses[i]);
    }
    tac_free_set_freeze(set);
}

static void image_encode(const struct tac_free_set *set, struct image *image)
{
    for (uint32_t i = 0; i < image->count; i++) {
        tac_free_set_encode(set, &geometry, i, image->addresses[i], 5,
                            image->blocks + (size_t)i * geometry.block_size);
    }
}

static int image_decode(struct tac_free_set *set, const struct image *image,
                        struct tac_error *error)
{
    int rv = TACTUS_OK;

    for (uint32_t i = 0; i < image->count && rv == TACTUS_OK; i++) {
        rv = tac_free_set_decode(set, &geometry, i, image->count,
                                 image->blocks + (size_t)i * geometry.block_size,
                                 image->addresses[i], error);
    }
    return rv;
}

static bool sets_equal(const struct tac_free_set *a, const struct tac_free_set *b, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        if (tac_free_set_is_free(a, i) != tac_free_set_is_free(b, i) ||
            tac_free_set_is_acquired(a, i) != tac_free_set_is_acquired(b, i)) {
            return false;
        }
    }
    return tac_free_set_blocks_used(a) == tac_free_set_blocks_used(b) &&
           tac_free_set_released_count(a) == tac_free_set_released_count(b) &&
           tac_free_set_acquired_count(a) == tac_free_set_acquired_count(b);
}

/* Fills a set at random up to about `count` blocks; nothing stays reserved. */
static struct tac_free_set *set_fill(struct tac_prng *prng, uint64_t blocks_max, uint64_t count)
{
    struct tac_free_set *set = tac_free_set_new(blocks_max);
    uint64_t             address;

    for (uint64_t i = 0; i < count; i++) {
        tac_free_set_acquire(set, &address);
    }
    for (uint64_t i = 1; i < tac_free_set_blocks_used(set); i++) {
        if (!tac_free_set_address_is_superblock(i) && tac_free_set_is_acquired(set, i) &&
            tac_prng_below(prng, 3) == 0) {
            tac_free_set_release(set, i);
        }
    }
    if (tac_prng_below(prng, 2) == 0) {
        tac_free_set_checkpoint_begin(set);
        tac_free_set_checkpoint_effect(set);
    }
    return set;
}

static void test_image(uint64_t seed)
{
    struct tac_prng prng = {seed};
    bool            all_equal = true, frozen = true, counted = true;

    for (uint32_t i = 0; i < 60; i++) {
        uint64_t             fill = tac_prng_below(&prng, 45000);
        struct tac_free_set *set = set_fill(&prng, BLOCKS_MAX, fill);
        struct tac_free_set *copy = tac_free_set_new(BLOCKS_MAX);
        struct image         image = {0};
        struct tac_error     error = {0};
        uint64_t             address, parts;

        image_take(set, tac_prng_below(&prng, 30), &image);
        parts = tac_div_ceil(tac_free_set_blocks_used(set), tac_free_set_part_addresses(4096));
        counted = counted && image.count == parts;
        image_encode(set, &image);
        all_equal = all_equal && image_decode(copy, &image, &error) == TACTUS_OK &&
                    sets_equal(set, copy, BLOCKS_MAX);
        /* What happens after the freeze is not in the image. */
        uint8_t *before = malloc((size_t)image.count * geometry.block_size);
        memcpy(before, image.blocks, (size_t)image.count * geometry.block_size);
        for (uint32_t j = 0; j < 500 && tac_free_set_acquire(set, &address); j++) {
            tac_free_set_release(set, address);
        }
        image_encode(set, &image);
        frozen =
            frozen && memcmp(before, image.blocks, (size_t)image.count * geometry.block_size) == 0;
        tac_free_set_checkpoint_effect(copy);
        all_equal = all_equal && tac_free_set_released_count(copy) == 0;
        free(before);
        free(image.blocks);
        tac_free_set_free(copy);
        tac_free_set_free(set);
    }
    tap_ok(counted, "the count of parts takes in the parts themselves");
    tap_ok(all_equal, "a decoded image is the set; its released blocks wait for the effect");
    tap_ok(frozen, "what happens after the freeze is not in the image");
}

/* Around a multiple of a part's addresses, where the parts move the end themselves. */
static void test_image_edge(void)
{
    uint64_t per_part = tac_free_set_part_addresses(geometry.block_size);
    bool     counted = true;

    for (uint64_t used = per_part - 4; used <= per_part + 3; used++) {
        for (uint64_t extra = 0; extra < 5; extra++) {
            struct tac_free_set *set = tac_free_set_new(BLOCKS_MAX);
            struct image         image = {0};
            uint64_t             address;

            while (tac_free_set_blocks_used(set) < used) {
                tac_free_set_acquire(set, &address);
            }
            image_take(set, extra, &image);
            counted =
                counted && image.count == tac_div_ceil(tac_free_set_blocks_used(set), per_part);
            image_encode(set, &image);
            free(image.blocks);
            tac_free_set_free(set);
        }
    }
    tap_ok(counted, "the count of parts is exact around a part's end");
}

/* ---- hostile images ------------------------------------------------------------------------- */

/* Decodes the image after changing 64 bits of one part; true when it is refused. */
static bool refused(const struct image *image, uint32_t part, uint32_t offset, uint64_t value)
{
    struct tac_free_set *copy = tac_free_set_new(BLOCKS_MAX);
    uint8_t             *field = image->blocks + (size_t)part * geometry.block_size + offset;
    uint64_t             saved = tac_load_u64(field);
    struct tac_error     error = {0};
    int                  rv;

    tac_store_u64(field, value);
    rv = image_decode(copy, image, &error);
    tac_store_u64(field, saved);
    tac_free_set_free(copy);
    return rv == TACTUS_ECORRUPT && error.message[0] != 0;
}

static void test_hostile(uint64_t seed)
{
    struct tac_prng      prng = {seed};
    struct tac_free_set *set = set_fill(&prng, BLOCKS_MAX, 30000);
    struct image         image = {0};
    uint32_t             refusals = 0, bitmap_bytes = 2008;

    image_take(set, 0, &image);
    image_encode(set, &image);
    tap_ok(image.count == 2, "the image has two parts");
    tap_ok(refused(&image, 0, 64, 64) && refused(&image, 1, 64, 0), "parts must follow each other");
    tap_ok(refused(&image, 0, 72, 0) && refused(&image, 0, 72, UINT64_MAX) &&
               refused(&image, 1, 72, BLOCKS_MAX) && refused(&image, 0, 72, 64),
           "a part must cover what its place says");
    tap_ok(refused(&image, 0, 80, tac_load_u64(image.blocks + 80) & ~1ull),
           "superblock copies must be acquired");
    tap_ok(refused(&image, 0, 80 + bitmap_bytes, 1), "no block is acquired and released");
    tap_ok(
        refused(&image, 1,
                80 + (uint32_t)(tac_free_set_blocks_used(set) - tac_free_set_part_addresses(4096)) /
                         64 * 8,
                UINT64_MAX),
        "no bit beyond the range");
    for (uint32_t i = 0; i < 3000; i++) {
        uint32_t part = (uint32_t)tac_prng_below(&prng, image.count);
        uint32_t offset = tac_prng_below(&prng, 2) == 0
                              ? (uint32_t)tac_prng_below(&prng, 96)
                              : (uint32_t)tac_prng_below(&prng, geometry.block_size - 8);

        refusals += refused(&image, part, offset, tac_prng_next(&prng));
    }
    tap_ok(refusals > 1000, "3000 changed images: %u refused, none crashes", refusals);
    free(image.blocks);
    tac_free_set_free(set);
}

/* ---- forbidden transitions ------------------------------------------------------------------ */

static void forbid_double_acquire(struct tac_free_set *set, uint64_t acquired)
{
    tac_free_set_acquire_reserved(set, acquired);
}
static void forbid_double_release(struct tac_free_set *set, uint64_t acquired)
{
    tac_free_set_release(set, acquired);
    tac_free_set_release(set, acquired);
}
static void forbid_release_free(struct tac_free_set *set, uint64_t acquired)
{
    tac_free_set_release(set, acquired + 100);
}
static void forbid_forfeit_acquired(struct tac_free_set *set, uint64_t acquired)
{
    tac_free_set_forfeit(set, acquired);
}
static void forbid_superblock(struct tac_free_set *set, uint64_t acquired)
{
    (void)acquired;
    tac_free_set_release(set, TAC_SUPERBLOCK_STRIDE_BLOCKS);
}
static void forbid_effect_unbegun(struct tac_free_set *set, uint64_t acquired)
{
    (void)acquired;
    tac_free_set_checkpoint_effect(set);
}
static void forbid_two_checkpoints(struct tac_free_set *set, uint64_t acquired)
{
    (void)acquired;
    tac_free_set_checkpoint_begin(set);
    tac_free_set_checkpoint_begin(set);
}
static void forbid_freeze_after_release(struct tac_free_set *set, uint64_t acquired)
{
    tac_free_set_checkpoint_begin(set);
    tac_free_set_release(set, acquired);
    tac_free_set_freeze(set);
}
static void forbid_outside(struct tac_free_set *set, uint64_t acquired)
{
    (void)acquired;
    tac_free_set_release(set, 1000);
}

static bool dies(void (*forbidden)(struct tac_free_set *, uint64_t))
{
    int   status = 0;
    pid_t child = fork();

    if (child < 0) {
        tap_bail("cannot start a child process");
    }
    if (child == 0) {
        struct rlimit        no_core = {0, 0};
        struct tac_free_set *set = tac_free_set_new(1000);
        uint64_t             acquired = 0;

        setrlimit(RLIMIT_CORE, &no_core);
        signal(SIGABRT, SIG_DFL);
        close(STDERR_FILENO);
        tac_free_set_acquire(set, &acquired);
        forbidden(set, acquired);
        _exit(0);
    }
    waitpid(child, &status, 0);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void test_forbidden(void)
{
    tap_ok(dies(forbid_double_acquire), "acquiring an acquired block is an assertion");
    tap_ok(dies(forbid_double_release), "releasing a released block is an assertion");
    tap_ok(dies(forbid_release_free), "releasing a free block is an assertion");
    tap_ok(dies(forbid_forfeit_acquired), "forfeiting an acquired block is an assertion");
    tap_ok(dies(forbid_superblock), "releasing a superblock copy is an assertion");
    tap_ok(dies(forbid_effect_unbegun), "an effect without a checkpoint is an assertion");
    tap_ok(dies(forbid_two_checkpoints), "a second open checkpoint is an assertion");
    tap_ok(dies(forbid_freeze_after_release), "a release before the freeze is an assertion");
    tap_ok(dies(forbid_outside), "an address beyond the limit is an assertion");
}

/* ---- speed and memory ----------------------------------------------------------------------- */

static uint64_t now_ns(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static uint64_t resident_kib(void)
{
    unsigned long long pages = 0;
    FILE              *file = fopen("/proc/self/statm", "r");

    if (file == NULL || fscanf(file, "%*u %llu", &pages) != 1) {
        pages = 0;
    }
    if (file != NULL) {
        fclose(file);
    }
    return pages * (uint64_t)sysconf(_SC_PAGESIZE) / 1024;
}

static void test_large(void)
{
    static uint32_t      addresses[4000];
    uint64_t             resident_before = resident_kib();
    struct tac_free_set *small = tac_free_set_new(400u << 20);
    uint64_t             address, cursor = 0, begun, resident_after;
    struct tac_free_set *set;

    for (uint32_t i = 0; i < 100000; i++) {
        tac_free_set_acquire(small, &address);
    }
    resident_after = resident_kib();
    if (SANITIZED) {
        tap_skip("a sanitizer's own memory is not told apart");
    } else {
        tap_ok(resident_after < resident_before + 4096,
               "a limit of 400 M blocks, 100,000 in use: touches %llu KiB",
               (unsigned long long)(resident_after - resident_before));
    }
    tac_free_set_free(small);

    set = tac_free_set_new(8u << 20);
    for (uint32_t i = 0; i < (7u << 20); i++) {
        tac_free_set_acquire(set, &address);
    }
    tac_free_set_release(set, 1000);
    tac_free_set_checkpoint_begin(set);
    begun = now_ns();
    tac_free_set_checkpoint_effect(set);
    tap_diag("effect of a checkpoint, 7 M blocks in use: %.3f ms",
             (double)(now_ns() - begun) / 1e6);
    begun = now_ns();
    tap_ok(tac_free_set_reserve(set, &cursor, 4000, addresses) && addresses[0] == 1000 &&
               addresses[1] > (7u << 20),
           "a low gap and the end are found behind 7 M blocks");
    tap_diag("4,000 reservations, 8 M blocks, 7 M in use: %.3f ms",
             (double)(now_ns() - begun) / 1e6);
    for (uint32_t i = 0; i < 4000; i++) {
        tac_free_set_forfeit(set, addresses[i]);
    }
    tac_free_set_checkpoint_begin(set);
    begun = now_ns();
    tac_free_set_freeze(set);
    tap_diag("freeze, 7 M blocks in use: %.3f ms", (double)(now_ns() - begun) / 1e6);
    tac_free_set_free(set);
}

int main(void)
{
    uint64_t seed;

    tap_plan(0);
    seed = tap_seed();
    test_random(seed, 256);
    test_random(seed + 1, 1000);
    test_random(seed + 2, 20000);
    test_effect();
    test_image(seed);
    test_image_edge();
    test_hostile(seed);
    test_forbidden();
    test_large();
    return tap_done();
}
