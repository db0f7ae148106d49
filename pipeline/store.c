/* SPDX-License-Identifier: Apache-2.0 */
/* store -- open and close: everything a store will ever need is allocated here. */
#include "pipeline/store.h"

#include <linux/ioprio.h>
#include <stdlib.h>
#include <string.h>

#include "base/thread.h"
#include "base/units.h"
#include "pipeline/admission.h"
#include "pipeline/ingest.h"
#include "pipeline/options.h"
#include "pipeline/pacing.h"
#include "pipeline/pool.h"
#include "pipeline/recovery.h"
#include "pipeline/space.h"
#include "pipeline/wal_open.h"
#include "queues/atomics.h"

#define IO_PRIORITY_LAST 7 /* Of the eight of a class */

/* ---- open: memory --------------------------------------------------------------------------- */

static uint64_t pool_blocks(const struct tactus *store, uint32_t seats)
{
    if (store->options.pool_size != 0) {
        return store->options.pool_size / store->shape.block_size;
    }
    return tac_admission_pool_blocks(&store->shape, seats);
}

static int pool_check(const struct tactus *store, uint64_t blocks, struct tac_error *error)
{
    uint32_t largest =
        tac_seat_allotment(tac_admission_sources_max(&store->shape), 1, store->filter_blocks_max);

    if (blocks < largest) {
        return tac_error_set(error, TACTUS_EOPTION,
                             "option pool_size: %llu bytes cannot hold the largest job; at least "
                             "%llu",
                             (unsigned long long)(blocks * store->shape.block_size),
                             (unsigned long long)largest * store->shape.block_size);
    }
    return TACTUS_OK;
}

static int seats_create(struct tactus *store, uint32_t count, uint64_t blocks,
                        struct tac_error *error)
{
    uint32_t sources = tac_admission_sources_max(&store->shape);
    uint32_t most = tac_seat_allotment(sources, TAC_READ_AHEAD_MAX, store->filter_blocks_max);

    if (pool_check(store, blocks, error) != TACTUS_OK) {
        return error->code;
    }
    store->seats = calloc(count, sizeof *store->seats);
    if (store->seats == NULL) {
        return tac_error_set(error, TACTUS_ENOMEM, "out of memory for jobs");
    }
    store->stages.seats = store->seats;
    for (uint32_t i = 0; i < count; i++) {
        if (tac_seat_create(&store->seats[i], &store->stages, most, store->table_records_max,
                            error) != TACTUS_OK) {
            return error->code;
        }
        store->stages.seat_count = ++store->seat_count;
    }
    return TACTUS_OK;
}

static int memtables_create(struct tactus *store, struct tac_error *error)
{
    for (uint32_t i = 0; i < TAC_MEMTABLES; i++) {
        store->memtables[i] = tac_memtable_new(store->shape.memtable_size, TACTUS_TREES_MAX);
        if (store->memtables[i] == NULL) {
            return tac_error_set(error, TACTUS_ENOMEM, "out of memory for memtables of %llu bytes",
                                 (unsigned long long)store->shape.memtable_size);
        }
    }
    return TACTUS_OK;
}

static int views_create(struct tactus *store, struct tac_error *error)
{
    for (uint32_t i = 0; i < store->view_count; i++) {
        store->versions[i] = tac_version_new(store->options.tables_max);
        if (store->versions[i] == NULL) {
            return tac_error_set(error, TACTUS_ENOMEM, "out of memory for versions");
        }
    }
    return TACTUS_OK;
}

static int state_create(struct tactus *store, struct tac_error *error)
{
    uint64_t blocks_max = store->shape.file_size_max / store->shape.block_size;
    uint32_t log_blocks = tac_checkpoint_log_blocks(store->shape.block_size);

    store->manifest = tac_manifest_new(store->options.tables_max);
    store->manifest_log = tac_manifest_log_new(&store->geometry, log_blocks);
    store->free_set = tac_free_set_new(blocks_max);
    if (store->manifest == NULL || store->manifest_log == NULL || store->free_set == NULL) {
        return tac_error_set(error, TACTUS_ENOMEM, "out of memory for the state of the store");
    }
    return TACTUS_OK;
}

