# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Read a bundle where it is: a folder or a zip, on this machine or behind any object with the `pathlib` API.

Such an object (Airflow's ``ObjectStoragePath``, a ``UPath``) needs `is_file`, `is_dir`, `iterdir`, `name`, `open`
and `stat`. If it has `fs` and `path`, as paths of fsspec have, changes are noticed without reading the data.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from batchy_provider.bundles.entry_names import Tree, check_root
from batchy_provider.bundles.errors import BundleNotFoundError, BundleRefusedError
from batchy_provider.bundles.limits import UnpackLimits
from batchy_provider.bundles.storage import Content, copy_hashed, drop_listing_cache, is_local_path, list_children

SETTLE_SECONDS = 2.0
"""A file that was changed more recently than this may change again without a visible change of its times."""

_LOCAL = ("", "file", "local")
_VERSION_KEYS = (
    *("etag", "mtime", "lastmodified", "last_modified", "last-modified", "updated", "modified", "created"),
    *("generation", "versionid", "version_id", "md5hash", "content_md5", "md5", "crc32c", "checksum"),
)


class Source:
    """One bundle at its place.

    :param bundle: a path, or an object with the `pathlib` API.
    :raises BundleNotFoundError: there is neither a file nor a folder.
    """

    def __init__(self, bundle: Any) -> None:
        self.path = _local(bundle)
        self.name = str(bundle)
        self.is_local = is_local_path(self.path)
        if drop_listing_cache(self.path).is_file():
            self.is_folder = False
        elif self.path.is_dir():
            self.is_folder = True
        else:
            raise BundleNotFoundError(
                f"Bundle {self.name} does not exist, or this worker may not read it. "
                "Expected a folder or a zip file with a script.sh at its root."
            )

    def fingerprint(self) -> str | None:
        """Return a text that changes when the content changes, without reading it; None if that is not possible."""
        if self.is_folder:
            return _of_folder(self.path, self.is_local)
        return _of_file(self.path, self.is_local)

    def fetch(self, into: Path, *, limits: UnpackLimits) -> str:
        """Copy a zip.

        :param into: the file to make.
        :returns: sha256 of the copy, in hex.
        :raises BundleRefusedError: the zip is larger than the limit.
        """
        with self.path.open("rb") as source, into.open("xb") as target:
            content = copy_hashed(source, target, limit=limits.archive_bytes)
        if content.size > limits.archive_bytes:
            raise BundleRefusedError(
                self.name, f"the zip has more than {limits.archive_bytes:,} bytes, which is the limit."
            )
        return content.sha256

    def copy_folder(self, into: Path, *, limits: UnpackLimits) -> str:
        """Copy a folder, by the same rules as for a zip.

        :param into: the folder to make.
        :returns: sha256 over names, executable bits and contents, in hex.
        :raises BundleRefusedError: the folder breaks a rule; ``into`` does not exist then.
        """
        from batchy_provider.bundles.scratch import remove_tree

        tree = Tree(self.name, limits)
        files = sorted(_walk(self.path, tree, self.is_local))
        check_root(self.name, tree)
        left = limits.unpacked_bytes
        whole = hashlib.sha256()
        into.mkdir(mode=0o755)
        try:
            for folder in sorted(tree.folders):
                (into / folder).mkdir(mode=0o755)
            for name, path in files:
                content, executable = _copy_file(path, into / name, left, self.is_local)
                left -= content.size
                if left < 0:
                    raise BundleRefusedError(
                        self.name,
                        f"it has more than {limits.unpacked_bytes:,} bytes, which is the limit.",
                        name,
                    )
                whole.update(json.dumps([name, executable, content.size, content.sha256]).encode() + b"\n")
        except BaseException:
            remove_tree(into)
            raise
        return whole.hexdigest()


def _local(bundle: Any) -> Any:
    """Return a plain `Path` for a bundle on this machine, and other bundles as they are."""
    if isinstance(bundle, str):
        return Path(bundle)
    if is_local_path(bundle):
        return bundle
    if getattr(bundle, "protocol", None) in _LOCAL:
        return Path(bundle.path)
    return bundle


def _of_file(path: Any, local: bool) -> str | None:
    if local:
        found = path.stat()
        if max(found.st_mtime, found.st_ctime) > time.time() - SETTLE_SECONDS:
            return None
        return f"{found.st_dev}:{found.st_ino}:{found.st_size}:{found.st_mtime_ns}:{found.st_ctime_ns}"
    return _of_info(_info(path))


def _info(path: Any) -> Mapping[str, Any]:
    """Return what a store knows about a file."""
    file_system = getattr(drop_listing_cache(path), "fs", None)
    if file_system is not None and hasattr(path, "path"):
        info: Mapping[str, Any] = file_system.info(path.path)
        return info
    found = path.stat()
    return {"size": found.st_size, "mtime": found.st_mtime or None}


def _of_info(info: Mapping[str, Any]) -> str | None:
    known = {key.lower(): str(value) for key, value in info.items() if value not in (None, "", 0)}
    versions = {key: known[key] for key in _VERSION_KEYS if key in known}
    if not versions:
        return None
    return json.dumps({"size": known.get("size"), **versions}, sort_keys=True)


def _of_folder(path: Any, local: bool) -> str | None:
    """Return one fingerprint for all files. Used for remote folders; a local one is copied each time."""
    files = {}
    folders = [("", path)]
    while folders:
        prefix, folder = folders.pop()
        for child, is_folder in list_children(folder):
            name = prefix + child.name
            if is_folder:
                folders.append((name + "/", child))
                continue
            fingerprint = _of_file(child, local)
            if fingerprint is None:
                return None
            files[name] = fingerprint
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()


def _walk(top: Any, tree: Tree, local: bool) -> Iterator[tuple[str, Any]]:
    """Yield all files with their names. Each name is checked before anything below it is listed."""
    folders = [("", top)]
    while folders:
        prefix, folder = folders.pop()
        for child, is_folder in list_children(folder):
            name = prefix + child.name
            if local:
                _check_kind(child, name, tree.bundle)
            tree.add(name, folder=is_folder)
            if is_folder:
                folders.append((name + "/", child))
            else:
                yield name, child


def _check_kind(path: Path, name: str, bundle: str) -> None:
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        raise BundleRefusedError(bundle, "it is a link; put a copy of the file in its place.", name)
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise BundleRefusedError(bundle, "it is a device, a pipe or a socket.", name)


def _copy_file(source: Any, target: Path, most: int, local: bool) -> tuple[Content, bool]:
    """Copy one file, or its first ``most`` bytes if it is larger; returns what was read, and if it is executable."""
    with source.open("rb") as reader, target.open("xb") as writer:
        executable = local and bool(os.fstat(reader.fileno()).st_mode & 0o111)
        content = copy_hashed(reader, writer, limit=most)
        os.fchmod(writer.fileno(), 0o755 if executable else 0o644)
    return content, executable
