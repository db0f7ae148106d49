/* SPDX-License-Identifier: Apache-2.0 */
/* Tactus through its public header, with its defaults but for the size of its caches. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "tools/compare/engine.h"

struct tactus_engine {
    struct tac_engine base;
    struct tactus    *store;
    uint32_t          tree;
};

static int failed(const char *what) { return tac_engine_fail("tactus", what, tactus_message()); }

static struct tactus_engine *engine_of(struct tac_engine *engine)
{
    return (struct tactus_engine *)engine;
}

static void tactus_version_put(char text[32]) { snprintf(text, 32, "%s", PACKAGE_VERSION); }

/* What peers find in the system's cache goes to whoever needs it: so does this memory, to compactions
 * or to readers. */
static uint64_t level0_cache_bytes(const struct tac_engine_config *config,
                                   const struct tactus_options    *options)
{
    return config->only_reads ? 0
                              : tac_min_u64((options->runs_per_level + 2) * options->memtable_size,
                                            config->cache_bytes / 4);
}

static void options_make(const struct tac_engine_config *config, struct tactus_options *options)
{
    uint64_t left_bytes;

    tactus_options_init(options);
    tac_bench_uuid_make(config->seed, options->uuid);
    options->filter_bits_per_key = TAC_ENGINE_FILTER_BITS;
    options->log = config->log == TAC_ENGINE_LOG_NONE ? TACTUS_LOG_NONE : TACTUS_LOG_INTERVAL;
    options->memtable_size = tac_engine_memtable_bytes(config);
    options->threads_priority = TACTUS_PRIORITY_IDLE;
    options->level0_cache_size = level0_cache_bytes(config, options);
    left_bytes = config->cache_bytes - options->level0_cache_size;
    options->index_cache_size = tac_min_u64(192 * TAC_MIB, left_bytes / 2);
    options->page_cache_size = left_bytes - options->index_cache_size;
}

static int tactus_engine_open(const struct tac_engine_config *config,
                              struct tac_engine             **ret_engine)
{
    struct tactus_engine *engine = calloc(1, sizeof *engine);
    struct tactus_options options;
    char                  path[PATH_MAX];
    int                   code;

    if (engine == NULL) {
        return tac_engine_fail("tactus", "open", "out of memory");
    }
    engine->base = (struct tac_engine){&tac_engine_tactus, *config};
    snprintf(path, sizeof path, "%s/store.tactus", config->path);
    options_make(config, &options);
    code = tactus_create(path, &options);
    if (code == TACTUS_OK || code == TACTUS_EEXISTS) {
        code = tactus_open(path, &options, &engine->store);
    }
    if (code == TACTUS_OK && tactus_tree_find(engine->store, "default", &engine->tree) != 0) {
        code = tactus_tree_create(engine->store, "default", &config->shape->layout, &engine->tree);
    }
    if (code == TACTUS_OK && config->holds) {
        code = tactus_compaction_hold(engine->store, true);
    }
    if (code != TACTUS_OK) {
        return failed("open");
    }
    *ret_engine = &engine->base;
    return 0;
}

static int tactus_engine_close(struct tac_engine *engine)
{
    int code = tactus_close(engine_of(engine)->store);

    free(engine);
    return code == TACTUS_OK ? 0 : failed("close");
}

static int tactus_engine_put(struct tac_engine *engine, const void *key, size_t key_size,
                             const void *value, size_t value_size)
{
    struct tactus_engine *self = engine_of(engine);
    int code = tactus_put(self->store, self->tree, key, key_size, value, value_size);

    return code == TACTUS_OK ? 0 : failed("put");
}

static int tactus_engine_remove(struct tac_engine *engine, const void *key, size_t key_size)
{
    struct tactus_engine *self = engine_of(engine);
    int                   code = tactus_delete(self->store, self->tree, key, key_size);

    return code == TACTUS_OK ? 0 : failed("delete");
}

static int tactus_engine_get(struct tac_engine *engine, const void *key, size_t key_size,
                             void *value, size_t room, size_t *ret_size)
{
    struct tactus_engine *self = engine_of(engine);
    int code = tactus_get(self->store, self->tree, key, key_size, value, room, ret_size);

    return code == TACTUS_OK ? 1 : code == TACTUS_ENOTFOUND ? 0 : failed("get");
}

static int tactus_engine_scan(struct tac_engine *engine, const void *key, size_t key_size,
                              tac_engine_record_fn *record_fn, void *context)
{
    struct tactus_engine   *self = engine_of(engine);
    struct tactus_iterator *iterator;
    int                     code = tactus_iterator_open(self->store, self->tree, &iterator);

    if (code != TACTUS_OK) {
        return failed("iterator");
    }
    code = key == NULL ? tactus_iterator_first(iterator)
                       : tactus_iterator_seek(iterator, key, key_size);
    while (code == TACTUS_OK) {
        const void *record_key, *value;
        size_t      record_key_size, value_size;

        tactus_iterator_record(iterator, &record_key, &record_key_size, &value, &value_size);
        if (!record_fn(context, record_key, record_key_size, value, value_size)) {
            break;
        }
        code = tactus_iterator_next(iterator);
    }
    tactus_iterator_close(iterator);
    return code == TACTUS_OK || code == TACTUS_ENOTFOUND ? 0 : failed("scan");
}

static int tactus_engine_settle(struct tac_engine *engine, uint64_t *ret_idle_ns)
{
    *ret_idle_ns = 0;
    return tactus_drain(engine_of(engine)->store) == TACTUS_OK ? 0 : failed("drain");
}

/* tactus_compact ends the hold itself. */
static int tactus_engine_release(struct tac_engine *engine)
{
    return tactus_checkpoint(engine_of(engine)->store) == TACTUS_OK ? 0 : failed("checkpoint");
}

static int tactus_engine_compact(struct tac_engine *engine)
{
    struct tactus_engine *self = engine_of(engine);

    return tactus_compact(self->store, self->tree) == TACTUS_OK ? 0 : failed("compact");
}

static int tactus_engine_sync(struct tac_engine *engine)
{
    return tactus_sync(engine_of(engine)->store) == TACTUS_OK ? 0 : failed("sync");
}

static uint64_t tactus_engine_disk_bytes(struct tac_engine *engine)
{
    struct tactus_stats stats;

    tactus_stat(engine_of(engine)->store, &stats);
    return stats.blocks_acquired * stats.block_size;
}

static uint64_t tactus_engine_budget(struct tac_engine *engine)
{
    struct tactus_stats stats;

    tactus_stat(engine_of(engine)->store, &stats);
    return stats.memory_budget_bytes;
}

const struct tac_engine_ops tac_engine_tactus = {
    .name = "tactus",
    .caveat = "reads past the system's cache: its own cache has all the memory",
    .traits = TAC_ENGINE_HOLDS | TAC_ENGINE_SYNCS_ITSELF,
    .version = tactus_version_put,
    .open = tactus_engine_open,
    .close = tactus_engine_close,
    .put = tactus_engine_put,
    .remove = tactus_engine_remove,
    .get = tactus_engine_get,
    .scan = tactus_engine_scan,
    .settle = tactus_engine_settle,
    .release = tactus_engine_release,
    .compact = tactus_engine_compact,
    .sync = tactus_engine_sync,
    .disk_bytes = tactus_engine_disk_bytes,
    .memory_budget_bytes = tactus_engine_budget,
};
