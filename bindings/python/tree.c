/* SPDX-License-Identifier: Apache-2.0 */
/* tree -- tactus.Tree: gets and single writes, and values read where they lie. */
#include "module.h"

/* Most values are read in one go, into memory on the stack. */
#define SMALL_BYTES 4096

static struct tac_py_tree *tree_of(PyObject *object) { return (struct tac_py_tree *)object; }

PyObject *tac_py_tree_new(struct tac_py_store *store, const struct tactus_tree_info *info)
{
    struct tac_py_tree *self = tac_py_new(tac_py_module_of(&store->ob_base)->tree_type);

    if (self == NULL) {
        return NULL;
    }
    self->store = (struct tac_py_store *)Py_NewRef(&store->ob_base);
    self->info = *info;
    return &self->ob_base;
}

static void tree_dealloc(PyObject *object)
{
    Py_DECREF(&tree_of(object)->store->ob_base);
    tac_py_free(object);
}

struct tac_py_tree *tac_py_tree_take(struct tac_py_store *store, PyObject *object)
{
    if (!Py_IS_TYPE(object, tac_py_module_of(&store->ob_base)->tree_type)) {
        PyErr_Format(PyExc_TypeError, "the tree must be a tactus.Tree, not %R",
                     (PyObject *)Py_TYPE(object));
        return NULL;
    }
    if (tree_of(object)->store != store) {
        tac_py_raise_text(object, TACTUS_EINVAL, "the tree is of another store");
        return NULL;
    }
    return tree_of(object);
}

/* ---- pinned values -------------------------------------------------------------------------- */

/* What a memoryview of a pinned value keeps alive. */
struct pinned {
    PyObject             ob_base;
    struct tac_py_store *store;
    struct tactus_value  value;
};

static void value_release(struct tac_py_store *store, struct tactus_value *value)
{
    if (!tac_py_store_is_forked(store)) {
        tactus_value_release(value);
    }
}

/* A memoryview. Takes over the value, whatever the result. */
static PyObject *pinned_new(struct tac_py_store *store, struct tactus_value *value)
{
    struct pinned *self = tac_py_new(tac_py_module_of(&store->ob_base)->pinned_type);
    PyObject      *view;

    if (self == NULL) {
        value_release(store, value);
        return NULL;
    }
    self->store = (struct tac_py_store *)Py_NewRef(&store->ob_base);
    self->value = *value;
    store->pin_count++;
    view = PyMemoryView_FromObject(&self->ob_base);
    Py_DECREF(&self->ob_base);
    return view;
}

static void pinned_dealloc(PyObject *object)
{
    struct pinned *self = (struct pinned *)object;

    value_release(self->store, &self->value);
    self->store->pin_count--;
    Py_DECREF(&self->store->ob_base);
    tac_py_free(object);
}

static int pinned_getbuffer(PyObject *object, Py_buffer *view, int flags)
{
    struct tactus_value *value = &((struct pinned *)object)->value;

    return PyBuffer_FillInfo(view, object, (void *)(uintptr_t)value->data, (Py_ssize_t)value->size,
                             1, flags);
}

static PyType_Slot pinned_slots[] = {
    {Py_tp_doc, (void *)"A value of a store where it lies, to be read through memoryviews."},
    {Py_tp_dealloc, pinned_dealloc},
    {Py_bf_getbuffer, pinned_getbuffer},
    {0, NULL},
};

PyType_Spec tac_py_pinned_spec = {
    .name = "tactus.Pinned",
    .basicsize = sizeof(struct pinned),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = pinned_slots,
};

/* ---- reading -------------------------------------------------------------------------------- */

