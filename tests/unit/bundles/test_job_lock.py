# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""One script of a job at a time on one machine, also when a worker is killed and its script is still ending."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from batchy_provider.bundles.bundle_cache import BundleCache
from batchy_provider.bundles.execution import Execution
from batchy_provider.bundles.execution_id import ExecutionId
from batchy_provider.bundles.execution_outcome import ExecutionOutcome
from batchy_provider.bundles.execution_request import ExecutionRequest
from batchy_provider.bundles.result_store import ResultStore
from batchy_provider.bundles.script_context import ScriptContext
from batchy_provider.local.rest import wait_for

# Takes its time to end, as a script may that has a transaction to roll back; says when it has begun and ended.
# What bash says of the TERM goes to a pipe that nobody reads any more.
STUBBORN = """
trap '' PIPE
trap 'sleep 1; echo ended {name} >> {log}; exit 1' TERM
echo began {name} >> {log}
while :; do sleep 0.05; done
"""
QUICK = "echo began {name} >> {log}; echo ended {name} >> {log}"
WORKER = """
import sys
from test_job_lock import execution
execution(sys.argv[1], sys.argv[2], sys.argv[3]).run()
"""


def execution(folder: str, name: str, script: str, shown: list[str] | None = None) -> Execution:
    place = Path(folder)
    return Execution(
        ExecutionRequest(
            identity=ExecutionId(workflow="wf", batch_id="1", job="load", attempt=name),
            script_context=ScriptContext(job="load"),
            command=script.format(name=name, log=place / "log"),
            job_lock=place / "claims" / "load",
            kill_grace=60,
        ),
        cache=BundleCache(place / "cache"),
        results=ResultStore(str(place / "results")),
        work=place / "work",
        show=None if shown is None else lambda stream, text: shown.append(text),
    )


def log(folder: Path) -> list[str]:
    return (folder / "log").read_text().splitlines() if (folder / "log").exists() else []


def killed_worker(folder: Path) -> None:
    """Start a script in another process, and kill that process alone."""
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(folder), "first", STUBBORN],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])},
    )
    wait_for(lambda: log(folder) == ["began first"], "the script to begin", timeout=60)
    worker.send_signal(signal.SIGKILL)
    worker.wait()


def test_the_next_try_waits_until_the_guard_has_ended_the_script_of_a_killed_worker(tmp_path: Path) -> None:
    killed_worker(tmp_path)
    shown: list[str] = []
    outcome = execution(str(tmp_path), "second", QUICK, shown).run()
    assert outcome.state == "success"
    assert log(tmp_path) == ["began first", "ended first", "began second", "ended second"]
    assert any("Another script of this job still runs on this machine" in text for text in shown)
    assert list((tmp_path / "claims").iterdir()) == [], "no lock is left behind"


def test_a_try_that_waits_can_be_cancelled_and_never_runs(tmp_path: Path) -> None:
    holder = execution(str(tmp_path), "first", STUBBORN)
    running = threading.Thread(target=holder.run)
    running.start()
    wait_for(lambda: log(tmp_path) == ["began first"], "the script to begin", timeout=60)
    shown: list[str] = []
    second = execution(str(tmp_path), "second", QUICK, shown)
    outcomes: list[ExecutionOutcome] = []
    waiting = threading.Thread(target=lambda: outcomes.append(second.run()))
    waiting.start()
    wait_for(lambda: shown, "the second to wait", timeout=60)
    second.cancel("a person did")
    waiting.join()
    holder.cancel()
    running.join()
    assert outcomes[0].state == "failed"
    assert "a person did" in outcomes[0].reason
    assert log(tmp_path) == ["began first", "ended first"]


def test_many_at_once_run_one_after_the_other(tmp_path: Path) -> None:
    """Each removes the lock's file at its end, while the next one may hold it open already."""
    threads = [threading.Thread(target=execution(str(tmp_path), str(index), QUICK).run) for index in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = log(tmp_path)
    assert len(lines) == 2 * len(threads)
    for began, ended in zip(lines[::2], lines[1::2], strict=True):
        assert (began.split()[0], ended.split()[0]) == ("began", "ended")
        assert began.split()[1] == ended.split()[1]
