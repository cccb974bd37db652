# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Report events as metrics through Airflow's ``Stats``: StatsD, Datadog or OpenTelemetry, as ``[metrics]`` says.

Each metric carries tags. Plain StatsD knows none and Airflow drops them, so there each is sent once more under a name
that holds their values, as Airflow does: ``batchy.batch.opened.sales.live.next``, a dot in a value written ``__``.

Nothing here may fail a task, or cost it anything where metrics are off. No tag holds a batch id: each would be a
series of its own for ever.
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
    from batchy_provider.services.answers import Audit

log = logging.getLogger(__name__)


class Metric(NamedTuple):
    """One metric.

    :param tags: their names, in the order in which their values stand in a dotted name.
    :param help: what it says, for the documentation.
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
    "`open` or `close` ran at its second try or a later one: after a fault, or since it was cleared.",
)
WAITED = Metric(
    "counter", "batchy.wait.ended", ("workflow", "state"), "A wait for a workflow is over: `done` or `failed`."
)
WAIT_TIME = Metric("timer", "batchy.wait.duration", ("workflow", "state"), "How long that wait was.")
WAITS = Metric("gauge", "batchy.waits.running", ("workflow",), "Waits in this triggerer, by what is waited for.")
OLDEST_WAIT = Metric(
    "gauge", "batchy.waits.oldest_seconds", ("workflow",), "The longest of them, since this triggerer has it."
)
REDIS_LOST = Metric(
    "counter", "batchy.waits.redis_lost", (), "The waits of a triggerer have lost their Redis, and try again."
)
EXECUTED = Metric(
    "counter",
    "batchy.execution.ended",
    _EXECUTION,
    "A script has ended: `success`, `failed`, `skipped`, or `error` (it could not be run, or its result not be kept).",
)
EXECUTION_TIME = Metric("timer", "batchy.execution.duration", _EXECUTION, "How long the script ran.")
OUTPUT = Metric("counter", "batchy.execution.output_bytes", ("workflow", "job"), "Bytes of the outputs of scripts.")
PROGRESS = Metric("gauge", "batchy.execution.progress", ("workflow", "job"), "What a script told of itself, 0 to 1.")
CHANGED = Metric(
    "counter",
    "batchy.changes",
    ("workflow", "action", "source"),
    "A person has changed something by page, REST, or a command line with `--connection`: `open`, `close`, `fail`, "
    "`set_window`, `enable`, `disable`, `load`.",
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
)

_REASONS = {
    Reason.NEXT_WINDOW: "next",
    Reason.RERUN: "again",
    Reason.RERUN_HISTORY: "again",
    Reason.BACKFILL: "backfill",
    Reason.ONE_OFF: "asked",
    Reason.REQUESTED: "asked",
}
"""Code of a batch's window → tag of the metric."""


def opened(batch: Batch, attempt: int = 1) -> None:
    """Tell of a batch that a run has opened; not of one that it only found open."""
    retried(batch.workflow, "open", attempt)
    if batch.reused or _stats() is None:
        return
    emit(OPENED, 1, workflow=batch.workflow, kind=batch.kind, reason=_reason(batch))
    if batch.from_date and batch.to_date:
        emit(WINDOW, _seconds(batch.from_date, batch.to_date), workflow=batch.workflow, kind=batch.kind)


def closed(batch: Batch, attempt: int = 1) -> None:
    """Tell of a batch that a run has closed."""
    retried(batch.workflow, "close", attempt)
    if _stats() is None:
        return
    tags = {"workflow": batch.workflow, "kind": batch.kind, "status": batch.status}
    emit(CLOSED, 1, **tags)
    if batch.started and batch.batch_end:
        emit(DURATION, _seconds(batch.started, batch.batch_end), **tags)


def retried(workflow: str, step: str, attempt: int) -> None:
    """Tell that a step is at its second try, or a later one."""
    if attempt > 1:
        emit(RETRIED, 1, workflow=workflow, step=step)


def waited(workflows: str | list[str], state: str, seconds: float) -> None:
    """Tell of a wait that is over."""
    for workflow in [workflows] if isinstance(workflows, str) else workflows:
        emit(WAITED, 1, workflow=workflow, state=state)
        emit(WAIT_TIME, max(0.0, seconds), workflow=workflow, state=state)


class WaitGauges:
    """The gauges of waits; one that nobody waits for any more is told once more, as 0."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def report(self, begun: Mapping[str, Sequence[float]]) -> None:
        """
        Tell how it stands.

        :param begun: workflow → when each wait for it began, by the monotonic clock.
        """
        if _stats() is None:
            return
        now = time.monotonic()
        for workflow in self._told | begun.keys():
            since = begun.get(workflow, ())
            emit(WAITS, len(since), workflow=workflow)
            emit(OLDEST_WAIT, now - min(since, default=now), workflow=workflow)
        self._told = set(begun)


def changed(entry: Audit) -> None:
    """Tell of a change that a person has made."""
    emit(CHANGED, 1, workflow=entry.workflow, action=entry.action, source=entry.actor.source or "other")


def emit(metric: Metric, value: float, **tags: str) -> None:
    """Send a value: how many more, the new one, or seconds; a fault of the metrics is nobody's fault."""
    stats = _stats()
    if stats is None:
        return
    try:
        _send(stats, metric.kind, metric.name, value, tags)
        if tags and _without_tags():
            _send(stats, metric.kind, dotted(metric, tags), value, None)
    except Exception as error:
        log.debug("%s is not told: %s", metric.name, error)


def dotted(metric: Metric, tags: Mapping[str, str]) -> str:
    """Return the name with the values of the tags in it."""
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
    """Return Airflow's `Stats`, or None where metrics are off, or cannot be had."""
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
    """Tell whether it is plain StatsD that takes them."""
    from airflow.providers.common.compat.sdk import conf

    def is_on(name: str) -> bool:
        return bool(conf.getboolean("metrics", name, fallback=False))

    # In the order in which Airflow looks.
    return not is_on("statsd_datadog_enabled") and is_on("statsd_on") and not is_on("statsd_influxdb_enabled")


def _reason(batch: Batch) -> str:
    record = batch.record
    if record is None or record.reason_code is None:
        return "other"
    return "taken_over" if record.taken_over else _REASONS[Reason(record.reason_code)]


def _seconds(begin: str, end: str) -> float:
    from batchy_provider.core.dates import parse_date

    return float((parse_date(end) - parse_date(begin)).total_seconds())