/* The value as bytes. NULL without an exception: there is no such key. */
static PyObject *value_read(struct tac_py_tree *self, PyObject *key_object)
{
    struct tac_py_store *store = self->store;
    struct tac_py_bytes  key;
    struct tactus_value  pinned;
    PyThreadState       *thread = NULL;
    PyObject            *value = NULL;
    char                 small[SMALL_BYTES];
    size_t               size = 0;
    int                  code;

    if (!tac_py_bytes_take(&key, key_object, "the key") || (thread = tac_py_begin(store)) == NULL) {
        tac_py_bytes_drop(&key);
        return NULL;
    }
    code = tactus_get(store->handle, self->info.id, key.data, key.size, small, sizeof small, &size);
    if (code == TACTUS_OK && size > sizeof small) {
        code = tactus_get_pinned(store->handle, self->info.id, key.data, key.size, &pinned);
    }
    tac_py_end(store, thread);
    if (code != TACTUS_OK) {
        if (code != TACTUS_ENOTFOUND) {
            tac_py_raise(&self->ob_base, code);
        }
    } else if (size <= sizeof small) {
        value = PyBytes_FromStringAndSize(small, (Py_ssize_t)size);
    } else {
        value = PyBytes_FromStringAndSize(pinned.data, (Py_ssize_t)pinned.size);
        tactus_value_release(&pinned);
    }
    tac_py_bytes_drop(&key);
    return value;
}

PyDoc_STRVAR(get_doc, "get($self, key, default=None, /)\n--\n\n"
                      "The value of the key, or the default if there is no such key.");

static PyObject *tree_get(PyObject *object, PyObject *arguments)
{
    PyObject *key, *value, *otherwise = Py_None;

    if (!PyArg_ParseTuple(arguments, "O|O:get", &key, &otherwise)) {
        return NULL;
    }
    value = value_read(tree_of(object), key);
    return value != NULL || PyErr_Occurred() ? value : Py_NewRef(otherwise);
}

/* The list's keys, and a lookup for each. Returns how many were taken; less than all: an exception
 * is set. */
static Py_ssize_t lookups_take(PyObject *list, Py_ssize_t count, struct tac_py_bytes *keys,
                               struct tactus_lookup *lookups)
{
    for (Py_ssize_t i = 0; i < count; i++) {
        if (!tac_py_bytes_take(&keys[i], PyList_GetItem(list, i), "a key")) {
            tac_py_bytes_drop(&keys[i]);
            return i;
        }
        lookups[i] = (struct tactus_lookup){.key = keys[i].data, .key_size = keys[i].size};
    }
    return count;
}

/* Puts the values into the list in place of the keys, and gives them back. No Python code runs
 * between the end of the call and that: it could close the store. */
static bool lookups_answer(PyObject *list, Py_ssize_t count, struct tactus_lookup *lookups,
                           PyObject *otherwise)
{
    bool is_filled = true;

    for (Py_ssize_t i = 0; i < count; i++) {
        const struct tactus_value *value = &lookups[i].value;
        PyObject                  *item = NULL;

        if (is_filled) {
            item = lookups[i].code == TACTUS_OK
                       ? PyBytes_FromStringAndSize(value->data, (Py_ssize_t)value->size)
                       : Py_NewRef(otherwise);
            is_filled = item != NULL;
        }
        tactus_value_release(&lookups[i].value);
        if (is_filled) {
            PyList_SetItem(list, i, item);
        }
    }
    return is_filled;
}

static PyObject *values_read(struct tac_py_tree *self, PyObject *keys_list, PyObject *values_list,
                             PyObject *otherwise)
{
    struct tac_py_store  *store = self->store;
    Py_ssize_t            count = PyList_Size(keys_list), taken = 0;
    struct tac_py_bytes  *keys = PyMem_Calloc((size_t)count, sizeof *keys);
    struct tactus_lookup *lookups = PyMem_Calloc((size_t)count, sizeof *lookups);
    PyThreadState        *thread = NULL;
    PyObject             *result = NULL;

    if (keys == NULL || lookups == NULL) {
        PyErr_NoMemory();
    } else {
        taken = lookups_take(keys_list, count, keys, lookups);
        thread = taken == count ? tac_py_begin(store) : NULL;
    }
    if (thread != NULL) {
        int  code = tactus_get_many(store->handle, self->info.id, lookups, (size_t)count);
        bool is_filled;

        tac_py_end(store, thread);
        is_filled = lookups_answer(values_list, count, lookups, otherwise);
        if (code != TACTUS_OK) {
            tac_py_raise(&self->ob_base, code);
        } else if (is_filled) {
            result = Py_NewRef(values_list);
        }
    }
    for (Py_ssize_t i = 0; i < taken; i++) {
        tac_py_bytes_drop(&keys[i]);
    }
    PyMem_Free(lookups);
    PyMem_Free(keys);
    return result;
}

