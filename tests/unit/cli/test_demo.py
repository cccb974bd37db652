# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What a demo starts, and what it takes from the caller's environment."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from fake_airflow import FakeAirflow, serving

from batchy_provider.cli.context import Context
from batchy_provider.cli.demo import _run
from batchy_provider.cli.demo_workflows import EXAMPLES, examples_folder, workflows_to_run
from batchy_provider.cli.main import main
from batchy_provider.exceptions import ConfigError
from batchy_provider.local.rest import AirflowClient
from batchy_provider.local.settings import Secrets, airflow_environment, inherited_options
from batchy_provider.local.stack import LocalStack

SHIPPED = examples_folder()


@pytest.fixture
def cfg(tmp_path: Path) -> Path:
    """A copy of the examples with one workflow more."""
    shutil.copytree(SHIPPED, tmp_path / "cfg")
    (tmp_path / "cfg" / "mine.yaml").write_text("{schedule: null, jobs: {a: {bash: echo x}}}")
    return tmp_path / "cfg"


def test_the_examples_are_what_is_shipped() -> None:
    assert all((SHIPPED / f"{name}.yaml").exists() for name in EXAMPLES)


@pytest.mark.parametrize("exits", [False, True])
def test_a_workflow_of_ones_own_beside_the_examples_is_not_run(cfg: Path, exits: bool) -> None:
    assert workflows_to_run(SHIPPED, [*EXAMPLES, "hello"], named=[], exits=exits) == list(EXAMPLES)
    assert workflows_to_run(cfg, [*EXAMPLES, "mine"], named=[], exits=exits) == list(EXAMPLES)


def test_a_workflow_of_ones_own_with_an_examples_name_is_not_run(cfg: Path) -> None:
    (cfg / "sales.yaml").write_text("{schedule: null, jobs: {a: {bash: rm -r /}}}")
    assert workflows_to_run(cfg, [*EXAMPLES, "mine"], named=[], exits=False) == ["crm_extract", "invoices", "stock"]


def test_a_folder_of_ones_own_is_run_when_that_is_asked_for(tmp_path: Path) -> None:
    assert workflows_to_run(tmp_path, ["a", "b"], named=[], exits=False) == []
    assert workflows_to_run(tmp_path, ["a", "b"], named=["b"], exits=False) == ["b"]
    assert workflows_to_run(tmp_path, ["a", "b"], named=[], exits=True) == ["a", "b"]


def test_nothing_to_run_and_unknown_names_are_errors(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing to run"):
        workflows_to_run(tmp_path, [], named=[], exits=True)
    with pytest.raises(ConfigError, match="has no workflow saels, only sales"):
        workflows_to_run(tmp_path, ["sales"], named=["saels"], exits=False)


@pytest.mark.parametrize("arguments", [["--port", "0"], ["--port", "65536"], ["--port", "x"], ["--timeout", "soon"]])
def test_wrong_options_are_refused_before_anything_is_started(tmp_path: Path, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["demo", "--folder", str(tmp_path / "home"), *arguments])
    assert caught.value.code == 2
    assert not (tmp_path / "home").exists()


def test_a_timeout_without_exit_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--folder", str(tmp_path / "home"), "--timeout", "5m"]) == 2
    assert "--timeout needs --exit" in capsys.readouterr().err


def test_a_second_demo_says_where_the_first_is_and_stops_nothing(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from batchy_provider.local.folder import StackFolder\n"
        "own = StackFolder(Path(sys.argv[1])); own.lock()\n"
        "own.say('running', url='http://127.0.0.1:8080', user='admin', password='pass')\n"
        "print('ready', flush=True); time.sleep(300)"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "home")], stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        first.stdout.readline()
        command = [sys.executable, "-m", "batchy_provider.cli.main", "demo", "--folder", str(tmp_path / "home")]
        second = subprocess.run([*command, "--fresh"], capture_output=True, text=True, timeout=120, check=False)
        assert second.returncode == 1
        assert "a demo already runs in" in second.stderr
        assert "http://127.0.0.1:8080   user admin   password pass" in second.stderr
        assert f"kill {first.pid}" in second.stderr
        assert "stopped" not in second.stderr
        assert first.poll() is None
        assert (tmp_path / "home" / "running.json").exists()
        first.kill()


def environment(tmp_path: Path, inherited: dict[str, str]) -> dict[str, str]:
    return airflow_environment(
        tmp_path,
        dags=tmp_path,
        cfg=tmp_path / "cfg",
        database_url="postgresql://demo",
        redis_port=1,
        api_port=2,
        keys=Secrets.of(tmp_path),
        options={},
        connections={},
        inherited=inherited,
    )


def test_options_of_the_caller_are_passed_on_and_those_of_the_demo_stay(tmp_path: Path) -> None:
    options, outside = inherited_options(
        {
            "AIRFLOW__BATCHY__RECHECK_SECONDS": "7",
            "AIRFLOW__CORE__PARALLELISM": "9",
            "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.5",
            "AIRFLOW__BATCHY__RESULTS_URL": "s3://production",
            "AIRFLOW__BATCHY__REDIS_CONN_ID": "production",
            "AIRFLOW__BATCHY__CFG_FOLDER": "/srv/cfg",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql://production",
            "AIRFLOW__SECRETS__BACKEND": "vault",
            "AIRFLOW__CORE__EXECUTOR": "KubernetesExecutor",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__BATCHY__ARCHIVE_CMD": "cat /etc/passwd",
            "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": "[]",
            "AIRFLOW_HOME": "/srv/airflow",
            "AIRFLOW__": "",
            "AIRFLOW__BATCHY": "",
        }
    )
    assert options == {
        "batchy.recheck_seconds": "7",
        "core.parallelism": "9",
        "scheduler.scheduler_idle_sleep_time": "0.5",
    }
    assert len(outside) == 9
    found = environment(tmp_path, {**options, "core.executor": "KubernetesExecutor", "batchy.cfg_folder": "/srv"})
    assert found["AIRFLOW__BATCHY__RECHECK_SECONDS"] == "7"
    assert found["AIRFLOW__CORE__PARALLELISM"] == "9"
    assert found["AIRFLOW__CORE__EXECUTOR"] == "LocalExecutor"
    assert found["AIRFLOW__BATCHY__CFG_FOLDER"] == str(tmp_path / "cfg")
    assert environment(tmp_path, {})["AIRFLOW__CORE__PARALLELISM"] == "4"


def run(client: AirflowClient, redis_url: str, *, timeout: float) -> int:
    arguments = argparse.Namespace(exit=True, timeout=timedelta(seconds=timeout), output="json")
    stack = SimpleNamespace(client=client, redis_url=redis_url, check=lambda: None)
    return _run(Context(arguments), arguments, cast("LocalStack", stack), dag_ids=["sales", "mine"], to_run=["sales"])


def test_a_demo_that_exits_says_what_has_not_ended_in_time(redis_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    airflow = FakeAirflow()
    airflow.dags = {"sales": [], "mine": []}
    with serving(airflow) as client:
        assert run(client, redis_url, timeout=0.1) == 124
    said = capsys.readouterr().err
    assert "Not started: mine." in said
    assert "Not ended within 0:00:00.100000: sales is running: wait is running: waits for crm_extract" in said


@pytest.mark.parametrize(("state", "code"), [("success", 0), ("failed", 1)])
def test_a_demo_that_exits_leaves_with_the_result(redis_url: str, state: str, code: int) -> None:
    airflow = FakeAirflow()
    airflow.dags = {"sales": []}
    airflow.starts_as = state
    with serving(airflow) as client:
        assert run(client, redis_url, timeout=30) == code
