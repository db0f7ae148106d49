/* SPDX-License-Identifier: Apache-2.0 */
/* iterator -- the records of a tree in order, as of the op at which it was opened.
 *
 * The sources play a tournament by their heads (a tree of losers: Knuth, The Art of Computer
 * Programming 3, 5.4.1); of equal keys the newest source wins. The winner has the iterator's
 * record. A move passes over the record's key in all sources, then over keys whose newest version
 * is a tombstone, or was deleted with a range: its source is then taken past what the range has of
 * its table. A source that is only at a bound is read when it wins.
 *
 * The record lies in its source's memory; before that is overwritten it is taken into the
 * iterator's own. So it stays valid when a move fails, and the next move finds its way from it:
 * after a failure, as at a change of direction, all sources are positioned anew at the record's
 * key.
 *
 * Bounds: the iterator stands nowhere once the winner's head, record or bound, has left the range.
 * A source's bound comes before all that it has left, so no table outside of the range is read but
 * where its run is sought in. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/mutant.h"
#include "base/units.h"
#include "queues/atomics.h"
#include "reading/iterator_source.h"

/* Runs of all levels of a tree: as in get.c. */
#define RUNS_MAX 512

/* A source in the tournament. */
struct contender {
    uint64_t prefix; /* Of the head's key; inverted when walking backward; of an end the highest */
    uint32_t source;
};

/* A key, and whose memory it lies in; NULL: the iterator's. */
struct borrowed_key {
    struct tac_bytes   key;
    uint64_t           prefix; /* As a contender's */
    struct tac_source *owner;
};

/* What had been deleted by ranges, with the bounds, in one piece of memory. */
struct deleted_ranges {
    struct tac_range *ranges; /* NULL: none */
    uint32_t          count;
};

struct tac_iterator {
    struct tac_source_shared   shared;
    struct tac_memtable_reader readers[2];
    uint32_t                   source_count;
    struct tac_source         *sources;
    /* The tournament; valid while positioned. Source i enters at node source_count + i, half of a
     * node is its parent, and 1 is the final. Each node keeps who lost there. */
    struct contender   *losers;  /* source_count; 0 is not used */
    struct contender   *winners; /* 2 * source_count: scratch of the seeding */
    struct contender    winner;
    bool                is_positioned; /* The winner has the record */
    struct tac_record   record;        /* Without key: it stands nowhere */
    struct tac_source  *record_owner;  /* NULL: it is in record_memory */
    struct borrowed_key passed;        /* Its versions are passed over; key.size 0: none */
    uint8_t            *record_memory; /* shared.record_bytes */
    uint8_t            *passed_memory; /* TACTUS_KEY_SIZE_MAX */
    uint8_t            *seek_memory;   /* TACTUS_KEY_SIZE_MAX: the caller's key, copied */
    /* The range; size 0: no bound. The keys lie in memory of the iterator. */
    struct tac_bytes low;          /* Not before this one */
    struct tac_bytes high;         /* And before this one */
    uint64_t         limit_prefix; /* As a contender's: what has a lower one is within the range */
    uint8_t         *bound_memory; /* 2 * TACTUS_KEY_SIZE_MAX */
    struct deleted_ranges ranges;
    struct tac_range_span span; /* Keys about which the ranges say the same, if has_span */
    bool                  has_span;
};

/* ---- life ---- */

/* What is taken out of the view at the opening. */
struct opening {
    struct tac_memtable  *memtables[2]; /* The newer one first */
    uint32_t              memtable_count;
    uint32_t              run_count;
    struct deleted_ranges ranges;
    uint8_t               levels[RUNS_MAX]; /* Of each run */
    uint16_t              runs[RUNS_MAX];   /* Its number there */
};

tac_static_assert(TACTUS_LEVELS_MAX <= UINT8_MAX && RUNS_MAX <= UINT16_MAX, "numbers fit");