PyDoc_STRVAR(
    get_many_doc,
    "get_many($self, keys, default=None, /)\n--\n\n"
    "A list of the values of many keys, with the default where there is no such key.\n"
    "\n"
    "Each key is looked up by itself, as by get. What has to come from the device is read\n"
    "side by side.");

static PyObject *tree_get_many(PyObject *object, PyObject *arguments)
{
    PyObject *keys, *keys_list, *values_list, *result = NULL, *otherwise = Py_None;

    if (!PyArg_ParseTuple(arguments, "O|O:get_many", &keys, &otherwise)) {
        return NULL;
    }
    keys_list = PySequence_List(keys);
    /* As long, and filled with something, before the call. */
    values_list = keys_list == NULL ? NULL : PySequence_List(keys_list);
    if (values_list != NULL) {
        result = values_read(tree_of(object), keys_list, values_list, otherwise);
    }
    Py_XDECREF(values_list);
    Py_XDECREF(keys_list);
    return result;
}

static PyObject *tree_subscript(PyObject *object, PyObject *key)
{
    PyObject *value = value_read(tree_of(object), key);

    return value != NULL || PyErr_Occurred() ? value : tac_py_raise_no_key(object, key);
}

static int tree_contains(PyObject *object, PyObject *key_object)
{
    struct tac_py_tree *self = tree_of(object);
    struct tac_py_bytes key;
    PyThreadState      *thread = NULL;
    size_t              size;
    int                 code;

    if (!tac_py_bytes_take(&key, key_object, "the key") ||
        (thread = tac_py_begin(self->store)) == NULL) {
        tac_py_bytes_drop(&key);
        return -1;
    }
    code = tactus_get(self->store->handle, self->info.id, key.data, key.size, NULL, 0, &size);
    tac_py_end(self->store, thread);
    if (code != TACTUS_OK && code != TACTUS_ENOTFOUND) {
        tac_py_raise(object, code);
    }
    tac_py_bytes_drop(&key);
    return code == TACTUS_OK ? 1 : code == TACTUS_ENOTFOUND ? 0 : -1;
}

PyDoc_STRVAR(
    get_pinned_doc,
    "get_pinned($self, key, /)\n--\n\n"
    "The value of the key where it lies, as a read-only memoryview. NotFound: no such key.\n"
    "\n"
    "It does not change, takes room in the page cache until it is released, and keeps the\n"
    "store from being closed: release it soon, best by a with statement.");

static PyObject *tree_get_pinned(PyObject *object, PyObject *key_object)
{
    struct tac_py_tree *self = tree_of(object);
    struct tac_py_bytes key;
    struct tactus_value value;
    PyThreadState      *thread = NULL;
    PyObject           *view = NULL;
    int                 code;

    if (!tac_py_bytes_take(&key, key_object, "the key") ||
        (thread = tac_py_begin(self->store)) == NULL) {
        tac_py_bytes_drop(&key);
        return NULL;
    }
    code = tactus_get_pinned(self->store->handle, self->info.id, key.data, key.size, &value);
    tac_py_end(self->store, thread);
    if (code == TACTUS_OK) {
        view = pinned_new(self->store, &value);
    } else if (code == TACTUS_ENOTFOUND) {
        tac_py_raise_no_key(object, key_object);
    } else {
        tac_py_raise(object, code);
    }
    tac_py_bytes_drop(&key);
    return view;
}

/* ---- writing -------------------------------------------------------------------------------- */

