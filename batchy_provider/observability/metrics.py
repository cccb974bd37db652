# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Report events as metrics through Airflow's ``Stats``: StatsD, Datadog or OpenTelemetry, as ``[metrics]`` says.

Each metric has tags. Plain StatsD has none, and Airflow drops them. So this module sends each metric a second time to
it, with the values of the tags in its name, as Airflow does: ``batchy.batch.opened.sales.live.next``. A dot in a value
becomes ``__``.

An error of the metrics never fails a task. With metrics off, nothing is imported or sent. No tag contains a batch id,
because each id would create a new time series.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from batchy_provider.core.values import Batch
from batchy_provider.core.vocabulary import Reason

if TYPE_CHECKING:
    from batchy_provider.core.deadline_warnings import Outlook
    from batchy_provider.services.answers import Audit

log = logging.getLogger(__name__)


class Metric(NamedTuple):
    """One metric.

    :param tags: names of the tags, in the order in which `dotted_name` writes their values.
    :param help: what the value means, for the documentation.
    """

    kind: Literal["counter", "gauge", "timer"]
    name: str
    tags: tuple[str, ...]
    help: str


_BATCH = ("workflow", "kind")
_EXECUTION = ("workflow", "job", "state")

OPENED = Metric(
    "counter",
    "batchy.batch.opened",
    (*_BATCH, "reason"),
    "A run has opened a batch. `reason`: `next` window, `again` (a cleared run's own), `taken_over`, `asked` (by the "
    "run's conf), `backfill`.",
)
WINDOW = Metric("gauge", "batchy.batch.window_seconds", _BATCH, "Length of the window that was opened last.")
CLOSED = Metric("counter", "batchy.batch.closed", (*_BATCH, "status"), "A run has closed its batch.")
DURATION = Metric("timer", "batchy.batch.duration", (*_BATCH, "status"), "From opening a batch to closing it.")
RETRIED = Metric(
    "counter",
    "batchy.batch.retried",
    ("workflow", "step"),
    "`open` or `close` ran at its second try or a later one: after an error, or because somebody cleared it.",
)
WAITED = Metric(
    "counter", "batchy.wait.ended", ("workflow", "state"), "A wait for a workflow is over: `done` or `failed`."
)
WAIT_TIME = Metric("timer", "batchy.wait.duration", ("workflow", "state"), "How long that wait took.")
WAITS = Metric("gauge", "batchy.waits.running", ("workflow",), "Waits for this workflow in this triggerer.")
OLDEST_WAIT = Metric(
    "gauge", "batchy.waits.oldest_seconds", ("workflow",), "How long the oldest of them has been in this triggerer."
)
REDIS_LOST = Metric(
    "counter", "batchy.waits.redis_lost", (), "The waits of a triggerer lost the connection to Redis, and reconnect."
)
EXECUTED = Metric(
    "counter",
    "batchy.execution.ended",
    _EXECUTION,
    "A script has ended: `success`, `failed`, `skipped`, or `error` (it could not run, or its result was not stored).",
)
EXECUTION_TIME = Metric("timer", "batchy.execution.duration", _EXECUTION, "How long the script ran.")
OUTPUT = Metric("counter", "batchy.execution.output_bytes", ("workflow", "job"), "Bytes of the outputs of scripts.")
PROGRESS = Metric("gauge", "batchy.execution.progress", ("workflow", "job"), "Progress that a script reports, 0 to 1.")
CHANGED = Metric(
    "counter",
    "batchy.changes",
    ("workflow", "action", "source"),
    "A person has changed something by page, REST, or a command line with `--connection`: `open`, `close`, `fail`, "
    "`set_window`, `enable`, `disable`, `load`, `remove`, `rename`, `export`, `import`, `fill`.",
)

MISS_PROBABILITY = Metric(
    "gauge",
    "batchy.deadline.miss_probability",
    ("workflow",),
    "Probability that the nearest deadline with `warn` is missed, 0 to 1. No value where it is not known.",
)
EXPECTED_END = Metric(
    "gauge", "batchy.deadline.expected_end", ("workflow",), "When the run of that deadline probably ends, Unix seconds."
)
WARNED = Metric(
    "counter",
    "batchy.warnings.delivered",
    ("workflow", "kind", "state"),
    "A warning was delivered: `danger` or `over`; `success`, or `failed` where a notifier has failed.",
)

METRICS = (
    OPENED,
    WINDOW,
    CLOSED,
    DURATION,
    RETRIED,
    WAITED,
    WAIT_TIME,
    WAITS,
    OLDEST_WAIT,
    REDIS_LOST,
    EXECUTED,
    EXECUTION_TIME,
    OUTPUT,
    PROGRESS,
    CHANGED,
    MISS_PROBABILITY,
    EXPECTED_END,
    WARNED,
)

_REASON_TAGS = {
    Reason.NEXT_WINDOW: "next",
    Reason.NEXT_SLICE: "next",
    Reason.RERUN: "again",
    Reason.RERUN_HISTORY: "again",
    Reason.BACKFILL: "backfill",
    Reason.ONE_OFF: "asked",
    Reason.REQUESTED: "asked",
}
"""Reason for the window of a batch → value of the tag `reason`."""


def opened(batch: Batch, attempt: int = 1) -> None:
    """Report that a run has opened a batch. A batch that was already open is only counted as retried."""
    retried(batch.workflow, "open", attempt)
    if batch.reused or _stats() is None:
        return
    emit(OPENED, 1, workflow=batch.workflow, kind=batch.kind, reason=_reason(batch))
    if batch.from_date and batch.to_date:
        emit(WINDOW, _seconds(batch.from_date, batch.to_date), workflow=batch.workflow, kind=batch.kind)


