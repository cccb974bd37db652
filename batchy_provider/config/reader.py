# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Files → workflows and faults. A bad file never hides a good one, and all its faults are told at once."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from batchy_provider.batches.names import check_workflow_name
from batchy_provider.config import bundles
from batchy_provider.config.document import MAX_BYTES, Document, DocumentError, decode, parse
from batchy_provider.config.excerpt import with_excerpts
from batchy_provider.config.faults import Fault, Problem, did_you_mean, key_text
from batchy_provider.config.validation import inherited_keys, merge, validate
from batchy_provider.config.workflow import Workflow
from batchy_provider.exceptions import ConfigError, InvalidNameError, UnknownWorkflowError

SUFFIXES = (".yaml", ".yml", ".json")
DEFAULTS_STEM = "_defaults"


class FaultsError(ConfigError):
    """Configuration files have faults; the text lists each, with the line of its file.

    :param faults: all of them.
    :param texts: file → its text, where that is not what is on the disk.
    """

    def __init__(self, faults: Iterable[Fault], texts: Mapping[str, str] | None = None) -> None:
        self.faults = list(faults)
        count = "1 fault" if len(self.faults) == 1 else f"{len(self.faults)} faults"
        super().__init__("\n".join([f"{count} in workflow files:", *with_excerpts(self.faults, texts)]))


@dataclass(slots=True)
class Folder:
    """What was found in a folder of workflow files.

    :param workflows: name → workflow, of all sound files.
    :param faults: what is wrong with the others.
    """

    workflows: dict[str, Workflow] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)


def read_folder(folder: str | os.PathLike[str]) -> Folder:
    """Read all workflow files of a folder and of the folders in it, bundles left out.

    :raises ConfigError: if there is no such folder.
    """
    found = Folder()
    reader = Reader(folder)
    first: dict[str, Path] = {}
    for path in find_files(folder, found.faults):
        if (other := first.setdefault(path.stem, path)) != path:
            message = f"the workflow {path.stem!r} is already defined by {other}; rename one of the files"
            found.faults.append(Fault(str(path), None, None, "", message))
            continue
        workflow, faults = reader.read(path)
        if workflow is not None:
            found.workflows[workflow.name] = workflow
        found.faults += faults
    found.faults += reader.defaults_faults
    return found


def read_workflow(folder: str | os.PathLike[str], name: str) -> Workflow:
    """Read the file of one workflow.

    :raises UnknownWorkflowError: if there is none; it names the nearest.
    :raises FaultsError: if it has faults.
    """
    path = find_file(folder, name)
    if path is None:
        hint = did_you_mean(name, (other.stem for other in find_files(folder)))
        raise UnknownWorkflowError(f"no file of workflow {name!r} in {folder}{hint}")
    workflow, faults = Reader(folder).read(path)
    if workflow is None:
        raise FaultsError(faults)
    return workflow


def find_files(folder: str | os.PathLike[str], faults: list[Fault] | None = None) -> Iterator[Path]:
    """Yield the workflow files of a folder and of the folders in it, in a fixed order, upper ones first.

    Bundles are no workflows: folders named ``bundles`` and folders with a ``script.sh`` are left out, and so
    is what begins with a dot.

    :param faults: folders that cannot be read are added to it.
    :raises ConfigError: if there is no such folder.
    """
    if not Path(folder).is_dir():
        raise ConfigError(f"there is no folder {folder} of workflow files; make it, or set [batchy] cfg_folder")
    for entries in _walk(folder, [] if faults is None else faults):
        for entry in entries:
            stem, dot, suffix = entry.name.rpartition(".")
            if dot + suffix in SUFFIXES and stem != DEFAULTS_STEM:
                yield Path(entry.path)


def find_file(folder: str | os.PathLike[str], workflow: str) -> Path | None:
    """Return the file of one workflow, the same one that `read_folder` takes; nothing is opened."""
    if workflow == DEFAULTS_STEM:
        return None
    for suffix in sorted(SUFFIXES):
        if (path := Path(folder, workflow + suffix)).is_file():
            return path
    return next((path for path in find_files(folder) if path.stem == workflow), None)


