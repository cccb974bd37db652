# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The environment variables and arguments of a script: which ones the worker passes on, and which ones are valid."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from batchy_provider.bundles.errors import JobEnvironmentError

ALLOWED = frozenset(
    ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR")
)
"""The worker's variables that a script inherits, beside all that start with ``LC_``."""

MAX_TEXT_BYTES = 128 * 1024
"""How long Linux lets one argument be, or one variable with its name, including the NUL at its end."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


def build_environment(
    batchy: Mapping[str, str],
    *,
    env: Mapping[str, Any] | None = None,
    inherit: bool = False,
    worker: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return the whole environment of a script.

    :param batchy: the `BATCHY_*` variables.
    :param env: the job's own: text, numbers and booleans; None removes a variable.
    :param inherit: hand on all variables of the worker, secrets included, instead of the allow-list.
    :param worker: the worker's environment; default: that of this process.
    :raises JobEnvironmentError: a name or value that no process can be given, or a reserved name, or more in total
        than a process can be given.
    """
    worker = os.environ if worker is None else worker
    built = {name: value for name, value in worker.items() if inherit or name in ALLOWED or name.startswith("LC_")}
    built.setdefault("PATH", os.defpath)
    built.pop("BATCHY_INPUT", None)  # of the script that this process runs in; `batchy` has ours, if there is one
    for name, value in (env or {}).items():
        text = _text(name, value)
        if text is None:
            built.pop(name, None)
        else:
            built[name] = text
    built = {**built, **batchy}
    _check_size(built)
    return built


def check_arguments(arguments: Sequence[Any]) -> list[str]:
    """Return the arguments of a script as text.

    :param arguments: texts, numbers or booleans.
    :raises JobEnvironmentError: a process cannot be given one of them.
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
    """Say why a process cannot be given a text as an argument or as the value of a variable; None if it can.

    :param name: name of the variable; None for an argument.
    :returns: the end of a sentence.
    """
    try:
        size = len(os.fsencode(text))
    except UnicodeEncodeError:
        return "has half a character (a lone surrogate), which neither a variable nor an argument can hold"
    if "\0" in text:
        return "has a NUL character, which neither a variable nor an argument can hold"
    most = MAX_TEXT_BYTES - 1 - (0 if name is None else len(name) + 1)
    if size > most:
        return f"has {size:,} bytes, and {most:,} is the limit: put it into a file of the bundle, or into params"
    return None


def variable_name_problem(name: Any) -> str | None:
    """Say why a variable of a script cannot have a name; None if it can."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        return f"{name!r} is no name for a variable. Expected letters, digits and '_', not a digit first"
    if name.startswith("BATCHY_"):
        return f"{name} is reserved: names that start with BATCHY_ are set for the script"
    return None


def _check_size(built: Mapping[str, str]) -> None:
    """Refuse an environment that is too large in total. The kernel would report it without a name."""
    with contextlib.suppress(ValueError, OSError):
        most = os.sysconf("SC_ARG_MAX")
        pointer = 8
        sizes = {name: len(os.fsencode(name)) + len(os.fsencode(value)) + 2 + pointer for name, value in built.items()}
        if 0 < most < sum(sizes.values()):
            largest = sorted(sizes, key=lambda name: -sizes[name])[:3]
            named = ", ".join(f"{name} ({sizes[name]:,} bytes)" for name in largest)
            raise JobEnvironmentError(
                f"env: all variables together have {sum(sizes.values()):,} bytes, and {most:,} is the limit for a "
                f"process here. The largest: {named}. Put large values into files or into params."
            )


def _text(name: Any, value: Any) -> str | None:
    if (problem := variable_name_problem(name)) is not None:
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
