/* SPDX-License-Identifier: Apache-2.0 */
/* commit -- the end of a plan: what its jobs made enters the manifest, in job order, whatever order
 * they finished in. First every compaction is proven to have kept every record (contract 2); one
 * that failed changes nothing, and the table that it failed on is marked. A flush that failed on a
 * table (with runs of 1 it takes some) is planned again without that table, before the bar ends:
 * is_flush_due.
 *
 * Before all else tables go that a deleted range has whole (bar_ranges.c).
 * Order for each compaction: (1) sums; (2) addresses used become acquired, the others free again;
 * (3) inputs leave the manifest or lose their low end, their blocks are released; (4) outputs enter
 * with new ids and stamps; each change goes to the manifest log with it. Of a discarded table
 * nothing was consumed and nothing enters; it leaves, with its blocks, or is marked and stays for
 * good. */
#include <stdio.h>
#include <string.h>

#include "base/mutant.h"
#include "base/units.h"
#include "pipeline/space.h"
#include "pipeline/store.h"

static bool account_equal(struct tac_merge_account a, struct tac_merge_account b)
{
    return a.records == b.records && a.tombstones == b.tombstones && a.bytes == b.bytes &&
           tac_u128_equal(a.sum, b.sum);
}

/* What the jobs of a compaction took of one input, together. */
static struct tac_merge_account input_consumed(struct tactus                   *store,
                                               const struct tac_bar_compaction *compaction,
                                               const struct tac_table          *table)
{
    struct tac_merge_account consumed = {0};

    for (uint32_t i = 0; i < compaction->job_count; i++) {
        const struct tac_job *job = store->bar.jobs[compaction->job_first + i];

        for (uint32_t j = 0; j < job->input_count; j++) {
            if (job->inputs[j].table == table) {
                consumed = tac_merge_account_add(consumed, job->inputs[j].consumed);
            }
        }
    }
    return consumed;
}

/* ---- conservation --------------------------------------------------------------------------- */

/* Nothing that is left of a wholly taken table, and no more taken than a sliced one had. */
static bool input_is_conserved(const struct tac_bar_compaction *compaction,
                               const struct tac_table *table, struct tac_merge_account consumed)
{
    bool is_sliced =
        compaction->slice.size > 0 && tac_bytes_compare(table->key_max, compaction->slice) >= 0;

    if (is_sliced) {
        return consumed.records <= table->records && consumed.bytes <= table->bytes &&
               consumed.tombstones <= table->tombstones;
    }
    return consumed.records == table->records && consumed.bytes == table->bytes &&
           consumed.tombstones == table->tombstones && tac_u128_equal(consumed.sum, table->sum);
}

/* consumed = appended + overwritten + tombstones dropped + deleted with ranges, over all jobs of
 * the compaction. */
static bool jobs_are_conserved(struct tactus *store, const struct tac_bar_compaction *compaction,
                               struct tac_merge_account *memtable)
{
    struct tac_merge_account in = {0}, out = {0};

    for (uint32_t i = 0; i < compaction->job_count; i++) {
        const struct tac_job *job = store->bar.jobs[compaction->job_first + i];

        for (uint32_t j = 0; j < job->input_count; j++) {
            in = tac_merge_account_add(in, job->inputs[j].consumed);
        }
        in = tac_merge_account_add(in, job->memtable_consumed);
        *memtable = tac_merge_account_add(*memtable, job->memtable_consumed);
        *memtable = tac_merge_account_add(*memtable, job->memtable_overwritten);
        *memtable = tac_merge_account_add(*memtable, job->memtable_deleted);
        out = tac_merge_account_add(out, job->overwritten);
        out = tac_merge_account_add(out, job->tombstones_dropped);
        out = tac_merge_account_add(out, job->deleted);
        out = tac_merge_account_add(
            out, (struct tac_merge_account){job->totals.records, job->totals.tombstones,
                                            job->totals.bytes, job->totals.sum});
    }
    return account_equal(in, out) || TAC_MUTANT(RECORD_LOST) || TAC_MUTANT(SUMS_UNCHECKED);
}

static bool superblock_has_block(const struct tac_superblock *superblock, uint64_t address)
{
    for (uint32_t i = 0; i < superblock->free_set_block_count; i++) {
        if (superblock->free_set[i].address == address) {
            return true;
        }
    }
    return false;
}

