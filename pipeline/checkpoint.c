/* SPDX-License-Identifier: Apache-2.0 */
/* checkpoint -- see checkpoint.h. The manifest log is sealed at the bar's end in one go, because it
 * goes on being filled; the free set is frozen there and encoded block by block afterwards. */
#include "pipeline/checkpoint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mutant.h"
#include "base/units.h"
#include "pipeline/recovery.h"
#include "pipeline/store.h"
#include "queues/atomics.h"

uint32_t tac_checkpoint_log_blocks(uint32_t block_size)
{
    uint64_t blocks = 2 * TAC_MIB / block_size;

    return (uint32_t)tac_min_u64(tac_max_u64(blocks, 16), TAC_CHECKPOINT_LOG_BLOCKS_MAX);
}

uint64_t tac_checkpoint_memory_bytes(uint32_t block_size)
{
    uint32_t count = tac_checkpoint_log_blocks(block_size) + TAC_CHECKPOINT_BUFFERS;

    return tac_block_pool_memory_bytes(count, block_size) + count * sizeof(struct tac_request);
}

int tac_checkpoint_create(struct tac_checkpoint *checkpoint, uint32_t block_size,
                          const struct tac_superblock *superblock, struct tac_error *error)
{
    struct tac_block *block;

    memset(checkpoint, 0, sizeof *checkpoint);
    checkpoint->actor.is_coordinator = true;
    checkpoint->durable = checkpoint->next = *superblock;
    /* What the opened checkpoint had released waits for the same bar's end as without a reopen. */
    checkpoint->state = TAC_CHECKPOINT_DURABLE;
    checkpoint->request_count = tac_checkpoint_log_blocks(block_size) + TAC_CHECKPOINT_BUFFERS;
    checkpoint->requests = calloc(checkpoint->request_count, sizeof *checkpoint->requests);
    if (checkpoint->requests == NULL) {
        return tac_error_set(error, TACTUS_ENOMEM, "out of memory for checkpoints");
    }
    if (tac_block_pool_create(&checkpoint->pool, checkpoint->request_count, 0, block_size, error) !=
        TACTUS_OK) {
        free(checkpoint->requests);
        checkpoint->requests = NULL;
        return error->code;
    }
    if (!tac_block_pool_try_take(&checkpoint->pool, checkpoint->request_count,
                                 &checkpoint->buffers)) {
        tac_unreachable();
    }
    block = checkpoint->buffers;
    for (uint32_t i = 0; i < checkpoint->request_count; i++) {
        struct tac_request *request = &checkpoint->requests[i];

        request->owner = &checkpoint->actor;
        request->blocks[0] = block;
        block = block->next;
        request->link.next = (struct tac_link *)checkpoint->requests_free;
        checkpoint->requests_free = request;
    }
    return TACTUS_OK;
}

void tac_checkpoint_destroy(struct tac_checkpoint *checkpoint)
{
    if (checkpoint->requests == NULL) {
        return;
    }
    tac_block_pool_give_back(&checkpoint->pool, checkpoint->buffers);
    tac_block_pool_destroy(&checkpoint->pool);
    free(checkpoint->requests);
    checkpoint->requests = NULL;
}

/* ---- requests ------------------------------------------------------------------------------- */

static struct tac_request *request_take(struct tac_checkpoint *checkpoint)
{
    struct tac_request *request = checkpoint->requests_free;

    if (request != NULL) {
        checkpoint->requests_free = (struct tac_request *)request->link.next;
        request->result = TACTUS_OK;
    }
    return request;
}

static void request_send(struct tactus *store, struct tac_request *request)
{
    store->checkpoint.outstanding++;
    tac_stage_push(&store->stages, TAC_STAGE_WRITE, &request->link);
}

static void request_write(struct tactus *store, struct tac_request *request,
                          struct tac_block_reference reference, enum tac_block_kind kind,
                          uint32_t transfer_bytes)
{
    request->kind = TAC_REQUEST_WRITE;
    request->block_count = 1;
    request->block_kinds[0] = kind;
    request->references[0] = reference;
    request->transfer_bytes = transfer_bytes;
    store->checkpoint.written_bytes += transfer_bytes;
    request_send(store, request);
}