static int bar_create(struct tactus *store, struct tac_error *error)
{
    struct tac_planner_options planner;
    struct tac_bar_limits      limits = {
             .tables_max = store->options.tables_max,
             .filter_bits_per_key = store->shape.filter_bits_per_key,
             .table_records_max = store->table_records_max,
    };

    tac_store_planner_options(store, &planner);
    if (tac_plan_report_create(&store->plan_report, error) != TACTUS_OK) {
        return error->code;
    }
    return tac_bar_create(&store->bar, &store->geometry, &planner, &limits, error);
}

/* The pool's blocks, and the spare buffers that the newest tables' blocks lie in. */
static int pool_create(struct tactus *store, uint32_t blocks, struct tac_error *error)
{
    uint64_t slot_bytes = store->shape.block_size + tac_level0_cache_memory_bytes(1);
    uint32_t spares = (uint32_t)(store->options.level0_cache_size / slot_bytes);

    if (tac_block_pool_create(&store->pool, blocks, spares, store->shape.block_size, error) !=
        TACTUS_OK) {
        return error->code;
    }
    return tac_level0_cache_create(&store->stages.level0_cache, &store->pool,
                                   2 * store->shape.runs_per_level + 2, error);
}

static uint64_t seats_memory_bytes(const struct tactus *store, uint32_t seats, uint64_t blocks)
{
    uint32_t most = tac_seat_allotment(tac_admission_sources_max(&store->shape), TAC_READ_AHEAD_MAX,
                                       store->filter_blocks_max);

    return tac_block_pool_memory_bytes((uint32_t)blocks, store->shape.block_size) +
           seats * tac_seat_memory_bytes(&store->geometry, most, store->table_records_max);
}

/* Of everything but the caches. */
static uint64_t others_memory_bytes(const struct tactus *store, uint32_t seats, uint64_t blocks)
{
    const struct tactus_options *options = &store->options;
    uint32_t                     block_size = store->shape.block_size;
    struct tac_planner_options   planner;
    uint64_t                     bytes = 16 * TAC_MIB; /* Code, stacks, and the small structs */

    tac_store_planner_options(store, &planner);
    bytes += 3 * tac_ring_memory_bytes(options->ring_size);
    bytes += options->scrub_days > 0 ? 2 * (uint64_t)block_size : 0;
    bytes += store->wal.storage != NULL ? tac_wal_memory_bytes(&store->wal.geometry) : 0;
    bytes += tac_manifest_memory_bytes(options->tables_max);
    bytes += tac_manifest_log_memory_bytes(&store->geometry, tac_checkpoint_log_blocks(block_size));
    bytes += tac_free_set_memory_bytes(store->shape.file_size_max / block_size);
    bytes += tac_checkpoint_memory_bytes(block_size);
    bytes += tac_bar_memory_bytes(&planner) + tac_plan_report_memory_bytes();
    bytes += TAC_MEMTABLES * tac_memtable_memory_bytes(store->shape.memtable_size);
    bytes += store->view_count * tac_version_memory_bytes(options->tables_max);
    return bytes + seats_memory_bytes(store, seats, blocks);
}

/* Of the log that is still to be made. */
static uint64_t log_memory_bytes(const struct tactus *store)
{
    struct tac_wal_geometry geometry;

    if (store->wal.storage != NULL || store->options.log < TACTUS_LOG_INTERVAL) {
        return 0;
    }
    tac_wal_geometry_make(&store->shape, store->uuid, &geometry);
    return tac_wal_memory_bytes(&geometry);
}

