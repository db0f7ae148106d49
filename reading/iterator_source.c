/* SPDX-License-Identifier: Apache-2.0 */
/* The happy path of a run: a seek finds the table in the view, its page in the index block, and
 * takes that one page by way of the cache. So does a walk as long as its pages are there. What is
 * not is read in chunks past the cache, each of twice as many pages as the one before, up to most
 * of a value block. The pages of the first chunks, of a short walk, then go into the cache as those
 * of a get would; those of a long walk, which may come once, only take frames that are empty. A
 * table that only follows is a bound until it is reached.
 *
 * Possible failures are: the view has expired; a read of the storage; damage. What looks like
 * damage in an expired view is a block that has been given a new life, and is reported as expired.
 * After a failure the source must be positioned anew; its head is as it was, or lost to the next
 * read. */
#include "reading/iterator_source.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/mutant.h"
#include "base/units.h"

/* ---- the guard ---- */

static int source_expired(struct tac_error *error)
{
    return tac_error_set(error, TACTUS_EEXPIRED,
                         "the iterator is older than a bar: open another one at its last key");
}

/* Enters the guard; on failure the view must not be looked into, and nothing is to be left. */
static int view_enter(const struct tac_source_shared *shared, struct tac_read_ticket *ret_ticket,
                      struct tac_error *error)
{
    struct tac_read_ticket ticket = tac_read_side_enter(shared->side);

    if (tac_read_side_is_stale(shared->side, shared->view_bar)) {
        tac_read_side_leave(shared->side, ticket);
        return source_expired(error);
    }
    *ret_ticket = ticket;
    return TACTUS_OK;
}

/* ---- life ---- */

uint64_t tac_source_near_bytes(const struct tac_source_shared *shared, bool is_run)
{
    return tac_round_up(is_run ? 2 * shared->layout.key_size : shared->record_bytes, 8);
}

void tac_source_init_memtable(struct tac_source *source, const struct tac_source_shared *shared,
                              uint32_t rank, struct tac_memtable_reader *reader, uint8_t *near)
{
    tac_assert(rank < 2 && reader != NULL);
    tac_assert(shared->record_bytes > 0);
    *source = (struct tac_source){.rank = rank, .reader = reader, .near = near};
}

void tac_source_init_run(struct tac_source *source, const struct tac_source_shared *shared,
                         uint32_t level, uint32_t run, uint8_t *near)
{
    tac_assert(level < TACTUS_LEVELS_MAX);
    memset(source, 0, offsetof(struct tac_source, pages)); /* Those are only read when written */
    source->rank = 2 + level;
    source->run = run;
    source->near = near;
    source->key_min = near;
    source->key_max = near + shared->layout.key_size;
}

/* No page is there any more. */
static void chunk_drop(struct tac_source *source)
{
    if (source->frame != NULL) {
        tac_cache_unpin(source->frame);
        source->frame = NULL;
    }
    source->page_first = source->page_count = 0;
}

void tac_source_finish(struct tac_source *source)
{
    chunk_drop(source);
    free(source->far);
    source->far = NULL;
}

static struct tac_bytes source_key_min(const struct tac_source *source)
{
    return (struct tac_bytes){source->key_min, source->key_min_size};
}

static struct tac_bytes source_key_max(const struct tac_source *source)
{
    return (struct tac_bytes){source->key_max, source->key_max_size};
}

/* ---- memtables ---- */

/* Takes what the reader gave into the source's memory. Inside the guard. */
static void memtable_head(struct tac_source *source, const struct tac_source_shared *shared,
                          bool is_found, const struct tac_record_view *view)
{
    const struct tac_record *record = &view->record;

    if (!is_found) {
        source->state = TAC_SOURCE_END;
        return;
    }
    tac_assert(record->key.size + record->value.size <= shared->record_bytes);
    memcpy(source->near, record->key.data, record->key.size);
    if (record->value.size > 0) {
        memcpy(source->near + record->key.size, record->value.data, record->value.size);
    }
    source->head = (struct tac_record){
        .key = {source->near, record->key.size},
        .value = {source->near + record->key.size, record->value.size},
        .is_tombstone = record->is_tombstone,
    };
    source->op = view->op;
    source->state = TAC_SOURCE_RECORD;
}

