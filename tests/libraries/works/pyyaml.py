"""PyYAML: libyaml reads a stream of Python's, and Cython composes the nodes."""

import io

import yaml
from hosts import pause

DISTRIBUTION = "PyYAML"


def small():
    return yaml.load("a: [1, 2.5, null]\nb: &x {c: d}\ne: *x\n", yaml.CSafeLoader)


def heavy():
    data = {f"k{n}": [n, str(n), {"x": n * 0.5}] for n in range(2000)}
    deep = "[" * 150 + "]" * 150
    text = yaml.dump(data, Dumper=yaml.CSafeDumper)
    again = yaml.dump(yaml.load(deep, yaml.CSafeLoader), Dumper=yaml.CSafeDumper)
    return [yaml.load(text, yaml.CSafeLoader) == data, len(text), again.strip()]


class _Stream(io.StringIO):
    def read(self, size=-1):
        pause()
        return super().read(min(size, 9))

    def write(self, text):
        pause()
        return super().write(text)


def callback(number):
    class Loader(yaml.CSafeLoader):
        pass

    Loader.add_constructor("!n", lambda load, node: pause() or int(node.value) + number)
    loaded = yaml.load(_Stream("a: [!n 1, !n 2]\nb: !n 3\n"), Loader)
    written = _Stream()
    yaml.dump(loaded, written, Dumper=yaml.CSafeDumper)
    return [loaded, written.getvalue()]


def exception():
    class Failing(io.StringIO):
        def read(self, size=-1):
            pause()
            raise LookupError("from below libyaml")

    yaml.load(Failing(), yaml.CSafeLoader)
