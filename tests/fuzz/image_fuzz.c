/* SPDX-License-Identifier: Apache-2.0 */
/* image_fuzz -- a whole store file, opened and used.
 *
 * The input names an image of a real store, changes some bytes of its blocks and superblocks, and
 * lists what is done with the store; without a list, everything is. All checksums are right again
 * before the open (image.h), unless the input says otherwise. An image that was not changed must
 * give no error at all. */
#include <stdio.h>
#include <stdlib.h>

#include "base/units.h"
#include "tests/fuzz/image.h"

const uint32_t fuzz_cost = 8;

#define PATCHES_MAX 12
#define ACTIONS_MAX 30
#define SNAPSHOT "kept" /* As images name it */
#define SCAN_MAX 20000  /* Above the records of any image, and of what is put */
/* A store's memory follows from its shape: what is larger is opened by nobody here. */
#define MEMTABLE_MAX TAC_MIB
#define BLOCK_MAX (64 * TAC_KIB)
#define TABLE_MAX (16 * TAC_MIB)
#define FILE_MAX TAC_GIB

/* Of a patch: which bytes it changes; from WHERE_BLOCK on a block in use. */
enum {
    WHERE_NEWEST, /* Both newest superblocks */
    WHERE_COPY,
    WHERE_BLOCK = WHERE_COPY + TAC_SUPERBLOCK_COPIES,
};

enum action {
    ACTION_SCAN,
    ACTION_SCAN_BACK,
    ACTION_GET,
    ACTION_SEEK,
    ACTION_VERIFY,
    ACTION_PUT,
    ACTION_DELETE,
    ACTION_DRAIN,
    ACTION_COMPACT,
    ACTION_CHECKPOINT,
    ACTION_DIGEST,
    ACTION_REOPEN,
    ACTION_ABANDON,
    ACTION_TREE_CREATE,
    ACTION_SNAPSHOT_READ,
    ACTION_SNAPSHOT_TURN, /* Released, or taken again */
    ACTION_DELETE_RANGE,
    ACTION_COUNT,
};

static const uint8_t actions_usual[] = {
    ACTION_SCAN,          ACTION_SCAN_BACK,     ACTION_GET,     ACTION_SEEK,
    ACTION_PUT,           ACTION_DELETE,        ACTION_DRAIN,   ACTION_PUT,
    ACTION_SCAN,          ACTION_VERIFY,        ACTION_COMPACT, ACTION_SCAN,
    ACTION_GET,           ACTION_CHECKPOINT,    ACTION_DIGEST,  ACTION_REOPEN,
    ACTION_SCAN,          ACTION_SCAN_BACK,     ACTION_VERIFY,  ACTION_TREE_CREATE,
    ACTION_PUT,           ACTION_ABANDON,       ACTION_VERIFY,  ACTION_SNAPSHOT_READ,
    ACTION_DELETE_RANGE,  ACTION_SNAPSHOT_TURN, ACTION_COMPACT, ACTION_SNAPSHOT_TURN,
    ACTION_SNAPSHOT_READ, ACTION_VERIFY,
};

struct run {
    struct tac_memory_disk *disk;
    struct tactus          *store; /* NULL: it could not be opened */
    bool                    is_changed;
    uint32_t                put_count;
};

/* Without a change of the image nothing may fail; whatever fails says why. */
static bool result_check(const struct run *run, int code, const char *message)
{
    if (code == TACTUS_OK) {
        return true;
    }
    tac_assert(message[0] != 0);
    if (!run->is_changed) {
        fprintf(stderr, "an image as it was made: %s\n", message);
    }
    tac_assert(run->is_changed);
    return false;
}

static bool is_fine(const struct run *run, int code)
{
    return result_check(run, code, tactus_message());
}

/* ---- reading -------------------------------------------------------------------------------- */

