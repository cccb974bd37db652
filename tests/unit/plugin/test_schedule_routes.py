# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""When a workflow is due, by REST: the same as on the command line, and only for those who may read it."""

from __future__ import annotations

import pytest
from api_server import Api


def test_the_next_times_are_those_of_the_command_line(api: Api) -> None:
    query = {"from_date": "2026-10-24", "count": 2}
    found = api.client("viewer").get("/api/v1/workflows/sales/schedule", params=query)
    assert found.json() == [
        {"due": "2026-10-24T02:00:00+02:00", "day": "2026-10-24", "note": None},
        # The clock goes back from 3 to 2: the second of the two times at which it shows 2.
        {"due": "2026-10-25T02:00:00+01:00", "day": "2026-10-25", "note": None},
    ]


def test_left_out_and_moved_days_with_their_reason(api: Api) -> None:
    (api.cfg / "_calendars.yaml").write_text("target: {holidays: ECB}\n")
    (api.cfg / "close.yaml").write_text(
        'schedule: {cron: "0 9 1,24-26 * *", calendar: target, move: next}\njobs: {load: {bash: "true"}}\n'
    )
    query = {"from_date": "2026-12-24", "count": 3, "left_out": True}
    assert api.client().get("/api/v1/workflows/close/schedule", params=query).json() == [
        {"due": "2026-12-24T09:00:00+00:00", "day": "2026-12-24", "note": None},
        {"due": None, "day": "2026-12-25", "note": "Christmas Day, ECB"},
        {"due": None, "day": "2026-12-26", "note": "moved to Mon 28 Dec: Christmas Holiday, ECB"},
        {
            "due": "2026-12-28T09:00:00+00:00",
            "day": "2026-12-28",
            "note": "moved from Sat 26 Dec: Christmas Holiday, ECB",
        },
        {"due": None, "day": "2027-01-01", "note": "moved to Mon 4 Jan: New Year's Day, ECB"},
        {"due": "2027-01-04T09:00:00+00:00", "day": "2027-01-04", "note": "moved from Fri 1 Jan: New Year's Day, ECB"},
    ]
    found = api.client().get("/api/v1/workflows/close/calendar").json()
    assert found["calendar"] == "target"
    assert {each["business_day"] for each in found["days"]} == {True, False}


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ({"count": 0}, 422, "invalid_request"),
        ({"count": 1001}, 422, "invalid_request"),
        ({"from_date": "soon"}, 422, "invalid_window"),
        ({"left_out": "perhaps"}, 422, "invalid_request"),
    ],
)
def test_wrong_questions(api: Api, query: dict[str, object], status: int, code: str) -> None:
    answer = api.client().get("/api/v1/workflows/sales/schedule", params=query)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_a_workflow_without_schedule_has_no_times_and_an_unknown_one_is_not_found(api: Api) -> None:
    (api.cfg / "by_hand.yaml").write_text('jobs: {load: {bash: "true"}}\n')
    client = api.client()
    assert client.get("/api/v1/workflows/by_hand/schedule").json() == []
    for what in ("schedule", "calendar"):
        assert client.get(f"/api/v1/workflows/nobody/{what}").json()["code"] == "unknown_workflow"


def test_a_faulty_file_is_an_error_with_its_lines(api: Api) -> None:
    (api.cfg / "faulty.yaml").write_text('schedule: "61 * * * *"\njobs: {load: {bash: "true"}}\n')
    for what in ("schedule", "calendar"):
        answer = api.client().get(f"/api/v1/workflows/faulty/{what}")
        assert answer.status_code == 422, answer.text
        assert answer.json()["errors"][0]["key"] == "schedule"


def test_names_that_the_caller_may_not_read_are_hidden(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    from batchy_provider.plugin.security import Caller

    (api.cfg / "salaries.yaml").write_text('jobs: {load: {bash: "true"}}\n')
    (api.cfg / "report.yaml").write_text('schedule: {after: [salaries]}\njobs: {load: {bash: "true"}}\n')
    monkeypatch.setattr(Caller, "may", lambda self, method, workflow, entity=None, **_: workflow == "report")
    client = api.client()
    found = client.get("/api/v1/workflows/report/calendar")
    assert found.status_code == 200
    assert "salaries" not in found.text
    assert found.json()["notes"][0]["code"] == "after"
    for what in ("schedule", "calendar"):
        assert client.get(f"/api/v1/workflows/salaries/{what}").status_code == 403
        assert api.client(None).get(f"/api/v1/workflows/report/{what}").status_code == 401


def test_the_calendar_has_days_with_fires_and_runs(api: Api) -> None:
    client = api.client("user")
    batch = client.post("/api/v1/workflows/sales/batches").json()["batch"]["batch_id"]
    found = client.get("/api/v1/workflows/sales/calendar").json()
    today = next(each for each in found["days"] if each["day"] == found["today"])
    (run,) = [run for each in found["days"] for run in each["runs"]]
    assert (run["batch_id"], run["status"], run["kind"]) == (batch, "open", "live")
    assert set(today) == {"day", "fires", "more_fires", "note", "left_out", "holiday", "business_day", "runs"}
    assert found["schedule"] == "0 2 * * * Europe/Paris"
    assert sum(len(each["fires"]) for each in found["days"]) >= 59
