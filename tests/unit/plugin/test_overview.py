# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The overview: the content of a row, and filtering, sorting and counting on the server."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone

import pytest
from airflow.models.dag import DagModel
from airflow.models.dagbundle import DagBundleModel
from airflow.utils.session import create_session
from api_server import Api
from sqlalchemy import delete, update

LATE = """\
schedule: "0 0 * * *"
deadline: {within: 1s, notify: [{notifier: airflow.providers.smtp.notifications.smtp.SmtpNotifier}]}
wait_for: [sales]
jobs: {load: {bash: "true"}}
"""


@pytest.fixture
def dag(api: Api) -> Iterator[None]:
    """Make Airflow have the DAG of ``sales``, paused, and a DAG that is not a workflow."""
    due = datetime(2026, 11, 24, 1, tzinfo=timezone.utc)
    names = {"sales": True, "late": False, "other": False}
    with create_session() as session:
        # Other tests share the database, and may have run a DAG of the same name.
        before = {row.dag_id: (row.is_paused, row.is_stale) for row in session.query(DagModel) if row.dag_id in names}
        session.merge(DagBundleModel(name="dags-folder"))
        session.flush()
        for name, paused in names.items():
            row = DagModel(dag_id=name, is_paused=paused, bundle_name="dags-folder", is_stale=False)
            row.next_dagrun_create_after = due
            session.merge(row)
    yield
    with create_session() as session:
        session.execute(delete(DagModel).where(DagModel.dag_id.in_(names.keys() - before.keys())))
        for name, (paused, stale) in before.items():
            given = {"is_paused": paused, "is_stale": stale, "next_dagrun_create_after": None}
            session.execute(update(DagModel).where(DagModel.dag_id == name).values(given))


def rows(api: Api, query: str = "", role: str = "admin") -> dict[str, dict[str, object]]:
    answer = api.client(role).get(f"/api/v1/overview?{query}")
    assert answer.status_code == 200, answer.text
    return {row["workflow"]: row for row in answer.json()["items"]}


@pytest.mark.usefixtures("dag")
def test_a_row_has_the_state_and_the_dag(api: Api) -> None:
    (api.cfg / "late.yaml").write_text(LATE)
    (api.cfg / "broken.yaml").write_text("jobs: 3\n")
    api.client().post("/api/v1/workflows/sales/batches")
    found = rows(api)
    assert set(found) == {"sales", "late", "broken"}
    assert (found["sales"]["status"], found["sales"]["paused"], found["sales"]["next_run"]) == ("open", True, None)
    assert found["sales"]["waited_for_by"] == ["late"]
    assert str(found["late"]["next_run"]).startswith("2026-11-24T01:00:00")
    assert found["late"]["late_seconds"] is not None
    assert (found["broken"]["has_dag"], found["broken"]["paused"]) == (False, None)
    assert found["broken"]["faults"]


@pytest.mark.usefixtures("dag")
@pytest.mark.parametrize(
    ("kind", "names"), [("open", {"sales"}), ("late", {"late"}), ("faults", {"broken"}), ("paused", {"sales"})]
)
def test_rows_are_filtered_and_counted(api: Api, kind: str, names: set[str]) -> None:
    (api.cfg / "late.yaml").write_text(LATE)
    (api.cfg / "broken.yaml").write_text("jobs: 3\n")
    api.client().post("/api/v1/workflows/sales/batches")
    assert set(rows(api, f"kind={kind}")) == names
    counts = api.client().get(f"/api/v1/overview?kind={kind}").json()["counts"]
    assert (counts["all"], counts[kind]) == (3, 1)


def test_pages_searches_and_orders(api: Api) -> None:
    for number in range(5):
        (api.cfg / f"wf_{number}.yaml").write_text(f"description: number {9 - number}\njobs: {{a: {{bash: 'true'}}}}\n")
    assert list(rows(api, "order_by=-workflow&limit=2&offset=1")) == ["wf_3", "wf_2"]
    assert list(rows(api, "search=NUMBER 7")) == ["wf_2"]
    assert list(rows(api, "order_by=description&search=number")) == [f"wf_{number}" for number in (4, 3, 2, 1, 0)]
    for column in ("nothing", "__class__", "is_a"):
        refused = api.client().get(f"/api/v1/overview?order_by={column}")
        assert (refused.status_code, f"cannot sort by '{column}'" in refused.text) == (422, True)


def test_one_row_comes_with_the_permissions_of_the_caller(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def rights(role: str) -> dict[str, bool]:
        return dict(api.client(role).get("/api/v1/overview/sales").json()["rights"])

    assert rights("viewer") == {"edit": False, "logs": True, "code": True, "upload": False}
    assert rights("admin") == {"edit": True, "logs": True, "code": True, "upload": False}
    monkeypatch.setenv("AIRFLOW__BATCHY__ALLOW_UPLOAD", "True")
    assert rights("admin")["upload"]
    assert not rights("viewer")["upload"]
    assert api.client().get("/api/v1/overview/nothing").status_code == 404


def test_it_needs_a_login(api: Api) -> None:
    assert api.client(None).get("/api/v1/overview").status_code == 401
    assert api.client("viewer", cookie=True).get("/api/v1/overview").status_code == 200


@pytest.fixture
def runs(dag: None) -> Iterator[None]:
    """Make a run of ``sales`` wait for a workflow and a second one queue; ``late`` has its own run."""
    from airflow.models.dagrun import DagRun
    from sqlalchemy import insert

    at = datetime(2026, 11, 29, 1, tzinfo=timezone.utc)
    common = {"run_type": "manual", "run_after": at, "queued_at": at, "start_date": at, "log_template_id": 1}
    given = [("sales", "one", "running"), ("sales", "two", "queued"), ("late", "done", "success")]
    with create_session() as session:
        session.execute(delete(DagRun).where(DagRun.dag_id.in_(("sales", "late"))))
        for dag_id, run_id, state in given:
            session.execute(insert(DagRun).values(dag_id=dag_id, run_id=run_id, state=state, **common))
    yield
    with create_session() as session:
        session.execute(delete(DagRun).where(DagRun.run_id.in_([run_id for _, run_id, _ in given])))


@pytest.mark.usefixtures("runs")
def test_a_run_that_has_not_opened_its_batch_is_in_the_row_and_counted(api: Api) -> None:
    (api.cfg / "late.yaml").write_text(LATE)
    found = rows(api)
    activity = found["sales"]["activity"]
    assert isinstance(activity, dict)
    assert (activity["run_id"], activity["runs"]) == ("one", 2)
    assert str(activity["since"]).startswith("2026-11-29T01:00:00")
    assert found["late"]["activity"] is None
    assert set(rows(api, "kind=waiting")) == {"sales"}
    one = api.client().get("/api/v1/overview/sales").json()
    assert (one["runs"], one["tasks"]) == (["one", "two"], {})
    assert list(rows(api, "order_by=activity")) == list(rows(api, "order_by=-activity")) == ["sales", "late"]
