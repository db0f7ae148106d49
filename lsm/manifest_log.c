/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <sys/mman.h>

#include "base/mutant.h"
#include "base/units.h"
#include "lsm/manifest_log_internal.h"

tac_static_assert(TAC_LOG_OFFSET_EVENTS % 8 == 0, "events begin at a multiple of 8");
tac_static_assert(TAC_LOG_OFFSET_EVENTS + TAC_MANIFEST_EVENT_BYTES_MAX <= 4096,
                  "any event fits into the smallest block");

#define REFERENCES_BYTES (TAC_LOG_BLOCKS_MAX * sizeof(struct tac_block_reference))
/* What the memory figure counts of them */
#define REFERENCES_BYTES_COUNTED (64 * TAC_KIB)

/* ---- life ----------------------------------------------------------------------------------- */

struct tac_manifest_log *tac_manifest_log_new(const struct tac_geometry *geometry,
                                              uint32_t                   blocks_max)
{
    struct tac_manifest_log *log = calloc(1, sizeof *log);
    uint8_t                 *data;

    tac_assert(blocks_max >= 2);
    tac_assert(geometry->block_size >= 4096);
    if (log == NULL) {
        return NULL;
    }
    log->geometry = geometry;
    log->blocks_max = blocks_max;
    log->sequence_oldest = 1;
    log->reference_base = 1;
    log->pending = calloc(blocks_max, sizeof *log->pending);
    data = aligned_alloc(4096, (size_t)blocks_max * geometry->block_size); /* For direct reads */
    if (log->pending == NULL || data == NULL) {
        goto err_after_log;
    }
    log->references = mmap(NULL, REFERENCES_BYTES, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (log->references == MAP_FAILED) {
        goto err_after_log;
    }
    (void)madvise(log->references, REFERENCES_BYTES, MADV_NOHUGEPAGE);
    log->memory = data;
    for (uint32_t i = 0; i < blocks_max; i++) {
        log->pending[i].data = data + (size_t)i * geometry->block_size;
    }
    return log;

err_after_log:
    free(data);
    free(log->pending);
    free(log);
    return NULL;
}

void tac_manifest_log_free(struct tac_manifest_log *log)
{
    if (log == NULL) {
        return;
    }
    munmap(log->references, REFERENCES_BYTES);
    free(log->memory);
    free(log->pending);
    free(log);
}

uint64_t tac_manifest_log_memory_bytes(const struct tac_geometry *geometry, uint32_t blocks_max)
{
    return sizeof(struct tac_manifest_log) + REFERENCES_BYTES_COUNTED +
           blocks_max * (sizeof(struct tac_log_block) + (uint64_t)geometry->block_size);
}

/* ---- appending ------------------------------------------------------------------------------ */

static uint64_t block_count_now(const struct tac_manifest_log *log)
{
    return log->sequence_newest + 1 - log->sequence_oldest;
}

uint32_t tac_manifest_log_room(const struct tac_manifest_log *log)
{
    uint64_t references_left = log->reference_base + TAC_LOG_BLOCKS_MAX - 1 - log->sequence_newest;

    return (uint32_t)tac_min_u64(log->blocks_max - log->pending_count, references_left);
}

uint32_t tac_manifest_log_event_bytes(uint32_t key_size)
{
    uint32_t table_bytes = (uint32_t)tac_round_up(TAC_MANIFEST_EVENT_TABLE_BYTES + 2 * key_size, 8);

    tac_assert(key_size >= 1);
    tac_static_assert(TAC_MANIFEST_EVENT_TABLE_BYTES + 8 >= TAC_MANIFEST_EVENT_TREE_OPS_BYTES,
                      "no event is larger than a table's, with two keys of a byte");
    tac_static_assert(TAC_MANIFEST_EVENT_TABLE_BYTES >= TAC_MANIFEST_EVENT_RANGE_BYTES + 2,
                      "nor than a table's with as long keys, with bounds of a byte more");
    tac_assert(table_bytes <= TAC_MANIFEST_EVENT_BYTES_MAX);
    return table_bytes;
}

/* A block is closed by an event that does not fit: so much, at least, is in every closed block. */
static uint64_t closed_bytes_min(const struct tac_geometry *geometry, uint32_t key_size_max)
{
    return tac_log_room_bytes(geometry) + 8 - tac_manifest_log_event_bytes(key_size_max);
}

uint64_t tac_manifest_log_blocks_for(const struct tac_geometry *geometry, uint64_t event_count,
                                     uint32_t key_size_max)
{
    uint64_t bytes = event_count * tac_manifest_log_event_bytes(key_size_max);

    return tac_manifest_log_blocks_for_bytes(geometry, bytes, key_size_max);
}

uint64_t tac_manifest_log_blocks_for_bytes(const struct tac_geometry *geometry, uint64_t bytes,
                                           uint32_t key_size_max)
{
    /* The first event may close the open block; each further block is closed by these events. */
    return bytes == 0 ? 0 : 1 + bytes / closed_bytes_min(geometry, key_size_max);
}

static struct tac_log_block *block_begin(struct tac_manifest_log *log)
{
    struct tac_log_block *block;

    tac_assert(log->sealed_count == 0);
    if (log->is_clean) {
        tac_assert(log->pending_count == 1); /* Is on disk as it is: its buffer is free */
        log->pending_count = 0;
        log->is_clean = false;
    }
    tac_assert(log->pending_count < log->blocks_max);
    log->sequence_newest++;
    tac_assert(log->sequence_newest - log->reference_base < TAC_LOG_BLOCKS_MAX);
    block = &log->pending[log->pending_count++];
    block->sequence = log->sequence_newest;
    block->used_bytes = TAC_LOG_OFFSET_EVENTS;
    block->event_count = 0;
    memset(block->data, 0, log->geometry->block_size);
    log->references[block->sequence - log->reference_base] = (struct tac_block_reference){0};
    return block;
}

/* Room for one event in the open block; sequence_newest is then the block's. */
static uint8_t *event_append(struct tac_manifest_log *log, uint32_t event_bytes)
{
    struct tac_log_block *open =
        log->pending_count > 0 ? &log->pending[log->pending_count - 1] : NULL;
    uint8_t *event;

    tac_assert(log->sealed_count == 0);
    tac_assert(event_bytes % 8 == 0 && event_bytes <= TAC_MANIFEST_EVENT_BYTES_MAX);
    if (open == NULL || open->used_bytes + event_bytes > log->geometry->block_size) {
        open = block_begin(log);
    }
    tac_assert(open->sequence == log->sequence_newest);
    log->is_clean = false;
    event = open->data + open->used_bytes;
    open->used_bytes += event_bytes;
    open->event_count++;
    return event;
}

void tac_manifest_log_tree(struct tac_manifest_log *log, struct tac_manifest_tree *tree)
{
    uint8_t *event = event_append(log, tac_manifest_event_tree_bytes(tree));

    tac_manifest_event_encode_tree(event, tree);
    tree->log_sequence = log->sequence_newest;
}

void tac_manifest_log_insert(struct tac_manifest_log *log, const struct tac_manifest_tree *tree,
                             struct tac_table *table)
{
    uint8_t *event = event_append(log, tac_manifest_event_table_bytes(table));

    tac_assert(table->id > 0 && table->tree == tree->id);
    tac_manifest_event_encode_table(event, table, table->level == tree->planner.last_level);
    table->log_sequence = log->sequence_newest;
}

void tac_manifest_log_remove(struct tac_manifest_log *log, const struct tac_table *table)
{
    uint8_t *event = event_append(log, TAC_MANIFEST_EVENT_REMOVE_BYTES);

    tac_manifest_event_encode_remove(event, table);
}

void tac_manifest_log_range(struct tac_manifest_log *log, const struct tac_manifest_tree *tree,
                            struct tac_manifest_range *range)
{
    uint8_t *event = event_append(log, tac_manifest_event_range_bytes(&range->range));

    tac_assert(range->tree == tree->id);
    tac_manifest_event_encode_range(event, tree, &range->range);
    range->log_sequence = log->sequence_newest;
}

void tac_manifest_log_range_over(struct tac_manifest_log *log, const struct tac_manifest_tree *tree,
                                 const struct tac_manifest_range *range)
{
    const struct tac_range over = {.op = range->range.op};
    uint8_t               *event = event_append(log, tac_manifest_event_range_bytes(&over));

    tac_manifest_event_encode_range(event, tree, &over);
}

/* ---- compaction ----------------------------------------------------------------------------- */

/* Live events: the newest of every tree and table. A remove event need not outlive its block: the
 * events of its table were in that block or in older ones, which are gone by then. */
static uint64_t live_bytes(struct tac_manifest *manifest, uint32_t *ret_key_size_max)
{
    uint64_t bytes = 0;
    uint32_t key_size_max = 1;

    for (uint32_t i = 0; i < tac_manifest_tree_count(manifest); i++) {
        const struct tac_manifest_tree *tree = tac_manifest_tree(manifest, i);

        bytes += tac_manifest_event_tree_bytes(tree);
        for (uint32_t j = 0; j < TACTUS_LEVELS_MAX; j++) {
            bytes += tree->levels[j].log_bytes;
        }
        bytes += tree->discards.log_bytes;
        bytes += tree->retained.log_bytes;
        if (tree->layout.key_size > key_size_max) {
            key_size_max = tree->layout.key_size;
        }
    }
    for (uint32_t i = 0; i < tac_manifest_range_count(manifest); i++) {
        bytes += tac_manifest_event_range_bytes(&tac_manifest_range(manifest, i)->range);
    }
    *ret_key_size_max = key_size_max;
    return bytes;
}

static void tables_carry(struct tac_manifest_log *log, const struct tac_manifest_tree *tree,
                         struct tac_table *const *tables, uint32_t table_count,
                         uint64_t sequence_end)
{
    for (uint32_t i = 0; i < table_count; i++) {
        tac_assert(tables[i]->log_sequence >= log->sequence_oldest);
        if (tables[i]->log_sequence < sequence_end) {
            tac_manifest_log_insert(log, tree, tables[i]);
        }
    }
}

/* Appends again what is live in blocks below sequence_end. */
static void events_carry(struct tac_manifest_log *log, struct tac_manifest *manifest,
                         uint64_t sequence_end)
{
    for (uint32_t i = 0; i < tac_manifest_tree_count(manifest); i++) {
        struct tac_manifest_tree *tree = tac_manifest_tree(manifest, i);

        tac_assert(tree->log_sequence >= log->sequence_oldest);
        if (tree->log_sequence < sequence_end) {
            tac_manifest_log_tree(log, tree);
        }
        for (uint32_t j = 0; j < TACTUS_LEVELS_MAX; j++) {
            tables_carry(log, tree, tree->levels[j].tables, tree->levels[j].table_count,
                         sequence_end);
        }
        tables_carry(log, tree, tree->discards.tables, tree->discards.table_count, sequence_end);
        tables_carry(log, tree, tree->retained.tables, tree->retained.table_count, sequence_end);
    }
    for (uint32_t i = 0; i < tac_manifest_range_count(manifest); i++) {
        struct tac_manifest_range *range = tac_manifest_range(manifest, i);

        tac_assert(range->log_sequence >= log->sequence_oldest);
        if (range->log_sequence < sequence_end && !TAC_MUTANT(RANGE_NOT_CARRIED)) {
            tac_manifest_log_range(log, tac_manifest_tree(manifest, range->tree), range);
        }
    }
}

void tac_manifest_log_compact(struct tac_manifest_log *log, struct tac_manifest *manifest,
                              uint64_t blocks_compact, uint64_t blocks_kept)
{
    uint32_t key_size_max;
    uint64_t bytes = live_bytes(manifest, &key_size_max);
    uint64_t closed_bytes = closed_bytes_min(log->geometry, key_size_max);
    uint64_t limit = 2 * tac_div_ceil(bytes, closed_bytes) + 2;
    uint64_t count = block_count_now(log);
    uint64_t drop, trees;

    if (count <= limit) {
        return;
    }
    /* What has never been written stays until it is; what is carried must find room, and what is to
     * come after it, and the trees' events with which a checkpoint begins. */
    trees = tac_manifest_log_blocks_for(log->geometry, tac_manifest_tree_count(manifest), 1);
    tac_assert(log->pending_count > 0 && log->pending[0].sequence >= log->sequence_oldest);
    drop = tac_min_u64(blocks_compact, count - limit);
    drop = tac_min_u64(drop, log->pending[0].sequence - log->sequence_oldest);
    while (drop > 0 &&
           1 + drop * tac_log_room_bytes(log->geometry) / closed_bytes + trees + blocks_kept >
               tac_manifest_log_room(log)) {
        drop--;
    }
    if (drop > 0) {
        events_carry(log, manifest, log->sequence_oldest + drop);
        log->sequence_oldest += drop;
    }
    tac_assert(log->sequence_oldest <= log->sequence_newest);
}

/* ---- checkpoints ---------------------------------------------------------------------------- */

uint32_t tac_manifest_log_checkpoint_blocks(const struct tac_manifest_log *log)
{
    return log->is_clean ? 0 : log->pending_count;
}

struct tac_block_reference tac_manifest_log_seal(struct tac_manifest_log *log, uint32_t index,
                                                 uint64_t address, uint64_t sequence,
                                                 uint8_t *block)
{
    const struct tac_log_block *pending = &log->pending[index];
    uint64_t                    slot = pending->sequence - log->reference_base;
    struct tac_block_reference *reference = &log->references[slot];
    struct tac_block_header     header = {
            .kind = TAC_BLOCK_MANIFEST,
            .address = address,
            .sequence = sequence,
            .used_bytes = pending->used_bytes,
    };

    tac_assert(index < tac_manifest_log_checkpoint_blocks(log));
    tac_assert(index == log->sealed_count);
    tac_assert(index == 0 || reference->address == 0);
    log->address_replaced = index == 0 ? reference->address : log->address_replaced;
    memcpy(block, pending->data, log->geometry->block_size);
    tac_block_header_encode(block, &header);
    tac_store_u64(block + TAC_LOG_OFFSET_SEQUENCE, pending->sequence);
    tac_store_u32(block + TAC_LOG_OFFSET_EVENT_COUNT, pending->event_count);
    if (slot > 0) {
        const struct tac_block_reference *previous = &log->references[slot - 1];

        tac_assert(previous->address != 0);
        tac_store_u64(block + TAC_LOG_OFFSET_PREVIOUS, previous->address);
        tac_store_u64(block + TAC_LOG_OFFSET_PREVIOUS + 8, previous->checksum.low);
        tac_store_u64(block + TAC_LOG_OFFSET_PREVIOUS + 16, previous->checksum.high);
    }
    reference->address = address;
    reference->checksum = tac_block_checksum(block, log->geometry);
    log->sealed_count++;
    return *reference;
}

/* The open block goes on being filled; the full ones are written. */
static void pending_keep_open(struct tac_manifest_log *log)
{
    struct tac_log_block *first = &log->pending[0];
    struct tac_log_block *open = &log->pending[log->pending_count - 1];
    struct tac_log_block  swap = *first;

    tac_assert(log->pending_count > 0);
    *first = *open;
    *open = swap;
    log->pending_count = 1;
    log->is_clean = true;
}

void tac_manifest_log_checkpoint_done(struct tac_manifest_log *log, struct tac_free_set *free_set,
                                      struct tac_superblock *superblock)
{
    uint64_t dropped = log->sequence_oldest - log->reference_base;

    tac_assert(log->sealed_count == tac_manifest_log_checkpoint_blocks(log));
    if (log->address_replaced != 0) {
        tac_free_set_release(free_set, log->address_replaced);
        log->address_replaced = 0;
    }
    for (uint64_t i = TAC_MUTANT(LOG_BLOCK_LEAKED); i < dropped; i++) {
        tac_free_set_release(free_set, log->references[i].address);
    }
    log->checkpoint_count = block_count_now(log);
    memmove(log->references, log->references + dropped,
            log->checkpoint_count * sizeof *log->references);
    log->reference_base = log->sequence_oldest;
    log->sealed_count = 0;
    if (log->pending_count > 0) {
        pending_keep_open(log);
    }
    superblock->manifest_newest = (struct tac_block_reference){0};
    if (log->checkpoint_count > 0) {
        superblock->manifest_newest = log->references[log->checkpoint_count - 1];
    }
    superblock->manifest_oldest_sequence = log->sequence_oldest;
    superblock->manifest_block_count = log->checkpoint_count;
}

uint64_t tac_manifest_log_block_count(const struct tac_manifest_log *log)
{
    return log->checkpoint_count;
}

struct tac_block_reference tac_manifest_log_block(const struct tac_manifest_log *log,
                                                  uint64_t                       index)
{
    tac_assert(index < log->checkpoint_count);
    tac_assert(log->references[index].address != 0);
    return log->references[index];
}

bool tac_manifest_log_has_block(const struct tac_manifest_log *log, uint64_t address)
{
    for (uint64_t i = log->reference_base; i <= log->sequence_newest; i++) {
        if (log->references[i - log->reference_base].address == address) {
            return true;
        }
    }
    return false;
}
