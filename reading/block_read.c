/* SPDX-License-Identifier: Apache-2.0 */
#include "reading/block_read.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/mutant.h"
#include "queues/atomics.h"

/* ---- whole blocks ---- */

static int block_address_check(const struct tac_read_side *side, uint64_t address,
                               struct tac_error *error)
{
    if (address > (uint64_t)INT64_MAX / side->geometry.block_size - 1) {
        return tac_error_set(error, TACTUS_ECORRUPT, "block %" PRIu64 ": no such address", address);
    }
    return TACTUS_OK;
}

struct tac_cache_key tac_block_key(enum tac_block_kind               kind,
                                   const struct tac_block_reference *reference)
{
    tac_assert(kind == TAC_BLOCK_INDEX || kind == TAC_BLOCK_FILTER);
    return (struct tac_cache_key){reference->address, reference->checksum.low, kind};
}

struct tac_cache_frame *tac_block_frame(struct tac_read_side *side, const struct tac_cache_key *key)
{
    struct tac_cache_frame *frame = tac_cache_claim(side->index_cache, key);

    return frame != NULL
               ? frame
               : tac_cache_frame_private(side->geometry.block_size, sizeof(struct tac_index_block));
}

int tac_block_check(const struct tac_read_side *side, enum tac_block_kind kind,
                    const struct tac_block_reference *reference, struct tac_cache_frame *frame,
                    struct tac_error *error)
{
    int rv = tac_block_verify(frame->data, &side->geometry, kind, reference, error);

    if (rv == TACTUS_OK && kind == TAC_BLOCK_INDEX) {
        rv = tac_index_block_decode(frame->extra, frame->data, &side->geometry, reference->address,
                                    error);
    }
    return rv;
}

static int block_fill(struct tac_read_side *side, enum tac_block_kind kind,
                      const struct tac_block_reference *reference, struct tac_cache_frame *frame,
                      struct tac_error *error)
{
    const struct tac_geometry *geometry = &side->geometry;
    int                        rv = block_address_check(side, reference->address, error);

    if (rv != TACTUS_OK) {
        return rv;
    }
    rv = TACTUS_ECORRUPT;
    for (uint32_t attempt = 0; attempt < TAC_READ_ATTEMPTS && rv != TACTUS_OK; attempt++) {
        rv = side->storage->ops->read(side->storage, frame->data, geometry->block_size,
                                      reference->address * geometry->block_size, error);
        if (rv == TACTUS_OK) {
            rv = tac_block_check(side, kind, reference, frame, error);
        } else {
            (void)tac_error_wrap(error, "block %" PRIu64, reference->address);
        }
    }
    return rv;
}

struct tac_cache_frame *tac_block_find(struct tac_read_side *side, enum tac_block_kind kind,
                                       const struct tac_block_reference *reference,
                                       struct tac_read_counts           *counts)
{
    struct tac_cache_key    key = tac_block_key(kind, reference);
    struct tac_cache_frame *frame = tac_cache_find(side->index_cache, &key);

    counts->hits += frame != NULL;
    return frame;
}

void tac_table_index_prefetch(const struct tac_read_side *side, const struct tac_table *table,
                              bool for_page)
{
    uint32_t extra_bytes = for_page ? offsetof(struct tac_index_block, block_size) : 0;

    tac_cache_prefetch_hinted(side->index_cache, &table->index_hint, extra_bytes);
}

static struct tac_cache_frame *index_find(struct tac_read_side *side, struct tac_table *table,
                                          struct tac_read_counts *counts)
{
    struct tac_cache_key key = {table->index.address, table->index.checksum.low, TAC_BLOCK_INDEX};
    struct tac_cache_frame *frame =
        tac_cache_find_hinted(side->index_cache, &key, &table->index_hint);

    counts->hits += frame != NULL;
    return frame;
}

