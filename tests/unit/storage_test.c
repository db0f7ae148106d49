/* SPDX-License-Identifier: Apache-2.0 */
/* The storage backends: files, requests in flight against a model, the life of a request. What the
 * system refuses is in storage_system_test.c, power cuts in storage_memory_test.c. */
#define _GNU_SOURCE 1

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/prng.h"
#include "base/units.h"
#include "stages/storage_file.h"
#include "tests/lib/tap.h"

#define ALIGNMENT TAC_STORAGE_ALIGNMENT_MAX
#define SLOT_BYTES (64 * 1024)
#define SLOTS 32
#define REGION_BYTES (SLOTS * SLOT_BYTES)
#define DEPTH 8
#define REQUESTS 400
#define THREADS 3

static char     test_directory[256];
static uint64_t test_seed;

/* ---- helpers -------------------------------------------------------------------------------- */

static const char *path_of(const char *name)
{
    static _Thread_local char path[512];

    snprintf(path, sizeof path, "%s/%s", test_directory, name);
    return path;
}

static void *aligned_new(size_t size)
{
    void *data = NULL;

    if (posix_memalign(&data, ALIGNMENT, size) != 0) {
        tap_bail("no memory");
    }
    memset(data, 0, size);
    return data;
}

static void fill(void *data, size_t size, uint64_t seed)
{
    struct tac_prng prng = {.state = seed};

    for (size_t i = 0; i < size; i += 8) {
        uint64_t value = tac_prng_next(&prng);

        memcpy((uint8_t *)data + i, &value, 8);
    }
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

/* ---- random requests against a model -------------------------------------------------------- */

struct exercise {
    struct tac_storage *storage;
    uint64_t            region_offset;
    uint64_t            seed;
    /* Result */
    const char *failure; /* NULL: all was well */
    uint32_t    reads, writes, syncs;
};

struct exercise_request {
    struct tac_io io;
    struct iovec  segments[TAC_IO_SEGMENTS_MAX]; /* As they were before the backend had them */
    uint8_t      *buffer;
    uint32_t      slot; /* SLOTS: none */
    bool          is_used;
};

struct exercise_state {
    struct exercise        *exercise;
    struct tac_prng         prng;
    struct tac_io_queue    *queue;
    int                     wake_fd;
    uint8_t                *model;
    bool                    is_busy[SLOTS];
    struct exercise_request requests[DEPTH];
};

/* Cuts a slot into segments that lie in the buffer in the opposite order. */
static void request_cut(struct exercise_state *state, struct exercise_request *request)
{
    uint64_t unit = state->exercise->storage->alignment_bytes;
    uint64_t left = tac_max_u64(unit, tac_prng_below(&state->prng, SLOT_BYTES / unit + 1) * unit);
    uint32_t count = 0;

    request->io.size_bytes = left;
    while (left > 0) {
        uint64_t size = unit * (1 + tac_prng_below(&state->prng, left / unit));

        if (count == TAC_IO_SEGMENTS_MAX - 1) {
            size = left;
        }
        left -= size;
        request->segments[count].iov_base = request->buffer + left;
        request->segments[count].iov_len = size;
        count++;
    }
    request->io.segment_count = count;
    memcpy(request->io.segments, request->segments, sizeof request->segments);
}

static void request_prepare(struct exercise_state *state, struct exercise_request *request)
{
    uint64_t choice = tac_prng_below(&state->prng, 16);
    uint32_t slot = (uint32_t)tac_prng_below(&state->prng, SLOTS);
    uint8_t *model;

    while (state->is_busy[slot]) {
        slot = (slot + 1) % SLOTS;
    }
    request->is_used = true;
    request->io = (struct tac_io){.owner = request, .kind = TAC_IO_SYNC};
    request->slot = SLOTS;
    if (choice == 0) {
        return;
    }
    request->slot = slot;
    state->is_busy[slot] = true;
    request->io.offset_bytes = state->exercise->region_offset + (uint64_t)slot * SLOT_BYTES;
    request->io.kind = choice < 8 ? TAC_IO_WRITE : TAC_IO_READ;
    request_cut(state, request);
    if (request->io.kind == TAC_IO_READ) {
        memset(request->buffer, 0xee, SLOT_BYTES);
        return;
    }
    fill(request->buffer, SLOT_BYTES, tac_prng_next(&state->prng));
    model = state->model + (uint64_t)slot * SLOT_BYTES;
    for (uint32_t i = 0; i < request->io.segment_count; i++) {
        memcpy(model, request->segments[i].iov_base, request->segments[i].iov_len);
        model += request->segments[i].iov_len;
    }
}

static void request_check(struct exercise_state *state, struct exercise_request *request)
{
    struct exercise *exercise = state->exercise;
    const uint8_t   *model = state->model + (uint64_t)request->slot * SLOT_BYTES;

    if (!request->is_used || request->io.result != TACTUS_OK) {
        exercise->failure = "a request failed or came back twice";
        return;
    }
    request->is_used = false;
    if (request->io.kind == TAC_IO_SYNC) {
        exercise->syncs++;
        return;
    }
    state->is_busy[request->slot] = false;
    if (request->io.kind == TAC_IO_WRITE) {
        exercise->writes++;
        return;
    }
    exercise->reads++;
    for (uint32_t i = 0; i < request->io.segment_count; i++) {
        if (memcmp(model, request->segments[i].iov_base, request->segments[i].iov_len) != 0) {
            exercise->failure = "a read found other bytes than were written";
        }
        model += request->segments[i].iov_len;
    }
}

/* As a stage thread does it: reap, and where there is nothing, flush and park. */
static void exercise_reap(struct exercise_state *state)
{
    const struct tac_storage_ops *ops = state->exercise->storage->ops;
    struct tac_io                *io = NULL;
    uint32_t                      in_flight = state->queue->in_flight;
    uint32_t                      count = ops->reap(state->queue, &io);
    struct pollfd                 wake = {.fd = state->wake_fd, .events = POLLIN};
    uint64_t                      signals;

    for (uint32_t i = 0; i < count; i++) {
        struct tac_io *next = io->next;

        request_check(state, io->owner);
        io = next;
    }
    if (io != NULL || state->queue->in_flight != in_flight - count) {
        state->exercise->failure = "reap miscounted";
    }
    if (count == 0 && state->queue->in_flight > 0 && ops->flush(state->queue)) {
        if (poll(&wake, 1, 20000) != 1 ||
            read(state->wake_fd, &signals, sizeof signals) != sizeof signals) {
            state->exercise->failure = "nobody signalled the wake_fd";
        }
    }
}

static void exercise_turns(struct exercise_state *state)
{
    const struct tac_storage_ops *ops = state->exercise->storage->ops;
    uint32_t                      submitted = 0;
    uint32_t                      refused = 0;

    while (submitted < REQUESTS && state->exercise->failure == NULL) {
        struct exercise_request *request = NULL;

        for (uint32_t i = 0; i < DEPTH && request == NULL; i++) {
            request = state->requests[i].is_used ? NULL : &state->requests[i];
        }
        if (request == NULL) {
            exercise_reap(state);
            continue;
        }
        request_prepare(state, request);
        while (!ops->submit(state->queue, &request->io) && ++refused < 10 * REQUESTS) {
        }
        submitted++;
        if (tac_prng_below(&state->prng, 4) == 0) {
            tac_maybe(ops->flush(state->queue));
        }
    }
    while (state->queue->in_flight > 0 && state->exercise->failure == NULL) {
        exercise_reap(state);
    }
}

static void *exercise_main(void *argument)
{
    struct exercise      *exercise = argument;
    struct exercise_state state = {.exercise = exercise, .prng.state = exercise->seed};
    struct tac_error      error = {0};
    struct tac_storage   *storage = exercise->storage;
    uint8_t              *found = aligned_new(REGION_BYTES);

    state.model = aligned_new(REGION_BYTES);
    state.wake_fd = eventfd(0, EFD_CLOEXEC);
    fill(state.model, REGION_BYTES, exercise->seed);
    for (uint32_t i = 0; i < DEPTH; i++) {
        state.requests[i].buffer = aligned_new(SLOT_BYTES);
    }
    if (storage->ops->write(storage, state.model, REGION_BYTES, exercise->region_offset, &error) !=
            0 ||
        storage->ops->queue_new(storage, DEPTH, state.wake_fd, &state.queue, &error) != 0) {
        tap_bail("cannot begin: %s", error.message);
    }
    exercise_turns(&state);
    if (exercise->failure == NULL) {
        storage->ops->queue_free(state.queue);
        if (storage->ops->read(storage, found, REGION_BYTES, exercise->region_offset, &error) !=
                0 ||
            memcmp(found, state.model, REGION_BYTES) != 0) {
            exercise->failure = "the region differs at the end";
        }
    }
    for (uint32_t i = 0; i < DEPTH; i++) {
        free(state.requests[i].buffer);
    }
    close(state.wake_fd);
    free(state.model);
    free(found);
    return NULL;
}

/* Threads with a queue and a region each; with their reads and writes counted. */
static void exercise_check(struct tac_storage *storage, uint32_t thread_count, const char *name)
{
    struct tac_storage_counters before, after;
    struct exercise             exercises[THREADS] = {0};
    pthread_t                   threads[THREADS];
    const char                 *failure = NULL;
    uint64_t                    reads = 0, writes = 0, syncs = 0;

    tac_storage_counters(storage, &before);
    for (uint32_t i = 0; i < thread_count; i++) {
        exercises[i].storage = storage;
        exercises[i].region_offset = (uint64_t)i * REGION_BYTES;
        exercises[i].seed = test_seed + i;
        if (pthread_create(&threads[i], NULL, exercise_main, &exercises[i]) != 0) {
            tap_bail("cannot start a thread");
        }
    }
    for (uint32_t i = 0; i < thread_count; i++) {
        pthread_join(threads[i], NULL);
        failure = exercises[i].failure != NULL ? exercises[i].failure : failure;
        reads += exercises[i].reads + 1;
        writes += exercises[i].writes + 1;
        syncs += exercises[i].syncs;
    }
    tac_storage_counters(storage, &after);
    if (!tap_ok(failure == NULL, "%s: %u threads read and write at random", name, thread_count)) {
        tap_diag("%s", failure);
    }
    tap_ok(after.reads - before.reads == reads && after.writes - before.writes == writes &&
               after.syncs - before.syncs == syncs && after.read_bytes > before.read_bytes &&
               after.written_bytes - before.written_bytes > thread_count * (uint64_t)REGION_BYTES,
           "%s: every request is counted once", name);
}

/* One flush, and then as often as there is something to reap the wake_fd says so. */
static void wake_check(struct tac_storage *storage, const char *name)
{
    const struct tac_storage_ops *ops = storage->ops;
    struct tac_io_queue          *queue = NULL;
    struct tac_error              error = {0};
    struct tac_io                 ios[DEPTH];
    struct tac_io                 extra = {.kind = TAC_IO_SYNC};
    struct tac_io                *done = NULL;
    struct pollfd                 wake = {.fd = eventfd(0, EFD_CLOEXEC), .events = POLLIN};
    uint64_t                      signals = 0;
    bool                          is_signalled;

    if (ops->queue_new(storage, DEPTH, wake.fd, &queue, &error) != 0) {
        tap_bail("%s", error.message);
    }
    is_signalled = ops->flush(queue) && poll(&wake, 1, 0) == 0;
    for (uint32_t i = 0; i < DEPTH; i++) {
        ios[i] = (struct tac_io){.kind = TAC_IO_SYNC};
        while (!ops->submit(queue, &ios[i])) {
        }
    }
    tap_ok(!ops->submit(queue, &extra), "%s: a full queue takes no more", name);
    while (!ops->flush(queue)) {
    }
    while (queue->in_flight > 0) {
        if (is_signalled && (poll(&wake, 1, 20000) != 1 ||
                             read(wake.fd, &signals, sizeof signals) != sizeof signals)) {
            is_signalled = false;
        }
        ops->reap(queue, &done);
    }
    tap_ok(is_signalled, "%s: the wake_fd says when there is something to reap", name);
    ops->queue_free(queue);
    close(wake.fd);
}

/* ---- all backends --------------------------------------------------------------------------- */

static void ends_check(struct tac_storage *storage, const char *name)
{
    const struct tac_storage_ops *ops = storage->ops;
    struct tac_io_queue          *queue = NULL;
    struct tac_error              error = {0};
    uint8_t                      *data = aligned_new(4 * ALIGNMENT);
    uint64_t                      size = ops->size(storage);
    struct tac_io io = tac_io_of_buffer(TAC_IO_READ, data, 4 * ALIGNMENT, size - ALIGNMENT);

    tap_ok(ops->read(storage, data, ALIGNMENT, size, &error) == TACTUS_EIO &&
               strstr(error.message, "ends") != NULL,
           "%s: a read beyond the end fails and says why", name);
    tap_ok(ops->queue_new(storage, 2, -1, &queue, &error) == 0 &&
               queue_perform(queue, &io) == TACTUS_EIO && io.os_error == 0,
           "%s: a queued read across the end fails without an errno", name);
    io = tac_io_of_buffer(TAC_IO_WRITE, data, 4 * ALIGNMENT, size - ALIGNMENT);
    tap_ok(queue_perform(queue, &io) == 0 && ops->size(storage) == size + 3 * ALIGNMENT,
           "%s: a write across the end extends the file", name);
    ops->queue_free(queue);
    free(data);
}

static void resize_check(struct tac_storage *storage, const char *name)
{
    const struct tac_storage_ops *ops = storage->ops;
    struct tac_error              error = {0};
    uint64_t                      size = ops->size(storage) + 5 * TAC_MIB;
    uint8_t                      *data = aligned_new(ALIGNMENT);

    tap_ok(ops->resize(storage, size, &error) == 0 && ops->size(storage) == size &&
               ops->resize(storage, ALIGNMENT, &error) == 0 && ops->size(storage) == size,
           "%s: resize grows and never shrinks", name);
    memset(data, 1, ALIGNMENT);
    tap_ok(ops->read(storage, data, ALIGNMENT, size - ALIGNMENT, &error) == 0 && data[0] == 0 &&
               memcmp(data, data + 1, ALIGNMENT - 1) == 0,
           "%s: what has grown reads as zero", name);
    tap_ok(ops->sync(storage, &error) == 0, "%s: sync", name);
    free(data);
}

/* Submits DEPTH requests and ends before they do. */
static void *orphans_main(void *argument)
{
    struct exercise_state *state = argument;

    for (uint32_t i = 0; i < DEPTH; i++) {
        struct tac_io *io = &state->requests[i].io;

        *io = (struct tac_io){.kind = TAC_IO_SYNC};
        if (i % 2 == 0) {
            *io = tac_io_of_buffer(TAC_IO_WRITE, state->model, SLOT_BYTES, i * SLOT_BYTES);
        }
        while (!state->queue->storage->ops->submit(state->queue, io)) {
        }
    }
    tac_maybe(state->queue->storage->ops->flush(state->queue));
    return NULL;
}

static void orphans_check(struct tac_storage *storage, const char *name)
{
    struct exercise_state state = {.model = aligned_new(SLOT_BYTES)};
    struct tac_error      error = {0};
    struct tac_io        *done = NULL;
    uint32_t              failures = 0;
    pthread_t             thread;

    if (storage->ops->queue_new(storage, DEPTH, -1, &state.queue, &error) != 0) {
        tap_bail("%s", error.message);
    }
    for (uint32_t round = 0; round < 20; round++) {
        if (pthread_create(&thread, NULL, orphans_main, &state) != 0) {
            tap_bail("cannot start a thread");
        }
        pthread_join(thread, NULL);
        while (state.queue->in_flight > 0) {
            storage->ops->reap(state.queue, &done);
            for (; done != NULL; done = done->next) {
                failures += done->result != TACTUS_OK;
            }
        }
    }
    tap_ok(failures == 0, "%s: requests survive the thread that submitted them", name);
    storage->ops->queue_free(state.queue);
    free(state.model);
}

static bool child_is_right(struct tac_storage *storage)
{
    struct tac_storage *other = NULL;
    bool                is_right = tac_storage_is_forked(storage);

    storage->fork_mark = NULL; /* Then the process id must tell */
    is_right = is_right && tac_storage_is_forked(storage);
    if (strcmp(storage->ops->name, "memory") != 0) {
        is_right = is_right && tac_storage_open_file(path_of("store"), TACTUS_BACKEND_POSIX, false,
                                                     &other, NULL) == TACTUS_ELOCKED;
    }
    return is_right;
}

static void fork_check(struct tac_storage *storage, const char *name)
{
    int   status = 0;
    pid_t child = fork();

    if (child == 0) {
        _exit(child_is_right(storage) ? 0 : 1);
    }
    tap_ok(child > 0 && waitpid(child, &status, 0) == child && status == 0 &&
               !tac_storage_is_forked(storage),
           "%s: a child knows that it is forked and cannot open the store", name);
}

static void file_backend_check(enum tactus_backend backend, bool direct_io)
{
    struct tac_storage *storage = NULL;
    struct tac_storage *other = NULL;
    struct tac_error    error = {0};
    struct stat         status;
    char                name[64];

    unlink(path_of("store"));
    if (tac_storage_create_file(path_of("store"), backend, direct_io, &storage, &error) != 0) {
        tap_bail("%s", error.message);
    }
    snprintf(name, sizeof name, "%s%s", storage->ops->name, storage->is_direct ? " direct" : "");
    tap_ok(storage->ops->size(storage) == 0 && (direct_io || !storage->is_direct),
           "%s: a new file is empty", name);
    tap_ok(tac_storage_create_file(path_of("store"), backend, direct_io, &other, &error) ==
               TACTUS_EEXISTS,
           "%s: a second create fails", name);
    tap_ok(tac_storage_open_file(path_of("store"), backend, direct_io, &other, &error) ==
               TACTUS_ELOCKED,
           "%s: a second open fails", name);
    fork_check(storage, name);
    exercise_check(storage, 1, name);
    exercise_check(storage, THREADS, name);
    orphans_check(storage, name);
    wake_check(storage, name);
    ends_check(storage, name);
    resize_check(storage, name);
    storage->ops->close(storage);
    tap_ok(stat(path_of("store"), &status) == 0 && (status.st_mode & 0777 & ~0644) == 0 &&
               (uint64_t)status.st_blocks * 512 >= 5 * TAC_MIB,
           "%s: the file has its blocks and is writable for its owner only", name);
    storage = NULL;
    tap_ok(tac_storage_open_file(path_of("store"), backend, direct_io, &storage, &error) == 0 &&
               storage->ops->size(storage) == (uint64_t)status.st_size,
           "%s: opens again after the close", name);
    storage->ops->close(storage);
    unlink(path_of("store"));
}

static void memory_backend_check(uint64_t seed)
{
    struct tac_memory_disk *disk = tac_memory_disk_new(seed);
    struct tac_storage     *storage = NULL;
    struct tac_storage     *other = NULL;
    struct tac_error        error = {0};
    const uint8_t          *data;
    uint8_t                *block = aligned_new(ALIGNMENT);
    uint64_t                size = 0;
    char                    name[64];

    snprintf(name, sizeof name, "memory seed %llu", (unsigned long long)seed);
    if (disk == NULL || tac_storage_open_memory(disk, &storage, &error) != 0) {
        tap_bail("no disk in memory: %s", error.message);
    }
    tap_ok(tac_storage_open_memory(disk, &other, &error) == TACTUS_ELOCKED,
           "%s: a second open fails", name);
    fork_check(storage, name);
    exercise_check(storage, 1, name);
    exercise_check(storage, THREADS, name);
    wake_check(storage, name);
    ends_check(storage, name);
    resize_check(storage, name);
    tap_ok(storage->ops->resize(storage, 65 * TAC_GIB, &error) == TACTUS_EFULL,
           "%s: is full beyond its largest size", name);
    fill(block, ALIGNMENT, 7);
    tap_ok(storage->ops->write(storage, block, ALIGNMENT, ALIGNMENT, &error) == 0, "%s: write",
           name);
    storage->ops->close(storage);
    data = tac_memory_disk_data(disk, &size);
    tap_ok(size > 5 * TAC_MIB && memcmp(data + ALIGNMENT, block, ALIGNMENT) == 0,
           "%s: the disk outlives its storage", name);
    tac_memory_disk_free(disk);
    free(block);
}

/* ---- the life of a request ------------------------------------------------------------------ */

/* Every way to cut one transfer of 3 segments into two or three short ones. */
static bool advance_is_right(uint64_t first, uint64_t second)
{
    struct tac_storage storage = {.alignment_bytes = 512};
    uint8_t           *data = aligned_new(6 * 512);
    uint64_t           done = 0;
    uint64_t           moves[] = {first, second, 6 * 512 - first - second};
    bool               is_right = true;
    struct tac_io      io = {
             .kind = TAC_IO_WRITE,
             .segment_count = 3,
             .segments = {{data, 512}, {data + 512, 1024}, {data + 1536, 1536}},
             .size_bytes = 6 * 512,
    };

    tac_io_commence(&storage, &io);
    for (uint32_t i = 0; i < TAC_ARRAY_COUNT(moves) && done < io.size_bytes; i++) {
        uint64_t left = 0;
        bool     is_over = moves[i] == 0 || tac_io_advance(&storage, &io, moves[i]);

        done += moves[i];
        if (moves[i] == 0) {
            continue;
        }
        is_right = is_right && is_over == (done == 6 * 512) && io.done_bytes == done;
        for (uint32_t k = 0; k < io.segment_count && !is_over; k++) {
            /* The segments are consecutive in memory too, so each says where it belongs. */
            is_right = is_right && io.segments[k].iov_len > 0 &&
                       (uint8_t *)io.segments[k].iov_base == data + done + left;
            left += io.segments[k].iov_len;
        }
        is_right = is_right && (is_over || done + left == io.size_bytes);
    }
    free(data);
    return is_right && io.result == 0 && storage.counters.written_bytes == io.size_bytes;
}

static void advance_check(void)
{
    struct tac_storage storage = {.alignment_bytes = 512, .is_direct = true};
    uint8_t           *data = aligned_new(1024);
    struct tac_io      io = tac_io_of_buffer(TAC_IO_READ, data, 1024, 0);
    bool               is_right = true;

    for (uint64_t first = 1; first <= 6 * 512; first += 73) {
        for (uint64_t second = 0; first + second <= 6 * 512; second += 91) {
            is_right = is_right && advance_is_right(first, second);
        }
    }
    tap_ok(is_right, "a short transfer goes on where it stopped, at every place");
    tac_io_commence(&storage, &io);
    tap_ok(tac_io_advance(&storage, &io, 700) && io.result == TACTUS_EIO && io.os_error == 0,
           "a direct read that stops within a sector has met the end of the file");
    tac_io_commence(&storage, &io);
    tac_io_fail(&io, EDQUOT);
    tap_ok(io.result == TACTUS_EFULL && io.os_error == EDQUOT && storage.counters.reads == 0,
           "no space is told apart from other failures, and failures are not counted");
    free(data);
}

int main(void)
{
    const char *base = getenv("TMPDIR");

    tap_plan(0);
    test_seed = tap_seed();
    snprintf(test_directory, sizeof test_directory, "%.200s/tactus-storage-XXXXXX",
             base != NULL ? base : P_tmpdir);
    if (mkdtemp(test_directory) == NULL) {
        tap_bail("cannot make %s", test_directory);
    }
    advance_check();
    file_backend_check(TACTUS_BACKEND_AUTO, true);
    file_backend_check(TACTUS_BACKEND_AUTO, false);
    file_backend_check(TACTUS_BACKEND_POSIX, true);
    file_backend_check(TACTUS_BACKEND_POSIX, false);
    memory_backend_check(0);
    memory_backend_check(1);
    memory_backend_check(test_seed);
    rmdir(test_directory);
    return tap_done();
}
