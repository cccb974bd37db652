# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Build plain data from the events of a YAML parser, with the position of each key on request.

The events are read one by one, because libyaml overflows the stack, and ends the process, when it composes a deeply
nested text. Reading events is also twice as fast as ``yaml.load``. Only the plain types of YAML are made.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any, NoReturn, cast

import yaml

from batchy_provider.config.diagnostics import Code, KeyPath, Violation
from batchy_provider.config.plain_data import MAX_DEPTH, MAX_DIGITS, MAX_VALUES

_PREFIX = "tag:yaml.org,2002:"
_STR, _NULL, _BOOL, _INT, _FLOAT = (_PREFIX + name for name in ("str", "null", "bool", "int", "float"))
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_RESOLVERS = yaml.SafeLoader.yaml_implicit_resolvers
_CONSTRUCTOR = yaml.constructor.SafeConstructor()
_ALIAS, _SCALAR = yaml.events.AliasEvent, yaml.events.ScalarEvent
_MAP, _MAP_END = yaml.events.MappingStartEvent, yaml.events.MappingEndEvent
_SEQ, _SEQ_END = yaml.events.SequenceStartEvent, yaml.events.SequenceEndEvent

_ADVICE = {
    "mapping values are not allowed": "put a text that holds ': ' in quotes, or check the indentation",
    "scanning an alias": "put a text that begins with '*' in quotes",
    "scanning an anchor": "put a text that begins with '&' in quotes",
    "character that cannot start any token": "put a text that begins with this character in quotes",
    "did not find expected key": "check the indentation of this line; put a text with quotes inside in other quotes",
    "quoted scalar, found unexpected end": "the quote that opens here is never closed",
    "unknown escape character": "in double quotes write \\\\ for a backslash, or use single quotes",
}
"""Part of a message of the YAML library → what a person can do."""
# What an editor or a web page writes instead of a space. For YAML it is a letter, and nobody sees the difference.
_WIDE_SPACES = frozenset(
    "\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u202f\u205f\u3000\ufeff"
)

Position = tuple[int, int]
Marks = dict[KeyPath, tuple[Position, Position]]  # path → place of its key, place of its value


class DocumentError(Exception):
    """The text cannot be read as YAML or JSON.

    :param violation: what is wrong with it.
    :param line: where, counted from 1, or None.
    """

    def __init__(self, violation: Violation, line: int | None = None, column: int | None = None) -> None:
        super().__init__(violation.message)
        self.violation, self.line, self.column = violation, line, column


