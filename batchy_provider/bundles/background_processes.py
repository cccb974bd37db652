# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Name the processes that a script left in the background, for messages."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from batchy_provider.bundles.masking import Masker
from batchy_provider.bundles.process_session import Session

_NAMED = 10


def name_processes(session: Session, masker: Masker) -> tuple[str, ...]:
    """Return pid and command of each process of a session but its leader.

    :param masker: masks secrets in arguments.
    """
    with contextlib.suppress(OSError):
        members = session.members(leader=False)
        return tuple(masker.text(f"{each.pid} `{each.command}`") for each in members)
    return ("processes that cannot be listed on this machine",)


def list_processes(names: Sequence[str]) -> str:
    """Return how many processes there are, and the names of some, as a part of a sentence."""
    count = "1 process" if len(names) == 1 else f"{len(names):,} processes"
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return f"{count} ({', '.join(names[:_NAMED])}{more})"
