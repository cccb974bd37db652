# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The store: open, close, change and read the batches of all workflows in one Redis.

Every change reads what is stored, asks a rule and commits all that the rule wants in one transaction, so a
crash at any point leaves the old state or the new state. Doing a change again after a lost reply is safe.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from batchy_provider.core.admin_actions import load, set_window, skip_job, switch
from batchy_provider.core.closing import close_batch
from batchy_provider.core.holding import renew_lease
from batchy_provider.core.job_state import Fields
from batchy_provider.core.opening import may_be_history, open_batch, opening_wants_ledger
from batchy_provider.core.repeated_requests import already_open, request_key
from batchy_provider.core.shaped_windows import upstream_of
from batchy_provider.core.snapshot import Change, Decision, Snapshot
from batchy_provider.core.values import Actor, Batch, CloseRequest, OpenRequest, WorkflowConfig
from batchy_provider.state.annotating import Annotating
from batchy_provider.state.archive_port import Archive, ArchiveEffect
from batchy_provider.state.backend import Backend
from batchy_provider.state.changes import Rule, make_change
from batchy_provider.state.extent_query import read_extent
from batchy_provider.state.job_outputs import JobOutputs
from batchy_provider.state.processes import sight
from batchy_provider.state.pruning import prune
from batchy_provider.state.store_reader import StoreReader
from batchy_provider.state.tokens import identify

if TYPE_CHECKING:
    from datetime import datetime

    from batchy_provider.state.transaction import Client

T = TypeVar("T")

_FEW_JOBS = 5
"""With fewer jobs, to read the ledger with everything else takes less time than a second request where it is needed."""


