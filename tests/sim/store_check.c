/* SPDX-License-Identifier: Apache-2.0 */
/* store_check -- what must hold of a store, by its model and by itself. */
#include <string.h>

#include "base/units.h"
#include "tests/lib/blocks_in_use.h"
#include "tests/sim/store_sim.h"

#define FULL_TRIES_MAX 20

bool sim_result(struct sim *sim, int code, const char *what)
{
    if (code == TACTUS_OK) {
        return true;
    }
    if (!sim->disk.has_crashed && !sim_is_refused(sim, code) &&
        !(sim->faults.has_stopped && code == TACTUS_EPOISONED)) {
        sim_fail(sim, "%s: %d (%s) %s", what, code, tactus_strerror(code), tactus_message());
    }
    return false;
}

/* ---- records -------------------------------------------------------------------------------- */

void sim_check_value(struct sim *sim, uint32_t tree, uint32_t key,
                     const struct store_model_version *version, const uint8_t *value,
                     size_t value_size)
{
    store_model_value(version->value_seed, version->value_size, sim->expected);
    if (value_size != version->value_size ||
        (value_size > 0 && memcmp(value, sim->expected, value_size) != 0)) {
        sim_fail(sim, "tree %u key %u: another value (%zu bytes) than that of op %llu (%u bytes)",
                 tree, key, value_size, (unsigned long long)version->op, version->value_size);
    }
}

void sim_check_record(struct sim *sim, const struct tactus_iterator *iterator, uint32_t tree,
                      uint32_t key, uint64_t op)
{
    const struct store_model_key     *expected = &sim->model->trees[tree].keys[key];
    const struct store_model_version *version = store_model_get(sim->model, tree, key, op);
    const void                       *key_bytes, *value;
    size_t                            key_size, value_size;

    tac_assert(version != NULL);
    tactus_iterator_record(iterator, &key_bytes, &key_size, &value, &value_size);
    if (key_size != expected->size || memcmp(key_bytes, expected->bytes, key_size) != 0) {
        sim_fail(sim, "iterator in tree %u as of op %llu: another key than number %u", tree,
                 (unsigned long long)op, key);
    }
    sim_check_value(sim, tree, key, version, value, value_size);
}

/* One get in two leaves the value where it is; the other copies it into the buffer. */
static int value_get(struct sim *sim, uint32_t tree, const struct store_model_key *key,
                     struct tactus_value *ret_value)
{
    if (key->bytes[key->size - 1] % 2 == 0) {
        return tactus_get_pinned(sim->store, tree, key->bytes, key->size, ret_value);
    }
    *ret_value = (struct tactus_value){.data = sim->buffer};
    return tactus_get(sim->store, tree, key->bytes, key->size, sim->buffer,
                      sim->world->options.block_size, &ret_value->size);
}

/* What a get of the key has said. */
static void get_check(struct sim *sim, uint32_t tree, uint32_t key, int result,
                      const struct tactus_value *value)
{
    const struct store_model_version *version =
        store_model_get(sim->model, tree, key, sim->model->op);

    if (result == TACTUS_ENOTFOUND && version == NULL) {
        return;
    }
    if (result == TACTUS_ENOTFOUND) {
        sim_fail(sim, "tree %u key %u: not found, was put by op %llu", tree, key,
                 (unsigned long long)version->op);
    }
    if (!sim_read_result(sim, result, "get")) {
        return;
    }
    if (version == NULL) {
        sim_fail(sim, "tree %u key %u: found, but it is not there", tree, key);
    }
    sim_check_value(sim, tree, key, version, value->data, value->size);
    sim->report->marks.count[MARK_LARGE_RECORD] +=
        value->size > sim->world->options.page_size && version->op <= sim->store->persisted_op;
}

void sim_check_get(struct sim *sim, uint32_t tree, uint32_t key)
{
    const struct store_model_tree *at = &sim->model->trees[tree];
    struct tactus_value            value = {0};
    int                            result = value_get(sim, at->id, &at->keys[key], &value);

    get_check(sim, tree, key, result, &value);
    tactus_value_release(&value);
}

