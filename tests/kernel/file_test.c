/* SPDX-License-Identifier: Apache-2.0 */
/* Files that are no store, or no whole one, and files that change under an open store. Each is
 * named for what it is; none is written to; nothing ever dies of a signal. */
#define _GNU_SOURCE 1

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/units.h"
#include "stages/storage_file.h"
#include "tests/lib/child.h"
#include "tests/lib/sequence.h"
#include "tests/lib/tap.h"

#define NOBODY 65534
#define OPS 15000

static char directory[256];

static const char *path_of(const char *name)
{
    static char paths[4][512];
    static int  turn;

    turn = (turn + 1) % 4;
    snprintf(paths[turn], sizeof paths[turn], "%s/%s", directory, name);
    return paths[turn];
}

/* ---- files that are not whole stores -------------------------------------------------------- */

static uint64_t file_size(const char *path)
{
    struct stat status;

    return stat(path, &status) == 0 ? (uint64_t)status.st_size : UINT64_MAX;
}

static bool file_copy(const char *from, const char *to)
{
    char command[1200];

    snprintf(command, sizeof command, "cp --sparse=always '%s' '%s'", from, to);
    return system(command) == 0;
}

static bool file_is_equal(const char *a, const char *b)
{
    char command[1200];

    snprintf(command, sizeof command, "cmp -s '%s' '%s'", a, b);
    return system(command) == 0;
}

static bool bytes_write(const char *path, uint64_t offset, const char *text)
{
    ssize_t size = (ssize_t)strlen(text);
    int     fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    bool    is_written = fd >= 0 && pwrite(fd, text, (size_t)size, (off_t)offset) == size;

    if (fd >= 0) {
        close(fd);
    }
    return is_written;
}

/* Cuts a file to so many bytes; more than it has: makes it longer with something in it. */
static bool file_cut(const char *path, uint64_t size)
{
    uint64_t before = file_size(path);

    return truncate(path, (off_t)size) == 0 &&
           (size <= before || bytes_write(path, before, "garbage behind the end"));
}

static void refused_check(int expected, const char *text, const char *what)
{
    struct tactus_options options;
    struct tactus        *store = NULL;
    const char           *path = path_of("bad");
    const char           *before = path_of("before");
    int                   code;

    sequence_options(&options, TACTUS_BACKEND_AUTO, 1);
    if (!file_copy(path, before)) {
        tap_bail("cannot copy %s", path);
    }
    code = tactus_open(path, &options, &store);
    if (!tap_ok(code == expected && store == NULL && strstr(tactus_message(), text) != NULL,
                "%s: refused, and the text says \"%s\"", what, text)) {
        tap_diag("code %d: %s", code, code == TACTUS_OK ? "opened" : tactus_message());
    }
    if (code == TACTUS_OK) {
        tactus_abandon(store);
    }
    tap_ok(file_is_equal(path, before), "%s: and is left as it was", what);
    (void)unlink(path);
    (void)unlink(before);
}

static void good_copy(void)
{
    if (!file_copy(path_of("good"), path_of("bad"))) {
        tap_bail("cannot copy the store");
    }
}

static void bad_files_check(void)
{
    const char *bad = path_of("bad");
    uint64_t    size = file_size(path_of("good"));

    (void)file_cut(bad, 0);
    (void)bytes_write(bad, 0, "");
    refused_check(TACTUS_EFORMAT, "the file has 0 bytes", "an empty file");
    (void)bytes_write(path_of("bad"), 0, "#!/bin/sh\necho a script\n");
    refused_check(TACTUS_EFORMAT, "not a Tactus store", "a short file of another format");
    (void)bytes_write(path_of("bad"), 0, "SQLite format 3");
    (void)truncate(path_of("bad"), TAC_MIB);
    refused_check(TACTUS_EFORMAT, "not a Tactus store", "a long file of another format");
    good_copy();
    (void)file_cut(path_of("bad"), 100 * TAC_KIB);
    refused_check(TACTUS_ECORRUPT, "bytes are missing", "a store cut to its first blocks");
    good_copy();
    (void)file_cut(path_of("bad"), size / 2);
    refused_check(TACTUS_ECORRUPT, "bytes are missing", "a store cut in its middle");
}

/* What lies behind the last block that is in use may go and come: the next plan makes the file as
 * long as it needs to be. */
static void ends_check(uint64_t used)
{
    static const char *const names[] = {"cut behind its last block", "grown by garbage"};
    uint64_t                 sizes[] = {used + 5000, file_size(path_of("good")) + 12345};
    struct tactus_options    options;
    struct tactus           *store;

    sequence_options(&options, TACTUS_BACKEND_AUTO, 1);
    for (uint32_t i = 0; i < 2; i++) {
        bool is_right;

        good_copy();
        is_right = file_cut(path_of("bad"), sizes[i]) &&
                   tactus_open(path_of("bad"), &options, &store) == TACTUS_OK;
        if (!tap_ok(is_right, "a store %s opens", names[i])) {
            tap_diag("%s", tactus_message());
            continue;
        }
        is_right = sequence_is_held(store) && sequence_is_sound(store) &&
                   sequence_run(store, 2 * OPS) == TACTUS_OK && sequence_is_held(store);
        is_right = sequence_close(store) == TACTUS_OK && is_right;
        tap_ok(is_right, "a store %s has everything, and goes on", names[i]);
        (void)unlink(path_of("bad"));
    }
}

