/* SPDX-License-Identifier: Apache-2.0 */
/* storage_memory -- a disk in the process, which can lose power.
 *
 * The disk's bytes lie in one reserved range of addresses that is made accessible as the disk
 * grows: they never move, and what was never written costs nothing and reads as zero. One mutex
 * guards everything; requests are served while it is held, so each is atomic for the others.
 *
 * The journal (seed not 0) has an entry for every write and growth that no sync covers, oldest
 * first, with the bytes that the write replaced. A sync takes out what was there when it was
 * submitted. A crash takes back the whole journal, newest first, which turns the replaced bytes
 * into the written ones, and then does again, oldest first, what chance lets survive. */
#define _GNU_SOURCE 1

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/prng.h"
#include "base/units.h"
#include "stages/storage_file.h"

#define RESERVE_MAX_BYTES (64 * TAC_GIB)
#define RESERVE_MIN_BYTES (64 * TAC_MIB)
/* Access is granted in steps of this. */
#define GROWTH_BYTES TAC_MIB
#define SECTOR_BYTES 512
/* With a seed, submit refuses one request of this many. */
#define REFUSAL_ODDS 32

struct journal_entry {
    struct journal_entry *next;
    uint64_t              sequence;
    uint64_t              disk_size_before;
    uint64_t              offset;
    uint64_t              size; /* 0: growth alone */
    uint8_t               bytes[];
};

struct memory_queue;

struct tac_memory_disk {
    /* Fixed at birth. */
    uint64_t seed;
    uint8_t *data;
    uint64_t reserved_bytes;
    /* Guarded by the mutex. */
    pthread_mutex_t        mutex;
    struct tac_prng        prng;
    uint64_t               size;
    uint64_t               accessible_bytes;
    uint64_t               written_bytes; /* Nothing beyond was ever written */
    bool                   is_open;
    bool                   has_power;
    struct memory_queue   *queues;
    struct journal_entry  *journal_first;
    struct journal_entry **journal_link; /* Where the next entry is to be linked */
    uint64_t               journal_sequence;
};

struct memory_storage {
    struct tac_storage      base; /* First: the two are cast into each other */
    struct tac_memory_disk *disk;
    bool                    owns_disk; /* Its close frees the disk */
};

struct memory_request {
    struct tac_io *io;
    uint64_t       journal_sequence; /* A sync covers what has at most this */
};

struct memory_queue {
    struct tac_io_queue  base; /* First: the two are cast into each other */
    struct memory_queue *next; /* Of the disk */
    int                  wake_fd;
    /* Guarded by the disk's mutex, as base.in_flight is when it changes. */
    struct memory_request pending[]; /* The first base.in_flight */
};

static struct tac_memory_disk *disk_of(struct tac_storage *storage)
{
    return ((struct memory_storage *)storage)->disk;
}

/* The disk, locked. */
static struct tac_memory_disk *disk_lock(struct tac_storage *storage)
{
    struct tac_memory_disk *disk = disk_of(storage);
    int                     rv = pthread_mutex_lock(&disk->mutex);

    tac_assert(rv == 0);
    return disk;
}

static void disk_unlock(struct tac_memory_disk *disk)
{
    int rv = pthread_mutex_unlock(&disk->mutex);

    tac_assert(rv == 0);
}

/* ---- the journal ---------------------------------------------------------------------------- */

static void journal_init(struct tac_memory_disk *disk)
{
    disk->journal_first = NULL;
    disk->journal_link = &disk->journal_first;
}

/* Notes what the disk holds at [offset, offset + size), which lies within its size, and that it was
 * disk_size_before large. False: no memory. */
static bool journal_append(struct tac_memory_disk *disk, uint64_t offset, uint64_t size,
                           uint64_t disk_size_before)
{
    struct journal_entry *entry;

    tac_assert(offset <= disk->size && size <= disk->size - offset);
    if (disk->seed == 0) {
        return true;
    }
    entry = malloc(sizeof *entry + size);
    if (entry == NULL) {
        return false;
    }
    entry->next = NULL;
    entry->sequence = ++disk->journal_sequence;
    entry->disk_size_before = disk_size_before;
    entry->offset = offset;
    entry->size = size;
    memcpy(entry->bytes, disk->data + offset, size);
    *disk->journal_link = entry;
    disk->journal_link = &entry->next;
    return true;
}

