"""Prometheus and OpenTelemetry get the numbers that stats() has."""

import subprocess
import sys
from pathlib import Path

import metrics as example
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

import copool
from copool import _core


@pytest.fixture
def suspended():
    coroutines = [copool.Coroutine(copool.yield_) for _ in range(7)]
    for co in coroutines:
        co.enter()
    yield coroutines
    for co in coroutines:
        co.close()


@pytest.fixture
def times():
    _core._note(False, True)
    yield
    _core._note(False, False)


def test_program_prints_what_both_get():
    done = subprocess.run(
        [sys.executable, example.__file__],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    for line in (
        'copool_chains{kind="coroutines",state="suspended"} 1000.0',
        "copool_switches_total 2002.0",
        'copool_stacks{state="live"} 1000.0',
        "copool.chains {'kind': 'coroutines', 'state': 'suspended'} 1000",
        "copool.switches {} 2002",
    ):
        assert line in lines
    name = 'copool_held_seconds_total{kind="coroutine",name="report"} '
    (held,) = (line[len(name) :] for line in lines if line.startswith(name))
    assert 0.02 < float(held) < 10


def test_a_page_shows_what_the_program_prints():
    """But for the times, which differ."""
    page = (Path(__file__).parents[2] / "docs/debugging.md").read_text()
    assert 'copool_chains{kind="coroutines",state="suspended"} 1000.0' in page
    assert "copool.chains {'kind': 'coroutines', 'state': 'suspended'} 1000" in page


def test_prometheus_asks_anew_each_time(suspended, times):
    registry = CollectorRegistry()
    registry.register(example.Stats())
    labels = {"kind": "coroutines", "state": "suspended"}
    assert registry.get_sample_value("copool_chains", labels) == 7
    before = registry.get_sample_value("copool_switches_total")
    suspended.pop().enter()  # ends
    assert registry.get_sample_value("copool_chains", labels) == 6
    assert registry.get_sample_value("copool_switches_total") == before + 2
    # None of them was left since times are noted.
    assert registry.get_sample_value("copool_oldest_seconds") is None
    with_times = copool.Coroutine(copool.yield_)
    with_times.enter()
    assert 0 <= registry.get_sample_value("copool_oldest_seconds") < 100
    with_times.close()


def test_prometheus_can_parse_it(suspended):
    registry = CollectorRegistry()
    registry.register(example.Stats())
    text = generate_latest(registry).decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert {name: family.type for name, family in families.items()} == {
        "copool_chains": "gauge",
        "copool_switches": "counter",
        "copool_created": "counter",
        "copool_stacks": "gauge",
    }
    assert len(families["copool_chains"].samples) == 9


def test_opentelemetry_asks_anew_each_time(suspended, times):
    reader = InMemoryMetricReader()
    example.observe(MeterProvider([reader]).get_meter("test"))

    def found():
        (resource,) = reader.get_metrics_data().resource_metrics
        (scope,) = resource.scope_metrics
        return {metric.name: metric.data.data_points for metric in scope.metrics}

    def suspended_now():
        (point,) = (
            point
            for point in found()["copool.chains"]
            if point.attributes == {"kind": "coroutines", "state": "suspended"}
        )
        return point.value

    assert suspended_now() == 7
    before = found()["copool.switches"][0].value
    suspended.pop().enter()
    assert suspended_now() == 6
    assert found()["copool.switches"][0].value == before + 2
    assert "copool.oldest" not in found()
    with_times = copool.Coroutine(copool.yield_)
    with_times.enter()
    assert 0 <= found()["copool.oldest"][0].value < 100
    with_times.close()
