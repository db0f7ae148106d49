/* SPDX-License-Identifier: Apache-2.0 */
/* seat_source -- a source of a job: a chain of tables read block by block a little ahead of the
 * merge, or the immutable memtable gathered into blocks.
 *
 * A source holds at most read_ahead value blocks (those under way included) and one index block, so
 * whatever the sources do, the blocks meant for outputs are there for outputs. */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/mutant.h"
#include "base/units.h"
#include "stages/seat_internal.h"

/* ---- tables --------------------------------------------------------------------------------- */

static void index_request(struct tac_seat *seat, struct tac_source *source)
{
    struct tac_request *request = tac_seat_request_take(seat);

    tac_assert(source->input_next < source->input_end);
    if (source->index_block == NULL) {
        source->index_block = tac_seat_block_take(seat);
    }
    source->input = &seat->job->inputs[source->input_next++];
    source->is_index_pending = true;
    request->kind = TAC_REQUEST_READ;
    request->source = source;
    request->block_count = 1;
    request->blocks[0] = source->index_block;
    request->block_kinds[0] = TAC_BLOCK_INDEX;
    request->references[0] = source->input->table->index;
    tac_seat_request_send(seat, request);
}

/* The larger of the job's and the table's own lower limit. */
static struct tac_bytes input_key_from(const struct tac_job *job, const struct tac_table *table)
{
    if (table->is_trimmed && tac_bytes_compare(table->key_min, job->key_begin) > 0) {
        return table->key_min;
    }
    return job->key_begin;
}

/* Which value blocks of the opened table can hold keys of the job. */
static void input_block_range(const struct tac_seat *seat, struct tac_source *source)
{
    const struct tac_index_block *index = &source->index;
    struct tac_bytes              from = input_key_from(seat->job, source->input->table);
    struct tac_bytes              end = seat->job->key_end;

    source->block_next = 0;
    source->block_end = seat->job->is_discard ? 0 : index->value_block_count;
    if (seat->job->is_discard) {
        return;
    }
    if (from.size > 0) {
        source->block_next = tac_index_block_of_page(index, tac_index_find_page(index, from));
    }
    if (end.size > 0) {
        uint32_t page = tac_index_find_page(index, end);

        if (page > 0 && tac_bytes_compare(tac_index_separator(index, page), end) == 0) {
            page--; /* That page begins at or above the end. */
        }
        source->block_end = tac_index_block_of_page(index, page) + 1;
    }
}

/* Notes where the table's blocks are: the commit releases them without reading anything. */
static void input_note_addresses(struct tac_job_input *input, const struct tac_index_block *index)
{
    uint32_t count = 0;

    if (input->addresses == NULL) {
        return;
    }
    for (uint32_t i = 0; i < index->value_block_count; i++) {
        input->addresses[count++] = (uint32_t)tac_index_value_block(index, i).reference.address;
    }
    for (uint32_t i = 0; i < index->filter_block_count; i++) {
        input->addresses[count++] = (uint32_t)tac_index_filter_block(index, i).address;
    }
}

static void index_arrived(struct tac_seat *seat, struct tac_source *source)
{
    struct tac_table *table = source->input->table;
    struct tac_error  error;

    source->is_index_pending = false;
    tac_block_state_change(source->index_block, TAC_BLOCK_READING, TAC_BLOCK_RESERVED);
    if (tac_index_block_decode(&source->index, source->index_block->data, &seat->stages->geometry,
                               table->index.address, &error) != TACTUS_OK) {
        tac_seat_fail(seat, error.code, error.message, table);
        return;
    }
    if (source->index.value_block_count != table->value_block_count ||
        source->index.filter_block_count != table->filter_block_count) {
        tac_seat_fail(seat, TACTUS_ECORRUPT, "index block and manifest disagree", table);
        return;
    }
    source->has_index = true;
    input_note_addresses(source->input, &source->index);
    input_block_range(seat, source);
}

/* One request for up to `want` value blocks with neighbouring addresses, all of them in memory or
 * none. */
static void values_request(struct tac_seat *seat, struct tac_source *source, uint32_t want)
{
    struct tac_level0_cache *cache = &seat->stages->level0_cache;
    struct tac_request      *request = tac_seat_request_take(seat);
    bool                     is_first_cached = false;

    request->kind = TAC_REQUEST_READ;
    request->source = source;
    while (request->block_count < want && source->block_next < source->block_end) {
        struct tac_index_value_block value =
            tac_index_value_block(&source->index, source->block_next);
        uint32_t                 count = request->block_count;
        bool                     is_cached = tac_level0_cache_has(cache, value.reference.address);
        struct tac_window_entry *entry;

        if (count == 0) {
            is_first_cached = is_cached;
        } else if (value.reference.address != request->references[0].address + count ||
                   is_cached != is_first_cached) {
            break;
        }
        entry = &source->window[(source->window_head + source->window_count) % TAC_READ_AHEAD_MAX];
        *entry = (struct tac_window_entry){
            .block = tac_seat_block_take(seat),
            .input = source->input,
            .address = value.reference.address,
        };
        request->blocks[count] = entry->block;
        request->block_kinds[count] = TAC_BLOCK_VALUE;
        request->references[count] = value.reference;
        request->block_count++;
        source->window_count++;
        source->blocks_held++;
        source->block_next++;
    }
    tac_assert(source->blocks_held <= seat->read_ahead);
    tac_seat_request_send(seat, request);
}

