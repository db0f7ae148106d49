/* SPDX-License-Identifier: Apache-2.0 */
/* A process forks with a store open: the child may do nothing with it, the parent goes on. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/units.h"
#include "tactus.h"
#include "tests/lib/child.h"
#include "tests/lib/tap.h"

struct open_store {
    struct tactus_pool     *pool; /* NULL: the store is on its own */
    struct tactus          *store;
    struct tactus_batch    *batch;
    struct tactus_iterator *iterator;
    struct tactus_snapshot *snapshot;
    char                    path[512];
    uint32_t                tree;
    bool                    is_writing; /* Atomic: the writing thread goes on */
};

/* The address of a key, so that the calls below stay on a line. */
#define KEY "b", (size_t)1

/* A sorted run without records. */
static int run_end(void *context, const struct tactus_run_record **ret_records, size_t *ret_count)
{
    (void)context;
    (void)ret_records;
    *ret_count = 0;
    return TACTUS_OK;
}

static int child_writes(const void *context)
{
    const struct open_store *open = context;
    struct tactus_layout     layout = {TACTUS_LAYOUT_VARIABLE, 16, 100};
    int                      descriptor;

    CHECK(tactus_put(open->store, open->tree, KEY, "2", 1) == TACTUS_EFORKED);
    CHECK(strstr(tactus_message(), "parent") != NULL);
    CHECK(tactus_put_if_absent(open->store, open->tree, KEY, KEY) == TACTUS_EFORKED);
    CHECK(tactus_compare_and_set(open->store, open->tree, KEY, KEY, KEY) == TACTUS_EFORKED);
    CHECK(tactus_delete(open->store, open->tree, KEY) == TACTUS_EFORKED);
    CHECK(tactus_batch_commit(open->batch, NULL) == TACTUS_EFORKED);
    CHECK(tactus_ingest(open->store, open->tree, run_end, NULL, NULL) == TACTUS_EFORKED);
    CHECK(tactus_tree_create(open->store, "other", &layout, NULL) == TACTUS_EFORKED);
    CHECK(tactus_tree_drop(open->store, open->tree) == TACTUS_EFORKED);
    CHECK(tactus_drain(open->store) == TACTUS_EFORKED);
    CHECK(tactus_compact(open->store, open->tree) == TACTUS_EFORKED);
    CHECK(tactus_compact_range(open->store, open->tree, KEY, NULL, 0) == TACTUS_EFORKED);
    CHECK(tactus_delete_range(open->store, open->tree, KEY, "z", 1, NULL) == TACTUS_EFORKED);
    CHECK(tactus_compact_step(open->store, NULL) == TACTUS_EFORKED);
    CHECK(tactus_compact_cancel(open->store) == TACTUS_EFORKED);
    CHECK(tactus_compaction_hold(open->store, true) == TACTUS_EFORKED);
    CHECK(tactus_checkpoint(open->store) == TACTUS_EFORKED);
    CHECK(tactus_sync(open->store) == TACTUS_EFORKED);
    CHECK(tactus_pause(open->store) == TACTUS_EFORKED);
    CHECK(tactus_resume(open->store) == TACTUS_EFORKED);
    CHECK(tactus_beat(open->store) == TACTUS_EFORKED);
    CHECK(tactus_threads_change(open->store, 1, 1, 1) == TACTUS_EFORKED);
    CHECK(tactus_descriptor(open->store, &descriptor) == TACTUS_EFORKED);
    CHECK(tactus_snapshot_create(open->store, "other", NULL) == TACTUS_EFORKED);
    CHECK(tactus_snapshot_release(open->store, "snapshot") == TACTUS_EFORKED);
    CHECK(!tactus_step(open->store));
    return 0;
}

