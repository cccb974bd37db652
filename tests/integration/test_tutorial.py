# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""docs/tutorial.md and README.md as a reader does them: their commands, in their order, and what they come to."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
import warm_commands
from nights import Nights, moment

from batchy_provider.core.values import Batch
from batchy_provider.local.process import Service
from batchy_provider.local.rest import FINISHED, wait_for

PAGE = (Path(__file__).parents[2] / "docs" / "tutorial.md").read_text()
PIECES = re.compile(
    r"^## (?P<title>[^\n]+)$|(?:<!-- test: (?P<note>[^\n]+?) -->\n)?```(?P<kind>\w+)\n(?P<text>.*?)```", re.M | re.S
)
WORKFLOWS = ("shop", "shop_report")
README = (Path(__file__).parents[2] / "README.md").read_text()


class Step(NamedTuple):
    """One block of the page.

    :param title: of the section that it stands in.
    :param kind: ``sh`` is run, ``text`` is what the block before has printed.
    :param note: what a reader waits for after it.
    :param check: what is to be true then: one of `CHECKS`.
    """

    title: str
    kind: str
    text: str
    note: str
    check: str


def steps() -> Iterator[Step]:
    title = ""
    for piece in PIECES.finditer(PAGE):
        title = piece["title"] or title
        if piece["kind"]:
            note, _, check = (piece["note"] or "").partition("; ")
            yield Step(title, piece["kind"], piece["text"], note, check)


class Reader:
    """
    Somebody who follows the tutorial in a second terminal.

    :param shell: what this shell has done before.
    """

    def __init__(self, airflow: Nights, shell: str = "") -> None:
        self.airflow = airflow
        self.printed = ""
        self._shell = f"source '{airflow.stack.folder / 'env.sh'}'\n{shell}"

    def do(self, step: Step) -> None:
        if step.kind == "text":
            missing = [line for line in step.text.splitlines() if line not in self.printed]
            assert not missing, f"{step.title}: not printed: {missing}, but:\n{self.printed}"
        elif step.note != "not here":
            before = len(self.runs())
            for workflow in re.findall(r"airflow dags unpause (\w+)", step.text):
                self.wait_until_there(workflow)
            self.run(step.text)
            self.wait(step.note, before)

    def run(self, commands: str) -> None:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", f"{self._shell}{commands}"],
            cwd=self.airflow.cfg.parent,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, f"{commands}\n{done.stdout}\n{done.stderr}"
        self.printed = done.stdout + done.stderr

    def wait(self, note: str, before: int) -> None:
        client = self.airflow.client
        if note == "shop_report waits":
            (run,) = client.runs("shop_report")
            client.wait_for_task("shop_report", run["dag_run_id"], "wait_for_shop", ["deferred"], timeout=240)
        elif note == "latest is there":
            self.wait_until_there("shop", task="latest")
        elif note == "ended":
            wait_for(lambda: len(self.runs()) > before, "a run", timeout=240)
            wait_for(lambda: set(self.runs()) <= FINISHED, "the end of all runs", timeout=240)
        else:
            assert not note, f"nobody knows how to wait for {note!r}"

    def wait_until_there(self, workflow: str, task: str | None = None) -> None:
        client = self.airflow.client

        def there() -> bool:
            if not client.has_dag(workflow):
                return False
            if task is None:
                return True
            found = client.request("GET", f"/dags/{workflow}/tasks")["tasks"]
            return task in {each["task_id"] for each in found}

        self.airflow.read_until(there, f"{workflow} {task or ''} in Airflow")

    def runs(self) -> list[str]:
        return [state for name in WORKFLOWS for state in self.airflow.client.run_states(name).values()]

    def batches(self) -> list[Batch]:
        return self.airflow.store.history("shop", limit=20)


