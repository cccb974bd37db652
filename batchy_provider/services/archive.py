# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Compare Redis with the archive of closed batches, restore what Redis lost, and write what the archive lacks."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from batchy_provider.archive.archive_contents import ArchiveContents
from batchy_provider.archive.comparison import Comparison, compare
from batchy_provider.archive.descriptions import renamed_text
from batchy_provider.archive.redis_source import read_closed_batches, record_archived
from batchy_provider.archive.restoring import Restored, restore
from batchy_provider.exceptions import UnknownWorkflowError
from batchy_provider.services.answers import Audit
from batchy_provider.state import codec
from batchy_provider.state.stored_values import load_id

if TYPE_CHECKING:
    from batchy_provider.archive.archive_files import ArchiveFiles
    from batchy_provider.core.values import Actor
    from batchy_provider.services.answers import AuditLog
    from batchy_provider.state.store import Store

__all__ = ["ArchiveService", "Comparison", "Restored", "Written"]

_CHUNK = 100
"""How many batches are read from Redis at once."""


class Results(Protocol):
    """The part of a result store that the service uses."""

    def batches(self, workflow: str) -> list[str]:
        """Return the ids of the batches that have results."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What was written to the archive.

    :param state: whether the live state was written.
    :param batches: how many closed batches were written.
    :param refused: why the state was not written, for people; None if it was not refused.
    """

    workflow: str
    state: bool = False
    batches: int = 0
    refused: str | None = None


class ArchiveService:
    """Work with the archive of one result store and the state in one Redis.

    :param store: the state in Redis.
    :param files: the archive.
    :param results: the results in the same store; None to leave out unfinished batches.
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
        """Return the names of all workflows in Redis or in the archive."""
        return sorted({*self._files.workflows(), *self._store.workflows()})

    def archived(self, workflows: Collection[str]) -> list[str]:
        """Return those of some workflows that are in the archive. Read the archive only if there are any."""
        return sorted({*workflows}.intersection(self._files.workflows())) if workflows else []

    def compare(self, workflow: str) -> Comparison:
        """Compare a workflow in Redis with the archive.

        :raises UnknownWorkflowError: if neither knows the workflow.
        """
        result = compare(self._store.backend, workflow, self._contents(workflow))
        if result.relation == "unknown" and not result.missing:
            raise UnknownWorkflowError(f"workflow {workflow!r} is in neither Redis nor the archive {self._files.url}")
        return result

    def unfinished(self, comparison: Comparison) -> list[int]:
        """Return ids of batches that left results but are not in the archive, and are newer than all that are.

        As far as the archive knows, they were never closed. The next run loads their windows again.
        """
        if self._results is None or comparison.relation not in ("lost", "behind"):
            return []
        newest = max(self._files.batch_ids(comparison.workflow), default=0)
        ran = (int(name) for name in self._results.batches(comparison.workflow) if name.isdecimal())
        return sorted(i for i in ran if i > newest)

    def restore(
        self,
        workflow: str,
        *,
        actor: Actor,
        history: bool = True,
        overwrite: bool = False,
        why: str | None = None,
    ) -> Restored:
        """Restore in Redis what it lacks.

        :param history: also restore the batches, not only the state that decides the next windows.
        :param overwrite: also replace a state in Redis that is not an older version of the archived one.
        """
        contents = self._contents(workflow)
        if contents.state is not None and contents.state.renamed_to is not None:
            return Restored(workflow=workflow, was="lost", refused=renamed_text(contents.state))
        if history:
            missing = compare(self._store.backend, workflow, contents).missing
            batches = {batch.batch_id: batch for batch in self._files.read_batches(workflow, missing)}
            runs, days = self._files.pruned(workflow)
            contents = replace(contents, batches=batches, runs=runs, days=days)
        contents = replace(contents, audit=self._files.audit(workflow))
        done = restore(self._store.backend, workflow, contents, by=actor, overwrite=overwrite, why=why)
        if self._audit is not None and (done.state or done.batches):
            details = {"state": done.state, "batches": done.batches, "overwrite": overwrite}
            self._audit(Audit(workflow=workflow, action="restore", actor=actor, why=why, details=details))
        return done

    def write(self, workflow: str, *, overwrite: bool = False) -> Written:
        """Write into the archive what it lacks: closed batches, the live state, audit entries.

        :param overwrite: also replace an archived state that Redis does not know.
        """
        comparison = self.compare(workflow)
        if comparison.relation == "unknown":
            return Written(workflow=workflow)
        batches = 0
        for ids in _chunks(comparison.unarchived, _CHUNK):
            found = read_closed_batches(self._store.backend, workflow, ids)
            self._files.put_batches(found)
            batches += len(found)
        archived = self._files.latest(workflow)
        replaces = overwrite and comparison.relation in ("behind", "conflict")
        refused = None
        if comparison.state_is_lost and not replaces:
            refused = (
                f"Redis does not have the archived state, {comparison.archive}; see `batchy restore {workflow} "
                "--dry-run`"
            )
        state, audit = record_archived(
            self._store.backend,
            workflow,
            archived.revision if replaces and archived is not None else None,
            written=comparison.unarchived,
        )
        if refused is None and state is not None:
            # Also if both have the same revision: changes by the original server have none.
            self._files.put_latest(state.with_tokens_of(archived))
            self._files.put_audit(workflow, audit)
        return Written(workflow=workflow, state=refused is None, batches=batches, refused=refused)

    def prune(self, workflow: str) -> int:
        """Remove from the archive the batches that were pruned from Redis.

        :returns: how many batches were removed.
        """
        keys = self._store.backend.keys(workflow)
        ids, text = self._store.backend.ask(
            workflow, ("ZREVRANGE", keys.history, 0, -1), ("HGET", keys.meta, codec.REVISION)
        )
        revision = codec.load_revision(keys.meta, text)
        if revision is None:
            return 0
        known = {load_id(keys.history, i) for i in ids}
        gone = [i for i in self._files.batch_ids(workflow) if i <= revision.pruned and i not in known]
        return self._files.prune(workflow, gone)

    def _contents(self, workflow: str) -> ArchiveContents:
        return ArchiveContents(state=self._files.latest(workflow), ids=self._files.batch_ids(workflow))


def _chunks(ids: Sequence[int], size: int) -> Iterable[Sequence[int]]:
    for start in range(0, len(ids), size):
        yield ids[start : start + size]
