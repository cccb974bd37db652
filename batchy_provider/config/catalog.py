# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The workflow files of a folder, kept in memory and read again when they change: for processes that stay."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

from batchy_provider.config.faults import Fault
from batchy_provider.config.reader import DEFAULTS_STEM, SUFFIXES, Folder, Reader, find_files
from batchy_provider.config.workflow import Workflow

Stamp = tuple[int, int, int]
_Read = tuple["Workflow | None", list[Fault]]


class Catalog:
    """All workflow files of a folder; a file is read again only when its time or size has changed.

    Safe to share between threads.

    :param folder: the folder; one that is not there has no files.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._lock = threading.Lock()
        self._defaults: dict[Path, Stamp] = {}
        self._known: dict[Path, tuple[Stamp, _Read]] = {}

    def read(self) -> Folder:
        """Return the workflows and faults of all files as they are now; see `reader.read_folder`."""
        found = Folder()
        if not self.folder.is_dir():
            return found
        with self._lock:
            defaults = dict(self._stamps_of_defaults())
            if defaults != self._defaults:
                self._known.clear()
                self._defaults = defaults
            reader = Reader(self.folder)
            first: dict[str, Path] = {}
            known: dict[Path, tuple[Stamp, _Read]] = {}
            for path in find_files(self.folder, found.faults):
                if (other := first.setdefault(path.stem, path)) != path:
                    message = f"the workflow {path.stem!r} is already defined by {other}; rename one of the files"
                    found.faults.append(Fault(str(path), None, None, "", message))
                    continue
                workflow, faults = self._read_file(reader, path, known)
                if workflow is not None:
                    found.workflows[workflow.name] = workflow
                found.faults += faults
            self._known = known
            for folder in {path.parent for path in known} or {self.folder}:
                reader.defaults(folder)  # files that were not read anew did not ask for it
            found.faults += reader.defaults_faults
        return found

    def _read_file(self, reader: Reader, path: Path, known: dict[Path, tuple[Stamp, _Read]]) -> _Read:
        stamp = _stamp(path)
        before = self._known.get(path)
        if before is not None and before[0] == stamp:
            known[path] = before
            return before[1]
        result = reader.read(path)
        if stamp is not None:
            known[path] = stamp, result
        return result

    def _stamps_of_defaults(self) -> Iterator[tuple[Path, Stamp]]:
        folders = {self.folder} | {path.parent for path in self._known}
        folders |= {parent for folder in folders for parent in folder.parents if self.folder in parent.parents}
        for folder in folders:
            for suffix in SUFFIXES:
                path = folder / f"{DEFAULTS_STEM}{suffix}"
                if (stamp := _stamp(path)) is not None:
                    yield path, stamp


def _stamp(path: Path) -> Stamp | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino
