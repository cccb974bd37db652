# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Loading a folder: good files beside bad ones, one file at a task's start, and where the folder is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from airflow_versions import LATE_WEIGHT_RULES

from batchy_provider.config import reader
from batchy_provider.config.reader import InvalidFilesError
from batchy_provider.dag_factory import build_dags, cfg_folder, load_dags, raise_config_errors

ROOT = Path(__file__).parents[3]
GOOD = "jobs: {a: {bash: echo}}"


@pytest.fixture(autouse=True)
def _no_task_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """`DAG.test` of Airflow 3.1 and 3.2 leaves behind that one does."""
    monkeypatch.delenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", raising=False)
    monkeypatch.delenv("_AIRFLOW_PARSING_CONTEXT_TASK_ID", raising=False)


@pytest.fixture
def cfg(tmp_path: Path) -> Path:
    (tmp_path / "good.yaml").write_text(GOOD)
    (tmp_path / "state.yaml").write_text("job1: {param: 1}")
    (tmp_path / "off.yaml").write_text("enabled: false\n" + GOOD)
    (tmp_path / "team").mkdir()
    (tmp_path / "team" / "inner.yaml").write_text(GOOD)
    return tmp_path


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []
    real = reader._open

    def spy(path: Path) -> Any:
        names.append(path.name)
        return real(path)

    monkeypatch.setattr(reader, "_open", spy)
    return names


@pytest.fixture
def start_task(monkeypatch: pytest.MonkeyPatch) -> Any:
    return lambda dag_id: monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", dag_id)


def test_loads_what_is_a_dag(cfg: Path):
    namespace: dict[str, Any] = {}
    assert sorted(load_dags(cfg, namespace)) == ["good", "inner"]
    assert {name: dag.dag_id for name, dag in namespace.items()} == {"dag_good": "good", "dag_inner": "inner"}


def test_a_bad_file_hides_no_good_one_and_is_told(cfg: Path, caplog: pytest.LogCaptureFixture):
    (cfg / "bad.yaml").write_text("shedule: '@daily'\n" + GOOD)
    diagnostic = f"{cfg}/bad.yaml:1:1: shedule: unknown key; did you mean 'schedule'?"
    assert sorted(load_dags(cfg, {})) == ["good", "inner"]
    assert diagnostic in caplog.text
    with pytest.raises(InvalidFilesError) as error:
        raise_config_errors(cfg)
    assert str(error.value) == f"1 error in workflow files:\n{diagnostic}\n    1 | shedule: '@daily'\n      | ^"


def test_no_fault_raises_nothing(cfg: Path):
    raise_config_errors(cfg)


def test_a_task_start_reads_its_own_file_only(cfg: Path, opened: list[str], start_task: Any):
    (cfg / "bad.yaml").write_text("[")
    start_task("good")
    assert list(load_dags(cfg, {})) == ["good"]
    raise_config_errors(cfg)
    assert opened == ["good.yaml"]


def test_a_task_start_reads_the_defaults_on_the_way(cfg: Path, opened: list[str], start_task: Any):
    (cfg / "_defaults.yaml").write_text("owner: all")
    (cfg / "team" / "_defaults.yaml").write_text("defaults: {retries: 5}")
    start_task("inner")
    dag = load_dags(cfg, {})["inner"]
    assert (dag.get_task("a").owner, dag.get_task("a").retries) == ("all", 5)
    assert sorted(opened) == ["_defaults.yaml", "_defaults.yaml", "inner.yaml"]


def test_a_task_start_of_a_bad_file_says_why(cfg: Path, start_task: Any):
    (cfg / "bad.yaml").write_text("[")
    start_task("bad")
    with pytest.raises(InvalidFilesError, match=r"bad\.yaml:2:1: not valid YAML"):
        load_dags(cfg, {})


def test_a_task_start_of_another_files_dag_loads_nothing(cfg: Path, opened: list[str], start_task: Any):
    start_task("hand_written")
    assert load_dags(cfg, {}) == {}
    assert opened == []


