# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Replace secrets in the output of a script by ``***``, before the output is shown or stored.

A stream is masked as it comes, in pieces of any size. Only the end of a piece that may be the beginning of a secret is
held back. The caller says what is secret. Without secrets, the output is passed on unchecked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from batchy_provider.bundles.secret_forms import LEAST_CHARACTERS, forms

MASK = "***"
_MASK = MASK.encode()

Secrets = Callable[[], Collection[str]]
"""Returns all secrets. Called when the script starts, and again when it has ended."""

_WORDS = (
    "access_key",
    "api_key",
    "apikey",
    "authorization",
    "bearer",
    "connection_string",
    "credential",
    "dsn",
    "passphrase",
    "passwd",
    "password",
    "private_key",
    "secret",
    "token",
)


def is_secret_name(name: str) -> bool:
    """Tell whether a value with this name is a secret. For use without Airflow, which has its own list of names."""
    plain = re.sub(r"\W+", "_", name.lower())
    return any(word in plain for word in _WORDS)


def secrets_in(values: Mapping[str, Any], is_secret: Callable[[str], bool] = is_secret_name) -> set[str]:
    """Return the values that are secret by their names, at any depth below such a name, and the passwords in URLs.

    :param values: variables or params.
    :param is_secret: tells whether a value with a certain name is secret.
    """
    found: set[str] = set()
    for name, value in values.items():
        texts = list(_leaves(value))
        found.update(word for text in texts for word in _passwords(text))
        if is_secret(str(name)):
            found.update(text for text in texts if len(text) >= LEAST_CHARACTERS)
        else:
            for each in _mappings(value):
                found |= secrets_in(each, is_secret)
    return found


def hide(value: Any, is_secret: Callable[[str], bool] = is_secret_name) -> Any:
    """Return a JSON value with ``***`` in place of values with a secret name and of passwords in URLs."""
    if isinstance(value, Mapping):
        return {name: _hidden(each) if is_secret(str(name)) else hide(each, is_secret) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [hide(each, is_secret) for each in value]
    if isinstance(value, str):
        for password in _passwords(value):
            value = value.replace(f":{password}@", f":{MASK}@")
    return value


def _hidden(value: Any) -> Any:
    return value if value is None or isinstance(value, bool) else MASK


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _leaves(each)
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _leaves(each)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield str(value)


def _mappings(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, Mapping):
        yield value
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _mappings(each)


def _passwords(text: str) -> Iterator[str]:
    """Yield the password of a URL, as written there and decoded."""
    if "://" not in text or "@" not in text:
        return
    try:
        password = urlsplit(text).password or ""
    except ValueError:
        return
    if len(unquote(password)) >= LEAST_CHARACTERS:
        yield from (password, unquote(password))


class Masker:
    """Masks a set of secrets.

    If two of them begin at the same place, the longer one is masked. The forms in which programs print a secret are
    masked, too: its lines, the values of a JSON document, its text with the escapes of JSON; see `secret_forms`.

    :param secrets: texts; empty ones are ignored.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        texts = {form for text in secrets if text.strip("*") for form in forms(text, is_secret_name)}
        known = {text.encode("utf-8", "surrogatepass") for text in texts}
        self._known = sorted(known, key=lambda secret: (-len(secret), secret))
        self.longest = len(self._known[0]) if self._known else 0
        # If one secret is part of another one, it is enough to look for the part.
        shortest: list[bytes] = []
        for secret in reversed(self._known):
            if not any(part in secret for part in shortest):
                shortest.append(secret)
        self._shortest = tuple(shortest)
        firsts = bytes(sorted({secret[0] for secret in self._known}))
        self._first = re.compile(b"[" + b"".join(b"\\x%02x" % byte for byte in firsts) + b"]" if firsts else b"(?!)")
        self._by_first = {byte: [each for each in self._known if each[0] == byte] for byte in firsts}

    def __bool__(self) -> bool:
        return bool(self._known)

    def occurs(self, data: bytes) -> bool:
        """Tell whether there is any secret in some bytes. Cheap: for most output, this is the only check."""
        return any(secret in data for secret in self._shortest)

    def places(self, data: bytes) -> Iterator[tuple[int, int]]:
        """Yield begin and end of each secret, from the left, the longest at each place. Much faster than a pattern."""
        # Few of all secrets occur. Only these are searched for again.
        met = [[at, rank] for rank, secret in enumerate(self._known) if (at := data.find(secret)) >= 0]
        while met:
            begin, rank = min(met)  # the longest have the lowest ranks
            end = begin + len(self._known[rank])
            yield begin, end
            for each in met:
                if each[0] < end:
                    each[0] = data.find(self._known[each[1]], end)
            met = [each for each in met if each[0] >= 0]

    def unfinished(self, data: bytes, start: int) -> int:
        """Return where the first secret begins, from ``start``, that the end of the bytes may cut off."""
        for match in self._first.finditer(data, max(start, len(data) - self.longest + 1)):
            rest = data[match.start() :]
            for secret in self._by_first[rest[0]]:
                if len(secret) <= len(rest):
                    break  # the longest come first
                if secret.startswith(rest):
                    return match.start()
        return len(data)

    def bytes(self, data: bytes) -> bytes:
        """Return bytes with all secrets masked."""
        stream = MaskedStream(self)
        return stream.feed(data) + stream.finish()

    def text(self, text: str) -> str:
        """Return a text with all secrets masked."""
        if not self._known:
            return text
        data = text.encode("utf-8", "surrogatepass")
        return self.bytes(data).decode("utf-8", "surrogatepass") if self.occurs(data) else text

    def value(self, value: Any) -> Any:
        """Return a JSON value with the secrets in all its texts and names masked."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            masked: dict[str, Any] = {}
            for name, each in value.items():
                shown = key = self.value(name)
                while key in masked:  # two names that are both secret
                    key = f"{shown}.{len(masked) + 1}"
                masked[key] = self.value(each)
            return masked
        if isinstance(value, (list, tuple)):
            return [self.value(each) for each in value]
        if isinstance(value, (int, float)) and not isinstance(value, bool) and self.occurs(str(value).encode()):
            return MASK
        return value


class MaskedStream:
    """Masks one stream, in pieces of any size. The result is the same as `Masker.bytes` returns for the whole.

    :param masker: has all secrets of the stream.
    """

    def __init__(self, masker: Masker) -> None:
        self._masker = masker
        self.held = b""
        """The bytes that were fed and not passed on yet; shorter than the longest secret."""
        self.count = 0
        """How many secrets were masked."""

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes; returns the masked bytes that can be passed on."""
        if not self._masker:
            return data
        if self.held:
            data = self.held + data
        begin, end = 0, self._masker.unfinished(data, 0)
        parts: list[bytes] = []
        if self._masker.occurs(data):
            for start, stop in self._masker.places(data):
                if start >= end:
                    break
                parts += (data[begin:start], _MASK)
                self.count += 1
                begin = stop
                if begin > end:
                    end = self._masker.unfinished(data, begin)
        self.held = data[end:]
        if not parts:
            return data[:end] if self.held else data
        return b"".join([*parts, data[begin:end]])

    def finish(self) -> bytes:
        """End the stream; returns the rest, masked."""
        rest, self.held = self.held, b""
        parts: list[bytes] = []
        begin = 0
        for start, stop in self._masker.places(rest):
            parts += [rest[begin:start], _MASK]
            self.count += 1
            begin = stop
        return b"".join([*parts, rest[begin:]])
