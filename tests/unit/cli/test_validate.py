# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""``batchy validate``: for people, for programs, for GitHub; and which files it looks at."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from batchy_provider.cli.main import main

ROOT = Path(__file__).parents[3]
GOOD = "jobs: {a: {bash: x}}\n"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    monkeypatch.delenv("BATCHY_CFG", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cfg").mkdir()

    def run(*arguments: str, code: int = 0) -> str:
        got = main(["validate", *arguments])
        out, err = capsys.readouterr()
        assert got == code, out + err
        return out + err

    return run


@pytest.fixture
def bad(tmp_path: Path, run: Any) -> Path:
    (tmp_path / "cfg" / "good.yaml").write_text(GOOD)
    path = tmp_path / "cfg" / "bad.yaml"
    path.write_text("jobs:\n  a: {bash: x, retries: x}\nwait_for: [god, 'a,b']\n")
    return path


def test_nothing_wrong(run: Any, tmp_path: Path):
    (tmp_path / "cfg" / "good.yaml").write_text(GOOD)
    assert run() == "no errors\n"
    assert json.loads(run("-o", "json")) == []
    assert run("--format", "github") == ""


def test_a_folder_without_workflow_files_does_not_look_like_a_good_one(run: Any, tmp_path: Path):
    (tmp_path / "cfg" / "good.yaml").write_text(GOOD)
    bundle = tmp_path / "cfg" / "bundles" / "load"
    bundle.mkdir(parents=True)
    (bundle / "settings.yaml").write_text("a: 1\n")
    (tmp_path / "empty").mkdir()
    said = "batchy: there is no workflow file in {}, so nothing was checked there\n"
    assert run("cfg/bundles") == "no errors\n" + said.format("cfg/bundles")
    assert run("cfg", "empty", "cfg/bundles") == "no errors\n" + said.format("cfg/bundles") + said.format("empty")
    assert json.loads(run("cfg", "-o", "json")) == []


def test_for_people(run: Any, bad: Path):
    bad.write_text("jobs:\n  a: {bash: x, retries: x}\n")
    assert run(code=1) == (
        "cfg/bad.yaml:2:25: jobs.a.retries: expected a whole number, not 'x'\n"
        "    2 |   a: {bash: x, retries: x}\n"
        "      |                         ^\n"
        "1 error in 1 file\n"
    )


def test_for_programs(run: Any, bad: Path):
    assert json.loads(run("-o", "json", code=1))[0] == {
        "file": "cfg/bad.yaml",
        "line": 2,
        "column": 25,
        "key": "jobs.a.retries",
        "message": "expected a whole number, not 'x'",
        "code": "wrong_type",
    }


def test_for_github(run: Any, bad: Path):
    bad.write_text("jobs:\n  a: {bash: x, retries: '50%'}\n")
    assert run("--format", "github", code=1) == (
        "::error file=cfg/bad.yaml,line=2,col=25,title=jobs.a.retries::expected a whole number, not '50%25'\n"
    )


def test_one_file_is_checked_among_all(run: Any, bad: Path, tmp_path: Path):
    (tmp_path / "cfg" / "_defaults.yaml").write_text("timezone: Europe/Paris\n")
    sales = tmp_path / "cfg" / "sales.yaml"
    sales.write_text(f"wait_for: good\n{GOOD}")
    assert run("cfg/sales.yaml") == "no errors\n"
    sales.write_text(f"wait_for: nobody\n{GOOD}")
    assert json.loads(run("-o", "json", str(sales), code=1))[0]["key"] == "wait_for"


def test_calendars_alone_and_with_the_workflows_that_pick_them(run: Any, tmp_path: Path):
    (tmp_path / "cfg" / "_calendars.yaml").write_text("good: {holidays: ECB}\nbad: {holiday: ECB}\n")
    (tmp_path / "cfg" / "one.yaml").write_text(f'schedule: {{cron: "0 2 * * *", calendar: bad}}\n{GOOD}')
    alone = run("cfg/_calendars.yaml", code=1)
    assert alone == (
        "cfg/_calendars.yaml:2:7: bad.holiday: unknown key; did you mean 'holidays'?\n"
        "    2 | bad: {holiday: ECB}\n"
        "      |       ^\n"
        "1 error in 1 file\n"
    )
    found = json.loads(run("-o", "json", code=1))
    assert [(each["file"], each["line"], each["key"], each["code"]) for each in found] == [
        ("cfg/_calendars.yaml", 2, "bad.holiday", "unknown_key"),
        ("cfg/one.yaml", 1, "schedule.calendar", "invalid_calendar"),
    ]
    (tmp_path / "cfg" / "_calendars.yaml").write_text("bad: {holidays: ECB}\n")
    assert run() == "no errors\n"
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone" / "_calendars.yaml").write_text("bad: [ECB]\n")
    assert "alone/_calendars.yaml:1:6: bad: expected a mapping" in run("alone/_calendars.yaml", code=1)


def test_another_folder(run: Any, tmp_path: Path):
    (tmp_path / "etl").mkdir()
    (tmp_path / "etl" / "a.yaml").write_text("[")
    assert "etl/a.yaml:2:1: not valid YAML" in run("etl", code=1)
    assert "etl/a.yaml:2:1: not valid YAML" in run("etl/a.yaml", code=1)


def test_what_is_not_there_or_no_workflow_file(run: Any, tmp_path: Path):
    assert "there is no file or folder nowhere" in run("nowhere", code=1)
    (tmp_path / "notes.txt").touch()
    assert "notes.txt is not a workflow file" in run("notes.txt", code=2)


def test_operators_are_checked_unless_airflow_is_to_stay_out(run: Any, tmp_path: Path):
    (tmp_path / "cfg" / "a.yaml").write_text("jobs:\n  a: {operator: pathlib.Path}\n")
    assert "cfg/a.yaml:2:17: jobs.a.operator: pathlib.Path is not an Airflow operator" in run(code=1)
    assert run("--no-airflow") == "no errors\n"


def test_bundles_are_unpacked_unless_they_are_to_be_left(run: Any, tmp_path: Path):
    (tmp_path / "cfg" / "a.yaml").write_text("jobs:\n  a: {bundle: b.zip}\n")
    (tmp_path / "cfg" / "b.zip").touch()
    assert "cfg/a.yaml:2:15: jobs.a.bundle: Bundle cfg/b.zip refused" in run(code=1)
    assert run("--no-bundles") == "no errors\n"


def test_the_examples_have_no_errors(run: Any):
    assert run(str(ROOT / "cfg")) == "no errors\n"


def test_the_hook_for_pre_commit_calls_it():
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert hook["entry"] == "batchy validate"
    assert hook["pass_filenames"] is False
    assert {"id", "name", "language"} <= hook.keys()
