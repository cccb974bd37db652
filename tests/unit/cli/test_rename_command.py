# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""``batchy rename``: Redis and the archive together, interrupted between any two steps, and the files that are left."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from command_line import CONFIG, FILE, Cli, open_by_run

from batchy_provider.archive.archive_files import ArchiveFiles
from batchy_provider.bundles.execution_id import ExecutionId
from batchy_provider.bundles.result_store import ResultStore
from batchy_provider.core.values import CloseRequest, Holder, OpenRequest
from batchy_provider.exceptions import ArchiveError


@pytest.fixture(autouse=True)
def results(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A result store with an archive, as commands find it."""
    monkeypatch.setenv("BATCHY_RESULTS", str(tmp_path / "results"))
    return tmp_path / "results"


@pytest.fixture(autouse=True)
def nights(cli: Cli, results: Path) -> None:
    """Two nights of a run and of a person, in Redis and in the archive."""
    two_nights(cli)


def two_nights(cli: Cli) -> None:
    run = Holder(dag_id="sales", run_id="nightly")
    batch = cli.store.open("sales", OpenRequest(holder=run, config=CONFIG))
    cli("close", "sales", "--batch", str(batch.batch_id))
    cli("open", "sales")
    cli("close", "sales")


def archived(results: Path, workflow: str) -> dict[str, Any]:
    folder = results / ".archive" / workflow
    return {str(path.relative_to(folder)): json.loads(path.read_text()) for path in sorted(folder.rglob("*.json"))}


def names(cli: Cli) -> set[str]:
    keys = [key.decode() for key in cli.store.backend.client.scan_iter()]
    return {name for name in ("sales", "orders") if any(key.startswith(name) for key in keys)}


def test_state_history_and_archive_have_the_new_name(cli: Cli, results: Path) -> None:
    before, history = archived(results, "sales"), cli.json("history", "sales")
    assert cli.json("rename", "sales", "orders", "--why", "one name") == {"old": "sales", "new": "orders", "batches": 2}
    assert cli.said == ""
    assert names(cli) == {"orders"}
    assert archived(results, "sales") == {}
    after = archived(results, "orders")
    assert after.keys() == before.keys()
    assert all(data["workflow"] == "orders" for data in after.values())
    assert {data.get("run") for data in after.values()} == {None, "sales/nightly"}
    found = cli.json("history", "orders")
    assert [each["jobs"] for each in found] == [each["jobs"] for each in history]
    assert "renamed sales to orders" in cli("history", "orders", "--changes")
    assert "in step" in cli("restore", "orders", "--dry-run")
    assert [row["workflow"] for row in cli.json("list")] == ["orders"]


def test_a_restore_after_a_rename_brings_back_the_new_name(cli: Cli) -> None:
    cli("rename", "sales", "orders")
    status = cli.json("status", "orders")
    cli.store.backend.client.flushall()
    cli("restore", "--all", "--yes")
    assert names(cli) == {"orders"}
    assert cli.json("status", "orders") == status
    assert cli.store.batch_of_run("orders", "nightly") is None
    assert cli.store.batch_of_run("orders", "sales/nightly") is not None


def test_the_next_night_goes_on_under_the_new_name(cli: Cli) -> None:
    last = cli.json("status", "sales")["load"]["batch_start"]
    cli("rename", "sales", "orders")
    assert cli.json("open", "orders")["load"]["from_date"] == last
    cli("close", "orders")
    assert cli.said == ""
    assert "in step" in cli("restore", "orders", "--dry-run")


def test_results_have_the_new_name(cli: Cli, results: Path, tmp_path: Path) -> None:
    store = ResultStore(str(results))
    identity = ExecutionId(workflow="sales", batch_id="1795384088", job="load", attempt="1")
    with store.draft(identity, tmp_path) as draft:
        (draft.folder / "stdout").write_text("loaded 7 rows\n")
        (draft.folder / "stderr").write_text("")
        draft.commit({"state": "success", "finished": "2026-11-22T18:28:09Z"})
    cli("rename", "sales", "orders")
    assert cli("logs", "orders", "load") == "loaded 7 rows\n"
    assert store.workflows() == ["orders"]


def test_a_rename_that_could_not_move_the_results_is_finished_by_the_next(
    cli: Cli, results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ResultStore(str(results))
    with store.draft(ExecutionId(workflow="sales", batch_id="1", job="load", attempt="1"), tmp_path) as draft:
        (draft.folder / "stdout").write_text("")
        (draft.folder / "stderr").write_text("")
        draft.commit({"state": "success", "finished": "2026-11-22T18:28:09Z"})
    with monkeypatch.context() as broken:
        broken.setattr("batchy_provider.bundles.result_moving.write_whole", lambda *_: 1 / 0)
        cli("rename", "sales", "orders", code=1)
    assert "is 'orders' in Redis now, but its results could not be moved" in cli.said
    assert "`batchy rename sales orders` finishes it" in cli.said
    cli("rename", "sales", "orders")
    assert store.workflows() == ["orders"]
    assert (names(cli), archived(results, "sales")) == ({"orders"}, {})


def test_a_wait_for_the_new_name_is_done_and_one_for_the_old_name_goes_on(cli: Cli) -> None:
    cli("rename", "sales", "orders")
    cli("wait", "orders", "--timeout", "0s")
    out = cli("wait", "sales", "--timeout", "0s", code=124)
    assert "not in Redis yet" in out + cli.said


def test_it_says_which_files_have_the_old_name(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "cfg").mkdir()
    (tmp_path / "cfg" / "sales.yaml").write_text(FILE)
    (tmp_path / "cfg" / "report.yaml").write_text(f"wait_for: [sales]\n{FILE}")
    cli("rename", "sales", "orders")
    assert "sales.yaml still defines sales. Rename it before its next run" in cli.said
    assert "the files of report still wait for sales. Write orders there" in cli.said


@pytest.mark.parametrize(
    ("new", "message"),
    [
        ("sales", "is the name of the workflow already"),
        ("a/b", "workflow name 'a/b' holds '/'"),
        ("orders-1", "which is how the key of an old batch ends"),
        ("", "the workflow name is empty"),
    ],
)
def test_a_name_that_cannot_be_is_refused(cli: Cli, new: str, message: str) -> None:
    cli("rename", "sales", new, code=1)
    assert message in cli.said
    assert names(cli) == {"sales"}


def test_a_name_in_the_archive_is_taken(cli: Cli, results: Path) -> None:
    cli.store.open("orders", OpenRequest(config=CONFIG))
    cli("close", "orders")
    for key in cli.store.backend.client.scan_iter("orders*"):
        cli.store.backend.client.delete(key)
    before = archived(results, "sales"), archived(results, "orders")
    cli("rename", "sales", "orders", code=1)
    assert "there is a workflow 'orders' in the archive" in cli.said
    assert (archived(results, "sales"), archived(results, "orders")) == before


def test_a_refusal_leaves_the_archive_as_it_was(cli: Cli, results: Path) -> None:
    open_by_run(cli.store, "tonight")
    before = archived(results, "sales")
    cli("rename", "sales", "orders", code=1)
    assert "is open, by run 'tonight'" in cli.said
    assert archived(results, "sales") == before
    cli.store.close("sales", CloseRequest(result="success"))


class Killed(BaseException):
    """The process is killed."""


WRITES = ("put_latest", "put_batch", "put_audit", "remove")


@pytest.mark.slow
@pytest.mark.parametrize("error", [Killed(), ArchiveError("no route to the archive")])
def test_wherever_the_archive_stops_it_the_next_call_finishes_it(
    cli: Cli, results: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """Each write of the archive fails once; until the rename is finished, nothing uses the archive of the old name."""
    seen = set()
    for allowed in range(20):
        cli.store.backend.client.flushall()
        shutil.rmtree(results)
        two_nights(cli)
        expected = archived(results, "sales").keys()
        with monkeypatch.context() as patch:
            calls = Calls(allowed, error)
            for name in WRITES:
                patch.setattr(ArchiveFiles, name, calls.counted(getattr(ArchiveFiles, name)))
            with contextlib.suppress(Killed):
                cli.call("rename", "sales", "orders")
        if calls.left >= 0:
            break
        (there,) = names(cli)
        seen.add((there, bool(archived(results, "sales"))))
        if archived(results, "sales") and allowed:  # the first write is the mark
            for words in (["open", "sales"], ["restore", "sales", "--yes"]):
                cli(*words, code=1)
                assert "`batchy rename sales orders` finishes it" in cli.said
            assert names(cli) == {there}
        cli("rename", "sales", "orders")
        assert names(cli) == {"orders"}
        assert (archived(results, "sales"), archived(results, "orders").keys()) == ({}, expected)
        assert "in step" in cli("restore", "orders", "--dry-run")
        assert cli("history", "orders", "--changes").count("renamed sales to orders") == 1
    assert seen == {("sales", True), ("orders", True)}


class Calls:
    """Count calls of methods, and fail at the one after so many."""

    def __init__(self, allowed: int, error: BaseException) -> None:
        self.left = allowed
        self._error = error

    def counted(self, method: Any) -> Any:
        def call(*arguments: Any) -> Any:
            self.left -= 1
            if self.left < 0:
                raise self._error
            return method(*arguments)

        return call
