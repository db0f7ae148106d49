/* SPDX-License-Identifier: Apache-2.0 */
/* module -- the Python module: its classes, those of its exceptions, and what all of them use. */
#include "module.h"

#include <string.h>

/* ---- exceptions ----------------------------------------------------------------------------- */

/* Of each code: its class, and the class of Python that it also is, or NULL. A new code in tactus.h
 * needs a line here. */
#define CLASS_OK NULL, NULL
#define CLASS_EINVAL "Invalid", &PyExc_ValueError
#define CLASS_ENOTFOUND "NotFound", &PyExc_KeyError
#define CLASS_EEXISTS "Exists", &PyExc_FileExistsError
#define CLASS_ENOTREE "NoTree", &PyExc_LookupError
#define CLASS_ELAYOUT "Layout", &PyExc_ValueError
#define CLASS_EKEYSIZE "KeySize", &PyExc_ValueError
#define CLASS_EVALUESIZE "ValueSize", &PyExc_ValueError
#define CLASS_EBATCHSIZE "BatchSize", &PyExc_ValueError
#define CLASS_EOPTION "Option", &PyExc_ValueError
#define CLASS_ENOSTORE "NoStore", &PyExc_FileNotFoundError
#define CLASS_EFORMAT "Format", NULL
#define CLASS_ELOCKED "Locked", NULL
#define CLASS_EFORKED "Forked", NULL
#define CLASS_EFULL "Full", NULL
#define CLASS_ENOMEM "NoMemory", &PyExc_MemoryError
#define CLASS_EIO "InputOutput", &PyExc_OSError
#define CLASS_ECORRUPT "Corrupt", NULL
#define CLASS_EPOISONED "Poisoned", NULL
#define CLASS_EAGAIN "Again", NULL
#define CLASS_EEXPIRED "Expired", NULL
#define CLASS_ECLOSED "Closed", NULL
#define CLASS_EACCESS "Access", &PyExc_PermissionError
#define CLASS_EFORK "Fork", NULL
#define CLASS_ELOG "LogMissing", NULL
#define CLASS_ECONFLICT "Conflict", NULL
#define CLASS_EPAUSED "Paused", NULL

#define ERROR_CLASS(code, number, text) {number, text, CLASS_##code},
static const struct {
    int         code;
    const char *text;
    const char *name;
    PyObject  **base;
} error_classes[] = {TACTUS_ERRORS(ERROR_CLASS)};

/* A code that this module does not know is of the base class. */
static PyObject *error_class_of(const struct tac_py_module *module, int code)
{
    for (size_t i = 0; i < TAC_PY_ERROR_COUNT; i++) {
        if (error_classes[i].code == code && module->errors[i] != NULL) {
            return module->errors[i];
        }
    }
    return module->error;
}

static PyObject *raise_object(PyObject *object, int code, PyObject *message)
{
    PyObject *class = error_class_of(tac_py_module_of(object), code);
    PyObject *error = NULL;
    PyObject *number = PyLong_FromLong(code);

    if (message != NULL && number != NULL) {
        error = PyObject_CallFunctionObjArgs(class, message, NULL);
    }
    if (error != NULL && PyObject_SetAttrString(error, "code", number) == 0 &&
        PyObject_SetAttrString(error, "message", message) == 0) {
        PyErr_SetObject(class, error);
    }
    Py_XDECREF(error);
    Py_XDECREF(number);
    Py_XDECREF(message);
    return NULL;
}

PyObject *tac_py_raise_text(PyObject *object, int code, const char *text)
{
    return raise_object(object, code,
                        PyUnicode_DecodeUTF8(text, (Py_ssize_t)strlen(text), "replace"));
}

PyObject *tac_py_raise(PyObject *object, int code)
{
    return tac_py_raise_text(object, code, tactus_message());
}

PyObject *tac_py_raise_no_key(PyObject *object, PyObject *key)
{
    return raise_object(object, TACTUS_ENOTFOUND, PyUnicode_FromFormat("no such key: %R", key));
}

PyObject *tac_py_none(PyObject *object, int code)
{
    return code == TACTUS_OK ? Py_NewRef(Py_None) : tac_py_raise(object, code);
}

/* ---- objects -------------------------------------------------------------------------------- */

struct tac_py_module *tac_py_module_of(PyObject *object)
{
    return PyType_GetModuleState(Py_TYPE(object));
}

void *tac_py_new(PyTypeObject *type) { return PyType_GenericAlloc(type, 0); }

void tac_py_free(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);

    PyObject_Free(object);
    Py_DECREF(type);
}

/* ---- arguments ------------------------------------------------------------------------------ */