static void journal_forget(struct tac_memory_disk *disk, uint64_t sequence_last)
{
    while (disk->journal_first != NULL && disk->journal_first->sequence <= sequence_last) {
        struct journal_entry *entry = disk->journal_first;

        disk->journal_first = entry->next;
        free(entry);
    }
    if (disk->journal_first == NULL) {
        journal_init(disk);
    }
}

/* ---- the disk ------------------------------------------------------------------------------- */

/* Returns an errno. */
static int disk_grow(struct tac_memory_disk *disk, uint64_t size)
{
    uint64_t accessible_bytes = tac_round_up(size, GROWTH_BYTES);

    tac_assert(size >= disk->size && size <= INT64_MAX);
    if (accessible_bytes > disk->reserved_bytes) {
        return ENOSPC;
    }
    if (accessible_bytes > disk->accessible_bytes) {
        if (mprotect(disk->data, accessible_bytes, PROT_READ | PROT_WRITE) != 0) {
            return errno;
        }
        disk->accessible_bytes = accessible_bytes;
    }
    disk->size = size;
    return 0;
}

/* Back to a smaller size; what lay beyond reads as zero when it grows again. Whole steps of growth
 * are given back to the system, so that space never written stays free of cost. */
static void disk_shrink(struct tac_memory_disk *disk, uint64_t size)
{
    uint64_t edge = tac_round_up(size, GROWTH_BYTES);

    tac_assert(size <= disk->size);
    memset(disk->data + size, 0, tac_min_u64(edge, disk->size) - size);
    disk->written_bytes = tac_min_u64(disk->written_bytes, size);
    if (disk->accessible_bytes > edge) {
        int rv = madvise(disk->data + edge, disk->accessible_bytes - edge, MADV_DONTNEED);

        tac_assert(rv == 0);
    }
    disk->size = size;
}

struct tac_memory_disk *tac_memory_disk_new(uint64_t seed)
{
    struct tac_memory_disk *disk = calloc(1, sizeof *disk);
    uint64_t                reserve_bytes = RESERVE_MAX_BYTES;

    if (disk == NULL) {
        return NULL;
    }
    do {
        disk->data = mmap(NULL, reserve_bytes, PROT_NONE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        disk->reserved_bytes = reserve_bytes;
        reserve_bytes /= 2; /* Where the address space is limited */
    } while (disk->data == MAP_FAILED && reserve_bytes >= RESERVE_MIN_BYTES);
    if (disk->data == MAP_FAILED || pthread_mutex_init(&disk->mutex, NULL) != 0) {
        if (disk->data != MAP_FAILED) {
            munmap(disk->data, disk->reserved_bytes);
        }
        free(disk);
        return NULL;
    }
    disk->seed = seed;
    disk->prng.state = seed;
    disk->has_power = true;
    journal_init(disk);
    return disk;
}

void tac_memory_disk_free(struct tac_memory_disk *disk)
{
    int rv;

    if (disk == NULL) {
        return;
    }
    tac_assert(!disk->is_open && disk->queues == NULL);
    journal_forget(disk, UINT64_MAX);
    rv = munmap(disk->data, disk->reserved_bytes);
    tac_assert(rv == 0);
    rv = pthread_mutex_destroy(&disk->mutex);
    tac_assert(rv == 0);
    free(disk);
}

const uint8_t *tac_memory_disk_data(const struct tac_memory_disk *disk, uint64_t *ret_size)
{
    *ret_size = disk->size;
    return disk->data;
}

uint64_t tac_memory_disk_written_bytes(const struct tac_memory_disk *disk)
{
    return disk->written_bytes;
}

void tac_memory_disk_damage(struct tac_memory_disk *disk, uint64_t offset, const uint8_t *bytes,
                            uint64_t size)
{
    int rv = pthread_mutex_lock(&disk->mutex);

    tac_assert(rv == 0);
    tac_assert(offset <= disk->size && size <= disk->size - offset);
    memcpy(disk->data + offset, bytes, size);
    disk->written_bytes = tac_max_u64(disk->written_bytes, offset + size);
    disk_unlock(disk);
}

/* ---- requests ------------------------------------------------------------------------------- */

/* Makes room for a write that may lie beyond the end, as a file would. Returns an errno. */
static int disk_write_prepare(struct tac_memory_disk *disk, uint64_t offset, uint64_t size)
{
    uint64_t size_before = disk->size;

    if (offset + size > disk->size) {
        int os_error = disk_grow(disk, offset + size);

        if (os_error != 0) {
            return os_error;
        }
    }
    if (!journal_append(disk, offset, size, size_before)) {
        disk_shrink(disk, size_before);
        return ENOMEM;
    }
    disk->written_bytes = tac_max_u64(disk->written_bytes, offset + size);
    return 0;
}

static void segments_copy(struct tac_memory_disk *disk, const struct tac_io *io)
{
    uint8_t *position = disk->data + io->offset_bytes;

    tac_assert(io->offset_bytes + io->size_bytes <= disk->size);
    for (uint32_t i = 0; i < io->segment_count; i++) {
        const struct iovec *segment = &io->segments[i];

        if (io->kind == TAC_IO_WRITE) {
            memcpy(position, segment->iov_base, segment->iov_len);
        } else {
            memcpy(segment->iov_base, position, segment->iov_len);
        }
        position += segment->iov_len;
    }
}

/* The moment at which a request happens. */
static void disk_perform(struct tac_memory_disk *disk, struct tac_storage *storage,
                         struct tac_io *io, uint64_t sync_sequence)
{
    int os_error;

