/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/sim_disk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "stages/storage_file.h"

struct sim_storage {
    struct tac_storage  base; /* First: the two are cast into each other */
    struct tac_storage *inner;
    struct sim_disk    *disk;
    bool                is_log;
};

/* A completion that has not come yet. */
struct late {
    struct tac_io *io;
    uint32_t       turns;
};

struct sim_queue {
    struct tac_io_queue  base; /* First: the two are cast into each other */
    struct tac_io_queue *inner;
    int                  wake_fd;
    /* What the disk below does not know of, or not any more */
    struct tac_io       *astray; /* Went wrong at submit; not yet reaped */
    enum sim_write_fault astray_fault;
    uint32_t             late_count;
    struct late          late[]; /* depth */
};

static struct sim_storage *sim_of(struct tac_storage *storage)
{
    return (struct sim_storage *)storage;
}

static struct tac_storage *inner_of(struct tac_storage *storage) { return sim_of(storage)->inner; }

static struct tac_memory_disk *memory_of(const struct sim_storage *storage)
{
    return storage->is_log ? storage->disk->log : storage->disk->memory;
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

static void request_count(struct sim_disk *disk)
{
    if (disk->requests_left == SIM_DISK_NEVER) {
        return;
    }
    if (disk->requests_left == 0) {
        sim_disk_crash(disk);
        return;
    }
    disk->requests_left--;
}

/* ---- what goes wrong ------------------------------------------------------------------------ */

static enum sim_write_fault write_fault(const struct sim_storage *storage, const struct tac_io *io)
{
    struct sim_faults *faults = storage->disk->faults;

    if (faults == NULL || storage->disk->has_crashed) {
        return SIM_WRITE_RIGHT;
    }
    sim_faults_old(faults, memory_of(storage), io);
    return sim_faults_write(faults, storage->is_log, io);
}

/* What has gone wrong is reported now, as what it is or as though nothing were. */
static void fault_report(const struct sim_storage *storage, enum sim_write_fault fault,
                         struct tac_io *io)
{
    struct sim_faults *faults = storage->disk->faults;

    if (storage->disk->has_crashed) {
        tac_io_fail(io, EIO);
    } else if (fault < SIM_STOPPING_FAULTS) {
        tac_io_fail(io, sim_faults_stop(faults, storage->is_log, fault, memory_of(storage), io));
    } else {
        sim_faults_astray(faults, fault, memory_of(storage), io);
        io->done_bytes = io->size_bytes;
        tac_io_complete(storage->inner, io);
    }
}

static void read_fault(const struct sim_storage *storage, struct tac_io *io)
{
    if (storage->disk->faults != NULL && !storage->disk->has_crashed && io->kind == TAC_IO_READ) {
        sim_faults_read(storage->disk->faults, storage->is_log, memory_of(storage), io);
    }
}

/* ---- synchronous ---------------------------------------------------------------------------- */

static int sim_read(struct tac_storage *storage, void *data, uint64_t size, uint64_t offset,
                    struct tac_error *error)
{
    struct tac_io io = tac_io_of_buffer(TAC_IO_READ, data, size, offset);
    int result = inner_of(storage)->ops->read(inner_of(storage), data, size, offset, error);

    io.result = result;
    read_fault(sim_of(storage), &io);
    if (io.result != result) {
        return tac_file_error_set(error, io.os_error, "read", "the simulated disk");
    }
    return result;
}

static int fault_error(struct sim_storage *storage, enum sim_write_fault fault, struct tac_io *io,
                       const char *action, struct tac_error *error)
{
    tac_io_commence(storage->inner, io);
    fault_report(storage, fault, io);
    return io->result == TACTUS_OK
               ? TACTUS_OK
               : tac_file_error_set(error, io->os_error, action, "the simulated disk");
}

static int sim_write(struct tac_storage *storage, const void *data, uint64_t size, uint64_t offset,
                     struct tac_error *error)
{
    struct tac_io        io = tac_io_of_buffer(TAC_IO_WRITE, data, size, offset);
    enum sim_write_fault fault;

    request_count(sim_of(storage)->disk);
    fault = write_fault(sim_of(storage), &io);
    if (fault != SIM_WRITE_RIGHT) {
        return fault_error(sim_of(storage), fault, &io, "write", error);
    }
    return inner_of(storage)->ops->write(inner_of(storage), data, size, offset, error);
}

static int sim_sync(struct tac_storage *storage, struct tac_error *error)
{
    struct tac_io        io = {.kind = TAC_IO_SYNC};
    enum sim_write_fault fault;

    request_count(sim_of(storage)->disk);
    fault = write_fault(sim_of(storage), &io);
    if (fault != SIM_WRITE_RIGHT) {
        return fault_error(sim_of(storage), fault, &io, "sync", error);
    }
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
    if (sim_of(storage)->is_log) {
        sim_of(storage)->disk->log_is_open = false;
    } else {
        sim_of(storage)->disk->is_open = false;
    }
    free(storage);
}

/* ---- queues --------------------------------------------------------------------------------- */

static int sim_queue_new(struct tac_storage *storage, uint32_t depth, int wake_fd,
                         struct tac_io_queue **ret_queue, struct tac_error *error)
{
    struct sim_queue *queue = calloc(1, sizeof *queue + depth * sizeof queue->late[0]);
    int               result;

