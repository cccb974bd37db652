# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What the workflow files say together: which workflow needs which, and the errors of each."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from batchy_provider.config.diagnostics import Code, Diagnostic
from batchy_provider.plan.why_facts import WorkflowFacts
from batchy_provider.services.workflow_summaries import waits_of

if TYPE_CHECKING:
    from batchy_provider.config.folder import Folder


@dataclass(frozen=True)
class FolderView:
    """The workflow files of a folder.

    :param folder: what was read of them.
    :param names: the workflows that have a file, valid or not.
    :param diagnostics: workflow → the errors of its file.
    :param waits_for: workflow → the workflows whose success it needs.
    :param waited_for_by: workflow → the workflows that need its success, by name.
    """

    folder: Folder
    names: frozenset[str]
    diagnostics: Mapping[str, list[Diagnostic]]
    waits_for: Mapping[str, list[str]]
    waited_for_by: Mapping[str, list[str]]

    @cached_property
    def facts(self) -> Mapping[str, WorkflowFacts]:
        """Workflow → what its file says; the error of a file that is not valid."""
        from batchy_provider.services.file_facts import file_facts

        found: dict[str, WorkflowFacts] = {}
        for name in self.names:
            facts = file_facts(self.folder.workflows.get(name), self.diagnostics.get(name, ()))
            found[name] = WorkflowFacts(workflow=name, file=facts)
        return found

    @classmethod
    def of(cls, folder: Folder) -> FolderView:
        """Read it from what was read of the files."""
        diagnostics = diagnostics_by_workflow(folder.diagnostics) if folder.diagnostics else {}
        waits = {name: waits_of(workflow) for name, workflow in folder.workflows.items()}
        waited: dict[str, list[str]] = {}
        for name in sorted(waits):
            for other in waits[name]:
                waited.setdefault(other, []).append(name)
        return cls(folder, frozenset(folder.workflows.keys() | diagnostics.keys()), diagnostics, waits, waited)


class FolderViews:
    """Return the view of a folder: the same object as before, as long as the folder is the same object.

    Safe to share between threads.
    """

    def __init__(self) -> None:
        self._last: FolderView | None = None

    def of(self, folder: Folder) -> FolderView:
        """Return the view of what was read of the files."""
        view = self._last
        if view is None or view.folder is not folder:
            view = self._last = FolderView.of(folder)
        return view


def diagnostics_by_workflow(diagnostics: Collection[Diagnostic]) -> dict[str, list[Diagnostic]]:
    """Group diagnostics by the workflow whose file they are in. Those of ``_defaults`` belong to no workflow.

    Those of ``_calendars`` follow those of each workflow that cannot use its calendar because of them.
    """
    from batchy_provider.config.file_scan import CALENDARS_STEM

    by_name: dict[str, list[Diagnostic]] = {}
    calendars: dict[Path, list[Diagnostic]] = {}
    for diagnostic in diagnostics:
        path = Path(diagnostic.file)
        if path.stem == CALENDARS_STEM and path.suffix:
            calendars.setdefault(path.parent, []).append(diagnostic)
        elif not path.stem.startswith("_") and path.suffix:
            by_name.setdefault(path.stem, []).append(diagnostic)
    if calendars:
        for found in by_name.values():
            if any(each.code == Code.INVALID_CALENDAR.value for each in found):
                # The nearest file is the one that counts first.
                found += [each for folder in Path(found[0].file).parents for each in calendars.get(folder, ())]
    return by_name