OPERATORS = {
    "airflow.providers.standard.operators.empty.EmptyOperato": (
        "2:17: jobs.a.operator: airflow.providers.standard.operators.empty has no 'EmptyOperato'; "
        "did you mean 'EmptyOperator'?"
    ),
    "airflow.providers.nowhere.Operator": (
        "2:17: jobs.a.operator: there is no module 'airflow.providers.nowhere'; is its provider installed here?"
    ),
    "pathlib.Path": "2:17: jobs.a.operator: pathlib.Path is not an Airflow operator (a class of BaseOperator)",
    "airflow.providers.standard.operators.bash.BashOperator": (
        "2:17: jobs.a.operator: airflow.providers.standard.operators.bash.BashOperator does not accept its arguments: "
        "missing keyword argument 'bash_command'"
    ),
    "airflow.providers.standard.operators.bash.BashOperator, args: {bash_comand: echo}": (
        "2:80: jobs.a.args.bash_comand: airflow.providers.standard.operators.bash.BashOperator takes no argument "
        "'bash_comand'; did you mean 'bash_command'?"
    ),
}


@pytest.mark.parametrize("operator", OPERATORS)
def test_operators_that_cannot_be_made(cfg: Path, operator: str):
    path = cfg / "bad.yaml"
    path.write_text(f"jobs:\n  a: {{operator: {operator}}}\n")
    dags, diagnostics = build_dags(cfg)
    assert sorted(dags) == ["good", "inner"]
    assert [str(diagnostic) for diagnostic in diagnostics] == [f"{path}:{OPERATORS[operator]}"]


def test_what_airflow_refuses_is_told_too(cfg: Path):
    job = "{operator: airflow.providers.standard.operators.bash.BashOperator, args: {bash_command: x, weight_rule: y}}"
    (cfg / "bad.yaml").write_text(f"jobs: {{a: {job}}}")
    dags, diagnostics = build_dags(cfg)
    assert sorted(dags) == ["good", "inner"]
    refused = (
        "Airflow refuses this workflow: SerializationError: Failed to serialize DAG 'bad'"
        if LATE_WEIGHT_RULES
        else "jobs.a.args: airflow.providers.standard.operators.bash.BashOperator does not accept its arguments"
    )
    place = "" if LATE_WEIGHT_RULES else ":1:84"
    assert [str(diagnostic) for diagnostic in diagnostics] == [
        f"{cfg}/bad.yaml{place}: {refused}: Unknown priority strategy y"
    ]


def test_where_the_folder_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.delenv("AIRFLOW__BATCHY__CFG_FOLDER", raising=False)
    assert cfg_folder(tmp_path / "dags" / "batchy_dags.py") == tmp_path / "cfg"
    monkeypatch.setenv("AIRFLOW__CORE__DAGS_FOLDER", str(tmp_path / "dags"))
    assert cfg_folder() == tmp_path / "cfg"
    monkeypatch.setenv("AIRFLOW__BATCHY__CFG_FOLDER", "/opt/etl/cfg")
    assert cfg_folder(tmp_path / "dags" / "batchy_dags.py") == Path("/opt/etl/cfg")


def test_the_loader_files_are_found_by_airflow_and_work():
    dags = ROOT / "dags" / "batchy_dags.py"
    errors = ROOT / "dags" / "batchy_errors.py"
    for path in (dags, errors):
        text = path.read_bytes().lower()
        assert b"airflow" in text  # Airflow skips a file without these two words
        assert b"dag" in text
    namespace: dict[str, Any] = {"__file__": str(dags)}
    exec(compile(dags.read_text(), str(dags), "exec"), namespace)
    assert {name for name in namespace if name.startswith("dag_")} >= {
        "dag_crm_extract",
        "dag_invoices",
        "dag_sales",
        "dag_stock",
    }
    exec(compile(errors.read_text(), str(errors), "exec"), {"__file__": str(errors)})


@pytest.mark.slow
def test_importing_the_factory_imports_no_model_of_operators_and_no_redis():
    code = (
        "import sys; import airflow.sdk; from airflow.sdk import DAG\n"
        "before = set(sys.modules); import batchy_provider.dag_factory\n"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print('NEW', *sorted(new))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=dict(os.environ), capture_output=True, check=True, text=True
    )
    new = next(line for line in done.stdout.splitlines() if line.startswith("NEW")).split()
    assert not {"redis", "fastapi", "rich", "sqlalchemy"} & set(new)
