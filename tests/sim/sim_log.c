/* SPDX-License-Identifier: Apache-2.0 */
/* sim_log -- see sim_log.h. */
#include "tests/sim/sim_log.h"

#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "tests/sim/store_sim.h"

static void *grown(void *array, uint64_t count, uint64_t *capacity, size_t item_bytes)
{
    if (count <= *capacity) {
        return array;
    }
    *capacity = tac_max_u64(2 * *capacity, count + 64);
    array = realloc(array, *capacity * item_bytes);
    tac_assert(array != NULL);
    return array;
}

void sim_log_destroy(struct sim_log *log)
{
    free(log->records);
    free(log->entries);
    memset(log, 0, sizeof *log);
}

static struct sim_record *record_append(struct sim_log *log, struct sim_record record,
                                        const struct sim_entry *entries)
{
    record.entry_first = log->entry_count;
    log->entries = grown(log->entries, log->entry_count + record.entry_count, &log->entry_capacity,
                         sizeof *log->entries);
    if (record.entry_count > 0) {
        memcpy(log->entries + log->entry_count, entries, record.entry_count * sizeof *log->entries);
    }
    log->entry_count += record.entry_count;
    log->records =
        grown(log->records, log->record_count + 1, &log->record_capacity, sizeof *log->records);
    log->records[log->record_count] = record;
    return &log->records[log->record_count++];
}

static void record_drop(struct sim_log *log)
{
    tac_assert(log->record_count > 0);
    log->record_count--;
    log->entry_count = log->records[log->record_count].entry_first;
}

/* ---- doing it ------------------------------------------------------------------------------- */

static int write_run(struct sim *sim, const struct sim_entry *entry)
{
    const struct store_model_tree *tree = &sim->model->trees[entry->tree];
    const struct store_model_key  *key = &tree->keys[entry->key];

    if (entry->version.is_tombstone) {
        return tactus_delete(sim->store, tree->id, key->bytes, key->size);
    }
    store_model_value(entry->version.value_seed, entry->version.value_size, sim->buffer);
    return tactus_put(sim->store, tree->id, key->bytes, key->size, sim->buffer,
                      entry->version.value_size);
}

/* Whether all conditions hold just before the op. */
static bool conditions_hold(struct sim *sim, const struct sim_entry *entries, uint32_t count,
                            uint64_t op)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct store_model_version *expected = &entries[i].version, *found;

        if (!entries[i].is_condition) {
            continue;
        }
        found = store_model_get(sim->model, entries[i].tree, entries[i].key, op - 1);
        if (expected->is_tombstone != (found == NULL) ||
            (found != NULL &&
             (found->value_size != expected->value_size ||
              (found->value_seed != expected->value_seed && found->value_size > 0)))) {
            return false;
        }
    }
    return true;
}

static int batch_run(struct sim *sim, const struct sim_record *record,
                     const struct sim_entry *entries)
{
    struct tactus_batch *batch;
    uint64_t             before = tactus_last_op(sim->store);
    uint64_t             op = 0;
    int                  result = tactus_batch_new(sim->store, &batch);

    for (uint32_t i = 0; i < record->entry_count && result == TACTUS_OK; i++) {
        result = sim_batch_add(sim, batch, &entries[i]);
    }
    if (result == TACTUS_OK) {
        result = tactus_batch_commit(batch, &op);
    }
    tactus_batch_free(batch);
    if (result == TACTUS_OK && op != before + 1) {
        sim_fail(sim, "batch: op %llu after %llu", (unsigned long long)op,
                 (unsigned long long)before);
    }
    if ((result == TACTUS_OK && record->is_passed) ||
        (result == TACTUS_ECONFLICT && !record->is_passed)) {
        sim_fail(sim, "batch, op %llu: %d, but its conditions %s", (unsigned long long)before + 1,
                 result, record->is_passed ? "do not hold" : "hold");
    }
    return result;
}

static int tree_run(struct sim *sim, uint32_t number)
{
    struct store_model_tree *tree = &sim->model->trees[number];
    char                     name[16];

    snprintf(name, sizeof name, "tree-%u", number);
    return tactus_tree_create(sim->store, name, &tree->spec.layout, &tree->id);
}

/* Ids as of the op that the store has opened at: what follows may drop trees and make others. */
static void trees_find(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->model->tree_count; i++) {
        char name[16];

        snprintf(name, sizeof name, "tree-%u", i);
        tac_maybe(tactus_tree_find(sim->store, name, &sim->model->trees[i].id) == TACTUS_OK);
    }
}

