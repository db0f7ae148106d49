/* SPDX-License-Identifier: Apache-2.0 */
/* open -- Store.open and Store.create: their keywords, and the store that they make. */
#include "module.h"

#include <limits.h>
#include <string.h>
#include <unistd.h>

/* ---- options -------------------------------------------------------------------------------- */

const char *tac_py_option_text(PyObject *string)
{
    Py_ssize_t  size;
    const char *text = PyUnicode_AsUTF8AndSize(string, &size);

    if (text != NULL && strlen(text) != (size_t)size) {
        PyErr_SetString(PyExc_ValueError, "embedded null character in an option");
        return NULL;
    }
    return text;
}

static bool option_take(PyObject *object, PyObject *name, PyObject *value,
                        struct tactus_options *options)
{
    PyObject   *value_string = PyObject_Str(value);
    const char *name_text = value_string == NULL ? NULL : tac_py_option_text(name);
    const char *value_text = name_text == NULL ? NULL : tac_py_option_text(value_string);
    bool        is_set = false;

    if (value_text != NULL) {
        int code = tactus_options_set(options, name_text, value_text);

        is_set = code == TACTUS_OK;
        if (!is_set) {
            tac_py_raise(object, code);
        }
    }
    Py_XDECREF(value_string);
    return is_set;
}

/* What the keywords of an open say. */
struct opening {
    struct tactus_options options;
    uint32_t              kinds; /* Of events */
    uint64_t              wait_ns_min;
};

#define EVENT_KINDS_ALL                                                                            \
    (TACTUS_EVENT_JOB | TACTUS_EVENT_FLUSH | TACTUS_EVENT_COMPACTION | TACTUS_EVENT_MOVE |         \
     TACTUS_EVENT_CHECKPOINT | TACTUS_EVENT_WAIT | TACTUS_EVENT_ERROR)
#define EVENT_WAIT_NS_MIN 1000000

static bool pool_take(struct tac_py_store *self, PyObject *pool)
{
    if (pool == Py_None) {
        return true;
    }
    if (!Py_IS_TYPE(pool, tac_py_module_of(&self->ob_base)->pool_type)) {
        PyErr_Format(PyExc_TypeError, "the pool must be a tactus.Pool, not %R",
                     (PyObject *)Py_TYPE(pool));
        return false;
    }
    self->pool = (struct tac_py_pool *)Py_NewRef(pool);
    return true;
}

/* None is none. */
static bool callback_take(const char *name, PyObject *function, PyObject **ret_function)
{
    if (function == Py_None) {
        return true;
    }
    if (!PyCallable_Check(function)) {
        PyErr_Format(PyExc_TypeError, "%s must be callable, not %R", name, function);
        return false;
    }
    if (!tac_py_callbacks_are_possible(name)) {
        return false;
    }
    *ret_function = Py_NewRef(function);
    return true;
}

/* An iterable of names. */
static bool kinds_take(PyObject *names, uint32_t *ret_kinds)
{
    PyObject *iterator, *name;

    if (names == Py_None) {
        return true;
    }
    if ((iterator = PyObject_GetIter(names)) == NULL) {
        return false;
    }
    *ret_kinds = 0;
    while ((name = PyIter_Next(iterator)) != NULL) {
        uint32_t kind = tac_py_event_kind(name);

        if (kind == 0) {
            PyErr_Format(PyExc_ValueError, "there is no kind of event %R", name);
            Py_DECREF(name);
            break;
        }
        *ret_kinds |= kind;
        Py_DECREF(name);
    }
    Py_DECREF(iterator);
    return PyErr_Occurred() == NULL;
}

static bool keyword_take(PyObject *object, PyObject *name, PyObject *value, struct opening *opening)
{
    if (PyUnicode_CompareWithASCIIString(name, "pool") == 0) {
        return pool_take((struct tac_py_store *)object, value);
    }
    if (PyUnicode_CompareWithASCIIString(name, "on_event") == 0) {
        return callback_take("on_event", value, &((struct tac_py_store *)object)->on_event);
    }
    if (PyUnicode_CompareWithASCIIString(name, "on_log") == 0) {
        return callback_take("on_log", value, &((struct tac_py_store *)object)->on_log);
    }
    if (PyUnicode_CompareWithASCIIString(name, "event_kinds") == 0) {
        return kinds_take(value, &opening->kinds);
    }
    if (PyUnicode_CompareWithASCIIString(name, "event_wait_ns_min") == 0) {
        opening->wait_ns_min = PyLong_AsUnsignedLongLong(value);
        return PyErr_Occurred() == NULL;
    }
    return option_take(object, name, value, &opening->options);
}

