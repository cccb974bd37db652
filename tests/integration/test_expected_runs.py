# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The plan on a whole Airflow: what runs, what is queued for a pool, and the runs that are expected then come."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from airflow_versions import has_provider_commands
from nights import Nights

from batchy_provider.core.dates import parse_date
from batchy_provider.local.rest import wait_for

POOL = "plan_one"
WORKFLOW = """\
schedule: null
max_active_runs: 1
jobs:
  load:
    pool: {pool}
    bash: "sleep 1; while test -e {marker}; do sleep 0.2; done"
"""
AFTER = """\
schedule: {after: [plan_b]}
jobs:
  load: {bash: "true"}
"""


def shell(airflow: Nights, *command: str) -> Any:
    """Run a command of the installed package, as a person on a machine of Airflow does."""
    environment = {**airflow.stack.environment, "BATCHY_CFG": str(airflow.cfg)}
    found = subprocess.run(
        [sys.executable, "-m", *command], env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert found.returncode == 0, found.stderr[-2000:]
    return json.loads(found.stdout)


def states(runs: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return sorted((run["workflow"], run["state"]) for run in runs)


def test_the_runs_that_are_expected_come(airflow: Nights, tmp_path: Path) -> None:
    marker = tmp_path / "busy"
    text = WORKFLOW.format(pool=POOL, marker=marker)
    with airflow.rest() as rest:
        rest.post("/api/v2/pools", json={"name": POOL, "slots": 1}).raise_for_status()
        airflow.add_all({"plan_a": text, "plan_b": text, "plan_c": AFTER})
        for name in ("plan_a", "plan_b"):
            for _ in range(3):
                assert airflow.run(name)[1] == "success"

        def plan(name: str) -> list[dict[str, Any]]:
            return list(rest.get(f"/batchy/api/v1/workflows/{name}/plan").raise_for_status().json())

        assert plan("plan_a") == [], "nothing is due, and nothing runs"
        marker.touch()
        first = airflow.start("plan_a")
        wait_for(lambda: airflow.tasks("plan_a", first).get("load") == "running", "the job of plan_a", timeout=240)
        second = airflow.start("plan_b")
        wait_for(lambda: airflow.tasks("plan_b", second).get("load") == "scheduled", "a full pool", timeout=240)
        third = airflow.start("plan_b")

        def is_seen() -> bool:
            return [run["state"] for run in plan("plan_b")] == ["running", "pending"]

        wait_for(is_seen, "the run that is queued, too", timeout=120)
        (holds,) = plan("plan_a")
        waits, queued = plan("plan_b")
        (then,) = plan("plan_c")[:1]
        assert holds["state"] == "running"
        # The only slot is taken until plan_a ends; max_active_runs keeps the third run queued until the second ends.
        order = [holds["end_p50"], waits["end_p50"], queued["start"], queued["end_p50"]]
        assert all(order), order
        moments = [parse_date(each) for each in order]
        assert moments == sorted(moments), order
        assert parse_date(waits["end_p50"]) > parse_date(holds["end_p50"])
        assert then["waits_for"] == ["plan_b"]
        assert rest.get("/batchy/api/v1/workflows/plan_b/why").json()["code"] == "pool_full"

        asked = ["plan", "plan_a", "plan_b"]
        open_runs = [("plan_a", "running"), ("plan_b", "running")]
        assert states(shell(airflow, "batchy_provider.cli.main", "-o", "json", *asked)) == open_runs
        if has_provider_commands():
            # Redis alone does not know of the run that has not opened its batch.
            found = shell(airflow, "airflow", "batchy", *asked, "-o", "json")
            assert states(found) == sorted([*open_runs, ("plan_b", "pending")])

        marker.unlink()
        runs = [("plan_a", first), ("plan_b", second), ("plan_b", third)]
        for name, run_id in runs:
            assert airflow.client.wait_for_run(name, run_id) == "success"
        ends = [
            airflow.batch(name, run_id).batch_end
            for name, run_id in (("plan_a", first), ("plan_b", second), ("plan_b", third))
        ]
        assert ends == sorted(ends, key=str), "in the order of the plan"
        wait_for(lambda: airflow.store.status("plan_c").batch is not None, "the run after plan_b", timeout=240)
        wait_for(lambda: not plan("plan_a") and not plan("plan_b"), "nothing more", timeout=120)
