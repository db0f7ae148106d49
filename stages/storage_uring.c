/* SPDX-License-Identifier: Apache-2.0 */
/* storage_uring -- io_uring: many requests at the device from one thread, one system call for all
 * that were submitted since the last.
 *
 * The happy path of a request: submit writes an entry into the submission ring and puts the request
 * at the end of `queued`; flush enters the kernel, which takes entries from the front, and as many
 * requests leave `queued`; reap finds its completion by the entry's user_data.
 * Possible failures: the kernel takes nothing now (EINTR, EAGAIN, EBUSY): entry and request stay
 * where they are for the next flush; forgetting that would lose the request. The kernel refuses for
 * good (a sandbox was put on after the open): everything queued fails, and so does all that comes
 * later. A completion is short, interrupted or cancelled because the submitting thread ended: what
 * is left is submitted again; writing the same bytes to the same place twice is harmless.
 *
 * The ring is a plain one. Of the faster modes, one forbids that threads take turns with a queue,
 * and the others let completions wait for the submitter's next system call. */
#include "stages/storage_file.h"

#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "queues/atomics.h"

/* An interrupted system call is made again at once, but a storm of signals may not hold us here. */
#define ENTER_ATTEMPTS 8

struct uring_queue {
    struct tac_io_queue base; /* First: the two are cast into each other */
    struct io_uring     ring;
    int                 wake_fd;
    int                 broken_errno; /* Not 0: the kernel takes no entries any more */
    struct tac_io_list  queued;       /* In the ring and not yet taken by the kernel, in order */
    struct tac_io_list  done;         /* For the next reap */
};

/* ---- making rings --------------------------------------------------------------------------- */

static int uring_error_set(struct tac_error *error, int os_error, const char *action)
{
    const char *reason = "the kernel refuses";

    tac_assert(os_error > 0);
    switch (os_error) {
    case ENOSYS:
        reason = "this kernel has no io_uring";
        break;
    case EPERM:
    case EACCES:
        reason = "io_uring is forbidden here (kernel.io_uring_disabled, a seccomp filter or a "
                 "container)";
        break;
    case ENOMEM:
        reason = "no memory, or the limit on locked memory is too low (ulimit -l)";
        break;
    case EMFILE:
    case ENFILE:
        reason = "too many open files (ulimit -n)";
        break;
    default:
        break;
    }
    return tac_error_set(error, os_error == ENOMEM ? TACTUS_ENOMEM : TACTUS_EIO,
                         "cannot %s an io_uring: %s (errno %d); the posix backend needs none",
                         action, reason, os_error);
}

/* A ring may lie where another thread's has been: in between are system calls of liburing's that the
 * thread sanitizer does not see. This word, which nobody looks at, puts the two in an order that it
 * does see. */
static uint32_t ring_changes;

/* Returns a negative errno. */
static int ring_init(uint32_t depth, struct io_uring *ring)
{
    int rv = io_uring_queue_init(depth, ring, 0);

    (void)tac_atomic_fetch_add_acq_rel_u32(&ring_changes, 1);
    return rv;
}

static void ring_exit(struct io_uring *ring)
{
    (void)tac_atomic_fetch_add_acq_rel_u32(&ring_changes, 1);
    io_uring_queue_exit(ring);
}

/* One entry that does nothing, there and back. Returns an errno. */
static int ring_round_trip(struct io_uring *ring)
{
    struct io_uring_cqe *cqe = NULL;
    struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
    int                  rv;

    tac_assert(sqe != NULL); /* The ring is new */
    io_uring_prep_nop(sqe);
    do {
        rv = io_uring_submit_and_wait(ring, 1);
    } while (rv == -EINTR);
    if (rv < 0) {
        return -rv;
    }
    do {
        rv = io_uring_wait_cqe(ring, &cqe);
    } while (rv == -EINTR);
    if (rv == 0) {
        rv = cqe->res;
        io_uring_cqe_seen(ring, cqe);
    }
    return rv < 0 ? -rv : 0;
}

