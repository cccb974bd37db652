# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The DAG that warns, in a real Airflow with its task runner in this process: `dag.test()`."""

from __future__ import annotations

import os
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import warned_people
from redis import Redis

from batchy_provider.config.reader import Reader
from batchy_provider.core.values import CloseRequest, OpenRequest
from batchy_provider.state.store import Store

WORKFLOW = """\
schedule: "0 * * * *"
paused: false
deadline:
  within: 30m
  warn: {chance: 0.9}
  notify: {notifier: warned_people.Pager, args: {text: "{{ warning.kind }} by {{ dag.dag_id }}, {{ run_id }}"}}
jobs: {load: {bash: "true"}}
"""
LOADER = """\
# Airflow reads only files with its name in them: airflow.
from batchy_provider.dag_factory import load_dags

load_dags({cfg!r}, globals())
"""


@pytest.fixture
def store(redis_url: str, redis_client: Redis, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("AIRFLOW_CONN_REDIS_DEFAULT", redis_url)
    return Store(redis_client)


@pytest.fixture
def dag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The DAG, as a loader file makes it."""
    from airflow.utils.db import initdb

    monkeypatch.delenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", raising=False)
    monkeypatch.setenv("AIRFLOW__BATCHY__RESULTS_URL", str(tmp_path / "results"))
    cfg = tmp_path / "cfg"
    cfg.mkdir()
    (cfg / "night_in_danger.yaml").write_text(WORKFLOW)
    folder = Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
    folder.mkdir(exist_ok=True)
    file = folder / "warnings_loader.py"
    file.write_text(LOADER.format(cfg=str(cfg)))
    initdb()
    yield runpy.run_path(str(file))["dag_batchy_warnings"]
    file.unlink()


@pytest.mark.slow
def test_its_task_warns_once(dag: Any, store: Store, tmp_path: Path) -> None:
    found, diagnostics = Reader(tmp_path / "cfg").read(tmp_path / "cfg" / "night_in_danger.yaml")
    assert found is not None, diagnostics
    for seconds in (3500.0, 3600.0, 3700.0, 3650.0):
        batch = store.open("night_in_danger", OpenRequest(config=found.config()))
        store.close(
            "night_in_danger", CloseRequest(result="success", batch_id=batch.batch_id, seconds={"load": seconds})
        )
    warned_people.HEARD.clear()
    done = dag.test()
    assert done.state == "success"
    assert [("Pager", f"danger by batchy_warnings, {done.run_id}")] == warned_people.HEARD
    assert dag.test().state == "success"
    assert len(warned_people.HEARD) == 1
    assert [each.state.value for each in store.status("night_in_danger").warnings.values()] == ["danger"]
