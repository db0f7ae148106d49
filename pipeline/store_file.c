/* SPDX-License-Identifier: Apache-2.0 */
/* store_file -- a store's file as it is created, and as an open finds it: superblocks, free set,
 * manifest. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mutant.h"
#include "base/units.h"
#include "pipeline/options.h"
#include "pipeline/recovery.h"
#include "pipeline/store.h"

/* ---- create --------------------------------------------------------------------------------- */

static int superblocks_write(struct tac_storage *storage, const struct tac_superblock *superblock,
                             uint32_t mask, struct tac_error *error)
{
    uint8_t *copy = aligned_alloc(4096, TAC_SUPERBLOCK_BYTES);
    int      result = TACTUS_OK;

    if (copy == NULL) {
        return tac_error_set(error, TACTUS_ENOMEM, "out of memory for a superblock");
    }
    for (uint32_t i = 0; i < TAC_SUPERBLOCK_COPIES && result == TACTUS_OK; i++) {
        if ((mask >> i & 1) != 0) {
            tac_superblock_encode(copy, superblock, i);
            result = storage->ops->write(
                storage, copy, TAC_SUPERBLOCK_BYTES,
                (uint64_t)i * TAC_SUPERBLOCK_STRIDE_BLOCKS * superblock->shape.block_size, error);
        }
    }
    free(copy);
    return result != TACTUS_OK || mask == 0 ? result : storage->ops->sync(storage, error);
}

static int uuid_make(const struct tactus_options *options, uint8_t uuid[TACTUS_UUID_BYTES],
                     struct tac_error *error)
{
    static const uint8_t zero[TACTUS_UUID_BYTES];

    memcpy(uuid, options->uuid, TACTUS_UUID_BYTES);
    if (memcmp(uuid, zero, TACTUS_UUID_BYTES) != 0) {
        return TACTUS_OK;
    }
    if (getentropy(uuid, TACTUS_UUID_BYTES) != 0) {
        return tac_error_set(error, TACTUS_EIO, "the system has no random bytes for a UUID");
    }
    return TACTUS_OK;
}

/* The first checkpoint: an empty manifest, whose checksum replay must find. */
static int root_write(struct tac_storage *storage, struct tac_superblock *superblock,
                      struct tac_error *error)
{
    struct tac_manifest *manifest = tac_manifest_new(1024);

    if (manifest == NULL) {
        return tac_error_set(error, TACTUS_ENOMEM, "out of memory for a manifest");
    }
    superblock->manifest_checksum = tac_manifest_checksum(manifest);
    tac_manifest_free(manifest);
    return superblocks_write(storage, superblock, 0xf, error);
}

int tac_store_create(struct tac_storage *storage, const struct tactus_options *options,
                     struct tac_error *error)
{
    struct tac_superblock superblock;

    memset(&superblock, 0, sizeof superblock);
    tac_options_shape(options, &superblock.shape);
    if (tac_shape_check(&superblock.shape, error) != TACTUS_OK ||
        uuid_make(options, superblock.uuid, error) != TACTUS_OK) {
        return error->code;
    }
    superblock.sequence = 1;
    superblock.blocks_in_file = TAC_GRID_BLOCKS_MIN;
    superblock.manifest_oldest_sequence = 1;
    if (storage->ops->resize(storage, (uint64_t)TAC_GRID_BLOCKS_MIN * superblock.shape.block_size,
                             error) != TACTUS_OK) {
        return error->code;
    }
    return root_write(storage, &superblock, error);
}

/* ---- what an open finds on disk -------------------------------------------------------------- */

/* Of the superblocks: two in a row agree by then if one of them was wrong. */
#define READINGS_MAX 4

/* What was found where the superblock copies are. */
struct copies {
    uint8_t         *bytes;           /* All four, one behind the other */
    uint32_t         unreadable_mask; /* Within the file, and yet the device does not give them */
    struct tac_error read_error;      /* Why the first of those cannot be read */
};

static int copy_read(struct tac_storage *storage, uint64_t offset, uint8_t *copy,
                     struct tac_error *error)
{
    int result = TACTUS_EIO;

    for (uint32_t attempt = 0; attempt < TAC_READ_ATTEMPTS && result != TACTUS_OK; attempt++) {
        result = storage->ops->read(storage, copy, TAC_SUPERBLOCK_BYTES, offset, error);
    }
    return result;
}

