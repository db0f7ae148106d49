/* SPDX-License-Identifier: Apache-2.0 */
#include "reading/page_keeper.h"

#include "queues/atomics.h"
#include "reading/block_read.h"

/* Pages that are looked for at the same time. */
#define GROUP_MAX 16

static uint32_t group_leave(struct tac_read_side *side, const struct tac_cache_key *keys,
                            uint32_t count)
{
    uint32_t found = 0;

    for (uint32_t i = 0; i < count; i++) {
        found += tac_cache_retire(side->page_cache, &keys[i]);
    }
    return found;
}

static uint32_t pages_leave(void *context, uint32_t tree, uint64_t address,
                            const struct tac_value_block *block)
{
    struct tac_read_side *side = context;
    struct tac_cache_key  keys[GROUP_MAX];
    uint32_t              count = 0, found = 0;

    if (!tac_cache_is_used(side->page_cache)) {
        return 0;
    }
    for (uint32_t i = 0; i < block->page_count; i++) {
        struct tac_page_entry entry = tac_value_block_page(block, i);

        if (entry.unit_count != 1) {
            continue;
        }
        keys[count] = tac_page_key(address, &entry, tree);
        tac_cache_prefetch_set(side->page_cache, &keys[count]);
        if (++count == GROUP_MAX) {
            found += group_leave(side, keys, count);
            count = 0;
        }
    }
    return found + group_leave(side, keys, count);
}

static void pages_enter(void *context, uint32_t tree, uint64_t address,
                        const struct tac_value_block *block)
{
    struct tac_read_side *side = context;

    for (uint32_t i = 0; i < block->page_count; i++) {
        struct tac_page_entry entry = tac_value_block_page(block, i);

        tac_page_offer(side, address, &entry, tree,
                       block->data + (uint64_t)entry.unit_first * side->geometry.page_size, true);
    }
    tac_atomic_fetch_add_acq_rel_u64(&side->pages_entered, block->page_count);
}

static void other_enter(void *context, enum tac_block_kind kind,
                        const struct tac_block_reference *reference, const uint8_t *data)
{
    tac_block_offer(context, kind, reference, data);
}

struct tac_page_keeper tac_page_keeper_of(struct tac_read_side *side)
{
    return (struct tac_page_keeper){
        .context = side,
        .leave = pages_leave,
        .enter = pages_enter,
        .enter_other = other_enter,
    };
}