class Store(StoreReader, Annotating):
    """The batches of all workflows in one Redis: open, close, ask, and the actions of people.

    Safe to share between threads as far as the client is; it holds no state of its own.

    :param client: a ``redis.Redis`` (standalone or by Sentinel) or ``redis.cluster.RedisCluster``.
    :param archive: the archive of closed batches; None if there is none.
    :param options: further arguments of `Backend`.
    """

    def __init__(self, client: Client, *, archive: Archive | None = None, **options: Any) -> None:
        self.backend = Backend(client, **options)
        self.archive = archive

    # -- changes -----------------------------------------------------------------------------------------

    def open(self, workflow: str, request: OpenRequest, *, actor: Actor | None = None) -> Batch:
        """Open a batch; see `core.opening` for which window it gets.

        The same run, or the same request again, gets the batch that it has opened already.

        :param actor: the person who does it by hand; recorded with the change.
        :raises BatchHeldError: if another run holds the batch open and is not known to be gone, or a program with a
            lease, or a process that is alive on this machine.
        :raises UnknownWorkflowError: if neither Redis nor the request knows any job.
        :raises WorkflowOnHoldError: if a person has put the workflow on hold.
        :raises WindowError: if the window asked for cannot be.
        :raises NothingToLoadError: if there is no new data, and the shape of the workflow's windows skips that.
        :raises LostStateError: if the archive says that Redis has lost something.
        :raises ArchiveUnavailableError: if Redis does not know the workflow and the archive cannot be asked.
        """
        identify(request.holder)
        run = request_key(workflow, request)
        check = None if self.archive is None else self.archive.guard(workflow, self.backend.address)
        few = request.config is not None and len(request.config.jobs) < _FEW_JOBS

        def rule(state: Snapshot, now: datetime) -> Decision[Batch]:
            if check is not None and already_open(state, request) is None:
                check(state)
            # Read before this batch opens: what a workflow has loaded by now stays loaded for it.
            upstream = {name: read_extent(self.backend, name) for name in upstream_of(state, request)}
            asked = replace(request, upstream=upstream) if upstream else request
            return open_batch(state, asked, now, sight(state.holder))

        return self._change(
            workflow,
            rule,
            run=run,
            wants_ledger=None if few else lambda state: opening_wants_ledger(state, request.config),
            earlier_run=request.holder.earlier_run_key(workflow),
            wants_free_id=lambda state: may_be_history(state, request),
            person=None if actor is None else (actor, lambda batch: f"opened batch {batch.batch_id}", request.why),
        )

    def close(
        self, workflow: str, request: CloseRequest, *, actor: Actor | None = None, why: str | None = None
    ) -> Batch:
        """Close a batch as success or failed; once more with the same result changes nothing.

        :param actor: the person who does it by hand; recorded with the change and with `why`.
        :raises NotOpenError: if it is not the open one.
        :raises BatchHeldError: if the request has a closer, which has not opened the open batch.
        """
        done = f"closed as {request.result}"
        return self._change(
            workflow,
            lambda state, now: close_batch(state, request, now, sight(state.holder)),
            batch_id=request.batch_id,
            person=None if actor is None else (actor, lambda batch: f"batch {batch.batch_id} {done}", why),
            effect=ArchiveEffect.CLOSING,
        )

    def renew_lease(self, workflow: str, batch_id: int, seconds: float) -> Batch:
        """Renew the lease on a batch, and return the batch. If it is not open any more, the lease is lost."""
        return self._change(
            workflow, lambda state, now: renew_lease(state, batch_id, seconds, now), batch_id=batch_id, again=False
        )

    def load(self, config: WorkflowConfig, *, by: str | Actor, why: str | None = None) -> dict[str, Fields]:
        """Reset a workflow to its configuration; history stays.

        :returns: job → fields, as they are now.
        """
        person = by.by if isinstance(by, Actor) else by
        return self._change(
            config.name,
            lambda state, now: load(state, config, now, by=person, why=why),
            person=(by, "loaded the configuration, state set back to it", why),
            effect=ArchiveEffect.SUPERSEDES,
        )

    def set_window(
        self, workflow: str, from_date: object, *, jobs: Collection[str] = (), by: str | Actor, why: str | None = None
    ) -> dict[str, Fields]:
        """Let the next window start at `from_date` (UTC), for some jobs or all."""
        what = f"set the next window of {', '.join(jobs) or 'all jobs'} to start at {from_date}"
        return self._change(
            workflow,
            lambda state, now: set_window(state, from_date, jobs, now),
            person=(by, what, why),
            effect=ArchiveEffect.STATE if jobs else ArchiveEffect.SUPERSEDES,
        )

    def disable(self, workflow: str, job: str, *, by: str | Actor, why: str | None = None) -> frozenset[str]:
        """Switch a job off; returns all that are off."""
        return self._change(
            workflow,
            lambda state, now: switch(state, job, now, enabled=False),
            person=(by, f"disabled {job}", why),
            effect=ArchiveEffect.STATE,
        )

    def enable(self, workflow: str, job: str, *, by: str | Actor, why: str | None = None) -> frozenset[str]:
        """Switch a job on again; returns all that are off still."""
        return self._change(
            workflow,
            lambda state, now: switch(state, job, now, enabled=True),
            person=(by, f"enabled {job}", why),
            effect=ArchiveEffect.STATE,
        )

    def record(self, workflow: str, what: str, *, by: Actor, why: str | None = None) -> None:
        """Add an audit entry about something that a person did outside of Redis.

        :param what: what the person did.
        """
        self._change(workflow, lambda state, now: Decision(None, Change()), person=(by, what, why))

    def skip_job(self, workflow: str, batch_id: int, job: str, *, removed: bool = False) -> bool:
        """Take a job out of a batch if it is switched off; its window does not move.

        :param removed: or if it is not, since it is no part of the workflow any more.
        :returns: whether it is out; then it must not run.
        """
        # Each job asks this when it starts: where nothing is changed, no replica needs to be waited for.
        skipped = self._change(
            workflow,
            lambda state, now: skip_job(state, job, now, removed=removed),
            batch_id=batch_id,
            again=False,
        )
        return skipped is not None

    def prune(self, workflow: str, *, keep: int, keep_days: int | None = None) -> int:
        """Remove the history of all but the newest batches; see `pruning.prune`."""
        return prune(self.backend, workflow, keep=keep, keep_days=keep_days)

    def set_progress(self, workflow: str, job: str, report: dict[str, Any]) -> None:
        """Keep the latest progress of a job: ``batch_id``, ``progress`` from 0 to 1, ``message``, ``at``."""
        self.backend.ask(workflow, ("HSET", self.backend.keys(workflow).progress, job, json.dumps(report)))

    def job_outputs(self, workflow: str, batch_id: int) -> JobOutputs:
        """Return what the jobs of a batch have left for later ones."""
        return JobOutputs(self.backend, workflow, batch_id)

    # -- how it is done ----------------------------------------------------------------------------------

    def _change(self, workflow: str, rule: Rule[T], **how: Any) -> T:
        result: T = make_change(self.backend, self.archive, workflow, rule, **how)
        return result
