/* SPDX-License-Identifier: MIT */
#include "cpython/layout.h"

#include "cpython/inside.h"
#include "cpython/tstate.h"
#include "cpython/codes.h"
#include "raw/section.h"

#define AT(name, type, field) section_add(e, name, offsetof(type, field))

static void
add_thread(struct entries *e)
{
    section_add(e, "python", PY_VERSION_HEX);
    AT("thread.native", PyThreadState, native_thread_id);
    AT("thread.interp", PyThreadState, interp);
#ifdef CO_HAS_CFRAME
    AT("thread.cframe", PyThreadState, cframe);
    AT("cframe.frame", _PyCFrame, current_frame);
    AT("slice.cframe", struct tstate_slice, cframe);
#else
    AT("thread.frame", PyThreadState, current_frame);
    AT("slice.frame", struct tstate_slice, current_frame);
#endif
}

/* The bits of an address that are not a part of it. */
static void
add_frames(struct entries *e)
{
    section_add(e, "frame.size", offsetof(_PyInterpreterFrame, localsplus));
    AT("frame.previous", _PyInterpreterFrame, previous);
    AT("frame.owner", _PyInterpreterFrame, owner);
    AT("frame.locals", _PyInterpreterFrame, localsplus);
#if PY_VERSION_HEX < 0x030C0000
    AT("frame.entry", _PyInterpreterFrame, is_entry);
#endif
#if PY_VERSION_HEX >= 0x030D0000
    AT("frame.code", _PyInterpreterFrame, f_executable);
    AT("frame.instr", _PyInterpreterFrame, instr_ptr);
#else
    AT("frame.code", _PyInterpreterFrame, f_code);
    AT("frame.instr", _PyInterpreterFrame, prev_instr);
#endif
#if PY_VERSION_HEX >= 0x030E0000
    AT("frame.stackpointer", _PyInterpreterFrame, stackpointer);
    section_add(e, "frame.tag", Py_TAG_BITS);
#else
    AT("frame.stacktop", _PyInterpreterFrame, stacktop);
    section_add(e, "frame.tag", 0);
#endif
    section_add(e, "root.code", (uintptr_t)tstate_enter_code);
    section_add(e, "owner.thread", FRAME_OWNED_BY_THREAD);
    section_add(e, "owner.generator", FRAME_OWNED_BY_GENERATOR);
    section_add(e, "owner.object", FRAME_OWNED_BY_FRAME_OBJECT);
    AT("code.filename", PyCodeObject, co_filename);
    AT("code.qualname", PyCodeObject, co_qualname);
    AT("code.firstlineno", PyCodeObject, co_firstlineno);
    AT("code.linetable", PyCodeObject, co_linetable);
    AT("code.traceable", PyCodeObject, _co_firsttraceable);
    AT("code.code", PyCodeObject, co_code_adaptive);
}

static void
add_generators(struct entries *e)
{
    AT("gen.qualname", PyGenObject, gi_qualname);
    AT("gen.state", PyGenObject, gi_frame_state);
    AT("gen.frame", PyGenObject, gi_iframe);
#if PY_VERSION_HEX >= 0x030D0000
    section_add(e, "gen.awaits", (uint8_t)FRAME_SUSPENDED_YIELD_FROM);
#else
    section_add(e, "gen.awaits", (uint8_t)FRAME_SUSPENDED);
#endif
    /* How far below the top of its evaluation stack what it awaits is. */
    section_add(e, "gen.awaited", PY_VERSION_HEX >= 0x030F0000 ? 2 : 1);
    section_add(e, "type.coroutine", (uintptr_t)&PyCoro_Type);
    section_add(e, "type.generator", (uintptr_t)&PyGen_Type);
}

static unsigned
state_word(const PyASCIIObject *string)
{
    unsigned word;

    memcpy(&word, &string->state, sizeof word);
    return word;
}

/* Where in the word of a string's flags the one is that a string has which is
 * in ASCII, and where its kind begins: the bytes of a character. */
static void
add_flags_of_text(struct entries *e)
{
    PyASCIIObject string;

    memset(&string, 0, sizeof string);
    string.state.ascii = 1;
    section_add(e, "str.ascii", state_word(&string));
    string.state.ascii = 0;
    string.state.kind = 1;
    section_add(e, "str.kind", state_word(&string));
}

static void
add_objects(struct entries *e)
{
    AT("object.type", PyObject, ob_type);
    AT("type.name", PyTypeObject, tp_name);
    AT("type.flags", PyTypeObject, tp_flags);
    AT("str.length", PyASCIIObject, length);
    AT("str.state", PyASCIIObject, state);
    section_add(e, "str.text.ascii", sizeof(PyASCIIObject));
    section_add(e, "str.text", sizeof(PyCompactUnicodeObject));
    add_flags_of_text(e);
    section_add(e, "type.str", (uintptr_t)&PyUnicode_Type);
    AT("bytes.size", PyVarObject, ob_size);
    AT("bytes.text", PyBytesObject, ob_sval);
#if PY_VERSION_HEX >= 0x030C0000
    section_add(e, "type.int", (uintptr_t)&PyLong_Type);
    AT("int.tag", PyLongObject, long_value.lv_tag);
    AT("int.digits", PyLongObject, long_value.ob_digit);
#endif
    section_add(e, "type.function", (uintptr_t)&PyFunction_Type);
    AT("function.qualname", PyFunctionObject, func_qualname);
    section_add(e, "type.method", (uintptr_t)&PyMethod_Type);
    AT("method.function", PyMethodObject, im_func);
    section_add(e, "type.builtin", (uintptr_t)&PyCFunction_Type);
    AT("builtin.def", PyCFunctionObject, m_ml);
    AT("def.name", PyMethodDef, ml_name);
    AT("weakref.object", PyWeakReference, wr_object);
    AT("dict.keys", PyDictObject, ma_keys);
    AT("dict.values", PyDictObject, ma_values);
    AT("values.first", struct _dictvalues, values);
    AT("keys.index.bytes", struct _dictkeysobject, dk_log2_index_bytes);
    AT("keys.kind", struct _dictkeysobject, dk_kind);
    AT("keys.count", struct _dictkeysobject, dk_nentries);
    AT("keys.indices", struct _dictkeysobject, dk_indices);
}

void
tstate_layout(struct entries *e)
{
    add_thread(e);
    add_frames(e);
    add_generators(e);
    add_objects(e);
}
