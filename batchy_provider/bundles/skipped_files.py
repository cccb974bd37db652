# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Files that a script left and that are not stored: each with the reason, and the notices that name them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from batchy_provider.bundles.masking import Masker
from batchy_provider.core.terminal_text import printable

SHOWN_CHARACTERS = 700
"""A longer name is cut."""
LISTED = 20
"""How many names, and how many reasons, the notices list."""


@dataclass(frozen=True, slots=True)
class SkippedFile:
    """A file that a script left and that is not stored.

    :param name: the name to show: masked, and without terminal control characters.
    :param reason: the end of a sentence that begins with the name.
    """

    name: str
    reason: str


def shown_name(name: str, masker: Masker) -> str:
    """Return a file name for logs and messages: masked, on one line, without terminal control characters, bounded."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    text = printable(masker.text(text), lines=False)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"


def skipped_notices(skipped: Sequence[SkippedFile]) -> list[str]:
    """Say which files are not stored: one sentence for each reason, with some of the names."""
    reasons: dict[str, list[str]] = {}
    for each in skipped:
        reasons.setdefault(each.reason, []).append(each.name)
    listed = list(reasons.items())[:LISTED]
    notices = [f"Not stored from $BATCHY_OUTPUT_DIR: {_listing(names)} {reason}." for reason, names in listed]
    rest = sum(len(names) for names in list(reasons.values())[LISTED:])
    return [*notices, f"Not stored from $BATCHY_OUTPUT_DIR: {rest:,} more."] if rest else notices


def new_files_notices(names: Sequence[str], masker: Masker) -> list[str]:
    """Say which files a script has made in its working copy, which is removed after the run."""
    if not names:
        return []
    shown = _listing([shown_name(name, masker) for name in names[: LISTED + 1]], len(names))
    what = "1 new file was" if len(names) == 1 else f"{len(names):,} new files were"
    return [
        f"{what} left in the working copy, which is removed: {shown}. Write files that you need "
        "later to $BATCHY_OUTPUT_DIR, or to another place."
    ]


def _listing(names: Sequence[str], count: int | None = None) -> str:
    """Return names on one line, at most `LISTED` of them."""
    count = len(names) if count is None else count
    more = f" and {count - LISTED:,} more" if count > LISTED else ""
    return ", ".join(f"'{name}'" for name in names[:LISTED]) + more
