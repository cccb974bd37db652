# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The demo's invented history: what it shows, that it is marked, made once, and the same for the same day."""

from __future__ import annotations

import ast
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
import redis

from batchy_provider.bundles.result_store import ResultStore
from batchy_provider.cli.demo_nights import DemoNights
from batchy_provider.cli.demo_workflows import examples_folder
from batchy_provider.local.demo_history import BY, WHY, make_demo_history
from batchy_provider.local.demo_stories import STORIES
from batchy_provider.local.process import StackError
from batchy_provider.services.batch_history import HistoryQuery
from batchy_provider.services.composition import Services
from batchy_provider.state.store import Store

if TYPE_CHECKING:
    from batchy_provider.local.stack import LocalStack

ROOT = Path(__file__).parents[3]
NOW = datetime(2026, 11, 29, 14)
CFG = examples_folder()


@pytest.fixture
def made(redis_url: str, redis_client: redis.Redis, tmp_path: Path) -> Services:
    """Return the services of a Redis with the history, as of now in the story."""
    names = make_demo_history(redis_url, CFG, tmp_path / "results", now=NOW)
    assert names == list(STORIES)
    store = Store(redis_client, clock=lambda seconds, micros: NOW)
    return Services(store=lambda: store, cfg=CFG, results=lambda: ResultStore(str(tmp_path / "results")))


def all_batches(services: Services) -> list[tuple[str, int, str | None, str | None]]:
    found = services.history.find(HistoryQuery(), limit=500)
    assert found.next is None
    return [(row.workflow, row.batch_id, row.started, row.batch_end) for row in found.rows]


@pytest.mark.slow
def test_the_page_has_something_to_show(made: Services, redis_url: str, tmp_path: Path) -> None:
    batches = [each for name in STORIES for each in made.batches.history(name, limit=100).items]
    assert 300 < len(batches) < 360
    assert {each.by for each in batches} == {BY}, "each batch says that it is invented"
    assert {each.why for each in batches} == {WHY}
    failed = [each for each in batches if each.status == "failed"]
    assert {each.workflow for each in failed} == {"demo_bank", "demo_orders", "demo_stock"}
    assert any(note.ack for each in failed for note in each.notes)
    assert any(not note.ack for each in failed for note in each.notes)
    longest = max(
        datetime.fromisoformat(each.to_date) - datetime.fromisoformat(each.from_date)
        for each in batches
        if each.workflow == "demo_orders" and each.from_date and each.to_date
    )
    assert longest > timedelta(days=4), "the outage is caught up by one long window"
    assert {gap.workflow for gap in made.gaps.all()[0]} == {"demo_stock"}
    assert made.workflows.get("demo_mail").summary.hold is not None
    why = made.why.of("demo_stock", sees_output=lambda name: True)
    assert why.code == "failed"
    assert "No space left on device" in why.text
    plan = {(each.workflow, each.due): each for each in made.plan.of(list(STORIES), hours=24)}
    chances = [each.miss_probability for each in plan.values() if each.workflow == "demo_ledger"]
    assert any(chance is not None and 0 < chance < 1 for chance in chances)
    assert [each.workflow for each in made.why.impact("demo_orders").downstream] == [
        "demo_ledger",
        "demo_mail",
        "demo_report",
    ]
    before = all_batches(made)
    assert make_demo_history(redis_url, CFG, tmp_path / "results", now=NOW + timedelta(days=1)) == []
    assert all_batches(made) == before, "a second demo doubles nothing"


@pytest.mark.slow
def test_the_same_day_has_the_same_history(made: Services, redis_url: str, redis_client: redis.Redis) -> None:
    before = all_batches(made)
    redis_client.flushdb()
    make_demo_history(redis_url, CFG, now=NOW)
    assert all_batches(made) == before


def test_a_night_that_is_not_over_has_no_batch(redis_url: str, redis_client: redis.Redis, tmp_path: Path) -> None:
    (tmp_path / "demo_report.yaml").write_text((CFG / "demo_bank.yaml").read_text())
    early = datetime(2026, 11, 29, 3, 1)  # 04:01 in Paris: the report of this night has just begun
    assert make_demo_history(redis_url, tmp_path, now=early) == ["demo_report"]
    store = Store(redis_client)
    newest = store.history("demo_report", limit=1)[0]
    assert newest.started is not None
    assert newest.started < "2026-11-29"


def test_a_folder_without_these_workflows_gets_no_history(redis_url: str, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("{schedule: null, jobs: {a: {bash: 'true'}}}")
    assert make_demo_history(redis_url, tmp_path, now=NOW) == []


def test_only_the_demo_can_invent_a_history() -> None:
    importers = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "batchy_provider").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module == "batchy_provider.local.demo_history"
    }
    assert importers == {"batchy_provider/cli/demo_nights.py"}


class Unpausing:
    """The client of an Airflow that does not know one of the DAGs yet."""

    def __init__(self) -> None:
        self.unpaused: list[str] = []

    def unpause(self, dag_id: str) -> None:
        if dag_id == "demo_bank":
            raise StackError("answered 404")
        self.unpaused.append(dag_id)


def demo_nights(redis_url: str, cfg: Path, folder: Path, client: Unpausing, said: list[str]) -> DemoNights:
    stack = SimpleNamespace(
        redis_url=redis_url, cfg=cfg, folder=folder, topology=SimpleNamespace(own_disks=False), client=client
    )
    return DemoNights(lambda: cast("LocalStack", stack), said.append)


def test_a_demo_says_what_is_invented_and_lets_it_go_on(redis_url: str, tmp_path: Path) -> None:
    cfg = tmp_path / "cfg"
    cfg.mkdir()
    (cfg / "demo_report.yaml").write_text((CFG / "demo_bank.yaml").read_text())
    said: list[str] = []
    airflow = Unpausing()
    for _ in range(2):
        nights = demo_nights(redis_url, cfg, tmp_path, airflow, said)
        nights.begin()
        nights.finish()
    assert len(said) == 1, "the second demo invents nothing, and says nothing"
    assert "60 invented nights of demo_report" in said[0]
    nights.go_on()
    assert airflow.unpaused == [name for name in STORIES if name != "demo_bank"]


def test_a_demo_without_its_history_runs_all_the_same(redis_url: str, tmp_path: Path) -> None:
    (tmp_path / "demo_report.yaml").write_text("jobs: [")
    said: list[str] = []
    nights = demo_nights(redis_url, tmp_path, tmp_path, Unpausing(), said)
    nights.begin()
    nights.finish()
    assert len(said) == 1
    assert "the demo history cannot be made" in said[0]
