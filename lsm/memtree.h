/* SPDX-License-Identifier: Apache-2.0 */
/* memtree -- an ordered set of records in an arena: a B+-tree with one writer and any number of
 * readers beside it, who take no lock and write nothing.
 *
 * A record is written once and never moves or changes. A leaf holds, per distinct key, an
 * eight-byte word of the key and the reference of its newest record; older versions hang behind
 * that one. No node is ever freed, merged or emptied, and a split moves entries to a new right
 * neighbour only: so a leaf keeps its smallest key for ever, and that key is what separates it from
 * its left.
 *
 * Puts     A put ends with the next one into its tree. It goes down to the node above the leaf, asks
 *          for it, and meanwhile ends the put before and copies the record; then it finds the leaf,
 *          asks for it, and the record is *pending*. Its entry is made when the leaf has arrived.
 *          So the writer seldom waits for memory; readers look at the pending record as well.
 * Words    A node's words are taken from its keys at byte `skip`. All keys that can ever lead to
 *          the node agree before that byte, since the separators on both sides of it do. Words
 *          order like keys; only equal words need a look at the records.
 * Thread   tac_memtree_put: one at a time. Everything else: any thread, at any time.
 * Sharing  The note "versions" in memtree.c has the argument.
 */
#ifndef TACTUS_LSM_MEMTREE_H
#define TACTUS_LSM_MEMTREE_H

#include <stddef.h>
#include <stdint.h>

#include "lsm/memarena.h"
#include "lsm/record.h"

/* Entries of a node. */
#define TAC_MEMTREE_FANOUT 64

#define TAC_MEMTREE_VALUE_SIZE_MAX ((uint32_t)1 << 25)
tac_static_assert(TAC_MEMTREE_VALUE_SIZE_MAX + TACTUS_KEY_SIZE_MAX <=
                      UINT32_MAX / TAC_MEMTREE_FANOUT,
                  "the payload of a leaf fits its counter");

struct tac_memrecord {
    uint64_t op;
    uint32_t older; /* Reference of the key's next older version; 0: none, or pending. Atomic */
    uint32_t value_size; /* TAC_MEMRECORD_TOMBSTONE, or the size */
    uint16_t key_size;
    uint8_t  bytes[]; /* The key, then the value */
};

#define TAC_MEMRECORD_TOMBSTONE UINT32_MAX
#define TAC_MEMRECORD_HEADER_BYTES offsetof(struct tac_memrecord, bytes)
tac_static_assert(TAC_MEMRECORD_HEADER_BYTES == 18, "the arena's bound counts 18 bytes");

struct tac_memnode {
    /* Written by the writer, read by all: loads acquire, stores release. */
    uint32_t version; /* Odd while the writer changes the node */
    uint32_t count;   /* Entries */
    uint32_t next;    /* Leaf: its right neighbour; 0: none */
    uint32_t skip;    /* The byte of the keys at which the words begin */
    /* Fixed before the node can be seen. */
    uint32_t level; /* 0: a leaf */
    /* Writer only, and whoever reads a tree that is no longer written. */
    uint32_t payload_bytes; /* Leaf: keys and values of its newest records */
    /* As the first four. An inner node's entry i leads to the keys from that of records[i] on up to
     * that of records[i + 1]. Entry 0 begins where the node itself does; 0: before all keys. */
    TAC_CACHE_ALIGNED uint64_t words[TAC_MEMTREE_FANOUT];
    uint32_t                   records[TAC_MEMTREE_FANOUT];
    uint32_t                   children[]; /* Inner nodes only */
};

#define TAC_MEMLEAF_BYTES sizeof(struct tac_memnode)
#define TAC_MEMINNER_BYTES (TAC_MEMLEAF_BYTES + TAC_MEMTREE_FANOUT * sizeof(uint32_t))
tac_static_assert(TAC_MEMLEAF_BYTES == 832 && TAC_MEMINNER_BYTES == 1088,
                  "the arena's bound counts 832 and 1,088 bytes");

/* Where the writer's way down ended. */
struct tac_memtree_descent {
    struct tac_memnode *leaf;
    struct tac_memnode *parent;        /* NULL: the leaf is the root. Never full */
    uint32_t            index;         /* Of the leaf in its parent */
    uint32_t            high;          /* The record whose key is the leaf's upper bound; 0: none */
    bool                is_behind_all; /* The key is above all others of the tree */
};

