# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The plan by REST: who sees which runs."""

from __future__ import annotations

import pytest
from api_server import Api


@pytest.fixture
def planned(api: Api) -> None:
    """``sales`` is due each hour, waits for ``crm``, and has five runs behind it."""
    text = (api.cfg / "sales.yaml").read_text()
    (api.cfg / "crm.yaml").write_text('schedule: "0 * * * *"\njobs: {load: {bash: "true"}}\n')
    lines = [line for line in text.splitlines() if not line.startswith("schedule")]
    waits = "wait_for: [{workflow: crm, scope: due}]"
    (api.cfg / "sales.yaml").write_text("\n".join(['schedule: "0 * * * *"', waits, *lines]) + "\n")
    client = api.client()
    for name in ("crm", "sales"):
        for _ in range(5):
            answer = client.post(f"/api/v1/workflows/{name}/batches")
            assert answer.status_code < 300, answer.text
            batch = answer.json()["batch"]["batch_id"]
            assert client.post(f"/api/v1/workflows/{name}/batches/{batch}/close").status_code == 200


@pytest.mark.usefixtures("planned")
def test_runs_of_one_workflow_and_of_all(api: Api) -> None:
    client = api.client("viewer")
    found = client.get("/api/v1/workflows/sales/plan", params={"hours": 3}).json()
    run = next(each for each in found if each["state"] == "expected")
    assert run["end_p50"] is not None
    assert run["waits_for"] == ["crm"]
    assert [step["workflow"] for step in run["critical_path"]][-1] == "sales"
    everything = client.get("/api/v1/plan", params={"hours": 3}).json()
    assert {each["workflow"] for each in everything} == {"crm", "sales"}
    again = {each["due"]: each["end_p90"] for each in everything if each["workflow"] == "sales"}
    assert any(again.get(each["due"]) == each["end_p90"] for each in found)


@pytest.mark.usefixtures("planned")
def test_workflows_that_the_caller_may_not_read_are_left_out(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    from batchy_provider.plugin.security import Caller

    monkeypatch.setattr(Caller, "may", lambda self, method, workflow, entity=None, **_: workflow != "crm")
    client = api.client()
    assert client.get("/api/v1/workflows/crm/plan").status_code == 403
    for found in (client.get("/api/v1/plan").json(), client.get("/api/v1/workflows/sales/plan").json()):
        assert found
        assert "crm" not in str(found)


def test_errors(api: Api) -> None:
    client = api.client()
    assert client.get("/api/v1/workflows/nobody/plan").json()["code"] == "unknown_workflow"
    assert client.get("/api/v1/plan", params={"hours": 0}).status_code == 422
    assert api.client(None).get("/api/v1/plan").status_code == 401
