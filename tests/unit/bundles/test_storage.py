# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Files here and in object stores: copied within a limit, hashed, written whole or not at all."""

from __future__ import annotations

import hashlib
import io
import os
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from upath import UPath

from batchy_provider.bundles import storage
from batchy_provider.bundles.errors import ResultError
from batchy_provider.bundles.storage import (
    Content,
    copy_hashed,
    copy_stream,
    copy_tree,
    drop_listing_cache,
    hash_file,
    is_local_path,
    join,
    list_names,
    open_local_path,
    read_chunks,
    remove_stale_files,
    walk_files,
    write_new,
    write_whole,
)

DATA = bytes(range(256)) * 10
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "CHUNK_BYTES", 1000)


@pytest.fixture
def store() -> Any:
    """A folder of an object store."""
    return UPath(f"memory://{uuid.uuid4().hex}")


@pytest.mark.parametrize(
    ("url", "path"), [("/a b/c", "/a b/c"), ("file:///a%20b", "/a b"), ("relative", "relative"), ("", ".")]
)
def test_a_path_or_a_file_url_is_local(url: str, path: str) -> None:
    assert open_local_path(url) == Path(path)


def test_another_url_is_not_local() -> None:
    with pytest.raises(ResultError, match="s3://bucket/x cannot be read here"):
        open_local_path("s3://bucket/x")


def test_local_is_said_by_the_kind_of_path(tmp_path: Path, store: Any) -> None:
    assert is_local_path(tmp_path)
    assert not is_local_path(store)


@pytest.mark.parametrize("length", [None, 0, 1, 999, 1000, 1001, 2560, 9999])
def test_chunks_are_bounded_and_no_more_than_asked_for(length: int | None) -> None:
    file = io.BytesIO(DATA)
    chunks = list(read_chunks(file, length))
    assert b"".join(chunks) == DATA[:length]
    assert all(0 < len(chunk) <= 1000 for chunk in chunks)
    assert file.read() == (DATA[length:] if length is not None else b"")


@pytest.mark.parametrize(("limit", "written"), [(None, 2560), (2560, 2560), (2559, 2000), (1000, 1000), (999, 0)])
def test_a_copy_stops_before_the_chunk_that_is_too_much(limit: int | None, written: int) -> None:
    target = io.BytesIO()
    size = copy_stream(io.BytesIO(DATA), target, limit=limit)
    assert target.getvalue() == DATA[:written]
    assert (size > limit) if limit is not None and limit < len(DATA) else size == len(DATA)


def test_a_copy_is_hashed_on_its_way() -> None:
    target = io.BytesIO()
    content = copy_hashed(io.BytesIO(DATA), target)
    assert content == Content(len(DATA), SHA256)
    assert content.as_json() == {"bytes": len(DATA), "sha256": SHA256}
    assert target.getvalue() == DATA


@pytest.mark.parametrize("sync", [False, True])
def test_a_file_is_hashed_where_it_is(tmp_path: Path, sync: bool) -> None:
    (tmp_path / "a").write_bytes(DATA)
    (tmp_path / "empty").touch()
    assert hash_file(tmp_path / "a", sync=sync) == Content(len(DATA), SHA256)
    assert hash_file(tmp_path / "empty", sync=sync) == Content(0, hashlib.sha256().hexdigest())


def test_a_new_file_gets_its_folder_and_replaces_none(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b"
    assert write_new(path, io.BytesIO(DATA)) == Content(len(DATA), SHA256)
    assert path.read_bytes() == DATA
    with pytest.raises(FileExistsError):
        write_new(path, io.BytesIO(b"other"))
    assert path.read_bytes() == DATA


def test_a_whole_file_replaces_the_old_one_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a" / "b.json"
    synced: list[str] = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(str(Path(f"/proc/self/fd/{fd}").readlink())), fsync(fd)))
    write_whole(path, b"old")
    write_whole(path, b"new")
    assert path.read_bytes() == b"new"
    assert [entry.name for entry in path.parent.iterdir()] == ["b.json"]
    assert synced[0].startswith(f"{path.parent}/.new-b.json-")
    assert synced[1] == str(path.parent)


def test_a_write_that_fails_leaves_the_old_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "b.json"
    write_whole(path, b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["b.json"]


def test_a_whole_file_in_an_object_store(store: Any) -> None:
    write_whole(store / "a" / "b.json", b"old")
    write_whole(store / "a" / "b.json", b"new")
    assert (store / "a" / "b.json").read_bytes() == b"new"
    assert list_names(store / "a") == ["b.json"]


def test_only_old_temporary_files_are_removed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for name, age in ((".new-x-1", 7200), ("a/.new-y-2", 7200), (".new-z-3", 60), ("old.json", 7200)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    remove_stale_files(tmp_path)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == [".new-z-3", "a", "old.json"]


def test_names_and_files_of_a_folder(tmp_path: Path, store: Any) -> None:
    for top in (tmp_path, store):
        for name in ("b", "sub/deep/c", ".hidden", "a"):
            path = join(top, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
        assert list_names(top) == ["a", "b", "sub"]
        assert list_names(top / "absent") == []
        assert list_names(top / "a" / "below a file") == []
        assert sorted(path.name for path in walk_files(top)) == [".hidden", "a", "b", "c"]


def test_a_listing_is_not_answered_from_a_cache(store: Any) -> None:
    dropped: list[str] = []
    (store / "a").write_bytes(b"x")
    store.fs.invalidate_cache = dropped.append
    try:
        assert drop_listing_cache(store) is store
        assert list_names(store) == ["a"]
    finally:
        del store.fs.invalidate_cache
    assert dropped == [store.path, store.path]


def test_a_copied_tree_is_writable_and_keeps_what_can_be_executed(tmp_path: Path) -> None:
    top = tmp_path / "from"
    (top / "sub").mkdir(parents=True)
    (top / "run").write_bytes(DATA)
    (top / "sub" / "data").write_bytes(b"x")
    (top / "run").chmod(0o555)
    (top / "sub" / "data").chmod(0o444)
    copy_tree(top, tmp_path / "to")
    assert (tmp_path / "to" / "run").read_bytes() == DATA
    modes = [(tmp_path / "to" / name).stat().st_mode & 0o777 for name in ("run", "sub/data", "sub")]
    assert modes == [0o755, 0o644, 0o755]
