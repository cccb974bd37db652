# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A job added to a file: all that was there stays, to the byte."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchy_provider.config.document import DocumentError, parse
from batchy_provider.config.editing import add_job, check_edited, replace_text
from batchy_provider.config.reader import InvalidFilesError
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
    ("before", "after"),
    [
        ("x-b: &b {retries: 2}\njobs: &all\n  a: &a\n    <<: *b\n    bash: x\n  b: *a\n", "owner: y\n"),
        ("x-j: &j {z: {bash: z}}\njobs:\n  <<: *j\n", ""),
        ("%YAML 1.1\n---\njobs:\n  a: {bash: x}\n", "# of the end\n...\n"),
        ("jobs: !!map\n  'a': {bash: x}\n", "\n\n# of owner\nowner: y\n"),
        ("? jobs\n:\n  a: {bash: x}\n", ""),
        # A text that ends with blank lines of its own, and one with what looks like a comment.
        ("jobs:\n  a:\n    bash: |+\n      x\n\n", "owner: y\n"),
        ('jobs:\n  a:\n    bash: "echo\n# no comment"\n', "# a comment\n"),
        ("jobs:\n  a:\n    bash: |\n      x\n      # no comment\n", "\n # a comment\nowner: y\n"),
        ("jobs:\n  a:\n    bash: echo\n      more # a comment\n  b:\n    after:\n    - a\n    bash: x\n", "owner: y"),
        ('jobs:\n  a:\t{bash: "tab\there"}   \n', "   \n"),
        ("# 😀\njobs:\n  a: {bash: '😀\x85\u2028'}\n", "owner: 😀\n"),
    ],
)
def test_hard_texts_stay_as_they_are(before: str, after: str):
    assert add_job(before + after, "new", {"bash": "y"}) == f"{before}  new:\n    bash: y\n{after}"


@pytest.mark.parametrize("newline", ["\r\n", "\r"])
def test_line_breaks_are_those_of_the_file(newline: str):
    text = "jobs:\n  a: {bash: x}\n\n# c\nowner: y\n".replace("\n", newline)
    expected = "jobs:\n  a: {bash: x}\n  b:\n    bash: |\n      1\n      2\n\n# c\nowner: y\n".replace("\n", newline)
    assert add_job(text, "b", {"bash": "1\n2\n"}) == expected


@pytest.mark.parametrize(
    ("text", "edited"),
    [
        ("{a: {bash: x},}", "{a: {bash: x}, b: {bash: y}}"),
        ("{\n  a: {bash: x},  # 1\n}\n", "{\n  a: {bash: x},  # 1\n  b: {bash: y},\n}\n"),
        ("{\n  a: {bash: x}  # }\n  # 2\n}\n", "{\n  a: {bash: x},  # }\n  # 2\n  b: {bash: y}\n}\n"),
        ("{\r\n  a: {bash: x}\r\n  }", "{\r\n  a: {bash: x},\r\n  b: {bash: y}\r\n  }"),
        ("&j {a: &a {bash: x}, c: *a }", "&j {a: &a {bash: x}, c: *a, b: {bash: y} }"),
    ],
)
def test_in_braces_of_many_shapes(text: str, edited: str):
    assert add_job(f"owner: '{{'\njobs: {text}", "b", {"bash": "y"}) == f"owner: '{{'\njobs: {edited}"


@pytest.mark.parametrize("text", ["x-a: &a {a: {bash: x}}\njobs: *a\n", "jobs:\n  ? a\n  : bash: x\n"])
def test_where_there_is_no_place_nothing_is_written(text: str):
    with pytest.raises(ConfigError, match="add the job by hand"):
        add_job(text, "b", {"bash": "y"})


def test_a_file_of_two_documents_is_refused():
    with pytest.raises(DocumentError, match="second document"):
        add_job("jobs:\n  a: {bash: x}\n---\njobs:\n  b: {bash: x}\n", "c", {"bash": "y"})


BODIES = [
    "{N}: {{bash: x}}",
    "{N}: {{bash: 'a # b'}}  # why",
    "{N}: &{N}\n  bash: x",
    "{N}:\n  bash: |\n    one\n\n    # two\n",
    "{N}:\n  bash: >-\n    one\n    two",
    '{N}:\n  bash: "one\n\n    two"\n  after: []',
    "{N}:  # about it\n    params:\n      list:\n      - 1\n      - {{a: [b,\n         c]}}\n    bash: one\n      two",
    "'{N}': {{bash: \"😀\\t\", params: {{t: 'a\tb'}}}}",
]
BETWEEN = ["", "\n", "# comment\n", "\n  # deep comment\n\n"]
TAILS = ["", "\n\n", "# end", "\n# of owner\nowner: me\n", "owner: me # x", "...\n"]


@given(
    st.lists(st.tuples(st.sampled_from(BODIES), st.sampled_from(BETWEEN)), min_size=1, max_size=4),
    st.sampled_from(TAILS),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from([1, 2, 4]),
    st.sampled_from(["", "\ufeff", "# top\n---\n"]),
)
def test_of_any_file_nothing_is_changed_but_the_job_added(
    bodies: list[tuple[str, str]], tail: str, newline: str, by: int, head: str
):
    written = "".join(between + body.format(N=f"j{n}") + "\n" for n, (body, between) in enumerate(bodies))
    lines = (" " * by + line if line.strip() else line for line in written.splitlines(True))
    text = (head + "jobs:\n" + "".join(lines) + tail).replace("\n", newline)
    edited = add_job(text, "NEW", {"bash": "y", "params": {"n": 1}})
    block = newline.join(" " * (by + deep) + line for deep, line in BLOCK_OF_NEW) + newline
    assert edited.replace(block, "", 1) == text
    assert parse(edited.removeprefix("\ufeff")).data["jobs"]["NEW"] == {"bash": "y", "params": {"n": 1}}


BLOCK_OF_NEW = [(0, "NEW:"), (2, "bash: y"), (2, "params:"), (4, "n: 1")]


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
        return  # an error, and nothing is written
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


def test_errors_of_an_edited_text_show_its_own_lines(tmp_path: Path):
    path = tmp_path / "a.yaml"
    path.write_text("jobs: {a: {bash: x}}\n")
    with pytest.raises(InvalidFilesError, match=re.escape("2 |   a: {bash: x, retries: no}")):
        check_edited(tmp_path, path, "jobs:\n  a: {bash: x, retries: no}\n")