/* Not with a byte less than the error text says. */
static void last_block_check(uint64_t used)
{
    struct tactus_options options;
    struct tactus        *store;
    bool                  is_right;

    sequence_options(&options, TACTUS_BACKEND_AUTO, 1);
    good_copy();
    is_right = file_cut(path_of("bad"), used) &&
               tactus_open(path_of("bad"), &options, &store) == TACTUS_OK;
    if (is_right) {
        is_right = sequence_is_held(store) && sequence_is_sound(store);
        tactus_abandon(store);
    }
    tap_ok(is_right, "a store cut behind its last block in use is whole");
    good_copy();
    (void)file_cut(path_of("bad"), used - 1);
    refused_check(TACTUS_ECORRUPT, "1 bytes are missing", "a store of which one byte is missing");
}

static int child_read_only_file(const void *context)
{
    struct tactus_options options;
    struct tactus        *store;

    (void)context;
    sequence_options(&options, TACTUS_BACKEND_AUTO, 0);
    CHECK(chmod(path_of("good"), 0444) == 0 && chmod(directory, 0755) == 0);
    if (geteuid() == 0 && (setgid(NOBODY) != 0 || setuid(NOBODY) != 0)) {
        return child_skip("cannot become another user");
    }
    if (access(directory, X_OK) != 0) {
        return child_skip("a directory above is closed to others");
    }
    CHECK(tactus_open(path_of("good"), &options, &store) == TACTUS_EACCESS);
    CHECK(strstr(tactus_message(), "Permission denied") != NULL);
    return 0;
}

/* ---- other names ---------------------------------------------------------------------------- */

static void names_check(void)
{
    struct tactus_options options;
    struct tactus        *store, *second;
    bool                  is_right;

    sequence_options(&options, TACTUS_BACKEND_AUTO, 1);
    good_copy();
    if (symlink("bad", path_of("link")) != 0 || link(path_of("bad"), path_of("hard")) != 0 ||
        tactus_open(path_of("link"), &options, &store) != TACTUS_OK) {
        tap_bail("cannot open a store by a link: %s", tactus_message());
    }
    tap_ok(tactus_open(path_of("bad"), &options, &second) == TACTUS_ELOCKED &&
               tactus_open(path_of("hard"), &options, &second) == TACTUS_ELOCKED,
           "a store that is open by one name is locked by every other");
    is_right = sequence_run(store, OPS + 100) == TACTUS_OK &&
               tactus_open(path_of("link"), &options, &second) == TACTUS_ELOCKED;
    tap_ok(is_right, "that others failed to open it changes nothing");
    tap_ok(sequence_close(store) == TACTUS_OK, "and it closes");
    (void)unlink(path_of("link"));
    (void)unlink(path_of("hard"));
    (void)unlink(path_of("bad"));
}

/* ---- files that change under an open store -------------------------------------------------- */

struct change {
    enum tactus_backend backend;
    uint32_t            threads;
    bool                direct_io;
};

/* Every key in turn: its right value, or an error that says what is wrong with the file. */
static int keys_are_right_or_refused(struct tactus *store, const struct sequence_model *model,
                                     uint32_t *ret_refused)
{
    *ret_refused = 0;
    for (uint32_t key = 0; key < SEQUENCE_KEYS; key++) {
        uint64_t number = __builtin_bswap64(key);
        uint8_t  value[512];
        uint64_t tag = 0;
        size_t   size;
        int      code = tactus_get(store, 0, &number, sizeof number, value, sizeof value, &size);

        if (code == TACTUS_EIO || code == TACTUS_ECORRUPT) {
            CHECK(strlen(tactus_message()) > 10);
            (*ret_refused)++;
            continue;
        }
        CHECK(code == (model->tags[0][key] == 0 ? TACTUS_ENOTFOUND : TACTUS_OK));
        if (code == TACTUS_OK) {
            memcpy(&tag, value, sizeof tag);
            CHECK(tag == model->tags[0][key]);
        }
    }
    return 0;
}

static int child_truncated(const void *context)
{
    const struct change   *change = context;
    struct sequence_model *model = calloc(1, sizeof *model);
    struct tactus_options  options;
    struct tactus         *store;
    uint32_t               refused = 0;
    int                    code;

    sequence_options(&options, change->backend, change->threads);
    options.direct_io = change->direct_io;
    CHECK(model != NULL && file_copy(path_of("good"), path_of("bad")));
    CHECK(tactus_open(path_of("bad"), &options, &store) == TACTUS_OK);
    sequence_model_advance(model, tactus_last_op(store));
    CHECK(truncate(path_of("bad"), 4096) == 0);
    CHECK(keys_are_right_or_refused(store, model, &refused) == 0);
    CHECK(refused > SEQUENCE_KEYS / 2);
    CHECK(tactus_verify(store, NULL, NULL, NULL) != TACTUS_OK);
    /* Writes may go on for a while, until a merge meets what is not there; nothing is made up. */
    code = sequence_run(store, tactus_last_op(store) + OPS);
    CHECK(code == TACTUS_OK || code == TACTUS_EPOISONED || code == TACTUS_EFULL);
    tac_maybe(tactus_close(store) == TACTUS_OK);
    code = tactus_open(path_of("bad"), &options, &store);
    CHECK(code == TACTUS_OK || code == TACTUS_ECORRUPT || code == TACTUS_EFORMAT ||
          code == TACTUS_EIO);
    if (code == TACTUS_OK) {
        tactus_abandon(store);
    }
    return 0;
}

