# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What OpenLineage and OpenTelemetry get from one night that succeeds and one that fails."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from airflow_versions import HAS_TASK_SPANS, telemetry
from otlp_receiver import Receiver, receiver
from redis import Redis

from batchy_provider.state.store import Store

pytestmark = pytest.mark.slow

SOURCE = Path(__file__).parent / "observed_dags.py"
CFG = {
    "seen_good": """\
jobs:
  load:
    params: {table: orders}
    inputs:
      - s3://landing/{{ batch.params.table }}/{{ ds }}
      - s3://landing/static
    outputs: "postgres://dwh:5432/dwh.sales.{{ batch.params.table }}"
    bash: |
      echo "parent=${TRACEPARENT:-none}"
      echo '{"outputs": ["s3://lake/orders", "no address"]}' > $BATCHY_OUTPUT_DIR/lineage.json
""",
    "seen_bad": """\
jobs:
  load: {bash: "echo password=hunter2 >&2; exit 3", inputs: s3://landing/x, outputs: s3://lake/x}
""",
}


class Observed(NamedTuple):
    """The events of OpenLineage, the nights' Redis, what OpenTelemetry got, the log, and stdout of the scripts."""

    events: list[dict[str, Any]]
    client: Redis
    otlp: Receiver
    log: str
    printed: str


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory, _servers: Any) -> Iterator[Observed]:
    """Run both nights with `dag.test()` in another program, and collect what it reports."""
    from airflow.utils.db import initdb

    initdb()
    folder = tmp_path_factory.mktemp("lineage")
    for name, text in CFG.items():
        (folder / "cfg").mkdir(exist_ok=True)
        (folder / "cfg" / f"{name}.yaml").write_text(text)
    server = _servers["valkey"]
    with server.client() as client, receiver() as otlp:
        client.flushall()
        transport = {"type": "file", "log_file_path": str(folder / "events.json"), "append": True}
        environment = {
            **os.environ,
            "AIRFLOW_CONN_REDIS_DEFAULT": server.url,
            "AIRFLOW__BATCHY__RESULTS_URL": str(folder / "results"),
            "AIRFLOW__BATCHY__BUNDLE_CACHE": str(folder / "cache"),
            "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(transport),
            "AIRFLOW__OPENLINEAGE__NAMESPACE": "tests",
            # The machine may be busy.
            "AIRFLOW__OPENLINEAGE__EXECUTION_TIMEOUT": "300",
            **telemetry(otlp.url),
            "BATCHY_TEST_OBSERVED_CFG": str(folder / "cfg"),
        }
        dags = Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
        dags.mkdir(exist_ok=True)
        file = dags / SOURCE.name
        shutil.copy(SOURCE, file)
        try:
            command = [sys.executable, str(file), *CFG]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        finally:
            file.unlink()
        assert [line for line in done.stdout.splitlines() if line.startswith("seen_")] == [
            "seen_good success",
            "seen_bad failed",
        ], done.stdout + done.stderr
        lines = (folder / "events.json").read_text().splitlines()
        printed = "".join(path.read_text() for path in (folder / "results").rglob("stdout"))
        yield Observed([json.loads(line) for line in lines], client, otlp, done.stdout, printed)


def events(night: Observed, job: str) -> dict[str, dict[str, Any]]:
    """Type → event of a job's run."""
    return {event["eventType"]: event for event in night.events if event["job"]["name"] == job}


def datasets(event: dict[str, Any], of: str) -> list[tuple[str, str]]:
    return [(each["namespace"], each["name"]) for each in event[of]]


def test_a_run_that_succeeds(night: Observed) -> None:
    found = events(night, "seen_good.load")
    assert list(found) == ["START", "COMPLETE"]
    for event in found.values():
        (day_of_run, static), table = datasets(event, "inputs"), datasets(event, "outputs")[0]
        assert day_of_run[0] == "s3://landing"
        assert day_of_run[1].startswith("orders/20"), "templates are rendered"
        assert (static, table) == (("s3://landing", "static"), ("postgres://dwh:5432", "dwh.sales.orders"))


def test_what_a_script_has_found_out_is_told_in_the_end(night: Observed) -> None:
    found = events(night, "seen_good.load")
    assert len(datasets(found["START"], "outputs")) == 1
    assert datasets(found["COMPLETE"], "outputs")[1:] == [("s3://lake", "orders")]


@pytest.mark.parametrize(("workflow", "kind"), [("seen_good", "COMPLETE"), ("seen_bad", "FAIL")])
def test_the_end_says_which_batch_and_window_it_was(night: Observed, workflow: str, kind: str) -> None:
    batch = Store(night.client).status(workflow).batch
    assert batch is not None
    facet = events(night, f"{workflow}.load")[kind]["run"]["facets"]["batchy_batch"]
    assert {name: value for name, value in facet.items() if not name.startswith("_")} == {
        "workflow": workflow,
        "job": "load",
        "batchId": batch.batch_id,
        "kind": "live",
        "fromDate": f"{batch.from_date}Z",
        "toDate": f"{batch.to_date}Z",
    }


def test_a_run_that_fails_reports_its_datasets_too(night: Observed) -> None:
    found = events(night, "seen_bad.load")["FAIL"]
    assert (datasets(found, "inputs"), datasets(found, "outputs")) == ([("s3://landing", "x")], [("s3://lake", "x")])


def test_no_dag_is_started_by_an_output(night: Observed) -> None:
    from airflow.models.asset import AssetModel
    from airflow.utils.session import create_session

    with create_session() as session:
        uris = [uri for (uri,) in session.query(AssetModel.uri)]
    assert not [uri for uri in uris if "lake" in uri or "dwh" in uri]


def test_it_counts(night: Observed) -> None:
    (closed,) = night.otlp.points("airflow.batchy.batch.closed", workflow="seen_good")[-1:]
    assert (closed.value, closed.tags["kind"], closed.tags["status"]) == (1, "live", "success")
    (ended,) = night.otlp.points("airflow.batchy.execution.ended", workflow="seen_bad")[-1:]
    assert (ended.value, ended.tags["job"], ended.tags["state"]) == (1, "load", "failed")


@pytest.mark.skipif(not HAS_TASK_SPANS, reason="Airflow 3.1 sets up no tracing in tasks")
class TestSpans:
    def test_of_a_batch(self, night: Observed) -> None:
        batch = Store(night.client).status("seen_good").batch
        assert batch is not None
        spans = night.otlp.spans(workflow="seen_good", batch_id=batch.batch_id)
        assert [span.name for span in spans] == ["batchy.open", "batchy.execution", "batchy.close"]
        opened, execution, closed = (span.attributes for span in spans)
        assert (opened["batchy.from_date"], opened["batchy.reused"]) == (batch.from_date, False)
        assert (execution["batchy.job"], execution["batchy.exit_code"], execution["batchy.state"]) == (
            "load",
            0,
            "success",
        )
        assert (closed["batchy.status"], closed["batchy.to_date"]) == ("success", batch.to_date)

    def test_a_script_gets_the_span_it_runs_in(self, night: Observed) -> None:
        (span,) = (each for each in night.otlp.spans(workflow="seen_good") if each.name == "batchy.execution")
        assert f"parent=00-{span.trace_id}-{span.span_id}-" in night.printed

    def test_a_failure_is_told_without_what_the_script_wrote(self, night: Observed) -> None:
        (span,) = (each for each in night.otlp.spans(workflow="seen_bad") if each.name == "batchy.execution")
        assert (span.failed, span.message) == (True, "script.sh failed: exit code 3.")
        assert "hunter2" in night.log
        assert "hunter2" not in f"{span}"