/* Counts a range, with its bounds' bytes, or copies it. */
static void range_take(struct deleted_ranges *ranges, const struct tac_range *range,
                       uint64_t *bytes)
{
    if (ranges->ranges != NULL) {
        uint8_t          *bounds = (uint8_t *)ranges->ranges + *bytes;
        struct tac_range *copy = &ranges->ranges[ranges->count];

        memcpy(bounds, range->low.data, range->low.size);
        memcpy(bounds + range->low.size, range->high.data, range->high.size);
        *copy = (struct tac_range){
            .op = range->op,
            .low = {bounds, range->low.size},
            .high = {bounds + range->low.size, range->high.size},
        };
    }
    ranges->count++;
    *bytes += (uint64_t)range->low.size + range->high.size;
}

/* All that the view has up to its op. */
static void ranges_walk(const struct opening *opening, const struct tac_source_shared *shared,
                        const struct tac_version_tree *tree, struct deleted_ranges *ranges,
                        uint64_t *bytes)
{
    for (uint32_t i = 0; i < tree->range_count; i++) {
        range_take(ranges, &tree->ranges[i], bytes);
    }
    for (uint32_t i = 0; i < opening->memtable_count; i++) {
        uint32_t ref = tac_memtable_ranges(opening->memtables[i], shared->tree);

        while (ref != 0) {
            struct tac_range range = tac_memtable_range(opening->memtables[i], ref, &ref);

            if (range.op <= shared->visible_op) {
                range_take(ranges, &range, bytes);
            }
        }
    }
}

/* Inside the guard; memory is asked for only where there are any. */
static int ranges_copy(struct opening *opening, const struct tac_source_shared *shared,
                       const struct tac_version_tree *tree, struct tac_error *error)
{
    struct deleted_ranges ranges = {.ranges = NULL};
    uint64_t              bytes = 0;

    ranges_walk(opening, shared, tree, &ranges, &bytes);
    if (ranges.count > 0) {
        bytes += ranges.count * sizeof *ranges.ranges;
        ranges.ranges = malloc(bytes);
        if (ranges.ranges == NULL) {
            return tac_error_set(error, TACTUS_ENOMEM,
                                 "no memory for what was deleted: %" PRIu64 " bytes", bytes);
        }
        bytes = ranges.count * sizeof *ranges.ranges;
        ranges.count = 0;
        ranges_walk(opening, shared, tree, &ranges, &bytes);
    }
    opening->ranges = ranges;
    return TACTUS_OK;
}

/* Inside the guard. */
static int opening_take(struct opening *opening, struct tac_source_shared *shared, uint32_t tree_id,
                        struct tac_error *error)
{
    const struct tac_view         *view = shared->view;
    const struct tac_version_tree *tree = tac_version_tree_find(view->version, tree_id);

    if (tree == NULL) {
        return tac_error_set(error, TACTUS_ENOTREE, "no tree with id %u", tree_id);
    }
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
    return ranges_copy(opening, shared, tree, error);
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
           (memtables + runs) * (sizeof(struct tac_source) + 3 * sizeof(struct contender)) +
           memtables * tac_source_near_bytes(shared, false) +
           runs * tac_source_near_bytes(shared, true) + tac_round_up(shared->record_bytes, 8) +
           4 * TACTUS_KEY_SIZE_MAX;
}

static void iterator_init(struct tac_iterator *iterator, const struct tac_source_shared *shared,
                          const struct opening *opening)
{
    struct tac_source *source = (struct tac_source *)(iterator + 1);
    uint32_t           source_count = opening->memtable_count + opening->run_count;
    uint8_t           *near;

    *iterator = (struct tac_iterator){
        .shared = *shared,
        .source_count = source_count,
        .ranges = opening->ranges,
    };
    iterator->sources = source;
    iterator->losers = (struct contender *)(source + source_count);
    iterator->winners = iterator->losers + source_count;
    near = (uint8_t *)(iterator->winners + 2 * source_count);
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
    iterator->bound_memory = iterator->seek_memory + TACTUS_KEY_SIZE_MAX;
    near = iterator->bound_memory + 2 * TACTUS_KEY_SIZE_MAX;
    tac_assert((uint64_t)(near - (uint8_t *)iterator) == iterator_bytes(shared, opening));
}

