/* SPDX-License-Identifier: Apache-2.0 */
/* stat -- what a store tells about itself: the coordinator reports at each plan's end; what changes
 * between two of them is read from its owner. */
#include <string.h>

#include "base/units.h"
#include "pipeline/pacing.h"
#include "pipeline/store.h"
#include "queues/atomics.h"

static void levels_report(struct tactus *store, struct tactus_stats *report)
{
    memset(report->level, 0, sizeof report->level);
    report->trees = report->levels = 0;
    report->live_bytes = 0;
    report->tables_discarded = report->discards_damaged = report->discarded_bytes = 0;
    report->tables_retained = report->retained_bytes = 0;
    for (uint32_t i = 0; i < tac_manifest_tree_count(store->manifest); i++) {
        struct tac_manifest_tree *tree = tac_manifest_tree(store->manifest, i);

        report->trees += tree->is_open;
        if (tree->is_open) {
            report->levels =
                (uint32_t)tac_max_u64(report->levels, (uint64_t)tree->planner.last_level + 1);
        }
        for (uint32_t level = 0; level < TACTUS_LEVELS_MAX; level++) {
            const struct tac_manifest_level *from = &tree->levels[level];
            struct tactus_level_stats       *to = &report->level[level];

            to->tables += from->table_count;
            to->bytes += from->bytes;
            to->records += from->records;
            to->tombstones += from->tombstones;
            to->depth = (uint32_t)tac_max_u64(to->depth, tac_manifest_level_depth(from));
            report->live_bytes += from->bytes;
        }
        report->tables_discarded += tree->discards.table_count;
        report->discards_damaged += tree->discards.damaged_count;
        report->discarded_bytes += tree->discards.blocks * store->shape.block_size;
        report->tables_retained += tree->retained.table_count;
        report->retained_bytes += tree->retained.blocks * store->shape.block_size;
    }
}

void tac_store_report(struct tactus *store)
{
    struct tactus_stats *report = &store->totals;

    levels_report(store, report);
    report->snapshots = store->snapshots.directory.count;
    report->ranges = tac_manifest_range_count(store->manifest);
    if (store->immutable_table != NULL) {
        report->ranges += tac_memtable_range_count(store->immutable_table);
    }
    report->tables_damaged = store->damage.table_count;
    report->checkpoint_sequence = store->checkpoint.durable.sequence;
    report->blocks_acquired = tac_free_set_acquired_count(store->free_set);
    report->blocks_released = tac_free_set_released_count(store->free_set);
    report->manifest_log_blocks = tac_manifest_log_block_count(store->manifest_log);
    report->bar_work_bytes = store->bar.bytes;
    pthread_mutex_lock(&store->stats_lock);
    store->reported = *report;
    tac_sweep_report(store);
    pthread_mutex_unlock(&store->stats_lock);
}

static void threads_report(struct tactus *store, struct tactus_stats *stats)
{
    uint32_t count[TAC_STAGES_WITH_QUEUE] = {
        store->options.threads_read, store->options.threads_merge, store->options.threads_write};

    if (store->workers.shared != NULL && store->workers.has_threads) {
        tac_thread_pool_count(store->workers.shared, count);
    }
    stats->threads_read = count[TAC_STAGE_READ];
    stats->threads_merge = count[TAC_STAGE_MERGE];
    stats->threads_write = count[TAC_STAGE_WRITE];
}

static void writer_report(struct tactus *store, struct tactus_stats *stats)
{
    pthread_mutex_lock(&store->commit_lock);
    stats->last_op = store->last_op;
    stats->user_bytes = store->user_bytes;
    stats->records_put = store->records_put;
    stats->records_deleted = store->records_deleted;
    stats->waits = store->waits;
    stats->wait_ns_total = store->wait_ns_total;
    stats->wait_ns_max = store->wait_ns_max;
    memcpy(stats->wait_buckets, store->wait_buckets, sizeof stats->wait_buckets);
    stats->log_waits = store->wal.waits;
    stats->ranges += tac_memtable_range_count(store->memtables[store->memtable_mutable]);
    tac_worker_pool_report(&store->workers, stats->stage);
    threads_report(store, stats);
    pthread_mutex_unlock(&store->commit_lock);
}

static void stats_fill(struct tactus *store, struct tactus_stats *ret_stats)
{
    struct tac_storage_counters io;
    struct tac_read_totals      reads;
    uint64_t                    durable_op;

    if (tac_storage_is_forked(store->storage)) {
        memset(ret_stats, 0, sizeof *ret_stats); /* Whoever held the locks may not be here */
        ret_stats->backend = store->storage->ops->name;
        return;
    }
    durable_op = tactus_durable_op(store); /* Before last_op, so never above it */
    pthread_mutex_lock(&store->stats_lock);
    *ret_stats = store->reported;
    pthread_mutex_unlock(&store->stats_lock);
    writer_report(store, ret_stats);
    tac_scrub_report(&store->scrub, ret_stats);
    tac_storage_counters(store->storage, &io);
    ret_stats->read_bytes = io.read_bytes;
    ret_stats->written_bytes = io.written_bytes;
    ret_stats->syncs = io.syncs;
    ret_stats->sync_ns_max = tac_atomic_load_relaxed_u64(&store->stages.sync_ns_max);
    ret_stats->durable_op = durable_op;
    if (store->wal.storage != NULL) {
        tac_storage_counters(store->wal.storage, &io);
        ret_stats->log_bytes = io.written_bytes;
        ret_stats->log_syncs = io.syncs;
    }
    ret_stats->beats = tac_atomic_load_acquire_u64(&store->clock.step) / TAC_PACING_STEPS_PER_BEAT;
    ret_stats->bar_work_done_bytes = tac_atomic_fetch_add_u64(&store->stages.consumed_bytes, 0);
    ret_stats->wait_bound_bytes =
        tac_pacing_wait_bytes(tac_atomic_load_acquire_u64(&store->clock.plan_bytes),
                              store->beats_per_plan, store->shape.lag_beats) +
        (uint64_t)tac_max_u64(ret_stats->threads_merge, 1) * store->shape.block_size;
    reads = tac_read_side_totals(&store->read_side);
    ret_stats->cache_hits = reads.cache_hits;
    ret_stats->cache_misses = reads.cache_misses;
    ret_stats->cache_carried = reads.pages_entered;
    ret_stats->level0_cache_hits =
        tac_atomic_load_relaxed_u64(&store->stages.level0_cache.hit_count);
    ret_stats->block_size = store->shape.block_size;
    ret_stats->blocks_in_file = store->storage->ops->size(store->storage) / store->shape.block_size;
    ret_stats->memory_budget_bytes = tac_atomic_load_relaxed_u64(&store->memory_budget_bytes);
    ret_stats->backend = store->storage->ops->name;
    ret_stats->direct_io = store->storage->is_direct;
    ret_stats->is_paused = tac_store_is_paused(store);
}

void tactus_stat_sized(struct tactus *store, struct tactus_stats *ret_stats, size_t struct_size)
{
    struct tactus_stats stats;
    size_t              size = tac_min_u64(struct_size, sizeof stats);

    stats_fill(store, &stats);
    stats.struct_size = size;
    memcpy(ret_stats, &stats, size);
    memset((uint8_t *)ret_stats + size, 0, struct_size - size);
}
