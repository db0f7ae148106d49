/* SPDX-License-Identifier: Apache-2.0 */
/* seat_run -- one turn of a seat: read the mail, ask for what the sources have room for, merge a
 * piece, hand sealed blocks to the write stage. */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/mutant.h"
#include "lsm/manifest.h"
#include "queues/atomics.h"
#include "stages/seat_internal.h"

/* ---- output --------------------------------------------------------------------------------- */

static void output_send(struct tac_seat *seat)
{
    if (seat->output != NULL) {
        tac_seat_request_send(seat, seat->output);
        seat->output = NULL;
    }
}

static struct tac_builder_buffer sink_take_buffer(void *context)
{
    struct tac_seat  *seat = context;
    struct tac_block *block = tac_seat_block_take(seat);

    tac_assert(seat->building_count < TAC_BUILDING_MAX);
    seat->building[seat->building_count++] = block;
    tac_block_state_change(block, TAC_BLOCK_RESERVED, TAC_BLOCK_MERGING);
    return (struct tac_builder_buffer){.data = block->data, .context = block};
}

static uint64_t sink_take_address(void *context)
{
    struct tac_seat *seat = context;
    struct tac_job  *job = seat->job;

    tac_assert(job->address_used < job->address_count); /* The reservation is a proven bound. */
    if (TAC_MUTANT(ADDRESS_BY_TIMING) && seat->stages->consumed_bytes != seat->consumed_reported) {
        uint32_t *taken = &job->addresses[job->address_used];
        uint32_t *last = &job->addresses[job->address_count - 1];
        uint32_t  address = *taken;

        *taken = *last;
        *last = address;
    }
    return job->addresses[job->address_used++];
}

static void building_remove(struct tac_seat *seat, const struct tac_block *block)
{
    for (uint32_t i = 0; i < seat->building_count; i++) {
        if (seat->building[i] == block) {
            seat->building[i] = seat->building[--seat->building_count];
            return;
        }
    }
    tac_unreachable();
}

/* Puts the pages of a block that is to be written where readers keep theirs, if at least half of
 * those had been there that were taken in of late: what a block is made from was taken in just
 * before it. */
static void block_keep(struct tac_seat *seat, const struct tac_sealed_block *sealed)
{
    const struct tac_page_keeper *keeper = &seat->stages->keeper;

    if (sealed->kind != TAC_BLOCK_VALUE) {
        if (seat->table_is_kept) {
            keeper->enter_other(keeper->context, sealed->kind, &sealed->reference,
                                sealed->buffer.data);
        }
        return;
    }
    if (seat->pages_kept > 0 && 2 * seat->pages_kept >= seat->pages_taken) {
        const struct tac_value_block block = {.data = sealed->buffer.data,
                                              .page_count = sealed->page_count};

        keeper->enter(keeper->context, seat->job->tree, sealed->reference.address, &block);
        seat->table_is_kept = true;
    }
    seat->pages_taken /= 2;
    seat->pages_kept /= 2;
}

static void sink_sealed(void *context, const struct tac_sealed_block *sealed)
{
    struct tac_seat    *seat = context;
    struct tac_request *request = seat->output;

    building_remove(seat, sealed->buffer.context);
    block_keep(seat, sealed);
    tac_block_state_change(sealed->buffer.context, TAC_BLOCK_MERGING, TAC_BLOCK_SEALED);
    if (request != NULL &&
        (request->block_count == TAC_REQUEST_BLOCKS_MAX ||
         sealed->reference.address != request->references[0].address + request->block_count)) {
        output_send(seat);
        request = NULL;
    }
    if (request == NULL) {
        request = seat->output = tac_seat_request_take(seat);
        request->kind = TAC_REQUEST_WRITE;
        request->source = NULL;
    }
    request->blocks[request->block_count] = sealed->buffer.context;
    request->block_kinds[request->block_count] = sealed->kind;
    request->references[request->block_count] = sealed->reference;
    request->block_count++;
}

