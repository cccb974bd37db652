# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The argument parser of ``batchy``: it answers a mistyped command or option with the name that was probably meant."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn, cast

COMMAND_PARSER = "command_parser"
"""Attribute of the parsed arguments: the parser of the command that was called."""


class CommandParser(argparse.ArgumentParser):
    """A parser of which the subparsers are commands."""

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]  # typeshed has overloads for other namespaces
        """Parse all arguments. The command that cannot use one of them reports it, with its own usage."""
        parsed, rest = self.parse_known_args(args, namespace)
        if rest:
            cast("CommandParser", getattr(parsed, COMMAND_PARSER, self)).refuse(rest[0])
        return parsed

    def refuse(self, word: str) -> NoReturn:
        """Report an argument that this command does not have."""
        if not word.startswith("-"):
            self.error(f"there is one argument too many: {word!r}")
        name = word.partition("=")[0]
        known = [option for action in self._actions for option in action.option_strings if option.startswith("--")]
        self.error(f"there is no option {name!r}{_did_you_mean(name, known)}")

    def error(self, message: str) -> NoReturn:
        """Report wrong usage, say which help to read, and exit with code 2."""
        super().error(f"{message}\nFor help: {self.prog.partition(' [')[0]} --help")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if isinstance(action, argparse._SubParsersAction) and value not in action.choices:
            raise argparse.ArgumentError(None, f"there is no command {value!r}{_did_you_mean(value, action.choices)}")
        super()._check_value(action, value)


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    from batchy_provider.config.diagnostics import nearest, suggestion

    # The dashes that all options share do not make them alike.
    names = {each.lstrip("-"): each for each in known}
    found = nearest(name.lstrip("-"), names)
    return "" if found is None else suggestion(names[found])
