/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/manifest_store.h"

#include <stdlib.h>
#include <string.h>

#include "tests/lib/tap.h"

const struct tac_geometry manifest_store_geometry = {MANIFEST_STORE_BLOCK_BYTES, 512, 99};

static const struct tac_layout layouts[MANIFEST_STORE_TREES_MAX] = {
    {TACTUS_LAYOUT_FIXED, 8, 8},
    {TACTUS_LAYOUT_VARIABLE, 40, 100},
    {TACTUS_LAYOUT_FIXED, 900, 100},
};

/* ---- open, checkpoint, close ---------------------------------------------------------------- */

uint8_t *manifest_store_block(const struct manifest_store *store, uint64_t address)
{
    return store->disk + address * manifest_store_geometry.block_size;
}

static int disk_read(void *context, const struct tac_block_reference *reference,
                     enum tac_block_kind kind, uint8_t *block, struct tac_error *error)
{
    const struct manifest_store *store = context;

    if (reference->address >= MANIFEST_STORE_DISK_BLOCKS) {
        return tac_error_set(error, TACTUS_EIO, "beyond the disk");
    }
    memcpy(block, manifest_store_block(store, reference->address),
           manifest_store_geometry.block_size);
    return tac_block_verify(block, &manifest_store_geometry, kind, reference, error);
}

void manifest_store_open(struct manifest_store *store, uint64_t seed, uint32_t tree_count)
{
    struct tac_error error;
    uint32_t         tree;

    tac_assert(tree_count <= MANIFEST_STORE_TREES_MAX);
    memset(store, 0, sizeof *store);
    store->disk = calloc(MANIFEST_STORE_DISK_BLOCKS, manifest_store_geometry.block_size);
    store->free_set = tac_free_set_new(MANIFEST_STORE_DISK_BLOCKS);
    store->manifest = tac_manifest_new(MANIFEST_STORE_TABLES_MAX);
    store->log = tac_manifest_log_new(&manifest_store_geometry, MANIFEST_STORE_LOG_BLOCKS_MAX);
    store->prng.state = seed;
    store->superblock.blocks_in_file = MANIFEST_STORE_DISK_BLOCKS;
    for (uint32_t i = 0; i < tree_count; i++) {
        char name[2] = {(char)('a' + i), 0};

        if (tac_manifest_tree_add(store->manifest, name, &layouts[i], &tree, &error) != TACTUS_OK) {
            tap_bail("%s", error.message);
        }
        tac_manifest_tree(store->manifest, tree)->planner.last_level = 2;
        tac_manifest_log_tree(store->log, tac_manifest_tree(store->manifest, tree));
    }
}

void manifest_store_close(struct manifest_store *store)
{
    tac_manifest_log_free(store->log);
    tac_manifest_free(store->manifest);
    tac_free_set_free(store->free_set);
    free(store->disk);
}

void manifest_store_checkpoint(struct manifest_store *store)
{
    uint32_t count = tac_manifest_log_checkpoint_blocks(store->log);

    store->superblock.sequence++;
    for (uint32_t i = 0; i < count; i++) {
        uint8_t  block[MANIFEST_STORE_BLOCK_BYTES];
        uint64_t address;

        if (!tac_free_set_acquire(store->free_set, &address)) {
            tap_bail("the disk is full");
        }
        tac_manifest_log_seal(store->log, i, address, store->superblock.sequence, block);
        memcpy(manifest_store_block(store, address), block, sizeof block);
    }
    tac_manifest_log_checkpoint_done(store->log, store->free_set, &store->superblock);
    tac_free_set_checkpoint_begin(store->free_set);
    tac_free_set_checkpoint_effect(store->free_set);
    store->superblock.table_id_last = store->table_id_last;
    store->superblock.stamp_last = store->table_id_last;
    store->superblock.table_count = tac_manifest_table_count(store->manifest);
    store->superblock.manifest_checksum = tac_manifest_checksum(store->manifest);
}

/* ---- random changes ------------------------------------------------------------------------- */

