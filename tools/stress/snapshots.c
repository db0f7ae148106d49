/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/stress/snapshots.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base/units.h"
#include "queues/atomics.h"

bool tac_stress_snapshots_init(struct tac_stress_snapshots   *snapshots,
                               const struct tac_stress_world *world, uint32_t count)
{
    size_t   entries_bytes = count * tac_round_up(sizeof *snapshots->entries, TAC_CACHE_LINE_BYTES);
    size_t   words = 2 * (size_t)world->items + world->places;
    uint8_t *shared;
    uint32_t *next;

    tac_assert(count <= TAC_STRESS_SNAPSHOTS_MAX);
    memset(snapshots, 0, sizeof *snapshots);
    if (count == 0) {
        return true;
    }
    snapshots->shared_bytes = entries_bytes + count * words * sizeof(uint32_t);
    shared = mmap(NULL, snapshots->shared_bytes, PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (shared == MAP_FAILED) {
        return false;
    }
    snapshots->count = count;
    snapshots->entries = (void *)shared;
    next = (uint32_t *)(void *)(shared + entries_bytes);
    for (uint32_t i = 0; i < count; i++, next += words) {
        snapshots->least[i] = next;
        snapshots->most[i] = next + world->items;
        snapshots->found[i] = next + 2 * (size_t)world->items;
    }
    return true;
}

void tac_stress_snapshots_destroy(struct tac_stress_snapshots *snapshots)
{
    if (snapshots->entries != NULL) {
        munmap(snapshots->entries, snapshots->shared_bytes);
    }
    memset(snapshots, 0, sizeof *snapshots);
}

void tac_stress_snapshot_name(const struct tac_stress_snapshots *snapshots, uint32_t index,
                              char ret_name[TAC_STRESS_SNAPSHOT_NAME_BYTES])
{
    snprintf(ret_name, TAC_STRESS_SNAPSHOT_NAME_BYTES, "stress-%u-%" PRIu64, index,
             snapshots->entries[index].number);
}

/* A kill before the last line finds the entry as it was: there is no such snapshot. */
void tac_stress_snapshot_begin(struct tac_stress_snapshots    *snapshots,
                               const struct tac_stress_ledger *ledger, uint32_t index)
{
    struct tac_stress_snapshot *entry = &snapshots->entries[index];

    tac_assert(entry->state == TAC_STRESS_SNAPSHOT_NONE);
    for (uint32_t item = 0; item < ledger->world->items; item++) {
        snapshots->least[index][item] = tac_stress_least(ledger, item);
    }
    entry->is_known = 0;
    entry->number++;
    tac_atomic_store_release_u32(&entry->state, TAC_STRESS_SNAPSHOT_TAKING);
}

void tac_stress_snapshot_end(struct tac_stress_snapshots    *snapshots,
                             const struct tac_stress_ledger *ledger, uint32_t index, uint64_t op)
{
    struct tac_stress_snapshot *entry = &snapshots->entries[index];

    for (uint32_t item = 0; item < ledger->world->items; item++) {
        snapshots->most[index][item] = tac_stress_most(ledger, item);
    }
    entry->op = op;
    tac_atomic_store_release_u32(&entry->state, TAC_STRESS_SNAPSHOT_TAKEN);
}

void tac_stress_snapshot_found(struct tac_stress_snapshots    *snapshots,
                               const struct tac_stress_ledger *ledger, uint32_t index, uint64_t op)
{
    struct tac_stress_snapshot *entry = &snapshots->entries[index];

    memcpy(snapshots->most[index], ledger->attempted,
           ledger->world->items * sizeof *ledger->attempted);
    entry->op = op;
    tac_atomic_store_release_u32(&entry->state, TAC_STRESS_SNAPSHOT_TAKEN);
}

bool tac_stress_snapshot_is_right(const struct tac_stress_snapshots *snapshots,
                                  const struct tac_stress_world *world, uint32_t index,
                                  uint32_t place, uint32_t found)
{
    uint32_t item = tac_stress_item_of(world, place), version;

    if (snapshots->entries[index].is_known != 0) {
        return found == snapshots->found[index][place];
    }
    return found != TAC_STRESS_WRONG &&
           tac_stress_match_find(world, place, found, snapshots->least[index][item],
                                 snapshots->most[index][item], &version);
}

/* The members of a group, over all trees, are of one version. */
static bool is_agreed(const struct tac_stress_world *world, const uint32_t *found, uint32_t place)
{
    uint32_t first = tac_stress_first_place(world, tac_stress_item_of(world, place));

    return tac_stress_is_agreed(world, first, found[first], place, found[place]);
}

uint32_t tac_stress_snapshot_settle(struct tac_stress_snapshots   *snapshots,
                                    const struct tac_stress_world *world, uint32_t index,
                                    const uint32_t *found)
{
    struct tac_stress_snapshot *entry = &snapshots->entries[index];

    for (uint32_t place = 0; place < world->places; place++) {
        if (!tac_stress_snapshot_is_right(snapshots, world, index, place, found[place]) ||
            !is_agreed(world, found, place)) {
            return place;
        }
    }
    if (entry->is_known == 0) {
        memcpy(snapshots->found[index], found, world->places * sizeof *found);
        tac_atomic_store_release_u32(&entry->is_known, 1);
    }
    return TAC_STRESS_NOWHERE;
}
