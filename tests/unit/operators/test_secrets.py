# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What Airflow knows to be secret is masked in all that a task leaves: by its own masker, in a task's process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowException
from airflow.sdk import DAG, Variable
from airflow.sdk._shared.secrets_masker import _secrets_masker
from airflow.sdk.bases.operator import ExecutorSafeguard

from batchy_provider.hooks.deployment import bundle_cache
from batchy_provider.hooks.secrets import known_secrets, learn_secrets
from batchy_provider.operators.bundle import BashBundleOperator

SECRET = "hunter2.(and)\\more"


class FakeTaskInstance:
    """One run's tasks: their XComs in memory."""

    dag_id, run_id, map_index, try_number = "sales", "scheduled__1", -1, 1

    def __init__(self) -> None:
        self.xcoms: dict[tuple[str, str], Any] = {}
        self.task_id = ""

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[self.task_id, key] = json.loads(json.dumps(value))

    def xcom_pull(self, task_ids: str, key: str = "return_value") -> Any:
        return self.xcoms.get((task_ids, key))

    def get_task_states(self, dag_id: str, task_ids: list[str], run_ids: list[str]) -> dict[str, dict[str, str]]:
        return {run_ids[0]: dict.fromkeys(task_ids, "success")}


@pytest.fixture(autouse=True)
def fresh_masker() -> Iterator[None]:
    _secrets_masker().reset_masker()
    yield
    _secrets_masker().reset_masker()


@pytest.fixture
def ti() -> FakeTaskInstance:
    return FakeTaskInstance()


