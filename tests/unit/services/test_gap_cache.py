# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A server that keeps gaps gives the same answers as a program that reads each ledger now."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from command_counts import commands
from loaded_nights import ANN, load, with_gap
from redis import Redis
from redis.exceptions import ResponseError

from batchy_provider.core.values import WorkflowConfig
from batchy_provider.exceptions import BatchyError
from batchy_provider.services.composition import Services
from batchy_provider.state.connections import open_client
from batchy_provider.state.key_tracker import KeyTracker
from batchy_provider.state.store import Store

CONFIGS = [WorkflowConfig(name=name, jobs={"extract": {}, "load": {}}) for name in ("sales", "crm", "erp")]
NAMES = [config.name for config in CONFIGS]
QUESTION = {"time": 1, "multi": 1, "exec": 1, "watch": 1, "ping": 1}
"""What a server asks to learn that nothing has changed."""


@pytest.fixture
def server(redis_url: str, cfg: Path) -> Iterator[Services]:
    """A process that goes on running, as the API server does."""
    server = Services(store=lambda: Store(open_client(redis_url)), cfg=cfg, is_server=True)
    yield server
    server.close()


def answers(services: Services) -> Any:
    for name in NAMES:
        services.names.add(name)
    found, unreadable = services.gaps.all()
    return found, unreadable, services.gaps.merged(), services.gaps.totals(NAMES)


def foreign(name: str) -> Callable[[Redis], object]:
    """Write the live state as the original server does, which knows no ledger."""
    text = '{"status": "success", "batch_id": 9, "from_date": "2026-11-20T00:00:00", "to_date": "2026-11-21T00:00:00"}'
    return lambda client: client.hset(name, mapping={"extract": text, "load": text})


def one_change(services: Services, client: Redis, chance: random.Random) -> None:
    config = chance.choice(CONFIGS)
    name, first = config.name, chance.randint(1, 20)
    changes: list[Callable[[], object]] = [
        *[lambda: load(services, first, first + 2, config=config)] * 3,
        *[lambda: load(services, first, first + 1, config=config, live=False)] * 3,
        lambda: services.workflows.switch(name, "load", enabled=chance.random() < 0.5, actor=ANN),
        lambda: services.store.prune(name, keep=1),
        lambda: foreign(name)(client),
        lambda: client.hset(f"{name}:loaded", "load", chance.choice(["[[1]]", "[]", "no JSON"])),
        lambda: client.hdel(f"{name}:loaded", "load"),
        lambda: client.delete(name),
        lambda: client.swapdb(0, 1),
        lambda: client.flushdb(),
    ]
    with suppress(BatchyError):  # some changes are refused, such as one of a workflow that is not there
        chance.choice(changes)()


@pytest.mark.parametrize("seed", range(8))
def test_after_each_change_it_knows_what_a_new_process_reads(
    services: Services, server: Services, redis_client: Redis, seed: int
) -> None:
    chance = random.Random(seed)
    for config in CONFIGS:
        with_gap(services, config)
    seen = set()
    for _ in range(30):
        one_change(services, redis_client, chance)
        now = answers(services)
        assert answers(server) == now
        seen.add(str(now))
    assert len(seen) > 4  # the changes do change the answers


def test_nothing_is_read_again_while_nothing_changes(services: Services, server: Services, redis_client: Redis) -> None:
    for config in CONFIGS:
        with_gap(services, config)
    answers(server)
    for ask in (server.gaps.all, server.gaps.merged, lambda: server.gaps.totals(NAMES)):
        assert commands(redis_client, ask) == QUESTION
    load(services, 3, 4, live=False)
    asked = commands(redis_client, server.gaps.merged)
    # The state of one workflow, and what its ledger is made of.
    assert asked["hgetall"] <= 5
    assert [gap.from_date[:10] for gap in server.gaps.merged() if gap.workflow == "sales"] == ["2026-11-04"]


def test_an_error_of_the_server_passes(services: Services, server: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that loads its data answers each command with an error, and then tells of no change."""
    with_gap(services)
    ask = KeyTracker.ask

    def loading(self: KeyTracker, asked: Any) -> list[Any]:
        error = ResponseError("LOADING Redis is loading the dataset in memory")
        return [
            error if str(command[1]).endswith(":loaded") else reply
            for command, reply in zip(asked, ask(self, asked), strict=True)
        ]

    with monkeypatch.context() as during:
        during.setattr(KeyTracker, "ask", loading)
        assert "LOADING" in answers(server)[1][0].reason
    assert answers(server) == answers(services)
    assert answers(server)[0]


def test_workflows_that_are_gone_are_forgotten(services: Services, server: Services) -> None:
    for number in range(9):
        with_gap(services, WorkflowConfig(name=f"wf_{number}", jobs={"only": {}}))
    assert len(server.gaps.merged()) == 9
    for number in range(8):
        server.names.remove(f"wf_{number}")
    assert len(server.gaps.merged()) == 1
    assert len(server.gaps._cache._known) <= 2  # it forgets many at once
