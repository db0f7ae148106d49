/* SPDX-License-Identifier: Apache-2.0 */
/* store -- tactus.Store: trees, maintenance. What it tells of itself is in observe.c, how it is
 * opened in open.c, how it is closed in calls.c. */
#include "module.h"

static struct tac_py_store *store_of(PyObject *object) { return (struct tac_py_store *)object; }

/* ---- opening -------------------------------------------------------------------------------- */

PyDoc_STRVAR(
    open_doc,
    "open($type, path, /, *, pool=None, on_event=None, event_kinds=None,\n"
    "     event_wait_ns_min=1000000, on_log=None, **options)\n--\n\n"
    "Open a store at its last checkpoint, or at the end of its log.\n"
    "\n"
    "The options are those of struct tactus_options in tactus.h, each as the text of its\n"
    "value: memory_size=\"1GiB\", threads=8, log=\"sync\". With backend=\"memory\" the store is\n"
    "new, gone when it is closed, and path may be None. One open at a time in all\n"
    "processes: Locked. Others are NoStore, Format, Option.\n"
    "\n"
    "pool: a Pool, whose threads and memory the store is to share.\n"
    "on_event: called with a dict for each event, until the store is closed: what struct\n"
    "    tactus_event in tactus.h has, \"kind\" as a name of event_kinds. By a thread of the\n"
    "    library, or, with threads=0, by the calls that step the store as they end; one at a\n"
    "    time, in order. It may use the store, but not close it. What it raises goes to\n"
    "    sys.unraisablehook.\n"
    "event_kinds: some of \"job\", \"flush\", \"compaction\", \"move\", \"checkpoint\", \"wait\"\n"
    "    and \"error\"; None: all.\n"
    "event_wait_ns_min: of waits only those that took so long.\n"
    "on_log: called with \"error\", \"warning\", \"info\" or \"debug\" and a line for people, "
    "from\n"
    "    the open on, as on_event is; but it must not use the store. With the option\n"
    "    logger_level=\"info\" it is told of that and of what matters more.");

static PyObject *store_open(PyObject *type, PyObject *arguments, PyObject *keywords)
{
    return tac_py_store_make(type, arguments, keywords, false);
}

PyDoc_STRVAR(create_doc,
             "create($type, path, /, *, pool=None, on_event=None, event_kinds=None,\n"
             "       event_wait_ns_min=1000000, on_log=None, **options)\n--\n\n"
             "Create a store, and open it. The file must not be there: Exists.\n"
             "\n"
             "Options that shape the bytes of the file are kept in it; later opens ignore them.\n"
             "The other keywords are those of open().");

static PyObject *store_create(PyObject *type, PyObject *arguments, PyObject *keywords)
{
    return tac_py_store_make(type, arguments, keywords, true);
}

/* ---- closing -------------------------------------------------------------------------------- */

PyDoc_STRVAR(
    close_doc,
    "close($self, /)\n--\n\n"
    "Drain, make everything durable, and close. Closing twice is closing once.\n"
    "\n"
    "With a log nothing is drained: the log brings the rest back. Waits for calls of other\n"
    "threads, of on_event too. Iterators and batches are closed too. While a value of get_pinned "
    "is in use\n"
    "the store stays open: BufferError. After any other exception the store is closed, and\n"
    "the file may end at an earlier checkpoint.");

static PyObject *store_close(PyObject *object, PyObject *unused)
{
    (void)unused;
    return tac_py_store_shut(object, false);
}

PyDoc_STRVAR(abandon_doc, "abandon($self, /)\n--\n\n"
                          "Close without draining: a reopen finds what it finds after a crash.");

static PyObject *store_abandon(PyObject *object, PyObject *unused)
{
    (void)unused;
    return tac_py_store_shut(object, true);
}

PyDoc_STRVAR(enter_doc, "__enter__($self, /)\n--\n\nThe store itself.");

static PyObject *store_enter(PyObject *object, PyObject *unused)
{
    (void)unused;
    return tac_py_store_is_open(store_of(object)) ? Py_NewRef(object) : NULL;
}

PyDoc_STRVAR(exit_doc, "__exit__($self, /, *exception)\n--\n\nClose the store.");

