/* SPDX-License-Identifier: Apache-2.0 */
/* WiredTiger as an LSM tree. Its merges are held back by opening it without them; a compaction
 * begins with opening it again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wiredtiger.h>

#include "base/units.h"
#include "tools/compare/engine.h"

#define TABLE "lsm:records"
#define COMPACT_SECONDS 3600

struct wiredtiger_engine {
    struct tac_engine base;
    WT_CONNECTION    *connection;
    WT_SESSION       *session, *session_sync; /* A session is for one thread */
    WT_CURSOR        *cursor;
};

static struct wiredtiger_engine *engine_of(struct tac_engine *engine)
{
    return (struct wiredtiger_engine *)engine;
}

static int failed(const char *what, int code)
{
    return tac_engine_fail("wiredtiger", what, wiredtiger_strerror(code));
}

static void wiredtiger_version_put(char text[32])
{
    snprintf(text, 32, "%d.%d.%d", WIREDTIGER_VERSION_MAJOR, WIREDTIGER_VERSION_MINOR,
             WIREDTIGER_VERSION_PATCH);
}

static int connection_open(struct wiredtiger_engine *engine, bool merges)
{
    const struct tac_engine_config *config = &engine->base.config;
    char                            text[512];
    int                             code;

    snprintf(text, sizeof text,
             "create,cache_size=%lluMB,log=(enabled=%s),lsm_manager=(worker_thread_max=%ld,"
             "merge=%s)",
             (unsigned long long)(config->cache_bytes / TAC_MIB),
             config->log == TAC_ENGINE_LOG_NONE ? "false" : "true",
             sysconf(_SC_NPROCESSORS_ONLN) + 2, merges ? "true" : "false");
    code = wiredtiger_open(config->path, NULL, text, &engine->connection);
    if (code == 0) {
        code = engine->connection->open_session(engine->connection, NULL, NULL, &engine->session);
    }
    if (code == 0) {
        code =
            engine->connection->open_session(engine->connection, NULL, NULL, &engine->session_sync);
    }
    if (code != 0) {
        return failed("open", code);
    }
    snprintf(text, sizeof text,
             "key_format=u,value_format=u,lsm=(chunk_size=%lluMB,bloom_bit_count=%d,"
             "auto_throttle=true)",
             (unsigned long long)(tac_engine_memtable_bytes(config) / TAC_MIB),
             TAC_ENGINE_FILTER_BITS);
    code = engine->session->create(engine->session, TABLE, text);
    if (code == 0) {
        code = engine->session->open_cursor(engine->session, TABLE, NULL, "overwrite=true",
                                            &engine->cursor);
    }
    return code == 0 ? 0 : failed("open", code);
}

static int wiredtiger_engine_open(const struct tac_engine_config *config,
                                  struct tac_engine             **ret_engine)
{
    struct wiredtiger_engine *engine = calloc(1, sizeof *engine);

    if (engine == NULL) {
        return tac_engine_fail("wiredtiger", "open", "out of memory");
    }
    engine->base = (struct tac_engine){&tac_engine_wiredtiger, *config};
    *ret_engine = &engine->base;
    return connection_open(engine, !config->holds);
}

static int wiredtiger_engine_close(struct tac_engine *engine)
{
    struct wiredtiger_engine *self = engine_of(engine);
    int                       code = self->connection->close(self->connection, NULL);

    free(self);
    return code == 0 ? 0 : failed("close", code);
}

static void key_set(struct wiredtiger_engine *engine, const void *key, size_t key_size)
{
    WT_ITEM item = {.data = key, .size = key_size};

    engine->cursor->set_key(engine->cursor, &item);
}

static int wiredtiger_engine_put(struct tac_engine *engine, const void *key, size_t key_size,
                                 const void *value, size_t value_size)
{
    struct wiredtiger_engine *self = engine_of(engine);
    WT_ITEM                   item = {.data = value, .size = value_size};
    int                       code;

    key_set(self, key, key_size);
    self->cursor->set_value(self->cursor, &item);
    code = self->cursor->insert(self->cursor);
    return code == 0 ? 0 : failed("insert", code);
}

static int wiredtiger_engine_remove(struct tac_engine *engine, const void *key, size_t key_size)
{
    struct wiredtiger_engine *self = engine_of(engine);
    int                       code;

    key_set(self, key, key_size);
    code = self->cursor->remove(self->cursor);
    return code == 0 || code == WT_NOTFOUND ? 0 : failed("remove", code);
}

