# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The state of all workflows as metrics, in the text that Prometheus scrapes.

All values come from Redis and the workflow files at each request. Nothing is counted in between, so a restart changes
no value. The labels are the workflow and, for the progress of a script, the job. No label is an id.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from redis.exceptions import RedisError

from batchy_provider.core.dates import BEGINNING, parse_date, unix_seconds
from batchy_provider.exceptions import RedisUnavailableError
from batchy_provider.state.consecutive_failures import consecutive_failures
from batchy_provider.state.log_throttle import LogThrottle

if TYPE_CHECKING:
    from batchy_provider.core.workflow_state import UnreadableWorkflow, WorkflowState
    from batchy_provider.services.answers import WorkflowSummary
    from batchy_provider.services.deadline_metrics import ExpectedEnds
    from batchy_provider.services.gap_cache import GapTotal
    from batchy_provider.services.gaps import GapService
    from batchy_provider.services.workflows import WorkflowService
    from batchy_provider.state.store import Store

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

UNREADABLE = "unreadable"
"""Status of a workflow whose state cannot be read."""

_unforeseen = LogThrottle(logging.getLogger(__name__))

Sample = tuple[dict[str, str], float]


class Gauge(NamedTuple):
    """One metric.

    :param labels: names of the labels.
    """

    name: str
    labels: tuple[str, ...]
    help: str


_WORKFLOW = ("workflow",)

UP = Gauge("batchy_redis_up", (), "1 if Redis answers. If not, 0, and there is no other metric.")
STATUS = Gauge(
    "batchy_workflow_status",
    ("workflow", "status"),
    "1 for the status of the latest batch: new, open, success, failed; unreadable where Redis' state cannot be read.",
)
OPEN = Gauge("batchy_workflow_open_seconds", _WORKFLOW, "How long the open batch has been open.")
SUCCESS = Gauge("batchy_workflow_last_success_timestamp_seconds", _WORKFLOW, "When a batch last succeeded.")
LAG = Gauge("batchy_workflow_lag_seconds", _WORKFLOW, "Age of the watermark: how old the newest loaded data is.")
FAILURES = Gauge("batchy_workflow_failures_in_a_row", _WORKFLOW, "Failed batches since the last success, at most 100.")
LATE = Gauge(
    "batchy_workflow_late_seconds",
    _WORKFLOW,
    "How long ago the deadline of its file was missed. 0 while it can be met; no value after it was met.",
)
GAPS = Gauge(
    "batchy_workflow_gaps",
    _WORKFLOW,
    "How many gaps lie before the watermark: data that an enabled job has not loaded. No value without a ledger.",
)
GAP_SECONDS = Gauge("batchy_workflow_gap_seconds", _WORKFLOW, "Length of these gaps together.")
DEADLINE = Gauge(
    "batchy_workflow_deadline_timestamp_seconds",
    _WORKFLOW,
    "The next deadline: of the run that is due, or else of the next one. No value without a deadline in its file.",
)
MISS_PROBABILITY = Gauge(
    "batchy_workflow_miss_probability",
    _WORKFLOW,
    "Probability that this deadline is missed, 0 to 1. No value where it is not known.",
)
EXPECTED_END = Gauge(
    "batchy_workflow_expected_end_timestamp_seconds",
    _WORKFLOW,
    "When the run of this deadline, or without a deadline the run that is open, probably ends. No value if unknown.",
)
WARNING = Gauge(
    "batchy_workflow_warning", _WORKFLOW, "1 if a warning stands: it will probably miss its deadline. Else 0."
)
JOBS = Gauge("batchy_workflow_jobs", _WORKFLOW, "How many jobs it has.")
DISABLED = Gauge("batchy_workflow_jobs_disabled", _WORKFLOW, "How many of them are switched off.")
ON_HOLD = Gauge("batchy_workflow_on_hold", _WORKFLOW, "1 if a person has put it on hold, else 0.")
ACKNOWLEDGED = Gauge(
    "batchy_workflow_failure_acknowledged",
    _WORKFLOW,
    "1 if a person has acknowledged the failure of the latest batch, else 0. No value unless that batch has failed.",
)
FAULTS = Gauge("batchy_workflow_file_faults", _WORKFLOW, "Errors in its file. With any, Airflow has no new DAG of it.")
WAITS_FOR = Gauge("batchy_workflow_waits_for", _WORKFLOW, "How many workflows it needs the success of.")
PROGRESS = Gauge(
    "batchy_job_progress_ratio", ("workflow", "job"), "Progress that a script of the open batch reported last, 0 to 1."
)

