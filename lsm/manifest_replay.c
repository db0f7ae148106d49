/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the manifest log at open, in two passes: newest to oldest along the references, taking
 * the newest event of each tree; then oldest to newest, applying the events of tables.
 *
 * The chain cannot run in a circle: each block must carry the sequence before its successor's, and
 * a block carries one. Nothing read is believed before it is checked; what the files say can end
 * in an error, never in an assertion. */
#include <stdlib.h>

#include "base/units.h"
#include "base/mutant.h"
#include "lsm/manifest_log_internal.h"

struct replay {
    struct tac_manifest_log     *log;
    struct tac_manifest         *manifest;
    const struct tac_superblock *superblock;
    tac_block_read_fn           *read_block;
    void                        *context;
    struct tac_error            *error;
    struct tac_manifest_event    event; /* The one being looked at */
    /* By tree: newest event of it and the sequence of its block, 0: none seen */
    struct tac_manifest_event tree_events[TACTUS_TREES_MAX];
    uint64_t                  tree_sequences[TACTUS_TREES_MAX];
    /* Tables by id: open addressing, linear probing; never more than half full */
    struct tac_table **ids;
    uint64_t           ids_mask;
};

/* ---- tables by id --------------------------------------------------------------------------- */

static uint64_t id_slot(const struct replay *replay, uint64_t id)
{
    uint64_t slot = id * 0x9e3779b97f4a7c15u >> 20 & replay->ids_mask;

    while (replay->ids[slot] != NULL && replay->ids[slot]->id != id) {
        slot = (slot + 1) & replay->ids_mask;
    }
    return slot;
}

/* Empties the slot; those behind it that probed past it are placed anew. */
static void id_remove(struct replay *replay, uint64_t slot)
{
    tac_assert(replay->ids[slot] != NULL);
    replay->ids[slot] = NULL;
    for (;;) {
        struct tac_table *table;

        slot = (slot + 1) & replay->ids_mask;
        table = replay->ids[slot];
        if (table == NULL) {
            return;
        }
        replay->ids[slot] = NULL;
        replay->ids[id_slot(replay, table->id)] = table;
    }
}

/* ---- blocks --------------------------------------------------------------------------------- */

struct block_view {
    const uint8_t             *data;
    uint64_t                   sequence;
    uint32_t                   used_bytes;
    uint32_t                   event_count;
    struct tac_block_reference previous;
};

static int block_fault(struct replay *replay, uint64_t address, const char *fault)
{
    return tac_error_set(replay->error, TACTUS_ECORRUPT, "manifest log, block %llu: %s",
                         (unsigned long long)address, fault);
}

static bool reference_is_possible(const struct replay *replay, uint64_t address)
{
    return address < replay->superblock->blocks_in_file &&
           !tac_free_set_address_is_superblock(address);
}

static int block_read(struct replay *replay, const struct tac_block_reference *reference,
                      uint64_t sequence, uint8_t *data, struct block_view *ret_view)
{
    struct tac_block_header header;
    int                     rv;

    if (!reference_is_possible(replay, reference->address)) {
        return block_fault(replay, reference->address, "there can be no such block");
    }
    rv = replay->read_block(replay->context, reference, TAC_BLOCK_MANIFEST, data, replay->error);
    if (rv == TACTUS_OK) {
        rv = tac_block_header_decode(data, replay->log->geometry, TAC_BLOCK_MANIFEST,
                                     reference->address, &header, replay->error);
    }
    if (rv != TACTUS_OK) {
        return rv;
    }
    if (header.sequence > replay->superblock->sequence) {
        return block_fault(replay, reference->address,
                           "is of a later checkpoint than the newest superblock, which was lost");
    }
    *ret_view = (struct block_view){
        .data = data,
        .sequence = tac_load_u64(data + TAC_LOG_OFFSET_SEQUENCE),
        .used_bytes = header.used_bytes,
        .event_count = tac_load_u32(data + TAC_LOG_OFFSET_EVENT_COUNT),
        .previous.address = tac_load_u64(data + TAC_LOG_OFFSET_PREVIOUS),
        .previous.checksum.low = tac_load_u64(data + TAC_LOG_OFFSET_PREVIOUS + 8),
        .previous.checksum.high = tac_load_u64(data + TAC_LOG_OFFSET_PREVIOUS + 16),
    };
    if (ret_view->sequence != sequence) {
        return block_fault(replay, reference->address, "is not the one before its successor");
    }
    if (header.used_bytes < TAC_LOG_OFFSET_EVENTS || header.used_bytes % 8 != 0) {
        return block_fault(replay, reference->address, "has an impossible size");
    }
    return TACTUS_OK;
}

