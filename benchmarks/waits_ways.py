# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Ways to wait, which `waits.py` compares: our trigger, those of other providers, and polling processes."""

from __future__ import annotations

import time
from dataclasses import asdict
from datetime import datetime, timezone
from typing import Any

from waits_airflow import WAITED_FOR, Rig

from batchy_provider.core.values import CloseRequest, OpenRequest, WorkflowConfig
from batchy_provider.core.waits import Wait
from batchy_provider.state.store import Store

CHANNEL = "benchmark"


class Way:
    """A way to wait.

    :param rig: Airflow and Redis.
    :param poll: seconds between two polls.
    """

    path = ""

    def __init__(self, rig: Rig, poll: float) -> None:
        self.rig = rig
        self.poll = poll
        self.store = Store(rig.client)

    def prepare(self, size: int) -> None:
        """Make what is waited for; it is not done yet."""

    def kwargs(self, number: int) -> dict[str, Any]:
        return {}

    def close(self) -> float:
        """End all waits; returns the moment before the last close."""
        return time.monotonic()


class OneWorkflow(Way):
    path = "batchy_provider.triggers.waitsy.WaitsyTrigger"

    def prepare(self, size: int) -> None:
        self.workflows = [self.workflow(number) for number in range(size)]
        for workflow in dict.fromkeys(self.workflows):
            config = WorkflowConfig(name=workflow, jobs={f"job{number}": {"region": "eu"} for number in range(5)})
            self.store.open(workflow, OpenRequest(config=config))

    def workflow(self, number: int) -> str:
        return "sales"

    def kwargs(self, number: int) -> dict[str, Any]:
        today = datetime.now(timezone.utc).date().isoformat()
        return {"wait": asdict(Wait(workflow=self.workflows[number], day=today))}

    def close(self) -> float:
        since = time.monotonic()
        for workflow in dict.fromkeys(self.workflows):
            since = time.monotonic()
            self.store.close(workflow, CloseRequest(result="success"))
        return since


class OwnWorkflows(OneWorkflow):
    def workflow(self, number: int) -> str:
        return f"sales{number}"


class BareOneWorkflow(OneWorkflow):
    path = "waits_triggers.Bare"


class BareOwnWorkflows(OwnWorkflows):
    path = "waits_triggers.Bare"


class Nothing(Way):
    path = "waits_triggers.Nothing"


class ExternalTaskSensor(Way):
    path = "airflow.providers.standard.triggers.external_task.WorkflowTrigger"

    def prepare(self, size: int) -> None:
        self._set_state("running")

    def kwargs(self, number: int) -> dict[str, Any]:
        run = {"external_dag_id": WAITED_FOR, "run_ids": ["run"], "allowed_states": ["success"]}
        return run | {"poke_interval": self.poll}

    def close(self) -> float:
        since = time.monotonic()
        self._set_state("success")
        return since

    def _set_state(self, state: str) -> None:
        self.rig.sql("UPDATE dag_run SET state = %s WHERE dag_id = %s", state, WAITED_FOR)


class AwaitMessageTrigger(Way):
    path = "airflow.providers.redis.triggers.redis_await_message.AwaitMessageTrigger"

    def kwargs(self, number: int) -> dict[str, Any]:
        return {"channels": CHANNEL, "poll_interval": self.poll}

    def close(self) -> float:
        since = time.monotonic()
        self.rig.client.publish(CHANNEL, "closed")
        return since


class Waitsy(OneWorkflow):
    """Processes, no triggerer."""


WAYS: dict[str, type[Way]] = {
    "one workflow": OneWorkflow,
    "own workflows": OwnWorkflows,
    "one workflow bare": BareOneWorkflow,
    "own workflows bare": BareOwnWorkflows,
    "nothing": Nothing,
    "ExternalTaskSensor": ExternalTaskSensor,
    "AwaitMessageTrigger": AwaitMessageTrigger,
    "waitsy": Waitsy,
}