/* All zero: an empty tree. */
struct tac_memtree {
    /* Shared like a node's first fields. */
    TAC_CACHE_ALIGNED uint32_t root;    /* 0: empty */
    uint32_t                   pending; /* The record whose put has not ended; 0: none */
    uint32_t                   ranges;  /* The newest that were deleted (memtable.c); 0: none */
    /* Set before the root is. */
    uint32_t first_leaf;
    /* Writer only, and whoever reads a tree that is no longer written. */
    TAC_CACHE_ALIGNED struct tac_memtree_descent pending_at;
    uint32_t                                     payload_max; /* Of any version */
    struct tac_memnode *last_parent;   /* A node of level 1, likely the last; NULL: none */
    uint64_t            records;       /* Distinct keys */
    uint64_t            versions;      /* Puts */
    uint64_t            tombstones;    /* Of the newest versions */
    uint64_t            payload_bytes; /* Keys and values of the newest versions */
    struct tac_u128     inserted_sum;  /* Of the hashes of all versions */
};

/* Inserts a record, which is pending then; an older version of its key stays behind it. The arena
 * must have room. */
void tac_memtree_put(struct tac_memarena *arena, struct tac_memtree *tree, uint64_t op,
                     const struct tac_record *record);
/* Ends the put of the pending record, if there is one. */
void tac_memtree_put_end(struct tac_memarena *arena, struct tac_memtree *tree);

/* The pending record if its op is at most visible_op; 0: none. What else has such an op is then in
 * the tree: to be asked for after visible_op was read, and before the tree is looked at. */
uint32_t tac_memtree_pending(const struct tac_memarena *arena, const struct tac_memtree *tree,
                             uint64_t visible_op);

/* The newest version of a key that is not pending; 0: none. */
uint32_t tac_memtree_get(const struct tac_memarena *arena, const struct tac_memtree *tree,
                         struct tac_bytes key);

/* A leaf as it was at one moment. Of its `count` entries the first `point` lie before the position
 * that was asked for. */
struct tac_memleaf {
    uint32_t count;
    uint32_t point;
    uint32_t next; /* Reference of the right neighbour; 0: none */
    bool     is_first;
    uint32_t records[TAC_MEMTREE_FANOUT + 1]; /* With the pending one */
};

enum tac_memtree_position {
    TAC_MEMTREE_FIRST,      /* Before all keys; the key is not looked at */
    TAC_MEMTREE_LAST,       /* Behind all keys; the key is not looked at */
    TAC_MEMTREE_BEFORE,     /* Just before the key; the leaf has the entries that follow */
    TAC_MEMTREE_BEHIND,     /* Just behind the key; the leaf has the entries that precede */
    TAC_MEMTREE_BEFORE_BACK /* Just before the key; the leaf has the entries that precede */
};

/* Copies the leaf at a position. When no entry of it lies on the side that is asked for: for FIRST
 * and BEFORE what follows begins in the right neighbour, if any; else nothing precedes. */
void tac_memtree_seek(const struct tac_memarena *arena, const struct tac_memtree *tree,
                      enum tac_memtree_position position, struct tac_bytes key,
                      struct tac_memleaf *ret_leaf);

/* Copies a leaf, with point 0. */
void tac_memtree_copy(const struct tac_memarena *arena, uint32_t leaf,
                      struct tac_memleaf *ret_leaf);

/* Adds a record that was pending to a copy, if it belongs there and is not there yet, at its place
 * in order. Before the point or behind it: as position and key ask for. A copy with point 0 that was
 * not sought: TAC_MEMTREE_FIRST. */
void tac_memtree_leaf_add(const struct tac_memarena *arena, struct tac_memleaf *leaf,
                          uint32_t record, enum tac_memtree_position position,
                          struct tac_bytes key);

/* The leaf that has or would have the key, and how many of its keys are smaller. NULL: empty tree.
 * For a tree that is no longer written. */
const struct tac_memnode *tac_memtree_find(const struct tac_memarena *arena,
                                           const struct tac_memtree *tree, struct tac_bytes key,
                                           uint32_t *ret_rank);

/* Has the headers of all leaves fetched, many at a time: a walk along them would wait for memory at
 * each. For a tree that is no longer written. */
void tac_memtree_prefetch_leaves(const struct tac_memarena *arena, const struct tac_memtree *tree);

static inline const struct tac_memrecord *tac_memtree_record(const struct tac_memarena *arena,
                                                             uint32_t                   ref)
{
    return tac_memarena_at(arena, ref);
}

static inline struct tac_bytes tac_memrecord_key(const struct tac_memrecord *record)
{
    return (struct tac_bytes){.data = record->bytes, .size = record->key_size};
}

static inline bool tac_memrecord_is_tombstone(const struct tac_memrecord *record)
{
    return record->value_size == TAC_MEMRECORD_TOMBSTONE;
}

static inline uint32_t tac_memrecord_value_size(const struct tac_memrecord *record)
{
    return tac_memrecord_is_tombstone(record) ? 0 : record->value_size;
}

static inline uint32_t tac_memrecord_payload_bytes(const struct tac_memrecord *record)
{
    return record->key_size + tac_memrecord_value_size(record);
}

#endif
