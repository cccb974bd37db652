# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Notes that people put on a batch, and the acknowledgement of its failure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MAX_TEXT = 1000
"""How many characters a note may have."""
MAX_NOTES = 50
"""How many notes one batch may have: its record is read with each opening while it is the latest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchNote:
    """A note on a batch.

    :param at: when it was written, in the state's form of a date.
    :param by: who wrote it.
    :param text: the note; None for an acknowledgement without a text.
    :param ack: it acknowledges the failure of the batch: somebody knows of it.
    """

    at: str
    by: str
    text: str | None = None
    ack: bool = False

    def __str__(self) -> str:
        done = f"acknowledged by {self.by}" if self.ack else self.by
        return done if self.text is None else f"{done}: {self.text}"


def acknowledgement(notes: Sequence[BatchNote]) -> BatchNote | None:
    """Return the latest acknowledgement among the notes of a batch; None without one."""
    return next((note for note in reversed(notes) if note.ack), None)
