/* SPDX-License-Identifier: Apache-2.0 */
/* blocks_in_use -- how many blocks a store at rest takes, counted from what it is made of: superblocks,
 * free set, manifest log, tables, images of snapshots. As many must be acquired; which ones,
 * tactus_verify finds out. */
#ifndef TACTUS_TESTS_LIB_BLOCKS_IN_USE_H
#define TACTUS_TESTS_LIB_BLOCKS_IN_USE_H

#include "pipeline/store.h"

static inline uint64_t blocks_in_use(const struct tactus *store)
{
    uint64_t blocks = TAC_SUPERBLOCK_COPIES + store->checkpoint.next.free_set_block_count +
                      tac_manifest_log_block_count(store->manifest_log);

    for (uint32_t i = 0; i < tac_manifest_tree_count(store->manifest); i++) {
        const struct tac_manifest_tree *tree = tac_manifest_tree(store->manifest, i);

        for (uint32_t level = 0; level <= tree->planner.last_level; level++) {
            for (uint32_t t = 0; t < tree->levels[level].table_count; t++) {
                const struct tac_table *table = tree->levels[level].tables[t];

                blocks += (uint64_t)table->value_block_count + table->filter_block_count + 1;
            }
        }
        blocks += tree->discards.blocks + tree->retained.blocks;
    }
    blocks += store->snapshots.directory.count > 0;
    for (uint32_t i = 0; i < store->snapshots.directory.count; i++) {
        blocks += store->snapshots.directory.entries[i].block_count;
    }
    return blocks;
}

#endif
