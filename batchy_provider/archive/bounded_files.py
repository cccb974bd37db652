# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Access to the archive's files that never blocks a task for longer than a limit."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from batchy_provider.archive.archive_files import ArchiveFiles, first_line
from batchy_provider.exceptions import ArchiveError

T = TypeVar("T")

SECONDS = 30.0
"""How long one read of the archive, or one round of writing, may delay a task."""


class BoundedFiles:
    """Open the archive when it is first needed, and limit the time of each use.

    :param make: returns the archive's files.
    :param seconds: the limit of one use.
    """

    def __init__(self, make: Callable[[], ArchiveFiles], *, seconds: float = SECONDS) -> None:
        self._make = make
        self._made: ArchiveFiles | None = None
        self._seconds = seconds

    def get(self) -> ArchiveFiles:
        """Return the archive's files.

        :raises ArchiveError: if the result store cannot be opened.
        """
        if self._made is None:
            try:
                self._made = self._make()
            except ArchiveError:
                raise
            except Exception as error:  # the store's own library reports a wrong URL or connection in its own way
                raise ArchiveError(f"the result store cannot be opened: {first_line(error)}") from error
        return self._made

    def within_time(self, work: Callable[[], T]) -> T:
        """Run `work` in a thread, and wait for it for a limited time. The store's own timeouts can be much longer.

        :raises ArchiveError: if `work` fails or takes too long. A thread that takes too long keeps running.
        """
        results: list[T] = []
        errors: list[BaseException] = []

        def run() -> None:
            try:
                results.append(work())
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=run, name="batchy-archive", daemon=True)
        thread.start()
        thread.join(self._seconds)
        if results:
            return results[0]
        url = self.get().url
        if not errors:
            raise ArchiveError(f"{url} has not answered for {self._seconds:g} seconds")
        if isinstance(errors[0], ArchiveError):
            raise errors[0]
        raise ArchiveError(f"{url}: {first_line(errors[0])}") from errors[0]