static void request_sync(struct tactus *store)
{
    struct tac_request *request = request_take(&store->checkpoint);

    tac_assert(request != NULL);
    request->kind = TAC_REQUEST_SYNC;
    request->block_count = 0;
    request->transfer_bytes = 0;
    tac_paced_sync_note(store);
    request_send(store, request);
}

/* ---- begin ---------------------------------------------------------------------------------- */

static void superblock_fill(struct tactus *store, struct tac_superblock *next)
{
    const struct tac_superblock *durable = &store->checkpoint.durable;

    *next = *durable;
    next->sequence = durable->sequence + 1;
    next->parent_checksum = tac_superblock_checksum(durable);
    tac_recovery_describe(store, next);
    next->op_released = store->bar_count + 1;
    next->bar_count = store->bar_count;
    next->table_id_last = store->table_id_last;
    next->stamp_last = store->stamp_last;
    next->table_count = tac_manifest_table_count(store->manifest);
    next->manifest_checksum = tac_manifest_checksum(store->manifest);
    next->blocks_in_file = tac_free_set_blocks_used(store->free_set);
    if (store->has_logged_ranges) {
        next->features_incompatible |= TAC_FEATURE_RANGES; /* And stays: the log may keep events */
    }
}

static int no_blocks(struct tac_error *error)
{
    return tac_error_set(error, TACTUS_EFULL,
                         "no blocks left for a checkpoint: the store is at its file_size_max");
}

static int log_seal(struct tactus *store, struct tac_error *error)
{
    struct tac_checkpoint *checkpoint = &store->checkpoint;
    struct tac_superblock *next = &checkpoint->next;
    uint32_t               count;

    for (uint32_t i = 0; i < tac_manifest_tree_count(store->manifest); i++) {
        tac_manifest_log_tree(store->manifest_log, tac_manifest_tree(store->manifest, i));
    }
    count = tac_manifest_log_checkpoint_blocks(store->manifest_log);
    tac_assert(count + TAC_CHECKPOINT_BUFFERS <= checkpoint->request_count);
    for (uint32_t i = 0; i < count; i++) {
        struct tac_request        *request = request_take(checkpoint);
        struct tac_block_reference reference;
        uint64_t                   address;

        tac_assert(request != NULL);
        if (!tac_free_set_acquire(store->free_set, &address)) {
            return no_blocks(error);
        }
        reference = tac_manifest_log_seal(store->manifest_log, i, address, next->sequence,
                                          request->blocks[0]->data);
        request_write(store, request, reference, TAC_BLOCK_MANIFEST, store->geometry.block_size);
    }
    tac_manifest_log_checkpoint_done(store->manifest_log, store->free_set, next);
    return TACTUS_OK;
}

static int free_set_freeze(struct tactus *store, const struct tac_superblock *before,
                           struct tac_error *error)
{
    struct tac_superblock *next = &store->checkpoint.next;

    for (uint32_t i = 0; i < before->free_set_block_count; i++) {
        tac_free_set_release(store->free_set, before->free_set[i].address);
    }
    tac_free_set_checkpoint_begin(store->free_set);
    next->free_set_block_count = tac_free_set_encoded_blocks(store->free_set, &store->geometry, 0);
    if (next->free_set_block_count > TAC_FREE_SET_BLOCKS_MAX) {
        return no_blocks(error);
    }
    for (uint32_t i = 0; i < next->free_set_block_count; i++) {
        uint64_t address;

        if (!tac_free_set_acquire(store->free_set, &address)) {
            return no_blocks(error);
        }
        next->free_set[i].address = address;
    }
    tac_free_set_freeze(store->free_set);
    return TACTUS_OK;
}

