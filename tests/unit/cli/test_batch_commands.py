# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""`load`, `open`, `close`, `fail`, and the commands that change a workflow between batches."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import FILE, Cli, open_by_run

from batchy_provider.core.values import CloseRequest, Holder, OpenRequest, WorkflowConfig


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

    @pytest.mark.parametrize("with_file", [True, False])
    def test_nothing_to_load_is_exit_code_3_and_no_change(self, cli: Cli, tmp_path: Path, with_file: bool) -> None:
        file = tmp_path / "cfg" / "sales.yaml"
        file.parent.mkdir()
        file.write_text("window: {align: '0 0 1 1 *'}\njobs: {load: {bash: x}}\n")
        assert cli.json("open", "sales")["load"]["to_date"].endswith("-01-01T00:00:00.000000")
        cli("close", "sales")
        before = cli.json("status", "sales")
        if not with_file:
            file.unlink()
        cli("open", "sales", code=3)
        assert "there is nothing to load: its data is loaded up to" in cli.said
        assert "; it can open from" in cli.said
        assert cli.json("status", "sales") == before

    def test_a_failed_batch_opens_with_the_same_window(self, cli: Cli, sales: str) -> None:
        first = cli.json("open", sales)
        cli("fail", sales)
        assert cli.json("open", sales)["load"]["from_date"] == first["load"]["from_date"]

    def test_a_batch_that_a_run_holds_needs_take_over(self, cli: Cli, sales: str) -> None:
        open_by_run(cli.store)
        cli("open", sales, code=1)
        assert "nightly" in cli.said
        cli("open", sales, "--take-over")
        assert cli.store.status(sales).holder == Holder(by="anna", token=cli.store.status(sales).holder.token)

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
        assert cli.store.status(sales).batch.batch_id == batch_id
        assert cli.store.status(sales).batch.status == "open"


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
