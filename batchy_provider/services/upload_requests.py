# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""An upload as data: what the caller asks to store, and what was stored."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from batchy_provider.config.diagnostics import Diagnostic

Check = Callable[[Path, Sequence[str]], list[Diagnostic]]
"""Check some workflows of a folder further: from the folder and their names to diagnostics."""
Authorize = Callable[[Collection[str], Collection[str]], None]
"""Raise if the caller may not change a workflow: of those that the upload names, or of those that run its bundles."""


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """One file of an upload.

    :param name: as the caller named it.
    :param path: where its bytes are on this machine.
    """

    name: str
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class AfterJob:
    """An existing job after which an uploaded bundle runs.

    :param workflow: its file gets the new job.
    :param job: the job before the new one.
    :param name: name of the new job; None for the name of the bundle without its suffix.
    :param takes_input: the new job reads the output of `job`.
    :param independent: the new job runs even if `job` fails.
    """

    workflow: str
    job: str
    name: str | None = None
    takes_input: bool = False
    independent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """What a caller wants to store: all of it, or nothing.

    :param configs: workflow files, YAML or JSON; the name without its suffix is the name of the workflow.
    :param bundles: zips, stored in the folder ``bundles``.
    :param after: with one bundle and no workflow file: a new job in an existing workflow.
    :param replace: replace existing files of these names.
    :param expected: file name → sha256 that it must have now, so that no change of someone else is lost.
    """

    configs: Sequence[UploadedFile] = ()
    bundles: Sequence[UploadedFile] = ()
    after: AfterJob | None = None
    replace: bool = False
    expected: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What an upload stored, or would store.

    :param workflows: the workflows that are new or changed.
    :param files: path relative to the folder of workflow files → sha256.
    :param replaced: those of the files that existed before.
    :param also_changed: other workflows that run, or may run, one of its bundles.
    """

    workflows: list[str]
    files: dict[str, str]
    replaced: list[str]
    also_changed: list[str] = field(default_factory=list)
