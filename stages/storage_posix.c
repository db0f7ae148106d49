/* SPDX-License-Identifier: Apache-2.0 */
/* storage_posix -- pread and pwrite, for systems where io_uring is missing or forbidden.
 *
 * submit does the whole I/O before it returns; reap only hands out what submit did. So a queue has
 * never more than one request at the device; several at once take several threads. */
#include "stages/storage_file.h"

#include <stdlib.h>

struct posix_queue {
    struct tac_io_queue base; /* First: the two are cast into each other */
    int                 wake_fd;
    struct tac_io_list  done;
};

static int posix_queue_new(struct tac_storage *storage, uint32_t depth, int wake_fd,
                           struct tac_io_queue **ret_queue, struct tac_error *error)
{
    struct posix_queue *queue = malloc(sizeof *queue);

    tac_assert(depth > 0);
    if (queue == NULL) {
        return tac_error_set(error, TACTUS_ENOMEM, "no memory for an I/O queue");
    }
    queue->base = (struct tac_io_queue){.storage = storage, .depth = depth};
    queue->wake_fd = wake_fd;
    tac_io_list_init(&queue->done);
    *ret_queue = &queue->base;
    return TACTUS_OK;
}

static void posix_queue_free(struct tac_io_queue *base)
{
    struct posix_queue *queue = (struct posix_queue *)base;

    tac_assert(base->in_flight == 0 && queue->done.count == 0);
    free(queue);
}

static bool posix_submit(struct tac_io_queue *base, struct tac_io *io)
{
    struct posix_queue *queue = (struct posix_queue *)base;

    tac_assert(base->in_flight == queue->done.count);
    if (base->in_flight == base->depth) {
        return false;
    }
    tac_file_perform((struct tac_file_storage *)base->storage, io);
    tac_io_list_append(&queue->done, io);
    base->in_flight++;
    return true;
}

/* No kernel will signal what is done already, and the thread is about to park. */
static bool posix_flush(struct tac_io_queue *base)
{
    struct posix_queue *queue = (struct posix_queue *)base;

    if (queue->done.count > 0) {
        tac_wake_fd_signal(queue->wake_fd);
    }
    return true;
}

static uint32_t posix_reap(struct tac_io_queue *base, struct tac_io **ret_list)
{
    struct posix_queue *queue = (struct posix_queue *)base;
    uint32_t            count = tac_io_list_take(&queue->done, ret_list);

    tac_assert(count == base->in_flight);
    base->in_flight = 0;
    return count;
}

const struct tac_storage_ops tac_storage_posix_ops = {
    .name = "posix",
    .read = tac_file_read,
    .write = tac_file_write,
    .sync = tac_file_sync,
    .resize = tac_file_resize,
    .size = tac_file_size,
    .close = tac_file_close,
    .queue_new = posix_queue_new,
    .queue_free = posix_queue_free,
    .submit = posix_submit,
    .flush = posix_flush,
    .reap = posix_reap,
};
