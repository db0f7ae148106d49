/* SPDX-License-Identifier: Apache-2.0 */
/* snapshot -- see snapshot.h. */
#include "pipeline/snapshot.h"

#include <stdlib.h>
#include <string.h>

#include "base/mutant.h"
#include "base/units.h"
#include "pipeline/recovery.h"
#include "pipeline/space.h"
#include "pipeline/store.h"
#include "queues/atomics.h"

void tac_snapshots_init(struct tac_snapshots *snapshots)
{
    pthread_mutex_init(&snapshots->lock, NULL);
}

void tac_snapshots_destroy(struct tac_snapshots *snapshots)
{
    free(snapshots->order.addresses);
    pthread_mutex_destroy(&snapshots->lock);
}

/* ---- what is in the file -------------------------------------------------------------------- */

static int block_in_use(const struct tactus *store, uint64_t address, struct tac_error *error)
{
    if (tac_free_set_is_acquired(store->free_set, address) &&
        !tac_manifest_log_has_block(store->manifest_log, address)) {
        return TACTUS_OK;
    }
    return tac_error_set(error, TACTUS_ECORRUPT,
                         "block %llu of a snapshot is not in use as the free set has it, or is "
                         "also a block of something else",
                         (unsigned long long)address);
}

int tac_snapshots_load(struct tactus *store, const struct tac_superblock *superblock,
                       uint8_t *block, struct tac_error *error)
{
    struct tac_snapshot_directory *directory = &store->snapshots.directory;
    int                            result;

    if (superblock->snapshots.address == 0) {
        return TACTUS_OK;
    }
    result = tac_store_read_block(store, &superblock->snapshots, TAC_BLOCK_SNAPSHOTS, block, error);
    if (result == TACTUS_OK) {
        result =
            tac_snapshot_directory_decode(directory, &store->geometry, superblock, block, error);
    }
    if (result == TACTUS_OK) {
        result = block_in_use(store, superblock->snapshots.address, error);
    }
    for (uint32_t i = 0; i < directory->count && result == TACTUS_OK; i++) {
        if (directory->entries[i].block_count > 0) {
            result = block_in_use(store, directory->entries[i].newest.address, error);
        }
    }
    return result;
}

int tac_snapshot_read(struct tactus *store, const struct tac_snapshot_entry *entry,
                      struct tac_manifest **ret_manifest, struct tac_manifest_log **ret_log,
                      struct tac_error *error)
{
    /* What a superblock would say of a store that has just this. */
    const struct tac_superblock root = {
        .sequence = entry->sequence,
        .shape = store->shape,
        .op_persisted = entry->op,
        .table_id_last = entry->table_id_last,
        .stamp_last = entry->stamp_last,
        .table_count = entry->table_count,
        .manifest_checksum = entry->manifest_checksum,
        .manifest_newest = entry->newest,
        .manifest_oldest_sequence = 1,
        .manifest_block_count = entry->block_count,
        .blocks_in_file = store->shape.file_size_max / store->shape.block_size,
    };
    uint32_t                 tables = (uint32_t)tac_max_u64(entry->table_count, 1);
    struct tac_manifest     *manifest = tac_manifest_new(tables);
    struct tac_manifest_log *log = tac_manifest_log_new(&store->geometry, 2);
    int                      result = TACTUS_ENOMEM;

    tac_error_clear(error);
    if (manifest != NULL && log != NULL) {
        result = tac_manifest_log_replay(log, manifest, &root, tac_store_read_block, store, error);
    }
    if (result == TACTUS_EFULL) {
        result = tac_error_set(error, TACTUS_ECORRUPT, "it has more tables than it should");
    }
    if (result != TACTUS_OK) {
        tac_manifest_free(manifest);
        tac_manifest_log_free(log);
        return error->code == TACTUS_OK
                   ? tac_error_set(error, TACTUS_ENOMEM,
                                   "snapshot \"%s\": out of memory for %u tables", entry->name,
                                   tables)
                   : tac_error_wrap(error, "snapshot \"%s\"", entry->name);
    }
    *ret_manifest = manifest;
    *ret_log = log;
    return TACTUS_OK;
}

/* ---- the ops -------------------------------------------------------------------------------- */

static void order_end(struct tac_snapshots *snapshots)
{
    free(snapshots->order.addresses);
    snapshots->order = (struct tac_snapshot_order){.kind = TAC_SNAPSHOT_NONE};
}