static void sink_finished(void *context, const struct tac_table *finished)
{
    struct tac_seat  *seat = context;
    struct tac_job   *job = seat->job;
    struct tac_table *table = job->spare_tables;

    tac_assert(table != NULL); /* As many descriptors as tables the reservation has room for */
    job->spare_tables = table->next;
    table->next = NULL;
    table->index = finished->index;
    table->value_block_count = finished->value_block_count;
    table->filter_block_count = finished->filter_block_count;
    table->bytes = finished->bytes;
    table->records = finished->records;
    table->tombstones = finished->tombstones;
    table->sum = finished->sum;
    tac_table_set_keys(table, finished->key_min, finished->key_max);
    if (TAC_MUTANT(LAST_KEY_CUT) && table->key_max.size > 1) {
        table->key_max.size--;
    }
    if (job->outputs_last == NULL) {
        job->outputs = table;
    } else {
        tac_assert(tac_bytes_compare(job->outputs_last->key_max, table->key_min) < 0);
        job->outputs_last->next = table;
    }
    job->outputs_last = table;
    seat->table_is_kept = false;
}

struct tac_builder_sink tac_seat_sink(struct tac_seat *seat)
{
    return (struct tac_builder_sink){
        .context = seat,
        .take_buffer = sink_take_buffer,
        .take_address = sink_take_address,
        .sealed = sink_sealed,
        .finished = sink_finished,
    };
}

/* ---- mail ----------------------------------------------------------------------------------- */

static void write_arrived(struct tac_seat *seat, struct tac_request *request)
{
    if (request->result != TACTUS_OK) {
        char text[128];

        snprintf(text, sizeof text, "write of block %llu failed: %s",
                 (unsigned long long)request->references[0].address,
                 request->result == TACTUS_EPOISONED ? "writing has stopped"
                 : request->os_error != 0            ? strerror(request->os_error)
                                                     : "no space");
        tac_seat_fail(seat, request->result, text, NULL);
    }
    for (uint32_t i = 0; i < request->block_count; i++) {
        enum tac_block_kind kind = request->block_kinds[i];

        if (request->result == TACTUS_OK && seat->job->memtable != NULL &&
            (kind == TAC_BLOCK_VALUE || kind == TAC_BLOCK_INDEX)) { /* Those that merges read */
            tac_level0_cache_put(&seat->stages->level0_cache, request->references[i].address,
                                 request->blocks[i]);
        }
        tac_seat_block_give_back(seat, request->blocks[i]);
    }
}

static void mail_read(struct tac_seat *seat)
{
    struct tac_link *link = tac_stack_take_all(&seat->actor.mailbox);

    while (link != NULL) {
        struct tac_link    *next = link->next;
        struct tac_request *request = (struct tac_request *)link;

        tac_assert(seat->outstanding > 0);
        seat->outstanding--;
        if (request->kind == TAC_REQUEST_WRITE) {
            write_arrived(seat, request);
        } else {
            tac_seat_source_mail(seat, request);
        }
        tac_seat_request_give_back(seat, request);
        link = next;
    }
}

/* ---- merging -------------------------------------------------------------------------------- */

/* Tells the pacing what was consumed; never more than the plan said, so that the sum over a bar's
 * jobs is the bar's work exactly. */
static void consumption_report(struct tac_seat *seat, uint64_t consumed)
{
    struct tac_stages *stages = seat->stages;
    uint64_t           delta, total, target;

    if (consumed > seat->job->bytes) {
        consumed = seat->job->bytes;
    }
    tac_assert(consumed >= seat->consumed_reported);
    delta = consumed - seat->consumed_reported;
    if (delta == 0) {
        return;
    }
    seat->consumed_reported = consumed;
    total = tac_atomic_fetch_add_u64(&stages->consumed_bytes, delta) + delta;
    /* The waiting writer sets the target and then looks at the sum; here the other way round, both
     * with RMWs: one of the two sees the other. */
    target = tac_atomic_fetch_add_u64(&stages->consumed_target, 0);
    if (target != 0 && total >= target) {
        tac_event_count_notify(stages->progress, 1);
    }
}

/* Blocks that the sources may still claim; the rest are for outputs. */
static uint32_t blocks_for_output(const struct tac_seat *seat)
{
    uint32_t claim = 0;

    for (uint32_t i = 0; i < seat->source_count; i++) {
        const struct tac_source *source = &seat->sources[i];

        claim += seat->read_ahead - source->blocks_held;
        claim += source->index_block == NULL && !source->is_memtable;
    }
    return seat->blocks_idle > claim ? seat->blocks_idle - claim : 0;
}

