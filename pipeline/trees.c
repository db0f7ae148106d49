/* SPDX-License-Identifier: Apache-2.0 */
/* trees -- see trees.h. */
#include "pipeline/trees.h"

#include "base/mutant.h"
#include "pipeline/store.h"
#include "queues/atomics.h"

bool tac_trees_find(const struct tactus *store, uint32_t id, struct tac_layout *ret_layout)
{
    uint32_t                    number = tac_tree_number(id);
    const struct tac_tree_word *word = &store->trees[number % TACTUS_TREES_MAX];

    if (number >= TACTUS_TREES_MAX || id == TAC_TREE_ID_NONE ||
        tac_atomic_load_acquire_u32(&word->id) !=
            (TAC_MUTANT(ID_BY_NUMBER) ? tac_trees_id(store, number) : id)) {
        return false;
    }
    ret_layout->kind = tac_atomic_load_relaxed_u32(&word->kind);
    ret_layout->key_size = tac_atomic_load_relaxed_u32(&word->key_size);
    ret_layout->value_size = tac_atomic_load_relaxed_u32(&word->value_size);
    return true;
}

int tac_trees_check(const struct tactus *store, uint32_t id, struct tac_error *error)
{
    struct tac_layout layout;

    return tac_trees_find(store, id, &layout)
               ? TACTUS_OK
               : tac_error_set(error, TACTUS_ENOTREE, "no tree with id %u", id);
}

uint32_t tac_trees_id(const struct tactus *store, uint32_t number)
{
    return number < TACTUS_TREES_MAX ? tac_atomic_load_relaxed_u32(&store->trees[number].id)
                                     : TAC_TREE_ID_NONE;
}

static void word_set(struct tactus *store, const struct tac_manifest_tree *tree)
{
    struct tac_tree_word *word = &store->trees[tree->id];

    tac_atomic_store_relaxed_u32(&word->kind, tree->layout.kind);
    tac_atomic_store_relaxed_u32(&word->key_size, tree->layout.key_size);
    tac_atomic_store_relaxed_u32(&word->value_size, tree->layout.value_size);
    tac_atomic_store_release_u32(&word->id, tac_tree_id(tree->id, tree->generation));
}

void tac_trees_publish(struct tactus *store)
{
    for (uint32_t i = 0; i < TACTUS_TREES_MAX; i++) {
        const struct tac_manifest_tree *tree = i < tac_manifest_tree_count(store->manifest)
                                                   ? tac_manifest_tree(store->manifest, i)
                                                   : NULL;

        if (tree != NULL && tree->is_open) {
            word_set(store, tree);
        } else {
            tac_atomic_store_release_u32(&store->trees[i].id, TAC_TREE_ID_NONE);
        }
    }
}

void tac_trees_join(struct tactus *store, uint32_t number)
{
    struct tac_manifest_tree *tree = tac_manifest_tree(store->manifest, number);

    tree->is_open = true;
    tac_read_side_tree_add(&store->read_side, tree);
    word_set(store, tree);
}

void tac_trees_close(struct tactus *store, uint32_t number)
{
    struct tac_manifest_tree *tree = tac_manifest_tree(store->manifest, number);

    tree->is_open = false;
    tac_atomic_store_release_u32(&store->trees[number].id, TAC_TREE_ID_NONE);
    tac_read_side_tree_close(&store->read_side, tree);
}

uint32_t tac_trees_created_by(struct tactus *store, uint64_t op)
{
    uint32_t number = 0;

    while (number < tac_manifest_tree_count(store->manifest) &&
           tac_manifest_tree(store->manifest, number)->created_op != op) {
        number++;
    }
    return number < tac_manifest_tree_count(store->manifest) ? number : TACTUS_TREES_MAX;
}
