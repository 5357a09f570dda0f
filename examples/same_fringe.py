"""Tell whether two trees have the same leaves in the same order.

The trees may be of different shapes. Each is walked by plain recursion in a
coroutine, no further than the first difference; no list of leaves is made.

    python examples/same_fringe.py
"""

from collections.abc import Iterable
from itertools import zip_longest

import copool

Tree = int | Iterable["Tree"]
END = object()


def leaves(tree: Tree) -> None:
    """Yield the leaves of a tree."""
    if isinstance(tree, int):
        copool.yield_(tree)
    else:
        for branch in tree:
            leaves(branch)


def same_fringe(one: Tree, other: Tree) -> bool:
    """Compare two trees leaf by leaf."""
    left = copool.Coroutine(lambda: leaves(one))
    right = copool.Coroutine(lambda: leaves(other))
    return all(a == b for a, b in zip_longest(left, right, fillvalue=END))


def comb(depth: int) -> Tree:
    """Make a tree that grows to the right only: (1, (2, (3, ... )))."""
    tree: Tree = depth
    for number in range(depth - 1, 0, -1):
        tree = (number, tree)
    return tree


def balanced(first: int, last: int) -> Tree:
    """Make a tree that grows to both sides alike: ((1, 2), (3, 4))."""
    if first == last:
        return first
    middle = (first + last) // 2
    return (balanced(first, middle), balanced(middle + 1, last))


def main() -> None:
    print("same shape:    ", same_fringe(((1, 2), 3), ((1, 2), 3)))
    print("other shape:   ", same_fringe(((1, 2), 3), (1, (2, 3))))
    print("other leaf:    ", same_fringe(((1, 2), 3), (1, (2, 4))))
    print("one leaf more: ", same_fringe(((1, 2), 3), (1, (2, (3, 4)))))
    print("500 levels:    ", same_fringe(comb(500), balanced(1, 500)))


if __name__ == "__main__":
    main()
