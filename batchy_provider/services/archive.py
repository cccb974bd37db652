# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The archive of closed batches: compare it with Redis, restore from it, complete it, prune it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from batchy_provider.archive import restoring
from batchy_provider.archive.redis_source import marked, read_kept
from batchy_provider.archive.restoring import Archived, Restored, Standing
from batchy_provider.exceptions import UnknownWorkflowError
from batchy_provider.services.answers import Audit
from batchy_provider.state import codec
from batchy_provider.state.stored_values import load_id

if TYPE_CHECKING:
    from batchy_provider.archive.archive_files import ArchiveFiles
    from batchy_provider.core.values import Actor
    from batchy_provider.services.answers import AuditLog
    from batchy_provider.state.store import Store

__all__ = ["ArchiveService", "Restored", "Standing", "Written"]

_READ_AT_ONCE = 100


class Results(Protocol):
    """What of a result store is looked at: which batches have left something."""

    def batches(self, workflow: str) -> list[str]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What was written into the archive.

    :param state: whether the live state was.
    :param batches: how many closed batches.
    :param refused: why the state was not, if it ought to have been.
    """

    workflow: str
    state: bool = False
    batches: int = 0
    refused: str | None = None


class ArchiveService:
    """
    The archive of one result store, beside one Redis.

    :param store: the state in Redis.
    :param files: the archive.
    :param results: the results beside it; None to leave out what only they tell.
    :param audit: called with each restore after it is made.
    """

    def __init__(
        self,
        store: Store,
        files: ArchiveFiles,
        results: Results | None = None,
        *,
        audit: AuditLog | None = None,
    ) -> None:
        self._store = store
        self._files = files
        self._results = results
        self._audit = audit

    def workflows(self) -> list[str]:
        """Return all workflows that Redis or the archive knows."""
        return sorted({*self._files.workflows(), *self._store.workflows()})

    def keeps(self, workflows: Collection[str]) -> list[str]:
        """Return those of some workflows that the archive has something of; asks it only if there are any."""
        return sorted({*workflows}.intersection(self._files.workflows())) if workflows else []

    def standing(self, workflow: str) -> Standing:
        """
        Compare Redis with the archive.

        :raises UnknownWorkflowError: neither knows the workflow.
        """
        found = restoring.standing(self._store.backend, workflow, self._archived(workflow))
        if found.relation == "unknown" and not found.missing:
            raise UnknownWorkflowError(f"workflow {workflow!r} is in neither Redis nor the archive {self._files.url}")
        return found

    def unfinished(self, found: Standing) -> list[int]:
        """Return batches whose jobs have run, but which were never closed as far as the archive knows.

        Of those that came after all that it knows; their windows are taken again.
        """
        if self._results is None or found.relation not in ("lost", "behind"):
            return []
        closed = self._files.batches(found.workflow)
        ran = (int(name) for name in self._results.batches(found.workflow) if name.isdecimal())
        return sorted(i for i in ran if i > max(closed, default=0))

    def restore(
        self,
        workflow: str,
        *,
        actor: Actor,
        history: bool = True,
        overwrite: bool = False,
        why: str | None = None,
    ) -> Restored:
        """
        Bring back into Redis what it lacks.

        :param history: the batches too, not only the state that the next windows hang on.
        :param overwrite: also over a state in Redis that is not an older one of the same line.
        """
        archived = self._archived(workflow)
        if history:
            missing = restoring.standing(self._store.backend, workflow, archived).missing
            batches = {batch.batch_id: batch for batch in self._files.read_batches(workflow, missing)}
            runs, days = self._files.pruned(workflow)
            archived = replace(archived, batches=batches, runs=runs, days=days)
        archived = replace(archived, changes=self._files.changes(workflow))
        done = restoring.restore(self._store.backend, workflow, archived, by=actor, overwrite=overwrite, why=why)
        if self._audit is not None and (done.state or done.batches):
            details = {"state": done.state, "batches": done.batches, "overwrite": overwrite}
            self._audit(Audit(workflow=workflow, action="restore", actor=actor, why=why, details=details))
        return done

    def write(self, workflow: str, *, overwrite: bool = False) -> Written:
        """
        Write what Redis has and the archive has not: closed batches, the state, what people changed.

        :param overwrite: also over an archived state that Redis knows nothing of.
        """
        found = self.standing(workflow)
        if found.relation == "unknown":
            return Written(workflow=workflow)
        batches = 0
        for ids in _parts(found.unarchived, _READ_AT_ONCE):
            for batch in read_kept(self._store.backend, workflow, ids):
                self._files.put_batch(batch)
                batches += 1
        kept = self._files.latest(workflow)
        replaces = overwrite and found.relation in ("behind", "conflict")
        refused = None
        if found.relation in ("lost", "behind", "conflict") and not replaces:
            refused = f"Redis does not have what the archive has, {found.archive}; see `batchy restore {workflow}`"
        state, changes = marked(
            self._store.backend,
            workflow,
            kept.revision if replaces and kept is not None else None,
            written=found.unarchived,
        )
        if refused is None and state is not None:
            # Also where both are in step: what the original server did since has no number.
            self._files.put_latest(state.after(kept))
            self._files.put_changes(workflow, changes)
        return Written(workflow=workflow, state=refused is None, batches=batches, refused=refused)

    def prune(self, workflow: str) -> int:
        """
        Remove the batches that were pruned from Redis.

        :returns: how many.
        """
        keys = self._store.backend.keys(workflow)
        ids, text = self._store.backend.ask(
            workflow, ("ZREVRANGE", keys.history, 0, -1), ("HGET", keys.meta, codec.REVISION)
        )
        revision = codec.load_revision(keys.meta, text)
        if revision is None:
            return 0
        known = {load_id(keys.history, i) for i in ids}
        gone = [i for i in self._files.batches(workflow) if i <= revision.pruned and i not in known]
        return self._files.prune(workflow, gone)

    def _archived(self, workflow: str) -> Archived:
        return Archived(state=self._files.latest(workflow), ids=self._files.batches(workflow))


def _parts(ids: Sequence[int], size: int) -> Iterable[Sequence[int]]:
    for start in range(0, len(ids), size):
        yield ids[start : start + size]