static PyObject *store_exit(PyObject *object, PyObject *exception)
{
    (void)exception;
    return tac_py_store_shut(object, false);
}

static void store_dealloc(PyObject *object)
{
    struct tac_py_store *self = store_of(object);

    if (self->handle != NULL && !tac_py_store_is_forked(self)) {
        tac_py_store_drop(self);
    }
    if (self->turn != NULL) {
        PyThread_free_lock(self->turn);
    }
    if (self->idle != NULL) {
        PyThread_free_lock(self->idle);
    }
    Py_XDECREF(self->path);
    Py_XDECREF(self->on_event);
    Py_XDECREF(self->on_log);
    if (self->pool != NULL) {
        Py_DECREF(&self->pool->ob_base);
    }
    tac_py_free(object);
}

/* ---- trees ---------------------------------------------------------------------------------- */

/* What is known of the tree of this id. Without the interpreter's lock another thread may drop it
 * meanwhile: TACTUS_OK, and the name is empty. */
static int tree_look_up(struct tac_py_store *self, uint32_t id, struct tactus_tree_info *ret_info)
{
    struct tactus_tree_info trees[TACTUS_TREES_MAX];
    uint32_t                count;
    int                     code = tactus_tree_list(self->handle, trees, TACTUS_TREES_MAX, &count);

    for (uint32_t i = 0; code == TACTUS_OK && i < count; i++) {
        if (trees[i].id == id) {
            *ret_info = trees[i];
            return TACTUS_OK;
        }
    }
    ret_info->name[0] = 0;
    return code;
}

/* What has been looked up as a Tree; or why not. */
static PyObject *tree_answer(PyObject *object, int code, const struct tactus_tree_info *info)
{
    if (code != TACTUS_OK) {
        return tac_py_raise(object, code);
    }
    return info->name[0] != 0 ? tac_py_tree_new(store_of(object), info)
                              : tac_py_raise_text(object, TACTUS_ENOTREE,
                                                  "another thread has just dropped the tree");
}

PyDoc_STRVAR(tree_doc, "tree($self, name, /)\n--\n\n"
                       "The tree of this name. NoTree: there is none.");

static PyObject *store_tree(PyObject *object, PyObject *arguments)
{
    struct tac_py_store    *self = store_of(object);
    struct tactus_tree_info info;
    PyThreadState          *thread;
    const char             *name;
    uint32_t                id;
    int                     code;

    if (!PyArg_ParseTuple(arguments, "s:tree", &name) || (thread = tac_py_begin(self)) == NULL) {
        return NULL;
    }
    code = tactus_tree_find(self->handle, name, &id);
    if (code == TACTUS_OK) {
        code = tree_look_up(self, id, &info);
    }
    tac_py_end(self, thread);
    return tree_answer(object, code, &info);
}

PyDoc_STRVAR(trees_doc, "trees($self, /)\n--\n\nA list of all trees, in no particular order.");

