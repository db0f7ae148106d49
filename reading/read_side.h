/* SPDX-License-Identifier: Apache-2.0 */
/* read_side -- everything a reader of a store touches: the current view, the caches, the guard that
 * keeps a superseded view alive while somebody looks at it.
 *
 * A view is one pointer {manifest version, both memtables}, published by the coordinator at a bar's
 * end. Readers take no lock: they enter the guard (a counter of their own cache line), load the
 * view, look, and leave; no guarded section spans I/O or a caller's code. What a reader has copied
 * out of a view of bar n (references of blocks, memtable pointers) stays good until the end of bar
 * n + 1: released blocks are not overwritten and memtables not reset before that. A reader that
 * comes later finds checksums that do not match, or sees the bar that has passed (rule: readers
 * never change what is free). */
#ifndef TACTUS_READING_READ_SIDE_H
#define TACTUS_READING_READ_SIDE_H

#include "lsm/manifest.h"
#include "lsm/memtable.h"
#include "reading/cache.h"
#include "stages/storage.h"

struct tac_view {
    uint64_t             bar;       /* Bars ended when it was published */
    struct tac_version  *version;
    struct tac_memtable *mutable_table;
    struct tac_memtable *immutable_table; /* NULL: none */
};

/* The bar of a view that never goes: that of a snapshot, whose blocks stay as long as it is open. Its
 * tables' descriptors are its own, and it has no memtables. No such view is ever published. */
#define TAC_VIEW_BAR_NEVER (UINT64_MAX - 1)

#define TAC_GUARD_STRIPES 64

struct tac_read_guard_stripe {
    uint64_t active[2]; /* Readers inside, by parity of the epoch they entered in */
    uint64_t cache_hits, cache_misses, memtable_hits; /* Counters; relaxed */
} TAC_CACHE_ALIGNED;

struct tac_read_side {
    /* Fixed at open. */
    struct tac_geometry geometry;
    struct tac_storage *storage;
    struct tac_cache   *index_cache; /* Frames of block_size: index and filter blocks */
    struct tac_cache   *page_cache;  /* Frames of page_size */
    struct tac_load_queue *load_queues; /* TAC_LOAD_QUEUES of them; see load.h */
    /* Written by the coordinator (view, bar) and the writer (op); read by anybody. Atomics. */
    struct tac_view *view TAC_CACHE_ALIGNED;
    uint64_t         bar_now;    /* view->bar of the newest view */
    uint64_t         visible_op; /* The last op whose records are all in the memtable */
    uint64_t         epoch;
    struct tac_read_guard_stripe stripes[TAC_GUARD_STRIPES];
    uint64_t retries; /* Gets that began again; relaxed */
    uint64_t pages_entered; /* By compactions; relaxed */
};

/* page_cache_bytes, index_cache_bytes: memory for frames; 0 is legal (every read goes to disk). _max:
 * what they may be changed to. */
TAC_MUST_CHECK int tac_read_side_create(struct tac_read_side      *side,
                                        const struct tac_geometry *geometry,
                                        struct tac_storage *storage, uint64_t page_cache_bytes,
                                        uint64_t page_cache_max_bytes,
                                        uint64_t index_cache_bytes, uint64_t index_cache_max_bytes,
                                        struct tac_error *error);
void               tac_read_side_destroy(struct tac_read_side *side);
/* The caches get so much memory; what shrinks does so first. One thread at a time; see
 * tac_cache_change. */
void tac_read_side_caches_change(struct tac_read_side *side, uint64_t page_cache_bytes,
                                 uint64_t index_cache_bytes);

/* Coordinator. Publishes a view; the old one may still be in use until tac_read_side_quiesced says
 * that every reader that might have loaded it has left. */
void tac_read_side_publish(struct tac_read_side *side, struct tac_view *view);
/* The writer, while no view can be published: a new tree, still without tables, joins the newest; one
 * that is dropped is not found in it any more. Iterators that are open have it as it is. */
void tac_read_side_tree_add(struct tac_read_side *side, const struct tac_manifest_tree *tree);
void tac_read_side_tree_close(struct tac_read_side *side, const struct tac_manifest_tree *tree);
/* Coordinator, at a bar's end before its view is published: views of bars before bar_now - 1 may
 * not be looked into any more. Once tac_read_side_quiesced says so, nobody does. */
void tac_read_side_expire(struct tac_read_side *side, uint64_t bar_now);
/* Non-blocking: starts a grace period if none runs, returns true once every reader that was inside
 * when `view` was superseded has left. Called at a later bar's end; grace periods are then long
 * over. */
bool tac_read_side_quiesced(struct tac_read_side *side);

