# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Remove, rename, export and import by REST: what they answer, what they refuse, who may, and the audit log."""

from __future__ import annotations

import json
from typing import Any

import pytest
import redis
from api_server import SALES, Api

BIG = 2**70


@pytest.fixture(autouse=True)
def _loaded(api: Api) -> None:
    """Two workflows in Redis with one closed batch each; their files are gone."""
    client = api.client()
    for name in ("sales", "crm"):
        (api.cfg / f"{name}.yaml").write_text(SALES.replace("region: eu", f"region: eu, big: {BIG}, password: hunter2"))
        assert client.post(f"/api/v1/workflows/{name}/load").status_code == 200
        batch = client.post(f"/api/v1/workflows/{name}/batches", json={}).json()["batch"]["batch_id"]
        assert client.post(f"/api/v1/workflows/{name}/batches/{batch}/close").status_code == 200
    for path in api.cfg.iterdir():
        path.unlink()


def logged(action: str) -> list[tuple[str, str, dict[str, Any]]]:
    """Return who did something to which workflow, from Airflow's audit log, newest first."""
    from airflow.models.log import Log
    from airflow.utils.session import create_session

    with create_session() as session:
        rows = session.query(Log).filter(Log.event == f"batchy_{action}").order_by(Log.id.desc()).all()
        return [(row.owner, row.dag_id, json.loads(row.extra)) for row in rows]


def keys(client: redis.Redis) -> set[str]:
    return {key.decode() for key in client.scan_iter()}


def test_a_workflow_is_removed_once(api: Api, redis_client: redis.Redis) -> None:
    client = api.client("user")
    count = len([key for key in keys(redis_client) if key.startswith("sales")])
    answer = client.delete("/api/v1/workflows/sales?why=gone")
    assert (answer.status_code, answer.json()) == (200, {"workflow": "sales", "keys": count, "batches": 1})
    assert {key.partition(":")[0].partition("-")[0] for key in keys(redis_client)} == {"crm"}
    assert [row["workflow"] for row in client.get("/api/v1/workflows").json()["items"]] == ["crm"]
    assert "sales" not in client.get("/api/v1/metrics").text
    again = client.delete("/api/v1/workflows/sales")
    assert (again.status_code, again.json()["code"]) == (404, "unknown_workflow")
    who, workflow, extra = logged("remove")[0]
    assert (who, workflow, extra["why"], extra["source"]) == ("user-ann", "sales", "gone", "rest")


def test_a_file_and_an_open_batch_are_refusals(api: Api, redis_client: redis.Redis) -> None:
    client = api.client()
    (api.cfg / "sales.yaml").write_text(SALES)
    answer = client.delete("/api/v1/workflows/sales")
    assert (answer.status_code, answer.json()["code"]) == (409, "workflow_defined")
    assert client.post("/api/v1/workflows/sales/batches", json={}).status_code == 201
    for call in (
        lambda: client.delete("/api/v1/workflows/sales?force=true"),
        lambda: client.post("/api/v1/workflows/sales/rename", json={"new": "orders"}),
    ):
        answer = call()
        assert (answer.status_code, answer.json()["code"]) == (409, "batch_held")
    assert "sales" in keys(redis_client)


def test_a_workflow_gets_another_name(api: Api) -> None:
    client = api.client("user")
    answer = client.post("/api/v1/workflows/sales/rename", json={"new": "orders", "why": "one name"})
    assert (answer.status_code, answer.json()) == (200, {"old": "sales", "new": "orders", "batches": 1})
    assert [row["workflow"] for row in client.get("/api/v1/workflows").json()["items"]] == ["crm", "orders"]
    assert client.get("/api/v1/workflows/orders/changes").json()[0]["what"] == "renamed sales to orders"
    assert logged("rename")[0][:2] == ("user-ann", "orders")
    for body, code in (({"new": "crm"}, "workflow_exists"), ({"new": "a/b"}, "invalid_name"), ({}, "invalid_request")):
        assert client.post("/api/v1/workflows/orders/rename", json=body).json()["code"] == code


def test_what_is_exported_is_imported_exactly(api: Api, redis_client: redis.Redis) -> None:
    client = api.client()
    answer = client.post("/api/v1/export", json={"workflows": ["sales"], "history": True})
    assert answer.status_code == 200
    (found,) = answer.json()["workflows"]
    assert found["jobs"]["extract"]["big"] == BIG
    assert found["jobs"]["extract"]["password"] == "hunter2"
    assert logged("export")[0][:2] == ("admin-ann", "sales")
    refused = client.post("/api/v1/import", content=answer.content)
    assert (refused.status_code, refused.json()["code"]) == (409, "workflow_exists")
    before = redis_client.hgetall("sales"), redis_client.hgetall("sales:loaded")
    client.delete("/api/v1/workflows/sales")
    expected = [{"workflow": "sales", "jobs": ["extract", "load"], "batches": 1, "replaced": False, "ended": []}]
    dry = client.post("/api/v1/import?dry_run=true", content=answer.content)
    assert (dry.status_code, dry.json()) == (200, expected)
    assert "sales" not in keys(redis_client)
    done = client.post("/api/v1/import?why=moving", content=answer.content)
    assert (done.status_code, done.json()) == (200, expected)
    assert (redis_client.hgetall("sales"), redis_client.hgetall("sales:loaded")) == before
    assert logged("import")[0][:2] == ("admin-ann", "sales")
    assert client.post("/api/v1/import?replace=true", content=answer.content).json()[0]["replaced"] is True


def test_without_names_all_are_exported_and_unreadable_ones_are_named(api: Api, redis_client: redis.Redis) -> None:
    redis_client.hset("crm", "extract", "no JSON")
    document = api.client().post("/api/v1/export").json()
    assert [each["workflow"] for each in document["workflows"]] == ["sales"]
    assert [each["workflow"] for each in document["left_out"]] == ["crm"]


@pytest.mark.parametrize(
    ("body", "code", "text"),
    [
        (b"{", "invalid_document", "line 1"),
        (b"[" * 100_000, "invalid_document", "not JSON"),
        (b"\xff", "invalid_document", "not JSON"),
        (b'{"format": "batchy export", "version": 2}', "invalid_document", "Upgrade batchy_provider"),
        (
            b'{"format": "batchy export", "version": 1, '
            b'"workflows": [{"workflow": "x", "jobs": {"a": 1}, "ledger": {}}]}',
            "invalid_document",
            "workflows[0] (x).jobs.a is 1",
        ),
    ],
)
def test_an_error_of_the_document_is_a_422(api: Api, body: bytes, code: str, text: str) -> None:
    answer = api.client().post("/api/v1/import", content=body)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert text in answer.json()["detail"]


@pytest.mark.parametrize("path", ["export", "import"])
def test_only_those_who_may_configure_move_whole_workflows(api: Api, path: str) -> None:
    answer = api.client("user").post(f"/api/v1/{path}", json={})
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert "user-ann may not export or import" in answer.json()["detail"]