static int iterator_new(const struct tac_source_shared *shared, const struct opening *opening,
                        struct tac_iterator **ret_iterator, struct tac_error *error)
{
    uint64_t             bytes = iterator_bytes(shared, opening);
    struct tac_iterator *iterator = malloc(bytes);

    if (iterator == NULL) {
        free(opening->ranges.ranges);
        return tac_error_set(error, TACTUS_ENOMEM, "no memory for an iterator: %" PRIu64 " bytes",
                             bytes);
    }
    iterator_init(iterator, shared, opening);
    *ret_iterator = iterator;
    return TACTUS_OK;
}

/* The newest view's, or (`view`) that of a view that never goes. */
static int iterator_open(struct tac_read_side *side, const struct tac_view *view, uint32_t tree,
                         struct tac_iterator **ret_iterator, struct tac_error *error)
{
    struct tac_source_shared shared = {.side = side, .view = view, .tree = tac_tree_number(tree)};
    struct tac_read_ticket   ticket = tac_read_side_enter(side);
    struct opening           opening; /* Large: only what is used is written */
    int                      rv;

    opening.memtable_count = 0;
    opening.run_count = 0;
    opening.ranges = (struct deleted_ranges){.ranges = NULL};
    if (view == NULL) {
        shared.view = tac_read_side_view(side, &shared.visible_op);
    }
    shared.view_bar = shared.view->bar;
    rv = opening_take(&opening, &shared, tree, error);
    tac_read_side_leave(side, ticket);
    if (rv != TACTUS_OK) {
        return rv;
    }
    shared_dimension(&shared);
    return iterator_new(&shared, &opening, ret_iterator, error);
}

int tac_iterator_open(struct tac_read_side *side, uint32_t tree, struct tac_iterator **ret_iterator,
                      struct tac_error *error)
{
    return iterator_open(side, NULL, tree, ret_iterator, error);
}

int tac_iterator_open_of(struct tac_read_side *side, const struct tac_view *view, uint32_t tree,
                         struct tac_iterator **ret_iterator, struct tac_error *error)
{
    tac_assert(view->bar == TAC_VIEW_BAR_NEVER); /* It is not stale, whatever bar it is. */
    return iterator_open(side, view, tree, ret_iterator, error);
}

void tac_iterator_close(struct tac_iterator *iterator)
{
    if (iterator == NULL) {
        return;
    }
    for (uint32_t i = 0; i < iterator->source_count; i++) {
        tac_source_finish(&iterator->sources[i]);
    }
    free(iterator->ranges.ranges);
    free(iterator);
}

/* ---- the tournament ---- */

static uint64_t walk_prefix(const struct tac_iterator *iterator, struct tac_bytes key)
{
    uint64_t prefix = tac_key_prefix(key.data, key.size);

    return iterator->shared.is_backward ? ~prefix : prefix;
}

static struct contender contender_of(const struct tac_iterator *iterator, uint32_t number)
{
    const struct tac_source *source = &iterator->sources[number];

    return (struct contender){
        .prefix =
            source->state == TAC_SOURCE_END ? UINT64_MAX : walk_prefix(iterator, source->head.key),
        .source = number,
    };
}

/* Whether source a wins against source b with the same prefix. Two that have ended: either. */
static bool prefixes_equal_wins(const struct tac_iterator *iterator, uint32_t number_a,
                                uint32_t number_b)
{
    const struct tac_source *a = &iterator->sources[number_a], *b = &iterator->sources[number_b];
    int                      order;

    if (a->state == TAC_SOURCE_END || b->state == TAC_SOURCE_END) {
        return b->state == TAC_SOURCE_END;
    }
    order = tac_bytes_compare(a->head.key, b->head.key);
    if (order != 0) {
        return (order < 0) != iterator->shared.is_backward;
    }
    return a->rank != b->rank ? a->rank < b->rank : a->stamp > b->stamp;
}

static inline bool contender_wins(const struct tac_iterator *iterator, struct contender a,
                                  struct contender b)
{
    return a.prefix != b.prefix ? a.prefix < b.prefix
                                : prefixes_equal_wins(iterator, a.source, b.source);
}