class Builder:
    """Build plain data from the events of one YAML document."""

    def __init__(self, text: str, *, with_marks: bool = False, as_written: bool = False) -> None:
        self.text = text
        self.as_written = as_written
        self.has_rewritten = False
        self.values = 0
        self.anchors: dict[str, tuple[Any, int]] = {}
        self.marks: Marks | None = {} if with_marks else None
        self.path: list[str | int] = []

    def build(self) -> tuple[Any, Marks]:
        try:
            loader = _LOADER(self.text)
        except yaml.reader.ReaderError as error:
            raise self.unreadable(error) from None
        try:
            self.next = loader.get_event
            data = self.document()
        except yaml.reader.ReaderError as error:
            raise self.unreadable(error) from None
        except yaml.MarkedYAMLError as error:
            raise self.malformed(error) from None
        finally:
            loader.dispose()
        return data, self.marks or {}

    def document(self) -> Any:
        self.next()  # start of the stream
        if not isinstance(self.next(), yaml.events.DocumentStartEvent):
            raise DocumentError(Violation((), Code.WRONG_TYPE, "the file is empty; expected a mapping with a key jobs"))
        event = self.next()
        if self.marks is not None:
            self.marks[()] = (_position(event), _position(event))
        data = self.value(event, MAX_DEPTH)
        self.next()  # end of the document
        if isinstance(event := self.next(), yaml.events.DocumentStartEvent):
            self.fail(event, "a second document begins here ('---'); write one workflow per file")
        return data

    def value(self, event: Any, depth: int) -> Any:
        self.values += 1
        if self.values > MAX_VALUES:
            self.fail(event, f"more than {MAX_VALUES} values (each use of an alias counts)", Code.TOO_LARGE)
        kind = type(event)
        if kind is _ALIAS:
            return self.alias(event)
        start = self.values
        if kind is _SCALAR:
            data = event.value if self.as_written else self.scalar(event)
            if data is not event.value and canonical(data) != event.value:
                self.has_rewritten = True
        else:
            if depth == 0:
                self.fail(event, f"nested deeper than {MAX_DEPTH} levels", Code.TOO_LARGE)
            if event.tag not in (None, "!", _PREFIX + "map", _PREFIX + "seq"):
                self.fail(event, f"the tag {_tag(event.tag)} is not allowed; write plain values")
            data = self.mapping(depth) if kind is _MAP else self.sequence(depth)
        if event.anchor is not None:
            self.anchors[event.anchor] = data, self.values - start
        return data

    def alias(self, event: Any) -> Any:
        if event.anchor not in self.anchors:
            self.fail(event, f"the alias *{event.anchor} has no anchor &{event.anchor} that ends before it")
        data, size = self.anchors[event.anchor]
        self.values += size
        return data

    def sequence(self, depth: int) -> list[Any]:
        items: list[Any] = []
        for event in self.until(_SEQ_END):
            if self.marks is not None:
                self.path.append(len(items))
                self.marks[tuple(self.path)] = (_position(event), _position(event))
                items.append(self.value(event, depth - 1))
                self.path.pop()
            else:
                items.append(self.value(event, depth - 1))
        return items

    def mapping(self, depth: int) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        merged: list[dict[str, Any]] = []
        for event in self.until(_MAP_END):
            if type(event) is not _SCALAR:
                self.fail(event, "a key must be plain text; write a name and a colon")
            # Keys are text as written: `on:` and `2026:` are names here, not a boolean and a number.
            key = event.value
            if key == "<<" and event.implicit[0]:
                merged += self.merge(event, depth)
                continue
            if key and key[0] in _WIDE_SPACES and event.implicit[0]:
                space = f"U+{ord(key[0]):04X}"
                self.fail(
                    event,
                    f"a space of another kind stands here ({space}); indent with plain spaces, or write the name in "
                    "quotes if it begins with this one",
                )
            if key in mapping:
                self.fail(event, f"the key {key!r} is given twice in one mapping; remove one", Code.DUPLICATE_KEY)
            value_event = self.next()
            if self.marks is not None:
                self.path.append(key)
                self.marks[tuple(self.path)] = (_position(event), _position(value_event))
                mapping[key] = self.value(value_event, depth - 1)
                self.path.pop()
            else:
                mapping[key] = self.value(value_event, depth - 1)
        for other in merged:
            mapping = {**other, **mapping}
        return mapping

    def merge(self, event: Any, depth: int) -> list[dict[str, Any]]:
        path, self.path = self.path, ["<<"]
        source = self.value(self.next(), depth - 1)
        self.path = path
        sources = source if isinstance(source, list) else [source]
        if not all(isinstance(item, dict) for item in sources):
            self.fail(event, "'<<' takes an alias of a mapping, or a list of such aliases")
        return sources

    def until(self, end: type) -> Iterator[Any]:
        while type(event := self.next()) is not end:
            yield event

    def scalar(self, event: Any) -> Any:
        text, tag = event.value, event.tag
        if tag is None:
            if not event.implicit[0]:  # quoted, or a block of text
                return text
            tag = _resolve(text)
        if tag == _STR:
            return text
        if tag == _NULL:
            return None
        if tag in (_INT, _FLOAT) and len(text) > MAX_DIGITS:  # base 60 takes a time that grows with its square
            message = f"a number of more than {MAX_DIGITS} digits; write it in quotes if it is text"
            self.fail(event, message, Code.TOO_LARGE)
        try:
            if tag == _INT:
                return _CONSTRUCTOR.construct_yaml_int(yaml.ScalarNode(tag, text))
            if tag == _BOOL:
                return _CONSTRUCTOR.construct_yaml_bool(yaml.ScalarNode(tag, text))
            if tag == _FLOAT:
                return self.finite(event, _CONSTRUCTOR.construct_yaml_float(yaml.ScalarNode(tag, text)))
        except (ValueError, KeyError, IndexError, ArithmeticError):
            self.fail(
                event,
                f"{text[:40]!r} is no {tag.removeprefix(_PREFIX)}; write it in quotes if it is text",
                Code.INVALID_VALUE,
            )
        # Dates stay the text they are: params go to Redis as JSON, and the model knows which keys are dates.
        if tag in (_PREFIX + "timestamp", _PREFIX + "merge", _PREFIX + "value", "!"):
            return text
        return self.fail(event, f"the tag {_tag(tag)} is not allowed; write plain values")

    def finite(self, event: Any, number: float) -> float:
        if not math.isfinite(number):
            self.fail(
                event,
                f"{event.value} is not a number that JSON can hold; write it in quotes if it is text",
                Code.INVALID_VALUE,
            )
        return number

    def fail(self, event: Any, message: str, code: Code = Code.YAML_SYNTAX) -> NoReturn:
        raise DocumentError(Violation((), code, message), *_position(event))

    def malformed(self, error: yaml.MarkedYAMLError) -> DocumentError:
        mark = error.problem_mark or error.context_mark
        message = ", ".join(part for part in (error.context, error.problem) if part)
        if mark is None:
            return DocumentError(Violation((), Code.YAML_SYNTAX, f"not valid YAML: {message}"))
        lines = self.text.splitlines()
        line = lines[mark.line] if mark.line < len(lines) else ""
        if "\t" in line[: len(line) - len(line.lstrip())] or line[mark.column : mark.column + 1] == "\t":
            message += "; this line has a tab, and YAML is indented with spaces"
        else:
            message += next((f"; {advice}" for part, advice in _ADVICE.items() if part in message), "")
        if "quoted scalar, found unexpected end" in message:
            mark = error.context_mark or mark  # the end of the file is far from the mistake
        return DocumentError(
            Violation((), Code.YAML_SYNTAX, f"not valid YAML: {message}"), mark.line + 1, mark.column + 1
        )

    def unreadable(self, error: yaml.reader.ReaderError) -> DocumentError:
        control = next(
            (i for i, c in enumerate(self.text) if not c.isprintable() and c not in "\t\n\r\x85\u2028\u2029"), 0
        )
        before = self.text[:control]
        column = control - (before.rfind("\n") + 1) + 1
        message = f"not valid YAML: {error.reason}: {self.text[control : control + 1]!r}"
        return DocumentError(Violation((), Code.YAML_SYNTAX, message), before.count("\n") + 1, column)


def canonical(value: Any) -> str:
    """Return the one text of a value that both YAML and JSON read as this value."""
    return value if isinstance(value, str) else json.dumps(value)


def _resolve(text: str) -> str:
    for tag, pattern in _RESOLVERS.get(text[:1], ()):
        if pattern.match(text):
            return cast("str", tag)
    return _STR


def _position(event: Any) -> Position:
    return event.start_mark.line + 1, event.start_mark.column + 1


def _tag(tag: str) -> str:
    return tag.replace(_PREFIX, "!!")