/* May a table's index block name it as a block of its own? Not every block that it names has been
 * read: filters and what lies below a trimmed table's edge are not. */
static bool block_is_of_table(struct tactus *store, uint64_t address)
{
    return address < store->shape.file_size_max / store->shape.block_size &&
           !tac_free_set_address_is_superblock(address) &&
           tac_free_set_is_acquired(store->free_set, address) &&
           !superblock_has_block(&store->checkpoint.durable, address) &&
           !superblock_has_block(&store->checkpoint.next, address) &&
           !tac_manifest_log_has_block(store->manifest_log, address);
}

/* Of a table that goes: what its index block names as its own must be in use, and by a table. */
static int input_blocks_check(struct tactus *store, const struct tac_bar_input *input,
                              struct tac_error *error)
{
    for (uint32_t i = 0; i < input->address_count; i++) {
        uint64_t address = input->addresses[i];

        if (!block_is_of_table(store, address)) {
            return tac_error_set(error, TACTUS_ECORRUPT,
                                 "table %llu of tree %u, level %u: its block %llu is free or of "
                                 "something else",
                                 (unsigned long long)input->table->id, input->table->tree,
                                 input->table->level, (unsigned long long)address);
        }
    }
    return TACTUS_OK;
}

static int inputs_check(struct tactus *store, const struct tac_bar_compaction *compaction,
                        struct tac_table **ret_damaged, struct tac_error *error)
{
    for (uint32_t i = 0; i < compaction->input_count; i++) {
        const struct tac_bar_input *input = &compaction->inputs[i];
        struct tac_table           *table = input->table;
        struct tac_merge_account    consumed = input_consumed(store, compaction, table);

        if (!input_is_conserved(compaction, table, consumed)) {
            *ret_damaged = table;
            return tac_error_set(error, TACTUS_ECORRUPT,
                                 "table %llu of tree %u, level %u: its records do not add up",
                                 (unsigned long long)table->id, table->tree, table->level);
        }
        if (consumed.records == table->records &&
            input_blocks_check(store, input, error) != TACTUS_OK) {
            *ret_damaged = table;
            return TACTUS_ECORRUPT;
        }
    }
    return TACTUS_OK;
}

/* Of several jobs that met damage, one that knows the table tells. */
static int jobs_check(struct tactus *store, const struct tac_bar_compaction *compaction,
                      struct tac_table **ret_damaged, struct tac_error *error)
{
    const struct tac_job *failed = NULL;

    for (uint32_t i = 0; i < compaction->job_count; i++) {
        const struct tac_job *job = store->bar.jobs[compaction->job_first + i];

        if (job->result != TACTUS_OK && (failed == NULL || (failed->result == TACTUS_ECORRUPT &&
                                                            failed->damaged_table == NULL))) {
            failed = job;
        }
    }
    if (failed == NULL) {
        return TACTUS_OK;
    }
    *ret_damaged = failed->damaged_table;
    return tac_error_set(error, failed->result, "%s", failed->message);
}

static int compaction_check(struct tactus *store, const struct tac_bar_compaction *compaction,
                            struct tac_table **ret_damaged, struct tac_error *error)
{
    struct tac_merge_account memtable = {0};

    if (jobs_check(store, compaction, ret_damaged, error) != TACTUS_OK) {
        return error->code;
    }
    if (compaction->kind == TAC_PLAN_MOVE) {
        return TACTUS_OK;
    }
    if (compaction->kind == TAC_PLAN_DISCARD) {
        *ret_damaged = compaction->inputs[0].table;
        return input_blocks_check(store, &compaction->inputs[0], error);
    }
    if (!jobs_are_conserved(store, compaction, &memtable)) {
        return tac_error_set(error, TACTUS_ECORRUPT,
                             "records were lost or invented in a compaction of tree %u, level %u",
                             compaction->tree, compaction->level_source);
    }
    if (inputs_check(store, compaction, ret_damaged, error) != TACTUS_OK) {
        return TACTUS_ECORRUPT;
    }
    if (compaction->kind == TAC_PLAN_FLUSH) {
        struct tac_memtable_tree_stats stats;

        tac_memtable_tree_stats(store->immutable_table, compaction->tree, &stats);
        if (memtable.records != stats.versions ||
            !tac_u128_equal(memtable.sum, stats.inserted_sum)) {
            return tac_error_set(error, TACTUS_ECORRUPT,
                                 "the flush of tree %u has not the records that were put",
                                 compaction->tree);
        }
    }
    return TACTUS_OK;
}

