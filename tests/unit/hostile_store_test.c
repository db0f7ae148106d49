/* SPDX-License-Identifier: Apache-2.0 */
/* Stores whose file contradicts itself although every checksum is right: they are refused, or go on
 * as far as they can, and no call hangs. Bugs that tests/fuzz/image_fuzz.c found are named here. */
#include <stdlib.h>

#include "lsm/index_format.h"
#include "lsm/manifest_log_internal.h"
#include "tests/fuzz/image.h"
#include "tests/lib/tap.h"

#define TABLE_INDEX 48      /* Of a table's event: the reference of its index block */
#define FREE_SET_BITMAPS 80 /* Of a free-set block; acquired first */

/* A copy of an image, to be changed. */
struct hostile {
    const struct fuzz_image *image;
    uint8_t                 *data;
    struct tac_memory_disk  *disk;
    struct tactus           *store;
    struct tac_error         error;
};

static void hostile_begin(struct hostile *hostile, uint32_t image)
{
    uint64_t size;

    *hostile = (struct hostile){.image = fuzz_image(image)};
    size = hostile->image->block_count * FUZZ_IMAGE_BLOCK_SIZE;
    hostile->data = aligned_alloc(TAC_STORAGE_ALIGNMENT_MAX, size);
    hostile->disk = tac_memory_disk_new(0);
    if (hostile->data == NULL || hostile->disk == NULL) {
        tap_bail("out of memory");
    }
    memcpy(hostile->data, hostile->image->data, size);
}

/* The n-th block in use of the kind; NULL: there are fewer. */
static uint8_t *block_find(const struct hostile *hostile, enum tac_block_kind kind, uint32_t n)
{
    for (uint32_t i = 0; i < hostile->image->used_count; i++) {
        uint8_t *block = hostile->data + (size_t)hostile->image->used[i] * FUZZ_IMAGE_BLOCK_SIZE;

        if (block[TAC_BLOCK_OFFSET_KIND] == kind && n-- == 0) {
            return block;
        }
    }
    return NULL;
}

static uint64_t block_address(const uint8_t *block)
{
    return tac_load_u64(block + TAC_BLOCK_OFFSET_ADDRESS);
}

static int hostile_open(struct hostile *hostile, uint32_t seal_flags)
{
    uint64_t              size = hostile->image->block_count * FUZZ_IMAGE_BLOCK_SIZE;
    struct tactus_options options;
    struct tac_storage   *storage;
    int                   rv;

    fuzz_image_seal(hostile->image, hostile->data, seal_flags);
    fuzz_image_options(&options);
    if (tac_storage_open_memory(hostile->disk, &storage, &hostile->error) != TACTUS_OK ||
        storage->ops->write(storage, hostile->data, size, 0, &hostile->error) != TACTUS_OK) {
        tap_bail("%s", hostile->error.message);
    }
    rv = tac_store_open(storage, &options, NULL, NULL, &hostile->store, &hostile->error);
    if (rv != TACTUS_OK) {
        hostile->store = NULL;
        storage->ops->close(storage);
        tap_diag("%s", hostile->error.message);
    }
    return rv;
}

static void hostile_end(struct hostile *hostile)
{
    if (hostile->store != NULL) {
        tac_store_abandon(hostile->store);
    }
    tac_memory_disk_free(hostile->disk);
    free(hostile->data);
}

/* Puts keys from one end of the first tree's to the other; all of them, or as is_get says. */
static bool keys_spread(struct hostile *hostile, bool is_get)
{
    static const uint8_t    value[FUZZ_IMAGE_BLOCK_SIZE];
    struct tactus_tree_info tree;
    uint32_t                count;
    size_t                  size;
    int                     rv = TACTUS_OK;

    (void)tactus_tree_list(hostile->store, &tree, 1, &count);
    for (uint32_t i = 0; i < 256 && rv == TACTUS_OK; i++) {
        uint8_t key[TACTUS_KEY_SIZE_MAX] = {0};

        key[0] = (uint8_t)i;
        rv = is_get ? tactus_get(hostile->store, 0, key, tree.layout.key_size, NULL, 0, &size)
                    : tactus_put(hostile->store, 0, key, tree.layout.key_size, value,
                                 tree.layout.value_size);
    }
    if (rv != TACTUS_OK) {
        tap_diag("%s", tactus_message());
    }
    return rv == TACTUS_OK;
}

/* All that damage leaves possible: a compaction comes back and says what is wrong; what is written
 * is durable, and a reopen finds it. */
