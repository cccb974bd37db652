# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Cache the workflow files of a folder in memory, for long-running processes. Changed files are read again."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from batchy_provider import collector
from batchy_provider.config.bundle_paths import BundleCheck, bundle_problem
from batchy_provider.config.diagnostics import Diagnostic
from batchy_provider.config.file_scan import (
    CALENDARS_STEM,
    SHARED_STEMS,
    SUFFIXES,
    Stamp,
    changed_at,
    stamp_of,
    stamps_of_files,
)
from batchy_provider.config.folder import Folder

if TYPE_CHECKING:
    from batchy_provider.config.reader import Read, Reader

_SETTLED_SECONDS = 2.0
"""What was changed so shortly before it was read is read again after this time. File systems count time in steps, some
in steps of two seconds: a second change in the same step has the same stamp."""
_ERROR_SECONDS = 30.0
"""A file with errors is read again after this time, as by Airflow: a date in the future is an error that passes."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What was read of a file.

    :param bundles: folder and bundle → what was wrong with it: bundles come and go without a change of the file.
    :param until: when it is read again although its stamp is the same, by the clock of this process.
    """

    stamp: Stamp
    result: Read
    bundles: Mapping[tuple[Path, str], str | None]
    until: float

    def has_same_bundles(self, look: BundleCheck) -> bool:
        return all(look(folder, bundle) == problem for (folder, bundle), problem in self.bundles.items())


_SHARED_FILES = tuple(f"{stem}{suffix}" for stem in SHARED_STEMS for suffix in SUFFIXES)


class _World(NamedTuple):
    """What decides about all files.

    :param year: schedules that never fire are errors, and calendars look some years ahead.
    :param stamps: of the files that are no workflows.
    :param errors: of the same.
    """

    year: int
    stamps: Mapping[Path, Stamp | None]
    errors: frozenset[Diagnostic]


class Catalog:
    """Read all workflow files of a folder; read a file again only when it, or one of its bundles, has changed.

    Safe to share between threads.

    :param folder: the folder; one that is not there has no files.
    :param remembers: write down which files are valid, for this user's next process on this machine. A process that
        reads all files once, and may be of another release, leaves that to those that go on.
    """

    def __init__(self, folder: str | os.PathLike[str], *, remembers: bool = False) -> None:
        self.folder = Path(folder)
        self._remembers = remembers
        self._lock = threading.Lock()
        self._world: _World | None = None
        self._settles_at = math.inf
        self._until = math.inf
        self._known: dict[Path, _Known] = {}
        self._stamps: dict[str, Stamp | None] = {}
        self._with_bundles: list[_Known] = []
        self._last = Folder()

    def read(self) -> Folder:
        """Return the workflows and diagnostics of all files as they are now; see `reader.read_folder`.

        As long as nothing has changed, this is the same object. Callers do not change it.
        """
        if not os.path.isdir(self.folder):  # noqa: PTH112 - False, not an error, for what cannot be read
            return Folder()
        with self._lock:
            look = cache(bundle_problem)  # bundles are looked at once in each reading
            stamps = stamps_of_files(self.folder)
            if not self._is_current(stamps, look):
                found = self._read(look, stamps) if self._known or _has_files(stamps) else Folder()
                self._stamps = stamps
                self._with_bundles = [each for each in self._known.values() if each.bundles]
                if not found.is_same(self._last):
                    self._last = found
            return self._last

    def _is_current(self, stamps: Mapping[str, Stamp | None], look: BundleCheck) -> bool:
        return (
            self._world is not None
            and self._world.year == _year()
            and time.monotonic() < self._until
            and stamps == self._stamps
            and None not in stamps.values()  # what cannot be looked at is read again each time
            and all(each.has_same_bundles(look) for each in self._with_bundles)
        )

    def _read(self, look: BundleCheck, stamps: Mapping[str, Stamp | None]) -> Folder:
        """Look at each file, and read those that have changed."""
        # A machine without workflow files does not load the models of files.
        from batchy_provider.config.reader import read_each
        from batchy_provider.config.valid_files import CachingReader

        now = time.monotonic()
        reader = CachingReader(self.folder)
        world = self._world_now(reader, stamps)
        if world != self._world or None in world.stamps.values() or now >= self._settles_at:
            self._known.clear()
            self._settles_at = now + _SETTLED_SECONDS if any(map(_is_fresh, world.stamps.values())) else math.inf
        is_first = not self._known
        known: dict[Path, _Known] = {}
        # All of it stays, and may be much.
        with collector.only_new() if is_first else nullcontext():
            found = read_each(self.folder, lambda path: self._read_file(reader, look, path, known, now))
        self._known = known
        if is_first and self._remembers:  # later, this reader knows only the files that have changed
            reader.remember()
        self._world = self._world_now(reader, stamps)  # files that are unchanged were not read, nor what they inherit
        found.diagnostics += reader.shared_diagnostics
        errors_until = now + _ERROR_SECONDS if self._world.errors else math.inf
        self._until = min([errors_until, self._settles_at, *(each.until for each in known.values())])
        return found

    def _read_file(self, reader: Reader, look: BundleCheck, path: Path, known: dict[Path, _Known], now: float) -> Read:
        stamp = _stamp(path)
        before = self._known.get(path)
        if before is not None and before.stamp == stamp and now < before.until and before.has_same_bundles(look):
            known[path] = before
            return before.result
        bundles: dict[tuple[Path, str], str | None] = {}

        def remember(folder: Path, bundle: str) -> str | None:
            bundles[folder, bundle] = problem = look(folder, bundle)
            return problem

        reader.look = remember
        is_fresh = _is_fresh(stamp)
        result = reader.read(path)
        if stamp is not None:
            until = now + (_SETTLED_SECONDS if is_fresh else _ERROR_SECONDS if result[1] else math.inf)
            known[path] = _Known(stamp, result, bundles, until)
        return result

    def _world_now(self, reader: Reader, stamps: Mapping[str, Stamp | None]) -> _World:
        paths = {Path(name): stamp for name, stamp in stamps.items() if name.endswith(_SHARED_FILES)}
        shared = {path: stamp for path, stamp in paths.items() if path.name in _SHARED_FILES}
        for folder in sorted({path.parent for path in self._known} | {self.folder}):
            reader.defaults(folder)
        for folder in sorted({path.parent for path in shared if path.stem == CALENDARS_STEM}):
            reader.calendars(folder)
        return _World(_year(), shared, frozenset(reader.shared_diagnostics))


def _has_files(stamps: Mapping[str, Stamp | None]) -> bool:
    """Tell whether there is anything that is read, or a message of; in doubt, there is."""
    return None in stamps.values() or any(path.lower().endswith(SUFFIXES) for path in stamps)


def _year() -> int:
    return datetime.now(timezone.utc).year


def _is_fresh(stamp: Stamp | None) -> bool:
    return stamp is not None and abs(time.time() - changed_at(stamp)) < _SETTLED_SECONDS


def _stamp(path: Path) -> Stamp | None:
    try:
        return stamp_of(path.stat())
    except OSError:
        return None
