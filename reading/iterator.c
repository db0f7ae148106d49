/* SPDX-License-Identifier: Apache-2.0 */
/* iterator -- the records of a tree in order, as of the op at which it was opened.
 *
 * A heap holds the sources by their heads; of equal keys the newest source comes first. The source
 * on top has the iterator's record. A move passes over the record's key in all sources, then over
 * keys whose newest version is a tombstone. A source that is only at a bound is read when the bound
 * comes to the top.
 *
 * The record lies in its source's memory; before that is overwritten it is taken into the
 * iterator's own. So it stays valid when a move fails, and the next move finds its way from it:
 * after a failure, as at a change of direction, all sources are positioned anew at the record's
 * key. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/mutant.h"
#include "base/units.h"
#include "queues/atomics.h"
#include "reading/iterator_source.h"

/* Runs of all levels of a tree: as in get.c. */
#define RUNS_MAX 512

struct heap_node {
    uint64_t           prefix; /* Of the head's key; inverted when walking backward */
    struct tac_source *source;
};

/* A key, and whose memory it lies in; NULL: the iterator's. */
struct borrowed_key {
    struct tac_bytes   key;
    uint64_t           prefix; /* As a heap node's */
    struct tac_source *owner;
};

struct tac_iterator {
    struct tac_source_shared   shared;
    struct tac_memtable_reader readers[2];
    uint32_t                   source_count;
    struct tac_source         *sources;
    struct heap_node          *nodes; /* A heap of node_count; valid while positioned */
    uint32_t                   node_count;
    bool                       is_positioned; /* The source on top has the record */
    bool                       has_record;    /* Else it stands nowhere */
    struct tac_record          record;
    struct tac_source         *record_owner;  /* NULL: it is in record_memory */
    struct borrowed_key        passed;        /* Its versions are passed over; key.size 0: none */
    uint8_t                   *record_memory; /* shared.record_bytes */
    uint8_t                   *passed_memory; /* TACTUS_KEY_SIZE_MAX */
    uint8_t                   *seek_memory;   /* TACTUS_KEY_SIZE_MAX: the caller's key, copied */
};

/* ---- life ---- */

/* What is taken out of the view at the opening. */
struct opening {
    struct tac_memtable *memtables[2]; /* The newer one first */
    uint32_t             memtable_count;
    uint32_t             run_count;
    uint8_t              levels[RUNS_MAX]; /* Of each run */
    uint16_t             runs[RUNS_MAX];   /* Its number there */
};

tac_static_assert(TACTUS_LEVELS_MAX <= UINT8_MAX && RUNS_MAX <= UINT16_MAX, "numbers fit");

/* Inside the guard. */
static int opening_take(struct opening *opening, struct tac_source_shared *shared,
                        struct tac_error *error)
{
    const struct tac_view         *view = shared->view;
    const struct tac_version_tree *tree;

    if (shared->tree >= tac_atomic_load_acquire_u32(&view->version->tree_count)) {
        return tac_error_set(error, TACTUS_ENOTREE, "there is no tree %u", shared->tree);
    }
    tree = &view->version->trees[shared->tree];
    shared->layout = tree->layout;
    if (shared->visible_op > 0) { /* Before the first op there is nothing in them. */
        opening->memtables[opening->memtable_count++] = view->mutable_table;
        if (view->immutable_table != NULL) {
            opening->memtables[opening->memtable_count++] = view->immutable_table;
        }
    }
    for (uint32_t level = 0; level < tree->level_count; level++) {
        for (uint32_t run = 0; run < tree->levels[level].run_count; run++) {
            tac_assert(opening->run_count < RUNS_MAX);
            opening->levels[opening->run_count] = (uint8_t)level;
            opening->runs[opening->run_count] = (uint16_t)run;
            opening->run_count++;
        }
    }
    return TACTUS_OK;
}

/* Sizes that follow from geometry and layout. A record is at most a quarter of a block; its page
 * may take one unit more. */
static void shared_dimension(struct tac_source_shared *shared)
{
    const struct tac_geometry *geometry = &shared->side->geometry;
    uint32_t                   units = geometry->block_size / geometry->page_size;
    uint32_t                   chunk_units = units / 4 + 1;

    if (chunk_units < TAC_CHUNK_PAGES_MAX) {
        chunk_units = TAC_CHUNK_PAGES_MAX;
    }
    shared->chunk_units = chunk_units < units - 1 ? chunk_units : units - 1;
    shared->record_bytes = shared->layout.key_size + shared->layout.value_size;
    if (shared->record_bytes > shared->chunk_units * geometry->page_size) {
        shared->record_bytes = shared->chunk_units * geometry->page_size;
    }
}

