# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The batches of a night that a server keeps are those that are in Redis now, whatever has changed them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from command_counts import commands
from redis import Redis, ResponseError
from state_worlds import WORKFLOW
from store_calls import CHANGES, request, succeed

from batchy_provider.core.values import Actor, CloseRequest, OpenRequest, WorkflowConfig
from batchy_provider.state import state_cache
from batchy_provider.state.connections import open_client
from batchy_provider.state.key_tracker import KeyTracker
from batchy_provider.state.outline_reader import BatchesInSpan, OutlineReader
from batchy_provider.state.span_outlines import SpanOutlines
from batchy_provider.state.state_cache import StateCache
from batchy_provider.state.store import Store

NAMES = [f"wf_{number}" for number in range(30)]
QUESTION = {"time": 1, "multi": 1, "exec": 1, "watch": 1, "ping": 1}
"""What each answer asks."""
ONE = {"zrevrangebyscore": 3, "zcount": 1, "hmget": 1, "zmscore": 1}
"""What is asked for the batches of one workflow."""

Night = Callable[..., dict[str, BatchesInSpan]]


@pytest.fixture
def store(redis_url: str) -> Store:
    return Store(open_client(redis_url))


@pytest.fixture
def states(redis_url: str) -> Iterator[StateCache]:
    made = StateCache(lambda: Store(open_client(redis_url)))
    yield made
    made.close()


@pytest.fixture
def night(store: Store, states: StateCache) -> Night:
    """Returns the batches of the day, as a server gives them."""
    outlines = SpanOutlines(lambda: states)
    return lambda names, days=1: outlines.read(store.backend, names, *span(store, days))


def span(store: Store, days: int = 1) -> tuple[datetime, datetime]:
    today = store.backend.server_time().replace(hour=0, minute=0, second=0, microsecond=0)
    return today - timedelta(days=days), today + timedelta(days=2)


def now(store: Store, names: list[str], days: int = 1) -> dict[str, BatchesInSpan]:
    """The same, read from Redis by somebody who keeps nothing."""
    return OutlineReader().read(store.backend, names, *span(store, days))


def one_batch(store: Store, name: str, result: Any = "success") -> None:
    batch = store.open(name, OpenRequest(config=WorkflowConfig(name=name, jobs={"extract": {}, "load": {}})))
    store.close(name, CloseRequest(result=result, batch_id=batch.batch_id))


def test_nothing_is_read_again_while_nothing_changes(store: Store, night: Night, redis_client: Redis) -> None:
    for name in NAMES:
        one_batch(store, name)
    first = night(NAMES)
    assert first == now(store, NAMES)
    assert sum(len(each.batches) for each in first.values()) == len(NAMES)
    assert commands(redis_client, lambda: night(NAMES)) == {**QUESTION, "time": 2}  # one for the span of this test
    assert all(each is first[name] for name, each in night(NAMES).items())


@pytest.mark.parametrize("opener", ["this package", "the original server"])
def test_a_batch_that_ends_again_after_an_older_backup_is_read_again(
    store: Store, night: Night, redis_client: Redis, opener: str
) -> None:
    """Its id is the same, and perhaps its record: a batch of the original server has none."""

    def close(outcome: str) -> None:
        if opener == "this package":
            store.close(WORKFLOW, CloseRequest(result="failed"))
            return
        status = {"failed": "failure"}.get(outcome, outcome)
        for job, text in redis_client.hgetall(WORKFLOW).items():
            fields = json.loads(text) | {"status": status, "batch_end": store.backend.server_time().isoformat()}
            for key in (WORKFLOW, f"{WORKFLOW}-{fields['batch_id']}"):
                redis_client.hset(key, job, json.dumps(fields))

    succeed(store, "first")
    store.open(WORKFLOW, request("second"))
    if opener != "this package":
        (batch, *_) = store.history(WORKFLOW)
        redis_client.hdel(f"{WORKFLOW}:meta", f"batch:{batch.batch_id}", "owner")
    backup = {key: redis_client.dump(key) for key in redis_client.scan_iter()}
    close("failed")
    assert night([WORKFLOW]) == now(store, [WORKFLOW])
    redis_client.flushdb()
    for key, value in backup.items():
        redis_client.restore(key, 0, value or b"")
    close("success")
    found = night([WORKFLOW])
    assert len(found[WORKFLOW].batches) == 2
    assert found == now(store, [WORKFLOW])


def test_after_one_change_one_workflow_is_read(store: Store, night: Night, redis_client: Redis) -> None:
    for name in NAMES:
        one_batch(store, name)
    before = night(NAMES)
    one_batch(store, "wf_7")
    after: dict[str, Any] = {}
    asked = commands(redis_client, lambda: after.update(night(NAMES)))
    # Its state, its list of batches, and the jobs of the new batch.
    assert asked == {**QUESTION, **ONE, "time": 2, "hgetall": 3, "hmget": 2, "zscore": 1}
    assert [name for name in NAMES if after[name] is not before[name]] == ["wf_7"]
    assert after == now(store, NAMES)


