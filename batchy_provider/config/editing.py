# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Add a job to the text of a file. The rest stays the same to the byte: comments, order, blanks, quotes.

Parsers that write a whole file again keep comments, but not all blanks and line breaks. So this module inserts the job
into the text, then parses the result and compares it with what was wanted.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from batchy_provider.config.document import DocumentError, parse
from batchy_provider.exceptions import ConfigError

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# Lines as YAML counts them, each with its line break.
_LINE = re.compile(r"[^\r\n\x85\u2028\u2029]*(?:\r\n|[\r\n\x85\u2028\u2029])|[^\r\n\x85\u2028\u2029]+")


def add_job(text: str, name: str, job: Mapping[str, Any], *, is_json: bool = False) -> str:
    """Return a file's text with one more job at the end of its jobs.

    :param text: the text of a valid file.
    :param job: its keys, plain data.
    :param is_json: it is JSON.
    :raises ConfigError: if the jobs are written in a way that leaves no place for one more, such as an alias.
    """
    before = parse(text, is_json=is_json).data
    expected = {**before, "jobs": {**before["jobs"], name: dict(job)}}
    for edited in _candidates(text, name, job, is_json=is_json):
        try:
            after = parse(edited, is_json=is_json).data
        except DocumentError:
            continue
        if after == expected and list(after["jobs"]) == list(expected["jobs"]):
            return edited
    raise ConfigError(
        "the jobs of this file are written in a way that batchy cannot add to, such as an alias; add the job by hand"
    )


def _candidates(text: str, name: str, job: Mapping[str, Any], *, is_json: bool) -> Iterator[str]:
    """Yield the text with the job where it reads best, then where else it may be."""
    # Marks count characters, and pure Python's and the C parser's leave a byte order mark out.
    bare = text.removeprefix("\ufeff")
    mark = text[: len(text) - len(bare)]
    jobs = _jobs_node(bare)
    if jobs.flow_style:
        yield mark + _in_braces(bare, jobs, name, job, is_json=is_json)
        return
    indent = jobs.value[0][0].start_mark.column
    lines = _LINE.findall(bare)
    end = jobs.end_mark.line
    if jobs.end_mark.column and end < len(lines):  # a file without a line break at its end
        end += 1
    # Blank lines and comments before the next key belong to it; comments within the jobs stay with them.
    best = end
    while best > 0 and _belongs_to_next(lines[best - 1], indent):
        best -= 1
    # But a text may end with blank lines (`|+`) or with what looks like a comment: then after these.
    for place in range(best, end + 1):
        yield mark + _between(lines, place, _block(name, job, indent=indent))


def _jobs_node(text: str) -> Any:
    root = yaml.compose(text, Loader=_LOADER)
    for key, value in root.value if root is not None else ():
        if key.value == "jobs":
            return value
    raise ConfigError("this file itself has no jobs")


def _between(lines: Sequence[str], place: int, block: Sequence[str]) -> str:
    """Insert lines, with the line breaks of the text."""
    before = list(lines[:place])
    newline = _line_break(before[-1]) or _line_break(lines[0]) or "\n"
    if not _line_break(before[-1]):
        before[-1] += newline
    return "".join([*before, *(line + newline for line in block), *lines[place:]])


def _line_break(line: str) -> str:
    return line[len(line.rstrip("\r\n\x85\u2028\u2029")) :]


def _in_braces(text: str, jobs: Any, name: str, job: Mapping[str, Any], *, is_json: bool) -> str:
    end = jobs.end_mark.index - 1  # of the brace that closes
    last = _token_before(text, end)
    written = _flow(name, job, is_json=is_json)
    comma = isinstance(last, yaml.FlowEntryToken)
    after = last.end_mark.index
    line_start = max(text.rfind("\n", after, end), text.rfind("\r", after, end)) + 1
    if not line_start:  # the brace is on the line of the last job
        blank = " " if comma or jobs.value else ""
        return f"{text[:after]}{'' if comma or not jobs.value else ','}{blank}{written}{text[after:]}"
    newline = _line_break(_LINE.findall(text[after:])[0])
    indent = " " * (jobs.value[0][0].start_mark.column if jobs.value else 2)
    separator, trailing = ("", ",") if comma else ("," if jobs.value else "", "")
    return f"{text[:after]}{separator}{text[after:line_start]}{indent}{written}{trailing}{newline}{text[line_start:]}"


def _token_before(text: str, end: int) -> Any:
    """Return the last token before a place: comments are none."""
    last = None
    for token in yaml.scan(text, Loader=_LOADER):
        if token.start_mark.index >= end:
            break
        last = token
    return last


def _belongs_to_next(line: str, indent: int) -> bool:
    bare = line.strip()
    return not bare or (bare.startswith("#") and len(line) - len(line.lstrip()) < indent)


def _block(name: str, job: Mapping[str, Any], *, indent: int) -> list[str]:
    written = yaml.dump({name: dict(job)}, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    return [" " * indent + line if line else line for line in written.rstrip("\n").split("\n")]


def _flow(name: str, job: Mapping[str, Any], *, is_json: bool) -> str:
    if is_json:
        return f"{json.dumps(name)}: {json.dumps(dict(job), ensure_ascii=False)}"
    written = yaml.dump(
        {name: dict(job)}, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10**6, default_flow_style=True
    )
    return written.strip()[1:-1]


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as such, and lists of names in one line."""


def _text(dumper: _Dumper, value: str) -> Any:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


def _list(dumper: _Dumper, value: list[Any]) -> Any:
    plain = all(isinstance(each, str | int | float) and "\n" not in str(each) for each in value)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=plain)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(list, _list)


def yaml_text(data: Mapping[str, Any]) -> str:
    """Write plain data as people would."""
    return str(yaml.dump(dict(data), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100))


def check_edited(folder: str | os.PathLike[str], path: Path, text: str) -> None:
    """Read a text as if it were in its file, and say what is wrong with it.

    :param folder: the top of the workflow files.
    :raises InvalidFilesError: with all diagnostics; their lines are those of the text.
    """
    from batchy_provider.config.reader import InvalidFilesError, Reader

    diagnostics = Reader(folder).read_text(path, text)[1]
    if diagnostics:
        raise InvalidFilesError(diagnostics, texts={str(path): text})


def replace_text(path: Path, text: str) -> None:
    """Replace the text of a file in one step: a reader sees the old text or the new one, never a part."""
    target = path.resolve()  # a link stays a link
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        shutil.copymode(target, name)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
