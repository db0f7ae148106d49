/* SPDX-License-Identifier: Apache-2.0 */
#include "lsm/manifest_image.h"

#include "base/mutant.h"
#include "lsm/manifest_log_internal.h"

void tac_manifest_image_begin(struct tac_manifest_image *image, struct tac_manifest *manifest,
                              const struct tac_geometry *geometry)
{
    *image = (struct tac_manifest_image){.manifest = manifest, .geometry = geometry};
}

static uint32_t tree_encode(uint8_t *event, const struct tac_manifest_tree *tree)
{
    struct tac_manifest_tree plain = {
        .id = tree->id,
        .generation = tree->generation,
        .is_gone = !tree->is_open,
        .layout = tree->layout,
    };

    memcpy(plain.name, tree->name, sizeof plain.name);
    plain.planner.last_level = tree->planner.last_level;
    return tac_manifest_event_encode_tree(event, &plain);
}

/* Moves on to the next table. False: the tree has no more. */
static bool table_find(struct tac_manifest_image *image, const struct tac_manifest_tree *tree)
{
    while (tree->is_open && image->level < TACTUS_LEVELS_MAX &&
           image->table == tree->levels[image->level].table_count) {
        image->level++;
        image->table = 0;
    }
    return tree->is_open && image->level < TACTUS_LEVELS_MAX;
}

/* What an event is of: a tree, or a table or a deleted range of it. */
struct subject {
    const struct tac_manifest_tree *tree;
    const struct tac_table         *table; /* Both NULL: the tree itself */
    const struct tac_range         *range;
};

/* False: there is no more. */
static bool subject_next(struct tac_manifest_image *image, struct subject *subject)
{
    while (image->tree < tac_manifest_tree_count(image->manifest)) {
        const struct tac_manifest_tree *tree = tac_manifest_tree(image->manifest, image->tree);

        if (!image->has_tree) {
            image->has_tree = true;
            *subject = (struct subject){.tree = tree};
            return true;
        }
        if (table_find(image, tree)) {
            *subject = (struct subject){
                .tree = tree,
                .table = tree->levels[image->level].tables[image->table++],
            };
            return true;
        }
        image->tree++;
        image->level = image->table = 0;
        image->has_tree = false;
    }
    while (image->range < tac_manifest_range_count(image->manifest) &&
           !TAC_MUTANT(RANGE_NOT_IN_IMAGE)) {
        const struct tac_manifest_range *range =
            tac_manifest_range(image->manifest, image->range++);

        *subject = (struct subject){
            .tree = tac_manifest_tree(image->manifest, range->tree),
            .range = &range->range,
        };
        if (subject->tree->is_open) {
            return true;
        }
    }
    return false;
}

/* numbers_last: the last level by its number, as tac_manifest_checksum has it. */
static uint32_t event_encode(uint8_t *event, const struct subject *subject, bool numbers_last)
{
    const struct tac_table *table = subject->table;

    if (subject->range != NULL) {
        return tac_manifest_event_encode_range(event, subject->tree, subject->range);
    }
    return table == NULL ? tree_encode(event, subject->tree)
                         : tac_manifest_event_encode_table(
                               event, table,
                               !numbers_last && table->level == subject->tree->planner.last_level);
}

struct tac_manifest_image_totals tac_manifest_image_total(const struct tac_manifest_image *image)
{
    struct tac_manifest_image_totals totals = {.block_count = 0};
    struct tac_manifest_image        walk = *image;
    uint8_t                          event[TAC_MANIFEST_EVENT_BYTES_MAX];
    struct subject                   subject;
    uint32_t                         left = 0;
    XXH3_state_t                     state;
    XXH128_hash_t                    hash;

    tac_assert(image->sequence == 0);
    XXH3_128bits_reset(&state);
    while (subject_next(&walk, &subject)) {
        uint32_t bytes = event_encode(event, &subject, true);

        XXH3_128bits_update(&state, event, bytes);
        if (subject.table != NULL) {
            totals.table_count++;
            totals.bytes += subject.table->bytes;
        }
        if (bytes > left) {
            left = tac_log_room_bytes(image->geometry);
            totals.block_count++;
        }
        left -= bytes;
    }
    hash = XXH3_128bits_digest(&state);
    totals.checksum = (struct tac_u128){.low = hash.low64, .high = hash.high64};
    return totals;
}

struct tac_block_reference tac_manifest_image_block(struct tac_manifest_image *image,
                                                    uint64_t address, uint64_t checkpoint_sequence,
                                                    uint8_t *block)
{
    struct tac_block_header header = {
        .kind = TAC_BLOCK_MANIFEST,
        .address = address,
        .sequence = checkpoint_sequence,
        .used_bytes = TAC_LOG_OFFSET_EVENTS,
    };
    uint32_t event_count = 0;

    memset(block, 0, image->geometry->block_size);
    for (;;) {
        struct tac_manifest_image before = *image;
        uint8_t                   event[TAC_MANIFEST_EVENT_BYTES_MAX];
        struct subject            subject;
        uint32_t bytes = subject_next(image, &subject) ? event_encode(event, &subject, false) : 0;

        if (bytes == 0 || bytes > image->geometry->block_size - header.used_bytes) {
            *image = before;
            break;
        }
        memcpy(block + header.used_bytes, event, bytes);
        header.used_bytes += bytes;
        event_count++;
    }
    tac_assert(event_count > 0);
    tac_block_header_encode(block, &header);
    tac_store_u64(block + TAC_LOG_OFFSET_SEQUENCE, ++image->sequence);
    tac_store_u64(block + TAC_LOG_OFFSET_PREVIOUS, image->newest.address);
    tac_store_u64(block + TAC_LOG_OFFSET_PREVIOUS + 8, image->newest.checksum.low);
    tac_store_u64(block + TAC_LOG_OFFSET_PREVIOUS + 16, image->newest.checksum.high);
    tac_store_u32(block + TAC_LOG_OFFSET_EVENT_COUNT, event_count);
    image->newest =
        (struct tac_block_reference){address, tac_block_checksum(block, image->geometry)};
    return image->newest;
}

struct tac_block_reference tac_manifest_image_previous(const uint8_t *block)
{
    return (struct tac_block_reference){
        .address = tac_load_u64(block + TAC_LOG_OFFSET_PREVIOUS),
        .checksum.low = tac_load_u64(block + TAC_LOG_OFFSET_PREVIOUS + 8),
        .checksum.high = tac_load_u64(block + TAC_LOG_OFFSET_PREVIOUS + 16),
    };
}