void sim_check_get_many(struct sim *sim, uint32_t tree, uint32_t key, uint32_t count, uint32_t step)
{
    const struct store_model_tree *at = &sim->model->trees[tree];
    struct tactus_lookup           lookups[SIM_LOOKUPS_MAX];
    uint64_t misses = tac_read_side_totals(&sim->store->read_side).cache_misses;

    tac_assert(count <= SIM_LOOKUPS_MAX);
    for (uint32_t i = 0; i < count; i++) {
        const struct store_model_key *bytes = &at->keys[(key + i * step) % at->key_count];

        lookups[i] = (struct tactus_lookup){.key = bytes->bytes, .key_size = bytes->size};
    }
    (void)tactus_get_many(sim->store, at->id, lookups, count);
    for (uint32_t i = 0; i < count; i++) {
        get_check(sim, tree, (key + i * step) % at->key_count, lookups[i].code, &lookups[i].value);
        tactus_value_release(&lookups[i].value);
    }
    sim->report->marks.count[MARK_GET_MANY] +=
        count > 1 && tac_read_side_totals(&sim->store->read_side).cache_misses > misses + 1;
}

static bool scan(struct sim *sim, struct tactus_iterator *iterator, uint32_t tree, uint64_t op,
                 bool is_backward)
{
    const struct store_model *model = sim->model;
    uint32_t                  count = model->trees[tree].key_count;
    uint32_t expected = is_backward ? store_model_previous(model, tree, count - 1, op)
                                    : store_model_next(model, tree, 0, op);
    int result = is_backward ? tactus_iterator_last(iterator) : tactus_iterator_first(iterator);

    while (expected != STORE_MODEL_NONE) {
        if (result == TACTUS_ENOTFOUND) {
            sim_fail(sim, "scan %s of tree %u ends before key %u",
                     is_backward ? "backward" : "forward", tree, expected);
        }
        if (!sim_read_result(sim, result, "scan")) {
            return false;
        }
        sim_check_record(sim, iterator, tree, expected, op);
        if (is_backward) {
            expected = expected == 0 ? STORE_MODEL_NONE
                                     : store_model_previous(model, tree, expected - 1, op);
            result = tactus_iterator_previous(iterator);
        } else {
            expected = store_model_next(model, tree, expected + 1, op);
            result = tactus_iterator_next(iterator);
        }
    }
    if (result == TACTUS_OK) {
        sim_fail(sim, "scan %s of tree %u: a record behind the last one",
                 is_backward ? "backward" : "forward", tree);
    }
    return result == TACTUS_ENOTFOUND || sim_read_result(sim, result, "scan");
}

void sim_check_scan(struct sim *sim, struct tactus_iterator *iterator, uint32_t tree, uint64_t op)
{
    (void)scan(sim, iterator, tree, op, false);
    (void)scan(sim, iterator, tree, op, true);
}

void sim_check_tree(struct sim *sim, uint32_t tree)
{
    struct tactus_iterator *iterator;
    int result = tactus_iterator_open(sim->store, sim->model->trees[tree].id, &iterator);

    if (sim_read_result(sim, result, "iterator open")) {
        sim_check_scan(sim, iterator, tree, sim->model->op);
        tactus_iterator_close(iterator);
    }
}

/* ---- structure ------------------------------------------------------------------------------ */

/* Every acquired block is one of those that the manifest, its log, the free set and the superblocks
 * take: as many, that is; which ones, tactus_verify finds out. */
static void accounting_check(struct sim *sim)
{
    struct tactus *store = sim->store;
    uint64_t       blocks = blocks_in_use(store);

    if (tac_free_set_acquired_count(store->free_set) != blocks) {
        sim_fail(sim, "%llu blocks are acquired, %llu are in use",
                 (unsigned long long)tac_free_set_acquired_count(store->free_set),
                 (unsigned long long)blocks);
    }
}

/* No level is deeper than 4R, and compaction does not fall behind. Over damage it is where writes
 * begin to be refused; what has been taken still comes. */
static void depth_check(struct sim *sim)
{
    struct tac_manifest *manifest = sim->store->manifest;
    uint32_t             runs = sim->world->options.runs_per_level;
    uint32_t             most = sim->faults.is_damaged ? 5 * runs + 8 : 4 * runs;

    for (uint32_t i = 0; i < tac_manifest_tree_count(manifest); i++) {
        const struct tac_manifest_tree *tree = tac_manifest_tree(manifest, i);

        for (uint32_t level = 0; level < tree->planner.last_level; level++) {
            uint32_t depth = tac_manifest_level_depth(&tree->levels[level]);

            if (depth > most) {
                sim_fail(sim, "level %u of tree %u is %u deep, at most %u", level, i, depth, most);
            }
        }
    }
}

static void bar_check(struct sim *sim)
{
    struct tac_error error;

    if (tac_manifest_check(sim->store->manifest, &error) != TACTUS_OK) {
        sim_fail(sim, "manifest: %s", error.message);
    }
    accounting_check(sim);
    if (sim->is_held) {
        sim->report->marks.count[MARK_HELD] += sim->store->is_held;
    } else if (sim->world->tight_plan_every == 0) {
        depth_check(sim);
    }
}

