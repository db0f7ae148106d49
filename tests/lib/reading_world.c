/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/reading_world.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "queues/atomics.h"
#include "reading/block_read.h"
#include "tests/lib/tap.h"

static void must(int rv, const struct tac_error *error)
{
    if (rv != TACTUS_OK) {
        tap_bail("%s", error->message);
    }
}

/* ---- storage ---- */

static struct world_storage *storage_of(struct tac_storage *storage)
{
    return (struct world_storage *)storage;
}

static void storage_wait(struct world_storage *storage)
{
    uint64_t bar = tac_atomic_load_acquire_u64(storage->bar_now) + 3;

    /* Only now: who has seen the count, and lets three bars pass, has ended the wait. */
    tac_atomic_fetch_add_acq_rel_u32(&storage->waits, 1);
    while (tac_atomic_load_acquire_u64(storage->bar_now) < bar &&
           tac_atomic_load_acquire_u32(&storage->is_over) == 0) {
        sched_yield();
    }
}

static int storage_read(struct tac_storage *base, void *data, uint64_t size, uint64_t offset,
                        struct tac_error *error)
{
    struct world_storage *storage = storage_of(base);
    uint64_t              number = tac_atomic_fetch_add_u64(&storage->reads, 1) + 1;
    int                   rv;

    if ((uintptr_t)data % base->alignment_bytes != 0 || size % base->alignment_bytes != 0 ||
        offset % base->alignment_bytes != 0) {
        tap_bail("a read that is not aligned");
    }
    if (storage->before_read != NULL) {
        void (*before_read)(void *, uint64_t) = storage->before_read;

        storage->before_read = NULL;
        before_read(storage->context, offset);
    }
    if (storage->wait_every > 0 && number % storage->wait_every == 0) {
        storage_wait(storage);
    }
    if (storage->fail_every > 0 && (number % storage->fail_every == 0 ||
                                    (storage->fails_again && number % storage->fail_every == 1))) {
        return tac_error_set(error, TACTUS_EIO, "the test fails this read");
    }
    rv = storage->inner->ops->read(storage->inner, data, size, offset, error);
    if (rv == TACTUS_OK && storage->flip_every > 0 && number % storage->flip_every == 0) {
        ((uint8_t *)data)[number * 7919 % size] ^= 1;
    }
    return rv;
}

struct world_queue {
    struct tac_io_queue base; /* First: the two are cast into each other */
    struct tac_io      *done;
};

static int queue_new(struct tac_storage *storage, uint32_t depth, int wake_fd,
                     struct tac_io_queue **ret_queue, struct tac_error *error)
{
    struct world_queue *queue = calloc(1, sizeof *queue);

    (void)wake_fd;
    if (queue == NULL) {
        return tac_error_set(error, TACTUS_ENOMEM, "no memory for a queue");
    }
    queue->base = (struct tac_io_queue){.storage = storage, .depth = depth};
    *ret_queue = &queue->base;
    return TACTUS_OK;
}

static void queue_free(struct tac_io_queue *queue)
{
    tac_assert(queue->in_flight == 0);
    free(queue);
}

static bool queue_submit(struct tac_io_queue *base, struct tac_io *io)
{
    struct world_queue   *queue = (struct world_queue *)base;
    struct world_storage *storage = storage_of(base->storage);
    struct tac_error      error;

    tac_assert(io->kind == TAC_IO_READ && io->segment_count == 1);
    io->result = storage_read(base->storage, io->segments[0].iov_base, io->size_bytes,
                              io->offset_bytes, &error);
    io->next = queue->done;
    queue->done = io;
    base->in_flight++;
    if (base->in_flight > tac_atomic_load_relaxed_u32(&storage->in_flight_max)) {
        tac_atomic_exchange_u32(&storage->in_flight_max, base->in_flight);
    }
    return true;
}

static bool queue_flush(struct tac_io_queue *queue)
{
    (void)queue;
    return true;
}

static uint32_t queue_reap(struct tac_io_queue *base, struct tac_io **ret_list)
{
    struct world_queue *queue = (struct world_queue *)base;

    *ret_list = queue->done;
    if (queue->done == NULL) {
        return 0;
    }
    queue->done = queue->done->next;
    (*ret_list)->next = NULL;
    base->in_flight--;
    return 1;
}