/* Inside the guard. */
static void memtable_seek(struct tac_source *source, const struct tac_source_shared *shared,
                          struct tac_bytes key)
{
    struct tac_memtable_reader *reader = source->reader;
    struct tac_record_view      view;
    bool                        is_found;

    if (key.size == 0) {
        is_found = shared->is_backward ? tac_memtable_reader_last(reader, &view)
                                       : tac_memtable_reader_first(reader, &view);
    } else {
        is_found = shared->is_backward ? tac_memtable_reader_seek_back(reader, key, &view)
                                       : tac_memtable_reader_seek(reader, key, &view);
    }
    memtable_head(source, shared, is_found, &view);
}

static int memtable_advance(struct tac_source *source, const struct tac_source_shared *shared,
                            struct tac_error *error)
{
    struct tac_record_view view;
    struct tac_read_ticket ticket;
    bool                   is_found;
    int                    rv = view_enter(shared, &ticket, error);

    if (rv != TACTUS_OK) {
        return rv;
    }
    is_found = shared->is_backward ? tac_memtable_reader_previous(source->reader, &view)
                                   : tac_memtable_reader_next(source->reader, &view);
    memtable_head(source, shared, is_found, &view);
    tac_read_side_leave(shared->side, ticket);
    return TACTUS_OK;
}

/* ---- runs: which table ---- */

/* The version's run. Inside the guard. */
static const struct tac_version_run *run_in_view(const struct tac_source        *source,
                                                 const struct tac_source_shared *shared)
{
    const struct tac_version_level *level =
        &shared->view->version->trees[shared->tree].levels[source->rank - 2];

    tac_assert(source->run < level->run_count);
    return &level->runs[source->run];
}

/* The current table. Inside the guard. */
static struct tac_table *run_table_in_view(const struct tac_source        *source,
                                           const struct tac_source_shared *shared)
{
    return run_in_view(source, shared)->tables[source->table];
}

/* Makes a table of the run the current one, with the edge that comes first as bound; beyond the
 * last table (or before the first: the number is then above every other): the end. Inside the
 * guard. */
static void run_table_take(struct tac_source *source, const struct tac_source_shared *shared,
                           uint32_t number)
{
    const struct tac_version_run *run = run_in_view(source, shared);
    const struct tac_table       *table;

    source->table_count = run->table_count;
    if (number >= run->table_count) {
        source->state = TAC_SOURCE_END;
        return;
    }
    table = run->tables[number];
    tac_assert(table->key_min.size <= shared->layout.key_size);
    tac_assert(table->key_max.size <= shared->layout.key_size);
    source->table = number;
    source->place = tac_table_place_of(table);
    source->stamp = table->stamp;
    source->op = table->snapshot_min;
    source->is_trimmed = table->is_trimmed;
    source->key_min_size = table->key_min.size;
    source->key_max_size = table->key_max.size;
    memcpy(source->key_min, table->key_min.data, table->key_min.size);
    memcpy(source->key_max, table->key_max.data, table->key_max.size);
    chunk_drop(source);
    source->head = (struct tac_record){
        .key = shared->is_backward ? source_key_max(source) : source_key_min(source),
    };
    source->state = TAC_SOURCE_BOUND;
    source->has_next = source->has_next && TAC_MUTANT(NEXT_PAGE_KEPT);
}

/* The first table with a key_max at or above the key; backward, the last one with a key_min at or
 * below it. Table_count, or the highest number, when there is none. */