static uint32_t key_size_max(struct tac_manifest *manifest)
{
    uint32_t key_size = 1;

    for (uint32_t i = 0; i < tac_manifest_tree_count(manifest); i++) {
        key_size = (uint32_t)tac_max_u64(key_size, tac_manifest_tree(manifest, i)->layout.key_size);
    }
    return key_size;
}

static int take_prepare(struct tactus *store, struct tac_snapshot_order *order,
                        struct tac_error *error)
{
    const struct tac_snapshot_directory *directory = &store->snapshots.directory;
    uint32_t most = store->is_replaying ? TAC_SNAPSHOTS_MAX : store->options.snapshots_max;
    uint64_t events = (uint64_t)store->options.tables_max + TACTUS_TREES_MAX + TAC_RANGES_MAX;

    if (tac_snapshot_directory_find(directory, order->name) < directory->count) {
        return tac_error_set(error, TACTUS_EEXISTS, "there is already a snapshot \"%s\"",
                             order->name);
    }
    if (directory->count >= most) {
        return tac_error_set(error, TACTUS_EOPTION,
                             "option snapshots_max is %u, and there are %u: release one, or open "
                             "the store with more (at most %u)",
                             most, directory->count, TAC_SNAPSHOTS_MAX);
    }
    order->kind = TAC_SNAPSHOT_TAKE;
    order->address_max =
        tac_manifest_log_blocks_for(&store->geometry, events, key_size_max(store->manifest));
    order->addresses = calloc(order->address_max, sizeof *order->addresses);
    return order->addresses != NULL
               ? TACTUS_OK
               : tac_error_set(error, TACTUS_ENOMEM, "out of memory for a snapshot");
}

/* Where the image is. A hostile file may say that it lies where something else does. */
static int image_find(struct tactus *store, const struct tac_snapshot_entry *entry,
                      struct tac_snapshot_order *order, struct tac_error *error)
{
    struct tac_manifest     *manifest;
    struct tac_manifest_log *log;
    int                      result = tac_snapshot_read(store, entry, &manifest, &log, error);

    if (result != TACTUS_OK) {
        return result;
    }
    order->address_count = tac_manifest_log_block_count(log);
    order->addresses = calloc(tac_max_u64(order->address_count, 1), sizeof *order->addresses);
    if (order->addresses == NULL) {
        result = tac_error_set(error, TACTUS_ENOMEM, "out of memory for a snapshot");
    }
    for (uint64_t i = 0; i < order->address_count && result == TACTUS_OK; i++) {
        order->addresses[i] = tac_manifest_log_block(log, i).address;
        result = block_in_use(store, order->addresses[i], error);
    }
    tac_manifest_free(manifest);
    tac_manifest_log_free(log);
    return result;
}

static int release_prepare(struct tactus *store, struct tac_snapshot_order *order,
                           struct tac_error *error)
{
    const struct tac_snapshot_directory *directory = &store->snapshots.directory;
    uint32_t number = tac_snapshot_directory_find(directory, order->name);

    if (number == directory->count) {
        return tac_error_set(error, TACTUS_ENOTFOUND, "there is no snapshot \"%s\"", order->name);
    }
    order->kind = TAC_SNAPSHOT_RELEASE;
    return image_find(store, &directory->entries[number], order, error);
}

/* The order is the coordinator's from here on; it is over when the checkpoint is durable. */
static int order_run(struct tactus *store, struct tac_snapshot_order *order,
                     struct tac_error *error)
{
    struct tac_snapshots *snapshots = &store->snapshots;
    int                   result = tac_writer_snapshot(store, order, error);

    tac_assert(result != TACTUS_OK || snapshots->order.is_met);
    if (result == TACTUS_OK) {
        result = snapshots->order.result;
        order_end(snapshots);
        return result != TACTUS_EFULL
                   ? result
                   : tac_error_set(error, TACTUS_EFULL,
                                   "no room for the list of the snapshot's tables: the store is "
                                   "near its file_size_max of %llu bytes",
                                   (unsigned long long)store->shape.file_size_max);
    }
    if (snapshots->order.kind == TAC_SNAPSHOT_NONE) {
        free(order->addresses);
    }
    return result;
}

static int rest(struct tactus *store, struct tac_error *error)
{
    if (tac_recovery_is_refilling(store)) {
        tac_recovery_refill_end(store); /* A checkpoint has the op as done or does not know it. */
    }
    return tac_writer_rest(store, error);
}

