# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""
What a script leaves: which of it can be kept, and what becomes of the rest.

A script writes into a folder of its own, `OutputFolder`. When it has ended, what can be kept is moved from there to
the files of the execution. All else is named and stays behind, so that one odd file never costs the others.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from batchy_provider.bundles.limits import GIB
from batchy_provider.bundles.masking import Masker
from batchy_provider.core.terminal_text import is_printable, printable

FILES = "files"
HOLES_BYTES = GIB
"""A file with more holes than this, and than data, is not kept: reading it takes as long as if they were data."""
NAME_BYTES = 700
"""Of a path below the folder; an object store's keys have 1,024 with all that is before it."""
LISTED = 20
OUTPUT_FAULT = (
    "$BATCHY_OUTPUT {}. Expected one regular file when script.sh ends: nothing is handed to a later job. Pack several "
    "files into one, or leave them in $BATCHY_OUTPUT_DIR."
)
_MASK = "MASKED"
_PYTHON_CACHE = "__pycache__"
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a link",
    stat.S_IFIFO: "a pipe (FIFO)",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


@dataclass(frozen=True, slots=True)
class SkippedFile:
    """
    Something that was left and is not kept.

    :param name: of the file, as it is shown: masked, and without characters that steer a terminal
    :param reason: why, as the end of a sentence
    """

    name: str
    reason: str


@dataclass(slots=True)
class CollectedOutput:
    """
    What became of the things that a script left.

    :param output_fault: why `BATCHY_OUTPUT` cannot be handed on; None if it can, or was never written
    :param left_out: what is not kept
    :param notices: other things to tell the script's author
    """

    output_fault: str | None = None
    left_out: list[SkippedFile] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)


class OutputFolder:
    """
    The folder that a script may write to.

    :param folder: a folder that does not exist yet, on the same file system as the files of the execution
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.output = folder / "out" / "output"
        self.files = folder / FILES
        for path in (folder, self.output.parent, self.files):
            path.mkdir(mode=0o700)
        # Whatever is made or removed in it sets its time to now: so it is known that an output was written and removed.
        os.utime(self.output.parent, ns=(0, 0))

    def gather(self, into: Path, masker: Masker) -> CollectedOutput:
        """
        Move what can be kept to ``into/output`` and ``into/files``.

        :param into: the folder of the execution's files
        :param masker: masks secrets in names
        """
        found = CollectedOutput(output_fault=self._take_output(into / "output"))
        problem = _folder_problem(self.files)
        if problem:
            found.notices.append(f"$BATCHY_OUTPUT_DIR {problem}: no file in it is kept.")
            return found
        (into / FILES).mkdir(mode=0o700)
        _Gathering(into / FILES, masker, found).walk(self.files)
        return found

    def _take_output(self, target: Path) -> str | None:
        try:
            take(self.output, target)
        except FileNotFoundError:
            return None if self._is_untouched() else "was written and is gone: the script removed or renamed it"
        except OSError as error:
            return _reason(error)
        return None

    def _is_untouched(self) -> bool:
        with contextlib.suppress(OSError):
            return self.output.parent.lstat().st_mtime_ns == 0
        return False


class _Gathering:
    """Moves files out of one folder, each by itself."""

    def __init__(self, into: Path, masker: Masker, found: CollectedOutput) -> None:
        self._into = into
        self._masker = masker
        self._found = found
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
            self._found.notices.append(
                f"{self._renamed} of the kept files had a secret in their names: {_MASK} stands in its place."
            )

    def _entries(self, top: Path, prefix: str) -> Iterator[tuple[str, bool]]:
        folder = top / prefix
        try:
            with contextlib.suppress(OSError):  # a script may have taken its own rights away
                folder.chmod(0o700)
            with os.scandir(folder) as found:
                entries = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in found)
        except OSError as error:
            self._leave_out(prefix, _reason(error))
            return
        for each, is_folder in entries:
            name = prefix + each
            reason = _name_problem(name)
            if reason:
                self._leave_out(name, reason)
            else:
                yield name, is_folder

    def _take(self, path: Path, name: str) -> None:
        target = self._free(name)
        try:
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            take(path, target)
        except OSError as error:
            self._leave_out(name, _reason(error))
        else:
            self._renamed += target != self._into / name

    def _free(self, name: str) -> Path:
        """The place of a file: under its own name, or, with a secret in it, under one that nobody has yet."""
        shown = self._masker.text(name).replace("***", _MASK)
        if shown == name:
            return self._into / name
        place, number = self._into / shown, 1
        while os.path.lexists(place):
            number += 1
            place = self._into / f"{shown}.{number}"
        return place

    def _leave_out(self, name: str, reason: str) -> None:
        self._found.left_out.append(SkippedFile(shown_name(name, self._masker), reason))


def take(path: Path, target: Path) -> None:
    """
    Move one regular file; a file that has other names elsewhere is copied, since these could change it later.

    :raises OSError: it is no regular file, cannot be read, or is mostly holes; `target` does not exist then
    """
    kind = stat.S_IFMT(path.lstat().st_mode)
    if kind != stat.S_IFREG:
        raise _UnkeptError(f"is {_KINDS.get(kind, 'no file')}")
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(fd, "rb") as source:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise _UnkeptError("was exchanged while it was kept")
        if _is_hollow(fd, found.st_size):
            raise _UnkeptError(f"has {found.st_size:,} bytes, most of them holes (a sparse file): pack it")
        if found.st_nlink == 1:
            try:
                path.rename(target)
            except OSError as error:
                if error.errno not in (errno.EXDEV, errno.EACCES, errno.EPERM):
                    raise
            else:
                return
        try:
            with target.open("xb") as out:
                shutil.copyfileobj(source, out, 1024 * 1024)
        except BaseException:
            target.unlink(missing_ok=True)
            raise


class _UnkeptError(OSError):
    """A file that is not kept for another reason than an error of the system."""


def _is_hollow(fd: int, size: int) -> bool:
    """Tell whether most of a large file is holes; False where the system does not say."""
    limit = max(HOLES_BYTES, size // 2)
    holes = at = 0
    if size <= limit or not hasattr(os, "SEEK_DATA"):
        return False
    try:
        while at < size and holes <= limit:
            data = os.lseek(fd, at, os.SEEK_DATA)
            holes += data - at
            at = os.lseek(fd, data, os.SEEK_HOLE)
    except OSError as error:
        if error.errno == errno.ENXIO:  # nothing but a hole up to the end
            holes += size - at
    os.lseek(fd, 0, os.SEEK_SET)
    return holes > limit


def _folder_problem(folder: Path) -> str | None:
    try:
        mode = folder.lstat().st_mode
    except FileNotFoundError:
        return "was removed by the script"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    if not stat.S_ISDIR(mode):
        return f"was replaced by the script: it is {_KINDS.get(stat.S_IFMT(mode), 'a file')}"
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


def _reason(error: OSError) -> str:
    if isinstance(error, _UnkeptError):
        return str(error)
    if isinstance(error, FileNotFoundError):
        return "vanished while it was kept"
    return f"cannot be kept ({error.strerror or error})"


def shown_name(name: str, masker: Masker) -> str:
    """A name for logs and messages: masked, of one line, without characters that steer a terminal, bounded."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    text = printable(masker.text(text), lines=False)
    return text if len(text) <= NAME_BYTES else f"{text[:NAME_BYTES]}…"


