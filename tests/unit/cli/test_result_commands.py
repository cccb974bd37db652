# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""`logs`, and what `prune` does to results."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import Batchy

from batchy_provider.bundles.bundle_cache import BundleCache
from batchy_provider.bundles.execution import Execution
from batchy_provider.bundles.execution_id import ExecutionId
from batchy_provider.bundles.execution_outcome import ExecutionOutcome
from batchy_provider.bundles.execution_request import ExecutionRequest
from batchy_provider.bundles.result_store import ResultStore
from batchy_provider.bundles.script_context import ScriptContext
from batchy_provider.core.values import CloseRequest, OpenRequest, Window, WorkflowConfig
from batchy_provider.state.connections import open_client
from batchy_provider.state.store import Store


@pytest.fixture
def results(tmp_path: Path) -> ResultStore:
    return ResultStore(str(tmp_path / "results"))


@pytest.fixture
def execute(results: ResultStore, tmp_path: Path) -> Callable[..., ExecutionOutcome]:
    def run(
        batch_id: int | str, job: str, command: str, *, workflow: str = "sales", attempt: str = "1"
    ) -> ExecutionOutcome:
        identity = ExecutionId(workflow=workflow, batch_id=str(batch_id), job=job, attempt=attempt)
        task = ExecutionRequest(identity=identity, script_context=ScriptContext(job=job), command=command)
        return Execution(task, cache=BundleCache(tmp_path / "cache"), results=results, work=tmp_path / "work").run()

    return run


class TestLogs:
    def test_prints_what_is_stored(self, batchy: Batchy, execute: Any) -> None:
        execute(9, "load", "echo old")
        execute(10, "load", "echo out; printf '\\377' >&2; echo data > $BATCHY_OUTPUT; echo f > $BATCHY_OUTPUT_DIR/f")
        execute(11, "other", "echo other")
        place = ("--results", "results")
        done = batchy("logs", "sales", "load", *place)
        assert (done.stdout, done.stderr) == (b"out\n", b"\xff")
        assert batchy("logs", "sales", "load", "--stderr", *place).stdout == b"\xff"
        assert batchy("logs", "sales", "load", "--stdout", *place).stderr == b""
        assert batchy("logs", "sales", "load", "--file", "output", *place).stdout == b"data\n"
        assert batchy("logs", "sales", "load", "--file", "files/f", *place).stdout == b"f\n"
        assert batchy("logs", "sales", "load", "--batch", "9", *place).stdout == b"old\n"
        assert batchy("logs", "sales", "load", "--batch", "9", "--file", "output", *place).stdout == b"old\n"
        record = json.loads(batchy("-o", "json", "logs", "sales", "load", *place).stdout)
        assert (record["batch_id"], record["exit_code"], record["contents"]["output"]["bytes"]) == ("10", 0, 5)

    def test_the_command_that_messages_show_works_as_it_is(self, execute: Any, tmp_path: Path) -> None:
        outcome = execute("manual__2026-11-22T02:00:00+00:00", "it's@1", "echo 'x y'; exit 3")
        command = outcome.stored.command().replace("batchy", f"{sys.executable} -m batchy_provider.cli.main", 1)
        done = subprocess.run(["bash", "-c", command], capture_output=True, check=True, cwd="/")
        assert done.stdout == b"x y\n"

    def test_the_place_is_that_of_airflow_without_airflow(self, batchy: Batchy, execute: Any, tmp_path: Path) -> None:
        execute(1, "load", "echo out")
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "BATCHY"))}
        (tmp_path / "home" / "batchy").mkdir(parents=True)
        (tmp_path / "home" / "airflow.cfg").write_text(f"[batchy]\nresults_url = {tmp_path}/results\n")
        (tmp_path / "other" / "batchy").mkdir(parents=True)
        (tmp_path / "other" / "batchy" / "results").symlink_to(tmp_path / "results")
        for place in (
            {"BATCHY_RESULTS": "results"},
            {"AIRFLOW__BATCHY__RESULTS_URL": f"file://{tmp_path}/results"},
            {"AIRFLOW_HOME": str(tmp_path / "home")},
            {"AIRFLOW_HOME": str(tmp_path / "other")},
        ):
            assert batchy("logs", "sales", "load", env={**clean, **place}).stdout == b"out\n"

    def test_what_is_not_there_is_said(self, batchy: Batchy, execute: Any) -> None:
        execute(1, "load", "echo out")
        place = ("--results", "results")
        assert b"no execution of job nothing of sales" in batchy("logs", "sales", "nothing", *place, code=1).stderr
        assert b"no execution of job load of sales, batch 2" in (
            batchy("logs", "sales", "load", "--batch", "2", *place, code=1).stderr
        )
        assert b"It has: stderr, stdout" in batchy("logs", "sales", "load", "--file", "x", *place, code=1).stderr


class TestPrune:
    @pytest.fixture
    def store(self, redis_url: str) -> Store:
        return Store(open_client(redis_url))

    def night(self, store: Store, execute: Any, *, close: bool = True) -> int:
        batch = store.open("sales", OpenRequest(config=WorkflowConfig(name="sales", jobs={"load": {}})))
        execute(batch.batch_id, "load", "echo out")
        if close:
            store.close("sales", CloseRequest(result="success"))
        return batch.batch_id

    @pytest.mark.slow
    def test_results_go_with_their_batches(
        self, batchy: Batchy, store: Store, redis_url: str, execute: Any, results: ResultStore
    ) -> None:
        ids = [self.night(store, execute) for _ in range(4)]
        for number in range(3):
            execute(f"manual__{number}", "load", "true", workflow="a_dag")
        call = ("--redis-url", redis_url, "-o", "json", "prune", "--results", "results")
        done = json.loads(batchy(*call, "sales", "--keep", "3", "--no-results").stdout)
        assert done == {"sales": {"batches": 1, "results": 0}}
        assert json.loads(batchy(*call, "sales", "--keep", "2").stdout) == {"sales": {"batches": 1, "results": 2}}
        assert [found.record["batch_id"] for found in results.find("sales")] == [str(i) for i in ids[2:]]
        assert json.loads(batchy(*call, "--all", "--keep", "1").stdout) == {
            "a_dag": {"batches": 0, "results": 2},
            "sales": {"batches": 1, "results": 1},
        }
        assert [found.record["batch_id"] for found in results.find("a_dag")] == ["manual__2"]

    def test_results_of_an_open_batch_stay(
        self, batchy: Batchy, store: Store, redis_url: str, execute: Any, results: ResultStore
    ) -> None:
        """A backfill that is open still, with newer batches behind it."""
        self.night(store, execute)
        old = store.open("sales", OpenRequest(window=Window(from_date="2026-11-01", to_date="2026-11-02")))
        execute(old.batch_id, "load", "echo out")
        newest = [self.night(store, execute) for _ in range(3)][-1]
        batchy("--redis-url", redis_url, "prune", "sales", "--keep", "1", "--results", "results")
        kept = [found.record["batch_id"] for found in results.find("sales")]
        assert sorted(kept) == sorted([str(old.batch_id), str(newest)])

    def test_an_unknown_name_removes_nothing(self, batchy: Batchy, redis_url: str, execute: Any) -> None:
        execute(1, "load", "true")
        call = ("--redis-url", redis_url, "prune", "--results", "results", "--keep", "1")
        assert b"mistyped" in batchy(*call, "mistyped", code=1).stderr
