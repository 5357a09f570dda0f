"""Results as a benchmark would have found them, for tests of what is made of these."""

from copool.commands.bench.model import Key, Results, Series


def results_of(*every: Series, impossible: dict[Key, str] | None = None) -> Results:
    return Results(
        machine={},
        settings={},
        series={one.key: one for one in every},
        impossible=impossible or {},
        notes=[],
    )
