# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""OpenTelemetry spans, as children of Airflow's spans of tasks and triggers (``[traces] otel_on``).

Where Airflow's tracing is off nothing is done, and nothing is imported for it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from batchy_provider.core.values import Batch

_NO_FAULTS = ("AirflowSkipException", "AirflowRescheduleException")
_MOST_CHARACTERS = 1000


class Span:
    """A span, or none.

    :param span: OpenTelemetry's; None where tracing is off.
    """

    def __init__(self, span: Any = None) -> None:
        self._span = span
        self._has_failed = False

    def set(self, **attributes: Any) -> None:
        """Set attributes; each is called ``batchy.NAME``, and one without a value is left out."""
        if self._span is not None:
            self._span.set_attributes(_named(attributes))

    def failed(self, error: Exception | str) -> None:
        """Say that what the span is about went wrong; only the first time counts."""
        if self._span is None or self._has_failed:
            return
        self._has_failed = True
        from opentelemetry.trace import Status, StatusCode

        if isinstance(error, Exception):
            self._span.record_exception(error)
        self._span.set_status(Status(StatusCode.ERROR, str(error)[:_MOST_CHARACTERS]))


@contextmanager
def span(name: str, **attributes: Any) -> Iterator[Span]:
    """Make a span of what is done in the block; an error that leaves it is the span's too, a skip is none."""
    tracer = _tracer()
    if tracer is None:
        yield Span()
        return
    with tracer.start_as_current_span(
        name, attributes=_named(attributes), record_exception=False, set_status_on_exception=False
    ) as made:
        one = Span(made)
        try:
            yield one
        except Exception as error:
            if type(error).__name__ not in _NO_FAULTS:
                one.failed(error)
            raise


def record(name: str, began: float, *, error: str | None = None, **attributes: Any) -> None:
    """Make a span of what began at a moment (Unix seconds) and is over now."""
    tracer = _tracer()
    if tracer is None:
        return
    made = tracer.start_span(name, start_time=round(began * 1e9), attributes=_named(attributes))
    if error is not None:
        Span(made).failed(error)
    made.end()


def carrier() -> dict[str, str]:
    """Return the variables by which a program goes on in the present span: ``TRACEPARENT`` and, perhaps, its state."""
    if _tracer() is None:
        return {}
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    found: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(found)
    return {name.upper(): value for name, value in found.items()}


def batch_attributes(batch: Batch) -> dict[str, Any]:
    """Return the attributes of a span that is about a batch."""
    return {
        "workflow": batch.workflow,
        "batch_id": batch.batch_id,
        "kind": batch.kind,
        "from_date": batch.from_date,
        "to_date": batch.to_date,
        "status": batch.status,
    }


def _tracer() -> Any:
    """Return a tracer; None where nobody has set up tracing, which needs this module."""
    if "opentelemetry.trace" not in sys.modules:
        return None
    from opentelemetry import trace

    # What stands for a provider as long as there is none has no such method: Airflow asks in the same way.
    if not hasattr(trace.get_tracer_provider(), "force_flush"):
        return None
    return trace.get_tracer("batchy_provider")


def _named(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {f"batchy.{name}": value for name, value in attributes.items() if value is not None}
