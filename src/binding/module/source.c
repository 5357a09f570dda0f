/* SPDX-License-Identifier: MIT
 *
 * The extension module copool._source: source text to code, for `copool run`.
 * The built-in compile() does the same, but first makes all classes of syntax
 * trees, which takes longer than everything else before a program begins.
 */
#include "cpython/version.h"

static PyObject *
source_compile(PyObject *module, PyObject *args)
{
    const char *text;
    Py_ssize_t size;
    PyObject *path;

    if (!PyArg_ParseTuple(args, "y#U:compile_source", &text, &size, &path))
        return NULL;
    if (strlen(text) != (size_t)size) {
        PyErr_SetString(PyExc_SyntaxError,
                        "source code cannot contain null bytes");
        return NULL;
    }
    return Py_CompileStringObject(text, path, Py_file_input, NULL, -1);
}

static PyMethodDef functions[] = {
    {"compile_source", source_compile, METH_VARARGS,
     PyDoc_STR("compile_source($module, text, path, /)\n--\n\n"
               "Compile a file's text, bytes, as the main program.")},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {
    CO_MODULE_SLOTS,
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "copool._source",
    .m_doc = "Source text to code, sooner than compile(). For copool run.",
    .m_methods = functions,
    .m_slots = slots,
};

PyMODINIT_FUNC
PyInit__source(void)
{
    return PyModuleDef_Init(&definition);
}
