# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The messages about broken files; see broken_files.txt."""

from __future__ import annotations

from pathlib import Path

import pytest
from broken_file_cases import read_cases

from batchy_provider.config.reader import Reader

BROKEN = read_cases()


@pytest.fixture
def cfg(tmp_path: Path) -> Path:
    for bundle in ("extract", "bundles"):
        (tmp_path / bundle).mkdir()
    (tmp_path / "extract" / "script.sh").touch()
    (tmp_path / "bundles" / "load.zip").touch()
    (tmp_path / "hollow").mkdir()
    (tmp_path / "notes.txt").touch()
    return tmp_path


@pytest.mark.parametrize("diagnostic", BROKEN)
def test_says_what_is_wrong(cfg: Path, diagnostic: str):
    text, expected = BROKEN[diagnostic]
    path = cfg / "broken.yaml"
    path.write_text(text)
    workflow, diagnostics = Reader(cfg).read(path)
    assert workflow is None
    messages = [str(each).removeprefix(str(path)).removeprefix(":").strip() for each in diagnostics]
    assert [line.replace(str(cfg), "CFG") for line in messages] == expected


BROKEN_FILES: dict[str, tuple[str, bytes, str]] = {
    "a control character": (
        "a.yaml",
        b'jobs:\n  a: {bash: "echo \x07"}\n',
        "a.yaml:2:19: not valid YAML: control characters are not allowed: '\\x07'",
    ),
    "no UTF-8": (
        "a.yaml",
        b"jobs:\n  a: {bash: echo \xe9}\n",
        "a.yaml:2:1: byte 0xe9 is not UTF-8; save the file as UTF-8",
    ),
    "too large": ("a.yaml", b"#" * (1024 * 1024 + 1), "a.yaml: the file is larger than 1024 KiB; split the workflow"),
    "deeper than libyaml's stack": ("a.yaml", b"a: " + b"[" * 200_000, "a.yaml:1:53: nested deeper than 50 levels"),
    "deep in blocks": ("a.yaml", b"- " * 200_000, "a.yaml:1:101: nested deeper than 50 levels"),
    "deep JSON": ("a.json", b"[" * 200_000, "a.json: nested deeper than 50 levels"),
    "aliases of aliases": (
        "a.yaml",
        b"x-0: &a0 [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]\n"
        + b"".join(b"x-%d: &a%d [%s]\n" % (i, i, b",".join([b"*a%d" % (i - 1)] * 10)) for i in range(1, 9)),
        "a.yaml:5:43: more than 100000 values (each use of an alias counts)",
    ),
    "long aliases": (
        "a.yaml",
        b"x-0: &a " + b"x" * 1_000_000 + b"\njobs: {a: {bash: echo, params: {p: [" + b"*a, " * 10 + b"]}}}\n",
        "a.yaml:2:65: jobs.a.params.p[7]: more than 8388608 characters of text (each use of an alias counts)",
    ),
    "aliases of long keys": (
        "a.yaml",
        b"x-0: &a {" + b"x" * 900 + b": 1}\nx-1: [" + b"*a, " * 10_000 + b"]\n",
        "more than 8388608 characters of text (each use of an alias counts)",
    ),
    "malformed JSON": ("a.json", b'{"jobs": {"a": {"bash": "echo"},}}', "not valid JSON"),
    "a key twice in JSON": (
        "a.json",
        b'{"jobs": {"a": {"bash": "echo", "bash": "ls"}}}',
        "a.json: the key 'bash' is given twice in one object; remove one",
    ),
    "NaN in JSON": ("a.json", b'{"jobs": NaN}', "a.json: NaN is not a number in JSON; write it as text in quotes"),
    "a huge number in JSON": ("a.json", b'{"jobs": ' + b"9" * 5000 + b"}", "a.json: not valid JSON"),
    "a number of base 60 that is no float": (
        "a.yaml",
        b"x: 1" + b":59" * 250 + b".5",
        "a.yaml:1:4: '1:59:59:59:59:59:59:59:59:59:59:59:59:59' is no float; write it in quotes if it is text",
    ),
    "a number of base 60 that takes hours": (
        "a.yaml",
        b"x: 1" + b":59" * 300_000,
        "a.yaml:1:4: a number of more than 1000 digits; write it in quotes if it is text",
    ),
    "a long number of base 16": (
        "a.yaml",
        b"x: 0x" + b"f" * 900,
        "a.yaml:1:4: x: a number of more than 1000 digits; write it in quotes if it is text",
    ),
    "infinity in JSON": ("a.json", b'{"jobs": 1e999}', "a.json:1:10: jobs: inf is not a number that JSON can hold"),
    "many values in JSON": (
        "a.json",
        b"[" + b"1," * 100_000 + b"1]",
        "a.json: [99999]: more than 100000 values",
    ),
    "depth by aliases": (
        "a.yaml",
        b"x-0: &a0 " + b"[" * 40 + b"]" * 40 + b"\nx-1: &a1 " + b"[" * 40 + b"*a0" + b"]" * 40,
        "nested deeper than 50 levels",
    ),
    "a carriage return in JSON": (
        "a.json",
        b'{"jobs": {"a": {"bash": "echo\\r\\n"}}}',
        "a.json:1:25: jobs.a.bash: the text holds a carriage return (U+000D); end lines with a line feed alone",
    ),
    "the last of many keys twice in JSON": (
        "a.json",
        b"{" + b"".join(b'"%d":1,' % i for i in range(80_000)) + b'"79999":1}',
        "a.json: the key '79999' is given twice in one object; remove one",
    ),
    "a name like a history key": (
        "sales-1467149783.yaml",
        b"jobs: {a: {bash: echo}}",
        "workflow name 'sales-1467149783' ends in '-1467149783'",
    ),
    "a name with a blank": (
        "my sales.yaml",
        b"jobs: {a: {bash: echo}}",
        "my sales.yaml: workflow name 'my sales' holds ' '",
    ),
    "wrong in JSON": (
        "a.json",
        b'{\n  "jobs": {\n    "a": {"bash": "echo", "retries": "x"}\n  }\n}',
        "a.json:3:38: jobs.a.retries: expected a whole number, not 'x'",
    ),
    "half a character in a list": (
        "a.json",
        b'{"jobs": {"a": {"bash": "echo", "for_each": ["a\\ud800"]}}}',
        "a.json:1:46: jobs.a.for_each[0]: the text holds half a character (U+D800, a lone surrogate), "
        "which UTF-8 cannot hold; remove it",
    ),
    "NUL in a list": (
        "a.json",
        b'{"jobs": {"a": {"bash": "echo", "for_each": [{"x": "y"}, "a\\u0000"]}}}',
        "a.json:1:58: jobs.a.for_each[1]: the text holds a NUL character (U+0000); remove it",
    ),
    "an entry that is too large for a variable": (
        "a.yaml",
        b"jobs: {a: {bash: echo, for_each: [" + b"x" * 131_066 + b", " + b"y" * 131_067 + b"]}}",
        "a.yaml:1:131103: jobs.a.for_each[1]: the entry has 131067 bytes, and an environment variable can have 131066; "
        "put it into a file of the bundle",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("diagnostic", BROKEN_FILES)
def test_files_that_cannot_even_be_parsed(tmp_path: Path, diagnostic: str):
    name, raw, expected = BROKEN_FILES[diagnostic]
    path = tmp_path / name
    path.write_bytes(raw)
    workflow, diagnostics = Reader(tmp_path).read(path)
    assert workflow is None
    assert len(diagnostics) == 1
    assert expected in str(diagnostics[0])


PARAMS = {
    "plain": "job1: {region: eu}\njob2:\n",
    "names of our keys": "job1: {operator: smith, bundle: home and contents, tier: gold}\n",
    "a list called tasks": "job1: {tasks: [a, b], jobs: {a: 1}}\n",
    "a flag called bash": "job1: {bash: true}\n",
    "settings of the original": "job1: {reprocess_hours: 2, trunc_start: true, initial_date: 2026-01-01}\n",
}


@pytest.mark.parametrize("params", PARAMS)
def test_params_of_the_original_are_valid(tmp_path: Path, params: str):
    path = tmp_path / "state.yaml"
    path.write_text(PARAMS[params])
    workflow, diagnostics = Reader(tmp_path).read(path)
    assert diagnostics == []
    assert workflow is not None
    assert not workflow.has_dag


def test_a_file_that_cannot_be_opened(tmp_path: Path):
    path = tmp_path / "a.yaml"
    path.symlink_to(tmp_path / "nowhere")
    assert [str(diagnostic) for diagnostic in Reader(tmp_path).read(path)[1]] == [
        f"{path}: cannot be read: No such file or directory"
    ]
