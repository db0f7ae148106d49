/* SPDX-License-Identifier: Apache-2.0 */
/* Storage files and what the system refuses: paths, permissions, locks, direct I/O, space, file
 * size limits, io_uring forbidden, system calls that are interrupted.
 *
 * Whatever changes the process (limits, filters, mounts, identity) happens in a child. */
#define _GNU_SOURCE 1

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/ucontext.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/units.h"
#include "stages/storage_file.h"
#include "tests/lib/child.h"
#include "tests/lib/tap.h"

#define ALIGNMENT TAC_STORAGE_ALIGNMENT_MAX
#define PIECE_BYTES (512 * 1024)
#define NOBODY 65534

static const char no_mount[] = "no name space of mounts here";
static const char no_filter[] = "no filter of system calls here";

static char     test_directory[256];
static uint8_t *buffer; /* PIECE_BYTES, aligned; filled with ones */

/* ---- helpers -------------------------------------------------------------------------------- */

static const char *path_of(const char *name)
{
    static char path[512];

    snprintf(path, sizeof path, "%s/%s", test_directory, name);
    return path;
}

static int open_code(const char *name, enum tactus_backend backend)
{
    struct tac_storage *storage = NULL;
    struct tac_error    error = {0};
    int                 rv = tac_storage_open_file(path_of(name), backend, true, &storage, &error);

    if (rv == TACTUS_OK) {
        storage->ops->close(storage);
    } else if (storage != NULL || error.code != rv || strlen(error.message) < 10) {
        return -1;
    }
    return rv;
}

static int create_code(const char *name, enum tactus_backend backend)
{
    struct tac_storage *storage = NULL;
    struct tac_error    error = {0};
    int rv = tac_storage_create_file(path_of(name), backend, true, &storage, &error);

    if (rv == TACTUS_OK) {
        storage->ops->close(storage);
    }
    return rv;
}

/* Submits one request and waits for it; returns its result. */
static int queue_perform(struct tac_io_queue *queue, struct tac_io *io)
{
    const struct tac_storage_ops *ops = queue->storage->ops;
    struct tac_io                *done = NULL;

    while (!ops->submit(queue, io)) {
    }
    while (ops->reap(queue, &done) == 0) {
    }
    return done == io && done->next == NULL ? io->result : -1;
}

struct child_case {
    enum tactus_backend backend;
    bool                direct_io;
};
typedef int case_fn(const struct child_case *);

struct case_call {
    case_fn          *body;
    struct child_case child_case;
};

static int case_call(const void *context)
{
    const struct case_call *call = context;

    return call->body(&call->child_case);
}

static void case_check(case_fn *body, enum tactus_backend backend, bool direct_io, const char *name)
{
    static const char *const backend_names[] = {"auto", "io_uring", "posix"};
    struct case_call         call = {body, {.backend = backend, .direct_io = direct_io}};

    child_check(case_call, &call, "%s%s: %s", backend_names[backend], direct_io ? " direct" : "",
                name);
}

/* ---- paths ---------------------------------------------------------------------------------- */

static void paths_check(void)
{
    struct tac_storage *storage = NULL;
    struct tac_error    error = {0};
    char                long_name[400];

    memset(long_name, 'x', sizeof long_name);
    long_name[sizeof long_name - 1] = 0;
    tap_ok(open_code("missing", TACTUS_BACKEND_AUTO) == TACTUS_ENOSTORE, "open: no such file");
    tap_ok(open_code("missing/x", TACTUS_BACKEND_AUTO) == TACTUS_ENOSTORE &&
               create_code("missing/x", TACTUS_BACKEND_AUTO) == TACTUS_ENOSTORE,
           "open and create: no such directory");
    tap_ok(open_code(".", TACTUS_BACKEND_AUTO) == TACTUS_EINVAL, "open: a directory");
    tap_ok(create_code(".", TACTUS_BACKEND_AUTO) == TACTUS_EEXISTS, "create: a directory is there");
    tap_ok(mkfifo(path_of("pipe"), 0600) == 0 &&
               open_code("pipe", TACTUS_BACKEND_AUTO) == TACTUS_EINVAL,
           "open: a pipe, without waiting for its other end");
    unlink(path_of("pipe"));
    tap_ok(tac_storage_open_file("/dev/null", TACTUS_BACKEND_AUTO, true, &storage, &error) ==
                   TACTUS_EINVAL &&
               strcmp(error.message, "/dev/null is a device; a store is a regular file") == 0,
           "open: a device, and the text says so");
    tap_ok(create_code(long_name, TACTUS_BACKEND_AUTO) == TACTUS_EINVAL, "create: name too long");
    tap_ok(symlink("missing", path_of("link")) == 0 &&
               create_code("link", TACTUS_BACKEND_AUTO) == TACTUS_EEXISTS,
           "create: a dangling link is not followed");
    unlink(path_of("link"));
    tap_ok(create_code("memory", TACTUS_BACKEND_MEMORY) == TACTUS_EINVAL &&
               access(path_of("memory"), F_OK) != 0,
           "create: the memory backend has no file, and none is left");
    tap_ok(create_code("number", (enum tactus_backend)77) == TACTUS_EINVAL &&
               access(path_of("number"), F_OK) != 0,
           "create: a backend that there is not leaves no file");
}

