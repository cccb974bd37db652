# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Folders for the time of one run, and how a tree is removed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from batchy_provider.bundles.scratch import ScratchFolder, remove_tree

# Scratch folders


def test_scratch_of_a_living_process_is_left_alone(tmp_path: Path) -> None:
    with ScratchFolder(tmp_path) as one:
        (one.path / "x").touch()
        with ScratchFolder(tmp_path):
            assert (one.path / "x").exists()
    assert list(tmp_path.iterdir()) == []


def test_trees_are_removed_whatever_their_modes_and_without_following_links(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").touch()
    tree = tmp_path / "tree"
    (tree / "a" / "b").mkdir(parents=True)
    (tree / "a" / "b" / "link").symlink_to(outside)
    (tree / "a" / "b").chmod(0)
    (tree / "a").chmod(0o500)
    remove_tree(tree)
    assert not tree.exists()
    assert (outside / "precious").exists()


def test_a_tree_deeper_than_python_recurses_is_removed(tmp_path: Path) -> None:
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=here)
        here, above = os.open("d", os.O_RDONLY, dir_fd=here), here
        os.close(above)
    os.close(here)
    remove_tree(tmp_path / "d")
    assert not (tmp_path / "d").exists()


def test_what_cannot_be_removed_fails_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A script that used sudo; the next run that may remove it does."""

    def refused(folder: Path) -> None:
        raise OSError("another user's")

    with monkeypatch.context() as patch:
        patch.setattr("batchy_provider.bundles.scratch.remove_tree", refused)
        with ScratchFolder(tmp_path):
            pass
        assert len(list(tmp_path.iterdir())) == 2
    with ScratchFolder(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []
