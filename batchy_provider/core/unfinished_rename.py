# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A rename of a workflow that was begun and is not finished."""

from __future__ import annotations

from dataclasses import dataclass

from batchy_provider.exceptions import UnfinishedRenameError


@dataclass(frozen=True, slots=True, kw_only=True)
class Rename:
    """A rename that has begun. The state of both names contains it until it is finished.

    :param old: the name before.
    :param new: the name after.
    :param moved: Redis has all under the new name, and only the archive and the results are left to do.
    """

    old: str
    new: str
    moved: bool = False

    @property
    def text(self) -> str:
        """What is the matter and what to do, for people."""
        return (
            f"a rename of workflow {self.old!r} to {self.new!r} was interrupted; "
            f"`batchy rename {self.old} {self.new}` finishes it"
        )


def check_finished(rename: Rename | None, workflow: str) -> None:
    """Refuse a change while the state may be in Redis under both names.

    :raises UnfinishedRenameError: if a rename was interrupted before Redis had all under the new name.
    """
    if rename is not None and not rename.moved:
        raise UnfinishedRenameError(f"{workflow}: {rename.text}. Until then, nothing else can change the workflow")
