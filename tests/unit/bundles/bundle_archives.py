# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Zips made byte by byte, so that every field can lie."""

from __future__ import annotations

import os
import stat
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import pytest

from batchy_provider.bundles.bundle_cache import BundleCache
from batchy_provider.bundles.errors import BundleRefusedError
from batchy_provider.bundles.limits import UnpackLimits
from batchy_provider.bundles.unpack import unpack

SCRIPT = "echo hello\n"


@dataclass
class Part:
    """One entry; None means the honest value."""

    name: str | bytes
    data: bytes = b""
    method: int = 0
    mode: int = stat.S_IFREG | 0o644
    flags: int | None = None
    local_name: bytes | None = None
    size: int | None = None
    crc: int | None = None
    packed: bytes | None = None
    packed_size: int | None = None
    offset: int | None = None
    system: int = 3
    extra: bytes = b""

    @property
    def raw_name(self) -> bytes:
        return self.name if isinstance(self.name, bytes) else self.name.encode()

    def body(self) -> bytes:
        if self.packed is not None:
            return self.packed
        if self.method == 8:
            deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
            return deflate.compress(self.data) + deflate.flush()
        return self.data

    def fields(self) -> tuple[int, int, int, int]:
        flags = self.flags
        if flags is None:
            flags = 0x800 if any(b > 127 for b in self.raw_name) else 0
        return (
            flags,
            zlib.crc32(self.data) if self.crc is None else self.crc,
            len(self.body()) if self.packed_size is None else self.packed_size,
            len(self.data) if self.size is None else self.size,
        )


def script(data: str = SCRIPT) -> Part:
    return Part("script.sh", data.encode(), mode=stat.S_IFREG | 0o755)


def zip_of(
    *parts: Part, comment: bytes = b"", before: bytes = b"", after: bytes = b"", count: int | None = None
) -> bytes:
    out = bytearray(before)
    index = bytearray()
    for part in parts:
        flags, crc, packed, size = part.fields()
        offset = len(out) if part.offset is None else part.offset
        local = part.raw_name if part.local_name is None else part.local_name
        if part.offset is None:
            out += struct.pack("<4s5H3L2H", b"PK\3\4", 20, flags, part.method, 0, 33, crc, packed, size, len(local), 0)
            out += local + part.body()
        index += struct.pack(
            "<4s6H3L5H2L",
            *(b"PK\1\2", part.system << 8 | 20, 20, flags, part.method, 0, 33, crc, packed, size),
            *(len(part.raw_name), len(part.extra), 0, 0, 0, part.mode << 16, offset),
        )
        index += part.raw_name + part.extra
    start = len(out)
    number = len(parts) if count is None else count
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, number, number, len(index), start, len(comment))
    return bytes(out + index + end + comment + after)


def unicode_path(raw: bytes, name: bytes, *, crc: int | None = None, version: int = 1) -> bytes:
    """The extra field of Info-ZIP with a name in UTF-8."""
    data = struct.pack("<BL", version, zlib.crc32(raw) if crc is None else crc) + name
    return struct.pack("<2H", 0x7075, len(data)) + data


def zip64_of(*parts: Part, entries: int | None = None, place: int | None = None) -> bytes:
    """A small zip with the end records of a large one, as `zip` writes it of what comes by a pipe."""
    plain = zip_of(*parts)
    *_, count, size, start, _ = struct.unpack("<4s4H2LH", plain[-22:])
    count = count if entries is None else entries
    body = plain[:-22]
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, start)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, len(body) if place is None else place, 1)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return body + record + locator + end


def zip_file(path: Path, text: str = "echo hello\n", size: int = 0) -> Path:
    path.write_bytes(zip_of(script(text), Part("data", os.urandom(size))))
    return path


def unpacked(cache: BundleCache) -> list[str]:
    return sorted(path.name for path in (cache.root / "bundles").iterdir())


# Folders


def refusal(tmp_path: Path, content: bytes, limits: UnpackLimits | None = None) -> BundleRefusedError:
    """Unpack must refuse, and leave the disk as it was."""
    archive = tmp_path / "in" / "evil.zip"
    archive.parent.mkdir()
    archive.write_bytes(content)
    out = tmp_path / "out"
    out.mkdir()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(BundleRefusedError) as caught:
        unpack(archive, out / "tree", bundle="team/evil.zip", limits=limits or UnpackLimits())
    assert sorted(tmp_path.rglob("*")) == before
    assert "team/evil.zip" in str(caught.value)
    return caught.value
