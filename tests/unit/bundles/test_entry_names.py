# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Names, kinds and collisions of a zip's entries, and where its script is."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from bundle_archives import Part, refusal, script, zip_of

LINK = stat.S_IFLNK | 0o777


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../evil", "leads out"),
        ("a/../../evil", "leads out"),
        ("a/..", "leads out"),
        ("/etc/passwd", "absolute"),
        ("//host/share", "absolute"),
        ("..\\evil", "backslash"),
        ("a\\b", "backslash"),
        ("C:evil", "drive letter"),
        ("c:/evil", "drive letter"),
        ("a\0.sh", "NUL"),
        ("a\nb", "control character"),
        ("a//b", "empty part"),
        ("a/./b", "'.'"),
        ("", "empty part"),
        ("x" * 256, "too long"),
        ("/".join("d" * 40) + "/f", "folders deep"),
        ("y/" * 20 + "z" * 1200, "too long"),
    ],
)
def test_a_name_that_breaks_a_rule_is_refused(tmp_path: Path, name: str, reason: str) -> None:
    error = refusal(tmp_path, zip_of(script(), Part(name, b"x")))
    assert reason in error.reason
    assert error.entry == name
    assert repr(name) in str(error)


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        (Part("link", b"/etc/passwd", mode=LINK), "a link"),
        (Part("link", b"/etc/passwd", mode=LINK, system=0), "a link"),
        (Part("pipe", mode=stat.S_IFIFO | 0o644), "device"),
        (Part("null", mode=stat.S_IFCHR | 0o644), "device"),
        (Part("disk", mode=stat.S_IFBLK | 0o644), "device"),
        (Part("sock", mode=stat.S_IFSOCK | 0o644), "device"),
        (Part("dir", mode=stat.S_IFDIR | 0o755), "by its name or by its mode"),
        (Part("file/", mode=stat.S_IFREG | 0o644), "by its name or by its mode"),
        (Part("dir/", b"data", mode=stat.S_IFDIR | 0o755), "yet has data"),
        (Part("secret", b"x" * 12, flags=1), "encrypted"),
        (Part("secret", b"x" * 12, flags=0x41), "encrypted"),
        (Part("bz", b"x", method=12), "method 12"),
        (Part("lzma", b"x", method=14), "method 14"),
        (Part("odd", b"abc", packed_size=3, size=2), "two sizes differ"),
    ],
)
def test_only_plain_files_and_folders_are_taken(tmp_path: Path, part: Part, reason: str) -> None:
    error = refusal(tmp_path, zip_of(script(), part))
    assert reason in error.reason
    assert error.entry == part.name


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["a", "a"], "twice"),
        (["d/", "d/"], "twice"),
        (["README", "readme"], "upper and lower case"),
        (["Lib/a", "lib/b"], "upper and lower case"),
        (["straße", "STRASSE"], "upper and lower case"),
        (["é", "e\u0301"], "accents"),
        (["a", "a/b"], "both as a file and as a folder"),
        (["a/b", "a"], "both as a file and as a folder"),
        (["a", "a/"], "both as a file and as a folder"),
        (["Script.sh"], "upper and lower case"),
    ],
)
def test_names_that_collide_are_refused(tmp_path: Path, names: list[str], reason: str) -> None:
    parts = [Part(n, mode=stat.S_IFDIR | 0o755 if n.endswith("/") else stat.S_IFREG | 0o644) for n in names]
    assert reason in refusal(tmp_path, zip_of(script(), *parts)).reason


def test_no_script_at_the_root_is_refused(tmp_path: Path) -> None:
    assert "no script.sh at its root" in refusal(tmp_path, zip_of(Part("a", b"x"))).reason


def test_an_empty_zip_is_refused(tmp_path: Path) -> None:
    assert "no script.sh" in refusal(tmp_path, zip_of()).reason


def test_a_script_spelled_otherwise_is_named(tmp_path: Path) -> None:
    assert "'Script.SH': rename it" in refusal(tmp_path, zip_of(Part("Script.SH", b"x"))).reason


def test_a_folder_named_script_is_refused(tmp_path: Path) -> None:
    assert "must be a file" in refusal(tmp_path, zip_of(Part("script.sh/a", b"x"))).reason


def test_a_single_root_folder_is_explained(tmp_path: Path) -> None:
    """The most frequent mistake of honest authors, also with what macOS adds."""
    error = refusal(tmp_path, zip_of(Part("etl/script.sh", b"x"), Part("etl/a", b"x"), Part("__MACOSX/etl/._a")))
    assert "everything is inside the folder 'etl'" in error.reason
    assert "cd etl && zip -r" in error.reason
