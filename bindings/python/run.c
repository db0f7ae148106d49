/* SPDX-License-Identifier: Apache-2.0 */
/* run -- Tree.ingest: an iterable of pairs as a sorted run.
 *
 * The library calls run_read on the calling thread, which then takes the interpreter's lock back
 * for as long as it asks the iterable. The bytes of a block stay until the next one is asked
 * for. */
#include "module.h"

#define BLOCK_RECORDS 256

struct run {
    PyObject                *iterator;
    PyThreadState           *thread; /* That has given up the interpreter's lock */
    struct tac_py_bytes      keys[BLOCK_RECORDS], values[BLOCK_RECORDS];
    struct tactus_run_record records[BLOCK_RECORDS];
    size_t                   count;
};

static void block_drop(struct run *run)
{
    for (size_t i = 0; i < run->count; i++) {
        tac_py_bytes_drop(&run->keys[i]);
        tac_py_bytes_drop(&run->values[i]);
    }
    run->count = 0;
}

/* False, and an exception is set: it is no pair of a key and a value or None. */
static bool record_take(struct run *run, PyObject *pair)
{
    struct tac_py_bytes *key = &run->keys[run->count], *value = &run->values[run->count];
    PyObject            *key_object, *value_object;

    if (!PyTuple_Check(pair) || PyTuple_Size(pair) != 2) {
        PyErr_Format(PyExc_TypeError, "a record must be a tuple of key and value, not %R", pair);
        return false;
    }
    key_object = PyTuple_GetItem(pair, 0);
    value_object = PyTuple_GetItem(pair, 1);
    *value = (struct tac_py_bytes){0};
    run->count++; /* What has been taken is dropped with the block. */
    if (!tac_py_bytes_take(key, key_object, "the key") ||
        !tac_py_bytes_take_any(value, value_object, "the value")) {
        return false;
    }
    run->records[run->count - 1] = (struct tactus_run_record){
        .key = key->data,
        .key_size = key->size,
        .value = value->data,
        .value_size = value->size,
        .is_tombstone = value_object == Py_None,
    };
    return true;
}

static void block_take(struct run *run)
{
    bool is_taken = true;

    while (is_taken && run->count < BLOCK_RECORDS) {
        PyObject *pair = PyIter_Next(run->iterator);

        if (pair == NULL) {
            return; /* The end, or an exception */
        }
        is_taken = record_take(run, pair);
        Py_DECREF(pair);
    }
}

static int run_read(void *context, const struct tactus_run_record **ret_records, size_t *ret_count)
{
    struct run *run = context;
    bool        has_failed;

    PyEval_RestoreThread(run->thread);
    block_drop(run);
    block_take(run);
    has_failed = PyErr_Occurred() != NULL;
    run->thread = PyEval_SaveThread();
    *ret_records = run->records;
    *ret_count = run->count;
    return has_failed ? TACTUS_EINVAL : TACTUS_OK;
}

PyObject *tac_py_tree_ingest(PyObject *object, PyObject *records)
{
    struct tac_py_tree *self = (struct tac_py_tree *)object;
    struct run         *run = PyMem_Calloc(1, sizeof *run);
    PyObject           *result = NULL;
    uint64_t            op = 0;
    int                 code;

    if (run == NULL) {
        return PyErr_NoMemory();
    }
    run->iterator = PyObject_GetIter(records);
    run->thread = run->iterator == NULL ? NULL : tac_py_begin(self->store);
    if (run->thread != NULL) {
        code = tactus_ingest(self->store->handle, self->info.id, run_read, run, &op);
        tac_py_end(self->store, run->thread);
        if (PyErr_Occurred() != NULL) {
            /* The iterable's exception has ended it. */
        } else if (code == TACTUS_OK) {
            result = op == 0 ? Py_NewRef(Py_None) : PyLong_FromUnsignedLongLong(op);
        } else {
            result = tac_py_none(object, code);
        }
    }
    block_drop(run);
    Py_XDECREF(run->iterator);
    PyMem_Free(run);
    return result;
}
