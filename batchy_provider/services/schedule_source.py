# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Find the schedule of a workflow: in its file, or, where there is none, in what Redis remembers of its last load."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING

from batchy_provider.config.diagnostics import did_you_mean
from batchy_provider.config.field_types import in_zone
from batchy_provider.config.file_scan import find_file, find_files
from batchy_provider.config.graph import schedule_text
from batchy_provider.config.reader import InvalidFilesError, Reader
from batchy_provider.config.schedule_model import After, CronSchedule
from batchy_provider.core.dates import to_utc
from batchy_provider.core.names import check_workflow_name
from batchy_provider.core.schedule_words import summary_text
from batchy_provider.core.schedules import Schedule
from batchy_provider.exceptions import UnknownWorkflowError
from batchy_provider.state.ledger_scan import read_ledger

if TYPE_CHECKING:
    from batchy_provider.config.catalog import Catalog
    from batchy_provider.config.model import WorkflowModel
    from batchy_provider.config.workflow import Workflow
    from batchy_provider.core.snapshot import StoredConfig
    from batchy_provider.core.values import WorkflowConfig
    from batchy_provider.services.known_workflows import WorkflowNames
    from batchy_provider.state.store import Store

_TICK = timedelta(microseconds=1)


class NoteCode(str, Enum):
    """What a note about a schedule says."""

    NO_SCHEDULE = "no_schedule"
    """Only people and programs start the workflow."""
    ONCE = "once"
    """``@once``: one run."""
    CONTINUOUS = "continuous"
    """``@continuous``: a run after the other."""
    AFTER = "after"
    """The end of other workflows' batches starts it."""
    SWITCHED_OFF = "switched_off"
    """Its file has ``enabled: false``."""
    PAUSED = "paused"
    """Its DAG is paused."""
    FROM_REDIS = "from_redis"
    """It has no file; this is the schedule that Redis remembers."""
    NOT_BEGUN = "not_begun"
    """Its ``start_date`` is still to come."""
    ENDS = "ends"
    """Its ``end_date`` ends the list."""
    LIST_ENDS = "list_ends"
    """A list goes no further than this."""
    NO_MORE_FIRES = "no_more_fires"
    """The schedule has no later fire."""
    HOLIDAYS_UNKNOWN = "holidays_unknown"
    """The list goes beyond the years whose holidays are known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleNote:
    """Something that a person should know about a schedule, with a code for programs."""

    code: NoteCode
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleSource:
    """The schedule of a workflow, and the dates between which Airflow follows it.

    :param text: when the workflow runs, in a line.
    :param start: nothing is due before it; naive UTC. None without such a date.
    :param end: nothing is due after it; naive UTC. None without such a date.
    """

    workflow: str
    schedule: Schedule
    text: str
    start: datetime | None = None
    end: datetime | None = None
    notes: tuple[ScheduleNote, ...] = ()

    def clipped(self, begin: datetime, end: datetime = datetime.max) -> tuple[datetime, datetime]:
        """Return the part of a span of time (from inclusive, to exclusive) in which runs may be due."""
        first = begin if self.start is None else max(begin, self.start)
        return first, end if self.end is None else min(end, self.end + _TICK)


class SourceReader:
    """Find the schedules of workflows.

    :param store: returns the state in Redis. Only workflows without a file ask it.
    :param catalog: the workflow files.
    :param names: the workflows that Redis knows.
    """

    def __init__(self, *, store: Callable[[], Store], catalog: Catalog, names: WorkflowNames) -> None:
        self._store = store
        self._catalog = catalog
        self._names = names

    def read(self, workflow: str) -> ScheduleSource:
        """Return the schedule of a workflow.

        :raises UnknownWorkflowError: neither a file nor Redis knows it; the message names the nearest.
        :raises InvalidFilesError: its file has errors.
        """
        check_workflow_name(workflow)
        folder = self._catalog.folder
        path = find_file(folder, workflow) if folder.is_dir() else None
        if path is None:
            return self._stored(workflow)
        reader = Reader(folder)
        found, diagnostics = reader.read(path)
        if found is None or diagnostics or reader.defaults_diagnostics:
            raise InvalidFilesError([*diagnostics, *reader.shared_diagnostics])
        return source_of(found)

    def _stored(self, workflow: str) -> ScheduleSource:
        state = read_ledger(self._store().backend, workflow)
        if not state.jobs:
            files = find_files(self._catalog.folder) if self._catalog.folder.is_dir() else ()
            hint = did_you_mean(workflow, {*self._names.all(), *(path.stem for path in files)})
            raise UnknownWorkflowError(f"workflow {workflow!r} is in neither a file nor Redis{hint}")
        schedule = _schedule(state.config)
        if not schedule.known:
            text = f"{workflow} has no file here, and Redis remembers no schedule of it"
            return ScheduleSource(
                workflow=workflow,
                schedule=schedule,
                text="by hand",
                notes=(ScheduleNote(code=NoteCode.NO_SCHEDULE, text=text),),
            )
        text = f"{workflow} has no file here: this is the schedule that Redis remembers"
        return ScheduleSource(
            workflow=workflow,
            schedule=schedule,
            text=f"{summary_text(schedule)}, {schedule.timezone}",
            notes=(ScheduleNote(code=NoteCode.FROM_REDIS, text=text),),
        )


def source_of(workflow: Workflow) -> ScheduleSource:
    """Return the schedule of a valid workflow file."""
    model = workflow.model
    config = workflow.config()
    schedule = _schedule(config)
    if model is None:
        text = f"the file of {workflow.name} has the form of the original Batchy, which has no schedule"
        note = ScheduleNote(code=NoteCode.NO_SCHEDULE, text=text)
        return ScheduleSource(workflow=workflow.name, schedule=schedule, text="by hand", notes=(note,))
    return ScheduleSource(
        workflow=workflow.name,
        schedule=schedule,
        text=schedule_text(model),
        start=_moment(model.start_date, model),
        end=_moment(model.end_date, model),
        notes=tuple(_notes(workflow.name, model)),
    )


def _schedule(config: WorkflowConfig | StoredConfig) -> Schedule:
    # Days of a workflow without a schedule are those of its timezone, too.
    return config.schedule if config.schedule.known else Schedule(timezone=config.timezone)


def _moment(text: str | None, model: WorkflowModel) -> datetime | None:
    return None if text is None else to_utc(in_zone(text, model.timezone))


def _notes(name: str, model: WorkflowModel) -> Iterator[ScheduleNote]:
    if not model.enabled:
        text = f"the file of {name} has enabled: false, so Airflow has no DAG of it, and nothing runs"
        yield ScheduleNote(code=NoteCode.SWITCHED_OFF, text=text)
    match model.schedule:
        case None:
            text = f"{name} has no schedule: only people and programs start it"
            yield ScheduleNote(code=NoteCode.NO_SCHEDULE, text=text)
        case "@once":
            text = f"{name} runs once, when Airflow first sees it (@once)"
            yield ScheduleNote(code=NoteCode.ONCE, text=text)
        case "@continuous":
            text = f"{name} runs all the time: a run starts when the one before has ended (@continuous)"
            yield ScheduleNote(code=NoteCode.CONTINUOUS, text=text)
        case CronSchedule():
            if model.schedule.after:
                text = f"{name} also runs after {' and '.join(model.schedule.after)}: nobody knows these times before"
                yield ScheduleNote(code=NoteCode.AFTER, text=text)
        case After():
            text = f"{name} runs {schedule_text(model)}: nobody knows the time before"
            yield ScheduleNote(code=NoteCode.AFTER, text=text)
