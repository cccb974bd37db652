# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Read workflow files: return workflows and diagnostics. An invalid file never hides a valid one."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from batchy_provider.config.bundle_paths import BundleCheck, bundle_problem
from batchy_provider.config.calendar_file import read_calendars
from batchy_provider.config.calendar_model import NO_CALENDARS, Calendars, KnownCalendars
from batchy_provider.config.diagnostics import Code, Diagnostic, Violation, did_you_mean, key_text, unexpected
from batchy_provider.config.document import Document, DocumentError, decode, parse
from batchy_provider.config.excerpt import with_excerpts
from batchy_provider.config.file_scan import (
    CALENDARS_STEM,
    DEFAULTS_STEM,
    SHARED_STEMS,
    SUFFIXES,
    find_file,
    find_files,
    find_shared,
    read_bytes,
)
from batchy_provider.config.folder import Folder
from batchy_provider.config.original_files import is_original
from batchy_provider.config.validation import drop, inherited_keys, merge, validate
from batchy_provider.config.workflow import Workflow
from batchy_provider.config.yaml_rewrites import rewritten, with_written_text
from batchy_provider.core.names import check_workflow_name
from batchy_provider.exceptions import ConfigError, InvalidNameError, UnknownWorkflowError

__all__ = ["DEFAULTS_STEM", "SUFFIXES", "Folder", "InvalidFilesError", "Reader", "find_file", "find_files", "locate"]
__all__ += ["CALENDARS_STEM", "SHARED_STEMS", "document_of", "first_of_each_name", "read_each", "read_folder"]
__all__ += ["read_workflow"]

log = logging.getLogger(__name__)

WARNINGS_DAG = "batchy_warnings"
"""The DAG that warns about deadlines. No workflow may have its name."""

Read = tuple[Workflow | None, list[Diagnostic]]
"""The result of one file: the workflow, or None and its diagnostics."""


class InvalidFilesError(ConfigError):
    """Workflow files are not valid. The text lists each error with its line.

    :param diagnostics: all errors.
    :param texts: file → text, for texts that are not on the disk.
    """

    def __init__(self, diagnostics: Iterable[Diagnostic], texts: Mapping[str, str] | None = None) -> None:
        self.diagnostics = list(diagnostics)
        count = "1 error" if len(self.diagnostics) == 1 else f"{len(self.diagnostics)} errors"
        super().__init__("\n".join([f"{count} in workflow files:", *with_excerpts(self.diagnostics, texts)]))


def read_folder(folder: str | os.PathLike[str]) -> Folder:
    """Read all workflow files of a folder and its subfolders, except bundles.

    :raises ConfigError: if there is no such folder.
    """
    reader = Reader(folder)
    found = read_each(folder, reader.read)
    found.diagnostics += reader.shared_diagnostics
    return found


def read_each(folder: str | os.PathLike[str], read: Callable[[Path], Read]) -> Folder:
    """Read the workflow files of a folder, each name once.

    :param read: reads one file; raises nothing.
    :raises ConfigError: if there is no such folder.
    """
    found = Folder()
    for path in first_of_each_name(folder, found.diagnostics):
        workflow, diagnostics = read(path)
        if workflow is not None:
            found.workflows[workflow.name] = workflow
        found.diagnostics += diagnostics
    return found


def first_of_each_name(folder: str | os.PathLike[str], diagnostics: list[Diagnostic]) -> Iterator[Path]:
    """Yield the workflow files of a folder, each name once.

    :param diagnostics: what cannot be read, and further files of a name, are added to it.
    :raises ConfigError: if there is no such folder.
    """
    first: dict[str, Path] = {}
    for path in find_files(folder, diagnostics):
        if (other := first.setdefault(path.stem, path)) == path:
            yield path
            continue
        message = f"the workflow {path.stem!r} is already defined by {other}; rename one of the files"
        diagnostics.append(Diagnostic.of_file(path, Code.DUPLICATE_WORKFLOW, message))


def read_workflow(folder: str | os.PathLike[str], name: str) -> Workflow:
    """Read the file of one workflow.

    :raises UnknownWorkflowError: if there is no such file; the message names the nearest.
    :raises InvalidFilesError: if it has errors.
    """
    path = find_file(folder, name)
    if path is None:
        hint = did_you_mean(name, (other.stem for other in find_files(folder)))
        raise UnknownWorkflowError(f"no file of workflow {name!r} in {folder}{hint}")
    workflow, diagnostics = Reader(folder).read(path)
    if workflow is None:
        raise InvalidFilesError(diagnostics)
    return workflow


def locate(path: Path, violations: Iterable[Violation]) -> list[Diagnostic]:
    """Find the lines of violations that appeared only after a valid file was read."""
    try:
        return _located(path, _open(path), violations)
    except DocumentError as error:  # the file has changed since
        return [_diagnostic(path, error)]


