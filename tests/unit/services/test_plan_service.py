# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The plan of a real Valkey and real files: how often runs fail, pools of files, and what a server keeps."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from loaded_nights import ANN
from why_nights import run, write

from batchy_provider.core.values import CloseRequest, OpenRequest
from batchy_provider.exceptions import UnknownWorkflowError
from batchy_provider.local.rest import wait_for
from batchy_provider.plan.airflow_facts import AirflowFacts, PoolFacts
from batchy_provider.services.composition import Services
from batchy_provider.services.plan_answers import ExpectedRunView
from batchy_provider.state.backend import Backend
from batchy_provider.state.connections import open_client
from batchy_provider.state.store import Store

HOURLY = "0 * * * *"


def past(services: Services, name: str, *, seconds: float = 600.0, runs: int = 5) -> None:
    """Let the job of a workflow have taken so long, in so many runs."""
    for _ in range(runs):
        batch = services.store.open(name, OpenRequest(config=services.workflows.config(name)))
        request = CloseRequest(result="success", batch_id=batch.batch_id, seconds={"load": seconds})
        services.store.close(name, request)


def next_run(services: Services, name: str) -> ExpectedRunView:
    return next(run for run in services.plan.of([name]) if run.state == "expected")


def minutes(run: ExpectedRunView) -> float:
    assert run.due is not None
    assert run.end_p50 is not None
    return (datetime.fromisoformat(run.end_p50) - datetime.fromisoformat(run.due)) / timedelta(minutes=1)


def test_the_chance_of_a_failure_comes_from_the_latest_batches(services: Services, cfg: Path) -> None:
    deadline = {"within": "59m", "notify": ["my.Notifier"]}
    write(cfg, "erp", schedule=HOURLY, deadline=deadline)
    write(cfg, "sales", schedule=HOURLY, deadline=deadline, wait_for={"workflow": "erp", "scope": "due"})
    for name in ("erp", "sales"):
        past(services, name, runs=6)
    assert next_run(services, "erp").miss_probability == 0.0
    for _ in range(2):
        run(services, "erp", "failed")
    past(services, "erp", runs=2)
    assert next_run(services, "erp").miss_probability == 0.2, "2 of 10 batches have failed"
    # A next run of erp may come in time only after the deadline.
    assert next_run(services, "sales").miss_probability == pytest.approx(0.2, abs=0.01)


@pytest.fixture
def server(redis_url: str, cfg: Path) -> Iterator[Services]:
    """Services of a server, with an Airflow that has one pool of one slot."""

    def airflow(dag_ids: Collection[str]) -> AirflowFacts:
        return AirflowFacts(pools={"db": PoolFacts(1, 0)})

    services = Services(store=lambda: Store(open_client(redis_url)), cfg=cfg, airflow=airflow, is_server=True)
    yield services
    services.close()


def test_the_pool_of_a_job_is_that_of_the_file_or_of_its_defaults(server: Services, cfg: Path) -> None:
    write(cfg, "erp", schedule=HOURLY, jobs={"load": {"bash": "true", "pool": "db"}})
    write(cfg, "sales", schedule=HOURLY, defaults={"pool": "db"})
    write(cfg, "crm", schedule=HOURLY)
    for name in ("erp", "sales", "crm"):
        past(server, name)
    found = sorted(minutes(next_run(server, name)) for name in ("erp", "sales", "crm"))
    assert found == pytest.approx([10, 10, 20], abs=1)
    (alone,) = [run for run in server.plan.of(["sales"]) if run.due == next_run(server, "erp").due]
    assert minutes(alone) + minutes(next_run(server, "erp")) == pytest.approx(30, abs=1), "also if asked for alone"


