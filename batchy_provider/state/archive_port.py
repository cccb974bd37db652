# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The interface between the store and an archive; the package `archive` implements it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from batchy_provider.core.revision import Revision
from batchy_provider.core.snapshot import Change, Owner, Snapshot
from batchy_provider.state.backend import Backend


class ArchiveEffect(Enum):
    """What a change means for the archive."""

    NONE = "none"
    """The archive records nothing of it."""
    CLOSING = "closing"
    """It closes a batch; if that is the live one, the state is new too."""
    STATE = "state"
    """It makes a new live state."""
    RECORD = "record"
    """It changes the record of a batch; if that is the latest one and is closed, the state is new too."""
    SUPERSEDES = "supersedes"
    """It makes a new live state that replaces the archive's state on purpose."""

    def moves(self, change: Change) -> bool:
        """Tell whether a change makes a new state that the archive records; an opening does not."""
        if self is ArchiveEffect.RECORD:
            return isinstance(change.owner, Owner) and change.owner.record.status != "open"
        return self in (ArchiveEffect.STATE, ArchiveEffect.SUPERSEDES) or (
            self is ArchiveEffect.CLOSING and change.live is not None
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """A change that Redis has acknowledged.

    The archive writes what follows from these values, and does not read it back: it also records what a Redis has
    acknowledged and then lost.

    :param before: the state that the change was decided on.
    :param revision: the revision after the change.
    :param at: when the change was made, ISO 8601 UTC.
    :param redis: address of the Redis, for people.
    :param moves: the change made a new state that the archive records.
    """

    before: Snapshot
    change: Change
    revision: Revision
    at: str
    redis: str
    moves: bool = False


class Archive(Protocol):
    """The archive of closed batches, as the store needs it."""

    def guard(self, workflow: str, redis: str) -> Callable[[Snapshot], None]:
        """Ask the archive before an opening, and return the check that refuses the opening by its answer.

        :param redis: address of the Redis, for the message.
        """

    def superseded(self, workflow: str) -> Revision | None:
        """Return the revision of the archive's state, for a change that replaces it on purpose."""

    def record(self, backend: Backend, committed: Committed) -> None:
        """Write what a change left, and what earlier changes could not write. Raise nothing."""
