/* SPDX-License-Identifier: Apache-2.0 */
/* module -- what the files of the Python module `tactus` share. It uses tactus.h and the stable
 * interface of Python 3.11, the first that has buffers, and nothing else of either.
 *
 * Threads    A call of Tactus that may wait or read is made between tac_py_begin and tac_py_end,
 *            without the interpreter's lock. The fields of all objects are used only with that lock
 *            held, which is why they need no other; but for those of an iterator or a batch whose
 *            is_busy is set, which belong to the thread that set it.
 * Arguments  are bytes objects, or copied into one, so that nobody changes what is read without the
 *            lock.
 * Life       Each object keeps its store alive. A store knows its open iterators and batches and
 *            closes them when it is closed. It refuses to be closed while a value is pinned:
 *            somebody may be reading it.
 * Callbacks  are called by the library without the interpreter's lock, and take it (events.c).
 * Forks      The library answers a child of the process that opened the store with TACTUS_EFORKED.
 *            What has no code to answer with is not called there (tac_py_store_is_here), and
 *            nothing of the store is given back. */
#ifndef TACTUS_PYTHON_MODULE_H
#define TACTUS_PYTHON_MODULE_H

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <tactus.h>

#define TAC_PY_ONE(name, number, text) +1
enum {
    TAC_PY_ERROR_COUNT = 0 TACTUS_ERRORS(TAC_PY_ONE)
};
#undef TAC_PY_ONE

struct tac_py_module {
    PyTypeObject *store_type;
    PyTypeObject *tree_type;
    PyTypeObject *iterator_type;
    PyTypeObject *batch_type;
    PyTypeObject *snapshot_type;
    PyTypeObject *pool_type;
    PyTypeObject *pinned_type;
    PyObject     *error;                      /* tactus.Error */
    PyObject     *errors[TAC_PY_ERROR_COUNT]; /* In the order of TACTUS_ERRORS; of OK: NULL */
};

extern PyType_Spec tac_py_store_spec, tac_py_tree_spec, tac_py_iterator_spec, tac_py_batch_spec,
    tac_py_snapshot_spec, tac_py_pool_spec, tac_py_pinned_spec;

/* Of an object of one of our types. */
struct tac_py_module *tac_py_module_of(PyObject *object);

/* A new object of the type, zero but for its head; to be given to tac_py_free by its dealloc. */
void *tac_py_new(PyTypeObject *type);
void  tac_py_free(PyObject *object);

/* ---- errors: all return NULL ---------------------------------------------------------------- */

/* Raises the class of the code. `object` is any of ours. The text is that of the calling thread's
 * last failed call of Tactus; so nothing may come in between. */
PyObject *tac_py_raise(PyObject *object, int code);
PyObject *tac_py_raise_text(PyObject *object, int code, const char *text);
/* tactus.NotFound, which names the key. */
PyObject *tac_py_raise_no_key(PyObject *object, PyObject *key);
/* As Py_None, or NULL after tac_py_raise. */
PyObject *tac_py_none(PyObject *object, int code);

/* ---- arguments ------------------------------------------------------------------------------ */

struct tac_py_bytes {
    PyObject   *object; /* NULL: there are none */
    const void *data;   /* NULL only if there are none */
    size_t      size;
};

/* False: `object` is not bytes-like, and an exception is set. *ret_bytes is to be given to
 * tac_py_bytes_drop whatever the result. */
bool tac_py_bytes_take(struct tac_py_bytes *ret_bytes, PyObject *object, const char *what);
/* The same; None, or NULL, are no bytes. */
bool tac_py_bytes_take_any(struct tac_py_bytes *ret_bytes, PyObject *object, const char *what);
void tac_py_bytes_drop(struct tac_py_bytes *bytes);

/* For "O&" of PyArg_ParseTuple: an int as a uint32_t, without TACTUS_THREADS_AUTO. 0, and an
 * exception is set: it is none. */
int tac_py_threads_convert(PyObject *object, void *address);

/* ---- store ---------------------------------------------------------------------------------- */

/* What a store closes when it is closed. In a ring with the store's. */
struct tac_py_link {
    struct tac_py_link *previous, *next;
    void (*shut)(struct tac_py_link *link); /* Unlinks it too */
};

struct tac_py_pool {
    PyObject            ob_base;
    struct tactus_pool *handle;      /* NULL: it is closed */
    pid_t               pid;         /* Who opened it */
    PyThread_type_lock  turn;        /* Whose call it is */
    unsigned long       turn_thread; /* Who has it, if turn_depth is not 0 */
    uint32_t            turn_depth;  /* Calls of that thread: callbacks within step make others */
    uint64_t            store_count;
};

struct tac_py_store {
    PyObject            ob_base;
    struct tactus      *handle; /* NULL: it is closed */
    PyObject           *path;   /* As it was given, or None */
    pid_t               pid;    /* Who opened it */
    struct tac_py_link  links;
    uint64_t            pin_count;
    uint64_t            call_count; /* Under way without the interpreter's lock */
    PyThread_type_lock  turn;       /* Whose turn it is to close the store */
    PyThread_type_lock  idle;       /* Released to tell who closes that no call is under way */
    unsigned long       closer;     /* The thread that closes, if is_closing */
    bool                is_closing; /* No call is begun any more */
    struct tac_py_pool *pool;       /* NULL: it is in none */
    PyObject           *on_event, *on_log; /* NULL: there is none */
    unsigned long       event_teller;      /* The thread that is in on_event; 0: none is */
    unsigned long       log_teller;        /* The same of on_log */
    bool                is_dropped;        /* Nobody has a reference to it any more */
};

