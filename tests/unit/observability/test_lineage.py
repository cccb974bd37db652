# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What OpenLineage's own provider and client send of a night: `dag.test()` in a program of its own, file transport."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from batchy_provider.batches.store import BatchStore

pytest.importorskip("airflow.providers.openlineage")

SOURCE = Path(__file__).parent / "lineage_dags.py"
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
      echo '{"outputs": ["s3://lake/orders", "no address"]}' > $BATCHY_OUTPUT_DIR/lineage.json
""",
    "seen_bad": """\
jobs:
  load: {bash: "exit 3", inputs: s3://landing/x, outputs: s3://lake/x}
""",
}


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory, _servers: Any) -> Iterator[tuple[list[dict[str, Any]], Redis]]:
    """The events of both nights, and the Redis that they ran on."""
    from airflow.utils.db import initdb

    initdb()
    folder = tmp_path_factory.mktemp("lineage")
    for name, text in CFG.items():
        (folder / "cfg").mkdir(exist_ok=True)
        (folder / "cfg" / f"{name}.yaml").write_text(text)
    server = _servers["valkey"]
    with server.client() as client:
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
            "BATCHY_TEST_LINEAGE_CFG": str(folder / "cfg"),
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
        yield [json.loads(line) for line in (folder / "events.json").read_text().splitlines()], client


def events(night: tuple[list[dict[str, Any]], Redis], job: str) -> dict[str, dict[str, Any]]:
    """Type → event of a job's run."""
    return {event["eventType"]: event for event in night[0] if event["job"]["name"] == job}


def datasets(event: dict[str, Any], of: str) -> list[tuple[str, str]]:
    return [(each["namespace"], each["name"]) for each in event[of]]


def test_a_run_that_succeeds(night: Any) -> None:
    told = events(night, "seen_good.load")
    assert list(told) == ["START", "COMPLETE"]
    for event in told.values():
        (day_of_run, static), table = datasets(event, "inputs"), datasets(event, "outputs")[0]
        assert day_of_run[0] == "s3://landing"
        assert day_of_run[1].startswith("orders/20"), "templates are rendered"
        assert (static, table) == (("s3://landing", "static"), ("postgres://dwh:5432", "dwh.sales.orders"))


def test_what_a_script_has_found_out_is_told_in_the_end(night: Any) -> None:
    told = events(night, "seen_good.load")
    assert len(datasets(told["START"], "outputs")) == 1
    assert datasets(told["COMPLETE"], "outputs")[1:] == [("s3://lake", "orders")]


@pytest.mark.parametrize(("workflow", "kind"), [("seen_good", "COMPLETE"), ("seen_bad", "FAIL")])
def test_the_end_says_which_batch_and_window_it_was(night: Any, workflow: str, kind: str) -> None:
    batch = BatchStore(night[1]).status(workflow).batch
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


def test_a_run_that_fails_tells_its_datasets_too(night: Any) -> None:
    told = events(night, "seen_bad.load")["FAIL"]
    assert (datasets(told, "inputs"), datasets(told, "outputs")) == ([("s3://landing", "x")], [("s3://lake", "x")])


def test_no_dag_is_started_by_an_output(night: Any) -> None:
    from airflow.models.asset import AssetModel
    from airflow.utils.session import create_session

    with create_session() as session:
        uris = [uri for (uri,) in session.query(AssetModel.uri)]
    assert not [uri for uri in uris if "lake" in uri or "dwh" in uri]
