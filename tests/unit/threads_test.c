/* SPDX-License-Identifier: Apache-2.0 */
/* Other numbers of stage threads while a store works: nothing is lost, and the file is byte for byte
 * that of a store whose threads stayed. */
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "base/prng.h"
#include "base/units.h"
#include "queues/atomics.h"
#include "tactus.h"
#include "tests/lib/small_options.h"
#include "tests/lib/tap.h"

#define VALUE_BYTES 100
#define RECORDS 60000
#define THREADS_MOST 6

static struct tactus *store_open(uint32_t threads, uint32_t *ret_tree)
{
    struct tactus_options options;
    struct tactus_layout  layout = {TACTUS_LAYOUT_FIXED, 8, VALUE_BYTES};
    struct tactus        *store;

    small_options(&options);
    options.memtable_size = 256 * TAC_KIB;
    options.table_size = 64 * TAC_KIB;
    options.threads = threads;
    options.backend = TACTUS_BACKEND_MEMORY;
    options.file_size_max = TAC_GIB;
    options.uuid[0] = 1;
    if (tactus_open("threads", &options, &store) != TACTUS_OK ||
        tactus_tree_create(store, "t", &layout, ret_tree) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
    return store;
}

static bool put(struct tactus *store, uint32_t tree, uint64_t number)
{
    uint64_t key = tac_mix_u64(number);
    uint8_t  value[VALUE_BYTES] = {0};

    memcpy(value, &number, sizeof number);
    return tactus_put(store, tree, &key, sizeof key, value, sizeof value) == TACTUS_OK;
}

static bool is_there(struct tactus *store, uint32_t tree, uint64_t number)
{
    uint64_t key = tac_mix_u64(number);
    uint8_t  value[VALUE_BYTES];
    size_t   size;

    return tactus_get(store, tree, &key, sizeof key, value, sizeof value, &size) == TACTUS_OK &&
           memcmp(value, &number, sizeof number) == 0;
}

struct ingest {
    struct tactus *store;
    uint32_t       tree;
    uint32_t       is_over; /* Atomic */
    bool           is_right;
};

static void *ingest_main(void *argument)
{
    struct ingest *ingest = argument;

    ingest->is_right = true;
    for (uint64_t i = 0; i < RECORDS && ingest->is_right; i++) {
        ingest->is_right = put(ingest->store, ingest->tree, i);
    }
    tac_atomic_store_release_u32(&ingest->is_over, 1);
    return NULL;
}

static void digest_of(struct tactus *store, uint8_t digest[16])
{
    if (tactus_drain(store) != TACTUS_OK || tactus_digest(store, digest) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
}

static uint64_t changes_make(struct ingest *ingest)
{
    struct tac_prng prng = {3};
    uint64_t        changes = 0;

    while (tac_atomic_load_acquire_u32(&ingest->is_over) == 0) {
        const struct timespec rest = {0, (long)tac_prng_below(&prng, 3000000)};
        uint32_t              threads[3];
        struct tactus_stats   stats;

        for (uint32_t i = 0; i < 3; i++) {
            threads[i] = 1 + (uint32_t)tac_prng_below(&prng, THREADS_MOST);
        }
        if (tactus_threads_change(ingest->store, threads[0], threads[1], threads[2]) != TACTUS_OK) {
            tap_bail("%s", tactus_message());
        }
        tactus_stat(ingest->store, &stats);
        if (stats.threads_read != threads[0] || stats.threads_merge != threads[1] ||
            stats.threads_write != threads[2]) {
            tap_bail("tactus_stat tells of other threads");
        }
        changes++;
        nanosleep(&rest, NULL);
    }
    return changes;
}

static void test_changes(void)
{
    struct ingest       ingest = {0}, quiet = {0};
    struct tactus_stats stats;
    uint8_t             digest[16], expected[16];
    uint64_t            changes, wrong = 0;
    pthread_t           thread;

    quiet.store = store_open(3, &quiet.tree);
    (void)ingest_main(&quiet);
    digest_of(quiet.store, expected);
    ingest.store = store_open(3 * THREADS_MOST, &ingest.tree);
    if (pthread_create(&thread, NULL, ingest_main, &ingest) != 0) {
        tap_bail("no thread");
    }
    changes = changes_make(&ingest);
    pthread_join(thread, NULL);
    digest_of(ingest.store, digest);
    for (uint64_t i = 0; i < RECORDS; i++) {
        wrong += !is_there(ingest.store, ingest.tree, i);
    }
    tap_ok(quiet.is_right && ingest.is_right && changes > 0 && wrong == 0,
           "all that was put is there after %llu changes", (unsigned long long)changes);
    tap_ok(memcmp(digest, expected, sizeof digest) == 0,
           "the store is what it is without a change");
    tactus_stat(ingest.store, &stats);
    tap_ok(stats.stage[TACTUS_STAGE_MERGE].bytes >= stats.user_bytes &&
               stats.stage[TACTUS_STAGE_WRITE].bytes >= stats.user_bytes,
           "what threads did that have ended counts");
    tap_ok(tactus_close(ingest.store) == TACTUS_OK && tactus_close(quiet.store) == TACTUS_OK,
           "both close");
}

static void test_refusals(void)
{
    uint32_t       tree;
    struct tactus *store = store_open(3, &tree), *stepped = store_open(0, &tree);

    tap_ok(tactus_threads_change(store, 1, 0, 1) == TACTUS_EOPTION &&
               tactus_threads_change(store, 0, 0, 0) == TACTUS_EOPTION &&
               tactus_threads_change(store, 1, 65, 1) == TACTUS_EOPTION &&
               strstr(tactus_message(), "65") != NULL && put(store, tree, 1),
           "numbers that cannot be are refused, and the store goes on");
    tap_ok(tactus_threads_change(stepped, 1, 1, 1) == TACTUS_EOPTION && put(stepped, tree, 1),
           "a store without threads stays so");
    tap_ok(tactus_threads_change(store, TACTUS_THREADS_AUTO, TACTUS_THREADS_AUTO,
                                 TACTUS_THREADS_AUTO) == TACTUS_OK,
           "the store may choose");
    tap_ok(tactus_close(store) == TACTUS_OK && tactus_close(stepped) == TACTUS_OK, "both close");
}

int main(void)
{
    tap_plan(0);
    test_changes();
    test_refusals();
    return tap_done();
}