static uint32_t run_find(const struct tac_version_run *run, bool is_backward, struct tac_bytes key)
{
    uint32_t floor;

    if (key.size == 0) {
        return is_backward ? run->table_count - 1 : 0;
    }
    floor = tac_version_run_floor(run, key);
    if (floor == run->table_count) {
        return is_backward ? UINT32_MAX : 0;
    }
    if (!is_backward && tac_bytes_compare(run->tables[floor]->key_max, key) < 0) {
        floor++;
    }
    return floor;
}

static int run_next_table(struct tac_source *source, const struct tac_source_shared *shared,
                          struct tac_error *error)
{
    struct tac_read_ticket ticket;
    int                    rv = view_enter(shared, &ticket, error);

    if (rv == TACTUS_OK) {
        run_table_take(source, shared, shared->is_backward ? source->table - 1 : source->table + 1);
        tac_read_side_leave(shared->side, ticket);
    }
    return rv;
}

/* ---- runs: pages of the current table ---- */

/* Names the table in the text, or says that the view is too old to tell. */
static int run_failure(const struct tac_source *source, const struct tac_source_shared *shared,
                       int code, struct tac_error *error)
{
    tac_assert(code != TACTUS_OK);
    if (code != TACTUS_ECORRUPT && code != TACTUS_EIO) {
        return code;
    }
    if (code == TACTUS_ECORRUPT && tac_read_side_is_stale(shared->side, shared->view_bar)) {
        return source_expired(error);
    }
    return tac_read_side_name_place(shared->side, &source->place, code, error);
}

/* Takes from the table's index block: the pages that count, and the one that may hold the key. */
static void run_table_open(struct tac_source *source, const struct tac_index_block *index,
                           struct tac_bytes key)
{
    source->page_end = index->page_count;
    source->page_lowest =
        source->is_trimmed ? tac_index_find_page(index, source_key_min(source)) : 0;
    source->sought = tac_page_place_of(index, key);
    source->is_sought = true;
}

/* A chunk that is to be read: pages of one value block. */
struct chunk {
    uint64_t              address;
    uint32_t              page_first, page_count;
    uint32_t              unit_first, unit_count;
    struct tac_page_entry entries[TAC_CHUNK_PAGES_MAX];
};

/* Chooses the chunk: `page`, and the pages that follow it in the walk as long as they are of the
 * same value block, count, and are not too many. */
static void chunk_choose(const struct tac_source *source, const struct tac_source_shared *shared,
                         const struct tac_index_block *index, uint32_t page,
                         struct chunk *ret_chunk)
{
    struct tac_index_value_block block =
        tac_index_value_block(index, tac_index_block_of_page(index, page));
    uint32_t limit_low =
        source->page_lowest > block.page_first ? source->page_lowest : block.page_first;
    uint32_t limit_high = block.page_first + block.page_count;
    uint32_t first = page, end = page + 1;
    uint32_t units = tac_index_page(index, page).unit_count;

    tac_assert(page >= limit_low && page < limit_high);
    while (end - first < TAC_CHUNK_PAGES_MAX) {
        uint32_t other = shared->is_backward ? first - 1 : end;

        if (shared->is_backward ? first == limit_low : end == limit_high) {
            break;
        }
        units += tac_index_page(index, other).unit_count;
        if (units > source->units_next) {
            break;
        }
        first = shared->is_backward ? other : first;
        end = shared->is_backward ? end : other + 1;
    }
    *ret_chunk = (struct chunk){
        .address = block.reference.address,
        .page_first = first,
        .page_count = end - first,
        .unit_first = tac_index_page(index, first).unit_first,
    };
    for (uint32_t i = 0; i < end - first; i++) {
        ret_chunk->entries[i] = tac_index_page(index, first + i);
        ret_chunk->unit_count += ret_chunk->entries[i].unit_count;
    }
}

/* A walk that has come to so many pages is a long one: what it reads then takes no frame from a page
 * that is in the cache. Not the pages of a chunk count: those of a table's last block, or beside one
 * that was cached, may be few in any walk. */
#define WALK_SHORT_PAGES 15