@pytest.mark.parametrize("change", [*CHANGES, "failure", "note", "prune", "a list that another program changes"])
def test_each_change_is_seen_at_once(store: Store, night: Night, redis_client: Redis, change: str) -> None:
    def note(store: Store) -> None:
        (batch, *_) = store.history(WORKFLOW)
        store.note(WORKFLOW, batch.batch_id, "the source was late", by=Actor("ops"))

    more: dict[str, Callable[[Store], Any]] = {
        "failure": lambda store: one_batch(store, WORKFLOW, "failed"),
        "note": note,
        "prune": lambda store: store.prune(WORKFLOW, keep=1),
        "a list that another program changes": lambda store: redis_client.zremrangebyrank(f"{WORKFLOW}:history", 0, 0),
    }
    succeed(store, "first")
    succeed(store, "second")
    if change in ("close", "skip_job"):
        store.open(WORKFLOW, request("third"))
    for days in (1, 2):
        assert night([WORKFLOW], days) == now(store, [WORKFLOW], days)
    ({**CHANGES, **more}[change])(store)
    for days in (1, 2):
        assert night([WORKFLOW], days) == now(store, [WORKFLOW], days)


def test_what_jobs_of_an_open_batch_do_is_seen(store: Store, night: Night, redis_client: Redis) -> None:
    batch = store.open(WORKFLOW, request("first", jobs={"extract": {}, "load": {}})).batch_id
    before = night([WORKFLOW])
    assert before == now(store, [WORKFLOW])
    redis_client.hset(f"{WORKFLOW}-{batch}", "extract", f'{{"status": "failed", "batch_id": {batch}}}')
    assert night([WORKFLOW]) == now(store, [WORKFLOW]) != before


def test_an_error_of_the_server_passes(store: Store, night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that loads its data answers each command with an error, and then tells of no change."""
    one_batch(store, WORKFLOW)
    ask = KeyTracker.ask

    def loading(self: KeyTracker, commands: Any) -> list[Any]:
        error = ResponseError("LOADING Redis is loading the dataset in memory")
        is_list = [command[0] in ("ZCOUNT", "ZREVRANGEBYSCORE") for command in commands]
        return [error if bad else reply for bad, reply in zip(is_list, ask(self, commands), strict=True)]

    with monkeypatch.context() as during:
        during.setattr(KeyTracker, "ask", loading)
        assert not night([WORKFLOW])[WORKFLOW].batches
    assert night([WORKFLOW]) == now(store, [WORKFLOW])
    assert len(night([WORKFLOW])[WORKFLOW].batches) == 1


@pytest.mark.parametrize("moment", ["before the states", "before the batches"])
def test_a_lost_connection_loses_no_change(
    store: Store, states: StateCache, night: Night, monkeypatch: pytest.MonkeyPatch, redis_client: Redis, moment: str
) -> None:
    monkeypatch.setattr(state_cache, "_PAUSE_SECONDS", 0.0)

    def cut() -> None:
        for each in redis_client.client_list():
            if each["name"] == "batchy-tracking":
                redis_client.client_kill_filter(_id=each["id"])

    one_batch(store, WORKFLOW)
    assert night([WORKFLOW]) == now(store, [WORKFLOW])
    one_batch(store, WORKFLOW)
    if moment == "before the states":
        cut()
    else:
        versions = states.versions
        monkeypatch.setattr(states, "versions", lambda names: (versions(names), cut())[0])
    for _ in range(3):
        assert night([WORKFLOW]) == now(store, [WORKFLOW])
        one_batch(store, WORKFLOW)


def test_a_change_while_the_batches_are_read_is_seen_next(
    store: Store, states: StateCache, night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_batch(store, WORKFLOW)
    ask = states.ask

    def changing(asked: Any) -> list[Any]:
        replies = ask(asked)
        one_batch(store, WORKFLOW)
        return replies

    with monkeypatch.context() as during:
        during.setattr(states, "ask", changing)
        night([WORKFLOW])
    assert night([WORKFLOW]) == now(store, [WORKFLOW])


def test_many_spans_are_not_all_kept(store: Store, states: StateCache, redis_client: Redis) -> None:
    outlines = SpanOutlines(lambda: states)
    one_batch(store, WORKFLOW)
    spans = [span(store, days) for days in range(1, 13)]
    for each in spans:
        outlines.read(store.backend, [WORKFLOW], *each)
    assert commands(redis_client, lambda: outlines.read(store.backend, [WORKFLOW], *spans[-1])) == QUESTION
    assert commands(redis_client, lambda: outlines.read(store.backend, [WORKFLOW], *spans[0])) == {**QUESTION, **ONE}
