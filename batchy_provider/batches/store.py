# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The state of all workflows in one Redis.

Every change reads what is stored, asks a rule and commits all that the rule wants in one transaction, so a
crash at any point leaves the old state or the new state. Doing a change again after a lost reply is safe.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from batchy_provider.batches import rules
from batchy_provider.batches import snapshot as snap
from batchy_provider.batches.dates import format_date, from_unix
from batchy_provider.batches.layout import load_snapshot, read_batches, read_state, write_commands
from batchy_provider.batches.model import (
    Actor,
    Batch,
    CloseRequest,
    Fields,
    OpenRequest,
    PersonalChange,
    WorkflowConfig,
    WorkflowState,
)
from batchy_provider.batches.names import Keys, check_workflow_name, is_workflow_name
from batchy_provider.batches.rules.opening import request_key
from batchy_provider.batches.rules.views import live_batch, stored_batch, unknown_workflow
from batchy_provider.batches.snapshot import Decision, Snapshot, StoredBatch
from batchy_provider.batches.transaction import (
    PATIENCE_SECONDS,
    Command,
    Session,
    as_hash,
    decoded,
    own_errors,
    transact,
)
from batchy_provider.exceptions import StateError, UnknownBatchError

if TYPE_CHECKING:
    from datetime import datetime

    from batchy_provider.batches.transaction import Client

T = TypeVar("T")
Rule = Callable[[Snapshot, "datetime"], Decision[T]]

_SCAN_COUNT = 1000
_KEYS_AT_ONCE = 10_000
_PRUNE_AT_ONCE = 500