/* All matches, from the entries up. */
static void tournament_seed(struct tac_iterator *iterator)
{
    uint32_t          count = iterator->source_count;
    struct contender *winners = iterator->winners;

    tac_assert(count > 0);
    for (uint32_t i = 0; i < count; i++) {
        winners[count + i] = contender_of(iterator, i);
    }
    for (uint32_t node = count - 1; node > 0; node--) {
        struct contender a = winners[2 * node], b = winners[2 * node + 1];
        bool             a_wins = contender_wins(iterator, a, b);

        winners[node] = a_wins ? a : b;
        iterator->losers[node] = a_wins ? b : a;
    }
    iterator->winner = winners[1];
}

/* The winner's source has moved: its matches again. They are exchanged with masks, as no processor
 * can predict who wins. */
static void tournament_replay(struct tac_iterator *iterator)
{
    struct contender winner = contender_of(iterator, iterator->winner.source);

    for (uint32_t node = (iterator->source_count + winner.source) / 2; node > 0; node /= 2) {
        struct contender *loser = &iterator->losers[node];
        uint64_t          mask, difference;
        uint32_t          exchange;

        if (__builtin_expect(loser->prefix == winner.prefix, 0)) {
            mask = -(uint64_t)prefixes_equal_wins(iterator, loser->source, winner.source);
        } else {
            mask = -(uint64_t)(loser->prefix < winner.prefix);
        }
        difference = (loser->prefix ^ winner.prefix) & mask;
        exchange = (loser->source ^ winner.source) & (uint32_t)mask;
        loser->prefix ^= difference;
        loser->source ^= exchange;
        winner.prefix ^= difference;
        winner.source ^= exchange;
    }
    iterator->winner = winner;
}

static struct tac_source *winner_source(const struct tac_iterator *iterator)
{
    return &iterator->sources[iterator->winner.source];
}

/* ---- the range ---- */

static bool is_below_range(const struct tac_iterator *iterator, struct tac_bytes key)
{
    return iterator->low.size > 0 && tac_bytes_compare(key, iterator->low) < 0;
}

static bool is_above_range(const struct tac_iterator *iterator, struct tac_bytes key)
{
    return iterator->high.size > 0 && tac_bytes_compare(key, iterator->high) >= 0;
}

/* After the direction of a walk has been set. */
static void limit_set(struct tac_iterator *iterator)
{
    struct tac_bytes limit = iterator->shared.is_backward ? iterator->low : iterator->high;

    iterator->limit_prefix = limit.size == 0 ? UINT64_MAX : walk_prefix(iterator, limit);
}