/* ---- effects -------------------------------------------------------------------------------- */

static void job_settle_reservation(struct tactus *store, struct tac_job *job, bool is_kept)
{
    for (uint32_t i = 0; i < job->address_count; i++) {
        if (is_kept && i < job->address_used) {
            tac_free_set_acquire_reserved(store->free_set, job->addresses[i]);
        } else {
            tac_free_set_forfeit(store->free_set, job->addresses[i]);
        }
    }
    while (job->spare_tables != NULL) {
        struct tac_table *table = job->spare_tables;

        job->spare_tables = table->next;
        tac_manifest_table_give_back(store->manifest, table);
    }
    while (!is_kept && job->outputs != NULL) {
        struct tac_table *table = job->outputs;

        job->outputs = table->next;
        table->next = NULL;
        tac_manifest_table_give_back(store->manifest, table);
    }
}

/* A hostile file may give one block to two tables: it goes once. */
static void block_release(struct tactus *store, uint64_t address)
{
    if (tac_free_set_is_acquired(store->free_set, address)) {
        tac_free_set_release(store->free_set, address);
    }
}

/* The newest snapshot has it: it leaves its level, and nothing of it is given back. */
static void input_retain(struct tactus *store, struct tac_table *table, uint64_t op)
{
    tac_manifest_retain(store->manifest, table, op);
    tac_caches_retained(store);
    tac_manifest_log_insert(store->manifest_log, tac_manifest_tree(store->manifest, table->tree),
                            table);
}

static void input_remove(struct tactus *store, const struct tac_bar_input *input)
{
    struct tac_table *table = input->table;
    uint64_t          op = 0;

    if (!table->is_discarded && !table->is_retained) {
        op = tac_snapshot_directory_newest(&store->snapshots.directory, table);
    }
    if (op != 0 && !TAC_MUTANT(SNAPSHOT_TABLE_FREED)) {
        input_retain(store, table, op);
        return;
    }
    if (!TAC_MUTANT(REMOVE_NOT_LOGGED)) {
        tac_manifest_log_remove(store->manifest_log, table);
    }
    tac_manifest_remove(store->manifest, table);
    for (uint32_t i = 0; i < input->address_count; i++) {
        if (table->is_discarded && TAC_MUTANT(DISCARD_SHORT)) {
            break;
        }
        tac_assert(input->addresses[i] != 0); /* Noted by the job that read the low end */
        block_release(store, input->addresses[i]);
    }
    block_release(store, table->index.address);
    tac_manifest_limbo_add(store->manifest, table, store->bar_count);
}

/* The same table under a new descriptor; the old one is still seen by readers. */
static struct tac_table *descriptor_replace(struct tactus *store, struct tac_table *table)
{
    struct tac_table *copy = tac_manifest_table_take(store->manifest, table->tree);

    tac_assert(copy != NULL); /* The plan has left them: tables_replaced. */
    tac_table_copy(copy, table);
    tac_manifest_remove(store->manifest, table);
    tac_manifest_limbo_add(store->manifest, table, store->bar_count);
    return copy;
}

static void input_trim(struct tactus *store, struct tac_table *table, struct tac_bytes edge,
                       struct tac_merge_account consumed)
{
    struct tac_table *left = descriptor_replace(store, table);

    left->records -= consumed.records;
    left->tombstones -= consumed.tombstones;
    left->bytes -= consumed.bytes;
    left->sum = tac_u128_subtract(left->sum, consumed.sum);
    left->is_trimmed = true;
    if (tac_bytes_compare(edge, left->key_min) > 0) {
        tac_table_set_keys(left, edge, table->key_max);
    }
    tac_manifest_insert(store->manifest, left);
    tac_manifest_log_insert(store->manifest_log, tac_manifest_tree(store->manifest, left->tree),
                            left);
}

static void input_apply(struct tactus *store, const struct tac_bar_compaction *compaction,
                        const struct tac_bar_input *input)
{
    struct tac_merge_account consumed = input_consumed(store, compaction, input->table);

    if (consumed.records == input->table->records) {
        input_remove(store, input);
    } else {
        input_trim(store, input->table, compaction->slice, consumed);
    }
}

