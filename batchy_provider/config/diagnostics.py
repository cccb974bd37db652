# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Diagnostics: what is wrong in a workflow file and where, as a sentence for people and a code for programs."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

from batchy_provider.core.storable_text import storable

KeyPath = tuple[str | int, ...]
"""The keys and list indexes that lead from the top of a file to one value."""


QUOTES = "; write it in quotes"
"""The end of a message about a value that is probably meant as text."""


class Code(str, Enum):
    """The kind of an error in a workflow file. Programs compare these words; they stay the same in all versions.

    Each member has a `meaning`, in one line.
    """

    meaning: str

    def __new__(cls, value: str, meaning: str) -> Code:
        """Return a member that is equal to its text."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member

    # The file as a whole
    UNREADABLE_FILE = "unreadable_file", "the file or folder cannot be read, or is not a regular file"
    FILE_NAME = "file_name", "the name of the file is not one of a workflow"
    DUPLICATE_WORKFLOW = "duplicate_workflow", "another file already defines this workflow"
    NOT_UTF8 = "not_utf8", "the file is not UTF-8 text"
    TOO_LARGE = "too_large", "too many bytes, values, characters, levels, digits or folders"
    YAML_SYNTAX = "yaml_syntax", "the file is not YAML, or uses YAML that workflow files do not allow"
    JSON_SYNTAX = "json_syntax", "the file is not JSON"
    UNEXPECTED = "unexpected", "the check itself failed"
    # Keys and values
    DUPLICATE_KEY = "duplicate_key", "the same key is given twice"
    UNKNOWN_KEY = "unknown_key", "there is no such key here"
    MISSING_KEY = "missing_key", "a required key is missing"
    MISSING_VALUE = "missing_value", "the value is empty"
    WRONG_TYPE = "wrong_type", "the value has another type than expected"
    INVALID_VALUE = "invalid_value", "the value has the right type, and is not allowed"
    INVALID_CRON = "invalid_cron", "not a cron expression, or one that Airflow and cron read differently"
    NEVER_FIRES = "never_fires", "the schedule has no date at which it fires"
    YAML_REWRITE = "yaml_rewrite", "YAML reads another value than the text that is written"
    UNSTORABLE = "unstorable", "Redis, PostgreSQL or a script cannot hold this text"
    INVALID_NAME = "invalid_name", "not a name of a workflow or of a job"
    RESERVED_NAME = "reserved_name", "the name is in use for something else"
    INVALID_VARIABLE = "invalid_variable", "not an environment variable that a script can get"
    INVALID_TEMPLATE = "invalid_template", "Airflow cannot render the template"
    INVALID_SCRIPT = "invalid_script", "bash would not run the script as it is meant"
    INVALID_BUNDLE = "invalid_bundle", "the bundle cannot be used"
    # Keys, jobs and files together
    CONFLICT = "conflict", "two keys exclude each other, or one has no effect with the other"
    DUPLICATE_ENTRY = "duplicate_entry", "the same entry is given twice"
    UNDEFINED_JOB = "undefined_job", "there is no job of this name"
    UNDEFINED_WORKFLOW = "undefined_workflow", "no file defines a workflow of this name"
    UNDEFINED_CALENDAR = "undefined_calendar", "no `_calendars.yaml` defines a calendar of this name"
    INVALID_CALENDAR = "invalid_calendar", "the calendar has an error in `_calendars.yaml`"
    CALENDAR_ENDS = "calendar_ends", "the holidays of a calendar are known for less than a year from now"
    JOB_ORDER = "job_order", "the job does not run before the one that needs it"
    CYCLE = "cycle", "jobs or workflows wait for each other, or calendars extend each other"
    # Airflow
    AIRFLOW_LIMIT = "airflow_limit", "Airflow cannot store a value of this size or number"
    AIRFLOW_REFUSES = "airflow_refuses", "Airflow refuses the DAG"
    CLASS_NOT_FOUND = "class_not_found", "there is no such operator or notifier"
    CLASS_ARGUMENTS = "class_arguments", "the operator or notifier does not accept its arguments"


class Violation(NamedTuple):
    """What is wrong at a key, before its line is known; see `Diagnostic`.

    :param path: the keys that lead to it.
    :param code: what kind of error it is.
    :param message: what is wrong, what was expected, what to do.
    :param at_key: the key itself is wrong, not its value.
    :param needs_quotes: the value is probably meant as text; the message ends in the advice to write it in quotes.
    """

    path: KeyPath
    code: Code
    message: str
    at_key: bool = False
    needs_quotes: bool = False


class CodedMessage(NamedTuple):
    """What is wrong with a single value, wherever it is in a file."""

    code: Code
    message: str


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """Report one error in a workflow file, with its position.

    All texts can be stored and shown, even where the name of a file or a key has characters that cannot.

    :param file: its path, as the caller gave it.
    :param line: counted from 1; None if the error is in the file as a whole.
    :param column: counted from 1, in characters.
    :param key: key path such as ``jobs.load.retries`` or ``wait_for[1].jobs``; empty for the whole file.
    :param message: what is wrong, what was expected, what to do.
    :param code: the value of a `Code`.
    """

    file: str
    line: int | None
    column: int | None
    key: str
    message: str
    code: str

    @classmethod
    def of_file(cls, file: object, code: Code, message: str) -> Diagnostic:
        """Report an error in a file as a whole, or in a folder."""
        return cls(str(file), None, None, "", message, code.value)

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
    return Diagnostic.of_file(file, Code.UNEXPECTED, f"this cannot be handled: {type(error).__name__}{text}")


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
    return suggestion(found) if found else ""


def suggestion(name: str) -> str:
    """Return ``; did you mean 'x'?``, the end of a message."""
    return f"; did you mean {name!r}?"


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
