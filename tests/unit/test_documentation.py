# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What the pages of the documentation say is what the code does."""

from __future__ import annotations

import argparse
import ast
import functools
import json
import re
import shlex
from typing import Any

import pytest
import yaml
from documentation_pages import FENCE, PAGES, ROOT, WRITTEN, commands_of, modules, modules_page

from batchy_provider.cli.main import build_parser
from batchy_provider.config.calendar_file import read_calendars
from batchy_provider.config.calendar_model import KnownCalendars
from batchy_provider.config.document import parse
from batchy_provider.config.schema import schema_text
from batchy_provider.core.calendars import Calendar

CALENDARS_HEADER = "# cfg/_calendars.yaml\n"
"""The first line of a block that is a file of calendars."""
PAGE_FILE = ROOT / "cfg" / "page.yaml"

# what the pages say


def _blocks(language: str) -> list[Any]:
    return [
        pytest.param(
            re.sub(rf"^{found[1]}", "", found[3], flags=re.MULTILINE),
            id=f"{page}:{text[: found.start()].count(chr(10)) + 2}",
        )
        for page, text in WRITTEN.items()
        for found in FENCE.finditer(text)
        if found[2] == language
    ]


@pytest.mark.parametrize("block", _blocks("yaml"))
def test_yaml_on_the_pages_is_yaml_and_whole_workflow_files_are_valid(block: str) -> None:
    from batchy_provider.config.validation import validate

    if "…" in block:  # an outline
        return
    if block.lstrip().startswith("wait_for:") and block.count("wait_for:") == 2:  # one key in its two forms
        return
    if block.startswith(CALENDARS_HEADER):
        assert not read_calendars(parse(block).data, {})[1]
        return
    data, *more = yaml.safe_load_all(block)
    if more or (isinstance(data, dict) and {"on", True} & set(data)):  # of other programs: YAML takes `on` for true
        return
    if isinstance(data, dict) and "jobs" in data:
        _, problems = validate("page", PAGE_FILE, parse(block).data, {}, calendars=_calendars)
        wrong = [problem for problem in problems if not problem.message.startswith("no bundle")]
        assert not wrong
    elif isinstance(data, dict) and set(data) <= _keys_of_files():
        with_job = parse(block + "\njobs: {load: {bash: 'true'}}\n")
        _, problems = validate("page", PAGE_FILE, with_job.data, {}, calendars=_calendars)
        assert not problems


@functools.cache
def _calendars() -> KnownCalendars:
    """Return the calendars that blocks on the pages define."""
    found: dict[str, Calendar | None] = {}
    for block in (each.values[0] for each in _blocks("yaml")):
        if block.startswith(CALENDARS_HEADER):
            found |= read_calendars(parse(block).data, {})[0]
    return KnownCalendars(found)


def _keys_of_files() -> set[str]:
    return set(json.loads(schema_text())["properties"])


@pytest.mark.parametrize("block", _blocks("json"))
def test_json_on_the_pages_is_json(block: str) -> None:
    if "…" not in block:
        json.loads(block)


@pytest.mark.parametrize("block", _blocks("python"))
def test_python_on_the_pages_is_python_and_names_what_is_there(block: str) -> None:
    import importlib

    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("batchy_provider"):
            module = importlib.import_module(str(node.module))
            for alias in node.names:
                assert hasattr(module, alias.name), f"{node.module} has no {alias.name}"


_BEFORE = r"(?:^\s*|[|&;(]\s*|\$ |\w=\S+\s+|\b(?:airflow|run|time|sudo) )"
"""What may stand on a line before a command: in what a program printed, the word alone is none."""


def _commands() -> list[Any]:
    """All calls of ``batchy``: in blocks, where they must be whole, and in the text, where they may be cut short."""
    found: dict[str, tuple[str, bool]] = {}
    for page, text in WRITTEN.items():
        lines = [line for block in FENCE.finditer(text) if block[2] in ("", "sh", "bash") for line in _lines(block[3])]
        spans = re.findall(r"(?<!`)`((?:airflow )?batchy [^`\n]+)`(?!`)", FENCE.sub("", text))
        for line, is_whole in [*((line, True) for line in lines), *((span, False) for span in spans)]:
            for call in re.findall(rf"{_BEFORE}batchy ((?:[^|;&<>'\"()]|'[^']*'|\"[^\"]*\")+)", line):
                found.setdefault(call.strip(), (page, is_whole))
    return [pytest.param(call, whole, id=f"{page}: {call}"[:80]) for call, (page, whole) in found.items()]


def _lines(block: str) -> list[str]:
    """Lines of a shell block, without here documents and comments, and with continued lines as one."""
    block = re.sub(r"<<'?(\w+)'?\n.*?^\1$", "", block, flags=re.MULTILINE | re.DOTALL)
    return [re.sub(r"(^|\s)#.*", "", line) for line in block.replace("\\\n", " ").splitlines()]


@functools.cache
def _parser() -> argparse.ArgumentParser:
    return build_parser()


@pytest.mark.parametrize(("call", "is_whole"), _commands())
def test_commands_on_the_pages_are_such_as_the_parser_takes(
    call: str, is_whole: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    words = shlex.split(call)
    if re.search(r"…|\[|\.\.\.|\b[A-Z]{2,}\b", call.replace("KEY=VALUE", "")):
        # An outline: its command and its options must be there all the same.
        own = call.partition(" -- ")[0]  # the rest is a script's
        words = [word.strip("[]()") for word in re.split(r"[\s|=]+", own)]
        commands = commands_of(_parser())
        name = next((word for word in words if word in commands), None)
        if name is not None:
            known = {option for action in commands[name]._actions for option in action.option_strings}
            assert {word for word in words if re.fullmatch(r"--[a-z][a-z-]+", word)} <= known
        return
    code = 0
    try:
        _parser().parse_args(words)
    except SystemExit as stop:
        code = int(stop.code or 0)
    said = capsys.readouterr().err
    is_cut_short = not is_whole and ("are required: " in said or "expected one argument" in said)
    assert code == 0 or is_cut_short, f"batchy {call}\n{said}"


def test_every_variable_that_the_code_reads_or_sets_is_on_its_page() -> None:
    page = PAGES["reference/variables.md"]
    found = set()
    for path in sorted((ROOT / "batchy_provider").rglob("*.py")):
        found |= set(re.findall(r"[\"'](BATCHY_[A-Z_]+)[\"']", path.read_text()))
    for name in found | set(re.findall(r"\$\{(BATCHY_[A-Z_]+)", (ROOT / "run").read_text())):
        assert f"`{name}`" in page, f"{name} is not on docs/reference/variables.md"


# the map of the code


def test_every_file_says_what_it_is_for_and_is_on_the_page_of_all_files() -> None:
    page = modules_page()
    for module in modules():
        assert module.purpose or module.name == "__init__.py", f"{module.folder}/{module.name} has no docstring"
        assert module.name == "__init__.py" or f"| `{module.name}` | " in page, module


def test_the_map_names_only_files_that_exist_and_all_folders() -> None:
    text = PAGES["development.md"].partition("## The map")[2].partition("## Tests")[0]
    names = set(re.findall(r"`([\w/.]+(?:/|\.py|\.js))`", text))
    package = ROOT / "batchy_provider"
    files = {path.relative_to(package).as_posix() for path in package.rglob("*.*")}
    for name in names:
        known = (package / name).exists() or (ROOT / name).exists() or any(file.endswith(f"/{name}") for file in files)
        assert known, f"{name} does not exist"
    missing = {f"{module.folder.split('/')[0]}/" for module in modules() if module.folder != "."} - names
    assert not missing
