/* SPDX-License-Identifier: Apache-2.0 */
/* pool -- tactus.Pool: threads and memory that several stores share.
 *
 * Its calls take turns (turn), so that its close comes when none is under way; an open of a store
 * in it is none of these, but counts as one of its stores from its begin (store_count), and the
 * pool is not closed while there are any. A store keeps its pool. Callbacks of a store that step
 * calls may call the pool: they have its turn. */
#include "module.h"

#include <string.h>
#include <unistd.h>

static struct tac_py_pool *pool_of(PyObject *object) { return (struct tac_py_pool *)object; }

/* ---- options -------------------------------------------------------------------------------- */

/* Of options that a pool has in common with a store: what tactus_options_set makes of the text. */
static bool shared_option_take(PyObject *object, const char *name, const char *value,
                               struct tactus_pool_options *options)
{
    struct tactus_options store;
    int                   code;

    tactus_options_init(&store);
    store.memory_size = options->memory_size;
    store.threads = options->threads;
    store.threads_read = options->threads_read;
    store.threads_merge = options->threads_merge;
    store.threads_write = options->threads_write;
    store.threads_priority = options->threads_priority;
    code = tactus_options_set(&store, name, value);
    if (code != TACTUS_OK) {
        tac_py_raise(object, code);
        return false;
    }
    options->memory_size = store.memory_size;
    options->threads = store.threads;
    options->threads_read = store.threads_read;
    options->threads_merge = store.threads_merge;
    options->threads_write = store.threads_write;
    options->threads_priority = store.threads_priority;
    return true;
}

static bool shares_take(PyObject *object, PyObject *text, struct tactus_pool_options *options)
{
    PyObject     *number = PyNumber_Long(text);
    unsigned long shares = number == NULL ? 0 : PyLong_AsUnsignedLong(number);

    Py_XDECREF(number);
    if (PyErr_Occurred() != NULL || shares > UINT32_MAX) {
        PyErr_Clear();
        tac_py_raise_text(object, TACTUS_EOPTION, "option memory_shares: not a number of shares");
        return false;
    }
    options->memory_shares = (uint32_t)shares;
    return true;
}

static bool option_take(PyObject *object, PyObject *name, PyObject *value,
                        struct tactus_pool_options *options)
{
    static const char *const shared[] = {"memory_size",   "threads",       "threads_read",
                                         "threads_merge", "threads_write", "threads_priority"};
    PyObject                *value_string = PyObject_Str(value);
    const char              *name_text = value_string == NULL ? NULL : tac_py_option_text(name);
    const char *value_text = name_text == NULL ? NULL : tac_py_option_text(value_string);
    bool        is_set = false, is_known = false;

    for (size_t i = 0; value_text != NULL && i < sizeof shared / sizeof shared[0]; i++) {
        is_known = is_known || strcmp(shared[i], name_text) == 0;
    }
    if (is_known) {
        is_set = shared_option_take(object, name_text, value_text, options);
    } else if (value_text != NULL && strcmp(name_text, "memory_shares") == 0) {
        is_set = shares_take(object, value_string, options);
    } else if (value_text != NULL) {
        PyObject *text = PyUnicode_FromFormat("a pool has no option %R", name);

        if (text != NULL) {
            tac_py_raise_text(object, TACTUS_EOPTION, PyUnicode_AsUTF8AndSize(text, NULL));
            Py_DECREF(text);
        }
    }
    Py_XDECREF(value_string);
    return is_set;
}

/* ---- life ----------------------------------------------------------------------------------- */

static PyObject *pool_new(PyTypeObject *type)
{
    struct tac_py_pool *self = tac_py_new(type);

    if (self == NULL) {
        return NULL;
    }
    self->pid = getpid();
    self->turn = PyThread_allocate_lock();
    if (self->turn == NULL) {
        Py_DECREF(&self->ob_base);
        return PyErr_NoMemory();
    }
    return &self->ob_base;
}

PyDoc_STRVAR(open_doc,
             "open($type, /, **options)\n--\n\n"
             "Start the threads of a pool. Store.open and Store.create take it as pool=.\n"
             "\n"
             "The options are those of struct tactus_pool_options in tactus.h: memory_size,\n"
             "memory_shares, threads, threads_read, threads_merge, threads_write and\n"
             "threads_priority, each as the text of its value.");

