# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Read the batches of all workflows in one Redis: the questions that a store answers.

What belongs together is read in one transaction, so an answer never mixes two states.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from batchy_provider.core.presenters import stored_batch, unknown_workflow
from batchy_provider.core.snapshot import Snapshot, StoredBatch
from batchy_provider.core.unfinished_rename import check_finished
from batchy_provider.core.values import Batch, JobDuration
from batchy_provider.core.workflow_state import UnreadableWorkflow, WorkflowState
from batchy_provider.exceptions import UnknownBatchError
from batchy_provider.state import codec
from batchy_provider.state.backend import Backend
from batchy_provider.state.duration_lists import load_durations
from batchy_provider.state.keys import Keys
from batchy_provider.state.layout import last_success_command, load_rename, present, read_batches, read_state
from batchy_provider.state.ledger_scan import scan_with_ledgers
from batchy_provider.state.past_runs import PastRuns, read_past, with_past_runs
from batchy_provider.state.protocol import Command, as_hash
from batchy_provider.state.scan import candidates, history_only, overview, scan, scan_each
from batchy_provider.state.session import Session
from batchy_provider.state.stored_values import check_jobs, load_id, load_progress
from batchy_provider.state.wait_queries import ask
from batchy_provider.state.warning_changes import readable_warnings
from batchy_provider.state.warning_codec import WARNINGS

if TYPE_CHECKING:
    from batchy_provider.core.waits import Verdict, Wait