static void scan(struct run *run, uint32_t tree, bool is_back)
{
    struct tactus_iterator *iterator;
    static uint8_t          last[TACTUS_KEY_SIZE_MAX];
    size_t                  last_size = 0;
    int                     rv;

    if (!is_fine(run, tactus_iterator_open(run->store, tree, &iterator))) {
        return;
    }
    rv = is_back ? tactus_iterator_last(iterator) : tactus_iterator_first(iterator);
    for (uint32_t i = 0; i < SCAN_MAX && rv == TACTUS_OK; i++) {
        const void *key, *value;
        size_t      key_size, value_size;

        tactus_iterator_record(iterator, &key, &key_size, &value, &value_size);
        tac_assert(key_size >= 1 && key_size <= TACTUS_KEY_SIZE_MAX);
        memcpy(last, key, key_size);
        last_size = key_size;
        rv = is_back ? tactus_iterator_previous(iterator) : tactus_iterator_next(iterator);
    }
    if (rv != TACTUS_ENOTFOUND) {
        (void)is_fine(run, rv);
    }
    tactus_iterator_close(iterator);
    if (last_size > 0) {
        size_t size = 0;

        rv = tactus_get(run->store, tree, last, last_size, NULL, 0, &size);
        tac_assert(rv == TACTUS_OK || run->is_changed);
    }
}

/* Key `number` of the actions; the same for puts, deletes, gets. */
static void key_make(const struct tactus_layout *layout, uint32_t number, uint8_t *key,
                     size_t *ret_size)
{
    memset(key, 'k', TACTUS_KEY_SIZE_MAX);
    for (uint32_t i = 0; i < 3 && i < layout->key_size; i++) {
        key[layout->key_size - 1 - i] = (uint8_t)(number * 37 >> 8 * i);
    }
    *ret_size = layout->key_size;
}

static void get_some(struct run *run, const struct tactus_tree_info *tree)
{
    uint8_t key[TACTUS_KEY_SIZE_MAX], value[64];
    size_t  key_size, size;

    for (uint32_t i = 0; i < 64; i++) {
        int rv;

        key_make(&tree->layout, i, key, &key_size);
        rv = tactus_get(run->store, tree->id, key, key_size, value, sizeof value, &size);
        if (rv != TACTUS_ENOTFOUND) {
            (void)is_fine(run, rv);
        }
    }
}

static void seek_some(struct run *run, const struct tactus_tree_info *tree)
{
    struct tactus_iterator *iterator;
    uint8_t                 key[TACTUS_KEY_SIZE_MAX];
    size_t                  key_size;

    if (!is_fine(run, tactus_iterator_open(run->store, tree->id, &iterator))) {
        return;
    }
    for (uint32_t i = 0; i < 16; i++) {
        int rv;

        key_make(&tree->layout, i * 5, key, &key_size);
        rv = i % 2 == 0 ? tactus_iterator_seek(iterator, key, key_size)
                        : tactus_iterator_seek_back(iterator, key, key_size);
        for (uint32_t j = 0; j < 4 && rv == TACTUS_OK; j++) {
            rv = j % 2 == 0 ? tactus_iterator_next(iterator) : tactus_iterator_previous(iterator);
        }
        if (rv != TACTUS_ENOTFOUND) {
            (void)is_fine(run, rv);
        }
    }
    tactus_iterator_close(iterator);
}

static void damage_note(void *context, const char *text)
{
    tac_assert(context != NULL && text[0] != 0);
}

/* ---- writing -------------------------------------------------------------------------------- */

static void write_some(struct run *run, const struct tactus_tree_info *tree, bool is_delete)
{
    static const uint8_t value[FUZZ_IMAGE_BLOCK_SIZE];
    uint8_t              key[TACTUS_KEY_SIZE_MAX];
    size_t               key_size;

    for (uint32_t i = 0; i < 100; i++) {
        uint32_t value_size = tree->layout.value_size;
        int      rv;

        if (tree->layout.kind == TACTUS_LAYOUT_VARIABLE) {
            value_size = i * 3 % (value_size + 1);
        }
        value_size = (uint32_t)tac_min_u64(value_size, sizeof value);
        key_make(&tree->layout, run->put_count++, key, &key_size);
        rv = is_delete ? tactus_delete(run->store, tree->id, key, key_size)
                       : tactus_put(run->store, tree->id, key, key_size, value, value_size);
        if (!is_fine(run, rv)) {
            return;
        }
    }
}

