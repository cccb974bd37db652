# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Compare a workflow in Redis with the archive: which of the two has the newer state, and which batches each lacks."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from batchy_provider.archive.archive_contents import ArchiveContents
from batchy_provider.archive.archived_state import ArchivedState
from batchy_provider.archive.descriptions import describe_archived, describe_redis
from batchy_provider.archive.redis_scan import RedisScan, scan_redis
from batchy_provider.core.revision import is_ancestor_of
from batchy_provider.core.snapshot import Snapshot
from batchy_provider.state.backend import Backend

Relation = Literal["unknown", "not archived", "in step", "archive behind", "behind", "lost", "conflict"]
"""The live state in Redis, compared with the archived state.

===============  ===============================================================
unknown          neither Redis nor the archive has a state
not archived     only Redis has a state
lost             only the archive has a state
in step          both have the same state
archive behind   the state in Redis came from the archived state
behind           the archived state came from the state in Redis
conflict         neither state came from the other
===============  ===============================================================
"""


def relation(state: Snapshot, archived: ArchivedState | None) -> Relation:
    """Compare the live state in Redis with the archived state."""
    if archived is None:
        return "not archived" if state.jobs else "unknown"
    if not state.jobs:
        return "lost"
    revision = state.revision
    if revision is None or not revision.tokens:
        return "conflict"
    if revision.tokens[0] == archived.tokens[0]:
        return "in step"
    if is_ancestor_of(archived.tokens, revision.lineage):
        return "archive behind"
    return "behind" if is_ancestor_of(revision.tokens, archived.tokens) else "conflict"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How a workflow in Redis compares with the archive.

    :param redis: description of the state in Redis, for people; None if there is none.
    :param archive: description of the archived state, for people; None if there is none.
    :param missing: ids of archived batches that Redis does not know, or that are open there.
    :param unarchived: ids of closed batches that only Redis has.
    :param in_the_way: the open batch in Redis that a restore of the state would overwrite, for people.
    """

    workflow: str
    relation: Relation
    redis: str | None = None
    archive: str | None = None
    missing: tuple[int, ...] = ()
    unarchived: tuple[int, ...] = ()
    in_the_way: str | None = None

    @property
    def state_is_lost(self) -> bool:
        """Whether Redis has no state, an older one than the archive, or one in conflict with it."""
        return self.relation in ("lost", "behind", "conflict")

    @property
    def is_lost(self) -> bool:
        """Whether Redis lacks something that the archive has."""
        return bool(self.missing) or self.state_is_lost

    def data(self) -> dict[str, Any]:
        """Return the comparison as JSON holds it."""
        return asdict(self)


def compare(backend: Backend, workflow: str, contents: ArchiveContents) -> Comparison:
    """Compare a workflow in Redis with the archive. Change nothing."""
    keys = backend.keys(workflow)
    scan = backend.transact(keys, lambda session: (scan_redis(session, keys, watch=False), ()))
    return compare_scan(scan, contents)


def compare_scan(scan: RedisScan, contents: ArchiveContents) -> Comparison:
    """Compare what was read from Redis with what was read from the archive."""
    state, archived = scan.state, contents.state
    result = Comparison(
        workflow=state.workflow,
        relation=relation(state, archived),
        redis=describe_redis(state) if state.jobs else None,
        archive=describe_archived(archived) if archived is not None else None,
    )
    pruned = max(state.revision.pruned if state.revision else 0, archived.pruned if archived else 0)
    archived_ids = set(contents.ids)
    if (batch := contents.batch_of_state()) is not None:
        archived_ids.add(batch.batch_id)
    # Only a restore of the state can close the open live batch. If the state stays, that batch is not missing.
    still_open = scan.open if result.state_is_lost else scan.open - {state.live_id}
    known = scan.history - still_open
    in_the_way = None
    if result.state_is_lost and state.is_open and state.live_id is not None and state.live_id > contents.newest_id:
        in_the_way = f"batch {state.live_id} is open, by {state.holder}"
    return replace(
        result,
        missing=tuple(sorted(i for i in archived_ids - known if i > pruned)),
        unarchived=tuple(sorted(i for i in scan.history - scan.open if i > pruned and i not in contents.ids)),
        in_the_way=in_the_way,
    )
