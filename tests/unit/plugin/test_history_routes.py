# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The history of all workflows by REST: conditions, pages, what is refused, and who may see what."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from api_server import SALES, Api

from batchy_provider.plugin.security import Caller


@pytest.fixture
def client(api: Api) -> httpx.Client:
    client = api.client()
    for name in ("crm", "sales"):
        (api.cfg / f"{name}.yaml").write_text(f"{SALES}tags: [{name}]\nowner: etl\n")
        assert client.post(f"/api/v1/workflows/{name}/load").status_code == 200
    return client


def batch(client: httpx.Client, workflow: str, result: str = "close", why: str = "done") -> int:
    opened = client.post(f"/api/v1/workflows/{workflow}/batches").json()["batch"]["batch_id"]
    path = f"/api/v1/workflows/{workflow}/batches/{opened}/{result}"
    assert client.post(path, json={"why": why}).status_code == 200
    return int(opened)


def found(client: httpx.Client, query: str = "") -> list[tuple[str, int]]:
    answer = client.get(f"/api/v1/history?{query}")
    assert answer.status_code == 200, answer.text
    return [(each["workflow"], each["batch_id"]) for each in answer.json()["items"]]


def test_a_row_says_what_happened(client: httpx.Client) -> None:
    batch_id = batch(client, "sales", "fail", "the disk is full")
    (row,) = client.get("/api/v1/history").json()["items"]
    expected = {
        "workflow": "sales",
        "batch_id": batch_id,
        "kind": "live",
        "status": "failed",
        "by": "admin-ann",
        "run": None,
        "closed_by": "admin-ann",
        "closed_why": "the disk is full",
        "failed_jobs": ["extract", "load"],
        "jobs": {"extract": "failed", "load": "failed"},
        "notes": [],
        "acknowledged": None,
        "archived": False,
    }
    assert {key: row[key] for key in expected} == expected
    assert row.keys() - expected.keys() == {"from_date", "to_date", "started", "batch_end"}


def test_conditions_select(client: httpx.Client) -> None:
    bad, good = batch(client, "sales", "fail"), batch(client, "crm")
    assert {*found(client)} == {("crm", good), ("sales", bad)}
    assert found(client, "status=failed") == [("sales", bad)]
    assert found(client, "workflow=crm&workflow=nobody") == [("crm", good)]
    assert found(client, "tag=crm") == [("crm", good)]
    assert found(client, "owner=other") == []
    assert found(client, "last=1h&job=load&status=failed") == [("sales", bad)]
    assert found(client, "from=2999-01-01") == []
    assert found(client, "to=2020-01-01") == []
    assert found(client, f"search={bad}&status=failed") == [("sales", bad)]
    assert found(client, "acknowledged=false") == [("sales", bad)]
    assert client.post(f"/api/v1/workflows/sales/batches/{bad}/ack", json={"text": "known"}).status_code == 200
    assert found(client, "acknowledged=false") == []
    assert found(client, "acknowledged=true") == [("sales", bad)]


def test_pages_follow_each_other(client: httpx.Client) -> None:
    made = {("sales", batch(client, "sales")) for _ in range(5)}
    seen: list[tuple[str, int]] = []
    below = ""
    for _ in range(5):
        page = client.get("/api/v1/history", params={"limit": 2, **({"below": below} if below else {})}).json()
        seen += [(each["workflow"], each["batch_id"]) for each in page["items"]]
        below = page["next"]
        if below is None:
            break
    assert len(seen) == 5
    assert {*seen} == made


@pytest.mark.parametrize(
    "query", ["from=noon", "to=x", "last=soon", "below=x", "from=2026-11-30&to=2026-11-29", "status=odd", "limit=0"]
)
def test_wrong_questions_are_refused(client: httpx.Client, query: str) -> None:
    answer = client.get(f"/api/v1/history?{query}")
    assert answer.status_code == 422
    assert answer.json()["detail"] or answer.json()["errors"]


def test_only_readable_workflows_are_searched(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    batch(client, "sales", "fail", "crm was late")
    batch(client, "crm", "fail")
    may = Caller.may

    def may_not_crm(self: Caller, method: Any, workflow: str, entity: Any = None, **_: Any) -> bool:
        return workflow != "crm" and may(self, method, workflow, entity)

    monkeypatch.setattr(Caller, "may", may_not_crm)
    answer = client.get("/api/v1/history")
    assert "crm" not in answer.text
    (row,) = answer.json()["items"]
    assert row["closed_why"] == "*** was late"
    assert found(client, "workflow=crm") == []


def test_nobody_reads_without_a_login(api: Api) -> None:
    assert api.client(None).get("/api/v1/history").status_code == 401
    assert api.client("viewer").get("/api/v1/history").status_code == 200


def test_a_batch_is_compared_with_the_last_good_one(client: httpx.Client, api: Api) -> None:
    good, bad = batch(client, "sales"), batch(client, "sales", "fail")
    path = f"/api/v1/workflows/sales/batches/{bad}/comparison"
    found = client.get(path).json()
    assert (found["other"]["batch_id"], found["previous"], found["next"]) == (good, good, None)
    assert found["first_job"] == "extract"
    assert found["jobs"][0]["differences"] == ["outcome"]
    assert client.get(f"{path}?with={bad}").json()["first_job"] is None
    assert client.get(f"{path}?with=1").status_code == 404
    assert api.client(None).get(path).status_code == 401


def test_durations_are_those_of_the_plan(client: httpx.Client, api: Api) -> None:
    for _ in range(3):
        batch(client, "sales")
    found = client.get("/api/v1/workflows/sales/durations").json()
    assert len(found["whole"]["runs"]) == 3
    assert found["whole"]["p50"] <= found["whole"]["p90"]
    assert [each["job"] for each in found["jobs"]] == ["extract", "load"]
    assert client.get("/api/v1/workflows/nope/durations").status_code == 404
    assert api.client(None).get("/api/v1/workflows/sales/durations").status_code == 401


def test_batches_that_only_the_archive_has_are_listed_and_marked(client: httpx.Client) -> None:
    from batchy_provider.plugin import airflow_services

    old, new = batch(client, "sales"), batch(client, "sales")
    airflow_services.get_services().store.prune("sales", keep=1)
    answer = client.get("/api/v1/history?workflow=sales").json()
    assert {each["batch_id"]: each["archived"] for each in answer["items"]} == {new: False, old: True}
    assert answer["archived"] == [{"workflow": "sales", "batches": 1, "newest": old}]
    assert found(client) == [("sales", new)]
    assert found(client, "workflow=crm") == []