static void tables_feed(struct tac_seat *seat, struct tac_source *source)
{
    for (;;) { /* Ends: each turn asks for something, or returns. */
        uint32_t want, left;

        if (source->is_index_pending) {
            return;
        }
        if (!source->has_index) {
            if (source->input_next < source->input_end) {
                index_request(seat, source);
            }
            return;
        }
        left = source->block_end - source->block_next;
        if (left == 0) {
            source->has_index = false;
            continue;
        }
        want = (uint32_t)tac_min_u64(seat->read_ahead - source->blocks_held, left);
        want = (uint32_t)tac_min_u64(want, TAC_REQUEST_BLOCKS_MAX);
        /* Large requests: not before half the window is free, unless nothing is coming at all. */
        if (want == 0 || (want < left && want < (seat->read_ahead + 1) / 2 &&
                          want < TAC_REQUEST_BLOCKS_MAX && source->window_count > 0)) {
            return;
        }
        values_request(seat, source, want);
    }
}

#define GATHERED_NOTHING UINT32_MAX /* In failed_block: the range has ended */
#define GATHERED_ADDRESS UINT64_MAX /* In headers of gathered blocks: they are in no file */

/* ---- memtable ------------------------------------------------------------------------------- */

static void memtable_feed(struct tac_seat *seat, struct tac_source *source)
{
    struct tac_request      *request;
    struct tac_window_entry *entry;

    if (source->is_gather_pending || source->is_gathered_out ||
        source->blocks_held == seat->read_ahead) {
        return;
    }
    entry = &source->window[(source->window_head + source->window_count) % TAC_READ_AHEAD_MAX];
    *entry =
        (struct tac_window_entry){.block = tac_seat_block_take(seat), .address = GATHERED_ADDRESS};
    source->window_count++;
    source->blocks_held++;
    source->is_gather_pending = true;
    request = tac_seat_request_take(seat);
    request->kind = TAC_REQUEST_GATHER;
    request->source = source;
    request->block_count = 1;
    request->blocks[0] = entry->block;
    tac_seat_request_send(seat, request);
}

static void account_record(struct tac_merge_account *account, const struct tac_record *record,
                           struct tac_u128 hash)
{
    account->records++;
    account->tombstones += record->is_tombstone;
    account->bytes += record->key.size + record->value.size;
    account->sum = tac_u128_add(account->sum, hash);
}

/* The next record of the memtable in the job's range. */
static bool gather_next(struct tac_source *source, const struct tac_job *job,
                        struct tac_record_view *ret_view)
{
    if (source->has_held_back) {
        *ret_view = source->held_back;
        source->has_held_back = false;
        return true;
    }
    return tac_memtable_cursor_next(&source->cursor, ret_view) &&
           (job->key_end.size == 0 || tac_bytes_compare(ret_view->record.key, job->key_end) < 0);
}

/* Whether a range has deleted the newest version of a key. Keys come in order. */
static bool gather_is_deleted(struct tac_source *source, const struct tac_job *job,
                              const struct tac_record_view *view)
{
    struct tac_range_span *span = &source->gather_span;

    if (job->range_count == 0) {
        return false;
    }
    if (!source->has_gather_span ||
        (span->until.size > 0 && tac_bytes_compare(view->record.key, span->until) >= 0)) {
        *span = tac_ranges_span(job->ranges, job->range_count, view->record.key);
        source->has_gather_span = true;
    }
    return view->op < span->op;
}

static void gather_account(struct tac_merge_account *account, const struct tac_record *record)
{
    account_record(account, record,
                   tac_record_hash(record->key.data, record->key.size, record->value.size,
                                   record->is_tombstone));
}

