# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The overview by tag and owner, problems first, with the failure of each row and what the caller may change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from api_server import Api

from batchy_provider.bundles.execution_id import ExecutionId
from batchy_provider.plugin import airflow_services

JOBS = 'jobs: {load: {bash: "true"}}\n'
SCRIPT = "<script>alert(1)</script>"
FILES = {
    "sales": f"tags: [nightly, critical]\nowner: finance\n{JOBS}",
    "shops": f'tags: [nightly]\nowner: "{SCRIPT}"\n{JOBS}',
    "stock": "defaults: {owner: data}\njobs:\n  a: {bash: 'true', owner: finance}\n  b: {bash: 'true'}\n",
    "wrong": "jobs: 3\n",
}


@pytest.fixture(autouse=True)
def files(api: Api) -> None:
    for name, text in FILES.items():
        (api.cfg / f"{name}.yaml").write_text(text)


def overview(api: Api, query: str = "", role: str = "admin") -> dict[str, Any]:
    answer = api.client(role).get(f"/api/v1/overview?{query}")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def names(found: dict[str, Any]) -> list[str]:
    return [row["workflow"] for row in found["items"]]


def fail(api: Api, workflow: str) -> int:
    client = api.client()
    batch = client.post(f"/api/v1/workflows/{workflow}/batches").json()["batch"]["batch_id"]
    assert client.post(f"/api/v1/workflows/{workflow}/batches/{batch}/fail").status_code == 200
    return int(batch)


def test_by_tag_and_owner(api: Api) -> None:
    assert names(overview(api, "tag=nightly")) == ["sales", "shops"]
    assert names(overview(api, "tag=critical&tag=other")) == ["sales"]
    assert names(overview(api, "owner=finance")) == ["sales", "stock"]
    assert names(overview(api, "owner=finance&tag=nightly")) == ["sales"]
    assert names(overview(api, "tag=night")) == []
    found = overview(api, "tag=critical")
    assert found["tags"] == {"critical": 1, "nightly": 2}
    assert found["owners"] == {SCRIPT: 1, "data": 1, "finance": 2}
    assert found["counts"]["all"] == 1
    rows = {row["workflow"]: row for row in overview(api)["items"]}
    assert (rows["sales"]["tags"], rows["sales"]["owners"]) == (["nightly", "critical"], ["finance"])
    assert rows["stock"]["owners"] == ["finance", "data"]
    listed = api.client().get("/api/v1/workflows?owner=finance&tag=nightly").json()
    assert [row["workflow"] for row in listed["items"]] == ["sales"]


def test_problems_come_first(api: Api) -> None:
    batch = fail(api, "stock")
    fail(api, "shops")
    assert names(overview(api, "order_by=problems")) == ["shops", "stock", "wrong", "sales"]
    found = overview(api, "order_by=problems&kind=problems")
    assert names(found) == ["shops", "stock", "wrong"]
    assert found["counts"]["failures"] == 2
    api.client().post(f"/api/v1/workflows/stock/batches/{batch}/ack", json={"text": "known"})
    found = overview(api, "order_by=problems")
    assert [(row["workflow"], row["problem"]) for row in found["items"]] == [
        ("shops", "failed"),
        ("wrong", "invalid_file"),
        ("stock", "acknowledged"),
        ("sales", None),
    ]
    assert (found["counts"]["failures"], found["counts"]["failed"], found["counts"]["acknowledged"]) == (1, 2, 1)
    assert names(overview(api, "kind=acknowledged")) == ["stock"]
    assert names(overview(api, "order_by=-problems"))[0] == "sales"


def test_a_failed_row_says_how(api: Api, tmp_path: Path) -> None:
    batch = fail(api, "shops")
    failure = overview(api, "search=shops")["items"][0]["failure"]
    assert (failure["batch_id"], failure["job"], failure["exit_code"]) == (batch, "load", None)
    (tmp_path / "scratch").mkdir()
    identity = ExecutionId(workflow="shops", batch_id=str(batch), job="load", attempt="2")
    with airflow_services.get_services().results.draft(identity, tmp_path / "scratch") as draft:
        (draft.folder / "stdout").write_bytes(b"")
        (draft.folder / "stderr").write_text(f"warning\ndisk full {SCRIPT}\n\n")
        draft.commit({"state": "failed", "exit_code": 3, "reason": "exit code 3", "started": "a", "finished": "b"})
    rows = {row["workflow"]: row["failure"] for row in overview(api)["items"]}
    assert rows["shops"] == {
        "batch_id": batch,
        "job": "load",
        "attempt": "2",
        "exit_code": 3,
        "reason": "exit code 3",
        "last_line": f"disk full {SCRIPT}",
    }
    assert rows["sales"] is None
    assert api.client().get("/api/v1/overview/shops").json()["row"]["failure"] == rows["shops"]


def test_what_a_script_wrote_needs_the_right_to_read_logs(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    from batchy_provider.plan.why_facts import FailedJob
    from batchy_provider.plugin.security import Caller
    from batchy_provider.services.failed_output import FailedOutput

    fail(api, "shops")
    job = FailedJob(job="load", exit_code=3, reason="secret", last_line="secret", attempt="1")
    monkeypatch.setattr(FailedOutput, "of", lambda self, state, if_fast=False: job)
    monkeypatch.setattr(Caller, "sees_output", lambda self, workflows: lambda name: False)
    failure = overview(api, "search=shops")["items"][0]["failure"]
    assert (failure["exit_code"], failure["reason"], failure["last_line"]) == (3, None, None)


def test_where_the_next_window_starts(api: Api) -> None:
    fail(api, "shops")
    client = api.client()
    batch = client.post("/api/v1/workflows/stock/batches").json()["batch"]
    client.post(f"/api/v1/workflows/stock/batches/{batch['batch_id']}/close")
    rows = {row["workflow"]: row for row in overview(api)["items"]}
    assert rows["stock"]["next_from"] == batch["to_date"]
    assert rows["shops"]["next_from"] == rows["shops"]["from_date"]
    assert rows["sales"]["next_from"] is None


def test_it_says_which_rows_the_caller_may_change(api: Api) -> None:
    assert overview(api)["editable"] == ["sales", "shops", "stock", "wrong"]
    assert overview(api, role="viewer")["editable"] == []


def test_labels_of_workflows_that_may_not_be_read_are_not_counted(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    from batchy_provider.plugin.security import Caller

    may = Caller.may
    monkeypatch.setattr(
        Caller, "may", lambda self, method, name, entity=None, **_: name != "sales" and may(self, method, name, entity)
    )
    found = overview(api)
    assert found["tags"] == {"nightly": 1}
    assert found["owners"] == {SCRIPT: 1, "data": 1, "finance": 1}


def test_more_workflows_do_not_need_more_looks_at_the_folder(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    from batchy_provider.config.catalog import Catalog

    looks: list[int] = []
    read = Catalog.read

    def counting(self: Catalog) -> object:
        looks.append(1)
        return read(self)

    monkeypatch.setattr(Catalog, "read", counting)

    def counted() -> int:
        looks.clear()
        overview(api)
        return len(looks)

    few = counted()
    for number in range(20):
        (api.cfg / f"more_{number}.yaml").write_text(f'schedule: "0 2 * * *"\nwait_for: sales\n{JOBS}')
    for number in range(3):
        fail(api, f"more_{number}")
    assert counted() <= few + 1
