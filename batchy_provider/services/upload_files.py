# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Files of an upload on disk: copy them, lay them out for a check, move them into place. Links are not followed."""

from __future__ import annotations

import io
import os
import re
import stat
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath

from batchy_provider.bundles.storage import hash_file, sync_path, write_new
from batchy_provider.config.bundle_paths import FOLDER, SCRIPT
from batchy_provider.config.reader import DEFAULTS_STEM, SUFFIXES
from batchy_provider.core.names import check_workflow_name
from batchy_provider.exceptions import BatchyError, ConfigError

_BUNDLE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,199}\.zip")
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class UploadConflictError(BatchyError):
    """What is to be stored is there already, or is not what the caller took it to be; nothing was stored."""


class UploadStorageError(BatchyError):
    """The disk does not take the upload; nothing was stored, or the next upload finishes it."""


def config_name(name: str) -> str:
    """Return the name of a workflow file, checked: no path, an ending that is read, a name that can be."""
    stem, dot, suffix = name.rpartition(".")
    # Files that begin with a dot or with `_` are read as something else, or not at all.
    if dot + suffix not in SUFFIXES or stem.casefold() == DEFAULTS_STEM or stem.startswith("."):
        raise ConfigError(f"{name!r} is no workflow file; expected NAME{', NAME'.join(SUFFIXES)}")
    check_workflow_name(stem)
    return name


def bundle_name(name: str) -> str:
    """Return the name of a bundle, checked."""
    if not _BUNDLE.fullmatch(name):
        raise ConfigError(f"{name!r} is no name of a bundle; expected NAME.zip, with letters, digits, _, . and - alone")
    return name


def check_target(top: Path, name: str) -> bool:
    """
    Check that a file can be stored under a name: no link on the way, no other spelling of it.

    :param top: the folder of workflow files, resolved.
    :param name: relative to it.
    :returns: whether a file is there.
    :raises UploadConflictError: something is in the way.
    """
    place = top
    for part in PurePath(name).parts:
        names = os.listdir(place) if place.is_dir() else []  # noqa: PTH208
        twin = next((each for each in names if each != part and each.casefold() == part.casefold()), None)
        if twin is not None and part not in names:
            raise UploadConflictError(f"{name} differs from {twin} in upper and lower case alone; use that name")
        place = place / part
        try:
            mode = place.lstat().st_mode
        except FileNotFoundError:
            return False
        shown = place.relative_to(top)
        if stat.S_ISLNK(mode):
            raise UploadConflictError(
                f"{shown} is a link, and an upload follows none; put a folder or file in its place, or store {name} "
                "where the link leads"
            )
        if stat.S_ISDIR(mode) == (place == top / name):
            raise UploadConflictError(f"{shown} is in the way of {name}")
    if not stat.S_ISREG(mode):
        raise UploadConflictError(f"{name} is no plain file")
    return True


def lay_out(top: Path, into: Path) -> None:
    """
    Lay out a folder of workflow files as it is, in a new folder: folders are made, files and bundles are links.

    Whatever is written into the layout replaces a link or lies beside it: nothing of `top` is touched.
    """
    folders: list[tuple[Path, Path, frozenset[tuple[int, int]]]] = [(top, into, frozenset())]
    while folders:
        here, there, above = folders.pop()
        there.mkdir()
        try:
            found = here.stat()
            names = sorted(os.listdir(here))  # noqa: PTH208
        except OSError:  # the reader reports it
            continue
        if (found.st_dev, found.st_ino) in above:  # links in a circle
            continue
        above |= {(found.st_dev, found.st_ino)}
        for name in names:
            place = str(here / name)
            is_folder = os.path.isdir(place)  # noqa: PTH112 - a folder that may not be looked into is no error here
            if name.startswith("."):
                continue
            if is_folder and not os.path.exists(f"{place}/{SCRIPT}"):  # noqa: PTH110
                folders.append((here / name, there / name, above))
            elif is_folder or os.path.isfile(place) or not os.path.exists(place):  # noqa: PTH110, PTH113
                (there / name).symlink_to(os.path.abspath(place))  # noqa: PTH100


def put_in(layout: Path, name: str, file: Path) -> None:
    """Let a new file stand in a layout."""
    place = layout / name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.unlink(missing_ok=True)
    place.symlink_to(file)


def move_in(files: Collection[str], source: Path, top: Path) -> None:
    """
    Rename files into their places, bundles before the workflows that name them; once more does no harm.

    :param source: folder in which they lie under the same names.
    :raises OSError: a folder on the way is a link now.
    """
    for name in sorted(files, key=lambda name: PurePath(name).parent.name != FOLDER):
        if (source / name).exists():
            with _folder_of(top, name) as folder:
                os.replace(source / name, PurePath(name).name, dst_dir_fd=folder)
                os.fsync(folder)


@contextmanager
def _folder_of(top: Path, name: str) -> Iterator[int]:
    descriptor = os.open(top.resolve(), _FOLDER_FLAGS)
    try:
        for part in PurePath(name).parent.parts:
            try:
                os.mkdir(part, dir_fd=descriptor)
                os.fsync(descriptor)
            except FileExistsError:
                pass
            inner = os.open(part, _FOLDER_FLAGS, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
        yield descriptor
    finally:
        os.close(descriptor)


def copy_file(source: Path, target: Path) -> str:
    """Copy a file to a new one, which is on disk when this returns; returns its sha256."""
    with source.open("rb") as file:
        return write_new(target, file).sha256


def write_file(target: Path, data: bytes) -> str:
    """Write a new file. The file and its name are on disk when this returns; returns its sha256."""
    content = write_new(target, io.BytesIO(data))
    sync_path(target.parent)
    return content.sha256


def digest_of(path: Path) -> str:
    """Return the sha256 of a file."""
    return hash_file(path).sha256
