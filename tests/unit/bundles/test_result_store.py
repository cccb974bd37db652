# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Results are kept whole or not at all, on a local disk and on anything with the pathlib API."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from stored_results import IDENTITY, keep, open_path
from upath import UPath

from batchy_provider.bundles.errors import DamagedRecordError, ResultError
from batchy_provider.bundles.execution_id import ExecutionId
from batchy_provider.bundles.output_values import read_values
from batchy_provider.bundles.result_store import ResultStore


@pytest.fixture(params=["local", "remote"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ResultStore]:
    url = str(tmp_path / "results") if request.param == "local" else f"memory://results-{os.urandom(4).hex()}"
    return ResultStore(url, open_path)


def test_what_was_kept_is_read_back(store: ResultStore, tmp_path: Path) -> None:
    kept = keep(store, tmp_path, files__sub=b"x", output=b"\0\xff")
    found = store.get(IDENTITY)
    assert found.url == kept.url == f"{store.url}/sales/1795000000/extract/1"
    assert found.record == kept.record
    assert list(found.record["contents"]) == ["files/sub", "output", "stderr", "stdout"]
    for name, content in (("stdout", b"out\n"), ("files/sub", b"x"), ("output", b"\0\xff")):
        with found.open(name) as file:
            assert file.read() == content
    digest = hashlib.sha256(b"\0\xff").hexdigest()
    assert found.reference() == {"url": f"{kept.url}/output", "bytes": 2, "sha256": digest}


def test_without_output_file_stdout_is_the_output(store: ResultStore, tmp_path: Path) -> None:
    assert keep(store, tmp_path).reference()["url"].endswith("/stdout")


def test_a_reference_is_fetched_and_checked(store: ResultStore, tmp_path: Path) -> None:
    kept = keep(store, tmp_path, output=b"a" * 3_000_000)
    store.fetch(kept.reference(), tmp_path / "input")
    assert (tmp_path / "input").read_bytes() == b"a" * 3_000_000
    with (kept.path / "output").open("wb") as file:
        file.write(b"changed")
    with pytest.raises(ResultError, match="was changed"):
        store.fetch(kept.reference(), tmp_path / "again")
    (kept.path / "output").unlink()
    with pytest.raises(ResultError, match="is gone"):
        store.fetch(kept.reference(), tmp_path / "third")


def test_an_output_on_another_workers_disk_is_told_from_one_that_was_pruned(tmp_path: Path) -> None:
    kept = keep(ResultStore(str(tmp_path / "results"), open_path), tmp_path)
    (tmp_path / "results").rename(tmp_path / "on-the-other-machine")
    with pytest.raises(ResultError, match=r"was never on this machine.*`\[batchy\] results_url` .* all workers reach"):
        ResultStore(str(tmp_path / "results"), open_path).fetch(kept.reference(), tmp_path / "input")


def test_nothing_is_kept_without_commit(store: ResultStore, tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    with store.draft(IDENTITY, tmp_path / "scratch") as draft:
        (draft.folder / "stdout").write_bytes(b"half")
    assert store.find("sales") == []
    with pytest.raises(ResultError, match="no execution"):
        store.get(IDENTITY)


def test_an_upload_that_breaks_off_leaves_no_execution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ResultStore(f"memory://results-{os.urandom(4).hex()}", open_path)
    real = UPath.open
    memory = type(UPath("memory://x"))

    def broken(self: Any, mode: str = "r", **options: Any) -> Any:
        if self.name == "stdout" and "w" in mode:
            raise ConnectionError("the store went away")
        return real(self, mode, **options)

    monkeypatch.setattr(memory, "open", broken)
    with pytest.raises(
        ResultError, match="did not store the result of the script: ConnectionError: the store went away"
    ):
        keep(store, tmp_path)
    assert store.find("sales") == []
    assert not (store.root / "sales" / "1795000000" / "extract" / "1" / "stderr").exists()


def test_a_second_execution_of_the_same_try_does_not_replace_the_first(store: ResultStore, tmp_path: Path) -> None:
    first = keep(store, tmp_path, output=b"one")
    second = keep(store, tmp_path, output=b"two")
    assert [e.record["attempt"] for e in store.find("sales")] == ["1", "1.2"]
    assert second.url == f"{first.url}.2"
    with first.open("output") as file:
        assert file.read() == b"one"


@pytest.mark.parametrize("run", ["scheduled__2026-11-22T02:00:00+00:00", "..", ".", "a/b", "é=3A", "x" * 500, "\n"])
def test_any_name_of_a_run_is_one_plain_folder(store: ResultStore, tmp_path: Path, run: str) -> None:
    identity = ExecutionId(workflow="dag", batch_id=run, job="task", attempt="1")
    kept = keep(store, tmp_path, identity)
    assert len(kept.url.removeprefix(store.url).split("/")) == 5
    assert store.get(identity).record["batch_id"] == run
    assert [e.record["batch_id"] for e in store.find("dag", run)] == [run]


def test_names_that_look_alike_stay_apart() -> None:
    names = ["a/b", "a=2Fb", "a b", "a+b", "A", "a", "x" * 201, "x" * 202]
    folders = {ExecutionId(workflow="w", batch_id=n, job="j", attempt="1").parts()[1] for n in names}
    assert len(folders) == len(names)


def test_finding_narrows_by_batch_and_job(store: ResultStore, tmp_path: Path) -> None:
    for batch in ("1", "2"):
        for job in ("a", "b"):
            keep(store, tmp_path, ExecutionId(workflow="w", batch_id=batch, job=job, attempt="1"))
    assert len(store.find("w")) == 4
    assert len(store.find("w", "1")) == 2
    assert [(e.record["batch_id"], e.record["job"]) for e in store.find("w", job="b")] == [("1", "b"), ("2", "b")]
    assert store.find("unknown") == store.find("w", "9") == []


def test_pruning_keeps_the_newest_batches(store: ResultStore, tmp_path: Path) -> None:
    for batch in ("1", "2", "3"):
        for job in ("a", "b"):
            keep(store, tmp_path, ExecutionId(workflow="w", batch_id=batch, job=job, attempt="1"))
    keep(store, tmp_path, ExecutionId(workflow="other", batch_id="1", job="a", attempt="1"))
    assert store.prune("w", keep=2) == 1
    assert [e.record["batch_id"] for e in store.find("w", job="a")] == ["2", "3"]
    assert len(store.find("other")) == 1
    assert store.prune("w", keep=0) == 2
    assert store.find("w") == []


def test_pruning_spares_batches_that_are_open_still(store: ResultStore, tmp_path: Path) -> None:
    for batch in ("8", "9", "10", "11"):
        keep(store, tmp_path, ExecutionId(workflow="w", batch_id=batch, job="a", attempt="1"))
    assert store.prune("w", keep=2, spare=["8", "77"]) == 1
    assert {e.record["batch_id"] for e in store.find("w")} == {"8", "10", "11"}


def test_pruning_runs_without_batches_goes_by_their_end(store: ResultStore, tmp_path: Path) -> None:
    for number, run in enumerate(("manual__z", "backfill__m", "scheduled__a")):
        identity = ExecutionId(workflow="dag", batch_id=run, job="a", attempt="1")
        keep(store, tmp_path, identity, finished=str(number))
    assert store.prune("dag", keep=1) == 2
    assert [e.record["batch_id"] for e in store.find("dag")] == ["scheduled__a"]


def test_the_latest_execution_of_a_job(store: ResultStore, tmp_path: Path) -> None:
    finished = iter(range(100, 200))
    for batch, job, attempt in [("9", "a", "1"), ("9", "a", "2"), ("9", "a", "1"), ("10", "a", "1"), ("11", "b", "1")]:
        identity = ExecutionId(workflow="w", batch_id=batch, job=job, attempt=attempt)
        keep(store, tmp_path, identity, finished=str(next(finished)))

    def latest(*wanted: str | None) -> tuple[str, str]:
        record = store.latest("w", *wanted).record
        return record["batch_id"], record["attempt"]

    assert latest("a") == ("10", "1")
    assert latest("a", "9") == ("9", "1.2")
    assert latest("a", "9", "2") == ("9", "2")
    assert latest("a", None, "1") == ("10", "1")
    assert latest("a", "9", "1") == ("9", "1.2")
    assert latest("a", "9", "1.2") == ("9", "1.2")
    for missing in (("c",), ("a", "11"), ("a", "10", "2")):
        with pytest.raises(ResultError, match=f"no execution of job {missing[0]} of w"):
            latest(*missing)


def test_the_names_of_all_workflows(store: ResultStore, tmp_path: Path) -> None:
    names = ["sales", "größe", "x" * 230]
    for name in names:
        keep(store, tmp_path, ExecutionId(workflow=name, batch_id="1", job="a", attempt="1"))
    assert store.workflows() == sorted(names)


def test_a_file_that_is_not_there_is_named_with_those_that_are(store: ResultStore, tmp_path: Path) -> None:
    with pytest.raises(ResultError, match=r"no file 'nothing'. It has: stderr, stdout"):
        keep(store, tmp_path).open("nothing")


def test_a_link_that_a_script_left_is_no_result(store: ResultStore, tmp_path: Path) -> None:
    """It would hand over a file of the worker, or nothing at all."""
    (tmp_path / "scratch").mkdir()
    with store.draft(IDENTITY, tmp_path / "scratch") as draft:
        (draft.folder / "stdout").touch()
        (draft.folder / "output").symlink_to("/etc/passwd")
        with pytest.raises(ResultError, match="'output' cannot be stored: it is a link"):
            draft.commit({})
    assert store.find("sales") == []


def test_a_store_that_cannot_be_written_says_where(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = ResultStore(str(tmp_path / "file" / "results"))
    with pytest.raises(ResultError, match="file/results cannot be written to"), store.draft(IDENTITY, tmp_path):
        pass


RACE = """
import sys, pathlib
from batchy_provider.bundles.execution_id import *
from batchy_provider.bundles.result_store import *
store = ResultStore(sys.argv[1])
sys.stdin.readline()
identity = ExecutionId(workflow="w", batch_id="1", job="j", attempt="1")
for i in range(20):
    with store.draft(identity, pathlib.Path("/nowhere")) as draft:
        (draft.folder / "stdout").write_text(sys.argv[2] * 1000)
        draft.commit({})
"""


@pytest.mark.slow
def test_writers_at_once_never_mix(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    arguments = [sys.executable, "-c", RACE, str(tmp_path / "results")]
    processes = [subprocess.Popen([*arguments, letter], stdin=read_end) for letter in "abcd"]
    os.write(write_end, b"\n" * 4)
    os.close(read_end)
    os.close(write_end)
    assert [process.wait(30) for process in processes] == [0] * 4
    contents = []
    for execution in ResultStore(str(tmp_path / "results")).find("w"):
        with execution.open("stdout") as file:
            contents.append(file.read())
    assert sorted(contents) == sorted(letter.encode() * 1000 for letter in "abcd" for _ in range(20))


# NAME.json


def test_values_are_read_and_other_files_are_not(tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text('{"n": 12345678901234567890, "é": null}')
    (tmp_path / "report.csv").write_text("a;b")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "inner.json").write_text("1")
    assert read_values(tmp_path) == {"rows": {"n": 12345678901234567890, "é": None}}


def test_all_wrong_values_are_named_at_once(tmp_path: Path) -> None:
    for name, text in (("a", "{"), ("b", "NaN"), ("c", '"' + "x" * 70_000 + '"'), ("return_value", "1"), ("ok", "1")):
        (tmp_path / f"{name}.json").write_text(text)
    with pytest.raises(ResultError) as caught:
        read_values(tmp_path)
    for part in (
        "a.json: it is not JSON",
        "b.json: it is not JSON (NaN",
        "c.json: it has 70,002",
        "'return_value' is reserved",
    ):
        assert part in str(caught.value)
    assert "ok.json" not in str(caught.value)


@pytest.mark.parametrize("record", [b"", b"{", b"[]", b"{}", b"\xff", b"[" * 20000, b'{"contents": 1}'])
def test_a_damaged_record_is_said_to_be_damaged_and_hides_no_other(
    store: ResultStore, tmp_path: Path, record: bytes
) -> None:
    first, second = keep(store, tmp_path), keep(store, tmp_path)
    with (first.path / "exit.json").open("wb") as file:
        file.write(record)
    with pytest.raises(DamagedRecordError, match=r"exit\.json cannot be read: .* run the job again"):
        store.get(IDENTITY)
    found = {each.record["attempt"]: each for each in store.find("sales")}
    assert set(found) == {"1", "1.2"}
    assert found["1.2"].record == second.record
    assert "cannot be read" in (found["1"].damage or "")
    assert store.workflows() == ["sales"]
    assert store.prune("sales", keep=0) == 1