void sim_check_op(struct sim *sim)
{
    struct tactus *store = sim->store;
    uint64_t       durable_op = tactus_durable_op(store);

    marks_observe(&sim->report->marks, store);
    if (tac_store_is_poisoned(store)) {
        sim_fail(sim,
                 "poisoned: %s (%llu blocks free, %llu acquired, %llu released, %u tables free)",
                 store->poison_error.message,
                 (unsigned long long)tac_free_set_free_count(store->free_set),
                 (unsigned long long)tac_free_set_acquired_count(store->free_set),
                 (unsigned long long)tac_free_set_released_count(store->free_set),
                 tac_manifest_tables_free(store->manifest));
    }
    if (store->scrub.counts.damages > 0 && !sim->faults.is_damaged) {
        sim_fail(sim, "the scrub found damage: %s", store->scrub.counts.damage);
    }
    if (tactus_last_op(store) != sim->model->op) {
        sim_fail(sim, "the last op is %llu, should be %llu",
                 (unsigned long long)tactus_last_op(store), (unsigned long long)sim->model->op);
    }
    if (durable_op < sim->durable_op || durable_op > sim->model->op) {
        sim_fail(sim, "op %llu is durable, was %llu; the last op is %llu",
                 (unsigned long long)durable_op, (unsigned long long)sim->durable_op,
                 (unsigned long long)sim->model->op);
    }
    sim->report->marks.count[MARK_BACKGROUND_CHECKPOINT] +=
        durable_op > sim->durable_op && durable_op + 8 < sim->model->op;
    sim->durable_op = durable_op;
    if (store->bar_count != sim->bar_checked) {
        sim->bar_checked = store->bar_count;
        bar_check(sim);
    }
    sim_events_check(sim);
    sim_rate_check(sim);
}

static void damage_report(void *context, const char *text)
{
    struct sim *sim = context;

    if (!sim->faults.is_damaged) {
        sim_fail(sim, "verify: %s", text);
    }
    sim->damages++;
}

void sim_check_quiet(struct sim *sim)
{
    struct tactus              *store = sim->store;
    struct tactus_verify_report report;
    struct tactus_stats         stats;

    for (uint32_t i = 0; i < TAC_MEMTABLES; i++) {
        if ((i == store->memtable_mutable || store->memtables[i] == store->immutable_table) &&
            tac_memtable_accounted(store->memtables[i]) > 0) {
            sim_fail(sim, "a memtable is not empty after a drain");
        }
    }
    if (tactus_durable_op(store) < sim->model->op) {
        sim_fail(sim, "drained, but only op %llu of %llu is durable",
                 (unsigned long long)tactus_durable_op(store), (unsigned long long)sim->model->op);
    }
    bar_check(sim);
    tactus_stat(store, &stats);
    if (stats.last_op != sim->model->op || stats.durable_op != tactus_durable_op(store)) {
        sim_fail(sim, "statistics: last op %llu, durable op %llu",
                 (unsigned long long)stats.last_op, (unsigned long long)stats.durable_op);
    }
    (void)sim_read_result(sim, tactus_verify(store, damage_report, sim, &report), "verify");
}

/* ---- after an open -------------------------------------------------------------------------- */

/* The trees of the file are those of the model; a tree's id may be another one than before. */
static void trees_check(struct sim *sim)
{
    struct tactus_tree_info infos[STORE_MODEL_TREES_MAX];
    uint32_t                count = 0, expected = 0;

    if (tactus_tree_list(sim->store, infos, STORE_MODEL_TREES_MAX, &count) != TACTUS_OK ||
        count > STORE_MODEL_TREES_MAX) {
        sim_fail(sim, "tree list: %u trees", count);
    }
    for (uint32_t i = 0; i < sim->model->tree_count; i++) {
        struct store_model_tree *tree = &sim->model->trees[i];
        char                     name[16];
        int                      result;

        snprintf(name, sizeof name, "tree-%u", i);
        result = tactus_tree_find(sim->store, name, &tree->id);
        if (result != TACTUS_OK && tree->created_op != STORE_MODEL_NEVER) {
            sim_fail(sim, "tree %u is not there after op %llu", i,
                     (unsigned long long)sim->model->op);
        }
        if (result == TACTUS_OK && tree->created_op == STORE_MODEL_NEVER) {
            sim_fail(sim, "tree %u is there, which it was not at op %llu", i,
                     (unsigned long long)sim->model->op);
        }
        expected += result == TACTUS_OK;
    }
    if (count != expected) {
        sim_fail(sim, "%u trees, should be %u", count, expected);
    }
}

