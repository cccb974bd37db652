# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The values of a fill: what to load, the runs that Airflow has, and the runs that load it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from batchy_provider.core.intervals import Interval
    from batchy_provider.core.values import Actor

RUN_PREFIX = "batchy_fill__"

DEFAULT_SLICE = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class KnownRun:
    """A run that loads a window of its own.

    :param state: as Airflow has it; ``queued`` and ``running`` have not ended.
    :param window: what its conf asks for; None if the conf has no window that can be read.
    """

    run_id: str
    state: str
    window: Interval | None

    @property
    def is_active(self) -> bool:
        """Tell whether it has not ended."""
        return self.state in ("queued", "running")


class DagRuns(Protocol):
    """What this service needs of Airflow."""

    def is_paused(self, workflow: str) -> bool | None:
        """Tell whether the DAG of a workflow is paused; None if Airflow has no such DAG."""

    def with_windows(self, workflow: str) -> list[KnownRun]:
        """Return the runs whose id begins with `RUN_PREFIX`, and all runs that have not ended and have a window."""

    def create(self, workflow: str, run_id: str, conf: Mapping[str, object], actor: Actor) -> bool:
        """Queue a run; return False if there is a run with this id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FillRun:
    """A slice, from `from_date` (inclusive) to `to_date` (exclusive), and the run that loads it.

    :param run_id: None in a dry run.
    """

    from_date: str
    to_date: str
    run_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FillNote:
    """Something that the caller should know, with a code for programs."""

    code: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """The runs that load what was asked for, oldest slice first.

    :param created: ids of the runs that did not exist before.
    """

    workflow: str
    runs: list[FillRun] = field(default_factory=list)
    created: list[str] = field(default_factory=list)
    notes: list[FillNote] = field(default_factory=list)

    def note(self, code: str, text: str) -> None:
        """Add a note."""
        self.notes.append(FillNote(code=code, text=text))


@dataclass(frozen=True, slots=True, kw_only=True)
class FillRequest:
    """What to load.

    :param from_date: UTC, ISO 8601, inclusive; None for the gaps.
    :param to_date: UTC, ISO 8601, exclusive; None for the watermark.
    :param every: length of a slice. Whole days are days of the workflow's timezone.
    :param at_most: how many slices, oldest first; None for all.
    :param ignore_hold: the runs open their batches even if the workflow is on hold.
    """

    from_date: object = None
    to_date: object = None
    every: timedelta = DEFAULT_SLICE
    at_most: int | None = None
    dry_run: bool = False
    ignore_hold: bool = False
