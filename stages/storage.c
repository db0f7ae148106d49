/* SPDX-License-Identifier: Apache-2.0 */
/* storage -- opening the store's file, and what its two backends have in common.
 *
 * The happy path of an open: look at what the path names, open it, lock it, sync it, try direct
 * I/O, try io_uring. Every step that fails undoes the ones before it in reverse order; a create
 * also unlinks the file that it made. A store's file gets its name when it is whole. */
#define _GNU_SOURCE 1

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/mutant.h"
#include "base/units.h"
#include "queues/atomics.h"
#include "stages/storage_file.h"

#define LOCK_ATTEMPTS 6
#define LOCK_PAUSE_NS (50 * 1000 * 1000)

/* ---- the life of a request ------------------------------------------------------------------ */

void tac_io_list_init(struct tac_io_list *list)
{
    list->first = NULL;
    list->link = &list->first;
    list->count = 0;
}

void tac_io_list_append(struct tac_io_list *list, struct tac_io *io)
{
    tac_assert(*list->link == NULL);
    io->next = NULL;
    *list->link = io;
    list->link = &io->next;
    list->count++;
}

uint32_t tac_io_list_take(struct tac_io_list *list, struct tac_io **ret_first)
{
    uint32_t count = list->count;

    tac_assert((count == 0) == (list->first == NULL));
    *ret_first = list->first;
    tac_io_list_init(list);
    return count;
}

struct tac_io tac_io_of_buffer(enum tac_io_kind kind, const void *data, uint64_t size,
                               uint64_t offset)
{
    tac_assert(kind != TAC_IO_SYNC);
    return (struct tac_io){
        .kind = kind,
        .segment_count = 1,
        .segments = {{.iov_base = (void *)(uintptr_t)data, .iov_len = size}},
        .offset_bytes = offset,
        .size_bytes = size,
    };
}

void tac_io_commence(const struct tac_storage *storage, struct tac_io *io)
{
    uint64_t mask = storage->alignment_bytes - 1;
    uint64_t size_bytes = 0;

    tac_assert(tac_is_power_of_two(storage->alignment_bytes));
    io->result = TACTUS_OK;
    io->os_error = 0;
    io->done_bytes = 0;
    io->next = NULL;
    if (io->kind == TAC_IO_SYNC) {
        return;
    }
    tac_assert(io->kind == TAC_IO_READ || io->kind == TAC_IO_WRITE);
    tac_assert(io->segment_count >= 1 && io->segment_count <= TAC_IO_SEGMENTS_MAX);
    for (uint32_t i = 0; i < io->segment_count; i++) {
        tac_assert(((uintptr_t)io->segments[i].iov_base & mask) == 0);
        tac_assert(io->segments[i].iov_len > 0 && (io->segments[i].iov_len & mask) == 0);
        size_bytes += io->segments[i].iov_len;
    }
    tac_assert(size_bytes == io->size_bytes);
    tac_assert((io->offset_bytes & mask) == 0);
    tac_assert(io->offset_bytes <= INT64_MAX - size_bytes);
}

void tac_io_complete(struct tac_storage *storage, struct tac_io *io)
{
    struct tac_storage_counters *counters = &storage->counters;

    tac_assert(io->result == TACTUS_OK);
    switch (io->kind) {
    case TAC_IO_READ:
        tac_assert(io->done_bytes == io->size_bytes);
        tac_atomic_fetch_add_u64(&counters->reads, 1);
        tac_atomic_fetch_add_u64(&counters->read_bytes, io->size_bytes);
        return;
    case TAC_IO_WRITE:
        tac_assert(io->done_bytes == io->size_bytes);
        tac_atomic_fetch_add_u64(&counters->writes, 1);
        tac_atomic_fetch_add_u64(&counters->written_bytes, io->size_bytes);
        return;
    case TAC_IO_SYNC:
        tac_atomic_fetch_add_u64(&counters->syncs, 1);
        return;
    }
    tac_unreachable();
}

static bool errno_is_full(int os_error)
{
    return os_error == ENOSPC || os_error == EDQUOT || os_error == EFBIG;
}

void tac_io_fail(struct tac_io *io, int os_error)
{
    tac_assert(io->result == TACTUS_OK);
    tac_assert(os_error >= 0);
    io->result = errno_is_full(os_error) ? TACTUS_EFULL : TACTUS_EIO;
    io->os_error = os_error;
}