/* Read stage. Nobody else touches the memtable part of the source meanwhile. */
uint64_t tac_seat_gather(struct tac_request *request)
{
    struct tac_source *source = request->source;
    struct tac_seat   *seat =
        (struct tac_seat *)((char *)request->owner - offsetof(struct tac_seat, actor));
    const struct tac_job          *job = seat->job;
    struct tac_value_block_builder builder;
    struct tac_record_view         view;
    uint64_t                       bytes_before = source->gathered.bytes;

    tac_value_block_builder_init(&builder, &seat->stages->geometry, &job->layout);
    tac_value_block_begin(&builder, request->blocks[0]->data);
    while (gather_next(source, job, &view)) {
        if (gather_is_deleted(source, job, &view)) { /* The older versions with it */
            do {
                gather_account(&source->gathered_deleted, &view.record);
            } while (tac_memtable_older(job->memtable, &view, &view));
            continue;
        }
        tac_maybe(TAC_MUTANT(FLUSH_OLDER) && tac_memtable_older(job->memtable, &view, &view));
        const struct tac_record *record = &view.record;
        struct tac_u128          hash = tac_record_hash(record->key.data, record->key.size,
                                                        record->value.size, record->is_tombstone);

        if (!tac_value_block_append(&builder, record, hash)) {
            source->held_back = view; /* Full: the first one of the next block. */
            source->has_held_back = true;
            break;
        }
        account_record(&source->gathered, record, hash);
        while (tac_memtable_older(job->memtable, &view, &view)) {
            gather_account(&source->gathered_overwritten, &view.record);
        }
    }
    if (builder.record_count > 0) {
        (void)tac_value_block_seal(&builder, job->tree, GATHERED_ADDRESS, job->sequence);
    } else {
        request->failed_block = GATHERED_NOTHING;
    }
    return source->gathered.bytes - bytes_before;
}

static void gather_arrived(struct tac_seat *seat, struct tac_source *source,
                           struct tac_request *request)
{
    uint32_t last = (source->window_head + source->window_count - 1) % TAC_READ_AHEAD_MAX;

    source->is_gather_pending = false;
    tac_assert(source->window[last].block == request->blocks[0]);
    if (request->failed_block != GATHERED_NOTHING) {
        source->window[last].is_ready = true;
        tac_block_state_change(request->blocks[0], TAC_BLOCK_READING, TAC_BLOCK_READ);
        return;
    }
    request->failed_block = 0;
    source->is_gathered_out = true;
    tac_seat_block_give_back(seat, request->blocks[0]);
    source->window_count--;
    source->blocks_held--;
}

/* ---- both ----------------------------------------------------------------------------------- */

void tac_seat_feed(struct tac_seat *seat)
{
    for (uint32_t i = 0; i < seat->source_count; i++) {
        struct tac_source *source = &seat->sources[i];

        if (source->has_ended) {
            continue;
        }
        if (source->is_memtable) {
            memtable_feed(seat, source);
        } else {
            tables_feed(seat, source);
        }
    }
}

/* The table that a finished read belongs to: the source may have opened a later one meanwhile. */
static struct tac_job_input *request_input(struct tac_source        *source,
                                           const struct tac_request *request)
{
    for (uint32_t i = 0; i < source->window_count; i++) {
        uint32_t slot = (source->window_head + i) % TAC_READ_AHEAD_MAX;

        if (source->window[slot].block == request->blocks[request->failed_block]) {
            return source->window[slot].input;
        }
    }
    return source->input;
}

/* A table that cannot be read is damage to a job, whatever the cause. The blocks are still in the
 * source; tac_seat_source_drop finds them there. */
static void read_failed(struct tac_seat *seat, struct tac_source *source,
                        const struct tac_request *request)
{
    uint32_t                          failed = request->failed_block;
    const struct tac_block_reference *reference = &request->references[failed];
    struct tac_error                  error;

    if (request->result == TACTUS_ECORRUPT) {
        /* The buffer is as the second read left it: this tells what is wrong with it. */
        int rv = tac_block_verify(request->blocks[failed]->data, &seat->stages->geometry,
                                  request->block_kinds[failed], reference, &error);

        tac_assert(rv == TACTUS_ECORRUPT);
    } else {
        tac_error_set(&error, TACTUS_ECORRUPT, "block %llu cannot be read: %s",
                      (unsigned long long)reference->address,
                      strerror(request->os_error != 0 ? request->os_error : EIO));
    }
    tac_seat_fail(seat, TACTUS_ECORRUPT, error.message, request_input(source, request)->table);
    source->is_index_pending = false;
}

void tac_seat_source_mail(struct tac_seat *seat, struct tac_request *request)
{
    struct tac_source *source = request->source;

    if (request->result != TACTUS_OK) {
        read_failed(seat, source, request);
        return;
    }
    if (request->kind == TAC_REQUEST_GATHER) {
        gather_arrived(seat, source, request);
        return;
    }
    if (request->block_kinds[0] == TAC_BLOCK_INDEX) {
        index_arrived(seat, source);
        return;
    }
    for (uint32_t i = 0; i < source->window_count; i++) {
        struct tac_window_entry *entry =
            &source->window[(source->window_head + i) % TAC_READ_AHEAD_MAX];

        for (uint32_t j = 0; j < request->block_count; j++) {
            if (entry->block == request->blocks[j]) {
                entry->is_ready = true;
                tac_block_state_change(entry->block, TAC_BLOCK_READING, TAC_BLOCK_READ);
            }
        }
    }
}

