"""Numbers of coroutines for Prometheus and OpenTelemetry.

They come from `copool.stats()`, and who blocks the loop from `copool.watch()`.

    pip install 'copool[metrics]'
    python examples/metrics.py

Nothing is counted while nobody asks: a scrape, or a reader of OpenTelemetry's, has the
numbers made at that moment. In a program of yours, call `register()` or `observe()`.
"""

import sys
import time
from collections.abc import Iterable, Iterator

from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    InMemoryMetricReader,
    NumberDataPoint,
)
from prometheus_client import REGISTRY, CollectorRegistry, Counter, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

import copool

KINDS = ("coroutines", "greenlets", "awaited")
STATES = ("running", "waiting", "suspended")


def by_kind_and_state(
    stats: copool.PoolStats,
) -> Iterator[tuple[str, str, int]]:
    for kind in KINDS:
        counts = getattr(stats.chains, kind)
        for state in STATES:
            yield kind, state, getattr(counts, state)


# --- Prometheus -----------------------------------------------------------------------


class Stats(Collector):
    """Asks copool when Prometheus asks us: one look for all numbers of a scrape."""

    def collect(self) -> Iterable[Metric]:
        stats = copool.stats()
        chains = GaugeMetricFamily(
            "copool_chains", "Chains of calls by state.", labels=["kind", "state"]
        )
        for kind, state, number in by_kind_and_state(stats):
            chains.add_metric([kind, state], number)
        yield chains
        yield CounterMetricFamily(
            "copool_switches", "From stack to stack.", value=stats.chains.switches
        )
        yield CounterMetricFamily(
            "copool_created", "Chains that got a stack.", value=stats.created
        )
        stacks = GaugeMetricFamily(
            "copool_stacks", "Stacks of the pool.", labels=["state"]
        )
        stacks.add_metric(["live"], stats.live)
        stacks.add_metric(["idle"], stats.idle_local + stats.idle_shared)
        stacks.add_metric(["vacant"], stats.vacant)
        yield stacks
        if stats.chains.oldest is not None:
            yield GaugeMetricFamily(
                "copool_oldest_seconds",
                "How long the longest suspended has been left.",
                value=stats.chains.oldest,
            )


def register(registry: CollectorRegistry = REGISTRY) -> copool.Watch:
    """Export all of it to Prometheus; return the watch that counts what blocks."""
    registry.register(Stats())
    held = Counter(
        "copool_held_seconds",
        "How long somebody held a thread, each for 20 ms or more.",
        ["kind", "name"],
        registry=registry,
    )

    def count(hold: copool.Hold) -> None:
        if hold.over:
            held.labels(hold.kind, hold.name).inc(hold.seconds)

    return copool.watch(callback=count)


# --- OpenTelemetry --------------------------------------------------------------------


def observe(meter: Meter) -> None:
    """Export the same numbers to OpenTelemetry, with instruments that are asked."""

    def chains(options: CallbackOptions) -> Iterable[Observation]:
        for kind, state, number in by_kind_and_state(copool.stats()):
            yield Observation(number, {"kind": kind, "state": state})

    def switches(options: CallbackOptions) -> Iterable[Observation]:
        yield Observation(copool.stats().chains.switches)

    def oldest(options: CallbackOptions) -> Iterable[Observation]:
        age = copool.stats().chains.oldest
        if age is not None:
            yield Observation(age)

    meter.create_observable_gauge(
        "copool.chains", [chains], "{chain}", "Chains of calls by state."
    )
    meter.create_observable_counter(
        "copool.switches", [switches], "{switch}", "From stack to stack."
    )
    meter.create_observable_gauge(
        "copool.oldest", [oldest], "s", "How long the longest suspended has been left."
    )


# --- a program that has something to tell ---------------------------------------------


def wait() -> None:
    copool.yield_()


def block() -> None:
    time.sleep(0.1)  # nobody else can run in this thread


def main() -> int:
    registry, reader = CollectorRegistry(), InMemoryMetricReader()
    with register(registry):
        observe(MeterProvider([reader]).get_meter("copool"))
        crowd = [copool.Coroutine(wait) for _ in range(1000)]
        for co in crowd:
            co.enter()
        copool.Coroutine(block, name="report").enter()
        labels = {"kind": "coroutine", "name": "report"}
        while registry.get_sample_value("copool_held_seconds_total", labels) is None:
            time.sleep(0.01)  # its end is told of a few milliseconds after it
    print("# What Prometheus gets:")
    text = generate_latest(registry).decode().splitlines()
    print(*(line for line in text if not line.startswith("#")), sep="\n")
    print("# What OpenTelemetry gets:")
    data = reader.get_metrics_data()
    for scope in data.resource_metrics[0].scope_metrics if data else []:
        for metric in scope.metrics:
            for point in metric.data.data_points:
                assert isinstance(point, NumberDataPoint)
                print(metric.name, dict(point.attributes or {}), point.value)
    for co in crowd:
        co.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