static void copies_load(struct tac_storage *storage, uint32_t block_size, struct copies *copies,
                        const uint8_t *readable[TAC_SUPERBLOCK_COPIES])
{
    uint64_t         file_size = storage->ops->size(storage);
    struct tac_error read_error;

    copies->unreadable_mask = 0;
    for (uint32_t i = 0; i < TAC_SUPERBLOCK_COPIES; i++) {
        uint8_t *copy = copies->bytes + (size_t)i * TAC_SUPERBLOCK_BYTES;
        uint64_t offset = (uint64_t)i * TAC_SUPERBLOCK_STRIDE_BLOCKS * block_size;

        readable[i] = copy_read(storage, offset, copy, &read_error) == TACTUS_OK ? copy : NULL;
        if (readable[i] == NULL && offset + TAC_SUPERBLOCK_BYTES <= file_size) {
            if (copies->unreadable_mask == 0) {
                copies->read_error = read_error;
            }
            copies->unreadable_mask |= 1u << i;
        }
    }
}

static bool choice_is_same(const struct tac_superblock_choice *a,
                           const struct tac_superblock_choice *b)
{
    return a->superblock.sequence == b->superblock.sequence &&
           a->repair_first_mask == b->repair_first_mask &&
           a->repair_second_mask == b->repair_second_mask &&
           tac_u128_equal(tac_superblock_checksum(&a->superblock),
                          tac_superblock_checksum(&b->superblock));
}

/* The block size is in the superblock, and where the other copies are depends on it: the first copy
 * tells, or else the places that other sizes would give are tried. Believed is what two readings in
 * a row agree on. One is not enough even if all in it is whole: of a checkpoint that a crash cut
 * short one copy may be all there is, and if that is read as it was before, once, the store goes on
 * from the checkpoint before while the disk has two histories. */
static int superblock_copies_read(struct tac_storage *storage, uint32_t block_size,
                                  struct copies *copies, struct tac_superblock_choice *choice,
                                  struct tac_error *error)
{
    const uint8_t               *readable[TAC_SUPERBLOCK_COPIES];
    struct tac_superblock_choice before;
    int                          result = TACTUS_EIO, result_before;
    bool                         is_agreed = false;

    for (uint32_t reading = 0; reading < READINGS_MAX && !is_agreed; reading++) {
        before = *choice;
        result_before = result;
        copies_load(storage, block_size, copies, readable);
        if (copies->unreadable_mask == 0xf) {
            *error = copies->read_error;
            return tac_error_wrap(error, "no superblock can be read");
        }
        result = tac_superblock_choose(readable, choice, error);
        is_agreed = reading > 0 && result == result_before &&
                    (result != TACTUS_OK || choice_is_same(choice, &before));
    }
    if (!is_agreed) {
        return tac_error_set(error, TACTUS_EIO,
                             "the superblocks were read %d times, and no two readings in a row "
                             "agree; check the device, or try again",
                             READINGS_MAX);
    }
    return result;
}

/* A file that is shorter than what is in use of it was cut: said before anything is written to it,
 * since the next plan would make it as long again, with zeros. */
static int file_size_check(struct tac_storage *storage, const struct tac_superblock *superblock,
                           struct tac_error *error)
{
    uint64_t size = storage->ops->size(storage);
    uint64_t needed = superblock->blocks_in_file * superblock->shape.block_size;

    if (size >= needed) {
        return TACTUS_OK;
    }
    return tac_error_set(error, TACTUS_ECORRUPT,
                         "the file was cut: %llu bytes are missing of the %llu that its last "
                         "checkpoint uses; restore it from a copy",
                         (unsigned long long)(needed - size), (unsigned long long)needed);
}

/* A pair of which nothing could be read may be that of the newest checkpoint, which the repair
 * would overwrite: better no store than an older one. (One copy alone, the other being torn, cannot
 * be of a checkpoint that was acknowledged.) */
static int superblock_pair_check(const struct copies                *copies,
                                 const struct tac_superblock_choice *choice,
                                 struct tac_error                   *error)
{
    uint32_t other = tac_superblock_copy_first(choice->superblock.sequence + 1);
    uint32_t pair_mask = 3u << other;

