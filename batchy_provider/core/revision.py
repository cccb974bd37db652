# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Compare two states of a workflow, one in Redis and one in the archive, by their revisions.

Each change of the live state that the archive records gets a random token. Redis and the archive both hold the newest
tokens, newest first. If the newest token of one state is among the tokens of the other, the first state is an older
state of the same lineage. Memory in Redis is expensive, so Redis holds few tokens and the newest one that the archive
has; the archive holds the tokens of about a year of nights.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

MAX_TOKENS = 32
"""How many Redis holds."""
MAX_KEPT_TOKENS = 400
"""How many the archive holds."""
MAX_PENDING = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """The revision of a workflow's live state, and which closed batches the archive still lacks.

    :param number: counts the changes, for people.
    :param tokens: of the newest changes, newest first.
    :param pending: closed batches that are still to be written into the archive, oldest first.
    :param pruned: the newest batch that was pruned; it and all older ones are missing on purpose.
    :param kept: the token of the newest state that is known to be in the archive.
    :param writing: when a program began to write its change into the archive, as in the state; None if that is done.
    """

    number: int = 0
    tokens: tuple[str, ...] = ()
    pending: tuple[int, ...] = ()
    pruned: int = 0
    kept: str | None = None
    writing: str | None = None

    @property
    def lineage(self) -> tuple[str, ...]:
        """The tokens of this state and of its known ancestors, newest first."""
        return self.tokens if self.kept is None or self.kept in self.tokens else (*self.tokens, self.kept)

    def next(self, token: str, number: int = 0, instead_of: Sequence[str] = ()) -> Revision:
        """Return the revision after one more change.

        :param token: a random token, which no other change has.
        :param number: of another state that this change replaces on purpose, so that it counts as older from now on.
        :param instead_of: the tokens of that state, newest first.
        """
        replaced = (*instead_of[:1], *(each for each in self.tokens if each not in instead_of[:1]))
        return replace(self, number=max(number, self.number) + 1, tokens=(token, *replaced)[:MAX_TOKENS])

    def waiting_for(self, batch_ids: Iterable[int]) -> Revision:
        """Return it with more batches that the archive still lacks; at most `MAX_PENDING`, the newest ones."""
        return replace(self, pending=tuple(sorted({*self.pending, *batch_ids})[-MAX_PENDING:]))

    def without(self, batch_ids: Iterable[int]) -> Revision:
        """Return it without batches that the archive has got, or that were removed."""
        gone = set(batch_ids)
        return replace(self, pending=tuple(each for each in self.pending if each not in gone))


def is_ancestor_of(older: Sequence[str], newer: Sequence[str]) -> bool:
    """Tell by their lineages whether the newer state came from the older one, or is the same state.

    :param older: tokens of a state, newest first.
    :param newer: tokens of the other state, newest first.
    """
    return not older or older[0] in newer
