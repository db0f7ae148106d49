/* SPDX-License-Identifier: Apache-2.0 */
/* store_rate -- a limit of what the stages read and write in a second, by a clock of the simulator's:
 * it goes on a little with each look, and a sleep takes no time but its own. */
#include "tests/sim/store_sim.h"

#define CLOCK_STEP_NS 1000

static uint64_t time_ns, sleep_count;

static uint64_t clock_ns(uint64_t sleep_until_ns)
{
    sleep_count += sleep_until_ns > time_ns;
    time_ns = tac_max_u64(time_ns + CLOCK_STEP_NS, sleep_until_ns);
    return time_ns;
}

static uint64_t bytes_moved(struct sim *sim)
{
    struct tactus_stage_stats stages[TACTUS_STAGES] = {{0}};

    tac_worker_pool_report(&sim->store->workers, stages);
    return stages[TACTUS_STAGE_READ].bytes + stages[TACTUS_STAGE_WRITE].bytes;
}

void sim_rate_open(struct sim *sim)
{
    tac_rate_clock_replace(clock_ns);
    sim->rate = (struct sim_rate){.bytes_per_s = sim->world->options.io_rate_max_bytes,
                                  .begin_ns = time_ns};
}

void sim_rate_change(struct sim *sim, uint64_t bytes_per_s)
{
    if (tactus_io_rate_change(sim->store, bytes_per_s) != TACTUS_OK) {
        sim_fail(sim, "rate: %s", tactus_message());
    }
    sim->rate = (struct sim_rate){
        .bytes_per_s = bytes_per_s, .begin_ns = time_ns, .begin_bytes = bytes_moved(sim)};
}

/* Beside the rate what each worker may have had under way at the beginning, and one request each. */
void sim_rate_check(struct sim *sim)
{
    const struct tactus_options *options = &sim->world->options;
    uint64_t                     workers =
        sim->world->is_pooled ? sim_pool_workers(&sim->pool) : sim->store->workers.count;
    uint64_t requests = workers * (options->io_depth + 1) * TAC_REQUEST_BLOCKS_MAX;
    uint64_t moved = bytes_moved(sim) - sim->rate.begin_bytes;
    uint64_t elapsed_ns = time_ns - sim->rate.begin_ns + TAC_RATE_BURST_NS;
    double   most = (double)sim->rate.bytes_per_s * (double)elapsed_ns / 1e9 +
                  (double)(requests * options->block_size);

    sim->report->marks.count[MARK_RATE_WAIT] += sleep_count;
    sleep_count = 0;
    if (sim->rate.bytes_per_s > 0 && (double)moved > most) {
        sim_fail(sim, "%llu bytes moved in %llu ns; the limit is %llu in a second",
                 (unsigned long long)moved, (unsigned long long)elapsed_ns,
                 (unsigned long long)sim->rate.bytes_per_s);
    }
}
