# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""One thing for many workflows by REST: Airflow's own API with the rights of the caller, and what runs again."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from airflow.models.dag import DagModel
from airflow.models.dagbundle import DagBundleModel
from airflow.models.log import Log
from airflow.utils.session import create_session
from api_server import Api
from sqlalchemy import delete, select

from batchy_provider.plugin.airflow_api import tasks_to_clear

DAGS = ("bulk_one", "bulk_two")


@pytest.fixture
def dags(api: Api) -> Iterator[None]:
    """Two workflows with DAGs, the second one paused."""
    for name in DAGS:
        (api.cfg / f"{name}.yaml").write_text('jobs: {load: {bash: "true"}}\n')
    with create_session() as session:
        session.merge(DagBundleModel(name="dags-folder"))
        session.flush()
        for name in DAGS:
            session.merge(
                DagModel(
                    dag_id=name,
                    is_paused=name == "bulk_two",
                    bundle_name="dags-folder",
                    is_stale=False,
                    fileloc="x.py",
                    relative_fileloc="x.py",
                    max_active_tasks=1,
                    max_active_runs=1,
                    max_consecutive_failed_dag_runs=0,
                    has_task_concurrency_limits=False,
                )
            )
    yield
    with create_session() as session:
        session.execute(delete(DagModel).where(DagModel.dag_id.in_(DAGS)))
        session.execute(delete(Log).where(Log.dag_id.in_(DAGS)))


def post(client: httpx.Client, action: str, *workflows: str) -> httpx.Response:
    return client.post("/api/v1/bulk", json={"action": action, "workflows": [*workflows], "why": "maintenance"})


def outcomes(answer: httpx.Response) -> dict[str, tuple[str, str]]:
    assert answer.status_code == 200, answer.text
    return {each["workflow"]: (each["result"], each["code"]) for each in answer.json()["results"]}


def paused() -> dict[str, bool]:
    with create_session() as session:
        rows = session.execute(select(DagModel.dag_id, DagModel.is_paused).where(DagModel.dag_id.in_(DAGS)))
        return {name: bool(value) for name, value in rows}


@pytest.mark.usefixtures("dags")
@pytest.mark.parametrize("cookie", [False, True])
def test_pause_asks_airflow_for_each_and_is_audited(api: Api, cookie: bool) -> None:
    client = api.client(cookie=cookie)
    if cookie:
        client.headers["X-Batchy-Request"] = "1"
    assert outcomes(post(client, "pause", *DAGS, "nothing")) == {
        "bulk_one": ("done", "paused"),
        "bulk_two": ("already", "paused"),
        "nothing": ("refused", "unknown_dag"),
    }
    assert paused() == {"bulk_one": True, "bulk_two": True}
    with create_session() as session:
        rows = session.execute(select(Log.dag_id, Log.owner, Log.extra).where(Log.event == "batchy_pause")).all()
        assert [(dag_id, owner) for dag_id, owner, _ in rows] == [("bulk_one", "admin-ann")]
        assert "maintenance" in str(rows[0][2])
    assert outcomes(post(client, "unpause", *DAGS)) == dict.fromkeys(DAGS, ("done", "unpaused"))
    assert paused() == {"bulk_one": False, "bulk_two": False}


