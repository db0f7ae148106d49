/* SPDX-License-Identifier: Apache-2.0 */
/* seat -- life cycle of a seat and its requests; what it does while it runs is in seat_run.c and
 * seat_source.c. */
#include "stages/seat.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "queues/atomics.h"
#include "stages/seat_internal.h"

uint32_t tac_seat_output_blocks(uint32_t filter_blocks_max)
{
    /* The builder's value, index and filter blocks, and two requests on their way to the disk. */
    return 2 + filter_blocks_max + 2 * TAC_REQUEST_BLOCKS_MAX;
}

uint32_t tac_seat_allotment(uint32_t source_count, uint32_t read_ahead, uint32_t filter_blocks_max)
{
    return source_count * (read_ahead + 1) + tac_seat_output_blocks(filter_blocks_max);
}

uint64_t tac_seat_memory_bytes(const struct tac_geometry *geometry, uint32_t allotment_max,
                               uint64_t table_records_max)
{
    return sizeof(struct tac_seat) + (uint64_t)allotment_max * sizeof(struct tac_request) +
           tac_merge_memory_bytes() + tac_table_builder_memory_bytes(geometry, table_records_max);
}

int tac_seat_create(struct tac_seat *seat, struct tac_stages *stages, uint32_t allotment_max,
                    uint64_t table_records_max, struct tac_error *error)
{
    memset(seat, 0, sizeof *seat);
    seat->stages = stages;
    seat->merge = tac_merge_new();
    seat->builder = tac_table_builder_new(&stages->geometry, table_records_max);
    seat->requests = calloc(allotment_max, sizeof *seat->requests);
    if (seat->merge == NULL || seat->builder == NULL || seat->requests == NULL) {
        tac_seat_destroy(seat);
        return tac_error_set(error, TACTUS_ENOMEM, "out of memory for compaction jobs");
    }
    /* Every request that is under way holds at least one block of the allotment. */
    seat->request_count = allotment_max;
    for (uint32_t i = 0; i < allotment_max; i++) {
        struct tac_request *request = &seat->requests[i];

        request->owner = &seat->actor;
        request->transfer_bytes = stages->geometry.block_size;
        request->link.next = (struct tac_link *)seat->requests_free;
        seat->requests_free = request;
    }
    return TACTUS_OK;
}

void tac_seat_destroy(struct tac_seat *seat)
{
    tac_assert(seat->state == TAC_SEAT_FREE);
    tac_assert(seat->outstanding == 0);
    if (seat->merge != NULL) {
        tac_merge_free(seat->merge);
    }
    if (seat->builder != NULL) {
        tac_table_builder_free(seat->builder);
    }
    free(seat->requests);
    memset(seat, 0, sizeof *seat);
}

struct tac_request *tac_seat_request_take(struct tac_seat *seat)
{
    struct tac_request *request = seat->requests_free;

    tac_assert(request != NULL);
    seat->requests_free = (struct tac_request *)request->link.next;
    request->block_count = 0;
    request->result = TACTUS_OK;
    request->os_error = 0;
    request->failed_block = 0;
    return request;
}

void tac_seat_request_give_back(struct tac_seat *seat, struct tac_request *request)
{
    request->link.next = (struct tac_link *)seat->requests_free;
    seat->requests_free = request;
}

void tac_seat_request_send(struct tac_seat *seat, struct tac_request *request)
{
    tac_assert(request->block_count > 0);
    seat->outstanding++;
    for (uint32_t i = 0; i < request->block_count; i++) {
        if (request->kind == TAC_REQUEST_WRITE) {
            tac_block_state_change(request->blocks[i], TAC_BLOCK_SEALED, TAC_BLOCK_WRITING);
        } else {
            tac_block_state_change(request->blocks[i], TAC_BLOCK_RESERVED, TAC_BLOCK_READING);
        }
    }
    tac_stage_push(seat->stages,
                   request->kind == TAC_REQUEST_WRITE ? TAC_STAGE_WRITE : TAC_STAGE_READ,
                   &request->link);
}

struct tac_block *tac_seat_block_take(struct tac_seat *seat)
{
    struct tac_block *block = seat->blocks;

    tac_assert(block != NULL && seat->blocks_idle > 0);
    seat->blocks = block->next;
    seat->blocks_idle--;
    block->next = NULL;
    return block;
}

void tac_seat_block_give_back(struct tac_seat *seat, struct tac_block *block)
{
    tac_assert(block->next == NULL);
    if (block->state != TAC_BLOCK_RESERVED) {
        tac_block_state_change(block, block->state, TAC_BLOCK_RESERVED);
    }
    block->next = seat->blocks;
    seat->blocks = block;
    seat->blocks_idle++;
    tac_assert(seat->blocks_idle <= seat->allotment);
}

/* First error of the job wins; later ones are its consequences. A refusal is a consequence too,
 * whichever came first. */
