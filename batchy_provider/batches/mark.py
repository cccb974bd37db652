# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Which version of a workflow's state is the present one, so that the archive's and Redis's can be compared.

Each change of the live state that the archive keeps has a number and a random token. Redis and the archive both hold
the newest tokens, newest first: whose newest is among the other's is the older one of the same line.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

MAX_TOKENS = 32
MAX_PENDING = 1000


class Marked(Protocol):
    """What has a place in the line of versions."""

    @property
    def number(self) -> int: ...
    @property
    def tokens(self) -> Sequence[str]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What the field ``archive`` of ``wf:meta`` holds.

    :param number: counts the changes.
    :param tokens: of the newest changes, newest first.
    :param pending: closed batches that are still to be written into the archive, oldest first.
    :param pruned: the newest batch that was pruned: it and those before it are not missed.
    """

    number: int = 0
    tokens: tuple[str, ...] = ()
    pending: tuple[int, ...] = ()
    pruned: int = 0

    @classmethod
    def read(cls, data: Any) -> Mark:
        """Read what `data` wrote."""
        return cls(
            number=int(data["number"]),
            tokens=tuple(data["tokens"]),
            pending=tuple(data.get("pending", ())),
            pruned=int(data.get("pruned", 0)),
        )

    def data(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        found: dict[str, Any] = {"number": self.number, "tokens": list(self.tokens)}
        if self.pending:
            found["pending"] = list(self.pending)
        if self.pruned:
            found["pruned"] = self.pruned
        return found

    def next(self, instead_of: Marked | None = None) -> Mark:
        """Return the mark of one change more.

        :param instead_of: another state that this change replaces on purpose, so that it counts as older from now on.
        """
        token = uuid.uuid4().hex[:8]
        number, tokens = self.number, self.tokens
        if instead_of is not None:
            number = max(number, instead_of.number)
            tokens = (*instead_of.tokens[:1], *(each for each in tokens if each not in instead_of.tokens[:1]))
        return replace(self, number=number + 1, tokens=(token, *tokens)[:MAX_TOKENS])

    def waiting_for(self, batch_ids: Iterable[int]) -> Mark:
        """Return it with batches that are to be written; of very many only the newest."""
        return replace(self, pending=tuple(sorted({*self.pending, *batch_ids})[-MAX_PENDING:]))

    def without(self, batch_ids: Iterable[int]) -> Mark:
        """Return it without batches that have been written, or are not there any more."""
        gone = set(batch_ids)
        return replace(self, pending=tuple(each for each in self.pending if each not in gone))


def descends(newer: Marked, older: Marked) -> bool:
    """Tell whether one state came of the other, or is the same.

    Beyond as many changes as there are tokens the numbers alone tell.
    """
    if not older.tokens or older.tokens[0] in newer.tokens:
        return True
    return len(newer.tokens) >= MAX_TOKENS and older.number + MAX_TOKENS <= newer.number