typedef int event_fn(struct replay *replay, uint64_t sequence);

static int block_walk(struct replay *replay, const struct block_view *view, event_fn *apply)
{
    uint32_t offset = TAC_LOG_OFFSET_EVENTS;
    int      rv = TACTUS_OK;

    for (uint32_t i = 0; i < view->event_count && rv == TACTUS_OK; i++) {
        rv = tac_manifest_event_decode(view->data + offset, view->used_bytes - offset,
                                       replay->log->geometry->block_size, &replay->event,
                                       replay->error);
        if (rv == TACTUS_OK) {
            offset += replay->event.size_bytes;
            rv = apply(replay, view->sequence);
        }
        if (rv != TACTUS_OK && replay->error != NULL) {
            tac_error_wrap(replay->error, "manifest log, sequence %llu, event %u",
                           (unsigned long long)view->sequence, i);
        }
    }
    if (rv == TACTUS_OK && offset != view->used_bytes) {
        rv = tac_error_set(replay->error, TACTUS_ECORRUPT,
                           "manifest log, sequence %llu: %u bytes behind its last event",
                           (unsigned long long)view->sequence, view->used_bytes - offset);
    }
    return rv;
}

/* ---- first pass: the chain and the trees ---------------------------------------------------- */

/* Blocks come newest first: within a block a later event wins, among blocks the first one seen. */
static int tree_collect(struct replay *replay, uint64_t sequence)
{
    uint32_t tree = replay->event.tree;

    if (replay->event.kind == TAC_MANIFEST_EVENT_TREE &&
        (replay->tree_sequences[tree] == 0 || replay->tree_sequences[tree] == sequence)) {
        tac_assert(tree < TACTUS_TREES_MAX);
        replay->tree_events[tree] = replay->event;
        replay->tree_sequences[tree] = sequence;
    }
    return TACTUS_OK;
}

/* The newest block stays in memory as the open one. */
static void block_reopen(struct tac_manifest_log *log, const struct block_view *view)
{
    struct tac_log_block *open = &log->pending[0];

    tac_assert(view->data == open->data);
    open->sequence = view->sequence;
    open->used_bytes = view->used_bytes;
    open->event_count = view->event_count;
    memset(open->data + open->used_bytes, 0, log->geometry->block_size - open->used_bytes);
    /* Sealing fills in what is known then. */
    memset(open->data, 0, TAC_LOG_OFFSET_EVENTS);
    log->pending_count = 1;
    log->is_clean = true;
}

static int chain_read(struct replay *replay)
{
    struct tac_manifest_log   *log = replay->log;
    struct tac_block_reference reference = replay->superblock->manifest_newest;

    for (uint64_t sequence = log->sequence_newest; sequence >= log->sequence_oldest; sequence--) {
        bool              is_newest = sequence == log->sequence_newest;
        struct block_view view;
        int               rv =
            block_read(replay, &reference, sequence, log->pending[is_newest ? 0 : 1].data, &view);

        if (rv == TACTUS_OK) {
            rv = block_walk(replay, &view, tree_collect);
        }
        if (rv != TACTUS_OK) {
            return rv;
        }
        log->references[sequence - log->reference_base] = reference;
        reference = view.previous;
        if (is_newest) {
            block_reopen(log, &view);
        }
    }
    return TACTUS_OK;
}

static int trees_add(struct replay *replay)
{
    uint32_t tree_count = 0;

    for (uint32_t i = 0; i < TACTUS_TREES_MAX; i++) {
        const struct tac_manifest_event *event = &replay->tree_events[i];
        int                              rv;

        if (replay->tree_sequences[i] == 0) {
            continue;
        }
        if (i != tree_count) {
            return tac_error_set(replay->error, TACTUS_ECORRUPT,
                                 "manifest log: tree %u is there, tree %u is not", i, tree_count);
        }
        rv = tac_manifest_tree_restore(replay->manifest, replay->superblock->op_persisted,
                                       &event->tree_state, replay->error);
        if (rv == TACTUS_EEXISTS) {
            return tac_error_set(replay->error, TACTUS_ECORRUPT,
                                 "manifest log: two trees are named \"%s\"",
                                 event->tree_state.name);
        }
        if (rv != TACTUS_OK) {
            return rv;
        }
        tac_manifest_tree(replay->manifest, i)->log_sequence = replay->tree_sequences[i];
        tree_count++;
    }
    return TACTUS_OK;
}

