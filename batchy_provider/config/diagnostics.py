# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What is wrong with a configuration file, and where: one `Diagnostic` each, for people and for programs."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from batchy_provider.core.storable_text import storable

KeyPath = tuple[str | int, ...]
"""The keys and list indexes that lead from the top of a file to one value."""


class Violation(NamedTuple):
    """A diagnostic before anyone has looked up in which line it stands.

    :param path: the keys that lead to it.
    :param message: what is wrong, what was expected, what to do.
    :param at_key: the key itself is wrong, not its value.
    """

    path: KeyPath
    message: str
    at_key: bool = False


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One thing that is wrong with a configuration file.

    Its texts can be stored and shown everywhere, also where a file's name or a key cannot.

    :param file: its path, as it was given.
    :param line: counted from 1; None where the file as a whole is at diagnostic.
    :param column: counted from 1, in characters.
    :param key: key path such as ``jobs.load.retries`` or ``wait_for[1].jobs``; empty for the whole file.
    :param message: what is wrong, what was expected, what to do.
    """

    file: str
    line: int | None
    column: int | None
    key: str
    message: str

    def __post_init__(self) -> None:
        for name in ("file", "key", "message"):
            object.__setattr__(self, name, storable(getattr(self, name)))

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}:{self.column}"
        return f"{place}: {self.key}: {self.message}" if self.key else f"{place}: {self.message}"


def unexpected(file: object, error: BaseException) -> Diagnostic:
    """Return the diagnostic for a file whose handling failed with an unexpected exception.

    A caller that handles several files catches every exception this way, so that one file never hides the others.
    """
    text = " ".join(str(error).split())
    text = f": {text[:300]}" if text else ""
    return Diagnostic(str(file), None, None, "", f"this cannot be handled: {type(error).__name__}{text}")


def key_text(path: KeyPath) -> str:
    """Write a key path for people: ``jobs.load.after[0]``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that the given one was probably meant to be, or None."""
    by_folded = {candidate.casefold(): candidate for candidate in known}
    found = difflib.get_close_matches(name.casefold(), by_folded, n=1, cutoff=0.6)
    return by_folded[found[0]] if found else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` for the nearest known name, or nothing."""
    found = nearest(name, known)
    return f"; did you mean {found!r}?" if found else ""


def one_of(names: Sequence[str]) -> str:
    """Write a choice: ``a, b or c``."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def show(value: Any) -> str:
    """Say what a value is, in YAML's words and never longer than a line."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"the number {value}" if abs(value) < 1e30 else "a very large number"
        case str():
            return repr(value if len(value) <= 60 else value[:57] + "…")
        case list():
            return "a list"
        case dict():
            return "a mapping"
    return repr(value)
