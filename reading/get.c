/* SPDX-License-Identifier: Apache-2.0 */
/* get -- the newest visible version of one key.
 *
 * Inside the guard: both memtables, then a list of the tables that may have the key, newest first.
 * Outside it: the tables in that order; the first one that has the key decides.
 *
 * The list is worked off in groups. All index blocks of a group that are in the cache are pinned
 * first, and the line of each one's filter is asked for; so the waits for memory run side by side,
 * and twenty tables that do not have the key cost little more than a few.
 *
 * Possible failures: a read of the storage; damage; no memory for a block that found no room in the
 * cache. What looks like damage may be a block that was given a new life because the view is two
 * bars old: then the get begins again with the newest view. */
#include <inttypes.h>

#include "base/mutant.h"
#include "base/units.h"
#include "queues/atomics.h"
#include "reading/block_read.h"

/* Most tables over one key: levels hold at most about 4 * 16 runs each before writes fail, and only
 * one of them can be that deep. */
#define CANDIDATES_MAX 512
#define GROUP_MAX 8

struct get {
    /* Fixed for the call. */
    struct tac_read_side  *side;
    uint32_t               tree;
    struct tac_bytes       key;
    void                  *buffer;
    size_t                 buffer_size;
    size_t                *ret_value_size;
    struct tac_read_counts counts;
    /* Of the view. */
    uint64_t               view_bar;
    struct tac_layout      layout;
    uint32_t               hash; /* For filters */
    uint32_t               candidate_count;
    struct tac_table_place candidates[CANDIDATES_MAX]; /* Newest first */
};

/* What a memtable or a table says to a key; beside it there are the error codes, all above 0. */
#define GET_ABSENT (-1)

static int get_record(const struct get *get, const struct tac_record *record)
{
    if (record->is_tombstone) {
        return TACTUS_ENOTFOUND;
    }
    if (record->value.size > 0 && get->buffer_size > 0) {
        memcpy(get->buffer, record->value.data, tac_min_u64(record->value.size, get->buffer_size));
    }
    *get->ret_value_size = record->value.size;
    return TACTUS_OK;
}

/* ---- inside the guard ---- */

static int get_from_memtable(const struct get *get, const struct tac_memtable *memtable,
                             uint64_t op)
{
    struct tac_record_view view;

    if (memtable == NULL || op == 0 || /* Before the first op */
        !tac_memtable_get(memtable, get->tree, get->key, op, &view)) {
        return GET_ABSENT;
    }
    return get_record(get, &view.record);
}

/* The tables of one level that may have the key, higher stamps first. */
static void get_candidates_of_level(struct get *get, const struct tac_version_level *level)
{
    uint32_t first = get->candidate_count;

    for (uint32_t i = 0; i < level->run_count; i++) {
        const struct tac_table *table = tac_version_run_find(&level->runs[i], get->key);
        uint32_t                at = get->candidate_count;

        if (table == NULL) {
            continue;
        }
        tac_assert(at < CANDIDATES_MAX);
        for (; at > first && get->candidates[at - 1].stamp < table->stamp; at--) {
            get->candidates[at] = get->candidates[at - 1];
        }
        get->candidates[at] = tac_table_place_of(table);
        get->candidate_count++;
    }
}

static int get_from_view(struct get *get, const struct tac_view *view, uint64_t op,
                         struct tac_error *error)
{
    const struct tac_version_tree *tree;
    int                            rv;

    if (get->tree >= tac_atomic_load_acquire_u32(&view->version->tree_count)) {
        return tac_error_set(error, TACTUS_ENOTREE, "there is no tree %u", get->tree);
    }
    tree = &view->version->trees[get->tree];
    if (get->key.size == 0 || get->key.size > tree->layout.key_size) {
        return tac_error_set(error, TACTUS_EKEYSIZE, "a key of %u bytes; tree %s has 1 to %u",
                             get->key.size, tree->name, tree->layout.key_size);
    }
    rv = get_from_memtable(get, view->mutable_table, op);
    if (rv == GET_ABSENT && !TAC_MUTANT(IMMUTABLE_UNREAD)) {
        rv = get_from_memtable(get, view->immutable_table, op);
    }
    if (rv != GET_ABSENT) {
        return rv;
    }
    get->layout = tree->layout;
    get->candidate_count = 0;
    for (uint32_t i = 0; i < tree->level_count; i++) {
        get_candidates_of_level(get, &tree->levels[i]);
    }
    return GET_ABSENT;
}

