# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The codes that stand beside messages: stable words, each with a file that has such an error."""

from __future__ import annotations

from pathlib import Path

import pytest
from broken_file_cases import read_cases

from batchy_provider.config.diagnostics import Code, CodedMessage, Violation
from batchy_provider.config.inspection import inspect_folder
from batchy_provider.config.reader import Reader, read_folder
from batchy_provider.dag_factory.loader import build_workflow, check_storage

JOB = "jobs: {a: {bash: x}}"
OPERATOR = "airflow.providers.standard.operators.empty.EmptyOperator"
FILES = {
    "not_utf8": b"jobs: {a: {bash: \xe9}}",
    "too_large": b"#" * (1024 * 1024 + 1),
    "yaml_syntax": "jobs: {a: {bash: x}",
    "duplicate_key": "jobs: {a: {bash: x}, a: {bash: y}}",
    "unknown_key": f"shedule: x\n{JOB}",
    "missing_key": "jobs: {a: {retries: 1}}",
    "missing_value": "jobs: {a: {bash: ''}}",
    "wrong_type": "jobs: {a: {bash: x, retries: y}}",
    "invalid_value": f"timezone: Mars\n{JOB}",
    "invalid_cron": f'schedule: "0 25 * * *"\n{JOB}',
    "never_fires": f'schedule: "0 0 31 6 *"\n{JOB}',
    "yaml_rewrite": "jobs: {a: {bash: x, env: {MASK: 0022}}}",
    "unstorable": 'jobs: {a: {bash: "x\\0y"}}',
    "invalid_name": "jobs: {'a b': {bash: x}}",
    "reserved_name": "jobs: {open: {bash: x}}",
    "invalid_variable": "jobs: {a: {bash: x, env: {BATCHY_JOB: y}}}",
    "invalid_template": "jobs: {a: {bash: '{{ x'}}",
    "invalid_script": 'jobs: {a: {bash: "#!/usr/bin/python\\nx"}}',
    "invalid_bundle": "jobs: {a: {bundle: none}}",
    "conflict": "jobs: {a: {bash: x, operator: a.B}}",
    "duplicate_entry": f"wait_for: [b, b]\n{JOB}",
    "undefined_job": "jobs: {a: {bash: x, after: b}}",
    "undefined_workflow": f"wait_for: b\n{JOB}",
    "undefined_calendar": f'schedule: {{cron: "0 2 * * *", calendar: target2}}\n{JOB}',
    "job_order": "jobs: {a: {bash: x, input: b}, b: {bash: x}}",
    "cycle": "jobs: {a: {bash: x, after: b}, b: {bash: x}}",
    "airflow_limit": f"tags: [{'x' * 101}]\n{JOB}",
    "class_not_found": "jobs: {a: {operator: no.such.Operator}}",
    "class_arguments": f"jobs: {{a: {{operator: {OPERATOR}, args: {{colour: red}}}}}}",
}
OTHERWISE = {
    "airflow_refuses",
    "calendar_ends",
    "duplicate_workflow",
    "file_name",
    "invalid_calendar",
    "json_syntax",
    "unexpected",
    "unreadable_file",
}
"""Codes that do not come of the text of one YAML file."""


def test_each_code_has_an_example():
    assert FILES.keys() | OTHERWISE == {code.value for code in Code}
    assert all(code.meaning for code in Code)


@pytest.mark.parametrize("code", FILES)
def test_a_file_with_this_error(tmp_path: Path, code: str):
    text = FILES[code]
    path = tmp_path / "w.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    found = inspect_folder(tmp_path, check=lambda workflow: build_workflow(workflow, check_storage)[1])
    assert {each.code for each in found} == {code}, [*map(str, found)]


def test_errors_of_files_and_folders(tmp_path: Path):
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "gone.yaml").symlink_to(tmp_path / "nowhere")
    (tmp_path / "CAPITALS.YAML").touch()
    (tmp_path / "twice.yaml").write_text(JOB)
    (tmp_path / "team").mkdir()
    (tmp_path / "team" / "twice.yaml").write_text(JOB)
    assert {Path(each.file).name: each.code for each in read_folder(tmp_path).diagnostics} == {
        "broken.json": "json_syntax",
        "gone.yaml": "unreadable_file",
        "CAPITALS.YAML": "file_name",
        "twice.yaml": "duplicate_workflow",
    }


def test_a_check_that_fails_and_an_airflow_that_refuses(tmp_path: Path):
    (tmp_path / "w.yaml").write_text(JOB)

    def fails(workflow: object) -> list[object]:
        raise KeyError

    found = inspect_folder(tmp_path, check=fails)
    assert [each.code for each in found] == ["unexpected"]
    workflow = read_folder(tmp_path).workflows["w"]
    assert [each.code for each in build_workflow(workflow, lambda *_: "too big")[1]] == ["airflow_refuses"]


@pytest.mark.parametrize("case", read_cases())
def test_all_broken_files_have_codes(tmp_path: Path, case: str):
    path = tmp_path / "broken.yaml"
    path.write_text(read_cases()[case][0])
    _, diagnostics = Reader(tmp_path).read(path)
    assert {each.code for each in diagnostics} <= {code.value for code in Code} - {"unexpected"}


def test_a_code_is_its_text():
    assert Code.CYCLE == "cycle"
    assert Violation((), Code.CYCLE, "x").code is Code("cycle")
    assert CodedMessage(Code.CYCLE, "x").code.value == "cycle"
