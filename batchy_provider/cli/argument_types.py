# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Read the values of options: durations, counts, ports, ``NAME=VALUE``; and what stands after ``--``."""

from __future__ import annotations

import argparse
import sys
from datetime import timedelta
from typing import Any


def duration(text: str) -> timedelta:
    """Read a duration as in a workflow file: ``90s``, ``15m``, ``12h``, ``1d``."""
    from batchy_provider.config.durations import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def whole_number(text: str) -> int:
    """Read a whole number, such as the id of a batch."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a whole number, not {text!r}") from None


def at_least_one(text: str) -> int:
    """Read a whole number from 1 on."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 on, not {text!r}")
    return int(text)


def port(text: str) -> int:
    """Read a TCP port."""
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= 65_535):
        raise argparse.ArgumentTypeError(f"expected a port, 1 to 65535, not {text!r}")
    return int(text)


def name_and_value(text: str) -> tuple[str, str]:
    """Read ``NAME=VALUE``."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, not {text!r}")
    return name, value


def take_command(parser: argparse.ArgumentParser, usage: str) -> None:
    """Put everything after ``--`` into `arguments` unread; argparse alone would mix it up with options.

    :param usage: what stands after the name of the command in its help.
    """
    parse = parser.parse_known_args

    def parse_known_args(args: Any = None, namespace: Any = None) -> Any:
        words = list(sys.argv[1:] if args is None else args)
        end = words.index("--") if "--" in words else len(words)
        namespace, rest = parse(words[:end], namespace)
        namespace.arguments = words[end + 1 :]
        return namespace, rest

    parser.parse_known_args = parse_known_args  # type: ignore[method-assign]  # subparsers are made by argparse
    parser.usage = f"{parser.prog} {usage}"


AFTER_OPTIONS = "may_stand_after_options"
"""Attribute of an action, see `allow_after_options`; for parsers that copy it."""


def allow_after_options(parser: argparse.ArgumentParser, name: str) -> None:
    """Let an optional last argument stand after options; argparse alone takes it only before them.

    :param name: the argument, which has ``nargs="?"`` and no default.
    """
    parse = parser.parse_known_args
    for action in parser._actions:
        if action.dest == name:
            setattr(action, AFTER_OPTIONS, True)

    def parse_known_args(args: Any = None, namespace: Any = None) -> Any:
        namespace, rest = parse(args, namespace)
        if len(rest) == 1 and not rest[0].startswith("-") and getattr(namespace, name, None) is None:
            setattr(namespace, name, rest.pop())
        return namespace, rest

    parser.parse_known_args = parse_known_args  # type: ignore[method-assign]  # subparsers are made by argparse
