# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A job added to a file: all that was there stays, to the byte."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchy_provider.config.document import parse
from batchy_provider.config.editing import add_job, check_edited, replace_text
from batchy_provider.config.reader import FaultsError
from batchy_provider.exceptions import ConfigError

JOB = {"after": ["a"], "bash": "echo 'x'\necho y\n", "params": {"n": 1}}
BLOCK = "new:\n  after: [a]\n  bash: |\n    echo 'x'\n    echo y\n  params:\n    n: 1\n"


def indented(text: str, by: int) -> str:
    return "".join(" " * by + line for line in text.splitlines(True))


# The file before the new job, and what follows it.
FILES = {
    "comments": (
        "# top\njobs:\n  a: {bash: x}   # first\n\n  # between\n  b:\n    bash: |\n      # no comment\n      echo\n"
        "\n    # of b\n",
        "\n# for all\nowner: me  # and this\n",
    ),
    "wider": ("x-note: [1,   2]\njobs:\n    a:\n        bash: 'x'\n", ""),
    "blank lines at the end": ("jobs:\n  a:\n    bash: |\n      echo é\n", "\n\n"),
    "a byte order mark": ("\ufeffjobs:\n  a:\n    bash: x\n", "# end\n"),
}


@pytest.mark.parametrize("name", FILES)
def test_in_blocks(name: str):
    before, after = FILES[name]
    by = 4 if name == "wider" else 2
    assert add_job(before + after, "new", JOB) == before + indented(BLOCK, by) + after


def test_without_a_line_break_at_the_end():
    assert add_job("jobs:\n  a: {bash: x}", "b", {"bash": "y"}) == "jobs:\n  a: {bash: x}\n  b:\n    bash: y\n"


def test_line_breaks_of_windows():
    assert add_job("jobs:\r\n  a: {bash: x}\r\nowner: é\r\n", "b", {"bash": "y"}) == (
        "jobs:\r\n  a: {bash: x}\r\n  b:\r\n    bash: y\r\nowner: é\r\n"
    )


def test_in_braces():
    assert add_job("jobs: {a: {bash: x}}  # all\nowner: y\n", "b", {"bash": "y", "after": ["a"]}) == (
        "jobs: {a: {bash: x}, b: {bash: y, after: [a]}}  # all\nowner: y\n"
    )


def test_in_json():
    assert add_job('{\n  "jobs": {\n    "a": {"bash": "x"}\n  }\n}\n', "b", {"bash": "y"}, is_json=True) == (
        '{\n  "jobs": {\n    "a": {"bash": "x"},\n    "b": {"bash": "y"}\n  }\n}\n'
    )


@pytest.mark.parametrize(
    "text",
    [
        "x-a: &a {a: {bash: x}}\njobs: *a\n",
        "jobs: {a: {bash: x}  # last\n  }\n",
        "jobs:\n  a:\n    bash: |+\n      x\n\n",
    ],
)
def test_where_there_is_no_place_nothing_is_written(text: str):
    with pytest.raises(ConfigError, match="add it by hand"):
        add_job(text, "b", {"bash": "y"})


names = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], include_characters="\n"), min_size=1)


@given(st.dictionaries(names, texts, min_size=1, max_size=4), texts, st.sampled_from(["block", "flow"]))
def test_any_job_comes_out_as_it_went_in(jobs: dict[str, str], bash: str, style: str):
    import yaml

    data = {"owner": "me", "jobs": {name: {"bash": each} for name, each in jobs.items()}, "tags": ["x"]}
    text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True, default_flow_style=style == "flow")
    try:
        edited = add_job(text, "NEW", {"bash": bash})
    except ConfigError:
        return  # told, and nothing written
    assert parse(edited).data == {**data, "jobs": {**data["jobs"], "NEW": {"bash": bash}}}


def test_a_file_is_replaced_at_once_and_keeps_its_mode_and_its_link(tmp_path: Path):
    real, link = tmp_path / "real.yaml", tmp_path / "a.yaml"
    real.write_text("old")
    real.chmod(0o640)
    link.symlink_to(real)
    replace_text(link, "new\r\n")
    assert link.is_symlink()
    assert real.read_bytes() == b"new\r\n"
    assert real.stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.yaml", "real.yaml"]


def test_faults_of_an_edited_text_show_its_own_lines(tmp_path: Path):
    path = tmp_path / "a.yaml"
    path.write_text("jobs: {a: {bash: x}}\n")
    with pytest.raises(FaultsError, match=re.escape("2 |   a: {bash: x, retries: no}")):
        check_edited(tmp_path, path, "jobs:\n  a: {bash: x, retries: no}\n")