/* Puts, or, without a value, deletes. False: an exception is set. */
static bool record_write(struct tac_py_tree *self, PyObject *key_object, PyObject *value_object)
{
    struct tac_py_store *store = self->store;
    struct tac_py_bytes  key = {0}, value = {0};
    PyThreadState       *thread;
    int                  code = TACTUS_OK;
    bool                 is_done = false;

    if (tac_py_bytes_take(&key, key_object, "the key") &&
        (value_object == NULL || tac_py_bytes_take(&value, value_object, "the value")) &&
        (thread = tac_py_begin(store)) != NULL) {
        code = value_object == NULL
                   ? tactus_delete(store->handle, self->info.id, key.data, key.size)
                   : tactus_put(store->handle, self->info.id, key.data, key.size, value.data,
                                value.size);
        tac_py_end(store, thread);
        is_done = code == TACTUS_OK;
        if (!is_done) {
            tac_py_raise(&self->ob_base, code);
        }
    }
    tac_py_bytes_drop(&key);
    tac_py_bytes_drop(&value);
    return is_done;
}

PyDoc_STRVAR(put_doc, "put($self, key, value, /)\n--\n\n"
                      "Store a record, over any that there is; the same as tree[key] = value.");

static PyObject *tree_put(PyObject *object, PyObject *arguments)
{
    PyObject *key, *value;

    if (!PyArg_ParseTuple(arguments, "OO:put", &key, &value) ||
        !record_write(tree_of(object), key, value)) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(delete_doc, "delete($self, key, /)\n--\n\n"
                         "Delete a record; the same as del tree[key]. No error if there is none.");

static PyObject *tree_delete(PyObject *object, PyObject *key)
{
    return record_write(tree_of(object), key, NULL) ? Py_NewRef(Py_None) : NULL;
}

static int tree_subscript_set(PyObject *object, PyObject *key, PyObject *value)
{
    return record_write(tree_of(object), key, value) ? 0 : -1;
}

/* expected, value: None for no record. */
static PyObject *record_exchange(struct tac_py_tree *self, PyObject *key_object,
                                 PyObject *expected_object, PyObject *value_object)
{
    struct tac_py_store *store = self->store;
    struct tac_py_bytes  key = {0}, expected = {0}, value = {0};
    PyThreadState       *thread;
    PyObject            *result = NULL;
    int                  code;

    if (tac_py_bytes_take(&key, key_object, "the key") &&
        tac_py_bytes_take_any(&expected, expected_object, "the expected value") &&
        tac_py_bytes_take_any(&value, value_object, "the value") &&
        (thread = tac_py_begin(store)) != NULL) {
        code = tactus_compare_and_set(store->handle, self->info.id, key.data, key.size,
                                      expected.data, expected.size, value.data, value.size);
        tac_py_end(store, thread);
        result = tac_py_none(&self->ob_base, code);
    }
    tac_py_bytes_drop(&key);
    tac_py_bytes_drop(&expected);
    tac_py_bytes_drop(&value);
    return result;
}

PyDoc_STRVAR(
    put_if_absent_doc,
    "put_if_absent($self, key, value, /)\n--\n\n"
    "Store the record if there is none with its key. Conflict: there is one, and it stays.");

static PyObject *tree_put_if_absent(PyObject *object, PyObject *arguments)
{
    struct tac_py_bytes value;
    PyObject           *key, *value_object, *result;

    if (!PyArg_ParseTuple(arguments, "OO:put_if_absent", &key, &value_object) ||
        !tac_py_bytes_take(&value, value_object, "the value")) {
        return NULL;
    }
    result = record_exchange(tree_of(object), key, Py_None, value.object);
    tac_py_bytes_drop(&value);
    return result;
}

PyDoc_STRVAR(
    compare_and_set_doc,
    "compare_and_set($self, key, expected, value, /)\n--\n\n"
    "If the key has the expected value (None: no record), give it this one (None: delete).\n"
    "\n"
    "Conflict: it has another, which stays.");

static PyObject *tree_compare_and_set(PyObject *object, PyObject *arguments)
{
    PyObject *key, *expected, *value;

    if (!PyArg_ParseTuple(arguments, "OOO:compare_and_set", &key, &expected, &value)) {
        return NULL;
    }
    return record_exchange(tree_of(object), key, expected, value);
}

PyDoc_STRVAR(compact_doc,
             "compact($self, /)\n--\n\n"
             "Compact every record of the tree into its last level, then drain; an op.");

static PyObject *tree_compact(PyObject *object, PyObject *unused)
{
    struct tac_py_tree *self = tree_of(object);
    PyThreadState      *thread = tac_py_begin(self->store);
    int                 code;

    (void)unused;
    if (thread == NULL) {
        return NULL;
    }
    code = tactus_compact(self->store->handle, self->info.id);
    tac_py_end(self->store, thread);
    return tac_py_none(object, code);
}

PyDoc_STRVAR(drop_doc,
             "drop($self, /)\n--\n\n"
             "Drop the tree with all its records; an op.\n"
             "\n"
             "Its name is free then. NoTree: there is no such tree any more, as all further calls\n"
             "say. The space comes back with later writes, or with Store.drain.");

static PyObject *tree_drop(PyObject *object, PyObject *unused)
{
    struct tac_py_tree *self = tree_of(object);
    PyThreadState      *thread = tac_py_begin(self->store);
    int                 code;

    (void)unused;
    if (thread == NULL) {
        return NULL;
    }
    code = tactus_tree_drop(self->store->handle, self->info.id);
    tac_py_end(self->store, thread);
    return tac_py_none(object, code);
}

PyDoc_STRVAR(ingest_doc,
             "ingest($self, records, /)\n--\n\n"
             "Take in an iterable of (key, value) in the order of their keys as tables; one op.\n\n"
             "None for a value deletes the key. Returns the op's number when it is durable, None\n"
             "if there are no records. Writes of other threads wait meanwhile; the iterable may\n"
             "read in the store, but neither write nor call anything else.");

PyDoc_STRVAR(
    compact_range_doc,
    "compact_range($self, low=None, high=None)\n--\n\n"
    "Begin to compact the keys from low on and before high into the last level; an op.\n"
    "\n"
    "It goes on with each bar that ends, or with Store.compact_step(), beside the writes;\n"
    "Store.compact_progress() tells how far it is, Store.compact_cancel() ends it.");

static PyObject *tree_compact_range(PyObject *object, PyObject *arguments, PyObject *keywords)
{
    static char        *names[] = {"low", "high", NULL};
    struct tac_py_tree *self = tree_of(object);
    struct tac_py_bytes low = {0}, high = {0};
    PyObject           *low_object = NULL, *high_object = NULL;
    PyThreadState      *thread = NULL;
    int                 code = TACTUS_OK;

    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "|OO:compact_range", names, &low_object,
                                     &high_object)) {
        return NULL;
    }
    if (tac_py_bytes_take_any(&low, low_object, "low") &&
        tac_py_bytes_take_any(&high, high_object, "high") &&
        (thread = tac_py_begin(self->store)) != NULL) {
        code = tactus_compact_range(self->store->handle, self->info.id, low.data, low.size,
                                    high.data, high.size);
        tac_py_end(self->store, thread);
    }
    tac_py_bytes_drop(&low);
    tac_py_bytes_drop(&high);
    return thread == NULL ? NULL : tac_py_none(object, code);
}

