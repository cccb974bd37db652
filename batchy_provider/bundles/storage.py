# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Open, list, copy, hash and write files on this machine and in object stores. A write is complete or has no effect.

A path here is a `pathlib.Path`, or an object with the same API for another store (Airflow's ``ObjectStoragePath``, a
``UPath``).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple
from urllib.parse import unquote, urlsplit

from batchy_provider.bundles.errors import BundleError, ResultError
from batchy_provider.bundles.limits import MIB

CHUNK_BYTES = MIB
_TEMPORARY = ".new-"
_STALE_SECONDS = 3600

OpenPath = Callable[[str], Any]
"""Makes an object with the `pathlib` API of a URL or a path."""


class Content(NamedTuple):
    """Size and digest of a file.

    :param size: bytes.
    :param sha256: in hex.
    """

    size: int
    sha256: str

    def as_json(self) -> dict[str, Any]:
        """Return it as a result record has it."""
        return {"bytes": self.size, "sha256": self.sha256}


# -- paths -------------------------------------------------------------------------------------------------------------


def open_local_path(url: str) -> Path:
    """Return the path that a ``file:`` URL or a plain path names.

    :raises ResultError: a URL of another kind.
    """
    parts = urlsplit(url)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    if parts.scheme:
        raise ResultError(f"Results at {url} cannot be read here: only local paths can be.")
    return Path(url)


def is_local_path(path: Any) -> bool:
    """Tell whether a path is on this machine. A `UPath` before 0.3 is a `Path`, too, whatever its store."""
    return type(path).__module__.partition(".")[0] == "pathlib"


def join(folder: Any, name: str) -> Any:
    """Return the path of a file below a folder.

    :param name: with ``/`` between folders.
    """
    for part in name.split("/"):
        folder = folder / part
    return folder


def drop_listing_cache(path: Any) -> Any:
    """Return the path, after its file system has dropped the listings that it caches.

    Most clients of object stores cache listings as long as they live. Without this, an API server would never see what
    workers have stored since.
    """
    file_system = getattr(path, "fs", None)
    if file_system is not None and hasattr(path, "path"):
        with contextlib.suppress(Exception):
            file_system.invalidate_cache(path.path)
    return path


def list_children(folder: Any) -> Iterator[tuple[Any, bool]]:
    """Yield the paths in a folder, each with whether it is a folder itself.

    Object stores have no folders. Consoles and sync tools make an empty object ``name/`` instead, which a listing
    of the folder then contains. It is left out.

    :raises BundleError: an object without a name of its own in the folder, such as ``lib//a`` or a marker with data.
    """
    file_system = getattr(drop_listing_cache(folder), "fs", None)
    if file_system is None or not hasattr(folder, "path"):
        for child in folder.iterdir():
            yield child, child.is_dir()
        return
    base = str(file_system._strip_protocol(folder.path)).rstrip("/")
    for info in file_system.ls(folder.path, detail=True):
        name, is_folder = str(info["name"]), info.get("type") == "directory"
        if not name.startswith(f"{base}/"):
            continue  # the folder itself, as some stores list it
        rest = name[len(base) + 1 :]
        if rest.strip("/"):
            yield folder / rest.rstrip("/"), is_folder
        elif is_folder or info.get("size"):
            raise BundleError(f"{folder} holds an object {name!r}, whose name ends in a slash and which is no folder.")


