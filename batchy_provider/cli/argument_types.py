# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Read the values of options: durations, counts, ports, ``NAME=VALUE``."""

from __future__ import annotations

import argparse
from datetime import timedelta


def duration(text: str) -> timedelta:
    """Read a duration as in a workflow file: ``90s``, ``15m``, ``12h``, ``1d``."""
    from batchy_provider.config.durations import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


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
