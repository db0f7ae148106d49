/* SPDX-License-Identifier: Apache-2.0 */
/* note: arena bound
 *
 * Claim: records of `capacity` accounted bytes, put in any order into up to TACTUS_TREES_MAX trees,
 * need at most capacity + TREES_BYTES + MARGIN_BYTES of arena.
 *
 * A put of s bytes of key and value takes 18 + s bytes, rounded up to eight: at most s + 25. It
 * accounts for s + 56, so 31 bytes are left for nodes, more than is needed:
 *
 * A tree of n distinct keys and height h (1: a leaf is the root). Call a node last if nothing of
 * its level lies to its right; every level has one, the root is one. Nodes split only when they
 * have 64 entries, and both halves keep 32; or a last leaf stays full and gets a right neighbour.
 * Entries never go. So a node that is not last has at least 32 entries, none of which leads to a
 * last node:
 *     leaves that are not last        at most n / 32                    of   832 bytes
 *     inner nodes that are not last   at most n / 32^2 + n / 32^3 + …   of 1,088 bytes
 * together less than 26 n + 1.0968 n < 27.1 n bytes. The last ones are one leaf and h - 1 inner
 * nodes. One leaf and one inner node per tree are TREES_BYTES. For h >= 3 there are h - 2 more, of
 * 1,088 (h - 2) bytes. The root came when the inner node below it had 64 children, 63 of them not
 * last: so n >= 63 (32^(h - 2)), and the 31 - 27.1 = 3.9 bytes that are left over per key, more
 * than 245 (32^(h - 2)) bytes together, pay for them.
 *
 * A deleted range of s bytes of bounds takes 24 + s bytes, rounded up to eight, accounts for s + 56
 * and has no node.
 *
 * Aligning nodes costs nothing, as they are taken from an aligned end in whole cache lines. The
 * line that the arena keeps unused at its beginning is MARGIN_BYTES.
 */
#include "lsm/memtable.h"

#include <stdlib.h>

#include "base/mutant.h"

#define TREES_BYTES (TACTUS_TREES_MAX * (TAC_MEMLEAF_BYTES + TAC_MEMINNER_BYTES))
#define MARGIN_BYTES ((uint64_t)TAC_CACHE_LINE_BYTES)

tac_static_assert(TAC_MEMTREE_FANOUT == 64 && TACTUS_RECORD_OVERHEAD_BYTES == 56,
                  "the arena bound was proved for these");

/* Records that the cursor asks for ahead of the one it gives, and how much of each: what a record
 * has beyond that comes by the processor's own prefetching. */
#define AHEAD_RECORDS 16
#define AHEAD_BYTES 192

/* A range that was deleted: as it is before its reference can be seen. */
struct memrange {
    uint64_t op;
    uint32_t older; /* Reference of the tree's one before it; 0: none */
    uint16_t low_size, high_size;
    uint32_t run;     /* 1 + index of the run of the tree's ranges up to this one; 0: none */
    uint8_t  bytes[]; /* Both bounds */
};

tac_static_assert(sizeof(struct memrange) == 24, "the arena's bound counts 24 bytes");

/* Ranges are a list, which is searched from the newest on. Every RUN_RANGES of a tree the edges of
 * all that it has by then are written down in order, as a run: who comes to it searches no further.
 * A run is there before its range can be seen, and stays as it is. */
#define RUN_RANGES 32
/* As many as the ranges that there can be make, if all are of one tree: after 32, 64, … ranges,
 * with two edges each. Where there is no room a search goes on along the list. */
#define RUNS_MAX (TAC_RANGES_MAX / RUN_RANGES)
#define RUN_EDGES_MAX (RUN_RANGES * RUNS_MAX * (RUNS_MAX + 1))

struct memrun {
    uint32_t first, count; /* Edges */
};

