# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The state of all workflows in one Redis.

Every change reads what is stored, asks a rule and commits all that the rule wants in one transaction, so a
crash at any point leaves the old state or the new state. Doing a change again after a lost reply is safe.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from batchy_provider.batches import rules
from batchy_provider.batches import snapshot as snap
from batchy_provider.batches.archive import Note, noted
from batchy_provider.batches.dates import format_date, from_unix
from batchy_provider.batches.layout import (
    last_success_command,
    present,
    read_batches,
    read_state,
    write_commands,
)
from batchy_provider.batches.model import (
    Actor,
    Batch,
    CloseRequest,
    Fields,
    OpenRequest,
    PersonalChange,
    UnreadableWorkflow,
    WorkflowConfig,
    WorkflowState,
)
from batchy_provider.batches.names import Keys, check_workflow_name
from batchy_provider.batches.overview import candidates, overview, scan
from batchy_provider.batches.pruning import prune
from batchy_provider.batches.rules.opening import already_open, request_key
from batchy_provider.batches.rules.views import stored_batch, unknown_workflow
from batchy_provider.batches.snapshot import Decision, Snapshot, StoredBatch
from batchy_provider.batches.state_checks import check_jobs, load_id, load_progress
from batchy_provider.batches.transaction import (
    NO_CONFIRMATION,
    PATIENCE_SECONDS,
    Command,
    Confirmation,
    Session,
    address_of,
    as_hash,
    transact,
)
from batchy_provider.exceptions import UnknownBatchError

if TYPE_CHECKING:
    from datetime import datetime

    from batchy_provider.batches.keeping import Keeper
    from batchy_provider.batches.transaction import Client

T = TypeVar("T")
Rule = Callable[[Snapshot, "datetime"], Decision[T]]
Kept = Literal["nothing", "closing", "state", "anew"]
"""What a change leaves in the archive: ``anew`` is a state that replaces the archive's on purpose."""


