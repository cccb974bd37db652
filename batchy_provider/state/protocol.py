# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Write commands as bytes of the Redis protocol, and read replies as text."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from hiredis import pack_command

from batchy_provider.exceptions import StateError

Command = tuple[Any, ...]


def packed(commands: Sequence[Command]) -> bytes:
    """Write commands in the Redis protocol."""
    try:
        return b"".join(map(pack_command, commands))
    except (UnicodeEncodeError, TypeError):
        # A word is not UTF-8, such as bytes that another program has written, or it is neither text nor a number.
        return b"".join(map(pack_command, map(_words, commands)))


def _words(command: Command) -> Command:
    return tuple(str(word).encode("utf-8", "surrogateescape") for word in command)


def decoded(reply: Any) -> Any:
    """Return a reply with all its bytes as text, also if the client is set to give bytes."""
    kind = type(reply)
    if kind is bytes:
        return str(reply, "utf-8", "surrogateescape")
    if kind is list:
        # Lists of lists, of numbers, or with a null are short.
        return (len(reply) > _SHORT and _texts(reply)) or [
            str(item, "utf-8", "surrogateescape") if type(item) is bytes else item if item is None else decoded(item)
            for item in reply
        ]
    if kind is dict:
        return dict(zip(decoded(list(reply)), decoded(list(reply.values())), strict=True))
    return reply


_SHORT = 16
"""So many items take no longer one by one than in one step, which may fail."""


def _texts(items: Collection[Any]) -> list[str] | None:
    """Return items as text, decoded in one step; None if they are not all bytes, or if one contains a NUL."""
    try:
        found = str(b"\0".join(items), "utf-8", "surrogateescape").split("\0")
    except TypeError:
        return None
    return found if len(found) == len(items) else None


def as_hash(reply: Any) -> dict[str, str]:
    """Return HGETALL's reply as a dict, in both protocols of the server."""
    return reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))


def reply_error(command: Command, error: Exception) -> Exception:
    """Return what to raise for the reply to a command: our own words if a key holds another type than it should."""
    if "WRONGTYPE" not in str(error):
        return error
    return StateError(
        f"Redis key {command[1]!r} does not hold what batchy keeps there ({command[0]} answered: {error}). Another "
        "program uses this key: give the workflow another name, or Batchy a Redis database of its own"
    )
