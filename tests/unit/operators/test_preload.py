# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What tasks import after Airflow has forked their process: nothing that costs time."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from batchy_provider.preload import DAG_FILES, TASKS, modules_for

LOADER = """
from batchy_provider.dag_factory import cfg_folder, load_dags

load_dags(cfg_folder(__file__), globals())
"""
WORKFLOW = """
window: {align: hour}
schedule: {cron: "0 2 * * *", after: [erp]}
wait_for: crm
jobs:
  extract:
    bash: echo '{"rows":1}' > "$BATCHY_OUTPUT_DIR/count.json"; echo data > "$BATCHY_OUTPUT"
    initial_date: 2026-01-01
    inputs: ["s3://lake/orders"]
  load:
    bash: cat
    input: previous
"""


def _new_modules(program: Sequence[str], **environment: str) -> set[str]:
    """Return what a program prints, as a set of words."""
    here = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, *program],
        env={**os.environ, "PYTHONPATH": here, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


def _imports_of(code: str, *arguments: str, executor: str = "LocalExecutor") -> set[str]:
    """Return the modules of this package that a program of Airflow has after `code`."""
    program = f"import sys; sys.argv = {['airflow', *arguments]!r}\n{code}\nprint('-', *sys.modules)"
    found = _new_modules(["-c", program], AIRFLOW__CORE__EXECUTOR=executor)
    return {name for name in found if name.startswith(("batchy_provider", "redis.", "pydantic_core"))}


@pytest.mark.parametrize(
    ("command", "executors", "expected"),
    [
        (["scheduler"], "LocalExecutor", TASKS),
        (["scheduler", "--daemon"], "CeleryExecutor,LocalExecutor", TASKS),
        (["scheduler"], "airflow.executors.local_executor.LocalExecutor", TASKS),
        (["scheduler"], "CeleryExecutor", ()),
        (["scheduler"], "KubernetesExecutor", ()),
        (["celery", "worker", "-q", "default"], "CeleryExecutor", TASKS),
        (["edge", "worker"], "EdgeExecutor", TASKS),
        (["dag-processor"], "CeleryExecutor", DAG_FILES),
        (["triggerer"], "LocalExecutor", ()),
        (["api-server"], "LocalExecutor", ()),
        (["dags", "list"], "LocalExecutor", ()),
        (["celery", "stop"], "CeleryExecutor", ()),
        (["tasks", "run", "scheduler"], "LocalExecutor", ()),
        ([], "LocalExecutor", ()),
    ],
)
def test_only_programs_that_fork_import_early(command: list[str], executors: str, expected: Sequence[str]) -> None:
    assert modules_for(["airflow", *command], executors) == expected


@pytest.mark.slow
def test_a_worker_imports_with_its_command_line() -> None:
    code = "from batchy_provider.cli.provider import get_commands; get_commands()"
    assert set(TASKS) - {"jinja2.ext"} <= _imports_of(code, "celery", "worker", executor="CeleryExecutor")


@pytest.mark.slow
@pytest.mark.parametrize("command", ["scheduler", "dag-processor"])
def test_a_fork_finds_the_models_of_workflow_files_built(command: str) -> None:
    code = (
        f"import sys; sys.argv = ['airflow', {command!r}]\nimport batchy_provider.plugin.batchy\n"
        "from batchy_provider.config.model import WorkflowModel\n"
        "print('-', WorkflowModel.__pydantic_complete__)"
    )
    assert "True" in _new_modules(["-c", code], AIRFLOW__CORE__EXECUTOR="LocalExecutor")


@pytest.mark.slow
def test_a_file_that_sets_little_builds_no_further_model() -> None:
    code = (
        "import sys; sys.argv = ['airflow', 'scheduler']\nimport batchy_provider.plugin.batchy\n"
        "from pathlib import Path\nfrom batchy_provider.config.base_model import FileModel\n"
        "from batchy_provider.config.reader import Reader\n"
        "def built(cls=FileModel): return {cls} & {cls.__pydantic_complete__ and cls} | "
        "set().union(*map(built, cls.__subclasses__()))\n"
        "before = built()\n"
        "assert Reader(Path('/x')).read_text(Path('/x/a.yaml'), 'jobs: {load: {bash: \"true\"}}')[0]\n"
        "print('-', built() == before != set())"
    )
    assert "True" in _new_modules(["-c", code], AIRFLOW__CORE__EXECUTOR="LocalExecutor")


def test_warming_up_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    from redis.connection import AbstractConnection

    from batchy_provider.config import reader
    from batchy_provider.dag_factory.warm_up import build_small_dag
    from batchy_provider.hooks.batchy import prepare_store

    monkeypatch.setattr(AbstractConnection, "connect", lambda *_: 1 / 0)
    monkeypatch.setattr(reader, "read_bytes", lambda *_: 1 / 0)
    build_small_dag()
    prepare_store()


@pytest.mark.slow
def test_no_other_program_imports_early() -> None:
    code = "import batchy_provider.plugin.batchy; from batchy_provider.cli.provider import get_commands; get_commands()"
    found = _imports_of(code, "version")
    assert "batchy_provider.dag_factory" not in found
    assert "redis.client" not in found


def test_an_error_does_not_stop_the_scheduler(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from batchy_provider import preload
    from batchy_provider.dag_factory import warm_up

    def fail() -> None:
        raise ValueError("no")

    monkeypatch.setattr(warm_up, "build_small_dag", fail)
    monkeypatch.setattr(preload, "TASKS", ("no_such_module", "jinja2.ext"))
    monkeypatch.setattr(sys, "argv", ["airflow", "scheduler"])
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "LocalExecutor")
    preload.preload()
    assert "no_such_module cannot be imported before tasks are started" in caplog.text
    assert "No DAG can be built before tasks are started: ValueError: no" in caplog.text


@pytest.mark.slow
def test_a_task_imports_nothing_that_costs_time(redis_url: str, redis_client: object, tmp_path: Path) -> None:
    for folder in ("dags", "cfg"):
        (tmp_path / folder).mkdir()
    (tmp_path / "dags" / "workflows.py").write_text(LOADER)
    (tmp_path / "cfg" / "sales.yaml").write_text(WORKFLOW)
    for name in ("crm", "erp"):
        (tmp_path / "cfg" / f"{name}.yaml").write_text("jobs: {all: {bash: 'true'}}")
    program, loader = Path(__file__).with_name("forked_tasks.py"), tmp_path / "dags" / "workflows.py"
    found = _new_modules(
        [str(program), str(loader), "open", "extract", "load", "close"],
        AIRFLOW__CORE__EXECUTOR="LocalExecutor",
        _AIRFLOW_PARSING_CONTEXT_DAG_ID="sales",
        AIRFLOW_CONN_REDIS_DEFAULT=redis_url,
        AIRFLOW__BATCHY__RESULTS_URL=str(tmp_path / "results"),
        AIRFLOW__BATCHY__BUNDLE_CACHE=str(tmp_path / "cache"),
    )
    # Airflow and Python have few modules that each task imports, whatever its operator.
    assert {name for name in found if name.partition(".")[0] not in {"airflow", *sys.stdlib_module_names}} == set()
    assert len(found) < 20
