/* SPDX-License-Identifier: Apache-2.0 */
/* iterator -- tactus.Iterator: the records of a tree in order, or backward.
 *
 * To give up the interpreter's lock may cost more than a record does: another thread that computes
 * keeps it for milliseconds. So records are fetched ahead without it, twice as many each time, into
 * memory, and handed out from there. Nobody can tell, as an iterator sees the tree as of its
 * opening; what ends the fetching is told when the records before it have been handed out. */
#include "module.h"

#include <stdlib.h>
#include <string.h>

#define FETCH_RECORDS_MAX 256
#define FETCH_BYTES_MAX (64 * 1024)

/* Where the iterator of the library stands. */
enum place {
    PLACE_START,   /* Nowhere yet: before the first record, or backward behind the last */
    PLACE_AHEAD,   /* On a record that has not been fetched */
    PLACE_FETCHED, /* On the last one that has */
    PLACE_END,     /* Nowhere: there is no other record, or it has failed, as `code` says */
};

struct iterator {
    PyObject                ob_base;
    struct tac_py_link      link;
    struct tac_py_store    *store;
    struct tac_py_snapshot *snapshot; /* NULL: of the store as it was */
    struct tactus_iterator *iterator; /* NULL: it is closed */
    enum tac_py_content     content;
    enum place              place;
    bool                    is_reverse;
    bool                    is_busy; /* A thread is in a call of the library with it */
    uint8_t                *fetched; /* Records one behind the other: struct sizes, key, value */
    size_t                  fetched_bytes, fetched_capacity;
    size_t                  handed_out_bytes; /* Of these */
    uint32_t                fetch_records;    /* So many next time, at most */
    int                     code;             /* Of PLACE_END: TACTUS_ENOTFOUND, or why it failed */
    char                    message[TACTUS_MESSAGE_BYTES];
};

struct sizes {
    uint32_t key_size, value_size;
};

static struct iterator *iterator_of(PyObject *object) { return (struct iterator *)object; }

/* ---- life ----------------------------------------------------------------------------------- */

/* Its snapshot is not closed meanwhile. */
static void calls_count(struct iterator *self, int difference)
{
    if (self->snapshot != NULL) {
        self->snapshot->call_count += (uint64_t)(int64_t)difference;
    }
}

/* What it has fetched goes too: a closed store has no records. */
static void iterator_shut(struct tac_py_link *link)
{
    struct iterator *self =
        (struct iterator *)(void *)((uint8_t *)link - offsetof(struct iterator, link));

    tac_py_link_remove(link);
    if (!tac_py_store_is_forked(self->store)) {
        tactus_iterator_close(self->iterator);
    }
    self->iterator = NULL;
    free(self->fetched);
    self->fetched = NULL;
    self->fetched_bytes = self->fetched_capacity = self->handed_out_bytes = 0;
}

static void iterator_dealloc(PyObject *object)
{
    struct iterator *self = iterator_of(object);

    if (self->iterator != NULL) {
        iterator_shut(&self->link);
    }
    Py_XDECREF((PyObject *)self->snapshot);
    Py_DECREF(&self->store->ob_base);
    tac_py_free(object);
}

static int iterator_range_set(struct tactus_iterator *iterator, const struct tac_py_range *range)
{
    const struct tac_py_bytes *low = &range->low, *high = &range->high, *prefix = &range->prefix;

    /* Every key begins with no bytes, and none is before them. */
    if (prefix->size > 0) {
        return tactus_iterator_prefix(iterator, prefix->data, prefix->size);
    }
    return tactus_iterator_bound(iterator, low->size > 0 ? low->data : NULL, low->size, high->data,
                                 high->size);
}

PyObject *tac_py_iterator_new(struct tac_py_tree *tree, struct tac_py_snapshot *snapshot,
                              enum tac_py_content content, const struct tac_py_range *range)
{
    PyObject               *object = &tree->ob_base;
    struct tactus_iterator *iterator = NULL;
    struct iterator        *self;
    PyThreadState          *thread;
    char                    message[TACTUS_MESSAGE_BYTES] = "";
    int                     code;

    if (range->prefix.object != NULL && (range->low.object != NULL || range->high.object != NULL)) {
        PyErr_SetString(PyExc_TypeError, "either low and high, or prefix");
        return NULL;
    }
    if ((self = tac_py_new(tac_py_module_of(object)->iterator_type)) == NULL) {
        return NULL;
    }
    self->store = (struct tac_py_store *)Py_NewRef(&tree->store->ob_base);
    self->content = content;
    self->is_reverse = range->is_reverse;
    self->fetch_records = 1;
    self->snapshot = (struct tac_py_snapshot *)Py_XNewRef((PyObject *)snapshot);
    calls_count(self, 1);
    if ((thread = tac_py_begin(tree->store)) == NULL) {
        calls_count(self, -1);
        Py_DECREF(&self->ob_base);
        return NULL;
    }
    code = snapshot == NULL ? tactus_iterator_open(tree->store->handle, tree->info.id, &iterator)
                            : tactus_snapshot_iterator(snapshot->handle, tree->info.id, &iterator);
    if (code == TACTUS_OK) {
        code = iterator_range_set(iterator, range);
    }
    if (code != TACTUS_OK) { /* As it is in no list, it has to be gone before the store can be */
        strncpy(message, tactus_message(), sizeof message - 1);
        tactus_iterator_close(iterator);
    }
    tac_py_end(tree->store, thread);
    calls_count(self, -1);
    if (code != TACTUS_OK) {
        tac_py_raise_text(object, code, message);
        Py_DECREF(&self->ob_base);
        return NULL;
    }
    self->iterator = iterator;
    tac_py_link_add(snapshot == NULL ? &tree->store->links : &snapshot->links, &self->link,
                    iterator_shut);
    return &self->ob_base;
}