/* ---- second pass: the tables ---------------------------------------------------------------- */

static int event_fault(struct replay *replay, const char *fault)
{
    return tac_error_set(replay->error, TACTUS_ECORRUPT, "table %llu of tree %u: %s",
                         (unsigned long long)replay->event.id, replay->event.tree, fault);
}

/* Takes over all fields but those of memory, keys into the descriptor's own room. */
static void table_assign(struct tac_table *table, const struct tac_table *decoded,
                         uint64_t log_sequence)
{
    uint32_t key_capacity = table->key_capacity;

    *table = *decoded;
    table->key_capacity = key_capacity;
    table->log_sequence = log_sequence;
    tac_table_set_keys(table, decoded->key_min, decoded->key_max);
}

static int table_apply(struct replay *replay, const struct tac_manifest_tree *tree,
                       uint64_t log_sequence)
{
    struct tac_table            *decoded = &replay->event.table;
    const struct tac_superblock *superblock = replay->superblock;
    uint64_t                     slot = id_slot(replay, decoded->id);
    struct tac_table            *table = replay->ids[slot];

    if (decoded->generation < tree->generation && !TAC_MUTANT(GENERATION_UNSEEN)) {
        return TACTUS_OK; /* Of a tree that had the number before: nothing is left of it. */
    }
    if (decoded->generation > tree->generation) {
        return event_fault(replay, "is of a tree that never was");
    }
    if (tree->is_gone && !decoded->is_discarded) {
        /* It is since the tree has gone; what that one's event says holds for all of them. */
        decoded->is_discarded = true;
        decoded->is_damaged = decoded->is_retained = false;
        decoded->level = 0;
    }
    if (decoded->level == TAC_MANIFEST_LEVEL_LAST) {
        decoded->level = tree->planner.last_level;
    } else if (decoded->level > tree->planner.last_level ||
               (decoded->level == tree->planner.last_level && !decoded->is_retained)) {
        return event_fault(replay, "is in a level below the last one");
    }
    if (decoded->key_min.size > tree->layout.key_size ||
        decoded->key_max.size > tree->layout.key_size) {
        return event_fault(replay, "its keys are too long for its tree");
    }
    if (decoded->id > superblock->table_id_last || decoded->stamp > superblock->stamp_last) {
        return event_fault(replay, "its id or stamp was never given");
    }
    if (table != NULL && table->tree != decoded->tree) {
        return event_fault(replay, "is also a table of another tree");
    }
    if (table != NULL) {
        tac_manifest_remove(replay->manifest, table);
    } else {
        table = tac_manifest_table_take(replay->manifest, decoded->tree);
        if (table == NULL) {
            return tac_error_set(replay->error, TACTUS_EFULL,
                                 "the store has more tables than tables_max allows; open it with "
                                 "a larger one");
        }
    }
    table_assign(table, decoded, log_sequence);
    replay->ids[slot] = table;
    tac_manifest_insert(replay->manifest, table);
    return TACTUS_OK;
}

static int remove_apply(struct replay *replay)
{
    uint64_t          slot;
    struct tac_table *table;

    if (replay->event.id == 0 || replay->event.id > replay->superblock->table_id_last) {
        return event_fault(replay, "its id was never given");
    }
    slot = id_slot(replay, replay->event.id);
    table = replay->ids[slot];
    if (table == NULL) {
        return TACTUS_OK; /* Its events were in blocks that count no more. */
    }
    if (table->tree != replay->event.tree) {
        return event_fault(replay, "is a table of another tree");
    }
    id_remove(replay, slot);
    tac_manifest_remove(replay->manifest, table);
    tac_manifest_table_give_back(replay->manifest, table);
    return TACTUS_OK;
}

static int range_fault(struct replay *replay, const char *fault)
{
    return tac_error_set(replay->error, TACTUS_ECORRUPT,
                         "the range of tree %u that op %llu deleted: %s", replay->event.tree,
                         (unsigned long long)replay->event.range.op, fault);
}

/* The one that the op has deleted; the count if there is none. */
static uint32_t range_find(struct tac_manifest *manifest, uint64_t op)
{
    uint32_t number = 0;

    while (number < tac_manifest_range_count(manifest) &&
           tac_manifest_range(manifest, number)->range.op != op) {
        number++;
    }
    return number;
}

