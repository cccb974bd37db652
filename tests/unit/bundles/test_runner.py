# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Real scripts in a real bash: nothing is lost, nothing hangs, nobody is left behind."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batchy_provider.bundles import runner as runner_module
from batchy_provider.bundles.errors import RunnerError
from batchy_provider.bundles.limits import ProcessLimits
from batchy_provider.bundles.live_output import LiveView
from batchy_provider.bundles.masking import Masker
from batchy_provider.bundles.progress_lines import Progress, Throttle
from batchy_provider.bundles.run_request import RunRequest
from batchy_provider.bundles.run_result import RunResult
from batchy_provider.bundles.runner import Runner

Run = Callable[..., RunResult]


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Runner]:
    def build(script: str, **options: Any) -> Runner:
        (tmp_path / "script.sh").write_text(script)
        env = {"PATH": os.environ["PATH"], "WORK": str(tmp_path), "PYTHON": sys.executable}
        asked = {name: options.pop(name) for name in list(options) if name in RunRequest.__dataclass_fields__}
        request = RunRequest(
            **{"command": ["bash", "script.sh"], **asked},
            cwd=tmp_path,
            env=env,
            stdout=tmp_path / "stdout",
            stderr=tmp_path / "stderr",
        )
        return Runner(request, **options)

    build.folder = tmp_path  # type: ignore[attr-defined]
    return build


@pytest.fixture
def run(make: Callable[..., Runner]) -> Run:
    return lambda script, **options: make(script, **options).run()


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def gone(pid: int, within: float = 3.0) -> bool:
    end = time.monotonic() + within
    while alive(pid):
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def children() -> set[str]:
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


def left_behind(before: tuple[set[str], set[str]]) -> set[str]:
    files, processes = before
    return (open_files() - files) | (children() - processes)


def open_files() -> set[str]:
    """What is open here. Others' connections may end while a test runs, so that a test looks for what came to it."""
    found = set()
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.add(str(link.readlink()))
    return found


def test_both_streams_are_whole_and_apart(run: Run, tmp_path: Path) -> None:
    result = run("echo out; echo err >&2; exit 3")
    assert (tmp_path / "stdout").read_bytes() == b"out\n"
    assert (tmp_path / "stderr").read_bytes() == b"err\n"
    assert (result.exit_code, result.signal, result.ended, result.killed) == (3, None, "exit", False)
    assert (result.stdout_bytes, result.stderr_bytes, result.stderr_tail) == (4, 4, "err\n")


@pytest.mark.parametrize("number", [0, 1, 99, 125, 255])
def test_exit_codes_are_kept(run: Run, number: int) -> None:
    assert run(f"exit {number}").exit_code == number


def test_death_by_a_signal_is_named(run: Run) -> None:
    result = run("kill -SEGV $$")
    assert (result.exit_code, result.signal) == (139, "SIGSEGV")


def test_stdin_is_empty_without_input_and_the_file_with_it(run: Run, tmp_path: Path) -> None:
    run("wc -c")
    assert (tmp_path / "stdout").read_text().strip() == "0"
    for name in ("stdout", "stderr"):
        (tmp_path / name).unlink()
    (tmp_path / "input").write_bytes(b"\0\xff" * 500_000)
    run("cksum", stdin=tmp_path / "input")
    expected = subprocess.run(["cksum"], input=b"\0\xff" * 500_000, capture_output=True, check=True).stdout
    assert (tmp_path / "stdout").read_bytes() == expected


def test_the_environment_is_exactly_what_was_given(run: Run, tmp_path: Path) -> None:
    run("env -0")
    names = {line.partition(b"=")[0] for line in (tmp_path / "stdout").read_bytes().split(b"\0")[:-1]}
    assert names - {b"PWD", b"OLDPWD", b"SHLVL", b"_"} == {b"PATH", b"WORK", b"PYTHON"}


