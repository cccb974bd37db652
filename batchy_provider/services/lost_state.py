# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Find out from the archive whether Redis has lost the state of a workflow, for questions that are asked often."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from threading import Lock
from typing import TYPE_CHECKING

from batchy_provider.exceptions import ArchiveError

if TYPE_CHECKING:
    from batchy_provider.services.archive import ArchiveService

_REMEMBERED_SECONDS = 60.0


class LostState:
    """Compare Redis with the archive.

    The archive may be on an object store, and a page asks every few seconds. So what is not lost is compared again only
    after a minute.

    :param archive: returns the archive; None without one.
    """

    def __init__(self, archive: Callable[[], ArchiveService | None]) -> None:
        self._archive = archive
        self._safe_until: dict[str, float] = {}
        self._lock = Lock()

    def of(self, workflows: Collection[str]) -> dict[str, str]:
        """Return workflow → what the archive has and Redis has lost, as the end of a sentence.

        Workflows that have lost nothing are left out, and all of them if the archive cannot be read.
        """
        found: dict[str, str] = {}
        asked = self._asked(workflows)
        try:
            archive = self._archive() if asked else None
            if archive is None:
                return found
            for name in archive.archived(asked):
                comparison = archive.compare(name)
                if comparison.state_is_lost:
                    found[name] = f"the archive has {comparison.archive}"
        except (ArchiveError, OSError):
            return found
        with self._lock:
            self._safe_until |= dict.fromkeys({*asked} - found.keys(), time.monotonic() + _REMEMBERED_SECONDS)
        return found

    def _asked(self, workflows: Collection[str]) -> list[str]:
        now = time.monotonic()
        with self._lock:
            self._safe_until = {name: until for name, until in self._safe_until.items() if until > now}
            return [name for name in workflows if name not in self._safe_until]
