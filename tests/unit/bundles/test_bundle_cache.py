# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""One unpacking for all, a copy for each, and never a half or a stale one."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from bundle_archives import Part, script, unpacked, zip_file, zip_of
from hypothesis import given, settings
from hypothesis import strategies as st
from thoroughness import scaled

from batchy_provider.bundles import bundle_cache as cache_module
from batchy_provider.bundles.bundle_cache import BundleCache
from batchy_provider.bundles.errors import BundleNotFoundError, BundlePinError, BundleRefusedError
from batchy_provider.bundles.scratch import locked


def test_a_copy_is_writable_and_the_cache_is_not(cache: BundleCache, tmp_path: Path) -> None:
    bundle = zip_file(tmp_path / "a.zip")
    fetched = cache.working_copy(bundle, tmp_path / "copy")
    assert fetched.sha256 == hashlib.sha256(bundle.read_bytes()).hexdigest()
    assert stat.S_IMODE((tmp_path / "copy/script.sh").stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "copy/data").stat().st_mode) == 0o644
    tree = cache.root / "bundles" / fetched.sha256 / "tree"
    assert {stat.S_IMODE(p.stat().st_mode) & 0o222 for p in [tree, *tree.rglob("*")]} == {0}
    (tmp_path / "copy/script.sh").write_text("changed by the run")
    cache.working_copy(bundle, tmp_path / "second")
    assert (tmp_path / "second/script.sh").read_text() == "echo hello\n"


@pytest.mark.usefixtures("settled")
def test_an_unchanged_zip_is_not_read_again(
    cache: BundleCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = zip_file(tmp_path / "a.zip")
    cache.working_copy(bundle, tmp_path / "one")
    monkeypatch.setattr(cache_module.Source, "fetch", lambda *_, **__: pytest.fail("read again"))
    assert cache.working_copy(bundle, tmp_path / "two").cached


@pytest.mark.usefixtures("settled")
def test_a_changed_zip_at_the_same_path_is_noticed(cache: BundleCache, tmp_path: Path) -> None:
    """Same size, and the time of change set back by hand: the inode's own time still tells."""
    bundle = zip_file(tmp_path / "a.zip", "echo one\n")
    times = bundle.stat()
    cache.working_copy(bundle, tmp_path / "one")
    time.sleep(0.02)
    zip_file(bundle, "echo two\n")
    os.utime(bundle, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert bundle.stat().st_size == times.st_size
    cache.working_copy(bundle, tmp_path / "two")
    assert (tmp_path / "two/script.sh").read_text() == "echo two\n"


def test_a_zip_that_has_just_changed_is_read_whatever_its_times_say(cache: BundleCache, tmp_path: Path) -> None:
    bundle = zip_file(tmp_path / "a.zip")
    cache.working_copy(bundle, tmp_path / "one")
    assert not cache.working_copy(bundle, tmp_path / "two").cached
    assert len(unpacked(cache)) == 1


def test_a_pin_is_kept(cache: BundleCache, tmp_path: Path) -> None:
    bundle = zip_file(tmp_path / "a.zip")
    digest = hashlib.sha256(bundle.read_bytes()).hexdigest()
    cache.working_copy(bundle, tmp_path / "one", sha256=digest.upper())
    zip_file(bundle, "echo evil\n")
    with pytest.raises(BundlePinError, match=f"{digest} is pinned"):
        cache.working_copy(bundle, tmp_path / "two", sha256=digest)
    assert not (tmp_path / "two").exists()
    assert unpacked(cache) == [digest]


@pytest.mark.usefixtures("settled")
def test_a_pin_is_kept_also_when_the_wrong_bundle_is_cached(cache: BundleCache, tmp_path: Path) -> None:
    bundle = zip_file(tmp_path / "a.zip")
    cache.working_copy(bundle, tmp_path / "one")
    with pytest.raises(BundlePinError):
        cache.working_copy(bundle, tmp_path / "two", sha256="0" * 64)
    assert not (tmp_path / "two").exists()


REFUSED = {
    "traversal": zip_of(script(), Part("../evil", b"x")),
    "link": zip_of(script(), Part("link", b"/etc/passwd", mode=stat.S_IFLNK | 0o777)),
    "device": zip_of(script(), Part("null", mode=stat.S_IFCHR | 0o644)),
    "bomb": zip_of(script(), Part("lib/zeros", bytes(40 * 1024 * 1024), method=8)),
    "lying size": zip_of(script(), Part("lib/liar", bytes(30 * 1024 * 1024), method=8, size=10)),
    "wrong checksum behind good entries": zip_of(script(), Part("lib/a", b"abc"), Part("lib/b", b"abc", crc=1)),
    "cut off": zip_of(script(), Part("a", os.urandom(500)))[:400],
    "root folder": zip_of(Part("etl/script.sh", b"x")),
}


@pytest.mark.parametrize("content", REFUSED.values(), ids=REFUSED)
def test_a_refused_zip_leaves_the_cache_as_it_was(cache: BundleCache, tmp_path: Path, content: bytes) -> None:
    cache.working_copy(zip_file(tmp_path / "good.zip"), tmp_path / "one")
    before = sorted(p for p in cache.root.rglob("*") if p.parent.name != "locks")
    (tmp_path / "evil.zip").write_bytes(content)
    with pytest.raises(BundleRefusedError, match=r"evil\.zip"):
        cache.working_copy(tmp_path / "evil.zip", tmp_path / "two")
    assert not (tmp_path / "two").exists()
    assert sorted(p for p in cache.root.rglob("*") if p.parent.name != "locks") == before


def test_a_missing_bundle_is_named(cache: BundleCache, tmp_path: Path) -> None:
    with pytest.raises(BundleNotFoundError, match=r"nowhere\.zip does not exist"):
        cache.working_copy(tmp_path / "nowhere.zip", tmp_path / "copy")


RACE = """
import sys, pathlib, batchy_provider.bundles.bundle_cache as c
real, log = c.unpack, pathlib.Path(sys.argv[4])
def counted(*a, **k):
    with log.open("a") as f: f.write("unpacked\\n")
    return real(*a, **k)
c.unpack = counted
sys.stdin.readline()
c.BundleCache(pathlib.Path(sys.argv[1])).working_copy(sys.argv[2], pathlib.Path(sys.argv[3]))
"""


@pytest.mark.slow
def test_thirty_two_processes_at_once_unpack_once(cache: BundleCache, tmp_path: Path) -> None:
    bundle = zip_file(tmp_path / "a.zip", size=2_000_000)
    log = tmp_path / "log"
    read_end, write_end = os.pipe()
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, str(cache.root), str(bundle), str(tmp_path / f"copy{i}"), str(log)],
            stdin=read_end,
        )
        for i in range(32)
    ]
    os.write(write_end, b"\n" * 32)
    os.close(read_end)
    os.close(write_end)
    assert [process.wait(60) for process in processes] == [0] * 32
    assert log.read_text() == "unpacked\n"
    assert {len((tmp_path / f"copy{i}/data").read_bytes()) for i in range(32)} == {2_000_000}
    assert list((cache.root / "tmp").iterdir()) == []