    if ((copies->unreadable_mask & pair_mask) != pair_mask) {
        return TACTUS_OK;
    }
    *error = copies->read_error;
    return tac_error_wrap(error, "superblock copies %u and %u may be of a later checkpoint", other,
                          other + 1);
}

static int superblock_choose(struct tac_storage *storage, struct copies *copies,
                             struct tac_superblock_choice *choice, struct tac_error *error)
{
    struct tac_error first;
    int              result = TACTUS_EFORMAT;

    if (storage->ops->size(storage) < TAC_SUPERBLOCK_BYTES) {
        return tac_error_set(error, TACTUS_EFORMAT, "not a Tactus store: the file has %llu bytes",
                             (unsigned long long)storage->ops->size(storage));
    }
    tac_error_clear(&first);
    for (uint32_t size = 4 * TAC_KIB; size <= TAC_MIB && result != TACTUS_OK; size *= 2) {
        result = superblock_copies_read(storage, size, copies, choice, error);
        if (result == TACTUS_OK && choice->superblock.shape.block_size != size) {
            result = TACTUS_EFORMAT; /* Only the first copy was met; its own size comes later. */
        } else if (result != TACTUS_OK &&
                   (first.code == TACTUS_OK || first.code == TACTUS_EFORMAT)) {
            first = *error;
        }
        if (result == TACTUS_EFORK) {
            break;
        }
    }
    if (result != TACTUS_OK) {
        *error = first.code != TACTUS_OK ? first : *error;
        return error->code != TACTUS_OK
                   ? error->code
                   : tac_error_set(error, TACTUS_EFORMAT, "no superblock of a Tactus store");
    }
    return TACTUS_OK;
}

int tac_store_superblock_find(struct tac_storage *storage, struct tac_superblock_choice *ret_choice,
                              struct tac_error *ret_doubt, struct tac_error *error)
{
    struct copies copies = {
        .bytes = aligned_alloc(4096, (size_t)TAC_SUPERBLOCK_COPIES * TAC_SUPERBLOCK_BYTES),
    };
    int result;

    if (copies.bytes == NULL) {
        return tac_error_set(error, TACTUS_ENOMEM, "out of memory for superblocks");
    }
    tac_error_clear(ret_doubt);
    *ret_choice = (struct tac_superblock_choice){.repair_first_mask = 0};
    result = superblock_choose(storage, &copies, ret_choice, error);
    free(copies.bytes);
    if (result == TACTUS_OK) {
        (void)superblock_pair_check(&copies, ret_choice, ret_doubt);
    }
    return result;
}

int tac_store_superblock_open(struct tac_storage *storage, struct tac_superblock *ret_superblock,
                              uint32_t *ret_repaired, struct tac_error *error)
{
    struct tac_superblock_choice choice;
    struct tac_error             doubt;

    tac_error_clear(error);
    if (tac_store_superblock_find(storage, &choice, &doubt, error) != TACTUS_OK) {
        return error->code;
    }
    if (doubt.code != TACTUS_OK) {
        *error = doubt;
        return error->code;
    }
    if (file_size_check(storage, &choice.superblock, error) != TACTUS_OK ||
        superblocks_write(storage, &choice.superblock, choice.repair_first_mask, error) !=
            TACTUS_OK ||
        superblocks_write(storage, &choice.superblock, choice.repair_second_mask, error) !=
            TACTUS_OK) {
        return error->code;
    }
    /* A process that was killed may have left what is read here in the system's cache only: what is
     * called durable from now on must be. */
    if (storage->ops->sync(storage, error) != TACTUS_OK) {
        return error->code;
    }
    *ret_superblock = choice.superblock;
    *ret_repaired =
        (uint32_t)__builtin_popcount(choice.repair_first_mask | choice.repair_second_mask);
    return TACTUS_OK;
}

int tac_store_read_block(void *context, const struct tac_block_reference *reference,
                         enum tac_block_kind kind, uint8_t *block, struct tac_error *error)
{
    struct tactus *store = context;

    if (reference->address >= store->shape.file_size_max / store->geometry.block_size) {
        return tac_error_set(error, TACTUS_ECORRUPT, "reference to block %llu, outside the store",
                             (unsigned long long)reference->address);
    }
    return tac_block_fetch(store->storage, &store->geometry, reference, kind, block, error);
}

