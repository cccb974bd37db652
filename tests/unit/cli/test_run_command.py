# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""`batchy run` in the hands of a person and of a shell: signals, streams that cannot be written, where results go."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batchy_provider.local.rest import wait_for

Start = Callable[..., subprocess.Popen[bytes]]
STUBBORN = (
    "trap 'echo term' TERM; touch $FLAG; timeout 300 bash -c 'trap \"\" TERM; while :; do sleep 0.05; done' & "
    + ("while :; do wait; done")
)


@pytest.fixture
def start(tmp_path: Path) -> Start:
    (tmp_path / "bundle").mkdir()
    (tmp_path / "tmp").mkdir()

    def start(script: str, *options: str, prefix: tuple[str, ...] = (), **streams: Any) -> subprocess.Popen[bytes]:
        (tmp_path / "bundle" / "script.sh").write_text(script)
        flag = ("--env", f"FLAG={tmp_path}/flag")
        command = [*prefix, sys.executable, "-m", "batchy_provider.cli.main", "run", str(tmp_path / "bundle"), *flag]
        env = {**os.environ, "TMPDIR": str(tmp_path / "tmp"), "PYTHONPATH": os.pathsep.join(sys.path)}
        given = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
        return subprocess.Popen([*command, *options], env=env, stdin=subprocess.DEVNULL, **given)

    return start


def living(tmp_path: Path) -> list[str]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"FLAG={tmp_path}/flag".encode() in (folder / "environ").read_bytes().split(b"\0"):
                found.append(folder.name)
    return found


def begun(tmp_path: Path) -> None:
    wait_for(lambda: (tmp_path / "flag").exists(), "the script to begin", timeout=60)


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
    ids=lambda value: str(value),
)
def test_a_signal_ends_the_script_in_order_and_the_code_says_which(
    start: Start, tmp_path: Path, number: int, code: int
) -> None:
    process = start("trap 'echo cleaned; exit 7' TERM; touch $FLAG; sleep 300 & wait")
    begun(tmp_path)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (code, b"cleaned\n")
    assert b"press Ctrl-C again to kill it" in err
    assert living(tmp_path) == []
    assert list((tmp_path / "tmp").iterdir()) == []


def test_twice_kills_and_thrice_loses_no_result(start: Start, tmp_path: Path) -> None:
    keep = tmp_path / "kept"
    process = start(STUBBORN, "--kill-grace", "5m", "--keep", str(keep))
    begun(tmp_path)
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    assert process.stdout.readline() == b"term\n"
    process.send_signal(signal.SIGINT)
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert (keep / "exit.json").exists()
    assert living(tmp_path) == []


def test_a_signal_that_was_ignored_at_the_start_stays_ignored(start: Start, tmp_path: Path) -> None:
    process = start("touch $FLAG; sleep 0.5; echo done", prefix=("nohup",))
    begun(tmp_path)
    process.send_signal(signal.SIGHUP)
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, b"done\n")


def test_after_a_kill_nothing_is_left(start: Start, tmp_path: Path) -> None:
    process = start(STUBBORN, "--kill-grace", "1s")
    begun(tmp_path)
    process.kill()
    process.communicate()
    wait_for(lambda: not living(tmp_path), "the session to end", timeout=60)
    wait_for(lambda: not list((tmp_path / "tmp").iterdir()), "the folder to be removed", timeout=60)


@pytest.mark.parametrize(("script", "code"), [("echo out; touch $FLAG", 1), ("echo out; touch $FLAG; exit 7", 7)])
@pytest.mark.parametrize("redirection", [">/dev/full", ">&-"])
def test_a_stdout_that_cannot_be_written_costs_no_result(
    start: Start, tmp_path: Path, script: str, code: int, redirection: str
) -> None:
    shell = ("bash", "-c", f'"$@" {redirection}', "-")
    process = start(script, "--keep", str(tmp_path / "kept"), prefix=shell)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert b"its output cannot be written" in err
    assert b"Traceback" not in err
    assert (tmp_path / "kept" / "stdout").read_bytes() == b"out\n"


def test_a_stderr_that_cannot_be_written_changes_nothing(start: Start) -> None:
    process = start("echo out; echo err >&2", prefix=("bash", "-c", '"$@" 2>/dev/full', "-"))
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, b"out\n")


def test_a_path_without_programs_is_the_scripts_alone(start: Start) -> None:
    out, err = start('echo "$PATH"', "--env", "PATH=/nowhere").communicate(timeout=60)
    assert out == b"/nowhere\n", err


def test_arguments_follow_two_dashes(start: Start) -> None:
    script = 'printf "<%s>" "$#" "$@"'
    out, err = start(script, "--timeout", "10m", "--", "a b", "--timeout", "--", "").communicate(timeout=60)
    assert out == b"<4><a b><--timeout><--><>", err


@pytest.mark.parametrize("place", ["missing/folder", "file/folder", "x" * 300])
def test_results_that_cannot_be_kept_there_are_refused_before_the_script_runs(
    start: Start, tmp_path: Path, place: str
) -> None:
    (tmp_path / "file").touch()
    process = start("touch $FLAG", "--keep", str(tmp_path / place))
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert b"cannot be created" in err
    assert not (tmp_path / "flag").exists()


def test_results_that_cannot_be_moved_are_not_lost(start: Start, tmp_path: Path) -> None:
    (tmp_path / "place").mkdir()
    place = tmp_path / "place"
    process = start(f"rm -rf {place}; touch {place}; echo out", "--keep", str(place / "kept"))
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1, err
    (rescued,) = (tmp_path / "tmp").glob("batchy-kept-*/*/stdout")
    assert rescued.read_bytes() == b"out\n"


@pytest.mark.parametrize("size", [200_000])
def test_a_value_that_no_process_can_be_given_names_its_variable(start: Start, tmp_path: Path, size: int) -> None:
    from batchy_provider.cli.main import main

    start("touch $FLAG").communicate(timeout=60)
    assert main(["run", str(tmp_path / "bundle"), "--env", "BIG=" + "x" * size]) == 125


def test_background_work_fails_the_run_when_its_time_is_over(start: Start, tmp_path: Path) -> None:
    process = start("sleep 300 & touch $FLAG", "--background-timeout", "1s")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert b"left work in the background that did not end within 1 s" in err
    assert b"`sleep 300`" in err
    assert living(tmp_path) == []