int tac_storage_uring_probe(struct tac_error *error)
{
    struct io_uring ring;
    int             rv = ring_init(2, &ring);

    if (rv < 0) {
        return uring_error_set(error, -rv, "create");
    }
    rv = ring_round_trip(&ring);
    ring_exit(&ring);
    tac_assert(rv >= 0);
    return rv == 0 ? TACTUS_OK : uring_error_set(error, rv, "use");
}

static int uring_queue_new(struct tac_storage *storage, uint32_t depth, int wake_fd,
                           struct tac_io_queue **ret_queue, struct tac_error *error)
{
    struct uring_queue *queue = calloc(1, sizeof *queue);
    int                 rv;

    tac_assert(depth > 0);
    if (queue == NULL) {
        return tac_error_set(error, TACTUS_ENOMEM, "no memory for an I/O queue");
    }
    queue->base = (struct tac_io_queue){.storage = storage, .depth = depth};
    queue->wake_fd = wake_fd;
    tac_io_list_init(&queue->queued);
    tac_io_list_init(&queue->done);
    rv = ring_init(depth, &queue->ring);
    if (rv < 0) {
        free(queue);
        return uring_error_set(error, -rv, "create");
    }
    /* A request has one entry in the submission ring or one in the completion ring, never more:
     * neither can overflow. */
    tac_assert(queue->ring.sq.ring_entries >= depth && queue->ring.cq.ring_entries >= depth);
    rv = io_uring_ring_dontfork(&queue->ring);
    if (rv == 0 && wake_fd >= 0) {
        rv = io_uring_register_eventfd(&queue->ring, wake_fd);
    }
    if (rv < 0) {
        ring_exit(&queue->ring);
        free(queue);
        return uring_error_set(error, -rv, "set up");
    }
    *ret_queue = &queue->base;
    return TACTUS_OK;
}

static void uring_queue_free(struct tac_io_queue *base)
{
    struct uring_queue *queue = (struct uring_queue *)base;

    tac_assert(base->in_flight == 0);
    tac_assert(queue->queued.count == 0 && queue->done.count == 0);
    ring_exit(&queue->ring);
    free(queue);
}

/* ---- requests ------------------------------------------------------------------------------- */

static void request_finish(struct uring_queue *queue, struct tac_io *io)
{
    tac_assert(queue->done.count < queue->base.in_flight);
    tac_io_list_append(&queue->done, io);
}

/* Writes the entry for what is left of the request. */
static void request_enqueue(struct uring_queue *queue, struct tac_io *io)
{
    int                  fd = ((struct tac_file_storage *)queue->base.storage)->fd;
    uint64_t             offset = io->offset_bytes + io->done_bytes;
    struct io_uring_sqe *sqe;

    if (queue->broken_errno != 0) {
        tac_io_fail(io, queue->broken_errno);
        request_finish(queue, io);
        return;
    }
    sqe = io_uring_get_sqe(&queue->ring);
    tac_assert(sqe != NULL); /* As many entries as the queue is deep */
    switch (io->kind) {
    case TAC_IO_READ:
        io_uring_prep_readv(sqe, fd, io->segments, io->segment_count, offset);
        break;
    case TAC_IO_WRITE:
        io_uring_prep_writev(sqe, fd, io->segments, io->segment_count, offset);
        break;
    case TAC_IO_SYNC:
        io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
        break;
    }
    if (io->kind != TAC_IO_SYNC) {
        sqe->ioprio = queue->base.storage->io_priority;
    }
    io_uring_sqe_set_data(sqe, io);
    tac_io_list_append(&queue->queued, io);
}

static bool uring_submit(struct tac_io_queue *base, struct tac_io *io)
{
    struct uring_queue *queue = (struct uring_queue *)base;

    tac_assert(base->in_flight <= base->depth);
    if (base->in_flight == base->depth) {
        return false;
    }
    tac_io_commence(base->storage, io);
    base->in_flight++;
    request_enqueue(queue, io);
    return true;
}

