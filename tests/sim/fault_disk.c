/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/fault_disk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "stages/storage_file.h"

#define SECTOR_BYTES 512

struct fault_storage {
    struct tac_storage  base; /* First: the two are cast into each other */
    struct tac_storage *inner;
    struct fault_disk  *disk;
};

struct fault_queue {
    struct tac_io_queue  base; /* First: the two are cast into each other */
    struct tac_io_queue *inner;
    struct tac_io_list   failed; /* Not yet reaped */
    int                  wake_fd;
};

static struct tac_storage *inner_of(struct tac_storage *storage)
{
    return ((struct fault_storage *)storage)->inner;
}

static struct fault_disk *disk_of(struct tac_storage *storage)
{
    return ((struct fault_storage *)storage)->disk;
}

/* ---- which calls fail, and how -------------------------------------------------------------- */

/* A call of the kind begins: does it fail? */
static bool call_fails(struct fault_disk *disk, enum fault_kind kind)
{
    if (kind != disk->kind) {
        return false;
    }
    disk->calls++;
    return disk->fail_at != 0 &&
           (disk->is_sticky ? disk->calls >= disk->fail_at : disk->calls == disk->fail_at);
}

static bool write_fails(struct fault_disk *disk)
{
    return call_fails(disk, FAULT_WRITE) || call_fails(disk, FAULT_SPACE);
}

static void change_observe(struct fault_disk *disk)
{
    if (disk->observe != NULL) {
        disk->observe(disk->observe_context);
    }
}

static void change_count(struct fault_disk *disk)
{
    disk->changes++;
    disk->changes_after += disk->has_failed && disk->kind != FAULT_READ;
}

/* The failure is reported now. */
static int fault_happen(struct fault_disk *disk)
{
    disk->faults++;
    if (disk->kind == FAULT_SYNC) {
        tac_memory_disk_lose_unsynced(disk->memory, tac_prng_next(&disk->prng));
    }
    if (!disk->has_failed && disk->first_fault != NULL) {
        disk->first_fault(disk->first_fault_context);
    }
    disk->has_failed = true;
    return disk->kind == FAULT_SPACE ? ENOSPC : EIO;
}

/* What a failing write leaves of its first piece: nothing, or some of the sectors. */
static void write_partly(struct fault_disk *disk, struct tac_storage *inner, const void *data,
                         uint64_t size, uint64_t offset)
{
    uint64_t         sectors = tac_prng_below(&disk->prng, size / SECTOR_BYTES + 1);
    struct tac_error error;

    if (disk->kind == FAULT_WRITE && sectors > 0 && tac_prng_below(&disk->prng, 2) == 0) {
        int result = inner->ops->write(inner, data, sectors * SECTOR_BYTES, offset, &error);

        tac_assert(result == TACTUS_OK);
    }
}

static int fault_error(struct fault_disk *disk, const char *action, struct tac_error *error)
{
    return tac_file_error_set(error, fault_happen(disk), action, "a faulty disk");
}

/* ---- synchronous ---------------------------------------------------------------------------- */

static int fault_read(struct tac_storage *storage, void *data, uint64_t size, uint64_t offset,
                      struct tac_error *error)
{
    if (call_fails(disk_of(storage), FAULT_READ)) {
        return fault_error(disk_of(storage), "read", error);
    }
    return inner_of(storage)->ops->read(inner_of(storage), data, size, offset, error);
}

static int fault_write(struct tac_storage *storage, const void *data, uint64_t size,
                       uint64_t offset, struct tac_error *error)
{
    struct fault_disk *disk = disk_of(storage);

    change_observe(disk);
    change_count(disk);
    if (write_fails(disk)) {
        write_partly(disk, inner_of(storage), data, size, offset);
        return fault_error(disk, "write", error);
    }
    return inner_of(storage)->ops->write(inner_of(storage), data, size, offset, error);
}

static int fault_sync(struct tac_storage *storage, struct tac_error *error)
{
    change_observe(disk_of(storage));
    change_count(disk_of(storage));
    if (call_fails(disk_of(storage), FAULT_SYNC)) {
        return fault_error(disk_of(storage), "sync", error);
    }
    return inner_of(storage)->ops->sync(inner_of(storage), error);
}

static int fault_resize(struct tac_storage *storage, uint64_t size, struct tac_error *error)
{
    struct fault_disk *disk = disk_of(storage);

    change_observe(disk);
    change_count(disk);
    if (call_fails(disk, FAULT_SPACE)) {
        /* Nothing was written wrong: the store may go on in what the file has. */
        disk->faults++;
        return tac_file_error_set(error, ENOSPC, "grow", "a faulty disk");
    }
    return inner_of(storage)->ops->resize(inner_of(storage), size, error);
}

static uint64_t fault_size(struct tac_storage *storage)
{
    return inner_of(storage)->ops->size(inner_of(storage));
}

static void fault_close(struct tac_storage *storage)
{
    inner_of(storage)->ops->close(inner_of(storage));
    free(storage);
}

/* ---- queues --------------------------------------------------------------------------------- */