/* Finds in the caches of all readers so far. Any thread. */
struct tac_read_totals {
    uint64_t cache_hits, cache_misses;
    uint64_t memtable_hits; /* Gets that a memtable has answered */
    uint64_t pages_entered; /* Put into the cache by compactions */
};
struct tac_read_totals tac_read_side_totals(const struct tac_read_side *side);

struct tac_read_ticket {
    uint32_t stripe;
    uint32_t parity;
};
struct tac_read_ticket tac_read_side_enter(struct tac_read_side *side);
void tac_read_side_leave(struct tac_read_side *side, struct tac_read_ticket ticket);

/* Where a get puts a value. It is copied into the caller's buffer, as far as there is room; or it
 * stays where it is, in a page that is pinned, with a memtable's value in memory of its own. */
struct tac_value_sink {
    /* The caller's. */
    bool   is_pinning;
    void  *buffer; /* Not when pinning; may be NULL without room */
    size_t room;
    /* Set when a value is found. */
    size_t                  size;  /* The whole one's */
    const void             *data;  /* When pinning; NULL: an empty value */
    struct tac_cache_frame *frame; /* Pinned, or NULL … */
    void                   *copy;  /* … and allocated, or NULL, until _release */
};

/* The newest visible version of a key. tree: its id for callers, as in all that is called by the API.
 * TACTUS_ENOTREE; TACTUS_ENOTFOUND (no text), TACTUS_ECORRUPT (tree, level,
 * table and address named), EIO, ENOMEM. */
TAC_MUST_CHECK int tac_read_side_get(struct tac_read_side *side, uint32_t tree,
                                     struct tac_bytes key, struct tac_value_sink *sink,
                                     struct tac_error *error);
/* The same of a view that never goes, which has no memtables: outside the guard. */
TAC_MUST_CHECK int tac_read_side_get_of(struct tac_read_side *side, const struct tac_view *view,
                                        uint32_t tree, struct tac_bytes key,
                                        struct tac_value_sink *sink, struct tac_error *error);
/* Gives back what a pinned value lies in. Twice does no harm. */
void tac_value_sink_release(struct tac_value_sink *sink);
/* What the caller of the API gets for a pinned value. */
struct tactus_value tac_value_sink_value(const struct tac_value_sink *sink);

/* As tactus_get_many, for the lookups whose code is TACTUS_OK; the others are left as they are. The
 * first failure among these, or TACTUS_OK. reading/get_many.c. */
TAC_MUST_CHECK int tac_read_side_get_many(struct tac_read_side *side, uint32_t tree,
                                          struct tactus_lookup *lookups, size_t count,
                                          struct tac_error *error);

/* Reads through the cache, checked: index block (decoded) and single pages. The frame is pinned and
 * must be unpinned soon. */
TAC_MUST_CHECK int tac_read_side_index(struct tac_read_side *side,
                                       const struct tac_block_reference *reference,
                                       struct tac_cache_frame **ret_frame, struct tac_error *error);

/* ---- iterators: reading/iterator.c; contract in tactus.h, struct tactus_iterator ---- */
struct tac_iterator;
TAC_MUST_CHECK int tac_iterator_open(struct tac_read_side *side, uint32_t tree,
                                     struct tac_iterator **ret_iterator, struct tac_error *error);
/* Of a view that never goes, and outlives the iterator. */
TAC_MUST_CHECK int tac_iterator_open_of(struct tac_read_side *side, const struct tac_view *view,
                                        uint32_t tree, struct tac_iterator **ret_iterator,
                                        struct tac_error *error);
void               tac_iterator_close(struct tac_iterator *iterator);
/* The range of keys from `low` on and before `high`, either of size 0 for none. It then stands
 * nowhere. */
TAC_MUST_CHECK int tac_iterator_bound(struct tac_iterator *iterator, struct tac_bytes low,
                                      struct tac_bytes high, struct tac_error *error);
TAC_MUST_CHECK int tac_iterator_first(struct tac_iterator *iterator, struct tac_error *error);
TAC_MUST_CHECK int tac_iterator_last(struct tac_iterator *iterator, struct tac_error *error);
TAC_MUST_CHECK int tac_iterator_seek(struct tac_iterator *iterator, struct tac_bytes key,
                                     struct tac_error *error);
TAC_MUST_CHECK int tac_iterator_seek_back(struct tac_iterator *iterator, struct tac_bytes key,
                                          struct tac_error *error);
TAC_MUST_CHECK int tac_iterator_next(struct tac_iterator *iterator, struct tac_error *error);
TAC_MUST_CHECK int tac_iterator_previous(struct tac_iterator *iterator, struct tac_error *error);
/* Valid until the next move; without key while the iterator stands nowhere. */
const struct tac_record *tac_iterator_record(const struct tac_iterator *iterator);

#endif
