/* SPDX-License-Identifier: Apache-2.0 */
/* snapshot -- tactus.Snapshot: an open snapshot, and what a store does with snapshots.
 *
 * Its iterators are linked to it, and closed before it is. Like an iterator it is not closed while
 * another thread is in a call with it, or with one of its iterators (call_count). */
#include "module.h"

#define SNAPSHOTS_MAX 64 /* More than a store takes */

static struct tac_py_snapshot *snapshot_of(PyObject *object)
{
    return (struct tac_py_snapshot *)object;
}

/* ---- life ----------------------------------------------------------------------------------- */

static void snapshot_shut(struct tac_py_link *link)
{
    struct tac_py_snapshot *self =
        (struct tac_py_snapshot *)(void *)((uint8_t *)link -
                                           offsetof(struct tac_py_snapshot, link));

    while (self->links.next != &self->links) {
        self->links.next->shut(self->links.next);
    }
    tac_py_link_remove(link);
    if (!tac_py_store_is_forked(self->store)) {
        tactus_snapshot_close(self->handle);
    }
    self->handle = NULL;
}

static void snapshot_dealloc(PyObject *object)
{
    struct tac_py_snapshot *self = snapshot_of(object);

    if (self->handle != NULL) {
        snapshot_shut(&self->link);
    }
    Py_XDECREF(self->name);
    Py_DECREF(&self->store->ob_base);
    tac_py_free(object);
}

bool tac_py_snapshot_is_open(struct tac_py_snapshot *self)
{
    if (self->handle == NULL) {
        tac_py_raise_text(&self->ob_base, TACTUS_ECLOSED,
                          self->store->handle == NULL ? "the store is closed"
                                                      : "the snapshot is closed");
    }
    return self->handle != NULL;
}

/* ---- of a store ----------------------------------------------------------------------------- */

PyObject *tac_py_store_create_snapshot(PyObject *object, PyObject *arguments)
{
    struct tac_py_store *store = (struct tac_py_store *)object;
    PyThreadState       *thread;
    const char          *name;
    uint64_t             op = 0;
    int                  code;

    if (!PyArg_ParseTuple(arguments, "s:create_snapshot", &name) ||
        (thread = tac_py_begin(store)) == NULL) {
        return NULL;
    }
    code = tactus_snapshot_create(store->handle, name, &op);
    tac_py_end(store, thread);
    return code == TACTUS_OK ? PyLong_FromUnsignedLongLong(op) : tac_py_raise(object, code);
}

PyObject *tac_py_store_release_snapshot(PyObject *object, PyObject *arguments)
{
    struct tac_py_store *store = (struct tac_py_store *)object;
    PyThreadState       *thread;
    const char          *name;
    int                  code;

    if (!PyArg_ParseTuple(arguments, "s:release_snapshot", &name) ||
        (thread = tac_py_begin(store)) == NULL) {
        return NULL;
    }
    code = tactus_snapshot_release(store->handle, name);
    tac_py_end(store, thread);
    return tac_py_none(object, code);
}

PyObject *tac_py_store_snapshots(PyObject *object, PyObject *unused)
{
    struct tac_py_store        *store = (struct tac_py_store *)object;
    struct tactus_snapshot_info infos[SNAPSHOTS_MAX];
    PyThreadState              *thread = tac_py_begin(store);
    PyObject                   *dict;
    uint32_t                    count;
    int                         code;

    (void)unused;
    if (thread == NULL) {
        return NULL;
    }
    code = tactus_snapshot_list(store->handle, infos, SNAPSHOTS_MAX, &count);
    tac_py_end(store, thread);
    if (code != TACTUS_OK) {
        return tac_py_raise(object, code);
    }
    dict = PyDict_New();
    for (uint32_t i = 0; i < count && dict != NULL; i++) {
        PyObject *op = PyLong_FromUnsignedLongLong(infos[i].op);

        if (op == NULL || PyDict_SetItemString(dict, infos[i].name, op) != 0) {
            Py_CLEAR(dict);
        }
        Py_XDECREF(op);
    }
    return dict;
}