/* Before anything of it is allocated. The caches have of memory_size what the others leave. */
static int memory_plan(struct tactus *store, uint32_t seats, uint64_t blocks,
                       struct tac_error *error)
{
    struct tactus_options *options = &store->options;
    uint64_t               others_bytes = others_memory_bytes(store, seats, blocks);
    uint64_t               log_bytes = log_memory_bytes(store);

    if (tac_options_resolve_caches(options, &store->shape, others_bytes + log_bytes, error) !=
        TACTUS_OK) {
        return error->code;
    }
    store->memory_budget_bytes = others_bytes + options->level0_cache_size +
                                 options->page_cache_size + options->index_cache_size;
    return store->shared == NULL
               ? TACTUS_OK
               : tac_pool_memory_take(store, store->memory_budget_bytes + log_bytes, error);
}

static int parts_create(struct tactus *store, const struct tac_superblock *superblock,
                        struct tac_error *error)
{
    uint32_t seats = tac_admission_seats(&store->options);
    uint64_t blocks = pool_blocks(store, seats);

    if (memory_plan(store, seats, blocks, error) != TACTUS_OK) {
        return error->code;
    }
    store->stages.geometry = store->geometry;
    store->stages.storage = store->storage;
    store->stages.assist = store->options.assist;
    if (tac_stages_create(&store->stages, store->options.ring_size, error) != TACTUS_OK) {
        return error->code;
    }
    store->has_stages = true;
    tac_paced_sync_init(&store->paced_sync);
    if (state_create(store, error) != TACTUS_OK || bar_create(store, error) != TACTUS_OK ||
        memtables_create(store, error) != TACTUS_OK || views_create(store, error) != TACTUS_OK ||
        seats_create(store, seats, blocks, error) != TACTUS_OK ||
        tac_checkpoint_create(&store->checkpoint, store->shape.block_size, superblock, error) !=
            TACTUS_OK ||
        tac_caches_create(store, error) != TACTUS_OK ||
        pool_create(store, (uint32_t)blocks, error) != TACTUS_OK) {
        return error->code;
    }
    return tac_scrub_create(&store->scrub, store->options.scrub_days, store->shape.block_size,
                            error);
}

/* All that is large and that nobody else touches any more. */
static void memory_free(struct tactus *store)
{
    if (store->has_read_side) {
        tac_read_side_destroy(&store->read_side);
    }
    tac_checkpoint_destroy(&store->checkpoint);
    for (uint32_t i = 0; i < store->seat_count; i++) {
        tac_seat_destroy(&store->seats[i]);
    }
    free(store->seats);
    tac_level0_cache_destroy(&store->stages.level0_cache);
    if (store->pool.blocks != NULL) {
        tac_block_pool_destroy(&store->pool);
    }
    for (uint32_t i = 0; i < TAC_VIEWS_MAX; i++) {
        if (store->versions[i] != NULL) {
            tac_version_free(store->versions[i]);
        }
    }
    for (uint32_t i = 0; i < TAC_MEMTABLES; i++) {
        if (store->memtables[i] != NULL) {
            tac_memtable_free(store->memtables[i]);
        }
    }
    tac_bar_destroy(&store->bar);
    tac_plan_report_destroy(&store->plan_report);
    if (store->free_set != NULL) {
        tac_free_set_free(store->free_set);
    }
    if (store->manifest_log != NULL) {
        tac_manifest_log_free(store->manifest_log);
    }
    if (store->manifest != NULL) {
        tac_manifest_free(store->manifest);
    }
}

/* What is left: all that tac_store_poison needs is in it. */
static void rest_destroy(struct tactus *store)
{
    if (store->has_stages) {
        tac_stages_destroy(&store->stages);
    }
    tac_wal_destroy(&store->wal);
    tac_scrub_destroy(&store->scrub);
    tac_events_destroy(&store->events);
    tac_logger_destroy(&store->logger);
    tac_ingest_free(store->ingest_cut);
    tac_snapshots_destroy(&store->snapshots);
    pthread_mutex_destroy(&store->commit_lock);
    pthread_mutex_destroy(&store->stats_lock);
    pthread_mutex_destroy(&store->workers_lock);
    pthread_mutex_destroy(&store->caches.lock);
    if (store->shared != NULL) {
        tac_pool_store_ended(store);
    }
    free(store);
}

