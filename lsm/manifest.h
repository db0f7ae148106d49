/* SPDX-License-Identifier: Apache-2.0 */
/* manifest -- all trees, their levels and tables: the current state (coordinator only) and frozen
 * versions for readers.
 *
 * Changes are applied at a bar's end, in job order, by the coordinator. Descriptors come from slabs
 * of the manifest, one per tree, sized for the tree's keys; all memory is bounded at open. */
#ifndef TACTUS_LSM_MANIFEST_H
#define TACTUS_LSM_MANIFEST_H

#include "lsm/range.h"
#include "lsm/table.h"
#include "lsm/planner_state.h"

struct tac_manifest_level {
    struct tac_table **tables;        /* In order of (key_min, key_max, stamp, id) */
    struct tac_table **tables_by_max; /* The same in order of (key_max, key_min, stamp, id) */
    uint32_t           table_count;
    uint64_t           bytes, records, tombstones;
    uint64_t           log_bytes; /* What the tables' newest events take in the manifest log */
};

/* Tables that are in no level any more, while their blocks are still acquired: where these are only
 * a table's index block says, so a plan reads that and then gives them all back (pipeline/bar.h).
 * Readers of new versions do not see them. One whose index block is damaged stays. */
struct tac_manifest_discards {
    struct tac_table **tables; /* In order of id */
    uint32_t           table_count;
    uint32_t           damaged_count; /* Of these */
    uint64_t           blocks;        /* That they take in the file */
    uint64_t           log_bytes;     /* As of a level */
};

/* Tables that compactions have consumed, and that snapshots still have. Their level is that which
 * they were in last. */
struct tac_manifest_retained {
    struct tac_table **tables; /* In order of id */
    uint32_t           table_count;
    uint64_t           blocks, log_bytes; /* As of the discarded ones */
};

/* Bars that end after a dropped tree's last table is gone, and at least after the one that it was
 * dropped in, before its number is used again: then no memtable and no view has anything of it. */
#define TAC_TREE_LINGER_BARS 3
#define TAC_TREE_GENERATION_MAX 0xffffffu
/* What callers of the API know a tree by: its number, and how many trees had that before it. */
#define TAC_TREE_ID_NONE UINT32_MAX
static inline uint32_t tac_tree_id(uint32_t number, uint32_t generation)
{
    return generation << 8 | number;
}
static inline uint32_t tac_tree_number(uint32_t id) { return id & 0xff; }

/* A tree is dropped in two steps. With its op it is closed: it has no name, nothing more is planned
 * for it. It goes when all ops up to that one are in tables: its tables are discarded and
 * what memtables have of it is not flushed. It waits for snapshots that have some of its tables to be
 * released. So no checkpoint that a crash may fall back to from
 * before the op has lost anything of the tree. */
struct tac_manifest_tree {
    char                      name[TACTUS_TREE_NAME_MAX + 1];
    uint32_t                  id; /* Its number: index in the manifest's trees */
    uint32_t                  generation;  /* Trees that had the number before */
    bool                      is_open;     /* Memory only: there is such a tree, as of the last op */
    bool                      is_pinned;   /* Memory only: snapshots have tables of it, so that it
                                              does not go, if it was dropped */
    bool                      is_gone;     /* Dropped for good: it has no tables but discarded ones */
    uint32_t                  linger_bars; /* Gone: bars before its number is free */
    uint64_t                  created_op;  /* 0: no crash can fall back behind it */
    uint64_t                  dropped_op;  /* 0: not dropped, or gone */
    struct tac_layout         layout;
    struct tac_planner_state  planner;
    uint64_t                  log_sequence; /* Manifest-log block of the newest tree event */
    struct tac_manifest_level levels[TACTUS_LEVELS_MAX];
    struct tac_manifest_discards discards;
    struct tac_manifest_retained retained;
};

/* A range whose op is in tables, while tables from before it overlap it. Manifest and versions have
 * the bounds in memory of their own. */
struct tac_manifest_range {
    struct tac_range range;
    uint32_t         tree;
    uint64_t         log_sequence; /* Manifest-log block of its event; 0: it has none yet */
};

struct tac_manifest;

/* tables_max: tables of all trees, descriptors waiting for readers or handed to jobs included. */
struct tac_manifest *tac_manifest_new(uint32_t tables_max);
void                 tac_manifest_free(struct tac_manifest *manifest);
uint64_t             tac_manifest_memory_bytes(uint32_t tables_max);

/* Adds a tree, open, with the lowest free number, last level 1. Name and layout have been checked.
 * TACTUS_EFULL: no number is free; EEXISTS; ENOMEM. */
TAC_MUST_CHECK int tac_manifest_tree_add(struct tac_manifest *manifest, const char *name,
                                         const struct tac_layout *layout, uint32_t *ret_tree,
                                         struct tac_error *error);
/* The memory that the next _tree_add with such keys needs, so that it does not fail for want of it.
 * ENOMEM. _unprepare gives it back, if no tree has it. */
TAC_MUST_CHECK int tac_manifest_tree_prepare(struct tac_manifest *manifest, const char *name,
                                             uint32_t key_size, struct tac_error *error);
