# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Archive guard: refuse to open a batch if the archive shows that Redis has lost state.

Without it, the opening would start at the first window again and load all data twice.
"""

from __future__ import annotations

from collections.abc import Callable

from batchy_provider.archive.bounded_files import BoundedFiles
from batchy_provider.archive.descriptions import what_kept, what_redis_has
from batchy_provider.archive.entries import ArchivedState, relation
from batchy_provider.core.revision import Revision
from batchy_provider.core.snapshot import Snapshot
from batchy_provider.exceptions import ArchiveError, ArchiveUnavailableError, LostStateError


class ArchiveGuard:
    """Compare Redis with the archive before an opening.

    :param warn: called with each warning for people.
    """

    def __init__(self, files: BoundedFiles, *, warn: Callable[[str], None]) -> None:
        self._files = files
        self._warn = warn

    def guard(self, workflow: str, redis: str) -> Callable[[Snapshot], None]:
        """Read the archive before an opening, and return the check that refuses the opening.

        The check raises `LostStateError` if Redis has no state or an older state than the archive. It raises
        `ArchiveUnavailableError` if Redis has no state and the archive cannot be read.

        :param redis: address of the Redis, for the message.
        """
        kept, trouble = self.ask(workflow)
        said: list[str] = []

        def check(state: Snapshot) -> None:
            if trouble is None:
                _check(state, kept, self._files.get().url, redis)
            elif not state.jobs:
                raise ArchiveUnavailableError(
                    f"{workflow}: Redis ({redis}) does not know this workflow, and the archive cannot be "
                    f"asked whether it ought to: {trouble}. Opened now, all might be loaded again. Make the result "
                    f"store reachable; if the workflow is new, or is to begin anew: `batchy load {workflow}`"
                )
            elif not said:
                said.append(trouble)
                self._warn(
                    f"{workflow}: the archive cannot be asked whether Redis has lost something: {trouble}. Opened by "
                    "what Redis has"
                )

        return check

    def ask(self, workflow: str) -> tuple[ArchivedState | None, str | None]:
        """Return the archived state of a workflow, and an error message if the archive cannot be read."""
        try:
            files = self._files.get()
            return self._files.within_time(lambda: files.latest(workflow)), None
        except ArchiveError as error:
            return None, str(error)

    def superseded(self, workflow: str) -> Revision | None:
        """Return the revision of the archive's state, for a change that replaces it on purpose."""
        kept, trouble = self.ask(workflow)
        if trouble is not None:
            self._warn(f"{workflow}: the archive cannot be asked: {trouble}. If it holds another state, say so again")
        return None if kept is None else kept.revision


def _check(state: Snapshot, kept: ArchivedState | None, url: str, redis: str) -> None:
    found = relation(state, kept)
    if kept is None or found in ("in step", "archive behind"):
        return
    name = state.workflow
    archive = f"the archive {url} has its state of {kept.at} UTC: {what_kept(kept)}"
    if found == "lost":
        fault = f"does not know this workflow, but {archive}. Redis has lost it: opened now, all would be loaded again"
    elif found == "behind":
        fault = (
            f"has an older state of this workflow ({what_redis_has(state)}) than there was: {archive}. Redis has lost "
            "what came between: opened now, it would be loaded again"
        )
    else:
        fault = (
            f"has a state of this workflow ({what_redis_has(state)}) that did not come of the archived one: {archive}. "
            "Redis has lost that, and somebody went on without it"
        )
    other = "" if redis == kept.redis else f" The archive was written from another Redis, {kept.redis}."
    raise LostStateError(
        f"{name}: Redis ({redis}) {fault}. Nothing was opened. Get it back: `batchy restore {name}`; to begin anew on "
        f"purpose: `batchy load {name}`.{other} Two Redis databases need two result stores ([batchy] results_url)"
    )