static void tree_create(struct run *run)
{
    struct tactus_layout layout = {TACTUS_LAYOUT_VARIABLE, 16, 64};
    uint32_t             tree;
    int                  rv = tactus_tree_create(run->store, "another", &layout, &tree);

    if (rv != TACTUS_EEXISTS && rv != TACTUS_EOPTION) { /* The file may be small for it */
        (void)is_fine(run, rv);
    }
}

static void delete_range(struct run *run, const struct tactus_tree_info *tree)
{
    uint8_t first[TACTUS_KEY_SIZE_MAX], end[TACTUS_KEY_SIZE_MAX];
    size_t  first_size, end_size;

    key_make(&tree->layout, run->put_count / 2, first, &first_size);
    key_make(&tree->layout, run->put_count / 2 + 9, end, &end_size);
    if (memcmp(first, end, first_size) < 0) {
        (void)is_fine(
            run, tactus_delete_range(run->store, tree->id, first, first_size, end, end_size, NULL));
    }
}

/* ---- snapshots ------------------------------------------------------------------------------ */

static void snapshot_read(struct run *run)
{
    struct tactus_tree_info trees[TACTUS_TREES_MAX];
    struct tactus_snapshot *snapshot;
    struct tactus_iterator *iterator;
    uint32_t                tree_count = 0;
    int                     rv = tactus_snapshot_open(run->store, SNAPSHOT, &snapshot);

    if (rv == TACTUS_ENOTFOUND || !is_fine(run, rv)) {
        return;
    }
    (void)tactus_tree_list(run->store, trees, TACTUS_TREES_MAX, &tree_count);
    for (uint32_t i = 0; i < tree_count && i < 4; i++) {
        rv = tactus_snapshot_iterator(snapshot, trees[i].id, &iterator);
        if (rv == TACTUS_ENOTREE || !is_fine(run, rv)) {
            continue; /* Of a tree that came later */
        }
        rv = tactus_iterator_first(iterator);
        for (uint32_t j = 0; j < SCAN_MAX && rv == TACTUS_OK; j++) {
            rv = tactus_iterator_next(iterator);
        }
        if (rv != TACTUS_ENOTFOUND) {
            (void)is_fine(run, rv);
        }
        tactus_iterator_close(iterator);
    }
    tactus_snapshot_close(snapshot);
}

static void snapshot_turn(struct run *run)
{
    int rv = tactus_snapshot_release(run->store, SNAPSHOT);

    if (rv == TACTUS_ENOTFOUND) {
        rv = tactus_snapshot_create(run->store, SNAPSHOT, NULL);
    }
    (void)is_fine(run, rv);
}

/* ---- open and close ------------------------------------------------------------------------- */

static void store_open(struct run *run)
{
    struct tactus_options options;
    struct tac_storage   *storage;
    struct tac_error      error;
    int                   rv;

    fuzz_image_options(&options);
    tac_error_clear(&error);
    rv = tac_storage_open_memory(run->disk, &storage, &error);
    tac_assert(rv == TACTUS_OK);
    rv = tac_store_open(storage, &options, NULL, NULL, &run->store, &error);
    if (!result_check(run, rv, error.message)) {
        tac_assert(error.code == rv);
        run->store = NULL;
        storage->ops->close(storage);
    }
}

static void store_reopen(struct run *run, bool is_abandon)
{
    struct tac_error error;

    if (is_abandon) {
        tac_store_abandon(run->store);
    } else {
        (void)result_check(run, tac_store_close(run->store, &error), error.message);
    }
    run->store = NULL;
    store_open(run);
}

/* ---- the run -------------------------------------------------------------------------------- */