/* The iterator and its sources, with their memory, in one piece. */
static uint64_t iterator_bytes(const struct tac_source_shared *shared,
                               const struct opening           *opening)
{
    uint64_t memtables = opening->memtable_count, runs = opening->run_count;

    return sizeof(struct tac_iterator) +
           (memtables + runs) * (sizeof(struct tac_source) + sizeof(struct heap_node)) +
           memtables * tac_source_near_bytes(shared, false) +
           runs * tac_source_near_bytes(shared, true) + tac_round_up(shared->record_bytes, 8) +
           2 * TACTUS_KEY_SIZE_MAX;
}

static void iterator_init(struct tac_iterator *iterator, const struct tac_source_shared *shared,
                          const struct opening *opening)
{
    struct tac_source *source = (struct tac_source *)(iterator + 1);
    uint32_t           source_count = opening->memtable_count + opening->run_count;
    uint8_t           *near;

    *iterator = (struct tac_iterator){.shared = *shared, .source_count = source_count};
    iterator->sources = source;
    iterator->nodes = (struct heap_node *)(source + source_count);
    near = (uint8_t *)(iterator->nodes + source_count);
    for (uint32_t i = 0; i < opening->memtable_count; i++) {
        tac_memtable_reader_init(&iterator->readers[i], opening->memtables[i], shared->tree,
                                 shared->visible_op);
        tac_source_init_memtable(source++, shared, i, &iterator->readers[i], near);
        near += tac_source_near_bytes(shared, false);
    }
    for (uint32_t i = 0; i < opening->run_count; i++) {
        tac_source_init_run(source++, shared, opening->levels[i], opening->runs[i], near);
        near += tac_source_near_bytes(shared, true);
    }
    tac_assert(source == iterator->sources + source_count);
    iterator->record_memory = near;
    iterator->passed_memory = near + tac_round_up(shared->record_bytes, 8);
    iterator->seek_memory = iterator->passed_memory + TACTUS_KEY_SIZE_MAX;
    near = iterator->seek_memory + TACTUS_KEY_SIZE_MAX;
    tac_assert((uint64_t)(near - (uint8_t *)iterator) == iterator_bytes(shared, opening));
}

static int iterator_new(const struct tac_source_shared *shared, const struct opening *opening,
                        struct tac_iterator **ret_iterator, struct tac_error *error)
{
    uint64_t             bytes = iterator_bytes(shared, opening);
    struct tac_iterator *iterator = malloc(bytes);

    if (iterator == NULL) {
        return tac_error_set(error, TACTUS_ENOMEM, "no memory for an iterator: %" PRIu64 " bytes",
                             bytes);
    }
    iterator_init(iterator, shared, opening);
    *ret_iterator = iterator;
    return TACTUS_OK;
}

int tac_iterator_open(struct tac_read_side *side, uint32_t tree, struct tac_iterator **ret_iterator,
                      struct tac_error *error)
{
    struct tac_source_shared shared = {.side = side, .tree = tree};
    struct tac_read_ticket   ticket = tac_read_side_enter(side);
    struct opening           opening; /* Large: only what is used is written */
    int                      rv;

    opening.memtable_count = 0;
    opening.run_count = 0;
    shared.view = tac_read_side_view(side, &shared.visible_op);
    shared.view_bar = shared.view->bar;
    rv = opening_take(&opening, &shared, error);
    tac_read_side_leave(side, ticket);
    if (rv != TACTUS_OK) {
        return rv;
    }
    shared_dimension(&shared);
    return iterator_new(&shared, &opening, ret_iterator, error);
}

void tac_iterator_close(struct tac_iterator *iterator)
{
    if (iterator == NULL) {
        return;
    }
    for (uint32_t i = 0; i < iterator->source_count; i++) {
        tac_source_finish(&iterator->sources[i]);
    }
    free(iterator);
}

/* ---- the heap ---- */

static uint64_t walk_prefix(const struct tac_iterator *iterator, struct tac_bytes key)
{
    uint64_t prefix = tac_key_prefix(key.data, key.size);

    return iterator->shared.is_backward ? ~prefix : prefix;
}

/* Whether a's head comes before b's in the walk. */
static bool node_is_before(const struct tac_iterator *iterator, const struct heap_node *a,
                           const struct heap_node *b)
{
    int order;

    if (a->prefix != b->prefix) {
        return a->prefix < b->prefix;
    }
    order = tac_bytes_compare(a->source->head.key, b->source->head.key);
    if (order != 0) {
        return (order < 0) != iterator->shared.is_backward;
    }
    if (a->source->rank != b->source->rank) {
        return a->source->rank < b->source->rank;
    }
    return a->source->stamp > b->source->stamp;
}

