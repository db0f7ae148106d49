/* SPDX-License-Identifier: Apache-2.0 */
/* A limit of what flushes and compactions read and write: it is kept to, by threads and without,
 * can be changed while somebody waits for it, and shows in no byte. The simulator has it in all
 * worlds. */
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "tests/lib/small_options.h"
#include "tests/lib/tap.h"

#define RECORDS 12000
#define RATE (4 * TAC_MIB)
/* What stands beside the rate: a burst, and what each worker has under way. */
#define SLACK_BYTES (RATE / 50 + 64 * 4 * 4 * TAC_KIB)

static struct tactus_pool *pool; /* Where stores are opened; NULL: by themselves */

static struct tactus *store_open(uint32_t threads, uint64_t rate, uint32_t *ret_tree)
{
    struct tactus_layout  layout = {TACTUS_LAYOUT_FIXED, 8, 100};
    struct tactus_options options;
    struct tactus        *store;

    small_options(&options);
    options.backend = TACTUS_BACKEND_MEMORY;
    options.threads = pool == NULL ? threads : TACTUS_THREADS_AUTO;
    options.memtable_size = 256 * TAC_KIB;
    options.tables_max = 4096;
    options.file_size_max = TAC_GIB;
    options.page_cache_size = options.index_cache_size = TAC_MIB;
    options.io_rate_max_bytes = rate;
    memset(options.uuid, 7, sizeof options.uuid);
    if ((pool == NULL ? tactus_open(NULL, &options, &store)
                      : tactus_open_in(pool, NULL, &options, &store)) != TACTUS_OK ||
        tactus_tree_create(store, "tree", &layout, ret_tree) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
    return store;
}

static bool fill(struct tactus *store, uint32_t tree)
{
    uint8_t value[100] = {1};

    for (uint64_t i = 0; i < RECORDS; i++) {
        uint64_t key = i * 7919 % 100000;

        if (tactus_put(store, tree, &key, sizeof key, value, sizeof value) != TACTUS_OK) {
            return false;
        }
    }
    return true;
}

static uint64_t bytes_moved(struct tactus *store)
{
    struct tactus_stats stats;

    tactus_stat(store, &stats);
    return stats.stage[TACTUS_STAGE_READ].bytes + stats.stage[TACTUS_STAGE_WRITE].bytes;
}

/* Returns the digest of what it has written. */
static void test_kept(uint32_t threads, uint64_t rate, uint8_t digest[16], const char *name)
{
    uint32_t       tree;
    uint64_t       begin_ns = tac_clock_now_ns(), elapsed_ns, moved;
    struct tactus *store = store_open(threads, rate, &tree);

    tap_ok(fill(store, tree) && tactus_drain(store) == TACTUS_OK &&
               tactus_digest(store, digest) == TACTUS_OK,
           "%s: a store is written to", name);
    elapsed_ns = tac_clock_now_ns() - begin_ns;
    moved = bytes_moved(store);
    tap_diag("%.1f MiB in %.2f s", (double)moved / TAC_MIB, (double)elapsed_ns / 1e9);
    tap_ok(moved > 2 * TAC_MIB &&
               (rate == 0 || (double)moved < (double)rate * (double)elapsed_ns / 1e9 + SLACK_BYTES),
           "%s: as fast as it may", name);
    tactus_abandon(store);
}

/* The same in a pool, whose threads look after all its stores. */
static void test_pool(uint8_t digest[16])
{
    struct tactus_pool_options options;
    struct tactus_pool        *shared;
    uint8_t                    without[16];

    tactus_pool_options_init(&options);
    options.threads = 3;
    if (tactus_pool_open(&options, &shared) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
    pool = shared;
    test_kept(0, 0, without, "in a pool, no limit");
    test_kept(0, RATE, digest, "in a pool");
    pool = NULL;
    tap_ok(tactus_pool_close(shared) == TACTUS_OK, "the pool closes");
}

static void *drain_main(void *store) { return tactus_drain(store) == TACTUS_OK ? store : NULL; }

/* With next to nothing a second a drain would take days. */
static void test_changed(uint32_t threads, const char *name)
{
    uint32_t       tree;
    struct tactus *store = store_open(threads, 0, &tree);
    pthread_t      thread;
    void          *result = NULL;

    tap_ok(fill(store, tree) && tactus_io_rate_change(store, 1000) == TACTUS_OK &&
               pthread_create(&thread, NULL, drain_main, store) == 0 && usleep(50000) == 0 &&
               tactus_io_rate_change(store, 100 * TAC_MIB) == TACTUS_OK &&
               pthread_join(thread, &result) == 0 && result == store,
           "%s: another limit takes effect for who waits", name);
    tap_ok(tactus_io_rate_change(store, 0) == TACTUS_OK && fill(store, tree) &&
               tactus_close(store) == TACTUS_OK,
           "%s: it can be taken away", name);
}

static void test_refused(void)
{
    uint32_t       tree;
    struct tactus *store = store_open(0, 0, &tree);

    tap_ok(tactus_io_rate_change(store, 2 * TAC_TIB) == TACTUS_EOPTION &&
               strstr(tactus_message(), "io_rate_max_bytes") != NULL,
           "a limit beyond the range is refused: %s", tactus_message());
    tactus_abandon(store);
}

/* A host that sleeps in poll is woken when it may go on. */
static void test_descriptor(void)
{
    uint32_t       tree, sleeps = 0, in_vain = 0;
    struct tactus *store = store_open(0, 0, &tree);
    struct pollfd  device = {.events = POLLIN};
    uint64_t       begin_ns, moved;

    tac_assert(tactus_descriptor(store, &device.fd) == TACTUS_OK && fill(store, tree));
    tac_assert(tactus_io_rate_change(store, RATE / 16) == TACTUS_OK);
    tac_assert(fill(store, tree)); /* It is left in the middle of a bar, with credit. */
    begin_ns = tac_clock_now_ns();
    moved = bytes_moved(store);
    while (tac_clock_now_ns() - begin_ns < TAC_SECOND_NS / 2) {
        if (!tactus_step(store)) {
            in_vain += poll(&device, 1, 300) == 0;
            sleeps++;
        }
    }
    moved = bytes_moved(store) - moved;
    tap_diag("%llu bytes in half a second, %u sleeps", (unsigned long long)moved, sleeps);
    tap_ok(moved > 0 && sleeps > in_vain, "a descriptor can be read when the limit lets go on");
    tap_ok(sleeps < 2000, "nobody spins");
    tactus_abandon(store);
}

int main(void)
{
    uint8_t digests[5][16] = {{0}};

    tap_plan(0);
    test_kept(0, 0, digests[0], "no threads, no limit");
    test_kept(0, RATE, digests[1], "no threads");
    test_kept(3, RATE, digests[2], "three threads");
    test_kept(8, RATE, digests[3], "eight threads");
    test_pool(digests[4]);
    tap_ok(memcmp(digests[0], digests[4], 16) == 0 && memcmp(digests[0], digests[1], 16) == 0 &&
               memcmp(digests[0], digests[2], 16) == 0 && memcmp(digests[0], digests[3], 16) == 0,
           "it shows in no byte");
    test_changed(0, "no threads");
    test_changed(3, "three threads");
    test_refused();
    test_descriptor();
    return tap_done();
}
