# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A cache file that cannot be trusted is not read; one that cannot be kept costs only time."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from batchy_provider.config import code_digest
from batchy_provider.config.private_files import PrivateFile
from batchy_provider.config.valid_files import CachingReader

VALID = 'jobs: {load: {bash: "true"}}\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path / f"batchy-stored-{os.geteuid()}"


def test_what_was_written_is_read(folder: Path) -> None:
    PrivateFile("one").replace(b"content")
    assert PrivateFile("one").read() == b"content"
    assert PrivateFile("two").read() == b""
    assert [path.name for path in folder.iterdir()] == ["one"]


@pytest.mark.parametrize("mode", [0o701, 0o750, 0o777])
def test_a_folder_that_others_can_open_is_not_used(folder: Path, mode: int) -> None:
    PrivateFile("one").replace(b"content")
    folder.chmod(mode)
    assert PrivateFile("one").read() == b""
    PrivateFile("one").replace(b"new content")
    folder.chmod(0o700)
    assert PrivateFile("one").read() == b"content"


def test_a_folder_or_file_that_is_a_link_is_not_used(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "elsewhere" / "one").write_bytes(b"of another")
    folder.symlink_to(tmp_path / "elsewhere")
    assert PrivateFile("one").read() == b""
    folder.unlink()
    folder.mkdir(mode=0o700)
    (folder / "one").symlink_to(tmp_path / "elsewhere" / "one")
    assert PrivateFile("one").read() == b""
    PrivateFile("one").replace(b"content")
    assert PrivateFile("one").read() == b"content"
    assert (tmp_path / "elsewhere" / "one").read_bytes() == b"of another"


def test_a_fifo_in_place_of_a_file_stops_nobody(folder: Path) -> None:
    """Opening it would wait for a writer that never comes."""
    folder.mkdir(mode=0o700)
    os.mkfifo(folder / "one", 0o600)
    assert PrivateFile("one").read() == b""
    PrivateFile("one").replace(b"content")
    assert PrivateFile("one").read() == b"content"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_a_file_or_folder_of_another_user_is_not_used(folder: Path) -> None:
    PrivateFile("one").replace(b"content")
    os.chown(folder / "one", 12345, 12345)
    assert PrivateFile("one").read() == b""
    os.chown(folder / "one", 0, 0)
    assert PrivateFile("one").read() == b"content"
    os.chown(folder, 12345, 12345)
    assert PrivateFile("one").read() == b""


def test_without_a_temporary_folder_files_are_read_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python raises an error if it can write in none of the usual places, as in a container that is read-only."""

    def none() -> str:
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    (tmp_path / "sales.yaml").write_text(VALID)
    for _ in range(2):
        reader = CachingReader(tmp_path)
        workflow, diagnostics = reader.read(tmp_path / "sales.yaml")
        reader.remember()
        assert workflow is not None
        assert diagnostics == []


@pytest.mark.parametrize("fails", ["write", "close", "replace"])
def test_a_full_disk_leaves_the_old_content(folder: Path, monkeypatch: pytest.MonkeyPatch, fails: str) -> None:
    PrivateFile("one").replace(b"content")
    before = (folder / "one").read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    if fails == "replace":
        monkeypatch.setattr(Path, "replace", full)
    else:
        opened = os.fdopen

        class Full:
            def __init__(self, descriptor: int, mode: str) -> None:
                self._file = opened(descriptor, mode)

            def __enter__(self) -> Full:
                return self

            def __exit__(self, *_: object) -> None:
                self._file.close()
                if fails == "close":
                    full()

            def write(self, content: bytes) -> None:
                self._file.write(content[:3])
                if fails == "write":
                    full()

        monkeypatch.setattr(os, "fdopen", Full)
    PrivateFile("one").replace(b"new content")
    monkeypatch.undo()
    assert (folder / "one").read_bytes() == before
    assert [path.name for path in folder.iterdir()] == ["one"]


def test_what_a_killed_writer_left_goes_after_an_hour(folder: Path) -> None:
    PrivateFile("one").replace(b"content")
    for name, age in (("unfinished-old", 7200), ("unfinished-new", 60), ("two", 7200), ("three", 31 * 24 * 3600)):
        (folder / name).write_bytes(b"half")
        os.utime(folder / name, (time.time() - age,) * 2)
    PrivateFile("one").replace(b"content")
    assert {path.name for path in folder.iterdir()} == {"one", "two", "unfinished-new"}


@pytest.mark.parametrize("damage", [b"", b"\0" * 200, b"\xff\xfe", b"x" * 64 + b" {", b"no line at all", b"\n\n \n"])
def test_a_damaged_cache_is_not_believed(folder: Path, tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "cfg" / "sales.yaml"
    path.parent.mkdir()
    path.write_text(VALID)
    first = CachingReader(path.parent)
    expected = first.read(path)
    first.remember()
    (cache,) = folder.iterdir()
    written = PrivateFile(cache.name).read()
    key = written.partition(b" ")[0]
    for content in (damage, key + b" ", key + b" - {}", key + b' - {"jobs": 1}', key + b" - []", written[:-5]):
        cache.write_bytes(content)
        assert CachingReader(path.parent).read(path) == expected
        PrivateFile(cache.name).replace(content)  # as a program with an error would write it
        assert CachingReader(path.parent).read(path) == expected


@pytest.mark.parametrize("change", [lambda raw: raw[:-1], lambda raw: raw + b" ", lambda raw: raw.replace(b"1", b"2")])
def test_what_is_not_as_it_was_written_is_not_read(folder: Path, change: Callable[[bytes], bytes]) -> None:
    PrivateFile("one").replace(b"a content with 1\n and 1\n")
    raw = (folder / "one").read_bytes()
    (folder / "one").write_bytes(change(raw))
    assert PrivateFile("one").read() == b""
    (folder / "one").write_bytes(raw)
    assert PrivateFile("one").read() == b"a content with 1\n and 1\n"


def test_what_is_in_use_is_not_removed(folder: Path) -> None:
    for name in ("read", "unread"):
        PrivateFile(name).replace(b"content")
    for name in ("read", "unread"):
        os.utime(folder / name, (time.time() - 31 * 24 * 3600,) * 2)
    assert PrivateFile("read").read() == b"content"
    PrivateFile("one").replace(b"content")
    assert {path.name for path in folder.iterdir()} == {"one", "read"}


def test_code_of_the_same_size_and_time_is_other_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some installers set all times to one moment."""
    file = tmp_path / "core" / "rules.py"
    file.parent.mkdir()
    monkeypatch.setattr(code_digest, "__file__", str(tmp_path / "config" / "code_digest.py"))
    found = set()
    for text in ("LIMIT = 1\n", "LIMIT = 2\n"):
        (tmp_path / "new.py").write_text(text)
        os.utime(tmp_path / "new.py", (1, 1))
        (tmp_path / "new.py").replace(file)
        found.add(tuple(code_digest._files()))
    assert len(found) == 2


def test_another_package_is_other_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow says which names a template knows, for example."""
    packages = tmp_path / "site-packages"
    packages.mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path / "dags"), str(packages), str(tmp_path / "none" / "dist-packages")])
    before = list(code_digest._packages())
    assert list(code_digest._packages()) == before
    (packages / "jinja2-4.0.dist-info").mkdir()
    assert list(code_digest._packages()) != before
