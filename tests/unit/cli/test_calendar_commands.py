# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""`schedule` of workflow files that pick a calendar of ``_calendars.yaml``, without Redis and Airflow."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from batchy_provider.cli.main import main

CALENDARS = """\
target: {holidays: ECB}
bavaria: {holidays: DE-BY}
munich: {extends: bavaria, add: [2026-12-31]}
"""
JOBS = 'timezone: Europe/Berlin\njobs: {load: {bash: "true"}}\n'


@pytest.fixture
def cfg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of workflow files, with calendars."""
    for name in ("BATCHY_CFG", "BATCHY_REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "cfg"
    folder.mkdir()
    (folder / "_calendars.yaml").write_text(CALENDARS)
    return folder


def due(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[tuple[str | None, str | None]]:
    """Return the day, or None, and the note of each line."""
    assert main(["-o", "json", "schedule", *arguments]) == 0
    found = json.loads(capsys.readouterr().out)
    return [(each["day"] if each["due"] else None, each["note"]) for each in found]


@pytest.mark.parametrize(
    ("schedule", "days"),
    [
        ('{cron: "0 18 * * *", calendar: munich, on: {nth: -1, of: month}}', ["2026-12-30", "2027-01-29"]),
        ('{cron: "0 18 * * *", calendar: bavaria, on: {nth: -1}}', ["2026-12-31", "2027-01-29"]),
        ('{cron: "0 18 * * *", calendar: target, on: holidays}', ["2026-12-25", "2026-12-26"]),
        ('{cron: "0 18 25 12 *", calendar: target, move: next}', ["2026-12-28", "2027-12-27"]),
        ('{cron: "0 18 * * 1#1", calendar: bavaria}', ["2026-12-07", "2027-01-04"]),
    ],
)
def test_each_rule_of_a_file(cfg: Path, capsys: pytest.CaptureFixture[str], schedule: str, days: list[str]) -> None:
    (cfg / "sales.yaml").write_text(f"schedule: {schedule}\n{JOBS}")
    assert [day for day, _ in due(capsys, "sales", "--from", "2026-12-01", "--count", "2")] == days


def test_a_changed_calendar_is_seen_by_the_next_call(cfg: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (cfg / "sales.yaml").write_text(f'schedule: {{cron: "0 7 * * *", calendar: munich}}\n{JOBS}')
    options = ("sales", "--from", "2026-12-30", "--count", "1", "--left-out")
    assert due(capsys, *options) == [("2026-12-30", None)]
    (cfg / "_calendars.yaml").write_text(CALENDARS.replace("2026-12-31", "2026-12-30"))
    assert due(capsys, *options) == [(None, "added to munich"), ("2026-12-31", None)]


def test_an_error_in_a_calendar_is_shown_with_its_line_and_stops_only_who_picks_it(
    cfg: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (cfg / "_calendars.yaml").write_text(f"{CALENDARS}nordic: {{holidays: XX-YY}}\n")
    (cfg / "sales.yaml").write_text(f'schedule: {{cron: "0 7 * * *", calendar: nordic}}\n{JOBS}')
    (cfg / "crm.yaml").write_text(f'schedule: {{cron: "0 7 * * *", calendar: target}}\n{JOBS}')
    assert main(["schedule", "sales"]) == 1
    said = capsys.readouterr().err
    assert "sales.yaml:1:" in said
    assert "_calendars.yaml:4:" in said
    assert main(["schedule", "crm"]) == 0


def test_a_time_or_another_workflow(cfg: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (cfg / "crm.yaml").write_text(JOBS)
    (cfg / "sales.yaml").write_text(f'schedule: {{cron: "0 7 * * *", calendar: target, after: crm}}\n{JOBS}')
    assert main(["schedule", "sales", "--from", "2026-12-24", "--count", "2"]) == 0
    out, said = capsys.readouterr()
    assert "2026-12-28" in out
    assert "also runs after crm" in said