void tac_seat_fail(struct tac_seat *seat, int code, const char *message, struct tac_table *damaged)
{
    struct tac_job *job = seat->job;

    tac_assert(code != TACTUS_OK);
    if (job->result == TACTUS_OK || job->result == TACTUS_EPOISONED) {
        job->result = code;
        job->damaged_table = damaged;
        if (damaged == NULL) {
            snprintf(job->message, sizeof job->message, "%s", message);
        } else {
            snprintf(job->message, sizeof job->message, "tree %u, level %u, table %llu: %s",
                     damaged->tree, damaged->level, (unsigned long long)damaged->id, message);
        }
    }
    seat->state = TAC_SEAT_FAILING;
}

static void seat_sources_begin(struct tac_seat *seat)
{
    struct tac_job *job = seat->job;
    uint32_t        first = 0;

    memset(seat->sources, 0, sizeof seat->sources);
    seat->source_count = job->chain_count + (job->memtable != NULL);
    tac_assert(seat->source_count >= 1 && seat->source_count <= TAC_SOURCES_MAX);
    if (job->memtable != NULL) {
        seat->sources[0].is_memtable = true;
        tac_memtable_cursor_seek(&seat->sources[0].cursor, job->memtable, job->tree,
                                 job->key_begin);
        first = 1;
    }
    for (uint32_t i = 0; i < job->chain_count; i++) {
        struct tac_source *source = &seat->sources[first + i];

        source->input_next = job->chains[i].input_first;
        source->input_end = source->input_next + job->chains[i].input_count;
        tac_assert(source->input_end > source->input_next);
        tac_assert(source->input_end <= job->input_count);
    }
}

void tac_seat_start(struct tac_seat *seat, struct tac_job *job, uint32_t read_ahead,
                    struct tac_block *blocks, uint32_t allotment, uint32_t filter_bits_per_key)
{
    struct tac_merge_options         merge_options;
    struct tac_table_builder_options builder_options;
    struct tac_builder_sink          sink;

    tac_assert(seat->state == TAC_SEAT_FREE && !seat->is_taken);
    seat->is_taken = true;
    tac_assert(read_ahead >= 1 && read_ahead <= TAC_READ_AHEAD_MAX);
    seat->job = job;
    seat->state = TAC_SEAT_MERGING;
    seat->read_ahead = read_ahead;
    seat->blocks = seat->allotted = blocks;
    seat->blocks_idle = seat->allotment = allotment;
    for (struct tac_block *block = blocks; block != NULL; block = block->next) {
        block->owner = block->next; /* The list of all, which never changes */
    }
    seat->building_count = 0;
    seat->source_waiting = UINT32_MAX;
    seat->consumed_reported = 0;
    seat->pages_taken = seat->pages_kept = 0;
    seat->table_is_kept = false;
    seat->output = NULL;
    seat_sources_begin(seat);
    builder_options = (struct tac_table_builder_options){
        .geometry = &seat->stages->geometry,
        .layout = job->layout,
        .tree = job->tree,
        .sequence = job->sequence,
        .filter_bits_per_key = filter_bits_per_key,
        .table_bytes_min = job->table_bytes_min,
        .cuts = job->cuts,
        .cut_count = job->cut_count,
    };
    sink = tac_seat_sink(seat);
    tac_table_builder_begin(seat->builder, &builder_options, &sink);
    merge_options = (struct tac_merge_options){
        .layout = job->layout,
        .source_count = seat->source_count,
        .drops_tombstones = job->drops_tombstones,
        .key_begin = job->key_begin,
        .key_end = job->key_end,
    };
    tac_merge_begin(seat->merge, &merge_options, seat->builder);
    tac_actor_start(seat->stages, &seat->actor);
}

struct tac_block *tac_seat_finish(struct tac_seat *seat, uint32_t *ret_count)
{
    struct tac_block *blocks = seat->blocks;

    tac_assert(seat->state == TAC_SEAT_DONE);
    tac_assert(seat->outstanding == 0);
    tac_assert(seat->blocks_idle == seat->allotment); /* Conservation of blocks */
    seat->is_taken = false;
    *ret_count = seat->blocks_idle;
    seat->blocks = NULL;
    seat->blocks_idle = seat->allotment = 0;
    seat->job = NULL;
    seat->state = TAC_SEAT_FREE;
    return blocks;
}

struct tac_block *tac_seat_abandon(struct tac_seat *seat)
{
    struct tac_block *blocks = NULL;
    struct tac_block *all = seat->allotted;

    /* Wherever they are, in lists, windows or requests that nobody will look at again. */
    while (all != NULL) {
        struct tac_block *block = all;

        all = block->owner;
        if (block->state != TAC_BLOCK_RESERVED) {
            tac_block_state_change(block, block->state, TAC_BLOCK_RESERVED);
        }
        block->next = blocks;
        blocks = block;
    }
    seat->actor.mailbox.top = NULL;
    seat->actor.wake = TAC_WAKE_IDLE;
    seat->requests_free = NULL;
    seat->outstanding = 0;
    seat->state = TAC_SEAT_FREE;
    return blocks;
}