/* ---- outside ---- */

/* One candidate while its group is worked off. */
struct probe {
    const struct tac_table_place *place;
    struct tac_cache_frame       *index_frame; /* Pinned, or NULL */
    struct tac_cache_frame *filter_frame;      /* Pinned, or NULL; for a filter of its own blocks */
    const uint8_t          *line;              /* The key's in the filter; NULL: not known yet */
};

static const struct tac_index_block *probe_index(const struct probe *probe)
{
    tac_assert(probe->index_frame != NULL);
    return probe->index_frame->extra;
}

static void probe_unpin(struct probe *probe)
{
    if (probe->filter_frame != NULL) {
        tac_cache_unpin(probe->filter_frame);
    }
    if (probe->index_frame != NULL) {
        tac_cache_unpin(probe->index_frame);
    }
}

/* Where the key's line is when it is in a filter block; returns that block. */
static struct tac_block_reference
filter_block(const struct get *get, const struct tac_index_block *index, size_t *ret_line_offset)
{
    uint32_t block_lines = tac_filter_block_lines(get->side->geometry.block_size);
    uint64_t line = tac_filter_line(get->hash, index->filter_bytes);

    *ret_line_offset = TAC_BLOCK_HEADER_BYTES + line % block_lines * TAC_FILTER_LINE_BYTES;
    return tac_index_filter_block(index, (uint32_t)(line / block_lines));
}

/* Finds the key's line of the filter. is_cached_only: without I/O, and left alone if that fails. */
static int probe_filter(struct get *get, struct probe *probe, bool is_cached_only,
                        struct tac_error *error)
{
    const struct tac_index_block *index = probe_index(probe);
    struct tac_block_reference    reference;
    size_t                        offset;
    int                           rv = TACTUS_OK;

    if (index->filter_bytes == 0) {
        return TACTUS_OK;
    }
    if (index->filter != NULL) {
        probe->line =
            index->filter + tac_filter_line(get->hash, index->filter_bytes) * TAC_FILTER_LINE_BYTES;
        return TACTUS_OK;
    }
    reference = filter_block(get, index, &offset);
    if (is_cached_only) {
        probe->filter_frame = tac_block_find(get->side, TAC_BLOCK_FILTER, &reference, &get->counts);
    } else {
        rv = tac_block_read(get->side, TAC_BLOCK_FILTER, &reference, &get->counts,
                            &probe->filter_frame, error);
    }
    if (probe->filter_frame != NULL) {
        probe->line = probe->filter_frame->data + offset;
    }
    return rv;
}

static int get_from_page(struct get *get, const struct tac_index_block *index,
                         struct tac_error *error)
{
    uint32_t              number = tac_index_find_page(index, get->key);
    struct tac_page_entry entry = tac_index_page(index, number);
    uint64_t              address =
        tac_index_value_block(index, tac_index_block_of_page(index, number)).reference.address;
    struct tac_cache_frame *frame;
    struct tac_page         page;
    uint32_t                position;
    bool                    is_equal;
    int                     rv;

    rv = tac_page_read(get->side, address, &entry, get->tree, &get->layout, &get->counts, &frame,
                       &page, error);
    if (rv != TACTUS_OK) {
        return rv;
    }
    rv = GET_ABSENT;
    position = tac_page_lower_bound(&page, get->key, &is_equal);
    if (is_equal) {
        struct tac_record record = tac_page_record(&page, position);

        rv = get_record(get, &record);
    }
    tac_cache_unpin(frame);
    return rv;
}

