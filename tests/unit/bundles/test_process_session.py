# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A script has ended when its session has: each way to group processes, ended in each way, leaves none behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from batchy_provider.bundles import process_session as session_module
from batchy_provider.bundles import runner as runner_module
from batchy_provider.bundles.bundle_cache import BundleCache
from batchy_provider.bundles.execution import Execution
from batchy_provider.bundles.execution_id import ExecutionId
from batchy_provider.bundles.execution_outcome import ExecutionOutcome
from batchy_provider.bundles.execution_request import ExecutionRequest
from batchy_provider.bundles.process_session import Session, start_of
from batchy_provider.bundles.result_store import ResultStore
from batchy_provider.bundles.script_context import ScriptContext
from batchy_provider.local.rest import wait_for

FOREVER = "while :; do sleep 0.05; done"
GROUPINGS = {
    "GNU timeout": f"timeout 300 bash -c '{FOREVER}'",
    "GNU timeout in timeout": f"timeout 300 timeout 200 bash -c '{FOREVER}'",
    "background": "sleep 300 & sleep 300 & wait",
    "job control": "set -m; sleep 300 & (sleep 300; :) & wait",
    "interactive bash": "bash -i -c 'sleep 300; :' </dev/null",
    "xargs": "printf '1\\n2\\n3\\n' | xargs -P 3 -I{} sh -c 'sleep 300; :'",
    "pipeline": f"bash -c '{FOREVER}' | cat",
    "process substitution": "exec > >(cat); sleep 300",
    "coprocess": "coproc sleep 300; sleep 300",
    "double fork": "( ( sleep 300 & ) & ); sleep 300",
    "stopped": "timeout 300 sleep 300 & kill -STOP $!; sleep 300",
    "zombies": "bash -c 'sleep 0 & sleep 0 & exec sleep 300'",
    "ignores TERM": f"trap '' TERM; timeout 300 bash -c '{FOREVER}'",
    "nohup": f"nohup timeout 300 bash -c '{FOREVER}'",
    "starts more at TERM": "trap 'timeout 300 sleep 300; set -m; sleep 300 & wait' TERM; sleep 300 & wait",
    "a name with brackets": "exec -a ') S 1 1 (' sleep 300",
    "a child that the first thread outlives": (
        "$PYTHON -c 'import ctypes, threading, time;"
        "threading.Thread(target=time.sleep, args=(300,)).start(); ctypes.CDLL(None).pthread_exit(None)'"
    ),
    "always another process": (
        "$PYTHON -c 'import os, time\nfor _ in range(9000):\n if os.fork(): os._exit(0)\n"
        " os.setpgid(0, 0); time.sleep(0.02)'"
    ),
}


def living(marker: str) -> list[str]:
    """Commands of all processes with a value in their environment, whatever their session."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            # Where the first thread has ended, another one has the environment.
            environments = [(each / "environ").read_bytes() for each in (folder / "task").iterdir()]
            if marker.encode() in b"\0".join(environments).split(b"\0"):
                found.append(f"{folder.name} {(folder / 'cmdline').read_bytes()!r}")
    return found


def execution(place: Path, name: str, script: str, marker: str = "MARK=x", **options: object) -> Execution:
    variable, _, value = marker.partition("=")
    task = ExecutionRequest(
        identity=ExecutionId(workflow="w", batch_id=name, job="load", attempt="1"),
        script_context=ScriptContext(job="load"),
        command=script,
        env={variable: value, "PYTHON": sys.executable},
        job_lock=place / "claims" / name,
        **{"kill_grace": 0.4, **options},
    )
    return Execution(
        task, cache=BundleCache(place / "cache"), results=ResultStore(str(place / "results")), work=place / "work"
    )


def all_at_once(place: Path, ending: str, **options: object) -> dict[str, ExecutionOutcome]:
    """Run each grouping, side by side, and end it."""
    outcomes: dict[str, ExecutionOutcome] = {}

    def run(number: int, name: str) -> None:
        script = f"touch {place}/begun{number}; {GROUPINGS[name]}"
        if ending == "exit":
            script = f"{{ {script}\n}} & while ! [ -e {place}/begun{number} ]; do sleep 0.02; done"
        elif ending == "output_limit":
            script = f"( while [ -e /proc/self ]; do echo output; sleep 0.05; done ) & {script}"
        one = execution(place, str(number), script, f"MARK={place}/{number}", **options)
        if ending == "cancelled":
            threading.Thread(target=lambda: (began(place, number), one.cancel())).start()
        outcomes[name] = one.run()

    threads = [threading.Thread(target=run, args=each) for each in enumerate(GROUPINGS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def began(place: Path, number: int) -> None:
    wait_for(lambda: (place / f"begun{number}").exists(), "the script to begin", timeout=60)
    time.sleep(0.2)


def left(place: Path) -> dict[str, list[str]]:
    found = {name: living(f"MARK={place}/{number}") for number, name in enumerate(GROUPINGS)}
    return {name: processes for name, processes in found.items() if processes}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ending", "options"),
    [
        ("exit", {"background_timeout": 0.5}),
        ("timeout", {"timeout": 2}),
        ("cancelled", {}),
        ("output_limit", {"max_output_bytes": 100}),
    ],
)
def test_no_process_outlives_its_script(tmp_path: Path, ending: str, options: dict[str, object]) -> None:
    outcomes = all_at_once(tmp_path, ending, **options)
    assert left(tmp_path) == {}
    expected = "background_timeout" if ending == "exit" else ending
    assert {name: each.result.ended for name, each in outcomes.items()} == dict.fromkeys(GROUPINGS, expected)
    assert {each.state for each in outcomes.values()} == {"failed"}


WORKER = """
import sys, threading
from pathlib import Path
from test_process_session import GROUPINGS, execution
place = Path(sys.argv[1])
for number, script in enumerate(GROUPINGS.values()):
    script = f"touch {place}/begun{number}; {script}"
    threading.Thread(target=execution(place, str(number), script, f"MARK={place}/{number}").run).start()
