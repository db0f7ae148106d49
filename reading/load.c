/* SPDX-License-Identifier: Apache-2.0 */
#include "reading/load.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include "queues/atomics.h"

/* ---- queues --------------------------------------------------------------------------------- */

static int queue_init(struct tac_load_queue *queue, struct tac_storage *storage,
                      struct tac_error *error)
{
    int rv;

    queue->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (queue->wake_fd < 0) {
        return tac_error_set(error, TACTUS_EIO,
                             "cannot make an eventfd: errno %d; are there too many open files "
                             "(ulimit -n)?",
                             errno);
    }
    rv = storage->ops->queue_new(storage, TAC_LOADS_MAX, queue->wake_fd, &queue->io, error);
    if (rv != TACTUS_OK) {
        (void)close(queue->wake_fd);
    }
    return rv;
}

int tac_load_queues_new(struct tac_storage *storage, struct tac_load_queue **ret_queues,
                        struct tac_error *error)
{
    struct tac_load_queue *queues = calloc(TAC_LOAD_QUEUES, sizeof *queues);

    if (queues == NULL) {
        return tac_error_set(error, TACTUS_ENOMEM, "no memory for queues of reads");
    }
    for (uint32_t i = 0; i < TAC_LOAD_QUEUES; i++) {
        int rv = queue_init(&queues[i], storage, error);

        if (rv != TACTUS_OK) {
            tac_load_queues_free(queues, i);
            return rv;
        }
    }
    *ret_queues = queues;
    return TACTUS_OK;
}

void tac_load_queues_free(struct tac_load_queue *queues, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        tac_assert(tac_atomic_load_acquire_u32(&queues[i].is_taken) == 0);
        queues[i].io->storage->ops->queue_free(queues[i].io);
        (void)close(queues[i].wake_fd);
    }
    free(queues);
}

struct tac_load_queue *tac_load_queue_take(struct tac_read_side *side)
{
    for (uint32_t i = 0; i < TAC_LOAD_QUEUES; i++) {
        struct tac_load_queue *queue = &side->load_queues[i];

        if (tac_atomic_exchange_u32(&queue->is_taken, 1) == 0) {
            return queue;
        }
    }
    return NULL;
}

void tac_load_queue_give_back(struct tac_load_queue *queue)
{
    tac_assert(queue->io->in_flight == 0);
    for (uint32_t i = 0; i < TAC_LOADS_MAX; i++) {
        tac_assert(queue->loads[i].state == TAC_LOAD_NONE);
    }
    (void)tac_atomic_exchange_u32(&queue->is_taken, 0);
}

/* ---- what is wanted ------------------------------------------------------------------------- */

void tac_load_want_block(struct tac_load *load, enum tac_block_kind kind,
                         const struct tac_block_reference *reference)
{
    tac_load_drop(load);
    load->state = TAC_LOAD_WANTED;
    load->key = tac_block_key(kind, reference);
    load->is_page = false;
    load->kind = kind;
    load->block = *reference;
}

void tac_load_want_page(struct tac_load *load, uint64_t address, const struct tac_page_entry *entry,
                        uint32_t tree, const struct tac_layout *layout)
{
    tac_load_drop(load);
    load->state = TAC_LOAD_WANTED;
    load->key = tac_page_key(address, entry, tree);
    load->is_page = true;
    load->block.address = address;
    load->entry = *entry;
    load->layout = *layout;
}

/* ---- reading -------------------------------------------------------------------------------- */

/* Where the load is read to, and from where: sets frame, bounce and skip. NULL: no memory, or no such
 * place. */
static uint8_t *block_place(struct tac_read_side *side, struct tac_load *load, uint64_t *ret_offset,
                            uint64_t *ret_bytes)
{
    uint64_t block_bytes = side->geometry.block_size;

    if (load->block.address > (uint64_t)INT64_MAX / block_bytes - 1) {
        return NULL;
    }
    load->frame = tac_block_frame(side, &load->key);
    if (load->frame == NULL) {
        return NULL;
    }
    load->skip = 0;
    *ret_offset = load->block.address * block_bytes;
    *ret_bytes = block_bytes;
    return load->frame->data;
}

