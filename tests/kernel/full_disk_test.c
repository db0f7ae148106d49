/* SPDX-License-Identifier: Apache-2.0 */
/* A device that is full: a small ext4 in a file, mounted where only the child that needs it can see
 * it, so that it is gone with the child, however that ends. Needs root and a loop device. */
#define _GNU_SOURCE 1

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/units.h"
#include "stages/storage_file.h"
#include "tests/lib/child.h"
#include "tests/lib/sequence.h"
#include "tests/lib/tap.h"

#define DEVICE_MIB 100 /* Holds a store of 64 MiB, and not one of 128 MiB */
#define VALUE_BYTES 3000
#define VALUES_MAX 60000

struct mode {
    const char         *name;
    enum tactus_backend backend;
    uint32_t            threads;
    bool                direct_io;
};

static const struct mode modes[] = {
    {"io_uring, direct", TACTUS_BACKEND_IO_URING, 2, true},
    {"io_uring, buffered, no threads", TACTUS_BACKEND_IO_URING, 0, false},
    {"posix, direct, no threads", TACTUS_BACKEND_POSIX, 0, true},
    {"posix, buffered", TACTUS_BACKEND_POSIX, 2, false},
};

static char directory[256];

static const char *path_of(const char *name)
{
    static char paths[2][512];
    static int  turn;

    turn = (turn + 1) % 2;
    snprintf(paths[turn], sizeof paths[turn], "%s/%s", directory, name);
    return paths[turn];
}

/* In a name space of its own. `mount` gives the loop device back with the mount, and the file
 * has no name any more: nothing is left of either when the child is gone. */
static bool device_mount(void)
{
    char command[1024];

    snprintf(command, sizeof command,
             "exec 2>/dev/null; device=$(mktemp -p /dev/shm) || device=$(mktemp) || exit 1; "
             "truncate -s %dM $device && mkfs.ext4 -q -m 0 $device && mount -o loop $device '%s'; "
             "status=$?; rm -f $device; exit $status",
             DEVICE_MIB, directory);
    return geteuid() == 0 && child_mounts_unshare() && system(command) == 0;
}

static uint64_t device_free_bytes(void)
{
    struct statvfs status;

    return statvfs(directory, &status) == 0 ? status.f_bavail * status.f_frsize : 0;
}

