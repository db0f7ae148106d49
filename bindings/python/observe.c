/* SPDX-License-Identifier: Apache-2.0 */
/* observe -- methods of tactus.Store that tell what it has done and check what it holds. */
#include "module.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* ---- statistics ----------------------------------------------------------------------------- */

enum kind {
    KIND_U64,
    KIND_U32,
    KIND_BOOL,
    KIND_POINTER, /* To a text */
    KIND_TEXT,
    KIND_BUCKETS,
};

struct field {
    const char *name;
    enum kind   kind;
    size_t      offset;
};

#define STORE(kind, name)                                                                          \
    {                                                                                              \
#name, KIND_##kind, offsetof(struct tactus_stats, name)                                    \
    }
#define STAGE(kind, name)                                                                          \
    {                                                                                              \
#name, KIND_##kind, offsetof(struct tactus_stage_stats, name)                              \
    }
#define LEVEL(kind, name)                                                                          \
    {                                                                                              \
#name, KIND_##kind, offsetof(struct tactus_level_stats, name)                              \
    }

static const struct field store_fields[] = {
    STORE(U64, last_op),
    STORE(U64, durable_op),
    STORE(U64, checkpoint_sequence),
    STORE(U64, bars),
    STORE(U64, beats),
    STORE(U64, user_bytes),
    STORE(U64, records_put),
    STORE(U64, records_deleted),
    STORE(U64, written_bytes),
    STORE(U64, read_bytes),
    STORE(U64, cache_hits),
    STORE(U64, cache_misses),
    STORE(U64, cache_carried),
    STORE(U64, level0_cache_hits),
    STORE(U64, waits),
    STORE(U64, wait_ns_total),
    STORE(U64, wait_ns_max),
    STORE(BUCKETS, wait_buckets),
    STORE(U64, wait_bound_bytes),
    STORE(U64, checkpoint_waits),
    STORE(U64, log_bytes),
    STORE(U64, log_syncs),
    STORE(U64, log_waits),
    STORE(U64, tight_plans),
    STORE(U64, compactions),
    STORE(U64, jobs),
    STORE(U64, tables_moved),
    STORE(U64, tables_written),
    STORE(U64, records_merged),
    STORE(U64, records_overwritten),
    STORE(U64, tombstones_dropped),
    STORE(U64, records_discarded),
    STORE(U64, bar_work_bytes),
    STORE(U64, bar_work_done_bytes),
    STORE(U64, block_size),
    STORE(U64, blocks_acquired),
    STORE(U64, blocks_released),
    STORE(U64, blocks_in_file),
    STORE(U64, live_bytes),
    STORE(U64, tables_damaged),
    STORE(U64, tables_discarded),
    STORE(U64, discarded_bytes),
    STORE(U64, discards_done),
    STORE(U64, discards_damaged),
    STORE(U64, tables_retained),
    STORE(U64, retained_bytes),
    STORE(U64, scrub_blocks),
    STORE(U64, scrub_rounds),
    STORE(U64, scrub_round_blocks),
    STORE(U64, scrub_damages),
    STORE(U64, memory_budget_bytes),
    STORE(U64, manifest_log_blocks),
    STORE(U32, depth_max),
    STORE(U32, threads_read),
    STORE(U32, threads_merge),
    STORE(U32, threads_write),
    STORE(U32, trees),
    STORE(U32, snapshots),
    STORE(U32, ranges),
    STORE(U64, records_range_deleted),
    STORE(U64, syncs),
    STORE(U64, sync_ns_max),
    STORE(U32, levels),
    STORE(POINTER, backend),
    STORE(BOOL, direct_io),
    STORE(BOOL, is_paused),
    STORE(TEXT, scrub_damage),
    {NULL, KIND_U64, 0},
};

static const struct field stage_fields[] = {
    STAGE(U64, bytes),          STAGE(U64, items),          STAGE(U64, busy_ns),
    STAGE(U64, gathered_bytes), STAGE(U64, gather_ns),      STAGE(U64, idle_ns),
    STAGE(U64, wait_work_ns),   STAGE(U64, wait_device_ns), STAGE(U64, wait_credit_ns),
    STAGE(U64, wait_read_ns),   STAGE(U64, wait_write_ns),  {NULL, KIND_U64, 0},
};

