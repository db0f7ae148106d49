/* SPDX-License-Identifier: Apache-2.0 */
/* events -- what a store tells Python of as it happens: on_event and on_log of Store.open.
 *
 * Who      The library calls event_tell and tac_py_line_tell without any lock: on a thread of the
 *          store's own, or, without stage threads, on the thread whose call ends, which has given
 *          up the interpreter's lock. Either way it is taken here, and given up before the library
 *          goes on.
 * Close    waits for a callback that is under way, without the interpreter's lock; a callback
 *          cannot close its own store (event_teller, log_teller), for that would wait for itself.
 * Drop     A callback keeps the store. If it ends with the last reference, that is handed to the
 *          main thread: the dealloc closes the store.
 * End      Python must not be entered any more when its end has begun: a thread that asks for the
 *          lock then is ended or hangs within the library's calls. So every callback goes through
 *          the gate, which is shut by a handler of atexit; that waits for those within. */
#include "module.h"

#include <pthread.h>

/* ---- the gate ------------------------------------------------------------------------------- */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t  left;
    uint32_t        within; /* Callbacks under way */
    bool            is_shut;
} gate = {.lock = PTHREAD_MUTEX_INITIALIZER, .left = PTHREAD_COND_INITIALIZER};

static bool gate_enter(void)
{
    bool is_in;

    pthread_mutex_lock(&gate.lock);
    is_in = !gate.is_shut;
    gate.within += is_in;
    pthread_mutex_unlock(&gate.lock);
    return is_in;
}

static void gate_leave(void)
{
    pthread_mutex_lock(&gate.lock);
    gate.within -= gate.within > 0; /* 0: a callback has forked, and this is the child */
    pthread_cond_signal(&gate.left);
    pthread_mutex_unlock(&gate.lock);
}

static PyObject *gate_shut(PyObject *object, PyObject *unused)
{
    PyThreadState *thread = PyEval_SaveThread();

    (void)object;
    (void)unused;
    pthread_mutex_lock(&gate.lock);
    gate.is_shut = true;
    while (gate.within > 0) {
        pthread_cond_wait(&gate.left, &gate.lock);
    }
    pthread_mutex_unlock(&gate.lock);
    PyEval_RestoreThread(thread);
    Py_RETURN_NONE;
}

/* Those who were within are threads of the parent. */
static void gate_fork(void)
{
    pthread_mutex_init(&gate.lock, NULL);
    pthread_cond_init(&gate.left, NULL);
    gate.within = 0;
}

/* The library's threads are Python's threads of the main interpreter, if of any. */
static bool is_in_main_interpreter(void)
{
    return PyInterpreterState_GetID(PyInterpreterState_Get()) == 0;
}

int tac_py_events_init(PyObject *module)
{
    static PyMethodDef shut = {"events_end", gate_shut, METH_NOARGS, NULL};
    static bool        is_forking_known;
    PyObject          *function, *atexit, *result = NULL;

    if (!is_in_main_interpreter()) {
        return 0;
    }
    function = PyCFunction_NewEx(&shut, module, NULL);
    atexit = function == NULL ? NULL : PyImport_ImportModule("atexit");
    if (atexit != NULL) {
        result = PyObject_CallMethod(atexit, "register", "O", function);
    }
    if (result != NULL && !is_forking_known) {
        is_forking_known = pthread_atfork(NULL, NULL, gate_fork) == 0;
        if (!is_forking_known) {
            Py_CLEAR(result);
            PyErr_NoMemory();
        }
    }
    Py_XDECREF(atexit);
    Py_XDECREF(function);
    if (result == NULL) {
        return -1;
    }
    Py_DECREF(result);
    return 0;
}

bool tac_py_callbacks_are_possible(const char *name)
{
    bool is_shut;

    if (!is_in_main_interpreter()) {
        PyErr_Format(PyExc_RuntimeError, "%s needs the main interpreter", name);
        return false;
    }
    pthread_mutex_lock(&gate.lock);
    is_shut = gate.is_shut;
    pthread_mutex_unlock(&gate.lock);
    if (is_shut) {
        PyErr_Format(PyExc_RuntimeError, "%s: the interpreter is ending", name);
    }
    return !is_shut;
}

/* ---- callbacks ------------------------------------------------------------------------------ */

/* The call that tells, without stage threads, may have an exception set by then. */
struct entry {
    PyGILState_STATE state;
    PyObject        *type, *value, *traceback;
};

/* Through the gate, and with the interpreter's lock. False: the interpreter is ending. */
static bool python_enter(struct entry *entry)
{
    if (!gate_enter()) {
        return false;
    }
    entry->state = PyGILState_Ensure();
    PyErr_Fetch(&entry->type, &entry->value, &entry->traceback);
    return true;
}

static void python_leave(struct entry *entry)
{
    PyErr_Restore(entry->type, entry->value, entry->traceback);
    PyGILState_Release(entry->state);
    gate_leave();
}

static int last_reference_drop(void *object)
{
    Py_DECREF((PyObject *)object);
    return 0;
}

static void reference_drop(struct tac_py_store *self)
{
    if (Py_REFCNT(&self->ob_base) > 1) {
        Py_DECREF(&self->ob_base);
    } else if (Py_AddPendingCall(last_reference_drop, self) != 0) {
        PyErr_SetString(PyExc_RuntimeError, "the store stays open: its callback had it last, and "
                                            "the main thread takes no more calls");
        PyErr_WriteUnraisable((PyObject *)Py_TYPE(&self->ob_base));
    }
}

/* With the interpreter's lock. `arguments` is taken over; NULL: an exception is set. */
static void call_make(struct tac_py_store *self, PyObject *function, unsigned long *teller,
                      PyObject *arguments)
{
    PyObject *result = NULL;
    bool      is_kept = !self->is_dropped;

    if (is_kept) {
        Py_INCREF(&self->ob_base);
    }
    *teller = PyThread_get_thread_ident();
    if (arguments != NULL) {
        result = PyObject_CallObject(function, arguments);
    }
    if (result == NULL) {
        PyErr_WriteUnraisable(function);
    }
    *teller = 0;
    Py_XDECREF(result);
    Py_XDECREF(arguments);
    if (is_kept) {
        reference_drop(self);
    }
}

static void event_tell(void *context, const struct tactus_event *event)
{
    struct tac_py_store *self = context;
    struct entry         entry;

    if (python_enter(&entry)) {
        PyObject *dict = tac_py_event_new(event);

        call_make(self, self->on_event, &self->event_teller,
                  dict == NULL ? NULL : Py_BuildValue("(N)", dict));
        python_leave(&entry);
    }
}

void tac_py_line_tell(void *context, enum tactus_logger_level level, const char *line)
{
    static const char *const names[] = {"error", "warning", "info", "debug"};
    struct tac_py_store     *self = context;
    struct entry             entry;

    if (python_enter(&entry)) {
        call_make(self, self->on_log, &self->log_teller, Py_BuildValue("(ss)", names[level], line));
        python_leave(&entry);
    }
}

int tac_py_events_begin(struct tac_py_store *store, uint32_t kinds, uint64_t wait_ns_min)
{
    return tactus_events_set(store->handle, event_tell, store, kinds, wait_ns_min);
}