/* One page, by way of the cache: what a seek needs. */
static int chunk_read_cached(struct tac_source *source, struct tac_source_shared *shared,
                             const struct chunk *chunk, struct tac_error *error)
{
    struct tac_page page;
    int rv = tac_page_read(shared->side, chunk->address, &chunk->entries[0], shared->tree,
                           &shared->layout, &shared->counts, &source->frame, &page, error);

    if (rv == TACTUS_OK) {
        source->chunk = page.data;
    }
    return rv;
}

static int far_obtain(struct tac_source *source, const struct tac_source_shared *shared,
                      struct tac_error *error)
{
    uint64_t alignment = shared->side->storage->alignment_bytes;
    uint64_t bytes =
        tac_round_up(tac_units_buffer_bytes(shared->side, shared->chunk_units), alignment);

    if (source->far == NULL) {
        source->far = aligned_alloc(alignment, bytes);
    }
    if (source->far == NULL) {
        return tac_error_set(error, TACTUS_ENOMEM, "no memory to read ahead: %" PRIu64 " bytes",
                             bytes);
    }
    return TACTUS_OK;
}

/* Several pages, past the cache. */
static int chunk_read_direct(struct tac_source *source, struct tac_source_shared *shared,
                             const struct chunk *chunk, struct tac_error *error)
{
    uint32_t page_size = shared->side->geometry.page_size;
    int      rv = TACTUS_ECORRUPT;

    if (far_obtain(source, shared, error) != TACTUS_OK) {
        return error->code;
    }
    for (uint32_t attempt = 0; attempt < TAC_READ_ATTEMPTS && rv != TACTUS_OK; attempt++) {
        rv = tac_units_read(shared->side, chunk->address, chunk->unit_first, chunk->unit_count,
                            source->far, &source->chunk, error);
        for (uint32_t i = 0; i < chunk->page_count && rv == TACTUS_OK; i++) {
            const struct tac_page_entry *entry = &chunk->entries[i];
            uint32_t        offset = (uint32_t)(entry->unit_first - chunk->unit_first) * page_size;
            struct tac_page page =
                tac_page_of_entry(shared->side, entry, &shared->layout, source->chunk + offset);

            rv = tac_page_verify(shared->side, chunk->address, entry, &page, error);
        }
    }
    for (uint32_t i = 0; i < chunk->page_count && rv == TACTUS_OK; i++) {
        const struct tac_page_entry *entry = &chunk->entries[i];
        uint32_t offset = (uint32_t)(entry->unit_first - chunk->unit_first) * page_size;

        tac_page_offer(shared->side, chunk->address, entry, shared->tree, source->chunk + offset,
                       TAC_MUTANT(LONG_WALK_REPLACES) || source->pages_walked < WALK_SHORT_PAGES);
    }
    source->pages_walked += chunk->page_count;
    return rv;
}

static struct tac_chunk_page chunk_page_make(const struct tac_page_entry *entry, uint32_t offset)
{
    return (struct tac_chunk_page){
        .offset = offset,
        .unit_count = entry->unit_count,
        .record_count = entry->record_count,
        .flags = entry->flags,
    };
}

/* A page of the current table, if it is in the cache: then it is the chunk. */
static bool chunk_find(struct tac_source *source, struct tac_source_shared *shared,
                       const struct tac_page_place *place)
{
    struct tac_cache_frame *frame =
        tac_page_find(shared->side, place->address, &place->entry, shared->tree, &shared->counts);

    if (frame == NULL) {
        return false;
    }
    chunk_drop(source);
    source->frame = frame;
    source->chunk = frame->data;
    source->page_first = place->page;
    source->page_count = 1;
    source->pages_walked++;
    source->pages[0] = chunk_page_make(&place->entry, 0);
    if (source->units_next == 1) {
        source->units_next = 2;
    }
    return true;
}