void               tac_manifest_tree_unprepare(struct tac_manifest *manifest);
/* Takes back what _tree_add has added last, which nobody has seen yet. */
void tac_manifest_tree_undo(struct tac_manifest *manifest, uint32_t tree);
/* Adds a tree as the log of a checkpoint with this P has it, with the number after those there are.
 * TACTUS_EEXISTS: another tree of the name was there at the same time; ENOMEM. */
TAC_MUST_CHECK int tac_manifest_tree_restore(struct tac_manifest *manifest, uint64_t op_persisted,
                                             const struct tac_manifest_tree *state,
                                             struct tac_error               *error);
/* Numbers in use so far, those of trees that are gone included. */
uint32_t                  tac_manifest_tree_count(const struct tac_manifest *manifest);
struct tac_manifest_tree *tac_manifest_tree(struct tac_manifest *manifest, uint32_t tree);
/* For callers, whether it is open or not. */
static inline uint32_t tac_manifest_tree_id(struct tac_manifest *manifest, uint32_t tree)
{
    return tac_tree_id(tree, tac_manifest_tree(manifest, tree)->generation);
}
/* TACTUS_ENOTREE: no open tree has the name; no error text. */
TAC_MUST_CHECK int tac_manifest_tree_find(struct tac_manifest *manifest, const char *name,
                                          uint32_t *ret_tree);

/* All trees: which of them are open as of the op. */
void tac_manifest_trees_open(struct tac_manifest *manifest, uint64_t op);
/* What later ops have done to trees was never done. */
void tac_manifest_trees_forget(struct tac_manifest *manifest, uint64_t op);
/* At a bar's end, when all ops up to this one are in tables: of a tree that was dropped by then all
 * tables are discarded, and it is gone; without an event for each, as the tree's own says it. Then
 * one more bar has ended for those that linger. */
void tac_manifest_trees_settle(struct tac_manifest *manifest, uint64_t op);
/* Trees that are closed, but not gone yet, and are going to be when bars end. */
uint32_t tac_manifest_trees_closing(const struct tac_manifest *manifest);
/* Is a number free, or does one come to be when further bars end? */
bool tac_manifest_number_is_free(const struct tac_manifest *manifest);
bool tac_manifest_number_is_coming(const struct tac_manifest *manifest);

/* Deleted ranges, in order of op. */
uint32_t                   tac_manifest_range_count(const struct tac_manifest *manifest);
struct tac_manifest_range *tac_manifest_range(struct tac_manifest *manifest, uint32_t number);
/* Copies it. There must be fewer than TAC_RANGES_MAX, none of this op, and bounds of at most a byte
 * more than the tree's keys. */
void tac_manifest_range_add(struct tac_manifest *manifest, uint32_t tree,
                            const struct tac_range *range, uint64_t log_sequence);
void tac_manifest_range_remove(struct tac_manifest *manifest, uint32_t number);
/* The tables of a level of which the range may have deleted some, from the highest on. Levels are
 * large, and ranges many: the level's two orders tell where such tables are, and how many have keys
 * of the range. The level stays as it is meanwhile. */
struct tac_range_walk {
    const struct tac_manifest_level *level;
    const struct tac_range          *range;
    uint32_t                         at;   /* Tables before this one are still to be looked at … */
    uint32_t                         left; /* … of which so many have keys of the range */
};

struct tac_range_walk tac_range_walk(const struct tac_manifest_level *level,
                                     const struct tac_range          *range);
/* NULL: there is no other one. */
struct tac_table *tac_range_walk_next(struct tac_range_walk *walk);
/* Of a table that the range's walk came to: has the range deleted all of it? */
bool tac_range_covers(const struct tac_range *range, const struct tac_table *table);

/* A blank descriptor of the tree (keys' room ready), or NULL when tables_max are in use. */
struct tac_table *tac_manifest_table_take(struct tac_manifest *manifest, uint32_t tree);
void     tac_manifest_table_give_back(struct tac_manifest *manifest, struct tac_table *table);
uint32_t tac_manifest_tables_free(const struct tac_manifest *manifest);
void     tac_table_set_keys(struct tac_table *table, struct tac_bytes key_min,
                            struct tac_bytes key_max);
/* Makes a blank descriptor of the same tree one of the same table. */
void tac_table_copy(struct tac_table *copy, const struct tac_table *table);

/* Puts a descriptor into its tree and level, or among the discarded or retained tables if it is one;
 * takes it out (it is then the caller's). O(tables). */
void tac_manifest_insert(struct tac_manifest *manifest, struct tac_table *table);
void tac_manifest_remove(struct tac_manifest *manifest, struct tac_table *table);
/* A table of a level, or a retained one, is discarded; the caller tells the log. It has level 0 then, and is not damaged:
 * what was found may have been a value block, which nobody reads any more. The descriptor stays the
 * same one: readers of older versions have it until two bars after it was removed. */
