# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Ask Redis about many waits at once: one packet for each round of questions, however many waits there are."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from redis.exceptions import RedisError

from batchy_provider.core.waits import Verdict, Wait
from batchy_provider.exceptions import BatchyError
from batchy_provider.state.backend import Backend
from batchy_provider.state.protocol import Command, reply_error
from batchy_provider.state.wait_queries import Asking, check

_TIME: Command = ("TIME",)
_EPOCH = datetime(1970, 1, 1)


def ask_many(backend: Backend, waits: Iterable[Wait], now: datetime) -> dict[Wait, Verdict | Exception]:
    """Return wait → its verdict, or the error that concerns this wait alone.

    :param now: the server's time, naive UTC, which all waits see.
    """
    answers: dict[Wait, Verdict | Exception] = {}
    pending: dict[Wait, tuple[Asking, Any]] = {}
    for wait in waits:
        _advance(wait, check(backend.keys(wait.workflow), wait), None, pending, answers)
    while pending:
        asked = dict.fromkeys(command for _, commands in pending.values() for command in commands if command != _TIME)
        replies: dict[Command, Any] = dict(zip(asked, backend.pipelined(list(asked)), strict=True))
        replies[_TIME] = _reply_to_time(now)
        waiting, pending = pending, {}
        for wait, (asking, commands) in waiting.items():
            own = [replies[command] for command in commands]
            errors = [(command, each) for command, each in zip(commands, own, strict=True) if _is_error(each)]
            if errors:
                answers[wait] = reply_error(*errors[0])
            else:
                _advance(wait, asking, own, pending, answers)
    return answers


def _advance(
    wait: Wait,
    asking: Asking,
    replies: Any,
    pending: dict[Wait, tuple[Asking, Any]],
    answers: dict[Wait, Verdict | Exception],
) -> None:
    try:
        pending[wait] = (asking, asking.send(replies))
    except StopIteration as stop:
        answers[wait] = stop.value
    except (BatchyError, RedisError) as error:
        answers[wait] = error


def _is_error(reply: Any) -> bool:
    return isinstance(reply, Exception)


def _reply_to_time(now: datetime) -> list[str]:
    micros = (now - _EPOCH) // timedelta(microseconds=1)
    return [str(micros // 1_000_000), str(micros % 1_000_000)]
