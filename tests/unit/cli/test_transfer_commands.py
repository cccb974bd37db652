# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""``batchy export`` and ``import``: from one environment into another, refusals, errors with their place."""

from __future__ import annotations

import io
import json
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from command_line import CONFIG, Cli, open_by_run
from export_documents import JOB, document, written

from batchy_provider.core.schedules import Schedule
from batchy_provider.core.values import CloseRequest, Holder, OpenRequest, Window, WorkflowConfig


@pytest.fixture(autouse=True)
def results(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A result store with an archive, as commands find it."""
    monkeypatch.setenv("BATCHY_RESULTS", str(tmp_path / "results"))
    return tmp_path / "results"


def exported(cli: Cli, tmp_path: Path, *words: str) -> Path:
    path = tmp_path / "export.json"
    path.write_text(cli("export", *words))
    return path


def workflows(cli: Cli, *words: str) -> list[dict[str, Any]]:
    """Return the exported workflows, without the audit entries of imports and restores."""
    found: list[dict[str, Any]] = json.loads(cli("export", *words))["workflows"]
    for each in found:
        made = ("imported", "restored")
        each["changes"] = [entry for entry in each["changes"] or [] if not entry["what"].startswith(made)]
    return found


def flushed(cli: Cli, results: Path) -> None:
    """Let this be another environment: another Redis and another result store."""
    cli.store.backend.client.flushall()
    (results / ".archive").rename(results / f"archive{len(list(results.iterdir()))}")


@pytest.fixture
def two(cli: Cli) -> None:
    """Two workflows with history, a switched off job, and a window set by hand."""
    for name in ("sales", "crm"):
        schedule = Schedule(crons=("0 2 * * *",), timezone="Europe/Paris")
        config = WorkflowConfig(name=name, jobs=CONFIG.jobs, timezone="Europe/Paris", schedule=schedule)
        for run in ("one", "two"):
            batch = cli.store.open(name, OpenRequest(holder=Holder(dag_id=name, run_id=run), config=config))
            cli("close", name, "--batch", str(batch.batch_id))
        window = Window(from_date="2026-01-01", to_date="2026-01-02")
        cli.store.open(name, OpenRequest(holder=Holder(dag_id=name, run_id="b"), window=window, backfill=True))
        cli("close", name, "--batch", str(cli.store.batch_of_run(name, "b").batch_id))
    cli("disable", "sales", "load", "--why", "broken")
    cli("set-window", "crm", "2026-11-01")


@pytest.mark.usefixtures("two")
def test_with_history_everything_arrives(cli: Cli, tmp_path: Path, results: Path) -> None:
    path = exported(cli, tmp_path, "--history")
    before, status = workflows(cli, "--history"), cli.json("status", "sales")
    loaded = cli.store.backend.client.hgetall("sales:loaded")
    flushed(cli, results)
    done = cli.json("import", str(path), "--why", "moving")
    assert done == [
        {"workflow": name, "jobs": ["extract", "load"], "batches": 3, "replaced": False, "ended": []}
        for name in ("crm", "sales")
    ]
    assert workflows(cli, "--history") == before
    assert cli.json("status", "sales") == status
    assert cli.store.backend.client.hgetall("sales:loaded") == loaded
    assert len(cli.json("history", "sales")) == 3
    assert "imported the workflow" in cli("history", "sales", "--changes")
    assert "disabled load" in cli("history", "sales", "--changes")
    assert cli.store.batch_of_run("sales", "one") is not None
    assert "in step" in cli("restore", "sales", "--dry-run")
    cli.store.backend.client.flushall()
    cli("restore", "--all", "--yes")
    restored = workflows(cli, "--history")
    assert [each | {"durations": {}} for each in restored] == [each | {"durations": {}} for each in before]


@pytest.mark.usefixtures("two")
def test_without_history_the_next_windows_and_waits_are_the_same(cli: Cli, tmp_path: Path, results: Path) -> None:
    path = exported(cli, tmp_path, "sales")
    last = cli.json("status", "sales")["extract"]["batch_start"]
    flushed(cli, results)
    (done,) = cli.json("import", str(path))
    assert done["batches"] == 1
    cli("wait", "sales", "--timeout", "0s")
    start = cli.json("open", "sales")["extract"]["from_date"]
    assert datetime.fromisoformat(start) == datetime.fromisoformat(last) - timedelta(hours=2)
    cli("close", "sales")
    assert cli.said == ""
    assert "in step" in cli("restore", "--all", "--dry-run")


@pytest.mark.usefixtures("two")
def test_only_the_named_workflows_are_exported(cli: Cli) -> None:
    assert [each["workflow"] for each in workflows(cli)] == ["crm", "sales"]
    assert [each["workflow"] for each in workflows(cli, "sales", "sales")] == ["sales"]


@pytest.mark.usefixtures("two")
def test_a_workflow_that_cannot_be_read_does_not_hide_the_others(cli: Cli) -> None:
    cli.store.backend.client.hset("crm", "extract", "no JSON")
    code, out = cli.call("export", "crm", "sales", "nobody")
    assert code == 1
    assert [each["workflow"] for each in json.loads(out)["workflows"]] == ["sales"]
    assert "'crm' does not hold JSON" in cli.said
    assert "'nobody' is not in Redis" in cli.said
    assert "2 of 3 workflows are not in the document" in cli.said


def test_an_empty_redis_is_an_empty_document(cli: Cli, tmp_path: Path) -> None:
    path = exported(cli, tmp_path)
    assert json.loads(path.read_text())["workflows"] == []
    assert cli.json("import", str(path)) == []


@pytest.mark.usefixtures("two")
def test_a_pipe_moves_them(cli: Cli, monkeypatch: pytest.MonkeyPatch, results: Path) -> None:
    text = cli("export", "--history")
    flushed(cli, results)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert len(cli.json("import", "-")) == 2


def test_an_open_batch_arrives_as_failed_and_its_window_is_taken_again(cli: Cli, tmp_path: Path, results: Path) -> None:
    cli.store.open("sales", OpenRequest(config=CONFIG))
    cli("close", "sales")
    batch_id = open_by_run(cli.store)
    window = Window(from_date="2026-01-01", to_date="2026-01-02")
    request = OpenRequest(holder=Holder(dag_id="sales", run_id="b"), window=window, backfill=True, day="2026-01-01")
    backfill = cli.store.open("sales", request).batch_id
    start = cli.json("status", "sales")["load"]["from_date"]
    path = exported(cli, tmp_path, "--history")
    flushed(cli, results)
    (done,) = cli.json("import", str(path), "--by", "anna")
    assert done["ended"] == sorted([batch_id, backfill])
    for each in (batch_id, backfill):
        ended = cli.store.batch("sales", each)
        assert (ended.status, ended.record.closed_by) == ("failed", "anna")
        assert "it was open in the environment" in ended.record.closed_why
    assert cli.json("open", "sales")["load"]["from_date"] == start
    cli("close", "sales")


@pytest.mark.usefixtures("two")
def test_what_exists_is_refused_and_nothing_is_written(cli: Cli, tmp_path: Path) -> None:
    path = exported(cli, tmp_path, "--history")
    cli("remove", "crm", "--yes")
    before = workflows(cli, "--history")
    for words in ([], ["--dry-run"]):
        cli("import", str(path), *words, code=1)
        assert "there is a workflow 'sales'" in cli.said
        assert "--replace" in cli.said
    assert workflows(cli, "--history") == before


@pytest.mark.usefixtures("two")
def test_replace_removes_the_old_history_and_archive(cli: Cli, tmp_path: Path, results: Path) -> None:
    path = exported(cli, tmp_path, "sales", "--history")
    before = workflows(cli, "sales", "--history")
    for _ in range(2):
        cli("open", "sales")
        cli("close", "sales")
    (done,) = cli.json("import", str(path), "--replace")
    assert (done["replaced"], done["batches"]) == (True, 3)
    assert workflows(cli, "sales", "--history") == before
    assert len(list((results / ".archive" / "sales" / "batches").iterdir())) == 3
    assert "in step" in cli("restore", "sales", "--dry-run")
    cli("open", "sales")


def test_an_open_batch_is_never_replaced(cli: Cli, tmp_path: Path) -> None:
    cli.store.open("sales", OpenRequest(config=CONFIG))
    cli.store.close("sales", CloseRequest(result="success"))
    path = exported(cli, tmp_path)
    batch_id = open_by_run(cli.store)
    cli("import", str(path), "--replace", code=1)
    assert f"batch {batch_id} is open" in cli.said
    assert cli.json("status", "sales")["load"]["batch_id"] == batch_id


@pytest.mark.usefixtures("two")
def test_a_dry_run_writes_nothing(cli: Cli, tmp_path: Path, results: Path) -> None:
    path = exported(cli, tmp_path)
    flushed(cli, results)
    done = cli.json("import", str(path), "--dry-run")
    assert [each["workflow"] for each in done] == ["crm", "sales"]
    assert list(cli.store.backend.client.scan_iter()) == []
    assert not (results / ".archive").exists()
    assert "nothing was written" in cli.said
    assert done == cli.json("import", str(path))


def test_a_lost_workflow_is_not_replaced_without_being_asked(cli: Cli, tmp_path: Path) -> None:
    cli.store.open("sales", OpenRequest(config=CONFIG))
    cli("close", "sales")
    path = exported(cli, tmp_path)
    cli.store.backend.client.flushall()
    cli("import", str(path), code=1)
    assert "there is a workflow 'sales' in the archive" in cli.said
    assert "`batchy restore sales`" in cli.said
    cli("import", str(path), "--replace")
    cli("open", "sales")


def test_an_error_after_the_first_workflow_says_what_was_written(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from batchy_provider.exceptions import RedisUnavailableError
    from batchy_provider.services import transfer

    write = transfer.import_state

    def fail(backend: Any, request: Any, **more: Any) -> Any:
        if request.workflow.name == "b" and not more:
            raise RedisUnavailableError("Redis is away")
        return write(backend, request, **more)

    monkeypatch.setattr(transfer, "import_state", fail)
    each = {"jobs": {"load": JOB}, "ledger": {}}
    path = written(tmp_path, document(*({"workflow": name, **each} for name in "abc")))
    code, out = cli.call("-o", "json", "import", path)
    assert code == 1
    assert [each["workflow"] for each in json.loads(out)] == ["a"]
    assert "Redis is away. These workflows were imported before: a" in cli.said
