# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Archive guard: refuse to open a batch if the archive shows that Redis has lost state.

Without it, the opening would start at the first window again and load all data twice.
"""

from __future__ import annotations

from collections.abc import Callable

from batchy_provider.archive.archived_state import ArchivedState
from batchy_provider.archive.bounded_files import BoundedFiles
from batchy_provider.archive.comparison import relation
from batchy_provider.archive.descriptions import describe_archived, describe_redis, renamed_text
from batchy_provider.core.revision import Revision
from batchy_provider.core.snapshot import Snapshot
from batchy_provider.exceptions import ArchiveError, ArchiveUnavailableError, LostStateError, UnfinishedRenameError


class ArchiveGuard:
    """Compare Redis with the archive before an opening.

    :param warn: called with each warning for people.
    """

    def __init__(self, files: BoundedFiles, *, warn: Callable[[str], None]) -> None:
        self._files = files
        self._warn = warn

    def guard(self, workflow: str, redis: str) -> Callable[[Snapshot], None]:
        """Read the archive before an opening, and return the check that refuses the opening.

        The check raises `LostStateError` if Redis has no state, an older state than the archive or one in conflict
        with it. It raises `ArchiveUnavailableError` if Redis has no state and the archive cannot be read. If Redis
        has a state and the archive cannot be read, the check logs a warning and lets the batch open.

        :param redis: address of the Redis, for the message.
        """
        archived, error = self._read(workflow)
        warned = False

        def check(state: Snapshot) -> None:
            nonlocal warned
            if error is None:
                _check(state, archived, self._files.get().url, redis)
            elif not state.jobs:
                raise ArchiveUnavailableError(
                    f"{workflow}: Redis ({redis}) does not know this workflow, and the archive cannot be read to see "
                    f"whether Redis has lost it: {error}. No batch was opened, because it might load all data again. "
                    "Make the result store reachable. If the workflow is new, or starts from the beginning on "
                    f"purpose: `batchy load {workflow}`"
                )
            elif not warned:  # a transaction that is tried again calls the check again
                warned = True
                self._warn(
                    f"{workflow}: the archive cannot be read to see whether Redis has lost something: {error}. The "
                    "batch opens with the state in Redis"
                )

        return check

    def superseded(self, workflow: str) -> Revision | None:
        """Return the revision of the archived state, for a change that replaces that state on purpose."""
        archived, error = self._read(workflow)
        if error is not None:
            self._warn(
                f"{workflow}: the archive cannot be read: {error}. If it holds a state that Redis does not know, the "
                "next opening is refused. Repeat this command when the archive can be read"
            )
        return None if archived is None else archived.revision

    def _read(self, workflow: str) -> tuple[ArchivedState | None, str | None]:
        """Return the archived state of a workflow, and an error message if the archive cannot be read."""
        try:
            files = self._files.get()
            return self._files.within_time(lambda: files.latest(workflow)), None
        except ArchiveError as error:
            return None, str(error)


def _check(state: Snapshot, archived: ArchivedState | None, url: str, redis: str) -> None:
    if archived is not None and archived.renamed_to is not None:
        text = renamed_text(archived)
        raise UnfinishedRenameError(f"{state.workflow}: {text}. Until then, no batch of it can be opened")
    found = relation(state, archived)
    if archived is None or found in ("in step", "archive behind"):
        return
    name = state.workflow
    archive = f"the archive {url} has its state of {archived.at} UTC: {describe_archived(archived)}"
    if found == "lost":
        problem = (
            f"does not know this workflow, but {archive}. Redis has lost the workflow, and a batch that opens now "
            "would load all data again"
        )
    elif found == "behind":
        problem = (
            f"has an older state of this workflow ({describe_redis(state)}) than the archive: {archive}. Redis has "
            "lost the batches in between, and a batch that opens now would load their data again"
        )
    else:
        problem = (
            f"has a state of this workflow ({describe_redis(state)}) that did not come from the archived state: "
            f"{archive}. Redis has lost the archived state, and somebody continued without it"
        )
    other = "" if redis == archived.redis else f" The archive was written from another Redis, {archived.redis}."
    raise LostStateError(
        f"{name}: Redis ({redis}) {problem}. No batch was opened. To restore the state: `batchy restore {name}`. To "
        f"start from the beginning on purpose: `batchy load {name}`.{other} Two Redis databases need two result "
        "stores ([batchy] results_url)"
    )