/* A file of the same name is another file: the store goes on in the one that it opened. */
static int child_replaced(const void *context)
{
    const struct change  *change = context;
    struct tactus_options options;
    struct tactus        *store;

    sequence_options(&options, change->backend, change->threads);
    options.direct_io = change->direct_io;
    CHECK(file_copy(path_of("good"), path_of("bad")));
    CHECK(file_copy(path_of("good"), path_of("other")));
    CHECK(file_copy(path_of("good"), path_of("before")));
    CHECK(tactus_open(path_of("bad"), &options, &store) == TACTUS_OK);
    CHECK(rename(path_of("other"), path_of("bad")) == 0);
    CHECK(sequence_run(store, OPS + 10000) == TACTUS_OK);
    CHECK(sequence_is_held(store) && sequence_is_sound(store));
    CHECK(sequence_close(store) == TACTUS_OK);
    CHECK(file_is_equal(path_of("bad"), path_of("before")));
    return 0;
}

static void changes_check(void)
{
    static const struct change changes[] = {
        {TACTUS_BACKEND_POSIX, 0, true},
        {TACTUS_BACKEND_POSIX, 2, false},
        {TACTUS_BACKEND_IO_URING, 0, false},
        {TACTUS_BACKEND_IO_URING, 2, true},
    };
    bool has_uring = tac_storage_uring_probe(NULL) == TACTUS_OK;

    for (uint32_t i = 0; i < TAC_ARRAY_COUNT(changes); i++) {
        const char *backend = changes[i].backend == TACTUS_BACKEND_POSIX ? "posix" : "io_uring";

        if (changes[i].backend == TACTUS_BACKEND_IO_URING && !has_uring) {
            tap_skip("io_uring cannot be used here");
            continue;
        }
        child_check(child_truncated, &changes[i],
                    "%s, %u threads: a file cut while it is open gives errors, no wrong value, "
                    "and no signal",
                    backend, changes[i].threads);
        (void)unlink(path_of("bad"));
        child_check(child_replaced, &changes[i],
                    "%s, %u threads: a file that took the place of the open one is not touched",
                    backend, changes[i].threads);
        (void)unlink(path_of("bad"));
        (void)unlink(path_of("before"));
    }
}

/* ---- main ----------------------------------------------------------------------------------- */

/* How much of the file is in use, as the error text for a short one tells it, which still has all
 * copies of the superblock. The rest is cut off, so that copies are quick. */
static uint64_t good_cut(const struct tactus_options *options)
{
    unsigned long long missing = 0, used = 0, cut = 256 * options->block_size - 1;
    struct tactus     *store;
    const char        *text;

    good_copy();
    if (!file_cut(path_of("bad"), cut) ||
        tactus_open(path_of("bad"), options, &store) != TACTUS_ECORRUPT ||
        (text = strstr(tactus_message(), "the file was cut: ")) == NULL ||
        sscanf(text, "the file was cut: %llu bytes are missing of the %llu", &missing, &used) !=
            2 ||
        used != missing + cut || !file_cut(path_of("good"), used + 64 * TAC_KIB)) {
        tap_bail("a store that was cut opens, or says: %s", tactus_message());
    }
    (void)unlink(path_of("bad"));
    return used;
}

static uint64_t good_make(void)
{
    struct tactus_options options;
    struct tactus        *store;

    sequence_options(&options, TACTUS_BACKEND_AUTO, 1);
    if (tactus_create(path_of("good"), &options) != TACTUS_OK ||
        tactus_open(path_of("good"), &options, &store) != TACTUS_OK ||
        sequence_run(store, OPS) != TACTUS_OK || sequence_close(store) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
    return good_cut(&options);
}

int main(void)
{
    const char *base = getenv("TMPDIR");
    uint64_t    used;

    tap_plan(0);
    snprintf(directory, sizeof directory, "%.200s/tactus-file-XXXXXX",
             base != NULL ? base : P_tmpdir);
    if (mkdtemp(directory) == NULL) {
        tap_bail("cannot make %s", directory);
    }
    used = good_make();
    bad_files_check();
    ends_check(used);
    last_block_check(used);
    names_check();
    changes_check();
    child_check(child_read_only_file, NULL, "a file that may only be read is refused");
    (void)unlink(path_of("good"));
    if (rmdir(directory) != 0) {
        tap_diag("%s is not empty", directory);
    }
    return tap_done();
}
