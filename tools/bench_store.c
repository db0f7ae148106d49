/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bench_store.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/units.h"
#include "lsm/superblock.h"
#include "stages/storage.h"
#include "tools/command.h"

#define RECORDS_TREE "default"
#define MARK_TREE "bench"
#define MARK_VALUE_MAX 31

/* ---- making --------------------------------------------------------------------------------- */

/* Whether the open file begins like a store; a damaged copy still names its format. */
static bool superblock_is_ours(struct tac_storage *storage, struct tac_error *error)
{
    struct tac_superblock_choice choice;
    const uint8_t               *copies[TAC_SUPERBLOCK_COPIES] = {NULL};
    uint8_t                     *copy = aligned_alloc(4096, TAC_SUPERBLOCK_BYTES);
    bool                         is_ours = false;

    tac_assert(storage->alignment_bytes <= 4096);
    if (copy == NULL) {
        tac_error_set(error, TACTUS_ENOMEM, "out of memory for a superblock");
        return false;
    }
    if (storage->ops->read(storage, copy, TAC_SUPERBLOCK_BYTES, 0, error) == TACTUS_OK) {
        copies[0] = copy;
        is_ours = tac_superblock_choose(copies, &choice, error) != TACTUS_EFORMAT;
    }
    free(copy);
    return is_ours;
}

/* A log is the file beside the store's. It must not stay: stores of one seed have one UUID, and the
 * next one would replay it. */
static int files_unlink(const char *path)
{
    char log[PATH_MAX + sizeof "-wal"];

    snprintf(log, sizeof log, "%s-wal", path);
    (void)unlink(log);
    return unlink(path);
}

/* The lock that the storage holds keeps others from opening the store meanwhile. */
static int store_remove(const char *path)
{
    struct tac_storage *storage;
    struct tac_error    error;
    int                 status = TAC_EXIT_OK;
    int code = tac_storage_open_file(path, TACTUS_BACKEND_POSIX, false, &storage, &error);

    if (code == TACTUS_ENOSTORE) {
        return TAC_EXIT_OK;
    }
    if (code != TACTUS_OK) {
        return tac_fail(TAC_EXIT_FAILED, "%s\n  --force removes only a store that nobody uses.",
                        error.message);
    }
    if (!superblock_is_ours(storage, &error)) {
        status = tac_fail(TAC_EXIT_FAILED, "%s: %s\n  --force removes only Tactus stores.", path,
                          error.message);
    } else if (files_unlink(path) != 0) {
        status = tac_fail(TAC_EXIT_FAILED, "cannot remove %s: %s", path, strerror(errno));
    }
    storage->ops->close(storage);
    return status;
}

static int store_create(struct tac_bench_store *bench, const char *path)
{
    int code = tactus_create(path, &bench->options);

    if (code == TACTUS_EEXISTS) {
        return tac_fail(TAC_EXIT_FAILED,
                        "%s exists\n  Choose another path, or overwrite it with --force.", path);
    }
    return code == TACTUS_OK ? TAC_EXIT_OK : tac_fail_create(code);
}

/* A temporary file loses its name here, so it goes away however the process ends; so does one that
 * cannot be opened. */
static int store_create_open(struct tac_bench_store *bench)
{
    const char *folder = getenv("TMPDIR");
    char        temporary[PATH_MAX];
    const char *path = bench->path;
    int         status, code;

    if (path == NULL) {
        int length = snprintf(temporary, sizeof temporary, "%s/tactus-bench-%ld.tactus",
                              folder == NULL || folder[0] == 0 ? "." : folder, (long)getpid());

        if (length < 0 || length >= (int)sizeof temporary) {
            return tac_fail(TAC_EXIT_FAILED,
                            "TMPDIR is too long a path\n  Set it to another, or use --store.");
        }
        path = temporary;
    }
    status = store_create(bench, path);
    if (status != TAC_EXIT_OK) {
        return status;
    }
    code = tactus_open(path, &bench->options, &bench->store);
    if (code != TACTUS_OK) {
        status = tac_fail_code(code);
    }
    if (path == temporary || code != TACTUS_OK) {
        (void)files_unlink(path); /* Where that fails it stays in sight; the run goes on */
    }
    return status;
}

int tac_bench_store_make(struct tac_bench_store *bench)
{
    int status = TAC_EXIT_OK;
    int code;

    tac_assert(bench->store == NULL);
    if (bench->options.backend == TACTUS_BACKEND_MEMORY) {
        code = tactus_open(NULL, &bench->options, &bench->store);
        status = code == TACTUS_OK ? TAC_EXIT_OK : tac_fail_code(code);
    } else {
        if (bench->path != NULL && bench->may_overwrite) {
            status = store_remove(bench->path);
        }
        if (status == TAC_EXIT_OK) {
            status = store_create_open(bench);
        }
    }
    if (status != TAC_EXIT_OK) {
        return status;
    }
    code = tactus_tree_create(bench->store, RECORDS_TREE, &bench->shape->layout, &bench->tree);
    return code == TACTUS_OK ? TAC_EXIT_OK : tac_fail_code(code);
}

/* ---- the mark ------------------------------------------------------------------------------- */