static const struct field level_fields[] = {
    LEVEL(U64, tables),     LEVEL(U64, bytes), LEVEL(U64, records),
    LEVEL(U64, tombstones), LEVEL(U32, depth), {NULL, KIND_U64, 0},
};

static const char *const stage_names[TACTUS_STAGES] = {
    [TACTUS_STAGE_READ] = "read",
    [TACTUS_STAGE_MERGE] = "merge",
    [TACTUS_STAGE_WRITE] = "write",
    [TACTUS_STAGE_COORDINATOR] = "coordinator",
};

/* Adds an item, which it takes over; NULL is a failure. */
static bool list_take(PyObject *list, PyObject *item)
{
    bool is_done = item != NULL && PyList_Append(list, item) == 0;

    Py_XDECREF(item);
    return is_done;
}

static bool dict_take(PyObject *dict, const char *name, PyObject *item)
{
    bool is_done = item != NULL && PyDict_SetItemString(dict, name, item) == 0;

    Py_XDECREF(item);
    return is_done;
}

static PyObject *text_new(const char *text)
{
    return PyUnicode_DecodeUTF8(text, (Py_ssize_t)strlen(text), "replace");
}

static PyObject *buckets_new(const uint64_t *buckets)
{
    PyObject *list = PyList_New(0);

    for (size_t i = 0; i < TACTUS_WAIT_BUCKETS && list != NULL; i++) {
        if (!list_take(list, PyLong_FromUnsignedLongLong(buckets[i]))) {
            Py_CLEAR(list);
        }
    }
    return list;
}

static PyObject *field_new(const struct field *field, const void *stats)
{
    const void *at = (const uint8_t *)stats + field->offset;

    switch (field->kind) {
    case KIND_U64:
        return PyLong_FromUnsignedLongLong(*(const uint64_t *)at);
    case KIND_U32:
        return PyLong_FromUnsignedLong(*(const uint32_t *)at);
    case KIND_BOOL:
        return PyBool_FromLong(*(const bool *)at);
    case KIND_POINTER:
        return text_new(*(const char *const *)at);
    case KIND_TEXT:
        return text_new(at);
    case KIND_BUCKETS:
        break;
    }
    return buckets_new(at);
}

static PyObject *fields_new(const struct field *fields, const void *stats)
{
    PyObject *dict = PyDict_New();

    for (const struct field *field = fields; field->name != NULL && dict != NULL; field++) {
        if (!dict_take(dict, field->name, field_new(field, stats))) {
            Py_CLEAR(dict);
        }
    }
    return dict;
}

static PyObject *stages_new(const struct tactus_stats *stats)
{
    PyObject *dict = PyDict_New();

    for (size_t i = 0; i < TACTUS_STAGES && dict != NULL; i++) {
        if (!dict_take(dict, stage_names[i], fields_new(stage_fields, &stats->stage[i]))) {
            Py_CLEAR(dict);
        }
    }
    return dict;
}

static PyObject *levels_new(const struct tactus_stats *stats)
{
    PyObject *list = PyList_New(0);

    for (uint32_t i = 0; i < stats->levels && list != NULL; i++) {
        if (!list_take(list, fields_new(level_fields, &stats->level[i]))) {
            Py_CLEAR(list);
        }
    }
    return list;
}

PyObject *tac_py_store_stat(PyObject *object, PyObject *unused)
{
    struct tac_py_store *self = (struct tac_py_store *)object;
    struct tactus_stats  stats;
    PyThreadState       *thread;
    PyObject            *dict;

    (void)unused;
    if (!tac_py_store_is_here(self) || (thread = tac_py_begin(self)) == NULL) {
        return NULL;
    }
    tactus_stat(self->handle, &stats);
    tac_py_end(self, thread);
    dict = fields_new(store_fields, &stats);
    if (dict != NULL && (!dict_take(dict, "stage", stages_new(&stats)) ||
                         !dict_take(dict, "level", levels_new(&stats)))) {
        Py_CLEAR(dict);
    }
    return dict;
}

/* ---- a pool, and events --------------------------------------------------------------------- */

#define POOL(kind, name)                                                                           \
    {                                                                                              \
#name, KIND_##kind, offsetof(struct tactus_pool_stats, name)                               \
    }
#define EVENT(kind, name)                                                                          \
    {                                                                                              \
#name, KIND_##kind, offsetof(struct tactus_event, name)                                    \
    }