class StoreReader:
    """The current state of workflows, their history, waits and progress."""

    backend: Backend

    def status(self, workflow: str) -> WorkflowState:
        """Return the current state of a workflow.

        :raises UnknownWorkflowError: if Redis does not know it.
        """
        keys = self.backend.keys(workflow)

        def work(session: Session) -> tuple[WorkflowState, Sequence[Command]]:
            state, now = read_state(session, keys, watch=False)
            if not state.jobs:
                raise unknown_workflow(workflow)
            (changes, warnings), progress, succeeded = session.ask(
                ("HMGET", keys.meta, codec.CHANGES, WARNINGS),
                ("HGETALL", keys.progress),
                last_success_command(keys, state),
            )
            known = codec.load_changes(keys.meta, changes)
            # Who looks at one workflow, to set its window, is shown a wrong start or end of it as it is.
            found = present(keys, state, as_hash(progress), succeeded, now, known, parsed=("batch_end",))
            return replace(found, warnings=readable_warnings(keys, warnings)), ()

        return self.backend.transact(keys, work)

    def check(self, wait: Wait) -> Verdict:
        """Return the current state of a wait. Call it again until the verdict is over.

        :raises StateError: if Redis holds a value that cannot be read.
        """
        return ask(self.backend, wait)

    def workflows(self) -> list[str]:
        """Return the names of all workflows in this Redis, readable or not, those of the original server included."""
        return [state.workflow for state in self.scan()]

    def overview(self, names: Collection[str] | None = None) -> list[WorkflowState]:
        """Return the readable workflows with their state, sorted by name; see `scan.scan`."""
        return overview(self.backend, names)

    def scan(self, names: Collection[str] | None = None) -> list[WorkflowState | UnreadableWorkflow]:
        """Return workflows with their state, sorted by name, and those that cannot be read; see `scan.scan`."""
        return scan(self.backend, names)

    def scan_each(self, names: Collection[str] | None = None) -> Iterator[WorkflowState | UnreadableWorkflow]:
        """Yield what `scan` returns, a thousand workflows at a time: the first ones before the last ones are read."""
        return scan_each(self.backend, names)

    def scan_with_ledgers(
        self, names: Collection[str]
    ) -> Iterator[tuple[list[WorkflowState | UnreadableWorkflow], list[Snapshot]]]:
        """Yield what `scan` returns, and the workflows with a ledger; see `ledger_scan.scan_with_ledgers`."""
        return scan_with_ledgers(self.backend, names)

    def candidates(self) -> set[str]:
        """Return the names of all hashes that may be workflows, and those of `history_only`; see `scan.candidates`."""
        return candidates(self.backend)

    def history_only(self) -> set[str]:
        """Return the workflows that have batches, but no live state; see `scan.history_only`."""
        return history_only(self.backend)

    def batch(self, workflow: str, batch_id: int) -> Batch:
        """Return one batch.

        :raises UnknownBatchError: if there is none of that id.
        """
        found = self._stored(workflow, lambda session, keys: read_batches(session, keys, [batch_id]))
        if not found or not found[0].jobs:
            raise UnknownBatchError(f"{workflow}: there is no batch {batch_id}; it may have been pruned")
        return stored_batch(workflow, found[0])

    def batch_of_run(self, workflow: str, *runs: str) -> Batch | None:
        """Return the batch that a run opened last; None if it opened none.

        :param runs: keys of the run, see `core.holders.run_keys`; the first one that is known counts.
        """

        def find(session: Session, keys: Keys) -> list[StoredBatch]:
            (ids,) = session.ask(("HMGET", keys.runs, *runs))
            return _first_known(session, keys, ids)

        found = self._stored(workflow, find)
        return stored_batch(workflow, found[0]) if found and found[0].jobs else None

    def batch_and_disabled(self, workflow: str, *runs: str) -> tuple[Batch | None, frozenset[str]]:
        """Return what `batch_of_run` returns, and the jobs that are switched off now: what a job asks when it starts.

        :raises UnfinishedRenameError: if a rename of the workflow was interrupted.
        """
        keys = self.backend.keys(workflow)
        meta: list[str | None] = []

        def find(session: Session, keys: Keys) -> list[StoredBatch]:
            ids, meta[:] = session.ask(("HMGET", keys.runs, *runs), ("HMGET", keys.meta, codec.DISABLED, codec.RENAME))
            return _first_known(session, keys, ids)

        found = self._stored(workflow, find)
        disabled, rename = meta
        check_finished(load_rename(keys, rename), workflow)
        batch = stored_batch(workflow, found[0]) if found and found[0].jobs else None
        return batch, codec.load_disabled(keys.meta, disabled)

    def history(self, workflow: str, *, limit: int = 20, offset: int = 0) -> list[Batch]:
        """Return batches, newest first, backfills included."""

        def find(session: Session, keys: Keys) -> list[StoredBatch]:
            (ids,) = session.ask(("ZREVRANGE", keys.history, offset, offset + limit - 1))
            return read_batches(session, keys, [load_id(keys.history, i) for i in ids])

        return [stored_batch(workflow, found) for found in self._stored(workflow, find) if found.jobs]

    def count(self, workflow: str) -> int:
        """Return how many batches the history has."""
        (number,) = self.backend.ask(workflow, ("ZCARD", self.backend.keys(workflow).history))
        return int(number)

    def _stored(self, workflow: str, find: Callable[[Session, Keys], list[StoredBatch]]) -> list[StoredBatch]:
        keys = self.backend.keys(workflow)
        found = self.backend.transact(keys, lambda session: (find(session, keys), ()))
        for each in found:
            check_jobs(keys.batch(each.batch_id), each.jobs)
        return found

    def batch_ids(self, workflow: str, *, limit: int) -> list[int]:
        """Return the ids of the newest batches, newest first."""
        keys = self.backend.keys(workflow)
        (ids,) = self.backend.ask(workflow, ("ZREVRANGE", keys.history, 0, limit - 1))
        return [load_id(keys.history, each) for each in ids]

    def progress(self, workflow: str) -> dict[str, dict[str, Any]]:
        """Return job → its latest progress; a report that cannot be read is left out."""
        keys = self.backend.keys(workflow)
        (stored,) = self.backend.ask(workflow, ("HGETALL", keys.progress))
        return load_progress(keys.progress, as_hash(stored))[0]

    def durations(self, workflow: str) -> dict[str, list[JobDuration]]:
        """Return job → its latest successful executions, oldest first; a list that cannot be read is left out."""
        return self.durations_of([workflow])[workflow]

    def durations_of(self, workflows: Collection[str]) -> dict[str, dict[str, list[JobDuration]]]:
        """Return workflow → what `durations` returns, in one request to each server."""
        keys = [self.backend.keys(workflow) for workflow in workflows]
        replies = self.backend.pipelined([("HGETALL", each.durations) for each in keys])
        # A key of another program is an error, and counts as no durations.
        return {
            each.workflow: load_durations(each, as_hash(reply)) if isinstance(reply, (list, dict)) else {}
            for each, reply in zip(keys, replies, strict=True)
        }

    def with_past_runs(self, workflows: Collection[str]) -> set[str]:
        """Return those of some workflows of which past runs may be known, in one request to each server."""
        return with_past_runs(self.backend, [self.backend.keys(workflow) for workflow in workflows])

    def past_of(self, workflows: Collection[str]) -> dict[str, PastRuns]:
        """Return workflow → its past runs, of many workflows, in two requests to each server."""
        return read_past(self.backend, [self.backend.keys(workflow) for workflow in workflows])


def _first_known(session: Session, keys: Keys, ids: Sequence[str | None]) -> list[StoredBatch]:
    """Return the batch of the first run key that is known; none if no key is."""
    known = [load_id(keys.runs, each) for each in ids if each is not None]
    return read_batches(session, keys, known[:1])