void tac_store_table_enter(struct tactus *store, struct tac_table *table, uint32_t tree,
                           uint32_t level, uint64_t stamp, uint64_t op)
{
    table->next = NULL;
    table->id = ++store->table_id_last;
    table->tree = tree;
    table->level = level;
    table->stamp = stamp;
    table->snapshot_min = op;
    table->snapshot_max = UINT64_MAX;
    tac_manifest_insert(store->manifest, table);
    tac_manifest_log_insert(store->manifest_log, tac_manifest_tree(store->manifest, tree), table);
}

/* One stamp for all outputs of a compaction: they do not overlap each other. */
static void outputs_apply(struct tactus *store, const struct tac_bar_compaction *compaction)
{
    uint64_t stamp = compaction->kind == TAC_PLAN_IN_PLACE && !TAC_MUTANT(IN_PLACE_STAMP)
                         ? compaction->stamp
                         : ++store->stamp_last;

    for (uint32_t i = 0; i < compaction->job_count; i++) {
        struct tac_job *job = store->bar.jobs[compaction->job_first + i];

        while (job->outputs != NULL) {
            struct tac_table *table = job->outputs;

            job->outputs = table->next;
            tac_store_table_enter(store, table, compaction->tree, compaction->level_target, stamp,
                                  store->immutable_last_op);
            store->totals.tables_written++;
        }
        store->totals.records_overwritten += job->overwritten.records;
        store->totals.tombstones_dropped += job->tombstones_dropped.records;
        store->totals.records_range_deleted += job->deleted.records + job->memtable_deleted.records;
        store->totals.records_merged += job->totals.records + job->overwritten.records +
                                        job->tombstones_dropped.records + job->deleted.records;
    }
}

static void move_apply(struct tactus *store, const struct tac_bar_compaction *compaction)
{
    uint64_t stamp = ++store->stamp_last;

    for (uint32_t i = 0; i < compaction->input_count; i++) {
        struct tac_table *moved = descriptor_replace(store, compaction->inputs[i].table);

        moved->level = compaction->level_target;
        moved->stamp = TAC_MUTANT(MOVE_KEEPS_STAMP) ? moved->stamp : stamp;
        tac_manifest_insert(store->manifest, moved);
        tac_manifest_log_insert(store->manifest_log,
                                tac_manifest_tree(store->manifest, moved->tree), moved);
        store->totals.tables_moved++;
    }
}

/* ---- events --------------------------------------------------------------------------------- */

void tac_store_job_describe(const struct tac_job *job, struct tactus_event *event)
{
    struct tac_merge_account in = job->memtable_consumed;

    for (uint32_t i = 0; i < job->input_count; i++) {
        in = tac_merge_account_add(in, job->inputs[i].consumed);
    }
    event->bytes_in += in.bytes;
    event->records_in += in.records;
    event->tables_out += job->totals.tables;
    event->bytes_out += job->totals.bytes;
    event->records_out += job->totals.records;
}

/* From the begin of the first job to the end of the last one; 0 if one of these is not known. */
static uint64_t jobs_duration_ns(struct tactus *store, const struct tac_bar_compaction *compaction)
{
    uint64_t begin_ns = UINT64_MAX, end_ns = 0;

    for (uint32_t i = 0; i < compaction->job_count; i++) {
        const struct tac_job *job = store->bar.jobs[compaction->job_first + i];

        begin_ns = tac_min_u64(begin_ns, job->begin_ns);
        end_ns = tac_max_u64(end_ns, job->end_ns);
    }
    return begin_ns == 0 ? 0 : tac_subtract_floor_zero(end_ns, begin_ns);
}

static void compaction_tell(struct tactus *store, const struct tac_bar_compaction *compaction)
{
    bool                is_flush = compaction->kind == TAC_PLAN_FLUSH;
    bool                is_move = compaction->kind == TAC_PLAN_MOVE;
    struct tactus_event event = {
        .kind = is_flush  ? TACTUS_EVENT_FLUSH
                : is_move ? TACTUS_EVENT_MOVE
                          : TACTUS_EVENT_COMPACTION,
        .tree = tac_manifest_tree_id(store->manifest, compaction->tree),
        .level_from = compaction->level_source,
        .level_to = compaction->level_target,
        .jobs = compaction->job_count,
        .tables_in = compaction->input_count,
        .tables_out = is_move ? compaction->input_count : 0,
        .op = is_flush ? store->immutable_last_op : 0,
    };

    if (!tac_events_want(&store->events, event.kind)) {
        return;
    }
    for (uint32_t i = 0; i < compaction->job_count; i++) {
        tac_store_job_describe(store->bar.jobs[compaction->job_first + i], &event);
    }
    if (compaction->job_count > 0) {
        event.duration_ns = jobs_duration_ns(store, compaction);
    }
    tac_events_add(&store->events, &event, 0);
}