static bool goes_on(struct hostile *hostile)
{
    struct tactus_options options;
    struct tac_storage   *storage;

    if (!keys_spread(hostile, false) || tactus_compact(hostile->store, 0) != TACTUS_ECORRUPT) {
        tap_diag("compact should have found damage: %s", tactus_message());
        return false;
    }
    tap_diag("%s", tactus_message());
    if (!keys_spread(hostile, false) || tactus_checkpoint(hostile->store) != TACTUS_OK) {
        return false;
    }
    tac_store_abandon(hostile->store);
    hostile->store = NULL;
    fuzz_image_options(&options);
    if (tac_storage_open_memory(hostile->disk, &storage, &hostile->error) != TACTUS_OK) {
        return false;
    }
    if (tac_store_open(storage, &options, NULL, NULL, &hostile->store, &hostile->error) !=
        TACTUS_OK) {
        tap_diag("%s", hostile->error.message);
        storage->ops->close(storage);
        return false;
    }
    return keys_spread(hostile, true);
}

/* ---- refused at open ------------------------------------------------------------------------ */

static void test_free_set_lacks_index(void)
{
    struct hostile hostile;
    uint8_t       *index, *free_set;
    uint64_t       address;

    hostile_begin(&hostile, 2);
    index = block_find(&hostile, TAC_BLOCK_INDEX, 0);
    free_set = block_find(&hostile, TAC_BLOCK_FREE_SET, 0);
    address = block_address(index);
    free_set[FREE_SET_BITMAPS + address / 8] &= (uint8_t) ~(1u << address % 8);
    tap_ok(hostile_open(&hostile, 0) == TACTUS_ECORRUPT &&
               strstr(hostile.error.message, "not in use") != NULL,
           "a table in blocks that the free set has as free is refused at open");
    hostile_end(&hostile);
}

static void test_free_set_lacks_log(void)
{
    struct hostile hostile;
    uint8_t       *log, *free_set;
    uint64_t       address;

    hostile_begin(&hostile, 2);
    log = block_find(&hostile, TAC_BLOCK_MANIFEST, 0);
    free_set = block_find(&hostile, TAC_BLOCK_FREE_SET, 0);
    address = block_address(log);
    free_set[FREE_SET_BITMAPS + address / 8] &= (uint8_t) ~(1u << address % 8);
    tap_ok(hostile_open(&hostile, 0) == TACTUS_ECORRUPT &&
               strstr(hostile.error.message, "not in use") != NULL,
           "so is a manifest log in free blocks");
    hostile_end(&hostile);
}

/* Both copies of the newest superblock. */
static void root_patch(struct hostile *hostile, uint32_t offset, uint64_t value)
{
    for (uint32_t i = 0; i < 2; i++) {
        uint64_t block = (uint64_t)(hostile->image->newest_copy + i) * TAC_SUPERBLOCK_STRIDE_BLOCKS;

        tac_store_u64(hostile->data + block * FUZZ_IMAGE_BLOCK_SIZE + offset, value);
    }
}

static void test_counters(void)
{
    static const uint32_t offsets[] = {264, 272, 280, 288, 296};
    bool                  all_refused = true;

    for (uint32_t i = 0; i < sizeof offsets / sizeof offsets[0]; i++) {
        struct hostile hostile;

        hostile_begin(&hostile, 1);
        root_patch(&hostile, offsets[i], UINT64_MAX);
        all_refused = hostile_open(&hostile, 0) == TACTUS_ECORRUPT && all_refused;
        hostile_end(&hostile);
    }
    tap_ok(all_refused, "ops, bars, ids and stamps that the next one would overflow are refused");
}

/* A field of the first table event of the newest block of the log. */
static int open_with_table_field(uint32_t offset, uint64_t value)
{
    struct hostile hostile;
    uint8_t       *event;
    int            rv;

    hostile_begin(&hostile, 1);
    event = block_find(&hostile, TAC_BLOCK_MANIFEST, 0) + TAC_LOG_OFFSET_EVENTS;
    while (event[2] != TAC_MANIFEST_EVENT_TABLE) {
        event += tac_load_u16(event);
    }
    tac_store_u64(event + offset, value);
    rv = hostile_open(&hostile, 0);
    hostile_end(&hostile);
    return rv;
}

static void test_table_sizes(void)
{
    tap_ok(open_with_table_field(80, 1ull << 60) == TACTUS_ECORRUPT &&
               open_with_table_field(80, 0) == TACTUS_ECORRUPT &&
               open_with_table_field(88, 1ull << 60) == TACTUS_ECORRUPT,
           "tables of more bytes than their blocks, or more records than bytes, are refused");
}