static void heap_sift_down(struct tac_iterator *iterator, uint32_t at)
{
    struct heap_node *nodes = iterator->nodes;
    struct heap_node  node = nodes[at];

    tac_assert(at < iterator->node_count);
    for (;;) {
        uint32_t child = 2 * at + 1;

        if (child >= iterator->node_count) {
            break;
        }
        if (child + 1 < iterator->node_count &&
            node_is_before(iterator, &nodes[child + 1], &nodes[child])) {
            child++;
        }
        if (!node_is_before(iterator, &nodes[child], &node)) {
            break;
        }
        nodes[at] = nodes[child];
        at = child;
    }
    nodes[at] = node;
}

/* The top's source has moved. */
static void heap_top_moved(struct tac_iterator *iterator)
{
    struct heap_node *top = &iterator->nodes[0];

    if (top->source->state == TAC_SOURCE_END) {
        iterator->node_count--;
        if (iterator->node_count == 0) {
            return;
        }
        *top = iterator->nodes[iterator->node_count];
    } else {
        top->prefix = walk_prefix(iterator, top->source->head.key);
    }
    heap_sift_down(iterator, 0);
}

/* ---- moving ---- */

static void record_own(struct tac_iterator *iterator)
{
    struct tac_record *record = &iterator->record;
    uint8_t           *memory = iterator->record_memory;

    tac_assert(record->key.size + record->value.size <= iterator->shared.record_bytes);
    memcpy(memory, record->key.data, record->key.size);
    if (record->value.size > 0) {
        memcpy(memory + record->key.size, record->value.data, record->value.size);
    }
    record->key.data = memory;
    record->value.data = memory + record->key.size;
    iterator->record_owner = NULL;
}

/* The source's memory will be overwritten: takes what lies in it. */
static void iterator_disown(struct tac_iterator *iterator, const struct tac_source *source)
{
    struct borrowed_key *passed = &iterator->passed;

    if (iterator->record_owner == source && !TAC_MUTANT(ITERATOR_KEEPS_POINTER)) {
        record_own(iterator);
    }
    if (passed->owner == source) {
        tac_assert(passed->key.size <= TACTUS_KEY_SIZE_MAX);
        memcpy(iterator->passed_memory, passed->key.data, passed->key.size);
        passed->key.data = iterator->passed_memory;
        passed->owner = NULL;
    }
}

/* Moves the source on top by one record, or from its bound to what is behind it. */
static int iterator_advance_top(struct tac_iterator *iterator, struct tac_error *error)
{
    struct tac_source *source = iterator->nodes[0].source;
    int                rv = TACTUS_OK;

    tac_assert(iterator->node_count > 0);
    if (source->state == TAC_SOURCE_BOUND) {
        iterator_disown(iterator, source);
        rv = tac_source_load(source, &iterator->shared, error);
    } else if (!tac_source_advance_in_page(source, &iterator->shared)) {
        iterator_disown(iterator, source);
        rv = tac_source_advance(source, &iterator->shared, error);
    }
    if (rv == TACTUS_OK) {
        heap_top_moved(iterator);
    }
    return rv;
}

static void iterator_pass_over(struct tac_iterator *iterator, struct tac_bytes key, uint64_t prefix,
                               struct tac_source *owner)
{
    iterator->passed = (struct borrowed_key){.key = key, .prefix = prefix, .owner = owner};
}

static bool top_is_passed(const struct tac_iterator *iterator)
{
    const struct borrowed_key *passed = &iterator->passed;

    return passed->key.size > 0 && iterator->nodes[0].prefix == passed->prefix &&
           tac_bytes_compare(iterator->nodes[0].source->head.key, passed->key) == 0;
}

/* To the next key that is not passed over and whose newest version is not a tombstone. */
static int iterator_settle(struct tac_iterator *iterator, struct tac_error *error)
{
    while (iterator->node_count > 0) {
        struct tac_source *top = iterator->nodes[0].source;

        if (top->state == TAC_SOURCE_RECORD && !top_is_passed(iterator)) {
            if (!TAC_MUTANT(BACK_OVER_TOMBSTONE) || !iterator->shared.is_backward ||
                !top->head.is_tombstone) {
                iterator_pass_over(iterator, top->head.key, iterator->nodes[0].prefix, top);
            }
            if (!top->head.is_tombstone) {
                iterator->record = top->head;
                iterator->record_owner = top;
                iterator->has_record = true;
                iterator->is_positioned = true;
                return TACTUS_OK;
            }
        }
        int rv = iterator_advance_top(iterator, error);

        if (rv != TACTUS_OK) {
            return rv;
        }
    }
    iterator->has_record = false;
    iterator->record_owner = NULL;
    return TACTUS_ENOTFOUND;
}

