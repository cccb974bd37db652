# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Holds and notes by REST: what is answered, refused, shown, logged, and who may."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from api_server import SALES, Api

UNTIL = "2999-11-30T06:00:00.000000"
HOLD = {"workflow": "sales", "until": UNTIL, "by": "admin-ann", "why": "migration"}


@pytest.fixture
def client(api: Api) -> httpx.Client:
    client = api.client()
    (api.cfg / "sales.yaml").write_text(SALES)
    assert client.post("/api/v1/workflows/sales/load").status_code == 200
    return client


def post(client: httpx.Client, what: str, body: Any = None) -> httpx.Response:
    return client.post(f"/api/v1/workflows/sales/{what}", json=body)


def summary(client: httpx.Client) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/api/v1/workflows/sales").json()["summary"]
    return found


def failed_batch(client: httpx.Client) -> int:
    batch_id: int = post(client, "batches").json()["batch"]["batch_id"]
    assert post(client, f"batches/{batch_id}/fail").status_code == 200
    return batch_id


def logged(action: str) -> tuple[str, str, dict[str, Any]]:
    """Return who did it to which workflow last, from Airflow's audit log."""
    from airflow.models.log import Log
    from airflow.utils.session import create_session

    with create_session() as session:
        row = session.query(Log).filter(Log.event == f"batchy_{action}").order_by(Log.id.desc()).first()
        assert row is not None
        return row.owner, row.dag_id, json.loads(row.extra)


def test_a_hold_is_set_shown_and_released(client: httpx.Client) -> None:
    answer = post(client, "hold", {"until": "2999-11-30T06:00", "why": "migration"})
    assert (answer.status_code, answer.json()) == (201, {**HOLD, "replaced": None, "open_batch": None})
    assert summary(client)["hold"] == HOLD
    (row,) = client.get("/api/v1/overview?kind=on_hold").json()["items"]
    assert row["hold"] == HOLD
    assert client.get("/api/v1/overview/sales").json()["row"]["hold"] == HOLD
    assert 'batchy_workflow_on_hold{workflow="sales"} 1' in client.get("/api/v1/metrics").text
    assert logged("hold") == (
        "admin-ann",
        "sales",
        {"source": "rest", "address": "testclient", "why": "migration", "until": UNTIL},
    )
    released = post(client, "release", {"why": "done"})
    assert (released.status_code, released.json()) == (200, HOLD)
    assert summary(client)["hold"] is None
    assert logged("release")[2]["why"] == "done"
    assert 'batchy_workflow_on_hold{workflow="sales"} 0' in client.get("/api/v1/metrics").text
    again = post(client, "release")
    assert (again.status_code, again.json()["code"]) == (409, "not_on_hold")


def test_a_second_hold_replaces_the_first_and_says_so(client: httpx.Client) -> None:
    post(client, "hold", {"until": "2999-11-30T06:00", "why": "migration"})
    answer = post(client, "hold", {"why": "the bank"})
    assert (answer.status_code, answer.json()["replaced"]) == (200, HOLD)
    assert answer.json()["until"] is None


def test_no_batch_opens_unless_the_caller_ignores_the_hold(client: httpx.Client) -> None:
    post(client, "hold", {"why": "migration"})
    for body in ({}, {"take_over": True}, {"from_date": "2026-01-01", "to_date": "2026-01-02"}):
        answer = post(client, "batches", body)
        assert (answer.status_code, answer.json()["code"]) == (409, "on_hold")
        assert "by admin-ann: migration" in answer.json()["detail"]
    opened = post(client, "batches", {"ignore_hold": True})
    assert opened.status_code == 201
    assert "is on hold since" in opened.json()["warning"]
    assert post(client, "hold", {"why": "again"}).json()["open_batch"] == opened.json()["batch"]["batch_id"]


def test_clients_of_the_original_server_are_refused_too(client: httpx.Client) -> None:
    post(client, "hold", {"why": "migration"})
    assert client.get("/open_batch/sales").status_code == 409


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "invalid_request"),
        ({"why": " "}, "invalid_value"),
        ({"why": "x" * 501}, "invalid_value"),
        ({"why": "x", "until": "2020-01-01"}, "invalid_value"),
        ({"why": "x", "until": "Monday"}, "invalid_value"),
        ({"why": "x", "for": "1d"}, "invalid_request"),
    ],
)
def test_a_hold_that_cannot_be(client: httpx.Client, body: Any, code: str) -> None:
    answer = post(client, "hold", body)
    assert (answer.status_code, answer.json()["code"]) == (422, code), answer.text
    assert summary(client)["hold"] is None


def test_notes_and_acknowledgements(client: httpx.Client) -> None:
    batch_id = failed_batch(client)
    assert summary(client)["acknowledged"] is None
    metric = 'batchy_workflow_failure_acknowledged{workflow="sales"}'
    assert f"{metric} 0" in client.get("/api/v1/metrics").text
    (note,) = post(client, f"batches/{batch_id}/note", {"text": "the disk was full"}).json()
    assert list(note) == ["at", "by", "text", "ack"]
    assert (note["by"], note["text"], note["ack"]) == ("admin-ann", "the disk was full", False)
    notes = post(client, f"batches/{batch_id}/ack").json()
    assert [(each["text"], each["ack"]) for each in notes] == [("the disk was full", False), (None, True)]
    assert client.get(f"/api/v1/workflows/sales/batches/{batch_id}").json()["notes"] == notes
    assert client.get("/api/v1/workflows/sales/batches").json()["items"][0]["notes"] == notes
    assert summary(client)["acknowledged"] == notes[1]
    assert f"{metric} 1" in client.get("/api/v1/metrics").text
    assert logged("ack")[2]["batch_id"] == batch_id
    assert logged("note")[2]["why"] == "the disk was full"
    assert metric not in _after_a_success(client)


def _after_a_success(client: httpx.Client) -> str:
    batch_id = post(client, "batches").json()["batch"]["batch_id"]
    post(client, f"batches/{batch_id}/close")
    return client.get("/api/v1/metrics").text


@pytest.mark.parametrize(
    ("what", "body", "status", "code"),
    [
        ("note", {}, 422, "invalid_request"),
        ("note", {"text": ""}, 422, "invalid_value"),
        ("note", {"text": "x" * 1001}, 422, "invalid_value"),
        ("note", {"text": "a\u0000b"}, 422, "invalid_value"),
        ("ack", {"text": "x" * 1001}, 422, "invalid_value"),
    ],
)
def test_a_note_that_cannot_be(client: httpx.Client, what: str, body: Any, status: int, code: str) -> None:
    answer = post(client, f"batches/{failed_batch(client)}/{what}", body)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


def test_what_has_not_failed_or_is_not_there(client: httpx.Client) -> None:
    batch_id = post(client, "batches").json()["batch"]["batch_id"]
    answer = post(client, f"batches/{batch_id}/ack")
    assert (answer.status_code, answer.json()["code"]) == (409, "batch_not_failed")
    answer = post(client, "batches/17/note", {"text": "x"})
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_batch")


def test_who_may_only_read_may_not_hold_or_note(client: httpx.Client, api: Api) -> None:
    viewer = api.client("viewer")
    batch_id = failed_batch(client)
    for what, body in (("hold", {"why": "x"}), ("release", {}), (f"batches/{batch_id}/ack", {})):
        answer = post(viewer, what, body)
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert summary(client)["hold"] is None
