# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Real scripts in a real bash: nothing is lost, nothing hangs, nobody is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from script_runs import gone, shown

from batchy_provider.bundles import process_session
from batchy_provider.bundles import runner as runner_module
from batchy_provider.bundles.limits import ProcessLimits
from batchy_provider.bundles.masking import Masker
from batchy_provider.bundles.run_result import RunResult
from batchy_provider.bundles.runner import Runner
from batchy_provider.bundles.session_leader import SessionLeader

Run = Callable[..., RunResult]


def test_both_streams_are_whole_and_apart(run_script: Run, tmp_path: Path) -> None:
    result = run_script("echo out; echo err >&2; exit 3")
    assert (tmp_path / "stdout").read_bytes() == b"out\n"
    assert (tmp_path / "stderr").read_bytes() == b"err\n"
    assert (result.exit_code, result.signal, result.ended, result.killed) == (3, None, "exit", False)
    assert result.stderr_tail == "err\n"


@pytest.mark.parametrize("number", [0, 1, 99, 125, 255])
def test_exit_codes_are_kept(run_script: Run, number: int) -> None:
    assert run_script(f"exit {number}").exit_code == number


def test_death_by_a_signal_is_named(run_script: Run) -> None:
    result = run_script("kill -SEGV $$")
    assert (result.exit_code, result.signal) == (139, "SIGSEGV")


def test_stdin_is_empty_without_input_and_the_file_with_it(run_script: Run, tmp_path: Path) -> None:
    run_script("wc -c")
    assert (tmp_path / "stdout").read_text().strip() == "0"
    for name in ("stdout", "stderr"):
        (tmp_path / name).unlink()
    (tmp_path / "input").write_bytes(b"\0\xff" * 500_000)
    run_script("cksum", stdin=tmp_path / "input")
    expected = subprocess.run(["cksum"], input=b"\0\xff" * 500_000, capture_output=True, check=True).stdout
    assert (tmp_path / "stdout").read_bytes() == expected


def test_the_environment_is_exactly_what_was_given(run_script: Run, tmp_path: Path) -> None:
    run_script("env -0")
    names = {line.partition(b"=")[0] for line in (tmp_path / "stdout").read_bytes().split(b"\0")[:-1]}
    assert names - {b"PWD", b"OLDPWD", b"SHLVL", b"_"} == {b"PATH", b"WORK", b"PYTHON"}


def test_the_umask_does_not_depend_on_the_worker(run_script: Run, tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        run_script("umask")
    finally:
        os.umask(before)
    assert (tmp_path / "stdout").read_text() == "0022\n"


def test_the_script_leads_a_session_of_its_own(run_script: Run, tmp_path: Path) -> None:
    run_script("echo $$ $(ps -o sid= -p $$) $(ps -o pgid= -p $$)")
    pid, session, group = (tmp_path / "stdout").read_text().split()
    assert pid == session == group != str(os.getsid(0))


def test_no_descriptor_of_the_worker_leaks_into_the_script(run_script: Run, tmp_path: Path) -> None:
    run_script("ls /proc/self/fd")
    # 3 is the folder that `ls` itself reads.
    assert (tmp_path / "stdout").read_text().split() == ["0", "1", "2", "3"]


# Ends


def test_a_script_that_cleans_up_on_term_ends_with_its_own_code(run_script: Run, tmp_path: Path) -> None:
    result = run_script("trap 'echo cleaned; exit 7' TERM; sleep 60 & wait", timeout=0.4)
    assert (result.exit_code, result.ended, result.killed) == (7, "timeout", False)
    assert (tmp_path / "stdout").read_text() == "cleaned\n"
    assert result.seconds < 2


def test_a_script_that_ignores_term_is_killed_after_the_grace(run_script: Run) -> None:
    result = run_script("trap '' TERM; while :; do sleep 0.05; done", timeout=0.3, grace=0.4)
    assert (result.exit_code, result.signal, result.killed) == (137, "SIGKILL", True)
    assert 0.7 <= result.seconds < 2


def test_a_child_gets_its_grace_though_the_script_is_gone(run_script: Run, tmp_path: Path) -> None:
    """TERM ends bash at once, but what it started may still be writing its last lines."""
    result = run_script(
        "bash -c 'trap \"sleep 0.4; echo committed; exit 0\" TERM; while :; do sleep 0.02; done'; :",
        timeout=0.4,
        grace=5,
    )
    assert (tmp_path / "stdout").read_text() == "committed\n"
    assert not result.killed


def test_a_stopped_script_is_ended_too(run_script: Run) -> None:
    result = run_script("kill -STOP $$", timeout=0.3, grace=3)
    assert result.signal == "SIGTERM"
    assert result.seconds < 2


def test_cancel_from_another_thread(make_runner: Callable[..., Runner]) -> None:
    runner = make_runner("echo started; sleep 60")
    threading.Timer(0.3, runner.cancel).start()
    result = runner.run()
    assert result.ended == "cancelled"
    assert result.seconds < 3
    runner.cancel()  # after the end: no harm


def test_cancel_from_a_signal_handler(make_runner: Callable[..., Runner]) -> None:
    runner = make_runner("sleep 60")
    before = signal.signal(signal.SIGUSR1, lambda *_: runner.cancel())
    try:
        threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGUSR1)).start()
        assert runner.run().ended == "cancelled"
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_cancel_before_the_start_never_starts_the_script(make_runner: Callable[..., Runner], tmp_path: Path) -> None:
    runner = make_runner("echo ran")
    runner.cancel()
    assert runner.run().ended == "cancelled"
    assert (tmp_path / "stdout").read_bytes() == b""