/* Frees whatever there is of a store that could not be opened. */
static void parts_destroy(struct tactus *store, const struct tac_error *error)
{
    tac_logger_add(&store->logger, TACTUS_LOGGER_ERROR, "the open failed: %s", error->message);
    memory_free(store);
    rest_destroy(store);
}

static void shape_take(struct tactus *store, const struct tac_superblock *superblock)
{
    store->shape = superblock->shape;
    memcpy(store->uuid, superblock->uuid, sizeof store->uuid);
    store->geometry = (struct tac_geometry){
        .block_size = store->shape.block_size,
        .page_size = store->shape.page_size,
        .checksum_seed = tac_uuid_checksum_seed(store->uuid),
    };
    store->plans_per_bar = store->shape.runs_per_level == 1 ? 2 : 1;
    store->view_count = 4 * store->plans_per_bar;
    store->beats_per_plan = store->shape.beats_per_bar / store->plans_per_bar;
    store->table_records_max = tac_admission_table_records_max(&store->shape);
    store->filter_blocks_max = tac_admission_filter_blocks_max(&store->shape);
}

/* Of a store that is not there: as much of its struct as sums and shapes need. */
static int memory_explain(struct tactus *store, struct tac_memory_plan *ret_memory,
                          struct tac_error *error)
{
    struct tactus_options *options = &store->options;
    struct tac_superblock  superblock = {0};
    uint64_t               blocks;

    if (options->memory_size == TACTUS_SIZE_AUTO) {
        options->memory_size = 0;
    }
    tac_options_shape(options, &superblock.shape);
    if (tac_options_resolve(options, error) != TACTUS_OK ||
        tac_shape_check(&superblock.shape, error) != TACTUS_OK) {
        return error->code;
    }
    tac_options_from_shape(options, &superblock.shape);
    options->threads = options->threads_read + options->threads_merge + options->threads_write;
    shape_take(store, &superblock);
    ret_memory->seats = tac_admission_seats(options);
    blocks = pool_blocks(store, ret_memory->seats);
    if (pool_check(store, blocks, error) != TACTUS_OK ||
        memory_plan(store, ret_memory->seats, blocks, error) != TACTUS_OK) {
        return error->code;
    }
    if (options->pool_size == 0) {
        options->pool_size = blocks * store->shape.block_size;
    }
    ret_memory->budget_bytes = store->memory_budget_bytes + log_memory_bytes(store);
    ret_memory->others_bytes = ret_memory->budget_bytes - options->level0_cache_size -
                               options->page_cache_size - options->index_cache_size;
    return TACTUS_OK;
}

int tac_store_memory_explain(const struct tactus_options *options,
                             struct tactus_options *ret_options, struct tac_memory_plan *ret_memory,
                             struct tac_error *error)
{
    struct tactus *store =
        aligned_alloc(TAC_CACHE_LINE_BYTES, tac_round_up(sizeof *store, TAC_CACHE_LINE_BYTES));
    int result;

    if (store == NULL) {
        return tac_error_set(error, TACTUS_ENOMEM, "out of memory to explain options");
    }
    memset(store, 0, sizeof *store);
    store->options = *options;
    result = memory_explain(store, ret_memory, error);
    *ret_options = store->options;
    free(store);
    return result;
}