static PyObject *store_trees(PyObject *object, PyObject *unused)
{
    struct tac_py_store    *self = store_of(object);
    struct tactus_tree_info trees[TACTUS_TREES_MAX];
    PyThreadState          *thread = tac_py_begin(self);
    PyObject               *list;
    uint32_t                count;
    int                     code;

    (void)unused;
    if (thread == NULL) {
        return NULL;
    }
    code = tactus_tree_list(self->handle, trees, TACTUS_TREES_MAX, &count);
    tac_py_end(self, thread);
    if (code != TACTUS_OK) {
        return tac_py_raise(object, code);
    }
    list = PyList_New(0);
    for (uint32_t i = 0; i < count && list != NULL; i++) {
        PyObject *tree = tac_py_tree_new(self, &trees[i]);

        if (tree == NULL || PyList_Append(list, tree) != 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(tree);
    }
    return list;
}

static bool size_take(const char *name, Py_ssize_t size, uint32_t *ret_size)
{
    if (size < 0 || (uint64_t)size > UINT32_MAX) {
        PyErr_Format(PyExc_OverflowError, "%s: %zd is no size", name, size);
        return false;
    }
    *ret_size = (uint32_t)size;
    return true;
}

/* The longest keys that the store's blocks allow. */
static uint32_t key_size_max(struct tactus *store)
{
    struct tactus_stats stats;

    tactus_stat(store, &stats);
    return stats.block_size / 16 < TACTUS_KEY_SIZE_MAX ? (uint32_t)stats.block_size / 16
                                                       : TACTUS_KEY_SIZE_MAX;
}

PyDoc_STRVAR(
    create_tree_doc,
    "create_tree($self, /, name, *, key_size=0, value_size=0, fixed=False)\n--\n\n"
    "Create a tree; an op. Exists: the name is taken.\n"
    "\n"
    "Keys have 1 to key_size bytes, values 0 to value_size; 0 stands for the most that the\n"
    "store takes. With fixed=True all keys have key_size bytes and all values value_size.");

static PyObject *store_create_tree(PyObject *object, PyObject *arguments, PyObject *keywords)
{
    static char            *names[] = {"name", "key_size", "value_size", "fixed", NULL};
    struct tac_py_store    *self = store_of(object);
    struct tactus_tree_info info;
    struct tactus_layout    layout;
    PyThreadState          *thread;
    Py_ssize_t              key_size = 0, value_size = 0;
    uint32_t                id;
    const char             *name;
    int                     is_fixed = 0, code;

    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "s|$nnp:create_tree", names, &name,
                                     &key_size, &value_size, &is_fixed) ||
        !size_take("key_size", key_size, &layout.key_size) ||
        !size_take("value_size", value_size, &layout.value_size) || !tac_py_store_is_here(self) ||
        (thread = tac_py_begin(self)) == NULL) {
        return NULL;
    }
    layout.kind = is_fixed ? TACTUS_LAYOUT_FIXED : TACTUS_LAYOUT_VARIABLE;
    if (layout.key_size == 0 && !is_fixed) {
        layout.key_size = key_size_max(self->handle);
    }
    code = tactus_tree_create(self->handle, name, &layout, &id);
    if (code == TACTUS_OK) {
        code = tree_look_up(self, id, &info);
    }
    tac_py_end(self, thread);
    return tree_answer(object, code, &info);
}

PyDoc_STRVAR(
    batch_doc,
    "batch($self, /)\n--\n\n"
    "A new Batch: puts and deletes over any trees that become visible together.\n"
    "\n"
    "As a context manager it is committed at the end, or dropped if there was an exception.");

static PyObject *store_batch(PyObject *object, PyObject *unused)
{
    (void)unused;
    return tac_py_batch_new(store_of(object));
}

/* ---- maintenance ---------------------------------------------------------------------------- */

/* A call that needs nothing but the store. */
static PyObject *simple_call(PyObject *object, int (*call)(struct tactus *store))
{
    struct tac_py_store *self = store_of(object);
    PyThreadState       *thread = tac_py_begin(self);
    int                  code;

    if (thread == NULL) {
        return NULL;
    }
    code = call(self->handle);
    tac_py_end(self, thread);
    return tac_py_none(object, code);
}

PyDoc_STRVAR(drain_doc,
             "drain($self, /)\n--\n\n"
             "Wait until all compaction that is due is done, and a checkpoint durable; an op.");

static PyObject *store_drain(PyObject *object, PyObject *unused)
{
    (void)unused;
    return simple_call(object, tactus_drain);
}

PyDoc_STRVAR(compaction_hold_doc,
             "compaction_hold($self, hold, /)\n--\n\n"
             "Hold back (True) or allow again (False) every compaction but the flush; an op.\n"
             "\n"
             "A drain ends it. For bulk loads that end with Tree.compact().");

static PyObject *store_compaction_hold(PyObject *object, PyObject *arguments)
{
    struct tac_py_store *self = store_of(object);
    PyThreadState       *thread;
    int                  is_held, code;

    if (!PyArg_ParseTuple(arguments, "p:compaction_hold", &is_held) ||
        (thread = tac_py_begin(self)) == NULL) {
        return NULL;
    }
    code = tactus_compaction_hold(self->handle, is_held != 0);
    tac_py_end(self, thread);
    return tac_py_none(object, code);
}

PyDoc_STRVAR(compact_step_doc,
             "compact_step($self, /)\n--\n\n"
             "Do what is left of the bar's work and end the bar; an op.\n"
             "\n"
             "True when no range is being compacted, or none any more. Other threads write on.");