static int chunk_read(struct tac_source *source, struct tac_source_shared *shared,
                      const struct chunk *chunk, struct tac_error *error)
{
    uint32_t page_size = shared->side->geometry.page_size;
    int      rv;

    chunk_drop(source);
    if (chunk->unit_count > shared->chunk_units) {
        rv = tac_error_set(error, TACTUS_ECORRUPT,
                           "block %" PRIu64 ": the page at unit %u is too large", chunk->address,
                           chunk->unit_first);
    } else if (source->units_next == 1 && chunk->unit_count == 1) {
        rv = chunk_read_cached(source, shared, chunk, error);
    } else {
        rv = chunk_read_direct(source, shared, chunk, error);
    }
    if (rv != TACTUS_OK) {
        return rv;
    }
    source->page_first = chunk->page_first;
    source->page_count = chunk->page_count;
    for (uint32_t i = 0; i < chunk->page_count; i++) {
        uint32_t offset = (uint32_t)(chunk->entries[i].unit_first - chunk->unit_first) * page_size;

        source->pages[i] = chunk_page_make(&chunk->entries[i], offset);
    }
    if (source->units_next < shared->chunk_units) {
        source->units_next = 2 * source->units_next < shared->chunk_units ? 2 * source->units_next
                                                                          : shared->chunk_units;
    }
    return TACTUS_OK;
}

/* Makes a chunk with the page, from the cache or read, the current one. */
static int run_chunk(struct tac_source *source, struct tac_source_shared *shared, uint32_t page,
                     struct tac_error *error)
{
    const struct tac_index_block *index;
    struct tac_cache_frame       *frame;
    struct chunk                  chunk;
    bool is_next = source->has_next && source->next.page == page, is_found = false;
    int  rv;

    source->has_next = false;
    if (is_next && chunk_find(source, shared, &source->next)) {
        return TACTUS_OK;
    }
    rv = tac_block_read(shared->side, TAC_BLOCK_INDEX, &source->place.index, &shared->counts,
                        &frame, error);
    if (rv != TACTUS_OK) {
        return rv;
    }
    index = frame->extra;
    /* Of a seek's page the read itself looks into the cache. */
    if (source->units_next > 1 && !is_next) {
        struct tac_page_place place = tac_page_place_at(index, page);

        is_found = chunk_find(source, shared, &place);
    }
    if (!is_found) {
        chunk_choose(source, shared, index, page, &chunk);
    }
    tac_cache_unpin(frame);
    return is_found ? TACTUS_OK : chunk_read(source, shared, &chunk, error);
}

/* Makes a page of the current table the current one; reads it if it is not in the chunk. */
static int run_page(struct tac_source *source, struct tac_source_shared *shared, uint32_t page,
                    struct tac_error *error)
{
    const struct tac_chunk_page *place;

    tac_assert(page >= source->page_lowest && page < source->page_end);
    if (page < source->page_first || page - source->page_first >= source->page_count) {
        int rv = run_chunk(source, shared, page, error);

        if (rv != TACTUS_OK) {
            return run_failure(source, shared, rv, error);
        }
    }
    place = &source->pages[page - source->page_first];
    source->page = page;
    source->current = (struct tac_page){
        .data = source->chunk + place->offset,
        .layout = &shared->layout,
        .size_bytes = place->unit_count * shared->side->geometry.page_size,
        .record_count = place->record_count,
        .flags = place->flags,
    };
    source->stride = tac_page_stride(&source->current);
    return TACTUS_OK;
}

/* ---- runs: the next page ---- */

/* note: next-page
 *
 * The page that a walk comes to is somewhere else in the cache, and finding it waits for memory again
 * and again: for the index block's entry, the keys of the page's sets, its frame, its first records.
 * So the walk stops for a moment some records before the end of a page and takes a first step: the
 * entry, and the sets are asked for; and once more for a second one: frame and data are asked for. A
 * page that is not in the cache is read as ever when the walk comes to it. */
#define NEXT_STEPS 2
static const uint32_t next_step_records[NEXT_STEPS] = {4, 2}; /* Before the page's end */

static uint32_t records_left(const struct tac_source *source, bool is_backward)
{
    return is_backward ? source->record : source->current.record_count - 1 - source->record;
}