class Reader:
    """Read the files of one folder. Each ``_defaults.yaml`` on their path is read once.

    Each ``_calendars.yaml`` is read once too, and only if a workflow picks a calendar.

    :param folder: the top folder; defaults and calendars above it do not count.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.look: BundleCheck = bundle_problem
        self.defaults_diagnostics: list[Diagnostic] = []
        self.calendar_diagnostics: list[Diagnostic] = []
        self._defaults: dict[Path, Mapping[str, Any]] = {}
        self._calendars: dict[Path, KnownCalendars] = {}

    @property
    def shared_diagnostics(self) -> list[Diagnostic]:
        """The errors of the files that are no workflows: defaults and, as far as they were read, calendars."""
        return [*self.defaults_diagnostics, *self.calendar_diagnostics]

    def read(self, path: Path) -> Read:
        """Read one file. Errors are diagnostics; nothing is raised.

        :returns: the workflow, or None and its diagnostics.
        """
        return self._read(path, lambda: _open(path))

    def read_text(self, path: Path, text: str) -> Read:
        """Read a text as if it were the content of a file; return what `read` does."""
        return self._read(path, lambda: parse(text.removeprefix("\ufeff"), is_json=path.suffix == ".json"))

    def _read(self, path: Path, document: Callable[[], Document]) -> Read:
        try:
            return self._validate(path, document())
        except DocumentError as error:
            return None, [_diagnostic(path, error)]
        except Exception as error:  # no file may hide another
            log.debug("Reading %s", path, exc_info=True)
            return None, [unexpected(path, error)]

    def _validate(self, path: Path, document: Document) -> Read:
        try:
            name = check_workflow_name(path.stem)
        except InvalidNameError as error:
            return None, [Diagnostic.of_file(path, Code.FILE_NAME, f"{error}; rename the file")]
        if name == WARNINGS_DAG:
            message = f"{name!r} is the DAG that warns about deadlines; rename the file"
            return None, [Diagnostic.of_file(path, Code.RESERVED_NAME, message)]
        workflow, violations = validate(
            name, path, document.data, self.defaults(path.parent), self.look, lambda: self.calendars(path.parent)
        )
        if isinstance(document.data, dict) and not is_original(document.data):
            violations = _with_rewritten(document, violations)
        return (None if violations else workflow), _located(path, document, violations)

    def defaults(self, folder: Path) -> Mapping[str, Any]:
        """Return the keys that files of a folder inherit.

        An invalid key becomes a diagnostic and is ignored: it must not stop all workflows.
        """
        if (known := self._defaults.get(folder)) is not None:
            return known
        inherited: Mapping[str, Any] = {}
        for each in self._chain(folder):
            if each not in self._defaults:
                self._defaults[each] = merge(inherited, self._read_defaults(each))
            inherited = self._defaults[each]
        return inherited

    def calendars(self, folder: Path) -> KnownCalendars:
        """Return the calendars that workflows of a folder can pick: of its own file and of those above it."""
        known = NO_CALENDARS
        for each in self._chain(folder):
            if each not in self._calendars:
                self._calendars[each] = self._read_calendars(each, known)
            known = self._calendars[each]
        return known

    def _chain(self, folder: Path) -> list[Path]:
        """Return the folders from the top one to a folder in it."""
        chain = [folder]
        if folder.is_relative_to(self.folder):
            while chain[-1] != self.folder:
                chain.append(chain[-1].parent)
        return chain[::-1]

    def _read_calendars(self, folder: Path, above: KnownCalendars) -> KnownCalendars:
        path = find_shared(folder, CALENDARS_STEM)
        if path is None:
            return above
        own: Calendars = {}
        complete = False
        try:
            document = _open(path)
            own, violations = read_calendars(document.data, above.calendars)
            self.calendar_diagnostics += _located(path, document, _with_rewritten(document, violations))
            complete = above.complete and isinstance(document.data, dict)
        except DocumentError as error:
            self.calendar_diagnostics.append(_diagnostic(path, error))
        except Exception as error:  # as for any other file
            log.debug("Reading %s", path, exc_info=True)
            self.calendar_diagnostics.append(unexpected(path, error))
        return KnownCalendars({**above.calendars, **own}, own, (path, *above.files), complete)

    def _read_defaults(self, folder: Path) -> Mapping[str, Any]:
        path = find_shared(folder, DEFAULTS_STEM)
        if path is None:
            return {}
        try:
            document = _open(path)
            data, violations = inherited_keys(document.data)
            for problem in (violations := _with_rewritten(document, violations)):
                drop(data, problem.path)
            self.defaults_diagnostics += _located(path, document, violations)
        except DocumentError as error:
            self.defaults_diagnostics.append(_diagnostic(path, error))
        except Exception as error:  # as for any other file
            log.debug("Reading %s", path, exc_info=True)
            self.defaults_diagnostics.append(unexpected(path, error))
        else:
            return data
        return {}


def _with_rewritten(document: Document, violations: Iterable[Violation]) -> list[Violation]:
    """Add the values that YAML rewrites, and drop the model's own errors about these values."""
    violations = list(violations)
    found = list(rewritten(document, {problem.path for problem in violations}))
    places = {problem.path for problem in found}
    return [*found, *(with_written_text(document, each) for each in violations if each.path not in places)]


def document_of(path: Path, raw: bytes) -> Document:
    """Parse the bytes of a file.

    :raises DocumentError: if they cannot be read.
    """
    return parse(decode(raw), is_json=path.suffix == ".json")


def _open(path: Path) -> Document:
    return document_of(path, read_bytes(path))


def _located(path: Path, document: Document, violations: Iterable[Violation]) -> list[Diagnostic]:
    diagnostics = []
    for problem in violations:
        written = document.written(problem.path)
        line, column = document.position(written, at_key=problem.at_key)
        diagnostics.append(Diagnostic(str(path), line, column, key_text(written), problem.message, problem.code.value))
    return sorted(diagnostics, key=lambda diagnostic: (diagnostic.line or 0, diagnostic.column or 0))


def _diagnostic(path: Path, error: DocumentError) -> Diagnostic:
    violation = error.violation
    key = key_text(violation.path)
    return Diagnostic(str(path), error.line, error.column, key, violation.message, violation.code.value)
