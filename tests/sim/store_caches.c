/* SPDX-License-Identifier: Apache-2.0 */
/* store_caches -- the readers' caches get other sizes at random moments. Nothing that is read or
 * written depends on it: the model knows nothing of it. */
#include "tests/sim/store_sim.h"

#include "base/prng.h"

static uint64_t size_draw(struct tac_prng *prng, uint64_t max)
{
    switch (tac_prng_below(prng, 4)) {
    case 0:
        return 0;
    case 1:
        return max;
    default:
        return tac_prng_below(prng, max + 1);
    }
}

static uint64_t frames(const struct sim *sim)
{
    return tac_cache_frame_count(sim->store->read_side.page_cache) +
           tac_cache_frame_count(sim->store->read_side.index_cache);
}

void sim_caches_change(struct sim *sim, uint32_t seed)
{
    const struct tac_caches *caches = &sim->store->caches;
    struct tac_prng          prng = {tac_mix_u64(seed)};
    uint64_t                 page = size_draw(&prng, caches->page_max_bytes);
    uint64_t                 index = size_draw(&prng, caches->index_max_bytes);
    uint64_t                 frames_before = frames(sim), others;
    struct tactus_stats      stats;

    tactus_stat(sim->store, &stats);
    others = stats.memory_budget_bytes - caches->page_bytes - caches->index_bytes;
    if (tactus_cache_change(sim->store, page, index) != TACTUS_OK) {
        sim_fail(sim, "caches: %s", tactus_message());
    }
    tactus_stat(sim->store, &stats);
    page = tac_max_u64(page, tac_cache_kept_bytes(sim->store->read_side.page_cache));
    index = tac_max_u64(index, tac_cache_kept_bytes(sim->store->read_side.index_cache));
    if (stats.memory_budget_bytes != others + page + index) {
        sim_fail(sim, "with caches of %llu and %llu bytes the budget is %llu, and %llu without",
                 (unsigned long long)page, (unsigned long long)index,
                 (unsigned long long)stats.memory_budget_bytes, (unsigned long long)others);
    }
    sim->report->marks.count[MARK_CACHE_CHANGED] += frames(sim) != frames_before;
}