class BatchStore:
    """What faces call: `load`, `status`, `open`, `close` and the steering of one Redis.

    Safe to share between threads as far as the client is; it holds no state of its own.

    :param client: a ``redis.Redis`` (standalone or by Sentinel) or ``redis.cluster.RedisCluster``.
    :param cluster: give all keys of a workflow one hash tag; by default, if the client is a cluster's.
    :param patience: seconds for which a lost connection is tried anew before an error.
    """

    def __init__(self, client: Client, *, cluster: bool | None = None, patience: float = PATIENCE_SECONDS) -> None:
        from redis.cluster import RedisCluster

        self.client = client
        self.cluster = isinstance(client, RedisCluster) if cluster is None else cluster
        self.patience = patience

    def keys(self, workflow: str) -> Keys:
        """Return the keys of a workflow.

        :raises InvalidNameError: if the name cannot be one.
        """
        return Keys(check_workflow_name(workflow), self.cluster)

    # -- changes -----------------------------------------------------------------------------------------

    def open(self, workflow: str, request: OpenRequest, *, actor: Actor | None = None) -> Batch:
        """Open a batch; see `rules.opening` for which window it gets.

        The same run, or the same request again, gets the batch that it has opened already.

        :param actor: the person who does it by hand; kept among the changes.
        :raises BatchHeldError: if another run holds the batch open and is not known to be gone.
        :raises UnknownWorkflowError: if neither Redis nor the request knows any job.
        :raises WindowError: if the window asked for cannot be.
        """
        run = request_key(workflow, request)
        return self._change(
            workflow,
            lambda state, now: rules.open_batch(state, request, now),
            run=run,
            person=None if actor is None else (actor, lambda batch: f"opened batch {batch.batch_id}", request.why),
        )

    def close(
        self, workflow: str, request: CloseRequest, *, actor: Actor | None = None, why: str | None = None
    ) -> Batch:
        """Close a batch as success or failed; once more with the same result changes nothing.

        :param actor: the person who does it by hand; kept among the changes, with `why`.
        :raises NotOpenError: if it is not the open one.
        """
        done = f"closed as {request.result}"
        return self._change(
            workflow,
            lambda state, now: rules.close_batch(state, request, now),
            batch_id=request.batch_id,
            person=None if actor is None else (actor, lambda batch: f"batch {batch.batch_id} {done}", why),
        )

    def load(self, config: WorkflowConfig, *, by: str | Actor, why: str | None = None) -> dict[str, Fields]:
        """Set a workflow back to its configuration; history stays.

        :returns: job → fields, as they are now.
        """
        return self._change(
            config.name,
            lambda state, now: rules.load(state, config, now),
            person=(by, "loaded the configuration, state set back to it", why),
        )

    def set_window(
        self, workflow: str, from_date: object, *, jobs: Collection[str] = (), by: str | Actor, why: str | None = None
    ) -> dict[str, Fields]:
        """Let the next window start at `from_date` (UTC), for some jobs or all."""
        what = f"set the next window of {', '.join(jobs) or 'all jobs'} to start at {from_date}"
        return self._change(
            workflow,
            lambda state, now: rules.set_window(state, from_date, jobs, now),
            person=(by, what, why),
        )

    def disable(self, workflow: str, job: str, *, by: str | Actor, why: str | None = None) -> frozenset[str]:
        """Switch a job off; returns all that are off."""
        return self._change(
            workflow,
            lambda state, now: rules.switch(state, job, now, enabled=False),
            person=(by, f"disabled {job}", why),
        )

    def enable(self, workflow: str, job: str, *, by: str | Actor, why: str | None = None) -> frozenset[str]:
        """Switch a job on again; returns all that are off still."""
        return self._change(
            workflow,
            lambda state, now: rules.switch(state, job, now, enabled=True),
            person=(by, f"enabled {job}", why),
        )

    def skip_job(self, workflow: str, batch_id: int, job: str, *, removed: bool = False) -> bool:
        """Take a job out of a batch if it is switched off, so that its window does not move.

        :param removed: or if it is not, since it is no part of the workflow any more.
        :returns: whether it is out; then it must not run.
        """
        skipped = self._change(
            workflow, lambda state, now: rules.skip_job(state, job, now, removed=removed), batch_id=batch_id
        )
        return skipped is not None

    def prune(self, workflow: str, *, keep: int) -> int:
        """Remove the history of all but the newest batches; the latest one and open ones always stay.

        What a day's last success was, and which run opened which batch, is still known afterwards.

        :param keep: how many to keep, at least 1.
        :returns: how many were removed.
        """
        if keep < 1:
            raise ValueError(f"keep must be at least 1, not {keep}")
        keys = self.keys(workflow)
        removed = 0
        while True:
            older = ("ZREVRANGE", keys.history, keep, keep + _PRUNE_AT_ONCE + removed)
            (ids,) = self.ask(workflow, older)
            gone = self._prune_some(workflow, [int(i) for i in ids])
            removed += gone
            if gone < _PRUNE_AT_ONCE:
                return removed

    def _prune_some(self, workflow: str, ids: Sequence[int]) -> int:
        keys = self.keys(workflow)

        def work(session: Session) -> tuple[int, Sequence[Command]]:
            state, _ = read_state(session, keys)
            found = read_batches(session, keys, ids)
            gone = [b for b in found if b.batch_id != state.live_id and not b.is_open][:_PRUNE_AT_ONCE]
            if not gone:
                return 0, ()
            numbers = [b.batch_id for b in gone]
            return len(gone), (
                ("DEL", *(keys.batch(i) for i in numbers)),
                ("HDEL", keys.meta, *(snap.record_field(i) for i in numbers)),
                ("ZREM", keys.history, *numbers),
                ("ZREM", keys.closed, *numbers),
            )

        return self._transact((keys.live,), work)

    # -- questions ---------------------------------------------------------------------------------------

    def status(self, workflow: str) -> WorkflowState:
        """Return a workflow as it stands.

        :raises UnknownWorkflowError: if Redis does not know it.
        """
        keys = self.keys(workflow)

        def work(session: Session) -> tuple[WorkflowState, Sequence[Command]]:
            state, _ = read_state(session, keys, watch=False)
            if not state.jobs:
                raise unknown_workflow(workflow)
            changes, progress, succeeded = session.ask(
                ("HGET", keys.meta, snap.CHANGES), ("HGETALL", keys.progress), _last_success_command(keys, state)
            )
            found = _workflow_state(state, snap.load_changes(keys.meta, changes))
            return _with_facts(found, state, as_hash(progress), succeeded), ()

        return self._transact((keys.live,), work)

    def workflows(self) -> list[str]:
        """Return the names of all workflows in this Redis, those of the original server included."""
        return [state.workflow for state in self.overview()]

    def overview(self, names: Collection[str] | None = None) -> list[WorkflowState]:
        """Return workflows as they stand, by name; hashes of other programs are passed over.

        Takes two round trips for each thousand workflows, and, without `names`, those of `candidates`.

        :param names: which; one that is not in Redis is left out. None for all.
        """
        states: list[WorkflowState] = []
        for some in _chunks(sorted(self.candidates() if names is None else names), _SCAN_COUNT):
            asked = [Keys(name, self.cluster) for name in some]
            commands: list[Command] = []
            for keys in asked:
                commands += [
                    ("HGETALL", keys.live),
                    ("HMGET", keys.meta, *snap.META_FIELDS),
                    ("HGETALL", keys.progress),
                ]
            replies = self._pipelined(commands)
            found: list[tuple[Snapshot, dict[str, str]]] = []
            for keys, live, meta, progress in zip(asked, replies[::3], replies[1::3], replies[2::3], strict=True):
                if isinstance(live, dict) and live and isinstance(meta, list) and isinstance(progress, dict):
                    with contextlib.suppress(StateError):
                        found.append((load_snapshot(keys, live, meta, None), progress))
            succeeded = self._pipelined([_last_success_command(self.keys(s.workflow), s) for s, _ in found])
            for (state, progress), score in zip(found, succeeded, strict=True):
                states.append(_with_facts(_workflow_state(state), state, progress, score))
        return states

    def _pipelined(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands about many workflows in one packet a server; an error is a reply."""
        if not commands:
            return []
        pipe = self.client.pipeline(transaction=False)
        for command in commands:
            pipe.execute_command(*command)
        with own_errors(self.client):
            return [decoded(reply) for reply in pipe.execute(raise_on_error=False)]

    def candidates(self) -> set[str]:
        """Return the names of all hashes that may be workflows; looks at every key of the Redis."""
        with own_errors(self.client):
            return set(self._candidates())

    def _candidates(self) -> Iterator[str]:
        for key in self.client.scan_iter(count=_KEYS_AT_ONCE, _type="HASH"):
            name = decoded(key)
            if self.cluster:
                if not (name.startswith("{") and name.endswith("}")):
                    continue
                name = name[1:-1]
            if is_workflow_name(name):
                yield name

    def batch(self, workflow: str, batch_id: int) -> Batch:
        """Return one batch.

        :raises UnknownBatchError: if there is none of that id.
        """
        found = self._stored(workflow, lambda session, keys: read_batches(session, keys, [batch_id]))
        if not found or not found[0].jobs:
            raise UnknownBatchError(f"{workflow}: there is no batch {batch_id}; it may have been pruned")
        return stored_batch(workflow, found[0])

    def batch_of_run(self, workflow: str, run: str) -> Batch | None:
        """Return the batch that a run opened last; None if it opened none.

        :param run: run key, see `model.run_key`.
        """

        def find(session: Session, keys: Keys) -> list[StoredBatch]:
            (batch_id,) = session.ask(("HGET", keys.runs, run))
            return read_batches(session, keys, [int(batch_id)]) if batch_id else []

        found = self._stored(workflow, find)
        return stored_batch(workflow, found[0]) if found and found[0].jobs else None

    def history(self, workflow: str, *, limit: int = 20, offset: int = 0) -> list[Batch]:
        """Return batches, newest first, backfills included."""

        def find(session: Session, keys: Keys) -> list[StoredBatch]:
            (ids,) = session.ask(("ZREVRANGE", keys.history, offset, offset + limit - 1))
            return read_batches(session, keys, [int(i) for i in ids])

        return [stored_batch(workflow, found) for found in self._stored(workflow, find) if found.jobs]

    def count(self, workflow: str) -> int:
        """Return how many batches the history has."""
        (number,) = self.ask(workflow, ("ZCARD", self.keys(workflow).history))
        return int(number)

    def _stored(self, workflow: str, find: Callable[[Session, Keys], list[StoredBatch]]) -> list[StoredBatch]:
        keys = self.keys(workflow)
        return self._transact((keys.live,), lambda session: (find(session, keys), ()))

    # -- progress ----------------------------------------------------------------------------------------

    def set_progress(self, workflow: str, job: str, report: dict[str, Any]) -> None:
        """Keep the latest progress of a job: ``batch_id``, ``progress`` from 0 to 1, ``message``, ``at``."""
        self.ask(workflow, ("HSET", self.keys(workflow).progress, job, json.dumps(report)))

    def progress(self, workflow: str) -> dict[str, dict[str, Any]]:
        """Return job → its latest progress."""
        (stored,) = self.ask(workflow, ("HGETALL", self.keys(workflow).progress))
        return {job: json.loads(text) for job, text in as_hash(stored).items()}

    # -- how it is done ----------------------------------------------------------------------------------

    def ask(self, workflow: str, *commands: Command) -> list[Any]:
        """Send commands about one workflow in one packet, in no transaction, and return their replies."""
        return self._transact((self.keys(workflow).live,), lambda session: (session.ask(*commands), ()))

    def _transact(self, keys: Sequence[str], work: Callable[[Session], tuple[T, Sequence[Command]]]) -> T:
        return transact(self.client, keys, work, patience=self.patience)

    def _change(
        self,
        workflow: str,
        rule: Rule[T],
        *,
        run: str | None = None,
        batch_id: int | None = None,
        person: tuple[str | Actor, str | Callable[[T], str], str | None] | None = None,
    ) -> T:
        keys = self.keys(workflow)

        def work(session: Session) -> tuple[T, Sequence[Command]]:
            state, now = read_state(session, keys, run=run, batch_id=batch_id)
            decision = rule(state, now)
            if decision.change is None:
                return decision.result, ()
            if person is not None:
                by, what, why = person
                (text,) = session.ask(("HGET", keys.meta, snap.CHANGES))
                actor = by if isinstance(by, Actor) else Actor(by)
                done = what if isinstance(what, str) else what(decision.result)
                made = PersonalChange.of(actor, format_date(now), done, why)
                decision.change.meta[snap.CHANGES] = snap.dump_changes([made, *snap.load_changes(keys.meta, text)])
            return decision.result, write_commands(keys, decision.change)

        watched = (keys.live, keys.meta, keys.history, keys.runs)
        return self._transact(watched, work)


def _workflow_state(state: Snapshot, changes: Sequence[PersonalChange] = ()) -> WorkflowState:
    return WorkflowState(
        workflow=state.workflow,
        jobs=state.jobs,
        batch=live_batch(state) if state.live_id is not None else None,
        holder=state.holder if state.is_open else None,
        disabled=state.disabled | (state.config.disabled & state.jobs.keys()),
        timezone=state.config.timezone,
        infa=state.config.infa,
        changes=changes,
    )


def _last_success_command(keys: Keys, state: Snapshot) -> Command:
    """Ask when the last success was closed, where the live batch is not it."""
    last = state.last_success
    return ("ZSCORE", keys.closed, last.batch_id if last is not None else 0)


def _with_facts(found: WorkflowState, state: Snapshot, progress: Mapping[str, str], succeeded: Any) -> WorkflowState:
    """Add what stands beside the state itself.

    :param succeeded: reply to `_last_success_command`, Unix seconds.
    """
    reports = {}
    for job, text in progress.items():
        with contextlib.suppress(ValueError):
            reports[job] = json.loads(text)
    if found.batch is not None and found.batch.status == "success":
        last = found.batch.batch_end
    else:
        last = None if succeeded is None else format_date(from_unix(*_seconds_and_micros(float(succeeded))))
    return replace(found, progress=reports, last_success=last)


def _seconds_and_micros(moment: float) -> tuple[int, int]:
    return divmod(round(moment * 1_000_000), 1_000_000)


def _chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
