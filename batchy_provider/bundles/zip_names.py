# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""
The name of a zip's entry as the program that made the zip meant it, or no name at all.

A zip marks names that are UTF-8. Where it does not, the format says code page 437, and hardly any program means it:

===============================  =========================================================================
``zip`` of Linux (Info-ZIP)      the bytes of the file system, and UTF-8 in the extra field 0x7075
macOS, ``bsdtar`` in ``LC_ALL=C``  UTF-8, unmarked
Windows Explorer, older 7-Zip    the code page of that machine, which nobody else knows
===============================  =========================================================================

So an unmarked name is taken if it is ASCII, if the extra field gives it, or if the zip was made on a Unix and the name
is valid UTF-8. Any other is refused.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator

_UTF8 = 0x800
_UNICODE_PATH = 0x7075
_UNIX = (3, 19)
"""Systems, as a zip numbers them, whose names are bytes: Unix, and macOS by its second number."""
_FIELD = struct.Struct("<2H")
_UNICODE_HEAD = struct.Struct("<BL")
_REMEDY = "Make the zip with names in UTF-8 (on Linux and macOS `zip -r`; 7-Zip: `-mcu=on`), or rename the file."


class UnreadableNameError(Exception):
    """Nobody can tell which name is meant; the text says why."""


def raw_name(info: zipfile.ZipInfo) -> bytes:
    """Return the bytes of a name as they stand in the zip."""
    # `filename` was cut at NUL, and newer Pythons put the extra field's name there.
    return info.orig_filename.encode("utf-8" if info.flag_bits & _UTF8 else "cp437")


def read_name(info: zipfile.ZipInfo) -> str:
    """
    Return the name that was meant, without ``./`` before it, with ``/`` at the end of a folder.

    :raises UnreadableNameError: it cannot be told
    """
    name = _decoded(info)
    # `bsdtar -cf b.zip .` writes `./script.sh`. The folder `./` itself keeps its name: see `is_root`.
    return name.removeprefix("./") or name


def is_root(info: zipfile.ZipInfo) -> bool:
    """Tell whether an entry is the folder that was zipped, as `bsdtar` writes it: there is nothing to unpack."""
    return info.orig_filename == "./" and not info.file_size


def _decoded(info: zipfile.ZipInfo) -> str:
    raw = raw_name(info)
    told = _unicode_path(info.extra, raw)
    marked = bool(info.flag_bits & _UTF8)
    if told is not None:
        # An honest program writes another name into the field only because the first cannot express it.
        if (marked or told.isascii()) and told.encode() != raw:
            raise UnreadableNameError(f"its name is also written as {told!r}: the zip is damaged or forged. {_REMEDY}")
        return told
    if marked or raw.isascii():
        return raw.decode()
    if info.create_system not in _UNIX:
        raise UnreadableNameError(
            f"its name is in the code page of the machine that made the zip, which is not written in it. {_REMEDY}"
        )
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise UnreadableNameError(f"its name is not UTF-8, and the zip does not say what it is. {_REMEDY}") from None


def _unicode_path(extra: bytes, raw: bytes) -> str | None:
    """The name in the extra field of Info-ZIP, or None if there is no such field."""
    found = [data for kind, data in _fields(extra) if kind == _UNICODE_PATH]
    if not found:
        return None
    if len(found) > 1 or len(found[0]) < _UNICODE_HEAD.size:
        raise UnreadableNameError("the field with its name in Unicode is damaged: make the zip again.")
    version, crc = _UNICODE_HEAD.unpack_from(found[0])
    if version != 1 or crc != zlib.crc32(raw):
        # A program has renamed the entry and left the field as it was. Programs differ in which name they take.
        raise UnreadableNameError(f"its name and the field with its name in Unicode contradict each other. {_REMEDY}")
    try:
        return found[0][_UNICODE_HEAD.size :].decode()
    except UnicodeDecodeError:
        raise UnreadableNameError("the field with its name in Unicode is not UTF-8: make the zip again.") from None


def _fields(extra: bytes) -> Iterator[tuple[int, bytes]]:
    """Kind and data of each extra field; what is cut off at the end is none."""
    at = 0
    while at + _FIELD.size <= len(extra):
        kind, size = _FIELD.unpack_from(extra, at)
        at += _FIELD.size
        if at + size > len(extra):
            return
        yield kind, extra[at : at + size]
        at += size
