/* SPDX-License-Identifier: Apache-2.0 */
/* sweep -- see sweep.h. */
#include "pipeline/sweep.h"

#include <string.h>

#include "base/clock.h"
#include "base/mutant.h"
#include "base/units.h"
#include "pipeline/store.h"

#define SWEEP_PLANS_HELD_MAX 64

/* ---- keys ----------------------------------------------------------------------------------- */

static struct tac_bytes key_bytes(const struct tac_sweep_key *key)
{
    return (struct tac_bytes){key->bytes, key->size};
}

void tac_sweep_key_low(struct tac_sweep_key *key, struct tac_bytes bound)
{
    memset(key, 0, sizeof *key);
    key->size = (uint32_t)tac_min_u64(bound.size, TAC_SWEEP_KEY_BYTES);
    if (key->size > 0) {
        memcpy(key->bytes, bound.data, key->size);
    }
}

/* Above all keys that begin with what is kept: its last byte that can be is one more. */
void tac_sweep_key_high(struct tac_sweep_key *key, struct tac_bytes bound)
{
    tac_sweep_key_low(key, bound);
    if (bound.size <= TAC_SWEEP_KEY_BYTES) {
        return;
    }
    while (key->size > 0 && key->bytes[key->size - 1] == UINT8_MAX) {
        key->bytes[--key->size] = 0;
    }
    if (key->size > 0) {
        key->bytes[key->size - 1]++;
    }
}

