/* SPDX-License-Identifier: Apache-2.0 */
/* store_iterators -- the simulator's iterators: opened with bounds and without, moved, and compared
 * with the model as of their opening. */
#include <string.h>

#include "base/units.h"
#include "pipeline/store.h"
#include "tests/sim/store_sim.h"

/* A key to seek: one of the tree's, or bytes near one. */
static uint32_t seek_key(const struct store_model_tree *tree, uint32_t number,
                         struct tac_prng *prng, uint8_t *bytes)
{
    const struct store_model_key *key = &tree->keys[number % tree->key_count];
    uint32_t                      size = key->size;

    memcpy(bytes, key->bytes, size);
    switch (tac_prng_below(prng, 4)) {
    case 0:
        bytes[size++] = (uint8_t)tac_prng_next(prng);
        break;
    case 1:
        size = 1 + (uint32_t)tac_prng_below(prng, size);
        break;
    case 2:
        bytes[size - 1]++;
        break;
    default:
        break;
    }
    return size;
}

enum move {
    MOVE_FIRST,
    MOVE_LAST,
    MOVE_SEEK,
    MOVE_SEEK_BACK,
    MOVE_NEXT,
    MOVE_PREVIOUS
};

/* What is left of a move's goal by the bounds. */
static uint32_t within_bounds(const struct sim_iterator *it, uint32_t number)
{
    return number != STORE_MODEL_NONE && number >= it->begin && number < it->end ? number
                                                                                 : STORE_MODEL_NONE;
}

/* The first record from the key on that the iterator has, or the last one before it. */
static uint32_t next_expected(const struct sim *sim, const struct sim_iterator *it, uint32_t number)
{
    number = (uint32_t)tac_max_u64(number, it->begin);
    return within_bounds(it, store_model_next(sim->model, it->tree, number, it->open_op));
}

static uint32_t previous_expected(const struct sim *sim, const struct sim_iterator *it,
                                  uint32_t number_after)
{
    number_after = (uint32_t)tac_min_u64(number_after, it->end);
    return number_after == 0
               ? STORE_MODEL_NONE
               : within_bounds(
                     it, store_model_previous(sim->model, it->tree, number_after - 1, it->open_op));
}

/* Where the move leads in the model. */
static uint32_t move_expected(struct sim *sim, const struct sim_iterator *it, enum move move,
                              const uint8_t *bytes, uint32_t size)
{
    const struct store_model_tree *tree = &sim->model->trees[it->tree];
    uint32_t                       at;

    switch (move) {
    case MOVE_FIRST:
        return next_expected(sim, it, 0);
    case MOVE_LAST:
        return previous_expected(sim, it, tree->key_count);
    case MOVE_SEEK:
        return next_expected(sim, it, store_model_lower_bound(sim->model, it->tree, bytes, size));
    case MOVE_SEEK_BACK:
        at = store_model_lower_bound(sim->model, it->tree, bytes, size);
        if (at < tree->key_count && tree->keys[at].size == size &&
            memcmp(tree->keys[at].bytes, bytes, size) == 0) {
            at++;
        }
        return previous_expected(sim, it, at);
    case MOVE_NEXT:
        return it->position == STORE_MODEL_NONE ? STORE_MODEL_NONE
                                                : next_expected(sim, it, it->position + 1);
    case MOVE_PREVIOUS:
        return it->position == STORE_MODEL_NONE ? STORE_MODEL_NONE
                                                : previous_expected(sim, it, it->position);
    }
    tac_unreachable();
}

static int move_do(const struct sim_iterator *it, enum move move, const uint8_t *bytes,
                   uint32_t size)
{
    switch (move) {
    case MOVE_FIRST:
        return tactus_iterator_first(it->iterator);
    case MOVE_LAST:
        return tactus_iterator_last(it->iterator);
    case MOVE_SEEK:
        return tactus_iterator_seek(it->iterator, bytes, size);
    case MOVE_SEEK_BACK:
        return tactus_iterator_seek_back(it->iterator, bytes, size);
    case MOVE_NEXT:
        return tactus_iterator_next(it->iterator);
    case MOVE_PREVIOUS:
        return tactus_iterator_previous(it->iterator);
    }
    tac_unreachable();
}