def closed(batch: Batch, attempt: int = 1) -> None:
    """Report that a run has closed a batch."""
    retried(batch.workflow, "close", attempt)
    if _stats() is None:
        return
    tags = {"workflow": batch.workflow, "kind": batch.kind, "status": batch.status}
    emit(CLOSED, 1, **tags)
    if batch.started and batch.batch_end:
        emit(DURATION, _seconds(batch.started, batch.batch_end), **tags)


def retried(workflow: str, step: str, attempt: int) -> None:
    """Report that a step runs at its second try, or a later one.

    :param step: ``open`` or ``close``.
    :param attempt: Airflow's number of the try; 1 is the first.
    """
    if attempt > 1:
        emit(RETRIED, 1, workflow=workflow, step=step)


def waited(workflows: str | list[str], state: str, seconds: float) -> None:
    """Report that a wait has ended.

    :param state: ``done`` or ``failed``.
    :param seconds: how long it took.
    """
    for workflow in [workflows] if isinstance(workflows, str) else workflows:
        emit(WAITED, 1, workflow=workflow, state=state)
        emit(WAIT_TIME, max(0.0, seconds), workflow=workflow, state=state)


class WaitGauges:
    """The gauges of running waits. A workflow that no wait needs any more is reported once more, as 0."""

    def __init__(self) -> None:
        self._reported: set[str] = set()

    def report(self, begun: Mapping[str, Sequence[float]]) -> None:
        """Report how many waits run, and how old the oldest is.

        :param begun: workflow → when each wait for it began, in seconds of the monotonic clock.
        """
        if _stats() is None:
            return
        now = time.monotonic()
        for workflow in self._reported | begun.keys():
            since = begun.get(workflow, ())
            emit(WAITS, len(since), workflow=workflow)
            emit(OLDEST_WAIT, now - min(since, default=now), workflow=workflow)
        self._reported = set(begun)


def evaluated(workflow: str, outlooks: Sequence[Outlook]) -> None:
    """Report the outlook of the nearest deadline of a workflow."""
    from batchy_provider.core.dates import unix_seconds

    known = [each for each in outlooks if each.chance is not None]
    if not known:
        return
    first = min(known, key=lambda each: each.deadline)
    emit(MISS_PROBABILITY, first.chance or 0.0, workflow=workflow)
    if first.expected_end is not None:
        emit(EXPECTED_END, unix_seconds(first.expected_end), workflow=workflow)


def warned(workflow: str, kind: str, state: str) -> None:
    """Report that the message of a warning was delivered, or was not.

    :param kind: ``danger`` or ``over``.
    :param state: ``success`` or ``failed``.
    """
    emit(WARNED, 1, workflow=workflow, kind=kind, state=state)


def changed(entry: Audit) -> None:
    """Report a change that a person has made."""
    emit(CHANGED, 1, workflow=entry.workflow, action=entry.action, source=entry.actor.source or "other")


def emit(metric: Metric, value: float, **tags: str) -> None:
    """Send a value. An error of the metrics backend goes to the debug log only.

    :param value: of a counter how much to add, of a gauge the new value, of a timer seconds.
    """
    stats = _stats()
    if stats is None:
        return
    try:
        _send(stats, metric.kind, metric.name, value, tags)
        if tags and _without_tags():
            _send(stats, metric.kind, dotted_name(metric, tags), value, None)
    except Exception as error:
        log.debug("The metric %s was not sent: %s", metric.name, error)


def dotted_name(metric: Metric, tags: Mapping[str, str]) -> str:
    """Return the name of a metric with the values of its tags in it, for plain StatsD."""
    return ".".join([metric.name, *(tags[tag].replace(".", "__") for tag in metric.tags)])


def _send(stats: Any, kind: str, name: str, value: float, tags: dict[str, str] | None) -> None:
    if kind == "counter":
        stats.incr(name, round(value), tags=tags)
    elif kind == "gauge":
        stats.gauge(name, value, tags=tags)
    else:
        stats.timing(name, timedelta(seconds=value), tags=tags)


@cache
def _stats() -> Any:
    """Return Airflow's `Stats`; None if metrics are off or cannot be loaded."""
    try:
        from airflow.providers.common.compat.sdk import conf

        backends = ("statsd_on", "otel_on", "statsd_datadog_enabled")
        if not any(conf.getboolean("metrics", name, fallback=False) for name in backends):
            return None
        from batchy_provider.compat import airflow_stats

        return airflow_stats()
    except Exception as error:
        log.warning("Batchy sends no metrics: %s", error)
        return None


@cache
def _without_tags() -> bool:
    """Tell whether the backend is plain StatsD, which has no tags."""
    from airflow.providers.common.compat.sdk import conf

    def is_on(name: str) -> bool:
        return bool(conf.getboolean("metrics", name, fallback=False))

    # In Airflow's own order: Datadog comes first, and InfluxDB's form of StatsD has tags.
    return not is_on("statsd_datadog_enabled") and is_on("statsd_on") and not is_on("statsd_influxdb_enabled")


def _reason(batch: Batch) -> str:
    record = batch.record
    if record is None or record.reason_code is None:
        return "other"
    return "taken_over" if record.taken_over else _REASON_TAGS[Reason(record.reason_code)]


def _seconds(begin: str, end: str) -> float:
    from batchy_provider.core.dates import parse_date

    return float((parse_date(end) - parse_date(begin)).total_seconds())