void tac_manifest_discard(struct tac_manifest *manifest, struct tac_table *table);
/* Discarded tables of all trees whose blocks can still be given back. */
uint64_t tac_manifest_discards_left(const struct tac_manifest *manifest);
/* From its level to the retained ones: the newest snapshot that has the table is that of `op`. The
 * descriptor stays the same one. */
void tac_manifest_retain(struct tac_manifest *manifest, struct tac_table *table, uint64_t op);
/* All tables of a level get another, empty one. Readers know levels by their versions; a
 * table's own number they only tell in messages. */
void tac_manifest_level_renumber(struct tac_manifest *manifest, uint32_t tree, uint32_t from,
                                 uint32_t to);
/* A removed descriptor that readers may still see: given back by tac_manifest_limbo_sweep once
 * `bar_now` is more than two bars after the one given here. The sweep first calls gone_fn for it;
 * NULL: there is nothing to do. */
typedef void tac_table_gone_fn(void *context, struct tac_table *table);
void tac_manifest_limbo_add(struct tac_manifest *manifest, struct tac_table *table, uint64_t bar);
void tac_manifest_limbo_sweep(struct tac_manifest *manifest, uint64_t bar_now,
                              tac_table_gone_fn *gone_fn, void *context);

/* Discarded and retained ones included. */
uint64_t tac_manifest_table_count(const struct tac_manifest *manifest);
/* Checksum over all trees and tables in a fixed order: what replay must rebuild. */
struct tac_u128 tac_manifest_checksum(const struct tac_manifest *manifest);
/* The invariants: order, key sizes, stamps of overlapping tables distinct, the last level disjoint,
 * nothing below it, totals. TACTUS_ECORRUPT names the table. */
TAC_MUST_CHECK int tac_manifest_check(const struct tac_manifest *manifest, struct tac_error *error);
/* Most tables of the level over one key. O(tables). */
uint32_t tac_manifest_level_depth(const struct tac_manifest_level *level);

/* ---- versions for readers ---- */

/* A frozen copy: for each tree and level the tables split into runs, so that in a run no two tables
 * overlap and the one that may hold a key is found by binary search. There are as many runs as the
 * level is deep; which of two runs is newer differs from key to key: stamps tell. Read-only. */
struct tac_version_run {
    struct tac_table **tables;       /* Ascending, disjoint */
    /* Of each one's key_min and key_max: searched without visiting the tables. */
    uint64_t *key_min_prefixes, *key_max_prefixes;
    uint32_t           table_count;
};
struct tac_version_level {
    struct tac_version_run *runs;
    uint32_t                run_count;
};
/* Where the runs are at some keys: see lsm/version_search.c. */
struct tac_version_fences {
    uint64_t *keys; /* Prefixes, ascending; the first is 0 */
    /* For each fence a number for each run: its tables that begin at or below the fence. One more
     * row at the end: all tables. */
    uint32_t *floors;
    uint32_t  count;
};
struct tac_version_tree {
    uint32_t                 id; /* For callers; atomic, as a tree may join or be dropped later:
                                    TAC_TREE_ID_NONE, and then nobody but the scrub looks at the
                                    rest */
    bool                     has_tables; /* It was there when the version was made, open or dropped:
                                            the rest does not change, and the scrub reads it */
    struct tac_layout        layout;
    char                     name[TACTUS_TREE_NAME_MAX + 1];
    uint32_t                 level_count; /* The last level's number and one */
    /* The runs of all levels lie behind each other, from levels[0].runs on. */
    struct tac_version_level levels[TACTUS_LEVELS_MAX];
    struct tac_version_fences fences;
    const struct tac_range  *ranges; /* That were deleted, in order of op */
    uint32_t                 range_count;
    uint32_t                 edge_count;
    const struct tac_range_edge *edges; /* The same, for gets */
    struct tac_table       **retained; /* In order of id; for the scrub */
    uint32_t                 retained_count;
};
struct tac_version {
    uint64_t                bar;        /* Bars ended when it was made */
    uint32_t                tree_count; /* Atomic: a tree may join after the version was made */
    struct tac_version_tree trees[TACTUS_TREES_MAX];
};

/* A version object with room for tables_max tables; refilled, never grown. */
struct tac_version *tac_version_new(uint32_t tables_max);
void                tac_version_free(struct tac_version *version);
uint64_t            tac_version_memory_bytes(uint32_t tables_max);
void tac_version_fill(struct tac_version *version, struct tac_manifest *manifest, uint64_t bar);
/* The tree that callers know by the id, if it is there: a tree joins by its id, last, and is closed by
 * it. NULL: it is not. Any thread, inside the guard (reading/read_side.h). */
const struct tac_version_tree *tac_version_tree_find(const struct tac_version *version,
                                                     uint32_t                  id);
/* The last table of the run that begins at or below the key; table_count: none does. */
uint32_t tac_version_run_floor(const struct tac_version_run *run, struct tac_bytes key);
/* For each run of the tree, level by level, the table that may hold the key, or NULL. Returns the
 * number of runs, which is at most tables_max. */
uint32_t tac_version_find(const struct tac_version_tree *tree, struct tac_bytes key,
                          struct tac_table **ret_tables, uint32_t tables_max);

#endif