static void storage_init(struct world_storage *storage, struct tac_memory_disk *disk)
{
    static struct tac_storage_ops ops;
    struct tac_error              error;

    *storage = (struct world_storage){0};
    must(tac_storage_open_memory(disk, &storage->inner, &error), &error);
    ops = *storage->inner->ops;
    ops.read = storage_read;
    ops.queue_new = queue_new;
    ops.queue_free = queue_free;
    ops.submit = queue_submit;
    ops.flush = queue_flush;
    ops.reap = queue_reap;
    storage->base = *storage->inner;
    storage->base.ops = &ops;
}

static void disk_write(struct world *world, const void *data, uint64_t size, uint64_t offset)
{
    struct tac_storage *inner = world->storage.inner;
    struct tac_error    error;

    if (offset + size > inner->ops->size(inner)) {
        must(inner->ops->resize(inner, (offset + size) * 2, &error), &error);
    }
    must(inner->ops->write(inner, data, size, offset, &error), &error);
}

void world_flip(struct world *world, uint64_t offset)
{
    struct tac_storage *inner = world->storage.inner;
    struct tac_error    error;
    uint64_t            begin = offset / 512 * 512;
    uint8_t             data[512] TAC_CACHE_ALIGNED;
    uint8_t            *aligned = aligned_alloc(4096, 4096);

    must(inner->ops->read(inner, aligned, 512, begin, &error), &error);
    memcpy(data, aligned, 512);
    data[offset % 512] ^= 0x10;
    memcpy(aligned, data, 512);
    must(inner->ops->write(inner, aligned, 512, begin, &error), &error);
    free(aligned);
}

/* ---- life ---- */

static struct tac_read_side *side_new(struct world *world, uint64_t page_cache_bytes,
                                      uint64_t index_cache_bytes)
{
    struct tac_read_side *side = aligned_alloc(64, tac_round_up(sizeof *side, 64));
    struct tac_error      error;

    must(tac_read_side_create(side, &world->geometry, &world->storage.base, page_cache_bytes,
                              page_cache_bytes, index_cache_bytes, index_cache_bytes, &error),
         &error);
    return side;
}

struct world *world_new(const struct world_options *options)
{
    struct world    *world = calloc(1, sizeof *world);
    struct tac_error error;
    uint32_t         tree;

    world->prng.state = options->seed;
    world->geometry = (struct tac_geometry){options->block_size, options->page_size, 77};
    world->layout = options->layout;
    world->filter_bits = options->filter_bits;
    world->value_large = options->value_large;
    world->table_bytes = options->table_bytes;
    world->key_count = options->key_count;
    world->model = calloc(options->key_count, sizeof *world->model);
    world->disk = tac_memory_disk_new(0);
    storage_init(&world->storage, world->disk);
    if (options->alignment > 0) {
        world->storage.base.alignment_bytes = options->alignment;
    }
    world->side = side_new(world, options->page_cache_bytes, options->index_cache_bytes);
    world->manifest = tac_manifest_new(WORLD_TABLES_MAX);
    must(tac_manifest_tree_add(world->manifest, "birds", &world->layout, &tree, &error), &error);
    must(tac_manifest_tree_add(world->manifest, "empty", &world->layout, &tree, &error), &error);
    tac_manifest_tree(world->manifest, 0)->planner.last_level = 2;
    world->builder = tac_table_builder_new(&world->geometry, options->key_count);
    for (uint32_t i = 0; i < WORLD_MEMTABLES; i++) {
        world->memtables[i] = tac_memtable_new(16 * TAC_MIB, 2);
    }
    for (uint32_t i = 0; i < WORLD_VIEWS; i++) {
        world->versions[i] = tac_version_new(WORLD_TABLES_MAX);
    }
    world->address_end = 1;
    return world;
}