int tac_checkpoint_begin(struct tactus *store, struct tac_error *error)
{
    struct tac_checkpoint      *checkpoint = &store->checkpoint;
    const struct tac_superblock before = checkpoint->durable;

    tac_assert(checkpoint->state == TAC_CHECKPOINT_NONE);
    tac_assert(checkpoint->outstanding == 0);
    pthread_mutex_lock(&store->scrub.lock);
    tac_atomic_store_release_u32(&store->is_checkpointing, 1);
    pthread_mutex_unlock(&store->scrub.lock);
    checkpoint->begin_ns = tac_events_now_ns(&store->events);
    checkpoint->written_bytes = 0;
    superblock_fill(store, &checkpoint->next);
    if (tac_snapshots_checkpoint(store, &checkpoint->next, error) != TACTUS_OK ||
        log_seal(store, error) != TACTUS_OK ||
        free_set_freeze(store, &before, error) != TACTUS_OK) {
        return error->code;
    }
    /* The trees' events are in the log, so that replay rebuilds exactly this manifest. */
    checkpoint->next.blocks_in_file = tac_free_set_blocks_used(store->free_set);
    checkpoint->free_set_written = 0;
    checkpoint->state = TAC_CHECKPOINT_FREE_SET;
    checkpoint->bars_since = 0;
    return TACTUS_OK;
}

/* ---- in the background ---------------------------------------------------------------------- */

static bool free_set_write(struct tactus *store)
{
    struct tac_checkpoint *checkpoint = &store->checkpoint;
    struct tac_superblock *next = &checkpoint->next;
    bool                   progressed = false;

    while (checkpoint->free_set_written < next->free_set_block_count) {
        uint32_t                    part = checkpoint->free_set_written;
        struct tac_block_reference *reference = &next->free_set[part];
        struct tac_request         *request = request_take(checkpoint);

        if (request == NULL) {
            return progressed;
        }
        tac_free_set_encode(store->free_set, &store->geometry, part, reference->address,
                            next->sequence, request->blocks[0]->data);
        reference->checksum = tac_block_checksum(request->blocks[0]->data, &store->geometry);
        request_write(store, request, *reference, TAC_BLOCK_FREE_SET, store->geometry.block_size);
        checkpoint->free_set_written++;
        progressed = true;
    }
    return progressed;
}

static bool snapshots_write(struct tactus *store)
{
    struct tac_checkpoint *checkpoint = &store->checkpoint;
    bool                   progressed = false;

    while (tac_snapshots_block_is_due(&store->snapshots)) {
        struct tac_request        *request = request_take(checkpoint);
        struct tac_block_reference reference;
        enum tac_block_kind        kind;

        if (request == NULL) {
            return progressed;
        }
        kind = tac_snapshots_block(store, &checkpoint->next, request->blocks[0]->data, &reference);
        request_write(store, request, reference, kind, store->geometry.block_size);
        progressed = true;
    }
    return progressed;
}

static void superblock_write(struct tactus *store)
{
    struct tac_checkpoint *checkpoint = &store->checkpoint;
    uint32_t               first = tac_superblock_copy_first(checkpoint->next.sequence);

    for (uint32_t copy = first; copy < first + 2; copy++) {
        struct tac_request        *request = request_take(checkpoint);
        struct tac_block_reference place = {
            .address = (uint64_t)copy * TAC_SUPERBLOCK_STRIDE_BLOCKS,
        };

        tac_assert(request != NULL);
        tac_superblock_encode(request->blocks[0]->data, &checkpoint->next, copy);
        request_write(store, request, place, 0, TAC_SUPERBLOCK_BYTES);
    }
}

static bool mail_read(struct tactus *store)
{
    struct tac_checkpoint *checkpoint = &store->checkpoint;
    struct tac_link       *link = tac_stack_take_all(&checkpoint->actor.mailbox);
    bool                   progressed = link != NULL;

    while (link != NULL) {
        struct tac_request *request = (struct tac_request *)link;
        struct tac_link    *next = link->next;

        tac_assert(checkpoint->outstanding > 0);
        checkpoint->outstanding--;
        if (request->result != TACTUS_OK && request->result != TACTUS_EPOISONED) {
            char text[128];

            snprintf(text, sizeof text, "%s of a checkpoint failed: %s",
                     request->kind == TAC_REQUEST_SYNC ? "sync" : "write",
                     request->os_error != 0 ? strerror(request->os_error) : "no space");
            tac_store_poison(store, request->result, text);
        }
        request->link.next = (struct tac_link *)checkpoint->requests_free;
        checkpoint->requests_free = request;
        link = next;
    }
    return progressed;
}