@pytest.mark.usefixtures("dags")
def test_the_right_is_checked_for_each_workflow(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    from batchy_provider.plugin.security import Caller

    assert post(api.client("viewer"), "pause", *DAGS).status_code == 403
    may = Caller.may
    monkeypatch.setattr(
        Caller,
        "may",
        lambda self, method, name, entity=None, **_: (
            may(self, method, name, entity) and (method != "PUT" or name == "bulk_one")
        ),
    )
    answer = post(api.client(), "pause", "bulk_two", "bulk_one")
    assert outcomes(answer) == {"bulk_two": ("refused", "forbidden"), "bulk_one": ("done", "paused")}
    assert "may not edit the DAG 'bulk_two'" in answer.json()["results"][0]["text"]
    assert post(api.client(), "pause", "bulk_two").status_code == 403


@pytest.mark.usefixtures("dags")
def test_airflow_has_the_last_word(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    from batchy_provider.plugin.security import Caller

    monkeypatch.setattr(Caller, "may", lambda self, method, name, entity=None, **_: True)
    answer = post(api.client("viewer"), "pause", "bulk_one")
    assert outcomes(answer) == {"bulk_one": ("refused", "forbidden")}
    assert "Airflow refuses it (403)" in answer.json()["results"][0]["text"]
    assert paused()["bulk_one"] is False


def test_a_page_of_another_site_changes_nothing(api: Api) -> None:
    assert post(api.client(cookie=True), "pause", "sales").status_code == 403


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"action": "pause"},
        {"action": "pause", "workflows": []},
        {"action": "drop", "workflows": ["sales"]},
        {"action": "pause", "workflows": ["sales"] * 201},
        {"action": "pause", "workflows": ["a b"]},
        {"action": "pause", "workflows": ["sales"], "more": 1},
        {"action": "run_again", "workflows": ["sales"], "batches": {"sales": -1}},
    ],
)
def test_a_request_that_cannot_be_meant_is_refused(api: Api, body: dict[str, object]) -> None:
    assert api.client().post("/api/v1/bulk", json=body).status_code == 422


def test_only_a_batch_of_a_run_runs_again(api: Api) -> None:
    client = api.client()
    batch = client.post("/api/v1/workflows/sales/batches").json()["batch"]["batch_id"]
    path = f"/api/v1/workflows/sales/batches/{batch}"
    client.post(f"{path}/fail", json={"why": "bad file"})
    answer = client.post(f"{path}/rerun")
    assert (answer.status_code, answer.json()["code"]) == (409, "no_run")
    assert client.post("/api/v1/workflows/sales/batches/1/rerun").json()["code"] == "unknown_batch"
    assert outcomes(post(client, "run_again", "sales")) == {"sales": ("refused", "no_run")}


def test_enable_by_rest(api: Api) -> None:
    client = api.client()
    client.post("/api/v1/workflows/sales/load")
    client.post("/api/v1/workflows/sales/jobs/load/disable")
    assert outcomes(post(client, "enable", "sales")) == {"sales": ("done", "enabled")}
    assert outcomes(post(client, "enable", "sales")) == {"sales": ("already", "enabled")}


def task(task_id: str, *after: str, operator: str = "BashOperator") -> dict[str, object]:
    return {"task_id": task_id, "downstream_task_ids": [*after], "operator_name": operator}


TASKS = [
    task("open", "extract", "report", operator="BatchyOpenOperator"),
    task("extract", "load"),
    task("load", "close"),
    task("report", "close"),
    task("close", operator="BatchyCloseOperator"),
]


def ended(**states: str) -> list[dict[str, object]]:
    return [{"task_id": name, "state": state, "map_index": -1} for name, state in states.items()]


def test_what_failed_and_what_follows_it_runs_again() -> None:
    found = tasks_to_clear(ended(open="success", extract="failed", load="upstream_failed", report="success"), TASKS)
    assert set(found) == {"open", "close", "extract", "load"}
    found = tasks_to_clear(ended(open="success", extract="success", load="failed", report="success"), TASKS)
    assert set(found) == {"open", "close", "load"}
    assert tasks_to_clear(ended(open="success", extract="success"), TASKS) == []


def test_of_a_mapped_task_only_the_failed_instances_run_again() -> None:
    instances = [
        {"task_id": "load", "state": "failed" if index == 2 else "success", "map_index": index} for index in (1, 2)
    ]
    assert set(tasks_to_clear(instances, TASKS)) == {"open", "close", ("load", 2)}
    # It follows another failed task, so all of its instances run again.
    assert set(tasks_to_clear([*instances, *ended(extract="failed")], TASKS)) == {"open", "close", "extract", "load"}
