/* SPDX-License-Identifier: Apache-2.0 */
/* batch -- tactus.Batch: writes over any trees that become visible together. Its entries are in
 * memory alone until the commit, the one call that gives up the interpreter's lock. */
#include "module.h"

#include <stddef.h>

struct batch {
    PyObject             ob_base;
    struct tac_py_link   link;
    struct tac_py_store *store;
    struct tactus_batch *batch;   /* NULL: it is closed */
    bool                 is_busy; /* A thread commits it */
};

static struct batch *batch_of(PyObject *object) { return (struct batch *)object; }

/* ---- life ----------------------------------------------------------------------------------- */

static void batch_shut(struct tac_py_link *link)
{
    struct batch *self = (struct batch *)(void *)((uint8_t *)link - offsetof(struct batch, link));

    tac_py_link_remove(link);
    tactus_batch_free(self->batch);
    self->batch = NULL;
}

static void batch_dealloc(PyObject *object)
{
    struct batch *self = batch_of(object);

    if (self->batch != NULL) {
        batch_shut(&self->link);
    }
    Py_DECREF(&self->store->ob_base);
    tac_py_free(object);
}

PyObject *tac_py_batch_new(struct tac_py_store *store)
{
    struct batch *self;
    int           code;

    if (!tac_py_store_is_open(store) ||
        (self = tac_py_new(tac_py_module_of(&store->ob_base)->batch_type)) == NULL) {
        return NULL;
    }
    self->store = (struct tac_py_store *)Py_NewRef(&store->ob_base);
    code = tactus_batch_new(store->handle, &self->batch);
    if (code != TACTUS_OK) {
        tac_py_raise(&self->ob_base, code);
        Py_DECREF(&self->ob_base);
        return NULL;
    }
    tac_py_link_add(&store->links, &self->link, batch_shut);
    return &self->ob_base;
}

/* False, and an exception is set: it is closed, or another thread commits it. */
static bool batch_is_free(struct batch *self)
{
    if (self->batch == NULL) {
        tac_py_raise_text(&self->ob_base, TACTUS_ECLOSED,
                          self->store->handle == NULL ? "the store is closed"
                                                      : "the batch is closed");
        return false;
    }
    if (self->is_busy) {
        tac_py_raise_text(&self->ob_base, TACTUS_EINVAL, "another thread commits the batch");
        return false;
    }
    return true;
}

/* ---- entries -------------------------------------------------------------------------------- */

enum entry {
    ENTRY_PUT,
    ENTRY_DELETE,
    ENTRY_EXPECT,
};

static int entry_add(struct batch *self, enum entry entry, uint32_t tree,
                     const struct tac_py_bytes *key, const struct tac_py_bytes *value)
{
    switch (entry) {
    case ENTRY_PUT:
        return tactus_batch_put(self->batch, tree, key->data, key->size, value->data, value->size);
    case ENTRY_DELETE:
        return tactus_batch_delete(self->batch, tree, key->data, key->size);
    case ENTRY_EXPECT:
        break;
    }
    return tactus_batch_expect(self->batch, tree, key->data, key->size, value->data, value->size);
}

/* value_object: NULL or None for no bytes. */
static PyObject *entry_take(PyObject *object, enum entry entry, PyObject *tree_object,
                            PyObject *key_object, PyObject *value_object)
{
    struct batch       *self = batch_of(object);
    struct tac_py_bytes key = {0}, value = {0};
    struct tac_py_tree *tree = tac_py_tree_take(self->store, tree_object);
    PyObject           *result = NULL;

    if (tree != NULL && tac_py_bytes_take(&key, key_object, "the key") &&
        tac_py_bytes_take_any(&value, value_object, "the value") && batch_is_free(self)) {
        result = tac_py_none(object, entry_add(self, entry, tree->info.id, &key, &value));
    }
    tac_py_bytes_drop(&key);
    tac_py_bytes_drop(&value);
    return result;
}

PyDoc_STRVAR(put_doc, "put($self, tree, key, value, /)\n--\n\n"
                      "Store a record. BatchSize: the batch would be too large; commit it first.");

static PyObject *batch_put(PyObject *object, PyObject *arguments)
{
    struct tac_py_bytes bytes;
    PyObject           *tree, *key, *value, *result;

    if (!PyArg_ParseTuple(arguments, "OOO:put", &tree, &key, &value) ||
        !tac_py_bytes_take(&bytes, value, "the value")) {
        return NULL;
    }
    result = entry_take(object, ENTRY_PUT, tree, key, bytes.object);
    tac_py_bytes_drop(&bytes);
    return result;
}

PyDoc_STRVAR(delete_doc, "delete($self, tree, key, /)\n--\n\nDelete a record.");

