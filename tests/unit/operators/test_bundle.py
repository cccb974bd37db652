# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The operator: what Airflow gives it, what it gives Airflow; on a real store of batches and real scripts."""

from __future__ import annotations

import datetime
import itertools
import json
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowSkipException, AirflowTaskTimeout
from airflow.sdk import DAG
from airflow.sdk.bases.operator import ExecutorSafeguard
from airflow.sdk.execution_time.timeout import TimeoutPosix
from airflow_versions import deserialized, serialized

from batchy_provider.bundles.errors import BundleError
from batchy_provider.core.values import Holder, OpenRequest, WorkflowConfig
from batchy_provider.hooks.deployment import bundle_cache, result_store
from batchy_provider.operators.bundle import BashBundleOperator
from batchy_provider.state.store import Store


class FakeTaskInstance:
    """One run's tasks: states and XComs in memory."""

    dag_id, run_id, map_index, try_number = "sales", "scheduled__1", -1, 1

    def __init__(self) -> None:
        self.xcoms: dict[tuple[str, str], Any] = {}
        self.states: dict[str, str] = {}
        self.task_id = ""

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[self.task_id, key] = json.loads(json.dumps(value))

    def xcom_pull(self, task_ids: str, key: str = "return_value") -> Any:
        return self.xcoms.get((task_ids, key))

    def get_task_states(self, dag_id: str, task_ids: list[str], run_ids: list[str]) -> dict[str, dict[str, str]]:
        assert (dag_id, run_ids) == (self.dag_id, [self.run_id])
        return {self.run_id: {task: self.states[task] for task in task_ids if task in self.states}}


@pytest.fixture
def ti() -> FakeTaskInstance:
    return FakeTaskInstance()


@pytest.fixture
def run(ti: FakeTaskInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[BashBundleOperator], Any]:
    """Execute as a task: the result becomes its XCom, an exception its state."""
    monkeypatch.setattr(ExecutorSafeguard, "test_mode", True)
    monkeypatch.setenv("AIRFLOW__BATCHY__RESULTS_URL", str(tmp_path / "results"))
    monkeypatch.setenv("AIRFLOW__BATCHY__BUNDLE_CACHE", str(tmp_path / "cache"))

    def execute(operator: BashBundleOperator) -> Any:
        ti.task_id = operator.task_id
        try:
            result = operator.execute({"ti": ti, "params": {"p": 1}})  # type: ignore[typeddict-item]
        except AirflowSkipException:
            ti.states[operator.task_id] = "skipped"
            raise
        except BaseException:
            ti.states[operator.task_id] = "failed"
            raise
        ti.states[operator.task_id] = "success"
        ti.xcom_push("return_value", result)
        return result

    return execute


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """All that the operator logs, record by record."""
    records: list[str] = []

    class Log:
        def info(self, text: str, *values: Any) -> None:
            records.append(text % values)

        warning = error = info

    monkeypatch.setattr(BashBundleOperator, "log", Log())
    return records


def output(reference: dict[str, Any]) -> str:
    return Path(reference["url"].removeprefix("file://")).read_text()