struct tac_memtable {
    /* Fixed at create. */
    uint64_t capacity_accounted;
    uint32_t trees_max;
    /* Written by the writer. */
    TAC_CACHE_ALIGNED uint64_t accounted; /* Any thread reads it: atomic, relaxed */
    uint32_t                   range_count;
    uint32_t                   run_count, edge_count;
    struct memrun              runs[RUNS_MAX];
    struct tac_range_edge      edges[RUN_EDGES_MAX]; /* Their keys are in the arena */
    struct tac_memarena        arena;
    struct tac_memtree         trees[TACTUS_TREES_MAX];
};

static uint64_t arena_bytes(uint64_t capacity_accounted)
{
    tac_assert(capacity_accounted > 0 && capacity_accounted <= TAC_MEMTABLE_CAPACITY_MAX);
    return tac_memarena_round_up(capacity_accounted + TREES_BYTES + MARGIN_BYTES);
}

static const struct tac_memtree *tree_at(const struct tac_memtable *memtable, uint32_t tree)
{
    tac_assert(tree < memtable->trees_max);
    return &memtable->trees[tree];
}

struct tac_memtable *tac_memtable_new(uint64_t capacity_accounted, uint32_t trees_max)
{
    struct tac_memtable *memtable;

    tac_assert(trees_max > 0 && trees_max <= TACTUS_TREES_MAX);
    memtable = aligned_alloc(TAC_CACHE_LINE_BYTES, sizeof *memtable);
    if (memtable == NULL) {
        return NULL;
    }
    memset(memtable, 0, sizeof *memtable);
    memtable->capacity_accounted = capacity_accounted;
    memtable->trees_max = trees_max;
    if (!tac_memarena_create(&memtable->arena, arena_bytes(capacity_accounted))) {
        free(memtable);
        return NULL;
    }
    return memtable;
}

void tac_memtable_free(struct tac_memtable *memtable)
{
    if (memtable == NULL) {
        return;
    }
    tac_memarena_destroy(&memtable->arena);
    free(memtable);
}

void tac_memtable_reset(struct tac_memtable *memtable)
{
    memset(memtable->trees, 0, sizeof memtable->trees);
    tac_memarena_reset(&memtable->arena);
    memtable->range_count = memtable->run_count = memtable->edge_count = 0;
    __atomic_store_n(&memtable->accounted, 0, __ATOMIC_RELAXED);
}

uint64_t tac_memtable_memory_bytes(uint64_t capacity_accounted)
{
    return arena_bytes(capacity_accounted) + sizeof(struct tac_memtable);
}

/* ---- writing -------------------------------------------------------------------------------- */

bool tac_memtable_fits(const struct tac_memtable *memtable, uint64_t accounted_bytes)
{
    uint64_t accounted = tac_memtable_accounted(memtable);

    tac_assert(accounted <= memtable->capacity_accounted);
    return accounted_bytes <= memtable->capacity_accounted - accounted;
}

void tac_memtable_put(struct tac_memtable *memtable, uint32_t tree, uint64_t op,
                      struct tac_bytes key, struct tac_bytes value, bool is_tombstone)
{
    struct tac_record record = {.key = key, .value = value, .is_tombstone = is_tombstone};
    uint64_t          bytes = tac_memtable_record_accounted(key.size, value.size);

    tac_assert(op > 0);
    tac_assert(tree < memtable->trees_max);
    tac_assert(tac_memtable_fits(memtable, bytes));
    tac_memtree_put(&memtable->arena, &memtable->trees[tree], op, &record);
    __atomic_store_n(&memtable->accounted, memtable->accounted + bytes, __ATOMIC_RELAXED);
}

static const struct memrange *range_at(const struct tac_memtable *memtable, uint32_t ref)
{
    return tac_memarena_at(&memtable->arena, ref);
}

static struct tac_range range_of(const struct memrange *range)
{
    return (struct tac_range){
        .op = range->op,
        .low = {range->bytes, range->low_size},
        .high = {range->bytes + range->low_size, range->high_size},
    };
}