static void segments_consume(struct tac_io *io, uint64_t bytes)
{
    uint32_t whole = 0;

    while (whole < io->segment_count && bytes >= io->segments[whole].iov_len) {
        bytes -= io->segments[whole].iov_len;
        whole++;
    }
    tac_assert(whole < io->segment_count); /* Something is left */
    io->segment_count -= whole;
    memmove(io->segments, io->segments + whole, io->segment_count * sizeof io->segments[0]);
    io->segments[0].iov_base = (uint8_t *)io->segments[0].iov_base + bytes;
    io->segments[0].iov_len -= bytes;
}

bool tac_io_advance(struct tac_storage *storage, struct tac_io *io, uint64_t moved_bytes)
{
    tac_assert(io->kind != TAC_IO_SYNC);
    tac_assert(moved_bytes <= io->size_bytes - io->done_bytes);
    if (moved_bytes == 0) {
        tac_io_fail(io, 0);
        return true;
    }
    io->done_bytes += moved_bytes;
    if (io->done_bytes == io->size_bytes) {
        tac_io_complete(storage, io);
        return true;
    }
    if (io->kind == TAC_IO_READ && storage->is_direct &&
        io->done_bytes % storage->alignment_bytes != 0) {
        /* A direct read stops between two sectors only where the file ends; to go on from there
         * would be refused as misaligned, which would hide the reason. */
        tac_io_fail(io, 0);
        return true;
    }
    if (!TAC_MUTANT(SHORT_TRANSFER)) {
        segments_consume(io, moved_bytes);
    }
    return false;
}

/* ---- the storage itself --------------------------------------------------------------------- */

/* A page that the kernel wipes in a child tells a fork for the price of one load. Where it cannot
 * be had, the process id is compared. */
