# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Build notifications: Airflow notifiers for the end of a job or a run, and for missed deadlines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from batchy_provider.compat import sync_callback_class
from batchy_provider.config.base_model import Notifier
from batchy_provider.config.diagnostics import Code, KeyPath, Violation
from batchy_provider.config.job_model import Job, Settings
from batchy_provider.config.model import WorkflowModel
from batchy_provider.config.run_checks import crons_of, is_after_workflows, time_to_deadline
from batchy_provider.dag_factory.classes import BuildError, import_class, make

EVENTS = ("on_failure", "on_retry", "on_success")


def job_callbacks(name: str, job: Job, defaults: Settings) -> dict[str, Any]:
    """Return the callbacks of a job's task: its own, or those of the file's defaults.

    :raises BuildError: if a notifier cannot be made.
    """
    callbacks = {}
    for event in EVENTS:
        if (own := getattr(job, event)) is not None:
            callbacks[f"{event}_callback"] = _notifiers(own, ("jobs", name, event))
        elif (inherited := getattr(defaults, event)) is not None:
            callbacks[f"{event}_callback"] = _notifiers(inherited, ("defaults", event))
    return callbacks


def run_callbacks(model: WorkflowModel) -> dict[str, Any]:
    """Return the callbacks of the DAG.

    :raises BuildError: if a notifier cannot be made.
    """
    given = {"on_failure": model.on_failure, "on_success": model.on_success}
    return {f"{event}_callback": _notifiers(each, (event,)) for event, each in given.items() if each}


def deadlines(model: WorkflowModel) -> Any:
    """Return the DAG's deadline alerts, one for each notifier, or None.

    :raises BuildError: if a notifier cannot be made, or this Airflow cannot call it.
    """
    if model.deadline is None:
        return None
    if model.deadline.warn is not None and model.deadline.warn.notify is not None:
        # The DAG that warns makes them. A fault is shown here, at the key of the file.
        _notifiers(model.deadline.warn.notify, ("deadline", "warn", "notify"))
    from airflow.sdk import BaseNotifier
    from airflow.sdk.definitions import deadline as sdk

    sync_callback = sync_callback_class()
    # A run that is triggered by hand or by assets may have no logical date, and Airflow 3.1 fails over that.
    is_dated = crons_of(model) and not is_after_workflows(model) and sync_callback is not None
    reference = sdk.DeadlineReference.DAGRUN_LOGICAL_DATE if is_dated else sdk.DeadlineReference.DAGRUN_QUEUED_AT
    alerts = []
    for index, notifier in enumerate(model.deadline.notify):
        place: KeyPath = ("deadline", "notify", index)
        cls = import_class(notifier.notifier, BaseNotifier, "Airflow notifier", (*place, "notifier"))
        # Created only to find out whether it accepts its arguments.
        make(cls, notifier.args, {}, (*place, "args" if notifier.args else "notifier"))
        if cls.async_notify is not BaseNotifier.async_notify:
            callback: Any = sdk.AsyncCallback(cls, kwargs=notifier.args)  # type: ignore[attr-defined]  # not in the stub of airflow.sdk
        elif sync_callback is not None:
            callback = sync_callback(cls, kwargs=notifier.args)
        else:
            message = f"{notifier.notifier} has no async_notify, which Airflow 3.1 calls for deadlines"
            raise BuildError([Violation((*place, "notifier"), Code.AIRFLOW_REFUSES, message)])
        interval = time_to_deadline(model)
        assert interval is not None
        alerts.append(sdk.DeadlineAlert(reference=reference, interval=interval, callback=callback))
    return alerts


def _notifiers(notifiers: Sequence[Notifier], place: KeyPath) -> list[Any]:
    from airflow.sdk import BaseNotifier

    made = []
    for index, notifier in enumerate(notifiers):
        here = (*place, index)
        cls = import_class(notifier.notifier, BaseNotifier, "Airflow notifier", (*here, "notifier"))
        made.append(make(cls, notifier.args, {}, (*here, "args" if notifier.args else "notifier")))
    return made
