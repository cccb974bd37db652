# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What a task hands to the next one, and where bundles and results are."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowException
from airflow.sdk import DAG
from bundle_tasks import FakeTaskInstance, output

from batchy_provider.bundles.errors import BundleError
from batchy_provider.hooks.deployment import bundle_cache, result_store
from batchy_provider.operators.bundle import BashBundleOperator


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
