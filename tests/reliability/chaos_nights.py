# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Run nights of all workflows while parts of Airflow are killed, and count what came of it."""

from __future__ import annotations

import contextlib
import math
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import redis
from chaos import Chaos, below, command
from chaos_counts import ahead_of_source, longest_recovery, not_tiled, pieces
from chaos_report import Report
from loading import Tables
from workflows import CHAIN, FILES, PIECE, TRIGGERED, write

from batchy_provider.core.dates import unix_seconds
from batchy_provider.core.values import Batch
from batchy_provider.local.process import Guard, Service, StackError, kill_all
from batchy_provider.local.stack import LocalStack
from batchy_provider.state.connections import open_client
from batchy_provider.state.store import Store

ROOT = Path(__file__).parents[2]
OPTIONS = {
    # Time is compressed: a night takes seconds, so what was killed is to be missed within seconds too.
    "scheduler.task_instance_heartbeat_sec": "2",
    "scheduler.task_instance_heartbeat_timeout": "15",
    "scheduler.task_instance_heartbeat_timeout_detection_interval": "3",
    "scheduler.job_heartbeat_sec": "2",
    "scheduler.scheduler_health_check_threshold": "15",
    "scheduler.orphaned_tasks_check_interval": "5",
    "triggerer.job_heartbeat_sec": "2",
    "triggerer.triggerer_health_check_threshold": "15",
    "workers.min_heartbeat_interval": "2",
    "dag_processor.min_file_process_interval": "60",
    "batchy.kill_grace_seconds": "2",
    "batchy.recheck_seconds": "10",
}
ACTIVE = ("queued", "running")