static void act_on_tree(struct run *run, enum action action, const struct tactus_tree_info *tree)
{
    switch (action) {
    case ACTION_SCAN:
    case ACTION_SCAN_BACK:
        scan(run, tree->id, action == ACTION_SCAN_BACK);
        return;
    case ACTION_GET:
        get_some(run, tree);
        return;
    case ACTION_SEEK:
        seek_some(run, tree);
        return;
    case ACTION_PUT:
    case ACTION_DELETE:
        write_some(run, tree, action == ACTION_DELETE);
        return;
    case ACTION_DELETE_RANGE:
        delete_range(run, tree);
        return;
    case ACTION_COMPACT:
        (void)is_fine(run, tactus_compact(run->store, tree->id));
        return;
    default:
        return;
    }
}

static void act(struct run *run, enum action action)
{
    struct tactus_verify_report report;
    struct tactus_tree_info     trees[TACTUS_TREES_MAX];
    struct tactus_stats         stats;
    uint8_t                     digest[16];
    uint32_t                    tree_count;
    int                         rv;

    switch (action) {
    case ACTION_VERIFY:
        rv = tactus_verify(run->store, damage_note, run, &report);
        tac_assert((rv == TACTUS_ECORRUPT) == (report.damages > 0) || rv != TACTUS_OK);
        (void)is_fine(run, rv);
        return;
    case ACTION_DRAIN:
        (void)is_fine(run, tactus_drain(run->store));
        return;
    case ACTION_CHECKPOINT:
        (void)is_fine(run, tactus_checkpoint(run->store));
        return;
    case ACTION_DIGEST:
        tactus_stat(run->store, &stats);
        (void)is_fine(run, tactus_digest(run->store, digest));
        return;
    case ACTION_REOPEN:
    case ACTION_ABANDON:
        store_reopen(run, action == ACTION_ABANDON);
        return;
    case ACTION_TREE_CREATE:
        tree_create(run);
        return;
    case ACTION_SNAPSHOT_READ:
        snapshot_read(run);
        return;
    case ACTION_SNAPSHOT_TURN:
        snapshot_turn(run);
        return;
    default:
        (void)tactus_tree_list(run->store, trees, TACTUS_TREES_MAX, &tree_count);
        for (uint32_t i = 0; i < tree_count && i < 4; i++) {
            act_on_tree(run, action, &trees[i]);
        }
    }
}

static void actions_run(struct run *run, struct fuzz_input *input)
{
    uint8_t  actions[ACTIONS_MAX];
    uint32_t count = (uint32_t)tac_min_u64(input->size, ACTIONS_MAX);

    fuzz_take(input, actions, sizeof actions);
    if (count == 0) {
        count = sizeof actions_usual;
        memcpy(actions, actions_usual, count);
    }
    for (uint32_t i = 0; i < count && run->store != NULL; i++) {
        act(run, (enum action)(actions[i] % ACTION_COUNT));
    }
    if (run->store != NULL) {
        struct tac_error error;

        (void)result_check(run, tac_store_close(run->store, &error), error.message);
    }
}

static void patch_apply(const struct fuzz_image *image, const struct fuzz_patch *patch,
                        uint8_t *data)
{
    uint64_t stride = (uint64_t)TAC_SUPERBLOCK_STRIDE_BLOCKS * FUZZ_IMAGE_BLOCK_SIZE;

    if (patch->where == WHERE_NEWEST) {
        fuzz_patch_apply(patch, data + image->newest_copy * stride, TAC_SUPERBLOCK_BYTES);
        fuzz_patch_apply(patch, data + (image->newest_copy + 1) * stride, TAC_SUPERBLOCK_BYTES);
    } else if (patch->where < WHERE_BLOCK || image->used_count == 0) {
        fuzz_patch_apply(patch, data + (patch->where - WHERE_COPY) % 4u * stride,
                         TAC_SUPERBLOCK_BYTES);
    } else {
        uint32_t block = image->used[(patch->where - WHERE_BLOCK) % image->used_count];

        fuzz_patch_apply(patch, data + (uint64_t)block * FUZZ_IMAGE_BLOCK_SIZE,
                         FUZZ_IMAGE_BLOCK_SIZE);
    }
}