static PyObject *batch_delete(PyObject *object, PyObject *arguments)
{
    PyObject *tree, *key;

    if (!PyArg_ParseTuple(arguments, "OO:delete", &tree, &key)) {
        return NULL;
    }
    return entry_take(object, ENTRY_DELETE, tree, key, NULL);
}

PyDoc_STRVAR(
    expect_doc,
    "expect($self, tree, key, expected, /)\n--\n\n"
    "The commit writes nothing unless the key has this value (None: no record) just before.\n"
    "\n"
    "It then raises Conflict. What the batch itself writes does not count.");

static PyObject *batch_expect(PyObject *object, PyObject *arguments)
{
    PyObject *tree, *key, *expected;

    if (!PyArg_ParseTuple(arguments, "OOO:expect", &tree, &key, &expected)) {
        return NULL;
    }
    return entry_take(object, ENTRY_EXPECT, tree, key, expected);
}

PyDoc_STRVAR(clear_doc, "clear($self, /)\n--\n\nDrop all entries and conditions.");

static PyObject *batch_clear(PyObject *object, PyObject *unused)
{
    struct batch *self = batch_of(object);

    (void)unused;
    if (!batch_is_free(self)) {
        return NULL;
    }
    tactus_batch_clear(self->batch);
    Py_RETURN_NONE;
}

/* ---- commit --------------------------------------------------------------------------------- */

PyDoc_STRVAR(
    commit_doc,
    "commit($self, /)\n--\n\n"
    "Apply the batch as one op and clear it; returns the number of the op.\n"
    "\n"
    "An empty batch takes no op: None. The batch keeps its entries when this raises, unless\n"
    "it was applied and the sync of the log has failed.");

static PyObject *batch_commit(PyObject *object, PyObject *unused)
{
    struct batch  *self = batch_of(object);
    PyThreadState *thread;
    uint64_t       op = 0; /* None has this number */
    int            code;

    (void)unused;
    if (!batch_is_free(self) || !tac_py_store_is_open(self->store)) {
        return NULL;
    }
    self->is_busy = true; /* Before the lock is given up */
    thread = tac_py_begin(self->store);
    code = tactus_batch_commit(self->batch, &op);
    tac_py_end(self->store, thread);
    self->is_busy = false;
    if (code != TACTUS_OK) {
        return tac_py_raise(object, code);
    }
    return op == 0 ? Py_NewRef(Py_None) : PyLong_FromUnsignedLongLong(op);
}

PyDoc_STRVAR(enter_doc, "__enter__($self, /)\n--\n\nThe batch itself.");

static PyObject *batch_enter(PyObject *object, PyObject *unused)
{
    (void)unused;
    return batch_is_free(batch_of(object)) ? Py_NewRef(object) : NULL;
}

PyDoc_STRVAR(exit_doc, "__exit__($self, type, value, traceback, /)\n--\n\n"
                       "Commit the batch if there was no exception, and close it.");

static PyObject *batch_exit(PyObject *object, PyObject *arguments)
{
    struct batch *self = batch_of(object);
    PyObject     *type = Py_None, *value, *traceback, *op;

    if (!PyArg_ParseTuple(arguments, "OOO:__exit__", &type, &value, &traceback)) {
        return NULL;
    }
    op = type == Py_None ? batch_commit(object, NULL) : Py_NewRef(Py_None);
    if (self->batch != NULL && !self->is_busy) {
        batch_shut(&self->link);
    }
    Py_XDECREF(op);
    return op == NULL ? NULL : Py_NewRef(Py_None);
}

/* ---- the type ------------------------------------------------------------------------------- */

static PyMethodDef batch_methods[] = {
    {"put", batch_put, METH_VARARGS, put_doc},
    {"delete", batch_delete, METH_VARARGS, delete_doc},
    {"expect", batch_expect, METH_VARARGS, expect_doc},
    {"clear", batch_clear, METH_NOARGS, clear_doc},
    {"commit", batch_commit, METH_NOARGS, commit_doc},
    {"__enter__", batch_enter, METH_NOARGS, enter_doc},
    {"__exit__", batch_exit, METH_VARARGS, exit_doc},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(
    batch_doc,
    "Writes over any trees of a store that become visible together; Store.batch makes one.\n"
    "\n"
    "    with store.batch() as batch:\n"
    "        batch.put(tree, b\"key\", b\"value\")\n"
    "\n"
    "commits at the end of the block, or drops all if there was an exception. Later entries\n"
    "win. One thread at a time may use it.");

static PyType_Slot batch_slots[] = {
    {Py_tp_doc, (void *)batch_doc},
    {Py_tp_dealloc, batch_dealloc},
    {Py_tp_methods, batch_methods},
    {0, NULL},
};

PyType_Spec tac_py_batch_spec = {
    .name = "tactus.Batch",
    .basicsize = sizeof(struct batch),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = batch_slots,
};
