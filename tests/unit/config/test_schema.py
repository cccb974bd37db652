# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The JSON Schema that editors use says what the models say."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from batchy_provider.cli.main import main
from batchy_provider.config.document import parse
from batchy_provider.config.schema import (
    CALENDARS_IN_CFG,
    DEFAULTS_IN_CFG,
    IN_CFG,
    calendars_schema_text,
    schema_text,
    write_files,
)

ROOT = Path(__file__).parents[3]
VALIDATOR = Draft202012Validator(json.loads(schema_text()))
PAGE = (ROOT / "docs" / "yaml.md").read_text()
EXAMPLES = [path for path in sorted((ROOT / "cfg").glob("*.yaml")) if path.stem not in ("_defaults", "wf1")]


def diagnostics(text: str) -> list[str]:
    return [error.message for error in VALIDATOR.iter_errors(parse(text).data)]


ONLY_PYDANTIC = """
import sys

class OnlyPydantic:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in {*sys.stdlib_module_names, *sys.argv[1:], "batchy_provider"} and not top.startswith("_"):
            raise ModuleNotFoundError(f"a build has no {name}")

sys.meta_path.insert(0, OnlyPydantic())
import batchy_provider.config.schema
"""


def test_a_build_needs_nothing_but_pydantic_to_write_it():
    its_own = ["pydantic", "pydantic_core", "annotated_types", "typing_extensions", "typing_inspection"]
    done = subprocess.run([sys.executable, "-c", ONLY_PYDANTIC, *its_own], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_a_build_writes_it_into_the_package_and_beside_the_examples(tmp_path: Path):
    for folder in ("batchy_provider/config", "cfg"):
        (tmp_path / folder).mkdir(parents=True)
    write_files(tmp_path)
    assert {str(path.relative_to(tmp_path)): path.read_text() for path in tmp_path.rglob("*") if path.is_file()} == {
        "batchy_provider/config/schema.json": schema_text(),
        f"cfg/{IN_CFG}": schema_text(),
        f"cfg/{DEFAULTS_IN_CFG}": schema_text(defaults=True),
        f"cfg/{CALENDARS_IN_CFG}": calendars_schema_text(),
    }


def test_no_copy_is_committed():
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout")
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not [name for name in done.stdout.splitlines() if re.search(r"schema[^/]*\.json$", name)]


def test_it_is_a_schema():
    Draft202012Validator.check_schema(json.loads(schema_text()))
    Draft202012Validator.check_schema(json.loads(schema_text(defaults=True)))
    Draft202012Validator.check_schema(json.loads(calendars_schema_text()))


def test_the_command_prints_it(capsys: pytest.CaptureFixture[str]):
    assert main(["schema"]) == 0
    assert capsys.readouterr().out == schema_text()
    assert main(["schema", "--defaults"]) == 0
    assert capsys.readouterr().out == schema_text(defaults=True)
    assert main(["schema", "--calendars"]) == 0
    assert capsys.readouterr().out == calendars_schema_text()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_valid_and_name_it(path: Path):
    text = path.read_text()
    assert diagnostics(text) == []
    assert text.startswith(f"# yaml-language-server: $schema={IN_CFG}\n")


def test_defaults_of_a_folder():
    validator = Draft202012Validator(json.loads(schema_text(defaults=True)))
    text = (ROOT / "cfg" / "_defaults.yaml").read_text()
    assert text.startswith(f"# yaml-language-server: $schema={DEFAULTS_IN_CFG}\n")
    assert list(validator.iter_errors(parse(text).data)) == []
    assert list(validator.iter_errors({"jobs": {}}))


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("target2: {holidays: ECB}\nshop: {weekend: [sun], holidays: [DE-BY], add: 2026-12-31, remove: []}\nplain:", 0),
        ("x-days: &x [2026-12-31]\nshop: {extends: target2, weekend: [], add: *x}", 0),
        ("a: {weekend: [sunn]}\nb: {holiday: ECB}\nc: {add: tomorrow}\nd: [ECB]", 4),
    ],
)
def test_calendars_of_a_folder(text: str, count: int):
    validator = Draft202012Validator(json.loads(calendars_schema_text()))
    assert len(list(validator.iter_errors(parse(text).data))) == count


@pytest.mark.parametrize(
    ("schedule", "is_valid"),
    [
        ('{cron: "0 2 * * *", calendar: target2, on: business_days}', True),
        ('{cron: ["0 2 * * *"], calendar: target2, on: {nth: -2, of: year}, move: skip}', True),
        ('{cron: "@daily", after: crm, any: true}', True),
        ("{calendar: target2}", False),
        ('{cron: "0 2 * * *", calendar: target2, on: {nth: 1, of: day}}', False),
        ('{cron: "0 2 * * *", calendar: target2, move: forward}', False),
    ],
)
def test_schedules_with_calendars(schedule: str, is_valid: bool):
    assert (diagnostics(f"schedule: {schedule}\njobs: {{a: {{bash: x}}}}") == []) == is_valid


@pytest.mark.parametrize("text", re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL))
def test_what_the_page_shows_is_valid(text: str):
    if text.startswith("# cfg/_calendars.yaml"):
        calendars = Draft202012Validator(json.loads(calendars_schema_text()))
        assert list(calendars.iter_errors(parse(text).data)) == []
        return
    text = text.replace("bash: …", "bash: x").replace("sql: …", "sql: x")
    if text.startswith("wait_for: crm"):  # two ways to write the same
        text = text.partition("\n")[2]
    if "\njobs:" not in f"\n{text}":
        text += "\njobs: {a: {bash: x}}\n"
    assert diagnostics(text) == []


WRITTEN = [
    "wait_for: crm",
    "wait_for: [crm, {workflow: erp, jobs: orders, scope: {within: 12h}}]",
    'schedule: "@daily"',
    "schedule: ['0 2 * * *', '@weekly']",
    "schedule: {after: crm}",
    "schedule: null",
    "tags: one",
    "x-notes: {any: thing}",
    "start_date: 2026-01-01T02:00:00Z",
    "defaults: {env: {A: 1, B: b}, limits: {memory: 512M, file_size: 1024}, reprocess_hours: 0.5}",
    "on_failure: a.B",
    "run_params: {region: eu, n: 3, day: {type: date}}",
]


@pytest.mark.parametrize("text", WRITTEN)
def test_allows_what_people_write(text: str):
    assert diagnostics(f"{text}\njobs: {{a: {{bash: x}}}}\n") == []


WRONG = [
    "shedule: x",
    "schedule: 5",
    'schedule: "0 2 * *"',
    "catchup: 'yes'",
    "defaults: {timeout: 5}",
    "defaults: {timeout: 5 minutes}",
    "defaults: {env: {A: 1.5}}",
    "defaults: {limits: {memory: much}}",
    "wait_for: [{jobs: x}]",
    "wait_for: [{workflow: a, scope: tomorrow}]",
    "if_open: explode",
    "deadline: {within: 4h}",
]


@pytest.mark.parametrize("text", WRONG)
def test_refuses_what_the_models_refuse(text: str):
    assert diagnostics(f"{text}\njobs: {{a: {{bash: x}}}}\n")


@pytest.mark.parametrize(
    "jobs",
    ["{}", "{a: {}}", "{a: {bash: x, bundle: y}}", "{open: {bash: x}}", "{'a b': {bash: x}}", "[a]", "{a: {when: no}}"],
)
def test_refuses_jobs_that_are_none(jobs: Any):
    assert diagnostics(f"jobs: {jobs}\n")