static const struct world_options configurations[WORLD_CONFIGURATIONS] = {
    /* Keys behind a common prefix, several tables a run, filters in index blocks */
    {.layout = {TACTUS_LAYOUT_FIXED, 16, 24},
     .block_size = 16384,
     .page_size = 1024,
     .filter_bits = 10,
     .key_count = 4000,
     .table_bytes = 30000,
     .page_cache_bytes = TAC_MIB,
     .index_cache_bytes = 4 * TAC_MIB},
    /* No values, filters in blocks of their own, caches of one set, pages smaller than what the
       device reads */
    {.layout = {TACTUS_LAYOUT_FIXED, 12, 0},
     .block_size = 8192,
     .page_size = 512,
     .filter_bits = 20,
     .key_count = 20000,
     .table_bytes = 90000,
     .alignment = 4096,
     .page_cache_bytes = 4096,
     .index_cache_bytes = 80000},
    /* Records of several pages each, no filters */
    {.layout = {TACTUS_LAYOUT_FIXED, 20, 1500},
     .block_size = 8192,
     .page_size = 512,
     .filter_bits = 0,
     .key_count = 600,
     .table_bytes = 100000,
     .alignment = 2048,
     .page_cache_bytes = TAC_MIB,
     .index_cache_bytes = TAC_MIB},
    /* Sizes of every kind, pages of several units among the others */
    {.layout = {TACTUS_LAYOUT_VARIABLE, 40, 8000},
     .block_size = 32768,
     .page_size = 1024,
     .filter_bits = 10,
     .value_large = 8000,
     .key_count = 3000,
     .table_bytes = 100000,
     .page_cache_bytes = TAC_MIB,
     .index_cache_bytes = 4 * TAC_MIB},
    /* The same with no cache at all, four units to the block */
    {.layout = {TACTUS_LAYOUT_VARIABLE, 1024, 900},
     .block_size = 16384,
     .page_size = 4096,
     .filter_bits = 4,
     .value_large = 900,
     .key_count = 800,
     .table_bytes = 60000},
};

struct world *world_configured(uint32_t configuration, uint64_t seed)
{
    struct world_options options;

    tac_assert(configuration < WORLD_CONFIGURATIONS);
    options = configurations[configuration];
    options.seed = seed + configuration;
    return world_new(&options);
}

void world_free(struct world *world)
{
    tac_read_side_destroy(world->side);
    free(world->side);
    for (uint32_t i = 0; i < WORLD_VIEWS; i++) {
        tac_version_free(world->versions[i]);
    }
    for (uint32_t i = 0; i < WORLD_MEMTABLES; i++) {
        tac_memtable_free(world->memtables[i]);
    }
    tac_table_builder_free(world->builder);
    tac_manifest_free(world->manifest);
    world->storage.inner->ops->close(world->storage.inner);
    tac_memory_disk_free(world->disk);
    free(world->model);
    free(world);
}

/* What the old caches keep for descriptors they keep no more. */
static void kept_let_go(struct world *world)
{
    for (uint32_t i = 0; i < tac_manifest_tree_count(world->manifest); i++) {
        const struct tac_manifest_tree *tree = tac_manifest_tree(world->manifest, i);

        for (uint32_t level = 0; level < TACTUS_LEVELS_MAX; level++) {
            for (uint32_t j = 0; j < tree->levels[level].table_count; j++) {
                tac_table_index_let_go(world->side, tree->levels[level].tables[j]);
            }
        }
    }
}

void world_caches(struct world *world, uint64_t page_cache_bytes, uint64_t index_cache_bytes)
{
    struct tac_read_side *before = world->side;

    kept_let_go(world);
    world->side = side_new(world, page_cache_bytes, index_cache_bytes);
    world->side->visible_op = before->visible_op;
    tac_read_side_publish(world->side, before->view);
    tac_read_side_destroy(before);
    free(before);
}

/* ---- keys and values ---- */

struct tac_bytes world_key(const struct world *world, uint32_t number, bool between,
                           uint8_t *buffer)
{
    uint32_t size = world->layout.key_size;
    uint32_t spread = between ? number * 3 + 2 : number * 3 + 1;

    if (world->layout.kind == TACTUS_LAYOUT_FIXED) {
        /* Behind a common prefix that is longer than what searches compare first. */
        memset(buffer, 'k', size);
        for (uint32_t i = 0; i < 4; i++) {
            buffer[(size >= 12 ? 8 : 0) + i] = (uint8_t)(spread >> (24 - 8 * i));
        }
    } else {
        char text[16];

        snprintf(text, sizeof text, "%07u", spread);
        memcpy(buffer, text, 7);
        size = 7 + (uint32_t)(tac_mix_u64(number) % (world->layout.key_size - 6));
        memset(buffer + 7, 'x', size - 7);
    }
    return (struct tac_bytes){buffer, size};
}

struct tac_bytes world_value(const struct world *world, uint32_t number, uint32_t version,
                             uint8_t *buffer)
{
    struct tac_prng prng = {(uint64_t)number << 32 | version};
    uint32_t        size = world->layout.value_size;

    if (world->layout.kind == TACTUS_LAYOUT_VARIABLE) {
        size = (uint32_t)tac_prng_below(&prng, 90);
        if (world->value_large > 0 && tac_prng_below(&prng, 16) == 0) {
            size = (uint32_t)tac_prng_below(&prng, world->value_large + 1);
        }
    }
    tac_assert(size <= WORLD_VALUE_MAX);
    for (uint32_t i = 0; i < size; i++) {
        buffer[i] = (uint8_t)tac_prng_next(&prng);
    }
    if (size >= 4) {
        tac_store_u32(buffer, version);
    }
    return (struct tac_bytes){buffer, size};
}

