/* SPDX-License-Identifier: Apache-2.0 */
/* note: guard
 *
 * A reader enters by adding one to a counter of its stripe, the one of the epoch's parity; then it
 * loads the view. It leaves by subtracting one from the same counter. After a publish the
 * coordinator looks at all counters of the parity that readers do not enter under now, until it
 * has found each at zero; turns the parity over; and looks at the other ones likewise. Every look,
 * like every enter and leave, is a read-modify-write (note rmw-order in queues/atomics.h).
 *
 * Safety: when quiesced says true, no reader is inside that loaded an older view than the published
 * one, and all its reads are done. Proof: take such a reader and its counter c. In the order of the
 * read-modify-writes of c, its enter comes either before the look that found c at zero or behind
 * it. Before: c counts the enters so far that have not left, so at zero the reader has left, and
 * the look sees what it did. Behind: its enter sees what the coordinator did before the look, the
 * publish included, so its load of the view, which comes later, cannot give an older one. Which
 * parity the reader took does not matter, as both are looked at. It would matter if only one were:
 * a reader may read the parity, sleep over the turn, and enter under the old one; the look at that
 * one may be over, rightly for this publish (it loads the new view), but it would be inside,
 * unseen, when the view it loaded is superseded and only the other parity is looked at.
 *
 * Progress: counters of the parity that is not entered under grow only by readers that read the
 * epoch before its last turn, at most once by each thread. No stream of new readers keeps them up.
 *
 * The same holds for bar_now in place of view: whoever is inside and has loaded a bar_now that lets
 * it look into a view is waited for before that view is changed.
 *
 * Why not ck_epoch: it wants a record registered by each thread, and a library does not own its
 * callers' threads. Any number of threads may share a stripe. */
#include "reading/read_side.h"

#include <inttypes.h>
#include <stdlib.h>

#include "queues/atomics.h"
#include "reading/block_read.h"
#include "reading/load.h"

/* side->epoch, written by the coordinator only. */
#define EPOCH_PARITY 1u  /* Under which readers enter */
#define EPOCH_PENDING 2u /* Times the parities that are still to be found empty: 2, 1, 0 */

int tac_read_side_create(struct tac_read_side *side, const struct tac_geometry *geometry,
                         struct tac_storage *storage, uint64_t page_cache_bytes,
                         uint64_t page_cache_max_bytes, uint64_t index_cache_bytes,
                         uint64_t index_cache_max_bytes, struct tac_error *error)
{
    int rv;

    tac_assert((uintptr_t)side % TAC_CACHE_LINE_BYTES == 0);
    tac_assert(tac_value_block_geometry_fits(geometry));
    tac_assert(geometry->block_size % storage->alignment_bytes == 0);
    memset(side, 0, sizeof *side);
    side->geometry = *geometry;
    side->storage = storage;
    rv = tac_cache_new(page_cache_bytes, page_cache_max_bytes, geometry->page_size, 0,
                       &side->page_cache, error);
    if (rv != TACTUS_OK) {
        return rv;
    }
    rv = tac_cache_new(index_cache_bytes, index_cache_max_bytes, geometry->block_size,
                       sizeof(struct tac_index_block), &side->index_cache, error);
    if (rv != TACTUS_OK) {
        tac_cache_free(side->page_cache);
        return rv;
    }
    rv = tac_load_queues_new(storage, &side->load_queues, error);
    if (rv != TACTUS_OK) {
        tac_cache_free(side->page_cache);
        tac_cache_free(side->index_cache);
    }
    return rv;
}

void tac_read_side_destroy(struct tac_read_side *side)
{
    for (uint32_t i = 0; i < TAC_GUARD_STRIPES; i++) {
        tac_assert(tac_atomic_load_acquire_u64(&side->stripes[i].active[0]) == 0);
        tac_assert(tac_atomic_load_acquire_u64(&side->stripes[i].active[1]) == 0);
    }
    tac_load_queues_free(side->load_queues, TAC_LOAD_QUEUES);
    tac_cache_free(side->page_cache);
    tac_cache_free(side->index_cache);
    side->load_queues = NULL;
    side->page_cache = NULL;
    side->index_cache = NULL;
}

static void index_frame_copied(struct tac_cache_frame *to, const struct tac_cache_frame *from)
{
    if (from->key.detail == TAC_BLOCK_INDEX) { /* Of a filter block nothing is decoded. */
        tac_index_block_move(to->extra, to->data);
    }
}