static void table_fill(struct manifest_store *store, struct tac_table *table, uint64_t id)
{
    const struct tac_manifest_tree *tree = tac_manifest_tree(store->manifest, table->tree);
    const struct tac_layout        *layout = &tree->layout;
    uint8_t                         min[TACTUS_KEY_SIZE_MAX], max[TACTUS_KEY_SIZE_MAX];
    uint32_t                        size = layout->key_size;

    if (layout->kind == TACTUS_LAYOUT_VARIABLE) {
        size = 8 + (uint32_t)tac_prng_below(&store->prng, size - 7);
    }
    memset(min, 'k', size);
    memset(max, 'k', size);
    /* Disjoint by id, so that any level may hold any of them. */
    for (uint32_t i = 0; i < 7; i++) {
        min[i] = max[i] = (uint8_t)(id >> (48 - 8 * i));
    }
    min[7] = 0;
    max[7] = (uint8_t)(1 + tac_prng_below(&store->prng, 255));
    tac_table_set_keys(table, (struct tac_bytes){min, size}, (struct tac_bytes){max, size});
    table->id = id;
    table->stamp = 1 + tac_prng_below(&store->prng, id);
    table->level = (uint32_t)tac_prng_below(&store->prng, tree->planner.last_level + 1);
    table->snapshot_min = tac_prng_below(&store->prng, 1000);
    table->snapshot_max = UINT64_MAX;
    table->index.address = 1 + tac_prng_below(&store->prng, 63);
    table->index.checksum.low = tac_prng_next(&store->prng);
    table->index.checksum.high = tac_prng_next(&store->prng);
    table->value_block_count = 1 + (uint32_t)tac_prng_below(&store->prng, 99);
    table->filter_block_count = (uint32_t)tac_prng_below(&store->prng, 3);
    table->records = 1 + tac_prng_below(&store->prng, 1000);
    table->tombstones = tac_prng_below(&store->prng, table->records);
    /* Each record has a byte; all lie in the blocks. */
    table->bytes = table->records + tac_prng_below(&store->prng, 3000);
    table->sum.low = tac_prng_next(&store->prng);
    table->sum.high = tac_prng_next(&store->prng);
    table->is_damaged = tac_prng_below(&store->prng, 20) == 0;
    table->is_trimmed = tac_prng_below(&store->prng, 5) == 0;
}

static struct tac_table *table_pick(struct manifest_store *store)
{
    uint32_t trees = tac_manifest_tree_count(store->manifest);
    uint32_t start = (uint32_t)tac_prng_below(&store->prng, trees * TACTUS_LEVELS_MAX);

    for (uint32_t i = 0; i < trees * TACTUS_LEVELS_MAX; i++) {
        uint32_t                         at = (start + i) % (trees * TACTUS_LEVELS_MAX);
        const struct tac_manifest_level *level =
            &tac_manifest_tree(store->manifest, at / TACTUS_LEVELS_MAX)
                 ->levels[at % TACTUS_LEVELS_MAX];

        if (level->table_count > 0) {
            return level->tables[tac_prng_below(&store->prng, level->table_count)];
        }
    }
    return NULL;
}

void manifest_store_insert(struct manifest_store *store, uint32_t tree)
{
    struct tac_table *table = tac_manifest_table_take(store->manifest, tree);

    if (table != NULL) {
        table_fill(store, table, ++store->table_id_last);
        tac_manifest_insert(store->manifest, table);
        tac_manifest_log_insert(store->log, tac_manifest_tree(store->manifest, table->tree), table);
    }
}

void manifest_store_change_discard(struct manifest_store *store)
{
    uint32_t                  trees = tac_manifest_tree_count(store->manifest);
    struct tac_manifest_tree *tree =
        tac_manifest_tree(store->manifest, (uint32_t)tac_prng_below(&store->prng, trees));
    struct tac_table *table;

    if (tree->discards.table_count == 0) {
        return;
    }
    table = tree->discards.tables[tac_prng_below(&store->prng, tree->discards.table_count)];
    tac_manifest_remove(store->manifest, table);
    if (!table->is_damaged && tac_prng_below(&store->prng, 4) == 0) {
        table->is_damaged = true;
        tac_manifest_insert(store->manifest, table);
        tac_manifest_log_insert(store->log, tree, table);
    } else {
        tac_manifest_log_remove(store->log, table);
        tac_manifest_table_give_back(store->manifest, table);
    }
}

