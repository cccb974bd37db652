# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Open files below one folder, never through a link: for servers that send files of this machine to clients.

A path is resolved once. Then each folder of it is opened by the descriptor of the folder above, and links are refused.
So nothing outside of the top folder is opened, even if another program replaces folders at the same time.
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
# Opening a pipe or a device must neither wait nor have an effect.
_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class OutsideFolderError(BundleRefusedError):
    """The bundle is on this server's disk, but outside of the folder that the server may send files from."""


def as_local_path(place: str) -> str | None:
    """Return the path on this machine that a text names; None if it is the URL of another store.

    ``file:`` and ``local:`` URLs are paths, in any spelling: Airflow's object storage opens them as paths.
    """
    if _LOCAL_URL.match(place):
        try:
            return unquote(urlsplit(place.strip()).path)
        except ValueError:  # such as half an IPv6 address: no URL, so no other store either
            return place.strip()
    return None if "://" in place else place


def is_on_disk(path: object) -> bool:
    """Tell whether a path with the `pathlib` API leads to this machine, also through another file system."""
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
    """Return where a path leads, relative to a folder, with links resolved; None if that is not below the folder."""
    try:
        name = Path(place).resolve().relative_to(Path(top).resolve())
    except (ValueError, OSError, RuntimeError):  # outside; not a valid name; links in a circle on Python 3.10
        return None
    return name if name.parts else None


@contextmanager
def open_below(top: str | os.PathLike[str], name: PurePath) -> Iterator[int]:
    """Open a file or folder below a folder, and yield its descriptor. No part of the name may be a link.

    :param top: the folder. Links may lead to it.
    :param name: relative to the folder, without ``..``.
    :raises OSError: there is no such file, a part of the name is a link, or it is neither a file nor a folder.
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
    """Copy a bundle below a folder: a zip, or a folder with a ``script.sh``.

    :param into: the file or folder to make, in a private folder.
    :param bundle: name of the bundle in errors.
    :returns: whether the bundle is a folder.
    :raises BundleNotFoundError: there is nothing at the path.
    :raises BundleRefusedError: it breaks a rule: a link, a device, too large.
    """
    try:
        with open_below(top, name) as found:
            if stat.S_ISREG(os.fstat(found).st_mode):
                _copy(found, into, limits.archive_bytes, bundle, limits.archive_bytes)
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
                left -= _copy(found, into / name, left, tree.bundle, limits.unpacked_bytes)


def _copy(source: int, target: Path, most: int, bundle: str, limit: int) -> int:
    """Copy an open file and its executable bit, and return its size.

    :param most: bytes that the file may have.
    :param limit: bytes that the whole bundle may have, for the message.
    """
    with os.fdopen(source, "rb", buffering=0, closefd=False) as file, target.open("xb") as out:
        size = copy_stream(file, out, limit=most)
        if size > most:
            raise BundleRefusedError(bundle, f"it has more than {limit:,} bytes, which is the limit.")
        os.fchmod(out.fileno(), 0o755 if os.fstat(source).st_mode & 0o111 else 0o644)
    return size


@contextmanager
def _closing(descriptor: int) -> Iterator[int]:
    try:
        yield descriptor
    finally:
        with suppress(OSError):
            os.close(descriptor)