static PyObject *store_compact_step(PyObject *object, PyObject *unused)
{
    struct tac_py_store *self = store_of(object);
    PyThreadState       *thread = tac_py_begin(self);
    bool                 is_done = false;
    int                  code;

    (void)unused;
    if (thread == NULL) {
        return NULL;
    }
    code = tactus_compact_step(self->handle, &is_done);
    tac_py_end(self, thread);
    return code == TACTUS_OK ? PyBool_FromLong(is_done) : tac_py_none(object, code);
}

PyDoc_STRVAR(compact_cancel_doc,
             "compact_cancel($self, /)\n--\n\n"
             "End what Tree.compact_range() has begun; what is done is kept; an op.");

static PyObject *store_compact_cancel(PyObject *object, PyObject *unused)
{
    (void)unused;
    return simple_call(object, tactus_compact_cancel);
}

PyDoc_STRVAR(beat_doc,
             "beat($self, /)\n--\n\n"
             "Begin the next beat of the bar, whatever has been written in this one; an op.\n"
             "\n"
             "With the last beat the bar ends. For a host with a clock of its own.");

static PyObject *store_beat(PyObject *object, PyObject *unused)
{
    (void)unused;
    return simple_call(object, tactus_beat);
}

PyDoc_STRVAR(threads_change_doc,
             "threads_change($self, read, merge, write, /)\n--\n\n"
             "Other numbers of stage threads, each at least 1, for a store that has some. No op.\n"
             "\n"
             "Memory and the jobs side by side stay as the open made them: open with the most.");

static PyObject *store_threads_change(PyObject *object, PyObject *arguments)
{
    struct tac_py_store *self = store_of(object);
    PyThreadState       *thread;
    uint32_t             read, merge, write;
    int                  code;

    if (!PyArg_ParseTuple(arguments, "O&O&O&:threads_change", tac_py_threads_convert, &read,
                          tac_py_threads_convert, &merge, tac_py_threads_convert, &write) ||
        (thread = tac_py_begin(self)) == NULL) {
        return NULL;
    }
    code = tactus_threads_change(self->handle, read, merge, write);
    tac_py_end(self, thread);
    return tac_py_none(object, code);
}

PyDoc_STRVAR(io_rate_change_doc,
             "io_rate_change($self, max_bytes, /)\n--\n\n"
             "Limit what compaction reads and writes in a second; 0: no limit. No op.\n"
             "\n"
             "Writes, drains and close wait where it holds compaction up.");

static PyObject *store_io_rate_change(PyObject *object, PyObject *arguments)
{
    struct tac_py_store *self = store_of(object);
    PyThreadState       *thread;
    unsigned long long   max_bytes;
    PyObject            *number;
    int                  code;

    if (!PyArg_ParseTuple(arguments, "O!:io_rate_change", &PyLong_Type, &number)) {
        return NULL;
    }
    max_bytes = PyLong_AsUnsignedLongLong(number);
    if (PyErr_Occurred() != NULL || (thread = tac_py_begin(self)) == NULL) {
        return NULL;
    }
    code = tactus_io_rate_change(self->handle, max_bytes);
    tac_py_end(self, thread);
    return tac_py_none(object, code);
}

PyDoc_STRVAR(cache_change_doc,
             "cache_change($self, page_cache_size, index_cache_size, /)\n--\n\n"
             "Other sizes of the caches, up to cache_size_max of the open; None: auto. No op.\n"
             "\n"
             "What they have room for stays in them; what they give up goes back to the system.");

/* A number, or None. */
static int cache_size_convert(PyObject *object, void *address)
{
    uint64_t *size = address;

    if (object == Py_None) {
        *size = TACTUS_SIZE_AUTO;
        return 1;
    }
    if (!PyLong_Check(object)) {
        PyErr_SetString(PyExc_TypeError, "a cache's size is an int, or None");
        return 0;
    }
    *size = PyLong_AsUnsignedLongLong(object);
    return PyErr_Occurred() == NULL;
}