PyDoc_STRVAR(
    delete_range_doc,
    "delete_range($self, first, end, /)\n--\n\n"
    "Delete every record with a key from first on and before end, as one op, which is returned.\n"
    "\n"
    "It takes as long as any delete, however many records there are.");

static PyObject *tree_delete_range(PyObject *object, PyObject *arguments)
{
    struct tac_py_tree *self = tree_of(object);
    struct tac_py_bytes first = {0}, end = {0};
    PyObject           *first_object, *end_object;
    PyThreadState      *thread = NULL;
    uint64_t            op = 0;
    int                 code = TACTUS_OK;

    if (!PyArg_ParseTuple(arguments, "OO:delete_range", &first_object, &end_object)) {
        return NULL;
    }
    if (tac_py_bytes_take(&first, first_object, "first") &&
        tac_py_bytes_take(&end, end_object, "end") &&
        (thread = tac_py_begin(self->store)) != NULL) {
        code = tactus_delete_range(self->store->handle, self->info.id, first.data, first.size,
                                   end.data, end.size, &op);
        tac_py_end(self->store, thread);
    }
    tac_py_bytes_drop(&first);
    tac_py_bytes_drop(&end);
    if (thread == NULL || code != TACTUS_OK) {
        return thread == NULL ? NULL : tac_py_none(object, code);
    }
    return PyLong_FromUnsignedLongLong(op);
}

