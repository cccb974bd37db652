# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Gaps by REST: who sees them, who may load them, and what is recorded."""

from __future__ import annotations

import pytest
from api_server import Api
from fake_dag_runs import FakeDagRuns

from batchy_provider.plugin import airflow_services


@pytest.fixture
def airflow(api: Api, monkeypatch: pytest.MonkeyPatch) -> FakeDagRuns:
    """The runs that the server sees."""
    runs = FakeDagRuns()
    monkeypatch.setattr(airflow_services, "AirflowDagRuns", lambda: runs)
    airflow_services.get_services().close()
    airflow_services.reset_services()
    return runs


@pytest.fixture
def gap(api: Api) -> None:
    """Load 1, 2 and 6 November of ``sales``."""
    client = api.client()
    for start, end in (("2026-11-01", "2026-11-03"), ("2026-11-06", "2026-11-07")):
        body = {"from_date": start, "to_date": end, "move_watermark": True}
        batch = client.post("/api/v1/workflows/sales/batches", json=body).json()["batch"]["batch_id"]
        assert client.post(f"/api/v1/workflows/sales/batches/{batch}/close").status_code == 200


GAP = {"from_date": "2026-11-03T00:00:00.000000", "to_date": "2026-11-06T00:00:00.000000"}
EACH = [{"workflow": "sales", "job": job, **GAP} for job in ("extract", "load")]


@pytest.mark.usefixtures("gap")
def test_gaps_of_one_workflow_and_of_all(api: Api) -> None:
    client = api.client("viewer")
    assert client.get("/api/v1/workflows/sales/gaps").json() == EACH
    assert client.get("/api/v1/gaps").json() == EACH
    assert client.get("/api/v1/workflows/nobody/gaps").json()["code"] == "unknown_workflow"


@pytest.mark.usefixtures("gap")
def test_workflows_that_the_caller_may_not_read_are_left_out(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    from batchy_provider.plugin.security import Caller

    monkeypatch.setattr(Caller, "may", lambda self, method, workflow, entity=None, **_: workflow != "sales")
    client = api.client()
    assert client.get("/api/v1/gaps").json() == []
    assert client.get("/api/v1/overview-gaps").json() == {"items": []}
    assert client.get("/api/v1/workflows/sales/gaps").status_code == 403


@pytest.mark.usefixtures("gap")
def test_the_overview_says_what_the_caller_may_do(api: Api) -> None:
    (item,) = api.client().get("/api/v1/overview-gaps").json()["items"]
    gap = {"workflow": "sales", **GAP, "jobs": ["extract", "load"], "disabled": False}
    # Airflow has no DAG of it, so that nobody can load the gap.
    assert item == {"gap": gap, "may_fill": False, "paused": None}


@pytest.mark.usefixtures("gap")
def test_a_fill_queues_runs_once_and_is_recorded(api: Api, airflow: FakeDagRuns) -> None:
    client = api.client("user")
    answer = client.post("/api/v1/workflows/sales/fill", json={"why": "late files", "every": "36h"})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert [run["run_id"] for run in found["runs"]] == found["created"] == list(airflow.runs)
    assert [run["to_date"][8:13] for run in found["runs"]] == ["04T12", "06T00"]
    again = client.post("/api/v1/workflows/sales/fill").json()
    assert (again["runs"], again["created"]) == (found["runs"], [])
    assert {note["code"] for note in again["notes"]} == {"already_queued"}
    change = client.get("/api/v1/workflows/sales/changes").json()[0]
    assert (change["by"], change["why"], change["source"]) == ("user-ann", "late files", "rest")


@pytest.mark.usefixtures("gap")
def test_a_dry_run_starts_nothing(api: Api, airflow: FakeDagRuns) -> None:
    found = api.client().post("/api/v1/workflows/sales/fill", json={"dry_run": True, "at_most": 1}).json()
    run = {"from_date": "2026-11-03T00:00:00.000000", "to_date": "2026-11-04T00:00:00.000000", "run_id": None}
    assert (found["runs"], airflow.runs) == ([run], {})


@pytest.mark.usefixtures("gap")
@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"every": "0s"}, 422, "invalid_window"),
        ({"every": "soon"}, 422, "invalid_window"),
        ({"from_date": "2026-11-05", "to_date": "2026-11-04"}, 422, "invalid_window"),
        ({"to_date": "2026-11-04"}, 422, "invalid_window"),
        ({"at_most": 0}, 422, "invalid_request"),
        ({"evry": "1d"}, 422, "invalid_request"),
    ],
)
def test_what_cannot_be_loaded_is_refused(
    api: Api, airflow: FakeDagRuns, body: dict[str, object], status: int, code: str
) -> None:
    answer = api.client().post("/api/v1/workflows/sales/fill", json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert airflow.runs == {}


@pytest.mark.usefixtures("gap")
def test_a_workflow_without_a_dag_is_refused_by_airflow_s_own_database(api: Api) -> None:
    answer = api.client().post("/api/v1/workflows/sales/fill", json={})
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_dag")


@pytest.mark.usefixtures("gap")
def test_a_viewer_may_not_fill(api: Api, airflow: FakeDagRuns) -> None:
    assert api.client("viewer").post("/api/v1/workflows/sales/fill", json={}).status_code == 403
    assert airflow.runs == {}


@pytest.mark.usefixtures("gap")
def test_who_may_edit_the_dag_but_not_create_runs_may_not_fill(
    api: Api, airflow: FakeDagRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    from batchy_provider.plugin.security import Caller

    monkeypatch.setattr(Caller, "may", lambda self, method, workflow, entity=None, **_: entity is None)
    answer = api.client().post("/api/v1/workflows/sales/fill", json={})
    assert (answer.status_code, airflow.runs) == (403, {})
    assert api.client().post("/api/v1/workflows/sales/fill", json={"dry_run": True}).status_code == 200
