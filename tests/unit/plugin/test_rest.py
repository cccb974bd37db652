# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The JSON API: reading, changing, errors, and the record of who changed what."""

from __future__ import annotations

import itertools
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from api_server import SALES, Api
from redis import Redis

from batchy_provider.plugin import airflow_services


def test_open_and_fail_a_batch_by_hand(api: Api) -> None:
    client = api.client()
    opened = client.post("/api/v1/workflows/sales/batches", json={"why": "by hand"})
    assert opened.status_code == 201
    batch = opened.json()["batch"]
    assert (batch["status"], batch["by"], batch["why"]) == ("open", "admin-ann", "by hand")
    again = client.post("/api/v1/workflows/sales/batches", json={})
    assert again.status_code in (201, 409)
    failed = client.post(f"/api/v1/workflows/sales/batches/{batch['batch_id']}/fail", json={"why": "bad files"})
    assert failed.status_code in (200, 409)


def test_the_window_of_a_failed_batch_is_opened_again(api: Api) -> None:
    client = api.client()
    first = client.post("/api/v1/workflows/sales/batches").json()["batch"]
    failed = client.post(f"/api/v1/workflows/sales/batches/{first['batch_id']}/fail")
    assert (failed.status_code, failed.json()["status"]) == (200, "failed")
    second = client.post("/api/v1/workflows/sales/batches").json()["batch"]
    assert second["from_date"] == first["from_date"]
    client.post(f"/api/v1/workflows/sales/batches/{second['batch_id']}/close")
    third = client.post("/api/v1/workflows/sales/batches").json()["batch"]
    assert third["from_date"] == second["to_date"]
    page = client.get("/api/v1/workflows/sales/batches", params={"limit": 2}).json()
    assert ([b["batch_id"] for b in page["items"]], page["total"]) == ([third["batch_id"], second["batch_id"]], 3)
    only = client.get("/api/v1/workflows/sales/batches", params={"status": "failed"}).json()["items"]
    assert [b["batch_id"] for b in only] == [first["batch_id"]]
    assert client.get(f"/api/v1/workflows/sales/batches/{second['batch_id']}").json()["status"] == "success"


def test_nothing_to_load_has_a_code_of_its_own_and_changes_nothing(api: Api) -> None:
    (api.cfg / "sales.yaml").write_text(f"window: {{align: '0 0 1 1 *'}}\n{SALES}")
    client = api.client()
    batch = client.post("/api/v1/workflows/sales/batches").json()["batch"]
    client.post(f"/api/v1/workflows/sales/batches/{batch['batch_id']}/close")
    refused = client.post("/api/v1/workflows/sales/batches")
    assert (refused.status_code, refused.json()["code"]) == (409, "nothing_to_load")
    (error,) = refused.json()["errors"]
    assert error["code"] == "up_to_date"
    assert error["ready_at"].endswith("-12-31T23:00:00.000000")  # midnight in Paris
    assert client.get("/api/v1/workflows/sales/batches").json()["total"] == 1


def test_closing_twice_with_another_result_is_a_conflict(api: Api) -> None:
    client = api.client()
    batch = client.post("/api/v1/workflows/sales/batches").json()["batch"]["batch_id"]
    path = f"/api/v1/workflows/sales/batches/{batch}"
    assert client.post(f"{path}/close").status_code == 200
    assert client.post(f"{path}/close").status_code == 200
    refused = client.post(f"{path}/fail")
    assert refused.status_code == 409
    assert str(batch) in refused.json()["detail"]


def test_set_a_window_and_disable_a_job(api: Api) -> None:
    client = api.client()
    client.post("/api/v1/workflows/sales/load", json={"why": "first"})
    moved = client.put("/api/v1/workflows/sales/window", json={"from_date": "2026-11-01", "jobs": ["load"]})
    assert moved.json()["load"]["from_date"] == "2026-11-01T00:00:00.000000"
    assert client.post("/api/v1/workflows/sales/jobs/load/disable").json() == {"disabled": ["load"]}
    jobs = {job["job"]: job for job in client.get("/api/v1/workflows/sales/jobs").json()}
    assert (jobs["load"]["disabled"], jobs["extract"]["disabled"]) == (True, False)
    assert client.post("/api/v1/workflows/sales/jobs/load/enable").json() == {"disabled": []}
    future = client.put("/api/v1/workflows/sales/window", json={"from_date": "2999-01-01"})
    assert (future.status_code, future.json()["type"]) == (422, "WindowError")


