/* SPDX-License-Identifier: Apache-2.0 */
/* Fails the n-th allocation of a call, for n = 1, 2, … until the call makes no more of them: it
 * says TACTUS_ENOMEM with a text, leaves nothing behind (a sanitizer looks for leaks), and the same
 * call afterwards succeeds. Where less memory is only slower, success is an answer too.
 *
 * The linker gives the program its own malloc and so on (-Wl,--wrap): what the C library allocates
 * for itself is not seen. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tactus.h"
#include "tests/lib/tap.h"

#define CALLS_MAX 10000
#define RECORDS 600
#define CACHE_BYTES (64 << 10)

/* ---- allocations that fail ------------------------------------------------------------------ */

/* Of this thread: calls left until one fails, and whether it did. 0: none fails. */
static _Thread_local uint64_t allocations_left;
static _Thread_local bool     has_failed;
static _Thread_local bool     maps_fail; /* Mappings are counted, too */

static bool allocation_fails(void)
{
    if (allocations_left == 0 || --allocations_left > 0) {
        return false;
    }
    has_failed = true;
    return true;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
void *__real_mmap(void *address, size_t size, int protection, int flags, int file, off_t offset);
void *__wrap_mmap(void *address, size_t size, int protection, int flags, int file, off_t offset);

void *__wrap_malloc(size_t size) { return allocation_fails() ? NULL : __real_malloc(size); }

void *__wrap_calloc(size_t count, size_t size)
{
    return allocation_fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *memory, size_t size)
{
    return allocation_fails() ? NULL : __real_realloc(memory, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return allocation_fails() ? NULL : __real_aligned_alloc(alignment, size);
}

void *__wrap_mmap(void *address, size_t size, int protection, int flags, int file, off_t offset)
{
    return maps_fail && allocation_fails()
               ? MAP_FAILED
               : __real_mmap(address, size, protection, flags, file, offset);
}

/* ---- the calls ------------------------------------------------------------------------------ */

struct bench {
    char                     path[512];
    struct tactus_options    options;
    struct tactus           *store;
    uint32_t                 tree;
    struct tactus_batch     *batch;
    struct tactus_iterator  *iterator;
    char                     large[900];
    struct tactus_run_record record;
    char                     run_key[16];
    uint32_t                 run_next;
};

static void check(int code, const char *what)
{
    if (code != TACTUS_OK) {
        tap_bail("%s: %d %s", what, code, tactus_message());
    }
}

/* Each does one thing and, where it succeeds, undoes it with no allocation failing. */
static int create_call(struct bench *bench)
{
    int code = tactus_create(bench->path, &bench->options);

    allocations_left = 0;
    if (code == TACTUS_OK) {
        unlink(bench->path);
    } else if (access(bench->path, F_OK) == 0) {
        tap_ok(false, "a create that fails leaves no file");
    }
    return code;
}

static int open_call(struct bench *bench)
{
    int code = tactus_open(bench->path, &bench->options, &bench->store);

    allocations_left = 0;
    if (code == TACTUS_OK) {
        tactus_abandon(bench->store);
        bench->store = NULL;
    }
    return code;
}

static int memory_open_call(struct bench *bench)
{
    struct tactus_options options = bench->options;
    int                   code;

    options.backend = TACTUS_BACKEND_MEMORY;
    code = tactus_open(NULL, &options, &bench->store);
    allocations_left = 0;
    if (code == TACTUS_OK) {
        tactus_abandon(bench->store);
        bench->store = NULL;
    }
    return code;
}

static int batch_call(struct bench *bench)
{
    struct tactus_batch *batch;
    int                  code = tactus_batch_new(bench->store, &batch);
    char                 key[16];

    /* More than the batch has room for at first. */
    for (uint32_t i = 0; code == TACTUS_OK && i < 8; i++) {
        snprintf(key, sizeof key, "batch-%02u", i);
        code = tactus_batch_put(batch, bench->tree, key, strlen(key), bench->large,
                                sizeof bench->large);
        if (code != TACTUS_OK) {
            allocations_left = 0;
            tactus_batch_free(batch);
        }
    }
    allocations_left = 0;
    if (code == TACTUS_OK) {
        code = tactus_batch_commit(batch, NULL);
        tactus_batch_free(batch);
    }
    return code;
}

static int put_call(struct bench *bench)
{
    return tactus_put(bench->store, bench->tree, "put", 3, bench->large, 10);
}

static int run_read(void *context, const struct tactus_run_record **ret_records, size_t *ret_count)
{
    struct bench *bench = context;

    bench->record = (struct tactus_run_record){bench->run_key, 5, bench->large, 50, false};
    snprintf(bench->run_key, sizeof bench->run_key, "run-%u", bench->run_next);
    *ret_records = &bench->record;
    *ret_count = bench->run_next < 10;
    bench->run_next++;
    return TACTUS_OK;
}

static int ingest_call(struct bench *bench)
{
    uint64_t before = tactus_last_op(bench->store);
    int      code;

    bench->run_next = 0;
    code = tactus_ingest(bench->store, bench->tree, run_read, bench, NULL);
    return tactus_last_op(bench->store) == before + (code == TACTUS_OK) ? code : TACTUS_ECORRUPT;
}

static int delete_range_call(struct bench *bench)
{
    uint64_t before = tactus_last_op(bench->store);
    int      code = tactus_delete_range(bench->store, bench->tree, "batch", 5, "batch-04", 8, NULL);

    return tactus_last_op(bench->store) == before + (code == TACTUS_OK) ? code : TACTUS_ECORRUPT;
}

static int snapshot_create_call(struct bench *bench)
{
    int code = tactus_snapshot_create(bench->store, "more", NULL);

    allocations_left = 0;
    if (code == TACTUS_OK) {
        check(tactus_snapshot_release(bench->store, "more"), "release");
    }
    return code;
}

/* Where the one before has failed the snapshot is still there. */
static int snapshot_release_call(struct bench *bench)
{
    uint64_t left = allocations_left;
    int      code;

    allocations_left = 0;
    code = tactus_snapshot_create(bench->store, "more", NULL);
    check(code == TACTUS_EEXISTS ? TACTUS_OK : code, "snapshot");
    allocations_left = left;
    return tactus_snapshot_release(bench->store, "more");
}

/* From the first record to the last one. */
static int walk(struct tactus_iterator *iterator)
{
    uint32_t count = 0;
    int      code = tactus_iterator_first(iterator);

    while (code == TACTUS_OK) {
        count++;
        code = tactus_iterator_next(iterator);
    }
    return code != TACTUS_ENOTFOUND ? code : count < RECORDS ? TACTUS_ECORRUPT : TACTUS_OK;
}

/* Opens it, gets a record larger than a page, and reads all. */
static int snapshot_read_call(struct bench *bench)
{
    char                    value[sizeof bench->large];
    struct tactus_iterator *iterator;
    struct tactus_snapshot *snapshot;
    int                     code = tactus_snapshot_open(bench->store, "kept", &snapshot);

    if (code != TACTUS_OK) {
        return code;
    }
    code = tactus_snapshot_get(snapshot, bench->tree, "key-0007", 8, value, sizeof value, NULL);
    if (code == TACTUS_OK) {
        code = tactus_snapshot_iterator(snapshot, bench->tree, &iterator);
    }
    if (code == TACTUS_OK) {
        code = walk(iterator);
        tactus_iterator_close(iterator);
    }
    tactus_snapshot_close(snapshot);
    return code;
}

static const struct tactus_layout more_layout = {TACTUS_LAYOUT_FIXED, 8, 8};

static int tree_create_call(struct bench *bench)
{
    uint32_t tree;
    int      code = tactus_tree_create(bench->store, "more", &more_layout, &tree);

    allocations_left = 0;
    if (code == TACTUS_OK) {
        check(tactus_tree_drop(bench->store, tree), "drop");
    }
    return code;
}

/* Where the one before has failed the tree is still there. */
static int tree_drop_call(struct bench *bench)
{
    uint64_t left = allocations_left;
    uint32_t tree;

    allocations_left = 0;
    if (tactus_tree_find(bench->store, "more", &tree) != TACTUS_OK) {
        check(tactus_tree_create(bench->store, "more", &more_layout, &tree), "tree");
    }
    allocations_left = left;
    return tactus_tree_drop(bench->store, tree);
}

static int compact_range_call(struct bench *bench)
{
    int code = tactus_compact_range(bench->store, bench->tree, "key-0100", 8, NULL, 0);

    allocations_left = 0;
    if (code == TACTUS_OK) {
        code = tactus_compact_cancel(bench->store);
    }
    return code;
}

static int cache_change_call(struct bench *bench)
{
    int code = tactus_cache_change(bench->store, CACHE_BYTES, CACHE_BYTES);

    allocations_left = 0;
    if (code == TACTUS_OK) {
        check(tactus_cache_change(bench->store, 0, 0), "caches without memory");
    }
    return code;
}

/* Of a record larger than a page, which no cache has a frame for. */
static int get_call(struct bench *bench)
{
    char   value[sizeof bench->large];
    size_t size;
    int    code = tactus_get(bench->store, bench->tree, "key-0007", 8, value, sizeof value, &size);

    return code == TACTUS_OK && (size != sizeof value || memcmp(value, bench->large, size) != 0)
               ? TACTUS_ECORRUPT
               : code;
}

static int scan_call(struct bench *bench)
{
    struct tactus_iterator *iterator;
    int                     code = tactus_iterator_open(bench->store, bench->tree, &iterator);

    if (code == TACTUS_OK) {
        code = walk(iterator);
        tactus_iterator_close(iterator);
    }
    return code;
}

static int drain_call(struct bench *bench) { return tactus_drain(bench->store); }

static int verify_call(struct bench *bench)
{
    struct tactus_verify_report report;

    return tactus_verify(bench->store, NULL, NULL, &report);
}

static int digest_call(struct bench *bench)
{
    uint8_t digest[16];

    return tactus_digest(bench->store, digest);
}

/* ---- the sweep ------------------------------------------------------------------------------ */

static void sweep(struct bench *bench, int (*call)(struct bench *bench), const char *name,
                  uint64_t allocations_min)
{
    uint64_t number = 0, refused = 0, wrong = 0;

    do {
        int code;

        number++;
        has_failed = false;
        allocations_left = number;
        code = call(bench);
        allocations_left = 0;
        refused += code == TACTUS_ENOMEM;
        if (code != TACTUS_OK && code != TACTUS_ENOMEM) {
            wrong++;
            tap_diag("%s, allocation %llu: %d %s", name, (unsigned long long)number, code,
                     tactus_message());
        }
        if (code == TACTUS_ENOMEM && (!has_failed || strstr(tactus_message(), "memory") == NULL)) {
            wrong++;
            tap_diag("%s, allocation %llu: the text is \"%s\"", name, (unsigned long long)number,
                     tactus_message());
        }
        if (call(bench) != TACTUS_OK) {
            wrong++;
            tap_diag("%s after allocation %llu had failed: %s", name, (unsigned long long)number,
                     tactus_message());
        }
    } while (has_failed && number < CALLS_MAX);
    tap_ok(wrong == 0 && !has_failed && number > allocations_min,
           "%s: each of %llu allocations fails, %llu make it say so", name,
           (unsigned long long)number - 1, (unsigned long long)refused);
}

static void fill(struct bench *bench)
{
    struct tactus_layout layout = {TACTUS_LAYOUT_VARIABLE, 16, sizeof bench->large};
    char                 key[16];

    check(tactus_open(bench->path, &bench->options, &bench->store), "open");
    check(tactus_tree_create(bench->store, "tree", &layout, &bench->tree), "tree");
    for (uint32_t i = 0; i < RECORDS; i++) {
        snprintf(key, sizeof key, "key-%04u", i);
        check(tactus_put(bench->store, bench->tree, key, strlen(key), bench->large,
                         i % 8 == 7 ? sizeof bench->large : i % 100),
              "put");
    }
    check(tactus_drain(bench->store), "drain");
}

static void store_test(struct bench *bench, enum tactus_backend backend, uint32_t threads)
{
    const char *kind = threads > 0 ? "with threads" : "without threads";

    tap_diag("%s, %s", backend == TACTUS_BACKEND_POSIX ? "posix" : "auto", kind);
    bench->options.backend = backend;
    bench->options.threads_read = bench->options.threads_merge = bench->options.threads_write =
        threads;
    sweep(bench, create_call, "create", 3);
    check(tactus_create(bench->path, &bench->options), "create");
    sweep(bench, open_call, "open", 30);
    fill(bench);
    check(tactus_close(bench->store), "close");
    sweep(bench, open_call, "open of a full store", 30);
    check(tactus_open(bench->path, &bench->options, &bench->store), "open");
    sweep(bench, batch_call, "batch", 2);
    sweep(bench, put_call, "put", 0);
    sweep(bench, ingest_call, "ingest", 8);
    sweep(bench, delete_range_call, "delete range", 0);
    check(tactus_snapshot_create(bench->store, "kept", NULL), "snapshot");
    sweep(bench, snapshot_create_call, "snapshot created", 1);
    sweep(bench, snapshot_release_call, "snapshot released", 5);
    sweep(bench, snapshot_read_call, "snapshot opened and read", 10);
    sweep(bench, tree_create_call, "tree created", 0);
    sweep(bench, tree_drop_call, "tree dropped", 0);
    sweep(bench, compact_range_call, "key range compacted", 0);
    sweep(bench, cache_change_call, "caches changed", 0);
    sweep(bench, get_call, "get", 1);
    sweep(bench, scan_call, "scan", 3);
    sweep(bench, drain_call, "drain", 0);
    sweep(bench, verify_call, "verify", 1);
    sweep(bench, digest_call, "digest", 1);
    check(tactus_close(bench->store), "close");
    bench->store = NULL;
    sweep(bench, memory_open_call, "open in memory", 30);
    unlink(bench->path);
}

/* ---- bars that a call ends before it fails -------------------------------------------------- */

#define FULL_TREES 64
#define FULL_RECORDS 200

static void full_put(struct tactus *store, const char *name, uint32_t from)
{
    uint32_t tree;
    char     key[9];

    check(tactus_tree_find(store, name, &tree), "find");
    for (uint32_t i = from; i < from + FULL_RECORDS; i++) {
        snprintf(key, sizeof key, "%08u", i);
        check(tactus_put(store, tree, key, 8, "value---", 8), "put");
    }
}

/* A create that has to end bars for a number, and whose n-th allocation fails, among other ops; with
 * a crash behind them or without. Returns the call's code. */
static int full_run(const struct bench *bench, uint64_t number, bool has_crash, uint8_t digest[16])
{
    struct tactus_options options = bench->options;
    struct tactus        *store;
    char                  name[16], log_path[sizeof bench->path + 8];
    int                   code;

    snprintf(log_path, sizeof log_path, "%s-wal", bench->path);
    options.log = TACTUS_LOG_SYNC;
    options.checkpoint_interval_bars = 64;
    options.uuid[0] = 1;
    check(tactus_create(bench->path, &options), "create");
    check(tactus_open(bench->path, &options, &store), "open");
    for (uint32_t i = 0; i < FULL_TREES; i++) {
        snprintf(name, sizeof name, "t%u", i);
        check(tactus_tree_create(store, name, &more_layout, NULL), "tree");
    }
    full_put(store, "t7", 0);
    full_put(store, "t8", 0);
    check(tactus_tree_drop(store, 7), "drop");
    has_failed = false;
    maps_fail = true;
    allocations_left = number;
    code = tactus_tree_create(store, "more", &more_layout, NULL);
    allocations_left = 0;
    maps_fail = false;
    full_put(store, "t8", 100);
    if (code != TACTUS_OK) {
        check(tactus_tree_create(store, "more", &more_layout, NULL), "tree");
    }
    full_put(store, "more", 0);
    if (has_crash) {
        tactus_abandon(store);
        check(tactus_open(bench->path, &options, &store), "open");
    }
    check(tactus_drain(store), "drain");
    check(tactus_digest(store, digest), "digest");
    check(tactus_close(store), "close");
    unlink(bench->path);
    unlink(log_path);
    return code;
}

static void full_test(const struct bench *bench)
{
    uint64_t number = 0, refused = 0, wrong = 0;
    uint8_t  whole[16], crashed[16];
    bool     did_fail;

    do {
        int code = full_run(bench, ++number, false, whole);

        did_fail = has_failed;
        refused += code == TACTUS_ENOMEM;
        wrong += code != TACTUS_OK && code != TACTUS_ENOMEM;
        wrong += full_run(bench, number, true, crashed) != code;
        if (memcmp(whole, crashed, sizeof whole) != 0) {
            wrong++;
            tap_diag("allocation %llu: a replay gives another file", (unsigned long long)number);
        }
    } while (did_fail && number < CALLS_MAX);
    tap_ok(
        wrong == 0 && !did_fail && refused > 0,
        "a tree for which bars must end: each of %llu allocations fails, and a replay of what was "
        "done gives the same file",
        (unsigned long long)number - 1);
}

int main(void)
{
    const char  *directory = getenv("TMPDIR");
    struct bench bench = {0};

    tap_plan(0);
    snprintf(bench.path, sizeof bench.path, "%.400s/nth_alloc.tactus",
             directory != NULL ? directory : "/tmp");
    unlink(bench.path);
    memset(bench.large, 'v', sizeof bench.large);
    tactus_options_init(&bench.options);
    check(tactus_options_set(&bench.options, "memtable_size", "64KiB"), "option");
    check(tactus_options_set(&bench.options, "block_size", "4KiB"), "option");
    check(tactus_options_set(&bench.options, "page_size", "512"), "option");
    check(tactus_options_set(&bench.options, "table_size", "16KiB"), "option");
    check(tactus_options_set(&bench.options, "slice_size", "32KiB"), "option");
    check(tactus_options_set(&bench.options, "runs_per_level", "2"), "option");
    check(tactus_options_set(&bench.options, "beats_per_bar", "16"), "option");
    check(tactus_options_set(&bench.options, "file_size_max", "64MiB"), "option");
    check(tactus_options_set(&bench.options, "page_cache_size", "0"), "option");
    check(tactus_options_set(&bench.options, "index_cache_size", "0"), "option");
    check(tactus_options_set(&bench.options, "cache_size_max", "64KiB"), "option");
    check(tactus_options_set(&bench.options, "tables_max", "1024"), "option");
    store_test(&bench, TACTUS_BACKEND_POSIX, 0);
    store_test(&bench, TACTUS_BACKEND_AUTO, 1);
    bench.options.threads_read = bench.options.threads_merge = bench.options.threads_write = 0;
    full_test(&bench);
    return tap_done();
}
