# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""One stack at a time in a folder: who runs there, what a killed one has left, what is removed and what never."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from batchy_provider.local import folder as folders
from batchy_provider.local import guard, stack
from batchy_provider.local.folder import AnotherStackError, Running, StackFolder, check_owned
from batchy_provider.local.ports import free_port
from batchy_provider.local.process import Service, StackError

HOLDER = """
    import sys, time
    from pathlib import Path
    from batchy_provider.local.folder import StackFolder
    from batchy_provider.local.process import Guard, Service

    home = Path(sys.argv[1])
    own = StackFolder(home)
    own.lock()
    guard = Guard(holds=own.lock_fd)

    def watch(pid):
        guard.watch(1, pid)
        own.remember(1, pid)

    env = {"PATH": "/usr/bin:/bin"}
    service = Service("Godot", ["bash", "-c", sys.argv[2]], log=home / "log", env=env, watch=watch)
    service.start()
    own.say(sys.argv[3], url="http://127.0.0.1:1", user="admin", password="secret")
    print(service.pid, guard._process.pid, flush=True)
    time.sleep(300)
"""


@contextmanager
def holder(home: Path, script: str = "sleep 300", state: str = "running") -> Iterator[tuple[int, int, int]]:
    """Another program that has a stack in the folder; yields its process id, its service's and its guard's."""
    command = [sys.executable, "-c", textwrap.dedent(HOLDER), str(home), script, state]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        try:
            assert program.stdout is not None
            service, watcher = (int(word) for word in program.stdout.readline().split())
            yield program.pid, service, watcher
        finally:
            program.kill()


def alive(pid: int) -> bool:
    return guard.identify(pid).started != "gone"


def test_a_second_one_is_refused_and_learns_where_the_first_is(tmp_path: Path) -> None:
    with holder(tmp_path) as (pid, service, _):
        with pytest.raises(AnotherStackError, match="Another stack runs") as caught:
            StackFolder(tmp_path).lock()
        second = stack.LocalStack(tmp_path, dags=tmp_path, cfg=tmp_path)
        with pytest.raises(AnotherStackError):
            second.claim(fresh=True)
        second.stop()
        running = caught.value.running
        assert running is not None
        assert (running.pid, running.url, running.password) == (pid, "http://127.0.0.1:1", "secret")
        assert oct((tmp_path / "running.json").stat().st_mode)[-3:] == "600"
        assert alive(service), "nothing of the first is touched"
        assert Running.read(tmp_path) == running


def test_after_a_kill_the_folder_is_free_only_when_all_programs_are_stopped(tmp_path: Path) -> None:
    # It takes its time, and ignores what can be ignored.
    with holder(tmp_path, "trap 'sleep 1; exit' INT; while :; do sleep 0.1; done") as (pid, service, _):
        os.kill(pid, signal.SIGKILL)
        said: list[str] = []
        own = StackFolder(tmp_path, report=said.append)
        own.lock()
        assert not alive(service)
        own.release()


def test_what_runs_on_after_a_kill_of_program_and_guard_is_stopped_by_the_next(tmp_path: Path) -> None:
    with holder(tmp_path) as (pid, service, watcher):
        os.kill(watcher, signal.SIGKILL)
        os.kill(pid, signal.SIGKILL)
        time.sleep(0.2)
        assert alive(service)
        own = StackFolder(tmp_path)
        own.lock()
        assert not alive(service)
        own.release()


@pytest.mark.parametrize(
    "line",
    ["", "1 {pid}", "x y z", "1 {pid} boot {started}", "1 {pid} {boot} 12345", "1 999999999 {boot} {started}", "\x00"],
)
def test_a_process_that_is_not_the_very_one_is_left_alone(tmp_path: Path, line: str) -> None:
    service = Service("Godot", ["sleep", "300"], log=tmp_path / "log", env=dict(os.environ))
    service.start()
    started = guard.identify(service.pid).started
    (tmp_path / "processes").write_text(line.format(pid=service.pid, started=started, boot=folders._boot()))
    own = StackFolder(tmp_path)
    own.lock()
    assert service.alive()
    own.release()
    service.kill()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}', '{"other": 1}', "\x00\ud800"])
def test_a_note_that_is_damaged_or_stale_refuses_nobody(tmp_path: Path, text: str) -> None:
    (tmp_path / "running.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    own = StackFolder(tmp_path)
    own.lock()
    assert Running.read(tmp_path) == Running(pid=os.getpid(), started=guard.identify(os.getpid()).started)
    own.release()
    assert not (tmp_path / "running.json").exists()


@pytest.mark.parametrize("name", ["lock", "secrets.json", "thesis.tex", ".git"])
def test_a_folder_of_something_else_is_neither_used_nor_emptied(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(json.dumps({"api_key": "x"}))
    for fresh in (False, True):
        with pytest.raises(StackError, match="was not made by batchy"):
            stack.LocalStack(tmp_path, dags=tmp_path, cfg=tmp_path).claim(fresh=fresh)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_start_that_failed_early_can_be_done_again_and_forgotten(tmp_path: Path) -> None:
    home = tmp_path / "home"
    own = StackFolder(home)
    own.lock()
    (home / "dags").mkdir()
    own.release()
    check_owned(home)
    again = stack.LocalStack(home, dags=home / "dags", cfg=tmp_path)
    again.claim(fresh=True)
    assert not (home / "dags").exists()
    again.stop()


@pytest.mark.parametrize("place", ["file/below", "file", "/dev/null/demo", "/proc/demo"])
def test_a_folder_that_cannot_be_is_one_sentence(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StackError, match=r"cannot be used|was not made by batchy"):
        stack.LocalStack(tmp_path / place, dags=tmp_path, cfg=tmp_path).claim()


def test_a_port_that_was_asked_for_and_is_taken_is_said_at_once(tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        one = stack.LocalStack(tmp_path / "home", dags=tmp_path, cfg=tmp_path, port=port)
        with pytest.raises(StackError, match=f"Port {port} cannot be used: Address already in use"):
            one.start()
        assert free_port(port) != port