class ChaosNights:
    """
    An Airflow of its own, its workflows, their tables.

    :param folder: empty
    :param schedulers: how many, on the one database
    :param say: called with a line for each event
    """

    def __init__(self, folder: Path, *, seed: int, schedulers: int = 1, say: Callable[[str], None] = print) -> None:
        self.folder = folder
        self._seed = seed
        self._random = random.Random(f"nights {seed}")
        self._say = say
        self._started = time.monotonic()
        # However soon Airflow has started, the first window of `sliced` is longer than one piece.
        self.begin = datetime.now(timezone.utc).replace(tzinfo=None, microsecond=0) - 2 * PIECE
        self.tables = {name: Tables(folder / "tables", name) for name in FILES}
        (folder / "tables").mkdir()
        for tables in self.tables.values():
            tables.make(self.begin, hours=6)
        shutil.copytree(ROOT / "dags", folder / "dags", ignore=shutil.ignore_patterns("__pycache__"))
        write(folder / "cfg", folder / "tables", self.begin)
        self.stack = LocalStack(folder / "home", dags=folder / "dags", cfg=folder / "cfg", options=OPTIONS)
        self._guard = Guard()
        self.report = Report(seed=seed, schedulers=schedulers)
        self.parts: dict[str, Service] = {}
        self.store: Store

    @contextlib.contextmanager
    def running(self) -> Iterator[ChaosNights]:
        """Start everything, and stop it at the end."""
        try:
            self.stack.start()
            for name in ("scheduler", "triggerer", "api-server", "dag-processor", "valkey"):
                self.parts[name] = self.stack.service(name)
            for number in range(2, self.report.schedulers + 1):
                self._add_scheduler(f"scheduler-{number}")
            self.store = Store(open_client(self.stack.redis_url), retry_seconds=60)
            # What was acknowledged is on disk: what a kill of Redis may cost otherwise is the last second.
            with redis.Redis.from_url(self.stack.redis_url) as client:
                client.config_set("appendfsync", "always")
                client.config_rewrite()
            self._until(lambda: set(FILES) <= set(self.stack.client.dags()), "the DAGs", 120)
            yield self
        finally:
            kill_all([service for name, service in self.parts.items() if name.startswith("scheduler-")])
            self._guard.dismiss()
            self.stack.discard()

    def _add_scheduler(self, name: str) -> None:
        service = Service(
            f"Airflow's {name}",
            [sys.executable, "-m", "airflow", "scheduler", "--skip-serve-logs"],
            log=self.stack.folder / "logs" / f"{name}.log",
            env=self.stack.environment,
            watch=lambda pid: self._guard.watch(1, pid),
        )
        service.start()
        self.parts[name] = service

    # nights

    def run(
        self, nights: int, note: Callable[[Report], None] = lambda report: None, *, minutes: float = math.inf
    ) -> Report:
        """
        Run them with chaos, then two without, and count.

        :param note: given the report after each night
        :param minutes: after so many no further night begins
        """
        chaos = Chaos(self.parts, self.stack.wait_until_healthy, self._seed)
        chaos.start()
        for night in range(1, nights + 1):
            if time.monotonic() - self._started > minutes * 60:
                break
            self._night(f"night_{night:04}")
            self.report.nights = night
            self.report.kills = dict(chaos.kills)
            self.report.seconds = int(time.monotonic() - self._started)
            note(self.report)
        chaos.stop()
        self._say("chaos is over")
        self._settle()
        # What the last night has lost is in the windows of a quiet one, and what was refused to it too.
        for name in ("quiet_1", "quiet_2"):
            self._start_all(name)
            self._settle()
        self._count(chaos)
        note(self.report)
        return self.report

    def _night(self, name: str) -> None:
        """Run all workflows once. The next night begins when they are done, or while some still run.

        A run that has come too late for the success of its own night waits for the one of the next night. So a night
        does not wait long.
        """
        began = time.monotonic()
        self._start_all(name)
        early = self._random.random() < 0.3
        patience = self._random.uniform(5, 15) if early else 30.0
        # More than this piled up would be a night that never ends.
        while (left := len(self._active())) > 12 or (left and time.monotonic() - began < patience):
            time.sleep(1)
        self._say(f"{name}: {time.monotonic() - began:.0f} s, {left} runs left over")

    def _start_all(self, name: str) -> None:
        for workflow in TRIGGERED:
            self._until(lambda workflow=workflow: self._start(workflow, name), f"a run of {workflow}", 300)

    def _start(self, workflow: str, run_id: str) -> bool:
        try:
            self.stack.client.trigger(workflow, dag_run_id=run_id)
        except StackError as error:
            # The API server was killed before it answered, and has done it.
            if "answered 409" in str(error):
                return True
            raise
        return True

    def _active(self) -> list[str]:
        def ask() -> list[str] | None:
            found = self.stack.client.request("GET", "/dags/~/dagRuns", params={"state": ACTIVE, "limit": 100})
            self._answer = [f"{run['dag_id']} {run['dag_run_id']} {run['state']}" for run in found["dag_runs"]]
            return [""]

        self._until(ask, "the runs", 300)
        return self._answer

    def _settle(self, timeout: float = 900) -> None:
        """Wait until nothing runs and nothing is queued."""
        deadline = time.monotonic() + timeout
        quiet = 0
        while quiet < 2:  # a success starts another workflow's run a moment later
            active = self._active()
            quiet = 0 if active else quiet + 1
            if time.monotonic() > deadline:
                self.report.stuck_runs = active
                return
            time.sleep(2)

    def _until(self, ask: Callable[[], Any], what: str, timeout: float) -> Any:
        """Ask Airflow repeatedly, since its API server may be down."""
        deadline = time.monotonic() + timeout
        while True:
            with contextlib.suppress(StackError, OSError):
                if answer := ask():
                    return answer
            if time.monotonic() > deadline:
                raise StackError(f"Waited {timeout:g} seconds for {what}, in vain.")
            time.sleep(0.5)

    # counting

    def _count(self, chaos: Chaos) -> None:
        report = self.report
        report.kills = dict(chaos.kills)
        report.seconds = int(time.monotonic() - self._started)
        longest = timedelta(0)
        successes: dict[str, list[Batch]] = {}
        for workflow, tables in self.tables.items():
            runs = self.stack.client.runs(workflow)
            for run in runs:
                report.runs[run["state"]] = report.runs.get(run["state"], 0) + 1
            batches = sorted(
                (batch for batch in self.store.history(workflow, limit=100_000) if batch.kind == "live"),
                key=lambda batch: batch.batch_id,
            )
            report.failed_batches += sum(batch.status == "failed" for batch in batches)
            good = [batch for batch in batches if batch.status == "success"]
            if not good or any(batch.status == "open" for batch in batches):
                report.gaps.append(f"{workflow}: {[(batch.batch_id, batch.status) for batch in batches][-5:]}")
                continue
            committed = tables.committed()
            for job in good[-1].jobs:
                report.gaps += not_tiled(workflow, job, good, committed, self.begin)
                report.windows += len(good)
                end = good[-1].jobs[job]["to_date"]
                once, lost, doubled = tables.lost_and_doubled(job, end)
                report.rows += once
                report.lost += lost
                report.doubled += doubled
            if workflow in CHAIN:
                report.read_ahead += ahead_of_source(workflow, good, successes.get(CHAIN[workflow], []))
            if workflow == "sliced":
                report.slices += pieces(good, PIECE)
            successes[workflow] = good
            recovery = longest_recovery(batches)
            if recovery > longest:
                longest = recovery
                report.longest_recovery = f"{recovery.total_seconds():.0f} s ({workflow})"
            report.loads += tables.loads()
            report.overlaps += tables.overlaps()
            report.mistakes += tables.mistakes()
            report.durations[workflow] = {
                job: [[unix_seconds(each.start), each.seconds, each.window_seconds] for each in some]
                for job, some in self.store.durations(workflow).items()
            }
        report.hung_waits = self._hung_waits()
        report.orphans = self._orphans(chaos)

    def _hung_waits(self) -> list[str]:
        """Return waits that timed out half a minute or more after the batch that they waited for was closed."""
        ends = [
            datetime.fromisoformat(batch.batch_end)
            for batch in self.store.history("extract", limit=100_000)
            if batch.kind == "live" and batch.status == "success" and batch.batch_end
        ]
        hung = []
        for run in self.stack.client.runs("orders"):
            task = self.stack.client.task_instances("orders", run["dag_run_id"]).get("wait_for_extract")
            if task is None or task["state"] != "failed" or not task["start_date"] or not task["end_date"]:
                continue
            since, until = _utc(task["start_date"]), _utc(task["end_date"]) - timedelta(seconds=30)
            if any(since < end < until for end in ends):
                hung.append(f"{run['dag_run_id']}: from {since} to {until}")
        return hung

    def _orphans(self, chaos: Chaos) -> list[str]:
        """End scripts whose tasks are gone, and return them."""
        time.sleep(5)
        orphans = [text for text in below(self.stack.folder) if "load.py" in text or "script.sh" in text]
        orphans += [f"{pid} {command(pid)}" for pid in chaos.tasks()]
        for text in orphans:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(text.split()[0]), signal.SIGKILL)
        return orphans


def _utc(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(timezone.utc).replace(tzinfo=None)
