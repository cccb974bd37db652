# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Unpack an untrusted zip. A zip with any fault is refused, never repaired.

Python's :mod:`zipfile` reads the index of the zip. This module checks what zipfile accepts silently: names cut at NUL,
data beyond the declared size, names that differ between the two headers. It reads the data itself, so that every byte
is counted before it is written.
"""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from batchy_provider.bundles.entry_names import Tree, check_root
from batchy_provider.bundles.errors import BundleRefusedError
from batchy_provider.bundles.limits import UnpackLimits
from batchy_provider.bundles.storage import read_chunks, sync_file, sync_path
from batchy_provider.bundles.zip_index import Entry, read_index

_DECOMPRESSED_BYTES = 256 * 1024
"""How many bytes are decompressed at a time."""
DEFAULT_LIMITS = UnpackLimits()
_LOCAL_HEADER = struct.Struct("<4s5H3L2H")
_STORED, _DEFLATED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED


def unpack(archive: Path, into: Path, *, bundle: str, limits: UnpackLimits = DEFAULT_LIMITS) -> int:
    """Unpack a zip file into a new folder, or leave nothing behind.

    Files get the mode 0644, or 0755 if they are executable in the zip. All other modes in the zip are ignored. All
    files are on disk (fsync) when this returns.

    :param archive: a file that no other process writes to at the same time.
    :param into: a folder that does not exist yet.
    :param bundle: name of the bundle in errors.
    :returns: bytes unpacked.
    :raises BundleRefusedError: the zip breaks a rule; ``into`` does not exist then.
    """
    from batchy_provider.bundles.scratch import remove_tree

    with archive.open("rb") as file:
        entries = read_index(file, bundle=bundle, limits=limits)
        check_entries(entries, bundle=bundle, limits=limits)
        into.mkdir(mode=0o755)
        try:
            return _Writer(file, into, bundle, limits).write(entries)
        except BaseException:
            remove_tree(into)
            raise


def check_entries(entries: list[Entry], *, bundle: str, limits: UnpackLimits) -> None:
    """Check everything that the index says: names, kinds, declared sizes, and if there is a `script.sh`.

    :raises BundleRefusedError: the zip breaks a rule.
    """
    tree = Tree(bundle, limits)
    declared = 0
    for entry in entries:
        tree.add(entry.name, folder=entry.folder)
        if not entry.folder:
            declared += entry.size
            _check_size(declared, limits, bundle, entry.name)
    check_root(bundle, tree)


def _check_size(unpacked: int, limits: UnpackLimits, bundle: str, name: str) -> None:
    if unpacked > limits.unpacked_bytes:
        raise BundleRefusedError(
            bundle, f"it unpacks to more than {limits.unpacked_bytes:,} bytes, which is the limit.", name
        )


class _Writer:
    """Writes the entries of one zip, and counts the bytes."""

    def __init__(self, file: BinaryIO, into: Path, bundle: str, limits: UnpackLimits) -> None:
        self._file = file
        self._into = into
        self._bundle = bundle
        self._limits = limits
        self._archive_bytes = os.fstat(file.fileno()).st_size
        self._written = 0

    def write(self, entries: list[Entry]) -> int:
        folders = {self._into}
        for entry in entries:
            path = self._into / entry.name
            folder = path if entry.folder else path.parent
            folder.mkdir(mode=0o755, parents=True, exist_ok=True)
            folders.update(p for p in (folder, *folder.parents) if p.is_relative_to(self._into))
            if not entry.folder:
                self._write_file(entry, path)
        for folder in folders:
            sync_path(folder)
        return self._written

    def _write_file(self, entry: Entry, path: Path) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(path, flags, 0o755 if entry.executable else 0o644)
        with os.fdopen(fd, "wb") as out:
            crc = size = 0
            for data in self._read(entry):
                size += len(data)
                self._count(len(data), entry)
                crc = zlib.crc32(data, crc)
                out.write(data)
            if size != entry.size or crc != entry.crc:
                raise self._corrupt(entry, f"{size:,} bytes came out, {entry.size:,} and a checksum were declared")
            os.fchmod(out.fileno(), 0o755 if entry.executable else 0o644)
            sync_file(out)

    def _count(self, size: int, entry: Entry) -> None:
        self._written += size
        _check_size(self._written, self._limits, self._bundle, entry.name)
        allowed = max(self._limits.ratio * self._archive_bytes, self._limits.ratio_floor_bytes)
        if self._written > allowed:
            raise BundleRefusedError(
                self._bundle,
                f"it unpacks to more than {self._limits.ratio} times its size, as a zip bomb does.",
                entry.name,
            )

    def _read(self, entry: Entry) -> Iterator[bytes]:
        """Yield the data of an entry: at most its declared size and one chunk more."""
        raw = self._raw(entry)
        if entry.method == _STORED:
            yield from raw
            return
        unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
        left = entry.size
        try:
            for data in raw:
                while data:
                    out = unpacker.decompress(data, _DECOMPRESSED_BYTES)
                    left -= len(out)
                    if left < 0:
                        raise self._corrupt(entry, f"more than the declared {entry.size:,} bytes come out")
                    yield out
                    if unpacker.unused_data:
                        raise self._corrupt(entry, "there are bytes after the end of its data")
                    data = unpacker.unconsumed_tail  # noqa: PLW2901 - the rest of this piece
        except zlib.error as error:
            raise self._corrupt(entry, f"its data cannot be decompressed ({error})") from None
        if not unpacker.eof:
            raise self._corrupt(entry, "its data end too early")

    def _raw(self, entry: Entry) -> Iterator[bytes]:
        """Yield the compressed bytes of an entry, after comparing its own header with the index."""
        self._file.seek(entry.offset)
        header = self._file.read(_LOCAL_HEADER.size)
        if len(header) < _LOCAL_HEADER.size or header[:4] != b"PK\x03\x04":
            raise self._corrupt(entry, "there is no entry where the index says")
        (_, _, flags, method, _, _, _, _, _, name_length, extra_length) = _LOCAL_HEADER.unpack(header)
        if self._file.read(name_length) != entry.raw_name or method != entry.method or flags & 1:
            raise self._corrupt(entry, "its own header and the index of the zip contradict each other")
        self._file.seek(extra_length, os.SEEK_CUR)
        if self._file.tell() + entry.packed_size > entry.limit:
            raise self._corrupt(entry, "its data overlap with what follows")
        left = entry.packed_size
        for data in read_chunks(self._file, left):
            left -= len(data)
            yield data
        if left:
            raise self._corrupt(entry, "the zip ends in the middle of it")

    def _corrupt(self, entry: Entry, what: str) -> BundleRefusedError:
        return BundleRefusedError(self._bundle, f"{what}. The zip is damaged or forged: make it again.", entry.name)
