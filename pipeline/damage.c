/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/damage.h"

#include <string.h>

#include "base/units.h"

/* Whether any table of the level lies over the table's range. */
static bool is_covered(const struct tac_manifest_level *level, const struct tac_table *table)
{
    for (uint32_t i = 0; i < level->table_count; i++) {
        const struct tac_table *other = level->tables[i];

        if (tac_bytes_compare(other->key_min, table->key_max) > 0) {
            break; /* They are in order of key_min. */
        }
        if (tac_bytes_compare(other->key_max, table->key_min) >= 0) {
            return true;
        }
    }
    return false;
}

/* Where the level is deep does not matter: what lies over the damaged table is out of reach, and so
 * is what lies over that, beside the table's own range too. */
static bool level_is_deep(const struct tac_manifest_level *level, const struct tac_table *table,
                          uint32_t depth)
{
    return is_covered(level, table) && tac_manifest_level_depth(level) >= depth;
}

static bool table_blocks(const struct tac_manifest_tree *tree, const struct tac_table *table,
                         uint32_t depth)
{
    return level_is_deep(&tree->levels[table->level], table, depth) ||
           (table->level > 0 && level_is_deep(&tree->levels[table->level - 1], table, depth));
}

static void tree_update(struct tac_damage *damage, const struct tac_manifest_tree *tree,
                        uint32_t depth)
{
    struct tac_damage_place *place = &damage->places[tree->id];
    uint64_t                 bit = (uint64_t)1 << tree->id;

    for (uint32_t l = 0; l <= tree->planner.last_level; l++) {
        for (uint32_t i = 0; i < tree->levels[l].table_count; i++) {
            const struct tac_table *table = tree->levels[l].tables[i];

            if (!table->is_damaged) {
                continue;
            }
            damage->table_count++;
            if ((damage->blocked_trees & bit) == 0 && table_blocks(tree, table, depth)) {
                damage->blocked_trees |= bit;
                *place = (struct tac_damage_place){table->id, l};
            } else if (place->table == 0) {
                *place = (struct tac_damage_place){table->id, l};
            }
        }
    }
}

void tac_damage_update(struct tac_damage *damage, struct tac_manifest *manifest,
                       uint32_t runs_per_level)
{
    memset(damage, 0, sizeof *damage);
    for (uint32_t i = 0; i < tac_manifest_tree_count(manifest); i++) {
        tree_update(damage, tac_manifest_tree(manifest, i), TAC_DAMAGE_DEPTH_RUNS * runs_per_level);
    }
}

int tac_damage_check(const struct tac_damage *damage, struct tac_manifest *manifest, uint64_t trees,
                     struct tac_error *error)
{
    trees &= damage->blocked_trees;
    if (trees == 0) {
        return TACTUS_OK;
    }
    (void)tac_damage_name(damage, manifest, trees, error);
    return tac_error_wrap(error, "no more writes: too much lies over damage");
}

int tac_damage_name(const struct tac_damage *damage, struct tac_manifest *manifest, uint64_t trees,
                    struct tac_error *error)
{
    for (uint32_t i = 0; i < tac_manifest_tree_count(manifest); i++) {
        const struct tac_damage_place *place = &damage->places[i];

        if ((trees >> i & 1) != 0 && place->table != 0) {
            return tac_error_set(
                error, TACTUS_ECORRUPT,
                "tree %s, level %u, table %llu is damaged: repair the store into a "
                "new one",
                tac_manifest_tree(manifest, i)->name, place->level,
                (unsigned long long)place->table);
        }
    }
    return TACTUS_OK;
}