def names_below(folder: Path, most: int) -> set[str]:
    """
    Return the files of a folder and of those in it; links are files.

    :param most: look at no more entries than this
    """
    found: set[str] = set()
    folders = [""]
    while folders:
        prefix = folders.pop()
        with contextlib.suppress(OSError), os.scandir(folder / prefix) as entries:
            for entry in entries:
                most -= 1
                if most < 0:
                    return found
                if not entry.is_dir(follow_symlinks=False):
                    found.add(prefix + entry.name)
                elif entry.name != _PYTHON_CACHE:
                    folders.append(f"{prefix}{entry.name}/")
    return found


def left_out_notices(left_out: Sequence[SkippedFile]) -> list[str]:
    """Say what is not kept: by reason, a few names of each."""
    reasons: dict[str, list[str]] = {}
    for each in left_out:
        reasons.setdefault(each.reason, []).append(each.name)
    shown = list(reasons.items())[:LISTED]
    notices = [f"Not kept from $BATCHY_OUTPUT_DIR: {_listing(names)} {reason}." for reason, names in shown]
    rest = sum(len(names) for names in list(reasons.values())[LISTED:])
    return [*notices, f"Not kept from $BATCHY_OUTPUT_DIR: {rest:,} more."] if rest else notices


def new_files_notices(names: Sequence[str], masker: Masker) -> list[str]:
    """Say which files a script has made beside itself: they go with its working copy."""
    if not names:
        return []
    shown = _listing([shown_name(name, masker) for name in names[: LISTED + 1]], len(names))
    what = "1 new file was" if len(names) == 1 else f"{len(names):,} new files were"
    return [
        f"{what} left in the working copy, which is removed: {shown}. Write what must stay to $BATCHY_OUTPUT_DIR, or "
        "to a place of its own."
    ]


def _listing(names: Sequence[str], count: int | None = None) -> str:
    """Names in one line, at most `LISTED` of them."""
    count = len(names) if count is None else count
    more = f" and {count - LISTED:,} more" if count > LISTED else ""
    return ", ".join(f"'{name}'" for name in names[:LISTED]) + more