/* ---- tables ---- */

static struct tac_builder_buffer sink_take_buffer(void *context)
{
    struct world *world = context;

    return (struct tac_builder_buffer){.data = aligned_alloc(4096, world->geometry.block_size)};
}

static uint64_t sink_take_address(void *context)
{
    struct world *world = context;

    return world->address_end++;
}

static void sink_sealed(void *context, const struct tac_sealed_block *block)
{
    struct world *world = context;

    disk_write(world, block->buffer.data, world->geometry.block_size,
               block->reference.address * world->geometry.block_size);
    free(block->buffer.data);
}

/* Overwrites the value blocks of which no record counts: those whose successor begins at or below
 * the edge. */
static void blocks_overwrite(struct world *world, const struct tac_table *table)
{
    uint64_t               block_size = world->geometry.block_size;
    uint8_t               *data = aligned_alloc(4096, block_size), *garbage;
    struct tac_index_block index;
    struct tac_error       error;

    garbage = aligned_alloc(4096, block_size);
    memset(garbage, 0xee, block_size);
    must(world->storage.inner->ops->read(world->storage.inner, data, block_size,
                                         table->index.address * block_size, &error),
         &error);
    must(tac_index_block_decode(&index, data, &world->geometry, table->index.address, &error),
         &error);
    for (uint32_t i = 0; i + 1 < index.value_block_count; i++) {
        uint32_t page = tac_index_value_block(&index, i + 1).page_first;

        if (tac_bytes_compare(tac_index_separator(&index, page), world->trim_key) <= 0) {
            disk_write(world, garbage, block_size,
                       tac_index_value_block(&index, i).reference.address * block_size);
        }
    }
    free(data);
    free(garbage);
}

static void sink_finished(void *context, const struct tac_table *built)
{
    struct world     *world = context;
    struct tac_table *table;
    struct tac_bytes  key_min = built->key_min;
    bool is_trimmed = world->trim > 0 && tac_bytes_compare(key_min, world->trim_key) < 0;

    if (is_trimmed && tac_bytes_compare(built->key_max, world->trim_key) < 0) {
        return;
    }
    table = tac_manifest_table_take(world->manifest, 0);
    table->level = world->level;
    table->id = ++world->table_id;
    table->stamp = world->stamp;
    table->snapshot_max = UINT64_MAX;
    table->index = built->index;
    table->value_block_count = built->value_block_count;
    table->filter_block_count = built->filter_block_count;
    table->bytes = built->bytes;
    table->records = built->records;
    table->tombstones = built->tombstones;
    table->sum = built->sum;
    table->is_trimmed = is_trimmed;
    if (is_trimmed) {
        key_min = world->trim_key;
        blocks_overwrite(world, built);
    }
    tac_table_set_keys(table, key_min, built->key_max);
    tac_manifest_insert(world->manifest, table);
}

static void tables_begin(struct world *world, uint32_t level, const struct tac_cut *cut)
{
    struct tac_table_builder_options options = {
        .geometry = &world->geometry,
        .layout = world->layout,
        .tree = 0,
        .sequence = 1,
        .filter_bits_per_key = world->filter_bits,
        .cuts = cut,
        .cut_count = 1,
    };
    struct tac_builder_sink sink = {world, sink_take_buffer, sink_take_address, sink_sealed,
                                    sink_finished};

    world->level = level;
    world->stamp++;
    tac_table_builder_begin(world->builder, &options, &sink);
}

static void tables_append(struct world *world, uint32_t number, uint32_t version, bool is_tombstone)
{
    static uint8_t    bytes[TACTUS_KEY_SIZE_MAX + WORLD_VALUE_MAX];
    struct tac_record record = {.is_tombstone = is_tombstone};

    record.key = world_key(world, number, false, bytes);
    record.value.data = bytes + record.key.size;
    if (!is_tombstone) {
        record.value = world_value(world, number, version, bytes + record.key.size);
    }
    tac_table_builder_append(
        world->builder, &record,
        tac_record_hash(bytes, record.key.size, record.value.size, is_tombstone));
}