static int child_without_permission(const struct child_case *child_case)
{
    CHECK(create_code("mine", child_case->backend) == TACTUS_OK);
    CHECK(chmod(path_of("mine"), 0000) == 0);
    CHECK(chmod(test_directory, 0555) == 0);
    if (geteuid() == 0 && (setgid(NOBODY) != 0 || setuid(NOBODY) != 0)) {
        return child_skip("cannot become another user");
    }
    CHECK(open_code("mine", child_case->backend) == TACTUS_EACCESS);
    CHECK(create_code("other", child_case->backend) == TACTUS_EACCESS);
    return 0;
}

static int child_read_only(const struct child_case *child_case)
{
    if (!child_mount("tmpfs", test_directory, "size=1m")) {
        return child_skip(no_mount);
    }
    CHECK(create_code("store", child_case->backend) == TACTUS_OK);
    CHECK(mount("none", test_directory, "tmpfs", MS_REMOUNT | MS_RDONLY, NULL) == 0);
    CHECK(open_code("store", child_case->backend) == TACTUS_EACCESS);
    CHECK(create_code("other", child_case->backend) == TACTUS_EACCESS);
    return 0;
}

/* A program that has closed its standard descriptors must not print into the store. */
static int child_descriptors(const struct child_case *child_case)
{
    struct tac_storage *storage = NULL;
    int                 fd;

    close(0);
    close(1);
    close(2);
    CHECK(tac_storage_create_file(path_of("store"), child_case->backend, false, &storage, NULL) ==
          0);
    fd = ((struct tac_file_storage *)storage)->fd;
    CHECK(fd > 2);
    CHECK((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    storage->ops->close(storage);
    CHECK(fcntl(fd, F_GETFD) < 0);
    CHECK(unlink(path_of("store")) == 0);
    return 0;
}

/* The holder of the lock is killed; an open that follows at once has patience. */
static void lock_check(void)
{
    struct tac_storage *storage = NULL;
    int                 ends[2];
    char                byte = 0;
    pid_t               child;

    if (create_code("locked", TACTUS_BACKEND_AUTO) != 0 || pipe(ends) != 0 ||
        (child = fork()) < 0) {
        tap_bail("cannot start a child");
    }
    if (child == 0) {
        if (tac_storage_open_file(path_of("locked"), TACTUS_BACKEND_AUTO, true, &storage, NULL) ==
            0) {
            tac_maybe(write(ends[1], "+", 1) == 1);
        }
        for (;;) {
            pause();
        }
    }
    close(ends[1]);
    tap_ok(read(ends[0], &byte, 1) == 1 &&
               open_code("locked", TACTUS_BACKEND_AUTO) == TACTUS_ELOCKED,
           "a store that another process has open is locked");
    kill(child, SIGKILL);
    tap_ok(open_code("locked", TACTUS_BACKEND_AUTO) == TACTUS_OK,
           "it opens when that process has been killed");
    waitpid(child, NULL, 0);
    close(ends[0]);
    unlink(path_of("locked"));
}

/* ---- direct I/O ----------------------------------------------------------------------------- */

/* Writes and reads a block through a store that must be in this mode. */
static int round_trip(enum tactus_backend backend, bool is_direct)
{
    struct tac_storage  *storage = NULL;
    struct tac_io_queue *queue = NULL;
    struct tac_io        io = tac_io_of_buffer(TAC_IO_WRITE, buffer, PIECE_BYTES, 0);

    CHECK(tac_storage_create_file(path_of("store"), backend, true, &storage, NULL) == 0);
    CHECK(storage->is_direct == is_direct);
    CHECK(storage->ops->size(storage) == 0);
    CHECK(storage->ops->queue_new(storage, 1, -1, &queue, NULL) == 0);
    CHECK(queue_perform(queue, &io) == 0);
    memset(buffer, 0, PIECE_BYTES);
    CHECK(storage->ops->read(storage, buffer, PIECE_BYTES, 0, NULL) == 0);
    CHECK(buffer[0] == 1 && memcmp(buffer, buffer + 1, PIECE_BYTES - 1) == 0);
    storage->ops->queue_free(queue);
    storage->ops->close(storage);
    CHECK(tac_storage_open_file(path_of("store"), backend, true, &storage, NULL) == 0);
    CHECK(storage->is_direct == is_direct && storage->ops->size(storage) == PIECE_BYTES);
    storage->ops->close(storage);
    CHECK(unlink(path_of("store")) == 0);
    return 0;
}

/* ramfs knows no direct I/O. */
static int child_on_ramfs(const struct child_case *child_case)
{
    return child_mount("ramfs", test_directory, NULL) ? round_trip(child_case->backend, false)
                                                      : child_skip(no_mount);
}

/* Setting the flag succeeds, and reading with it does not: pread64 says EINVAL. */
static int child_direct_reads_refused(const struct child_case *child_case)
{
    if (!child_filter_deny(__NR_pread64, EINVAL)) {
        return child_skip(no_filter);
    }
    return round_trip(child_case->backend, false);
}

static int child_on_tmpfs(const struct child_case *child_case)
{
    struct tac_storage *storage = NULL;
    bool                is_direct;

    if (access("/dev/shm", W_OK) != 0) {
        return child_skip("no /dev/shm");
    }
    snprintf(test_directory, sizeof test_directory, "/dev/shm/tactus-storage-%d", (int)getpid());
    CHECK(mkdir(test_directory, 0700) == 0);
    CHECK(tac_storage_create_file(path_of("probe"), child_case->backend, true, &storage, NULL) ==
          0);
    is_direct = storage->is_direct; /* Depends on the kernel's age */
    storage->ops->close(storage);
    CHECK(unlink(path_of("probe")) == 0);
    CHECK(round_trip(child_case->backend, is_direct) == 0);
    CHECK(rmdir(test_directory) == 0);
    return 0;
}

/* ---- space ---------------------------------------------------------------------------------- */

/* The limit lies in the middle of a write, so that the write is short before it fails. */
static int child_with_file_size_limit(const struct child_case *child_case)
{
    struct rlimit limit = {.rlim_cur = 2 * PIECE_BYTES + ALIGNMENT, .rlim_max = RLIM_INFINITY};
    struct tac_storage  *storage = NULL;
    struct tac_io_queue *queue = NULL;
    struct tac_error     error = {0};
    struct tac_io        io = tac_io_of_buffer(TAC_IO_WRITE, buffer, PIECE_BYTES, 2 * PIECE_BYTES);

    signal(SIGXFSZ, SIG_IGN);
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    CHECK(tac_storage_create_file(path_of("store"), child_case->backend, child_case->direct_io,
                                  &storage, &error) == 0);
    CHECK(storage->ops->queue_new(storage, 2, -1, &queue, &error) == 0);
    CHECK(queue_perform(queue, &io) == TACTUS_EFULL && io.os_error == EFBIG);
    CHECK(io.done_bytes == ALIGNMENT);
    CHECK(storage->ops->write(storage, buffer, PIECE_BYTES, 2 * PIECE_BYTES, &error) ==
          TACTUS_EFULL);
    CHECK(strstr(error.message, "File too large") != NULL);
    CHECK(storage->counters.writes == 0 && storage->counters.written_bytes == 0);
    io = tac_io_of_buffer(TAC_IO_WRITE, buffer, PIECE_BYTES, PIECE_BYTES);
    CHECK(queue_perform(queue, &io) == TACTUS_OK);
    CHECK(storage->ops->resize(storage, 8 * PIECE_BYTES, &error) == TACTUS_EFULL);
    CHECK(storage->ops->size(storage) == 2 * PIECE_BYTES + ALIGNMENT);
    storage->ops->queue_free(queue);
    storage->ops->close(storage);
    CHECK(unlink(path_of("store")) == 0);
    return 0;
}

static int child_on_small_disk(const struct child_case *child_case)
{
    struct tac_storage  *storage = NULL;
    struct tac_io_queue *queue = NULL;
    struct tac_error     error = {0};
    struct tac_io        io;
    uint64_t             offset = 0;

    if (!child_mount("tmpfs", test_directory, "size=4m")) {
        return child_skip(no_mount);
    }
    CHECK(tac_storage_create_file(path_of("store"), child_case->backend, child_case->direct_io,
                                  &storage, &error) == 0);
    CHECK(storage->ops->resize(storage, TAC_MIB, &error) == TACTUS_OK);
    CHECK(storage->ops->resize(storage, 64 * TAC_MIB, &error) == TACTUS_EFULL);
    CHECK(strstr(error.message, "No space left") != NULL);
    CHECK(storage->ops->size(storage) == TAC_MIB);
    CHECK(storage->ops->queue_new(storage, 1, -1, &queue, &error) == 0);
    do {
        io = tac_io_of_buffer(TAC_IO_WRITE, buffer, PIECE_BYTES, offset);
        offset += PIECE_BYTES;
    } while (queue_perform(queue, &io) == TACTUS_OK && offset < 64 * TAC_MIB);
    CHECK(io.result == TACTUS_EFULL && io.os_error == ENOSPC);
    CHECK(offset > 3 * TAC_MIB && offset <= 5 * TAC_MIB);
    storage->ops->queue_free(queue);
    storage->ops->close(storage);
    return 0;
}

/* ---- io_uring refused ----------------------------------------------------------------------- */

static int child_uring_forbidden(const struct child_case *child_case)
{
    struct tac_storage *storage = NULL;
    struct tac_error    error = {0};
    bool                is_direct;

    if (!child_filter_deny(__NR_io_uring_setup, EPERM)) {
        return child_skip(no_filter);
    }
    if (child_case->backend == TACTUS_BACKEND_AUTO) {
        CHECK(tac_storage_create_file(path_of("store"), TACTUS_BACKEND_AUTO, true, &storage,
                                      &error) == 0);
        CHECK(strcmp(storage->ops->name, "posix") == 0);
        is_direct = storage->is_direct;
        storage->ops->close(storage);
        CHECK(unlink(path_of("store")) == 0);
        return round_trip(TACTUS_BACKEND_AUTO, is_direct);
    }
    CHECK(tac_storage_create_file(path_of("store"), child_case->backend, true, &storage, &error) ==
          TACTUS_EIO);
    CHECK(strstr(error.message, "forbidden") != NULL);
    CHECK(access(path_of("store"), F_OK) != 0);
    return 0;
}

/* Rings can be made and not be used. */
static int child_uring_enter_forbidden(const struct child_case *child_case)
{
    struct tac_error error = {0};

    tac_maybe(child_case->direct_io);
    if (!child_filter_deny(__NR_io_uring_enter, ENOSYS)) {
        return child_skip(no_filter);
    }
    CHECK(tac_storage_uring_probe(&error) == TACTUS_EIO);
    CHECK(strstr(error.message, "no io_uring") != NULL);
    return 0;
}

static int child_without_descriptors(const struct child_case *child_case)
{
    struct tac_storage  *storage = NULL;
    struct tac_io_queue *queue = NULL;
    struct tac_error     error = {0};
    struct rlimit        limit = {0};

    CHECK(tac_storage_create_file(path_of("store"), child_case->backend, true, &storage, &error) ==
          0);
    CHECK(unlink(path_of("store")) == 0);
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    CHECK(storage->ops->queue_new(storage, 4, -1, &queue, &error) == TACTUS_EIO);
    CHECK(queue == NULL && strstr(error.message, "too many open files") != NULL);
    storage->ops->close(storage);
    return 0;
}

/* ---- io_uring interrupted ------------------------------------------------------------------- */

#ifdef __x86_64__

/* The filter stops io_uring_enter with a signal, whose handler answers in the kernel's place: first
 * with errors, then with what the kernel says to the same call, marked so that it passes. The mark
 * is the size of a signal mask that is not given. */
#define ENTER_MARK 9

static volatile int inject_errno;
static volatile int inject_count;

static void enter_answer(int number, siginfo_t *info, void *context)
{
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    int     saved_errno = errno;
    long    rv;

    tac_assert(number == SIGSYS && info->si_syscall == __NR_io_uring_enter);
    if (inject_count > 0) {
        inject_count--;
        registers[REG_RAX] = -inject_errno;
        return;
    }
    rv = syscall(__NR_io_uring_enter, registers[REG_RDI], registers[REG_RSI], registers[REG_RDX],
                 registers[REG_R10], registers[REG_R8], ENTER_MARK);
    registers[REG_RAX] = rv < 0 ? -errno : rv;
    errno = saved_errno;
}

static bool enter_trap_install(void)
{
    struct sigaction   action = {.sa_sigaction = enter_answer, .sa_flags = SA_SIGINFO | SA_NODEFER};
    struct sock_filter filter[] = {
        FILTER_LOAD(nr),
        FILTER_SKIP_UNLESS(__NR_io_uring_enter, 2), /* To the first return */
        FILTER_LOAD(args[5]),
        FILTER_SKIP_UNLESS(ENTER_MARK, 1), /* To the second return */
        FILTER_RETURN(SECCOMP_RET_ALLOW),
        FILTER_RETURN(SECCOMP_RET_TRAP),
    };

    return sigaction(SIGSYS, &action, NULL) == 0 &&
           child_filter_install(filter, TAC_ARRAY_COUNT(filter));
}

/* A store of three pieces, a queue for it, and three reads of them. */
struct trap_state {
    struct tac_storage  *storage;
    struct tac_io_queue *queue;
    struct tac_io        reads[3];
    int                  wake_fd;
};

static int trap_begin(struct trap_state *state)
{
    const struct tac_storage_ops *ops;

    CHECK(tac_storage_create_file(path_of("store"), TACTUS_BACKEND_IO_URING, true, &state->storage,
                                  NULL) == 0);
    CHECK(unlink(path_of("store")) == 0);
    ops = state->storage->ops;
    state->wake_fd = eventfd(0, EFD_CLOEXEC);
    CHECK(ops->resize(state->storage, 3 * PIECE_BYTES, NULL) == 0);
    CHECK(ops->queue_new(state->storage, 4, state->wake_fd, &state->queue, NULL) == 0);
    return enter_trap_install() ? 0 : child_skip(no_filter);
}

static int trap_submit(struct trap_state *state)
{
    for (uint32_t i = 0; i < 3; i++) {
        uint64_t offset = i * (uint64_t)PIECE_BYTES;

        /* All into one buffer: what they read is all the same. */
        state->reads[i] = tac_io_of_buffer(TAC_IO_READ, buffer, PIECE_BYTES, offset);
        CHECK(state->storage->ops->submit(state->queue, &state->reads[i]));
    }
    return 0;
}

static int trap_reap(struct trap_state *state, int result, int os_error)
{
    struct tac_io *done = NULL;
    uint32_t       count = 0;

    while (count < 3) {
        count += state->storage->ops->reap(state->queue, &done);
        for (; done != NULL; done = done->next) {
            CHECK(done->result == result && done->os_error == os_error);
        }
    }
    CHECK(count == 3 && state->queue->in_flight == 0);
    return 0;
}

/* The kernel takes nothing, for a while. */
static int child_enter_interrupted(const struct child_case *child_case)
{
    static const int              errnos[] = {EINTR, EAGAIN, EBUSY};
    struct trap_state             state = {0};
    const struct tac_storage_ops *ops;
    int                           rv = trap_begin(&state);

    tac_maybe(child_case->direct_io);
    if (rv != 0) {
        return rv;
    }
    ops = state.storage->ops;
    for (uint32_t i = 0; i < TAC_ARRAY_COUNT(errnos); i++) {
        inject_errno = errnos[i];
        inject_count = 3; /* An interrupted call is made again at once, the others are not */
        CHECK(trap_submit(&state) == 0);
        CHECK(ops->flush(state.queue) == (errnos[i] == EINTR));
        CHECK(trap_reap(&state, TACTUS_OK, 0) == 0);
        CHECK(inject_count == 0);
    }
    inject_errno = EINTR;
    inject_count = 100;
    CHECK(trap_submit(&state) == 0);
    CHECK(!ops->flush(state.queue) && inject_count > 50); /* A storm does not hold it */
    CHECK(trap_reap(&state, TACTUS_OK, 0) == 0);
    ops->queue_free(state.queue);
    ops->close(state.storage);
    return 0;
}

/* The kernel refuses for good: everything fails with its reason, nothing hangs. */
static int child_enter_refused(const struct child_case *child_case)
{
    struct trap_state state = {0};
    struct pollfd     wake = {.events = POLLIN};
    int               rv = trap_begin(&state);

    tac_maybe(child_case->direct_io);
    if (rv != 0) {
        return rv;
    }
    wake.fd = state.wake_fd;
    inject_errno = EPERM;
    inject_count = 1;
    CHECK(trap_submit(&state) == 0);
    CHECK(poll(&wake, 1, 0) == 0);
    CHECK(state.storage->ops->flush(state.queue));
    CHECK(poll(&wake, 1, 0) == 1);
    CHECK(trap_reap(&state, TACTUS_EIO, EPERM) == 0);
    CHECK(trap_submit(&state) == 0); /* Later ones too, although the kernel would take them now */
    CHECK(trap_reap(&state, TACTUS_EIO, EPERM) == 0);
    state.storage->ops->queue_free(state.queue);
    state.storage->ops->close(state.storage);
    return 0;
}

#else

static int child_enter_interrupted(const struct child_case *child_case)
{
    tac_maybe(child_case->direct_io);
    return child_skip("only for x86-64");
}
static int child_enter_refused(const struct child_case *child_case)
{
    tac_maybe(child_case->direct_io);
    return child_skip("only for x86-64");
}

#endif

int main(void)
{
    const char *base = getenv("TMPDIR");
    bool        has_uring = tac_storage_uring_probe(NULL) == TACTUS_OK;

    tap_plan(0);
    snprintf(test_directory, sizeof test_directory, "%.200s/tactus-storage-XXXXXX",
             base != NULL ? base : P_tmpdir);
    if (mkdtemp(test_directory) == NULL ||
        posix_memalign((void **)&buffer, ALIGNMENT, PIECE_BYTES) != 0) {
        tap_bail("cannot make %s", test_directory);
    }
    memset(buffer, 1, PIECE_BYTES);
    paths_check();
    lock_check();
    for (int backend = TACTUS_BACKEND_IO_URING; backend <= TACTUS_BACKEND_POSIX; backend++) {
        if (backend == TACTUS_BACKEND_IO_URING && !has_uring) {
            tap_skip("io_uring cannot be used here");
            continue;
        }
        case_check(child_without_permission, backend, true, "no permission");
        chmod(test_directory, 0700);
        unlink(path_of("mine"));
        case_check(child_read_only, backend, true, "read-only file system");
        case_check(child_descriptors, backend, false, "the descriptor is private and above 2");
        case_check(child_on_ramfs, backend, true, "buffered where a file system has no direct I/O");
        case_check(child_direct_reads_refused, backend, true, "buffered where a read is refused");
        case_check(child_on_tmpfs, backend, true, "works on /dev/shm");
        case_check(child_with_file_size_limit, backend, false, "file size limit in a write");
        case_check(child_with_file_size_limit, backend, true, "file size limit in a write");
        case_check(child_on_small_disk, backend, false, "the disk is full");
        case_check(child_on_small_disk, backend, true, "the disk is full");
    }
    case_check(child_uring_forbidden, TACTUS_BACKEND_AUTO, true, "posix where it is forbidden");
    case_check(child_uring_forbidden, TACTUS_BACKEND_IO_URING, true, "says that it is forbidden");
    case_check(child_uring_enter_forbidden, TACTUS_BACKEND_IO_URING, true,
               "a ring that cannot be used is noticed");
    if (has_uring) {
        case_check(child_without_descriptors, TACTUS_BACKEND_IO_URING, true,
                   "no descriptor left for a ring");
        case_check(child_enter_interrupted, TACTUS_BACKEND_IO_URING, true,
                   "no request is lost when the kernel takes none");
        case_check(child_enter_refused, TACTUS_BACKEND_IO_URING, true,
                   "everything fails when the kernel refuses for good");
    }
    free(buffer);
    if (rmdir(test_directory) != 0) {
        tap_diag("%s is not empty", test_directory);
    }
    return tap_done();
}