int tac_block_fetch(struct tac_storage *storage, const struct tac_geometry *geometry,
                    const struct tac_block_reference *reference, enum tac_block_kind kind,
                    uint8_t *block, struct tac_error *error)
{
    uint64_t block_size = geometry->block_size;
    int      result = TACTUS_EIO;

    if (reference->address == 0 || reference->address > INT64_MAX / block_size - 1) {
        return tac_error_set(error, TACTUS_ECORRUPT, "reference to block %llu: no such block",
                             (unsigned long long)reference->address);
    }
    for (uint32_t attempt = 0; attempt < TAC_READ_ATTEMPTS && result != TACTUS_OK; attempt++) {
        result =
            storage->ops->read(storage, block, block_size, reference->address * block_size, error);
        if (result == TACTUS_OK) {
            result = tac_block_verify(block, geometry, kind, reference, error);
        } else {
            (void)tac_error_wrap(error, "block %llu", (unsigned long long)reference->address);
        }
    }
    return result;
}

static int free_set_load(struct tactus *store, const struct tac_superblock *superblock,
                         uint8_t *block, struct tac_error *error)
{
    for (uint32_t i = 0; i < superblock->free_set_block_count; i++) {
        const struct tac_block_reference *reference = &superblock->free_set[i];

        if (tac_store_read_block(store, reference, TAC_BLOCK_FREE_SET, block, error) != TACTUS_OK ||
            tac_free_set_decode(store->free_set, &store->geometry, i,
                                superblock->free_set_block_count, block, reference->address,
                                error) != TACTUS_OK) {
            return tac_error_wrap(error, "free set");
        }
    }
    if (superblock->free_set_block_count == 0) {
        tac_free_set_checkpoint_begin(store->free_set);
    }
    return TACTUS_OK;
}

bool tac_store_has_replay(const struct tactus *store)
{
    return store->wal.storage != NULL || store->options.log == TACTUS_LOG_HOST;
}

int tac_store_state_load(struct tactus *store, const struct tac_superblock *superblock,
                         struct tac_error *error)
{
    uint8_t *block = aligned_alloc(4096, store->geometry.block_size);
    int      result;

    if (block == NULL) {
        return tac_error_set(error, TACTUS_ENOMEM, "out of memory for a block");
    }
    result = free_set_load(store, superblock, block, error);
    if (result == TACTUS_OK &&
        tac_manifest_log_replay(store->manifest_log, store->manifest, superblock,
                                tac_store_read_block, store, error) != TACTUS_OK) {
        result = tac_error_wrap(error, "manifest log");
    }
    if (result == TACTUS_OK) {
        result = tac_manifest_log_check_blocks(store->manifest_log, store->manifest, superblock,
                                               store->free_set, error);
    }
    if (result == TACTUS_OK && tac_snapshots_load(store, superblock, block, error) != TACTUS_OK) {
        result = tac_error_wrap(error, "snapshots");
    }
    free(block);
    if (result != TACTUS_OK) {
        return result;
    }
    if (superblock->control.sweep.op != 0 &&
        superblock->control.sweep.tree >= tac_manifest_tree_count(store->manifest)) {
        return tac_error_set(error, TACTUS_ECORRUPT,
                             "superblock: a range of tree %u is being compacted, and there are %u "
                             "trees",
                             superblock->control.sweep.tree,
                             tac_manifest_tree_count(store->manifest));
    }
    store->bar_count = superblock->bar_count;
    store->table_id_last =
        TAC_MUTANT(TABLE_ID_AGAIN) ? superblock->table_count : superblock->table_id_last;
    store->stamp_last = TAC_MUTANT(STAMP_FROM_ZERO) ? 0 : superblock->stamp_last;
    /* Numbers go on at P + 1: without a log the ops after P are gone. */
    store->last_op = store->persisted_op = store->immutable_last_op = superblock->op_persisted;
    store->checkpoint_op = superblock->op_persisted;
    store->durable_op = superblock->op_persisted;
    if (tac_store_has_replay(store)) {
        tac_recovery_begin(store, superblock);
    }
    if (tac_recovery_is_refilling(store)) {
        tac_manifest_trees_open(store->manifest, store->last_op);
    } else {
        tac_manifest_trees_forget(store->manifest, store->last_op);
    }
    tac_snapshots_pin_trees(store);
    tac_trees_publish(store);
    return TACTUS_OK;
}
