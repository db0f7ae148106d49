/* SPDX-License-Identifier: Apache-2.0 */
/* get -- the newest visible version of one key.
 *
 * Inside the guard: both memtables; then the tables over the key, newest first, of which those are
 * left as candidates whose filter lets the key pass, or is not in memory. Outside it: these in that
 * order; the first one that has the key decides.
 *
 * Tables are screened in groups: each step asks for the memory that the next one looks at, for all
 * of the group. So the waits run side by side, and twenty tables that do not have the key cost
 * little more than a few.
 *
 * Possible failures: a read of the storage; damage; no memory for a block that found no room in the
 * cache. What looks like damage may be a block that was given a new life because the view is two
 * bars old: then the get begins again with the newest view. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/mutant.h"
#include "base/units.h"
#include "queues/atomics.h"
#include "reading/block_read.h"
#include "reading/load.h"

/* Most tables over one key: levels hold at most about 4 * 16 runs each before writes fail, and only
 * one of them can be that deep. */
#define CANDIDATES_MAX 512
#define GROUP_MAX 16
#define PINNED_MAX                                                                                 \
    8 /* Index blocks that a get keeps pinned; those of further candidates it finds again */

/* A table that may have the key. */
struct candidate {
    struct tac_table_place  place;
    struct tac_cache_frame *index_frame; /* Pinned; NULL: not in the cache, or one too many */
    bool                    is_screened; /* The filter lets the key pass, or there is none */
};

struct get {
    /* Fixed for the call. */
    struct tac_read_side  *side;
    uint32_t               tree_id;
    uint32_t               tree; /* Its number */
    struct tac_bytes       key;
    struct tac_value_sink *sink;
    struct tac_load       *load; /* NULL: reads what it needs */
    struct tac_read_counts counts;
    /* Of the view. */
    uint64_t                 view_bar;
    struct tac_layout        layout;
    uint32_t                 hash; /* For filters */
    struct tac_filter_probes filter_probes;
    uint64_t                 deleted_op; /* Of the newest range that has the key; 0: none */
    uint32_t                 table_count, candidate_count;
    struct tac_table *tables[CANDIDATES_MAX];     /* Over the key, newest first; inside the guard */
    struct candidate  candidates[CANDIDATES_MAX]; /* Newest first */
};

/* What a memtable or a table says to a key; beside it there are the error codes, all above 0. */
#define GET_ABSENT (-1)
#define GET_WANTS (-2) /* get->load says what */

/* The value of a record whose memory may go at once. */
static int value_copy(struct tac_value_sink *sink, struct tac_bytes value, struct tac_error *error)
{
    sink->size = value.size;
    if (sink->is_pinning && value.size > 0) {
        sink->copy = malloc(value.size);
        if (sink->copy == NULL) {
            return tac_error_set(error, TACTUS_ENOMEM, "no memory for a value of %u bytes",
                                 value.size);
        }
        memcpy(sink->copy, value.data, value.size);
        sink->data = sink->copy;
    } else if (sink->room > 0 && value.size > 0) {
        memcpy(sink->buffer, value.data, tac_min_u64(value.size, sink->room));
    }
    return TACTUS_OK;
}

/* ---- inside the guard ---- */

static int get_from_memtable(struct get *get, const struct tac_memtable *memtable, uint64_t op,
                             struct tac_error *error)
{
    struct tac_record_view view;

    if (memtable == NULL || op == 0 || /* Before the first op */
        !tac_memtable_get(memtable, get->tree, get->key, op, &view)) {
        return GET_ABSENT;
    }
    get->counts.memtable_hits++;
    return view.record.is_tombstone || view.op < get->deleted_op ||
                   (TAC_MUTANT(RANGE_OVER_LATER) && get->deleted_op != 0)
               ? TACTUS_ENOTFOUND
               : value_copy(get->sink, view.record.value, error);
}

/* The newest op that has deleted the key with a range, which is dead in every source from before it.
 * The newer a place is, the later are its ranges. */
