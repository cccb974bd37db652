# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Tell whether a change of a workflow is still being written into the archive.

The archive gets a change after Redis has acknowledged it. A workflow that is removed or renamed in between would get
files in the archive again under a name that nobody has, and the next workflow of that name could not open a batch.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime, timedelta

from batchy_provider.core.dates import parse_date
from batchy_provider.core.snapshot import Snapshot
from batchy_provider.state.backend import Backend
from batchy_provider.state.layout import read_state
from batchy_provider.state.protocol import Command
from batchy_provider.state.session import Session

LONGEST = timedelta(minutes=2)
"""A program that was killed while it wrote is not waited for longer than this. A living one has given up before."""
_POLL_SECONDS = 0.1


def wait_for_archive(backend: Backend, workflow: str) -> None:
    """Wait until the archive has the latest changes of a workflow, or cannot get them any more."""
    keys = backend.keys(workflow)

    def work(session: Session) -> tuple[bool, Sequence[Command]]:
        state, now = read_state(session, keys, watch=False)
        return is_behind(state, now), ()

    while backend.transact(keys, work):
        pause()


def is_behind(state: Snapshot, now: datetime) -> bool:
    """Tell whether a program still writes a change into the archive.

    :param now: the Redis server's time, naive UTC.
    """
    revision = state.revision
    return revision is not None and revision.writing is not None and now - parse_date(revision.writing) < LONGEST


def pause() -> None:
    """Wait a moment before the next look."""
    time.sleep(_POLL_SECONDS)
