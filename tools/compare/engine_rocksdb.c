/* SPDX-License-Identifier: Apache-2.0 */
/* RocksDB through its C interface: levelled compaction, no compression, two subcompactions, its
 * files read and written through the system's cache (its default). */
#include <rocksdb/c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/units.h"
#include "tools/compare/engine.h"

struct rocksdb_engine {
    struct tac_engine       base;
    rocksdb_t              *db;
    rocksdb_options_t      *options;
    rocksdb_cache_t        *cache;
    rocksdb_readoptions_t  *read;
    rocksdb_writeoptions_t *write;
};

#define POLL_US 1000

static struct rocksdb_engine *engine_of(struct tac_engine *engine)
{
    return (struct rocksdb_engine *)engine;
}

/* Takes the error's text. */
static int failed(const char *what, char *text)
{
    int result = tac_engine_fail("rocksdb", what, text);

    rocksdb_free(text);
    return result;
}

static void rocksdb_version(char text[32]) { snprintf(text, 32, "%s", ROCKSDB_VERSION); }

static void table_options_set(struct rocksdb_engine *engine)
{
    rocksdb_block_based_table_options_t *table = rocksdb_block_based_options_create();

    engine->cache = rocksdb_cache_create_lru(engine->base.config.cache_bytes);
    rocksdb_block_based_options_set_block_cache(table, engine->cache);
    rocksdb_block_based_options_set_filter_policy(
        table, rocksdb_filterpolicy_create_bloom_full(TAC_ENGINE_FILTER_BITS));
    rocksdb_options_set_block_based_table_factory(engine->options, table);
    rocksdb_block_based_options_destroy(table);
}

static void options_set(struct rocksdb_engine *engine)
{
    rocksdb_options_t *options = engine->options;
    long               processors = sysconf(_SC_NPROCESSORS_ONLN);

    rocksdb_options_set_create_if_missing(options, 1);
    rocksdb_options_increase_parallelism(options, (int)processors);
    rocksdb_options_set_max_subcompactions(options, (uint32_t)processors);
    rocksdb_options_set_compression(options, rocksdb_no_compression);
    rocksdb_options_set_write_buffer_size(options, tac_engine_memtable_bytes(&engine->base.config));
    rocksdb_options_set_bytes_per_sync(options, TAC_MIB);
    if (engine->base.config.holds) {
        rocksdb_options_set_disable_auto_compactions(options, 1);
        rocksdb_options_set_level0_slowdown_writes_trigger(options, 1000);
        rocksdb_options_set_level0_stop_writes_trigger(options, 1000);
    }
}

static int rocksdb_engine_open(const struct tac_engine_config *config,
                               struct tac_engine             **ret_engine)
{
    struct rocksdb_engine *engine = calloc(1, sizeof *engine);
    char                  *error = NULL;

    if (engine == NULL) {
        return tac_engine_fail("rocksdb", "open", "out of memory");
    }
    engine->base = (struct tac_engine){&tac_engine_rocksdb, *config};
    engine->options = rocksdb_options_create();
    options_set(engine);
    table_options_set(engine);
    engine->read = rocksdb_readoptions_create();
    engine->write = rocksdb_writeoptions_create();
    rocksdb_writeoptions_disable_WAL(engine->write, config->log == TAC_ENGINE_LOG_NONE);
    engine->db = rocksdb_open(engine->options, config->path, &error);
    if (error != NULL) {
        return failed("open", error);
    }
    *ret_engine = &engine->base;
    return 0;
}

static int rocksdb_engine_close(struct tac_engine *engine)
{
    struct rocksdb_engine *self = engine_of(engine);

    rocksdb_close(self->db);
    rocksdb_readoptions_destroy(self->read);
    rocksdb_writeoptions_destroy(self->write);
    rocksdb_options_destroy(self->options);
    rocksdb_cache_destroy(self->cache);
    free(self);
    return 0;
}

static int rocksdb_engine_put(struct tac_engine *engine, const void *key, size_t key_size,
                              const void *value, size_t value_size)
{
    struct rocksdb_engine *self = engine_of(engine);
    char                  *error = NULL;

    rocksdb_put(self->db, self->write, key, key_size, value, value_size, &error);
    return error == NULL ? 0 : failed("put", error);
}

