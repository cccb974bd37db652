# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Cache unpacked bundles by the digest of their content, for all processes of a machine.

::

    <root>/bundles/<sha256>/tree/     the unpacked bundle, read-only
    <root>/bundles/<sha256>/meta.json its size; the time of the file is that of the last use
    <root>/sources/<hash>.json        the digest of a path, and the fingerprint that shows a change
    <root>/locks/                     one lock for each digest, one for each path
    <root>/tmp/                       what is being unpacked

A bundle is renamed into its place when it is complete and on disk. So no process ever sees a part of it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchy_provider.bundles.bundle_source import Source
from batchy_provider.bundles.errors import BundleError, BundlePinError, BundleRefusedError, wrap_store_errors
from batchy_provider.bundles.limits import GIB, UnpackLimits
from batchy_provider.bundles.scratch import ScratchFolder, locked, remove_tree
from batchy_provider.bundles.script import SCRIPT, script_problem
from batchy_provider.bundles.storage import copy_tree, sync_path
from batchy_provider.bundles.unpack import unpack


@dataclass(frozen=True, slots=True)
class FetchedBundle:
    """A bundle that was fetched.

    :param name: the bundle as the user wrote it.
    :param sha256: of the zip, or over the folder's names and contents; a pin is compared with it.
    :param cached: the bundle was in the cache, and not read again.
    """

    name: str
    sha256: str
    cached: bool