/* The next page's entry, if it is in memory, of the same table, and not there already. */
static void next_page_find(struct tac_source *source, struct tac_source_shared *shared)
{
    uint32_t                page = shared->is_backward ? source->page - 1 : source->page + 1;
    uint32_t                edge = shared->is_backward ? source->page_lowest : source->page_end - 1;
    struct tac_cache_frame *frame;

    if (source->page == edge || page - source->page_first < source->page_count) {
        return;
    }
    frame = tac_block_find(shared->side, TAC_BLOCK_INDEX, &source->place.index, &shared->counts);
    if (frame != NULL) {
        source->next = tac_page_place_at(frame->extra, page);
        source->next.record = shared->is_backward ? source->next.entry.record_count - 1u : 0;
        source->has_next = true;
        tac_page_prefetch_set(shared->side, &source->next, shared->tree);
        tac_cache_unpin(frame);
    }
}

/* Takes the steps that are due where the walk is, at most one for each record, and sets the next
 * stop. */
static void next_page_step(struct tac_source *source, struct tac_source_shared *shared)
{
    bool     is_backward = shared->is_backward;
    uint32_t left = records_left(source, is_backward), stop_left = 0;

    if (source->next_steps < NEXT_STEPS && left <= next_step_records[source->next_steps]) {
        if (source->next_steps == 0) {
            next_page_find(source, shared);
        } else if (source->has_next) {
            tac_page_prefetch_frame(shared->side, &source->next, shared->tree);
        }
        source->next_steps++;
    }
    if (source->next_steps < NEXT_STEPS && left > 0) {
        stop_left = (uint32_t)tac_min_u64(left - 1, next_step_records[source->next_steps]);
    }
    source->record_stop = is_backward ? stop_left : source->current.record_count - 1 - stop_left;
}

bool tac_source_pass_stop(struct tac_source *source, struct tac_source_shared *shared)
{
    if (records_left(source, shared->is_backward) == 0) {
        return false;
    }
    next_page_step(source, shared);
    return true;
}

/* ---- runs: records ---- */

static int run_record(struct tac_source *source, struct tac_source_shared *shared, uint32_t record,
                      struct tac_error *error)
{
    tac_assert(record < source->current.record_count);
    source->record = record;
    source->head = tac_page_record(&source->current, record);
    source->state = TAC_SOURCE_RECORD;
    source->next_steps = 0;
    next_page_step(source, shared);
    /* Below the edge of a trimmed table nothing counts. Only its lowest page has such records. */
    if (shared->is_backward && source->is_trimmed && source->page == source->page_lowest &&
        tac_bytes_compare(source->head.key, source_key_min(source)) < 0) {
        return run_next_table(source, shared, error);
    }
    return TACTUS_OK;
}

/* To the first record of the next page of the walk, or to the next table. */
static int run_next_page(struct tac_source *source, struct tac_source_shared *shared,
                         struct tac_error *error)
{
    bool is_backward = shared->is_backward;
    int  rv;

    if (is_backward ? source->page == source->page_lowest : source->page + 1 == source->page_end) {
        return run_next_table(source, shared, error);
    }
    rv = run_page(source, shared, is_backward ? source->page - 1 : source->page + 1, error);
    if (rv != TACTUS_OK) {
        return rv;
    }
    return run_record(source, shared, is_backward ? source->current.record_count - 1 : 0, error);
}

/* ---- runs: seeks ---- */

#define AHEAD_RECORDS 5 /* A walk asks for those behind them */

/* A page of which a seek has touched the middle: what the walk needs first. */
static void run_ask_ahead(const struct tac_source *source, const struct tac_source_shared *shared)
{
    int64_t step = shared->is_backward ? -(int64_t)source->stride : (int64_t)source->stride;

    for (int64_t i = 1; i < AHEAD_RECORDS; i++) {
        __builtin_prefetch(source->head.key.data + i * step);
    }
}

