# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Write commands as bytes of the Redis protocol, and read replies as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from batchy_provider.exceptions import StateError

Command = tuple[Any, ...]


def packed(commands: Sequence[Command]) -> bytes:
    """Write commands in the Redis protocol; redis-py's own packer takes three times as long for many short parts."""
    parts: list[str] = []
    for command in commands:
        parts.append(f"*{len(command)}\r\n")
        for word in command:
            text = word if type(word) is str else str(word)
            # Redis wants the length in bytes.
            length = len(text) if text.isascii() else len(text.encode("utf-8", "surrogateescape"))
            parts.append(f"${length}\r\n{text}\r\n")
    return "".join(parts).encode("utf-8", "surrogateescape")


def decoded(reply: Any) -> Any:
    """Return a reply with all its bytes as text, whichever the client is set to give."""
    if isinstance(reply, bytes):
        return _text(reply)
    if isinstance(reply, list):
        return [_text(item) if type(item) is bytes else decoded(item) for item in reply]
    if isinstance(reply, dict):
        try:
            return {_text(key): _text(value) for key, value in reply.items()}
        except TypeError:
            pass  # it holds more than the bytes of a Redis hash
        return {decoded(key): _text(value) if type(value) is bytes else decoded(value) for key, value in reply.items()}
    return reply


def _text(reply: bytes) -> str:
    return str(reply, "utf-8", "surrogateescape")


def as_hash(reply: Any) -> dict[str, str]:
    """Return HGETALL's reply as a dict, whichever protocol the server speaks."""
    return reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))


def reply_error(command: Command, error: Exception) -> Exception:
    """Return what to raise for the reply to a command: our own words if a key holds another type than it should."""
    if "WRONGTYPE" not in str(error):
        return error
    return StateError(
        f"Redis key {command[1]!r} does not hold what batchy keeps there ({command[0]} answered: {error}). Another "
        "program uses this key: give the workflow another name, or Batchy a Redis database of its own"
    )
