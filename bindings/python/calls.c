/* SPDX-License-Identifier: Apache-2.0 */
/* calls -- calls of the library without the interpreter's lock, and the close, which waits for
 * them.
 *
 * tactus_close wants no other call on the store under way, and its iterators closed. So who closes
 * first stops new calls (is_closing), waits until those that have given up the interpreter's lock
 * are over (call_count), and closes what is linked. A signal handler that raises meanwhile undoes
 * that, and the store is as it was. */
#include "module.h"

#include <unistd.h>

/* ---- links ---------------------------------------------------------------------------------- */

void tac_py_link_add(struct tac_py_link *ring, struct tac_py_link *link,
                     void (*shut)(struct tac_py_link *link))
{
    link->shut = shut;
    link->previous = ring;
    link->next = ring->next;
    link->next->previous = link;
    ring->next = link;
}

void tac_py_link_remove(struct tac_py_link *link)
{
    link->previous->next = link->next;
    link->next->previous = link->previous;
    link->previous = link->next = link;
}

/* ---- calls ---------------------------------------------------------------------------------- */

bool tac_py_store_is_forked(const struct tac_py_store *store) { return getpid() != store->pid; }

bool tac_py_store_is_open(struct tac_py_store *store)
{
    if (store->handle == NULL || store->is_closing) {
        tac_py_raise_text(&store->ob_base, TACTUS_ECLOSED, "the store is closed");
        return false;
    }
    return true;
}

bool tac_py_store_is_here(struct tac_py_store *store)
{
    if (!tac_py_store_is_open(store)) {
        return false;
    }
    if (tac_py_store_is_forked(store)) {
        tac_py_raise_text(&store->ob_base, TACTUS_EFORKED, tactus_strerror(TACTUS_EFORKED));
        return false;
    }
    return true;
}

PyThreadState *tac_py_begin(struct tac_py_store *store)
{
    if (!tac_py_store_is_open(store)) {
        return NULL;
    }
    store->call_count++;
    return PyEval_SaveThread();
}

void tac_py_end(struct tac_py_store *store, PyThreadState *thread)
{
    PyEval_RestoreThread(thread);
    store->call_count--;
    if (store->call_count == 0 && store->is_closing) {
        PyThread_release_lock(store->idle);
    }
}

/* ---- closing -------------------------------------------------------------------------------- */

bool tac_py_lock_wait(PyThread_type_lock lock)
{
    PyLockStatus status;

    do {
        PyThreadState *thread;

        if (PyErr_CheckSignals() != 0) {
            return false;
        }
        thread = PyEval_SaveThread();
        status = PyThread_acquire_lock_timed(lock, -1, 1);
        PyEval_RestoreThread(thread);
    } while (status == PY_LOCK_INTR);
    return true;
}

/* Until no call is under way; none is begun any more. */
static bool calls_wait(struct tac_py_store *self)
{
    while (self->call_count > 0) {
        if (!tac_py_lock_wait(self->idle)) {
            return false;
        }
    }
    return true;
}

static bool pins_are_gone(struct tac_py_store *self)
{
    if (self->pin_count > 0) {
        PyErr_Format(
            PyExc_BufferError,
            "%llu values of the store are pinned: release their memoryviews, then close it",
            (unsigned long long)self->pin_count);
        return false;
    }
    return true;
}

int tac_py_handle_close(struct tac_py_store *self, bool is_abandoned)
{
    struct tactus *handle = self->handle;
    PyThreadState *thread;
    int            code = TACTUS_OK;

    while (self->links.next != &self->links) {
        self->links.next->shut(self->links.next);
    }
    self->handle = NULL;
    thread = PyEval_SaveThread();
    if (is_abandoned) {
        tactus_abandon(handle);
    } else {
        code = tactus_close(handle);
    }
    PyEval_RestoreThread(thread);
    Py_CLEAR(self->on_event);
    Py_CLEAR(self->on_log);
    if (self->pool != NULL) {
        tac_py_pool_leave(self->pool);
    }
    return code;
}

/* With the turn. */
static PyObject *close_in_turn(struct tac_py_store *self, bool is_abandoned)
{
    PyObject *result = NULL;

    if (self->handle == NULL) {
        return Py_NewRef(Py_None);
    }
    self->is_closing = true;
    self->closer = PyThread_get_thread_ident();
    if (calls_wait(self) && pins_are_gone(self)) {
        result = tac_py_none(&self->ob_base, tac_py_handle_close(self, is_abandoned));
    }
    self->is_closing = false;
    (void)PyThread_acquire_lock(self->idle, NOWAIT_LOCK); /* It may have been told in vain */
    return result;
}

/* The parent goes on with the store: the child forgets it. */
static PyObject *close_in_child(struct tac_py_store *self, bool is_abandoned)
{
    struct tactus *handle = self->handle;

    if (handle == NULL) {
        return Py_NewRef(Py_None);
    }
    self->handle = NULL;
    return tac_py_none(&self->ob_base, is_abandoned ? TACTUS_OK : tactus_close(handle));
}

PyObject *tac_py_store_shut(PyObject *object, bool is_abandoned)
{
    struct tac_py_store *self = (struct tac_py_store *)object;
    PyObject            *result;

    if (tac_py_store_is_forked(self)) {
        return close_in_child(self, is_abandoned);
    }
    /* A signal handler that closes what is being closed. */
    if (self->is_closing && self->closer == PyThread_get_thread_ident()) {
        return Py_NewRef(Py_None);
    }
    if (self->event_teller == PyThread_get_thread_ident() ||
        self->log_teller == PyThread_get_thread_ident()) {
        return tac_py_raise_text(object, TACTUS_EINVAL, "a callback cannot close its own store");
    }
    if (!tac_py_lock_wait(self->turn)) {
        return NULL;
    }
    result = close_in_turn(self, is_abandoned);
    PyThread_release_lock(self->turn);
    return result;
}

void tac_py_store_drop(struct tac_py_store *self)
{
    PyObject *type, *value, *traceback;
    PyObject *object = &self->ob_base;
    int       code;

    self->is_dropped = true;
    PyErr_Fetch(&type, &value, &traceback);
    if (PyErr_ResourceWarning(NULL, 1, "unclosed store %R", self->path) != 0) {
        PyErr_WriteUnraisable((PyObject *)Py_TYPE(object));
    }
    code = tac_py_handle_close(self, false);
    if (code != TACTUS_OK) {
        tac_py_raise(object, code);
        PyErr_WriteUnraisable((PyObject *)Py_TYPE(object));
    }
    PyErr_Restore(type, value, traceback);
}
