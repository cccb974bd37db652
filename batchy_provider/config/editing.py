# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A job added to a file's text. All that is there stays as it is, to the byte: comments, order, blanks, quotes.

A parser that writes a whole file anew keeps comments, but not every blank and break; so the job is written where
it belongs into the text, and the result is read and compared before anyone sees it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from batchy_provider.config.document import DocumentError, parse
from batchy_provider.exceptions import ConfigError


def add_job(text: str, name: str, job: Mapping[str, Any], *, is_json: bool = False) -> str:
    """Return a file's text with one more job at the end of its jobs.

    :param text: of a sound file.
    :param job: its keys, plain data.
    :param is_json: it is JSON.
    :raises ConfigError: if the jobs are written in a way that leaves no place for one more, such as an alias.
    """
    before = parse(text, is_json=is_json).data
    expected = {**before, "jobs": {**before["jobs"], name: dict(job)}}
    edited = _insert(text, name, job, is_json=is_json)
    try:
        after = parse(edited, is_json=is_json).data
    except DocumentError:
        after = None
    if after != expected or list(after["jobs"]) != list(expected["jobs"]):
        raise ConfigError(
            "the jobs of this file are written in a way that has no place for one more (an alias, or braces with a "
            "comment in the last line); add it by hand"
        )
    return edited


def _insert(text: str, name: str, job: Mapping[str, Any], *, is_json: bool) -> str:
    jobs = _jobs_node(text)
    # Marks count characters, and pure Python's and the C parser's leave a byte order mark out.
    start = 1 if text.startswith("\ufeff") else 0
    if jobs.flow_style:
        end = start + jobs.end_mark.index - 1
        before = text[:end].rstrip()
        blanks = text[len(before) : end]
        separator = "," if jobs.value and not before.endswith(",") else ""
        gap = re.sub(r"\S.*", "", blanks) if is_json and "\n" in blanks else " " if separator else ""
        if is_json and "\n" in gap:
            gap = "\n" + " " * (jobs.value[0][0].start_mark.column if jobs.value else 2)
        return f"{before}{separator}{gap}{_flow(name, job, is_json=is_json)}{blanks}{text[end:]}"
    first = jobs.value[0][0].start_mark.column
    lines = text.split("\n")
    end_line = min(jobs.end_mark.line, len(lines))
    if jobs.end_mark.column and end_line < len(lines):  # a file without a line break at its end
        end_line += 1
    # Blank lines and comments before the next key belong to it; comments within the jobs stay with them.
    while end_line > 0 and _belongs_to_next(lines[end_line - 1], first):
        end_line -= 1
    newline = "\r" if any(line.endswith("\r") for line in lines[:end_line]) else ""
    block = [line + newline for line in _block(name, job, indent=first)]
    kept = lines[:end_line]
    if end_line == len(lines) and newline and kept and not kept[-1].endswith("\r"):
        kept[-1] += "\r"
    rest = lines[end_line:] or [""]
    return "\n".join([*kept, *block, *rest])


def _jobs_node(text: str) -> Any:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    root = yaml.compose(text, Loader=loader)
    for key, value in root.value if root is not None else ():
        if key.value == "jobs":
            return value
    raise ConfigError("there are no jobs in this file itself")


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
    :raises FaultsError: with all faults; their lines are those of the text.
    """
    from batchy_provider.config.reader import FaultsError, Reader

    faults = Reader(folder).read_text(path, text)[1]
    if faults:
        raise FaultsError(faults, texts={str(path): text})


def replace_text(path: Path, text: str) -> None:
    """Write a file anew: whoever reads it meanwhile sees the old text or the new one, never a part."""
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
