# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What an overview asks of Redis and of Airflow's database, and that the rows that a server keeps are nobody's."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import pytest
from airflow.models.dag import DagModel
from airflow.models.dagbundle import DagBundleModel
from airflow.utils.session import create_session
from api_server import Api
from command_counts import commands
from redis import Redis
from sqlalchemy import delete, event, update
from sqlalchemy.engine import Engine

from batchy_provider.core.values import CloseRequest, Holder, OpenRequest, WorkflowConfig
from batchy_provider.plugin import airflow_services

NAMES = [f"wf_{number}" for number in range(12)]
QUESTION = {"time", "multi", "exec", "watch", "ping"}
"""What a server asks to learn that nothing has changed."""
FILE = 'schedule: "0 2 * * *"\ntags: [{tag}]\nwait_for: [{other}]\njobs: {{load: {{bash: "true"}}}}\n'


def add(api: Api, names: list[str]) -> None:
    """Write a file of each workflow, and open its first batch; each third one has failed."""
    store = airflow_services.get_services().store
    for number, name in enumerate(names):
        (api.cfg / f"{name}.yaml").write_text(FILE.format(tag=f"of_{name}", other=names[number - 1]))
        config = WorkflowConfig(name=name, jobs={"load": {}})
        batch = store.open(name, OpenRequest(config=config, holder=Holder(by="ops")))
        if number % 3 == 0:
            store.close(name, CloseRequest(result="failed", batch_id=batch.batch_id))


@pytest.fixture
def many(api: Api) -> list[str]:
    add(api, NAMES)
    return NAMES


@pytest.fixture
def dags() -> Iterator[None]:
    """Make Airflow have a DAG of each workflow."""
    with create_session() as session:
        session.merge(DagBundleModel(name="dags-folder"))
        session.flush()
        for name in NAMES:
            row = DagModel(dag_id=name, is_paused=False, is_stale=False, bundle_name="dags-folder")
            row.next_dagrun_create_after = datetime(2026, 11, 24, 1, tzinfo=timezone.utc)
            session.merge(row)
    yield
    with create_session() as session:
        session.execute(delete(DagModel).where(DagModel.dag_id.in_(NAMES)))


def overview(api: Api, query: str = "", role: str = "admin") -> dict[str, Any]:
    answer = api.client(role).get(f"/api/v1/overview?{query}")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def row(api: Api, name: str) -> dict[str, Any]:
    (found,) = (each for each in overview(api)["items"] if each["workflow"] == name)
    return dict(found)


def test_an_overview_reads_nothing_again_while_nothing_changes(api: Api, many: list[str], redis_client: Redis) -> None:
    overview(api)
    asked = commands(redis_client, lambda: overview(api))
    assert asked.keys() == QUESTION
    assert asked.total() <= 15


def test_after_one_event_an_overview_reads_one_workflow(api: Api, many: list[str], redis_client: Redis) -> None:
    overview(api)
    airflow_services.get_services().store.disable("wf_7", "load", by="ops")
    asked = commands(redis_client, lambda: overview(api))
    assert (asked["hgetall"], asked["hmget"], asked["zscore"]) == (2, 1, 1)
    assert row(api, "wf_7")["disabled"] == ["load"]


@pytest.mark.parametrize("publishes", [True, False], ids=["an event", "no event"])
@pytest.mark.parametrize("loses", [True, False], ids=["connections lost", "connected"])
def test_each_change_is_in_the_next_answer(
    api: Api, many: list[str], redis_client: Redis, publishes: bool, loses: bool
) -> None:
    assert row(api, "wf_7")["status"] == "open"
    if loses:
        for each in redis_client.client_list():
            if each["name"].startswith("batchy"):
                redis_client.client_kill_filter(_id=each["id"])
    if publishes:
        airflow_services.get_services().store.close("wf_7", CloseRequest(result="success"))
    else:  # as the original server does
        (text,) = redis_client.hmget("wf_7", "load")
        redis_client.hset("wf_7", "load", json.dumps({**json.loads(text), "status": "failure", "batch_id": 17}))
    assert row(api, "wf_7")["status"] == ("success" if publishes else "failed")