static PyObject *store_cache_change(PyObject *object, PyObject *arguments)
{
    struct tac_py_store *self = store_of(object);
    PyThreadState       *thread;
    uint64_t             page, index;
    int                  code;

    if (!PyArg_ParseTuple(arguments, "O&O&:cache_change", cache_size_convert, &page,
                          cache_size_convert, &index) ||
        (thread = tac_py_begin(self)) == NULL) {
        return NULL;
    }
    code = tactus_cache_change(self->handle, page, index);
    tac_py_end(self, thread);
    return tac_py_none(object, code);
}

PyDoc_STRVAR(
    descriptor_doc,
    "descriptor($self, /)\n--\n\n"
    "A descriptor for select and asyncio, of a store with threads=0.\n"
    "\n"
    "It can be read when the device has done something; from this call on step() does not\n"
    "wait for that. It is the store's: not to be read from, or closed.");

static PyObject *store_descriptor(PyObject *object, PyObject *unused)
{
    struct tac_py_store *self = store_of(object);
    PyThreadState       *thread = tac_py_begin(self);
    int                  descriptor, code;

    (void)unused;
    if (thread == NULL) {
        return NULL;
    }
    code = tactus_descriptor(self->handle, &descriptor);
    tac_py_end(self, thread);
    return code == TACTUS_OK ? PyLong_FromLong(descriptor) : tac_py_raise(object, code);
}

PyDoc_STRVAR(
    pause_doc,
    "pause($self, /)\n--\n\n"
    "Pause flushes and compactions until resume(). No op.\n"
    "\n"
    "Reads and the log go on, and writes as far as compaction is ahead; a call that would\n"
    "have to wait for compaction raises Paused and changes nothing.");

static PyObject *store_pause(PyObject *object, PyObject *unused)
{
    (void)unused;
    return simple_call(object, tactus_pause);
}

PyDoc_STRVAR(resume_doc,
             "resume($self, /)\n--\n\nGo on after pause(). No error if nothing was paused.");

static PyObject *store_resume(PyObject *object, PyObject *unused)
{
    (void)unused;
    return simple_call(object, tactus_resume);
}

PyDoc_STRVAR(checkpoint_doc, "checkpoint($self, /)\n--\n\n"
                             "Wait until all ops so far are in a durable checkpoint; an op.");

static PyObject *store_checkpoint(PyObject *object, PyObject *unused)
{
    (void)unused;
    return simple_call(object, tactus_checkpoint);
}

PyDoc_STRVAR(sync_doc,
             "sync($self, /)\n--\n\n"
             "Wait until all ops so far are durable: by a sync of the log, without one by\n"
             "checkpoint().");

static PyObject *store_sync(PyObject *object, PyObject *unused)
{
    (void)unused;
    return simple_call(object, tactus_sync);
}

PyDoc_STRVAR(step_doc, "step($self, /)\n--\n\n"
                       "Do some of the background work, for stores without threads (threads=0).\n"
                       "\n"
                       "True while there is more that could be done now.");

static PyObject *store_step(PyObject *object, PyObject *unused)
{
    struct tac_py_store *self = store_of(object);
    PyThreadState       *thread;
    bool                 has_more;

    (void)unused;
    if (!tac_py_store_is_here(self) || (thread = tac_py_begin(self)) == NULL) {
        return NULL;
    }
    has_more = tactus_step(self->handle);
    tac_py_end(self, thread);
    return PyBool_FromLong(has_more);
}

PyDoc_STRVAR(replay_end_doc,
             "replay_end($self, /)\n--\n\n"
             "With log=\"host\": all ops of the application's log have been done again.");

static PyObject *store_replay_end(PyObject *object, PyObject *unused)
{
    struct tac_py_store *self = store_of(object);
    PyThreadState       *thread;

    (void)unused;
    if (!tac_py_store_is_here(self) || (thread = tac_py_begin(self)) == NULL) {
        return NULL;
    }
    tactus_replay_end(self->handle);
    tac_py_end(self, thread);
    Py_RETURN_NONE;
}

/* ---- attributes ----------------------------------------------------------------------------- */

static PyObject *store_path_get(PyObject *object, void *unused)
{
    (void)unused;
    return Py_NewRef(store_of(object)->path);
}

static PyObject *store_closed_get(PyObject *object, void *unused)
{
    (void)unused;
    return PyBool_FromLong(store_of(object)->handle == NULL);
}

