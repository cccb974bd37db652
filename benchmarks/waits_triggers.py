# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Triggers of `waits.py`, which run in its triggerer: any trigger with a note of when it starts and fires."""

from __future__ import annotations

import asyncio
import json
import os
import struct
import time
from collections.abc import AsyncIterator
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import redis.asyncio as redis
from airflow.triggers.base import BaseTrigger, TaskSuccessEvent, TriggerEvent

from batchy_provider.state.keys import EVENTS_CHANNEL

STARTED, FIRED = b"s", b"f"
_NOTE = struct.Struct("<cd")
_files: dict[str, int] = {}


def note(file: str, kind: bytes) -> None:
    """Append what happens now to a file; the clock is the same for all processes of the machine."""
    if file not in _files:
        _files[file] = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(_files[file], _NOTE.pack(kind, time.monotonic()))


def noted(file: Path, kind: bytes) -> list[float]:
    """Return the moments of one kind."""
    content = file.read_bytes() if file.exists() else b""
    whole = content[: len(content) // _NOTE.size * _NOTE.size]
    return [moment for found, moment in _NOTE.iter_unpack(whole) if found == kind]


class Timed(BaseTrigger):
    """Another trigger, timed.

    :param path: its class.
    :param kwargs: its arguments.
    :param notes: the file for `note`.
    """

    def __init__(self, *, path: str, kwargs: dict[str, Any], notes: str) -> None:
        super().__init__()
        self.path = path
        self.inner_kwargs = kwargs
        self.notes = notes

    def serialize(self) -> tuple[str, dict[str, Any]]:
        kwargs = {"path": self.path, "kwargs": self.inner_kwargs, "notes": self.notes}
        return f"{type(self).__module__}.{type(self).__qualname__}", kwargs

    async def run(self) -> AsyncIterator[TriggerEvent]:
        module, _, name = self.path.rpartition(".")
        inner = getattr(import_module(module), name)(**self.inner_kwargs)
        note(self.notes, STARTED)
        async for event in inner.run():
            note(self.notes, FIRED)
            yield event


class Bare(BaseTrigger):
    """Ends when an event names the workflow, and asks nothing: the least that a trigger on Redis can do.

    One subscription for all of them. It takes each event for a success, so it is no wait that one could use.

    :param wait: fields of a `core.waits.Wait`.
    """

    _events: ClassVar[dict[str, asyncio.Event]] = {}
    _task: ClassVar[asyncio.Task[None] | None] = None

    def __init__(self, *, wait: dict[str, Any]) -> None:
        super().__init__()
        self.wait = wait

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return f"{type(self).__module__}.{type(self).__qualname__}", {"wait": self.wait}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        if Bare._task is None:
            Bare._task = asyncio.create_task(self._listen())
        event = self._events.setdefault(self.wait["workflow"], asyncio.Event())
        await event.wait()
        yield TaskSuccessEvent(xcoms={"return_value": 1})

    async def _listen(self) -> None:
        client = redis.Redis.from_url(os.environ["BATCHY_REDIS_URL"])
        async with client, client.pubsub() as pubsub:
            await pubsub.subscribe(EVENTS_CHANNEL)
            async for message in pubsub.listen():
                if message["type"] == "message":
                    workflow = json.loads(message["data"])["workflow"]
                    self._events.setdefault(workflow, asyncio.Event()).set()


class Nothing(BaseTrigger):
    """Waits for nothing, for ever: what Airflow itself needs for a trigger."""

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return f"{type(self).__module__}.{type(self).__qualname__}", {}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        await asyncio.Event().wait()
        yield TriggerEvent(None)
