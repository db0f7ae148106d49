/* SPDX-License-Identifier: Apache-2.0 */
/* manifest_ranges -- the deleted ranges of a manifest. */
#include "base/assert.h"
#include "base/mutant.h"
#include "lsm/manifest_internal.h"

uint32_t tac_manifest_range_count(const struct tac_manifest *manifest)
{
    return manifest->range_count;
}

struct tac_manifest_range *tac_manifest_range(struct tac_manifest *manifest, uint32_t number)
{
    tac_assert(number < manifest->range_count);
    return &manifest->ranges[number];
}

void tac_manifest_range_add(struct tac_manifest *manifest, uint32_t tree,
                            const struct tac_range *range, uint64_t log_sequence)
{
    uint32_t at = manifest->range_count;
    uint8_t *bounds;

    tac_assert(at < TAC_RANGES_MAX && tree < manifest->tree_count);
    bounds = manifest->bounds[at];
    tac_assert(range->low.size <= TACTUS_KEY_SIZE_MAX && range->high.size <= TACTUS_KEY_SIZE_MAX);
    while (at > 0 && manifest->ranges[at - 1].range.op > range->op) {
        manifest->ranges[at] = manifest->ranges[at - 1];
        manifest->bounds[at] = manifest->bounds[at - 1];
        at--;
    }
    tac_assert(at == 0 || manifest->ranges[at - 1].range.op < range->op);
    memcpy(bounds, range->low.data, range->low.size);
    memcpy(bounds + range->low.size, range->high.data, range->high.size);
    manifest->bounds[at] = bounds;
    manifest->ranges[at] = (struct tac_manifest_range){
        .range = {.op = range->op,
                  .low = {bounds, range->low.size},
                  .high = {bounds + range->low.size, range->high.size}},
        .tree = tree,
        .log_sequence = log_sequence,
    };
    manifest->range_count++;
}

void tac_manifest_range_remove(struct tac_manifest *manifest, uint32_t number)
{
    uint8_t *bounds;

    tac_assert(number < manifest->range_count);
    bounds = manifest->bounds[number];
    manifest->range_count--;
    for (uint32_t i = number; i < manifest->range_count; i++) {
        manifest->ranges[i] = manifest->ranges[i + 1];
        manifest->bounds[i] = manifest->bounds[i + 1];
    }
    manifest->bounds[manifest->range_count] = bounds;
}

/* ---- the tables of a range ------------------------------------------------------------------ */

static struct tac_bytes key_min_of(const struct tac_table *table) { return table->key_min; }

static struct tac_bytes key_max_of(const struct tac_table *table) { return table->key_max; }

/* Of tables in the order of one of their keys: those of which it is below this one. */
static uint32_t count_below(struct tac_table *const *tables, uint32_t count,
                            struct tac_bytes (*key_of)(const struct tac_table *table),
                            struct tac_bytes key)
{
    uint32_t low = 0, high = count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (tac_bytes_compare(key_of(tables[middle]), key) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

struct tac_range_walk tac_range_walk(const struct tac_manifest_level *level,
                                     const struct tac_range          *range)
{
    uint32_t count = level->table_count;
    uint32_t begun = count_below(level->tables, count, key_min_of, range->high);
    uint32_t ended = count_below(level->tables_by_max, count, key_max_of, range->low);

    /* What ends below the range begins below its end. */
    return (struct tac_range_walk){level, range, begun, begun - ended};
}

struct tac_table *tac_range_walk_next(struct tac_range_walk *walk)
{
    while (walk->left > 0) {
        struct tac_table *table = walk->level->tables[--walk->at];

        if (tac_bytes_compare(walk->range->low, table->key_max) <= 0) {
            walk->left--;
            if (walk->range->op > table->snapshot_min || TAC_MUTANT(RANGE_TAKES_LATER)) {
                return table;
            }
        }
    }
    return NULL;
}

/* The key_min of a trimmed table may be below its first key: then less is covered than could be. */
bool tac_range_covers(const struct tac_range *range, const struct tac_table *table)
{
    return tac_bytes_compare(range->low, table->key_min) <= 0 &&
           tac_bytes_compare(table->key_max, range->high) < 0;
}
