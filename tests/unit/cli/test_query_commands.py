# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""`list`, `status` and `history`: what they show of workflows, jobs and batches."""

from __future__ import annotations

import yaml
from command_line import Cli, open_by_run

from batchy_provider.core.values import CloseRequest, OpenRequest


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