/* Jobs in the middle of their work give back what they hold; their results are gone. */
static void seats_abandon(struct tactus *store)
{
    for (uint32_t stage = 0; stage < TAC_STAGES_WITH_QUEUE; stage++) {
        while (tac_stage_pop(&store->stages, (enum tac_stage_id)stage) != NULL) {
        }
    }
    (void)tac_stack_take_all(&store->stages.stalled);
    (void)tac_stack_take_all(&store->stages.done);
    for (uint32_t i = 0; i < store->seat_count; i++) {
        struct tac_seat *seat = &store->seats[i];

        if (seat->state != TAC_SEAT_FREE) {
            tac_block_pool_give_back(&store->pool, tac_seat_abandon(seat));
        }
    }
}

/* Wakes who may go on when the bucket has opened: stages/rate.h. */
static void *rate_main(void *argument)
{
    struct tactus *store = argument;

    while (tac_rate_wait(&store->stages.rate)) {
        pthread_mutex_lock(&store->workers_lock);
        tac_event_count_notify_all(store->stages.events[TAC_STAGE_READ]);
        tac_event_count_notify_all(store->stages.events[TAC_STAGE_WRITE]);
        pthread_mutex_unlock(&store->workers_lock);
    }
    return NULL;
}

int tac_store_io_rate_change(struct tactus *store, uint64_t bytes_per_s, struct tac_error *error)
{
    int result = TACTUS_OK;

    pthread_mutex_lock(&store->workers_lock);
    if (bytes_per_s > 0 && !store->is_stepped && !store->has_rate_thread) {
        result = tac_thread_start(&store->rate_thread, "tac-rate", rate_main, store, error);
        store->has_rate_thread = result == TACTUS_OK;
    }
    pthread_mutex_unlock(&store->workers_lock);
    if (result == TACTUS_OK) {
        tac_rate_change(&store->stages.rate, bytes_per_s);
    }
    return result;
}

static void workers_stop(struct tactus *store)
{
    tac_scrub_stop(store);
    if (store->has_rate_thread) {
        tac_rate_stop(&store->stages.rate);
        pthread_join(store->rate_thread, NULL);
        store->has_rate_thread = false;
    }
    tac_worker_pool_stop(&store->workers);
    seats_abandon(store);
}

static struct tac_worker_counts worker_counts(const struct tactus_options *options,
                                              struct tactus_pool          *shared)
{
    struct tac_worker_counts counts = {
        .has_threads = options->threads_merge > 0,
        .is_idle = options->threads_priority == TACTUS_PRIORITY_IDLE,
        .io_depth = options->io_depth,
    };

    if (shared != NULL && (shared->has_threads || shared->is_simulated)) {
        counts.shared = &shared->threads;
    } else {
        counts.count[TAC_STAGE_READ] = options->threads_read;
        counts.count[TAC_STAGE_MERGE] = options->threads_merge;
        counts.count[TAC_STAGE_WRITE] = options->threads_write;
    }
    return counts;
}

static int io_priority_take(struct tactus *store, struct tac_error *error)
{
    switch (store->options.io_priority) {
    case TACTUS_IO_PRIORITY_NORMAL:
        return TACTUS_OK;
    case TACTUS_IO_PRIORITY_LOW:
        store->storage->io_priority = IOPRIO_PRIO_VALUE(IOPRIO_CLASS_BE, IO_PRIORITY_LAST);
        break;
    case TACTUS_IO_PRIORITY_IDLE:
        store->storage->io_priority = IOPRIO_PRIO_VALUE(IOPRIO_CLASS_IDLE, 0);
        break;
    }
    return tac_thread_io_priority_check(store->storage->io_priority, error);
}

int tac_store_open(struct tac_storage *storage, const struct tactus_options *options,
                   const struct tac_stepping *stepping, const struct tac_log_place *place,
                   struct tactus **ret_store, struct tac_error *error)
{
    return tac_store_open_in(NULL, storage, options, stepping, place, ret_store, error);
}

