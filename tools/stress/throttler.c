/* SPDX-License-Identifier: Apache-2.0 */
/* The throttler: it sets other limits of what the stages read and write in a second, and looks
 * whether they keep to them. It is alone with that. */
#include <inttypes.h>

#include "stages/rate.h"
#include "stages/seat.h"
#include "tools/stress/roles.h"

#define REST_NS (300 * (uint64_t)1000000)
#define RATE_NS (100 * (uint64_t)1000000)

/* Those that move bytes; without threads there is one of each stage. */
static uint64_t workers_of(const struct tactus_stats *stats)
{
    uint64_t threads = (uint64_t)stats->threads_read + stats->threads_merge + stats->threads_write;

    return threads > 0 ? threads : TACTUS_STAGES;
}

static uint64_t moved_of(const struct tactus_stats *stats)
{
    return stats->stage[TACTUS_STAGE_READ].bytes + stats->stage[TACTUS_STAGE_WRITE].bytes;
}

/* What each worker may have moved beside the rate. When the limit was set: io_depth requests under
 * way, one that had come back and was not counted yet, one that was about to be submitted. When it
 * is looked at: one that was submitted while others were, and one that is not paid for yet. */
static uint64_t beside_rate_bytes(const struct tac_stress_worker *worker,
                                  const struct tactus_stats      *stats)
{
    const struct tactus_options *options = worker->scene->options;
    uint64_t                     workers = tac_max_u64(worker->limit.workers, workers_of(stats));

    return workers * (options->io_depth + 4ull) * TAC_REQUEST_BLOCKS_MAX * options->block_size;
}

static void limit_begin(struct tac_stress_worker *worker, uint64_t rate_bytes, uint64_t begin_ns)
{
    struct tactus_stats stats;

    tactus_stat(worker->scene->store, &stats);
    worker->limit = (struct tac_stress_limit){
        .rate_bytes = rate_bytes,
        .begin_ns = begin_ns,
        .moved_bytes = moved_of(&stats),
        .workers = workers_of(&stats),
    };
}

/* Between the begin and now, by a clock that is read before the one and after the other: a thread
 * that waits for a processor makes the time longer, never too short. The threads of a pool have
 * requests of its other stores, too. */
static void limit_check(const struct tac_stress_worker *worker)
{
    const struct tac_stress_limit *limit = &worker->limit;
    struct tactus_stats            stats;
    uint64_t                       moved_bytes, elapsed_ns;
    double                         most_bytes;

    if (limit->rate_bytes == 0 || worker->scene->pool != NULL) {
        return;
    }
    tactus_stat(worker->scene->store, &stats);
    elapsed_ns = tac_clock_now_ns() - limit->begin_ns;
    moved_bytes = moved_of(&stats) - limit->moved_bytes;
    most_bytes = (double)limit->rate_bytes * (double)(elapsed_ns + TAC_RATE_BURST_NS) / 1e9 +
                 (double)beside_rate_bytes(worker, &stats);
    if ((double)moved_bytes > most_bytes) {
        tac_stress_violation(worker->scene->board,
                             "a limit of %" PRIu64 " B/s: %" PRIu64
                             " B were moved in %.3f ms, at most %.0f B could be",
                             limit->rate_bytes, moved_bytes, (double)elapsed_ns / 1e6, most_bytes);
    }
}

static void rate_change(struct tac_stress_worker *worker, uint64_t rate_bytes)
{
    uint64_t begin_ns;
    int      code;

    limit_check(worker);
    begin_ns = tac_clock_now_ns();
    code = tactus_io_rate_change(worker->scene->store, rate_bytes);
    if (code != TACTUS_OK) {
        tac_stress_violation(worker->scene->board, "a limit of %" PRIu64 " B/s: error %d: %s",
                             rate_bytes, code, tactus_message());
        return;
    }
    limit_begin(worker, rate_bytes, begin_ns);
    TAC_STRESS_COUNT(worker->row, rate_changes);
}

/* Now and then the limit stays until the next turn, or for the close. */
void tac_stress_throttler_turn(struct tac_stress_worker *worker)
{
    static const uint64_t rates_mib[] = {0, 8, 32, 128};

    tac_stress_nap(worker, REST_NS);
    rate_change(worker, rates_mib[tac_stress_draw(worker, TAC_ARRAY_COUNT(rates_mib))] * TAC_MIB);
    tac_stress_nap(worker, RATE_NS);
    if (tac_stress_draw(worker, 4) > 0) {
        rate_change(worker, worker->scene->options->io_rate_max_bytes);
    }
}
