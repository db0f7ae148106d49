/* SPDX-License-Identifier: Apache-2.0 */
/* A merge's frame: sources, their blocks and pages, the books. The loop itself is merge_kernel.h.
 *
 * The books cost the loop nothing: what a block contributes is known when it arrives (its stored
 * sum, or the hashes of the records in range) and is booked when the cursor leaves it. */
#include "lsm/merge.h"

#include <stdlib.h>

#include "base/mutant.h"
#include "lsm/merge_state.h"

struct tac_merge *tac_merge_new(void) { return calloc(1, sizeof(struct tac_merge)); }

void tac_merge_free(struct tac_merge *merge) { free(merge); }

uint64_t tac_merge_memory_bytes(void) { return sizeof(struct tac_merge); }

static enum tac_merge_status (*kernel_choose(const struct tac_layout *layout))(struct tac_merge *)
{
    if (layout->kind == TACTUS_LAYOUT_VARIABLE) {
        return tac_merge_kernel_variable;
    }
    tac_assert(layout->kind == TACTUS_LAYOUT_FIXED);
    switch (layout->key_size) {
    case 8:
        return tac_merge_kernel_fixed_8;
    case 16:
        return tac_merge_kernel_fixed_16;
    default:
        return tac_merge_kernel_fixed;
    }
}

void tac_merge_begin(struct tac_merge *merge, const struct tac_merge_options *options,
                     struct tac_table_builder *builder)
{
    tac_assert(options->source_count >= 1 && options->source_count <= TAC_MERGE_SOURCES_MAX);
    tac_assert(options->key_begin.size == 0 || options->key_end.size == 0 ||
               tac_bytes_compare(options->key_begin, options->key_end) < 0);
    merge->options = *options;
    merge->builder = builder;
    merge->kernel = kernel_choose(&options->layout);
    merge->record_bytes = options->layout.key_size + options->layout.value_size;
    merge->is_seeded = false;
    merge->source_needed = 0;
    merge->streak = 0;
    merge->last_source = TAC_MERGE_NO_SOURCE;
    merge->consumed_bytes = 0;
    merge->overwritten = (struct tac_merge_account){0};
    merge->tombstones_dropped = (struct tac_merge_account){0};
    merge->deleted = (struct tac_merge_account){0};
    for (uint32_t i = 0; i < options->source_count; i++) {
        struct tac_merge_source *source = &merge->sources[i];

        source->is_ended = false;
        source->has_block = false;
        source->key_last_size = 0;
        source->key_from = options->key_begin;
        source->range_count = 0;
        source->account = (struct tac_merge_account){0};
    }
}

/* ---- accounts ---- */

static void account_add(struct tac_merge_account *account, const struct tac_merge_account *more)
{
    account->records += more->records;
    account->tombstones += more->tombstones;
    account->bytes += more->bytes;
    account->sum = tac_u128_add(account->sum, more->sum);
}

void tac_merge_account_record(struct tac_merge_account *account, const struct tac_record *record)
{
    account->records++;
    account->tombstones += record->is_tombstone;
    account->bytes += record->key.size + record->value.size;
    account->sum =
        tac_u128_add(account->sum, tac_record_hash(record->key.data, record->key.size,
                                                   record->value.size, record->is_tombstone));
}

/* ---- pages ---- */

static struct tac_page source_page(const struct tac_merge        *merge,
                                   const struct tac_merge_source *source, uint32_t page_index)
{
    struct tac_page_entry entry = tac_value_block_page(&source->block, page_index);

    return (struct tac_page){
        .data = source->block.data + (size_t)entry.unit_first * source->block.page_size,
        .layout = &merge->options.layout,
        .size_bytes = (uint32_t)entry.unit_count * source->block.page_size,
        .record_count = entry.record_count,
        .flags = entry.flags,
    };
}

/* Payload of the page's records from source->index up to index_end. */
static uint64_t page_payload(const struct tac_merge *merge, const struct tac_merge_source *source,
                             const struct tac_page *page)
{
    uint64_t bytes;

    if (page->layout->kind == TACTUS_LAYOUT_FIXED) {
        bytes = (uint64_t)(source->index_end - source->index) * merge->record_bytes;
        for (uint32_t i = source->index; source->has_tombstones && i < source->index_end; i++) {
            bytes -= tac_fixed_is_tombstone(source->bitmap, i) ? page->layout->value_size : 0;
        }
        return bytes;
    }
    /* Records are packed downwards: from the end of the first to the beginning of the last. */
    return (uint64_t)(source->record + source->key_size + source->value_size -
                      tac_page_record(page, source->index_end - 1).key.data);
}