/* False: the iterator is of no use any more. */
static bool iterator_move(struct sim *sim, struct sim_iterator *it, enum move move, uint32_t number,
                          struct tac_prng *prng)
{
    const struct store_model_tree *tree = &sim->model->trees[it->tree];
    uint8_t                        bytes[TACTUS_KEY_SIZE_MAX + 1];
    uint32_t                       size = seek_key(tree, number, prng, bytes);
    uint32_t                       expected = move_expected(sim, it, move, bytes, size);
    int                            result = move_do(it, move, bytes, size);

    if ((sim->disk.has_crashed && result != TACTUS_OK && result != TACTUS_ENOTFOUND) ||
        sim_is_damage(sim, result)) {
        return sim_read_result(sim, result, "iterator move");
    }
    if (result == TACTUS_EEXPIRED) {
        sim->report->marks.count[MARK_EXPIRED]++;
        if (sim->store->bar_count < it->open_bar + 2 || it->is_lasting) {
            sim_fail(sim, "iterator of bar %llu expired in bar %llu",
                     (unsigned long long)it->open_bar, (unsigned long long)sim->store->bar_count);
        }
        if (it->position != STORE_MODEL_NONE) {
            sim_check_record(sim, it->iterator, it->tree, it->position, it->open_op);
        }
        return false;
    }
    if (result != (expected == STORE_MODEL_NONE ? TACTUS_ENOTFOUND : TACTUS_OK)) {
        sim_fail(sim, "iterator move %d in tree %u: %d (%s), should lead to key %d", (int)move,
                 it->tree, result, result == TACTUS_OK ? "" : tactus_message(), (int)expected);
    }
    sim->report->marks.count[MARK_OLD_ITERATOR] += sim->store->bar_count > it->open_bar;
    sim->report->marks.count[MARK_LASTING_ITERATOR] +=
        it->is_lasting && sim->store->bar_count > it->open_bar + 2;
    it->position = expected;
    if (expected != STORE_MODEL_NONE) {
        sim_check_record(sim, it->iterator, it->tree, expected, it->open_op);
    }
    return true;
}

/* The numbers of the tree's keys that begin with the bytes. */
static void prefix_expected(struct sim *sim, struct sim_iterator *it, const uint8_t *bytes,
                            uint32_t size)
{
    const struct store_model_tree *tree = &sim->model->trees[it->tree];

    it->begin = it->end = store_model_lower_bound(sim->model, it->tree, bytes, size);
    while (it->end < tree->key_count && tree->keys[it->end].size >= size &&
           memcmp(tree->keys[it->end].bytes, bytes, size) == 0) {
        it->end++;
    }
}

/* One iterator in two is given bounds, one of them at most missing, or a prefix. */
static void iterator_bound(struct sim *sim, struct sim_iterator *it, const struct sim_op *op)
{
    const struct store_model_tree *tree = &sim->model->trees[it->tree];
    struct tac_prng                prng = {tac_mix_u64(op->seed)};
    uint8_t                        low[TACTUS_KEY_SIZE_MAX + 1], high[TACTUS_KEY_SIZE_MAX + 1];
    uint32_t                       low_size = seek_key(tree, op->key, &prng, low);
    uint32_t                       span = 1 + (uint32_t)tac_prng_below(&prng, tree->key_count);
    uint32_t                       high_size = seek_key(tree, op->key + span, &prng, high);
    uint32_t                       kind = (uint32_t)tac_prng_below(&prng, 8);
    int                            result = TACTUS_OK;

    if (low_size > TACTUS_KEY_SIZE_MAX || high_size > TACTUS_KEY_SIZE_MAX || kind >= 4) {
        return;
    }
    if (kind == 0) {
        low_size = 1 + (uint32_t)tac_prng_below(&prng, low_size);
        prefix_expected(sim, it, low, low_size);
        result = tactus_iterator_prefix(it->iterator, low, low_size);
    } else {
        low_size = kind == 1 ? 0 : low_size;
        high_size = kind == 2 ? 0 : high_size;
        it->begin =
            low_size == 0 ? 0 : store_model_lower_bound(sim->model, it->tree, low, low_size);
        it->end = high_size == 0 ? tree->key_count
                                 : store_model_lower_bound(sim->model, it->tree, high, high_size);
        result = tactus_iterator_bound(it->iterator, low_size == 0 ? NULL : low, low_size,
                                       high_size == 0 ? NULL : high, high_size);
    }
    if (result != TACTUS_OK) {
        sim_fail(sim, "iterator bounds: %d (%s)", result, tactus_message());
    }
    sim->report->marks.count[MARK_BOUNDED_ITERATOR] += it->begin < it->end;
}

