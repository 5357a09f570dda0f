"""z3: a solver in C++ that recurses, and calls for each model or decision."""

import z3
from hosts import pause

DISTRIBUTION = "z3-solver"


def small():
    solver = z3.Solver()
    n = z3.Int("n")
    solver.add(n * 3 == 21)
    return [str(solver.check()), solver.model()[n].as_long()]


def heavy():
    """Eight queens; terms that are nested deep; numbers of 64 bits."""
    queens = [z3.Int(f"q{i}") for i in range(8)]
    solver = z3.Solver()
    solver.add(*(z3.And(q >= 0, q < 8) for q in queens), z3.Distinct(queens))
    for i in range(8):
        solver.add(
            [
                z3.And(queens[i] - queens[j] != i - j, queens[j] - queens[i] != i - j)
                for j in range(i)
            ]
        )
    found = str(solver.check())
    model = [solver.model()[q].as_long() for q in queens]
    assert len({q + i for i, q in enumerate(model)}) == 8
    term = n = z3.BitVec("n", 64)
    for number in range(2000):
        term = (term ^ number) + 1
    simplified = z3.simplify(z3.substitute(term, (n, z3.BitVecVal(7, 64)))).as_long()
    return [found, sorted(model), simplified]


class _Decisions(z3.UserPropagateBase):
    def __init__(self, solver, number):
        super().__init__(solver)
        self.seen = [number]
        self.add_fixed(self._fixed)

    def _fixed(self, variable, value):
        pause()
        self.seen.append((str(variable), str(value)))

    def push(self):
        pause()

    def pop(self, count):
        pass

    def fresh(self, context):
        return self


def callback(number):
    context = z3.Context()
    solver = z3.SimpleSolver(ctx=context)
    propagator = _Decisions(solver, number)
    bits = [z3.Bool(f"b{n}", ctx=context) for n in range(4 + number)]
    for bit in bits:
        propagator.add(bit)
    solver.add(z3.Or(bits), z3.Not(bits[0]))
    found = str(solver.check())
    return [found, sorted(set(map(str, propagator.seen[1:])))]


def exception():
    z3.Solver().from_string("(assert (= x")
