# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Responses of the API after Redis has lost all data."""

from __future__ import annotations

from pathlib import Path

import pytest
from api_server import Api
from redis import Redis

SALES = "/api/v1/workflows/sales"


def night(api: Api) -> dict[str, str]:
    client = api.client()
    batch = client.post(f"{SALES}/batches").json()["batch"]
    closed: dict[str, str] = client.post(f"{SALES}/batches/{batch['batch_id']}/close").json()
    return closed


def test_no_batch_opens_and_the_error_says_what_to_do(api: Api, redis_client: Redis) -> None:
    client = api.client()
    batch = night(api)
    redis_client.flushall()

    refused = client.post(f"{SALES}/batches")
    assert refused.status_code == 409
    assert refused.json()["type"].endswith("LostStateError")
    assert "`batchy restore sales`" in refused.json()["detail"]
    closed = client.post(f"{SALES}/batches/{batch['batch_id']}/close")
    assert closed.status_code == 404
    assert "`batchy restore sales`" in closed.json()["detail"]
    shown = client.get(SALES).json()
    assert (shown["summary"]["status"], shown["summary"]["in_redis"]) == ("new", False)
    assert redis_client.keys() == []


def test_an_unreachable_result_store_is_a_503_for_a_workflow_that_redis_does_not_know(api: Api, tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file where a folder ought to be")
    refused = api.client().post(f"{SALES}/batches")
    assert refused.status_code == 503
    assert "cannot be read to see whether Redis has lost it" in refused.json()["detail"]


def test_lost_state_is_reported_and_restored(api: Api, redis_client: Redis) -> None:
    client = api.client()
    (api.cfg / "new.yaml").write_text((api.cfg / "sales.yaml").read_text())
    batch = night(api)
    assert client.get(f"{SALES}/archive").json()["relation"] == "in step"
    assert client.get("/api/v1/archive/lost").json() == {"workflows": []}
    redis_client.flushall()

    assert client.get("/api/v1/archive/lost").json() == {"workflows": ["sales"]}
    assert client.get("/api/v1/workflows/new/archive").json()["relation"] == "unknown"
    found = client.get(f"{SALES}/archive").json()
    assert (found["relation"], found["is_lost"], found["missing"]) == ("lost", True, [batch["batch_id"]])
    assert f"batch {batch['batch_id']}, success" in found["archive"]

    first = client.post(f"{SALES}/restore", json={"history": False, "why": "the disk broke"})
    assert (first.status_code, first.json()["state"], first.json()["batches"]) == (200, True, 0)
    assert client.post(f"{SALES}/restore").json()["batches"] == 1
    assert client.post(f"{SALES}/restore").json()["state"] is False, "once more changes nothing"
    assert client.get(f"{SALES}/archive").json()["relation"] == "in step"
    made = [change for change in client.get(f"{SALES}/changes").json() if change["what"].startswith("restored")]
    assert [change["why"] for change in made] == [None, "the disk broke"]
    assert {(change["by"], change["source"]) for change in made} == {("admin-ann", "rest")}
    opened = client.post(f"{SALES}/batches").json()["batch"]
    assert opened["from_date"] == batch["to_date"]


def test_a_conflicting_state_is_replaced_only_with_overwrite(
    api: Api, redis_client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    from batchy_provider.plugin import airflow_services

    client = api.client()
    night(api)
    redis_client.flushall()
    monkeypatch.setenv("AIRFLOW__BATCHY__ARCHIVE", "False")
    airflow_services.reset_services()
    night(api)
    assert client.get(f"{SALES}/archive").json()["relation"] == "not kept"
    assert client.get("/api/v1/archive/lost").json() == {"workflows": []}
    refused = client.post(f"{SALES}/restore")
    assert refused.status_code == 404
    assert "[batchy] archive is off" in refused.json()["detail"]

    monkeypatch.delenv("AIRFLOW__BATCHY__ARCHIVE")
    airflow_services.reset_services()
    assert client.get(f"{SALES}/archive").json()["relation"] == "conflict"
    for path in ("restore", "archive"):
        refused = client.post(f"{SALES}/{path}")
        assert (refused.status_code, refused.json()["type"]) == (409, "LostStateError")
        assert "batchy restore sales" in refused.json()["detail"]
    kept = client.post(f"{SALES}/archive", json={"overwrite": True})
    assert (kept.status_code, kept.json()["state"]) == (200, True)
    assert client.get(f"{SALES}/archive").json()["relation"] == "in step"


def test_a_viewer_sees_the_loss_and_cannot_restore(api: Api, redis_client: Redis) -> None:
    night(api)
    redis_client.flushall()
    viewer = api.client("viewer")
    assert viewer.get(f"{SALES}/archive").json()["is_lost"]
    assert viewer.post(f"{SALES}/restore").status_code == 403
    assert redis_client.keys() == []
