# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A script in a batch: its window, its params and its progress."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from bundle_tasks import FakeTaskInstance, output

from batchy_provider.bundles.errors import BundleError
from batchy_provider.hooks.deployment import result_store
from batchy_provider.operators.bundle import BashBundleOperator
from batchy_provider.state.store import Store


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
    # A busy machine may delay one call, so that the next one comes sooner than a second after it.
    assert all(later - sooner > 0.5 for sooner, later in itertools.pairwise(regular))
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