static int wiredtiger_engine_get(struct tac_engine *engine, const void *key, size_t key_size,
                                 void *value, size_t room, size_t *ret_size)
{
    struct wiredtiger_engine *self = engine_of(engine);
    WT_ITEM                   item;
    int                       code;

    key_set(self, key, key_size);
    code = self->cursor->search(self->cursor);
    if (code == WT_NOTFOUND) {
        return 0;
    }
    if (code == 0) {
        code = self->cursor->get_value(self->cursor, &item);
    }
    if (code != 0) {
        return failed("search", code);
    }
    *ret_size = item.size;
    memcpy(value, item.data, tac_min_u64(room, item.size));
    self->cursor->reset(self->cursor);
    return 1;
}

/* On the first record at or after the key. */
static int cursor_seek(WT_CURSOR *cursor, const void *key, size_t key_size)
{
    WT_ITEM item = {.data = key, .size = key_size};
    int     exact = 0;
    int     code;

    cursor->set_key(cursor, &item);
    code = cursor->search_near(cursor, &exact);
    return code == 0 && exact < 0 ? cursor->next(cursor) : code;
}

static int wiredtiger_engine_scan(struct tac_engine *engine, const void *key, size_t key_size,
                                  tac_engine_record_fn *record_fn, void *context)
{
    struct wiredtiger_engine *self = engine_of(engine);
    WT_CURSOR                *cursor;
    int code = self->session->open_cursor(self->session, TABLE, NULL, NULL, &cursor);

    if (code != 0) {
        return failed("cursor", code);
    }
    for (code = key == NULL ? cursor->next(cursor) : cursor_seek(cursor, key, key_size); code == 0;
         code = cursor->next(cursor)) {
        WT_ITEM record_key, value;

        if (cursor->get_key(cursor, &record_key) != 0 || cursor->get_value(cursor, &value) != 0) {
            return tac_engine_fail("wiredtiger", "scan", "a cursor without a record");
        }
        if (!record_fn(context, record_key.data, record_key.size, value.data, value.size)) {
            break;
        }
    }
    cursor->close(cursor);
    return code == 0 || code == WT_NOTFOUND ? 0 : failed("scan", code);
}

static int wiredtiger_engine_settle(struct tac_engine *engine, uint64_t *ret_idle_ns)
{
    struct wiredtiger_engine *self = engine_of(engine);
    int                       code = self->session->checkpoint(self->session, NULL);

    *ret_idle_ns = code == 0 ? tac_engine_wait_quiet() : 0;
    return code == 0 ? 0 : failed("checkpoint", code);
}

static int wiredtiger_engine_release(struct tac_engine *engine)
{
    struct wiredtiger_engine *self = engine_of(engine);
    int                       code = self->connection->close(self->connection, NULL);

    return code == 0 ? connection_open(self, true) : failed("close", code);
}

static int wiredtiger_engine_compact(struct tac_engine *engine)
{
    struct wiredtiger_engine *self = engine_of(engine);
    char                      text[32];
    int                       code;

    snprintf(text, sizeof text, "timeout=%d", COMPACT_SECONDS);
    code = self->session->compact(self->session, TABLE, text);
    if (code == 0) {
        code = self->session->checkpoint(self->session, NULL);
    }
    return code == 0 ? 0 : failed("compact", code);
}

static int wiredtiger_engine_sync(struct tac_engine *engine)
{
    struct wiredtiger_engine *self = engine_of(engine);
    int                       code = self->session_sync->log_flush(self->session_sync, "sync=on");

    return code == 0 ? 0 : failed("log flush", code);
}

const struct tac_engine_ops tac_engine_wiredtiger = {
    .name = "wiredtiger",
    .caveat = "as an LSM tree, which later versions no longer have",
    .traits = TAC_ENGINE_HOLDS,
    .version = wiredtiger_version_put,
    .open = wiredtiger_engine_open,
    .close = wiredtiger_engine_close,
    .put = wiredtiger_engine_put,
    .remove = wiredtiger_engine_remove,
    .get = wiredtiger_engine_get,
    .scan = wiredtiger_engine_scan,
    .settle = wiredtiger_engine_settle,
    .release = wiredtiger_engine_release,
    .compact = wiredtiger_engine_compact,
    .sync = wiredtiger_engine_sync,
};
