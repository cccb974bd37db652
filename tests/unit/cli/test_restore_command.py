# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""``batchy restore`` and ``batchy archive`` on a Valkey that is killed and has nothing when it comes back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from redis_server import Server

from batchy_provider.cli import restore as command
from batchy_provider.cli.main import main
from batchy_provider.state.connections import open_client
from batchy_provider.state.store import Store

FILE = """\
schedule: null
start_date: 2026-01-01
jobs:
  extract: {bash: "true", params: {region: eu}}
  load: {bash: "true"}
"""


class Cli:
    """Calls commands in this process, on a server of its own."""

    def __init__(self, server: Server, capsys: pytest.CaptureFixture[str], folder: Path) -> None:
        self.server, self._capsys = server, capsys
        self.results = folder / "results"

    def __call__(self, *arguments: str, code: int = 0) -> str:
        """Run a command and return what it printed; its errors are in ``said``."""
        self._capsys.readouterr()
        got = main(["--redis-url", self.server.url, *arguments])
        out, self.said = self._capsys.readouterr()
        assert got == code, f"exit code {got}: {out}{self.said}"
        return out

    def json(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self("-o", "json", *arguments, code=code))

    def loses_all(self) -> None:
        self.server.kill()
        self.server.start()


@pytest.fixture
def cli(own_server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cli:
    (tmp_path / "cfg").mkdir()
    for name in ("sales", "stock"):
        (tmp_path / "cfg" / f"{name}.yaml").write_text(FILE)
    monkeypatch.setenv("BATCHY_CFG", str(tmp_path / "cfg"))
    monkeypatch.setenv("BATCHY_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("LOGNAME", "anna")
    return Cli(own_server, capsys, tmp_path)


def night(cli: Cli, name: str = "sales", end: str = "close") -> dict[str, Any]:
    cli.json("open", name)
    jobs: dict[str, Any] = cli.json(end, name)
    return jobs


def test_what_was_lost_is_shown_and_brought_back(cli: Cli) -> None:
    night(cli)
    night(cli, end="fail")
    night(cli, "stock")
    status, history = cli.json("status", "sales"), cli.json("history", "sales")
    cli.loses_all()

    cli("open", "sales", code=1)
    assert "Redis has lost the workflow, and a batch that opens now would load all data again" in cli.said
    assert "`batchy restore sales`" in cli.said
    shown = cli("restore", "--all", "--dry-run", code=1)
    assert "lost, lacks 2 batches" in shown
    assert "lost, lacks 1 batch" in shown
    assert cli.json("list") == []

    done = cli.json("restore", "--all", "--yes", "--why", "disk gone")
    assert [(each["workflow"], each["was"], each["state"], each["batches"]) for each in done] == [
        ("sales", "lost", True, 2),
        ("stock", "lost", True, 1),
    ]
    assert cli.json("status", "sales") == status
    assert cli.json("history", "sales") == history
    changes = cli.json("history", "sales", "--changes")
    assert (changes[0]["by"], changes[0]["why"], changes[0]["source"]) == ("anna", "disk gone", "cli")
    assert "in step" in cli("restore", "--all", "--dry-run")
    assert cli.json("restore", "--all") == []
    opened = cli.json("open", "sales")
    assert opened["extract"]["from_date"] == status["extract"]["from_date"]


def test_restoring_asks_and_does_nothing_without_a_yes(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    night(cli)
    cli.loses_all()
    cli("restore", "sales", code=2)
    assert "give --yes to restore, or --dry-run to look" in cli.said
    for answer, code in (("\n", 1), ("n\n", 1), ("y\n", 0)):
        monkeypatch.setattr(command.sys, "stdin", Terminal(answer))
        out = cli("restore", "sales", code=code)
        assert "lost, lacks 1 batch" in out
    assert cli.json("list")[0]["workflow"] == "sales"


class Terminal:
    """Somebody who answers."""

    def __init__(self, answer: str) -> None:
        self._answer = answer

    def isatty(self) -> bool:
        return True

    def readline(self) -> str:
        return self._answer


def test_which_workflows_must_be_said(cli: Cli) -> None:
    for words in (("restore",), ("restore", "sales", "--all"), ("archive",)):
        cli(*words, code=2)
        assert "which workflows? Name them, or give --all" in cli.said


def test_a_workflow_that_nobody_knows_is_an_error_that_does_not_stop_the_others(cli: Cli) -> None:
    night(cli)
    cli.loses_all()
    cli("restore", "salse", "sales", "--yes", code=1)
    assert "'salse' is in neither Redis nor the archive" in cli.said
    assert cli.json("status", "sales")["extract"]["status"] == "success"


def test_jobs_that_ran_in_a_batch_without_an_end_are_told(cli: Cli) -> None:
    night(cli)
    batch_id = cli.json("open", "sales")["extract"]["batch_id"] + 1
    (cli.results / "sales" / str(batch_id) / "extract" / "1").mkdir(parents=True)
    cli.loses_all()
    (found,) = cli.json("restore", "sales", "--dry-run", code=1)
    assert found["unfinished"] == [batch_id]
    cli("restore", "sales", "--yes")
    assert f"jobs of batch {batch_id} have run, but the batch was never closed as far as the archive knows" in cli.said


def test_a_conflict_is_left_to_a_person(cli: Cli) -> None:
    night(cli)
    cli.loses_all()
    Store(open_client(cli.server.url)).backend.client.hset("sales", "extract", '{"status": "new"}')
    cli("open", "sales", code=1)
    assert "continued without it" in cli.said
    cli("restore", "sales", "--yes", code=1)
    assert "did not come from the archived state" in cli.said
    assert cli.json("status", "sales") == {"extract": {"status": "new"}}
    cli("restore", "sales", "--yes", "--overwrite")
    assert cli.json("status", "sales")["extract"]["status"] == "success"


def test_batches_from_before_there_was_an_archive_are_written(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__BATCHY__ARCHIVE", "False")
    night(cli)
    assert not (cli.results / ".archive").exists()
    monkeypatch.delenv("AIRFLOW__BATCHY__ARCHIVE")
    assert "not in the archive yet" in cli("restore", "--all", "--dry-run")
    assert cli.json("archive", "--all") == [{"workflow": "sales", "state": True, "batches": 1, "refused": None}]
    assert cli.json("archive", "--all")[0]["batches"] == 0
    cli.loses_all()
    cli("restore", "--all", "--yes")
    assert len(cli.json("history", "sales")) == 1


@pytest.mark.slow
def test_pruning_leaves_what_restoring_needs(cli: Cli) -> None:
    for _ in range(3):
        night(cli)
    cli("prune", "--all", "--keep", "1")
    assert len(list((cli.results / ".archive/sales/batches").iterdir())) == 1
    assert "in step" in cli("restore", "--all", "--dry-run")
    status = cli.json("status", "sales")
    cli.loses_all()
    cli("restore", "--all", "--yes")
    assert cli.json("status", "sales") == status
    assert len(cli.json("history", "sales")) == 1
    assert len(Store(open_client(cli.server.url)).backend.client.hgetall("sales:loaded")) >= 1


def test_the_archive_is_in_nobodys_list_of_results(cli: Cli) -> None:
    from batchy_provider.bundles.result_store import ResultStore

    night(cli)
    store = ResultStore(str(cli.results))
    assert (store.workflows(), store.batches("sales"), store.find("sales")) == ([], [], [])
    assert store.prune("sales", keep=1) == 0


def test_without_a_known_result_store_nothing_is_kept_elsewhere(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Somebody who has only the address of Redis makes no archive of their own; the next closing writes it."""
    night(cli)
    monkeypatch.delenv("BATCHY_RESULTS")
    monkeypatch.delenv("AIRFLOW__BATCHY__RESULTS_URL")
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "nobody"))
    night(cli)
    assert not (tmp_path / "nobody").exists()
    monkeypatch.setenv("BATCHY_RESULTS", str(cli.results))
    assert "ahead of the archive" in cli("restore", "--all", "--dry-run")
    night(cli)
    assert len(list((cli.results / ".archive/sales/batches").iterdir())) == 3


def test_a_result_store_that_cannot_be_written_is_told_and_caught_up(cli: Cli) -> None:
    cli.json("open", "sales")
    cli.results.parent.mkdir(exist_ok=True)
    cli.results.write_text("a file where a folder ought to be")
    cli.json("close", "sales")
    assert "batchy: sales: the archive is not complete" in cli.said
    assert "The next closing writes what is missing" in cli.said
    cli.results.unlink()
    night(cli)
    assert len(list((cli.results / ".archive/sales/batches").iterdir())) == 2


@pytest.mark.parametrize(
    "words", [("status", "sales"), ("history", "sales"), ("close", "sales"), ("set-window", "sales", "2026-01-01")]
)
def test_what_asks_for_a_lost_workflow_says_how_to_get_it_back(cli: Cli, words: tuple[str, ...]) -> None:
    night(cli)
    cli.loses_all()
    cli(*words, code=1)
    assert "If it was there before, Redis has lost it: `batchy restore sales`" in cli.said


def test_a_list_of_no_workflows_says_how_to_get_them_back(cli: Cli) -> None:
    assert "batchy restore --all --dry-run" in cli("list")
