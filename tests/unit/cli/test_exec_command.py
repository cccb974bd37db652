# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""`batchy exec`: a command in a batch that it holds by a lease."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import BATCHY, Cli, open_by_run

from batchy_provider.core.values import WorkflowConfig

pytestmark = pytest.mark.slow

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start(redis_url: str, tmp_path: Path) -> Any:
    """Start the real command in the background."""
    started = []

    def call(*arguments: str, **options: Any) -> subprocess.Popen[bytes]:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        command = [*BATCHY, "--redis-url", redis_url, *arguments]
        process = subprocess.Popen(command, cwd=tmp_path, start_new_session=True, **{**pipes, **options})
        started.append(process)
        return process

    yield call
    for process in started:
        if process.poll() is None:
            process.kill()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
        process.wait(timeout=60)


def until(holds: Callable[[], Any], what: str) -> None:
    """Wait until something holds."""
    over = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < over, what
        time.sleep(0.02)


def is_open(cli: Cli) -> bool:
    batch = cli.store.status("sales").batch
    return batch is not None and batch.status == "open"


def runs(path: Path) -> bool:
    """Tell whether the process whose id a file holds is alive."""
    stat = Path("/proc", path.read_text().strip(), "stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] not in "ZX"


class TestWindow:
    def test_the_command_gets_the_window_and_its_success_moves_the_watermark(
        self, cli: Cli, sales: str, start: Start
    ) -> None:
        script = 'echo "$BATCHY_WORKFLOW $BATCHY_BATCH_ID $BATCHY_FROM_DATE $BATCHY_TO_DATE"; cat "$BATCHY_PARAMS"'
        out, said = start("exec", sales, "--", "sh", "-c", script).communicate(timeout=60)
        first, _, params = out.decode().partition("\n")
        batch = cli.store.status(sales).batch
        assert first == f"sales {batch.batch_id} {batch.from_date} {batch.to_date}"
        assert json.loads(params)["jobs"]["extract"]["params"] == {"region": "eu", "größe": [1, 2]}
        assert batch.status == "success"
        assert said == b""
        assert cli.json("open", sales)["load"]["from_date"] == batch.to_date

    def test_one_job_of_several(self, cli: Cli, sales: str, start: Start) -> None:
        script = 'echo "$BATCHY_JOB $BATCHY_FROM_DATE"; cat "$BATCHY_PARAMS"'
        out, _ = start("exec", sales, "--job", "extract", "--", "sh", "-c", script).communicate(timeout=60)
        first, _, params = out.decode().partition("\n")
        assert first == f"extract {cli.json('status', sales)['extract']['from_date']}"
        assert json.loads(params)["params"]["region"] == "eu"

    def test_a_job_that_does_not_exist_opens_nothing(self, cli: Cli, sales: str) -> None:
        cli("exec", sales, "--job", "lod", "--", "true", code=2)
        assert "its jobs are extract, load" in cli.said
        assert cli.store.count(sales) == 1

    def test_a_window_of_ones_own_is_history(self, cli: Cli, sales: str, start: Start) -> None:
        before = cli.json("status", sales)
        done = start("exec", sales, "--from", "2026-01-01", "--to", "2026-01-08", "--", "printenv", "BATCHY_TO_DATE")
        assert done.communicate(timeout=60)[0] == b"2026-01-08T00:00:00.000000\n"
        assert cli.json("status", sales) == before
        assert {batch.kind for batch in cli.store.history(sales)} == {"live", "history"}


class TestExitCodes:
    @pytest.mark.parametrize(
        ("script", "code", "why"),
        [("exit 3", 3, "exit code 3"), ("kill -KILL $$", 137, "exit code 137 (SIGKILL)")],
    )
    def test_the_batch_fails_with_the_command(
        self, cli: Cli, sales: str, start: Start, script: str, code: int, why: str
    ) -> None:
        done = start("exec", sales, "--", "sh", "-c", script)
        done.communicate(timeout=60)
        assert done.returncode == code
        batch = cli.store.status(sales).batch
        assert (batch.status, batch.record.closed_why) == ("failed", why)

    @pytest.mark.parametrize(("name", "code"), [("./nothing", 127), ("no-such-program", 127), ("./plain", 126)])
    def test_what_cannot_be_run_opens_nothing(self, cli: Cli, sales: str, tmp_path: Path, name: str, code: int) -> None:
        (tmp_path / "plain").write_text("no program")
        cli("exec", sales, "--", name, code=code)
        assert "No batch is opened" in cli.said
        assert cli.store.count(sales) == 1

    def test_an_interpreter_that_is_missing_fails_the_batch(self, cli: Cli, sales: str, tmp_path: Path) -> None:
        script = tmp_path / "load.sh"
        script.write_text("#!/no/such/interpreter\n")
        script.chmod(0o755)
        cli("exec", sales, "--", "./load.sh", code=127)
        assert cli.store.status(sales).batch.status == "failed"

    def test_a_script_without_a_first_line_runs_as_in_a_shell(self, cli: Cli, sales: str, tmp_path: Path) -> None:
        script = tmp_path / "load.sh"
        script.write_text('[ "$1" = full ] || exit 4\n')
        script.chmod(0o755)
        cli("exec", sales, "--", "./load.sh", "full")
        assert cli.store.status(sales).batch.status == "success"

    def test_without_a_command_it_says_how_to_write_one(self, cli: Cli, sales: str) -> None:
        cli("exec", sales, code=2)
        assert "after --" in cli.said

    def test_a_workflow_whose_jobs_are_all_disabled_has_nothing_to_load(
        self, cli: Cli, sales: str, tmp_path: Path
    ) -> None:
        for job in ("extract", "load"):
            cli("disable", sales, job)
        cli("exec", sales, "--", "touch", "ran", code=3)
        assert not (tmp_path / "ran").exists()
        assert not is_open(cli)

    def test_an_unknown_workflow_runs_nothing(self, cli: Cli, tmp_path: Path) -> None:
        cli("exec", "nobody", "--", "touch", "ran", code=1)
        assert not (tmp_path / "ran").exists()


class TestHeld:
    def test_a_run_that_holds_the_workflow_is_named(self, cli: Cli, sales: str, tmp_path: Path) -> None:
        open_by_run(cli.store)
        cli("exec", sales, "--", "touch", "ran", code=75)
        assert "'nightly'" in cli.said
        assert not (tmp_path / "ran").exists()

    def test_a_second_one_is_refused_while_the_first_runs(
        self, cli: Cli, sales: str, start: Start, tmp_path: Path
    ) -> None:
        first = start("exec", sales, "--", "sh", "-c", "touch started; read line", stdin=subprocess.PIPE)
        until((tmp_path / "started").exists, "the command has not started")
        cli("exec", sales, "--", "true", code=75)
        assert f"process {first.pid} on" in cli.said
        cli("open", sales, code=1)
        cli("close", sales, code=1)
        cli("load", sales, code=1)
        assert is_open(cli)
        first.communicate(b"go\n", timeout=60)
        assert first.returncode == 0
        assert cli.store.status(sales).batch.status == "success"

    def test_one_that_waits_starts_when_the_workflow_is_free(self, cli: Cli, sales: str, start: Start) -> None:
        batch_id = open_by_run(cli.store)
        second = start("exec", sales, "--if-open", "wait", "--", "true")
        assert b"waiting" in second.stderr.readline()
        cli("fail", sales, "--batch", str(batch_id))
        second.communicate(timeout=60)
        assert second.returncode == 0

    def test_one_that_waits_starts_when_a_hold_is_released(self, cli: Cli, sales: str, start: Start) -> None:
        cli("hold", sales, "--why", "migration")
        second = start("exec", sales, "--if-open", "wait", "--", "true")
        assert b"waiting: sales is on hold since" in second.stderr.readline()
        cli("release", sales)
        second.communicate(timeout=60)
        assert second.returncode == 0

    def test_a_wait_ends_after_its_time(self, cli: Cli, sales: str) -> None:
        open_by_run(cli.store)
        cli("exec", sales, "--if-open", "wait", "--wait-timeout", "1s", "--", "true", code=75)

    def test_a_batch_that_is_taken_over_stops_the_command_and_stays_the_others(
        self, cli: Cli, sales: str, start: Start, tmp_path: Path
    ) -> None:
        script = "trap '' TERM; echo $$ > pid; while :; do sleep 1; done"
        first = start("exec", sales, "--lease", "1s", "--kill-grace", "1s", "--", "sh", "-c", script)
        until((tmp_path / "pid").exists, "the command has not started")
        old = cli.store.status(sales).batch
        cli("open", sales, "--take-over")
        _, said = first.communicate(timeout=60)
        assert first.returncode == 1
        assert b"was taken over by batch" in said
        assert not runs(tmp_path / "pid")
        new = cli.store.status(sales).batch
        assert (new.status, new.from_date) == ("open", old.from_date)


class TestSignals:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
    def test_a_signal_reaches_the_command_and_its_children(
        self, cli: Cli, sales: str, start: Start, tmp_path: Path, number: signal.Signals
    ) -> None:
        script = (
            "trap 'echo told; exit 5' TERM INT HUP; sleep 600 > child.out 2>&1 & echo $! > child; touch started; wait"
        )
        process = start("exec", sales, "--", "bash", "-c", f"set +m; {script}")
        until((tmp_path / "started").exists, "the command has not started")
        process.send_signal(number)
        out, _ = process.communicate(timeout=60)
        assert (out, process.returncode) == (b"told\n", 5)
        assert cli.store.status(sales).batch.status == "failed"
        if number != signal.SIGINT:  # a shell starts background commands with SIGINT ignored
            until(lambda: not runs(tmp_path / "child"), "the signal did not reach the group")
        else:
            os.kill(int((tmp_path / "child").read_text()), signal.SIGKILL)

    def test_what_a_signal_does_not_end_closes_by_its_own_exit_code(
        self, cli: Cli, sales: str, start: Start, tmp_path: Path
    ) -> None:
        process = start(
            "exec", sales, "--", "bash", "-c", "trap 'exit 0' TERM; touch started; while :; do read -t 1; done"
        )
        until((tmp_path / "started").exists, "the command has not started")
        process.terminate()
        process.communicate(timeout=60)
        assert process.returncode == 0
        assert cli.store.status(sales).batch.status == "success"

    def test_killed_it_ends_its_command_and_after_the_lease_the_next_one_takes_the_window(
        self, cli: Cli, sales: str, start: Start, tmp_path: Path
    ) -> None:
        process = start(
            "exec", sales, "--lease", "2s", "--kill-grace", "1s", "--", "sh", "-c", "echo $$ > pid; sleep 600"
        )
        until((tmp_path / "pid").exists, "the command has not started")
        window = cli.store.status(sales).batch.from_date
        process.kill()
        process.communicate(timeout=60)
        until(lambda: not runs(tmp_path / "pid"), "the command of a killed exec goes on")
        out, _ = start("exec", sales, "--if-open", "wait", "--", "printenv", "BATCHY_FROM_DATE").communicate(timeout=60)
        assert out.decode().strip() == window


def test_it_closes_with_a_remedy_if_redis_is_gone(own_server: Any, tmp_path: Path) -> None:
    from batchy_provider.state.connections import open_client
    from batchy_provider.state.store import Store

    Store(open_client(own_server.url)).load(WorkflowConfig(name="sales", jobs={"load": {}}), by="test")
    command = [*BATCHY, "--redis-url", own_server.url, "exec", "sales", "--retry-timeout", "1s", "--"]
    script = "touch started; read line; exit 0"
    process = subprocess.Popen(
        [*command, "sh", "-c", script], cwd=tmp_path, stdin=subprocess.PIPE, stderr=subprocess.PIPE
    )
    until((tmp_path / "started").exists, "the command has not started")
    own_server.kill()
    _, said = process.communicate(b"go\n", timeout=60)
    assert process.returncode == 1
    assert b"`batchy close sales --batch " in said
