# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Bundles in folders, and behind any object with the pathlib API (here fsspec's store in memory)."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from bundle_archives import script, zip_of
from upath import UPath

from batchy_provider.bundles.bundle_cache import BundleCache
from batchy_provider.bundles.errors import BundlePinError, BundleRefusedError
from batchy_provider.bundles.limits import UnpackLimits


def folder_bundle(path: Path) -> Path:
    (path / "lib").mkdir(parents=True)
    (path / "script.sh").write_text("echo hello\n")
    (path / "lib" / "tool").write_text("#!/bin/sh\n")
    (path / "lib" / "tool").chmod(0o755)
    return path


def test_a_local_folder_is_copied_afresh(cache: BundleCache, tmp_path: Path) -> None:
    bundle = folder_bundle(tmp_path / "etl")
    first = cache.working_copy(str(bundle), tmp_path / "one")
    assert stat.S_IMODE((tmp_path / "one/lib/tool").stat().st_mode) == 0o755
    assert cache.working_copy(bundle, tmp_path / "two", sha256=first.sha256).sha256 == first.sha256
    (bundle / "lib" / "tool").write_text("#!/bin/sh\necho\n")
    with pytest.raises(BundlePinError):
        cache.working_copy(bundle, tmp_path / "three", sha256=first.sha256)
    assert not (tmp_path / "three").exists()


@pytest.mark.parametrize("kind", ["link", "folder link", "pipe"])
def test_a_folder_with_anything_but_files_is_refused(cache: BundleCache, tmp_path: Path, kind: str) -> None:
    bundle = folder_bundle(tmp_path / "etl")
    if kind == "pipe":
        os.mkfifo(bundle / "odd")
    else:
        (bundle / "odd").symlink_to("/etc/passwd" if kind == "link" else "/etc")
    with pytest.raises(BundleRefusedError, match="entry 'odd'"):
        cache.working_copy(bundle, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_a_folder_obeys_the_limits(tmp_path: Path) -> None:
    bundle = folder_bundle(tmp_path / "etl")
    (bundle / "big").write_bytes(bytes(5000))
    for limits in (UnpackLimits(unpacked_bytes=1000), UnpackLimits(entries=3), UnpackLimits(depth=1)):
        with pytest.raises(BundleRefusedError):
            BundleCache(tmp_path / "cache", limits=limits).working_copy(bundle, tmp_path / "copy")
        assert not (tmp_path / "copy").exists()


def test_a_folder_without_script_is_refused(cache: BundleCache, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(BundleRefusedError, match=r"no script\.sh"):
        cache.working_copy(tmp_path / "empty", tmp_path / "copy")


# Anything with the pathlib API, here fsspec's store in memory


@pytest.fixture
def remote() -> UPath:
    path = UPath(f"memory://bucket-{os.urandom(4).hex()}")
    path.mkdir()
    return path


def test_a_remote_zip_is_read_once_until_it_changes(cache: BundleCache, tmp_path: Path, remote: UPath) -> None:
    bundle = remote / "a.zip"
    bundle.write_bytes(zip_of(script("echo one\n")))
    assert not cache.working_copy(bundle, tmp_path / "one").cached
    assert cache.working_copy(bundle, tmp_path / "two").cached
    bundle.write_bytes(zip_of(script("echo two\n")))
    assert not cache.working_copy(bundle, tmp_path / "three").cached
    assert (tmp_path / "three/script.sh").read_text() == "echo two\n"


def test_a_remote_folder_is_read_once_until_it_changes(cache: BundleCache, tmp_path: Path, remote: UPath) -> None:
    (remote / "etl" / "lib").mkdir(parents=True)
    (remote / "etl" / "script.sh").write_text("echo one\n")
    (remote / "etl" / "lib" / "a").write_text("x")
    first = cache.working_copy(remote / "etl", tmp_path / "one")
    assert (tmp_path / "one/lib/a").read_text() == "x"
    assert cache.working_copy(remote / "etl", tmp_path / "two", sha256=first.sha256).cached
    (remote / "etl" / "lib" / "a").write_text("y")
    assert not cache.working_copy(remote / "etl", tmp_path / "three").cached
    assert (tmp_path / "three/lib/a").read_text() == "y"


def test_a_remote_zip_above_the_limit_is_not_read_to_its_end(tmp_path: Path, remote: UPath) -> None:
    (remote / "a.zip").write_bytes(bytes(5_000_000))
    cache = BundleCache(tmp_path / "cache", limits=UnpackLimits(archive_bytes=1_000_000))
    with pytest.raises(BundleRefusedError, match="1,000,000 bytes"):
        cache.working_copy(remote / "a.zip", tmp_path / "copy")