/* What a store of this shape takes in memory is no surprise. */
static bool shape_is_small(const uint8_t *data)
{
    const uint8_t               *copies[TAC_SUPERBLOCK_COPIES];
    struct tac_superblock_choice choice;
    const struct tac_shape      *shape = &choice.superblock.shape;

    for (uint32_t i = 0; i < TAC_SUPERBLOCK_COPIES; i++) {
        copies[i] = data + (size_t)i * TAC_SUPERBLOCK_STRIDE_BLOCKS * FUZZ_IMAGE_BLOCK_SIZE;
    }
    return tac_superblock_choose(copies, &choice, NULL) != TACTUS_OK ||
           (shape->memtable_size <= MEMTABLE_MAX && shape->block_size <= BLOCK_MAX &&
            shape->table_size <= TABLE_MAX && shape->file_size_max <= FILE_MAX);
}

static void image_run(const uint8_t *data, uint64_t size, struct fuzz_input *input, bool is_changed)
{
    struct run          run = {.disk = tac_memory_disk_new(0), .is_changed = is_changed};
    struct tac_storage *storage;
    struct tac_error    error;
    int                 rv;

    tac_assert(run.disk != NULL);
    rv = tac_storage_open_memory(run.disk, &storage, &error);
    tac_assert(rv == TACTUS_OK);
    rv = storage->ops->write(storage, data, size, 0, &error);
    tac_assert(rv == TACTUS_OK);
    storage->ops->close(storage);
    store_open(&run);
    if (run.store != NULL) {
        fuzz_accepted++;
        actions_run(&run, input);
    }
    tac_memory_disk_free(run.disk);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input        input = {data, size};
    const struct fuzz_image *image = fuzz_image(fuzz_take_u8(&input) % FUZZ_IMAGES);
    uint32_t                 flags = fuzz_take_u8(&input);
    uint32_t                 patch_count = fuzz_take_u8(&input) % (PATCHES_MAX + 1);
    uint64_t                 bytes = image->block_count * FUZZ_IMAGE_BLOCK_SIZE;
    uint8_t                 *copy = aligned_alloc(TAC_STORAGE_ALIGNMENT_MAX, bytes);

    tac_assert(copy != NULL);
    memcpy(copy, image->data, bytes);
    for (uint32_t i = 0; i < patch_count; i++) {
        struct fuzz_patch patch = fuzz_take_patch(&input);

        patch_apply(image, &patch, copy);
    }
    fuzz_image_seal(image, copy, flags);
    if (shape_is_small(copy)) {
        image_run(copy, bytes, &input, patch_count > 0);
    }
    free(copy);
    return 0;
}

/* ---- seeds ---------------------------------------------------------------------------------- */

/* Every image as it is; then one changed field each: of the superblock, of the first blocks in use
 * (manifest log, free set, index), of a value block. */
static const struct {
    uint8_t  where;
    uint16_t offset;
    uint8_t  size;
    uint8_t  byte;
} fields[] = {
    {WHERE_NEWEST, 256, 16, 0xff},    {WHERE_NEWEST, 272, 8, 0xff},
    {WHERE_NEWEST, 280, 8, 0xff},     {WHERE_NEWEST, 288, 16, 0xff},
    {WHERE_NEWEST, 80, 8, 0xff},      {WHERE_COPY + 1, 300, 1, 1},
    {WHERE_BLOCK, 104 + 32, 8, 0xff}, {WHERE_BLOCK, 104 + 40, 8, 0xff},
    {WHERE_BLOCK, 104 + 48, 8, 0xff}, {WHERE_BLOCK, 104 + 24, 1, 5},
    {WHERE_BLOCK + 1, 80, 16, 0},     {WHERE_BLOCK + 1, 80, 8, 0xff},
    {WHERE_BLOCK + 2, 320, 8, 1},     {WHERE_BLOCK + 2, 64, 4, 0},
    {WHERE_BLOCK + 3, 320, 2, 64},    {WHERE_BLOCK + 3, 128, 8, 3},
    {WHERE_BLOCK + 60, 600, 8, 0x55}, {WHERE_BLOCK + 90, 64, 4, 1},
    {WHERE_BLOCK, 280 + 80, 8, 0xff}, {WHERE_BLOCK, 280 + 16, 8, 0x7f},
};