void manifest_store_change(struct manifest_store *store)
{
    struct tac_table *table = table_pick(store);

    if (table == NULL) {
        return;
    }
    if (tac_prng_below(&store->prng, 9) < 2) {
        tac_manifest_discard(store->manifest, table);
        tac_manifest_log_insert(store->log, tac_manifest_tree(store->manifest, table->tree), table);
        return;
    }
    tac_manifest_remove(store->manifest, table);
    if (tac_prng_below(&store->prng, 3) == 0) {
        table_fill(store, table, table->id);
        tac_manifest_insert(store->manifest, table);
        tac_manifest_log_insert(store->log, tac_manifest_tree(store->manifest, table->tree), table);
    } else {
        tac_manifest_log_remove(store->log, table);
        tac_manifest_table_give_back(store->manifest, table);
    }
}

/* The last level gets the next number; of that the log has only the tree's event. */
static void tree_sink(struct manifest_store *store, struct tac_manifest_tree *tree)
{
    struct tac_manifest_level *level = &tree->levels[tree->planner.last_level++];

    while (level->table_count > 0) {
        struct tac_table *table = level->tables[0];

        tac_manifest_remove(store->manifest, table);
        table->level++;
        tac_manifest_insert(store->manifest, table);
    }
}

void manifest_store_bar(struct manifest_store *store, uint32_t changes, uint64_t target)
{
    for (uint32_t i = 0; i < changes; i++) {
        if (tac_prng_below(&store->prng, 2 * target) >= tac_manifest_table_count(store->manifest)) {
            manifest_store_insert(
                store,
                (uint32_t)tac_prng_below(&store->prng, tac_manifest_tree_count(store->manifest)));
        } else {
            manifest_store_change(store);
        }
        if (tac_prng_below(&store->prng, 4) == 0) {
            manifest_store_change_discard(store);
        }
    }
    for (uint32_t i = 0; i < tac_manifest_tree_count(store->manifest); i++) {
        struct tac_manifest_tree *tree = tac_manifest_tree(store->manifest, i);

        tree->planner.bar_count++;
        if (tac_prng_below(&store->prng, 100) == 0 && tree->planner.last_level < 6) {
            tree_sink(store, tree);
        }
        tree->planner.work_mean = tac_prng_next(&store->prng) >> 8;
        tac_manifest_log_tree(store->log, tree);
    }
}

/* ---- replay --------------------------------------------------------------------------------- */

static bool sequences_equal(struct tac_manifest *a, struct tac_manifest *b)
{
    for (uint32_t i = 0; i < tac_manifest_tree_count(a); i++) {
        struct tac_manifest_tree *tree_a = tac_manifest_tree(a, i);
        struct tac_manifest_tree *tree_b = tac_manifest_tree(b, i);

        if (tree_a->log_sequence != tree_b->log_sequence) {
            return false;
        }
        for (uint32_t j = 0; j < TACTUS_LEVELS_MAX; j++) {
            for (uint32_t k = 0; k < tree_a->levels[j].table_count; k++) {
                if (tree_a->levels[j].tables[k]->log_sequence !=
                    tree_b->levels[j].tables[k]->log_sequence) {
                    return false;
                }
            }
        }
    }
    return true;
}

int manifest_store_replay(const struct manifest_store *store, struct manifest_store *copy,
                          uint32_t tables_max, struct tac_error *error)
{
    memset(copy, 0, sizeof *copy);
    copy->manifest = tac_manifest_new(tables_max);
    copy->log = tac_manifest_log_new(&manifest_store_geometry, MANIFEST_STORE_LOG_BLOCKS_MAX);
    return tac_manifest_log_replay(copy->log, copy->manifest, &store->superblock, disk_read,
                                   (void *)store, error);
}

bool manifest_store_replays(const struct manifest_store *store)
{
    struct manifest_store copy;
    struct tac_error      error = {0};
    bool ok = manifest_store_replay(store, &copy, MANIFEST_STORE_TABLES_MAX, &error) == TACTUS_OK;

    if (!ok) {
        tap_diag("%s", error.message);
    }
    ok = ok && tac_u128_equal(tac_manifest_checksum(copy.manifest),
                              tac_manifest_checksum(store->manifest));
    ok = ok && sequences_equal(store->manifest, copy.manifest) &&
         tac_manifest_discards_left(copy.manifest) == tac_manifest_discards_left(store->manifest);
    ok = ok && tac_manifest_log_block_count(copy.log) == tac_manifest_log_block_count(store->log);
    for (uint64_t i = 0; ok && i < tac_manifest_log_block_count(store->log); i++) {
        ok = tac_manifest_log_block(copy.log, i).address ==
             tac_manifest_log_block(store->log, i).address;
    }
    manifest_store_close(&copy);
    return ok;
}