static PyObject *pool_open(PyObject *type, PyObject *arguments, PyObject *keywords)
{
    struct tactus_pool_options options;
    PyObject                  *object, *name, *value;
    PyThreadState             *thread;
    Py_ssize_t                 at = 0;
    int                        code;

    if (!PyArg_ParseTuple(arguments, ":open") ||
        (object = pool_new((PyTypeObject *)type)) == NULL) {
        return NULL;
    }
    tactus_pool_options_init(&options);
    while (keywords != NULL && PyDict_Next(keywords, &at, &name, &value)) {
        if (!option_take(object, name, value, &options)) {
            Py_DECREF(object);
            return NULL;
        }
    }
    thread = PyEval_SaveThread();
    code = tactus_pool_open(&options, &pool_of(object)->handle);
    PyEval_RestoreThread(thread);
    if (code != TACTUS_OK) {
        tac_py_raise(object, code);
        Py_CLEAR(object);
    }
    return object;
}

static bool pool_is_forked(const struct tac_py_pool *self) { return getpid() != self->pid; }

/* False, and an exception is set: it is closed, or the parent's. */
static bool pool_is_here(struct tac_py_pool *self)
{
    if (self->handle == NULL) {
        tac_py_raise_text(&self->ob_base, TACTUS_ECLOSED, "the pool is closed");
        return false;
    }
    if (pool_is_forked(self)) {
        tac_py_raise_text(&self->ob_base, TACTUS_EFORKED, tactus_strerror(TACTUS_EFORKED));
        return false;
    }
    return true;
}

/* False: a signal handler has raised. */
static bool turn_take(struct tac_py_pool *self)
{
    unsigned long thread = PyThread_get_thread_ident();

    if (self->turn_depth == 0 || self->turn_thread != thread) {
        if (!tac_py_lock_wait(self->turn)) {
            return false;
        }
        self->turn_thread = thread;
    }
    self->turn_depth++;
    return true;
}

static void turn_give(struct tac_py_pool *self)
{
    self->turn_depth--;
    if (self->turn_depth == 0) {
        PyThread_release_lock(self->turn);
    }
}

/* Waits for the turn, and gives up the interpreter's lock. NULL: an exception is set. */
static PyThreadState *pool_begin(struct tac_py_pool *self)
{
    if (!pool_is_here(self) || !turn_take(self)) {
        return NULL;
    }
    if (!pool_is_here(self)) {
        turn_give(self);
        return NULL;
    }
    return PyEval_SaveThread();
}

static void pool_end(struct tac_py_pool *self, PyThreadState *thread)
{
    PyEval_RestoreThread(thread);
    turn_give(self);
}

bool tac_py_pool_join(struct tac_py_pool *pool)
{
    if (!pool_is_here(pool)) {
        return false;
    }
    pool->store_count++;
    return true;
}

void tac_py_pool_leave(struct tac_py_pool *pool) { pool->store_count--; }

/* The handle is gone afterwards. */
static int handle_close(struct tac_py_pool *self)
{
    struct tactus_pool *handle = self->handle;
    PyThreadState      *thread;
    int                 code;

    self->handle = NULL;
    thread = PyEval_SaveThread();
    code = tactus_pool_close(handle);
    PyEval_RestoreThread(thread);
    return code;
}

PyDoc_STRVAR(close_doc, "close($self, /)\n--\n\n"
                        "End the threads. Invalid: stores are still open in it. Closing twice is\n"
                        "closing once.");

static PyObject *pool_close(PyObject *object, PyObject *unused)
{
    struct tac_py_pool *self = pool_of(object);
    PyObject           *result = NULL;
    char                text[96];

    (void)unused;
    if (self->handle == NULL) {
        Py_RETURN_NONE;
    }
    if (pool_is_forked(self)) {
        return tac_py_none(object, handle_close(self));
    }
    if (!turn_take(self)) {
        return NULL;
    }
    if (self->store_count > 0) { /* In a callback its own store is one */
        PyOS_snprintf(text, sizeof text, "%llu stores are open in the pool: close them first",
                      (unsigned long long)self->store_count);
        result = tac_py_raise_text(object, TACTUS_EINVAL, text);
    } else if (self->handle == NULL) {
        result = Py_NewRef(Py_None);
    } else {
        result = tac_py_none(object, handle_close(self));
    }
    turn_give(self);
    return result;
}

PyDoc_STRVAR(enter_doc, "__enter__($self, /)\n--\n\nThe pool itself.");

static PyObject *pool_enter(PyObject *object, PyObject *unused)
{
    (void)unused;
    return pool_is_here(pool_of(object)) ? Py_NewRef(object) : NULL;
}

PyDoc_STRVAR(exit_doc, "__exit__($self, /, *exception)\n--\n\nClose the pool.");

