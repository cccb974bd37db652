# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What cannot be read: links, loops, special files, closed folders. Each is one diagnostic, and hides nothing."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from batchy_provider.config import file_scan as files
from batchy_provider.config.catalog import Catalog
from batchy_provider.config.reader import Folder, find_file, find_files, read_folder

GOOD = "jobs: {a: {bash: echo}}\n"
READERS: dict[str, Callable[[Path], Folder]] = {
    "read_folder": read_folder,
    "catalog": lambda folder: Catalog(folder).read(),
}


@pytest.fixture
def cfg(tmp_path: Path) -> Path:
    folder = tmp_path / "cfg"
    (folder / "zzz").mkdir(parents=True)
    (folder / "crm.yaml").write_text(GOOD)
    (folder / "zzz" / "last.yaml").write_text(GOOD)
    return folder


def _fifo(cfg: Path) -> None:
    os.mkfifo(cfg / "bad.yaml")


def _socket(cfg: Path) -> None:
    here = Path.cwd()
    os.chdir(cfg)  # the path of a socket may have no more than about 100 characters
    try:
        with socket.socket(socket.AF_UNIX) as opened:
            opened.bind("bad.yaml")
    finally:
        os.chdir(here)


def _device(cfg: Path) -> None:
    (cfg / "bad.yaml").symlink_to("/dev/zero")


def _link_to_itself(cfg: Path) -> None:
    (cfg / "bad.yaml").symlink_to("bad.yaml")


def _folder_link_to_itself(cfg: Path) -> None:
    (cfg / "bad").symlink_to("bad")


def _broken_link(cfg: Path) -> None:
    (cfg / "bad.yaml").symlink_to("nowhere.yaml")


def _capitals(cfg: Path) -> None:
    (cfg / "bad.YAML").write_text(GOOD)


def _not_utf8(cfg: Path) -> None:
    (cfg / os.fsdecode(b"bad\xff.yaml")).write_text(GOOD)


def _control_character(cfg: Path) -> None:
    (cfg / "bad\x1b[31m.yaml").write_text(GOOD)


def _link_through_a_file(cfg: Path) -> None:
    (cfg / "bad").symlink_to("crm.yaml/inner")


def _too_long(cfg: Path) -> None:
    (cfg / f"bad{'x' * 240}.yaml").write_text(GOOD)


def _fifo_of_defaults(cfg: Path) -> None:
    os.mkfifo(cfg / "_defaults.yaml")


def _broken_link_of_defaults(cfg: Path) -> None:
    (cfg / "_defaults.yaml").symlink_to("bad")