static int fault_queue_new(struct tac_storage *storage, uint32_t depth, int wake_fd,
                           struct tac_io_queue **ret_queue, struct tac_error *error)
{
    struct fault_queue *queue = malloc(sizeof *queue);
    int                 result;

    tac_assert(queue != NULL);
    queue->base = (struct tac_io_queue){.storage = storage, .depth = depth};
    queue->wake_fd = wake_fd;
    tac_io_list_init(&queue->failed);
    result =
        inner_of(storage)->ops->queue_new(inner_of(storage), depth, wake_fd, &queue->inner, error);
    if (result != TACTUS_OK) {
        free(queue);
        return result;
    }
    *ret_queue = &queue->base;
    return TACTUS_OK;
}

static void fault_queue_free(struct tac_io_queue *base)
{
    struct fault_queue *queue = (struct fault_queue *)base;

    tac_assert(base->in_flight == 0 && queue->failed.count == 0);
    queue->inner->storage->ops->queue_free(queue->inner);
    free(queue);
}

static bool request_fails(struct fault_disk *disk, const struct tac_io *io)
{
    switch (io->kind) {
    case TAC_IO_READ:
        return call_fails(disk, FAULT_READ);
    case TAC_IO_WRITE:
        return write_fails(disk);
    case TAC_IO_SYNC:
        return call_fails(disk, FAULT_SYNC);
    }
    tac_unreachable();
}

static bool fault_submit(struct tac_io_queue *base, struct tac_io *io)
{
    struct fault_queue *queue = (struct fault_queue *)base;
    struct fault_disk  *disk = disk_of(base->storage);
    uint64_t            calls = disk->calls;

    if (io->kind != TAC_IO_READ) {
        change_observe(disk);
    }
    if (request_fails(disk, io)) {
        if (io->kind != TAC_IO_READ) {
            change_count(disk);
        }
        tac_io_commence(base->storage, io);
        tac_io_list_append(&queue->failed, io);
        base->in_flight++;
        return true;
    }
    if (!queue->inner->storage->ops->submit(queue->inner, io)) {
        disk->calls = calls; /* It will come again. */
        return false;
    }
    if (io->kind != TAC_IO_READ) {
        change_count(disk);
    }
    base->in_flight++;
    return true;
}

static bool fault_flush(struct tac_io_queue *base)
{
    struct fault_queue *queue = (struct fault_queue *)base;

    if (queue->failed.count > 0) {
        tac_wake_fd_signal(queue->wake_fd);
    }
    return queue->inner->storage->ops->flush(queue->inner);
}

static uint32_t fault_reap(struct tac_io_queue *base, struct tac_io **ret_list)
{
    struct fault_queue *queue = (struct fault_queue *)base;
    struct fault_disk  *disk = disk_of(base->storage);
    struct tac_io_list  done;
    struct tac_io      *list = NULL;

    tac_io_list_init(&done);
    (void)tac_io_list_take(&queue->failed, &list);
    while (list != NULL) {
        struct tac_io *next = list->next;

        if (list->kind == TAC_IO_WRITE) {
            write_partly(disk, queue->inner->storage, list->segments[0].iov_base,
                         list->segments[0].iov_len, list->offset_bytes);
        }
        tac_io_fail(list, fault_happen(disk));
        tac_io_list_append(&done, list);
        list = next;
    }
    (void)queue->inner->storage->ops->reap(queue->inner, &list);
    while (list != NULL) {
        struct tac_io *next = list->next;

        disk->changes += list->kind == TAC_IO_SYNC;
        tac_io_list_append(&done, list);
        list = next;
    }
    base->in_flight -= done.count;
    return tac_io_list_take(&done, ret_list);
}

static const struct tac_storage_ops fault_ops = {
    .name = "memory",
    .read = fault_read,
    .write = fault_write,
    .sync = fault_sync,
    .resize = fault_resize,
    .size = fault_size,
    .close = fault_close,
    .queue_new = fault_queue_new,
    .queue_free = fault_queue_free,
    .submit = fault_submit,
    .flush = fault_flush,
    .reap = fault_reap,
};

/* ---- the disk ------------------------------------------------------------------------------- */

void fault_disk_create(struct fault_disk *disk, struct tac_memory_disk *memory, uint64_t seed)
{
    tac_assert(seed != 0);
    memset(disk, 0, sizeof *disk);
    disk->memory = memory != NULL ? memory : tac_memory_disk_new(seed);
    disk->prng.state = seed;
    tac_assert(disk->memory != NULL);
}

void fault_disk_destroy(struct fault_disk *disk) { tac_memory_disk_free(disk->memory); }

int fault_disk_open(struct fault_disk *disk, struct tac_storage **ret_storage,
                    struct tac_error *error)
{
    struct fault_storage *storage = malloc(sizeof *storage);

    tac_assert(storage != NULL);
    if (tac_storage_open_memory(disk->memory, &storage->inner, error) != TACTUS_OK) {
        free(storage);
        return error->code;
    }
    storage->base = *storage->inner;
    storage->base.ops = &fault_ops;
    storage->disk = disk;
    disk->has_failed = false;
    *ret_storage = &storage->base;
    return TACTUS_OK;
}

void fault_disk_heal(struct fault_disk *disk) { disk->fail_at = 0; }
