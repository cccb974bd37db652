# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Plain rows for programs, running scripts followed, downloads, completion, and ``airflow batchy``."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import pytest
from airflow_versions import has_provider_commands

from batchy_provider.bundles.execution_id import ExecutionId
from batchy_provider.bundles.result_store import ResultStore
from batchy_provider.cli.main import main
from batchy_provider.core.values import OpenRequest, WorkflowConfig
from batchy_provider.state.connections import open_client
from batchy_provider.state.store import Store

BATCHY = [sys.executable, "-m", "batchy_provider.cli.main"]
IDENTITY = ExecutionId(workflow="sales", batch_id="7", job="load", attempt="1")
RECORD = {"state": "success", "exit_code": 0, "started": "a", "finished": "b", "bundle": None}


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    (tmp_path / "scratch").mkdir()
    return ResultStore(str(tmp_path / "results"))


def keep(store: ResultStore, tmp_path: Path, **files: bytes) -> None:
    with store.draft(IDENTITY, tmp_path / "scratch") as draft:
        for name, data in {"stdout": b"", "stderr": b"", **files}.items():
            (draft.folder / name).write_bytes(data)
        draft.commit(RECORD)


def test_plain_rows_are_cut_by_tabs_and_have_no_head(redis_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store(open_client(redis_url))
    for name in ("crm", "sales"):
        store.open(name, OpenRequest(config=WorkflowConfig(name=name, jobs={"extract": {}, "load": {}})))
    assert main(["--redis-url", redis_url, "-o", "plain", "list"]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [row[:3] for row in rows] == [["crm", "open", "the beginning"], ["sales", "open", "the beginning"]]
    assert rows[0][-1] == "extract, load"
    assert main(["--redis-url", redis_url, "-o", "plain", "status", "sales"]) == 0
    assert [line.split("\t")[0] for line in capsys.readouterr().out.splitlines()] == ["extract", "load"]
    store.backend.client.flushdb()
    assert main(["--redis-url", redis_url, "-o", "plain", "list"]) == 0
    assert capsys.readouterr().out == ""


def test_history_tells_who_from_where_and_why(redis_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    url = ["--redis-url", redis_url]
    Store(open_client(redis_url)).load(WorkflowConfig(name="sales", jobs={"load": {}}), by="setup")
    assert main([*url, "open", "sales", "--by", "anna", "--why", "late files"]) == 0
    assert main([*url, "close", "sales", "--by", "ben", "--why", "looked at"]) == 0
    capsys.readouterr()
    main([*url, "history", "sales"])
    assert "anna" in (out := capsys.readouterr().out)
    assert "late files" in out
    main([*url, "-o", "plain", "history", "sales", "--changes"])
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [(row[1], row[2].split()[0], row[4]) for row in rows[:2]] == [
        ("ben", "cli", "looked at"),
        ("anna", "cli", "late files"),
    ]


def test_a_running_script_is_followed_to_its_end(store: ResultStore, tmp_path: Path) -> None:
    with store.draft(IDENTITY, tmp_path / "scratch") as draft:
        (draft.folder / "stdout").write_bytes(b"first\n")
        (draft.folder / "stderr").write_bytes(b"")
        command = [*BATCHY, "logs", "sales", "load", "--follow", "--results", store.url]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            assert process.stdout.readline() == b"first\n"
            with (draft.folder / "stdout").open("ab") as out:
                out.write(b"second, while it runs\n")
            assert process.stdout.readline() == b"second, while it runs\n"
            (draft.folder / "stderr").write_bytes(b"oh\n")
            draft.commit({**RECORD, "state": "failed", "reason": "script.sh failed: exit code 3."})
            rest, said = process.communicate(timeout=30)
    assert (rest, process.returncode) == (b"", 1)
    assert said == b"oh\nbatchy: script.sh failed: exit code 3.\n"


def test_what_is_written_at_the_very_end_is_followed_too(store: ResultStore, tmp_path: Path) -> None:
    from batchy_provider.bundles.log_tail import Follower

    with store.draft(IDENTITY, tmp_path / "scratch") as draft:
        (running,) = store.running("sales", "load")
        follower = Follower(store, running)
        parts = follower.chunks()
        threading.Timer(0.5, lambda: finish(draft)).start()

        def finish(draft: object) -> None:
            (draft.folder / "stdout").write_bytes(b"x" * 1_000_000)
            (draft.folder / "stderr").write_bytes(b"")
            draft.commit(RECORD)

        assert sum(len(data) for _, data in parts) == 1_000_000
    assert follower.ended is not None
    assert store.running("sales", "load") == []


def test_an_execution_that_left_nothing_is_said(store: ResultStore, tmp_path: Path) -> None:
    from batchy_provider.bundles.errors import ResultError
    from batchy_provider.bundles.log_tail import Follower

    with store.draft(IDENTITY, tmp_path / "scratch"):
        (running,) = store.running("sales", "load")
    with pytest.raises(ResultError, match="ended without a stored result"):
        list(Follower(store, running).chunks())


def test_what_ended_is_shown_whole_and_its_result_is_the_exit_code(
    store: ResultStore, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    keep(store, tmp_path, stdout=b"all of it\n")
    done = subprocess.run(
        [*BATCHY, "logs", "sales", "load", "-f", "--results", store.url], capture_output=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, b"all of it\n")
    assert b"does not run now" in done.stderr


def test_files_are_downloaded_and_none_is_overwritten(store: ResultStore, tmp_path: Path) -> None:
    keep(store, tmp_path, stdout=b"1", output=b"2")
    command = ["download", "sales", "load", "--results", store.url, "--into", str(tmp_path / "here")]
    assert main(command) == 0
    folder = tmp_path / "here" / "sales-7-load-1"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        "stdout": b"1",
        "stderr": b"",
        "output": b"2",
    }
    assert main(command) == 1


def test_a_bundle_is_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = tmp_path / "cfg" / "bundles" / "etl"
    bundle.mkdir(parents=True)
    (bundle / "script.sh").write_text("echo hello")
    (tmp_path / "cfg" / "sales.yaml").write_text("jobs: {load: {bundle: etl}}\n")
    monkeypatch.chdir(tmp_path)
    assert main(["download", "sales", "load", "--bundle"]) == 0
    assert zipfile.ZipFile(tmp_path / "load.zip").read("script.sh") == b"echo hello"


def complete(line: str, tmp_path: Path, url: str = "") -> list[str]:
    """Return what the shell would offer at the end of a line."""
    environment = {
        **os.environ,
        "_ARGCOMPLETE": "1",
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(tmp_path / "words"),
        "BATCHY_REDIS_URL": url,
    }
    subprocess.run(BATCHY, env=environment, cwd=tmp_path, check=False, timeout=30)
    return [word.strip() for word in (tmp_path / "words").read_text().split("\n") if word]


@pytest.mark.slow
def test_the_shell_completes_commands_workflows_and_jobs(tmp_path: Path, redis_url: str) -> None:
    (tmp_path / "cfg").mkdir()
    (tmp_path / "cfg" / "sales.yaml").write_text("jobs: {extract: {bash: x}, load: {bash: x}}\n")
    Store(open_client(redis_url)).load(WorkflowConfig(name="stored", jobs={"load": {}}), by="setup")
    assert {"status", "history"} <= set(complete("batchy ", tmp_path))
    assert complete("batchy status s", tmp_path, redis_url) == ["sales", "stored"]
    assert complete("batchy status s", tmp_path, "redis://127.0.0.1:1") == ["sales"]
    assert complete("batchy gaps other s", tmp_path, redis_url) == ["sales", "stored"]
    assert {"extract", "load"} <= set(complete("batchy disable sales ", tmp_path))
    assert main(["completion", "bash"]) == 0


@pytest.mark.slow
@pytest.mark.skipif(not has_provider_commands(), reason="Airflow takes commands of providers since 3.2")
def test_airflow_has_the_same_commands_on_its_own_connection(redis_url: str) -> None:
    environment = {**os.environ, "AIRFLOW_CONN_REDIS_DEFAULT": redis_url}
    Store(open_client(redis_url)).load(WorkflowConfig(name="sales", jobs={"load": {}}), by="setup")

    def airflow(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "airflow", "batchy", *words]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=environment)

    done = airflow("list", "-o", "plain")
    assert (done.returncode, done.stdout.split("\t")[0]) == (0, "sales"), done.stderr
    refused = airflow("ack", "sales", "--batch", "1", "a text")
    assert (refused.returncode, "there is no batch 1" in refused.stderr) == (1, True), refused.stderr
    shown = airflow("open", "--help").stdout
    assert "--take-over" in shown
    assert "example" in shown


@pytest.mark.slow
@pytest.mark.parametrize("name", ["list", "status", "history", "compare"])
def test_a_command_that_shows_batches_says_in_its_help_what_it_knows_of_the_archive(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([name, "--help"])
    about = capsys.readouterr().out.partition("positional arguments")[0]
    assert "Redis" in about
    assert "archive" in about


def test_every_command_has_help_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    from batchy_provider.cli.main import build_parser
    from batchy_provider.cli.provider import _commands

    for name, parser in _commands(build_parser()).items():
        assert "example" in (parser.epilog or ""), name
        start = time.monotonic()
        with pytest.raises(SystemExit) as raised:
            main([name, "--help"])
        assert raised.value.code == 0
        assert time.monotonic() - start < 60
        assert "usage: batchy" in capsys.readouterr().out
