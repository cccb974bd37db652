# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Find the workflow files of a folder and read their bytes. What cannot be read is one diagnostic and hides nothing.

Where `os.path` is used, it answers False for what cannot be read; `pathlib` raises.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from batchy_provider.config import bundle_paths as bundles
from batchy_provider.config.diagnostics import Code, Diagnostic, Violation, unexpected
from batchy_provider.config.document import MAX_BYTES, DocumentError
from batchy_provider.core.names import check_workflow_name
from batchy_provider.exceptions import ConfigError, InvalidNameError

SUFFIXES = (".yaml", ".yml", ".json")
DEFAULTS_STEM = "_defaults"
CALENDARS_STEM = "_calendars"
SHARED_STEMS = (DEFAULTS_STEM, CALENDARS_STEM)
"""Names of files that are no workflows: what they hold is for all workflows of their folder and below."""
Stamp = tuple[int, int, int, int]
"""See `stamp_of`."""
MAX_FOLDERS = 10_000
"""Folders that are looked into: a link to the root of a machine must not take the time of all workflows."""

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO (named pipe)",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """Return a regular file's bytes, one more than `document.MAX_BYTES` at most. Never waits, as reading a FIFO does.

    :raises DocumentError: if it cannot be read or is not a regular file.
    """
    try:
        # Looked at first, since opening a device can have effects, and again, since it may be another file by now.
        _must_be_regular(os.stat(path))  # noqa: PTH116 - a parse reads thousands of files, without a `Path` in half the time
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            found = os.fstat(descriptor)
            _must_be_regular(found)
            return _read(descriptor, found.st_size)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise DocumentError(Violation((), Code.UNREADABLE_FILE, f"cannot be read: {error.strerror}")) from None


def _read(descriptor: int, expected: int) -> bytes:
    """Return what is in an open file, one byte more than `MAX_BYTES` at most.

    :param expected: its size. It may have another one by now.
    """
    parts, missing = [], MAX_BYTES + 1
    while missing and (part := os.read(descriptor, min(missing, max(expected, 4095) + 1))):
        parts.append(part)
        missing -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _must_be_regular(found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        kind = _KINDS.get(stat.S_IFMT(found.st_mode), "a special file")
        raise DocumentError(Violation((), Code.UNREADABLE_FILE, f"this is {kind}; expected a regular file"))


def find_files(folder: str | os.PathLike[str], diagnostics: list[Diagnostic] | None = None) -> Iterator[Path]:
    """Yield the workflow files of a folder and of the folders in it, in a fixed order, upper ones first.

    Bundles are no workflows: folders named ``bundles`` and folders with a ``script.sh`` are left out, and so
    is what begins with a dot. Links to folders are followed last, and no folder is looked into twice.

    :param diagnostics: what cannot be read, and files whose suffix is in capitals, are added to it.
    :raises ConfigError: if there is no such folder.
    """
    # `os.path` answers False for a folder without permission, where `pathlib` raises.
    if not os.path.isdir(folder):  # noqa: PTH112
        raise ConfigError(f"there is no folder {folder} of workflow files; create it, or set [batchy] cfg_folder")
    found: list[Diagnostic] = [] if diagnostics is None else diagnostics
    for entry in _walk(os.fspath(folder), found):
        stem, dot, suffix = entry.name.rpartition(".")
        if dot + suffix in SUFFIXES:
            if stem not in SHARED_STEMS:
                yield Path(entry.path)
        elif stem and (dot + suffix).lower() in SUFFIXES:
            message = f"files that end in {dot}{suffix} are not read; rename it to {stem}{dot}{suffix.lower()}"
            found.append(Diagnostic.of_file(entry.path, Code.FILE_NAME, message))


def stamps_of_files(folder: str | os.PathLike[str]) -> dict[str, Stamp | None]:
    """Return path → stamp of each file in the folders that `find_files` looks into, other files of these included.

    As long as this stays the same, so does what the files say, but for their bundles.

    :returns: None as stamp of a file that cannot be looked at; errors of folders are entries of their own.
    """
    errors: list[Diagnostic] = []
    found: dict[str, Stamp | None] = {entry.path: _stamp_of_entry(entry) for entry in _walk(os.fspath(folder), errors)}
    return found | {f"{error.file}: {error.message}": None for error in errors}


def _stamp_of_entry(entry: os.DirEntry[str]) -> Stamp | None:
    try:
        return stamp_of(entry.stat())
    except OSError:
        return None


def stamp_of(found: os.stat_result) -> Stamp:
    """Return what changes whenever a file does."""
    # The time of the inode, too: that of the content stays when a file becomes readable.
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino


def changed_at(stamp: Stamp) -> float:
    """Return when the file system noted the last change of a file, Unix seconds."""
    return stamp[1] / 1e9


def folders_with_calendars(folder: str | os.PathLike[str]) -> list[Path]:
    """Return the folders that have a file of calendars, upper ones first."""
    found = (Path(entry.path) for entry in _walk(os.fspath(folder), []) if entry.name.startswith(f"{CALENDARS_STEM}."))
    return list(dict.fromkeys(path.parent for path in found if path.stem == CALENDARS_STEM and path.suffix in SUFFIXES))


def find_shared(folder: Path, stem: str) -> Path | None:
    """Return the file of a folder that has this name, one of `SHARED_STEMS`; also a broken link."""
    return next((path for suffix in SUFFIXES if os.path.lexists(path := folder / f"{stem}{suffix}")), None)


def find_file(folder: str | os.PathLike[str], workflow: str) -> Path | None:
    """Return the file of one workflow, the same one that `reader.read_folder` takes; nothing is opened."""
    try:
        check_workflow_name(workflow)
    except InvalidNameError:
        return None
    if workflow in SHARED_STEMS:
        return None
    for suffix in sorted(SUFFIXES):
        # `os.path` answers False for a folder without permission, where `pathlib` raises.
        if os.path.isfile(path := Path(folder, workflow + suffix)):  # noqa: PTH113
            return path
    return next((path for path in find_files(folder) if path.stem == workflow), None)


def _walk(top: str, diagnostics: list[Diagnostic]) -> Iterator[os.DirEntry[str]]:
    """Yield all that is no folder, in each folder once."""
    seen: set[tuple[int, int]] = set()
    folders, links = [top], list[str]()
    while folders or links:
        folder = folders.pop() if folders else links.pop(0)
        try:
            found = Path(folder).stat()
            if (place := (found.st_dev, found.st_ino)) in seen:
                continue
            if len(seen) >= MAX_FOLDERS:
                message = f"more than {MAX_FOLDERS} folders; the rest is not read. Is this a link to another tree?"
                diagnostics.append(Diagnostic.of_file(folder, Code.TOO_LARGE, message))
                return
            seen.add(place)
            files, inner, linked = _list(folder, diagnostics)
        except OSError as error:
            diagnostics.append(Diagnostic.of_file(folder, Code.UNREADABLE_FILE, f"cannot be read: {error.strerror}"))
        except Exception as error:  # such as of a file system that answers nonsense
            diagnostics.append(unexpected(folder, error))
        else:
            yield from files
            folders += reversed(inner)
            links += linked


def _list(folder: str, diagnostics: list[Diagnostic]) -> tuple[list[os.DirEntry[str]], list[str], list[str]]:
    """Return the files of a folder, its folders, and its links to folders."""
    with os.scandir(folder) as scan:
        entries = sorted((entry for entry in scan if entry.name[0] != "."), key=lambda entry: entry.name)
    files, inner, linked = [], list[str](), list[str]()
    for entry in entries:
        try:
            is_folder = entry.is_dir()
        except OSError as error:
            # A broken link is no file, but saying nothing of it would hide a workflow, or many.
            if entry.name.endswith(SUFFIXES):
                files.append(entry)
            elif error.errno != errno.ENOENT:
                diagnostics.append(
                    Diagnostic.of_file(entry.path, Code.UNREADABLE_FILE, f"cannot be read: {error.strerror}")
                )
            continue
        if not is_folder:
            files.append(entry)
        elif not _is_left_out(entry):
            (linked if entry.is_symlink() else inner).append(entry.path)
    return files, inner, linked


def _is_left_out(folder: os.DirEntry[str]) -> bool:
    # `os.path` answers False for a folder without permission, where `pathlib` raises.
    return folder.name in (bundles.FOLDER, "__pycache__") or os.path.exists(Path(folder.path, bundles.SCRIPT))  # noqa: PTH110