#define RUN_RECORDS_MAX 8 /* That one call of the reader gives */

struct run_reader {
    struct sim              *sim;
    const struct sim_entry  *entries;
    uint32_t                 next, count;
    uint32_t                 fails_at, swaps_at;
    uint8_t                 *values;
    struct tactus_run_record records[RUN_RECORDS_MAX];
};

static int run_read(void *context, const struct tactus_run_record **ret_records, size_t *ret_count)
{
    struct run_reader *reader = context;
    uint32_t           value_max = reader->sim->world->options.block_size / 4;
    uint32_t           most = 1 + reader->next % RUN_RECORDS_MAX;
    uint32_t           given = 0;

    memset(reader->values, 0xee, (size_t)RUN_RECORDS_MAX * value_max);
    for (; given < most && reader->next < reader->count; given++) {
        const struct sim_entry       *entry = &reader->entries[reader->next];
        const struct store_model_key *key =
            &reader->sim->model->trees[entry->tree].keys[entry->key];
        uint8_t *value = reader->values + (size_t)given * value_max;

        if (reader->next == reader->fails_at) {
            return SIM_READER_CODE;
        }
        if (!entry->version.is_tombstone) {
            store_model_value(entry->version.value_seed, entry->version.value_size, value);
        }
        reader->records[given] = (struct tactus_run_record){
            .key = key->bytes,
            .key_size = key->size,
            .value = value,
            .value_size = entry->version.value_size,
            .is_tombstone = entry->version.is_tombstone,
        };
        if (reader->next == reader->swaps_at) {
            reader->swaps_at = UINT32_MAX;
        } else {
            reader->next++;
        }
    }
    *ret_records = reader->records;
    *ret_count = given;
    return TACTUS_OK;
}

int sim_ingest_run(struct sim *sim, const struct sim_entry *entries, uint32_t count,
                   uint32_t fails_at, uint32_t swaps_at)
{
    struct run_reader reader = {
        .sim = sim, .entries = entries, .count = count, .fails_at = fails_at, .swaps_at = swaps_at};
    uint64_t before = tactus_last_op(sim->store), op = 0;
    int      result;

    tac_assert(count > 0);
    reader.values = malloc((size_t)RUN_RECORDS_MAX * (sim->world->options.block_size / 4));
    tac_assert(reader.values != NULL);
    result =
        tactus_ingest(sim->store, sim->model->trees[entries[0].tree].id, run_read, &reader, &op);
    free(reader.values);
    if (result == TACTUS_OK && (op != before + 1 || tactus_durable_op(sim->store) < op)) {
        sim_fail(sim, "ingest: op %llu after %llu, durable %llu", (unsigned long long)op,
                 (unsigned long long)before, (unsigned long long)tactus_durable_op(sim->store));
    }
    return result;
}

static int snapshot_run(struct sim *sim, uint32_t slot)
{
    uint64_t before = tactus_last_op(sim->store);
    uint64_t op = 0;
    int      result = tactus_snapshot_create(sim->store, sim_snapshot_name(slot), &op);

    if (result == TACTUS_OK && (op != before + 1 || tactus_durable_op(sim->store) < op)) {
        sim_fail(sim, "snapshot of op %llu after %llu, op %llu is durable", (unsigned long long)op,
                 (unsigned long long)before, (unsigned long long)tactus_durable_op(sim->store));
    }
    return result;
}

static int range_run(struct sim *sim, const struct sim_bounds *range)
{
    const struct store_model_tree *tree = &sim->model->trees[range->tree];
    const struct store_model_key   open = {.size = 0};
    const struct store_model_key  *low =
        range->low == STORE_MODEL_NONE ? &open : &tree->keys[range->low];
    const struct store_model_key *high =
        range->high == STORE_MODEL_NONE ? &open : &tree->keys[range->high];

    return tactus_compact_range(sim->store, tree->id, low->size > 0 ? low->bytes : NULL, low->size,
                                high->size > 0 ? high->bytes : NULL, high->size);
}