int tac_snapshot_take(struct tactus *store, const char *name, struct tac_error *error)
{
    struct tac_snapshot_order order = {.kind = TAC_SNAPSHOT_NONE};
    int                       result = rest(store, error);

    if (result == TACTUS_OK) {
        memcpy(order.name, name, strlen(name) + 1);
        result = take_prepare(store, &order, error);
    }
    if (result != TACTUS_OK) {
        free(order.addresses);
        return result;
    }
    return order_run(store, &order, error);
}

/* Nobody opens it from here on. TACTUS_EAGAIN: somebody has. */
static int release_begin(struct tac_snapshots *snapshots, const char *name, struct tac_error *error)
{
    const struct tac_snapshot_directory *directory = &snapshots->directory;
    int                                  result = TACTUS_OK;
    uint32_t                             number;

    pthread_mutex_lock(&snapshots->lock);
    number = tac_snapshot_directory_find(directory, name);
    if (number < directory->count) {
        snapshots->releasing_op = directory->entries[number].op;
        if (tac_snapshot_is_open(snapshots, snapshots->releasing_op) &&
            !TAC_MUTANT(OPEN_SNAPSHOT_GONE)) {
            snapshots->releasing_op = 0;
            result = tac_error_set(error, TACTUS_EAGAIN,
                                   "snapshot \"%s\" is open: close it, then release it", name);
        }
    }
    pthread_mutex_unlock(&snapshots->lock);
    return result;
}

int tac_snapshot_release(struct tactus *store, const char *name, struct tac_error *error)
{
    struct tac_snapshots     *snapshots = &store->snapshots;
    struct tac_snapshot_order order = {.kind = TAC_SNAPSHOT_NONE};
    int                       result = rest(store, error);

    if (result == TACTUS_OK) {
        result = release_begin(snapshots, name, error);
    }
    if (result == TACTUS_OK) {
        memcpy(order.name, name, strlen(name) + 1);
        result = release_prepare(store, &order, error);
        if (result == TACTUS_OK) {
            result = order_run(store, &order, error);
        } else {
            free(order.addresses);
        }
        pthread_mutex_lock(&snapshots->lock);
        snapshots->releasing_op = 0;
        pthread_mutex_unlock(&snapshots->lock);
    }
    return result;
}

void tac_snapshots_pin_trees(struct tactus *store)
{
    for (uint32_t i = 0; i < tac_manifest_tree_count(store->manifest); i++) {
        struct tac_manifest_tree *tree = tac_manifest_tree(store->manifest, i);

        tree->is_pinned = tree->dropped_op != 0 && !TAC_MUTANT(SNAPSHOT_TREE_GONE) &&
                          tac_snapshot_directory_has_tree(&store->snapshots.directory, tree);
    }
}

uint64_t tac_snapshots_discards_left(struct tactus *store)
{
    return tac_manifest_discards_left(store->manifest) +
           tac_snapshot_directory_unneeded(&store->snapshots.directory, store->manifest);
}

/* ---- with a checkpoint ---------------------------------------------------------------------- */

static int full(struct tac_error *error)
{
    return tac_error_set(error, TACTUS_EFULL, "no blocks left for the directory of snapshots");
}

/* The directory is written anew, or there is none any more. */
static int directory_place(struct tactus *store, struct tac_superblock *next,
                           struct tac_error *error)
{
    struct tac_snapshots *snapshots = &store->snapshots;

    if (next->snapshots.address != 0) {
        tac_free_set_release(store->free_set, next->snapshots.address);
    }
    next->snapshots = (struct tac_block_reference){.address = 0};
    snapshots->order.is_directory_due = snapshots->directory.count > 0;
    return !snapshots->order.is_directory_due ||
                   tac_free_set_acquire(store->free_set, &next->snapshots.address)
               ? TACTUS_OK
               : full(error);
}

