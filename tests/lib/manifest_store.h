/* SPDX-License-Identifier: Apache-2.0 */
/* manifest_store -- a store of nothing but a manifest, for tests of its log: trees of three layouts,
 * tables that change at random, checkpoints on a disk in memory, and replay. */
#ifndef TACTUS_TESTS_LIB_MANIFEST_STORE_H
#define TACTUS_TESTS_LIB_MANIFEST_STORE_H

#include "base/prng.h"
#include "lsm/manifest_log.h"

#define MANIFEST_STORE_BLOCK_BYTES 4096
#define MANIFEST_STORE_DISK_BLOCKS 8192
#define MANIFEST_STORE_TABLES_MAX 2000
#define MANIFEST_STORE_LOG_BLOCKS_MAX 64
#define MANIFEST_STORE_TREES_MAX 3

extern const struct tac_geometry manifest_store_geometry;

struct manifest_store {
    uint8_t                 *disk;
    struct tac_free_set     *free_set;
    struct tac_manifest     *manifest;
    struct tac_manifest_log *log;
    struct tac_superblock    superblock;
    uint64_t                 table_id_last;
    struct tac_prng          prng;
};

void manifest_store_open(struct manifest_store *store, uint64_t seed, uint32_t tree_count);
void manifest_store_close(struct manifest_store *store);
void manifest_store_checkpoint(struct manifest_store *store);
/* On the disk; stays valid until the store is closed. */
uint8_t *manifest_store_block(const struct manifest_store *store, uint64_t address);

/* In the manifest and in its log: a new table, if there is room for it; … */
void manifest_store_insert(struct manifest_store *store, uint32_t tree);
/* … one in three changes of a table is an update: another level and other counts. One in three of
 * the others discards it; … */
void manifest_store_change(struct manifest_store *store);
/* … a discarded table is found damaged, or gives its blocks back. */
void manifest_store_change_discard(struct manifest_store *store);
/* A bar: changes that keep about `target` tables, and the trees' states. */
void manifest_store_bar(struct manifest_store *store, uint32_t changes, uint64_t target);

/* Replays what `store` wrote; the copy's free set is not used, and the copy is to be closed. */
int manifest_store_replay(const struct manifest_store *store, struct manifest_store *copy,
                          uint32_t tables_max, struct tac_error *error);
/* Whether a replay gives all that `store` has. */
bool manifest_store_replays(const struct manifest_store *store);

#endif