CASES: dict[Callable[[Path], None], str] = {
    _fifo: "bad.yaml: this is a FIFO (named pipe); expected a regular file",
    _socket: "bad.yaml: this is a socket; expected a regular file",
    _device: "bad.yaml: this is a device; expected a regular file",
    _link_to_itself: "bad.yaml: cannot be read: Too many levels of symbolic links",
    _folder_link_to_itself: "bad: cannot be read: Too many levels of symbolic links",
    _broken_link: "bad.yaml: cannot be read: No such file or directory",
    _capitals: "bad.YAML: files that end in .YAML are not read; rename it to bad.yaml",
    _not_utf8: r"bad\udcff.yaml: workflow name",
    _control_character: r"bad\x1b[31m.yaml: workflow name",
    _link_through_a_file: "bad: cannot be read: Not a directory",
    _too_long: "has 243 characters",
    _fifo_of_defaults: "_defaults.yaml: this is a FIFO (named pipe); expected a regular file",
    _broken_link_of_defaults: "_defaults.yaml: cannot be read: No such file or directory",
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("make", CASES, ids=lambda make: make.__name__.strip("_"))
def test_what_cannot_be_read_is_one_error(cfg: Path, make: Callable[[Path], None], reader: str):
    make(cfg)
    found = READERS[reader](cfg)
    assert sorted(found.workflows) == ["crm", "last"]
    assert len(found.diagnostics) == 1
    assert CASES[make] in str(found.diagnostics[0])
    str(found.diagnostics[0]).encode()  # it can be stored and shown


def test_folders_that_link_to_each_other_are_read_once(cfg: Path):
    (cfg / "a").mkdir()
    (cfg / "b").mkdir()
    (cfg / "a" / "one.yaml").write_text(GOOD)
    (cfg / "a" / "to_b").symlink_to("../b")
    (cfg / "b" / "to_a").symlink_to("../a")
    (cfg / "b" / "up").symlink_to("..")
    found = read_folder(cfg)
    assert (sorted(found.workflows), found.diagnostics) == (["crm", "last", "one"], [])
    assert [path.relative_to(cfg).as_posix() for path in find_files(cfg)] == ["crm.yaml", "a/one.yaml", "zzz/last.yaml"]


def test_a_linked_folder_is_read(cfg: Path, tmp_path: Path):
    (tmp_path / "team").mkdir()
    (tmp_path / "team" / "theirs.yaml").write_text(GOOD)
    (cfg / "aaa").symlink_to(tmp_path / "team")
    found = read_folder(cfg)
    assert (sorted(found.workflows), found.diagnostics) == (["crm", "last", "theirs"], [])
    assert find_file(cfg, "theirs") == cfg / "aaa" / "theirs.yaml"


def test_folders_nested_hundreds_of_times(cfg: Path):
    inner = str(cfg)
    for _ in range(300):
        inner += "/d"
        Path(inner).mkdir()
    try:
        Path(inner, "deep.yaml").write_text(GOOD)
        found = read_folder(cfg)
        assert (sorted(found.workflows), found.diagnostics) == (["crm", "deep", "last"], [])
    finally:
        subprocess.run(["rm", "-rf", cfg], check=True)  # Python's own way follows each level by a call


def test_a_link_to_a_huge_tree_is_an_error(cfg: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(files, "MAX_FOLDERS", 5)
    for number in range(10):
        (tmp_path / "huge" / str(number)).mkdir(parents=True)
    (cfg / "aaa").symlink_to(tmp_path / "huge")
    found = read_folder(cfg)
    assert sorted(found.workflows) == ["crm", "last"]
    assert [diagnostic.message for diagnostic in found.diagnostics] == [
        "more than 5 folders; the rest is not read. Is this a link to another tree?"
    ]


@pytest.mark.parametrize("name", ["../outside", "a/b", "a\0b", "x" * 5000, "", "."])
def test_no_file_is_looked_for_outside_of_the_folder(cfg: Path, name: str):
    (cfg.parent / "outside.yaml").write_text(GOOD)
    assert find_file(cfg, name) is None


AS_NOBODY = """
import os, sys
from batchy_provider.config.catalog import Catalog
from batchy_provider.config.inspection import inspect_folder
from batchy_provider.config.reader import read_folder, find_file
inspect_folder(sys.argv[1])  # imports all that it needs, as a user who may read Python
os.setgroups([]); os.setgid(65534); os.setuid(65534)
for read in (read_folder, lambda folder: Catalog(folder).read()):
    found = read(sys.argv[1])
    print(*sorted(found.workflows))
    print(*sorted(str(diagnostic) for diagnostic in found.diagnostics), sep="\\n")
print(len(inspect_folder(sys.argv[1])), find_file(sys.argv[1], "inner"))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_what_another_user_may_not_read():
    top = Path(tempfile.mkdtemp(prefix="batchy-walk-"))  # pytest's own folders are closed to others
    top.chmod(0o755)
    cfg = top / "cfg"
    for folder in ("aaa", "closed", "lost+found", "listed", "bundled/bundles/job", "zzz"):
        (cfg / folder).mkdir(parents=True)
    try:
        (cfg / "crm.yaml").write_text(GOOD)
        (cfg / "zzz" / "last.yaml").write_text(GOOD)
        (cfg / "mine.yaml").write_text(GOOD)
        (cfg / "mine.yaml").chmod(0o600)
        (cfg / "closed" / "inner.yaml").write_text(GOOD)
        (cfg / "listed" / "seen.yaml").write_text(GOOD)
        (cfg / "link.yaml").symlink_to("closed/inner.yaml")
        (cfg / "folder_link").symlink_to("closed/deeper")
        (cfg / "bundled" / "load.yaml").write_text("jobs: {a: {bundle: job}}")
        (cfg / "bundled" / "bundles" / "job" / "script.sh").write_text("echo\n")
        for folder, mode in (("closed", 0o700), ("lost+found", 0o700), ("listed", 0o744), ("bundled/bundles", 0o700)):
            (cfg / folder).chmod(mode)
        done = subprocess.run([sys.executable, "-c", AS_NOBODY, cfg], capture_output=True, text=True, timeout=60)
        assert done.stderr == ""
        refused = "cannot be read: Permission denied"
        expected = [
            f"{cfg}/bundled/load.yaml:1:20: jobs.a.bundle: {cfg}/bundled/bundles/job {refused}",
            f"{cfg}/closed: {refused}",
            f"{cfg}/folder_link: {refused}",
            f"{cfg}/link.yaml: {refused}",
            f"{cfg}/listed/seen.yaml: {refused}",
            f"{cfg}/lost+found: {refused}",
            f"{cfg}/mine.yaml: {refused}",
        ]
        lines = done.stdout.splitlines()
        assert lines[:8] == lines[8:16] == ["crm last", *expected]
        assert lines[16:] == ["7 None"]
    finally:
        subprocess.run(["rm", "-rf", top], check=True)


class TestCatalog:
    def test_notices_bundles_that_come_and_go(self, cfg: Path):
        (cfg / "load.yaml").write_text("jobs: {a: {bundle: job}, b: {bundle: two.zip}}")
        catalog = Catalog(cfg)
        assert [diagnostic.key for diagnostic in catalog.read().diagnostics] == ["jobs.a.bundle", "jobs.b.bundle"]
        (cfg / "bundles" / "job").mkdir(parents=True)
        (cfg / "bundles" / "two.zip").touch()
        assert [diagnostic.message for diagnostic in catalog.read().diagnostics] == [
            f"the folder {cfg}/bundles/job has no script.sh"
        ]
        (cfg / "bundles" / "job" / "script.sh").touch()
        assert (catalog.read().diagnostics, "load" in catalog.read().workflows) == ([], True)
        (cfg / "bundles" / "two.zip").unlink()
        assert [diagnostic.key for diagnostic in catalog.read().diagnostics] == ["jobs.b.bundle"]
        os.mkfifo(cfg / "two.zip")
        assert "is neither" in catalog.read().diagnostics[0].message

    def test_reads_no_file_twice(self, cfg: Path, monkeypatch: pytest.MonkeyPatch):
        catalog = Catalog(cfg)
        first = catalog.read()
        monkeypatch.setattr("batchy_provider.config.reader.read_bytes", lambda path: pytest.fail(str(path)))
        assert catalog.read().workflows == first.workflows

    def test_notices_that_a_file_has_become_readable(self, cfg: Path):
        (cfg / "bad.yaml").write_text(GOOD)
        stat = (cfg / "bad.yaml").stat()
        catalog = Catalog(cfg)
        before = catalog.read().workflows["bad"]
        (cfg / "bad.yaml").chmod(0o640)  # root reads it anyway
        os.utime(cfg / "bad.yaml", ns=(stat.st_atime_ns, stat.st_mtime_ns))
        assert catalog.read().workflows["bad"] is not before
