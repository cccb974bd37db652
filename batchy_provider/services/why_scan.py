# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Read from Redis and the workflow files what the question why needs, for many workflows in few round trips."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from batchy_provider.core.dates import day_of, format_date, parse_date, unix_seconds
from batchy_provider.core.opening import open_batch
from batchy_provider.core.snapshot import Snapshot
from batchy_provider.core.upstream import LoadedUntil
from batchy_provider.core.upstream_extent import extent
from batchy_provider.core.values import OpenRequest, WorkflowConfig
from batchy_provider.core.vocabulary import VerdictCode
from batchy_provider.core.waits import Verdict, Wait
from batchy_provider.core.workflow_state import WorkflowState
from batchy_provider.exceptions import BatchyError, NothingToLoadError
from batchy_provider.plan.pending_runs import due_times, is_done
from batchy_provider.plan.why_facts import Dependency, EmptyWindow, Facts, Need, WaitFacts, WorkflowFacts
from batchy_provider.services.workflows import unknown_workflow
from batchy_provider.state.consecutive_failures import consecutive_failures
from batchy_provider.state.ledger_scan import scan_ledgers
from batchy_provider.state.log_throttle import LogThrottle
from batchy_provider.state.processes import sight
from batchy_provider.state.wait_rounds import ask_many

if TYPE_CHECKING:
    from batchy_provider.config.catalog import Catalog
    from batchy_provider.core.holders import HolderState
    from batchy_provider.core.workflow_state import UnreadableWorkflow
    from batchy_provider.services.folder_view import FolderView
    from batchy_provider.services.known_workflows import WorkflowNames
    from batchy_provider.services.states import ScanStates
    from batchy_provider.state.store import Store

