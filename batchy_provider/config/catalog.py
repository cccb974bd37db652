# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Cache the workflow files of a folder in memory, for long-running processes. Changed files are read again."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from batchy_provider.config.bundle_paths import BundleCheck, bundle_problem
from batchy_provider.config.file_scan import Stamp, stamp_of, stamps_of_files
from batchy_provider.config.reader import CALENDARS_STEM, SHARED_STEMS, SUFFIXES, Folder, Read, Reader, read_each
from batchy_provider.config.valid_files import CachingReader


@dataclass(frozen=True, slots=True)
class _Known:
    """What was read of a file.

    :param bundles: folder and bundle → what was wrong with it: bundles come and go without a change of the file.
    """

    stamp: Stamp
    result: Read
    bundles: Mapping[tuple[Path, str], str | None]

    def has_same_bundles(self, look: BundleCheck) -> bool:
        return all(look(folder, bundle) == problem for (folder, bundle), problem in self.bundles.items())


class Catalog:
    """Read all workflow files of a folder; read a file again only when it, or one of its bundles, has changed.

    Safe to share between threads.

    :param folder: the folder; one that is not there has no files.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._lock = threading.Lock()
        self._shared: dict[Path, Stamp] = {}
        self._known: dict[Path, _Known] = {}
        self._stamps: dict[str, Stamp | None] = {}
        self._with_bundles: list[_Known] = []
        self._last: Folder | None = None

    def read(self) -> Folder:
        """Return the workflows and diagnostics of all files as they are now; see `reader.read_folder`.

        As long as nothing has changed, this is the same object. Callers do not change it.
        """
        if not os.path.isdir(self.folder):  # noqa: PTH112 - False, not an error, for what cannot be read
            return Folder()
        with self._lock:
            look = cache(bundle_problem)  # bundles are looked at once in each reading
            stamps = stamps_of_files(self.folder)
            # What cannot be looked at is read again each time.
            is_same = stamps == self._stamps and None not in stamps.values()
            if self._last is None or not is_same or not all(each.has_same_bundles(look) for each in self._with_bundles):
                self._last = self._read(look)
                self._stamps = stamps
                self._with_bundles = [each for each in self._known.values() if each.bundles]
            return self._last

    def _read(self, look: BundleCheck) -> Folder:
        """Look at each file, and read those that have changed."""
        shared = dict(self._stamps_of_shared())
        if shared != self._shared:
            self._known.clear()
            self._shared = shared
        reader = CachingReader(self.folder)
        known: dict[Path, _Known] = {}
        found = read_each(self.folder, lambda path: self._read_file(reader, look, path, known))
        self._known = known
        for folder in {path.parent for path in known} or {self.folder}:
            reader.defaults(folder)  # files that are unchanged were not read again, and so read no defaults
        for folder in dict.fromkeys(path.parent for path in shared if path.stem == CALENDARS_STEM):
            reader.calendars(folder)
        found.diagnostics += reader.shared_diagnostics
        return found

    def _read_file(self, reader: Reader, look: BundleCheck, path: Path, known: dict[Path, _Known]) -> Read:
        stamp = _stamp(path)
        before = self._known.get(path)
        if before is not None and before.stamp == stamp and before.has_same_bundles(look):
            known[path] = before
            return before.result
        bundles: dict[tuple[Path, str], str | None] = {}

        def remember(folder: Path, bundle: str) -> str | None:
            bundles[folder, bundle] = problem = look(folder, bundle)
            return problem

        reader.look = remember
        result = reader.read(path)
        if stamp is not None:
            known[path] = _Known(stamp, result, bundles)
        return result

    def _stamps_of_shared(self) -> Iterator[tuple[Path, Stamp]]:
        folders = {self.folder} | {path.parent for path in self._known}
        folders |= {parent for folder in folders for parent in folder.parents if self.folder in parent.parents}
        for folder in folders:
            for suffix in SUFFIXES:
                for stem in SHARED_STEMS:
                    path = folder / f"{stem}{suffix}"
                    if (stamp := _stamp(path)) is not None:
                        yield path, stamp


def _stamp(path: Path) -> Stamp | None:
    try:
        return stamp_of(path.stat())
    except OSError:
        return None