PyObject *tac_py_store_snapshot(PyObject *object, PyObject *arguments)
{
    struct tac_py_store    *store = (struct tac_py_store *)object;
    struct tactus_snapshot *handle = NULL;
    struct tac_py_snapshot *self;
    PyThreadState          *thread;
    const char             *name;
    int                     code;

    if (!PyArg_ParseTuple(arguments, "s:snapshot", &name) ||
        (self = tac_py_new(tac_py_module_of(object)->snapshot_type)) == NULL) {
        return NULL;
    }
    self->store = (struct tac_py_store *)Py_NewRef(object);
    self->links.previous = self->links.next = &self->links;
    self->name = PyUnicode_FromString(name);
    if (self->name == NULL || (thread = tac_py_begin(store)) == NULL) {
        Py_DECREF(&self->ob_base);
        return NULL;
    }
    code = tactus_snapshot_open(store->handle, name, &handle);
    tac_py_end(store, thread);
    if (code != TACTUS_OK) {
        tac_py_raise(object, code);
        Py_DECREF(&self->ob_base);
        return NULL;
    }
    self->handle = handle;
    tac_py_link_add(&store->links, &self->link, snapshot_shut);
    return &self->ob_base;
}

/* ---- reading -------------------------------------------------------------------------------- */

PyDoc_STRVAR(get_doc, "get($self, tree, key, default=None, /)\n--\n\n"
                      "The value that the key had, or the default if there was no such key.");

/* The value of any size, as bytes. A snapshot does not change: the second call finds the same. */
static PyObject *value_read(struct tac_py_snapshot *self, uint32_t tree,
                            const struct tac_py_bytes *key, int *ret_code)
{
    char           small[4096];
    size_t         size = 0;
    PyObject      *value;
    PyThreadState *thread;

    if ((thread = tac_py_begin(self->store)) == NULL) {
        return NULL;
    }
    *ret_code =
        tactus_snapshot_get(self->handle, tree, key->data, key->size, small, sizeof small, &size);
    tac_py_end(self->store, thread);
    if (*ret_code != TACTUS_OK || size <= sizeof small) {
        return *ret_code == TACTUS_OK ? PyBytes_FromStringAndSize(small, (Py_ssize_t)size) : NULL;
    }
    value = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
    if (value != NULL && (thread = tac_py_begin(self->store)) != NULL) {
        *ret_code = tactus_snapshot_get(self->handle, tree, key->data, key->size,
                                        PyBytes_AsString(value), size, &size);
        tac_py_end(self->store, thread);
    } else {
        Py_CLEAR(value);
    }
    if (*ret_code != TACTUS_OK) {
        Py_CLEAR(value);
    }
    return value;
}

static PyObject *snapshot_get(PyObject *object, PyObject *arguments)
{
    struct tac_py_snapshot *self = snapshot_of(object);
    struct tac_py_tree     *tree;
    struct tac_py_bytes     key;
    PyObject               *tree_object, *key_object, *value = NULL, *otherwise = Py_None;
    int                     code = TACTUS_OK;

    if (!PyArg_ParseTuple(arguments, "OO|O:get", &tree_object, &key_object, &otherwise) ||
        (tree = tac_py_tree_take(self->store, tree_object)) == NULL) {
        return NULL;
    }
    /* Its __buffer__ may close the snapshot. */
    if (tac_py_bytes_take(&key, key_object, "the key") && tac_py_snapshot_is_open(self)) {
        self->call_count++;
        value = value_read(self, tree->info.id, &key, &code);
        self->call_count--;
    }
    if (code == TACTUS_ENOTFOUND) {
        value = Py_NewRef(otherwise);
    } else if (code != TACTUS_OK) {
        tac_py_raise(object, code);
    }
    tac_py_bytes_drop(&key);
    return value;
}

static PyObject *range_open(PyObject *object, PyObject *arguments, PyObject *keywords,
                            enum tac_py_content content)
{
    static char            *names[] = {"tree", "low", "high", "prefix", "reverse", NULL};
    struct tac_py_snapshot *self = snapshot_of(object);
    struct tac_py_tree     *tree;
    PyObject               *tree_object, *low = NULL, *high = NULL, *prefix = NULL;

    PyObject           *iterator = NULL;
    struct tac_py_range range = {0};
    int                 is_reverse = 0;

    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "O|OO$Op", names, &tree_object, &low,
                                     &high, &prefix, &is_reverse) ||
        (tree = tac_py_tree_take(self->store, tree_object)) == NULL) {
        return NULL;
    }
    range.is_reverse = is_reverse != 0;
    if (tac_py_bytes_take_any(&range.low, low, "low") &&
        tac_py_bytes_take_any(&range.high, high, "high") &&
        tac_py_bytes_take_any(&range.prefix, prefix, "prefix") && tac_py_snapshot_is_open(self)) {
        iterator = tac_py_iterator_new(tree, self, content, &range);
    }
    tac_py_bytes_drop(&range.low);
    tac_py_bytes_drop(&range.high);
    tac_py_bytes_drop(&range.prefix);
    return iterator;
}