/* Puts the cursor on a record of a page of its block; those from record_end on come later. */
static void page_enter(struct tac_merge *merge, struct tac_merge_source *source,
                       uint32_t page_index, uint32_t record_index, uint32_t record_end)
{
    struct tac_page   page = source_page(merge, source, page_index);
    struct tac_record record = tac_page_record(&page, record_index);

    source->page_index = page_index;
    source->page = page.data;
    source->index = record_index;
    source->index_end = record_end;
    source->record = record.key.data;
    source->key_size = record.key.size;
    source->value_size = record.value.size;
    source->is_tombstone = record.is_tombstone;
    source->has_tombstones = false;
    if (page.layout->kind == TACTUS_LAYOUT_FIXED) {
        uint32_t bitmap_bytes = tac_fixed_bitmap_bytes(page.size_bytes, merge->record_bytes);

        source->has_tombstones = (page.flags & TAC_PAGE_TOMBSTONES) != 0;
        source->bitmap = bitmap_bytes == 0 ? NULL : page.data + page.size_bytes - bitmap_bytes;
        source->value_size = page.layout->value_size;
    }
    tac_assert(source->index < source->index_end);
    source->page_bytes = page_payload(merge, source, &page);
}

/* Records of a page of which one range has deleted all: consumed, and dropped. */
static void records_delete(struct tac_merge *merge, const struct tac_page *page, uint32_t begin,
                           uint32_t end)
{
    uint64_t bytes_before = merge->deleted.bytes;

    for (uint32_t i = begin; i < end; i++) {
        struct tac_record record = tac_page_record(page, i);

        tac_merge_account_record(&merge->deleted, &record);
    }
    merge->consumed_bytes += merge->deleted.bytes - bytes_before;
}

/* The newest op that has deleted the key, and those that follow up to *ret_until. Keys come in order:
 * it is looked for once a span, not once a page. */
static uint64_t source_deleted_op(struct tac_merge_source *source, struct tac_bytes key,
                                  struct tac_bytes *ret_until)
{
    struct tac_range_span *span = &source->span;

    if (!source->has_span || (span->until.size > 0 && tac_bytes_compare(key, span->until) >= 0)) {
        *span = tac_ranges_span(source->ranges, source->range_count, key);
        source->has_span = true;
    }
    *ret_until = span->until;
    return span->op;
}

/* Enters the page at the first record from `record` on, and before `end`, that no range has
 * deleted. False: there is none. */
static bool stretch_enter(struct tac_merge *merge, struct tac_merge_source *source,
                          uint32_t page_index, uint32_t record, uint32_t end)
{
    struct tac_page page = source_page(merge, source, page_index);

    while (record < end) {
        struct tac_bytes until;
        uint64_t         op = source_deleted_op(source, tac_page_record(&page, record).key, &until);
        uint32_t         stop = end;
        bool             is_equal;

        if (until.size > 0) {
            stop = tac_page_lower_bound(&page, until, record, &is_equal);
            stop = stop < end ? stop : end;
        }
        tac_assert(stop > record);
        if (op <= source->op) {
            page_enter(merge, source, page_index, record, stop);
            return true;
        }
        records_delete(merge, &page, record, stop);
        record = stop;
    }
    return false;
}

static uint32_t page_record_end(const struct tac_merge        *merge,
                                const struct tac_merge_source *source, uint32_t page_index)
{
    return page_index == source->page_last ? source->page_last_end
                                           : source_page(merge, source, page_index).record_count;
}

/* Puts the cursor on the first record of the block from there on that is to be taken. False: there
 * is none. */
static bool block_enter(struct tac_merge *merge, struct tac_merge_source *source,
                        uint32_t page_index, uint32_t record)
{
    for (; page_index <= source->page_last; page_index++, record = 0) {
        uint32_t end = page_record_end(merge, source, page_index);

        if (source->range_count == 0 && record < end) {
            page_enter(merge, source, page_index, record, end);
            return true;
        }
        if (source->range_count > 0 && stretch_enter(merge, source, page_index, record, end)) {
            return true;
        }
    }
    return false;
}

bool tac_merge_page_next(struct tac_merge *merge, struct tac_merge_source *source)
{
    tac_assert(source->has_block && source->index == source->index_end);
    merge->consumed_bytes += source->page_bytes;
    if (block_enter(merge, source, source->page_index, source->index_end)) {
        return true;
    }
    /* The last key is this block's last; its bytes must outlive the block. */
    tac_assert(merge->last_source == (uint32_t)(source - merge->sources));
    if (!TAC_MUTANT(MERGE_KEEPS_POINTER)) {
        memcpy(merge->key_kept, merge->last_key, merge->last_key_size);
        merge->last_key = merge->key_kept;
    }
    account_add(&source->account, &source->block_account);
    source->has_block = false;
    source->is_ended = source->is_last;
    return false;
}

/* ---- blocks ---- */

struct position {
    uint32_t page, record;
};

