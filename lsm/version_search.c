/* SPDX-License-Identifier: Apache-2.0 */
/* version_search -- which table of each run may hold a key.
 *
 * A get asks all runs, and a binary search in each of them would be the better part of its work
 * where filters say no. So a version has fences: keys of the tree's longest run, and for each of them
 * how many tables of each run begin at or below it. One search among the fences leaves of most runs
 * one table, of the others a few. This is fractional cascading (Chazelle and Guibas 1986) with the
 * keys of one list as the bridges of all. Fences and searches go by the first eight bytes of keys;
 * where these do not decide, the keys do. */
#include "lsm/version_search.h"

#include "base/mutant.h"
#include "base/units.h"

static uint32_t run_count(const struct tac_version_tree *tree)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < tree->level_count; i++) {
        count += tree->levels[i].run_count;
    }
    return count;
}

static const struct tac_version_run *longest_run(const struct tac_version_run *runs, uint32_t count)
{
    const struct tac_version_run *longest = runs;

    for (uint32_t i = 1; i < count; i++) {
        if (runs[i].table_count > longest->table_count) {
            longest = &runs[i];
        }
    }
    return longest;
}

/* Fence 0 is below all keys, the others are the first keys of every so many tables. */
static uint32_t fence_keys_fill(const struct tac_version_run *run, uint32_t fences_max,
                                uint64_t *keys)
{
    uint32_t count = 1, step;

    keys[0] = 0;
    if (fences_max == 1) {
        return count;
    }
    step = (uint32_t)tac_div_ceil(run->table_count, fences_max - 1);
    for (uint32_t i = 0; i < run->table_count; i += step) {
        if (run->key_min_prefixes[i] > keys[count - 1]) {
            keys[count++] = run->key_min_prefixes[i];
        }
    }
    tac_assert(count <= fences_max);
    return count;
}

void tac_version_fences_fill(struct tac_version_tree *tree, uint32_t table_count)
{
    const struct tac_version_run *runs = tree->levels[0].runs;
    struct tac_version_fences    *fences = &tree->fences;
    uint32_t                      width = run_count(tree);
    uint64_t                      fences_max;

    fences->count = 0;
    if (width == 0) {
        return;
    }
    tac_assert(table_count >= width); /* So there is room for two rows at least. */
    fences_max = (uint64_t)TAC_VERSION_FLOORS * table_count / width - 1;
    fences->count = fence_keys_fill(longest_run(runs, width),
                                    (uint32_t)tac_min_u64(fences_max, table_count), fences->keys);
    for (uint32_t i = 0; i < width; i++) {
        uint32_t floor = 0;

        for (uint32_t j = 0; j < fences->count; j++) {
            while (floor < runs[i].table_count &&
                   runs[i].key_min_prefixes[floor] <= fences->keys[j]) {
                floor++;
            }
            fences->floors[(size_t)j * width + i] = floor;
        }
        fences->floors[(size_t)fences->count * width + i] = runs[i].table_count;
    }
}

/* How many of the ascending keys are at or below the key, of which it is known that they are at
 * least `low` and at most `high`. Without branches on the data. */
static inline uint32_t keys_reached(const uint64_t *keys, uint32_t low, uint32_t high, uint64_t key)
{
    for (uint32_t left = high - low; left > 0;) {
        uint32_t half = (left + 1) / 2;
        bool     is_reached = keys[low + half - 1] <= key;

        low += half & -(uint32_t)is_reached;
        left -= half;
    }
    return low;
}

/* How many tables of the run begin at or below the key, where of their prefixes `reached` do. */
static inline uint32_t tables_reached(const struct tac_version_run *run, struct tac_bytes key,
                                      uint64_t prefix, uint32_t reached)
{
    uint32_t low = 0, high;

    if (reached == 0 || run->key_min_prefixes[reached - 1] != prefix ||
        tac_bytes_compare(run->tables[reached - 1]->key_min, key) <= 0) {
        return reached;
    }
    /* The prefixes do not decide. */
    high = reached - 1;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (tac_bytes_compare(run->tables[middle]->key_min, key) <= 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

uint32_t tac_version_run_floor(const struct tac_version_run *run, struct tac_bytes key)
{
    uint64_t prefix = tac_key_prefix(key.data, key.size);
    uint32_t reached = keys_reached(run->key_min_prefixes, 0, run->table_count, prefix);

    reached = tables_reached(run, key, prefix, reached);
    return reached == 0 ? run->table_count : reached - 1;
}

/* The run's table that may hold the key, where between low and high of them begin at or below its
 * prefix; or NULL. */
static inline struct tac_table *run_find(const struct tac_version_run *run, struct tac_bytes key,
                                         uint64_t prefix, uint32_t low, uint32_t high)
{
    uint32_t reached = keys_reached(run->key_min_prefixes, low, high, prefix);

    reached = tables_reached(run, key, prefix, reached);
    if (reached == 0 || prefix > run->key_max_prefixes[reached - 1] ||
        (prefix == run->key_max_prefixes[reached - 1] &&
         tac_bytes_compare(key, run->tables[reached - 1]->key_max) > 0)) {
        return NULL;
    }
    __builtin_prefetch(run->tables[reached - 1]);
    return run->tables[reached - 1];
}

uint32_t tac_version_find(const struct tac_version_tree *tree, struct tac_bytes key,
                          struct tac_table **ret_tables, uint32_t tables_max)
{
    const struct tac_version_run    *runs = tree->levels[0].runs;
    const struct tac_version_fences *fences = &tree->fences;
    uint64_t                         prefix = tac_key_prefix(key.data, key.size);
    uint32_t                         width = run_count(tree);
    const uint32_t                  *lows, *highs;

    tac_assert(width <= tables_max);
    if (width == 0) {
        return 0;
    }
    lows =
        fences->floors + (size_t)(keys_reached(fences->keys, 1, fences->count, prefix) - 1) * width;
    highs = TAC_MUTANT(FENCE_LOW) ? lows : lows + width;
    for (uint32_t i = 0; i < width; i++) {
        ret_tables[i] = run_find(&runs[i], key, prefix, lows[i], highs[i]);
    }
    return width;
}