bool tac_py_bytes_take(struct tac_py_bytes *ret_bytes, PyObject *object, const char *what)
{
    *ret_bytes = (struct tac_py_bytes){0};
    if (PyBytes_Check(object)) {
        ret_bytes->object = Py_NewRef(object);
    } else if (PyObject_CheckBuffer(object)) {
        ret_bytes->object = PyBytes_FromObject(object);
    } else {
        PyErr_Format(PyExc_TypeError, "%s must be a bytes-like object, not %R", what,
                     (PyObject *)Py_TYPE(object));
    }
    if (ret_bytes->object == NULL) {
        return false;
    }
    ret_bytes->data = PyBytes_AsString(ret_bytes->object);
    ret_bytes->size = (size_t)PyBytes_Size(ret_bytes->object);
    return true;
}

bool tac_py_bytes_take_any(struct tac_py_bytes *ret_bytes, PyObject *object, const char *what)
{
    if (object == NULL || object == Py_None) {
        *ret_bytes = (struct tac_py_bytes){0};
        return true;
    }
    return tac_py_bytes_take(ret_bytes, object, what);
}

void tac_py_bytes_drop(struct tac_py_bytes *bytes) { Py_CLEAR(bytes->object); }

int tac_py_threads_convert(PyObject *object, void *address)
{
    uint32_t     *count = address;
    PyObject     *number = PyNumber_Index(object);
    unsigned long value = number == NULL ? 0 : PyLong_AsUnsignedLong(number);

    Py_XDECREF(number);
    if (PyErr_Occurred() != NULL) {
        return 0;
    }
    if (value >= TACTUS_THREADS_AUTO) {
        PyErr_Format(PyExc_OverflowError, "%lu is no number of threads", value);
        return 0;
    }
    *count = (uint32_t)value;
    return 1;
}

/* ---- the module ----------------------------------------------------------------------------- */

PyDoc_STRVAR(
    module_doc,
    "Tactus: an embeddable LSM-tree storage engine whose compaction keeps time.\n"
    "\n"
    "    with tactus.Store.create(\"data.tactus\") as store:\n"
    "        tree = store.create_tree(\"capitals\")\n"
    "        tree[b\"Peru\"] = b\"Lima\"\n"
    "        for key, value in tree.items(prefix=b\"P\"):\n"
    "            print(key, value)\n"
    "\n"
    "A store is one file with several named trees of sorted records. Keys and values are\n"
    "bytes: any bytes-like object is taken, bytes are given. Writes are numbered operations\n"
    "(ops); one is visible when its call returns, and survives a crash when\n"
    "Store.durable_op has reached its number.\n"
    "\n"
    "A store and its trees may be used by any number of threads, an iterator or a batch by\n"
    "one at a time. A process forked from the one that opened the store may not use it.\n"
    "Failures are exceptions of a class for each code of tactus.h, all of them tactus.Error.");

PyDoc_STRVAR(error_doc, "A call of Tactus failed. Each code has a subclass.\n"
                        "\n"
                        "code     the code, as in tactus.h\n"
                        "message  what, where, and what to do\n"
                        "report   of Store.verify, what it has found; else None");

/* Of the classes of Python that an exception of ours also is, some have a text of their own, which
 * quotes it or wants a number: all of ours have that of BaseException. */
static int error_base_add(PyObject *object, struct tac_py_module *module)
{
    PyObject *text = PyObject_GetAttrString(PyExc_BaseException, "__str__");
    PyObject *attributes = NULL;

    if (text != NULL) {
        attributes = Py_BuildValue("{s:O,s:s,s:O,s:O}", "code", Py_None, "message", "", "report",
                                   Py_None, "__str__", text);
    }
    if (attributes != NULL) {
        module->error = PyErr_NewExceptionWithDoc("tactus.Error", error_doc, NULL, attributes);
    }
    Py_XDECREF(attributes);
    Py_XDECREF(text);
    return module->error == NULL ? -1 : PyModule_AddObjectRef(object, "Error", module->error);
}

static int error_class_add(PyObject *object, struct tac_py_module *module, size_t place)
{
    PyObject **base = error_classes[place].base;
    PyObject  *bases =
        base == NULL ? PyTuple_Pack(1, module->error) : PyTuple_Pack(2, module->error, *base);
    PyObject   *attributes = Py_BuildValue("{s:i}", "code", error_classes[place].code);
    const char *name = error_classes[place].name;
    char        full_name[64];

    PyOS_snprintf(full_name, sizeof full_name, "tactus.%s", name);
    if (bases != NULL && attributes != NULL) {
        module->errors[place] =
            PyErr_NewExceptionWithDoc(full_name, error_classes[place].text, bases, attributes);
    }
    Py_XDECREF(attributes);
    Py_XDECREF(bases);
    return module->errors[place] == NULL
               ? -1
               : PyModule_AddObjectRef(object, name, module->errors[place]);
}