static bool bytes_equal(struct tac_bytes a, struct tac_bytes b)
{
    return a.size == b.size && memcmp(a.data, b.data, a.size) == 0;
}

/* An op has deleted one range of one tree. */
static bool range_is_same(const struct tac_manifest_range *range, uint32_t tree,
                          const struct tac_range *decoded)
{
    return range->tree == tree &&
           (decoded->low.size == 0 || (bytes_equal(range->range.low, decoded->low) &&
                                       bytes_equal(range->range.high, decoded->high)));
}

/* The newest event of a range holds: bounds stay what they are, so one that comes again was
 * carried. */
static int range_apply(struct replay *replay, const struct tac_manifest_tree *tree,
                       uint64_t log_sequence)
{
    const struct tac_range *decoded = &replay->event.range;
    struct tac_manifest    *manifest = replay->manifest;
    uint32_t                number;

    if (replay->event.range_generation < tree->generation || tree->is_gone) {
        return TACTUS_OK; /* Of a tree of which nothing is left */
    }
    if (replay->event.range_generation > tree->generation) {
        return range_fault(replay, "it is of a tree that never was");
    }
    if (decoded->op > replay->superblock->op_persisted) {
        return range_fault(replay, "the op is later than the checkpoint");
    }
    if (decoded->op <= tree->created_op ||
        (tree->dropped_op != 0 && decoded->op >= tree->dropped_op)) {
        return range_fault(replay, "the tree was not there");
    }
    number = range_find(manifest, decoded->op);
    if (number < tac_manifest_range_count(manifest)) {
        if (!range_is_same(tac_manifest_range(manifest, number), replay->event.tree, decoded)) {
            return range_fault(replay, "the op has also deleted another range");
        }
        tac_manifest_range_remove(manifest, number);
    }
    if (decoded->low.size == 0) {
        return TACTUS_OK; /* Over; or its events were in blocks that count no more. */
    }
    if (decoded->low.size > tree->layout.key_size + 1 ||
        decoded->high.size > tree->layout.key_size + 1) {
        return range_fault(replay, "its bounds are too long for its tree");
    }
    if (tac_manifest_range_count(manifest) == TAC_RANGES_MAX) {
        return range_fault(replay, "there cannot be so many");
    }
    tac_manifest_range_add(manifest, replay->event.tree, decoded, log_sequence);
    return TACTUS_OK;
}

static int tree_apply(struct replay *replay, const struct tac_manifest_tree *tree)
{
    const struct tac_manifest_tree *state = &replay->event.tree_state;

    if (state->generation < tree->generation) {
        return TACTUS_OK; /* The tree that had the number before */
    }
    if (state->generation > tree->generation || strcmp(state->name, tree->name) != 0 ||
        state->layout.kind != tree->layout.kind ||
        state->layout.key_size != tree->layout.key_size ||
        state->layout.value_size != tree->layout.value_size) {
        return tac_error_set(replay->error, TACTUS_ECORRUPT, "tree %u changed its name or layout",
                             replay->event.tree);
    }
    return TACTUS_OK;
}

static int event_apply(struct replay *replay, uint64_t sequence)
{
    const struct tac_manifest_event *event = &replay->event;
    const struct tac_manifest_tree  *tree;

    if (event->tree >= tac_manifest_tree_count(replay->manifest)) {
        return event_fault(replay, "there is no such tree");
    }
    tree = tac_manifest_tree(replay->manifest, event->tree);
    switch (event->kind) {
    case TAC_MANIFEST_EVENT_TREE:
        return tree_apply(replay, tree);
    case TAC_MANIFEST_EVENT_TABLE:
        return table_apply(replay, tree, sequence);
    case TAC_MANIFEST_EVENT_REMOVE:
        return remove_apply(replay);
    case TAC_MANIFEST_EVENT_RANGE:
        return range_apply(replay, tree, sequence);
    }
    tac_unreachable();
}

static int tables_read(struct replay *replay)
{
    struct tac_manifest_log *log = replay->log;

    for (uint64_t sequence = log->sequence_oldest; sequence <= log->sequence_newest; sequence++) {
        const struct tac_block_reference *reference =
            &log->references[sequence - log->reference_base];
        struct block_view view;
        int               rv = block_read(replay, reference, sequence, log->pending[1].data, &view);

        if (rv == TACTUS_OK) {
            rv = block_walk(replay, &view, event_apply);
        }
        if (rv != TACTUS_OK) {
            return rv;
        }
    }
    return TACTUS_OK;
}