KILLED = """
import sys, os, signal, pathlib, batchy_provider.bundles.bundle_cache as c
c._seal = lambda tree: os.kill(os.getpid(), signal.SIGKILL)
c.BundleCache(pathlib.Path(sys.argv[1])).working_copy(sys.argv[2], pathlib.Path(sys.argv[3]))
"""


def test_a_process_killed_while_unpacking_leaves_no_half_bundle(cache: BundleCache, tmp_path: Path) -> None:
    bundle = zip_file(tmp_path / "a.zip")
    arguments = [sys.executable, "-c", KILLED, str(cache.root), str(bundle), str(tmp_path / "one")]
    assert subprocess.run(arguments, check=False).returncode == -signal.SIGKILL
    assert unpacked(cache) == []
    assert list((cache.root / "tmp").iterdir())
    cache.working_copy(bundle, tmp_path / "two")
    assert (tmp_path / "two/script.sh").exists()
    assert list((cache.root / "tmp").iterdir()) == []


def test_the_least_recently_used_go_first(tmp_path: Path) -> None:
    cache = BundleCache(tmp_path / "cache", max_bytes=250_000)
    digests = []
    for i in range(3):
        bundle = zip_file(tmp_path / f"{i}.zip", size=100_000)
        digests.append(cache.working_copy(bundle, tmp_path / f"copy{i}").sha256)
        time.sleep(0.01)
        if i == 1:
            cache.working_copy(tmp_path / "0.zip", tmp_path / "again")
            time.sleep(0.01)
    assert unpacked(cache) == sorted([digests[0], digests[2]])


def test_what_is_in_use_is_not_removed(tmp_path: Path) -> None:
    cache = BundleCache(tmp_path / "cache", max_bytes=1)
    digest = cache.working_copy(zip_file(tmp_path / "a.zip", size=1000), tmp_path / "one").sha256
    with locked(cache.root / "locks" / digest, shared=True):
        assert cache.shrink() == 0
    assert cache.shrink() == 1
    assert unpacked(cache) == []


def test_copying_while_others_remove_never_fails(tmp_path: Path) -> None:
    cache = BundleCache(tmp_path / "cache", max_bytes=1)
    bundle = zip_file(tmp_path / "a.zip", size=1000)
    stop = threading.Event()

    def shrink() -> None:
        while not stop.is_set():
            cache.shrink()

    cache.working_copy(bundle, tmp_path / "first")
    thread = threading.Thread(target=shrink)
    thread.start()
    try:
        for i in range(60):
            cache.working_copy(bundle, tmp_path / f"copy{i}")
            assert len((tmp_path / f"copy{i}/data").read_bytes()) == 1000
    finally:
        stop.set()
        thread.join()


@pytest.mark.usefixtures("settled")
def test_a_damaged_note_of_a_source_is_ignored(cache: BundleCache, tmp_path: Path) -> None:
    bundle = zip_file(tmp_path / "a.zip")
    cache.working_copy(bundle, tmp_path / "one")
    (note,) = (cache.root / "sources").iterdir()
    for i, damage in enumerate([b"", b"[]", b"{}", b"\xff"]):
        note.write_bytes(damage)
        cache.working_copy(bundle, tmp_path / f"copy{i}")
    assert json.loads(note.read_bytes())["source"] == str(bundle)


@settings(max_examples=scaled(60))
@given(at=st.integers(0, 2000), what=st.binary(min_size=1, max_size=6), cut=st.booleans())
def test_no_damaged_zip_is_ever_half_cached(
    tmp_path_factory: pytest.TempPathFactory, at: int, what: bytes, cut: bool
) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    content = bytearray(zip_of(script(), Part("lib/a", b"text\n" * 100, method=8), Part("b", bytes(range(256)))))
    at %= len(content)
    content[at : None if cut else at + len(what)] = what
    (folder / "a.zip").write_bytes(content)
    cache = BundleCache(folder / "cache")
    copied = False
    with contextlib.suppress(BundleRefusedError):
        cache.working_copy(folder / "a.zip", folder / "copy")
        copied = True
    assert (folder / "copy").exists() == copied
    assert len(unpacked(cache)) == copied
    assert list((cache.root / "tmp").iterdir()) == []
    if copied:
        tree = cache.root / "bundles" / unpacked(cache)[0] / "tree"
        assert len([path for path in tree.rglob("*") if path.is_file()]) == 3