/* Positions all sources at the key (size 0: the beginning) and fills the heap. The key is not in a
 * source's memory. */
static int iterator_seek_sources(struct tac_iterator *iterator, struct tac_bytes key,
                                 bool is_backward, struct tac_error *error)
{
    int rv;

    if (iterator->record_owner != NULL) {
        record_own(iterator);
    }
    iterator->passed = (struct borrowed_key){0};
    iterator->shared.is_backward = is_backward;
    iterator->node_count = 0;
    rv = tac_sources_seek(iterator->sources, iterator->source_count, &iterator->shared, key, error);
    if (rv != TACTUS_OK) {
        return rv;
    }
    for (uint32_t i = 0; i < iterator->source_count; i++) {
        struct tac_source *source = &iterator->sources[i];

        if (source->state != TAC_SOURCE_END) {
            iterator->nodes[iterator->node_count++] = (struct heap_node){
                .prefix = walk_prefix(iterator, source->head.key),
                .source = source,
            };
        }
    }
    for (uint32_t i = iterator->node_count / 2; i > 0; i--) {
        heap_sift_down(iterator, i - 1);
    }
    return TACTUS_OK;
}

/* Ends every move: what was read is counted; after a failure the sources are anywhere. */
static int iterator_moved(struct tac_iterator *iterator, int code)
{
    struct tac_read_counts *counts = &iterator->shared.counts;

    if (code != TACTUS_OK) {
        iterator->is_positioned = false;
    }
    if (counts->hits + counts->misses > 0) {
        tac_read_side_count(iterator->shared.side, counts);
        *counts = (struct tac_read_counts){0};
    }
    return code;
}

static int iterator_seek(struct tac_iterator *iterator, struct tac_bytes key, bool is_backward,
                         struct tac_error *error)
{
    int rv;

    if (key.size > TACTUS_KEY_SIZE_MAX) {
        return tac_error_set(error, TACTUS_EKEYSIZE, "a key of %u bytes; at most %u are possible",
                             key.size, TACTUS_KEY_SIZE_MAX);
    }
    /* The caller's key may be the record's own, in memory that the seek overwrites. */
    if (key.size > 0) {
        memcpy(iterator->seek_memory, key.data, key.size);
        key.data = iterator->seek_memory;
    }
    rv = iterator_seek_sources(iterator, key, is_backward, error);
    if (rv == TACTUS_OK) {
        rv = iterator_settle(iterator, error);
    }
    return iterator_moved(iterator, rv);
}

static int iterator_step(struct tac_iterator *iterator, bool is_backward, struct tac_error *error)
{
    int rv;

    if (!iterator->has_record) {
        return TACTUS_ENOTFOUND;
    }
    if (iterator->is_positioned && iterator->shared.is_backward == is_backward) {
        rv = iterator_advance_top(iterator, error);
    } else {
        if (iterator->record_owner != NULL) {
            record_own(iterator);
        }
        rv = iterator_seek_sources(iterator, iterator->record.key, is_backward, error);
        iterator_pass_over(iterator, iterator->record.key,
                           walk_prefix(iterator, iterator->record.key), NULL);
    }
    if (rv == TACTUS_OK) {
        rv = iterator_settle(iterator, error);
    }
    return iterator_moved(iterator, rv);
}

/* ---- the interface ---- */

int tac_iterator_first(struct tac_iterator *iterator, struct tac_error *error)
{
    return iterator_seek(iterator, (struct tac_bytes){0}, false, error);
}

int tac_iterator_last(struct tac_iterator *iterator, struct tac_error *error)
{
    return iterator_seek(iterator, (struct tac_bytes){0}, true, error);
}

int tac_iterator_seek(struct tac_iterator *iterator, struct tac_bytes key, struct tac_error *error)
{
    return iterator_seek(iterator, key, false, error);
}

int tac_iterator_seek_back(struct tac_iterator *iterator, struct tac_bytes key,
                           struct tac_error *error)
{
    if (key.size == 0) { /* No key is at or before the empty one. */
        iterator->has_record = false;
        return TACTUS_ENOTFOUND;
    }
    return iterator_seek(iterator, key, true, error);
}

int tac_iterator_next(struct tac_iterator *iterator, struct tac_error *error)
{
    return iterator_step(iterator, false, error);
}

int tac_iterator_previous(struct tac_iterator *iterator, struct tac_error *error)
{
    return iterator_step(iterator, true, error);
}

struct tac_record tac_iterator_record(const struct tac_iterator *iterator)
{
    return iterator->has_record ? iterator->record : (struct tac_record){0};
}
