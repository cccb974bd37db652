# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A collector of OpenTelemetry on 127.0.0.1: takes what is sent by OTLP over HTTP, and reads it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True)
class Point:
    """A value of a metric, as one process told it; `is_delta`: how much more it is than what that has told before."""

    name: str
    tags: dict[str, Any]
    value: float
    is_delta: bool


@dataclass(frozen=True)
class Span:
    """A span, its ids as hexadecimal text."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    attributes: dict[str, Any]
    failed: bool
    message: str
    events: tuple[str, ...]
    seconds: float


class Receiver:
    """What has come in so far."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._points: list[Point] = []
        self._spans: list[Span] = []
        self.url = ""

    def spans(self, **attributes: Any) -> list[Span]:
        """The spans that have all of some attributes; a name stands for ``batchy.NAME``."""
        wanted = {f"batchy.{name}": value for name, value in attributes.items()}
        with self._lock:
            return [span for span in self._spans if wanted.items() <= span.attributes.items()]

    def all_spans(self) -> list[Span]:
        """All spans, Airflow's too."""
        with self._lock:
            return list(self._spans)

    def points(self, name: str, **tags: Any) -> list[Point]:
        """The values of a metric that have all of some tags."""
        with self._lock:
            return [point for point in self._points if point.name == name and tags.items() <= point.tags.items()]

    def take(self, path: str, body: bytes) -> None:
        """Read one request."""
        with self._lock:
            if path.endswith("/traces"):
                self._spans += _spans(ExportTraceServiceRequest.FromString(body))
            elif path.endswith("/metrics"):
                self._points += _points(ExportMetricsServiceRequest.FromString(body))


@contextmanager
def receiver() -> Iterator[Receiver]:
    """Run one."""
    found = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            found.take(self.path, self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()


def _spans(request: ExportTraceServiceRequest) -> Iterator[Span]:
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield Span(
                    name=span.name,
                    trace_id=span.trace_id.hex(),
                    span_id=span.span_id.hex(),
                    parent_id=span.parent_span_id.hex(),
                    attributes=_attributes(span.attributes),
                    failed=span.status.code == 2,
                    message=span.status.message,
                    events=tuple(str(_attributes(event.attributes)) for event in span.events),
                    seconds=(span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
                )


def _points(request: ExportMetricsServiceRequest) -> Iterator[Point]:
    for resource in request.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                data = getattr(metric, str(metric.WhichOneof("data")))
                for point in data.data_points:
                    kind = point.WhichOneof("value") if hasattr(point, "as_double") else None
                    value = getattr(point, kind) if kind else point.sum
                    delta = getattr(data, "aggregation_temporality", 0) == 1
                    yield Point(metric.name, _attributes(point.attributes), value, delta)


def _attributes(given: Any) -> dict[str, Any]:
    return {each.key: _value(each.value) for each in given}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    return getattr(value, kind) if kind else None