/* The first rank whose key is not below the bound. */
static uint32_t rank_at(const struct tac_bytes *edge_keys, uint32_t edge_count,
                        struct tac_bytes bound)
{
    uint32_t low = 0, high = edge_count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (tac_bytes_compare(edge_keys[middle], bound) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* ---- a plan --------------------------------------------------------------------------------- */

void tac_sweep_input(const struct tac_sweep *sweep, const struct tac_bytes *edge_keys,
                     struct tac_plan_input *input)
{
    uint32_t count = input->edge_count;

    input->is_sweeping = true;
    input->sweep_level = sweep->level;
    input->sweep_edge_min = rank_at(edge_keys, count, key_bytes(&sweep->low));
    input->sweep_edge_place = sweep->place.size == 0
                                  ? input->sweep_edge_min
                                  : rank_at(edge_keys, count, key_bytes(&sweep->place));
    input->sweep_edge_end =
        sweep->high.size == 0 ? count : rank_at(edge_keys, count, key_bytes(&sweep->high));
}

void tac_sweep_planned(struct tac_sweep *sweep, const struct tac_plan *plan,
                       const struct tac_bytes *edge_keys)
{
    if (plan->sweep_level != sweep->level) {
        sweep->level = plan->sweep_level;
        memset(&sweep->place, 0, sizeof sweep->place);
    }
    if (plan->sweep_edge != TAC_EDGE_NONE) {
        tac_sweep_key_low(&sweep->place, edge_keys[plan->sweep_edge]);
    }
}

static bool is_same_place(const struct tac_sweep *a, const struct tac_sweep *b)
{
    return a->level == b->level &&
           tac_bytes_compare(key_bytes(&a->place), key_bytes(&b->place)) == 0;
}

void tac_sweep_move(struct tactus *store, bool is_kept)
{
    struct tac_bar   *bar = &store->bar;
    struct tac_sweep *sweep = &store->sweep;
    bool              is_moved;

    if (!bar->is_sweeping || bar->sweep.op != sweep->op) {
        return; /* None, or it has been cancelled since the plan was made */
    }
    is_moved = is_kept && !is_same_place(sweep, &bar->sweep);
    if (is_moved) {
        sweep->level = bar->sweep.level;
        sweep->place = bar->sweep.place;
    }
    sweep->plans_held = is_moved ? 0 : sweep->plans_held + 1;
    if (sweep->level >= tac_manifest_tree(store->manifest, sweep->tree)->planner.last_level) {
        tac_sweep_end(store, TACTUS_COMPACT_DONE);
    } else if (sweep->plans_held > SWEEP_PLANS_HELD_MAX) {
        tac_sweep_end(store, TACTUS_COMPACT_STUCK);
    }
}

void tac_sweep_bar_end(struct tactus *store)
{
    struct tac_sweep *sweep = &store->sweep;

    if (sweep->op != 0 && sweep->bars_wait > 0 && --sweep->bars_wait == 0) {
        tac_sweep_left(sweep, store->manifest, &sweep->bytes_total, &sweep->passes_total);
    }
}

/* ---- begin and end -------------------------------------------------------------------------- */

static void report_begin(struct tactus *store)
{
    const struct tac_manifest_tree *tree = tac_manifest_tree(store->manifest, store->sweep.tree);
    struct tac_sweep_report        *report = &store->sweep_report;
    uint64_t                        bytes;

    memset(report, 0, sizeof *report);
    report->begin_ns = tac_clock_now_ns();
    tac_sweep_left(&store->sweep, store->manifest, &bytes, &report->passes_begin_bytes);
    report->progress.op = store->sweep.op;
    report->progress.tree = tac_tree_id(tree->id, tree->generation);
}

void tac_sweep_begin(struct tactus *store, uint64_t op, uint32_t tree, struct tac_bytes low,
                     struct tac_bytes high)
{
    struct tac_sweep *sweep = &store->sweep;

    memset(sweep, 0, sizeof *sweep);
    sweep->op = op;
    sweep->tree = tree;
    sweep->bars_wait = TAC_MUTANT(SWEEP_TOO_SOON) ? 1 : TAC_SWEEP_BARS_WAIT;
    tac_sweep_key_low(&sweep->low, low);
    tac_sweep_key_high(&sweep->high, high);
    pthread_mutex_lock(&store->stats_lock);
    report_begin(store);
    tac_sweep_report(store);
    pthread_mutex_unlock(&store->stats_lock);
}

void tac_sweep_end(struct tactus *store, enum tactus_compact_state state)
{
    pthread_mutex_lock(&store->stats_lock);
    tac_sweep_report(store);
    memset(&store->sweep, 0, sizeof store->sweep);
    store->sweep_report.progress.state = state;
    store->sweep_report.progress.time_left_ns = 0;
    pthread_mutex_unlock(&store->stats_lock);
}

/* ---- what is told --------------------------------------------------------------------------- */

static bool table_is_in(const struct tac_table *table, struct tac_bytes from,
                        const struct tac_sweep_key *high)
{
    return tac_bytes_compare(table->key_max, from) >= 0 &&
           (high->size == 0 || tac_bytes_compare(table->key_min, key_bytes(high)) < 0);
}

void tac_sweep_left(const struct tac_sweep *sweep, struct tac_manifest *manifest,
                    uint64_t *ret_bytes, uint64_t *ret_passes)
{
    const struct tac_manifest_tree *tree = tac_manifest_tree(manifest, sweep->tree);
    uint32_t                        last = tree->planner.last_level;

    *ret_bytes = *ret_passes = 0;
    for (uint32_t l = sweep->level; l < last; l++) {
        const struct tac_manifest_level *level = &tree->levels[l];
        struct tac_bytes                 from =
            key_bytes(l == sweep->level && sweep->place.size > 0 ? &sweep->place : &sweep->low);

        for (uint32_t i = 0; i < level->table_count; i++) {
            if (table_is_in(level->tables[i], from, &sweep->high)) {
                *ret_bytes += level->tables[i]->bytes;
                *ret_passes += level->tables[i]->bytes * (last - l);
            }
        }
    }
}

static uint64_t ratio(uint64_t value, uint64_t numerator, uint64_t denominator)
{
    unsigned __int128 product = (unsigned __int128)value * numerator / denominator;

    return product > UINT64_MAX ? UINT64_MAX : (uint64_t)product;
}

void tac_sweep_report(struct tactus *store)
{
    const struct tac_sweep         *sweep = &store->sweep;
    struct tac_sweep_report        *report = &store->sweep_report;
    struct tactus_compact_progress *progress = &report->progress;
    uint64_t                        done_bytes;

    if (sweep->op == 0) {
        return;
    }
    if (sweep->op != progress->op) {
        report_begin(store); /* It comes from the checkpoint that was opened */
    }
    tac_sweep_left(sweep, store->manifest, &progress->left_bytes, &progress->passes_left_bytes);
    progress->state = sweep->bars_wait > 0 ? TACTUS_COMPACT_FLUSHING : TACTUS_COMPACT_RUNNING;
    progress->level = sweep->level;
    progress->total_bytes = sweep->bars_wait > 0 ? progress->left_bytes : sweep->bytes_total;
    progress->passes_total_bytes =
        sweep->bars_wait > 0 ? progress->passes_left_bytes : sweep->passes_total;
    progress->elapsed_ns = tac_clock_now_ns() - report->begin_ns;
    if (sweep->bars_wait > 0) {
        report->passes_begin_bytes = progress->passes_left_bytes;
    }
    done_bytes = tac_subtract_floor_zero(report->passes_begin_bytes, progress->passes_left_bytes);
    progress->bytes_per_second =
        ratio(done_bytes, TAC_SECOND_NS, tac_max_u64(progress->elapsed_ns, 1));
    progress->time_left_ns =
        done_bytes == 0 ? UINT64_MAX
                        : ratio(progress->passes_left_bytes, progress->elapsed_ns, done_bytes);
}