static int mark_number_put(struct tactus_batch *batch, uint32_t tree, const char *name,
                           uint64_t number)
{
    char text[MARK_VALUE_MAX + 1];
    int  length = snprintf(text, sizeof text, "%" PRIu64, number);

    tac_assert(length > 0 && length < (int)sizeof text);
    return tactus_batch_put(batch, tree, name, strlen(name), text, (size_t)length);
}

/* One op, so there is a whole mark or none. */
static int mark_put(struct tac_bench_store *bench, struct tactus_batch *batch, uint32_t tree)
{
    const char *shape = bench->shape->name;
    int         code = tactus_batch_put(batch, tree, "shape", 5, shape, strlen(shape));

    if (code == TACTUS_OK) {
        code = mark_number_put(batch, tree, "records", bench->records);
    }
    if (code == TACTUS_OK) {
        code = mark_number_put(batch, tree, "seed", bench->seed);
    }
    if (code == TACTUS_OK) {
        code = mark_number_put(batch, tree, "bytes", bench->sums.bytes);
    }
    if (code == TACTUS_OK) {
        code = mark_number_put(batch, tree, "key_prefix_sum", bench->sums.key_prefix);
    }
    return code == TACTUS_OK ? tactus_batch_commit(batch, NULL) : code;
}

int tac_bench_store_mark(struct tac_bench_store *bench)
{
    const struct tactus_layout layout = {TACTUS_LAYOUT_VARIABLE, 31, MARK_VALUE_MAX};
    struct tactus_batch       *batch;
    uint32_t                   tree;
    int                        code;

    tac_assert(bench->store != NULL);
    tac_assert(bench->sums.records == bench->records);
    code = tactus_batch_new(bench->store, &batch);
    if (code != TACTUS_OK) {
        return tac_fail_code(code);
    }
    code = tactus_tree_create(bench->store, MARK_TREE, &layout, &tree);
    if (code == TACTUS_OK) {
        code = mark_put(bench, batch, tree);
    }
    tactus_batch_free(batch);
    if (code == TACTUS_OK) {
        code = tactus_drain(bench->store);
    }
    return code == TACTUS_OK ? TAC_EXIT_OK : tac_fail_code(code);
}

/* ---- finding again -------------------------------------------------------------------------- */

bool tac_bench_store_exists(const struct tac_bench_store *bench)
{
    return bench->path != NULL && bench->options.backend != TACTUS_BACKEND_MEMORY &&
           access(bench->path, F_OK) == 0;
}

static bool mark_text_get(struct tac_bench_store *bench, uint32_t tree, const char *name,
                          char text[MARK_VALUE_MAX + 1])
{
    size_t size = 0;
    int    code = tactus_get(bench->store, tree, name, strlen(name), text, MARK_VALUE_MAX, &size);

    if (code != TACTUS_OK || size > MARK_VALUE_MAX) {
        return false;
    }
    text[size] = 0;
    return true;
}

static bool mark_number_get(struct tac_bench_store *bench, uint32_t tree, const char *name,
                            uint64_t *ret_number)
{
    char  text[MARK_VALUE_MAX + 1];
    char *end;

    if (!mark_text_get(bench, tree, name, text) || text[0] < '0' || text[0] > '9') {
        return false;
    }
    *ret_number = strtoull(text, &end, 10);
    return *end == 0;
}

static int mark_check(struct tac_bench_store *bench)
{
    char     shape[MARK_VALUE_MAX + 1];
    uint64_t records, seed;
    uint32_t tree;

    if (tactus_tree_find(bench->store, MARK_TREE, &tree) != TACTUS_OK ||
        tactus_tree_find(bench->store, RECORDS_TREE, &bench->tree) != TACTUS_OK ||
        !mark_text_get(bench, tree, "shape", shape) ||
        !mark_number_get(bench, tree, "records", &records) ||
        !mark_number_get(bench, tree, "seed", &seed) ||
        !mark_number_get(bench, tree, "bytes", &bench->sums.bytes) ||
        !mark_number_get(bench, tree, "key_prefix_sum", &bench->sums.key_prefix)) {
        return tac_fail(TAC_EXIT_FAILED,
                        "%s is no store that `tactus bench` has finished\n"
                        "  Make one: tactus bench ingest --store PATH",
                        bench->path);
    }
    if (strcmp(shape, bench->shape->name) != 0 || records != bench->records ||
        seed != bench->seed) {
        return tac_fail(TAC_EXIT_FAILED,
                        "%s holds other records\n"
                        "  Ask for what it holds: --shape %s --records %" PRIu64 " --seed %" PRIu64,
                        bench->path, shape, records, seed);
    }
    bench->sums.records = records;
    return TAC_EXIT_OK;
}

int tac_bench_store_open(struct tac_bench_store *bench)
{
    int code = tactus_open(bench->path, &bench->options, &bench->store);

    return code == TACTUS_OK ? mark_check(bench) : tac_fail_code(code);
}

void tac_bench_store_close(struct tac_bench_store *bench)
{
    if (bench->store != NULL) {
        tactus_abandon(bench->store);
        bench->store = NULL;
    }
}