static const uint8_t *fork_mark_new(void)
{
    size_t   page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    uint8_t *page =
        mmap(NULL, page_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (page == MAP_FAILED) {
        return NULL;
    }
    if (madvise(page, page_bytes, MADV_WIPEONFORK) != 0) {
        munmap(page, page_bytes);
        return NULL;
    }
    page[0] = 1;
    return page;
}

void tac_storage_create(struct tac_storage *storage, const struct tac_storage_ops *ops,
                        bool is_direct, uint32_t alignment_bytes)
{
    tac_assert(tac_is_power_of_two(alignment_bytes));
    tac_assert(alignment_bytes >= TAC_STORAGE_ALIGNMENT_MIN);
    tac_assert(alignment_bytes <= TAC_STORAGE_ALIGNMENT_MAX);
    *storage = (struct tac_storage){
        .ops = ops,
        .is_direct = is_direct,
        .alignment_bytes = alignment_bytes,
        .owner_pid = getpid(),
        .fork_mark = fork_mark_new(),
    };
}

void tac_storage_destroy(struct tac_storage *storage)
{
    tac_assert(!tac_storage_is_forked(storage));
    if (storage->fork_mark != NULL) {
        munmap((void *)(uintptr_t)storage->fork_mark, (size_t)sysconf(_SC_PAGESIZE));
        storage->fork_mark = NULL;
    }
}

void tac_storage_counters(const struct tac_storage    *storage,
                          struct tac_storage_counters *ret_counters)
{
    const struct tac_storage_counters *counters = &storage->counters;

    ret_counters->read_bytes = tac_atomic_load_relaxed_u64(&counters->read_bytes);
    ret_counters->written_bytes = tac_atomic_load_relaxed_u64(&counters->written_bytes);
    ret_counters->reads = tac_atomic_load_relaxed_u64(&counters->reads);
    ret_counters->writes = tac_atomic_load_relaxed_u64(&counters->writes);
    ret_counters->syncs = tac_atomic_load_relaxed_u64(&counters->syncs);
}

void tac_wake_fd_signal(int wake_fd)
{
    uint64_t one = 1;
    ssize_t  written;

    if (wake_fd < 0) {
        return;
    }
    do {
        written = write(wake_fd, &one, sizeof one);
    } while (written < 0 && errno == EINTR);
    /* EAGAIN: the counter is at its end, so the descriptor is readable as it is. */
    tac_assert(written == sizeof one || errno == EAGAIN);
}

/* ---- synchronous operations on a file ------------------------------------------------------- */

static int errno_code(int os_error)
{
    if (errno_is_full(os_error)) {
        return TACTUS_EFULL;
    }
    switch (os_error) {
    case ENOENT:
    case ENOTDIR:
        return TACTUS_ENOSTORE;
    case EEXIST:
        return TACTUS_EEXISTS;
    case EACCES:
    case EPERM:
    case EROFS:
        return TACTUS_EACCESS;
    case ENOMEM:
        return TACTUS_ENOMEM;
    case EISDIR:
    case ELOOP:
    case ENAMETOOLONG:
        return TACTUS_EINVAL;
    default:
        return TACTUS_EIO;
    }
}

int tac_file_error_set(struct tac_error *error, int os_error, const char *action, const char *path)
{
    char        buffer[128];
    const char *text = strerror_r(os_error, buffer, sizeof buffer);

    tac_assert(os_error > 0);
    return tac_error_set(error, errno_code(os_error), "cannot %s %s: %s", action,
                         tac_path_text(path).text, text);
}

static struct tac_file_storage *file_of(struct tac_storage *storage)
{
    tac_assert(storage->ops == &tac_storage_posix_ops || storage->ops == &tac_storage_uring_ops);
    return (struct tac_file_storage *)storage;
}

static void file_transfer(struct tac_file_storage *file, struct tac_io *io)
{
    bool is_over = false;

    while (!is_over) {
        int     segment_count = (int)io->segment_count;
        off_t   offset = (off_t)(io->offset_bytes + io->done_bytes);
        ssize_t moved = io->kind == TAC_IO_READ
                            ? preadv(file->fd, io->segments, segment_count, offset)
                            : pwritev(file->fd, io->segments, segment_count, offset);

        if (moved >= 0) {
            is_over = tac_io_advance(&file->base, io, (uint64_t)moved);
        } else if (errno != EINTR) {
            tac_io_fail(io, errno);
            is_over = true;
        }
    }
}

static void file_sync(struct tac_file_storage *file, struct tac_io *io)
{
    int rv;

    do {
        rv = fdatasync(file->fd);
    } while (rv != 0 && errno == EINTR);
    if (rv != 0) {
        tac_io_fail(io, errno);
    } else {
        tac_io_complete(&file->base, io);
    }
}

void tac_file_perform(struct tac_file_storage *file, struct tac_io *io)
{
    tac_io_commence(&file->base, io);
    if (io->kind == TAC_IO_SYNC) {
        file_sync(file, io);
    } else {
        file_transfer(file, io);
    }
}

/* Performs a request and puts a failure into words. */
static int file_perform_one(struct tac_storage *storage, struct tac_io *io, struct tac_error *error)
{
    struct tac_file_storage *file = file_of(storage);
    const char              *verb = io->kind == TAC_IO_READ ? "read" : "write";
    char                     buffer[128];
    const char              *text = "the file ends before";

    tac_file_perform(file, io);
    if (io->result == TACTUS_OK) {
        return TACTUS_OK;
    }
    if (io->os_error != 0) {
        text = strerror_r(io->os_error, buffer, sizeof buffer);
    }
    return tac_error_set(error, io->result, "cannot %s %llu bytes at %llu of %s: %s", verb,
                         (unsigned long long)io->size_bytes, (unsigned long long)io->offset_bytes,
                         tac_path_text(file->path).text, text);
}

int tac_file_read(struct tac_storage *storage, void *data, uint64_t size, uint64_t offset,
                  struct tac_error *error)
{
    struct tac_io io = tac_io_of_buffer(TAC_IO_READ, data, size, offset);

    return file_perform_one(storage, &io, error);
}

int tac_file_write(struct tac_storage *storage, const void *data, uint64_t size, uint64_t offset,
                   struct tac_error *error)
{
    struct tac_io io = tac_io_of_buffer(TAC_IO_WRITE, data, size, offset);

    return file_perform_one(storage, &io, error);
}

int tac_file_sync(struct tac_storage *storage, struct tac_error *error)
{
    struct tac_file_storage *file = file_of(storage);
    struct tac_io            io = {.kind = TAC_IO_SYNC};

    tac_file_perform(file, &io);
    if (io.result != TACTUS_OK) {
        return tac_file_error_set(error, io.os_error, "sync", file->path);
    }
    return TACTUS_OK;
}

uint64_t tac_file_size(struct tac_storage *storage)
{
    struct stat status;

    return fstat(file_of(storage)->fd, &status) == 0 ? (uint64_t)status.st_size : 0;
}

static int grow_error_set(struct tac_error *error, int os_error, const char *path, uint64_t size)
{
    char        buffer[128];
    const char *text = strerror_r(os_error, buffer, sizeof buffer);
    const char *advice = os_error == EFBIG                          ? "; raise ulimit -f"
                         : os_error == ENOSPC || os_error == EDQUOT ? "; make room, then reopen"
                                                                    : "";

    return tac_error_set(error, errno_code(os_error), "cannot grow %s to %llu bytes: %s%s",
                         tac_path_text(path).text, (unsigned long long)size, text, advice);
}

/* The kernel would end the process with SIGXFSZ, where that has its default action: the limit is
 * looked at first. Nothing is ever written behind the end that growth has given the file. */
static bool size_is_beyond_limit(uint64_t size)
{
    struct rlimit limit;

    return getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
           size > limit.rlim_cur;
}

int tac_file_resize(struct tac_storage *storage, uint64_t size, struct tac_error *error)
{
    struct tac_file_storage *file = file_of(storage);
    struct stat              status;
    int                      rv;
    int                      os_error;

    tac_assert(size % storage->alignment_bytes == 0 && size <= INT64_MAX);
    if (fstat(file->fd, &status) != 0) {
        return tac_file_error_set(error, errno, "examine", file->path);
    }
    if (size <= (uint64_t)status.st_size) {
        return TACTUS_OK;
    }
    if (size_is_beyond_limit(size)) {
        return grow_error_set(error, EFBIG, file->path, size);
    }
    do {
        rv = fallocate(file->fd, 0, status.st_size, (off_t)size - status.st_size);
    } while (rv != 0 && errno == EINTR);
    if (rv != 0 && (errno == EOPNOTSUPP || errno == ENOSYS)) {
        /* The file grows without its blocks: a full device then shows at a write. */
        rv = ftruncate(file->fd, (off_t)size);
    }
    if (rv == 0) {
        return TACTUS_OK;
    }
    os_error = errno;
    /* What was had of the space goes back to others; if that fails the file is only larger. */
    tac_maybe(ftruncate(file->fd, status.st_size) == 0);
    return grow_error_set(error, os_error, file->path, size);
}

/* The lock is given back by name: a child that was forked meanwhile has the same open file, and
 * would hold it for as long as it lives. */
static void file_unlock_and_close(int fd)
{
    struct flock lock = {.l_type = F_UNLCK, .l_whence = SEEK_SET};

    tac_maybe(fcntl(fd, F_OFD_SETLK, &lock) == 0);
    close(fd);
}

void tac_file_close(struct tac_storage *storage)
{
    struct tac_file_storage *file = file_of(storage);

    tac_storage_destroy(storage);
    tac_file_suffixed_remove(file->path, file->suffix);
    /* Nothing to report: whatever must be durable was synced before. */
    file_unlock_and_close(file->fd);
    free(file);
}

/* ---- create and open ------------------------------------------------------------------------ */

static int file_type_check(const struct stat *status, const char *path, struct tac_error *error)
{
    const char *what = S_ISDIR(status->st_mode)    ? "a directory"
                       : S_ISFIFO(status->st_mode) ? "a pipe"
                       : S_ISSOCK(status->st_mode) ? "a socket"
                                                   : "a device";

    if (S_ISREG(status->st_mode)) {
        return TACTUS_OK;
    }
    return tac_error_set(error, TACTUS_EINVAL, "%s is %s; a store is a regular file",
                         tac_path_text(path).text, what);
}

int tac_file_open_above_standard(const char *path, int flags)
{
    int fd;
    int low_fd;

    do {
        low_fd = open(path, flags | O_RDWR | O_CLOEXEC | O_NOCTTY, 0644);
    } while (low_fd < 0 && errno == EINTR);
    if (low_fd < 0 || low_fd > STDERR_FILENO) {
        return low_fd;
    }
    fd = fcntl(low_fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    close(low_fd);
    return fd;
}

/* Open file description locks: they also exclude a second open by the same process. A process
 * that was just killed holds its own until the kernel has finished its I/O, hence the patience. */
static int file_lock(int fd, const char *path, struct tac_error *error)
{
    struct timespec pause = {.tv_nsec = LOCK_PAUSE_NS};
    struct flock    lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

    for (uint32_t attempt = 0; attempt < LOCK_ATTEMPTS; attempt++) {
        if (attempt > 0) {
            nanosleep(&pause, NULL);
        }
        if (fcntl(fd, F_OFD_SETLK, &lock) == 0) {
            return TACTUS_OK;
        }
        if (errno != EAGAIN && errno != EACCES && errno != EINTR) {
            return tac_file_error_set(error, errno, "lock", path);
        }
    }
    return tac_error_set(error, TACTUS_ELOCKED,
                         "%s is open already, in this process or in another one",
                         tac_path_text(path).text);
}

int tac_file_fsync(int fd)
{
    int rv;

    do {
        rv = fsync(fd);
    } while (rv != 0 && errno == EINTR);
    return rv;
}

char *tac_directory_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash == NULL ? strdup(".") : strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

int tac_directory_sync(const char *path, struct tac_error *error)
{
    char *directory = tac_directory_of(path);
    int   fd;
    int   rv = TACTUS_OK;

    if (directory == NULL) {
        return tac_error_set(error, TACTUS_ENOMEM, "no memory to sync the directory");
    }
    fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    /* EINVAL: a file system whose directories need no sync. */
    if (fd < 0 || (tac_file_fsync(fd) != 0 && errno != EINVAL)) {
        rv = tac_file_error_set(error, errno, "sync the directory", directory);
    }
    if (fd >= 0) {
        close(fd);
    }
    free(directory);
    return rv;
}

/* What direct I/O to the file needs; 0: it has none. */
static uint32_t direct_alignment_bytes(int fd)
{
    uint32_t alignment = TAC_STORAGE_ALIGNMENT_MAX;
#ifdef STATX_DIOALIGN
    struct statx status = {0};

    if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &status) == 0 &&
        (status.stx_mask & STATX_DIOALIGN) != 0) {
        if (status.stx_dio_offset_align == 0) {
            return 0;
        }
        alignment = (uint32_t)tac_max_u64(status.stx_dio_mem_align, status.stx_dio_offset_align);
    }
#else
    (void)fd;
#endif
    if (!tac_is_power_of_two(alignment) || alignment > TAC_STORAGE_ALIGNMENT_MAX) {
        return 0;
    }
    return (uint32_t)tac_max_u64(alignment, TAC_STORAGE_ALIGNMENT_MIN);
}

