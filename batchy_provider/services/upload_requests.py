# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""An upload as data: what the caller asks to store, and what was stored."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from batchy_provider.config.diagnostics import Diagnostic

Check = Callable[[Path, Sequence[str]], list[Diagnostic]]
"""From a folder of workflow files and names in it to further diagnostics."""
Authorize = Callable[[Collection[str], Collection[str]], None]
"""From workflows that an upload names, and others that run its bundles; raises if the caller may not change one."""


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """
    One file of an upload.

    :param name: as the caller named it.
    :param path: where its bytes are now, on this machine.
    """

    name: str
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class AfterJob:
    """
    An existing job after which an uploaded bundle runs.

    :param workflow: whose file is edited.
    :param job: the job that it follows.
    :param name: of the new job; the bundle's name without its ending where that is None.
    :param takes_input: it reads the job's output.
    :param independent: it runs whatever became of the job.
    """

    workflow: str
    job: str
    name: str | None = None
    takes_input: bool = False
    independent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """
    What a caller wants stored: all of it, or nothing.

    :param configs: workflow files, YAML or JSON; the name without its ending is the workflow's.
    :param bundles: zips, stored in the folder ``bundles``.
    :param after: with one bundle and no config: a job more for an existing workflow.
    :param replace: what is there under these names is replaced.
    :param expected: file name → sha256 that it must have now, so that nobody else's change is lost.
    """

    configs: Sequence[UploadedFile] = ()
    bundles: Sequence[UploadedFile] = ()
    after: AfterJob | None = None
    replace: bool = False
    expected: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """
    What an upload stored, or would store.

    :param workflows: names of the workflows that are new or changed.
    :param files: file, relative to the folder of workflow files → its sha256.
    :param replaced: which of them were there before.
    :param also_changed: other workflows that run, or may run, one of its bundles.
    """

    workflows: list[str]
    files: dict[str, str]
    replaced: list[str]
    also_changed: list[str] = field(default_factory=list)
