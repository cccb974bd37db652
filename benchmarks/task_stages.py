# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Where the time of a task goes: `task_overhead.py --stages` installs this file as a plugin and prints its table.

As a plugin, it runs in the scheduler, and wraps the functions of `STAGES`. Each process that the scheduler forks for a
task notes in a file when it entered and left them.
"""

from __future__ import annotations

import functools
import importlib
import os
import resource
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from airflow.plugins_manager import AirflowPlugin

VARIABLE = "BATCHY_BENCHMARK_STAGES"
"""Environment variable with the path of the file of notes."""
_RUNNER = "airflow.sdk.execution_time.task_runner"
_SUPERVISOR = "airflow.sdk.execution_time.supervisor"
_BUNDLES = "batchy_provider.bundles"
_OPERATORS = "batchy_provider.operators"
_OF_TASK, _STARTED = "task ", "start call "

Label = str | Callable[..., str]
STAGES: list[tuple[str, str, Label]] = [
    (_SUPERVISOR, "ActivitySubprocess._on_child_started", lambda self, **_: f"{_STARTED}{self.pid}"),
    (_RUNNER, "startup", lambda msg, *_: f"{_OF_TASK}{msg.ti.dag_id} {msg.ti.task_id}"),
    (_RUNNER, "parse", "parse the DAG"),
    (_RUNNER, "_prepare", "render, before the task"),
    (_RUNNER, "_execute_task", "run the task"),
    (_RUNNER, "_push_xcom_if_needed", "push the return value"),
    ("airflow.sdk.execution_time.comms", "CommsDecoder.send", lambda self, msg, *_: f"  call {type(msg).__name__}"),
    ("batchy_provider.dag_factory.open_batch_check", "OpenBatchCheck.check", "  check of the open batch"),
    ("batchy_provider.hooks.batchy", "BatchyHook.get_conn", "  make a client"),
    ("redis.connection", "AbstractConnection.connect", "  connect to Redis"),
    ("batchy_provider.state.session", "Session.ask", "  round trip to Redis"),
    (f"{_OPERATORS}.bundle", "BashBundleOperator.execute", "  operator"),
    (f"{_OPERATORS}.batch", "BatchyOpenOperator.execute", "  operator"),
    (f"{_OPERATORS}.batch", "BatchyCloseOperator.execute", "  operator"),
    ("batchy_provider.sensors.waitsy", "WaitsySensor.execute", "  operator"),
    ("airflow.providers.standard.operators.bash", "BashOperator.execute", "  operator"),
    (f"{_OPERATORS}.script_request", "script_context_of", "    earlier jobs, script context"),
    (f"{_BUNDLES}.execution", "Execution._prepare", "    working copy"),
    (f"{_BUNDLES}.runner", "Runner._start", "    start script and watchdog"),
    (f"{_BUNDLES}.runner", "Runner._loop", "    script runs"),
    (f"{_BUNDLES}.runner", "Runner._close", "    end session and watchdog"),
    (f"{_BUNDLES}.execution", "Execution._store", "    store the result"),
    (f"{_BUNDLES}.scratch", "ScratchFolder.__exit__", "    remove working copy"),
    ("batchy_provider.archive.archiver", "Archiver.record", "    archive"),
]


def _note(label: str, start: float, end: float) -> None:
    file = os.open(os.environ[VARIABLE], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{os.getpid()} {start:.6f} {end:.6f} {label}\n".encode())
    os.close(file)


def _wrap(module: str, path: str, label: Label) -> None:
    """Let a function note when it is entered and left."""
    owner: Any = importlib.import_module(module)
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    really = getattr(owner, name)

    @functools.wraps(really)
    def call(*arguments: Any, **options: Any) -> Any:
        start = time.time()
        try:
            return really(*arguments, **options)
        finally:
            _note(label(*arguments, **options) if callable(label) else label, start, time.time())
            if name == "_push_xcom_if_needed":
                used = resource.getrusage(resource.RUSAGE_SELF)
                _note("processor time of the process", 0.0, used.ru_utime + used.ru_stime)

    setattr(owner, name, call)


if os.environ.get(VARIABLE):
    for each in STAGES:
        _wrap(*each)


class Stages(AirflowPlugin):
    """Airflow imports the file for this class."""

    name = "batchy_stages"


def table(notes: Path, tasks: Callable[[str], str]) -> str:
    """Return the stages of each kind of task, with the median of when it began and how long it took in all.

    :param tasks: returns the kind of a task from ``<dag> <task>``.
    """
    begun: dict[int, float] = {}
    found: dict[int, list[tuple[str, float, float]]] = defaultdict(list)
    for line in notes.read_text().splitlines():
        pid, start, end, label = line.split(" ", 3)
        if label.startswith(_STARTED):
            begun[int(label.removeprefix(_STARTED))] = float(start)
            pid, label = label.removeprefix(_STARTED), "start call, before the task's process"
        found[int(pid)].append((label, float(start), float(end)))
    kinds: dict[str, dict[str, list[tuple[float, float, int]]]] = defaultdict(lambda: defaultdict(list))
    for process, each in found.items():
        named = next((label for label, _, _ in each if label.startswith(_OF_TASK)), None)
        if named is None or process not in begun:
            continue
        stages: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for label, start, end in each:
            stages["whole start" if label == named else label].append((start, end))
        for label, spans in stages.items():
            first = max(0.0, min(start for start, _ in spans) - begun[process])
            total = sum(end - start for start, end in spans)
            kinds[tasks(named.removeprefix(_OF_TASK))][label].append((first, total, len(spans)))
    lines = []
    for kind, by_label in kinds.items():
        lines += [f"\n{kind}", f"{'begins':>10}{'takes':>10}{'times':>7}"]
        medians = {
            label: [statistics.median(each[place] for each in values) for place in range(3)]
            for label, values in by_label.items()
        }
        lines += [
            f"{first * 1000:7.0f} ms{total * 1000:7.1f} ms{times:7.0f}  {label}"
            for label, (first, total, times) in sorted(medians.items(), key=lambda item: item[1][0])
        ]
    return "\n".join(lines)