static int child_reads(const void *context)
{
    const struct open_store *open = context;
    struct tactus_iterator  *iterator;
    struct tactus_snapshot  *snapshot;
    struct tactus_stats      stats;
    uint8_t                  digest[16];
    struct tactus_value      value;
    struct tactus_lookup     lookup = {.key = "a", .key_size = 1};
    uint32_t                 number;
    size_t                   size;

    struct tactus_compact_progress progress;

    CHECK(tactus_get(open->store, open->tree, KEY, NULL, 0, &size) == TACTUS_EFORKED);
    CHECK(tactus_get_pinned(open->store, open->tree, KEY, &value) == TACTUS_EFORKED);
    CHECK(tactus_get_many(open->store, open->tree, &lookup, 1) == TACTUS_EFORKED &&
          lookup.code == TACTUS_EFORKED);
    CHECK(tactus_iterator_open(open->store, open->tree, &iterator) == TACTUS_EFORKED);
    CHECK(tactus_iterator_bound(open->iterator, KEY, KEY) == TACTUS_EFORKED);
    CHECK(tactus_iterator_prefix(open->iterator, KEY) == TACTUS_EFORKED);
    CHECK(tactus_iterator_first(open->iterator) == TACTUS_EFORKED);
    CHECK(tactus_iterator_last(open->iterator) == TACTUS_EFORKED);
    CHECK(tactus_iterator_next(open->iterator) == TACTUS_EFORKED);
    CHECK(tactus_iterator_previous(open->iterator) == TACTUS_EFORKED);
    CHECK(tactus_iterator_seek(open->iterator, KEY) == TACTUS_EFORKED);
    CHECK(tactus_iterator_seek_back(open->iterator, KEY) == TACTUS_EFORKED);
    CHECK(tactus_tree_find(open->store, "tree", &number) == TACTUS_EFORKED);
    CHECK(tactus_tree_list(open->store, NULL, 0, &number) == TACTUS_EFORKED);
    CHECK(tactus_snapshot_list(open->store, NULL, 0, &number) == TACTUS_EFORKED);
    CHECK(tactus_snapshot_open(open->store, "snapshot", &snapshot) == TACTUS_EFORKED);
    CHECK(tactus_snapshot_get(open->snapshot, open->tree, KEY, NULL, 0, &size) == TACTUS_EFORKED);
    CHECK(tactus_snapshot_iterator(open->snapshot, open->tree, &iterator) == TACTUS_EFORKED);
    CHECK(tactus_verify(open->store, NULL, NULL, NULL) == TACTUS_EFORKED);
    CHECK(tactus_digest(open->store, digest) == TACTUS_EFORKED);
    CHECK(tactus_io_rate_change(open->store, 0) == TACTUS_EFORKED);
    CHECK(tactus_cache_change(open->store, 0, 0) == TACTUS_EFORKED);
    CHECK(tactus_events_set(open->store, NULL, NULL, 0, 0) == TACTUS_EFORKED);
    CHECK(tactus_plan(open->store, NULL, 0, &number) == TACTUS_EFORKED);
    CHECK(tactus_metrics(open->store, NULL, NULL, 0, &size) == TACTUS_EFORKED);
    tactus_compact_progress(open->store, &progress);
    CHECK(progress.state == TACTUS_COMPACT_NONE);
    tactus_stat(open->store, &stats);
    CHECK(stats.last_op == 0 && stats.backend != NULL);
    return 0;
}

static int child_leaves(const void *context)
{
    const struct open_store *open = context;
    struct tactus           *again;

    CHECK(tactus_open(open->path, NULL, &again) == TACTUS_ELOCKED);
    tactus_snapshot_close(open->snapshot);
    tactus_abandon(open->store);
    CHECK(tactus_close(open->store) == TACTUS_EFORKED);
    return 0;
}

static int child_of_pool(const void *context)
{
    const struct open_store *open = context;
    struct tactus_pool_stats stats = {.stores = 7};
    struct tactus           *again;

    CHECK(tactus_open_in(open->pool, open->path, NULL, &again) == TACTUS_EFORKED);
    CHECK(strstr(tactus_message(), "parent") != NULL);
    CHECK(tactus_pool_threads_change(open->pool, 1, 1, 1) == TACTUS_EFORKED);
    CHECK(!tactus_pool_step(open->pool));
    tactus_pool_stat(open->pool, &stats);
    CHECK(stats.stores == 0 && stats.threads_merge == 0);
    CHECK(tactus_pool_close(open->pool) == TACTUS_EFORKED);
    return 0;
}

static int child_of_busy_parent(const void *context)
{
    CHECK(child_writes(context) == 0);
    return child_reads(context);
}

static void *writer_main(void *context)
{
    struct open_store *open = context;
    uint64_t           number = 0;

    while (__atomic_load_n(&open->is_writing, __ATOMIC_RELAXED)) {
        number++;
        tac_maybe(tactus_put(open->store, open->tree, &number, sizeof number, "x", 1) == 0);
    }
    return NULL;
}

/* Most forks happen while the other thread holds the locks of the store: nobody will ever give them
 * back in the child. */
static void busy_parent_check(struct open_store *open, const char *name)
{
    pthread_t thread;
    uint32_t  right = 0;

    __atomic_store_n(&open->is_writing, true, __ATOMIC_RELAXED);
    if (pthread_create(&thread, NULL, writer_main, open) != 0) {
        tap_bail("cannot start a thread");
    }
    for (uint32_t i = 0; i < 10; i++) {
        usleep(1000);
        right += child_wait_status(child_of_busy_parent, open) == 0;
    }
    __atomic_store_n(&open->is_writing, false, __ATOMIC_RELAXED);
    pthread_join(thread, NULL);
    tap_ok(right == 10, "%s: also of a parent of which a thread was writing", name);
}