/* Short lists: a fuzzer gets further with many short runs. */
static const uint8_t lists[][4] = {
    {ACTION_COMPACT, ACTION_CHECKPOINT, ACTION_REOPEN, ACTION_VERIFY},
    {ACTION_SCAN, ACTION_GET, ACTION_PUT, ACTION_DRAIN},
    {ACTION_PUT, ACTION_CHECKPOINT, ACTION_COMPACT, ACTION_SCAN_BACK},
    {ACTION_SEEK, ACTION_DELETE, ACTION_CHECKPOINT, ACTION_PUT},
    {ACTION_DIGEST, ACTION_TREE_CREATE, ACTION_COMPACT, ACTION_ABANDON},
};

/* The last image, each of its first blocks in use changed at some place, and used as one with
 * ranges and a snapshot is. */
#define RANGES_IMAGE (FUZZ_IMAGES - 1)
#define RANGES_SEEDS 60
static const uint8_t ranges_lists[][4] = {
    {ACTION_SNAPSHOT_READ, ACTION_VERIFY, ACTION_SNAPSHOT_TURN, ACTION_DRAIN},
    {ACTION_COMPACT, ACTION_SNAPSHOT_TURN, ACTION_SNAPSHOT_TURN, ACTION_REOPEN},
    {ACTION_DELETE_RANGE, ACTION_DRAIN, ACTION_SNAPSHOT_READ, ACTION_SCAN},
};
static const uint16_t ranges_offsets[] = {64, 112, 144, 152, 160, 176, 200, 230, 264, 304};

static size_t ranges_seed(uint32_t number, uint8_t *buffer)
{
    static const uint8_t bytes[2] = {3, 0};
    uint8_t             *at = fuzz_give(buffer, (uint8_t[]){RANGES_IMAGE, 0, 1}, 3);

    at = fuzz_give_patch(at, (uint8_t)(WHERE_BLOCK + number / TAC_ARRAY_COUNT(ranges_offsets)),
                         ranges_offsets[number % TAC_ARRAY_COUNT(ranges_offsets)], bytes,
                         1 + number % 2);
    at =
        fuzz_give(at, ranges_lists[number % TAC_ARRAY_COUNT(ranges_lists)], sizeof ranges_lists[0]);
    return (size_t)(at - buffer);
}

size_t fuzz_seed(uint32_t number, uint8_t *buffer)
{
    uint8_t *at = buffer;
    uint8_t  bytes[FUZZ_PATCH_BYTES_MAX];

    if (number >= FUZZ_IMAGES + TAC_ARRAY_COUNT(fields)) {
        number -= (uint32_t)(FUZZ_IMAGES + TAC_ARRAY_COUNT(fields));
        return number < RANGES_SEEDS ? ranges_seed(number, buffer) : 0;
    }
    if (number < FUZZ_IMAGES) {
        at = fuzz_give(at, (uint8_t[]){(uint8_t)number, 0, 0}, 3);
        return (size_t)(at - buffer);
    }
    number -= FUZZ_IMAGES;
    at = fuzz_give(at, (uint8_t[]){(uint8_t)(1 + number % (RANGES_IMAGE - 1)), 0, 1}, 3);
    memset(bytes, fields[number].byte, sizeof bytes);
    at = fuzz_give_patch(at, fields[number].where, fields[number].offset, bytes,
                         fields[number].size);
    at = fuzz_give(at, lists[number % TAC_ARRAY_COUNT(lists)], sizeof lists[0]);
    return (size_t)(at - buffer);
}