void tac_read_side_caches_change(struct tac_read_side *side, uint64_t page_cache_bytes,
                                 uint64_t index_cache_bytes)
{
    bool is_index_first = index_cache_bytes < tac_cache_memory_bytes(side->index_cache);

    if (is_index_first) {
        tac_cache_change(side->index_cache, index_cache_bytes, index_frame_copied);
    }
    tac_cache_change(side->page_cache, page_cache_bytes, NULL);
    if (!is_index_first) {
        tac_cache_change(side->index_cache, index_cache_bytes, index_frame_copied);
    }
}

/* ---- the guard ---- */

/* Threads take stripes in turn, so that up to TAC_GUARD_STRIPES of them share none. */
static uint32_t thread_stripe(void)
{
    static uint32_t               threads;
    static _Thread_local uint32_t stripe = TAC_GUARD_STRIPES;

    if (stripe == TAC_GUARD_STRIPES) {
        stripe = tac_atomic_fetch_add_u32(&threads, 1) % TAC_GUARD_STRIPES;
    }
    return stripe;
}

struct tac_read_ticket tac_read_side_enter(struct tac_read_side *side)
{
    struct tac_read_ticket ticket = {
        .stripe = thread_stripe(),
        .parity = tac_atomic_load_relaxed_u64(&side->epoch) & EPOCH_PARITY,
    };

    tac_yield_point();
    tac_atomic_fetch_add_acq_rel_u64(&side->stripes[ticket.stripe].active[ticket.parity], 1);
    tac_yield_point();
    return ticket;
}

void tac_read_side_leave(struct tac_read_side *side, struct tac_read_ticket ticket)
{
    uint64_t before;

    tac_yield_point();
    before = tac_atomic_fetch_add_acq_rel_u64(&side->stripes[ticket.stripe].active[ticket.parity],
                                              UINT64_MAX);
    tac_assert(before > 0);
}

void tac_read_side_publish(struct tac_read_side *side, struct tac_view *view)
{
    uint64_t epoch = tac_atomic_load_relaxed_u64(&side->epoch);

    tac_assert(view != NULL && view->version != NULL && view->mutable_table != NULL);
    tac_assert(view->bar >= tac_atomic_load_relaxed_u64(&side->bar_now));
    tac_atomic_store_release_ptr((void **)&side->view, view);
    tac_yield_point();
    tac_atomic_store_release_u64(&side->bar_now, view->bar);
    /* A grace period that was under way does not count for the view superseded now. */
    tac_atomic_store_release_u64(&side->epoch, (epoch & EPOCH_PARITY) | 2 * EPOCH_PENDING);
}

void tac_read_side_tree_add(struct tac_read_side *side, const struct tac_manifest_tree *tree)
{
    struct tac_version      *version = side->view->version;
    struct tac_version_tree *copy = &version->trees[tree->id];

    tac_assert(tree->id <= tac_atomic_load_relaxed_u32(&version->tree_count));
    if (tree->id == tac_atomic_load_relaxed_u32(&version->tree_count)) {
        copy->id = TAC_TREE_ID_NONE;
        copy->has_tables = false;
        tac_atomic_store_release_u32(&version->tree_count, tree->id + 1);
    }
    tac_assert(tac_atomic_load_relaxed_u32(&copy->id) == TAC_TREE_ID_NONE && !copy->has_tables);
    copy->layout = tree->layout;
    copy->level_count = 1;
    memset(copy->levels, 0, sizeof copy->levels);
    copy->range_count = copy->edge_count = 0;
    memcpy(copy->name, tree->name, sizeof copy->name);
    tac_atomic_store_release_u32(&copy->id, tac_tree_id(tree->id, tree->generation));
}

void tac_read_side_tree_close(struct tac_read_side *side, const struct tac_manifest_tree *tree)
{
    tac_atomic_store_release_u32(&side->view->version->trees[tree->id].id, TAC_TREE_ID_NONE);
}

void tac_read_side_expire(struct tac_read_side *side, uint64_t bar_now)
{
    uint64_t epoch = tac_atomic_load_relaxed_u64(&side->epoch);

    tac_assert(bar_now > tac_atomic_load_relaxed_u64(&side->bar_now));
    tac_atomic_store_release_u64(&side->bar_now, bar_now);
    tac_atomic_store_release_u64(&side->epoch, (epoch & EPOCH_PARITY) | 2 * EPOCH_PENDING);
}