struct tac_cache_frame *tac_table_index_look(struct tac_read_side *side, struct tac_table *table,
                                             uint64_t view_bar, struct tac_read_counts *counts,
                                             bool *ret_is_kept)
{
    struct tac_cache_frame *frame;

    if (view_bar == TAC_VIEW_BAR_NEVER) {
        *ret_is_kept = false;
        return index_find(side, table, counts);
    }
    frame = tac_atomic_load_acquire_ptr(&table->index_kept);
    tac_yield_point();
    *ret_is_kept = true;
    if (frame != NULL) {
        counts->hits++;
        return frame;
    }
    frame = index_find(side, table, counts);
    *ret_is_kept = frame != NULL && tac_cache_keep(side->index_cache, frame);
    if (*ret_is_kept) {
        /* Who keeps a frame is the only one. But a block may be in two frames, each kept by a reader:
         * the descriptor can let one of them go. */
        *ret_is_kept = tac_atomic_compare_exchange_ptr(&table->index_kept, &(void *){NULL}, frame);
        if (*ret_is_kept) {
            tac_cache_unpin(frame);
        } else {
            tac_cache_let_go(side->index_cache, frame);
        }
    }
    return frame;
}

static void frame_let_go(struct tac_read_side *side, struct tac_cache_frame *frame)
{
    if (frame != NULL) {
        tac_cache_let_go(side->index_cache, frame);
    }
}

void tac_table_index_retire(struct tac_read_side *side, struct tac_table *table)
{
    struct tac_cache_frame *frame = tac_atomic_load_acquire_ptr(&table->index_kept);

    frame_let_go(side, table->index_leaving);
    table->index_leaving = NULL;
    if (frame != NULL && (table->is_retained || tac_cache_is_gone(frame))) {
        tac_atomic_store_release_ptr(&table->index_kept, NULL);
        table->index_leaving = frame;
    }
}

void tac_table_index_let_go(struct tac_read_side *side, struct tac_table *table)
{
    frame_let_go(side, tac_atomic_load_acquire_ptr(&table->index_kept));
    frame_let_go(side, table->index_leaving);
    table->index_kept = table->index_leaving = NULL;
}

int tac_block_read(struct tac_read_side *side, enum tac_block_kind kind,
                   const struct tac_block_reference *reference, struct tac_read_counts *counts,
                   struct tac_cache_frame **ret_frame, struct tac_error *error)
{
    struct tac_cache_key    key = tac_block_key(kind, reference);
    struct tac_cache_frame *frame = tac_block_find(side, kind, reference, counts);
    int                     rv;

    if (frame != NULL) {
        *ret_frame = frame;
        return TACTUS_OK;
    }
    counts->misses++;
    frame = tac_block_frame(side, &key);
    if (frame == NULL) {
        return tac_error_set(error, TACTUS_ENOMEM, "no memory to read block %" PRIu64,
                             reference->address);
    }
    rv = block_fill(side, kind, reference, frame, error);
    if (rv != TACTUS_OK) {
        tac_cache_abandon(frame);
        return rv;
    }
    tac_cache_publish(frame);
    *ret_frame = frame;
    return TACTUS_OK;
}

void tac_block_offer(struct tac_read_side *side, enum tac_block_kind kind,
                     const struct tac_block_reference *reference, const uint8_t *data)
{
    struct tac_cache_key    key = tac_block_key(kind, reference);
    struct tac_cache_frame *frame = tac_cache_claim(side->index_cache, &key);
    struct tac_error        error;

    if (frame == NULL) {
        return;
    }
    memcpy(frame->data, data, side->geometry.block_size);
    if (kind == TAC_BLOCK_INDEX) {
        int rv = tac_index_block_decode(frame->extra, frame->data, &side->geometry,
                                        reference->address, &error);

        tac_assert(rv == TACTUS_OK); /* It is of our own making. */
    }
    tac_cache_publish(frame);
    tac_cache_unpin(frame);
}

/* ---- pages ---- */

/* The storage reads aligned ranges; pages smaller than the alignment lie inside one. */
uint64_t tac_units_buffer_bytes(const struct tac_read_side *side, uint32_t unit_count)
{
    uint64_t bytes = (uint64_t)unit_count * side->geometry.page_size;
    uint64_t alignment = side->storage->alignment_bytes;

    return side->geometry.page_size % alignment == 0 ? bytes
                                                     : tac_round_up(bytes, alignment) + alignment;
}

int tac_units_range(const struct tac_read_side *side, uint64_t address, uint32_t unit_first,
                    uint32_t unit_count, struct tac_units_range *ret_range, struct tac_error *error)
{
    uint64_t alignment = side->storage->alignment_bytes;
    uint64_t page_bytes = side->geometry.page_size;
    uint64_t offset, begin;
    int      rv = block_address_check(side, address, error);

    tac_assert(unit_first >= 1 && unit_count >= 1);
    if (rv != TACTUS_OK) {
        return rv;
    }
    offset = address * side->geometry.block_size + unit_first * page_bytes;
    begin = offset - offset % alignment;
    *ret_range = (struct tac_units_range){
        .begin = begin,
        .end = tac_round_up(offset + unit_count * page_bytes, alignment),
        .skip = offset - begin,
    };
    tac_assert(ret_range->end - begin <= tac_units_buffer_bytes(side, unit_count));
    return TACTUS_OK;
}

