/* SPDX-License-Identifier: Apache-2.0 */
/* LMDB, a B-tree over a memory map: filled in order of keys, so that its pages are full, and then
 * read. */
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "tools/compare/engine.h"

#define MAP_BYTES ((size_t)256 * TAC_GIB)
#define PUTS_PER_TRANSACTION 100000

struct lmdb_engine {
    struct tac_engine base;
    MDB_env          *env;
    MDB_dbi           dbi;
    MDB_txn          *write; /* NULL: none is open */
    MDB_txn          *read;  /* Reset between operations, renewed for each */
    MDB_cursor       *cursor;
    uint64_t          puts;
};

static struct lmdb_engine *engine_of(struct tac_engine *engine)
{
    return (struct lmdb_engine *)engine;
}

static int failed(const char *what, int code)
{
    return tac_engine_fail("lmdb", what, mdb_strerror(code));
}

static void lmdb_version(char text[32])
{
    snprintf(text, 32, "%d.%d.%d", MDB_VERSION_MAJOR, MDB_VERSION_MINOR, MDB_VERSION_PATCH);
}

static int write_begin(struct lmdb_engine *engine)
{
    int code = mdb_txn_begin(engine->env, NULL, 0, &engine->write);

    return code == 0 ? 0 : failed("transaction", code);
}

static int write_end(struct lmdb_engine *engine)
{
    MDB_txn *write = engine->write;
    int      code;

    engine->write = NULL;
    code = write == NULL ? 0 : mdb_txn_commit(write);
    return code == 0 ? 0 : failed("commit", code);
}

static int lmdb_open(const struct tac_engine_config *config, struct tac_engine **ret_engine)
{
    struct lmdb_engine *engine = calloc(1, sizeof *engine);
    int                 code;

    if (engine == NULL) {
        return tac_engine_fail("lmdb", "open", "out of memory");
    }
    engine->base = (struct tac_engine){&tac_engine_lmdb, *config};
    code = mdb_env_create(&engine->env);
    if (code == 0) {
        code = mdb_env_set_mapsize(engine->env, MAP_BYTES);
    }
    if (code == 0) {
        code = mdb_env_open(engine->env, config->path, MDB_NOSYNC | MDB_NORDAHEAD, 0644);
    }
    if (code != 0) {
        return failed("open", code);
    }
    if (write_begin(engine) != 0) {
        return -1;
    }
    code = mdb_dbi_open(engine->write, NULL, MDB_CREATE, &engine->dbi);
    if (code != 0) {
        return failed("open", code);
    }
    *ret_engine = &engine->base;
    return write_end(engine);
}

static int lmdb_close(struct tac_engine *engine)
{
    struct lmdb_engine *self = engine_of(engine);
    int                 result = write_end(self);

    if (self->read != NULL) {
        mdb_cursor_close(self->cursor);
        mdb_txn_abort(self->read);
    }
    if (result == 0 && mdb_env_sync(self->env, 1) != 0) {
        result = tac_engine_fail("lmdb", "sync", NULL);
    }
    mdb_env_close(self->env);
    free(self);
    return result;
}

/* Keys come in ascending order. */
static int lmdb_put(struct tac_engine *engine, const void *key, size_t key_size, const void *value,
                    size_t value_size)
{
    struct lmdb_engine *self = engine_of(engine);
    MDB_val             key_item = {key_size, (void *)key};
    MDB_val             value_item = {value_size, (void *)value};
    int                 code;

    if (self->write == NULL && write_begin(self) != 0) {
        return -1;
    }
    code = mdb_put(self->write, self->dbi, &key_item, &value_item, MDB_APPEND);
    if (code != 0) {
        return failed("put", code);
    }
    return ++self->puts % PUTS_PER_TRANSACTION == 0 ? write_end(self) : 0;
}

static int read_begin(struct lmdb_engine *engine)
{
    int code;

    if (engine->read != NULL) {
        code = mdb_txn_renew(engine->read);
        if (code == 0) {
            code = mdb_cursor_renew(engine->read, engine->cursor);
        }
    } else {
        code = mdb_txn_begin(engine->env, NULL, MDB_RDONLY, &engine->read);
        if (code == 0) {
            code = mdb_cursor_open(engine->read, engine->dbi, &engine->cursor);
        }
    }
    return code == 0 ? 0 : failed("transaction", code);
}

static int lmdb_get(struct tac_engine *engine, const void *key, size_t key_size, void *value,
                    size_t room, size_t *ret_size)
{
    struct lmdb_engine *self = engine_of(engine);
    MDB_val             key_item = {key_size, (void *)key};
    MDB_val             value_item;
    int                 code;

    if (read_begin(self) != 0) {
        return -1;
    }
    code = mdb_get(self->read, self->dbi, &key_item, &value_item);
    if (code == 0) {
        *ret_size = value_item.mv_size;
        memcpy(value, value_item.mv_data, tac_min_u64(room, value_item.mv_size));
    }
    mdb_txn_reset(self->read);
    return code == 0 ? 1 : code == MDB_NOTFOUND ? 0 : failed("get", code);
}

static int lmdb_scan(struct tac_engine *engine, const void *key, size_t key_size,
                     tac_engine_record_fn *record_fn, void *context)
{
    struct lmdb_engine *self = engine_of(engine);
    MDB_val             key_item = {key_size, (void *)key};
    MDB_val             value_item;
    int                 code;

    if (read_begin(self) != 0) {
        return -1;
    }
    code = mdb_cursor_get(self->cursor, &key_item, &value_item,
                          key == NULL ? MDB_FIRST : MDB_SET_RANGE);
    while (code == 0 && record_fn(context, key_item.mv_data, key_item.mv_size, value_item.mv_data,
                                  value_item.mv_size)) {
        code = mdb_cursor_get(self->cursor, &key_item, &value_item, MDB_NEXT);
    }
    mdb_txn_reset(self->read);
    return code == 0 || code == MDB_NOTFOUND ? 0 : failed("scan", code);
}

static int lmdb_settle(struct tac_engine *engine, uint64_t *ret_idle_ns)
{
    struct lmdb_engine *self = engine_of(engine);

    *ret_idle_ns = 0;
    if (write_end(self) != 0) {
        return -1;
    }
    return mdb_env_sync(self->env, 1) == 0 ? 0 : tac_engine_fail("lmdb", "sync", NULL);
}

const struct tac_engine_ops tac_engine_lmdb = {
    .name = "lmdb",
    .caveat = "a B-tree, filled in order of keys: for reads only",
    .traits = TAC_ENGINE_READS_ONLY,
    .version = lmdb_version,
    .open = lmdb_open,
    .close = lmdb_close,
    .put = lmdb_put,
    .get = lmdb_get,
    .scan = lmdb_scan,
    .settle = lmdb_settle,
};
