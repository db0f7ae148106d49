/* SPDX-License-Identifier: Apache-2.0 */
/* storage_publish -- a new store's file is given its path when it is whole.
 *
 * The happy path: a file without a name (O_TMPFILE) is written and synced, then linked to the path.
 * Where the file system has no such files, it has a random name beside the path until then. */
#define _GNU_SOURCE 1

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "stages/storage_file.h"

#define OWN_NAME_BYTES 40

/* Where the system lets a file without a name be found. */
static void own_name(int fd, char name[OWN_NAME_BYTES])
{
    snprintf(name, OWN_NAME_BYTES, "/proc/self/fd/%d", fd);
}

/* A file without a name, that goes with the process. -1: it could not be had, or not be given one. */
static int file_open_unnamed(const char *path)
{
    char *directory = tac_directory_of(path);
    char  name[OWN_NAME_BYTES];
    int   fd = directory == NULL ? -1 : tac_file_open_above_standard(directory, O_TMPFILE);

    free(directory);
    own_name(fd, name);
    if (fd >= 0 && access(name, F_OK) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

/* Where there is no such thing: a random name, for only that is ours for sure. A kill then leaves the
 * file under it, which is in nobody's way. */
static int file_open_suffixed(const char *path, char suffix[TAC_FILE_SUFFIX_BYTES])
{
    uint64_t number;
    char    *name;
    int      fd;

    if (getentropy(&number, sizeof number) != 0) {
        return -1;
    }
    snprintf(suffix, TAC_FILE_SUFFIX_BYTES, "-new-%016llx", (unsigned long long)number);
    if (asprintf(&name, "%s%s", path, suffix) < 0) {
        errno = ENOMEM;
        return -1;
    }
    fd = tac_file_open_above_standard(name, O_CREAT | O_EXCL);
    free(name);
    return fd;
}

int tac_file_open_unpublished(const char *path, char suffix[TAC_FILE_SUFFIX_BYTES])
{
    int fd = file_open_unnamed(path);

    suffix[0] = 0;
    return fd >= 0 ? fd : file_open_suffixed(path, suffix);
}

void tac_file_suffixed_remove(const char *path, const char *suffix)
{
    char *name;

    if (suffix[0] != 0 && asprintf(&name, "%s%s", path, suffix) >= 0) {
        tac_maybe(unlink(name) == 0);
        free(name);
    }
}

/* Gives the file its path, if nothing is there. Returns an errno, or 0. */
static int file_name(struct tac_file_storage *file)
{
    char  own[OWN_NAME_BYTES];
    char *name;
    int   rv;

    if (file->suffix[0] == 0) {
        own_name(file->fd, own);
        return linkat(AT_FDCWD, own, AT_FDCWD, file->path, AT_SYMLINK_FOLLOW) != 0 ? errno : 0;
    }
    if (asprintf(&name, "%s%s", file->path, file->suffix) < 0) {
        return ENOMEM;
    }
    rv = renameat2(AT_FDCWD, name, AT_FDCWD, file->path, RENAME_NOREPLACE) != 0 ? errno : 0;
    if (rv == 0) {
        file->suffix[0] = 0;
    } else if (rv == EINVAL || rv == ENOSYS) {
        rv = link(name, file->path) != 0 ? errno : 0; /* The close removes the other name. */
    }
    free(name);
    return rv;
}

int tac_storage_publish(struct tac_storage *storage, struct tac_error *error)
{
    struct tac_file_storage *file = (struct tac_file_storage *)storage;
    int                      rv = file_name(file);

    if (rv != 0) {
        return tac_file_error_set(error, rv, "create", file->path);
    }
    rv = tac_file_fsync(file->fd) != 0 ? tac_file_error_set(error, errno, "sync", file->path)
                                       : tac_directory_sync(file->path, error);
    if (rv != TACTUS_OK) {
        tac_maybe(unlink(file->path) == 0);
    }
    return rv;
}