static bool parity_is_empty(struct tac_read_side *side, uint32_t parity)
{
    for (uint32_t i = 0; i < TAC_GUARD_STRIPES; i++) {
        if (tac_atomic_fetch_add_acq_rel_u64(&side->stripes[i].active[parity], 0) != 0) {
            return false;
        }
    }
    return true;
}

bool tac_read_side_quiesced(struct tac_read_side *side)
{
    uint64_t epoch = tac_atomic_load_relaxed_u64(&side->epoch);

    tac_assert(epoch / EPOCH_PENDING <= 2);
    while (epoch >= EPOCH_PENDING) {
        if (!parity_is_empty(side, (epoch & EPOCH_PARITY) ^ 1)) {
            return false;
        }
        epoch = (epoch - EPOCH_PENDING) ^ EPOCH_PARITY;
        tac_atomic_store_release_u64(&side->epoch, epoch);
        tac_yield_point();
    }
    return true;
}

struct tac_view *tac_read_side_view(struct tac_read_side *side, uint64_t *ret_op)
{
    struct tac_view *view;

    /* A view that was loaded inside the guard is not reused before the guard is left: if the
     * pointer is the same after the load of the op, no other view came in between. Another round
     * costs a whole bar. */
    do {
        view = tac_atomic_load_acquire_ptr((void **)&side->view);
        *ret_op = tac_atomic_load_acquire_u64(&side->visible_op);
    } while (view != tac_atomic_load_acquire_ptr((void **)&side->view));
    tac_assert(view != NULL);
    return view;
}

bool tac_read_side_is_stale(const struct tac_read_side *side, uint64_t view_bar)
{
    return view_bar + 1 < tac_atomic_load_acquire_u64(&side->bar_now);
}

/* ---- what both kinds of reader need ---- */

void tac_read_side_count(struct tac_read_side *side, const struct tac_read_counts *counts)
{
    struct tac_read_guard_stripe *stripe = &side->stripes[thread_stripe()];

    if (counts->hits > 0) {
        tac_atomic_fetch_add_acq_rel_u64(&stripe->cache_hits, counts->hits);
    }
    if (counts->misses > 0) {
        tac_atomic_fetch_add_acq_rel_u64(&stripe->cache_misses, counts->misses);
    }
    if (counts->memtable_hits > 0) {
        tac_atomic_fetch_add_acq_rel_u64(&stripe->memtable_hits, counts->memtable_hits);
    }
}

struct tac_read_totals tac_read_side_totals(const struct tac_read_side *side)
{
    struct tac_read_totals totals = {
        .pages_entered = tac_atomic_load_relaxed_u64(&side->pages_entered),
    };

    for (uint32_t i = 0; i < TAC_GUARD_STRIPES; i++) {
        totals.cache_hits += tac_atomic_load_relaxed_u64(&side->stripes[i].cache_hits);
        totals.cache_misses += tac_atomic_load_relaxed_u64(&side->stripes[i].cache_misses);
        totals.memtable_hits += tac_atomic_load_relaxed_u64(&side->stripes[i].memtable_hits);
    }
    return totals;
}

int tac_read_side_name_place(struct tac_read_side *side, const struct tac_table_place *place,
                             int code, struct tac_error *error)
{
    char                   name[TACTUS_TREE_NAME_MAX + 1] = "?";
    struct tac_read_ticket ticket = tac_read_side_enter(side);
    const struct tac_view *view = tac_atomic_load_acquire_ptr((void **)&side->view);

    tac_assert(code != TACTUS_OK);
    if (place->tree < tac_atomic_load_acquire_u32(&view->version->tree_count) &&
        tac_atomic_load_acquire_u32(&view->version->trees[place->tree].id) != TAC_TREE_ID_NONE) {
        memcpy(name, view->version->trees[place->tree].name, sizeof name);
    }
    tac_read_side_leave(side, ticket);
    (void)tac_error_wrap(error, "tree %s, level %u, table %" PRIu64, name, place->level, place->id);
    return code;
}

int tac_read_side_index(struct tac_read_side *side, const struct tac_block_reference *reference,
                        struct tac_cache_frame **ret_frame, struct tac_error *error)
{
    struct tac_read_counts counts = {0};
    int rv = tac_block_read(side, TAC_BLOCK_INDEX, reference, &counts, ret_frame, error);

    tac_read_side_count(side, &counts);
    return rv;
}
