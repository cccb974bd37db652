# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Runs of the sensor, in each mode, and the batches that it waits for."""

from __future__ import annotations

from datetime import datetime, timezone
from types import SimpleNamespace
from typing import Any

import lazy_object_proxy
import pytest
from airflow.exceptions import AirflowRescheduleException
from airflow.providers.common.compat.sdk import (
    TaskDeferred,
)

from batchy_provider.core.values import CloseRequest, Holder, OpenRequest, WorkflowConfig
from batchy_provider.core.vocabulary import Result
from batchy_provider.sensors.waitsy import WaitsySensor
from batchy_provider.state.store import Store
from batchy_provider.triggers.waitsy import WaitsyTrigger


def sensor(**kwargs: Any) -> WaitsySensor:
    return WaitsySensor(**{"task_id": "wait", "workflow": "wf", "poke_interval": 0.05, "timeout": 20, **kwargs})


def context(*, run_after: datetime | None = None, **run: Any) -> Any:
    defaults = {
        "dag_id": "mine",
        "run_id": "r1",
        "run_type": "scheduled",
        "conf": None,
        "run_after": run_after or datetime.now(timezone.utc),
        "data_interval_start": None,
        "data_interval_end": None,
        "logical_date": None,
    }
    # Airflow's context holds a proxy, that is not None itself, where there was no run before.
    last = lazy_object_proxy.Proxy(lambda: run.pop("last", None))
    now = datetime.now(timezone.utc)
    ti = SimpleNamespace(start_date=now, get_first_reschedule_date=lambda context: now)
    return {"dag_run": SimpleNamespace(**{**defaults, **run}), "ti": ti, "prev_start_date_success": last}


def opened(store: Store, workflow: str = "wf", **kwargs: Any) -> int:
    config = WorkflowConfig(name=workflow, jobs={"a": {}, "b": {}})
    return store.open(workflow, OpenRequest(**{"config": config, "holder": Holder(by="test"), **kwargs})).batch_id


def closed(store: Store, result: Result = "success", workflow: str = "wf", **kwargs: Any) -> int:
    batch_id = opened(store, workflow, **kwargs)
    store.close(workflow, CloseRequest(result=result, batch_id=batch_id))
    return batch_id


def waits(task: WaitsySensor, of: Any) -> bool:
    """Run the sensor's first look; tell whether it goes on waiting."""
    if not task.deferrable and task.mode == "poke":
        return not task.poke(of).is_done
    try:
        task.execute(of)
    except (TaskDeferred, AirflowRescheduleException):
        return True
    return False


def deferred(task: WaitsySensor, of: Any) -> tuple[WaitsyTrigger, TaskDeferred]:
    with pytest.raises(TaskDeferred) as stop:
        task.execute(of)
    trigger = stop.value.trigger
    assert isinstance(trigger, WaitsyTrigger)
    return trigger, stop.value