static PyObject *op_get(PyObject *object, uint64_t (*call)(struct tactus *store))
{
    struct tac_py_store *self = store_of(object);
    PyThreadState       *thread;
    uint64_t             op;

    if (!tac_py_store_is_here(self) || (thread = tac_py_begin(self)) == NULL) {
        return NULL;
    }
    op = call(self->handle);
    tac_py_end(self, thread);
    return PyLong_FromUnsignedLongLong(op);
}

static PyObject *store_durable_op_get(PyObject *object, void *unused)
{
    (void)unused;
    return op_get(object, tactus_durable_op);
}

static PyObject *store_last_op_get(PyObject *object, void *unused)
{
    (void)unused;
    return op_get(object, tactus_last_op);
}

static PyObject *store_replay_op_get(PyObject *object, void *unused)
{
    (void)unused;
    return op_get(object, tactus_replay_op);
}

static PyObject *store_repr(PyObject *object)
{
    struct tac_py_store *self = store_of(object);

    return PyUnicode_FromFormat("<tactus.Store %R, %s>", self->path,
                                self->handle == NULL ? "closed" : "open");
}

/* ---- the type ------------------------------------------------------------------------------- */

PyDoc_STRVAR(
    compact_progress_doc,
    "compact_progress($self, /)\n--\n\n"
    "A dict of all that struct tactus_compact_progress in tactus.h has: how far the last\n"
    "Tree.compact_range() is. \"state\" is \"none\", \"flushing\", \"running\", \"done\",\n"
    "\"cancelled\" or \"stuck\".");
PyDoc_STRVAR(plan_doc,
             "plan($self, /)\n--\n\n"
             "A list of dicts: what this bar compacts, what is due, and why.\n"
             "\n"
             "They have what struct tactus_plan_entry in tactus.h has, \"low\" and \"high\"\n"
             "the first bytes of the keys, or None.");
PyDoc_STRVAR(
    stat_doc,
    "stat($self, /)\n--\n\n"
    "A dict of all that struct tactus_stats in tactus.h has, by the same names.\n"
    "\n"
    "\"stage\" is a dict of four: \"read\", \"merge\", \"write\" and \"coordinator\", each a\n"
    "dict. \"level\" is a list of a dict for each of the \"levels\".");
PyDoc_STRVAR(metrics_doc, "metrics($self, /, labels=None)\n--\n\n"
                          "The same as text for Prometheus (exposition format 0.0.4).\n"
                          "\n"
                          "labels: what each sample is to have, such as 'store=\"orders\"'.");
PyDoc_STRVAR(digest_doc,
             "digest($self, /)\n--\n\n"
             "A checksum of everything that the last durable checkpoint reaches, as 16 bytes.\n"
             "\n"
             "Equal for equal ops, options and UUID, whatever the threads.");
PyDoc_STRVAR(
    verify_doc,
    "verify($self, /)\n--\n\n"
    "Read everything reachable and check it; nothing may be written meanwhile.\n"
    "\n"
    "Returns a dict: \"tables\", \"blocks\" and \"records\", how many were read, and \"damages\",\n"
    "a list of texts. If there are any Corrupt is raised, whose attribute `report` is the dict.");

PyDoc_STRVAR(
    create_snapshot_doc,
    "create_snapshot($self, name, /)\n--\n\n"
    "Keep the store as it is now, under a name, until it is released; an op, whose number\n"
    "is returned. Exists: the name is taken.");
PyDoc_STRVAR(release_snapshot_doc,
             "release_snapshot($self, name, /)\n--\n\n"
             "Release a snapshot; an op. NotFound: there is none. Again: somebody has it open.");
PyDoc_STRVAR(snapshots_doc, "snapshots($self, /)\n--\n\n"
                            "A dict of all snapshots, from names to their ops, the oldest first.");
PyDoc_STRVAR(snapshot_doc,
             "snapshot($self, name, /)\n--\n\n"
             "Open a snapshot, to be read: a Snapshot. NotFound: there is none of this name.");

