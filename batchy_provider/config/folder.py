# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The content of a folder of workflow files. This module loads neither YAML nor the models of the files."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from batchy_provider.config.diagnostics import Diagnostic

if TYPE_CHECKING:
    from batchy_provider.config.workflow import Workflow


@dataclass(slots=True)
class Folder:
    """The content of a folder of workflow files.

    :param workflows: name → workflow, of all valid files.
    :param diagnostics: the errors of the files that are not valid.
    """

    workflows: dict[str, Workflow] = field(default_factory=dict)
    diagnostics: list[Diagnostic] = field(default_factory=list)

    def is_same(self, other: Folder) -> bool:
        """Tell whether another reading gave the same. Files that have not changed are the same objects there."""
        return (
            self.workflows.keys() == other.workflows.keys()
            and all(each is other.workflows[name] for name, each in self.workflows.items())
            and self.diagnostics == other.diagnostics
        )