/* Whether the walk has left the range: all that is left, or there is nothing. */
static bool walk_has_ended(const struct tac_iterator *iterator)
{
    const struct tac_source *winner;

    if (iterator->source_count == 0) {
        return true;
    }
    if (iterator->winner.prefix < iterator->limit_prefix) {
        return false;
    }
    winner = winner_source(iterator);
    return winner->state == TAC_SOURCE_END ||
           (iterator->shared.is_backward ? is_below_range(iterator, winner->head.key)
                                         : is_above_range(iterator, winner->head.key));
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

/* Moves the winner by one record, or from its bound to what is behind it. */
static int iterator_advance_winner(struct tac_iterator *iterator, struct tac_error *error)
{
    struct tac_source *source = winner_source(iterator);
    int                rv = TACTUS_OK;

    if (source->state == TAC_SOURCE_BOUND) {
        iterator_disown(iterator, source);
        rv = tac_source_load(source, &iterator->shared, error);
    } else if (!tac_source_advance_in_page(source, &iterator->shared)) {
        iterator_disown(iterator, source);
        rv = tac_source_advance(source, &iterator->shared, error);
    }
    if (rv == TACTUS_OK) {
        tournament_replay(iterator);
    }
    return rv;
}

static void iterator_pass_over(struct tac_iterator *iterator, struct tac_bytes key, uint64_t prefix,
                               struct tac_source *owner)
{
    iterator->passed = (struct borrowed_key){.key = key, .prefix = prefix, .owner = owner};
}

static bool winner_is_passed(const struct tac_iterator *iterator, const struct tac_source *winner)
{
    const struct borrowed_key *passed = &iterator->passed;

    return iterator->winner.prefix == passed->prefix && passed->key.size > 0 &&
           tac_bytes_compare(winner->head.key, passed->key) == 0;
}

static void iterator_stand_nowhere(struct tac_iterator *iterator)
{
    iterator->record = (struct tac_record){0};
    iterator->record_owner = NULL;
}

/* Whether a range has deleted the record; then iterator->span has the keys of which it is so. */
static bool is_deleted(struct tac_iterator *iterator, const struct tac_source *source)
{
    struct tac_range_span *span = &iterator->span;
    struct tac_bytes       key = source->head.key;

    if (iterator->ranges.count == 0) {
        return false;
    }
    if (!iterator->has_span || (span->from.size > 0 && tac_bytes_compare(key, span->from) < 0) ||
        (span->until.size > 0 && tac_bytes_compare(key, span->until) >= 0)) {
        *span = tac_ranges_span(iterator->ranges.ranges, iterator->ranges.count, key);
        iterator->has_span = true;
    }
    return source->op < span->op;
}

/* The winner's record is deleted, and all of its table up to the end of the span. */
static int iterator_skip_winner(struct tac_iterator *iterator, struct tac_error *error)
{
    struct tac_source *source = winner_source(iterator);
    struct tac_bytes   end =
        iterator->shared.is_backward ? iterator->span.from : iterator->span.until;
    int rv;

    if (tac_bytes_compare(source->head.key, end) == 0) { /* The first key of the span, backward */
        return iterator_advance_winner(iterator, error);
    }
    iterator_disown(iterator, source);
    rv = tac_source_skip(source, &iterator->shared, end, error);
    if (rv == TACTUS_OK) {
        tournament_replay(iterator);
    }
    return rv;
}

/* To the next key that is not passed over and whose newest version is not a tombstone. What is dead
 * by a range needs no passing over: the older versions of the key are so, too. */
static int iterator_settle(struct tac_iterator *iterator, struct tac_error *error)
{
    while (!walk_has_ended(iterator)) {
        struct tac_source *winner = winner_source(iterator);

        if (winner->state == TAC_SOURCE_RECORD && is_deleted(iterator, winner)) {
            int skipped = iterator_skip_winner(iterator, error);

            if (skipped != TACTUS_OK) {
                return skipped;
            }
            continue;
        }
        if (winner->state == TAC_SOURCE_RECORD && !winner_is_passed(iterator, winner)) {
            if (!TAC_MUTANT(BACK_OVER_TOMBSTONE) || !iterator->shared.is_backward ||
                !winner->head.is_tombstone) {
                iterator_pass_over(iterator, winner->head.key, iterator->winner.prefix, winner);
            }
            if (!winner->head.is_tombstone) {
                iterator->record = winner->head;
                iterator->record_owner = winner;
                iterator->is_positioned = true;
                return TACTUS_OK;
            }
        }
        int rv = iterator_advance_winner(iterator, error);

        if (rv != TACTUS_OK) {
            return rv;
        }
    }
    iterator_stand_nowhere(iterator);
    return TACTUS_ENOTFOUND;
}

/* Positions all sources at the key (size 0: the beginning) and lets them play. The key is not in a
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
    limit_set(iterator);
    rv = tac_sources_seek(iterator->sources, iterator->source_count, &iterator->shared, key, error);
    if (rv != TACTUS_OK) {
        return rv;
    }
    if (iterator->source_count > 0) {
        tournament_seed(iterator);
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

/* Ends a move that leads out of the range. */
static int iterator_leave(struct tac_iterator *iterator)
{
    iterator_stand_nowhere(iterator);
    return iterator_moved(iterator, TACTUS_ENOTFOUND);
}

/* To the first record at or behind the key, or behind it, in the direction of the walk. The key is
 * within the range or, not included, its upper bound; it is not in a source's memory. */
static int iterator_seek_within(struct tac_iterator *iterator, struct tac_bytes key,
                                bool is_backward, bool is_included, struct tac_error *error)
{
    int rv = iterator_seek_sources(iterator, key, is_backward, error);

    if (rv == TACTUS_OK && !is_included) {
        iterator_pass_over(iterator, key, walk_prefix(iterator, key), NULL);
    }
    if (rv == TACTUS_OK) {
        rv = iterator_settle(iterator, error);
    }
    return iterator_moved(iterator, rv);
}

/* The caller's key may be the record's own, in memory that a seek overwrites. */
static int seek_key_take(struct tac_iterator *iterator, struct tac_bytes *key,
                         struct tac_error *error)
{
    if (key->size > TACTUS_KEY_SIZE_MAX) {
        return tac_error_set(error, TACTUS_EKEYSIZE, "a key of %u bytes; at most %u are possible",
                             key->size, TACTUS_KEY_SIZE_MAX);
    }
    if (key->size > 0) {
        memcpy(iterator->seek_memory, key->data, key->size);
        key->data = iterator->seek_memory;
    }
    return TACTUS_OK;
}

static int iterator_step(struct tac_iterator *iterator, bool is_backward, struct tac_error *error)
{
    int rv;

    if (iterator->record.key.size == 0) {
        return TACTUS_ENOTFOUND;
    }
    if (iterator->is_positioned && iterator->shared.is_backward == is_backward) {
        rv = iterator_advance_winner(iterator, error);
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

static struct tac_bytes bound_take(struct tac_bytes bound, uint8_t *memory)
{
    if (bound.size > 0) {
        memcpy(memory, bound.data, bound.size);
    }
    return (struct tac_bytes){memory, bound.size};
}

int tac_iterator_bound(struct tac_iterator *iterator, struct tac_bytes low, struct tac_bytes high,
                       struct tac_error *error)
{
    if (low.size > TACTUS_KEY_SIZE_MAX || high.size > TACTUS_KEY_SIZE_MAX) {
        return tac_error_set(error, TACTUS_EKEYSIZE, "a bound of %u bytes; at most %u are possible",
                             low.size > high.size ? low.size : high.size, TACTUS_KEY_SIZE_MAX);
    }
    iterator->low = bound_take(low, iterator->bound_memory);
    iterator->high = bound_take(high, iterator->bound_memory + TACTUS_KEY_SIZE_MAX);
    (void)iterator_leave(iterator);
    return TACTUS_OK;
}

int tac_iterator_first(struct tac_iterator *iterator, struct tac_error *error)
{
    return iterator_seek_within(iterator, iterator->low, false, true, error);
}

int tac_iterator_last(struct tac_iterator *iterator, struct tac_error *error)
{
    return iterator_seek_within(iterator, iterator->high, true, iterator->high.size == 0, error);
}

int tac_iterator_seek(struct tac_iterator *iterator, struct tac_bytes key, struct tac_error *error)
{
    int rv = seek_key_take(iterator, &key, error);

    if (rv != TACTUS_OK) {
        return rv;
    }
    if (is_above_range(iterator, key)) {
        return iterator_leave(iterator);
    }
    return is_below_range(iterator, key) ? tac_iterator_first(iterator, error)
                                         : iterator_seek_within(iterator, key, false, true, error);
}

int tac_iterator_seek_back(struct tac_iterator *iterator, struct tac_bytes key,
                           struct tac_error *error)
{
    int rv = seek_key_take(iterator, &key, error);

    if (rv != TACTUS_OK) {
        return rv;
    }
    /* No key is at or before the empty one. */
    if (key.size == 0 || is_below_range(iterator, key)) {
        return iterator_leave(iterator);
    }
    return is_above_range(iterator, key) ? tac_iterator_last(iterator, error)
                                         : iterator_seek_within(iterator, key, true, true, error);
}

int tac_iterator_next(struct tac_iterator *iterator, struct tac_error *error)
{
    return iterator_step(iterator, false, error);
}

int tac_iterator_previous(struct tac_iterator *iterator, struct tac_error *error)
{
    return iterator_step(iterator, true, error);
}

const struct tac_record *tac_iterator_record(const struct tac_iterator *iterator)
{
    return &iterator->record;
}