/* False, and an exception is set: it is closed, or another thread uses it. */
static bool iterator_is_free(struct iterator *self)
{
    if (self->iterator == NULL) {
        tac_py_raise_text(&self->ob_base, TACTUS_ECLOSED,
                          self->store->handle == NULL ? "the store is closed"
                                                      : "the iterator is closed");
        return false;
    }
    if (self->is_busy) {
        tac_py_raise_text(&self->ob_base, TACTUS_EINVAL, "another thread uses the iterator");
        return false;
    }
    return true;
}

/* As tac_py_begin and tac_py_end, and for one thread at a time. is_busy is set before the lock is
 * given up. */
static PyThreadState *iterator_begin(struct iterator *self)
{
    if (!iterator_is_free(self) || !tac_py_store_is_open(self->store)) {
        return NULL;
    }
    self->is_busy = true;
    calls_count(self, 1);
    return tac_py_begin(self->store);
}

static void iterator_end(struct iterator *self, PyThreadState *thread)
{
    tac_py_end(self->store, thread);
    calls_count(self, -1);
    self->is_busy = false;
}

/* ---- fetching, without the interpreter's lock ----------------------------------------------- */

static int iterator_move(struct iterator *self)
{
    switch (self->place) {
    case PLACE_START:
        return self->is_reverse ? tactus_iterator_last(self->iterator)
                                : tactus_iterator_first(self->iterator);
    case PLACE_AHEAD:
        return TACTUS_OK;
    case PLACE_FETCHED:
        return self->is_reverse ? tactus_iterator_previous(self->iterator)
                                : tactus_iterator_next(self->iterator);
    case PLACE_END:
        break;
    }
    return self->code;
}

/* Room for so many bytes more. */
static bool fetched_reserve(struct iterator *self, size_t bytes)
{
    size_t   capacity = self->fetched_capacity == 0 ? 1024 : self->fetched_capacity;
    uint8_t *grown;

    while (capacity < self->fetched_bytes + bytes) {
        capacity *= 2;
    }
    if (capacity == self->fetched_capacity) {
        return true;
    }
    grown = realloc(self->fetched, capacity);
    if (grown == NULL) {
        return false;
    }
    self->fetched = grown;
    self->fetched_capacity = capacity;
    return true;
}

static void bytes_append(struct iterator *self, const void *data, size_t size)
{
    if (size > 0) {
        memcpy(self->fetched + self->fetched_bytes, data, size);
        self->fetched_bytes += size;
    }
}

/* Of the record under the iterator what will be handed out. False: there is no memory. */
static bool record_append(struct iterator *self)
{
    const void  *key, *value;
    size_t       key_size, value_size;
    struct sizes sizes;

    tactus_iterator_record(self->iterator, &key, &key_size, &value, &value_size);
    sizes.key_size = self->content == TAC_PY_VALUES ? 0 : (uint32_t)key_size;
    sizes.value_size = self->content == TAC_PY_KEYS ? 0 : (uint32_t)value_size;
    if (!fetched_reserve(self, sizeof sizes + sizes.key_size + sizes.value_size)) {
        return false;
    }
    bytes_append(self, &sizes, sizeof sizes);
    bytes_append(self, key, sizes.key_size);
    bytes_append(self, value, sizes.value_size);
    return true;
}

static void end_set(struct iterator *self, int code, const char *message)
{
    self->place = PLACE_END;
    self->code = code;
    strncpy(self->message, message, sizeof self->message - 1);
}

static void records_fetch(struct iterator *self)
{
    self->fetched_bytes = self->handed_out_bytes = 0;
    for (uint32_t i = 0; i < self->fetch_records && self->fetched_bytes < FETCH_BYTES_MAX; i++) {
        int code = iterator_move(self);

        if (code != TACTUS_OK) {
            end_set(self, code, tactus_message());
            return;
        }
        if (!record_append(self)) {
            end_set(self, TACTUS_ENOMEM, tactus_strerror(TACTUS_ENOMEM));
            return;
        }
        self->place = PLACE_FETCHED;
    }
    if (self->fetch_records < FETCH_RECORDS_MAX) {
        self->fetch_records *= 2;
    }
}

/* ---- handing out ---------------------------------------------------------------------------- */