/* ---- iterating ------------------------------------------------------------------------------ */

static PyObject *range_open(PyObject *object, PyObject *arguments, PyObject *keywords,
                            enum tac_py_content content)
{
    static char        *names[] = {"low", "high", "prefix", "reverse", NULL};
    PyObject           *low = NULL, *high = NULL, *prefix = NULL, *iterator = NULL;
    struct tac_py_range range = {0};
    int                 is_reverse = 0;

    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "|OO$Op", names, &low, &high, &prefix,
                                     &is_reverse)) {
        return NULL;
    }
    range.is_reverse = is_reverse != 0;
    if (tac_py_bytes_take_any(&range.low, low, "low") &&
        tac_py_bytes_take_any(&range.high, high, "high") &&
        tac_py_bytes_take_any(&range.prefix, prefix, "prefix")) {
        iterator = tac_py_iterator_new(tree_of(object), NULL, content, &range);
    }
    tac_py_bytes_drop(&range.low);
    tac_py_bytes_drop(&range.high);
    tac_py_bytes_drop(&range.prefix);
    return iterator;
}

#define RANGE_DOC                                                                                  \
    "Only the keys from `low` on and before `high`, or those that begin with `prefix`; in\n"       \
    "order, or backward with reverse=True. An Iterator sees the tree as it is now for at\n"        \
    "least one filling of the memtable; after that it may raise Expired: open another one\n"       \
    "at the last key."

PyDoc_STRVAR(items_doc,
             "items($self, /, low=None, high=None, *, prefix=None, reverse=False)\n--\n\n"
             "An Iterator over (key, value).\n\n" RANGE_DOC);

static PyObject *tree_items(PyObject *object, PyObject *arguments, PyObject *keywords)
{
    return range_open(object, arguments, keywords, TAC_PY_ITEMS);
}

PyDoc_STRVAR(keys_doc, "keys($self, /, low=None, high=None, *, prefix=None, reverse=False)\n--\n\n"
                       "An Iterator over keys.\n\n" RANGE_DOC);

static PyObject *tree_keys(PyObject *object, PyObject *arguments, PyObject *keywords)
{
    return range_open(object, arguments, keywords, TAC_PY_KEYS);
}

PyDoc_STRVAR(values_doc,
             "values($self, /, low=None, high=None, *, prefix=None, reverse=False)\n--\n\n"
             "An Iterator over values.\n\n" RANGE_DOC);

static PyObject *tree_values(PyObject *object, PyObject *arguments, PyObject *keywords)
{
    return range_open(object, arguments, keywords, TAC_PY_VALUES);
}

static PyObject *tree_iter(PyObject *object)
{
    struct tac_py_range all = {0};

    return tac_py_iterator_new(tree_of(object), NULL, TAC_PY_ITEMS, &all);
}

/* ---- attributes ----------------------------------------------------------------------------- */

static PyObject *tree_store_get(PyObject *object, void *unused)
{
    (void)unused;
    return Py_NewRef(&tree_of(object)->store->ob_base);
}

static PyObject *tree_name_get(PyObject *object, void *unused)
{
    (void)unused;
    return PyUnicode_FromString(tree_of(object)->info.name);
}

static PyObject *tree_id_get(PyObject *object, void *unused)
{
    (void)unused;
    return PyLong_FromUnsignedLong(tree_of(object)->info.id);
}