@pytest.fixture
def warm(airflow: Nights, tmp_path: Path) -> Iterator[str]:
    """Lines of a shell that make its commands start at once: the page has forty, the README shows that they start."""
    with tempfile.TemporaryDirectory() as folder:  # a short name, as sockets need
        path = Path(folder, "socket")
        program = shlex.join([sys.executable, warm_commands.__file__, str(path)])
        source = f"source '{airflow.stack.folder / 'env.sh'}'; exec {program}"
        server = Service("the warm commands", ["bash", "-c", source], log=tmp_path / "log", env=dict(os.environ))
        server.start()
        try:
            server.wait_until(path.exists, timeout=240)
            client = shlex.join([sys.executable, "-I", "-S", warm_commands.__file__, str(path)])
            yield "".join(f'{name}() {{ {client} {name} "$@"; }}\n' for name in ("airflow", "batchy"))
        finally:
            server.stop()


def test_the_tutorial_comes_to_what_it_says(airflow: Nights, warm: str) -> None:
    reader = Reader(airflow, warm)
    unseen = dict(CHECKS)
    for step in steps():
        reader.do(step)
        if step.check:
            unseen.pop(step.check)(reader)
    assert not unseen, "the tutorial has lost a part"


def test_the_workflow_of_five_minutes_in_the_readme_takes_the_windows_that_it_says(airflow: Nights) -> None:
    files, nights = re.findall(r"```\n(.*?)```", README.partition("## A workflow of your own")[2], re.S)[:2]
    reader = Reader(airflow)
    reader.run(files)
    reader.wait_until_there("hello")
    reader.run(nights.replace("source .batchy/demo/env.sh", ": #"))
    client = airflow.client
    wait_for(lambda: len(client.run_states("hello")) == 2, "the night that is due, and the one by hand", timeout=240)
    wait_for(lambda: set(client.run_states("hello").values()) == {"success"}, "both nights", timeout=240)
    second, first = airflow.store.history("hello")
    assert first.from_date == "2025-12-31T23:00:00.000000"
    assert moment(first.to_date) - moment(second.jobs["load"]["from_date"]) == timedelta(hours=2)


def the_first_night(reader: Reader) -> None:
    (first,) = reader.batches()
    assert (first.status, first.from_date) == ("success", "2025-12-31T23:00:00.000000")
    assert [run["state"] for run in reader.airflow.client.runs("shop_report")] == ["success"], (
        "woken by the batch's end"
    )


def the_failed_night(reader: Reader) -> None:
    failed, first = reader.batches()
    assert failed.status == "failed"
    assert failed.jobs["extract"]["from_date"] < first.to_date, "reprocess_hours: it reaches back"
    assert failed.jobs["load"]["from_date"] == first.to_date


def the_night_that_makes_up_for_it(reader: Reader) -> None:
    again, failed, _ = reader.batches()
    assert again.status == "success"
    for job in ("extract", "load"):
        assert again.jobs[job]["from_date"] == failed.jobs[job]["from_date"], "the same window again"
    assert again.to_date > failed.to_date, "and what has come since"


def the_old_day(reader: Reader) -> None:
    old, again, *_ = reader.batches()
    assert (old.kind, old.status) == ("history", "success")
    assert (old.from_date, old.to_date) == ("2026-11-01T00:00:00.000000", "2026-11-02T00:00:00.000000")
    assert set(reader.airflow.watermark("shop").values()) == {again.to_date}, "the watermark has not moved"


def the_backfill(reader: Reader) -> None:
    found = [batch for batch in reader.batches() if batch.to_date < "2026-05"]
    assert sorted((batch.kind, batch.status, batch.to_date) for batch in found) == [
        ("history", "success", "2026-04-02T01:00:00.000000"),
        ("history", "success", "2026-04-03T01:00:00.000000"),
    ], "two nights, at three in Berlin"


def the_job_that_was_added(reader: Reader) -> None:
    assert reader.batches()[0].jobs["latest"]["outcome"] == "success"


CHECKS = {
    check.__name__.replace("_", " "): check
    for check in (
        the_first_night,
        the_failed_night,
        the_night_that_makes_up_for_it,
        the_old_day,
        the_backfill,
        the_job_that_was_added,
    )
}