class BundleCache:
    """Gives each run its own copy of a bundle.

    :param root: a folder on a local disk, as it has locks of the kernel; private to the worker's user.
    :param max_bytes: limit for all unpacked bundles. The least recently used are removed first; those in use stay.
    :param limits: how large a bundle may be.
    """

    def __init__(self, root: Path, *, max_bytes: int = 2 * GIB, limits: UnpackLimits | None = None) -> None:
        self.root = root
        self.max_bytes = max_bytes
        self.limits = limits or UnpackLimits()

    def working_copy(self, bundle: Any, into: Path, *, sha256: str | None = None) -> FetchedBundle:
        """Copy the present content of a bundle to a new folder.

        :param bundle: path of a folder or zip, or an object with the `pathlib` API.
        :param into: a folder that does not exist yet.
        :param sha256: pin: any other content is refused; None: no pin.
        :raises BundleNotFoundError: there is nothing at the path.
        :raises BundleRefusedError: the bundle breaks a rule.
        :raises BundlePinError: the bundle is not the pinned one.
        """
        with wrap_store_errors(
            BundleError, f"Bundle {bundle} cannot be read", "Check that place, then run the job again"
        ):
            fetched = self._working_copy(Source(bundle), into, sha256)
            if problem := script_problem((into / SCRIPT).read_bytes()):
                remove_tree(into)
                raise BundleRefusedError(fetched.name, problem, SCRIPT)
            return fetched

    def _working_copy(self, source: Source, into: Path, sha256: str | None) -> FetchedBundle:
        if source.is_folder and source.is_local:
            digest = source.copy_folder(into, limits=self.limits)
            try:
                _check_pin(source.name, digest, sha256)
            except BundlePinError:
                remove_tree(into)
                raise
            return FetchedBundle(source.name, digest, cached=False)
        self._make_folders()
        with self._using(source, sha256) as (digest, cached):
            _check_pin(source.name, digest, sha256)
            copy_tree(self._entry(digest) / "tree", into)
            os.utime(self._entry(digest) / "meta.json")
        if not cached:
            self.shrink(keep=digest)
        return FetchedBundle(source.name, digest, cached)

    def shrink(self, *, keep: str | None = None) -> int:
        """Remove the least recently used bundles until the rest fits.

        :param keep: a digest that stays in any case.
        :returns: how many were removed.
        """
        removed = 0
        with locked(self.root / "locks" / "shrink", wait=False) as fd:
            if fd is None:
                return 0
            entries = sorted(self._entries())
            total = sum(size for _, size, _ in entries)
            for _, size, digest in entries:
                if total <= self.max_bytes:
                    break
                if digest != keep and self._remove(digest):
                    total -= size
                    removed += 1
        return removed

    def _entries(self) -> Iterator[tuple[int, int, str]]:
        """Yield time of last use (ns), bytes and digest of each bundle."""
        for entry in (self.root / "bundles").iterdir():
            with contextlib.suppress(OSError, ValueError, KeyError):
                meta = entry / "meta.json"
                yield meta.stat().st_mtime_ns, json.loads(meta.read_bytes())["bytes"], entry.name

    def _remove(self, digest: str) -> bool:
        with locked(self._lock(digest), wait=False) as fd, ScratchFolder(self.root / "tmp") as scratch:
            if fd is None:
                return False
            with contextlib.suppress(FileNotFoundError):
                self._entry(digest).rename(scratch.path / digest)
            self._lock(digest).unlink(missing_ok=True)
        return True

    @contextlib.contextmanager
    def _using(self, source: Source, pin: str | None) -> Iterator[tuple[str, bool]]:
        """Yield the present digest of a source, and if it was cached. Its tree stays in the cache during the block."""
        while True:
            digest = self._known(source)
            if digest is None:
                with contextlib.ExitStack() as locks:
                    # Processes that want the same bundle wait here and then find it, instead of all reading it.
                    locks.enter_context(locked(self._source_file(source, "locks", "")))
                    if self._known(source) is None:
                        yield self._fetch(source, pin, locks), False
                        return
                continue
            with locked(self._lock(digest), shared=True):
                if self._entry(digest).exists():
                    yield digest, True
                    return
            # Removed to free space before we had the lock. It is not known any more, so the next round fetches it.

    def _known(self, source: Source) -> str | None:
        """Return the digest of a source if it has not changed since it was read, and is in the cache."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            known = json.loads(self._source_file(source, "sources", ".json").read_bytes())
            digest = str(known["sha256"])
            if self._entry(digest).exists() and known["fingerprint"] == source.fingerprint():
                return digest
        return None

    def _fetch(self, source: Source, pin: str | None, locks: contextlib.ExitStack) -> str:
        """Read the source and add it. The lock against its removal is entered into ``locks``."""
        before = source.fingerprint()
        with ScratchFolder(self.root / "tmp") as scratch:
            entry = scratch.path / "entry"
            entry.mkdir()
            if source.is_folder:
                digest = source.copy_folder(entry / "tree", limits=self.limits)
                _check_pin(source.name, digest, pin)
                self._add(digest, entry, locks)
            else:
                archive = scratch.path / "zip"
                digest = source.fetch(archive, limits=self.limits)
                _check_pin(source.name, digest, pin)
                self._add(digest, entry, locks, archive, source.name)
            if before is not None and before == source.fingerprint():
                known = json.dumps({"source": source.name, "fingerprint": before, "sha256": digest})
                (scratch.path / "known").write_text(known)
                (scratch.path / "known").replace(self._source_file(source, "sources", ".json"))
        return digest

    def _add(
        self, digest: str, entry: Path, locks: contextlib.ExitStack, archive: Path | None = None, name: str = ""
    ) -> None:
        """Complete an entry and rename it to its place, unless another process has added the same content."""
        locks.enter_context(locked(self._lock(digest)))
        if self._entry(digest).exists():
            return
        tree = entry / "tree"
        if archive is not None:
            unpack(archive, tree, bundle=name, limits=self.limits)
        size = _seal(tree)
        meta = entry / "meta.json"
        meta.write_text(json.dumps({"bytes": size}))
        for path in (meta, tree, entry):
            sync_path(path)
        entry.rename(self._entry(digest))
        sync_path(self.root / "bundles")

    def _make_folders(self) -> None:
        for name in ("bundles", "sources", "locks", "tmp"):
            (self.root / name).mkdir(mode=0o700, parents=True, exist_ok=True)

    def _entry(self, digest: str) -> Path:
        return self.root / "bundles" / digest

    def _lock(self, digest: str) -> Path:
        return self.root / "locks" / digest

    def _source_file(self, source: Source, folder: str, suffix: str) -> Path:
        # Two connections may find different files under the same URL.
        connection = getattr(source.path, "conn_id", None)
        name = str(source.path.absolute()) if source.is_local else f"{source.name}\n{connection}"
        return self.root / folder / f"source-{hashlib.sha256(name.encode()).hexdigest()}{suffix}"


def _check_pin(name: str, digest: str, pin: str | None) -> None:
    if pin is not None and digest != pin.strip().lower():
        raise BundlePinError(
            f"Bundle {name} has sha256 {digest}, but {pin} is pinned. Somebody changed it: check it and, "
            "if it is what you want, change the pin."
        )


def _seal(tree: Path) -> int:
    """Make a tree read-only; returns its bytes."""
    total = 0
    folders = [tree]
    while folders:
        folder = folders.pop()
        for child in folder.iterdir():
            if child.is_dir():
                folders.append(child)
            else:
                found = child.stat()
                total += found.st_size
                child.chmod(0o555 if found.st_mode & 0o111 else 0o444)
        folder.chmod(0o555)
    return total
