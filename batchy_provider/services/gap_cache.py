# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Find what workflows lack, and keep it in a long-running process: read only the ledgers that have changed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from batchy_provider.core.dates import format_date
from batchy_provider.core.missing_data import gaps_of, merged_gaps
from batchy_provider.core.snapshot import Snapshot
from batchy_provider.core.workflow_state import UnreadableWorkflow
from batchy_provider.state.ledger_scan import scan_ledgers
from batchy_provider.state.log_throttle import LogThrottle

if TYPE_CHECKING:
    from batchy_provider.state.backend import Backend
    from batchy_provider.state.state_cache import StateCache

_unforeseen = LogThrottle(logging.getLogger(__name__))


@dataclass(frozen=True, slots=True, kw_only=True)
class GapView:
    """Data that a job has not loaded: from `from_date` (inclusive) to `to_date` (exclusive), UTC, ISO 8601."""

    workflow: str
    job: str
    from_date: str
    to_date: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowGap:
    """Data that some jobs of a workflow lack: from `from_date` (inclusive) to `to_date` (exclusive), UTC, ISO 8601.

    :param jobs: the jobs that lack it, or a part of it.
    :param disabled: these jobs are disabled, so no run loads the data.
    """

    workflow: str
    from_date: str
    to_date: str
    jobs: list[str]
    disabled: bool = False


@dataclass(frozen=True, slots=True)
class GapTotal:
    """How much the enabled jobs of one workflow lack: the number of its gaps, and their length together."""

    count: int
    length: timedelta


@dataclass(frozen=True, slots=True)
class WorkflowGaps:
    """What one workflow lacks.

    :param views: by job and time.
    :param merged: those of its jobs merged where they touch, of enabled jobs first.
    """

    views: tuple[GapView, ...]
    merged: tuple[WorkflowGap, ...]
    total: GapTotal

    @classmethod
    def of(cls, state: Snapshot) -> WorkflowGaps:
        """Find the gaps in the ledger of a workflow."""
        name = state.workflow
        views = [
            GapView(workflow=name, job=gap.job, from_date=gap.from_date, to_date=gap.to_date) for gap in gaps_of(state)
        ]
        if not views:
            return cls((), (), GapTotal(0, timedelta()))
        enabled, off = merged_gaps(state), merged_gaps(state, disabled=True)
        merged = [
            WorkflowGap(
                workflow=name,
                from_date=format_date(gap.interval.start),
                to_date=format_date(gap.interval.end),
                jobs=list(gap.jobs),
                disabled=disabled,
            )
            for disabled, found in ((False, enabled), (True, off))
            for gap in found
        ]
        length = sum((gap.interval.end - gap.interval.start for gap in enabled), timedelta())
        return cls(tuple(views), tuple(merged), GapTotal(len(enabled), length))


@dataclass(slots=True)
class FoundGaps:
    """The gaps of many workflows.

    :param workflows: workflow → its gaps. Those without a ledger are not among them.
    :param unreadable: the workflows that cannot be read.
    """

    workflows: dict[str, WorkflowGaps]
    unreadable: list[UnreadableWorkflow]

    @classmethod
    def of(cls, states: Iterable[Snapshot | UnreadableWorkflow]) -> FoundGaps:
        """Find the gaps of each workflow. An error in one affects no other."""
        found = cls({}, [])
        for state in states:
            if isinstance(state, UnreadableWorkflow):
                found.unreadable.append(state)
                continue
            try:
                found.workflows[state.workflow] = WorkflowGaps.of(state)
            except Exception as error:
                _unforeseen.warning(state.workflow, "%s: its gaps cannot be found", state.workflow, exc_info=error)
                found.unreadable.append(UnreadableWorkflow(state.workflow, f"{type(error).__name__}: {error}"))
        return found


class GapCache:
    """Return the gaps of workflows, as new as if their ledgers were read from Redis now.

    Safe to share between threads.

    :param states: returns what learns from Redis which workflows have changed; None: everything is read each time.
    """

    def __init__(self, states: Callable[[], StateCache] | None = None) -> None:
        self._states = states
        self._lock = threading.Lock()
        self._known: dict[str, tuple[int, WorkflowGaps | None]] = {}  # with the version of the state

    def read(self, backend: Backend, names: Collection[str]) -> FoundGaps:
        """Return the gaps of some workflows. Those that have no ledger yet are left out."""
        states = self._states() if self._states is not None else None
        versions = states.versions(names) if states is not None else None
        if states is None or versions is None:
            return FoundGaps.of(scan_ledgers(backend, names, with_history=False))
        with self._lock:
            known = {name: self._known[name][1] for name in names if self._known.get(name, (0,))[0] == versions[name]}
        new = [name for name in names if name not in known]
        found = FoundGaps.of(scan_ledgers(backend, new, with_history=False, ask=states.ask))
        failed = {each.workflow for each in found.unreadable}  # an error may pass without a change
        with self._lock:
            # A change since the versions were asked makes newer ones, so what was read then is read again.
            self._known |= {name: (versions[name], found.workflows.get(name)) for name in new if name not in failed}
            for name in failed:
                self._known.pop(name, None)
        found.workflows |= {name: gaps for name, gaps in known.items() if gaps is not None}
        return found

    def keep(self, names: Collection[str]) -> None:
        """Forget workflows that are gone."""
        with self._lock:
            if len(self._known) > 2 * len(names):
                self._known = {name: known for name, known in self._known.items() if name in names}