    if (!disk->has_power) {
        tac_io_fail(io, EIO);
        return;
    }
    switch (io->kind) {
    case TAC_IO_SYNC:
        journal_forget(disk, sync_sequence);
        tac_io_complete(storage, io);
        return;
    case TAC_IO_WRITE:
        os_error = disk_write_prepare(disk, io->offset_bytes, io->size_bytes);
        if (os_error != 0) {
            tac_io_fail(io, os_error);
            return;
        }
        break;
    case TAC_IO_READ:
        if (io->offset_bytes + io->size_bytes > disk->size) {
            tac_io_fail(io, 0);
            return;
        }
        break;
    }
    segments_copy(disk, io);
    io->done_bytes = io->size_bytes;
    tac_io_complete(storage, io);
}

static int memory_perform_one(struct tac_storage *storage, struct tac_io *io, const char *verb,
                              struct tac_error *error)
{
    struct tac_memory_disk *disk;

    tac_io_commence(storage, io);
    disk = disk_lock(storage);
    disk_perform(disk, storage, io, disk->journal_sequence);
    disk_unlock(disk);
    if (io->result == TACTUS_OK) {
        return TACTUS_OK;
    }
    return tac_error_set(error, io->result, "cannot %s %llu bytes at %llu of a disk in memory: %s",
                         verb, (unsigned long long)io->size_bytes,
                         (unsigned long long)io->offset_bytes,
                         io->os_error == 0 ? "it ends before" : strerror(io->os_error));
}

static int memory_read(struct tac_storage *storage, void *data, uint64_t size, uint64_t offset,
                       struct tac_error *error)
{
    struct tac_io io = tac_io_of_buffer(TAC_IO_READ, data, size, offset);

    return memory_perform_one(storage, &io, "read", error);
}

static int memory_write(struct tac_storage *storage, const void *data, uint64_t size,
                        uint64_t offset, struct tac_error *error)
{
    struct tac_io io = tac_io_of_buffer(TAC_IO_WRITE, data, size, offset);

    return memory_perform_one(storage, &io, "write", error);
}

static int memory_sync(struct tac_storage *storage, struct tac_error *error)
{
    struct tac_io io = {.kind = TAC_IO_SYNC};

    return memory_perform_one(storage, &io, "sync", error);
}

static uint64_t memory_size(struct tac_storage *storage)
{
    struct tac_memory_disk *disk = disk_lock(storage);
    uint64_t                size = disk->size;

    disk_unlock(disk);
    return size;
}

static int memory_resize(struct tac_storage *storage, uint64_t size, struct tac_error *error)
{
    struct tac_memory_disk *disk = disk_lock(storage);
    uint64_t                size_before = disk->size;
    int                     os_error = 0;

    tac_assert(size % storage->alignment_bytes == 0 && size <= INT64_MAX);
    if (!disk->has_power) {
        os_error = EIO;
    } else if (size > size_before) {
        os_error = disk_grow(disk, size);
        if (os_error == 0 && !journal_append(disk, size_before, 0, size_before)) {
            disk_shrink(disk, size_before);
            os_error = ENOMEM;
        }
    }
    disk_unlock(disk);
    return os_error == 0 ? TACTUS_OK
                         : tac_file_error_set(error, os_error, "grow", "a disk in memory");
}

/* ---- queues --------------------------------------------------------------------------------- */

static int memory_queue_new(struct tac_storage *storage, uint32_t depth, int wake_fd,
                            struct tac_io_queue **ret_queue, struct tac_error *error)
{
    struct memory_queue    *queue = malloc(sizeof *queue + depth * sizeof queue->pending[0]);
    struct tac_memory_disk *disk;