/* The run of what one begins with and of these ranges, the newest first. */
static uint32_t run_make(struct tac_memtable *memtable, const struct memrun *before,
                         const struct memrange *const ranges[RUN_RANGES])
{
    struct memrun         *run = &memtable->runs[memtable->run_count];
    struct tac_range_edge *edges = memtable->edges + memtable->edge_count;

    *run = (struct memrun){.first = memtable->edge_count, .count = before->count};
    memcpy(edges, memtable->edges + before->first, before->count * sizeof *edges);
    for (uint32_t i = RUN_RANGES; i > 0; i--) {
        struct tac_range range = range_of(ranges[i - 1]);

        run->count = tac_range_edges_add(edges, run->count, &range);
    }
    memtable->edge_count += run->count;
    return ++memtable->run_count;
}

/* If so many have come since the last run, and there is room. The range is not in the list yet. */
static uint32_t run_of(struct tac_memtable *memtable, const struct memrange *range)
{
    const struct memrange *ranges[RUN_RANGES] = {range};
    struct memrun          before = {0, 0};
    uint32_t               count = 1, ref = range->older;

    while (ref != 0 && range_at(memtable, ref)->run == 0 && count < RUN_RANGES) {
        ranges[count++] = range_at(memtable, ref);
        ref = ranges[count - 1]->older;
    }
    if (ref != 0 && range_at(memtable, ref)->run != 0) {
        before = memtable->runs[range_at(memtable, ref)->run - 1];
    } else if (ref != 0) {
        return 0; /* There has been no room for one. */
    }
    return count == RUN_RANGES && memtable->run_count < RUNS_MAX &&
                   memtable->edge_count + before.count + 2 * RUN_RANGES <= RUN_EDGES_MAX
               ? run_make(memtable, &before, ranges)
               : 0;
}

void tac_memtable_delete_range(struct tac_memtable *memtable, uint32_t tree, uint64_t op,
                               struct tac_bytes low, struct tac_bytes high)
{
    uint64_t            bytes = tac_memtable_record_accounted(low.size, high.size);
    struct tac_memtree *memtree = &memtable->trees[tree];
    uint32_t            ref;
    struct memrange    *range;

    tac_assert(op > 0 && tree < memtable->trees_max);
    tac_assert(low.size > 0 && tac_bytes_compare(low, high) < 0);
    tac_assert(tac_memtable_fits(memtable, bytes));
    ref =
        tac_memarena_take_record(&memtable->arena, sizeof(struct memrange) + low.size + high.size);
    range = tac_memarena_at(&memtable->arena, ref);
    range->op = op;
    range->older = memtree->ranges;
    range->low_size = (uint16_t)low.size;
    range->high_size = (uint16_t)high.size;
    memcpy(range->bytes, low.data, low.size);
    memcpy(range->bytes + low.size, high.data, high.size);
    range->run = run_of(memtable, range);
    __atomic_store_n(&memtree->ranges, ref, __ATOMIC_RELEASE);
    memtable->range_count++;
    __atomic_store_n(&memtable->accounted, memtable->accounted + bytes, __ATOMIC_RELAXED);
}

void tac_memtable_account(struct tac_memtable *memtable, uint64_t bytes)
{
    tac_assert(tac_memtable_fits(memtable, bytes));
    __atomic_store_n(&memtable->accounted, memtable->accounted + bytes, __ATOMIC_RELAXED);
}

void tac_memtable_seal(struct tac_memtable *memtable)
{
    for (uint32_t i = 0; i < memtable->trees_max; i++) {
        tac_memtree_put_end(&memtable->arena, &memtable->trees[i]);
    }
}

uint64_t tac_memtable_accounted(const struct tac_memtable *memtable)
{
    return __atomic_load_n(&memtable->accounted, __ATOMIC_RELAXED);
}

/* ---- reading -------------------------------------------------------------------------------- */

