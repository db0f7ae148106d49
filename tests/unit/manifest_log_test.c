/* SPDX-License-Identifier: Apache-2.0 */
/* The manifest log: what is replayed is what was appended, and it stays short. Logs that lie:
 * manifest_replay_test.c; series of checkpoints with crashes: checkpoint_test.c. */
#include "base/units.h"
#include "lsm/manifest_event.h"
#include "tests/lib/manifest_store.h"
#include "tests/lib/tap.h"

/* ---- how long it gets ------------------------------------------------------------------------ */

/* Blocks that the newest events of all trees and tables would take, packed badly. */
static uint64_t blocks_live(struct tac_manifest *manifest)
{
    uint64_t bytes = 0, largest = 0;

    for (uint32_t i = 0; i < tac_manifest_tree_count(manifest); i++) {
        const struct tac_manifest_tree *tree = tac_manifest_tree(manifest, i);

        bytes += TAC_MANIFEST_EVENT_TREE_BYTES;
        largest = tac_max_u64(largest, TAC_MANIFEST_EVENT_TABLE_BYTES + 2 * tree->layout.key_size);
        for (uint32_t j = 0; j < TACTUS_LEVELS_MAX; j++) {
            for (uint32_t k = 0; k < tree->levels[j].table_count; k++) {
                bytes += tac_manifest_event_table_bytes(tree->levels[j].tables[k]);
            }
        }
        bytes += tree->discards.log_bytes;
    }
    return tac_div_ceil(bytes, manifest_store_geometry.block_size - 104 - largest);
}

/* The largest limit of the log in the last bars: what it may be when the manifest shrinks faster
 * than compaction can follow. */
#define LIMIT_BARS 32
static uint64_t limit_recent(uint64_t limits[LIMIT_BARS], uint32_t bar, uint64_t limit)
{
    uint64_t largest = 0;

    limits[bar % LIMIT_BARS] = limit;
    for (uint32_t i = 0; i < LIMIT_BARS; i++) {
        largest = tac_max_u64(largest, limits[i]);
    }
    return largest;
}

/* Tables grow in number, stay, and go; a checkpoint after each one to four bars. */
static void test_random(uint64_t seed, uint32_t tree_count)
{
    struct manifest_store store;
    bool                  all_replay = true, is_short = true;
    uint64_t              longest = 0, written = 0, limits[LIMIT_BARS] = {0};

    manifest_store_open(&store, seed, tree_count);
    for (uint32_t bar = 0; bar < 600 && all_replay; bar++) {
        uint64_t target = bar < 200 ? 1 + bar : bar < 400 ? 200 : 1 + (600 - bar) / 3;
        uint32_t blocks_before = tac_manifest_log_checkpoint_blocks(store.log);
        uint32_t blocks_begun;
        uint64_t limit;

        manifest_store_bar(&store, (uint32_t)tac_prng_below(&store.prng, 20), target);
        limit = limit_recent(limits, bar, 2 * blocks_live(store.manifest) + 2);
        blocks_begun = tac_manifest_log_checkpoint_blocks(store.log) - blocks_before;
        tac_manifest_log_compact(store.log, store.manifest, 2 * blocks_begun + 2, 0);
        if (tac_prng_below(&store.prng, 4) == 0 || tac_manifest_log_room(store.log) < 40) {
            uint64_t count;

            written += tac_manifest_log_checkpoint_blocks(store.log);
            manifest_store_checkpoint(&store);
            all_replay = manifest_store_replays(&store);
            count = tac_manifest_log_block_count(store.log);
            longest = tac_max_u64(longest, count);
            /* What waited to be written could not go, and was carried only now. */
            if (count > limit + 40) {
                tap_diag("bar %u: %llu blocks, limit %llu", bar, (unsigned long long)count,
                         (unsigned long long)limit);
                is_short = false;
            }
        }
    }
    /* Nothing happens any more: compaction brings the log to its limit. */
    for (uint32_t bar = 0; bar < 200; bar++) {
        tac_manifest_log_compact(store.log, store.manifest, 2, 0);
        manifest_store_checkpoint(&store);
    }
    tap_ok(all_replay && manifest_store_replays(&store),
           "%u trees: each checkpoint replays, sequences included", tree_count);
    tap_ok(is_short &&
               tac_manifest_log_block_count(store.log) <= 2 * blocks_live(store.manifest) + 3,
           "the log stays below twice what is live (at most %llu blocks; %llu written)",
           (unsigned long long)longest, (unsigned long long)written);
    tap_ok(tac_free_set_acquired_count(store.free_set) ==
               TAC_SUPERBLOCK_COPIES + tac_manifest_log_block_count(store.log),
           "its blocks are all that is acquired");
    manifest_store_close(&store);
}