    tac_assert(depth > 0);
    if (queue == NULL) {
        return tac_error_set(error, TACTUS_ENOMEM, "no memory for an I/O queue");
    }
    queue->base = (struct tac_io_queue){.storage = storage, .depth = depth};
    queue->wake_fd = wake_fd;
    disk = disk_lock(storage);
    queue->next = disk->queues;
    disk->queues = queue;
    disk_unlock(disk);
    *ret_queue = &queue->base;
    return TACTUS_OK;
}

static void memory_queue_free(struct tac_io_queue *base)
{
    struct memory_queue    *queue = (struct memory_queue *)base;
    struct tac_memory_disk *disk = disk_lock(base->storage);
    struct memory_queue   **link = &disk->queues;

    tac_assert(base->in_flight == 0);
    while (*link != queue) {
        tac_assert(*link != NULL);
        link = &(*link)->next;
    }
    *link = queue->next;
    disk_unlock(disk);
    free(queue);
}

static bool memory_submit(struct tac_io_queue *base, struct tac_io *io)
{
    struct memory_queue    *queue = (struct memory_queue *)base;
    struct tac_memory_disk *disk = disk_lock(base->storage);
    bool                    is_full = base->in_flight == base->depth;

    tac_assert(base->in_flight <= base->depth);
    if (disk->seed != 0 && tac_prng_below(&disk->prng, REFUSAL_ODDS) == 0) {
        is_full = true;
    }
    if (!is_full) {
        tac_io_commence(base->storage, io);
        queue->pending[base->in_flight] = (struct memory_request){
            .io = io,
            .journal_sequence = disk->journal_sequence,
        };
        base->in_flight++;
    }
    disk_unlock(disk);
    return !is_full;
}

/* Nobody else signals, so as long as something is in flight the thread is kept turning. */
static bool memory_flush(struct tac_io_queue *base)
{
    if (base->in_flight > 0) {
        tac_wake_fd_signal(((struct memory_queue *)base)->wake_fd);
    }
    return true;
}

/* Without a seed all in order; else some of them, each drawn from those that are left. */
static uint32_t memory_reap(struct tac_io_queue *base, struct tac_io **ret_list)
{
    struct memory_queue    *queue = (struct memory_queue *)base;
    struct tac_memory_disk *disk = disk_lock(base->storage);
    bool                    is_random = disk->seed != 0;
    uint32_t                pending_count = base->in_flight;
    uint32_t                finish_count = pending_count;
    struct tac_io_list      done;

    tac_assert(pending_count <= base->depth);
    tac_io_list_init(&done);
    if (is_random) {
        finish_count = (uint32_t)tac_prng_below(&disk->prng, (uint64_t)pending_count + 1);
    }
    for (uint32_t i = 0; i < finish_count; i++) {
        uint32_t index = is_random ? (uint32_t)tac_prng_below(&disk->prng, pending_count) : i;
        struct memory_request request = queue->pending[index];

        disk_perform(disk, base->storage, request.io, request.journal_sequence);
        tac_io_list_append(&done, request.io);
        if (is_random) {
            pending_count--;
            queue->pending[index] = queue->pending[pending_count];
        }
    }
    tac_assert(done.count == finish_count);
    base->in_flight -= finish_count;
    disk_unlock(disk);
    tac_maybe(memory_flush(base));
    return tac_io_list_take(&done, ret_list);
}

/* ---- open, close, crash --------------------------------------------------------------------- */

static void memory_close(struct tac_storage *storage)
{
    struct tac_memory_disk *disk = disk_lock(storage);

    tac_assert(disk->is_open && disk->queues == NULL);
    disk->is_open = false;
    disk_unlock(disk);
    if (((struct memory_storage *)storage)->owns_disk) {
        tac_memory_disk_free(disk);
    }
    tac_storage_destroy(storage);
    free(storage);
}

static const struct tac_storage_ops memory_ops = {
    .name = "memory",
    .read = memory_read,
    .write = memory_write,
    .sync = memory_sync,
    .resize = memory_resize,
    .size = memory_size,
    .close = memory_close,
    .queue_new = memory_queue_new,
    .queue_free = memory_queue_free,
    .submit = memory_submit,
    .flush = memory_flush,
    .reap = memory_reap,
};

int tac_storage_open_memory(struct tac_memory_disk *disk, struct tac_storage **ret_storage,
                            struct tac_error *error)
{
    struct memory_storage *storage = malloc(sizeof *storage);
    bool                   is_open_elsewhere;