int tac_units_read(struct tac_read_side *side, uint64_t address, uint32_t unit_first,
                   uint32_t unit_count, uint8_t *buffer, const uint8_t **ret_data,
                   struct tac_error *error)
{
    struct tac_units_range range;
    int rv = tac_units_range(side, address, unit_first, unit_count, &range, error);

    if (rv != TACTUS_OK) {
        return rv;
    }
    rv = side->storage->ops->read(side->storage, buffer, range.end - range.begin, range.begin,
                                  error);
    if (rv != TACTUS_OK) {
        return tac_error_wrap(error, "block %" PRIu64, address);
    }
    *ret_data = buffer + range.skip;
    return TACTUS_OK;
}

struct tac_page tac_page_of_entry(const struct tac_read_side  *side,
                                  const struct tac_page_entry *entry,
                                  const struct tac_layout *layout, const uint8_t *data)
{
    return (struct tac_page){
        .data = data,
        .layout = layout,
        .size_bytes = (uint32_t)entry->unit_count * side->geometry.page_size,
        .record_count = entry->record_count,
        .flags = entry->flags,
    };
}

int tac_page_verify(const struct tac_read_side *side, uint64_t address,
                    const struct tac_page_entry *entry, const struct tac_page *page,
                    struct tac_error *error)
{
    struct tac_u128 checksum =
        tac_checksum(page->data, page->size_bytes, side->geometry.checksum_seed);

    tac_assert(page->size_bytes == (uint32_t)entry->unit_count * side->geometry.page_size);
    if (!tac_u128_equal(checksum, entry->checksum) && !TAC_MUTANT(PAGE_NOT_CHECKED)) {
        return tac_error_set(error, TACTUS_ECORRUPT,
                             "block %" PRIu64 ": wrong checksum of the page at unit %u: "
                             "found " TAC_U128_FORMAT ", expected " TAC_U128_FORMAT,
                             address, entry->unit_first, TAC_U128_ARGUMENTS(checksum),
                             TAC_U128_ARGUMENTS(entry->checksum));
    }
    if (tac_page_check(page, error) != TACTUS_OK) {
        (void)tac_error_wrap(error, "block %" PRIu64 ": page at unit %u", address,
                             entry->unit_first);
        return TACTUS_ECORRUPT;
    }
    return TACTUS_OK;
}

/* Reads the page into the frame and checks it. A frame of the cache has no room for an aligned
 * range around a page that is smaller than the storage's alignment: then by way of memory taken for
 * the moment. */
static int page_fill(struct tac_read_side *side, uint64_t address,
                     const struct tac_page_entry *entry, struct tac_cache_frame *frame,
                     uint64_t frame_bytes, struct tac_page *page, struct tac_error *error)
{
    uint64_t buffer_bytes = tac_units_buffer_bytes(side, entry->unit_count);
    uint8_t *bounce = NULL;
    int      rv = TACTUS_ECORRUPT;

    if (buffer_bytes > frame_bytes) {
        bounce = aligned_alloc(side->storage->alignment_bytes, buffer_bytes);
        if (bounce == NULL) {
            return tac_error_set(error, TACTUS_ENOMEM, "no memory to read a page");
        }
    }
    for (uint32_t attempt = 0; attempt < TAC_READ_ATTEMPTS && rv != TACTUS_OK; attempt++) {
        rv = tac_units_read(side, address, entry->unit_first, entry->unit_count,
                            bounce != NULL ? bounce : frame->data, &page->data, error);
        if (rv == TACTUS_OK) {
            rv = tac_page_verify(side, address, entry, page, error);
        }
    }
    if (bounce != NULL && rv == TACTUS_OK) {
        memcpy(frame->data, page->data, page->size_bytes);
        page->data = frame->data;
    }
    free(bounce);
    return rv;
}

struct tac_cache_key tac_page_key(uint64_t address, const struct tac_page_entry *entry,
                                  uint32_t tree)
{
    tac_assert(tree < TACTUS_TREES_MAX);
    return (struct tac_cache_key){
        .address = address,
        .checksum_low = entry->checksum.low,
        .detail = entry->unit_first | (uint64_t)entry->record_count << 16 |
                  (uint64_t)entry->flags << 32 | (uint64_t)tree << 48,
    };
}

