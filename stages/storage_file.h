/* SPDX-License-Identifier: Apache-2.0 */
/* storage_file -- what the backends share: the life of a request, and the storage that is a file.
 *
 * Only stages/storage*.c and their tests include this. */
#ifndef TACTUS_STAGES_STORAGE_FILE_H
#define TACTUS_STAGES_STORAGE_FILE_H

#include "stages/storage.h"

#define TAC_FILE_SUFFIX_BYTES 24

/* Fixed at open, but for the suffix. */
struct tac_file_storage {
    struct tac_storage base; /* First: the two are cast into each other */
    int                fd;
    char               suffix[TAC_FILE_SUFFIX_BYTES]; /* Behind path in the name that it has until
                                                         it is published; or empty */
    char               path[];                        /* For error texts */
};

/* Requests that wait to be handed out by reap, oldest first. */
struct tac_io_list {
    struct tac_io  *first;
    struct tac_io **link; /* Where the next one is to be linked */
    uint32_t        count;
};
void tac_io_list_init(struct tac_io_list *list);
void tac_io_list_append(struct tac_io_list *list, struct tac_io *io);
/* Empties the list; returns its count. */
uint32_t tac_io_list_take(struct tac_io_list *list, struct tac_io **ret_first);

/* A request of one segment; a read writes into data. */
struct tac_io tac_io_of_buffer(enum tac_io_kind kind, const void *data, uint64_t size,
                               uint64_t offset);
/* A request enters: checks its shape, clears its outcome. */
void tac_io_commence(const struct tac_storage *storage, struct tac_io *io);
/* How a request ends, once: with success, which is counted, or with an errno (0: end of file). */
void tac_io_complete(struct tac_storage *storage, struct tac_io *io);
void tac_io_fail(struct tac_io *io, int os_error);
/* The device moved this many more bytes; 0 is the end of the file. True: the request has ended.
 * False: the segments are what is left, at offset_bytes + done_bytes. */
bool tac_io_advance(struct tac_storage *storage, struct tac_io *io, uint64_t moved_bytes);

/* Sets the fields of the base; undone by tac_storage_destroy. */
void tac_storage_create(struct tac_storage *storage, const struct tac_storage_ops *ops,
                        bool is_direct, uint32_t alignment_bytes);
void tac_storage_destroy(struct tac_storage *storage);

/* Does the request with preadv, pwritev or fdatasync before it returns. */
void tac_file_perform(struct tac_file_storage *file, struct tac_io *io);
/* The synchronous operations of both file backends. */
int tac_file_read(struct tac_storage *storage, void *data, uint64_t size, uint64_t offset,
                  struct tac_error *error);
int tac_file_write(struct tac_storage *storage, const void *data, uint64_t size, uint64_t offset,
                   struct tac_error *error);
int tac_file_sync(struct tac_storage *storage, struct tac_error *error);
int tac_file_resize(struct tac_storage *storage, uint64_t size, struct tac_error *error);
uint64_t tac_file_size(struct tac_storage *storage);
void     tac_file_close(struct tac_storage *storage);

/* "cannot <action> <path>: <the system's text>", with the code that fits the errno. */
int tac_file_error_set(struct tac_error *error, int os_error, const char *action, const char *path);
/* Wakes whoever polls the eventfd; nothing for -1. */
void tac_wake_fd_signal(int wake_fd);

/* open(2), but the descriptor is above the standard ones, so that no stray print ends in the store. */
int tac_file_open_above_standard(const char *path, int flags);
/* fsync(2), again where it was interrupted. */
int tac_file_fsync(int fd);
/* Of the file's directory: its path, to be freed, or NULL; and a sync, which makes a name durable. */
char *tac_directory_of(const char *path);
int   tac_directory_sync(const char *path, struct tac_error *error);
/* A file that is to be published. Returns a descriptor or, with errno, -1. */
int tac_file_open_unpublished(const char *path, char suffix[TAC_FILE_SUFFIX_BYTES]);
/* Unlinks the name that it has until then, if it has one. */
void tac_file_suffixed_remove(const char *path, const char *suffix);

extern const struct tac_storage_ops tac_storage_posix_ops;
extern const struct tac_storage_ops tac_storage_uring_ops;
/* Whether this process may use io_uring: makes a small ring and has it do nothing once. */
TAC_MUST_CHECK int tac_storage_uring_probe(struct tac_error *error);

#endif
