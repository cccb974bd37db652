# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The command line on a real Valkey: what it prints, what it changes, and its exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from batchy_provider.cli.main import main
from batchy_provider.core.values import CloseRequest, Holder, OpenRequest, WorkflowConfig
from batchy_provider.local.ports import free_port
from batchy_provider.state.connections import open_client
from batchy_provider.state.store import Store

CONFIG = WorkflowConfig(
    name="sales", jobs={"extract": {"reprocess_hours": 2, "region": "eu", "größe": [1, 2]}, "load": {}}
)
FILE = """\
schedule: null
start_date: 2026-01-01
jobs:
  extract: {bash: "true", params: {region: eu}}
  load: {bash: "true"}
"""


class Cli:
    """Calls commands in this process."""

    def __init__(self, url: str, capsys: pytest.CaptureFixture[str]) -> None:
        self._url = url
        self._capsys = capsys
        self.store = Store(open_client(url))

    def __call__(self, *arguments: str, code: int = 0) -> str:
        """Run a command and return what it printed; its errors are in ``said``."""
        self._capsys.readouterr()
        got = main(["--redis-url", self._url, *arguments])
        out, self.said = self._capsys.readouterr()
        assert got == code, f"exit code {got}: {out}{self.said}"
        return out

    def json(self, *arguments: str) -> Any:
        return json.loads(self("-o", "json", *arguments))