    tac_assert(queue != NULL);
    queue->base = (struct tac_io_queue){.storage = storage, .depth = depth};
    queue->wake_fd = wake_fd;
    result =
        inner_of(storage)->ops->queue_new(inner_of(storage), depth, wake_fd, &queue->inner, error);
    if (result != TACTUS_OK) {
        free(queue);
        return result;
    }
    *ret_queue = &queue->base;
    return TACTUS_OK;
}

static void sim_queue_free(struct tac_io_queue *base)
{
    struct sim_queue *queue = (struct sim_queue *)base;

    tac_assert(base->in_flight == 0);
    queue->inner->storage->ops->queue_free(queue->inner);
    free(queue);
}

static bool sim_submit(struct tac_io_queue *base, struct tac_io *io)
{
    struct sim_queue    *queue = (struct sim_queue *)base;
    struct sim_storage  *storage = sim_of(base->storage);
    struct sim_disk     *disk = storage->disk;
    enum sim_write_fault fault = SIM_WRITE_RIGHT;

    if (base->in_flight == base->depth && base->in_flight > queue->inner->in_flight) {
        return false;
    }
    if (disk->observe != NULL) {
        disk->observe(disk->observe_context);
    }
    if (io->kind != TAC_IO_READ) {
        request_count(disk);
        fault = queue->astray == NULL ? write_fault(storage, io) : SIM_WRITE_RIGHT;
    }
    if (fault != SIM_WRITE_RIGHT) {
        tac_io_commence(base->storage, io);
        queue->astray = io;
        queue->astray_fault = fault;
    } else if (!queue->inner->storage->ops->submit(queue->inner, io)) {
        return false;
    }
    base->in_flight++;
    return true;
}

static bool sim_flush(struct tac_io_queue *base)
{
    struct sim_queue *queue = (struct sim_queue *)base;

    if (base->in_flight > queue->inner->in_flight) {
        tac_wake_fd_signal(queue->wake_fd);
    }
    return queue->inner->storage->ops->flush(queue->inner);
}

/* Another turn for those that are late: some have come now. */
static void late_turn(struct sim_queue *queue, struct tac_io_list *done)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < queue->late_count; i++) {
        struct late late = queue->late[i];

        if (--late.turns == 0) {
            tac_io_list_append(done, late.io);
        } else {
            queue->late[kept++] = late;
        }
    }
    queue->late_count = kept;
}

static void done_take(struct sim_queue *queue, struct tac_io *io, struct tac_io_list *done)
{
    struct sim_faults *faults = sim_of(queue->base.storage)->disk->faults;
    uint32_t           turns = faults == NULL ? 0 : sim_faults_late(faults);

    if (turns > 0) {
        queue->late[queue->late_count++] = (struct late){io, turns};
    } else {
        tac_io_list_append(done, io);
    }
}

static uint32_t sim_reap(struct tac_io_queue *base, struct tac_io **ret_list)
{
    struct sim_queue   *queue = (struct sim_queue *)base;
    struct sim_storage *storage = sim_of(base->storage);
    struct tac_io_list  done;
    struct tac_io      *list = NULL;

    tac_io_list_init(&done);
    late_turn(queue, &done);
    (void)queue->inner->storage->ops->reap(queue->inner, &list);
    while (list != NULL) {
        struct tac_io *next = list->next;

        done_take(queue, list, &done);
        list = next;
    }
    if (queue->astray != NULL) {
        fault_report(storage, queue->astray_fault, queue->astray);
        tac_io_list_append(&done, queue->astray);
        queue->astray = NULL;
    }
    for (struct tac_io *io = done.first; io != NULL; io = io->next) {
        read_fault(storage, io);
    }
    base->in_flight -= done.count;
    if (queue->late_count > 0) {
        tac_wake_fd_signal(queue->wake_fd);
    }
    return tac_io_list_take(&done, ret_list);
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

static int file_open(struct sim_disk *disk, bool is_log, struct tac_storage **ret_storage,
                     struct tac_error *error)
{
    struct sim_storage     *storage = malloc(sizeof *storage);
    struct tac_memory_disk *memory = is_log ? disk->log : disk->memory;

    tac_assert(storage != NULL);
    if (tac_storage_open_memory(memory, &storage->inner, error) != TACTUS_OK) {
        free(storage);
        return error->code;
    }
    storage->base = *storage->inner;
    storage->base.ops = &sim_ops;
    storage->disk = disk;
    storage->is_log = is_log;
    *ret_storage = &storage->base;
    return TACTUS_OK;
}

int sim_disk_open(struct sim_disk *disk, struct tac_storage **ret_storage, struct tac_error *error)
{
    tac_assert(!disk->is_open);
    if (file_open(disk, false, ret_storage, error) != TACTUS_OK) {
        return error->code;
    }
    disk->has_crashed = false;
    disk->is_open = true;
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
    if (file_open(disk, true, ret_storage, error) != TACTUS_OK) {
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