class BatchStore:
    """What faces call: `load`, `status`, `open`, `close` and the steering of one Redis.

    Safe to share between threads as far as the client is; it holds no state of its own.

    :param client: a ``redis.Redis`` (standalone or by Sentinel) or ``redis.cluster.RedisCluster``.
    :param cluster: give all keys of a workflow one hash tag; by default, if the client is a cluster's.
    :param patience: seconds for which a lost connection is tried anew before an error.
    :param keeper: keeps an archive of what was closed; None keeps none.
    :param confirmation: which replicas must have what is changed before it counts as changed.
    """

    keeper: Keeper | None = None

    def __init__(
        self,
        client: Client,
        *,
        cluster: bool | None = None,
        patience: float = PATIENCE_SECONDS,
        keeper: Keeper | None = None,
        confirmation: Confirmation = NO_CONFIRMATION,
    ) -> None:
        from redis.cluster import RedisCluster

        self.client = client
        self.cluster = isinstance(client, RedisCluster) if cluster is None else cluster
        self.patience = patience
        self.keeper = keeper
        self.confirmation = confirmation

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
        :raises LostStateError: if the archive says that Redis has lost something.
        :raises ArchiveUnavailableError: if Redis does not know the workflow and the archive cannot be asked.
        """
        run = request_key(workflow, request)
        check = None if self.keeper is None else self.keeper.guard(workflow, self.client)

        def rule(state: Snapshot, now: datetime) -> Decision[Batch]:
            if check is not None and already_open(state, request) is None:
                check(state)
            return rules.open_batch(state, request, now)

        return self._change(
            workflow,
            rule,
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
            kept="closing",
        )

    def load(self, config: WorkflowConfig, *, by: str | Actor, why: str | None = None) -> dict[str, Fields]:
        """Set a workflow back to its configuration; history stays.

        :returns: job → fields, as they are now.
        """
        person = by.by if isinstance(by, Actor) else by
        return self._change(
            config.name,
            lambda state, now: rules.load(state, config, now, by=person, why=why),
            person=(by, "loaded the configuration, state set back to it", why),
            kept="anew",
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
            kept="state" if jobs else "anew",
        )

    def disable(self, workflow: str, job: str, *, by: str | Actor, why: str | None = None) -> frozenset[str]:
        """Switch a job off; returns all that are off."""
        return self._change(
            workflow,
            lambda state, now: rules.switch(state, job, now, enabled=False),
            person=(by, f"disabled {job}", why),
            kept="state",
        )

    def enable(self, workflow: str, job: str, *, by: str | Actor, why: str | None = None) -> frozenset[str]:
        """Switch a job on again; returns all that are off still."""
        return self._change(
            workflow,
            lambda state, now: rules.switch(state, job, now, enabled=True),
            person=(by, f"enabled {job}", why),
            kept="state",
        )

    def skip_job(self, workflow: str, batch_id: int, job: str, *, removed: bool = False) -> bool:
        """Take a job out of a batch if it is switched off, so that its window does not move.

        :param removed: or if it is not, since it is no part of the workflow any more.
        :returns: whether it is out; then it must not run.
        """
        # Each job asks this when it starts: where nothing is changed, no replica needs to be waited for.
        skipped = self._change(
            workflow,
            lambda state, now: rules.skip_job(state, job, now, removed=removed),
            batch_id=batch_id,
            again=False,
        )
        return skipped is not None

    def prune(self, workflow: str, *, keep: int, keep_days: int | None = None) -> int:
        """Remove the history of all but the newest batches; see `pruning.prune`."""
        return prune(self, workflow, keep=keep, keep_days=keep_days)

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
                ("HGET", keys.meta, snap.CHANGES), ("HGETALL", keys.progress), last_success_command(keys, state)
            )
            known = snap.load_changes(keys.meta, changes)
            # Who looks at one workflow, to set its window, is shown a wrong start or end of it as it is.
            return present(keys, state, as_hash(progress), succeeded, known, parsed=("batch_end",)), ()

        return self.transact(keys, work)

    def workflows(self) -> list[str]:
        """Return the names of all workflows in this Redis, readable or not, those of the original server included."""
        return [state.workflow for state in self.scan()]

    def overview(self, names: Collection[str] | None = None) -> list[WorkflowState]:
        """Return workflows as they stand, by name, without those that cannot be read; see `overview.scan`."""
        return overview(self, names)

    def scan(self, names: Collection[str] | None = None) -> list[WorkflowState | UnreadableWorkflow]:
        """Return workflows as they stand, by name, with those that cannot be read; see `overview.scan`."""
        return scan(self, names)

    def candidates(self) -> set[str]:
        """Return the names of all hashes that may be workflows; looks at every key of the Redis."""
        return candidates(self)

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
            return read_batches(session, keys, [load_id(keys.runs, batch_id)]) if batch_id else []

        found = self._stored(workflow, find)
        return stored_batch(workflow, found[0]) if found and found[0].jobs else None

    def history(self, workflow: str, *, limit: int = 20, offset: int = 0) -> list[Batch]:
        """Return batches, newest first, backfills included."""

        def find(session: Session, keys: Keys) -> list[StoredBatch]:
            (ids,) = session.ask(("ZREVRANGE", keys.history, offset, offset + limit - 1))
            return read_batches(session, keys, [load_id(keys.history, i) for i in ids])

        return [stored_batch(workflow, found) for found in self._stored(workflow, find) if found.jobs]

    def count(self, workflow: str) -> int:
        """Return how many batches the history has."""
        (number,) = self.ask(workflow, ("ZCARD", self.keys(workflow).history))
        return int(number)

    def _stored(self, workflow: str, find: Callable[[Session, Keys], list[StoredBatch]]) -> list[StoredBatch]:
        keys = self.keys(workflow)
        found = self.transact(keys, lambda session: (find(session, keys), ()))
        for each in found:
            check_jobs(keys.batch(each.batch_id), each.jobs)
        return found

    def batch_ids(self, workflow: str, *, limit: int) -> list[int]:
        """Return the ids of the newest batches, newest first."""
        keys = self.keys(workflow)
        (ids,) = self.ask(workflow, ("ZREVRANGE", keys.history, 0, limit - 1))
        return [load_id(keys.history, each) for each in ids]

    # -- progress ----------------------------------------------------------------------------------------

    def set_progress(self, workflow: str, job: str, report: dict[str, Any]) -> None:
        """Keep the latest progress of a job: ``batch_id``, ``progress`` from 0 to 1, ``message``, ``at``."""
        self.ask(workflow, ("HSET", self.keys(workflow).progress, job, json.dumps(report)))

    def progress(self, workflow: str) -> dict[str, dict[str, Any]]:
        """Return job → its latest progress; a report that cannot be read is left out."""
        keys = self.keys(workflow)
        (stored,) = self.ask(workflow, ("HGETALL", keys.progress))
        return load_progress(keys.progress, as_hash(stored))[0]

    # -- how it is done ----------------------------------------------------------------------------------

    def ask(self, workflow: str, *commands: Command) -> list[Any]:
        """Send commands about one workflow in one packet, in no transaction, and return their replies."""
        return self.transact(self.keys(workflow), lambda session: (session.ask(*commands), ()))

    def transact(
        self, keys: Keys, work: Callable[[Session], tuple[T, Sequence[Command]]], *, patience: float | None = None
    ) -> T:
        """Do one piece of work on a workflow as a whole, or not at all; see `transaction.transact`.

        Every change of state goes through here, so each is confirmed by as many replicas as this store asks for.

        :param patience: seconds, if other than the store's.
        """
        was_tried = False

        def careful(session: Session) -> tuple[T, Sequence[Command]]:
            nonlocal was_tried
            result, writes = work(session)
            if writes:
                was_tried = True
            elif was_tried and self.confirmation.replicas:
                # An attempt before has made the change, and too few replicas had it.
                ((seconds, micros),) = session.ask(("TIME",))
                writes = self._touch(keys, from_unix(int(seconds), int(micros)))
            return result, writes

        return transact(
            self.client,
            (keys.live,),
            careful,
            patience=self.patience if patience is None else patience,
            confirmation=self.confirmation,
        )

    def _change(
        self,
        workflow: str,
        rule: Rule[T],
        *,
        run: str | None = None,
        batch_id: int | None = None,
        person: tuple[str | Actor, str | Callable[[T], str], str | None] | None = None,
        kept: Kept = "nothing",
        again: bool = True,
    ) -> T:
        """Make a change, whose reply may be lost, once.

        :param again: where nothing is left to change, an attempt before may have done it: see that replicas have it.
        """
        keys = self.keys(workflow)
        keeper = self.keeper
        instead_of = keeper.instead_of(workflow) if keeper is not None and kept == "anew" else None
        sent: list[tuple[PersonalChange, T]] = []

        def work(session: Session) -> tuple[tuple[T, Note], Sequence[Command]]:
            state, now = read_state(session, keys, run=run, batch_id=batch_id)
            nothing_new = Note(pending=state.mark.pending if state.mark else ())
            known = _changes(session, keys) if sent else []
            for made, result in sent:
                if made in known:
                    # The reply to it was lost. To do it again, perhaps after a batch, would load a window twice.
                    return (result, nothing_new), self._touch(keys, now)
            decision = rule(state, now)
            change = decision.change
            if change is None:
                return (decision.result, nothing_new), self._touch(keys, now) if again else ()
            if person is not None:
                by, what, why = person
                actor = by if isinstance(by, Actor) else Actor(by)
                done = what if isinstance(what, str) else what(decision.result)
                made = PersonalChange.of(actor, format_date(now), done, why)
                change.meta[snap.CHANGES] = snap.dump_changes([made, *(known or _changes(session, keys))])
                sent.append((made, decision.result))
            note = Note()
            if keeper is not None or state.mark is not None:
                # Also where this program writes no archive itself: one that does so will need to know.
                moves = kept in ("state", "anew") or (kept == "closing" and change.live is not None)
                redis, at = address_of(self.client), format_date(now)
                note = noted(state, change, at=at, redis=redis, moves=moves, instead_of=instead_of)
            return (decision.result, note), write_commands(keys, change)

        result, note = self.transact(keys, work)
        if keeper is not None and kept != "nothing":
            keeper.keep(self, workflow, note)
        return result

    def _touch(self, keys: Keys, now: datetime) -> Sequence[Command]:
        """Return what to write where nothing is to be changed any more, so that replicas can be waited for.

        WAIT counts the replicas that have what its own connection has written.
        """
        return (("HSET", keys.meta, "confirmed", format_date(now)),) if self.confirmation.replicas else ()


def _changes(session: Session, keys: Keys) -> list[PersonalChange]:
    (text,) = session.ask(("HGET", keys.meta, snap.CHANGES))
    return snap.load_changes(keys.meta, text)
