/* SPDX-License-Identifier: Apache-2.0 */
/* store_events -- what a store tells of as it happens, against what it counts; and its lines. */
#include <stdio.h>
#include <string.h>

#include "tests/sim/store_sim.h"

#define KINDS_ALL 127

static void event_check(struct sim *sim, const struct tactus_event *event)
{
    bool has_text = event->text != NULL;

    if (event->struct_size != sizeof *event || event->time_ns < sim->events.last_ns ||
        has_text != (event->code != TACTUS_OK) || (has_text && event->text[0] == 0)) {
        sim_fail(sim, "an event of kind %d that cannot be: code %d, text %s", (int)event->kind,
                 event->code, has_text ? event->text : "none");
    }
    sim->events.last_ns = event->time_ns;
}

/* No lock is held: the store can be asked. */
static void event_take(void *context, const struct tactus_event *event)
{
    struct sim         *sim = context;
    struct sim_events  *events = &sim->events;
    struct tactus_stats stats;

    event_check(sim, event);
    tactus_stat(sim->store, &stats);
    events->missed += event->missed_count;
    switch (event->kind) {
    case TACTUS_EVENT_JOB:
        events->jobs++;
        return;
    case TACTUS_EVENT_FLUSH:
    case TACTUS_EVENT_COMPACTION:
        events->compactions++;
        events->compaction_jobs += event->jobs;
        events->tables_written += event->tables_out;
        events->records_merged += event->records_in;
        return;
    case TACTUS_EVENT_MOVE:
        events->tables_moved += event->tables_out;
        return;
    case TACTUS_EVENT_CHECKPOINT:
        events->checkpoints++;
        if (stats.durable_op < event->op) {
            sim_fail(sim, "a checkpoint of op %llu was told, but only op %llu is durable",
                     (unsigned long long)event->op, (unsigned long long)stats.durable_op);
        }
        return;
    case TACTUS_EVENT_WAIT:
        events->waits++;
        events->wait_ns += event->duration_ns;
        return;
    case TACTUS_EVENT_ERROR:
        return;
    }
    sim_fail(sim, "an event of kind %d: there is none", (int)event->kind);
}

void sim_events_begin(struct sim *sim)
{
    struct tac_prng prng = {tac_mix_u64(sim->world->seed ^ 0x6576656e7473)};

    sim->events = (struct sim_events){.is_set = tac_prng_below(&prng, 2) == 0};
    if (!sim->events.is_set) {
        return;
    }
    /* What the open has done itself was not told. */
    sim->events.checkpoint_before = sim->store->checkpoint.durable.sequence;
    sim->events.compactions = sim->store->totals.compactions;
    sim->events.compaction_jobs = sim->store->totals.jobs;
    sim->events.tables_moved = sim->store->totals.tables_moved;
    sim->events.tables_written = sim->store->totals.tables_written;
    sim->events.records_merged = sim->store->totals.records_merged;
    sim->events.waits = sim->store->waits;
    sim->events.wait_ns = sim->store->wait_ns_total;
    if (tactus_events_set(sim->store, event_take, sim, KINDS_ALL, 0) != TACTUS_OK) {
        sim_fail(sim, "events: %s", tactus_message());
    }
}

/* ---- lines ---------------------------------------------------------------------------------- */

static void line_take(void *context, enum tactus_logger_level level, const char *line)
{
    struct sim        *sim = context;
    struct sim_logger *logger = &sim->logger;
    unsigned long long number;
    size_t             size = strlen(line);

    if (size == 0 || size >= TACTUS_LOGGER_LINE_BYTES || level > TACTUS_LOGGER_DEBUG) {
        sim_fail(sim, "a line of level %d and %zu bytes", (int)level, size);
    }
    for (size_t i = 0; i < size; i++) {
        if ((uint8_t)line[i] < 0x20 || line[i] == 0x7f) {
            sim_fail(sim, "a line with a control character: %s", line);
        }
    }
    logger->lines++;
    if (level == TACTUS_LOGGER_ERROR) {
        snprintf(logger->last, sizeof logger->last, "%s", line);
    }
    if (sscanf(line, "%llu lines were not told", &number) == 1) {
        logger->missed += number;
    }
    if (sscanf(line, "checkpoint %llu is durable", &number) == 1) {
        if (number <= logger->checkpoint) {
            sim_fail(sim, "checkpoint %llu was told after %llu", number,
                     (unsigned long long)logger->checkpoint);
        }
        logger->checkpoint = number;
    }
}