static void pool_drop(struct tac_py_pool *self)
{
    PyObject *type, *value, *traceback;
    PyObject *object = &self->ob_base;
    int       code;

    PyErr_Fetch(&type, &value, &traceback);
    if (PyErr_ResourceWarning(NULL, 1, "unclosed pool") != 0) {
        PyErr_WriteUnraisable((PyObject *)Py_TYPE(object));
    }
    code = handle_close(self);
    if (code != TACTUS_OK) {
        tac_py_raise(object, code);
        PyErr_WriteUnraisable((PyObject *)Py_TYPE(object));
    }
    PyErr_Restore(type, value, traceback);
}

static void pool_dealloc(PyObject *object)
{
    struct tac_py_pool *self = pool_of(object);

    if (self->handle != NULL && !pool_is_forked(self)) {
        pool_drop(self);
    }
    if (self->turn != NULL) {
        PyThread_free_lock(self->turn);
    }
    tac_py_free(object);
}

/* ---- calls ---------------------------------------------------------------------------------- */

PyDoc_STRVAR(threads_change_doc,
             "threads_change($self, read, merge, write, /)\n--\n\n"
             "Other numbers of threads, each at least 1, for a pool that has some.\n"
             "\n"
             "Memory and a store's jobs side by side stay as its open made them.");

static PyObject *pool_threads_change(PyObject *object, PyObject *arguments)
{
    struct tac_py_pool *self = pool_of(object);
    PyThreadState      *thread;
    uint32_t            read, merge, write;
    int                 code;

    if (!PyArg_ParseTuple(arguments, "O&O&O&:threads_change", tac_py_threads_convert, &read,
                          tac_py_threads_convert, &merge, tac_py_threads_convert, &write) ||
        (thread = pool_begin(self)) == NULL) {
        return NULL;
    }
    code = tactus_pool_threads_change(self->handle, read, merge, write);
    pool_end(self, thread);
    return tac_py_none(object, code);
}

PyDoc_STRVAR(step_doc, "step($self, /)\n--\n\n"
                       "Do some of the background work of each store, for pools without threads.\n"
                       "\n"
                       "True while there is more that could be done now.");

static PyObject *pool_step(PyObject *object, PyObject *unused)
{
    struct tac_py_pool *self = pool_of(object);
    PyThreadState      *thread = pool_begin(self);
    bool                has_more;

    (void)unused;
    if (thread == NULL) {
        return NULL;
    }
    has_more = tactus_pool_step(self->handle);
    pool_end(self, thread);
    return PyBool_FromLong(has_more);
}

PyDoc_STRVAR(stat_doc, "stat($self, /)\n--\n\n"
                       "A dict of all that struct tactus_pool_stats in tactus.h has.");

static PyObject *pool_stat(PyObject *object, PyObject *unused)
{
    struct tac_py_pool      *self = pool_of(object);
    struct tactus_pool_stats stats;
    PyThreadState           *thread = pool_begin(self);

    (void)unused;
    if (thread == NULL) {
        return NULL;
    }
    tactus_pool_stat(self->handle, &stats);
    pool_end(self, thread);
    return tac_py_pool_stats_new(&stats);
}

/* ---- the type ------------------------------------------------------------------------------- */

static PyObject *pool_closed_get(PyObject *object, void *unused)
{
    (void)unused;
    return PyBool_FromLong(pool_of(object)->handle == NULL);
}

static PyMethodDef pool_methods[] = {
    {"open", (PyCFunction)(void (*)(void))pool_open, METH_CLASS | METH_VARARGS | METH_KEYWORDS,
     open_doc},
    {"close", pool_close, METH_NOARGS, close_doc},
    {"__enter__", pool_enter, METH_NOARGS, enter_doc},
    {"__exit__", pool_close, METH_VARARGS, exit_doc},
    {"threads_change", pool_threads_change, METH_VARARGS, threads_change_doc},
    {"step", pool_step, METH_NOARGS, step_doc},
    {"stat", pool_stat, METH_NOARGS, stat_doc},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef pool_attributes[] = {
    {"closed", pool_closed_get, NULL, "Whether the pool is closed.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(pool_doc,
             "Stage threads and memory for several stores of a process, which Pool.open returns.\n"
             "\n"
             "What a store writes to its file does not depend on it. As a context manager it is\n"
             "closed at the end, by when its stores must have been. Any number of threads may use\n"
             "it; its calls take turns.");

static PyType_Slot pool_slots[] = {
    {Py_tp_doc, (void *)pool_doc},
    {Py_tp_dealloc, pool_dealloc},
    {Py_tp_methods, pool_methods},
    {Py_tp_getset, pool_attributes},
    {0, NULL},
};

PyType_Spec tac_py_pool_spec = {
    .name = "tactus.Pool",
    .basicsize = sizeof(struct tac_py_pool),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = pool_slots,
};
