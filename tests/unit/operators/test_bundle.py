# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The operator: what Airflow gives it, what it gives Airflow; on a real store of batches and real scripts."""

from __future__ import annotations

import datetime
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowSkipException, AirflowTaskTimeout
from airflow.sdk import DAG
from airflow.sdk.execution_time.timeout import TimeoutPosix
from airflow_versions import deserialized, serialized
from bundle_tasks import FakeTaskInstance, output

from batchy_provider.hooks.deployment import bundle_cache, result_store
from batchy_provider.operators.bundle import BashBundleOperator


def test_exit_99_skips(run: Any) -> None:
    with pytest.raises(AirflowSkipException, match="asked to be skipped"):
        run(BashBundleOperator(task_id="t", bash_command="exit 99"))


def test_a_failure_shows_code_last_lines_and_where_all_is(run: Any, tmp_path: Path) -> None:
    with pytest.raises(AirflowException) as caught:
        run(BashBundleOperator(task_id="t", bash_command="echo oops >&2; exit 4"))
    for part in ("exit code 4", "\noops\n", f"file://{tmp_path}/results/sales/scheduled__1/t/1"):
        assert part in str(caught.value)


def test_above_a_size_the_log_keeps_head_and_tail_and_counts_the_rest_with_the_command_that_shows_it(
    run: Any, log: list[str], tmp_path: Path
) -> None:
    reference = run(BashBundleOperator(task_id="t", bash_command="seq 100000", log_limit_bytes=1000))
    numbers = [int(line) for record in log for line in record.split("\n") if line.isdecimal()]
    assert numbers[0] == 1
    assert numbers[-1] == 100_000
    hidden = 100_000 - len(numbers)
    command = f"batchy logs sales t --batch scheduled__1 --attempt 1 --results file://{tmp_path}/results"
    assert f"{hidden:,} lines are not shown here. They are only in the result files ({command}). The last lines:" in log
    (at,) = [i for i in range(1, len(numbers)) if numbers[i] != numbers[i - 1] + 1]
    assert (numbers[at - 1] >= 100, 100_000 - numbers[at] > 1000) == (True, True)
    words = [sys.executable, "-m", "batchy_provider.cli.main", *command.split()[1:]]
    whole = subprocess.run(words, capture_output=True, check=True, text=True).stdout
    assert whole == output(reference) == "".join(f"{i}\n" for i in range(1, 100_001))


def test_the_log_is_live_and_marks_stderr(run: Any, log: list[str]) -> None:
    run(BashBundleOperator(task_id="t", bash_command="echo one; sleep 0.3; printf 'a\\nb\\n' >&2; sleep 0.3; seq 5000"))
    assert log[0] == "one"
    errors = [line for record in log for line in record.split("\n") if line.startswith("stderr")]
    assert errors == ["stderr: a", "stderr: b"]
    numbers = [record for record in log if record[0].isdigit()]
    assert "\n".join(numbers) == "\n".join(map(str, range(1, 5001)))
    assert len(numbers) < 50


def test_the_timeout_of_airflow_ends_the_script_in_order(run: Any, ti: FakeTaskInstance) -> None:
    operator = BashBundleOperator(task_id="t", bash_command="trap 'echo bye; exit 1' TERM; echo hi; sleep 60 & wait")
    started = time.monotonic()
    with pytest.raises(AirflowTaskTimeout), TimeoutPosix(0.5, "over"):
        run(operator)
    operator.on_kill()
    assert time.monotonic() - started < 5
    (found,) = result_store().find("sales")
    assert found.record["ended"] == "timeout"
    with found.open("stdout") as file:
        assert file.read() == b"hi\nbye\n"
    assert ti.xcoms["t", "exit_code"] == 1


def test_a_timeout_before_the_script_runs_is_raised_at_once(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "batchy_provider.bundles.bundle_cache.BundleCache.working_copy", lambda *_, **__: time.sleep(30)
    )
    started = time.monotonic()
    with pytest.raises(AirflowTaskTimeout), TimeoutPosix(0.3, "over"):
        run(BashBundleOperator(task_id="t", bundle="/slow"))
    assert time.monotonic() - started < 5


def test_on_kill_from_a_signal_handler_ends_the_script(run: Any) -> None:
    """As Airflow's task runner does on SIGTERM."""
    operator = BashBundleOperator(task_id="t", bash_command="trap '' TERM; while :; do sleep 0.1; done",
                                  kill_grace_seconds=0.3)  # fmt: skip
    before = signal.signal(signal.SIGUSR1, lambda *_: operator.on_kill())
    try:
        threading.Timer(0.5, lambda: signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)).start()
        with pytest.raises(AirflowException, match="was stopped: cancelled"):
            run(operator)
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_env_limits_and_grace_reach_the_script(run: Any) -> None:
    operator = BashBundleOperator(
        task_id="t", bash_command="echo $A; ulimit -n", env={"A": 1}, limits={"open_files": 77}
    )
    assert output(run(operator)).split() == ["1", "77"]


def test_mapped_tasks_keep_their_results_apart(run: Any, ti: FakeTaskInstance) -> None:
    for index in (0, 1):
        ti.map_index = index
        run(BashBundleOperator(task_id="t", bash_command="true"))
    assert [e.record["job"] for e in result_store().find("sales")] == ["t@0", "t@1"]


def test_templates_are_rendered_and_a_sh_name_is_not_loaded() -> None:
    operator = BashBundleOperator(
        task_id="t", bash_command="./run.sh", env={"A": "{{ x }}", "F": "{{ x }}.sh"}, job="{{ x }}"
    )
    operator.resolve_template_files()
    operator.render_template_fields({"x": "y"})
    assert (operator.bash_command, operator.env, operator.job) == ("./run.sh", {"A": "y", "F": "y.sh"}, "y")


@pytest.mark.parametrize("options", [{}, {"bundle": "a", "bash_command": "b"}])
def test_a_bundle_or_a_command(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="one of the two"):
        BashBundleOperator(task_id="t", **options)


@pytest.mark.slow
def test_importing_the_operator_imports_nothing_heavy() -> None:
    """Files that use it are parsed all day."""
    code = (
        "import airflow.sdk, sys; from airflow.sdk import BaseOperator, BaseOperatorLink; before = set(sys.modules);"
        "import batchy_provider.operators.bundle; print(*(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    new = done.stdout.split()
    assert all(name.startswith("batchy_provider") for name in new), new
    assert "batchy_provider.bundles.runner" not in new


def test_it_survives_serialization() -> None:
    with DAG("d", schedule=None) as dag:
        BashBundleOperator(task_id="t", bundle="a.zip", env={"A": "b"}, execution_timeout=datetime.timedelta(hours=1))
    back = deserialized(serialized(dag))
    assert back.get_task("t").task_type == "BashBundleOperator"
    assert bundle_cache().root.is_absolute()