/* Some file systems take the flag and then refuse the read. A new file is given something to read
 * first, for at its end nothing is checked. */
static bool direct_read_is_refused(int fd, uint32_t alignment, bool is_new)
{
    _Alignas(TAC_STORAGE_ALIGNMENT_MAX) uint8_t buffer[TAC_STORAGE_ALIGNMENT_MAX];
    bool                                        is_refused;

    if (is_new && (size_is_beyond_limit(alignment) || ftruncate(fd, alignment) != 0)) {
        return true;
    }
    is_refused = pread(fd, buffer, alignment, 0) < 0 && errno == EINVAL;
    if (is_new && ftruncate(fd, 0) != 0) {
        return true;
    }
    return is_refused;
}

/* Turns direct I/O on before anything was read or written, so that the two are never mixed.
 * Returns the alignment; 0: it stays buffered. */
static uint32_t file_try_direct(int fd, bool is_new)
{
    uint32_t alignment = direct_alignment_bytes(fd);
    int      flags = fcntl(fd, F_GETFL);

    if (alignment == 0 || flags < 0 || fcntl(fd, F_SETFL, flags | O_DIRECT) != 0) {
        return 0;
    }
    if (direct_read_is_refused(fd, alignment, is_new)) {
        int rv = fcntl(fd, F_SETFL, flags);

        tac_assert(rv == 0); /* Clearing a flag that was just set */
        return 0;
    }
    return alignment;
}

