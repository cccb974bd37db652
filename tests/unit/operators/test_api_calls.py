# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""How often tasks call Airflow's execution API, beside BashOperator. Each call takes 15 to 45 ms of a whole Airflow."""

from __future__ import annotations

import os
import re
import runpy
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

SOURCE = Path(__file__).with_name("chain_dags.py")


@pytest.fixture
def dags(redis_url: str, redis_client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The DAGs of `chain_dags`, in a metadata database of the tests' own."""
    from airflow.utils.db import initdb

    monkeypatch.setenv("AIRFLOW_CONN_REDIS_DEFAULT", redis_url)
    monkeypatch.setenv("AIRFLOW__BATCHY__RESULTS_URL", str(tmp_path / "results"))
    monkeypatch.setenv("AIRFLOW__BATCHY__BUNDLE_CACHE", str(tmp_path / "cache"))
    folder = Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
    folder.mkdir(exist_ok=True)
    file = folder / SOURCE.name
    shutil.copy(SOURCE, file)
    initdb()
    yield runpy.run_path(str(file))
    file.unlink()


def _calls_of(dag: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Run a DAG, and return the calls of its tasks without what differs between tasks."""
    calls: list[str] = []
    really = httpx.Client.send

    def send(client: httpx.Client, request: httpx.Request, **options: Any) -> httpx.Response:
        path = re.sub(r"[0-9a-f-]{36}", "ID", request.url.path)
        calls.append(f"{request.method} {re.sub(r'job[0-9]+|open|close|(?<=chain/)[^/]*_[^/]*', '*', path)}")
        return really(client, request, **options)

    with monkeypatch.context() as patch:
        patch.setattr(httpx.Client, "send", send)
        assert dag.test().state == "success"
    return [call for call in calls if "heartbeat" not in call]


@pytest.mark.slow
def test_a_job_calls_the_api_hardly_more_often_than_bash_operator(
    dags: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = len(dags["JOBS"])
    plain, ours = (_calls_of(dags[name], monkeypatch) for name in ("plain_chain", "batchy_chain"))
    # Each job but the first asks for the states of the earlier ones, in one call. Opening and closing have no fields to
    # render. Closing asks for the tasks that have ended, and `dag.test()` for the name of its Airflow.
    assert len(ours) <= len(plain) / jobs * (jobs + 2) + jobs - 1, Counter(ours)
    assert Counter(call for call in ours if "job" not in call)["GET /task-instances/breadcrumbs"] == 1
    assert not [call for call in ours if call.endswith(("/count", "validate-inlets-and-outlets"))], Counter(ours)
    assert not [call for call in ours if call.startswith("GET /xcoms/")]
    written = Counter(call for call in ours if call.startswith("POST /xcoms/"))
    assert written.total() == jobs + 2, written
