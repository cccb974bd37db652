# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Warnings by REST: who sees which, in their own list, on each row, and as metrics."""

from __future__ import annotations

import re

import pytest
from api_server import Api

from batchy_provider.config.reader import Reader
from batchy_provider.core.values import CloseRequest, OpenRequest
from batchy_provider.plugin.airflow_services import get_services

DEADLINE = "deadline: {within: 30m, warn: true, notify: my.Pager}\nwait_for: [{workflow: crm, scope: due}]\n"


@pytest.fixture
def warned(api: Api) -> str:
    """``sales`` waits for ``crm``, which takes longer than the deadline allows."""
    job = 'jobs: {load: {bash: "true"}}\n'
    (api.cfg / "crm.yaml").write_text(f'schedule: "0 * * * *"\n{job}')
    (api.cfg / "sales.yaml").write_text(f'schedule: "0 * * * *"\n{DEADLINE}{job}')
    services = get_services()
    for name in ("crm", "sales"):
        found, diagnostics = Reader(api.cfg).read(api.cfg / f"{name}.yaml")
        assert found is not None, diagnostics
        for seconds in (3500.0, 3600.0, 3700.0, 3650.0):
            batch = services.store.open(name, OpenRequest(config=found.config()))
            done = CloseRequest(result="success", batch_id=batch.batch_id, seconds={"load": seconds})
            services.store.close(name, done)
    assert not services.warnings.evaluate(evaluator="one", scope="prod/batchy_warnings").errors
    return "sales"


def test_a_warning_is_in_its_list_and_on_its_row(api: Api, warned: str) -> None:
    client = api.client("viewer")
    (found,) = client.get("/api/v1/warnings").json()
    assert (found["workflow"], found["chance"]) == ("sales", 1.0)
    assert [link["workflow"] for link in found["chain"]] == ["sales", "crm"]
    assert client.get("/api/v1/workflows/sales/warnings").json() == [found]
    assert client.get("/api/v1/workflows/crm/warnings").json() == []
    rows = {row["workflow"]: row for row in client.get("/api/v1/overview").json()["items"]}
    assert rows["sales"]["warning"] == found
    assert rows["crm"]["warning"] is None


def test_names_that_the_caller_may_not_read(api: Api, warned: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from batchy_provider.plugin.security import Caller

    client = api.client()
    monkeypatch.setattr(Caller, "may", lambda self, method, workflow, entity=None, **_: workflow != "crm")
    (found,) = client.get("/api/v1/warnings").json()
    assert [link["workflow"] for link in found["chain"]] == ["sales", "***"]
    assert "crm" not in str(found)
    assert "crm" not in str(client.get("/api/v1/overview").json())
    monkeypatch.setattr(Caller, "may", lambda self, method, workflow, entity=None, **_: workflow != "sales")
    assert client.get("/api/v1/warnings").json() == []
    assert client.get("/api/v1/workflows/sales/warnings").status_code == 403


def test_errors(api: Api) -> None:
    assert api.client().get("/api/v1/workflows/nobody/warnings").json()["code"] == "unknown_workflow"
    assert api.client(None).get("/api/v1/warnings").status_code == 401


def test_metrics_have_the_deadline_its_probability_and_the_warning(api: Api, warned: str) -> None:
    text = api.client().get("/api/v1/metrics").text
    found = dict(re.findall(r'^batchy_workflow_(\w+)\{workflow="sales"\} (\S+)$', text, re.MULTILINE))
    assert found["miss_probability"] == "1"
    assert found["warning"] == "1"
    assert float(found["expected_end_timestamp_seconds"]) > float(found["deadline_timestamp_seconds"])
    assert 'batchy_workflow_warning{workflow="crm"} 0' in text
    assert 'batchy_workflow_deadline_timestamp_seconds{workflow="crm"}' not in text