GAUGES = (
    UP,
    STATUS,
    OPEN,
    SUCCESS,
    LAG,
    FAILURES,
    LATE,
    DEADLINE,
    MISS_PROBABILITY,
    EXPECTED_END,
    WARNING,
    GAPS,
    GAP_SECONDS,
    JOBS,
    DISABLED,
    ON_HOLD,
    ACKNOWLEDGED,
    FAULTS,
    WAITS_FOR,
    PROGRESS,
)


class PrometheusMetrics:
    """Show the state of all workflows in Prometheus' text format.

    :param store: returns the state in Redis.
    :param workflows: lists the workflows.
    :param gaps: says how much they lack.
    :param expected_ends: says when their runs end, and whether they meet their deadlines.
    :param keeps_states: the list of workflows is not read from Redis each time, so their ledgers are read without it.
    """

    def __init__(
        self,
        *,
        store: Callable[[], Store],
        workflows: WorkflowService,
        gaps: GapService,
        expected_ends: ExpectedEnds,
        keeps_states: bool = False,
    ) -> None:
        self._store = store
        self._workflows = workflows
        self._gaps = gaps
        self._expected_ends = expected_ends
        self._keeps_states = keeps_states

    def exposition(self, only: Collection[str] | None = None) -> tuple[str, RedisUnavailableError | None]:
        """Return the metrics, and the error if Redis cannot be used.

        :param only: names of the workflows to show; None for all.
        """
        try:
            samples = self._samples(only)
        except RedisUnavailableError as error:
            return _text({UP: [({}, 0.0)]}), error
        except RedisError as error:  # a client of a Cluster asks for its nodes before there is a store
            return _text({UP: [({}, 0.0)]}), RedisUnavailableError(f"Redis cannot be used: {error}")
        return _text({UP: [({}, 1.0)], **samples}), None

    def _samples(self, only: Collection[str] | None) -> dict[Gauge, list[Sample]]:
        summaries, gaps = self._read(only)
        store = self._store()
        unhappy = [each for each in summaries if each.in_redis and each.status in ("failed", "open")]
        asked = [(store.backend.keys(each.workflow), _unix(each.last_success)) for each in unhappy]
        failures = dict(
            zip((each.workflow for each in unhappy), consecutive_failures(store.backend, asked), strict=True)
        )
        found: dict[Gauge, list[Sample]] = {gauge: [] for gauge in GAUGES if gauge is not UP}
        if not summaries:
            return found
        for workflow, total in gaps.items():
            found[GAPS].append(({"workflow": workflow}, total.count))
            found[GAP_SECONDS].append(({"workflow": workflow}, total.length.total_seconds()))
        for name, end in self._expected_ends.of(summaries).items():
            for gauge, number in ((DEADLINE, end.deadline), (MISS_PROBABILITY, end.chance), (EXPECTED_END, end.end)):
                if number is not None:
                    found[gauge].append(({"workflow": name}, number))
        now = store.backend.server_time()
        for each in summaries:
            for gauge, labels, value in _all_of(each, failures.get(each.workflow, 0), now):
                found[gauge].append(({"workflow": each.workflow, **labels}, value))
        return found

    def _read(self, only: Collection[str] | None) -> tuple[list[WorkflowSummary], Mapping[str, GapTotal]]:
        """Return the workflows, and what they lack."""
        if self._keeps_states:
            summaries = self._workflows.summaries(only)
            names = {each.workflow for each in summaries if each.in_redis}
            return summaries, self._gaps.totals(names) if names else {}
        gaps: dict[str, GapTotal] = {}

        def scan(names: Collection[str]) -> list[WorkflowState | UnreadableWorkflow]:
            found: list[WorkflowState | UnreadableWorkflow] = []
            for rows, ledgers in self._store().scan_with_ledgers(names):
                found += rows
                gaps.update(self._gaps.totals_of(ledgers))
            return found

        return self._workflows.summaries(only, scan=scan), gaps