/* The first record of the block with a key >= key; {page_count, 0}: none. */
static struct position block_lower_bound(const struct tac_merge        *merge,
                                         const struct tac_merge_source *source,
                                         struct tac_bytes               key)
{
    uint32_t low = 0;
    uint32_t high = source->block.page_count;

    /* The first page whose last key is not below the key. */
    while (low < high) {
        uint32_t        middle = low + (high - low) / 2;
        struct tac_page page = source_page(merge, source, middle);

        if (tac_bytes_compare(tac_page_record(&page, page.record_count - 1).key, key) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low < source->block.page_count) {
        struct tac_page page = source_page(merge, source, low);
        bool            is_equal;

        return (struct position){
            low, tac_page_lower_bound(&page, key, page.record_count / 2, &is_equal)};
    }
    return (struct position){low, 0};
}

/* What of the block is in range: by its stored sum, or record by record where it is cut. */
static void block_account(const struct tac_merge *merge, struct tac_merge_source *source,
                          struct position begin, struct position end)
{
    struct tac_merge_account *account = &source->block_account;

    *account = (struct tac_merge_account){0};
    if (begin.page == 0 && begin.record == 0 && end.page == source->block.page_count) {
        account->records = source->block.record_count;
        account->tombstones = source->block.tombstone_count;
        account->bytes = source->block.payload_bytes;
        account->sum = source->block.sum;
        return;
    }
    for (uint32_t i = begin.page; i < source->block.page_count && i <= end.page; i++) {
        struct tac_page page = source_page(merge, source, i);
        uint32_t        stop = i == end.page ? end.record : page.record_count;

        for (uint32_t j = i == begin.page ? begin.record : 0; j < stop; j++) {
            struct tac_record record = tac_page_record(&page, j);

            tac_merge_account_record(account, &record);
        }
    }
}

/* The block's keys from `begin` on must be above those of the source's blocks before; what an
 * earlier slice took below `begin` may well overlap them. */
static int block_order_check(struct tac_merge *merge, struct tac_merge_source *source,
                             struct position begin, struct tac_error *error)
{
    struct tac_page  first = source_page(merge, source, begin.page);
    struct tac_page  last = source_page(merge, source, source->block.page_count - 1);
    struct tac_bytes key = tac_page_record(&last, last.record_count - 1).key;
    uint8_t         *key_last = merge->key_last[source - merge->sources];

    if (source->key_last_size > 0 &&
        tac_bytes_compare((struct tac_bytes){key_last, source->key_last_size},
                          tac_page_record(&first, begin.record).key) >= 0) {
        return tac_error_set(error, TACTUS_ECORRUPT, "value blocks out of order");
    }
    memcpy(key_last, key.data, key.size);
    source->key_last_size = key.size;
    return TACTUS_OK;
}

int tac_merge_source_block(struct tac_merge *merge, uint32_t source_number,
                           const struct tac_value_block *block, uint64_t stamp,
                           struct tac_error *error)
{
    struct tac_merge_source *source = &merge->sources[source_number];
    struct position          begin = {0, 0}, end = {block->page_count, 0};
    int                      rv;

    tac_assert(source_number < merge->options.source_count);
    tac_assert(!merge->is_seeded || source_number == merge->source_needed);
    tac_assert(!source->has_block && !source->is_ended && block->page_count > 0);
    source->block = *block;
    source->stamp = stamp;
    if (source->key_from.size > 0) {
        begin = block_lower_bound(merge, source, source->key_from);
    }
    rv =
        begin.page < block->page_count ? block_order_check(merge, source, begin, error) : TACTUS_OK;
    if (rv != TACTUS_OK) {
        return rv;
    }
    if (merge->options.key_end.size > 0) {
        end = block_lower_bound(merge, source, merge->options.key_end);
    }
    source->is_last = end.page < block->page_count;
    if (TAC_MUTANT(JOB_END_INCLUSIVE) && source->is_last) {
        end.record++;
    }
    if (begin.page > end.page || (begin.page == end.page && begin.record >= end.record)) {
        source->is_ended = source->is_last; /* Nothing in range; else the next block may have. */
        return TACTUS_OK;
    }
    block_account(merge, source, begin, end);
    source->page_last = end.record > 0 ? end.page : end.page - 1;
    source->page_last_end =
        end.record > 0 ? end.record : source_page(merge, source, source->page_last).record_count;
    source->has_block = block_enter(merge, source, begin.page, begin.record);
    if (!source->has_block) { /* Ranges have deleted all of it. */
        account_add(&source->account, &source->block_account);
        source->is_ended = source->is_last;
    }
    return TACTUS_OK;
}

void tac_merge_source_from(struct tac_merge *merge, uint32_t source_number,
                           struct tac_bytes key_from)
{
    struct tac_merge_source *source = &merge->sources[source_number];
    struct tac_bytes         key_begin = merge->options.key_begin;