static void view_set(struct tac_record_view *view, const struct tac_memrecord *record)
{
    struct tac_bytes key = tac_memrecord_key(record);

    view->record.key = key;
    view->record.value.data = key.data + key.size;
    view->record.value.size = tac_memrecord_value_size(record);
    view->record.is_tombstone = tac_memrecord_is_tombstone(record);
    view->op = record->op;
    view->older = __atomic_load_n(&record->older, __ATOMIC_ACQUIRE);
}

/* The newest version up to visible_op, beginning at a key's newest; false: the key is younger. */
static bool view_set_visible(struct tac_record_view *view, const struct tac_memarena *arena,
                             uint32_t ref, uint64_t visible_op)
{
    tac_assert(visible_op > 0);
    while (ref != 0) {
        const struct tac_memrecord *record = tac_memtree_record(arena, ref);

        if (record->op <= visible_op || TAC_MUTANT(SEES_LATER_OPS)) {
            view_set(view, record);
            return true;
        }
        ref = __atomic_load_n(&record->older, __ATOMIC_ACQUIRE);
    }
    return false;
}

bool tac_memtable_get(const struct tac_memtable *memtable, uint32_t tree, struct tac_bytes key,
                      uint64_t visible_op, struct tac_record_view *ret_view)
{
    const struct tac_memtree *memtree = tree_at(memtable, tree);
    uint32_t pending = tac_memtree_pending(&memtable->arena, memtree, visible_op), newest;

    tac_assert(key.size > 0);
    if (pending != 0 && !TAC_MUTANT(PENDING_UNREAD)) {
        const struct tac_memrecord *record = tac_memtree_record(&memtable->arena, pending);

        if (tac_bytes_compare(tac_memrecord_key(record), key) == 0) {
            view_set(ret_view, record);
            return true;
        }
    }
    newest = tac_memtree_get(&memtable->arena, memtree, key);
    return view_set_visible(ret_view, &memtable->arena, newest, visible_op);
}

uint32_t tac_memtable_range_count(const struct tac_memtable *memtable)
{
    return memtable->range_count;
}

uint32_t tac_memtable_ranges(const struct tac_memtable *memtable, uint32_t tree)
{
    return __atomic_load_n(&tree_at(memtable, tree)->ranges, __ATOMIC_ACQUIRE);
}

struct tac_range tac_memtable_range(const struct tac_memtable *memtable, uint32_t ref,
                                    uint32_t *ret_older)
{
    const struct memrange *range = range_at(memtable, ref);

    *ret_older = range->older;
    return range_of(range);
}

uint64_t tac_memtable_range_op(const struct tac_memtable *memtable, uint32_t tree,
                               struct tac_bytes key, uint64_t visible_op)
{
    uint32_t ref = tac_memtable_ranges(memtable, tree);

    while (ref != 0) {
        const struct memrange *memrange = range_at(memtable, ref);
        struct tac_range       range = range_of(memrange);

        if (range.op <= visible_op && memrange->run != 0) {
            const struct memrun *run = &memtable->runs[memrange->run - 1];

            return tac_range_edges_op(memtable->edges + run->first, run->count, key);
        }
        if (range.op <= visible_op && tac_range_has(&range, key)) {
            return range.op; /* Those that follow are older. */
        }
        ref = memrange->older;
    }
    return 0;
}

bool tac_memtable_older(const struct tac_memtable *memtable, const struct tac_record_view *view,
                        struct tac_record_view *ret_view)
{
    uint64_t op = view->op;

    if (view->older == 0) {
        return false;
    }
    view_set(ret_view, tac_memtree_record(&memtable->arena, view->older));
    tac_assert(ret_view->op <= op);
    return true;
}

void tac_memtable_reader_init(struct tac_memtable_reader *reader,
                              const struct tac_memtable *memtable, uint32_t tree,
                              uint64_t visible_op)
{
    tac_assert(tree < memtable->trees_max);
    tac_assert(visible_op > 0);
    reader->memtable = memtable;
    reader->tree = tree;
    reader->is_positioned = false;
    reader->visible_op = visible_op;
    reader->pending = tac_memtree_pending(&memtable->arena, tree_at(memtable, tree), visible_op);
}

