# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A zip from a stranger: what is refused, in which words, and that nothing stays on the disk."""

from __future__ import annotations

import io
import os
import stat
import struct
import time
import zipfile
import zlib
from pathlib import Path

import pytest
from bundle_archives import Part, refusal, script, zip_of
from hypothesis import given, settings
from hypothesis import strategies as st
from thoroughness import scaled

from batchy_provider.bundles.errors import BundleRefusedError
from batchy_provider.bundles.limits import UnpackLimits
from batchy_provider.bundles.unpack import unpack


def test_a_bomb_by_ratio_is_refused(tmp_path: Path) -> None:
    bomb = Part("zeros", bytes(40 * 1024 * 1024), method=8)
    assert "times its size" in refusal(tmp_path, zip_of(script(), bomb)).reason


def test_a_high_ratio_is_fine_while_it_is_small(tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    archive.write_bytes(zip_of(script(), Part("zeros", bytes(5_000_000), method=8)))
    assert unpack(archive, tmp_path / "out", bundle="b") > 5_000_000


def test_declared_size_above_the_limit_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    part = Part("big", b"x", method=8, size=2**31)
    assert "unpacks to more than" in refusal(tmp_path, zip_of(script(), part)).reason


def test_data_beyond_the_declared_size_are_refused(tmp_path: Path) -> None:
    """The bomb that says it is small."""
    part = Part("liar", bytes(30 * 1024 * 1024), method=8, size=10)
    assert "more than the declared 10 bytes" in refusal(tmp_path, zip_of(script(), part)).reason


def test_data_that_end_before_the_declared_size_are_refused(tmp_path: Path) -> None:
    part = Part("liar", b"x" * 10, method=8, size=1000)
    assert "came out" in refusal(tmp_path, zip_of(script(), part)).reason


def test_the_limit_counts_what_really_comes_out(tmp_path: Path) -> None:
    limits = UnpackLimits(unpacked_bytes=1000)
    parts = [Part(f"f{i}", os.urandom(300)) for i in range(4)]
    assert "unpacks to more than 1,000 bytes" in refusal(tmp_path, zip_of(script(), *parts), limits).reason


@pytest.mark.slow
def test_a_hundred_thousand_entries_are_refused_quickly(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for i in range(100_000):
            archive.writestr(zipfile.ZipInfo(f"f{i}"), b"")
    started = time.monotonic()
    assert "entries" in refusal(tmp_path, buffer.getvalue()).reason
    assert time.monotonic() - started < 1


@pytest.mark.slow
def test_a_hundred_thousand_entries_behind_a_count_that_lies_are_refused(tmp_path: Path) -> None:
    """Without the Zip64 that an honest writer would add."""
    content = zip_of(script(), *(Part(f"f{i}") for i in range(100_000)), count=1)
    error = refusal(tmp_path, content)
    assert "100,001 entries, 10,000 is the limit" in error.reason
    assert error.entry == "f9999"


def test_an_index_that_lies_about_its_count_is_counted(tmp_path: Path) -> None:
    parts = [Part(f"f{i}") for i in range(60)]
    error = refusal(tmp_path, zip_of(script(), *parts, count=1), UnpackLimits(entries=50))
    assert "61 entries, 50 is the limit" in error.reason


def test_a_huge_index_is_not_read(tmp_path: Path) -> None:
    parts = [Part("a" * 60_000 + str(i)) for i in range(20)]
    assert "index alone" in refusal(tmp_path, zip_of(script(), *parts), UnpackLimits(entries=50)).reason


def test_an_archive_above_the_limit_is_refused(tmp_path: Path) -> None:
    content = zip_of(script(), Part("a", bytes(5000)))
    assert "1,000 is the limit" in refusal(tmp_path, content, UnpackLimits(archive_bytes=1000)).reason


def test_nested_zips_are_not_opened(tmp_path: Path) -> None:
    inner = zip_of(script(), Part("../evil", b"x"))
    archive = tmp_path / "a.zip"
    archive.write_bytes(zip_of(script(), Part("inner.zip", inner)))
    unpack(archive, tmp_path / "out", bundle="b")
    assert (tmp_path / "out" / "inner.zip").read_bytes() == inner


@pytest.mark.parametrize("keep", [0, 1, 20, 60, 100])
def test_a_truncated_zip_is_refused(tmp_path: Path, keep: int) -> None:
    content = zip_of(script(), Part("a", os.urandom(500), method=8))
    refusal(tmp_path, content[: len(content) * keep // 101])


def test_a_file_that_is_no_zip_is_called_so(tmp_path: Path) -> None:
    assert "not a zip" in refusal(tmp_path, b"#!/bin/bash\necho hello\n" * 10).reason


def test_a_wrong_checksum_is_refused(tmp_path: Path) -> None:
    assert "checksum" in refusal(tmp_path, zip_of(script(), Part("a", b"abc", crc=1))).reason


def test_garbage_in_place_of_deflated_data_is_refused(tmp_path: Path) -> None:
    part = Part("a", b"abc", method=8, packed=b"\xff" * 20)
    assert "cannot be decompressed" in refusal(tmp_path, zip_of(script(), part)).reason


def test_deflated_data_without_end_are_refused(tmp_path: Path) -> None:
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = os.urandom(5000)
    packed = deflate.compress(data) + deflate.flush(zlib.Z_SYNC_FLUSH)
    assert "end too early" in refusal(tmp_path, zip_of(script(), Part("a", data, method=8, packed=packed))).reason


def test_bytes_behind_deflated_data_are_refused(tmp_path: Path) -> None:
    honest = Part("a", b"abc", method=8).body()
    part = Part("a", b"abc", method=8, packed=honest + b"hidden")
    assert "bytes after the end" in refusal(tmp_path, zip_of(script(), part)).reason


def test_two_headers_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    """One reader would see `a`, another one `../evil`."""
    part = Part("a.txt", b"x", local_name=b"../ev")
    assert "contradict" in refusal(tmp_path, zip_of(script(), part)).reason


def test_entries_that_share_their_bytes_are_refused(tmp_path: Path) -> None:
    first = script()
    error = refusal(tmp_path, zip_of(first, Part("script.sh2", first.data, offset=0)))
    assert "share the same bytes" in error.reason


def test_data_that_reach_into_the_next_entry_are_refused(tmp_path: Path) -> None:
    part = Part("a", b"x" * 10, packed_size=60, size=60)
    assert "overlap" in refusal(tmp_path, zip_of(script(), part, Part("b", b"y" * 100))).reason


def test_bytes_before_the_zip_are_refused(tmp_path: Path) -> None:
    assert "before the first entry" in refusal(tmp_path, zip_of(script(), before=b"\x7fELF")).reason


def test_bytes_after_the_zip_are_refused(tmp_path: Path) -> None:
    assert "after the end" in refusal(tmp_path, zip_of(script(), after=b"more")).reason


def test_a_zip_that_reads_as_two_zips_is_refused(tmp_path: Path) -> None:
    other = zip_of(script("echo other"))
    assert "two ends" in refusal(tmp_path, zip_of(script(), comment=other)).reason


def test_a_zip_in_several_parts_is_refused(tmp_path: Path) -> None:
    content = bytearray(zip_of(script()))
    struct.pack_into("<H", content, len(content) - 22 + 4, 1)
    assert "several parts" in refusal(tmp_path, bytes(content)).reason


def test_an_entry_that_is_hidden_in_the_remark_of_another_is_not_left_out(tmp_path: Path) -> None:
    """One damaged byte, the length of a remark: a reader that does not count sees a zip with a file less."""
    whole = zip_of(script(), Part("lib/a", b"text"), Part("b", b"data"))
    remark = whole.index(b"lib/a", whole.index(b"PK\1\2")) - 14  # two bytes of the second entry in the index
    damaged = bytearray(whole)
    damaged[remark] = 46 + len("b")  # swallows the third
    assert "declares 3 entries, its index has 2" in refusal(tmp_path, bytes(damaged)).reason


def test_an_honest_zip_is_unpacked(tmp_path: Path) -> None:
    """Made by Python's own writer, with folders, unicode, a comment and an executable."""
    archive = tmp_path / "good.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("script.sh", "echo hi\n")
        file.mkdir("leer") if hasattr(file, "mkdir") else file.writestr("leer/", "")
        file.writestr("données/été.csv", "a;b\n" * 1000)
        tool = zipfile.ZipInfo("bin/tool")
        tool.external_attr = (stat.S_IFREG | 0o6755) << 16
        file.writestr(tool, "#!/bin/sh\n")
        file.comment = b"made by hand"
    assert unpack(archive, tmp_path / "out", bundle="b") == 8 + 4000 + 10
    assert (tmp_path / "out/données/été.csv").read_text() == "a;b\n" * 1000
    assert (tmp_path / "out/leer").is_dir()
    assert stat.S_IMODE((tmp_path / "out/bin/tool").stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "out/script.sh").stat().st_mode) == 0o644


def test_a_streamed_zip_is_unpacked(tmp_path: Path) -> None:
    """Written to a pipe: sizes stand behind the data, and in the index."""

    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self.content = bytearray()

        def writable(self) -> bool:
            return True

        def write(self, data: bytes) -> int:
            self.content += data
            return len(data)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("script.sh", "echo hi\n" * 100)
        with file.open("big", "w", force_zip64=True) as entry:
            entry.write(b"data" * 1000)
    archive = tmp_path / "a.zip"
    archive.write_bytes(pipe.content)
    unpack(archive, tmp_path / "out", bundle="b")
    assert (tmp_path / "out/big").read_bytes() == b"data" * 1000


SEEDS = [
    zip_of(script(), Part("lib/a.py", b"print(1)\n" * 50, method=8), Part("lib/b", os.urandom(100))),
    zip_of(script(), Part("d/", mode=stat.S_IFDIR | 0o755), comment=b"comment"),
]


NASTY = [b"../", b"/", b"\\", b"\0", b"PK\1\2", b"PK\3\4", b"PK\5\6", b"PK\6\6", b"PK\6\7", b"\xff\xff\xff\xff"]


CHANGE = st.one_of(
    st.tuples(st.just("set"), st.integers(0, 10_000), st.binary(min_size=1, max_size=4)),
    st.tuples(st.just("set"), st.integers(0, 10_000), st.sampled_from(NASTY)),
    st.tuples(st.just("insert"), st.integers(0, 10_000), st.sampled_from(NASTY)),
    st.tuples(st.just("cut"), st.integers(0, 10_000), st.integers(1, 40)),
    st.tuples(st.just("double"), st.integers(0, 10_000), st.integers(1, 200)),
)


def mutated(content: bytes, changes: list[tuple[str, int, object]]) -> bytes:
    data = bytearray(content)
    for kind, at, what in changes:
        at %= len(data) + 1
        if kind == "set":
            data[at : at + len(what)] = what
        elif kind == "insert":
            data[at:at] = what
        elif kind == "cut":
            del data[at : at + what]
        else:
            data[at:at] = data[at : at + what]
    return bytes(data)


@pytest.mark.slow
@settings(max_examples=scaled(200))
@given(seed=st.sampled_from(SEEDS), changes=st.lists(CHANGE, min_size=1, max_size=4))
def test_no_mutation_writes_outside_or_leaves_half_a_tree(
    tmp_path_factory: pytest.TempPathFactory, seed: bytes, changes: list[tuple[str, int, object]]
) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    archive = folder / "a.zip"
    archive.write_bytes(mutated(seed, changes))
    (folder / "out").mkdir()
    tree = folder / "out" / "tree"
    try:
        unpack(archive, tree, bundle="b")
    except BundleRefusedError:
        assert not tree.exists()
    else:
        assert (tree / "script.sh").is_file()
        assert not any(path.is_symlink() for path in tree.rglob("*"))
    assert sorted(path.name for path in folder.iterdir()) == ["a.zip", "out"]
    assert {path.name for path in (folder / "out").iterdir()} <= {"tree"}