static void test_tree_means(void)
{
    static const uint32_t offsets[] = {32, 40, 48}; /* Flush mean, work mean, bar count */
    bool                  all_refused = true;

    for (uint32_t i = 0; i < sizeof offsets / sizeof offsets[0]; i++) {
        struct hostile hostile;
        uint8_t       *event, *block, *end;

        hostile_begin(&hostile, 1);
        block = block_find(&hostile, TAC_BLOCK_MANIFEST, 0);
        event = block + TAC_LOG_OFFSET_EVENTS;
        end = block + tac_load_u32(block + TAC_BLOCK_OFFSET_USED);
        for (; event < end; event += tac_load_u16(event)) {
            if (event[2] == TAC_MANIFEST_EVENT_TREE) {
                tac_store_u64(event + offsets[i], UINT64_MAX);
            }
        }
        all_refused = hostile_open(&hostile, 0) == TACTUS_ECORRUPT && all_refused;
        hostile_end(&hostile);
    }
    tap_ok(all_refused, "so are trees whose means and bars would overflow");
}

/* ---- damage that a compaction meets --------------------------------------------------------- */

static void test_damaged_index(void)
{
    struct hostile hostile;

    hostile_begin(&hostile, 2);
    block_find(&hostile, TAC_BLOCK_INDEX, 0)[FUZZ_IMAGE_BLOCK_SIZE - 1] ^= 1;
    tap_ok(hostile_open(&hostile, FUZZ_SEAL_NOTHING) == TACTUS_OK && goes_on(&hostile),
           "a compaction of a damaged table comes to an end, and the store goes on");
    hostile_end(&hostile);
}

static void test_wrong_sums(void)
{
    struct hostile hostile;
    uint32_t       n = 0;
    uint8_t       *block;

    hostile_begin(&hostile, 2);
    while ((block = block_find(&hostile, TAC_BLOCK_VALUE, n++)) != NULL) {
        block[TAC_VALUE_OFFSET_SUM] ^= 1;
    }
    tap_ok(hostile_open(&hostile, FUZZ_SEAL_NO_SUMS) == TACTUS_OK && goes_on(&hostile),
           "so does one of tables whose records do not add up");
    hostile_end(&hostile);
}

/* Every filter's first block is said to be `address`. */
static bool filters_survive(uint64_t address, enum tac_block_kind kind)
{
    struct hostile              hostile;
    struct tactus_verify_report report;
    uint8_t                    *index;
    uint32_t                    changed = 0;
    int                         rv;

    hostile_begin(&hostile, 4);
    address = kind == 0 ? address : block_address(block_find(&hostile, kind, 0));
    for (uint32_t n = 0; (index = block_find(&hostile, TAC_BLOCK_INDEX, n)) != NULL; n++) {
        if (tac_load_u16(index + TAC_INDEX_OFFSET_FILTER_BLOCKS) > 0) {
            tac_store_u64(index + TAC_INDEX_OFFSET_FILTER_FIRST, address);
            changed++;
        }
    }
    if (changed == 0 || hostile_open(&hostile, 0) != TACTUS_OK) {
        tap_bail("the image has no filter blocks, or cannot be opened");
    }
    /* Whatever these say: nothing may crash. */
    (void)keys_spread(&hostile, false);
    for (uint32_t i = 0; i < 3; i++) {
        (void)tactus_compact(hostile.store, 0);
        (void)tactus_checkpoint(hostile.store);
    }
    rv = tactus_verify(hostile.store, NULL, NULL, &report);
    hostile_end(&hostile);
    return rv != TACTUS_OK || report.damages == 0;
}

static void test_foreign_filter_blocks(void)
{
    tap_ok(filters_survive(64, 0) && filters_survive(UINT64_MAX, 0) && filters_survive(2047, 0),
           "filters in the blocks of superblocks, outside the file and in free blocks do no harm");
    tap_ok(filters_survive(0, TAC_BLOCK_MANIFEST) && filters_survive(0, TAC_BLOCK_FREE_SET) &&
               filters_survive(0, TAC_BLOCK_INDEX) && filters_survive(0, TAC_BLOCK_VALUE),
           "those in blocks of something else end no process");
}

int main(void)
{
    tap_plan(0);
    test_free_set_lacks_index();
    test_free_set_lacks_log();
    test_counters();
    test_table_sizes();
    test_tree_means();
    test_damaged_index();
    test_wrong_sums();
    test_foreign_filter_blocks();
    return tap_done();
}
