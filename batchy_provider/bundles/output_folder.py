# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The folder for a script's output: which of its files can be stored, and why others cannot.

A script writes into a folder of its own, `OutputFolder`. When the script has ended, `OutputFolder.collect` moves each
file that can be stored to the files of the execution. It reports the other files and leaves them out, so that one file
that cannot be stored does not affect the rest.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from batchy_provider.bundles.file_moves import KINDS, move_file, why_not_moved
from batchy_provider.bundles.masking import Masker
from batchy_provider.bundles.skipped_files import SkippedFile, shown_name
from batchy_provider.core.terminal_text import is_printable

FILES = "files"
EXACT_STDOUT = "stdout.exact"
"""Name of the unmasked stdout. It becomes the output of a script that has not written one."""
NAME_BYTES = 700
"""Limit of a path below the folder. The keys of an object store have 1,024 bytes, with all folders above."""
OUTPUT_PROBLEM = (
    "$BATCHY_OUTPUT {}. Expected one regular file when script.sh ends, so no later job gets an output. Pack several "
    "files into one, or write them to $BATCHY_OUTPUT_DIR."
)
_MASK = "MASKED"
_PYTHON_CACHE = "__pycache__"


@dataclass(slots=True)
class CollectedOutput:
    """What became of the files that a script left.

    :param output_problem: why `BATCHY_OUTPUT` cannot be stored; None if it can, or was never written.
    :param skipped: files that are not stored.
    :param notices: other sentences for the script's author.
    """

    output_problem: str | None = None
    skipped: list[SkippedFile] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)


class OutputFolder:
    """The folder that a script writes its output to.

    :param folder: a folder that does not exist yet, on the same file system as the files of the execution.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.output = folder / "out" / "output"
        self.files = folder / FILES
        for path in (folder, self.output.parent, self.files):
            path.mkdir(mode=0o700)
        # Making or removing a file sets the folder's time. So `_is_untouched` knows if an output was there and is gone.
        os.utime(self.output.parent, ns=(0, 0))

    def collect(self, into: Path, masker: Masker) -> CollectedOutput:
        """Move what can be stored to ``into/output`` and ``into/files``. Without an output, take the unmasked stdout.

        :param into: the folder of the execution's files.
        :param masker: masks secrets in names.
        """
        collected = CollectedOutput(output_problem=self._take_output(into / "output"))
        if collected.output_problem is None and not (into / "output").exists() and (into / EXACT_STDOUT).exists():
            (into / EXACT_STDOUT).rename(into / "output")
        (into / EXACT_STDOUT).unlink(missing_ok=True)
        problem = _folder_problem(self.files)
        if problem:
            collected.notices.append(f"$BATCHY_OUTPUT_DIR {problem}: no file in it is stored.")
            return collected
        (into / FILES).mkdir(mode=0o700)
        _Collector(into / FILES, masker, collected).walk(self.files)
        return collected

    def _take_output(self, target: Path) -> str | None:
        try:
            move_file(self.output, target)
        except FileNotFoundError:
            return None if self._is_untouched() else "was written and is gone: the script removed or renamed it"
        except OSError as error:
            return why_not_moved(error)
        return None

    def _is_untouched(self) -> bool:
        with contextlib.suppress(OSError):
            return self.output.parent.lstat().st_mtime_ns == 0
        return False


class _Collector:
    """Moves files out of one folder, each on its own."""

    def __init__(self, into: Path, masker: Masker, collected: CollectedOutput) -> None:
        self._into = into
        self._masker = masker
        self._collected = collected
        self._renamed = 0

    def walk(self, top: Path) -> None:
        folders = [""]
        while folders:
            prefix = folders.pop()
            for name, is_folder in self._entries(top, prefix):
                if is_folder:
                    folders.append(f"{name}/")
                else:
                    self._take(top / name, name)
        if self._renamed:
            self._collected.notices.append(
                f"{self._renamed} of the stored files had a secret in their names, which is replaced by {_MASK}."
            )

    def _entries(self, top: Path, prefix: str) -> Iterator[tuple[str, bool]]:
        folder = top / prefix
        try:
            with contextlib.suppress(OSError):  # the script may have removed its own rights
                folder.chmod(0o700)
            with os.scandir(folder) as scan:
                entries = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in scan)
        except OSError as error:
            self._skip(prefix, why_not_moved(error))
            return
        for each, is_folder in entries:
            name = prefix + each
            reason = _name_problem(name)
            if reason:
                self._skip(name, reason)
            else:
                yield name, is_folder

    def _take(self, path: Path, name: str) -> None:
        target = self._free_place(name)
        try:
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            move_file(path, target)
        except OSError as error:
            self._skip(name, why_not_moved(error))
        else:
            self._renamed += target != self._into / name

    def _free_place(self, name: str) -> Path:
        """Return where a file goes: under its own name, or, if a secret is in the name, under an unused masked one."""
        shown = self._masker.text(name).replace("***", _MASK)
        if shown == name:
            return self._into / name
        place, number = self._into / shown, 1
        while os.path.lexists(place):
            number += 1
            place = self._into / f"{shown}.{number}"
        return place

    def _skip(self, name: str, reason: str) -> None:
        self._collected.skipped.append(SkippedFile(shown_name(name, self._masker), reason))


def _folder_problem(folder: Path) -> str | None:
    try:
        mode = folder.lstat().st_mode
    except FileNotFoundError:
        return "was removed by the script"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    if not stat.S_ISDIR(mode):
        return f"was replaced by the script: it is {KINDS.get(stat.S_IFMT(mode), 'a file')}"
    return None


def _name_problem(name: str) -> str | None:
    try:
        encoded = name.encode()
    except UnicodeEncodeError:
        return "has a name that is not UTF-8"
    if not is_printable(name) or "\n" in name or "\t" in name:
        return "has control characters in its name"
    if len(encoded) > NAME_BYTES:
        return f"has a path of more than {NAME_BYTES} bytes"
    return None


def names_below(folder: Path, most: int) -> set[str]:
    """Return the names of all files in a folder and in its subfolders. Links count as files.

    :param most: read no more entries than this.
    """
    names: set[str] = set()
    folders = [""]
    while folders:
        prefix = folders.pop()
        with contextlib.suppress(OSError), os.scandir(folder / prefix) as entries:
            for entry in entries:
                most -= 1
                if most < 0:
                    return names
                if not entry.is_dir(follow_symlinks=False):
                    names.add(prefix + entry.name)
                elif entry.name != _PYTHON_CACHE:
                    folders.append(f"{prefix}{entry.name}/")
    return names
