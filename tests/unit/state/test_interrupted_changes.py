# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Ctrl-C at any point of an opening or closing: no connection with replies left in it is used again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import redis
from redis.connection import AbstractConnection

from batchy_provider.core.values import Batch, CloseRequest, Holder, OpenRequest, WorkflowConfig
from batchy_provider.state.store import Store

CONFIG = WorkflowConfig(name="wf", jobs={f"job{number}": {"param": number % 2} for number in range(6)})


class Interruptions:
    """Raises `KeyboardInterrupt` at one of the points where a client sends or reads."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left: int | None = None
        send, read = AbstractConnection.send_packed_command, AbstractConnection.read_response

        def sending(connection: AbstractConnection, *arguments: Any, **options: Any) -> None:
            self.point()
            send(connection, *arguments, **options)
            self.point()

        def reading(connection: AbstractConnection, *arguments: Any, **options: Any) -> Any:
            self.point()
            reply = read(connection, *arguments, **options)
            self.point()
            return reply

        monkeypatch.setattr(AbstractConnection, "send_packed_command", sending)
        monkeypatch.setattr(AbstractConnection, "read_response", reading)

    def point(self) -> None:
        if self.left is None:
            return
        self.left -= 1
        if self.left < 0:
            self.left = None
            raise KeyboardInterrupt

    def each_of(self, work: Callable[[], object]) -> Iterator[int]:
        """Do some work with an interruption at its first point, at its second one, and so on, until it has no more."""
        for number in range(1000):
            self.left = number
            try:
                work()
            except KeyboardInterrupt:
                yield number
            else:
                self.left = None
                return
        raise AssertionError("the work does not end")


@pytest.fixture
def interruptions(monkeypatch: pytest.MonkeyPatch) -> Interruptions:
    return Interruptions(monkeypatch)


def test_an_interrupted_change_leaves_nothing_to_read_and_is_made_once(
    redis_client: redis.Redis, interruptions: Interruptions
) -> None:
    store, batches = Store(redis_client), list[int]()
    for run in ("first", "second"):
        request = OpenRequest(config=CONFIG, holder=Holder(dag_id="wf", run_id=run))

        def opening(request: OpenRequest = request) -> Batch:
            return store.open("wf", request)

        points = 0
        for points in interruptions.each_of(opening):  # noqa: B007 - the last one counts
            assert_usable(store)
        assert points > 20
        batches.append(opening().batch_id)
        closing = CloseRequest(result="success", batch_id=batches[-1])
        closes = partial(store.close, "wf", closing)
        for points in interruptions.each_of(closes):  # noqa: B007 - the last one counts
            assert_usable(store)
        assert points > 20
        assert [batch.batch_id for batch in store.history("wf")] == batches[::-1]
    assert [len(entries) for entries in store.durations("wf").values()] == [2] * len(CONFIG.jobs)


def assert_usable(store: Store) -> None:
    """Require that the next request on each connection gets its own reply."""
    pool = store.backend.client.connection_pool
    connections = [pool.get_connection() for _ in range(3)]
    for connection in connections:
        pool.release(connection)
    for _ in range(3):
        assert store.backend.ask("wf", ("ECHO", "mine")) == ["mine"]
