# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The route that Prometheus scrapes: permissions, and the response when Redis cannot be reached."""

from __future__ import annotations

import pytest
from api_server import Api

from batchy_provider.local.ports import free_port
from batchy_provider.plugin import airflow_services

PATH = "/api/v1/metrics"


def test_it_has_the_state_of_workflows(api: Api) -> None:
    api.client().post("/api/v1/workflows/sales/batches")
    answer = api.client("viewer").get(PATH)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert 'batchy_workflow_status{workflow="sales",status="open"} 1' in answer.text.splitlines()


def test_it_needs_a_token(api: Api) -> None:
    assert api.client(None).get(PATH).status_code == 401


def test_it_has_only_workflows_that_the_caller_may_read(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    from batchy_provider.plugin.security import Caller

    api.client().post("/api/v1/workflows/sales/batches")
    monkeypatch.setattr(Caller, "may", lambda self, method, workflow, *more, **_: workflow != "sales")
    answer = api.client("viewer").get(PATH)
    assert (answer.status_code, "sales" in answer.text) == (200, False)


def test_an_unreachable_redis_is_a_metric(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_REDIS_DEFAULT", f"redis://127.0.0.1:{free_port()}/0")
    airflow_services.reset_services()
    answer = api.client().get(PATH)
    assert (answer.status_code, answer.text.splitlines()[-1]) == (200, "batchy_redis_up 0")