static const struct field pool_fields[] = {
    POOL(U64, memory_size),   POOL(U64, memory_budget_bytes),
    POOL(U64, busy_ns),       POOL(U64, idle_ns),
    POOL(U32, stores),        POOL(U32, threads_read),
    POOL(U32, threads_merge), POOL(U32, threads_write),
    {NULL, KIND_U64, 0},
};
static const struct field event_fields[] = {
    EVENT(U64, time_ns),  EVENT(U64, duration_ns),  EVENT(U32, tree),       EVENT(U32, level_from),
    EVENT(U32, level_to), EVENT(U32, jobs),         EVENT(U64, tables_in),  EVENT(U64, tables_out),
    EVENT(U64, bytes_in), EVENT(U64, bytes_out),    EVENT(U64, records_in), EVENT(U64, records_out),
    EVENT(U64, op),       EVENT(U64, missed_count), {NULL, KIND_U64, 0},
};
static const struct {
    enum tactus_event_kind kind;
    const char            *name;
} event_kinds[] = {
    {TACTUS_EVENT_JOB, "job"},
    {TACTUS_EVENT_FLUSH, "flush"},
    {TACTUS_EVENT_COMPACTION, "compaction"},
    {TACTUS_EVENT_MOVE, "move"},
    {TACTUS_EVENT_CHECKPOINT, "checkpoint"},
    {TACTUS_EVENT_WAIT, "wait"},
    {TACTUS_EVENT_ERROR, "error"},
};
#define EVENT_KIND_COUNT (sizeof event_kinds / sizeof event_kinds[0])

PyObject *tac_py_pool_stats_new(const struct tactus_pool_stats *stats)
{
    return fields_new(pool_fields, stats);
}

uint32_t tac_py_event_kind(PyObject *name)
{
    for (size_t i = 0; i < EVENT_KIND_COUNT && PyUnicode_Check(name); i++) {
        if (PyUnicode_CompareWithASCIIString(name, event_kinds[i].name) == 0) {
            return event_kinds[i].kind;
        }
    }
    return 0;
}

static PyObject *event_kind_new(enum tactus_event_kind kind)
{
    for (size_t i = 0; i < EVENT_KIND_COUNT; i++) {
        if (event_kinds[i].kind == kind) {
            return text_new(event_kinds[i].name);
        }
    }
    Py_UNREACHABLE(); /* Only known kinds are asked for */
}

PyObject *tac_py_event_new(const struct tactus_event *event)
{
    PyObject *dict = fields_new(event_fields, event);

    if (dict != NULL &&
        (!dict_take(dict, "kind", event_kind_new(event->kind)) ||
         !dict_take(dict, "code", PyLong_FromLong(event->code)) ||
         !dict_take(dict, "text",
                    event->text == NULL ? Py_NewRef(Py_None) : text_new(event->text)))) {
        Py_CLEAR(dict);
    }
    return dict;
}

/* ---- a range, and the plan ------------------------------------------------------------------ */

#define PROGRESS(kind, name)                                                                       \
    {                                                                                              \
#name, KIND_##kind, offsetof(struct tactus_compact_progress, name)                         \
    }
#define ENTRY(kind, name)                                                                          \
    {                                                                                              \
#name, KIND_##kind, offsetof(struct tactus_plan_entry, name)                               \
    }

static const struct field progress_fields[] = {
    PROGRESS(U32, tree),
    PROGRESS(U64, op),
    PROGRESS(U32, level),
    PROGRESS(U64, total_bytes),
    PROGRESS(U64, left_bytes),
    PROGRESS(U64, passes_total_bytes),
    PROGRESS(U64, passes_left_bytes),
    PROGRESS(U64, bytes_per_second),
    PROGRESS(U64, elapsed_ns),
    PROGRESS(U64, time_left_ns),
    {NULL, KIND_U64, 0},
};
static const struct field entry_fields[] = {
    ENTRY(U32, tree),   ENTRY(BOOL, is_due),     ENTRY(U32, level_from), ENTRY(U32, level_to),
    ENTRY(U32, tables), ENTRY(U64, input_bytes), {NULL, KIND_U64, 0},
};
static const char *const state_names[] = {
    [TACTUS_COMPACT_NONE] = "none",           [TACTUS_COMPACT_FLUSHING] = "flushing",
    [TACTUS_COMPACT_RUNNING] = "running",     [TACTUS_COMPACT_DONE] = "done",
    [TACTUS_COMPACT_CANCELLED] = "cancelled", [TACTUS_COMPACT_STUCK] = "stuck",
};
static const char *const kind_names[] = {
    [TACTUS_PLAN_FLUSH] = "flush",
    [TACTUS_PLAN_MERGE] = "merge",
    [TACTUS_PLAN_IN_PLACE] = "in place",
    [TACTUS_PLAN_MOVE] = "move",
};
static const char *const reason_names[] = {
    [TACTUS_PLAN_FOR_FLUSH] = "flush", [TACTUS_PLAN_FOR_DEPTH] = "depth",
    [TACTUS_PLAN_FOR_SIZE] = "size",   [TACTUS_PLAN_FORWARD] = "ahead",
    [TACTUS_PLAN_BY_HAND] = "by hand", [TACTUS_PLAN_FOR_SPACE] = "space",
};