static int record_run(struct sim *sim, const struct sim_record *record)
{
    const struct sim_entry *entries =
        record->entry_count > 0 ? sim->log_ops.entries + record->entry_first : NULL;

    switch (record->kind) {
    case SIM_RECORD_WRITE:
        return write_run(sim, entries);
    case SIM_RECORD_BATCH:
        return batch_run(sim, record, entries);
    case SIM_RECORD_TREE_CREATE:
        return tree_run(sim, record->tree);
    case SIM_RECORD_TREE_DROP:
        return tactus_tree_drop(sim->store, sim->model->trees[record->tree].id);
    case SIM_RECORD_DRAIN:
        return tactus_drain(sim->store);
    case SIM_RECORD_COMPACT:
        return tactus_compact(sim->store, sim->model->trees[record->tree].id);
    case SIM_RECORD_HOLD:
        return tactus_compaction_hold(sim->store, record->is_held);
    case SIM_RECORD_BEAT:
        return tactus_beat(sim->store);
    case SIM_RECORD_CHECKPOINT:
        return tactus_checkpoint(sim->store);
    case SIM_RECORD_INGEST:
        return sim_ingest_run(sim, entries, record->entry_count, UINT32_MAX, UINT32_MAX);
    case SIM_RECORD_RANGE_BEGIN:
        return range_run(sim, &record->range);
    case SIM_RECORD_RANGE_STEP:
        return tactus_compact_step(sim->store, NULL);
    case SIM_RECORD_RANGE_CANCEL:
        return tactus_compact_cancel(sim->store);
    case SIM_RECORD_DELETE_RANGE:
        return sim_delete_range(sim, &record->range);
    case SIM_RECORD_SNAPSHOT:
        return snapshot_run(sim, record->tree);
    case SIM_RECORD_RELEASE:
        return tactus_snapshot_release(sim->store, sim_snapshot_name(record->tree));
    }
    tac_unreachable();
}

/* A call that would wait in a pause is refused, and nothing of it is there; then the pause ends. */
static bool is_pause_ended(struct sim *sim, int result, uint64_t op_before)
{
    struct tactus_stats stats;

    if (result != TACTUS_EPAUSED) {
        return false;
    }
    tactus_stat(sim->store, &stats);
    if (!sim->is_paused || !stats.is_paused || tactus_last_op(sim->store) != op_before) {
        sim_fail(sim, "refused for a pause, wrongly: %s", tactus_message());
    }
    sim->is_paused = false;
    sim->report->marks.count[MARK_PAUSED_LONG]++;
    return tactus_resume(sim->store) == TACTUS_OK;
}

static int record_do(struct sim *sim, const struct sim_record *record)
{
    uint64_t op = tactus_last_op(sim->store);
    int      result = record_run(sim, record);

    return is_pause_ended(sim, result, op) ? record_run(sim, record) : result;
}

/* A drain that finds no room, or damage, has its number all the same, and a delete too that has
 * tried to make some, and a write whose condition does not hold. */
static bool is_taken(const struct sim *sim, int result, uint64_t op)
{
    return result == TACTUS_OK ||
           ((result == TACTUS_ECONFLICT || result == TACTUS_EFULL || sim_is_refused(sim, result)) &&
            tactus_last_op(sim->store) == op);
}

static void delete_range_model(struct sim *sim, const struct sim_bounds *range, uint64_t op)
{
    const struct store_model_version gone = {.is_tombstone = true};
    uint32_t                         key, end = sim_delete_range_keys(sim, range, &key);

    for (; key < end; key++) {
        if (store_model_get(sim->model, range->tree, key, op) != NULL) {
            store_model_write(sim->model, range->tree, key, op, &gone);
        }
    }
}

/* result: what it has come to. */
static void record_model(struct sim *sim, const struct sim_record *record, int result)
{
    uint64_t op = ++sim->model->op;

    for (uint32_t i = 0; i < record->entry_count; i++) {
        const struct sim_entry *entry = &sim->log_ops.entries[record->entry_first + i];

        if (record->is_passed || entry->is_condition) {
            continue;
        }
        store_model_write(sim->model, entry->tree, entry->key, op, &entry->version);
    }
    if (record->kind == SIM_RECORD_TREE_CREATE) {
        sim->model->trees[record->tree].created_op = op;
    }
    if (record->kind == SIM_RECORD_TREE_DROP) {
        store_model_drop(sim->model, record->tree, op);
    }
    if (record->kind == SIM_RECORD_DELETE_RANGE) {
        delete_range_model(sim, &record->range, op);
    }
    if (record->kind == SIM_RECORD_SNAPSHOT) {
        sim_snapshot_taken(sim, record->tree, result == TACTUS_OK ? op : STORE_MODEL_NEVER);
    }
    if (record->kind == SIM_RECORD_RELEASE) {
        sim_snapshot_released(sim, record->tree, op);
    }
}