/* There is one that has been fetched. */
static PyObject *record_take(struct iterator *self)
{
    const char  *data = (const char *)self->fetched + self->handed_out_bytes;
    struct sizes sizes;
    PyObject    *key = NULL, *value = NULL, *item = NULL;

    memcpy(&sizes, data, sizeof sizes);
    data += sizeof sizes;
    self->handed_out_bytes += sizeof sizes + sizes.key_size + sizes.value_size;
    if (self->content != TAC_PY_VALUES) {
        key = PyBytes_FromStringAndSize(data, (Py_ssize_t)sizes.key_size);
        if (key == NULL || self->content == TAC_PY_KEYS) {
            return key;
        }
    }
    value = PyBytes_FromStringAndSize(data + sizes.key_size, (Py_ssize_t)sizes.value_size);
    if (value == NULL || self->content == TAC_PY_VALUES) {
        Py_XDECREF(key);
        return value;
    }
    item = PyTuple_Pack(2, key, value);
    Py_DECREF(key);
    Py_DECREF(value);
    return item;
}

static PyObject *iterator_next(PyObject *object)
{
    struct iterator *self = iterator_of(object);
    PyThreadState   *thread;

    if (!iterator_is_free(self)) {
        return NULL;
    }
    if (self->handed_out_bytes == self->fetched_bytes && self->place != PLACE_END) {
        if ((thread = iterator_begin(self)) == NULL) {
            return NULL;
        }
        records_fetch(self);
        iterator_end(self, thread);
    }
    if (self->handed_out_bytes < self->fetched_bytes) {
        return record_take(self);
    }
    return self->code == TACTUS_ENOTFOUND ? NULL
                                          : tac_py_raise_text(object, self->code, self->message);
}

PyDoc_STRVAR(
    seek_doc,
    "seek($self, key, /)\n--\n\n"
    "Go on from the first record with a key at or after this one, which need not be there.\n"
    "\n"
    "Backward: from the last one at or before it. Bounds stay as they are. Also after the\n"
    "end, and after an exception.");

static PyObject *iterator_seek(PyObject *object, PyObject *key_object)
{
    struct iterator    *self = iterator_of(object);
    struct tac_py_bytes key;
    PyThreadState      *thread = NULL;
    PyObject           *result;
    int                 code;

    if (!tac_py_bytes_take(&key, key_object, "the key") ||
        (thread = iterator_begin(self)) == NULL) {
        tac_py_bytes_drop(&key);
        return NULL;
    }
    code = self->is_reverse ? tactus_iterator_seek_back(self->iterator, key.data, key.size)
                            : tactus_iterator_seek(self->iterator, key.data, key.size);
    if (code != TACTUS_EKEYSIZE) { /* Then it has not been moved */
        self->fetched_bytes = self->handed_out_bytes = 0;
        self->fetch_records = 1;
        self->place = PLACE_AHEAD;
        if (code != TACTUS_OK) {
            end_set(self, code, tactus_message());
        }
    }
    iterator_end(self, thread);
    result = tac_py_none(object, code == TACTUS_ENOTFOUND ? TACTUS_OK : code);
    tac_py_bytes_drop(&key);
    return result;
}

PyDoc_STRVAR(close_doc, "close($self, /)\n--\n\n"
                        "Give back what it holds. Closing twice is closing once.");

static PyObject *iterator_close(PyObject *object, PyObject *unused)
{
    struct iterator *self = iterator_of(object);

    (void)unused;
    if (self->iterator != NULL) {
        if (!iterator_is_free(self)) {
            return NULL;
        }
        iterator_shut(&self->link);
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(enter_doc, "__enter__($self, /)\n--\n\nThe iterator itself.");

static PyObject *iterator_enter(PyObject *object, PyObject *unused)
{
    (void)unused;
    return iterator_is_free(iterator_of(object)) ? Py_NewRef(object) : NULL;
}

PyDoc_STRVAR(exit_doc, "__exit__($self, /, *exception)\n--\n\nClose the iterator.");

/* ---- the type ------------------------------------------------------------------------------- */

static PyMethodDef iterator_methods[] = {
    {"seek", iterator_seek, METH_O, seek_doc},
    {"close", iterator_close, METH_NOARGS, close_doc},
    {"__enter__", iterator_enter, METH_NOARGS, enter_doc},
    {"__exit__", iterator_close, METH_VARARGS, exit_doc},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(
    iterator_doc,
    "The records of a tree, which Tree.items, Tree.keys and Tree.values return.\n"
    "\n"
    "One thread at a time may use it. It is closed when it is dropped, at the end of a with\n"
    "statement, or with its store; after that it raises Closed.");

static PyType_Slot iterator_slots[] = {
    {Py_tp_doc, (void *)iterator_doc}, {Py_tp_dealloc, iterator_dealloc},
    {Py_tp_iter, PyObject_SelfIter},   {Py_tp_iternext, iterator_next},
    {Py_tp_methods, iterator_methods}, {0, NULL},
};

PyType_Spec tac_py_iterator_spec = {
    .name = "tactus.Iterator",
    .basicsize = sizeof(struct iterator),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = iterator_slots,
};
