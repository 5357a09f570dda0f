"""rpds: persistent data in Rust, behind PyO3, that calls __hash__ and __eq__."""

from hosts import pause
from rpds import HashTrieMap, HashTrieSet, List

DISTRIBUTION = "rpds-py"


class _Key:
    """Pauses where Rust compares."""

    def __init__(self, number):
        self.number = number

    def __hash__(self):
        return self.number % 2

    def __eq__(self, other):
        pause()
        return self.number == other.number


def small():
    return dict(HashTrieMap({"a": 1}).insert("b", 2))


def heavy():
    mapping, numbers, stack = HashTrieMap(), HashTrieSet(), List()
    for n in range(20_000):
        mapping = mapping.insert(n * 7919 % 10007, n)
        numbers = numbers.insert(n % 501)
        stack = stack.push_front(n)
    return [sum(mapping.values()), sum(numbers), stack.first, len(list(stack))]


def callback(number):
    mapping = HashTrieMap()
    for n in range(6):
        mapping = mapping.insert(_Key(n + number), n)
    mapping = mapping.insert(_Key(number), "again")
    return sorted((key.number, str(value)) for key, value in mapping.items())


def exception():
    HashTrieMap({"a": 1}).remove("missing")