static PyObject *tree_key_size_get(PyObject *object, void *unused)
{
    (void)unused;
    return PyLong_FromUnsignedLong(tree_of(object)->info.layout.key_size);
}

static PyObject *tree_value_size_get(PyObject *object, void *unused)
{
    (void)unused;
    return PyLong_FromUnsignedLong(tree_of(object)->info.layout.value_size);
}

static PyObject *tree_fixed_get(PyObject *object, void *unused)
{
    (void)unused;
    return PyBool_FromLong(tree_of(object)->info.layout.kind == TACTUS_LAYOUT_FIXED);
}

static PyObject *tree_repr(PyObject *object)
{
    struct tac_py_tree *self = tree_of(object);

    return PyUnicode_FromFormat("<tactus.Tree \"%s\" of %R>", self->info.name, self->store->path);
}

/* ---- the type ------------------------------------------------------------------------------- */

static PyMethodDef tree_methods[] = {
    {"get", tree_get, METH_VARARGS, get_doc},
    {"get_many", tree_get_many, METH_VARARGS, get_many_doc},
    {"get_pinned", tree_get_pinned, METH_O, get_pinned_doc},
    {"put", tree_put, METH_VARARGS, put_doc},
    {"delete", tree_delete, METH_O, delete_doc},
    {"delete_range", tree_delete_range, METH_VARARGS, delete_range_doc},
    {"put_if_absent", tree_put_if_absent, METH_VARARGS, put_if_absent_doc},
    {"compare_and_set", tree_compare_and_set, METH_VARARGS, compare_and_set_doc},
    {"compact", tree_compact, METH_NOARGS, compact_doc},
    {"drop", tree_drop, METH_NOARGS, drop_doc},
    {"ingest", tac_py_tree_ingest, METH_O, ingest_doc},
    {"compact_range", (PyCFunction)(void (*)(void))tree_compact_range, METH_VARARGS | METH_KEYWORDS,
     compact_range_doc},
    {"items", (PyCFunction)(void (*)(void))tree_items, METH_VARARGS | METH_KEYWORDS, items_doc},
    {"keys", (PyCFunction)(void (*)(void))tree_keys, METH_VARARGS | METH_KEYWORDS, keys_doc},
    {"values", (PyCFunction)(void (*)(void))tree_values, METH_VARARGS | METH_KEYWORDS, values_doc},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef tree_attributes[] = {
    {"store", tree_store_get, NULL, "The store of the tree.", NULL},
    {"name", tree_name_get, NULL, "The name of the tree.", NULL},
    {"id", tree_id_get, NULL, "The id of the tree, which no other tree of its store is ever given.",
     NULL},
    {"key_size", tree_key_size_get, NULL, "The size of the longest keys; if fixed, of all.", NULL},
    {"value_size", tree_value_size_get, NULL, "The size of the longest values; if fixed, of all.",
     NULL},
    {"fixed", tree_fixed_get, NULL, "Whether all keys are of one size, and all values.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(
    tree_doc,
    "A named, sorted set of records of a store, which Store.tree and Store.create_tree return.\n"
    "\n"
    "    tree[key]          the value; NotFound, which is a KeyError\n"
    "    tree[key] = value  store a record\n"
    "    del tree[key]      delete one; no error if there is none, as that is not looked up\n"
    "    key in tree        whether there is one\n"
    "    for key, value in tree:");

static PyType_Slot tree_slots[] = {
    {Py_tp_doc, (void *)tree_doc},     {Py_tp_dealloc, tree_dealloc},
    {Py_tp_repr, tree_repr},           {Py_tp_iter, tree_iter},
    {Py_mp_subscript, tree_subscript}, {Py_mp_ass_subscript, tree_subscript_set},
    {Py_sq_contains, tree_contains},   {Py_tp_methods, tree_methods},
    {Py_tp_getset, tree_attributes},   {0, NULL},
};

PyType_Spec tac_py_tree_spec = {
    .name = "tactus.Tree",
    .basicsize = sizeof(struct tac_py_tree),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = tree_slots,
};