void world_add_tables(struct world *world, uint32_t level, uint32_t begin, uint32_t end,
                      uint32_t percent, uint32_t percent_tombstones, uint32_t trim)
{
    struct tac_cut cut = {.limit_bytes = world->table_bytes};
    uint8_t        trim_buffer[TACTUS_KEY_SIZE_MAX];

    world->trim = trim;
    if (trim > 0) { /* An edge is not always a key. */
        bool between = tac_prng_below(&world->prng, 2) == 0;

        world->trim_key = world_key(world, between ? trim - 1 : trim, between, trim_buffer);
    }
    tables_begin(world, level, &cut);
    world->version++;
    for (uint32_t i = begin; i < end; i++) {
        bool is_tombstone = tac_prng_below(&world->prng, 100) < percent_tombstones;

        if (tac_prng_below(&world->prng, 100) < percent) {
            tables_append(world, i, (uint32_t)world->version, is_tombstone);
            if (i >= trim) {
                world->model[i] = is_tombstone ? 0 : (uint32_t)world->version;
            }
        }
    }
    tac_table_builder_finish(world->builder);
    world->trim = 0;
}

void world_add_model(struct world *world, uint32_t level)
{
    struct tac_cut cut = {.limit_bytes = world->table_bytes};

    tables_begin(world, level, &cut);
    for (uint32_t i = 0; i < world->key_count; i++) {
        if (world->model[i] > 0) {
            tables_append(world, i, world->model[i], false);
        }
    }
    tac_table_builder_finish(world->builder);
}

void world_remove_tables(struct world *world)
{
    struct tac_manifest_tree *tree = tac_manifest_tree(world->manifest, 0);

    for (uint32_t i = 0; i < TACTUS_LEVELS_MAX; i++) {
        while (tree->levels[i].table_count > 0) {
            struct tac_table *table = tree->levels[i].tables[0];

            tac_manifest_remove(world->manifest, table);
            tac_manifest_limbo_add(world->manifest, table, world->bar + 1);
        }
    }
}

/* ---- memtables and views ---- */

void world_put(struct world *world, uint32_t number, bool is_tombstone)
{
    static uint8_t   key_buffer[TACTUS_KEY_SIZE_MAX], value_buffer[WORLD_VALUE_MAX];
    struct tac_bytes key = world_key(world, number, false, key_buffer);
    struct tac_bytes value = {0};

    world->version++;
    if (!is_tombstone) {
        value = world_value(world, number, (uint32_t)world->version, value_buffer);
    }
    tac_memtable_put(world->memtables[world->memtable], 0, ++world->op, key, value, is_tombstone);
    world->model[number] = is_tombstone ? 0 : (uint32_t)world->version;
    tac_atomic_store_release_u64(&world->side->visible_op, world->op);
}

void world_put_random(struct world *world, uint32_t count, uint32_t percent_tombstones)
{
    for (uint32_t i = 0; i < count; i++) {
        world_put(world, (uint32_t)tac_prng_below(&world->prng, world->key_count),
                  tac_prng_below(&world->prng, 100) < percent_tombstones);
    }
}

void world_swap(struct world *world)
{
    world->memtable = (world->memtable + 1) % WORLD_MEMTABLES;
    tac_memtable_reset(world->memtables[world->memtable]);
    world->has_immutable = true;
}

void world_publish(struct world *world)
{
    uint32_t         slot = (uint32_t)(++world->bar % WORLD_VIEWS);
    struct tac_view *view = &world->views[slot];
    uint32_t         immutable = (world->memtable + WORLD_MEMTABLES - 1) % WORLD_MEMTABLES;

    tac_version_fill(world->versions[slot], world->manifest, world->bar);
    *view = (struct tac_view){
        .bar = world->bar,
        .version = world->versions[slot],
        .mutable_table = world->memtables[world->memtable],
        .immutable_table = world->has_immutable ? world->memtables[immutable] : NULL,
    };
    tac_read_side_publish(world->side, view);
}

void world_fill(struct world *world)
{
    uint32_t n = world->key_count;

    world_add_tables(world, 2, 0, n, 70, 5, 0);
    world_add_tables(world, 1, 0, n, 20, 20, n / 3);
    world_add_tables(world, 1, n / 4, n, 20, 20, 0);
    world_add_tables(world, 1, n / 10, n / 2, 30, 20, n / 5);
    world_add_tables(world, 1, n / 2 + n / 8, n, 10, 10, 0);
    world_add_tables(world, 0, n / 3, n / 2, 60, 30, n / 3 + n / 50);
    world_add_tables(world, 0, 0, n, 5, 50, 0);
    world_add_tables(world, 0, n - n / 5, n, 20, 50, 0);
    world_put_random(world, n / 10, 25);
    world_swap(world);
    world_put_random(world, n / 10, 25);
    world_publish(world);
}