static int get_from_table(struct get *get, struct probe *probe, struct tac_error *error)
{
    int rv = TACTUS_OK;

    if (probe->index_frame == NULL) {
        rv = tac_block_read(get->side, TAC_BLOCK_INDEX, &probe->place->index, &get->counts,
                            &probe->index_frame, error);
    }
    if (rv == TACTUS_OK && probe->line == NULL) {
        rv = probe_filter(get, probe, false, error);
    }
    if (rv != TACTUS_OK) {
        return rv;
    }
    if (probe->line != NULL &&
        !tac_filter_line_may_contain(probe->line, get->hash,
                                     probe_index(probe)->filter_bits_per_key)) {
        return GET_ABSENT;
    }
    return get_from_page(get, probe_index(probe), error);
}

/* Up to GROUP_MAX candidates from `first` on. */
static int get_from_group(struct get *get, uint32_t first, struct tac_error *error)
{
    struct probe probes[GROUP_MAX];
    uint32_t     count = get->candidate_count - first;
    int          rv = GET_ABSENT;

    count = count < GROUP_MAX ? count : GROUP_MAX;
    for (uint32_t step = 0; step <= 1; step++) {
        for (uint32_t i = 0; i < count; i++) {
            tac_block_prefetch(get->side, TAC_BLOCK_INDEX, &get->candidates[first + i].index, step);
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        const struct tac_table_place *place = &get->candidates[first + i];

        probes[i] = (struct probe){.place = place};
        probes[i].index_frame =
            tac_block_find(get->side, TAC_BLOCK_INDEX, &place->index, &get->counts);
    }
    for (uint32_t i = 0; i < count; i++) {
        if (probes[i].index_frame != NULL) {
            (void)probe_filter(get, &probes[i], true, error); /* Cannot fail: no I/O */
            __builtin_prefetch(probes[i].line);
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        if (rv == GET_ABSENT) {
            rv = get_from_table(get, &probes[i], error);
            if (rv == TACTUS_ECORRUPT || rv == TACTUS_EIO) {
                (void)tac_read_side_name_place(get->side, probes[i].place, rv, error);
            }
        }
        probe_unpin(&probes[i]);
    }
    return rv;
}

static int get_once(struct get *get, struct tac_error *error)
{
    struct tac_read_ticket ticket = tac_read_side_enter(get->side);
    uint64_t               op;
    const struct tac_view *view = tac_read_side_view(get->side, &op);
    int                    rv;

    get->view_bar = view->bar;
    rv = get_from_view(get, view, op, error);
    tac_read_side_leave(get->side, ticket);
    if (rv != GET_ABSENT) {
        return rv;
    }
    if (get->candidate_count > 0) {
        get->hash = tac_filter_hash(get->key);
    }
    for (uint32_t i = 0; i < get->candidate_count && rv == GET_ABSENT; i += GROUP_MAX) {
        rv = get_from_group(get, i, error);
    }
    return rv == GET_ABSENT ? TACTUS_ENOTFOUND : rv;
}

int tac_read_side_get(struct tac_read_side *side, uint32_t tree, struct tac_bytes key, void *buffer,
                      size_t buffer_size, size_t *ret_value_size, struct tac_error *error)
{
    struct get get; /* Large: only what is used is written */
    int        rv;

    get.side = side;
    get.tree = tree;
    get.key = key;
    get.buffer = buffer;
    get.buffer_size = buffer_size;
    get.ret_value_size = ret_value_size;
    get.counts = (struct tac_read_counts){0};
    tac_assert(buffer != NULL || buffer_size == 0);
    rv = get_once(&get, error);
    /* Each further round needs two more bars to have passed during the one before. */
    while (rv == TACTUS_ECORRUPT && tac_read_side_is_stale(side, get.view_bar)) {
        tac_atomic_fetch_add_acq_rel_u64(&side->retries, 1);
        tac_error_clear(error);
        rv = get_once(&get, error);
    }
    tac_atomic_fetch_add_acq_rel_u64(&side->gets, 1);
    tac_read_side_count(side, &get.counts);
    return rv;
}
