# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Which version of a workflow's state is the present one, so that the archive's and Redis's can be compared.

Each change of the live state that the archive keeps has a random token. Redis and the archive both hold the newest
tokens, newest first: whose newest is among the other's is the older one of the same line. Redis, whose memory is dear,
holds a few, and the one that the archive had last; the archive holds those of a year of nights.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from batchy_provider.batches.typed import FormError, build

MAX_TOKENS = 32
"""How many Redis holds."""
MAX_KEPT_TOKENS = 400
"""How many the archive holds."""
MAX_PENDING = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What the field ``archive`` of ``wf:meta`` holds.

    :param number: counts the changes, for people.
    :param tokens: of the newest changes, newest first.
    :param pending: closed batches that are still to be written into the archive, oldest first.
    :param pruned: the newest batch that was pruned: it and those before it are not missed.
    :param kept: the token of the newest state that is known to be in the archive.
    """

    number: int = 0
    tokens: tuple[str, ...] = ()
    pending: tuple[int, ...] = ()
    pruned: int = 0
    kept: str | None = None

    @classmethod
    def read(cls, data: Any) -> Mark:
        """Read what `data` wrote.

        :raises FormError: if it is something else.
        """
        found = build(cls, data)
        if not {"number", "tokens"} <= data.keys():
            raise FormError("lacks a key; expected number and tokens")
        return replace(found, tokens=tuple(found.tokens), pending=tuple(found.pending))

    @property
    def line(self) -> tuple[str, ...]:
        """The tokens of this state and of those that it is known to have come of, newest first."""
        return self.tokens if self.kept is None or self.kept in self.tokens else (*self.tokens, self.kept)

    def data(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        found: dict[str, Any] = {"number": self.number, "tokens": list(self.tokens)}
        if self.pending:
            found["pending"] = list(self.pending)
        if self.pruned:
            found["pruned"] = self.pruned
        if self.kept is not None:
            found["kept"] = self.kept
        return found

    def next(self, number: int = 0, instead_of: Sequence[str] = ()) -> Mark:
        """Return the mark of one change more.

        :param number: of another state that this change replaces on purpose, so that it counts as older from now on.
        :param instead_of: the line of that state.
        """
        token = uuid.uuid4().hex[:8]
        replaced = (*instead_of[:1], *(each for each in self.tokens if each not in instead_of[:1]))
        return replace(self, number=max(number, self.number) + 1, tokens=(token, *replaced)[:MAX_TOKENS])

    def waiting_for(self, batch_ids: Iterable[int]) -> Mark:
        """Return it with batches that are to be written; of very many only the newest."""
        return replace(self, pending=tuple(sorted({*self.pending, *batch_ids})[-MAX_PENDING:]))

    def without(self, batch_ids: Iterable[int]) -> Mark:
        """Return it without batches that have been written, or are not there any more."""
        gone = set(batch_ids)
        return replace(self, pending=tuple(each for each in self.pending if each not in gone))


def descends(newer: Sequence[str], older: Sequence[str]) -> bool:
    """Tell by their lines whether one state came of the other, or is the same."""
    return not older or older[0] in newer