static void reader_load(struct tac_memtable_reader *reader, enum tac_memtree_position position,
                        struct tac_bytes key)
{
    tac_memtree_seek(&reader->memtable->arena, tree_at(reader->memtable, reader->tree), position,
                     key, &reader->leaf);
    if (reader->pending != 0 && !TAC_MUTANT(PENDING_UNSCANNED)) {
        tac_memtree_leaf_add(&reader->memtable->arena, &reader->leaf, reader->pending, position,
                             key);
    }
}

static void reader_load_next(struct tac_memtable_reader *reader)
{
    tac_memtree_copy(&reader->memtable->arena, reader->leaf.next, &reader->leaf);
    if (reader->pending != 0) {
        tac_memtree_leaf_add(&reader->memtable->arena, &reader->leaf, reader->pending,
                             TAC_MEMTREE_FIRST, (struct tac_bytes){.size = 0});
    }
}

/* Goes to the first visible record from leaf.records[leaf.point] on. A right neighbour that was
 * split off the leaf after it was copied is passed over: what is visible of it is in the copy. */
static bool reader_forward(struct tac_memtable_reader *reader, struct tac_record_view *ret_view)
{
    const struct tac_memarena *arena = &reader->memtable->arena;
    struct tac_memleaf        *leaf = &reader->leaf;

    reader->is_positioned = false;
    for (;;) {
        for (; leaf->point < leaf->count; leaf->point++) {
            if (leaf->point + 4 < leaf->count) {
                __builtin_prefetch(tac_memtree_record(arena, leaf->records[leaf->point + 4]));
            }
            if (view_set_visible(ret_view, arena, leaf->records[leaf->point], reader->visible_op)) {
                reader->is_positioned = true;
                return true;
            }
        }
        if (leaf->next == 0) {
            return false;
        }
        reader_load_next(reader);
    }
}

/* Goes to the last visible record before leaf.records[leaf.point]. */
static bool reader_back(struct tac_memtable_reader *reader, struct tac_record_view *ret_view)
{
    const struct tac_memarena *arena = &reader->memtable->arena;
    struct tac_memleaf        *leaf = &reader->leaf;

    reader->is_positioned = false;
    while (leaf->count > 0) {
        while (leaf->point > 0) {
            leaf->point--;
            if (leaf->point >= 4) {
                __builtin_prefetch(tac_memtree_record(arena, leaf->records[leaf->point - 4]));
            }
            if (view_set_visible(ret_view, arena, leaf->records[leaf->point], reader->visible_op)) {
                reader->is_positioned = true;
                return true;
            }
        }
        reader_load(reader, TAC_MEMTREE_BEFORE_BACK,
                    tac_memrecord_key(tac_memtree_record(arena, leaf->records[0])));
        if (leaf->point == 0) {
            return false;
        }
    }
    return false;
}

bool tac_memtable_reader_first(struct tac_memtable_reader *reader, struct tac_record_view *ret_view)
{
    reader_load(reader, TAC_MEMTREE_FIRST, (struct tac_bytes){.size = 0});
    return reader_forward(reader, ret_view);
}

bool tac_memtable_reader_last(struct tac_memtable_reader *reader, struct tac_record_view *ret_view)
{
    reader_load(reader, TAC_MEMTREE_LAST, (struct tac_bytes){.size = 0});
    return reader_back(reader, ret_view);
}

bool tac_memtable_reader_seek(struct tac_memtable_reader *reader, struct tac_bytes key,
                              struct tac_record_view *ret_view)
{
    tac_assert(key.size > 0);
    reader_load(reader, TAC_MEMTREE_BEFORE, key);
    return reader_forward(reader, ret_view);
}

bool tac_memtable_reader_seek_back(struct tac_memtable_reader *reader, struct tac_bytes key,
                                   struct tac_record_view *ret_view)
{
    tac_assert(key.size > 0);
    reader_load(reader, TAC_MEMTREE_BEHIND, key);
    return reader_back(reader, ret_view);
}