int tac_store_open_in(struct tactus_pool *shared, struct tac_storage *storage,
                      const struct tactus_options *options, const struct tac_stepping *stepping,
                      const struct tac_log_place *place, struct tactus **ret_store,
                      struct tac_error *error)
{
    struct tactus *store =
        aligned_alloc(TAC_CACHE_LINE_BYTES, tac_round_up(sizeof *store, TAC_CACHE_LINE_BYTES));
    struct tac_superblock    superblock;
    struct tac_worker_counts counts;
    uint32_t                 repaired;

    if (store == NULL) {
        return tac_error_set(error, TACTUS_ENOMEM, "out of memory for a store");
    }
    memset(store, 0, sizeof *store);
    pthread_mutex_init(&store->commit_lock, NULL);
    pthread_mutex_init(&store->stats_lock, NULL);
    pthread_mutex_init(&store->workers_lock, NULL);
    pthread_mutex_init(&store->caches.lock, NULL);
    tac_scrub_init(&store->scrub);
    tac_events_init(&store->events);
    tac_logger_init(&store->logger, options);
    tac_snapshots_init(&store->snapshots);
    store->storage = storage;
    store->options = *options;
    if (shared != NULL) {
        store->shared = shared;
        tac_pool_store_begins(store);
    } else if (options->memory_size == TACTUS_SIZE_AUTO) {
        store->options.memory_size = 0;
    }
    store->tight_plan_every = stepping != NULL ? stepping->tight_plan_every : 0;
    if (tac_options_resolve(&store->options, error) != TACTUS_OK) {
        parts_destroy(store, error);
        return error->code;
    }
    counts = worker_counts(&store->options, shared);
    store->is_stepped = !counts.has_threads;
    if (tac_logger_begin(&store->logger, store->is_stepped, error) != TACTUS_OK ||
        io_priority_take(store, error) != TACTUS_OK ||
        tac_store_superblock_open(storage, &superblock, &repaired, error) != TACTUS_OK) {
        parts_destroy(store, error);
        return error->code;
    }
    if (repaired > 0) {
        tac_logger_add(&store->logger, TACTUS_LOGGER_INFO,
                       "copies of the superblock that were old or damaged and have been written "
                       "again: %u",
                       repaired);
    }
    shape_take(store, &superblock);
    if (tac_wal_find(store, &superblock, place, error) != TACTUS_OK ||
        parts_create(store, &superblock, error) != TACTUS_OK ||
        tac_store_state_load(store, &superblock, error) != TACTUS_OK) {
        parts_destroy(store, error);
        return error->code;
    }
    store->immutable_table = store->memtables[TAC_MEMTABLES - 1];
    tac_ranges_checkpointed(store);
    store->read_side.bar_now = store->bar_count;
    store->read_side.visible_op = store->last_op;
    if (!tac_store_has_replay(store)) {
        tac_space_fullness_update(store);
        tac_space_fullness_publish(store, true);
    }
    tac_damage_update(&store->damage, store->manifest, store->shape.runs_per_level);
    tac_store_publish_view(store);
    tac_store_report(store);
    tac_scrub_begin(store);
    if (tac_worker_pool_start(&store->workers, &store->stages, &counts, stepping,
                              tac_coordinator_step, store, error) != TACTUS_OK) {
        parts_destroy(store, error);
        return error->code;
    }
    tac_recovery_start(store);
    if (tac_store_io_rate_change(store, store->options.io_rate_max_bytes, error) != TACTUS_OK ||
        tac_ingest_bars_end(store, error) != TACTUS_OK ||
        tac_wal_replay(store, place, error) != TACTUS_OK ||
        tac_scrub_start(store, error) != TACTUS_OK) {
        tac_wal_thread_stop(&store->wal);
        workers_stop(store);
        parts_destroy(store, error);
        return error->code;
    }
    if (shared != NULL) {
        tac_pool_store_add(store);
    }
    tac_logger_add_open(store);
    if (store->is_stepped) {
        tac_teller_tell(&store->logger.teller);
    }
    *ret_store = store;
    return TACTUS_OK;
}

