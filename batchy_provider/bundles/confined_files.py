# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""
Files of this machine that a server hands to others: below one folder, never through a link.

A path is resolved once. Then each part of it is opened by the descriptor of the part before, and a part that is a
link is refused: whatever somebody exchanges meanwhile, nothing outside of the folder is opened.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath
from urllib.parse import unquote, urlsplit

from batchy_provider.bundles.entry_names import Tree, check_root
from batchy_provider.bundles.errors import BundleNotFoundError, BundleRefusedError
from batchy_provider.bundles.limits import UnpackLimits
from batchy_provider.bundles.storage import copy_stream

_LOCAL_URL = re.compile(r"\s*(file|local):", re.IGNORECASE)
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Opening a pipe or a device must neither wait nor do anything.
_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class OutsideFolderError(BundleRefusedError):
    """The bundle lies on this server's disk, and not in the folder that it may serve."""


def as_local_path(place: str) -> str | None:
    """
    Return the path on this machine that a text names, or None if it names another machine's.

    ``file:`` and ``local:`` URLs are paths, in any spelling: Airflow's object storage opens them as such.
    """
    if _LOCAL_URL.match(place):
        try:
            return unquote(urlsplit(place.strip()).path)
        except ValueError:  # such as half an IPv6 address: no URL, and no other machine's either
            return place.strip()
    return None if "://" in place else place


def is_on_disk(path: object) -> bool:
    """Tell whether an object with the `pathlib` API is a file of this machine, also behind another file system."""
    system = getattr(path, "fs", None)
    if system is None:
        return isinstance(path, PurePath)
    while system is not None:
        protocol = getattr(system, "protocol", ())
        if {"file", "local"} & {*((protocol,) if isinstance(protocol, str) else protocol)}:
            return True
        system = getattr(system, "fs", None)
    return False


def path_below(top: str | os.PathLike[str], place: str | os.PathLike[str]) -> PurePath | None:
    """Return where a path leads, relative to a folder, links resolved; None if it does not lead to below the folder."""
    try:
        found = Path(place).resolve().relative_to(Path(top).resolve())
    except (ValueError, OSError, RuntimeError):  # outside; a name that is none; links in a circle on Python 3.10
        return None
    return found if found.parts else None


@contextmanager
def open_below(top: str | os.PathLike[str], name: PurePath) -> Iterator[int]:
    """
    Open a file or folder below a folder; no part of the name may be a link.

    :param top: the folder; it may be reached through links.
    :param name: relative to it, without ``..``.
    :returns: a descriptor, for the time of the block.
    :raises OSError: there is none, a part is a link, or it is neither a file nor a folder.
    """
    if name.is_absolute() or ".." in name.parts:
        raise OSError(f"{name} is no name of a file below a folder")
    with _closing(os.open(Path(top).resolve(), _FOLDER_FLAGS)) as root:
        descriptors = [root]
        try:
            for part in name.parts[:-1]:
                descriptors.append(os.open(part, _FOLDER_FLAGS, dir_fd=descriptors[-1]))
            found = os.open(name.parts[-1], _FILE_FLAGS, dir_fd=descriptors[-1])
            descriptors.append(found)
            mode = os.fstat(found).st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise OSError(f"{name} is neither a file nor a folder")
            yield found
        finally:
            for descriptor in reversed(descriptors[1:]):
                os.close(descriptor)


def copy_bundle_below(top: Path, name: PurePath, into: Path, *, bundle: str, limits: UnpackLimits) -> bool:
    """
    Copy a bundle that lies below a folder, a zip or a folder with a ``script.sh``.

    :param into: the file or folder to make, in a private folder.
    :param bundle: what to call it in errors.
    :returns: whether it is a folder.
    :raises BundleNotFoundError: there is nothing.
    :raises BundleRefusedError: it breaks a rule of unpacking: a link, a device, too large.
    """
    try:
        with open_below(top, name) as found:
            if stat.S_ISREG(os.fstat(found).st_mode):
                _copy(found, into, limits.archive_bytes, bundle)
                return False
            tree = Tree(bundle, limits)
            _copy_folder(found, into, tree, limits)
            check_root(bundle, tree)
            return True
    except OSError as error:
        raise BundleNotFoundError(f"Bundle {bundle} cannot be read here: {error.strerror or error}.") from None


def _copy_folder(top: int, into: Path, tree: Tree, limits: UnpackLimits) -> None:
    left = limits.unpacked_bytes
    into.mkdir(mode=0o700)
    for folder, _, _, here in os.fwalk(".", dir_fd=top, follow_symlinks=False):
        prefix = "" if folder == "." else folder.removeprefix("./") + "/"
        for child in sorted(os.listdir(here)):  # noqa: PTH208 - of a descriptor
            name = prefix + child
            mode = os.stat(child, dir_fd=here, follow_symlinks=False).st_mode
            if stat.S_ISLNK(mode):
                raise BundleRefusedError(tree.bundle, "it is a link; put a copy of the file in its place.", name)
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise BundleRefusedError(tree.bundle, "it is a device, a pipe or a socket.", name)
            tree.add(name, folder=stat.S_ISDIR(mode))
            if stat.S_ISDIR(mode):
                (into / name).mkdir(mode=0o700)
                continue
            with _closing(os.open(child, _FILE_FLAGS, dir_fd=here)) as found:
                if not stat.S_ISREG(os.fstat(found).st_mode):
                    raise BundleRefusedError(tree.bundle, "it is a device, a pipe or a socket.", name)
                left -= _copy(found, into / name, left, tree.bundle)


def _copy(source: int, target: Path, most: int, bundle: str) -> int:
    """Copy an open file and its executable bit; returns its bytes."""
    with os.fdopen(source, "rb", buffering=0, closefd=False) as file, target.open("xb") as out:
        size = copy_stream(file, out, limit=most)
        if size > most:
            raise BundleRefusedError(bundle, f"it has more than {most:,} bytes left of its limit.")
        os.fchmod(out.fileno(), 0o755 if os.fstat(source).st_mode & 0o111 else 0o644)
    return size


@contextmanager
def _closing(descriptor: int) -> Iterator[int]:
    try:
        yield descriptor
    finally:
        with suppress(OSError):
            os.close(descriptor)