def test_the_umask_does_not_depend_on_the_worker(run: Run, tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        run("umask")
    finally:
        os.umask(before)
    assert (tmp_path / "stdout").read_text() == "0022\n"


def test_the_script_leads_a_session_of_its_own(run: Run, tmp_path: Path) -> None:
    run("echo $$ $(ps -o sid= -p $$) $(ps -o pgid= -p $$)")
    pid, session, group = (tmp_path / "stdout").read_text().split()
    assert pid == session == group != str(os.getsid(0))


def test_no_descriptor_of_the_worker_leaks_into_the_script(run: Run, tmp_path: Path) -> None:
    run("ls /proc/self/fd")
    # 3 is the folder that `ls` itself reads.
    assert (tmp_path / "stdout").read_text().split() == ["0", "1", "2", "3"]


# Output


def shown(**options: Any) -> tuple[list[tuple[str, str]], LiveView]:
    calls: list[tuple[str, str]] = []
    return calls, LiveView(lambda stream, lines: calls.append((stream, lines)), **options)


def test_order_within_a_stream_is_kept_through_thousands_of_lines(run: Run, tmp_path: Path) -> None:
    calls, view = shown()
    run("for ((i = 0; i < 20000; i++)); do echo $i; echo e$i >&2; done", view=view)
    for stream, prefix in (("stdout", ""), ("stderr", "e")):
        lines = [line for name, block in calls if name == stream for line in block.split("\n")]
        assert lines == [f"{prefix}{i}" for i in range(20000)]
        assert (tmp_path / stream).read_text() == "".join(f"{line}\n" for line in lines)


def test_streams_alternate_in_the_view_as_the_script_wrote_them(run: Run) -> None:
    """Order between two pipes is known where the script leaves a moment between its lines."""
    calls, view = shown()
    run("for i in 1 2 3; do echo o$i; sleep 0.05; echo e$i >&2; sleep 0.05; done", view=view)
    assert [line for _, block in calls for line in block.split("\n")] == ["o1", "e1", "o2", "e2", "o3", "e3"]


def test_a_lone_line_is_shown_at_once_and_many_in_few_calls(run: Run) -> None:
    times: list[float] = []
    calls: list[str] = []

    def show(stream: str, lines: str) -> None:
        times.append(time.monotonic())
        calls.append(lines)

    started = time.monotonic()
    run("echo first; sleep 0.5; seq 100000", view=LiveView(show))
    assert calls[0] == "first"
    assert times[0] - started < 0.2
    assert "".join(f"{block}\n" for block in calls[1:]) == "".join(f"{i}\n" for i in range(1, 100001))
    assert len(calls) < 100


def test_a_slow_view_slows_the_script_and_loses_nothing(run: Run) -> None:
    total = 0

    def show(stream: str, lines: str) -> None:
        nonlocal total
        total += lines.count("\n") + 1
        time.sleep(0.01)

    run("seq 500000", view=LiveView(show))
    assert total == 500_000


def test_binary_output_survives(run: Run, tmp_path: Path) -> None:
    calls, view = shown()
    run("head -c 3000000 /dev/urandom | tee copy; printf '\\0\\377\\n' >&2", view=view)
    assert (tmp_path / "stdout").read_bytes() == (tmp_path / "copy").read_bytes()
    assert ("stderr", "\0\\xff") in calls


def test_a_line_of_fifty_megabytes_survives(run: Run, tmp_path: Path) -> None:
    calls, view = shown()
    run("head -c 50000000 /dev/zero | tr '\\0' x; echo; echo after", view=view)
    digest = hashlib.sha256(b"x" * 50_000_000 + b"\nafter\n").hexdigest()
    assert hashlib.sha256((tmp_path / "stdout").read_bytes()).hexdigest() == digest
    text = "\n".join(block for _, block in calls)
    assert len(text) < 100_000
    assert "49,983,616 more bytes of this line" in text
    assert text.endswith("\nafter")


def test_a_last_line_without_newline_is_shown(run: Run, tmp_path: Path) -> None:
    calls, view = shown()
    run("printf 'a\\nb'; printf c >&2", view=view)
    assert (tmp_path / "stdout").read_bytes() == b"a\nb"
    assert {line for _, block in calls for line in block.split("\n")} == {"a", "b", "c"}


MEMORY = """
import resource, sys
from pathlib import Path
from batchy_provider.bundles.live_output import LiveView
from batchy_provider.bundles.run_request import RunRequest
from batchy_provider.bundles.runner import Runner
folder = Path(sys.argv[1])
request = RunRequest(command=["bash", "script.sh"], cwd=folder, env={"PATH": sys.argv[3]},
                     stdout=folder / f"out{sys.argv[2]}", stderr=folder / f"err{sys.argv[2]}")
Runner(request, view=LiveView(lambda stream, lines: None)).run()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_output(tmp_path: Path) -> None:
    peaks = []
    for megabytes in (1, 200):
        (tmp_path / "script.sh").write_text(f"yes some line of text | head -c {megabytes}000000")
        arguments = [sys.executable, "-c", MEMORY, str(tmp_path), str(megabytes), os.environ["PATH"]]
        peaks.append(int(subprocess.run(arguments, capture_output=True, check=True).stdout))
    assert peaks[1] - peaks[0] < 5_000  # KiB


def test_output_above_the_limit_stops_the_script_loudly(run: Run, tmp_path: Path) -> None:
    result = run("yes", max_output_bytes=1_000_000, grace=1)
    assert result.ended == "output_limit"
    assert result.stdout_bytes == (tmp_path / "stdout").stat().st_size == 1_000_000


def test_progress_is_told_and_wrong_lines_stay_lines(run: Run) -> None:
    told: list[Progress] = []
    calls, view = shown()
    run(
        """
        echo '::batchy {"progress": 0.25, "message": "1/4"}'
        echo '::batchy {"progress": 7}'
        echo '::batchy nonsense'
        for i in $(seq 200); do echo '::batchy {"progress": 0.5}'; done
        echo '::batchy {"progress": 1, "message": "done"}'
        """,
        view=view,
        progress=Throttle(told.append),
    )
    assert told[0].progress is not None
    assert told[-1] == Progress(1.0, "done")
    assert len(told) <= 2
    lines = [line for _, block in calls for line in block.split("\n")]
    assert lines == ['::batchy {"progress": 7}', "::batchy nonsense"]


# Ends


def test_a_script_that_cleans_up_on_term_ends_with_its_own_code(run: Run, tmp_path: Path) -> None:
    result = run("trap 'echo cleaned; exit 7' TERM; sleep 60 & wait", timeout=0.4)
    assert (result.exit_code, result.ended, result.killed) == (7, "timeout", False)
    assert (tmp_path / "stdout").read_text() == "cleaned\n"
    assert result.seconds < 2


def test_a_script_that_ignores_term_is_killed_after_the_grace(run: Run) -> None:
    result = run("trap '' TERM; while :; do sleep 0.05; done", timeout=0.3, grace=0.4)
    assert (result.exit_code, result.signal, result.killed) == (137, "SIGKILL", True)
    assert 0.7 <= result.seconds < 2


def test_a_child_gets_its_grace_though_the_script_is_gone(run: Run, tmp_path: Path) -> None:
    """TERM ends bash at once, but what it started may still be writing its last lines."""
    result = run(
        "bash -c 'trap \"sleep 0.4; echo committed; exit 0\" TERM; while :; do sleep 0.02; done'; :",
        timeout=0.4,
        grace=5,
    )
    assert (tmp_path / "stdout").read_text() == "committed\n"
    assert not result.killed


def test_a_stopped_script_is_ended_too(run: Run) -> None:
    result = run("kill -STOP $$", timeout=0.3, grace=3)
    assert result.signal == "SIGTERM"
    assert result.seconds < 2


def test_cancel_from_another_thread(make: Callable[..., Runner]) -> None:
    runner = make("echo started; sleep 60")
    threading.Timer(0.3, runner.cancel).start()
    result = runner.run()
    assert result.ended == "cancelled"
    assert result.seconds < 3
    runner.cancel()  # after the end: no harm


def test_cancel_from_a_signal_handler(make: Callable[..., Runner]) -> None:
    runner = make("sleep 60")
    before = signal.signal(signal.SIGUSR1, lambda *_: runner.cancel())
    try:
        threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGUSR1)).start()
        assert runner.run().ended == "cancelled"
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_cancel_before_the_start_never_starts_the_script(make: Callable[..., Runner], tmp_path: Path) -> None:
    runner = make("echo ran")
    runner.cancel()
    assert runner.run().ended == "cancelled"
    assert (tmp_path / "stdout").read_bytes() == b""


def test_background_work_that_does_not_end_in_time_is_stopped_and_the_run_says_so(run: Run, tmp_path: Path) -> None:
    result = run("sleep 60 & echo $! > child; echo done", background_timeout=0.3)
    child = (tmp_path / "child").read_text().strip()
    assert (result.exit_code, result.ended, result.killed) == (0, "background_timeout", False)
    assert result.background == (f"{child} `sleep 60`",)
    assert gone(int(child))
    assert (tmp_path / "stdout").read_text() == "done\n"


def test_background_work_without_the_pipe_is_waited_for_too(run: Run, tmp_path: Path) -> None:
    result = run("{ sleep 0.4; echo loaded > loaded; } >/dev/null 2>&1 &", background_timeout=60)
    assert (result.exit_code, result.ended, result.background) == (0, "exit", ())
    assert (tmp_path / "loaded").exists()


def test_what_a_failed_script_left_is_stopped_soon_and_its_own_failure_stays(run: Run, tmp_path: Path) -> None:
    result = run("sleep 60 & echo $! > child; exit 3", drain=0.2)
    assert (result.exit_code, result.ended) == (3, "exit")
    assert len(result.background) == 1
    assert gone(int((tmp_path / "child").read_text()))


def test_the_timeout_of_the_job_holds_for_background_work(run: Run) -> None:
    result = run("sleep 60 &", timeout=0.4)
    assert (result.exit_code, result.ended) == (0, "timeout")


def test_a_cancel_while_background_work_is_waited_for_is_no_success(make: Callable[..., Runner]) -> None:
    runner = make("sleep 60 &")
    threading.Timer(0.3, runner.cancel).start()
    assert runner.run().ended == "cancelled"


def test_what_is_waited_for_is_named_now_and_then_and_its_secrets_are_masked(
    make: Callable[..., Runner], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_module, "_NOTICE_SECONDS", 0.2)
    for where in ("view", "note"):
        calls, view = shown()
        notes: list[str] = []
        given: dict[str, Any] = {"view": view} if where == "view" else {"note": notes.append}
        script = "echo before; bash -c 'sleep 0.5; :' load --password=hunter22 & sleep 0.05"
        make(script, drain=0.05, masker=Masker(["hunter22"]), **given).run()
        notes += [text for name, text in calls if name == "note"]
        assert len(notes) >= 2
        assert "exited with code 0. Waiting for" in notes[0]
        assert "load --password=***" in notes[0]
        assert not calls or calls[0] == ("stdout", "before")
        for name in ("stdout", "stderr"):
            (make.folder / name).unlink()  # type: ignore[attr-defined]


def test_a_background_child_that_ends_soon_may_finish(run: Run, tmp_path: Path) -> None:
    """`exec > >(tee …)` and the like: the last lines come after the script's end."""
    result = run("{ sleep 0.3; echo late; } & echo early")
    assert (tmp_path / "stdout").read_text() == "early\nlate\n"
    assert not result.killed


def test_a_descendant_with_a_session_of_its_own_does_not_hold_the_run(run: Run, tmp_path: Path) -> None:
    result = run("setsid bash -c 'echo $$ > child; sleep 60' & sleep 0.2; echo done", drain=0.2)
    assert result.exit_code == 0
    assert result.seconds < 3
    os.kill(int((tmp_path / "child").read_text()), signal.SIGKILL)


def test_nothing_of_ours_is_left_open(run: Run, tmp_path: Path) -> None:
    before = open_files(), children()
    for script in ("true", "sleep 60 &", "exit 3", "kill -9 $$"):
        run(script, background_timeout=0.1, drain=0.1, timeout=5)
        for name in ("stdout", "stderr"):
            (tmp_path / name).unlink()
    assert not left_behind(before)


def test_an_exception_in_the_view_ends_the_script_and_keeps_its_output(run: Run, tmp_path: Path) -> None:
    def show(stream: str, lines: str) -> None:
        raise ZeroDivisionError

    before = open_files(), children()
    with pytest.raises(ZeroDivisionError):
        run("trap 'echo cleaned; exit' TERM; echo $$; sleep 60 & wait", view=LiveView(show))
    pid, rest = (tmp_path / "stdout").read_text().split()
    assert rest == "cleaned"
    assert gone(int(pid))
    assert not left_behind(before)


def test_a_full_disk_fails_loudly(make: Callable[..., Runner], monkeypatch: pytest.MonkeyPatch) -> None:
    runner = make("yes | head -n 1000")
    real = os.write

    def full(fd: int, data: bytes) -> int:
        if len(data) > 100:
            raise OSError(28, "No space left on device")
        return real(fd, data)

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(RunnerError, match="No space left"):
        runner.run()


# Limits


def test_cpu_time_is_limited(run: Run) -> None:
    result = run("while :; do :; done", limits=ProcessLimits(cpu_seconds=1), timeout=20)
    assert result.signal == "SIGXCPU"


def test_memory_is_limited(run: Run) -> None:
    result = run("exec $PYTHON -c 'bytes(600_000_000)'", limits=ProcessLimits(memory_bytes=400_000_000))
    assert result.exit_code == 1
    assert "MemoryError" in result.stderr_tail


def test_open_files_and_file_size_are_limited(run: Run, tmp_path: Path) -> None:
    run("ulimit -n; ulimit -f", limits=ProcessLimits(open_files=50, file_bytes=1024 * 1024))
    assert (tmp_path / "stdout").read_text().split() == ["50", "1024"]


def test_a_limit_above_what_the_worker_may_give_says_so(run: Run) -> None:
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    before = open_files(), children()
    with pytest.raises(RunnerError, match="open_files"):
        run("true", limits=ProcessLimits(open_files=most + 1))
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


def test_waiting_for_the_end_costs_no_cpu(make: Callable[..., Runner]) -> None:
    """Neither while the script runs, nor while what it started makes use of its grace."""
    runner = make("bash -c 'trap \"sleep 1; exit\" TERM; while :; do sleep 0.1; done' & sleep 0.5", grace=5)
    threading.Timer(0.3, runner.cancel).start()
    before = time.process_time()
    runner.run()
    assert time.process_time() - before < 0.2