static int log_do(struct sim *sim, struct sim_record new_record, const struct sim_entry *entries)
{
    struct sim_log    *log = &sim->log_ops;
    struct sim_record *record = record_append(log, new_record, entries);

    int  result = record_do(sim, record);
    bool was_taken = is_taken(sim, result, sim->model->op + 1);

    if (was_taken && result == TACTUS_EFULL &&
        (record->entry_count > 0 || record->kind == SIM_RECORD_DELETE_RANGE)) {
        record->kind = SIM_RECORD_CHECKPOINT; /* What a refused delete came to */
        record->entry_count = 0;
        log->refused_op = sim->model->op + 1;
    }
    if (was_taken) {
        record_model(sim, record, result);
    }
    sim->is_cut_ingest = new_record.kind == SIM_RECORD_INGEST && !was_taken && sim_is_down(sim);
    if (sim->is_cut_ingest && !sim_is_logged(sim) && sim_in_flight_op(sim) > sim->model->op) {
        record_model(sim, record, TACTUS_OK); /* The next open may find it there. */
    }
    if (!sim_is_logged(sim) || (!was_taken && !sim_is_down(sim))) {
        record_drop(log);
    } else if (!was_taken) {
        sim->report->marks.count[MARK_CUT_IN_OP] += sim->disk.has_crashed;
        log->redone_result = TACTUS_OK;
        sim_recover(sim);
        result = log->redone_result;
    }
    return result;
}

int sim_log_do(struct sim *sim, enum sim_record_kind kind, uint32_t tree, bool is_held,
               const struct sim_entry *entries, uint32_t entry_count)
{
    return log_do(sim,
                  (struct sim_record){
                      .kind = kind,
                      .tree = tree,
                      .is_held = is_held,
                      .is_passed = !conditions_hold(sim, entries, entry_count, sim->model->op + 1),
                      .entry_count = entry_count},
                  entries);
}

int sim_log_range(struct sim *sim, enum sim_record_kind kind, const struct sim_bounds *range)
{
    return log_do(sim, (struct sim_record){.kind = kind, .range = *range}, NULL);
}

int sim_log_checkpoint(struct sim *sim)
{
    struct sim_log *log = &sim->log_ops;
    bool            is_new = sim_is_logged(sim) && !tac_store_is_poisoned(sim->store);
    uint64_t        before = tactus_last_op(sim->store);
    int             result;

    if (is_new) {
        (void)record_append(log, (struct sim_record){.kind = SIM_RECORD_CHECKPOINT}, NULL);
    }
    result = tactus_checkpoint(sim->store);
    if (is_pause_ended(sim, result, before)) {
        result = tactus_checkpoint(sim->store);
    }
    if (is_new && tactus_last_op(sim->store) == before) {
        record_drop(log);
    }
    return result;
}

/* There is a range already, or a hold. */
static bool is_range_refused(const struct sim_record *record, int result)
{
    return (record->kind == SIM_RECORD_RANGE_BEGIN && result == TACTUS_EEXISTS) ||
           (record->kind == SIM_RECORD_RANGE_STEP && result == TACTUS_EAGAIN);
}

void sim_log_redo(struct sim *sim, uint64_t op)
{
    struct sim_log *log = &sim->log_ops;

    /* An op that the power cut has met may be in the checkpoint. */
    while (sim->model->op < op - 1 && sim->model->op < log->record_count) {
        record_model(sim, &log->records[sim->model->op], TACTUS_OK);
    }
    trees_find(sim);
    for (; op <= log->record_count; op++) {
        struct sim_record *record = &log->records[op - 1];
        int                result = record_run(sim, record);

        log->redone_result = result;
        if ((result == TACTUS_EFULL || is_range_refused(record, result)) &&
            op == log->record_count && op > sim->model->op && !is_taken(sim, result, op)) {
            record_drop(log); /* It had not been taken; nor is it now. */
            return;
        }
        if (!is_taken(sim, result, op) && sim_is_down(sim)) {
            sim_recover(sim); /* A write that the open had begun has failed since */
            return;
        }
        /* What an interval log has lost is new, and over too much damage nothing new is taken. */
        if (sim_is_refused(sim, result) && sim->world->options.log == TACTUS_LOG_INTERVAL &&
            tactus_last_op(sim->store) == op - 1) {
            longjmp(sim->end, 1);
        }
        if (!is_taken(sim, result, op)) {
            sim_fail(sim, "op %llu of kind %d, done again: %d %s", (unsigned long long)op,
                     (int)record->kind, result, tactus_message());
        }
        if (tactus_last_op(sim->store) != op) {
            sim_fail(sim, "op %llu, done again, has the number %llu", (unsigned long long)op,
                     (unsigned long long)tactus_last_op(sim->store));
        }
        if (op > sim->model->op) {
            record_model(sim, record, result);
        }
    }
}