def _all_of(one: WorkflowSummary, failures: int, now: datetime) -> list[tuple[Gauge, dict[str, str], float]]:
    """Return the samples of one workflow. An error in one workflow does not affect other workflows."""
    try:
        if one.unreadable is None:
            return list(_of(one, failures, now))
    except Exception as error:
        _unforeseen.warning(one.workflow, "%s: its metrics cannot be worked out", one.workflow, exc_info=error)
    return [(STATUS, {"status": UNREADABLE}, 1)]


def _of(one: WorkflowSummary, failures: int, now: datetime) -> Iterator[tuple[Gauge, dict[str, str], float]]:
    yield STATUS, {"status": one.status}, 1
    if one.status == "open" and one.started:
        yield OPEN, {}, _age(one.started, now)
    if one.last_success:
        yield SUCCESS, {}, unix_seconds(parse_date(one.last_success))
    watermark = one.to_date if one.status == "success" else one.from_date
    if watermark and parse_date(watermark) != BEGINNING:
        yield LAG, {}, _age(watermark, now)
    if one.in_redis:
        yield FAILURES, {}, failures
    if one.deadline is not None or one.late_seconds is not None:
        yield LATE, {}, one.late_seconds or 0
    yield WARNING, {}, one.warning is not None
    yield JOBS, {}, len(one.jobs)
    yield DISABLED, {}, len(one.disabled)
    yield ON_HOLD, {}, one.hold is not None
    if one.status == "failed":
        yield ACKNOWLEDGED, {}, one.acknowledged is not None
    if one.in_cfg:
        yield FAULTS, {}, one.faults
        yield WAITS_FOR, {}, len(one.waits_for)
    for job, report in one.progress.items():
        if isinstance(share := report.get("progress"), int | float):
            yield PROGRESS, {"job": job}, share


def _age(date: str, now: datetime) -> float:
    return max(0.0, (now - parse_date(date)).total_seconds())


def _unix(date: str | None) -> float | None:
    return None if date is None else unix_seconds(parse_date(date))


def _text(samples: dict[Gauge, list[Sample]]) -> str:
    """Write Prometheus' text format, version 0.0.4. A metric without a value is left out."""
    lines: list[str] = []
    escaped = _Escaped()
    for gauge, values in samples.items():
        if values:
            lines += [f"# HELP {gauge.name} {gauge.help}", f"# TYPE {gauge.name} gauge"]
        for labels, value in values:
            number = int(value) if float(value).is_integer() else round(float(value), 6)
            if not labels:
                lines.append(f"{gauge.name} {number}")
                continue
            inner = ",".join([f'{name}="{escaped[text]}"' for name, text in labels.items()])
            lines.append(f"{gauge.name}{{{inner}}} {number}")
    return "".join([f"{line}\n" for line in lines])


class _Escaped(dict[str, str]):
    """Text → the same as the value of a label; a workflow has a dozen values."""

    def __missing__(self, text: str) -> str:
        self[text] = found = _escaped(text)
        return found


def _escaped(text: str) -> str:
    # A value in Redis may be invalid UTF-8.
    text = text.encode("utf-8", "replace").decode()
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