_unforeseen = LogThrottle(logging.getLogger(__name__))


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Which workflows need which, by all files.

    :param upstream: workflow → those that it needs.
    """

    upstream: Mapping[str, Collection[str]]

    @classmethod
    def of(cls, facts: Mapping[str, WorkflowFacts]) -> Neighbours:
        """Read them from the files."""
        return cls({name: {need.workflow for need in each.needs} for name, each in facts.items()})

    def above(self, names: Iterable[str]) -> set[str]:
        """Return workflows with all that they need, directly or through others."""
        return _closure(names, self.upstream)

    def below(self, names: Iterable[str]) -> set[str]:
        """Return workflows with all that need them, directly or through others."""
        users: dict[str, set[str]] = {}
        for name, others in self.upstream.items():
            for other in others:
                users.setdefault(other, set()).add(name)
        return _closure(names, users)


def _closure(names: Iterable[str], edges: Mapping[str, Collection[str]]) -> set[str]:
    found = set(names)
    queue = list(found)
    for name in queue:
        new = set(edges.get(name, ())) - found
        found |= new
        queue += new
    return found


def check_known(facts: Facts, workflow: str, catalog: Catalog, names: WorkflowNames) -> None:
    """Require that Redis, a file or the archive knows a workflow.

    :raises UnknownWorkflowError: none of them does.
    """
    found = facts.workflows[workflow]
    if found.file is None and found.state is None and found.lost is None:
        raise unknown_workflow(workflow, catalog, names)


class WhyScan:
    """One reading of what is known of some workflows.

    :param store: the state in Redis.
    :param files: the workflow files.
    :param scan: returns the state of many workflows; None to read it from the store.
    """

    def __init__(self, store: Store, files: FolderView, scan: ScanStates | None = None) -> None:
        self._store = store
        self._folder = files.folder
        self._files = files.facts
        self._scan: ScanStates = scan or store.scan
        self.neighbours = Neighbours.of(self._files)

    @property
    def file_names(self) -> set[str]:
        """The workflows that have a file, valid or not."""
        return set(self._files)

    def read(self, names: Collection[str], *, with_waits: bool = True, with_history: bool = True) -> Facts:
        """Return the facts of some workflows.

        Takes the same number of round trips for one workflow as for a thousand.

        :param with_waits: ask also what the runs that are due wait for, and whether they have something to load.
        :param with_history: read the history of a workflow that has no ledger yet, if its windows have a shape. That
            reads all its batches.
        """
        now = self._store.backend.server_time()
        known = self._with_states(names)
        facts = Facts(now=now, workflows=self._with_failures(known))
        return self._with_waits(facts, with_history) if with_waits else facts

    # -- the state -------------------------------------------------------------------------------------------

    def _with_states(self, names: Collection[str]) -> dict[str, WorkflowFacts]:
        states = {state.workflow: state for state in self._scan(names)}
        return {name: self._with_state(name, states.get(name)) for name in sorted(names)}

    def _with_state(self, name: str, state: WorkflowState | UnreadableWorkflow | None) -> WorkflowFacts:
        return replace(self._files.get(name) or WorkflowFacts(workflow=name), state=state, process=_process(state))

    def _with_failures(self, known: Mapping[str, WorkflowFacts]) -> dict[str, WorkflowFacts]:
        failed = [each for each in known.values() if _has_failed(each)]
        asked = [(self._store.backend.keys(each.workflow), _last_success(each)) for each in failed]
        counts = consecutive_failures(self._store.backend, asked) if asked else []
        counted = {each.workflow: replace(each, failures=n) for each, n in zip(failed, counts, strict=True)}
        return {**known, **counted}

    # -- the waits ---------------------------------------------------------------------------------------------

    def _with_waits(self, facts: Facts, with_history: bool) -> Facts:
        due = {name: each for name, each in facts.workflows.items() if _is_pending(each, facts.now)}
        waits = {name: _waits(each, facts.now) for name, each in due.items()}
        wanted = {wait for each in waits.values() for wait in each}
        verdicts = ask_many(self._store.backend, wanted, facts.now) if wanted else {}
        empty = self._empty_windows(due, facts, with_history)
        found = {
            name: replace(
                each,
                waits=tuple(WaitFacts(wait, _verdict(wait, verdicts[wait])) for wait in waits[name]),
                empty=empty.get(name),
            )
            for name, each in due.items()
        }
        return replace(facts, workflows={**facts.workflows, **found})

    def _empty_windows(
        self, due: Mapping[str, WorkflowFacts], facts: Facts, with_history: bool
    ) -> dict[str, EmptyWindow]:
        """Return the workflows whose windows have a shape that leaves nothing to load now."""
        configs = {name: config for name in due if (config := self._config(name)) is not None and config.window}
        sources = {other for config in configs.values() if config.window for other in config.window.workflows}
        if not configs:
            return {}
        scanned = scan_ledgers(self._store.backend, {*configs, *sources}, with_history=with_history)
        states = {each.workflow: each for each in scanned}
        extents = {name: _extent(states.get(name)) for name in sources}
        found = {}
        for name, config in configs.items():
            unread = {name, *(config.window.workflows if config.window else ())} - states.keys()
            if any(facts.workflows[each].state is not None for each in unread):
                continue  # it has no ledger yet; one that is not in Redis has loaded nothing
            state = states.get(name, Snapshot(workflow=name))
            if (
                isinstance(state, Snapshot)
                and (empty := _nothing(state, config, due[name], extents, facts.now)) is not None
            ):
                found[name] = empty
        return found

    def _config(self, name: str) -> WorkflowConfig | None:
        workflow = self._folder.workflows.get(name)
        return workflow.config() if workflow is not None and workflow.model is not None else None


def _process(state: WorkflowState | UnreadableWorkflow | None) -> HolderState | None:
    holder = state.holder if isinstance(state, WorkflowState) else None
    sighting = None if holder is None else sight(holder)
    return None if sighting is None else sighting.state


def _has_failed(facts: WorkflowFacts) -> bool:
    state = facts.readable
    return state is not None and state.batch is not None and state.batch.status == "failed"


def _last_success(facts: WorkflowFacts) -> float | None:
    state = facts.readable
    if state is None or state.last_success is None:
        return None
    return unix_seconds(parse_date(state.last_success))


def _is_pending(facts: WorkflowFacts, now: datetime) -> bool:
    """Tell whether a run of a workflow is due, and has not opened its batch."""
    state, file = facts.readable, facts.file
    if file is None or file.fault is not None or (facts.state is not None and state is None):
        return False
    if state is not None and state.batch is not None and state.batch.status == "open":
        return False
    due = due_times(facts, now)
    return (due.last is not None or not facts.schedule.known) and not is_done(facts, due)


def _waits(facts: WorkflowFacts, now: datetime) -> list[Wait]:
    due = due_times(facts, now).last or now
    needs = facts.file.needed(Dependency.WAIT_FOR) if facts.file is not None else []
    return [_wait(facts, need, due) for need in needs]


def _wait(facts: WorkflowFacts, need: Need, due: datetime) -> Wait:
    state = facts.readable
    last = state.batch if state is not None else None
    began = last.started if last is not None and last.status == "success" else None
    return Wait(
        workflow=need.workflow,
        jobs=tuple(need.jobs),
        scope=need.scope,
        day=day_of(due, need.timezone),
        timezone=need.timezone,
        due=format_date(due) if need.scope == "due" else None,
        within_seconds=need.within_seconds,
        since=began or (state.last_success if state is not None else None),
        fail_on_failed=need.fail_on_failed,
    )


def _verdict(wait: Wait, found: Verdict | Exception) -> Verdict:
    if isinstance(found, Verdict):
        return found
    text = f"{wait.workflow}: its state cannot be read: {found}"
    return Verdict(state="waiting", text=text, code=VerdictCode.REDIS_UNAVAILABLE)


def _extent(state: Snapshot | UnreadableWorkflow | None) -> LoadedUntil:
    if not isinstance(state, Snapshot):
        why = "is not in Redis: no batch of it was ever opened" if state is None else "has a state that cannot be read"
        return LoadedUntil(None, why=why)
    try:
        return extent(state)
    except BatchyError as error:
        return LoadedUntil(None, why=f"has a state that cannot be read: {error}")


def _nothing(
    state: Snapshot, config: WorkflowConfig, facts: WorkflowFacts, extents: Mapping[str, LoadedUntil], now: datetime
) -> EmptyWindow | None:
    """Ask the rule of opening, without opening anything."""
    due = due_times(facts, now).last
    request = OpenRequest(config=config, due=None if due is None else format_date(due), upstream=extents)
    try:
        open_batch(state, request, now)
    except NothingToLoadError as error:
        return EmptyWindow(code=error.code, text=str(error))
    except BatchyError:
        return None
    except Exception as error:  # an error in one workflow must not hide another
        _unforeseen.warning(state.workflow, "%s: its next window cannot be found", state.workflow, exc_info=error)
    return None