def test_changes_are_recorded_and_in_airflows_audit_log(api: Api) -> None:
    from airflow.models.log import Log
    from airflow.utils.session import create_session
    from sqlalchemy import select

    api.client("user").post("/api/v1/workflows/sales/load", json={"why": "new warehouse"})
    (change,) = api.client().get("/api/v1/workflows/sales/changes").json()
    assert (change["by"], change["source"], change["address"]) == ("user-ann", "rest", "testclient")
    assert change["why"] == "new warehouse"
    with create_session() as session:
        rows = session.scalars(select(Log).where(Log.event == "batchy_load").order_by(Log.id.desc())).all()
        assert (rows[0].owner, rows[0].dag_id) == ("user-ann", "sales")
        assert json.loads(rows[0].extra)["why"] == "new warehouse"


def test_each_error_of_a_file_has_its_line(api: Api) -> None:
    (api.cfg / "broken.yaml").write_text(SALES.replace("load:", "laod: {bsh: 1}\n  load:"))
    client = api.client()
    faults = client.get("/api/v1/workflows/broken/faults").json()
    assert faults
    assert all(fault["line"] == 6 for fault in faults)
    refused = client.post("/api/v1/workflows/broken/load")
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["key"].startswith("jobs.laod")


def test_errors_of_the_request_name_what_is_wrong(api: Api) -> None:
    client = api.client()
    wrong = client.put("/api/v1/workflows/sales/window", json={"from": "2026-11-01"})
    assert wrong.status_code == 422
    assert "from_date" in wrong.json()["detail"]
    assert {tuple(error["loc"]) for error in wrong.json()["errors"]} == {("body", "from_date"), ("body", "from")}
    assert client.get("/api/v1/workflows", params={"order_by": "colour"}).status_code == 422
    assert (
        client.post(
            "/api/v1/workflows/sales/batches", content=b"{", headers={"Content-Type": "application/json"}
        ).status_code
        == 422
    )


@pytest.mark.slow
def test_an_unreachable_redis_is_an_error_until_it_is_back(
    api: Api, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(airflow_services, "RETRY_SECONDS", 0.1)
    monkeypatch.setenv("AIRFLOW_CONN_REDIS_DEFAULT", "redis://127.0.0.1:1/0")
    airflow_services.reset_services()
    for path in ("/api/v1/health", "/api/v1/workflows", "/api/v1/workflows/sales"):
        answer = api.client().get(path)
        assert (answer.status_code, answer.json()["type"]) == (503, "RedisUnavailableError")
        assert answer.headers["retry-after"] == "5"
    monkeypatch.setenv("AIRFLOW_CONN_REDIS_DEFAULT", redis_url)
    assert api.client().get("/api/v1/health").status_code == 200


@pytest.mark.slow
def test_twenty_clients_open_and_close_and_no_window_is_lost(api: Api, redis_client: Redis) -> None:
    def work(number: int) -> list[int]:
        client = api.client()
        codes = []
        for _ in range(3):
            opened = client.post("/api/v1/workflows/sales/batches", json={"why": str(number)})
            codes.append(opened.status_code)
            if opened.status_code == 201:
                batch = opened.json()["batch"]["batch_id"]
                codes.append(client.post(f"/api/v1/workflows/sales/batches/{batch}/close").status_code)
        return codes

    with ThreadPoolExecutor(20) as pool:
        codes = {code for some in pool.map(work, range(20)) for code in some}
    assert codes <= {200, 201, 409}
    batches = api.client().get("/api/v1/workflows/sales/batches", params={"limit": 1000, "status": "success"}).json()
    windows = sorted((b["from_date"], b["to_date"]) for b in batches["items"])
    assert windows
    assert all(before[1] == after[0] for before, after in itertools.pairwise(windows))


def test_events_arrive_as_they_happen(api: Api) -> None:
    heard: list[dict[str, object]] = []
    done = threading.Event()

    def put(event: dict[str, object]) -> None:
        heard.append(event)
        done.set()

    with airflow_services.get_services().events.watch(put):
        for _ in range(50):  # until the subscription is there
            api.client().post("/api/v1/workflows/sales/load")
            if done.wait(0.2):
                break
    assert (heard[0]["workflow"], heard[0]["event"]) == ("sales", "load")


def test_the_openapi_document_has_the_error_responses(api: Api) -> None:
    document = api.client().get("/api/v1/openapi.json").json()
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    names = [operation["operationId"] for operation in operations]
    assert len(names) == len(set(names))
    assert all(operation["summary"] and operation["description"] for operation in operations)
    assert all({"401", "403", "404", "409", "503"} <= operation["responses"].keys() for operation in operations)
