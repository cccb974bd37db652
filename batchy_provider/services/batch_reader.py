# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Read one batch: from Redis or, if Redis has removed or lost it, from the archive."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from batchy_provider.exceptions import ArchiveError, UnknownBatchError
from batchy_provider.services.archived_history import archived_batch

if TYPE_CHECKING:
    from batchy_provider.archive.archive_files import ArchiveFiles
    from batchy_provider.core.values import Batch
    from batchy_provider.state.store import Store


class BatchReader:
    """Read single batches.

    :param store: returns the state in Redis.
    :param archive: returns the archive; None where there is none.
    """

    def __init__(self, store: Callable[[], Store], archive: Callable[[], ArchiveFiles | None]) -> None:
        self._store = store
        self._archive = archive

    def batch(self, workflow: str, batch_id: int) -> Batch:
        """Return one batch; one that only the archive has is marked as `archived`.

        :raises UnknownBatchError: neither Redis nor the archive has it.
        :raises ArchiveError: Redis does not have it, and the archive cannot be read.
        """
        try:
            return self._store().batch(workflow, batch_id)
        except UnknownBatchError:
            if (found := self._archived(workflow, batch_id)) is None:
                raise
            return found

    def _archived(self, workflow: str, batch_id: int) -> Batch | None:
        try:
            files = self._archive()
            return None if files is None else archived_batch(files, workflow, batch_id)
        except ArchiveError as error:
            raise ArchiveError(
                f"{workflow}: Redis has no batch {batch_id}, and whether the archive has it is not known: {error}"
            ) from error