#define RANGE_ARGUMENTS                                                                            \
    "($self, /, tree, low=None, high=None, *, prefix=None, reverse=False)\n--\n\n"

PyDoc_STRVAR(items_doc, "items" RANGE_ARGUMENTS
                        "An Iterator over (key, value), as of Tree.items; it never expires.");

static PyObject *snapshot_items(PyObject *object, PyObject *arguments, PyObject *keywords)
{
    return range_open(object, arguments, keywords, TAC_PY_ITEMS);
}

PyDoc_STRVAR(keys_doc,
             "keys" RANGE_ARGUMENTS "An Iterator over keys, as of Tree.keys; it never expires.");

static PyObject *snapshot_keys(PyObject *object, PyObject *arguments, PyObject *keywords)
{
    return range_open(object, arguments, keywords, TAC_PY_KEYS);
}

PyDoc_STRVAR(values_doc, "values" RANGE_ARGUMENTS
                         "An Iterator over values, as of Tree.values; it never expires.");

static PyObject *snapshot_values(PyObject *object, PyObject *arguments, PyObject *keywords)
{
    return range_open(object, arguments, keywords, TAC_PY_VALUES);
}

/* ---- the type ------------------------------------------------------------------------------- */

PyDoc_STRVAR(close_doc, "close($self, /)\n--\n\n"
                        "Close it and its iterators. The snapshot stays: Store.release_snapshot\n"
                        "releases it. Closing twice is closing once.");

static PyObject *snapshot_close(PyObject *object, PyObject *unused)
{
    struct tac_py_snapshot *self = snapshot_of(object);

    (void)unused;
    if (self->call_count > 0) {
        return tac_py_raise_text(object, TACTUS_EINVAL, "another thread uses the snapshot");
    }
    if (self->handle != NULL) {
        snapshot_shut(&self->link);
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(enter_doc, "__enter__($self, /)\n--\n\nThe snapshot itself.");

static PyObject *snapshot_enter(PyObject *object, PyObject *unused)
{
    (void)unused;
    return tac_py_snapshot_is_open(snapshot_of(object)) ? Py_NewRef(object) : NULL;
}

PyDoc_STRVAR(exit_doc, "__exit__($self, /, *exception)\n--\n\nClose the snapshot.");

static PyObject *snapshot_name_get(PyObject *object, void *unused)
{
    (void)unused;
    return Py_NewRef(snapshot_of(object)->name);
}

static PyMethodDef snapshot_methods[] = {
    {"get", snapshot_get, METH_VARARGS, get_doc},
    {"items", (PyCFunction)(void (*)(void))snapshot_items, METH_VARARGS | METH_KEYWORDS, items_doc},
    {"keys", (PyCFunction)(void (*)(void))snapshot_keys, METH_VARARGS | METH_KEYWORDS, keys_doc},
    {"values", (PyCFunction)(void (*)(void))snapshot_values, METH_VARARGS | METH_KEYWORDS,
     values_doc},
    {"close", snapshot_close, METH_NOARGS, close_doc},
    {"__enter__", snapshot_enter, METH_NOARGS, enter_doc},
    {"__exit__", snapshot_close, METH_VARARGS, exit_doc},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef snapshot_attributes[] = {
    {"name", snapshot_name_get, NULL, "Its name.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(snapshot_doc,
             "A snapshot to be read, which Store.snapshot returns.\n"
             "\n"
             "Any number of threads may read it. It is closed when it is dropped, at the end of a\n"
             "with statement, or with its store; while it is open it cannot be released.");

static PyType_Slot snapshot_slots[] = {
    {Py_tp_doc, (void *)snapshot_doc},
    {Py_tp_dealloc, snapshot_dealloc},
    {Py_tp_methods, snapshot_methods},
    {Py_tp_getset, snapshot_attributes},
    {0, NULL},
};

PyType_Spec tac_py_snapshot_spec = {
    .name = "tactus.Snapshot",
    .basicsize = sizeof(struct tac_py_snapshot),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = snapshot_slots,
};