static int errors_add(PyObject *object, struct tac_py_module *module)
{
    if (error_base_add(object, module) != 0) {
        return -1;
    }
    for (size_t i = 0; i < TAC_PY_ERROR_COUNT; i++) {
        if (error_classes[i].name != NULL && error_class_add(object, module, i) != 0) {
            return -1;
        }
    }
    return 0;
}

static PyTypeObject *type_new(PyObject *object, PyType_Spec *spec)
{
    return (PyTypeObject *)PyType_FromModuleAndSpec(object, spec, NULL);
}

/* The type of pinned values has no name in the module: its objects are seen as memoryviews. */
static int types_add(PyObject *object, struct tac_py_module *module)
{
    module->store_type = type_new(object, &tac_py_store_spec);
    module->tree_type = type_new(object, &tac_py_tree_spec);
    module->iterator_type = type_new(object, &tac_py_iterator_spec);
    module->batch_type = type_new(object, &tac_py_batch_spec);
    module->snapshot_type = type_new(object, &tac_py_snapshot_spec);
    module->pool_type = type_new(object, &tac_py_pool_spec);
    module->pinned_type = type_new(object, &tac_py_pinned_spec);
    if (module->store_type == NULL || module->tree_type == NULL || module->iterator_type == NULL ||
        module->batch_type == NULL || module->snapshot_type == NULL || module->pool_type == NULL ||
        module->pinned_type == NULL) {
        return -1;
    }
    return PyModule_AddType(object, module->store_type) != 0 ||
                   PyModule_AddType(object, module->tree_type) != 0 ||
                   PyModule_AddType(object, module->iterator_type) != 0 ||
                   PyModule_AddType(object, module->batch_type) != 0 ||
                   PyModule_AddType(object, module->snapshot_type) != 0 ||
                   PyModule_AddType(object, module->pool_type) != 0
               ? -1
               : 0;
}

static int constants_add(PyObject *object)
{
    return PyModule_AddIntConstant(object, "KEY_SIZE_MAX", TACTUS_KEY_SIZE_MAX) != 0 ||
                   PyModule_AddIntConstant(object, "TREE_NAME_MAX", TACTUS_TREE_NAME_MAX) != 0 ||
                   PyModule_AddIntConstant(object, "TREES_MAX", TACTUS_TREES_MAX) != 0 ||
                   PyModule_AddIntConstant(object, "SNAPSHOT_NAME_MAX", TACTUS_SNAPSHOT_NAME_MAX) !=
                       0 ||
                   PyModule_AddIntConstant(object, "RECORD_OVERHEAD_BYTES",
                                           TACTUS_RECORD_OVERHEAD_BYTES) != 0
               ? -1
               : 0;
}

static int module_exec(PyObject *object)
{
    struct tac_py_module *module = PyModule_GetState(object);

    return errors_add(object, module) != 0 || types_add(object, module) != 0 ||
                   tac_py_events_init(object) != 0
               ? -1
               : constants_add(object);
}

static int module_traverse(PyObject *object, visitproc visit, void *arg)
{
    struct tac_py_module *module = PyModule_GetState(object);

    Py_VISIT(module->store_type);
    Py_VISIT(module->tree_type);
    Py_VISIT(module->iterator_type);
    Py_VISIT(module->batch_type);
    Py_VISIT(module->snapshot_type);
    Py_VISIT(module->pool_type);
    Py_VISIT(module->pinned_type);
    Py_VISIT(module->error);
    for (size_t i = 0; i < TAC_PY_ERROR_COUNT; i++) {
        Py_VISIT(module->errors[i]);
    }
    return 0;
}

static int module_clear(PyObject *object)
{
    struct tac_py_module *module = PyModule_GetState(object);

    Py_CLEAR(module->store_type);
    Py_CLEAR(module->tree_type);
    Py_CLEAR(module->iterator_type);
    Py_CLEAR(module->batch_type);
    Py_CLEAR(module->snapshot_type);
    Py_CLEAR(module->pool_type);
    Py_CLEAR(module->pinned_type);
    Py_CLEAR(module->error);
    for (size_t i = 0; i < TAC_PY_ERROR_COUNT; i++) {
        Py_CLEAR(module->errors[i]);
    }
    return 0;
}

static void module_free(void *object) { (void)module_clear(object); }

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
    {0, NULL},
};

static struct PyModuleDef module_def = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "tactus",
    .m_doc = module_doc,
    .m_size = sizeof(struct tac_py_module),
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
    .m_free = module_free,
};

PyMODINIT_FUNC PyInit_tactus(void);

PyMODINIT_FUNC PyInit_tactus(void) { return PyModuleDef_Init(&module_def); }