static void job_over(struct tac_seat *seat)
{
    struct tac_job *job = seat->job;

    tac_assert(seat->outstanding == 0);
    for (uint32_t i = 0; i < seat->source_count; i++) {
        tac_seat_source_drop(seat, &seat->sources[i]);
    }
    if (job->result == TACTUS_OK) {
        tac_seat_sources_account(seat);
        job->totals = tac_table_builder_totals(seat->builder);
        job->overwritten = tac_merge_overwritten(seat->merge);
        job->tombstones_dropped = tac_merge_tombstones_dropped(seat->merge);
        job->deleted = tac_merge_deleted(seat->merge);
        if (job->memtable != NULL) {
            job->memtable_overwritten = seat->sources[0].gathered_overwritten;
            job->memtable_deleted = seat->sources[0].gathered_deleted;
        }
    }
    if (!TAC_MUTANT(CREDIT_KEPT)) {
        consumption_report(seat, job->bytes);
    }
    seat->state = TAC_SEAT_DONE;
}

/* Merges about one block of input. */
static enum tac_seat_outcome merge_piece(struct tac_seat *seat)
{
    uint64_t budget = seat->stages->geometry.block_size;

    for (;;) { /* Ends: each turn hands a block over, or leaves. */
        enum tac_merge_status status;

        if (seat->source_waiting != UINT32_MAX) {
            if (!tac_seat_source_advance(seat, seat->source_waiting)) {
                tac_seat_feed(seat);
                return TAC_SEAT_RUN_WAIT_READ;
            }
            seat->source_waiting = UINT32_MAX;
            tac_seat_feed(seat);
        }
        status = tac_merge_run(seat->merge, budget, blocks_for_output(seat));
        consumption_report(seat, tac_merge_consumed_bytes(seat->merge));
        switch (status) {
        case TAC_MERGE_NEEDS_BLOCK:
            seat->source_waiting = tac_merge_source_needed(seat->merge);
            continue;
        case TAC_MERGE_NEEDS_BUFFER:
            output_send(seat); /* What is sealed must reach the disk to come back as buffers. */
            tac_assert(seat->outstanding > 0);
            return TAC_SEAT_RUN_WAIT_WRITE;
        case TAC_MERGE_PAUSED:
            return TAC_SEAT_RUN_AGAIN;
        case TAC_MERGE_DONE:
            output_send(seat);
            seat->state = TAC_SEAT_FINISHING;
            return TAC_SEAT_RUN_AGAIN;
        }
        tac_unreachable();
    }
}

/* A failing seat drops what it was building, and what it had sealed but not sent. */
static void output_drop(struct tac_seat *seat)
{
    while (seat->building_count > 0) {
        tac_seat_block_give_back(seat, seat->building[--seat->building_count]);
    }
    if (seat->output == NULL) {
        return;
    }
    for (uint32_t i = 0; i < seat->output->block_count; i++) {
        tac_seat_block_give_back(seat, seat->output->blocks[i]);
    }
    tac_seat_request_give_back(seat, seat->output);
    seat->output = NULL;
}

enum tac_seat_outcome tac_seat_run(struct tac_seat *seat, bool has_credit)
{
    enum tac_seat_outcome outcome;

    mail_read(seat);
    switch (seat->state) {
    case TAC_SEAT_MERGING:
        tac_seat_feed(seat);
        if (!has_credit) {
            return TAC_SEAT_RUN_STALLED;
        }
        outcome = merge_piece(seat);
        if (seat->state != TAC_SEAT_FAILING) {
            return outcome;
        }
        return TAC_SEAT_RUN_AGAIN;
    case TAC_SEAT_FAILING:
        output_drop(seat);
        __attribute__((fallthrough));
    case TAC_SEAT_FINISHING:
        if (seat->outstanding > 0) {
            return TAC_SEAT_RUN_WAIT_WRITE;
        }
        job_over(seat);
        return TAC_SEAT_RUN_OVER;
    case TAC_SEAT_FREE:
    case TAC_SEAT_DONE:
        break;
    }
    tac_unreachable();
}
