# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A gap on a whole Airflow: it is seen, runs load it, it is gone; from the command line, by REST and on the page."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from browser import Reader
from nights import Nights
from playwright.sync_api import expect

from batchy_provider.core.values import CloseRequest, Holder, OpenRequest, Window, WorkflowConfig
from batchy_provider.local.rest import wait_for

FILLED = """\
schedule: null
start_date: 2026-01-01
timezone: Europe/Berlin
max_active_runs: 2
jobs:
  extract: {{bash: 'echo "$BATCHY_FROM_DATE $BATCHY_TO_DATE" >> {folder}/{name}'}}
"""
WORKFLOWS = ("gap_shell", "gap_rest", "gap_page")


@pytest.fixture(scope="module")
def folder(airflow: Nights, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Workflows that lack 24 to 27 October 2026 of Berlin. Each writes the windows that it loads into a file here."""
    folder = tmp_path_factory.mktemp("filled")
    airflow.add_all({name: FILLED.format(folder=folder, name=name) for name in WORKFLOWS})
    for name in WORKFLOWS:
        config = WorkflowConfig(name=name, jobs={"extract": {}}, timezone="Europe/Berlin")
        for start, end in (("2026-10-20T22:00", "2026-10-23T22:00"), ("2026-10-26T23:00", "2026-10-27T23:00")):
            window = Window(from_date=start, to_date=end)
            request = OpenRequest(config=config, holder=Holder(by="test"), window=window, move_watermark=True)
            batch = airflow.store.open(name, request)
            airflow.store.close(name, CloseRequest(result="success", batch_id=batch.batch_id, by="test"))
    return folder


LOADED = [
    "2026-10-23T22:00:00.000000 2026-10-24T22:00:00.000000",
    "2026-10-24T22:00:00.000000 2026-10-25T23:00:00.000000",  # the day of 25 hours
    "2026-10-25T23:00:00.000000 2026-10-26T23:00:00.000000",
]


def batchy(airflow: Nights, *arguments: str) -> Any:
    """Call `batchy` as on a machine of this Airflow, and return its JSON."""
    command = [sys.executable, "-m", "batchy_provider.cli.main", "-o", "json", *arguments]
    command += ["--connection", "redis_default"]
    done = subprocess.run(
        command, env=airflow.stack.environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def windows(rows: list[dict[str, Any]]) -> list[str]:
    return [f"{row['from_date']} {row['to_date']}" for row in rows]


def test_a_gap_is_loaded_from_the_command_line_and_a_second_fill_finds_nothing(airflow: Nights, folder: Path) -> None:
    (gap,) = batchy(airflow, "gaps", "gap_shell")
    assert gap == {
        "workflow": "gap_shell",
        "job": "extract",
        "from_date": "2026-10-23T22:00:00.000000",
        "to_date": "2026-10-26T23:00:00.000000",
    }
    watermark = airflow.watermark("gap_shell")
    found = batchy(airflow, "fill", "gap_shell", "--why", "an outage")
    assert windows(found) == LOADED
    again = batchy(airflow, "fill", "gap_shell")  # while they are queued, or run, or some have ended
    assert {row["run_id"] for row in again} <= {row["run_id"] for row in found}
    for row in found:
        assert airflow.client.wait_for_run("gap_shell", row["run_id"]) == "success"
        batch = airflow.batch("gap_shell", row["run_id"])
        assert (batch.kind, batch.from_date, batch.to_date) == ("history", row["from_date"], row["to_date"])
    assert sorted((folder / "gap_shell").read_text().splitlines()) == LOADED
    assert batchy(airflow, "gaps", "gap_shell") == []
    assert batchy(airflow, "fill", "gap_shell") == []
    assert airflow.watermark("gap_shell") == watermark
    assert "fill: queued 3 runs" in airflow.store.status("gap_shell").changes[0].what
    audit = airflow.client.request("GET", "/eventLogs", params={"dag_id": "gap_shell", "event": "batchy_fill"})
    assert "an outage" in audit["event_logs"][0]["extra"]


def test_a_gap_is_loaded_by_rest_once_also_while_the_dag_is_paused(airflow: Nights, folder: Path) -> None:
    airflow.client.unpause("gap_rest", paused=True)
    with airflow.rest() as rest:
        path = "/batchy/api/v1/workflows/gap_rest"
        dry = rest.post(f"{path}/fill", json={"dry_run": True}).json()
        assert windows(dry["runs"]) == LOADED
        first = rest.post(f"{path}/fill", json={"at_most": 1}).json()
        assert {note["code"] for note in first["notes"]} == {"dag_paused", "more_left"}
        second = rest.post(f"{path}/fill", json={"every": "4w"}).json()
        assert windows(second["runs"]) == [LOADED[0], "2026-10-24T22:00:00.000000 2026-10-26T23:00:00.000000"]
        assert second["created"] == [second["runs"][1]["run_id"]]
        assert rest.post(f"{path}/fill", json={}).json()["created"] == []
        airflow.client.unpause("gap_rest")
        for run in second["runs"]:
            assert airflow.client.wait_for_run("gap_rest", run["run_id"]) == "success"
        assert rest.get(f"{path}/gaps").json() == []
        asked = {"from_date": LOADED[0].split()[0], "to_date": LOADED[0].split()[1]}
        known = rest.post(f"{path}/fill", json=asked).json()
        assert (known["runs"], known["created"], known["notes"][0]["code"]) == (first["runs"], [], "already_loaded")
    assert len((folder / "gap_rest").read_text().splitlines()) == 2


def test_a_gap_is_seen_and_loaded_on_the_page(airflow: Nights, folder: Path, reader: Callable[..., Reader]) -> None:
    night = reader()
    frame = night.go()
    gap = frame.get_by_role("region", name="Gaps").get_by_role("listitem").filter(has_text="gap_page")
    expect(gap).to_contain_text("2026-10-24 00:00→2026-10-27 00:00")
    night.photograph("gaps")
    gap.get_by_role("link", name="windows").click()
    strip = frame.get_by_role("img", name="extract: 1 gap")
    expect(strip.locator(".loaded")).to_have_count(2)
    expect(strip.locator(".gap")).to_have_count(1)
    night.photograph("strip")
    frame.get_by_role("button", name="Load this gap of gap_page…").click()
    dialog = frame.get_by_role("dialog")
    expect(dialog).to_contain_text("one run for each slice of this gap")
    dialog.get_by_label("Why").fill("an outage")
    night.photograph("load-gap")
    dialog.get_by_role("button", name="Load").click()
    expect(dialog).to_be_hidden()
    expect(frame.get_by_text("3 runs are queued.")).to_be_visible()
    file = folder / "gap_page"
    wait_for(lambda: file.exists() and len(file.read_text().splitlines()) == 3, "the runs", timeout=240)
    expect(frame.get_by_role("img", name="extract: no gap")).to_be_visible(timeout=120_000)
    assert sorted(file.read_text().splitlines()) == LOADED
    night.photograph("filled")
    frame.get_by_role("link", name="Changes").click()
    expect(frame.get_by_role("row").nth(1)).to_contain_text("an outage")
