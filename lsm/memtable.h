/* SPDX-License-Identifier: Apache-2.0 */
/* memtable -- the newest records of all trees, in memory and in order: the mutable table takes the
 * writes of a bar, then becomes the immutable one and is flushed.
 *
 * Views     A record carries the op that put it. Readers name a visible_op, at most the last op
 *           whose records are all in, and see of each key the newest version up to it, tombstones
 *           included. Of two versions of one op the later one counts. Ops begin at 1 and never
 *           fall.
 * Memory    Everything is allocated and touched by tac_memtable_new; all records and keys that are
 *           handed out lie in the table and stay as they are until tac_memtable_reset or _free.
 * Thread    put, reset: one thread at a time (the commit lock). get and readers: any thread beside
 *           it, with no lock; the caller sees to it that none is inside at a reset. The functions
 *           under "immutable" want a sealed table.
 * Room      Counted in accounted bytes. The note "arena bound" in memtable.c proves that what fits
 *           by that count fits the memory, whatever the keys and their order.
 */
#ifndef TACTUS_LSM_MEMTABLE_H
#define TACTUS_LSM_MEMTABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "lsm/memtree.h"
#include "lsm/range.h"
#include "lsm/record.h"
#include "tactus.h"

#define TAC_MEMTABLE_CAPACITY_MAX (16 * TAC_GIB)

struct tac_memtable;

/* For trees 0 … trees_max - 1, at most TACTUS_TREES_MAX. NULL: out of memory. */
struct tac_memtable *tac_memtable_new(uint64_t capacity_accounted, uint32_t trees_max);
void                 tac_memtable_free(struct tac_memtable *memtable);

/* Empties the table; takes no longer than a few cache misses per tree. */
void tac_memtable_reset(struct tac_memtable *memtable);

/* All that tac_memtable_new allocates. */
uint64_t tac_memtable_memory_bytes(uint64_t capacity_accounted);

/* ---- writing -------------------------------------------------------------------------------- */

static inline uint64_t tac_memtable_record_accounted(uint32_t key_size, uint32_t value_size)
{
    return (uint64_t)key_size + value_size + TACTUS_RECORD_OVERHEAD_BYTES;
}

bool tac_memtable_fits(const struct tac_memtable *memtable, uint64_t accounted_bytes);

/* Copies key and value. The caller has asked tac_memtable_fits. A tombstone has no value. */
void tac_memtable_put(struct tac_memtable *memtable, uint32_t tree, uint64_t op,
                      struct tac_bytes key, struct tac_bytes value, bool is_tombstone);

/* Accounts more for the record just put than its own size: what it will take in a table. The caller
 * has asked tac_memtable_fits for both together. */
void tac_memtable_account(struct tac_memtable *memtable, uint64_t bytes);

/* Deletes the keys of a tree from low on and before high, as far as they have been put before the
 * op. It is accounted like a record of both bounds; the caller has asked tac_memtable_fits. */
void tac_memtable_delete_range(struct tac_memtable *memtable, uint32_t tree, uint64_t op,
                               struct tac_bytes low, struct tac_bytes high);

/* Nothing is put any more until the next reset: the functions under "immutable" may be used. */
void tac_memtable_seal(struct tac_memtable *memtable);

/* Accounted bytes of all puts since the reset. Any thread. */
uint64_t tac_memtable_accounted(const struct tac_memtable *memtable);

/* ---- reading -------------------------------------------------------------------------------- */

/* A version of a record. Value and key lie one behind the other (see tac_record_hash). */
struct tac_record_view {
    struct tac_record record;
    uint64_t          op;
    uint32_t          older; /* For tac_memtable_older; 0: no older version */
};

/* False: no version of the key is visible. */
bool tac_memtable_get(const struct tac_memtable *memtable, uint32_t tree, struct tac_bytes key,
                      uint64_t visible_op, struct tac_record_view *ret_view);

/* Ranges that were deleted, of all trees. Writer, and whoever reads a table no longer written. */
uint32_t tac_memtable_range_count(const struct tac_memtable *memtable);
/* Those of a tree, the newest first: the reference of the first, 0: none. Any thread; those up to
 * its visible_op are there, later ones may be. */
