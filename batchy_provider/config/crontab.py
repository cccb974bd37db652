# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Read a crontab as Vixie cron (and cronie) reads it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

_ASSIGNMENT = re.compile(r"""(?:"([^"]*)"|'([^']*)'|([A-Za-z_][A-Za-z0-9_]*))\s*=\s*(.*)""")
_CRON_FIELD = re.compile(r"[0-9*?/,LW#-]+")
_USER = re.compile(r"[a-z_][a-z0-9_.-]{0,31}\$?")
_USERS = frozenset(
    (
        *("root", "nobody", "daemon", "www-data", "apache", "nginx", "postgres", "mysql", "oracle", "etl", "airflow"),
        *("jenkins", "git", "mail", "news", "backup", "deploy", "ubuntu", "ec2-user"),
    )
)
"""Users that a line is taken to name before a command that begins with a path; ``root`` before any."""

_STARTS = re.compile(r"/|\./|~/|\$|\[|\(|\{|test |cd |[A-Z_]+=")
_HEADING = re.compile(r"^#.*\b(?:dow|week)\b.*\buser\b|^#.*\buser-name\b", re.MULTILINE | re.IGNORECASE)
FIELDS = 5


@dataclass(frozen=True, slots=True)
class Line:
    """One line that runs a command.

    :param number: counted from 1.
    :param text: as in the crontab.
    :param schedule: five fields, or a preset; empty if there is no command.
    :param seconds: the first of six fields; empty with five.
    :param user: who runs it, where the crontab names users.
    :param command: what is run, before its first ``%``.
    :param given: what the command gets on stdin, or None.
    :param variables: name → value, of the assignments above it.
    :param comment: the lines of the comment above it.
    """

    number: int
    text: str
    schedule: str = ""
    seconds: str = ""
    user: str = ""
    command: str = ""
    given: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    comment: tuple[str, ...] = ()


def decode_crontab(raw: bytes) -> tuple[str, bool]:
    """Return the text of a crontab, and whether it was UTF-8; else it is read as Latin-1 (Windows-1252)."""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return raw.decode("utf-16", "replace"), False
    try:
        return raw.decode("utf-8-sig"), True
    except UnicodeDecodeError:
        pass
    try:
        return raw.decode("cp1252"), False
    except UnicodeDecodeError:
        return raw.decode("latin-1"), False


def read_crontab(text: str, *, with_user: bool | None = None) -> Iterator[Line]:
    """Yield the lines that run something.

    :param with_user: whether lines name a user before the command, as in ``/etc/crontab``; None looks at them.
    """
    lines = list(_lines(text.removeprefix("\ufeff")))
    users = _names_users(text, [rest for _, _, rest, _, _ in lines]) if with_user is None else with_user
    for number, line, rest, variables, comment in lines:
        yield _line(number, line, rest, users, variables, comment)


def _lines(text: str) -> Iterator[tuple[int, str, str, Mapping[str, str], tuple[str, ...]]]:
    variables: dict[str, str] = {}
    comment: tuple[str, ...] = ()
    for number, raw in enumerate(re.split(r"\r\n|\r|\n", text), 1):
        line = raw.strip(" \t")
        if not line or line.startswith("#"):
            comment = (*comment, line.lstrip("# ")) if line.strip("# ") else ()
        elif assigned := _ASSIGNMENT.fullmatch(line):
            name = assigned[1] or assigned[2] or assigned[3] or ""
            variables[name] = _unquoted(assigned[4].strip(" \t"))
        else:
            yield number, line, line, dict(variables), comment
            comment = ()


def _unquoted(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'" else value


def _line(
    number: int, line: str, rest: str, users: bool, variables: Mapping[str, str], comment: tuple[str, ...]
) -> Line:
    schedule, seconds, rest = _schedule(rest)
    user = ""
    if users:
        user, _, rest = _split(rest)
    if not rest:
        return Line(number, line, variables=variables, comment=comment)
    command, given = _split_percent(rest)
    return Line(number, line, schedule, seconds, user, command, given, variables, comment)


def _schedule(line: str) -> tuple[str, str, str]:
    """Return the schedule, the seconds of a line with six fields, and the rest."""
    words = line.split(None, FIELDS)
    if line.startswith("@"):
        preset, _, rest = _split(line)
        return preset, "", rest
    if len(words) <= FIELDS:
        return " ".join(words), "", ""
    sixth, _, rest = _split(words[FIELDS])
    if rest and _CRON_FIELD.fullmatch(sixth):
        return " ".join([*words[1:FIELDS], sixth]), words[0], rest
    return " ".join(words[:FIELDS]), "", words[FIELDS]


def _names_users(text: str, lines: list[str]) -> bool:
    """Tell whether the lines of a crontab have a user before the command: by its heading, or by all commands."""
    words = [(word, rest) for _, _, command in map(_schedule, lines) for word, _, rest in [_split(command)] if command]
    if _HEADING.search(text) or not words:
        return bool(words)
    if any(word == "root" for word, _ in words):  # which is no command
        return all(rest and _USER.fullmatch(word) for word, rest in words)
    return all(word in _USERS and _STARTS.match(rest) for word, rest in words)


def _split(text: str) -> tuple[str, str, str]:
    first, blank, rest = re.match(r"(\S*)(\s*)(.*)", text, re.DOTALL).groups()  # type: ignore[union-attr]  # it matches any text
    return first, blank, rest


def _split_percent(command: str) -> tuple[str, str | None]:
    r"""Part a command at its first ``%``, as cron does; ``\%`` is a percent sign, and further ones are line breaks."""
    parts = [part.replace(r"\%", "%") for part in re.split(r"(?<!\\)%", command)]
    return parts[0].strip(), "\n".join(parts[1:]) if len(parts) > 1 else None