@pytest.fixture
def cli(redis_url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cli:
    monkeypatch.delenv("BATCHY_CFG", raising=False)
    monkeypatch.setenv("LOGNAME", "anna")
    monkeypatch.chdir(tmp_path)
    return Cli(redis_url, capsys)


@pytest.fixture
def sales(cli: Cli) -> str:
    """A workflow in Redis with one batch that succeeded."""
    cli.store.open("sales", OpenRequest(config=CONFIG))
    cli.store.close("sales", CloseRequest(result="success"))
    return "sales"


def open_by_run(store: Store, run_id: str = "nightly") -> int:
    return store.open("sales", OpenRequest(holder=Holder(dag_id="sales", run_id=run_id))).batch_id


class TestQuestions:
    def test_an_empty_redis_lists_nothing(self, cli: Cli) -> None:
        assert "no workflows yet" in cli("list")
        assert cli.json("list") == []

    def test_list_shows_status_and_window(self, cli: Cli, sales: str) -> None:
        assert "sales" in cli("list")
        (row,) = cli.json("list")
        assert row["workflow"] == "sales"
        assert row["status"] == "success"
        assert row["jobs"] == ["extract", "load"]
        assert row["holder"] is None

    def test_status_is_the_originals_body(self, cli: Cli, sales: str) -> None:
        body = cli.json("status", sales)
        assert body == cli.store.status(sales).jobs
        assert body["extract"]["größe"] == [1, 2]
        assert yaml.safe_load(cli("status", sales, "-o", "yaml")) == body

    def test_status_names_who_holds_the_batch(self, cli: Cli, sales: str) -> None:
        batch_id = open_by_run(cli.store)
        shown = cli("status", sales)
        assert str(batch_id) in shown
        assert "run 'nightly' of DAG 'sales'" in shown

    def test_status_shows_progress_of_this_batch_only(self, cli: Cli, sales: str) -> None:
        batch_id = open_by_run(cli.store)
        cli.store.set_progress(sales, "extract", {"batch_id": batch_id, "progress": 0.5, "message": "34/68 files"})
        cli.store.set_progress(sales, "load", {"batch_id": 1, "progress": 1, "message": "of long ago"})
        shown = cli("status", sales)
        assert "50% 34/68 files" in shown
        assert "of long ago" not in shown

    def test_history_is_newest_first_and_pages(self, cli: Cli, sales: str) -> None:
        for _ in range(3):
            cli.store.open(sales, OpenRequest())
            cli.store.close(sales, CloseRequest(result="failed"))
        ids = [batch["batch_id"] for batch in cli.json("history", sales)]
        assert ids == sorted(ids, reverse=True)
        assert len(ids) == 4
        assert [b["batch_id"] for b in cli.json("history", sales, "--limit", "2", "--offset", "1")] == ids[1:3]
        assert "the beginning" in cli("history", sales)

    def test_an_unknown_workflow_is_one_line_on_stderr(self, cli: Cli) -> None:
        for command in ("status", "history", "close", "fail", "open"):
            assert cli(command, "nope", code=1) == ""
            assert cli.said.startswith("batchy: ")
            assert "nope" in cli.said
            assert "Traceback" not in cli.said


class TestBatches:
    def test_load_reads_the_file(self, cli: Cli, tmp_path: Path) -> None:
        (tmp_path / "cfg").mkdir()
        (tmp_path / "cfg" / "sales.yaml").write_text(FILE)
        body = cli.json("load", "sales", "--why", "first time")
        assert list(body) == ["extract", "load"]
        assert body["extract"]["region"] == "eu"
        (change,) = cli.json("history", "sales", "--changes")
        assert (change["by"], change["why"]) == ("anna", "first time")
        assert "first time" in cli("history", "sales", "--changes")

    def test_load_without_a_file_says_where_it_looked(self, cli: Cli, tmp_path: Path) -> None:
        cli("load", "sales", code=1)
        assert str(tmp_path / "cfg") in cli.said

    def test_a_bad_file_changes_nothing_and_names_its_line(self, cli: Cli, sales: str, tmp_path: Path) -> None:
        (tmp_path / "flows").mkdir()
        (tmp_path / "flows" / "sales.yaml").write_text(FILE.replace("bash:", "bosh:", 1))
        before = cli.json("status", sales)
        cli("--cfg", "flows", "load", sales, code=1)
        assert "sales.yaml:4:" in cli.said
        assert cli.json("status", sales) == before

    def test_open_and_close(self, cli: Cli, sales: str) -> None:
        body = cli.json("open", sales)
        assert {job["status"] for job in body.values()} == {"open"}
        assert cli("close", sales).count("success") >= 2
        assert cli.store.status(sales).jobs["load"]["status"] == "success"

    def test_open_creates_a_workflow_from_its_file(self, cli: Cli, tmp_path: Path) -> None:
        (tmp_path / "cfg").mkdir()
        (tmp_path / "cfg" / "sales.yaml").write_text(FILE)
        assert "the beginning" in cli("open", "sales")

    def test_a_failed_batch_opens_with_the_same_window(self, cli: Cli, sales: str) -> None:
        first = cli.json("open", sales)
        cli("fail", sales)
        assert cli.json("open", sales)["load"]["from_date"] == first["load"]["from_date"]

    def test_a_batch_that_a_run_holds_needs_take_over(self, cli: Cli, sales: str) -> None:
        open_by_run(cli.store)
        cli("open", sales, code=1)
        assert "nightly" in cli.said
        cli("open", sales, "--take-over")
        assert cli.store.status(sales).holder == Holder(by="anna", token=cli.store.status(sales).holder.token)  # type: ignore[union-attr]

    def test_a_window_of_ones_own_is_history(self, cli: Cli, sales: str) -> None:
        before = cli.json("status", sales)
        body = cli.json("open", sales, "--from", "2026-01-01", "--to", "2026-01-08")
        assert body["load"]["from_date"] == "2026-01-01T00:00:00.000000"
        assert cli.json("status", sales) == before

    def test_infa(self, cli: Cli, sales: str) -> None:
        text = cli("open", sales, "--format", "infa")
        assert text.startswith("[extract]\n")
        assert "$$region=eu" in text

    def test_what_cannot_be_a_parameter_file_is_refused_before_it_opens(self, cli: Cli) -> None:
        cli.store.load(WorkflowConfig(name="sales", jobs={"a": {"sql": "select\n1"}}), by="test")
        cli("open", "sales", "--format", "infa", code=1)
        assert "line break" in cli.said
        assert cli.json("status", "sales")["a"]["status"] == "new"

    def test_closing_another_batch_than_the_open_one_names_both(self, cli: Cli, sales: str) -> None:
        batch_id = open_by_run(cli.store)
        cli("close", sales, "--batch", "1", code=1)
        assert cli.store.status(sales).batch.batch_id == batch_id  # type: ignore[union-attr]
        assert cli.store.status(sales).batch.status == "open"  # type: ignore[union-attr]


class TestSteering:
    def test_set_window(self, cli: Cli, sales: str) -> None:
        cli("set-window", sales, "2026-11-01", "--job", "load", "--why", "late files")
        jobs = cli.json("open", sales)
        assert jobs["load"]["from_date"].startswith("2026-11-01")
        assert not jobs["extract"]["from_date"].startswith("2026-11-01")

    def test_a_date_that_is_none(self, cli: Cli, sales: str) -> None:
        cli("set-window", sales, "yesterday", code=1)
        assert "'yesterday' is not a date" in cli.said

    def test_disable_and_enable(self, cli: Cli, sales: str) -> None:
        assert cli.json("disable", sales, "load", "--why", "broken") == ["load"]
        assert "disabled" in cli("status", sales)
        assert cli.json("enable", sales, "load") == []
        cli("disable", sales, "lod", code=1)
        assert "lod" in cli.said

    def test_prune(self, cli: Cli, sales: str) -> None:
        for _ in range(4):
            cli.store.open(sales, OpenRequest())
            cli.store.close(sales, CloseRequest(result="success"))
        assert cli.json("prune", sales, "--keep", "2") == {"sales": {"batches": 3, "results": 0}}
        assert cli.json("prune", "--all", "--keep", "1") == {"sales": {"batches": 1, "results": 0}}
        assert len(cli.json("history", sales)) == 1

    def test_prune_of_all_goes_on_past_a_workflow_that_cannot_be_read(self, cli: Cli, sales: str) -> None:
        for _ in range(3):
            cli.store.open(sales, OpenRequest())
            cli.store.close(sales, CloseRequest(result="success"))
        cli.store.backend.client.hset("bad", "load", '{"status": "success"}')
        cli.store.backend.client.set("bad:history", "of another program")
        out = cli("-o", "json", "prune", "--all", "--keep", "1", code=1)
        assert json.loads(out) == {"sales": {"batches": 3, "results": 0}}
        assert "bad:history" in cli.said

    @pytest.mark.parametrize("arguments", [["sales", "--keep", "0"], ["sales"], ["--keep", "x", "sales"]])
    def test_prune_keeps_at_least_one(self, cli: Cli, arguments: list[str]) -> None:
        with pytest.raises(SystemExit) as stopped:
            cli("prune", *arguments)
        assert stopped.value.code == 2

    def test_prune_of_everything_must_be_meant(self, cli: Cli) -> None:
        cli("prune", "--keep", "1", code=2)


class TestWait:
    def test_what_has_succeeded_today_is_over_at_once(self, cli: Cli, sales: str) -> None:
        assert "succeeded" in cli("wait", sales)
        found = cli.json("wait", sales)
        assert (found["state"], found["code"]) == ("done", "succeeded")

    def test_time_is_over(self, cli: Cli) -> None:
        assert cli("wait", "sales", "--timeout", "0.2s", code=124) == ""
        assert "not in Redis yet" in cli.said

    def test_a_failed_batch_ends_it_where_asked(self, cli: Cli) -> None:
        cli.store.open("sales", OpenRequest(config=CONFIG))
        cli.store.close("sales", CloseRequest(result="failed"))
        assert "failed" in cli("wait", "sales", "--on-failed", "fail", "--timeout", "5s", code=1)
        cli("wait", "sales", "--timeout", "0.2s", code=124)
        assert "waiting for a success" in cli.said

    def test_scopes(self, cli: Cli, sales: str) -> None:
        cli("wait", sales, "--within", "1h", "--timeout", "5s")
        cli("wait", sales, "--any", "--timeout", "5s")
        cli("wait", sales, "--day", "2100-01-01", "--timeout", "0.2s", code=124)
        time.sleep(0.05)
        cli("wait", sales, "--within", "0.01s", "--timeout", "0.2s", code=124)

    def test_an_event_wakes_it(self, cli: Cli) -> None:
        cli.store.load(CONFIG, by="test")

        def night() -> None:
            time.sleep(0.4)
            cli.store.open("sales", OpenRequest())
            time.sleep(0.2)
            cli.store.close("sales", CloseRequest(result="success"))

        worker = threading.Thread(target=night)
        worker.start()
        started = time.monotonic()
        cli("wait", "sales", "--recheck", "30s", "--timeout", "20s")
        worker.join()
        assert time.monotonic() - started < 5

    def test_it_outlives_a_restart_of_the_server(self, own_server: Any, capsys: pytest.CaptureFixture[str]) -> None:
        cli = Cli(own_server.url, capsys)

        def outage() -> None:
            time.sleep(0.5)
            own_server.kill()
            own_server.start()
            store = Store(open_client(own_server.url))
            store.open("sales", OpenRequest(config=CONFIG))
            store.close("sales", CloseRequest(result="success"))

        worker = threading.Thread(target=outage)
        worker.start()
        cli("wait", "sales", "--recheck", "1s", "--timeout", "30s")
        worker.join()

    def test_several_workflows(self, cli: Cli, sales: str) -> None:
        cli("wait", sales, "crm", "--timeout", "0.2s", code=124)
        assert "gave up waiting for sales, crm" in cli.said
        crm = cli.store.open("crm", OpenRequest(config=replace(CONFIG, name="crm"))).batch_id

        def night() -> None:
            time.sleep(0.4)
            cli.store.close("crm", CloseRequest(result="success"))

        worker = threading.Thread(target=night)
        worker.start()
        found = cli.json("wait", sales, "crm", "--recheck", "30s", "--timeout", "20s")
        worker.join()
        assert (found["state"], found["batches"]["crm"]) == ("done", crm)
        assert list(found["batches"]) == [sales, "crm"]
        assert found["codes"] == {sales: "succeeded", "crm": "succeeded"}

    def test_any_of_several_that_fails_ends_it_where_asked(self, cli: Cli, sales: str) -> None:
        cli.store.open("crm", OpenRequest(config=replace(CONFIG, name="crm")))
        cli.store.close("crm", CloseRequest(result="failed"))
        assert "crm: batch" in cli("wait", "crm", "erp", sales, "--on-failed", "fail", "--timeout", "5s", code=1)

    def test_over_rest_it_is_one(self, cli: Cli) -> None:
        assert main(["wait", "crm", "erp", "--api", "http://127.0.0.1:1"]) == 2

    def test_waitsy_is_the_originals_command(
        self, cli: Cli, sales: str, monkeypatch: pytest.MonkeyPatch, redis_url: str
    ) -> None:
        from batchy_provider.cli.main import waitsy

        monkeypatch.setenv("BATCHY_REDIS_URL", redis_url)
        monkeypatch.setattr(sys, "argv", ["waitsy", "-wf", "sales", "--timeout", "5s"])
        assert waitsy() == 0


class TestUsage:
    def test_no_redis_named(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        monkeypatch.delenv("BATCHY_REDIS_URL", raising=False)
        assert main(["list"]) == 2
        assert "--redis-url" in capsys.readouterr().err

    def test_the_environment_names_it(
        self, cli: Cli, redis_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("BATCHY_REDIS_URL", redis_url)
        assert main(["list", "-o", "json"]) == 0
        assert capsys.readouterr().out == "[]\n"

    def test_a_server_that_is_not_there(self, capsys: pytest.CaptureFixture[str]) -> None:
        url = f"redis://:hush@127.0.0.1:{free_port()}/0"
        for command in (["list"], ["status", "sales"]):
            assert main(["--redis-url", url, *command]) == 1
            said = capsys.readouterr().err
            assert said.startswith("batchy: Redis")
            assert "hush" not in said
            assert "Traceback" not in said

    def test_a_url_that_is_none(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["--redis-url", "http://localhost", "list"]) == 1
        assert "http" in capsys.readouterr().err

    def test_a_foreign_key_in_its_place(self, cli: Cli, redis_client: Any) -> None:
        redis_client.set("sales", "something else")
        cli("status", "sales", code=1)
        assert "'sales'" in cli.said
        assert redis_client.get("sales") == b"something else"

    @pytest.mark.parametrize(
        "arguments", [[], ["frobnicate"], ["status"], ["-o", "xml", "list"], ["wait", "x", "--timeout", "soon"]]
    )
    def test_wrong_usage(self, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        assert stopped.value.code == 2

    def test_a_connection_of_airflow(
        self, sales: str, cli: Cli, redis_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_ETL", redis_url)
        assert main(["--connection", "etl", "-o", "json", "status", "sales"]) == 0
        assert list(json.loads(capsys.readouterr().out)) == ["extract", "load"]
        assert main(["--connection", "missing", "list"]) == 1
        assert "missing" in capsys.readouterr().err

    def test_commands_need_no_airflow_and_start_fast(self, redis_url: str) -> None:
        program = (
            "import sys; from batchy_provider.cli.main import main; code = main(sys.argv[1:]);"
            "heavy = {'airflow', 'pydantic', 'pendulum'} & set(sys.modules);"
            "sys.exit(f'imported {heavy}' if heavy else code)"
        )
        done = subprocess.run(
            [sys.executable, "-c", program, "--redis-url", redis_url, "list"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")

    def test_a_reader_that_has_seen_enough(self, redis_url: str, cli: Cli, sales: str) -> None:
        command = (
            f"{sys.executable} -m batchy_provider.cli.main --redis-url {redis_url} -o json history sales | head -n 1"
        )
        done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False)
        assert (done.stdout, done.stderr) == ("[\n", "")