    tac_assert(source_number < merge->options.source_count);
    source->key_from = tac_bytes_compare(key_from, key_begin) > 0 ? key_from : key_begin;
}

void tac_merge_source_ranges(struct tac_merge *merge, uint32_t source_number,
                             const struct tac_range *ranges, uint32_t count, uint64_t op)
{
    struct tac_merge_source *source = &merge->sources[source_number];

    tac_assert(source_number < merge->options.source_count && !source->has_block);
    source->ranges = ranges;
    source->range_count = count;
    source->op = op;
    source->has_span = false;
}

void tac_merge_source_end(struct tac_merge *merge, uint32_t source_number)
{
    struct tac_merge_source *source = &merge->sources[source_number];

    tac_assert(source_number < merge->options.source_count);
    tac_assert(!source->has_block);
    source->is_ended = true;
}

/* ---- what the kernels call ---- */

bool tac_merge_match(const struct tac_merge *merge, uint32_t a, uint32_t b)
{
    const struct tac_merge_source *source_a = &merge->sources[a];
    const struct tac_merge_source *source_b = &merge->sources[b];
    int                            order;

    tac_assert(a != b);
    if (source_a->is_ended || source_b->is_ended) {
        return source_b->is_ended && (!source_a->is_ended || a < b);
    }
    order = tac_bytes_compare((struct tac_bytes){source_a->record, source_a->key_size},
                              (struct tac_bytes){source_b->record, source_b->key_size});
    if (order != 0) {
        return order < 0;
    }
    /* Equal stamps are not given; a damaged file that has some still gets one order. */
    return source_a->stamp != source_b->stamp ? source_a->stamp > source_b->stamp : a < b;
}

static bool has_buffers(const struct tac_merge *merge)
{
    tac_assert(merge->builder->buffers_taken <= merge->buffers_stop);
    return tac_table_builder_buffers_needed(merge->builder) <=
           merge->buffers_stop - merge->builder->buffers_taken;
}

bool tac_merge_append(struct tac_merge *merge, const struct tac_record *record,
                      struct tac_u128 hash)
{
    if (!has_buffers(merge)) {
        return TAC_MUTANT(RECORD_LOST);
    }
    tac_table_builder_append(merge->builder, record, hash);
    return true;
}

enum tac_merge_status tac_merge_end(struct tac_merge *merge)
{
    for (uint32_t i = 0; i < merge->options.source_count; i++) {
        tac_assert(merge->sources[i].is_ended && !merge->sources[i].has_block);
    }
    if (!has_buffers(merge)) {
        return TAC_MERGE_NEEDS_BUFFER;
    }
    tac_table_builder_finish(merge->builder);
    return TAC_MERGE_DONE;
}

/* ---- running ---- */

enum tac_merge_status tac_merge_run(struct tac_merge *merge, uint64_t budget_bytes,
                                    uint32_t buffers_available)
{
    tac_assert(merge->builder != NULL);
    /* Before the first tournament every source must have a block or have ended; after that the one
     * that was asked for must. */
    while (merge->source_needed != TAC_MERGE_NO_SOURCE) {
        const struct tac_merge_source *source = &merge->sources[merge->source_needed];

        if (!source->has_block && !source->is_ended) {
            return TAC_MERGE_NEEDS_BLOCK;
        }
        if (merge->is_seeded || merge->source_needed + 1 == merge->options.source_count) {
            break;
        }
        merge->source_needed++;
    }
    merge->consumed_stop = budget_bytes > UINT64_MAX - merge->consumed_bytes
                               ? UINT64_MAX
                               : merge->consumed_bytes + budget_bytes;
    merge->buffers_stop = merge->builder->buffers_taken + buffers_available;
    return merge->kernel(merge);
}

uint32_t tac_merge_source_needed(const struct tac_merge *merge)
{
    tac_assert(merge->source_needed < merge->options.source_count);
    return merge->source_needed;
}

/* ---- the books ---- */

uint64_t tac_merge_consumed_bytes(const struct tac_merge *merge) { return merge->consumed_bytes; }

struct tac_merge_account tac_merge_take_source_account(struct tac_merge *merge,
                                                       uint32_t          source_number)
{
    struct tac_merge_source *source = &merge->sources[source_number];
    struct tac_merge_account account = source->account;

    tac_assert(source_number < merge->options.source_count);
    source->account = (struct tac_merge_account){0};
    return account;
}

struct tac_merge_account tac_merge_overwritten(const struct tac_merge *merge)
{
    return merge->overwritten;
}

struct tac_merge_account tac_merge_tombstones_dropped(const struct tac_merge *merge)
{
    return merge->tombstones_dropped;
}

struct tac_merge_account tac_merge_deleted(const struct tac_merge *merge) { return merge->deleted; }