bool tac_memtable_reader_next(struct tac_memtable_reader *reader, struct tac_record_view *ret_view)
{
    tac_assert(reader->is_positioned);
    tac_assert(reader->leaf.point < reader->leaf.count);
    reader->leaf.point++;
    return reader_forward(reader, ret_view);
}

bool tac_memtable_reader_previous(struct tac_memtable_reader *reader,
                                  struct tac_record_view     *ret_view)
{
    tac_assert(reader->is_positioned);
    tac_assert(reader->leaf.point < reader->leaf.count);
    return reader_back(reader, ret_view);
}

/* ---- immutable ------------------------------------------------------------------------------ */

static const struct tac_memtree *tree_sealed(const struct tac_memtable *memtable, uint32_t tree)
{
    const struct tac_memtree *memtree = tree_at(memtable, tree);

    tac_assert(memtree->pending == 0);
    return memtree;
}

static const struct tac_memnode *leaf_at(const struct tac_memtable *memtable, uint32_t ref)
{
    return ref == 0 ? NULL : tac_memarena_at(&memtable->arena, ref);
}

void tac_memtable_tree_stats(const struct tac_memtable *memtable, uint32_t tree,
                             struct tac_memtable_tree_stats *ret_stats)
{
    const struct tac_memtree  *memtree = tree_sealed(memtable, tree);
    struct tac_memtable_reader reader;
    struct tac_record_view     view;

    *ret_stats = (struct tac_memtable_tree_stats){
        .records = memtree->records,
        .versions = memtree->versions,
        .tombstones = memtree->tombstones,
        .payload_bytes = memtree->payload_bytes,
        .inserted_sum = memtree->inserted_sum,
    };
    tac_memtable_reader_init(&reader, memtable, tree, UINT64_MAX);
    if (tac_memtable_reader_first(&reader, &view)) {
        ret_stats->first_key = view.record.key;
    }
    if (tac_memtable_reader_last(&reader, &view)) {
        ret_stats->last_key = view.record.key;
    }
    tac_assert((ret_stats->first_key.size == 0) == (memtree->records == 0));
    tac_assert((ret_stats->last_key.size == 0) == (memtree->records == 0));
}

/* Payload of the leaf's records [begin, end). Records lie scattered, and each costs a cache miss:
 * they are looked at only where they differ in size. */
static uint64_t leaf_payload(const struct tac_memtable *memtable, const struct tac_memtree *memtree,
                             const struct tac_memnode *leaf, uint32_t begin, uint32_t end)
{
    uint64_t bytes = 0;

    if (memtree->payload_bytes == memtree->records * memtree->payload_max) {
        return (uint64_t)(end - begin) * memtree->payload_max;
    }
    for (uint32_t i = begin; i < end; i++) {
        bytes +=
            tac_memrecord_payload_bytes(tac_memtree_record(&memtable->arena, leaf->records[i]));
    }
    return bytes;
}

void tac_memtable_below(const struct tac_memtable *memtable, uint32_t tree,
                        const struct tac_bytes *edges, uint32_t edge_count, uint64_t *ret_bytes,
                        uint64_t *ret_records)
{
    const struct tac_memtree *memtree = tree_sealed(memtable, tree);
    const struct tac_memnode *leaf = leaf_at(memtable, memtree->first_leaf);
    uint64_t                  leaves_bytes = 0; /* Of the leaves before `leaf` */
    uint64_t                  leaves_records = 0;
    uint64_t                  leaf_bytes = 0; /* Of the first `index` records of `leaf` */
    uint32_t                  index = 0;

    tac_memtree_prefetch_leaves(&memtable->arena, memtree);
    for (uint32_t i = 0; i < edge_count; i++) {
        uint32_t                  rank = 0;
        const struct tac_memnode *edge_leaf =
            tac_memtree_find(&memtable->arena, memtree, edges[i], &rank);

        tac_assert(edges[i].size > 0);
        tac_assert_slow(i == 0 || tac_bytes_compare(edges[i - 1], edges[i]) <= 0);
        while (leaf != edge_leaf) {
            leaves_bytes += leaf->payload_bytes;
            leaves_records += leaf->count;
            leaf_bytes = 0;
            index = 0;
            leaf = leaf_at(memtable, leaf->next);
            tac_assert(leaf != NULL);
        }
        if (rank > index) {
            leaf_bytes += leaf_payload(memtable, memtree, leaf, index, rank);
            index = rank;
        }
        ret_bytes[i] = leaves_bytes + leaf_bytes;
        ret_records[i] = leaves_records + index;
        tac_assert(ret_bytes[i] <= memtree->payload_bytes && ret_records[i] <= memtree->records);
    }
}

