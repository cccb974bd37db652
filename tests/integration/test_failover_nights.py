# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Whole nights while Sentinel gives the state another master: scheduler, workers and triggerer all have to follow."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from deployed import Deployed, deployed
from failovers import graceful, killed_and_not_waited_for
from nights import Nights

from batchy_provider.local.rest import wait_for

LOADER = """\
schedule: null
connection: failed_over
jobs:
  load:
    bash: |
      while ! test -e {folder}/go; do sleep 0.2; done
      echo "$BATCHY_FROM_DATE $BATCHY_TO_DATE" >> {folder}/loaded
"""
FOLLOWER = """\
schedule: null
connection: failed_over
wait_for: {workflow: loader, scope: since_last_run}
jobs:
  report: {bash: "true"}
"""


@pytest.fixture
def sentinel(airflow: Nights, tmp_path: Path) -> Iterator[Deployed]:
    """Three servers and three Sentinels, with TLS and users of the least rights, as an Airflow connection."""
    with deployed("redis-sentinel.sh", tmp_path / "deployed", 6) as servers:
        body = json.loads(servers.connection)
        body["extra"] = json.dumps(body["extra"])
        airflow.client.request("POST", "/connections", json={"connection_id": "failed_over", **body})
        yield servers
        for workflow in ("loader", "follower"):
            (airflow.cfg / f"{workflow}.yaml").unlink(missing_ok=True)
        airflow.client.request("DELETE", "/connections/failed_over")


def test_nights_over_failovers_load_each_window_once(airflow: Nights, sentinel: Deployed, tmp_path: Path) -> None:
    """One planned; one by a kill that the job does not wait for: its batch closes while there is no master at all."""
    airflow.add("loader", LOADER.format(folder=tmp_path))
    airflow.add("follower", FOLLOWER)
    for fail in (graceful, killed_and_not_waited_for):
        (tmp_path / "go").unlink(missing_ok=True)
        follower = airflow.start("follower")
        airflow.client.wait_for_task("follower", follower, "wait_for_loader", ["deferred"])
        loader = airflow.start("loader")
        wait_for(lambda run=loader: airflow.tasks("loader", run).get("load") == "running", "the job", timeout=240)
        fail(sentinel)
        (tmp_path / "go").touch()
        assert airflow.client.wait_for_run("loader", loader, timeout=240) == "success", fail.__name__
        assert airflow.client.wait_for_run("follower", follower, timeout=240) == "success", fail.__name__

    (first_from, first_to), (second_from, second_to) = (
        line.split() for line in (tmp_path / "loaded").read_text().splitlines()
    )
    assert first_from < first_to == second_from < second_to, "each window once, without a gap"