uint32_t tac_memtable_ranges(const struct tac_memtable *memtable, uint32_t tree);
/* A range, and the reference of the next older one. */
struct tac_range tac_memtable_range(const struct tac_memtable *memtable, uint32_t ref,
                                    uint32_t *ret_older);
/* The newest op up to visible_op that has deleted a range with the key; 0: none. */
uint64_t tac_memtable_range_op(const struct tac_memtable *memtable, uint32_t tree,
                               struct tac_bytes key, uint64_t visible_op);

/* The next older version of the same key; false: there is none. Both views may be one. */
bool tac_memtable_older(const struct tac_memtable *memtable, const struct tac_record_view *view,
                        struct tac_record_view *ret_view);

/* Walks a tree in both directions as of visible_op. Owned by one thread; plain memory, nothing to
 * close. It works on a copy of a leaf: keys put after the copy are not visible to it anyway. */
struct tac_memtable_reader {
    const struct tac_memtable *memtable;
    uint32_t                   tree;
    bool                       is_positioned; /* On leaf.records[leaf.point] */
    uint32_t                   pending; /* Visible, and not in the tree as the reader began; or 0 */
    uint64_t                   visible_op;
    struct tac_memleaf         leaf;
};

void tac_memtable_reader_init(struct tac_memtable_reader *reader,
                              const struct tac_memtable *memtable, uint32_t tree,
                              uint64_t visible_op);

/* Each goes to a record and gives it; false: there is none, and the reader stands nowhere. */
bool tac_memtable_reader_first(struct tac_memtable_reader *reader,
                               struct tac_record_view     *ret_view);
bool tac_memtable_reader_last(struct tac_memtable_reader *reader, struct tac_record_view *ret_view);
/* The first record at or after the key; the last one at or before it. */
bool tac_memtable_reader_seek(struct tac_memtable_reader *reader, struct tac_bytes key,
                              struct tac_record_view *ret_view);
bool tac_memtable_reader_seek_back(struct tac_memtable_reader *reader, struct tac_bytes key,
                                   struct tac_record_view *ret_view);
/* The reader must stand on a record. */
bool tac_memtable_reader_next(struct tac_memtable_reader *reader, struct tac_record_view *ret_view);
bool tac_memtable_reader_previous(struct tac_memtable_reader *reader,
                                  struct tac_record_view     *ret_view);

/* ---- immutable ------------------------------------------------------------------------------ */

struct tac_memtable_tree_stats {
    uint64_t         records;       /* Distinct keys */
    uint64_t         versions;      /* Puts */
    uint64_t         tombstones;    /* Among the newest versions */
    uint64_t         payload_bytes; /* Keys and values of the newest versions */
    struct tac_bytes first_key;     /* Size 0: the tree is empty */
    struct tac_bytes last_key;
    struct tac_u128  inserted_sum; /* Of the hashes of all versions */
};

void tac_memtable_tree_stats(const struct tac_memtable *memtable, uint32_t tree,
                             struct tac_memtable_tree_stats *ret_stats);

/* ret_bytes[i], ret_records[i]: payload and number of the newest versions of keys below edges[i].
 * Edges ascend; equal ones are allowed, empty ones are not. */
void tac_memtable_below(const struct tac_memtable *memtable, uint32_t tree,
                        const struct tac_bytes *edges, uint32_t edge_count, uint64_t *ret_bytes,
                        uint64_t *ret_records);

/* Gives the newest version of each key in ascending order and fetches records ahead: they lie
 * scattered, and the walk would wait for memory at each of them. */
struct tac_memtable_cursor {
    const struct tac_memtable *memtable;
    const struct tac_memnode  *leaf;       /* NULL: the end */
    const struct tac_memnode  *ahead_leaf; /* NULL: all that follows has been asked for */
    uint32_t                   index;
    uint32_t                   ahead_index;
};

/* key.size 0: the first record; else the first one at or after the key. */
void tac_memtable_cursor_seek(struct tac_memtable_cursor *cursor,
                              const struct tac_memtable *memtable, uint32_t tree,
                              struct tac_bytes key);

/* Gives the record under the cursor and moves on; false: the end. */
bool tac_memtable_cursor_next(struct tac_memtable_cursor *cursor, struct tac_record_view *ret_view);

#endif