def test_a_flush_and_a_restored_state_are_in_the_next_answer(api: Api, many: list[str], redis_client: Redis) -> None:
    assert row(api, "wf_7")["in_redis"]
    dumped = redis_client.dump("wf_7")
    redis_client.flushall()
    assert not row(api, "wf_7")["in_redis"]
    redis_client.restore("wf_7", 0, dumped)
    assert row(api, "wf_7")["in_redis"]


@pytest.mark.usefixtures("dags")
def test_what_airflow_changes_is_in_the_next_answer(api: Api, many: list[str]) -> None:
    assert (row(api, "wf_7")["paused"], row(api, "wf_7")["problem"]) == (False, None)
    with create_session() as session:
        session.execute(update(DagModel).where(DagModel.dag_id == "wf_7").values(is_paused=True))
    assert (row(api, "wf_7")["paused"], row(api, "wf_7")["next_run"]) == (True, None)
    assert overview(api, "kind=paused")["counts"]["paused"] == 1
    (api.cfg / "wf_7.yaml").write_text("jobs: 3\n")
    assert row(api, "wf_7")["problem"] == "invalid_file"


def test_a_deadline_passes_without_a_change(api: Api, many: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    deadline = "deadline: {within: 1s, notify: [{notifier: airflow.providers.smtp.notifications.smtp.SmtpNotifier}]}\n"
    (api.cfg / "wf_7.yaml").write_text(f'schedule: "0 0 * * *"\n{deadline}jobs: {{load: {{bash: "true"}}}}\n')
    first = row(api, "wf_7")["late_seconds"]
    assert first is not None
    end = time.monotonic() + 60
    while (later := row(api, "wf_7")["late_seconds"]) == first and time.monotonic() < end:
        time.sleep(0.05)
    assert later > first


def test_what_one_user_may_see_is_not_shown_to_another(
    api: Api, many: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.api_fastapi.app import get_auth_manager

    kind = type(get_auth_manager())
    real = kind.is_authorized_dag

    def decide(self: object, **asked: Any) -> bool:
        hidden = asked["user"].get_name() == "viewer-ann" and asked["details"].id == "wf_6"
        return not hidden and bool(real(self, **asked))

    monkeypatch.setattr(kind, "is_authorized_dag", decide)
    for _ in range(2):  # each after the other one
        seen, less = overview(api), overview(api, role="viewer")
        assert [each["workflow"] for each in less["items"]] == sorted({*NAMES, "sales"} - {"wf_6"})
        assert "wf_6" not in json.dumps(less)
        assert (less["total"], less["counts"]["all"], "of_wf_6" in less["tags"]) == (12, 12, False)
        assert (seen["total"], seen["counts"]["all"], seen["tags"]["of_wf_6"]) == (13, 13, 1)
        rows = {each["workflow"]: each for each in seen["items"]}
        assert (rows["wf_7"]["waits_for"], rows["wf_5"]["waited_for_by"]) == (["wf_6"], ["wf_6"])
        assert (len(seen["editable"]), less["editable"]) == (13, [])
        assert overview(api, "search=wf_6", role="viewer")["items"] == []


def test_more_workflows_need_no_more_queries(api: Api, many: list[str]) -> None:
    def counted() -> int:
        found: list[str] = []

        def note(*given: Any) -> None:
            found.append(given[2])

        event.listen(Engine, "before_cursor_execute", note)
        try:
            overview(api, "limit=500")
        finally:
            event.remove(Engine, "before_cursor_execute", note)
        return len(found)

    overview(api)
    few = counted()
    add(api, [f"more_{number}" for number in range(30)])
    overview(api)
    assert counted() == few


def test_a_person_who_gets_the_page_finds_it_read(api: Api, many: list[str], redis_client: Redis) -> None:
    end = time.monotonic() + 60
    assert api.client().get("/static/icon.svg").status_code == 200
    assert api.client().get("/page").status_code == 200
    tracking = "batchy-tracking"
    while time.monotonic() < end and not any(each["name"] == tracking for each in redis_client.client_list()):
        time.sleep(0.05)
    overview(api)  # waits until the reading is done
    assert commands(redis_client, lambda: overview(api)).keys() == QUESTION