struct tac_page_place tac_page_place_of(const struct tac_index_block *index, struct tac_bytes key)
{
    uint32_t              page = tac_index_find_page(index, key);
    struct tac_page_place place = tac_page_place_at(index, page);

    place.record = tac_index_guess_record(index, page, key);
    return place;
}

struct tac_page_place tac_page_place_at(const struct tac_index_block *index, uint32_t page)
{
    return (struct tac_page_place){
        .address = tac_index_block_address(index, tac_index_block_of_page(index, page)),
        .entry = tac_index_page(index, page),
        .page = page,
    };
}

void tac_page_prefetch_set(struct tac_read_side *side, const struct tac_page_place *place,
                           uint32_t tree)
{
    struct tac_cache_key key = tac_page_key(place->address, &place->entry, tree);

    tac_cache_prefetch_set(side->page_cache, &key);
}

/* Records of a page are of about the same size. */
void tac_page_prefetch_frame(struct tac_read_side *side, const struct tac_page_place *place,
                             uint32_t tree)
{
    struct tac_cache_key key = tac_page_key(place->address, &place->entry, tree);
    uint32_t             page_bytes = place->entry.unit_count * side->geometry.page_size;

    tac_cache_prefetch_frame(side->page_cache, &key,
                             page_bytes / place->entry.record_count * place->record);
}

struct tac_cache_frame *tac_page_find(struct tac_read_side *side, uint64_t address,
                                      const struct tac_page_entry *entry, uint32_t tree,
                                      struct tac_read_counts *counts)
{
    struct tac_cache_key    key = tac_page_key(address, entry, tree);
    struct tac_cache_frame *frame =
        entry->unit_count == 1 ? tac_cache_find(side->page_cache, &key) : NULL;

    counts->hits += frame != NULL;
    counts->misses += frame == NULL;
    return frame;
}

void tac_page_offer(struct tac_read_side *side, uint64_t address,
                    const struct tac_page_entry *entry, uint32_t tree, const uint8_t *data,
                    bool replaces)
{
    struct tac_cache_key    key = tac_page_key(address, entry, tree);
    struct tac_cache_frame *frame;

    if (entry->unit_count != 1) {
        return;
    }
    frame = tac_cache_find(side->page_cache, &key);
    if (frame != NULL) { /* Read for a page before it, and there already */
        tac_cache_unpin(frame);
        return;
    }
    frame = replaces ? tac_cache_claim(side->page_cache, &key)
                     : tac_cache_claim_empty(side->page_cache, &key);
    if (frame != NULL) {
        memcpy(frame->data, data, side->geometry.page_size);
        tac_cache_publish(frame);
        tac_cache_unpin(frame);
    }
}

int tac_page_read(struct tac_read_side *side, uint64_t address, const struct tac_page_entry *entry,
                  uint32_t tree, const struct tac_layout *layout, struct tac_read_counts *counts,
                  struct tac_cache_frame **ret_frame, struct tac_page *ret_page,
                  struct tac_error *error)
{
    struct tac_cache_key    key = tac_page_key(address, entry, tree);
    struct tac_page         page = tac_page_of_entry(side, entry, layout, NULL);
    struct tac_cache_frame *frame = tac_page_find(side, address, entry, tree, counts);
    uint64_t                frame_bytes = page.size_bytes;
    int                     rv;

    if (frame != NULL) {
        page.data = frame->data;
        *ret_page = page;
        *ret_frame = frame;
        return TACTUS_OK;
    }
    if (entry->unit_count == 1) {
        frame = tac_cache_claim(side->page_cache, &key);
    }
    if (frame == NULL) {
        frame_bytes = tac_units_buffer_bytes(side, entry->unit_count);
        frame = tac_cache_frame_private(frame_bytes, 0);
    }
    if (frame == NULL) {
        return tac_error_set(error, TACTUS_ENOMEM, "no memory to read a page");
    }
    rv = page_fill(side, address, entry, frame, frame_bytes, &page, error);
    if (rv != TACTUS_OK) {
        tac_cache_abandon(frame);
        return rv;
    }
    tac_cache_publish(frame);
    *ret_page = page;
    *ret_frame = frame;
    return TACTUS_OK;
}
