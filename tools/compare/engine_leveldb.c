/* SPDX-License-Identifier: Apache-2.0 */
/* LevelDB through its C interface. Its log cannot be switched off, only left unsynced, and its
 * compactions cannot be held back. */
#include <leveldb/c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "tools/compare/engine.h"

struct leveldb_engine {
    struct tac_engine       base;
    leveldb_t              *db;
    leveldb_options_t      *options;
    leveldb_cache_t        *cache;
    leveldb_filterpolicy_t *filter;
    leveldb_readoptions_t  *read;
    leveldb_writeoptions_t *write, *write_sync;
};

static struct leveldb_engine *engine_of(struct tac_engine *engine)
{
    return (struct leveldb_engine *)engine;
}

/* Takes the error's text. */
static int failed(const char *what, char *text)
{
    int result = tac_engine_fail("leveldb", what, text);

    leveldb_free(text);
    return result;
}

static void leveldb_version(char text[32])
{
    snprintf(text, 32, "%d.%d", leveldb_major_version(), leveldb_minor_version());
}

static void options_set(struct leveldb_engine *engine)
{
    const struct tac_engine_config *config = &engine->base.config;

    engine->options = leveldb_options_create();
    engine->cache = leveldb_cache_create_lru(config->cache_bytes);
    engine->filter = leveldb_filterpolicy_create_bloom(TAC_ENGINE_FILTER_BITS);
    leveldb_options_set_create_if_missing(engine->options, 1);
    leveldb_options_set_cache(engine->options, engine->cache);
    leveldb_options_set_filter_policy(engine->options, engine->filter);
    leveldb_options_set_compression(engine->options, leveldb_no_compression);
    leveldb_options_set_write_buffer_size(engine->options, tac_engine_memtable_bytes(config));
    leveldb_options_set_max_file_size(engine->options, 8 * TAC_MIB);
    leveldb_options_set_max_open_files(engine->options, 10000);
}

static int leveldb_engine_open(const struct tac_engine_config *config,
                               struct tac_engine             **ret_engine)
{
    struct leveldb_engine *engine = calloc(1, sizeof *engine);
    char                  *error = NULL;

    if (engine == NULL) {
        return tac_engine_fail("leveldb", "open", "out of memory");
    }
    engine->base = (struct tac_engine){&tac_engine_leveldb, *config};
    options_set(engine);
    engine->read = leveldb_readoptions_create();
    engine->write = leveldb_writeoptions_create();
    engine->write_sync = leveldb_writeoptions_create();
    leveldb_writeoptions_set_sync(engine->write_sync, 1);
    engine->db = leveldb_open(engine->options, config->path, &error);
    if (error != NULL) {
        return failed("open", error);
    }
    *ret_engine = &engine->base;
    return 0;
}

static int leveldb_engine_close(struct tac_engine *engine)
{
    struct leveldb_engine *self = engine_of(engine);

    leveldb_close(self->db);
    leveldb_readoptions_destroy(self->read);
    leveldb_writeoptions_destroy(self->write);
    leveldb_writeoptions_destroy(self->write_sync);
    leveldb_options_destroy(self->options);
    leveldb_cache_destroy(self->cache);
    leveldb_filterpolicy_destroy(self->filter);
    free(self);
    return 0;
}

static int leveldb_engine_put(struct tac_engine *engine, const void *key, size_t key_size,
                              const void *value, size_t value_size)
{
    struct leveldb_engine *self = engine_of(engine);
    char                  *error = NULL;

    leveldb_put(self->db, self->write, key, key_size, value, value_size, &error);
    return error == NULL ? 0 : failed("put", error);
}

static int leveldb_engine_remove(struct tac_engine *engine, const void *key, size_t key_size)
{
    struct leveldb_engine *self = engine_of(engine);
    char                  *error = NULL;

    leveldb_delete(self->db, self->write, key, key_size, &error);
    return error == NULL ? 0 : failed("delete", error);
}

static int leveldb_engine_get(struct tac_engine *engine, const void *key, size_t key_size,
                              void *value, size_t room, size_t *ret_size)
{
    struct leveldb_engine *self = engine_of(engine);
    char                  *error = NULL;
    char *found = leveldb_get(self->db, self->read, key, key_size, ret_size, &error);

    if (error != NULL) {
        return failed("get", error);
    }
    if (found == NULL) {
        return 0;
    }
    memcpy(value, found, tac_min_u64(room, *ret_size));
    leveldb_free(found);
    return 1;
}

static int leveldb_engine_scan(struct tac_engine *engine, const void *key, size_t key_size,
                               tac_engine_record_fn *record_fn, void *context)
{
    struct leveldb_engine *self = engine_of(engine);
    leveldb_iterator_t    *iterator = leveldb_create_iterator(self->db, self->read);
    char                  *error = NULL;

    if (key == NULL) {
        leveldb_iter_seek_to_first(iterator);
    } else {
        leveldb_iter_seek(iterator, key, key_size);
    }
    for (; leveldb_iter_valid(iterator); leveldb_iter_next(iterator)) {
        size_t      record_key_size, value_size;
        const char *record_key = leveldb_iter_key(iterator, &record_key_size);
        const char *value = leveldb_iter_value(iterator, &value_size);

        if (!record_fn(context, record_key, record_key_size, value, value_size)) {
            break;
        }
    }
    leveldb_iter_get_error(iterator, &error);
    leveldb_iter_destroy(iterator);
    return error == NULL ? 0 : failed("scan", error);
}

/* An empty batch, synced: it takes all that was written to the log before along. */
static int leveldb_engine_sync(struct tac_engine *engine)
{
    struct leveldb_engine *self = engine_of(engine);
    leveldb_writebatch_t  *batch = leveldb_writebatch_create();
    char                  *error = NULL;

    leveldb_write(self->db, self->write_sync, batch, &error);
    leveldb_writebatch_destroy(batch);
    return error == NULL ? 0 : failed("sync", error);
}

/* The last memtable stays in memory and in the log, as LevelDB would have it. */
static int leveldb_engine_settle(struct tac_engine *engine, uint64_t *ret_idle_ns)
{
    *ret_idle_ns = 0;
    if (leveldb_engine_sync(engine) != 0) {
        return -1;
    }
    *ret_idle_ns = tac_engine_wait_quiet();
    return 0;
}

const struct tac_engine_ops tac_engine_leveldb = {
    .name = "leveldb",
    .caveat = "always writes a log; cannot hold compactions back, so no `compact`",
    .traits = 0,
    .version = leveldb_version,
    .open = leveldb_engine_open,
    .close = leveldb_engine_close,
    .put = leveldb_engine_put,
    .remove = leveldb_engine_remove,
    .get = leveldb_engine_get,
    .scan = leveldb_engine_scan,
    .settle = leveldb_engine_settle,
    .sync = leveldb_engine_sync,
};