/* ---- the whole ------------------------------------------------------------------------------ */

/* Of the tables that there still are: those that have gone may have lain where the file has since
 * become free. */
static int blocks_check(struct replay *replay, struct tac_table *const *tables,
                        uint32_t table_count)
{
    uint64_t blocks_max = replay->superblock->blocks_in_file;
    uint64_t block_size = replay->log->geometry->block_size;

    for (uint32_t i = 0; i < table_count; i++) {
        const struct tac_table *table = tables[i];

        if (!reference_is_possible(replay, table->index.address) || table->value_block_count == 0 ||
            table->value_block_count > blocks_max || table->filter_block_count > blocks_max) {
            return tac_error_set(replay->error, TACTUS_ECORRUPT,
                                 "table %llu of tree %u: its blocks cannot be in the file",
                                 (unsigned long long)table->id, table->tree);
        }
        /* A record has at least one byte. */
        if (table->bytes > table->value_block_count * block_size || table->records > table->bytes) {
            return tac_error_set(replay->error, TACTUS_ECORRUPT,
                                 "table %llu of tree %u: %llu records of %llu bytes are not in %u "
                                 "blocks",
                                 (unsigned long long)table->id, table->tree,
                                 (unsigned long long)table->records,
                                 (unsigned long long)table->bytes, table->value_block_count);
        }
    }
    return TACTUS_OK;
}

static int result_check(struct replay *replay)
{
    struct tac_u128 checksum = tac_manifest_checksum(replay->manifest);
    uint64_t        table_count = tac_manifest_table_count(replay->manifest);
    int             rv = tac_manifest_check(replay->manifest, replay->error);

    for (uint32_t i = 0; i < tac_manifest_tree_count(replay->manifest) && rv == TACTUS_OK; i++) {
        const struct tac_manifest_tree *tree = tac_manifest_tree(replay->manifest, i);

        for (uint32_t level = 0; level < TACTUS_LEVELS_MAX && rv == TACTUS_OK; level++) {
            rv = blocks_check(replay, tree->levels[level].tables, tree->levels[level].table_count);
        }
        if (rv == TACTUS_OK) {
            rv = blocks_check(replay, tree->discards.tables, tree->discards.table_count);
        }
        if (rv == TACTUS_OK) {
            rv = blocks_check(replay, tree->retained.tables, tree->retained.table_count);
        }
    }
    if (rv != TACTUS_OK) {
        return rv;
    }
    if (table_count != replay->superblock->table_count ||
        !tac_u128_equal(checksum, replay->superblock->manifest_checksum)) {
        return tac_error_set(replay->error, TACTUS_ECORRUPT,
                             "manifest log: gives a manifest of %llu tables that is not the "
                             "checkpoint's one of %llu",
                             (unsigned long long)table_count,
                             (unsigned long long)replay->superblock->table_count);
    }
    return TACTUS_OK;
}

static int replay_run(struct replay *replay)
{
    struct tac_manifest_log     *log = replay->log;
    const struct tac_superblock *superblock = replay->superblock;
    int                          rv = TACTUS_OK;

    if (superblock->manifest_block_count > TAC_LOG_BLOCKS_MAX ||
        superblock->manifest_oldest_sequence == 0) {
        return tac_error_set(replay->error, TACTUS_ECORRUPT,
                             "manifest log: %llu blocks from sequence %llu on are impossible",
                             (unsigned long long)superblock->manifest_block_count,
                             (unsigned long long)superblock->manifest_oldest_sequence);
    }
    if (superblock->manifest_block_count > 0) {
        log->sequence_oldest = superblock->manifest_oldest_sequence;
        log->sequence_newest = log->sequence_oldest + superblock->manifest_block_count - 1;
        log->reference_base = log->sequence_oldest;
        log->checkpoint_count = superblock->manifest_block_count;
        rv = chain_read(replay);
        if (rv == TACTUS_OK) {
            rv = trees_add(replay);
        }
        if (rv == TACTUS_OK) {
            rv = tables_read(replay);
        }
    }
    return rv == TACTUS_OK ? result_check(replay) : rv;
}

