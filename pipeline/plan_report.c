/* SPDX-License-Identifier: Apache-2.0 */
/* plan_report -- see plan_report.h. */
#include "pipeline/plan_report.h"

#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "pipeline/store.h"

tac_static_assert((int)TAC_PLAN_FLUSH == (int)TACTUS_PLAN_FLUSH &&
                      (int)TAC_PLAN_MERGE == (int)TACTUS_PLAN_MERGE &&
                      (int)TAC_PLAN_IN_PLACE == (int)TACTUS_PLAN_IN_PLACE &&
                      (int)TAC_PLAN_MOVE == (int)TACTUS_PLAN_MOVE,
                  "the planner's kinds are the public ones");
tac_static_assert((int)TAC_PLAN_FOR_FLUSH == (int)TACTUS_PLAN_FOR_FLUSH &&
                      (int)TAC_PLAN_FOR_DEPTH == (int)TACTUS_PLAN_FOR_DEPTH &&
                      (int)TAC_PLAN_FOR_SIZE == (int)TACTUS_PLAN_FOR_SIZE &&
                      (int)TAC_PLAN_FORWARD == (int)TACTUS_PLAN_FORWARD &&
                      (int)TAC_PLAN_BY_HAND == (int)TACTUS_PLAN_BY_HAND &&
                      (int)TAC_PLAN_FOR_SPACE == (int)TACTUS_PLAN_FOR_SPACE,
                  "and so are its reasons");

int tac_plan_report_create(struct tac_plan_report *report, struct tac_error *error)
{
    report->entries = calloc(TACTUS_PLAN_ENTRIES_MAX, sizeof *report->entries);
    return report->entries != NULL
               ? TACTUS_OK
               : tac_error_set(error, TACTUS_ENOMEM, "out of memory for what is told of plans");
}

void tac_plan_report_destroy(struct tac_plan_report *report)
{
    free(report->entries);
    memset(report, 0, sizeof *report);
}

uint64_t tac_plan_report_memory_bytes(void)
{
    return TACTUS_PLAN_ENTRIES_MAX * sizeof(struct tactus_plan_entry);
}

static void key_set(uint8_t to[TACTUS_PLAN_KEY_BYTES], uint32_t *ret_size, struct tac_bytes key)
{
    *ret_size = key.size;
    if (key.size > 0) {
        memcpy(to, key.data, tac_min_u64(key.size, TACTUS_PLAN_KEY_BYTES));
    }
}

static void entry_add(struct tac_plan_report *report, const struct tactus_plan_entry *entry,
                      struct tac_bytes low, struct tac_bytes high)
{
    if (report->count < TACTUS_PLAN_ENTRIES_MAX) {
        struct tactus_plan_entry *to = &report->entries[report->count];

        *to = *entry;
        key_set(to->low, &to->low_size, low);
        key_set(to->high, &to->high_size, high);
    }
    report->count++;
}

static void range_widen(struct tac_bytes *low, struct tac_bytes *high, struct tac_bytes key_min,
                        struct tac_bytes key_max)
{
    if (low->size == 0 || tac_bytes_compare(key_min, *low) < 0) {
        *low = key_min;
    }
    if (tac_bytes_compare(key_max, *high) > 0) {
        *high = key_max;
    }
}

/* As callers know it. */
static uint32_t tree_id(struct tactus *store, uint32_t number)
{
    const struct tac_manifest_tree *tree = tac_manifest_tree(store->manifest, number);

    return tac_tree_id(tree->id, tree->generation);
}

static void compaction_add(struct tactus *store, const struct tac_bar_compaction *compaction)
{
    struct tac_bytes low = {NULL, 0}, high = {NULL, 0};

    for (uint32_t i = 0; i < compaction->input_count; i++) {
        const struct tac_table *table = compaction->inputs[i].table;

        range_widen(&low, &high, table->key_min, table->key_max);
    }
    if (compaction->kind == TAC_PLAN_FLUSH) {
        struct tac_memtable_tree_stats flush;

        tac_memtable_tree_stats(store->immutable_table, compaction->tree, &flush);
        range_widen(&low, &high, flush.first_key, flush.last_key);
    }
    entry_add(&store->plan_report,
              &(struct tactus_plan_entry){
                  .tree = tree_id(store, compaction->tree),
                  .kind = (enum tactus_plan_kind)compaction->kind,
                  .reason = (enum tactus_plan_reason)compaction->reason,
                  .level_from = compaction->level_source,
                  .level_to = compaction->level_target,
                  .tables = compaction->input_count,
                  .input_bytes = compaction->bytes,
              },
              low, compaction->slice.size > 0 ? compaction->slice : high);
}

/* Of a level. */
static void due_add(struct tactus *store, uint32_t tree, uint32_t level)
{
    const struct tac_plan_due *due = &store->bar.due[tree][level];
    const struct tac_bytes     unknown = {NULL, 0};
    struct tactus_plan_entry   entry = {
          .tree = tree_id(store, tree),
          .kind = TACTUS_PLAN_MERGE,
          .is_due = true,
          .level_from = level,
          .level_to = level + 1,
    };

    if (due->depth > 0) {
        entry.reason = TACTUS_PLAN_FOR_DEPTH;
        entry.tables = due->depth;
        entry_add(&store->plan_report, &entry, unknown, unknown);
    }
    if (due->bytes > 0) {
        entry.reason = TACTUS_PLAN_FOR_SIZE;
        entry.tables = 0;
        entry.input_bytes = due->bytes;
        entry_add(&store->plan_report, &entry, unknown, unknown);
    }
}

/* What the plan leaves of the range that is compacted by hand. */
static void sweep_add(struct tactus *store)
{
    const struct tac_sweep  *sweep = store->bar.is_sweeping ? &store->bar.sweep : &store->sweep;
    struct tactus_plan_entry entry = {
        .kind = TACTUS_PLAN_MERGE,
        .reason = TACTUS_PLAN_BY_HAND,
        .is_due = true,
        .level_from = sweep->level,
        .level_to = sweep->level + 1,
    };
    uint64_t passes;

    if (sweep->op == 0) {
        return;
    }
    entry.tree = tree_id(store, sweep->tree);
    tac_sweep_left(sweep, store->manifest, &entry.input_bytes, &passes);
    if (entry.input_bytes > 0 || sweep->bars_wait > 0) {
        entry_add(&store->plan_report, &entry,
                  (struct tac_bytes){sweep->low.bytes, sweep->low.size},
                  (struct tac_bytes){sweep->high.bytes, sweep->high.size});
    }
}

void tac_plan_report_take(struct tactus *store)
{
    const struct tac_bar *bar = &store->bar;

    pthread_mutex_lock(&store->stats_lock);
    store->plan_report.count = 0;
    for (uint32_t i = 0; i < bar->compaction_count; i++) {
        compaction_add(store, &bar->compactions[i]);
    }
    for (uint32_t tree = 0; tree < tac_manifest_tree_count(store->manifest); tree++) {
        for (uint32_t level = 0; level < TACTUS_LEVELS_MAX; level++) {
            due_add(store, tree, level);
        }
    }
    sweep_add(store);
    pthread_mutex_unlock(&store->stats_lock);
}