def _walk(folder: str | os.PathLike[str], faults: list[Fault]) -> Iterator[list[os.DirEntry[str]]]:
    try:
        with os.scandir(folder) as scan:
            entries = sorted((entry for entry in scan if entry.name[0] != "."), key=lambda entry: entry.name)
    except OSError as error:
        faults.append(Fault(os.fspath(folder), None, None, "", f"cannot be read: {error.strerror}"))
        return
    # A broken link is no file, but saying nothing of it would hide a workflow.
    yield [entry for entry in entries if not entry.is_dir()]
    for entry in entries:
        is_bundle = entry.name == bundles.FOLDER or Path(entry.path, bundles.SCRIPT).exists()
        if entry.is_dir() and not is_bundle and entry.name != "__pycache__" and not _leads_up(entry):
            yield from _walk(entry.path, faults)


def _leads_up(entry: os.DirEntry[str]) -> bool:
    """Tell whether an entry is a link to a folder that it lies in: following it would never end."""
    if not entry.is_symlink():
        return False
    place = Path(entry.path)
    return place.resolve() in (place.parent.resolve(), *place.parent.resolve().parents)


def locate(path: Path, problems: Iterable[Problem]) -> list[Fault]:
    """Find the lines of problems that showed up only when a sound file was used."""
    try:
        return _located(path, _open(path), problems)
    except DocumentError as error:  # it was changed a moment ago
        return [_fault(path, error)]


class Reader:
    """Reads files of one folder, each ``_defaults.yaml`` on their way once.

    :param folder: the top; defaults above it are not looked for.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.defaults_faults: list[Fault] = []
        self._defaults: dict[Path, Mapping[str, Any]] = {}

    def read(self, path: Path) -> tuple[Workflow | None, list[Fault]]:
        """Read one file.

        :returns: the workflow, or None and what is wrong with it.
        """
        try:
            document = _open(path)
        except DocumentError as error:
            return None, [_fault(path, error)]
        return self._validate(path, document)

    def read_text(self, path: Path, text: str) -> tuple[Workflow | None, list[Fault]]:
        """Read a text as if it were in a file; returns what `read` does."""
        try:
            document = parse(text.removeprefix("\ufeff"), is_json=path.suffix == ".json")
        except DocumentError as error:
            return None, [_fault(path, error)]
        return self._validate(path, document)

    def _validate(self, path: Path, document: Document) -> tuple[Workflow | None, list[Fault]]:
        try:
            name = check_workflow_name(path.stem)
        except InvalidNameError as error:
            return None, [Fault(str(path), None, None, "", f"{error}; rename the file")]
        workflow, problems = validate(name, path, document.data, self.defaults(path.parent))
        return workflow, _located(path, document, problems)

    def defaults(self, folder: Path) -> Mapping[str, Any]:
        """Return the keys that files of a folder inherit.

        A key that is wrong is told and left out: one wrong key must not take all workflows down.
        """
        if folder not in self._defaults:
            inherited = self.defaults(folder.parent) if folder != self.folder and self.folder in folder.parents else {}
            self._defaults[folder] = merge(inherited, self._read_defaults(folder))
        return self._defaults[folder]

    def _read_defaults(self, folder: Path) -> Mapping[str, Any]:
        path = next((p for p in (folder / f"{DEFAULTS_STEM}{s}" for s in SUFFIXES) if p.is_file()), None)
        if path is None:
            return {}
        try:
            document = _open(path)
        except DocumentError as error:
            self.defaults_faults.append(_fault(path, error))
            return {}
        data, problems = inherited_keys(document.data)
        self.defaults_faults += _located(path, document, problems)
        return data


def _open(path: Path) -> Document:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise DocumentError(Problem((), f"cannot be read: {error.strerror}")) from None
    return parse(decode(raw), is_json=path.suffix == ".json")


def _located(path: Path, document: Document, problems: Iterable[Problem]) -> list[Fault]:
    faults = []
    for problem in problems:
        written = document.written(problem.path)
        line, column = document.position(written, at_key=problem.at_key)
        faults.append(Fault(str(path), line, column, key_text(written), problem.message))
    return sorted(faults, key=lambda fault: (fault.line or 0, fault.column or 0))


def _fault(path: Path, error: DocumentError) -> Fault:
    return Fault(str(path), error.line, error.column, "", error.problem.message)