void sim_logger_set(struct sim *sim, struct tactus_options *options)
{
    struct tac_prng prng = {tac_mix_u64(sim->world->seed ^ 0x6c6f67676572)};

    sim->logger = (struct sim_logger){.is_set = tac_prng_below(&prng, 2) == 0};
    if (sim->logger.is_set) {
        options->logger_fn = line_take;
        options->logger_context = sim;
        options->logger_level = TACTUS_LOGGER_DEBUG;
    }
}

void sim_logger_failed(struct sim *sim, const struct tac_error *error)
{
    const struct sim_logger *logger = &sim->logger;

    if (logger->is_set && logger->missed == 0 && strstr(logger->last, error->message) == NULL) {
        sim_fail(sim, "an open failed, but its last line is \"%s\"", logger->last);
    }
}

static void logger_check(struct sim *sim)
{
    const struct sim_logger *logger = &sim->logger;
    uint64_t                 durable = sim->store->checkpoint.durable.sequence;

    if (!logger->is_set) {
        return;
    }
    tac_teller_tell(&sim->store->logger.teller);
    if (logger->missed == 0 && sim->store->logger.teller.missed == 0 && logger->checkpoint != 0 &&
        logger->checkpoint != durable) {
        sim_fail(sim, "a line told of checkpoint %llu, durable is %llu",
                 (unsigned long long)logger->checkpoint, (unsigned long long)durable);
    }
    if (logger->lines == 0) {
        sim_fail(sim, "not a line was told of an open");
    }
    sim->report->marks.count[MARK_LINE_TOLD] += logger->checkpoint > 0;
}

/* ---- events against counts ------------------------------------------------------------------ */

static void count_compare(struct sim *sim, const char *what, uint64_t told, uint64_t counted)
{
    if (told != counted) {
        sim_fail(sim, "events told of %llu %s, counted are %llu", (unsigned long long)told, what,
                 (unsigned long long)counted);
    }
}

void sim_events_check(struct sim *sim)
{
    const struct sim_events   *events = &sim->events;
    const struct tactus_stats *totals = &sim->store->totals;
    uint64_t                   checkpoints;

    logger_check(sim);
    if (!events->is_set) {
        return;
    }
    tac_teller_tell(&sim->store->events.teller);
    if (events->missed > 0 || sim->store->events.teller.missed > 0) {
        return; /* One call had more to tell of than there is room for. */
    }
    checkpoints = sim->store->checkpoint.durable.sequence - events->checkpoint_before;
    count_compare(sim, "compactions", events->compactions, totals->compactions);
    count_compare(sim, "jobs", events->compaction_jobs, totals->jobs);
    count_compare(sim, "tables moved", events->tables_moved, totals->tables_moved);
    count_compare(sim, "tables written", events->tables_written, totals->tables_written);
    count_compare(sim, "records merged", events->records_merged, totals->records_merged);
    count_compare(sim, "waits", events->waits, sim->store->waits);
    count_compare(sim, "ns waited", events->wait_ns, sim->store->wait_ns_total);
    count_compare(sim, "checkpoints", events->checkpoints, checkpoints);
    sim->report->marks.count[MARK_EVENT_TOLD] += events->jobs > 0 && events->compactions > 0 &&
                                                 events->tables_moved > 0 && events->waits > 0 &&
                                                 events->checkpoints > 0;
}