@pytest.fixture
def batch(redis_url: str, redis_client: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("AIRFLOW_CONN_REDIS_DEFAULT", redis_url)
    config = WorkflowConfig(name="sales", jobs={"extract": {"region": "eu", "reprocess_hours": 2}, "load": {}})
    holder = Holder(dag_id="sales", run_id="scheduled__1")
    return Store(redis_client).open("sales", OpenRequest(holder=holder, config=config))


def test_the_window_and_the_params_come_from_the_runs_own_batch(run: Any, batch: Any) -> None:
    operator = BashBundleOperator(
        task_id="extract", workflow="sales", bash_command="echo $BATCHY_BATCH_ID $BATCHY_FROM_DATE; cat $BATCHY_PARAMS"
    )
    first, _, rest = output(run(operator)).partition("\n")
    assert first == f"{batch.batch_id} {batch.jobs['extract']['from_date']}"
    assert json.loads(rest)["params"] == {"region": "eu"}
    assert [e.record["job"] for e in result_store().find("sales", str(batch.batch_id))] == ["extract"]


def test_a_task_that_is_no_job_has_the_whole_window_and_params_of_its_own(run: Any, batch: Any) -> None:
    operator = BashBundleOperator(
        task_id="page", workflow="sales", job_params={"who": "ann"}, bash_command="cat $BATCHY_PARAMS"
    )
    told = json.loads(output(run(operator)))
    assert told["params"] == {"who": "ann"}
    assert (told["batch_id"], told["from_date"], told["to_date"]) == (batch.batch_id, batch.from_date, batch.to_date)


def test_a_run_without_batch_is_told_what_to_do(run: Any, batch: Any, ti: FakeTaskInstance) -> None:
    ti.run_id = "another"
    with pytest.raises(BundleError, match="has opened no batch of workflow sales"):
        run(BashBundleOperator(task_id="extract", workflow="sales", bash_command="true"))


def test_a_job_that_the_batch_does_not_know_is_named(run: Any, batch: Any) -> None:
    with pytest.raises(BundleError, match=r"no job 'other'\. Its jobs: extract, load"):
        run(BashBundleOperator(task_id="other", workflow="sales", bash_command="true"))


def test_progress_is_kept_for_those_who_watch(run: Any, batch: Any, redis_client: Any) -> None:
    script = 'echo \'::batchy {"progress": 0.5, "message": "34/68"}\''
    run(BashBundleOperator(task_id="extract", workflow="sales", bash_command=script))
    progress = Store(redis_client).progress("sales")["extract"]
    assert (progress["batch_id"], progress["progress"], progress["message"]) == (batch.batch_id, 0.5, "34/68")


@pytest.mark.slow
def test_batchy_status_shows_a_running_scripts_progress_written_once_a_second(
    run: Any, batch: Any, redis_url: str, redis_client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[float] = []
    really = Store.set_progress

    def set_progress(*arguments: Any) -> None:
        written.append(time.monotonic())
        really(*arguments)

    monkeypatch.setattr(Store, "set_progress", set_progress)
    shown: set[str] = set()

    def look() -> None:
        command = [sys.executable, "-m", "batchy_provider.cli.main", "--redis-url", redis_url, "status", "sales"]
        while len(shown) < 2 and not over.wait(0.1):
            text = subprocess.run(command, capture_output=True, check=True, text=True).stdout
            shown.update(line for line in text.splitlines() if "extract" in line and "% file " in line)
        (tmp_path / "seen").touch()

    over = threading.Event()
    watcher = threading.Thread(target=look)
    watcher.start()
    script = (
        f"for i in {{1..2000}}; do test -e {tmp_path}/seen && break; "
        "echo '::batchy {\"progress\": 0.'$(printf %02d $((i % 100)))', \"message\": \"file '$i'\"}'; "
        'sleep 0.03; done; echo \'::batchy {"progress": 1, "message": "all files"}\''
    )
    started = time.monotonic()
    run(BashBundleOperator(task_id="extract", workflow="sales", bash_command=script))
    seconds = time.monotonic() - started
    over.set()
    watcher.join()
    assert len(shown) >= 2, "it moves"
    *regular, _ = written  # the last one always arrives
    assert all(later - sooner > 0.99 for sooner, later in itertools.pairwise(regular))
    assert len(written) <= seconds + 3
    assert Store(redis_client).progress("sales")["extract"]["message"] == "all files"


def test_a_redis_that_goes_away_does_not_harm_the_script(
    run: Any, batch: Any, monkeypatch: pytest.MonkeyPatch, log: list[str]
) -> None:
    def broken(*_: Any) -> None:
        raise ConnectionError("Redis is away")

    monkeypatch.setattr(Store, "set_progress", broken)
    script = "for i in 1 2 3; do echo '::batchy {\"progress\": 0.5}'; sleep 0.5; done; echo done"
    assert output(run(BashBundleOperator(task_id="extract", workflow="sales", bash_command=script))).endswith("done\n")
    assert len([record for record in log if "Redis is away" in record]) == 1


def test_a_zip_and_its_pin(run: Any, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("script.sh", "echo from the zip")
    assert output(run(BashBundleOperator(task_id="t", bundle=str(tmp_path / "a.zip")))) == "from the zip\n"
    with pytest.raises(BundleError, match="is pinned"):
        run(BashBundleOperator(task_id="t", bundle=str(tmp_path / "a.zip"), sha256="0" * 64))


def test_the_limits_of_bundles_are_options(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__BATCHY__BUNDLE_MAX_MB", "1")
    monkeypatch.setenv("AIRFLOW__BATCHY__BUNDLE_CACHE_MB", "7")
    assert bundle_cache().max_bytes == 7 * 1024 * 1024
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("script.sh", "true\n" * 300_000)
    with pytest.raises(BundleError, match=r"entry 'script\.sh': it unpacks to more than 1,048,576 bytes"):
        run(BashBundleOperator(task_id="t", bundle=str(tmp_path / "a.zip")))


def test_a_relative_path_starts_at_the_dags_folder(run: Any) -> None:
    folder = Path(__file__).parent
    with DAG("d", schedule=None) as dag:
        operator = BashBundleOperator(task_id="t", bundle="no/such/bundle")
    dag.fileloc = str(folder / "dag.py")
    with pytest.raises(BundleError, match=f"{folder}/no/such/bundle does not exist"):
        run(operator)


@pytest.fixture
def memory_store(monkeypatch: pytest.MonkeyPatch) -> set[str | None]:
    """Airflow opens only schemes of its providers; fsspec's store in memory behaves like theirs."""
    import fsspec
    from airflow.sdk.io import fs

    connections: set[str | None] = set()

    def connect(conn_id: str | None, options: Any) -> Any:
        connections.add(conn_id)
        return fsspec.filesystem("memory")

    monkeypatch.setitem(fs._register_filesystems(), "memory", connect)
    return connections


def test_a_bundle_in_an_object_store_with_its_connection(run: Any, memory_store: set[str | None]) -> None:
    from airflow.sdk import ObjectStoragePath

    path = ObjectStoragePath("memory://bundles/a.zip")
    with path.open("wb") as file, zipfile.ZipFile(file, "w") as archive:
        archive.writestr("script.sh", "echo from afar")
    assert output(run(BashBundleOperator(task_id="t", bundle="memory://bundles/a.zip"))) == "from afar\n"
    assert output(run(BashBundleOperator(task_id="t", bundle=path))) == "from afar\n"
    assert memory_store == {None}
    assert output(run(BashBundleOperator(task_id="t", bundle="memory://warehouse@bundles/a.zip"))) == "from afar\n"
    assert memory_store == {None, "warehouse"}


def test_a_store_without_its_provider_says_what_to_install(run: Any) -> None:
    with pytest.raises(BundleError, match=r"gopher://x/a\.zip cannot be opened.*Install the Airflow provider"):
        run(BashBundleOperator(task_id="t", bundle="gopher://x/a.zip"))


@pytest.mark.usefixtures("memory_store")
def test_results_in_an_object_store_reach_the_next_task(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__BATCHY__RESULTS_URL", "memory://results/batchy")
    reference = run(BashBundleOperator(task_id="a", bash_command="seq 1000"))
    assert reference["url"].startswith("memory://results/batchy/sales/scheduled__1/a/1")
    second = run(BashBundleOperator(task_id="b", bash_command="tail -n 1", input_from="a"))
    (found,) = result_store().find("sales", job="b")
    with found.open("stdout") as file:
        assert file.read() == b"1000\n"
    assert second["bytes"] == 5


def test_output_exit_code_and_values_are_xcoms(run: Any, ti: FakeTaskInstance) -> None:
    reference = run(
        BashBundleOperator(task_id="t", bash_command="echo x; echo '{\"rows\": 3}' > $BATCHY_OUTPUT_DIR/stats.json")
    )
    assert set(reference) == {"url", "bytes", "sha256", "values"}
    assert ti.xcoms["t", "exit_code"] == 0
    assert ti.xcoms["t", "stats"] == {"rows": 3}


def test_what_earlier_tasks_did_is_told(run: Any, ti: FakeTaskInstance) -> None:
    run(BashBundleOperator(task_id="a", bash_command="echo out; echo 5 > $BATCHY_OUTPUT_DIR/rows.json"))
    with pytest.raises(AirflowException):
        run(BashBundleOperator(task_id="b", bash_command="echo half; exit 3"))
    ti.states["c"] = "upstream_failed"
    last = BashBundleOperator(task_id="d", bash_command="cat $BATCHY_PARAMS", previous=["a", "b", "c"])
    previous = json.loads(output(run(last)))["previous"]
    assert list(previous) == ["a", "b", "c"]
    assert (previous["a"]["state"], previous["a"]["exit_code"], previous["a"]["values"]) == ("success", 0, {"rows": 5})
    assert set(previous["a"]["output"]) == {"url", "bytes", "sha256"}
    assert (previous["b"]["state"], previous["b"]["exit_code"]) == ("failed", 3)
    assert output(previous["b"]["output"]) == "half\n"
    assert (previous["c"]["state"], previous["c"]["exit_code"], previous["c"]["output"]) == ("aborted", None, None)


def test_input_is_the_output_of_another_task(run: Any) -> None:
    run(BashBundleOperator(task_id="a", bash_command="echo log; echo data > $BATCHY_OUTPUT"))
    operator = BashBundleOperator(task_id="b", bash_command="cat; cat $BATCHY_INPUT", input_from="a")
    assert output(run(operator)) == "data\ndata\n"


@pytest.mark.parametrize("state", ["skipped", "upstream_failed", "failed", None])
def test_without_success_the_input_is_empty_and_says_so(run: Any, ti: FakeTaskInstance, state: str | None) -> None:
    if state:
        ti.states["a"] = state
    operator = BashBundleOperator(task_id="b", bash_command="wc -c; cat $BATCHY_PARAMS", input_from="a")
    count, _, rest = output(run(operator)).partition("\n")
    assert count.strip() == "0"
    expected = state if state in ("skipped", "failed") else "aborted"
    assert json.loads(rest)["input"] == {"job": "a", "state": expected, "bytes": 0}


@pytest.mark.parametrize(("value", "text"), [(None, ""), ("plain", "plain"), ({"a": [1]}, '{"a": [1]}'), (5, "5")])
def test_other_operators_hand_over_what_they_returned(run: Any, ti: FakeTaskInstance, value: Any, text: str) -> None:
    ti.states["sql"] = "success"
    ti.xcoms["sql", "return_value"] = value
    assert output(run(BashBundleOperator(task_id="b", bash_command="cat", input_from="sql"))) == text


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
    operator.render_template_fields({"x": "y"})  # type: ignore[typeddict-item]
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