void sim_check_reopened(struct sim *sim, uint64_t durable_op, uint64_t other_op, bool is_range)
{
    uint64_t op = tactus_durable_op(sim->store);
    bool     is_legal =
        op == durable_op || op == other_op || (is_range && op >= durable_op && op <= other_op);

    if (!is_legal || op != tactus_last_op(sim->store)) {
        sim_fail(sim, "opened at op %llu of %llu, should be %llu or %llu", (unsigned long long)op,
                 (unsigned long long)tactus_last_op(sim->store), (unsigned long long)durable_op,
                 (unsigned long long)other_op);
    }
    sim->report->marks.count[MARK_FELL_BACK] += op < sim->model->op;
    sim->report->marks.count[MARK_IN_FLIGHT] += op > durable_op;
    store_model_truncate(sim->model, op);
    sim->durable_op = op;
    trees_check(sim);
    sim_check_quiet(sim);
    sim_check_snapshots(sim);
    for (uint32_t tree = 0; tree < sim->model->tree_count; tree++) {
        if (sim->model->trees[tree].created_op != STORE_MODEL_NEVER) {
            sim_check_tree(sim, tree);
        }
    }
}

void sim_check_replayed(struct sim *sim)
{
    struct tactus_verify_report report;

    trees_check(sim);
    sim_check_snapshots(sim);
    for (uint32_t tree = 0; tree < sim->model->tree_count; tree++) {
        if (sim->model->trees[tree].created_op != STORE_MODEL_NEVER) {
            sim_check_tree(sim, tree);
        }
    }
    (void)sim_read_result(sim, tactus_verify(sim->store, damage_report, sim, &report), "verify");
}

/* In a full store deletes may be refused until compaction has made room; but it does. */
static void bare_delete(struct sim *sim, uint32_t tree, uint32_t key)
{
    const struct store_model_tree *at = &sim->model->trees[tree];
    const struct store_model_key  *bytes = &at->keys[key];
    struct store_model_version     gone = {.is_tombstone = true};
    int                            result = TACTUS_EFULL;

    for (uint32_t i = 0; i < FULL_TRIES_MAX && result == TACTUS_EFULL; i++) {
        result = tactus_delete(sim->store, at->id, bytes->bytes, bytes->size);
        if (result == TACTUS_EFULL && sim->world->is_small) {
            (void)sim_result(sim, tactus_checkpoint(sim->store), "checkpoint");
            sim->model->op = tactus_last_op(sim->store); /* The refusal may have taken one too. */
        }
    }
    if (sim_result(sim, result, "delete")) {
        store_model_write(sim->model, tree, key, ++sim->model->op, &gone);
    }
}

void sim_check_bare(struct sim *sim)
{
    struct tactus *store = sim->store;
    uint64_t       bare;

    (void)sim_result(sim, tactus_resume(store), "resume");
    sim->is_paused = false;
    sim_snapshots_release(sim);
    for (uint32_t tree = 0; tree < sim->model->tree_count; tree++) {
        struct store_model_tree *at = &sim->model->trees[tree];

        for (uint32_t key = 0; at->created_op != STORE_MODEL_NEVER && key < at->key_count; key++) {
            if (store_model_get(sim->model, tree, key, sim->model->op) != NULL) {
                bare_delete(sim, tree, key);
            }
        }
        if (at->created_op != STORE_MODEL_NEVER) {
            int result = tactus_compact(store, at->id);

            sim->model->op++;
            sim_check_tree(sim, tree);
            if (result == TACTUS_EFULL && sim->world->is_small) {
                return; /* Too full to compact: nothing is lost, but nothing is gained. */
            }
            (void)sim_result(sim, result, "compact");
        }
    }
    (void)sim_result(sim, tactus_drain(store), "drain"); /* Of what dropped trees have left */
    (void)sim_result(sim, tactus_checkpoint(store), "checkpoint");
    (void)sim_result(sim, tactus_checkpoint(store), "checkpoint");
    bare = TAC_SUPERBLOCK_COPIES + store->checkpoint.next.free_set_block_count +
           tac_manifest_log_block_count(store->manifest_log);
    if (tac_manifest_table_count(store->manifest) != 0 ||
        tac_free_set_acquired_count(store->free_set) != bare) {
        sim_fail(sim, "everything was deleted: %llu tables, %llu blocks in use, should be %llu",
                 (unsigned long long)tac_manifest_table_count(store->manifest),
                 (unsigned long long)tac_free_set_acquired_count(store->free_set),
                 (unsigned long long)bare);
    }
}