int tac_manifest_log_replay(struct tac_manifest_log *log, struct tac_manifest *manifest,
                            const struct tac_superblock *superblock, tac_block_read_fn *read_block,
                            void *context, struct tac_error *error)
{
    uint64_t       ids_count = 2;
    struct replay *replay = calloc(1, sizeof *replay);
    int            rv = TACTUS_ENOMEM;

    tac_assert(log->sequence_newest == 0 && log->pending_count == 0);
    tac_assert(tac_manifest_tree_count(manifest) == 0);
    while (ids_count < 2 * (uint64_t)tac_manifest_tables_free(manifest)) {
        ids_count *= 2;
    }
    if (replay != NULL) {
        replay->ids = calloc(ids_count, sizeof *replay->ids);
    }
    if (replay != NULL && replay->ids != NULL) {
        replay->log = log;
        replay->manifest = manifest;
        replay->superblock = superblock;
        replay->read_block = read_block;
        replay->context = context;
        replay->error = error;
        replay->ids_mask = ids_count - 1;
        rv = replay_run(replay);
        free(replay->ids);
    } else {
        tac_error_set(error, TACTUS_ENOMEM, "no memory to read the manifest log");
    }
    free(replay);
    return rv;
}

/* ---- what the file reaches, against the free set -------------------------------------------- */

struct reached {
    const struct tac_free_set *free_set;
    uint64_t                   blocks_used;
    uint64_t                  *bits; /* By address */
    struct tac_error          *error;
};

static int block_reach(struct reached *reached, uint64_t address, const char *what)
{
    uint64_t bit = 1ull << address % 64;

    if (address >= reached->blocks_used || tac_free_set_address_is_superblock(address) ||
        !tac_free_set_is_acquired(reached->free_set, address)) {
        return tac_error_set(reached->error, TACTUS_ECORRUPT,
                             "block %llu of %s is not in use as the free set has it; the file is "
                             "damaged, restore it from a backup",
                             (unsigned long long)address, what);
    }
    if ((reached->bits[address / 64] & bit) != 0) {
        return tac_error_set(reached->error, TACTUS_ECORRUPT,
                             "block %llu of %s is also a block of something else; the file is "
                             "damaged, restore it from a backup",
                             (unsigned long long)address, what);
    }
    reached->bits[address / 64] |= bit;
    return TACTUS_OK;
}

static int tables_reach(struct reached *reached, struct tac_table *const *tables, uint32_t count)
{
    int rv = TACTUS_OK;

    for (uint32_t i = 0; i < count && rv == TACTUS_OK; i++) {
        rv = block_reach(reached, tables[i]->index.address, "the tables' index blocks");
    }
    return rv;
}

static int tree_reach(struct reached *reached, const struct tac_manifest_tree *tree)
{
    int rv = tables_reach(reached, tree->discards.tables, tree->discards.table_count);

    for (uint32_t i = 0; i < TACTUS_LEVELS_MAX && rv == TACTUS_OK; i++) {
        rv = tables_reach(reached, tree->levels[i].tables, tree->levels[i].table_count);
    }
    return rv == TACTUS_OK
               ? tables_reach(reached, tree->retained.tables, tree->retained.table_count)
               : rv;
}

int tac_manifest_log_check_blocks(const struct tac_manifest_log *log, struct tac_manifest *manifest,
                                  const struct tac_superblock *superblock,
                                  const struct tac_free_set *free_set, struct tac_error *error)
{
    struct reached reached = {
        .free_set = free_set,
        .blocks_used = tac_free_set_blocks_used(free_set),
        .error = error,
    };
    int rv = TACTUS_OK;

    reached.bits = calloc(tac_div_ceil(reached.blocks_used, 64), sizeof *reached.bits);
    if (reached.bits == NULL) {
        return tac_error_set(error, TACTUS_ENOMEM, "no memory to check which blocks are in use");
    }
    for (uint32_t i = 0; i < superblock->free_set_block_count && rv == TACTUS_OK; i++) {
        rv = block_reach(&reached, superblock->free_set[i].address, "the free set");
    }
    for (uint64_t i = 0; i < log->checkpoint_count && rv == TACTUS_OK; i++) {
        rv = block_reach(&reached, log->references[i].address, "the manifest log");
    }
    for (uint32_t i = 0; i < tac_manifest_tree_count(manifest) && rv == TACTUS_OK; i++) {
        rv = tree_reach(&reached, tac_manifest_tree(manifest, i));
    }
    free(reached.bits);
    return rv;
}
