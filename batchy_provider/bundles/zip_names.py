# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Decode the name of a zip's entry as the program that made the zip meant it, or refuse it.

A zip marks names that are UTF-8. Other names are in code page 437 by the format, but hardly any program does that:

===============================  =========================================================================
``zip`` of Linux (Info-ZIP)      the bytes of the file system, and UTF-8 in the extra field 0x7075
macOS, ``bsdtar`` in ``LC_ALL=C``  UTF-8, unmarked
Windows Explorer, older 7-Zip    the code page of that machine, which is unknown
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
"""Numbers of systems in a zip that use UTF-8 names: Unix, and the second number of macOS."""
_FIELD = struct.Struct("<2H")
_UNICODE_HEAD = struct.Struct("<BL")
_REMEDY = "Make the zip with names in UTF-8 (on Linux and macOS `zip -r`; 7-Zip: `-mcu=on`), or rename the file."


class UnreadableNameError(Exception):
    """A name cannot be decoded; the text says why."""


def raw_name(info: zipfile.ZipInfo) -> bytes:
    """Return the bytes of a name in the zip."""
    # `filename` is cut at NUL, and newer versions of Python put the name of the extra field there.
    return info.orig_filename.encode("utf-8" if info.flag_bits & _UTF8 else "cp437")


def read_name(info: zipfile.ZipInfo) -> str:
    """Return the decoded name, without ``./`` before it, and with ``/`` at the end of a folder.

    :raises UnreadableNameError: it cannot be decoded.
    """
    name = _decoded(info)
    # `bsdtar -cf b.zip .` writes `./script.sh`. The folder `./` itself keeps its name: see `is_root`.
    return name.removeprefix("./") or name


def is_root(info: zipfile.ZipInfo) -> bool:
    """Tell whether an entry is the zipped folder itself, as `bsdtar` writes it. There is nothing to unpack."""
    return info.orig_filename == "./" and not info.file_size


def _decoded(info: zipfile.ZipInfo) -> str:
    raw = raw_name(info)
    unicode_name = _unicode_path(info.extra, raw)
    marked = bool(info.flag_bits & _UTF8)
    if unicode_name is not None:
        # An honest program uses the field only for a name that the first one cannot express.
        if (marked or unicode_name.isascii()) and unicode_name.encode() != raw:
            raise UnreadableNameError(
                f"its name is also written as {unicode_name!r}: the zip is damaged or forged. {_REMEDY}"
            )
        return unicode_name
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
    """Return the name in the extra field of Info-ZIP; None if there is no such field."""
    found = [data for kind, data in _fields(extra) if kind == _UNICODE_PATH]
    if not found:
        return None
    if len(found) > 1 or len(found[0]) < _UNICODE_HEAD.size:
        raise UnreadableNameError("the field with its name in Unicode is damaged: make the zip again.")
    version, crc = _UNICODE_HEAD.unpack_from(found[0])
    if version != 1 or crc != zlib.crc32(raw):
        # A program has renamed the entry and not the field. Programs differ in which name they use.
        raise UnreadableNameError(f"its name and the field with its name in Unicode contradict each other. {_REMEDY}")
    try:
        return found[0][_UNICODE_HEAD.size :].decode()
    except UnicodeDecodeError:
        raise UnreadableNameError("the field with its name in Unicode is not UTF-8: make the zip again.") from None


def _fields(extra: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield kind and data of each extra field, without one that is cut off at the end."""
    at = 0
    while at + _FIELD.size <= len(extra):
        kind, size = _FIELD.unpack_from(extra, at)
        at += _FIELD.size
        if at + size > len(extra):
            return
        yield kind, extra[at : at + size]
        at += size
