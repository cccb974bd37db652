# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""OpenTelemetry spans, as children of Airflow's spans of tasks and triggers (``[traces] otel_on``).

With Airflow's tracing off, nothing is done or imported.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from batchy_provider.core.values import Batch

_NOT_ERRORS = ("AirflowSkipException", "AirflowRescheduleException")
_MOST_CHARACTERS = 1000


class Span:
    """A span that also works with tracing off: then it does nothing.

    :param span: OpenTelemetry's span; None if tracing is off.
    """

    def __init__(self, span: Any = None) -> None:
        self._span = span
        self._has_failed = False

    def set(self, **attributes: Any) -> None:
        """Set attributes with the prefix ``batchy.``, except those that are None."""
        if self._span is not None:
            self._span.set_attributes(_named(attributes))

    def failed(self, error: Exception | str) -> None:
        """Mark the span as failed. Only the first call counts."""
        if self._span is None or self._has_failed:
            return
        self._has_failed = True
        from opentelemetry.trace import Status, StatusCode

        if isinstance(error, Exception):
            self._span.record_exception(error)
        self._span.set_status(Status(StatusCode.ERROR, str(error)[:_MOST_CHARACTERS]))


@contextmanager
def span(name: str, **attributes: Any) -> Iterator[Span]:
    """Make a span of the block. An error that leaves the block marks the span as failed; a skip does not."""
    tracer = _tracer()
    if tracer is None:
        yield Span()
        return
    with tracer.start_as_current_span(
        name, attributes=_named(attributes), record_exception=False, set_status_on_exception=False
    ) as made:
        wrapped = Span(made)
        try:
            yield wrapped
        except Exception as error:
            if type(error).__name__ not in _NOT_ERRORS:
                wrapped.failed(error)
            raise


def record(name: str, began: float, *, error: str | None = None, **attributes: Any) -> None:
    """Make a span of something that has just ended.

    :param began: when it began, in Unix seconds.
    :param error: why it failed; None if it did not.
    """
    tracer = _tracer()
    if tracer is None:
        return
    made = tracer.start_span(name, start_time=round(began * 1e9), attributes=_named(attributes))
    if error is not None:
        Span(made).failed(error)
    made.end()


def carrier() -> dict[str, str]:
    """Return environment variables with which a program continues the current span.

    :returns: ``TRACEPARENT`` and, if there is one, ``TRACESTATE``; empty with tracing off.
    """
    if _tracer() is None:
        return {}
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    headers: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(headers)
    return {name.upper(): value for name, value in headers.items()}


def batch_attributes(batch: Batch) -> dict[str, Any]:
    """Return the attributes that describe a batch in a span."""
    return {
        "workflow": batch.workflow,
        "batch_id": batch.batch_id,
        "kind": batch.kind,
        "from_date": batch.from_date,
        "to_date": batch.to_date,
        "status": batch.status,
    }


def _tracer() -> Any:
    """Return a tracer; None if tracing is off: setting it up would have imported `opentelemetry.trace`."""
    if "opentelemetry.trace" not in sys.modules:
        return None
    from opentelemetry import trace

    # Without a configured provider, OpenTelemetry has a placeholder that lacks this method. Airflow checks the same.
    if not hasattr(trace.get_tracer_provider(), "force_flush"):
        return None
    return trace.get_tracer("batchy_provider")


def _named(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {f"batchy.{name}": value for name, value in attributes.items() if value is not None}
