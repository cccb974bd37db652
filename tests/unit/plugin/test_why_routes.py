# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Why and impact by REST: what Airflow's database adds, who may see which part, and one question for the overview."""

from __future__ import annotations

import itertools
from collections.abc import Collection
from datetime import datetime, timezone

import pytest
from api_server import Api

from batchy_provider.plan.airflow_facts import AirflowFacts, DagFacts
from batchy_provider.plugin import airflow_services

DAG = DagFacts()
CHAIN = ("mail", "report", "sales")


@pytest.fixture
def dags(api: Api, monkeypatch: pytest.MonkeyPatch) -> dict[str, DagFacts]:
    """The DAGs that Airflow has, for the test to change."""
    found = dict.fromkeys(CHAIN, DAG)

    def read(dag_ids: Collection[str]) -> AirflowFacts:
        return AirflowFacts(dags=found)

    monkeypatch.setattr(airflow_services, "read_airflow", read)
    airflow_services.get_services().close()
    airflow_services.reset_services()
    return found


@pytest.fixture
def chain(api: Api, dags: dict[str, DagFacts]) -> int:
    """`mail` waits for `report`, and that for `sales`, whose batch has failed. Where they are, it is noon."""
    zone = f"Etc/GMT{datetime.now(timezone.utc).hour - 12:+d}"  # its sign is that of the hours to Greenwich
    for name, other in itertools.pairwise(CHAIN):
        text = f'schedule: "0 2 * * *"\ntimezone: {zone}\njobs: {{load: {{bash: "true"}}}}\n'
        (api.cfg / f"{name}.yaml").write_text(f"{text}wait_for: {other}\ndeadline: {{within: 4h, notify: my.Pager}}\n")
    client = api.client()
    batch = client.post("/api/v1/workflows/sales/batches").json()["batch"]["batch_id"]
    assert client.post(f"/api/v1/workflows/sales/batches/{batch}/fail", json={"why": "bad file"}).status_code == 200
    return int(batch)


def hide(monkeypatch: pytest.MonkeyPatch, *names: str, entity: object = None) -> None:
    """Take the right to read some workflows away, or one part of them."""
    from batchy_provider.plugin.security import Caller

    def may(self: Caller, method: str, workflow: str, of: object = None, **_: object) -> bool:
        return workflow not in names or (entity is not None and of != entity)

    monkeypatch.setattr(Caller, "may", may)


def codes(answer: dict[str, list[dict[str, str]]]) -> list[str]:
    return [f"{link['workflow']}:{link['code']}" for link in answer["chain"]]


def test_the_chain_to_the_root(api: Api, chain: int) -> None:
    answer = api.client("viewer").get("/api/v1/workflows/mail/why").json()
    assert list(answer) == ["workflow", "code", "text", "chain"]
    assert codes(answer) == ["mail:waiting", "report:waiting", "sales:failed"]
    assert answer["text"].startswith(f"sales has failed: job extract of batch {chain}")
    assert "bad file" in answer["text"]


def test_airflow_says_more(api: Api, chain: int, dags: dict[str, DagFacts]) -> None:
    dags["report"] = DagFacts(paused=True)
    assert codes(api.client().get("/api/v1/workflows/mail/why").json()) == ["mail:waiting", "report:paused"]
    del dags["report"]
    assert codes(api.client().get("/api/v1/workflows/mail/why").json()) == ["mail:waiting", "report:no_dag"]