static void durable(struct tactus *store)
{
    struct tac_checkpoint *checkpoint = &store->checkpoint;

    checkpoint->state = TAC_CHECKPOINT_DURABLE;
    pthread_mutex_lock(&store->scrub.lock);
    checkpoint->durable = checkpoint->next;
    tac_atomic_store_release_u32(&store->is_checkpointing, 0);
    pthread_mutex_unlock(&store->scrub.lock);
    tac_atomic_store_release_u64(&store->durable_op, checkpoint->durable.op_persisted);
    tac_logger_add(&store->logger, TACTUS_LOGGER_DEBUG, "checkpoint %llu is durable: op %llu",
                   (unsigned long long)checkpoint->durable.sequence,
                   (unsigned long long)checkpoint->durable.op_persisted);
    tac_events_add(&store->events,
                   &(struct tactus_event){
                       .kind = TACTUS_EVENT_CHECKPOINT,
                       .op = checkpoint->durable.op_persisted,
                       .bytes_out = checkpoint->written_bytes,
                   },
                   checkpoint->begin_ns);
    tac_event_count_notify(store->stages.progress, 1);
}

bool tac_checkpoint_step(struct tactus *store)
{
    struct tac_checkpoint *checkpoint = &store->checkpoint;
    bool                   progressed = mail_read(store);

    if (tac_stages_are_stopped(&store->stages)) {
        return progressed; /* Nothing further is written: rule R8. */
    }
    if (checkpoint->state == TAC_CHECKPOINT_FREE_SET) {
        progressed |= free_set_write(store);
        progressed |= snapshots_write(store);
    }
    if (checkpoint->outstanding > 0 &&
        !(TAC_MUTANT(SYNC_BEFORE_WRITES) && checkpoint->state == TAC_CHECKPOINT_FREE_SET)) {
        return progressed;
    }
    switch (checkpoint->state) {
    case TAC_CHECKPOINT_NONE:
    case TAC_CHECKPOINT_DURABLE:
        return progressed;
    case TAC_CHECKPOINT_FREE_SET:
        tac_assert(checkpoint->free_set_written == checkpoint->next.free_set_block_count);
        tac_assert(!tac_snapshots_block_is_due(&store->snapshots));
        if (TAC_MUTANT(FREED_BEFORE_DURABLE)) {
            tac_free_set_checkpoint_effect(store->free_set);
            tac_free_set_checkpoint_begin(store->free_set);
        }
        checkpoint->state = TAC_CHECKPOINT_DATA_SYNC;
        if (!TAC_MUTANT(DATA_NOT_SYNCED)) {
            request_sync(store);
        }
        if (TAC_MUTANT(ROOT_BESIDE_SYNC)) {
            checkpoint->state = TAC_CHECKPOINT_SUPERBLOCK;
            superblock_write(store);
        }
        return true;
    case TAC_CHECKPOINT_DATA_SYNC:
        checkpoint->state = TAC_CHECKPOINT_SUPERBLOCK;
        superblock_write(store);
        return true;
    case TAC_CHECKPOINT_SUPERBLOCK:
        checkpoint->state = TAC_CHECKPOINT_ROOT_SYNC;
        if (!TAC_MUTANT(ROOT_NOT_SYNCED)) {
            request_sync(store);
        }
        return true;
    case TAC_CHECKPOINT_ROOT_SYNC:
        durable(store);
        return true;
    }
    tac_unreachable();
}

bool tac_checkpoint_allows_bar_end(const struct tactus *store)
{
    return store->checkpoint.state == TAC_CHECKPOINT_NONE ||
           store->checkpoint.state == TAC_CHECKPOINT_DURABLE;
}

void tac_checkpoint_effect(struct tactus *store)
{
    if (store->checkpoint.state == TAC_CHECKPOINT_DURABLE) {
        tac_free_set_checkpoint_effect(store->free_set);
        store->checkpoint.state = TAC_CHECKPOINT_NONE;
    }
}
