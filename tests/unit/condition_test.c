/* SPDX-License-Identifier: Apache-2.0 */
/* Writes with a condition: what they do, what they leave alone, and that of writers side by side none
 * overwrites what another one has written since it looked. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/units.h"
#include "pipeline/store.h"
#include "tactus.h"
#include "tests/lib/small_options.h"
#include "tests/lib/tap.h"

#define WRITERS 4
#define INCREMENTS 500 /* Of each writer */
#define VALUE_MAX 64

static char path[512];

static struct tactus *store_open(enum tactus_log log)
{
    struct tactus_options options;
    struct tactus        *store;

    small_options(&options);
    options.file_size_max = TAC_GIB;
    options.page_cache_size = options.index_cache_size = TAC_MIB;
    options.threads = 3;
    options.log = log;
    if (access(path, F_OK) != 0 && tactus_create(path, &options) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
    if (tactus_open(path, &options, &store) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
    tactus_replay_end(store);
    return store;
}

static void store_remove(void)
{
    char log_path[sizeof path + 8];

    snprintf(log_path, sizeof log_path, "%s-wal", path);
    (void)unlink(path);
    (void)unlink(log_path);
}

static uint32_t tree_create(struct tactus *store)
{
    struct tactus_layout layout = {TACTUS_LAYOUT_VARIABLE, 16, VALUE_MAX};
    uint32_t             tree;

    if (tactus_tree_create(store, "tree", &layout, &tree) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
    return tree;
}

/* text NULL: there is no such record. */
static bool is_value(struct tactus *store, uint32_t tree, const char *key, const char *text)
{
    char   value[VALUE_MAX];
    size_t size;
    int    code = tactus_get(store, tree, key, strlen(key), value, sizeof value, &size);

    return text == NULL
               ? code == TACTUS_ENOTFOUND
               : code == TACTUS_OK && size == strlen(text) && memcmp(value, text, size) == 0;
}

static int absent_put(struct tactus *store, uint32_t tree, const char *key, const char *value)
{
    return tactus_put_if_absent(store, tree, key, strlen(key), value, strlen(value));
}

/* Both may be NULL: no record. */
static int set(struct tactus *store, uint32_t tree, const char *key, const char *expected,
               const char *value)
{
    return tactus_compare_and_set(store, tree, key, strlen(key), expected,
                                  expected == NULL ? 0 : strlen(expected), value,
                                  value == NULL ? 0 : strlen(value));
}

/* ---- one writer ----------------------------------------------------------------------------- */

static void test_records(void)
{
    struct tactus *store = store_open(TACTUS_LOG_NONE);
    uint32_t       tree = tree_create(store);
    uint64_t       op = tactus_last_op(store);

    tap_ok(absent_put(store, tree, "a", "1") == TACTUS_OK && is_value(store, tree, "a", "1"),
           "what is not there is put");
    tap_ok(absent_put(store, tree, "a", "2") == TACTUS_ECONFLICT && is_value(store, tree, "a", "1"),
           "what is there stays");
    tap_ok(tactus_last_op(store) == op + 2, "both are ops");
    tap_ok(set(store, tree, "a", "1", "22") == TACTUS_OK && is_value(store, tree, "a", "22"),
           "the value that is there is exchanged");
    tap_ok(set(store, tree, "a", "1", "3") == TACTUS_ECONFLICT &&
               set(store, tree, "a", "2", "3") == TACTUS_ECONFLICT &&
               set(store, tree, "a", "222", "3") == TACTUS_ECONFLICT &&
               set(store, tree, "a", NULL, "3") == TACTUS_ECONFLICT &&
               is_value(store, tree, "a", "22"),
           "another one is not, be it as long, shorter or longer");
    tap_ok(set(store, tree, "b", "1", "3") == TACTUS_ECONFLICT && is_value(store, tree, "b", NULL),
           "nor is what is not there");
    tap_ok(set(store, tree, "a", "22", NULL) == TACTUS_OK && is_value(store, tree, "a", NULL),
           "a delete has its condition too");
    tap_ok(set(store, tree, "a", NULL, "") == TACTUS_OK && is_value(store, tree, "a", "") &&
               set(store, tree, "a", "", "5") == TACTUS_OK && is_value(store, tree, "a", "5"),
           "an empty value is a value");
    op = tactus_last_op(store);
    tap_ok(tactus_put_if_absent(store, tree + 1, "a", 1, "1", 1) == TACTUS_ENOTREE &&
               tactus_put_if_absent(store, tree, "a", 0, "1", 1) == TACTUS_EKEYSIZE &&
               tactus_put_if_absent(store, tree, "a", 1, NULL, 1) == TACTUS_EINVAL &&
               tactus_compare_and_set(store, tree, "a", 1, path, VALUE_MAX + 1, "1", 1) ==
                   TACTUS_EVALUESIZE &&
               tactus_last_op(store) == op,
           "what cannot be is refused, and is no op");
    if (tactus_close(store) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
    store_remove();
}

static void test_batch(void)
{
    struct tactus       *store = store_open(TACTUS_LOG_NONE);
    uint32_t             tree = tree_create(store);
    struct tactus_batch *batch;
    uint64_t             op = 0, before;

    if (tactus_batch_new(store, &batch) != TACTUS_OK ||
        tactus_batch_put(batch, tree, "b", 1, "1", 1) != TACTUS_OK ||
        tactus_batch_expect(batch, tree, "a", 1, NULL, 0) != TACTUS_OK ||
        tactus_batch_expect(batch, tree, "b", 1, NULL, 0) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
    tap_ok(tactus_batch_commit(batch, &op) == TACTUS_OK && op == tactus_last_op(store) &&
               is_value(store, tree, "b", "1"),
           "a batch does not stand in the way of its own conditions");
    if (tactus_batch_put(batch, tree, "a", 1, "2", 1) != TACTUS_OK ||
        tactus_batch_expect(batch, tree, "a", 1, NULL, 0) != TACTUS_OK ||
        tactus_batch_expect(batch, tree, "b", 1, "2", 1) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
    before = tactus_last_op(store);
    tap_ok(tactus_batch_commit(batch, &op) == TACTUS_ECONFLICT &&
               tactus_last_op(store) == before + 1 && is_value(store, tree, "a", NULL),
           "one condition that does not hold is enough");
    if (tactus_put(store, tree, "b", 1, "2", 1) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
    tap_ok(tactus_batch_commit(batch, &op) == TACTUS_OK && is_value(store, tree, "a", "2"),
           "the batch has kept its entries, and is done once it may");
    before = tactus_last_op(store);
    tap_ok(tactus_batch_commit(batch, &op) == TACTUS_OK && tactus_last_op(store) == before,
           "then it is empty, which is no op");
    if (tactus_batch_expect(batch, tree, "a", 1, "2", 1) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
    tap_ok(tactus_batch_commit(batch, &op) == TACTUS_OK && op == before + 1,
           "conditions alone are an op");
    tactus_batch_free(batch);
    if (tactus_close(store) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
    store_remove();
}

/* ---- many writers --------------------------------------------------------------------------- */

struct counter {
    struct tactus *store;
    uint32_t       tree;
    uint32_t       conflicts;
    bool           has_failed;
};

static void *increments_make(void *context)
{
    struct counter *counter = context;

    for (uint32_t done = 0; done < INCREMENTS;) {
        char     old[VALUE_MAX], new[VALUE_MAX];
        size_t   old_size;
        uint32_t number = 0;
        int      code =
            tactus_get(counter->store, counter->tree, "n", 1, old, sizeof old - 1, &old_size);

        if (code == TACTUS_OK) {
            old[old_size] = 0;
            (void)sscanf(old, "%u", &number);
        }
        snprintf(new, sizeof new, "%u", number + 1);
        code = tactus_compare_and_set(counter->store, counter->tree, "n", 1,
                                      code == TACTUS_OK ? old : NULL,
                                      code == TACTUS_OK ? old_size : 0, new, strlen(new));
        if (code != TACTUS_OK && code != TACTUS_ECONFLICT) {
            counter->has_failed = true;
            return NULL;
        }
        done += code == TACTUS_OK;
        counter->conflicts += code == TACTUS_ECONFLICT;
    }
    return NULL;
}

/* None is lost; and a log brings back what they came to. */
static void test_counter(enum tactus_log log, const char *text)
{
    struct tactus *store = store_open(log);
    uint32_t       tree = tree_create(store);
    struct counter counters[WRITERS];
    pthread_t      threads[WRITERS];
    uint32_t       conflicts = 0;
    uint64_t       op;
    char           sum[16];
    bool           has_failed = false;

    for (uint32_t i = 0; i < WRITERS; i++) {
        counters[i] = (struct counter){.store = store, .tree = tree};
        if (pthread_create(&threads[i], NULL, increments_make, &counters[i]) != 0) {
            tap_bail("no thread");
        }
    }
    for (uint32_t i = 0; i < WRITERS; i++) {
        (void)pthread_join(threads[i], NULL);
        conflicts += counters[i].conflicts;
        has_failed |= counters[i].has_failed;
    }
    op = tactus_last_op(store);
    snprintf(sum, sizeof sum, "%u", WRITERS * INCREMENTS);
    tap_ok(!has_failed && is_value(store, tree, "n", sum),
           "%s: of %u increments by %u writers none is lost (%u met another one)", text,
           WRITERS * INCREMENTS, WRITERS, conflicts);
    if (log == TACTUS_LOG_SYNC) {
        tactus_abandon(store);
        store = store_open(log);
        tap_ok(tactus_last_op(store) == op && is_value(store, tree, "n", sum),
               "%s: a log brings them back, with the numbers of those that were not done", text);
    }
    if (tactus_close(store) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
    store_remove();
}

/* ---- a log that fails ----------------------------------------------------------------------- */

static int log_open(const struct tac_log_place *place, bool is_new,
                    struct tac_storage **ret_storage, struct tac_error *error)
{
    (void)is_new;
    return tac_storage_open_memory(place->context, ret_storage, error);
}

static int log_remove(const struct tac_log_place *place, struct tac_error *error)
{
    (void)place;
    (void)error;
    return TACTUS_OK;
}

/* A condition that does not hold has a number, which a synced log has made durable when the call
 * returns. Seeds 896 and 1335 of the simulator: the log failed, and the call told of the condition
 * alone. */
static void test_log_failure(void)
{
    struct tac_memory_disk *disks[2] = {tac_memory_disk_new(1), tac_memory_disk_new(2)};
    struct tac_log_place    place = {log_open, log_remove, disks[1]};
    struct tactus_options   options;
    struct tac_storage     *storage;
    struct tac_error        error;
    struct tactus          *store;
    uint32_t                tree;

    small_options(&options);
    options.file_size_max = TAC_GIB;
    options.log = TACTUS_LOG_SYNC;
    if (tac_storage_open_memory(disks[0], &storage, &error) != TACTUS_OK ||
        tac_store_create(storage, &options, &error) != TACTUS_OK ||
        tac_store_open(storage, &options, NULL, &place, &store, &error) != TACTUS_OK) {
        tap_bail("%s", error.message);
    }
    tactus_replay_end(store);
    tree = tree_create(store);
    tap_ok(absent_put(store, tree, "a", "1") == TACTUS_OK &&
               absent_put(store, tree, "a", "2") == TACTUS_ECONFLICT,
           "a condition that does not hold");
    tac_memory_disk_crash(disks[1], 3);
    tap_ok(absent_put(store, tree, "a", "2") == TACTUS_EPOISONED &&
               strstr(tactus_message(), "write-ahead log") != NULL,
           "whose number the log cannot keep: %s", tactus_message());
    tactus_abandon(store);
    tac_memory_disk_free(disks[0]);
    tac_memory_disk_free(disks[1]);
}

int main(void)
{
    const char *directory = getenv("TMPDIR");

    tap_plan(0);
    snprintf(path, sizeof path, "%s/condition_test.%d", directory != NULL ? directory : "/tmp",
             (int)getpid());
    test_records();
    test_batch();
    test_counter(TACTUS_LOG_NONE, "no log");
    test_counter(TACTUS_LOG_SYNC, "log");
    test_log_failure();
    return tap_done();
}
