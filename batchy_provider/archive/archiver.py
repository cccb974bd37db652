# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The archive that a store uses: the guard before each opening, and the writer after each change."""

from __future__ import annotations

import logging
from collections.abc import Callable

from batchy_provider.archive.archive_files import ArchiveFiles
from batchy_provider.archive.archive_guard import ArchiveGuard
from batchy_provider.archive.archive_writer import ArchiveWriter
from batchy_provider.archive.bounded_files import SECONDS, BoundedFiles
from batchy_provider.core.revision import Revision
from batchy_provider.core.snapshot import Snapshot
from batchy_provider.state.archive_port import Committed
from batchy_provider.state.backend import Backend

log = logging.getLogger(__name__)


class Archiver:
    """Implement `state.archive_port.Archive` with a guard and a writer on the same files.

    :param files: returns the archive's files; called when they are first needed.
    :param warn: called with each warning for people; the default logs it.
    :param seconds: how long one read of the archive, or one round of writing, may delay a task.
    """

    def __init__(
        self,
        files: Callable[[], ArchiveFiles],
        *,
        warn: Callable[[str], None] | None = None,
        seconds: float = SECONDS,
    ) -> None:
        bounded = BoundedFiles(files, seconds=seconds)
        warn = warn or (lambda text: log.warning("%s", text))
        self._guard = ArchiveGuard(bounded, warn=warn)
        self._writer = ArchiveWriter(bounded, warn=warn)

    def guard(self, workflow: str, redis: str) -> Callable[[Snapshot], None]:
        """Read the archive before an opening, and return the check that refuses the opening.

        :param redis: address of the Redis, for the message.
        """
        return self._guard.guard(workflow, redis)

    def superseded(self, workflow: str) -> Revision | None:
        """Return the revision of the archived state, for a change that replaces that state on purpose."""
        return self._guard.superseded(workflow)

    def record(self, backend: Backend, committed: Committed) -> None:
        """Write the entry of a change, and the batches that earlier changes could not write. Raise nothing."""
        self._writer.record(backend, committed)
