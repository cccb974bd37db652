# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The archived batch: a closed batch with everything that Redis holds of it, stored as ``batches/<id>.json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from batchy_provider.archive.file_version import VERSION, checked
from batchy_provider.core.archiving import ended_batches
from batchy_provider.core.dates import day_of, parse_date
from batchy_provider.core.holders import key_of_record
from batchy_provider.core.job_durations import MAX_DURATIONS
from batchy_provider.core.job_state import JobState, as_fields, job_states
from batchy_provider.core.snapshot import Change, Snapshot, StoredBatch, StoredConfig
from batchy_provider.core.values import BatchRecord, JobDuration
from batchy_provider.exceptions import WindowError
from batchy_provider.state import codec


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedBatch:
    """A closed batch in the archive.

    :param record: the batch's record in ``wf:meta``, as in JSON; None for a batch that the original server opened.
    :param closed: the batch's score in ``wf:closed``, Unix seconds; None for a history batch.
    :param day: the day that the batch loaded, YYYY-MM-DD; None unless it succeeded.
    :param config: the workflow's timezone, order of jobs, disabled jobs and Informatica names at that time.
    :param seconds: job → how long it took, of the jobs of which that is known; None if nothing is known, as in what
        earlier releases wrote: then each job took as long as the batch was open.
    """

    workflow: str
    batch_id: int
    status: str
    jobs: Mapping[str, JobState]
    record: dict[str, Any] | None
    closed: float | None = None
    day: str | None = None
    config: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] | None = None

    @property
    def run(self) -> str | None:
        """The run key of the run that opened the batch, as in ``wf:runs``."""
        run = None if self.record is None else self.record.get("run")
        if self.record is None or run is None:
            return None
        return key_of_record(self.workflow, run, self.record.get("deployment"))

    @property
    def listed(self) -> float:
        """The batch's score in ``wf:history``, which has batches in the order of their opening."""
        listed = None if self.record is None else self.record.get("listed")
        return float(self.batch_id if listed is None else listed)

    @property
    def stored(self) -> StoredBatch:
        """The batch as the rules take it."""
        record = None if self.record is None else codec.read_record(self.record)
        return StoredBatch(self.batch_id, self.jobs, record)

    @property
    def batch_end(self) -> str:
        """When the batch was closed, ISO 8601 UTC; empty if it is open."""
        return batch_end(self.jobs)

    @classmethod
    def of(
        cls,
        workflow: str,
        stored: StoredBatch,
        config: StoredConfig,
        closed: float | None,
        durations: Mapping[str, Sequence[JobDuration]] | None = None,
    ) -> ArchivedBatch:
        """Return a closed batch as Redis holds it.

        :param closed: the batch's score in ``wf:closed``, Unix seconds; None if it has none.
        :param durations: job → its latest executions; None if they are not known.
        """
        return cls(
            workflow=workflow,
            batch_id=stored.batch_id,
            status=stored.status,
            jobs=stored.jobs,
            record=None if stored.record is None else codec.dump_record(stored.record),
            closed=closed,
            day=_day(stored, config) if stored.status == "success" else None,
            config=codec.dump_config(config),
            seconds=None if durations is None else _seconds_in_lists(stored.record, durations),
        )

    def data(self) -> dict[str, Any]:
        """Return the batch as its file holds it. ``kind`` and ``run`` repeat the record, for readers of the file."""
        return {
            "version": VERSION,
            "workflow": self.workflow,
            "batch_id": self.batch_id,
            "status": self.status,
            "kind": "live" if self.record is None else self.record["kind"],
            "run": self.run,
            "day": self.day,
            "closed": self.closed,
            "record": self.record,
            "config": self.config,
            "jobs": as_fields(self.jobs),
            **({} if self.seconds is None else {"seconds": self.seconds}),
        }

    @classmethod
    def read(cls, data: Any, url: str) -> ArchivedBatch:
        """Return the batch that `data` holds.

        :param data: what the method `data` returned.
        :param url: address of the file, for the message.
        :raises ArchiveError: if the file is damaged, or written by a newer package.
        """
        with checked(data, url):
            return cls(
                workflow=data["workflow"],
                batch_id=int(data["batch_id"]),
                status=data["status"],
                jobs=job_states(data["jobs"]),
                record=data["record"],
                closed=data["closed"],
                day=data["day"],
                config=dict(data["config"]),
                seconds=_read_seconds(data.get("seconds")),
            )


def closed_batches(state: Snapshot, change: Change) -> list[ArchivedBatch]:
    """Return the batches that a change closes.

    :param state: the state before the change.
    """
    batches = []
    for batch_id, status in ended_batches(change).items():
        record = change.records.get(batch_id)
        batches.append(
            ArchivedBatch(
                workflow=state.workflow,
                batch_id=batch_id,
                status=status,
                jobs=change.batches[batch_id],
                record=None if record is None else codec.dump_record(record),
                closed=change.closed.get(batch_id),
                day=record.day if record is not None and status == "success" else None,
                config=codec.dump_config(state.config),
                seconds=seconds_in(record, change.durations) if status == "success" else None,
            )
        )
    return batches


def seconds_in(record: BatchRecord | None, durations: Mapping[str, Sequence[JobDuration]]) -> dict[str, float] | None:
    """Return how long the jobs of a batch took, as far as lists of executions have that; None without a record.

    :param record: of the batch. An execution has the start of its batch.
    """
    if record is None:
        return None
    started = parse_date(record.started)
    return {job: each.seconds for job, some in durations.items() for each in some if each.start == started}


def _seconds_in_lists(
    record: BatchRecord | None, durations: Mapping[str, Sequence[JobDuration]]
) -> dict[str, float] | None:
    """Return the same of the lists in Redis; None if a list that is full begins after the batch."""
    found = seconds_in(record, durations)
    if found or record is None:
        return found
    started = parse_date(record.started)
    is_dropped = any(len(some) >= MAX_DURATIONS and some[0].start > started for some in durations.values())
    return None if is_dropped or record.status != "success" else found


def _read_seconds(data: Mapping[str, Any] | None) -> dict[str, float] | None:
    return None if data is None else {job: float(took) for job, took in data.items()}


def batch_end(jobs: Mapping[str, JobState]) -> str:
    """Return when a batch was closed, ISO 8601 UTC; empty if it is open."""
    return max((job.batch_end or "" for job in jobs.values()), default="")


def add_runs_and_days(batches: Sequence[ArchivedBatch], runs: dict[str, int], days: dict[str, int]) -> None:
    """Add the runs and days of some batches.

    :param runs: run key → id of the batch that the run opened. Of several, the newest batch counts.
    :param days: day → id of the batch that loaded it. Of several, the batch that was closed last counts.
    """
    listed = {batch.batch_id: batch.listed for batch in batches}
    for batch in batches:
        known = runs.get(batch.run or "", 0)
        if batch.run is not None and batch.listed >= listed.get(known, known):
            runs[batch.run] = batch.batch_id
    for batch in sorted(batches, key=lambda batch: batch.batch_end):
        if batch.day is not None:
            days[batch.day] = batch.batch_id


def _day(stored: StoredBatch, config: StoredConfig) -> str | None:
    """Return the day that a successful batch loaded. The original server writes no record: its window has the day."""
    if stored.record is not None:
        return stored.record.day
    ends = [end for job in stored.jobs.values() if (end := job.batch_start) is not None]
    try:
        return day_of(parse_date(max(ends)), config.timezone) if ends else None
    except WindowError:
        return None
