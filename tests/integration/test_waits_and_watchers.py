# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A triggerer is killed while a run waits; batches that Airflow did not close start runs. On a whole Airflow."""

from __future__ import annotations

import json
from typing import Any

from nights import Nights

from batchy_provider.core.values import CloseRequest, Holder, OpenRequest, WorkflowConfig
from batchy_provider.core.vocabulary import Result
from batchy_provider.local.rest import wait_for

PERSON = Holder(by="ann, on the command line")
JOB = "jobs: {a: {bash: 'true'}}"


def load(airflow: Nights, workflow: str, result: Result = "success") -> int:
    """Load a workflow as the command line does, with no run of Airflow."""
    config = WorkflowConfig(name=workflow, jobs={"a": {}})
    batch_id = airflow.store.open(workflow, OpenRequest(config=config, holder=PERSON)).batch_id
    airflow.store.close(workflow, CloseRequest(result=result, batch_id=batch_id))
    return batch_id


def test_a_triggerer_that_is_killed_ends_no_wait(airflow: Nights) -> None:
    airflow.add_all(
        {
            "waiter": f"schedule: null\nwait_for: far_away\n{JOB}",
            "held": f"schedule: null\nstart_date: 2026-01-01\n{JOB}",
        }
    )
    load(airflow, "held")
    airflow.store.hold("held", by="ann", why="the machine is moved")
    run_id = airflow.start("waiter")
    wait = "wait_for_far_away"
    airflow.client.wait_for_task("waiter", run_id, wait, states=["deferred"])
    # It waits when its subscription is there; then the triggerer goes, as with its machine.
    wait_for(lambda: b"batchy-events" in subscribers(airflow), "the wait's subscription", timeout=240)
    held_id = airflow.start("held")
    airflow.client.wait_for_task("held", held_id, "open", states=["deferred"])
    airflow.stack.service("triggerer").kill()
    wait_for(lambda: b"batchy-events" not in subscribers(airflow), "its end", timeout=240)
    batch_id = load(airflow, "far_away")
    airflow.store.release("held", by="ann")
    assert airflow.tasks("waiter", run_id)[wait] == "deferred"
    airflow.stack.restart("triggerer")
    assert airflow.client.wait_for_run("waiter", run_id, timeout=240) == "success"
    assert airflow.client.wait_for_run("held", held_id, timeout=240) == "success"
    assert airflow.client.xcom("waiter", run_id, wait) == str(batch_id)
    said = airflow.log("waiter", run_id, wait)
    assert "far_away: waiting until every enabled job has succeeded on " in said
    assert "no file in " in said
    assert f"far_away: batch {batch_id} succeeded at " in said
    assert "; waited " in said


def test_a_batch_closed_outside_airflow_starts_a_run_also_if_nobody_listened(airflow: Nights) -> None:
    airflow.add("follower", f"schedule: {{after: legacy, outside: true}}\n{JOB}")
    airflow.wait_for_watcher("legacy")
    first = load(airflow, "legacy")
    (run_id,) = wait_for(lambda: airflow.client.run_states("follower"), "a run after the batch", timeout=240)
    assert airflow.client.wait_for_run("follower", run_id) == "success"
    offsets = airflow.store.backend.keys("legacy").offsets

    def cursor() -> dict[str, Any]:
        return dict(json.loads(airflow.store.backend.client.hget(offsets, "outside:success:outside")))

    wait_for(lambda: cursor()["told"] == first, "the batch to count as told", timeout=240)
    airflow.stack.service("triggerer").kill()
    second = load(airflow, "legacy")
    airflow.stack.restart("triggerer")
    wait_for(
        lambda: len(airflow.client.run_states("follower")) == 2,
        "a run after the batch that nobody heard of",
        timeout=240,
    )
    wait_for(lambda: cursor()["told"] == second, "the second batch to count as told", timeout=240)
    assert len(airflow.client.run_states("follower")) == 2, "each batch starts one run"


def subscribers(airflow: Nights) -> bytes:
    """Names of the connections of Redis."""
    return b" ".join(str(one["name"]).encode() for one in airflow.store.backend.client.client_list())