PyObject *tac_py_store_compact_progress(PyObject *object, PyObject *unused)
{
    struct tac_py_store           *self = (struct tac_py_store *)object;
    struct tactus_compact_progress progress;
    PyThreadState                 *thread;
    PyObject                      *dict;

    (void)unused;
    if (!tac_py_store_is_here(self) || (thread = tac_py_begin(self)) == NULL) {
        return NULL;
    }
    tactus_compact_progress(self->handle, &progress);
    tac_py_end(self, thread);
    dict = fields_new(progress_fields, &progress);
    if (dict != NULL && !dict_take(dict, "state", text_new(state_names[progress.state]))) {
        Py_CLEAR(dict);
    }
    return dict;
}

/* The first bytes of a key; None: there is none. */
static PyObject *key_new(const uint8_t *key, uint32_t size)
{
    if (size == 0) {
        Py_RETURN_NONE;
    }
    size = size < TACTUS_PLAN_KEY_BYTES ? size : TACTUS_PLAN_KEY_BYTES;
    return PyBytes_FromStringAndSize((const char *)key, (Py_ssize_t)size);
}

static PyObject *entry_new(const struct tactus_plan_entry *entry)
{
    PyObject *dict = fields_new(entry_fields, entry);

    if (dict != NULL && (!dict_take(dict, "kind", text_new(kind_names[entry->kind])) ||
                         !dict_take(dict, "reason", text_new(reason_names[entry->reason])) ||
                         !dict_take(dict, "low", key_new(entry->low, entry->low_size)) ||
                         !dict_take(dict, "high", key_new(entry->high, entry->high_size)))) {
        Py_CLEAR(dict);
    }
    return dict;
}

PyObject *tac_py_store_plan(PyObject *object, PyObject *unused)
{
    struct tac_py_store      *self = (struct tac_py_store *)object;
    struct tactus_plan_entry *entries = calloc(TACTUS_PLAN_ENTRIES_MAX, sizeof *entries);
    PyThreadState            *thread;
    PyObject                 *list;
    uint32_t                  count = 0;
    int                       code;

    (void)unused;
    if (entries == NULL) {
        return PyErr_NoMemory();
    }
    thread = tac_py_begin(self);
    if (thread == NULL) {
        free(entries);
        return NULL;
    }
    code = tactus_plan(self->handle, entries, TACTUS_PLAN_ENTRIES_MAX, &count);
    tac_py_end(self, thread);
    list = code == TACTUS_OK ? PyList_New(0) : tac_py_none(object, code);
    for (uint32_t i = 0; i < count && i < TACTUS_PLAN_ENTRIES_MAX && list != NULL; i++) {
        if (!list_take(list, entry_new(&entries[i]))) {
            Py_CLEAR(list);
        }
    }
    free(entries);
    return list;
}

/* ---- metrics -------------------------------------------------------------------------------- */

/* Without the interpreter's lock. *ret_text is to be freed. The numbers grow meanwhile, and with
 * them the text. */
static int metrics_get(struct tactus *store, const char *labels, char **ret_text, size_t *ret_size)
{
    size_t room = 16 * 1024;

    *ret_text = NULL;
    for (;;) {
        char *grown = realloc(*ret_text, room);
        int   code;

        if (grown == NULL) {
            return TACTUS_ENOMEM;
        }
        *ret_text = grown;
        code = tactus_metrics(store, labels, grown, room, ret_size);
        if (code != TACTUS_OK || *ret_size < room) {
            return code;
        }
        room = *ret_size + 1024;
    }
}

