/* SPDX-License-Identifier: Apache-2.0 */
/* api_compact -- what tactus.h has of compacting a range, and of the plan. */
#include <string.h>

#include "base/units.h"
#include "pipeline/api_internal.h"
#include "pipeline/recovery.h"

static int bound_check(const void *bound, size_t size, const char *name)
{
    if ((bound == NULL && size > 0) ||
        (bound != NULL && (size == 0 || size > TACTUS_KEY_SIZE_MAX))) {
        return tac_error_set(&tac_api_error, TACTUS_EKEYSIZE,
                             "a %s bound of %zu bytes; 1 to %d, or NULL with size 0", name, size,
                             TACTUS_KEY_SIZE_MAX);
    }
    return TACTUS_OK;
}

/* With commit_lock held. */
static int range_begin(struct tactus *store, uint32_t tree, struct tac_bytes low,
                       struct tac_bytes high)
{
    uint32_t             number = tac_tree_number(tree);
    uint8_t              value[1 + TACTUS_KEY_SIZE_MAX] = {TAC_WAL_RANGE_BEGIN};
    struct tac_wal_entry entry = {
        .kind = TAC_WAL_RANGE,
        .is_last = true,
        .tree = number,
        .key = low,
        .value = {value, 1 + high.size},
    };
    bool had_run = tac_recovery_is_refilling(store); /* Before the checkpoint */

    if (tac_trees_check(store, tree, &tac_api_error) != TACTUS_OK) {
        return tac_api_error.code;
    }
    if (!had_run && store->sweep.op != 0) {
        return tac_error_set(&tac_api_error, TACTUS_EEXISTS,
                             "a range of tree \"%s\" is being compacted: wait until it is done, or "
                             "cancel it",
                             tac_manifest_tree(store->manifest, store->sweep.tree)->name);
    }
    if (high.size > 0) {
        memcpy(value + 1, high.data, high.size);
    }
    if (tac_writer_control(store, &entry, &tac_api_error) != TACTUS_OK) {
        return tac_api_error.code;
    }
    if (!had_run) {
        store->is_held = false;
        tac_sweep_begin(store, store->last_op, number, low, high);
    }
    return TACTUS_OK;
}

int tactus_compact_range(struct tactus *store, uint32_t tree, const void *low, size_t low_size,
                         const void *high, size_t high_size)
{
    struct tac_bytes low_bound = {low, (uint32_t)low_size},
                     high_bound = {high, (uint32_t)high_size};
    struct tac_layout layout;
    uint64_t          op;
    int               result;

    if (tac_api_fork_check(store) != TACTUS_OK ||
        tac_api_tree_layout(store, tree, &layout) != TACTUS_OK ||
        bound_check(low, low_size, "low") != TACTUS_OK ||
        bound_check(high, high_size, "high") != TACTUS_OK) {
        return tac_api_error.code;
    }
    if (high != NULL && tac_bytes_compare(low_bound, high_bound) >= 0) {
        return tac_error_set(&tac_api_error, TACTUS_EINVAL,
                             "the low bound is not below the high one: no key is between them");
    }
    if (tac_api_lock(store) != TACTUS_OK) {
        return tac_api_error.code;
    }
    result = range_begin(store, tree, low_bound, high_bound);
    op = store->last_op;
    tac_api_unlock(store);
    return result == TACTUS_OK ? tac_wal_committed(&store->wal, op, &tac_api_error) : result;
}

/* With commit_lock held. */
static int range_step(struct tactus *store, bool *ret_is_done)
{
    int result = tac_writer_pause_check(store, &tac_api_error);

    if (result == TACTUS_OK && store->is_held && store->sweep.op != 0 &&
        !tac_recovery_is_refilling(store)) {
        result = tac_error_set(&tac_api_error, TACTUS_EAGAIN,
                               "tactus_compaction_hold holds the range back: end the hold first");
    }
    if (result == TACTUS_OK) {
        result = tac_writer_range_step(store, &tac_api_error);
    }
    *ret_is_done = store->sweep.op == 0;
    return result;
}

int tactus_compact_step(struct tactus *store, bool *ret_is_done)
{
    bool is_done;
    int  result;

    if (tac_api_fork_check(store) != TACTUS_OK) {
        return tac_api_error.code;
    }
    tac_writer_hurry(store);
    if (tac_api_lock(store) != TACTUS_OK) {
        return tac_api_error.code;
    }
    result = range_step(store, &is_done);
    tac_api_unlock(store);
    if (result == TACTUS_OK && ret_is_done != NULL) {
        *ret_is_done = is_done;
    }
    return result;
}

int tactus_compact_cancel(struct tactus *store)
{
    static const uint8_t       value = TAC_WAL_RANGE_CANCEL;
    const struct tac_wal_entry entry = {
        .kind = TAC_WAL_RANGE, .is_last = true, .value = {&value, sizeof value}};
    uint64_t op;
    bool     had_run; /* Before the checkpoint */
    int      result;

    if (tac_api_lock(store) != TACTUS_OK) {
        return tac_api_error.code;
    }
    had_run = tac_recovery_is_refilling(store);
    result = tac_writer_control(store, &entry, &tac_api_error);
    if (result == TACTUS_OK && !had_run && store->sweep.op != 0) {
        tac_sweep_end(store, TACTUS_COMPACT_CANCELLED);
    }
    op = store->last_op;
    tac_api_unlock(store);
    return result == TACTUS_OK ? tac_wal_committed(&store->wal, op, &tac_api_error) : result;
}

void tactus_compact_progress(struct tactus *store, struct tactus_compact_progress *ret_progress)
{
    memset(ret_progress, 0, sizeof *ret_progress);
    if (tac_storage_is_forked(store->storage)) {
        return; /* Whoever held the lock may not be here */
    }
    pthread_mutex_lock(&store->stats_lock);
    *ret_progress = store->sweep_report.progress;
    pthread_mutex_unlock(&store->stats_lock);
}

/* ---- the plan ------------------------------------------------------------------------------- */

int tactus_plan(struct tactus *store, struct tactus_plan_entry *entries, uint32_t entries_max,
                uint32_t *ret_count)
{
    const struct tac_plan_report *report = &store->plan_report;
    uint64_t                      count;

    if (tac_api_fork_check(store) != TACTUS_OK) {
        return tac_api_error.code;
    }
    pthread_mutex_lock(&store->stats_lock);
    count = tac_min_u64(tac_min_u64(report->count, TACTUS_PLAN_ENTRIES_MAX), entries_max);
    if (count > 0) {
        memcpy(entries, report->entries, count * sizeof *entries);
    }
    *ret_count = report->count;
    pthread_mutex_unlock(&store->stats_lock);
    return TACTUS_OK;
}