    if (storage == NULL) {
        return tac_error_set(error, TACTUS_ENOMEM, "no memory to open a disk in memory");
    }
    storage->disk = disk;
    storage->owns_disk = false;
    tac_storage_create(&storage->base, &memory_ops, false, TAC_STORAGE_ALIGNMENT_MIN);
    disk_lock(&storage->base);
    is_open_elsewhere = disk->is_open;
    if (!is_open_elsewhere) {
        disk->is_open = true;
        disk->has_power = true;
    }
    disk_unlock(disk);
    if (is_open_elsewhere) {
        tac_storage_destroy(&storage->base);
        free(storage);
        return tac_error_set(error, TACTUS_ELOCKED, "the disk in memory is open already");
    }
    *ret_storage = &storage->base;
    return TACTUS_OK;
}

/* Exchanges what the entry holds with what the disk holds there. */
static void journal_entry_swap(struct tac_memory_disk *disk, struct journal_entry *entry)
{
    uint8_t *position = disk->data + entry->offset;

    for (uint64_t i = 0; i < entry->size; i++) {
        uint8_t byte = position[i];

        position[i] = entry->bytes[i];
        entry->bytes[i] = byte;
    }
}

/* A write that the power cut found done and not synced, or under way. */
static void journal_entry_redo(struct tac_memory_disk *disk, const struct journal_entry *entry,
                               struct tac_memory_fate fate)
{
    uint64_t sector_count = entry->size / SECTOR_BYTES;

    tac_assert(entry->size % SECTOR_BYTES == 0);
    for (uint64_t i = 0; i < sector_count; i++) {
        uint64_t position = i * SECTOR_BYTES;
        bool     survives =
            i < fate.prefix_sectors || (fate.chance != NULL && tac_prng_below(fate.chance, 2) == 0);

        if (survives) {
            memcpy(disk->data + entry->offset + position, entry->bytes + position, SECTOR_BYTES);
        }
    }
}

/* All of it, its beginning, any of its sectors, or nothing. */
struct tac_memory_fate tac_memory_fate_draw(void *context, uint64_t sector_count)
{
    struct tac_prng *prng = context;

    switch (tac_prng_below(prng, 4)) {
    case 0:
        return (struct tac_memory_fate){.prefix_sectors = TAC_MEMORY_FATE_KEPT};
    case 1:
        return (struct tac_memory_fate){.prefix_sectors = tac_prng_below(prng, sector_count + 1)};
    case 2:
        return (struct tac_memory_fate){.chance = prng};
    default:
        return (struct tac_memory_fate){0};
    }
}

/* What is in flight, in queues of this disk or of the one it is a copy of, joins the journal as
 * though it had just been done. */
static void crash_take_in_flight(struct tac_memory_disk *disk, const struct memory_queue *queues)
{
    for (const struct memory_queue *queue = queues; queue != NULL; queue = queue->next) {
        for (uint32_t i = 0; i < queue->base.in_flight; i++) {
            const struct tac_io *io = queue->pending[i].io;

            /* One for which there is no room is lost with the power, as any may be. */
            if (io->kind == TAC_IO_WRITE &&
                disk_write_prepare(disk, io->offset_bytes, io->size_bytes) == 0) {
                segments_copy(disk, io);
            }
        }
    }
}

/* Reverses the list. Returns the new first entry. */
static struct journal_entry *journal_reverse(struct journal_entry *first)
{
    struct journal_entry *reversed = NULL;

