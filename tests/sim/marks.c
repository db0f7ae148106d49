/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/marks.h"

#include "queues/atomics.h"

const char *mark_text(enum mark mark)
{
    static const char *const texts[MARK_COUNT] = {
#define MARK_TEXT(name, text) [MARK_##name] = text,
        MARKS(MARK_TEXT)
#undef MARK_TEXT
    };

    return texts[mark];
}

static void compaction_observe(struct marks *marks, const struct tac_bar *bar,
                               const struct tac_bar_compaction *compaction)
{
    switch (compaction->kind) {
    case TAC_PLAN_FLUSH:
        break;
    case TAC_PLAN_MERGE:
        if (compaction->level_source <= 2) {
            marks->count[MARK_LEVEL_0 + compaction->level_source]++;
        }
        break;
    case TAC_PLAN_IN_PLACE:
        marks->count[MARK_IN_PLACE]++;
        break;
    case TAC_PLAN_MOVE:
        marks->count[MARK_MOVE]++;
        break;
    case TAC_PLAN_DISCARD:
        marks->count[MARK_TABLE_DISCARDED]++;
        marks->count[MARK_RETAINED_GIVEN_BACK] += compaction->inputs[0].table->is_retained;
        break;
    }
    marks->count[MARK_SLICE] += compaction->slice.size > 0;
    marks->count[MARK_JOBS] += compaction->job_count > 1;
    for (uint32_t i = 0; i < compaction->job_count; i++) {
        marks->count[MARK_MANY_SOURCES] += bar->jobs[compaction->job_first + i]->chain_count >= 8;
    }
}

static void tables_observe(struct marks *marks, struct tac_manifest *manifest)
{
    for (uint32_t i = 0; i < tac_manifest_tree_count(manifest); i++) {
        const struct tac_manifest_tree *tree = tac_manifest_tree(manifest, i);
        uint32_t                        levels = 0;

        for (uint32_t level = 0; level <= tree->planner.last_level; level++) {
            const struct tac_manifest_level *from = &tree->levels[level];

            levels += from->table_count > 0;
            for (uint32_t t = 0; t < from->table_count; t++) {
                marks->count[MARK_TRIMMED] += from->tables[t]->is_trimmed;
                marks->count[MARK_FILTER_BLOCKS] += from->tables[t]->filter_block_count > 0;
            }
        }
        marks->count[MARK_THREE_LEVELS] += levels >= 3;
        marks->count[MARK_TABLE_RETAINED] += tree->retained.table_count > 0;
    }
}

static void ranges_observe(struct marks *marks, struct tactus *store)
{
    uint32_t count = tac_manifest_range_count(store->manifest);

    marks->count[MARK_DELETE_RANGE_OVER] += count < marks->ranges_seen;
    marks->ranges_seen = count;
    marks->count[MARK_DELETE_RANGE_LEFT] += store->bar.leaving_count;
    for (uint32_t i = 0; i < store->bar.compaction_count; i++) {
        const struct tac_bar_compaction *compaction = &store->bar.compactions[i];

        marks->count[MARK_DELETE_RANGE_REWRITTEN] += compaction->kind == TAC_PLAN_IN_PLACE &&
                                                     compaction->reason == TAC_PLAN_FOR_SPACE &&
                                                     compaction->input_count == 1;
    }
}

void marks_observe(struct marks *marks, struct tactus *store)
{
    uint64_t plans = tac_atomic_load_relaxed_u64(&store->clock.plans_made);

    for (uint32_t i = 0; i < TAC_STAGES_WITH_QUEUE; i++) {
        marks->count[MARK_OVERFLOW] += store->stages.queues[i].overflow.top != NULL;
    }
    if (plans == marks->plan_seen) {
        return;
    }
    marks->plan_seen = plans;
    ranges_observe(marks, store);
    for (uint32_t i = 0; i < store->bar.compaction_count; i++) {
        compaction_observe(marks, &store->bar, &store->bar.compactions[i]);
    }
    tables_observe(marks, store->manifest);
}

void marks_finish(struct marks *marks, struct tactus *store)
{
    const struct tactus_stats *totals = &store->totals;

    marks->count[MARK_TOMBSTONE_DROPPED] += totals->tombstones_dropped;
    marks->count[MARK_OVERWRITTEN] += totals->records_overwritten;
    marks->count[MARK_TIGHT_PLAN] += totals->tight_plans;
    marks->count[MARK_LATE_CHECKPOINT] += totals->checkpoint_waits;
    marks->count[MARK_PACED_SYNC] += store->paced_sync.count;
    marks->count[MARK_DAMAGE_COMPACTION] += store->damage.table_count > 0;
    marks->count[MARK_CREDIT_STALL] += store->stages.credit_waits;
    marks->count[MARK_LOG_COMPACTED] += store->checkpoint.durable.manifest_oldest_sequence > 1;
    marks->count[MARK_LOG_TURNED] +=
        store->wal.storage != NULL && store->wal.sequence > store->wal.geometry.segment_count;
    marks->count[MARK_SCRUBBED] += store->scrub.counts.blocks;
    marks->count[MARK_CARRIED] += tac_read_side_totals(&store->read_side).pages_entered;
    marks->count[MARK_LEVEL0_CACHE] += store->stages.level0_cache.hit_count;
    marks->count[MARK_SCRUB_ROUND] += store->scrub.counts.rounds;
    marks->count[MARK_DELETE_RANGE_DROPPED] += totals->records_range_deleted;
    marks->plan_seen = marks->ranges_seen = 0;
}
