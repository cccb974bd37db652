# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Check every key and value of a parsed file, from YAML and JSON alike.

Redis, PostgreSQL, JSON, Airflow's protocol or a terminal cannot hold what this refuses. Such a value would stop
Airflow's DAG processor, and with it the workflows of all other files.
"""

from __future__ import annotations

import math
from typing import Any

from batchy_provider.config.diagnostics import Code, KeyPath, Violation
from batchy_provider.core.storable_text import text_problem

MAX_DEPTH = 50
MAX_VALUES = 100_000
MAX_CHARACTERS = 8 * 1024 * 1024
"""Characters of all keys and texts. A file without aliases has fewer bytes than this."""
MAX_DIGITS = 1000
"""Digits of a number. Python itself refuses to write whole numbers of more than 4,300."""

_MAX_BITS = int(MAX_DIGITS * math.log2(10))
_TOO_DEEP = f"nested deeper than {MAX_DEPTH} levels"
_TOO_MANY = f"more than {MAX_VALUES} values (each use of an alias counts)"
_TOO_MUCH = f"more than {MAX_CHARACTERS} characters of text (each use of an alias counts)"
_TOO_LONG = f"a number of more than {MAX_DIGITS} digits; write it in quotes if it is text"


class PlainDataError(Exception):
    """The data has a key or value that no workflow file may have.

    :param violation: what it is, and where.
    """

    def __init__(self, violation: Violation) -> None:
        super().__init__(violation.message)
        self.violation = violation


def check_plain(data: Any) -> None:
    """Check every key and value of parsed data, its depth and its size.

    :raises PlainDataError: at the first that is not allowed.
    """
    _Check().value(data, (), MAX_DEPTH)


class _Check:
    def __init__(self) -> None:
        self.values = 0
        self.characters = 0

    def value(self, value: Any, path: KeyPath, depth: int) -> None:
        self.values += 1
        if self.values > MAX_VALUES:
            raise PlainDataError(Violation(path, Code.TOO_LARGE, _TOO_MANY))
        kind = type(value)
        if kind is str:
            self.count(value, path)
            if (message := text_problem(value)) is not None:
                raise PlainDataError(Violation(path, Code.UNSTORABLE, message))
        elif kind is dict:
            self.mapping(value, path, depth)
        elif kind is list:
            if depth == 0:
                raise PlainDataError(Violation(path, Code.TOO_LARGE, _TOO_DEEP))
            for index, item in enumerate(value):
                self.value(item, (*path, index), depth - 1)
        elif kind is int and value.bit_length() > _MAX_BITS:
            raise PlainDataError(Violation(path, Code.TOO_LARGE, _TOO_LONG))
        elif kind is float and not math.isfinite(value):
            message = f"{value} is not a number that JSON can hold; write it in quotes if it is text"
            raise PlainDataError(Violation(path, Code.UNSTORABLE, message))

    def mapping(self, mapping: dict[str, Any], path: KeyPath, depth: int) -> None:
        if depth == 0:
            raise PlainDataError(Violation(path, Code.TOO_LARGE, _TOO_DEEP))
        for key, item in mapping.items():
            self.count(key, path)
            if (message := text_problem(key, "key")) is not None:
                raise PlainDataError(Violation((*path, key), Code.UNSTORABLE, message, at_key=True))
            self.value(item, (*path, key), depth - 1)

    def count(self, text: str, path: KeyPath) -> None:
        self.characters += len(text)
        if self.characters > MAX_CHARACTERS:
            raise PlainDataError(Violation(path, Code.TOO_LARGE, _TOO_MUCH))