static bool keywords_take(PyObject *object, PyObject *keywords, struct opening *opening)
{
    Py_ssize_t at = 0;
    PyObject  *name, *value;

    *opening = (struct opening){.kinds = EVENT_KINDS_ALL, .wait_ns_min = EVENT_WAIT_NS_MIN};
    tactus_options_init(&opening->options);
    while (keywords != NULL && PyDict_Next(keywords, &at, &name, &value)) {
        if (!keyword_take(object, name, value, opening)) {
            return false;
        }
    }
    if (((struct tac_py_store *)object)->on_log != NULL) {
        opening->options.logger_fn = tac_py_line_tell;
        opening->options.logger_context = object;
    }
    return true;
}

/* ---- opening -------------------------------------------------------------------------------- */

static PyObject *store_new(PyTypeObject *type, PyObject *path)
{
    struct tac_py_store *self = tac_py_new(type);

    if (self == NULL) {
        return NULL;
    }
    self->path = Py_NewRef(path);
    self->pid = getpid();
    self->links.previous = self->links.next = &self->links;
    self->turn = PyThread_allocate_lock();
    self->idle = PyThread_allocate_lock();
    if (self->turn == NULL || self->idle == NULL) {
        Py_DECREF(&self->ob_base);
        return PyErr_NoMemory();
    }
    (void)PyThread_acquire_lock(self->idle, WAIT_LOCK);
    return &self->ob_base;
}

/* The store's log. False: the path is longer than any file's. */
static bool log_path_make(const char *path, char log[PATH_MAX])
{
    int length = PyOS_snprintf(log, PATH_MAX, "%s-wal", path);

    return length >= 0 && length < PATH_MAX;
}

static bool log_is_there(const char *path)
{
    char log[PATH_MAX];

    return log_path_make(path, log) && access(log, F_OK) == 0;
}

/* What an open that has failed leaves of a store that was created for it. has_log: it is older. */
static void files_remove(const char *path, bool has_log)
{
    char log[PATH_MAX];

    (void)unlink(path);
    if (!has_log && log_path_make(path, log)) {
        (void)unlink(log);
    }
}

/* path: NULL for a store in memory. Without the interpreter's lock. */
static int handle_open(struct tac_py_store *self, const char *path, const struct opening *opening)
{
    const struct tactus_options *options = &opening->options;
    struct tactus               *handle;
    int                          code;

    if (self->pool != NULL) {
        code = tactus_open_in(self->pool->handle, path, options, &handle);
    } else {
        code = tactus_open(path, options, &handle);
    }
    if (code == TACTUS_OK) {
        self->handle = handle;
    }
    return code;
}

/* The same for a store that is made before, and not left behind. Another process may have been
 * faster to open it: then it is that one's. has_log: as of files_remove. */
static int handle_create(struct tac_py_store *self, const char *path, const struct opening *opening,
                         bool has_log)
{
    int code = tactus_create(path, &opening->options);

    if (code == TACTUS_OK) {
        code = handle_open(self, path, opening);
        if (code != TACTUS_OK && code != TACTUS_ELOCKED) {
            files_remove(path, has_log);
        }
    }
    return code;
}

/* False, and an exception is set. */
static bool store_begin(struct tac_py_store *self, const char *path, const struct opening *opening,
                        bool is_new)
{
    bool           has_log = is_new && path != NULL && log_is_there(path);
    PyThreadState *thread;
    int            code;

    if (self->pool != NULL && !tac_py_pool_join(self->pool)) {
        return false;
    }
    thread = PyEval_SaveThread();
    code = is_new ? handle_create(self, path, opening, has_log) : handle_open(self, path, opening);
    PyEval_RestoreThread(thread);
    if (code != TACTUS_OK) {
        if (self->pool != NULL) {
            tac_py_pool_leave(self->pool);
        }
        tac_py_raise(&self->ob_base, code);
        return false;
    }
    if (self->on_event != NULL) {
        code = tac_py_events_begin(self, opening->kinds, opening->wait_ns_min);
    }
    if (code != TACTUS_OK) {
        tac_py_raise(&self->ob_base, code);
        (void)tac_py_handle_close(self, true);
        if (is_new) {
            files_remove(path, has_log);
        }
        return false;
    }
    return true;
}

PyObject *tac_py_store_make(PyObject *type, PyObject *arguments, PyObject *keywords, bool is_new)
{
    struct opening opening;
    PyObject      *path, *encoded = NULL, *object;

    if (!PyArg_ParseTuple(arguments, is_new ? "O:create" : "O:open", &path) ||
        (path != Py_None && !PyUnicode_FSConverter(path, &encoded))) {
        return NULL;
    }
    object = store_new((PyTypeObject *)type, path);
    if (object != NULL &&
        (!keywords_take(object, keywords, &opening) ||
         !store_begin((struct tac_py_store *)object,
                      encoded == NULL ? NULL : PyBytes_AsString(encoded), &opening, is_new))) {
        Py_CLEAR(object);
    }
    Py_XDECREF(encoded);
    return object;
}
