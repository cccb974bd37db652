# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Start one run of each of several DAGs, and follow all their runs.

A late answer, or a DAG that appears late or disappears, does not stop the others.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from batchy_provider.local.process import StackError
from batchy_provider.local.rest import FINISHED, AirflowClient

DAG_TIMEOUT = 90.0
"""Seconds after which a missing DAG is reported."""
STALL_SECONDS, STALL_AGAIN_SECONDS = 60.0, 600.0
"""`Runs.poll` reports unfinished runs after the first time without any change, then at each second interval."""
MISSING = "missing"
"""State of a DAG that Airflow does not show because of an import error."""
DISAPPEARED = "disappeared"
"""State of a run that Airflow no longer knows, for example because its DAG was deleted."""


@dataclass
class Run:
    """The state of a run.

    :param name: of the run, for people.
    :param tasks: task id → task instance, as Airflow's REST API shows it.
    """

    dag_id: str
    run_id: str
    name: str
    state: str
    tasks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


class Runs:
    """Starts runs, and follows them and those that the scheduler starts meanwhile.

    :param client: logged in as an admin.
    :param dag_ids: DAGs to unpause and to run once.
    :param note: called with each line for the user.
    :param clock: seconds.
    """

    def __init__(
        self,
        client: AirflowClient,
        dag_ids: Iterable[str],
        *,
        note: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._note = note
        self._clock = clock
        self._began = clock()
        self._run_id = f"demo__{datetime.now(timezone.utc):%Y-%m-%dT%H:%M:%S.%f}"
        self._waiting = list(dag_ids)
        self._before: dict[str, set[str]] = {}
        self._started: list[str] = []
        self._missing: set[str] = set()
        self._disappeared: dict[str, str] = {}
        self._runs: dict[tuple[str, str], Run] = {}
        self._outage = ""
        self._seen: Any = None
        self._changed = self._began
        self._next_report = self._began + STALL_SECONDS

    @property
    def runs(self) -> list[Run]:
        """The runs at the last successful poll."""
        return list(self._runs.values())

    @property
    def states(self) -> dict[str, str]:
        """Name → state of each run, and of each DAG without a run."""
        found = {**self._disappeared, **{run.name: run.state for run in self.runs}}
        for dag_id in self._started:
            if dag_id not in self._disappeared and (dag_id, self._run_id) not in self._runs:
                found[dag_id] = "queued"  # started, and not polled yet
        for dag_id in self._waiting:
            found[dag_id] = MISSING if dag_id in self._missing else "not started"
        return found

    @property
    def ended(self) -> bool:
        """Whether all runs have ended."""
        return all(state in FINISHED or state in (MISSING, DISAPPEARED) for state in self.states.values())

    @property
    def succeeded(self) -> bool:
        """Whether all runs succeeded."""
        return all(state == "success" for state in self.states.values())

    def poll(self) -> None:
        """Ask Airflow once. What it does not answer now, the next poll asks again."""
        errors = [self._asked(self._start_what_is_there)]
        errors += [self._asked(self._poll_dag, dag_id) for dag_id in self._started]
        outage = next((error for error in errors if error), "")
        if outage and outage != self._outage:
            self._note(f"Airflow did not answer; asking again: {outage}")
        self._outage = outage
        self._report_stall()

    def _asked(self, question: Callable[..., None], *about: str) -> str:
        """Call a function and return its error, so that one DAG does not stop the others."""
        try:
            question(*about)
        except StackError as error:
            return str(error).splitlines()[0]
        return ""

    def unfinished(self) -> Iterator[str]:
        """Yield one line for each run that has not ended, with the reason."""
        for dag_id in self._waiting:
            yield f"{dag_id}: {self._why_missing(dag_id)}"
        for run in self.runs:
            if run.state not in FINISHED:
                yield f"{run.name} is {run.state}: {self._why(run)}"

    # starting

    def _start_what_is_there(self) -> None:
        if not self._waiting:
            return
        known = self._client.dags()
        there = [dag_id for dag_id in self._waiting if dag_id in known]
        errors = [error for dag_id in there if (error := self._asked(self._start, dag_id))]
        if self._waiting and self._clock() - self._began > DAG_TIMEOUT:
            self._report_missing()
        if errors:
            raise StackError(errors[0])

    def _start(self, dag_id: str) -> None:
        if dag_id not in self._before:
            self._before[dag_id] = self._run_ids(dag_id)
        self._client.unpause(dag_id)
        try:
            # Each attempt uses the same id, so that a lost answer does not start a second run.
            self._client.trigger(dag_id, dag_run_id=self._run_id)
        except StackError as error:
            if "answered 409" not in str(error) or self._run_id not in self._run_ids(dag_id):
                raise
        self._waiting.remove(dag_id)
        self._started.append(dag_id)
        self._missing.discard(dag_id)

    def _run_ids(self, dag_id: str) -> set[str]:
        return {str(run["dag_run_id"]) for run in self._client.runs(dag_id)}

    def _report_missing(self) -> None:
        errors = self._client.import_errors()
        new = [dag_id for dag_id in self._waiting if dag_id not in self._missing and errors]
        if new:
            self._missing.update(new)
            text = "\n".join(error["stack_trace"] for error in errors)
            self._note(f"Airflow does not show {', '.join(new)}. Its import errors:\n{text}")

    def _why_missing(self, dag_id: str) -> str:
        if dag_id in self._missing:
            return "Airflow does not show it; see its import errors"
        return "Airflow does not show it yet"

    # following

    def _poll_dag(self, dag_id: str) -> None:
        try:
            # Not only our run: the scheduler starts the latest run of a DAG that is unpaused.
            found = [run for run in self._client.runs(dag_id) if run["dag_run_id"] not in self._before[dag_id]]
        except StackError as error:
            if "answered 404" not in str(error):
                raise
            found = []
        ids = {run["dag_run_id"] for run in found}
        gone = [key for key, run in self._runs.items() if run.dag_id == dag_id and run.run_id not in ids]
        for key in gone:
            name = self._runs.pop(key).name
            self._disappeared[name] = DISAPPEARED
            self._note(f"{name} has disappeared from Airflow; it is no longer followed")
        for run in found:
            run_id, state = str(run["dag_run_id"]), str(run["state"])
            known = self._runs.get((dag_id, run_id))
            if known is not None and known.state == state and state in FINISHED:
                continue
            name = dag_id if run["run_type"] == "manual" else f"{dag_id} ({run['run_type']})"
            tasks = self._client.task_instances(dag_id, run_id)
            self._runs[dag_id, run_id] = Run(dag_id, run_id, self._unique(name, dag_id, run_id), state, tasks)

    def _unique(self, name: str, dag_id: str, run_id: str) -> str:
        taken = any(run.name == name and (run.dag_id, run.run_id) != (dag_id, run_id) for run in self.runs)
        return f"{dag_id} ({run_id})" if taken else name

    def _report_stall(self) -> None:
        seen = {
            key: (run.state, {task: instance["state"] for task, instance in run.tasks.items()})
            for key, run in self._runs.items()
        }
        now = self._clock()
        if (seen, self._waiting) != self._seen:
            self._seen = (seen, list(self._waiting))
            self._next_report = now + STALL_SECONDS
        elif now >= self._next_report and not self.ended:
            self._next_report = now + STALL_AGAIN_SECONDS
            for line in self.unfinished():
                self._note(f"Not ended yet: {line}")

    def _why(self, run: Run) -> str:
        reasons = []
        for task_id, instance in run.tasks.items():
            state = instance["state"]
            if state in (None, "success", "failed", "skipped", "upstream_failed", "removed", "scheduled", "queued"):
                continue
            reasons.append(f"{task_id} is {state}{self._last_line(run, task_id, instance)}")
        if reasons:
            return "; ".join(reasons)
        before = self._others(run)
        if before:
            return f"it waits for {' and '.join(before)}"
        queued = [task_id for task_id, instance in run.tasks.items() if instance["state"] in ("scheduled", "queued")]
        if queued:
            return f"{', '.join(queued)} waits for a free slot"
        return "it waits for the scheduler"

    def _others(self, run: Run) -> list[str]:
        """Return other active runs of the same DAG: `max_active_runs` may block this one."""
        try:
            found = self._client.runs(run.dag_id)
        except StackError:
            return []
        return [
            f"run {other['dag_run_id']} ({other['state']})"
            for other in found
            if other["dag_run_id"] != run.run_id and other["state"] == "running"
        ]

    def _last_line(self, run: Run, task_id: str, instance: Mapping[str, Any]) -> str:
        try:
            attempt = max(1, int(instance.get("try_number") or 1))
            log = self._client.task_log(run.dag_id, run.run_id, task_id, attempt=attempt)
        except (StackError, ValueError, KeyError, TypeError):
            return ""
        lines = [line.strip() for line in log.splitlines() if _says_something(line)]
        return f": {lines[-1]}" if lines else ""


def _says_something(line: str) -> bool:
    """Tell whether a line of a log comes from the task and not from Airflow."""
    text = line.strip()
    return bool(text) and not text.startswith(("::", "Pausing task", "Task is resuming", "Task instance", "trigger "))