static int store_open_again(struct open_store *open, const struct tactus_options *options)
{
    return open->pool == NULL ? tactus_open(open->path, options, &open->store)
                              : tactus_open_in(open->pool, open->path, options, &open->store);
}

/* The parent closes and opens again while a child lives that was forked meanwhile. */
static void lock_check(struct open_store *open, const struct tactus_options *options,
                       const char *name)
{
    int   status, ends[2];
    char  byte;
    pid_t child;

    if (pipe(ends) != 0 || (child = fork()) < 0) {
        tap_bail("cannot start a child");
    }
    if (child == 0) {
        close(ends[1]);
        _exit(read(ends[0], &byte, 1) == 0 ? 0 : 1);
    }
    close(ends[0]);
    tap_ok(tactus_close(open->store) == TACTUS_OK && store_open_again(open, options) == TACTUS_OK,
           "%s: a child that lives on does not keep what its parent closed locked", name);
    close(ends[1]);
    (void)waitpid(child, &status, 0);
}

static void store_open(struct open_store *open, const struct tactus_options *options)
{
    struct tactus_layout layout = {TACTUS_LAYOUT_VARIABLE, 16, 100};
    const char          *directory = getenv("TMPDIR");

    snprintf(open->path, sizeof open->path, "%.400s/fork-%ld",
             directory != NULL ? directory : "/tmp", (long)getpid());
    if (tactus_create(open->path, options) != TACTUS_OK ||
        store_open_again(open, options) != TACTUS_OK ||
        tactus_tree_create(open->store, "tree", &layout, &open->tree) != TACTUS_OK ||
        tactus_put(open->store, open->tree, "a", 1, "1", 1) != TACTUS_OK ||
        tactus_batch_new(open->store, &open->batch) != TACTUS_OK ||
        tactus_batch_put(open->batch, open->tree, KEY, "3", 1) != TACTUS_OK ||
        tactus_iterator_open(open->store, open->tree, &open->iterator) != TACTUS_OK ||
        tactus_snapshot_create(open->store, "snapshot", NULL) != TACTUS_OK ||
        tactus_snapshot_open(open->store, "snapshot", &open->snapshot) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
}

static void test_backend(enum tactus_backend backend, uint32_t threads, struct tactus_pool *pool,
                         const char *name)
{
    struct open_store     open = {.pool = pool};
    struct tactus_options options;
    char                  value[16];
    size_t                size;

    tactus_options_init(&options);
    options.memtable_size = TAC_MIB;
    options.page_cache_size = TAC_MIB;
    options.index_cache_size = 4 * TAC_MIB;
    options.threads_read = options.threads_merge = options.threads_write = threads;
    options.backend = backend;
    store_open(&open, &options);
    child_check(child_writes, &open, "%s: a child is refused every write", name);
    child_check(child_reads, &open, "%s: and every read", name);
    child_check(child_leaves, &open, "%s: it can neither open nor close it", name);
    if (pool != NULL) {
        child_check(child_of_pool, &open, "%s: and the pool is its parent's", name);
    }
    busy_parent_check(&open, name);
    tap_ok(tactus_batch_commit(open.batch, NULL) == TACTUS_OK &&
               tactus_iterator_first(open.iterator) != TACTUS_EFORKED,
           "%s: the parent goes on", name);
    tactus_iterator_close(open.iterator);
    tactus_snapshot_close(open.snapshot);
    tactus_batch_free(open.batch);
    lock_check(&open, &options, name);
    tap_ok(tactus_get(open.store, open.tree, KEY, value, sizeof value, &size) == TACTUS_OK &&
               tactus_close(open.store) == TACTUS_OK,
           "%s: with everything that the parent wrote", name);
    (void)unlink(open.path);
}

static void test_pool(uint32_t threads, const char *name)
{
    struct tactus_pool_options options;
    struct tactus_pool        *pool;

    tactus_pool_options_init(&options);
    options.threads_read = options.threads_merge = options.threads_write = threads;
    if (tactus_pool_open(&options, &pool) != TACTUS_OK) {
        tap_bail("pool: %s", tactus_message());
    }
    test_backend(TACTUS_BACKEND_AUTO, 0, pool, name);
    tap_ok(tactus_pool_close(pool) == TACTUS_OK, "%s: the parent closes it", name);
}

int main(void)
{
    tap_plan(0);
    test_backend(TACTUS_BACKEND_POSIX, 0, NULL, "posix, no threads");
    test_backend(TACTUS_BACKEND_POSIX, 2, NULL, "posix, 2/2/2");
    test_backend(TACTUS_BACKEND_AUTO, 2, NULL, "2/2/2");
    test_pool(2, "pool of 2/2/2");
    test_pool(0, "pool without threads");
    return tap_done();
}
