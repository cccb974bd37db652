# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A script does not outlive its worker, and nothing of the runner stays open."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from script_runs import children, gone, left_behind, open_files

from batchy_provider.bundles.errors import RunnerError
from batchy_provider.bundles.limits import ProcessLimits
from batchy_provider.bundles.live_output import LiveView
from batchy_provider.bundles.run_result import RunResult
from batchy_provider.bundles.runner import Runner

Run = Callable[..., RunResult]


def test_nothing_of_ours_is_left_open(run_script: Run, tmp_path: Path) -> None:
    before = open_files(), children()
    for script in ("true", "sleep 60 &", "exit 3", "kill -9 $$"):
        run_script(script, background_timeout=0.1, drain=0.1, timeout=5)
        for name in ("stdout", "stderr"):
            (tmp_path / name).unlink()
    assert not left_behind(before)


def test_an_exception_in_the_view_ends_the_script_and_keeps_its_output(run_script: Run, tmp_path: Path) -> None:
    def show(stream: str, lines: str) -> None:
        raise ZeroDivisionError

    before = open_files(), children()
    with pytest.raises(ZeroDivisionError):
        run_script("trap 'echo cleaned; exit' TERM; echo $$; sleep 60 & wait", view=LiveView(show))
    pid, rest = (tmp_path / "stdout").read_text().split()
    assert rest == "cleaned"
    assert gone(int(pid))
    assert not left_behind(before)


def test_a_full_disk_fails_loudly(make_runner: Callable[..., Runner], monkeypatch: pytest.MonkeyPatch) -> None:
    runner = make_runner("yes | head -n 1000")
    real = os.write

    def full(fd: int, data: bytes) -> int:
        if len(data) > 100:
            raise OSError(28, "No space left on device")
        return real(fd, data)

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(RunnerError, match="No space left"):
        runner.run()


def test_a_limit_above_what_the_worker_may_give_says_so(run_script: Run) -> None:
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    before = open_files(), children()
    with pytest.raises(RunnerError, match="open_files"):
        run_script("true", limits=ProcessLimits(open_files=most + 1))
    assert not left_behind(before)


# Death of the worker

WORKER = """
import sys
from pathlib import Path
from batchy_provider.bundles.run_request import RunRequest
from batchy_provider.bundles.runner import Runner
from batchy_provider.bundles.scratch import ScratchFolder
folder = Path(sys.argv[1])
with ScratchFolder(folder / "work") as scratch:
    (scratch.path / "copy").touch()
    request = RunRequest(command=["bash", str(folder / "script.sh")], cwd=scratch.path, env={"PATH": sys.argv[2]},
                         grace=float(sys.argv[3]), stdout=folder / "stdout", stderr=folder / "stderr")
    Runner(request, scratch=scratch.path, lock_fds=[scratch.lock_fd]).run()
"""


def killed_worker(tmp_path: Path, script: str, grace: float) -> list[int]:
    """Start a worker, let its script write its process ids, kill -9 the worker."""
    (tmp_path / "script.sh").write_text(script)
    arguments = [sys.executable, "-c", WORKER, str(tmp_path), os.environ["PATH"], str(grace)]
    worker = subprocess.Popen(arguments, start_new_session=True)
    output = tmp_path / "stdout"
    end = time.monotonic() + 10
    while not output.exists() or output.read_bytes().count(b"\n") < 2:
        assert time.monotonic() < end
        time.sleep(0.02)
    # As an executor that ends the whole process group of its task.
    os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()
    return [int(pid) for pid in output.read_text().split()[:2]]


def test_a_killed_worker_takes_its_script_along(tmp_path: Path) -> None:
    script = "sleep 60 & echo $!; echo $$; trap 'sleep 0.2; touch " + str(tmp_path) + "/cleaned; exit' TERM; wait"
    for pid in killed_worker(tmp_path, script, grace=5):
        assert gone(pid)
    assert (tmp_path / "cleaned").exists()
    end = time.monotonic() + 3
    while list((tmp_path / "work").iterdir()) and time.monotonic() < end:
        time.sleep(0.02)
    assert list((tmp_path / "work").iterdir()) == []


def test_a_killed_workers_stubborn_script_is_killed(tmp_path: Path) -> None:
    script = "trap '' TERM PIPE; sleep 60 & echo $!; echo $$; while :; do sleep 0.05; done"
    for pid in killed_worker(tmp_path, script, grace=0.5):
        assert gone(pid)