static uint64_t deleted_op_find(const struct get *get, const struct tac_view *view,
                                const struct tac_version_tree *tree, uint64_t op)
{
    const struct tac_memtable *memtables[] = {view->mutable_table, view->immutable_table};

    for (uint32_t i = 0; i < TAC_ARRAY_COUNT(memtables); i++) {
        uint64_t deleted_op = memtables[i] == NULL || op == 0
                                  ? 0
                                  : tac_memtable_range_op(memtables[i], get->tree, get->key, op);

        if (deleted_op != 0) {
            return deleted_op;
        }
    }
    return tac_range_edges_op(tree->edges, tree->edge_count, get->key);
}

/* The tables of one level, higher stamps first, behind those that the get has. found: what was found
 * in the level's runs; it may be the same memory. */
static void get_tables_of_level(struct get *get, struct tac_table *const *found, uint32_t run_count)
{
    uint32_t first = get->table_count;

    for (uint32_t i = 0; i < run_count; i++) {
        struct tac_table *table = found[i];
        uint32_t          at = get->table_count;

        if (table == NULL || (get->deleted_op != 0 && table->snapshot_min < get->deleted_op)) {
            continue;
        }
        for (; at > first && get->tables[at - 1]->stamp < table->stamp; at--) {
            get->tables[at] = get->tables[at - 1];
        }
        get->tables[at] = table;
        get->table_count++;
    }
}

static void get_tables(struct get *get, const struct tac_version_tree *tree)
{
    uint32_t found = 0, count = tac_version_find(tree, get->key, get->tables, CANDIDATES_MAX);

    for (uint32_t i = 0; i < tree->level_count; i++) {
        get_tables_of_level(get, get->tables + found, tree->levels[i].run_count);
        found += tree->levels[i].run_count;
    }
    tac_assert(found == count);
}

/* A table while its group is screened. */
struct probe {
    struct tac_cache_frame *index_frame; /* Pinned or kept, or NULL */
    bool                    is_kept;
    struct tac_cache_frame *filter_frame; /* Pinned, or NULL; for a filter of its own blocks */
    const uint8_t          *line; /* The key's in the filter; NULL: not in memory, or none */
};

