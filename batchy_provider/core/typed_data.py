# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Make dataclasses from stored JSON, with each value checked against the type of its field.

A value in Redis may be damaged, or belong to another program. A value that passes here has the types that the code
expects, so no rule and no face needs to check it again.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Collection, Mapping
from dataclasses import MISSING, fields
from functools import cache
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")

_MAX_INTEGER = 2**63
_SHOWN = 40
_NUMBERS = frozenset({bool, int, float})


class FormError(ValueError):
    """A value does not have the expected form; the text continues a sentence that names the value."""


def build(kind: type[T], data: Any, *, parts: Collection[str] = ()) -> T:
    """Make a dataclass of a JSON object.

    :param kind: a dataclass.
    :param data: decoded JSON.
    :param parts: fields that hold objects of which the caller builds dataclasses: they stay as they are.
    :raises FormError: if it is no object, lacks a key, or a value has another type.
    """
    if not isinstance(data, dict):
        raise FormError(f"is {shown(data)}; expected a JSON object")
    known, required = _fields(kind)
    given: dict[str, Any] = {}
    for name, value in data.items():
        if name not in known:
            continue  # keys of a newer version are ignored, so that machines can be updated one by one
        hint, plain, check = known[name]
        if type(value) in plain:
            given[name] = value if type(value) is not str or value.isascii() else encodable(value)
        elif check(value):
            given[name] = value if name in parts else encodable(value)
        else:
            raise FormError(f"has {name} = {shown(value)}; expected {_words(hint)}")
    if not given.keys() >= required:
        lacking = next(name for name in known if name in required and name not in given)
        raise FormError(f"lacks the key {lacking!r}")
    return kind(**given)


def prepare(*kinds: type) -> None:
    """Take the types of dataclasses apart now, and not when the first value is read."""
    for kind in kinds:
        _fields(kind)


def fits(hint: Any, value: Any) -> bool:
    """Tell whether a value of JSON is of a type, as far as JSON has it."""
    return _check(hint)(value)


@cache
def _check(hint: Any) -> Callable[[Any], bool]:
    """Return the function that checks values for one type: to take a type apart takes longer than the check."""
    if hint is Any:
        return lambda value: True
    if hint is None or hint is type(None):
        return lambda value: value is None
    if hint is int:
        return lambda value: type(value) is int and abs(value) < _MAX_INTEGER
    if hint is float:
        # Not NaN either.
        return lambda value: type(value) in (int, float) and abs(value) < _MAX_INTEGER
    origin, arguments = get_origin(hint), get_args(hint)
    if isinstance(hint, type) and origin is None:
        return lambda value: isinstance(value, hint)
    if origin is Literal:
        return lambda value: isinstance(value, str) and value in arguments
    checks = [_check(each) for each in arguments if each is not Ellipsis]
    if origin in (Union, types.UnionType):
        if len(checks) == 2 and type(None) in arguments:
            (check,) = (_check(each) for each in arguments if each is not type(None))
            return lambda value: value is None or check(value)
        return lambda value: any(check(value) for check in checks)
    if issubclass(origin, Mapping):
        if arguments[1] is Any:
            return lambda value: isinstance(value, dict)
        return lambda value: isinstance(value, dict) and all(map(checks[1], value.values()))
    return lambda value: isinstance(value, list) and all(map(checks[0], value))


def _plain(hint: Any) -> frozenset[type]:
    """Return which of the types without parts fit always, so that the check need not be called: it takes longer."""
    if get_origin(hint) in (Union, types.UnionType):
        return frozenset().union(*map(_plain, get_args(hint)))
    return frozenset({hint} & {str, bool, types.NoneType})


def encodable(value: Any) -> Any:
    """Return a value of JSON with every text as UTF-8 can hold it; a lone surrogate becomes ``?``."""
    if value is None or type(value) in _NUMBERS:
        return value
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        # Most names and values are plain: a call for each of them would take most of the time.
        return {
            (name if type(name) is str and name.isascii() else encodable(name)): (
                each if each is None or (type(each) is str and each.isascii()) else encodable(each)
            )
            for name, each in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [encodable(each) for each in value]
    return value


def shown(value: Any) -> str:
    """Return a value for an error text: short, and in ASCII where it is not printable."""
    text = repr(value[:_SHOWN] if isinstance(value, (str, list)) else value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


_Checks = dict[str, tuple[Any, frozenset[type], Callable[[Any], bool]]]
_known: dict[type, tuple[_Checks, frozenset[str]]] = {}


def _fields(kind: Any) -> tuple[_Checks, frozenset[str]]:
    """Return name → type, see `_plain`, and its check, and the names that must be given."""
    if kind not in _known:
        hints = get_type_hints(kind)
        checks = {
            each.name: (hints[each.name], _plain(hints[each.name]), _check(hints[each.name])) for each in fields(kind)
        }
        required = (each for each in fields(kind) if each.default is MISSING and each.default_factory is MISSING)
        _known[kind] = checks, frozenset(each.name for each in required)
    return _known[kind]


_WORDS: dict[Any, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    type(None): "null",
}


def _words(hint: Any) -> str:
    if hint in _WORDS:
        return _WORDS[hint]
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return f"one of {', '.join(arguments)}"
    if origin in (Union, types.UnionType):
        return " or ".join(_words(each) for each in arguments)
    if origin is not None and issubclass(origin, Mapping):
        return "a JSON object"
    return f"a list of {_words(arguments[0])}" if arguments else "another type"