PyObject *tac_py_store_metrics(PyObject *object, PyObject *arguments, PyObject *keywords)
{
    static char         *names[] = {"labels", NULL};
    struct tac_py_store *self = (struct tac_py_store *)object;
    const char          *labels = NULL;
    PyThreadState       *thread;
    PyObject            *result;
    char                *text;
    size_t               size;
    int                  code;

    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "|z:metrics", names, &labels) ||
        (thread = tac_py_begin(self)) == NULL) {
        return NULL;
    }
    code = metrics_get(self->handle, labels, &text, &size);
    tac_py_end(self, thread);
    if (code == TACTUS_ENOMEM) {
        result = tac_py_raise_text(object, code, tactus_strerror(code));
    } else if (code != TACTUS_OK) {
        result = tac_py_raise(object, code);
    } else {
        result = PyUnicode_DecodeUTF8(text, (Py_ssize_t)size, "replace");
    }
    free(text);
    return result;
}

/* ---- digest and verify ---------------------------------------------------------------------- */

PyObject *tac_py_store_digest(PyObject *object, PyObject *unused)
{
    struct tac_py_store *self = (struct tac_py_store *)object;
    PyThreadState       *thread = tac_py_begin(self);
    uint8_t              digest[16];
    int                  code;

    (void)unused;
    if (thread == NULL) {
        return NULL;
    }
    code = tactus_digest(self->handle, digest);
    tac_py_end(self, thread);
    return code == TACTUS_OK ? PyBytes_FromStringAndSize((const char *)digest, sizeof digest)
                             : tac_py_raise(object, code);
}

struct damages {
    PyThreadState *thread;
    PyObject      *texts;
    bool           has_failed; /* With an exception set */
};

static void damage_add(void *context, const char *text)
{
    struct damages *damages = context;

    PyEval_RestoreThread(damages->thread);
    if (!damages->has_failed) {
        damages->has_failed = !list_take(damages->texts, text_new(text));
    }
    damages->thread = PyEval_SaveThread();
}

/* Takes the report's numbers together with the texts. */
static PyObject *report_new(const struct tactus_verify_report *report, PyObject *texts)
{
    PyObject *dict = PyDict_New();

    if (dict != NULL &&
        (!dict_take(dict, "tables", PyLong_FromUnsignedLongLong(report->tables)) ||
         !dict_take(dict, "blocks", PyLong_FromUnsignedLongLong(report->blocks)) ||
         !dict_take(dict, "records", PyLong_FromUnsignedLongLong(report->records)) ||
         PyDict_SetItemString(dict, "damages", texts) != 0)) {
        Py_CLEAR(dict);
    }
    return dict;
}

/* Corrupt, with the report. */
static void damage_raise(PyObject *object, const char *message, PyObject *report)
{
    PyObject *type, *value, *traceback;

    tac_py_raise_text(object, TACTUS_ECORRUPT, message);
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    if (PyObject_SetAttrString(value, "report", report) == 0) {
        PyErr_Restore(type, value, traceback);
        return;
    }
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(traceback);
}

static PyObject *verify(struct tac_py_store *self, PyObject *texts)
{
    struct damages              damages = {.texts = texts};
    struct tactus_verify_report numbers = {0};
    char                        message[TACTUS_MESSAGE_BYTES];
    PyObject                   *report;
    int                         code;

    damages.thread = tac_py_begin(self);
    if (damages.thread == NULL) {
        return NULL;
    }
    code = tactus_verify(self->handle, damage_add, &damages, &numbers);
    tac_py_end(self, damages.thread);
    if (damages.has_failed) {
        return NULL;
    }
    if (code != TACTUS_OK && code != TACTUS_ECORRUPT) {
        return tac_py_raise(&self->ob_base, code);
    }
    PyOS_snprintf(message, sizeof message, "%s", tactus_message());
    report = report_new(&numbers, texts);
    if (code == TACTUS_ECORRUPT && report != NULL) {
        damage_raise(&self->ob_base, message, report);
        Py_CLEAR(report);
    }
    return report;
}

PyObject *tac_py_store_verify(PyObject *object, PyObject *unused)
{
    PyObject *texts = PyList_New(0);
    PyObject *report;

    (void)unused;
    if (texts == NULL) {
        return NULL;
    }
    report = verify((struct tac_py_store *)object, texts);
    Py_DECREF(texts);
    return report;
}