/* Takes all of the device but so many bytes. */
static bool ballast_make(uint64_t but_bytes)
{
    uint64_t size = device_free_bytes() - but_bytes;
    int      fd = open(path_of("ballast"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    bool     is_made = fd >= 0 && posix_fallocate(fd, 0, (off_t)size) == 0;

    if (fd >= 0) {
        close(fd);
    }
    return is_made;
}

static void mode_options(const struct mode *mode, struct tactus_options *options)
{
    sequence_options(options, mode->backend, mode->threads);
    options->direct_io = mode->direct_io;
}

/* ---- create --------------------------------------------------------------------------------- */

static int child_create(const void *context)
{
    const struct mode    *mode = context;
    struct tactus_options options;

    if (!device_mount()) {
        return child_skip("needs root and a loop device");
    }
    mode_options(mode, &options);
    CHECK(ballast_make(TAC_MIB));
    CHECK(tactus_create(path_of("store"), &options) == TACTUS_EFULL);
    CHECK(strstr(tactus_message(), "No space left") != NULL);
    CHECK(strstr(tactus_message(), "make room") != NULL);
    CHECK(access(path_of("store"), F_OK) != 0);
    CHECK(device_free_bytes() > TAC_MIB / 2); /* What it had of the space was given back */
    CHECK(unlink(path_of("ballast")) == 0);
    CHECK(tactus_create(path_of("store"), &options) == TACTUS_OK);
    return 0;
}

/* ---- growth --------------------------------------------------------------------------------- */

static int value_put(struct tactus *store, uint64_t number)
{
    uint8_t value[VALUE_BYTES];

    memset(value, (int)(number % 251), sizeof value);
    return tactus_put(store, 0, &number, sizeof number, value, sizeof value);
}

static bool value_is_right(struct tactus *store, uint64_t number)
{
    uint8_t value[VALUE_BYTES];
    size_t  size = 0;

    return tactus_get(store, 0, &number, sizeof number, value, sizeof value, &size) == TACTUS_OK &&
           size == VALUE_BYTES && value[0] == number % 251 && value[size - 1] == number % 251;
}

/* Of values 0 … count - 1: all there, or the number of the first that is not. */
static uint64_t values_right(struct tactus *store, uint64_t count)
{
    uint64_t number = 0;

    while (number < count && value_is_right(store, number)) {
        number++;
    }
    return number;
}

static int store_make(const struct mode *mode, struct tactus_options *options,
                      struct tactus **ret_store)
{
    static const struct tactus_layout layout = {TACTUS_LAYOUT_VARIABLE, 8, VALUE_BYTES};

    mode_options(mode, options);
    options->memtable_size = TAC_MIB;
    CHECK(tactus_create(path_of("store"), options) == TACTUS_OK);
    CHECK(tactus_open(path_of("store"), options, ret_store) == TACTUS_OK);
    return tactus_tree_create(*ret_store, "tree", &layout, NULL);
}

/* Puts until the store says that it takes no more; ret_count are in it. */
static int values_put(struct tactus *store, uint64_t *ret_count)
{
    uint64_t number = 0;
    int      code = TACTUS_OK;

    while (number < VALUES_MAX && (code = value_put(store, number)) == TACTUS_OK) {
        number++;
    }
    *ret_count = number;
    return code;
}

/* The engine's ops from the first on: the tree, then a value each. */
static uint64_t values_of_op(uint64_t op) { return op == 0 ? 0 : op - 1; }

/* The file grows by 64 MiB, or by what there is. When nothing is left, writing has stopped. */
static int child_growth(const void *context)
{
    const struct mode    *mode = context;
    struct tactus_options options;
    struct tactus        *store;
    uint64_t              count, durable;
    uint64_t              key = 0;

    if (!device_mount()) {
        return child_skip("needs root and a loop device");
    }
    CHECK(store_make(mode, &options, &store) == TACTUS_OK);
    CHECK(values_put(store, &count) == TACTUS_EPOISONED);
    CHECK(count > 6000 && strstr(tactus_message(), "cannot grow") != NULL);
    CHECK(strstr(tactus_message(), "No space left") != NULL);
    /* The first cause stays, whatever is called; reads go on. */
    CHECK(tactus_delete(store, 0, &key, sizeof key) == TACTUS_EPOISONED);
    CHECK(tactus_compact(store, 0) == TACTUS_EPOISONED);
    CHECK(strstr(tactus_message(), "cannot grow") != NULL);
    CHECK(values_right(store, count) == count);
    durable = tactus_durable_op(store);
    CHECK(tactus_close(store) == TACTUS_EPOISONED);
    CHECK(strstr(tactus_message(), "cannot grow") != NULL);
    /* Still full: what was durable is there and can be read. */
    CHECK(tactus_open(path_of("store"), &options, &store) == TACTUS_OK);
    CHECK(tactus_last_op(store) >= durable && values_of_op(tactus_last_op(store)) <= count);
    count = values_of_op(tactus_last_op(store));
    CHECK(values_right(store, count) == count && !value_is_right(store, count));
    tactus_abandon(store);
    return 0;
}

/* Somebody else took the space, and gives it back. */
static int child_space_comes_back(const void *context)
{
    const struct mode    *mode = context;
    struct tactus_options options;
    struct tactus        *store;
    uint64_t              count, again;

    if (!device_mount()) {
        return child_skip("needs root and a loop device");
    }
    CHECK(store_make(mode, &options, &store) == TACTUS_OK);
    CHECK(tactus_checkpoint(store) == TACTUS_OK && tactus_close(store) == TACTUS_OK);
    CHECK(truncate(path_of("store"), 256 * 16 * TAC_KIB) == 0); /* As it was created */
    CHECK(ballast_make(TAC_MIB));
    CHECK(tactus_open(path_of("store"), &options, &store) == TACTUS_OK);
    CHECK(values_put(store, &count) == TACTUS_EPOISONED && values_right(store, count) == count);
    tactus_abandon(store);
    CHECK(unlink(path_of("ballast")) == 0);
    CHECK(tactus_open(path_of("store"), &options, &store) == TACTUS_OK);
    for (again = 0; again < 2000; again++) {
        CHECK(value_put(store, again) == TACTUS_OK);
    }
    CHECK(values_right(store, again) == again && sequence_is_sound(store));
    CHECK(tactus_close(store) == TACTUS_OK);
    return 0;
}

/* A file that may not outgrow the device is full before the device is: EFULL, and deletes and
 * compaction make room, with no byte of the device left. */
static int child_limit_within_device(const void *context)
{
    static const struct tactus_layout layout = {TACTUS_LAYOUT_VARIABLE, 8, VALUE_BYTES};
    const struct mode                *mode = context;
    struct tactus_options             options;
    struct tactus                    *store;
    uint64_t                          count;

    if (!device_mount()) {
        return child_skip("needs root and a loop device");
    }
    mode_options(mode, &options);
    options.file_size_max = 32 * TAC_MIB;
    CHECK(tactus_create(path_of("store"), &options) == TACTUS_OK);
    CHECK(tactus_open(path_of("store"), &options, &store) == TACTUS_OK);
    CHECK(tactus_tree_create(store, "tree", &layout, NULL) == TACTUS_OK);
    CHECK(ballast_make(0) || device_free_bytes() < TAC_MIB);
    CHECK(values_put(store, &count) == TACTUS_EFULL && values_right(store, count) == count);
    for (uint64_t number = 0; number < count; number++) {
        if (number % 4 != 0) {
            CHECK(tactus_delete(store, 0, &number, sizeof number) == TACTUS_OK);
        }
    }
    CHECK(tactus_compact(store, 0) == TACTUS_OK && value_put(store, 1) == TACTUS_OK);
    for (uint64_t number = 0; number < count; number += 4) {
        CHECK(value_is_right(store, number));
    }
    CHECK(tactus_close(store) == TACTUS_OK);
    return 0;
}

/* ---- main ----------------------------------------------------------------------------------- */

int main(void)
{
    const char *base = getenv("TMPDIR");
    bool        has_uring = tac_storage_uring_probe(NULL) == TACTUS_OK;

    tap_plan(0);
    snprintf(directory, sizeof directory, "%.200s/tactus-full-XXXXXX",
             base != NULL ? base : P_tmpdir);
    if (mkdtemp(directory) == NULL) {
        tap_bail("cannot make %s", directory);
    }
    for (uint32_t i = 0; i < TAC_ARRAY_COUNT(modes); i++) {
        const struct mode *mode = &modes[i];

        if (mode->backend == TACTUS_BACKEND_IO_URING && !has_uring) {
            tap_skip("io_uring cannot be used here");
            continue;
        }
        child_check(child_create, mode, "%s: create on a full device fails and leaves no file",
                    mode->name);
        child_check(child_growth, mode,
                    "%s: a store that finds no room to grow stops writing, and says why",
                    mode->name);
        child_check(child_space_comes_back, mode, "%s: it goes on once there is room again",
                    mode->name);
        child_check(child_limit_within_device, mode,
                    "%s: a file_size_max within the device needs no room but what it has",
                    mode->name);
    }
    if (rmdir(directory) != 0) {
        tap_diag("%s is not empty", directory);
    }
    return tap_done();
}