int tac_store_workers_change(struct tactus *store, const struct tactus_options *options,
                             const struct tac_stepping *stepping, struct tac_error *error)
{
    struct tac_worker_counts counts = worker_counts(options, NULL);
    int                      result;

    tac_assert(counts.has_threads != store->is_stepped);
    pthread_mutex_lock(&store->commit_lock);
    pthread_mutex_lock(&store->workers_lock);
    result = tac_worker_pool_change(&store->workers, &store->stages, &counts, stepping, error);
    if (result == TACTUS_OK) {
        store->options.threads_read = options->threads_read;
        store->options.threads_merge = options->threads_merge;
        store->options.threads_write = options->threads_write;
    } else if (!store->workers.has_threads) {
        store->options.threads_read = 0;
        store->options.threads_merge = 0;
        store->options.threads_write = 0;
    }
    pthread_mutex_unlock(&store->workers_lock);
    pthread_mutex_unlock(&store->commit_lock);
    return result;
}

/* ---- close ---------------------------------------------------------------------------------- */

/* The application's calls end: those of its callback too. */
static void calls_end(struct tactus *store)
{
    tac_events_end(&store->events);
    if (store->shared != NULL) {
        tac_pool_store_remove(store);
    }
}

static void storage_close(struct tactus *store)
{
    struct tac_storage *storage = store->storage;

    rest_destroy(store);
    storage->ops->close(storage);
}

void tac_store_abandon(struct tactus *store)
{
    calls_end(store);
    tac_wal_thread_stop(&store->wal);
    workers_stop(store);
    memory_free(store);
    storage_close(store);
}

static void close_say(struct tactus *store, int result, const struct tac_error *error)
{
    unsigned long long op = store->last_op;

    if (result == TACTUS_OK) {
        tac_logger_add(&store->logger, TACTUS_LOGGER_INFO, "closed: all is durable, up to op %llu",
                       op);
    } else {
        tac_logger_add(&store->logger, TACTUS_LOGGER_ERROR, "closed at op %llu, with an error: %s",
                       op, error->message);
    }
}

/* The log brings back what has not been done. While its last sync is under way, which takes
 * longest, threads end and memory is given back. */
static int close_with_log(struct tactus *store, struct tac_error *error)
{
    int result;

    calls_end(store);
    tac_wal_finish_begin(&store->wal);
    workers_stop(store);
    memory_free(store);
    result = tac_wal_finish(&store->wal, store->last_op, error);
    if (result == TACTUS_OK && tac_store_is_poisoned(store)) {
        result = tac_error_set(error, TACTUS_EPOISONED, "writing had stopped: %s",
                               store->poison_error.message);
    }
    close_say(store, result, error);
    storage_close(store);
    return result;
}

int tac_store_close(struct tactus *store, struct tac_error *error)
{
    int result;

    tac_writer_resume(store);
    if (store->options.log != TACTUS_LOG_NONE) {
        return close_with_log(store, error);
    }
    pthread_mutex_lock(&store->commit_lock);
    tac_writer_plan_wait(store);
    if (!tac_store_is_poisoned(store)) {
        tac_sweep_end(store, TACTUS_COMPACT_CANCELLED); /* It does not go on without a log */
    }
    result = tac_writer_drain(store, 0, error);
    if (result == TACTUS_ECORRUPT) {
        result = TACTUS_OK; /* Damage is in the way of compactions; all that was written is safe. */
    }
    if (result == TACTUS_OK || result == TACTUS_EFULL) {
        struct tac_error later;

        /* The op may be durable while a later checkpoint is being written: its blocks are part of
         * the file, the same ones whatever the threads. */
        if (tac_writer_quiet(store, &later) != TACTUS_OK && result == TACTUS_OK) {
            *error = later;
            result = later.code;
        }
    }
    pthread_mutex_unlock(&store->commit_lock);
    close_say(store, result, error);
    tac_store_abandon(store);
    return result;
}