/* Asks for what a walk over a leaf reads of it: its header and its references. */
static void leaf_prefetch(const struct tac_memnode *leaf)
{
    __builtin_prefetch(leaf);
    for (uint32_t i = 0; i < TAC_MEMTREE_FANOUT; i += TAC_CACHE_LINE_BYTES / sizeof(uint32_t)) {
        __builtin_prefetch(&leaf->records[i]);
    }
}

static void cursor_ahead_enter(struct tac_memtable_cursor *cursor, const struct tac_memnode *leaf)
{
    cursor->ahead_leaf = leaf;
    cursor->ahead_index = 0;
    if (leaf != NULL && leaf->next != 0) {
        leaf_prefetch(leaf_at(cursor->memtable, leaf->next));
    }
}

static void cursor_prefetch(struct tac_memtable_cursor *cursor)
{
    const struct tac_memnode *leaf = cursor->ahead_leaf;
    const uint8_t            *record;

    if (leaf == NULL) {
        return;
    }
    record = (const uint8_t *)tac_memtree_record(&cursor->memtable->arena,
                                                 leaf->records[cursor->ahead_index]);
    for (uint32_t i = 0; i < AHEAD_BYTES; i += TAC_CACHE_LINE_BYTES) {
        __builtin_prefetch(record + i);
    }
    cursor->ahead_index++;
    if (cursor->ahead_index == leaf->count) {
        cursor_ahead_enter(cursor, leaf_at(cursor->memtable, leaf->next));
    }
}

void tac_memtable_cursor_seek(struct tac_memtable_cursor *cursor,
                              const struct tac_memtable *memtable, uint32_t tree,
                              struct tac_bytes key)
{
    const struct tac_memtree *memtree = tree_sealed(memtable, tree);

    cursor->memtable = memtable;
    cursor->index = 0;
    if (key.size == 0) {
        cursor->leaf = leaf_at(memtable, memtree->first_leaf);
    } else {
        cursor->leaf = tac_memtree_find(&memtable->arena, memtree, key, &cursor->index);
    }
    if (cursor->leaf != NULL && cursor->index == cursor->leaf->count) {
        cursor->leaf = leaf_at(memtable, cursor->leaf->next);
        cursor->index = 0;
    }
    cursor_ahead_enter(cursor, cursor->leaf);
    cursor->ahead_index = cursor->index;
    for (uint32_t i = 0; i < AHEAD_RECORDS; i++) {
        cursor_prefetch(cursor);
    }
}

bool tac_memtable_cursor_next(struct tac_memtable_cursor *cursor, struct tac_record_view *ret_view)
{
    const struct tac_memnode *leaf = cursor->leaf;

    if (leaf == NULL) {
        return false;
    }
    tac_assert(cursor->index < leaf->count);
    cursor_prefetch(cursor);
    view_set(ret_view, tac_memtree_record(&cursor->memtable->arena, leaf->records[cursor->index]));
    cursor->index++;
    if (cursor->index == leaf->count) {
        cursor->index = 0;
        cursor->leaf = leaf_at(cursor->memtable, leaf->next);
    }
    return true;
}
