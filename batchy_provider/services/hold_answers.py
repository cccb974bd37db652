# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Answers about holds as plain data. The field names are those of the JSON that users see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batchy_provider.core.holds import Hold


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldView:
    """Show a hold.

    :param until: when it ends by itself, naive UTC, ISO 8601; None: only a release ends it.
    :param by: who has set it.
    :param why: the reason that this person gave.
    """

    workflow: str
    until: str | None
    by: str
    why: str

    @classmethod
    def of(cls, workflow: str, hold: Hold) -> HoldView:
        """Show a hold."""
        return cls(workflow=workflow, until=hold.until, by=hold.by, why=hold.why)


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldMade:
    """Show a hold that was set.

    :param replaced: the hold that it replaces; None if there was none.
    :param open_batch: id of the batch that is open now, which the hold does not stop; None without one.
    """

    hold: HoldView
    replaced: HoldView | None = None
    open_batch: int | None = None