/* The merge's count of what it took of the source's table until now goes to that table. */
static void source_account(struct tac_seat *seat, struct tac_source *source, uint32_t source_index)
{
    struct tac_merge_account taken, *account;

    if (!source->is_memtable && source->accounted_input == NULL) {
        return; /* It never gave a block. */
    }
    taken = tac_merge_take_source_account(seat->merge, source_index);
    account =
        source->is_memtable ? &seat->job->memtable_consumed : &source->accounted_input->consumed;
    *account = tac_merge_account_add(*account, taken);
}

static bool source_has_more(const struct tac_source *source)
{
    if (source->window_count > 0 || source->is_index_pending || source->is_gather_pending) {
        return true;
    }
    if (source->is_memtable) {
        return !source->is_gathered_out;
    }
    return (source->has_index && source->block_next < source->block_end) ||
           source->input_next < source->input_end;
}

/* The merge takes in the source's block. */
static void pages_leave(struct tac_seat *seat, const struct tac_source *source)
{
    const struct tac_page_keeper *keeper = &seat->stages->keeper;
    uint32_t                      count = source->value_block.page_count;

    if (keeper->context == NULL) {
        return;
    }
    seat->pages_taken += count;
    if (!source->is_memtable) {
        seat->pages_kept += keeper->leave(keeper->context, seat->job->tree, source->current.address,
                                          &source->value_block);
    } else if (seat->stages->memtable_is_read) {
        seat->pages_kept += count;
    }
}

bool tac_seat_source_advance(struct tac_seat *seat, uint32_t source_index)
{
    struct tac_source       *source = &seat->sources[source_index];
    struct tac_window_entry *entry = &source->window[source->window_head];
    struct tac_error         error;

    if (source->current.block != NULL) {
        tac_seat_block_give_back(seat, source->current.block);
        source->current.block = NULL;
        source->blocks_held--;
    }
    if (source->window_count == 0 || !entry->is_ready) {
        if (source_has_more(source)) {
            return false;
        }
        source->has_ended = true;
        tac_merge_source_end(seat->merge, source_index);
        return true;
    }
    if (!source->is_memtable && source->accounted_input != entry->input) {
        source_account(seat, source, source_index);
        source->accounted_input = entry->input;
        tac_merge_source_from(seat->merge, source_index,
                              input_key_from(seat->job, entry->input->table));
        tac_merge_source_ranges(seat->merge, source_index, seat->job->ranges,
                                seat->job->range_count, entry->input->table->snapshot_min);
    }
    source->current = *entry;
    tac_block_state_change(source->current.block, TAC_BLOCK_READ, TAC_BLOCK_MERGING);
    source->window_head = (source->window_head + 1) % TAC_READ_AHEAD_MAX;
    source->window_count--;
    if (tac_value_block_decode(&source->value_block, source->current.block->data,
                               &seat->stages->geometry, &seat->job->layout, source->current.address,
                               &error) != TACTUS_OK) {
        tac_seat_fail(seat, error.code, error.message,
                      source->is_memtable ? NULL : entry->input->table);
        return false;
    }
    if (tac_merge_source_block(seat->merge, source_index, &source->value_block,
                               source->is_memtable ? UINT64_MAX : source->current.input->priority,
                               &error) != TACTUS_OK) {
        tac_seat_fail(seat, error.code, error.message,
                      source->is_memtable ? NULL : source->current.input->table);
        return false;
    }
    pages_leave(seat, source);
    return true;
}

void tac_seat_sources_account(struct tac_seat *seat)
{
    for (uint32_t i = 0; i < seat->source_count; i++) {
        source_account(seat, &seat->sources[i], i);
    }
}

void tac_seat_source_drop(struct tac_seat *seat, struct tac_source *source)
{
    if (source->current.block != NULL) {
        tac_seat_block_give_back(seat, source->current.block);
        source->current.block = NULL;
    }
    for (uint32_t i = 0; i < source->window_count; i++) {
        uint32_t slot = (source->window_head + i) % TAC_READ_AHEAD_MAX;

        tac_seat_block_give_back(seat, source->window[slot].block);
    }
    if (source->index_block != NULL) {
        tac_seat_block_give_back(seat, source->index_block);
        source->index_block = NULL;
    }
    source->window_count = 0;
    source->blocks_held = 0;
}
