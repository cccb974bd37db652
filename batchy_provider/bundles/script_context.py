# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What a script is told: its environment variables and the JSON file behind `BATCHY_PARAMS`."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from batchy_provider.bundles.errors import JobEnvironmentError

ALLOWED = frozenset(
    ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR")
)
"""The worker's variables that a script inherits, and all that start with ``LC_``."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
MAX_TEXT_BYTES = 128 * 1024
"""What Linux lets one argument, or one variable with its name, have, the NUL at its end included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """
    All that a script is told about its execution.

    :param workflow: None outside of a workflow; so are ``batch_id`` and the dates then
    :param from_date: as stored: naive UTC ISO 8601; ``to_date`` likewise
    :param attempt: 1 at the first try
    :param run_id: of the DAG run, or what the caller names the run
    :param params: the job's params
    :param previous: earlier job → its state, exit code, output reference and values
    :param input: where the input comes from: job, state, bytes; None: the job has no input
    """

    job: str
    workflow: str | None = None
    batch_id: int | None = None
    from_date: str | None = None
    to_date: str | None = None
    attempt: int = 1
    run_id: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    previous: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    input: Mapping[str, Any] | None = None

    def variables(self) -> dict[str, str]:
        """The plain variables. What is not known is empty, not missing: scripts run under `set -u`."""
        told = {
            "BATCHY_WORKFLOW": self.workflow,
            "BATCHY_JOB": self.job,
            "BATCHY_BATCH_ID": self.batch_id,
            "BATCHY_FROM_DATE": self.from_date,
            "BATCHY_TO_DATE": self.to_date,
            "BATCHY_ATTEMPT": self.attempt,
            "BATCHY_RUN_ID": self.run_id,
        }
        return {name: "" if value is None else str(value) for name, value in told.items()}

    def document(self) -> dict[str, Any]:
        """What stands in the file behind `BATCHY_PARAMS`."""
        return {
            "workflow": self.workflow,
            "job": self.job,
            "batch_id": self.batch_id,
            "from_date": self.from_date,
            "to_date": self.to_date,
            "attempt": self.attempt,
            "run_id": self.run_id,
            "params": dict(self.params),
            "input": dict(self.input) if self.input is not None else None,
            "previous": {job: dict(facts) for job, facts in self.previous.items()},
        }


def write_params(telling: Telling, path: Path) -> None:
    """
    Write the JSON file.

    :raises JobEnvironmentError: a param is nothing that JSON can hold
    """
    try:
        text = json.dumps(telling.document(), ensure_ascii=False, indent=1)
    except (TypeError, ValueError) as error:
        raise JobEnvironmentError(f"The params of job {telling.job} cannot be written as JSON: {error}.") from None
    path.write_bytes(text.encode("utf-8", "surrogatepass") + b"\n")


def build(
    told: Mapping[str, str],
    *,
    env: Mapping[str, Any] | None = None,
    inherit: bool = False,
    worker: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """
    The whole environment of a script.

    :param told: the `BATCHY_*` variables
    :param env: the job's own; text, numbers and booleans; None takes a variable away
    :param inherit: everything of the worker, secrets included, instead of the allow-list
    :param worker: the worker's environment; default: that of this process
    :raises JobEnvironmentError: a name or value that no process can be given, or a reserved name, or more in all than
        a process can be given
    """
    worker = os.environ if worker is None else worker
    built = {name: value for name, value in worker.items() if inherit or name in ALLOWED or name.startswith("LC_")}
    built.setdefault("PATH", os.defpath)
    built.pop("BATCHY_INPUT", None)  # that of a script that we run in; ours is in `told`, if there is one
    for name, value in (env or {}).items():
        text = _text(name, value)
        if text is None:
            built.pop(name, None)
        else:
            built[name] = text
    built = {**built, **told}
    _check_size(built)
    return built


def check_arguments(arguments: Sequence[Any]) -> list[str]:
    """
    Return the arguments of a script as text.

    :param arguments: texts, numbers or booleans
    :raises JobEnvironmentError: no process can be given one of them
    """
    checked = []
    for number, value in enumerate(arguments, 1):
        if not isinstance(value, (str, int, float)):
            raise JobEnvironmentError(
                f"args: argument {number} is a {type(value).__name__}. Expected text or a number; give structured "
                "values as params, the script reads them from $BATCHY_PARAMS."
            )
        text = _plain(value)
        if why := text_problem(text):
            raise JobEnvironmentError(f"args: argument {number} {why}.")
        checked.append(text)
    return checked


def text_problem(text: str, name: str | None = None) -> str | None:
    """
    Say why a process cannot be given a text as an argument, or as the value of a variable, or None.

    :param name: of the variable
    """
    try:
        size = len(os.fsencode(text))
    except UnicodeEncodeError:
        return "has half a character (a lone surrogate), which neither a variable nor an argument can hold"
    if "\0" in text:
        return "has a NUL character, which neither a variable nor an argument can hold"
    most = MAX_TEXT_BYTES - 1 - (0 if name is None else len(name) + 1)
    if size > most:
        return f"has {size:,} bytes, and {most:,} is the most: put it into a file of the bundle, or into params"
    return None


def _check_size(built: Mapping[str, str]) -> None:
    """Refuse what is small enough one by one and too much in all; the kernel would say so without a name."""
    with contextlib.suppress(ValueError, OSError):
        most = os.sysconf("SC_ARG_MAX")
        pointer = 8
        sizes = {name: len(os.fsencode(name)) + len(os.fsencode(value)) + 2 + pointer for name, value in built.items()}
        if 0 < most < sum(sizes.values()):
            largest = sorted(sizes, key=lambda name: -sizes[name])[:3]
            named = ", ".join(f"{name} ({sizes[name]:,} bytes)" for name in largest)
            raise JobEnvironmentError(
                f"env: all variables together have {sum(sizes.values()):,} bytes, and {most:,} is the most that a "
                f"process can be given here. The largest: {named}. Put large values into files or into params."
            )


def name_problem(name: Any) -> str | None:
    """Say why no variable of a script can have a name, or return None."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        return f"{name!r} is no name for a variable. Expected letters, digits and '_', not a digit first"
    if name.startswith("BATCHY_"):
        return f"{name} is reserved: names that start with BATCHY_ are set for the script"
    return None


def _text(name: Any, value: Any) -> str | None:
    if (problem := name_problem(name)) is not None:
        raise JobEnvironmentError(f"env: {problem}.")
    if value is None:
        return None
    if not isinstance(value, (str, int, float)):
        raise JobEnvironmentError(
            f"env: the value of {name} is a {type(value).__name__}. Expected text or a number; "
            "give structured values as params, the script reads them from $BATCHY_PARAMS."
        )
    text = _plain(value)
    if why := text_problem(text, name):
        raise JobEnvironmentError(f"env: the value of {name} {why}.")
    return text


def _plain(value: str | int | float) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
