/* SPDX-License-Identifier: Apache-2.0 */
/* store_delete_range -- ranges that are deleted, beside all else that a list does. The model
 * deletes key by key. */
#include <string.h>

#include "base/units.h"
#include "tests/sim/store_sim.h"

/* A bound: the key's bytes; or, open, what is at or below all keys, or above them and longer. */
struct bound {
    uint8_t bytes[TACTUS_KEY_SIZE_MAX];
    size_t  size;
};

static void bound_make(const struct sim *sim, uint32_t tree, uint32_t key, uint8_t open_byte,
                       struct bound *bound)
{
    const struct store_model_tree *at = &sim->model->trees[tree];

    if (key != STORE_MODEL_NONE) {
        memcpy(bound->bytes, at->keys[key].bytes, at->keys[key].size);
        bound->size = at->keys[key].size;
        return;
    }
    bound->size =
        open_byte == 0 ? 1 : tac_min_u64(at->spec.layout.key_size + 3, TACTUS_KEY_SIZE_MAX);
    memset(bound->bytes, open_byte, bound->size);
}

uint32_t sim_delete_range_keys(const struct sim *sim, const struct sim_bounds *range,
                               uint32_t *ret_low)
{
    *ret_low = range->low == STORE_MODEL_NONE ? 0 : range->low;
    return range->high == STORE_MODEL_NONE ? sim->model->trees[range->tree].key_count : range->high;
}

int sim_delete_range(struct sim *sim, const struct sim_bounds *range)
{
    uint64_t     before = tactus_last_op(sim->store), op = 0;
    struct bound low, high;
    int          result;

    bound_make(sim, range->tree, range->low, 0, &low);
    bound_make(sim, range->tree, range->high, UINT8_MAX, &high);
    result = tactus_delete_range(sim->store, sim->model->trees[range->tree].id, low.bytes, low.size,
                                 high.bytes, high.size, &op);
    if (result == TACTUS_OK && op != before + 1) {
        sim_fail(sim, "delete range: op %llu after %llu", (unsigned long long)op,
                 (unsigned long long)before);
    }
    return result;
}

/* From near the op's key on: half of them of some keys, half of any number; one in sixteen is open
 * below, and one above. */
static struct sim_bounds bounds_draw(const struct sim *sim, const struct sim_op *op,
                                     struct tac_prng *prng)
{
    uint32_t          count = sim->model->trees[op->tree].key_count;
    uint64_t          most = tac_prng_below(prng, 2) == 0 || op->size != 0 ? 8 : count;
    struct sim_bounds range = {.tree = op->tree};
    uint64_t          high;

    range.low = (uint32_t)(op->key + tac_prng_below(prng, 1 + 4 * (uint64_t)op->count)) % count;
    high = range.low + 1 + tac_prng_below(prng, most);
    range.high = high >= count ? STORE_MODEL_NONE : (uint32_t)high;
    if (op->size == 0) {
        range.high = tac_prng_below(prng, 16) == 0 ? STORE_MODEL_NONE : range.high;
        range.low = tac_prng_below(prng, 16) == 0 ? STORE_MODEL_NONE : range.low;
    }
    return range;
}

/* Does it meet records of tables, and of a memtable? */
static bool is_wide(const struct sim *sim, const struct sim_bounds *range)
{
    uint32_t key, end = sim_delete_range_keys(sim, range, &key);
    bool     has_tables = false, has_memtables = false;

    for (; key < end; key++) {
        const struct store_model_version *version =
            store_model_get(sim->model, range->tree, key, sim->model->op);
        bool is_in_tables = version != NULL && version->op <= sim->store->persisted_op;

        has_tables |= is_in_tables;
        has_memtables |= version != NULL && !is_in_tables;
    }
    return has_tables && has_memtables;
}

/* There are as many as there can be, and compaction is held back; or the store is full. */
static bool may_be_full(const struct sim *sim)
{
    return sim->world->is_small || sim->is_held || sim->faults.is_damaged ||
           sim->world->tight_plan_every > 0;
}

void sim_run_delete_range(struct sim *sim, const struct sim_op *op)
{
    struct tac_prng prng = {tac_mix_u64(op->seed)};

    for (uint32_t i = 0; i < op->count; i++) {
        struct sim_bounds range = bounds_draw(sim, op, &prng);
        bool              was_wide = is_wide(sim, &range);
        int               result = sim_log_range(sim, SIM_RECORD_DELETE_RANGE, &range);

        if (result == TACTUS_EFULL && may_be_full(sim)) {
            return;
        }
        if (!sim_result(sim, result, "delete range")) {
            return;
        }
        sim->report->marks.count[MARK_DELETE_RANGE]++;
        sim->report->marks.count[MARK_DELETE_RANGE_WIDE] += was_wide;
    }
}
