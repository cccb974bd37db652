# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Compare a batch with the last good one: durations, output sizes, params and bundles, and what differs first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from batchy_provider.bundles.masking import hide
from batchy_provider.core.batch_differences import (
    Difference,
    JobComparison,
    JobFacts,
    compare_jobs,
    first_difference,
)
from batchy_provider.core.batch_search import outcome_of
from batchy_provider.core.dates import parse_date
from batchy_provider.core.duration_text import format_duration
from batchy_provider.core.job_state import JobState
from batchy_provider.core.typed_data import encodable
from batchy_provider.exceptions import BatchyError, WindowError
from batchy_provider.services.executions import ExecutionView

if TYPE_CHECKING:
    from batchy_provider.bundles.result_store import ResultStore
    from batchy_provider.core.values import Batch
    from batchy_provider.services.batch_reader import BatchReader
    from batchy_provider.state.store import Store

_AT_ONCE = 50
_MOST = 2000
"""The last good batch is looked for among so many older ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedBatch:
    """A batch as a whole, in a comparison. Without seconds, it is open, or they are not known.

    :param window_seconds: length of its window.
    """

    batch_id: int
    kind: str
    status: str
    from_date: str | None
    to_date: str | None
    started: str | None
    seconds: float | None
    window_seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonView:
    """A batch beside another one.

    :param batch: the batch.
    :param other: the other one: the last good one before it, if nobody names one. None if there is none.
    :param previous: id of the batch before it, in the order of opening; None for the first one.
    :param next: id of the batch after it; None for the newest one.
    :param jobs: its jobs, in the order in which they started.
    :param first_job: the job in which the two differ first; None if they do not differ.
    :param text: the same as a sentence.
    """

    workflow: str
    batch: ComparedBatch
    other: ComparedBatch | None
    previous: int | None
    next: int | None
    jobs: list[JobComparison]
    first_job: str | None
    text: str


class ComparisonService:
    """Compare batches.

    :param store: returns the state in Redis.
    :param reader: reads single batches, also from the archive.
    :param results: returns the result store, which knows outputs, bundles, and how long each job took.
    """

    def __init__(self, *, store: Callable[[], Store], reader: BatchReader, results: Callable[[], ResultStore]) -> None:
        self._store = store
        self._reader = reader
        self._results = results

    def compare(self, workflow: str, batch_id: int, other_id: int | None = None) -> ComparisonView:
        """Compare a batch with another one.

        :param other_id: None for the last good batch before it: of a live batch, the last live success. Of a batch that
            only the archive has, none is searched.
        :raises UnknownBatchError: there is no batch of such an id.
        :raises ArchiveError: Redis does not have one of them, and the archive cannot be read.
        """
        batch = self._reader.batch(workflow, batch_id)
        other = self._reader.batch(workflow, other_id) if other_id is not None else self._last_good(batch)
        jobs = [] if other is None else compare_jobs(self._facts(batch), self._facts(other))
        first = first_difference(jobs)
        previous, following = self._neighbours(workflow, batch_id)
        return ComparisonView(
            workflow=workflow,
            batch=_whole(batch),
            other=None if other is None else _whole(other),
            previous=previous,
            next=following,
            jobs=jobs,
            first_job=None if first is None else first.job,
            text=_text(batch, first, other),
        )

    def _last_good(self, batch: Batch) -> Batch | None:
        older = (each for each in self._older(batch) if each.status == "success")
        return next((each for each in older if batch.kind != "live" or each.kind == "live"), None)

    def _older(self, batch: Batch) -> Iterator[Batch]:
        store, backend = self._store(), self._store().backend
        (rank,) = backend.ask(batch.workflow, ("ZREVRANK", backend.keys(batch.workflow).history, batch.batch_id))
        if rank is None:
            return
        for offset in range(int(rank) + 1, int(rank) + 1 + _MOST, _AT_ONCE):
            found = store.history(batch.workflow, limit=_AT_ONCE, offset=offset)
            yield from found
            if not found:
                return

    def _neighbours(self, workflow: str, batch_id: int) -> tuple[int | None, int | None]:
        backend = self._store().backend
        history = backend.keys(workflow).history
        (rank,) = backend.ask(workflow, ("ZREVRANK", history, batch_id))
        if rank is None:
            return None, None
        first = max(0, int(rank) - 1)
        (found,) = backend.ask(workflow, ("ZREVRANGE", history, first, int(rank) + 1))
        ids = [int(each) for each in found]
        at = ids.index(batch_id) if batch_id in ids else 0
        return (ids[at + 1] if at + 1 < len(ids) else None), (ids[at - 1] if at else None)

    def _facts(self, batch: Batch) -> dict[str, JobFacts]:
        """Return job → how it ran, in the order in which the jobs started."""
        executions = self._executions(batch)
        found = {
            name: _job_facts(batch, name, executions.get(name)) for name in batch.jobs if name not in batch.left_out
        }
        return dict(sorted(found.items(), key=lambda item: item[1].started or "9999"))

    def _executions(self, batch: Batch) -> dict[str, ExecutionView]:
        """Return job → its last execution; none where the result store cannot be read."""
        try:
            found = self._results().find(batch.workflow, str(batch.batch_id))
            return {each.job: each for each in map(ExecutionView.of, found)}
        except (BatchyError, OSError):
            return {}


def _job_facts(batch: Batch, job: str, execution: ExecutionView | None) -> JobFacts:
    fields = batch.jobs[job]
    params = encodable(hide(JobState(fields).params))
    if execution is None:
        return JobFacts(outcome=outcome_of(fields), params=params)
    output = execution.contents.get(execution.output)
    return JobFacts(
        outcome=outcome_of(fields),
        exit_code=execution.exit_code,
        started=execution.started,
        seconds=_seconds(execution.started, execution.finished),
        output_bytes=None if output is None else int(output["bytes"]),
        bundle=execution.sha256,
        params=params,
    )


def _whole(batch: Batch) -> ComparedBatch:
    return ComparedBatch(
        batch_id=batch.batch_id,
        kind=batch.kind,
        status=batch.status,
        from_date=batch.from_date,
        to_date=batch.to_date,
        started=batch.started,
        seconds=None if batch.status == "open" else _seconds(batch.started, batch.batch_end),
        window_seconds=_seconds(batch.from_date, batch.to_date),
    )


def _seconds(start: str | None, end: str | None) -> float | None:
    try:
        return None if start is None or end is None else (_moment(end) - _moment(start)).total_seconds()
    except WindowError:
        return None  # another program's


def _moment(text: str) -> datetime:
    return parse_date(text)


def _text(batch: Batch, first: JobComparison | None, other: Batch | None) -> str:
    if other is None and batch.archived:
        return "only the archive has it, so it is compared with no other batch but one that you name"
    if other is None:
        return "there is no earlier batch that succeeded"
    if first is None:
        return f"no difference to batch {other.batch_id}"
    here, there = first.batch or JobFacts(), first.other or JobFacts()
    said = {
        Difference.ONLY_HERE: f"batch {other.batch_id} has no such job",
        Difference.ONLY_THERE: f"only batch {other.batch_id} has this job",
        Difference.BUNDLE: f"its bundle is {(here.bundle or '')[:12]} instead of {(there.bundle or '')[:12]}",
        Difference.PARAMS: f"other params: {', '.join(first.params)}",
        Difference.OUTCOME: f"{here.outcome} instead of {there.outcome}",
        Difference.OUTPUT: f"its output has {here.output_bytes} bytes instead of {there.output_bytes}",
        Difference.DURATION: f"it took {_took(here)} instead of {_took(there)}",
    }
    return f"{first.job} differs first: {'; '.join(said[each] for each in first.differences)}"


def _took(facts: JobFacts) -> str:
    return format_duration(timedelta(seconds=round(facts.seconds or 0)))