def test_a_workflow_that_the_caller_may_not_read_says_only_that(
    api: Api, chain: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    hide(monkeypatch, "report", "sales")
    response = api.client().get("/api/v1/workflows/mail/why")
    assert codes(response.json()) == ["mail:waiting", "***:not_disclosed"]
    assert response.json()["text"].startswith("*** is a workflow that you may not see. So mail waits for ***")
    assert "report" not in response.text
    assert "sales" not in response.text
    hide(monkeypatch, "report")
    answer = api.client().get("/api/v1/workflows/mail/why").json()
    assert codes(answer) == ["mail:waiting", "***:not_disclosed", "sales:failed"]
    assert api.client().get("/api/v1/workflows/report/why").status_code == 403


def test_what_a_script_wrote_needs_the_right_to_read_logs(
    api: Api, chain: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity

    from batchy_provider.plan.why_facts import FailedJob
    from batchy_provider.services.failed_output import FailedOutput

    found = FailedJob(job="extract", exit_code=3, last_line="ORA-00942")
    monkeypatch.setattr(FailedOutput, "of", lambda self, state, if_fast=False: found)
    paths = ("/api/v1/workflows/mail/why", "/api/v1/why")
    assert all("stderr ends with: ORA-00942" in api.client().get(path).text for path in paths)
    hide(monkeypatch, "sales", entity=DagAccessEntity.TASK_LOGS)
    assert all("ORA" not in api.client().get(path).text for path in paths)
    assert all("with exit code 3" in api.client().get(path).text for path in paths)


def test_one_question_answers_for_the_rows_of_a_page(api: Api, chain: int, monkeypatch: pytest.MonkeyPatch) -> None:
    client = api.client("viewer")
    assert [each["workflow"] for each in client.get("/api/v1/why").json()] == ["mail", "report", "sales"]
    asked = client.get("/api/v1/why", params={"workflow": ["mail", "nobody"]}).json()
    assert asked == [client.get("/api/v1/workflows/mail/why").json()]
    assert client.get("/api/v1/why", params={"workflow": "nobody"}).json() == []
    hide(monkeypatch, "sales")
    assert [each["workflow"] for each in client.get("/api/v1/why").json()] == ["mail", "report"]


def test_impact_and_what_of_it_the_caller_may_see(api: Api, chain: int, monkeypatch: pytest.MonkeyPatch) -> None:
    path = "/api/v1/workflows/sales/impact"
    batch = api.client().post("/api/v1/workflows/sales/batches").json()["batch"]["batch_id"]
    api.client().post(f"/api/v1/workflows/sales/batches/{batch}/close")
    found = api.client("viewer").get(path, params={"failed": True}).json()
    assert [each["workflow"] for each in found["downstream"]] == ["report", "mail"]
    assert {each["miss_probability"] for each in found["downstream"]} == {1.0}
    assert {each["miss_probability"] for each in api.client().get(path).json()["downstream"]} == {None}
    assert api.client().get(path, params={"late": "3d"}).json()["downstream"][0]["miss_probability"] == 1.0
    hide(monkeypatch, "report")
    shown = api.client().get(path).json()["downstream"]
    assert [each["workflow"] for each in shown] == ["mail", "***"]
    assert [step["workflow"] for step in shown[0]["via"]] == ["sales", "***"]
    assert shown[1] == {"workflow": "***", "via": [], "deadline": None, "miss_probability": None}


@pytest.mark.parametrize(
    ("question", "status", "code"),
    [
        ("workflows/sale/why", 404, "unknown_workflow"),
        ("workflows/sale/impact", 404, "unknown_workflow"),
        ("workflows/sales/impact?late=soon", 422, "invalid_value"),
        ("workflows/sales/impact?late=2h&failed=true", 422, "invalid_value"),
        ("workflows/sales/impact?failed=perhaps", 422, "invalid_request"),
    ],
)
def test_what_is_refused(api: Api, chain: int, question: str, status: int, code: str) -> None:
    response = api.client().get(f"/api/v1/{question}")
    assert (response.status_code, response.json()["code"]) == (status, code)


def test_nobody_asks_without_a_login(api: Api) -> None:
    for path in ("why", "workflows/sales/why", "workflows/sales/impact"):
        assert api.client(None).get(f"/api/v1/{path}").status_code == 401


def test_the_real_database_is_read(api: Api) -> None:
    answer = api.client().get("/api/v1/workflows/sales/why").json()
    assert answer["code"] in ("no_dag", "dag_processor_silent"), "Airflow's database has no DAG, and nothing parses"