static int backend_choose(enum tactus_backend backend, const struct tac_storage_ops **ret_ops,
                          struct tac_error *error)
{
    switch (backend) {
    case TACTUS_BACKEND_AUTO:
        *ret_ops = tac_storage_uring_probe(NULL) == TACTUS_OK ? &tac_storage_uring_ops
                                                              : &tac_storage_posix_ops;
        return TACTUS_OK;
    case TACTUS_BACKEND_IO_URING:
        *ret_ops = &tac_storage_uring_ops;
        return tac_storage_uring_probe(error);
    case TACTUS_BACKEND_POSIX:
        *ret_ops = &tac_storage_posix_ops;
        return TACTUS_OK;
    case TACTUS_BACKEND_MEMORY:
        return tac_error_set(error, TACTUS_EINVAL, "the memory backend has no file");
    }
    return tac_error_set(error, TACTUS_EINVAL, "there is no backend %d", (int)backend);
}

/* Takes over the open and locked descriptor on success. */
static int storage_new(int fd, const char *path, bool is_new, enum tactus_backend backend,
                       bool direct_io, struct tac_storage **ret_storage, struct tac_error *error)
{
    const struct tac_storage_ops *ops = NULL;
    struct tac_file_storage      *file;
    size_t                        path_bytes = strlen(path) + 1;
    uint32_t                      alignment;
    int                           rv = backend_choose(backend, &ops, error);

    if (rv != TACTUS_OK) {
        return rv;
    }
    file = malloc(sizeof *file + path_bytes);
    if (file == NULL) {
        return tac_error_set(error, TACTUS_ENOMEM, "no memory to open %s",
                             tac_path_text(path).text);
    }
    alignment = direct_io ? file_try_direct(fd, is_new) : 0;
    tac_storage_create(&file->base, ops, alignment != 0,
                       alignment != 0 ? alignment : TAC_STORAGE_ALIGNMENT_MIN);
    file->fd = fd;
    file->suffix[0] = 0;
    memcpy(file->path, path, path_bytes);
    *ret_storage = &file->base;
    return TACTUS_OK;
}