/* To the first record of the page at or behind the key, or to what follows the page. */
static int run_seek_in_page(struct tac_source *source, struct tac_source_shared *shared,
                            struct tac_bytes key, struct tac_error *error)
{
    uint32_t record;
    bool     is_equal;
    int      rv;

    record = tac_page_lower_bound(&source->current, key, source->sought.record, &is_equal);
    if (shared->is_backward && !is_equal) {
        record--; /* From 0 to the highest number there is: no record of the page */
    }
    if (record >= source->current.record_count) {
        return run_next_page(source, shared, error);
    }
    rv = run_record(source, shared, record, error);
    if (rv == TACTUS_OK && source->stride > 0) {
        run_ask_ahead(source, shared);
    }
    return rv;
}

/* To the first record at or behind the key, which lies within the current table's range. */
static int run_seek_in_table(struct tac_source *source, struct tac_source_shared *shared,
                             struct tac_bytes key, struct tac_error *error)
{
    struct tac_cache_frame *frame;
    int                     rv;

    if (!source->is_sought) {
        rv = tac_block_read(shared->side, TAC_BLOCK_INDEX, &source->place.index, &shared->counts,
                            &frame, error);
        if (rv != TACTUS_OK) {
            return run_failure(source, shared, rv, error);
        }
        run_table_open(source, frame->extra, key);
        tac_cache_unpin(frame);
    }
    source->is_sought = false;
    rv = run_page(source, shared, source->sought.page, error);
    return rv == TACTUS_OK ? run_seek_in_page(source, shared, key, error) : rv;
}

/* Whether what comes first of the table is before the key: then a page of it is to be looked at. */
static bool run_is_before(const struct tac_source *source, const struct tac_source_shared *shared,
                          struct tac_bytes key)
{
    int order = tac_bytes_compare(source->head.key, key);

    return shared->is_backward ? order > 0 : order < 0;
}

/* ---- all of them ---- */

/* Inside the guard: memtables to their record, runs to a table. */
static void source_seek_in_view(struct tac_source *source, const struct tac_source_shared *shared,
                                struct tac_bytes key)
{
    if (source->reader != NULL) {
        memtable_seek(source, shared, key);
    } else {
        const struct tac_version_run *run = run_in_view(source, shared);

        run_table_take(source, shared, run_find(run, shared->is_backward, key));
        source->units_next = 1;
        source->pages_walked = 0;
    }
    source->is_sought = false;
    source->is_seeking = source->reader == NULL && source->state == TAC_SOURCE_BOUND &&
                         key.size > 0 && run_is_before(source, shared, key);
}

/* The index block of the source's table, if it is in the cache. Inside the guard. */
static void source_index_look(struct tac_source *source, struct tac_source_shared *shared)
{
    struct tac_table *table = run_table_in_view(source, shared);

    source->index_frame = tac_table_index_look(shared->side, table, shared->view_bar,
                                               &shared->counts, &source->index_is_kept);
    if (source->index_frame != NULL) {
        tac_index_prefetch_ends(source->index_frame->extra);
    }
}

/* The page that may hold the key, from the index block. Inside the guard. */
static void source_page_look(struct tac_source *source, const struct tac_source_shared *shared,
                             struct tac_bytes key)
{
    run_table_open(source, source->index_frame->extra, key);
    if (!source->index_is_kept) {
        tac_cache_unpin(source->index_frame);
    }
    source->index_frame = NULL;
    tac_page_prefetch_set(shared->side, &source->sought, shared->tree);
}

/* All sources to their table, and to their page as far as index blocks are in the cache. They take
 * each step side by side, and ask for the memory that the next one looks at: so they wait for it
 * together. Inside the guard. */