static int take(struct tactus *store, struct tac_superblock *next, struct tac_error *error)
{
    struct tac_snapshots            *snapshots = &store->snapshots;
    struct tac_snapshot_order       *order = &snapshots->order;
    struct tac_snapshot_directory   *directory = &snapshots->directory;
    struct tac_manifest_image_totals totals;
    struct tac_snapshot_entry       *entry = &directory->entries[directory->count];

    tac_manifest_image_begin(&order->image, store->manifest, &store->geometry);
    totals = tac_manifest_image_total(&order->image);
    tac_assert(directory->count < TAC_SNAPSHOTS_MAX && totals.block_count <= order->address_max);
    if (!tac_space_has_room(store, totals.block_count + 1)) {
        order->result = TACTUS_EFULL;
        return TACTUS_OK;
    }
    for (uint64_t i = 0; i < totals.block_count; i++) {
        if (!tac_free_set_acquire(store->free_set, &order->addresses[i])) {
            return full(error);
        }
    }
    pthread_mutex_lock(&snapshots->lock);
    *entry = (struct tac_snapshot_entry){
        .op = order->op,
        .sequence = next->sequence,
        .table_id_last = store->table_id_last,
        .stamp_last = store->stamp_last,
        .table_count = totals.table_count,
        .bytes = totals.bytes,
        .block_count = totals.block_count,
        .manifest_checksum = totals.checksum,
    };
    memcpy(entry->name, order->name, sizeof entry->name);
    directory->count++;
    pthread_mutex_unlock(&snapshots->lock);
    order->blocks_left = order->address_count = totals.block_count;
    return directory_place(store, next, error);
}

static int release(struct tactus *store, struct tac_superblock *next, struct tac_error *error)
{
    struct tac_snapshots          *snapshots = &store->snapshots;
    struct tac_snapshot_order     *order = &snapshots->order;
    struct tac_snapshot_directory *directory = &snapshots->directory;
    uint32_t                       number = tac_snapshot_directory_find(directory, order->name);

    tac_assert(number < directory->count);
    for (uint64_t i = 0; i < order->address_count && !TAC_MUTANT(IMAGE_KEPT); i++) {
        /* A hostile file may give one block to two images: it goes once. */
        if (tac_free_set_is_acquired(store->free_set, order->addresses[i])) {
            tac_free_set_release(store->free_set, order->addresses[i]);
        }
    }
    pthread_mutex_lock(&snapshots->lock);
    directory->count--;
    memmove(&directory->entries[number], &directory->entries[number + 1],
            (directory->count - number) * sizeof directory->entries[0]);
    pthread_mutex_unlock(&snapshots->lock);
    tac_snapshots_pin_trees(store);
    return directory_place(store, next, error);
}

static bool has_retained(struct tac_manifest *manifest)
{
    for (uint32_t i = 0; i < tac_manifest_tree_count(manifest); i++) {
        if (tac_manifest_tree(manifest, i)->retained.table_count > 0) {
            return true;
        }
    }
    return false;
}

int tac_snapshots_checkpoint(struct tactus *store, struct tac_superblock *next,
                             struct tac_error *error)
{
    struct tac_snapshot_order *order = &store->snapshots.order;
    int                        result = TACTUS_OK;

    if (order->kind != TAC_SNAPSHOT_NONE && !order->is_met && next->op_persisted >= order->op) {
        tac_assert(next->op_persisted == order->op);
        order->is_met = true;
        result = order->kind == TAC_SNAPSHOT_TAKE ? take(store, next, error)
                                                  : release(store, next, error);
        if (result == TACTUS_OK) {
            result = tac_store_file_grow(store, error);
        }
    }
    next->features_incompatible &= ~(uint64_t)TAC_FEATURE_SNAPSHOTS;
    if (store->snapshots.directory.count > 0 || has_retained(store->manifest)) {
        next->features_incompatible |= TAC_FEATURE_SNAPSHOTS;
    }
    return result;
}

bool tac_snapshots_block_is_due(const struct tac_snapshots *snapshots)
{
    return snapshots->order.blocks_left > 0 || snapshots->order.is_directory_due;
}

enum tac_block_kind tac_snapshots_block(struct tactus *store, struct tac_superblock *next,
                                        uint8_t *block, struct tac_block_reference *ret_reference)
{
    struct tac_snapshots          *snapshots = &store->snapshots;
    struct tac_snapshot_order     *order = &snapshots->order;
    struct tac_snapshot_directory *directory = &snapshots->directory;

    if (order->blocks_left > 0) {
        uint64_t number = order->address_count - order->blocks_left--;

        *ret_reference = tac_manifest_image_block(&order->image, order->addresses[number],
                                                  next->sequence, block);
        directory->entries[directory->count - 1].newest = *ret_reference;
        return TAC_BLOCK_MANIFEST;
    }
    tac_assert(order->is_directory_due);
    order->is_directory_due = false;
    tac_snapshot_directory_encode(directory, &store->geometry, next->snapshots.address,
                                  next->sequence, block);
    next->snapshots.checksum = tac_block_checksum(block, &store->geometry);
    *ret_reference = next->snapshots;
    return TAC_BLOCK_SNAPSHOTS;
}