/* ring: a store's links, or a snapshot's. */
void tac_py_link_add(struct tac_py_link *ring, struct tac_py_link *link,
                     void (*shut)(struct tac_py_link *link));
void tac_py_link_remove(struct tac_py_link *link);

bool tac_py_store_is_forked(const struct tac_py_store *store);
/* False, and tactus.Closed is set: it is closed or about to be. */
bool tac_py_store_is_open(struct tac_py_store *store);
/* The same, or tactus.Forked: for calls that have no code. */
bool tac_py_store_is_here(struct tac_py_store *store);

/* If the store is open, gives up the interpreter's lock; the handle stays valid until the end.
 * NULL: it is not, an exception is set, and there is nothing to end. */
PyThreadState *tac_py_begin(struct tac_py_store *store);
void           tac_py_end(struct tac_py_store *store, PyThreadState *thread);

/* Waits without the interpreter's lock. False: a signal handler has raised. */
bool tac_py_lock_wait(PyThread_type_lock lock);
/* The store is gone, whatever the code. Not in a child; no call is under way. */
int tac_py_handle_close(struct tac_py_store *store, bool is_abandoned);
/* Closes the store, or abandons it: as a method does. */
PyObject *tac_py_store_shut(PyObject *object, bool is_abandoned);
/* Closes one that nobody has a reference to: no call is under way, nothing is linked or pinned. */
void tac_py_store_drop(struct tac_py_store *store);

/* ---- open.c --------------------------------------------------------------------------------- */

/* What Store.open and Store.create return. */
PyObject *tac_py_store_make(PyObject *type, PyObject *arguments, PyObject *keywords, bool is_new);
/* The text of an option's name or value; NULL, and an exception is set, if it has a zero byte. */
const char *tac_py_option_text(PyObject *string);

/* ---- pool.c --------------------------------------------------------------------------------- */

/* Before a store is opened in the pool. False, and an exception is set: it is closed. */
bool tac_py_pool_join(struct tac_py_pool *pool);
/* After it is closed, or the open has failed. */
void tac_py_pool_leave(struct tac_py_pool *pool);

/* ---- events.c ------------------------------------------------------------------------------- */

/* 0, or -1 and an exception. */
int tac_py_events_init(PyObject *module);
/* False, and an exception is set: this interpreter cannot be called by threads of the library.
 * name: of the keyword. */
bool tac_py_callbacks_are_possible(const char *name);
/* From now on, until the store is closed, its on_event is called. */
int tac_py_events_begin(struct tac_py_store *store, uint32_t kinds, uint64_t wait_ns_min);
/* options.logger_fn; the context is the store. */
void tac_py_line_tell(void *context, enum tactus_logger_level level, const char *line);

/* ---- observe.c: dicts, and methods of Store ------------------------------------------------- */

PyObject *tac_py_event_new(const struct tactus_event *event);
/* The bit of a name of event kinds; 0: there is none. */
uint32_t  tac_py_event_kind(PyObject *name);
PyObject *tac_py_pool_stats_new(const struct tactus_pool_stats *stats);

PyObject *tac_py_store_stat(PyObject *object, PyObject *unused);
PyObject *tac_py_store_compact_progress(PyObject *object, PyObject *unused);
PyObject *tac_py_store_plan(PyObject *object, PyObject *unused);
PyObject *tac_py_store_metrics(PyObject *object, PyObject *arguments, PyObject *keywords);
PyObject *tac_py_store_digest(PyObject *object, PyObject *unused);
PyObject *tac_py_store_verify(PyObject *object, PyObject *unused);

/* ---- snapshot.c: methods of Store ----------------------------------------------------------- */

PyObject *tac_py_store_create_snapshot(PyObject *object, PyObject *arguments);
PyObject *tac_py_store_release_snapshot(PyObject *object, PyObject *arguments);
PyObject *tac_py_store_snapshots(PyObject *object, PyObject *unused);
PyObject *tac_py_store_snapshot(PyObject *object, PyObject *arguments);

/* ---- what a store and a tree make ----------------------------------------------------------- */

struct tac_py_tree {
    PyObject                ob_base;
    struct tac_py_store    *store;
    struct tactus_tree_info info;
};

PyObject *tac_py_tree_new(struct tac_py_store *store, const struct tactus_tree_info *info);
/* A method of Tree; run.c. */
PyObject *tac_py_tree_ingest(PyObject *object, PyObject *records);
/* The argument as a tree of this store; NULL and an exception if it is none. */
struct tac_py_tree *tac_py_tree_take(struct tac_py_store *store, PyObject *object);

enum tac_py_content {
    TAC_PY_ITEMS,
    TAC_PY_KEYS,
    TAC_PY_VALUES,
};

struct tac_py_range {
    struct tac_py_bytes low, high, prefix;
    bool                is_reverse;
};

/* Open, and what its iterators keep alive. */
struct tac_py_snapshot {
    PyObject                ob_base;
    struct tac_py_link      link;
    struct tac_py_store    *store;
    struct tactus_snapshot *handle; /* NULL: it is closed */
    PyObject               *name;
    struct tac_py_link      links;      /* Of its iterators */
    uint64_t                call_count; /* With it or them, without the interpreter's lock */
};

/* False, and tactus.Closed is set: it is closed. */
bool tac_py_snapshot_is_open(struct tac_py_snapshot *snapshot);

/* snapshot: NULL for one of the store as it is. */
PyObject *tac_py_iterator_new(struct tac_py_tree *tree, struct tac_py_snapshot *snapshot,
                              enum tac_py_content content, const struct tac_py_range *range);
PyObject *tac_py_batch_new(struct tac_py_store *store);

#endif
