/* SPDX-License-Identifier: Apache-2.0 */
/* bar_discards -- discarded tables give their blocks back: each is a job that reads the table's
 * index block, as any job does, and nothing else, and that writes nothing; its commit releases what
 * the block names (commit.c). They are part of the plan's work, and come first in it: of a full
 * store they are what makes room.
 *
 * Retained tables that no snapshot has any more go the same way: they need not be discarded before.
 *
 * Which     by tree, then by id: from the manifest alone, and from which snapshots there are. Those
 *           found damaged stay.
 * How many  order->discards_max, as far as there is room for their events in the manifest log;
 *           always TAC_BAR_DISCARDS_LEAST, for which checkpoints keep the room (space.c). */
#include "base/units.h"
#include "lsm/manifest_log.h"
#include "pipeline/bar_internal.h"

static const struct tac_cut whole = {.limit_bytes = TAC_PLAN_LIMIT_NONE};

bool tac_bar_has_log_room(const struct tac_bar *bar, const struct tac_bar_order *order,
                          uint64_t bytes)
{
    uint64_t log_blocks = tac_manifest_log_blocks_for_bytes(
        &bar->geometry, bar->log_bytes + bytes + order->log_flush_bytes, order->key_size_max);

    return log_blocks <= order->log_blocks_max &&
           tac_free_set_free_count(order->free_set) >=
               order->blocks_kept + log_blocks + tac_bar_log_carry(bar);
}

static uint64_t discards_count(const struct tac_bar *bar, const struct tac_bar_order *order)
{
    uint64_t left = tac_manifest_discards_left(order->manifest) +
                    tac_snapshot_directory_unneeded(order->snapshots, order->manifest);
    uint64_t count = tac_min_u64(left, tac_min_u64(order->discards_max, TAC_BAR_DISCARDS_MAX));
    uint64_t bytes = tac_manifest_log_event_bytes(order->key_size_max); /* Of one */

    while (count > TAC_BAR_DISCARDS_LEAST && !tac_bar_has_log_room(bar, order, count * bytes)) {
        count = tac_max_u64(count / 2, TAC_BAR_DISCARDS_LEAST);
    }
    return count;
}

/* One table, one source, no output. */
static struct tac_job *job_make(struct tac_bar *bar, const struct tac_manifest_tree *tree,
                                const struct tac_bar_input *input)
{
    struct tac_job *job = tac_bar_allocate(bar, 1, sizeof *job);

    if (job == NULL) {
        return NULL;
    }
    job->inputs = tac_bar_allocate(bar, 1, sizeof *job->inputs);
    job->chains = tac_bar_allocate(bar, 1, sizeof *job->chains);
    if (job->inputs == NULL || job->chains == NULL) {
        return NULL;
    }
    job->is_discard = true;
    job->layout = tree->layout;
    job->tree = tree->id;
    job->compaction = bar->compaction_count;
    job->bytes = bar->geometry.block_size;
    job->cuts = &whole;
    job->cut_count = 1;
    job->inputs[0] = (struct tac_job_input){.table = input->table, .addresses = input->addresses};
    job->input_count = 1;
    job->chains[0].input_count = 1;
    job->chain_count = 1;
    return job;
}

/* False: the plan's memory is full. */
static bool discard_make(struct tac_bar *bar, const struct tac_manifest_tree *tree,
                         struct tac_table *table)
{
    struct tac_bar_compaction discard = {
        .kind = TAC_PLAN_DISCARD,
        .tree = tree->id,
        .inputs = tac_bar_allocate(bar, 1, sizeof *discard.inputs),
        .input_count = 1,
        .job_first = bar->job_count,
        .job_count = 1,
        .bytes = bar->geometry.block_size,
    };
    struct tac_job *job;

    if (discard.inputs == NULL || !tac_bar_input_make(bar, discard.inputs, table)) {
        return false;
    }
    job = job_make(bar, tree, discard.inputs);
    if (job == NULL) {
        return false;
    }
    tac_assert(bar->job_count < TAC_BAR_JOBS_MAX &&
               bar->compaction_count < TAC_BAR_COMPACTIONS_MAX);
    bar->jobs[bar->job_count++] = job;
    bar->bytes += job->bytes;
    bar->log_bytes += tac_manifest_log_event_bytes(tree->layout.key_size);
    bar->compactions[bar->compaction_count++] = discard;
    bar->discard_count++;
    return true;
}

/* Up to `count` of the plan. False: the plan's memory is full. */
static bool tree_take(struct tac_bar *bar, const struct tac_bar_order *order,
                      const struct tac_manifest_tree *tree, uint64_t count)
{
    const struct tac_manifest_discards *discards = &tree->discards;
    const struct tac_manifest_retained *retained = &tree->retained;

    for (uint32_t i = 0; i < discards->table_count && bar->discard_count < count; i++) {
        if (!discards->tables[i]->is_damaged && !discard_make(bar, tree, discards->tables[i])) {
            return false;
        }
    }
    for (uint32_t i = 0; i < retained->table_count && bar->discard_count < count; i++) {
        if (!tac_snapshot_directory_needs(order->snapshots, retained->tables[i]) &&
            !discard_make(bar, tree, retained->tables[i])) {
            return false;
        }
    }
    return true;
}

void tac_bar_take_discards(struct tac_bar *bar, const struct tac_bar_order *order)
{
    uint64_t count = discards_count(bar, order);
    uint32_t tree_count = tac_manifest_tree_count(order->manifest);

    tac_assert(bar->compaction_count == 0);
    for (uint32_t i = 0; i < tree_count && bar->discard_count < count; i++) {
        if (!tree_take(bar, order, tac_manifest_tree(order->manifest, i), count)) {
            return;
        }
    }
}
