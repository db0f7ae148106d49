/* SPDX-License-Identifier: Apache-2.0 */
/* What is told of a plan: it is the plan that is carried out, with a reason for each of its
 * compactions, and what is due besides. */
#include <string.h>

#include "base/prng.h"
#include "pipeline/store.h"
#include "tactus.h"
#include "tests/lib/small_options.h"
#include "tests/lib/tap.h"

#define VALUE_BYTES 100
#define BARS 200

struct seen {
    uint32_t kinds[4], reasons[6];
    uint32_t due_depth, due_size, due_by_hand;
    bool     is_right;
};

static struct tactus_plan_entry entries[TACTUS_PLAN_ENTRIES_MAX];

static struct tactus *store_open(uint32_t runs, uint32_t *ret_tree)
{
    struct tactus_options options;
    struct tactus_layout  layout = {TACTUS_LAYOUT_VARIABLE, 100, VALUE_BYTES};
    struct tactus        *store;

    small_options(&options);
    options.table_size = 16 * TAC_KIB;
    options.runs_per_level = runs;
    options.file_size_max = TAC_GIB;
    options.backend = TACTUS_BACKEND_MEMORY;
    if (tactus_open("plan", &options, &store) != TACTUS_OK ||
        tactus_tree_create(store, "t", &layout, ret_tree) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
    return store;
}

/* One of two keys is longer than an entry has room for. */
static void put(struct tactus *store, uint32_t tree, uint64_t number)
{
    uint64_t key[12] = {__builtin_bswap64(tac_mix_u64(number % 2 == 0 ? number : number / 3))};
    uint8_t  value[VALUE_BYTES] = {0};

    if (tactus_put(store, tree, key, number % 2 == 0 ? 8 : sizeof key, value, sizeof value) !=
        TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
}

static bool is_level_pair(const struct tactus_plan_entry *entry)
{
    uint32_t step = entry->kind == TACTUS_PLAN_FLUSH || entry->kind == TACTUS_PLAN_IN_PLACE ? 0 : 1;

    return entry->level_to == entry->level_from + step;
}

static bool is_range(const struct tactus_plan_entry *entry)
{
    uint32_t low = (uint32_t)tac_min_u64(entry->low_size, TACTUS_PLAN_KEY_BYTES);
    uint32_t high = (uint32_t)tac_min_u64(entry->high_size, TACTUS_PLAN_KEY_BYTES);

    return low > 0 && high > 0 &&
           tac_bytes_compare((struct tac_bytes){entry->low, low},
                             (struct tac_bytes){entry->high, high}) <= 0;
}

/* The entries are the compactions of the bar that is under way. */
static void plan_look(struct tactus *store, struct seen *seen)
{
    const struct tac_bar *bar = &store->bar;
    uint64_t              bytes = 0;
    uint32_t              count, planned = 0;

    tac_writer_plan_wait(store);
    if (tactus_plan(store, entries, TACTUS_PLAN_ENTRIES_MAX, &count) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
    for (uint32_t i = 0; i < count; i++) {
        const struct tactus_plan_entry *entry = &entries[i];

        if (entry->is_due) {
            seen->due_depth += entry->reason == TACTUS_PLAN_FOR_DEPTH && entry->tables > 0;
            seen->due_size += entry->reason == TACTUS_PLAN_FOR_SIZE && entry->input_bytes > 0;
            seen->due_by_hand += entry->reason == TACTUS_PLAN_BY_HAND;
            continue;
        }
        planned++;
        seen->kinds[entry->kind]++;
        seen->reasons[entry->reason]++;
        bytes += entry->input_bytes;
        seen->is_right =
            seen->is_right && is_level_pair(entry) && is_range(entry) &&
            entry->tables == bar->compactions[i].input_count &&
            (entry->kind == TACTUS_PLAN_MOVE) == (entry->input_bytes == 0) &&
            (entry->kind == TACTUS_PLAN_FLUSH) == (entry->reason == TACTUS_PLAN_FOR_FLUSH);
    }
    seen->is_right =
        seen->is_right && planned == bar->compaction_count && bytes == store->totals.bar_work_bytes;
}

static struct seen bars_run(uint32_t runs, bool is_swept)
{
    struct seen    seen = {.is_right = true};
    uint32_t       tree;
    struct tactus *store = store_open(runs, &tree);
    uint64_t       bar = 0, number = 0;

    while (bar < BARS) {
        put(store, tree, number++);
        if (store->bar_count == bar) {
            continue;
        }
        bar = store->bar_count;
        plan_look(store, &seen);
        if (is_swept && bar % 40 == 0 && store->sweep.op == 0 &&
            tactus_compact_range(store, tree, "\x40", 1, NULL, 0) != TACTUS_OK) {
            tap_bail("%s", tactus_message());
        }
    }
    (void)tactus_close(store);
    return seen;
}

int main(void)
{
    struct seen    seen;
    uint32_t       tree, count = 7;
    struct tactus *store;

    tap_plan(0);
    seen = bars_run(8, false);
    tap_ok(seen.is_right, "what is told is what is planned, with levels, tables, bytes and keys");
    tap_ok(seen.kinds[TACTUS_PLAN_FLUSH] > BARS / 2 && seen.kinds[TACTUS_PLAN_MERGE] > 0 &&
               seen.reasons[TACTUS_PLAN_FOR_DEPTH] > 0 && seen.reasons[TACTUS_PLAN_FOR_SIZE] > 0 &&
               seen.reasons[TACTUS_PLAN_FORWARD] > 0,
           "for depth, for size, and ahead of its time");
    tap_ok(seen.reasons[TACTUS_PLAN_BY_HAND] + seen.due_by_hand +
                   seen.reasons[TACTUS_PLAN_FOR_SPACE] ==
               0,
           "nothing by hand, nothing for space");
    tap_ok(seen.due_depth + seen.due_size > 0, "what was left for later is told too");
    seen = bars_run(4, true);
    tap_ok(seen.is_right && seen.reasons[TACTUS_PLAN_BY_HAND] > 0 && seen.due_by_hand > 0,
           "what is done for a range, and what is left of it");
    seen = bars_run(1, false);
    tap_ok(seen.is_right && seen.kinds[TACTUS_PLAN_MERGE] > 0, "with runs of 1 too");
    store = store_open(8, &tree);
    tap_ok(tactus_plan(store, NULL, 0, &count) == TACTUS_OK && count == 0,
           "an empty store has no plan");
    (void)tactus_close(store);
    return tap_done();
}