static void damage_tell(struct tactus *store, const struct tac_bar_compaction *compaction,
                        const struct tac_error *error)
{
    tac_logger_add(&store->logger, TACTUS_LOGGER_ERROR, "a compaction found damage: %s",
                   error->message);
    tac_events_add(&store->events,
                   &(struct tactus_event){
                       .kind = TACTUS_EVENT_ERROR,
                       .code = error->code,
                       .tree = tac_manifest_tree_id(store->manifest, compaction->tree),
                       .level_from = compaction->level_source,
                       .level_to = compaction->level_target,
                       .text = error->message,
                   },
                   0);
}

/* ---- a plan's end --------------------------------------------------------------------------- */

static void compaction_apply(struct tactus *store, const struct tac_bar_compaction *compaction)
{
    for (uint32_t i = 0; i < compaction->job_count; i++) {
        job_settle_reservation(store, store->bar.jobs[compaction->job_first + i], true);
    }
    if (compaction->kind == TAC_PLAN_MOVE) {
        move_apply(store, compaction);
    } else if (compaction->kind == TAC_PLAN_DISCARD) {
        input_remove(store, &compaction->inputs[0]);
        store->totals.discards_done++;
        return; /* No event is of it. */
    } else {
        for (uint32_t i = 0; i < compaction->input_count; i++) {
            input_apply(store, compaction, &compaction->inputs[i]);
        }
        outputs_apply(store, compaction);
        store->totals.compactions++;
        store->totals.jobs += compaction->job_count;
    }
    compaction_tell(store, compaction);
}

/* A retained table, which no snapshot has any more, is discarded with it. No reader sees the mark
 * of such tables: the descriptor stays the same one. */
static struct tac_table *descriptor_to_mark(struct tactus *store, struct tac_table *table)
{
    if (table->is_retained) {
        tac_manifest_discard(store->manifest, table);
    }
    if (table->is_discarded) {
        tac_manifest_remove(store->manifest, table);
        return table;
    }
    return descriptor_replace(store, table);
}

/* The compaction changed nothing; a damaged table is marked, so that plans leave it alone. */
static void compaction_drop(struct tactus *store, const struct tac_bar_compaction *compaction,
                            struct tac_table *damaged)
{
    for (uint32_t i = 0; i < compaction->job_count; i++) {
        job_settle_reservation(store, store->bar.jobs[compaction->job_first + i], false);
    }
    if (damaged != NULL && (damaged->is_retained || !damaged->is_damaged)) {
        struct tac_table *marked = descriptor_to_mark(store, damaged);

        marked->is_damaged = true;
        tac_manifest_insert(store->manifest, marked);
        tac_manifest_log_insert(store->manifest_log,
                                tac_manifest_tree(store->manifest, marked->tree), marked);
    }
}

/* Sums that do not agree, although each block and each table is what it should be: none of the
 * inputs is known to be damaged, but the plan must not be made again. The newest one that is not
 * marked yet stays where it is, which holds back least. NULL: there is no such table. */
static struct tac_table *input_newest(const struct tac_bar_compaction *compaction)
{
    struct tac_table *newest = NULL;

    for (uint32_t i = 0; i < compaction->input_count; i++) {
        struct tac_table *table = compaction->inputs[i].table;

        if (!table->is_damaged &&
            (newest == NULL || table->level < newest->level ||
             (table->level == newest->level && table->stamp > newest->stamp))) {
            newest = table;
        }
    }
    return newest;
}

/* ---- the memtable --------------------------------------------------------------------------- */

static bool is_flushed(const struct tac_bar *bar, uint32_t tree)
{
    for (uint32_t i = 0; i < bar->compaction_count; i++) {
        if (bar->compactions[i].kind == TAC_PLAN_FLUSH && bar->compactions[i].tree == tree) {
            return true;
        }
    }
    return false;
}