int tac_storage_create_file(const char *path, enum tactus_backend backend, bool direct_io,
                            struct tac_storage **ret_storage, struct tac_error *error)
{
    int rv;
    int fd;

    tac_assert(path != NULL && ret_storage != NULL);
    fd = tac_file_open_above_standard(path, O_CREAT | O_EXCL);
    if (fd < 0) {
        return tac_file_error_set(error, errno, "create", path);
    }
    rv = file_lock(fd, path, error);
    if (rv == TACTUS_OK) {
        rv = tac_directory_sync(path, error);
    }
    if (rv == TACTUS_OK) {
        rv = storage_new(fd, path, true, backend, direct_io, ret_storage, error);
    }
    if (rv != TACTUS_OK) {
        unlink(path);
        file_unlock_and_close(fd);
    }
    return rv;
}

int tac_storage_create_unpublished(const char *path, enum tactus_backend backend, bool direct_io,
                                   struct tac_storage **ret_storage, struct tac_error *error)
{
    struct stat status;
    char        suffix[TAC_FILE_SUFFIX_BYTES] = "";
    bool        is_there = lstat(path, &status) == 0;
    int         rv;
    int         fd;

    if (is_there || errno != ENOENT) {
        return tac_file_error_set(error, is_there ? EEXIST : errno, "create", path);
    }
    fd = tac_file_open_unpublished(path, suffix);
    if (fd < 0) {
        return tac_file_error_set(error, errno, "create", path);
    }
    rv = file_lock(fd, path, error);
    if (rv == TACTUS_OK) {
        rv = storage_new(fd, path, true, backend, direct_io, ret_storage, error);
    }
    if (rv != TACTUS_OK) {
        tac_file_suffixed_remove(path, suffix);
        file_unlock_and_close(fd);
        return rv;
    }
    memcpy(file_of(*ret_storage)->suffix, suffix, sizeof suffix);
    return TACTUS_OK;
}

int tac_storage_open_file(const char *path, enum tactus_backend backend, bool direct_io,
                          struct tac_storage **ret_storage, struct tac_error *error)
{
    struct stat status;
    int         rv;
    int         fd;

    tac_assert(path != NULL && ret_storage != NULL);
    /* Before the open, since opening a device may do something to it; and after, since the path
     * may have changed its meaning. */
    if (stat(path, &status) != 0) {
        return tac_file_error_set(error, errno, "open", path);
    }
    rv = file_type_check(&status, path, error);
    if (rv != TACTUS_OK) {
        return rv;
    }
    fd = tac_file_open_above_standard(path, 0);
    if (fd < 0) {
        return tac_file_error_set(error, errno, "open", path);
    }
    rv = fstat(fd, &status) != 0 ? tac_file_error_set(error, errno, "examine", path)
                                 : file_type_check(&status, path, error);
    if (rv == TACTUS_OK) {
        rv = file_lock(fd, path, error);
    }
    if (rv == TACTUS_OK && tac_file_fsync(fd) != 0) {
        rv = tac_file_error_set(error, errno, "sync", path);
    }
    if (rv == TACTUS_OK) {
        rv = storage_new(fd, path, false, backend, direct_io, ret_storage, error);
    }
    if (rv != TACTUS_OK) {
        file_unlock_and_close(fd);
    }
    return rv;
}

int tac_storage_remove_file(const char *path, struct tac_error *error)
{
    if (unlink(path) != 0 && errno != ENOENT) {
        return tac_file_error_set(error, errno, "remove", path);
    }
    return tac_directory_sync(path, error);
}