static const struct tac_index_block *index_of(const struct tac_cache_frame *frame)
{
    return frame->extra;
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

/* The key's line of a filter that lies in the index block. */
static const uint8_t *inner_line(const struct get *get, const struct tac_index_block *index)
{
    return index->filter + tac_filter_line(get->hash, index->filter_bytes) * TAC_FILTER_LINE_BYTES;
}

/* Finds the key's line of the filter as far as it is in memory. */
static void probe_line(struct get *get, struct probe *probe)
{
    const struct tac_index_block *index = index_of(probe->index_frame);
    struct tac_block_reference    reference;
    size_t                        offset;

    if (index->filter_bytes == 0) {
        return;
    }
    if (index->filter != NULL) {
        probe->line = inner_line(get, index);
        return;
    }
    reference = filter_block(get, index, &offset);
    probe->filter_frame = tac_block_find(get->side, TAC_BLOCK_FILTER, &reference, &get->counts);
    if (probe->filter_frame != NULL) {
        probe->line = probe->filter_frame->data + offset;
    }
}

static bool line_may_contain(struct get *get, const uint8_t *line, uint32_t bits_per_key)
{
    if (get->filter_probes.bits_per_key != bits_per_key) {
        tac_filter_probes_make(&get->filter_probes, get->hash, bits_per_key);
    }
    return tac_filter_line_has(line, &get->filter_probes);
}

/* Makes the table a candidate unless its filter says that it does not have the key. Takes over the
 * probe's pins. */
static void probe_conclude(struct get *get, const struct tac_table *table, struct probe *probe)
{
    struct tac_cache_frame *index_frame = probe->index_frame;
    bool                    is_screened = false, is_candidate = true;

    if (index_frame != NULL) {
        const struct tac_index_block *index = index_of(index_frame);

        is_screened = probe->line != NULL || index->filter_bytes == 0;
        is_candidate =
            probe->line == NULL || line_may_contain(get, probe->line, index->filter_bits_per_key);
        if (!is_candidate || get->candidate_count >= PINNED_MAX) {
            if (!probe->is_kept) {
                tac_cache_unpin(index_frame);
            }
            index_frame = NULL;
        } else if (probe->is_kept) { /* It is looked at outside the guard. */
            tac_cache_pin_kept(index_frame);
        }
    }
    if (probe->filter_frame != NULL) {
        tac_cache_unpin(probe->filter_frame);
    }
    if (is_candidate) {
        get->candidates[get->candidate_count++] = (struct candidate){
            .place = tac_table_place_of(table),
            .index_frame = index_frame,
            .is_screened = is_screened,
        };
    }
}

/* Up to GROUP_MAX tables from `first` on. */
static void get_screen_group(struct get *get, uint32_t first)
{
    struct tac_table **tables = get->tables + first;
    struct probe       probes[GROUP_MAX];
    uint32_t           count = get->table_count - first;

    count = count < GROUP_MAX ? count : GROUP_MAX;
    for (uint32_t i = 0; i < count; i++) {
        tac_table_index_prefetch(get->side, tables[i], false);
    }
    for (uint32_t i = 0; i < count; i++) {
        probes[i] = (struct probe){0};
        probes[i].index_frame = tac_table_index_look(
            get->side, tables[i], get->view_bar, &get->counts, &probes[i].is_kept);
        if (probes[i].index_frame != NULL) {
            probe_line(get, &probes[i]);
            __builtin_prefetch(probes[i].line);
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        probe_conclude(get, tables[i], &probes[i]);
    }
}

static int get_from_view(struct get *get, const struct tac_view *view, uint64_t op,
                         struct tac_error *error)
{
    const struct tac_version_tree *tree = tac_version_tree_find(view->version, get->tree_id);
    int                            rv;

    if (tree == NULL) {
        return tac_error_set(error, TACTUS_ENOTREE, "no tree with id %u", get->tree_id);
    }
    if (get->key.size == 0 || get->key.size > tree->layout.key_size) {
        return tac_error_set(error, TACTUS_EKEYSIZE, "a key of %u bytes; tree %s has 1 to %u",
                             get->key.size, tree->name, tree->layout.key_size);
    }
    get->deleted_op = deleted_op_find(get, view, tree, op);
    rv = get_from_memtable(get, view->mutable_table, op, error);
    if (rv == GET_ABSENT && !TAC_MUTANT(IMMUTABLE_UNREAD)) {
        rv = get_from_memtable(get, view->immutable_table, op, error);
    }
    if (rv != GET_ABSENT) {
        return rv;
    }
    get->layout = tree->layout;
    get_tables(get, tree);
    if (get->table_count > 0) {
        get->hash = tac_filter_hash(get->key);
    }
    for (uint32_t i = 0; i < get->table_count; i += GROUP_MAX) {
        get_screen_group(get, i);
    }
    return GET_ABSENT;
}

/* ---- outside ---- */

static int get_block(struct get *get, enum tac_block_kind kind,
                     const struct tac_block_reference *reference,
                     struct tac_cache_frame **ret_frame, struct tac_error *error)
{
    struct tac_cache_key key = tac_block_key(kind, reference);
    const uint8_t       *data;

    if (get->load == NULL) {
        return tac_block_read(get->side, kind, reference, &get->counts, ret_frame, error);
    }
    if (tac_load_take(get->load, &key, ret_frame, &data)) {
        return TACTUS_OK;
    }
    *ret_frame = tac_block_find(get->side, kind, reference, &get->counts);
    if (*ret_frame != NULL) {
        return TACTUS_OK;
    }
    tac_load_want_block(get->load, kind, reference);
    return GET_WANTS;
}

static int get_page(struct get *get, const struct tac_page_place *place,
                    struct tac_cache_frame **ret_frame, struct tac_page *ret_page,
                    struct tac_error *error)
{
    struct tac_cache_key key = tac_page_key(place->address, &place->entry, get->tree);
    const uint8_t       *data = NULL;

    tac_page_prefetch_frame(get->side, place, get->tree);
    if (get->load == NULL) {
        return tac_page_read(get->side, place->address, &place->entry, get->tree, &get->layout,
                             &get->counts, ret_frame, ret_page, error);
    }
    if (!tac_load_take(get->load, &key, ret_frame, &data)) {
        *ret_frame =
            tac_page_find(get->side, place->address, &place->entry, get->tree, &get->counts);
        if (*ret_frame == NULL) {
            tac_load_want_page(get->load, place->address, &place->entry, get->tree, &get->layout);
            return GET_WANTS;
        }
        data = (*ret_frame)->data;
    }
    *ret_page = tac_page_of_entry(get->side, &place->entry, &get->layout, data);
    return TACTUS_OK;
}

static int get_from_page(struct get *get, const struct tac_index_block *index,
                         struct tac_error *error)
{
    struct tac_cache_frame *frame;
    struct tac_page_place   place;
    struct tac_page         page;
    uint32_t                position;
    bool                    is_equal;
    int                     rv;

    tac_index_prefetch_guess(index, get->key);
    place = tac_page_place_of(index, get->key);
    rv = get_page(get, &place, &frame, &page, error);
    if (rv != TACTUS_OK) {
        return rv;
    }
    rv = GET_ABSENT;
    position = tac_page_lower_bound(&page, get->key, place.record, &is_equal);
    if (is_equal) {
        struct tac_record      record = tac_page_record(&page, position);
        struct tac_value_sink *sink = get->sink;

        if (!record.is_tombstone && sink->is_pinning) {
            sink->frame = frame;
            sink->data = record.value.data;
            sink->size = record.value.size;
            return TACTUS_OK;
        }
        rv = record.is_tombstone ? TACTUS_ENOTFOUND : value_copy(sink, record.value, error);
    }
    tac_cache_unpin(frame);
    return rv;
}

/* Reads what the candidate's filter says to the key. */
static int get_screen(struct get *get, const struct tac_index_block *index, bool *ret_may_contain,
                      struct tac_error *error)
{
    struct tac_cache_frame *frame = NULL;
    const uint8_t          *line;
    size_t                  offset;

    *ret_may_contain = true;
    if (index->filter_bytes == 0) {
        return TACTUS_OK;
    }
    if (index->filter != NULL) {
        line = inner_line(get, index);
    } else {
        struct tac_block_reference reference = filter_block(get, index, &offset);
        int                        rv = get_block(get, TAC_BLOCK_FILTER, &reference, &frame, error);

        if (rv != TACTUS_OK) {
            return rv;
        }
        line = frame->data + offset;
    }
    *ret_may_contain = line_may_contain(get, line, index->filter_bits_per_key);
    if (frame != NULL) {
        tac_cache_unpin(frame);
    }
    return TACTUS_OK;
}

static int get_from_candidate(struct get *get, struct candidate *candidate, struct tac_error *error)
{
    bool may_contain = true;
    int  rv = TACTUS_OK;

    if (candidate->index_frame == NULL) {
        rv = get_block(get, TAC_BLOCK_INDEX, &candidate->place.index, &candidate->index_frame,
                       error);
    }
    if (rv == TACTUS_OK && !candidate->is_screened) {
        rv = get_screen(get, index_of(candidate->index_frame), &may_contain, error);
    }
    if (rv != TACTUS_OK) {
        return rv;
    }
    return may_contain ? get_from_page(get, index_of(candidate->index_frame), error) : GET_ABSENT;
}

static int get_from_candidates(struct get *get, struct tac_error *error)
{
    int rv = GET_ABSENT;

    for (uint32_t i = 0; i < get->candidate_count; i++) {
        struct candidate *candidate = &get->candidates[i];

        if (rv == GET_ABSENT) {
            rv = get_from_candidate(get, candidate, error);
            if (rv == TACTUS_ECORRUPT || rv == TACTUS_EIO) {
                (void)tac_read_side_name_place(get->side, &candidate->place, rv, error);
            }
        }
        if (candidate->index_frame != NULL) {
            tac_cache_unpin(candidate->index_frame);
        }
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
    get->table_count = get->candidate_count = 0;
    rv = get_from_view(get, view, op, error);
    tac_read_side_leave(get->side, ticket);
    if (rv == GET_ABSENT) {
        rv = get_from_candidates(get, error);
    }
    return rv == GET_ABSENT ? TACTUS_ENOTFOUND : rv;
}

/* Only what is used is written: it is large. */
static void get_init(struct get *get, struct tac_read_side *side, uint32_t tree,
                     struct tac_bytes key, struct tac_value_sink *sink, struct tac_load *load)
{
    get->side = side;
    get->tree_id = tree;
    get->tree = tac_tree_number(tree);
    get->key = key;
    get->sink = sink;
    get->load = load;
    get->counts = (struct tac_read_counts){0};
    get->filter_probes.bits_per_key = 0;
    tac_assert(sink->buffer != NULL || sink->room == 0);
}

int tac_read_side_get(struct tac_read_side *side, uint32_t tree, struct tac_bytes key,
                      struct tac_value_sink *sink, struct tac_error *error)
{
    struct get get;
    int        rv;

    get_init(&get, side, tree, key, sink, NULL);
    rv = get_once(&get, error);
    /* Each further round needs two more bars to have passed during the one before. */
    while (rv == TACTUS_ECORRUPT && tac_read_side_is_stale(side, get.view_bar)) {
        tac_atomic_fetch_add_acq_rel_u64(&side->retries, 1);
        tac_error_clear(error);
        rv = get_once(&get, error);
    }
    tac_read_side_count(side, &get.counts);
    return rv;
}

int tac_read_side_get_of(struct tac_read_side *side, const struct tac_view *view, uint32_t tree,
                         struct tac_bytes key, struct tac_value_sink *sink, struct tac_error *error)
{
    struct get get;
    int        rv;

    tac_assert(view->bar == TAC_VIEW_BAR_NEVER);
    get_init(&get, side, tree, key, sink, NULL);
    get.view_bar = view->bar;
    get.table_count = get.candidate_count = 0;
    rv = get_from_view(&get, view, 0, error);
    if (rv == GET_ABSENT) {
        rv = get_from_candidates(&get, error);
    }
    tac_read_side_count(side, &get.counts);
    return rv == GET_ABSENT ? TACTUS_ENOTFOUND : rv;
}

bool tac_read_side_get_try(struct tac_read_side *side, uint32_t tree, struct tac_bytes key,
                           struct tac_value_sink *sink, struct tac_load *load, int *ret_code,
                           struct tac_error *error)
{
    struct get get;
    int        rv;

    get_init(&get, side, tree, key, sink, load);
    rv = get_once(&get, error);
    if (rv == GET_WANTS) {
        /* What it has found in the caches it finds again. */
        get.counts = (struct tac_read_counts){.misses = 1};
        tac_assert(load->state == TAC_LOAD_WANTED);
    } else {
        tac_load_drop(load);
    }
    tac_read_side_count(side, &get.counts);
    *ret_code = rv;
    return rv != GET_WANTS;
}

struct tactus_value tac_value_sink_value(const struct tac_value_sink *sink)
{
    return (struct tactus_value){
        .data = sink->size > 0 ? sink->data : "",
        .size = sink->size,
        .internal = {sink->frame, sink->copy},
    };
}

void tac_value_sink_release(struct tac_value_sink *sink)
{
    if (sink->frame != NULL) {
        tac_cache_unpin(sink->frame);
    }
    free(sink->copy);
    sink->frame = NULL;
    sink->copy = NULL;
}
