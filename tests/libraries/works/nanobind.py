"""nanobind: a module in C++ that calls functions of Python's, and their exceptions."""

import shutil
import sys
import sysconfig
from pathlib import Path

import nanobind
from building import build, run
from hosts import Missing, pause

DISTRIBUTION = "nanobind"
if shutil.which("g++") is None:
    raise Missing("there is no compiler of C++: apt install g++")
SOURCE = r"""
#include <nanobind/nanobind.h>
#include <nanobind/stl/function.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>
#include <algorithm>
#include <stdexcept>
namespace nb = nanobind;

struct Counter {
    int count = 0;
    void add(nb::callable step) { count += nb::cast<int>(step(count)); }
};

static int down(int levels, const nb::callable &leaf)
{
    if (levels == 0)
        return nb::cast<int>(leaf());
    return down(levels - 1, leaf) + 1;
}

NB_MODULE(copool_nanobind, m)
{
    nb::class_<Counter>(m, "Counter")
        .def(nb::init<>())
        .def("add", &Counter::add)
        .def_ro("count", &Counter::count);
    m.def("descend", [](int levels, nb::callable leaf) { return down(levels, leaf); });
    m.def("apply", [](std::vector<std::string> texts,
                      std::function<std::string(std::string)> fn) {
        std::transform(texts.begin(), texts.end(), texts.begin(), fn);
        return texts;
    });
    m.def("caught", [](nb::callable fn) -> std::string {
        try {
            fn();
        } catch (nb::python_error &error) {
            return nb::cast<std::string>(error.type().attr("__name__"));
        }
        return "nothing";
    });
    m.def("fail", [](nb::callable before) {
        before();
        throw std::out_of_range("from C++");
    });
}
"""


def _compile(folder):
    (folder / "module.cpp").write_text(SOURCE)
    root = Path(nanobind.include_dir()).parent
    run(
        *("g++", "-std=c++17", "-O1", "-shared", "-fPIC", "-fvisibility=hidden"),
        *("-fno-strict-aliasing", f"-I{sysconfig.get_path('include')}"),
        *(f"-I{root / 'include'}", f"-I{root / 'ext' / 'robin_map' / 'include'}"),
        *("module.cpp", root / "src" / "nb_combined.cpp", "-o", "copool_nanobind.so"),
        folder=folder,
    )


module = build("copool_nanobind", _compile, SOURCE + sys.version)


def small():
    counter = module.Counter()
    counter.add(lambda count: count + 5)
    return [counter.count, module.apply(["a", "b"], str.upper)]


def heavy():
    texts = [f"text {n}" for n in range(20_000)]
    counter = module.Counter()
    for _ in range(2000):
        counter.add(lambda count: 3)
    return [
        module.apply(texts, str.upper)[-1],
        counter.count,
        module.descend(5000, lambda: 1),
    ]


def callback(number):
    def fail():
        pause()
        raise LookupError("to be caught in C++")

    counter = module.Counter()
    for _ in range(3):
        counter.add(lambda count: pause() or number + 1)
    return [
        counter.count,
        module.apply(["a", "b"], lambda text: pause() or f"{text}{number}"),
        module.descend(40, lambda: pause() or number),
        module.caught(fail),
    ]


def exception():
    module.fail(pause)