static int rocksdb_engine_remove(struct tac_engine *engine, const void *key, size_t key_size)
{
    struct rocksdb_engine *self = engine_of(engine);
    char                  *error = NULL;

    rocksdb_delete(self->db, self->write, key, key_size, &error);
    return error == NULL ? 0 : failed("delete", error);
}

static int rocksdb_engine_get(struct tac_engine *engine, const void *key, size_t key_size,
                              void *value, size_t room, size_t *ret_size)
{
    struct rocksdb_engine   *self = engine_of(engine);
    char                    *error = NULL;
    rocksdb_pinnableslice_t *slice =
        rocksdb_get_pinned(self->db, self->read, key, key_size, &error);
    const char *found;

    if (error != NULL) {
        return failed("get", error);
    }
    found = rocksdb_pinnableslice_value(slice, ret_size);
    if (found == NULL) {
        return 0;
    }
    memcpy(value, found, tac_min_u64(room, *ret_size));
    rocksdb_pinnableslice_destroy(slice);
    return 1;
}

static int rocksdb_engine_scan(struct tac_engine *engine, const void *key, size_t key_size,
                               tac_engine_record_fn *record_fn, void *context)
{
    struct rocksdb_engine *self = engine_of(engine);
    rocksdb_iterator_t    *iterator = rocksdb_create_iterator(self->db, self->read);
    char                  *error = NULL;

    if (key == NULL) {
        rocksdb_iter_seek_to_first(iterator);
    } else {
        rocksdb_iter_seek(iterator, key, key_size);
    }
    for (; rocksdb_iter_valid(iterator); rocksdb_iter_next(iterator)) {
        size_t      record_key_size, value_size;
        const char *record_key = rocksdb_iter_key(iterator, &record_key_size);
        const char *value = rocksdb_iter_value(iterator, &value_size);

        if (!record_fn(context, record_key, record_key_size, value, value_size)) {
            break;
        }
    }
    rocksdb_iter_get_error(iterator, &error);
    rocksdb_iter_destroy(iterator);
    return error == NULL ? 0 : failed("scan", error);
}

static int memtable_flush(struct rocksdb_engine *engine)
{
    rocksdb_flushoptions_t *flush = rocksdb_flushoptions_create();
    char                   *error = NULL;

    rocksdb_flushoptions_set_wait(flush, 1);
    rocksdb_flush(engine->db, flush, &error);
    rocksdb_flushoptions_destroy(flush);
    return error == NULL ? 0 : failed("flush", error);
}

static bool is_at_rest(struct rocksdb_engine *engine)
{
    static const char *const busy[] = {
        "rocksdb.mem-table-flush-pending",
        "rocksdb.num-running-flushes",
        "rocksdb.compaction-pending",
        "rocksdb.num-running-compactions",
    };

    for (size_t i = 0; i < TAC_ARRAY_COUNT(busy); i++) {
        uint64_t number = 0;

        if (rocksdb_property_int(engine->db, busy[i], &number) != 0 || number != 0) {
            return false;
        }
    }
    return true;
}

static int rocksdb_engine_settle(struct tac_engine *engine, uint64_t *ret_idle_ns)
{
    struct rocksdb_engine *self = engine_of(engine);

    *ret_idle_ns = 0;
    if (memtable_flush(self) != 0) {
        return -1;
    }
    while (!is_at_rest(self)) {
        usleep(POLL_US);
    }
    return 0;
}

static int rocksdb_engine_release(struct tac_engine *engine)
{
    return memtable_flush(engine_of(engine));
}

static int rocksdb_engine_compact(struct tac_engine *engine)
{
    rocksdb_compact_range(engine_of(engine)->db, NULL, 0, NULL, 0);
    return 0;
}

static int rocksdb_engine_sync(struct tac_engine *engine)
{
    char *error = NULL;

    rocksdb_flush_wal(engine_of(engine)->db, 1, &error);
    return error == NULL ? 0 : failed("sync", error);
}

const struct tac_engine_ops tac_engine_rocksdb = {
    .name = "rocksdb",
    .traits = TAC_ENGINE_HOLDS,
    .version = rocksdb_version,
    .open = rocksdb_engine_open,
    .close = rocksdb_engine_close,
    .put = rocksdb_engine_put,
    .remove = rocksdb_engine_remove,
    .get = rocksdb_engine_get,
    .scan = rocksdb_engine_scan,
    .settle = rocksdb_engine_settle,
    .release = rocksdb_engine_release,
    .compact = rocksdb_engine_compact,
    .sync = rocksdb_engine_sync,
};
