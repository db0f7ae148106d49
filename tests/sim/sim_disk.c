/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/sim_disk.h"

#include <stdlib.h>
#include <string.h>

struct sim_storage {
    struct tac_storage  base; /* First: the two are cast into each other */
    struct tac_storage *inner;
    bool                is_log;
};

/* Whose queues are in use: a queue knows the inner storage only. */
static struct sim_disk *disk_now;

static struct tac_storage *inner_of(struct tac_storage *storage)
{
    return ((struct sim_storage *)storage)->inner;
}

void sim_disk_crash(struct sim_disk *disk)
{
    tac_assert(!disk->has_crashed);
    tac_memory_disk_crash(disk->memory, disk->crash_seed);
    if (disk->log_is_open) {
        tac_memory_disk_crash(disk->log, disk->crash_seed + 1);
    }
    disk->has_crashed = true;
    disk->requests_left = SIM_DISK_NEVER;
}

static void request_count(void)
{
    if (disk_now->requests_left == SIM_DISK_NEVER) {
        return;
    }
    if (disk_now->requests_left == 0) {
        sim_disk_crash(disk_now);
        return;
    }
    disk_now->requests_left--;
}

static int sim_read(struct tac_storage *storage, void *data, uint64_t size, uint64_t offset,
                    struct tac_error *error)
{
    return inner_of(storage)->ops->read(inner_of(storage), data, size, offset, error);
}

static int sim_write(struct tac_storage *storage, const void *data, uint64_t size, uint64_t offset,
                     struct tac_error *error)
{
    request_count();
    return inner_of(storage)->ops->write(inner_of(storage), data, size, offset, error);
}

static int sim_sync(struct tac_storage *storage, struct tac_error *error)
{
    request_count();
    return inner_of(storage)->ops->sync(inner_of(storage), error);
}

static int sim_resize(struct tac_storage *storage, uint64_t size, struct tac_error *error)
{
    return inner_of(storage)->ops->resize(inner_of(storage), size, error);
}

static uint64_t sim_size(struct tac_storage *storage)
{
    return inner_of(storage)->ops->size(inner_of(storage));
}

static void sim_close(struct tac_storage *storage)
{
    inner_of(storage)->ops->close(inner_of(storage));
    if (((struct sim_storage *)storage)->is_log) {
        disk_now->log_is_open = false;
    } else {
        disk_now = NULL;
    }
    free(storage);
}

static int sim_queue_new(struct tac_storage *storage, uint32_t depth, int wake_fd,
                         struct tac_io_queue **ret_queue, struct tac_error *error)
{
    return inner_of(storage)->ops->queue_new(inner_of(storage), depth, wake_fd, ret_queue, error);
}

static void sim_queue_free(struct tac_io_queue *queue) { queue->storage->ops->queue_free(queue); }

static bool sim_submit(struct tac_io_queue *queue, struct tac_io *io)
{
    if (disk_now->observe != NULL) {
        disk_now->observe(disk_now->observe_context);
    }
    if (io->kind != TAC_IO_READ) {
        request_count();
    }
    return queue->storage->ops->submit(queue, io);
}

static bool sim_flush(struct tac_io_queue *queue) { return queue->storage->ops->flush(queue); }

static uint32_t sim_reap(struct tac_io_queue *queue, struct tac_io **ret_list)
{
    return queue->storage->ops->reap(queue, ret_list);
}

static const struct tac_storage_ops sim_ops = {
    .name = "memory",
    .read = sim_read,
    .write = sim_write,
    .sync = sim_sync,
    .resize = sim_resize,
    .size = sim_size,
    .close = sim_close,
    .queue_new = sim_queue_new,
    .queue_free = sim_queue_free,
    .submit = sim_submit,
    .flush = sim_flush,
    .reap = sim_reap,
};

void sim_disk_create(struct sim_disk *disk, uint64_t seed)
{
    tac_assert(seed != 0);
    memset(disk, 0, sizeof *disk);
    disk->seed = seed;
    disk->memory = tac_memory_disk_new(seed);
    disk->log = tac_memory_disk_new(seed + 1);
    disk->requests_left = SIM_DISK_NEVER;
    tac_assert(disk->memory != NULL && disk->log != NULL);
}

void sim_disk_destroy(struct sim_disk *disk)
{
    tac_memory_disk_free(disk->memory);
    tac_memory_disk_free(disk->log);
}

static int file_open(struct tac_memory_disk *memory, bool is_log, struct tac_storage **ret_storage,
                     struct tac_error *error)
{
    struct sim_storage *storage = malloc(sizeof *storage);

    tac_assert(storage != NULL);
    if (tac_storage_open_memory(memory, &storage->inner, error) != TACTUS_OK) {
        free(storage);
        return error->code;
    }
    storage->base = *storage->inner;
    storage->base.ops = &sim_ops;
    storage->is_log = is_log;
    *ret_storage = &storage->base;
    return TACTUS_OK;
}

int sim_disk_open(struct sim_disk *disk, struct tac_storage **ret_storage, struct tac_error *error)
{
    tac_assert(disk_now == NULL);
    if (file_open(disk->memory, false, ret_storage, error) != TACTUS_OK) {
        return error->code;
    }
    disk->has_crashed = false;
    disk_now = disk;
    return TACTUS_OK;
}

int sim_disk_log_open(const struct tac_log_place *place, bool is_new,
                      struct tac_storage **ret_storage, struct tac_error *error)
{
    struct sim_disk *disk = place->context;
    uint64_t         size;

    if (disk->has_crashed) {
        return tac_error_set(error, TACTUS_EIO, "there is no power");
    }
    (void)tac_memory_disk_data(disk->log, &size);
    if (!is_new && size == 0) {
        return tac_error_set(error, TACTUS_ENOSTORE, "there is no log");
    }
    if (is_new && size != 0) {
        return tac_error_set(error, TACTUS_EEXISTS, "there is a log");
    }
    if (file_open(disk->log, true, ret_storage, error) != TACTUS_OK) {
        return error->code;
    }
    disk->log_is_open = true;
    return TACTUS_OK;
}

int sim_disk_log_remove(const struct tac_log_place *place, struct tac_error *error)
{
    struct sim_disk *disk = place->context;

    (void)error;
    tac_assert(!disk->log_is_open);
    tac_memory_disk_free(disk->log);
    disk->log = tac_memory_disk_new(++disk->seed);
    tac_assert(disk->log != NULL);
    return TACTUS_OK;
}
