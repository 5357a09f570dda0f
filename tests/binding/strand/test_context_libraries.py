"""Libraries that keep what is current in context variables find each coroutine's own.

It begins with that of whoever enters it first.
"""

import pytest
import sentry_sdk
import structlog
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from copool import Coroutine, yield_


def interleave(body, names="abc"):
    """Enter a coroutine of each name in turn until all have ended."""
    coroutines = [Coroutine(body) for _ in names]
    for co, name in zip(coroutines, names, strict=True):
        co.enter(name)
    results = {}
    while len(results) < len(names):
        for co, name in zip(coroutines, names, strict=True):
            if not co.done:
                value = co.enter()
                if co.done:
                    results[name] = value
    return results


@pytest.fixture
def tracing():
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield provider.get_tracer("test"), exporter
    provider.shutdown()


def parents(exporter):
    spans = exporter.get_finished_spans()
    names = {span.context.span_id: span.name for span in spans}
    return {span.name: names[span.parent.span_id] for span in spans if span.parent}


def test_each_has_its_span(tracing, caplog):
    tracer, exporter = tracing

    def body(name):
        with tracer.start_as_current_span(name):
            yield_()
            with tracer.start_as_current_span(name + "1"):
                yield_()
                trace.get_current_span().set_attribute("who", name)
            yield_()
            return trace.get_current_span().name

    with tracer.start_as_current_span("request") as request:
        assert interleave(body) == {name: name for name in "abc"}
        assert trace.get_current_span() is request
    outer = dict.fromkeys("abc", "request")
    assert parents(exporter) == outer | {name + "1": name for name in "abc"}
    who = {
        span.name: span.attributes.get("who") for span in exporter.get_finished_spans()
    }
    assert {name: who[name + "1"] for name in "abc"} == {name: name for name in "abc"}
    assert not caplog.records


def test_a_span_that_is_unwound_from_elsewhere_is_left_without_complaint(
    tracing, caplog
):
    tracer, exporter = tracing

    def body():
        with tracer.start_as_current_span("left"):
            yield_()

    co, dropped = Coroutine(body), Coroutine(body)
    with tracer.start_as_current_span("request"):
        co.enter()
        dropped.enter()
    with tracer.start_as_current_span("other") as other:
        co.close()
        del dropped
        assert trace.get_current_span() is other
    assert parents(exporter) == {"left": "request"}
    names = [span.name for span in exporter.get_finished_spans()]
    assert names == ["request", "left", "left", "other"]
    assert not caplog.records


class Captured(sentry_sdk.transport.Transport):
    def __init__(self):
        super().__init__()
        self.events = []

    def capture_envelope(self, envelope):
        self.events.append(envelope.get_event())


@pytest.fixture
def sentry():
    captured = Captured()
    client = sentry_sdk.get_global_scope().client
    sentry_sdk.init(
        "http://key@localhost/1",
        transport=captured,
        default_integrations=False,
        auto_enabling_integrations=False,
    )
    yield captured
    sentry_sdk.get_client().close(timeout=0)
    sentry_sdk.get_global_scope().set_client(client)


@pytest.mark.parametrize("new_scope", ["new_scope", "isolation_scope"])
def test_each_tags_its_scope(sentry, new_scope):
    def body(name):
        with getattr(sentry_sdk, new_scope)() as scope:
            scope.set_tag("who", name)
            yield_()
            sentry_sdk.capture_message(name)
            yield_()
            return sentry_sdk.capture_message(name + "!")

    with sentry_sdk.isolation_scope() as outer:
        outer.set_tag("request", 7)
        interleave(body)
        sentry_sdk.capture_message("outside")
    tags = {event["message"]: event["tags"] for event in sentry.events}
    wanted = {
        name: {"request": 7, "who": name[0]} for name in [*"abc", "a!", "b!", "c!"]
    }
    assert tags == wanted | {"outside": {"request": 7}}


def test_each_binds_what_it_logs():
    log = structlog.wrap_logger(
        structlog.ReturnLogger(),
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.KeyValueRenderer(sort_keys=True),
        ],
    )

    def body(name):
        structlog.contextvars.bind_contextvars(who=name)
        yield_()
        with structlog.contextvars.bound_contextvars(step=name + "1"):
            yield_()
            inside = log.info("inside")
        yield_()
        return inside, log.info("after")

    with structlog.contextvars.bound_contextvars(request=7):
        logged = interleave(body)
        outside = log.info("outside")
    assert logged == {
        name: (
            f"event='inside' request=7 step='{name}1' who='{name}'",
            f"event='after' request=7 who='{name}'",
        )
        for name in "abc"
    }
    assert outside == "event='outside' request=7"
