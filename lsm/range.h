/* SPDX-License-Identifier: Apache-2.0 */
/* range -- keys of a tree that one op has deleted: those from `low` on and before `high`. What was
 * there before the op is dead; what comes later lives. How it gets from the memtable into the
 * manifest and when it goes: pipeline/ranges.h. */
#ifndef TACTUS_LSM_RANGE_H
#define TACTUS_LSM_RANGE_H

#include <stdbool.h>

#include "base/bytes.h"
#include "base/mutant.h"

/* Ranges of a store that tables may still have keys of, and those in memtables. */
#define TAC_RANGES_MAX 256

struct tac_range {
    uint64_t         op;
    struct tac_bytes low, high; /* Neither is empty; low is below high */
};

static inline bool tac_range_has(const struct tac_range *range, struct tac_bytes key)
{
    return tac_bytes_compare(range->low, key) <= 0 &&
           tac_bytes_compare(key, range->high) < TAC_MUTANT(RANGE_END_DELETED);
}

/* Keys in a row about which the ranges say the same. */
struct tac_range_span {
    uint64_t         op;          /* The newest that has deleted them; 0: none */
    struct tac_bytes from, until; /* Of size 0: no bound */
};

/* The span that the key is in. */
struct tac_range_span tac_ranges_span(const struct tac_range *ranges, uint32_t count,
                                      struct tac_bytes key);

/* The same of all keys, for many questions: from this key on, and up to that of the next edge, `op`
 * is the newest that has deleted; 0: none has. Below the first edge none has. */
struct tac_range_edge {
    struct tac_bytes key; /* Borrowed of a range */
    uint64_t         op;
};

/* Adds a range that is later than all before: up to two edges more. Returns how many there are. */
uint32_t tac_range_edges_add(struct tac_range_edge *edges, uint32_t count,
                             const struct tac_range *range);
uint64_t tac_range_edges_op(const struct tac_range_edge *edges, uint32_t count,
                            struct tac_bytes key);

/* A bound as the tree's keys need it: no key is between it and one that is longer than they are,
 * but cut off behind the first byte that they cannot have. size_max: of the keys. `cut` has room
 * for that and a byte more. */
struct tac_bytes tac_range_bound_cut(struct tac_bytes bound, uint32_t key_size_max, uint8_t *cut);

#endif