/* ---- small things --------------------------------------------------------------------------- */

static void test_empty(void)
{
    struct manifest_store store, copy;
    struct tac_error      error = {0};

    manifest_store_open(&store, 1, 0);
    tap_ok(tac_manifest_log_room(store.log) == MANIFEST_STORE_LOG_BLOCKS_MAX,
           "a new log has all its room");
    manifest_store_checkpoint(&store);
    tap_ok(store.superblock.manifest_block_count == 0 &&
               store.superblock.manifest_newest.address == 0,
           "a log without events has no block");
    tap_ok(manifest_store_replay(&store, &copy, MANIFEST_STORE_TABLES_MAX, &error) == TACTUS_OK,
           "and replays %s", error.message);
    manifest_store_close(&copy);
    store.superblock.manifest_checksum.low++;
    tap_ok(manifest_store_replay(&store, &copy, MANIFEST_STORE_TABLES_MAX, &error) ==
               TACTUS_ECORRUPT,
           "unless the superblock expects something else");
    manifest_store_close(&copy);
    manifest_store_close(&store);
}

static void test_clean(void)
{
    struct manifest_store      store;
    struct tac_block_reference newest;

    manifest_store_open(&store, 1, 1);
    manifest_store_bar(&store, 5, 10);
    manifest_store_checkpoint(&store);
    newest = store.superblock.manifest_newest;
    tap_ok(tac_manifest_log_checkpoint_blocks(store.log) == 0, "what is written is not again");
    manifest_store_checkpoint(&store);
    tap_ok(store.superblock.manifest_newest.address == newest.address &&
               manifest_store_replays(&store),
           "and stays part of the next checkpoint");
    manifest_store_bar(&store, 1, 10);
    tap_ok(tac_manifest_log_checkpoint_blocks(store.log) == 1, "the open block is filled further");
    manifest_store_checkpoint(&store);
    tap_ok(store.superblock.manifest_newest.address != newest.address &&
               store.superblock.manifest_block_count == 1 &&
               tac_free_set_is_free(store.free_set, newest.address),
           "and written elsewhere; its old address is released");
    manifest_store_close(&store);
}

/* Nothing but compaction appends the tree again. */
static void test_tree_carried(void)
{
    struct manifest_store store;

    manifest_store_open(&store, 1, 1);
    for (uint32_t bar = 0; bar < 300; bar++) {
        for (uint32_t i = 0; i < 5; i++) {
            if (tac_manifest_table_count(store.manifest) < 20) {
                manifest_store_insert(&store, 0);
            } else {
                manifest_store_change(&store);
                manifest_store_change_discard(&store);
            }
        }
        tac_manifest_log_compact(store.log, store.manifest, 4, 0);
        manifest_store_checkpoint(&store);
    }
    tap_ok(store.superblock.manifest_oldest_sequence > 5 && manifest_store_replays(&store),
           "a tree appended once outlives its block");
    manifest_store_close(&store);
}

static void test_room(void)
{
    struct manifest_store store;
    struct tac_prng       prng = {5};
    bool                  is_bound = true;
    static const uint32_t key_sizes[3] = {8, 40, 900};

    for (uint32_t i = 0; i < 3; i++) {
        manifest_store_open(&store, 1, 3);
        for (uint32_t round = 0; round < 20; round++) {
            uint32_t before = tac_manifest_log_room(store.log);
            uint64_t events = tac_prng_below(&prng, 20);
            uint64_t bound =
                tac_manifest_log_blocks_for(&manifest_store_geometry, events, key_sizes[i]);

            for (uint64_t j = 0; j < events; j++) {
                manifest_store_insert(&store, i);
            }
            is_bound = is_bound && before - tac_manifest_log_room(store.log) <= bound;
            manifest_store_checkpoint(&store);
        }
        manifest_store_close(&store);
    }
    tap_ok(is_bound, "no number of events begins more blocks than was said");
}

int main(void)
{
    uint64_t seed;

    tap_plan(0);
    seed = tap_seed();
    test_empty();
    test_clean();
    test_tree_carried();
    test_room();
    test_random(seed, 1);
    test_random(seed, 2);
    test_random(seed, 3);
    return tap_done();
}