static PyMethodDef store_methods[] = {
    {"open", (PyCFunction)(void (*)(void))store_open, METH_CLASS | METH_VARARGS | METH_KEYWORDS,
     open_doc},
    {"create", (PyCFunction)(void (*)(void))store_create, METH_CLASS | METH_VARARGS | METH_KEYWORDS,
     create_doc},
    {"close", store_close, METH_NOARGS, close_doc},
    {"abandon", store_abandon, METH_NOARGS, abandon_doc},
    {"__enter__", store_enter, METH_NOARGS, enter_doc},
    {"__exit__", store_exit, METH_VARARGS, exit_doc},
    {"tree", store_tree, METH_VARARGS, tree_doc},
    {"trees", store_trees, METH_NOARGS, trees_doc},
    {"create_tree", (PyCFunction)(void (*)(void))store_create_tree, METH_VARARGS | METH_KEYWORDS,
     create_tree_doc},
    {"batch", store_batch, METH_NOARGS, batch_doc},
    {"create_snapshot", tac_py_store_create_snapshot, METH_VARARGS, create_snapshot_doc},
    {"release_snapshot", tac_py_store_release_snapshot, METH_VARARGS, release_snapshot_doc},
    {"snapshots", tac_py_store_snapshots, METH_NOARGS, snapshots_doc},
    {"snapshot", tac_py_store_snapshot, METH_VARARGS, snapshot_doc},
    {"drain", store_drain, METH_NOARGS, drain_doc},
    {"compaction_hold", store_compaction_hold, METH_VARARGS, compaction_hold_doc},
    {"io_rate_change", store_io_rate_change, METH_VARARGS, io_rate_change_doc},
    {"cache_change", store_cache_change, METH_VARARGS, cache_change_doc},
    {"beat", store_beat, METH_NOARGS, beat_doc},
    {"compact_step", store_compact_step, METH_NOARGS, compact_step_doc},
    {"compact_cancel", store_compact_cancel, METH_NOARGS, compact_cancel_doc},
    {"compact_progress", tac_py_store_compact_progress, METH_NOARGS, compact_progress_doc},
    {"plan", tac_py_store_plan, METH_NOARGS, plan_doc},
    {"threads_change", store_threads_change, METH_VARARGS, threads_change_doc},
    {"descriptor", store_descriptor, METH_NOARGS, descriptor_doc},
    {"pause", store_pause, METH_NOARGS, pause_doc},
    {"resume", store_resume, METH_NOARGS, resume_doc},
    {"checkpoint", store_checkpoint, METH_NOARGS, checkpoint_doc},
    {"sync", store_sync, METH_NOARGS, sync_doc},
    {"step", store_step, METH_NOARGS, step_doc},
    {"replay_end", store_replay_end, METH_NOARGS, replay_end_doc},
    {"stat", tac_py_store_stat, METH_NOARGS, stat_doc},
    {"metrics", (PyCFunction)(void (*)(void))tac_py_store_metrics, METH_VARARGS | METH_KEYWORDS,
     metrics_doc},
    {"digest", tac_py_store_digest, METH_NOARGS, digest_doc},
    {"verify", tac_py_store_verify, METH_NOARGS, verify_doc},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef store_attributes[] = {
    {"path", store_path_get, NULL, "The path as it was given.", NULL},
    {"closed", store_closed_get, NULL, "Whether the store is closed.", NULL},
    {"durable_op", store_durable_op_get, NULL, "The last op that a crash cannot take back.", NULL},
    {"last_op", store_last_op_get, NULL, "The last op there is.", NULL},
    {"replay_op", store_replay_op_get, NULL,
     "The op that the next write will be.\n"
     "\n"
     "With log=\"host\", right after open: the first op that the application has to do again from\n"
     "its log; replay_end() follows the last.",
     NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(
    store_doc,
    "A store, which Store.open and Store.create return. Any number of threads may use it.\n"
    "\n"
    "As a context manager it is closed at the end. One that is dropped unclosed is closed\n"
    "with a ResourceWarning; one that is still there when the interpreter ends may not be,\n"
    "and is then found as after a crash.");

static PyType_Slot store_slots[] = {
    {Py_tp_doc, (void *)store_doc}, {Py_tp_dealloc, store_dealloc},   {Py_tp_repr, store_repr},
    {Py_tp_methods, store_methods}, {Py_tp_getset, store_attributes}, {0, NULL},
};

PyType_Spec tac_py_store_spec = {
    .name = "tactus.Store",
    .basicsize = sizeof(struct tac_py_store),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = store_slots,
};