/* The kernel will take nothing any more. Its ring keeps the entries of what fails here, but it is
 * never entered again. */
static void queue_break(struct uring_queue *queue, int os_error)
{
    struct tac_io *io;

    tac_assert(os_error > 0 && queue->broken_errno == 0);
    queue->broken_errno = os_error;
    tac_io_list_take(&queue->queued, &io);
    while (io != NULL) {
        struct tac_io *next = io->next;

        tac_io_fail(io, os_error);
        request_finish(queue, io);
        io = next;
    }
}

static void queued_remove_first(struct uring_queue *queue, uint32_t count)
{
    struct tac_io_list *queued = &queue->queued;

    tac_assert(count <= queued->count);
    queued->count -= count;
    for (; count > 0; count--) {
        queued->first = queued->first->next;
    }
    if (queued->first == NULL) {
        tac_io_list_init(queued);
    }
}

/* False: the kernel left a part of it. */
static bool queued_hand_over(struct uring_queue *queue)
{
    for (uint32_t attempt = 0; queue->queued.count > 0 && attempt < ENTER_ATTEMPTS; attempt++) {
        int rv = io_uring_submit(&queue->ring);

        if (rv >= 0) {
            queued_remove_first(queue, (uint32_t)rv);
            tac_assert(io_uring_sq_ready(&queue->ring) == queue->queued.count);
        } else if (rv == -EAGAIN || rv == -EBUSY) {
            return false;
        } else if (rv != -EINTR) {
            queue_break(queue, -rv);
        }
    }
    return queue->queued.count == 0;
}

static bool uring_flush(struct tac_io_queue *base)
{
    struct uring_queue *queue = (struct uring_queue *)base;
    bool                is_all = queued_hand_over(queue);

    if (queue->done.count > 0) {
        tac_wake_fd_signal(queue->wake_fd); /* Failed here, not in the kernel, which would signal */
    }
    return is_all;
}

static void request_take_result(struct uring_queue *queue, struct tac_io *io, int result)
{
    tac_assert(io->result == TACTUS_OK);
    if (result == -EINTR || result == -EAGAIN || result == -ECANCELED) {
        request_enqueue(queue, io);
        return;
    }
    if (result < 0) {
        tac_io_fail(io, -result);
    } else if (io->kind == TAC_IO_SYNC) {
        tac_io_complete(queue->base.storage, io);
    } else if (!tac_io_advance(queue->base.storage, io, (uint64_t)result)) {
        request_enqueue(queue, io);
        return;
    }
    request_finish(queue, io);
}

static uint32_t uring_reap(struct tac_io_queue *base, struct tac_io **ret_list)
{
    struct uring_queue  *queue = (struct uring_queue *)base;
    struct io_uring_cqe *cqe;
    uint32_t             head;
    uint32_t             seen = 0;
    uint32_t             count;

    io_uring_for_each_cqe(&queue->ring, head, cqe)
    {
        tac_assert(seen < base->in_flight);
        request_take_result(queue, io_uring_cqe_get_data(cqe), cqe->res);
        seen++;
    }
    io_uring_cq_advance(&queue->ring, seen);
    tac_maybe(queued_hand_over(queue));
    count = tac_io_list_take(&queue->done, ret_list);
    tac_assert(count <= base->in_flight);
    base->in_flight -= count;
    return count;
}

const struct tac_storage_ops tac_storage_uring_ops = {
    .name = "io_uring",
    .read = tac_file_read,
    .write = tac_file_write,
    .sync = tac_file_sync,
    .resize = tac_file_resize,
    .size = tac_file_size,
    .close = tac_file_close,
    .queue_new = uring_queue_new,
    .queue_free = uring_queue_free,
    .submit = uring_submit,
    .flush = uring_flush,
    .reap = uring_reap,
};