    while (first != NULL) {
        struct journal_entry *next = first->next;

        first->next = reversed;
        reversed = first;
        first = next;
    }
    return reversed;
}

/* Takes the whole journal back, and does again what has the fate to survive. Returns the size of
 * the file that this takes. */
static uint64_t journal_lose(struct tac_memory_disk *disk, tac_memory_fate_fn fate_of,
                             void *context)
{
    struct journal_entry *entry = disk->journal_first;
    uint64_t              size = entry == NULL ? disk->size : entry->disk_size_before;

    disk->journal_first = journal_reverse(disk->journal_first);
    for (entry = disk->journal_first; entry != NULL; entry = entry->next) {
        journal_entry_swap(disk, entry);
    }
    disk->journal_first = journal_reverse(disk->journal_first);
    for (entry = disk->journal_first; entry != NULL; entry = entry->next) {
        struct tac_memory_fate fate = fate_of(context, entry->size / SECTOR_BYTES);

        journal_entry_redo(disk, entry, fate);
        if (fate.prefix_sectors > 0 || fate.chance != NULL) {
            size = entry->next != NULL ? entry->next->disk_size_before : disk->size;
        }
    }
    journal_forget(disk, UINT64_MAX);
    return size;
}

void tac_memory_disk_crash(struct tac_memory_disk *disk, uint64_t seed)
{
    struct tac_prng prng = {.state = seed};
    uint64_t        durable_size;
    int             rv = pthread_mutex_lock(&disk->mutex);

    tac_assert(rv == 0);
    tac_assert(disk->seed != 0 && disk->has_power);
    crash_take_in_flight(disk, disk->queues);
    durable_size = disk->journal_first == NULL ? disk->size : disk->journal_first->disk_size_before;
    (void)journal_lose(disk, tac_memory_fate_draw, &prng);
    if (tac_prng_below(&prng, 2) == 0) {
        disk_shrink(disk, durable_size);
    }
    disk->has_power = false;
    disk_unlock(disk);
}

/* The bytes and the journal; false: no memory. */
static bool disk_copy(struct tac_memory_disk *copy, const struct tac_memory_disk *disk)
{
    if (disk_grow(copy, disk->size) != 0) {
        return false;
    }
    memcpy(copy->data, disk->data, disk->written_bytes);
    copy->written_bytes = disk->written_bytes;
    for (const struct journal_entry *entry = disk->journal_first; entry != NULL;
         entry = entry->next) {
        uint64_t entry_bytes = sizeof *entry + entry->size;

        *copy->journal_link = malloc(entry_bytes);
        if (*copy->journal_link == NULL) {
            return false;
        }
        memcpy(*copy->journal_link, entry, entry_bytes);
        (*copy->journal_link)->next = NULL;
        copy->journal_link = &(*copy->journal_link)->next;
    }
    return true;
}

struct tac_memory_disk *tac_memory_disk_crashed(struct tac_memory_disk *disk, uint64_t seed,
                                                tac_memory_fate_fn fate_of, void *context)
{
    struct tac_memory_disk *copy = tac_memory_disk_new(seed);
    bool                    is_copied;
    int                     rv;

    tac_assert(seed != 0);
    if (copy == NULL) {
        return NULL;
    }
    rv = pthread_mutex_lock(&disk->mutex);
    tac_assert(rv == 0);
    tac_assert(disk->seed != 0 && disk->has_power);
    is_copied = disk_copy(copy, disk);
    if (is_copied) {
        crash_take_in_flight(copy, disk->queues);
    }
    disk_unlock(disk);
    if (!is_copied) {
        tac_memory_disk_free(copy);
        return NULL;
    }
    disk_shrink(copy, journal_lose(copy, fate_of, context));
    return copy;
}

void tac_memory_disk_lose_unsynced(struct tac_memory_disk *disk, uint64_t seed)
{
    struct tac_prng prng = {.state = seed};
    int             rv = pthread_mutex_lock(&disk->mutex);

    tac_assert(rv == 0);
    tac_assert(disk->seed != 0 && disk->has_power);
    (void)journal_lose(disk, tac_memory_fate_draw, &prng);
    disk_unlock(disk);
}

int tac_storage_open_memory_owned(struct tac_memory_disk *disk, struct tac_storage **ret_storage,
                                  struct tac_error *error)
{
    int result = tac_storage_open_memory(disk, ret_storage, error);

    if (result != TACTUS_OK) {
        tac_memory_disk_free(disk);
        return result;
    }
    ((struct memory_storage *)*ret_storage)->owns_disk = true;
    return TACTUS_OK;
}