@pytest.fixture
def run(ti: FakeTaskInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.setattr(ExecutorSafeguard, "test_mode", True)
    monkeypatch.setenv("AIRFLOW__BATCHY__RESULTS_URL", str(tmp_path / "results"))
    monkeypatch.setenv("AIRFLOW__BATCHY__BUNDLE_CACHE", str(tmp_path / "cache"))

    def execute(operator: BashBundleOperator, **params: Any) -> Any:
        ti.task_id = operator.task_id
        result = operator.execute({"ti": ti, "params": params})
        ti.xcom_push("return_value", result)
        return result

    return execute


def stored(tmp_path: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in (tmp_path / "results").rglob("*") if path.is_file()}


def test_values_of_env_and_params_with_telling_names_are_masked_everywhere(
    run: Any, ti: FakeTaskInstance, tmp_path: Path
) -> None:
    script = """
        echo "$DB_PASSWORD $REGION"; cat "$BATCHY_PARAMS" >&2
        printf '{"a": "%s"}' "param-secret" > "$BATCHY_OUTPUT_DIR/v.json"; exit 1
    """
    operator = BashBundleOperator(
        task_id="load", bash_command=script, env={"DB_PASSWORD": "env-secret", "REGION": "eu-central"}
    )
    with pytest.raises(AirflowException) as failure:
        run(operator, api={"token": "param-secret"}, region="eu-central")
    files = stored(tmp_path)
    assert files["stdout"] == "*** eu-central\n"
    assert '"token": "***"' in files["stderr"]
    for text in (*files.values(), str(failure.value), json.dumps(list(ti.xcoms.values()))):
        assert "env-secret" not in text
        assert "param-secret" not in text
    assert ti.xcoms["load", "v"] == {"a": "***"}


@pytest.mark.parametrize("kind", ["connection", "variable"])
def test_what_airflow_masks_because_a_task_read_it_is_masked(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    from airflow.sdk import BaseHook

    if kind == "connection":
        monkeypatch.setenv("AIRFLOW_CONN_DWH", json.dumps({"conn_type": "http", "password": SECRET}))
        value: Any = BaseHook.get_connection("dwh").password
    else:
        monkeypatch.setenv("AIRFLOW_VAR_DWH_PASSWORD", SECRET)
        value = Variable.get("dwh_password")
    assert value == SECRET
    assert SECRET in known_secrets(), "kept by Airflow as a pattern, and read back as it was"
    run(BashBundleOperator(task_id="load", bash_command='echo "$X" | tee /dev/stderr', env={"X": value}))
    files = stored(tmp_path)
    assert (files["stdout"], files["stderr"]) == ("***\n", "***\n")


def test_the_workers_own_secrets_are_masked_where_a_script_inherits_them(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql://airflow:db-passw0rd@db/airflow",
        "AIRFLOW__CORE__FERNET_KEY": "fernet-key-value",
        "AIRFLOW__API_AUTH__JWT_SECRET": "jwt-value",
        "AIRFLOW_CONN_A": "redis://:redis-passw0rd@r/0",
        "AIRFLOW_CONN_B": '{"conn_type": "http", "login": "loader", "password": "http-passw0rd"}',
    }
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    run(BashBundleOperator(task_id="load", bash_command="env; echo db-passw0rd http-passw0rd", inherit_env=True))
    for word in ("db-passw0rd", "fernet-key-value", "jwt-value", "redis-passw0rd", "http-passw0rd"):
        assert word not in stored(tmp_path)["stdout"]


@pytest.mark.parametrize("source", ["one", "{{ params.source }}"])
def test_what_a_later_task_reads_is_exact(run: Any, tmp_path: Path, source: str) -> None:
    with DAG("sales", schedule=None):
        one = BashBundleOperator(task_id="one", bash_command='echo "$S_TOKEN"', env={"S_TOKEN": SECRET})
        two = BashBundleOperator(
            task_id="two", bash_command='test "$(cat)" = "$X"', env={"X": SECRET}, input_from=source
        )
    run(one)
    two.input_from = "one"
    run(two)
    assert next((tmp_path / "results").rglob("one/1/stdout")).read_text() == "***\n"


def test_masked_output_that_no_task_was_known_to_read_fails_the_one_that_does(run: Any) -> None:
    run(BashBundleOperator(task_id="one", bash_command='echo "$S_TOKEN"', env={"S_TOKEN": SECRET}))
    with pytest.raises(Exception, match=r"secrets in it were masked\..* \$BATCHY_OUTPUT"):
        run(BashBundleOperator(task_id="two", bash_command="cat", input_from="one"))


def test_common_values_of_telling_names_are_not_masked(run: Any, tmp_path: Path) -> None:
    env = {"PASSWORD": "airflow", "USE_TOKEN": True, "TOKEN_COUNT": 3}
    run(BashBundleOperator(task_id="load", bash_command="echo airflow true 3", env=env))
    assert stored(tmp_path)["stdout"] == "airflow true 3\n"


def test_airflows_own_list_of_telling_names_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_secrets_masker(), "sensitive_variables_fields", ["geheim"])
    learn_secrets({"GEHEIM_1": "value-one", "password": "value-two"})
    assert known_secrets() == {"value-one"}


def test_a_task_that_runs_as_another_user_has_a_bundle_cache_of_that_user(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AIRFLOW__BATCHY__BUNDLE_CACHE", str(tmp_path / "airflows"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert bundle_cache().root == tmp_path / "airflows"
    monkeypatch.setenv("_AIRFLOW__REEXECUTED_PROCESS", "1")
    assert bundle_cache().root == tmp_path / "home/.cache/batchy/bundles"


# As a user of its own, since root may look into any process.
HOSTILE = """
import ctypes, os, subprocess, sys
from batchy_provider.hooks.secrets import close_process
os.setgroups([]); os.setgid(65534); os.setuid(65534)
ctypes.CDLL(None).prctl(4, 1)  # as after exec by that user
if sys.argv[1] == "closed":
    close_process()
script = 'cat /proc/$PPID/environ; head -c 16 /proc/$PPID/mem; ls -l /proc/$PPID/fd'
done = subprocess.run(["bash", "-c", script], env={"PATH": os.environ["PATH"]}, capture_output=True)
sys.stdout.buffer.write(done.stdout)
"""


@pytest.mark.skipif(sys.platform != "linux" or os.getuid() != 0, reason="becomes another user: needs Linux and root")
@pytest.mark.parametrize(("process", "seen"), [("open", True), ("closed", False)])
def test_a_script_cannot_read_the_environment_of_the_process_that_runs_it(process: str, seen: bool) -> None:
    command = [sys.executable, "-c", HOSTILE, process]
    env = {**os.environ, "AIRFLOW__CORE__FERNET_KEY": "the-fernet-key"}
    done = subprocess.run(command, env=env, capture_output=True, check=True, text=True, cwd="/")
    assert ("the-fernet-key" in done.stdout) is seen
    if not seen:
        assert done.stdout == ""