/* inserted = flushed + dropped with their trees: each tree's flush has been proven to have what was
 * put, so what is left to prove is that none was forgotten. */
static int memtable_check(struct tactus *store, struct tac_error *error)
{
    struct tac_u128 inserted = {0}, flushed = {0}, dropped = {0};
    uint64_t        versions = 0, versions_flushed = 0, versions_dropped = 0;

    for (uint32_t i = 0; i < tac_manifest_tree_count(store->manifest); i++) {
        const struct tac_manifest_tree *tree = tac_manifest_tree(store->manifest, i);
        struct tac_memtable_tree_stats  stats;

        tac_memtable_tree_stats(store->immutable_table, i, &stats);
        versions += stats.versions;
        inserted = tac_u128_add(inserted, stats.inserted_sum);
        if (is_flushed(&store->bar, i)) {
            versions_flushed += stats.versions;
            flushed = tac_u128_add(flushed, stats.inserted_sum);
        } else if (tac_bar_tree_is_over(tree, store->immutable_last_op)) {
            versions_dropped += stats.versions;
            dropped = tac_u128_add(dropped, stats.inserted_sum);
        }
    }
    if (versions != versions_flushed + versions_dropped ||
        !tac_u128_equal(inserted, tac_u128_add(flushed, dropped))) {
        return tac_error_set(error, TACTUS_ECORRUPT,
                             "%llu records were put, %llu are flushed and %llu dropped with trees",
                             (unsigned long long)versions, (unsigned long long)versions_flushed,
                             (unsigned long long)versions_dropped);
    }
    store->totals.records_discarded += versions_dropped;
    return TACTUS_OK;
}

/* ---- the whole ------------------------------------------------------------------------------ */

/* The log needs no word of it: in it a table of the last level is just that. */
static void last_levels_sink(struct tactus *store)
{
    struct tac_planner_options options;

    tac_store_planner_options(store, &options);
    for (uint32_t i = 0; i < tac_manifest_tree_count(store->manifest); i++) {
        const struct tac_manifest_level *level;
        struct tac_manifest_tree        *tree = tac_manifest_tree(store->manifest, i);
        uint32_t                         last = tree->planner.last_level, sunk;
        uint64_t                         size;

        level = &tree->levels[last];
        size = tac_planner_level_size(level->bytes, level->records, level->tombstones);
        sunk = tac_planner_sink(&options, &tree->planner, size);
        if (sunk > 0) {
            tac_manifest_level_renumber(store->manifest, i, last, last + sunk);
        }
    }
}

int tac_store_commit_plan(struct tactus *store, struct tac_error *error)
{
    struct tac_bar *bar = &store->bar;
    bool            is_sweep_kept = bar->is_sweep_whole;

    tac_assert(bar->jobs_done == bar->job_count);
    store->is_flush_due = false;
    tac_ranges_leave(store);
    for (uint32_t i = 0; i < bar->compaction_count; i++) {
        const struct tac_bar_compaction *compaction = &bar->compactions[i];
        bool                             is_flush = compaction->kind == TAC_PLAN_FLUSH;
        struct tac_table                *damaged = NULL;

        if (compaction_check(store, compaction, &damaged, error) == TACTUS_OK) {
            compaction_apply(store, compaction);
            continue;
        }
        if (damaged == NULL && !is_flush) {
            damaged = input_newest(compaction);
        }
        if (error->code != TACTUS_ECORRUPT ||
            (is_flush && (damaged == NULL || damaged->is_damaged))) {
            return error->code; /* The memtable's records are wrong, or the device fails. */
        }
        compaction_drop(store, compaction, damaged);
        damage_tell(store, compaction, error);
        store->is_flush_due |= is_flush;
        is_sweep_kept = is_sweep_kept && compaction->tree != bar->sweep.tree;
    }
    tac_error_clear(error);
    if (!store->is_flush_due && store->immutable_table != NULL &&
        store->half + 1 == store->plans_per_bar && memtable_check(store, error) != TACTUS_OK) {
        return error->code;
    }
    last_levels_sink(store);
    tac_sweep_move(store, is_sweep_kept);
    tac_manifest_log_compact(store->manifest_log, store->manifest, tac_bar_log_carry(bar),
                             tac_space_log_kept(store));
    return TACTUS_OK;
}
