# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""``batchy remove``: what it removes, what it refuses, and what is left to show of the workflow: nothing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from command_line import CONFIG, FILE, Cli, open_by_run

from batchy_provider.archive.archive_files import ArchiveFiles
from batchy_provider.core.values import CloseRequest, Holder, OpenRequest, Window
from batchy_provider.exceptions import ArchiveError

pytestmark = pytest.mark.usefixtures("sales")


@pytest.fixture(autouse=True)
def results(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A result store with an archive, as commands find it."""
    monkeypatch.setenv("BATCHY_RESULTS", str(tmp_path / "results"))
    return tmp_path / "results"


def keys(cli: Cli) -> list[str]:
    return sorted(key.decode() for key in cli.store.backend.client.scan_iter())


def test_nothing_of_a_removed_workflow_is_left(cli: Cli, results: Path) -> None:
    cli.store.open("crm", OpenRequest(config=CONFIG))
    cli.store.close("crm", CloseRequest(result="success"))
    others = [key for key in keys(cli) if key.startswith("crm")]
    cli("open", "sales")
    cli("close", "sales")
    cli("disable", "sales", "load")
    cli.store.set_progress("sales", "load", {"progress": 0.5})
    cli.store.job_outputs("sales", 1795384088).save(("load", -1), {"state": "success"})
    kept = results / "sales" / "1795384088" / "load" / "1"
    kept.mkdir(parents=True)
    (kept / "stdout").write_text("x")
    assert (results / ".archive" / "sales" / "latest.json").exists()
    count = len([key for key in keys(cli) if key.startswith("sales")])
    done = cli.json("remove", "sales", "--yes", "--why", "gone")
    assert done == {"workflow": "sales", "keys": count, "batches": 3}
    assert keys(cli) == others
    assert not (results / ".archive" / "sales").exists()
    assert not (results / "sales").exists()
    assert [row["workflow"] for row in cli.json("list")] == ["crm"]
    assert "sales" not in cli("metrics")
    cli("restore", "sales", "--yes", code=1)
    cli("restore", "--all", "--yes")
    assert keys(cli) == others


def test_a_second_remove_says_that_it_is_not_there(cli: Cli) -> None:
    cli("remove", "sales", "--yes")
    cli("remove", "sales", "--yes", code=1)
    assert "workflow 'sales' is not there" in cli.said
    cli("remove", "../sales", "--yes", code=1)
    assert "workflow name" in cli.said


def test_a_removed_workflow_starts_again_as_a_new_one(cli: Cli) -> None:
    cli("remove", "sales", "--yes")
    assert cli.store.open("sales", OpenRequest(config=CONFIG)).from_date == "1776-07-04T23:59:00.000000"


def test_an_open_batch_is_never_removed(cli: Cli) -> None:
    batch_id = open_by_run(cli.store)
    before = keys(cli)
    for words in ([], ["--force"]):
        cli("remove", "sales", "--yes", *words, code=1)
        assert f"batch {batch_id} is open, by run 'nightly' of DAG 'sales'" in cli.said
        assert f"`batchy fail sales --batch {batch_id}`" in cli.said
    assert keys(cli) == before
    cli("fail", "sales", "--batch", str(batch_id))
    cli("remove", "sales", "--yes")


def test_an_open_backfill_is_never_removed(cli: Cli) -> None:
    window = Window(from_date="2026-01-01", to_date="2026-01-02")
    request = OpenRequest(holder=Holder(dag_id="sales", run_id="b"), window=window, backfill=True, day="2026-01-01")
    batch = cli.store.open("sales", request)
    cli("remove", "sales", "--yes", code=1)
    assert f"batch {batch.batch_id} is open, by run 'b'" in cli.said
    cli("fail", "sales", "--batch", str(batch.batch_id))
    cli("remove", "sales", "--yes")


def test_a_workflow_with_a_file_is_removed_only_by_force(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "cfg" / "team"
    folder.mkdir(parents=True)
    (folder / "sales.yaml").write_text(FILE)
    cli("remove", "sales", "--yes", code=1)
    assert "sales.yaml still defines workflow 'sales'" in cli.said
    assert "--force" in cli.said
    assert "sales" in keys(cli)
    cli("remove", "sales", "--yes", "--force")
    assert keys(cli) == []


def test_without_a_terminal_it_needs_yes(cli: Cli) -> None:
    before = keys(cli)
    cli("remove", "sales", code=2)
    assert "give --yes" in cli.said
    assert keys(cli) == before


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 1), ("", 1)])
def test_on_a_terminal_it_asks(cli: Cli, monkeypatch: pytest.MonkeyPatch, answer: str, code: int) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr(sys.stdin, "readline", lambda: answer)
    cli("remove", "sales", code=code)
    assert "and 1 batches" in cli.said or "and 1 batch" in cli.said
    assert (keys(cli) == []) == (code == 0)


def test_another_programs_keys_stay(cli: Cli) -> None:
    client = cli.store.backend.client
    client.hset("cache", "page", "<html>")
    client.hset("sales-2024", "report", "not ours")
    client.set("sales:extra", "not ours")
    client.hset("sales-1700000000", "extract", '{"status": "success"}')  # the original's, in no list
    cli("remove", "cache", "--yes", code=1)
    assert "is not there" in cli.said
    cli("remove", "sales", "--yes")
    assert keys(cli) == ["cache", "sales-2024", "sales:extra"]


def test_a_key_of_a_wrong_type_stops_it_before_anything_is_removed(cli: Cli) -> None:
    client = cli.store.backend.client
    client.delete("sales:progress")
    client.set("sales:progress", "not ours")
    before = keys(cli)
    cli("remove", "sales", "--yes", code=1)
    assert "Another program uses this key" in cli.said
    assert keys(cli) == before


def test_an_interrupted_remove_is_finished_by_the_next_one(cli: Cli, results: Path) -> None:
    """After a kill, only Redis is empty: until the rest is gone, no batch of that name can be opened."""
    from batchy_provider.state.removal import remove_state

    cli("open", "sales")
    cli("close", "sales")
    remove_state(cli.store.backend, "sales")
    cli("open", "sales", code=1)
    assert "Redis has lost the workflow" in cli.said
    assert cli.json("remove", "sales", "--yes")["keys"] == 0
    assert not (results / ".archive" / "sales").exists()
    cli("restore", "--all", "--yes")
    assert keys(cli) == []


def test_an_archive_that_cannot_be_read_stops_it_before_anything_is_removed(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: ArchiveFiles) -> list[str]:
        raise ArchiveError("the archive cannot be used: no route to it")

    monkeypatch.setattr(ArchiveFiles, "workflows", fail)
    before = keys(cli)
    cli("remove", "sales", "--yes", code=1)
    assert "no route to it" in cli.said
    assert keys(cli) == before


def test_a_wait_for_it_says_that_it_is_not_there(cli: Cli) -> None:
    cli("wait", "sales", "--timeout", "0s")
    cli("remove", "sales", "--yes")
    out = cli("wait", "sales", "--timeout", "0s", code=124)
    assert "not in Redis yet" in out + cli.said
