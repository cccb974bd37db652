# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""``batchy metrics``, for a terminal and for node_exporter's textfile collector."""

from __future__ import annotations

import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from command_counts import commands

from batchy_provider.cli.main import main
from batchy_provider.core.values import CloseRequest, OpenRequest, WorkflowConfig
from batchy_provider.local.ports import free_port
from batchy_provider.plan.duration_model import MIN_RUNS
from batchy_provider.state.connections import open_client
from batchy_provider.state.store import Store

LINE = 'batchy_workflow_status{workflow="sales",status="open"} 1'


@pytest.fixture
def url(redis_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    monkeypatch.delenv("BATCHY_CFG", raising=False)
    monkeypatch.chdir(tmp_path)
    Store(open_client(redis_url)).open("sales", OpenRequest(config=WorkflowConfig(name="sales", jobs={"load": {}})))
    return redis_url


def test_it_shows_them(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--redis-url", url, "metrics"]) == 0
    assert LINE in capsys.readouterr().out.splitlines()


def test_it_writes_a_file_that_others_may_read(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "batchy.prom"
    file.write_text("old")
    assert main(["--redis-url", url, "metrics", "--file", str(file)]) == 0
    assert LINE in file.read_text().splitlines()
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert [each.name for each in tmp_path.iterdir()] == ["batchy.prom"]
    assert capsys.readouterr().out == ""


def test_a_redis_that_is_away_is_in_the_file_and_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "batchy.prom"
    assert main(["--redis-url", f"redis://127.0.0.1:{free_port()}/0", "metrics", "--file", str(file)]) == 1
    assert file.read_text().splitlines()[-1] == "batchy_redis_up 0"
    assert "cannot be used" in capsys.readouterr().err


def test_a_folder_that_is_not_there_is_one_line(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--redis-url", url, "metrics", "--file", str(tmp_path / "none" / "x.prom")]) == 1
    assert capsys.readouterr().err.startswith(f"batchy: {tmp_path}/none/x.prom cannot be written")


LOADING = {"numpy", "pydantic", "batchy_provider.plan.simulation"}


def modules_after_metrics(url: str) -> set[str]:
    """Return which of the modules that take long to load a new process has loaded for the metrics."""
    program = "import sys; from batchy_provider.cli.main import main; main(sys.argv[1:]); print(*sys.modules)"
    command = [sys.executable, "-c", program, "--redis-url", url, "metrics"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return LOADING & set(done.stdout.splitlines()[-1].split())


def expected_end(text: str) -> str | None:
    found = re.search(r'^batchy_workflow_expected_end_timestamp_seconds\{workflow="sales"\} (\S+)$', text, re.MULTILINE)
    return None if found is None else found[1]


def test_the_plan_is_worked_out_only_for_runs_whose_end_can_be_known(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A workflow that is open for the first time has no past runs, and this folder has no files with deadlines."""
    assert modules_after_metrics(url) == set()
    main(["--redis-url", url, "metrics"])
    assert expected_end(capsys.readouterr().out) is None
    store = Store(open_client(url))
    for _ in range(MIN_RUNS):
        store.close("sales", CloseRequest(result="success", seconds={"load": 60.0}))
        store.open("sales", OpenRequest())
    main(["--redis-url", url, "metrics"])
    assert expected_end(capsys.readouterr().out) is not None


def test_each_workflow_is_read_once(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store(open_client(url))
    for name in ("crm", "erp"):
        store.open(name, OpenRequest(config=WorkflowConfig(name=name, jobs={"load": {}})))
    with open_client(url) as client:
        found = commands(client, lambda: main(["--redis-url", url, "metrics"]))
    assert 'workflow="erp"' in capsys.readouterr().out
    # Of each workflow the jobs, the progress, the ledger and the days of earlier releases.
    assert (found["hgetall"], found["hmget"]) == (4 * 3, 3)
