/* SPDX-License-Identifier: Apache-2.0 */
/* A loop that sleeps in poll: with a descriptor no step waits for the device, and the descriptor says
 * when there is more to do. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/prng.h"
#include "base/units.h"
#include "tactus.h"
#include "tests/lib/small_options.h"
#include "tests/lib/tap.h"

#define RECORDS 20000
#define PUTS_BETWEEN 50
#define VALUE_BYTES 100
#define POLL_MS 1

static char path[512];

static struct tactus *store_open(enum tactus_backend backend, uint32_t threads, uint32_t *ret_tree)
{
    struct tactus_options options;
    struct tactus_layout  layout = {TACTUS_LAYOUT_FIXED, 8, VALUE_BYTES};
    struct tactus        *store;

    small_options(&options);
    options.memtable_size = 256 * TAC_KIB;
    options.threads = threads;
    options.backend = backend;
    options.file_size_max = TAC_GIB;
    (void)unlink(path);
    if ((backend != TACTUS_BACKEND_MEMORY && tactus_create(path, &options) != TACTUS_OK) ||
        tactus_open(path, &options, &store) != TACTUS_OK ||
        tactus_tree_create(store, "t", &layout, ret_tree) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
    return store;
}

static void put(struct tactus *store, uint32_t tree, uint64_t number)
{
    uint64_t key = tac_mix_u64(number);
    uint8_t  value[VALUE_BYTES] = {0};

    if (tactus_put(store, tree, &key, sizeof key, value, sizeof value) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
}

/* All that can be done: steps until there is nothing, then again when the descriptor can be read.
 * Returns how often that led to a step. */
static uint32_t work_do(struct tactus *store, int descriptor)
{
    struct pollfd device = {.fd = descriptor, .events = POLLIN};
    uint32_t      led = 0;

    do {
        while (tactus_step(store)) {
        }
        led++;
    } while (poll(&device, 1, POLL_MS) > 0 && tactus_step(store));
    return led - 1;
}

static void test_loop(enum tactus_backend backend, const char *name)
{
    uint32_t            tree, led = 0;
    struct tactus      *store = store_open(backend, 0, &tree);
    struct tactus_stats stats;
    int                 descriptor, again;

    tap_ok(tactus_descriptor(store, &descriptor) == TACTUS_OK &&
               tactus_descriptor(store, &again) == TACTUS_OK && descriptor == again,
           "%s: a store without threads has one descriptor", name);
    for (uint64_t i = 0; i < RECORDS; i++) {
        put(store, tree, i);
        if (i % PUTS_BETWEEN == 0) {
            led += work_do(store, descriptor);
        }
    }
    tactus_stat(store, &stats);
    /* Only there anything is under way when a step has ended. */
    tap_ok(led > 0 || strcmp(stats.backend, "io_uring") != 0,
           "%s: %u times it was readable and there was more to do", name, led);
    tap_ok(stats.bars > 5 && stats.jobs > 0, "%s: compaction went on in %llu bars", name,
           (unsigned long long)stats.bars);
    tap_ok(tactus_drain(store) == TACTUS_OK &&
               tactus_verify(store, NULL, NULL, NULL) == TACTUS_OK &&
               tactus_close(store) == TACTUS_OK,
           "%s: the store is sound", name);
}

int main(void)
{
    const char    *directory = getenv("TMPDIR");
    struct tactus *store;
    uint32_t       tree;
    int            descriptor;

    tap_plan(0);
    snprintf(path, sizeof path, "%s/descriptor_test.%d", directory != NULL ? directory : "/tmp",
             (int)getpid());
    test_loop(TACTUS_BACKEND_AUTO, "the best backend");
    test_loop(TACTUS_BACKEND_POSIX, "posix");
    test_loop(TACTUS_BACKEND_MEMORY, "memory");
    store = store_open(TACTUS_BACKEND_MEMORY, 3, &tree);
    tap_ok(tactus_descriptor(store, &descriptor) == TACTUS_EOPTION &&
               strstr(tactus_message(), "threads") != NULL,
           "with stage threads there is none");
    tap_ok(tactus_close(store) == TACTUS_OK, "the store closes");
    (void)unlink(path);
    return tap_done();
}