static struct sim_iterator iterator_made(const struct sim *sim, const struct sim_op *op)
{
    return (struct sim_iterator){
        .tree = op->tree,
        .open_op = sim->model->op,
        .open_bar = sim->store->bar_count,
        .position = STORE_MODEL_NONE,
        .end = sim->model->trees[op->tree].key_count,
    };
}

bool sim_iterator_open(struct sim *sim, struct sim_iterator *it, const struct sim_op *op)
{
    const struct store_model_tree *tree = &sim->model->trees[op->tree];

    *it = iterator_made(sim, op);
    if (!sim_read_result(sim, tactus_iterator_open(sim->store, tree->id, &it->iterator),
                         "iterator open")) {
        return false;
    }
    iterator_bound(sim, it, op);
    return true;
}

bool sim_iterator_open_in(struct sim *sim, struct sim_iterator *it, const struct sim_op *op,
                          uint32_t slot)
{
    const struct sim_snapshot *snapshot = &sim->snapshots[slot];
    uint32_t                   tree = sim->model->trees[op->tree].id;

    *it = iterator_made(sim, op);
    it->open_op = snapshot->op;
    it->is_lasting = true;
    it->snapshot = slot;
    if (!sim_read_result(sim, tactus_snapshot_iterator(snapshot->handle, tree, &it->iterator),
                         "snapshot iterator")) {
        return false;
    }
    iterator_bound(sim, it, op);
    return true;
}

void sim_run_seek(struct sim *sim, const struct sim_op *op)
{
    struct tac_prng     prng = {op->seed};
    struct sim_iterator it;
    bool                goes_on;

    if (!sim_iterator_open(sim, &it, op)) {
        return;
    }
    goes_on =
        iterator_move(sim, &it, op->seed % 2 == 0 ? MOVE_SEEK : MOVE_SEEK_BACK, op->key, &prng);
    for (uint32_t i = 0; goes_on && i < op->count; i++) {
        goes_on = iterator_move(
            sim, &it, op->seed % 4 < 2 || tac_prng_below(&prng, 4) == 0 ? MOVE_NEXT : MOVE_PREVIOUS,
            op->key, &prng);
    }
    tactus_iterator_close(it.iterator);
}

void sim_run_iterator_move(struct sim *sim, const struct sim_op *op)
{
    struct sim_iterator *it = &sim->iterators[op->slot];
    struct tac_prng      prng = {op->seed};

    for (uint32_t i = 0; it->iterator != NULL && i < op->count; i++) {
        /* Mostly steps: the others are drawn one time in four. */
        enum move move = tac_prng_below(&prng, 4) == 0
                             ? (enum move)tac_prng_below(&prng, MOVE_PREVIOUS + 1)
                             : (enum move)(MOVE_NEXT + op->seed % 2);

        if (!iterator_move(sim, it, move, op->key, &prng)) {
            tactus_iterator_close(it->iterator);
            it->iterator = NULL;
        }
    }
}