def list_names(folder: Any) -> list[str]:
    """Return the names in a folder, sorted, without hidden ones; an empty list if there is no such folder."""
    try:
        return sorted(child.name for child, _ in list_children(folder) if not child.name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return []


def walk_files(folder: Any) -> Iterator[Any]:
    """Yield the paths of all files in a folder and in its subfolders."""
    for child, is_folder in list_children(folder):
        if is_folder:
            yield from walk_files(child)
        else:
            yield child


# -- read and copy -----------------------------------------------------------------------------------------------------


def read_chunks(file: IO[bytes], length: int | None = None) -> Iterator[bytes]:
    """Yield what is left of an open file, in chunks of bounded size.

    :param length: yield no more bytes than this; None: up to the end.
    """
    if length is None:
        while data := file.read(CHUNK_BYTES):
            yield data
        return
    while length > 0 and (data := file.read(min(CHUNK_BYTES, length))):
        length -= len(data)
        yield data


def copy_stream(source: IO[bytes], target: IO[bytes], *, limit: int | None = None, digest: Any = None) -> int:
    """Copy an open file to another one.

    :param limit: bytes; at the first chunk that goes beyond it the copy stops, and that chunk is not written.
    :param digest: hash object of `hashlib` to update with what is copied.
    :returns: how many bytes were read; more than ``limit`` if the source is too large.
    """
    size = 0
    for data in read_chunks(source):
        size += len(data)
        if limit is not None and size > limit:
            break
        if digest is not None:
            digest.update(data)
        target.write(data)
    return size


def copy_hashed(source: IO[bytes], target: IO[bytes], *, limit: int | None = None) -> Content:
    """Copy an open file to another one, and return its size and digest.

    :param limit: as in `copy_stream`.
    """
    digest = hashlib.sha256()
    size = copy_stream(source, target, limit=limit, digest=digest)
    return Content(size, digest.hexdigest())


def hash_file(path: Path, *, sync: bool = False) -> Content:
    """Return size and digest of a file.

    :param sync: its bytes are on disk when this returns. An empty file has none; its name is on disk with its folder's.
    """
    digest = hashlib.sha256()
    size = 0
    with path.open("rb", buffering=0) as file:
        for data in read_chunks(file):
            size += len(data)
            digest.update(data)
        if sync and size:
            os.fsync(file.fileno())
    return Content(size, digest.hexdigest())


def copy_tree(source: Path, target: Path) -> None:
    """Copy a folder of this machine to a new folder. The copy is writable, and files keep their executable bit."""
    target.mkdir(mode=0o755)
    folders = [(str(source), str(target))]
    while folders:
        here, there = folders.pop()
        with os.scandir(here) as entries:
            for entry in entries:
                copy = f"{there}/{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    Path(copy).mkdir(mode=0o755)
                    folders.append((entry.path, copy))
                else:
                    shutil.copyfile(entry.path, copy)
                    executable = entry.stat(follow_symlinks=False).st_mode & 0o111
                    Path(copy).chmod(0o755 if executable else 0o644)


# -- write -------------------------------------------------------------------------------------------------------------


def sync_path(path: Path) -> None:
    """Make the bytes of a file, or the names in a folder, survive a power cut (fsync)."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(file: IO[bytes]) -> None:
    """Make the bytes of a file that is open for writing survive a power cut (fsync)."""
    file.flush()
    os.fsync(file.fileno())


def write_new(path: Path, source: IO[bytes]) -> Content:
    """Write a new file of this machine, and its folder if there is none. Its bytes are on disk when this returns.

    :param source: an open file with the content.
    :raises FileExistsError: the file exists.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        content = copy_hashed(source, file)
        sync_file(file)
    return content


def write_whole(path: Any, data: bytes) -> None:
    """Write a small file, and its folder if there is none. Readers see the old content or the new one, never a part.

    On this machine the file is on disk when this returns.
    """
    if is_local_path(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, data)
        return
    try:
        _upload(path, data)
    except FileNotFoundError:  # only a store that has folders needs them
        path.parent.mkdir(parents=True, exist_ok=True)
        _upload(path, data)


def remove_stale_files(folder: Path) -> None:
    """Remove the temporary files that killed writers of `write_whole` left in a folder and in its subfolders."""
    for path in folder.rglob(f"{_TEMPORARY}*"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > _STALE_SECONDS:
                path.unlink()


def _replace(path: Path, data: bytes) -> None:
    new = path.with_name(f"{_TEMPORARY}{path.name}-{uuid.uuid4().hex}")
    try:
        with new.open("xb") as file:
            file.write(data)
            sync_file(file)
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    sync_path(path.parent)


def _upload(path: Any, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
