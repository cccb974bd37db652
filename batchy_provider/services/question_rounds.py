# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Ask Redis the questions of many waits in a few packets: each question once, however many waits ask it.

A question is a generator of commands (`state.wait_queries`). A round sends the commands of all questions in one
pipeline and gives each its replies. Rounds repeat until every question has its verdict.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from batchy_provider.exceptions import BatchyError, RedisUnavailableError
from batchy_provider.state.keys import Keys

if TYPE_CHECKING:
    from batchy_provider.core.waits import Verdict
    from batchy_provider.state.protocol import Command
    from batchy_provider.state.wait_queries import Asking

_WOKEN_AT_ONCE = 1_000
"""So many watches act on a verdict before other tasks of the event loop run."""


@dataclass(eq=False)
class Watch:
    """The queue for the verdicts that one caller gets.

    :param question: what the caller asks.
    :param verdicts: verdicts, or the error that ends this watch.
    :param began: when the watch began, in seconds of the monotonic clock.
    """

    question: SharedQuestion
    verdicts: asyncio.Queue[Verdict | Exception] = field(default_factory=asyncio.Queue)
    began: float = field(default_factory=time.monotonic)
    _last: Verdict | Exception | None = None

    def put(self, verdict: Verdict | Exception) -> None:
        """Queue a verdict, unless it is the last one again: a recheck of ten thousand waits then wakes none."""
        if isinstance(verdict, Exception) or verdict.is_over or verdict != self._last:
            self._last = verdict
            self.verdicts.put_nowait(verdict)


@dataclass(eq=False)
class SharedQuestion:
    """One question about a workflow, for all watches that ask it.

    :param ask: makes the question from the workflow's keys.
    :ivar asking: the generator of commands, while the question is asked.
    :ivar commands: the commands whose replies it needs next.
    :ivar verdict: the latest verdict, or the error that concerns this question alone.
    """

    workflow: str
    ask: Callable[[Keys], Asking]
    watches: set[Watch] = field(default_factory=set)
    asking: Asking | None = None
    commands: Any = None
    verdict: Verdict | Exception | None = None

    def begin(self, *, cluster: bool) -> bool:
        """Begin to ask.

        :returns: whether there are commands to send.
        """
        self.asking, self.verdict = self.ask(Keys(self.workflow, cluster)), None
        return self.advance(None)

    def advance(self, replies: list[Any] | None) -> bool:
        """Go on to the next commands, or to the verdict.

        :param replies: to the last commands; None at the start.
        :returns: whether there are further commands.
        """
        assert self.asking is not None
        try:
            # A generator takes None at first, which its type does not say.
            self.commands = self.asking.send(replies)  # type: ignore[arg-type]
        except StopIteration as stop:
            self.end(stop.value)
        except Exception as error:
            self.end(error)
        else:
            return True
        return False

    def end(self, verdict: Verdict | Exception) -> None:
        """Take the verdict."""
        self.asking, self.commands, self.verdict = None, None, verdict


async def ask_all(client: Any, questions: Iterable[SharedQuestion], *, cluster: bool) -> None:
    """Ask questions until each has a verdict or an error.

    :param client: an async client of Redis.
    :raises RedisError: Redis cannot answer any question now.
    """
    unanswered = [question for question in questions if question.begin(cluster=cluster)]
    while unanswered:
        unanswered = await _ask_round(client, unanswered)


async def deliver(verdict: Verdict | Exception, watches: Iterable[Watch]) -> None:
    """Give a verdict to watches, with pauses in which those that got it act on it and other tasks run."""
    for count, watch in enumerate(watches, start=1):
        watch.put(verdict)
        if count % _WOKEN_AT_ONCE == 0:
            await asyncio.sleep(0)


async def _ask_round(client: Any, questions: list[SharedQuestion]) -> list[SharedQuestion]:
    """Send all commands in one pipeline, and return the questions that have further commands."""
    from batchy_provider.state.protocol import decoded, reply_error

    # A command of many questions, such as TIME, is sent once.
    replies: dict[Command, Any] = {command: None for question in questions for command in question.commands}
    pipe = client.pipeline(transaction=False)
    for command in replies:
        pipe.execute_command(*command)
    for command, reply in zip(replies, await pipe.execute(raise_on_error=False), strict=True):
        is_error = isinstance(reply, Exception)
        replies[command] = _error_of_one(command, reply_error(command, reply)) if is_error else decoded(reply)
    left = []
    for question in questions:
        own = [replies[command] for command in question.commands]
        errors = [reply for reply in own if isinstance(reply, Exception)]
        if errors:
            question.end(errors[0])
        elif question.advance(own):
            left.append(question)
    return left


def _error_of_one(command: Command, error: Exception) -> Exception:
    """Return an error that concerns one workflow; raise one that concerns all."""
    from redis.exceptions import NoPermissionError

    if isinstance(error, BatchyError):
        return error
    if isinstance(error, NoPermissionError):
        return RedisUnavailableError(
            f"Redis does not let this login use {command[0]} on {command[1:2]}: {error}. Allow it in the user's ACL"
        )
    raise error