def test_many_workflows_take_as_many_round_trips_as_one(
    services: Services, cfg: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trips: list[int] = []
    for method in ("pipelined", "transact", "server_time"):
        real = getattr(Backend, method)

        def count(self: Backend, *arguments: Any, _real: Any = real, **more: Any) -> Any:
            trips.append(1)
            return _real(self, *arguments, **more)

        monkeypatch.setattr(Backend, method, count)

    def first_and_next(number: int) -> tuple[int, int]:
        names = [f"w{number}_{each}" for each in range(number)]
        for name in names:
            write(cfg, name, schedule=HOURLY)
            past(services, name, runs=3)
        counts = []
        for _ in range(2):
            trips.clear()
            assert len(services.plan.of(names, hours=1)) >= number
            counts.append(len(trips))
        return counts[0], counts[1]

    one = first_and_next(1)
    assert first_and_next(20) == one
    assert one[0] - one[1] == 2, "the past runs are read once, in two requests"


# -- what a server keeps ---------------------------------------------------------------------------------------


class Counted:
    """Counts how often the facts of a plan are read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from batchy_provider.services import plan_answers

        self.times = 0
        real = plan_answers.simulate

        def simulate(*arguments: Any, **more: Any) -> Any:
            self.times += 1
            return real(*arguments, **more)

        monkeypatch.setattr(plan_answers, "simulate", simulate)


def listening(server: Services) -> None:
    """Wait until the events arrive that end a plan."""
    server.plan.all()
    wait_for(lambda: server.events.is_live, "the events arrive", timeout=60)


def kept_forever(server: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep plans until an event: the clock does not end them."""
    monkeypatch.setattr(server.plan._cache, "_max_seconds", float("inf"))


def test_a_plan_is_kept_until_something_happens(server: Services, cfg: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(cfg, "erp", schedule=HOURLY)
    past(server, "erp")
    listening(server)
    kept_forever(server, monkeypatch)
    counted = Counted(monkeypatch)
    server.plan.all()
    before = counted.times
    assert server.plan.all() == server.plan.of(["erp"])
    assert counted.times == before
    with pytest.raises(UnknownWorkflowError):
        server.plan.of(["erpp"])
    write(cfg, "crm", schedule=HOURLY)
    assert {run.workflow for run in server.plan.all()} == {"crm", "erp"}, "a new file counts at once"


def test_another_server_sees_what_one_has_changed(
    server: Services, redis_url: str, cfg: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(cfg, "erp", schedule=HOURLY)
    past(server, "erp")
    other = Services(store=lambda: Store(open_client(redis_url)), cfg=cfg, is_server=True)
    try:
        for each in (server, other):
            listening(each)
            kept_forever(each, monkeypatch)
            assert {run.state for run in each.plan.all()} == {"expected"}
        batch = server.batches.open("erp", actor=ANN)
        for each in (server, other):
            wait_for(lambda each=each: "running" in {run.state for run in each.plan.all()}, "it runs", timeout=60)
        # A history batch changes nothing of the live state, but how long the job takes.
        other.batches.close("erp", result="success", actor=ANN, batch_id=batch.batch_id)
        for each in (server, other):
            wait_for(lambda each=each: {run.state for run in each.plan.all()} == {"expected"}, "it ended", timeout=60)
    finally:
        other.close()


def test_what_was_changed_while_no_events_arrived_is_seen(
    server: Services, redis_url: str, cfg: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(cfg, "erp", schedule=HOURLY)
    past(server, "erp")
    listening(server)
    kept_forever(server, monkeypatch)
    server.plan.all()
    client = open_client(redis_url)
    # The event of this opening goes to a subscription that is gone.
    client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    server.store.open("erp", OpenRequest())
    wait_for(lambda: "running" in {run.state for run in server.plan.all()}, "it runs", timeout=60)
    client.close()


def test_without_events_nothing_is_kept(services: Services, cfg: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(cfg, "erp", schedule=HOURLY)
    past(services, "erp")
    counted = Counted(monkeypatch)
    services.plan.all()
    services.plan.all()
    assert counted.times == 2
