/* SPDX-License-Identifier: Apache-2.0 */
#include "lsm/range.h"

/* The bound is at or below the key, or above it: the span reaches no further than there. */
static void span_narrow(struct tac_range_span *span, struct tac_bytes bound, bool is_above)
{
    if (is_above) {
        if (span->until.size == 0 || tac_bytes_compare(bound, span->until) < 0) {
            span->until = bound;
        }
    } else if (span->from.size == 0 || tac_bytes_compare(bound, span->from) > 0) {
        span->from = bound;
    }
}

struct tac_range_span tac_ranges_span(const struct tac_range *ranges, uint32_t count,
                                      struct tac_bytes key)
{
    struct tac_range_span span = {.op = 0};

    for (uint32_t i = 0; i < count; i++) {
        const struct tac_range *range = &ranges[i];
        bool is_low_above = tac_bytes_compare(range->low, key) > -TAC_MUTANT(RANGE_FIRST_LIVES);
        bool is_high_above = tac_bytes_compare(range->high, key) > 0;

        if (!is_low_above && is_high_above && range->op > span.op) {
            span.op = range->op;
        }
        span_narrow(&span, range->low, is_low_above);
        span_narrow(&span, range->high, is_high_above);
    }
    return span;
}

/* Edges at or below the key. */
static uint32_t edges_up_to(const struct tac_range_edge *edges, uint32_t count,
                            struct tac_bytes key)
{
    uint32_t low = 0, high = count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (tac_bytes_compare(edges[middle].key, key) <= 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* The edge at the key, which is made if there is none: what it begins is as what is before it. */
static uint32_t edge_at(struct tac_range_edge *edges, uint32_t *count, struct tac_bytes key)
{
    uint32_t at = edges_up_to(edges, *count, key);

    if (at > 0 && tac_bytes_compare(edges[at - 1].key, key) == 0) {
        return at - 1;
    }
    memmove(edges + at + 1, edges + at, (*count - at) * sizeof *edges);
    edges[at] = (struct tac_range_edge){key, at > 0 ? edges[at - 1].op : 0};
    (*count)++;
    return at;
}

uint32_t tac_range_edges_add(struct tac_range_edge *edges, uint32_t count,
                             const struct tac_range *range)
{
    uint32_t low = edge_at(edges, &count, range->low);
    uint32_t high = edge_at(edges, &count, range->high);

    for (uint32_t i = low; i < high; i++) {
        edges[i].op = range->op;
    }
    return count;
}

uint64_t tac_range_edges_op(const struct tac_range_edge *edges, uint32_t count,
                            struct tac_bytes key)
{
    uint32_t at = edges_up_to(edges, count, key);

    return at > 0 ? edges[at - 1].op : 0;
}

struct tac_bytes tac_range_bound_cut(struct tac_bytes bound, uint32_t key_size_max, uint8_t *cut)
{
    if (bound.size <= key_size_max) {
        return bound;
    }
    memcpy(cut, bound.data, key_size_max);
    cut[key_size_max] = 0; /* The lowest that is above all keys which begin so */
    return (struct tac_bytes){cut, key_size_max + 1 - TAC_MUTANT(RANGE_BOUND_SHORT)};
}