"""
LIVING = """
import sys
from test_process_session import living
print(*living(sys.argv[1]))
"""


@pytest.mark.slow
def test_after_a_killed_worker_the_next_attempt_waits_for_the_session(tmp_path: Path) -> None:
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    worker = subprocess.Popen([sys.executable, "-c", WORKER, str(tmp_path)], env={**os.environ, "PYTHONPATH": path})
    for number in range(len(GROUPINGS)):
        began(tmp_path, number)
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    seen: dict[str, str] = {}

    def retry(number: int, name: str) -> None:
        """The next attempt holds the lock only when nothing of the first lives."""
        script = f"touch {tmp_path}/again{number}"
        one = execution(tmp_path, str(number), script)
        real = one._run

        def look(*arguments: object) -> object:
            seen[name] = " ".join(living(f"MARK={tmp_path}/{number}"))
            return real(*arguments)

        one._run = look
        assert one.run().state == "success"

    threads = [threading.Thread(target=retry, args=each) for each in enumerate(GROUPINGS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == dict.fromkeys(GROUPINGS, "")
    wait_for(lambda: not list((tmp_path / "work").iterdir()), "the working copies to be removed", timeout=60)


def test_what_left_the_session_is_not_touched(tmp_path: Path) -> None:
    marker = f"MARK={tmp_path}"
    outcome = execution(tmp_path, "1", "setsid sleep 300 >/dev/null 2>&1 & sleep 0.3", marker).run()
    assert outcome.state == "success"
    (process,) = living(marker)
    os.kill(int(process.split()[0]), signal.SIGKILL)


@pytest.fixture
def leader() -> Callable[[str], subprocess.Popen[bytes]]:
    started: list[subprocess.Popen[bytes]] = []

    def start(script: str) -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen(["bash", "-c", script], start_new_session=True))
        return started[-1]

    yield start
    for process in started:
        Session(process.pid).kill()
        process.wait()


@pytest.mark.parametrize("how", ["proc", "ps"])
def test_members_are_listed_with_and_without_proc(
    leader: Callable[[str], subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(session_module, "_has_proc", lambda: how == "proc")
    process = leader("timeout 300 sleep 300 & sleep 0 & wait")
    session = Session(process.pid)
    expected = ["sleep 300", "timeout 300 sleep 300"]  # before that, each is a bash still
    wait_for(lambda: sorted(each.command for each in session.members(leader=False)) == expected, "both", timeout=30)
    session.end(10)
    assert session.empty()


def test_a_number_that_is_another_sessions_by_now_is_left_alone(
    leader: Callable[[str], subprocess.Popen[bytes]],
) -> None:
    process = leader("sleep 300; :")
    started = start_of(process.pid)
    assert started is not None
    other = Session(process.pid, started - 1)
    assert other.empty()
    other.end(0)
    assert process.poll() is None
    assert not Session(process.pid, started).empty()


def test_control_characters_in_a_command_are_not_passed_on(leader: Callable[[str], subprocess.Popen[bytes]]) -> None:
    process = leader("exec -a $'a\\e[31m\\nb' sleep 300")
    session = Session(process.pid)
    wait_for(lambda: "bash" not in session.members()[0].command, "sleep", timeout=30)
    assert session.members()[0].command == "a [31m b 300"


def test_what_not_even_kill_ends_stays_with_the_watchdog_and_its_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a process of another user, which cannot be signalled."""
    monkeypatch.setattr(Session, "send", lambda *_: None)
    monkeypatch.setattr(runner_module, "_AFTER_KILL_SECONDS", 0.3)
    marker = f"MARK={tmp_path}"
    outcome = execution(tmp_path, "1", "trap '' TERM; sleep 300; :", marker, timeout=0.3, kill_grace=0.1).run()
    assert (outcome.state, outcome.result.ended) == ("failed", "timeout")
    monkeypatch.undo()
    assert execution(tmp_path, "1", "true").run().state == "success"
    assert living(marker) == [], "the next attempt has waited for the watchdog"