def test_no_process_is_listed_before_the_script_starts(
    make_runner: Callable[..., Runner], monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    for owner, name in ((process_session._ProcList, "members"), (SessionLeader, "start_command")):
        really = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda self, really=really, name=name: steps.append(name) or really(self))
    result = make_runner("true").run()
    assert steps[:2] == ["start_command", "members"]
    assert result.max_rss_bytes > 0


def test_background_work_that_does_not_end_in_time_is_stopped_and_the_run_says_so(
    run_script: Run, tmp_path: Path
) -> None:
    result = run_script("sleep 60 & echo $! > child; echo done", background_timeout=0.3)
    child = (tmp_path / "child").read_text().strip()
    assert (result.exit_code, result.ended, result.killed) == (0, "background_timeout", False)
    assert result.background == (f"{child} `sleep 60`",)
    assert gone(int(child))
    assert (tmp_path / "stdout").read_text() == "done\n"


def test_background_work_without_the_pipe_is_waited_for_too(run_script: Run, tmp_path: Path) -> None:
    result = run_script("{ sleep 0.4; echo loaded > loaded; } >/dev/null 2>&1 &", background_timeout=60)
    assert (result.exit_code, result.ended, result.background) == (0, "exit", ())
    assert (tmp_path / "loaded").exists()


def test_what_a_failed_script_left_is_stopped_soon_and_its_own_failure_stays(run_script: Run, tmp_path: Path) -> None:
    result = run_script("sleep 60 & echo $! > child; exit 3", drain=0.2)
    assert (result.exit_code, result.ended) == (3, "exit")
    assert len(result.background) == 1
    assert gone(int((tmp_path / "child").read_text()))


def test_the_timeout_of_the_job_holds_for_background_work(run_script: Run) -> None:
    result = run_script("sleep 60 &", timeout=0.4)
    assert (result.exit_code, result.ended) == (0, "timeout")


def test_a_cancel_while_background_work_is_waited_for_is_no_success(make_runner: Callable[..., Runner]) -> None:
    runner = make_runner("sleep 60 &")
    threading.Timer(0.3, runner.cancel).start()
    assert runner.run().ended == "cancelled"


def test_what_is_waited_for_is_named_now_and_then_and_its_secrets_are_masked(
    make_runner: Callable[..., Runner], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_module, "_NOTICE_SECONDS", 0.2)
    for where in ("view", "note"):
        calls, view = shown()
        notes: list[str] = []
        given: dict[str, Any] = {"view": view} if where == "view" else {"note": notes.append}
        script = "echo before; bash -c 'sleep 0.5; :' load --password=hunter22 & sleep 0.05"
        make_runner(script, drain=0.05, masker=Masker(["hunter22"]), **given).run()
        notes += [text for name, text in calls if name == "note"]
        assert len(notes) >= 2
        assert "exited with code 0. Waiting for" in notes[0]
        assert "load --password=***" in notes[0]
        assert not calls or calls[0] == ("stdout", "before")
        for name in ("stdout", "stderr"):
            (make_runner.folder / name).unlink()


def test_a_background_child_that_ends_soon_may_finish(run_script: Run, tmp_path: Path) -> None:
    """`exec > >(tee …)` and the like: the last lines come after the script's end."""
    result = run_script("{ sleep 0.3; echo late; } & echo early")
    assert (tmp_path / "stdout").read_text() == "early\nlate\n"
    assert not result.killed


def test_a_descendant_with_a_session_of_its_own_does_not_hold_the_run(run_script: Run, tmp_path: Path) -> None:
    result = run_script("setsid bash -c 'echo $$ > child; sleep 60' & sleep 0.2; echo done", drain=0.2)
    assert result.exit_code == 0
    assert result.seconds < 3
    os.kill(int((tmp_path / "child").read_text()), signal.SIGKILL)


# Limits


def test_cpu_time_is_limited(run_script: Run) -> None:
    result = run_script("while :; do :; done", limits=ProcessLimits(cpu_seconds=1), timeout=20)
    assert result.signal == "SIGXCPU"


def test_memory_is_limited(run_script: Run) -> None:
    result = run_script("exec $PYTHON -c 'bytes(600_000_000)'", limits=ProcessLimits(memory_bytes=400_000_000))
    assert result.exit_code == 1
    assert "MemoryError" in result.stderr_tail


def test_open_files_and_file_size_are_limited(run_script: Run, tmp_path: Path) -> None:
    run_script("ulimit -n; ulimit -f", limits=ProcessLimits(open_files=50, file_bytes=1024 * 1024))
    assert (tmp_path / "stdout").read_text().split() == ["50", "1024"]


def test_waiting_for_the_end_costs_no_cpu(make_runner: Callable[..., Runner]) -> None:
    """Neither while the script runs, nor while what it started makes use of its grace."""
    runner = make_runner("bash -c 'trap \"sleep 1; exit\" TERM; while :; do sleep 0.1; done' & sleep 0.5", grace=5)
    threading.Timer(0.3, runner.cancel).start()
    before = time.process_time()
    runner.run()
    assert time.process_time() - before < 0.2
