# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Scripts under cron that open and close: real processes that overlap, crash and wrap the command."""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import BATCHY, Cli

pytestmark = pytest.mark.slow


class Script:
    """A bash script that waits at `pause` until it is told to go on."""

    def __init__(self, folder: Path, name: str, text: str, url: str) -> None:
        self._folder = folder / name
        self._folder.mkdir()
        program = self._folder / f"{name}.sh"
        command = " ".join(map(shlex.quote, BATCHY))
        batchy = f'batchy() {{ {command} "$@"; }}'
        pause = "pause() { touch paused; until [ -e go ]; do sleep 0.05; done; }"
        program.write_text(f"{batchy}\n{pause}\n{text}\n")
        self.log = self._folder / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                ["bash", program], cwd=self._folder, stdout=log, stderr=log, env={**os.environ, "BATCHY_REDIS_URL": url}
            )

    def until_paused(self) -> None:
        self._until(lambda: (self._folder / "paused").exists() or self.process.poll() is not None)
        assert (self._folder / "paused").exists(), self.log.read_text()

    def go_on(self) -> int:
        (self._folder / "go").touch()
        return self.end()

    def end(self) -> int:
        return self.process.wait(timeout=60)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(timeout=60)

    @staticmethod
    def _until(holds: Callable[[], bool]) -> None:
        over = time.monotonic() + 60
        while not holds():
            assert time.monotonic() < over, "the script does not get there"
            time.sleep(0.02)


@pytest.fixture
def script(redis_url: str, tmp_path: Path) -> Any:
    started: list[Script] = []

    def call(name: str, text: str) -> Script:
        started.append(Script(tmp_path, name, text, redis_url))
        return started[-1]

    yield call
    for each in started:
        if each.process.poll() is None:
            each.kill()


NIGHT = "batchy open sales || exit 9; pause; batchy close sales"
CARELESS = "batchy open sales; batchy close sales"


def test_two_overlapping_scripts_never_lose_a_window(cli: Cli, sales: str, script: Any) -> None:
    first = script("first", NIGHT)
    first.until_paused()
    held = cli.store.status(sales).batch
    assert script("second", CARELESS).end() == 1, "a bare close never closes another's batch"
    assert cli.store.status(sales).batch == held
    assert first.go_on() == 0
    assert cli.store.batch(sales, held.batch_id).status == "success"
    assert cli.json("open", sales)["load"]["from_date"] == held.to_date


def test_the_refusal_names_the_script_that_holds_the_batch(cli: Cli, sales: str, script: Any) -> None:
    first = script("first", NIGHT)
    first.until_paused()
    second = script("second", NIGHT)
    assert second.end() == 9
    said = second.log.read_text()
    assert f"process {first.process.pid} on" in said
    assert f"--batch {cli.store.status(sales).batch.batch_id}" in said


def test_after_a_crash_the_next_script_takes_the_window_over(cli: Cli, sales: str, script: Any) -> None:
    first = script("first", NIGHT)
    first.until_paused()
    held = cli.store.status(sales).batch
    first.kill()
    second = script("second", NIGHT)
    second.until_paused()
    assert cli.store.status(sales).batch.from_date == held.from_date
    assert cli.store.batch(sales, held.batch_id).status == "failed"
    assert "was never closed; its window is taken over" in second.log.read_text()
    assert second.go_on() == 0


@pytest.mark.parametrize(
    "opening",
    [
        "x=$(batchy open sales -o json | cat)",
        "x=$(batchy open sales -o json); : more",
        "( batchy open sales; : )",
        "timeout 60 {program} open sales",
        "sh -c '{program} open sales'",
        "open() {{ batchy open sales; }}; open",
    ],
    ids=["pipeline", "substitution", "subshell", "timeout", "lone shell", "function"],
)
def test_the_script_is_the_caller_whatever_stands_between(cli: Cli, sales: str, script: Any, opening: str) -> None:
    first = script("first", f"{opening.format(program=shlex.join(BATCHY))}\npause\nbatchy close sales")
    first.until_paused()
    held = cli.store.status(sales)
    assert held.holder is not None
    assert held.holder.process is not None
    assert held.holder.process.chain[-1].pid == first.process.pid
    cli("close", sales, code=1)
    assert f"process {first.process.pid} on" in cli.said, "not even its parent, this process, may close it"
    assert cli.store.status(sales).batch == held.batch
    assert first.go_on() == 0
    assert cli.store.batch(sales, held.batch.batch_id).status == "success"


def test_a_trap_and_a_child_of_the_script_may_close(cli: Cli, sales: str, script: Any) -> None:
    assert script("first", "trap 'batchy fail sales' EXIT; batchy open sales; exit 3").end() == 3
    assert cli.store.status(sales).batch.status == "failed"
    program = shlex.join(BATCHY)
    assert script("second", f"batchy open sales; bash -c '{program} close sales; exit $?'; true").end() == 0
    assert cli.store.status(sales).batch.status == "success"


def test_background_parts_of_one_script_do_not_close_each_others_batch(cli: Cli, sales: str, script: Any) -> None:
    part = "batchy open sales; pause; batchy close sales"
    first = script(
        "first", f"( {part} ) &\nuntil [ -e paused ]; do sleep 0.05; done\n( {CARELESS} )\necho $? > second\nwait"
    )
    first.until_paused()
    batch_id = cli.store.status(sales).batch.batch_id
    second = first.log.parent / "second"
    Script._until(second.exists)
    assert cli.store.status(sales).batch.batch_id == batch_id
    assert cli.store.status(sales).batch.status == "open"
    assert first.go_on() == 0
    assert cli.store.batch(sales, batch_id).status == "success"


def test_a_named_process_holds_the_batch(cli: Cli, sales: str, script: Any) -> None:
    holder = script("holder", "pause")
    holder.until_paused()
    assert script("opens", f"batchy open sales --process {holder.process.pid}").end() == 0
    cli("open", sales, code=1)
    assert f"process {holder.process.pid} on" in cli.said
    holder.go_on()
    cli("open", sales)
    cli("open", sales, "--process", "999999999", code=2)


def test_any_batch_can_be_closed_by_its_id(cli: Cli, sales: str, script: Any) -> None:
    first = script("first", NIGHT)
    first.until_paused()
    cli("fail", sales, "--batch", str(cli.store.status(sales).batch.batch_id))
    assert cli.store.status(sales).batch.status == "failed"
    assert first.go_on() == 1, "the first one is told that its batch is not open any more"
