/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/faulty_disk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct faulty_storage {
    struct tac_storage  base; /* First: the two are cast into each other */
    struct tac_storage *inner;
};

/* Whose queues are in use: a queue knows the inner storage only. */
static struct faulty_disk *disk_now;

static struct tac_storage *inner_of(struct tac_storage *storage)
{
    return ((struct faulty_storage *)storage)->inner;
}

/* Whether a read of this range is to go wrong. */
static bool read_goes_wrong(uint64_t offset, uint64_t size)
{
    if (offset >= disk_now->offset + disk_now->size || disk_now->offset >= offset + size) {
        return false;
    }
    disk_now->reads_met++;
    if (disk_now->reads_left == 0) {
        return false;
    }
    disk_now->reads_left -= disk_now->reads_left != FAULTY_ALWAYS;
    return true;
}

/* The first byte of the faulty range that lies in this one, read into data. */
static void byte_change(uint8_t *data, uint64_t offset, uint64_t size)
{
    uint64_t at = disk_now->offset > offset ? disk_now->offset - offset : 0;

    if (at < size && offset + at < disk_now->offset + disk_now->size) {
        data[at] ^= 0xff;
    }
}

static int faulty_read(struct tac_storage *storage, void *data, uint64_t size, uint64_t offset,
                       struct tac_error *error)
{
    void (*before_fn)(void *context) = disk_now->before_read_fn;
    bool is_wrong;
    int  result;

    if (before_fn != NULL) {
        disk_now->before_read_fn = NULL;
        before_fn(disk_now->before_read_context);
    }
    is_wrong = read_goes_wrong(offset, size);
    if (is_wrong && disk_now->is_io_error) {
        return tac_error_set(error, TACTUS_EIO, "read of the faulty disk failed");
    }
    result = inner_of(storage)->ops->read(inner_of(storage), data, size, offset, error);
    if (is_wrong && disk_now->stale != NULL && offset == disk_now->offset &&
        size <= disk_now->size) {
        memcpy(data, disk_now->stale, size);
    } else if (is_wrong) {
        byte_change(data, offset, size);
    }
    return result;
}

static int faulty_write(struct tac_storage *storage, const void *data, uint64_t size,
                        uint64_t offset, struct tac_error *error)
{
    return inner_of(storage)->ops->write(inner_of(storage), data, size, offset, error);
}

static int faulty_sync(struct tac_storage *storage, struct tac_error *error)
{
    return inner_of(storage)->ops->sync(inner_of(storage), error);
}

static int faulty_resize(struct tac_storage *storage, uint64_t size, struct tac_error *error)
{
    return inner_of(storage)->ops->resize(inner_of(storage), size, error);
}

static uint64_t faulty_size(struct tac_storage *storage)
{
    return inner_of(storage)->ops->size(inner_of(storage));
}

static void faulty_close(struct tac_storage *storage)
{
    inner_of(storage)->ops->close(inner_of(storage));
    free(storage);
    disk_now = NULL;
}

static int faulty_queue_new(struct tac_storage *storage, uint32_t depth, int wake_fd,
                            struct tac_io_queue **ret_queue, struct tac_error *error)
{
    return inner_of(storage)->ops->queue_new(inner_of(storage), depth, wake_fd, ret_queue, error);
}

static void faulty_queue_free(struct tac_io_queue *queue)
{
    queue->storage->ops->queue_free(queue);
}

static bool faulty_submit(struct tac_io_queue *queue, struct tac_io *io)
{
    return queue->storage->ops->submit(queue, io);
}

static bool faulty_flush(struct tac_io_queue *queue) { return queue->storage->ops->flush(queue); }

/* The memory disk leaves the segments as they were. */
static void request_spoil(struct tac_io *io)
{
    uint64_t offset = io->offset_bytes;

    if (io->kind != TAC_IO_READ || !read_goes_wrong(io->offset_bytes, io->size_bytes)) {
        return;
    }
    if (disk_now->is_io_error) {
        io->result = TACTUS_EIO;
        io->os_error = EIO;
        return;
    }
    for (uint32_t i = 0; i < io->segment_count; i++) {
        byte_change(io->segments[i].iov_base, offset, io->segments[i].iov_len);
        offset += io->segments[i].iov_len;
    }
}

static uint32_t faulty_reap(struct tac_io_queue *queue, struct tac_io **ret_list)
{
    uint32_t count = queue->storage->ops->reap(queue, ret_list);

    for (struct tac_io *io = count > 0 ? *ret_list : NULL; io != NULL; io = io->next) {
        request_spoil(io);
    }
    return count;
}

static const struct tac_storage_ops faulty_ops = {
    .name = "memory",
    .read = faulty_read,
    .write = faulty_write,
    .sync = faulty_sync,
    .resize = faulty_resize,
    .size = faulty_size,
    .close = faulty_close,
    .queue_new = faulty_queue_new,
    .queue_free = faulty_queue_free,
    .submit = faulty_submit,
    .flush = faulty_flush,
    .reap = faulty_reap,
};

int faulty_disk_open(struct faulty_disk *disk, struct tac_storage **ret_storage,
                     struct tac_error *error)
{
    struct faulty_storage *storage = malloc(sizeof *storage);

    tac_assert(storage != NULL && disk_now == NULL);
    if (tac_storage_open_memory(disk->memory, &storage->inner, error) != TACTUS_OK) {
        free(storage);
        return error->code;
    }
    storage->base = *storage->inner;
    storage->base.ops = &faulty_ops;
    disk_now = disk;
    *ret_storage = &storage->base;
    return TACTUS_OK;
}
