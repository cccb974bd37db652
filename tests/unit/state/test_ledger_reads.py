# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""When the ledger of a workflow with many jobs is read: not by an opening that does not need it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from redis import Redis

from batchy_provider.core.ledger import UNREAD
from batchy_provider.core.values import CloseRequest, Holder, OpenRequest, Window, WorkflowConfig
from batchy_provider.state.protocol import Command
from batchy_provider.state.session import Session
from batchy_provider.state.store import Store

JOBS = [f"job{number}" for number in range(8)]


def config(*jobs: str, **settings: Any) -> WorkflowConfig:
    return WorkflowConfig(name="wf", jobs={job: dict(settings) for job in jobs or JOBS})


@pytest.fixture
def store(redis_client: Redis) -> Store:
    return Store(redis_client)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Command]:
    """All commands that were sent."""
    sent: list[Command] = []
    ask = Session.ask

    def recording(self: Session, *commands: Command) -> list[Any]:
        sent.extend(commands)
        return ask(self, *commands)

    monkeypatch.setattr(Session, "ask", recording)
    return sent


def night(store: Store, **request: Any) -> int:
    batch_id = store.open("wf", OpenRequest(**{"config": config(), **request})).batch_id
    store.close("wf", CloseRequest(result="success", batch_id=batch_id))
    return batch_id


def reads(asked: list[Command]) -> bool:
    return ("HGETALL", "wf:loaded") in asked


def test_an_opening_after_a_success_does_not_read_it(store: Store, asked: list[Command]) -> None:
    night(store)
    asked.clear()
    store.open("wf", OpenRequest(config=config()))
    assert not reads(asked)
    store.close("wf", CloseRequest(result="success"))
    assert reads(asked)
    found = {name: json.loads(text) for name, text in store.backend.client.hgetall("wf:loaded").items()}
    ends = {job["to_date"] for job in store.status("wf").jobs.values()}
    assert {tuple(each) for pairs in found.values() for each in pairs} == {("1776-07-04T23:59:00.000000", *ends)}
    assert len(found) == len(JOBS)


@pytest.mark.parametrize(
    "request_",
    [
        {"config": config(*JOBS, "new")},
        {"holder": Holder(dag_id="wf", run_id="again")},
        {"config": config(initial_date="2026-01-01"), "window": Window(from_date="2026-01-01", to_date="2026-01-02")},
    ],
    ids=["a new job", "a run that has opened a batch before", "one-off"],
)
def test_who_may_need_it_gets_it(store: Store, asked: list[Command], request_: dict[str, Any]) -> None:
    night(store, holder=Holder(dag_id="wf", run_id="again"))
    asked.clear()
    store.open("wf", OpenRequest(**{"config": config(), **request_}))
    assert reads(asked) is ("window" not in request_)


def test_an_opening_after_a_failure_or_beside_the_original_reads_it(store: Store, asked: list[Command]) -> None:
    night(store)
    store.open("wf", OpenRequest(config=config()))
    store.close("wf", CloseRequest(result="failed"))
    asked.clear()
    night(store)
    assert asked.count(("HGETALL", "wf:loaded")) == 2
    job = {"status": "success", "batch_id": 4_000_000_000, "from_date": "2026-01-01", "batch_start": "2026-01-02"}
    store.backend.client.hset("wf", mapping=dict.fromkeys(JOBS, json.dumps(job)))
    asked.clear()
    store.open("wf", OpenRequest(config=config()))
    assert reads(asked)


def test_a_rule_that_asks_for_what_was_not_read_is_wrong() -> None:
    for use in (lambda: UNREAD["a"], lambda: "a" in UNREAD, lambda: UNREAD.get("a"), lambda: len(UNREAD), list):
        with pytest.raises(AssertionError, match="the ledger was not read"):
            use(UNREAD) if use is list else use()
