"""tree-sitter: parses a source that a function hands out piece by piece."""

import tree_sitter_python
from hosts import pause
from tree_sitter import Language, Parser, Query, QueryCursor

DISTRIBUTION = "tree-sitter"
LANGUAGE = Language(tree_sitter_python.language())
SOURCE = b"def f(a):\n    return [a, (a + 1) * 2]\n\nclass C:\n    x = f(3)\n"


def small():
    return str(Parser(LANGUAGE).parse(b"a = 1").root_node)


def heavy():
    parser = Parser(LANGUAGE)
    deep = parser.parse(b"x = " + b"(" * 2000 + b"1" + b")" * 2000)
    many = parser.parse(SOURCE * 2000)
    names = Query(LANGUAGE, "(identifier) @name")
    captured = QueryCursor(names).captures(parser.parse(SOURCE * 50).root_node)
    return [
        deep.root_node.has_error,
        len(many.root_node.children),
        len(captured["name"]),
    ]


def callback(number):
    source = SOURCE * (number + 1)

    def read(offset, _):
        pause()
        return source[offset : offset + 16]

    return str(Parser(LANGUAGE).parse(read).root_node)


def exception():
    Query(LANGUAGE, "(no_such_node) @x")
