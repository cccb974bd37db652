# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A night by REST: its form, who sees which runs, and the answer to a page that asks again."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from api_server import Api


@pytest.fixture
def night(api: Api) -> None:
    """``sales`` waits for ``crm``. Both have a batch that is closed; that of ``crm`` has failed, which ann knows."""
    (api.cfg / "crm.yaml").write_text('schedule: "0 * * * *"\njobs: {load: {bash: "true"}}\n')
    (api.cfg / "sales.yaml").write_text(
        'schedule: "0 * * * *"\nwait_for: [{workflow: crm, scope: due}]\njobs: {load: {bash: "true"}}\n'
    )
    client = api.client()
    for name, end in (("crm", "fail"), ("sales", "close")):
        batch = client.post(f"/api/v1/workflows/{name}/batches").json()["batch"]["batch_id"]
        assert client.post(f"/api/v1/workflows/{name}/batches/{batch}/{end}").status_code == 200
        if end == "fail":
            text = {"text": "the file is late: see sales"}
            assert client.post(f"/api/v1/workflows/{name}/batches/{batch}/ack", json=text).status_code == 200


@pytest.mark.usefixtures("night")
def test_a_night(api: Api) -> None:
    now = datetime.now(timezone.utc)
    # In the default span there are more than 24 runs after midnight, so many become one band.
    near = {"from_date": (now - timedelta(hours=6)).isoformat(), "to_date": (now + timedelta(hours=6)).isoformat()}
    answer = api.client("viewer").get("/api/v1/tonight", params=near)
    assert answer.status_code == 200
    found = answer.json()
    assert set(found) == {"now", "from_date", "to_date", "items", "total", "limit", "offset", "counts"}
    assert found["counts"] == {"all": 2, "problems": 1, "empty": 0, "acknowledged": 1}
    crm, sales = found["items"]
    assert (crm["workflow"], crm["problems"]) == ("crm", ["acknowledged"])
    failed = crm["runs"][0]
    assert (failed["state"], failed["failed_jobs"]) == ("failed", ["load"])
    assert failed["acknowledged"]["text"] == "the file is late: see sales"
    assert sales["runs"][0]["state"] == "success"
    # Nothing is known of how long the runs take, so nothing is said.
    ahead = [run for run in sales["runs"] if run["state"] == "expected"]
    assert ahead
    assert {run["end_p90"] for run in ahead} == {None}
    only = api.client().get("/api/v1/tonight", params={"workflow": "sales", "problems": True}).json()
    assert (only["items"], only["total"]) == ([], 0)


@pytest.mark.usefixtures("night")
def test_who_asks_again_gets_the_answer_only_if_it_has_changed(api: Api) -> None:
    client = api.client()
    span = {"from_date": "2026-01-01T00:00", "to_date": "2026-01-02T00:00"}
    first = client.get("/api/v1/tonight", params=span)
    again = client.get("/api/v1/tonight", params=span, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    client.post("/api/v1/workflows/sales/hold", json={"why": "storage"})
    changed = client.get("/api/v1/tonight", params=span, headers={"If-None-Match": first.headers["ETag"]})
    assert changed.status_code == 200


@pytest.mark.usefixtures("night")
def test_workflows_that_the_caller_may_not_read_are_left_out(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    from batchy_provider.plugin.security import Caller

    monkeypatch.setattr(Caller, "may", lambda self, method, workflow, entity=None, **_: workflow != "sales")
    found = api.client().get("/api/v1/tonight").text
    assert "crm" in found
    assert "sales" not in found
    monkeypatch.setattr(Caller, "may", lambda self, method, workflow, entity=None, **_: workflow != "crm")
    found = api.client().get("/api/v1/tonight", params={"workflow": ["crm", "sales"]}).text
    assert "sales" in found
    assert "crm" not in found


def test_errors(api: Api) -> None:
    client = api.client()
    for asked in (
        {"timezone": "Europe/Nowhere"},
        {"from_date": "yesterday"},
        {"from_date": "2026-11-29", "to_date": "2026-11-28"},
        {"limit": 0},
    ):
        answer = client.get("/api/v1/tonight", params=asked)
        assert answer.status_code in (400, 422), asked
        assert answer.json()["code"]
    assert api.client(None).get("/api/v1/tonight").status_code == 401
