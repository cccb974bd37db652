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
from batchy_provider.config.reader import SHARED_STEMS, SUFFIXES
from batchy_provider.core.names import check_workflow_name
from batchy_provider.exceptions import BatchyError, ConfigError

_BUNDLE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,199}\.zip")
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class UploadConflictError(BatchyError):
    """A file to store exists already, or is not what the caller expects. Nothing was stored."""


class UploadStorageError(BatchyError):
    """The files cannot be written. Nothing was stored, or the next upload finishes this one."""


def config_name(name: str) -> str:
    """Check the name of a workflow file: no path, a known suffix, a valid name.

    :returns: the name.
    """
    stem, dot, suffix = name.rpartition(".")
    # Files that begin with a dot or with `_` are read as something else, or not at all.
    if dot + suffix not in SUFFIXES or stem.casefold() in SHARED_STEMS or stem.startswith("."):
        raise ConfigError(f"{name!r} is no workflow file; expected NAME{', NAME'.join(SUFFIXES)}")
    check_workflow_name(stem)
    return name


def bundle_name(name: str) -> str:
    """Check the name of a bundle.

    :returns: the name.
    """
    if not _BUNDLE.fullmatch(name):
        raise ConfigError(f"{name!r} is no name of a bundle; expected NAME.zip, only with letters, digits, _, . and -")
    return name


def check_target(top: Path, name: str) -> bool:
    """Check that a file can be stored under a name: no link in its path, no name that differs only in case.

    :param top: the folder of workflow files, resolved.
    :param name: path relative to `top`.
    :returns: whether a file is there.
    :raises UploadConflictError: a link, a folder or another spelling is in the way.
    """
    place = top
    for part in PurePath(name).parts:
        # `os.path` answers for a folder without permission, where `pathlib` raises.
        names = os.listdir(place) if place.is_dir() else []  # noqa: PTH208
        twin = next((each for each in names if each != part and each.casefold() == part.casefold()), None)
        if twin is not None and part not in names:
            raise UploadConflictError(f"{name} differs from {twin} only in upper and lower case; use that name")
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
    """Copy the layout of a folder of workflow files: make its folders, and link to its files and bundles.

    What is put into the layout replaces a link or lies beside it, so that nothing in `top` changes.
    """
    folders: list[tuple[Path, Path, frozenset[tuple[int, int]]]] = [(top, into, frozenset())]
    while folders:
        here, there, above = folders.pop()
        there.mkdir()
        try:
            found = here.stat()
            # `os.path` answers for a folder without permission, where `pathlib` raises.
            names = sorted(os.listdir(here))  # noqa: PTH208
        except OSError:  # the reader of workflow files reports it
            continue
        if (found.st_dev, found.st_ino) in above:  # links in a circle
            continue
        above |= {(found.st_dev, found.st_ino)}
        for name in names:
            place = str(here / name)
            is_folder = os.path.isdir(place)  # noqa: PTH112 - no error for a folder without permission
            if name.startswith("."):
                continue
            # `os.path` answers for a folder without permission, where `pathlib` raises.
            if is_folder and not os.path.exists(f"{place}/{SCRIPT}"):  # noqa: PTH110
                folders.append((here / name, there / name, above))
            elif is_folder or os.path.isfile(place) or not os.path.exists(place):  # noqa: PTH110, PTH113
                (there / name).symlink_to(os.path.abspath(place))  # noqa: PTH100  # `resolve` would follow links


def put_in(layout: Path, name: str, file: Path) -> None:
    """Put a new file into a layout, as a link.

    :param name: path relative to the layout.
    """
    place = layout / name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.unlink(missing_ok=True)
    place.symlink_to(file)


def move_in(files: Collection[str], source: Path, top: Path) -> None:
    """Rename files into their places, bundles before the workflows that name them. To repeat this does no harm.

    :param files: paths relative to both folders.
    :param source: the folder with the new files.
    :raises OSError: a folder on the way is a link now.
    """
    for name in sorted(files, key=lambda name: not is_bundle(name)):
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
    """Copy a file to a new one, and sync it to disk.

    :returns: its sha256.
    """
    with source.open("rb") as file:
        return write_new(target, file).sha256


def write_file(target: Path, data: bytes) -> str:
    """Write a new file, and sync it and its folder to disk.

    :returns: its sha256.
    """
    content = write_new(target, io.BytesIO(data))
    sync_path(target.parent)
    return content.sha256


def digest_of(path: Path) -> str:
    """Return the sha256 of a file."""
    return hash_file(path).sha256


def is_bundle(name: str) -> bool:
    """Tell whether a file of an upload is a bundle, by its path relative to the folder of workflow files."""
    return PurePath(name).parent.name == FOLDER
