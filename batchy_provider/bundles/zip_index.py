# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Read the index of a zip as a list of plain entries. Anything unusual is refused."""

from __future__ import annotations

import os
import stat
import struct
import zipfile
from dataclasses import dataclass
from typing import BinaryIO

from batchy_provider.bundles.entry_names import FROM_PIPE
from batchy_provider.bundles.errors import BundleRefusedError
from batchy_provider.bundles.limits import UnpackLimits
from batchy_provider.bundles.zip_names import UnreadableNameError, is_root, raw_name, read_name

_END = struct.Struct("<4s4H2LH")
_END_SIGNATURE = b"PK\x05\x06"
_ZIP64_END = struct.Struct("<4sQ2H2L4Q")
_ZIP64_LOCATOR = struct.Struct("<4sLQL")
_IN_ZIP64 = {0xFFFF, 0xFFFFFFFF}
"""Values in the end record that say: the Zip64 record has the value."""
_ENTRY_BYTES = 46
_ROOM_PER_ENTRY = 600
_ENCRYPTED = 0x1 | 0x40 | 0x2000
_PATCH = 0x20


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One file or folder of a zip.

    :param name: the name on disk, without a slash at the end.
    :param raw_name: the bytes of the name in the zip.
    :param offset: where its header starts, bytes.
    :param limit: where the next entry or the index starts, bytes: the data must end before.
    :param packed_size: bytes in the zip.
    :param size: declared bytes after unpacking.
    """

    name: str
    raw_name: bytes
    folder: bool
    executable: bool
    method: int
    offset: int
    limit: int
    packed_size: int
    size: int
    crc: int


def read_index(file: BinaryIO, *, bundle: str, limits: UnpackLimits) -> list[Entry]:
    """Read and check the index of a zip.

    :param file: the open zip.
    :param bundle: name of the bundle in errors.
    :raises BundleRefusedError: not a zip, damaged, too large, or an entry is neither a plain file nor a folder.
    """
    length = os.fstat(file.fileno()).st_size
    if length > limits.archive_bytes:
        raise BundleRefusedError(bundle, f"the zip has {length:,} bytes, {limits.archive_bytes:,} is the limit.")
    declared = _check_end(file, length, bundle, limits)
    try:
        # This reads the whole index into memory. Its size was checked before.
        with zipfile.ZipFile(file) as archive:
            infos = archive.infolist()
            start = archive.start_dir
    except UnicodeDecodeError:
        raise BundleRefusedError(bundle, "a name in it is marked as UTF-8 and is not: make the zip again.") from None
    except Exception as error:
        # zipfile raises ValueError, struct.error, OverflowError… on forged input.
        raise BundleRefusedError(bundle, f"the zip is damaged ({error}): make it again.") from None
    if len(infos) > limits.entries:
        raise BundleRefusedError(
            bundle,
            f"it has {len(infos):,} entries, {limits.entries:,} is the limit.",
            infos[limits.entries].orig_filename,
        )
    if len(infos) != declared:
        raise BundleRefusedError(
            bundle,
            f"its end declares {declared:,} entries, its index has {len(infos):,}: it is damaged or forged, and may "
            "hide files. Make it again.",
        )
    ends = [*sorted(info.header_offset for info in infos), start]
    if infos and ends[0] != 0:
        raise BundleRefusedError(
            bundle, "there are other bytes before the first entry: it is a zip and something else at once."
        )
    following = {offset: ends[i + 1] for i, offset in enumerate(ends[:-1])}
    if len(following) != len(infos):
        raise BundleRefusedError(bundle, "two entries share the same bytes, as in a zip bomb.")
    if sum(map(is_root, infos)) == 1:
        infos = [info for info in infos if not is_root(info)]
    return [_entry(info, following[info.header_offset], bundle) for info in infos]


def _check_end(file: BinaryIO, length: int, bundle: str, limits: UnpackLimits) -> int:
    """Check that there is one end record, at the very end, and that the index is not too large.

    :returns: the number of entries that it declares.
    """
    tail_length = min(length, _END.size + 0xFFFF)
    file.seek(length - tail_length)
    tail = file.read(tail_length)
    at = tail.find(_END_SIGNATURE)
    if at < 0 or len(tail) - at < _END.size:
        start = tail[:2] if length == tail_length else b""
        what = "the end of the zip is missing: it was cut off" if start == b"PK" else "it is not a zip file"
        raise BundleRefusedError(bundle, f"{what}. Expected a zip, or a folder, with a script.sh at its root.")
    while len(tail) - at >= _END.size:
        (_, disk, first_disk, here, entries, index_bytes, _, comment) = _END.unpack_from(tail, at)
        # bsdtar fills the last block of a zip that it writes to a pipe with zeros. No second zip is made of zeros.
        if not tail[at + _END.size + comment :].strip(b"\0") and at + _END.size + comment <= len(tail):
            break
        # The data of the last entry may have the same four bytes.
        at = tail.find(_END_SIGNATURE, at + 1)
        if at < 0:
            raise BundleRefusedError(bundle, "there are bytes after the end of the zip, or its end is damaged.")
    else:
        raise BundleRefusedError(bundle, "the end of the zip is damaged.")
    if _END_SIGNATURE in tail[at + 4 :]:
        raise BundleRefusedError(bundle, "it has two ends: it can be read as two different zips.")
    declared = (disk, first_disk, here, entries, index_bytes)
    disk, first_disk, here, entries, index_bytes = _of_zip64(file, length - tail_length + at, declared, bundle)
    if disk or first_disk or here != entries:
        raise BundleRefusedError(bundle, "it is one part of a zip in several parts.")
    most = limits.entries * _ROOM_PER_ENTRY + _ENTRY_BYTES
    if entries > limits.entries:
        raise BundleRefusedError(bundle, f"it has {entries:,} entries, {limits.entries:,} is the limit.")
    if index_bytes > most:
        raise BundleRefusedError(bundle, f"its index alone has {index_bytes:,} bytes, {most:,} is the limit.")
    return int(entries)


def _of_zip64(file: BinaryIO, end: int, declared: tuple[int, ...], bundle: str) -> tuple[int, ...]:
    """Return the values of the end record, completed from the Zip64 record before it, if there is one.

    A program that does not know the size in advance writes even a small zip in this form. Both records must agree.

    :param end: where the end record is, bytes.
    :param declared: disk, disk of the index, entries here, entries, bytes of the index.
    """
    file.seek(max(0, end - _ZIP64_LOCATOR.size))
    found = file.read(_ZIP64_LOCATOR.size)
    if len(found) < _ZIP64_LOCATOR.size or not found.startswith(b"PK\x06\x07"):
        if _IN_ZIP64 & set(declared):
            raise BundleRefusedError(bundle, "the end of the zip is damaged: its Zip64 record is missing.")
        return declared
    _, disk, offset, disks = _ZIP64_LOCATOR.unpack(found)
    file.seek(max(0, end - _ZIP64_LOCATOR.size - _ZIP64_END.size))
    place = file.tell()
    record = file.read(_ZIP64_END.size)
    if len(record) < _ZIP64_END.size or not record.startswith(b"PK\x06\x06") or offset != place or disk or disks > 1:
        raise BundleRefusedError(bundle, "its Zip64 record is not where it must be: it is damaged or forged.")
    _, size, _, _, *values, _ = _ZIP64_END.unpack(record)
    if size != _ZIP64_END.size - 12:
        raise BundleRefusedError(bundle, "its Zip64 record has unknown fields.")
    if any(value not in (more, 0xFFFF, 0xFFFFFFFF) for value, more in zip(declared, values, strict=True)):
        raise BundleRefusedError(bundle, "its two ends contradict each other: it is damaged or forged.")
    return tuple(values)


def _entry(info: zipfile.ZipInfo, limit: int, bundle: str) -> Entry:
    raw = raw_name(info)
    try:
        name = read_name(info)
    except UnreadableNameError as error:
        raise BundleRefusedError(bundle, str(error), raw.decode("utf-8", "backslashreplace")) from None
    folder = name.endswith("/")
    reason = _problem(info, folder)
    if reason:
        raise BundleRefusedError(bundle, reason, name)
    return Entry(
        name=name[:-1] if folder else name,
        raw_name=raw,
        folder=folder,
        executable=bool((info.external_attr >> 16) & 0o111),
        method=info.compress_type,
        offset=info.header_offset,
        limit=limit,
        packed_size=info.compress_size,
        size=info.file_size,
        crc=info.CRC,
    )


def _problem(info: zipfile.ZipInfo, folder: bool) -> str | None:
    """Return what is wrong with the kind of an entry, as a sentence; None if nothing is wrong."""
    kind = stat.S_IFMT(info.external_attr >> 16)
    if info.flag_bits & _ENCRYPTED:
        return "it is encrypted; a bundle is read without a password."
    if info.flag_bits & _PATCH or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return f"it is compressed by method {info.compress_type}; only stored and deflated entries are read."
    if kind == stat.S_IFLNK:
        return "it is a link; put a copy of the file in its place."
    if kind == stat.S_IFIFO and info.orig_filename == "-":
        return FROM_PIPE
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "it is a device, a pipe or a socket."
    if kind and folder != (kind == stat.S_IFDIR):
        return "it is a folder by its name or by its mode, but not by both."
    if folder and info.file_size:
        return "it is a folder and yet has data."
    if info.compress_type == zipfile.ZIP_STORED and info.file_size != info.compress_size:
        return "it is stored as it is, and yet its two sizes differ."
    return None