static void sources_seek_in_view(struct tac_source *sources, uint32_t source_count,
                                 struct tac_source_shared *shared, struct tac_bytes key)
{
    for (uint32_t i = 0; i < source_count; i++) {
        source_seek_in_view(&sources[i], shared, key);
        if (sources[i].is_seeking) {
            tac_table_index_prefetch(shared->side, run_table_in_view(&sources[i], shared), true);
        }
    }
    for (uint32_t i = 0; i < source_count; i++) {
        if (sources[i].is_seeking) {
            source_index_look(&sources[i], shared);
        }
    }
    for (uint32_t i = 0; i < source_count; i++) {
        if (sources[i].is_seeking && sources[i].index_frame != NULL) {
            tac_index_prefetch_guess(sources[i].index_frame->extra, key);
        }
    }
    for (uint32_t i = 0; i < source_count; i++) {
        if (sources[i].is_seeking && sources[i].index_frame != NULL) {
            source_page_look(&sources[i], shared, key);
        }
    }
}

/* Pins the pages that are in the cache. */
static void sources_find_pages(struct tac_source *sources, uint32_t source_count,
                               struct tac_source_shared *shared)
{
    for (uint32_t i = 0; i < source_count; i++) {
        if (sources[i].is_sought) {
            tac_page_prefetch_frame(shared->side, &sources[i].sought, shared->tree);
        }
    }
    for (uint32_t i = 0; i < source_count; i++) {
        struct tac_read_counts before = shared->counts;

        if (sources[i].is_sought && !chunk_find(&sources[i], shared, &sources[i].sought)) {
            shared->counts = before; /* Counted when it is read */
        }
    }
}

int tac_sources_seek(struct tac_source *sources, uint32_t source_count,
                     struct tac_source_shared *shared, struct tac_bytes key,
                     struct tac_error *error)
{
    struct tac_read_ticket ticket;
    int                    rv = view_enter(shared, &ticket, error);

    if (rv != TACTUS_OK) {
        return rv;
    }
    sources_seek_in_view(sources, source_count, shared, key);
    tac_read_side_leave(shared->side, ticket);
    sources_find_pages(sources, source_count, shared);
    for (uint32_t i = 0; i < source_count && rv == TACTUS_OK; i++) {
        if (sources[i].is_seeking) {
            rv = run_seek_in_table(&sources[i], shared, key, error);
        }
    }
    return rv;
}

int tac_source_load(struct tac_source *source, struct tac_source_shared *shared,
                    struct tac_error *error)
{
    tac_assert(source->state == TAC_SOURCE_BOUND);
    tac_assert(source->reader == NULL);
    return run_seek_in_table(source, shared, source->head.key, error);
}

int tac_source_advance(struct tac_source *source, struct tac_source_shared *shared,
                       struct tac_error *error)
{
    tac_assert(source->state == TAC_SOURCE_RECORD);
    if (source->reader != NULL) {
        return memtable_advance(source, shared, error);
    }
    if (tac_source_advance_in_page(source, shared)) {
        return TACTUS_OK;
    }
    if (shared->is_backward && source->record > 0) {
        return run_record(source, shared, source->record - 1, error);
    }
    return run_next_page(source, shared, error);
}

/* Within the page that is there, or of a memtable, records are passed one by one. */
int tac_source_skip(struct tac_source *source, struct tac_source_shared *shared,
                    struct tac_bytes key, struct tac_error *error)
{
    uint32_t edge = shared->is_backward ? 0 : source->current.record_count - 1;

    tac_assert(source->state == TAC_SOURCE_RECORD && run_is_before(source, shared, key));
    if (source->reader == NULL) {
        struct tac_bytes key_edge = tac_page_record(&source->current, edge).key;
        struct tac_bytes last =
            shared->is_backward ? source_key_min(source) : source_key_max(source);
        int order = tac_bytes_compare(key, last);

        if (shared->is_backward ? order < 0 : order > 0) {
            return run_next_table(source, shared, error);
        }
        order = tac_bytes_compare(key, key_edge);
        if (shared->is_backward ? order < 0 : order > 0) {
            return run_seek_in_table(source, shared, key, error);
        }
    }
    return tac_source_advance(source, shared, error);
}