static uint8_t *page_place(struct tac_read_side *side, struct tac_load *load, uint64_t *ret_offset,
                           uint64_t *ret_bytes)
{
    uint32_t               units = load->entry.unit_count;
    uint64_t               buffer_bytes = tac_units_buffer_bytes(side, units);
    uint64_t               frame_bytes = side->geometry.page_size;
    struct tac_units_range range;
    struct tac_error       error;

    if (tac_units_range(side, load->block.address, load->entry.unit_first, units, &range, &error) !=
        TACTUS_OK) {
        return NULL;
    }
    if (units == 1) {
        load->frame = tac_cache_claim(side->page_cache, &load->key);
    }
    if (load->frame == NULL) {
        load->frame = tac_cache_frame_private(buffer_bytes, 0);
        frame_bytes = buffer_bytes;
    }
    if (load->frame != NULL && buffer_bytes > frame_bytes) {
        load->bounce = aligned_alloc(side->storage->alignment_bytes, buffer_bytes);
        if (load->bounce == NULL) {
            tac_cache_abandon(load->frame);
            load->frame = NULL;
        }
    }
    if (load->frame == NULL) {
        return NULL;
    }
    load->skip = range.skip;
    *ret_offset = range.begin;
    *ret_bytes = range.end - range.begin;
    return load->bounce != NULL ? load->bounce : load->frame->data;
}

bool tac_load_begin(struct tac_read_side *side, struct tac_load_queue *queue, struct tac_load *load)
{
    const struct tac_storage_ops *ops = queue->io->storage->ops;
    uint64_t                      offset, bytes;
    uint8_t                      *to;

    tac_assert(load->state == TAC_LOAD_WANTED && load->frame == NULL && load->bounce == NULL);
    to = load->is_page ? page_place(side, load, &offset, &bytes)
                       : block_place(side, load, &offset, &bytes);
    if (to == NULL) {
        load->state = TAC_LOAD_NONE;
        return false;
    }
    load->state = TAC_LOAD_UNDER_WAY;
    load->io = (struct tac_io){
        .kind = TAC_IO_READ,
        .segment_count = 1,
        .segments = {{.iov_base = to, .iov_len = bytes}},
        .offset_bytes = offset,
        .size_bytes = bytes,
        .owner = load,
    };
    tac_assert(queue->io->in_flight < queue->io->depth); /* As many loads as it is deep */
    while (!ops->submit(queue->io, &load->io)) {
        tac_maybe(ops->flush(queue->io)); /* Full for the moment */
    }
    return true;
}

static void wake_wait(int wake_fd)
{
    struct pollfd wake = {.fd = wake_fd, .events = POLLIN};
    uint64_t      signals;

    (void)poll(&wake, 1, -1); /* A signal that ends it early costs a turn. */
    tac_maybe(read(wake_fd, &signals, sizeof signals) > 0);
}

struct tac_io *tac_load_wait(struct tac_load_queue *queue)
{
    const struct tac_storage_ops *ops = queue->io->storage->ops;
    struct tac_io                *list;

    tac_assert(queue->io->in_flight > 0);
    while (ops->reap(queue->io, &list) == 0) {
        if (ops->flush(queue->io)) {
            wake_wait(queue->wake_fd);
        } else {
            sched_yield();
        }
    }
    return list;
}

static bool page_is_right(struct tac_read_side *side, struct tac_load *load)
{
    const uint8_t   *data = (load->bounce != NULL ? load->bounce : load->frame->data) + load->skip;
    struct tac_page  page = tac_page_of_entry(side, &load->entry, &load->layout, data);
    struct tac_error error;

    if (tac_page_verify(side, load->block.address, &load->entry, &page, &error) != TACTUS_OK) {
        return false;
    }
    if (load->bounce != NULL) {
        memcpy(load->frame->data, data, page.size_bytes);
        data = load->frame->data;
    }
    load->data = data;
    return true;
}

static bool block_is_right(struct tac_read_side *side, struct tac_load *load)
{
    struct tac_error error;

    load->data = load->frame->data;
    return tac_block_check(side, load->kind, &load->block, load->frame, &error) == TACTUS_OK;
}

void tac_load_end(struct tac_read_side *side, struct tac_load *load)
{
    tac_assert(load->state == TAC_LOAD_UNDER_WAY);
    if (load->io.result == TACTUS_OK &&
        (load->is_page ? page_is_right(side, load) : block_is_right(side, load))) {
        tac_cache_publish(load->frame);
        load->state = TAC_LOAD_THERE;
    } else {
        tac_cache_abandon(load->frame);
        load->frame = NULL;
        load->state = TAC_LOAD_NONE;
    }
    free(load->bounce);
    load->bounce = NULL;
}

bool tac_load_take(struct tac_load *load, const struct tac_cache_key *key,
                   struct tac_cache_frame **ret_frame, const uint8_t **ret_data)
{
    if (load->state != TAC_LOAD_THERE || !tac_cache_key_equal(&load->key, key)) {
        return false;
    }
    *ret_frame = load->frame;
    *ret_data = load->data;
    load->frame = NULL;
    load->state = TAC_LOAD_NONE;
    return true;
}

void tac_load_drop(struct tac_load *load)
{
    tac_assert(load->state != TAC_LOAD_UNDER_WAY);
    if (load->state == TAC_LOAD_THERE) {
        tac_cache_unpin(load->frame);
        load->frame = NULL;
    }
    load->state = TAC_LOAD_NONE;
}
