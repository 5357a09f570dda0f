/* SPDX-License-Identifier: MIT
 *
 * An extension module in C++ that calls Python functions inside catch blocks
 * and while the stack is being unwound, and says which exceptions it saw.
 */
#include <Python.h>

#include <exception>
#include <string>
#include <thread>

namespace
{

int alive;

struct Named : std::exception {
    std::string name;

    explicit Named(std::string name) : name(std::move(name)) { alive++; }
    Named(const Named &other) : std::exception(other), name(other.name)
    {
        alive++;
    }
    ~Named() override { alive--; }
    const char *what() const noexcept override { return name.c_str(); }
};

/* A call of Python code that has failed. */
struct PythonError {
};

std::string
current()
{
    std::exception_ptr pointer = std::current_exception();

    try {
        if (pointer)
            std::rethrow_exception(pointer);
    } catch (const Named &named) {
        return named.name;
    } catch (const PythonError &) {
        return "PythonError";
    }
    return "-";
}

bool
call(PyObject *fn)
{
    PyObject *result = PyObject_CallNoArgs(fn);

    Py_XDECREF(result);
    return result != nullptr;
}

PyObject *
text(const std::string &string)
{
    return PyUnicode_FromStringAndSize(string.data(),
                                       static_cast<Py_ssize_t>(string.size()));
}

/* What `throw;` throws after that call, and what is left then. */
PyObject *
rethrow(PyObject *, PyObject *args)
{
    const char *name;
    PyObject *fn;
    std::string seen;

    if (!PyArg_ParseTuple(args, "sO", &name, &fn))
        return nullptr;
    try {
        try {
            throw Named(name);
        } catch (const Named &) {
            if (!call(fn))
                return nullptr; /* which ends the catch block */
            seen = current() + " ";
            throw;
        }
    } catch (const Named &named) {
        seen += named.name;
    }
    return text(seen + " " + current());
}

/* One catch block in another one. */
PyObject *
nested(PyObject *, PyObject *args)
{
    const char *name;
    PyObject *fn;
    std::string seen;

    if (!PyArg_ParseTuple(args, "sO", &name, &fn))
        return nullptr;
    try {
        throw Named(std::string(name) + "1");
    } catch (const Named &) {
        try {
            if (!call(fn))
                throw PythonError();
            throw Named(std::string(name) + "2");
        } catch (const Named &) {
            if (!call(fn))
                return nullptr;
            seen = current() + " ";
        } catch (const PythonError &) {
            return nullptr;
        }
        if (!call(fn))
            return nullptr;
        seen += current() + " ";
    }
    return text(seen + current());
}

struct Switches {
    PyObject *fn;
    std::string &seen;
    bool failed = false;

    ~Switches()
    {
        seen += std::to_string(std::uncaught_exceptions());
        failed = !call(fn);
        seen += std::to_string(std::uncaught_exceptions()) + " ";
    }
};

/* A destructor makes the call while an exception is on its way. */
PyObject *
unwinding(PyObject *, PyObject *args)
{
    const char *name;
    PyObject *fn;
    std::string seen;

    if (!PyArg_ParseTuple(args, "sO", &name, &fn))
        return nullptr;
    try {
        Switches switches{fn, seen};

        throw Named(name);
    } catch (const Named &named) {
        seen += named.name;
    }
    return PyErr_Occurred()
               ? nullptr
               : text(seen + std::to_string(std::uncaught_exceptions()));
}

/* How many exceptions there are, and what of them is the caller's. */
PyObject *
state(PyObject *, PyObject *)
{
    return Py_BuildValue("isi", alive, current().c_str(),
                         std::uncaught_exceptions());
}

/* Makes the call in another thread, with the current thread state. */
PyObject *
elsewhere(PyObject *, PyObject *fn)
{
    PyThreadState *ts = PyEval_SaveThread();

    std::thread([=] {
        PyEval_RestoreThread(ts);
        call(fn);
        PyEval_SaveThread();
    }).join();
    PyEval_RestoreThread(ts);
    if (PyErr_Occurred())
        return nullptr;
    Py_RETURN_NONE;
}

PyMethodDef functions[] = {
    {"rethrow", rethrow, METH_VARARGS, nullptr},
    {"nested", nested, METH_VARARGS, nullptr},
    {"unwinding", unwinding, METH_VARARGS, nullptr},
    {"state", state, METH_NOARGS, nullptr},
    {"elsewhere", elsewhere, METH_O, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

PyModuleDef_Slot slots[] = {
#if PY_VERSION_HEX >= 0x030C0000
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
    {0, nullptr},
};

PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "catching", nullptr, 0,      functions,
    slots,                 nullptr,    nullptr, nullptr,
};

} // namespace

PyMODINIT_FUNC
PyInit_catching()
{
    return PyModuleDef_Init(&definition);
}
